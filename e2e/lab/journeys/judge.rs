//! What happened, from what others can see: the objects and audit log of the API server, Prometheus's own log, the repository's
//! history, the channel, and the answers that users got.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::{
    shop::{NEW, OLD, ROLLOUT_FILE, Shop},
    story::Shed,
};
use crate::{
    Fallible,
    audit::Asked,
    git::Commit,
    load::{self, Answer, Outcome},
    report,
    roles::TRAFFIC_DELAY,
};

const BOT: &str = "SelfHeal Bot";
/// From the shed request to the last answer by the canary: a watch event, and answers under way.
const SHED_SERVED: SignedDuration = SignedDuration::from_millis(1000);

/// The weights went up by the steps and then to 0 for good, and the canary answered nobody afterwards.
pub(super) fn traffic_went_back(shop: &Shop<'_>) -> Fallible {
    let weights = shop.canary_weights();
    let [.., (_, before), (seen, 0)] = weights[..] else {
        return Err(format!("the canary's weights did not end at 0: {weights:?}").into());
    };
    let steps = [0, 10, 20, 50];
    let up: Vec<u64> = weights[..weights.len() - 1].iter().map(|(_, weight)| *weight).collect();
    if !steps.starts_with(&up) || before == 0 {
        return Err(format!("the canary's weights did not follow the steps: {weights:?}").into());
    }
    let answers = shop.load.answers(Timestamp::MIN);
    let last = answers
        .iter()
        .rfind(|answer| matches!(&answer.outcome, Outcome::Answered { version, .. } if version == NEW));
    let late = last.map_or(SignedDuration::ZERO, |last| last.at.duration_since(seen));
    if late > SHED_SERVED {
        return Err(format!("{NEW} still answered {late:#} after the shed").into());
    }
    Ok(())
}

/// The canary that failed, by the SelfHeal that was made for it: the name of its ReplicaSet.
async fn failed_canary(shop: &Shop<'_>) -> Fallible<String> {
    let heals = shop.objects("serin.dev/v1alpha1", "SelfHeal").await?;
    let [heal] = &heals[..] else { return Err(format!("not one SelfHeal: {heals:?}").into()) };
    let hash = heal.pointer("/spec/bad/hash").and_then(Value::as_str).ok_or("a SelfHeal without a hash")?;
    Ok(format!("myapp-{hash}"))
}

