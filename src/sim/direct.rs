//! Door 1: the controller's decisions on the world without a socket, a task or a clock.
//!
//! Each pass observes through the controller's own stores, decides, checks the invariants, renders, and hands the
//! requests to the world one by one, so that anything may happen between two of them. What the stores were told may
//! lag behind the world, kind by kind. Time is what the caller says. Metrics are a function of the query and the time.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::{
    store::{Answer, Change, Resource},
    world::World,
};
use crate::{
    api::{
        ProcessMemory,
        http::{Body, Method, Request, Response},
        workload::HASH_LABEL,
    },
    apply::{
        Stops, is_done,
        render::{Stage, Step, Versions, render, shed, without_mark},
        second_look, seen, stops,
    },
    control::queue,
    decide::{
        self,
        analysis::{Outcome, Sample, Want},
        invariants::{self, Violation},
        observed::{Exposure, ExposureHistory, Observed, Settings},
        plan::{Action, Attempt, Plan},
    },
    domain::{Key, Weight},
    observe::{Stores, Target},
};

/// Answers a want at a time.
pub type Metrics = Box<dyn FnMut(&World, &Want, Timestamp) -> Outcome + Send>;

/// Somebody between observation, decision and requests, who spoils what passes through. None in an honest world.
pub trait Tamper {
    /// Sees what is decided on before it is decided on.
    fn observed(&mut self, _observed: &mut Observed) {}
    /// Sees a plan before it is rendered.
    fn plan(&mut self, _observed: &Observed, _plan: &mut Plan) {}
    /// Sees the requests before the first is sent.
    fn steps(&mut self, _steps: &mut Vec<Step>) {}
}

/// The kinds that the controller watches.
pub const WATCHED: [Resource; 8] = [
    Resource::Rollouts,
    Resource::ReplicaSets,
    Resource::Services,
    Resource::VirtualServices,
    Resource::AnalysisTemplates,
    Resource::ClusterAnalysisTemplates,
    Resource::AnalysisRuns,
    Resource::RolloutRecords,
];

/// One controller process for one Rollout.
pub struct Direct {
    key: Key,
    settings: Settings,
    metrics: Metrics,
    stores: Stores,
    /// The world's version up to which each kind was told.
    told: BTreeMap<Resource, u64>,
    /// Kinds whose watch is silent, and until when.
    silent: BTreeMap<Resource, Timestamp>,
    /// Kinds of which a silent watch has kept something back.
    kept_back: BTreeSet<Resource>,
    /// Versions that answers have shown already: the watch tells nothing new with them.
    shown: BTreeSet<u64>,
    /// When the next pass is due, by the world's time.
    due: Option<Timestamp>,
    failures: u32,
    wanted: BTreeSet<Want>,
    /// Queries under way: when the answer comes, when it was asked, and for what.
    asked: Vec<(Timestamp, Timestamp, Want)>,
    /// How long a query takes.
    pub answers_after: SignedDuration,
    /// When the process was first started, by the world's time.
    born: Timestamp,
    /// This process's clock minus the world's.
    pub skew: SignedDuration,
    /// Somebody who spoils the plans, in tests of the tests.
    pub tamper: Option<Box<dyn Tamper + Send>>,
    /// What the process remembers.
    pub process: ProcessMemory,
    /// The newest plan, with the time it was made.
    pub last: Option<(Timestamp, Plan)>,
    /// Plans made so far.
    pub passes: u32,
    /// What broke an invariant.
    pub violations: Vec<(Timestamp, Violation)>,
}

/// The requests of one plan on their way.
pub struct Errand {
    steps: VecDeque<Step>,
    /// By the process's clock.
    now: Timestamp,
    shed_failed: bool,
    failed: bool,
    overtaken: bool,
    /// Traffic has to be taken away.
    is_urgent: bool,
    weight: Option<Weight>,
    puts_back: bool,
    wake: Option<Timestamp>,
    /// What the plan wants measured (`None`: it may not say), and the runs whose new status must be stored first.
    measure: Option<BTreeSet<Want>>,
    unstored: BTreeSet<String>,
    /// Up to which version of the world each kind was known when the plan was made.
    pub seen: BTreeMap<Resource, u64>,
}

