//! Experiment: versions that run beside each other for a while.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::CustomResource;
use serde_json::Value;

use super::{
    Argument, Condition, DryRun, ExperimentStepService, MeasurementRetention, Metadata, Time,
    scalar::any_object, wire,
};

wire! {
    /// Versions that run beside each other for a while, to compare them.
    #[derive(CustomResource)]
    #[kube(
        group = "argoproj.io",
        version = "v1alpha1",
        kind = "Experiment",
        plural = "experiments",
        shortname = "exp",
        namespaced,
        status = "ExperimentStatus",
        derive = "PartialEq",
        printcolumn(
            name = "Status",
            type_ = "string",
            json_path = ".status.phase",
            description = "Pending, Running, Successful, Failed, Error or Inconclusive"
        ),
        printcolumn(
            name = "Age",
            type_ = "date",
            json_path = ".metadata.creationTimestamp",
            description = "Time since the experiment was created"
        )
    )]
    pub struct ExperimentSpec {
        /// What to run.
        pub templates: Vec<ExperimentTemplate>,
        /// How long, as a duration such as `1h`. Absent: until it is terminated or its analyses are done.
        pub duration: String,
        /// Seconds without progress after which the experiment fails. Default 600.
        pub progress_deadline_seconds: i64,
        /// True: the experiment is stopped. Default false.
        pub terminate: bool,
        /// Analyses to run meanwhile.
        pub analyses: Vec<ExperimentAnalysis>,
        /// Seconds that the pods stay after the end, 0 or more. Default 30.
        pub scale_down_delay_seconds: i64,
        /// Metrics that are measured but do not decide.
        pub dry_run: Vec<DryRun>,
        /// How many measurements of a metric the runs keep.
        pub measurement_retention: Vec<MeasurementRetention>,
        /// Labels and annotations of the AnalysisRuns.
        pub analysis_run_metadata: Metadata,
    }

    /// One version to run.
    pub struct ExperimentTemplate {
        /// Name, unique in the experiment.
        pub name: String,
        /// Number of pods, 0 or more. Default 1.
        pub replicas: i64,
        /// Seconds that a pod must stay ready before it counts as available. Default 0.
        pub min_ready_seconds: i64,
        /// Selects the pods; must match the labels of the template.
        pub selector: LabelSelector,
        /// The pods to run.
        #[schemars(schema_with = "any_object")]
        pub template: Value,
        /// Has a Service made for the pods.
        pub service: ExperimentStepService,
    }

    /// An analysis to run meanwhile.
    pub struct ExperimentAnalysis {
        /// Name, unique in the experiment.
        pub name: String,
        /// Name of the template.
        pub template_name: String,
        /// Whether it is a ClusterAnalysisTemplate. Default false.
        pub cluster_scope: bool,
        /// Values for the template's arguments.
        pub args: Vec<Argument>,
        /// Whether the experiment waits for the end of this analysis. Default false.
        pub required_for_completion: bool,
    }

    /// How the experiment goes.
    pub struct ExperimentStatus {
        /// `Pending`, `Running`, `Successful`, `Failed`, `Error` or `Inconclusive`; the last four are endings.
        pub phase: String,
        /// Why the phase is what it is, for people.
        pub message: String,
        /// When all versions were available and the duration began.
        pub available_at: Time,
        /// State of the versions.
        pub template_statuses: Vec<ExperimentTemplateStatus>,
        /// State of the analyses.
        pub analysis_runs: Vec<ExperimentAnalysisStatus>,
        /// Single statements about the experiment.
        pub conditions: Vec<Condition>,
    }

    /// State of one version.
    pub struct ExperimentTemplateStatus {
        /// Name of the template.
        pub name: String,
        /// `Progressing`, `Running`, `Successful`, `Failed` or `Error`.
        pub status: String,
        /// Why the status is what it is, for people.
        pub message: String,
        /// When the status last changed.
        pub last_transition_time: Time,
        /// Pods.
        pub replicas: i64,
        /// Pods of the template's present text.
        pub updated_replicas: i64,
        /// Ready pods.
        pub ready_replicas: i64,
        /// Available pods.
        pub available_replicas: i64,
        /// Number of times that a hash was found taken by another template.
        pub collision_count: i64,
        /// Hash of the template.
        pub pod_template_hash: String,
        /// Service made for the pods.
        pub service_name: String,
    }

    /// State of one analysis.
    pub struct ExperimentAnalysisStatus {
        /// Name of the analysis.
        pub name: String,
        /// Name of its AnalysisRun.
        pub analysis_run: String,
        /// Phase of the run.
        pub phase: String,
        /// Message of the run.
        pub message: String,
    }
}
