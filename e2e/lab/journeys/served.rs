//! What users got: which version answered with what code, what was lost on the way, and when a version answered last.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use serin::sim::play::{
    judge::{Lost, Traffic},
    scenario::Scenario,
};

use super::{
    scene::{FIXED, NEW, OLD},
    shop::Shop,
};
use crate::{
    Fallible,
    load::{Answer, Outcome, RATE, by_version, lost},
    mesh, report,
};

/// From a change of the weights to the last answer under the old ones, while the mesh is quiet: its debounce and push take a tenth
/// of this.
pub(super) const SERVED: SignedDuration = SignedDuration::from_millis(1000);
/// Requests that are lost within this time of one another are one loss.
const ONE_LOSS: SignedDuration = SignedDuration::from_millis(500);
/// How long the end of a story is.
const LAST: SignedDuration = SignedDuration::from_secs(2);
/// The load that every story has to have had, in requests a second.
const ENOUGH: f64 = 200.0;

/// As the judge wants it.
pub(super) fn traffic(answers: &[Answer]) -> Traffic {
    let end = answers.last().map_or(Timestamp::MAX, |last| last.at);
    let at_last = answers.iter().filter(|answer| end.duration_since(answer.at) < LAST);
    let last: BTreeSet<String> = at_last.filter_map(|answer| version(answer).map(str::to_owned)).collect();
    let none = lost(answers);
    Traffic {
        served: by_version(answers).into_iter().map(|(version, count)| (version, number(count))).collect(),
        failed: number(none.len()),
        last,
        lost: losses(&none, answers),
    }
}

/// Losses that belong together, as times.
fn losses(none: &[Answer], all: &[Answer]) -> Vec<Lost> {
    let mut groups: Vec<Vec<&Answer>> = vec![];
    for one in none {
        match groups.last_mut().and_then(|group| group.last().map(|last| last.at).map(|last| (group, last))) {
            Some((group, last)) if one.at.duration_since(last) <= ONE_LOSS => group.push(one),
            _ => groups.push(vec![one]),
        }
    }
    let beat = SignedDuration::from_secs_f64(1.0 / number(RATE));
    let loss = |group: &Vec<&Answer>| {
        let (first, last) = (group.first()?, group.last()?);
        let during = all.iter().filter(|answer| first.at <= answer.at && answer.at <= last.at).count();
        Some(Lost {
            from: first.at,
            lasted: last.at.duration_since(first.at) + beat,
            share: number(group.len()) / number(during.max(1)),
            destination: why(first),
        })
    };
    groups.iter().filter_map(loss).collect()
}

/// What the judge of the two worlds cannot know: that there was load enough, that only a bad version answered errors of its own,
/// that the mesh's own log counts as many lost requests as the users do, and that a loss which crashing pods cause ends with the
/// shed. Prints the totals.
///
/// # Errors
/// What was otherwise.
pub(super) fn check(shop: &Shop<'_>) -> Fallible {
    let answers = shop.load.answers(shop.opened);
    let none = lost(&answers);
    let own = |answer: &&Answer| matches!(&answer.outcome, Outcome::Answered { code, .. } if *code >= 500);
    let mut errors: BTreeMap<&str, usize> = BTreeMap::new();
    for answer in answers.iter().filter(own) {
        *errors.entry(version(answer).unwrap_or_default()).or_default() += 1;
    }
    let (Some(first), Some(last)) = (answers.first(), answers.last()) else {
        return Err("no requests".into());
    };
    let rate = number(answers.len()) / last.at.duration_since(first.at).as_secs_f64();
    let by: Vec<String> = by_version(&answers)
        .iter()
        .map(|(version, count)| match errors.get(version.as_str()) {
            Some(errors) => format!("{count} by {version} ({errors} of them its own 5xx)"),
            None => format!("{count} by {version}"),
        })
        .collect();
    let by_mesh = mesh::lost(&shop.stack.folder, &format!("{}.example.org", shop.namespace), shop.opened)?;
    report::line(&format!(
        "lab:   served: {} requests, {rate:.0} a second: {}; {} lost; 5xx of the mesh itself by its flags: {by_mesh:?}",
        answers.len(),
        by.join(", "),
        none.len()
    ));
    let has_crashes = shop.scene.scenario == Scenario::BadPods;
    let (by_routing, by_crashes) = if has_crashes { (0, none.len()) } else { (none.len(), 0) };
    report::served(report::Served { requests: answers.len(), by_routing, by_crashes });
    if rate < ENOUGH {
        return Err(format!("only {rate:.1} requests a second were sent").into());
    }
    if let Some((version, count)) = errors.iter().find(|(version, _)| [OLD, FIXED].contains(version)) {
        return Err(format!("{count} 5xx by {version}, which is a good version").into());
    }
    let counted: usize = by_mesh.values().sum();
    let mesh = none.iter().filter(|answer| matches!(answer.outcome, Outcome::Mesh { .. })).count();
    if counted != mesh {
        return Err(format!("the mesh's log has {counted} 5xx of its own, users saw {mesh}").into());
    }
    if has_crashes { ends_with_the_shed(shop, &none) } else { Ok(()) }
}

/// Requests that pods lose as they crash are no fault of the routing until the traffic is gone.
fn ends_with_the_shed(shop: &Shop<'_>, none: &[Answer]) -> Fallible {
    let weights = shop.canary_weights();
    let Some((shed, 0)) = weights.last() else { return Err(format!("never shed: {weights:?}").into()) };
    let early = none.first().is_some_and(|first| {
        weights
            .iter()
            .rev()
            .nth(1)
            .is_none_or(|(raised, _)| first.at < *raised - SignedDuration::from_secs(1))
    });
    match none.iter().find(|one| one.at.duration_since(*shed) > SERVED) {
        Some(late) => Err(format!("lost long after the shed at {shed}: {late:?}").into()),
        None if early => Err(format!("lost before the pods crashed: {:?}", none.first()).into()),
        None => {
            report::line(&format!(
                "lab:   the {} lost requests met pods that had crashed, before the shed was served",
                none.len()
            ));
            Ok(())
        }
    }
}

/// When `version` answered last.
pub(super) fn last_by(answers: &[Answer], wanted: &str) -> Option<Timestamp> {
    answers.iter().rev().find(|answer| version(answer) == Some(wanted)).map(|answer| answer.at)
}

/// Prints from which sample on how long it took until the canary answered nobody any more: `decided` is when Prometheus gave the
/// answer that decided.
///
/// # Errors
/// When the canary never answered.
pub(super) fn report_shed(shop: &Shop<'_>, decided: Timestamp) -> Fallible<SignedDuration> {
    let answers = shop.load.answers(shop.opened);
    let last = last_by(&answers, NEW).ok_or_else(|| format!("{NEW} never answered"))?;
    let took = last.duration_since(decided);
    report::line(&format!(
        "lab:   {} ms from the failing sample to the last request that {NEW} served",
        took.as_millis()
    ));
    Ok(took)
}

fn version(answer: &Answer) -> Option<&str> {
    match &answer.outcome {
        Outcome::Answered { version, .. } => Some(version),
        Outcome::Mesh { .. } | Outcome::Broken { .. } => None,
    }
}

fn why(answer: &Answer) -> String {
    match &answer.outcome {
        Outcome::Answered { version, .. } => version.clone(),
        Outcome::Mesh { code, why } => format!("{code} {why}"),
        Outcome::Broken { why } => why.clone(),
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts of requests are far below 2^52")]
fn number(count: impl TryInto<u64>) -> f64 {
    count.try_into().unwrap_or(u64::MAX) as f64
}
