//! How lists and maps merge: which are keyed, which are sets, which are replaced whole.
//!
//! Built-in kinds follow the merge keys of their published OpenAPI; custom kinds have none, as a schema that
//! preserves unknown fields has none, except for what every object's metadata has.

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
pub(super) fn list_kind(custom: bool, path: &Path<'_>) -> ListKind {
    match path {
        ["metadata", "ownerReferences"] => return ListKind::Keyed(&["uid"]),
        ["metadata", "finalizers"] => return ListKind::Set,
        _ if custom => return ListKind::Atomic,
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
pub(super) fn is_atomic_map(custom: bool, path: &Path<'_>) -> bool {
    if custom {
        // A label selector is atomic in every schema that has one.
        return matches!(path, ["spec", "selector"]);
    }
    matches!(path, ["spec", "selector"] | ["spec" | "template", .., "nodeSelector"] | ["involvedObject"])
        || matches!(path.last(), Some(&("labelSelector" | "fieldRef" | "secretKeyRef" | "configMapKeyRef")))
}
