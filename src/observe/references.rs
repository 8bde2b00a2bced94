//! Which objects a Rollout names, so that a change of one of them wakes the Rollout. Reads leniently: a name that
//! cannot be read wakes nobody, and the pass over the Rollout says what is wrong with it.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::domain::Key;

/// An object that a Rollout names.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reference {
    Service(Key),
    VirtualService(Key),
    /// Any AnalysisTemplate of the namespace: templates name templates.
    Templates(String),
    /// Any ClusterAnalysisTemplate.
    ClusterTemplates,
}

/// All that `object` names, if it is a Rollout; nothing for other kinds, which have no such fields.
pub(super) fn references(object: &Value, namespace: &str) -> BTreeSet<Reference> {
    let mut found = BTreeSet::new();
    let Some(canary) = object.pointer("/spec/strategy/canary") else { return found };
    for field in ["stableService", "canaryService"] {
        if let Some(name) = canary.get(field).and_then(Value::as_str).filter(|name| !name.is_empty()) {
            found.insert(Reference::Service(Key::new(namespace, name)));
        }
    }
    let istio = canary.pointer("/trafficRouting/istio");
    let one = istio.and_then(|istio| istio.get("virtualService"));
    let many = istio.and_then(|istio| istio.get("virtualServices")).and_then(Value::as_array);
    for service in one.into_iter().chain(many.into_iter().flatten()) {
        if let Some(name) = service.get("name").and_then(Value::as_str) {
            found.insert(Reference::VirtualService(virtual_service(name, namespace)));
        }
    }
    let steps = canary.get("steps").and_then(Value::as_array).into_iter().flatten();
    let inline = steps.filter_map(|step| step.get("analysis"));
    if canary.get("analysis").into_iter().chain(inline).next().is_some() {
        found.insert(Reference::Templates(namespace.to_owned()));
        found.insert(Reference::ClusterTemplates);
    }
    found
}

/// `name`, or `name.namespace`, either followed by `.cluster.local`. The last segment is the namespace, as the
/// reference has it.
fn virtual_service(name: &str, namespace: &str) -> Key {
    let name = name.strip_suffix(".cluster.local").unwrap_or(name);
    match name.rsplit_once('.') {
        Some((name, namespace)) => Key::new(namespace, name),
        None => Key::new(namespace, name),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_rollout_names_its_services_routes_and_templates() {
        let rollout = json!({ "spec": { "strategy": { "canary": {
            "stableService": "cart-stable",
            "canaryService": "cart-canary",
            "trafficRouting": { "istio": { "virtualService": { "name": "cart.mesh.cluster.local" } } },
            "steps": [{ "setWeight": 10 }, { "analysis": { "templates": [{ "templateName": "x" }] } }],
        } } } });
        let expected = BTreeSet::from([
            Reference::Service(Key::new("shop", "cart-stable")),
            Reference::Service(Key::new("shop", "cart-canary")),
            Reference::VirtualService(Key::new("mesh", "cart")),
            Reference::Templates("shop".into()),
            Reference::ClusterTemplates,
        ]);
        assert_eq!(references(&rollout, "shop"), expected);
    }

    #[test]
    fn nonsense_names_nothing() {
        let rollout = json!({ "spec": { "strategy": { "canary": { "stableService": 5, "steps": "x" } } } });
        assert_eq!(references(&rollout, "shop"), BTreeSet::new());
        assert_eq!(references(&json!(null), "shop"), BTreeSet::new());
    }
}
