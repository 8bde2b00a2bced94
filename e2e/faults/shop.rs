//! Rollouts to be unlucky with, in one namespace, and what stands in for kubelet and ReplicaSet controller: every ReplicaSet is
//! ready a moment after it was scaled.

use std::time::Duration;

use futures::{StreamExt, stream};
use jiff::Timestamp;
use kube::{
    Api, Client, ResourceExt,
    api::{DynamicObject, Patch, PatchParams, WatchEvent, WatchParams},
};
use serde_json::{Value, json};
use serin::clock::Clock;

use crate::{
    Fallible,
    server::{api_of, apply},
    wait,
};

pub(crate) const NAMESPACE: &str = "shop";
const ROLLOUTS: &str = "argoproj.io/v1alpha1";
pub(crate) const ISTIO: &str = "networking.istio.io/v1alpha3";
/// A step of a story on a machine that does other things too.
const SOON: Duration = Duration::from_secs(60);
/// Requests under way at a time.
const AT_ONCE: usize = 20;

/// The shop, as a person with all rights sees it: not through the proxy.
#[derive(Clone)]
pub(crate) struct Shop {
    client: Client,
    namespace: String,
}

impl Shop {
    /// As [`Shop::open_in`], in [`NAMESPACE`].
    ///
    /// # Errors
    /// When the API server refuses.
    pub(crate) async fn open(client: Client, metrics: &str) -> Fallible<Self> {
        Self::open_in(NAMESPACE, client, metrics).await
    }

    /// Makes the namespace and what the rollouts share: the template of their analyses, which ask at `metrics`.
    ///
    /// # Errors
    /// When the API server refuses.
    pub(crate) async fn open_in(namespace: &str, client: Client, metrics: &str) -> Fallible<Self> {
        for namespace in [namespace, "serin-system"] {
            let object =
                json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": namespace } });
            apply(&api_of(&client, "", "v1", "Namespace"), &object).await?;
        }
        let metric = json!({
            "name": "errors", "interval": "1s", "failureLimit": 0, "successCondition": "result[0] < 0.1",
            "provider": { "prometheus": { "address": format!("{metrics}/{{{{args.rollout}}}}"), "query": "errors" } },
        });
        let template = json!({
            "apiVersion": ROLLOUTS, "kind": "AnalysisTemplate", "metadata": { "name": "errors" },
            "spec": { "args": [{ "name": "rollout" }], "metrics": [metric] },
        });
        apply(&api_of(&client, namespace, ROLLOUTS, "AnalysisTemplate"), &template).await?;
        Ok(Self { client, namespace: namespace.to_owned() })
    }

    /// Version 1 of each of these, and waits until all are Healthy. After 20 % each waits for `pause` (empty: for a person), then
    /// goes on to 50 %.
    ///
    /// # Errors
    /// When the API server refuses, or it takes too long.
    pub(crate) async fn deploy(&self, names: &[String], pause: &str) -> Fallible {
        let all = stream::iter(names).map(|name| async move {
            for object in manifests(name, pause) {
                let text = |key: &str| object.get(key).and_then(Value::as_str).unwrap_or_default();
                apply(&self.api(text("apiVersion"), text("kind")), &object).await?;
            }
            Fallible::Ok(())
        });
        all.buffer_unordered(AT_ONCE).collect::<Vec<_>>().await.into_iter().collect::<Fallible>()?;
        self.all(names, "Healthy", |_, status| status["phase"] == "Healthy").await
    }

    /// Version `version` of each, and waits until all have 20 % and stand at the pause after it.
    ///
    /// # Errors
    /// As [`Shop::deploy`].
    pub(crate) async fn release(&self, names: &[String], version: &str) -> Fallible {
        self.change(names, version).await?;
        self.all(names, "at 20 %", |weight, status| weight == 20 && status["currentStepIndex"] == 1).await
    }

    /// Version `version` of each, without waiting.
    ///
    /// # Errors
    /// When the API server refuses.
    pub(crate) async fn change(&self, names: &[String], version: &str) -> Fallible {
        let api = self.api(ROLLOUTS, "Rollout");
        let image = json!({ "spec": { "template": { "spec": { "containers": [{ "name": "main", "image": image(version) }] } } } });
        let all = stream::iter(names).map(|name| {
            let (api, image) = (api.clone(), image.clone());
            async move { api.patch(name, &PatchParams::default(), &Patch::Merge(&image)).await.map(drop) }
        });
        Ok(all.buffer_unordered(AT_ONCE).collect::<Vec<_>>().await.into_iter().collect::<Result<(), _>>()?)
    }

    /// A person aborts.
    ///
    /// # Errors
    /// When the API server refuses.
    pub(crate) async fn abort(&self, name: &str) -> Fallible {
        let api = self.api(ROLLOUTS, "Rollout");
        let abort = json!({ "status": { "abort": true } });
        api.patch_status(name, &PatchParams::default(), &Patch::Merge(&abort)).await?;
        Ok(())
    }

    /// Waits until the canary has no traffic and the abort is in the Rollout's status: when each was first seen.
    ///
    /// # Errors
    /// After `limit`.
    pub(crate) async fn until_ended(&self, name: &str, limit: Duration) -> Fallible<(Timestamp, Timestamp)> {
        let shed =
            wait::until(&format!("{name}: no traffic"), limit, async || match self.weight(name).await? {
                0 => Ok(Clock::Wall.now()),
                weight => Err(format!("{weight} %").into()),
            })
            .await?;
        let booked = wait::until(&format!("{name}: aborted"), SOON, async || {
            let status = self.status(name).await?;
            if status["abort"] == true { Ok(Clock::Wall.now()) } else { Err(status.to_string().into()) }
        })
        .await?;
        Ok((shed, booked))
    }

