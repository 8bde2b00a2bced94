//! The mesh: serves a VirtualService a while after it changed, and knows which request went where.
//!
//! Like istiod it waits until the configuration has been quiet for a moment before it tells the proxies, but not
//! for ever; like Envoy it keeps what it serves when the new configuration cannot be taken, and sends to
//! endpoints that died until it is told of their end.

use std::{collections::BTreeMap, time::Duration};

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::condition;
use crate::sim::store::{Key, Resource, Selectors, Store, at, tag, text};

/// A part of the traffic of a VirtualService.
#[derive(Clone, Debug, PartialEq)]
pub struct Share {
    /// Host of the destination, and its subset behind a slash.
    pub destination: String,
    /// `rollouts-pod-template-hash` of the pods, else `pod-template-hash`; empty where it leads to no pod.
    pub hash: String,
    /// Image tag of the pods' first container; empty where it leads to no pod.
    pub version: String,
    /// Of all requests, 0 to 1.
    pub share: f64,
    /// False where the requests fail: no endpoint, or one that is dead.
    pub can_serve: bool,
}

/// Requests counted so far.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Served {
    pub requests: f64,
    /// Of them, those that met no living pod.
    pub failed: f64,
}

/// What the proxies serve, since when, and what came of it.
#[derive(Clone, Debug)]
pub struct Mesh {
    /// How long the configuration has to be quiet before the proxies are told; 100 ms, as measured.
    pub quiet: Duration,
    /// How long a steady churn can hold that back; 10 s, as measured.
    pub ceiling: Duration,
    /// Steady load on each VirtualService, requests a second.
    pub requests_per_second: f64,
    /// First and last change the proxies were not told of.
    pending: Option<(Timestamp, Timestamp)>,
    pushed: BTreeMap<Key, Vec<Branch>>,
    history: BTreeMap<Key, Vec<(Timestamp, Vec<Share>)>>,
    served: BTreeMap<Key, BTreeMap<String, Served>>,
    counted_upto: Timestamp,
    pods_changed: bool,
}

/// A weighted destination as the proxies were told of it.
#[derive(Clone, Debug, PartialEq)]
struct Branch {
    destination: String,
    weight: i64,
    endpoints: Vec<Endpoint>,
}

#[derive(Clone, Debug, PartialEq)]
struct Endpoint {
    uid: String,
    hash: String,
    version: String,
}

impl Mesh {
    pub(super) fn new(now: Timestamp) -> Self {
        Self {
            quiet: Duration::from_millis(100),
            ceiling: Duration::from_secs(10),
            requests_per_second: 100.0,
            pending: None,
            pushed: BTreeMap::new(),
            history: BTreeMap::new(),
            served: BTreeMap::new(),
            counted_upto: now,
            pods_changed: false,
        }
    }

    /// How the traffic of a VirtualService is split right now.
    pub fn serving(&self, route: &Key) -> &[Share] {
        let last = self.history.get(route).and_then(|history| history.last());
        last.map(|(_, shares)| shares.as_slice()).unwrap_or_default()
    }

    /// Every split a VirtualService's traffic had, with the time it began.
    pub fn history(&self, route: &Key) -> &[(Timestamp, Vec<Share>)] {
        self.history.get(route).map(Vec::as_slice).unwrap_or_default()
    }

    /// Requests by version since the beginning. Those that led to no pod are under the empty version.
    pub fn served(&self, route: &Key) -> BTreeMap<String, Served> {
        self.served.get(route).cloned().unwrap_or_default()
    }

    /// The VirtualServices with traffic.
    pub fn routes(&self) -> impl Iterator<Item = &Key> {
        self.history.keys()
    }

    /// What was written and not yet served: `true` while the proxies lag behind.
    pub fn is_behind(&self) -> bool {
        self.pending.is_some()
    }

    pub(super) fn see_config(&mut self, now: Timestamp) {
        let (first, _) = self.pending.unwrap_or((now, now));
        self.pending = Some((first, now));
    }

    pub(super) fn see_pod(&mut self) {
        self.pods_changed = true;
    }

