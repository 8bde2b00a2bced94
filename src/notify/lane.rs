//! The lane's loop: watches, queue, attempts. It retries by itself and never ends before it is told to.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use futures::StreamExt;
use jiff::{SignedDuration, Timestamp};
use kube::{
    Api, Client,
    api::{ApiResource, DynamicObject, GroupVersionKind},
    runtime::watcher::{self, Event, watcher},
};
use tokio::{sync::mpsc, task::JoinSet};
use tokio_util::sync::CancellationToken;

use super::{
    ledger,
    outlet::{Closed, Outlet},
    queue::{Next, Queue},
    recipient::Recipient,
    rollout::{Rollout, slim},
    settings::{self, Settings, SettingsError},
    slack::Connections,
    stores::{Key, Kind, Stores},
    story::{Facts, Story, stories},
    tell::{Errand, Memory, TellError, Teller, pause_after},
};
use crate::{
    api::{
        http::WATCH_SECONDS,
        serin::{RolloutRecordStatus, SelfHeal},
    },
    clock::{self, Clock},
    telemetry::Metrics,
};

/// The label that splits Rollouts among controllers.
const INSTANCE_LABEL: &str = "argo-rollouts.argoproj.io/controller-instance-id";
/// Attempts at a time: one slow channel must not hold up the others.
const ATTEMPTS: usize = 8;
/// How long attempts may go on after shutdown. Short of the time that a lost Lease leaves.
const DRAIN: Duration = Duration::from_secs(3);
/// When to look again whether Slack has been configured.
const UNCONFIGURED_PAUSE: Duration = Duration::from_secs(300);
/// Objects in a page of a list.
const PAGE: u32 = 100;

/// Where the lane looks and counts.
#[derive(Clone, Debug)]
pub struct Config {
    /// The controller's own namespace: ConfigMap and Secret are there.
    pub controller_namespace: String,
    /// The one namespace whose Rollouts are served; `None`: all.
    pub namespace: Option<String>,
    /// As `--instance-id`: empty serves the Rollouts without the label.
    pub instance_id: String,
    /// Limit of one call to Slack, in real time. Slack answers within a second or two; after the limit nobody
    /// knows whether it will, and the channel is searched before anything is sent again.
    pub slack_limit: Duration,
    pub metrics: Metrics,
}

impl Config {
    /// All namespaces, no instance id, 10 s for a call to Slack.
    pub fn new(controller_namespace: &str, metrics: Metrics) -> Self {
        Self {
            controller_namespace: controller_namespace.to_owned(),
            namespace: None,
            instance_id: String::new(),
            slack_limit: Duration::from_secs(10),
            metrics,
        }
    }
}

/// Tells the stories of all Rollouts until `shutdown`. Runs only while this process leads.
///
/// Nothing that goes wrong ends it: what fails is logged, noted in the ledger and tried again.
pub async fn run(client: Client, clock: Clock, config: Config, shutdown: CancellationToken) {
    let (send, mut news) = mpsc::channel(256);
    let mut watches = JoinSet::new();
    for kind in Kind::ALL {
        watches.spawn(watch(client.clone(), clock, config.clone(), kind, send.clone()));
    }
    let shared = Arc::new(Shared {
        client,
        clock,
        config,
        memory: Memory::default(),
        connections: Connections::default(),
    });
    let mut lane = Lane { shared, stores: Stores::default(), queue: Queue::default(), work: JoinSet::new() };
    loop {
        let due = lane.start();
        let wait = async {
            match due {
                Some(at) => clock.sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = shutdown.cancelled() => break,
            Some((kind, event)) = news.recv() => lane.take(kind, event),
            Some(ended) = lane.work.join_next() => lane.ended(ended),
            () = wait => {}
        }
    }
    watches.abort_all();
    clock.timeout(DRAIN, async { while lane.work.join_next().await.is_some() {} }).await;
}

/// The kind as the API server names it.
pub(super) fn resource(kind: Kind) -> ApiResource {
    let (group, name, plural) = match kind {
        Kind::Rollout => ("argoproj.io", "Rollout", "rollouts"),
        Kind::RolloutRecord => ("serin.dev", "RolloutRecord", "rolloutrecords"),
        Kind::SelfHeal => ("serin.dev", "SelfHeal", "selfheals"),
    };
    ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, "v1alpha1", name), plural)
}

