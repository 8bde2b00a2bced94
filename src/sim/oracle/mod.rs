//! The judge of the world: what is written, by whom, in which order, and what is served.
//!
//! It reads objects and requests only, by its own reading of the API, and shares no code with the decisions. A law
//! is broken when what the controller *knew* forbade what it *did*: what a silent watch had not told yet excuses,
//! its own writes never do.

mod configs;
mod ending;
mod story;
mod view;
mod writes;

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    fmt,
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use self::configs::Config;
use self::view::{Rollout, Run, Set, Split, Step};
use super::{
    store::{Key as At, Resource},
    world::{Logged, World},
};
use crate::{api::http::Method, domain::Key};

/// What must hold. The numbers are those of the list that the project keeps of incidents in public.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, strum::Display, strum::EnumIter)]
pub enum Law {
    /// Pods that a live route may still lead to are not scaled below what it needs.
    I1,
    /// Traffic moves to stable only as far as stable can carry it.
    I2,
    /// At every write each side with weight leads to ready pods of a version that may have it.
    I3,
    /// An abort takes the traffic away first.
    I4,
    /// An abort where nothing is under way does nothing.
    I5,
    /// Stable is never scaled below what the Rollout asks for.
    I6,
    /// Weights are within 0 to 100 and add up to 100.
    I7,
    /// Weights are only what the steps say.
    I8,
    /// What can go on goes on, and what is done rests.
    I9,
    /// Measurements are made when they are due.
    I10,
    /// What can do harm on an old view carries the version that it was decided on.
    I11,
    /// No object makes the controller panic.
    I13,
    /// Of the user's objects only weights, labels of selection and the mark are changed.
    I14,
    /// A weight that somebody else raised is cut within a second; one lowered by hand is respected in the end.
    I15,
    /// After completion nothing of the user's routes is owned.
    I16,
    /// Steps and promotions are earned: by weight, time, and a good verdict for every analysis.
    I18,
    /// An abort stays until somebody takes it back.
    I19,
    /// Statuses stay small.
    I20,
    /// Traffic returns only to a version that was promoted once.
    I21,
    /// A pod template has one ReplicaSet.
    OneReplicaSet,
    /// A rejected version is reverted in Git at most once.
    OneRevert,
    /// The controller's own check of its plans found something.
    Plan,
}

/// A law that was broken.
#[derive(Clone, Debug, PartialEq)]
pub struct Violation {
    pub law: Law,
    pub at: Timestamp,
    /// The objects and what was seen.
    pub detail: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}: {}", self.law, self.at, self.detail)
    }
}

/// One version of an object.
#[derive(Clone, Debug)]
struct Version {
    rv: u64,
    /// The controller was shown it in an answer.
    answered: bool,
    object: Option<Arc<Value>>,
}

/// What the controller knew when it made the plan that it carries out.
#[derive(Clone, Debug, Default)]
struct Pass {
    seen: BTreeMap<Resource, u64>,
    began: u64,
    /// It knew of an abort and of traffic that goes to the aborted version.
    must_shed: bool,
    wrote: bool,
    /// It has taken all of the traffic away itself.
    has_shed: bool,
    /// A request to the VirtualService failed in it.
    shed_failed: bool,
    clock: Timestamp,
}

/// A write as the laws see it.
struct Write<'a> {
    logged: &'a Logged,
    at: &'a At,
    before: Option<&'a Value>,
    after: Option<&'a Value>,
}

