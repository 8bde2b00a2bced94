//! Fetches and pushes in a short-lived child of ourselves, and ends it at its deadline.
//!
//! A network call of libgit2 cannot be cancelled, so none is ever made in this process: the child gets the request
//! and the credential on stdin, answers on stdout, and is killed with its whole process group when its time is up.
//! Nothing secret reaches an argument, the environment or the disk.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    process::{Child, Command},
};

use crate::clock;

/// An answer is one short line; a program that says more is not ours.
const MAX_ANSWER_BYTES: u64 = 64 * 1024;

/// How long a killed child is waited for, in real time.
const REAP_LIMIT: Duration = Duration::from_secs(5);

/// How transfers are run.
#[derive(Clone, Debug)]
pub struct Transfer {
    /// The program: serin itself.
    pub program: PathBuf,
    /// Its arguments: the hidden verb.
    pub arguments: Vec<String>,
    /// The child's whole environment. libgit2 reads the certificates' place from `SSL_CERT_FILE`.
    pub environment: BTreeMap<String, String>,
    /// The longest a transfer may take, in real time.
    pub limit: Duration,
}

impl Transfer {
    /// Transfers by the hidden verb of `program`, each within a minute: a shallow fetch of a large repository takes
    /// seconds, and a server that takes longer is as good as down.
    pub fn by(program: PathBuf) -> Self {
        Self {
            program,
            arguments: vec!["git-transfer".into()],
            environment: BTreeMap::new(),
            limit: Duration::from_mins(1),
        }
    }
}

/// What a child is asked to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Request {
    /// Address of the remote, without credentials.
    pub url: String,
    /// The bare clone on this machine.
    pub clone: PathBuf,
    /// Branch of the remote, for instance `main`.
    pub branch: String,
    /// What to do.
    pub action: Action,
}

/// Fetch or push.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Action {
    /// Bring the branch's tip, and so many commits below it where the transport can, into the clone.
    Fetch { depth: u16 },
    /// Make `commit`, a child of `expected`, the tip of the branch if `expected` still is.
    #[serde(rename_all = "camelCase")]
    Push { commit: String, expected: String },
}

/// What opens the remote. Printed nowhere.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Credential {
    /// Nothing: a repository on this machine.
    #[default]
    None,
}

impl std::fmt::Debug for Credential {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Credential")
    }
}

/// What the child gets on stdin, as one line of JSON.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Order {
    pub request: Request,
    pub credential: Credential,
}

/// What the child says on stdout, as one line of JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Answer {
    /// The tip of the branch, whose objects are in the clone now.
    Fetched { tip: String },
    /// The branch is at the commit.
    Pushed,
    /// Nothing was changed on the remote.
    Failed(Failure),
}

/// Why a transfer failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error, strum::IntoStaticStr)]
#[serde(rename_all = "camelCase")]
pub enum Failure {
    #[error("the branch moved while the change was made")]
    Raced,
    #[error("the remote refused the commit: {0}")]
    Refused(String),
    #[error("the remote refused the credential: {0}")]
    Unauthorized(String),
    #[error("the remote has no branch `{0}`")]
    NoBranch(String),
    #[error("the remote cannot be reached: {0}")]
    Unreachable(String),
    #[error("the remote gave no answer within {0} s")]
    TimedOut(u64),
    #[error("the clone on this machine cannot be used: {0}")]
    Clone(String),
    #[error("the transfer's process failed: {0}")]
    Process(String),
}

/// What a failure means for the next step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disposition {
    /// Fetch again and decide again, at once.
    Again,
    /// Try again later; nobody has to do anything here.
    Retry,
    /// Wait for a person.
    Stall,
}

impl Failure {
    /// What the failure means for the next step.
    pub const fn disposition(&self) -> Disposition {
        match self {
            Self::Raced => Disposition::Again,
            Self::Unreachable(_) | Self::TimedOut(_) | Self::Clone(_) | Self::Process(_) => {
                Disposition::Retry
            }
            Self::Refused(_) | Self::Unauthorized(_) | Self::NoBranch(_) => Disposition::Stall,
        }
    }
}