impl Errand {
    /// Whether a request is still to be sent.
    pub fn has_more(&self) -> bool {
        !self.steps.is_empty()
    }
}

impl Direct {
    /// A process that starts now: it lists everything.
    pub fn start(world: &World, key: Key, settings: Settings, metrics: Metrics) -> Self {
        let mut direct = Self {
            key,
            settings,
            metrics,
            stores: Stores::default(),
            told: BTreeMap::new(),
            silent: BTreeMap::new(),
            kept_back: BTreeSet::new(),
            shown: BTreeSet::new(),
            due: None,
            failures: 0,
            wanted: BTreeSet::new(),
            asked: vec![],
            answers_after: SignedDuration::ZERO,
            born: world.now(),
            skew: SignedDuration::ZERO,
            tamper: None,
            process: nothing_remembered(world.now()),
            last: None,
            passes: 0,
            violations: vec![],
        };
        direct.restart(world);
        direct
    }

    /// Forgets everything and lists anew, as a restart does.
    pub fn restart(&mut self, world: &World) {
        self.process = nothing_remembered(self.clock(world));
        self.stores = Stores::default();
        self.silent.clear();
        self.shown.clear();
        self.wanted.clear();
        self.asked.clear();
        self.failures = 0;
        for kind in WATCHED {
            for (_, object) in world.store().objects(kind).filter(|(_, object)| is_ours(kind, object)) {
                self.stores.told(object.as_ref().clone(), false);
            }
            self.told.insert(kind, world.store().version());
        }
        self.stores.all_told();
        self.due = Some(world.now());
    }

    /// What this process's clock shows.
    pub fn clock(&self, world: &World) -> Timestamp {
        world.now().saturating_add(self.skew).unwrap_or(Timestamp::MAX)
    }

    /// Silences the watch of a kind until `until`.
    pub fn silence(&mut self, kind: Resource, until: Timestamp) {
        let at = self.silent.entry(kind).or_insert(until);
        *at = (*at).max(until);
    }

    /// The kinds of which a silent watch has kept something back since this was last asked.
    pub fn take_kept_back(&mut self) -> BTreeSet<Resource> {
        std::mem::take(&mut self.kept_back)
    }

    /// When this process next has something to do, by the world's time.
    pub fn next_due(&self) -> Option<Timestamp> {
        let answers = self.asked.iter().map(|(at, ..)| *at).min();
        let wants =
            self.wanted.iter().filter(|want| !self.is_asked(want)).map(|want| self.world_time(want.due));
        [self.due, answers, self.silent.values().min().copied(), wants.min()].into_iter().flatten().min()
    }

    fn world_time(&self, at: Timestamp) -> Timestamp {
        at.saturating_sub(self.skew).unwrap_or(Timestamp::MIN)
    }

    fn is_asked(&self, want: &Want) -> bool {
        let answered = self.process.samples.get(&want.run).and_then(|of_run| of_run.get(&want.metric));
        answered.is_some_and(|sample| sample.ordinal == want.ordinal)
            || self.asked.iter().any(|(.., asked)| asked == want)
    }

    /// Takes in what the watches tell and what queries answer. True when a running plan is overtaken by it.
    pub fn listen(&mut self, world: &World) -> bool {
        let now = world.now();
        self.silent.retain(|_, until| *until > now);
        let mut is_news = false;
        for kind in WATCHED {
            if self.silent.contains_key(&kind) {
                self.miss(world, kind);
            } else {
                is_news |= self.hear(world, kind);
            }
        }
        is_news | self.ask(world)
    }

