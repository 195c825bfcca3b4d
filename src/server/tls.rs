//! TLS towards clients.

use std::sync::Arc;

use rustls::ServerConfig;
use rustls::server::WebPkiClientVerifier;
use rustls::sign::SingleCertAndKey;

use crate::config::TlsIdentity;

/// The TLS configuration of a listener with this identity: TLS 1.2 and 1.3, offering HTTP/2 and HTTP/1.1; with client
/// roots, only for clients with a certificate issued by one of them.
pub(crate) fn server_config(identity: &TlsIdentity) -> Result<Arc<ServerConfig>, rustls::Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let versions =
        ServerConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions()?;
    let clients = match &identity.client_roots {
        None => versions.with_no_client_auth(),
        Some(roots) => {
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::clone(roots), provider).build();
            versions.with_client_cert_verifier(
                verifier.map_err(|error| rustls::Error::General(error.to_string()))?,
            )
        }
    };
    let certificate = SingleCertAndKey::from((*identity.certified).clone());
    let mut config = clients.with_cert_resolver(Arc::new(certificate));
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}