/// Sends every event of a kind on, for ever. Failures are logged once and waited out.
async fn watch(
    client: Client,
    clock: Clock,
    config: Config,
    kind: Kind,
    send: mpsc::Sender<(Kind, Event<DynamicObject>)>,
) {
    let api: Api<DynamicObject> = match &config.namespace {
        Some(namespace) => Api::namespaced_with(client, namespace, &resource(kind)),
        None => Api::all_with(client, &resource(kind)),
    };
    let options = watcher::Config::default().page_size(PAGE).timeout(WATCH_SECONDS);
    let options = match (kind, config.instance_id.as_str()) {
        (Kind::Rollout, "") => options.labels(&format!("!{INSTANCE_LABEL}")),
        (Kind::Rollout, id) => options.labels(&format!("{INSTANCE_LABEL}={id}")),
        (Kind::RolloutRecord | Kind::SelfHeal, _) => options,
    };
    let mut events = std::pin::pin!(watcher(api, options));
    let mut failures = 0;
    while let Some(event) = events.next().await {
        match event {
            Ok(event) => {
                failures = 0;
                if send.send((kind, event.modify(|object| reduce(kind, object)))).await.is_err() {
                    return;
                }
            }
            Err(error) => {
                failures += 1;
                if failures == 2 {
                    tracing::warn!(
                        watch.kind = ?kind, error = %error,
                        "Could not watch {kind:?}s; notifications wait until that works"
                    );
                }
                clock.sleep(pause_after(failures)).await;
            }
        }
    }
}

fn reduce(kind: Kind, object: &mut DynamicObject) {
    object.metadata.managed_fields = None;
    if kind == Kind::Rollout {
        slim(&mut object.data);
        let is_ours = |name: &str| name.starts_with("notifications.argoproj.io/");
        if let Some(annotations) = &mut object.metadata.annotations {
            annotations.retain(|name, _| is_ours(name));
        }
    }
}

struct Shared {
    client: Client,
    clock: Clock,
    config: Config,
    memory: Memory,
    connections: Connections,
}

struct Lane {
    shared: Arc<Shared>,
    stores: Stores,
    queue: Queue,
    work: JoinSet<(Key, Result<Next, AttemptError>)>,
}

/// Why an attempt has to be repeated.
#[derive(Debug, thiserror::Error)]
enum AttemptError {
    #[error("Slack is not configured")]
    NotConfigured,
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// One of the ways is configured wrong.
    #[error("{why}")]
    Wrong { why: String },
    #[error(transparent)]
    Tell(#[from] TellError),
}

impl Lane {
    fn take(&mut self, kind: Kind, event: Event<DynamicObject>) {
        let now = self.shared.clock.now();
        let was_ready = self.stores.is_ready();
        for key in self.stores.take(kind, event) {
            self.queue.mark(key, now);
        }
        if !was_ready && self.stores.is_ready() {
            for key in self.stores.keys() {
                self.queue.mark(key.clone(), now);
            }
        }
    }

    /// Starts what is due; returns when to come back.
    fn start(&mut self) -> Option<Timestamp> {
        if !self.stores.is_ready() {
            return None;
        }
        let now = self.shared.clock.now();
        while self.work.len() < ATTEMPTS {
            let Some(key) = self.queue.take(now) else { return self.queue.next_due(now) };
            let known = self.known(&key).filter(|known| !known.open(now, None).is_empty());
            match known {
                None => self.queue.done(&key, Next::News),
                Some(known) => {
                    let shared = self.shared.clone();
                    self.work.spawn(async move { (key, attend(&shared, known).await) });
                }
            }
        }
        // The next one to end brings the loop round.
        None
    }

    fn known(&self, key: &Key) -> Option<Known> {
        let rollout = self.stores.rollout(key).filter(|rollout| !rollout.subscriptions.is_empty())?.clone();
        let heals = self.stores.self_heals(key, &rollout.uid).into_iter().cloned().collect();
        let recipients = rollout.subscriptions.values().flatten().map(Recipient::to_string);
        let channels = recipients
            .filter_map(|name| self.stores.channel_of(&name).map(|channel| (name, channel)))
            .collect();
        Some(Known {
            key: key.clone(),
            status: self.stores.record(key).cloned().unwrap_or_default(),
            rollout,
            heals,
            channels,
        })
    }

