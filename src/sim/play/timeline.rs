//! The timeline of a story: what the store received and what Prometheus answered, in the order they happened.

use serde_json::{Value, json};

use super::prometheus::Given;
use crate::{api::http::Method, sim::world::Logged};

/// One entry.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    pub at: jiff::Timestamp,
    /// One line, for instance `controller patch virtualservices myapp-vsvc`.
    pub what: String,
    /// The canary's weight after it, where the story has a VirtualService with a canary route.
    pub canary_weight: Option<i64>,
    pub kind: Kind,
}

/// What an entry is about, for the judge.
#[derive(Clone, Debug, PartialEq)]
pub enum Kind {
    /// A request of `actor`.
    Request { actor: String, verb: &'static str, resource: String, name: String, status: u16, body: Value },
    /// An answer of Prometheus.
    Answer { is_good: bool, has_value: bool },
}

/// Puts requests and answers together. `canary` is the host of the canary's Service.
pub fn timeline<'a>(log: impl Iterator<Item = &'a Logged>, answers: &[Given], canary: &str) -> Vec<Entry> {
    let mut entries = vec![];
    let mut weight = None;
    let mut shape = Shape::default();
    let mut answers = answers.iter().peekable();
    for (index, logged) in log.enumerate() {
        while let Some(given) = answers.next_if(|given| given.after <= index) {
            entries.push(answer(given, weight));
        }
        if logged.point.resource == "virtualservices" && (200..300).contains(&logged.status) {
            shape.learn(&logged.body, canary);
            weight = shape.weight_after(&logged.body).or(weight);
        }
        entries.push(request(logged, weight));
    }
    entries.extend(answers.map(|given| answer(given, weight)));
    entries
}

/// Where in the VirtualService the canary's weights are.
#[derive(Default)]
struct Shape {
    /// Route and destination index of the first canary destination.
    canary: Option<(usize, usize)>,
}

impl Shape {
    /// Reads whole objects (creates and applies).
    fn learn(&mut self, body: &Value, canary: &str) {
        let Some(http) = body.pointer("/spec/http").and_then(Value::as_array) else { return };
        for (route, entry) in http.iter().enumerate() {
            let destinations = entry["route"].as_array().map(Vec::as_slice).unwrap_or_default();
            let host = |entry: &Value| {
                entry["destination"]["host"]
                    .as_str()
                    .and_then(|host| host.split('.').next())
                    .map(str::to_owned)
            };
            if let Some(at) = destinations.iter().position(|entry| host(entry).as_deref() == Some(canary)) {
                self.canary = Some((route, at));
                return;
            }
        }
    }

    /// The canary's weight that this body leaves; `None` where it says nothing of it.
    fn weight_after(&self, body: &Value) -> Option<i64> {
        let (route, at) = self.canary?;
        if let Some(operations) = body.as_array() {
            let path = format!("/spec/http/{route}/route/{at}/weight");
            let last = operations
                .iter()
                .rev()
                .find(|operation| operation["path"] == path.as_str() && operation["op"] != "test");
            return last.and_then(|operation| operation["value"].as_i64());
        }
        let entry = body.pointer(&format!("/spec/http/{route}/route/{at}"))?;
        Some(entry["weight"].as_i64().unwrap_or(0))
    }
}

fn answer(given: &Given, canary_weight: Option<i64>) -> Entry {
    let value = given.value.map_or("no data".to_owned(), |value| value.to_string());
    let verdict = if given.is_good { "good" } else { "bad" };
    let what = match given.value {
        Some(_) => format!("prometheus answers {} = {value} ({verdict})", given.metric),
        None => format!("prometheus answers {}: no data", given.metric),
    };
    let kind = Kind::Answer { is_good: given.is_good, has_value: given.value.is_some() };
    Entry { at: given.at, what, canary_weight, kind }
}

fn request(logged: &Logged, canary_weight: Option<i64>) -> Entry {
    let point = &logged.point;
    let parts: Vec<&str> = logged.path.trim_matches('/').split('/').collect();
    let kind = point.resource.split('/').next().unwrap_or_default();
    let name = parts.iter().position(|part| *part == kind).and_then(|at| parts.get(at + 1)).copied();
    let name = name.or(logged.body["metadata"]["name"].as_str()).unwrap_or_default().to_owned();
    let failed =
        if (200..300).contains(&logged.status) { String::new() } else { format!(" -> {}", logged.status) };
    Entry {
        at: logged.at,
        what: format!("{} {} {} {name}{failed}", point.actor, point.verb, point.resource)
            .trim_end()
            .to_owned(),
        canary_weight,
        kind: Kind::Request {
            actor: point.actor.clone(),
            verb: point.verb,
            resource: point.resource.clone(),
            name,
            status: logged.status,
            body: if logged.method == Method::Get { Value::Null } else { logged.body.clone() },
        },
    }
}

/// The timeline as `timeline.json` has it.
pub fn print(entries: &[Entry]) -> Value {
    let entry = |entry: &Entry| json!({"at": entry.at.to_string(), "what": entry.what, "canaryWeight": entry.canary_weight});
    Value::Array(entries.iter().map(entry).collect())
}
