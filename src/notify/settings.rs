//! What the cluster says about Slack: the reference's ConfigMap and Secret, read anew before each use, so that a
//! changed token needs no restart and no secret is kept longer than a call.

use std::{collections::BTreeMap, fmt, time::Duration};

use k8s_openapi::ByteString;
use kube::Client;
use serde::Deserialize;
use serde_json::Value;

use crate::clock::Clock;

const CONFIG_MAP: &str = "argo-rollouts-notification-configmap";
const SECRET: &str = "argo-rollouts-notification-secret";
const APP: &str = "service.slack";
const WEBHOOK: &str = "service.webhook.";
const SLACK_API: &str = "https://slack.com/api/";
/// As every request to the API server.
const REQUEST_LIMIT: Duration = Duration::from_secs(5);

/// A bot token. Its text appears in an Authorization header and nowhere else.
#[derive(PartialEq, Eq)]
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

/// The address of an incoming webhook. Whoever knows it can post: it is a secret, and is only ever called.
pub(super) struct Address(reqwest::Url);

impl Address {
    pub(super) fn reveal(&self) -> &reqwest::Url {
        &self.0
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Address(..)")
    }
}

/// How Slack is reached. What is wrong with one way leaves the others.
#[derive(Debug)]
pub(super) struct Settings {
    /// `service.slack`; `None`: not configured.
    pub app: Option<Result<App, SettingsError>>,
    /// `service.webhook.<name>`, where the name begins with `slack`.
    pub webhooks: BTreeMap<String, Result<Address, SettingsError>>,
    /// Triggers of those who named none; `None`: ours.
    pub default_triggers: Option<Vec<String>>,
}

/// A Slack app.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct App {
    pub token: Token,
    /// Ends in a slash.
    pub api_url: String,
    /// Name and icon (`:emoji:` or address) to post under; empty: the app's own.
    pub username: String,
    pub icon: String,
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
    #[error("the API server's answer for {kind} `{name}` is not JSON")]
    Unintelligible { kind: &'static str, name: &'static str },
    #[error("ConfigMap `{CONFIG_MAP}`: `{service}` is not what it should be: {why}")]
    Malformed { service: String, why: &'static str },
    #[error("Secret `{SECRET}` has no text under `{key}`, which `{service}` refers to")]
    NoSecret { service: String, key: String },
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

/// `service.webhook.<name>` as far as it is read. Certificates are always verified.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Hook {
    url: String,
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
    let Some(map) = object(client, clock, namespace, "configmaps", CONFIG_MAP).await? else {
        return Ok(None);
    };
    let config = texts(&map["data"], |text| Some(text.to_owned()));
    if !config.contains_key(APP) && webhooks(&config).next().is_none() {
        return Ok(None);
    }
    let secret = object(client, clock, namespace, "secrets", SECRET).await?.unwrap_or_default();
    Ok(Some(parse(&config, &texts(&secret["data"], decoded))))
}

/// The webhooks of a ConfigMap that are Slack's: name and text.
fn webhooks(config: &BTreeMap<String, String>) -> impl Iterator<Item = (&str, &str)> {
    let named =
        |key: &'_ str| key.strip_prefix(WEBHOOK).filter(|name| name.starts_with("slack")).map(str::len);
    config.iter().filter_map(move |(key, text)| {
        let length = named(key)?;
        Some((key.get(key.len() - length..)?, text.as_str()))
    })
}

/// An object as JSON; `None` when there is none.
///
/// As text and not as a type: kube logs the whole text of what it cannot decode, and this text holds the token.
async fn object(
    client: &Client,
    clock: &Clock,
    namespace: &str,
    kind: &'static str,
    name: &'static str,
) -> Result<Option<Value>, SettingsError> {
    let request = http::Request::get(format!("/api/v1/namespaces/{namespace}/{kind}/{name}"));
    let request = request.body(vec![]).map_err(|_| SettingsError::Unintelligible { kind, name })?;
    let answer = clock.timeout(REQUEST_LIMIT, client.request_text(request)).await;
    match answer.ok_or(SettingsError::TimedOut)? {
        Ok(text) => match serde_json::from_str(&text) {
            Ok(object) => Ok(Some(object)),
            Err(_) => Err(SettingsError::Unintelligible { kind, name }),
        },
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(None),
        Err(error) => Err(SettingsError::Read { kind, name, source: Box::new(error) }),
    }
}

/// The texts of a map; what `read` cannot read is left out.
fn texts(map: &Value, read: impl Fn(&str) -> Option<String>) -> BTreeMap<String, String> {
    let all = map.as_object().into_iter().flatten();
    all.filter_map(|(key, value)| Some((key.clone(), read(value.as_str()?)?))).collect()
}

/// Secrets are in base64.
fn decoded(text: &str) -> Option<String> {
    let bytes: ByteString = serde_json::from_value(Value::from(text)).ok()?;
    String::from_utf8(bytes.0).ok()
}

fn parse(config: &BTreeMap<String, String>, secret: &BTreeMap<String, String>) -> Settings {
    let listed = ["defaultTriggers.slack", "defaultTriggers"].iter().find_map(|&key| config.get(key));
    Settings {
        app: config.get(APP).map(|text| app(text, secret)),
        webhooks: webhooks(config)
            .map(|(name, text)| (name.to_owned(), address(name, text, secret)))
            .collect(),
        default_triggers: listed.and_then(|list| serde_saphyr::from_str(list).ok()),
    }
}

