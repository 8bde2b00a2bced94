//! Who is told. No I/O.

use std::fmt;

/// Prefix of a webhook's name in the ledger. No channel of Slack has a colon in its name.
const WEBHOOK: &str = "webhook:";
/// The service type of the reference that is Slack's app, and how the names of webhooks that are Slack's begin.
const SLACK: &str = "slack";

/// Somebody who is told.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Recipient {
    /// A channel that the app posts to: a name, with or without `#`, or an id.
    Channel(String),
    /// An incoming webhook, by the name of its service: `service.webhook.<name>` in the ConfigMap.
    Webhook(String),
}

impl Recipient {
    /// The recipients of an annotation that subscribes `service`; `value` is what it says.
    ///
    /// A webhook is Slack's when its name begins with `slack`; other services are not served.
    pub(super) fn of(service: &str, value: &str) -> Vec<Self> {
        let names = value.split(';').map(str::trim);
        let names = names.filter(|name| !name.is_empty() && name.len() <= 253);
        match service {
            SLACK => names.map(|name| Self::Channel(name.to_owned())).collect(),
            // What the annotation says is nobody's name: the webhook belongs to one channel.
            webhook if webhook.starts_with(SLACK) && webhook.len() <= 200 => {
                vec![Self::Webhook(webhook.to_owned())]
            }
            _ => vec![],
        }
    }

    /// True where a message cannot be edited or found again.
    pub(super) fn is_webhook(&self) -> bool {
        match self {
            Self::Channel(_) => false,
            Self::Webhook(_) => true,
        }
    }
}

/// As the ledger names it.
impl fmt::Display for Recipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Channel(name) => f.write_str(name),
            Self::Webhook(name) => write!(f, "{WEBHOOK}{name}"),
        }
    }
}
