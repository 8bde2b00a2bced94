//! What the API server does not see: answers of Prometheus, and what people and machines outside do.

use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;

use crate::sim::door::Door;

/// One of them.
#[derive(Clone, Debug, PartialEq)]
pub struct Aside {
    pub at: Timestamp,
    /// How many requests the store had received by then.
    pub after: usize,
    pub what: What,
}

/// What happened.
#[derive(Clone, Debug, PartialEq)]
pub enum What {
    /// Prometheus answered a query. `None`: no data.
    Answer { metric: String, value: Option<f64>, is_good: bool },
    /// Somebody did something.
    Act { who: &'static str, what: String },
    /// A process of serin was killed.
    Died { actor: String },
}

/// All of them, in order.
#[derive(Clone, Debug, Default)]
pub struct Asides(Arc<Mutex<Vec<Aside>>>);

impl Asides {
    /// What there is so far.
    pub fn so_far(&self) -> Vec<Aside> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Those beyond the first `known`.
    pub fn beyond(&self, known: usize) -> Vec<Aside> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.get(known..).unwrap_or_default().to_vec()
    }

    pub(super) fn add(&self, aside: Aside) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(aside);
    }

    /// Somebody does something now.
    pub fn act(&self, door: &Door, who: &'static str, what: impl Into<String>) {
        let (at, after) = door.with(|world| (world.now(), world.log().len()));
        self.add(Aside { at, after, what: What::Act { who, what: what.into() } });
    }
}
