//! A local Slack: real HTTP on loopback, the four methods that serin calls and one incoming webhook, messages kept as
//! people see them.
//!
//! It runs on a thread and runtime of its own, so that a paused or scaled clock elsewhere does not touch it. It
//! refuses what Slack refuses (tokens, bounds of blocks, names where ids are needed) and can be told to fail.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    io,
    net::Ipv4Addr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread::JoinHandle,
};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::{Path, Query, State},
    http::{HeaderMap, Method, StatusCode, header},
    response::{IntoResponse, Response},
    routing::any,
    serve::ListenerExt,
};
use serde_json::{Value, json};
use tokio::sync::{oneshot, watch};

mod render;
mod rules;

/// The token that the receiver takes, unless told otherwise.
pub const TOKEN: &str = "xoxb-local-receiver";
/// The secret part of the incoming webhook's address, and the channel that it posts to.
pub const WEBHOOK: &str = "T0LOCAL/B0LOCAL/local-webhook-secret";
pub const WEBHOOK_CHANNEL: &str = "from-webhook";

/// A message as people see it, and what it said before.
#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    /// Channel name without `#`.
    pub channel: String,
    pub channel_id: String,
    /// Identity within the channel.
    pub ts: String,
    pub text: String,
    pub blocks: Value,
    pub metadata: Value,
    /// Fallback texts before each edit, the oldest first.
    pub earlier: Vec<String>,
}

/// What goes wrong with a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// `ok: false` with this error, for instance `invalid_auth`; nothing takes effect.
    Error(&'static str),
    /// 429 with `Retry-After` in seconds.
    RateLimited(u32),
    /// An HTTP status without a body of Slack's.
    Status(u16),
    /// Never answers; nothing takes effect.
    Hang,
    /// Takes effect and never answers.
    HangAfter,
    /// Takes effect, then the connection is cut.
    DropAfter,
}

/// The receiver's script. Set as a whole.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    /// For the next calls, in order; `None` lets one through.
    pub next: VecDeque<Option<Fault>>,
    /// For every call of a method, for instance `chat.postMessage`, after `next` is used up.
    pub always: BTreeMap<&'static str, Fault>,
    /// Scopes that the token lacks, for instance `channels:history`.
    pub missing_scopes: BTreeSet<&'static str>,
}

/// A running receiver. Ends when dropped.
#[derive(Debug)]
pub struct SlackReceiver {
    /// `http://127.0.0.1:<port>/api/`: what `apiURL` in `service.slack` is set to.
    pub url: String,
    state: Arc<Mutex<Kept>>,
    calls: watch::Sender<u64>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Kept {
    messages: Vec<Message>,
    /// Name to id, in the order of first use.
    channels: BTreeMap<String, String>,
    calls: Vec<String>,
    faults: Faults,
}

impl SlackReceiver {
    /// Starts on a free port of 127.0.0.1. A channel exists from the moment somebody posts to its name.
    ///
    /// # Errors
    /// When no port or thread can be had.
    pub fn start() -> io::Result<Self> {
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        listener.set_nonblocking(true)?;
        let url = format!("http://{}/api/", listener.local_addr()?);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let state = Arc::new(Mutex::new(Kept::default()));
        let calls = watch::Sender::new(0);
        let (stop, stopped) = oneshot::channel();
        let app = Router::new()
            .route("/api/{method}", any(serve))
            .route("/services/{*secret}", any(serve_webhook))
            .with_state(Shared { state: state.clone(), calls: calls.clone() });
        let thread = std::thread::Builder::new().name("slack".to_owned()).spawn(move || {
            runtime.block_on(async move {
                let Ok(listener) = tokio::net::TcpListener::from_std(listener) else { return };
                // Small answers: waiting to fill a packet would make each call 40 ms long.
                let listener = listener.tap_io(|stream| {
                    let _ = stream.set_nodelay(true);
                });
                tokio::select! {
                    _ = stopped => {}
                    _ = axum::serve(listener, app) => {}
                }
            });
            // Calls that hang by script must not hold up the end.
            runtime.shutdown_background();
        })?;
        Ok(Self { url, state, calls, stop: Some(stop), thread: Some(thread) })
    }

