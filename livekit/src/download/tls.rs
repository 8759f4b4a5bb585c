//! Encryption, and whose certificates are believed.

use std::io;
use std::sync::Arc;

use rustls::crypto::ring;
use rustls::{CertificateError, ClientConfig, RootCertStore};

use crate::error::Error;

/// TLS 1.2 and 1.3, with the authorities of this system: SSL_CERT_FILE and SSL_CERT_DIR, or where distributions keep them.
/// A system without any is given those of Mozilla, as they were when this program was built.
pub fn config() -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    }
    with_roots(roots)
}

/// The same, with given authorities.
pub fn with_roots(roots: RootCertStore) -> Arc<ClientConfig> {
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    // Fails only for a provider that can do neither version.
    let builder = builder.with_safe_default_protocol_versions().expect("ring does TLS 1.2 and 1.3");
    Arc::new(builder.with_root_certificates(roots).with_no_client_auth())
}

/// What is wrong with the server, if that is why a handshake failed; nothing if it was the connection.
pub fn refusal(error: &io::Error) -> Option<Error> {
    let cause = error.get_ref()?.downcast_ref::<rustls::Error>()?;
    let rustls::Error::InvalidCertificate(certificate) = cause else {
        return Some(match cause {
            rustls::Error::InvalidMessage(_) => {
                Error::new("the server does not speak TLS there").hint("an http:// address, or another port?")
            }
            other => Error::new(format!("the server and this program cannot agree on encryption: {other}")),
        });
    };
    let clock = "is this machine's clock right? `date` shows it";
    Some(match certificate {
        CertificateError::UnknownIssuer => {
            Error::new("the server's certificate is of no authority that this system knows")
                .hint("SSL_CERT_FILE=FILE.pem names another authority; http:// with --sha256 needs none")
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            Error::new("the server's certificate has expired").hint(clock)
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            Error::new("the server's certificate is not valid yet").hint(clock)
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            Error::new("the server's certificate is for another name")
        }
        other => Error::new(format!("the server's certificate cannot be believed: {other}")),
    })
}
