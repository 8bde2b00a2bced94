//! Other hands on the weights. A raise is cut at once, whoever made it. A lowering is put back three times within five
//! minutes; then it is respected, and somebody has to say who steers.

use std::time::Duration;

use jiff::Timestamp;

use super::{
    course::Course,
    facts::Facts,
    memory::ConditionStatus,
    observed::{Side, VirtualService},
    plan::{Action, Attempt},
    record::{Reassert, Record},
    report::{Stage, Wait},
    spec::Cursor,
};
use crate::domain::Weight;

/// The condition's type, and the events' reason.
pub(super) const KIND: &str = "TrafficContested";
/// How often a weight is put back within `WINDOW` before the other hand is respected.
const TRIES: usize = 3;
/// Five minutes and the second that noted times may be off by. A tool that applies Git does so every few minutes at
/// the most; a person tries again within one.
const WINDOW: Duration = Duration::from_secs(301);

/// From the record of what is put back to the answer to it: two requests, of five seconds at the most each.
const ANSWERED_WITHIN: Duration = Duration::from_secs(10);

/// What other hands did, and what is done about it.
#[derive(Clone, Debug, Default)]
pub(super) struct Contest {
    /// A raise in this pass puts back what somebody has lowered.
    pub(super) is_reassert: bool,
    /// The other hand is respected: nothing is raised.
    pub(super) is_held: bool,
    /// When the next try is due, or the contest is over.
    pub(super) again: Option<Timestamp>,
    /// An update is under way.
    is_update: bool,
    /// Somebody wrote within the window.
    is_recent: bool,
    /// Who wrote; empty where nobody knows.
    by: String,
}

pub(super) fn look(facts: &Facts<'_>, course: &Course) -> Contest {
    let Some(service) = &facts.observed.virtual_service else { return Contest::default() };
    let recent: Vec<&Reassert> = recent(facts).collect();
    let is_contested = is_known(facts);
    let is_lowered = is_lowered(facts, service);
    // What the steps before this one gave is the rollout's own: the step up from there puts nothing back.
    let is_others = is_last_written_by_others(facts, service);
    let is_kept_down = facts.live() < facts.spec.weight_before(course.cursor) && (is_contested || is_others);
    let is_in_play = course.stage == Stage::Canary && (is_lowered || is_kept_down);
    let made: Vec<&Reassert> = recent.iter().copied().filter(|one| !is_unmade(facts, service, one)).collect();
    let tries = tries(facts, &made);
    let is_spent = tries.len() >= TRIES;
    let is_below = facts.live() < facts.spec.weight_at(course.cursor);
    let is_held = is_in_play && is_spent && is_below;
    let first_to_go = if is_held { tries.iter().rev().nth(TRIES - 1) } else { tries.last() };
    let again = first_to_go.filter(|_| is_held || is_contested).map(|at| facts.after(*at, WINDOW));
    let known = recent.last().map(|last| last.by.clone()).unwrap_or_default();
    Contest {
        is_reassert: is_in_play && !is_spent,
        is_held,
        again: again.filter(|at| *at > facts.now && course.stage == Stage::Canary),
        is_update: course.stage == Stage::Canary,
        is_recent: !tries.is_empty(),
        by: service.last_writer.clone().filter(|_| is_lowered || is_others).unwrap_or(known),
    }
}

/// The status says that the weights are contested.
pub(super) fn is_known(facts: &Facts<'_>) -> bool {
    facts.memory.condition(KIND).is_some_and(|condition| condition.status == ConditionStatus::True)
}

fn recent<'a>(facts: &Facts<'a>) -> impl Iterator<Item = &'a Reassert> {
    let all = facts.observed.record.iter().flat_map(|record| &record.reasserts);
    all.filter(|one| is_recent(facts, one.at))
}

fn is_recent(facts: &Facts<'_>, at: Timestamp) -> bool {
    // One that lies in the future was noted before the clock was set back: it counts for nothing.
    at <= facts.now && facts.now < facts.after(at, WINDOW)
}

/// When weights were put back within the window, oldest first: by the record, which outlives the process, and by the
/// process, which knows it also where no record could be written. Neither need have all: a record may be refused, and
/// the answer to what was put back be lost.
fn tries(facts: &Facts<'_>, recorded: &[&Reassert]) -> Vec<Timestamp> {
    let own = facts.observed.exposure.put_back.iter().copied().filter(|at| is_recent(facts, *at));
    let mut own: Vec<Timestamp> = own.collect();
    let mut tries = vec![];
    for one in recorded {
        let is_same = |own: &Timestamp| one.at <= *own && *own < facts.after(one.at, ANSWERED_WITHIN);
        if let Some(known) = own.iter().position(is_same) {
            own.remove(known);
        }
        tries.push(one.at);
    }
    tries.extend(own);
    tries.sort();
    tries
}

/// Noted by a process that died before it was done: nobody has written since. Of two writes within a second it is taken for
/// the same one.
fn is_unmade(facts: &Facts<'_>, service: &VirtualService, one: &Reassert) -> bool {
    let is_same = one.found == facts.live() && one.virtual_service == service.key.name;
    let is_known_made = |at: &Timestamp| super::conditions::whole_second(*at) >= one.at;
    is_same
        && one.at < facts.observed.exposure.since
        && !service.is_last_written_by_us
        && service.last_written_at.is_some_and(|at| at <= one.at)
        && !facts.observed.exposure.put_back.iter().any(is_known_made)
}