    /// The address of the incoming webhook.
    pub fn webhook_url(&self) -> String {
        self.url.replace("/api/", &format!("/services/{WEBHOOK}"))
    }

    /// The messages, in the order of their posting.
    pub fn messages(&self) -> Vec<Message> {
        locked(&self.state).messages.clone()
    }

    /// Names of the methods that were called, in order, refused ones included.
    pub fn calls(&self) -> Vec<String> {
        locked(&self.state).calls.clone()
    }

    /// The number of calls so far, as it grows: a harness kills its subject at the n-th.
    pub fn watch_calls(&self) -> watch::Receiver<u64> {
        self.calls.subscribe()
    }

    /// Replaces the script.
    pub fn set_faults(&self, faults: Faults) {
        locked(&self.state).faults = faults;
    }

    /// Makes a channel before anybody posts to it, as people do; returns its id.
    pub fn create_channel(&self, name: &str) -> String {
        locked(&self.state).channel(name).map(|(_, id)| id).unwrap_or_default()
    }

    /// A person deletes the message.
    pub fn delete(&self, ts: &str) {
        locked(&self.state).messages.retain(|message| message.ts != ts);
    }

    /// Every message as a terminal shows it.
    pub fn render(&self) -> String {
        self.messages().iter().map(Message::render).collect::<Vec<_>>().join("\n")
    }

    /// What `slack.json` holds: a list of messages with their edits.
    pub fn dump(&self) -> Value {
        let one = |message: &Message| {
            json!({
                "channel": message.channel, "ts": message.ts, "text": message.text, "blocks": message.blocks,
                "metadata": message.metadata, "edits": message.earlier.len(), "earlierTexts": message.earlier,
            })
        };
        self.messages().iter().map(one).collect()
    }
}

impl Drop for SlackReceiver {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// A thread that panicked here has left whole messages behind.
fn locked(state: &Mutex<Kept>) -> MutexGuard<'_, Kept> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

#[derive(Clone)]
struct Shared {
    state: Arc<Mutex<Kept>>,
    calls: watch::Sender<u64>,
}

/// What the script has for the next call of a method, which counts from here on.
fn fault(shared: &Shared, method: &str) -> Option<Fault> {
    let fault = {
        let mut kept = locked(&shared.state);
        kept.calls.push(method.to_owned());
        match kept.faults.next.pop_front() {
            Some(fault) => fault,
            None => {
                kept.faults.always.iter().find(|(name, _)| **name == method).map(|(_, fault)| fault.clone())
            }
        }
    };
    shared.calls.send_modify(|count| *count += 1);
    fault
}

/// An incoming webhook: plain words instead of JSON, and nothing that tells where the message went.
async fn serve_webhook(
    State(shared): State<Shared>,
    Path(secret): Path<String>,
    verb: Method,
    body: Bytes,
) -> Response {
    let refuse = |code: StatusCode, word: &'static str| (code, word).into_response();
    let fault = fault(&shared, "webhook");
    match fault {
        Some(Fault::Error(word)) => return refuse(StatusCode::BAD_REQUEST, word),
        Some(Fault::RateLimited(seconds)) => {
            return (
                StatusCode::TOO_MANY_REQUESTS,
                [(header::RETRY_AFTER, seconds.to_string())],
                "rate_limited",
            )
                .into_response();
        }
        Some(Fault::Status(code)) => {
            return StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR).into_response();
        }
        Some(Fault::Hang) => return std::future::pending().await,
        Some(Fault::HangAfter | Fault::DropAfter) | None => {}
    }
    let answer = if secret != WEBHOOK {
        refuse(StatusCode::FORBIDDEN, "invalid_token")
    } else if let Some(sent) = serde_json::from_slice::<Value>(&body).ok().filter(|_| verb == Method::POST) {
        let message = json!({"channel": WEBHOOK_CHANNEL, "text": sent["text"], "blocks": sent["blocks"]});
        let answer = locked(&shared.state).post(&message);
        if answer["ok"] == true {
            (StatusCode::OK, "ok").into_response()
        } else {
            refuse(StatusCode::BAD_REQUEST, "invalid_blocks")
        }
    } else {
        refuse(StatusCode::BAD_REQUEST, "invalid_payload")
    };
    match fault {
        Some(Fault::HangAfter) => std::future::pending().await,
        Some(Fault::DropAfter) => cut(),
        Some(Fault::Error(_) | Fault::RateLimited(_) | Fault::Status(_) | Fault::Hang) | None => answer,
    }
}

/// An answer that breaks off.
fn cut() -> Response {
    let cut = futures::stream::once(async { Err::<Bytes, _>(io::Error::other("cut by script")) });
    Response::new(Body::from_stream(cut))
}

async fn serve(
    State(shared): State<Shared>,
    Path(method): Path<String>,
    verb: Method,
    Query(query): Query<BTreeMap<String, String>>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let fault = fault(&shared, &method);
    let asked = Asked { method: &method, verb: &verb, query: &query, headers: &headers, body: &body };
    match fault {
        None => answer(&locked(&shared.state).handle(&asked)),
        Some(Fault::Error(error)) => answer(&refused(error)),
        Some(Fault::RateLimited(seconds)) => {
            let body = refused("ratelimited").to_string();
            (StatusCode::TOO_MANY_REQUESTS, [(header::RETRY_AFTER, seconds.to_string())], body)
                .into_response()
        }
        Some(Fault::Status(code)) => {
            StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR).into_response()
        }
        Some(Fault::Hang) => std::future::pending().await,
        Some(Fault::HangAfter) => {
            let _ = locked(&shared.state).handle(&asked);
            std::future::pending().await
        }
        Some(Fault::DropAfter) => {
            let _ = locked(&shared.state).handle(&asked);
            cut()
        }
    }
}

