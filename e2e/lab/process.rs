//! Child processes: each writes to a log of its own and is ended by its id when its value is dropped.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use serin::clock::Clock;
use tokio::process::{Child, Command};

use crate::Fallible;

/// A program that the lab started.
pub(crate) struct Process {
    name: String,
    log: PathBuf,
    child: Child,
}

impl Process {
    /// Starts `program`; what it prints goes to `folder/name.log`, after what an earlier start of that name left there.
    ///
    /// # Errors
    /// When the log cannot be made or the program cannot be started.
    pub(crate) fn start(folder: &Path, name: &str, program: &Path, arguments: &[String]) -> Fallible<Self> {
        Self::start_with(folder, name, program, arguments, &[])
    }

    /// As [`Process::start`], with variables added to the environment.
    ///
    /// # Errors
    /// As [`Process::start`].
    pub(crate) fn start_with(
        folder: &Path,
        name: &str,
        program: &Path,
        arguments: &[String],
        variables: &[(&str, String)],
    ) -> Fallible<Self> {
        let log = folder.join(format!("{name}.log"));
        let out = File::options().create(true).append(true).open(&log)?;
        let child = Command::new(program)
            .args(arguments)
            .envs(variables.iter().map(|(name, value)| (name, value)))
            .current_dir(folder)
            .stdin(Stdio::null())
            .stdout(out.try_clone()?)
            .stderr(out)
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| format!("{}: {error}", program.display()))?;
        Ok(Self { name: name.into(), log, child })
    }

    /// Fails, with the end of the log, when the program has ended.
    ///
    /// # Errors
    /// The program is no longer running.
    pub(crate) fn alive(&mut self) -> Fallible {
        match self.child.try_wait()? {
            None => Ok(()),
            Some(status) => Err(format!("{} ended ({status}):\n{}", self.name, self.tail(20)).into()),
        }
    }

    /// Asks it to end (SIGTERM) as the kubelet does, and waits until it has.
    ///
    /// # Errors
    /// When it takes longer than `limit`, or ends with another status than 0.
    pub(crate) async fn terminate(&mut self, limit: Duration) -> Fallible {
        let Some(id) = self.child.id() else { return Err(format!("{} has ended already", self.name).into()) };
        let asked = Command::new("sh").args(["-c", &format!("kill -TERM {id}")]).status().await?;
        if !asked.success() {
            return Err(format!("{}: SIGTERM could not be sent", self.name).into());
        }
        let ended = Clock::Wall.timeout(limit, self.child.wait()).await;
        match ended.ok_or_else(|| format!("{} goes on {} s after SIGTERM", self.name, limit.as_secs()))?? {
            status if status.success() => Ok(()),
            status => {
                Err(format!("{} ended with {status} after SIGTERM:\n{}", self.name, self.tail(20)).into())
            }
        }
    }

    /// Kills it and waits until it is gone.
    ///
    /// # Errors
    /// When the system refuses.
    pub(crate) async fn kill(&mut self) -> io::Result<()> {
        self.child.kill().await
    }

    /// The last `lines` lines of its log.
    pub(crate) fn tail(&self, lines: usize) -> String {
        let text = fs::read_to_string(&self.log).unwrap_or_default();
        let all: Vec<&str> = text.lines().collect();
        all[all.len().saturating_sub(lines)..].join("\n")
    }
}
