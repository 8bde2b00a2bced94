//! From a path to what it names.

use super::resource::{Definition, Resource};

/// What a path leads to.
#[derive(Clone, Debug, PartialEq)]
pub enum Route {
    Objects(Target),
    /// `/version`, `/healthz`, `/api`, `/apis`, `/apis/<group>`, `/apis/<group>/<version>`.
    Discovery(Discovery),
    /// A part that the kind does not have.
    NoPart(Resource, String),
    /// Nothing is served there; `true` where a built-in group would answer.
    Unknown(bool),
}

/// A discovery document.
#[derive(Clone, Debug, PartialEq)]
pub enum Discovery {
    Version,
    Health,
    CoreVersions,
    Groups,
    Group(String),
    Resources {
        group: String,
        version: String,
    },
    OpenApi,
    /// `api/v1` or `apis/<group>/<version>`.
    OpenApiOf(String),
}

/// A collection, an object or a part of one.
#[derive(Clone, Debug, PartialEq)]
pub struct Target {
    pub resource: Resource,
    /// The version the client speaks.
    pub version: &'static str,
    /// Absent for cluster-scoped kinds and for lists over all namespaces.
    pub namespace: Option<String>,
    /// Absent for a collection.
    pub name: Option<String>,
    pub part: Part,
}

/// The object itself or a subresource.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    Main,
    Status,
    Scale,
    Eviction,
}

/// Splits an absolute path without query.
pub fn route(path: &str) -> Route {
    let segments: Vec<&str> = path.split('/').filter(|segment| !segment.is_empty()).collect();
    match segments.as_slice() {
        ["version"] => Route::Discovery(Discovery::Version),
        ["healthz" | "readyz" | "livez"] => Route::Discovery(Discovery::Health),
        ["openapi", "v3"] => Route::Discovery(Discovery::OpenApi),
        ["openapi", "v3", rest @ ..] => Route::Discovery(Discovery::OpenApiOf(rest.join("/"))),
        ["api"] => Route::Discovery(Discovery::CoreVersions),
        ["apis"] => Route::Discovery(Discovery::Groups),
        ["apis", group] => Route::Discovery(Discovery::Group((*group).to_owned())),
        ["api", version] => {
            Route::Discovery(Discovery::Resources { group: String::new(), version: (*version).to_owned() })
        }
        ["apis", group, version] => Route::Discovery(Discovery::Resources {
            group: (*group).to_owned(),
            version: (*version).to_owned(),
        }),
        ["api", version, rest @ ..] => objects("", version, rest),
        ["apis", group, version, rest @ ..] => objects(group, version, rest),
        _ => Route::Unknown(false),
    }
}

fn objects(group: &str, version: &str, rest: &[&str]) -> Route {
    let (namespace, rest) = match rest {
        ["namespaces", namespace, plural, tail @ ..] if !is_part_of_a_namespace(plural) => {
            (Some(*namespace), [&[*plural], tail].concat())
        }
        _ => (None, rest.to_vec()),
    };
    let Some((plural, tail)) = rest.split_first() else { return Route::Unknown(is_built_in(group)) };
    let Some((resource, version)) = Resource::find(group, version, plural) else {
        return Route::Unknown(is_built_in(group));
    };
    let definition = resource.definition();
    let Some((name, part)) = object_and_part(definition, tail) else {
        return match tail {
            [name, _, ..] if definition.custom => Route::NoPart(resource, (*name).to_owned()),
            _ => Route::Unknown(!definition.custom),
        };
    };
    // An object of a namespaced kind is only served below its namespace; the collection is also served above.
    if namespace.is_some() != definition.namespaced && (namespace.is_some() || name.is_some()) {
        return Route::Unknown(!definition.custom);
    }
    Route::Objects(Target { resource, version, namespace: namespace.map(str::to_owned), name, part })
}

fn object_and_part(definition: &Definition, tail: &[&str]) -> Option<(Option<String>, Part)> {
    match tail {
        [] => Some((None, Part::Main)),
        [name] => Some((Some((*name).to_owned()), Part::Main)),
        [name, part] => {
            let part = match *part {
                "status" if definition.status => Part::Status,
                "scale" if definition.scale => Part::Scale,
                "eviction" if definition.plural == "pods" => Part::Eviction,
                _ => return None,
            };
            Some((Some((*name).to_owned()), part))
        }
        _ => None,
    }
}

fn is_part_of_a_namespace(segment: &str) -> bool {
    matches!(segment, "status" | "finalize")
}

/// True for groups the API server serves itself rather than from a CustomResourceDefinition.
fn is_built_in(group: &str) -> bool {
    Resource::all().map(Resource::definition).any(|row| row.group == group && !row.custom)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(path: &str) -> Target {
        match route(path) {
            Route::Objects(target) => target,
            Route::Discovery(_) | Route::NoPart(..) | Route::Unknown(_) => panic!("{path}"),
        }
    }

    #[test]
    fn paths_name_collections_objects_and_parts() {
        let all = target("/apis/argoproj.io/v1alpha1/rollouts");
        assert_eq!((all.resource, all.namespace, all.name), (Resource::Rollouts, None, None));
        let scale = target("/apis/argoproj.io/v1alpha1/namespaces/shop/rollouts/cart/scale");
        assert_eq!((scale.namespace.as_deref(), scale.name.as_deref()), (Some("shop"), Some("cart")));
        assert_eq!(scale.part, Part::Scale);
        let namespace = target("/api/v1/namespaces/shop");
        assert_eq!((namespace.resource, namespace.name.as_deref()), (Resource::Namespaces, Some("shop")));
        assert_eq!(target("/api/v1/namespaces/shop/status").part, Part::Status);
        assert_eq!(target("/api/v1/namespaces/shop/pods").resource, Resource::Pods);
    }

    #[test]
    fn what_is_not_served_is_unknown() {
        for (path, built_in) in [
            ("/apis/argoproj.io/v1alpha1/rollouts/cart", false),
            ("/api/v1/unheardofs", true),
            ("/apis/nobody.example/v1/things", false),
            ("/apis/argoproj.io/v1alpha1/namespaces/shop/clusteranalysistemplates", false),
        ] {
            assert_eq!(route(path), Route::Unknown(built_in), "{path}");
        }
    }
}
