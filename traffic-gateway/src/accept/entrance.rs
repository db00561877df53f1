//! The service Pingora hosts: what happens to a connection from its first byte, in order.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::time::Duration;

use async_trait::async_trait;
use bytes::BytesMut;
use gatehouse_shared::clock;
use gatehouse_shared::id::RequestId;
use gatehouse_shared::live::Generation;
use gatehouse_shared::problem::{self, Reason};
use pingora::apps::{HttpServerApp, ServerApp};
use pingora::protocols::l4::socket::SocketAddr as PingoraAddress;
use pingora::protocols::l4::stream::{L4BufferSettings, Stream as Socket};
use pingora::protocols::{GetSocketDigest, SocketDigest, Ssl, Stream, UniqueID};
use pingora::proxy::{HttpProxy, ProxyHttp};
use pingora::server::ShutdownWatch;
use tokio::io::AsyncReadExt;
use tokio::time::timeout;

use super::config::Bounds;
use super::connection::{Connection, Refusal, Refusals, TlsFacts};
use super::guard::{Connections, Guard};
use super::listener::Listener;
use super::proxy_protocol::{self, Header};
use super::refuse::RECORDED_MAX;
use super::tls::client_certificate;
use super::tls_failure::TlsFailure;
use super::transport::Transport;
use super::wire::Wire;
use super::{STAGE, http1, http2};
use crate::admit::{Action, Denial, Mode};
use crate::answer::{Answers, Facts, Written, preferred};
use crate::policy::Policy;

/// The current policy; asked for once a connection and once a request.
pub type CurrentPolicy = Arc<dyn Fn() -> Arc<Generation<Policy>> + Send + Sync>;

/// A listener as it was bound.
pub struct Bound {
    /// Position in `[[process.listener]]`.
    pub index: usize,
    /// The address with its real port.
    pub address: SocketAddr,
    /// What is spoken there.
    pub listener: Arc<Listener>,
}

/// The way in: a Pingora service around the proxy, for any number of plain TCP endpoints.
pub struct Entrance<G> {
    pub(super) proxy: Arc<HttpProxy<G>>,
    pub(super) policy: CurrentPolicy,
    pub(super) refusals: Arc<dyn Refusals>,
    connections: Arc<Connections>,
    listeners: Box<[Bound]>,
}

/// What the endpoints of an [`Entrance`] must be built with: no read buffer, because the way in reads through its own, and no
/// write buffer, because it gathers by itself.
#[must_use]
pub fn socket_buffers() -> L4BufferSettings {
    L4BufferSettings::unbuffered()
}

impl<G> Entrance<G> {
    /// A way in to `proxy` from `listeners`, which must not be empty.
    #[must_use]
    pub fn new(
        proxy: Arc<HttpProxy<G>>,
        policy: CurrentPolicy,
        refusals: Arc<dyn Refusals>,
        connections: Arc<Connections>,
        listeners: Vec<Bound>,
    ) -> Self {
        Self { proxy, policy, refusals, connections, listeners: listeners.into_boxed_slice() }
    }

    /// Records a refusal that somebody else answers, or nobody, and gives it a request id.
    pub(super) fn refused(&self, connection: &Connection, reason: &'static Reason, head: &[u8]) -> RequestId {
        let unix_ms = clock::unix_ms();
        let request_id = RequestId::new(unix_ms);
        let status = reason.status;
        self.record(&Refusal { connection, reason, request_id, unix_ms, action: Action::Page, status, head });
        request_id
    }

