//! The calls to Slack: post, edit, search. Each has a hard limit and says whether it may have taken effect.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use serde_json::{Value, json};

use super::{message::Message, settings::App, words::clip};
use crate::clock;

/// The longest that Slack may ask us to stay away.
const MAX_RETRY_AFTER_SECONDS: u64 = 3600;
/// How far back a lost message is looked for: pages of 200, the newest first.
const HISTORY_PAGES: usize = 5;
const LIST_PAGES: usize = 10;
/// `metadata.event_type`, by which others can tell our messages apart.
const EVENT_TYPE: &str = "serin_rollout";

/// Why a call brought nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Failure {
    /// Certain: nothing was sent. `error` is Slack's word, for instance `channel_not_found`.
    #[error("Slack refused: {error}")]
    Refused { error: String },
    /// Certain: Slack asks us to wait.
    #[error("Slack asks to wait {} s", after.as_secs())]
    RateLimited { after: Duration },
    /// Certain: no connection.
    #[error("Slack cannot be reached")]
    Unreachable,
    /// In doubt: the request went out, and no answer that can be understood came back.
    #[error("Slack's answer was lost: {why}")]
    Lost { why: String },
}

impl Failure {
    /// True where the call may have taken effect.
    pub(super) fn is_doubtful(&self) -> bool {
        match self {
            Self::Lost { .. } => true,
            Self::Refused { .. } | Self::RateLimited { .. } | Self::Unreachable => false,
        }
    }

    /// True where Slack refused with `error`.
    pub(super) fn is(&self, error: &str) -> bool {
        matches!(self, Self::Refused { error: word } if word == error)
    }
}

/// A message that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// Id of the channel.
    pub channel: String,
    pub ts: String,
}

/// What a search came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// It is there, with this fallback text.
    There { place: Place, text: String },
    /// It is not among the newest messages.
    Absent,
    /// The channel cannot be read: a scope is missing or its id is not known.
    Unknowable,
}

/// A client with a token.
pub(super) struct Slack<'a> {
    http: reqwest::Client,
    app: &'a App,
    limit: Duration,
}

/// The connections of this process, made when first needed: one client for Slack, one for an address on this
/// machine, which no proxy can reach.
#[derive(Default)]
pub(super) struct Connections(Mutex<BTreeMap<bool, reqwest::Client>>);

impl Connections {
    /// The client for an address.
    ///
    /// # Errors
    /// `Unreachable` when the TLS set-up of this machine is broken.
    pub(super) fn client(&self, api_url: &str) -> Result<reqwest::Client, Failure> {
        let local = ["http://127.0.0.1:", "http://localhost:", "http://[::1]:"];
        let is_local = local.iter().any(|host| api_url.starts_with(host));
        let mut made = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = made.get(&is_local) {
            return Ok(client.clone());
        }
        // A redirect would carry the token to another host.
        let builder =
            reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).user_agent("serin");
        // Calls are rare. A connection that Slack closed meanwhile would only make an answer doubtful.
        let builder = builder.pool_max_idle_per_host(0);
        let builder = if is_local { builder.no_proxy() } else { builder };
        let client = builder.build().map_err(|_| Failure::Unreachable)?;
        made.insert(is_local, client.clone());
        Ok(client)
    }
}

impl<'a> Slack<'a> {
    /// Connects nowhere yet. `limit` is real time for each call.
    ///
    /// # Errors
    /// `Unreachable` when the TLS set-up of this machine is broken.
    pub(super) fn new(connections: &Connections, app: &'a App, limit: Duration) -> Result<Self, Failure> {
        Ok(Self { http: connections.client(&app.api_url)?, app, limit })
    }

    /// Posts `message` to `recipient` (a name, with or without `#`, or an id), identified by `key`.
    ///
    /// # Errors
    /// See [`Failure`]; after `Lost`, search before posting again.
    pub(super) async fn post(&self, recipient: &str, key: &str, message: &Message) -> Result<Place, Failure> {
        let mut body = json!({
            "channel": recipient, "text": message.text, "blocks": message.blocks,
            "metadata": {"event_type": EVENT_TYPE, "event_payload": {"key": key}},
            "unfurl_links": false, "unfurl_media": false, "parse": "none", "link_names": false,
        });
        if !self.app.username.is_empty() {
            body["username"] = json!(self.app.username);
        }
        match self.app.icon.as_str() {
            "" => {}
            emoji if emoji.starts_with(':') => body["icon_emoji"] = json!(emoji),
            address => body["icon_url"] = json!(address),
        }
        place(&self.send("chat.postMessage", body).await?)
    }

    /// Replaces what the message at `place` says.
    ///
    /// # Errors
    /// See [`Failure`]; an edit may always be repeated.
    pub(super) async fn update(&self, place: &Place, message: &Message) -> Result<(), Failure> {
        let body = json!({
            "channel": place.channel, "ts": place.ts, "text": message.text, "blocks": message.blocks,
            "parse": "none", "link_names": false,
        });
        self.send("chat.update", body).await.map(|_| ())
    }

    /// Looks for the message of `key` in the channel of `recipient`; `channel` is its id where it is known.
    ///
    /// # Errors
    /// Those after which a search is worth trying again.
    pub(super) async fn search(
        &self,
        recipient: &str,
        channel: Option<&str>,
        key: &str,
    ) -> Result<Found, Failure> {
        match self.look(recipient, channel, key).await {
            Err(Failure::Refused { error })
                if ["missing_scope", "channel_not_found", "not_in_channel", "not_allowed_token_type"]
                    .contains(&error.as_str()) =>
            {
                Ok(Found::Unknowable)
            }
            other => other,
        }
    }

