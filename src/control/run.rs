//! The controller as one function: what `serin controller` runs and what the embedded world runs.

use std::{panic::AssertUnwindSafe, sync::Arc, time::Duration};

use futures::FutureExt;
use kube::Client;
use tokio::{sync::watch, task::JoinSet};
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use super::{
    facts::Page,
    lease::{Leadership, LeaseConfig, lead},
    queue::{Due, Queue, Reason},
    reconcile::Reconciler,
};
use crate::{
    apply::{Limits, Sender, render::Versions},
    clock::Clock,
    decide::observed::Settings,
    notify,
    observe::{
        Call, Scope, Stores, Target,
        sampler::{self, Sampler},
    },
    telemetry::{Health, Heartbeat},
};

/// How long passes that are running may take to end when the program ends: one request, and its answer.
const LAST_PASSES: Duration = Duration::from_secs(6);

/// Passes at a time, over different keys. Most of them wait for their turn at the API server with what they saw, some tens of
/// kilobytes each. A pass that takes traffic away waits for nobody there, so it must be able to begin at any time.
const PASSES: usize = 1000;
/// The loop turns this often, also when nothing is due.
const TURN: Duration = Duration::from_secs(10);
/// A loop that has not turned for so long hangs.
const LONGEST_TURN: Duration = Duration::from_secs(60);

/// What the controller is told when it starts.
#[derive(Clone)]
pub struct Config {
    pub scope: Scope,
    pub settings: Settings,
    pub sampler: sampler::Settings,
    /// How much is asked of the API server, sheds not counted.
    pub limits: Limits,
    /// How often everything is looked at without a reason.
    pub resync: Duration,
    /// `None`: this process leads without asking.
    pub lease: Option<LeaseConfig>,
    /// `None`: nobody is told by Slack.
    pub notify: Option<notify::Config>,
    /// Where the counters are, and what a scrape shows.
    pub page: Page,
    /// Told that the loop turns, and when the stores are filled.
    pub health: Option<Health>,
}

/// Why the controller ended by itself.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Another replica may lead by now; the process is to be started again.
    #[error("the leadership was lost")]
    LeadershipLost,
    #[error(transparent)]
    Sampler(#[from] sampler::Error),
}

/// Runs until `shutdown`. Every task belongs to the returned future: dropped, it takes them all with it, and whatever
/// it was doing is found out again by the next one.
///
/// # Errors
/// The leadership was lost, or there is no TLS to ask Prometheus with.
pub async fn run(
    client: Client,
    clock: Clock,
    config: Config,
    shutdown: CancellationToken,
) -> Result<(), Error> {
    let metrics = config.page.metrics().clone();
    let Some(lease) = config.lease.clone() else {
        metrics.leading("none", true);
        return lead_on(client, clock, config, None, shutdown).await;
    };
    let name = lease.name.clone();
    metrics.leading(&name, false);
    let release = CancellationToken::new();
    // Dropped, the candidacy ends, too.
    let _guard = release.clone().drop_guard();
    let mut leadership = lead(client.clone(), clock, lease, release.clone());
    let _gate = config.health.as_ref().map(|health| health.gate("lease", leadership.unheard()));
    let is_leader = tokio::select! {
        is_leader = leadership.acquired() => is_leader,
        () = shutdown.cancelled() => false,
    };
    metrics.leading(&name, is_leader);
    let ended = if is_leader {
        lead_on(client, clock, config, Some(&mut leadership), shutdown).await
    } else if shutdown.is_cancelled() {
        Ok(())
    } else {
        Err(Error::LeadershipLost)
    };
    metrics.leading(&name, false);
    // Everything that acts has ended: another replica may lead.
    release.cancel();
    leadership.finished().await;
    ended
}

