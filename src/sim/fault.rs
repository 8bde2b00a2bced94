//! Faults as values: which request meets one, and what happens to it.

use std::{collections::BTreeMap, fmt};

use super::store::{Part, Route, route};
use crate::api::http::{Body, Method, Request, Response};

/// A request by its place in the story, the same in every run of it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Point {
    /// Who asks, for instance `controller`.
    pub actor: String,
    /// `get`, `list`, `watch`, `create`, `update`, `patch`, `apply`, `delete` or `deletecollection`.
    pub verb: &'static str,
    /// Plural, with the subresource: `rollouts`, `rollouts/status`; the path where it is none.
    pub resource: String,
    /// Counted from 1 for each actor, verb and resource.
    pub nth: u32,
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {} #{}", self.actor, self.verb, self.resource, self.nth)
    }
}

/// What happens to a request that meets a fault.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Refused with this status code; nothing is written.
    Refuse(u16),
    /// Takes effect, and the answer is a 504.
    LoseAnswer,
    /// Every open watch ends; the request itself is answered.
    DropWatches,
    /// The history is forgotten, every open watch ends: the next watch gets 410. The request itself is answered.
    Compact,
    /// The process dies before the request arrives.
    CrashBefore,
    /// The process dies after the request took effect, before the answer.
    CrashAfter,
}

/// A planted fault. Absent fields match anything.
#[derive(Clone, Debug, PartialEq)]
pub struct Fault {
    pub actor: Option<String>,
    pub verb: Option<String>,
    pub resource: Option<String>,
    /// The first matching request that meets it, counted from 1.
    pub nth: u32,
    /// How many meet it from there on.
    pub times: u32,
    pub effect: Effect,
}

impl Fault {
    /// A fault at exactly this point.
    pub fn at(point: &Point, effect: Effect) -> Self {
        Self {
            actor: Some(point.actor.clone()),
            verb: Some(point.verb.to_owned()),
            resource: Some(point.resource.clone()),
            nth: point.nth,
            times: 1,
            effect,
        }
    }

    fn matches(&self, point: &Point) -> bool {
        let is =
            |wanted: &Option<String>, value: &str| wanted.as_deref().is_none_or(|wanted| wanted == value);
        is(&self.actor, &point.actor) && is(&self.verb, point.verb) && is(&self.resource, &point.resource)
    }
}

/// What an interceptor decides about a request.
#[derive(Clone, Debug, PartialEq)]
pub enum Intercept {
    /// Goes on, as the interceptor left it.
    Pass,
    /// Answered without reaching the store.
    Answer(Response),
    /// Takes effect, and this is answered instead.
    ApplyThen(Response),
    /// The process dies before the request arrives.
    Crash,
}

/// Sees every request before the store does, and may rewrite it.
pub type Interceptor = Box<dyn FnMut(&mut Request, &str) -> Intercept + Send>;

/// The planted faults and the count of requests so far.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    planted: Vec<(Fault, u32)>,
    seen: BTreeMap<(String, &'static str, String), u32>,
    met: Vec<(Point, Effect)>,
}

impl Faults {
    /// The requests that met a fault, in order.
    pub fn met(&self) -> &[(Point, Effect)] {
        &self.met
    }

    /// Plants a fault; its count begins now.
    pub fn plant(&mut self, fault: Fault) {
        self.planted.push((fault, 0));
    }

    /// Takes every fault away.
    pub fn clear(&mut self) {
        self.planted.clear();
    }

    /// Counts a request, and tells its point and the effect of the first fault it meets.
    pub(super) fn meet(&mut self, request: &Request, actor: &str) -> (Point, Option<Effect>) {
        let (verb, resource) = verb_and_resource(request);
        let nth = self.seen.entry((actor.to_owned(), verb, resource.clone())).or_default();
        *nth += 1;
        let point = Point { actor: actor.to_owned(), verb, resource, nth: *nth };
        let mut met = None;
        for (fault, count) in self.planted.iter_mut().filter(|(fault, _)| fault.matches(&point)) {
            *count += 1;
            let due = *count >= fault.nth && *count - fault.nth < fault.times;
            if due && met.is_none() {
                met = Some(fault.effect.clone());
            }
        }
        self.met.extend(met.clone().map(|effect| (point.clone(), effect)));
        (point, met)
    }
}

/// The verb as Kubernetes audits it, and the resource with its part.
fn verb_and_resource(request: &Request) -> (&'static str, String) {
    let Route::Objects(target) = route(&request.path) else { return ("get", request.path.clone()) };
    let watched =
        request.query.iter().any(|(key, value)| key == "watch" && (value == "true" || value == "1"));
    let verb = match (request.method, target.name.is_some()) {
        (Method::Get, _) if watched => "watch",
        (Method::Get, true) => "get",
        (Method::Get, false) => "list",
        (Method::Post, _) => "create",
        (Method::Put, _) => "update",
        (Method::Patch, _) if matches!(request.body, Body::Apply(_)) => "apply",
        (Method::Patch, _) => "patch",
        (Method::Delete, true) => "delete",
        (Method::Delete, false) => "deletecollection",
    };
    let plural = target.resource.definition().plural;
    let resource = match target.part {
        Part::Main => plural.to_owned(),
        Part::Status => format!("{plural}/status"),
        Part::Scale => format!("{plural}/scale"),
        Part::Eviction => format!("{plural}/eviction"),
    };
    (verb, resource)
}
