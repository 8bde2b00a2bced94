//! What there is to tell about a Rollout, and in which words. No I/O. No clock: the time is passed in.

use jiff::{SignedDuration, Timestamp};

use super::{
    git,
    message::{Message, hex},
    rollout::Rollout,
    words::{code, lasting, plain, time_of_day, versions},
};
use crate::api::serin::{
    Cause, ControllerRecord, Evidence, Images, LedgerEntry, Provenance, SelfHeal, SelfHealSpec,
};

/// News older than this is not told any more: whoever subscribes a channel today does not want last month's.
pub(super) const STALE_AFTER: SignedDuration = SignedDuration::from_hours(24);

/// What is known of one Rollout at one moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Facts<'a> {
    pub rollout: &'a Rollout,
    /// Absent: the controller has recorded nothing yet.
    pub record: Option<&'a ControllerRecord>,
    /// Those that name this Rollout's uid.
    pub self_heals: &'a [&'a SelfHeal],
    /// What was sent before. A story that began while the Rollout was aborted keeps its key when it no longer is.
    pub ledger: &'a [LedgerEntry],
    pub now: Timestamp,
}

/// One thing to tell, once per channel; it may be edited later.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Story {
    /// Identity; the message carries it in its metadata.
    pub key: String,
    /// Any of these subscribes a channel, by the reference's names.
    pub triggers: &'static [&'static str],
    /// True where a channel that named no trigger wants it too.
    pub is_default: bool,
    /// Event reason that this tells, for the metrics.
    pub reason: &'static str,
    pub message: Message,
    /// When it came about.
    pub since: Timestamp,
    /// True where nothing that could still happen would change the message.
    pub is_final: bool,
}

/// How long a channel whose messages cannot be edited waits for Git, so that its only one can say how it ended there.
const WAIT_FOR_GIT: SignedDuration = SignedDuration::from_secs(30);

impl Story {
    /// When a message that cannot be edited is sent; `None`: at once.
    pub(super) fn held_until(&self, now: Timestamp) -> Option<Timestamp> {
        let until = self.since.saturating_add(WAIT_FOR_GIT).unwrap_or(Timestamp::MAX);
        // A story of the future is a clock that was set back: it is not waited for.
        let is_held = !self.is_final && until > now && self.since <= now;
        is_held.then_some(until)
    }
}

/// Everything there is to tell now.
pub(super) fn stories(facts: &Facts<'_>) -> Vec<Story> {
    let mut all: Vec<Story> = abort(facts).into_iter().collect();
    let aborted_now = all.first().map(|_| facts.rollout.current.as_str());
    for heal in facts.self_heals {
        if Some(heal.spec.bad.hash.as_str()) != aborted_now {
            all.extend(aftermath(facts, heal));
        }
    }
    all.extend(pause(facts));
    all.extend(completion(facts));
    all
}

/// A version that did not get through.
struct Rejected<'a> {
    cause: Option<Cause>,
    /// The controller's own sentence, where the cause is not recorded.
    sentence: &'a str,
    evidence: Option<&'a Evidence>,
    bad: String,
    good: String,
    ended_at: Option<Timestamp>,
    since: Timestamp,
    heal: Option<&'a SelfHeal>,
}

