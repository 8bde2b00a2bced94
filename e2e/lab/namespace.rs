//! The network namespace: every address of 10.77/16 can be bound in it without adding it, so each pod has its own.

use std::{
    env,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Command, ExitCode, Stdio},
};

use crate::{
    Fallible,
    settings::{self, Settings},
};

/// Ways to make the namespace, best first. A PID namespace ends everything in it when the lab ends, however it ends;
/// where /proc cannot be mounted it is left out, and where we are not root a user namespace gives the right to do the rest.
const WAYS: &[&[&str]] = &[
    &["--net", "--pid", "--fork", "--kill-child", "--mount-proc"],
    &["--net", "--pid", "--fork", "--kill-child"],
    &["--map-root-user", "--net", "--pid", "--fork", "--kill-child", "--mount-proc"],
    &["--map-root-user", "--net", "--pid", "--fork", "--kill-child"],
];

/// Builds or finds the programs, then becomes `unshare`, which starts this program again inside of a namespace. Whoever
/// kills that process ends the whole lab.
///
/// # Errors
/// When the programs cannot be built, or no way to make a namespace is open here. Otherwise it does not return.
pub(crate) fn enter(settings: &Settings) -> Fallible<ExitCode> {
    let programs = programs(&settings.root)?;
    let way = WAYS.iter().find(|way| works(way)).ok_or(
        "this machine lets us make no network namespace: run as root, or allow unprivileged user namespaces \
         (sysctl kernel.unprivileged_userns_clone=1), and install util-linux and iproute2",
    )?;
    let error = Command::new("unshare")
        .args(*way)
        .arg("--")
        .arg(env::current_exe()?)
        .args(&settings.only)
        .env(settings::INSIDE, programs)
        .stdin(Stdio::null())
        .exec();
    Err(format!("unshare: {error}").into())
}

/// Brings the namespace's loopback up and routes the pods' addresses to it.
///
/// # Errors
/// When `ip` is missing or refuses.
pub(crate) fn furnish() -> Fallible {
    for words in [
        ["link", "set", "lo", "up"].as_slice(),
        ["route", "replace", "local", "10.77.0.0/16", "dev", "lo"].as_slice(),
    ] {
        let output = Command::new("ip").args(words).output().map_err(|error| format!("ip: {error}"))?;
        if !output.status.success() {
            return Err(format!("ip {}: {}", words.join(" "), String::from_utf8_lossy(&output.stderr)).into());
        }
    }
    Ok(())
}

fn works(way: &[&str]) -> bool {
    Command::new("unshare")
        .args(way)
        .args(["--", "ip", "link", "set", "lo", "up"])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

fn programs(root: &Path) -> Fallible<PathBuf> {
    let output = Command::new(root.join("e2e/lab/control-plane")).stderr(Stdio::inherit()).output()?;
    if !output.status.success() {
        return Err("the control plane could not be built; see above".into());
    }
    let text = String::from_utf8(output.stdout)?;
    Ok(PathBuf::from(text.lines().last().ok_or("e2e/lab/control-plane named no folder")?))
}
