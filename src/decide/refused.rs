//! A Rollout whose spec is refused: nothing is touched, but an abort or a failing analysis still takes the traffic
//! away.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::{
    analysis,
    conditions::{Conditions, invalid, whole_second},
    memory::Phase,
    observed::{Exposure, Observed, Side},
    owner,
    plan::{Plan, RunWrite, ShedReason, StatusWrite, Wake},
    report::{Report, Stage, Wait},
    spec::SpecError,
    traffic,
};
use crate::domain::{Weight, verdict::Verdict};

pub(super) fn step(observed: &Observed, error: &SpecError, now: Timestamp) -> Plan {
    let mut plan = Plan::idle(owner(observed), Report::quiet(Stage::Refused));
    plan.report.notes.push(error.to_string());
    let failed = analyses(observed, now, &mut plan);

    let memory = &observed.rollout.memory;
    let mut new = memory.clone();
    if failed && !new.abort {
        new.abort = true;
        new.aborted_at = Some(whole_second(now));
    }
    let exposure = Exposure::of(observed);
    // A Service without a hash reaches every version.
    let leads_to_stable =
        exposure.leads_to(Side::Canary).is_some_and(|hash| memory.stable.as_ref() == Some(hash));
    plan.report.live = exposure.canary;
    if new.abort && memory.stable.is_some() && !leads_to_stable {
        let service = observed.virtual_service.as_ref();
        plan.shed.weights =
            service.and_then(|service| traffic::lowering(service, Weight::ZERO, ShedReason::Rejected, None));
    }

    let mut conditions = Conditions { list: memory.conditions.clone(), now: whole_second(now) };
    invalid(&observed.rollout.key.name, error, &mut conditions);
    new.conditions = conditions.list;
    new.observed_generation = Some(observed.rollout.generation);
    new.phase = Some(Phase::Degraded);
    let message = new.condition("InvalidSpec").map(|condition| condition.message.clone()).unwrap_or_default();
    new.message = format!("InvalidSpec: {message}");
    plan.memory.rollout = (new != *memory).then(|| StatusWrite { old: memory.clone(), new });
    plan
}

/// Carries the runs on; true when one of the current version has failed.
fn analyses(observed: &Observed, now: Timestamp, plan: &mut Plan) -> bool {
    let none = BTreeMap::new();
    let mut failed = false;
    for owned in observed.runs.iter().filter(|owned| !owned.is_deleted) {
        let samples = observed.samples.get(&owned.run.uid).unwrap_or(&none);
        let step = analysis::step(&owned.run, samples, now, observed.settings.outage);
        let is_current = owned.hash.is_some() && owned.hash == observed.rollout.memory.current;
        let is_bad = matches!(step.status.phase.verdict(), Some(Verdict::Failed | Verdict::Error));
        failed |= is_bad && is_current && !owned.run.status.phase.is_done();
        if step.status != owned.run.status {
            plan.memory.runs.push(RunWrite {
                name: owned.run.name.clone(),
                resource_version: owned.resource_version.clone(),
                old: owned.run.status.clone(),
                new: step.status.clone(),
            });
        }
        plan.measure.extend(step.wants);
        let wake = step.wake.map(|(at, _)| Wake { at, reason: Wait::Measurement });
        plan.wake = plan.wake.into_iter().chain(wake).min_by_key(|wake| wake.at);
    }
    failed
}