/// The canary has less than when the status was written, or than the raise gave that is not booked yet, and it was not us
/// who took it.
fn is_lowered(facts: &Facts<'_>, service: &VirtualService) -> bool {
    let canary = facts.exposure.leads_to(Side::Canary);
    let booked = facts.memory.weights.as_ref().map(|weights| &weights.canary);
    let is_less = booked.is_some_and(|booked| {
        booked.hash.is_some() && booked.hash.as_ref() == canary && facts.live() < booked.weight
    });
    (is_less || is_below_raise(facts))
        && service.last_writer.is_some()
        && !(service.is_last_written_by_us && has_shed(facts))
}

/// Somebody else wrote the routes last, in this update, and not after a shed of ours: what they found low is not what they
/// lowered. While nothing may be raised the status comes to say what they left, so the weight that the steps gave is what it is
/// to be compared with. A full promotion jumps over steps that never gave theirs. What was written since the version's
/// ReplicaSet was made counts as in this update; where the version came back that is too much, which costs a try and no more.
fn is_last_written_by_others(facts: &Facts<'_>, service: &VirtualService) -> bool {
    service.last_writer.is_some()
        && !service.is_last_written_by_us
        && !facts.memory.promote_full
        && newest(facts, &Action::Shed) <= newest(facts, &Action::Weights)
        && facts.new.is_some_and(|new| service.last_written_at.is_some_and(|at| at > new.created))
}

/// Where the newest attempt of its kind is among the last ones.
fn newest(facts: &Facts<'_>, action: &Action) -> Option<usize> {
    facts.observed.last.iter().rposition(|last| last.action == *action)
}

/// Somebody was faster than our look at what we had raised: the weight is below it before the status could say so.
fn is_below_raise(facts: &Facts<'_>) -> bool {
    let raise = newest(facts, &Action::Weights);
    let raise = raise.filter(|at| facts.observed.last.get(*at).is_some_and(Attempt::is_success));
    let is_unbooked = raise.is_some() && raise > newest(facts, &Action::Status);
    let steps = facts.spec.steps.len();
    let raised_to = facts.spec.weight_at(Cursor::parse(facts.memory.step_index, steps));
    let leads = facts.exposure.leads_to(Side::Canary);
    is_unbooked && leads.is_some() && leads == facts.new.map(|new| &new.hash) && facts.live() < raised_to
}

/// Whether a shed of ours may be among the writes of the last second.
fn has_shed(facts: &Facts<'_>) -> bool {
    let age = |at: Timestamp| facts.now.duration_since(at).as_secs();
    // After a restart nobody knows: then it counts as ours, which costs a try and no more.
    let is_young = age(facts.observed.exposure.since) < 2;
    is_young || facts.observed.last.iter().any(|last| last.action == Action::Shed && age(last.at) < 2)
}

/// The record's list with the one that this pass adds.
pub(super) fn note(facts: &Facts<'_>, course: &Course, target: Weight, record: &mut Record) {
    let live = facts.live();
    let Some(service) = facts.observed.virtual_service.as_ref() else { return };
    if !course.contest.is_reassert || target <= live {
        return;
    }
    record.reasserts.retain(|one| !(is_recent(facts, one.at) && is_unmade(facts, service, one)));
    record.reasserts.push(Reassert {
        at: super::conditions::whole_second(facts.now),
        virtual_service: service.key.name.clone(),
        found: live,
        set: target,
        by: super::conditions::bounded(&course.contest.by, 128),
    });
    let surplus = record.reasserts.len().saturating_sub(Record::KEPT_REASSERTS);
    record.reasserts.drain(..surplus);
}

impl Contest {
    /// The condition's status and message, where it is to be written.
    pub(super) fn condition(&self, facts: &Facts<'_>) -> Option<(ConditionStatus, String)> {
        if self.is_held {
            return Some((ConditionStatus::True, self.message(facts)));
        }
        let is_over = is_known(facts) && !(self.is_update && self.is_recent);
        let why = if self.is_update {
            "Nobody else has lowered the weight for 5 minutes"
        } else {
            "The update is over"
        };
        is_over.then(|| (ConditionStatus::False, why.to_owned()))
    }

    /// What to tell in an event, where this pass acts on another hand.
    pub(super) fn event(&self, facts: &Facts<'_>, target: Weight, is_cut: bool) -> Option<String> {
        let live = facts.live();
        if is_cut {
            let by =
                facts.observed.virtual_service.as_ref().and_then(|service| service.last_writer.as_deref());
            return Some(format!(
                "{} raised the canary's weight to {live} %: cut to {target} %",
                named(by.unwrap_or_default())
            ));
        }
        let is_put_back = self.is_reassert && target > live;
        is_put_back.then(|| {
            format!("{} lowered the canary's weight to {live} %: put back to {target} %", named(&self.by))
        })
    }

    /// What is waited for.
    pub(super) fn wait(&self) -> Option<Wait> {
        self.is_held.then_some(Wait::Contest)
    }

    fn message(&self, facts: &Facts<'_>) -> String {
        let name = facts
            .observed
            .virtual_service
            .as_ref()
            .map(|service| service.key.name.as_str())
            .unwrap_or_default();
        format!(
            "{by} keeps lowering the canary's weight in VirtualService `{name}`: the rollout holds at what it left and \
             tries again each 5 minutes. To end this, let it ignore the weights. Argo CD: `ignoreDifferences` with \
             jqPathExpressions `.spec.http[].route[].weight` and the sync option RespectIgnoreDifferences=true. Flux: \
             `spec.ignore` with these paths in the Kustomization. Or abort the rollout",
            by = named(&self.by),
        )
    }
}

fn named(by: &str) -> String {
    if by.is_empty() { "Somebody else".to_owned() } else { format!("`{by}`") }
}
