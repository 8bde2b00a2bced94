//! Decides what becomes of a revert: from the intent, the policy, the Rollout and what the branch holds. Pure; the
//! worker carries it out.
//!
//! Two questions, one after the other: may Git be asked at all ([`gate`]), and, once the branch's tip is known, what
//! is to be done there ([`next`]). Both are asked again after every lost race.

use kube::core::{Selector, SelectorExt};

use super::{edit, message, remote, rollout::RolloutFacts};
use crate::api::serin::{
    Cause, Mode, Phase, SelfHealPolicy, SelfHealPolicySpec, SelfHealSpec, TargetKind, Trigger,
};

/// Where a revert stands, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    pub phase: Phase,
    /// One word.
    pub reason: &'static str,
    /// One sentence, and what to do about it.
    pub message: String,
}

impl Standing {
    pub(super) fn new(phase: Phase, reason: &'static str, message: impl Into<String>) -> Self {
        Self { phase, reason, message: message.into() }
    }
}

/// Everything that is known before Git is asked.
#[derive(Clone, Copy, Debug)]
pub struct Situation<'a> {
    pub intent: &'a SelfHealSpec,
    /// How often a push was tried before; then our commit may be on the branch although the status does not say so.
    pub attempts: i32,
    /// Seconds since the version failed.
    pub age_seconds: i64,
    /// `None`: there is no such Rollout.
    pub rollout: Option<&'a RolloutFacts>,
    pub policies: &'a [SelfHealPolicy],
    pub rules: Rules,
}

/// What the operator of serin allows.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// Whether `file://` and `git://`, which know no credentials, may be used.
    pub allow_file_remotes: bool,
    /// A failure that is older when it is first seen is left to people.
    pub max_age_seconds: i64,
}

/// Whether Git is asked.
#[derive(Clone, Debug, PartialEq)]
pub enum Gate<'a> {
    /// No.
    Stop(Standing),
    /// Yes, by this policy.
    Ask {
        policy_name: String,
        policy: &'a SelfHealPolicySpec,
        /// Why nothing may be pushed; `None`: it may. Git is asked nevertheless, for a commit of ours.
        hold: Option<Standing>,
    },
}

/// Decides whether Git is asked.
pub fn gate<'a>(situation: &Situation<'a>) -> Gate<'a> {
    match policy(situation) {
        Err(standing) => Gate::Stop(standing),
        Ok((policy_name, policy)) => {
            let hold = hold(situation);
            match hold {
                // Nothing of ours can be on the branch.
                Some(standing) if situation.attempts == 0 => Gate::Stop(standing),
                hold => Gate::Ask { policy_name, policy, hold },
            }
        }
    }
}

/// The one policy that the Rollout falls under, if it allows this revert and serin can carry it out.
fn policy<'a>(situation: &Situation<'a>) -> Result<(String, &'a SelfHealPolicySpec), Standing> {
    let intent = situation.intent;
    let rollout = ours(situation).ok_or_else(|| gone(intent))?;
    let matching: Vec<_> = situation.policies.iter().filter(|p| selects(&p.spec, rollout)).collect();
    let name = |policy: &SelfHealPolicy| policy.metadata.name.clone().unwrap_or_default();
    let policy = match matching.as_slice() {
        [] => {
            let message = "no SelfHealPolicy of this namespace selects the Rollout";
            return Err(Standing::new(Phase::NoPolicy, "NoPolicy", message));
        }
        [policy] => policy,
        [..] => {
            let names: Vec<_> = matching.iter().map(|policy| name(policy)).collect();
            let message =
                format!("several SelfHealPolicies select the Rollout ({}); keep one", names.join(", "));
            return Err(Standing::new(Phase::Blocked, "AmbiguousPolicy", message));
        }
    };
    let trigger = Trigger::of(intent.cause).filter(|trigger| policy.spec.on.contains(trigger));
    if trigger.is_none() {
        let cause: &str = intent.cause.into();
        let message = format!("policy `{}` does not revert for {cause}", name(policy));
        return Err(Standing::new(Phase::NoPolicy, "CauseNotSelected", message));
    }
    let blocked = |reason, message: String| Err(Standing::new(Phase::Blocked, reason, message));
    let measured = intent.evidence.as_ref().is_some_and(|e| !e.metric.is_empty() && !e.value.is_empty());
    if intent.cause == Cause::MetricFailed && !measured {
        return blocked("NoEvidence", "a metric is said to have failed, but no measurement is named".into());
    }
    if let Some((reason, message)) = unsupported(&policy.spec, situation.rules) {
        return blocked(reason, message);
    }
    Ok((name(policy), &policy.spec))
}

