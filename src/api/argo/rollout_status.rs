//! Rollout: what the controller reports, and the few fields by which users command it.

use serde_json::Value;

use super::{
    Time,
    scalar::{any_object, any_objects, anything},
    wire,
};

wire! {
    /// What the controller reports. Users write `abort`, `promoteFull`, `pauseConditions` and `currentStepIndex` to command
    /// it, mostly through the kubectl plugin.
    pub struct RolloutStatus {
        /// Overall state: `Healthy`, `Progressing`, `Paused` or `Degraded`.
        pub phase: String,
        /// Why the phase is what it is, for people.
        pub message: String,
        /// True: all traffic goes back to the stable version and stays there until this is false.
        pub abort: bool,
        /// When abort was first seen.
        pub aborted_at: Time,
        /// True: the remaining steps are skipped. Cleared when that is done.
        pub promote_full: bool,
        /// Why the rollout is paused; empty when it is not. Emptying the list resumes it.
        pub pause_conditions: Vec<PauseCondition>,
        /// True while a pause made by the controller is in force.
        pub controller_pause: bool,
        /// Hash of the newest version's pod template.
        pub current_pod_hash: String,
        /// Hash of the steps; when it changes, the steps begin anew.
        pub current_step_hash: String,
        /// Index, from 0, of the step in progress; the number of steps when all are done; absent without steps.
        pub current_step_index: i64,
        /// Hash of the version that was last promoted.
        #[serde(rename = "stableRS")]
        pub stable_rs: String,
        /// Pods of all versions.
        pub replicas: i64,
        /// Pods of the newest version.
        pub updated_replicas: i64,
        /// Ready pods of all versions.
        pub ready_replicas: i64,
        /// Available pods of all versions.
        pub available_replicas: i64,
        /// Pods that a HorizontalPodAutoscaler should count.
        #[serde(rename = "HPAReplicas")]
        pub hpa_replicas: i64,
        /// The selector as text, for a HorizontalPodAutoscaler.
        pub selector: String,
        /// Number of times that a hash was found taken by another template.
        pub collision_count: i64,
        /// metadata.generation of the spec that this status is about, as a decimal string.
        pub observed_generation: String,
        /// Generation of the workload referred to, as a decimal string.
        pub workload_observed_generation: String,
        /// Single statements about the rollout.
        pub conditions: Vec<Condition>,
        /// State of the canary strategy.
        pub canary: CanaryStatus,
        /// State of the blue-green strategy.
        #[schemars(schema_with = "any_object")]
        pub blue_green: Value,
        /// The restartAt that has been carried out.
        pub restarted_at: Time,
        /// How long the rollout took.
        pub duration: RolloutDuration,
        /// State of an AWS load balancer.
        #[schemars(schema_with = "any_object")]
        pub alb: Value,
        /// State of several AWS load balancers.
        #[schemars(schema_with = "any_objects")]
        pub albs: Vec<Value>,
    }

    /// One reason to be paused.
    pub struct PauseCondition {
        /// `CanaryPauseStep`, `InconclusiveAnalysisRun`, `InconclusiveExperiment` or `BlueGreenPause`.
        pub reason: String,
        /// When the pause began.
        pub start_time: Time,
    }

    /// One statement about an object.
    pub struct Condition {
        /// What is stated: `Available`, `Progressing`, `Healthy`, `Completed`, `Paused`, `InvalidSpec`, `ReplicaFailure` and
        /// others.
        pub r#type: String,
        /// `True`, `False` or `Unknown`.
        pub status: String,
        /// One word for programs.
        pub reason: String,
        /// A sentence for people.
        pub message: String,
        /// When the statement was last made.
        pub last_update_time: Time,
        /// When the status last changed.
        pub last_transition_time: Time,
    }

    /// State of the canary strategy.
    pub struct CanaryStatus {
        /// The weights that were last seen in place.
        pub weights: Weights,
        /// The run of the current analysis step.
        pub current_step_analysis_run_status: AnalysisRunRef,
        /// The background run.
        pub current_background_analysis_run_status: AnalysisRunRef,
        /// Name of the experiment in progress.
        pub current_experiment: String,
        /// Which of the two Services is stable: `ping` or `pong`.
        pub stable_ping_pong: String,
        /// State of step plugins.
        pub step_plugin_statuses: Vec<StepPluginStatus>,
    }

    /// How the traffic is split.
    pub struct Weights {
        /// Share of the new version.
        pub canary: WeightDestination,
        /// Share of the stable version.
        pub stable: WeightDestination,
        /// Shares of experiments.
        pub additional: Vec<WeightDestination>,
        /// Whether the router confirmed the weights. Absent: it cannot.
        pub verified: bool,
    }

    /// One share of the traffic.
    pub struct WeightDestination {
        /// Percent, 0 to 100.
        pub weight: i64,
        /// The Service, empty where subsets are used.
        pub service_name: String,
        /// Hash of the version.
        pub pod_template_hash: String,
    }

    /// An AnalysisRun of this rollout.
    pub struct AnalysisRunRef {
        /// Its name.
        pub name: String,
        /// Its phase.
        pub status: String,
        /// Its message.
        pub message: String,
    }

    /// State of one plugin step.
    pub struct StepPluginStatus {
        /// Index, from 0, of the step.
        pub index: i64,
        /// Name of the plugin.
        pub name: String,
        /// `Run`, `Terminate` or `Abort`.
        pub operation: String,
        /// `Running`, `Successful`, `Failed` or `Error`.
        pub phase: String,
        /// What the plugin says.
        pub message: String,
        /// When it began.
        pub started_at: Time,
        /// When it was last asked.
        pub updated_at: Time,
        /// When it ended.
        pub finished_at: Time,
        /// Duration to wait before it is asked again.
        pub backoff: String,
        /// Number of times that it was asked.
        pub executions: i64,
        /// Whether the plugin is switched off.
        pub disabled: bool,
        /// Whatever the plugin keeps.
        #[schemars(schema_with = "anything")]
        pub status: Value,
    }

    /// How long the rollout took.
    pub struct RolloutDuration {
        /// When it began.
        pub rollout_started_at: Time,
        /// When the manual pause in force began.
        pub manual_pause_started_at: Time,
        /// Seconds spent in manual pauses that have ended.
        pub total_manual_pause_duration_seconds: i64,
        /// When it ended.
        pub finished_at: Time,
        /// How it ended: `Promoted`, `FastPromoted`, `Aborted`, `Superseded`, `RolledBack` or `FastRolledBack`.
        pub completion_status: String,
    }
}