fn answer(body: &Value) -> Response {
    ([(header::CONTENT_TYPE, "application/json; charset=utf-8")], body.to_string()).into_response()
}

fn refused(error: &str) -> Value {
    json!({"ok": false, "error": error})
}

/// One call, not yet judged.
struct Asked<'a> {
    method: &'a str,
    verb: &'a Method,
    query: &'a BTreeMap<String, String>,
    headers: &'a HeaderMap,
    body: &'a Bytes,
}

impl Asked<'_> {
    fn token(&self) -> Option<&str> {
        self.headers.get(header::AUTHORIZATION)?.to_str().ok()?.strip_prefix("Bearer ")
    }

    /// The arguments of a method that takes JSON.
    fn json(&self) -> Option<Value> {
        let kind = self.headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
        let is_json = *self.verb == Method::POST && kind.starts_with("application/json");
        is_json.then(|| serde_json::from_slice(self.body).ok()).flatten()
    }
}

impl Kept {
    fn handle(&mut self, asked: &Asked<'_>) -> Value {
        match asked.token() {
            None => return refused("not_authed"),
            Some(token) if token != TOKEN => return refused("invalid_auth"),
            Some(_) => {}
        }
        let scope = match asked.method {
            "chat.postMessage" | "chat.update" => "chat:write",
            "conversations.history" => "channels:history",
            "conversations.list" => "channels:read",
            _ => "",
        };
        if self.faults.missing_scopes.contains(scope) {
            return json!({"ok": false, "error": "missing_scope", "needed": scope});
        }
        match asked.method {
            "auth.test" => json!({"ok": true, "team": "local", "user": "serin", "user_id": "U0SERIN"}),
            "chat.postMessage" => {
                asked.json().map_or_else(|| refused("invalid_json"), |sent| self.post(&sent))
            }
            "chat.update" => asked.json().map_or_else(|| refused("invalid_json"), |sent| self.update(&sent)),
            // These two take no JSON, as at Slack.
            "conversations.history" => self.history(asked.query),
            "conversations.list" => self.list(),
            _ => refused("unknown_method"),
        }
    }

