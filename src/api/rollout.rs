//! A Rollout object, parsed: strict where serin acts on a field, deaf to what the reference ignores too. A field that
//! serin does not support yet refuses the whole spec, by name.

use std::{cell::RefCell, collections::BTreeMap, sync::Arc, time::Duration};

use serde_json::Value;

use super::{
    hash,
    lately::Lately,
    read::{self, Field},
    status,
};
use crate::{
    decide::{
        observed::{Rollout, Traffic},
        spec::{Background, Services, Spec, SpecError, Step},
    },
    domain::{Key, PodHash, Uid, Weight},
};

/// A Rollout as the stores keep it.
#[derive(Clone, Debug)]
pub struct Parsed {
    pub rollout: Rollout,
    /// The object without `metadata.managedFields`, for arguments of analyses that name fields of it.
    pub object: Arc<Value>,
    /// The digest of the pod template, to recognise ReplicaSets whose hash was made by another version.
    pub digest: Option<hash::Digest>,
}

/// Reads any JSON as a Rollout. What is wrong with its spec is said in `spec`; nothing else can fail.
pub fn parse(mut object: Value) -> Parsed {
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("managedFields");
    }
    let key = Key::new(
        read::owned(&object, &["metadata", "namespace"]),
        read::owned(&object, &["metadata", "name"]),
    );
    let memory = status::parse(object.get("status").unwrap_or(&Value::Null));
    let (spec, digest) = read_spec(&object, memory.collision_count);
    let rollout = Rollout {
        uid: Uid(read::owned(&object, &["metadata", "uid"])),
        generation: read::int(&object, &["metadata", "generation"]).unwrap_or(0),
        resource_version: read::owned(&object, &["metadata", "resourceVersion"]),
        is_deleted: read::at(&object, &["metadata", "deletionTimestamp"]).is_some(),
        annotations: read::texts(&object, &["metadata", "annotations"]),
        labels: read::texts(&object, &["metadata", "labels"]),
        spec,
        traffic: traffic(&object, &key),
        memory,
        key,
    };
    Parsed { rollout, object: Arc::new(object), digest }
}

/// A spec and the number of collisions.
type Asked = (Option<Value>, Option<i32>);
/// The spec parsed, and the digest of its template.
type Read = (Result<Arc<Spec>, SpecError>, Option<hash::Digest>);

thread_local! {
    static SPECS: RefCell<Lately<Asked, Read>> = const { RefCell::new(Lately::new()) };
}

fn read_spec(object: &Value, collisions: Option<i32>) -> Read {
    let asked = object.get("spec");
    let work = || {
        let digest = read::at(object, &["spec", "template"])
            .and_then(|template| hash::template_digest(template, &hash::Injected::none()).ok());
        (spec(asked, collisions).map(Arc::new), digest)
    };
    let is_same = |(known, count): &Asked| known.as_ref() == asked && *count == collisions;
    SPECS.with_borrow_mut(|specs| specs.ask(is_same, || (asked.cloned(), collisions), work))
}

/// The routes that the Rollout steers, as far as they can be told.
fn traffic(object: &Value, key: &Key) -> Option<Traffic> {
    let canary = read::at(object, &["spec", "strategy", "canary"])?;
    let service = read::at(canary, &["trafficRouting", "istio", "virtualService"])?;
    let services = Services {
        stable: read::text(canary, &["stableService"])?.to_owned(),
        canary: read::text(canary, &["canaryService"])?.to_owned(),
    };
    let routes =
        read::list(service, &["routes"]).iter().filter_map(|route| route.as_str().map(str::to_owned));
    Some(Traffic {
        services,
        virtual_service: virtual_service_key(read::text(service, &["name"])?, &key.namespace),
        routes: routes.collect(),
    })
}

/// Reads `virtualService.name`: a trailing `.cluster.local` goes; the last segment after a dot is the namespace.
fn virtual_service_key(name: &str, namespace: &str) -> Key {
    let name = name.strip_suffix(".cluster.local").unwrap_or(name);
    match name.rsplit_once('.') {
        Some((name, namespace)) => Key::new(namespace, name),
        None => Key::new(namespace, name),
    }
}