    /// Decides how a refused message is answered and records it. `accept` are its `Accept` fields, as far as they are known.
    pub(super) fn answer<'h>(
        &self,
        answers: &Answers,
        connection: &Connection,
        reason: &'static Reason,
        head: &[u8],
        accept: impl IntoIterator<Item = &'h [u8]>,
    ) -> (RequestId, Written) {
        let unix_ms = clock::unix_ms();
        let request_id = RequestId::new(unix_ms);
        let facts = Facts {
            reason,
            status: reason.status,
            detail: None,
            request_id: request_id.as_str(),
            client: connection.source.ip(),
            retry_after: None,
            unix_ms,
        };
        let written = answers.write(answers.action(reason, None, None), preferred(accept), &facts);
        let (action, status) = (written.action(), written.status(reason));
        self.record(&Refusal { connection, reason, request_id, unix_ms, action, status, head });
        (request_id, written)
    }

    /// Records a connection that is closed before anything was read of a request.
    fn turn_away(&self, connection: &Connection, reason: &'static Reason) {
        self.refusals.turned_away(connection, &Denial::from(reason).by(STAGE));
    }

    /// Counts a connection for its client; false when it has too many, or opens them too fast, and that is not only observed.
    fn may_stay(&self, connection: &Connection, guard: &mut Guard, bounds: &Bounds) -> bool {
        let (client, mode) = (connection.source.ip(), bounds.connection_limits);
        if bounds.trusted_proxies.contains(client) {
            return true;
        }
        let passes = |is_within: bool, reason| {
            if !is_within {
                self.refusals.turned_away(connection, &Denial { mode, ..Denial::from(reason).by(STAGE) });
            }
            is_within || mode == Mode::Observe
        };
        let is_slow = bounds.connection_rate.as_ref().is_none_or(|rate| rate.admit(client, connection.accepted_at));
        passes(is_slow, &problem::CONNECTION_RATE_EXCEEDED)
            && passes(
                guard.count_client(client, bounds.connections_per_client),
                &problem::TOO_MANY_CONNECTIONS_OF_CLIENT,
            )
    }

    fn record(&self, refusal: &Refusal<'_>) {
        let head = refusal.head.get(..RECORDED_MAX).unwrap_or(refusal.head);
        self.refusals.refused(&Refusal { head, ..*refusal });
    }

    /// The listener a connection came to: by its address, else by its port.
    fn listener(&self, local: SocketAddr) -> Option<&Bound> {
        if let [only] = &*self.listeners {
            return Some(only);
        }
        let exact = self.listeners.iter().find(|bound| bound.address == local);
        exact.or_else(|| self.listeners.iter().find(|bound| bound.address.port() == local.port()))
    }
}

impl<G> Entrance<G>
where
    G: ProxyHttp + Send + Sync + 'static,
    G::CTX: Send + Sync,
{
    async fn accept(self: &Arc<Self>, mut socket: Box<Socket>, shutdown: &ShutdownWatch) {
        let Some((mut connection, bound)) = self.connection(&socket) else { return };
        let Some(mut guard) = self.connections.enter() else {
            self.turn_away(&connection, &problem::TOO_MANY_CONNECTIONS);
            return;
        };
        let policy = (self.policy)();
        let bounds = &policy.value.accept;
        if let Some(from) = &bound.listener.proxy_protocol_from {
            let stated = if from.contains(connection.peer.ip()) {
                Box::pin(read_proxy_header(&mut socket, bounds.proxy_protocol_timeout)).await
            } else {
                None
            };
            match stated {
                Some(Header::Local) => {}
                Some(Header::Proxied { source, destination }) => {
                    connection.source = source;
                    connection.local = destination;
                    state_source(&mut socket, source);
                }
                None => {
                    self.turn_away(&connection, &problem::PROXY_PROTOCOL_INVALID);
                    return;
                }
            }
        }
        let source = connection.source.ip();
        if !bounds.trusted_proxies.contains(source)
            && let Err(denial) =
                policy.value.admission.check_connection(source, connection.accepted_at, clock::unix_ms())
        {
            self.refusals.turned_away(&connection, &denial);
            return;
        }
        if !self.may_stay(&connection, &mut guard, bounds) {
            return;
        }
        let transport = if bound.listener.tls.is_some() {
            match Box::pin(handshake(socket, &policy, bound)).await {
                Ok((transport, facts)) => {
                    connection.tls = Some(Box::new(facts));
                    transport
                }
                Err(failure) => {
                    self.connections.count_tls_failure(failure);
                    return;
                }
            }
        } else {
            Transport::Plain(socket)
        };
        drop(policy);
        if transport.is_http2() {
            connection.is_http2 = true;
            let connection = Arc::new(connection);
            return Box::pin(http2::serve(self, transport, guard, connection, shutdown.clone())).await;
        }
        let connection = Arc::new(connection);
        let wire = Wire::new(transport, guard);
        let Some((wire, preface)) = http1::serve(self, wire, &connection, bound.listener.h2c, shutdown).await else {
            return;
        };
        Box::pin(self.go_on_with_http2(wire, &preface, &connection, shutdown)).await;
    }

    /// A connection whose first bytes are an HTTP/2 preface.
    async fn go_on_with_http2(
        self: &Arc<Self>,
        wire: Box<Wire>,
        preface: &BytesMut,
        connection: &Arc<Connection>,
        shutdown: &ShutdownWatch,
    ) {
        let Some((Transport::Plain(mut socket), Some(guard), early)) = wire.into_parts() else { return };
        socket.rewind(&early);
        socket.rewind(preface);
        let connection = Arc::new(connection.speaking_http2());
        http2::serve(self, Transport::Plain(socket), guard, connection, shutdown.clone()).await;
    }

    fn connection(&self, socket: &Socket) -> Option<(Connection, &Bound)> {
        let digest = socket.get_socket_digest()?;
        let canonical = |address: &SocketAddr| SocketAddr::new(address.ip().to_canonical(), address.port());
        let peer = canonical(digest.peer_addr()?.as_inet()?);
        let local = canonical(digest.local_addr()?.as_inet()?);
        let bound = self.listener(local)?;
        let connection = Connection {
            peer,
            source: peer,
            local,
            listener: bound.index,
            tls: None,
            accepted_at: clock::now(),
            is_http2: false,
            requests: AtomicU64::new(0),
            has_logged_in: AtomicBool::new(false),
        };
        Some((connection, bound))
    }
}