/// The Rollout is aborted, the controller has booked it, and no traffic is left on the canary.
fn abort(facts: &Facts<'_>) -> Option<Story> {
    let rollout = facts.rollout;
    let sentence = rollout.abort_message.as_deref()?;
    let is_back = rollout.canary_weight.unwrap_or(0) == 0;
    let is_rejected =
        rollout.is_abort_wanted && !rollout.stable.is_empty() && rollout.stable != rollout.current;
    let at = rollout.aborted_at.unwrap_or(facts.now);
    if !is_back || !is_rejected || facts.now.duration_since(at) > STALE_AFTER {
        return None;
    }
    let heal = facts.self_heals.iter().copied().find(|heal| heal.spec.bad.hash == rollout.current);
    let cause = facts.record.and_then(|record| record.cause).or(heal.map(|heal| heal.spec.cause));
    let evidence = facts.record.and_then(|record| record.evidence.as_ref());
    let evidence = evidence.or_else(|| heal.and_then(|heal| heal.spec.evidence.as_ref()));
    let none = Images::new();
    let good_images = heal.map(|heal| &heal.spec.good.images);
    let good_images = good_images.or_else(|| provenance(facts, &rollout.stable)).unwrap_or(&none);
    let bad_images = heal.map_or(&rollout.images, |heal| &heal.spec.bad.images);
    let (bad, good) = versions((&rollout.current, bad_images), (&rollout.stable, good_images));
    let ended_at = evidence.and_then(|evidence| evidence.failed_at.as_ref()).map(|time| time.0);
    let ended_at = ended_at.or(rollout.aborted_at);
    let what = Rejected {
        cause,
        sentence,
        evidence,
        bad,
        good,
        ended_at,
        since: rollout.aborted_at.unwrap_or(Timestamp::MIN),
        heal,
    };
    let traffic = if rollout.has_traffic_routing { Traffic::Back } else { Traffic::Pods };
    let occasion = rollout.aborted_at.map(|at| at.to_string()).unwrap_or_default();
    Some(rejection(rollout, &key(rollout, "rollback", &rollout.current, &occasion), &what, traffic))
}

/// A version was rejected, and the Rollout has moved on since: what became of it in Git.
fn aftermath(facts: &Facts<'_>, heal: &SelfHeal) -> Option<Story> {
    let rollout = facts.rollout;
    let SelfHealSpec { rollout_ref: _, bad, good, cause, evidence } = &heal.spec;
    // Still on the rejected version: a retry is under way, or the abort is not booked yet. And once another version
    // became stable, the story is over.
    if rollout.current == bad.hash || rollout.stable != good.hash || rollout.current.is_empty() {
        return None;
    }
    let prefix = prefix("rollback", &bad.hash);
    let told = facts
        .ledger
        .iter()
        .filter(|entry| entry.key.starts_with(&prefix))
        .max_by_key(|entry| entry.at.as_ref().map(|time| time.0));
    let made = heal.metadata.creation_timestamp.as_ref().map_or(facts.now, |time| time.0);
    if told.is_none() && facts.now.duration_since(made) > STALE_AFTER {
        return None;
    }
    let fresh = || key(rollout, "rollback", &bad.hash, heal.metadata.uid.as_deref().unwrap_or_default());
    let key = told.map_or_else(fresh, |entry| entry.key.clone());
    let (bad_name, good_name) = versions((&bad.hash, &bad.images), (&good.hash, &good.images));
    let what = Rejected {
        cause: Some(*cause),
        sentence: "",
        evidence: evidence.as_ref(),
        bad: bad_name,
        good: good_name,
        ended_at: evidence.as_ref().and_then(|evidence| evidence.failed_at.as_ref()).map(|time| time.0),
        since: made,
        heal: Some(heal),
    };
    let traffic = if rollout.current == good.hash { Traffic::Back } else { Traffic::Newer };
    Some(rejection(rollout, &key, &what, traffic))
}

/// Where the traffic is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Traffic {
    /// All of it on the good version.
    Back,
    /// No traffic routing: pods decide, and they are being exchanged.
    Pods,
    /// None on the bad version; a third one is on its way.
    Newer,
}

fn rejection(rollout: &Rollout, key: &str, what: &Rejected<'_>, traffic: Traffic) -> Story {
    let name = format!("{}/{}", rollout.namespace, rollout.name);
    let verb = if what.cause == Some(Cause::UserAbort) { "Aborted by a person" } else { "Rolled back" };
    let title = format!("{verb}: {name} from {} to {}", what.bad, what.good);
    let (bad, good) = (plain(&what.bad, 120), plain(&what.good, 120));
    let whereabouts = match traffic {
        Traffic::Back => format!("all of it is on {good}."),
        Traffic::Pods => format!("pods of {bad} are being replaced by pods of {good}."),
        Traffic::Newer => {
            format!("none of it goes to {bad}; a newer version has taken its place.")
        }
    };
    let mut lines = vec![
        format!(
            "*What:* rollout {} in namespace {}: {bad} was taken back, {good} serves.",
            code(&rollout.name, 253),
            code(&rollout.namespace, 63)
        ),
        format!("*Why:* {}", why(what)),
        format!("*How far:* {}", how_far(what)),
        format!("*Traffic now:* {whereabouts}"),
        format!("*Git:* {}", git::sentence(what.cause, what.heal, (&bad, &good))),
    ];
    if what.cause == Some(Cause::UserAbort) {
        let command =
            format!("kubectl argo rollouts retry rollout {} -n {}", rollout.name, rollout.namespace);
        lines.push(format!("*To try it again:* {}", code(&command, 400)));
    }
    let run = what.evidence.map(|evidence| evidence.run.as_str()).filter(|run| !run.is_empty());
    let foot = run.map(|run| format!("AnalysisRun {}", code(run, 253))).unwrap_or_default();
    Story {
        key: key.to_owned(),
        triggers: triggers(what.cause),
        is_default: true,
        reason: "RolloutAborted",
        message: Message::new(&title, &lines, &foot),
        since: what.since,
        is_final: git::is_over(what.heal),
    }
}

