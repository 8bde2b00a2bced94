//! Schedules from seeds: some calm, with people only, some with faults, some with every hand in the cluster.

use super::{
    super::{direct::WATCHED, store::Resource},
    dice::Dice,
    script::{Event, Mood, Nonsense, Pods, Script, Setup, StepOf, Timed, Which},
};

/// What may happen in a schedule. The calmer ones are judged more strictly: by what is served, and when.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Weather {
    /// People, and versions that are bad.
    Calm,
    /// Also requests that fail, processes that die, watches that say nothing.
    Faults,
    /// Also other hands on every object, nonsense, and clocks that are set.
    Storm,
}

/// A schedule in the making.
struct Drawn {
    dice: Dice,
    setup: Setup,
    /// The newest version.
    version: u32,
    /// When an undisturbed update would be through.
    last_ms: i64,
    events: Vec<Timed>,
}

/// Some events that belong together.
type Motif = fn(&mut Drawn);

// How often a motif stands here is how often it is drawn: so that each kind of event has its effect often enough.
const PEOPLE: &[Motif] = &[
    Drawn::update,
    Drawn::back,
    Drawn::steps,
    Drawn::steps,
    Drawn::freeze,
    Drawn::freeze,
    Drawn::promote,
    Drawn::promote,
    Drawn::promote_full,
    Drawn::promote_full,
    Drawn::abort,
    Drawn::abort_and_retry,
    Drawn::bad_then_good,
    Drawn::bad,
    Drawn::bad,
    Drawn::hands_off,
];
const FAULTS: &[Motif] = &[
    Drawn::refuse,
    Drawn::refuse,
    Drawn::refuse,
    Drawn::refuse,
    Drawn::refuse,
    Drawn::lose,
    Drawn::overload,
    Drawn::overload,
    Drawn::crash,
    Drawn::crash,
    Drawn::crash,
    Drawn::silence,
    Drawn::mood,
    Drawn::mood,
    Drawn::mood,
    Drawn::mood,
    Drawn::mood,
    Drawn::mood,
    Drawn::mood,
    Drawn::no_pods,
    Drawn::no_pods,
    Drawn::revert_deleted,
];
const STORM: &[Motif] = &[
    Drawn::weights,
    Drawn::scale,
    Drawn::scale,
    Drawn::scale,
    Drawn::delete,
    Drawn::delete,
    Drawn::delete,
    Drawn::select,
    Drawn::select,
    Drawn::select,
    Drawn::select,
    Drawn::prune,
    Drawn::prune,
    Drawn::prune,
    Drawn::runs,
    Drawn::runs,
    Drawn::runs,
    Drawn::runs,
    Drawn::runs,
    Drawn::runs,
    Drawn::runs,
    Drawn::collide,
    Drawn::collide,
    Drawn::replicas,
    Drawn::replicas,
    Drawn::clock,
    Drawn::clock,
    Drawn::clock,
    Drawn::crashing,
    Drawn::crashing,
    Drawn::crashing,
    Drawn::crashing,
    Drawn::odd_weights,
    Drawn::odd_weights,
    Drawn::odd_objects,
    Drawn::odd_objects,
    Drawn::odd_objects,
];

/// The schedule of a seed.
pub fn draw(seed: u64) -> Script {
    let mut dice = Dice::new(seed);
    let setup = setup(seed, &mut dice);
    let weather = match dice.below(8) {
        0 => Weather::Calm,
        1 | 2 => Weather::Faults,
        _ => Weather::Storm,
    };
    let update = Timed { at_ms: 0, after: 0, event: Event::Image("v2".to_owned()) };
    let last_ms = length_ms(&setup);
    let mut drawn = Drawn { dice, setup, version: 2, last_ms, events: vec![update] };
    let (least, most) = if weather == Weather::Calm { (1, 4) } else { (6, 14) };
    for _ in 0..drawn.dice.within(least, most) {
        drawn.motif(weather);
    }
    drawn.events.sort_by_key(|event| event.at_ms);
    Script { setup: drawn.setup, events: drawn.events }
}

