//! One question to Prometheus, from its secrets to its answer.

use std::{collections::BTreeMap, time::Duration};

use http::{HeaderMap, HeaderName, HeaderValue, header::AUTHORIZATION};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::ByteString;
use prometheus_http_query::Client;

use super::{
    decode::{self, Decoded},
    range,
    secrets::Secrets,
};
use crate::{
    clock,
    decide::analysis::{Outcome, Query, Text},
};

/// Bytes of an answer that are read. A larger one is no answer to a yes-or-no question.
const ANSWER_BYTES: usize = 16 << 20;

/// A question with everything filled in.
pub(super) struct Question {
    /// Base URL.
    pub(super) address: String,
    kind: Kind,
    headers: HeaderMap,
    limit: Duration,
    is_insecure: bool,
    promql: String,
}

enum Kind {
    Instant,
    Range { start: SignedDuration, end: SignedDuration, step: SignedDuration },
}

/// The two clients: with and without a look at the server's certificate.
#[derive(Clone)]
pub(super) struct Clients {
    careful: reqwest::Client,
    careless: reqwest::Client,
}

impl Clients {
    pub(super) fn new() -> Result<Self, reqwest::Error> {
        let careful = reqwest::Client::builder().build()?;
        let careless = reqwest::Client::builder().tls_danger_accept_invalid_certs(true).build()?;
        Ok(Self { careful, careless })
    }
}

/// Fills secrets and the default address in.
///
/// # Errors
/// `Refused` for what can never be asked.
pub(super) fn prepare(
    query: &Query,
    secrets: &Secrets,
    default_address: Option<&str>,
    now: Timestamp,
) -> Result<Question, Outcome> {
    let refused = |message: &str| Outcome::Refused { message: message.to_owned() };
    let address: String = match &query.address {
        Some(address) => secrets.fill(address),
        None => default_address.ok_or_else(|| refused("prometheus address is not configured"))?.to_owned(),
    };
    let address = address.trim_end_matches('/').to_owned();
    let is_url = reqwest::Url::parse(&address).is_ok_and(|url| url.has_host());
    if !is_url {
        return Err(refused("prometheus address is not is url format"));
    }
    let kind = match &query.range {
        None => Kind::Instant,
        Some(bounds) => Kind::Range {
            start: range::bound("start", &bounds.start, now).map_err(|message| refused(&message))?,
            end: range::bound("end", &bounds.end, now).map_err(|message| refused(&message))?,
            step: bounds.step,
        },
    };
    Ok(Question {
        address,
        kind,
        headers: headers(query, secrets).map_err(|message| refused(&message))?,
        limit: Duration::try_from(query.timeout).unwrap_or(Duration::ZERO),
        is_insecure: query.insecure,
        promql: secrets.fill(&query.promql),
    })
}

/// The query's own headers, each replacing what was there. A header `Authorization` wins over basic auth.
fn headers(query: &Query, secrets: &Secrets) -> Result<HeaderMap, String> {
    let mut headers = HeaderMap::new();
    for (name, value) in &query.headers {
        let key: HeaderName =
            name.parse().map_err(|_| format!("net/http: invalid header field name \"{name}\""))?;
        let value = header_value(&secrets.fill(value)).ok_or_else(|| invalid_value(name))?;
        headers.insert(key, value);
    }
    if let Some((user, password)) = &query.basic_auth
        && !headers.contains_key(AUTHORIZATION)
    {
        let pair = format!("{}:{}", secrets.fill(user), secrets.fill(password));
        let value = header_value(&format!("Basic {}", base64(&pair)))
            .ok_or_else(|| invalid_value("Authorization"))?;
        headers.insert(AUTHORIZATION, value);
    }
    Ok(headers)
}

fn invalid_value(name: &str) -> String {
    format!("net/http: invalid header field value for \"{name}\"")
}

