//! Plays a schedule: the world, the controller, the events, the judge.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU8, Ordering},
    },
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::{
    super::{
        actors::{PodScript, Share, Then},
        direct::{Direct, Errand, Tamper},
        fault::{Effect, Fault},
        oracle::{Law, Names, Oracle, Violation},
        store::{Answer, Resource},
        world::{Logged, World},
    },
    cover::Cover,
    hand::Hand,
    hits::Waits,
    script::{Event, Mood, Pods, Script, Timed},
    shop,
};
use crate::{
    api::http::{Body, Method, Request},
    decide::{
        analysis::{OutageMode, Outcome},
        observed::Settings,
    },
    domain::{Key, value::MetricValue},
};

/// How long the data plane may lag behind; the mesh of the world keeps it.
const DELAY: Duration = Duration::from_secs(10);
/// Passes that a schedule may need at the very most; one that does not come to rest makes many more.
const PASSES_MAX: u32 = 4_000;
/// How long a rollout may take to its end after the last disturbance, with a person who helps.
const PEACE: SignedDuration = SignedDuration::from_mins(60);
/// How long the rest after the end is watched.
const REST: SignedDuration = SignedDuration::from_mins(20);

/// What playing a schedule came to.
#[derive(Debug, Default)]
pub struct Played {
    pub violations: Vec<Violation>,
    pub cover: Cover,
    /// Virtual time from the first version to the end.
    pub lasted: SignedDuration,
    /// Every write that reached the API server, one line each; told only where a law was broken.
    pub story: Vec<String>,
}

/// What queries answer, shared with the controller's metrics.
type Moods = Arc<AtomicU8>;

pub(super) struct Stage {
    pub(super) world: World,
    pub(super) controller: Direct,
    oracle: Oracle,
    start: Timestamp,
    events: VecDeque<Timed>,
    /// Events that wait for so many more requests.
    armed: Vec<(u32, Event)>,
    restart_at: Option<Timestamp>,
    /// How long the next crash lasts, in milliseconds.
    down_ms: Option<i64>,
    mood: Moods,
    latency: SignedDuration,
    image: String,
    pub(super) cover: Cover,
    pub(super) waits: Waits,
    is_calm: bool,
    judged: usize,
}

/// Plays a schedule to its end. A panic of the controller is a violation like others.
pub fn play(script: &Script, tamper: Option<Box<dyn Tamper + Send>>) -> Played {
    let partial = Arc::new(Mutex::new(Timestamp::UNIX_EPOCH));
    let run = std::panic::AssertUnwindSafe(|| whole(script, tamper, &partial));
    match std::panic::catch_unwind(run) {
        Ok(played) => played,
        Err(cause) => {
            let text = cause.downcast_ref::<String>().cloned();
            let text = text.or_else(|| cause.downcast_ref::<&str>().map(|text| (*text).to_owned()));
            let at = *partial.lock().unwrap_or_else(PoisonError::into_inner);
            let detail = text.unwrap_or_default();
            Played { violations: vec![Violation { law: Law::I13, at, detail }], ..Played::default() }
        }
    }
}

fn whole(script: &Script, tamper: Option<Box<dyn Tamper + Send>>, at: &Mutex<Timestamp>) -> Played {
    let mut stage = Stage::open(script, tamper);
    stage.deploy();
    stage.start = stage.world.now();
    stage.events = script.events.clone().into();
    stage.is_calm = !script.events.iter().any(|timed| timed.event.breaks_serving());
    stage.oracle.is_punctual = !script.events.iter().any(|timed| timed.event.breaks_time());
    while stage.violations() == 0 && stage.step(None) {
        *at.lock().unwrap_or_else(PoisonError::into_inner) = stage.world.now();
    }
    if stage.violations() == 0 {
        stage.peace();
    }
    let lasted = stage.world.now().duration_since(stage.start);
    let violations = stage.all_violations();
    let story = if violations.is_empty() { vec![] } else { stage.story() };
    Played { violations, story, cover: stage.cover, lasted }
}

