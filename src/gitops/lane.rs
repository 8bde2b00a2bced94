//! One lane for each remote: within it one revert at a time works on the clone and pushes, and a remote that hangs
//! holds up only its own lane.

use std::{collections::BTreeMap, sync::Arc, sync::Mutex, sync::PoisonError};

use git2::Oid;
use jiff::Timestamp;
use tokio::sync::{Mutex as Turn, OwnedMutexGuard, Semaphore};
use tracing::Instrument as _;

use super::{
    access::{Access, AccessError},
    commit::{self, CommitError},
    edit::{self, Change, Target},
    heal::Tip,
    message::Report,
    repo::{self, Clones, short_hash},
    status::MAX_DIFF_BYTES,
    transfer::{Failure, Transfer},
};
use crate::api::serin::{GitLocation, SelfHealPolicySpec, SelfHealSpec, TargetKind};

/// Transfers at the same time, of all lanes. Each takes some 30 MiB and may take 256 MiB; a remote that hangs keeps its child for the
/// whole of `limit`, and then pauses for longer.
const MAX_TRANSFERS: usize = 6;

/// All lanes.
#[derive(Debug)]
pub struct Lanes {
    clones: Clones,
    transfer: Transfer,
    turns: Mutex<BTreeMap<String, Arc<Turn<()>>>>,
    transfers: Semaphore,
}

/// A turn in the lane of one remote. The lane is free again when this is dropped.
pub struct Lane<'a> {
    lanes: &'a Lanes,
    git: GitLocation,
    _turn: OwnedMutexGuard<()>,
}

/// Why a step in a lane failed.
#[derive(Debug, thiserror::Error)]
pub enum LaneError {
    #[error(transparent)]
    Transfer(#[from] Failure),
    #[error(transparent)]
    Access(#[from] AccessError),
    #[error(transparent)]
    Commit(#[from] CommitError),
}

/// What a revert is about, owned, so that it can go to a blocking thread.
#[derive(Clone, Debug)]
pub struct Case {
    pub namespace: String,
    pub intent: SelfHealSpec,
    pub policy: SelfHealPolicySpec,
}

impl Case {
    /// The idempotency key: the same for the same bad version of the same Rollout in the same file.
    pub fn key(&self) -> String {
        let reference = &self.intent.rollout_ref;
        let (git, path) = (&self.policy.git, &self.policy.target.path);
        short_hash(&[&reference.uid, &self.intent.bad.hash, &git.url, path])
    }

    fn change(&self) -> Change<'_> {
        let target = match self.policy.target.kind {
            TargetKind::KustomizeImage => Target::KustomizeImage { name: self.policy.target.key.as_deref() },
            // The gate lets no Helm values through; a values file holds no Rollout, so nothing would be found.
            TargetKind::Manifest | TargetKind::HelmValue => {
                Target::Manifest { namespace: &self.namespace, name: &self.intent.rollout_ref.name }
            }
        };
        Change { target, bad: &self.intent.bad, good: &self.intent.good }
    }
}

impl Lanes {
    /// Lanes over these clones.
    pub fn new(clones: Clones, transfer: Transfer) -> Self {
        Self { clones, transfer, turns: Mutex::default(), transfers: Semaphore::new(MAX_TRANSFERS) }
    }

    /// Waits for the turn in the lane of a remote. First come, first served.
    pub async fn enter(&self, git: &GitLocation) -> Lane<'_> {
        let turn = {
            let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
            turns.entry(repo::name(&git.url)).or_default().clone()
        };
        Lane { lanes: self, git: git.clone(), _turn: turn.lock_owned().await }
    }

    /// Throws clones away that nobody uses until all together are small enough; never the one called `but`.
    async fn make_room(&self, but: &str) -> Result<(), LaneError> {
        let clones = self.clones.clone();
        for name in blocking(move || Ok(clones.surplus())).await?.into_iter().filter(|name| name != but) {
            let turn = {
                let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
                turns.entry(name.clone()).or_default().clone()
            };
            let Ok(turn) = turn.try_lock_owned() else { continue };
            let clones = self.clones.clone();
            blocking(move || {
                clones.remove_named(&name);
                Ok(())
            })
            .await?;
            drop(turn);
        }
        Ok(())
    }
}

impl Lane<'_> {
    /// Fetches the branch and says which commit is its tip.
    ///
    /// # Errors
    /// See [`Failure`]. After `Clone` the clone is thrown away, so that the next fetch begins anew.
    pub async fn fetch(&self, access: &Access) -> Result<Oid, LaneError> {
        let (clones, url) = (self.lanes.clones.clone(), self.git.url.clone());
        blocking(move || Ok(clones.ready(&url)?)).await?;
        self.lanes.make_room(&repo::name(&self.git.url)).await?;
        let path = self.lanes.clones.path(&self.git.url);
        let remote = (self.git.url.as_str(), self.git.branch.as_str());
        let _one = self.lanes.transfers.acquire().await;
        let span = tracing::info_span!(target: "trace", "fetch", git.branch = %self.git.branch);
        let fetched = self.lanes.transfer.fetch(remote, &path, commit::HISTORY_DEPTH, access);
        let fetched = fetched.instrument(span).await;
        if matches!(fetched, Err(Failure::Clone(_))) {
            self.lanes.clones.remove(&self.git.url);
        }
        Ok(fetched?)
    }