/// The judge of one Rollout's world.
pub struct Oracle {
    key: Key,
    names: Names,
    delay: SignedDuration,
    now: Timestamp,
    upto: u64,
    read: u64,
    versions: BTreeMap<(Resource, At), Vec<Version>>,
    configs: Vec<Config>,
    pass: Pass,
    /// The Rollout that was read last, as it was and as it reads.
    newest: RefCell<Option<(Arc<Value>, Rc<Rollout>)>>,
    /// Versions that were promoted, by hash.
    promoted: BTreeSet<String>,
    /// When the present update, or its last retry, began.
    began_at: u64,
    /// Background runs that were going when the steps were edited and go on for the same version, by the version of the world
    /// that they were made with.
    carried: BTreeSet<u64>,
    reverts: BTreeMap<String, u32>,
    /// The weight above what is permitted, as known; and since when.
    above: Option<String>,
    excess: Option<Timestamp>,
    foreign_weights: Option<Timestamp>,
    /// What the canary's weight was before somebody else lowered it, until it is back there.
    lowered_from: Option<i64>,
    reasserts: Vec<Timestamp>,
    /// Steps of the present update that a person skipped.
    skipped: BTreeSet<usize>,
    /// The steps that the status is about. Others begin the update anew, also after an abort.
    steps: Vec<Step>,
    /// Nothing in the schedule keeps measurements from being made in time.
    pub is_punctual: bool,
    pub violations: Vec<Violation>,
}

/// Names of the objects around the Rollout.
#[derive(Clone, Debug)]
pub struct Names {
    pub virtual_service: String,
    pub canary: String,
    pub stable: String,
}

const JUDGED: [Resource; 8] = [
    Resource::Rollouts,
    Resource::ReplicaSets,
    Resource::Services,
    Resource::VirtualServices,
    Resource::DestinationRules,
    Resource::AnalysisRuns,
    Resource::RolloutRecords,
    Resource::SelfHeals,
];

/// What a watch, a pass and a request may take beside all latencies of the script.
const AT_ONCE: SignedDuration = SignedDuration::from_secs(1);

impl Oracle {
    /// A judge who has seen nothing yet. `delay` is how long the data plane may lag behind.
    pub fn new(key: Key, names: Names, delay: Duration, now: Timestamp) -> Self {
        Self {
            key,
            names,
            delay: SignedDuration::try_from(delay).unwrap_or(SignedDuration::MAX),
            now,
            upto: 0,
            read: 0,
            versions: BTreeMap::new(),
            configs: vec![],
            pass: Pass::default(),
            newest: RefCell::new(None),
            promoted: BTreeSet::new(),
            began_at: 0,
            carried: BTreeSet::new(),
            reverts: BTreeMap::new(),
            above: None,
            excess: None,
            foreign_weights: None,
            lowered_from: None,
            reasserts: vec![],
            skipped: BTreeSet::new(),
            steps: vec![],
            is_punctual: false,
            violations: vec![],
        }
    }

    fn broken(&mut self, law: Law, detail: String) {
        let is_known = self.violations.iter().any(|known| known.law == law && known.detail == detail);
        if !is_known {
            self.violations.push(Violation { law, at: self.now, detail });
        }
    }

    /// A plan was made with what `seen` had told, at this time of the controller's clock.
    pub fn planned(&mut self, world: &World, seen: &BTreeMap<Resource, u64>, clock: Timestamp) {
        self.look(world);
        self.pass = Pass { seen: seen.clone(), began: self.upto, clock, ..Pass::default() };
        self.note_known();
        self.above = self.is_above();
        let aborted = self.rollout().is_some_and(|rollout| {
            let is_update = !rollout.is_promoted() && !rollout.stable.is_empty();
            rollout.abort && is_update && !rollout.promote_full && rollout.steps == self.steps
        });
        let canary = self.selected(&self.names.canary.clone());
        let is_current = self.rollout().is_some_and(|rollout| canary.as_ref() == Some(&rollout.current));
        self.pass.must_shed = aborted && is_current && self.split().is_some_and(|split| split.canary > 0);
    }

    /// The controller's process ended: nobody is to be blamed for what is not done now.
    pub fn is_down(&mut self) {
        self.excess = None;
        // The last raise was not booked before the process died: its successor cannot know that it was there, and takes
        // what the other hand has left for what the rollout had.
        let booked = self
            .live(Resource::Rollouts, &self.key.name)
            .map_or(0, |rollout| view::number(rollout, "/status/canary/weights/canary/weight"));
        if self.live_split().is_some_and(|split| split.canary >= booked) {
            self.lowered_from = None;
        }
        // Nor of a raise that no record could be written of.
        let recorded = self.live(Resource::RolloutRecords, &self.key.name).map_or(0, |record| {
            let noted = record.pointer("/status/controller/weightReasserts").and_then(Value::as_array);
            noted.map_or(0, Vec::len)
        });
        let lost = self.reasserts.len().saturating_sub(recorded);
        self.reasserts.drain(..lost);
    }

