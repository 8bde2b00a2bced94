//! Where a message goes out: the app, which can edit and search, or an incoming webhook, which can only post.

use std::time::Duration;

use serde_json::json;

use super::{
    message::Message,
    recipient::Recipient,
    settings::{Settings, SettingsError},
    slack::{Connections, Failure, Found, Place, Slack, exchange},
    words::clip,
};

/// The way to one recipient.
pub(super) enum Outlet<'a> {
    App { slack: Slack<'a>, channel: &'a str },
    Webhook { http: reqwest::Client, url: &'a reqwest::Url, limit: Duration },
}

/// Why there is no way.
#[derive(Debug)]
pub(super) enum Closed<'a> {
    /// Nobody has configured it.
    Absent,
    Wrong(&'a SettingsError),
    Broken(Failure),
}

impl<'a> Outlet<'a> {
    /// Connects nowhere yet. `limit` is real time for each call.
    ///
    /// # Errors
    /// See [`Closed`].
    pub(super) fn to(
        recipient: &'a Recipient,
        settings: &'a Settings,
        connections: &Connections,
        limit: Duration,
    ) -> Result<Self, Closed<'a>> {
        match recipient {
            Recipient::Channel(channel) => {
                let app = settings.app.as_ref().ok_or(Closed::Absent)?.as_ref().map_err(Closed::Wrong)?;
                let slack = Slack::new(connections, app, limit).map_err(Closed::Broken)?;
                Ok(Self::App { slack, channel })
            }
            Recipient::Webhook(name) => {
                let found = settings.webhooks.get(name).ok_or(Closed::Absent)?;
                let url = found.as_ref().map_err(Closed::Wrong)?.reveal();
                let http = connections.client(url.as_str()).map_err(Closed::Broken)?;
                Ok(Self::Webhook { http, url, limit })
            }
        }
    }

    /// Sends `message`, identified by `key` where it can be found again. Where: nowhere that a webhook would tell.
    ///
    /// # Errors
    /// See [`Failure`]; after `Lost`, search before posting again.
    pub(super) async fn post(&self, key: &str, message: &Message) -> Result<Place, Failure> {
        match self {
            Self::App { slack, channel } => slack.post(channel, key, message).await,
            Self::Webhook { http, url, limit } => {
                let body = json!({"text": message.text, "blocks": message.blocks});
                let request = http.post((*url).clone()).header("Content-Type", "application/json");
                let (status, text) = exchange(request.body(body.to_string()), *limit).await?;
                if status.is_success() {
                    return Ok(Place { channel: String::new(), ts: String::new() });
                }
                // Slack answers one word; anything else is somebody else's page.
                let is_word = !text.is_empty() && text.chars().all(|c| c.is_ascii_lowercase() || c == '_');
                let error = if is_word { clip(&text, 100) } else { format!("HTTP {}", status.as_str()) };
                Err(Failure::Refused { error })
            }
        }
    }

    /// Replaces what the message at `place` says. A webhook's stays as it is.
    ///
    /// # Errors
    /// See [`Failure`]; an edit may always be repeated.
    pub(super) async fn update(&self, place: &Place, message: &Message) -> Result<(), Failure> {
        match self {
            Self::App { slack, channel: _ } => slack.update(place, message).await,
            Self::Webhook { .. } => Ok(()),
        }
    }

    /// Looks for the message of `key`; `id` is the channel's where it is known.
    ///
    /// # Errors
    /// Those after which a search is worth trying again.
    pub(super) async fn search(&self, id: Option<&str>, key: &str) -> Result<Found, Failure> {
        match self {
            Self::App { slack, channel } => slack.search(channel, id, key).await,
            Self::Webhook { .. } => Ok(Found::Unknowable),
        }
    }

    /// True where an edit is possible.
    pub(super) fn can_edit(&self) -> bool {
        match self {
            Self::App { .. } => true,
            Self::Webhook { .. } => false,
        }
    }
}
