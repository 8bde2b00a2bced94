//! Laws of what is remembered: steps, aborts, promotions, analyses, reverts.

use std::collections::BTreeSet;

use jiff::SignedDuration;
use serde_json::Value;

use super::{
    Law, Oracle, Write,
    view::{self, Rollout, Step},
    writes::is_patch,
};

/// The largest status that is still small, in bytes.
const STATUS_LIMIT: usize = 256 * 1024;

impl Oracle {
    /// A status of the Rollout that the controller wrote.
    pub(super) fn remembered(&mut self, write: &Write<'_>) {
        let (Some(before), Some(after)) = (write.before, write.after) else { return };
        self.small(before, after, &write.at.name);
        let (old, new) = (Rollout::read(before), Rollout::read(after));
        let is_status = write.logged.path.ends_with("/status");
        if is_status
            && is_patch(write.logged.method)
            && view::text(&write.logged.body, "/metadata/resourceVersion").is_empty()
        {
            self.broken(Law::I11, "status written without a resourceVersion".to_owned());
        }
        let is_reset = old.current != new.current || old.step_hash != new.step_hash;
        if is_reset {
            self.carried = self.carried_on(&old, &new);
            self.began_at = self.upto.min(write.logged.rv);
            self.lowered_from = None;
            self.skipped.clear();
            self.steps.clone_from(&new.steps);
        }
        if old.stable != new.stable {
            self.promoted_now(&old, &new);
        }
        if !old.abort && new.abort {
            self.booked_abort(&new);
        }
        if old.abort && !new.abort && !is_reset && !new.is_promoted() && !old.promote_full {
            self.broken(Law::I19, format!("abort of {} taken back", new.current));
        }
        if !is_reset && !new.is_promoted() && !new.abort {
            self.stepped(&old, &new);
        }
        if new.is_contested && !old.is_contested {
            let is_recent = self
                .foreign_weights
                .is_some_and(|at| self.now.duration_since(at) < SignedDuration::from_secs(600));
            if !is_recent {
                self.broken(Law::I15, "TrafficContested, but nobody else wrote weights".to_owned());
            }
        }
    }

    /// What goes on after an edit of the steps, however it ends.
    fn carried_on(&self, old: &Rollout, new: &Rollout) -> BTreeSet<u64> {
        let goes_on = |run: &view::Run| run.is_going() && !run.is_terminated && run.hash == new.current;
        let is_edit = old.current == new.current && !old.abort;
        let runs = self.known_runs().into_iter().filter(|(_, run)| is_edit && goes_on(run));
        runs.map(|(rv, _)| rv).collect()
    }

    fn small(&mut self, before: &Value, after: &Value, name: &str) {
        // Serialising is slow: only what has grown by a condition or a measurement is looked at.
        if before.get("status").map(depth) == after.get("status").map(depth) {
            return;
        }
        let size = after.get("status").map_or(0, |status| status.to_string().len());
        if size > STATUS_LIMIT {
            self.broken(Law::I20, format!("status of {name} has {size} bytes"));
        }
    }

    fn promoted_now(&mut self, old: &Rollout, new: &Rollout) {
        let hash = new.stable.clone();
        if old.stable.is_empty() || hash.is_empty() {
            self.promoted.insert(hash);
            return;
        }
        let leads = self.selected(&self.names.canary.clone());
        let split = self.split().unwrap_or_default();
        if split.canary_least < 100 || leads.as_ref() != Some(&hash) {
            let detail = format!("{hash} promoted with {} % on {leads:?}", split.canary_least);
            self.broken(Law::I18, detail);
        }
        if !old.promote_full {
            self.verdicts(old, &hash);
        }
        if old.abort {
            self.broken(Law::I19, format!("{hash} promoted after an abort"));
        }
        self.promoted.insert(hash);
    }

    /// Every analysis of the steps has a good verdict of this update; the background one none that is bad.
    fn verdicts(&mut self, rollout: &Rollout, hash: &str) {
        let runs = self.known_runs();
        let of_update = |rv: u64, run: &view::Run| rv > self.began_at && run.hash == hash;
        let mut missing = vec![];
        for (index, _) in rollout.steps.iter().enumerate().filter(|(_, step)| **step == Step::Analysis) {
            let is_good = |(rv, run): &(u64, view::Run)| {
                of_update(*rv, run) && run.step == Some(index) && run.phase == "Successful"
            };
            if !runs.iter().any(is_good) && !self.skipped.contains(&index) {
                missing.push(index);
            }
        }
        let background = runs.iter().filter(|(rv, run)| of_update(*rv, run) && run.step.is_none());
        let newest = background.max_by_key(|(rv, _)| *rv).map(|(_, run)| run.phase.clone());
        for index in missing {
            self.broken(Law::I18, format!("{hash} promoted without a verdict for step {index}"));
        }
        if let Some(phase @ ("Failed" | "Error" | "Inconclusive")) = newest.as_deref() {
            self.broken(Law::I18, format!("{hash} promoted with a background analysis that is {phase}"));
        }
    }

    fn booked_abort(&mut self, new: &Rollout) {
        let leads = self.selected(&self.names.canary.clone());
        let live = self.live_split().unwrap_or_default();
        let known = self.split().unwrap_or_default();
        if leads.as_ref() == Some(&new.current)
            && new.current != new.stable
            && live.canary > 0
            && known.canary > 0
            && !self.pass.shed_failed
            && !self.pass.has_shed
        {
            let detail = format!("abort of {} booked with {} % on it", new.current, live.canary);
            self.broken(Law::I4, detail);
        }
    }