impl Drawn {
    fn motif(&mut self, weather: Weather) {
        let motif = match (weather, self.dice.below(10)) {
            (Weather::Calm, _) | (Weather::Faults | Weather::Storm, 0 | 1) => {
                self.dice.pick(PEOPLE, Self::abort)
            }
            (Weather::Faults, _) | (Weather::Storm, 2..=4) => self.dice.pick(FAULTS, Self::lose),
            (Weather::Storm, _) => self.dice.pick(STORM, Self::weights),
        };
        motif(self);
    }

    /// While the update takes its steps, if nothing holds it up.
    fn early(&mut self) -> i64 {
        let steps_ms = (self.last_ms - AFTER_STEPS_MS).max(1_000);
        self.dice.within(0, steps_ms)
    }

    /// While an update that nothing holds up is measured.
    fn measured(&mut self) -> i64 {
        let steps_ms = (self.last_ms - AFTER_STEPS_MS).max(4_000);
        FIRST_WEIGHT_MS.max(self.setup.ready_ms) + self.dice.within(0, steps_ms)
    }

    /// A moment: anywhere, in the midst of a plan, or soon after something else.
    fn moment(&mut self) -> (i64, u32) {
        let at_ms = if self.dice.one_in(3) { self.dice.within(0, self.last_ms) } else { self.early() };
        match self.dice.below(4) {
            0 => (at_ms, u32::try_from(self.dice.within(1, 12)).unwrap_or(1)),
            1 => {
                let others: Vec<i64> = self.events.iter().map(|other| other.at_ms).collect();
                (self.dice.pick(&others, at_ms) + self.dice.within(0, 1_500), 0)
            }
            _ => (at_ms, 0),
        }
    }

    fn push(&mut self, (at_ms, after): (i64, u32), event: Event) {
        self.events.push(Timed { at_ms, after, event });
    }

    /// At some moment, which is returned.
    fn once(&mut self, event: Event) -> i64 {
        let moment = self.moment();
        self.push(moment, event);
        moment.0
    }

    /// So many seconds after `at_ms`.
    fn after(&mut self, at_ms: i64, from: i64, to: i64, event: Event) {
        let at_ms = at_ms + self.dice.within(from * 1_000, to * 1_000);
        self.push((at_ms, 0), event);
    }

    fn update(&mut self) {
        self.version += 1;
        self.once(Event::Image(format!("v{}", self.version)));
    }

    fn back(&mut self) {
        let version = self.dice.within(1, i64::from(self.version));
        self.once(Event::Image(format!("v{version}")));
    }

    fn steps(&mut self) {
        let steps = steps(&mut self.dice);
        self.once(Event::Steps(steps));
    }

    fn freeze(&mut self) {
        let at = self.once(Event::Freeze(true));
        self.after(at, 1, 60, Event::Freeze(false));
    }

    fn promote(&mut self) {
        self.once(Event::Promote);
    }

    fn promote_full(&mut self) {
        self.once(Event::PromoteFull);
    }

    fn abort(&mut self) {
        self.once(Event::Abort);
    }

    fn abort_and_retry(&mut self) {
        let at = self.once(Event::Abort);
        self.after(at, 0, 60, Event::Retry);
    }

    fn bad(&mut self) {
        self.metrics(Mood::Bad);
    }

    /// Something that is about analyses is in vain without one.
    fn analysed(&mut self) {
        if self.dice.one_in(2) {
            self.setup.background = Some(0);
        } else {
            self.setup.background.get_or_insert(0);
        }
    }

    fn metrics(&mut self, mood: Mood) -> i64 {
        self.analysed();
        let at_ms = self.measured() - self.dice.within(0, FIRST_WEIGHT_MS);
        self.push((at_ms, 0), Event::Metrics(mood));
        at_ms
    }

    /// What the version needs is down for a while, and somebody tries it again.
    fn bad_then_good(&mut self) {
        let at = self.metrics(Mood::Bad);
        self.after(at, 20, 60, Event::Metrics(Mood::Good));
        self.after(at, 61, 90, Event::Retry);
    }

    fn hands_off(&mut self) {
        let at = self.once(Event::HandsOff(true));
        self.after(at, 1, 60, Event::HandsOff(false));
    }

    fn kind(&mut self) -> Resource {
        self.dice.pick(&KINDS, Resource::VirtualServices)
    }

