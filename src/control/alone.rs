//! A run that nobody controls: somebody made it by hand. It is measured and judged, and moves no traffic.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::{
    decide::{
        analysis::{self, OutageMode, Sample},
        observed::OwnedRun,
        plan::{About, Event, EventKind, Owner, Plan, Remember, Retire, RunWrite, Tell, Wake},
        report::{Report, Stage, Wait},
    },
    domain::{Key, Uid},
};

/// Everything one pass wants done for a run of its own.
pub(super) fn plan(
    owned: &OwnedRun,
    samples: &BTreeMap<String, Sample>,
    now: Timestamp,
    outage: OutageMode,
) -> Plan {
    let run = &owned.run;
    let step = analysis::step(run, samples, now, outage);
    let uid = Uid(run.uid.clone());
    let owner = Owner {
        key: Key::new(&*run.namespace, &*run.name),
        uid: uid.clone(),
        resource_version: owned.resource_version.clone(),
    };
    let mut plan = Plan::idle(owner, Report::quiet(Stage::Gone));
    if step.status != run.status {
        let write = RunWrite {
            name: run.name.clone(),
            resource_version: owned.resource_version.clone(),
            old: run.status.clone(),
            new: step.status,
        };
        plan.memory = Remember { runs: vec![write], ..Remember::default() };
    }
    plan.tell = step
        .events
        .iter()
        .map(|event| {
            Tell::Event(Event {
                about: About::Run { name: run.name.clone(), uid: uid.clone() },
                kind: if event.is_warning() { EventKind::Warning } else { EventKind::Normal },
                reason: event.reason(),
                message: event.message(),
            })
        })
        .collect();
    if step.expired {
        plan.retire.push(Retire::DeleteRun { name: run.name.clone(), uid });
    }
    plan.measure = step.wants.into_iter().collect();
    plan.wake = step.wake.map(|(at, _)| Wake { at, reason: Wait::Measurement });
    plan
}