/// From the answer of Prometheus that decided to the shed, the controller asked for nothing else; then it booked the verdict; and no
/// version was scaled down before the mesh had had its time. By the logs of Prometheus and of the API server.
pub(super) async fn order_of_requests(shop: &Shop<'_>, shed: Shed) -> Fallible {
    let measured = ["rollouts_pod_template_hash", &format!("namespace=\"{}\"", shop.namespace), "5.."];
    let answered = shop.stack.prometheus.answered(&measured)?;
    let decided = *answered.last().ok_or("Prometheus was never asked")?;
    let measurements = measurements(&failed_run(shop).await?).len();
    same("queries and measurements of the canary", &answered.len(), &measurements)?;

    let asked: Vec<Asked> = shop.requests()?.into_iter().filter(|asked| asked.at >= decided).collect();
    let sent = asked.iter().position(|asked| is(asked, "patch", "virtualservices")).ok_or("no shed")?;
    let way: Vec<(&str, &str, u64, bool)> = asked[..=sent]
        .iter()
        .map(|asked| (&*asked.right.verb, &*asked.right.resource, asked.code, marks(asked)))
        .collect();
    let wanted: &[_] = match shed {
        Shed::Marked => &[("patch", "virtualservices", 200, true)],
        Shed::Unmarked => &[
            ("patch", "virtualservices", 422, true),
            ("get", "virtualservices", 200, false),
            ("patch", "virtualservices", 422, true),
            ("patch", "virtualservices", 200, false),
        ],
    };
    same("from the sample that decided to the shed", &&way[..], &wanted)?;
    let took = asked[0].at.duration_since(decided).as_millis();
    report::line(&format!("lab:   {took} ms from Prometheus's answer to the shed request at the API server"));
    if !says_number(&asked[sent].body, "weight", 0) {
        return Err(format!("the shed sets no weight to 0: {}", asked[sent].body).into());
    }
    let booked = asked.get(sent + 1).ok_or("nothing was asked after the shed")?;
    if !is(booked, "patch", "analysisruns") || booked.body.pointer("/status/phase") != Some(&"Failed".into())
    {
        return Err(format!("the verdict was not booked next, but {booked:?}").into());
    }
    let canary = failed_canary(shop).await?;
    let allowed = asked[sent].at + SignedDuration::try_from(TRAFFIC_DELAY)?;
    let mut ended = false;
    for scaled in asked[sent..].iter().filter(|asked| is(asked, "patch", "replicasets")) {
        let Some(replicas) = scaled.body.pointer("/spec/replicas").and_then(Value::as_u64) else { continue };
        if scaled.right.name != canary || scaled.at < allowed {
            return Err(format!("scaled {scaled:?}, shed at {}", asked[sent].at).into());
        }
        ended |= replicas == 0;
    }
    if ended { Ok(()) } else { Err(format!("{canary} was never scaled down").into()) }
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

/// The story left nothing behind in the VirtualService and took nothing away, but who set which weight.
pub(super) async fn kept_the_virtual_service(shop: &Shop<'_>, before: &Value) -> Fallible {
    same("the VirtualService", &virtual_service(shop).await?, before)
}

/// Exactly one commit by the bot, on top of the release; it puts the image line back and touches nothing else.
pub(super) fn one_line_revert(shop: &Shop<'_>, original: &str, release: &str) -> Fallible<Commit> {
    let log = shop.repository.log()?;
    let [commit] = &by_bot(shop)?[..] else {
        return Err(format!("not one commit of the bot: {log:?}").into());
    };
    same(
        "the commits, newest first",
        &log.iter().take(2).map(|entry| entry.id.as_str()).collect(),
        &vec![commit.id.as_str(), release],
    )?;
    same("the subject", &commit.subject, &"Auto-rollback to v1.1.0".to_owned())?;
    same("the file after the revert", &shop.repository.file(&commit.id, ROLLOUT_FILE)?.as_str(), &original)?;
    let diff = shop.repository.diff(&commit.id)?;
    let is_image = |line: &String, sign: char, version: &str| {
        line.starts_with(sign) && line.contains("image:") && line.contains(&format!(":{version}\""))
    };
    match &diff[..] {
        [out, into] if is_image(out, '-', NEW) && is_image(into, '+', OLD) => Ok(commit.clone()),
        _ => Err(format!("the revert is not the image line: {diff:#?}").into()),
    }
}

/// The value that the commit's body gives is the one that was measured, with its limit, and the ticket is named.
pub(super) async fn evidence(shop: &Shop<'_>, commit: &Commit) -> Fallible {
    let run = failed_run(shop).await?;
    let last = measurements(&run).pop().unwrap_or_default();
    let measured = last.get("value").and_then(Value::as_str).ok_or("the failed measurement has no value")?;
    let number: f64 = measured.parse()?;
    if !(0.05..0.15).contains(&number) {
        return Err(format!("{NEW} fails 8 of 100 and {measured} was measured").into());
    }
    let metric = format!("error-rate = {measured} (limit: result < 0.05)");
    for wanted in
        [metric.as_str(), "Ticket: OPS-1234", "Duration: ", "50 % of the traffic", "Serin-Rollback-Key: "]
    {
        if !commit.body.contains(wanted) {
            return Err(format!("the commit's body lacks {wanted:?}:\n{}", commit.body).into());
        }
    }
    Ok(())
}

/// One message, which ends up naming both versions and the commit.
pub(super) async fn one_message(shop: &Shop<'_>, commit: &Commit) -> Fallible {
    let short = commit.id.get(..7).unwrap_or_default();
    let stack = shop.stack;
    let namespace = shop.namespace.clone();
    let messages = crate::wait::until("the message to name the commit", crate::stack::SOON, async || {
        let messages = stack.slack.about(&namespace);
        let told = messages.last().is_some_and(|message| message.to_string().contains(short));
        if told { Ok(messages) } else { Err(format!("{messages:?}").into()) }
    })
    .await?;
    same("messages in the channel", &messages.len(), &1)?;
    let text = messages.first().map(Value::to_string).unwrap_or_default();
    for wanted in [OLD, NEW, "error-rate", "50 % of the traffic", "all of it is on v1.1.0"] {
        if !text.contains(wanted) {
            return Err(format!("the message lacks {wanted}: {text}").into());
        }
    }
    Ok(())
}

pub(super) fn by_bot(shop: &Shop<'_>) -> Fallible<Vec<Commit>> {
    Ok(shop.repository.log()?.into_iter().filter(|commit| commit.author == BOT).collect())
}

async fn failed_run(shop: &Shop<'_>) -> Fallible<Value> {
    let runs = shop.objects("argoproj.io/v1alpha1", "AnalysisRun").await?;
    let failed = |run: &Value| run.pointer("/status/phase") == Some(&"Failed".into());
    let mut failed = runs.into_iter().filter(failed);
    match (failed.next(), failed.next()) {
        (Some(run), None) => Ok(run),
        other => Err(format!("not one failed AnalysisRun: {other:?}").into()),
    }
}

/// The measurements of the canary's error rate, oldest first.
fn measurements(run: &Value) -> Vec<Value> {
    let results = run.pointer("/status/metricResults").and_then(Value::as_array).into_iter().flatten();
    let named = results.filter(|result| result.get("name") == Some(&"error-rate".into()));
    named.filter_map(|result| result.get("measurements")?.as_array()).flatten().cloned().collect()
}

pub(super) fn only(answers: &[Answer], version: &str) -> Fallible {
    let counts = load::by_version(answers);
    if counts.len() == 1 && counts.contains_key(version) {
        return Ok(());
    }
    Err(format!("only {version} should answer: {counts:?}").into())
}

/// No request met a missing or closed endpoint, and no 5xx came from anywhere but the bad version itself.
pub(super) fn nothing_lost(answers: &[Answer]) -> Fallible {
    let lost = load::lost(answers);
    // Before the first version was ready there was nobody to answer.
    let first = answers.iter().find(|answer| matches!(answer.outcome, Outcome::Answered { .. }));
    let first = first.ok_or("nobody ever answered")?.at;
    let lost: Vec<&Answer> = lost.iter().filter(|answer| answer.at > first).collect();
    if let Some(one) = lost.first() {
        return Err(
            format!("{} of {} requests were lost, the first: {one:?}", lost.len(), answers.len()).into()
        );
    }
    let broken = |answer: &&Answer| matches!(&answer.outcome, Outcome::Answered { version, code } if version != NEW && *code >= 500);
    answers.iter().find(broken).map_or(Ok(()), |one| Err(format!("a 5xx by a good version: {one:?}").into()))
}

fn is(asked: &Asked, verb: &str, resource: &str) -> bool {
    asked.right.resource == resource && asked.right.verb == verb && (200..300).contains(&asked.code)
}

/// True where `value` holds a field `name` of that number, as an object or as an operation of a JSON patch.
fn says_number(value: &Value, name: &str, number: u64) -> bool {
    match value {
        Value::Array(items) => items.iter().any(|item| says_number(item, name, number)),
        Value::Object(fields) => {
            let named = fields.get("path").and_then(Value::as_str).is_some_and(|path| path.ends_with(name));
            let holds = |key: &str| fields.get(key).and_then(Value::as_u64) == Some(number);
            (named && holds("value"))
                || holds(name)
                || fields.values().any(|field| says_number(field, name, number))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

pub(super) fn same<T: PartialEq + std::fmt::Debug>(what: &str, seen: &T, wanted: &T) -> Fallible {
    if seen == wanted { Ok(()) } else { Err(format!("{what}: {seen:?}, not {wanted:?}").into()) }
}
