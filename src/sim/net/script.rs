//! A schedule as text: what the Rollout asks for, and what happens to it, one line each. What is drawn from a seed
//! can be written down, shortened by hand, and played again.

use std::{fmt, str::FromStr};

use super::super::store::Resource;

/// A whole schedule.
#[derive(Clone, Debug, PartialEq)]
pub struct Script {
    pub setup: Setup,
    pub events: Vec<Timed>,
}

/// What is there before anything happens. Times in seconds where not said otherwise.
#[derive(Clone, Debug, PartialEq)]
pub struct Setup {
    /// Decides uids and generated names.
    pub seed: u64,
    pub replicas: i64,
    pub steps: Vec<StepOf>,
    /// Index of the step from which the background analysis runs.
    pub background: Option<usize>,
    pub failure_limit: i64,
    pub scale_down_delay: i64,
    pub abort_delay: Option<i64>,
    pub deadline: i64,
    pub deadline_abort: bool,
    pub history: i64,
    /// How long the configuration must be quiet before the proxies follow, in milliseconds.
    pub quiet_ms: i64,
    pub ready_ms: i64,
    /// How long each request takes, in milliseconds.
    pub latency_ms: i64,
    /// How long each query takes, in milliseconds.
    pub query_ms: i64,
}

/// A canary step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StepOf {
    Weight(i64),
    Pause(Option<i64>),
    Analysis,
}

/// Something that happens.
#[derive(Clone, Debug, PartialEq)]
pub struct Timed {
    /// Milliseconds since the first version was healthy.
    pub at_ms: i64,
    /// How many requests the controller makes from then on before it happens, in the midst of a plan. 0: at the time
    /// itself.
    pub after: u32,
    pub event: Event,
}

/// Which ReplicaSet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::Display, strum::EnumString)]
#[strum(serialize_all = "lowercase")]
pub enum Which {
    Stable,
    Canary,
    /// The oldest of the others.
    Old,
}

/// How pods of a version behave from then on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::Display, strum::EnumString)]
#[strum(serialize_all = "lowercase")]
pub enum Pods {
    Good,
    Never,
    Crashing,
}

/// What queries answer from then on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::Display, strum::EnumString)]
#[strum(serialize_all = "lowercase")]
pub enum Mood {
    Good,
    Bad,
    NoData,
    Outage,
    Refused,
}

impl Mood {
    /// One bit for each.
    pub(super) fn bit(self) -> u32 {
        1 << (self as u32)
    }
}

/// What is written into an object that nobody should write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::Display, strum::EnumString)]
#[strum(serialize_all = "kebab-case")]
pub enum Nonsense {
    RouteGone,
    WeightsNegative,
    WeightsHuge,
    WeightsAbsent,
    StatusOdd,
    SetAnnotationsOdd,
    RunStatusOdd,
}

/// Every kind of thing that can happen, as `Event::kind` names it: people, other hands, faults.
pub const KINDS: [&str; 39] = [
    "image",
    "steps",
    "replicas",
    "freeze",
    "thaw",
    "promote",
    "promote-full",
    "abort",
    "retry",
    "hands-off",
    "weights",
    "scale",
    "delete",
    "select",
    "prune",
    "delete-run",
    "terminate-run",
    "collide",
    "forget-revert",
    "odd weights",
    "odd objects",
    "refuse 403",
    "refuse 409",
    "refuse 422",
    "refuse 429",
    "refuse 500",
    "refuse 503",
    "lose",
    "crash before",
    "crash after",
    "silence",
    "clock back",
    "clock on",
    "pods never",
    "pods crashing",
    "metrics bad",
    "metrics nodata",
    "metrics outage",
    "metrics refused",
];

