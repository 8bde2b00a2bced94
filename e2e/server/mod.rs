//! etcd and kube-apiserver as processes: the lab, the contract suite and the faults each start their own.
//!
//! Whoever includes this has a `Fallible`, and the lab's modules `process` and `wait`.

use std::{
    fs,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use kube::{
    Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
};
use serde_json::json;

use crate::{Fallible, process::Process, wait};

/// Of a member of system:masters.
pub(crate) const ADMIN: &str = "admintoken";
const START: Duration = Duration::from_secs(90);

/// Room for the Services of any run here, and little more. The server gives an address before it validates: for a Service without a
/// name it tries every free address of the range in turn, each in vain and by a request of its own, and no other Service is made
/// meanwhile. With the usual 10.96.0.0/16 that is more than a minute.
const SERVICE_RANGE: &str = "10.96.0.0/22";

/// Where the two listen.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    pub(crate) address: &'static str,
    pub(crate) etcd: u16,
    /// Of etcd, for others of its kind.
    pub(crate) peers: u16,
    pub(crate) api: u16,
}

impl Place {
    /// On loopback, where nobody listens now.
    ///
    /// # Errors
    /// When there are no ports.
    pub(crate) fn free() -> Fallible<Self> {
        let [etcd, peers, api] = free_ports()?;
        Ok(Self { address: "127.0.0.1", etcd, peers, api })
    }
}

/// The two, running. They end with this value.
pub(crate) struct ApiServer {
    folder: PathBuf,
    url: String,
    processes: Vec<Process>,
    /// As a member of system:masters.
    pub(crate) admin: Client,
}

impl ApiServer {
    /// Starts both with their data in `folder`, the API server with `flags` besides, and waits until it says that it is ready.
    ///
    /// # Errors
    /// With the end of the log of the program that did not come up.
    pub(crate) async fn start(
        programs: &Path,
        folder: &Path,
        place: Place,
        flags: &[String],
    ) -> Fallible<Self> {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        write_files(folder)?;
        let mut processes = vec![
            Process::start(folder, "etcd", &programs.join("etcd"), &etcd_flags(folder, place))?,
            Process::start(
                folder,
                "kube-apiserver",
                &programs.join("kube-apiserver"),
                &[&api_flags(folder, place)[..], flags].concat(),
            )?,
        ];
        let mut alive = || processes.iter_mut().try_for_each(Process::alive);
        let certificate = folder.join("certs/apiserver.crt");
        wait::while_alive("the API server's certificate", START, &mut alive, async || {
            Ok(fs::metadata(&certificate).map(drop)?)
        })
        .await?;
        let url = format!("https://{}:{}", place.address, place.api);
        let admin = client(&kubeconfig(folder, "admin", ADMIN, &url)?).await?;
        wait::while_alive("the API server to be ready", START, &mut alive, async || {
            admin.request_text(http::Request::get("/readyz").body(vec![])?).await?;
            Ok(())
        })
        .await?;
        Ok(Self { folder: folder.into(), url, processes, admin })
    }

    /// Fails when one of the two has ended.
    ///
    /// # Errors
    /// With the end of its log.
    pub(crate) fn alive(&mut self) -> Fallible {
        self.processes.iter_mut().try_for_each(Process::alive)
    }

    /// Writes a kubeconfig that holds `token` and nothing else, for whatever listens at `url` and may stand before this server;
    /// `None`: for this server itself.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(crate) fn kubeconfig(&self, name: &str, token: &str, url: Option<&str>) -> Fallible<PathBuf> {
        kubeconfig(&self.folder, name, token, url.unwrap_or(&self.url))
    }
}

/// The flags by which the API server writes down in `folder/audit.log` what `policy` says, each line before it answers.
///
/// # Errors
/// When the policy cannot be written.
pub(crate) fn audit(folder: &Path, policy: &str) -> Fallible<Vec<String>> {
    let path = folder.join("audit-policy.json");
    fs::write(&path, policy)?;
    Ok(vec![
        format!("--audit-policy-file={}", path.display()),
        format!("--audit-log-path={}", folder.join("audit.log").display()),
        "--audit-log-mode=blocking".into(),
    ])
}