fn app(text: &str, secret: &BTreeMap<String, String>) -> Result<App, SettingsError> {
    let malformed = |why| SettingsError::Malformed { service: APP.to_owned(), why };
    // The parser's own message quotes the text, and the text may hold the token itself.
    let service: Service =
        serde_saphyr::from_str(text).map_err(|_| malformed("it is not a YAML map of texts"))?;
    let token = resolve(APP, &service.token, secret)?;
    if token.is_empty() || token.contains(|c: char| c.is_control() || c.is_whitespace() || !c.is_ascii()) {
        return Err(malformed("`token` is empty or not a token"));
    }
    let api_url = resolve(APP, &service.api_url, secret)?;
    let api_url = if api_url.is_empty() { SLACK_API.to_owned() } else { api_url };
    if !api_url.starts_with("https://") && !api_url.starts_with("http://") {
        return Err(malformed("`apiURL` is not an http or https address"));
    }
    Ok(App {
        token: Token(token),
        api_url: format!("{}/", api_url.trim_end_matches('/')),
        username: service.username,
        icon: service.icon,
    })
}

fn address(name: &str, text: &str, secret: &BTreeMap<String, String>) -> Result<Address, SettingsError> {
    let service = format!("{WEBHOOK}{name}");
    let malformed = |why| SettingsError::Malformed { service: service.clone(), why };
    let hook: Hook = serde_saphyr::from_str(text).map_err(|_| malformed("it is not a YAML map of texts"))?;
    let url = resolve(&service, &hook.url, secret)?;
    let url = reqwest::Url::parse(&url).map_err(|_| malformed("`url` is not an address"))?;
    if !["https", "http"].contains(&url.scheme()) || !url.has_host() {
        return Err(malformed("`url` is not an http or https address"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(malformed("`url` has a name or password in it"));
    }
    Ok(Address(url))
}

/// `$key` stands for that key of the Secret, alone or within the text.
fn resolve(service: &str, text: &str, secret: &BTreeMap<String, String>) -> Result<String, SettingsError> {
    let mut pieces = text.trim().split('$');
    let mut resolved = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let is_name = |c: char| c.is_ascii_alphanumeric() || ['-', '_', '.'].contains(&c);
        let end = piece.find(|c| !is_name(c)).unwrap_or(piece.len());
        let (key, rest) = piece.split_at(end);
        let Some(value) = secret.get(key) else {
            let key = super::words::clip(key, 100);
            return Err(SettingsError::NoSecret { service: service.to_owned(), key });
        };
        resolved.push_str(value.trim());
        resolved.push_str(rest);
    }
    Ok(resolved)
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
        let settings = parse(&config, &map(&[("slack-token", "xoxb-1\n")]));
        let app = settings.app.as_ref().unwrap().as_ref().unwrap();
        assert_eq!(app.token.reveal(), "xoxb-1");
        assert_eq!(app.api_url, "https://slack.com/api/");
        assert_eq!(app.username, "rollouts");
        assert_eq!(settings.default_triggers.as_ref().unwrap().len(), 2);
        assert!(!format!("{settings:?}").contains("xoxb"));
        assert!(parse(&map(&[("service.email", "x")]), &map(&[])).app.is_none());
    }

    #[test]
    fn what_is_wrong_is_said_without_the_token() {
        let with = |slack: &str| app(slack, &map(&[])).unwrap_err().to_string();
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
        let url = |text: &str| app(&format!("token: t\napiURL: {text}"), &map(&[])).unwrap().api_url;
        assert_eq!(url("http://127.0.0.1:9/api"), "http://127.0.0.1:9/api/");
        assert_eq!(url("http://127.0.0.1:9/api/"), "http://127.0.0.1:9/api/");
    }

    #[test]
    fn webhooks_of_slack_are_found_and_stay_secret() {
        let config = map(&[
            ("service.webhook.slack-ops", "url: $ops-url"),
            ("service.webhook.slack-split", "url: https://hooks.example/services/$part/x"),
            ("service.webhook.slack-none", "url: $absent"),
            ("service.webhook.slack-odd", "url: ftp://hooks.example/SECRET"),
            ("service.webhook.slack-login", "url: https://me:SECRET@hooks.example/"),
            ("service.webhook.slack-list", "url: [SECRET]"),
            ("service.webhook.pager", "url: https://pager.example/"),
        ]);
        let secret = map(&[("ops-url", "https://hooks.example/services/SECRET\n"), ("part", "SECRET")]);
        let settings = parse(&config, &secret);
        assert!(settings.app.is_none());
        let url = |name: &str| settings.webhooks[name].as_ref().unwrap().reveal().as_str();
        assert_eq!(url("slack-ops"), "https://hooks.example/services/SECRET");
        assert_eq!(url("slack-split"), "https://hooks.example/services/SECRET/x");
        assert_eq!(settings.webhooks.len(), 6);
        let wrong: Vec<String> =
            settings.webhooks.values().filter_map(|found| Some(found.as_ref().err()?.to_string())).collect();
        assert_eq!(wrong.len(), 4, "{wrong:?}");
        assert!(!format!("{settings:?} {wrong:?}").contains("SECRET"));
    }
}
