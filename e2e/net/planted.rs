//! Mistakes that the net must find: each one spoils what passes between observation, decision and requests, and
//! stands for one line that somebody could get wrong.

use std::{sync::Arc, time::Duration};

use serde_json::{Value, json};
use serin::{
    api::http::{Body, Method, Request},
    apply::render::{Stage, Step as Sent},
    decide::{
        memory::RunStatus,
        observed::{ExposureHistory, Observed, OwnedRun, Slot},
        plan::{Action, NewRun, Plan, Prepare, Retire, ScaleDown, ShedReason},
        spec::Step,
    },
    domain::verdict::Verdict,
    sim::direct::Tamper,
};

/// A mistake: what it is, and who makes it.
pub(crate) struct Planted {
    pub(crate) name: &'static str,
    pub(crate) make: fn() -> Box<dyn Tamper + Send>,
}

/// Spoils observations, plans and requests; each mistake uses one of them or two.
#[derive(Default)]
struct By {
    observed: Option<fn(&mut Observed)>,
    plan: Option<fn(&Observed, &mut Plan)>,
    steps: Option<fn(&mut Vec<Sent>)>,
}

impl Tamper for By {
    fn observed(&mut self, observed: &mut Observed) {
        self.observed.iter().for_each(|spoil| spoil(observed));
    }

    fn plan(&mut self, observed: &Observed, plan: &mut Plan) {
        self.plan.iter().for_each(|spoil| spoil(observed, plan));
    }

    fn steps(&mut self, steps: &mut Vec<Sent>) {
        self.steps.iter().for_each(|spoil| spoil(steps));
    }
}

fn observed(spoil: fn(&mut Observed)) -> Box<dyn Tamper + Send> {
    Box::new(By { observed: Some(spoil), ..By::default() })
}

fn plan(spoil: fn(&Observed, &mut Plan)) -> Box<dyn Tamper + Send> {
    Box::new(By { plan: Some(spoil), ..By::default() })
}

fn steps(spoil: fn(&mut Vec<Sent>)) -> Box<dyn Tamper + Send> {
    Box::new(By { steps: Some(spoil), ..By::default() })
}

/// Every mistake.
pub(crate) const ALL: &[Planted] = &[
    Planted { name: "scale-down before shed", make: || Box::new(scaled_first()) },
    // The verdict is written down before traffic is taken away.
    Planted {
        name: "booking before shed",
        make: || steps(|sent| sent.sort_by_key(|one| one.stage == Stage::Shed)),
    },
    Planted { name: "raise on a stale read", make: || steps(without_version) },
    // Pods that were asked for are taken for pods that serve.
    Planted {
        name: "raise without ready pods",
        make: || observed(|seen| seen.replica_sets.iter_mut().for_each(|set| set.available = set.replicas)),
    },
    Planted { name: "abort forgotten on restart", make: || observed(abort_forgotten) },
    Planted { name: "promotion without a verdict", make: || observed(no_analysis) },
    // Serin refuses Rollouts with a DestinationRule as yet and writes none: this shows that the law is there.
    Planted { name: "DestinationRule relabelled to an empty ReplicaSet", make: || steps(relabelled) },
    Planted { name: "service switched after the final weight flip", make: || observed(switched_late) },
    Planted { name: "two reverts", make: || observed(reverts_forgotten) },
    Planted { name: "retry raises without a new run", make: || Box::new(old_run_counts()) },
    Planted { name: "own write taken for foreign", make: || observed(own_is_foreign) },
    Planted { name: "duplicate ReplicaSet", make: || Box::new(Twins::default()) },
    // Further ones.
    Planted { name: "no drain before scale-down", make: || observed(nothing_lingers) },
    // The stable side keeps what the canary gets.
    Planted { name: "weights that do not add up", make: || steps(stable_keeps) },
    // A weight that somebody raised is left alone.
    Planted {
        name: "foreign raise not cut",
        make: || {
            plan(|_, plan| {
                plan.shed.weights =
                    plan.shed.weights.take().filter(|shed| shed.why != ShedReason::AboveCeiling)
            })
        },
    },
    Planted { name: "no next look", make: || plan(|_, plan| plan.wake = None) },
    Planted { name: "pauses cut short", make: || observed(short_pauses) },
    // Status written over whatever is there.
    Planted { name: "status without a version", make: || steps(status_without_version) },
    // Neither the record nor the process remembers how often weights were put back.
    Planted {
        name: "hands not respected",
        make: || {
            observed(|seen| {
                seen.record.iter_mut().for_each(|record| record.reasserts.clear());
                seen.exposure.put_back.clear();
            })
        },
    },
    // The routes stay ours for ever.
    Planted {
        name: "routes never given back",
        make: || plan(|_, plan| plan.retire.retain(|one| !matches!(one, Retire::Release(_)))),
    },
];

