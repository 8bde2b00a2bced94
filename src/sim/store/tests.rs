//! The server's answers, one law a test.

use serde_json::{Value, json};

use super::{Answer, EventKind, Events, Key, Resource, Store, Watch};
use crate::api::http::{Body, Method, Request, Response};

const ROLLOUTS: &str = "/apis/argoproj.io/v1alpha1/namespaces/default/rollouts";
const RUNS: &str = "/apis/argoproj.io/v1alpha1/namespaces/default/analysisruns";
const ROUTES: &str = "/apis/networking.istio.io/v1/namespaces/default/virtualservices";
const CONFIG: &str = "/api/v1/namespaces/default/configmaps";
const PODS: &str = "/api/v1/namespaces/default/pods";

fn store() -> Store {
    Store::new("2026-01-01T00:00:00.7Z".parse().unwrap(), 1)
}

fn send(store: &mut Store, method: Method, path: &str, body: Body) -> Response {
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    let query = pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
    let request = Request { method, path: path.to_owned(), query, body };
    match store.answer(&request, "test") {
        Answer::Response(response) => response,
        other @ (Answer::Watch(_) | Answer::Crash) => panic!("{other:?}"),
    }
}

fn post(store: &mut Store, path: &str, object: Value) -> Response {
    send(store, Method::Post, path, Body::Json(object))
}

fn ok(response: Response) -> Value {
    assert!(response.is_success(), "{response:?}");
    response.body
}

fn rollout(name: &str) -> Value {
    json!({"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "metadata": {"name": name},
        "spec": {"replicas": 3}, "status": {"phase": "Healthy"}})
}

fn config(name: &str, labels: Value) -> Value {
    json!({"metadata": {"name": name, "labels": labels}, "data": {"a": "1"}})
}

fn version(object: &Value) -> &str {
    object["metadata"]["resourceVersion"].as_str().unwrap()
}

fn watch_from(store: &mut Store, path: &str) -> Watch {
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    let query = pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
    match store.answer(&Request { method: Method::Get, path: path.into(), query, body: Body::Empty }, "test")
    {
        Answer::Watch(watch) => watch,
        other @ (Answer::Response(_) | Answer::Crash) => panic!("{other:?}"),
    }
}

fn events(store: &Store, watch: &Watch) -> Vec<(EventKind, Value)> {
    match store.events_since(watch, watch.from) {
        Events::Some { events, .. } => {
            events.iter().map(|event| (event.kind, Value::clone(&event.object))).collect()
        }
        Events::Gone { oldest } => panic!("gone: {oldest}"),
    }
}

fn told(store: &Store, watch: &Watch) -> Vec<(EventKind, String)> {
    let named = |object: Value| object["metadata"]["name"].as_str().unwrap().to_owned();
    events(store, watch).into_iter().map(|(kind, object)| (kind, named(object))).collect()
}

#[test]
fn a_created_object_has_identity_and_no_status() {
    let mut store = store();
    let created = ok(post(&mut store, ROLLOUTS, rollout("cart")));
    assert_eq!(created["metadata"]["creationTimestamp"], "2026-01-01T00:00:00Z");
    assert_eq!(created["metadata"]["generation"], 1);
    assert_eq!(created["metadata"]["namespace"], "default");
    assert_eq!(created["metadata"]["uid"].as_str().unwrap().len(), 36);
    assert_eq!(created.get("status"), None);
    let entry = &created["metadata"]["managedFields"][0];
    assert_eq!((&entry["manager"], &entry["operation"]), (&json!("test"), &json!("Update")));
    let again = post(&mut store, ROLLOUTS, rollout("cart"));
    assert_eq!((again.status, again.reason()), (409, "AlreadyExists"));
    assert_eq!(again.message(), "rollouts.argoproj.io \"cart\" already exists");
    assert_eq!(again.body["details"], json!({"name": "cart", "group": "argoproj.io", "kind": "rollouts"}));
}

