use std::{collections::BTreeMap, sync::Arc};

use jiff::Timestamp;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::{
    decide::{
        analysis,
        mark::ShedMark,
        memory::{Memory, Phase},
        observed::{Destination, Side},
        plan::*,
        record::{AbortCause, AbortRecord, Record, Version},
        report::{Report, Stage as Place},
    },
    domain::{PodHash, Uid, Weight, verdict::Verdict},
};

pub(crate) fn at() -> Timestamp {
    "2026-01-01T00:00:00.25Z".parse().unwrap()
}

fn hash(text: &str) -> PodHash {
    PodHash::new(text).unwrap()
}

pub(crate) fn owner() -> Owner {
    Owner { key: Key::new("shop", "cart"), uid: Uid("u-1".into()), resource_version: "7".into() }
}

pub(crate) fn idle() -> Plan {
    let report = Report {
        stage: Place::Canary,
        live: Weight::ZERO,
        target: Weight::ZERO,
        ceiling: Weight::ZERO,
        waiting: vec![],
        notes: vec![],
    };
    Plan::idle(owner(), report)
}

fn change(index: usize, side: Side, host: &str, to: i64) -> WeightChange {
    let destination = Destination { side, weight: None, destination: Arc::new(json!({ "host": host })) };
    WeightChange::new(index, &destination, Weight::new(to).unwrap())
}

fn routes() -> Vec<RouteWeights> {
    let changes =
        vec![change(0, Side::Stable, "cart-stable", 100), change(1, Side::Canary, "cart-canary", 0)];
    vec![RouteWeights { index: 2, name: Some("primary".into()), changes }]
}

pub(crate) fn lowering() -> Lowering {
    Lowering {
        virtual_service: Key::new("mesh", "cart-vs"),
        has_annotations: false,
        routes: routes(),
        mark: Some(ShedMark {
            hash: hash("abc"),
            run: "run-uid".into(),
            limit: "result < 0.05".into(),
            weight_before: Weight::new(50).unwrap(),
            verdict: analysis::Mark {
                metric: "error-rate".into(),
                verdict: Verdict::Failed,
                value: "0.08".into(),
                message: String::new(),
                no_data: false,
                at: at(),
            },
        }),
        why: ShedReason::Rejected,
    }
}

fn grow() -> ScaleUp {
    ScaleUp {
        replica_set: "cart-old".into(),
        resource_version: "11".into(),
        revision: 1,
        from: 4,
        to: 10,
        desired: 10,
        clear_deadline: true,
    }
}

fn requests(plan: &Plan) -> Vec<Request> {
    render(plan, &Versions::default(), at()).map(|step| step.request).collect()
}

fn only(plan: &Plan) -> Request {
    let mut all = requests(plan);
    assert_eq!(all.len(), 1, "{all:?}");
    all.remove(0)
}

fn owned(path: &str) -> (String, Vec<(String, String)>) {
    (path.to_owned(), vec![("fieldManager".to_owned(), "rollouts-controller".to_owned())])
}

fn operations(request: &Request) -> &Vec<Value> {
    let Body::JsonPatch(Value::Array(operations)) = &request.body else { panic!("{request:?}") };
    operations
}

#[test]
fn a_shed_tests_what_it_lowers_and_carries_no_resource_version() {
    let plan = Plan { shed: Shed { weights: Some(lowering()), grow: None }, ..idle() };
    let request = only(&plan);
    let path = "/apis/networking.istio.io/v1alpha3/namespaces/mesh/virtualservices/cart-vs";
    assert_eq!((request.path.clone(), request.query.clone()), owned(path));
    assert_eq!(request.method, Method::Patch);
    let all = operations(&request);
    assert_eq!(
        json!(all[..7]),
        json!([
            { "op": "test", "path": "/spec/http/2/name", "value": "primary" },
            { "op": "test", "path": "/spec/http/2/route/0/destination", "value": { "host": "cart-stable" } },
            { "op": "add", "path": "/spec/http/2/route/0/weight", "value": 100 },
            { "op": "test", "path": "/spec/http/2/route/1/destination", "value": { "host": "cart-canary" } },
            { "op": "add", "path": "/spec/http/2/route/1/weight", "value": 0 },
            { "op": "test", "path": "/metadata/annotations", "value": null },
            { "op": "add", "path": "/metadata/annotations", "value": {} },
        ])
    );
    assert_eq!(all[7]["path"], "/metadata/annotations/shed.serin.dev~1u-1");
    let mark: Value = serde_json::from_str(all[7]["value"].as_str().unwrap()).unwrap();
    assert_eq!(mark["weightBefore"], 50);
    assert_eq!(all.len(), 8);
}

