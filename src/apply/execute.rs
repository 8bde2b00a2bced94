//! The requests of one plan, one after another. What a failure stops is decided here and nowhere else.

use std::{task::Poll, time::Duration};

use futures::FutureExt;
use serde_json::Value;

use super::{
    gate::Place,
    render::{Stage, Step, without_mark},
    send::{LIMIT, Sender},
};
use crate::{
    api::http::{Body, Method, Request, Response},
    decide::plan::{Action, Attempt},
};

/// The time for a request after a shed that nobody answered: the shed is to be tried again soon, but where only the writes of one
/// kind hang (an admission webhook of theirs is gone), the verdict can be booked meanwhile.
const HURRY: Duration = Duration::from_secs(1);

/// What the requests of one plan came to.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Executed {
    /// Each request that was sent, in order.
    pub attempts: Vec<Attempt>,
    /// Actions that the server refused or did not answer and that a later pass has to try again.
    pub failed: Vec<Action>,
    /// Why the rest was not sent, if it was not.
    pub halted: Option<Halt>,
}

/// Why the rest of a plan is not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::IntoStaticStr)]
pub enum Halt {
    /// A request failed that the rest builds on.
    Failed,
    /// A verdict or an abort arrived: the plan is out of date.
    News,
    /// Another replica leads.
    NotLeader,
}

/// Who is asked and told while the requests of a plan are sent.
pub trait Observer: Sync {
    /// Asked before each request but the shed: whether, and why, the rest is not to be sent.
    fn halt(&self) -> Option<Halt>;

    /// Told that the next request has to wait for its turn, and what was done before it.
    fn waits(&self, done: &Executed);

    /// Ends when something has happened for which a request that still waits for its turn must not be waited for.
    fn overtaken(&self) -> impl Future<Output = ()> + Send;

    /// Shown the live VirtualService when the server refuses a shed. Gives the shed for what it shows; `None` where
    /// nothing needs to be lowered any more.
    fn again(&self, live: &Value) -> Option<Step>;

    /// Given each object that the server returned, at once.
    fn returned(&self, object: Value);
}

/// Sends `steps` in order. The next one is asked for after the answer to the one before it.
pub async fn execute(
    sender: &Sender,
    steps: impl Iterator<Item = Step>,
    observer: &impl Observer,
) -> Executed {
    let mut run = Run { sender, observer, limit: LIMIT, shed: None, done: Executed::default() };
    run.all(steps).await;
    run.done
}

struct Run<'a, O> {
    sender: &'a Sender,
    observer: &'a O,
    /// The time for one request.
    limit: Duration,
    /// Whether the plan's shed was taken; `None` where it has none.
    shed: Option<bool>,
    done: Executed,
}

impl<O: Observer> Run<'_, O> {
    async fn all(&mut self, steps: impl Iterator<Item = Step>) {
        let mut shed_failed = false;
        for step in steps {
            if shed_failed && step.stage > Stage::Memory {
                self.done.halted = Some(Halt::Failed);
                return;
            }
            let ok = if step.action == Action::Shed {
                let ok = self.shed(&step).await;
                self.shed = Some(ok);
                ok
            } else {
                match self.other(&step).await {
                    Ok(ok) => ok,
                    Err(halt) => {
                        self.done.halted = Some(halt);
                        return;
                    }
                }
            };
            if ok {
                continue;
            }
            self.done.failed.push(step.action.clone());
            match stops(&step) {
                Stops::Nothing => {}
                Stops::AllButMemory => shed_failed = true,
                Stops::Rest => {
                    self.done.halted = Some(Halt::Failed);
                    return;
                }
            }
        }
    }

    /// Sends what is not a shed, once it may be sent.
    async fn other(&mut self, step: &Step) -> Result<bool, Halt> {
        let place = self.admitted(&step.action).await?;
        // Time may have passed.
        if let Some(halt) = self.observer.halt() {
            return Err(halt);
        }
        let response = self.sender.send(&step.request, self.limit).await;
        self.note(&step.action, &response);
        if let Some(read) = second_look(step, &response) {
            self.look(&read).await;
        }
        drop(place);
        Ok(is_done(&response, &step.action))
    }

    /// Waits for its turn. What follows a shed, and the measurements that the next one may depend on, go ahead of the line.
    async fn admitted(&self, action: &Action) -> Result<Place, Halt> {
        let turn = async {
            match (self.shed, action) {
                // The next attempt at the shed must not wait for this.
                (Some(false), _) => self.sender.admitted_ahead().now_or_never().ok_or(Halt::Failed),
                (Some(true), _) | (None, Action::RunStatus(_)) => Ok(self.sender.admitted_ahead().await),
                (None, _) => Ok(self.sender.admitted().await),
            }
        };
        let mut turn = std::pin::pin!(turn);
        if let Poll::Ready(place) = futures::poll!(turn.as_mut()) {
            return place;
        }
        self.observer.waits(&self.done);
        tokio::select! {
            biased;
            place = turn => place,
            () = self.observer.overtaken() => Err(Halt::News),
        }
    }

    /// Reads an object that the next pass has to know.
    async fn look(&mut self, read: &Request) {
        let live = self.sender.send(read, self.limit).await;
        if let Some(object) = seen(live) {
            self.observer.returned(object);
        }
    }

    /// A shed that is refused (422) is made again from the live object, and at last sent without its mark: that
    /// traffic goes down matters more than what is noted beside it.
    async fn shed(&mut self, step: &Step) -> bool {
        let first = self.insist(&step.request).await;
        if first.status != 422 {
            return is_done(&first, &Action::Shed);
        }
        let path = step.request.path.clone();
        let read = Request { method: Method::Get, path, query: vec![], body: Body::Empty };
        let live = self.sender.insist(&read).await;
        if !live.is_success() {
            return false;
        }
        self.observer.returned(live.body.clone());
        let Some(step) = self.observer.again(&live.body) else { return true };
        let second = self.insist(&step.request).await;
        let unmarked = without_mark(&step.request);
        if second.status != 422 || unmarked == step.request {
            return is_done(&second, &Action::Shed);
        }
        is_done(&self.insist(&unmarked).await, &Action::Shed)
    }

    async fn insist(&mut self, request: &Request) -> Response {
        let response = self.sender.insist(request).await;
        self.note(&Action::Shed, &response);
        if response.status == 0 {
            self.limit = HURRY;
        }
        response
    }

    fn note(&mut self, action: &Action, response: &Response) {
        // An Event that was stored has a reason and a message of its own.
        let refusal = (!response.is_success()).then_some(response);
        self.done.attempts.push(Attempt {
            action: action.clone(),
            at: self.sender.clock().now(),
            status: response.status,
            reason: refusal.map(|response| response.reason().to_owned()).unwrap_or_default(),
            message: refusal.map(|response| response.message().to_owned()).unwrap_or_default(),
        });
        let kind = response.body.get("kind").and_then(Value::as_str).unwrap_or("Status");
        if response.is_success() && kind != "Status" {
            self.observer.returned(response.body.clone());
        }
    }
}

