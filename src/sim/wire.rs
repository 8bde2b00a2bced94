//! From HTTP to the world's requests.

use jiff::Timestamp;
use serde_json::Value;

use super::store::{
    Discovery, Part, Refusal, Resource, Route, aggregated, bad_request, internal, route, table,
    unsupported_media_type,
};
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
        body: read_body(&parts.method, kind, body)?,
    })
}

/// How a client wants an answer shown.
#[derive(Clone, Debug)]
pub(super) enum View {
    Whole,
    /// The resource, and what the rows are to include.
    Table(Resource, String),
    /// Discovery of everything in one document; of the core group where true.
    Aggregated(bool),
}

impl View {
    /// The body as the client wants it; scales and refusals stay as they are.
    pub(super) fn of(&self, body: Value, now: Timestamp) -> Value {
        match self {
            Self::Whole => body,
            Self::Table(resource, include) => table(*resource, &body, include, now),
            Self::Aggregated(core) => aggregated(*core),
        }
    }

    /// The media type of a body of this view.
    pub(super) fn content_type(&self) -> &'static str {
        match self {
            Self::Whole | Self::Table(..) => "application/json",
            Self::Aggregated(_) => AGGREGATED,
        }
    }
}

const AGGREGATED: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";

/// Reads from `Accept` what is wanted: the first form that is served here.
pub(super) fn view(parts: &http::request::Parts, request: &Request) -> View {
    let accept = parts.headers.get(http::header::ACCEPT).and_then(|accept| accept.to_str().ok());
    let accept = accept.unwrap_or_default().replace(' ', "");
    let first = accept.split(',').next().unwrap_or_default();
    let wants_table = first.contains("as=Table") && first.split(';').any(|word| word == "v=v1");
    let wants_aggregate = accept.split(',').any(|form| {
        let mut words = form.split(';');
        words.next() == Some("application/json")
            && form.contains("as=APIGroupDiscoveryList")
            && words.any(|word| word == "v=v2")
    });
    match route(&request.path) {
        _ if request.method != Method::Get => View::Whole,
        Route::Objects(target) if wants_table && target.part == Part::Main => {
            let include = request.query.iter().find(|(key, _)| key == "includeObject");
            View::Table(target.resource, include.map(|(_, value)| value.clone()).unwrap_or_default())
        }
        Route::Discovery(Discovery::CoreVersions) if wants_aggregate => View::Aggregated(true),
        Route::Discovery(Discovery::Groups) if wants_aggregate => View::Aggregated(false),
        Route::Objects(_) | Route::Discovery(_) | Route::NoPart(..) | Route::Unknown(_) => View::Whole,
    }
}

fn read_body(method: &http::Method, kind: &str, body: &[u8]) -> Result<Body, Refusal> {
    let is_patch = *method == http::Method::PATCH;
    let json = || -> Result<Value, Refusal> {
        serde_json::from_slice(body).map_err(|error| match (error.is_eof(), is_patch) {
            (true, true) => bad_request("error decoding patch: unexpected end of JSON input"),
            (false, true) => bad_request(&format!("error decoding patch: {error}")),
            (true, false) if *method != http::Method::DELETE => {
                let sent = String::from_utf8_lossy(body);
                bad_request(&format!(
                    "couldn't get version/kind; json parse error: unexpected end of JSON input ({sent})"
                ))
            }
            (_, false) if *method == http::Method::DELETE => {
                internal(&format!("couldn't get version/kind; json parse error: {error}"))
            }
            (_, false) => bad_request(&format!("couldn't get version/kind; json parse error: {error}")),
        })
    };
    match kind {
        _ if body.is_empty() && !is_patch => Ok(Body::Empty),
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
        _ if is_patch => Ok(Body::Empty),
        _ => Err(unsupported_media_type(&[
            "application/json",
            "application/yaml",
            "application/vnd.kubernetes.protobuf",
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
