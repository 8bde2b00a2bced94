//! The page of `/metrics`: what was counted, and what the stores hold at this moment.
//!
//! The format is Prometheus's text format 0.0.4 and not OpenMetrics: the reference's counters have no `_total` at the
//! end, which OpenMetrics would add, and dashboards ask for them as they are.

use std::fmt;

use prometheus_client::{collector::Collector, encoding::DescriptorEncoder};

use super::{
    Metrics,
    facts::{MetricFacts, QueueFacts, ROLLOUT_PHASES, RUN_PHASES, RolloutFacts, RunFacts, Snapshot},
};
use crate::telemetry::{process, series::Family};

const NAMESPACED: &[&str] = &["namespace", "name"];

#[derive(Debug)]
pub(super) struct Scrape {
    pub(super) counted: Metrics,
    pub(super) snapshot: Snapshot,
}

impl Collector for Scrape {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let counted = &*self.counted.0;
        counted.histograms().into_iter().try_for_each(|one| one.encode_histograms(&mut encoder))?;
        counted.counts().into_iter().try_for_each(|one| one.encode_counts(&mut encoder))?;
        counted.gauges().into_iter().try_for_each(|one| one.encode_gauges(&mut encoder))?;
        self.build(&mut encoder)?;
        self.process(&mut encoder)?;
        self.rollouts(&mut encoder)?;
        self.runs(&mut encoder)?;
        self.self_heals(&mut encoder)?;
        self.queue(&mut encoder)
    }
}

impl Scrape {
    fn build(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let (version, role) = (self.counted.0.version, self.counted.0.role);
        Family {
            name: "serin_info",
            help: "One series a replica: the version of serin and its role. Absent: no replica of the role is up.",
            labels: &["version", "role"],
        }
        .gauges(encoder, std::iter::once((vec![version, role], 1.0)))?;
        if role == "gitops" {
            return Ok(());
        }
        for (name, help) in [
            ("argo_rollouts_controller_info", "Version of the controller that reconciles Rollouts here."),
            ("build_info", "Version of serin."),
        ] {
            Family { name, help, labels: &["version"] }
                .gauges(encoder, std::iter::once((vec![version], 1.0)))?;
        }
        Ok(())
    }

    fn process(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        for (name, help, is_total, value) in process::read() {
            let family = Family { name, help, labels: &[] };
            if is_total { family.count(encoder, value)? } else { family.gauge(encoder, value)? }
        }
        Ok(())
    }

    fn rollouts(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let all = &self.snapshot.rollouts;
        Family {
            name: "rollout_info",
            help: "One series a Rollout. phase comes from the reason of its condition Progressing: Completed, Paused, \
                   Progressing, Timeout, Abort, Error, InvalidSpec.",
            labels: &["namespace", "name", "strategy", "traffic_router", "phase"],
        }
        .gauges(
            encoder,
            all.iter().map(|one| {
                (vec![one.namespace.as_str(), &one.name, one.strategy, one.traffic_router, one.phase], 1.0)
            }),
        )?;
        Family {
            name: "rollout_phase",
            help: "1 for the phase that the Rollout is in, 0 for the others. For old dashboards; use rollout_info.",
            labels: &["namespace", "name", "strategy", "phase"],
        }
        .gauges(
            encoder,
            all.iter().flat_map(|one| {
                ROLLOUT_PHASES.iter().map(|phase| {
                    let labels = vec![one.namespace.as_str(), &one.name, one.strategy, phase];
                    (labels, flag(*phase == one.phase))
                })
            }),
        )?;
        type Count = fn(&RolloutFacts) -> i64;
        let counts: [(&'static str, &'static str, Count); 6] = [
            ("rollout_info_replicas_desired", "Replicas that the Rollout asks for.", |one| one.desired),
            ("rollout_info_replicas_available", "Available replicas, of all versions.", |one| one.available),
            (
                "rollout_info_replicas_unavailable",
                "Replicas that are not available, of all versions.",
                |one| one.unavailable,
            ),
            ("rollout_info_replicas_updated", "Replicas of the newest version.", |one| one.updated),
            (
                "rollout_traffic_contested",
                "1 while somebody else keeps lowering the weight that serin sets: serin has stopped raising it. The \
                 condition TrafficContested says who.",
                |one| i64::from(one.is_contested),
            ),
            (
                "rollout_metrics_unavailable",
                "1 while the metrics backend of a running analysis does not answer: the weight is held, no step \
                 advances. The condition MetricsUnavailable says which.",
                |one| i64::from(one.is_blind),
            ),
        ];
        for (name, help, count) in counts {
            Family { name, help, labels: NAMESPACED }.gauges(
                encoder,
                all.iter().map(|one| (vec![one.namespace.as_str(), &one.name], number(count(one)))),
            )?;
        }
        Ok(())
    }

