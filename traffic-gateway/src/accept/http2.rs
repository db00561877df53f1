//! The loop of an HTTP/2 connection.
//!
//! The protocol library speaks HTTP/2; this loop decides how long for and how much of it: handshake under a timeout, requests
//! judged like those of HTTP/1 before the proxy sees them, a deadline around each, an idle timeout, a cap on requests, a
//! budget for malformed ones, and an orderly end (GOAWAY) at shutdown.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use gatehouse_shared::clock;
use gatehouse_shared::live::Generation;
use gatehouse_shared::problem::{self, Reason};
use http::HeaderValue;
use http::header::COOKIE;
use pingora::apps::HttpServerApp;
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::protocols::http::ServerSession;
use pingora::protocols::http::v2::server::{H2Accept, H2Options, HttpSession, default_h2_options, handshake};
use pingora::protocols::raw_connect::ProxyDigest;
use pingora::protocols::{Digest, Stream};
use pingora::proxy::ProxyHttp;
use pingora::server::ShutdownWatch;
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};

use super::config::Http2Bounds;
use super::connection::{Arrival, Connection};
use super::entrance::Entrance;
use super::frames::{Flood, Frames};
use super::guard::Guard;
use super::normalize;
use super::refuse;
use super::transport::Transport;
use crate::policy::Policy;

/// How long a client may take to close an idle connection after it was told to go away.
const GOODBYE: Duration = Duration::from_secs(1);
/// Answers a stream may have waiting for its client, in bytes.
const SEND_BUFFER: usize = 64 * 1024;

/// Serves a connection to its end.
pub(super) async fn serve<G>(
    entrance: &Arc<Entrance<G>>,
    transport: Transport,
    guard: Guard,
    connection: Arc<Connection>,
    shutdown: ShutdownWatch,
) where
    G: ProxyHttp + Send + Sync + 'static,
    G::CTX: Send + Sync,
{
    let policy = (entrance.policy)();
    let bounds = &policy.value.accept;
    let digest = Digest {
        ssl_digest: transport.tls_digest(),
        timing_digest: Vec::new(),
        proxy_digest: None,
        socket_digest: transport.socket_digest(),
    };
    let frames = Frames::new(transport, guard, &bounds.http2, bounds.write_timeout);
    let flood = frames.flood();
    let stream: Stream = Box::new(frames);
    let Ok(Ok(streams)) =
        timeout(bounds.http2.handshake_timeout, handshake(stream, Some(options(&bounds.http2)))).await
    else {
        return;
    };
    let serving = Serving {
        entrance: Arc::clone(entrance),
        connection,
        shutdown,
        digest,
        flood,
        active: Arc::default(),
        begun: 0,
        malformed: 0,
        is_closing: false,
    };
    serving.run(streams, &bounds.http2).await;
}

fn options(bounds: &Http2Bounds) -> H2Options {
    let mut options = default_h2_options();
    options
        .max_concurrent_streams(bounds.streams)
        .max_header_list_size(bounds.header_list_max)
        .initial_window_size(bounds.stream_window)
        .initial_connection_window_size(bounds.connection_window)
        .max_pending_accept_reset_streams(bounds.resets_pending)
        .max_send_buffer_size(SEND_BUFFER);
    options
}

/// One connection being served.
struct Serving<G> {
    entrance: Arc<Entrance<G>>,
    connection: Arc<Connection>,
    shutdown: ShutdownWatch,
    digest: Digest,
    flood: Flood,
    active: Arc<Active>,
    begun: u64,
    malformed: u32,
    /// The client was told to go away; what it has begun is still served.
    is_closing: bool,
}

