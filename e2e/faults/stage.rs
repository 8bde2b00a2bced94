//! Everything a case stands on. API server and metrics are shared; a stage is a namespace with rollouts of its own, and replicas of
//! serin that watch only this namespace and lead by a Lease in it, each behind a proxy of its own, all of them bad at once.

use std::{path::PathBuf, time::Duration};

use jiff::Timestamp;
use serde_json::Value;
use tokio::{sync::watch, task::JoinSet};

use crate::{
    Fallible,
    metrics::Metrics,
    proxy::{Asked, Fault, Proxy},
    replica::Replica,
    server::{Server, api_of},
    shop::Shop,
    wait,
};

/// The Lease that replicas lead by.
pub(crate) const LEASE: &str = "argo-rollouts-controller-lock";

/// What all stages stand on.
pub(crate) struct Ground {
    pub(crate) folder: PathBuf,
    pub(crate) server: Server,
    pub(crate) metrics: Metrics,
}

/// The running parts of one case. They end with this value.
pub(crate) struct Stage<'a> {
    pub(crate) ground: &'a Ground,
    pub(crate) shop: Shop,
    namespace: String,
    fault: watch::Sender<Fault>,
    proxies: Vec<Proxy>,
    pub(crate) replicas: Vec<Replica>,
    _tasks: JoinSet<()>,
}

impl<'a> Stage<'a> {
    /// Makes the namespace `name`, and starts so many `replicas`.
    ///
    /// # Errors
    /// When a part does not come up.
    pub(crate) async fn open(ground: &'a Ground, name: &str, replicas: usize) -> Fallible<Self> {
        let shop = Shop::open_in(name, ground.server.client.clone(), &ground.metrics.address).await?;
        let mut tasks = JoinSet::new();
        tasks.spawn(shop.clone().keep_ready());
        let (fault, _) = watch::channel(Fault::None);
        let mut stage = Self {
            ground,
            shop,
            namespace: name.to_owned(),
            fault,
            proxies: vec![],
            replicas: vec![],
            _tasks: tasks,
        };
        for number in 1..=replicas {
            stage.start(&format!("{name}-{number}"), &[]).await?;
        }
        Ok(stage)
    }

    /// Starts a replica behind a proxy of its own.
    ///
    /// # Errors
    /// When it does not come up, or nobody leads.
    pub(crate) async fn start(&mut self, name: &str, flags: &[&str]) -> Fallible {
        let proxy = Proxy::start(self.ground.server.client.clone(), self.fault.subscribe()).await?;
        let kubeconfig = self.ground.server.kubeconfig(name, Some(&proxy.address))?;
        let home = format!("--pod-namespace={}", self.namespace);
        let flags = [&["--namespaced", &home], flags].concat();
        self.replicas.push(Replica::start(&self.ground.folder, name, kubeconfig, &flags).await?);
        self.proxies.push(proxy);
        wait::until("a leader", Duration::from_secs(40), async || match self.leader().await?.is_empty() {
            false => Ok(()),
            true => Err("none".into()),
        })
        .await
    }

    /// Ends all replicas, and takes their Lease away, so that the next one leads at once.
    ///
    /// # Errors
    /// When there is no Lease.
    pub(crate) async fn dismiss(&mut self) -> Fallible {
        self.replicas.clear();
        let leases = api_of(&self.ground.server.client, &self.namespace, "coordination.k8s.io/v1", "Lease");
        leases.delete(LEASE, &kube::api::DeleteParams::default()).await?;
        Ok(())
    }

    /// Who holds the Lease; empty when nobody does.
    async fn leader(&self) -> Fallible<String> {
        let leases = api_of(&self.ground.server.client, &self.namespace, "coordination.k8s.io/v1", "Lease");
        let lease = leases.get(LEASE).await?;
        let holder = lease.data.pointer("/spec/holderIdentity").and_then(Value::as_str);
        Ok(holder.unwrap_or_default().to_owned())
    }

    /// From now on the API server is like this.
    pub(crate) fn begin(&self, fault: Fault) {
        self.fault.send_replace(fault);
    }

    /// Everything that all replicas asked since `since`, oldest first.
    pub(crate) fn asked(&self, since: Timestamp) -> Vec<Asked> {
        let mut all: Vec<Asked> =
            self.proxies.iter().flat_map(Proxy::asked).filter(|asked| asked.at >= since).collect();
        all.sort_by_key(|asked| asked.at);
        all
    }

    /// Each renewal of the Lease that the server took, or take-over: when it was asked for, and by whom.
    pub(crate) fn renewals(&self) -> Vec<(Timestamp, String)> {
        let taken = |asked: &Asked| {
            let is_one = asked.method == http::Method::PUT
                && asked.path.ends_with(LEASE)
                && (200..300).contains(&asked.status);
            let lease: Value = is_one.then(|| serde_json::from_slice(&asked.body).ok())??;
            let holder = lease.pointer("/spec/holderIdentity").and_then(Value::as_str)?;
            Some((asked.at, holder.to_owned()))
        };
        self.asked(Timestamp::MIN).iter().filter_map(taken).collect()
    }

    /// When a replica first ended by itself after `since`.
    pub(crate) fn ended(&self, since: Timestamp) -> Option<Timestamp> {
        let all = self.replicas.iter().flat_map(Replica::ended);
        all.filter(|at| *at >= since).min()
    }
}