/// What can happen.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    // People and their tools.
    Image(String),
    Steps(Vec<StepOf>),
    Replicas(i64),
    Freeze(bool),
    Promote,
    PromoteFull,
    Abort,
    Retry,
    HandsOff(bool),
    // Other hands.
    /// The canary's weight; stable gets the rest.
    Weights(i64),
    ScaleSet(Which, i64),
    DeleteSet(Which),
    /// Moves a Service's selector (`true`: the canary's) to a version, or takes the hash out.
    Select(bool, Option<Which>),
    Prune,
    DeleteRun,
    TerminateRun,
    /// A ReplicaSet of somebody else has the name that the next version's would have.
    Collide,
    ForgetRevert,
    Odd(Nonsense),
    // Faults.
    Refuse {
        kind: Resource,
        code: u16,
        times: u32,
    },
    Lose {
        kind: Resource,
        nth: u32,
    },
    Crash {
        after_effect: bool,
        nth: u32,
        down_ms: i64,
    },
    Silence(Resource, i64),
    /// The controller's clock jumps by so many seconds.
    Clock(i64),
    Pods(String, Pods),
    Metrics(Mood),
}

impl Event {
    /// Its kind, for counts: one of `KINDS`, but for the ends of faults.
    pub fn kind(&self) -> String {
        match self {
            Self::Refuse { code, .. } => format!("refuse {code}"),
            Self::Crash { after_effect, .. } => {
                format!("crash {}", if *after_effect { "after" } else { "before" })
            }
            Self::Metrics(mood) => format!("metrics {mood}"),
            Self::Pods(_, pods) => format!("pods {pods}"),
            Self::Odd(Nonsense::WeightsNegative | Nonsense::WeightsHuge | Nonsense::WeightsAbsent) => {
                "odd weights".to_owned()
            }
            Self::Odd(_) => "odd objects".to_owned(),
            Self::Clock(by) => if *by < 0 { "clock back" } else { "clock on" }.to_owned(),
            Self::Freeze(on) => if *on { "freeze" } else { "thaw" }.to_owned(),
            _ => self.to_string().split(' ').next().unwrap_or_default().to_owned(),
        }
    }

    /// What its kind does not say of it and still makes a difference.
    pub fn about(&self) -> String {
        match self {
            Self::ScaleSet(which, _) | Self::DeleteSet(which) => which.to_string(),
            Self::Select(..) | Self::Odd(_) | Self::Weights(_) | Self::HandsOff(_) => self.to_string(),
            _ => String::new(),
        }
    }

    /// What may keep a measurement from being made or booked in time.
    pub fn breaks_time(&self) -> bool {
        matches!(
            self,
            Self::Refuse { .. }
                | Self::Lose { .. }
                | Self::Crash { .. }
                | Self::Silence(..)
                | Self::Clock(_)
                | Self::Odd(_)
                | Self::Metrics(Mood::Outage | Mood::Refused | Mood::NoData)
        )
    }

    /// Somebody else's doing that may cost requests whatever the controller does.
    pub fn breaks_serving(&self) -> bool {
        matches!(
            self,
            Self::ScaleSet(..)
                | Self::DeleteSet(_)
                | Self::Select(..)
                | Self::Weights(_)
                | Self::Odd(_)
                | Self::Replicas(_)
                | Self::Clock(_)
                | Self::Pods(_, Pods::Crashing)
        )
    }
}

pub(super) fn plural(kind: Resource) -> &'static str {
    kind.definition().plural
}

impl fmt::Display for StepOf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Weight(weight) => write!(f, "{weight}"),
            Self::Pause(Some(seconds)) => write!(f, "p{seconds}"),
            Self::Pause(None) => f.write_str("p"),
            Self::Analysis => f.write_str("a"),
        }
    }
}