/// The canary is sized down by the first request of the plan that sheds.
fn scaled_first() -> By {
    By {
        plan: Some(|seen, plan| {
            let canary = seen.replica_sets.iter().find(|set| Some(&set.hash) == seen.new_hash.as_ref());
            if let Some(set) = canary.filter(|set| plan.shed.weights.is_some() && set.replicas > 0) {
                plan.retire = vec![Retire::ScaleDown(ScaleDown {
                    replica_set: set.name.clone(),
                    resource_version: set.resource_version.clone(),
                    hash: set.hash.clone(),
                    revision: set.revision,
                    from: set.replicas,
                    to: 0,
                    desired: set.replicas,
                    clear_deadline: false,
                })];
            }
        }),
        steps: Some(|sent| {
            if sent.iter().any(|one| one.action == Action::Shed) {
                sent.sort_by_key(|one| one.stage != Stage::Retire);
            }
        }),
        ..By::default()
    }
}

/// Weights without the version they were decided on.
#[expect(clippy::ptr_arg, reason = "one of many that change a list")]
fn without_version(sent: &mut Vec<Sent>) {
    for one in sent.iter_mut().filter(|one| one.action == Action::Weights) {
        retain_operations(one, |operation| operation["path"] != "/metadata/resourceVersion");
    }
}

fn retain_operations(one: &mut Sent, keep: impl Fn(&Value) -> bool) {
    if let Body::JsonPatch(Value::Array(operations)) = &mut one.request.body {
        operations.retain(keep);
    }
}

#[expect(clippy::ptr_arg, reason = "one of many that change a list")]
fn stable_keeps(sent: &mut Vec<Sent>) {
    for one in sent.iter_mut().filter(|one| one.action == Action::Weights) {
        retain_operations(one, |operation| operation["path"] != "/spec/http/0/route/0/weight");
    }
}

#[expect(clippy::ptr_arg, reason = "one of many that change a list")]
fn status_without_version(sent: &mut Vec<Sent>) {
    for one in sent.iter_mut().filter(|one| one.action == Action::Status) {
        if let Body::Merge(body) = &mut one.request.body {
            body["metadata"] = json!({});
        }
    }
}

/// A process that has just begun does not read `status.abort`.
fn abort_forgotten(seen: &mut Observed) {
    if seen.exposure.past.is_empty() {
        seen.rollout.memory.abort = false;
        seen.rollout.memory.aborted_at = None;
    }
}

/// A subset of a DestinationRule leads to the new ReplicaSet as soon as that is made.
fn relabelled(sent: &mut Vec<Sent>) {
    let is_new = |one: &Sent| matches!(one.action, Action::CreateReplicaSet(_));
    let Some(at) = sent.iter().position(is_new) else { return };
    let Some(Body::Json(new)) = sent.get(at).map(|one| &one.request.body) else { return };
    let hash = new.pointer("/spec/template/metadata/labels/rollouts-pod-template-hash").cloned();
    let label = "/spec/subsets/1/labels/rollouts-pod-template-hash";
    let request = Request {
        method: Method::Patch,
        path: "/apis/networking.istio.io/v1alpha3/namespaces/shop/destinationrules/myapp".to_owned(),
        query: vec![],
        body: Body::JsonPatch(json!([{"op": "add", "path": label, "value": hash}])),
    };
    let action = Action::SwitchService("myapp".to_owned());
    sent.insert(at + 1, Sent { stage: Stage::Prepare, action, request });
}

