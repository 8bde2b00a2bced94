//! Everything a journey stands on, started once for all of them.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::Duration,
};

use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use k8s_openapi::api::{authentication::v1::TokenRequest, core::v1::Namespace, core::v1::ServiceAccount};
use kube::{
    Api, Client, ResourceExt,
    api::{ApiResource, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams},
    core::GroupVersionKind,
};
use serde_json::{Value, json};

use crate::{
    Fallible,
    apply::{Applier, documents},
    audit::Right,
    control_plane::ControlPlane,
    git,
    images::Images,
    journeys::create_definitions,
    load::{Load, Way},
    mesh::{Mesh, istiod},
    metrics::Prometheus,
    node::Node,
    server,
    settings::Settings,
    slack::Slack,
    wait,
};

/// The namespace that `deploy/` installs serin into.
pub(crate) const SYSTEM: &str = "serin-system";

/// Which object is meant.
pub(crate) struct Of<'a> {
    pub(crate) namespace: &'a str,
    pub(crate) version: &'a str,
    pub(crate) kind: &'a str,
    pub(crate) name: &'a str,
}

/// How a process proves who it is.
pub(crate) struct Account {
    pub(crate) kubeconfig: PathBuf,
    /// What the audit log calls the token.
    pub(crate) credential: String,
}

/// The running parts, and where they write.
pub(crate) struct Stack {
    pub(crate) settings: Settings,
    /// Logs, kubeconfigs and data of this run.
    pub(crate) folder: PathBuf,
    pub(crate) control_plane: ControlPlane,
    pub(crate) prometheus: Prometheus,
    pub(crate) images: Arc<Images>,
    pub(crate) mesh: Mesh,
    pub(crate) slack: Slack,
    pub(crate) git: git::Server,
    /// The API server's warnings when serin's definitions were created.
    pub(crate) said: Vec<String>,
    /// Kind and name of a role, and the right that is left out of it wherever it is applied.
    pub(crate) withheld: Mutex<Option<((String, String), Right)>>,
    _node: Node,
}

impl Stack {
    /// Starts the control plane, the node and Prometheus; installs Istio's CRDs, serin's, and what `deploy/` says about identity.
    ///
    /// # Errors
    /// When a part does not come up or the API server refuses a manifest.
    pub(crate) async fn start(settings: Settings) -> Fallible<Self> {
        let folder = tempfile::Builder::new().prefix("serin-lab-").tempdir()?.keep();
        let (control_plane, prometheus) =
            tokio::try_join!(ControlPlane::start(&settings.programs, &folder), Prometheus::start(&folder))?;
        let admin = control_plane.admin.clone();
        let mut kubectl = Applier::new(admin.clone(), "kubectl");
        kubectl.file(&settings.programs.join("istio-crds.yaml"), "").await?;
        let said = create_definitions(&admin, &settings.root).await?;
        for file in identity(&settings.root)? {
            kubectl.file(&file, SYSTEM).await?;
        }
        kubectl.one(&istiod::gateway(), SYSTEM).await?;
        let images = Arc::new(Images::default());
        let node = Node::start(admin, images.clone()).await?;
        let mesh = Mesh::start(&settings, &folder, control_plane.admin.clone()).await?;
        let slack = Slack::start(folder.join("slack.json")).await?;
        let git = git::Server::start(&folder).await?;
        Ok(Self {
            settings,
            folder,
            control_plane,
            prometheus,
            images,
            mesh,
            slack,
            git,
            said,
            withheld: Mutex::default(),
            _node: node,
        })
    }

    /// The API server as admin.
    pub(crate) fn admin(&self) -> Client {
        self.control_plane.admin.clone()
    }

    /// Users of `host`, which the http route `primary` of a VirtualService serves.
    pub(crate) fn load(&self, host: &str, namespace: &str, virtual_service: &str) -> Load {
        let way = Way {
            host: host.into(),
            namespace: namespace.into(),
            virtual_service: virtual_service.into(),
            route: "primary".into(),
        };
        Load::start(self.admin(), way)
    }

    /// Makes a namespace.
    ///
    /// # Errors
    /// When the API server refuses.
    pub(crate) async fn namespace(&self, name: &str) -> Fallible {
        let namespaces: Api<Namespace> = Api::all(self.admin());
        let object = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
        namespaces.patch(name, &PatchParams::apply("lab"), &Patch::Apply(&object)).await?;
        Ok(())
    }

    /// Takes the Leases of serin away.
    ///
    /// # Errors
    /// When the API server refuses.
    pub(crate) async fn remove_leases(&self) -> Fallible {
        let leases = self.api(SYSTEM, "coordination.k8s.io/v1", "Lease");
        leases.delete_collection(&DeleteParams::default(), &ListParams::default()).await?;
        Ok(())
    }

    /// Takes a namespace away and does not wait for it.
    ///
    /// # Errors
    /// When the API server refuses.
    pub(crate) async fn drop_namespace(&self, name: &str) -> Fallible {
        let namespaces: Api<Namespace> = Api::all(self.admin());
        namespaces.delete(name, &DeleteParams::default()).await?;
        Ok(())
    }

    /// Takes a namespace away if it is there, and waits until nothing of it is left.
    ///
    /// # Errors
    /// When the API server refuses, or it takes too long.
    pub(crate) async fn remove_namespace(&self, name: &str) -> Fallible {
        let namespaces: Api<Namespace> = Api::all(self.admin());
        match namespaces.delete(name, &DeleteParams::default()).await {
            Ok(_) => {}
            Err(kube::Error::Api(status)) if status.code == 404 => return Ok(()),
            Err(error) => return Err(error.into()),
        }
        wait::until(&format!("namespace {name} to be gone"), SOON, async || {
            match namespaces.get_opt(name).await? {
                None => Ok(()),
                Some(left) => Err(serde_json::to_string(&left.status)?.into()),
            }
        })
        .await
    }

