//! What the schedules have reached: kinds of events, and what the controller did next in which phase.

use std::collections::BTreeSet;

use super::{script::Event, stage::Counts};
use crate::{apply::render::Stage, decide::plan::Plan};

/// Counts of one schedule or of many.
#[derive(Clone, Debug, Default)]
pub struct Cover {
    /// How often each kind of event happened.
    pub hits: Counts,
    /// Phase, kind of event, and the first effect of the plan after it.
    pub triples: BTreeSet<(String, String, &'static str)>,
    /// Events since the last plan.
    since: Vec<(String, String)>,
    /// How long the next crash lasts.
    pub(super) down_ms: Option<i64>,
}

impl Cover {
    pub(super) fn happened(&mut self, event: &Event, phase: &str) {
        let kind = event.kind();
        *self.hits.entry(kind.clone()).or_default() += 1;
        self.since.push((phase.to_owned(), kind));
    }

    pub(super) fn planned(&mut self, plan: &Plan) {
        if self.since.is_empty() {
            return;
        }
        let effect = first_effect(plan);
        for (phase, kind) in std::mem::take(&mut self.since) {
            self.triples.insert((phase, kind, effect));
        }
    }

    /// Adds what another schedule reached.
    pub fn add(&mut self, other: Self) {
        for (kind, count) in other.hits {
            *self.hits.entry(kind).or_default() += count;
        }
        self.triples.extend(other.triples);
    }
}

fn first_effect(plan: &Plan) -> &'static str {
    let memory = !plan.memory.is_empty();
    let effects = [
        (plan.shed.weights.is_some() || plan.shed.grow.is_some(), Stage::Shed),
        (memory, Stage::Memory),
        (!plan.prepare.is_empty(), Stage::Prepare),
        (!plan.expose.is_empty(), Stage::Expose),
        (!plan.retire.is_empty(), Stage::Retire),
        (!plan.tell.is_empty(), Stage::Tell),
    ];
    effects.into_iter().find(|(is_there, _)| *is_there).map_or("nothing", |(_, stage)| stage.into())
}
