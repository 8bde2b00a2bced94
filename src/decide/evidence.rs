//! Why a version was rejected, put together for the record, the mark and the Git lane.

use jiff::Timestamp;

use super::{
    analysis::{self, Cause, Finished},
    conditions::bounded,
    course::{Abort, Course},
    facts::Facts,
    left,
    mark::ShedMark,
    observed::ReplicaSet,
    plan::{Action, Intent, RecordWrite, Tell},
    record::{AbortCause, AbortRecord, Provenance, Record, Version},
    report::Stage,
    runs::{Analyses, Looked},
};
use crate::domain::{PodHash, Weight, verdict::Verdict};

/// How many promotions and how many intents a record keeps.
const KEPT_PROMOTIONS: usize = 10;
const KEPT_INTENTS: usize = 20;

/// What a run's end means for the Rollout.
pub(super) fn cause(finished: &Finished) -> AbortCause {
    match (finished.cause, finished.verdict) {
        (Cause::MetricFailed, Verdict::Failed) => AbortCause::MetricFailed,
        (Cause::NoData, _) => AbortCause::NoData,
        (
            Cause::MetricFailed
            | Cause::Passed
            | Cause::Undecided
            | Cause::NotMeasurable
            | Cause::InvalidSpec,
            _,
        ) => AbortCause::AnalysisError,
    }
}

/// The mark that the shed of this pass leaves, when the pass acts on a verdict that is not booked yet.
pub(super) fn mark(facts: &Facts<'_>, course: &Course, analyses: &Analyses<'_>) -> Option<ShedMark> {
    let run = course.abort.as_ref()?.run.as_ref()?;
    let looked = analyses.all.iter().find(|looked| looked.owned.run.name == *run)?;
    // A verdict that is in the run already needs no mark: a restarted controller reads it there.
    if looked.owned.run.status.phase.is_done() {
        return None;
    }
    let finished = looked.step.finished.as_ref()?;
    let evidence = finished.evidence.as_ref()?;
    Some(ShedMark {
        hash: facts.new?.hash.clone(),
        run: looked.owned.run.uid.clone(),
        limit: bounded(&evidence.limit, 200),
        weight_before: facts.live(),
        verdict: analysis::Mark {
            metric: evidence.metric.clone(),
            verdict: finished.verdict,
            value: bounded(&evidence.value, 100),
            message: String::new(),
            no_data: finished.cause == Cause::NoData,
            at: evidence.failed_at?,
        },
    })
}

/// The record after this pass; `None` when it cannot be written or does not change.
pub(super) fn record(
    facts: &Facts<'_>,
    course: &Course,
    analyses: &Analyses<'_>,
    target: Weight,
) -> Option<RecordWrite> {
    let observed = facts.observed;
    if !observed.records_available {
        return None;
    }
    let old = observed.record.clone().unwrap_or_default();
    let mut new = old.clone();
    if let Some(abort) = abort_record(facts, course, analyses, &old).or_else(|| course.left.clone()) {
        new.abort = Some(abort);
    }
    if let Some(set) = stable_after(facts, course)
        && new.provenance.last().is_none_or(|last| last.version.hash != set.hash)
    {
        new.provenance
            .push(Provenance { version: version(set), at: super::conditions::whole_second(facts.now) });
        let surplus = new.provenance.len().saturating_sub(KEPT_PROMOTIONS);
        new.provenance.drain(..surplus);
    }
    super::contest::note(facts, course, target, &mut new);
    for name in made_intents(facts) {
        if !new.self_heals.contains(&name) {
            new.self_heals.push(name);
        }
    }
    let surplus = new.self_heals.len().saturating_sub(KEPT_INTENTS);
    new.self_heals.drain(..surplus);
    (new != old).then_some(RecordWrite { old, new })
}

/// The version that is stable after this pass: what a revert leads back to.
fn stable_after<'a>(facts: &Facts<'a>, course: &Course) -> Option<&'a ReplicaSet> {
    let hash = course.memory.stable.as_ref()?;
    facts.observed.replica_sets.iter().find(|set| set.hash == *hash)
}

/// Intents that the API server has confirmed: made by us just now, or there already.
fn made_intents(facts: &Facts<'_>) -> Vec<String> {
    let made = facts.observed.last.iter().filter(|attempt| {
        attempt.is_success() || (attempt.status == 409 && attempt.reason == "AlreadyExists")
    });
    made.filter_map(
        |attempt| if let Action::SelfHeal(name) = &attempt.action { Some(name.clone()) } else { None },
    )
    .collect()
}

