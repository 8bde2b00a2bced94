//! The lane in trouble: races, refusals, outages, crashes.

use std::{net::TcpListener, time::Duration};

use serde_json::json;
use serin::{
    api::http::{Body, Method, Request},
    sim::fault::Intercept,
};

use super::{
    Remote,
    daemon::Daemon,
    shop::{FILE, Shop, manifest, remote},
};

/// What a write of a SelfHeal's status says its reason is.
fn reason(request: &Request) -> Option<&str> {
    match &request.body {
        Body::Merge(body) if request.method == Method::Patch => body["status"]["reason"].as_str(),
        _ => None,
    }
}

#[tokio::test(start_paused = true)]
async fn a_branch_that_moves_before_each_push_is_decided_anew_each_time() {
    let (remote, pusher) = (remote(), std::sync::Arc::new(std::sync::Mutex::new(3)));
    let shop = Shop::rolled_back(&remote);
    let (path, left) = (remote.path(), pusher.clone());
    shop.door.with(|world| {
        world.intercept(Box::new(move |request, _| {
            let mut left = left.lock().unwrap();
            // Between the decision and its push.
            if request.path.ends_with("/status") && request.method == Method::Patch && *left > 0 {
                if let Body::Merge(body) = &request.body
                    && body["status"]["attempts"].is_i64()
                {
                    *left -= 1;
                    let file = format!("other-{left}.yaml");
                    serin::sim::engine::commit(&path, &[(&file, "x: 1\n")], "Go on", super::person())
                        .unwrap();
                }
            }
            Intercept::Pass
        }));
    });
    let lane = shop.run();
    let status = shop.stands("Pushed", "WaitingForEngine").await;
    lane.end().await;
    assert_eq!(*pusher.lock().unwrap(), 0);
    assert_eq!(status["attempts"], 4);
    assert_eq!(Shop::reverts(&remote).len(), 1);
    assert_eq!((remote.file(FILE), remote.file("other-0.yaml")), (manifest("v1.1.0"), "x: 1\n".into()));
    assert_eq!(serin::sim::engine::history(&remote.path()).unwrap().len(), 5, "no commit was lost");
}

