//! Several analysis templates become the spec of one AnalysisRun. No I/O.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use super::{
    field,
    policy::{self, METRIC_POLICY, Policies},
    rollout_arguments,
};

/// Which kind of template a reference names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// `AnalysisTemplate` in the Rollout's namespace.
    Namespace,
    /// `ClusterAnalysisTemplate`.
    Cluster,
}

impl Scope {
    /// The kind of such a template.
    pub fn kind(self) -> &'static str {
        match self {
            Self::Namespace => "AnalysisTemplate",
            Self::Cluster => "ClusterAnalysisTemplate",
        }
    }
}

/// Pod template hashes that arguments may ask for.
#[derive(Clone, Copy, Debug)]
pub struct Hashes<'a> {
    /// Of the new ReplicaSet.
    pub latest: &'a str,
    /// Of the stable ReplicaSet.
    pub stable: &'a str,
}

/// What a new AnalysisRun is made from.
#[derive(Clone, Debug, PartialEq)]
pub struct NewRun {
    /// Its `spec`.
    pub spec: Value,
    /// The value of its annotation `serin.dev/metric-policy`; `None` where no template has one.
    pub metric_policy: Option<String>,
}

/// Why no run can be made from a rollout's templates. The rollout is invalid until one of the two changes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// A template, named by the rollout or by another template, does not exist.
    #[error("{} '{name}' not found", scope.kind())]
    NotFound { scope: Scope, name: String },
    /// Metrics, arguments or rules of the templates do not go together, or a field has the wrong type.
    #[error("{0}")]
    Invalid(String),
    /// An argument of the rollout has no value. The text says which and why.
    #[error("{0}")]
    Argument(String),
}

/// Makes the spec of a run from `analysis` (a rollout's `strategy.canary.analysis`, or the `analysis` of a step):
/// templates and the templates they name, each once, cycles included; arguments resolved against `rollout`.
///
/// # Errors
/// See [`TemplateError`]; texts as in the reference where it has them.
pub fn flatten<'a>(
    analysis: &Value,
    rollout: &Value,
    hashes: Hashes<'_>,
    lookup: impl Fn(Scope, &str) -> Option<&'a Value>,
) -> Result<NewRun, TemplateError> {
    let templates = collect(analysis, lookup)?;
    let invalid = TemplateError::Invalid;
    let metrics = metrics(&templates).map_err(invalid)?;
    let template_arguments = arguments(&templates).map_err(invalid)?;
    let incoming = rollout_arguments::resolve(analysis, rollout, hashes).map_err(TemplateError::Argument)?;
    let arguments = merge_arguments(template_arguments, &incoming).map_err(TemplateError::Argument)?;
    let dry_run = rules(analysis, &templates, "dryRun", "Dry-Run").map_err(invalid)?;
    let retention =
        rules(analysis, &templates, "measurementRetention", "Measurement Retention").map_err(invalid)?;
    let policies = policies(&templates).map_err(invalid)?;
    let mut spec = Map::new();
    spec.insert("metrics".to_owned(), metrics.into());
    for (key, list) in [("args", arguments), ("dryRun", dry_run), ("measurementRetention", retention)] {
        if !list.is_empty() {
            spec.insert(key.to_owned(), list.into());
        }
    }
    let metric_policy =
        (!policies.is_empty()).then(|| policy::print(&policies)).transpose().map_err(invalid)?;
    Ok(NewRun { spec: Value::Object(spec), metric_policy })
}

/// The templates in the order in which they count: namespaced ones first, then those of the cluster, each list in
/// the order of a walk that goes down before it goes on.
fn collect<'a>(
    analysis: &Value,
    lookup: impl Fn(Scope, &str) -> Option<&'a Value>,
) -> Result<Vec<&'a Value>, TemplateError> {
    let mut seen = BTreeSet::new();
    let mut found = vec![];
    let mut open = references(analysis)?;
    open.reverse();
    while let Some((scope, name)) = open.pop() {
        if !seen.insert((scope, name.clone())) {
            continue;
        }
        let Some(template) = lookup(scope, &name) else {
            return Err(TemplateError::NotFound { scope, name });
        };
        found.push((scope, template));
        open.extend(references(spec(template))?.into_iter().rev());
    }
    found.sort_by_key(|(scope, _)| *scope);
    Ok(found.into_iter().map(|(_, template)| template).collect())
}

