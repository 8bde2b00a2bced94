//! What opens a remote, read from Secrets. Pure; nothing here is printed, and the texts of the errors hold no value.
//!
//! The keys are those that Flux uses, so that the Secret of a GitRepository can be used again: `username` and
//! `password` over HTTPS; `identity`, `known_hosts` and, for the key's passphrase, `password` over SSH.

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};

use super::remote::Kind;
use crate::api::serin::{GitLocation, SecretReference};

/// The longest value that is taken of a Secret, in bytes. Tokens, keys and files of hosts are a few KiB; the order
/// that carries them to the child is bounded too.
const MAX_VALUE_BYTES: usize = 64 * 1024;

/// The longest file of certificate authorities, in bytes: a system's whole bundle has 200 KiB.
const MAX_AUTHORITY_BYTES: usize = 512 * 1024;

/// The user's name where a Secret has none. Forges take any name beside a token.
const DEFAULT_USER: &str = "git";

/// What opens a remote. Printed nowhere.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Credential {
    /// Nothing: a public repository, or one on this machine.
    #[default]
    None,
    /// HTTPS.
    Token { username: String, password: String },
    /// SSH. `known_hosts` is a file's content; a server that is not in it is not spoken to.
    #[serde(rename_all = "camelCase")]
    Key { identity: String, passphrase: Option<String>, known_hosts: String },
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credential")
    }
}

/// Everything that a transfer needs to know about a remote beside its address.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Access {
    pub credential: Credential,
    /// The certificates, as PEM, of the authorities that may vouch for the server; `None`: the system's.
    pub authority: Option<String>,
}

/// The content of a Secret.
pub type Values = BTreeMap<String, Vec<u8>>;

/// Why there is no access. A person has to do something.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, strum::IntoStaticStr)]
pub enum AccessError {
    #[error("the policy names no `git.secretRef`; ssh:// needs a Secret with `identity` and `known_hosts`")]
    SecretNotNamed,
    #[error("this namespace has no Secret `{0}`, which the policy names")]
    SecretMissing(String),
    #[error(
        "serin may not read the Secret `{0}`: put its name into the Role and RoleBinding of \
         deploy/optional/git-secrets.yaml and apply them in this namespace"
    )]
    SecretForbidden(String),
    #[error("the Secret `{secret}` has no key `{key}`: {what}")]
    KeyMissing { secret: String, key: &'static str, what: &'static str },
    #[error("the Secret `{secret}`, key `{key}`: {what}")]
    ValueUnusable { secret: String, key: &'static str, what: &'static str },
}

/// A Secret that was read, with its name.
struct Source<'a> {
    name: &'a str,
    values: &'a Values,
}

/// What opens the remote of `git`, from the Secrets that it names. `secret` and `authority` are `None` where `git`
/// names none.
///
/// # Errors
/// See [`AccessError`].
pub fn access(
    git: &GitLocation,
    kind: Kind,
    secret: Option<&Values>,
    authority: Option<&Values>,
) -> Result<Access, AccessError> {
    let credential = match (kind, Source::of(git.secret_ref.as_ref(), secret)) {
        (Kind::Local | Kind::Daemon, _) | (Kind::Https, None) => Credential::None,
        (Kind::Ssh, None) => return Err(AccessError::SecretNotNamed),
        (Kind::Https, Some(source)) => source.token()?,
        (Kind::Ssh, Some(source)) => source.key()?,
    };
    let authority = match (kind, Source::of(git.ca_secret_ref.as_ref(), authority)) {
        (Kind::Https, Some(source)) => Some(source.authority()?),
        (Kind::Https, None) | (Kind::Local | Kind::Daemon | Kind::Ssh, _) => None,
    };
    Ok(Access { credential, authority })
}

impl<'a> Source<'a> {
    fn of(reference: Option<&'a SecretReference>, values: Option<&'a Values>) -> Option<Self> {
        Some(Source { name: &reference?.name, values: values? })
    }

    fn token(&self) -> Result<Credential, AccessError> {
        let password = self.line("password", "over https:// it is the access token")?;
        let username = self.optional_line("username")?.unwrap_or_else(|| DEFAULT_USER.into());
        if username.contains(':') {
            return Err(self.unusable("username", "a user's name has no colon"));
        }
        Ok(Credential::Token { username, password })
    }

    fn key(&self) -> Result<Credential, AccessError> {
        let identity = self.text("identity", "over ssh:// it is the private key", MAX_VALUE_BYTES)?;
        let what = "over ssh:// it is the lines that `ssh-keyscan HOST` prints, once checked";
        let known_hosts = self.text("known_hosts", what, MAX_VALUE_BYTES)?;
        let passphrase = self.optional_line("password")?;
        Ok(Credential::Key { identity, passphrase, known_hosts })
    }

    fn authority(&self) -> Result<String, AccessError> {
        let what = "it is the authority's certificate as PEM";
        let text = self.text("ca.crt", what, MAX_AUTHORITY_BYTES)?;
        if !text.contains("-----BEGIN CERTIFICATE-----") {
            return Err(
                self.unusable("ca.crt", "it holds no PEM certificate (`-----BEGIN CERTIFICATE-----`)")
            );
        }
        Ok(text)
    }

