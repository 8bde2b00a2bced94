//! What only one of the stories has to show.

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::{Wrong, case::Case};
use crate::sim::play::{
    scenario::Scenario,
    timeline::{Asked, Entry, Kind},
};

/// Away for 30 minutes; a few are lost on noticing and on coming back. This and the next are as long as in the README's story.
const OUTAGE: SignedDuration = SignedDuration::from_mins(25);
/// Metrics are asked for every minute.
const TOLD: SignedDuration = SignedDuration::from_mins(3);
/// A lease of 15 s, seen at most 2 s late and taken at the next attempt, and a restart's lists.
const LONGEST_GAP: SignedDuration = SignedDuration::from_secs(30);

pub(super) fn special(case: &Case, scenario: Scenario, wrong: &mut Wrong) {
    match scenario {
        Scenario::BadMetric | Scenario::Good | Scenario::FixedFirst => {}
        Scenario::BadPods => bad_pods(case, wrong),
        Scenario::NoData => no_data(case, wrong),
        Scenario::PrometheusDown => prometheus_down(case, wrong),
        Scenario::UserAbort => user_abort(case, wrong),
        Scenario::GitDown => git_down(case, wrong),
        Scenario::Contested => contested(case, wrong),
        Scenario::Superseded => superseded(case, wrong),
        Scenario::TakeoverByRestart => takeover(case, wrong),
    }
}

fn requests(case: &Case) -> impl DoubleEndedIterator<Item = &Asked> {
    case.entries.iter().filter_map(Entry::asked)
}

/// What the controller wrote into the Rollout's status, in order.
fn statuses(case: &Case) -> impl DoubleEndedIterator<Item = (Timestamp, &Value)> {
    let is_meant = |asked: &&Asked| {
        asked.resource == "rollouts/status" && case.is_controller(&asked.actor) && asked.is_done()
    };
    requests(case).filter(is_meant).map(|asked| (asked.at, &asked.body["status"]))
}

/// The Rollout's condition of this type, each time that it was written.
fn condition<'a>(case: &'a Case, kind: &'a str) -> impl DoubleEndedIterator<Item = (Timestamp, &'a Value)> {
    statuses(case).filter_map(move |(at, status)| {
        let all = status["conditions"].as_array()?;
        all.iter().find(|condition| condition["type"] == kind).map(|condition| (at, condition))
    })
}

fn bad_pods(case: &Case, wrong: &mut Wrong) {
    let heal = case.all("SelfHeal").next().unwrap_or(&Value::Null);
    if heal["spec"]["cause"] != "ProgressDeadline" {
        wrong.add(format!("the cause is {}, not ProgressDeadline", heal["spec"]["cause"]));
    }
    let says = case.messages.iter().all(|message| message.text.contains("progress deadline"));
    if !says {
        wrong.add("Slack does not name the progress deadline");
    }
}

/// It stands still for want of data, says which, and goes on only after a person promoted.
fn no_data(case: &Case, wrong: &mut Wrong) {
    let is_pause = |(_, status): &(Timestamp, &Value)| {
        let mut pauses = status["pauseConditions"].as_array().into_iter().flatten();
        pauses.any(|pause| pause["reason"] == "InconclusiveAnalysisRun")
    };
    let Some((paused, status)) = statuses(case).find(is_pause) else {
        return wrong.add("the Rollout was never paused as inconclusive");
    };
    // A status is written as what changed of it: a message that was right already is not there.
    if !status["message"].is_null() && status["message"] != "InconclusiveAnalysisRun" {
        wrong.add(format!("the Rollout says {} of an inconclusive analysis", status["message"]));
    }
    let promoted = requests(case)
        .find(|asked| asked.resource == "rollouts/status" && !case.is_controller(&asked.actor))
        .map(|asked| asked.at);
    let Some(promoted) = promoted else { return wrong.add("nobody promoted") };
    if case.weights().iter().any(|(at, _)| *at > paused && *at < promoted) {
        wrong.add("the canary's weight moved while it was paused for want of data");
    }
    let run = case.all("AnalysisRun").find(|run| run["status"]["phase"] == "Inconclusive");
    let Some(run) = run else { return wrong.add("no AnalysisRun is Inconclusive") };
    let metric = run["spec"]["metrics"][0]["name"].as_str().unwrap_or_default();
    let message = run["status"]["message"].as_str().unwrap_or_default();
    if !says_what_is_missing(message, metric) {
        wrong.add(format!("the AnalysisRun does not say what is missing: {message:?}"));
    }
    for message in case.messages.iter().filter(|message| !says_what_is_missing(&message.text, metric)) {
        wrong.add(format!("Slack does not say what is missing: {}", message.text));
    }
}