impl Stage {
    fn open(script: &Script, tamper: Option<Box<dyn Tamper + Send>>) -> Self {
        let setup = &script.setup;
        let start = Timestamp::from_second(1_767_225_600).unwrap_or(Timestamp::UNIX_EPOCH);
        let mut world = World::seeded(start, setup.seed);
        let millis = |ms: i64| Duration::from_millis(u64::try_from(ms).unwrap_or(0));
        world.actors.mesh.quiet = millis(setup.quiet_ms);
        world.actors.mesh.requests_per_second = 0.0;
        world.actors.kubelet.ready_after = millis(setup.ready_ms);
        for (path, object) in shop::manifests(setup) {
            let request = Request { method: Method::Post, path, query: vec![], body: Body::Json(object) };
            world.handle(&request, "person");
        }
        let mood: Moods = Arc::new(AtomicU8::new(0));
        let told = Arc::clone(&mood);
        let waits = Waits::default();
        let answered = Arc::clone(&waits.answered);
        let metrics = Box::new(move |_: &World, _: &_, _| {
            let mood = told.load(Ordering::SeqCst);
            answered.fetch_or(1 << mood, Ordering::SeqCst);
            answer(mood)
        });
        let settings = Settings { data_plane_delay: DELAY, outage: OutageMode::Hold };
        let key = Key::new(shop::NAMESPACE, shop::ROLLOUT);
        let mut controller = Direct::start(&world, key.clone(), settings, metrics);
        controller.answers_after = SignedDuration::from_millis(setup.query_ms);
        controller.tamper = tamper;
        let names = Names {
            virtual_service: shop::ROUTE.to_owned(),
            canary: shop::CANARY.to_owned(),
            stable: shop::STABLE.to_owned(),
        };
        Self {
            oracle: Oracle::new(key, names, DELAY, start),
            world,
            controller,
            start,
            events: VecDeque::new(),
            armed: vec![],
            restart_at: None,
            down_ms: None,
            waits,
            mood,
            latency: SignedDuration::from_millis(setup.latency_ms),
            image: shop::image("v1"),
            cover: Cover::default(),
            is_calm: true,
            judged: 0,
        }
    }

    /// The first version, until it is healthy.
    fn deploy(&mut self) {
        let end = self.later(SignedDuration::from_mins(5));
        while !self.oracle.is_at_end(&self.world, &self.image)
            && self.violations() == 0
            && self.step(Some(end))
        {}
        self.oracle.look(&self.world);
    }

    fn violations(&self) -> usize {
        self.oracle.violations.len() + self.controller.violations.len()
    }

    fn all_violations(&self) -> Vec<Violation> {
        let plans = self.controller.violations.iter().map(|(at, violation)| Violation {
            law: Law::Plan,
            at: *at,
            detail: format!("{}: {}", violation.rule, violation.detail),
        });
        let mut all: Vec<Violation> = self.oracle.violations.iter().cloned().chain(plans).collect();
        all.sort_by_key(|violation| violation.at);
        all
    }

    fn later(&self, by: SignedDuration) -> Timestamp {
        self.world.now().saturating_add(by).unwrap_or(Timestamp::MAX)
    }

    fn event_at(&self, timed: &Timed) -> Timestamp {
        self.start.saturating_add(SignedDuration::from_millis(timed.at_ms)).unwrap_or(Timestamp::MAX)
    }

    /// Lets the next thing happen. False when nothing is left to come, or not before `end`.
    fn step(&mut self, end: Option<Timestamp>) -> bool {
        let is_up = self.restart_at.is_none();
        let event = self.events.front().map(|timed| self.event_at(timed));
        let controller = if is_up { self.controller.next_due() } else { self.restart_at };
        // After the last event the caller decides what else there is to wait for.
        if event.is_none() && end.is_none() {
            return false;
        }
        let next = [event, controller, self.world.next_due()].into_iter().flatten().min();
        let next = next.unwrap_or(Timestamp::MAX).min(end.unwrap_or(Timestamp::MAX)).max(self.world.now());
        self.world.advance(next);
        self.serves();
        self.fire();
        if self.restart_at.is_some_and(|at| at <= self.world.now()) {
            self.restart();
        }
        if self.restart_at.is_none() {
            self.controller.listen(&self.world);
            self.hits();
            if self.controller.is_due(&self.world) {
                self.pass();
            }
        }
        self.oracle.look(&self.world);
        if self.restart_at.is_some() {
            self.oracle.is_down();
        }
        end.is_none_or(|end| self.world.now() < end)
    }

    fn restart(&mut self) {
        self.world.revive("controller");
        self.restart_at = None;
        self.controller.restart(&self.world);
    }

    fn pass(&mut self) {
        if self.controller.passes > PASSES_MAX {
            let detail = format!(
                "{PASSES_MAX} passes: {:?}",
                self.controller.last.as_ref().map(|(_, plan)| &plan.report)
            );
            self.oracle.violations.push(Violation { law: Law::I9, at: self.world.now(), detail });
            return;
        }
        let Some(mut errand) = self.controller.think(&self.world) else { return };
        let clock = self.controller.clock(&self.world);
        self.oracle.planned(&self.world, &errand.seen, clock);
        if let Some((_, plan)) = &self.controller.last {
            self.cover.planned(plan);
        }
        while self.go_on(&mut errand) {}
    }

