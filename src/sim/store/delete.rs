//! Deleting: preconditions, finalizers, grace, and what goes with an owner.

use std::sync::Arc;

use jiff::SignedDuration;
use serde_json::{Value, json};

use super::{
    By, Store, at, history::Key, resource::Resource, stamp, status::Refusal, status::not_found,
    status::precondition, text,
};

/// How to delete.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DeleteOptions {
    /// Seconds a pod may take to end; the pod's own where absent.
    pub grace_seconds: Option<i64>,
    /// `Background` (also where absent), `Foreground` or `Orphan`.
    pub propagation: Option<String>,
    pub uid: Option<String>,
    pub resource_version: Option<String>,
    pub dry_run: bool,
    /// A request: watches are told that a pod ends before they are told that it is gone.
    pub is_asked: bool,
}

impl DeleteOptions {
    /// At once, without grace.
    pub fn now() -> Self {
        Self { grace_seconds: Some(0), ..Self::default() }
    }

    /// Reads the body of a DELETE (`DeleteOptions`), or nothing.
    pub fn read(body: &Value) -> Self {
        let orphan = body.get("orphanDependents").and_then(Value::as_bool);
        let propagation = body.get("propagationPolicy").and_then(Value::as_str).map(str::to_owned);
        let owned = |pointer: &str| body.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
        Self {
            grace_seconds: body.get("gracePeriodSeconds").and_then(Value::as_i64),
            propagation: propagation.or_else(|| orphan.filter(|orphan| *orphan).map(|_| "Orphan".to_owned())),
            uid: owned("/preconditions/uid"),
            resource_version: owned("/preconditions/resourceVersion"),
            dry_run: body.get("dryRun").and_then(Value::as_array).is_some_and(|all| !all.is_empty()),
            is_asked: true,
        }
    }
}

/// What a deletion came to.
#[derive(Clone, Debug)]
pub struct Deleted {
    pub object: Arc<Value>,
    /// False where a finalizer or a grace period keeps the object for now.
    pub gone: bool,
}

impl Store {
    /// Deletes an object, or marks it where something holds it.
    ///
    /// # Errors
    /// 404, or 409 where a precondition fails.
    pub fn delete(
        &mut self,
        resource: Resource,
        key: &Key,
        options: &DeleteOptions,
    ) -> Result<Deleted, Refusal> {
        let definition = resource.definition();
        let Some(live) = self.at(resource, key).cloned() else {
            return Err(not_found(definition, &key.name));
        };
        for (what, wanted, pointer) in [
            ("UID", &options.uid, "/metadata/uid"),
            ("ResourceVersion", &options.resource_version, "/metadata/resourceVersion"),
        ] {
            let current = text(&live, pointer);
            if let Some(wanted) = wanted.as_deref().filter(|wanted| *wanted != current) {
                return Err(precondition(definition, &key.name, what, wanted, current));
            }
        }
        let grace = grace_seconds(resource, &live, options);
        let mut marked = Value::clone(&live);
        // Events have nothing that could be collected.
        let held = if resource == Resource::Events {
            self.hold(resource, &mut marked, &DeleteOptions::default())
        } else {
            self.hold(resource, &mut marked, options)
        };
        if options.dry_run {
            return Ok(Deleted { object: live, gone: !held && grace == 0 });
        }
        if !held && grace == 0 {
            if resource == Resource::Pods && options.is_asked {
                self.mark(resource, &live, &mut marked, 0);
                self.commit(resource, key.clone(), Some(marked));
            }
            return Ok(Deleted { object: self.commit(resource, key.clone(), None), gone: true });
        }
        self.mark(resource, &live, &mut marked, grace);
        if marked == *live {
            return Ok(Deleted { object: live, gone: false });
        }
        Ok(Deleted { object: self.commit(resource, key.clone(), Some(marked)), gone: false })
    }

