//! Laws of what is written to routes, Services and ReplicaSets.

use jiff::SignedDuration;
use serde_json::Value;

use super::{
    AT_ONCE, Law, Oracle, Resource, Write,
    view::{self, Rollout, Run, Set, Split, needed},
};
use crate::api::http::Method;

impl Oracle {
    /// Weights that the controller wrote.
    pub(super) fn weights(&mut self, write: &Write<'_>) {
        let (Some(before), Some(after)) = (write.before, write.after) else { return };
        if view::without_ours(before) != view::without_ours(after) {
            self.broken(Law::I14, format!("more than weights changed in {}", write.at.name));
        }
        let names = self.names.clone();
        let read = |object| Split::read(object, &names.canary, &names.stable);
        let (Some(old), Some(new)) = (read(before), read(after)) else { return };
        if old == new {
            return;
        }
        self.pass.has_shed |= new.canary == 0;
        for weights in view::weights(after) {
            let sum = weights.iter().fold(0, |sum: i64, weight| sum.saturating_add(*weight));
            if weights.iter().any(|weight| !(0..=100).contains(weight)) || sum != 100 {
                self.broken(Law::I7, format!("weights {weights:?}"));
            }
        }
        let is_fenced = has_version(&write.logged.body);
        if new.canary > old.canary && !is_fenced {
            let detail = format!("canary from {} to {} without a resourceVersion", old.canary, new.canary);
            self.broken(Law::I11, detail);
        }
        if new.canary > old.canary {
            self.raised(old, new);
        }
        if new.stable > old.stable && is_fenced {
            self.returned(new);
        }
        if new.canary > old.canary {
            self.lowered_from = None;
        }
    }

    /// The canary's side was given more.
    fn raised(&mut self, old: Split, new: Split) {
        let Some(rollout) = self.rollout() else { return };
        let what = format!("canary from {} to {}", old.canary, new.canary);
        let Some(hash) = self.selected(&self.names.canary.clone()) else {
            return self.broken(Law::I3, format!("{what} with a Service that selects every version"));
        };
        if hash == rollout.stable {
            return;
        }
        let what = format!("{what} on {hash}");
        if hash != rollout.current {
            return self.broken(Law::I3, format!("{what}, which is neither stable nor wanted"));
        }
        if self.known_available(&hash) <= 0 {
            self.broken(Law::I3, format!("{what} without ready pods"));
        }
        if rollout.abort {
            self.broken(Law::I19, format!("{what} after an abort"));
        }
        if rollout.is_paused || rollout.is_undecided() {
            self.broken(Law::I8, format!("{what} while nothing may move"));
        }
        if new.canary > rollout.weight_of_steps() {
            let detail = format!("{what}, steps permit {} at {:?}", rollout.weight_of_steps(), rollout.index);
            self.broken(Law::I8, detail);
        }
        self.background_goes_on(&rollout, old, &what);
        self.reasserted(&rollout, new);
    }

    /// More traffic only while the background analysis of this very update goes on.
    fn background_goes_on(&mut self, rollout: &Rollout, old: Split, what: &str) {
        let Some(start) = rollout.background else { return };
        let index = rollout.index.unwrap_or(0);
        if old.canary == 0 || index <= start || rollout.promote_full || rollout.is_promoted() {
            return;
        }
        let runs = self.known_runs();
        // One of this version that was going when the steps were edited, or when somebody tried again at once, goes on.
        let counts = |rv: u64, run: &Run| {
            rv > self.began_at || self.carried.contains(&rv) || (run.is_going() && !run.is_terminated)
        };
        let newest = runs
            .iter()
            .filter(|(rv, run)| counts(*rv, run) && run.step.is_none() && run.hash == rollout.current);
        match newest.max_by_key(|(rv, _)| *rv).map(|(_, run)| run.phase.as_str()) {
            None => {
                self.broken(Law::I18, format!("{what} without a background analysis since the update began"))
            }
            Some(phase @ ("Failed" | "Error" | "Inconclusive")) => {
                self.broken(Law::I18, format!("{what} while the background analysis is {phase}"));
            }
            Some(_) => {}
        }
    }

