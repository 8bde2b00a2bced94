//! What lives in the cluster besides its clients, as deterministic rules.

use jiff::Timestamp;

use super::store::Store;

/// Every actor of the world.
#[derive(Clone, Debug)]
pub struct Actors {}

impl Actors {
    /// Actors of a new cluster.
    pub fn new(_store: &mut Store) -> Self {
        Self {}
    }

    /// When somebody next has something to do.
    pub fn next_due(&self, _store: &Store) -> Option<Timestamp> {
        None
    }

    /// Does what is due at the store's time.
    pub fn run(&mut self, _store: &mut Store) {}

    /// Accounts for time that passed without anything due.
    pub fn elapse(&mut self, _store: &Store) {}
}
