//! Which addresses a revert may go to. Pure.

use reqwest::Url;

/// How a remote is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A repository on this machine: demos and tests.
    Local,
    /// Git's own protocol, without credentials and without encryption: tests.
    Daemon,
    Https,
    Ssh,
}

/// Why an address is refused. The text never repeats the address: what makes it refused may be a password in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error, strum::IntoStaticStr)]
pub enum UrlError {
    #[error("`git.url` holds a credential; put it into a Secret and name that in `git.secretRef`")]
    CredentialInUrl,
    #[error("file:// and git:// remotes know no credentials; they are for tests and not switched on")]
    RemoteNotAllowed,
    #[error(
        "http:// and git:// would send the credential and the commit in the clear; use https:// or ssh://"
    )]
    RemoteNotEncrypted,
    #[error("`git.url` is no address; write https://HOST/PATH or ssh://git@HOST/PATH (not git@HOST:PATH)")]
    UrlRefused,
}

/// Reads an address. `allow_file`: whether the two kinds for tests may be used.
///
/// # Errors
/// See [`UrlError`].
pub fn kind(address: &str, allow_file: bool) -> Result<Kind, UrlError> {
    // What stands before an `@` in the host part, also where the rest is no address.
    let host = address.split_once("://").map_or(address, |(_, rest)| rest);
    let host = host.split(['/', '?', '#']).next().unwrap_or_default();
    if host.rsplit_once('@').is_some_and(|(user, _)| user.contains(':')) {
        return Err(UrlError::CredentialInUrl);
    }
    if address.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return Err(UrlError::UrlRefused);
    }
    let url = Url::parse(address).map_err(|_| UrlError::UrlRefused)?;
    if url.password().is_some() {
        return Err(UrlError::CredentialInUrl);
    }
    match url.scheme() {
        "file" | "git" if allow_file => {
            return Ok(if url.scheme() == "file" { Kind::Local } else { Kind::Daemon });
        }
        "file" => return Err(UrlError::RemoteNotAllowed),
        "git" | "http" => return Err(UrlError::RemoteNotEncrypted),
        _ => {}
    }
    if url.host_str().is_none_or(str::is_empty) || url.path().trim_matches('/').is_empty() {
        return Err(UrlError::UrlRefused);
    }
    match url.scheme() {
        // Over HTTPS people write tokens as the user's name.
        "https" if !url.username().is_empty() => Err(UrlError::CredentialInUrl),
        "https" | "ssh" if url.query().is_some() || url.fragment().is_some() => Err(UrlError::UrlRefused),
        "https" => Ok(Kind::Https),
        "ssh" => Ok(Kind::Ssh),
        _ => Err(UrlError::UrlRefused),
    }
}

/// Host and port that an address leads to; `None` where it names none.
pub(super) fn authority(address: &str) -> Option<(String, u16)> {
    let url = Url::parse(address).ok()?;
    let port = url.port_or_known_default().or_else(|| (url.scheme() == "ssh").then_some(22))?;
    Some((url.host_str()?.trim_matches(['[', ']']).to_ascii_lowercase(), port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encrypted_remotes_are_taken_and_those_for_tests_by_flag_alone() {
        for (address, expected) in [
            ("https://git.example/shop/deploy.git", Ok(Kind::Https)),
            ("https://git.example:8443/shop/deploy", Ok(Kind::Https)),
            ("https://git.example/@shop/deploy", Ok(Kind::Https)),
            ("ssh://git@git.example/shop/deploy.git", Ok(Kind::Ssh)),
            ("ssh://git.example:2222/deploy.git", Ok(Kind::Ssh)),
            ("file:///srv/deploy.git", Err(UrlError::RemoteNotAllowed)),
            ("git://git.example/deploy.git", Err(UrlError::RemoteNotEncrypted)),
            ("http://git.example/deploy.git", Err(UrlError::RemoteNotEncrypted)),
            ("https://hunter2@git.example/deploy.git", Err(UrlError::CredentialInUrl)),
            ("https://a:hunter2@git.example/deploy.git", Err(UrlError::CredentialInUrl)),
            ("ssh://git:hunter2@git.example/deploy.git", Err(UrlError::CredentialInUrl)),
            ("git:hunter2@git.example:deploy.git", Err(UrlError::CredentialInUrl)),
            ("https://git.example/deploy.git?private_token=hunter2", Err(UrlError::UrlRefused)),
            ("https://git.example/deploy.git#x", Err(UrlError::UrlRefused)),
            ("git@git.example:deploy.git", Err(UrlError::UrlRefused)),
            ("https:///deploy.git", Ok(Kind::Https).and(Err(UrlError::UrlRefused))),
            ("https://git.example", Err(UrlError::UrlRefused)),
            ("https://git.example/a\n.git", Err(UrlError::UrlRefused)),
            ("ext::sh -c id", Err(UrlError::UrlRefused)),
            ("ftp://git.example/deploy.git", Err(UrlError::UrlRefused)),
            ("", Err(UrlError::UrlRefused)),
        ] {
            let found = kind(address, false);
            assert_eq!(found, expected, "{address}");
            assert!(!found.is_err_and(|e| e.to_string().contains("hunter2")));
        }
        assert_eq!(kind("file:///srv/deploy.git", true), Ok(Kind::Local));
        assert_eq!(kind("git://127.0.0.1:9418/deploy.git", true), Ok(Kind::Daemon));
        assert_eq!(kind("http://git.example/deploy.git", true), Err(UrlError::RemoteNotEncrypted));
    }

    #[test]
    fn an_address_leads_to_a_host_and_a_port() {
        let to = |address| authority(address).unwrap();
        assert_eq!(to("https://GIT.example/x"), ("git.example".into(), 443));
        assert_eq!(to("ssh://git@git.example/x"), ("git.example".into(), 22));
        assert_eq!(to("ssh://git@[::1]:2222/x"), ("::1".into(), 2222));
        assert_eq!(authority("file:///x"), None);
    }
}
