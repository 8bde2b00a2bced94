//! The stories that can be played, and how each must end.

/// Which story is played. The first line of each is what `serin demo --list` tells of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum, strum::Display)]
#[strum(serialize_all = "kebab-case")]
pub enum Scenario {
    /// The new version answers errors: traffic goes back, Git is put right, one Slack message.
    BadMetric,
    /// The new version behaves and becomes stable; nobody touches Git.
    Good,
    /// The canary's pods crash-loop: the progress deadline takes it back, Git is put right.
    BadPods,
    /// The canary's series never appears: paused for a person, who promotes once it is there.
    NoData,
    /// Prometheus is gone for half an hour: the weight is held, then the rollout goes on to 100 %.
    PrometheusDown,
    /// A person aborts at 20 %: traffic goes back, Git is left to the person.
    UserAbort,
    /// Errors while Git is away for half an hour and serin is restarted twice: the revert lands afterwards.
    GitDown,
    /// Errors, but a person pushes a fix before the bot does: nothing is overwritten.
    FixedFirst,
    /// Another tool puts a rejected canary's weight back (cut at once) and lowers the next one's (respected at last).
    Contested,
    /// A newer version arrives in mid-canary: it begins at step 0, and no request is lost.
    Superseded,
    /// Errors, and the leader of two replicas is killed as it is about to act: the other one does.
    TakeoverByRestart,
}

impl Scenario {
    /// How many times faster than the clock it is played unless told otherwise: half a minute or so each.
    pub fn default_speed(self) -> u32 {
        match self {
            Self::BadMetric | Self::BadPods | Self::UserAbort => 20,
            // A lease of 15 s has to be renewed in time on a busy machine, too.
            Self::TakeoverByRestart => 10,
            Self::Good | Self::Superseded | Self::FixedFirst => 30,
            Self::NoData | Self::Contested => 40,
            Self::PrometheusDown | Self::GitDown => 60,
        }
    }

    /// Whether two replicas of the controller share a lease.
    pub fn has_standby(self) -> bool {
        self == Self::TakeoverByRestart
    }

    /// What happens, as a continuation of "Somebody releases v1.2.0, ".
    pub fn plot(self) -> &'static str {
        match self {
            Self::BadMetric => "which answers 8 % errors",
            Self::Good => "which behaves",
            Self::BadPods => "whose pods serve at first and then crash-loop",
            Self::NoData => "which is never measured: its series does not appear",
            Self::PrometheusDown => "which behaves; on the way Prometheus is gone for half an hour",
            Self::UserAbort => "which behaves; a person aborts it all the same",
            Self::GitDown => {
                "which answers 8 % errors, while Git is away for half an hour and serin is restarted twice"
            }
            Self::FixedFirst => "which answers 8 % errors; a person pushes a fix before the bot does",
            Self::Contested => {
                "which answers 8 % errors, while another tool has its hand on the weights, too"
            }
            Self::Superseded => "which behaves; a newer version arrives before it is through",
            Self::TakeoverByRestart => {
                "which answers 8 % errors; the leader of two replicas of serin is killed"
            }
        }
    }
}