#[test]
fn a_shed_that_leaves_some_weight_tests_what_is_live() {
    let mut lowering = lowering();
    lowering.mark = None;
    lowering.routes[0].changes =
        [(Side::Stable, "cart-stable", Some(3), 71), (Side::Canary, "cart-canary", None, 29)]
            .into_iter()
            .enumerate()
            .map(|(index, (side, host, from, to))| WeightChange { from, ..change(index, side, host, to) })
            .collect();
    let step = shed(&lowering, &owner(), &Versions::default());
    let all = operations(&step.request);
    assert_eq!(all[2], json!({ "op": "test", "path": "/spec/http/2/route/0/weight", "value": 3 }));
    assert_eq!(all[5], json!({ "op": "test", "path": "/spec/http/2/route/1/weight", "value": null }));
    assert_eq!(all.len(), 7);
}

#[test]
fn a_shed_without_its_mark_keeps_the_weights() {
    let step = shed(&lowering(), &owner(), &Versions::default());
    assert_eq!(operations(&without_mark(&step.request)), &operations(&step.request)[..5].to_vec());
}

#[test]
fn other_weights_are_refused_where_the_object_has_changed() {
    let set = SetWeights {
        virtual_service: Key::new("mesh", "cart-vs"),
        resource_version: "41".into(),
        routes: routes(),
        canary: Weight::ZERO,
        clear_mark: true,
        puts_back: false,
    };
    let request = only(&Plan { expose: vec![Expose::Weights(set)], ..idle() });
    let all = operations(&request);
    assert_eq!(all[0], json!({ "op": "replace", "path": "/metadata/resourceVersion", "value": "41" }));
    assert_eq!(all[6], json!({ "op": "remove", "path": "/metadata/annotations/shed.serin.dev~1u-1" }));
    assert_eq!(all.len(), 7);
}

#[test]
fn a_rollouts_status_is_the_difference_on_its_version() {
    let new = Memory { phase: Some(Phase::Degraded), ..Memory::default() };
    let rollout = Some(StatusWrite { old: Memory::default(), new });
    let plan = Plan { memory: Remember { rollout, ..Remember::default() }, ..idle() };
    let request = only(&plan);
    let path = "/apis/argoproj.io/v1alpha1/namespaces/shop/rollouts/cart/status";
    assert_eq!((request.path, request.query), owned(path));
    let body = json!({ "metadata": { "resourceVersion": "7" }, "status": { "phase": "Degraded" } });
    assert_eq!(request.body, Body::Merge(body));
}

#[test]
fn a_status_that_does_not_differ_is_not_written() {
    let rollout = Some(StatusWrite { old: Memory::default(), new: Memory::default() });
    assert_eq!(requests(&Plan { memory: Remember { rollout, ..Remember::default() }, ..idle() }), []);
}

#[test]
fn a_runs_status_goes_to_the_object_itself() {
    let old = analysis::RunStatus { phase: analysis::Phase::Running, ..analysis::RunStatus::default() };
    let new = analysis::RunStatus {
        phase: analysis::Phase::Done(Verdict::Failed),
        ..analysis::RunStatus::default()
    };
    let runs = vec![RunWrite { name: "cart-abc-2".into(), resource_version: "9".into(), old, new }];
    let request = only(&Plan { memory: Remember { runs, ..Remember::default() }, ..idle() });
    let path = "/apis/argoproj.io/v1alpha1/namespaces/shop/analysisruns/cart-abc-2";
    assert_eq!((request.path, request.query), owned(path));
    let body = json!({ "metadata": { "resourceVersion": "9" }, "status": { "phase": "Failed" } });
    assert_eq!(request.body, Body::Merge(body));
}

