//! The Kubernetes API as values: what is asked of a server and what it answered. No I/O.
//!
//! `apply::render` makes these, the production client sends them, and the embedded world answers them
//! without a socket.

use serde_json::Value;

/// How many seconds a watch is usually asked to last. A connection that hangs without being cut is found out when nothing was heard on it
/// for longer than this, so it bounds how old a store may be. Going on with a watch costs one request and no list.
pub const WATCH_SECONDS: u32 = 20;

/// The verb of a request, as HTTP has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Method {
    Get,
    Post,
    Put,
    Patch,
    Delete,
}

/// What travels with a request; the variant decides the content type.
#[derive(Clone, Debug, PartialEq)]
pub enum Body {
    /// Nothing (GET, and DELETE with default options).
    Empty,
    /// `application/json`: an object, or `DeleteOptions`.
    Json(Value),
    /// `application/merge-patch+json` (RFC 7386).
    Merge(Value),
    /// `application/json-patch+json` (RFC 6902): a list of operations.
    JsonPatch(Value),
    /// `application/strategic-merge-patch+json`; refused with 415 for custom resources.
    StrategicMerge(Value),
    /// `application/apply-patch+yaml`: server-side apply.
    Apply(Value),
}

/// One request to the API server.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    pub method: Method,
    /// Absolute path without query, for instance `/apis/argoproj.io/v1alpha1/namespaces/shop/rollouts/cart/status`.
    pub path: String,
    /// Query parameters in order, not yet percent-encoded.
    pub query: Vec<(String, String)>,
    pub body: Body,
}

/// The answer of an API server: status code and JSON body (an object, a list, or a `Status`).
#[derive(Clone, Debug, PartialEq)]
pub struct Response {
    pub status: u16,
    pub body: Value,
}

impl Response {
    /// True for 2xx.
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// The machine-readable `reason` of a `Status`, for instance `AlreadyExists`; empty where there is none.
    pub fn reason(&self) -> &str {
        self.body.get("reason").and_then(Value::as_str).unwrap_or_default()
    }

    /// The message of a `Status`; empty where there is none.
    pub fn message(&self) -> &str {
        self.body.get("message").and_then(Value::as_str).unwrap_or_default()
    }
}
