//! What the lab is told from outside: which journeys, where the programs are.

use std::{env, path::PathBuf};

use crate::Fallible;

/// Set for the process inside of the namespace; holds the folder with etcd, kube-apiserver, kube-controller-manager.
pub(crate) const INSIDE: &str = "SERIN_LAB_INSIDE";
/// Keeps the lab's folder (logs, audit log, repositories) after a run that passed; one that failed always keeps it.
const KEEP: &str = "SERIN_LAB_KEEP";

/// Set beside [`INSIDE`]: which lane this process plays.
pub(crate) const LANE: &str = "SERIN_LAB_LANE";
/// What configures Envoy in place of the istiod that is built beside the control plane: another pilot-discovery, or `stand-in`.
const ISTIOD: &str = "SERIN_LAB_ISTIOD";
/// How many lanes are played side by side. Each takes about 0.8 GB.
const LANES: &str = "SERIN_LAB_LANES";

/// Plays the bad story once without each single right of `deploy/` that holds this text (`patch`, `leases`), or without each at all
/// when it is `all`: a quarter of an hour or so.
const EVERY_RIGHT: &str = "SERIN_LAB_EVERY_RIGHT";

/// The settings of one run.
pub(crate) struct Settings {
    /// The lane that is played; none in the process that starts the others.
    pub(crate) lane: Option<String>,
    /// How many lanes are played side by side.
    pub(crate) lanes: usize,
    /// The istiod that configures Envoy; the stand-in does where there is none.
    pub(crate) istiod: Option<PathBuf>,
    /// Folder of the control plane's programs; empty until it is known.
    pub(crate) programs: PathBuf,
    /// Only journeys whose name holds one of these; all when empty.
    pub(crate) only: Vec<String>,
    pub(crate) keep: bool,
    /// Which rights to take out, one after another, instead of two samples.
    pub(crate) every_right: Option<String>,
    /// The repository's root.
    pub(crate) root: PathBuf,
    /// The binary under test.
    pub(crate) serin: PathBuf,
}

/// Reads the arguments and the environment. Flags of cargo's own test runner are ignored.
///
/// # Errors
/// When a variable does not hold what it should.
#[expect(clippy::disallowed_methods, reason = "the lab's configuration enters here and nowhere else")]
pub(crate) fn read() -> Fallible<Settings> {
    let programs = env::var(INSIDE).ok().map(PathBuf::from).unwrap_or_default();
    let lanes = match env::var(LANES) {
        Ok(text) => text.parse().map_err(|_| format!("{LANES}: {text:?} is not a number"))?,
        Err(_) => 4,
    };
    Ok(Settings {
        lane: env::var(LANE).ok(),
        lanes: lanes.max(1),
        istiod: match env::var(ISTIOD).as_deref() {
            Ok("stand-in") => None,
            Err(_) | Ok("") => Some(programs.join("pilot-discovery")),
            Ok(path) => Some(PathBuf::from(path)),
        },
        programs,
        only: env::args().skip(1).filter(|word| !word.starts_with('-')).collect(),
        keep: env::var(KEEP).is_ok(),
        every_right: env::var(EVERY_RIGHT).ok(),
        root: PathBuf::from(env!("CARGO_MANIFEST_DIR")),
        serin: PathBuf::from(env!("CARGO_BIN_EXE_serin")),
    })
}