fn spec(spec: Option<&Value>, collisions: Option<i32>) -> Result<Spec, SpecError> {
    let missing =
        |field: &str, message: &str| SpecError { field: field.to_owned(), message: message.to_owned() };
    let spec = spec.ok_or_else(|| missing("spec", "Required value: the Rollout has no spec"))?;
    let spec = Field::root("spec", spec);
    spec.object()?;
    refuse(&spec, &["workloadRef", "restartAt", "rollbackWindow"])?;
    let replicas = spec.get("replicas").map(|field| field.natural()).transpose()?;
    let selector = spec.get("selector").ok_or_else(|| {
        missing("spec.selector", "Required value: Rollout has missing field '.spec.selector'")
    })?;
    let template = spec
        .get("template")
        .ok_or_else(|| missing("spec.template", "Required value: a Rollout needs a pod template"))?;
    let template_hash = template_hash(&template, collisions)?;
    let match_labels = selector_of(&selector, &template)?;
    let number = |key: &str| spec.get(key).map(|field| field.natural()).transpose();
    let min_ready_seconds = number("minReadySeconds")?.unwrap_or(0);
    let progress_deadline = number("progressDeadlineSeconds")?.unwrap_or(600);
    if progress_deadline <= min_ready_seconds {
        return Err(missing("spec.progressDeadlineSeconds", "must be greater than minReadySeconds"));
    }
    let limit = |key: &str| -> Result<usize, SpecError> {
        let field = spec.get("analysis").and_then(|analysis| analysis.get(key));
        Ok(field
            .map(|field| field.natural())
            .transpose()?
            .and_then(|limit| usize::try_from(limit).ok())
            .unwrap_or(5))
    };
    let flag =
        |key: &str| spec.get(key).map(|field| field.boolean()).transpose().map(|flag| flag.unwrap_or(false));
    let strategy = strategy(&spec)?;
    Ok(Spec {
        replicas: replicas.unwrap_or(1),
        replicas_absent: replicas.is_none(),
        selector_text: selector_text(selector.value),
        selector: Arc::new(selector.value.clone()),
        match_labels,
        template: Arc::new(template.value.clone()),
        template_hash,
        min_ready_seconds,
        revision_history_limit: number("revisionHistoryLimit")?
            .and_then(|n| usize::try_from(n).ok())
            .unwrap_or(10),
        progress_deadline: seconds(progress_deadline),
        progress_deadline_abort: flag("progressDeadlineAbort")?,
        paused: flag("paused")?,
        steps: strategy.steps,
        step_hash: strategy.step_hash,
        background: strategy.background,
        services: strategy.services,
        scale_down_delay: strategy.scale_down_delay,
        abort_scale_down_delay: strategy.abort_scale_down_delay,
        successful_runs: limit("successfulRunHistoryLimit")?,
        unsuccessful_runs: limit("unsuccessfulRunHistoryLimit")?,
    })
}

fn template_hash(template: &Field<'_>, collisions: Option<i32>) -> Result<PodHash, SpecError> {
    let hash = hash::template_hash(template.value, collisions).map_err(|error| SpecError {
        field: format!("{}{}", template.path, dotted(&error.path)),
        message: format!("expected {}, found {}", error.expected, error.found),
    })?;
    PodHash::new(hash).ok_or_else(|| template.error("its hash is empty"))
}

fn dotted(path: &str) -> String {
    if path.is_empty() || path.starts_with('[') {
        path.to_owned()
    } else {
        format!(".{}", path.trim_start_matches('.'))
    }
}

fn seconds(count: i32) -> Duration {
    Duration::from_secs(u64::try_from(count).unwrap_or(0))
}

/// Refuses members that are set and that serin does not act on yet: acting as if they were not there would surprise.
fn refuse(field: &Field<'_>, keys: &[&str]) -> Result<(), SpecError> {
    match keys.iter().find_map(|key| field.get(key)) {
        Some(found) => {
            Err(found
                .error("not supported by serin yet: remove it, or leave this Rollout to another controller"))
        }
        None => Ok(()),
    }
}

