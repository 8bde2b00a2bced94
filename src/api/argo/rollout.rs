//! Rollout: what its user declares.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::CustomResource;
use serde_json::Value;

use super::{
    CanaryStep, DryRun, IntOrString, MeasurementRetention, RolloutArgument, RolloutStatus, TemplateRef, Time,
    TrafficRouting, scalar::any_object, wire,
};

wire! {
    /// A workload whose new versions take over step by step, judged by metrics on the way. It replaces a Deployment.
    #[derive(CustomResource)]
    #[kube(
        group = "argoproj.io",
        version = "v1alpha1",
        kind = "Rollout",
        plural = "rollouts",
        shortname = "ro",
        namespaced,
        status = "RolloutStatus",
        derive = "PartialEq",
        scale(
            spec_replicas_path = ".spec.replicas",
            status_replicas_path = ".status.HPAReplicas",
            label_selector_path = ".status.selector"
        ),
        printcolumn(
            name = "Desired",
            type_ = "integer",
            json_path = ".spec.replicas",
            description = "Pods that are wanted"
        ),
        printcolumn(
            name = "Current",
            type_ = "integer",
            json_path = ".status.replicas",
            description = "Pods of any version that exist and are not terminating"
        ),
        printcolumn(
            name = "Up-to-date",
            type_ = "integer",
            json_path = ".status.updatedReplicas",
            description = "Pods of the newest version that exist and are not terminating"
        ),
        printcolumn(
            name = "Available",
            type_ = "integer",
            json_path = ".status.availableReplicas",
            description = "Pods of any version that have been ready for at least minReadySeconds"
        ),
        printcolumn(
            name = "Age",
            type_ = "date",
            json_path = ".metadata.creationTimestamp",
            description = "Time since the rollout was created"
        )
    )]
    pub struct RolloutSpec {
        /// Number of pods wanted, 0 or more. Default 1, which is then written into the object. A HorizontalPodAutoscaler
        /// may own this field.
        pub replicas: i64,
        /// Selects the pods of this rollout; it must match the labels of the template and cannot be changed later.
        /// Required unless workloadRef is used. Example: `matchLabels: {app: shop}`.
        #[schemars(extend(
            "x-kubernetes-map-type" = "atomic",
            "x-kubernetes-validations" = [{"rule": "self == oldSelf", "message": ".spec.selector is immutable"}]
        ))]
        pub selector: LabelSelector,
        /// The pods to run, as in a Deployment. A change here starts a rollout. Leave out when workloadRef is used.
        #[schemars(schema_with = "any_object")]
        pub template: Value,
        /// Takes the pod template from an object that already exists, in the same namespace, instead of template.
        pub workload_ref: WorkloadRef,
        /// Seconds that a new pod must stay ready before it counts as available, 0 or more. Default 0.
        pub min_ready_seconds: i64,
        /// How a new version takes over: exactly one of canary and blueGreen.
        pub strategy: Strategy,
        /// Number of old ReplicaSets kept for a rollback, 0 or more. Default 10.
        pub revision_history_limit: i64,
        /// Holds the rollout where it is: no scaling, no next step. Default false.
        pub paused: bool,
        /// Seconds without progress after which the rollout is reported as stuck; must be more than minReadySeconds.
        /// Default 600. Pauses and analyses do not count as being stuck.
        pub progress_deadline_seconds: i64,
        /// Whether to abort, and give all traffic back to the stable version, when the deadline passes. Default false.
        pub progress_deadline_abort: bool,
        /// Replaces, little by little, every pod that is older than this moment. Example: `2026-03-01T08:00:00Z`.
        pub restart_at: Time,
        /// How many finished AnalysisRuns and Experiments to keep.
        pub analysis: RunHistory,
        /// Lets a return to a recent version skip all steps. Absent: a return takes the steps, unless it is to the
        /// stable version.
        pub rollback_window: RollbackWindow,
    }

    /// An object with a pod template.
    pub struct WorkloadRef {
        /// Group and version of the object. Example: `apps/v1`.
        pub api_version: String,
        /// Kind of the object. Example: `Deployment`.
        pub kind: String,
        /// Name of the object, in the rollout's namespace.
        pub name: String,
        /// When to scale the object itself down: `never` (default), `onsuccess` or `progressively`.
        pub scale_down: String,
    }

    /// How a new version takes over. Exactly one field must be set.
    pub struct Strategy {
        /// A growing share of the traffic goes to the new version.
        pub canary: CanaryStrategy,
        /// The new version is switched to at once. Kept as it is; this controller refuses a rollout that uses it.
        #[schemars(schema_with = "any_object")]
        pub blue_green: Value,
    }

    /// A growing share of the traffic goes to the new version.
    pub struct CanaryStrategy {
        /// Service whose endpoints are the pods of the new version. Required with traffic routing, unless subsets or
        /// pingPong are used.
        pub canary_service: String,
        /// Service whose endpoints are the pods of the stable version; must differ from canaryService.
        pub stable_service: String,
        /// What to do, in order. No steps: the new version replaces the old one as fast as maxSurge and maxUnavailable
        /// let it.
        pub steps: Vec<CanaryStep>,
        /// What splits the traffic. Absent: the number of pods does, so weights are approximate.
        pub traffic_routing: TrafficRouting,
        /// Pods that may exist beyond replicas meanwhile: a number or a percentage, rounded up. Default `25%`. Used
        /// without traffic routing.
        pub max_surge: IntOrString,
        /// Pods that may be missing meanwhile: a number or a percentage, rounded down. Default `25%`. Not 0 together
        /// with maxSurge. Used without traffic routing.
        pub max_unavailable: IntOrString,
        /// An analysis that runs beside the steps until the last one is done; if it fails the rollout is aborted.
        pub analysis: BackgroundAnalysis,
        /// Keeps pods of the new version off nodes that run pods of the stable one.
        pub anti_affinity: AntiAffinity,
        /// Labels and annotations of pods while they are the canary.
        pub canary_metadata: Metadata,
        /// Labels and annotations of pods while they are stable.
        pub stable_metadata: Metadata,
        /// Seconds that old pods stay after their version lost its traffic, 0 or more. Default 30 with traffic routing;
        /// not allowed without, nor with dynamicStableScale.
        pub scale_down_delay_seconds: i64,
        /// Number of old ReplicaSets that may wait for scaleDownDelaySeconds at a time. Default: no limit.
        pub scale_down_delay_revision_limit: i64,
        /// Seconds that the canary's pods stay after an abort, 0 or more; 0 keeps them. Default 30. Used with traffic
        /// routing.
        pub abort_scale_down_delay_seconds: i64,
        /// Scales the stable version down while the new one grows. Saves pods, but an abort must then wait until the
        /// stable version has grown back. Needs traffic routing. Default false.
        pub dynamic_stable_scale: bool,
        /// Two Services that take turns at being the stable one, instead of canaryService and stableService.
        pub ping_pong: PingPong,
        /// The least number of pods of a ReplicaSet that receives traffic. Used with traffic routing. Default 1.
        pub min_pods_per_replica_set: i64,
        /// How many of the wanted pods must be available before a step counts as done. Default: all.
        pub replica_progress_threshold: ReplicaProgressThreshold,
    }

    /// An analysis that runs beside the steps.
    pub struct BackgroundAnalysis {
        /// The templates whose metrics make up the run.
        pub templates: Vec<TemplateRef>,
        /// Values for the templates' arguments.
        pub args: Vec<RolloutArgument>,
        /// Metrics that are measured but do not decide.
        pub dry_run: Vec<DryRun>,
        /// How many measurements of a metric the run keeps.
        pub measurement_retention: Vec<MeasurementRetention>,
        /// Labels and annotations of the AnalysisRun.
        pub analysis_run_metadata: Metadata,
        /// Index, from 0, of the step at which the analysis begins. Default 0.
        pub starting_step: i64,
    }

    /// Keeps pods of the new version off nodes that run pods of the stable one. Exactly one field must be set.
    pub struct AntiAffinity {
        /// Pods that find no such node stay pending.
        pub required_during_scheduling_ignored_during_execution: RequiredAntiAffinity,
        /// Pods that find no such node go elsewhere.
        pub preferred_during_scheduling_ignored_during_execution: PreferredAntiAffinity,
    }

    /// Has no settings.
    pub struct RequiredAntiAffinity {}

    /// How strongly the scheduler prefers such nodes.
    pub struct PreferredAntiAffinity {
        /// 1 to 100, added to the score of a node that fits.
        pub weight: i64,
    }

    /// Labels and annotations.
    pub struct Metadata {
        /// Labels to set. Example: `{role: canary}`.
        pub labels: BTreeMap<String, String>,
        /// Annotations to set.
        pub annotations: BTreeMap<String, String>,
    }

    /// Two Services that take turns at being the stable one.
    pub struct PingPong {
        /// The first Service.
        pub ping_service: String,
        /// The second Service; must differ from the first.
        pub pong_service: String,
    }

    /// How many of the wanted pods must be available before a step counts as done.
    pub struct ReplicaProgressThreshold {
        /// The unit of value: `Percent` or `Pods`.
        pub r#type: String,
        /// 0 to 100 for `Percent`; for `Pods` 0 to the number of pods that the step wants.
        pub value: i64,
    }

    /// How many finished AnalysisRuns and Experiments to keep.
    pub struct RunHistory {
        /// Successful ones to keep, 0 or more. Default 5.
        pub successful_run_history_limit: i64,
        /// Failed, inconclusive and erroneous ones to keep, 0 or more. Default 5.
        pub unsuccessful_run_history_limit: i64,
    }

    /// Which versions are recent enough to return to without steps.
    pub struct RollbackWindow {
        /// Number of revisions back from the newest, 1 or more.
        pub revisions: i64,
    }
}
