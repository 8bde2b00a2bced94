//! The resources the world serves, as one table.

use strum::{EnumIter, IntoEnumIterator};

/// A resource of the API, all versions of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, EnumIter)]
pub enum Resource {
    Namespaces,
    Nodes,
    Pods,
    Services,
    Endpoints,
    Events,
    Secrets,
    ConfigMaps,
    ServiceAccounts,
    Deployments,
    ReplicaSets,
    EndpointSlices,
    Leases,
    VirtualServices,
    DestinationRules,
    Rollouts,
    AnalysisRuns,
    AnalysisTemplates,
    ClusterAnalysisTemplates,
    Experiments,
    RolloutRecords,
    SelfHealPolicies,
    SelfHeals,
    CustomResourceDefinitions,
    Kustomizations,
    Applications,
}

/// What moves `metadata.generation`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Generation {
    /// The kind has no generation.
    None,
    /// Any change outside of metadata and of the status subresource.
    Content,
}

/// Which names are valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Names {
    /// RFC 1123 subdomain, up to 253 characters.
    Subdomain,
    /// RFC 1123 label, up to 63 characters.
    Label,
    /// RFC 1035 label, up to 63 characters (Services).
    Label1035,
}

/// What the server knows of a resource.
#[derive(Debug)]
pub struct Definition {
    /// Empty for the core group.
    pub group: &'static str,
    /// Served versions; the first is the one objects are stored in.
    pub versions: &'static [&'static str],
    pub plural: &'static str,
    pub singular: &'static str,
    pub kind: &'static str,
    pub short: &'static [&'static str],
    pub namespaced: bool,
    /// Served from a CustomResourceDefinition: no strategic merge, no unconditional PUT, lists are atomic.
    pub custom: bool,
    pub status: bool,
    pub scale: bool,
    pub generation: Generation,
    pub names: Names,
    /// A PUT without resourceVersion is accepted.
    pub unconditional_update: bool,
    /// A PUT of a name that does not exist creates it.
    pub create_on_update: bool,
    /// DELETE answers with the object instead of a Status.
    pub returns_deleted: bool,
}

const BUILT_IN: Definition = Definition {
    group: "",
    versions: &["v1"],
    plural: "",
    singular: "",
    kind: "",
    short: &[],
    namespaced: true,
    custom: false,
    status: false,
    scale: false,
    generation: Generation::None,
    names: Names::Subdomain,
    unconditional_update: true,
    create_on_update: false,
    returns_deleted: false,
};

const CUSTOM: Definition = Definition {
    versions: &["v1alpha1"],
    custom: true,
    generation: Generation::Content,
    unconditional_update: false,
    ..BUILT_IN
};

const ISTIO: Definition = Definition {
    group: "networking.istio.io",
    versions: &["v1alpha3", "v1beta1", "v1"],
    status: true,
    ..CUSTOM
};
const ARGO: Definition = Definition { group: "argoproj.io", ..CUSTOM };
const SERIN: Definition = Definition { group: "serin.dev", ..CUSTOM };
const APPS: Definition =
    Definition { group: "apps", status: true, scale: true, generation: Generation::Content, ..BUILT_IN };

