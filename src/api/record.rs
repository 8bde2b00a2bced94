//! `RolloutRecord` and `SelfHeal` objects: the controller's part of them, read and printed.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::{Value, json};

use super::{read, serin, status::time};
use crate::{
    decide::{
        analysis::Evidence,
        plan::{Intent, Owner},
        record::{AbortCause, AbortRecord, Provenance, Reassert, Record, Version},
    },
    domain::{PodHash, Weight},
};

/// Reads the controller's part of a RolloutRecord. What cannot be read counts as absent.
pub fn parse(object: &Value) -> Record {
    let controller = read::at(object, &["status", "controller"]).cloned().unwrap_or_default();
    let wire: serin::ControllerRecord = serde_json::from_value(controller).unwrap_or_default();
    let provenance: Vec<Provenance> = wire.provenance.iter().filter_map(provenance).collect();
    Record {
        exists: true,
        resource_version: read::owned(object, &["metadata", "resourceVersion"]),
        abort: abort(&wire, &provenance),
        provenance,
        reasserts: wire.weight_reasserts.iter().filter_map(reassert).collect(),
        self_heals: wire.self_heals,
    }
}

fn provenance(wire: &serin::Provenance) -> Option<Provenance> {
    Some(Provenance {
        version: Version { hash: PodHash::new(wire.hash.clone())?, images: wire.images.clone() },
        at: wire.promoted_at.as_ref().map_or(Timestamp::UNIX_EPOCH, |at| at.0),
    })
}

fn reassert(wire: &serin::WeightReassert) -> Option<Reassert> {
    Some(Reassert {
        at: wire.at.as_ref()?.0,
        virtual_service: wire.virtual_service.clone(),
        found: Weight::share(i64::from(wire.found), 100),
        set: Weight::share(i64::from(wire.set), 100),
        by: wire.manager.clone(),
    })
}

fn wire_reassert(reassert: &Reassert) -> serin::WeightReassert {
    serin::WeightReassert {
        at: Some(Time(reassert.at)),
        virtual_service: reassert.virtual_service.clone(),
        found: i32::from(reassert.found.percent()),
        set: i32::from(reassert.set.percent()),
        manager: reassert.by.clone(),
    }
}

fn abort(wire: &serin::ControllerRecord, provenance: &[Provenance]) -> Option<AbortRecord> {
    let denied = wire.denied.last()?;
    let evidence = wire.evidence.clone().unwrap_or_default();
    let cause = match denied.cause {
        serin::Cause::MetricFailed => AbortCause::MetricFailed,
        serin::Cause::NoData => AbortCause::NoData,
        serin::Cause::MetricError => AbortCause::AnalysisError,
        serin::Cause::ProgressDeadline => AbortCause::ProgressDeadline,
        serin::Cause::UserAbort | serin::Cause::Superseded => AbortCause::UserAbort,
    };
    let at = denied.denied_at.as_ref()?.0;
    Some(AbortRecord {
        cause,
        bad: Version { hash: PodHash::new(denied.hash.clone())?, images: denied.images.clone() },
        good: provenance.last()?.version.clone(),
        weight: Weight::share(i64::from(evidence.weight), 100),
        started_at: evidence.started_at.as_ref().map(|at| at.0),
        at,
        run: (!evidence.run.is_empty()).then(|| evidence.run.clone()),
        evidence: (!evidence.metric.is_empty()).then(|| Evidence {
            metric: evidence.metric,
            value: evidence.value,
            limit: evidence.limit,
            query: evidence.query,
            samples: i64::from(evidence.samples),
            started_at: evidence.started_at.map(|at| at.0),
            failed_at: evidence.failed_at.map(|at| at.0),
            ..Evidence::default()
        }),
    })
}

fn wire_cause(cause: AbortCause) -> serin::Cause {
    match cause {
        AbortCause::MetricFailed => serin::Cause::MetricFailed,
        AbortCause::NoData => serin::Cause::NoData,
        AbortCause::AnalysisError => serin::Cause::MetricError,
        AbortCause::ProgressDeadline => serin::Cause::ProgressDeadline,
        AbortCause::UserAbort => serin::Cause::UserAbort,
    }
}

fn wire_evidence(abort: &AbortRecord) -> serin::Evidence {
    let evidence = abort.evidence.clone().unwrap_or_default();
    let whole = |at: Timestamp| Time(Timestamp::from_second(at.as_second()).unwrap_or(at));
    serin::Evidence {
        run: abort.run.clone().unwrap_or_default(),
        metric: evidence.metric,
        value: evidence.value,
        limit: evidence.limit,
        query: evidence.query,
        samples: i32::try_from(evidence.samples.max(0)).unwrap_or(i32::MAX),
        weight: i32::from(abort.weight.percent()),
        started_at: abort.started_at.map(whole),
        failed_at: Some(whole(evidence.failed_at.unwrap_or(abort.at))),
    }
}

/// Prints `status.controller`.
pub fn print(record: &Record) -> Value {
    let whole = |at: Timestamp| Some(Time(Timestamp::from_second(at.as_second()).unwrap_or(at)));
    let abort = record.abort.as_ref();
    let wire = serin::ControllerRecord {
        cause: abort.map(|abort| wire_cause(abort.cause)),
        evidence: abort.map(wire_evidence),
        provenance: record
            .provenance
            .iter()
            .map(|known| serin::Provenance {
                hash: known.version.hash.to_string(),
                images: known.version.images.clone(),
                revision: String::new(),
                source: String::new(),
                promoted_at: whole(known.at),
            })
            .collect(),
        denied: abort
            .map(|abort| serin::Denied {
                hash: abort.bad.hash.to_string(),
                images: abort.bad.images.clone(),
                cause: wire_cause(abort.cause),
                denied_at: whole(abort.at),
            })
            .into_iter()
            .collect(),
        weight_reasserts: record.reasserts.iter().map(wire_reassert).collect(),
        self_heals: record.self_heals.clone(),
    };
    serde_json::to_value(wire).unwrap_or_default()
}

/// A new RolloutRecord, without status.
pub fn new_record(owner: &Owner) -> Value {
    json!({
        "apiVersion": "serin.dev/v1alpha1",
        "kind": "RolloutRecord",
        "metadata": {
            "name": owner.key.name,
            "namespace": owner.key.namespace,
            "ownerReferences": [super::observed::owner_reference(&owner.key.name, &owner.uid.0)],
        },
        "spec": {"rolloutRef": {"name": owner.key.name, "uid": owner.uid.0}},
    })
}

/// A new SelfHeal. It belongs to the Rollout and goes with it.
pub fn self_heal(owner: &Owner, intent: &Intent) -> Value {
    let version = |version: &Version| json!({"hash": version.hash.as_str(), "images": version.images});
    json!({
        "apiVersion": "serin.dev/v1alpha1",
        "kind": "SelfHeal",
        "metadata": {
            "name": intent.name,
            "namespace": owner.key.namespace,
            "ownerReferences": [super::observed::owner_reference(&owner.key.name, &owner.uid.0)],
        },
        "spec": {
            "rolloutRef": {"name": owner.key.name, "uid": owner.uid.0},
            "bad": version(&intent.abort.bad),
            "good": version(&intent.abort.good),
            "cause": wire_cause(intent.abort.cause),
            "evidence": wire_evidence(&intent.abort),
        },
    })
}

/// A time as these objects have it.
pub fn wire_time(at: Timestamp) -> String {
    time(at)
}
