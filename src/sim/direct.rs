//! Door 1: the controller's decisions on the world without a socket, a task or a clock.
//!
//! Each step observes, decides, checks the invariants, renders and hands the requests to the store, in microseconds.
//! Metrics are a function of the query and the time.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::Value;

use super::{
    store::{Answer, Resource},
    world::World,
};
use crate::{
    api::{self, Objects, ProcessMemory, http::Response, rollout, run, traffic, workload},
    apply::render::{Stage, Versions, render},
    decide::{
        self,
        analysis::{Outcome, Sample, Want},
        invariants::{self, Violation},
        observed::{Exposure, ExposureHistory, Settings},
        plan::{Attempt, Plan},
    },
    domain::Key,
};

/// Answers a want at a time.
pub type Metrics = Box<dyn FnMut(&World, &Want, Timestamp) -> Outcome + Send>;

/// One controller process for one Rollout.
pub struct Direct {
    key: Key,
    settings: Settings,
    metrics: Metrics,
    /// What the process remembers.
    pub process: ProcessMemory,
    /// Every plan that did something, with the time it was made.
    pub plans: Vec<(Timestamp, Plan)>,
    /// What broke an invariant.
    pub violations: Vec<(Timestamp, Violation)>,
}

impl Direct {
    /// A process that starts now.
    pub fn start(world: &World, key: Key, settings: Settings, metrics: Metrics) -> Self {
        let process = ProcessMemory {
            exposure: ExposureHistory::begin(world.now()),
            last: vec![],
            samples: BTreeMap::new(),
        };
        Self { key, settings, metrics, process, plans: vec![], violations: vec![] }
    }

    /// Forgets everything, as a restart does.
    pub fn restart(&mut self, world: &World) {
        self.process = ProcessMemory {
            exposure: ExposureHistory::begin(world.now()),
            last: vec![],
            samples: BTreeMap::new(),
        };
    }

    /// One pass. Returns when the next one is due; `None` when only a change can bring one about.
    pub fn pass(&mut self, world: &mut World) -> Option<Timestamp> {
        let now = world.now();
        let observed = self.observe(world)?;
        let plan = decide::step(&observed, now);
        self.violations
            .extend(invariants::check(&observed, &plan, now).into_iter().map(|violation| (now, violation)));
        self.carry_out(world, &plan, now);
        self.sample(world, &plan, now);
        let wake = plan.wake.map(|wake| wake.at);
        let due = plan.measure.iter().map(|want| want.due).min();
        self.plans.push((now, plan));
        wake.into_iter().chain(due).min()
    }

    fn observe(&mut self, world: &World) -> Option<decide::observed::Observed> {
        let store = world.store();
        let parsed = rollout::parse(
            store.object(Resource::Rollouts, &self.key.namespace, &self.key.name)?.as_ref().clone(),
        );
        let all = |resource| store.objects(resource).map(|(_, object)| object.as_ref());
        let sets: Vec<_> = all(Resource::ReplicaSets).filter_map(workload::parse_replica_set).collect();
        let runs: Vec<_> = all(Resource::AnalysisRuns).map(run::parse).collect();
        let traffic = parsed.rollout.traffic.clone();
        let service = |name: Option<&String>| {
            store
                .object(Resource::Services, &self.key.namespace, name?)
                .map(|object| workload::parse_service(object))
        };
        let stable_service = service(traffic.as_ref().map(|traffic| &traffic.services.stable));
        let canary_service = service(traffic.as_ref().map(|traffic| &traffic.services.canary));
        let routes = traffic.as_ref().and_then(|traffic| {
            store.object(
                Resource::VirtualServices,
                &traffic.virtual_service.namespace,
                &traffic.virtual_service.name,
            )
        });
        let routes = routes.map(|object| traffic::parse_virtual_service(object));
        let record = store
            .object(Resource::RolloutRecords, &self.key.namespace, &self.key.name)
            .map(|object| api::record::parse(object));
        let template = |scope, name: &str| match scope {
            api::analysis::Scope::Namespace => {
                store.object(Resource::AnalysisTemplates, &self.key.namespace, name).map(AsRef::as_ref)
            }
            api::analysis::Scope::Cluster => {
                store.object(Resource::ClusterAnalysisTemplates, "", name).map(AsRef::as_ref)
            }
        };
        let objects = Objects {
            rollout: &parsed,
            replica_sets: sets.iter().collect(),
            stable_service: stable_service.as_ref(),
            canary_service: canary_service.as_ref(),
            virtual_service: routes.as_ref(),
            runs: runs.iter().collect(),
            template: &template,
            record: record.as_ref(),
            records_available: true,
        };
        let first = api::observed(&objects, self.process.clone(), self.settings);
        self.process.exposure.note(world.now(), Exposure::of(&first), self.settings.data_plane_delay);
        Some(decide::observed::Observed { exposure: self.process.exposure.clone(), ..first })
    }

    /// Sends the plan's requests in order; stops where production stops.
    fn carry_out(&mut self, world: &mut World, plan: &Plan, now: Timestamp) {
        let mut shed_failed = false;
        for step in render(plan, &Versions::default(), now) {
            if shed_failed && step.stage > Stage::Memory {
                return;
            }
            let response = match world.handle(&step.request, "controller") {
                Answer::Response(response) => response,
                Answer::Watch(_) | Answer::Crash => Response { status: 0, body: Value::Null },
            };
            let is_good = response.is_success();
            let attempt = Attempt {
                action: step.action.clone(),
                at: now,
                status: response.status,
                reason: response.reason().to_owned(),
                message: response.message().to_owned(),
            };
            self.process.last.retain(|last| last.action != attempt.action);
            self.process.last.push(attempt);
            let exists = response.status == 409 && response.reason() == "AlreadyExists";
            match (is_good || exists, step.stage, &step.action) {
                (true, ..)
                | (false, Stage::Memory, decide::plan::Action::Record)
                | (false, Stage::Tell, _) => {}
                (false, Stage::Shed, _) => shed_failed = true,
                (false, ..) => return,
            }
        }
    }

    fn sample(&mut self, world: &World, plan: &Plan, now: Timestamp) {
        for want in plan.measure.iter().filter(|want| want.due <= now) {
            let slots = self.process.samples.entry(want.run.clone()).or_default();
            if slots.get(&want.metric).is_some_and(|sample| sample.ordinal == want.ordinal) {
                continue;
            }
            let outcome = (self.metrics)(world, want, now);
            let sample = Sample {
                ordinal: want.ordinal,
                started_at: now,
                finished_at: now,
                outcome,
                metadata: BTreeMap::new(),
            };
            slots.insert(want.metric.clone(), sample);
        }
    }
}
