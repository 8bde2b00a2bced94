//! Everything a case stands on: API server, two replicas of serin each behind a proxy of its own, rollouts and metrics.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

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

/// The running parts. They end with this value.
pub(crate) struct Stage {
    pub(crate) folder: PathBuf,
    pub(crate) server: Server,
    pub(crate) shop: Shop,
    pub(crate) metrics: Metrics,
    fault: watch::Sender<Fault>,
    proxies: Vec<Proxy>,
    pub(crate) replicas: Vec<Replica>,
    _tasks: JoinSet<()>,
}

impl Stage {
    /// Starts all of it, and waits until one replica leads.
    ///
    /// # Errors
    /// When a part does not come up.
    pub(crate) async fn open(root: &Path, folder: &Path) -> Fallible<Self> {
        let (server, metrics) = tokio::try_join!(Server::start(root, folder), Metrics::start())?;
        let shop = Shop::open(server.client.clone(), &metrics.address).await?;
        let mut tasks = JoinSet::new();
        tasks.spawn(shop.clone().keep_ready());
        let (fault, _) = watch::channel(Fault::None);
        let mut stage = Self {
            folder: folder.to_owned(),
            server,
            shop,
            metrics,
            fault,
            proxies: vec![],
            replicas: vec![],
            _tasks: tasks,
        };
        stage.start("serin-a", &[]).await?;
        stage.start("serin-b", &[]).await?;
        Ok(stage)
    }

    /// Starts a replica behind a proxy of its own.
    ///
    /// # Errors
    /// When it does not come up, or nobody leads.
    pub(crate) async fn start(&mut self, name: &str, flags: &[&str]) -> Fallible {
        let proxy = Proxy::start(self.server.client.clone(), self.fault.subscribe()).await?;
        let kubeconfig = self.server.kubeconfig(name, Some(&proxy.address))?;
        self.replicas.push(Replica::start(&self.folder, name, kubeconfig, flags).await?);
        self.proxies.push(proxy);
        wait::until("a leader", Duration::from_secs(40), async || match self.leader().await?.is_empty() {
            false => Ok(()),
            true => Err("none".into()),
        })
        .await
    }

    /// Who holds the Lease, by its name; empty when nobody does.
    ///
    /// # Errors
    /// When there is no Lease.
    pub(crate) async fn leader(&self) -> Fallible<String> {
        let lease =
            api_of(&self.server.client, "serin-system", "coordination.k8s.io/v1", "Lease").get(LEASE).await?;
        let holder = lease.data.pointer("/spec/holderIdentity").and_then(Value::as_str).unwrap_or_default();
        Ok(holder.split('_').next().unwrap_or_default().to_owned())
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

    /// When the Lease was last renewed before `before`, by any replica.
    pub(crate) fn last_renewal(&self, before: Timestamp) -> Option<Timestamp> {
        let renewals = self.asked(Timestamp::MIN).into_iter().filter(|asked| {
            asked.method == http::Method::PUT
                && asked.path.ends_with(LEASE)
                && asked.status == 200
                && asked.at < before
        });
        renewals.map(|asked| asked.at).max()
    }

    /// Fails when etcd or the API server has ended.
    ///
    /// # Errors
    /// With the end of its log.
    pub(crate) fn alive(&mut self) -> Fallible {
        self.server.alive()
    }
}
