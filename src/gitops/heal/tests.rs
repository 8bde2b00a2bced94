use kube::core::ObjectMeta;
use serde_json::json;

use super::*;
use crate::gitops::{edit::Outcome, fixtures};

const RULES: Rules = Rules { allow_file_remotes: true, max_age_seconds: 3600 };

/// The Rollout as it stands after its rollback: on the bad version, aborted.
fn rolled_back() -> RolloutFacts {
    RolloutFacts {
        uid: "uid-1".into(),
        labels: [("app".into(), "myapp".into())].into(),
        current_hash: "bad1".into(),
        is_aborted: true,
        images: fixtures::images("registry.example/myapp:v1.2.0"),
        ..RolloutFacts::default()
    }
}

fn policy(name: &str, change: serde_json::Value) -> SelfHealPolicy {
    let mut spec = json!({
        "rolloutSelector": {"matchLabels": {"app": "myapp"}},
        "git": {"url": "file:///srv/deploy.git", "branch": "main"},
        "target": {"path": "a.yaml", "kind": "Manifest"},
        "mode": "Push"
    });
    json_patch::merge(&mut spec, &change);
    SelfHealPolicy {
        metadata: ObjectMeta { name: Some(name.into()), ..ObjectMeta::default() },
        spec: serde_json::from_value(spec).unwrap(),
    }
}

/// A situation that owns its parts.
struct Case {
    intent: SelfHealSpec,
    attempts: i32,
    age_seconds: i64,
    rollout: Option<RolloutFacts>,
    policies: Vec<SelfHealPolicy>,
    rules: Rules,
}

impl Case {
    /// The Rollout of the case, which has one.
    fn rollout(&mut self) -> &mut RolloutFacts {
        self.rollout.as_mut().unwrap()
    }
}

/// The phase and the reason of a gate that is shut; `None` where Git is asked and a push is allowed.
fn shut(change: impl FnOnce(&mut Case)) -> Option<(Phase, &'static str)> {
    let mut case = Case {
        intent: fixtures::intent(),
        attempts: 0,
        age_seconds: 60,
        rollout: Some(rolled_back()),
        policies: vec![policy("p", json!({}))],
        rules: RULES,
    };
    change(&mut case);
    let Case { intent, attempts, age_seconds, rollout, policies, rules } = &case;
    let situation = Situation {
        intent,
        attempts: *attempts,
        age_seconds: *age_seconds,
        rollout: rollout.as_ref(),
        policies,
        rules: *rules,
    };
    match gate(&situation) {
        Gate::Stop(standing) | Gate::Ask { hold: Some(standing), .. } => {
            Some((standing.phase, standing.reason))
        }
        Gate::Ask { hold: None, .. } => None,
    }
}

fn shut_by_rollout(change: impl FnOnce(&mut RolloutFacts)) -> Option<(Phase, &'static str)> {
    shut(|case| change(case.rollout()))
}

fn shut_by_intent(change: impl FnOnce(&mut SelfHealSpec)) -> Option<(Phase, &'static str)> {
    shut(|case| change(&mut case.intent))
}

fn shut_by_policy(change: serde_json::Value) -> Option<(Phase, &'static str)> {
    shut(|case| case.policies = vec![policy("p", change)])
}

#[test]
fn git_is_asked_for_a_rollout_that_was_rolled_back_and_has_a_policy() {
    assert_eq!(shut(|_| ()), None);
}

#[test]
fn a_rollout_that_is_not_the_rolled_back_one_is_left_alone() {
    assert_eq!(shut(|case| case.rollout = None), Some((Phase::Superseded, "RolloutGone")));
    assert_eq!(shut_by_rollout(|r| r.uid = "uid-2".into()), Some((Phase::Superseded, "RolloutGone")));
    assert_eq!(
        shut_by_rollout(|r| r.current_hash = "third".into()),
        Some((Phase::Superseded, "RolloutMovedOn"))
    );
    assert_eq!(
        shut_by_rollout(|r| r.current_hash = "good1".into()),
        Some((Phase::NotNeeded, "RolloutIsGood"))
    );
    assert_eq!(shut_by_rollout(|r| r.is_aborted = false), Some((Phase::Pending, "NotAborted")));
    assert_eq!(shut_by_rollout(|r| r.current_hash.clear()), Some((Phase::Pending, "NotSeen")));
    let by_images = |r: &mut RolloutFacts| {
        r.current_hash = "same-images-other-hash".into();
        r.images = fixtures::images("registry.example/myapp:v1.1.0");
    };
    assert_eq!(shut_by_rollout(by_images), Some((Phase::NotNeeded, "RolloutIsGood")));
}

