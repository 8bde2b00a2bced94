//! All stores, what wakes whom, and what one pass sees of them.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError},
};

use kube::Client;
use serde_json::Value;
use tokio::{sync::watch, task::JoinSet};

use super::{
    Target,
    kinds::{Scope, Template},
    object::{Entry, Slim},
    references::Reference,
    store::{Changed, State, Store},
    watch::{Selection, run},
};
use crate::{
    api::{
        Objects, ProcessMemory, analysis, observed, rollout::Parsed, run::StoredRun, traffic::SlimService,
        workload::OwnedSet,
    },
    clock::Clock,
    decide::{
        self,
        observed::{Observed, Service, Settings},
        record::Record,
    },
    domain::{Key, Uid},
};

/// A pass that a change calls for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Call {
    pub target: Target,
    /// Somebody wants something else: a new spec, or an abort. What was planned before it is out of date.
    pub is_news: bool,
}

/// Told which passes a change calls for.
type OnChange = Arc<dyn Fn(&Call) + Send + Sync>;

/// The stores of all kinds.
#[derive(Default)]
pub struct Stores {
    rollouts: Store<Parsed>,
    runs: Store<StoredRun>,
    templates: Store<Template>,
    cluster_templates: Store<Template>,
    replica_sets: Store<Option<OwnedSet>>,
    services: Store<Service>,
    virtual_services: Store<SlimService>,
    records: Store<Record>,
    /// Which Rollouts name an object.
    named_by: Mutex<BTreeMap<Reference, BTreeSet<Key>>>,
}

impl Stores {
    /// Fills the stores, one kind after another, and keeps them up to date without end. `ready` turns true once each
    /// kind was listed. `on_change` is called for every change, also before that.
    pub async fn run(
        self: Arc<Self>,
        client: Client,
        clock: Clock,
        scope: Scope,
        ready: watch::Sender<bool>,
        on_change: OnChange,
    ) {
        let mut fill = Fill { stores: self, client, clock, on_change, tasks: JoinSet::new() };
        fill.kind(scope.rollouts(), |stores| &stores.rollouts, Stores::rollout_changed).await;
        fill.kind(scope.replica_sets(), |stores| &stores.replica_sets, |_, changed| owner(changed)).await;
        fill.kind(
            scope.services(),
            |stores| &stores.services,
            |stores, changed| stores.namers(changed, Reference::Service),
        )
        .await;
        fill.kind(
            scope.virtual_services(),
            |stores| &stores.virtual_services,
            |stores, changed| stores.namers(changed, Reference::VirtualService),
        )
        .await;
        fill.kind(
            scope.templates(),
            |stores| &stores.templates,
            |stores, changed| stores.namers(changed, |key| Reference::Templates(key.namespace)),
        )
        .await;
        fill.kind(
            scope.cluster_templates(),
            |stores| &stores.cluster_templates,
            |stores, changed| stores.namers(changed, |_| Reference::ClusterTemplates),
        )
        .await;
        fill.kind(scope.runs(), |stores| &stores.runs, |_, changed| run_targets(changed)).await;
        fill.kind(scope.records(), |stores| &stores.records, |_, changed| namesake(changed)).await;
        ready.send_replace(true);
        while fill.tasks.join_next().await.is_some() {}
    }

    /// Everything that a decision about `key` needs; `None` where the Rollout is gone.
    pub fn snapshot(&self, key: &Key, process: ProcessMemory, settings: Settings) -> Option<Observed> {
        self.see(key, None, process, settings)
    }

    /// The same with `live` in the place of the stored VirtualService.
    pub fn snapshot_with(
        &self,
        key: &Key,
        live: &Value,
        process: ProcessMemory,
        settings: Settings,
    ) -> Option<Observed> {
        self.see(key, Some(SlimService::read(live.clone())), process, settings)
    }

