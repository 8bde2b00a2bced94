//! The stage of the stories: a shop's namespace, repository, engine and users, and what a person could look up and do there.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use jiff::Timestamp;
use serde_json::Value;
use serin::{clock::Clock, sim::play::aside::What};

use super::scene::{FIXED, NEW, OLD, PAUSES, ROLLOUT_FILE, Scene};
use crate::{
    Fallible,
    apply::Applier,
    audit::{Asked, Audit, Right},
    engine::Engine,
    git::Repository,
    images::Behaviour,
    load::{Load, Outcome},
    report,
    roles::{CONTROLLER, Serin},
    stack,
    stack::{Of, Stack},
    wait,
};

/// A part of a story takes half a minute; a machine that does other things too may take its time.
const PART: Duration = Duration::from_secs(150);

/// One shop.
pub(crate) struct Shop<'a> {
    pub(crate) stack: &'a Stack,
    pub(crate) serin: &'a mut Serin,
    pub(crate) scene: Scene,
    pub(crate) namespace: String,
    pub(crate) repository: Arc<Repository>,
    pub(crate) engine: Engine,
    pub(crate) load: Load,
    /// When the first version was Healthy and answered: from here on every request is to be answered.
    pub(crate) opened: Timestamp,
    /// What was asked since the shop was opened.
    pub(crate) audit: Audit,
    /// What happened that the API server does not see, in order.
    pub(crate) asides: Vec<(Timestamp, What)>,
    /// How long the journey waited by the clock, and for what.
    waited: Vec<(String, Duration)>,
}

impl<'a> Shop<'a> {
    /// Opens a shop in a namespace of its own: what the platform set up, version 1.1.0 from Git, users.
    ///
    /// # Errors
    /// When the first version does not become stable.
    pub(crate) async fn open(stack: &'a Stack, serin: &'a mut Serin, scene: Scene) -> Fallible<Self> {
        let audit = Audit::from_now(&stack.control_plane.audit_log())?;
        let namespace = scene.namespace.clone();
        stack.namespace(&namespace).await?;
        stack.images.publish(&scene.image(OLD), Behaviour::GOOD);
        stack.images.publish(&scene.image(NEW), scene.behaviour());
        stack.images.publish(&scene.image(FIXED), Behaviour::GOOD);
        let files = scene.files()?;
        let files: Vec<(&str, &str)> = files.iter().map(|(path, text)| (*path, text.as_str())).collect();
        let repository = Arc::new(Repository::new(&stack.folder, &namespace, &files)?);
        let mut kubectl = Applier::new(stack.admin(), "kubectl");
        kubectl.apply(&scene.platform(repository.url())?, &namespace).await?;
        kubectl.apply(&Scene::notifications(), stack::SYSTEM).await?;
        super::privilege::opt_in(stack, &namespace).await?;
        let engine = Engine::start(stack.admin(), repository.clone(), &namespace);
        let load = stack.load(&format!("{namespace}.example.org"), &namespace, "myapp-vsvc");
        let mut shop = Self {
            stack,
            serin,
            scene,
            namespace,
            repository,
            engine,
            load,
            opened: Timestamp::MAX,
            audit,
            asides: vec![],
            waited: vec![],
        };
        shop.healthy_on(OLD).await?;
        // The mesh learns of the first pods a moment later than the Rollout.
        wait::until("users to be answered", stack::SOON, async || {
            let answers = shop.load.answers(Timestamp::MIN);
            let last = answers.iter().rev().take(20);
            match last.clone().find(|answer| !matches!(answer.outcome, Outcome::Answered { .. })) {
                None if last.len() == 20 => Ok(()),
                other => Err(format!("{other:?}").into()),
            }
        })
        .await?;
        shop.opened = Clock::Wall.now();
        Ok(shop)
    }

    /// A person commits a version. Answers with the commit.
    ///
    /// # Errors
    /// When git refuses.
    pub(crate) fn push(&mut self, version: &str, verb: &str) -> Fallible<String> {
        let text = rollout_file(&self.scene)?;
        let message = format!("{verb} {version}");
        self.act("person", format!("pushes \"{message}\""));
        let text = text.replace(&self.scene.image(OLD), &self.scene.image(version));
        self.repository.commit(&message, &[(ROLLOUT_FILE, &text)])
    }

