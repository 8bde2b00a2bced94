//! Who carried how much, and what of it the controller knew.

use jiff::Timestamp;

use super::{Oracle, Resource, view::Split};

/// Who carried how much, from a moment on.
#[derive(Clone, Debug)]
pub(super) struct Config {
    pub(super) at: Timestamp,
    pub(super) rv: u64,
    /// The controller wrote it, or was shown it in an answer.
    pub(super) is_known: bool,
    pub(super) kind: Resource,
    pub(super) split: Split,
    /// The version of the routes that the split is of, and whether the controller wrote it.
    pub(super) routes: (u64, bool),
    pub(super) canary: Option<String>,
    pub(super) stable: Option<String>,
}

impl Oracle {
    /// Keeps who carries what from now on.
    pub(super) fn note_config(&mut self, kind: Resource, rv: u64, ours: bool) {
        if kind != Resource::VirtualServices && kind != Resource::Services {
            return;
        }
        // What it writes goes where it knows the Services to lead.
        let lead =
            |service: &str| if ours { self.selected_now(service) } else { self.live_selected(service) };
        let of_routes = |config: &&Config| config.kind == Resource::VirtualServices;
        let before = self.configs.iter().rfind(of_routes).map_or((0, false), |config| config.routes);
        let config = Config {
            at: self.now,
            routes: if kind == Resource::VirtualServices { (rv, ours) } else { before },
            rv,
            is_known: ours,
            kind,
            split: self.live_split().unwrap_or_default(),
            canary: lead(&self.names.canary),
            stable: lead(&self.names.stable),
        };
        self.configs.push(config);
    }

    /// Keeps what a plan takes for the present configuration, where that is not what was written last: it ends what went before.
    pub(super) fn note_known(&mut self) {
        let seen = |kind: Resource| self.pass.seen.get(&kind).copied().unwrap_or(0);
        let last = self.configs.iter().rfind(|config| config.is_known || config.rv <= seen(config.kind));
        let config = Config {
            at: self.now,
            rv: self.upto,
            is_known: true,
            kind: Resource::Services,
            split: self.split().unwrap_or_default(),
            routes: (self.upto, true),
            canary: self.selected(&self.names.canary),
            stable: self.selected(&self.names.stable),
        };
        let is_same = |last: &Config| {
            self.known_split(last) == config.split
                && last.canary == config.canary
                && last.stable == config.stable
        };
        if last.is_some_and(|last| !is_same(last)) {
            self.configs.push(config);
        }
    }

    /// The largest share that may reach pods of `hash` by a configuration that was in force within the delay and that
    /// the controller knew of (its own writes always count).
    pub(super) fn lingering(&self, hash: &str) -> i64 {
        let seen = |kind: Resource| self.pass.seen.get(&kind).copied().unwrap_or(0);
        let is_known = |config: &&Config| config.is_known || config.rv <= seen(config.kind);
        let known: Vec<&Config> = self.configs.iter().filter(is_known).collect();
        let horizon = self.now.saturating_sub(self.delay).unwrap_or(Timestamp::MIN);
        // One that ended (was followed by another) at or before the horizon is over.
        let ends = known.iter().skip(1).map(|config| Some(config.at)).chain([None]);
        let in_force = known.iter().zip(ends).filter(|(_, end)| end.is_none_or(|end| end > horizon));
        in_force.map(|(config, _)| config.share_of(hash, self.known_split(config))).max().unwrap_or(0)
    }

    /// The split of a configuration, or the last one before it where a silent watch has not told of its routes yet.
    pub(super) fn known_split(&self, config: &Config) -> Split {
        let seen = self.pass.seen.get(&Resource::VirtualServices).copied().unwrap_or(0);
        let is_known = |one: &&Config| one.is_known || one.routes.1 || one.routes.0 <= seen;
        let upto = self.configs.iter().rev().skip_while(|one| one.rv > config.rv);
        Some(config)
            .filter(is_known)
            .or_else(|| upto.into_iter().find(is_known))
            .map_or(config.split, |one| one.split)
    }
}

impl Config {
    /// The share that reaches pods of `hash`; a Service without a hash reaches every version.
    fn share_of(&self, hash: &str, split: Split) -> i64 {
        let part = |to: &Option<String>, share: i64| match to {
            Some(other) if other != hash => 0,
            Some(_) | None => share,
        };
        (part(&self.canary, split.canary) + part(&self.stable, split.stable)).min(100)
    }
}
