//! The lab's own parts, each shown to do what the stories rely on.

use std::time::Duration;

use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{ConfigMap, Pod, Secret},
};
use kube::{
    Api, Client, ResourceExt,
    api::{ApiResource, DynamicObject, ListParams, Patch, PatchParams},
    core::GroupVersionKind,
};
use serde_json::json;
use serin::clock::Clock;

use crate::{
    Fallible,
    apply::Applier,
    images::Behaviour,
    load::{self, Load},
    stack::{SOON, Stack},
    wait,
};

/// A Deployment of 3 goes to 3/3 on the node and back to none; one whose image is not published stays unready and says why.
pub(crate) async fn deployment(stack: &Stack) -> Fallible {
    let namespace = "lab-deployment";
    stack.namespace(namespace).await?;
    stack.images.publish("registry.lab/hello:v1", Behaviour::GOOD);
    let mut kubectl = Applier::new(stack.admin(), "kubectl");
    kubectl.one(&workload("hello", "registry.lab/hello:v1", 3), namespace).await?;
    kubectl.one(&workload("lost", "registry.lab/lost:v1", 1), namespace).await?;
    ready(&stack.admin(), namespace, "hello", 3).await?;
    let pods: Api<Pod> = Api::namespaced(stack.admin(), namespace);
    wait::until("ImagePullBackOff", SOON, async || {
        let lost = pods.list(&ListParams::default().labels("app=lost")).await?;
        let waiting = serde_json::to_string(&lost.items)?;
        if waiting.contains("ImagePullBackOff") { Ok(()) } else { Err(waiting.into()) }
    })
    .await?;
    let deployments: Api<Deployment> = Api::namespaced(stack.admin(), namespace);
    let none = json!({"spec": {"replicas": 0}});
    deployments.patch("hello", &PatchParams::default(), &Patch::Merge(&none)).await?;
    wait::until("the pods to be gone", SOON, async || {
        let left = pods.list(&ListParams::default().labels("app=hello")).await?.items.len();
        if left == 0 { Ok(()) } else { Err(format!("{left} pods").into()) }
    })
    .await
}

/// The split that users see is the VirtualService's, before and after a change, and a destination without pods is counted.
pub(crate) async fn load(stack: &Stack) -> Fallible {
    let namespace = "lab-load";
    two_versions(stack, namespace, Behaviour::GOOD).await?;
    let load = stack.load(&host(namespace), namespace, "shop");
    answered(&load).await?;
    let since = Clock::Wall.now();
    share(&load, "v2", 10).await?;
    weights(stack, namespace, 50).await?;
    share(&load, "v2", 50).await?;
    if let Some(lost) = load::lost(&load.answers(since)).first() {
        return Err(format!(
            "a request was lost although both versions had ready pods all the time: {lost:?}"
        )
        .into());
    }
    let deployments: Api<Deployment> = Api::namespaced(stack.admin(), namespace);
    deployments
        .patch("v2", &PatchParams::default(), &Patch::Merge(&json!({"spec": {"replicas": 0}})))
        .await?;
    wait::until("requests to a service without pods to be lost", SOON, async || {
        let lost = load::lost(&load.answers(since));
        // While the pods go, a request may meet a port that was closed before the mesh heard of it.
        let nobody = |lost: &&load::Answer| matches!(&lost.outcome, load::Outcome::Mesh { why, .. } if why.contains("no healthy upstream"));
        let empty = lost.iter().filter(nobody).count();
        if empty > 20 { Ok(()) } else { Err(format!("{empty} of {} lost", lost.len()).into()) }
    })
    .await
}

/// The story's query, scoped to one version's pods by their label, measures that version's errors and no other's.
pub(crate) async fn prometheus(stack: &Stack) -> Fallible {
    let namespace = "lab-prometheus";
    two_versions(stack, namespace, Behaviour::failing(8)).await?;
    let _load = stack.load(&host(namespace), namespace, "shop");
    for (version, low, high) in [("v2", 0.07, 0.09), ("v1", 0.0, 0.0)] {
        let query = errors(namespace, &format!("app=\"{version}\""), "5s");
        wait::until(&query, SOON, async || {
            let value = stack.prometheus.scalar(&query).await?;
            if (low..=high).contains(&value) { Ok(()) } else { Err(format!("{value}").into()) }
        })
        .await?;
    }
    Ok(())
}

/// The share of 5xx among the answers of the pods that `scope` selects, over `window`.
pub(crate) fn errors(namespace: &str, scope: &str, window: &str) -> String {
    let rate = |more: &str| {
        format!("sum(rate(http_requests_total{{namespace=\"{namespace}\",{scope}{more}}}[{window}]))")
    };
    format!("scalar({} / {})", rate(",code=~\"5..\""), rate(""))
}