    fn miss(&mut self, world: &World, kind: Resource) {
        let upto = self.told.get(&kind).copied().unwrap_or(0);
        if world.store().changes_after(kind, upto).is_none_or(|mut changes| changes.next().is_some()) {
            self.kept_back.insert(kind);
        }
    }

    fn hear(&mut self, world: &World, kind: Resource) -> bool {
        let upto = self.told.insert(kind, world.store().version()).unwrap_or(0);
        let mut is_news = false;
        let Some(changes) = world.store().changes_after(kind, upto) else {
            // The watch is too old: everything is listed anew, by way of what is there.
            for (_, object) in world.store().objects(kind).filter(|(_, object)| is_ours(kind, object)) {
                self.stores.told(object.as_ref().clone(), false);
            }
            self.call(world);
            return false;
        };
        for Change { rv, before, after, shown, .. } in changes {
            if self.shown.remove(rv) {
                continue;
            }
            let calls = match after.as_ref().filter(|object| is_ours(kind, object)) {
                Some(object) => self.stores.told(object.as_ref().clone(), false),
                None if before.as_ref().is_some_and(|object| is_ours(kind, object)) => {
                    self.stores.told(shown.as_ref().clone(), true)
                }
                None => continue,
            };
            for call in calls.iter().filter(|call| call.target == Target::Rollout(self.key.clone())) {
                is_news |= call.is_news;
                self.due = Some(self.due.map_or(world.now(), |due| due.min(world.now())));
            }
        }
        is_news
    }

    fn call(&mut self, world: &World) {
        self.due = Some(self.due.map_or(world.now(), |due| due.min(world.now())));
    }

    /// Sends queries that are due and books answers that have come. True when one has.
    fn ask(&mut self, world: &World) -> bool {
        let now = world.now();
        let clock = self.clock(world);
        let due: Vec<Want> =
            self.wanted.iter().filter(|want| want.due <= clock && !self.is_asked(want)).cloned().collect();
        for want in due {
            let answer = now.saturating_add(self.answers_after).unwrap_or(now);
            self.asked.push((answer, clock, want));
        }
        let mut has_answer = false;
        let (come, waiting) = std::mem::take(&mut self.asked).into_iter().partition(|(at, ..)| *at <= now);
        self.asked = waiting;
        let come: Vec<(Timestamp, Timestamp, Want)> = come;
        for (_, started_at, want) in come {
            let outcome = (self.metrics)(world, &want, now);
            let sample = Sample {
                ordinal: want.ordinal,
                started_at,
                finished_at: clock,
                outcome,
                metadata: BTreeMap::new(),
            };
            self.process.samples.entry(want.run.clone()).or_default().insert(want.metric.clone(), sample);
            has_answer = true;
            self.call(world);
        }
        has_answer
    }

    /// Replaces what is wanted; answers nobody waits for go.
    fn want(&mut self, wants: &BTreeSet<Want>) {
        self.asked.retain(|(.., want)| wants.contains(want));
        let is_wanted = |run: &str, metric: &str, sample: &Sample| {
            wants
                .iter()
                .any(|want| want.run == run && want.metric == metric && want.ordinal == sample.ordinal)
        };
        for (run, samples) in &mut self.process.samples {
            samples.retain(|metric, sample| is_wanted(run, metric, sample));
        }
        self.process.samples.retain(|_, samples| !samples.is_empty());
        self.wanted.clone_from(wants);
    }

    /// Whether a pass is due.
    pub fn is_due(&self, world: &World) -> bool {
        self.due.is_some_and(|due| due <= world.now())
    }

