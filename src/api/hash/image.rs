//! Which pull policy Kubernetes gives an image that has none.

/// `Always` for the tag `latest`, written or implied; `IfNotPresent` for any other tag, for a digest without a tag,
/// and for a name that is not an image reference.
pub(super) fn default_pull_policy(image: &str) -> &'static str {
    if tag(image) == Some("latest") { "Always" } else { "IfNotPresent" }
}

/// The tag, `latest` where nothing is said; `None` where the reference is invalid or names only a digest.
fn tag(image: &str) -> Option<&str> {
    let (named, digest) = match image.split_once('@') {
        Some((named, digest)) => (named, Some(digest)),
        None => (image, None),
    };
    if !digest.is_none_or(is_digest) {
        return None;
    }
    let last_slash = named.rfind('/').map_or(0, |at| at + 1);
    let (name, tag) = match named[last_slash..].find(':') {
        Some(colon) => (&named[..last_slash + colon], Some(&named[last_slash + colon + 1..])),
        None => (named, None),
    };
    if !is_name(name) || !tag.is_none_or(is_tag) || (digest.is_none() && is_bare_id(image)) {
        return None;
    }
    tag.or(if digest.is_none() { Some("latest") } else { None })
}

fn is_tag(tag: &str) -> bool {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    (1..=128).contains(&tag.len())
        && tag.starts_with(word)
        && tag.chars().all(|c| word(c) || c == '.' || c == '-')
}

fn is_digest(digest: &str) -> bool {
    digest.split_once(':').is_some_and(|(algorithm, hex)| {
        let starts = algorithm.starts_with(|c: char| c.is_ascii_alphabetic());
        starts && hex.len() >= 32 && hex.chars().all(|c| c.is_ascii_hexdigit())
    })
}

/// 64 hex digits alone are an image id, not a name.
fn is_bare_id(image: &str) -> bool {
    image.len() == 64 && image.chars().all(|c| matches!(c, '0'..='9' | 'a'..='f'))
}

/// A path, behind a host where the first part looks like one.
fn is_name(name: &str) -> bool {
    const LONGEST: usize = 255;
    let (host, path) = match name.split_once('/') {
        Some((first, rest)) if is_host_like(first) => (Some(first), rest),
        _ => (None, name),
    };
    name.len() <= LONGEST && host.is_none_or(is_host) && path.split('/').all(is_component)
}

fn is_host_like(part: &str) -> bool {
    part.contains(['.', ':']) || part == "localhost" || part.chars().any(|c| c.is_ascii_uppercase())
}

fn is_host(host: &str) -> bool {
    let (name, port) = match host.rsplit_once(':') {
        Some((name, port)) => (name, port),
        None => (host, "0"),
    };
    let is_label = |label: &str| {
        let ends = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
        let within = label.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
        within && ends(label.chars().next()) && ends(label.chars().next_back())
    };
    let is_six = name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let is_named = is_six.map_or_else(
        || name.split('.').all(is_label),
        |six| !six.is_empty() && six.chars().all(|c| c.is_ascii_hexdigit() || c == ':'),
    );
    is_named && !port.is_empty() && port.chars().all(|c| c.is_ascii_digit())
}

/// Lower-case letters and digits, joined by one `.`, one or two `_`, or dashes.
fn is_component(part: &str) -> bool {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let joins = part.split(plain).filter(|join| !join.is_empty());
    part.starts_with(plain)
        && part.ends_with(plain)
        && joins.into_iter().all(|join| matches!(join, "." | "_" | "__") || join.chars().all(|c| c == '-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policy_follows_the_tag() {
        let id = "a".repeat(64);
        for (image, expected) in [
            ("nginx", "Always"),
            ("nginx:latest", "Always"),
            ("nginx:1.19", "IfNotPresent"),
            ("localhost:5000/shop", "Always"),
            ("localhost:5000/shop:v1", "IfNotPresent"),
            ("registry.example:443/a/b__c/d-e", "Always"),
            ("[::1]:5000/shop", "Always"),
            (&format!("nginx@sha256:{id}"), "IfNotPresent"),
            (&format!("nginx:latest@sha256:{id}"), "Always"),
            ("nginx@sha256:short", "IfNotPresent"),
            (&id, "IfNotPresent"),
            ("", "IfNotPresent"),
            ("Nginx", "IfNotPresent"),
            ("Registry/shop", "Always"),
            ("a//b", "IfNotPresent"),
            ("nginx:", "IfNotPresent"),
            ("a___b", "IfNotPresent"),
        ] {
            assert_eq!(default_pull_policy(image), expected, "{image}");
        }
    }
}