    fn unusable(&self, key: &'static str, what: &'static str) -> AccessError {
        AccessError::ValueUnusable { secret: self.name.into(), key, what }
    }

    fn text(&self, key: &'static str, what: &'static str, most: usize) -> Result<String, AccessError> {
        let missing = || AccessError::KeyMissing { secret: self.name.into(), key, what };
        let bytes = self.values.get(key).ok_or_else(missing)?;
        if bytes.len() > most {
            return Err(self.unusable(key, "it is too long"));
        }
        let text = std::str::from_utf8(bytes).map_err(|_| self.unusable(key, "it is not text"))?;
        if text.trim().is_empty() {
            return Err(self.unusable(key, "it is empty"));
        }
        Ok(text.into())
    }

    fn optional_line(&self, key: &'static str) -> Result<Option<String>, AccessError> {
        self.values.contains_key(key).then(|| self.line(key, "")).transpose()
    }

    /// A text of one line. A line end behind it is what `echo` leaves and is dropped.
    fn line(&self, key: &'static str, what: &'static str) -> Result<String, AccessError> {
        let text = self.text(key, what, MAX_VALUE_BYTES)?;
        let line = text.trim_end_matches(['\r', '\n']);
        if line.chars().any(char::is_control) {
            return Err(self.unusable(key, "it has more than one line, or control characters"));
        }
        Ok(line.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(pairs: &[(&str, &str)]) -> Values {
        pairs.iter().map(|(key, value)| ((*key).into(), value.as_bytes().to_vec())).collect()
    }

    fn location() -> GitLocation {
        GitLocation {
            secret_ref: Some(SecretReference { name: "git".into() }),
            ca_secret_ref: Some(SecretReference { name: "ca".into() }),
            ..GitLocation::default()
        }
    }

    fn read(kind: Kind, secret: &[(&str, &str)]) -> Result<Credential, AccessError> {
        access(&location(), kind, Some(&values(secret)), None).map(|access| access.credential)
    }

    fn token(username: &str, password: &str) -> Result<Credential, AccessError> {
        Ok(Credential::Token { username: username.into(), password: password.into() })
    }

    #[test]
    fn a_token_is_one_line_and_the_line_end_of_echo_is_no_part_of_it() {
        assert_eq!(read(Kind::Https, &[("password", "t0ken\n")]), token("git", "t0ken"));
        assert_eq!(read(Kind::Https, &[("username", "bot"), ("password", "a b")]), token("bot", "a b"));
        for (values, key) in [
            (&[("password", "a\nb")][..], "password"),
            (&[("password", "\n")], "password"),
            (&[("password", "t"), ("username", "a:b")], "username"),
            (&[("password", "t"), ("username", "a\r\nX-Evil: 1")], "username"),
        ] {
            let error = read(Kind::Https, values).unwrap_err();
            assert!(matches!(error, AccessError::ValueUnusable { key: k, .. } if k == key), "{error}");
        }
        let missing = read(Kind::Https, &[("token", "t")]).unwrap_err().to_string();
        assert_eq!(missing, "the Secret `git` has no key `password`: over https:// it is the access token");
    }

    #[test]
    fn a_key_needs_known_hosts() {
        let key = [("identity", "-----BEGIN"), ("known_hosts", "h ssh-ed25519 A"), ("password", "p\n")];
        let expected = Credential::Key {
            identity: "-----BEGIN".into(),
            passphrase: Some("p".into()),
            known_hosts: "h ssh-ed25519 A".into(),
        };
        assert_eq!(read(Kind::Ssh, &key), Ok(expected));
        let error = read(Kind::Ssh, &key[..1]).unwrap_err();
        assert!(error.to_string().contains("no key `known_hosts`"), "{error}");
        assert_eq!(access(&location(), Kind::Ssh, None, None), Err(AccessError::SecretNotNamed));
    }

    #[test]
    fn an_authority_is_pem() {
        let with = |ca| access(&location(), Kind::Https, None, Some(&values(&[("ca.crt", ca)])));
        let pem = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        assert_eq!(with(pem).unwrap().authority.as_deref(), Some(pem));
        assert!(with("MIIB").unwrap_err().to_string().contains("no PEM certificate"));
    }

    #[test]
    fn values_out_of_bounds_are_refused_without_being_quoted() {
        let long = "hunter2".repeat(MAX_VALUE_BYTES);
        let error = read(Kind::Https, &[("password", &long)]).unwrap_err();
        assert!(error.to_string().contains("too long") && !error.to_string().contains("hunter2"), "{error}");
        let binary = Values::from([("password".into(), vec![0xff, 0xfe])]);
        let error = access(&location(), Kind::Https, Some(&binary), None).unwrap_err();
        assert!(error.to_string().contains("not text"), "{error}");
        assert!(!format!("{:?}", read(Kind::Https, &[("password", "hunter2")])).contains("hunter2"));
    }
}
