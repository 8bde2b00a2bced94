//! # What an analysis remembers, and where
//!
//! **Chosen.** The status of an AnalysisRun is the whole memory of the engine in `decide::analysis`. Its fields have
//! no room for three things that must survive a restart and a trimmed list of measurements, so they live in the
//! string maps that the wire has anyway:
//!
//! | key | in the `metadata` of | holds |
//! |---|---|---|
//! | `serin.dev/uncounted` | the metric result | answers recorded without being counted; part of the ordinal |
//! | `serin.dev/failed-without-data` | the metric result | how many of `failed` real numbers alone do not explain |
//! | `serin.dev/no-data-since` | the metric result | when the present row of answers without data began |
//! | `serin.dev/no-data` | a measurement | what was missing: `empty` or `NaN` |
//! | `serin.dev/waited` | a measurement | how many answers without data it stands for |
//! | `serin.dev/outage` | a measurement | how many tries of one outage it stands for |
//!
//! The ordinal of the next measurement is `count + error + uncounted`. Every recorded answer raises exactly one of
//! the three, and trimming lowers none. An outage of a day is one measurement of phase Error with a number of tries,
//! so the status stays small and the counters keep their meaning for other clients.
//!
//! **Instead of** an annotation or a record of our own: they would be a second write that a crash can separate from
//! the first. And instead of counting outages as errors, as the reference does: five unanswered queries would abort
//! a healthy rollout in 50 seconds.
//!
//! **A run ends in one pass.** In the reference a metric that fails ends its siblings one reconcile later. Here the
//! same pass assesses them again; the final status is the same, and the traffic is back one write sooner.
//!
//! **Price.** Other tools show these keys. A run handed back to the reference forgets outages: its next unanswered
//! query counts again.