#[async_trait]
impl<G> ServerApp for Entrance<G>
where
    G: ProxyHttp + Send + Sync + 'static,
    G::CTX: Send + Sync,
{
    async fn process_new(self: &Arc<Self>, stream: Stream, shutdown: &ShutdownWatch) -> Option<Stream> {
        let socket = stream.into_any().downcast::<Socket>().ok()?;
        // A task of its own: Pingora's holds, for as long as it runs, what any listener might need for its handshake.
        let (entrance, shutdown) = (Arc::clone(self), shutdown.clone());
        tokio::spawn(async move { entrance.accept(socket, &shutdown).await });
        None
    }

    async fn cleanup(&self) {
        self.proxy.http_cleanup().await;
    }
}

/// Reads a PROXY protocol header and puts back what follows it.
async fn read_proxy_header(socket: &mut Socket, longest: Duration) -> Option<Header> {
    let reading = async {
        let mut bytes = BytesMut::with_capacity(256);
        loop {
            if socket.read_buf(&mut bytes).await.ok()? == 0 {
                return None;
            }
            if let Some((header, length)) = proxy_protocol::parse(&bytes).ok()? {
                socket.rewind(bytes.get(length..)?);
                return Some(header);
            }
        }
    };
    timeout(longest, reading).await.ok().flatten()
}

/// Makes the stated source what Pingora takes for the peer.
fn state_source(socket: &mut Socket, source: SocketAddr) {
    let digest = SocketDigest::from_raw_fd(socket.id());
    if digest.peer_addr.set(Some(PingoraAddress::Inet(source))).is_ok() {
        socket.set_socket_digest(digest);
    }
}

/// Performs the TLS handshake with the certificates of the current generation.
async fn handshake(
    socket: Box<Socket>,
    policy: &Generation<Policy>,
    bound: &Bound,
) -> Result<(Transport, TlsFacts), TlsFailure> {
    let bounds = &policy.value.accept;
    let current = bounds.listeners.get(bound.index).and_then(|listener| listener.tls.as_ref());
    let tls = current.or(bound.listener.tls.as_ref()).ok_or(TlsFailure::Other)?;
    let stream = timeout(bounds.tls_handshake_timeout, tls.acceptor().tls_handshake(*socket)).await;
    let stream = match stream {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => {
            tracing::debug!(%error, "tls handshake failed");
            return Err(TlsFailure::of(&error));
        }
        Err(_) => {
            tracing::debug!("tls handshake took too long");
            return Err(TlsFailure::Timeout);
        }
    };
    let session = stream.get_ssl();
    let facts = TlsFacts {
        version: if session.and_then(|session| session.version()) == Some("TLSv1_2") { "1.2" } else { "1.3" },
        server_name: session
            .and_then(|session| session.server_name())
            .map(|name| name.to_ascii_lowercase().into_boxed_str()),
        client: session.and_then(|session| session.peer_certificate_der()).and_then(client_certificate),
    };
    Ok((Transport::Tls(Box::new(stream)), facts))
}
