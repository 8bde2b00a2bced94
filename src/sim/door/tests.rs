//! The door through a real `kube::Client`, under paused time.

use std::{pin::pin, time::Duration};

use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::{
    Api, ResourceExt,
    api::{ApiResource, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams},
    core::GroupVersionKind,
    runtime::{WatchStreamExt, reflector, watcher},
};
use serde_json::json;

use super::*;
use crate::sim::fault::{Effect, Fault};

fn door() -> Door {
    let origin = "2026-01-01T00:00:00Z".parse().unwrap();
    Door::new(World::new(origin), Clock::scaled(origin, 1))
}

fn configs(client: kube::Client) -> Api<ConfigMap> {
    Api::namespaced(client, "default")
}

fn config(name: &str, value: &str) -> ConfigMap {
    serde_json::from_value(json!({"metadata": {"name": name}, "data": {"a": value}})).unwrap()
}

fn rollouts(client: kube::Client) -> Api<DynamicObject> {
    let kind = ApiResource::from_gvk(&GroupVersionKind::gvk("argoproj.io", "v1alpha1", "Rollout"));
    Api::namespaced_with(client, "default", &kind)
}

fn rollout(name: &str) -> DynamicObject {
    serde_json::from_value(json!({"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout",
        "metadata": {"name": name}, "spec": {"replicas": 3}}))
    .unwrap()
}

/// Fails instead of hanging: paused time makes an hour pass at once when nothing else can happen.
async fn soon<T>(future: impl Future<Output = T>) -> T {
    let clock = Clock::scaled("2026-01-01T00:00:00Z".parse().unwrap(), 1);
    clock.timeout(Duration::from_secs(7200), future).await.expect("nothing happened for two hours")
}

