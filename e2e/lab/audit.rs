//! What serin asked of the API server, and others changed, as the API server wrote it down.

use std::{
    collections::BTreeSet,
    fs::File,
    io::{Read as _, Seek, SeekFrom},
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use jiff::Timestamp;
use serde_json::Value;

use crate::{Fallible, images::lock};

/// One request.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    /// When the API server received it.
    pub(crate) at: Timestamp,
    /// The ServiceAccount, without its namespace.
    pub(crate) account: String,
    /// Identity of the token that was used: each process has its own. Empty where the API server notes none.
    pub(crate) credential: String,
    /// Who says to have written; empty where nobody says so.
    pub(crate) manager: String,
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

/// The audit log from some place on. What was read once is kept.
#[derive(Clone)]
pub(crate) struct Audit {
    path: PathBuf,
    read: Arc<Mutex<Read>>,
}

struct Read {
    /// Bytes of the log that are in `all`, or were there before.
    to: u64,
    all: Vec<Asked>,
}

impl Audit {
    /// From the present end of the log on.
    ///
    /// # Errors
    /// When there is no log.
    pub(crate) fn from_now(path: &Path) -> Fallible<Self> {
        let read = Read { to: std::fs::metadata(path)?.len(), all: vec![] };
        Ok(Self { path: path.into(), read: Arc::new(Mutex::new(read)) })
    }

    /// Everything that was asked since, in the order in which the API server received it.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub(crate) fn asked(&self) -> Fallible<Vec<Asked>> {
        let mut read = lock(&self.read);
        let mut file = File::open(&self.path)?;
        file.seek(SeekFrom::Start(read.to))?;
        let mut text = String::new();
        file.read_to_string(&mut text)?;
        // The last line may still be half written.
        let whole = text.rfind('\n').map_or(0, |end| end + 1);
        for line in text[..whole].lines() {
            read.all.extend(asked(&serde_json::from_str(line)?));
        }
        read.to += u64::try_from(whole)?;
        let mut all = read.all.clone();
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

/// The field manager of a request.
fn manager(uri: &str) -> String {
    let query = uri.split_once('?').map(|(_, query)| query).unwrap_or_default();
    let mut fields = query.split('&').filter_map(|field| field.split_once('='));
    fields.find(|(name, _)| *name == "fieldManager").map(|(_, value)| value.to_owned()).unwrap_or_default()
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
        credential: text("/user/extra/authentication.kubernetes.io~1credential-id/0"),
        manager: manager(&text("/requestURI")),
        right,
        namespace: text("/objectRef/namespace"),
        allowed: event.pointer("/annotations/authorization.k8s.io~1decision") != Some(&"forbid".into()),
        code: event.pointer("/responseStatus/code").and_then(Value::as_u64).unwrap_or_default(),
        body: event.get("requestObject").cloned().unwrap_or_default(),
    })
}