    fn see(
        &self,
        key: &Key,
        live: Option<SlimService>,
        process: ProcessMemory,
        settings: Settings,
    ) -> Option<Observed> {
        let rollout = self.rollouts.find(key)?;
        let sets = self.replica_sets.owned_by(&rollout.uid);
        let runs = self.runs.owned_by(&rollout.uid);
        let traffic = rollout.slim.rollout.traffic.as_ref();
        let service = |name: &str| self.services.find(&Key::new(&*key.namespace, name));
        let stable = traffic.and_then(|traffic| service(&traffic.services.stable));
        let canary = traffic.and_then(|traffic| service(&traffic.services.canary));
        let stored = traffic.and_then(|traffic| self.virtual_services.find(&traffic.virtual_service));
        let (templates, cluster) = self.templates_for(&rollout);
        let template = |scope: analysis::Scope, name: &str| match scope {
            analysis::Scope::Namespace => templates.get(name).map(|entry| &entry.slim.0),
            analysis::Scope::Cluster => cluster.get(name).map(|entry| &entry.slim.0),
        };
        let record = self.records.find(key);
        let objects = Objects {
            is_name_taken: self.is_name_taken(&rollout),
            rollout: &rollout.slim,
            replica_sets: sets.iter().filter_map(|entry| entry.slim.as_ref().as_ref()).collect(),
            stable_service: stable.as_ref().map(|entry| &*entry.slim),
            canary_service: canary.as_ref().map(|entry| &*entry.slim),
            virtual_service: live.as_ref().or(stored.as_ref().map(|entry| &*entry.slim)),
            runs: runs.iter().map(|entry| &*entry.slim).collect(),
            template: &template,
            record: record.as_ref().map(|entry| &*entry.slim),
            records_available: self.records.state() == State::Ready,
        };
        Some(observed(&objects, process, settings))
    }

    /// Whether somebody else's object has the name of the Rollout's next ReplicaSet.
    fn is_name_taken(&self, rollout: &Entry<Parsed>) -> bool {
        let Ok(spec) = &rollout.slim.rollout.spec else { return false };
        let name = decide::set_name(&rollout.key, &spec.template_hash);
        let holder = self.replica_sets.find(&Key::new(&*rollout.key.namespace, name));
        holder.is_some_and(|holder| holder.owner.is_none_or(|owner| owner.uid != rollout.uid))
    }

    /// The templates that the Rollout's analyses may lead to; none for one without analyses.
    fn templates_for(
        &self,
        rollout: &Entry<Parsed>,
    ) -> (BTreeMap<String, Entry<Template>>, BTreeMap<String, Entry<Template>>) {
        if !rollout.references.contains(&Reference::ClusterTemplates) {
            return (BTreeMap::new(), BTreeMap::new());
        }
        let by_name = |entries: Vec<Entry<Template>>| {
            entries.into_iter().map(|entry| (entry.key.name.clone(), entry)).collect()
        };
        (by_name(self.templates.in_namespace(&rollout.key.namespace)), by_name(self.cluster_templates.all()))
    }

    /// A run that no Rollout controls; `None` where it is gone or belongs to somebody.
    pub fn run_alone(&self, key: &Key) -> Option<Entry<StoredRun>> {
        self.runs.find(key).filter(|entry| entry.owner.is_none())
    }

    /// The uids of the runs that a Rollout controls.
    pub fn runs_of(&self, key: &Key) -> Vec<Uid> {
        let Some(rollout) = self.rollouts.find(key) else { return vec![] };
        self.runs.owned_by(&rollout.uid).into_iter().map(|entry| entry.uid).collect()
    }

    pub fn rollout(&self, key: &Key) -> Option<Entry<Parsed>> {
        self.rollouts.find(key)
    }

    pub fn all_rollouts(&self) -> Vec<Entry<Parsed>> {
        self.rollouts.all()
    }

    pub fn all_runs(&self) -> Vec<Entry<StoredRun>> {
        self.runs.all()
    }

    pub fn all_templates(&self) -> Vec<Entry<Template>> {
        self.templates.all()
    }

    /// The first kind that has not been listed yet, with what the server said when it was tried.
    pub fn unfilled(&self) -> Option<String> {
        let Self {
            rollouts,
            runs,
            templates,
            cluster_templates,
            replica_sets,
            services,
            virtual_services,
            records,
            named_by: _,
        } = self;
        // In the order in which they are filled.
        rollouts
            .unfilled("Rollout")
            .or_else(|| replica_sets.unfilled("ReplicaSet"))
            .or_else(|| services.unfilled("Service"))
            .or_else(|| virtual_services.unfilled("VirtualService"))
            .or_else(|| templates.unfilled("AnalysisTemplate"))
            .or_else(|| cluster_templates.unfilled("ClusterAnalysisTemplate"))
            .or_else(|| runs.unfilled("AnalysisRun"))
            .or_else(|| records.unfilled("RolloutRecord"))
    }

    /// Whether the kinds of serin.dev are there.
    pub fn has_records(&self) -> bool {
        self.records.state() == State::Ready
    }

