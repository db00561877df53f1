//! Clients: where to connect and how, as raw bytes, or as HTTP/1.1 and HTTP/2 requests.

pub mod tls;
pub mod http;
pub mod raw;
pub mod frames;

use std::io;
use std::net::{IpAddr, SocketAddr};

use ::http::{HeaderName, Method, Request, Uri, request};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};

pub use frames::Frames;
pub use http::{Answer, Body, Connection, empty, full, streamed};
pub use raw::Raw;
pub use tls::Tls;

/// A connected stream, plain or TLS.
pub trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// A connected stream of any kind.
pub type Stream = Box<dyn Duplex>;

/// The protocol a client speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Protocol {
    /// HTTP/1.1.
    #[default]
    Http1,
    /// HTTP/2, with prior knowledge on plain connections.
    Http2,
}

/// Where a client connects, and how it presents itself.
#[derive(Debug, Clone)]
pub struct Target {
    /// The address connected to.
    pub address: SocketAddr,
    /// The local address connected from.
    pub from: Option<IpAddr>,
    /// Bytes sent before anything else, such as a PROXY header.
    pub preamble: Vec<u8>,
    /// TLS, when there is any.
    pub tls: Option<Tls>,
    /// The protocol spoken.
    pub protocol: Protocol,
    /// The authority named in requests.
    pub authority: String,
}

impl Target {
    /// Plain HTTP/1.1 to `address`.
    #[must_use]
    pub fn plain(address: SocketAddr) -> Self {
        Self {
            address,
            from: None,
            preamble: Vec::new(),
            tls: None,
            protocol: Protocol::Http1,
            authority: address.to_string(),
        }
    }

    /// The same target, connected to from the local address `from`.
    #[must_use]
    pub fn from(mut self, from: IpAddr) -> Self {
        self.from = Some(from);
        self
    }

    /// The same target over HTTP/2.
    #[must_use]
    pub fn http2(mut self) -> Self {
        self.protocol = Protocol::Http2;
        self
    }

    /// The same target over TLS; requests name the server's name as their authority.
    #[must_use]
    pub fn tls(mut self, tls: Tls) -> Self {
        self.authority = format!("{}:{}", tls.name(), self.address.port());
        self.tls = Some(tls);
        self
    }

    /// The same target with another authority in its requests.
    #[must_use]
    pub fn authority(mut self, authority: &str) -> Self {
        authority.clone_into(&mut self.authority);
        self
    }

    /// The same target with `preamble` sent first.
    #[must_use]
    pub fn preamble(mut self, preamble: impl Into<Vec<u8>>) -> Self {
        self.preamble = preamble.into();
        self
    }

    /// Connects TCP only.
    ///
    /// # Errors
    /// The connection was refused.
    pub async fn connect_tcp(&self) -> io::Result<TcpStream> {
        let socket = if self.address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        if let Some(from) = self.from {
            socket.bind(SocketAddr::new(from, 0))?;
        }
        let mut stream = socket.connect(self.address).await?;
        stream.set_nodelay(true)?;
        stream.write_all(&self.preamble).await?;
        Ok(stream)
    }

    /// Connects, with a TLS handshake where the target has TLS.
    ///
    /// # Errors
    /// The connection was refused or the handshake failed.
    pub async fn connect(&self) -> io::Result<Stream> {
        let stream = self.connect_tcp().await?;
        match &self.tls {
            None => Ok(Box::new(stream)),
            Some(tls) => Ok(Box::new(tls.handshake(stream, self.protocol).await?)),
        }
    }

    /// A request with this target's authority, in the form its protocol wants.
    ///
    /// # Errors
    /// `path` is no target.
    pub fn request(&self, method: Method, path: &str) -> anyhow::Result<request::Builder> {
        let builder = Request::builder().method(method);
        Ok(match self.protocol {
            Protocol::Http1 => {
                builder.uri(path.parse::<Uri>()?).header(HeaderName::from_static("host"), &self.authority)
            }
            Protocol::Http2 => {
                let scheme = if self.tls.is_some() { "https" } else { "http" };
                builder.uri(
                    Uri::builder().scheme(scheme).authority(self.authority.as_str()).path_and_query(path).build()?,
                )
            }
        })
    }

    /// Sends one request without a body on a connection of its own.
    ///
    /// # Errors
    /// There was no whole answer.
    pub async fn fetch(&self, method: Method, path: &str) -> anyhow::Result<Answer> {
        self.exchange(self.request(method, path)?.body(empty())?).await
    }

    /// `GET path` on a connection of its own.
    ///
    /// # Errors
    /// There was no whole answer.
    pub async fn get(&self, path: &str) -> anyhow::Result<Answer> {
        self.fetch(Method::GET, path).await
    }

    /// Sends `request` on a connection of its own.
    ///
    /// # Errors
    /// There was no whole answer.
    pub async fn exchange(&self, request: Request<Body>) -> anyhow::Result<Answer> {
        Connection::open(self).await?.fetch(request).await
    }
}
