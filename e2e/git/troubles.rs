//! The lane in trouble: races, refusals, outages, crashes.

use std::{net::TcpListener, time::Duration};

use serde_json::json;
use serin::{
    api::http::{Body, Method, Request},
    sim::{
        engine,
        fault::{Effect, Fault, Intercept, Point},
    },
};

use super::{
    Remote,
    daemon::Daemon,
    person,
    shop::{FILE, Shop, manifest, remote},
};

/// What a write of a SelfHeal's status says its reason is.
fn reason(request: &Request) -> Option<&str> {
    let Body::Merge(body) = &request.body else { return None };
    (request.method == Method::Patch).then(|| body["status"]["reason"].as_str())?
}

/// Does `act` before each write of a status with this reason.
fn before(shop: &Shop, when: &'static str, mut act: impl FnMut() -> Intercept + Send + 'static) {
    shop.door.with(|world| {
        let act = move |request: &mut Request, _: &str| match reason(request) {
            Some(reason) if reason == when => act(),
            Some(_) | None => Intercept::Pass,
        };
        world.intercept(Box::new(act));
    });
}

/// Lets the lane push and dies before it can write that it did.
async fn push_and_crash(shop: &Shop) {
    before(shop, "WaitingForEngine", || Intercept::Crash);
    let lane = shop.run();
    shop.crashes().await;
    lane.end().await;
}

/// Ends the crash: the next lane that is run is answered.
fn revive(shop: &Shop) {
    shop.door.with(|world| {
        world.intercept(Box::new(|_, _| Intercept::Pass));
        world.revive("gitops");
    });
}

#[tokio::test(start_paused = true)]
async fn a_branch_that_moves_before_each_push_is_decided_anew_each_time() {
    let remote = remote();
    let shop = Shop::rolled_back(&remote);
    let (path, mut left) = (remote.path(), 3);
    // The count of tries is written between the decision and the push; the reason only when it changes.
    shop.door.with(|world| {
        world.intercept(Box::new(move |request, _| {
            if let Body::Merge(body) = &request.body
                && body["status"]["attempts"].is_i64()
                && left > 0
            {
                left -= 1;
                let file = format!("other-{left}.yaml");
                engine::commit(&path, &[(&file, "x: 1\n")], "Go on", person()).unwrap();
            }
            Intercept::Pass
        }));
    });
    let lane = shop.run();
    let status = shop.stands("Pushed", "WaitingForEngine").await;
    lane.end().await;
    assert_eq!(status["attempts"], 4);
    assert_eq!(Shop::reverts(&remote).len(), 1);
    assert_eq!((remote.file(FILE), remote.file("other-0.yaml")), (manifest("v1.1.0"), "x: 1\n".into()));
    assert_eq!(engine::history(&remote.path()).unwrap().len(), 5, "no commit was lost");
}

#[tokio::test(start_paused = true)]
async fn a_person_who_fixes_it_between_the_decision_and_the_push_wins() {
    let remote = remote();
    let shop = Shop::rolled_back(&remote);
    let path = remote.path();
    before(&shop, "Pushing", move || {
        engine::commit(&path, &[(FILE, &manifest("v1.2.1"))], "Fix", person()).unwrap();
        Intercept::Pass
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
    push_and_crash(&shop).await;
    let [pushed] = Shop::reverts(&remote).try_into().unwrap();
    assert_eq!(
        (shop.status()["phase"].clone(), shop.status()["commit"].clone()),
        (json!("Working"), json!(null))
    );
    // By the time of the restart the engine has applied the revert, and somebody else has committed.
    shop.now_runs("v1.1.0", "good1");
    remote.commit(&[("other.yaml", "x: 1\n")], "Go on");
    revive(&shop);
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
    push_and_crash(&shop).await;
    remote.commit(&[(FILE, &manifest("v1.2.0"))], "Bump, by a bot");
    revive(&shop);
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

/// The requests of the lane in an undisturbed run, watches left out: how long those live is chance.
async fn undisturbed() -> Vec<Point> {
    let remote = remote();
    let shop = Shop::rolled_back(&remote);
    let lane = shop.run();
    shop.stands("Pushed", "WaitingForEngine").await;
    lane.end().await;
    shop.door.with(|world| {
        let ours =
            world.log().filter(|logged| logged.point.actor == "gitops" && logged.point.verb != "watch");
        ours.map(|logged| logged.point.clone()).collect::<Vec<_>>()
    })
}

#[tokio::test(start_paused = true)]
async fn a_crash_at_any_request_ends_in_one_commit_and_synced() {
    let points = undisturbed().await;
    println!("{} points: {points:?}", points.len());
    for verb in ["get", "list", "patch"] {
        assert!(points.iter().any(|point| point.verb == verb), "no {verb} among the points");
    }
    for point in points {
        // Only a write can take effect before the process dies.
        let effects = if point.verb == "patch" {
            vec![Effect::CrashBefore, Effect::CrashAfter]
        } else {
            vec![Effect::CrashBefore]
        };
        for effect in effects {
            let what = format!("{effect:?} {point:?}");
            let remote = remote();
            let shop = Shop::rolled_back(&remote);
            shop.door.with(|world| world.plant(Fault::at(&point, effect)));
            let lane = shop.run();
            shop.crashes().await;
            lane.end().await;
            shop.door.with(|world| world.clear_faults());
            revive(&shop);
            let lane = shop.run();
            shop.stands("Pushed", "WaitingForEngine").await;
            shop.now_runs("v1.1.0", "good1");
            let status = shop.stands("Synced", "Healthy").await;
            lane.end().await;
            let [commit] = Shop::reverts(&remote).try_into().unwrap_or_else(|c| panic!("{what}: {c:?}"));
            assert_eq!(status["commit"], commit.id.to_string(), "{what}");
            assert_eq!(remote.file(FILE), manifest("v1.1.0"), "{what}");
        }
    }
}

/// A program that runs the real one, but at call number `k`: then it dies, before it did anything or, where
/// `took_effect`, after it did everything and before it could say so.
fn dies_at(shop: &mut Shop, folder: &std::path::Path, k: u32, took_effect: bool) {
    let (script, count) = (folder.join("transfer"), folder.join("count"));
    let real = shop.config.transfer.program.display().to_string();
    let dies = if took_effect { format!("{real} \"$@\" >/dev/null; exit 1") } else { "exit 1".into() };
    let count = count.display();
    super::transfers::hook(
        &script,
        &format!("echo x >> {count}; [ $(wc -l < {count}) = {k} ] && {{ {dies}; }}; exec {real} \"$@\""),
    );
    shop.config.transfer.program = script;
    shop.config.transfer.environment.insert("PATH".into(), "/usr/bin:/bin".into());
}

#[tokio::test(start_paused = true)]
async fn a_crash_at_any_transfer_ends_in_one_commit() {
    for took_effect in [false, true] {
        // The fetch and the push of an undisturbed run.
        for k in [1, 2] {
            let remote = remote();
            let folder = tempfile::tempdir().unwrap();
            let mut shop = Shop::rolled_back(&remote);
            dies_at(&mut shop, folder.path(), k, took_effect);
            let lane = shop.run();
            let status = shop.stands("Pushed", "WaitingForEngine").await;
            lane.end().await;
            let calls = std::fs::read_to_string(folder.path().join("count")).unwrap().lines().count();
            assert!(calls > 2, "nothing was made again: {calls} transfers");
            let [commit] = Shop::reverts(&remote).try_into().unwrap();
            assert_eq!(status["commit"], commit.id.to_string(), "call {k}, took effect: {took_effect}");
        }
    }
}
