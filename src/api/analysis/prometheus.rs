//! The provider `prometheus`: what is asked, with secrets still as references. No I/O.

use jiff::SignedDuration;
use serde_json::Value;

use super::{arguments::Arguments, duration, field};
use crate::decide::analysis::{Part, Query, Range, Text};

/// Time for one answer where the metric does not say, in seconds, as in the reference.
const DEFAULT_TIMEOUT_SECONDS: i64 = 30;

/// Reads the provider. The outer error is a spec that cannot be carried out; the inner one makes each measurement an
/// Error, as in the reference.
pub(super) fn parse(wire: &Value, arguments: &Arguments) -> Result<Result<Query, String>, String> {
    let address = field::given(wire, "address")?.map(|text| arguments.split(text.trim_end_matches('/')));
    refuse_unsupported_authentication(wire, address.as_ref())?;
    let timeout = field::integer(wire, "timeout")?.unwrap_or(DEFAULT_TIMEOUT_SECONDS);
    let insecure = field::flag(wire, "insecure")?;
    let promql = arguments.split(field::text(wire, "query")?.unwrap_or_default());
    let headers = headers(wire, arguments)?;
    let basic_auth = match basic_auth(wire, arguments)? {
        Ok(auth) => auth,
        Err(missing) => return Ok(Err(missing)),
    };
    if address.as_ref().is_some_and(|address| !is_url(address)) {
        return Ok(Err("prometheus address is not is url format".to_owned()));
    }
    if timeout < 0 {
        return Ok(Err("prometheus timeout should not be negative".to_owned()));
    }
    if timeout == 0 {
        // A fault of the spec: as an outage it would hold the rollout for ever.
        return Ok(Err("prometheus timeout of 0 leaves no time for an answer".to_owned()));
    }
    let range = match range(wire, arguments)? {
        Ok(range) => range,
        Err(unreadable) => return Ok(Err(unreadable)),
    };
    let timeout = SignedDuration::from_secs(timeout);
    Ok(Ok(Query { address, promql, timeout, range, headers, basic_auth, insecure }))
}

fn refuse_unsupported_authentication(wire: &Value, address: Option<&Text>) -> Result<(), String> {
    let given = |path: &str| wire.pointer(path).and_then(Value::as_str).is_some_and(|text| !text.is_empty());
    if given("/authentication/oauth2/tokenUrl") {
        return Err("provider.prometheus.authentication.oauth2 is not supported yet".to_owned());
    }
    let is_amazon = address.is_some_and(|address| address.masked().contains("aps-workspaces"));
    let sigv4 = ["region", "profile", "roleArn"];
    if is_amazon && sigv4.iter().any(|key| given(&format!("/authentication/sigv4/{key}"))) {
        return Err("provider.prometheus.authentication.sigv4 is not supported yet".to_owned());
    }
    Ok(())
}

fn headers(wire: &Value, arguments: &Arguments) -> Result<Vec<(String, Text)>, String> {
    let header = |header: &Value| {
        let name = arguments.checked(field::text(header, "key")?.unwrap_or_default());
        Ok((name, arguments.split(field::text(header, "value")?.unwrap_or_default())))
    };
    field::list(wire, "headers")?.iter().map(header).collect()
}

/// Bounds are read when the query is sent, because they depend on when that is; an absent one is an error then.
fn range(wire: &Value, arguments: &Arguments) -> Result<Result<Option<Range>, String>, String> {
    let Some(range) = wire.get("rangeQuery").filter(|range| !range.is_null()) else { return Ok(Ok(None)) };
    let text = |key: &str| Ok::<_, String>(arguments.checked(field::text(range, key)?.unwrap_or_default()));
    let (start, end, step) = (text("start")?, text("end")?, text("step")?);
    let step = duration::parse(&step);
    let step = step.map_err(|error| format!("failed to parse rangeQuery.step as duration: {error}"));
    Ok(step.map(|step| Some(Range { start, end, step })))
}

type BasicAuth = Option<(Text, Text)>;

fn basic_auth(wire: &Value, arguments: &Arguments) -> Result<Result<BasicAuth, String>, String> {
    let Some(auth) = wire.pointer("/authentication/basicAuth") else { return Ok(Ok(None)) };
    let missing =
        |what: &str| Err(format!("missing mandatory parameter in metric for basic auth setup: {what}"));
    Ok(match (field::given(auth, "username")?, field::given(auth, "password")?) {
        (None, None) => Ok(None),
        (None, Some(_)) => missing("username"),
        (Some(_), None) => missing("password"),
        (Some(user), Some(password)) => Ok(Some((arguments.split(user), arguments.split(password)))),
    })
}

/// True where the text has a scheme and a host. One that begins with a secret is only known to the sampler.
fn is_url(address: &Text) -> bool {
    match address.0.as_slice() {
        [Part::Plain(whole)] => {
            whole.parse::<http::Uri>().is_ok_and(|uri| uri.scheme().is_some() && uri.host().is_some())
        }
        _ => true,
    }
}