    fn refuse(&mut self) {
        let code = self.dice.pick(&[409, 500, 503, 429, 403, 422], 409);
        let (kind, times) = (self.kind(), u32::try_from(self.dice.within(1, 4)).unwrap_or(1));
        self.once(Event::Refuse { kind, code, times });
    }

    fn lose(&mut self) {
        let (kind, nth) = (self.kind(), u32::try_from(self.dice.within(1, 3)).unwrap_or(1));
        self.once(Event::Lose { kind, nth });
    }

    /// A server that is slow in everything: an answer is lost, and the watch does not tell of what took effect.
    fn overload(&mut self) {
        let kind = self.kind();
        let moment = self.moment();
        let nth = u32::try_from(self.dice.within(1, 2)).unwrap_or(1);
        self.push(moment, Event::Lose { kind, nth });
        let silence = Event::Silence(kind, self.dice.pick(&[1_000, 8_000, 30_000], 8_000));
        self.push(moment, silence);
    }

    fn crash(&mut self) {
        let event = Event::Crash {
            after_effect: self.dice.one_in(2),
            nth: u32::try_from(self.dice.within(1, 12)).unwrap_or(1),
            down_ms: self.dice.pick(&[0, 1_000, 20_000], 1_000),
        };
        self.once(event);
    }

    fn silence(&mut self) {
        let kind = self.dice.pick(&WATCHED, Resource::VirtualServices);
        let ms = self.dice.pick(&[1_000, 8_000, 30_000], 8_000);
        self.once(Event::Silence(kind, ms));
    }

    fn mood(&mut self) {
        let mood = self.dice.pick(&[Mood::NoData, Mood::Outage, Mood::Refused], Mood::Outage);
        let at = self.metrics(mood);
        if self.dice.one_in(2) {
            self.after(at, 10, 60, Event::Metrics(Mood::Good));
        }
    }

    /// Pods of a version that there is, or of one that comes then.
    fn pods(&mut self, pods: Pods) {
        let is_new = self.dice.one_in(2);
        self.version += u32::from(is_new);
        let version = if is_new { self.version.into() } else { self.dice.within(1, self.version.into()) };
        let at = self.once(Event::Pods(format!("v{version}"), pods));
        if is_new {
            self.after(at, 0, 5, Event::Image(format!("v{version}")));
        }
        if self.dice.one_in(3) {
            self.after(at, 10, 60, Event::Pods(format!("v{version}"), Pods::Good));
        }
    }

    fn no_pods(&mut self) {
        self.pods(Pods::Never);
    }

    fn crashing(&mut self) {
        self.pods(Pods::Crashing);
    }

    /// Somebody does not want the revert that the Git lane was asked for.
    fn revert_deleted(&mut self) {
        let at = self.once(Event::Abort);
        self.after(at, 31, 60, Event::ForgetRevert);
    }

    fn weights(&mut self) {
        let canary = self.dice.pick(&[0, 0, 10, 50, 100], 0);
        let at = self.once(Event::Weights(canary));
        if self.dice.one_in(2) {
            // A tool that writes the same again and again.
            let every = self.dice.within(1_000, 20_000);
            for time in 1..=self.dice.within(1, 6) {
                self.push((at + time * every, 0), Event::Weights(canary));
            }
        }
    }

    fn which(&mut self) -> Which {
        self.dice.pick(&[Which::Stable, Which::Canary, Which::Old, Which::Old], Which::Stable)
    }

    fn scale(&mut self) {
        let event = Event::ScaleSet(self.which(), self.dice.within(0, 6));
        self.once(event);
    }

    fn delete(&mut self) {
        let event = Event::DeleteSet(self.which());
        self.once(event);
    }

    fn select(&mut self) {
        let to = if self.dice.one_in(4) { None } else { Some(self.which()) };
        let event = Event::Select(self.dice.one_in(2), to);
        self.once(event);
    }

    /// An engine takes off what is not in Git: the mark that a shed left, or what a person noted.
    fn prune(&mut self) {
        if self.dice.one_in(2) {
            let at = self.once(Event::HandsOff(true));
            return self.after(at, 1, 30, Event::Prune);
        }
        let at = self.metrics(Mood::Bad);
        let after = u32::try_from(self.dice.within(1, 8)).unwrap_or(1);
        self.push((at, after), Event::Prune);
    }

