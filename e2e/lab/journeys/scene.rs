//! The manifests of a shop, as far as its story needs them otherwise: the repository's files and what the platform set up.

use std::time::Duration;

use serin::sim::play::scenario::Scenario;

use crate::{Fallible, images::Behaviour, slack};

/// The file that holds the version.
pub(crate) const ROLLOUT_FILE: &str = "shop/rollout.yaml";
pub(crate) const OLD: &str = "v1.1.0";
pub(crate) const NEW: &str = "v1.2.0";
pub(crate) const FIXED: &str = "v1.2.1";
/// How many times shorter durations are here than in the README's story.
pub(crate) const SHORTENED: i32 = 30;
/// How long the steps of `story/rollout.yaml` pause, one after the other.
pub(crate) const PAUSES: [Duration; 3] =
    [Duration::from_secs(4), Duration::from_secs(4), Duration::from_secs(10)];

/// What is played where.
#[derive(Clone, Debug)]
pub(crate) struct Scene {
    pub(crate) scenario: Scenario,
    /// The shop's own.
    pub(crate) namespace: String,
    pub(crate) twist: Twist,
}

/// What is different from the story as it is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Twist {
    None,
    /// A rule of the platform refuses serin's mark on the VirtualService.
    NoMarks,
    /// Somebody changes the mesh's configuration all the time.
    Churn,
    /// No istiod configures Envoy, but the stand-in.
    StandIn,
}

impl Scene {
    /// How v1.2.0 behaves at first.
    pub(crate) fn behaviour(&self) -> Behaviour {
        match self.scenario {
            Scenario::BadMetric
            | Scenario::GitDown
            | Scenario::FixedFirst
            | Scenario::Contested
            | Scenario::TakeoverByRestart => Behaviour::failing(8),
            Scenario::NoData => Behaviour::SILENT,
            Scenario::Good
            | Scenario::BadPods
            | Scenario::PrometheusDown
            | Scenario::UserAbort
            | Scenario::Superseded => Behaviour::GOOD,
        }
    }

    /// The image of a version. Each shop has its own, so that the same version can behave differently.
    pub(crate) fn image(&self, version: &str) -> String {
        format!("registry.lab/{}/myapp:{version}", self.namespace)
    }

    /// The files of the repository.
    ///
    /// # Errors
    /// When a shipped template is no longer what this was written for.
    pub(crate) fn files(&self) -> Fallible<Vec<(&'static str, String)>> {
        let rollout = include_str!("../story/rollout.yaml").replace("NAMESPACE", &self.namespace);
        let rollout = if self.scenario == Scenario::BadPods {
            // Five minutes, divided as everything is.
            let deadline = "  replicas: 10\n  progressDeadlineSeconds: 10\n  progressDeadlineAbort: true\n";
            replaced(&rollout, &[("  replicas: 10\n", deadline)])?
        } else if self.scenario == Scenario::Superseded {
            // The oldest of its three versions, and of its three runs, is one too many.
            let limits = "revisionHistoryLimit: 1\n  analysis: {successfulRunHistoryLimit: 1}";
            replaced(&rollout, &[("revisionHistoryLimit: 3", limits)])?
        } else {
            rollout
        };
        Ok(vec![
            (ROLLOUT_FILE, rollout),
            ("shop/error-rate.yaml", self.error_rate()?),
            ("shop/success-rate.yaml", self.success_rate()?),
        ])
    }

    /// What the platform team set up once: it is not in the shop's repository.
    ///
    /// # Errors
    /// When the manifest is not what this was written for.
    pub(crate) fn platform(&self, repository: &str) -> Fallible<String> {
        let text = include_str!("../story/platform.yaml").replace("NAMESPACE", &self.namespace);
        let on = if self.scenario == Scenario::BadPods {
            "  mode: Push\n  on: [MetricFailed, ProgressDeadline]\n"
        } else {
            "  mode: Push\n"
        };
        replaced(&text, &[("REPOSITORY", repository), ("  mode: Push\n", on)])
    }

    /// Where serin finds Slack.
    pub(crate) fn notifications() -> String {
        include_str!("../story/notifications.yaml")
            .replace("SLACK", slack::API)
            .replace("TOKEN", slack::TOKEN)
    }

    /// The shipped template, its minutes as two seconds. A Prometheus that asks for a token is what the roles are judged by.
    fn error_rate(&self) -> Fallible<String> {
        let token = "spec:\n  args:\n  - name: prometheus-token\n    valueFrom:\n      secretKeyRef: {name: prometheus, key: token}\n";
        let header = "      prometheus:\n        headers:\n        - {key: Authorization, value: \"Bearer {{args.prometheus-token}}\"}\n";
        replaced(
            include_str!("../../../analysis-templates/error-rate.yaml"),
            &[
                ("noDataTimeout: 5m", self.no_data_timeout()),
                ("    value: 2m\n", "    value: 5s\n"),
                ("    interval: 1m\n", "    interval: 2s\n"),
                ("spec:\n  args:\n", token),
                ("      prometheus:\n", header),
            ],
        )
    }

    fn success_rate(&self) -> Fallible<String> {
        replaced(
            include_str!("../../../analysis-templates/success-rate.yaml"),
            &[
                ("noDataTimeout: 5m", self.no_data_timeout()),
                ("    value: 2m\n", "    value: 5s\n"),
                ("    interval: 1m\n", "    interval: 2s\n"),
            ],
        )
    }

    /// The mesh's debounce is not thirty times shorter here: under churn the canary's first request may come ten seconds late.
    fn no_data_timeout(&self) -> &'static str {
        match self.twist {
            Twist::Churn => "noDataTimeout: 5m",
            Twist::None | Twist::NoMarks | Twist::StandIn => "noDataTimeout: 10s",
        }
    }
}

/// Replaces each text by another. Each has to be there exactly once.
fn replaced(text: &str, changes: &[(&str, &str)]) -> Fallible<String> {
    let mut text = text.to_owned();
    for (from, to) in changes {
        match text.matches(from).count() {
            1 => text = text.replace(from, to),
            count => return Err(format!("{from:?} is in it {count} times, not once:\n{text}").into()),
        }
    }
    Ok(text)
}
