//! What an analysis comes to: four answers, never a bool. No I/O. No clock.

/// How a measurement, a metric or a whole analysis ended.
///
/// The four are not the same to anybody: `Failed` was measured and is bad, `Inconclusive` needs a human, `Error`
/// means that nothing could be judged. The wire writes the variant's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verdict {
    /// Measured, and within the limits.
    Successful,
    /// Neither good nor bad by the conditions: a rollout pauses.
    Inconclusive,
    /// Could not be judged: a rollout aborts, nothing is reverted in Git.
    Error,
    /// Measured, and bad: a rollout aborts.
    Failed,
}

impl Verdict {
    /// The name on the wire, for instance `Inconclusive`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Successful => "Successful",
            Self::Inconclusive => "Inconclusive",
            Self::Error => "Error",
            Self::Failed => "Failed",
        }
    }
}

impl std::fmt::Display for Verdict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}
