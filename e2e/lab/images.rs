//! The image registry of the lab: what a container does is decided by its image, as in life.

use std::{collections::BTreeMap, sync::Mutex, time::Duration};

/// How the pods of an image behave.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Behaviour {
    /// Of each hundred answers of this version (counted over all its pods) so many are 500, spread evenly. 0..=100.
    pub(crate) errors_percent: u64,
    /// From the start of the container until its readiness probe succeeds.
    pub(crate) ready_after: Duration,
    /// Its proxies count requests where Prometheus sees it.
    pub(crate) is_scraped: bool,
    /// Every container ends a moment after its start, and those that run end now.
    pub(crate) crashes: bool,
}

impl Behaviour {
    /// Answers everything, ready at once as programs go.
    pub(crate) const GOOD: Self =
        Self { errors_percent: 0, ready_after: Duration::from_millis(300), is_scraped: true, crashes: false };
    /// As [`Behaviour::GOOD`], and Prometheus has no series of it.
    pub(crate) const SILENT: Self = Self { is_scraped: false, ..Self::GOOD };
    /// Crash-loops.
    pub(crate) const CRASHING: Self = Self { crashes: true, ..Self::GOOD };

    /// As [`Behaviour::GOOD`], with this share of 500s.
    pub(crate) const fn failing(errors_percent: u64) -> Self {
        Self { errors_percent, ..Self::GOOD }
    }
}

/// The published images. One that is not here cannot be pulled.
#[derive(Default)]
pub(crate) struct Images(Mutex<BTreeMap<String, Behaviour>>);

impl Images {
    /// Publishes an image, or changes how its pods behave: those that run, too.
    pub(crate) fn publish(&self, image: &str, behaviour: Behaviour) {
        lock(&self.0).insert(image.into(), behaviour);
    }

    /// What an image does, if it can be pulled.
    pub(crate) fn pull(&self, image: &str) -> Option<Behaviour> {
        lock(&self.0).get(image).copied()
    }
}

/// The value of a mutex, also after a panic elsewhere: the lab reports that panic itself.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// The version in an image's name: its tag, or all of it where it has none.
pub(crate) fn version(image: &str) -> &str {
    let name = image.rsplit('/').next().unwrap_or(image);
    name.split_once(':').map_or(name, |(_, tag)| tag)
}
