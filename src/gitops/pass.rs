//! One pass over one SelfHeal: read everything anew, decide, do one thing, write where it stands.

use std::time::Duration;

use git2::Oid;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::{
    access::{self, Access, AccessError, Values},
    cluster::{Cluster, ClusterError, Found, Key, SecretFound},
    heal::{self, Gate, Next, Rules, Situation, Standing},
    lane::{Case, Lane, LaneError, Lanes},
    pause::Pause,
    remote,
    rollout::RolloutFacts,
    status, trouble,
};
use crate::{
    api::serin::{GitLocation, Phase, SecretReference, SelfHeal, SelfHealPolicy, SelfHealStatus},
    clock::Clock,
};

/// Lost races in one pass before the lane is given to others. Each takes a fetch; with pauses of up to 2 s this is
/// about a minute beside a remote that is pushed to all the time.
const MAX_RACES: u32 = 8;

/// When to look again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Again {
    /// When something about it changes.
    OnChange,
    /// After this time.
    After(Duration),
    /// Later, and later each time.
    BackOff,
    /// As `BackOff`, with longer pauses: a person has to do something that is not heard of here, in Git, at the server
    /// or in a Secret. Whoever has done it and does not want to wait touches the policy.
    Seldom,
}

/// What passes work with.
pub struct Workshop {
    pub cluster: Cluster,
    pub lanes: Lanes,
    pub clock: Clock,
    pub rules: Rules,
    /// How soon a Rollout is looked at again that Git or serin waits for.
    pub poll: Duration,
}

/// Runs one pass.
///
/// # Errors
/// The API server did not answer; nothing is lost, the next pass finds what was done.
pub async fn pass(workshop: &Workshop, key: &Key, pause: &mut Pause) -> Result<Again, ClusterError> {
    let intent = match workshop.cluster.self_heal(key).await? {
        Found::Gone => return Ok(Again::OnChange),
        Found::Unreadable(error) => {
            let standing =
                Standing::new(Phase::Blocked, "Unreadable", format!("the object cannot be read: {error}"));
            let old = SelfHealStatus::default();
            let new = status::follow(&old, &standing, None, workshop.clock.now());
            workshop.cluster.write(key, &old, &new).await?;
            return Ok(Again::OnChange);
        }
        Found::Read(intent) => intent,
    };
    let written = intent.status.clone().unwrap_or_default();
    let mut work = Work { workshop, key, written, intent: &intent, policy_name: String::new(), place: None };
    match work.written.phase {
        Some(phase) if phase.is_final() => Ok(Again::OnChange),
        Some(Phase::Pushed) => {
            let standing = heal::synced(&intent.spec, work.rollout().await?.as_ref());
            work.stand(standing).await
        }
        _ => work.revert(pause).await,
    }
}

/// A pass over a SelfHeal that was read.
struct Work<'a> {
    workshop: &'a Workshop,
    key: &'a Key,
    intent: &'a SelfHeal,
    /// The status that the server has.
    written: SelfHealStatus,
    /// The policy that decides; empty until one is found.
    policy_name: String,
    /// Where in Git it is done, once that is being asked in this pass. What blocks a revert before that is heard of when
    /// it changes.
    place: Option<GitLocation>,
}

/// A text that says something.
fn some(text: &str) -> Option<&str> {
    Some(text).filter(|text| !text.is_empty())
}

/// What a try on the branch came to.
enum Try {
    Done(Again),
    Raced,
}

impl<'a> Work<'a> {
    async fn rollout(&self) -> Result<Option<RolloutFacts>, ClusterError> {
        self.workshop.cluster.rollout(&self.key.0, &self.intent.spec.rollout_ref.name).await
    }

    /// Writes where the revert stands, and says when to look again.
    async fn stand(&mut self, standing: Standing) -> Result<Again, ClusterError> {
        self.write(&standing, |_| ()).await
    }

    async fn write(
        &mut self,
        standing: &Standing,
        more: impl FnOnce(&mut SelfHealStatus),
    ) -> Result<Again, ClusterError> {
        let generation = self.intent.metadata.generation;
        let mut new = status::follow(&self.written, standing, generation, self.workshop.clock.now());
        if !self.policy_name.is_empty() {
            new.policy.clone_from(&self.policy_name);
        }
        more(&mut new);
        if self.written.phase != new.phase || self.written.reason != new.reason {
            self.log(&new);
        }
        self.workshop.cluster.write(self.key, &self.written, &new).await?;
        self.written = new;
        Ok(match (standing.phase, standing.reason) {
            (Phase::Pending, "NotAborted" | "NotSeen") | (Phase::Pushed | Phase::Working, _) => {
                Again::After(self.workshop.poll)
            }
            (Phase::Blocked, "RateLimited") => Again::After(Duration::from_mins(5)),
            (Phase::Pending, _) => Again::BackOff,
            (Phase::Blocked, _) if self.place.is_some() => Again::Seldom,
            (Phase::NoPolicy | Phase::DryRun | Phase::PullRequestOpen | Phase::Blocked, _)
            | (Phase::Synced | Phase::Superseded | Phase::NotNeeded, _) => Again::OnChange,
        })
    }

