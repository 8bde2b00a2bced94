//! Child processes with a log of their own, ended with their value.

use std::{
    fs::File,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use serin::clock::Clock;
use tokio::process::{Child, Command};

/// A running program.
pub(crate) struct Process {
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts `program` in `folder`; what it prints is added to `folder/name.log`.
    pub(crate) fn start(folder: &Path, name: &str, program: &str, arguments: &[String]) -> Self {
        let log = folder.join(format!("{name}.log"));
        let out = File::options().create(true).append(true).open(&log).unwrap();
        let child = Command::new(program)
            .args(arguments)
            .env("POD_NAMESPACE", "serin-system")
            .current_dir(folder)
            .stdin(Stdio::null())
            .stdout(out.try_clone().unwrap())
            .stderr(out)
            .kill_on_drop(true)
            .spawn()
            .unwrap_or_else(|error| panic!("{program}: {error}"));
        Self { child, log }
    }

    /// Asks it to end, as the kubelet does. Answers with its exit status.
    pub(crate) async fn terminate(&mut self) -> Option<i32> {
        let id = i32::try_from(self.child.id()?).unwrap();
        let process = rustix::process::Pid::from_raw(id).unwrap();
        rustix::process::kill_process(process, rustix::process::Signal::TERM).unwrap();
        self.ended(Duration::from_secs(20)).await
    }

    /// Waits until it has ended by itself. Answers with its exit status.
    pub(crate) async fn ended(&mut self, limit: Duration) -> Option<i32> {
        let ended = Clock::Wall.timeout(limit, self.child.wait()).await;
        ended.unwrap_or_else(|| panic!("it goes on:\n{}", self.log())).unwrap().code()
    }

    /// Everything that it printed.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }
}
