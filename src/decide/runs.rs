//! The analyses of a Rollout: which run is current, what it says, which ones to start, to end and to delete.

use std::collections::BTreeSet;

use super::{
    analysis::{self, Finished, OutageMode, RunStep},
    course::Course,
    facts::Facts,
    left,
    memory::{PauseReason, RunStatus},
    observed::{OwnedRun, Slot},
    plan::{About, Action, Event, EventKind, NewRun, Prepare, Retire, RunWrite, Tell, Wake},
    report::{Stage, Wait},
    spec::Cursor,
};
use crate::domain::{Uid, verdict::Verdict};

/// One run with what this pass makes of it.
pub(super) struct Looked<'a> {
    pub(super) owned: &'a OwnedRun,
    pub(super) step: RunStep,
}

/// All runs of a Rollout, looked at.
pub(super) struct Analyses<'a> {
    pub(super) all: Vec<Looked<'a>>,
    background: Option<usize>,
    inline: Option<usize>,
}

/// What a current run says.
pub(super) struct Said<'a> {
    pub(super) slot: Slot,
    pub(super) run: &'a Looked<'a>,
    pub(super) finished: &'a Finished,
}

/// Looks at every run; a run that a shed mark speaks for is booked from the mark.
pub(super) fn look<'a>(facts: &Facts<'a>) -> Analyses<'a> {
    let observed = facts.observed;
    let none = std::collections::BTreeMap::new();
    let all: Vec<Looked<'a>> = observed
        .runs
        .iter()
        .filter(|owned| !owned.is_deleted)
        .map(|owned| {
            let samples = observed.samples.get(&owned.run.uid).unwrap_or(&none);
            Looked { owned, step: one(facts, owned, samples, observed.settings.outage) }
        })
        .collect();
    let hash = facts.new.map(|new| &new.hash);
    // Whose end we have asked for, whatever the answer was: a view that does not show it yet is no reason to count on it.
    let is_ended = |looked: &Looked<'_>| {
        let end = Action::TerminateRun(looked.owned.run.name.clone());
        looked.owned.run.terminate || observed.last.iter().any(|last| last.action == end)
    };
    let find = |name: Option<&RunStatus>, slot: Option<Slot>| {
        let named =
            all.iter().position(|looked| Some(&looked.owned.run.name) == name.map(|status| &status.name));
        // One that was made but is not remembered yet (a crash, or the pass before this one), where none is
        // remembered or the remembered one has ended before it was made.
        let is_going = |looked: &Looked<'_>| {
            slot.is_some()
                && looked.owned.slot == slot
                && looked.owned.hash.as_ref() == hash
                && !looked.owned.run.status.phase.is_done()
                && !is_ended(looked)
        };
        let going = all.iter().rposition(is_going);
        let named_is_done =
            named.and_then(|at| all.get(at)).is_none_or(|looked| looked.owned.run.status.phase.is_done());
        if named_is_done { going.or(named) } else { named }
    };
    let step = match Cursor::parse(facts.memory.step_index, facts.spec.steps.len()) {
        Cursor::At(index) => Some(Slot::Step(index)),
        Cursor::Done => None,
    };
    let is_counted = !facts.is_promoted() && !facts.is_changed() && !facts.memory.abort;
    let background = find(facts.memory.background_run.as_ref(), is_counted.then_some(Slot::Background));
    let inline = find(facts.memory.step_run.as_ref(), step.filter(|_| is_counted));
    Analyses { all, background, inline }
}

fn one(
    facts: &Facts<'_>,
    owned: &OwnedRun,
    samples: &std::collections::BTreeMap<String, analysis::Sample>,
    outage: OutageMode,
) -> RunStep {
    let step = analysis::step(&owned.run, samples, facts.now, outage);
    let Some(mark) = facts.observed.virtual_service.as_ref().and_then(|service| service.mark.as_ref()) else {
        return step;
    };
    let is_current = facts.new.is_some_and(|new| new.hash == mark.hash);
    let is_over =
        is_current && facts.live() == crate::domain::Weight::ZERO || left::set(facts, &mark.hash).is_some();
    let is_booked = step.status.phase.is_done() || owned.run.status.phase.is_done();
    if !mark.is_of(owned) || !is_over || is_booked {
        return step;
    }
    analysis::book_failed(&owned.run, &mark.verdict, facts.now).unwrap_or(step)
}

