//! Runs, metrics and answers in the words of the domain.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use crate::{
    decide::analysis::{
        Criterion, Measurement, Metric, MetricResult, NoData, OnNoData, OutageMode, Outcome, Query, Run,
        RunStatus, RunStep, Sample, Text, Ttl, step,
    },
    domain::value::MetricValue,
    expr::Condition,
};

pub(super) fn at(second: i64) -> Timestamp {
    let origin: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
    origin + SignedDuration::from_secs(second)
}

pub(super) fn seconds(seconds: i64) -> SignedDuration {
    SignedDuration::from_secs(seconds)
}

pub(super) fn criterion(text: &str) -> Criterion {
    Criterion { text: text.to_owned(), parsed: Condition::parse(text) }
}

/// The error rate of the story: every minute, below 0.05, no failure tolerated, without end.
pub(super) fn metric(name: &str) -> Metric {
    Metric {
        name: name.to_owned(),
        interval: Some(seconds(60)),
        initial_delay: None,
        count: None,
        success: Some(criterion("result < 0.05")),
        failure: None,
        failure_limit: 0,
        inconclusive_limit: 0,
        consecutive_error_limit: 4,
        consecutive_success_limit: 0,
        dry_run: false,
        retention: 10,
        query: Ok(Query {
            address: None,
            promql: Text::plain("errors"),
            timeout: seconds(30),
            range: None,
            headers: vec![],
            basic_auth: None,
            insecure: false,
        }),
        no_data: None,
    }
}

/// The same, measured once.
pub(super) fn once(name: &str) -> Metric {
    Metric { interval: None, count: Some(1), ..metric(name) }
}

pub(super) fn policy(outcome: OnNoData, timeout: Option<i64>) -> Option<NoData> {
    Some(NoData { outcome, timeout: timeout.map(seconds) })
}

pub(super) fn run(metrics: impl Into<Vec<Metric>>) -> Run {
    Run {
        name: "web-1".to_owned(),
        namespace: "shop".to_owned(),
        uid: "u-1".to_owned(),
        created_at: Some(at(0)),
        terminate: false,
        deleting: false,
        metrics: Ok(metrics.into()),
        status: RunStatus::default(),
        ttl: Ttl::default(),
    }
}

pub(super) fn value(number: f64) -> Outcome {
    Outcome::Value { value: MetricValue::Float(number), text: number.to_string() }
}

pub(super) fn vector(numbers: &[f64]) -> Outcome {
    let texts: Vec<String> = numbers.iter().map(f64::to_string).collect();
    Outcome::Value { value: MetricValue::Floats(numbers.to_vec()), text: format!("[{}]", texts.join(",")) }
}

pub(super) fn refused() -> Outcome {
    Outcome::Refused { message: "bad_data: parse error".to_owned() }
}

pub(super) fn outage() -> Outcome {
    Outcome::Outage { message: "connection refused".to_owned() }
}

/// A run that is being played: it keeps the status of each pass, as the store would.
pub(super) struct Play {
    pub run: Run,
    pub now: Timestamp,
    pub mode: OutageMode,
}

impl Play {
    pub(super) fn of(run: Run) -> Self {
        let mut play = Self { run, now: at(0), mode: OutageMode::Hold };
        play.pass();
        play
    }

    /// A pass without samples.
    pub(super) fn pass(&mut self) -> RunStep {
        self.pass_with(&BTreeMap::new())
    }

    pub(super) fn pass_with(&mut self, samples: &BTreeMap<String, Sample>) -> RunStep {
        let step = step(&self.run, samples, self.now, self.mode);
        self.run.status = step.status.clone();
        step
    }

    /// Waits until `metric` is due and answers.
    pub(super) fn answer(&mut self, metric: &str, outcome: Outcome) -> RunStep {
        self.answer_all([(metric, outcome)])
    }

    /// Waits until each of the metrics is due and answers all at once.
    pub(super) fn answer_all<const N: usize>(&mut self, outcomes: [(&str, Outcome); N]) -> RunStep {
        let wants = self.pass().wants;
        let mut samples = BTreeMap::new();
        for (metric, outcome) in outcomes {
            let want =
                wants.iter().find(|want| want.metric == metric).unwrap_or_else(|| panic!("{metric} wanted"));
            self.now = self.now.max(want.due);
            samples.insert(metric.to_owned(), (want.ordinal, outcome));
        }
        let now = self.now;
        let samples = samples.into_iter().map(|(metric, (ordinal, outcome))| {
            let metadata = BTreeMap::new();
            (metric, Sample { ordinal, started_at: now, finished_at: now, outcome, metadata })
        });
        self.pass_with(&samples.collect())
    }

    pub(super) fn result(&self, metric: &str) -> &MetricResult {
        self.run.status.metric(metric).unwrap()
    }

    pub(super) fn last(&self, metric: &str) -> &Measurement {
        self.result(metric).measurements.last().unwrap()
    }

    /// Seconds from now until `metric` is due.
    pub(super) fn wait(&mut self, metric: &str) -> i64 {
        let want = self.pass().wants.into_iter().find(|want| want.metric == metric).unwrap();
        want.due.duration_since(self.now).as_secs()
    }
}
