//! TLS 1.3: certificates from files, or made for a trial.

use super::error::ServiceError;
use rustls::ServerConfig;
use rustls::client::verify_server_name;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::ParsedCertificate;
use rustls::version::TLS13;
use std::sync::Arc;

/// Certificate and key of a server.
#[derive(Clone)]
pub struct Tls {
    pub(super) config: Arc<ServerConfig>,
}

impl Tls {
    /// A certificate chain and its private key, in PEM.
    ///
    /// # Errors
    /// [`ServiceError::Certificate`]
    pub fn from_pem(chain: &[u8], key: &[u8]) -> Result<Self, ServiceError> {
        let chain: Vec<_> = CertificateDer::pem_slice_iter(chain).collect::<Result<_, _>>().map_err(wrong)?;
        let key = PrivateKeyDer::from_pem_slice(key).map_err(wrong)?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder =
            ServerConfig::builder_with_provider(provider).with_protocol_versions(&[&TLS13]).map_err(wrong)?;
        let mut config = builder.with_no_client_auth().with_single_cert(chain, key).map_err(wrong)?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self { config: Arc::new(config) })
    }
}

/// A certificate for some host names that nobody has signed, and its private key, in PEM: for trials. Clients name the
/// certificate as the authority that they trust.
///
/// # Errors
/// [`ServiceError::Certificate`]
pub fn self_signed(names: Vec<String>) -> Result<(String, String), ServiceError> {
    let made = rcgen::generate_simple_self_signed(names).map_err(wrong)?;
    Ok((made.cert.pem(), made.signing_key.serialize_pem()))
}

/// Whether clients that ask for a host name accept the first certificate of a chain in PEM.
///
/// # Errors
/// [`ServiceError::Certificate`] if there is no certificate or the name is none.
pub fn certificate_is_for(chain: &[u8], name: &str) -> Result<bool, ServiceError> {
    let certificate = CertificateDer::from_pem_slice(chain).map_err(wrong)?;
    let certificate = ParsedCertificate::try_from(&certificate).map_err(wrong)?;
    let name = ServerName::try_from(name).map_err(wrong)?;
    Ok(verify_server_name(&certificate, &name).is_ok())
}

fn wrong(error: impl std::fmt::Display) -> ServiceError {
    ServiceError::Certificate(error.to_string())
}