    /// Judges everything that happened since the last look.
    pub fn look(&mut self, world: &World) {
        self.now = world.now();
        let logged = self.new_requests(world);
        if logged.is_empty() && self.upto == world.store().version() {
            return self.excess();
        }
        let mut changes = vec![];
        for kind in JUDGED {
            let new = world.store().changes_after(kind, self.upto).into_iter().flatten();
            changes.extend(new.map(|change| (change.rv, kind, change.clone())));
        }
        changes.sort_by_key(|(rv, ..)| *rv);
        self.upto = world.store().version();
        let is_news = !changes.is_empty();
        for (rv, kind, change) in changes {
            let author = logged.iter().copied().find(|logged| logged.rv == rv && is_write(logged));
            let ours = author.is_some_and(|logged| logged.point.actor == "controller");
            let answered = ours && author.is_some_and(|logged| (200..300).contains(&logged.status));
            let version = Version { rv, answered, object: change.after.as_ref().map(Arc::clone) };
            if let (true, Some(logged)) = (ours, author) {
                let before = change.before.as_deref();
                let write = Write { logged, at: &change.key, before, after: change.after.as_deref() };
                self.judge(kind, &write);
            } else {
                self.foreign(kind, change.before.as_deref(), change.after.as_deref());
            }
            self.versions.entry((kind, change.key)).or_default().push(version);
            self.note_config(kind, rv, ours);
        }
        self.requests(&logged);
        let is_shown = self.shown(&logged);
        if is_news || is_shown {
            self.forget();
            self.above = self.is_above();
        }
        self.excess();
    }

