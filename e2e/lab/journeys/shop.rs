//! The stage of the stories: a shop's namespace, repository, engine and users, and what a person could look up of them.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use jiff::Timestamp;
use serde_json::Value;

use crate::{
    Fallible,
    apply::Applier,
    audit::{Asked, Audit, Right},
    engine::Engine,
    git::Repository,
    images::Behaviour,
    load::Load,
    roles::{CONTROLLER, Serin},
    slack, stack,
    stack::Stack,
    wait,
};

/// The file that holds the version.
pub(crate) const ROLLOUT_FILE: &str = "shop/rollout.yaml";
pub(crate) const OLD: &str = "v1.1.0";
pub(crate) const NEW: &str = "v1.2.0";
/// The story takes about 40 s; a machine that does other things too may take its time.
const STORY: Duration = Duration::from_secs(150);

/// One shop.
pub(crate) struct Shop<'a> {
    pub(crate) stack: &'a Stack,
    serin: &'a mut Serin,
    pub(crate) namespace: String,
    pub(crate) repository: Arc<Repository>,
    pub(crate) engine: Engine,
    pub(crate) load: Load,
    /// What serin asked for since the shop was opened.
    pub(crate) audit: Audit,
}

impl<'a> Shop<'a> {
    /// Opens a shop in a namespace of its own: what the platform set up, version 1.1.0 from Git, users. `new` is how 1.2.0 behaves.
    ///
    /// # Errors
    /// When the first version does not become stable.
    pub(crate) async fn open(
        stack: &'a Stack,
        serin: &'a mut Serin,
        namespace: &str,
        new: Behaviour,
    ) -> Fallible<Self> {
        let audit = Audit::from_now(&stack.control_plane.audit_log())?;
        stack.namespace(namespace).await?;
        stack.images.publish(&image(namespace, OLD), Behaviour::GOOD);
        stack.images.publish(&image(namespace, NEW), new);
        let rollout = include_str!("../story/rollout.yaml").replace("NAMESPACE", namespace);
        let templates = include_str!("../story/templates.yaml").replace("NAMESPACE", namespace);
        let files = [(ROLLOUT_FILE, rollout.as_str()), ("shop/templates.yaml", &templates)];
        let repository = Arc::new(Repository::new(&stack.folder.join(namespace), &files)?);
        let mut kubectl = Applier::new(stack.admin(), "kubectl");
        let platform = include_str!("../story/platform.yaml").replace("NAMESPACE", namespace);
        kubectl.apply(&platform.replace("REPOSITORY", &repository.url()), namespace).await?;
        let notifications = include_str!("../story/notifications.yaml")
            .replace("SLACK", slack::API)
            .replace("TOKEN", slack::TOKEN);
        kubectl.apply(&notifications, stack::SYSTEM).await?;
        super::privilege::opt_in(stack, namespace).await?;
        let engine = Engine::start(stack.admin(), repository.clone(), namespace);
        let load = stack.load(namespace, "myapp-vsvc");
        let mut shop = Self { stack, serin, namespace: namespace.into(), repository, engine, load, audit };
        shop.healthy_on(OLD).await?;
        Ok(shop)
    }

    /// Commits the new version, as the shop's people do.
    ///
    /// # Errors
    /// When git refuses.
    pub(crate) fn release(&self) -> Fallible<String> {
        let before = self.repository.file(&self.repository.tip()?, ROLLOUT_FILE)?;
        let after = before.replace(&image(&self.namespace, OLD), &image(&self.namespace, NEW));
        self.repository.commit("Release v1.2.0", &[(ROLLOUT_FILE, &after)])
    }

    /// Waits until the Rollout says Healthy of its present spec, `version` is what is stable, and only it answers.
    ///
    /// # Errors
    /// When it does not happen in time, a role ends, or RBAC refuses serin anything.
    pub(crate) async fn healthy_on(&mut self, version: &str) -> Fallible {
        let wanted = image(&self.namespace, version);
        let namespace = self.namespace.clone();
        let stack = self.stack;
        self.until(&format!("Healthy on {version}"), async || {
            let rollout = stack.object(&namespace, "argoproj.io/v1alpha1", "Rollout", "myapp").await?;
            let status = rollout.get("status").cloned().unwrap_or_default();
            let seen = status.get("observedGeneration").and_then(Value::as_str).unwrap_or_default();
            let generation =
                rollout.pointer("/metadata/generation").map(Value::to_string).unwrap_or_default();
            let runs =
                rollout.pointer("/spec/template/spec/containers/0/image") == Some(&wanted.clone().into());
            let stable =
                status.get("stableRS").is_some() && status.get("stableRS") == status.get("currentPodHash");
            let healthy = status.get("phase") == Some(&"Healthy".into());
            if runs && stable && healthy && seen == generation {
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
        let alive = || self.serin.alive().and_then(|()| no_refusal(&self.audit));
        wait::while_alive(what, STORY, alive, async || check().await).await
    }

    /// Waits until the ReplicaSet of `version` has no pods left.
    ///
    /// # Errors
    /// As [`Shop::until`].
    pub(crate) async fn scaled_down(&mut self, version: &str) -> Fallible {
        let (stack, namespace, wanted) =
            (self.stack, self.namespace.clone(), image(&self.namespace, version));
        self.until(&format!("{version} to be scaled down"), async || {
            let sets = stack.objects(&namespace, "apps/v1", "ReplicaSet").await?;
            let runs = |set: &&Value| {
                set.pointer("/spec/template/spec/containers/0/image") == Some(&wanted.clone().into())
                    && set.pointer("/status/replicas") != Some(&0.into())
            };
            match sets.iter().find(runs) {
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

    /// Lets the users go on for a while.
    pub(crate) async fn linger(&self, time: Duration) {
        wait::pause(time).await;
    }
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

/// The image of a version. Each shop has its own, so that the same version can behave differently.
pub(crate) fn image(namespace: &str, version: &str) -> String {
    format!("registry.lab/{namespace}/myapp:{version}")
}