    /// A weight that somebody lowered by hand is put back three times within five minutes at most.
    fn reasserted(&mut self, rollout: &Rollout, new: Split) {
        // Where the other side has no pods at all, and a person has decided that this version takes over, nothing is put
        // back: the lowered weight is what fails.
        let takes_over = rollout.promote_full && self.known_available(&rollout.stable) <= 0;
        if rollout.is_promoted() || self.lowered_from.is_none() || takes_over {
            return;
        }
        // Minutes are those of the process's clock: nobody who has only that one can tell that it was set.
        let (now, window) = (self.pass.clock, SignedDuration::from_secs(300));
        self.reasserts.retain(|at| now.duration_since(*at) < window);
        self.reasserts.push(now);
        let count = self.reasserts.iter().filter(|at| **at <= now).count();
        if count > 3 {
            let detail = format!("put back to {} for the {count}th time in 5 minutes", new.canary);
            self.broken(Law::I15, detail);
        }
    }

    /// The stable side was given more, not in haste.
    fn returned(&mut self, new: Split) {
        let Some(rollout) = self.rollout() else { return };
        let Some(hash) = self.selected(&self.names.stable.clone()) else { return };
        if hash != rollout.stable {
            let detail = format!("stable to {} on {hash}, but {} is stable", new.stable, rollout.stable);
            return self.broken(Law::I3, detail);
        }
        if !self.promoted.contains(&hash) {
            self.broken(Law::I21, format!("stable to {} on {hash}, which was never promoted", new.stable));
        }
        // Between two sides that lead to the same pods nothing moves: also after a promotion somebody may delete the only
        // ReplicaSet there is, and its successor has no pods yet.
        if self.selected(&self.names.canary.clone()).as_ref() == Some(&hash) {
            return;
        }
        let (have, replicas) = (self.known_available(&hash), rollout.replicas);
        if have <= 0 && replicas > 0 {
            self.broken(Law::I2, format!("stable to {} on {hash} without ready pods", new.stable));
        }
    }

    /// A Service's selector that the controller moved.
    pub(super) fn switched(&mut self, write: &Write<'_>) {
        let (Some(before), Some(after)) = (write.before, write.after) else { return };
        let (from, to) = (view::selected(before), view::selected(after));
        if from == to {
            return;
        }
        let name = write.at.name.clone();
        let Some(to) = to.map(str::to_owned) else {
            return self.broken(Law::I14, format!("{name} lost its hash"));
        };
        if !has_version(&write.logged.body) {
            self.broken(Law::I11, format!("{name} moved to {to} without a resourceVersion"));
        }
        let Some(rollout) = self.rollout() else { return };
        if to != rollout.stable && to != rollout.current {
            self.broken(Law::I3, format!("{name} moved to {to}, which is neither stable nor wanted"));
        }
        let share = self.side_lingers(&name);
        let have = self.known_available(&to);
        if have <= 0 {
            self.broken(Law::I3, format!("{name} moved to {to} without ready pods"));
        }
        let is_stable = name == self.names.stable;
        if is_stable && from.is_some() && have < needed(rollout.replicas, share) {
            self.broken(Law::I2, format!("{name} moved to {to} with {have} pods for {share} % of traffic"));
        }
        // Where a Service leads to nobody, nobody can be hurt who is not already: a person may decide to serve them.
        let leads = from.is_some_and(|from| !rollout.promote_full || self.known_available(from) > 0);
        if !is_stable && share > 0 && leads && to != rollout.stable {
            self.broken(Law::I3, format!("{name} moved to {to} while {share} % may still go there"));
        }
        if is_stable && !self.promoted.contains(&to) {
            self.broken(Law::I21, format!("{name} moved to {to}, which was never promoted"));
        }
    }

    /// Subsets of a DestinationRule that the controller led elsewhere.
    pub(super) fn relabelled(&mut self, write: &Write<'_>) {
        let (Some(before), Some(after)) = (write.before, write.after) else { return };
        let old = view::subsets(before);
        for (subset, hash) in view::subsets(after) {
            if old.get(&subset) == Some(&hash) {
                continue;
            }
            let (name, have) = (&write.at.name, self.known_available(&hash));
            if have <= 0 {
                let detail = format!("subset {subset} of {name} relabelled to {hash} without ready pods");
                self.broken(Law::I3, detail);
            }
        }
    }

