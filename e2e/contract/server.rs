//! etcd, kube-apiserver and the garbage collector on free ports of loopback.

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

const START: Duration = Duration::from_secs(90);
const TOKEN: &str = "admintoken";

/// The running server. Ends with this value.
pub(crate) struct Server {
    _processes: Vec<Process>,
    /// As a member of system:masters.
    pub(crate) client: Client,
    /// Istio's CustomResourceDefinitions.
    pub(crate) definitions: String,
}

/// The folder with the control plane's programs, which are built where they are not cached.
///
/// # Errors
/// When they cannot be built.
pub(crate) fn programs(root: &Path) -> Fallible<PathBuf> {
    let output = Command::new(root.join("e2e/lab/control-plane")).stderr(Stdio::inherit()).output()?;
    if !output.status.success() {
        return Err("the control plane could not be built; see above".into());
    }
    let text = String::from_utf8(output.stdout)?;
    Ok(PathBuf::from(text.lines().last().ok_or("e2e/lab/control-plane named no folder")?))
}

impl Server {
    /// Starts them with their data in `folder` and waits until the API server is ready.
    ///
    /// # Errors
    /// With the end of the log of the program that did not come up.
    pub(crate) async fn start(programs: &Path, folder: &Path) -> Fallible<Self> {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let [etcd_port, peer_port, api_port] = free_ports()?;
        let etcd = format!("http://127.0.0.1:{etcd_port}");
        write_key(folder)?;
        fs::write(folder.join("tokens.csv"), format!("{TOKEN},admin,admin,system:masters\n"))?;
        let mut processes = vec![
            Process::start(folder, "etcd", &programs.join("etcd"), &etcd_flags(folder, &etcd, peer_port))?,
            Process::start(
                folder,
                "kube-apiserver",
                &programs.join("kube-apiserver"),
                &api_flags(folder, &etcd, api_port),
            )?,
        ];
        let mut alive = || processes.iter_mut().try_for_each(Process::alive);
        let certificate = folder.join("certs/apiserver.crt");
        wait::while_alive("the API server's certificate", START, &mut alive, async || {
            Ok(fs::metadata(&certificate).map(drop)?)
        })
        .await?;
        let kubeconfig = kubeconfig(folder, api_port)?;
        let read = Kubeconfig::read_from(&kubeconfig)?;
        let client =
            Client::try_from(Config::from_custom_kubeconfig(read, &KubeConfigOptions::default()).await?)?;
        wait::while_alive("the API server to be ready", START, &mut alive, async || {
            client.request_text(http::Request::get("/readyz").body(vec![])?).await?;
            Ok(())
        })
        .await?;
        let definitions = fs::read_to_string(programs.join("istio-crds.yaml"))?;
        Ok(Self { _processes: processes, client, definitions })
    }
}

fn free_ports<const N: usize>() -> Fallible<[u16; N]> {
    // All are held until all are known, so that no two are the same.
    let held: Vec<TcpListener> =
        (0..N).map(|_| TcpListener::bind("127.0.0.1:0")).collect::<Result<_, _>>()?;
    let mut ports = [0; N];
    for (port, listener) in ports.iter_mut().zip(&held) {
        *port = listener.local_addr()?.port();
    }
    Ok(ports)
}

fn write_key(folder: &Path) -> Fallible {
    let key =
        Command::new("openssl").args(["genrsa", "-out"]).arg(folder.join("sa.key")).arg("2048").output();
    let key = key.map_err(|error| format!("openssl: {error}"))?;
    if !key.status.success() {
        return Err(format!("openssl genrsa: {}", String::from_utf8_lossy(&key.stderr)).into());
    }
    Ok(())
}

fn kubeconfig(folder: &Path, port: u16) -> Fallible<PathBuf> {
    let path = folder.join("kubeconfig");
    let (server, authority) = (format!("https://127.0.0.1:{port}"), folder.join("certs/apiserver.crt"));
    let text = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "c",
        "clusters": [{"name": "c", "cluster": {"server": server, "certificate-authority": authority}}],
        "users": [{"name": "c", "user": {"token": TOKEN}}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "c"}}],
    });
    fs::write(&path, text.to_string())?;
    Ok(path)
}

fn etcd_flags(folder: &Path, client: &str, peer: u16) -> Vec<String> {
    let peer = format!("http://127.0.0.1:{peer}");
    vec![
        format!("--data-dir={}", folder.join("etcd").display()),
        format!("--listen-client-urls={client}"),
        format!("--advertise-client-urls={client}"),
        format!("--listen-peer-urls={peer}"),
        format!("--initial-advertise-peer-urls={peer}"),
        format!("--initial-cluster=default={peer}"),
        "--unsafe-no-fsync".into(),
        "--log-level=error".into(),
    ]
}

fn api_flags(folder: &Path, etcd: &str, port: u16) -> Vec<String> {
    let key = folder.join("sa.key");
    vec![
        format!("--etcd-servers={etcd}"),
        format!("--secure-port={port}"),
        "--bind-address=127.0.0.1".into(),
        "--advertise-address=127.0.0.1".into(),
        format!("--cert-dir={}", folder.join("certs").display()),
        "--service-cluster-ip-range=10.96.0.0/16".into(),
        format!("--service-account-key-file={}", key.display()),
        format!("--service-account-signing-key-file={}", key.display()),
        "--service-account-issuer=https://kubernetes.default.svc".into(),
        format!("--token-auth-file={}", folder.join("tokens.csv").display()),
        "--authorization-mode=RBAC".into(),
        "--disable-admission-plugins=ServiceAccount".into(),
    ]
}
