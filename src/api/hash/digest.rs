//! A digest by which a pod template is recognised, whoever filled in its defaults and whatever was injected.

use serde::Deserialize;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::{
    Error, defaults, go_json,
    typed::{Object, Reader, Typed},
};

/// The label that rollouts put on their pods.
const HASH_LABEL: &str = "rollouts-pod-template-hash";

/// Two templates with the same digest make the same pods.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Digest(pub [u8; 16]);

/// Metadata that a rollout wrote into a ReplicaSet's template, recorded in the annotation
/// `rollout.argoproj.io/ephemeral-metadata`; only the keys count.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Injected {
    /// Keys under `metadata.labels`.
    pub labels: Vec<String>,
    /// Keys under `metadata.annotations`.
    pub annotations: Vec<String>,
}

impl Injected {
    /// Nothing was injected: a template as its user wrote it.
    pub fn none() -> Self {
        Self::default()
    }

    /// Reads the annotation. Text that is not such a record counts as nothing injected: the worst that follows is
    /// that the template is not recognised.
    pub fn parse(annotation: &str) -> Self {
        #[derive(Deserialize, Default)]
        #[serde(default)]
        struct Record {
            labels: Option<serde_json::Map<String, Value>>,
            annotations: Option<serde_json::Map<String, Value>>,
        }
        let record: Record = serde_json::from_str(annotation).unwrap_or_default();
        let keys = |map: Option<serde_json::Map<String, Value>>| {
            map.into_iter().flatten().map(|(key, _)| key).collect::<Vec<_>>()
        };
        Self { labels: keys(record.labels), annotations: keys(record.annotations) }
    }
}

/// The digest of a pod template, either the user's or a live ReplicaSet's.
///
/// Equal for both when they differ only in what the API server defaults (as of Kubernetes 1.34), the hash label, the
/// `injected` metadata, an anti-affinity term against the stable hash, the deprecated `serviceAccount`, how quantities
/// are spelt, or empty lists and maps.
///
/// # Errors
/// The first field that does not have the type Kubernetes gives it.
pub fn template_digest(template: &Value, injected: &Injected) -> Result<Digest, Error> {
    let mut typed = Reader::Strict.read(template, "PodTemplateSpec")?;
    strip(&mut typed, injected);
    defaults::apply(&mut typed);
    normalise(&mut typed);
    let sum = Sha256::digest(go_json::print(&typed).as_bytes());
    let mut digest = [0; 16];
    digest.iter_mut().zip(sum).for_each(|(to, from)| *to = from);
    Ok(Digest(digest))
}

fn strip(template: &mut Typed, injected: &Injected) {
    if let Some(labels) = inside(template, &["metadata", "labels"]) {
        retain(labels, |key| key != HASH_LABEL && !injected.labels.iter().any(|gone| gone == key));
    }
    if let Some(annotations) = inside(template, &["metadata", "annotations"]) {
        retain(annotations, |key| !injected.annotations.iter().any(|gone| gone == key));
    }
    if let Some(spec) = inside(template, &["spec"]).and_then(Typed::object_mut) {
        service_account(spec);
        if let Some(affinity) = spec.field_mut("affinity") {
            strip_anti_affinity(affinity);
        }
    }
}

/// The deprecated name counts only where the new one is absent; the API server fills each from the other.
fn service_account(spec: &mut Object) {
    let deprecated =
        spec.field_mut("serviceAccount").map(|old| std::mem::replace(old, Typed::Text(String::new())));
    if let (Some(name), Some(deprecated)) = (spec.field_mut("serviceAccountName"), deprecated)
        && name.is_empty()
    {
        *name = deprecated;
    }
}

fn strip_anti_affinity(affinity: &mut Typed) {
    if let Some(anti) = inside(affinity, &["podAntiAffinity"]) {
        if let Some(Typed::List(terms)) = inside(anti, &["requiredDuringSchedulingIgnoredDuringExecution"]) {
            terms.retain(|term| !names_the_hash(term));
        }
        if let Some(Typed::List(terms)) = inside(anti, &["preferredDuringSchedulingIgnoredDuringExecution"]) {
            terms.retain_mut(|term| {
                !inside(term, &["podAffinityTerm"]).is_some_and(|term| names_the_hash(term))
            });
        }
        clear_if_hollow(anti);
    }
    clear_if_hollow(affinity);
}

/// Injection makes the parents of its term where there are none, so empty parents must count as absent ones.
fn clear_if_hollow(pointer: &mut Typed) {
    if pointer.object_mut().is_some_and(|object| object.values.iter().all(Typed::is_empty)) {
        *pointer = Typed::Nil;
    }
}

/// True for a pod affinity term that selects by the hash label.
fn names_the_hash(term: &Typed) -> bool {
    let expressions = term
        .object()
        .and_then(|term| term.field("labelSelector"))
        .and_then(Typed::object)
        .and_then(|selector| selector.field("matchExpressions"));
    let Some(Typed::List(expressions)) = expressions else { return false };
    expressions.iter().filter_map(Typed::object).any(|expression| {
        expression.field("key").is_some_and(|key| matches!(key, Typed::Text(text) if text == HASH_LABEL))
    })
}

/// The value at a path of field names, through pointers.
fn inside<'a>(value: &'a mut Typed, path: &[&str]) -> Option<&'a mut Typed> {
    path.iter().try_fold(value, |value, name| value.object_mut()?.field_mut(name))
}

fn retain(map: &mut Typed, keep: impl Fn(&str) -> bool) {
    if let Typed::Map(entries) = map {
        entries.retain(|(key, _)| keep(key));
    }
}

/// Quantities by value; an empty list or map is an absent one.
fn normalise(value: &mut Typed) {
    match value {
        Typed::Quantity(quantity) => *quantity = quantity.by_value(),
        Typed::Pointer(target) => normalise(target),
        Typed::List(items) => items.iter_mut().for_each(normalise),
        Typed::Map(entries) => entries.iter_mut().for_each(|(_, entry)| normalise(entry)),
        Typed::Struct(object) => object.values.iter_mut().for_each(normalise),
        Typed::Nil | Typed::Text(_) | Typed::Bool(_) | Typed::Int(_) | Typed::Time(_) | Typed::Raw(_) => {}
    }
    let is_hollow = matches!(value, Typed::List(items) if items.is_empty())
        || matches!(value, Typed::Map(entries) if entries.is_empty());
    if is_hollow {
        *value = Typed::Nil;
    }
}