    /// Tells a change. What a person has to act on is a warning; the rest goes on by itself.
    fn log(&self, status: &SelfHealStatus) {
        let (namespace, name) = self.key;
        let phase: &str = status.phase.map_or("", Into::into);
        macro_rules! tell {
            ($level:ident) => {
                tracing::$level!(
                    self_heal.namespace = namespace,
                    self_heal.name = name,
                    self_heal.phase = phase,
                    self_heal.reason = status.reason,
                    self_heal.attempts = status.attempts,
                    rollout.name = self.intent.spec.rollout_ref.name,
                    policy.name = some(&status.policy),
                    git.url = self.place.as_ref().map(|place| place.url.as_str()),
                    git.branch = self.place.as_ref().map(|place| place.branch.as_str()),
                    git.commit = some(&status.commit),
                    "Revert `{namespace}/{name}` is {phase}: {}",
                    status.message
                )
            };
        }
        if status.phase == Some(Phase::Blocked) { tell!(warn) } else { tell!(info) }
    }

    fn situation<'s>(
        &self,
        rollout: Option<&'s RolloutFacts>,
        policies: &'s [SelfHealPolicy],
    ) -> Situation<'s>
    where
        'a: 's,
    {
        let failed = self.intent.spec.evidence.as_ref().and_then(|e| e.failed_at.as_ref());
        let since = failed.or(self.intent.metadata.creation_timestamp.as_ref()).map(|t| t.0);
        Situation {
            intent: &self.intent.spec,
            attempts: self.written.attempts,
            age_seconds: since.map_or(0, |t| self.workshop.clock.now().duration_since(t).as_secs()),
            rollout,
            policies,
            rules: self.workshop.rules,
        }
    }

    /// Reverts, or finds out why not.
    async fn revert(&mut self, pause: &mut Pause) -> Result<Again, ClusterError> {
        let policies = self.workshop.cluster.policies(&self.key.0).await?;
        let rollout = self.rollout().await?;
        let policy = match heal::gate(&self.situation(rollout.as_ref(), &policies)) {
            Gate::Stop(standing) => return self.stand(standing).await,
            Gate::Ask { policy_name, policy, .. } => {
                self.policy_name = policy_name;
                policy.clone()
            }
        };
        let case = Case { namespace: self.key.0.clone(), intent: self.intent.spec.clone(), policy };
        // A phase that says more, for instance that the remote is down, stays until something else is known.
        if matches!(self.written.phase, None | Some(Phase::NoPolicy)) {
            self.stand(Standing::new(Phase::Working, "AskingGit", "the branch is being looked at")).await?;
        }
        self.place = Some(case.policy.git.clone());
        let workshop = self.workshop;
        let lane = workshop.lanes.enter(&case.policy.git).await;
        for race in 0..MAX_RACES {
            if race > 0 {
                workshop.clock.sleep(pause.between_races(race)).await;
            }
            match self.attempt(&lane, &case).await? {
                Try::Done(again) => return Ok(again),
                Try::Raced => tracing::info!(
                    self_heal.namespace = self.key.0,
                    self_heal.name = self.key.1,
                    git.races = race + 1,
                    "The branch moved while `{}/{}` was prepared; decided anew",
                    self.key.0,
                    self.key.1
                ),
            }
        }
        let message =
            format!("the branch moved {MAX_RACES} times while the change was made; tried again later");
        self.stand(Standing::new(Phase::Pending, "Raced", message)).await
    }

    /// Fetches, decides on what is there now, and pushes if that is the decision.
    async fn attempt(&mut self, lane: &Lane<'_>, case: &Case) -> Result<Try, ClusterError> {
        let access = match self.access(case).await? {
            Ok(access) => access,
            Err(error) => return self.failed(&error.into(), case).await,
        };
        let seen = async {
            let tip = lane.fetch(&access).await?;
            Ok::<_, LaneError>((tip, lane.look(case, tip).await?))
        };
        let (tip, held) = match seen.await {
            Ok(seen) => seen,
            Err(error) => return self.failed(&error, case).await,
        };
        // The fetch may have taken long: everything else is read anew too, the policy's consent included.
        let policies = self.workshop.cluster.policies(&self.key.0).await?;
        let rollout = self.rollout().await?;
        let hold = match heal::gate(&self.situation(rollout.as_ref(), &policies)) {
            Gate::Stop(standing) => return Ok(Try::Done(self.stand(standing).await?)),
            Gate::Ask { policy, .. } if *policy != case.policy => {
                let standing = Standing::new(Phase::Pending, "PolicyChanged", "the policy changed meanwhile");
                return Ok(Try::Done(self.stand(standing).await?));
            }
            Gate::Ask { hold, .. } => hold,
        };
        let since = self.workshop.clock.now() - SignedDuration::from_hours(1);
        let recent = self.workshop.cluster.pushes(&self.key.0, &self.policy_name, since).await?;
        match heal::next(&case.intent, &case.policy, hold, recent, held) {
            Next::Stand { standing, commit } => {
                let now = self.now();
                let again = self.write(&standing, |status| {
                    if let Some(commit) = commit {
                        status.commit = commit;
                        status.pushed_at.get_or_insert(now);
                    }
                });
                Ok(Try::Done(again.await?))
            }
            Next::Show { bytes } => match lane.diff(case, tip, &bytes).await {
                Ok(diff) => {
                    let standing = Standing::new(
                        Phase::DryRun,
                        "DryRun",
                        "`diff` is what would be committed; set the policy's `mode` to Push to have it done",
                    );
                    Ok(Try::Done(self.write(&standing, |status| status.diff = diff).await?))
                }
                Err(error) => self.failed(&error, case).await,
            },
            Next::Commit { bytes } => self.push(lane, case, (tip, &access), &bytes).await,
        }
    }

    fn now(&self) -> Time {
        Time(status::whole_seconds(self.workshop.clock.now()))
    }

    async fn push(
        &mut self,
        lane: &Lane<'_>,
        case: &Case,
        (tip, access): (Oid, &Access),
        bytes: &[u8],
    ) -> Result<Try, ClusterError> {
        let now: Timestamp = self.workshop.clock.now();
        let made = async {
            let diff = lane.diff(case, tip, bytes).await?;
            Ok::<_, LaneError>((diff, lane.write(case, tip, bytes, now).await?))
        };
        let (diff, commit) = match made.await {
            Ok(made) => made,
            Err(error) => return self.failed(&error, case).await,
        };
        // The try is counted before it is made: whoever comes after a crash knows that the commit may be there.
        let sending = Standing::new(Phase::Working, "Pushing", "the commit is being pushed");
        self.write(&sending, |status| status.attempts = status.attempts.saturating_add(1)).await?;
        match lane.push((commit, tip), access).await {
            Ok(()) => {
                let (at, standing) = (self.now(), heal::pushed());
                let written = self.write(&standing, |status| {
                    status.commit = commit.to_string();
                    status.diff = diff;
                    status.pushed_at = Some(at);
                });
                Ok(Try::Done(written.await?))
            }
            Err(error) => self.failed(&error, case).await,
        }
    }

    /// Writes what a failure means.
    async fn failed(&mut self, error: &LaneError, case: &Case) -> Result<Try, ClusterError> {
        match trouble::standing(error, &case.policy.git) {
            None => Ok(Try::Raced),
            Some(standing) => Ok(Try::Done(self.stand(standing).await?)),
        }
    }

    /// What opens the remote: the Secrets that the policy names, of the namespace that it is in and no other, read anew
    /// for every try.
    async fn access(&self, case: &Case) -> Result<Result<Access, AccessError>, ClusterError> {
        let git = &case.policy.git;
        // The gate lets no other address through.
        let Ok(kind) = remote::kind(&git.url, self.workshop.rules.allow_file_remotes) else {
            return Ok(Ok(Access::default()));
        };
        let secret = match self.secret(git.secret_ref.as_ref()).await? {
            Ok(secret) => secret,
            Err(error) => return Ok(Err(error)),
        };
        let authority = match self.secret(git.ca_secret_ref.as_ref()).await? {
            Ok(authority) => authority,
            Err(error) => return Ok(Err(error)),
        };
        Ok(access::access(git, kind, secret.as_ref(), authority.as_ref()))
    }

    async fn secret(
        &self,
        reference: Option<&SecretReference>,
    ) -> Result<Result<Option<Values>, AccessError>, ClusterError> {
        let Some(SecretReference { name }) = reference else { return Ok(Ok(None)) };
        Ok(match self.workshop.cluster.secret(&self.key.0, name).await? {
            SecretFound::Read(values) => Ok(Some(values)),
            SecretFound::Missing => Err(AccessError::SecretMissing(name.clone())),
            SecretFound::Forbidden => Err(AccessError::SecretForbidden(name.clone())),
        })
    }
}