    /// The index moved by the controller's own decision.
    fn stepped(&mut self, old: &Rollout, new: &Rollout) {
        let (from, to) = (old.index.unwrap_or(0), new.index.unwrap_or(0));
        if to <= from || old.promote_full {
            return;
        }
        if to > from + 1 && to.min(old.steps.len()) > from + 1 {
            return self.broken(Law::I18, format!("from step {from} to {to} at once"));
        }
        if old.abort || old.is_paused || old.is_undecided() {
            return self.broken(Law::I18, format!("step {from} completed while nothing may move"));
        }
        let why = match old.steps.get(from) {
            Some(Step::Weight(weight)) => self.lacks_weight(old, *weight),
            Some(Step::Pause(duration)) => self.lacks_time(old, *duration),
            Some(Step::Analysis) => self.lacks_verdict(old, from),
            Some(Step::Other) | None => None,
        };
        if let Some(why) = why {
            self.broken(Law::I18, format!("step {from} completed: {why}"));
        }
    }

    fn lacks_weight(&self, old: &Rollout, weight: i64) -> Option<String> {
        let split = self.split().unwrap_or_default();
        if split.canary != weight || split.canary_least != weight {
            return Some(format!("{} % instead of {weight}", split.canary));
        }
        let leads = self.selected(&self.names.canary);
        (weight > 0 && leads.as_ref() != Some(&old.current)).then(|| format!("the routes lead to {leads:?}"))
    }

    fn lacks_time(&self, old: &Rollout, duration: Option<i64>) -> Option<String> {
        let pause = old.pauses.iter().find(|(reason, _)| reason == "CanaryPauseStep");
        match (pause, duration) {
            (None, _) if old.controller_pause => None,
            (None, _) => Some("no pause was made".to_owned()),
            (Some(_), None) => Some("nobody has promoted".to_owned()),
            (Some((_, since)), Some(seconds)) => {
                let is_over =
                    since.is_some_and(|since| self.pass.clock.duration_since(since).as_secs() >= seconds);
                (!is_over).then(|| format!("{seconds} s since {since:?} are not over"))
            }
        }
    }

    fn lacks_verdict(&self, old: &Rollout, index: usize) -> Option<String> {
        let is_good = |(rv, run): &(u64, view::Run)| {
            *rv > self.began_at
                && run.hash == old.current
                && run.step == Some(index)
                && run.phase == "Successful"
        };
        (!self.known_runs().iter().any(is_good)).then(|| "no successful run of this update".to_owned())
    }

    /// An AnalysisRun that the controller wrote.
    pub(super) fn run(&mut self, write: &Write<'_>) {
        let Some(after) = write.after else { return };
        let new = view::Run::read(after);
        let old = write.before.map(view::Run::read);
        if let Some(before) = write.before {
            self.small(before, after, &write.at.name);
        }
        self.punctual(after, &write.at.name);
        let is_done = new.phase == "Successful" && old.as_ref().is_some_and(|old| old.phase != "Successful");
        if is_done && !new.is_terminated && new.counts.values().any(|(good, _)| *good == 0) {
            let detail = format!("{} is Successful by {:?}", write.at.name, new.counts);
            self.broken(Law::I18, detail);
        }
        if let Some(old) = old
            && matches!(old.phase.as_str(), "Successful" | "Failed" | "Error" | "Inconclusive")
            && old.phase != new.phase
        {
            self.broken(Law::I18, format!("{} from {} to {}", write.at.name, old.phase, new.phase));
        }
    }

    /// Each measurement begins an interval after the one before it has ended, and not much later.
    fn punctual(&mut self, run: &Value, name: &str) {
        let interval = view::text(run, "/spec/metrics/0/interval").trim_end_matches('s').parse::<i64>().ok();
        let results = run.pointer("/status/metricResults/0/measurements").and_then(Value::as_array);
        let (Some(interval), Some(results)) = (interval, results) else { return };
        let time = |one: &Value, field: &str| view::text(one, field).parse::<jiff::Timestamp>().ok();
        let gap = |pair: &[Value]| match pair {
            [one, next] => {
                Some(time(next, "/startedAt")?.duration_since(time(one, "/finishedAt")?).as_secs())
            }
            _ => None,
        };
        // Times have second resolution; a busy controller may take another one.
        let late = results.windows(2).filter_map(gap).find(|gap| *gap > interval + 2 || *gap < interval - 1);
        if let (true, Some(gap)) = (self.is_punctual, late) {
            self.broken(Law::I10, format!("{name} measured after {gap} s instead of {interval}"));
        }
    }

    /// A request to the Git lane.
    pub(super) fn reverted(&mut self, write: &Write<'_>) {
        let (None, Some(new)) = (write.before, write.after) else { return };
        let (bad, good) = (view::text(new, "/spec/bad/hash"), view::text(new, "/spec/good/hash"));
        let (bad, good) = (bad.to_owned(), good.to_owned());
        let count = self.reverts.entry(bad.clone()).or_default();
        *count += 1;
        if *count > 1 {
            let detail = format!("revert number {count} of {bad}");
            self.broken(Law::OneRevert, detail);
        }
        if !self.promoted.contains(&good) {
            self.broken(Law::I21, format!("revert of {bad} to {good}, which was never promoted"));
        }
    }
}

/// How many members and items a value has down to the third level: a cheap sign of growth.
fn depth(value: &Value) -> usize {
    fn count(value: &Value, left: u32) -> usize {
        let inner = |values: &mut dyn Iterator<Item = &Value>| -> usize {
            values.map(|value| 1 + if left > 0 { count(value, left - 1) } else { 0 }).sum()
        };
        match value {
            Value::Object(fields) => inner(&mut fields.values()),
            Value::Array(items) => inner(&mut items.iter()),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => 0,
        }
    }
    count(value, 3)
}
