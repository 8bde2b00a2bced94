//! The story of the README, in both endings, judged from what others can see: the API server's objects and audit log, the
//! repository's history, the channel, and the answers that users got.

use std::{collections::BTreeSet, time::Duration};

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use serin::clock::Clock;

use super::shop::{NEW, OLD, ROLLOUT_FILE, Shop, no_refusal};
use crate::{
    Fallible,
    audit::Asked,
    git::Commit,
    images::Behaviour,
    load::{self, Answer, Outcome},
    roles::{Serin, TRAFFIC_DELAY},
    stack::Stack,
};

const BOT: &str = "SelfHeal Bot";
/// From the shed request to the last answer by the canary: a watch event, and answers under way.
const SHED_SERVED: SignedDuration = SignedDuration::from_millis(1000);

/// v1.2.0 behaves: it becomes stable, step by step, and nobody touches Git.
pub(crate) async fn good(stack: &Stack, serin: &mut Serin) -> Fallible {
    let mut shop = Shop::open(stack, serin, "shop-good", Behaviour::GOOD).await?;
    shop.release()?;
    shop.healthy_on(NEW).await?;
    let settled = Clock::Wall.now();
    shop.linger(Duration::from_secs(2)).await;

    let weights: Vec<u64> = shop.canary_weights().into_iter().map(|(_, weight)| weight).collect();
    same("the canary's weights", &weights, &vec![0, 10, 20, 50, 100, 0])?;
    only(&shop.load.answers(settled), NEW)?;
    nothing_lost(&shop.load.answers(Timestamp::MIN))?;
    same("commits of the bot", &by_bot(&shop)?.len(), &0)?;
    same("SelfHeals", &shop.objects("serin.dev/v1alpha1", "SelfHeal").await?.len(), &0)?;
    let runs = shop.objects("argoproj.io/v1alpha1", "AnalysisRun").await?;
    let phases: BTreeSet<&str> =
        runs.iter().filter_map(|run| run.pointer("/status/phase")?.as_str()).collect();
    same("phases of the analysis runs", &phases, &BTreeSet::from(["Successful"]))?;
    no_refusal(&shop.audit)
}

/// v1.2.0 fails eight of a hundred requests: traffic is back on stable before anything else happens, and Git says v1.1.0 again.
pub(crate) async fn bad_metric(stack: &Stack, serin: &mut Serin) -> Fallible {
    bad_metric_in(stack, serin, "shop-bad").await
}

/// As [`bad_metric`], in a namespace of the caller's choice.
pub(crate) async fn bad_metric_in(stack: &Stack, serin: &mut Serin, namespace: &str) -> Fallible {
    let mut shop = Shop::open(stack, serin, namespace, Behaviour::failing(8)).await?;
    let original = shop.repository.file(&shop.repository.tip()?, ROLLOUT_FILE)?;
    let release = shop.release()?;
    let phase =
        |heal: &Value| heal.pointer("/status/phase").and_then(Value::as_str).unwrap_or_default().to_owned();
    let (stack, namespace) = (shop.stack, shop.namespace.clone());
    shop.until("the SelfHeal to be Synced", async || {
        let heals = stack.objects(&namespace, "serin.dev/v1alpha1", "SelfHeal").await?;
        let synced = heals.iter().any(|heal| phase(heal) == "Synced");
        if synced { Ok(()) } else { Err(serde_json::to_string(&heals)?.into()) }
    })
    .await?;
    shop.healthy_on(OLD).await?;
    let settled = Clock::Wall.now();
    // Long enough for a new canary to show itself.
    shop.linger(Duration::from_secs(4)).await;

    let shed = traffic_went_back(&shop)?;
    order_of_requests(&shop, shed).await?;
    only(&shop.load.answers(settled), OLD)?;
    nothing_lost(&shop.load.answers(Timestamp::MIN))?;
    let commit = one_line_revert(&shop, &original, &release)?;
    evidence(&shop, &commit).await?;
    one_message(&shop, &commit).await?;
    same("what the engine applied last", &shop.engine.applied().last().cloned(), &Some(commit.id))?;
    no_refusal(&shop.audit)
}

/// The weights went up by the steps and then to 0 for good. Answers with the time and with the weight before.
fn traffic_went_back(shop: &Shop<'_>) -> Fallible<Timestamp> {
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
    Ok(seen)
}