    /// One object, as the API server has it.
    ///
    /// # Errors
    /// When there is none.
    pub(crate) async fn object(
        &self,
        namespace: &str,
        version: &str,
        kind: &str,
        name: &str,
    ) -> Fallible<Value> {
        Ok(serde_json::to_value(self.api(namespace, version, kind).get(name).await?)?)
    }

    /// One object without a namespace.
    ///
    /// # Errors
    /// When there is none.
    pub(crate) async fn cluster_object(&self, version: &str, kind: &str, name: &str) -> Fallible<Value> {
        let api: Api<DynamicObject> = Api::all_with(self.admin(), &resource(version, kind));
        Ok(serde_json::to_value(api.get(name).await?)?)
    }

    /// Patches an object or its status as `manager`, by a merge patch.
    ///
    /// # Errors
    /// When the API server refuses.
    pub(crate) async fn merge(&self, of: &Of<'_>, manager: &str, is_status: bool, patch: &Value) -> Fallible {
        let api = self.api(of.namespace, of.version, of.kind);
        let params = PatchParams { field_manager: Some(manager.into()), ..PatchParams::default() };
        if is_status {
            api.patch_status(of.name, &params, &Patch::Merge(patch)).await?;
        } else {
            api.patch(of.name, &params, &Patch::Merge(patch)).await?;
        }
        Ok(())
    }

    /// All objects of a kind in a namespace, by name.
    ///
    /// # Errors
    /// When the API server refuses.
    pub(crate) async fn objects(&self, namespace: &str, version: &str, kind: &str) -> Fallible<Vec<Value>> {
        let mut all = self.api(namespace, version, kind).list(&ListParams::default()).await?.items;
        all.sort_by_key(ResourceExt::name_any);
        all.into_iter().map(|object| Ok(serde_json::to_value(object)?)).collect()
    }

    fn api(&self, namespace: &str, version: &str, kind: &str) -> Api<DynamicObject> {
        Api::namespaced_with(self.admin(), namespace, &resource(version, kind))
    }

    /// A kubeconfig, under `name`, with a new token of one of the ServiceAccounts of `deploy/`, and nothing else.
    ///
    /// # Errors
    /// When there is no such account.
    pub(crate) async fn account(&self, account: &str, name: &str) -> Fallible<Account> {
        let accounts: Api<ServiceAccount> = Api::namespaced(self.admin(), SYSTEM);
        let wanted: TokenRequest =
            serde_json::from_value(json!({"spec": {"audiences": [], "expirationSeconds": 3600}}))?;
        let answer = accounts.create_token_request(account, &PostParams::default(), &wanted).await?;
        let token = answer.status.and_then(|status| status.token).ok_or("a token request without a token")?;
        let kubeconfig = self.control_plane.kubeconfig(name, &token)?;
        Ok(Account { kubeconfig, credential: credential(&token)? })
    }

    /// As [`Stack::account`], as a client.
    ///
    /// # Errors
    /// As there.
    pub(crate) async fn client_of(&self, account: &str) -> Fallible<Client> {
        server::client(&self.account(account, &format!("as-{account}")).await?.kubeconfig).await
    }

    /// Fails when a part has ended.
    ///
    /// # Errors
    /// With the end of its log.
    pub(crate) fn alive(&mut self) -> Fallible {
        self.control_plane.alive()?;
        self.mesh.alive()?;
        self.git.alive()?;
        self.prometheus.alive()
    }
}

/// What the audit log calls a token: its `jti`.
fn credential(token: &str) -> Fallible<String> {
    let claims = token.split('.').nth(1).ok_or("a token without claims")?;
    let claims: Value = serde_json::from_slice(&base64::Engine::decode(&URL_SAFE_NO_PAD, claims)?)?;
    let id = claims.get("jti").and_then(Value::as_str).ok_or("a token without an identity")?;
    Ok(format!("JTI={id}"))
}

/// How the API server is asked for a kind.
pub(crate) fn resource(version: &str, kind: &str) -> ApiResource {
    let (group, version) = version.split_once('/').unwrap_or(("", version));
    ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind))
}

/// The namespace, accounts and roles of `deploy/`, by the order of its kustomization. Its Deployments are judged by another journey:
/// the lab has no images, it runs the binary under test itself.
///
/// # Errors
/// When there is no kustomization.
pub(crate) fn identity(root: &Path) -> Fallible<Vec<PathBuf>> {
    let folder = root.join("deploy");
    let text = fs::read_to_string(folder.join("kustomization.yaml"))?;
    let kustomization = documents(&text)?.into_iter().next().unwrap_or_default();
    let resources = kustomization.get("resources").and_then(Value::as_array).into_iter().flatten();
    let files = resources.filter_map(Value::as_str).filter(|name| !name.starts_with("deployment"));
    Ok(files.map(|name| folder.join(name)).collect())
}

/// The YAML files of a folder, by name.
///
/// # Errors
/// When there is no such folder.
pub(crate) fn yaml_files(folder: &Path) -> Fallible<Vec<PathBuf>> {
    let mut files: Vec<PathBuf> = fs::read_dir(folder)
        .map_err(|error| format!("{}: {error}", folder.display()))?
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .filter(|path| path.extension().is_some_and(|ending| ending == "yaml"))
        .collect();
    files.sort();
    Ok(files)
}

/// How long a cluster may take for what takes it a second or two, on a machine that does other things too.
pub(crate) const SOON: Duration = Duration::from_secs(30);