#[test]
fn creation_is_refused_as_the_server_refuses_it() {
    let mut store = store();
    for (path, object, status, message) in [
        (
            "/apis/argoproj.io/v1alpha1/namespaces/none/rollouts",
            rollout("a"),
            404,
            "namespaces \"none\" not found",
        ),
        (
            ROLLOUTS,
            json!({"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "spec": {}}),
            422,
            "Rollout.argoproj.io \"\" is invalid: [metadata.name: Required value: name or generateName is required, \
             <nil>: Invalid value: null: some validation rules were not checked because the object was invalid; \
             correct the existing errors to complete validation]",
        ),
        (
            ROLLOUTS,
            json!({"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "metadata": {"name": "a", "namespace": "b"}}),
            400,
            "the namespace of the provided object does not match the namespace sent on the request",
        ),
        (
            CONFIG,
            json!({"metadata": {"name": "a", "resourceVersion": "7"}}),
            500,
            "resourceVersion should not be set on objects to be created",
        ),
    ] {
        let answer = post(&mut store, path, object);
        assert_eq!((answer.status, answer.message()), (status, message));
    }
    let upper = post(&mut store, ROLLOUTS, rollout("Cart"));
    assert_eq!((upper.status, upper.reason()), (422, "Invalid"));
    assert_eq!(upper.body["details"]["causes"][0]["field"], "metadata.name");
    let bad_label = post(&mut store, CONFIG, config("a", json!({"app": "-"})));
    assert_eq!((bad_label.status, bad_label.reason()), (422, "Invalid"));
}

#[test]
fn generated_names_have_five_letters_more() {
    let mut store = store();
    let mut run = json!({"apiVersion": "argoproj.io/v1alpha1", "kind": "AnalysisRun", "metadata": {"generateName": "x-"}, "spec": {"metrics": []}});
    let first = ok(post(&mut store, RUNS, run.clone()));
    let second = ok(post(&mut store, RUNS, run.take()));
    assert_eq!(first["metadata"]["name"].as_str().unwrap().len(), 7);
    assert_ne!(first["metadata"]["name"], second["metadata"]["name"]);
}

#[test]
fn what_is_missing_is_not_found() {
    let mut store = store();
    let missing = send(&mut store, Method::Get, &format!("{PODS}/a"), Body::Empty);
    assert_eq!((missing.status, missing.message()), (404, "pods \"a\" not found"));
    assert_eq!(missing.body["details"], json!({"name": "a", "kind": "pods"}));
    let no_status = send(&mut store, Method::Get, &format!("{RUNS}/a/status"), Body::Empty);
    assert_eq!((no_status.status, no_status.message()), (404, "analysisruns.argoproj.io \"a\" not found"));
    let custom = send(&mut store, Method::Get, "/apis/argoproj.io/v1alpha1/nothings", Body::Empty);
    assert_eq!(custom.body, json!("404 page not found\n"));
    let built_in = send(&mut store, Method::Get, "/api/v1/nothings", Body::Empty);
    assert_eq!(built_in.message(), "the server could not find the requested resource");
}

#[test]
fn generation_moves_with_the_spec_only() {
    let mut store = store();
    ok(post(&mut store, ROLLOUTS, rollout("cart")));
    let path = format!("{ROLLOUTS}/cart");
    let mut step = |path: &str, patch: Value| {
        ok(send(&mut store, Method::Patch, path, Body::Merge(patch)))["metadata"]["generation"].clone()
    };
    assert_eq!(step(&path, json!({"metadata": {"labels": {"a": "b"}}})), 1);
    assert_eq!(step(&path, json!({"status": {"phase": "Degraded"}})), 1);
    assert_eq!(step(&format!("{path}/status"), json!({"status": {"phase": "Degraded"}})), 1);
    assert_eq!(step(&path, json!({"spec": {"replicas": 4}})), 2);
    assert_eq!(step(&format!("{path}/scale"), json!({"spec": {"replicas": 5}})), json!(null));
    let live = ok(send(&mut store, Method::Get, &path, Body::Empty));
    assert_eq!(
        (&live["metadata"]["generation"], &live["status"]),
        (&json!(3), &json!({"phase": "Degraded"}))
    );
    assert_eq!(live["spec"], json!({"replicas": 5}));

    let run = json!({"apiVersion": "argoproj.io/v1alpha1", "kind": "AnalysisRun", "metadata": {"name": "r"}, "spec": {}});
    ok(post(&mut store, RUNS, run));
    let booked = Body::Merge(json!({"status": {"phase": "Failed"}}));
    let booked = ok(send(&mut store, Method::Patch, &format!("{RUNS}/r"), booked));
    assert_eq!(
        (&booked["metadata"]["generation"], &booked["status"]["phase"]),
        (&json!(2), &json!("Failed"))
    );
}

#[test]
fn a_write_that_changes_nothing_is_told_to_nobody() {
    let mut store = store();
    let created = ok(post(&mut store, ROLLOUTS, rollout("cart")));
    let watch = watch_from(&mut store, &format!("{ROLLOUTS}?watch=1&resourceVersion={}", version(&created)));
    let same = Body::Merge(json!({"spec": {"replicas": 3}, "status": {"x": 1}}));
    let same = ok(send(&mut store, Method::Patch, &format!("{ROLLOUTS}/cart"), same));
    assert_eq!(same, created);
    assert_eq!(told(&store, &watch), []);
}

#[test]
fn stale_versions_conflict_however_they_are_sent() {
    let mut store = store();
    let old = ok(post(&mut store, ROLLOUTS, rollout("cart")));
    let path = format!("{ROLLOUTS}/cart");
    ok(send(&mut store, Method::Patch, &path, Body::Merge(json!({"spec": {"replicas": 4}}))));
    let stale = json!([{"op": "replace", "path": "/metadata/resourceVersion", "value": version(&old)}]);
    let test = json!([{"op": "test", "path": "/metadata/resourceVersion", "value": version(&old)}]);
    let merge = json!({"metadata": {"resourceVersion": version(&old)}, "status": {"phase": "x"}});
    for (method, path, body, status, reason) in [
        (Method::Put, path.clone(), Body::Json(old.clone()), 409, "Conflict"),
        (Method::Patch, path.clone(), Body::JsonPatch(stale), 409, "Conflict"),
        (Method::Patch, format!("{path}/status"), Body::Merge(merge), 409, "Conflict"),
        (Method::Patch, path.clone(), Body::JsonPatch(test), 422, "Invalid"),
        (Method::Put, path.clone(), Body::Json(rollout("cart")), 422, "Invalid"),
    ] {
        let answer = send(&mut store, method, &path, body);
        assert_eq!((answer.status, answer.reason()), (status, reason), "{answer:?}");
    }
    let conflict = send(&mut store, Method::Put, &path, Body::Json(old));
    assert_eq!(
        conflict.message(),
        "Operation cannot be fulfilled on rollouts.argoproj.io \"cart\": the object has been modified; please apply \
         your changes to the latest version and try again"
    );
    let live = ok(send(&mut store, Method::Get, &path, Body::Empty));
    assert_eq!(live["spec"]["replicas"], 4);
}

#[test]
fn custom_kinds_take_no_strategic_merge() {
    let mut store = store();
    ok(post(&mut store, ROLLOUTS, rollout("cart")));
    let patch = Body::StrategicMerge(json!({"spec": {"replicas": 1}}));
    let answer = send(&mut store, Method::Patch, &format!("{ROLLOUTS}/cart"), patch);
    assert_eq!((answer.status, answer.reason()), (415, "UnsupportedMediaType"));
}

#[test]
fn selectors_choose_what_a_watch_is_told() {
    let mut store = store();
    let watch = watch_from(&mut store, &format!("{CONFIG}?watch=true&labelSelector=app=shop"));
    ok(post(&mut store, CONFIG, config("in", json!({"app": "shop"}))));
    ok(post(&mut store, CONFIG, config("out", json!({"app": "cart"}))));
    let label = |app: &str| Body::Merge(json!({"metadata": {"labels": {"app": app}}}));
    ok(send(&mut store, Method::Patch, &format!("{CONFIG}/out"), label("shop")));
    ok(send(&mut store, Method::Patch, &format!("{CONFIG}/in"), label("cart")));
    ok(send(&mut store, Method::Delete, &format!("{CONFIG}/in"), Body::Empty));
    let told = told(&store, &watch);
    let expected = [(EventKind::Added, "in"), (EventKind::Added, "out"), (EventKind::Deleted, "in")];
    assert_eq!(told, expected.map(|(kind, name)| (kind, name.to_owned())));
}

#[test]
fn a_watch_behind_the_compaction_is_gone() {
    let mut store = store();
    let created = ok(post(&mut store, CONFIG, config("a", json!({}))));
    ok(post(&mut store, CONFIG, config("b", json!({}))));
    let watch = watch_from(&mut store, &format!("{CONFIG}?watch=true&resourceVersion={}", version(&created)));
    store.compact();
    assert!(matches!(store.events_since(&watch, watch.from), Events::Gone { .. }));
    assert!(matches!(store.events_since(&watch, store.version()), Events::Some { .. }));
}

#[test]
fn pages_show_one_state_until_it_is_compacted() {
    let mut store = store();
    for name in ["a", "b", "c"] {
        ok(post(&mut store, CONFIG, config(name, json!({}))));
    }
    let first = ok(send(&mut store, Method::Get, &format!("{CONFIG}?limit=2"), Body::Empty));
    assert_eq!(first["metadata"]["remainingItemCount"], 1);
    ok(send(&mut store, Method::Delete, &format!("{CONFIG}/c"), Body::Empty));
    ok(post(&mut store, CONFIG, config("d", json!({}))));
    let rest = format!("{CONFIG}?limit=2&continue={}", first["metadata"]["continue"].as_str().unwrap());
    let second = ok(send(&mut store, Method::Get, &rest, Body::Empty));
    assert_eq!(second["items"][0]["metadata"]["name"], "c");
    assert_eq!(second["items"].as_array().unwrap().len(), 1);
    assert_eq!(second["metadata"]["resourceVersion"], first["metadata"]["resourceVersion"]);
    store.compact();
    let gone = send(&mut store, Method::Get, &rest, Body::Empty);
    assert_eq!((gone.status, gone.reason()), (410, "Expired"));
}

#[test]
fn a_finalizer_keeps_an_object_until_it_is_taken_off() {
    let mut store = store();
    let mut held = rollout("cart");
    held["metadata"]["finalizers"] = json!(["serin.dev/x"]);
    ok(post(&mut store, ROLLOUTS, held));
    let path = format!("{ROLLOUTS}/cart");
    let marked = ok(send(&mut store, Method::Delete, &path, Body::Empty));
    assert_eq!(marked["metadata"]["deletionTimestamp"], "2026-01-01T00:00:00Z");
    assert_eq!(marked["metadata"]["generation"], 2);
    ok(send(&mut store, Method::Patch, &path, Body::Merge(json!({"metadata": {"finalizers": null}}))));
    assert_eq!(send(&mut store, Method::Get, &path, Body::Empty).status, 404);
}

#[test]
fn preconditions_guard_a_deletion() {
    let mut store = store();
    ok(post(&mut store, ROLLOUTS, rollout("cart")));
    let path = format!("{ROLLOUTS}/cart");
    let wrong = Body::Json(json!({"preconditions": {"uid": "other"}}));
    let refused = send(&mut store, Method::Delete, &path, wrong);
    assert_eq!((refused.status, refused.reason()), (409, "Conflict"));
    let deleted = send(&mut store, Method::Delete, &path, Body::Empty);
    assert_eq!(deleted.body["status"], "Success");
}

#[test]
fn only_bound_pods_end_with_grace() {
    let mut store = store();
    let pod = |name: &str, node: Value| {
        json!({"metadata": {"name": name}, "spec": {"nodeName": node,
            "containers": [{"name": "c", "image": "shop:v1"}]}})
    };
    ok(post(&mut store, PODS, pod("free", json!(null))));
    ok(post(&mut store, PODS, pod("bound", json!("node-1"))));
    ok(send(&mut store, Method::Delete, &format!("{PODS}/free"), Body::Empty));
    assert_eq!(send(&mut store, Method::Get, &format!("{PODS}/free"), Body::Empty).status, 404);
    let marked = ok(send(&mut store, Method::Delete, &format!("{PODS}/bound"), Body::Empty));
    assert_eq!(marked["metadata"]["deletionGracePeriodSeconds"], 30);
    assert_eq!(marked["metadata"]["deletionTimestamp"], "2026-01-01T00:00:30Z");
    let now = Body::Json(json!({"gracePeriodSeconds": 0}));
    ok(send(&mut store, Method::Delete, &format!("{PODS}/bound"), now));
    assert!(store.object(Resource::Pods, "default", "bound").is_none());
}

#[test]
fn every_version_of_an_istio_object_is_the_same_object() {
    let mut store = store();
    let route = json!({"apiVersion": "networking.istio.io/v1", "kind": "VirtualService", "metadata": {"name": "r"},
        "spec": {"http": [{"route": [{"destination": {"host": "a"}, "weight": 100}]}]}});
    assert_eq!(ok(post(&mut store, ROUTES, route))["apiVersion"], "networking.istio.io/v1");
    let beta = ROUTES.replace("/v1/", "/v1beta1/");
    let read = ok(send(&mut store, Method::Get, &format!("{beta}/r"), Body::Empty));
    assert_eq!(read["apiVersion"], "networking.istio.io/v1beta1");
    let patch = json!([{"op": "add", "path": "/spec/http/0/route/0/weight", "value": 50}]);
    let patched = ok(send(&mut store, Method::Patch, &format!("{beta}/r"), Body::JsonPatch(patch)));
    assert_eq!(patched["spec"]["http"][0]["route"][0]["weight"], 50);
    let key = Key::new("default", "r");
    assert_eq!(
        store.at(Resource::VirtualServices, &key).unwrap()["apiVersion"],
        "networking.istio.io/v1alpha3"
    );
}

#[test]
fn applying_creates_then_conflicts_then_forces() {
    let mut store = store();
    let path = format!("{ROUTES}/r");
    let config = |weight: u8| {
        Body::Apply(json!({"apiVersion": "networking.istio.io/v1", "kind": "VirtualService",
            "metadata": {"name": "r"}, "spec": {"hosts": ["a"],
                "http": [{"route": [{"destination": {"host": "a"}, "weight": weight}]}]}}))
    };
    let created = send(&mut store, Method::Patch, &format!("{path}?fieldManager=flux"), config(100));
    assert_eq!(created.status, 201);
    assert_eq!(created.body["metadata"]["managedFields"][0]["operation"], "Apply");
    let shed = json!([{"op": "add", "path": "/spec/http/0/route/0/weight", "value": 0}]);
    ok(send(&mut store, Method::Patch, &path, Body::JsonPatch(shed)));
    let refused = send(&mut store, Method::Patch, &format!("{path}?fieldManager=flux"), config(100));
    assert_eq!((refused.status, refused.reason()), (409, "Conflict"));
    assert_eq!(
        refused.message(),
        "Apply failed with 1 conflict: conflict with \"test\" using networking.istio.io/v1: .spec.http"
    );
    let forced =
        send(&mut store, Method::Patch, &format!("{path}?fieldManager=flux&force=true"), config(100));
    assert_eq!(ok(forced)["spec"]["http"][0]["route"][0]["weight"], 100);
    assert_eq!(send(&mut store, Method::Patch, &path, config(1)).status, 422);
}

#[test]
fn a_dry_run_changes_nothing() {
    let mut store = store();
    let before = store.version();
    let answer = post(&mut store, &format!("{ROLLOUTS}?dryRun=All"), rollout("cart"));
    assert_eq!(answer.status, 201);
    assert_eq!(store.version(), before);
    assert!(store.object(Resource::Rollouts, "default", "cart").is_none());
}

#[test]
fn deleting_a_collection_spares_what_is_not_selected() {
    let mut store = store();
    ok(post(&mut store, CONFIG, config("a", json!({"x": "1"}))));
    ok(post(&mut store, CONFIG, config("b", json!({"x": "2"}))));
    ok(send(&mut store, Method::Delete, &format!("{CONFIG}?labelSelector=x=1"), Body::Empty));
    let left = ok(send(&mut store, Method::Get, CONFIG, Body::Empty));
    assert_eq!(left["items"][0]["metadata"]["name"], "b");
    assert_eq!(left["items"].as_array().unwrap().len(), 1);
}

#[test]
fn a_pod_that_is_evicted_is_marked_then_ends_then_is_gone() {
    let mut store = store();
    let pod =
        json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "main", "image": "shop:v1"}]}});
    let made = ok(post(&mut store, PODS, pod));
    let watch = watch_from(&mut store, &format!("{PODS}?watch=1&resourceVersion={}", version(&made)));
    let eviction = json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "p"}});
    ok(post(&mut store, &format!("{PODS}/p/eviction"), eviction));
    let told = events(&store, &watch);
    let kinds: Vec<EventKind> = told.iter().map(|(kind, _)| *kind).collect();
    assert_eq!(kinds, [EventKind::Modified, EventKind::Modified, EventKind::Deleted]);
    assert_eq!(told[0].1["status"]["conditions"][0]["reason"], "EvictionByEvictionAPI");
    assert!(told[0].1["metadata"]["deletionTimestamp"].is_null());
    assert_eq!(told[1].1["metadata"]["deletionGracePeriodSeconds"], 0);
}

#[test]
fn where_nobody_is_booked_any_more_updates_are_not_booked() {
    let mut store = store();
    ok(post(&mut store, ROLLOUTS, rollout("cart")));
    let path = format!("{ROLLOUTS}/cart");
    let managers = |object: &Value| object["metadata"]["managedFields"].as_array().map(Vec::len);
    let cleared = json!([{"op": "replace", "path": "/metadata/managedFields", "value": [{}]}]);
    let cleared = ok(send(&mut store, Method::Patch, &path, Body::JsonPatch(cleared)));
    assert_eq!(managers(&cleared), None);
    let changed = ok(send(&mut store, Method::Patch, &path, Body::Merge(json!({"spec": {"replicas": 7}}))));
    assert_eq!((&changed["spec"]["replicas"], managers(&changed)), (&json!(7), None));
}