fn selector_of(selector: &Field<'_>, template: &Field<'_>) -> Result<BTreeMap<String, String>, SpecError> {
    selector.object()?;
    if read::list(selector.value, &["matchExpressions"]).is_empty() {
        let labels = read::texts(selector.value, &["matchLabels"]);
        if labels.is_empty() {
            return Err(selector.error("empty selector is invalid for deployment"));
        }
        let carried = read::texts(template.value, &["metadata", "labels"]);
        let missing = labels.iter().find(|(key, value)| carried.get(*key) != Some(value));
        return match missing {
            Some((key, value)) => Err(SpecError {
                field: "spec.template.metadata.labels".to_owned(),
                message: format!("`selector` does not match template `labels`: `{key}: {value}` is missing"),
            }),
            None => Ok(labels),
        };
    }
    Err(SpecError {
        field: format!("{}.matchExpressions", selector.path),
        message: "not supported by serin yet: use matchLabels".to_owned(),
    })
}

/// The selector in the form of `kubectl get -l`.
fn selector_text(selector: &Value) -> String {
    let labels = read::texts(selector, &["matchLabels"]);
    labels.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(",")
}

struct Strategy {
    steps: Vec<Step>,
    step_hash: String,
    background: Option<Background>,
    services: Services,
    scale_down_delay: Duration,
    abort_scale_down_delay: Option<Duration>,
}

fn strategy(spec: &Field<'_>) -> Result<Strategy, SpecError> {
    let none = || SpecError {
        field: "spec.strategy.strategy".to_owned(),
        message:
            "Required value: Rollout has missing field '.spec.strategy.canary or .spec.strategy.blueGreen'"
                .to_owned(),
    };
    let strategy = spec.get("strategy").ok_or_else(none)?;
    strategy.object()?;
    refuse(&strategy, &["blueGreen"])?;
    let canary = strategy.get("canary").ok_or_else(none)?;
    canary.object()?;
    refuse(
        &canary,
        &[
            "dynamicStableScale",
            "pingPong",
            "antiAffinity",
            "canaryMetadata",
            "stableMetadata",
            "replicaProgressThreshold",
            "minPodsPerReplicaSet",
            "scaleDownDelayRevisionLimit",
        ],
    )?;
    let services =
        Services { stable: service(&canary, "stableService")?, canary: service(&canary, "canaryService")? };
    if services.stable == services.canary {
        return Err(SpecError {
            field: "spec.strategy.stableService".to_owned(),
            message: "Invalid value: uses the same service for the stable and canary services".to_owned(),
        });
    }
    istio(&canary)?;
    let steps = canary.get("steps").map(|steps| steps.items()).transpose()?.unwrap_or_default();
    let number = |key: &str| canary.get(key).map(|field| field.natural()).transpose();
    let delay = |seconds_: Option<i32>| seconds(seconds_.unwrap_or(30));
    Ok(Strategy {
        step_hash: hash::step_hash(canary.value.get("steps")),
        steps: steps.iter().map(step).collect::<Result<_, _>>()?,
        background: background(&canary)?,
        services,
        scale_down_delay: delay(number("scaleDownDelaySeconds")?),
        abort_scale_down_delay: match number("abortScaleDownDelaySeconds")? {
            Some(0) => None,
            other => Some(delay(other)),
        },
    })
}

fn service(canary: &Field<'_>, key: &str) -> Result<String, SpecError> {
    let required = || SpecError {
        field: format!("spec.strategy.{key}"),
        message: "Invalid value: Canary service and Stable service must to be set to use Traffic Routing"
            .to_owned(),
    };
    let name = canary.get(key).ok_or_else(required)?.string()?;
    if name.is_empty() { Err(required()) } else { Ok(name) }
}

