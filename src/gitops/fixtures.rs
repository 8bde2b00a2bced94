//! Values that several tests of this room begin with.

use crate::api::serin::{Evidence, Images, RolloutReference, SelfHealSpec, Version};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::api::serin::Cause;

pub(super) fn images(image: &str) -> Images {
    Images::from([("app".into(), image.into()), ("proxy".into(), "proxy:v7".into())])
}

/// `myapp` failed on v1.2.0 and was stable on v1.1.0.
pub(super) fn intent() -> SelfHealSpec {
    let version = |hash: &str, image: &str| Version { hash: hash.into(), images: images(image) };
    SelfHealSpec {
        rollout_ref: RolloutReference { name: "myapp".into(), uid: "uid-1".into() },
        bad: version("bad1", "registry.example/myapp:v1.2.0"),
        good: version("good1", "registry.example/myapp:v1.1.0"),
        cause: Cause::MetricFailed,
        evidence: Some(Evidence {
            run: "myapp-bad1-2".into(),
            metric: "error-rate".into(),
            value: "0.08".into(),
            limit: "result < 0.05".into(),
            query: "scalar(sum(rate(errors{version=\"bad1\"}[1m])))".into(),
            samples: 4,
            weight: 20,
            started_at: Some(Time("2026-01-01T00:00:00Z".parse().unwrap())),
            failed_at: Some(Time("2026-01-01T00:04:10Z".parse().unwrap())),
        }),
    }
}
