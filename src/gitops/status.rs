//! The status of a SelfHeal: what is written of a standing, and as which patch. Pure.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use serde_json::{Map, Value};

use super::{heal::Standing, trouble};
use crate::api::serin::{Phase, SelfHealStatus};

/// The condition that says whether Git holds the good version.
pub const CONDITION: &str = "GitReverted";

/// The most bytes of a message and of a diff, as the schema has them.
const MAX_MESSAGE_BYTES: usize = 2048;
pub(super) const MAX_DIFF_BYTES: usize = 8192;

/// The status that follows `old` when the revert stands as `standing` says. Keeps what the standing says nothing of.
pub fn follow(
    old: &SelfHealStatus,
    standing: &Standing,
    generation: Option<i64>,
    now: Timestamp,
) -> SelfHealStatus {
    let mut status = SelfHealStatus {
        phase: Some(standing.phase),
        reason: standing.reason.into(),
        message: bounded(&standing.message),
        ..old.clone()
    };
    let holds = match standing.phase {
        Phase::Pushed | Phase::Synced | Phase::NotNeeded => "True",
        Phase::Pending | Phase::Blocked if trouble::is_in_the_dark(standing.reason) => "Unknown",
        Phase::Pending
        | Phase::NoPolicy
        | Phase::DryRun
        | Phase::Working
        | Phase::PullRequestOpen
        | Phase::Superseded
        | Phase::Blocked => "False",
    };
    let since = old.conditions.iter().find(|c| c.type_ == CONDITION && c.status == holds);
    let since = since.map_or_else(|| Time(whole_seconds(now)), |c| c.last_transition_time.clone());
    status.conditions = vec![Condition {
        type_: CONDITION.into(),
        status: holds.into(),
        reason: standing.reason.into(),
        message: status.message.clone(),
        last_transition_time: since,
        observed_generation: generation,
    }];
    status
}

/// The wire has whole seconds.
pub(super) fn whole_seconds(at: Timestamp) -> Timestamp {
    Timestamp::from_second(at.as_second()).unwrap_or(at)
}

fn bounded(message: &str) -> String {
    let mut end = message.len().min(MAX_MESSAGE_BYTES);
    while !message.is_char_boundary(end) {
        end -= 1;
    }
    message.get(..end).unwrap_or_default().into()
}

/// The merge patch of the body of `/status` that turns `old` into `new`; `None` where nothing changes.
pub fn patch(old: &SelfHealStatus, new: &SelfHealStatus) -> Option<Value> {
    let object = |status| match serde_json::to_value(status) {
        Ok(Value::Object(map)) => map,
        Ok(_) | Err(_) => Map::new(),
    };
    let (old, new) = (object(old), object(new));
    let mut change = Map::new();
    for (key, value) in &new {
        if old.get(key) != Some(value) {
            change.insert(key.clone(), value.clone());
        }
    }
    for key in old.keys().filter(|key| !new.contains_key(*key)) {
        change.insert(key.clone(), Value::Null);
    }
    (!change.is_empty()).then(|| serde_json::json!({ "status": change }))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn a_patch_is_the_difference_and_clears_what_is_gone() {
        let old =
            SelfHealStatus { reason: "A".into(), commit: "c".into(), attempts: 1, ..Default::default() };
        let new = SelfHealStatus { commit: "c".into(), attempts: 2, ..Default::default() };
        assert_eq!(patch(&old, &new), Some(json!({"status": {"attempts": 2, "reason": null}})));
        assert_eq!(patch(&new, &new), None);
    }

    #[test]
    fn the_condition_keeps_its_time_while_its_status_stays() {
        let down = Standing::new(Phase::Pending, "RemoteUnreachable", "m");
        let first = follow(&SelfHealStatus::default(), &down, Some(1), at(10));
        assert_eq!(first.conditions[0].status, "Unknown");
        assert_eq!(follow(&first, &down, Some(1), at(20)), first);
        let pushed = follow(&first, &Standing::new(Phase::Pushed, "R", "m"), Some(1), at(30));
        let synced = follow(&pushed, &Standing::new(Phase::Synced, "S", "m"), Some(1), at(40));
        assert_eq!(
            (synced.conditions[0].status.as_str(), synced.conditions[0].reason.as_str()),
            ("True", "S")
        );
        assert_eq!(synced.conditions[0].last_transition_time.0, at(30));
    }

    #[test]
    fn a_long_message_is_cut_between_letters() {
        let standing = Standing::new(Phase::Blocked, "R", "ü".repeat(2000));
        let status = follow(&SelfHealStatus::default(), &standing, None, at(0));
        assert_eq!(status.message.len(), MAX_MESSAGE_BYTES);
    }
}
