//! AnalysisTemplate (a ClusterAnalysisTemplate reads as one) and AnalysisRun: what is measured and when it is good.

use kube::CustomResource;

use super::{AnalysisRunStatus, IntOrString, MetricProvider, wire};

wire! {
    /// Metrics to judge a version by, and the conditions they must meet. Rollouts of the same namespace refer to it.
    #[derive(CustomResource)]
    #[kube(
        group = "argoproj.io",
        version = "v1alpha1",
        kind = "AnalysisTemplate",
        plural = "analysistemplates",
        shortname = "at",
        namespaced,
        derive = "PartialEq",
        printcolumn(
            name = "Age",
            type_ = "date",
            json_path = ".metadata.creationTimestamp",
            description = "Time since the template was created"
        )
    )]
    pub struct AnalysisTemplateSpec {
        /// What is measured. At least one, here or in templates.
        pub metrics: Vec<Metric>,
        /// Values that whoever uses the template gives; `{{args.name}}` in a metric stands for one.
        pub args: Vec<Argument>,
        /// Metrics that are measured but do not decide.
        pub dry_run: Vec<DryRun>,
        /// How many measurements of a metric a run keeps.
        pub measurement_retention: Vec<MeasurementRetention>,
        /// Other templates whose metrics and arguments are taken over.
        pub templates: Vec<TemplateRef>,
    }

    /// One execution of analysis templates: the metrics with all arguments filled in, and what came of them.
    #[derive(CustomResource)]
    #[kube(
        group = "argoproj.io",
        version = "v1alpha1",
        kind = "AnalysisRun",
        plural = "analysisruns",
        shortname = "ar",
        namespaced,
        status = "AnalysisRunStatus",
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
            description = "Time since the run was created"
        )
    )]
    pub struct AnalysisRunSpec {
        /// What is measured; names are unique.
        pub metrics: Vec<Metric>,
        /// Values of the arguments.
        pub args: Vec<Argument>,
        /// True: no further measurement is taken and the run ends with what it has. Default false.
        pub terminate: bool,
        /// Metrics that are measured but do not decide.
        pub dry_run: Vec<DryRun>,
        /// How many measurements of a metric the run keeps.
        pub measurement_retention: Vec<MeasurementRetention>,
        /// When the run is deleted after its end. Absent: it is not, by itself.
        pub ttl_strategy: TtlStrategy,
    }

    /// One thing to measure.
    pub struct Metric {
        /// Name, unique in the run. Example: `error-rate`.
        pub name: String,
        /// Time between two measurements, as a duration such as `30s` or `1m`. Absent: one measurement.
        pub interval: String,
        /// Time before the first measurement, as a duration. Default none.
        pub initial_delay: String,
        /// Number of measurements: an integer, or a string that holds one. Absent: 1 without interval; with it, until the
        /// run is stopped.
        pub count: IntOrString,
        /// An expression that is true for a good value. Example: `result[0] >= 0.95`.
        pub success_condition: String,
        /// An expression that is true for a bad value. Example: `result[0] < 0.9`.
        pub failure_condition: String,
        /// Number of bad measurements that are tolerated: the next one fails the run. `-1`: any number. Default 0.
        pub failure_limit: IntOrString,
        /// Number of inconclusive measurements that are tolerated. Default 0.
        pub inconclusive_limit: IntOrString,
        /// Number of errors in a row that are tolerated. Default 4.
        pub consecutive_error_limit: IntOrString,
        /// Number of good measurements in a row after which the metric is successful. Default 0: not used.
        pub consecutive_success_limit: IntOrString,
        /// Where the value comes from: exactly one field.
        pub provider: MetricProvider,
    }

    /// An argument of a template or a run.
    pub struct Argument {
        /// Name. Example: `service-name`.
        pub name: String,
        /// The value; in a template, the default.
        pub value: String,
        /// Where the value comes from, instead of value.
        pub value_from: ArgumentSource,
    }

    /// Where a value comes from.
    pub struct ArgumentSource {
        /// A key of a Secret in the run's namespace; read for each measurement and never stored.
        pub secret_key_ref: SecretKeyRef,
        /// A field of the Rollout. Has no effect in a template.
        pub field_ref: FieldRef,
    }

    /// A key of a Secret.
    pub struct SecretKeyRef {
        /// Name of the Secret.
        pub name: String,
        /// Key in it.
        pub key: String,
    }

    /// A field of an object.
    pub struct FieldRef {
        /// Its path. Examples: `metadata.labels['region']`, `status.stableRS`.
        pub field_path: String,
    }

    /// A template to use.
    pub struct TemplateRef {
        /// Its name.
        pub template_name: String,
        /// Whether it is a ClusterAnalysisTemplate. Default false.
        pub cluster_scope: bool,
    }

    /// Metrics that are measured but do not decide.
    pub struct DryRun {
        /// A regular expression (RE2) that is searched in the metrics' names. Example: `.*`.
        pub metric_name: String,
    }

    /// How many measurements are kept.
    pub struct MeasurementRetention {
        /// A regular expression (RE2) that is searched in the metrics' names.
        pub metric_name: String,
        /// The newest so many, 1 or more. Default 10.
        pub limit: i64,
    }

    /// When a run is deleted after its end. The field for its ending wins over the one for any.
    pub struct TtlStrategy {
        /// Seconds after any ending.
        pub seconds_after_completion: i64,
        /// Seconds after an ending other than success.
        pub seconds_after_failure: i64,
        /// Seconds after a success.
        pub seconds_after_success: i64,
    }
}