fn references(holder: &Value) -> Result<Vec<(Scope, String)>, TemplateError> {
    let reference = |wire: &Value| {
        let name = field::text(wire, "templateName")?.unwrap_or_default().to_owned();
        let scope = if field::flag(wire, "clusterScope")? { Scope::Cluster } else { Scope::Namespace };
        Ok((scope, name))
    };
    let list = field::list(holder, "templates").map_err(TemplateError::Invalid)?;
    list.iter().map(reference).collect::<Result<_, _>>().map_err(TemplateError::Invalid)
}

fn spec(template: &Value) -> &Value {
    template.get("spec").unwrap_or(&Value::Null)
}

fn metrics(templates: &[&Value]) -> Result<Vec<Value>, String> {
    let mut names = BTreeSet::new();
    let mut all = vec![];
    for template in templates {
        for metric in field::list(spec(template), "metrics")? {
            let name = field::text(metric, "name")?.unwrap_or_default();
            if !names.insert(name) {
                return Err(format!("two metrics have the same name '{name}'"));
            }
            all.push(metric.clone());
        }
    }
    Ok(all)
}

/// The templates' arguments. One without a value gives way to a later one of its name.
fn arguments(templates: &[&Value]) -> Result<Vec<Value>, String> {
    let mut all: Vec<Value> = vec![];
    for template in templates {
        for argument in field::list(spec(template), "args")? {
            let name = field::text(argument, "name")?.unwrap_or_default();
            let Some(before) = all.iter_mut().find(|it| it.get("name").and_then(Value::as_str) == Some(name))
            else {
                all.push(argument.clone());
                continue;
            };
            match (field::text(before, "value")?, field::text(argument, "value")?) {
                (Some(old), Some(new)) if old != new => {
                    return Err(format!(
                        "Argument `{name}` specified multiple times with different values: '{old}', '{new}'"
                    ));
                }
                (Some(_), _) => {}
                (None, _) => *before = argument.clone(),
            }
        }
    }
    Ok(all)
}

/// Lays the rollout's values over the templates' arguments; those that no template knows are dropped.
fn merge_arguments(
    mut arguments: Vec<Value>,
    incoming: &BTreeMap<String, String>,
) -> Result<Vec<Value>, String> {
    for argument in &mut arguments {
        let name = field::text(argument, "name")?.unwrap_or_default().to_owned();
        if let (Some(value), Value::Object(fields)) = (incoming.get(&name), &mut *argument) {
            fields.insert("value".to_owned(), json!(value));
        }
        let has = |key: &str| argument.get(key).is_some_and(|value| !value.is_null());
        if !has("value") && !has("valueFrom") {
            return Err(format!("args.{name} was not resolved"));
        }
    }
    Ok(arguments)
}

/// The caller's own rules, then those of the templates.
fn rules(analysis: &Value, templates: &[&Value], key: &str, title: &str) -> Result<Vec<Value>, String> {
    let mut names = BTreeSet::new();
    let mut all = vec![];
    for holder in std::iter::once(analysis).chain(templates.iter().map(|template| spec(template))) {
        for rule in field::list(holder, key)? {
            let name = field::text(rule, "metricName")?.unwrap_or_default();
            if !names.insert(name) {
                return Err(format!("two {title} metric rules have the same name '{name}'"));
            }
            all.push(rule.clone());
        }
    }
    Ok(all)
}

/// The templates' policies. Each may speak of its own metrics only, so no two can contradict each other.
fn policies(templates: &[&Value]) -> Result<Policies, String> {
    let mut all = Policies::new();
    for template in templates {
        let text = template.pointer("/metadata/annotations").and_then(|all| all.get(METRIC_POLICY));
        let metrics = field::list(spec(template), "metrics")?;
        let is_metric =
            |name: &str| metrics.iter().any(|it| it.get("name").and_then(Value::as_str) == Some(name));
        all.extend(policy::parse(text.and_then(Value::as_str).unwrap_or_default(), is_metric)?);
    }
    Ok(all)
}