/// Asks the Git lane, as long as the record does not list the request as made.
pub(super) fn intents(facts: &Facts<'_>, course: &Course, record: Option<&Record>) -> Vec<Tell> {
    let Some((record, abort)) = record.and_then(|record| Some((record, record.abort.as_ref()?))) else {
        return vec![];
    };
    let is_current = course.stage == Stage::Aborted
        && facts.new.is_some_and(|new| new.hash == abort.bad.hash)
        && course.memory.aborted_at == Some(super::conditions::whole_second(abort.at));
    let is_due = is_current || left::is_news(facts, course.memory.stable.as_ref(), abort);
    let name = format!("{}-{}", facts.observed.rollout.key.name, abort.bad.hash);
    if !is_due || !abort.cause.may_reach_git() || record.self_heals.contains(&name) {
        return vec![];
    }
    vec![Tell::SelfHeal(Box::new(Intent { name, abort: abort.clone() }))]
}

/// The abort of this pass, or one that was booked without its record (the record's write failed, or a crash came
/// between the two): then it is put together again from the run.
fn abort_record(
    facts: &Facts<'_>,
    course: &Course,
    analyses: &Analyses<'_>,
    old: &Record,
) -> Option<AbortRecord> {
    if course.stage != Stage::Aborted {
        return None;
    }
    let new = facts.new?;
    let at = course.memory.aborted_at?;
    let is_known = old
        .abort
        .as_ref()
        .is_some_and(|known| known.bad.hash == new.hash && super::conditions::whole_second(known.at) == at);
    if is_known {
        return None;
    }
    let why = match &course.abort {
        Some(abort) => (abort.cause, decided_by(abort, analyses)),
        None => remembered_cause(facts, analyses, &new.hash),
    };
    let record = put_together(facts, new, why, at)?;
    let weight = record.weight.max(facts.exposure.of_hash(&new.hash)).max(reached(facts));
    Some(AbortRecord { weight, ..record })
}

/// What there is to record of the rejection of `bad`, with the largest weight that the mark and the status know of.
pub(super) fn put_together(
    facts: &Facts<'_>,
    bad: &ReplicaSet,
    (cause, run): (AbortCause, Option<&Looked<'_>>),
    at: Timestamp,
) -> Option<AbortRecord> {
    let mark = facts.observed.virtual_service.as_ref().and_then(|service| service.mark.as_ref());
    let marked = mark.filter(|mark| mark.hash == bad.hash).map(|mark| mark.weight_before);
    let canary = facts.memory.weights.as_ref().map(|weights| &weights.canary);
    let booked = canary.filter(|canary| canary.hash.as_ref() == Some(&bad.hash)).map(|canary| canary.weight);
    Some(AbortRecord {
        cause,
        bad: version(bad),
        good: version(facts.stable?),
        weight: marked.max(booked).unwrap_or(Weight::ZERO),
        started_at: Some(bad.created),
        at,
        run: run.map(|looked| looked.owned.run.name.clone()),
        evidence: run.and_then(|looked| looked.step.finished.as_ref()?.evidence.clone()),
    })
}

/// The weight that the steps before the present one had reached.
fn reached(facts: &Facts<'_>) -> Weight {
    if facts.memory.abort {
        return Weight::ZERO;
    }
    facts.spec.weight_before(super::spec::Cursor::parse(facts.memory.step_index, facts.spec.steps.len()))
}

fn decided_by<'a>(abort: &Abort, analyses: &'a Analyses<'a>) -> Option<&'a Looked<'a>> {
    analyses.all.iter().find(|looked| Some(&looked.owned.run.name) == abort.run.as_ref())
}

/// Reads back from the status why the version was rejected.
pub(super) fn remembered_cause<'a>(
    facts: &Facts<'_>,
    analyses: &'a Analyses<'a>,
    hash: &PodHash,
) -> (AbortCause, Option<&'a Looked<'a>>) {
    let said =
        facts.memory.condition("Progressing").map(|condition| condition.message.as_str()).unwrap_or_default();
    if said.contains("has timed out progressing") {
        return (AbortCause::ProgressDeadline, None);
    }
    if !said.contains("analysis phase error/failed") {
        return (AbortCause::UserAbort, None);
    }
    let bad = |looked: &&Looked<'_>| {
        looked.owned.hash.as_ref() == Some(hash)
            && looked.step.status.phase.verdict().is_some_and(|verdict| verdict >= Verdict::Error)
    };
    let newest = analyses.all.iter().filter(bad).max_by_key(|looked| looked.step.status.completed_at);
    let cause =
        newest.and_then(|looked| looked.step.finished.as_ref()).map_or(AbortCause::AnalysisError, cause);
    (cause, newest)
}

fn version(set: &ReplicaSet) -> Version {
    Version { hash: set.hash.clone(), images: set.images.clone() }
}