/// The shed is the controller's first request after the sample that decided, and nothing of the canary is scaled down before the
/// mesh has had its time.
async fn order_of_requests(shop: &Shop<'_>, seen: Timestamp) -> Fallible {
    let writes = shop.writes()?;
    let shed =
        writes.iter().rposition(|asked| is(asked, "virtualservices") && asked.at <= seen).ok_or("no shed")?;
    let booked = writes.iter().position(|asked| is(asked, "analysisruns") && says(&asked.body, "Failed"));
    let booked = booked.ok_or("no request booked the verdict")?;
    if booked < shed {
        return Err("the verdict was booked before traffic was shed".into());
    }
    let sampled = decided(shop).await?;
    // The run has whole seconds: what was asked within the same second is not told apart.
    let between: Vec<&Asked> =
        writes[..shed].iter().filter(|asked| asked.at >= sampled + SignedDuration::from_secs(1)).collect();
    if !between.is_empty() {
        return Err(format!("asked between the sample that decided and the shed: {between:?}").into());
    }
    let allowed = writes[shed].at + SignedDuration::try_from(TRAFFIC_DELAY)?;
    let smaller = |asked: &&Asked| is(asked, "replicasets") && says_number(&asked.body, "replicas", 0);
    let early = writes[shed..].iter().filter(smaller).find(|asked| asked.at < allowed);
    early.map_or(Ok(()), |early| {
        Err(format!("the canary was scaled down {early:?}, shed {}", writes[shed].at).into())
    })
}

/// When the measurement that failed the run was finished.
async fn decided(shop: &Shop<'_>) -> Fallible<Timestamp> {
    let run = failed_run(shop).await?;
    let last = last_measurement(&run).ok_or("the failed run has no measurement")?;
    Ok(last.get("finishedAt").and_then(Value::as_str).unwrap_or_default().parse()?)
}

/// Exactly one commit by the bot, on top of the release; it puts the image line back and touches nothing else.
fn one_line_revert(shop: &Shop<'_>, original: &str, release: &str) -> Fallible<Commit> {
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
async fn evidence(shop: &Shop<'_>, commit: &Commit) -> Fallible {
    let run = failed_run(shop).await?;
    let measured = last_measurement(&run).and_then(|last| last.get("value")?.as_str());
    let measured = measured.ok_or("the failed measurement has no value")?;
    let number: f64 = measured.parse()?;
    if !(0.05..0.15).contains(&number) {
        return Err(format!("{NEW} fails 8 of 100 and {measured} was measured").into());
    }
    let metric = format!("error-rate = {measured} (limit: result < 0.05)");
    for wanted in [metric.as_str(), "OPS-1234", "Duration:", "Weight:"] {
        if !commit.body.contains(wanted) {
            return Err(format!("the commit's body lacks {wanted:?}:\n{}", commit.body).into());
        }
    }
    Ok(())
}

/// One message, which ends up naming both versions and the commit.
async fn one_message(shop: &Shop<'_>, commit: &Commit) -> Fallible {
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
    for wanted in [OLD, NEW, "error-rate"] {
        if !text.contains(wanted) {
            return Err(format!("the message lacks {wanted}: {text}").into());
        }
    }
    Ok(())
}

fn by_bot(shop: &Shop<'_>) -> Fallible<Vec<Commit>> {
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

fn last_measurement(run: &Value) -> Option<&Value> {
    let mut results = run.pointer("/status/metricResults")?.as_array()?.iter();
    results
        .find(|result| result.get("name") == Some(&"error-rate".into()))?
        .get("measurements")?
        .as_array()?
        .last()
}

fn only(answers: &[Answer], version: &str) -> Fallible {
    let counts = load::by_version(answers);
    if counts.len() == 1 && counts.contains_key(version) {
        return Ok(());
    }
    Err(format!("only {version} should answer: {counts:?}").into())
}

/// No request met a missing or closed endpoint, and no 5xx came from anywhere but the bad version itself.
fn nothing_lost(answers: &[Answer]) -> Fallible {
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

fn is(asked: &Asked, resource: &str) -> bool {
    asked.right.resource == resource && asked.right.verb == "patch" && (200..300).contains(&asked.code)
}

/// True where `value` holds the string anywhere.
fn says(value: &Value, word: &str) -> bool {
    match value {
        Value::String(text) => text == word,
        Value::Array(items) => items.iter().any(|item| says(item, word)),
        Value::Object(fields) => fields.values().any(|field| says(field, word)),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
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

fn same<T: PartialEq + std::fmt::Debug>(what: &str, seen: &T, wanted: &T) -> Fallible {
    if seen == wanted { Ok(()) } else { Err(format!("{what}: {seen:?}, not {wanted:?}").into()) }
}
