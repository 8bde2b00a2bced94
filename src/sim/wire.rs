//! From HTTP to the world's requests.

use jiff::Timestamp;
use serde_json::Value;

use super::store::{Part, Refusal, Resource, Route, bad_request, route, table, unsupported_media_type};
use crate::api::http::{Body, Method, Request};

/// Reads a request.
///
/// # Errors
/// 400 for a body that does not parse, 405 for a verb and 415 for a content type that no server knows.
pub(super) fn request(parts: &http::request::Parts, body: &[u8]) -> Result<Request, Refusal> {
    let method = match parts.method {
        http::Method::GET | http::Method::HEAD => Method::Get,
        http::Method::POST => Method::Post,
        http::Method::PUT => Method::Put,
        http::Method::PATCH => Method::Patch,
        http::Method::DELETE => Method::Delete,
        _ => return Err(super::store::method_not_allowed()),
    };
    let kind = parts.headers.get(http::header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    let kind = kind.unwrap_or("application/json").split(';').next().unwrap_or_default().trim();
    Ok(Request {
        method,
        path: percent_decoded(parts.uri.path(), false),
        query: query(parts.uri.query().unwrap_or_default()),
        body: read_body(kind, body)?,
    })
}

/// How a client wants objects shown.
#[derive(Clone, Debug)]
pub(super) struct View {
    /// The resource, and what the rows are to include; `None` for whole objects.
    table: Option<(Resource, String)>,
}

impl View {
    /// The body as the client wants it; discovery, scales and refusals stay as they are.
    pub(super) fn of(&self, body: Value, now: Timestamp) -> Value {
        match &self.table {
            Some((resource, include)) => table(*resource, &body, include, now),
            None => body,
        }
    }
}

/// Reads from `Accept` whether Tables are wanted; only reads of whole objects have them.
pub(super) fn view(parts: &http::request::Parts, request: &Request) -> View {
    let accept = parts.headers.get(http::header::ACCEPT).and_then(|accept| accept.to_str().ok());
    let first = accept.unwrap_or_default().split(',').next().unwrap_or_default();
    let wanted = first.contains("as=Table") && first.contains("v=v1;") && request.method == Method::Get;
    let table = match route(&request.path) {
        Route::Objects(target) if wanted && target.part == Part::Main => {
            let include = request.query.iter().find(|(key, _)| key == "includeObject");
            Some((target.resource, include.map(|(_, value)| value.clone()).unwrap_or_default()))
        }
        Route::Objects(_) | Route::Discovery(_) | Route::Unknown(_) => None,
    };
    View { table }
}

fn read_body(kind: &str, body: &[u8]) -> Result<Body, Refusal> {
    if body.is_empty() {
        return Ok(Body::Empty);
    }
    let json = || -> Result<Value, Refusal> {
        serde_json::from_slice(body).map_err(|error| bad_request(&format!("error decoding body: {error}")))
    };
    match kind {
        "application/json" | "*/*" => json().map(Body::Json),
        "application/merge-patch+json" => json().map(Body::Merge),
        "application/json-patch+json" => json().map(Body::JsonPatch),
        "application/strategic-merge-patch+json" => json().map(Body::StrategicMerge),
        "application/apply-patch+yaml" | "application/yaml" => {
            let text = String::from_utf8_lossy(body);
            let value = serde_json::from_slice(body)
                .or_else(|_| serde_saphyr::from_str::<Value>(&text))
                .map_err(|error| bad_request(&format!("error decoding YAML: {error}")))?;
            Ok(if kind == "application/yaml" { Body::Json(value) } else { Body::Apply(value) })
        }
        _ => Err(unsupported_media_type(&[
            "application/json",
            "application/json-patch+json",
            "application/merge-patch+json",
            "application/strategic-merge-patch+json",
            "application/apply-patch+yaml",
        ])),
    }
}

fn query(text: &str) -> Vec<(String, String)> {
    let pairs = text.split('&').filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            (percent_decoded(key, true), percent_decoded(value, true))
        })
        .collect()
}

/// Undoes percent-encoding; `+` is a space in queries only. What is not UTF-8 then is replaced.
fn percent_decoded(text: &str, plus_is_space: bool) -> String {
    let mut bytes = vec![];
    let mut rest = text.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        let hex = |at: usize| tail.get(at).and_then(|digit| char::from(*digit).to_digit(16));
        rest = tail;
        match (first, hex(0), hex(1)) {
            (b'%', Some(high), Some(low)) => {
                bytes.push(u8::try_from(high * 16 + low).unwrap_or(b'?'));
                rest = tail.get(2..).unwrap_or_default();
            }
            (b'+', _, _) if plus_is_space => bytes.push(b' '),
            _ => bytes.push(*first),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_decoded() {
        assert_eq!(
            query("labelSelector=a+in+%28x%2Cy%29&watch=1&empty"),
            [
                ("labelSelector".to_owned(), "a in (x,y)".to_owned()),
                ("watch".to_owned(), "1".to_owned()),
                ("empty".to_owned(), String::new()),
            ]
        );
        assert_eq!(percent_decoded("%zz%4", true), "%zz%4");
    }
}