fn steps(steps: &[StepOf]) -> String {
    steps.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Image(version) => write!(f, "image {version}"),
            Self::Steps(list) => write!(f, "steps {}", steps(list)),
            Self::Replicas(count) => write!(f, "replicas {count}"),
            Self::Freeze(on) => write!(f, "freeze {on}"),
            Self::Promote => f.write_str("promote"),
            Self::PromoteFull => f.write_str("promote-full"),
            Self::Abort => f.write_str("abort"),
            Self::Retry => f.write_str("retry"),
            Self::HandsOff(on) => write!(f, "hands-off {on}"),
            Self::Weights(canary) => write!(f, "weights {canary}"),
            Self::ScaleSet(which, count) => write!(f, "scale {which} {count}"),
            Self::DeleteSet(which) => write!(f, "delete {which}"),
            Self::Select(is_canary, which) => {
                let to = which.map_or("none".to_owned(), |which| which.to_string());
                write!(f, "select {} {to}", if *is_canary { "canary" } else { "stable" })
            }
            Self::Prune => f.write_str("prune"),
            Self::DeleteRun => f.write_str("delete-run"),
            Self::TerminateRun => f.write_str("terminate-run"),
            Self::Collide => f.write_str("collide"),
            Self::ForgetRevert => f.write_str("forget-revert"),
            Self::Odd(what) => write!(f, "odd {what}"),
            Self::Refuse { kind, code, times } => write!(f, "refuse {} {code} {times}", plural(*kind)),
            Self::Lose { kind, nth } => write!(f, "lose {} {nth}", plural(*kind)),
            Self::Crash { after_effect, nth, down_ms } => {
                write!(f, "crash {} {nth} {down_ms}", if *after_effect { "after" } else { "before" })
            }
            Self::Silence(kind, ms) => write!(f, "silence {} {ms}", plural(*kind)),
            Self::Clock(by) => write!(f, "clock {by}"),
            Self::Pods(version, pods) => write!(f, "pods {version} {pods}"),
            Self::Metrics(mood) => write!(f, "metrics {mood}"),
        }
    }
}

impl fmt::Display for Timed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.at_ms as f64 / 1000.0;
        if self.after > 0 {
            write!(f, "{seconds:.3} +{} {}", self.after, self.event)
        } else {
            write!(f, "{seconds:.3} {}", self.event)
        }
    }
}

impl fmt::Display for Setup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = |value: Option<i64>| value.map_or("none".to_owned(), |value| value.to_string());
        let background = self.background.and_then(|at| i64::try_from(at).ok());
        writeln!(f, "seed {}", self.seed)?;
        writeln!(f, "set replicas {}", self.replicas)?;
        writeln!(f, "set steps {}", steps(&self.steps))?;
        writeln!(f, "set background {}", number(background))?;
        writeln!(f, "set failure-limit {}", self.failure_limit)?;
        writeln!(f, "set scale-down-delay {}", self.scale_down_delay)?;
        writeln!(f, "set abort-delay {}", number(self.abort_delay))?;
        writeln!(f, "set deadline {}", self.deadline)?;
        writeln!(f, "set deadline-abort {}", self.deadline_abort)?;
        writeln!(f, "set history {}", self.history)?;
        writeln!(f, "set quiet-ms {}", self.quiet_ms)?;
        writeln!(f, "set ready-ms {}", self.ready_ms)?;
        writeln!(f, "set latency-ms {}", self.latency_ms)?;
        writeln!(f, "set query-ms {}", self.query_ms)
    }
}

impl fmt::Display for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.setup)?;
        self.events.iter().try_for_each(|event| writeln!(f, "{event}"))
    }
}

/// A line that is no part of a script.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cannot read `{0}`")]
pub struct Unreadable(String);

impl Default for Setup {
    fn default() -> Self {
        Self {
            seed: 0,
            replicas: 4,
            steps: vec![
                StepOf::Weight(20),
                StepOf::Pause(Some(20)),
                StepOf::Weight(50),
                StepOf::Analysis,
                StepOf::Weight(100),
            ],
            background: Some(0),
            failure_limit: 1,
            scale_down_delay: 30,
            abort_delay: Some(30),
            deadline: 600,
            deadline_abort: false,
            history: 2,
            quiet_ms: 100,
            ready_ms: 2000,
            latency_ms: 5,
            query_ms: 50,
        }
    }
}

impl FromStr for Script {
    type Err = Unreadable;

    /// Reads what `Display` prints; empty lines and what follows a `#` are for people.
    fn from_str(text: &str) -> Result<Self, Unreadable> {
        let mut script = Self { setup: Setup::default(), events: vec![] };
        for line in text.lines() {
            let line = line.split('#').next().unwrap_or_default().trim();
            if line.is_empty() {
                continue;
            }
            script.line(line).ok_or_else(|| Unreadable(line.to_owned()))?;
        }
        Ok(script)
    }
}

impl Script {
    fn line(&mut self, line: &str) -> Option<()> {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            ["seed", seed] => self.setup.seed = seed.parse().ok()?,
            ["set", name, value] => self.setup.set(name, value)?,
            [at, rest @ ..] => {
                let at_ms = (at.parse::<f64>().ok()? * 1000.0).round() as i64;
                let (after, rest) = match rest {
                    [after, rest @ ..] if after.starts_with('+') => {
                        (after.trim_start_matches('+').parse().ok()?, rest)
                    }
                    rest => (0, rest),
                };
                self.events.push(Timed { at_ms, after, event: event(rest)? });
            }
            [] => {}
        }
        Some(())
    }
}

