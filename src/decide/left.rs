//! A version that was rejected and left behind at once: its traffic was taken away, then the process died, and before it
//! was back somebody asked for another version. What was decided is still recorded and told.

use jiff::{SignedDuration, Timestamp};

use super::{
    conditions::whole_second,
    evidence,
    facts::Facts,
    mark::ShedMark,
    observed::{OwnedRun, ReplicaSet},
    record::{AbortCause, AbortRecord},
    runs::{Analyses, Looked},
};
use crate::domain::{PodHash, Weight, verdict::Verdict};

/// A rejection older than this is not brought to the Git lane any more: whoever has worked on since knows better.
const NEWS: SignedDuration = SignedDuration::from_hours(1);

/// The rejection of a version that the spec no longer asks for, as long as the record does not know it.
pub(super) fn rejection(facts: &Facts<'_>, analyses: &Analyses<'_>) -> Option<AbortRecord> {
    if !facts.observed.records_available {
        return None;
    }
    let found = booked(facts, analyses).or_else(|| marked(facts, analyses))?;
    let known = facts.observed.record.as_ref().and_then(|record| record.abort.as_ref());
    let is_known = known.is_some_and(|known| whole_second(known.at) >= found.at);
    (!is_known).then_some(found)
}

/// True where the run is of a version that was left behind, and the mark says how it ended.
pub(super) fn is_marked(facts: &Facts<'_>, owned: &OwnedRun, mark: &ShedMark) -> bool {
    mark.run == owned.run.uid && owned.hash.as_ref() == Some(&mark.hash) && left(facts, &mark.hash).is_some()
}

/// Whether the Git lane is still to be told of it.
pub(super) fn is_news(facts: &Facts<'_>, stable: Option<&PodHash>, abort: &AbortRecord) -> bool {
    facts.new.is_some_and(|new| new.hash != abort.bad.hash)
        && stable == Some(&abort.good.hash)
        && facts.now.duration_since(abort.at).abs() < NEWS
}

/// The version is neither the one that the spec asks for, which may have no ReplicaSet yet, nor the stable one.
fn left<'a>(facts: &Facts<'a>, hash: &PodHash) -> Option<&'a ReplicaSet> {
    facts.others.iter().find(|set| set.hash == *hash).copied()
}

/// The status says that it was aborted, and what comes next forgets that.
fn booked(facts: &Facts<'_>, analyses: &Analyses<'_>) -> Option<AbortRecord> {
    let at = facts.memory.aborted_at.filter(|_| facts.memory.abort)?;
    let hash = facts.memory.current.as_ref()?;
    let weights = facts.memory.weights.as_ref().filter(|weights| weights.canary.hash.as_ref() == Some(hash));
    let weight = weights.map_or(Weight::ZERO, |weights| weights.canary.weight);
    let (cause, run) = evidence::remembered_cause(facts, analyses, hash);
    put_together(facts, hash, (cause, run), weight, at)
}

/// The mark says that it was shed for a verdict that no status knows.
fn marked(facts: &Facts<'_>, analyses: &Analyses<'_>) -> Option<AbortRecord> {
    let mark = facts.observed.virtual_service.as_ref()?.mark.as_ref()?;
    let run = analyses.all.iter().find(|looked| is_marked(facts, looked.owned, mark))?;
    let bad = |verdict| matches!(verdict, Verdict::Failed | Verdict::Error);
    let finished = run.step.finished.as_ref().filter(|finished| bad(finished.verdict))?;
    let why = (evidence::cause(finished), Some(run));
    put_together(facts, &mark.hash, why, mark.weight_before, whole_second(mark.verdict.at))
}

fn put_together(
    facts: &Facts<'_>,
    hash: &PodHash,
    (cause, run): (AbortCause, Option<&Looked<'_>>),
    weight: Weight,
    at: Timestamp,
) -> Option<AbortRecord> {
    let bad = left(facts, hash)?;
    Some(AbortRecord {
        cause,
        bad: evidence::version(bad),
        good: evidence::version(facts.stable?),
        weight,
        started_at: Some(bad.created),
        at,
        run: run.map(|looked| looked.owned.run.name.clone()),
        evidence: run.and_then(|looked| looked.step.finished.as_ref()?.evidence.clone()),
    })
}
