//! Fetching a key set over HTTP(S): one GET, bounded in time and in bytes, which follows nobody anywhere else.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// Where systems keep the authorities they trust.
const SYSTEM_BUNDLES: [&str; 3] =
    ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"];

/// Where a key set is, and how it is reached.
#[derive(Debug, Clone)]
pub(super) struct Source {
    uri: Uri,
    tls: Option<Arc<ClientConfig>>,
    timeout: Duration,
    most_bytes: usize,
}

/// Why there is no key set.
#[derive(Debug, thiserror::Error)]
pub(super) enum FetchError {
    #[error("no answer in time")]
    Timeout,
    #[error("no connection")]
    Connect(#[source] io::Error),
    #[error("the exchange failed")]
    Exchange(#[source] hyper::Error),
    #[error("the answer is {0}")]
    Status(StatusCode),
    #[error("the body broke off, or is larger than allowed")]
    Body(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("{0}")]
    Keys(String),
}

impl Source {
    /// A source at `url`. `authorities` are certificates in PEM; those of the system where there are none.
    pub(super) fn new(
        url: &str,
        authorities: Option<&[u8]>,
        timeout: Duration,
        most_bytes: usize,
    ) -> Result<Self, String> {
        let uri: Uri = url.parse().map_err(|error| format!("{url:?} is not a URL: {error}"))?;
        let tls = match (uri.scheme_str(), uri.host()) {
            (Some("http"), Some(_)) => None,
            (Some("https"), Some(_)) => Some(tls(authorities)?),
            _ => return Err(format!("{url:?} is not a URL of the form https://HOST/PATH")),
        };
        Ok(Self { uri, tls, timeout, most_bytes })
    }

    /// Fetches the key set as it is.
    pub(super) async fn fetch(&self) -> Result<Bytes, FetchError> {
        let exchange = Box::pin(self.exchange());
        tokio::time::timeout(self.timeout, exchange).await.unwrap_or(Err(FetchError::Timeout))
    }

    async fn exchange(&self) -> Result<Bytes, FetchError> {
        let host = self.uri.host().unwrap_or_default();
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let port = self.uri.port_u16().unwrap_or(if self.tls.is_some() { 443 } else { 80 });
        let stream = TcpStream::connect((bare, port)).await.map_err(FetchError::Connect)?;
        match &self.tls {
            None => self.get(stream).await,
            Some(config) => {
                let name = ServerName::try_from(bare.to_owned())
                    .map_err(|error| FetchError::Connect(io::Error::other(error)))?;
                let stream =
                    TlsConnector::from(Arc::clone(config)).connect(name, stream).await.map_err(FetchError::Connect)?;
                self.get(stream).await
            }
        }
    }

    async fn get<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(&self, stream: S) -> Result<Bytes, FetchError> {
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(FetchError::Exchange)?;
        // It ends with the answer: the request asks to close.
        tokio::spawn(connection);
        let target = self.uri.path_and_query().map_or("/", |target| target.as_str());
        let mut request = Request::new(Empty::<Bytes>::new());
        *request.uri_mut() = target.parse().unwrap_or_default();
        let headers = request.headers_mut();
        if let Some(host) = self.uri.authority().and_then(|host| HeaderValue::from_str(host.as_str()).ok()) {
            headers.insert(header::HOST, host);
        }
        headers.insert(header::ACCEPT, HeaderValue::from_static("application/jwk-set+json, application/json"));
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        let answer = sender.send_request(request).await.map_err(FetchError::Exchange)?;
        if answer.status() != StatusCode::OK {
            return Err(FetchError::Status(answer.status()));
        }
        let body = Limited::new(answer.into_body(), self.most_bytes).collect().await.map_err(FetchError::Body)?;
        Ok(body.to_bytes())
    }
}

fn tls(authorities: Option<&[u8]>) -> Result<Arc<ClientConfig>, String> {
    let system = || SYSTEM_BUNDLES.iter().find_map(|path| std::fs::read(path).ok());
    let pem = match authorities {
        Some(pem) => pem.to_vec(),
        None => system().ok_or("the system has no list of authorities that it trusts; name one with jwks_ca")?,
    };
    let mut roots = RootCertStore::empty();
    let certificates = rustls::pki_types::CertificateDer::pem_slice_iter(&pem).filter_map(Result::ok);
    let (added, _ignored) = roots.add_parsable_certificates(certificates);
    if added == 0 {
        return Err("there is no certificate of an authority in it".to_owned());
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    Ok(Arc::new(config.with_root_certificates(roots).with_no_client_auth()))
}