fn abort() -> AbortRecord {
    let version = |hash: &str, image: &str| Version {
        hash: PodHash::new(hash).unwrap(),
        images: BTreeMap::from([("app".to_owned(), image.to_owned())]),
    };
    AbortRecord {
        cause: AbortCause::MetricFailed,
        bad: version("abc", "cart:v1.2.0"),
        good: version("xyz", "cart:v1.1.0"),
        weight: Weight::new(50).unwrap(),
        started_at: Some(at()),
        at: at(),
        run: Some("cart-abc-2".into()),
        evidence: Some(analysis::Evidence {
            metric: "error-rate".into(),
            value: "0.08".into(),
            samples: 4,
            ..analysis::Evidence::default()
        }),
    }
}

#[test]
fn a_record_is_made_before_its_status() {
    let new = Record { abort: Some(abort()), ..Record::default() };
    let record = Some(RecordWrite { old: Record::default(), new });
    let all = requests(&Plan { memory: Remember { record, ..Remember::default() }, ..idle() });
    let manager = vec![("fieldManager".to_owned(), "serin-controller".to_owned())];
    assert_eq!(all.len(), 2);
    assert_eq!(all[0].path, "/apis/serin.dev/v1alpha1/namespaces/shop/rolloutrecords");
    assert_eq!(all[0].query, manager);
    let Body::Json(object) = &all[0].body else { panic!() };
    assert_eq!(object["metadata"]["ownerReferences"][0]["uid"], "u-1");
    assert_eq!(all[1].path, "/apis/serin.dev/v1alpha1/namespaces/shop/rolloutrecords/cart/status");
    let Body::Merge(patch) = &all[1].body else { panic!() };
    assert_eq!(patch.get("metadata"), None);
    assert_eq!(patch["status"]["controller"]["cause"], "MetricFailed");
    assert_eq!(
        patch["status"]["controller"]["evidence"],
        json!({
            "run": "cart-abc-2", "metric": "error-rate", "value": "0.08", "samples": 4, "weight": 50,
            "startedAt": "2026-01-01T00:00:00Z", "failedAt": "2026-01-01T00:00:00Z"
        })
    );
}

fn new_replica_set() -> NewReplicaSet {
    NewReplicaSet {
        name: "cart-abc".into(),
        hash: hash("abc"),
        revision: 2,
        desired: 10,
        min_ready_seconds: 5,
        selector: Arc::new(json!({ "matchLabels": { "app": "cart" } })),
        template: Arc::new(json!({
            "metadata": { "labels": { "app": "cart", "tier": "web" } },
            "spec": { "containers": [{ "name": "app", "image": "cart:v1.2.0", "unknownToUs": { "a": [1] } }] },
        })),
        annotations: BTreeMap::from([("team".to_owned(), "shop".to_owned())]),
    }
}

#[test]
fn a_replica_set_starts_with_no_pods_and_keeps_the_template_as_written() {
    let request = only(&Plan { prepare: vec![Prepare::CreateReplicaSet(new_replica_set())], ..idle() });
    assert_eq!((request.path, request.query), owned("/apis/apps/v1/namespaces/shop/replicasets"));
    let Body::Json(object) = request.body else { panic!() };
    assert_eq!(
        object,
        json!({
            "apiVersion": "apps/v1",
            "kind": "ReplicaSet",
            "metadata": {
                "name": "cart-abc",
                "namespace": "shop",
                "labels": { "app": "cart", "tier": "web", "rollouts-pod-template-hash": "abc" },
                "annotations": {
                    "team": "shop",
                    "rollout.argoproj.io/revision": "2",
                    "rollout.argoproj.io/desired-replicas": "10",
                },
                "ownerReferences": [{
                    "apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "name": "cart", "uid": "u-1",
                    "controller": true, "blockOwnerDeletion": true,
                }],
            },
            "spec": {
                "replicas": 0,
                "minReadySeconds": 5,
                "selector": { "matchLabels": { "app": "cart", "rollouts-pod-template-hash": "abc" } },
                "template": {
                    "metadata": {
                        "labels": { "app": "cart", "tier": "web", "rollouts-pod-template-hash": "abc" },
                    },
                    "spec": {
                        "containers": [
                            { "name": "app", "image": "cart:v1.2.0", "unknownToUs": { "a": [1] } },
                        ],
                    },
                },
            },
        })
    );
}

