//! Says why a server's certificate is refused. Runs in the child of a transfer, after the transfer was refused.
//!
//! libgit2 says no more than that a certificate is invalid. A second handshake, with the same authorities and without
//! a credential, gives a reason that a person can act on. It decides nothing: the transfer has failed already.

use std::{io::Read, net::TcpStream, sync::Arc, time::Duration};

use rustls::{
    CertificateError, ClientConfig, ClientConnection, Error, RootCertStore, Stream, pki_types::ServerName,
};

/// A server that took the first handshake answers the second at once.
const LIMIT: Duration = Duration::from_secs(5);

/// The reason, as a sentence; `None` where it cannot be found out.
pub(super) fn refusal((host, port): (&str, u16)) -> Option<String> {
    // Reads `SSL_CERT_FILE` and `SSL_CERT_DIR` as libgit2's OpenSSL does.
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    let (taken, _) = roots.add_parsable_certificates(found.certs);
    if taken == 0 {
        return Some("there is no certificate authority to check it with".into());
    }
    let config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    let name = ServerName::try_from(host.to_owned()).ok()?;
    let mut connection = ClientConnection::new(Arc::new(config), name).ok()?;
    let mut socket = TcpStream::connect((host, port)).ok()?;
    socket.set_read_timeout(Some(LIMIT)).ok()?;
    socket.set_write_timeout(Some(LIMIT)).ok()?;
    let mut stream = Stream::new(&mut connection, &mut socket);
    let error = stream.read(&mut [0]).err()?;
    if let Error::InvalidCertificate(reason) = error.get_ref()?.downcast_ref::<Error>()? {
        return Some(sentence(reason));
    }
    None
}

fn sentence(reason: &CertificateError) -> String {
    #[expect(clippy::wildcard_enum_match_arm, reason = "the enum is open; what is not named explains itself")]
    match reason {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            format!("it has expired ({reason})")
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            format!("it is not valid yet ({reason}); is this machine's clock right?")
        }
        // The second: an authority of a known name, with another key.
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            "it is signed by an authority that is not known here; name the authority's certificate in \
             `git.caSecretRef`"
                .into()
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            format!("it is for another host ({reason})")
        }
        other => other.to_string(),
    }
}
