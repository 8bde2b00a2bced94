//! An API server with serin's definitions and Istio's, and an audit log of the sheds.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use kube::{
    Api, Client,
    api::{ApiResource, DynamicObject, Patch, PatchParams},
    core::GroupVersionKind,
};
use serde_json::Value;

pub(crate) use crate::api_server::{client, free_ports};
use crate::{
    Fallible,
    api_server::{ADMIN, ApiServer, Place, audit, programs},
    wait,
};

const START: Duration = Duration::from_secs(90);

/// When which VirtualService was patched, and nothing else.
const AUDIT_POLICY: &str = r#"{
  "apiVersion": "audit.k8s.io/v1", "kind": "Policy", "omitStages": ["RequestReceived"],
  "rules": [
    {"level": "Request", "verbs": ["patch"], "resources": [{"group": "networking.istio.io", "resources": ["virtualservices"]}]},
    {"level": "None"}
  ]
}"#;

/// The running server. Ends with this value.
pub(crate) struct Server {
    folder: PathBuf,
    inner: ApiServer,
    /// As a member of system:masters.
    pub(crate) client: Client,
}

impl Server {
    /// Starts it with its data in `folder`, and waits until every kind that serin watches is served.
    ///
    /// # Errors
    /// With the end of the log of the program that did not come up.
    pub(crate) async fn start(root: &Path, folder: &Path) -> Fallible<Self> {
        let programs = programs(root, &[])?;
        let inner =
            ApiServer::start(&programs, folder, Place::free()?, &audit(folder, AUDIT_POLICY)?).await?;
        let client = inner.admin.clone();
        let server = Self { folder: folder.into(), inner, client };
        server.define(root, &programs).await?;
        Ok(server)
    }

    /// Fails when one of the programs has ended.
    ///
    /// # Errors
    /// With the end of its log.
    pub(crate) fn alive(&mut self) -> Fallible {
        self.inner.alive()
    }

    /// A kubeconfig for a server at `address`, which may stand before this one; `None`: this one itself.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(crate) fn kubeconfig(&self, name: &str, address: Option<&str>) -> Fallible<PathBuf> {
        self.inner.kubeconfig(name, ADMIN, address)
    }

    /// Where the API server writes when it received which shed.
    pub(crate) fn audit_log(&self) -> PathBuf {
        self.folder.join("audit.log")
    }

    /// Creates all definitions and waits until they are served.
    async fn define(&self, root: &Path, programs: &Path) -> Fallible {
        let mut files = vec![programs.join("istio-crds.yaml")];
        for entry in fs::read_dir(root.join("crds"))? {
            files.push(entry?.path());
        }
        let kind = api_of(&self.client, "", "apiextensions.k8s.io/v1", "CustomResourceDefinition");
        for file in files {
            let all: Vec<Value> = serde_saphyr::from_multiple(&fs::read_to_string(&file)?)?;
            for object in all.into_iter().filter(|object| !object.is_null()) {
                apply(&kind, &object).await?;
            }
        }
        for (version, kind) in [
            ("networking.istio.io/v1alpha3", "VirtualService"),
            ("argoproj.io/v1alpha1", "Rollout"),
            ("argoproj.io/v1alpha1", "AnalysisRun"),
            ("argoproj.io/v1alpha1", "AnalysisTemplate"),
            ("argoproj.io/v1alpha1", "ClusterAnalysisTemplate"),
            ("serin.dev/v1alpha1", "RolloutRecord"),
            ("serin.dev/v1alpha1", "SelfHeal"),
        ] {
            let api = api_of(&self.client, "", version, kind);
            wait::until(kind, START, async || {
                Ok(api.list(&kube::api::ListParams::default()).await.map(drop)?)
            })
            .await?;
        }
        Ok(())
    }
}

/// The objects of a kind: of a namespace, or of all where `namespace` is empty.
pub(crate) fn api_of(client: &Client, namespace: &str, version: &str, kind: &str) -> Api<DynamicObject> {
    let (group, version) = version.split_once('/').unwrap_or(("", version));
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind));
    if namespace.is_empty() {
        Api::all_with(client.clone(), &resource)
    } else {
        Api::namespaced_with(client.clone(), namespace, &resource)
    }
}

/// Applies an object on the server's side.
///
/// # Errors
/// When the server refuses.
pub(crate) async fn apply(api: &Api<DynamicObject>, object: &Value) -> Fallible {
    let name = object.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
    let applied = api.patch(name, &PatchParams::apply("person").force(), &Patch::Apply(object)).await;
    applied.map(drop).map_err(|error| format!("{name}: {error}").into())
}