    /// Looks at what the tip holds.
    ///
    /// # Errors
    /// The path is refused or not there, or the clone is damaged.
    pub async fn look(&self, case: &Case, tip: Oid) -> Result<Tip, LaneError> {
        let (clones, case) = (self.lanes.clones.clone(), case.clone());
        blocking(move || {
            let clone = clones.open(&case.policy.git.url)?;
            let ours = commit::find(&clone, tip, &case.key())?.map(|id| id.to_string());
            let file = commit::read(&clone, tip, &case.policy.target.path)?;
            Ok(Tip { ours, file: edit::restore(&file.bytes, &case.change()) })
        })
        .await
    }

    /// The change as a unified diff, bounded as the status wants it.
    ///
    /// # Errors
    /// As [`Self::look`].
    pub async fn diff(&self, case: &Case, tip: Oid, bytes: &[u8]) -> Result<String, LaneError> {
        let (clones, case, bytes) = (self.lanes.clones.clone(), case.clone(), bytes.to_vec());
        blocking(move || {
            let clone = clones.open(&case.policy.git.url)?;
            let path = &case.policy.target.path;
            let file = commit::read(&clone, tip, path)?;
            commit::diff(path, &file.bytes, &bytes, MAX_DIFF_BYTES)
        })
        .await
    }

    /// Writes the commit that gives the file this content, into the clone alone.
    ///
    /// # Errors
    /// As [`Self::look`].
    pub async fn write(&self, case: &Case, tip: Oid, bytes: &[u8], now: Timestamp) -> Result<Oid, LaneError> {
        let (clones, case, bytes) = (self.lanes.clones.clone(), case.clone(), bytes.to_vec());
        blocking(move || {
            let clone = clones.open(&case.policy.git.url)?;
            let path = &case.policy.target.path;
            let file = commit::read(&clone, tip, path)?;
            let key = case.key();
            let report = Report {
                namespace: &case.namespace,
                intent: &case.intent,
                ticket: &case.policy.ticket,
                key: &key,
            };
            let who = (&case.policy.author, now);
            commit::write(&clone, tip, (path, &file, &bytes), &report.message(), who)
        })
        .await
    }

    /// Pushes a commit onto the tip it was made on.
    ///
    /// # Errors
    /// See [`Transfer::push`].
    pub async fn push(&self, (commit, tip): (Oid, Oid), access: &Access) -> Result<(), LaneError> {
        let path = self.lanes.clones.path(&self.git.url);
        let remote = (self.git.url.as_str(), self.git.branch.as_str());
        let _one = self.lanes.transfers.acquire().await;
        let span =
            tracing::info_span!(target: "trace", "push", git.branch = %self.git.branch, git.commit = %commit);
        Ok(self.lanes.transfer.push(remote, &path, (commit, tip), access).instrument(span).await?)
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, CommitError> + Send + 'static,
) -> Result<T, LaneError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => Ok(done?),
        Err(error) => Err(Failure::Process(format!("local Git work ended: {error}")).into()),
    }
}
