//! VirtualServices: which routes a Rollout steers, and the mark that a shed leaves on them.

use std::{collections::BTreeMap, sync::Arc};

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{read, status::time};
use crate::{
    decide::{
        analysis,
        mark::ShedMark,
        observed::{Destination, Route, Side, Traffic, VirtualService},
        spec::SpecError,
    },
    domain::{Key, PodHash, Uid, Weight, verdict::Verdict},
};

/// Whom the reference controller's writes belong to, and so ours on the same objects.
pub const FIELD_MANAGER: &str = "rollouts-controller";
/// Prefix of the annotation that holds a shed mark; the Rollout's uid follows.
pub const MARK_PREFIX: &str = "shed.serin.dev/";
/// Annotation: weights of this VirtualService are never raised.
pub const HANDS_OFF: &str = "serin.dev/hands-off";
/// A mark is at most this long, in bytes.
const MARK_LIMIT: usize = 1024;

/// A VirtualService as the stores keep it: all http routes, not yet told apart for a Rollout.
#[derive(Clone, Debug, PartialEq)]
pub struct SlimService {
    pub key: Key,
    pub resource_version: String,
    pub annotations: BTreeMap<String, String>,
    has_annotations: bool,
    http: Option<Vec<SlimRoute>>,
    last_writer: Option<String>,
    last_written_at: Option<Timestamp>,
    is_last_written_by_us: bool,
    own_entry: Option<usize>,
}

#[derive(Clone, Debug, PartialEq)]
struct SlimRoute {
    name: Option<String>,
    destinations: Vec<(Option<i64>, Arc<Value>)>,
}

/// Reads any JSON as a VirtualService.
pub fn parse_virtual_service(object: &Value) -> SlimService {
    let http = read::at(object, &["spec", "http"]).and_then(Value::as_array);
    let (last_written_at, writers) = last_writers(object);
    SlimService {
        key: Key::new(
            read::owned(object, &["metadata", "namespace"]),
            read::owned(object, &["metadata", "name"]),
        ),
        resource_version: read::owned(object, &["metadata", "resourceVersion"]),
        annotations: read::texts(object, &["metadata", "annotations"]),
        has_annotations: read::at(object, &["metadata", "annotations"]).is_some(),
        http: http.map(|routes| routes.iter().map(slim_route).collect()),
        last_writer: writers
            .iter()
            .find(|manager| **manager != FIELD_MANAGER)
            .map(|&manager| manager.to_owned()),
        last_written_at,
        is_last_written_by_us: writers.contains(&FIELD_MANAGER),
        own_entry: read::list(object, &["metadata", "managedFields"])
            .iter()
            .position(|entry| read::text(entry, &["manager"]) == Some(FIELD_MANAGER)),
    }
}

fn slim_route(route: &Value) -> SlimRoute {
    let destinations = read::list(route, &["route"]).iter();
    SlimRoute {
        name: read::text(route, &["name"]).map(str::to_owned),
        destinations: destinations
            .map(|entry| {
                (
                    read::int(entry, &["weight"]),
                    Arc::new(entry.get("destination").cloned().unwrap_or_default()),
                )
            })
            .collect(),
    }
}

/// When the routes were written last, and by which managers: those of one second cannot be told apart. A list of routes has one
/// owner at a time, so a write to something else, for instance an annotation, is not among them.
fn last_writers(object: &Value) -> (Option<Timestamp>, Vec<&str>) {
    let writes = || {
        let all = read::list(object, &["metadata", "managedFields"]).iter();
        all.filter(|write| {
            write.get("subresource").is_none() && read::at(write, &["fieldsV1", "f:spec", "f:http"]).is_some()
        })
    };
    let at = |write: &Value| read::time(write, &["time"]);
    let newest = writes().filter_map(at).max();
    let writers = writes().filter(|write| at(write) == newest);
    (newest, writers.filter_map(|write| read::text(write, &["manager"])).collect())
}

impl SlimService {
    /// The VirtualService as one Rollout sees it.
    pub fn seen_by(&self, traffic: &Traffic, rollout: &Uid) -> VirtualService {
        let mark = self.annotations.get(&format!("{MARK_PREFIX}{rollout}"));
        VirtualService {
            key: self.key.clone(),
            resource_version: self.resource_version.clone(),
            has_annotations: self.has_annotations,
            is_hands_off: self.annotations.get(HANDS_OFF).is_some_and(|value| value == "true"),
            routes: self.routes(traffic),
            mark: mark.and_then(|text| parse_mark(text)),
            has_mark: mark.is_some(),
            last_writer: self.last_writer.clone(),
            last_written_at: self.last_written_at,
            is_last_written_by_us: self.is_last_written_by_us,
            own_entry: self.own_entry,
        }
    }

