//! The story's next chapter: where the rollout stands after this pass, and what its status remembers of it.

use jiff::Timestamp;

use super::{
    contest::{self, Contest},
    facts::Facts,
    memory::{Memory, Pause, PauseReason},
    observed::{Side, Slot},
    plan::{About, Event, EventKind, Tell},
    record::{AbortCause, AbortRecord},
    report::{Stage, Wait},
    runs::{self, Analyses, INCONCLUSIVE},
    spec::{Cursor, Step},
    workload,
};
use crate::domain::{Weight, verdict::Verdict};

/// Where the rollout stands after this pass.
pub(super) struct Course {
    pub(super) stage: Stage,
    pub(super) cursor: Cursor,
    /// The status after this pass, but for conditions, phase and counts.
    pub(super) memory: Memory,
    /// The abort that this pass decided on.
    pub(super) abort: Option<Abort>,
    /// This pass booked the promotion.
    pub(super) is_promotion: bool,
    /// A person resumed after a pause of the controller's own.
    pub(super) is_resumed: bool,
    /// A person retried after an abort.
    pub(super) is_retry: bool,
    /// Metrics that cannot be asked for now, one sentence each.
    pub(super) outages: Vec<String>,
    /// The mark on the VirtualService says nothing (any more).
    pub(super) mark_is_dead: bool,
    /// What other hands did to the weights.
    pub(super) contest: Contest,
    /// The rejection of the version before this one, which is still to be recorded.
    pub(super) left: Option<AbortRecord>,
    pub(super) events: Vec<Tell>,
    pub(super) waiting: Vec<Wait>,
    is_frozen: bool,
}

/// Why the version was rejected, and what decided.
pub(super) struct Abort {
    pub(super) cause: AbortCause,
    /// The tail of the condition's message; empty for an abort by a person.
    pub(super) message: String,
    pub(super) at: Timestamp,
    /// The run that decided, by name.
    pub(super) run: Option<String>,
}

impl Course {
    /// Nobody may scale: the user froze the rollout, or an analysis needs a decision.
    pub(super) fn is_frozen(&self) -> bool {
        self.is_frozen || self.is_inconclusive()
    }

    pub(super) fn is_inconclusive(&self) -> bool {
        self.memory.is_paused_for(&INCONCLUSIVE)
    }

    /// Exposure may not grow now.
    pub(super) fn is_held(&self) -> bool {
        self.is_frozen() || !self.outages.is_empty()
    }

    pub(super) fn held_by(&self) -> Vec<Wait> {
        let mut by = vec![];
        if self.is_frozen {
            by.push(Wait::Resume);
        }
        if self.is_inconclusive() {
            by.push(Wait::Decision);
        }
        if !self.outages.is_empty() {
            by.push(Wait::Metrics);
        }
        by
    }

    fn tell(&mut self, kind: EventKind, reason: &str, message: String) {
        self.events.push(Tell::Event(Event {
            about: About::Rollout,
            kind,
            reason: reason.to_owned(),
            message,
        }));
    }
}

/// Decides what this pass remembers.
pub(super) fn course(facts: &Facts<'_>, analyses: &Analyses<'_>) -> Course {
    let steps = facts.spec.steps.len();
    let mut course = Course {
        stage: Stage::Creating,
        cursor: Cursor::parse(facts.memory.step_index, steps),
        memory: facts.memory.clone(),
        abort: None,
        is_promotion: false,
        is_resumed: facts.memory.controller_pause && facts.memory.pauses.is_empty(),
        is_retry: false,
        outages: vec![],
        mark_is_dead: true,
        contest: Contest::default(),
        left: None,
        events: vec![],
        waiting: vec![],
        is_frozen: facts.spec.paused,
    };
    if facts.new.is_none() {
        course.waiting.push(Wait::OwnWrite);
        if facts.observed.is_name_taken {
            let collisions = course.memory.collision_count.unwrap_or(0);
            course.memory.collision_count = Some(collisions.saturating_add(1));
        }
    } else if facts.is_changed() {
        let is_meant = is_abort_unseen(facts);
        reset(facts, &mut course);
        if is_meant {
            aborted(facts, &mut course, Some(by_person(facts)));
        }
    } else if facts.memory.stable.is_none() {
        first_deploy(facts, &mut course);
    } else if facts.is_promoted() {
        promoted(facts, &mut course);
    } else {
        update(facts, analyses, &mut course);
    }
    course.memory.step_index = course.cursor.index(steps);
    course.memory.observed_generation = Some(facts.observed.rollout.generation);
    course.memory.selector.clone_from(&facts.spec.selector_text);
    weights_as_observed(facts, &mut course);
    course
}