    fn go_on(&mut self, errand: &mut Errand) -> bool {
        self.between();
        if errand.has_more() && self.latency.is_positive() {
            let later = self.later(self.latency);
            self.world.advance(later);
            self.serves();
        }
        if self.controller.listen(&self.world) {
            self.controller.overtake(errand);
        }
        let goes_on = self.controller.go_on(&mut self.world, errand);
        self.hits();
        self.oracle.look(&self.world);
        if self.world.is_down("controller") {
            self.oracle.is_down();
            let down = self.down_ms.take().unwrap_or(1_000);
            self.restart_at = Some(self.later(SignedDuration::from_millis(down)));
            return false;
        }
        goes_on
    }

    /// Events that were to happen before this request.
    fn between(&mut self) {
        let (due, rest): (Vec<_>, Vec<_>) = std::mem::take(&mut self.armed)
            .into_iter()
            .map(|(left, event)| (left - 1, event))
            .partition(|(left, _)| *left == 0);
        self.armed = rest;
        for (_, event) in due {
            self.happen(&event);
        }
    }

    fn fire(&mut self) {
        while let Some(timed) = self.events.front()
            && self.event_at(timed) <= self.world.now()
            && let Some(timed) = self.events.pop_front()
        {
            if timed.after > 0 {
                self.armed.push((timed.after, timed.event));
            } else {
                self.happen(&timed.event);
            }
        }
    }

    fn happen(&mut self, event: &Event) {
        self.oracle.look(&self.world);
        let before = self.world.store().version();
        let now = self.world.now();
        match event {
            Event::Refuse { kind, code, times } => self.plant(*kind, 1, *times, Effect::Refuse(*code)),
            Event::Lose { kind, nth } => self.plant(*kind, *nth, 1, Effect::LoseAnswer),
            Event::Crash { after_effect, nth, down_ms } => {
                self.down_ms = Some(*down_ms);
                let effect = if *after_effect { Effect::CrashAfter } else { Effect::CrashBefore };
                self.world.plant(fault(None, *nth, 1, effect));
            }
            Event::Silence(kind, ms) => {
                let until = now.saturating_add(SignedDuration::from_millis(*ms)).unwrap_or(now);
                self.controller.silence(*kind, until);
            }
            Event::Clock(by) => {
                self.controller.skew = self.controller.skew.saturating_add(SignedDuration::from_secs(*by));
            }
            Event::Pods(version, pods) => self.pods(version, *pods),
            Event::Metrics(mood) => self.mood.store(*mood as u8, Ordering::SeqCst),
            Event::Image(version) => {
                self.image = shop::image(version);
                Hand::new(&mut self.world).does(event);
            }
            _ => Hand::new(&mut self.world).does(event),
        }
        self.hit(event, self.world.store().version() > before);
        self.oracle.look(&self.world);
    }

    fn plant(&mut self, kind: Resource, nth: u32, times: u32, effect: Effect) {
        let plural = kind.definition().plural;
        for resource in [plural.to_owned(), format!("{plural}/status")] {
            let is_there = resource == plural || kind.definition().status;
            if is_there && (kind != Resource::Rollouts || resource != plural) {
                self.world.plant(fault(Some(resource), nth, times, effect.clone()));
            }
        }
    }

    fn pods(&mut self, version: &str, pods: Pods) {
        let image = format!("myapp:{version}");
        let scripts = &mut self.world.actors.kubelet.scripts;
        scripts.retain(|script| script.image != image);
        let then = match pods {
            Pods::Good => return,
            Pods::Never => Then::Never,
            Pods::Crashing => Then::CrashAfter(Duration::from_secs(8)),
        };
        scripts.push(PodScript { image, ready_after: Duration::from_secs(2), then });
    }

    pub(super) fn phase(&self) -> String {
        let rollout = self.world.store().object(Resource::Rollouts, shop::NAMESPACE, shop::ROLLOUT);
        let phase = rollout.and_then(|rollout| rollout.pointer("/status/phase")).and_then(Value::as_str);
        let stage = self.controller.last.as_ref().map(|(_, plan)| plan.report.stage.to_string());
        format!("{}/{}", phase.unwrap_or("none"), stage.unwrap_or_default())
    }

