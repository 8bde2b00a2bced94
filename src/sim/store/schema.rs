//! How lists and maps merge: which are keyed, which are sets, which are replaced whole.
//!
//! Built-in kinds follow the merge keys of their published OpenAPI; custom kinds have none, as a schema that
//! preserves unknown fields has none, except for what every object's metadata has.

use super::{resource::Resource, structural};

/// By which rules an object's lists and maps merge.
#[derive(Clone, Copy, Debug)]
pub(super) struct Form {
    custom: bool,
    schema: Option<&'static structural::Schema>,
}

impl Form {
    pub(super) const BUILT_IN: Self = Self { custom: false, schema: None };
    #[cfg(test)]
    pub(super) const CUSTOM: Self = Self { custom: true, schema: None };

    /// The rules of a kind.
    pub(super) fn of(resource: Resource) -> Self {
        Self { custom: resource.definition().custom, schema: structural::schema(resource) }
    }

    pub(super) fn is_custom(self) -> bool {
        self.custom
    }

    /// True below a place whose schema says no more than that everything is kept.
    pub(super) fn is_untyped(self, path: &Path<'_>) -> bool {
        self.schema.is_some_and(|schema| schema.at(path).is_none()) && path.first() != Some(&"metadata")
    }
}

/// How a list merges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ListKind {
    /// Replaced whole.
    Atomic,
    /// Scalars without order or repetition.
    Set,
    /// Entries with the same values under these keys are the same entry. A strategic merge uses the first.
    Keyed(&'static [&'static str]),
}

/// A path of field names from the root; the entries of a list add nothing to it.
pub(super) type Path<'a> = [&'a str];

/// The kind of the list at `path`.
pub(super) fn list_kind(form: Form, path: &Path<'_>) -> ListKind {
    match path {
        ["metadata", "ownerReferences"] => return ListKind::Keyed(&["uid"]),
        ["metadata", "finalizers"] => return ListKind::Set,
        _ if form.custom => {
            let keys = form.schema.and_then(|schema| schema.at(path)).map(|list| list.map_keys.as_slice());
            // The only keys that the shipped definitions have.
            let by_type = keys.is_some_and(|keys| matches!(keys, [key] if key == "type"));
            return if by_type { ListKind::Keyed(&["type"]) } else { ListKind::Atomic };
        }
        _ => {}
    }
    let parent = path.len().checked_sub(2).and_then(|at| path.get(at)).copied().unwrap_or_default();
    match (parent, path.last().copied().unwrap_or_default()) {
        (
            _,
            "containers" | "initContainers" | "ephemeralContainers" | "env" | "volumes" | "imagePullSecrets",
        ) => ListKind::Keyed(&["name"]),
        ("containers" | "initContainers" | "ephemeralContainers", "ports") => {
            ListKind::Keyed(&["containerPort", "protocol"])
        }
        ("containers" | "initContainers" | "ephemeralContainers", "volumeMounts") => {
            ListKind::Keyed(&["mountPath"])
        }
        ("spec", "ports") => ListKind::Keyed(&["port", "protocol"]),
        ("spec", "hostAliases") => ListKind::Keyed(&["ip"]),
        ("spec", "topologySpreadConstraints") => ListKind::Keyed(&["topologyKey", "whenUnsatisfiable"]),
        ("status", "conditions") => ListKind::Keyed(&["type"]),
        ("status", "podIPs" | "hostIPs") => ListKind::Keyed(&["ip"]),
        ("status", "addresses") => ListKind::Keyed(&["type"]),
        _ => ListKind::Atomic,
    }
}

/// True where the map at `path` is replaced whole.
pub(super) fn is_atomic_map(form: Form, path: &Path<'_>) -> bool {
    if form.custom {
        return form.schema.and_then(|schema| schema.at(path)).is_some_and(|map| map.is_atomic);
    }
    matches!(path, ["spec", "selector"] | ["spec" | "template", .., "nodeSelector"] | ["involvedObject"])
        || matches!(path.last(), Some(&("labelSelector" | "fieldRef" | "secretKeyRef" | "configMapKeyRef")))
}
