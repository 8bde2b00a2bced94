//! The GitOps engine's stand-in: applies the tip of the branch by server-side apply, as the real ones do, and puts back what
//! others changed of it.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use kube::Client;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::{Fallible, apply::Applier, git::Repository, images::lock, report, wait};

/// The field manager of the engine it plays.
const MANAGER: &str = "argocd-controller";
const POLL: Duration = Duration::from_millis(500);

/// A running engine. Ends with this value.
pub(crate) struct Engine {
    applied: Arc<Mutex<Vec<String>>>,
    _stop: DropGuard,
}

impl Engine {
    /// Starts to follow `repository`.
    pub(crate) fn start(client: Client, repository: Arc<Repository>, namespace: &str) -> Self {
        let applied = Arc::new(Mutex::new(vec![]));
        let stop = CancellationToken::new();
        let follow = follow(client, repository, namespace.to_owned(), applied.clone());
        tokio::spawn(stop.clone().run_until_cancelled_owned(follow));
        Self { applied, _stop: stop.drop_guard() }
    }

    /// The commits that were applied without an error, oldest first.
    pub(crate) fn applied(&self) -> Vec<String> {
        lock(&self.applied).clone()
    }
}

async fn follow(
    client: Client,
    repository: Arc<Repository>,
    namespace: String,
    applied: Arc<Mutex<Vec<String>>>,
) {
    let mut applier = Applier::new(client, MANAGER);
    loop {
        let last = lock(&applied).last().cloned();
        match sync(&mut applier, &repository, &namespace, last).await {
            Ok(Some(commit)) => lock(&applied).push(commit),
            Ok(None) => {}
            Err(error) => report::line(&format!("lab: engine: {error}")),
        }
        wait::pause(POLL).await;
    }
}

/// Applies the tip and answers with it when it is not the `last` one that was applied. While Git is away it does nothing.
async fn sync(
    applier: &mut Applier,
    repository: &Repository,
    namespace: &str,
    last: Option<String>,
) -> Fallible<Option<String>> {
    let tip = repository.fetched_tip().await;
    let Some(tip) = tip.filter(|tip| last.as_ref() != Some(tip)) else { return Ok(None) };
    for (_, text) in repository.files(&tip)?.iter().filter(|(path, _)| path.ends_with(".yaml")) {
        applier.apply(text, namespace).await?;
    }
    Ok(Some(tip))
}
