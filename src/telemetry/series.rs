//! Metric families whose names and series are ours to keep: counters without `_total` (the reference's names),
//! and series that end when their object is deleted.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Mutex, MutexGuard, PoisonError},
};

use prometheus_client::{
    encoding::{DescriptorEncoder, EncodeMetric, MetricEncoder},
    metrics::{MetricType, histogram::Histogram},
};

/// The name, help and label names of one family.
#[derive(Clone, Copy, Debug)]
pub(super) struct Family {
    pub(super) name: &'static str,
    pub(super) help: &'static str,
    pub(super) labels: &'static [&'static str],
}

impl Family {
    /// Writes the family's gauges from `series`: label values in the order of `labels`, and the value.
    pub(super) fn gauges<'a>(
        &self,
        encoder: &mut DescriptorEncoder<'_>,
        series: impl Iterator<Item = (Vec<&'a str>, f64)>,
    ) -> fmt::Result {
        let mut metric = encoder.encode_descriptor(self.name, self.help, None, MetricType::Gauge)?;
        for (values, value) in series {
            metric.encode_family(&self.pairs(&values))?.encode_gauge(&value)?;
        }
        Ok(())
    }

    /// Writes the one series of a family without labels, as a number that only grows.
    pub(super) fn count(&self, encoder: &mut DescriptorEncoder<'_>, value: f64) -> fmt::Result {
        encoder.encode_descriptor(self.name, self.help, None, MetricType::Counter)?.encode_gauge(&value)
    }

    /// Writes the one series of a family without labels.
    pub(super) fn gauge(&self, encoder: &mut DescriptorEncoder<'_>, value: f64) -> fmt::Result {
        encoder.encode_descriptor(self.name, self.help, None, MetricType::Gauge)?.encode_gauge(&value)
    }

    fn pairs<'a>(&self, values: &[&'a str]) -> Vec<(&'static str, &'a str)> {
        self.labels.iter().copied().zip(values.iter().copied()).collect()
    }
}

/// Series by label values.
pub(super) struct Series<T> {
    family: Family,
    values: Mutex<BTreeMap<Vec<String>, T>>,
}

impl<T> Series<T> {
    pub(super) fn new(family: Family) -> Self {
        Self { family, values: Mutex::new(BTreeMap::new()) }
    }

    /// A thread that panicked in the middle of an addition leaves at worst one number short.
    fn locked(&self) -> MutexGuard<'_, BTreeMap<Vec<String>, T>> {
        self.values.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn with(&self, labels: &[&str], make: impl FnOnce() -> T, change: impl FnOnce(&mut T)) {
        debug_assert_eq!(labels.len(), self.family.labels.len(), "{}", self.family.name);
        let key = labels.iter().map(|&label| label.to_owned()).collect();
        change(self.locked().entry(key).or_insert_with(make));
    }

    /// Ends every series whose first labels are `namespace` and `name`.
    pub(super) fn forget(&self, namespace: &str, name: &str) {
        self.locked().retain(|key, _| !matches!(key.as_slice(), [a, b, ..] if a == namespace && b == name));
    }

    fn encode(
        &self,
        encoder: &mut DescriptorEncoder<'_>,
        kind: MetricType,
        one: impl Fn(&T, MetricEncoder<'_>) -> fmt::Result,
    ) -> fmt::Result {
        let values = self.locked();
        let mut metric = encoder.encode_descriptor(self.family.name, self.family.help, None, kind)?;
        if self.family.labels.is_empty() {
            return values.values().next().map_or(Ok(()), |value| one(value, metric));
        }
        for (key, value) in values.iter() {
            let labels: Vec<&str> = key.iter().map(String::as_str).collect();
            one(value, metric.encode_family(&self.family.pairs(&labels))?)?;
        }
        Ok(())
    }
}

impl Series<f64> {
    pub(super) fn add(&self, labels: &[&str], more: f64) {
        self.with(labels, || 0.0, |value| *value += more);
    }

    pub(super) fn set(&self, labels: &[&str], to: f64) {
        self.with(labels, || 0.0, |value| *value = to);
    }

    /// The encoder writes OpenMetrics, where a counter's samples end in `_total`; written like a gauge's they have the
    /// name that they were given.
    pub(super) fn encode_counts(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        self.encode(encoder, MetricType::Counter, |value, mut metric| metric.encode_gauge(value))
    }

    pub(super) fn encode_gauges(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        self.encode(encoder, MetricType::Gauge, |value, mut metric| metric.encode_gauge(value))
    }
}

impl Series<Histogram> {
    pub(super) fn observe(&self, labels: &[&str], buckets: &[f64], value: f64) {
        self.with(labels, || Histogram::new(buckets.iter().copied()), |histogram| histogram.observe(value));
    }

    /// The series is there, with nothing in it.
    pub(super) fn begin(&self, labels: &[&str], buckets: &[f64]) {
        self.with(labels, || Histogram::new(buckets.iter().copied()), |_| {});
    }

    pub(super) fn encode_histograms(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        self.encode(encoder, MetricType::Histogram, |histogram, metric| histogram.encode(metric))
    }
}