    pub(super) fn next_due(&self) -> Option<Timestamp> {
        let (first, last) = self.pending?;
        let at = |from: Timestamp, wait: Duration| {
            let wait = SignedDuration::try_from(wait).unwrap_or(SignedDuration::MAX);
            from.saturating_add(wait).unwrap_or(Timestamp::MAX)
        };
        Some(at(last, self.quiet).min(at(first, self.ceiling)))
    }

    /// Counts the requests up to `now` by the split in force.
    pub(super) fn elapse(&mut self, now: Timestamp) {
        let seconds = now.duration_since(self.counted_upto).as_secs_f64();
        if seconds <= 0.0 {
            return;
        }
        self.counted_upto = now;
        for (route, history) in &self.history {
            let Some((_, shares)) = history.last() else { continue };
            let counts = self.served.entry(route.clone()).or_default();
            for share in shares {
                let requests = share.share * self.requests_per_second * seconds;
                let count = counts.entry(share.version.clone()).or_default();
                count.requests += requests;
                if !share.can_serve {
                    count.failed += requests;
                }
            }
        }
    }

    pub(super) fn run(&mut self, store: &Store) {
        let due = self.next_due().is_some_and(|due| due <= store.now());
        if due {
            self.pending = None;
            self.push(store);
        }
        if due || std::mem::take(&mut self.pods_changed) {
            self.judge(store);
        }
    }

    /// Tells the proxies the configuration as it is now.
    fn push(&mut self, store: &Store) {
        let mut pushed = BTreeMap::new();
        for (key, route) in store.objects(Resource::VirtualServices) {
            let branches = match branches(store, key, route) {
                Some(branches) => branches,
                None => self.pushed.get(key).cloned().unwrap_or_default(),
            };
            pushed.insert(key.clone(), branches);
        }
        self.pushed = pushed;
    }

    /// Books the split of each route where it is another than before.
    fn judge(&mut self, store: &Store) {
        let gone: Vec<Key> =
            self.history.keys().filter(|key| !self.pushed.contains_key(*key)).cloned().collect();
        for key in gone {
            self.book(key, store.now(), vec![]);
        }
        let now: Vec<_> =
            self.pushed.iter().map(|(key, branches)| (key.clone(), shares(store, branches))).collect();
        for (key, shares) in now {
            self.book(key, store.now(), shares);
        }
    }

    fn book(&mut self, key: Key, now: Timestamp, shares: Vec<Share>) {
        let history = self.history.entry(key).or_default();
        if history.last().is_none_or(|(_, last)| *last != shares) {
            history.push((now, shares));
        }
    }
}

/// The destinations that plain requests are sent to; `None` where the proxies would refuse the configuration.
fn branches(store: &Store, key: &Key, route: &Value) -> Option<Vec<Branch>> {
    let routes = plain_route(route).and_then(|route| route.get("route")).and_then(Value::as_array);
    let routes = routes.map(Vec::as_slice).unwrap_or_default();
    let mut branches = vec![];
    for entry in routes {
        let weight = match entry.get("weight") {
            None if routes.len() == 1 => 100,
            None => 0,
            Some(weight) => weight.as_i64().filter(|weight| *weight >= 0)?,
        };
        let (host, subset) = (text(entry, "/destination/host"), text(entry, "/destination/subset"));
        branches.push(Branch {
            destination: if subset.is_empty() { host.to_owned() } else { format!("{host}/{subset}") },
            weight,
            endpoints: known_endpoints(store, &key.namespace, host, subset),
        });
    }
    let total = branches.iter().fold(0, |sum: i64, branch| sum.saturating_add(branch.weight));
    (branches.is_empty() || total > 0).then_some(branches)
}

/// The first route that a request without special headers takes.
fn plain_route(route: &Value) -> Option<&Value> {
    let entries = |kind: &str| at(route, &format!("/spec/{kind}")).and_then(Value::as_array);
    if let Some(http) = entries("http") {
        let plain = |entry: &&Value| {
            let conditions = entry.get("match").and_then(Value::as_array);
            conditions.is_none_or(|all| all.is_empty() || all.iter().any(is_everything))
        };
        return http.iter().find(plain);
    }
    entries("tls").or_else(|| entries("tcp"))?.first()
}

