//! Fetches and pushes in a short-lived child of ourselves, and ends it at its deadline.
//!
//! A network call of libgit2 cannot be cancelled, so none is ever made in this process: the child gets the request
//! and the credential on stdin, answers on stdout, and is killed with its whole process group when its time is up.
//! Nothing secret reaches an argument, the environment or the disk: what a child finds in the folder that is its home
//! is the server's authority and host keys, which are public.

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

use super::{
    access::{Access, Credential},
    hosts, remote,
};
use crate::clock;

/// An answer is one short line; a program that says more is not ours.
const MAX_ANSWER_BYTES: u64 = 64 * 1024;

/// The most bytes that one fetch may receive, where nothing else is said. The last commits of a repository for manifests
/// have a few MiB; of one with a product's sources, 100. All clones together may take four times as much.
pub const MAX_FETCH_BYTES: u64 = 256 * 1024 * 1024;

/// Home folders of children are called so; one that a crash left is removed at the next start.
pub(super) const HOME_PREFIX: &str = "transfer-";

/// How long a killed child is waited for, in real time.
const REAP_LIMIT: Duration = Duration::from_secs(5);

/// How transfers are run.
#[derive(Clone, Debug)]
pub struct Transfer {
    /// The program: serin itself.
    pub program: PathBuf,
    /// Its arguments: the hidden verb.
    pub arguments: Vec<String>,
    /// The child's environment, beside the few variables that tell it where its home and the authorities are.
    pub environment: BTreeMap<String, String>,
    /// The longest a transfer may take, in real time.
    pub limit: Duration,
    /// The most bytes that one fetch may receive.
    pub most_bytes: u64,
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
            most_bytes: MAX_FETCH_BYTES,
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
    /// The transfer ends when it has received more than `most_bytes`.
    #[serde(rename_all = "camelCase")]
    Fetch { depth: u16, most_bytes: u64 },
    /// Make `commit`, a child of `expected`, the tip of the branch if `expected` still is.
    #[serde(rename_all = "camelCase")]
    Push { commit: String, expected: String },
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

/// Why a transfer failed. What a person can do about it is said in `trouble`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error, strum::IntoStaticStr)]
#[serde(rename_all = "camelCase")]
pub enum Failure {
    #[error("the branch moved while the change was made")]
    Raced,
    #[error("the remote refused the commit: {0}")]
    Refused(String),
    #[error("the remote refused the credential: {0}")]
    Unauthorized(String),
    #[error("the remote's certificate is refused: {0}")]
    Certificate(String),
    #[error("the remote's host key is refused: {0}")]
    HostKey(String),
    #[error("the private key cannot be used: {0}")]
    Key(String),
    #[error("the remote redirects elsewhere, where the credential is not sent: {0}")]
    Redirected(String),
    #[error("the remote has no such repository, or hides it: {0}")]
    NotFound(String),
    #[error("the remote has no branch `{0}`")]
    NoBranch(String),
    #[error("the repository is too large: one fetch may bring {bytes} bytes and {objects} objects")]
    TooLarge { bytes: u64, objects: usize },
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
    /// A person has to do something.
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
            Self::Refused(_)
            | Self::Unauthorized(_)
            | Self::Certificate(_)
            | Self::HostKey(_)
            | Self::Key(_)
            | Self::Redirected(_)
            | Self::NotFound(_)
            | Self::NoBranch(_)
            | Self::TooLarge { .. } => Disposition::Stall,
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
        access: &Access,
    ) -> Result<git2::Oid, Failure> {
        let request = Request {
            url: url.into(),
            clone: clone.into(),
            branch: branch.into(),
            action: Action::Fetch { depth, most_bytes: self.most_bytes },
        };
        match self.run(request, access).await? {
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
    /// See [`Failure`]. After one that is not tried again by itself the remote is unchanged; after any other but
    /// `Raced` the push may have arrived, and only the branch itself can tell.
    pub async fn push(
        &self,
        (url, branch): (&str, &str),
        clone: &Path,
        (commit, expected): (git2::Oid, git2::Oid),
        access: &Access,
    ) -> Result<(), Failure> {
        let request = Request {
            url: url.into(),
            clone: clone.into(),
            branch: branch.into(),
            action: Action::Push { commit: commit.to_string(), expected: expected.to_string() },
        };
        match self.run(request, access).await? {
            Answer::Pushed => Ok(()),
            Answer::Fetched { .. } => Err(Failure::Process("a push was answered as a fetch".into())),
            Answer::Failed(failure) => Err(failure),
        }
    }

    async fn run(&self, request: Request, access: &Access) -> Result<Answer, Failure> {
        let broken = |e: std::io::Error| Failure::Process(format!("no home for the transfer: {e}"));
        let home = Home::new(&request, access).map_err(broken)?;
        let order = Order { request, credential: access.credential.clone() };
        let mut line = serde_json::to_vec(&order).map_err(|e| Failure::Process(e.to_string()))?;
        line.push(b'\n');
        let mut child = self.start(&home)?;
        let answer = clock::outside(self.limit, converse(&mut child, &line)).await;
        // Killed, it is gone at once; `kill_on_drop` collects one that the kernel holds longer.
        let _ = clock::outside(REAP_LIMIT, end(&mut child)).await;
        answer.unwrap_or(Err(Failure::TimedOut(self.limit.as_secs())))
    }

    fn start(&self, home: &Home) -> Result<Child, Failure> {
        Command::new(&self.program)
            .args(&self.arguments)
            .env_clear()
            .envs(&self.environment)
            .envs(home.environment())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(|e| Failure::Process(format!("cannot start {}: {e}", self.program.display())))
    }
}

/// What one child finds on the disk. Removed with this.
struct Home {
    folder: tempfile::TempDir,
    has_authority: bool,
}

impl Home {
    fn new(request: &Request, access: &Access) -> std::io::Result<Self> {
        let below = request.clone.parent().unwrap_or(&request.clone);
        let folder = tempfile::Builder::new().prefix(HOME_PREFIX).tempdir_in(below)?;
        if let Some(authority) = &access.authority {
            std::fs::write(folder.path().join("ca.pem"), authority)?;
        }
        if let Credential::Key { known_hosts, .. } = &access.credential {
            // libgit2 asks the server for a kind of host key that stands here; whether it is the right one is checked
            // in `callbacks`.
            std::fs::create_dir(folder.path().join(".ssh"))?;
            let server = remote::authority(&request.url);
            let keys = server.map(|(host, port)| hosts::plain(known_hosts, (&host, port)));
            std::fs::write(folder.path().join(".ssh/known_hosts"), keys.unwrap_or_default())?;
        }
        Ok(Self { folder, has_authority: access.authority.is_some() })
    }

    /// Where the child's home is, and, where the policy names authorities, that it trusts no others.
    fn environment(&self) -> Vec<(&'static str, PathBuf)> {
        let home = self.folder.path();
        let mut environment = vec![("HOME", home.to_owned())];
        if self.has_authority {
            environment.push(("SSL_CERT_FILE", home.join("ca.pem")));
            environment.push(("SSL_CERT_DIR", home.join("no-certificates")));
        }
        environment
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
    if answer.is_empty() {
        return Err(Failure::Process("it ended without an answer".into()));
    }
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
