//! One request to the API server, within its time.

use std::{fmt::Write, sync::Arc, time::Duration};

use futures::{StreamExt, stream::FuturesUnordered};
use http::header::RETRY_AFTER;
use http_body_util::BodyExt;
use kube::client::Body as Payload;
use serde_json::{Value, json};

use super::gate::{Gate, Limits, Place};
use crate::{
    api::http::{Body, Method, Request, Response},
    clock::Clock,
};

/// The time for one request. A server that needs longer is asked again by a later pass.
pub(super) const LIMIT: Duration = Duration::from_secs(5);
/// How long a shed waits for an answer before it is sent again on another connection. Long enough for an API server that is
/// merely busy; one of several behind an address may be dead.
const INSIST: Duration = Duration::from_secs(1);

/// Sends requests as they are: no typed structs, which would drop fields that they do not know.
#[derive(Clone)]
pub struct Sender {
    client: kube::Client,
    clock: Clock,
    gate: Arc<Gate>,
}

impl Sender {
    pub fn new(client: kube::Client, clock: Clock, limits: Limits) -> Self {
        Self { client, clock, gate: Arc::new(Gate::new(clock, limits)) }
    }

    pub fn clock(&self) -> Clock {
        self.clock
    }

    /// Waits until a request that is not a shed may be sent. Cancel-safe.
    pub async fn admitted(&self) -> Place {
        self.gate.pass().await
    }

    /// The same ahead of the line: waits only where the API server wants to be left alone. Cancel-safe.
    pub async fn admitted_ahead(&self) -> Place {
        self.gate.pass_ahead().await
    }

    /// What came back. Status 0 and a message where nothing did, within `limit` or at all: the request may have taken
    /// effect all the same.
    pub async fn send(&self, request: &Request, limit: Duration) -> Response {
        match self.clock.timeout(limit, self.attempt(request)).await {
            Some(Ok(response)) => response,
            Some(Err(message)) => unanswered(&message),
            None => unanswered(&format!("no answer from the API server within {} s", limit.as_secs())),
        }
    }

    /// As `send`, for a request that must arrive and may arrive twice: sent again each second, each time on another
    /// connection (kube speaks HTTP/1.1), until the first answer.
    pub async fn insist(&self, request: &Request) -> Response {
        let mut attempts = FuturesUnordered::new();
        attempts.push(self.attempt(request));
        let answered = async {
            loop {
                tokio::select! {
                    Some(answer) = attempts.next() => match answer {
                        Err(message) if attempts.is_empty() => return unanswered(&message),
                        Err(_) => {}
                        Ok(response) => return response,
                    },
                    () = self.clock.sleep(INSIST) => attempts.push(self.attempt(request)),
                }
            }
        };
        let answered = self.clock.timeout(LIMIT, answered).await;
        answered.unwrap_or_else(|| unanswered("no answer from the API server within 5 s"))
    }

    async fn attempt(&self, request: &Request) -> Result<Response, String> {
        let request = encode(request).map_err(|error| error.to_string())?;
        let response = self.client.send(request).await.map_err(|error| error.to_string())?;
        let status = response.status().as_u16();
        // Without the header the pauses of the queue are enough.
        let after = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
        if let (429 | 503, Some(seconds)) = (status, after) {
            self.gate.hold(Duration::from_secs(seconds));
        }
        let bytes = response.into_body().collect().await.map_err(|error| error.to_string())?.to_bytes();
        let body = serde_json::from_slice(&bytes).unwrap_or_else(|_| {
            let text: String = String::from_utf8_lossy(&bytes).chars().take(256).collect();
            json!({ "message": text })
        });
        Ok(Response { status, body })
    }
}

fn unanswered(message: &str) -> Response {
    Response { status: 0, body: json!({ "reason": "Unanswered", "message": message }) }
}

fn encode(request: &Request) -> Result<http::Request<Payload>, http::Error> {
    let method = match request.method {
        Method::Get => http::Method::GET,
        Method::Post => http::Method::POST,
        Method::Put => http::Method::PUT,
        Method::Patch => http::Method::PATCH,
        Method::Delete => http::Method::DELETE,
    };
    let builder =
        http::Request::builder().method(method).uri(uri(request)).header("accept", "application/json");
    let (content_type, value) = match &request.body {
        Body::Empty => return builder.body(Payload::empty()),
        Body::Json(value) => ("application/json", value),
        Body::Merge(value) => ("application/merge-patch+json", value),
        Body::JsonPatch(value) => ("application/json-patch+json", value),
        Body::StrategicMerge(value) => ("application/strategic-merge-patch+json", value),
        Body::Apply(value) => ("application/apply-patch+yaml", value),
    };
    let bytes = Value::to_string(value).into_bytes();
    builder.header("content-type", content_type).body(Payload::from(bytes))
}

fn uri(request: &Request) -> String {
    let mut uri = request.path.clone();
    for (number, (name, value)) in request.query.iter().enumerate() {
        uri.push(if number == 0 { '?' } else { '&' });
        escape(&mut uri, name);
        uri.push('=');
        escape(&mut uri, value);
    }
    uri
}

/// Percent-encodes everything but unreserved characters.
fn escape(uri: &mut String, text: &str) {
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            uri.push(char::from(byte));
        } else {
            // Writing to a String does not fail.
            let _ = write!(uri, "%{byte:02X}");
        }
    }
}