#[tokio::test(start_paused = true)]
async fn a_kube_client_reads_writes_and_deletes() {
    let door = door();
    let api = rollouts(door.client("controller"));
    let created = api.create(&PostParams::default(), &rollout("cart")).await.unwrap();
    assert_eq!(created.metadata.generation, Some(1));
    let merged = Patch::Merge(json!({"status": {"abort": true}}));
    let merged = api.patch_status("cart", &PatchParams::default(), &merged).await.unwrap();
    assert_eq!(merged.data["status"], json!({"abort": true}));
    let operations =
        serde_json::from_value(json!([{"op": "test", "path": "/spec/replicas", "value": 3}, {"op": "add",
            "path": "/spec/replicas", "value": 5}]))
        .unwrap();
    let patched = api.patch("cart", &PatchParams::default(), &Patch::Json::<()>(operations)).await.unwrap();
    assert_eq!(patched.data["spec"]["replicas"], 5);
    let applied = json!({"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout",
        "metadata": {"name": "cart"}, "spec": {"replicas": 7}});
    let conflict = api.patch("cart", &PatchParams::apply("flux"), &Patch::Apply(&applied)).await;
    assert!(matches!(conflict, Err(kube::Error::Api(status)) if status.reason == "Conflict"));
    let forced = PatchParams::apply("flux").force();
    assert_eq!(
        api.patch("cart", &forced, &Patch::Apply(&applied)).await.unwrap().data["spec"]["replicas"],
        7
    );
    let mut stale = created;
    stale.data["spec"]["replicas"] = json!(1);
    let refused = api.replace("cart", &PostParams::default(), &stale).await;
    assert!(matches!(refused, Err(kube::Error::Api(status)) if status.code == 409));
    let scale = api.get_scale("cart").await.unwrap();
    assert_eq!(scale.spec.unwrap().replicas, Some(7));
    api.delete("cart", &DeleteParams::default()).await.unwrap();
    assert!(api.get_opt("cart").await.unwrap().is_none());
    let pages = api.list(&ListParams::default().limit(1)).await.unwrap();
    assert!(pages.items.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_watcher_sees_every_write_and_outlives_its_own_timeout() {
    let door = door();
    let api = configs(door.client("controller"));
    api.create(&PostParams::default(), &config("a", "1")).await.unwrap();
    let mut events = pin!(watcher(api.clone(), watcher::Config::default().timeout(60)));
    let mut seen = vec![];
    while seen.len() < 3 {
        seen.push(soon(events.try_next()).await.unwrap().unwrap());
    }
    assert!(matches!(
        &seen[..],
        [watcher::Event::Init, watcher::Event::InitApply(_), watcher::Event::InitDone]
    ));
    for round in 0..3 {
        // Longer than the watch lasts: the stream has ended and been taken up again.
        let later = tokio::spawn({
            let (api, clock) = (api.clone(), door.clock());
            async move {
                clock.sleep(Duration::from_secs(90)).await;
                api.create(&PostParams::default(), &config(&format!("b{round}"), "1")).await.unwrap();
            }
        });
        let event = soon(events.try_next()).await.unwrap().unwrap();
        assert!(matches!(event, watcher::Event::Apply(object) if object.name_any() == format!("b{round}")));
        later.await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_reflector_lists_again_when_its_version_is_gone() {
    let door = door();
    let api = configs(door.client("controller"));
    let (store, writer) = reflector::store();
    let stream = watcher(api.clone(), watcher::Config::default()).default_backoff().reflect(writer);
    let task = tokio::spawn(stream.for_each(|_| async {}));
    soon(store.wait_until_ready()).await.unwrap();
    api.create(&PostParams::default(), &config("a", "1")).await.unwrap();
    let reference = reflector::ObjectRef::new("a").within("default");
    soon(async {
        while store.get(&reference).is_none() {
            door.clock().sleep(Duration::from_millis(1)).await;
        }
    })
    .await;
    door.with(|world| {
        world.drop_watches();
        let key = crate::sim::store::Key::new("default", "a");
        world.store_mut().purge(crate::sim::store::Resource::ConfigMaps, &key);
        world.store_mut().compact();
    });
    soon(async {
        while store.get(&reference).is_some() {
            door.clock().sleep(Duration::from_millis(1)).await;
        }
    })
    .await;
    let relists = door.with(|world| world.log().filter(|entry| entry.point.verb == "list").count());
    assert_eq!(relists, 2);
    task.abort();
}

#[tokio::test(start_paused = true)]
async fn a_quiet_watch_gets_bookmarks() {
    let door = door();
    let api = configs(door.client("controller"));
    let params = kube::api::WatchParams::default().timeout(200);
    let stream = api.watch(&params, "0").await.unwrap();
    let events: Vec<_> = soon(stream.try_collect::<Vec<_>>()).await.unwrap();
    let bookmarks = events.iter().filter(|event| matches!(event, kube::api::WatchEvent::Bookmark(_))).count();
    assert_eq!((events.len(), bookmarks), (4, 4));
    assert_eq!(
        door.clock().now().as_second() - "2026-01-01T00:00:00Z".parse::<Timestamp>().unwrap().as_second(),
        200
    );
}

#[tokio::test(start_paused = true)]
async fn planted_faults_meet_the_request_they_name() {
    let door = door();
    let api = configs(door.client("controller"));
    let other = configs(door.client("gitops"));
    let fault = |nth, effect| Fault {
        actor: Some("controller".into()),
        verb: Some("create".into()),
        resource: Some("configmaps".into()),
        nth,
        times: 1,
        effect,
    };
    door.with(|world| {
        world.plant(fault(1, Effect::Refuse(500)));
        world.plant(fault(2, Effect::LoseAnswer));
        world.plant(fault(3, Effect::CrashAfter));
    });
    let params = PostParams::default();
    other.create(&params, &config("free", "1")).await.unwrap();
    let code = |result: kube::Result<ConfigMap>| match result {
        Err(kube::Error::Api(status)) => status.code,
        Err(_) => 0,
        Ok(_) => 200,
    };
    assert_eq!(code(api.create(&params, &config("a", "1")).await), 500);
    assert_eq!(code(api.create(&params, &config("b", "1")).await), 504);
    assert_eq!(code(api.create(&params, &config("c", "1")).await), 0);
    assert_eq!(code(api.get("b").await), 0, "a dead process gets no answer");
    door.with(|world| world.revive("controller"));
    assert!(api.get_opt("a").await.unwrap().is_none());
    assert!(api.get_opt("b").await.unwrap().is_some());
    assert!(api.get_opt("c").await.unwrap().is_some());
    let crashes = door.with(|world| world.crashes().to_vec());
    assert_eq!(crashes[0].point.to_string(), "controller create configmaps #3");
}

#[tokio::test(start_paused = true)]
async fn a_saboteur_can_rewrite_a_request() {
    let door = door();
    door.with(|world| {
        world.intercept(Box::new(|request, actor| {
            if let (crate::api::http::Body::Json(object), "controller") = (&mut request.body, actor) {
                object["data"]["a"] = json!("10");
            }
            crate::sim::fault::Intercept::Pass
        }));
    });
    let created =
        configs(door.client("controller")).create(&PostParams::default(), &config("a", "0")).await.unwrap();
    assert_eq!(created.data.unwrap()["a"], "10");
}

#[tokio::test(start_paused = true)]
async fn typed_lists_of_built_in_kinds_decode() {
    let door = door();
    let api: Api<Pod> = Api::namespaced(door.client("controller"), "default");
    let pod = json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "shop:v1"}]}});
    api.create(&PostParams::default(), &serde_json::from_value(pod).unwrap()).await.unwrap();
    let listed = api.list(&ListParams::default()).await.unwrap();
    assert_eq!(listed.items[0].status.as_ref().unwrap().phase.as_deref(), Some("Pending"));
}

