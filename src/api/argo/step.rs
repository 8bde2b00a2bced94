//! The steps of a canary.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use serde_json::Value;

use super::{
    DryRun, FieldRef, IntOrString, MeasurementRetention, Metadata, TemplateRef, scalar::anything, wire,
};

wire! {
    /// One step; exactly one field must be set.
    pub struct CanaryStep {
        /// Percent of the traffic for the new version, 0 to 100.
        pub set_weight: i64,
        /// Waits. `pause: {}` waits until somebody promotes the rollout.
        pub pause: Pause,
        /// Runs other versions beside it for a while, to compare them.
        pub experiment: ExperimentStep,
        /// Runs an analysis and waits for its end: a success goes on, a failure aborts, an inconclusive one pauses.
        pub analysis: StepAnalysis,
        /// Sets the number of pods of the new version apart from its weight, until a later step says
        /// matchTrafficWeight. Needs traffic routing.
        pub set_canary_scale: SetCanaryScale,
        /// Sends requests with certain headers to the new version, whatever the weight.
        pub set_header_route: SetHeaderRoute,
        /// Sends copies of certain requests to the new version; its answers are thrown away.
        pub set_mirror_route: SetMirrorRoute,
        /// Runs a step plugin of the reference controller.
        pub plugin: PluginStep,
    }

    /// A wait.
    pub struct Pause {
        /// How long: a number of seconds, or a duration such as `90s`, `2m` or `1h30m`. Absent: until promoted.
        pub duration: IntOrString,
    }

    /// An analysis that decides whether to go on.
    pub struct StepAnalysis {
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
    }

    /// A value for an argument of a template. It replaces the template's own value, even when it is empty.
    pub struct RolloutArgument {
        /// Name of the argument. Example: `service-name`.
        pub name: String,
        /// The value itself.
        pub value: String,
        /// Where the value comes from, instead of value.
        pub value_from: RolloutArgumentSource,
    }

    /// Where a value comes from. Exactly one field must be set.
    pub struct RolloutArgumentSource {
        /// The hash label of a version's pods: `Latest` for the new one, `Stable` for the stable one.
        pub pod_template_hash_value: String,
        /// A field of the Rollout.
        pub field_ref: FieldRef,
    }

    /// The number of pods of the new version. Set one field.
    pub struct SetCanaryScale {
        /// A number of pods, 0 or more.
        pub replicas: i64,
        /// Percent of spec.replicas, 0 or more; may be above 100.
        pub weight: i64,
        /// Follows the traffic weight again. Default false.
        pub match_traffic_weight: bool,
    }

    /// A managed route that picks requests by header.
    pub struct SetHeaderRoute {
        /// Name of the route; must be listed in trafficRouting.managedRoutes.
        pub name: String,
        /// Conditions, all of which must hold. Absent: the route is removed.
        pub r#match: Vec<HeaderMatch>,
    }

    /// A condition on one header.
    pub struct HeaderMatch {
        /// Name of the header. Example: `x-canary`.
        pub header_name: String,
        /// What its value must be.
        pub header_value: StringMatch,
    }

    /// A condition on a text. Exactly one field must be set.
    pub struct StringMatch {
        /// The whole text.
        pub exact: String,
        /// How the text begins.
        pub prefix: String,
        /// A regular expression (RE2) for the whole text.
        pub regex: String,
    }

    /// A managed route that copies requests.
    pub struct SetMirrorRoute {
        /// Name of the route; must be listed in trafficRouting.managedRoutes.
        pub name: String,
        /// Which requests are copied: those that meet any of the conditions. Absent: the route is removed.
        pub r#match: Vec<RouteMatch>,
        /// Percent of these requests to copy, 0 to 100. Default 100.
        pub percentage: i64,
    }

    /// A condition on a request; every field that is set must hold.
    pub struct RouteMatch {
        /// On the HTTP method.
        pub method: StringMatch,
        /// On the path.
        pub path: StringMatch,
        /// On headers, by name.
        pub headers: BTreeMap<String, StringMatch>,
    }

    /// A step that a plugin carries out.
    pub struct PluginStep {
        /// Name of the plugin.
        pub name: String,
        /// Whatever the plugin takes.
        #[schemars(schema_with = "anything")]
        pub config: Value,
    }

    /// Versions that run beside the rollout for a while.
    pub struct ExperimentStep {
        /// What to run.
        pub templates: Vec<ExperimentStepTemplate>,
        /// How long, as a duration such as `1h`. Absent: until the analyses are done.
        pub duration: String,
        /// Analyses to run meanwhile.
        pub analyses: Vec<ExperimentStepAnalysis>,
        /// Metrics that are measured but do not decide.
        pub dry_run: Vec<DryRun>,
        /// Labels and annotations of the AnalysisRuns.
        pub analysis_run_metadata: Metadata,
        /// Seconds that the pods stay after the end, 0 or more. Default 30.
        pub scale_down_delay_seconds: i64,
    }

    /// One version that runs in an experiment.
    pub struct ExperimentStepTemplate {
        /// Name, unique in the experiment.
        pub name: String,
        /// Which pod template: `canary` or `stable`.
        pub spec_ref: String,
        /// Number of pods, 0 or more. Default 1.
        pub replicas: i64,
        /// Labels and annotations of the pods.
        pub metadata: Metadata,
        /// Selector of the pods, instead of the rollout's.
        pub selector: LabelSelector,
        /// Percent of the traffic for these pods, 0 to 100. Absent: none.
        pub weight: i64,
        /// Has a Service made for the pods.
        pub service: ExperimentStepService,
    }

    /// A Service made for the pods of an experiment.
    pub struct ExperimentStepService {
        /// Its name. Default: made from the experiment's.
        pub name: String,
    }

    /// An analysis in an experiment.
    pub struct ExperimentStepAnalysis {
        /// Name, unique in the experiment.
        pub name: String,
        /// Name of the template.
        pub template_name: String,
        /// Whether the template is a ClusterAnalysisTemplate. Default false.
        pub cluster_scope: bool,
        /// Values for the template's arguments.
        pub args: Vec<RolloutArgument>,
        /// Whether the experiment waits for the end of this analysis. Default false.
        pub required_for_completion: bool,
    }
}