fn triggers(cause: Option<Cause>) -> &'static [&'static str] {
    match cause {
        Some(Cause::MetricFailed | Cause::NoData) => &["on-rollout-aborted", "on-analysis-run-failed"],
        Some(Cause::MetricError) => &["on-rollout-aborted", "on-analysis-run-error"],
        Some(Cause::ProgressDeadline | Cause::UserAbort | Cause::Superseded) | None => {
            &["on-rollout-aborted"]
        }
    }
}

fn why(what: &Rejected<'_>) -> String {
    let empty = Evidence::default();
    let evidence = what.evidence.unwrap_or(&empty);
    let metric = match evidence.metric.as_str() {
        "" => "a metric".to_owned(),
        name => code(name, 100),
    };
    let last = match evidence.value.as_str() {
        "" => String::new(),
        value => format!("; the last value was {}", code(value, 64)),
    };
    let limit = match evidence.limit.as_str() {
        "" => String::new(),
        limit => format!(", the condition is {}", code(limit, 300)),
    };
    let samples = match evidence.samples {
        ..=0 => String::new(),
        1 => " (1 sample)".to_owned(),
        more => format!(" ({more} samples)"),
    };
    match what.cause {
        Some(Cause::MetricFailed) => {
            let value = if evidence.value.is_empty() {
                "failed".to_owned()
            } else {
                format!("was {}", code(&evidence.value, 64))
            };
            format!("the metric {metric} {value}{limit}{samples}.")
        }
        Some(Cause::NoData) => {
            format!(
                "{metric} had no usable data (empty or NaN){last}{limit}{samples}. Nothing was measured to be bad."
            )
        }
        Some(Cause::MetricError) => {
            format!("{metric} could not be measured{last}{samples}. Nothing was measured to be bad.")
        }
        Some(Cause::ProgressDeadline) => "it made no progress within its progress deadline.".to_owned(),
        Some(Cause::UserAbort) => "a person aborted it; no metric failed.".to_owned(),
        Some(Cause::Superseded) => "a newer version arrived.".to_owned(),
        None if what.sentence.is_empty() => "not recorded.".to_owned(),
        None => plain(what.sentence, 400),
    }
}

fn how_far(what: &Rejected<'_>) -> String {
    let Some(evidence) = what.evidence else {
        let at = what.ended_at.map(|at| format!(", it ended at {}", time_of_day(at)));
        return format!("not recorded{}.", at.unwrap_or_default());
    };
    let started = evidence.started_at.as_ref().map(|time| time.0);
    let after = match (started, what.ended_at) {
        (Some(from), Some(to)) => format!(", {} after the rollout began", lasting(to.duration_since(from))),
        _ => String::new(),
    };
    let at = what.ended_at.map(|at| format!(", at {}", time_of_day(at))).unwrap_or_default();
    format!("{} had {} % of the traffic when it ended{after}{at}.", plain(&what.bad, 120), evidence.weight)
}

fn provenance<'a>(facts: &Facts<'a>, hash: &str) -> Option<&'a Images> {
    facts.record?.provenance.iter().find(|known| known.hash == hash).map(|known| &known.images)
}