impl Setup {
    fn set(&mut self, name: &str, value: &str) -> Option<()> {
        let number = || value.parse::<i64>().ok();
        match name {
            "replicas" => self.replicas = number()?,
            "steps" => self.steps = read_steps(value)?,
            "background" => self.background = (value != "none").then(|| value.parse().ok()).flatten(),
            "failure-limit" => self.failure_limit = number()?,
            "scale-down-delay" => self.scale_down_delay = number()?,
            "abort-delay" => self.abort_delay = (value != "none").then(number).flatten(),
            "deadline" => self.deadline = number()?,
            "deadline-abort" => self.deadline_abort = value.parse().ok()?,
            "history" => self.history = number()?,
            "quiet-ms" => self.quiet_ms = number()?,
            "ready-ms" => self.ready_ms = number()?,
            "latency-ms" => self.latency_ms = number()?,
            "query-ms" => self.query_ms = number()?,
            _ => return None,
        }
        Some(())
    }
}

fn read_steps(text: &str) -> Option<Vec<StepOf>> {
    let one = |word: &str| match word {
        "a" => Some(StepOf::Analysis),
        "p" => Some(StepOf::Pause(None)),
        word => match word.strip_prefix('p') {
            Some(seconds) => Some(StepOf::Pause(Some(seconds.parse().ok()?))),
            None => Some(StepOf::Weight(word.parse().ok()?)),
        },
    };
    text.split(',').filter(|word| !word.is_empty()).map(one).collect()
}

fn resource(plural: &str) -> Option<Resource> {
    Resource::all().find(|kind| kind.definition().plural == plural)
}

fn event(words: &[&str]) -> Option<Event> {
    Some(match words {
        ["image", version] => Event::Image((*version).to_owned()),
        ["steps", list] => Event::Steps(read_steps(list)?),
        ["replicas", count] => Event::Replicas(count.parse().ok()?),
        ["freeze", on] => Event::Freeze(on.parse().ok()?),
        ["promote"] => Event::Promote,
        ["promote-full"] => Event::PromoteFull,
        ["abort"] => Event::Abort,
        ["retry"] => Event::Retry,
        ["hands-off", on] => Event::HandsOff(on.parse().ok()?),
        ["weights", canary] => Event::Weights(canary.parse().ok()?),
        ["scale", which, count] => Event::ScaleSet(which.parse().ok()?, count.parse().ok()?),
        ["delete", which] => Event::DeleteSet(which.parse().ok()?),
        ["select", side, "none"] => Event::Select(*side == "canary", None),
        ["select", side, which] => Event::Select(*side == "canary", Some(which.parse().ok()?)),
        ["prune"] => Event::Prune,
        ["delete-run"] => Event::DeleteRun,
        ["terminate-run"] => Event::TerminateRun,
        ["collide"] => Event::Collide,
        ["forget-revert"] => Event::ForgetRevert,
        ["odd", what] => Event::Odd(what.parse().ok()?),
        words => fault(words)?,
    })
}

fn fault(words: &[&str]) -> Option<Event> {
    Some(match words {
        ["refuse", kind, code, times] => {
            Event::Refuse { kind: resource(kind)?, code: code.parse().ok()?, times: times.parse().ok()? }
        }
        ["lose", kind, nth] => Event::Lose { kind: resource(kind)?, nth: nth.parse().ok()? },
        ["crash", when, nth, down] => Event::Crash {
            after_effect: *when == "after",
            nth: nth.parse().ok()?,
            down_ms: down.parse().ok()?,
        },
        ["silence", kind, ms] => Event::Silence(resource(kind)?, ms.parse().ok()?),
        ["clock", by] => Event::Clock(by.parse().ok()?),
        ["pods", version, pods] => Event::Pods((*version).to_owned(), pods.parse().ok()?),
        ["metrics", mood] => Event::Metrics(mood.parse().ok()?),
        _ => return None,
    })
}