#[test]
fn sizes_carry_the_version_they_were_decided_on() {
    let down = ScaleDown {
        replica_set: "cart-abc".into(),
        resource_version: "12".into(),
        hash: hash("abc"),
        revision: 2,
        from: 5,
        to: 0,
        desired: 10,
        clear_deadline: false,
    };
    let plan = Plan {
        shed: Shed { weights: None, grow: Some(grow()) },
        retire: vec![Retire::ScaleDown(down)],
        ..idle()
    };
    let all = requests(&plan);
    let body = json!({
        "metadata": {
            "annotations": { "rollout.argoproj.io/desired-replicas": "10", "scale-down-deadline": null },
            "resourceVersion": "11",
        },
        "spec": { "replicas": 10 },
    });
    assert_eq!(all[0].body, Body::Merge(body));
    let body = json!({
        "metadata": {
            "annotations": { "rollout.argoproj.io/desired-replicas": "10" },
            "resourceVersion": "12",
        },
        "spec": { "replicas": 0 },
    });
    assert_eq!(all[1].body, Body::Merge(body));
}

fn switch() -> Switch {
    Switch {
        service: "cart-canary".into(),
        side: Side::Canary,
        resource_version: "3".into(),
        from: None,
        to: hash("abc"),
        adopt: Some("cart".into()),
    }
}

#[test]
fn a_service_is_switched_on_its_version() {
    let request = only(&Plan { prepare: vec![Prepare::SwitchService(switch())], ..idle() });
    assert_eq!((request.path, request.query), owned("/api/v1/namespaces/shop/services/cart-canary"));
    let body = json!({
        "metadata": {
            "resourceVersion": "3",
            "annotations": { "argo-rollouts.argoproj.io/managed-by-rollouts": "cart" },
        },
        "spec": { "selector": { "rollouts-pod-template-hash": "abc" } },
    });
    assert_eq!(request.body, Body::Merge(body));
}

#[test]
fn what_is_deleted_is_what_was_looked_at() {
    let uid = Uid("rs-1".into());
    let delete = Retire::DeleteReplicaSet { name: "cart-old".into(), uid, resource_version: "4".into() };
    let request = only(&Plan { retire: vec![delete], ..idle() });
    assert_eq!(request.method, Method::Delete);
    let Body::Json(options) = request.body else { panic!() };
    assert_eq!(options["preconditions"], json!({ "uid": "rs-1", "resourceVersion": "4" }));
}

fn event(reason: &str) -> Tell {
    Tell::Event(Event {
        about: About::Rollout,
        kind: EventKind::Warning,
        reason: reason.into(),
        message: "Rollout aborted update to revision 2".into(),
    })
}

#[test]
fn an_event_told_twice_has_one_name() {
    let name = |tell: Tell, now: Timestamp| {
        let plan = Plan { tell: vec![tell], ..idle() };
        let step = render(&plan, &Versions::default(), now).next().unwrap();
        let Body::Json(object) = step.request.body else { panic!() };
        object["metadata"]["name"].as_str().unwrap().to_owned()
    };
    assert_eq!(name(event("RolloutAborted"), at()), name(event("RolloutAborted"), at()));
    assert_ne!(name(event("RolloutAborted"), at()), name(event("RolloutPaused"), at()));
    assert!(name(event("RolloutAborted"), at()).starts_with("cart."));
}