fn says_what_is_missing(text: &str, metric: &str) -> bool {
    text.contains(metric) && text.contains("no data")
}

/// It holds its weight and says why, for as long as nothing can be measured.
fn prometheus_down(case: &Case, wrong: &mut Wrong) {
    let answers: Vec<_> = case
        .entries
        .iter()
        .filter(|entry| matches!(entry.kind, Kind::Answer { .. }))
        .map(|entry| entry.at)
        .collect();
    let gap = answers.windows(2).find_map(|pair| match pair {
        [from, to] if to.duration_since(*from) >= case.short(OUTAGE) => Some((*from, *to)),
        _ => None,
    });
    let Some((from, to)) = gap else { return wrong.add("Prometheus was never away") };
    let holds = |wanted: &str, after: Timestamp, before: Timestamp| {
        let mut written = condition(case, "MetricsUnavailable");
        written.find(|(at, found)| found["status"] == wanted && *at > after && *at < before).map(|(at, _)| at)
    };
    match holds("True", from, to) {
        None => wrong.add("the Rollout never said MetricsUnavailable while Prometheus was away"),
        Some(held) => {
            if let Some((at, weight)) = case.weights().iter().find(|(at, _)| *at > held && *at < to) {
                wrong.add(format!("the canary's weight went to {weight} at {at}, without anything measured"));
            }
            let told = held.duration_since(from);
            if told > case.at_most(TOLD) {
                wrong.add(format!("the Rollout said MetricsUnavailable only {told:#} after the last answer"));
            }
        }
    }
    if holds("False", to, Timestamp::MAX).is_none() {
        wrong.add("the Rollout never took MetricsUnavailable back");
    }
    if statuses(case).any(|(_, status)| status["abort"] == true) {
        wrong.add("the Rollout was aborted for want of metrics");
    }
}

/// How soon a person's abort is obeyed.
const OBEYED: SignedDuration = SignedDuration::from_secs(5);

fn user_abort(case: &Case, wrong: &mut Wrong) {
    let bad = |run: &&Value| ["Failed", "Error"].iter().any(|phase| run["status"]["phase"] == *phase);
    if let Some(run) = case.all("AnalysisRun").find(bad) {
        wrong.add(format!("a person's abort failed an analysis: {}", run["status"]));
    }
    let heal = case.all("SelfHeal").next().unwrap_or(&Value::Null);
    if heal["spec"]["cause"] != "UserAbort" {
        wrong.add(format!("the cause is {}, not UserAbort", heal["spec"]["cause"]));
    }
    let aborted = requests(case).find(|asked| {
        asked.resource == "rollouts/status"
            && !case.is_controller(&asked.actor)
            && asked.body["status"]["abort"] == true
    });
    let (Some(aborted), Some((gone, 0))) = (aborted, case.weights().last().copied()) else {
        return wrong.add("nobody aborted, or the traffic stayed");
    };
    let late = gone.duration_since(aborted.at);
    if late > OBEYED + case.nobody_there(aborted.at, gone) {
        wrong.add(format!("the traffic went back {late:#} after the abort"));
    }
}

