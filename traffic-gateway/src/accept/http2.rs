//! The HTTP/2 loop: one connection, many streams, every one judged before Pingora's proxy sees it.
//!
//! Decides which streams are let in and when a connection ends; frame floods are seen by `frames`, requests judged by
//! `normalize`. Each stream is served by a task of its own under one deadline, because Pingora has no time limit for
//! the body of an HTTP/2 request. Bounds are those of the generation in which the connection began; each request sees the
//! generation that is current when it comes.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use gatehouse_shared::clock;
use gatehouse_shared::id::RequestId;
use gatehouse_shared::live::{Generation, Live};
use gatehouse_shared::problem::{self, Reason};
use h2::server::Builder;
use pingora::apps::HttpServerApp;
use pingora::http::ResponseHeader;
use pingora::protocols::http::ServerSession;
use pingora::protocols::http::v2::server::{H2Accept, HttpSession, handshake};
use pingora::protocols::raw_connect::ProxyDigest;
use pingora::protocols::{Digest, Stream};
use pingora::server::ShutdownWatch;
use tokio::sync::Notify;
use tokio::time::timeout;
use tracing::debug;

use super::config::Http2Bounds;
use super::connection::{Arrival, Connection, Refusals};
use super::frames::{Flood, Watched};
use super::normalize;
use crate::policy::Policy;

/// Bytes of an answer taken from the business tier ahead of what the client's window lets through, a stream.
const SEND_BUFFER: usize = 64 * 1024;
/// Errors of its own making after which the protocol library ends a connection.
const LOCAL_RESETS: usize = 100;
/// Bytes of a refused request's head that are handed on for the log.
const HEAD_SHOWN: usize = 2_048;

/// What every HTTP/2 connection of the edge needs.
pub(super) struct Http2<A> {
    pub(super) app: Arc<A>,
    pub(super) live: Arc<Live<Policy>>,
    pub(super) refusals: Arc<dyn Refusals>,
}

impl<A> Clone for Http2<A> {
    fn clone(&self) -> Self {
        Self { app: Arc::clone(&self.app), live: Arc::clone(&self.live), refusals: Arc::clone(&self.refusals) }
    }
}

impl<A: HttpServerApp + Send + Sync + 'static> Http2<A> {
    /// Serves one connection to its end.
    pub(super) async fn serve(&self, stream: Stream, connection: Arc<Connection>, shutdown: &ShutdownWatch) {
        let bounds = self.live.current().value.accept.http2.clone();
        let digest = Digest {
            ssl_digest: stream.get_ssl_digest(),
            timing_digest: stream.get_timing_digest(),
            proxy_digest: None,
            socket_digest: stream.get_socket_digest(),
        };
        let flood = Arc::new(Flood::default());
        let stream: Stream = Box::new(Watched::new(stream, &bounds, Arc::clone(&flood)));
        let begun = timeout(bounds.handshake_timeout, handshake(stream, Some(options(&bounds)))).await;
        let Ok(Ok(h2)) = begun else {
            debug!(peer = %connection.peer, "no HTTP/2 handshake");
            return;
        };
        let (_sender, never) = tokio::sync::watch::channel(false);
        let active = Arc::new(Active::default());
        let streams = Streams { http2: self.clone(), bounds, digest, connection, active, never };
        streams.accept_all(h2, shutdown.clone(), &flood).await;
    }
}

/// The settings that bound a connection; header lists over the bound are answered with 431 by the protocol library.
fn options(bounds: &Http2Bounds) -> Builder {
    let mut options = Builder::new();
    options
        .max_concurrent_streams(bounds.streams)
        .max_header_list_size(bounds.header_list_max)
        .initial_window_size(bounds.stream_window)
        .initial_connection_window_size(bounds.connection_window)
        .max_pending_accept_reset_streams(bounds.resets_pending)
        .max_local_error_reset_streams(Some(LOCAL_RESETS))
        .max_send_buffer_size(SEND_BUFFER);
    options
}

struct Streams<A> {
    http2: Http2<A>,
    bounds: Http2Bounds,
    digest: Digest,
    connection: Arc<Connection>,
    active: Arc<Active>,
    /// For the streams' tasks: they learn of a shutdown through the connection, which says goodbye and waits for them.
    never: ShutdownWatch,
}

