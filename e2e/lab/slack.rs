//! Slack's part of the story: takes messages and keeps them as people would see them, edits included.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex},
};

use axum::{
    Json, Router,
    extract::{Form, Query, State},
    routing::{get, post},
};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::{Fallible, images::lock};

/// Where its methods are in the namespace.
pub(crate) const API: &str = "http://10.77.0.5:8080/api/";
const LISTEN: (Ipv4Addr, u16) = (Ipv4Addr::new(10, 77, 0, 5), 8080);

/// The messages, each as it was posted and edited since.
type Channel = Arc<Mutex<Vec<Value>>>;

/// A running receiver. Ends with this value.
pub(crate) struct Slack {
    channel: Channel,
    _stop: DropGuard,
}

impl Slack {
    /// Listens.
    ///
    /// # Errors
    /// When the address cannot be bound.
    pub(crate) async fn start() -> Fallible<Self> {
        let channel = Channel::default();
        let router = Router::new()
            .route("/api/chat.postMessage", post(posted))
            .route("/api/chat.update", post(edited))
            .route("/api/conversations.history", get(history_by_query).post(history_by_form))
            .with_state(channel.clone());
        let listener = TcpListener::bind(SocketAddr::from(LISTEN)).await?;
        let stop = CancellationToken::new();
        tokio::spawn(stop.clone().run_until_cancelled_owned(async move {
            let _ = axum::serve(listener, router).await;
        }));
        Ok(Self { channel, _stop: stop.drop_guard() })
    }

    /// The messages whose text or metadata holds `word`, oldest first.
    pub(crate) fn about(&self, word: &str) -> Vec<Value> {
        lock(&self.channel).iter().filter(|message| message.to_string().contains(word)).cloned().collect()
    }
}

async fn posted(State(channel): State<Channel>, Json(body): Json<Value>) -> Json<Value> {
    let mut channel = lock(&channel);
    channel.push(body);
    Json(json!({"ok": true, "channel": "C0LAB", "ts": stamp(channel.len() - 1)}))
}

async fn edited(State(channel): State<Channel>, Json(body): Json<Value>) -> Json<Value> {
    let mut channel = lock(&channel);
    let stamp_of = body.get("ts").and_then(Value::as_str).map(str::to_owned);
    let found = channel.iter_mut().enumerate().find(|(index, _)| Some(stamp(*index)) == stamp_of);
    let Some((index, message)) = found else {
        return Json(json!({"ok": false, "error": "message_not_found"}));
    };
    // What an edit does not name stays, as in Slack: the metadata of the post.
    for (field, value) in body.as_object().into_iter().flatten() {
        message[field] = value.clone();
    }
    Json(json!({"ok": true, "channel": "C0LAB", "ts": stamp(index)}))
}

async fn history_by_query(State(channel): State<Channel>, Query(_): Query<Value>) -> Json<Value> {
    history(&channel)
}

async fn history_by_form(State(channel): State<Channel>, Form(_): Form<Value>) -> Json<Value> {
    history(&channel)
}

fn history(channel: &Channel) -> Json<Value> {
    let messages: Vec<Value> = lock(channel)
        .iter()
        .enumerate()
        .rev()
        .map(|(index, message)| {
            let mut body = message.clone();
            body["ts"] = stamp(index).into();
            body
        })
        .collect();
    Json(json!({"ok": true, "messages": messages, "has_more": false}))
}

fn stamp(index: usize) -> String {
    format!("1700000000.{index:06}")
}
