//! What the lab is told from outside: which journeys, where the programs are.

use std::{env, path::PathBuf};

use crate::Fallible;

/// Set for the process inside of the namespace; holds the folder with etcd, kube-apiserver, kube-controller-manager.
pub(crate) const INSIDE: &str = "SERIN_LAB_INSIDE";
/// Keeps the lab's folder (logs, audit log, repositories) after a run that passed; one that failed always keeps it.
const KEEP: &str = "SERIN_LAB_KEEP";

/// Plays the bad story once without each single right of `deploy/` that holds this text (`patch`, `leases`), or without each at all
/// when it is `all`: a quarter of an hour or so.
const EVERY_RIGHT: &str = "SERIN_LAB_EVERY_RIGHT";

/// The settings of one run.
pub(crate) struct Settings {
    /// True in the process that the namespace was made for.
    pub(crate) inside: bool,
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
/// None today; the signature leaves room for a flag that can be wrong.
#[expect(clippy::disallowed_methods, reason = "the lab's configuration enters here and nowhere else")]
pub(crate) fn read() -> Fallible<Settings> {
    let programs = env::var(INSIDE).ok().map(PathBuf::from);
    Ok(Settings {
        inside: programs.is_some(),
        programs: programs.unwrap_or_default(),
        only: env::args().skip(1).filter(|word| !word.starts_with('-')).collect(),
        keep: env::var(KEEP).is_ok(),
        every_right: env::var(EVERY_RIGHT).ok(),
        root: PathBuf::from(env!("CARGO_MANIFEST_DIR")),
        serin: PathBuf::from(env!("CARGO_BIN_EXE_serin")),
    })
}
