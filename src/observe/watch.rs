//! One kind's watch: fills its store, and tells which objects changed.

use std::{pin::pin, time::Duration};

use futures::StreamExt;
use kube::{
    Api, Client,
    api::ApiResource,
    runtime::watcher::{self, Event},
};
use tokio::sync::watch;

use super::{
    object::{Slim, Watched},
    store::{Changed, State, Store},
};
use crate::{clock::Clock, telemetry::logging::with_causes};

/// Objects in one page of a list: bounds what a start holds in memory at a time.
const PAGE: u32 = 100;
const FIRST_RETRY: Duration = Duration::from_secs(1);
/// Short: after an outage nothing is decided before the watches are back, and nine requests in this time are no burden.
const LAST_RETRY: Duration = Duration::from_secs(4);
/// How often a kind that the server does not know is asked for again.
const ABSENT_RETRY: Duration = Duration::from_secs(180);

/// What is watched.
#[derive(Clone, Debug)]
pub(super) struct Selection {
    pub(super) resource: ApiResource,
    /// `None`: all namespaces, or a kind without namespaces.
    pub(super) namespace: Option<String>,
    pub(super) labels: Option<String>,
    /// The program goes on without the kind where the server does not know it or does not let us read it.
    pub(super) is_optional: bool,
    /// Seconds that one watch is asked to last. One that hangs is begun again when nothing was heard for 5 s longer.
    pub(super) lasts: u32,
}

/// Watches without end. `on_change` is called after the store has changed; `state` follows the store's.
pub(super) async fn run<T: Slim>(
    client: Client,
    clock: Clock,
    selection: Selection,
    store: &Store<T>,
    state: watch::Sender<State>,
    on_change: impl Fn(&Changed<T>),
) {
    let api: Api<Watched<T>> = match &selection.namespace {
        Some(namespace) => Api::namespaced_with(client, namespace, &selection.resource),
        None => Api::all_with(client, &selection.resource),
    };
    let config = watcher::Config {
        label_selector: selection.labels.clone(),
        page_size: Some(PAGE),
        timeout: Some(selection.lasts),
        ..watcher::Config::default()
    };
    let mut stream = pin!(watcher::watcher(api, config));
    let mut retry = FIRST_RETRY;
    let kind = &selection.resource.kind;
    let mut is_failing = false;
    // The stream goes on for ever: after an error it starts over by itself.
    while let Some(event) = stream.next().await {
        match event {
            // Said before each list is asked for, and so no sign that anything works.
            Ok(Event::Init) => store.begin_list(),
            Ok(event) => {
                retry = FIRST_RETRY;
                store.set_trouble(None);
                if std::mem::take(&mut is_failing) {
                    tracing::info!(kind = %kind, "The watch of {kind} works again");
                }
                take(store, event).iter().for_each(&on_change);
                state.send_if_modified(|state| std::mem::replace(state, store.state()) != store.state());
            }
            Err(error) if selection.is_optional && is_absent(&error) => {
                if store.state() != State::Absent {
                    tracing::warn!(kind = %kind, error = %with_causes(&error), "Goes on without the kind {kind}: it cannot be read here");
                    store.set_absent();
                    state.send_replace(State::Absent);
                }
                clock.sleep(ABSENT_RETRY).await;
            }
            Err(error) => {
                let why = with_causes(&error);
                // Once: an outage would fill the log with the tries of each kind.
                if !std::mem::replace(&mut is_failing, true) {
                    tracing::warn!(kind = %kind, error = %why, "The watch of {kind} failed, it is tried until it works again: {why}");
                }
                store.set_trouble(Some(why));
                clock.sleep(retry).await;
                retry = (retry * 2).min(LAST_RETRY);
            }
        }
    }
}

fn take<T: Slim>(store: &Store<T>, event: Event<Watched<T>>) -> Vec<Changed<T>> {
    match event {
        Event::Apply(object) => store.apply(object.entry).into_iter().collect(),
        Event::Delete(object) => store.delete(&object.entry).into_iter().collect(),
        Event::Init => {
            store.begin_list();
            vec![]
        }
        Event::InitApply(object) => {
            store.listed(object.entry);
            vec![]
        }
        Event::InitDone => store.end_list(),
    }
}

/// The kind is not installed, or not ours to read.
fn is_absent(error: &watcher::Error) -> bool {
    let code = match error {
        watcher::Error::InitialListFailed(kube::Error::Api(status))
        | watcher::Error::WatchStartFailed(kube::Error::Api(status))
        | watcher::Error::WatchFailed(kube::Error::Api(status))
        | watcher::Error::WatchError(status) => status.code,
        watcher::Error::InitialListFailed(_)
        | watcher::Error::WatchStartFailed(_)
        | watcher::Error::WatchFailed(_)
        | watcher::Error::NoResourceVersion => 0,
    };
    code == 403 || code == 404
}