#[test]
fn only_one_policy_that_reverts_for_this_cause_opens_the_gate() {
    assert_eq!(shut(|case| case.policies.clear()), Some((Phase::NoPolicy, "NoPolicy")));
    let two = vec![policy("a", json!({})), policy("b", json!({"rolloutSelector": null}))];
    assert_eq!(shut(|case| case.policies = two), Some((Phase::Blocked, "AmbiguousPolicy")));
    let other = json!({"rolloutSelector": {"matchLabels": {"app": "other"}}});
    assert_eq!(shut_by_policy(other), Some((Phase::NoPolicy, "NoPolicy")));
    let expression = json!({"rolloutSelector": {"matchLabels": null,
        "matchExpressions": [{"key": "app", "operator": "NotIn", "values": ["myapp"]}]}});
    assert_eq!(shut_by_policy(expression), Some((Phase::NoPolicy, "NoPolicy")));
    assert_eq!(shut_by_policy(json!({"on": ["UserAbort"]})), Some((Phase::NoPolicy, "CauseNotSelected")));
}

#[test]
fn causes_that_say_nothing_about_the_version_never_touch_git() {
    for cause in [Cause::NoData, Cause::MetricError, Cause::Superseded] {
        let on = json!({"on": ["MetricFailed", "ProgressDeadline", "UserAbort"]});
        let shut = shut(|case| {
            case.intent.cause = cause;
            case.policies = vec![policy("p", on)];
        });
        assert_eq!(shut, Some((Phase::NoPolicy, "CauseNotSelected")));
    }
}

#[test]
fn a_failed_metric_without_a_measurement_is_not_believed() {
    assert_eq!(shut_by_intent(|i| i.evidence = None), Some((Phase::Blocked, "NoEvidence")));
    let no_value = |i: &mut SelfHealSpec| i.evidence.as_mut().unwrap().value.clear();
    assert_eq!(shut_by_intent(no_value), Some((Phase::Blocked, "NoEvidence")));
}

#[test]
fn an_old_failure_is_left_to_people_unless_it_was_begun() {
    assert_eq!(shut(|case| case.age_seconds = 3601), Some((Phase::Blocked, "TooOld")));
    let begun = |case: &mut Case| {
        case.age_seconds = 3601;
        case.attempts = 1;
    };
    assert_eq!(shut(begun), None);
}

#[test]
fn addresses_that_hold_a_password_or_are_not_switched_on_are_refused() {
    let url = |url: &str| shut_by_policy(json!({"git": {"url": url}}));
    assert_eq!(url("https://user:token@git.example/x"), Some((Phase::Blocked, "CredentialInUrl")));
    assert_eq!(url("user:token@git.example/x"), Some((Phase::Blocked, "CredentialInUrl")));
    assert_eq!(url("http://git.example/x"), Some((Phase::Blocked, "RemoteNotEncrypted")));
    assert_eq!(url("https://git.example/x"), None);
    assert_eq!(url("file:///srv/a:b@c.git"), None);
    let strict = Rules { allow_file_remotes: false, ..RULES };
    assert_eq!(shut(|case| case.rules = strict), Some((Phase::Blocked, "RemoteNotAllowed")));
    for branch in ["", "a..b", "-x y", "a.lock", "x:y"] {
        let shut = shut_by_policy(json!({"git": {"branch": branch}}));
        assert_eq!(shut, Some((Phase::Blocked, "BranchRefused")), "{branch}");
    }
}

#[test]
fn after_a_try_git_is_asked_for_our_commit_even_where_nothing_may_be_pushed() {
    let (intent, mut rollout, policies) = (fixtures::intent(), rolled_back(), [policy("p", json!({}))]);
    rollout.current_hash = "good1".into();
    let situation = Situation {
        intent: &intent,
        attempts: 1,
        age_seconds: 60,
        rollout: Some(&rollout),
        policies: &policies,
        rules: RULES,
    };
    let gate = gate(&situation);
    let Gate::Ask { hold: Some(hold), .. } = gate else { panic!("{gate:?}") };
    assert_eq!(hold.reason, "RolloutIsGood");
}

