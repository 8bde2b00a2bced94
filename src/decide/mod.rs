//! The decisions: what is observed goes in, a plan comes out. No I/O. No clock. No async.
//!
//! `step` is total and deterministic: the same observation at the same time gives the same plan, and carrying a plan
//! out and observing again leads to a plan that does nothing new.

pub mod analysis;
mod conditions;
mod contest;
mod course;
mod events;
mod evidence;
mod exposure;
mod facts;
pub mod invariants;
mod left;
pub mod mark;
pub mod memory;
pub mod observed;
pub mod plan;
pub mod record;
mod references;
mod refused;
pub mod report;
mod runs;
mod services;
pub mod spec;
#[cfg(test)]
mod tests;
mod traffic;
mod workload;

use jiff::{SignedDuration, Timestamp};

use self::{
    course::Course,
    facts::Facts,
    observed::{Observed, Side},
    plan::{Owner, Plan, Prepare, Remember, Shed, StatusWrite, Wake},
    report::{Report, Stage, Wait},
    runs::Analyses,
    spec::Spec,
    traffic::Limits,
};
use crate::domain::{Key, PodHash, Weight};

/// The name of a Rollout's ReplicaSet.
pub fn set_name(rollout: &Key, hash: &PodHash) -> String {
    format!("{}-{hash}", rollout.name)
}

/// When to look again at what should have come by now.
const AGAIN: SignedDuration = SignedDuration::from_secs(1);

/// Decides one pass for one Rollout.
pub fn step(observed: &Observed, now: Timestamp) -> Plan {
    if observed.rollout.is_deleted {
        return Plan::idle(owner(observed), Report::quiet(Stage::Gone));
    }
    match &observed.rollout.spec {
        Ok(spec) => accepted(observed, spec, now),
        Err(error) => refused::step(observed, error, now),
    }
}

fn owner(observed: &Observed) -> Owner {
    let rollout = &observed.rollout;
    Owner {
        key: rollout.key.clone(),
        uid: rollout.uid.clone(),
        resource_version: rollout.resource_version.clone(),
    }
}

fn accepted(observed: &Observed, spec: &Spec, now: Timestamp) -> Plan {
    let facts = Facts::of(observed, spec, now);
    let analyses = runs::look(&facts);
    let mut course = course::course(&facts, &analyses);
    course.contest = contest::look(&facts, &course);
    course.left = left::rejection(&facts, &analyses);
    course.mark_is_dead &= course.left.is_none();
    conditions::complete(&facts, &mut course);
    let limits = traffic::limits(&facts, &course);
    let shed = shed(&facts, &course, &analyses, &limits);
    let ended = runs::ends(&course, &analyses);

    let mut plan = Plan::idle(owner(observed), report(&facts, &course, &limits));
    plan.memory = remember(&facts, &course, &analyses, &limits);
    plan.measure = analyses.wants(&ended);
    let mut wakes: Vec<Wake> = analyses.wakes().collect();
    wakes.extend(waits(&facts, &course));

    let work = workload::workload(&facts, &course, shed.weights.is_some());
    plan.prepare.extend(revisions(&facts, &work));
    plan.prepare.extend(work.prepare);
    wakes.extend(work.wakes);
    plan.prepare.extend(ended.iter().cloned().map(Prepare::TerminateRun));
    if references::first_error(&facts).is_none() {
        let (switches, waiting) = services::switches(&facts, &course);
        plan.report.waiting.extend(waiting);
        plan.prepare.extend(runs::starts(&facts, &course, &analyses));
        plan.prepare.extend(switches);
        if shed.weights.is_none() {
            plan.expose.extend(traffic::expose(&facts, &limits, &course));
        }
        plan.retire = work.retire;
    } else {
        // Pods in use keep their size; nothing is made, moved or taken away for a rollout that cannot go on.
        plan.prepare.retain(|action| !matches!(action, Prepare::CreateReplicaSet(_)));
        plan.report.waiting.push(Wait::Object);
    }
    plan.retire.extend(runs::deletions(&facts, &course, &analyses));
    if plan.expose.is_empty() {
        plan.retire.extend(traffic::release(&facts, &course));
    }
    plan.shed = shed;
    plan.tell = events::events(&facts, &course, &analyses, &plan);
    plan.tell.extend(events::of_contest(&facts, &course, &limits, &plan));
    let record = plan.memory.record.as_ref().map(|write| &write.new).or(observed.record.as_ref());
    plan.tell.extend(evidence::intents(&facts, &course, record));
    plan.wake = earliest(now, wakes, plan.memory.rollout.is_some());
    plan
}

fn shed(facts: &Facts<'_>, course: &Course, analyses: &Analyses<'_>, limits: &Limits) -> Shed {
    let mark = evidence::mark(facts, course, analyses);
    let weights = traffic::shed(facts, limits, mark);
    let grow = weights.as_ref().and_then(|_| workload::grow(facts, course));
    Shed { weights, grow }
}

