//! ReplicaSets and Services, slim. Any JSON can be read; what is not one of ours is `None`.

use std::cell::RefCell;

use serde_json::Value;

use super::{hash, lately::Lately, read};
use crate::{
    decide::observed::{ReplicaSet, Service},
    domain::{PodHash, Uid},
};

/// The label that says which pod template a pod was made from.
pub const HASH_LABEL: &str = "rollouts-pod-template-hash";
/// Annotations of the reference.
pub const REVISION: &str = "rollout.argoproj.io/revision";
pub const DESIRED_REPLICAS: &str = "rollout.argoproj.io/desired-replicas";
pub const SCALE_DOWN_DEADLINE: &str = "scale-down-deadline";
pub const MANAGED_BY: &str = "argo-rollouts.argoproj.io/managed-by-rollouts";
const EPHEMERAL_METADATA: &str = "rollout.argoproj.io/ephemeral-metadata";

/// A ReplicaSet as the stores keep it.
#[derive(Clone, Debug, PartialEq)]
pub struct OwnedSet {
    pub set: ReplicaSet,
    pub namespace: String,
    /// Uid of the controller in its owner references.
    pub owner: Option<Uid>,
    /// Digest of its pod template without what was injected; `None` where the template cannot be read.
    pub digest: Option<hash::Digest>,
}

/// Reads a ReplicaSet. `None` for one without the hash label: it is not a Rollout's.
pub fn parse_replica_set(object: &Value) -> Option<OwnedSet> {
    let annotation = |key: &str| read::text(object, &["metadata", "annotations", key]);
    let hash = read::text(object, &["metadata", "labels", HASH_LABEL]).and_then(PodHash::new)?;
    let digest = digest(read::at(object, &["spec", "template"]), annotation(EPHEMERAL_METADATA));
    let containers = ["initContainers", "containers"].into_iter();
    let images = containers
        .flat_map(|kind| read::list(object, &["spec", "template", "spec", kind]))
        .filter_map(|container| {
            Some((
                read::text(container, &["name"])?.to_owned(),
                read::text(container, &["image"])?.to_owned(),
            ))
        })
        .collect();
    Some(OwnedSet {
        set: ReplicaSet {
            name: read::owned(object, &["metadata", "name"]),
            uid: Uid(read::owned(object, &["metadata", "uid"])),
            resource_version: read::owned(object, &["metadata", "resourceVersion"]),
            created: read::time(object, &["metadata", "creationTimestamp"])
                .unwrap_or(jiff::Timestamp::UNIX_EPOCH),
            is_deleted: read::at(object, &["metadata", "deletionTimestamp"]).is_some(),
            hash,
            revision: annotation(REVISION).and_then(|text| text.parse().ok()).unwrap_or(0),
            desired: annotation(DESIRED_REPLICAS).and_then(|text| text.parse().ok()),
            deadline: annotation(SCALE_DOWN_DEADLINE).and_then(|text| text.parse().ok()),
            replicas: read::int(object, &["spec", "replicas"])
                .map_or(1, |_| read::count(object, &["spec", "replicas"])),
            created_pods: read::count(object, &["status", "replicas"]),
            ready: read::count(object, &["status", "readyReplicas"]),
            available: read::count(object, &["status", "availableReplicas"]),
            images,
        },
        namespace: read::owned(object, &["metadata", "namespace"]),
        owner: controller_of(object),
        digest,
    })
}

/// A pod template, and the annotation that says what was injected into it.
type Asked = (Value, Option<String>);

thread_local! {
    static DIGESTS: RefCell<Lately<Asked, Option<hash::Digest>>> = const { RefCell::new(Lately::new()) };
}

fn digest(template: Option<&Value>, injected: Option<&str>) -> Option<hash::Digest> {
    let template = template?;
    let work = || {
        let injected = injected.map_or_else(hash::Injected::none, hash::Injected::parse);
        hash::template_digest(template, &injected).ok()
    };
    let is_same = |(known, with): &Asked| known == template && with.as_deref() == injected;
    let key = || (template.clone(), injected.map(ToOwned::to_owned));
    DIGESTS.with_borrow_mut(|digests| digests.ask(is_same, key, work))
}

/// The uid of the object's controller.
pub(crate) fn controller_of(object: &Value) -> Option<Uid> {
    let owners = read::list(object, &["metadata", "ownerReferences"]);
    let controller = owners.iter().find(|owner| read::flag(owner, &["controller"]))?;
    read::text(controller, &["uid"]).map(|uid| Uid(uid.to_owned()))
}

/// Reads a Service.
pub fn parse_service(object: &Value) -> Service {
    Service {
        name: read::owned(object, &["metadata", "name"]),
        resource_version: read::owned(object, &["metadata", "resourceVersion"]),
        selected: read::text(object, &["spec", "selector", HASH_LABEL]).and_then(PodHash::new),
        managed_by: read::text(object, &["metadata", "annotations", MANAGED_BY]).map(str::to_owned),
        has_annotations: read::at(object, &["metadata", "annotations"]).is_some(),
    }
}
