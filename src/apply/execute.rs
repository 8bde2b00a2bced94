//! The requests of one plan, one after another. What a failure stops is decided here and nowhere else.

use serde_json::Value;

use super::{
    render::{Stage, Step, without_mark},
    send::Sender,
};
use crate::{
    api::http::{Body, Method, Request, Response},
    decide::plan::{Action, Attempt},
};

/// What the requests of one plan came to.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Executed {
    /// Each request that was sent, in order.
    pub attempts: Vec<Attempt>,
    /// Objects that the server returned, in order, to lay over the stores.
    pub returned: Vec<Value>,
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

/// Sends `steps` in order.
///
/// `halt` is asked before each request but the shed. `again` is shown the live VirtualService when the server refuses
/// a shed, and gives the shed for what it shows; `None` where nothing needs to be lowered any more.
pub async fn execute(
    sender: &Sender,
    steps: &[Step],
    halt: &(dyn Fn() -> Option<Halt> + Send + Sync),
    again: &(dyn Fn(&Value) -> Option<Step> + Send + Sync),
) -> Executed {
    let mut done = Executed::default();
    let mut shed_failed = false;
    for step in steps {
        if shed_failed && step.stage > Stage::Memory {
            done.halted = Some(Halt::Failed);
            break;
        }
        let ok = if step.action == Action::Shed {
            shed(sender, step, again, &mut done).await
        } else {
            if let Some(reason) = halt() {
                done.halted = Some(reason);
                break;
            }
            send(sender, &step.action, &step.request, &mut done).await.is_done(&step.action)
        };
        if ok {
            continue;
        }
        done.failed.push(step.action.clone());
        match stops(step) {
            Stops::Nothing => {}
            Stops::AllButMemory => shed_failed = true,
            Stops::Rest => {
                done.halted = Some(Halt::Failed);
                break;
            }
        }
    }
    done
}

/// What is not sent after a step has failed.
enum Stops {
    Nothing,
    AllButMemory,
    Rest,
}

fn stops(step: &Step) -> Stops {
    match (step.stage, &step.action) {
        (Stage::Shed, _) => Stops::AllButMemory,
        (Stage::Memory, Action::Record) | (Stage::Tell, _) => Stops::Nothing,
        (Stage::Memory | Stage::Prepare | Stage::Expose | Stage::Retire, _) => Stops::Rest,
    }
}

/// A shed that is refused (422) is made again from the live object, and at last sent without its mark: that traffic
/// goes down matters more than what is noted beside it.
async fn shed(
    sender: &Sender,
    step: &Step,
    again: &(dyn Fn(&Value) -> Option<Step> + Send + Sync),
    done: &mut Executed,
) -> bool {
    let first = send(sender, &Action::Shed, &step.request, done).await;
    if first.response.status != 422 {
        return first.is_done(&Action::Shed);
    }
    let read =
        Request { method: Method::Get, path: step.request.path.clone(), query: vec![], body: Body::Empty };
    let live = sender.send(&read).await;
    if !live.is_success() {
        return false;
    }
    done.returned.push(live.body.clone());
    let Some(step) = again(&live.body) else { return true };
    let second = send(sender, &Action::Shed, &step.request, done).await;
    let unmarked = without_mark(&step.request);
    if second.response.status != 422 || unmarked == step.request {
        return second.is_done(&Action::Shed);
    }
    send(sender, &Action::Shed, &unmarked, done).await.is_done(&Action::Shed)
}

struct Answer {
    response: Response,
}

impl Answer {
    /// Whether what was asked for is so now, by this request or an earlier one.
    fn is_done(&self, action: &Action) -> bool {
        if self.response.is_success() {
            return true;
        }
        match action {
            Action::SelfHeal(_) | Action::Event => self.response.reason() == "AlreadyExists",
            Action::DeleteReplicaSet(_) | Action::DeleteRun(_) | Action::TerminateRun(_) => {
                self.response.status == 404
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
            | Action::ClearMark => false,
        }
    }
}

async fn send(sender: &Sender, action: &Action, request: &Request, done: &mut Executed) -> Answer {
    let response = sender.send(request).await;
    // An Event that was stored has a reason and a message of its own.
    let refusal = (!response.is_success()).then_some(&response);
    done.attempts.push(Attempt {
        action: action.clone(),
        at: sender.clock().now(),
        status: response.status,
        reason: refusal.map(|response| response.reason().to_owned()).unwrap_or_default(),
        message: refusal.map(|response| response.message().to_owned()).unwrap_or_default(),
    });
    let kind = response.body.get("kind").and_then(Value::as_str).unwrap_or("Status");
    if response.is_success() && kind != "Status" {
        done.returned.push(response.body.clone());
    }
    Answer { response }
}

#[cfg(test)]
mod tests;