    /// The largest share that the side of a Service had within the delay, as far as known.
    fn side_lingers(&self, service: &str) -> i64 {
        let seen = self.pass.seen.get(&Resource::VirtualServices).copied().unwrap_or(0);
        let known: Vec<_> =
            self.configs.iter().filter(|config| config.is_known || config.rv <= seen).collect();
        let horizon = self.now.saturating_sub(self.delay).unwrap_or(jiff::Timestamp::MIN);
        let ends = known.iter().skip(1).map(|config| Some(config.at)).chain([None]);
        let in_force = known.iter().zip(ends).filter(|(_, end)| end.is_none_or(|end| end > horizon));
        let share = |split: Split| if service == self.names.stable { split.stable } else { split.canary };
        in_force.map(|(config, _)| share(self.known_split(config))).max().unwrap_or(0)
    }

    /// A ReplicaSet that the controller made, sized or deleted.
    pub(super) fn sized(&mut self, write: &Write<'_>) {
        let name = write.at.name.clone();
        match (write.before.map(Set::read), write.after.map(Set::read)) {
            (None, Some(new)) => self.made(&name, &new, write.after),
            (Some(old), None) => self.deleted(&name, &old),
            (Some(old), Some(new)) if new.replicas < old.replicas => self.shrunk(&name, &old, &new, write),
            _ => {}
        }
    }

    fn made(&mut self, name: &str, new: &Set, object: Option<&Value>) {
        let template = object.map(view::template);
        let is_twin = |object: &Value| {
            let set = Set::read(object);
            set.owner == new.owner && !set.is_going && Some(view::template(object)) == template
        };
        let twin = self.live_sets().find(|(other, object)| *other != name && is_twin(object));
        if let Some((other, _)) = twin {
            let detail = format!("{name} beside {other} for the same pod template");
            self.broken(Law::OneReplicaSet, detail);
        }
    }

    fn deleted(&mut self, name: &str, old: &Set) {
        if old.replicas != 0 || old.created != 0 {
            let detail = format!("{name} deleted with {} pods, {} wanted", old.created, old.replicas);
            self.broken(Law::I1, detail);
        }
    }

    fn shrunk(&mut self, name: &str, old: &Set, new: &Set, write: &Write<'_>) {
        let what = format!("{name} from {} to {}", old.replicas, new.replicas);
        if !has_version(&write.logged.body) {
            self.broken(Law::I11, format!("{what} without a resourceVersion"));
        }
        let Some(rollout) = self.rollout() else { return };
        let share = self.lingering(&old.hash);
        let needs = needed(rollout.replicas, share).min(old.replicas);
        if new.replicas < needs {
            self.broken(Law::I1, format!("{what}, but {share} % of the traffic may need {needs}"));
        }
        if old.hash == rollout.stable && new.replicas < rollout.replicas {
            self.broken(Law::I6, format!("{what}: stable, of which {} are wanted", rollout.replicas));
        }
    }

    /// A weight above what is permitted, once known, is cut within a second.
    pub(super) fn excess(&mut self) {
        match (self.above.clone(), self.excess) {
            (None, _) => self.excess = None,
            (Some(_), None) => self.excess = Some(self.now),
            (Some(detail), Some(since)) if self.now.duration_since(since) > AT_ONCE => {
                self.broken(Law::I15, format!("{detail}, known since {since}"));
            }
            (Some(_), Some(_)) => {}
        }
    }

    /// What is above, where something is.
    pub(super) fn is_above(&self) -> Option<String> {
        let split = self.split_now().filter(|split| split.canary > 0)?;
        let rollout = self.rollout()?;
        let hash = self.selected(&self.names.canary)?;
        if rollout.stable.is_empty() || rollout.is_promoted() || hash == rollout.stable {
            return None;
        }
        let permitted = if hash != rollout.current || rollout.abort { 0 } else { rollout.weight_of_steps() };
        (split.canary > permitted)
            .then(|| format!("canary at {} where {permitted} is permitted", split.canary))
    }
}

/// Whether a request says on which version of the object it was decided.
fn has_version(body: &Value) -> bool {
    let of_patch = |operation: &Value| view::text(operation, "/path") == "/metadata/resourceVersion";
    body.as_array().is_some_and(|all| all.iter().any(of_patch))
        || !view::text(body, "/metadata/resourceVersion").is_empty()
        || !view::text(body, "/preconditions/resourceVersion").is_empty()
}

/// Whether a write is one of a body at all.
pub(super) fn is_patch(method: Method) -> bool {
    method == Method::Patch
}