    /// Notes that somebody does something now.
    pub(crate) fn act(&mut self, who: &'static str, what: impl Into<String>) {
        self.asides.push((Clock::Wall.now(), What::Act { who, what: what.into() }));
    }

    /// Kills the controller's or the Git role's process of this name, and notes it.
    ///
    /// # Errors
    /// When it is not running.
    pub(crate) async fn kill(&mut self, name: &str) -> Fallible {
        self.asides.push((Clock::Wall.now(), What::Died { actor: name.to_owned() }));
        self.serin.kill(name).await
    }

    /// Waits for a time that nothing can make shorter, and keeps it for the report.
    pub(crate) async fn pass(&mut self, what: &str, time: Duration) {
        self.waited.push((what.to_owned(), time));
        wait::pause(time).await;
    }

    /// Prints the times that this journey waited for by the clock.
    pub(crate) fn report_waits(&self) {
        let seconds = |time: &Duration| format!("{:.1} s", time.as_secs_f64());
        let own: Vec<String> =
            self.waited.iter().map(|(what, time)| format!("{what} {}", seconds(time))).collect();
        let pauses: Vec<String> = PAUSES.iter().map(seconds).collect();
        report::line(&format!(
            "lab:   fixed times: {}; the steps pause {}",
            own.join(", "),
            pauses.join(", ")
        ));
    }

    /// A merge patch of the Rollout's status, as `kubectl argo rollouts` makes it.
    ///
    /// # Errors
    /// When the API server refuses.
    pub(crate) async fn patch_status(&self, patch: &Value) -> Fallible {
        let rollout = Of {
            namespace: &self.namespace,
            version: "argoproj.io/v1alpha1",
            kind: "Rollout",
            name: "myapp",
        };
        self.stack.merge(&rollout, "person", true, patch).await
    }

    /// Waits until the Rollout says Healthy of its present spec, `version` is what is stable, and only it answers.
    ///
    /// # Errors
    /// When it does not happen in time, a role ends, or RBAC refuses serin anything.
    pub(crate) async fn healthy_on(&mut self, version: &str) -> Fallible {
        self.rests(version, version, "Healthy", PART).await
    }

    /// Waits until the Rollout asks for `version`, has `phase` and says so of its present spec, and `stable` is stable.
    ///
    /// # Errors
    /// As [`Shop::healthy_on`].
    pub(crate) async fn rests(
        &mut self,
        version: &str,
        stable: &str,
        phase: &str,
        limit: Duration,
    ) -> Fallible {
        let wanted = self.scene.image(version);
        let (namespace, stack, is_through) = (self.namespace.clone(), self.stack, version == stable);
        self.within(limit, &format!("{phase} on {version}"), async || {
            let rollout = stack.object(&namespace, "argoproj.io/v1alpha1", "Rollout", "myapp").await?;
            let status = rollout.get("status").cloned().unwrap_or_default();
            let seen = status.get("observedGeneration").and_then(Value::as_str).unwrap_or_default();
            let generation =
                rollout.pointer("/metadata/generation").map(Value::to_string).unwrap_or_default();
            let asks =
                rollout.pointer("/spec/template/spec/containers/0/image") == Some(&wanted.clone().into());
            let is_stable =
                status.get("stableRS").is_some() && status.get("stableRS") == status.get("currentPodHash");
            if asks
                && is_stable == is_through
                && status.get("phase") == Some(&phase.into())
                && seen == generation
            {
                return Ok(());
            }
            let said =
                ["phase", "message", "currentStepIndex", "abort", "stableRS", "currentPodHash", "conditions"];
            let said: BTreeMap<&str, &Value> =
                said.iter().filter_map(|key| Some((*key, status.get(*key)?))).collect();
            Err(serde_json::to_string(&said)?.into())
        })
        .await
    }

    /// Waits for a part of the story. Ends early when it can no longer come true: a role has ended, or was refused something.
    ///
    /// # Errors
    /// As said, and after the limit.
    pub(crate) async fn until<T>(&mut self, what: &str, check: impl AsyncFn() -> Fallible<T>) -> Fallible<T> {
        self.within(PART, what, check).await
    }

