//! Churn: somebody changes the mesh's configuration all the time, as deployments of a large cluster do. A mesh that waits for quiet
//! before it pushes then pushes late.

use std::time::Duration;

use kube::{
    Api,
    api::{DynamicObject, Patch, PatchParams},
};
use serde_json::json;
use serin::clock::Clock;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::{
    Fallible,
    apply::Applier,
    report,
    stack::{Stack, resource},
};

/// From one change to the next: half of the quiet time that istiod waits for.
const EVERY: Duration = Duration::from_millis(55);
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
            "spec": {"hosts": ["elsewhere.example.org"], "gateways": ["serin-system/lab"],
                "http": [{"route": [{"destination": {"host": "other"}}]}]}});
        Applier::new(stack.admin(), "kubectl").one(&service, NAMESPACE).await?;
        let stop = CancellationToken::new();
        let kind = resource("networking.istio.io/v1", "VirtualService");
        let services = Api::namespaced_with(stack.admin(), NAMESPACE, &kind);
        tokio::spawn(stop.clone().run_until_cancelled_owned(patch(services)));
        Ok(Self { _stop: stop.drop_guard() })
    }
}

async fn patch(services: Api<DynamicObject>) {
    let mut beat = tokio::time::interval(EVERY);
    loop {
        beat.tick().await;
        let patch = json!({"metadata": {"annotations": {"changed": Clock::Wall.now().to_string()}}});
        if let Err(error) = services.patch("other", &PatchParams::default(), &Patch::Merge(&patch)).await {
            report::line(&format!("lab:   churn: {error}"));
        }
    }
}
