//! One client connection: its guards, where it comes from, its TLS and its protocol.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use gatehouse_shared::clock;
use gatehouse_shared::id::RequestId;
use gatehouse_shared::live::Generation;
use gatehouse_shared::problem::{self, Reason};
use http::{HeaderMap, HeaderName, HeaderValue};
use pingora::proxy::Session;
use pingora::{Error, ErrorType};

use super::normalize::{Body, Message};
use super::upload::Upload;
use super::wire::violation;
use crate::admit::{Action, Denial};
use crate::policy::Policy;

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// What is known of a client connection once its protocol is chosen; the same for all its requests.
#[derive(Debug)]
pub struct Connection {
    /// The socket's other end: the client, or the load balancer before us.
    pub peer: SocketAddr,
    /// The source the PROXY protocol states, or `peer` where it is not spoken. IPv4-mapped IPv6 is written as IPv4.
    pub source: SocketAddr,
    /// The address the client connected to, by the PROXY protocol or by the socket.
    pub local: SocketAddr,
    /// Position of the listener in `[[process.listener]]`.
    pub listener: usize,
    /// What the TLS handshake settled; `None` on plain connections.
    pub tls: Option<Box<TlsFacts>>,
    /// When the connection was taken from the listener.
    pub accepted_at: Instant,
    /// Whether HTTP/2 is spoken here.
    pub is_http2: bool,
    pub(super) requests: AtomicU64,
    pub(super) has_logged_in: AtomicBool,
}

impl Connection {
    /// The same connection, now that its first bytes have turned out to be HTTP/2.
    pub(super) fn speaking_http2(&self) -> Self {
        Self {
            is_http2: true,
            tls: self.tls.clone(),
            requests: AtomicU64::new(self.requests()),
            has_logged_in: AtomicBool::default(),
            ..*self
        }
    }

    /// Requests begun on this connection so far.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    /// Notes that a call on this connection had good credentials; true the first time.
    #[must_use]
    pub fn is_first_login(&self) -> bool {
        !self.has_logged_in.load(Ordering::Relaxed) && !self.has_logged_in.swap(true, Ordering::Relaxed)
    }

    /// Whether the client came over TLS.
    #[must_use]
    pub fn is_tls(&self) -> bool {
        self.tls.is_some()
    }
}

/// What a TLS handshake settled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFacts {
    /// `"1.2"` or `"1.3"`.
    pub version: &'static str,
    /// The name the client asked for, lower case.
    pub server_name: Option<Box<str>>,
    /// The verified client certificate, where one was shown.
    pub client: Option<ClientCertificate>,
}

/// A verified client certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientCertificate {
    /// The subject as RFC 4514 text.
    pub subject: Box<str>,
    /// SHA-256 of the certificate, lower-case hexadecimal.
    pub fingerprint: Box<str>,
}

/// What the way in hands over with one well-formed request. On HTTP/1 the gateway receives it (boxed, as `Any`) in
/// `ProxyHttp::on_connection_reuse`, on HTTP/2 through [`Arrival::of_http2`].
pub struct Arrival {
    /// The one configuration generation this request sees.
    pub policy: Arc<Generation<Policy>>,
    /// The connection it came on.
    pub connection: Arc<Connection>,
    /// What the head says, judged and normalised.
    pub message: Message,
    /// When the first byte of the head was read.
    pub received_at: Instant,
    /// 1 for the first request of the connection.
    pub request_index: u64,
    /// How far the request is; the wire knows that by itself on HTTP/1.
    pub(super) upload: Option<Arc<Upload>>,
}

impl Arrival {
    /// The arrival of an HTTP/2 request, taken out of the stream's digest: the first call returns it.
    pub fn of_http2(session: &mut Session) -> Option<Box<Self>> {
        let digest = session.as_downstream_mut().digest_mut()?;
        let carried = Arc::into_inner(digest.proxy_digest.take()?)?;
        carried.user_data?.downcast::<Self>().ok()
    }

    /// Notes what was read of an HTTP/2 body, and ends one of unstated length that has grown over the cap, the way the wire
    /// ends one on HTTP/1; for `request_body_filter`, with whether this was its end.
    ///
    /// # Errors
    /// A downstream error in which [`super::violation_of`] finds the reason.
    pub fn bound_body(&self, session: &Session, is_end: bool) -> pingora::Result<()> {
        let Some(upload) = &self.upload else { return Ok(()) };
        let received = u64::try_from(session.as_downstream().body_bytes_read()).unwrap_or(u64::MAX);
        if is_end {
            upload.settled();
        } else {
            upload.came(received, clock::now());
        }
        if self.message.body == Body::Chunked && received > self.policy.value.accept.body_max {
            let cause = violation(&problem::BODY_TOO_LARGE);
            return Err(Error::because(ErrorType::ReadError, "body over its cap", cause).into_down());
        }
        Ok(())
    }

    /// The answer has begun: the body may take its time from now on.
    pub fn answered(&self) {
        if let Some(upload) = &self.upload {
            upload.settled();
        }
    }

    /// Why the way in cut the request short, which its client sees as a reset stream; on HTTP/1 such requests are answered.
    #[must_use]
    pub fn cut_short(&self) -> Option<&'static Reason> {
        self.upload.as_deref().and_then(Upload::cut_short)
    }

    /// The client of this request: the connection's source, or whom trusted proxies name.
    #[must_use]
    pub fn client(&self, headers: &HeaderMap) -> SocketAddr {
        let forwarded_for = || headers.get_all(FORWARDED_FOR).iter().map(HeaderValue::as_bytes);
        self.policy.value.accept.trusted_proxies.client(self.connection.source, forwarded_for)
    }
}

/// A refusal made before the gateway sees a request.
#[derive(Debug)]
pub struct Refusal<'a> {
    /// The connection.
    pub connection: &'a Connection,
    /// Why.
    pub reason: &'static Reason,
    /// The id that the client was told.
    pub request_id: RequestId,
    /// When, Unix milliseconds.
    pub unix_ms: u64,
    /// How the client was answered.
    pub action: Action,
    /// The status sent; 0 for none.
    pub status: u16,
    /// What was read of the request (at most 2,048 bytes, unescaped), empty where none was.
    pub head: &'a [u8],
}

/// Where refusals made before the gateway sees a request are recorded: logs and metrics.
pub trait Refusals: Send + Sync {
    /// A message, or all that is left of a connection, was refused.
    fn refused(&self, refusal: &Refusal<'_>);

    /// A connection was closed before anything was read of a request, or would have been (in observe mode). There may be very
    /// many of these.
    fn turned_away(&self, connection: &Connection, denial: &Denial);
}
