//! The timeline of a story: what the store received, what Prometheus answered and what else was done, in the order it
//! happened.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::aside::{Aside, What};
use crate::{api::http::Method, sim::world::Logged};

/// A request as an API server's audit log has it.
#[derive(Clone, Debug, PartialEq)]
pub struct Asked {
    pub at: Timestamp,
    /// Who asked, for instance `controller`.
    pub actor: String,
    /// As Kubernetes audits it; a server-side apply may be `patch` or `apply`.
    pub verb: String,
    /// Plural, with the subresource: `rollouts/status`.
    pub resource: String,
    pub name: String,
    /// 0 where whoever asked died before the answer.
    pub status: u16,
    /// What was sent; null for reads.
    pub body: Value,
}

impl Asked {
    /// True where it was carried out.
    pub fn is_done(&self) -> bool {
        (200..300).contains(&self.status)
    }
}

impl From<&Logged> for Asked {
    fn from(logged: &Logged) -> Self {
        let point = &logged.point;
        let parts: Vec<&str> = logged.path.trim_matches('/').split('/').collect();
        let kind = point.resource.split('/').next().unwrap_or_default();
        let name = parts.iter().position(|part| *part == kind).and_then(|at| parts.get(at + 1)).copied();
        Self {
            at: logged.at,
            actor: point.actor.clone(),
            verb: point.verb.to_owned(),
            resource: point.resource.clone(),
            name: name.or(logged.body["metadata"]["name"].as_str()).unwrap_or_default().to_owned(),
            status: logged.status,
            body: if logged.method == Method::Get { Value::Null } else { logged.body.clone() },
        }
    }
}

/// One entry.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    pub at: Timestamp,
    /// The canary's weight after it, where the story has a VirtualService with a canary route.
    pub canary_weight: Option<i64>,
    pub kind: Kind,
}

/// What an entry is about.
#[derive(Clone, Debug, PartialEq)]
pub enum Kind {
    Request(Asked),
    /// An answer of Prometheus; no value is no data.
    Answer {
        metric: String,
        value: Option<f64>,
        is_good: bool,
    },
    /// Somebody did something.
    Act {
        who: &'static str,
        what: String,
    },
    /// A process of serin was killed. Where the request on which it died is known, that request says so itself.
    Died {
        actor: String,
    },
}

impl Entry {
    /// One line, for instance `controller patch virtualservices myapp-vsvc`.
    pub fn what(&self) -> String {
        match &self.kind {
            Kind::Request(asked) => {
                let failed = if asked.is_done() { String::new() } else { format!(" -> {}", asked.status) };
                let Asked { actor, verb, resource, name, .. } = asked;
                format!("{actor} {verb} {resource} {name}{failed}").trim_end().to_owned()
            }
            Kind::Answer { metric, value: Some(value), is_good } => {
                format!("prometheus answers {metric} = {value} ({})", if *is_good { "good" } else { "bad" })
            }
            Kind::Answer { metric, value: None, .. } => format!("prometheus answers {metric}: no data"),
            Kind::Act { who, what } => format!("{who}: {what}"),
            Kind::Died { actor } => format!("{actor} is killed"),
        }
    }

    /// The request that it is.
    pub fn asked(&self) -> Option<&Asked> {
        match &self.kind {
            Kind::Request(asked) => Some(asked),
            Kind::Answer { .. } | Kind::Act { .. } | Kind::Died { .. } => None,
        }
    }
}

/// Puts requests and asides together, a piece at a time.
pub struct Timeline {
    /// Host of the canary's Service.
    canary: String,
    shape: Shape,
    weight: Option<i64>,
    requests: usize,
    asides: usize,
}

impl Timeline {
    /// `canary` is the host of the canary's Service.
    pub fn new(canary: &str) -> Self {
        Self { canary: canary.to_owned(), shape: Shape::default(), weight: None, requests: 0, asides: 0 }
    }

    /// How many requests and asides were taken so far.
    pub fn known(&self) -> (usize, usize) {
        (self.requests, self.asides)
    }

    /// The entries of what is new: requests and asides after those that are known.
    pub fn take(&mut self, requests: impl Iterator<Item = Asked>, asides: Vec<Aside>) -> Vec<Entry> {
        let mut entries = vec![];
        self.asides += asides.len();
        let mut asides = asides.into_iter().peekable();
        for asked in requests {
            while let Some(aside) = asides.next_if(|aside| aside.after <= self.requests) {
                entries.push(self.aside(aside));
            }
            self.requests += 1;
            if asked.resource == "virtualservices" && asked.is_done() {
                self.shape.learn(&asked.body, &self.canary);
                self.weight = self.shape.weight_after(&asked.body).or(self.weight);
            }
            entries.push(Entry { at: asked.at, canary_weight: self.weight, kind: Kind::Request(asked) });
        }
        entries.extend(asides.map(|aside| self.aside(aside)));
        entries
    }

    fn aside(&self, aside: Aside) -> Entry {
        let kind = match aside.what {
            What::Answer { metric, value, is_good } => Kind::Answer { metric, value, is_good },
            What::Act { who, what } => Kind::Act { who, what },
            What::Died { actor } => Kind::Died { actor },
        };
        Entry { at: aside.at, canary_weight: self.weight, kind }
    }
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

/// The timeline as `timeline.json` has it.
pub fn print(entries: &[Entry]) -> Value {
    let entry = |entry: &Entry| json!({"at": entry.at.to_string(), "what": entry.what(), "canaryWeight": entry.canary_weight});
    Value::Array(entries.iter().map(entry).collect())
}