/// The Rollout, if it is the one that is meant and not a later one of its name.
fn ours<'a>(situation: &Situation<'a>) -> Option<&'a RolloutFacts> {
    situation.rollout.filter(|rollout| rollout.uid == situation.intent.rollout_ref.uid)
}

fn gone(intent: &SelfHealSpec) -> Standing {
    let message = format!("the Rollout `{}` is gone or was made again", intent.rollout_ref.name);
    Standing::new(Phase::Superseded, "RolloutGone", message)
}

fn selects(policy: &SelfHealPolicySpec, rollout: &RolloutFacts) -> bool {
    Selector::try_from(policy.rollout_selector.clone()).is_ok_and(|s| s.matches(&rollout.labels))
}

/// What of a policy cannot be carried out.
fn unsupported(policy: &SelfHealPolicySpec, rules: Rules) -> Option<(&'static str, String)> {
    if let Err(error) = remote::kind(&policy.git.url, rules.allow_file_remotes) {
        return Some(((&error).into(), error.to_string()));
    }
    if let Some(branch) =
        Some(&policy.git.branch).filter(|b| !git2::Reference::is_valid_name(&format!("refs/heads/{b}")))
    {
        return Some(("BranchRefused", format!("`{branch}` is not the name of a branch")));
    }
    if policy.target.kind == TargetKind::HelmValue {
        return Some(("TargetNotSupported", "`target.kind` HelmValue is not supported yet".into()));
    }
    if policy.mode == Mode::PullRequest {
        return Some(("ModeNotSupported", "`mode` PullRequest is not supported yet".into()));
    }
    None
}

/// Why nothing may be pushed now, whatever the branch holds.
fn hold(situation: &Situation<'_>) -> Option<Standing> {
    let intent = situation.intent;
    let Some(rollout) = ours(situation) else { return Some(gone(intent)) };
    if rollout.current_hash.is_empty() {
        let message = "the controller has not looked at the Rollout yet";
        return Some(Standing::new(Phase::Pending, "NotSeen", message));
    }
    if rollout.current_hash != intent.bad.hash {
        return Some(if rollout.asks_for(&intent.good) {
            let message = format!("the Rollout is back on {} already", good(intent));
            Standing::new(Phase::NotNeeded, "RolloutIsGood", message)
        } else {
            let message = "the Rollout's spec asks for another version by now";
            Standing::new(Phase::Superseded, "RolloutMovedOn", message)
        });
    }
    if !rollout.is_aborted {
        let message = "the Rollout is not aborted: somebody retries the version";
        return Some(Standing::new(Phase::Pending, "NotAborted", message));
    }
    if situation.attempts == 0 && situation.age_seconds > situation.rules.max_age_seconds {
        let message = "the failure was too old when it was first seen; revert by hand if it still matters";
        return Some(Standing::new(Phase::Blocked, "TooOld", message));
    }
    None
}

fn good(intent: &SelfHealSpec) -> String {
    message::version(&intent.good, &intent.bad)
}

/// What the branch holds.
#[derive(Debug, PartialEq, Eq)]
pub struct Tip {
    /// A commit of the branch with our key, if there is one.
    pub ours: Option<String>,
    /// What became of the file when the good version was restored in it.
    pub file: edit::Outcome,
}

