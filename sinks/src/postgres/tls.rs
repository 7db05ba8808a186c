//! TLS to the server. `sslmode=verify-full`, and any other mode once the authority's certificate is named, takes
//! only a server whose certificate that authority vouches for, under the host's name; without it `require` and
//! `prefer` encrypt and, as everywhere with PostgreSQL, do not ask who the server is.

use std::path::Path;
use std::sync::Arc;

use tokio_postgres_rustls::MakeRustlsConnect;
use tokio_rustls::rustls::client::WebPkiServerVerifier;
use tokio_rustls::rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use tokio_rustls::rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::rustls::{
    ClientConfig, DigitallySignedStruct, Error as TlsError, RootCertStore, SignatureScheme,
};

use crate::Error;

/// The modes that PostgreSQL's own clients know and the driver does not: they ask who the server is.
const VERIFYING: [&str; 2] = ["sslmode=verify-full", "sslmode=verify-ca"];

/// A URL as the driver takes it, and whether it asks who the server is.
pub(super) fn mode(url: &str) -> (String, bool) {
    let (place, settings) = url.split_at(url.rfind('?').unwrap_or(0));
    match VERIFYING.iter().find(|mode| settings.contains(**mode)) {
        Some(mode) => (format!("{place}{}", settings.replacen(mode, "sslmode=require", 1)), true),
        None => (url.to_owned(), false),
    }
}

/// How connections are secured: by the authority in this file, or by encryption alone.
pub(super) fn client(authority: Option<&Path>) -> Result<Arc<ClientConfig>, Error> {
    let provider = Arc::new(ring::default_provider());
    let verifier: Arc<dyn ServerCertVerifier> = match authority {
        None => Arc::new(Anyone(provider.clone())),
        Some(path) => {
            let bad = |why: String| Error::refused(path, format!("no certificate of an authority: {why}"));
            let mut roots = RootCertStore::empty();
            for certificate in CertificateDer::pem_file_iter(path).map_err(|why| bad(why.to_string()))? {
                let added = certificate.map_err(|why| bad(why.to_string())).map(|found| roots.add(found))?;
                added.map_err(|why| bad(why.to_string()))?;
            }
            let verifier =
                WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone()).build();
            verifier.map_err(|why| bad(why.to_string()))?
        }
    };
    let versions = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let versions = versions.map_err(|why| Error::Database(why.to_string()))?;
    let config = versions.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth();
    Ok(Arc::new(config))
}

/// What the driver connects with.
pub(super) fn connector(config: &Arc<ClientConfig>) -> MakeRustlsConnect {
    MakeRustlsConnect::new(ClientConfig::clone(config))
}

/// What to do about a server that is not who it should be, if that is why a connection failed.
pub(super) fn refusal(error: &tokio_postgres::Error) -> Option<String> {
    let mut cause = std::error::Error::source(error);
    while let Some(found) = cause {
        let inner = found.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        let inner = inner.and_then(|inner| inner.downcast_ref::<TlsError>());
        if let Some(TlsError::InvalidCertificate(why)) = inner.or_else(|| found.downcast_ref()) {
            return Some(format!(
                "the server's certificate is refused: {why}; postgres.tls_authority names the certificate of \
                 the authority that has signed it, and the host in the URL must be one of its names"
            ));
        }
        cause = found.source();
    }
    None
}

/// Takes any certificate; the handshake is still signed by its key.
#[derive(Debug)]
struct Anyone(Arc<CryptoProvider>);

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, TlsError> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        verify_tls12_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        verify_tls13_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_modes_of_other_clients_are_understood() {
        let url = "postgresql://me:sslmode=verify-full@db/x?application_name=a&sslmode=verify-full";
        let plain = "postgresql://me:sslmode=verify-full@db/x?application_name=a&sslmode=require";
        assert_eq!(mode(url), (plain.to_owned(), true));
        assert_eq!(mode(plain), (plain.to_owned(), false));
        assert_eq!(mode("host=db sslmode=verify-ca"), ("host=db sslmode=require".to_owned(), true));
    }
}