    fn new_requests<'a>(&mut self, world: &'a World) -> Vec<&'a Logged> {
        let all = world.forgotten() + u64::try_from(world.log().len()).unwrap_or(0);
        let new = usize::try_from(all.saturating_sub(self.read)).unwrap_or(0);
        self.read = all;
        let mut logged: Vec<&Logged> = world.log().rev().take(new).collect();
        logged.reverse();
        logged
    }

    fn judge(&mut self, kind: Resource, write: &Write<'_>) {
        let name = &write.at.name;
        if kind == Resource::VirtualServices && *name == self.names.virtual_service {
            self.weights(write);
        } else if kind == Resource::Services {
            self.switched(write);
        } else if kind == Resource::DestinationRules {
            self.relabelled(write);
        } else if kind == Resource::ReplicaSets {
            self.sized(write);
        } else if kind == Resource::Rollouts && *name == self.key.name {
            self.remembered(write);
        } else if kind == Resource::AnalysisRuns {
            self.run(write);
        } else if kind == Resource::SelfHeals {
            self.reverted(write);
        }
    }

    /// What somebody else changed.
    fn foreign(&mut self, kind: Resource, before: Option<&Value>, after: Option<&Value>) {
        if let (Resource::VirtualServices, Some(before), Some(after)) = (kind, before, after)
            && view::weights(before) != view::weights(after)
        {
            self.foreign_weights = Some(self.now);
            let canary =
                |object| Split::read(object, &self.names.canary, &self.names.stable).map(|it| it.canary);
            let (before, after) = (canary(before).unwrap_or(0), canary(after).unwrap_or(0));
            if after < before {
                self.lowered_from = self.lowered_from.max(Some(before));
            } else if Some(after) >= self.lowered_from {
                // The other hand has taken it back.
                self.lowered_from = None;
            }
        }
        if kind == Resource::Rollouts
            && let (Some(before), Some(after)) = (before, after)
        {
            // One that was taken back before the controller saw it never was.
            let was_booked = before.pointer("/status/abortedAt").is_some_and(|at| !at.is_null());
            let (before, after) = (Rollout::read(before), Rollout::read(after));
            if was_booked && before.abort && !after.abort {
                self.began_at = self.upto;
                self.carried.clear();
                self.lowered_from = None;
                self.skipped.clear();
            }
            let (from, to) = (before.index.unwrap_or(0), after.index.unwrap_or(0));
            self.skipped.extend(from..to);
        }
    }

    /// The requests themselves: the first one of a pass that must shed, and refusals.
    fn requests(&mut self, logged: &[&Logged]) {
        for one in logged.iter().filter(|one| one.point.actor == "controller" && one.method != Method::Get) {
            let is_route = one.path.contains("/virtualservices/");
            if self.pass.must_shed && !self.pass.wrote && !is_route {
                let detail = format!("{} before the traffic was taken away", one.point);
                self.broken(Law::I4, detail);
            }
            self.pass.wrote = true;
            let is_contest = view::text(&one.body, "/reason") == "TrafficContested";
            if is_contest && self.foreign_weights.is_none() {
                self.broken(Law::I15, "an event TrafficContested, but nobody else wrote weights".to_owned());
            }
            if is_route && !(200..300).contains(&one.status) {
                self.pass.shed_failed = true;
                self.excess = None;
            }
        }
    }

    /// An answer shows the routes as they are, also where the request changed nothing: one that came before it and was lost
    /// had done it already.
    fn shown(&mut self, logged: &[&Logged]) -> bool {
        let name = self.names.virtual_service.clone();
        let path = format!("/virtualservices/{name}");
        let is_answer = |one: &&&Logged| {
            one.point.actor == "controller" && one.path.ends_with(&path) && (200..300).contains(&one.status)
        };
        let Some(last) = logged.iter().rfind(is_answer).map(|one| one.rv) else { return false };
        let versions =
            self.versions.get_mut(&(Resource::VirtualServices, At::new(&self.key.namespace, &name)));
        let shown = versions.and_then(|all| all.iter_mut().rfind(|version| version.rv <= last));
        let Some(shown) = shown.filter(|version| !version.answered) else { return false };
        shown.answered = true;
        let of_it = |config: &&mut Config| config.kind == Resource::VirtualServices && config.rv == shown.rv;
        self.configs.iter_mut().filter(of_it).for_each(|config| config.is_known = true);
        true
    }

    /// The newest version of an object that the controller knew when its plan was made.
    fn known(&self, kind: Resource, namespace: &str, name: &str) -> Option<&Arc<Value>> {
        let seen = self.pass.seen.get(&kind).copied().unwrap_or(0);
        let known =
            |version: &&Version| version.rv <= seen || (version.answered && version.rv <= self.pass.began);
        self.newest(kind, namespace, name, known)
    }

    /// The same with what the plan itself has written so far.
    fn known_now(&self, kind: Resource, namespace: &str, name: &str) -> Option<&Arc<Value>> {
        let seen = self.pass.seen.get(&kind).copied().unwrap_or(0);
        self.newest(kind, namespace, name, |version| version.rv <= seen || version.answered)
    }

    fn newest(
        &self,
        kind: Resource,
        namespace: &str,
        name: &str,
        is_known: impl Fn(&&Version) -> bool,
    ) -> Option<&Arc<Value>> {
        let versions = self.versions.get(&(kind, At::new(namespace, name)))?;
        versions.iter().rev().find(is_known)?.object.as_ref()
    }

    fn live(&self, kind: Resource, name: &str) -> Option<&Arc<Value>> {
        self.newest(kind, &self.key.namespace, name, |_| true)
    }

    /// The Rollout as known, with what the plan has written so far.
    fn rollout(&self) -> Option<Rc<Rollout>> {
        let object = self.known_now(Resource::Rollouts, &self.key.namespace, &self.key.name)?;
        let mut newest = self.newest.borrow_mut();
        if let Some((_, read)) = newest.as_ref().filter(|(of, _)| Arc::ptr_eq(of, object)) {
            return Some(Rc::clone(read));
        }
        let read = Rc::new(Rollout::read(object));
        *newest = Some((Arc::clone(object), Rc::clone(&read)));
        Some(read)
    }

    fn split(&self) -> Option<Split> {
        let object =
            self.known(Resource::VirtualServices, &self.key.namespace, &self.names.virtual_service)?;
        Split::read(object, &self.names.canary, &self.names.stable)
    }

    /// The same with what the plan itself has written so far.
    fn split_now(&self) -> Option<Split> {
        let name = &self.names.virtual_service;
        let object = self.known_now(Resource::VirtualServices, &self.key.namespace, name)?;
        Split::read(object, &self.names.canary, &self.names.stable)
    }

    fn live_split(&self) -> Option<Split> {
        let object = self.live(Resource::VirtualServices, &self.names.virtual_service)?;
        Split::read(object, &self.names.canary, &self.names.stable)
    }

    /// The hash that a Service selects, as known.
    fn selected(&self, service: &str) -> Option<String> {
        let object = self.known(Resource::Services, &self.key.namespace, service)?;
        view::selected(object).map(str::to_owned)
    }

    /// The same with what the plan itself has written so far.
    fn selected_now(&self, service: &str) -> Option<String> {
        let object = self.known_now(Resource::Services, &self.key.namespace, service)?;
        view::selected(object).map(str::to_owned)
    }

    fn live_selected(&self, service: &str) -> Option<String> {
        self.live(Resource::Services, service).and_then(|object| view::selected(object)).map(str::to_owned)
    }

    /// Every ReplicaSet of a hash, as known.
    fn known_available(&self, hash: &str) -> i64 {
        let names = self.versions.keys().filter(|(kind, _)| *kind == Resource::ReplicaSets).map(|(_, at)| at);
        let sets = names.filter_map(|at| self.known(Resource::ReplicaSets, &at.namespace, &at.name));
        sets.map(|object| Set::read(object))
            .filter(|set| set.hash == hash)
            .map(|set| set.available)
            .max()
            .unwrap_or(0)
    }

    fn live_sets(&self) -> impl Iterator<Item = (&str, &Arc<Value>)> {
        let of_kind = self.versions.iter().filter(|((kind, _), _)| *kind == Resource::ReplicaSets);
        of_kind.filter_map(|((_, at), versions)| Some((at.name.as_str(), versions.last()?.object.as_ref()?)))
    }

    /// Each run as known, with the version that it was made with. One that was deleted unseen is still known.
    fn known_runs(&self) -> Vec<(u64, Run)> {
        let seen = self.pass.seen.get(&Resource::AnalysisRuns).copied().unwrap_or(0);
        let of_kind = self.versions.iter().filter(|((kind, _), _)| *kind == Resource::AnalysisRuns);
        let known = of_kind.filter_map(|(_, versions)| {
            let is_known = |version: &Version| version.rv <= seen || version.answered;
            let newest = versions.iter().rposition(is_known)?;
            let run = Run::read(versions.get(newest)?.object.as_ref()?);
            let upto = versions.get(..=newest)?;
            let gone = upto.iter().rposition(|version| version.object.is_none()).map_or(0, |at| at + 1);
            Some((versions.get(gone)?.rv, run))
        });
        known.collect()
    }

    /// What nobody asks for any more.
    fn forget(&mut self) {
        let horizon = self.now.saturating_sub(self.delay).unwrap_or(Timestamp::MIN);
        let old = self.configs.iter().rposition(|config| config.at < horizon).unwrap_or(0);
        // Configurations that a silent watch has not told of still matter; 64 are far more than there are of those.
        self.configs.drain(..old.saturating_sub(64));
        for versions in self.versions.values_mut() {
            let seen = self.pass.seen.values().min().copied().unwrap_or(0);
            let keep = versions.iter().rposition(|version| version.rv <= seen).unwrap_or(0);
            let gone = versions.iter().rposition(|version| version.object.is_none()).map_or(0, |at| at + 1);
            if keep > gone + 32 {
                versions.drain(gone + 1..keep);
            }
        }
    }
}

/// A request that may have changed something.
fn is_write(logged: &Logged) -> bool {
    logged.method != Method::Get
        && ((200..300).contains(&logged.status) || logged.status == 0 || logged.status == 504)
}