    /// Lays an object that a request of ours returned over the stores until the watches have caught up. The watch
    /// will not tell of it again: the passes that the change calls for are returned.
    pub fn overlay(&self, object: Value) -> BTreeSet<Call> {
        let kind = object.get("kind").and_then(Value::as_str).unwrap_or_default().to_owned();
        // A deleted object is returned as it was: the watch tells that it is gone.
        if object.pointer("/metadata/deletionTimestamp").is_some() {
            return BTreeSet::new();
        }
        let calls = match kind.as_str() {
            "Rollout" => lay(&self.rollouts, object).map(|changed| self.rollout_changed(&changed)),
            "AnalysisRun" => lay(&self.runs, object).map(|changed| run_targets(&changed)),
            "ReplicaSet" => lay(&self.replica_sets, object).map(|changed| owner(&changed)),
            "Service" => lay(&self.services, object).map(|changed| self.namers(&changed, Reference::Service)),
            "VirtualService" => lay(&self.virtual_services, object)
                .map(|changed| self.namers(&changed, Reference::VirtualService)),
            "RolloutRecord" => lay(&self.records, object).map(|changed| namesake(&changed)),
            _ => None,
        };
        calls.unwrap_or_default()
    }

    /// Takes what a watch would tell: an object as it stands, or as it was before it went away. For a world that
    /// tells of its changes itself.
    pub fn told(&self, object: Value, is_gone: bool) -> BTreeSet<Call> {
        let kind = object.get("kind").and_then(Value::as_str).unwrap_or_default().to_owned();
        let calls = match kind.as_str() {
            "Rollout" => tell(&self.rollouts, object, is_gone).map(|changed| self.rollout_changed(&changed)),
            "AnalysisRun" => tell(&self.runs, object, is_gone).map(|changed| run_targets(&changed)),
            "ReplicaSet" => tell(&self.replica_sets, object, is_gone).map(|changed| owner(&changed)),
            "Service" => {
                tell(&self.services, object, is_gone).map(|changed| self.namers(&changed, Reference::Service))
            }
            "VirtualService" => tell(&self.virtual_services, object, is_gone)
                .map(|changed| self.namers(&changed, Reference::VirtualService)),
            "AnalysisTemplate" => tell(&self.templates, object, is_gone)
                .map(|changed| self.namers(&changed, |key| Reference::Templates(key.namespace))),
            "ClusterAnalysisTemplate" => tell(&self.cluster_templates, object, is_gone)
                .map(|changed| self.namers(&changed, |_| Reference::ClusterTemplates)),
            "RolloutRecord" => tell(&self.records, object, is_gone).map(|changed| namesake(&changed)),
            _ => None,
        };
        calls.unwrap_or_default()
    }

    /// Counts every kind as listed, with what was told so far.
    pub fn all_told(&self) {
        self.rollouts.set_ready();
        self.runs.set_ready();
        self.replica_sets.set_ready();
        self.services.set_ready();
        self.virtual_services.set_ready();
        self.templates.set_ready();
        self.cluster_templates.set_ready();
        self.records.set_ready();
    }

    /// Keeps the index of names, and wakes the Rollout itself.
    fn rollout_changed(&self, (before, after): &Changed<Parsed>) -> BTreeSet<Call> {
        let mut named_by = self.named_by.lock().unwrap_or_else(PoisonError::into_inner);
        for entry in before.iter() {
            for reference in &entry.references {
                if let Some(keys) = named_by.get_mut(reference) {
                    keys.remove(&entry.key);
                    if keys.is_empty() {
                        named_by.remove(reference);
                    }
                }
            }
        }
        for entry in after.iter() {
            for reference in &entry.references {
                named_by.entry(reference.clone()).or_default().insert(entry.key.clone());
            }
        }
        drop(named_by);
        let is_news = wants_else(before.as_ref(), after.as_ref());
        let key = after.as_ref().or(before.as_ref()).map(|entry| entry.key.clone());
        key.map(|key| Call { target: Target::Rollout(key), is_news }).into_iter().collect()
    }

    /// The Rollouts that name the object that changed.
    fn namers<T>(&self, changed: &Changed<T>, reference: impl Fn(Key) -> Reference) -> BTreeSet<Call> {
        let named_by = self.named_by.lock().unwrap_or_else(PoisonError::into_inner);
        let keys = entries(changed).filter_map(|entry| named_by.get(&reference(entry.key.clone())));
        keys.flatten().cloned().map(Target::Rollout).map(quiet).collect()
    }
}

fn quiet(target: Target) -> Call {
    Call { target, is_news: false }
}