impl Transfer {
    /// Brings the tip of `branch` into `clone` and says which commit it is.
    ///
    /// # Errors
    /// See [`Failure`]; the clone is as it was, or holds objects that nothing names.
    pub async fn fetch(
        &self,
        (url, branch): (&str, &str),
        clone: &Path,
        depth: u16,
        credential: &Credential,
    ) -> Result<git2::Oid, Failure> {
        let request = Request {
            url: url.into(),
            clone: clone.into(),
            branch: branch.into(),
            action: Action::Fetch { depth },
        };
        match self.run(request, credential).await? {
            Answer::Fetched { tip } => {
                git2::Oid::from_str(&tip).map_err(|_| Failure::Process(format!("`{tip}` is no object id")))
            }
            Answer::Pushed => Err(Failure::Process("a fetch was answered as a push".into())),
            Answer::Failed(failure) => Err(failure),
        }
    }

    /// Makes `commit` the tip of `branch` if `expected` still is.
    ///
    /// # Errors
    /// See [`Failure`]. After `Raced`, `Refused`, `Unauthorized` and `NoBranch` the remote is unchanged; after any other
    /// the push may have arrived, and only the branch itself can tell.
    pub async fn push(
        &self,
        (url, branch): (&str, &str),
        clone: &Path,
        (commit, expected): (git2::Oid, git2::Oid),
        credential: &Credential,
    ) -> Result<(), Failure> {
        let request = Request {
            url: url.into(),
            clone: clone.into(),
            branch: branch.into(),
            action: Action::Push { commit: commit.to_string(), expected: expected.to_string() },
        };
        match self.run(request, credential).await? {
            Answer::Pushed => Ok(()),
            Answer::Fetched { .. } => Err(Failure::Process("a push was answered as a fetch".into())),
            Answer::Failed(failure) => Err(failure),
        }
    }

    async fn run(&self, request: Request, credential: &Credential) -> Result<Answer, Failure> {
        let order = Order { request, credential: credential.clone() };
        let mut line = serde_json::to_vec(&order).map_err(|e| Failure::Process(e.to_string()))?;
        line.push(b'\n');
        let mut child = self.start()?;
        let answer = clock::outside(self.limit, converse(&mut child, &line)).await;
        // Killed, it is gone at once; `kill_on_drop` collects one that the kernel holds longer.
        let _ = clock::outside(REAP_LIMIT, end(&mut child)).await;
        answer.unwrap_or(Err(Failure::TimedOut(self.limit.as_secs())))
    }

    fn start(&self) -> Result<Child, Failure> {
        Command::new(&self.program)
            .args(&self.arguments)
            .env_clear()
            .envs(&self.environment)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(|e| Failure::Process(format!("cannot start {}: {e}", self.program.display())))
    }
}

/// Gives the order and reads the answer. Stdin stays open until the answer is there: the child ends itself when it
/// closes, so that none outlives us.
async fn converse(child: &mut Child, order: &[u8]) -> Result<Answer, Failure> {
    let broken = |e: std::io::Error| Failure::Process(e.to_string());
    let missing = || Failure::Process("no pipe".into());
    let mut stdin = child.stdin.take().ok_or_else(missing)?;
    let stdout = child.stdout.take().ok_or_else(missing)?;
    // A child that dies before it read everything is heard through its missing answer.
    let _ = stdin.write_all(order).await;
    let _ = stdin.flush().await;
    let mut answer = vec![];
    stdout.take(MAX_ANSWER_BYTES).read_to_end(&mut answer).await.map_err(broken)?;
    drop(stdin);
    serde_json::from_slice(&answer).map_err(|e| Failure::Process(format!("the answer is not readable: {e}")))
}

/// Kills the child's process group and collects the child.
async fn end(child: &mut Child) {
    let group = child.id().and_then(|id| i32::try_from(id).ok()).and_then(rustix::process::Pid::from_raw);
    if let Some(group) = group {
        // Fails only when everybody in it has ended already.
        let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
    }
    let _ = child.wait().await;
}