    fn routes(&self, traffic: &Traffic) -> Result<Vec<Route>, SpecError> {
        let field = "spec.strategy.canary.trafficRouting.istio.virtualService.name";
        let invalid = |why: String| SpecError {
            field: field.to_owned(),
            message: format!(
                "Invalid value: \"{}\": Istio VirtualService has invalid HTTP routes. Error: {why}",
                self.key.name
            ),
        };
        let http = self.http.as_ref().filter(|http| !http.is_empty()).ok_or_else(|| {
            invalid("Unable to get any of the HTTP routes for the Istio VirtualService".to_owned())
        })?;
        let indexes = select(http, &traffic.routes).map_err(invalid)?;
        indexes
            .into_iter()
            .filter_map(|index| Some((index, http.get(index)?)))
            .map(|(index, route)| self::route(index, route, traffic).map_err(invalid))
            .collect()
    }
}

/// Indexes of the steered routes: those that are named, or the only one, or the only one without a name.
fn select(http: &[SlimRoute], names: &[String]) -> Result<Vec<usize>, String> {
    if names.is_empty() {
        return match http.len() {
            1 => Ok(vec![0]),
            _ => Err("spec.http[] should be set in VirtualService and it must have exactly one route when omitting spec.strategy.canary.trafficRouting.istio.virtualService.routes".to_owned()),
        };
    }
    names
        .iter()
        .map(|name| {
            let found = http.iter().position(|route| route.name.as_ref() == Some(name));
            found.ok_or_else(|| format!("HTTP Route '{name}' is not found in the defined Virtual Service."))
        })
        .collect()
}

fn route(index: usize, slim: &SlimRoute, traffic: &Traffic) -> Result<Route, String> {
    let side = |destination: &Value| {
        let host = read::text(destination, &["host"]).unwrap_or_default();
        match host.split('.').next().unwrap_or_default() {
            host if host == traffic.services.canary => Side::Canary,
            host if host == traffic.services.stable => Side::Stable,
            _ => Side::Other,
        }
    };
    let destinations: Vec<Destination> = slim
        .destinations
        .iter()
        .map(|(weight, destination)| Destination {
            side: side(destination),
            weight: *weight,
            destination: Arc::clone(destination),
        })
        .collect();
    let has = |side: Side| destinations.iter().any(|destination| destination.side == side);
    if !has(Side::Canary) {
        return Err(format!("Canary Service '{}' not found in route", traffic.services.canary));
    }
    if !has(Side::Stable) {
        return Err(format!("Stable Service '{}' not found in route", traffic.services.stable));
    }
    Ok(Route { index, name: slim.name.clone(), destinations })
}

/// Reads a mark; one that cannot be read is no mark.
fn parse_mark(text: &str) -> Option<ShedMark> {
    if text.len() > MARK_LIMIT {
        return None;
    }
    let mark: Value = serde_json::from_str(text).ok()?;
    Some(ShedMark {
        hash: PodHash::new(read::text(&mark, &["hash"])?)?,
        run: read::text(&mark, &["run"])?.to_owned(),
        limit: read::owned(&mark, &["limit"]),
        weight_before: Weight::new(read::int(&mark, &["weightBefore"])?)?,
        verdict: analysis::Mark {
            metric: read::text(&mark, &["metric"])?.to_owned(),
            verdict: match read::text(&mark, &["verdict"])? {
                "Failed" => Verdict::Failed,
                "Error" => Verdict::Error,
                _ => return None,
            },
            value: read::owned(&mark, &["value"]),
            message: read::owned(&mark, &["message"]),
            no_data: read::flag(&mark, &["noData"]),
            at: read::time(&mark, &["at"])?,
        },
    })
}

/// Prints a mark, at most 1 KiB long.
pub fn print_mark(mark: &ShedMark) -> String {
    let print = |value: &str, message: &str| {
        json!({
            "hash": mark.hash.as_str(),
            "run": mark.run,
            "metric": mark.verdict.metric,
            "verdict": mark.verdict.verdict.as_str(),
            "value": value,
            "limit": mark.limit,
            "message": message,
            "noData": mark.verdict.no_data,
            "weightBefore": mark.weight_before.percent(),
            "at": time(mark.verdict.at),
        })
        .to_string()
    };
    let full = print(&mark.verdict.value, &mark.verdict.message);
    if full.len() <= MARK_LIMIT { full } else { print("", "") }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::decide::spec::Services;

    #[test]
    fn routes_that_no_schema_would_take_are_refused_with_their_field() {
        let traffic = Traffic {
            services: Services { stable: "stable".into(), canary: "canary".into() },
            virtual_service: crate::domain::Key::new("shop", "routes"),
            routes: vec!["primary".into()],
        };
        for http in [
            json!("x"),
            json!([7, {"route": "x"}]),
            json!([{"name": "primary", "route": 7}]),
            json!([{"name": "primary", "route": [7, {"destination": "x", "weight": "y"}]}]),
        ] {
            let object = json!({"metadata": {"name": "routes", "namespace": "shop"}, "spec": {"http": http}});
            let seen = parse_virtual_service(&object).seen_by(&traffic, &Uid("u".into()));
            let refused = seen.routes.unwrap_err();
            assert!(refused.field.ends_with("virtualService.name"), "{http}: {refused:?}");
        }
    }
}