fn istio(canary: &Field<'_>) -> Result<(), SpecError> {
    let needed = || SpecError {
        field: "spec.strategy.canary.trafficRouting.istio".to_owned(),
        message: "serin steers traffic through Istio: a Rollout without it is not supported yet".to_owned(),
    };
    let routing = canary.get("trafficRouting").ok_or_else(needed)?;
    let others =
        ["nginx", "alb", "smi", "ambassador", "appMesh", "traefik", "apisix", "plugins", "maxTrafficWeight"];
    refuse(&routing, &others)?;
    if let Some(managed) = routing
        .get("managedRoutes")
        .filter(|managed| managed.value.as_array().is_none_or(|list| !list.is_empty()))
    {
        return Err(managed.error("not supported by serin yet"));
    }
    let istio = routing.get("istio").ok_or_else(needed)?;
    refuse(&istio, &["virtualServices", "destinationRule"])?;
    let service = istio
        .get("virtualService")
        .ok_or_else(|| istio.error("either VirtualService or VirtualServices must be configured"))?;
    refuse(&service, &["tlsRoutes", "tcpRoutes"])?;
    let name =
        service.get("name").ok_or_else(|| service.error("Required value: `name` of the VirtualService"))?;
    if name.string()?.is_empty() {
        return Err(name.error("Required value: `name` of the VirtualService"));
    }
    if let Some(routes) = service.get("routes") {
        for route in routes.items()? {
            route.string()?;
        }
    }
    Ok(())
}

fn background(canary: &Field<'_>) -> Result<Option<Background>, SpecError> {
    let Some(analysis) = canary.get("analysis") else { return Ok(None) };
    analysis.object()?;
    let starting = analysis.get("startingStep").map(|field| field.natural()).transpose()?.unwrap_or(0);
    let has_templates =
        analysis.get("templates").map(|list| list.items()).transpose()?.is_some_and(|list| !list.is_empty());
    Ok(has_templates.then(|| Background { starting_step: usize::try_from(starting).unwrap_or(0) }))
}

fn step(step: &Field<'_>) -> Result<Step, SpecError> {
    step.object()?;
    refuse(step, &["experiment", "setCanaryScale", "setHeaderRoute", "setMirrorRoute", "plugin"])?;
    let at =
        |message: &str| SpecError { field: step.path.replace(".canary", ""), message: message.to_owned() };
    let members = [step.get("setWeight"), step.get("pause"), step.get("analysis")];
    match members {
        [Some(weight), None, None] => {
            let percent = weight.integer()?;
            Weight::new(percent).map(Step::SetWeight).ok_or_else(|| {
                weight.error(format!("Invalid value: {percent}: SetWeight needs to be between 0 and 100"))
            })
        }
        [None, Some(pause), None] => pause_step(&pause),
        [None, None, Some(analysis)] => {
            let templates =
                analysis.get("templates").map(|list| list.items()).transpose()?.unwrap_or_default();
            if templates.is_empty() {
                return Err(analysis
                    .error("Required value: `templates`: an analysis step needs at least one template"));
            }
            Ok(Step::Analysis)
        }
        _ => Err(at(
            "Step must have one of the following set: experiment, setWeight, setCanaryScale, pause or analysis",
        )),
    }
}

fn pause_step(pause: &Field<'_>) -> Result<Step, SpecError> {
    pause.object()?;
    let Some(duration) = pause.get("duration") else { return Ok(Step::Pause { duration: None, raw: None }) };
    let raw = match duration.value {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => {
            return Err(duration.error("expected a number of seconds or a Go duration such as 5m"));
        }
    };
    let seconds = raw
        .parse::<i64>()
        .ok()
        .or_else(|| super::analysis::duration::parse(&raw).ok().map(|time| time.as_secs()));
    let seconds = seconds.and_then(|seconds| u64::try_from(seconds).ok());
    let seconds = seconds.ok_or_else(|| {
        duration.error(format!("Invalid value: \"{raw}\": Duration needs to be greater than 0"))
    })?;
    Ok(Step::Pause { duration: Some(Duration::from_secs(seconds)), raw: Some(raw) })
}