impl<A: HttpServerApp + Send + Sync + 'static> Streams<A> {
    async fn accept_all(
        &self,
        mut h2: h2::server::Connection<Stream, Bytes>,
        mut shutdown: ShutdownWatch,
        flood: &Flood,
    ) {
        let mut malformed = 0_u32;
        let mut is_ending = false;
        if *shutdown.borrow() {
            h2.graceful_shutdown();
            is_ending = true;
        }
        loop {
            // A digest of its own for every stream: it carries the arrival to the gateway.
            let digest = Arc::new(self.digest.clone());
            let accepted = tokio::select! {
                biased;
                changed = shutdown.changed(), if !is_ending => {
                    debug!(is_signal = changed.is_ok(), "HTTP/2 connection ends for shutdown");
                    h2.graceful_shutdown();
                    is_ending = true;
                    continue;
                }
                accepted = HttpSession::from_h2_conn(&mut h2, digest) => accepted,
                () = self.active.idle_for(self.bounds.idle_timeout) => {
                    // A peer that does not answer the goodbye either is gone.
                    if is_ending {
                        return;
                    }
                    h2.graceful_shutdown();
                    is_ending = true;
                    continue;
                }
            };
            match accepted {
                Ok(Some(H2Accept::Session(session))) => {
                    let index = self.connection.requests.fetch_add(1, Ordering::Relaxed) + 1;
                    if index >= self.http2.live.current().value.accept.requests_per_connection && !is_ending {
                        h2.graceful_shutdown();
                        is_ending = true;
                    }
                    if !self.begin(session, index) {
                        malformed += 1;
                    }
                }
                Ok(Some(H2Accept::Rejected)) => {
                    malformed += 1;
                    self.record(&problem::PSEUDO_HEADER_INVALID, RequestId::new(clock::unix_ms()), b"");
                }
                Ok(None) => return,
                Err(error) => {
                    debug!(%error, "HTTP/2 connection ended");
                    if let Some(reason) = flood.reason() {
                        self.record(reason, RequestId::new(clock::unix_ms()), b"");
                    }
                    return;
                }
            }
            if malformed >= self.bounds.malformed {
                h2.abrupt_shutdown(h2::Reason::ENHANCE_YOUR_CALM);
            }
        }
    }

    /// Judges a request and lets a task serve it; false when it was refused.
    fn begin(&self, mut session: HttpSession, request_index: u64) -> bool {
        let policy = self.http2.live.current();
        let has_body = !session.is_body_done();
        let judged = normalize::http2(session.req_header(), has_body, &policy.value.accept);
        let message = match judged {
            Ok(message) => message,
            Err(reason) => {
                self.refuse(session, reason, policy);
                return false;
            }
        };
        let write_timeout = policy.value.accept.write_timeout;
        let connection = Arc::clone(&self.connection);
        let arrival = Arrival { policy, connection, message, received_at: clock::now(), request_index };
        let Ok(response) = ResponseHeader::build(200, Some(0)) else { return false };
        if let Some(digest) = session.digest_mut() {
            digest.proxy_digest = Some(Arc::new(ProxyDigest::new(Box::new(response), Some(Box::new(arrival)))));
        }
        let mut session = ServerSession::new_http2(session);
        session.set_write_timeout(Some(write_timeout));
        let app = Arc::clone(&self.http2.app);
        let deadline = self.bounds.request_timeout;
        let guard = self.active.begin();
        let shutdown = self.never.clone();
        tokio::spawn(async move {
            let served = Box::pin(timeout(deadline, app.process_new_http(session, &shutdown))).await;
            if served.is_err() {
                debug!("HTTP/2 request over its deadline");
            }
            drop(guard);
        });
        true
    }

    /// Answers in a task of its own: the connection must go on being driven for the answer to leave.
    fn refuse(&self, mut session: HttpSession, reason: &'static Reason, policy: Arc<Generation<Policy>>) {
        let id = RequestId::new(clock::unix_ms());
        let head = session.pseudo_raw_h1_request_header();
        self.record(reason, id, head.get(..HEAD_SHOWN).unwrap_or(&head));
        let guard = self.active.begin();
        tokio::spawn(async move {
            let accept = &policy.value.accept;
            match timeout(accept.write_timeout, answer(&mut session, reason, id, &accept.allow)).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => debug!(%error, "a refusal was not taken"),
                Err(_elapsed) => debug!("a refusal was not taken in time"),
            }
            drop(guard);
        });
    }

    fn record(&self, reason: &'static Reason, id: RequestId, head: &[u8]) {
        self.http2.refusals.refused(&self.connection, reason, id, head);
    }
}

async fn answer(session: &mut HttpSession, reason: &'static Reason, id: RequestId, allow: &str) -> pingora::Result<()> {
    let body = Bytes::from(problem::json(reason, id.as_str(), None));
    let is_head = session.req_header().method == http::Method::HEAD;
    let mut response = ResponseHeader::build(reason.status, Some(5))?;
    response.insert_header("content-type", problem::CONTENT_TYPE)?;
    response.insert_header("content-length", body.len())?;
    response.insert_header("cache-control", "no-store")?;
    response.insert_header("x-request-id", id.as_str())?;
    if reason.status == 405 {
        response.insert_header("allow", allow)?;
    }
    session.write_response_header(Box::new(response), is_head)?;
    if !is_head {
        session.write_body(body, true).await?;
    }
    Ok(())
}

/// The streams being served, for the idle timeout.
#[derive(Debug, Default)]
struct Active {
    count: AtomicUsize,
    ended: Notify,
}

impl Active {
    fn begin(self: &Arc<Self>) -> ActiveStream {
        self.count.fetch_add(1, Ordering::Relaxed);
        ActiveStream(Arc::clone(self))
    }

    /// Returns once no stream has been open for this long, counted from the call.
    async fn idle_for(&self, time: Duration) {
        while self.count.load(Ordering::Relaxed) > 0 {
            self.ended.notified().await;
        }
        tokio::time::sleep(time).await;
    }
}

struct ActiveStream(Arc<Active>);

impl Drop for ActiveStream {
    fn drop(&mut self) {
        if self.0.count.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.0.ended.notify_one();
        }
    }
}