    fn post(&mut self, sent: &Value) -> Value {
        if let Some(error) = rules::broken(sent) {
            return refused(error);
        }
        let wanted = sent["channel"].as_str().unwrap_or_default();
        let Some((name, id)) = self.channel(wanted) else { return refused("channel_not_found") };
        // Unique and rising, as Slack's are; not a time that anyone should compute with.
        let ts = format!("1767225600.{:06}", self.messages.len() + 1);
        self.messages.push(Message {
            channel: name,
            channel_id: id.clone(),
            ts: ts.clone(),
            text: sent["text"].as_str().unwrap_or_default().to_owned(),
            blocks: sent["blocks"].clone(),
            metadata: sent["metadata"].clone(),
            earlier: vec![],
        });
        json!({"ok": true, "channel": id, "ts": ts, "message": {"type": "message", "ts": ts, "text": sent["text"]}})
    }

    fn update(&mut self, sent: &Value) -> Value {
        if let Some(error) = rules::broken(sent) {
            return refused(error);
        }
        let channel = sent["channel"].as_str().unwrap_or_default();
        if !self.channels.values().any(|id| id == channel) {
            return refused("channel_not_found");
        }
        let ts = sent["ts"].as_str().unwrap_or_default();
        let found =
            self.messages.iter_mut().find(|message| message.channel_id == channel && message.ts == ts);
        let Some(message) = found else { return refused("message_not_found") };
        let new = sent["text"].as_str().unwrap_or_default().to_owned();
        message.earlier.push(std::mem::replace(&mut message.text, new));
        message.blocks = sent["blocks"].clone();
        if sent["metadata"].is_object() {
            message.metadata = sent["metadata"].clone();
        }
        json!({"ok": true, "channel": channel, "ts": ts, "text": sent["text"]})
    }

    /// Newest first, in pages.
    fn history(&self, query: &BTreeMap<String, String>) -> Value {
        let field = |name: &str| query.get(name).map(String::as_str).unwrap_or_default();
        let channel = field("channel");
        if !self.channels.values().any(|id| id == channel) {
            return refused("channel_not_found");
        }
        let limit = field("limit").parse().unwrap_or(100_usize).clamp(1, 999);
        let from: usize = field("cursor").parse().unwrap_or(0);
        let is_full = matches!(field("include_all_metadata"), "true" | "1");
        let all: Vec<&Message> = self.messages.iter().rev().filter(|one| one.channel_id == channel).collect();
        let one = |message: &&Message| {
            let mut shown = json!({"type": "message", "ts": message.ts, "text": message.text});
            if is_full && message.metadata.is_object() {
                shown["metadata"] = message.metadata.clone();
            }
            shown
        };
        let page: Vec<Value> = all.iter().skip(from).take(limit).map(one).collect();
        let next = from + page.len();
        let cursor = if next < all.len() { next.to_string() } else { String::new() };
        json!({
            "ok": true, "messages": page, "has_more": !cursor.is_empty(),
            "response_metadata": {"next_cursor": cursor},
        })
    }

    fn list(&self) -> Value {
        let all: Vec<Value> =
            self.channels.iter().map(|(name, id)| json!({"id": id, "name": name})).collect();
        json!({"ok": true, "channels": all, "response_metadata": {"next_cursor": ""}})
    }

    /// Name and id of a channel that is given by either.
    fn channel(&mut self, wanted: &str) -> Option<(String, String)> {
        if let Some((name, id)) = self.channels.iter().find(|(_, id)| *id == wanted) {
            return Some((name.clone(), id.clone()));
        }
        let name = wanted.strip_prefix('#').unwrap_or(wanted);
        if name.is_empty()
            || name.len() > 80
            || name.contains(|c: char| c.is_uppercase() || c.is_whitespace())
        {
            return None;
        }
        let next = format!("C{:010}", self.channels.len() + 1);
        let id = self.channels.entry(name.to_owned()).or_insert(next).clone();
        Some((name.to_owned(), id))
    }
}

#[cfg(test)]
mod cluster;
#[cfg(test)]
mod lane;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod webhook;
