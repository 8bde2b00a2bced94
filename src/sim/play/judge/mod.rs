//! The judge: whether a story ended as it must, by what the store, the repository, Slack and the mesh hold. It shares
//! nothing with whoever tells the story, and nothing with the controller.

mod case;
mod embedded;
mod order;
mod outside;
mod rest;
mod special;
#[cfg(test)]
mod tests;

pub use case::{Case, Commit, Lost, Message, Names, Traffic};
pub use special::leaderless;

use super::scenario::Scenario;

/// What was found wrong; empty when the story ended as it must.
pub fn judge(case: &Case, scenario: Scenario) -> Vec<String> {
    let mut wrong = Wrong::default();
    if let Some(awaited) = &case.stuck {
        wrong.add(format!("the story waited in vain for {awaited}"));
    }
    let ending = ending(scenario);
    rest::rest(case, &ending, &mut wrong);
    rest::traffic(case, &ending, &mut wrong);
    outside::git(case, &ending, &mut wrong);
    outside::self_heals(case, &ending, &mut wrong);
    outside::slack(case, &ending, &mut wrong);
    order::weights(case, &ending, &mut wrong);
    order::scaled_down_late(case, &mut wrong);
    order::replica_sets(case, &ending, &mut wrong);
    if ending.is_metric_failed {
        order::shed_first(case, &mut wrong);
    }
    special::special(case, scenario, &mut wrong);
    wrong.0
}

/// What is wrong, one sentence each.
#[derive(Default)]
struct Wrong(Vec<String>);

impl Wrong {
    fn add(&mut self, what: impl Into<String>) {
        self.0.push(what.into());
    }
}

/// One of the versions of a story.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Version {
    Old,
    New,
    Fixed,
}

impl Version {
    fn image(self, case: &Case) -> &str {
        match self {
            Self::Old => &case.names.old_image,
            Self::New => &case.names.new_image,
            Self::Fixed => &case.names.fixed_image,
        }
    }

    fn tag(self, case: &Case) -> &str {
        super::cast::tag(self.image(case))
    }
}

/// How a story must end.
struct Ending {
    /// What the Rollout asks for, and what serves.
    asked: Version,
    serves: Version,
    phase: &'static str,
    /// How far each version that was rolled out came; empty where others write weights, too.
    climbs: &'static [Climb],
    /// Whether the bot puts the old version back in Git.
    is_reverted: bool,
    /// What people push after the first commit.
    pushed: &'static [Version],
    /// The phase of the one SelfHeal; `None`: there is none.
    heal: Option<&'static str>,
    /// How the title of the one Slack message begins; `None`: there is none.
    title: Option<&'static str>,
    /// The rejection is a metric's.
    is_metric_failed: bool,
    /// Pods that crash take requests with them until the traffic is gone.
    may_lose: bool,
}

/// How the canary's weight went for one version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Climb {
    /// Some of the steps, and then nothing.
    Cut,
    /// All of the steps.
    Whole,
}

fn ending(scenario: Scenario) -> Ending {
    let reverted = Ending {
        asked: Version::Old,
        serves: Version::Old,
        phase: "Healthy",
        climbs: &[Climb::Cut],
        is_reverted: true,
        pushed: &[Version::New],
        heal: Some("Synced"),
        title: Some("Rolled back: "),
        is_metric_failed: true,
        may_lose: false,
    };
    let through = Ending {
        asked: Version::New,
        serves: Version::New,
        climbs: &[Climb::Whole],
        is_reverted: false,
        heal: None,
        title: None,
        is_metric_failed: false,
        ..reverted
    };
    let replaced = Ending {
        asked: Version::Fixed,
        serves: Version::Fixed,
        climbs: &[Climb::Cut, Climb::Whole],
        pushed: &[Version::New, Version::Fixed],
        ..through
    };
    match scenario {
        Scenario::BadMetric | Scenario::GitDown | Scenario::TakeoverByRestart => reverted,
        Scenario::BadPods => Ending { is_metric_failed: false, may_lose: true, ..reverted },
        Scenario::Good | Scenario::PrometheusDown => through,
        Scenario::NoData => Ending { title: Some("Paused: "), ..through },
        Scenario::UserAbort => Ending {
            serves: Version::Old,
            phase: "Degraded",
            climbs: &[Climb::Cut],
            heal: Some("NoPolicy"),
            title: Some("Aborted by a person: "),
            ..through
        },
        Scenario::FixedFirst => Ending {
            heal: Some("Superseded"),
            title: Some("Rolled back: "),
            is_metric_failed: true,
            ..replaced
        },
        Scenario::Contested => Ending {
            climbs: &[],
            is_reverted: true,
            heal: Some("Synced"),
            title: Some("Rolled back: "),
            is_metric_failed: true,
            ..replaced
        },
        Scenario::Superseded => replaced,
    }
}
