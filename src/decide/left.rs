//! A version that was rejected and left behind at once: its traffic was taken away, then the process died, and before it
//! was back somebody asked for another version. What was decided is still recorded and told.

use jiff::SignedDuration;

use super::{
    conditions::whole_second, evidence, facts::Facts, observed::ReplicaSet, record::AbortRecord,
    runs::Analyses,
};
use crate::domain::{PodHash, verdict::Verdict};

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

/// Whether the Git lane is still to be told of it.
pub(super) fn is_news(facts: &Facts<'_>, stable: Option<&PodHash>, abort: &AbortRecord) -> bool {
    facts.new.is_some_and(|new| new.hash != abort.bad.hash)
        && stable == Some(&abort.good.hash)
        && facts.now.duration_since(abort.at).abs() < NEWS
}

/// The ReplicaSet of a version that is neither the one that the spec asks for, which may have none yet, nor the stable one.
pub(super) fn set<'a>(facts: &Facts<'a>, hash: &PodHash) -> Option<&'a ReplicaSet> {
    facts.others.iter().find(|set| set.hash == *hash).copied()
}

/// The status says that it was aborted, and what comes next forgets that.
fn booked(facts: &Facts<'_>, analyses: &Analyses<'_>) -> Option<AbortRecord> {
    let at = facts.memory.aborted_at.filter(|_| facts.memory.abort)?;
    let bad = set(facts, facts.memory.current.as_ref()?)?;
    evidence::put_together(facts, bad, evidence::remembered_cause(facts, analyses, &bad.hash), at)
}

/// The mark says that it was shed for a verdict that no status knows.
fn marked(facts: &Facts<'_>, analyses: &Analyses<'_>) -> Option<AbortRecord> {
    let mark = facts.observed.virtual_service.as_ref()?.mark.as_ref()?;
    let bad = set(facts, &mark.hash)?;
    let run = analyses.all.iter().find(|looked| mark.is_of(looked.owned))?;
    let is_bad = |verdict| matches!(verdict, Verdict::Failed | Verdict::Error);
    let finished = run.step.finished.as_ref().filter(|finished| is_bad(finished.verdict))?;
    let why = (evidence::cause(finished), Some(run));
    evidence::put_together(facts, bad, why, whole_second(mark.verdict.at))
}