/// What is to be done on the branch.
#[derive(Debug, PartialEq, Eq)]
pub enum Next {
    /// Nothing; this is where the revert stands. `commit`: ours, where the branch has it.
    Stand { standing: Standing, commit: Option<String> },
    /// Show what would be done.
    Show { bytes: Vec<u8> },
    /// Commit this content and push it.
    Commit { bytes: Vec<u8> },
}

/// Decides what is to be done on the branch.
///
/// `recent` is how many commits this policy pushed within the last hour.
pub fn next(
    intent: &SelfHealSpec,
    policy: &SelfHealPolicySpec,
    hold: Option<Standing>,
    recent: usize,
    tip: Tip,
) -> Next {
    let stand = |phase, reason, message: String| Next::Stand {
        standing: Standing::new(phase, reason, message),
        commit: None,
    };
    if let Some(commit) = tip.ours {
        return Next::Stand { standing: already(&tip.file, &commit), commit: Some(commit) };
    }
    let path = &policy.target.path;
    match tip.file {
        edit::Outcome::AlreadyGood => {
            stand(Phase::NotNeeded, "GitIsGood", format!("{path} holds {} already", good(intent)))
        }
        edit::Outcome::ThirdValue { found, container } => stand(
            Phase::Superseded,
            "ThirdValue",
            format!("{path} holds `{found}` for `{container}`, neither the failed version nor the good one"),
        ),
        edit::Outcome::Refused(refusal) => {
            stand(Phase::Blocked, (&refusal).into(), format!("{path}: {refusal}"))
        }
        edit::Outcome::Edited { bytes, .. } => match (hold, policy.mode) {
            (Some(standing), _) => Next::Stand { standing, commit: None },
            (None, Mode::DryRun) => Next::Show { bytes },
            (None, Mode::Push | Mode::Auto | Mode::PullRequest) if recent >= per_hour(policy) => stand(
                Phase::Blocked,
                "RateLimited",
                format!(
                    "this policy pushed {recent} reverts within an hour; `limits.perHour` allows no more"
                ),
            ),
            (None, Mode::Push | Mode::Auto | Mode::PullRequest) => Next::Commit { bytes },
        },
    }
}

fn per_hour(policy: &SelfHealPolicySpec) -> usize {
    usize::try_from(policy.limits.per_hour).unwrap_or_default()
}

/// Where a revert stands whose commit is on the branch already.
fn already(file: &edit::Outcome, commit: &str) -> Standing {
    match file {
        edit::Outcome::Edited { .. } => Standing::new(
            Phase::Blocked,
            "RevertOverwritten",
            format!(
                "{commit} reverted it, and the branch holds the failed version again; who writes it there?"
            ),
        ),
        edit::Outcome::AlreadyGood | edit::Outcome::ThirdValue { .. } | edit::Outcome::Refused(_) => pushed(),
    }
}

/// The branch has our commit; the cluster is waited for.
pub(super) fn pushed() -> Standing {
    Standing::new(
        Phase::Pushed,
        "WaitingForEngine",
        "the branch has the commit; the Rollout does not run it yet",
    )
}

/// Where a revert stands whose commit was pushed, by what the Rollout runs.
pub fn synced(intent: &SelfHealSpec, rollout: Option<&RolloutFacts>) -> Standing {
    let Some(rollout) = rollout.filter(|rollout| rollout.uid == intent.rollout_ref.uid) else {
        return gone(intent);
    };
    if rollout.current_hash == intent.bad.hash {
        return pushed();
    }
    match (rollout.asks_for(&intent.good), rollout.is_healthy) {
        (true, true) => {
            Standing::new(Phase::Synced, "Healthy", format!("the Rollout is healthy on {}", good(intent)))
        }
        (true, false) => Standing::new(
            Phase::Pushed,
            "WaitingForHealth",
            format!("the Rollout is asked for {} and not healthy yet", good(intent)),
        ),
        (false, _) => Standing::new(
            Phase::Superseded,
            "RolloutMovedOn",
            "the Rollout's spec asks for another version by now",
        ),
    }
}

#[cfg(test)]
mod tests;