static DEFINITIONS: &[Definition] = &[
    Definition {
        plural: "namespaces",
        singular: "namespace",
        kind: "Namespace",
        short: &["ns"],
        namespaced: false,
        status: true,
        names: Names::Label,
        ..BUILT_IN
    },
    Definition {
        plural: "nodes",
        singular: "node",
        kind: "Node",
        short: &["no"],
        namespaced: false,
        status: true,
        ..BUILT_IN
    },
    Definition {
        plural: "pods",
        singular: "pod",
        kind: "Pod",
        short: &["po"],
        status: true,
        generation: Generation::Content,
        returns_deleted: true,
        ..BUILT_IN
    },
    Definition {
        plural: "services",
        singular: "service",
        kind: "Service",
        short: &["svc"],
        status: true,
        names: Names::Label1035,
        returns_deleted: true,
        ..BUILT_IN
    },
    Definition {
        plural: "endpoints",
        singular: "endpoints",
        kind: "Endpoints",
        short: &["ep"],
        create_on_update: true,
        ..BUILT_IN
    },
    Definition {
        plural: "events",
        singular: "event",
        kind: "Event",
        short: &["ev"],
        create_on_update: true,
        ..BUILT_IN
    },
    Definition { plural: "secrets", singular: "secret", kind: "Secret", ..BUILT_IN },
    Definition { plural: "configmaps", singular: "configmap", kind: "ConfigMap", short: &["cm"], ..BUILT_IN },
    Definition {
        plural: "serviceaccounts",
        singular: "serviceaccount",
        kind: "ServiceAccount",
        short: &["sa"],
        returns_deleted: true,
        ..BUILT_IN
    },
    Definition {
        plural: "deployments",
        singular: "deployment",
        kind: "Deployment",
        short: &["deploy"],
        ..APPS
    },
    Definition { plural: "replicasets", singular: "replicaset", kind: "ReplicaSet", short: &["rs"], ..APPS },
    Definition {
        group: "discovery.k8s.io",
        plural: "endpointslices",
        singular: "endpointslice",
        kind: "EndpointSlice",
        generation: Generation::Content,
        ..BUILT_IN
    },
    Definition {
        group: "coordination.k8s.io",
        plural: "leases",
        singular: "lease",
        kind: "Lease",
        unconditional_update: false,
        create_on_update: true,
        ..BUILT_IN
    },
    Definition {
        plural: "virtualservices",
        singular: "virtualservice",
        kind: "VirtualService",
        short: &["vs"],
        ..ISTIO
    },
    Definition {
        plural: "destinationrules",
        singular: "destinationrule",
        kind: "DestinationRule",
        short: &["dr"],
        ..ISTIO
    },
    Definition {
        plural: "rollouts",
        singular: "rollout",
        kind: "Rollout",
        short: &["ro"],
        status: true,
        scale: true,
        ..ARGO
    },
    Definition {
        plural: "analysisruns",
        singular: "analysisrun",
        kind: "AnalysisRun",
        short: &["ar"],
        ..ARGO
    },
    Definition {
        plural: "analysistemplates",
        singular: "analysistemplate",
        kind: "AnalysisTemplate",
        short: &["at"],
        ..ARGO
    },
    Definition {
        plural: "clusteranalysistemplates",
        singular: "clusteranalysistemplate",
        kind: "ClusterAnalysisTemplate",
        short: &["cat"],
        namespaced: false,
        ..ARGO
    },
    Definition { plural: "experiments", singular: "experiment", kind: "Experiment", short: &["exp"], ..ARGO },
    Definition {
        plural: "rolloutrecords",
        singular: "rolloutrecord",
        kind: "RolloutRecord",
        status: true,
        ..SERIN
    },
    Definition { plural: "selfhealpolicies", singular: "selfhealpolicy", kind: "SelfHealPolicy", ..SERIN },
    Definition { plural: "selfheals", singular: "selfheal", kind: "SelfHeal", status: true, ..SERIN },
    Definition {
        group: "apiextensions.k8s.io",
        plural: "customresourcedefinitions",
        singular: "customresourcedefinition",
        kind: "CustomResourceDefinition",
        short: &["crd", "crds"],
        namespaced: false,
        status: true,
        generation: Generation::Content,
        unconditional_update: false,
        ..BUILT_IN
    },
    Definition {
        group: "kustomize.toolkit.fluxcd.io",
        versions: &["v1"],
        plural: "kustomizations",
        singular: "kustomization",
        kind: "Kustomization",
        short: &["ks"],
        status: true,
        ..CUSTOM
    },
    Definition {
        plural: "applications",
        singular: "application",
        kind: "Application",
        short: &["app", "apps"],
        ..ARGO
    },
];

impl Resource {
    /// The row of the table.
    pub fn definition(self) -> &'static Definition {
        &DEFINITIONS[self as usize]
    }

    /// Every resource, core group first.
    pub fn all() -> impl Iterator<Item = Self> {
        Self::iter()
    }

    /// The resource served as `plural` in `group` and `version`.
    pub fn find(group: &str, version: &str, plural: &str) -> Option<(Self, &'static str)> {
        Self::all().find_map(|resource| {
            let definition = resource.definition();
            (definition.group == group && definition.plural == plural)
                .then(|| definition.versions.iter().find(|served| **served == version))
                .flatten()
                .map(|served| (resource, *served))
        })
    }

    /// The resource of objects with this `apiVersion` and `kind`.
    pub fn of_kind(api_version: &str, kind: &str) -> Option<Self> {
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        Self::all().find(|resource| {
            let definition = resource.definition();
            definition.group == group && definition.kind == kind && definition.versions.contains(&version)
        })
    }
}

impl Definition {
    /// `apiVersion` of objects in `version`.
    pub fn api_version(&self, version: &str) -> String {
        if self.group.is_empty() { version.to_owned() } else { format!("{}/{version}", self.group) }
    }

    /// `apiVersion` of stored objects.
    pub fn stored_version(&self) -> String {
        self.api_version(self.versions.first().copied().unwrap_or("v1"))
    }

    /// `rollouts.argoproj.io`, or `pods`, as messages have it.
    pub fn qualified(&self) -> String {
        if self.group.is_empty() { self.plural.to_owned() } else { format!("{}.{}", self.plural, self.group) }
    }

    /// `Rollout.argoproj.io`, or `Pod`, as validation messages have it.
    pub fn qualified_kind(&self) -> String {
        if self.group.is_empty() { self.kind.to_owned() } else { format!("{}.{}", self.kind, self.group) }
    }

    /// Groups in the order discovery lists them.
    pub fn groups() -> Vec<&'static str> {
        let mut groups: Vec<_> = DEFINITIONS.iter().map(|definition| definition.group).collect();
        groups.retain(|group| !group.is_empty());
        groups.sort_unstable();
        groups.dedup();
        groups
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_resource_has_its_own_row() {
        assert_eq!(Resource::all().count(), DEFINITIONS.len());
        for resource in Resource::all() {
            let plural = resource.definition().plural;
            assert_eq!(format!("{resource:?}").to_lowercase(), plural);
        }
    }

    #[test]
    fn all_versions_of_an_istio_kind_are_one_resource() {
        for version in ["v1alpha3", "v1beta1", "v1"] {
            let found = Resource::find("networking.istio.io", version, "virtualservices");
            assert_eq!(found, Some((Resource::VirtualServices, version)));
        }
        assert_eq!(Resource::find("argoproj.io", "v1", "rollouts"), None);
    }
}