/// The read of what has to be known before the next pass, where an answer leaves it open.
///
/// A ReplicaSet whose name is taken: it is our own that the watch has not shown yet, or somebody else's, whom the watch may
/// never show. It is asked for by a list, which the role may do anyway. Weights that nobody answered, or that are not as
/// they were looked at: an earlier answer may have been lost, and while the watch is silent too, traffic that we sent
/// ourselves would count as none.
pub fn second_look(step: &Step, response: &Response) -> Option<Request> {
    let get =
        |query| Request { method: Method::Get, path: step.request.path.clone(), query, body: Body::Empty };
    if let Action::CreateReplicaSet(name) = &step.action {
        let is_taken = response.status == 409 && response.reason() == "AlreadyExists";
        return is_taken.then(|| get(vec![("fieldSelector".to_owned(), format!("metadata.name={name}"))]));
    }
    let is_open = response.status == 0 || response.status == 409 || response.status >= 500;
    (step.action == Action::Weights && is_open).then(|| get(vec![]))
}

/// What a second look has shown: an object, or the first of a list, whose items do not say of which kind they are.
pub fn seen(answer: Response) -> Option<Value> {
    if !answer.is_success() {
        return None;
    }
    let mut body = answer.body;
    let list = body.get("kind").and_then(Value::as_str).and_then(|kind| kind.strip_suffix("List"));
    let Some(kind) = list.map(str::to_owned) else { return Some(body) };
    let mut object = body.get_mut("items")?.get_mut(0)?.take();
    if let Some(fields) = object.as_object_mut() {
        fields.insert("kind".to_owned(), kind.into());
        fields.insert("apiVersion".to_owned(), body.get("apiVersion").cloned().unwrap_or_default());
    }
    Some(object)
}

/// What is not sent after a step has failed.
pub enum Stops {
    Nothing,
    AllButMemory,
    Rest,
}

/// What a failure of `step` stops.
pub fn stops(step: &Step) -> Stops {
    match (step.stage, &step.action) {
        (Stage::Shed, _) => Stops::AllButMemory,
        (Stage::Memory, Action::Record) | (Stage::Tell, _) => Stops::Nothing,
        (Stage::Memory | Stage::Prepare | Stage::Expose | Stage::Retire, _) => Stops::Rest,
    }
}

/// Whether what was asked for is so now, by this request or an earlier one.
pub fn is_done(response: &Response, action: &Action) -> bool {
    if response.is_success() {
        return true;
    }
    match action {
        Action::SelfHeal(_) | Action::Event => response.reason() == "AlreadyExists",
        Action::DeleteReplicaSet(_) | Action::DeleteRun(_) | Action::TerminateRun(_) => {
            response.status == 404
        }
        Action::Shed
        | Action::Grow
        | Action::RunStatus(_)
        | Action::Record
        | Action::Status
        | Action::CreateReplicaSet(_)
        | Action::Annotate(_)
        | Action::Revision
        | Action::Replicas
        | Action::Scale(_)
        | Action::CreateRun(_)
        | Action::SwitchService(_)
        | Action::Weights
        | Action::Release
        | Action::ClearMark => false,
    }
}

#[cfg(test)]
mod tests;
