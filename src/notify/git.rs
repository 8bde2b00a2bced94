//! What a message says about Git. No I/O. No clock.

use super::words::{code, link, plain};
use crate::api::serin::{Cause, Phase, SelfHeal};

/// Digits of a commit id that people read aloud.
const SHORT_COMMIT: usize = 10;

/// One sentence; `names` are the bad and the good version, escaped.
pub(super) fn sentence(cause: Option<Cause>, heal: Option<&SelfHeal>, names: (&str, &str)) -> String {
    let (bad, good) = names;
    let Some(heal) = heal else { return without_intent(cause, bad) };
    let status = heal.status.clone().unwrap_or_default();
    let short: String = status.commit.chars().take(SHORT_COMMIT).collect();
    let commit = if short.is_empty() {
        "a commit".to_owned()
    } else {
        format!("commit {}", code(&short, SHORT_COMMIT))
    };
    let reason =
        if status.reason.is_empty() { String::new() } else { format!(" ({})", plain(&status.reason, 64)) };
    let details = code(
        &format!(
            "kubectl get selfheal {} -n {} -o yaml",
            heal.metadata.name.as_deref().unwrap_or_default(),
            heal.metadata.namespace.as_deref().unwrap_or_default()
        ),
        600,
    );
    match status.phase {
        None => format!("still asks for {bad}; the revert to {good} is on its way."),
        // What is being done right now would edit the message twice a second; what it waits for is news.
        Some(Phase::Working) => format!("still asks for {bad}; the revert to {good} is on its way."),
        Some(Phase::Pending) => {
            format!("still asks for {bad}; the revert to {good} is on its way{reason}.")
        }
        Some(Phase::NoPolicy) if status.reason == "CauseNotSelected" => {
            let cause = in_words(heal.spec.cause);
            format!("unchanged, it still asks for {bad}: by its policy {cause} is not reverted.")
        }
        Some(Phase::NoPolicy) => {
            format!("unchanged, it still asks for {bad}: no SelfHealPolicy covers this.")
        }
        Some(Phase::DryRun) => {
            format!("unchanged, it still asks for {bad}: the policy is a dry run. The diff: {details}")
        }
        Some(Phase::Pushed) => format!("reverted to {good} by {commit}; the cluster is about to follow."),
        Some(Phase::PullRequestOpen) => {
            format!(
                "still asks for {bad}; the revert waits in {}.",
                link(&status.pull_request, "a pull request")
            )
        }
        Some(Phase::Synced) => format!("reverted to {good} by {commit}; the cluster runs what Git says."),
        Some(Phase::Superseded) => "left alone: a newer version is there already.".to_owned(),
        Some(Phase::NotNeeded) => format!("asks for {good} already; nothing was committed."),
        Some(Phase::Blocked) => {
            let message = plain(&status.message, 400);
            format!("still asks for {bad} and a person is needed{reason}: {message} Details: {details}")
        }
    }
}

/// What is said while there is no SelfHeal.
fn without_intent(cause: Option<Cause>, bad: &str) -> String {
    match cause {
        Some(Cause::MetricFailed) | None => format!("still asks for {bad}; a revert is not decided yet."),
        Some(Cause::NoData | Cause::MetricError) => {
            format!(
                "unchanged, it still asks for {bad}: only a version that was measured and found bad is reverted."
            )
        }
        Some(Cause::ProgressDeadline | Cause::UserAbort | Cause::Superseded) => {
            format!("unchanged, it still asks for {bad}.")
        }
    }
}

fn in_words(cause: Cause) -> &'static str {
    match cause {
        Cause::UserAbort => "an abort by a person",
        Cause::ProgressDeadline => "a missed progress deadline",
        Cause::MetricFailed | Cause::NoData | Cause::MetricError | Cause::Superseded => "this",
    }
}

/// True once Git will not change the message any more.
pub(super) fn is_over(heal: Option<&SelfHeal>) -> bool {
    heal.and_then(|heal| heal.status.as_ref()?.phase).is_some_and(Phase::is_final)
}
