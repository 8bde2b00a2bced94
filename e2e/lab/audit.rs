//! What serin asked of the API server, as the API server wrote it down.

use std::{
    collections::BTreeSet,
    fs::File,
    io::{BufRead, BufReader, Seek, SeekFrom},
    path::{Path, PathBuf},
};

use jiff::Timestamp;
use serde_json::Value;

use crate::Fallible;

/// One request.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    /// When the API server received it.
    pub(crate) at: Timestamp,
    /// The ServiceAccount, without its namespace.
    pub(crate) account: String,
    pub(crate) right: Right,
    pub(crate) namespace: String,
    /// False when RBAC refused it.
    pub(crate) allowed: bool,
    /// HTTP status of the answer; 0 while a watch is still open.
    pub(crate) code: u64,
    /// What was sent; null for reads.
    pub(crate) body: Value,
}

/// What a rule of RBAC grants, for one verb and one resource.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Right {
    /// API group, empty for the core.
    pub(crate) group: String,
    /// With its subresource: `rollouts/status`.
    pub(crate) resource: String,
    pub(crate) verb: String,
    /// The object's name; empty where the request names none.
    pub(crate) name: String,
}

impl std::fmt::Display for Right {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { group, resource, verb, name } = self;
        let group = if group.is_empty() { "core" } else { group };
        write!(f, "{verb} {resource} ({group}) {name}")
    }
}

/// A place in the audit log, from which on it is read.
#[derive(Clone)]
pub(crate) struct Audit {
    path: PathBuf,
    from: u64,
}

impl Audit {
    /// From the present end of the log on.
    ///
    /// # Errors
    /// When there is no log.
    pub(crate) fn from_now(path: &Path) -> Fallible<Self> {
        Ok(Self { path: path.into(), from: std::fs::metadata(path)?.len() })
    }

    /// Everything that was asked since, in the order in which the API server received it.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub(crate) fn asked(&self) -> Fallible<Vec<Asked>> {
        let mut file = File::open(&self.path)?;
        file.seek(SeekFrom::Start(self.from))?;
        let mut all = vec![];
        for line in BufReader::new(file).lines() {
            // The last line may still be half written.
            let Ok(event) = serde_json::from_str::<Value>(&line?) else { break };
            all.extend(asked(&event));
        }
        all.sort_by_key(|asked| asked.at);
        Ok(all)
    }

    /// What RBAC refused since.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub(crate) fn refused(&self) -> Fallible<BTreeSet<(String, Right)>> {
        let refused = self.asked()?.into_iter().filter(|asked| !asked.allowed);
        Ok(refused.map(|asked| (asked.account, asked.right)).collect())
    }
}

fn asked(event: &Value) -> Option<Asked> {
    let text = |pointer: &str| event.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
    let account = text("/user/username").rsplit(':').next()?.to_owned();
    let subresource = text("/objectRef/subresource");
    let mut resource = text("/objectRef/resource");
    // Discovery and probes are open to everybody and have no resource.
    if resource.is_empty() {
        return None;
    }
    if !subresource.is_empty() {
        resource = format!("{resource}/{subresource}");
    }
    let right = Right {
        group: text("/objectRef/apiGroup"),
        resource,
        verb: text("/verb"),
        name: text("/objectRef/name"),
    };
    Some(Asked {
        at: text("/requestReceivedTimestamp").parse().ok()?,
        account,
        right,
        namespace: text("/objectRef/namespace"),
        allowed: event.pointer("/annotations/authorization.k8s.io~1decision") != Some(&"forbid".into()),
        code: event.pointer("/responseStatus/code").and_then(Value::as_u64).unwrap_or_default(),
        body: event.get("requestObject").cloned().unwrap_or_default(),
    })
}
