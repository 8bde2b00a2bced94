//! etcd and kube-apiserver on free ports of loopback, with serin's definitions and Istio's, and an audit log of the sheds.

use std::{
    fs,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use kube::{
    Api, Client, Config,
    api::{ApiResource, DynamicObject, Patch, PatchParams},
    config::{KubeConfigOptions, Kubeconfig},
    core::GroupVersionKind,
};
use serde_json::{Value, json};

use crate::{Fallible, process::Process, wait};

const START: Duration = Duration::from_secs(90);
pub(crate) const TOKEN: &str = "admintoken";

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
    address: String,
    processes: Vec<Process>,
    /// As a member of system:masters.
    pub(crate) client: Client,
}

impl Server {
    /// Starts both with their data in `folder`, and waits until every kind that serin watches is served.
    ///
    /// # Errors
    /// With the end of the log of the program that did not come up.
    pub(crate) async fn start(root: &Path, folder: &Path) -> Fallible<Self> {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let programs = programs(root)?;
        let [etcd_port, peer_port, api_port] = free_ports()?;
        let (etcd, address) =
            (format!("http://127.0.0.1:{etcd_port}"), format!("https://127.0.0.1:{api_port}"));
        write_files(folder)?;
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
        let client = client(&kubeconfig(folder, "admin", &address)?).await?;
        wait::while_alive("the API server to be ready", START, &mut alive, async || {
            client.request_text(http::Request::get("/readyz").body(vec![])?).await?;
            Ok(())
        })
        .await?;
        let server = Self { folder: folder.into(), address, processes, client };
        server.define(root, &programs).await?;
        Ok(server)
    }

    /// Fails when one of the programs has ended.
    ///
    /// # Errors
    /// With the end of its log.
    pub(crate) fn alive(&mut self) -> Fallible {
        self.processes.iter_mut().try_for_each(Process::alive)
    }

    /// A kubeconfig for a server at `address`, which may stand before this one; `None`: this one itself.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(crate) fn kubeconfig(&self, name: &str, address: Option<&str>) -> Fallible<PathBuf> {
        kubeconfig(&self.folder, name, address.unwrap_or(&self.address))
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

/// A client for whatever `kubeconfig` names.
///
/// # Errors
/// When the file is not a kubeconfig.
pub(crate) async fn client(kubeconfig: &Path) -> Fallible<Client> {
    let options = KubeConfigOptions::default();
    let config = Config::from_custom_kubeconfig(Kubeconfig::read_from(kubeconfig)?, &options).await?;
    Ok(Client::try_from(config)?)
}

/// The folder with the control plane's programs, which are built where they are not cached.
fn programs(root: &Path) -> Fallible<PathBuf> {
    let output = Command::new(root.join("e2e/lab/control-plane")).stderr(Stdio::inherit()).output()?;
    if !output.status.success() {
        return Err("the control plane could not be built; see above".into());
    }
    let text = String::from_utf8(output.stdout)?;
    Ok(PathBuf::from(text.lines().last().ok_or("e2e/lab/control-plane named no folder")?))
}

/// Ports that nobody listens on now.
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
    fs::write(folder.join("tokens.csv"), format!("{TOKEN},admin,admin,system:masters\n"))?;
    fs::write(folder.join("audit-policy.json"), AUDIT_POLICY)?;
    let key =
        Command::new("openssl").args(["genrsa", "-out"]).arg(folder.join("sa.key")).arg("2048").output();
    let key = key.map_err(|error| format!("openssl: {error}"))?;
    if !key.status.success() {
        return Err(format!("openssl genrsa: {}", String::from_utf8_lossy(&key.stderr)).into());
    }
    Ok(())
}

fn kubeconfig(folder: &Path, name: &str, address: &str) -> Fallible<PathBuf> {
    let path = folder.join(format!("{name}.kubeconfig"));
    let mut cluster = json!({ "server": address });
    if address.starts_with("https:") {
        cluster["certificate-authority"] = json!(folder.join("certs/apiserver.crt"));
    }
    let text = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "c",
        "clusters": [{ "name": "c", "cluster": cluster }],
        "users": [{ "name": "c", "user": { "token": TOKEN } }],
        "contexts": [{ "name": "c", "context": { "cluster": "c", "user": "c" } }],
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
        format!("--audit-policy-file={}", folder.join("audit-policy.json").display()),
        format!("--audit-log-path={}", folder.join("audit.log").display()),
        "--audit-log-mode=blocking".into(),
    ]
}