impl<G> Serving<G>
where
    G: ProxyHttp + Send + Sync + 'static,
    G::CTX: Send + Sync,
{
    async fn run(mut self, mut streams: h2::server::Connection<Stream, Bytes>, bounds: &Http2Bounds) {
        let mut watch = self.shutdown.clone();
        let mut spare = Arc::new(self.digest.clone());
        loop {
            let patience = if self.is_closing { GOODBYE } else { bounds.idle_timeout };
            let active = Arc::clone(&self.active);
            let next = tokio::select! {
                biased;
                accepted = HttpSession::from_h2_conn(&mut streams, Arc::clone(&spare)) => match accepted {
                    Ok(Some(H2Accept::Session(session))) => {
                        // Only the stream refers to its digest from here on, so that it can be written to.
                        spare = Arc::new(self.digest.clone());
                        self.accepted(session, bounds)
                    }
                    Ok(Some(H2Accept::Rejected)) => {
                        self.entrance.refused(&self.connection, &problem::PSEUDO_HEADER_INVALID, b"");
                        self.count_malformed(bounds)
                    }
                    Ok(None) => Next::End,
                    Err(error) => {
                        tracing::debug!(%error, "an HTTP/2 connection ended");
                        if let Some(reason) = self.flood.get() {
                            self.entrance.refused(&self.connection, reason, b"");
                        }
                        Next::End
                    }
                },
                _ = watch.wait_for(|is_stopping| *is_stopping), if !self.is_closing => Next::Close,
                () = active.idle_for(patience) => if self.is_closing { Next::End } else { Next::Close },
            };
            match next {
                Next::Go => {}
                Next::Close if self.is_closing => {}
                Next::Close => {
                    streams.graceful_shutdown();
                    self.is_closing = true;
                }
                Next::Cut => {
                    streams.abrupt_shutdown(h2::Reason::ENHANCE_YOUR_CALM);
                    self.is_closing = true;
                }
                Next::End => return,
            }
        }
    }

    /// Judges a request and hands it to the proxy, or answers it, in a task of its own.
    fn accepted(&mut self, mut session: HttpSession, bounds: &Http2Bounds) -> Next {
        self.begun += 1;
        let request_index = self.connection.requests.fetch_add(1, Ordering::Relaxed) + 1;
        let policy = (self.entrance.policy)();
        let accept = &policy.value.accept;
        let next = if self.begun >= accept.requests_per_connection { Next::Close } else { Next::Go };
        let has_body = !session.is_body_empty();
        let message = match normalize::http2(session.req_header(), has_body, accept) {
            Ok(message) => message,
            Err(reason) => {
                self.refuse(session, reason, Arc::clone(&policy));
                return if reason.status == 400 { self.count_malformed(bounds) } else { next };
            }
        };
        join_cookies(session.req_header_mut());
        session.set_write_timeout(Some(accept.write_timeout));
        let request_timeout = accept.http2.request_timeout;
        let connection = Arc::clone(&self.connection);
        let arrival = Arrival { policy, connection, message, received_at: clock::now(), request_index };
        attach(&mut session, arrival);
        let active = Active::enter(&self.active);
        let entrance = Arc::clone(&self.entrance);
        let shutdown = self.shutdown.clone();
        tokio::spawn(async move {
            let serving = entrance.proxy.process_new_http(ServerSession::new_http2(session), &shutdown);
            if timeout(request_timeout, serving).await.is_err() {
                tracing::debug!("an HTTP/2 request was reset at its deadline");
            }
            drop(active);
        });
        next
    }

    fn refuse(&self, mut session: HttpSession, reason: &'static Reason, policy: Arc<Generation<Policy>>) {
        let head = refuse::head_of(&session);
        let (answers, accept) = (&policy.value.answers, refuse::accept_of(&session));
        let (id, written) = self.entrance.answer(answers, &self.connection, reason, &head, accept);
        let active = Active::enter(&self.active);
        tokio::spawn(async move {
            let allow = &policy.value.accept.allow;
            let answering = refuse::http2(&mut session, &written, reason, &id, allow);
            if !matches!(timeout(GOODBYE, answering).await, Ok(Ok(()))) {
                tracing::debug!("the refusal of an HTTP/2 request could not be sent");
            }
            drop(active);
        });
    }

    fn count_malformed(&mut self, bounds: &Http2Bounds) -> Next {
        self.malformed += 1;
        if self.malformed >= bounds.malformed { Next::Cut } else { Next::Go }
    }
}

/// How a connection goes on.
enum Next {
    Go,
    /// Tell the client to go away; finish what it began.
    Close,
    /// Tell the client why, and end.
    Cut,
    End,
}

/// Puts the arrival where [`Arrival::of_http2`] finds it.
fn attach(session: &mut HttpSession, arrival: Arrival) {
    let Ok(carrier) = ResponseHeader::build_no_case(200, Some(0)) else { return };
    if let Some(digest) = session.digest_mut() {
        digest.proxy_digest = Some(Arc::new(ProxyDigest::new(Box::new(carrier), Some(Box::new(arrival)))));
    }
}

/// Cookies may come in crumbs on HTTP/2 only; every later hop sees one field (RFC 9113, section 8.2.3).
fn join_cookies(request: &mut RequestHeader) {
    let mut crumbs = request.headers.get_all(COOKIE).iter();
    let (Some(first), Some(second)) = (crumbs.next(), crumbs.next()) else { return };
    let mut joined = [first.as_bytes(), b"; ", second.as_bytes()].concat();
    for crumb in crumbs {
        joined.extend_from_slice(b"; ");
        joined.extend_from_slice(crumb.as_bytes());
    }
    let Ok(joined) = HeaderValue::from_bytes(&joined) else { return };
    if let Err(error) = request.insert_header(COOKIE, joined) {
        tracing::debug!(%error, "cookies could not be joined");
    }
}

/// The requests of a connection that are being served.
#[derive(Default)]
struct Active {
    count: AtomicUsize,
    none: Notify,
}

impl Active {
    fn enter(active: &Arc<Self>) -> ActiveGuard {
        active.count.fetch_add(1, Ordering::AcqRel);
        ActiveGuard(Arc::clone(active))
    }

    /// Completes when there has been nothing to serve for so long. Anything accepted in between starts it anew.
    async fn idle_for(&self, patience: Duration) {
        while self.count.load(Ordering::Acquire) > 0 {
            self.none.notified().await;
        }
        sleep(patience).await;
    }
}

struct ActiveGuard(Arc<Active>);

impl Drop for ActiveGuard {
    fn drop(&mut self) {
        if self.0.count.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.none.notify_one();
        }
    }
}