/// Somebody has aborted this very version, and no pass has acted on it yet: also where its steps were edited in the same
/// moment it is not taken for an abort of long ago.
fn is_abort_unseen(facts: &Facts<'_>) -> bool {
    let is_same = facts.memory.current.as_ref() == facts.new.map(|new| &new.hash);
    let is_update = facts.memory.stable.is_some() && !facts.is_promoted();
    facts.memory.abort && facts.memory.aborted_at.is_none() && is_same && is_update
}

fn by_person(facts: &Facts<'_>) -> Abort {
    Abort { cause: AbortCause::UserAbort, message: String::new(), at: facts.now, run: None }
}

/// Another template, or other steps: the status begins anew. The weights that are live now stay remembered.
fn reset(facts: &Facts<'_>, course: &mut Course) {
    let Some(new) = facts.new else { return };
    let is_rollback = facts.is_promoted();
    course.stage = if is_rollback {
        Stage::Promoted
    } else if facts.memory.stable.is_none() {
        Stage::FirstDeploy
    } else {
        Stage::Canary
    };
    let had_another = facts.memory.current.is_some();
    course.cursor = if is_rollback { Cursor::Done } else { first(facts) };
    let memory = &mut course.memory;
    memory.current = Some(new.hash.clone());
    memory.step_hash = Some(facts.spec.step_hash.clone());
    memory.pauses.clear();
    memory.controller_pause = false;
    memory.abort = false;
    memory.aborted_at = None;
    memory.promote_full = false;
    memory.step_run = None;
    memory.background_run = None;
    if is_rollback && had_another && !facts.spec.steps.is_empty() {
        course.tell(EventKind::Normal, "SkipSteps", "Rollback to stable ReplicaSets".to_owned());
    }
}

fn first(facts: &Facts<'_>) -> Cursor {
    Cursor::parse(Some(0), facts.spec.steps.len())
}

/// The first version has nobody to be compared with: it is stable at once.
fn first_deploy(facts: &Facts<'_>, course: &mut Course) {
    course.stage = Stage::FirstDeploy;
    book_promotion(facts, course, "Initial deploy");
}

fn promoted(facts: &Facts<'_>, course: &mut Course) {
    course.stage = Stage::Promoted;
    course.cursor = Cursor::Done;
    let memory = &mut course.memory;
    memory.abort = false;
    memory.aborted_at = None;
    memory.promote_full = false;
    memory.pauses.clear();
    memory.controller_pause = false;
    memory.step_run = None;
    memory.background_run = None;
    if facts.new.is_some_and(|new| new.serving() < facts.spec.replicas) {
        course.waiting.push(Wait::StablePods);
    }
}

/// An update under way: aborted, or taking its steps.
fn update(facts: &Facts<'_>, analyses: &Analyses<'_>, course: &mut Course) {
    course.stage = Stage::Canary;
    let asked_to_promote = facts.memory.promote_full && facts.memory.aborted_at.is_some();
    if facts.memory.abort && !asked_to_promote {
        let is_new = facts.memory.aborted_at.is_none();
        return aborted(facts, course, is_new.then(|| by_person(facts)));
    }
    if facts.memory.abort || facts.memory.aborted_at.is_some() {
        retry(facts, course);
    }
    if course.is_retry {
        course.memory.step_run = None;
        course.memory.background_run = None;
        return;
    }
    remember_runs(course, analyses);
    if let Some(abort) = rejected(facts, analyses) {
        return aborted(facts, course, Some(abort));
    }
    course.outages = analyses.outages();
    if facts.memory.promote_full {
        course.cursor = Cursor::Done;
        course.memory.pauses.clear();
        course.memory.controller_pause = false;
    }
    if is_undecided(facts, analyses, course) {
        return course.waiting.push(Wait::Decision);
    }
    advance(facts, analyses, course);
    if course.memory.pauses.is_empty() {
        course.memory.controller_pause = false;
    }
}

/// Somebody took the abort back: the steps begin anew with the same version.
fn retry(facts: &Facts<'_>, course: &mut Course) {
    course.is_retry = true;
    course.cursor = first(facts);
    course.memory.abort = false;
    course.memory.aborted_at = None;
    course.memory.pauses.clear();
    course.memory.controller_pause = false;
}

