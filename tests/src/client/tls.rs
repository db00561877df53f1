//! TLS as a client.

use std::io;
use std::sync::Arc;

use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore, version};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::Protocol;
use crate::certificate::{Authority, Identity};

/// How a client does TLS: the server it expects, whom it trusts, who it is.
#[derive(Debug, Clone)]
pub struct Tls {
    name: String,
    config: Arc<ClientConfig>,
    offers: Option<Vec<Vec<u8>>>,
}

impl Tls {
    /// A client that expects `name`, signed by `authority`, and offers the protocol it is about to speak.
    ///
    /// # Errors
    /// The authority's certificate is not usable.
    pub fn new(name: &str, authority: &Authority) -> anyhow::Result<Self> {
        Self::build(name, authority, None, rustls::ALL_VERSIONS)
    }

    /// The same, with a certificate of its own.
    ///
    /// # Errors
    /// A certificate is not usable.
    pub fn with_identity(name: &str, authority: &Authority, identity: &Identity) -> anyhow::Result<Self> {
        Self::build(name, authority, Some(identity), rustls::ALL_VERSIONS)
    }

    /// The same, with TLS 1.2 only.
    ///
    /// # Errors
    /// The authority's certificate is not usable.
    pub fn tls12(name: &str, authority: &Authority) -> anyhow::Result<Self> {
        Self::build(name, authority, None, &[&version::TLS12])
    }

    fn build(
        name: &str,
        authority: &Authority,
        identity: Option<&Identity>,
        versions: &[&'static rustls::SupportedProtocolVersion],
    ) -> anyhow::Result<Self> {
        let mut roots = RootCertStore::empty();
        roots.add(authority.der())?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)?
            .with_root_certificates(roots);
        let config = match identity {
            None => builder.with_no_client_auth(),
            Some(identity) => {
                let (chain, key) = identity.for_rustls();
                builder.with_client_auth_cert(chain, key)?
            }
        };
        Ok(Self { name: name.to_owned(), config: Arc::new(config), offers: None })
    }

    /// Offers exactly these protocols by ALPN.
    #[must_use]
    pub fn offering(mut self, protocols: &[&str]) -> Self {
        self.offers = Some(protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect());
        self
    }

    /// The server's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Does the handshake on `stream`.
    ///
    /// # Errors
    /// The handshake failed.
    pub async fn handshake(&self, stream: TcpStream, protocol: Protocol) -> io::Result<TlsStream<TcpStream>> {
        let mut config = ClientConfig::clone(&self.config);
        config.alpn_protocols = self.offers.clone().unwrap_or_else(|| match protocol {
            Protocol::Http1 => vec![b"http/1.1".to_vec()],
            Protocol::Http2 => vec![b"h2".to_vec()],
        });
        let name = ServerName::try_from(self.name.clone())
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
        TlsConnector::from(Arc::new(config)).connect(name, stream).await
    }
}

/// The certificate the server showed.
#[must_use]
pub fn server_certificate(stream: &TlsStream<TcpStream>) -> Option<CertificateDer<'static>> {
    stream.get_ref().1.peer_certificates()?.first().cloned()
}

/// The protocol the server chose by ALPN.
#[must_use]
pub fn chosen_protocol(stream: &TlsStream<TcpStream>) -> Option<String> {
    stream.get_ref().1.alpn_protocol().map(|protocol| String::from_utf8_lossy(protocol).into_owned())
}
