use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::api::serin::{Delivery, Phase, RolloutReference, SelfHealStatus, Version};

fn time(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn images(tag: &str) -> Images {
    Images::from([("app".to_owned(), format!("registry.example/app:{tag}"))])
}

/// The Rollout of the story, aborted at 12:09:12 with its traffic back.
fn rollout() -> Rollout {
    Rollout::read(&json!({
        "metadata": {"namespace": "shop", "name": "myapp", "uid": "u1"},
        "spec": {"strategy": {"canary": {"trafficRouting": {"istio": {}}}},
            "template": {"spec": {"containers": [{"name": "app", "image": "registry.example/app:v1.2.0"}]}}},
        "status": {"currentPodHash": "bad1", "stableRS": "good1", "abort": true, "abortedAt": "2026-01-01T12:09:13Z",
            "conditions": [{"type": "Progressing", "reason": "RolloutAborted", "message": "Rollout aborted update to revision 2"}],
            "canary": {"weights": {"canary": {"weight": 0}}}},
    }))
}

fn evidence() -> Evidence {
    Evidence {
        run: "myapp-bad1-2".into(),
        metric: "error-rate".into(),
        value: "0.08".into(),
        limit: "result < 0.05".into(),
        query: String::new(),
        samples: 4,
        weight: 50,
        started_at: Some(Time(time("2026-01-01T12:00:00Z"))),
        failed_at: Some(Time(time("2026-01-01T12:09:12Z"))),
    }
}

fn record(cause: Cause) -> ControllerRecord {
    ControllerRecord {
        cause: Some(cause),
        evidence: Some(evidence()),
        provenance: vec![Provenance {
            hash: "good1".into(),
            images: images("v1.1.0"),
            ..Provenance::default()
        }],
        ..ControllerRecord::default()
    }
}

fn heal(phase: Option<Phase>) -> SelfHeal {
    let version = |hash: &str, tag| Version { hash: hash.into(), images: images(tag) };
    let spec = SelfHealSpec {
        rollout_ref: RolloutReference { name: "myapp".into(), uid: "u1".into() },
        bad: version("bad1", "v1.2.0"),
        good: version("good1", "v1.1.0"),
        cause: Cause::MetricFailed,
        evidence: Some(evidence()),
    };
    let mut heal = SelfHeal::new("myapp-bad1", spec);
    heal.metadata.namespace = Some("shop".into());
    heal.metadata.uid = Some("heal1".into());
    heal.metadata.creation_timestamp = Some(Time(time("2026-01-01T12:09:13Z")));
    heal.status = phase.map(|phase| SelfHealStatus {
        phase: Some(phase),
        commit: "0123456789abcdef".into(),
        ..SelfHealStatus::default()
    });
    heal
}

struct Given {
    rollout: Rollout,
    record: Option<ControllerRecord>,
    heals: Vec<SelfHeal>,
    ledger: Vec<LedgerEntry>,
    now: Timestamp,
}

impl Given {
    fn aborted(cause: Cause) -> Self {
        let now = time("2026-01-01T12:09:20Z");
        Self { rollout: rollout(), record: Some(record(cause)), heals: vec![], ledger: vec![], now }
    }

    /// Git was reverted and the engine applied it: the Rollout asks for the stable version again.
    fn reverted(phase: Phase) -> Self {
        let mut given = Self::aborted(Cause::MetricFailed);
        given.rollout.current = "good1".into();
        given.rollout.images = images("v1.1.0");
        given.rollout.is_abort_wanted = false;
        given.rollout.abort_message = None;
        given.rollout.aborted_at = None;
        given.record = Some(ControllerRecord::default());
        given.heals = vec![heal(Some(phase))];
        given
    }

    fn stories(&self) -> Vec<Story> {
        let heals: Vec<&SelfHeal> = self.heals.iter().collect();
        stories(&Facts {
            rollout: &self.rollout,
            record: self.record.as_ref(),
            self_heals: &heals,
            ledger: &self.ledger,
            now: self.now,
        })
    }

    fn only(&self) -> Story {
        let [story] = <[Story; 1]>::try_from(self.stories()).unwrap();
        story
    }
}

fn shown(story: &Story) -> String {
    let texts = story.message.blocks.as_array().unwrap().iter();
    let text = |block: &Value| {
        let text =
            if block["text"].is_null() { &block["elements"][0]["text"] } else { &block["text"]["text"] };
        text.as_str().unwrap().to_owned()
    };
    texts.map(text).collect::<Vec<_>>().join("\n")
}

fn sent(key: &str) -> LedgerEntry {
    LedgerEntry {
        key: key.into(),
        recipient: "#deploys".into(),
        channel: "C1".into(),
        ts: "1.1".into(),
        state: Delivery::Sent,
        digest: "d".into(),
        attempts: 1,
        reason: String::new(),
        at: Some(Time(time("2026-01-01T12:09:14Z"))),
    }
}

#[test]
fn the_message_of_a_failed_metric_says_everything_in_plain_words() {
    let story = Given::aborted(Cause::MetricFailed).only();
    assert_eq!(
        shown(&story),
        "Rolled back: shop/myapp from v1.2.0 to v1.1.0\n\
         *What:* rollout `myapp` in namespace `shop`: v1.2.0 was taken back, v1.1.0 serves.\n\
         *Why:* the metric `error-rate` was `0.08`, the condition is `result &lt; 0.05` (4 samples).\n\
         *How far:* v1.2.0 had 50 % of the traffic when it ended, 9 min 12 s after the rollout began, at 12:09:12 UTC.\n\
         *Traffic now:* all of it is on v1.1.0.\n\
         *Git:* still asks for v1.2.0; a revert is not decided yet.\n\
         AnalysisRun `myapp-bad1-2`"
    );
    assert!(story.message.text.starts_with("Rolled back: shop/myapp from v1.2.0 to v1.1.0\n*What:*"));
    assert_eq!(story.triggers, ["on-rollout-aborted", "on-analysis-run-failed"]);
    assert!(story.is_default && !story.is_final);
}

#[test]
fn nothing_is_told_before_the_traffic_is_back_and_the_abort_is_booked() {
    let given = Given::aborted(Cause::MetricFailed);
    let with = |change: fn(&mut Rollout)| {
        let mut given = Given {
            rollout: given.rollout.clone(),
            record: given.record.clone(),
            heals: vec![heal(None)],
            ..Given::aborted(Cause::MetricFailed)
        };
        change(&mut given.rollout);
        given.stories().len()
    };
    assert_eq!(with(|_| ()), 1);
    assert_eq!(with(|rollout| rollout.canary_weight = Some(50)), 0);
    assert_eq!(with(|rollout| rollout.abort_message = None), 0);
    assert_eq!(with(|rollout| rollout.stable = String::new()), 0);
    assert_eq!(with(|rollout| rollout.is_abort_wanted = false), 0, "a retry is under way");
}

#[test]
fn each_cause_has_its_own_reason_and_a_person_is_not_called_a_failure() {
    let why = |cause| Given::aborted(cause).only().message.text.lines().nth(2).unwrap().to_owned();
    assert!(why(Cause::NoData).contains("no usable data (empty or NaN); the last value was `0.08`"));
    assert!(why(Cause::MetricError).contains("could not be measured"));
    assert!(why(Cause::ProgressDeadline).contains("no progress within its progress deadline"));
    let user = Given::aborted(Cause::UserAbort).only();
    assert!(shown(&user).starts_with("Aborted by a person: shop/myapp from v1.2.0 to v1.1.0"));
    assert!(shown(&user).contains("*Git:* unchanged, it still asks for v1.2.0."));
    assert!(shown(&user).contains("`kubectl argo rollouts retry rollout myapp -n shop`"));
    assert_eq!(user.triggers, ["on-rollout-aborted"]);
}

#[test]
fn without_a_record_the_controllers_own_sentence_is_told() {
    let given = Given { record: None, ..Given::aborted(Cause::MetricFailed) };
    let text = shown(&given.only());
    assert!(text.contains("*Why:* Rollout aborted update to revision 2"), "{text}");
    assert!(text.contains("to the version with hash good1"), "{text}");
}

#[test]
fn the_story_keeps_its_key_and_ends_when_git_does() {
    let mut given = Given::aborted(Cause::MetricFailed);
    let first = given.only();
    given.heals = vec![heal(Some(Phase::Pushed))];
    let pushed = given.only();
    assert_eq!(pushed.key, first.key);
    assert!(
        shown(&pushed)
            .contains("*Git:* reverted to v1.1.0 by commit `0123456789`; the cluster is about to follow.")
    );
    assert!(!pushed.is_final);

    let mut after = Given::reverted(Phase::Synced);
    after.ledger = vec![sent(&first.key)];
    let synced = after.only();
    assert_eq!(synced.key, first.key);
    assert!(synced.is_final);
    assert!(
        shown(&synced)
            .contains("*Git:* reverted to v1.1.0 by commit `0123456789`; the cluster runs what Git says.")
    );
    assert!(
        shown(&synced).contains("*Why:* the metric `error-rate` was `0.08`"),
        "the reason outlives the record"
    );
    assert!(shown(&synced).contains("*Traffic now:* all of it is on v1.1.0."));
}

#[test]
fn a_story_that_nobody_could_tell_is_told_late_but_not_next_day() {
    let mut given = Given::reverted(Phase::Synced);
    assert!(given.only().key.starts_with("rollback-bad1-"));
    given.now = time("2026-01-02T13:00:00Z");
    assert_eq!(given.stories(), []);
    let mut aborted = Given::aborted(Cause::MetricFailed);
    aborted.now = given.now;
    assert_eq!(aborted.stories(), []);
}

#[test]
fn a_message_is_not_edited_for_later_rollouts() {
    let mut given = Given::reverted(Phase::Synced);
    given.ledger = vec![sent(&Given::aborted(Cause::MetricFailed).only().key)];
    given.rollout.current = "third".into();
    assert!(shown(&given.only()).contains("none of it goes to v1.2.0; a newer version has taken its place"));
    given.rollout.stable = "third".into();
    assert_eq!(given.stories(), []);
}

#[test]
fn a_second_abort_of_the_same_version_is_another_story() {
    let first = Given::aborted(Cause::MetricFailed).only();
    let mut again = Given::aborted(Cause::MetricFailed);
    again.rollout.aborted_at = Some(time("2026-01-01T13:00:00Z"));
    again.now = time("2026-01-01T13:00:05Z");
    assert_ne!(again.only().key, first.key);
    again.rollout.uid = "another".into();
    assert_ne!(again.only().key, first.key);
}

#[test]
fn an_inconclusive_pause_says_what_is_missing_and_a_plain_one_only_tells_who_asked() {
    let mut given = Given::aborted(Cause::MetricFailed);
    given.rollout = Rollout {
        is_abort_wanted: false,
        abort_message: None,
        canary_weight: Some(20),
        analysis_message: "no data for <job=\"app\">".into(),
        pause: Some(crate::notify::rollout::Pause {
            reason: "InconclusiveAnalysisRun".into(),
            started_at: "2026-01-01T12:09:00Z".into(),
        }),
        ..rollout()
    };
    let story = given.only();
    let text = shown(&story);
    assert!(text.contains("could not tell whether it is good: no data for &lt;job=\"app\"&gt;"), "{text}");
    assert!(text.contains("*Traffic now:* 20 % is on v1.2.0."), "{text}");
    assert!(story.is_default);
    given.rollout.pause.as_mut().unwrap().reason = "CanaryPauseStep".into();
    assert!(!given.only().is_default);
}

#[test]
fn a_good_rollout_tells_only_who_asked_for_it() {
    let mut given = Given::reverted(Phase::Synced);
    given.heals = vec![];
    given.rollout.is_completed = true;
    let promoted = |hash: &str, tag, at: &str| Provenance {
        hash: hash.into(),
        images: images(tag),
        promoted_at: Some(Time(time(at))),
        ..Provenance::default()
    };
    given.record.as_mut().unwrap().provenance = vec![
        promoted("good1", "v1.1.0", "2026-01-01T12:00:00Z"),
        promoted("old", "v1.0.0", "2025-01-01T12:00:00Z"),
    ];
    let story = given.only();
    assert!(!story.is_default && story.is_final);
    assert_eq!(story.triggers, ["on-rollout-completed"]);
    assert!(shown(&story).contains("runs v1.1.0, after v1.0.0."), "{}", shown(&story));
}

proptest! {
    #[test]
    fn any_text_stays_within_slacks_bounds(wild in "\\PC{0,80}|[&<>`*]{900,1200}", phase in 0..10_usize) {
        let phases = [Phase::Pending, Phase::NoPolicy, Phase::DryRun, Phase::Working, Phase::Pushed,
            Phase::PullRequestOpen, Phase::Synced, Phase::Superseded, Phase::Blocked, Phase::NotNeeded];
        let mut given = Given::aborted(Cause::MetricFailed);
        let mut bad = heal(Some(phases[phase]));
        let status = bad.status.as_mut().unwrap();
        (status.message, status.reason, status.commit, status.pull_request) = (wild.clone(), wild.clone(), wild.clone(), wild.clone());
        bad.spec.bad.images = Images::from([(wild.clone(), wild.clone())]);
        given.heals = vec![bad];
        given.rollout.name = wild.clone();
        let seen = given.record.as_mut().unwrap().evidence.as_mut().unwrap();
        (seen.metric, seen.value, seen.limit, seen.run) = (wild.clone(), wild.clone(), wild.clone(), wild);
        let message = given.only().message.marked_as_possible_repeat();
        for block in message.blocks.as_array().unwrap() {
            let (text, most) = match block["type"].as_str().unwrap() {
                "header" => (&block["text"]["text"], 150),
                "section" => (&block["text"]["text"], 3000),
                _ => (&block["elements"][0]["text"], 3000),
            };
            let length = text.as_str().unwrap().chars().count();
            prop_assert!((1..=most).contains(&length), "{length} in {block}");
        }
        prop_assert!(message.text.chars().count() <= 4000);
    }
}