    /// Where nothing of the schedule takes pods or routes away, no request meets a dead end.
    fn serves(&mut self) {
        if !self.is_calm {
            return;
        }
        let route = super::super::store::Key::new(shop::NAMESPACE, shop::ROUTE);
        let history = self.world.mesh().history(&route);
        let new: Vec<_> = history.get(self.judged..).unwrap_or_default().to_vec();
        self.judged = history.len();
        for (at, shares) in
            new.into_iter().filter(|(at, _)| *at >= self.start && self.start > Timestamp::UNIX_EPOCH)
        {
            // A pod that goes is forgotten a moment late by every mesh; a destination without any living one is not.
            let is_dead = |share: &&Share| {
                let mut same = shares.iter().filter(|other| other.destination == share.destination);
                share.share > 0.0 && same.all(|other| !other.can_serve)
            };
            if let Some(dead) = shares.iter().find(is_dead) {
                if self.events.is_empty() && self.image == shop::image("v1") {
                    continue;
                }
                let detail = format!(
                    "{:.0} % of the requests to {} fail on {}",
                    dead.share * 100.0,
                    dead.destination,
                    dead.version
                );
                self.oracle.violations.push(Violation { law: Law::I1, at, detail });
            }
        }
    }

    /// Every fault goes, and a person helps where one is asked for. Then the rollout has to come to its end, and rest.
    fn peace(&mut self) {
        self.world.clear_faults();
        self.armed.clear();
        self.world.actors.kubelet.scripts.clear();
        self.mood.store(Mood::Good as u8, Ordering::SeqCst);
        if self.restart_at.is_none() && self.world.is_down("controller") {
            self.restart_at = Some(self.world.now());
        }
        Hand::new(&mut self.world).tidies();
        let end = self.later(PEACE);
        let mut helps = self.world.now();
        while !self.oracle.is_at_end(&self.world, &self.image) && self.violations() == 0 {
            if helps <= self.world.now() {
                Hand::new(&mut self.world).helps();
                helps = self.later(SignedDuration::from_secs(30));
            }
            if !self.step(Some(helps.min(end))) && self.world.now() >= end {
                break;
            }
        }
        // What is done when everything is at its end (fields given back, old runs and versions deleted) takes a moment.
        let settled = self.later(SignedDuration::from_mins(2));
        while self.violations() == 0 && self.step(Some(settled)) {}
        if self.violations() > 0 {
            return;
        }
        self.oracle.end(&self.world, &self.image);
        let before = self.requests();
        let rested = self.later(REST);
        while self.violations() == 0 && self.step(Some(rested)) {}
        self.oracle.rested(&self.world, self.requests() - before);
    }

    fn story(&self) -> Vec<String> {
        let writes =
            self.world.log().filter(|one| one.method != Method::Get && !one.path.ends_with("/events"));
        let line = |one: &Logged| {
            let at = one.at.duration_since(self.start).as_secs_f64();
            let body: String = one.body.to_string().chars().take(600).collect();
            format!("{at:9.3} {} {} {body}", one.point, one.status)
        };
        let mut story: Vec<String> = writes.map(line).collect();
        let report =
            self.controller.last.as_ref().map(|(at, plan)| format!("{at} {:?} {:?}", plan.report, plan.wake));
        story.extend(report);
        story
    }

    fn requests(&self) -> usize {
        self.world.log().filter(|one| one.point.actor == "controller" && one.method != Method::Get).count()
    }
}

fn fault(resource: Option<String>, nth: u32, times: u32, effect: Effect) -> Fault {
    Fault { actor: Some("controller".to_owned()), verb: None, resource, nth, times, effect }
}

fn answer(mood: u8) -> Outcome {
    let number = |value: f64| Outcome::Value { value: MetricValue::Float(value), text: value.to_string() };
    match mood {
        mood if mood == Mood::Good as u8 => number(0.01),
        mood if mood == Mood::Bad as u8 => number(0.5),
        mood if mood == Mood::NoData as u8 => number(f64::NAN),
        mood if mood == Mood::Outage as u8 => Outcome::Outage { message: "nobody answers".to_owned() },
        _ => Outcome::Refused { message: "400".to_owned() },
    }
}

/// Sends a request of somebody; what comes of it is the world's business.
pub(super) fn send(
    world: &mut World,
    method: Method,
    path: String,
    body: Body,
    actor: &str,
) -> Option<Value> {
    let query = vec![("fieldManager".to_owned(), actor.to_owned())];
    match world.handle(&Request { method, path, query, body }, actor) {
        Answer::Response(response) if response.is_success() => Some(response.body),
        Answer::Response(_) | Answer::Watch(_) | Answer::Crash => None,
    }
}

/// Counts by name.
pub(super) type Counts = BTreeMap<String, u32>;

/// A merge patch of one member.
pub(super) fn member(path: &[&str], value: Value) -> Value {
    path.iter().rev().fold(value, |inner, name| json!({ *name: inner }))
}
