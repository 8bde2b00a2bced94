//! What only real parts can show of a rejected canary, beyond what the judge of both worlds looks at: the requests between the answer
//! of Prometheus that decided and the shed, and what is left of the VirtualService.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use serin::sim::play::{judge::Case, scenario::Scenario, timeline::Kind};

use super::{
    case::UNDER_WAY,
    scene::{NEW, OLD, ROLLOUT_FILE, Twist},
    served,
    shop::Shop,
};
use crate::{
    Fallible,
    audit::Asked,
    load::{self, Answer},
    report,
};

/// When Prometheus gave the last answer that a run booked as bad.
///
/// # Errors
/// When there is none.
pub(super) fn decided(case: &Case) -> Fallible<Timestamp> {
    let is_bad = |kind: &Kind| matches!(kind, Kind::Answer { value: Some(_), is_good: false, .. });
    let last = case.entries.iter().rfind(|entry| is_bad(&entry.kind));
    Ok(last.ok_or("no bad sample was ever given")?.at)
}

/// The rejected canary answered nobody any more once the mesh had had its time, by the clock of a watch. Prints how long it took.
pub(super) fn traffic_went_back(shop: &Shop<'_>) -> Fallible {
    let weights = shop.canary_weights();
    let raised = weights.iter().skip_while(|(_, weight)| *weight == 0);
    let mut zeros = raised.filter(|(_, weight)| *weight == 0);
    // The tool of that story puts the weight back once, and it is cut again.
    let last_of_it = if shop.scene.scenario == Scenario::Contested { 1 } else { 0 };
    let Some((seen, _)) = zeros.nth(last_of_it) else {
        return Err(format!("the canary's weight never went back: {weights:?}").into());
    };
    let last = served::last_by(&shop.load.answers(shop.opened), NEW);
    let late = last.map_or(SignedDuration::ZERO, |last| last.duration_since(*seen));
    // Under churn the mesh may lag as long as serin was told it may.
    let allowed = served::SERVED.max(SignedDuration::try_from(shop.serin.setup.traffic_delay)?);
    if late > allowed {
        return Err(format!("{NEW} still answered {late:#} after the shed").into());
    }
    report::line(&format!(
        "lab:   {} ms from the shed seen by a watch to the last request that {NEW} answered",
        // Pods that crash answer nobody before that already.
        late.max(SignedDuration::ZERO).as_millis()
    ));
    Ok(())
}

/// From the answer of Prometheus that decided to the shed, the controller asked for nothing else but what was under way in a running
/// pass; then it booked the verdict. By the logs of Prometheus and of the API server.
pub(super) fn order_of_requests(shop: &Shop<'_>, case: &Case) -> Fallible {
    let decided = decided(case)?;
    let asked: Vec<Asked> = shop.requests()?.into_iter().filter(|asked| asked.at >= decided).collect();
    let is_other = |asked: &&Asked| asked.right.resource != "virtualservices";
    let under_way = asked.iter().take(UNDER_WAY).take_while(is_other).count();
    let asked = &asked[under_way..];
    let sent = asked.iter().position(|asked| is(asked, "patch", "virtualservices")).ok_or("no shed")?;
    let way: Vec<(&str, &str, u64, bool)> = asked[..=sent]
        .iter()
        .map(|asked| (&*asked.right.verb, &*asked.right.resource, asked.code, marks(asked)))
        .collect();
    let wanted: &[_] = match shop.scene.twist {
        Twist::None | Twist::Churn | Twist::StandIn => &[("patch", "virtualservices", 200, true)],
        Twist::NoMarks => &[
            ("patch", "virtualservices", 422, true),
            ("get", "virtualservices", 200, false),
            ("patch", "virtualservices", 422, true),
            ("patch", "virtualservices", 200, false),
        ],
    };
    same("from the sample that decided to the shed", &&way[..], &wanted)?;
    let took = asked[0].at.duration_since(decided).as_millis();
    report::line(&format!(
        "lab:   {took} ms from Prometheus's answer to the shed request at the API server ({under_way} other requests were under way)"
    ));
    let booked = asked.get(sent + 1).ok_or("nothing was asked after the shed")?;
    if is(booked, "patch", "analysisruns") && booked.body.pointer("/status/phase") == Some(&"Failed".into()) {
        return Ok(());
    }
    Err(format!("the verdict was not booked next, but {booked:?}").into())
}

/// True where a request sets the mark of a shed.
fn marks(asked: &Asked) -> bool {
    let operations = asked.body.as_array().into_iter().flatten();
    let set = |operation: &Value| {
        operation.get("op") == Some(&"add".into()) && operation.to_string().contains("shed.serin.dev")
    };
    operations.into_iter().any(set)
}

/// The VirtualService's spec and annotations, as they are now.
pub(super) async fn virtual_service(shop: &Shop<'_>) -> Fallible<Value> {
    let live =
        shop.stack.object(&shop.namespace, "networking.istio.io/v1", "VirtualService", "myapp-vsvc").await?;
    let part = |pointer: &str| live.pointer(pointer).cloned().unwrap_or_default();
    Ok(
        json!({"spec": part("/spec"), "annotations": part("/metadata/annotations"), "labels": part("/metadata/labels")}),
    )
}

/// The commit puts back the file byte for byte, and its body gives the value that was measured, its limit and the ticket.
pub(super) fn evidence(shop: &Shop<'_>, case: &Case, original: &str) -> Fallible {
    let mut by_bot = case.commits.iter().filter(|commit| commit.author == case.names.bot);
    let commit = by_bot.next().ok_or("no commit of the bot")?;
    same("the file after the revert", &shop.repository.file(&commit.id, ROLLOUT_FILE)?.as_str(), &original)?;
    let bad = case.entries.iter().rev().find_map(|entry| match &entry.kind {
        Kind::Answer { metric, value: Some(value), is_good: false } => Some((metric, *value)),
        Kind::Answer { .. } | Kind::Request(_) | Kind::Act { .. } | Kind::Died { .. } => None,
    });
    let (metric, value) = bad.ok_or("no bad sample was ever given")?;
    let errors = if metric == "error-rate" { value } else { 1.0 - value };
    if !(0.05..0.15).contains(&errors) {
        return Err(format!("{NEW} fails 8 of 100 and {metric} = {value} was measured").into());
    }
    let metric = format!("{metric} = {value} (limit: ");
    for wanted in
        [metric.as_str(), "Ticket: OPS-1234", "Duration: ", " % of the traffic", "Serin-Rollback-Key: "]
    {
        if !commit.message.contains(wanted) {
            return Err(format!("the commit lacks {wanted:?}:\n{}", commit.message).into());
        }
    }
    for message in &case.messages {
        for wanted in [OLD, NEW, " % of the traffic", "all of it is on v1.1.0"] {
            if !message.text.contains(wanted) {
                return Err(format!("the message lacks {wanted}: {}", message.text).into());
            }
        }
    }
    Ok(())
}

pub(super) fn only(answers: &[Answer], version: &str) -> Fallible {
    let counts = load::by_version(answers);
    if counts.len() == 1 && counts.contains_key(version) {
        return Ok(());
    }
    Err(format!("only {version} should answer: {counts:?}").into())
}

fn is(asked: &Asked, verb: &str, resource: &str) -> bool {
    asked.right.resource == resource && asked.right.verb == verb && (200..300).contains(&asked.code)
}

pub(super) fn same<T: PartialEq + std::fmt::Debug>(what: &str, seen: &T, wanted: &T) -> Fallible {
    if seen == wanted { Ok(()) } else { Err(format!("{what}: {seen:?}, not {wanted:?}").into()) }
}
