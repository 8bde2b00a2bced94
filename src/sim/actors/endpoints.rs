//! The EndpointSlice controller: which pods a Service leads to.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{Dirty, condition, controlled_by};
use crate::sim::store::{By, Change, DeleteOptions, Key, Resource, Selectors, Store, at, text};

#[derive(Clone, Debug, Default)]
pub(super) struct Endpoints {
    dirty: Dirty,
}

/// The selector of a Service; `None` for one that has none and so no endpoints of ours.
fn selector(service: &Value) -> Option<Selectors> {
    let labels = at(service, "/spec/selector").and_then(Value::as_object)?;
    (!labels.is_empty()).then(|| Selectors::of_map(labels))
}

impl Endpoints {
    pub(super) fn see(&mut self, change: &Change) {
        self.dirty.insert(change.key.clone());
    }

    pub(super) fn see_pod(&mut self, store: &Store, change: &Change) {
        let states = [&change.before, &change.after];
        for (key, service) in store.objects_in(Resource::Services, &change.key.namespace) {
            let Some(selector) = selector(service) else { continue };
            if states.into_iter().flatten().any(|pod| selector.matches(pod)) {
                self.dirty.insert(key.clone());
            }
        }
    }

    pub(super) fn run(&mut self, store: &mut Store) {
        for key in std::mem::take(&mut self.dirty) {
            sync(store, &key);
        }
    }
}

fn sync(store: &mut Store, key: &Key) {
    let Some(service) = store.at(Resource::Services, key).cloned() else { return };
    let of_service = |slice: &Arc<Value>| {
        text(slice, "/metadata/labels/kubernetes.io~1service-name") == key.name
            && text(slice, "/metadata/labels/endpointslice.kubernetes.io~1managed-by") == MANAGED_BY
    };
    let slice = store
        .objects_in(Resource::EndpointSlices, &key.namespace)
        .find(|(_, slice)| of_service(slice))
        .map(|(key, _)| key.clone());
    let Some(selector) = selector(&service) else {
        if let Some(slice) = slice {
            let _ = store.delete(Resource::EndpointSlices, &slice, &DeleteOptions::now());
        }
        return;
    };
    let pods: Vec<_> = store
        .objects_in(Resource::Pods, &key.namespace)
        .map(|(_, pod)| pod.clone())
        .filter(|pod| selector.matches(pod))
        .collect();
    let endpoints: Vec<_> = pods.iter().filter_map(|pod| endpoint(pod)).collect();
    let ports = ports(&service, pods.first().map(Arc::as_ref));
    let content = |slice: &mut Value| {
        slice["addressType"] = json!("IPv4");
        slice["endpoints"] = json!(endpoints);
        slice["ports"] = ports.clone();
    };
    // Refused only where the namespace is going away.
    let _ = match slice {
        Some(slice) => store.update(Resource::EndpointSlices, &slice, By::actor(), |live| {
            let mut slice = Value::clone(live);
            content(&mut slice);
            Ok(slice)
        }),
        None => {
            let mut slice = json!({"metadata": {
                "generateName": format!("{}-", key.name), "ownerReferences": controlled_by(&service),
                "labels": {"kubernetes.io/service-name": key.name, "endpointslice.kubernetes.io/managed-by": MANAGED_BY},
            }});
            content(&mut slice);
            store.create(Resource::EndpointSlices, &key.namespace, slice, By::actor())
        }
    };
}

const MANAGED_BY: &str = "endpointslice-controller.k8s.io";

fn endpoint(pod: &Value) -> Option<Value> {
    let address = at(pod, "/status/podIP")?;
    let going = at(pod, "/metadata/deletionTimestamp").is_some();
    let serving = condition(pod, "Ready").is_some_and(|ready| text(ready, "/status") == "True");
    Some(json!({
        "addresses": [address],
        "conditions": {"ready": serving && !going, "serving": serving, "terminating": going},
        "nodeName": pod["spec"]["nodeName"],
        "targetRef": {"kind": "Pod", "namespace": pod["metadata"]["namespace"], "name": pod["metadata"]["name"],
            "uid": pod["metadata"]["uid"]},
    }))
}

/// The Service's ports with named target ports looked up in a pod.
fn ports(service: &Value, pod: Option<&Value>) -> Value {
    let named = |name: &str| {
        let containers = pod?.pointer("/spec/containers")?.as_array()?;
        let ports = containers.iter().filter_map(|container| container.get("ports")?.as_array()).flatten();
        ports.into_iter().find(|port| text(port, "/name") == name)?.get("containerPort").cloned()
    };
    let all = at(service, "/spec/ports").and_then(Value::as_array);
    let one = |port: &Value| {
        let target = match port.get("targetPort") {
            Some(Value::String(name)) => named(name).unwrap_or(Value::Null),
            Some(number) => number.clone(),
            None => port["port"].clone(),
        };
        json!({"name": text(port, "/name"), "port": target, "protocol": port["protocol"]})
    };
    all.into_iter().flatten().map(one).collect()
}