fn edited() -> Outcome {
    Outcome::Edited { bytes: b"new".to_vec(), edits: vec![] }
}

fn next_of(mode: &str, hold: Option<Standing>, recent: usize, tip: Tip) -> Next {
    let policy = policy("p", json!({"mode": mode, "limits": {"perHour": 2}}));
    next(&fixtures::intent(), &policy.spec, hold, recent, tip)
}

/// The phase, the reason and the commit where nothing is to be done.
fn stands(next: &Next) -> Option<(Phase, &'static str, Option<&str>)> {
    match next {
        Next::Stand { standing, commit } => Some((standing.phase, standing.reason, commit.as_deref())),
        Next::Show { .. } | Next::Commit { .. } => None,
    }
}

#[test]
fn what_the_branch_holds_decides() {
    let found = |file| {
        let next = next_of("Push", None, 0, Tip { ours: None, file });
        stands(&next).map(|(phase, reason, commit)| (phase, reason, commit.map(str::to_owned)))
    };
    assert_eq!(found(Outcome::AlreadyGood), Some((Phase::NotNeeded, "GitIsGood", None)));
    let third = Outcome::ThirdValue { container: "app".into(), found: "x".into() };
    assert_eq!(found(third), Some((Phase::Superseded, "ThirdValue", None)));
    let refused = Outcome::Refused(edit::Refusal::Template);
    assert_eq!(found(refused), Some((Phase::Blocked, "Template", None)));
    let push = next_of("Push", None, 1, Tip { ours: None, file: edited() });
    assert_eq!(push, Next::Commit { bytes: b"new".to_vec() });
    let show = next_of("DryRun", None, 99, Tip { ours: None, file: edited() });
    assert_eq!(show, Next::Show { bytes: b"new".to_vec() });
    let limited = next_of("Auto", None, 2, Tip { ours: None, file: edited() });
    assert_eq!(stands(&limited), Some((Phase::Blocked, "RateLimited", None)));
}

#[test]
fn a_commit_of_ours_is_never_made_twice() {
    let ours = |file| Tip { ours: Some("c0ffee".into()), file };
    let hold = Standing::new(Phase::Superseded, "RolloutMovedOn", "");
    for hold in [None, Some(hold)] {
        let found = next_of("Push", hold.clone(), 0, ours(Outcome::AlreadyGood));
        assert_eq!(stands(&found), Some((Phase::Pushed, "WaitingForEngine", Some("c0ffee"))));
        let again = next_of("Push", hold, 0, ours(edited()));
        assert_eq!(stands(&again), Some((Phase::Blocked, "RevertOverwritten", Some("c0ffee"))));
    }
}

#[test]
fn a_hold_keeps_back_a_push_and_nothing_else() {
    let hold = || Some(Standing::new(Phase::Pending, "NotAborted", ""));
    let held = next_of("Push", hold(), 0, Tip { ours: None, file: edited() });
    assert_eq!(stands(&held), Some((Phase::Pending, "NotAborted", None)));
    let good = next_of("Push", hold(), 0, Tip { ours: None, file: Outcome::AlreadyGood });
    assert_eq!(stands(&good), Some((Phase::NotNeeded, "GitIsGood", None)));
}

#[test]
fn a_pushed_revert_is_synced_when_the_rollout_is_healthy_on_the_good_version() {
    let intent = fixtures::intent();
    let at = |hash: &str, is_healthy| {
        let rollout = RolloutFacts {
            current_hash: hash.into(),
            is_healthy,
            images: crate::api::serin::Images::new(),
            ..rolled_back()
        };
        let standing = synced(&intent, Some(&rollout));
        (standing.phase, standing.reason)
    };
    assert_eq!(at("bad1", true), (Phase::Pushed, "WaitingForEngine"));
    assert_eq!(at("good1", false), (Phase::Pushed, "WaitingForHealth"));
    assert_eq!(at("good1", true), (Phase::Synced, "Healthy"));
    assert_eq!(at("third", true), (Phase::Superseded, "RolloutMovedOn"));
    assert_eq!(synced(&intent, None).reason, "RolloutGone");
}