    /// Observes and decides. `None` where the Rollout is gone.
    pub fn think(&mut self, world: &World) -> Option<Errand> {
        self.due = None;
        let now = self.clock(world);
        let observed = self.stores.snapshot(&self.key, self.process.clone(), self.settings);
        let Some(mut observed) = observed else {
            self.want(&BTreeSet::new());
            return None;
        };
        let steady = Duration::from_secs_f64(world.now().duration_since(self.born).as_secs_f64().max(0.0));
        self.process.exposure.note(now, steady, Exposure::of(&observed), self.settings.data_plane_delay);
        observed.exposure = self.process.exposure.clone();
        if let Some(tamper) = &mut self.tamper {
            tamper.observed(&mut observed);
        }
        let mut plan = decide::step(&observed, now);
        let broken = invariants::check(&observed, &plan, now);
        let is_broken = !broken.is_empty();
        self.violations.extend(broken.into_iter().map(|violation| (now, violation)));
        if is_broken {
            let Plan { owner, report, shed, .. } = plan;
            plan = Plan { shed, ..Plan::idle(owner, report) };
        }
        if let Some(tamper) = &mut self.tamper {
            tamper.plan(&observed, &mut plan);
        }
        let measure = (!is_broken).then(|| plan.measure.clone());
        let unstored = plan.memory.runs.iter().map(|write| write.name.clone()).collect();
        let mut steps: Vec<Step> = render(&plan, &Versions::default(), now).collect();
        if let Some(tamper) = &mut self.tamper {
            tamper.steps(&mut steps);
        }
        let (is_urgent, weight, puts_back) = (plan.shed.weights.is_some(), plan.weight(), plan.puts_back());
        let wake = plan.wake.map(|wake| self.world_time(wake.at));
        self.passes += 1;
        self.last = Some((now, plan));
        let seen = self.told.clone();
        let (shed_failed, failed, overtaken) = (false, is_broken, false);
        Some(Errand {
            steps: steps.into(),
            now,
            shed_failed,
            failed,
            overtaken,
            is_urgent,
            weight,
            puts_back,
            wake,
            measure,
            unstored,
            seen,
        })
    }

    /// Sends the next request of a plan. False when the plan has ended, with its last request or before it.
    pub fn go_on(&mut self, world: &mut World, errand: &mut Errand) -> bool {
        if errand.overtaken {
            // A shed is never out of date.
            errand.steps.retain(|step| step.action == Action::Shed);
        }
        let Some(step) = errand.steps.pop_front() else {
            self.end(world, errand);
            return false;
        };
        if errand.shed_failed && step.stage > Stage::Memory {
            errand.failed = true;
            errand.steps.clear();
            self.end(world, errand);
            return false;
        }
        let has_worked = if step.action == Action::Shed {
            self.shed(world, &step)
        } else {
            self.send(world, errand.now, &step)
        };
        if world.is_down("controller") {
            errand.steps.clear();
            return false;
        }
        if let (true, Action::RunStatus(name)) = (has_worked, &step.action) {
            errand.unstored.remove(name);
        }
        if let Some(weight) = errand.weight.filter(|_| has_worked && step.action == Action::Weights) {
            let now = self.clock(world);
            self.process.exposure.note_weight(now, weight);
            if errand.puts_back {
                self.process.exposure.note_put_back(now);
            }
        }
        if !has_worked {
            errand.failed = true;
            match stops(&step) {
                Stops::Nothing => {}
                Stops::AllButMemory => errand.shed_failed = true,
                Stops::Rest => errand.steps.clear(),
            }
        }
        true
    }

    /// Tells a plan on its way that something has arrived which it does not know of.
    pub fn overtake(&self, errand: &mut Errand) {
        errand.overtaken = true;
    }

    fn end(&mut self, world: &World, errand: &Errand) {
        // The answer that decided has to be there in the next pass where it could not be stored.
        if let Some(measure) = errand.measure.as_ref().filter(|_| errand.unstored.is_empty()) {
            self.want(measure);
        }
        let now = world.now();
        let pause = if errand.failed {
            let pause = queue::pause(self.failures, errand.is_urgent);
            self.failures += 1;
            SignedDuration::try_from(pause).ok().and_then(|pause| now.saturating_add(pause).ok())
        } else {
            self.failures = 0;
            None
        };
        let wake = errand.wake.filter(|at| !errand.failed || *at > now);
        self.due = [self.due, pause, wake].into_iter().flatten().min();
    }