/// Slack was told when the traffic was back, long before Git; the message was edited when Git was done.
fn git_down(case: &Case, wrong: &mut Wrong) {
    let (Some((gone, 0)), Some(commit)) = (case.weights().last().copied(), case.commits.first()) else {
        return wrong.add("the traffic never went back, or Git is empty");
    };
    let late = commit.at.duration_since(gone);
    if late < case.short(OUTAGE) {
        wrong.add(format!("the revert was committed {late:#} after the abort: Git was not away"));
    }
    let posted = requests(case).find(|asked| {
        let mut ledger = asked.body["status"]["notify"]["ledger"].as_array().into_iter().flatten();
        ledger.any(|entry| entry["state"] == "Sent" || entry["state"] == "Final")
    });
    let waited = posted.map(|posted| posted.at.duration_since(gone));
    if waited.is_none_or(|waited| waited > case.at_most(SignedDuration::from_mins(2))) {
        wrong.add(format!("Slack was told {waited:?} after the traffic went back"));
    }
    for message in &case.messages {
        if !message.earlier.iter().any(|text| text.contains("still asks for")) {
            wrong.add("the message in Slack never said that Git still asks for the bad version");
        }
        if !message.text.contains("reverted to")
            || !message.text.contains(commit.id.get(..7).unwrap_or_default())
        {
            wrong.add(format!("the message in Slack was not edited when Git was done: {}", message.text));
        }
    }
}

/// The new canary begins at the first step only after the old one's traffic was gone for as long as the mesh may lag.
fn superseded(case: &Case, wrong: &mut Wrong) {
    let is_switch = |asked: &&Asked| {
        asked.resource == "services" && asked.name == case.names.canary_service && asked.is_done()
    };
    let weights = case.weights();
    // 0, the first climb, 0, the second climb, 0.
    let Some((cut, _)) = weights.iter().skip(1).find(|(_, weight)| *weight == 0) else { return };
    let switched = requests(case).filter(is_switch).find(|asked| asked.at > *cut);
    let Some(switched) = switched else { return wrong.add("the canary's Service was never moved") };
    let quiet = switched.at.duration_since(*cut);
    if quiet < case.data_plane_delay {
        wrong.add(format!("the canary's Service was moved {quiet:#} after its traffic was taken away"));
    }
}

/// How soon another hand's raise is cut, or its lowering put back.
const ANSWERED: SignedDuration = SignedDuration::from_secs(15);
/// How long the fourth lowering is respected; serin tries again after five minutes from the first.
const RESPECTED: SignedDuration = SignedDuration::from_mins(3);

/// Raises are cut at once; the first three lowerings are put back, the fourth is respected and told.
fn contested(case: &Case, wrong: &mut Wrong) {
    let changes = weight_changes(case);
    let is_foreign = |change: &&Change<'_>| !case.is_controller(change.actor) && !change.is_whole;
    let foreign: Vec<&Change<'_>> = changes.iter().filter(is_foreign).collect();
    let answer = |change: &Change<'_>| {
        // In virtual time the answer may have the same time.
        changes.iter().find(|later| later.index > change.index && case.is_controller(later.actor))
    };
    let (raises, lowerings): (Vec<_>, Vec<_>) =
        foreign.into_iter().partition(|change| change.to > change.from);
    if raises.is_empty() || lowerings.len() != 4 {
        return wrong.add(format!(
            "others raised {} times and lowered {} times",
            raises.len(),
            lowerings.len()
        ));
    }
    for change in raises.iter().chain(lowerings.iter().take(3)) {
        // Who is back after a death waits for the data plane anew.
        let away = case.nobody_there(change.at, change.at);
        let again = if away.is_zero() { away } else { away + case.data_plane_delay };
        let answered =
            answer(change).filter(|answer| answer.at.duration_since(change.at) <= ANSWERED + again);
        if answered.is_none_or(|answer| answer.to != change.from) {
            wrong.add(format!(
                "{} took the weight from {} to {} at {}, and it was not put back within {ANSWERED:#}",
                change.actor, change.from, change.to, change.at
            ));
        }
    }
    let accuses = |asked: &&Asked| {
        asked.resource == "events"
            && asked.is_done()
            && asked.body["reason"] == "TrafficContested"
            && asked.body["message"].as_str().is_some_and(|message| message.contains(" lowered "))
    };
    let accused = requests(case).filter(accuses).count();
    if accused > lowerings.len() {
        wrong.add(format!("somebody is said to have lowered the weight {accused} times"));
    }
    let Some(last) = lowerings.last() else { return };
    if let Some(early) = answer(last).filter(|answer| answer.at.duration_since(last.at) < RESPECTED) {
        wrong.add(format!("the fourth lowering was put back after {:#}", early.at.duration_since(last.at)));
    }
    let mut told =
        condition(case, "TrafficContested").filter(|(at, found)| *at > last.at && found["status"] == "True");
    match told.next() {
        None => wrong.add("the Rollout never said TrafficContested"),
        Some((held, found)) => {
            let until = answer(last).map_or(Timestamp::MAX, |answer| answer.at);
            let mut steps = statuses(case).filter(|(at, _)| *at > held && *at < until);
            if let Some((at, _)) = steps.find(|(_, status)| !status["currentStepIndex"].is_null()) {
                wrong.add(format!("a step was completed at {at} without the weight that it is for"));
            }
            let message = found["message"].as_str().unwrap_or_default();
            if !message.contains(last.actor) || !message.contains("ignoreDifferences") {
                wrong.add(format!("TrafficContested does not say who writes and how to end it: {message}"));
            }
        }
    }
}

