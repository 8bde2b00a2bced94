//! The lane where the version stands in a kustomization's `images`.

use serde_json::json;

use super::{Remote, shop::Shop};

const PATH: &str = "apps/shop/kustomization.yaml";

fn kustomization(entry: &str) -> String {
    format!(
        "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nresources:\n- rollout.yaml\n\
         images:\n- name: other\n  newTag: v1.2.0\n{entry}\n# the end"
    )
}

/// What the lane makes of an entry when the Rollout failed on `bad` and `good` was there before.
async fn reverted(
    entry: &str,
    key: Option<&str>,
    bad: &str,
    good: &str,
) -> (Remote, Shop, super::shop::Running) {
    let remote = Remote::new(&[(PATH, &kustomization(entry)), ("apps/shop/rollout.yaml", "kind: Rollout\n")]);
    let shop = Shop::new();
    shop.roll_back_from("myapp", bad, good);
    shop.allow("myapp", &remote.url(), "Push");
    shop.policy(&json!({"target": {"path": PATH, "kind": "KustomizeImage", "key": key}}));
    let lane = shop.run();
    (remote, shop, lane)
}

#[tokio::test(start_paused = true)]
async fn a_tag_a_name_or_a_digest_is_restored_and_nothing_else() {
    let app = "registry.example/myapp";
    for (before, after, key, bad, good) in [
        (
            format!("- name: {app} # ours\n  newTag: \"v1.2.0\""),
            format!("- name: {app} # ours\n  newTag: \"v1.1.0\""),
            None,
            format!("{app}:v1.2.0"),
            format!("{app}:v1.1.0"),
        ),
        (
            format!("- {{name: myapp, newName: {app}-next, newTag: v1.2.0}}"),
            format!("- {{name: myapp, newName: {app}, newTag: v1.1.0}}"),
            Some("myapp"),
            format!("{app}-next:v1.2.0"),
            format!("{app}:v1.1.0"),
        ),
        (
            format!("- digest: sha256:{}\n  name: {app}", "b".repeat(64)),
            format!("- digest: sha256:{}\n  name: {app}", "a".repeat(64)),
            None,
            format!("{app}@sha256:{}", "b".repeat(64)),
            format!("{app}@sha256:{}", "a".repeat(64)),
        ),
    ] {
        let (remote, shop, lane) = reverted(&before, key, &bad, &good).await;
        let status = shop.stands("Pushed", "WaitingForEngine").await;
        lane.end().await;
        assert_eq!(remote.file(PATH), kustomization(&after));
        assert_eq!(remote.file("apps/shop/rollout.yaml"), "kind: Rollout\n");
        let [commit] = Shop::reverts(&remote).try_into().unwrap();
        assert_eq!(status["commit"], commit.id.to_string());
        assert!(status["diff"].as_str().unwrap().contains(PATH), "{status}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_kustomization_that_says_something_else_is_left_alone() {
    let (bad, good) = ("registry.example/myapp:v1.2.0", "registry.example/myapp:v1.1.0");
    for (entry, phase, reason) in [
        ("- name: registry.example/myapp\n  newTag: v1.2.1", "Superseded", "ThirdValue"),
        ("- name: registry.example/myapp\n  newTag: v1.1.0", "NotNeeded", "GitIsGood"),
        ("- name: registry.example/myapp\n  digest: sha256:aa", "Blocked", "FormDiffers"),
        ("- name: unknown\n  newTag: v1.2.0", "Blocked", "NotFound"),
    ] {
        let (remote, shop, lane) = reverted(entry, None, bad, good).await;
        shop.stands(phase, reason).await;
        lane.end().await;
        assert_eq!(remote.file(PATH), kustomization(entry));
        assert!(Shop::reverts(&remote).is_empty());
    }
}
