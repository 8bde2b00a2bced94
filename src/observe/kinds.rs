//! The kinds that are kept, each in its slim form.

use kube::{api::ApiResource, core::GroupVersionKind};
use serde_json::Value;

use super::{object::Slim, watch::Selection};
use crate::{
    api::{
        http::WATCH_SECONDS,
        record, rollout,
        run::{self, StoredRun},
        traffic::{self, SlimService},
        workload::{self, HASH_LABEL, OwnedSet},
    },
    decide::{observed::Service, record::Record},
};

const INSTANCE_LABEL: &str = "argo-rollouts.argoproj.io/controller-instance-id";
/// How long a watch of what people act on is asked to last: an abort, or a weight that somebody raised by hand, must not stay unseen
/// for as long as another change may. Long enough for the server to say before the end where it stands (it does 2 s before).
const HANDS_SECONDS: u32 = 5;

/// Which objects are watched.
#[derive(Clone, Debug)]
pub struct Scope {
    /// `None`: all namespaces.
    pub namespace: Option<String>,
    /// Empty: only objects without the label of an instance.
    pub instance_id: String,
    /// Version of `networking.istio.io`, for instance `v1alpha3`.
    pub istio_version: String,
}

/// A template of analyses, whole: a new run is made from it.
#[derive(Clone, Debug)]
pub struct Template(pub Value);

impl Slim for rollout::Parsed {
    fn read(object: Value) -> Self {
        rollout::parse(object)
    }
}

impl Slim for Option<OwnedSet> {
    fn read(object: Value) -> Self {
        workload::parse_replica_set(&object)
    }
}

impl Slim for Service {
    fn read(object: Value) -> Self {
        workload::parse_service(&object)
    }
}

impl Slim for SlimService {
    fn read(object: Value) -> Self {
        traffic::parse_virtual_service(&object)
    }
}

impl Slim for StoredRun {
    fn read(object: Value) -> Self {
        run::parse(&object)
    }
}

impl Slim for Record {
    fn read(object: Value) -> Self {
        record::parse(&object)
    }
}

impl Slim for Template {
    fn read(mut object: Value) -> Self {
        if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.remove("managedFields");
        }
        Self(object)
    }
}

impl Scope {
    fn argo(&self, kind: &str) -> Selection {
        let labels = if self.instance_id.is_empty() {
            format!("!{INSTANCE_LABEL}")
        } else {
            format!("{INSTANCE_LABEL}={}", self.instance_id)
        };
        Selection { labels: Some(labels), ..self.plain("argoproj.io", "v1alpha1", kind) }
    }

    fn plain(&self, group: &str, version: &str, kind: &str) -> Selection {
        Selection {
            resource: ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind)),
            namespace: self.namespace.clone(),
            labels: None,
            is_optional: false,
            lasts: WATCH_SECONDS,
        }
    }

    pub(super) fn rollouts(&self) -> Selection {
        Selection { lasts: HANDS_SECONDS, ..self.argo("Rollout") }
    }

    pub(super) fn runs(&self) -> Selection {
        self.argo("AnalysisRun")
    }

    pub(super) fn templates(&self) -> Selection {
        self.argo("AnalysisTemplate")
    }

    /// Not readable for a controller of one namespace.
    pub(super) fn cluster_templates(&self) -> Selection {
        Selection { namespace: None, is_optional: true, ..self.argo("ClusterAnalysisTemplate") }
    }

    pub(super) fn replica_sets(&self) -> Selection {
        Selection { labels: Some(HASH_LABEL.to_owned()), ..self.plain("apps", "v1", "ReplicaSet") }
    }

    pub(super) fn services(&self) -> Selection {
        self.plain("", "v1", "Service")
    }

    /// Istio may come later.
    pub(super) fn virtual_services(&self) -> Selection {
        let selection = self.plain("networking.istio.io", &self.istio_version, "VirtualService");
        Selection { is_optional: true, lasts: HANDS_SECONDS, ..selection }
    }

    /// Somebody may have swapped the image only, with the definitions of serin.dev not installed.
    pub(super) fn records(&self) -> Selection {
        Selection { is_optional: true, ..self.plain("serin.dev", "v1alpha1", "RolloutRecord") }
    }
}
