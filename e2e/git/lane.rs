//! The lane as it should go: what is pushed, shown or left alone.

use serde_json::json;
use serin::sim::engine::history;

use super::shop::{FILE, Shop, manifest, remote};

#[tokio::test(start_paused = true)]
async fn a_failed_version_is_reverted_by_one_line_and_then_synced() {
    let remote = remote();
    let shop = Shop::rolled_back(&remote);
    let lane = shop.run();
    let status = shop.stands("Pushed", "WaitingForEngine").await;
    assert_eq!(remote.file(FILE), manifest("v1.1.0"));
    assert_eq!(remote.file("README.md"), "deploy\n");
    let [commit] = Shop::reverts(&remote).try_into().unwrap();
    assert_eq!(status["commit"], commit.id.to_string());
    assert_eq!((status["attempts"].clone(), status["policy"].clone()), (json!(1), json!("myapp")));
    let changed: Vec<_> = commit
        .patch
        .lines()
        .filter(|l| l.starts_with(['+', '-']) && !l.starts_with("+++") && !l.starts_with("---"))
        .collect();
    assert_eq!(
        changed,
        [
            "-          image: \"registry.example/myapp:v1.2.0\"   # ours",
            "+          image: \"registry.example/myapp:v1.1.0\"   # ours"
        ]
    );
    assert_eq!(commit.at, super::start());
    for part in [
        "Auto-rollback to v1.1.0\n\n",
        "error-rate = 0.08 (limit: result < 0.05)",
        "Duration:  8m 30s",
        "20 % of the traffic",
        "\nSerin-Rollback-Key: ",
        "\nRollout: default/myapp\n",
        "\nTicket: OPS-7\n",
    ] {
        assert!(commit.message.contains(part), "{part:?} is not in {}", commit.message);
    }
    shop.now_runs("v1.1.0", "good1");
    let status = shop.stands("Synced", "Healthy").await;
    assert_eq!(status["commit"], commit.id.to_string());
    assert_eq!(status["conditions"][0]["type"], "GitReverted");
    assert_eq!(status["conditions"][0]["status"], "True");
    lane.end().await;
    assert_eq!(history(&remote.path()).unwrap().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_dry_run_shows_the_change_and_pushes_it_once_the_policy_says_so() {
    let remote = remote();
    let shop = Shop::new();
    shop.roll_back("myapp");
    shop.allow("myapp", &remote.url(), "DryRun");
    let lane = shop.run();
    let status = shop.stands("DryRun", "DryRun").await;
    let diff = status["diff"].as_str().unwrap();
    assert!(diff.contains("\n-          image: \"registry.example/myapp:v1.2.0\"   # ours\n+"), "{diff}");
    assert!(Shop::reverts(&remote).is_empty());
    shop.patch("serin.dev/v1alpha1", "selfhealpolicies", "myapp", &json!({"spec": {"mode": "Push"}}));
    shop.stands("Pushed", "WaitingForEngine").await;
    assert_eq!(Shop::reverts(&remote).len(), 1);
    lane.end().await;
}

#[tokio::test(start_paused = true)]
async fn without_a_policy_nothing_is_asked_of_git_until_there_is_one() {
    let remote = remote();
    let shop = Shop::new();
    shop.roll_back("myapp");
    shop.allow("another", &remote.url(), "Push");
    let lane = shop.run();
    shop.stands("NoPolicy", "NoPolicy").await;
    assert!(!std::fs::read_dir(shop.clones()).unwrap().any(|_| true), "nothing was cloned");
    shop.allow("myapp", &remote.url(), "Push");
    shop.stands("Pushed", "WaitingForEngine").await;
    lane.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_rollout_under_two_policies_is_not_reverted_until_one_is_left() {
    let remote = remote();
    let shop = Shop::rolled_back(&remote);
    shop.allow("another", &remote.url(), "Push");
    let select = |app: &str| json!({"spec": {"rolloutSelector": {"matchLabels": {"app": app}}}});
    shop.patch("serin.dev/v1alpha1", "selfhealpolicies", "another", &select("myapp"));
    let lane = shop.run();
    let status = shop.stands("Blocked", "AmbiguousPolicy").await;
    assert!(status["message"].as_str().unwrap().contains("another, myapp"), "{status}");
    shop.patch("serin.dev/v1alpha1", "selfhealpolicies", "another", &select("another"));
    shop.stands("Pushed", "WaitingForEngine").await;
    lane.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_person_who_was_first_is_not_written_over() {
    for (version, phase, reason) in
        [("v1.1.0", "NotNeeded", "GitIsGood"), ("v1.2.1", "Superseded", "ThirdValue")]
    {
        let remote = remote();
        let tip = remote.commit(&[(FILE, &manifest(version))], "Fix it");
        let shop = Shop::rolled_back(&remote);
        let lane = shop.run();
        let status = shop.stands(phase, reason).await;
        assert!(status["attempts"].as_i64().unwrap_or_default() == 0, "{status}");
        lane.end().await;
        assert_eq!(remote.tip(), tip);
    }
}

#[tokio::test(start_paused = true)]
async fn a_rollout_that_went_on_or_is_retried_is_left_alone() {
    let remote = remote();
    let shop = Shop::rolled_back(&remote);
    shop.now_runs("v1.3.0", "third");
    let lane = shop.run();
    shop.stands("Superseded", "RolloutMovedOn").await;
    lane.end().await;

    let shop = Shop::rolled_back(&remote);
    shop.patch("argoproj.io/v1alpha1", "rollouts", "myapp", &json!({"status": {"abort": null}}));
    let lane = shop.run();
    shop.stands("Pending", "NotAborted").await;
    assert!(Shop::reverts(&remote).is_empty());
    shop.patch("argoproj.io/v1alpha1", "rollouts", "myapp", &json!({"status": {"abort": true}}));
    shop.stands("Pushed", "WaitingForEngine").await;
    lane.end().await;
    assert_eq!(Shop::reverts(&remote).len(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_done_says_what_is_in_the_way() {
    let remote = remote();
    let cases = [
        (json!({"git": {"url": "https://u:hunter2@git.example/x.git"}}), "CredentialInUrl"),
        (json!({"git": {"url": "http://git.example/x.git"}}), "RemoteNotEncrypted"),
        (json!({"git": {"url": "git@git.example:x.git"}}), "UrlRefused"),
        (json!({"git": {"url": "ssh://git@git.example/x.git"}}), "SecretNotNamed"),
        (json!({"git": {"branch": "a..b"}}), "BranchRefused"),
        (json!({"git": {"branch": "release"}}), "NoBranch"),
        (json!({"target": {"path": "../up.yaml"}}), "PathRefused"),
        (json!({"target": {"path": "apps"}}), "NotAFile"),
        (json!({"target": {"path": "README.md"}}), "NotFound"),
        (json!({"target": {"kind": "HelmValue"}}), "TargetNotSupported"),
        (json!({"mode": "PullRequest"}), "ModeNotSupported"),
        (json!({"limits": {"perHour": 0}}), "RateLimited"),
    ];
    for (change, reason) in cases {
        let shop = Shop::rolled_back(&remote);
        shop.patch("serin.dev/v1alpha1", "selfhealpolicies", "myapp", &json!({"spec": change}));
        let lane = shop.run();
        let status = shop.stands("Blocked", reason).await;
        assert!(!status.to_string().contains("hunter2"), "{status}");
        lane.end().await;
    }
    assert!(Shop::reverts(&remote).is_empty());
}