fn remember_runs(course: &mut Course, analyses: &Analyses<'_>) {
    let at = match course.cursor {
        Cursor::At(index) => Some(Slot::Step(index)),
        Cursor::Done => None,
    };
    course.memory.background_run = analyses.background().map(runs::remembered);
    course.memory.step_run = analyses.inline().filter(|looked| looked.owned.slot == at).map(runs::remembered);
}

/// A current run that ended badly, or a deadline that passed: the version is rejected.
fn rejected(facts: &Facts<'_>, analyses: &Analyses<'_>) -> Option<Abort> {
    if facts.memory.promote_full {
        return None;
    }
    let bad = analyses.said().find(|said| match said.finished.verdict {
        Verdict::Failed | Verdict::Error => true,
        Verdict::Successful | Verdict::Inconclusive => false,
    });
    if let Some(said) = bad {
        let kind = match said.slot {
            Slot::Background => "Background",
            Slot::Step(_) => "Step-based",
        };
        let tail = if said.finished.message.is_empty() {
            String::new()
        } else {
            format!(": {}", said.finished.message)
        };
        return Some(Abort {
            cause: super::evidence::cause(said.finished),
            message: format!("{kind} analysis phase error/failed{tail}"),
            at: facts.now,
            run: Some(said.run.owned.run.name.clone()),
        });
    }
    let new = facts.new?;
    let is_late = facts.spec.progress_deadline_abort && super::conditions::is_deadline_over(facts);
    is_late.then(|| Abort {
        cause: AbortCause::ProgressDeadline,
        message: format!("ReplicaSet \"{}\" has timed out progressing.", new.name),
        at: facts.now,
        run: None,
    })
}

fn aborted(facts: &Facts<'_>, course: &mut Course, abort: Option<Abort>) {
    course.stage = Stage::Aborted;
    course.cursor = first(facts);
    let memory = &mut course.memory;
    memory.abort = true;
    memory.promote_full = false;
    memory.pauses.clear();
    memory.controller_pause = false;
    match abort {
        Some(abort) => {
            memory.aborted_at = Some(super::conditions::whole_second(abort.at));
            course.mark_is_dead = false;
            course.abort = Some(abort);
        }
        None => {
            memory.step_run = None;
            memory.background_run = None;
        }
    }
    if facts.live() > Weight::ZERO {
        course.waiting.push(Wait::Weight);
    }
}

/// An analysis came to no verdict: a person has to decide, and nothing grows until then. Once somebody resumes, a new
/// run is started, and nothing moves before it is there.
fn is_undecided(facts: &Facts<'_>, analyses: &Analyses<'_>, course: &mut Course) -> bool {
    let is_undecided = analyses.said().any(|said| said.finished.verdict == Verdict::Inconclusive);
    if is_undecided && !course.is_resumed && !course.is_inconclusive() {
        // First of all pauses: it is the one that a person has to know of, and the first one is what clients show.
        let pause = Pause { reason: INCONCLUSIVE, since: super::conditions::whole_second(facts.now) };
        course.memory.pauses.insert(0, pause);
        course.memory.controller_pause = true;
    }
    is_undecided
}

/// Takes at most one step, and only when nothing stands against it.
fn advance(facts: &Facts<'_>, analyses: &Analyses<'_>, course: &mut Course) {
    if course.is_held() {
        return course.waiting.extend(course.held_by());
    }
    if is_kept_down(facts, course) {
        return course.waiting.push(Wait::Contest);
    }
    if let Some(wait) = unfinished(facts, analyses, course) {
        return course.waiting.push(wait);
    }
    let Some(step) = facts.spec.step(course.cursor) else {
        return promote(facts, course);
    };
    let steps = facts.spec.steps.len();
    if let Cursor::At(index) = course.cursor {
        let message = format!("Rollout step {}/{steps} completed ({})", index + 1, step.text());
        course.tell(EventKind::Normal, "RolloutStepCompleted", message);
    }
    course.cursor = course.cursor.next(steps);
    course.memory.step_run = None;
    course.memory.pauses.retain(|pause| pause.reason != PauseReason::CanaryPauseStep);
    course.memory.controller_pause = !course.memory.pauses.is_empty();
}

/// Another hand keeps the weight below that of the step, and is respected: time that passes so says nothing about the
/// weight that the step is for. A person who promotes may go on.
fn is_kept_down(facts: &Facts<'_>, course: &Course) -> bool {
    contest::is_known(facts) && !course.is_resumed && facts.live() < facts.spec.weight_at(course.cursor)
}