    /// Deletes a pod that somebody wants to be rid of, with the reason in its status.
    ///
    /// # Errors
    /// As [`Store::delete`].
    pub(super) fn evict(&mut self, key: &Key, options: &DeleteOptions) -> Result<Deleted, Refusal> {
        let condition = json!({
            "type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI",
            "message": "Eviction API: evicting", "lastProbeTime": null, "lastTransitionTime": self.stamp(),
        });
        if !options.dry_run {
            self.update(Resource::Pods, key, By::actor_status(), |live| {
                let mut pod = Value::clone(live);
                match pod.pointer_mut("/status/conditions").and_then(Value::as_array_mut) {
                    Some(all) => all.push(condition),
                    None => pod["status"]["conditions"] = json!([condition]),
                }
                Ok(pod)
            })?;
        }
        self.delete(Resource::Pods, key, options)
    }

    /// Adds the finalizer of the propagation; true where the object has any, or is a namespace.
    fn hold(&self, resource: Resource, object: &mut Value, options: &DeleteOptions) -> bool {
        let finalizer = match options.propagation.as_deref() {
            Some("Foreground") => Some("foregroundDeletion"),
            Some("Orphan") => Some("orphan"),
            _ => None,
        };
        if let (Some(metadata), true) =
            (object.get_mut("metadata").and_then(Value::as_object_mut), options.propagation.is_some())
        {
            let all = metadata.entry("finalizers").or_insert_with(|| json!([]));
            if let Some(all) = all.as_array_mut() {
                // The last word counts.
                all.retain(|one| {
                    let one = one.as_str();
                    !["foregroundDeletion", "orphan"].map(Some).contains(&one) || one == finalizer
                });
                if let Some(finalizer) = finalizer.filter(|finalizer| !all.contains(&json!(finalizer))) {
                    all.push(json!(finalizer));
                }
            }
            if metadata.get("finalizers").and_then(Value::as_array).is_some_and(Vec::is_empty) {
                metadata.remove("finalizers");
            }
        }
        let finalizers = at(object, "/metadata/finalizers").and_then(Value::as_array);
        resource == Resource::Namespaces || finalizers.is_some_and(|all| !all.is_empty())
    }

    fn mark(&self, resource: Resource, live: &Value, object: &mut Value, grace: i64) {
        let already = at(live, "/metadata/deletionTimestamp").is_some();
        let left = at(live, "/metadata/deletionGracePeriodSeconds").and_then(Value::as_i64);
        if already && left.is_none_or(|left| left <= grace) {
            return;
        }
        let at = self.now().saturating_add(SignedDuration::from_secs(grace)).unwrap_or(self.now());
        object["metadata"]["deletionTimestamp"] = json!(stamp(at));
        object["metadata"]["deletionGracePeriodSeconds"] = json!(grace);
        if let Some(generation) = live.pointer("/metadata/generation").and_then(Value::as_i64)
            && !already
        {
            object["metadata"]["generation"] = json!(generation + 1);
        }
        if resource == Resource::Namespaces {
            object["status"]["phase"] = json!("Terminating");
        }
    }

    /// Ends what a finalizer of the server itself holds: removes it, and the object with the last one.
    pub fn release(&mut self, resource: Resource, key: &Key, finalizer: &str) -> Result<(), Refusal> {
        self.update(resource, key, By::actor(), |live| {
            let mut object = Value::clone(live);
            let all = object.pointer_mut("/metadata/finalizers").and_then(Value::as_array_mut);
            if let Some(all) = all {
                all.retain(|one| one.as_str() != Some(finalizer));
            }
            Ok(object)
        })
        .map(drop)
    }

    /// Removes an object whatever holds it; the last step of a namespace's end.
    pub fn purge(&mut self, resource: Resource, key: &Key) {
        if self.at(resource, key).is_some() {
            self.commit(resource, key.clone(), None);
        }
    }
}

/// Only pods have grace, and only while a node runs them.
fn grace_seconds(resource: Resource, pod: &Value, options: &DeleteOptions) -> i64 {
    let ended = matches!(text(pod, "/status/phase"), "Succeeded" | "Failed");
    if resource != Resource::Pods || text(pod, "/spec/nodeName").is_empty() || ended {
        return 0;
    }
    let own = at(pod, "/spec/terminationGracePeriodSeconds").and_then(Value::as_i64).unwrap_or(30);
    options.grace_seconds.unwrap_or(own).max(0)
}