#[tokio::test(start_paused = true)]
async fn the_driver_runs_the_actors_as_time_passes() {
    let door = door();
    let shutdown = CancellationToken::new();
    let driver = tokio::spawn(door.clone().drive(shutdown.clone()));
    let client = door.client("controller");
    let sets: Api<k8s_openapi::api::apps::v1::ReplicaSet> = Api::namespaced(client.clone(), "default");
    let set = json!({"metadata": {"name": "shop"}, "spec": {"replicas": 3,
        "selector": {"matchLabels": {"app": "shop"}}, "template": {"metadata": {"labels": {"app": "shop"}},
            "spec": {"containers": [{"name": "c", "image": "shop:v1"}]}}}});
    sets.create(&PostParams::default(), &serde_json::from_value(set).unwrap()).await.unwrap();
    let created = door.clock().now();
    let mut stream = pin!(watcher(sets.clone(), watcher::Config::default()).touched_objects());
    let available = soon(async {
        while let Some(set) = stream.try_next().await.unwrap() {
            if set.status.and_then(|status| status.available_replicas) == Some(3) {
                return door.clock().now();
            }
        }
        created
    })
    .await;
    assert_eq!(available.duration_since(created).as_millis(), 2000);
    let pods: Api<Pod> = Api::namespaced(client, "default");
    sets.delete("shop", &DeleteParams::default()).await.unwrap();
    door.clock().sleep(Duration::from_secs(2)).await;
    assert!(pods.list(&ListParams::default()).await.unwrap().items.is_empty());
    shutdown.cancel();
    soon(driver).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_world_at_rest_lets_time_pass_without_work() {
    let door = door();
    let shutdown = CancellationToken::new();
    let driver = tokio::spawn(door.clone().drive(shutdown.clone()));
    let mut changes = door.changes();
    changes.borrow_and_update();
    door.clock().sleep(Duration::from_secs(86_400)).await;
    assert!(!changes.has_changed().unwrap());
    shutdown.cancel();
    soon(driver).await.unwrap();
}

#[tokio::test]
async fn the_world_is_served_on_a_socket() {
    let door = door();
    let shutdown = CancellationToken::new();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = tokio::spawn(door.clone().serve(listener, shutdown.clone()));
    configs(door.client("controller")).create(&PostParams::default(), &config("a", "1")).await.unwrap();
    let client = reqwest::Client::builder().user_agent("kubectl/v1").no_proxy().build().unwrap();
    let read = async |path: &str, accept: &str| {
        let request = client.get(format!("http://{address}{path}")).header("accept", accept);
        request.send().await.unwrap().json::<Value>().await.unwrap()
    };
    assert_eq!(read("/version", "*/*").await["gitVersion"], "v1.34.4");
    let table = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";
    let listed = read("/api/v1/namespaces/default/configmaps", table).await;
    assert_eq!((&listed["kind"], &listed["rows"][0]["cells"][0]), (&json!("Table"), &json!("a")));
    let actors = door.with(|world| world.log().map(|entry| entry.point.actor.clone()).collect::<Vec<_>>());
    assert_eq!(actors, ["controller", "kubectl", "kubectl"]);
    shutdown.cancel();
    server.await.unwrap().unwrap();
}