/// True for a match on nothing, or on every path.
fn is_everything(condition: &Value) -> bool {
    let Some(fields) = condition.as_object() else { return true };
    fields.iter().all(|(field, value)| match field.as_str() {
        "uri" => text(value, "/prefix") == "/",
        "name" | "gateways" | "port" => true,
        _ => false,
    })
}

/// What the endpoint slices name as ready for a host, narrowed to a subset.
fn known_endpoints(store: &Store, namespace: &str, host: &str, subset: &str) -> Vec<Endpoint> {
    let (name, namespace) = match host.split('.').collect::<Vec<_>>().as_slice() {
        [name, namespace, "svc", ..] => ((*name).to_owned(), (*namespace).to_owned()),
        _ => (host.to_owned(), namespace.to_owned()),
    };
    let labels = match subset {
        "" => Some(Selectors::default()),
        subset => subset_labels(store, &namespace, host, &name, subset),
    };
    let Some(labels) = labels else { return vec![] };
    let mut found = vec![];
    for (_, slice) in store.objects_in(Resource::EndpointSlices, &namespace) {
        if text(slice, "/metadata/labels/kubernetes.io~1service-name") != name {
            continue;
        }
        for endpoint in slice.get("endpoints").and_then(Value::as_array).into_iter().flatten() {
            let ready = at(endpoint, "/conditions/ready").and_then(Value::as_bool).unwrap_or(true);
            let pod = store.object(Resource::Pods, &namespace, text(endpoint, "/targetRef/name"));
            if let Some(pod) = pod.filter(|pod| ready && labels.matches(pod)) {
                found.push(known(pod));
            }
        }
    }
    found
}

fn known(pod: &Value) -> Endpoint {
    let label = |name: &str| text(pod, &format!("/metadata/labels/{name}"));
    let hash = match label("rollouts-pod-template-hash") {
        "" => label("pod-template-hash"),
        hash => hash,
    };
    Endpoint {
        uid: text(pod, "/metadata/uid").to_owned(),
        hash: hash.to_owned(),
        version: tag(text(pod, "/spec/containers/0/image")).to_owned(),
    }
}

/// The labels of a subset by the DestinationRule of the host; `None` where there is no such subset.
fn subset_labels(store: &Store, namespace: &str, host: &str, name: &str, subset: &str) -> Option<Selectors> {
    let rule = store
        .objects_in(Resource::DestinationRules, namespace)
        .find(|(_, rule)| [host, name].contains(&text(rule, "/spec/host")))?;
    let subsets = rule.1.pointer("/spec/subsets").and_then(Value::as_array)?;
    let found = subsets.iter().find(|one| text(one, "/name") == subset)?;
    Some(found.get("labels").and_then(Value::as_object).map(Selectors::of_map).unwrap_or_default())
}

/// The branches as parts of all requests, by what lives at their ends.
fn shares(store: &Store, branches: &[Branch]) -> Vec<Share> {
    let total = branches.iter().fold(0, |sum: i64, branch| sum.saturating_add(branch.weight));
    let mut found: BTreeMap<(String, String, String, bool), f64> = BTreeMap::new();
    for branch in branches.iter().filter(|branch| branch.weight > 0) {
        let part = branch.weight as f64 / total as f64;
        if branch.endpoints.is_empty() {
            let nowhere = (branch.destination.clone(), String::new(), String::new(), false);
            *found.entry(nowhere).or_default() += part;
        }
        for endpoint in &branch.endpoints {
            let key = (
                branch.destination.clone(),
                endpoint.hash.clone(),
                endpoint.version.clone(),
                is_alive(store, &endpoint.uid),
            );
            *found.entry(key).or_default() += part / branch.endpoints.len() as f64;
        }
    }
    let share = |((destination, hash, version, can_serve), share): ((String, String, String, bool), f64)| {
        Share { destination, hash, version, share, can_serve }
    };
    found.into_iter().map(share).collect()
}

/// A pod answers while its containers run and are ready, also during its grace.
fn is_alive(store: &Store, uid: &str) -> bool {
    let Some(pod) = store.by_uid(uid).and_then(|(resource, key)| store.at(resource, key)) else {
        return false;
    };
    let ready = condition(pod, "Ready").is_some_and(|ready| text(ready, "/status") == "True");
    ready && at(pod, "/status/containerStatuses/0/state/running").is_some()
}
