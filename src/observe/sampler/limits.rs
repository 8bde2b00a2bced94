//! How many queries may be under way at a time.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Permits by name: of an endpoint, or of a run.
pub(super) struct Limits {
    each: usize,
    known: Mutex<BTreeMap<String, Arc<Semaphore>>>,
}

impl Limits {
    pub(super) fn new(each: usize) -> Self {
        Self { each, known: Mutex::default() }
    }

    /// Waits for its turn. `None` never happens: the semaphores are not closed.
    pub(super) async fn permit(&self, name: &str) -> Option<OwnedSemaphorePermit> {
        let semaphore = {
            let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
            // Those that nobody waits for or holds.
            known.retain(|_, semaphore| Arc::strong_count(semaphore) > 1);
            Arc::clone(known.entry(name.to_owned()).or_insert_with(|| Arc::new(Semaphore::new(self.each))))
        };
        semaphore.acquire_owned().await.ok()
    }
}