    fn runs(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let runs = &self.snapshot.runs;
        Family {
            name: "analysis_run_info",
            help: "One series an AnalysisRun, with its phase.",
            labels: &["namespace", "name", "phase"],
        }
        .gauges(encoder, runs.iter().map(|run| (vec![run.namespace.as_str(), &run.name, run.phase], 1.0)))?;
        Family {
            name: "analysis_run_phase",
            help: "1 for the phase that the AnalysisRun is in, 0 for the others.",
            labels: &["namespace", "name", "phase"],
        }
        .gauges(
            encoder,
            runs.iter().flat_map(|run| {
                RUN_PHASES
                    .iter()
                    .map(|phase| (vec![run.namespace.as_str(), &run.name, phase], flag(*phase == run.phase)))
            }),
        )?;
        let metrics = || runs.iter().flat_map(|run| run.metrics.iter().map(move |metric| (run, metric)));
        Family {
            name: "analysis_run_metric_type",
            help: "One series a metric that an AnalysisRun has measured, with the kind of its backend.",
            labels: &["namespace", "name", "metric", "type"],
        }
        .gauges(encoder, metrics().map(|(run, metric)| (of_metric(run, metric, &["Prometheus"]), 1.0)))?;
        Family {
            name: "analysis_run_metric_phase",
            help: "1 for the phase that a metric of an AnalysisRun is in, 0 for the others.",
            labels: &["namespace", "name", "metric", "type", "dry_run", "phase"],
        }
        .gauges(
            encoder,
            metrics().flat_map(|(run, metric)| {
                let dry = if metric.is_dry_run { "true" } else { "false" };
                RUN_PHASES.iter().map(move |phase| {
                    (of_metric(run, metric, &["Prometheus", dry, phase]), flag(*phase == metric.phase))
                })
            }),
        )?;
        let templates = self.snapshot.templates.iter();
        Family { name: "analysis_template_info", help: "One series an AnalysisTemplate.", labels: NAMESPACED }
            .gauges(encoder, templates.map(|(namespace, name)| (vec![namespace.as_str(), name], 1.0)))
    }

    fn self_heals(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        if self.counted.0.role != "gitops" {
            return Ok(());
        }
        let (counts, newest) = self.counted.self_heal_facts();
        Family {
            name: "rollout_self_heals",
            help: "SelfHeal objects by phase. Counted by the Git role's leader.",
            labels: &["phase"],
        }
        .gauges(encoder, counts.iter().map(|(phase, count)| (vec![*phase], size(*count))))?;
        Family {
            name: "rollout_self_heal_info",
            help: "One series a Rollout that had a failed version: the newest SelfHeal of it, with its phase. Blocked \
                   waits for a person; its status.message says why.",
            labels: &["namespace", "name", "self_heal", "phase"],
        }
        .gauges(
            encoder,
            newest.iter().map(|((namespace, rollout), (name, phase))| {
                (vec![namespace.as_str(), rollout.as_str(), name.as_str(), *phase], 1.0)
            }),
        )
    }

    fn queue(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        if self.counted.0.role == "gitops" {
            return Ok(());
        }
        let QueueFacts { depth, oldest, running } = self.snapshot.queue;
        for (name, help, value) in [
            (
                "rollout_queue_depth",
                "Rollouts and AnalysisRuns that are due and wait for a pass.",
                size(depth),
            ),
            (
                "rollout_queue_oldest_seconds",
                "How long the first of them has been waiting. More than a second: passes do not keep up.",
                oldest.as_secs_f64(),
            ),
            ("rollout_passes_running", "Passes that are being made now.", size(running)),
        ] {
            Family { name, help, labels: &[] }.gauge(encoder, value)?;
        }
        Ok(())
    }
}

fn of_metric<'a>(run: &'a RunFacts, metric: &'a MetricFacts, rest: &[&'a str]) -> Vec<&'a str> {
    let mut labels = vec![run.namespace.as_str(), &run.name, &metric.name];
    labels.extend_from_slice(rest);
    labels
}

fn flag(is_so: bool) -> f64 {
    if is_so { 1.0 } else { 0.0 }
}

fn size(count: usize) -> f64 {
    number(i64::try_from(count).unwrap_or(i64::MAX))
}

/// Counts of Kubernetes objects are far below 2^53.
#[expect(clippy::cast_precision_loss, reason = "counts of Kubernetes objects fit a double exactly")]
fn number(count: i64) -> f64 {
    count as f64
}