/// What the current step still waits for; `None` when it is complete. Adds the pause of a pause step.
fn unfinished(facts: &Facts<'_>, analyses: &Analyses<'_>, course: &mut Course) -> Option<Wait> {
    match facts.spec.step(course.cursor) {
        None => None,
        Some(Step::SetWeight(weight)) => {
            if !workload::canary_counts_reached(facts, course) {
                return Some(Wait::CanaryPods);
            }
            (!is_served_with(facts, *weight)).then_some(Wait::Weight)
        }
        Some(Step::Pause { duration, .. }) => {
            let pause =
                course.memory.pauses.iter().find(|pause| pause.reason == PauseReason::CanaryPauseStep);
            match (pause, duration) {
                (Some(pause), Some(duration)) if facts.now >= facts.after(pause.since, *duration) => None,
                (Some(_), Some(_)) => Some(Wait::PauseEnds),
                (Some(_), None) => Some(Wait::Promote),
                (None, _) if course.is_resumed => None,
                (None, duration) => {
                    let since = super::conditions::whole_second(facts.now);
                    course.memory.pauses.push(Pause { reason: PauseReason::CanaryPauseStep, since });
                    course.memory.controller_pause = true;
                    Some(if duration.is_some() { Wait::PauseEnds } else { Wait::Promote })
                }
            }
        }
        Some(Step::Analysis) => {
            let run = analyses.inline().filter(|looked| match course.cursor {
                Cursor::At(index) => looked.owned.slot == Some(Slot::Step(index)),
                Cursor::Done => false,
            });
            let is_good =
                run.is_some_and(|looked| looked.step.status.phase.verdict() == Some(Verdict::Successful));
            (!is_good).then_some(Wait::Analysis)
        }
    }
}

/// The observed VirtualService sends exactly this much to the new version.
fn is_served_with(facts: &Facts<'_>, weight: Weight) -> bool {
    let Some(service) = &facts.observed.virtual_service else { return false };
    let leads = facts.exposure.leads_to(Side::Canary) == facts.new.map(|new| &new.hash);
    (leads || weight == Weight::ZERO)
        && service.routes.as_ref().is_ok_and(|routes| !routes.is_empty())
        && service.share(Side::Canary) == weight
        && service.least_share(Side::Canary) == weight
}

fn promote(facts: &Facts<'_>, course: &mut Course) {
    let Some(new) = facts.new else { return };
    if new.serving() < facts.spec.replicas || new.replicas < facts.spec.replicas {
        return course.waiting.push(Wait::CanaryPods);
    }
    if !is_served_with(facts, Weight::FULL) {
        return course.waiting.push(Wait::Weight);
    }
    let why = if facts.memory.promote_full {
        "Full promotion requested".to_owned()
    } else {
        format!("Completed all {} canary steps", facts.spec.steps.len())
    };
    course.stage = Stage::Promoted;
    book_promotion(facts, course, &why);
}

fn book_promotion(facts: &Facts<'_>, course: &mut Course, why: &str) {
    let Some(new) = facts.new else { return };
    course.is_promotion = true;
    course.cursor = Cursor::Done;
    let memory = &mut course.memory;
    memory.stable = Some(new.hash.clone());
    memory.pauses.clear();
    memory.controller_pause = false;
    memory.abort = false;
    memory.aborted_at = None;
    memory.promote_full = false;
    let message = format!("Rollout completed update to revision {} ({}): {why}", new.revision, new.hash);
    course.tell(EventKind::Normal, "RolloutCompleted", message);
}

/// `canary.weights` is what the VirtualService is seen to carry, never what is about to be written.
fn weights_as_observed(facts: &Facts<'_>, course: &mut Course) {
    let Some(service) = facts.observed.virtual_service.as_ref().filter(|service| service.routes.is_ok())
    else {
        return;
    };
    // Before the first version is taken over nothing of the routes is ours.
    if facts.memory.stable.is_none() || facts.exposure.leads_to(Side::Stable).is_none() {
        return;
    }
    let canary = service.share(Side::Canary);
    let of = |weight, side, name: &str| super::memory::WeightOf {
        weight,
        hash: facts.exposure.leads_to(side).cloned(),
        service: name.to_owned(),
    };
    course.memory.weights = Some(super::memory::Weights {
        canary: of(canary, Side::Canary, &facts.spec.services.canary),
        stable: of(canary.complement(), Side::Stable, &facts.spec.services.stable),
    });
}