    fn runs(&mut self) {
        self.analysed();
        for event in [Event::DeleteRun, Event::TerminateRun] {
            let moment = (self.measured(), 0);
            self.push(moment, event);
        }
    }

    fn collide(&mut self) {
        let at = self.once(Event::Collide);
        self.version += 1;
        self.after(at, 0, 20, Event::Image(format!("v{}", self.version)));
    }

    fn replicas(&mut self) {
        let count = self.dice.within(1, self.setup.replicas + 3);
        self.once(Event::Replicas(count));
    }

    fn clock(&mut self) {
        let by = self.dice.pick(&[-30, -5, -5, 5, 15, 60], 15);
        self.once(Event::Clock(by));
    }

    fn odd_weights(&mut self) {
        let all = [Nonsense::WeightsNegative, Nonsense::WeightsHuge, Nonsense::WeightsAbsent];
        let event = Event::Odd(self.dice.pick(&all, Nonsense::WeightsHuge));
        self.once(event);
    }

    fn odd_objects(&mut self) {
        let all =
            [Nonsense::RouteGone, Nonsense::StatusOdd, Nonsense::SetAnnotationsOdd, Nonsense::RunStatusOdd];
        let event = Event::Odd(self.dice.pick(&all, Nonsense::RouteGone));
        self.once(event);
    }
}

const KINDS: [Resource; 6] = [
    Resource::VirtualServices,
    Resource::Rollouts,
    Resource::ReplicaSets,
    Resource::Services,
    Resource::AnalysisRuns,
    Resource::RolloutRecords,
];

/// What comes after the steps: switched Services, weights put back, pods taken away.
const AFTER_STEPS_MS: i64 = 45_000;

/// Before it a process that has just begun moves no weight: the data plane may lag behind what it has not seen.
const FIRST_WEIGHT_MS: i64 = 8_000;

/// About how long an undisturbed update takes.
fn length_ms(setup: &Setup) -> i64 {
    let step = |step: &StepOf| match step {
        StepOf::Weight(_) => setup.ready_ms + 1_000,
        StepOf::Pause(Some(seconds)) => seconds * 1_000,
        StepOf::Pause(None) => 20_000,
        StepOf::Analysis => 3_000,
    };
    setup.steps.iter().map(step).sum::<i64>() + AFTER_STEPS_MS
}

fn setup(seed: u64, dice: &mut Dice) -> Setup {
    let steps = steps(dice);
    let start = dice.below(steps.len() as u64);
    Setup {
        seed,
        replicas: dice.pick(&[1, 2, 3, 3, 4, 5], 3),
        background: if dice.one_in(3) { None } else { usize::try_from(start).ok() },
        steps,
        failure_limit: dice.within(0, 2),
        scale_down_delay: dice.pick(&[0, 10, 30], 30),
        abort_delay: dice.pick(&[None, Some(0), Some(5), Some(30)], None),
        deadline: dice.pick(&[20, 60, 600], 600),
        deadline_abort: dice.one_in(2),
        history: dice.within(0, 3),
        quiet_ms: dice.pick(&[100, 1_000, 5_000, 9_500], 100),
        ready_ms: dice.pick(&[500, 2_000, 8_000], 2_000),
        latency_ms: dice.pick(&[0, 5, 80], 5),
        query_ms: dice.pick(&[0, 50, 1_500], 50),
    }
}

fn steps(dice: &mut Dice) -> Vec<StepOf> {
    let mut steps = vec![];
    let mut weight = 0;
    for _ in 0..dice.within(1, 3) {
        weight = if dice.one_in(8) { dice.within(0, 100) } else { dice.within(weight.min(99) + 1, 100) };
        steps.push(StepOf::Weight(weight));
        match dice.below(4) {
            0 => steps.push(StepOf::Analysis),
            1 => steps.push(StepOf::Pause(None)),
            2 => {}
            _ => steps.push(StepOf::Pause(Some(dice.within(5, 40)))),
        }
    }
    steps
}