    async fn look(&self, recipient: &str, channel: Option<&str>, key: &str) -> Result<Found, Failure> {
        let named = match channel {
            Some(id) => Some(id.to_owned()),
            None if is_id(recipient) => Some(recipient.to_owned()),
            None => self.channel_named(recipient.trim_start_matches('#')).await?,
        };
        let Some(channel) = named else { return Ok(Found::Unknowable) };
        let mut cursor = String::new();
        for _ in 0..HISTORY_PAGES {
            let query = [
                ("channel", channel.as_str()),
                ("include_all_metadata", "true"),
                ("limit", "200"),
                ("cursor", &cursor),
            ];
            let page = self.ask("conversations.history", &query).await?;
            let ours = page["messages"].as_array().into_iter().flatten().find(|message| {
                let metadata = &message["metadata"];
                metadata["event_type"] == EVENT_TYPE && metadata["event_payload"]["key"] == key
            });
            if let Some(message) = ours {
                let text = message["text"].as_str().unwrap_or_default().to_owned();
                let ts = message["ts"].as_str().unwrap_or_default().to_owned();
                return Ok(Found::There { place: Place { channel, ts }, text });
            }
            cursor = next_cursor(&page);
            if cursor.is_empty() {
                break;
            }
        }
        Ok(Found::Absent)
    }

    async fn channel_named(&self, name: &str) -> Result<Option<String>, Failure> {
        let mut cursor = String::new();
        for _ in 0..LIST_PAGES {
            let query = [
                ("types", "public_channel,private_channel"),
                ("exclude_archived", "true"),
                ("limit", "1000"),
                ("cursor", &cursor),
            ];
            let page = self.ask("conversations.list", &query).await?;
            let found = page["channels"].as_array().into_iter().flatten().find(|one| one["name"] == name);
            if let Some(id) = found.and_then(|one| one["id"].as_str()) {
                return Ok(Some(id.to_owned()));
            }
            cursor = next_cursor(&page);
            if cursor.is_empty() {
                break;
            }
        }
        Ok(None)
    }

    async fn send(&self, method: &str, body: Value) -> Result<Value, Failure> {
        let request =
            self.http.post(self.address(method)).header("Content-Type", "application/json; charset=utf-8");
        self.call(request.body(body.to_string())).await
    }

    async fn ask(&self, method: &str, query: &[(&str, &str)]) -> Result<Value, Failure> {
        self.call(self.http.get(self.address(method)).query(query)).await
    }

    fn address(&self, method: &str) -> String {
        format!("{}{method}", self.app.api_url)
    }

    async fn call(&self, request: reqwest::RequestBuilder) -> Result<Value, Failure> {
        let request = request.bearer_auth(self.app.token.reveal());
        let (status, text) = exchange(request, self.limit).await?;
        if !status.is_success() {
            return Err(Failure::Refused { error: format!("HTTP {}", status.as_str()) });
        }
        let body: Value = serde_json::from_str(&text).map_err(|_| lost("answer is not JSON"))?;
        match (body["ok"].as_bool(), body["error"].as_str()) {
            (Some(true), _) => Ok(body),
            // Slack's own troubles; some of them struck after the message was written.
            (
                _,
                Some(error @ ("internal_error" | "fatal_error" | "service_unavailable" | "request_timeout")),
            ) => Err(lost(error)),
            (_, Some("ratelimited" | "rate_limited")) => {
                Err(Failure::RateLimited { after: Duration::from_secs(30) })
            }
            (_, error) => Err(Failure::Refused { error: clip(error.unwrap_or("without a reason"), 100) }),
        }
    }
}

fn lost(why: &str) -> Failure {
    Failure::Lost { why: why.to_owned() }
}

/// Sends a request; the status and text of an answer that is neither a wish to wait nor a server's trouble. What goes
/// wrong is told without the address, which may be a secret.
///
/// # Errors
/// See [`Failure`].
pub(super) async fn exchange(
    request: reqwest::RequestBuilder,
    limit: Duration,
) -> Result<(reqwest::StatusCode, String), Failure> {
    let exchange = async {
        let answer = request.send().await.map_err(|error| {
            if error.is_connect() || error.is_builder() {
                Failure::Unreachable
            } else {
                lost("connection broke")
            }
        })?;
        let status = answer.status();
        if status == reqwest::StatusCode::TOO_MANY_REQUESTS {
            return Err(Failure::RateLimited { after: retry_after(answer.headers()) });
        }
        if status.is_server_error() {
            return Err(lost(status.as_str()));
        }
        let text = answer.text().await.map_err(|_| lost("answer broke off"))?;
        Ok((status, text))
    };
    clock::outside(limit, exchange).await.ok_or_else(|| lost("no answer in time"))?
}

fn place(answer: &Value) -> Result<Place, Failure> {
    match (answer["channel"].as_str(), answer["ts"].as_str()) {
        (Some(channel), Some(ts)) => Ok(Place { channel: channel.to_owned(), ts: ts.to_owned() }),
        _ => Err(Failure::Lost { why: "answer names no message".to_owned() }),
    }
}

fn next_cursor(page: &Value) -> String {
    page["response_metadata"]["next_cursor"].as_str().unwrap_or_default().to_owned()
}

/// A missing or odd header counts as 30 s.
fn retry_after(headers: &reqwest::header::HeaderMap) -> Duration {
    let seconds = headers.get("retry-after").and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    Duration::from_secs(seconds.unwrap_or(30).clamp(1, MAX_RETRY_AFTER_SECONDS))
}

/// `C0123456789`: an id, not a name (names are in lower case).
fn is_id(recipient: &str) -> bool {
    let has_kind = recipient.starts_with(['C', 'G', 'D']);
    has_kind
        && recipient.len() >= 9
        && recipient.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit())
}