fn header_value(text: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(text).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// As the data of a Secret is printed.
fn base64(text: &str) -> String {
    let printed = serde_json::to_value(ByteString(text.as_bytes().to_vec()));
    printed.ok().as_ref().and_then(serde_json::Value::as_str).unwrap_or_default().to_owned()
}

/// Asks, within the query's time. `now` is the time that the query is about.
pub(super) async fn ask(clients: &Clients, question: &Question, now: Timestamp) -> Decoded {
    if question.limit.is_zero() {
        return (decode::timed_out(question.limit), BTreeMap::new());
    }
    match clock::outside(question.limit, answer(clients, question, now)).await {
        Some(Ok(decoded)) => decoded,
        Some(Err(message)) => (Outcome::Outage { message }, BTreeMap::new()),
        None => (decode::timed_out(question.limit), BTreeMap::new()),
    }
}

async fn answer(clients: &Clients, question: &Question, now: Timestamp) -> Result<Decoded, String> {
    let client = if question.is_insecure { &clients.careless } else { &clients.careful };
    let client = Client::from(client.clone(), &question.address).map_err(|error| chain(&error))?;
    let first = send(&client, question, now, Verb::Post).await?;
    let response = match first.status().as_u16() {
        403 | 405 | 501 => send(&client, question, now, Verb::Get).await?,
        _ => first,
    };
    read(response).await
}

#[derive(Clone, Copy)]
enum Verb {
    Post,
    Get,
}

async fn send(
    client: &Client,
    question: &Question,
    now: Timestamp,
    verb: Verb,
) -> Result<reqwest::Response, String> {
    let headers = question.headers.iter();
    let sent = match &question.kind {
        Kind::Instant => {
            let builder = client.query(&question.promql).query("time", seconds(now.as_duration()));
            let builder = headers.fold(builder, |builder, (name, value)| builder.header(name, value));
            match verb {
                Verb::Post => builder.post_raw().await,
                Verb::Get => builder.get_raw().await,
            }
        }
        Kind::Range { start, end, step } => {
            // The client knows bounds in whole seconds, which are enough for a range.
            let builder =
                client.query_range(&question.promql, start.as_secs(), end.as_secs(), step.as_secs_f64());
            let builder = headers.fold(builder, |builder, (name, value)| builder.header(name, value));
            match verb {
                Verb::Post => builder.post_raw().await,
                Verb::Get => builder.get_raw().await,
            }
        }
    };
    sent.map_err(|error| chain(&error))
}

async fn read(mut response: reqwest::Response) -> Result<Decoded, String> {
    let status = response.status().as_u16();
    let mut body = vec![];
    while let Some(chunk) = response.chunk().await.map_err(|error| chain(&error))? {
        if body.len() + chunk.len() > ANSWER_BYTES {
            let message = format!("bad_response: more than {} MiB", ANSWER_BYTES >> 20);
            return Ok((Outcome::Refused { message }, BTreeMap::new()));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(decode::decode(status, &body))
}

/// Decimal seconds.
fn seconds(time: SignedDuration) -> String {
    format!("{}.{:03}", time.as_secs(), time.subsec_millis().abs())
}

/// An error with its causes, the address left out: it may carry credentials.
fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = String::new();
    let mut next = Some(error);
    while let Some(error) = next {
        let one = match error.downcast_ref::<reqwest::Error>() {
            Some(error) => without_url(error),
            None => error.to_string(),
        };
        if !text.ends_with(&one) {
            text = if text.is_empty() { one } else { format!("{text}: {one}") };
        }
        next = error.source();
    }
    text
}

fn without_url(error: &reqwest::Error) -> String {
    if error.is_connect() {
        "cannot connect".to_owned()
    } else if error.is_body() || error.is_decode() {
        "the answer broke off".to_owned()
    } else {
        "no answer".to_owned()
    }
}

/// A text for logs and statuses: secrets that got into it are masked.
pub(super) fn masked(outcome: Outcome, secrets: &Secrets) -> Outcome {
    match outcome {
        Outcome::Value { value, text } => Outcome::Value { value, text },
        Outcome::Refused { message } => Outcome::Refused { message: secrets.mask(message) },
        Outcome::Outage { message } => Outcome::Outage { message: secrets.mask(message) },
        Outcome::Unresolved { message } => Outcome::Unresolved { message: secrets.mask(message) },
    }
}

/// Where a query goes, for the limit of that endpoint, before its secrets are known.
pub(super) fn endpoint(query: &Query) -> String {
    query.address.as_ref().map(Text::masked).unwrap_or_default()
}