#[test]
fn an_event_is_of_the_reference_controllers_shape() {
    let request = only(&Plan { tell: vec![event("Updated VirtualService")], ..idle() });
    assert_eq!(request.path, "/api/v1/namespaces/shop/events");
    let Body::Json(mut object) = request.body else { panic!() };
    object["metadata"]["name"] = json!("cart.x");
    assert_eq!(
        object,
        json!({
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": { "name": "cart.x", "namespace": "shop" },
            "involvedObject": {
                "apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "name": "cart", "namespace": "shop",
                "uid": "u-1", "resourceVersion": "7",
            },
            "type": "Warning",
            "reason": "Updated VirtualService",
            "message": "Rollout aborted update to revision 2",
            "source": { "component": "rollouts-controller" },
            "reportingComponent": "rollouts-controller",
            "firstTimestamp": "2026-01-01T00:00:00Z",
            "lastTimestamp": "2026-01-01T00:00:00Z",
            "count": 1,
        })
    );
}

#[test]
fn an_intent_names_both_versions_and_the_evidence() {
    let intent = Intent { name: "cart-abc".into(), abort: abort() };
    let request = only(&Plan { tell: vec![Tell::SelfHeal(Box::new(intent))], ..idle() });
    assert_eq!(request.path, "/apis/serin.dev/v1alpha1/namespaces/shop/selfheals");
    let Body::Json(object) = request.body else { panic!() };
    assert_eq!(object["spec"]["bad"], json!({ "hash": "abc", "images": { "app": "cart:v1.2.0" } }));
    assert_eq!(object["spec"]["good"], json!({ "hash": "xyz", "images": { "app": "cart:v1.1.0" } }));
    assert_eq!(object["spec"]["evidence"]["value"], "0.08");
}

fn any_plan() -> impl Strategy<Value = Plan> {
    let text = "[a-z~/\"{}\\PC]{0,12}";
    let prepare = prop_oneof![
        Just(Prepare::WriteReplicas),
        Just(Prepare::CreateReplicaSet(new_replica_set())),
        any::<i64>().prop_map(Prepare::WriteRevision),
        text.prop_map(Prepare::TerminateRun),
        Just(Prepare::ScaleUp(grow())),
        Just(Prepare::SwitchService(switch())),
    ];
    let expose = text.prop_map(|name| Expose::ClearMark {
        virtual_service: Key::new(name.clone(), name.clone()),
        resource_version: name,
    });
    let retire = text.prop_map(|name| Retire::DeleteRun { name: name.clone(), uid: Uid(name) });
    let tell = text.prop_map(|reason| event(&reason));
    let template = prop_oneof![Just(json!(null)), Just(json!([])), Just(json!({ "metadata": 5 }))];
    (
        any::<bool>(),
        any::<bool>(),
        prop::collection::vec(prepare, 0..4),
        prop::collection::vec(expose, 0..2),
        prop::collection::vec(retire, 0..3),
        prop::collection::vec(tell, 0..3),
        template,
    )
        .prop_map(|(shed, grows, mut prepare, expose, retire, tell, template)| {
            for prepare in &mut prepare {
                if let Prepare::CreateReplicaSet(new) = prepare {
                    new.template = Arc::new(template.clone());
                }
            }
            let new = Memory { abort: true, ..Memory::default() };
            let rollout = Some(StatusWrite { old: Memory::default(), new });
            Plan {
                shed: Shed { weights: shed.then(lowering), grow: grows.then(grow) },
                memory: Remember { rollout, ..Remember::default() },
                prepare,
                expose,
                retire,
                tell,
                ..idle()
            }
        })
}

proptest! {
    #[test]
    fn any_plan_becomes_requests_in_the_order_of_its_fields(plan in any_plan()) {
        let steps: Vec<Step> = render(&plan, &Versions::default(), at()).collect();
        prop_assert!(steps.is_sorted_by_key(|step| step.stage));
        prop_assert_eq!(steps.first().map(|step| step.action == Action::Shed), Some(plan.shed.weights.is_some()));
        let wanted = usize::from(plan.shed.weights.is_some()) + usize::from(plan.shed.grow.is_some()) + 1
            + plan.prepare.len() + plan.expose.len() + plan.retire.len() + plan.tell.len();
        prop_assert_eq!(steps.len(), wanted);
    }
}