    fn ended(&mut self, ended: Result<(Key, Result<Next, AttemptError>), tokio::task::JoinError>) {
        let Ok((key, outcome)) = ended else {
            // A bug of ours. The key stays marked as running, so that it cannot loop; the others go on.
            tracing::error!("An attempt to notify panicked");
            return;
        };
        let now = self.shared.clock.now();
        let next = outcome.unwrap_or_else(|error| {
            let failures = self.queue.failures(&key);
            if failures == 0 {
                report(&key, &error);
            }
            Next::Retry(match error {
                AttemptError::Tell(TellError::NotYet { until }) => until,
                AttemptError::NotConfigured => later(now, UNCONFIGURED_PAUSE),
                AttemptError::Settings(_) | AttemptError::Wrong { .. } | AttemptError::Tell(_) => {
                    later(now, pause_after(failures + 1))
                }
            })
        });
        self.queue.done(&key, next);
    }
}

fn later(now: Timestamp, pause: Duration) -> Timestamp {
    now.saturating_add(SignedDuration::try_from(pause).unwrap_or(SignedDuration::MAX))
        .unwrap_or(Timestamp::MAX)
}

fn report(key: &Key, error: &AttemptError) {
    let (namespace, name) = key;
    match error {
        AttemptError::NotConfigured => tracing::info!(
            rollout.namespace = %namespace, rollout.name = %name,
            "`{namespace}/{name}` subscribes Slack channels, and Slack is not configured"
        ),
        // The controller makes the record within its next pass.
        AttemptError::Tell(TellError::NotYet { .. } | TellError::NoRecord) => {}
        AttemptError::Settings(_) | AttemptError::Wrong { .. } | AttemptError::Tell(_) => {
            let cause =
                std::error::Error::source(error).map(|cause| format!(": {cause}")).unwrap_or_default();
            tracing::warn!(
                rollout.namespace = %namespace, rollout.name = %name, error = %error,
                "Could not notify about `{namespace}/{name}`, trying again: {error}{cause}"
            );
        }
    }
}

/// What was known of a Rollout when an attempt began.
struct Known {
    key: Key,
    rollout: Rollout,
    status: RolloutRecordStatus,
    heals: Vec<SelfHeal>,
    channels: BTreeMap<String, String>,
}

impl Known {
    /// The stories that somebody is still to be told, with whom. Without settings, whoever might be.
    fn open(&self, now: Timestamp, settings: Option<&Settings>) -> Vec<(Story, Recipient)> {
        let heals: Vec<&SelfHeal> = self.heals.iter().collect();
        let ledger = self.status.notify.as_ref().map(|notify| notify.ledger.as_slice()).unwrap_or_default();
        let facts = Facts {
            rollout: &self.rollout,
            record: self.status.controller.as_ref(),
            self_heals: &heals,
            ledger,
            now,
        };
        let mut open = vec![];
        for story in stories(&facts) {
            let is_default = settings.is_none_or(|settings| match &settings.default_triggers {
                Some(listed) => listed.iter().any(|trigger| story.triggers.contains(&trigger.as_str())),
                None => story.is_default,
            });
            for recipient in self.rollout.recipients(story.triggers, is_default) {
                let entry = ledger::find(ledger, &story.key, &recipient.to_string());
                if ledger::next(entry, &story.message.digest()) != ledger::Next::Nothing {
                    open.push((story.clone(), recipient));
                }
            }
        }
        open
    }
}

/// One attempt at everything that is open for one Rollout. A failing channel does not keep the others waiting.
async fn attend(shared: &Shared, mut known: Known) -> Result<Next, AttemptError> {
    let namespace = &shared.config.controller_namespace;
    let settings = settings::load(&shared.client, &shared.clock, namespace).await?;
    let settings = settings.ok_or(AttemptError::NotConfigured)?;
    let teller = Teller {
        client: shared.client.clone(),
        clock: shared.clock,
        memory: shared.memory.clone(),
        key: known.key.clone(),
        channels: std::mem::take(&mut known.channels),
    };
    // The watches are not ordered among each other. The record was written before the Rollout that we saw, so
    // reading it now cannot bring an older cause than that Rollout's.
    let note = teller.read().await?;
    known.status.controller = note.controller;
    known.status.notify = Some(crate::api::serin::NotifyRecord { ledger: note.ledger });
    let now = shared.clock.now();
    let mut next = Next::News;
    let mut failed = None;
    for (story, recipient) in known.open(now, Some(&settings)) {
        let held = story.held_until(now).filter(|_| recipient.is_webhook());
        if let Some(until) = held {
            next = match next {
                Next::At(at) => Next::At(at.min(until)),
                Next::News | Next::Retry(_) => Next::At(until),
            };
            continue;
        }
        let told = tell(shared, &teller, &settings, &story, &recipient).await;
        failed = failed.or(told.err());
    }
    failed.map_or(Ok(next), Err)
}

async fn tell(
    shared: &Shared,
    teller: &Teller,
    settings: &Settings,
    story: &Story,
    recipient: &Recipient,
) -> Result<(), AttemptError> {
    let (namespace, name) = &teller.key;
    let outlet = Outlet::to(recipient, settings, &shared.connections, shared.config.slack_limit);
    let outlet = outlet.map_err(|closed| match closed {
        Closed::Absent => AttemptError::NotConfigured,
        Closed::Wrong(error) => AttemptError::Wrong { why: error.to_string() },
        Closed::Broken(failure) => TellError::Slack(failure).into(),
    })?;
    let began = clock::instant();
    let told = teller.tell(&Errand { story, recipient: recipient.to_string(), outlet }).await;
    let seconds = began.elapsed().as_secs_f64();
    match &told {
        Ok(false) | Err(TellError::NotYet { .. }) => {}
        Ok(true) => {
            shared.config.metrics.notified(namespace, name, story.reason, seconds, false);
            tracing::info!(
                rollout.namespace = %namespace, rollout.name = %name, slack.recipient = %recipient,
                event.reason = story.reason, "Told `{recipient}` about `{namespace}/{name}`"
            );
        }
        Err(_) => shared.config.metrics.notified(namespace, name, story.reason, seconds, true),
    }
    Ok(told.map(|_| ())?)
}
