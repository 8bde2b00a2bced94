//! What the cluster says about Slack: the reference's ConfigMap and Secret, read anew before each use, so that a
//! changed token needs no restart and no secret is kept longer than a call.

use std::{collections::BTreeMap, fmt, time::Duration};

use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::{Api, Client};
use serde::Deserialize;

use crate::clock::Clock;

const CONFIG_MAP: &str = "argo-rollouts-notification-configmap";
const SECRET: &str = "argo-rollouts-notification-secret";
const SLACK_API: &str = "https://slack.com/api/";
/// As every request to the API server.
const REQUEST_LIMIT: Duration = Duration::from_secs(5);

/// A bot token. Its text appears in an Authorization header and nowhere else.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Token(String);

impl Token {
    pub(super) fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)")
    }
}

/// How Slack is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Settings {
    pub token: Token,
    /// Ends in a slash.
    pub api_url: String,
    /// Name and icon (`:emoji:` or address) to post under; empty: the app's own.
    pub username: String,
    pub icon: String,
    /// Triggers of those channels that named none; `None`: ours.
    pub default_triggers: Option<Vec<String>>,
}

/// Why Slack cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum SettingsError {
    #[error("the API server did not answer in time")]
    TimedOut,
    #[error("could not read {kind} `{name}`")]
    Read {
        kind: &'static str,
        name: &'static str,
        #[source]
        source: Box<kube::Error>,
    },
    #[error("ConfigMap `{CONFIG_MAP}`: `service.slack` is not what it should be: {why}")]
    Malformed { why: String },
    #[error("Secret `{SECRET}` has no text under `{key}`, which `service.slack` refers to")]
    NoSecret { key: String },
}

/// `service.slack` as it is written. Fields that only shape the reference's own templates are not read.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Service {
    token: String,
    #[serde(rename = "apiURL")]
    api_url: String,
    username: String,
    icon: String,
}

/// Reads the settings from `namespace`, the controller's own. `None`: Slack is not configured.
///
/// # Errors
/// When the objects cannot be read or make no sense; trying again later is right for all of them.
pub(super) async fn load(
    client: &Client,
    clock: &Clock,
    namespace: &str,
) -> Result<Option<Settings>, SettingsError> {
    let maps: Api<ConfigMap> = Api::namespaced(client.clone(), namespace);
    let found =
        clock.timeout(REQUEST_LIMIT, maps.get_opt(CONFIG_MAP)).await.ok_or(SettingsError::TimedOut)?;
    let found = found.map_err(|error| read_failure("ConfigMap", CONFIG_MAP, error))?;
    let Some(config) = found.and_then(|map| map.data) else { return Ok(None) };
    if !config.contains_key("service.slack") {
        return Ok(None);
    }
    let secrets: Api<Secret> = Api::namespaced(client.clone(), namespace);
    let found = clock.timeout(REQUEST_LIMIT, secrets.get_opt(SECRET)).await.ok_or(SettingsError::TimedOut)?;
    let secret = found.map_err(|error| read_failure("Secret", SECRET, error))?;
    let mut values: BTreeMap<String, String> =
        secret.as_ref().and_then(|s| s.string_data.clone()).unwrap_or_default();
    for (key, value) in secret.and_then(|secret| secret.data).unwrap_or_default() {
        if let Ok(text) = String::from_utf8(value.0) {
            values.insert(key, text);
        }
    }
    parse(&config, &values)
}

fn read_failure(kind: &'static str, name: &'static str, error: kube::Error) -> SettingsError {
    SettingsError::Read { kind, name, source: Box::new(error) }
}

fn parse(
    config: &BTreeMap<String, String>,
    secret: &BTreeMap<String, String>,
) -> Result<Option<Settings>, SettingsError> {
    let Some(text) = config.get("service.slack") else { return Ok(None) };
    let malformed = |why: &str| SettingsError::Malformed { why: why.to_owned() };
    // The parser's own message quotes the text, and the text may hold the token itself.
    let service: Service =
        serde_saphyr::from_str(text).map_err(|_| malformed("it is not a YAML map of texts"))?;
    let token = resolve(&service.token, secret)?;
    if token.is_empty() || token.contains(|c: char| c.is_control() || c.is_whitespace() || !c.is_ascii()) {
        return Err(malformed("`token` is empty or not a token"));
    }
    let api_url = resolve(&service.api_url, secret)?;
    let api_url = if api_url.is_empty() { SLACK_API.to_owned() } else { api_url };
    if !api_url.starts_with("https://") && !api_url.starts_with("http://") {
        return Err(malformed("`apiURL` is not an http or https address"));
    }
    let listed = ["defaultTriggers.slack", "defaultTriggers"].iter().find_map(|&key| config.get(key));
    Ok(Some(Settings {
        token: Token(token),
        api_url: format!("{}/", api_url.trim_end_matches('/')),
        username: service.username,
        icon: service.icon,
        default_triggers: listed.and_then(|list| serde_saphyr::from_str(list).ok()),
    }))
}

/// `$key` stands for that key of the Secret.
fn resolve(text: &str, secret: &BTreeMap<String, String>) -> Result<String, SettingsError> {
    let Some(key) = text.trim().strip_prefix('$') else { return Ok(text.trim().to_owned()) };
    let found = secret.get(key).map(|value| value.trim().to_owned());
    found.ok_or_else(|| SettingsError::NoSecret { key: super::words::clip(key, 100) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|&(key, value)| (key.to_owned(), value.to_owned())).collect()
    }

    #[test]
    fn the_references_configuration_is_understood() {
        let config = map(&[
            (
                "service.slack",
                "token: $slack-token\nusername: rollouts\nsigningSecret: $x\ndisableUnfurl: true\n",
            ),
            ("defaultTriggers", "- on-rollout-aborted\n- on-rollout-completed\n"),
            ("template.rollout-aborted", "message: whatever"),
        ]);
        let settings = parse(&config, &map(&[("slack-token", "xoxb-1\n")])).unwrap().unwrap();
        assert_eq!(settings.token.reveal(), "xoxb-1");
        assert_eq!(settings.api_url, "https://slack.com/api/");
        assert_eq!(settings.username, "rollouts");
        assert_eq!(settings.default_triggers.as_ref().unwrap().len(), 2);
        assert!(!format!("{settings:?}").contains("xoxb"));
        assert_eq!(parse(&map(&[("service.email", "x")]), &map(&[])).unwrap(), None);
    }

    #[test]
    fn what_is_wrong_is_said_without_the_token() {
        let with = |slack: &str| parse(&map(&[("service.slack", slack)]), &map(&[])).unwrap_err().to_string();
        assert!(with("token: $slack-token").contains("`slack-token`"));
        assert!(with("username: x").contains("`token` is empty"));
        assert!(with("token: xoxb-1\napiURL: ftp://x").contains("`apiURL`"));
        for broken in ["token: [xoxb-secret]", "token: xoxb-secret\n  x: :", "token: \"xoxb-secret\\u0007\""]
        {
            assert!(!with(broken).contains("xoxb"), "{}", with(broken));
        }
    }

    #[test]
    fn an_address_always_ends_in_one_slash() {
        let url = |text: &str| {
            let config = map(&[("service.slack", &format!("token: t\napiURL: {text}"))]);
            parse(&config, &map(&[])).unwrap().unwrap().api_url
        };
        assert_eq!(url("http://127.0.0.1:9/api"), "http://127.0.0.1:9/api/");
        assert_eq!(url("http://127.0.0.1:9/api/"), "http://127.0.0.1:9/api/");
    }
}