    /// As [`Shop::until`], for what takes longer.
    ///
    /// # Errors
    /// As there.
    pub(crate) async fn within<T>(
        &mut self,
        limit: Duration,
        what: &str,
        check: impl AsyncFn() -> Fallible<T>,
    ) -> Fallible<T> {
        let alive = || self.serin.alive().and_then(|()| no_refusal(&self.audit));
        wait::while_alive(what, limit, alive, async || check().await).await
    }

    /// Waits until the ReplicaSets of all versions but `version` have no pods left.
    ///
    /// # Errors
    /// As [`Shop::until`].
    pub(crate) async fn only_pods_of(&mut self, version: &str) -> Fallible {
        let (stack, namespace, stays) = (self.stack, self.namespace.clone(), self.scene.image(version));
        self.until(&format!("only {version} to have pods"), async || {
            let sets = stack.objects(&namespace, "apps/v1", "ReplicaSet").await?;
            let is_left = |set: &&Value| {
                set.pointer("/spec/template/spec/containers/0/image") != Some(&stays.clone().into())
                    && set.pointer("/status/replicas") != Some(&0.into())
            };
            match sets.iter().find(is_left) {
                Some(set) => Err(serde_json::to_string(set)?.into()),
                None => Ok(()),
            }
        })
        .await
    }

    /// What the controller asked for in the shop's namespace and in its own, in order: all but its watches and its Lease, which have
    /// a rhythm of their own.
    ///
    /// # Errors
    /// When the audit log cannot be read.
    pub(crate) fn requests(&self) -> Fallible<Vec<Asked>> {
        let by_itself =
            |right: &Right| right.verb == "list" || right.verb == "watch" || right.resource == "leases";
        let here = |asked: &Asked| asked.namespace == self.namespace || asked.namespace == stack::SYSTEM;
        let all = self.audit.asked()?.into_iter();
        Ok(all
            .filter(|asked| asked.account == CONTROLLER && here(asked) && !by_itself(&asked.right))
            .collect())
    }

    /// Fails when RBAC refused serin anything since the shop was opened.
    ///
    /// # Errors
    /// With every account and right.
    pub(crate) fn no_refusal(&self) -> Fallible {
        no_refusal(&self.audit)
    }

    /// Objects of a kind in this shop's namespace.
    ///
    /// # Errors
    /// When the API server refuses.
    pub(crate) async fn objects(&self, version: &str, kind: &str) -> Fallible<Vec<Value>> {
        self.stack.objects(&self.namespace, version, kind).await
    }

    /// The share of the canary over time, in percent; each change once.
    pub(crate) fn canary_weights(&self) -> Vec<(Timestamp, u64)> {
        let of_canary = |split: &Vec<(String, u64)>| {
            split.iter().filter(|(service, _)| service == "myapp-canary").map(|(_, weight)| weight).sum()
        };
        let mut changes: Vec<(Timestamp, u64)> = vec![];
        for (at, split) in self.load.weights() {
            let weight = of_canary(&split);
            if changes.last().is_none_or(|(_, last)| *last != weight) {
                changes.push((at, weight));
            }
        }
        changes
    }
}

/// The first version's file with the Rollout.
fn rollout_file(scene: &Scene) -> Fallible<String> {
    let files = scene.files()?.into_iter();
    let mut meant = files.filter(|(path, _)| *path == ROLLOUT_FILE).map(|(_, text)| text);
    Ok(meant.next().ok_or("the shop has no file with the Rollout")?)
}

/// Fails when RBAC refused serin anything: what a role needs is in `deploy/`, or it does not ask.
///
/// # Errors
/// With every account and right.
pub(crate) fn no_refusal(audit: &Audit) -> Fallible {
    let refused = audit.refused()?;
    if refused.is_empty() {
        return Ok(());
    }
    let said: Vec<String> =
        refused.iter().map(|(account, right)| format!("{account} may not {right}")).collect();
    Err(format!("refused by the roles of deploy/: {}", said.join("; ")).into())
}