/// A change of the canary's weight.
struct Change<'a> {
    /// Its place among the entries.
    index: usize,
    at: Timestamp,
    actor: &'a str,
    from: i64,
    to: i64,
    /// The whole object was made or applied.
    is_whole: bool,
}

fn weight_changes(case: &Case) -> Vec<Change<'_>> {
    let mut weight = None;
    let mut changes = vec![];
    for (index, entry) in case.entries.iter().enumerate() {
        let (Some(asked), Some(to)) = (entry.asked(), entry.canary_weight) else { continue };
        if let Some(from) = weight.replace(to).filter(|from| *from != to) {
            let is_whole = ["create", "apply"].contains(&asked.verb.as_str());
            changes.push(Change { index, at: entry.at, actor: &asked.actor, from, to, is_whole });
        }
    }
    changes
}

fn takeover(case: &Case, wrong: &mut Wrong) {
    let Some((from, to)) = leaderless(case) else {
        return wrong.add("no leader died, or nobody took over");
    };
    let gap = to.duration_since(from);
    if gap > LONGEST_GAP {
        wrong.add(format!("nobody led for {gap:#}"));
    }
}

/// From the death of a controller to when another one took the Lease, or first wrote where the case has no Leases. `None` where
/// none died.
pub fn leaderless(case: &Case) -> Option<(Timestamp, Timestamp)> {
    let mut entries = case.entries.iter();
    let (died, dead) = entries.by_ref().find_map(|entry| match &entry.kind {
        Kind::Died { actor } => Some((entry.at, actor)),
        Kind::Request(asked) if asked.status == 0 && case.is_controller(&asked.actor) => {
            Some((entry.at, &asked.actor))
        }
        Kind::Request(_) | Kind::Answer { .. } | Kind::Act { .. } => None,
    })?;
    let writes: Vec<&Asked> = entries
        .filter_map(Entry::asked)
        .filter(|asked| case.is_controller(&asked.actor) && asked.is_done())
        .filter(|asked| !["get", "list", "watch"].contains(&asked.verb.as_str()))
        .collect();
    // Whoever is not the leader writes to the Lease only to take it.
    let is_taking = |asked: &&&Asked| asked.resource == "leases";
    let is_other = |asked: &&&Asked| asked.actor != *dead;
    let led = writes
        .iter()
        .filter(is_other)
        .find(is_taking)
        // The dead one itself where it is back and nobody else wants to lead.
        .or_else(|| writes.iter().find(is_taking))
        // Where nobody looks at Leases: the heir's first write.
        .or_else(|| writes.iter().find(is_other));
    led.map(|asked| (died, asked.at))
}