/// The Rollout waits: for a time, for a person, or because an analysis could not tell.
fn pause(facts: &Facts<'_>) -> Option<Story> {
    let rollout = facts.rollout;
    let pause = rollout.pause.as_ref()?;
    let started: Timestamp = pause.started_at.parse().ok()?;
    if rollout.is_abort_wanted || facts.now.duration_since(started) > STALE_AFTER {
        return None;
    }
    let none = Images::new();
    let good = provenance(facts, &rollout.stable).unwrap_or(&none);
    let (new, old) = versions((&rollout.current, &rollout.images), (&rollout.stable, good));
    let is_inconclusive = pause.reason == "InconclusiveAnalysisRun";
    let name = format!("{}/{}", rollout.namespace, rollout.name);
    let reason = match (is_inconclusive, rollout.analysis_message.as_str()) {
        (true, "") => "an analysis could not tell whether it is good.".to_owned(),
        (true, message) => format!("an analysis could not tell whether it is good: {}", plain(message, 400)),
        (false, _) => format!("{}.", code(&pause.reason, 63)),
    };
    let command = |verb: &str| {
        code(&format!("kubectl argo rollouts {verb} {} -n {}", rollout.name, rollout.namespace), 400)
    };
    let mut lines = vec![
        format!("*What:* {} is being rolled out over {}.", plain(&new, 120), plain(&old, 120)),
        format!("*Why it waits:* {reason}"),
    ];
    if let Some(weight) = rollout.canary_weight {
        lines.push(format!("*Traffic now:* {weight} % is on {}.", plain(&new, 120)));
    }
    lines.push(format!("*To go on:* {}, to take it back: {}", command("promote"), command("abort")));
    Some(Story {
        key: key(rollout, "paused", &rollout.current, &pause.started_at),
        triggers: if is_inconclusive {
            &["on-rollout-paused", "on-analysis-run-inconclusive"]
        } else {
            &["on-rollout-paused"]
        },
        is_default: is_inconclusive,
        reason: "RolloutPaused",
        message: Message::new(&format!("Paused: {name} on its way to {new}"), &lines, ""),
        since: started,
        is_final: true,
    })
}

/// A version became stable. Nobody is told who did not ask by trigger.
fn completion(facts: &Facts<'_>) -> Option<Story> {
    let rollout = facts.rollout;
    let known = &facts.record?.provenance;
    let time = |version: &Provenance| version.promoted_at.as_ref().map(|at| at.0);
    let version = known.iter().find(|version| version.hash == rollout.stable)?;
    let promoted = time(version)?;
    let is_complete = rollout.is_completed && rollout.current == rollout.stable;
    if !is_complete || facts.now.duration_since(promoted) > STALE_AFTER {
        return None;
    }
    let older = known.iter().filter(|other| time(other).is_some_and(|at| at < promoted));
    let before = older.max_by_key(|other| time(other)).cloned().unwrap_or_default();
    let (new, old) = versions((&version.hash, &version.images), (&before.hash, &before.images));
    let name = format!("{}/{}", rollout.namespace, rollout.name);
    let from = if before.hash.is_empty() { String::new() } else { format!(", after {}", plain(&old, 120)) };
    let lines = [
        format!(
            "*What:* rollout {} in namespace {} runs {}{from}.",
            code(&rollout.name, 253),
            code(&rollout.namespace, 63),
            plain(&new, 120)
        ),
        format!("*Traffic now:* all of it is on {}, since {}.", plain(&new, 120), time_of_day(promoted)),
    ];
    Some(Story {
        key: key(rollout, "completed", &rollout.stable, &promoted.to_string()),
        triggers: &["on-rollout-completed"],
        is_default: false,
        reason: "RolloutCompleted",
        message: Message::new(&format!("Completed: {name} runs {new}"), &lines, ""),
        since: promoted,
        is_final: true,
    })
}

fn prefix(kind: &str, hash: &str) -> String {
    format!("{kind}-{hash}-")
}

/// `rollback-<bad hash>-<digest of uid, hash and occasion>`. The occasion tells two aborts of one version apart.
fn key(rollout: &Rollout, kind: &str, hash: &str, occasion: &str) -> String {
    format!("{}{}", prefix(kind, hash), hex(&[&rollout.uid, kind, hash, occasion], 24))
}

#[cfg(test)]
mod tests;