fn remember(facts: &Facts<'_>, course: &Course, analyses: &Analyses<'_>, limits: &Limits) -> Remember {
    let rollout = (course.memory != *facts.memory)
        .then(|| StatusWrite { old: facts.memory.clone(), new: course.memory.clone() });
    // A version that has no ReplicaSet yet leaves the status as it is: it is booked once it is seen.
    let rollout = rollout.filter(|_| course.stage != Stage::Creating || is_worth_saying(facts, course));
    Remember {
        runs: analyses.writes(),
        record: evidence::record(facts, course, analyses, limits.target),
        rollout,
    }
}

/// While a ReplicaSet is awaited only an invalid reference is news, or a name that is taken.
fn is_worth_saying(facts: &Facts<'_>, course: &Course) -> bool {
    course.memory.condition("InvalidSpec") != facts.memory.condition("InvalidSpec")
        || course.memory.collision_count != facts.memory.collision_count
}

/// `spec.replicas` and revision numbers, where they are absent or behind. A version that grows in this pass gets its number
/// in the next one: each of the two requests would make the other's version of it an old one.
fn revisions(facts: &Facts<'_>, work: &workload::Workload) -> Vec<Prepare> {
    let mut prepare = vec![];
    if facts.spec.replicas_absent {
        prepare.push(Prepare::WriteReplicas);
    }
    let Some(new) = facts.new else { return prepare };
    let newest_other =
        facts.observed.replica_sets.iter().filter(|set| set.uid != new.uid).map(|set| set.revision).max();
    let revision =
        newest_other.map_or(new.revision.max(1), |other| new.revision.max(other.saturating_add(1)));
    let grows = |action: &Prepare| matches!(action, Prepare::ScaleUp(up) if up.replica_set == new.name);
    if revision != new.revision && !work.prepare.iter().any(grows) {
        prepare.push(Prepare::Annotate(plan::AnnotateReplicaSet {
            name: new.name.clone(),
            resource_version: new.resource_version.clone(),
            revision: Some(revision),
            desired: None,
            deadline: None,
        }));
    }
    let known = facts.observed.rollout.annotations.get("rollout.argoproj.io/revision");
    if known.map(String::as_str) != Some(revision.to_string().as_str()) {
        prepare.push(Prepare::WriteRevision(revision));
    }
    prepare
}

/// Times that the story itself waits for.
fn waits(facts: &Facts<'_>, course: &Course) -> Vec<Wake> {
    let mut wakes = vec![];
    if let Some(spec::Step::Pause { duration: Some(duration), .. }) = facts.spec.step(course.cursor) {
        let pause =
            course.memory.pauses.iter().find(|pause| pause.reason == memory::PauseReason::CanaryPauseStep);
        // One that is over and yet not complete waits for something else: metrics, a person, another hand.
        let ends = pause.map(|pause| facts.after(pause.since, *duration)).filter(|at| *at > facts.now);
        wakes.extend(ends.map(|at| Wake { at, reason: Wait::PauseEnds }));
    }
    for side in [Side::Stable, Side::Canary] {
        let began = facts.after(facts.observed.exposure.since, facts.delay());
        let idle = facts.idle_at(side).map(|at| at.max(began)).filter(|at| *at > facts.now);
        wakes.extend(idle.map(|at| Wake { at, reason: Wait::DataPlane }));
    }
    let selected =
        facts.observed.exposure.since(|seen| seen.stable_leads_to == facts.exposure.stable_leads_to);
    let known = selected.map(|since| facts.after(since.max(facts.observed.exposure.since), facts.delay()));
    wakes.extend(known.filter(|at| *at > facts.now).map(|at| Wake { at, reason: Wait::DataPlane }));
    wakes.extend(course.contest.again.map(|at| Wake { at, reason: Wait::Contest }));
    if course.stage == Stage::Canary || course.stage == Stage::Promoted {
        let second = std::time::Duration::from_secs(1);
        let deadline =
            conditions::deadline(facts).map(|at| facts.after(at, second)).filter(|at| *at > facts.now);
        wakes.extend(deadline.map(|at| Wake { at, reason: Wait::Deadline }));
    }
    wakes
}

/// The first time to look again. Something that was remembered is looked at again at once; a time that has come and has
/// changed nothing is no reason to look in a circle.
fn earliest(now: Timestamp, wakes: Vec<Wake>, has_remembered: bool) -> Option<Wake> {
    let own = has_remembered.then_some(Wake { at: now, reason: Wait::OwnWrite });
    let soonest = now.saturating_add(AGAIN).unwrap_or(Timestamp::MAX);
    let wakes =
        wakes.into_iter().map(|wake| Wake { at: if wake.at > now { wake.at } else { soonest }, ..wake });
    wakes.chain(own).min_by_key(|wake| (wake.at, wake.reason))
}

fn report(facts: &Facts<'_>, course: &Course, limits: &Limits) -> Report {
    let mut waiting = course.waiting.clone();
    waiting.extend(limits.waiting.iter().copied());
    Report {
        stage: course.stage,
        live: facts.live(),
        target: limits.target,
        ceiling: limits.ceiling,
        waiting,
        notes: course.outages.clone(),
    }
}

impl Report {
    /// Nothing is live and nothing is wanted.
    pub(crate) fn quiet(stage: Stage) -> Self {
        Self {
            stage,
            live: Weight::ZERO,
            target: Weight::ZERO,
            ceiling: Weight::ZERO,
            waiting: vec![],
            notes: vec![],
        }
    }
}
