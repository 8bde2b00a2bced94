//! From objects to what a decision sees: sorted, slim, complete. No I/O.

use std::{collections::BTreeMap, sync::Arc};

use serde_json::{Value, json};

use super::{
    analysis, read, rollout,
    run::StoredRun,
    traffic::SlimService,
    workload::{self, OwnedSet},
};
use crate::{
    decide::{
        analysis::Sample,
        observed::{ExposureHistory, Observed, OwnedRun, ReplicaSet, RunTemplate, Service, Settings, Slot},
        plan::Attempt,
        record::Record,
        spec::{Cursor, Spec, SpecError, Step},
    },
    domain::PodHash,
};

/// The objects around one Rollout, as the stores have them.
pub struct Objects<'a> {
    pub rollout: &'a rollout::Parsed,
    /// ReplicaSets of the namespace, those of other owners too.
    pub replica_sets: Vec<&'a OwnedSet>,
    /// Whether an object of somebody else has the name that the ReplicaSet of the spec's template would have.
    pub is_name_taken: bool,
    pub stable_service: Option<&'a Service>,
    pub canary_service: Option<&'a Service>,
    pub virtual_service: Option<&'a SlimService>,
    /// AnalysisRuns of the namespace, those of other owners too.
    pub runs: Vec<&'a StoredRun>,
    /// AnalysisTemplates of the namespace and ClusterAnalysisTemplates, whole.
    pub template: &'a dyn Fn(analysis::Scope, &str) -> Option<&'a Value>,
    pub record: Option<&'a Record>,
    /// Whether the kinds of serin.dev can be written.
    pub records_available: bool,
}

/// What the process itself remembers of one Rollout. All of it may be lost.
#[derive(Clone, Debug)]
pub struct ProcessMemory {
    pub exposure: ExposureHistory,
    pub last: Vec<Attempt>,
    /// By uid of the run and name of the metric.
    pub samples: BTreeMap<String, BTreeMap<String, Sample>>,
}

/// Puts together what a decision sees. The exposure history is that of before this observation: `control` notes the
/// present one first.
pub fn observed(objects: &Objects<'_>, process: ProcessMemory, settings: Settings) -> Observed {
    let parsed = objects.rollout;
    let rollout = parsed.rollout.clone();
    let mut owned: Vec<&OwnedSet> = objects
        .replica_sets
        .iter()
        .copied()
        .filter(|set| set.namespace == rollout.key.namespace && set.owner.as_ref() == Some(&rollout.uid))
        .collect();
    owned.sort_by(|a, b| (a.set.created, &a.set.name).cmp(&(b.set.created, &b.set.name)));
    let new_hash = new_hash(parsed, &owned);
    let mut runs: Vec<OwnedRun> = objects
        .runs
        .iter()
        .filter(|run| {
            run.owned.run.namespace == rollout.key.namespace && run.owner.as_ref() == Some(&rollout.uid)
        })
        .map(|run| run.owned.clone())
        .collect();
    runs.sort_by(|a, b| (a.created, &a.run.name).cmp(&(b.created, &b.run.name)));
    let sets: Vec<ReplicaSet> = owned.iter().map(|set| set.set.clone()).collect();
    let analyses = match &rollout.spec {
        Ok(spec) => analyses(objects, spec, new_hash.as_ref(), &sets),
        Err(_) => BTreeMap::new(),
    };
    let virtual_service = objects
        .virtual_service
        .zip(rollout.traffic.as_ref())
        .map(|(service, traffic)| service.seen_by(traffic, &rollout.uid));
    Observed {
        replica_sets: sets,
        new_hash,
        is_name_taken: objects.is_name_taken,
        stable_service: objects.stable_service.cloned(),
        canary_service: objects.canary_service.cloned(),
        virtual_service,
        runs,
        analyses,
        samples: process.samples,
        record: objects.record.cloned(),
        records_available: objects.records_available,
        exposure: process.exposure,
        last: process.last,
        settings,
        rollout,
    }
}

