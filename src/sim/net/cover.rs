//! What the schedules have reached: kinds of events, and what the controller did next in which phase.

use std::collections::BTreeSet;

use super::stage::Counts;
use crate::{apply::render::Stage, decide::plan::Plan};

/// Counts of one schedule or of many. An event that had nothing to act on, and a fault that nobody met, do not count.
#[derive(Clone, Debug, Default)]
pub struct Cover {
    /// How often each kind of event had an effect.
    pub hits: Counts,
    /// Phase, kind of event with what it was about, and the first effect of the plan after it.
    pub triples: BTreeSet<(String, String, &'static str)>,
    /// Events since the last plan.
    since: Vec<(String, String)>,
}

impl Cover {
    /// An event of this kind had an effect on `about`, which is empty where the kind says it all.
    pub(super) fn happened(&mut self, kind: &str, about: &str, phase: &str) {
        *self.hits.entry(kind.to_owned()).or_default() += 1;
        self.since.push((phase.to_owned(), format!("{kind} {about}")));
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