/// An analysis step is complete at once.
fn no_analysis(seen: &mut Observed) {
    if let Ok(spec) = &mut seen.rollout.spec {
        for step in &mut Arc::make_mut(spec).steps {
            if *step == Step::Analysis {
                *step = Step::Pause { duration: Some(Duration::ZERO), raw: None };
            }
        }
    }
}

fn short_pauses(seen: &mut Observed) {
    if let Ok(spec) = &mut seen.rollout.spec {
        for step in &mut Arc::make_mut(spec).steps {
            if let Step::Pause { duration: Some(duration), .. } = step {
                *duration /= 2;
            }
        }
    }
}

/// After promotion the weights go back while the stable Service still selects the previous version.
fn switched_late(seen: &mut Observed) {
    let stable = seen.rollout.memory.stable.clone();
    let canary = seen.canary_service.as_ref().and_then(|service| service.selected.clone());
    let has_weight = seen.exposure.present.as_ref().is_some_and(|(_, now)| now.canary.percent() == 100);
    if let Some(service) = seen.stable_service.as_mut().filter(|_| has_weight && canary == stable) {
        service.selected.clone_from(&stable);
        let ExposureHistory { present, past, unseen, .. } = &mut seen.exposure;
        let all = present.iter_mut().chain(past).chain(unseen);
        all.for_each(|(_, then)| then.stable_leads_to.clone_from(&stable));
    }
}

/// Neither record nor memory know of a revert that was asked for.
fn reverts_forgotten(seen: &mut Observed) {
    seen.last.retain(|last| !matches!(last.action, Action::SelfHeal(_)));
    seen.record.iter_mut().for_each(|record| record.self_heals.clear());
}

/// At an analysis step a good run of before counts, and no other is made.
fn old_run_counts() -> By {
    By {
        observed: Some(|seen| {
            let index = seen.rollout.memory.step_index.and_then(|index| usize::try_from(index).ok());
            let good = good_runs(seen).find(|run| run.slot == index.map(Slot::Step));
            if let Some(run) = good {
                let (name, phase) = (run.run.name.clone(), run.run.status.phase);
                seen.rollout.memory.step_run = Some(RunStatus { name, phase, message: String::new() });
            }
        }),
        plan: Some(|seen, plan| {
            let is_there = |new: &NewRun| {
                let index = new.labels.get("step-index").and_then(|index| index.parse().ok());
                good_runs(seen).any(|run| index.is_some() && run.slot == index.map(Slot::Step))
            };
            plan.prepare.retain(|action| !matches!(action, Prepare::CreateRun(new) if is_there(new)));
        }),
        ..By::default()
    }
}

/// The successful runs of the wanted version.
fn good_runs(seen: &Observed) -> impl Iterator<Item = &OwnedRun> {
    let is_good = |run: &&OwnedRun| run.run.status.phase.verdict() == Some(Verdict::Successful);
    seen.runs.iter().filter(|run| run.hash == seen.new_hash).filter(is_good)
}

fn own_is_foreign(seen: &mut Observed) {
    if let Some(service) = &mut seen.virtual_service {
        service.last_writer = service.last_writer.take().or(Some("rollouts-controller".to_owned()));
        service.is_last_written_by_us = false;
    }
}

/// Traffic is over the moment that the weight is.
fn nothing_lingers(seen: &mut Observed) {
    seen.exposure.since = jiff::Timestamp::UNIX_EPOCH;
    seen.exposure.past.clear();
    seen.exposure.unseen.clear();
    seen.exposure.present.iter_mut().for_each(|(at, _)| *at = jiff::Timestamp::UNIX_EPOCH);
}

/// Each ReplicaSet is made under a new name.
#[derive(Default)]
struct Twins(u32);

impl Tamper for Twins {
    fn plan(&mut self, _: &Observed, plan: &mut Plan) {
        for action in &mut plan.prepare {
            if let Prepare::CreateReplicaSet(new) = action {
                self.0 += 1;
                new.name = format!("{}-{}", new.name, self.0);
            }
        }
    }
}
