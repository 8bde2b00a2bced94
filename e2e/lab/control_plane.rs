//! etcd, kube-apiserver and kube-controller-manager, as processes on the namespace's own addresses.
//!
//! The namespace is ours alone, so the ports are simply the usual ones.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use kube::{
    Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
};

use crate::{Fallible, process::Process, wait};

/// Endpoints of a Service must not lie in 127/8, so the API server has an address of the pods' network.
const ADDRESS: &str = "10.77.0.1";
const ADMIN: &str = "admintoken";
const START: Duration = Duration::from_secs(90);

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
    processes: Vec<Process>,
    /// As a member of system:masters.
    pub(crate) admin: Client,
}

impl ControlPlane {
    /// Starts all three in `folder` and waits until the API server says it is ready.
    ///
    /// # Errors
    /// With the end of the log of the program that did not come up.
    pub(crate) async fn start(programs: &Path, folder: &Path) -> Fallible<Self> {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        write_files(folder)?;
        let mut processes = vec![
            Process::start(folder, "etcd", &programs.join("etcd"), &etcd(folder))?,
            Process::start(folder, "kube-apiserver", &programs.join("kube-apiserver"), &api_server(folder))?,
        ];
        let mut alive = || processes.iter_mut().try_for_each(Process::alive);
        let certificate = folder.join("certs/apiserver.crt");
        wait::while_alive("the API server's certificate", START, &mut alive, async || {
            Ok(fs::metadata(&certificate).map(|_| ())?)
        })
        .await?;
        let kubeconfig = kubeconfig(folder, "admin", ADMIN)?;
        let admin = client(&kubeconfig).await?;
        wait::while_alive("the API server to be ready", START, &mut alive, async || {
            admin.request_text(http::Request::get("/readyz").body(vec![])?).await?;
            Ok(())
        })
        .await?;
        processes.push(Process::start(
            folder,
            "kube-controller-manager",
            &programs.join("kube-controller-manager"),
            &controller_manager(folder, &kubeconfig),
        )?);
        Ok(Self { folder: folder.into(), processes, admin })
    }

    /// Fails when one of the programs has ended.
    ///
    /// # Errors
    /// With the end of its log.
    pub(crate) fn alive(&mut self) -> Fallible {
        self.processes.iter_mut().try_for_each(Process::alive)
    }

    /// Writes a kubeconfig that holds `token` and nothing else, and answers with its path.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(crate) fn kubeconfig(&self, name: &str, token: &str) -> Fallible<PathBuf> {
        kubeconfig(&self.folder, name, token)
    }

    /// Where the API server writes what serin's accounts asked for.
    pub(crate) fn audit_log(&self) -> PathBuf {
        self.folder.join("audit.log")
    }
}

/// A client for the API server, as whoever `kubeconfig` names.
///
/// # Errors
/// When the file is not a kubeconfig.
pub(crate) async fn client(kubeconfig: &Path) -> Fallible<Client> {
    let kubeconfig = Kubeconfig::read_from(kubeconfig)?;
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
    Ok(Client::try_from(config)?)
}

fn write_files(folder: &Path) -> Fallible {
    fs::write(folder.join("tokens.csv"), format!("{ADMIN},admin,admin,system:masters\n"))?;
    fs::write(folder.join("audit-policy.json"), AUDIT_POLICY)?;
    let key = Command::new("openssl")
        .args(["genrsa", "-out"])
        .arg(folder.join("sa.key"))
        .arg("2048")
        .output()
        .map_err(|error| format!("openssl: {error}"))?;
    if !key.status.success() {
        return Err(format!("openssl genrsa: {}", String::from_utf8_lossy(&key.stderr)).into());
    }
    Ok(())
}

fn kubeconfig(folder: &Path, name: &str, token: &str) -> Fallible<PathBuf> {
    let path = folder.join(format!("{name}.kubeconfig"));
    let authority = folder.join("certs/apiserver.crt");
    fs::write(
        &path,
        serde_json::to_vec_pretty(&serde_json::json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "lab",
            "clusters": [{"name": "lab", "cluster": {"server": format!("https://{ADDRESS}:6443"), "certificate-authority": authority}}],
            "users": [{"name": name, "user": {"token": token}}],
            "contexts": [{"name": "lab", "context": {"cluster": "lab", "user": name}}],
        }))?,
    )?;
    Ok(path)
}

fn etcd(folder: &Path) -> Vec<String> {
    let client = format!("http://{ADDRESS}:2379");
    let peer = format!("http://{ADDRESS}:2380");
    vec![
        format!("--data-dir={}", folder.join("etcd").display()),
        format!("--listen-client-urls={client}"),
        format!("--advertise-client-urls={client}"),
        format!("--listen-peer-urls={peer}"),
        format!("--initial-advertise-peer-urls={peer}"),
        format!("--initial-cluster=default={peer}"),
        // The lab's data need not outlive a power cut.
        "--unsafe-no-fsync".into(),
        "--log-level=error".into(),
    ]
}

fn api_server(folder: &Path) -> Vec<String> {
    let key = folder.join("sa.key");
    vec![
        format!("--etcd-servers=http://{ADDRESS}:2379"),
        "--secure-port=6443".into(),
        format!("--bind-address={ADDRESS}"),
        format!("--advertise-address={ADDRESS}"),
        format!("--cert-dir={}", folder.join("certs").display()),
        "--service-cluster-ip-range=10.96.0.0/16".into(),
        format!("--service-account-key-file={}", key.display()),
        format!("--service-account-signing-key-file={}", key.display()),
        "--service-account-issuer=https://kubernetes.default.svc".into(),
        format!("--token-auth-file={}", folder.join("tokens.csv").display()),
        "--authorization-mode=RBAC".into(),
        // Pods of the lab mount no token.
        "--disable-admission-plugins=ServiceAccount".into(),
        format!("--audit-policy-file={}", folder.join("audit-policy.json").display()),
        format!("--audit-log-path={}", folder.join("audit.log").display()),
        "--audit-log-mode=blocking".into(),
    ]
}

fn controller_manager(folder: &Path, kubeconfig: &Path) -> Vec<String> {
    let kubeconfig = kubeconfig.display();
    vec![
        format!("--kubeconfig={kubeconfig}"),
        format!("--authentication-kubeconfig={kubeconfig}"),
        format!("--authorization-kubeconfig={kubeconfig}"),
        "--leader-elect=false".into(),
        "--secure-port=10257".into(),
        format!("--bind-address={ADDRESS}"),
        format!("--cert-dir={}", folder.join("kcm-certs").display()),
        format!("--service-account-private-key-file={}", folder.join("sa.key").display()),
        format!("--root-ca-file={}", folder.join("certs/apiserver.crt").display()),
        "--use-service-account-credentials=false".into(),
        "--kube-api-qps=200".into(),
        "--kube-api-burst=400".into(),
    ]
}
