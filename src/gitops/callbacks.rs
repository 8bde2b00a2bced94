//! How libgit2 is given a credential, and a server's host key is checked. Runs in the child of a transfer.
//!
//! libgit2 loses the text of an error that a callback returns, so a callback that refuses something also notes why.

use std::cell::{Cell, RefCell};

use git2::{
    CertificateCheckStatus, Cred, CredentialType, Error, ErrorClass, ErrorCode, RemoteCallbacks, cert::Cert,
};

use super::{
    access::Credential,
    hosts::{self, Verdict},
    perform::bounded,
    remote,
    transfer::{Failure, Order},
};

/// Why a callback refused to go on: the first reason counts.
#[derive(Debug, Default)]
pub(super) struct Notes {
    failure: RefCell<Option<Failure>>,
}

impl Notes {
    pub(super) fn write(&self, failure: Failure) {
        self.failure.borrow_mut().get_or_insert(failure);
    }

    pub(super) fn read(self) -> Option<Failure> {
        self.failure.into_inner()
    }

    /// Notes a failure and gives the error that ends the call of libgit2.
    fn refuse<T>(&self, failure: Failure) -> Result<T, Error> {
        let error = Error::new(ErrorCode::User, ErrorClass::Callback, failure.to_string());
        self.write(failure);
        Err(error)
    }
}

/// The callbacks for one connection.
pub(super) fn callbacks<'a>(order: &'a Order, notes: &'a Notes) -> RemoteCallbacks<'a> {
    let mut callbacks = RemoteCallbacks::new();
    let given = Cell::new(false);
    callbacks.credentials(move |asking, user, allowed| {
        if allowed.contains(CredentialType::USERNAME) {
            return Cred::username("git");
        }
        // A server that asks again did not take it. Asked for ever, some lock the account.
        if given.replace(true) {
            return notes.refuse(Failure::Unauthorized("it is not accepted".into()));
        }
        credential(order, notes, (asking, user, allowed))
    });
    if order.request.url.starts_with("ssh://") {
        callbacks.certificate_check(move |certificate, _| host_key(order, notes, certificate));
    }
    callbacks
}

fn credential(
    order: &Order,
    notes: &Notes,
    (asking, user, allowed): (&str, Option<&str>, CredentialType),
) -> Result<Cred, Error> {
    match &order.credential {
        Credential::None => {
            notes.refuse(Failure::Unauthorized("it asks for one, and the policy names none".into()))
        }
        Credential::Token { username, password } if allowed.is_user_pass_plaintext() => {
            // libgit2 follows a redirect to another port of the same host.
            if remote::authority(asking) != remote::authority(&order.request.url)
                || !asking.starts_with("https://")
            {
                return notes.refuse(Failure::Redirected("another server asks for the credential".into()));
            }
            Cred::userpass_plaintext(username, password)
        }
        Credential::Key { identity, passphrase, .. } if allowed.contains(CredentialType::SSH_MEMORY) => {
            Cred::ssh_key_from_memory(user.unwrap_or("git"), None, identity, passphrase.as_deref())
        }
        Credential::Token { .. } => {
            notes.refuse(Failure::Unauthorized("it takes no user name and password".into()))
        }
        Credential::Key { .. } => notes.refuse(Failure::Unauthorized("it takes no key".into())),
    }
}

fn host_key(order: &Order, notes: &Notes, certificate: &Cert<'_>) -> Result<CertificateCheckStatus, Error> {
    let Credential::Key { known_hosts, .. } = &order.credential else {
        return notes.refuse(Failure::HostKey("the policy names no `known_hosts`".into()));
    };
    let key = certificate.as_hostkey().and_then(|key| key.hostkey());
    let (Some(key), Some((host, port))) = (key, remote::authority(&order.request.url)) else {
        return notes.refuse(Failure::HostKey("the server shows no host key".into()));
    };
    let (kind, fingerprint) = (bounded(&hosts::kind(key)), hosts::fingerprint(key));
    let reason: String = match hosts::check(known_hosts, (&host, port), key) {
        Verdict::Known => return Ok(CertificateCheckStatus::CertificateOk),
        Verdict::Revoked => "which `known_hosts` marks as revoked".into(),
        Verdict::Changed => {
            "but `known_hosts` has another one: it was changed, or somebody else answers in its place".into()
        }
        Verdict::OtherKinds(kinds) => format!("but `known_hosts` has only {} for it", kinds.join(", ")),
        Verdict::Unknown => "but `known_hosts` does not name it".into(),
    };
    notes.refuse(Failure::HostKey(bounded(&format!(
        "{host} port {port} shows the {kind} key {fingerprint}, {reason}"
    ))))
}
