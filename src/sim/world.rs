//! The world as one value: the store, its actors, its faults and its log, moved by requests and by time.

use std::collections::{BTreeSet, VecDeque};

use jiff::Timestamp;
use serde_json::Value;

use super::{
    actors::{Actors, Mesh, PodScript},
    fault::{Effect, Fault, Faults, Intercept, Interceptor, Point},
    store::{Answer, Events, Store, Watch, fault},
};
use crate::api::http::{Body, Method, Request};

/// A request as the store received it.
#[derive(Clone, Debug, PartialEq)]
pub struct Logged {
    pub at: Timestamp,
    pub point: Point,
    pub method: Method,
    pub path: String,
    /// Null where nothing was sent.
    pub body: Value,
    /// What the store answered, also where the process died before it saw that; 0 where the request never arrived.
    pub status: u16,
    /// The store's version after it.
    pub rv: u64,
}

/// A process that died of a fault.
#[derive(Clone, Debug, PartialEq)]
pub struct Crash {
    pub at: Timestamp,
    pub point: Point,
}

/// Requests kept; a story has a few thousand. Beyond it the oldest go, counted in `World::forgotten`.
const LOG_MAX_REQUESTS: usize = 500_000;

/// One API server, its actors and its faults. Reads no clock: `advance` tells it the time.
pub struct World {
    store: Store,
    pub actors: Actors,
    faults: Faults,
    interceptor: Option<Interceptor>,
    log: VecDeque<Logged>,
    forgotten: u64,
    crashes: Vec<Crash>,
    down: BTreeSet<String>,
    watch_epoch: u64,
}

impl World {
    /// A new cluster at this time.
    pub fn new(now: Timestamp) -> Self {
        Self::seeded(now, 0)
    }

    /// A new cluster whose uids and generated names follow from `seed`.
    pub fn seeded(now: Timestamp, seed: u64) -> Self {
        let mut store = Store::new(now, seed);
        let actors = Actors::new(&mut store);
        Self {
            store,
            actors,
            faults: Faults::default(),
            interceptor: None,
            log: VecDeque::new(),
            forgotten: 0,
            crashes: vec![],
            down: BTreeSet::new(),
            watch_epoch: 0,
        }
    }

    /// Answers a request of `actor` at the world's time.
    pub fn handle(&mut self, request: &Request, actor: &str) -> Answer {
        if self.down.contains(actor) {
            return Answer::Crash;
        }
        let mut request = request.clone();
        let intercepted = match &mut self.interceptor {
            Some(interceptor) => interceptor(&mut request, actor),
            None => Intercept::Pass,
        };
        let (point, effect) = self.faults.meet(&request, actor);
        let mut unseen = None;
        let answer = match intercepted {
            Intercept::Crash => Answer::Crash,
            Intercept::Answer(response) => Answer::Response(response),
            Intercept::ApplyThen(response) => {
                self.store.answer(&request, actor);
                Answer::Response(response)
            }
            Intercept::Pass if effect == Some(Effect::CrashAfter) => {
                unseen = Some(self.store.answer(&request, actor));
                Answer::Crash
            }
            Intercept::Pass => self.suffer(effect, &request, actor),
        };
        if answer == Answer::Crash {
            self.kill(point.clone());
        }
        self.book(request, point, unseen.as_ref().unwrap_or(&answer));
        answer
    }

    fn suffer(&mut self, effect: Option<Effect>, request: &Request, actor: &str) -> Answer {
        match effect {
            None => self.store.answer(request, actor),
            Some(Effect::Refuse(code)) => Answer::Response(fault(code)),
            Some(Effect::LoseAnswer) => {
                self.store.answer(request, actor);
                Answer::Response(fault(504))
            }
            Some(Effect::DropWatches) => {
                self.drop_watches();
                self.store.answer(request, actor)
            }
            Some(Effect::Compact) => {
                self.store.compact();
                self.drop_watches();
                self.store.answer(request, actor)
            }
            Some(Effect::CrashBefore | Effect::CrashAfter) => Answer::Crash,
        }
    }