impl<'a> Analyses<'a> {
    pub(super) fn background(&self) -> Option<&Looked<'a>> {
        self.background.and_then(|at| self.all.get(at))
    }

    pub(super) fn inline(&self) -> Option<&Looked<'a>> {
        self.inline.and_then(|at| self.all.get(at))
    }

    /// What the current runs have come to, the inline one first.
    pub(super) fn said(&self) -> impl Iterator<Item = Said<'_>> {
        let inline = self.inline().and_then(|run| Some((run.owned.slot?, run)));
        let background = self.background().map(|run| (Slot::Background, run));
        let both = inline.into_iter().chain(background);
        both.filter_map(|(slot, run)| Some(Said { slot, run, finished: run.step.finished.as_ref()? }))
    }

    /// Metrics of the current runs that decide and whose backend does not answer.
    pub(super) fn outages(&self) -> Vec<String> {
        let current = [self.inline(), self.background()];
        let runs = current.into_iter().flatten().filter(|looked| looked.step.finished.is_none());
        runs.flat_map(|looked| &looked.step.outages)
            .filter(|outage| !outage.dry_run)
            .map(|outage| format!("metric `{}`: {}", outage.metric, outage.message))
            .collect()
    }

    /// The statuses to store.
    pub(super) fn writes(&self) -> Vec<RunWrite> {
        let changed = self.all.iter().filter(|looked| looked.step.status != looked.owned.run.status);
        changed
            .map(|looked| RunWrite {
                name: looked.owned.run.name.clone(),
                resource_version: looked.owned.resource_version.clone(),
                old: looked.owned.run.status.clone(),
                new: looked.step.status.clone(),
            })
            .collect()
    }

    /// The measurements that are wanted now; none of a run that this pass terminates.
    pub(super) fn wants(&self, ended: &BTreeSet<String>) -> BTreeSet<analysis::Want> {
        let going = self.all.iter().filter(|looked| !ended.contains(&looked.owned.run.name));
        going.flat_map(|looked| looked.step.wants.iter().cloned()).collect()
    }

    pub(super) fn wakes(&self) -> impl Iterator<Item = Wake> {
        self.all.iter().filter_map(|looked| looked.step.wake.as_ref()).map(|(at, why)| Wake {
            at: *at,
            reason: match why {
                analysis::RunWake::Measure { .. } | analysis::RunWake::Overdue { .. } => Wait::Measurement,
                analysis::RunWake::Expire => Wait::RunExpiry,
            },
        })
    }

    /// Events on the runs themselves.
    pub(super) fn events(&self) -> Vec<Tell> {
        let with_run =
            self.all.iter().flat_map(|looked| looked.step.events.iter().map(move |event| (looked, event)));
        with_run
            .map(|(looked, event)| {
                Tell::Event(Event {
                    about: About::Run {
                        name: looked.owned.run.name.clone(),
                        uid: Uid(looked.owned.run.uid.clone()),
                    },
                    kind: if event.is_warning() { EventKind::Warning } else { EventKind::Normal },
                    reason: event.reason(),
                    message: event.message(),
                })
            })
            .collect()
    }

    /// The run of this name, if there is one.
    fn named(&self, name: &str) -> Option<&Looked<'a>> {
        self.all.iter().find(|looked| looked.owned.run.name == name)
    }
}

/// What the status remembers of a run.
pub(super) fn remembered(looked: &Looked<'_>) -> RunStatus {
    let status = &looked.step.status;
    RunStatus { name: looked.owned.run.name.clone(), phase: status.phase, message: status.message.clone() }
}

/// Runs to start: the background run, and the inline one of the current step.
pub(super) fn starts(facts: &Facts<'_>, course: &Course, analyses: &Analyses<'_>) -> Vec<Prepare> {
    if course.stage != Stage::Canary || course.is_inconclusive() || course.memory.promote_full {
        return vec![];
    }
    let mut starts = vec![];
    if let Some(background) = facts.spec.background
        && has_come_to(course.cursor, background.starting_step)
        && is_served(facts, course)
        && needs_new(facts, course, analyses.background())
    {
        starts.extend(start(facts, analyses, Slot::Background));
    }
    if let Cursor::At(index) = course.cursor
        && facts.spec.step(course.cursor) == Some(&super::spec::Step::Analysis)
        && course.memory.pauses.is_empty()
        && needs_new(
            facts,
            course,
            analyses.inline().filter(|looked| looked.owned.slot == Some(Slot::Step(index))),
        )
    {
        starts.extend(start(facts, analyses, Slot::Step(index)));
    }
    starts
}

fn has_come_to(cursor: Cursor, step: usize) -> bool {
    cursor >= Cursor::At(step) || cursor == Cursor::Done
}