    /// The canary's share in percent.
    ///
    /// # Errors
    /// When it cannot be read.
    pub(crate) async fn weight(&self, name: &str) -> Fallible<i64> {
        let live = self.api(ISTIO, "VirtualService").get(name).await?;
        weight(&live.data).ok_or_else(|| format!("{name}: no weight").into())
    }

    /// Gives each canary its 20 % back, as if nothing had been taken away. serin must not be there.
    ///
    /// # Errors
    /// When the API server refuses.
    pub(crate) async fn weights_again(&self, names: &[String]) -> Fallible {
        let api = self.api(ISTIO, "VirtualService");
        for name in names {
            let weight = |index: usize, weight: i64| json!({ "op": "add", "path": format!("/spec/http/0/route/{index}/weight"), "value": weight });
            let patch = serde_json::from_value(json!([weight(0, 80), weight(1, 20)]))?;
            api.patch(name, &PatchParams::default(), &Patch::<()>::Json(patch)).await?;
            // A shed tests that there are none.
            let bare = json!({ "metadata": { "annotations": null } });
            api.patch(name, &PatchParams::default(), &Patch::Merge(&bare)).await?;
        }
        Ok(())
    }

    fn api(&self, version: &str, kind: &str) -> Api<DynamicObject> {
        api_of(&self.client, &self.namespace, version, kind)
    }

    async fn status(&self, name: &str) -> Fallible<Value> {
        let live = self.api(ROLLOUTS, "Rollout").get(name).await?;
        Ok(live.data.get("status").cloned().unwrap_or_default())
    }

    async fn all(&self, names: &[String], what: &str, is_so: impl Fn(i64, &Value) -> bool) -> Fallible {
        let limit = SOON + Duration::from_secs(1) * u32::try_from(names.len())?;
        // One after another, and none twice: whoever lists all of them again and again is what the API server works for.
        for name in names {
            wait::until(&format!("{name} {what}"), limit, async || {
                let (weight, status) = tokio::try_join!(self.weight(name), self.status(name))?;
                if is_so(weight, &status) { Ok(()) } else { Err(format!("{weight} % {status}").into()) }
            })
            .await?;
        }
        Ok(())
    }

    /// Makes every ReplicaSet ready, for ever.
    pub(crate) async fn keep_ready(self) {
        let api = self.api("apps/v1", "ReplicaSet");
        loop {
            // A watch, not a list again and again: that would be work for the processors of what is measured here.
            if let Ok(changes) = api.watch(&WatchParams::default(), "0").await {
                changes.for_each_concurrent(AT_ONCE, |change| ready(&api, change)).await;
            }
            wait::pause(Duration::from_millis(100)).await;
        }
    }
}

/// All pods that a ReplicaSet wants are there and ready.
async fn ready(api: &Api<DynamicObject>, change: kube::Result<WatchEvent<DynamicObject>>) {
    let Ok(WatchEvent::Added(set) | WatchEvent::Modified(set)) = change else { return };
    let number = |pointer| set.data.pointer(pointer).and_then(Value::as_i64);
    let wanted = number("/spec/replicas").unwrap_or(1);
    if number("/status/availableReplicas").unwrap_or(0) == wanted {
        return;
    }
    let status = json!({ "status": { "replicas": wanted, "readyReplicas": wanted, "availableReplicas": wanted,
        "fullyLabeledReplicas": wanted } });
    // One that is gone meanwhile is gone.
    drop(api.patch_status(&set.name_any(), &PatchParams::default(), &Patch::Merge(&status)).await);
}

fn weight(service: &Value) -> Option<i64> {
    service.pointer("/spec/http/0/route/1/weight").and_then(Value::as_i64)
}

fn image(version: &str) -> String {
    format!("registry.example/shop:{version}")
}

fn manifests(name: &str, pause: &str) -> Vec<Value> {
    let service = |side: &str| {
        json!({ "apiVersion": "v1", "kind": "Service", "metadata": { "name": format!("{name}-{side}") },
            "spec": { "selector": { "app": name }, "ports": [{ "port": 80 }] } })
    };
    let route = json!([
        { "destination": { "host": format!("{name}-stable") }, "weight": 100 },
        { "destination": { "host": format!("{name}-canary") }, "weight": 0 },
    ]);
    let pause = if pause.is_empty() { json!({}) } else { json!({ "duration": pause }) };
    let canary = json!({
        "stableService": format!("{name}-stable"), "canaryService": format!("{name}-canary"),
        "trafficRouting": { "istio": { "virtualService": { "name": name, "routes": ["primary"] } } },
        "analysis": { "templates": [{ "templateName": "errors" }], "args": [{ "name": "rollout", "value": name }] },
        "steps": [{ "setWeight": 20 }, { "pause": pause }, { "setWeight": 50 }, { "pause": {} }],
    });
    vec![
        service("stable"),
        service("canary"),
        json!({ "apiVersion": ISTIO, "kind": "VirtualService", "metadata": { "name": name },
            "spec": { "hosts": [format!("{name}.example.org")], "http": [{ "name": "primary", "route": route }] } }),
        json!({ "apiVersion": ROLLOUTS, "kind": "Rollout", "metadata": { "name": name }, "spec": {
            "replicas": 2, "selector": { "matchLabels": { "app": name } }, "strategy": { "canary": canary },
            "template": { "metadata": { "labels": { "app": name } },
                "spec": { "containers": [{ "name": "main", "image": image("v1") }] } } } }),
    ]
}
