//! Schedules from seeds.

use super::{
    super::{direct::WATCHED, store::Resource},
    script::{Event, Mood, Nonsense, Pods, Script, Setup, StepOf, Timed, Which},
};

/// A stream of numbers that is the same for the same seed (splitmix64).
#[derive(Clone, Debug)]
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x2545_F491_4F6C_DD1D).wrapping_add(1))
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`; 0 for an `end` of 0.
    pub fn below(&mut self, end: u64) -> u64 {
        self.next() % end.max(1)
    }

    /// A number from `from` to `to`, both included.
    pub fn within(&mut self, from: i64, to: i64) -> i64 {
        from + i64::try_from(self.below(u64::try_from(to - from + 1).unwrap_or(1))).unwrap_or(0)
    }

    /// True once in `n` times.
    pub fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    /// One of several.
    pub fn pick<T: Clone>(&mut self, of: &[T], otherwise: T) -> T {
        let at = usize::try_from(self.below(of.len() as u64)).unwrap_or(0);
        of.get(at).cloned().unwrap_or(otherwise)
    }
}

/// The schedule of a seed.
pub fn draw(seed: u64) -> Script {
    let mut dice = Dice::new(seed);
    let setup = setup(seed, &mut dice);
    let mut events = vec![Timed { at_ms: 0, after: 0, event: Event::Image("v2".to_owned()) }];
    if dice.one_in(3) {
        events.push(Timed { at_ms: 0, after: 0, event: Event::Metrics(Mood::Bad) });
    }
    let last = length_ms(&setup);
    let mut version = 2;
    for _ in 0..dice.within(2, 9) {
        let at_ms = dice.within(0, last);
        let after = if dice.one_in(3) { u32::try_from(dice.within(1, 12)).unwrap_or(1) } else { 0 };
        let event = event(&mut dice, &setup, &mut version);
        if let Event::Weights(canary) = event
            && dice.one_in(2)
        {
            // A tool that writes the same again and again.
            let times = dice.within(1, 6);
            for time in 1..=times {
                let at_ms = at_ms + time * dice.within(1_000, 20_000);
                events.push(Timed { at_ms, after: 0, event: Event::Weights(canary) });
            }
        }
        events.push(Timed { at_ms, after, event });
    }
    events.sort_by_key(|event| event.at_ms);
    Script { setup, events }
}

/// About how long an undisturbed update takes.
fn length_ms(setup: &Setup) -> i64 {
    let step = |step: &StepOf| match step {
        StepOf::Weight(_) => setup.ready_ms + 1_000,
        StepOf::Pause(Some(seconds)) => seconds * 1_000,
        StepOf::Pause(None) => 20_000,
        StepOf::Analysis => 3_000,
    };
    setup.steps.iter().map(step).sum::<i64>() + 45_000
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

const KINDS: [Resource; 6] = [
    Resource::VirtualServices,
    Resource::Rollouts,
    Resource::ReplicaSets,
    Resource::Services,
    Resource::AnalysisRuns,
    Resource::RolloutRecords,
];

fn event(dice: &mut Dice, setup: &Setup, version: &mut u32) -> Event {
    let kind = dice.pick(&KINDS, Resource::VirtualServices);
    match dice.below(20) {
        0..=3 => person(dice, setup, version),
        4..=7 => other_hand(dice),
        8 | 9 => {
            let code = dice.pick(&[409, 409, 500, 503, 429, 403, 422], 409);
            Event::Refuse { kind, code, times: u32::try_from(dice.within(1, 4)).unwrap_or(1) }
        }
        10 | 11 => Event::Lose { kind, nth: u32::try_from(dice.within(1, 3)).unwrap_or(1) },
        12..=14 => Event::Crash {
            after_effect: dice.one_in(2),
            nth: u32::try_from(dice.within(1, 15)).unwrap_or(1),
            down_ms: dice.pick(&[0, 1_000, 20_000], 1_000),
        },
        15 | 16 => Event::Silence(
            dice.pick(&WATCHED, Resource::VirtualServices),
            dice.pick(&[1_000, 8_000, 30_000], 8_000),
        ),
        17 => Event::Clock(dice.pick(&[-30, -5, 5, 15, 60], 15)),
        18 => {
            let of = format!("v{}", dice.within(1, i64::from(*version)));
            Event::Pods(of, dice.pick(&[Pods::Never, Pods::Crashing, Pods::Good], Pods::Never))
        }
        _ => Event::Metrics(
            dice.pick(&[Mood::Good, Mood::Bad, Mood::NoData, Mood::Outage, Mood::Refused], Mood::Bad),
        ),
    }
}

fn person(dice: &mut Dice, setup: &Setup, version: &mut u32) -> Event {
    match dice.below(11) {
        0 => {
            *version += 1;
            Event::Image(format!("v{version}"))
        }
        1 => Event::Image(format!("v{}", dice.within(1, i64::from(*version)))),
        2 => Event::Steps(steps(dice)),
        3 => Event::Replicas(dice.within(1, setup.replicas + 3)),
        4 => Event::Freeze(dice.one_in(2)),
        5 => Event::Promote,
        6 => Event::PromoteFull,
        7 | 8 => Event::Abort,
        9 => Event::Retry,
        _ => Event::HandsOff(dice.one_in(2)),
    }
}

fn other_hand(dice: &mut Dice) -> Event {
    let which = dice.pick(&[Which::Stable, Which::Canary, Which::Old], Which::Stable);
    match dice.below(14) {
        0..=3 => Event::Weights(dice.pick(&[0, 0, 10, 50, 100], 0)),
        4 => Event::ScaleSet(which, dice.within(0, 6)),
        5 => Event::DeleteSet(which),
        6 => Event::Select(dice.one_in(2), if dice.one_in(4) { None } else { Some(which) }),
        7 => Event::Prune,
        8 => Event::DeleteRun,
        9 => Event::TerminateRun,
        10 => Event::Collide,
        11 => Event::ForgetRevert,
        _ => {
            let all = [
                Nonsense::RouteGone,
                Nonsense::WeightsNegative,
                Nonsense::WeightsHuge,
                Nonsense::WeightsAbsent,
                Nonsense::StatusOdd,
                Nonsense::SetAnnotationsOdd,
                Nonsense::RunStatusOdd,
            ];
            Event::Odd(dice.pick(&all, Nonsense::RouteGone))
        }
    }
}