/// A client for whatever `kubeconfig` names.
///
/// # Errors
/// When the file is not a kubeconfig.
pub(crate) async fn client(kubeconfig: &Path) -> Fallible<Client> {
    let options = KubeConfigOptions::default();
    let config = Config::from_custom_kubeconfig(Kubeconfig::read_from(kubeconfig)?, &options).await?;
    Ok(Client::try_from(config)?)
}

/// The folder with the control plane's programs, which are built where they are not cached; istiod with the flag `--istiod`.
///
/// # Errors
/// When they cannot be built.
pub(crate) fn programs(root: &Path, flags: &[&str]) -> Fallible<PathBuf> {
    let script = root.join("e2e/lab/control-plane");
    let output = Command::new(script).args(flags).stderr(Stdio::inherit()).output()?;
    if !output.status.success() {
        return Err("the control plane could not be built; see above".into());
    }
    let text = String::from_utf8(output.stdout)?;
    Ok(PathBuf::from(text.lines().last().ok_or("e2e/lab/control-plane named no folder")?))
}

/// Ports of loopback that nobody listens on now.
///
/// # Errors
/// When there are none.
pub(crate) fn free_ports<const N: usize>() -> Fallible<[u16; N]> {
    // All are held until all are known, so that no two are the same.
    let held: Vec<TcpListener> =
        (0..N).map(|_| TcpListener::bind("127.0.0.1:0")).collect::<Result<_, _>>()?;
    let mut ports = [0; N];
    for (port, listener) in ports.iter_mut().zip(&held) {
        *port = listener.local_addr()?.port();
    }
    Ok(ports)
}

fn write_files(folder: &Path) -> Fallible {
    fs::write(folder.join("tokens.csv"), format!("{ADMIN},admin,admin,system:masters\n"))?;
    let key =
        Command::new("openssl").args(["genrsa", "-out"]).arg(folder.join("sa.key")).arg("2048").output();
    let key = key.map_err(|error| format!("openssl: {error}"))?;
    if !key.status.success() {
        return Err(format!("openssl genrsa: {}", String::from_utf8_lossy(&key.stderr)).into());
    }
    Ok(())
}

fn kubeconfig(folder: &Path, name: &str, token: &str, url: &str) -> Fallible<PathBuf> {
    let path = folder.join(format!("{name}.kubeconfig"));
    let mut cluster = json!({ "server": url });
    if url.starts_with("https:") {
        cluster["certificate-authority"] = json!(folder.join("certs/apiserver.crt"));
    }
    let text = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "lab",
        "clusters": [{ "name": "lab", "cluster": cluster }],
        "users": [{ "name": name, "user": { "token": token } }],
        "contexts": [{ "name": "lab", "context": { "cluster": "lab", "user": name } }],
    });
    fs::write(&path, serde_json::to_vec_pretty(&text)?)?;
    Ok(path)
}

fn etcd_flags(folder: &Path, place: Place) -> Vec<String> {
    let clients = format!("http://{}:{}", place.address, place.etcd);
    let peers = format!("http://{}:{}", place.address, place.peers);
    vec![
        format!("--data-dir={}", folder.join("etcd").display()),
        format!("--listen-client-urls={clients}"),
        format!("--advertise-client-urls={clients}"),
        format!("--listen-peer-urls={peers}"),
        format!("--initial-advertise-peer-urls={peers}"),
        format!("--initial-cluster=default={peers}"),
        // These data need not outlive a power cut.
        "--unsafe-no-fsync".into(),
        "--log-level=error".into(),
    ]
}

fn api_flags(folder: &Path, place: Place) -> Vec<String> {
    let Place { address, etcd, api, peers: _ } = place;
    let key = folder.join("sa.key");
    vec![
        format!("--etcd-servers=http://{address}:{etcd}"),
        format!("--secure-port={api}"),
        format!("--bind-address={address}"),
        format!("--advertise-address={address}"),
        format!("--cert-dir={}", folder.join("certs").display()),
        format!("--service-cluster-ip-range={SERVICE_RANGE}"),
        format!("--service-account-key-file={}", key.display()),
        format!("--service-account-signing-key-file={}", key.display()),
        "--service-account-issuer=https://kubernetes.default.svc".into(),
        format!("--token-auth-file={}", folder.join("tokens.csv").display()),
        "--authorization-mode=RBAC".into(),
        // Pods here mount no token.
        "--disable-admission-plugins=ServiceAccount".into(),
    ]
}