async fn lead_on(
    client: Client,
    clock: Clock,
    config: Config,
    leadership: Option<&mut Leadership>,
    shutdown: CancellationToken,
) -> Result<(), Error> {
    let queue = Arc::new(Queue::new(clock));
    let stores = Arc::<Stores>::default();
    let unfilled = Arc::clone(&stores);
    let _gate = config.health.as_ref().map(|health| health.gate("stores", move || unfilled.unfilled()));
    let answered = Arc::clone(&queue);
    let (sampler, worker) = Sampler::new(client.clone(), clock, config.sampler.clone(), move |target| {
        answered.add(target, Reason::Answer);
    })?;
    let mut tasks = JoinSet::new();
    let (ready, is_ready) = watch::channel(false);
    let changed = Arc::clone(&queue);
    let on_change = move |call: &Call| {
        changed.add(&call.target, if call.is_news { Reason::News } else { Reason::Change });
    };
    let mut told = JoinSet::new();
    if let Some(config) = config.notify.clone() {
        told.spawn(notify::run(client.clone(), clock, config, shutdown.child_token()));
    }
    let filling =
        Arc::clone(&stores).run(client.clone(), clock, config.scope.clone(), ready, Arc::new(on_change));
    tasks.spawn(filling);
    tasks.spawn(worker.run());
    let reconciler = Arc::new(Reconciler {
        stores,
        sampler,
        sender: Sender::new(client, clock, config.limits),
        queue: Arc::clone(&queue),
        settings: config.settings,
        versions: Versions { istio: config.scope.istio_version.clone() },
        metrics: config.page.metrics().clone(),
        term: leadership.as_ref().map(|leadership| leadership.term()),
        kept: std::sync::Mutex::default(),
    });
    config.page.show(Arc::clone(&reconciler.stores), Arc::clone(&queue));
    let passes = Passes { reconciler, queue, clock, resync: config.resync, health: config.health };
    let lost = async {
        match leadership {
            Some(leadership) => drop(leadership.ended().await),
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        () = passes.run(is_ready, &shutdown) => {
            // The lane ends by itself, with what it has under way.
            clock.timeout(LAST_PASSES, async { while told.join_next().await.is_some() {} }).await;
            Ok(())
        }
        () = lost => Err(Error::LeadershipLost),
    }
}

/// The loop.
struct Passes {
    reconciler: Arc<Reconciler>,
    queue: Arc<Queue>,
    clock: Clock,
    resync: Duration,
    health: Option<Health>,
}

impl Passes {
    /// Makes passes as they become due, none before every store is filled, until `shutdown`.
    async fn run(&self, mut is_ready: watch::Receiver<bool>, shutdown: &CancellationToken) {
        tokio::select! {
            ready = is_ready.wait_for(|ready| *ready) => if ready.is_err() { return },
            () = shutdown.cancelled() => return,
        }
        let heartbeat = self.health.as_ref().map(|health| health.heartbeat("passes", LONGEST_TURN));
        let count = self.reconciler.stores.all_rollouts().len();
        tracing::info!(
            rollouts.count = count,
            "All stores are filled: the controller begins, with {count} Rollouts"
        );
        let mut running = JoinSet::new();
        let mut resync = std::pin::pin!(self.clock.sleep(self.resync));
        loop {
            heartbeat.iter().for_each(Heartbeat::beat);
            tokio::select! {
                biased;
                () = shutdown.cancelled() => break,
                Some(_) = running.join_next() => {}
                due = self.queue.next(), if running.len() < PASSES => {
                    let reconciler = Arc::clone(&self.reconciler);
                    running.spawn(pass(reconciler, due));
                }
                () = &mut resync => {
                    self.look_at_everything();
                    resync.set(self.clock.sleep(self.resync));
                }
                () = self.clock.sleep(TURN) => {}
            }
        }
        let rest = async { while running.join_next().await.is_some() {} };
        if self.clock.timeout(LAST_PASSES, rest).await.is_none() {
            tracing::warn!("A pass did not end in time: its requests are found out by the next controller");
        }
    }

    fn look_at_everything(&self) {
        for rollout in self.reconciler.stores.all_rollouts() {
            self.queue.add(&Target::Rollout(rollout.key), Reason::Resync);
        }
        for run in self.reconciler.stores.all_runs().into_iter().filter(|run| run.owner.is_none()) {
            self.queue.add(&Target::Run(run.key), Reason::Resync);
        }
    }
}

/// A pass that panics is a defect of ours, and must not stop other rollouts, nor its own for ever.
async fn pass(reconciler: Arc<Reconciler>, due: Due) {
    let target = due.target.clone();
    let key = target.key();
    let why: Vec<&str> = due.reasons.iter().map(Into::into).collect();
    let span = tracing::info_span!(
        target: "trace",
        "pass",
        rollout.namespace = %key.namespace,
        rollout.name = %key.name,
        reasons = why.join(",")
    );
    if AssertUnwindSafe(reconciler.pass(due)).catch_unwind().instrument(span).await.is_err() {
        tracing::error!(
            rollout.namespace = %key.namespace,
            rollout.name = %key.name,
            "A pass over `{key}` panicked: this is a defect of serin"
        );
        reconciler.queue.failed(&target, "panic", false);
    }
}
