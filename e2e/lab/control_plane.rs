//! etcd, kube-apiserver and kube-controller-manager, as processes on the namespace's own addresses.
//!
//! The namespace is ours alone, so the ports are simply the usual ones.

use std::path::{Path, PathBuf};

use kube::Client;

use crate::{
    Fallible,
    process::Process,
    server::{ADMIN, ApiServer, Place, audit},
};

/// Endpoints of a Service must not lie in 127/8, so the API server has an address of the pods' network.
const PLACE: Place = Place { address: "10.77.0.1", etcd: 2379, peers: 2380, api: 6443 };

/// What serin's own accounts ask of the API server is written down, with bodies and with the verdict of RBAC; and what others (people,
/// engines, tools: all of them are admin here and told apart by their field manager) change of what a story is about.
const AUDIT_POLICY: &str = r#"{
  "apiVersion": "audit.k8s.io/v1", "kind": "Policy", "omitStages": ["RequestReceived"],
  "rules": [
    {"level": "Metadata", "userGroups": ["system:serviceaccounts:serin-system"], "resources": [{"group": "", "resources": ["secrets"]}]},
    {"level": "Request", "userGroups": ["system:serviceaccounts:serin-system"]},
    {"level": "Request", "users": ["admin"], "verbs": ["create", "update", "patch", "delete"], "resources": [
      {"group": "networking.istio.io", "resources": ["virtualservices"]},
      {"group": "argoproj.io", "resources": ["rollouts", "rollouts/status"]}]},
    {"level": "None"}
  ]
}"#;

/// The running control plane. Ends with this value.
pub(crate) struct ControlPlane {
    folder: PathBuf,
    server: ApiServer,
    controllers: Process,
    /// As a member of system:masters.
    pub(crate) admin: Client,
}

impl ControlPlane {
    /// Starts all three in `folder` and waits until the API server says it is ready.
    ///
    /// # Errors
    /// With the end of the log of the program that did not come up.
    pub(crate) async fn start(programs: &Path, folder: &Path) -> Fallible<Self> {
        let server = ApiServer::start(programs, folder, PLACE, &audit(folder, AUDIT_POLICY)?).await?;
        let kubeconfig = server.kubeconfig("admin", ADMIN, None)?;
        let controllers = Process::start(
            folder,
            "kube-controller-manager",
            &programs.join("kube-controller-manager"),
            &controller_manager(folder, &kubeconfig),
        )?;
        let admin = server.admin.clone();
        Ok(Self { folder: folder.into(), server, controllers, admin })
    }

    /// Fails when one of the programs has ended.
    ///
    /// # Errors
    /// With the end of its log.
    pub(crate) fn alive(&mut self) -> Fallible {
        self.server.alive()?;
        self.controllers.alive()
    }

    /// Writes a kubeconfig that holds `token` and nothing else, and answers with its path.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(crate) fn kubeconfig(&self, name: &str, token: &str) -> Fallible<PathBuf> {
        self.server.kubeconfig(name, token, None)
    }

    /// Where the API server writes what serin's accounts asked for.
    pub(crate) fn audit_log(&self) -> PathBuf {
        self.folder.join("audit.log")
    }
}

fn controller_manager(folder: &Path, kubeconfig: &Path) -> Vec<String> {
    let kubeconfig = kubeconfig.display();
    vec![
        format!("--kubeconfig={kubeconfig}"),
        format!("--authentication-kubeconfig={kubeconfig}"),
        format!("--authorization-kubeconfig={kubeconfig}"),
        "--leader-elect=false".into(),
        "--secure-port=10257".into(),
        format!("--bind-address={}", PLACE.address),
        format!("--cert-dir={}", folder.join("kcm-certs").display()),
        format!("--service-account-private-key-file={}", folder.join("sa.key").display()),
        format!("--root-ca-file={}", folder.join("certs/apiserver.crt").display()),
        "--use-service-account-credentials=false".into(),
        "--kube-api-qps=200".into(),
        "--kube-api-burst=400".into(),
    ]
}