/// The ReplicaSet of the spec's template: by hash, or by an equal template (its hash was made by another version).
fn new_hash(parsed: &rollout::Parsed, owned: &[&OwnedSet]) -> Option<PodHash> {
    let spec = parsed.rollout.spec.as_ref().ok()?;
    let by_hash = owned.iter().find(|set| set.set.hash == spec.template_hash && !set.set.is_deleted);
    let by_template = || {
        owned.iter().find(|set| parsed.digest.is_some() && set.digest == parsed.digest && !set.set.is_deleted)
    };
    by_hash.or_else(by_template).map(|set| set.set.hash.clone())
}

/// The run that each analysis would start now: the background one, and that of the current step.
fn analyses(
    objects: &Objects<'_>,
    spec: &Spec,
    new: Option<&PodHash>,
    sets: &[ReplicaSet],
) -> BTreeMap<Slot, Result<RunTemplate, SpecError>> {
    let object = &objects.rollout.object;
    let canary = read::at(object, &["spec", "strategy", "canary"]);
    let mut analyses = BTreeMap::new();
    let mut add = |slot: Slot, field: String, wire: Option<&Value>| {
        if let Some(wire) = wire {
            analyses.insert(slot, template(objects, spec, slot, &field, wire, new, sets));
        }
    };
    if spec.background.is_some() {
        let wire = canary.and_then(|canary| canary.get("analysis"));
        add(Slot::Background, "spec.strategy.canary.analysis.templates".to_owned(), wire);
    }
    let cursor = Cursor::parse(objects.rollout.rollout.memory.step_index, spec.steps.len());
    for (index, _) in spec.steps.iter().enumerate().filter(|(_, step)| **step == Step::Analysis) {
        // All are checked, so that a missing template is known before the first step is taken; one can start.
        let wire = canary.and_then(|canary| canary.get("steps")?.get(index)?.get("analysis"));
        let is_ahead = cursor != Cursor::Done && cursor <= Cursor::At(index);
        if is_ahead {
            add(Slot::Step(index), format!("spec.strategy.canary.steps[{index}].analysis.templates"), wire);
        }
    }
    analyses
}

fn template(
    objects: &Objects<'_>,
    spec: &Spec,
    slot: Slot,
    field: &str,
    wire: &Value,
    new: Option<&PodHash>,
    sets: &[ReplicaSet],
) -> Result<RunTemplate, SpecError> {
    let rollout = &objects.rollout.rollout;
    let text = |hash: Option<&PodHash>| hash.map(|hash| hash.as_str().to_owned()).unwrap_or_default();
    let (latest, stable) = (text(new), text(rollout.memory.stable.as_ref()));
    let hashes = analysis::Hashes { latest: &latest, stable: &stable };
    let made = analysis::flatten(wire, &objects.rollout.object, hashes, |scope, name| {
        (objects.template)(scope, name)
    })
    .map_err(|error| SpecError { field: field.to_owned(), message: error.to_string() })?;
    let revision = sets.iter().find(|set| Some(&set.hash) == new).map_or(0, |set| set.revision);
    let (kind, index) = match slot {
        Slot::Background => ("Background", None),
        Slot::Step(index) => ("Step", Some(index.to_string())),
    };
    let mut labels = BTreeMap::from([
        (workload::HASH_LABEL.to_owned(), latest),
        ("rollout-type".to_owned(), kind.to_owned()),
    ]);
    labels.extend(index.map(|index| ("step-index".to_owned(), index)));
    let instance = "argo-rollouts.argoproj.io/controller-instance-id";
    labels.extend(rollout.labels.get(instance).map(|id| (instance.to_owned(), id.clone())));
    labels.extend(read::texts(wire, &["analysisRunMetadata", "labels"]));
    labels.extend(spec.match_labels.clone());
    let mut annotations = BTreeMap::from([(workload::REVISION.to_owned(), revision.to_string())]);
    annotations.extend(read::texts(wire, &["analysisRunMetadata", "annotations"]));
    annotations.extend(made.metric_policy.map(|policy| (analysis::METRIC_POLICY.to_owned(), policy)));
    Ok(RunTemplate { spec: Arc::new(made.spec), labels, annotations })
}

/// An owner reference to the Rollout, for everything that is made for it.
pub(super) fn owner_reference(name: &str, uid: &str) -> Value {
    json!({
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Rollout",
        "name": name,
        "uid": uid,
        "controller": true,
        "blockOwnerDeletion": true,
    })
}
