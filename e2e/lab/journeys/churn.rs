//! Churn: somebody changes the mesh's configuration all the time, as deployments of a large cluster do. A mesh that waits for quiet
//! before it pushes then pushes late.

use std::{sync::Arc, time::Duration};

use kube::{
    Api,
    api::{DynamicObject, Patch, PatchParams},
};
use serde_json::{Value, json};
use tokio::{sync::Semaphore, time::MissedTickBehavior};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::{
    Fallible,
    apply::Applier,
    report,
    stack::{Stack, resource},
};

/// From one change to the next: half of the quiet time that istiod waits for.
const EVERY: Duration = Duration::from_millis(55);
/// Changes that wait for their answers at the most.
const UNDER_WAY: usize = 4;
const NAMESPACE: &str = "elsewhere";

/// Running churn. Ends with this value.
pub(super) struct Churn {
    _stop: DropGuard,
}

impl Churn {
    /// Starts to patch a VirtualService that has nothing to do with any shop.
    ///
    /// # Errors
    /// When the API server refuses it.
    pub(super) async fn start(stack: &Stack) -> Fallible<Self> {
        stack.namespace(NAMESPACE).await?;
        let service = json!({"apiVersion": "networking.istio.io/v1", "kind": "VirtualService", "metadata": {"name": "other"},
            "spec": {"hosts": ["elsewhere.example.org"], "gateways": ["serin-system/lab"], "http": http(0)}});
        Applier::new(stack.admin(), "kubectl").one(&service, NAMESPACE).await?;
        let stop = CancellationToken::new();
        let kind = resource("networking.istio.io/v1", "VirtualService");
        let services = Api::namespaced_with(stack.admin(), NAMESPACE, &kind);
        tokio::spawn(stop.clone().run_until_cancelled_owned(patch(services)));
        Ok(Self { _stop: stop.drop_guard() })
    }
}

/// Routes that are not those of another round: what only annotates an object makes a real istiod push nothing.
fn http(round: u64) -> Value {
    json!([{"route": [{"destination": {"host": "other"}}], "timeout": format!("{}s", 1 + round % 60)}])
}

async fn patch(services: Api<DynamicObject>) {
    let mut beat = tokio::time::interval(EVERY);
    beat.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let under_way = Arc::new(Semaphore::new(UNDER_WAY));
    for round in 1.. {
        beat.tick().await;
        // An API server that does not keep up is not to be buried.
        let Ok(permit) = under_way.clone().try_acquire_owned() else { continue };
        let patch = json!({"spec": {"http": http(round)}});
        let services = services.clone();
        // The next one does not wait for the answer to this one.
        tokio::spawn(async move {
            if let Err(error) = services.patch("other", &PatchParams::default(), &Patch::Merge(&patch)).await
            {
                report::line(&format!("lab:   churn: {error}"));
            }
            drop(permit);
        });
    }
}