    /// Sends one request and keeps what came of it. True when what it asks for is so now.
    fn send(&mut self, world: &mut World, now: Timestamp, step: &Step) -> bool {
        let response = self.exchange(world, now, &step.action, &step.request);
        if let Some(read) = second_look(step, &response)
            && let Some(object) = seen(answer(world, &read))
        {
            self.returned(world, object);
        }
        is_done(&response, &step.action)
    }

    fn exchange(
        &mut self,
        world: &mut World,
        now: Timestamp,
        action: &Action,
        request: &Request,
    ) -> Response {
        let mut response = answer(world, request);
        let refusal = !response.is_success();
        let attempt = Attempt {
            action: action.clone(),
            at: now,
            status: response.status,
            reason: if refusal { response.reason().to_owned() } else { String::new() },
            message: if refusal { response.message().to_owned() } else { String::new() },
        };
        self.process.last.retain(|last| last.action != attempt.action);
        self.process.last.push(attempt);
        if response.is_success() && response.body.get("kind") != Some(&json!("Status")) {
            // Nobody else reads it.
            self.returned(world, std::mem::take(&mut response.body));
        }
        response
    }

    /// An object in an answer is known at once, whatever the watches have told.
    fn returned(&mut self, world: &World, object: Value) {
        let version = object.pointer("/metadata/resourceVersion").and_then(Value::as_str);
        let version = version.and_then(|version| version.parse::<u64>().ok());
        if !self.stores.overlay(object).is_empty() {
            self.shown.extend(version);
            self.call(world);
        }
    }

    /// As production does it: refused, it is made again from the live object, and at last sent without its mark.
    fn shed(&mut self, world: &mut World, step: &Step) -> bool {
        let now = self.clock(world);
        let first = self.exchange(world, now, &Action::Shed, &step.request);
        if first.status != 422 {
            return first.is_success();
        }
        let path = step.request.path.clone();
        let live = answer(world, &Request { method: Method::Get, path, query: vec![], body: Body::Empty });
        if !live.is_success() {
            return false;
        }
        self.returned(world, live.body.clone());
        let observed = self.stores.snapshot_with(&self.key, &live.body, self.process.clone(), self.settings);
        let Some(observed) = observed else { return false };
        let plan = decide::step(&observed, now);
        let Some(lowering) = plan.shed.weights.as_ref() else { return true };
        let step = shed(lowering, &plan.owner, &Versions::default());
        let second = self.exchange(world, now, &Action::Shed, &step.request);
        let unmarked = without_mark(&step.request);
        if second.status != 422 || unmarked == step.request {
            return second.is_success();
        }
        self.exchange(world, now, &Action::Shed, &unmarked).is_success()
    }

    /// One whole pass without anything in between. Returns when the next one is due; `None` when only a change can
    /// bring one about.
    pub fn pass(&mut self, world: &mut World) -> Option<Timestamp> {
        self.listen(world);
        let mut errand = self.think(world)?;
        while self.go_on(world, &mut errand) {}
        self.listen(world);
        self.next_due()
    }
}

fn answer(world: &mut World, request: &Request) -> Response {
    match world.handle(request, "controller") {
        Answer::Response(response) => response,
        Answer::Watch(_) | Answer::Crash => Response { status: 0, body: Value::Null },
    }
}

fn nothing_remembered(now: Timestamp) -> ProcessMemory {
    ProcessMemory { exposure: ExposureHistory::begin(now), last: vec![], samples: BTreeMap::new() }
}

/// The controller lists ReplicaSets by their hash label.
fn is_ours(kind: Resource, object: &Value) -> bool {
    let labels = object.pointer("/metadata/labels");
    kind != Resource::ReplicaSets || labels.is_some_and(|labels| labels.get(HASH_LABEL).is_some())
}
