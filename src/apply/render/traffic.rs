//! Weights of VirtualServices as JSON patches: everything that is not ours stays as it is.

use serde_json::{Value, json};

use super::{Kind, Stage, Step, Versions, patch, step};
use crate::{
    api::{
        http::{Body, Request},
        traffic::{FIELD_MANAGER, MARK_PREFIX, print_mark},
    },
    decide::{
        observed::Side,
        plan::{Action, Expose, Lowering, Owner, Release, RouteWeights, SetWeights, WeightChange},
    },
    domain::{Key, Weight},
};

/// What makes the server answer 409 instead of 422 when the object has changed.
fn on_version(resource_version: &str) -> Value {
    json!({ "op": "replace", "path": "/metadata/resourceVersion", "value": resource_version })
}

pub(super) fn shed(lowering: &Lowering, owner: &Owner, versions: &Versions) -> Request {
    let mut operations = weights(&lowering.routes, Guard::OldWeights);
    if let Some(mark) = &lowering.mark {
        if !lowering.has_annotations {
            // Without the test a stale view would replace annotations that came in the meantime.
            operations.push(json!({ "op": "test", "path": "/metadata/annotations", "value": null }));
            operations.push(json!({ "op": "add", "path": "/metadata/annotations", "value": {} }));
        }
        operations.push(json!({ "op": "add", "path": mark_path(owner), "value": print_mark(mark) }));
    }
    send(&lowering.virtual_service, operations, versions)
}

pub(super) fn expose(expose: &Expose, owner: &Owner, versions: &Versions) -> Step {
    match expose {
        Expose::Weights(set) => step(Stage::Expose, Action::Weights, set_weights(set, owner, versions)),
        Expose::ClearMark { virtual_service, resource_version } => {
            let operations = vec![on_version(resource_version), clear(owner)];
            step(Stage::Expose, Action::ClearMark, send(virtual_service, operations, versions))
        }
    }
}

fn set_weights(set: &SetWeights, owner: &Owner, versions: &Versions) -> Request {
    let mut operations = vec![on_version(&set.resource_version)];
    operations.extend(weights(&set.routes, Guard::Version));
    if set.clear_mark {
        operations.push(clear(owner));
    }
    send(&set.virtual_service, operations, versions)
}

/// Takes our entry out of managedFields: of this very version, so that the index is still that of the entry.
pub(super) fn release(release: &Release, versions: &Versions) -> Request {
    let at = format!("/metadata/managedFields/{}", release.entry);
    let operations = vec![
        json!({ "op": "test", "path": format!("{at}/manager"), "value": FIELD_MANAGER }),
        json!({ "op": "remove", "path": at }),
        on_version(&release.resource_version),
    ];
    send(&release.virtual_service, operations, versions)
}

/// What keeps weights that were decided on an old view from raising what somebody else has lowered meanwhile.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Guard {
    /// The request carries the resourceVersion.
    Version,
    /// The weights themselves, where the canary's side keeps some: taking all of it away is a lowering in any case, and
    /// must not wait for another look.
    OldWeights,
}

/// Sets each weight, provided that the route and the destination are still the ones that were looked at.
fn weights(routes: &[RouteWeights], guard: Guard) -> Vec<Value> {
    let mut operations = vec![];
    for route in routes {
        let at = format!("/spec/http/{}", route.index);
        let keeps = |change: &WeightChange| change.side == Side::Canary && change.to > Weight::ZERO;
        let is_tested = guard == Guard::OldWeights && route.changes.iter().any(keeps);
        if let Some(name) = &route.name {
            operations.push(json!({ "op": "test", "path": format!("{at}/name"), "value": name }));
        }
        for change in &route.changes {
            let at = format!("{at}/route/{}", change.index);
            let destination: &Value = &change.destination;
            operations
                .push(json!({ "op": "test", "path": format!("{at}/destination"), "value": destination }));
            if is_tested {
                operations
                    .push(json!({ "op": "test", "path": format!("{at}/weight"), "value": change.from }));
            }
            // `add` also replaces; `replace` would be refused where the weight is absent.
            let weight = change.to.percent();
            operations.push(json!({ "op": "add", "path": format!("{at}/weight"), "value": weight }));
        }
    }
    operations
}

fn clear(owner: &Owner) -> Value {
    json!({ "op": "remove", "path": mark_path(owner) })
}

fn mark_path(owner: &Owner) -> String {
    let key = format!("{MARK_PREFIX}{}", owner.uid).replace('~', "~0").replace('/', "~1");
    format!("/metadata/annotations/{key}")
}

fn send(key: &Key, operations: Vec<Value>, versions: &Versions) -> Request {
    let body = Body::JsonPatch(Value::Array(operations));
    patch(Kind::VirtualService(versions), &key.namespace, &key.name, body)
}