/// With the token of an account of `deploy/`, what its roles do not grant is refused by the API server.
pub(crate) async fn roles(stack: &Stack) -> Fallible {
    for account in ["serin-controller", "serin-gitops"] {
        let client = stack.client_of(account).await?;
        let secrets: Api<Secret> = Api::all(client.clone());
        refused(account, "list secrets", secrets.list(&ListParams::default()).await)?;
        let settings: Api<ConfigMap> = Api::namespaced(client, "kube-system");
        refused(
            account,
            "delete a ConfigMap",
            settings.delete("extension-apiserver-authentication", &<_>::default()).await,
        )?;
    }
    Ok(())
}

fn refused<T>(account: &str, what: &str, outcome: kube::Result<T>) -> Fallible {
    match outcome {
        Err(kube::Error::Api(status)) if status.code == 403 => Ok(()),
        Err(other) => Err(format!("{account}: {what}: {other}").into()),
        Ok(_) => Err(format!("{account} was allowed to {what}").into()),
    }
}

async fn two_versions(stack: &Stack, namespace: &str, second: Behaviour) -> Fallible {
    stack.namespace(namespace).await?;
    stack.images.publish("registry.lab/shop:v1", Behaviour::GOOD);
    let image = format!("registry.lab/{namespace}:v2");
    stack.images.publish(&image, second);
    let mut kubectl = Applier::new(stack.admin(), "kubectl");
    for (name, image) in [("v1", "registry.lab/shop:v1"), ("v2", &image)] {
        kubectl.one(&workload(name, image, 2), namespace).await?;
        kubectl
            .one(
                &json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name},
            "spec": {"selector": {"app": name}, "ports": [{"port": 80, "targetPort": 8080}]}}),
                namespace,
            )
            .await?;
        ready(&stack.admin(), namespace, name, 2).await?;
    }
    weights(stack, namespace, 10).await
}

/// One without a dot would be taken for a Service's name.
fn host(namespace: &str) -> String {
    format!("{namespace}.example.org")
}

async fn weights(stack: &Stack, namespace: &str, second: u64) -> Fallible {
    let kind = ApiResource::from_gvk(&GroupVersionKind::gvk("networking.istio.io", "v1", "VirtualService"));
    let api: Api<DynamicObject> = Api::namespaced_with(stack.admin(), namespace, &kind);
    let route = json!([{"destination": {"host": "v1"}, "weight": 100 - second}, {"destination": {"host": "v2"}, "weight": second}]);
    let object = json!({"apiVersion": "networking.istio.io/v1", "kind": "VirtualService", "metadata": {"name": "shop"},
        "spec": {"hosts": [host(namespace)], "gateways": ["serin-system/lab"], "http": [{"name": "primary", "route": route}]}});
    api.patch("shop", &PatchParams::apply("kubectl"), &Patch::Apply(&object)).await?;
    Ok(())
}

/// Waits until somebody answers: a moment after the VirtualService was made.
async fn answered(load: &Load) -> Fallible {
    wait::until("the first answer", SOON, async || {
        let answers = load.answers(jiff::Timestamp::MIN);
        let last = answers.last().ok_or("nothing was sent yet")?;
        if matches!(last.outcome, load::Outcome::Answered { .. }) {
            Ok(())
        } else {
            Err(format!("{last:?}").into())
        }
    })
    .await
}

/// Waits until `version` gives `percent` of two hundred answers, give or take what chance may do: Envoy draws.
async fn share(load: &Load, version: &str, percent: usize) -> Fallible {
    wait::until(&format!("{percent} % of answers by {version}"), SOON, async || {
        let since = Clock::Wall.now();
        wait::pause(Duration::from_millis(1200)).await;
        let answers: Vec<load::Answer> = load.answers(since).into_iter().take(200).collect();
        let counts = load::by_version(&answers);
        let share = counts.get(version).copied().unwrap_or_default();
        if answers.len() == 200 && share.abs_diff(2 * percent) <= 20 {
            Ok(())
        } else {
            Err(format!("{counts:?}").into())
        }
    })
    .await
}

/// A Deployment whose pods carry the label `app`.
fn workload(name: &str, image: &str, replicas: i32) -> serde_json::Value {
    json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, "spec": {
        "replicas": replicas, "selector": {"matchLabels": {"app": name}},
        "template": {"metadata": {"labels": {"app": name}}, "spec": {"containers": [
            {"name": "main", "image": image, "ports": [{"containerPort": 8080}]}]}}}})
}

async fn ready(client: &Client, namespace: &str, name: &str, replicas: i32) -> Fallible {
    let deployments: Api<Deployment> = Api::namespaced(client.clone(), namespace);
    wait::until(&format!("{name} {replicas}/{replicas}"), SOON, async || {
        let found = deployments.get(name).await?;
        let ready = found.status.as_ref().and_then(|status| status.ready_replicas).unwrap_or_default();
        if ready == replicas {
            Ok(())
        } else {
            Err(format!("{} {ready}/{replicas}", found.name_any()).into())
        }
    })
    .await
}