/// Whether a Rollout's spec is another one, or somebody aborts or retries it, or it is going away.
///
/// Our own bookkeeping is no news, and the watch may tell of it before the answer to the request does: it writes `abort`
/// and `abortedAt` together and takes them away together. Taken for news, it would stop the very pass that wrote it,
/// before its events.
fn wants_else(before: Option<&Entry<Parsed>>, after: Option<&Entry<Parsed>>) -> bool {
    let (Some(before), Some(after)) = (before, after) else { return true };
    let (before, after) = (&before.slim.rollout, &after.slim.rollout);
    before.generation != after.generation
        || (after.memory.abort && !before.memory.abort && after.memory.aborted_at.is_none())
        || (before.memory.abort && !after.memory.abort && after.memory.aborted_at.is_some())
        || before.is_deleted != after.is_deleted
}

fn lay<T: Slim>(store: &Store<T>, object: Value) -> Option<Changed<T>> {
    store.overlay(Entry::read(object)?)
}

fn tell<T: Slim>(store: &Store<T>, object: Value, is_gone: bool) -> Option<Changed<T>> {
    let entry = Entry::read(object)?;
    if is_gone { store.delete(&entry) } else { store.apply(entry) }
}

fn entries<T>((before, after): &Changed<T>) -> impl Iterator<Item = &Entry<T>> {
    before.iter().chain(after)
}

/// The Rollout that controls the object.
fn owner<T>(changed: &Changed<T>) -> BTreeSet<Call> {
    entries(changed).filter_map(rollout_of).collect()
}

fn rollout_of<T>(entry: &Entry<T>) -> Option<Call> {
    let owner = entry.owner.as_ref().filter(|owner| owner.kind == "Rollout")?;
    Some(quiet(Target::Rollout(Key::new(&*entry.key.namespace, &*owner.name))))
}

/// The Rollout that controls a run, or the run itself.
fn run_targets(changed: &Changed<StoredRun>) -> BTreeSet<Call> {
    let target = |entry: &Entry<StoredRun>| match &entry.owner {
        Some(_) => rollout_of(entry),
        None => Some(quiet(Target::Run(entry.key.clone()))),
    };
    entries(changed).filter_map(target).collect()
}

fn namesake<T>(changed: &Changed<T>) -> BTreeSet<Call> {
    entries(changed).map(|entry| quiet(Target::Rollout(entry.key.clone()))).collect()
}

/// Starts the watches.
struct Fill {
    stores: Arc<Stores>,
    client: Client,
    clock: Clock,
    on_change: OnChange,
    tasks: JoinSet<()>,
}

impl Fill {
    /// Starts one watch and waits until its store is filled.
    async fn kind<T: Slim>(
        &mut self,
        selection: Selection,
        store: fn(&Stores) -> &Store<T>,
        targets: fn(&Stores, &Changed<T>) -> BTreeSet<Call>,
    ) {
        let (sender, mut state) = watch::channel(State::Starting);
        let (stores, on_change) = (Arc::clone(&self.stores), Arc::clone(&self.on_change));
        let (client, clock) = (self.client.clone(), self.clock);
        self.tasks.spawn(async move {
            let changed =
                |changed: &Changed<T>| targets(&stores, changed).iter().for_each(|call| on_change(call));
            run(client, clock, selection, store(&stores), sender, changed).await;
        });
        // The sender lives as long as its watch.
        let _ = state.wait_for(|state| *state != State::Starting).await;
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_person_who_aborts_or_retries_is_news_and_what_serin_books_is_not() {
        let entry = |status: Value| -> Entry<Parsed> {
            let metadata = json!({"name": "cart", "namespace": "shop", "uid": "1", "resourceVersion": "1", "generation": 1});
            Entry::read(json!({"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "metadata": metadata,
                "spec": {}, "status": status}))
            .unwrap()
        };
        let plain = entry(json!({}));
        let asked = entry(json!({"abort": true}));
        let booked = entry(json!({"abort": true, "abortedAt": "2026-01-01T00:00:00Z"}));
        let retried = entry(json!({"abort": false, "abortedAt": "2026-01-01T00:00:00Z"}));
        let is_news = |before: &Entry<Parsed>, after: &Entry<Parsed>| wants_else(Some(before), Some(after));
        assert!(is_news(&plain, &asked) && is_news(&booked, &retried));
        assert!(!is_news(&plain, &booked) && !is_news(&asked, &booked) && !is_news(&booked, &plain));
    }
}