#[tokio::test(start_paused = true)]
async fn a_person_who_fixes_it_between_the_decision_and_the_push_wins() {
    let remote = remote();
    let shop = Shop::rolled_back(&remote);
    let path = remote.path();
    shop.door.with(|world| {
        world.intercept(Box::new(move |request, _| {
            if reason(request) == Some("Pushing") {
                let fixed = manifest("v1.2.1");
                serin::sim::engine::commit(&path, &[(FILE, &fixed)], "Fix", super::person()).unwrap();
            }
            Intercept::Pass
        }));
    });
    let lane = shop.run();
    shop.stands("Superseded", "ThirdValue").await;
    lane.end().await;
    assert_eq!(remote.file(FILE), manifest("v1.2.1"));
    assert!(Shop::reverts(&remote).is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_crash_between_push_and_status_ends_in_one_commit() {
    let remote = remote();
    let shop = Shop::rolled_back(&remote);
    shop.door.with(|world| {
        world.intercept(Box::new(|request, _| match reason(request) {
            Some("WaitingForEngine") => Intercept::Crash,
            Some(_) | None => Intercept::Pass,
        }));
    });
    let lane = shop.run();
    shop.crashes().await;
    lane.end().await;
    let [pushed] = Shop::reverts(&remote).try_into().unwrap();
    assert_eq!(
        (shop.status()["phase"].clone(), shop.status()["commit"].clone()),
        (json!("Working"), json!(null))
    );
    // By the time of the restart the engine has applied the revert, and somebody else has committed.
    shop.now_runs("v1.1.0", "good1");
    remote.commit(&[("other.yaml", "x: 1\n")], "Go on");
    shop.door.with(|world| {
        world.intercept(Box::new(|_, _| Intercept::Pass));
        world.revive("gitops");
    });
    let lane = shop.run();
    let status = shop.stands("Synced", "Healthy").await;
    lane.end().await;
    assert_eq!(status["commit"], pushed.id.to_string());
    assert_eq!(Shop::reverts(&remote).len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_revert_that_somebody_wrote_over_is_not_repeated() {
    let remote = remote();
    let shop = Shop::rolled_back(&remote);
    shop.door.with(|world| {
        world.intercept(Box::new(|request, _| match reason(request) {
            Some("WaitingForEngine") => Intercept::Crash,
            Some(_) | None => Intercept::Pass,
        }));
    });
    let lane = shop.run();
    shop.crashes().await;
    lane.end().await;
    remote.commit(&[(FILE, &manifest("v1.2.0"))], "Bump, by a bot");
    shop.door.with(|world| {
        world.intercept(Box::new(|_, _| Intercept::Pass));
        world.revive("gitops");
    });
    let lane = shop.run();
    let status = shop.stands("Blocked", "RevertOverwritten").await;
    lane.end().await;
    assert_eq!(status["commit"], Shop::reverts(&remote)[0].id.to_string());
    assert_eq!(Shop::reverts(&remote).len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_remote_that_is_down_is_waited_for_across_a_restart() {
    let remote = remote();
    let aside = remote.folder.path().join("aside.git");
    std::fs::rename(remote.path(), &aside).unwrap();
    let shop = Shop::rolled_back(&remote);
    let lane = shop.run();
    let status = shop.stands("Pending", "RemoteUnreachable").await;
    assert_eq!(status["conditions"][0]["status"], "Unknown");
    shop.door.clock().sleep(Duration::from_mins(30)).await;
    lane.end().await;
    let lane = shop.run();
    shop.door.clock().sleep(Duration::from_mins(30)).await;
    std::fs::rename(&aside, remote.path()).unwrap();
    shop.stands("Pushed", "WaitingForEngine").await;
    lane.end().await;
    assert_eq!(Shop::reverts(&remote).len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_remote_that_hangs_stalls_no_other() {
    let remote = remote();
    // It takes connections and never answers.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let shop = Shop::rolled_back(&remote);
    shop.roll_back("hung");
    shop.allow("hung", &format!("git://{}/x.git", silent.local_addr().unwrap()), "Push");
    let lane = shop.run();
    shop.stands("Pushed", "WaitingForEngine").await;
    let status = shop.get("serin.dev/v1alpha1", "selfheals", "hung-bad1")["status"].clone();
    assert_eq!(status["phase"], "Working", "{status}");
    lane.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_protected_branch_is_a_matter_for_people() {
    let remote = remote();
    let hook = remote.path().join("hooks/pre-receive");
    super::transfers::hook(&hook, "echo main is protected >&2; exit 1");
    let server = Daemon::serve(&remote);
    let shop = Shop::new();
    shop.roll_back("myapp");
    shop.allow("myapp", &server.url(), "Push");
    let lane = shop.run();
    let status = shop.stands("Blocked", "PushRefused").await;
    assert!(status["message"].as_str().unwrap().contains("pre-receive hook declined"), "{status}");
    // The protection is lifted; touching the policy asks again.
    std::fs::remove_file(hook).unwrap();
    shop.patch(
        "serin.dev/v1alpha1",
        "selfhealpolicies",
        "myapp",
        &json!({"metadata": {"annotations": {"a": "b"}}}),
    );
    shop.stands("Pushed", "WaitingForEngine").await;
    lane.end().await;
    assert_eq!(remote.file(FILE), manifest("v1.1.0"));
}

#[tokio::test(start_paused = true)]
async fn a_damaged_clone_is_made_again() {
    let remote: Remote = remote();
    let shop = Shop::rolled_back(&remote);
    let clone = serin::gitops::repo::Clones::below(shop.clones()).path(&remote.url());
    std::fs::create_dir_all(&clone).unwrap();
    std::fs::write(clone.join("HEAD"), "nonsense").unwrap();
    let lane = shop.run();
    shop.stands("Pushed", "WaitingForEngine").await;
    lane.end().await;
}