/// The background run waits for the canary's first traffic, where the steps mean it to have some: before that there
/// is nothing to measure, and "no data" would be said of a canary that nobody has asked anything.
fn is_served(facts: &Facts<'_>, course: &Course) -> bool {
    let Some(new) = facts.new else { return false };
    facts.spec.weight_at(course.cursor) == crate::domain::Weight::ZERO
        || facts.exposure.of_hash(&new.hash) > crate::domain::Weight::ZERO
}

/// No run yet; or the person who resumed after an inconclusive one wants a new answer; or a retry after an abort.
fn needs_new(facts: &Facts<'_>, course: &Course, current: Option<&Looked<'_>>) -> bool {
    let Some(current) = current else { return true };
    if course.is_resumed {
        return current.step.status.phase.verdict() == Some(Verdict::Inconclusive);
    }
    facts.memory.aborted_at.is_some() && !facts.memory.abort
}

fn start(facts: &Facts<'_>, analyses: &Analyses<'_>, slot: Slot) -> Option<Prepare> {
    let new = facts.new?;
    let template = facts.observed.analyses.get(&slot)?.as_ref().ok()?;
    let base = format!("{}-{}-{}", facts.observed.rollout.key.name, new.hash, new.revision);
    let base = match slot {
        Slot::Background => base,
        Slot::Step(index) => format!("{base}-{index}"),
    };
    let is_taken = |name: &str| {
        let refused = |attempt: &super::plan::Attempt| {
            attempt.action == Action::CreateRun(name.to_owned()) && attempt.reason == "AlreadyExists"
        };
        analyses.named(name).is_some() || facts.observed.last.iter().any(refused)
    };
    let numbered = (1..1000).map(|number| format!("{base}.{number}"));
    let name = std::iter::once(base.clone()).chain(numbered).find(|name| !is_taken(name))?;
    Some(Prepare::CreateRun(NewRun {
        name,
        labels: template.labels.clone(),
        annotations: template.annotations.clone(),
        spec: std::sync::Arc::clone(&template.spec),
    }))
}

/// Runs that nobody waits for any more: all but the current ones, and those too once the update has ended.
pub(super) fn ends(course: &Course, analyses: &Analyses<'_>) -> BTreeSet<String> {
    let keeps = |looked: &Looked<'_>| {
        let name = Some(looked.owned.run.name.as_str());
        let is_remembered = |run: &Option<RunStatus>| run.as_ref().map(|run| run.name.as_str()) == name;
        course.stage == Stage::Canary
            && !course.memory.promote_full
            && (is_remembered(&course.memory.background_run) || is_remembered(&course.memory.step_run))
    };
    let going = |looked: &&Looked<'_>| !looked.step.status.phase.is_done() && !looked.owned.run.terminate;
    analyses
        .all
        .iter()
        .filter(going)
        .filter(|looked| !keeps(looked))
        .map(|looked| looked.owned.run.name.clone())
        .collect()
}

/// Finished runs beyond the history limits, those of versions that are gone, and those whose time is over.
pub(super) fn deletions(facts: &Facts<'_>, course: &Course, analyses: &Analyses<'_>) -> Vec<Retire> {
    let current = [&course.memory.background_run, &course.memory.step_run];
    let is_current = |name: &str| current.iter().any(|run| run.as_ref().is_some_and(|run| run.name == name));
    let mut done: Vec<&Looked<'_>> = analyses
        .all
        .iter()
        .filter(|looked| looked.owned.run.status.phase.is_done() && !is_current(&looked.owned.run.name))
        .collect();
    done.sort_by_key(|looked| std::cmp::Reverse((looked.owned.created, looked.owned.run.name.clone())));
    let (mut good, mut bad) = (0usize, 0usize);
    let mut deletions = vec![];
    for looked in done {
        // The present version is not gone when somebody has deleted its ReplicaSet: another one is made.
        let is_orphan = looked.owned.hash.is_none()
            || looked.owned.hash != facts.memory.current
                && !facts
                    .observed
                    .replica_sets
                    .iter()
                    .any(|set| Some(&set.hash) == looked.owned.hash.as_ref());
        let (kept, limit) = match looked.owned.run.status.phase.verdict() {
            Some(Verdict::Successful) => (&mut good, facts.spec.successful_runs),
            Some(Verdict::Failed | Verdict::Error | Verdict::Inconclusive) | None => {
                (&mut bad, facts.spec.unsuccessful_runs)
            }
        };
        if is_orphan || *kept >= limit || looked.step.expired {
            deletions.push(Retire::DeleteRun {
                name: looked.owned.run.name.clone(),
                uid: Uid(looked.owned.run.uid.clone()),
            });
        } else {
            *kept += 1;
        }
    }
    deletions
}

/// The reason of an inconclusive pause.
pub(super) const INCONCLUSIVE: PauseReason = PauseReason::InconclusiveAnalysisRun;
