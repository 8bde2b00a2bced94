//! A plan as requests. Pure: the same plan gives the same requests, in the order of the plan's fields.

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::{
    api::http::{Body, Method, Request},
    decide::plan::{Action, Lowering, Owner, Plan},
    domain::Key,
};

mod memory;
mod tell;
mod traffic;
mod workload;

#[cfg(test)]
pub(crate) mod tests;

pub use crate::api::traffic::FIELD_MANAGER;
/// Whom writes to serin's own kinds belong to.
pub const RECORD_MANAGER: &str = "serin-controller";

/// Which field of the plan a request comes from. The order is the order of effects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, strum::IntoStaticStr)]
pub enum Stage {
    Shed,
    Memory,
    Prepare,
    Expose,
    Retire,
    Tell,
}

/// One request of a plan.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    pub stage: Stage,
    pub action: Action,
    pub request: Request,
}

/// API versions that a cluster's owner chooses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Versions {
    /// Of `networking.istio.io`, for instance `v1alpha3`.
    pub istio: String,
}

impl Default for Versions {
    fn default() -> Self {
        Self { istio: "v1alpha3".to_owned() }
    }
}

/// Every request of `plan`, in order, each made when it is asked for: a shed does not wait for what comes after it. `now` is the
/// time of the pass: events carry it.
pub fn render<'a>(
    plan: &'a Plan,
    versions: &'a Versions,
    now: Timestamp,
) -> impl Iterator<Item = Step> + Send + use<'a> {
    let Plan { owner, shed: first, memory, prepare, expose, retire, tell, .. } = plan;
    let lower = first.weights.iter().map(|lowering| shed(lowering, owner, versions));
    let grow = |grow| step(Stage::Shed, Action::Grow, workload::scale_up(&owner.key.namespace, grow));
    lower
        .chain(first.grow.iter().map(grow))
        .chain(std::iter::once_with(|| memory::remember(memory, owner)).flatten())
        .chain(prepare.iter().map(|prepare| workload::prepare(prepare, owner)))
        .chain(expose.iter().map(|expose| traffic::expose(expose, owner, versions)))
        .chain(retire.iter().map(|retire| workload::retire(retire, owner, versions)))
        .chain(tell.iter().map(move |tell| tell::tell(tell, owner, now)))
}

/// The request that lowers exposure. Carries no resourceVersion: lowering is always safe. Where the canary's side keeps
/// some of its weight, the old weights are tested: what is still live might be less by now.
pub fn shed(lowering: &Lowering, owner: &Owner, versions: &Versions) -> Step {
    step(Stage::Shed, Action::Shed, traffic::shed(lowering, owner, versions))
}

/// The same request without the mark: for a VirtualService that takes weights but no annotation.
pub fn without_mark(request: &Request) -> Request {
    let Body::JsonPatch(Value::Array(operations)) = &request.body else { return request.clone() };
    let of_mark = |operation: &&Value| {
        operation
            .get("path")
            .and_then(Value::as_str)
            .is_some_and(|path| path.starts_with("/metadata/annotations"))
    };
    let kept: Vec<Value> = operations.iter().filter(|operation| !of_mark(operation)).cloned().collect();
    Request { body: Body::JsonPatch(Value::Array(kept)), ..request.clone() }
}

fn step(stage: Stage, action: Action, request: Request) -> Step {
    Step { stage, action, request }
}

/// Kinds that requests go to.
#[derive(Clone, Copy)]
enum Kind<'a> {
    Rollout,
    AnalysisRun,
    RolloutRecord,
    SelfHeal,
    ReplicaSet,
    Service,
    Event,
    VirtualService(&'a Versions),
}

/// Path of the collection of `kind` in `namespace`.
fn collection(kind: Kind<'_>, namespace: &str) -> String {
    let (group, plural) = match kind {
        Kind::Rollout => ("/apis/argoproj.io/v1alpha1".to_owned(), "rollouts"),
        Kind::AnalysisRun => ("/apis/argoproj.io/v1alpha1".to_owned(), "analysisruns"),
        Kind::RolloutRecord => ("/apis/serin.dev/v1alpha1".to_owned(), "rolloutrecords"),
        Kind::SelfHeal => ("/apis/serin.dev/v1alpha1".to_owned(), "selfheals"),
        Kind::ReplicaSet => ("/apis/apps/v1".to_owned(), "replicasets"),
        Kind::Service => ("/api/v1".to_owned(), "services"),
        Kind::Event => ("/api/v1".to_owned(), "events"),
        Kind::VirtualService(versions) => {
            (format!("/apis/networking.istio.io/{}", versions.istio), "virtualservices")
        }
    };
    format!("{group}/namespaces/{namespace}/{plural}")
}

fn patch(kind: Kind<'_>, namespace: &str, name: &str, body: Body) -> Request {
    let path = format!("{}/{name}", collection(kind, namespace));
    Request { method: Method::Patch, path, query: managed_by(kind), body }
}

fn create(kind: Kind<'_>, namespace: &str, object: Value) -> Request {
    let path = collection(kind, namespace);
    Request { method: Method::Post, path, query: managed_by(kind), body: Body::Json(object) }
}

fn delete(kind: Kind<'_>, namespace: &str, name: &str, preconditions: Value) -> Request {
    let body = json!({
        "apiVersion": "v1",
        "kind": "DeleteOptions",
        "preconditions": preconditions,
        "propagationPolicy": "Background",
    });
    let path = format!("{}/{name}", collection(kind, namespace));
    Request { method: Method::Delete, path, query: vec![], body: Body::Json(body) }
}

fn managed_by(kind: Kind<'_>) -> Vec<(String, String)> {
    let manager = match kind {
        Kind::RolloutRecord | Kind::SelfHeal => RECORD_MANAGER,
        Kind::Rollout
        | Kind::AnalysisRun
        | Kind::ReplicaSet
        | Kind::Service
        | Kind::Event
        | Kind::VirtualService(_) => FIELD_MANAGER,
    };
    vec![("fieldManager".to_owned(), manager.to_owned())]
}

/// The ownerReference by which an object is the Rollout's: deleted with it and listed as its own.
fn controlled_by(owner: &Owner) -> Value {
    json!([{
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Rollout",
        "name": owner.key.name,
        "uid": owner.uid.0,
        "controller": true,
        "blockOwnerDeletion": true,
    }])
}

/// Path of a VirtualService, for a live read.
pub fn virtual_service_path(key: &Key, versions: &Versions) -> String {
    format!("{}/{}", collection(Kind::VirtualService(versions), &key.namespace), key.name)
}
