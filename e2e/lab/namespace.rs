//! The network namespace: every address of 10.77/16 can be bound in it without adding it, so each pod has its own.

use std::{
    env,
    path::Path,
    process::{Command, Stdio},
};

use crate::{Fallible, settings};

/// Ways to make the namespace, best first. A PID namespace ends everything in it when the lab ends, however it ends;
/// where /proc cannot be mounted it is left out, and where we are not root a user namespace gives the right to do the rest.
const WAYS: &[&[&str]] = &[
    &["--net", "--pid", "--fork", "--kill-child", "--mount-proc"],
    &["--net", "--pid", "--fork", "--kill-child"],
    &["--map-root-user", "--net", "--pid", "--fork", "--kill-child", "--mount-proc"],
    &["--map-root-user", "--net", "--pid", "--fork", "--kill-child"],
];

/// How this machine makes namespaces.
///
/// # Errors
/// When no way is open here.
pub(crate) fn way() -> Fallible<&'static [&'static str]> {
    let error = "this machine lets us make no network namespace: run as root, or allow unprivileged user namespaces \
        (sysctl kernel.unprivileged_userns_clone=1), and install util-linux and iproute2";
    Ok(WAYS.iter().find(|way| works(way)).ok_or(error)?)
}

/// This program once more, to play `lane` in a namespace of its own. It ends with whoever starts it.
///
/// # Errors
/// When this program cannot be found.
pub(crate) fn again(way: &[&str], lane: &str, programs: &Path, words: &[String]) -> Fallible<Command> {
    let mut command = Command::new("setpriv");
    command
        .args(["--pdeathsig", "KILL", "unshare"])
        .args(way)
        .arg("--")
        .arg(env::current_exe()?)
        .args(words)
        .env(settings::INSIDE, programs)
        .env(settings::LANE, lane)
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    Ok(command)
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