    fn book(&mut self, request: Request, point: Point, answer: &Answer) {
        let body = match request.body {
            Body::Empty => Value::Null,
            Body::Json(body)
            | Body::Merge(body)
            | Body::JsonPatch(body)
            | Body::StrategicMerge(body)
            | Body::Apply(body) => body,
        };
        let status = match answer {
            Answer::Response(response) => response.status,
            Answer::Watch(_) => 200,
            Answer::Crash => 0,
        };
        self.log.push_back(Logged {
            at: self.now(),
            point,
            method: request.method,
            path: request.path,
            body,
            status,
            rv: self.store.version(),
        });
        if self.log.len() > LOG_MAX_REQUESTS {
            self.log.pop_front();
            self.forgotten += 1;
        }
    }

    /// Moves the time to `now` (never backwards) and lets the actors do what is due, each at its own time.
    pub fn advance(&mut self, now: Timestamp) {
        while let Some(due) = self.actors.next_due(&self.store).filter(|due| *due <= now) {
            self.store.set_now(due);
            self.actors.run(&mut self.store);
        }
        self.store.set_now(now);
        self.actors.elapse(&self.store);
    }

    /// When an actor next has something to do; not later than now where it has already.
    pub fn next_due(&self) -> Option<Timestamp> {
        self.actors.next_due(&self.store)
    }

    /// The time of the last `advance`.
    pub fn now(&self) -> Timestamp {
        self.store.now()
    }

    /// The objects.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// The objects, to be changed past every fault and without an entry in the log.
    pub fn store_mut(&mut self) -> &mut Store {
        &mut self.store
    }

    /// From now on pods of this image behave as `script` has it, and those that run crash now.
    pub fn break_pods(&mut self, script: PodScript) {
        self.actors.kubelet.break_pods(&self.store, script);
    }

    /// What the proxies serve and what came of it.
    pub fn mesh(&self) -> &Mesh {
        &self.actors.mesh
    }

    /// What a watch that stands at `rv` is to be told.
    pub fn events_since(&self, watch: &Watch, rv: u64) -> Events {
        self.store.events_since(watch, rv)
    }

    /// Every request so far, oldest first.
    pub fn log(&self) -> impl DoubleEndedIterator<Item = &Logged> + ExactSizeIterator {
        self.log.iter()
    }

    /// How many requests the log had to forget.
    pub fn forgotten(&self) -> u64 {
        self.forgotten
    }

    /// Plants a fault; its count begins now.
    pub fn plant(&mut self, fault: Fault) {
        self.faults.plant(fault);
    }

    /// Takes every planted fault away; crashed processes stay down until revived.
    pub fn clear_faults(&mut self) {
        self.faults.clear();
    }

    /// The requests that met a planted fault, in order.
    pub fn met(&self) -> &[(Point, Effect)] {
        self.faults.met()
    }

    /// Puts somebody between clients and store, in place of whoever was there.
    pub fn intercept(&mut self, interceptor: Interceptor) {
        self.interceptor = Some(interceptor);
    }

    /// The actor's process dies here. What it asks is not answered before it is revived.
    pub fn kill(&mut self, point: Point) {
        self.down.insert(point.actor.clone());
        self.crashes.push(Crash { at: self.now(), point });
    }

    /// The processes that died of a fault, in order.
    pub fn crashes(&self) -> &[Crash] {
        &self.crashes
    }

    /// True from the crash of an actor until it is started again.
    pub fn is_down(&self, actor: &str) -> bool {
        self.down.contains(actor)
    }

    /// Answers an actor again after its crash.
    pub fn revive(&mut self, actor: &str) {
        self.down.remove(actor);
    }

    /// Ends every open watch, as a restart of the API server does.
    pub fn drop_watches(&mut self) {
        self.watch_epoch += 1;
    }

    /// Watches opened in an earlier epoch are over.
    pub fn watch_epoch(&self) -> u64 {
        self.watch_epoch
    }
}
