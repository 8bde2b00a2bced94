//! Slack's part of the story: takes messages and keeps them as people would see them, edits included. As strict as Slack about what a
//! client can get wrong: the token, the form of a request, the channel, what of a message can be read back.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    sync::{Arc, Mutex},
};

use axum::{
    Json, Router,
    extract::{Query, State},
    http::{HeaderMap, header},
    routing::{get, post},
};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::{Fallible, images::lock};

/// Where its methods are in the namespace.
pub(crate) const API: &str = "http://10.77.0.5:8080/api/";
/// What it takes for a bot's token.
pub(crate) const TOKEN: &str = "xoxb-lab";
const LISTEN: (Ipv4Addr, u16) = (Ipv4Addr::new(10, 77, 0, 5), 8080);
/// The only channel, and its id.
const CHANNEL: (&str, &str) = ("releases", "C0LAB00001");

/// A message as people see it, and what it said before.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Posted {
    pub(crate) now: Value,
    /// Its texts before each edit, oldest first.
    pub(crate) earlier: Vec<String>,
}

/// The messages, each as it was posted and edited since.
#[derive(Default)]
struct Channel {
    messages: Vec<Posted>,
    /// Where a person can read them after the run.
    file: PathBuf,
}

type Shared = Arc<Mutex<Channel>>;

/// A running receiver. Ends with this value.
pub(crate) struct Slack {
    channel: Shared,
    _stop: DropGuard,
}

impl Slack {
    /// Listens. What the channel shows is kept in `file`, too.
    ///
    /// # Errors
    /// When the address cannot be bound.
    pub(crate) async fn start(file: PathBuf) -> Fallible<Self> {
        let channel = Shared::new(Mutex::new(Channel { messages: vec![], file }));
        let router = Router::new()
            .route("/api/chat.postMessage", post(posted))
            .route("/api/chat.update", post(edited))
            .route("/api/conversations.history", get(history))
            .route("/api/conversations.list", get(list))
            .with_state(channel.clone());
        let listener = TcpListener::bind(SocketAddr::from(LISTEN)).await?;
        let stop = CancellationToken::new();
        tokio::spawn(stop.clone().run_until_cancelled_owned(async move {
            let _ = axum::serve(listener, router).await;
        }));
        Ok(Self { channel, _stop: stop.drop_guard() })
    }

    /// The messages whose text or metadata holds `word`, oldest first.
    pub(crate) fn about(&self, word: &str) -> Vec<Posted> {
        let channel = lock(&self.channel);
        channel.messages.iter().filter(|message| message.now.to_string().contains(word)).cloned().collect()
    }
}

impl Channel {
    /// Keeps what was changed where a person can read it.
    fn keep(&self) {
        // Only for a person's eyes: the journeys ask this value itself.
        let all: Vec<Value> = self
            .messages
            .iter()
            .map(|one| json!({"message": one.now, "earlierTexts": one.earlier}))
            .collect();
        let _ = std::fs::write(&self.file, format!("{:#}\n", Value::from(all)));
    }
}

type Answer = Result<Json<Value>, Json<Value>>;

fn refused(error: &str) -> Json<Value> {
    Json(json!({"ok": false, "error": error}))
}

fn authorized(headers: &HeaderMap) -> Result<(), Json<Value>> {
    match headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()) {
        None => Err(refused("not_authed")),
        Some(value) if value == format!("Bearer {TOKEN}") => Ok(()),
        Some(_) => Err(refused("invalid_auth")),
    }
}

/// A POST is JSON by its header, not only by its looks: Slack would read anything else as a form and find no channel in it.
fn body(headers: &HeaderMap, text: &str) -> Answer {
    authorized(headers)?;
    let kind = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if !kind.starts_with("application/json") {
        return Err(refused("invalid_form_data"));
    }
    serde_json::from_str(text).map(Json).map_err(|_| refused("invalid_json"))
}

fn field<'a>(body: &'a Value, name: &str) -> &'a str {
    body.get(name).and_then(Value::as_str).unwrap_or_default()
}

/// The text is what a notification shows; Slack takes at most 50 blocks.
fn content(body: &Value) -> Result<(), Json<Value>> {
    let blocks = body.get("blocks").and_then(Value::as_array).map_or(0, Vec::len);
    if field(body, "text").is_empty() && blocks == 0 {
        return Err(refused("no_text"));
    }
    if blocks > 50 { Err(refused("invalid_blocks")) } else { Ok(()) }
}

async fn posted(State(shared): State<Shared>, headers: HeaderMap, text: String) -> Answer {
    let Json(message) = body(&headers, &text)?;
    let channel = field(&message, "channel").trim_start_matches('#');
    if channel != CHANNEL.0 && channel != CHANNEL.1 {
        return Err(refused("channel_not_found"));
    }
    content(&message)?;
    let mut channel = lock(&shared);
    channel.messages.push(Posted { now: message, earlier: vec![] });
    channel.keep();
    Ok(Json(json!({"ok": true, "channel": CHANNEL.1, "ts": stamp(channel.messages.len() - 1)})))
}

async fn edited(State(shared): State<Shared>, headers: HeaderMap, text: String) -> Answer {
    let Json(edit) = body(&headers, &text)?;
    // Other than a post, an edit takes no name of a channel.
    if field(&edit, "channel") != CHANNEL.1 {
        return Err(refused("channel_not_found"));
    }
    content(&edit)?;
    let mut channel = lock(&shared);
    let mut numbered = channel.messages.iter_mut().enumerate();
    let found = numbered.find(|(index, _)| stamp(*index) == field(&edit, "ts"));
    let (index, message) = found.ok_or_else(|| refused("message_not_found"))?;
    // What an edit does not name stays, as in Slack: the metadata of the post.
    let said = field(&message.now, "text").to_owned();
    message.earlier.push(said);
    for (name, value) in edit.as_object().into_iter().flatten() {
        message.now[name] = value.clone();
    }
    channel.keep();
    Ok(Json(json!({"ok": true, "channel": CHANNEL.1, "ts": stamp(index)})))
}

async fn history(State(shared): State<Shared>, headers: HeaderMap, Query(query): Query<Value>) -> Answer {
    authorized(&headers)?;
    if field(&query, "channel") != CHANNEL.1 {
        return Err(refused("channel_not_found"));
    }
    let channel = lock(&shared);
    let newest = channel.messages.iter().enumerate().rev();
    let messages: Vec<Value> = newest
        .map(|(index, message)| {
            let mut shown = message.now.clone();
            shown["ts"] = stamp(index).into();
            if field(&query, "include_all_metadata") != "true" {
                shown.as_object_mut().map(|fields| fields.remove("metadata"));
            }
            shown
        })
        .collect();
    Ok(Json(json!({"ok": true, "messages": messages, "has_more": false})))
}

async fn list(headers: HeaderMap) -> Answer {
    authorized(&headers)?;
    Ok(Json(json!({"ok": true, "channels": [{"id": CHANNEL.1, "name": CHANNEL.0}]})))
}

fn stamp(index: usize) -> String {
    format!("1700000000.{index:06}")
}
