//! TLS by rustls, with the words and meanings of libpq's `sslmode` (PostgreSQL documentation, "SSL Support").
//!
//! Stricter than libpq in three points. `prefer` goes on in clear only where the server says that it has no TLS, never
//! after a handshake that failed. Naming a CA without a mode means `verify-full`, and `prefer` beside a CA is refused.
//! Host names are looked for among the subject alternative names alone.

use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use tokio_postgres::config::SslMode;
use tokio_postgres_rustls::MakeRustlsConnect;

use super::ConnectError;

/// How much a connection must be protected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TlsMode {
    /// In clear.
    Disable,
    /// Encrypted where the server can; libpq's default.
    Prefer,
    /// Encrypted, to whomever; with a CA named, the same as `VerifyCa`.
    Require,
    /// Encrypted, to a holder of a certificate from the CA.
    VerifyCa,
    /// Encrypted, to the host that was asked for.
    VerifyFull,
}

impl TlsMode {
    /// libpq's word.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Disable => "disable",
            Self::Prefer => "prefer",
            Self::Require => "require",
            Self::VerifyCa => "verify-ca",
            Self::VerifyFull => "verify-full",
        }
    }

    /// The same in tokio-postgres's words, to which verification is the connector's matter.
    pub(super) fn ssl_mode(self) -> SslMode {
        match self {
            Self::Disable => SslMode::Disable,
            Self::Prefer => SslMode::Prefer,
            Self::Require | Self::VerifyCa | Self::VerifyFull => SslMode::Require,
        }
    }
}

impl FromStr for TlsMode {
    type Err = ConnectError;

    fn from_str(word: &str) -> Result<Self, ConnectError> {
        [Self::Disable, Self::Prefer, Self::Require, Self::VerifyCa, Self::VerifyFull]
            .into_iter()
            .find(|mode| mode.word() == word)
            .ok_or(ConnectError::TlsMode)
    }
}

/// Whose signature on a server's certificate counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Roots {
    /// The operating system's CAs, or those of `SSL_CERT_FILE` and `SSL_CERT_DIR`.
    System,
    /// The certificates in this PEM file.
    File(PathBuf),
}

impl From<PathBuf> for Roots {
    /// `system` is libpq's word for the system's.
    fn from(path: PathBuf) -> Self {
        if path.as_os_str() == "system" { Self::System } else { Self::File(path) }
    }
}

/// The mode in force. `anonymous` is what holds where neither a mode nor a CA is named.
pub(super) fn mode(named: Option<TlsMode>, roots: Option<&Roots>, anonymous: TlsMode) -> Result<TlsMode, ConnectError> {
    match (named, roots) {
        (None, None) => Ok(anonymous),
        (None, Some(_)) => Ok(TlsMode::VerifyFull),
        // Who names a CA wants it asked; a variable that says otherwise must not win unnoticed.
        (Some(mode @ (TlsMode::Disable | TlsMode::Prefer)), Some(_)) => {
            Err(ConnectError::WeakMode { mode: mode.word() })
        }
        // Anybody can have a certificate from some public CA: without the host's name it says nothing.
        (Some(mode @ (TlsMode::Require | TlsMode::VerifyCa)), Some(Roots::System)) => {
            Err(ConnectError::WeakMode { mode: mode.word() })
        }
        (Some(TlsMode::Require), Some(_)) => Ok(TlsMode::VerifyCa),
        (Some(mode), _) => Ok(mode),
    }
}

/// What makes TLS sessions as `mode` asks for.
pub(super) fn connector(mode: TlsMode, roots: Option<&Roots>) -> Result<MakeRustlsConnect, ConnectError> {
    let provider = Arc::new(ring::default_provider());
    let verifier: Arc<dyn ServerCertVerifier> = match mode {
        TlsMode::Disable | TlsMode::Prefer | TlsMode::Require => {
            Arc::new(Lenient { provider: provider.clone(), roots: None })
        }
        TlsMode::VerifyCa => Arc::new(Lenient { provider: provider.clone(), roots: Some(load(roots)?) }),
        TlsMode::VerifyFull => WebPkiServerVerifier::builder_with_provider(load(roots)?.into(), provider.clone())
            .build()
            .map_err(|_| ConnectError::Tls)?,
    };
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|_| ConnectError::Tls)?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    // PostgreSQL 17 and newer check it, so that no other protocol's server can be taken for one.
    config.alpn_protocols = vec![b"postgresql".to_vec()];
    Ok(MakeRustlsConnect::new(config))
}

fn load(roots: Option<&Roots>) -> Result<RootCertStore, ConnectError> {
    let mut store = RootCertStore::empty();
    let certificates = match roots {
        None | Some(Roots::System) => rustls_native_certs::load_native_certs().certs,
        Some(Roots::File(path)) => {
            let unusable = |problem| ConnectError::Ca { path: path.display().to_string(), problem };
            CertificateDer::pem_file_iter(path).and_then(Iterator::collect).map_err(|error| {
                unusable(match error {
                    rustls::pki_types::pem::Error::Io(error) => error.kind().to_string(),
                    _ => "it is no PEM file".to_owned(),
                })
            })?
        }
    };
    store.add_parsable_certificates(certificates);
    match (store.is_empty(), roots) {
        (false, _) => Ok(store),
        (true, Some(Roots::File(path))) => {
            Err(ConnectError::Ca { path: path.display().to_string(), problem: "it holds no certificate".to_owned() })
        }
        (true, _) => Err(ConnectError::NoSystemRoots),
    }
}

/// Does not ask for whom a certificate was made; without roots, nor by whom. That the server holds its key is checked
/// in any case.
#[derive(Debug)]
struct Lenient {
    provider: Arc<CryptoProvider>,
    roots: Option<RootCertStore>,
}

impl ServerCertVerifier for Lenient {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if let Some(roots) = &self.roots {
            rustls::client::verify_server_cert_signed_by_trust_anchor(
                &ParsedCertificate::try_from(certificate)?,
                roots,
                intermediates,
                now,
                self.provider.signature_verification_algorithms.all,
            )?;
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ca_never_goes_unused() {
        let file = Roots::from(PathBuf::from("/ca.pem"));
        let system = Roots::from(PathBuf::from("system"));
        let default = |named, roots| mode(named, roots, TlsMode::Prefer).map_err(|error| error.to_string());
        assert_eq!(default(None, None), Ok(TlsMode::Prefer));
        assert_eq!(default(None, Some(&file)), Ok(TlsMode::VerifyFull));
        assert_eq!(default(None, Some(&system)), Ok(TlsMode::VerifyFull));
        assert_eq!(default(Some(TlsMode::Require), None), Ok(TlsMode::Require));
        assert_eq!(default(Some(TlsMode::Require), Some(&file)), Ok(TlsMode::VerifyCa));
        assert_eq!(default(Some(TlsMode::VerifyCa), Some(&file)), Ok(TlsMode::VerifyCa));
        assert_eq!(default(Some(TlsMode::Disable), None), Ok(TlsMode::Disable));
        assert!(default(Some(TlsMode::Disable), Some(&file)).is_err());
        assert!(default(Some(TlsMode::Prefer), Some(&file)).is_err());
        assert!(default(Some(TlsMode::Require), Some(&system)).is_err());
        assert!(default(Some(TlsMode::VerifyCa), Some(&system)).is_err());
    }
}
