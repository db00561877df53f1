//! The loop of an HTTP/2 connection.
//!
//! The protocol library speaks HTTP/2; this loop decides how long for and how much of it: handshake under a timeout, requests
//! judged like those of HTTP/1 before the proxy sees them, a watch beside each (`upload`), an idle timeout, a cap on
//! requests, a budget for malformed ones and for frames without use (`budget`), and an orderly end (GOAWAY) at shutdown.

use std::future::poll_fn;
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

use super::budget::Verdict;
use super::config::Http2Bounds;
use super::connection::{Arrival, Connection};
use super::entrance::Entrance;
use super::frames::{Frames, Report};
use super::guard::Guard;
use super::normalize::{self, Body};
use super::refuse;
use super::transport::Transport;
use super::upload::Upload;
use crate::policy::Policy;

/// How long a client may take to close an idle connection, or to read why it ends, after it was told to go away.
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
    let report: Report = {
        let (entrance, connection) = (Arc::clone(entrance), Arc::clone(&connection));
        Box::new(move |reason| {
            entrance.refused(&connection, reason, b"");
        })
    };
    let frames = Frames::new(transport, guard, bounds, report);
    let verdict = frames.verdict();
    let stream: Stream = Box::new(frames);
    let shaking = handshake(stream, Some(options(&bounds.http2)));
    let streams = match timeout(bounds.http2.handshake_timeout, shaking).await {
        Ok(Ok(streams)) => streams,
        Ok(Err(error)) => {
            if is_protocol_error(&error) {
                entrance.refused(&connection, &problem::HTTP2_CONNECTION_INVALID, b"");
            }
            return;
        }
        Err(_) => {
            entrance.refused(&connection, &problem::HEAD_TIMEOUT, b"");
            return;
        }
    };
    let serving = Serving {
        entrance: Arc::clone(entrance),
        connection,
        shutdown,
        digest,
        verdict,
        active: Arc::default(),
        begun: 0,
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

/// Whether a client did something wrong, rather than leave.
fn is_protocol_error(error: &pingora::Error) -> bool {
    error.root_cause().downcast_ref::<h2::Error>().is_some_and(|error| !error.is_io())
}

/// One connection being served.
struct Serving<G> {
    entrance: Arc<Entrance<G>>,
    connection: Arc<Connection>,
    shutdown: ShutdownWatch,
    digest: Digest,
    verdict: Arc<Verdict>,
    active: Arc<Active>,
    begun: u64,
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
            let (active, verdict) = (Arc::clone(&self.active), Arc::clone(&self.verdict));
            let next = tokio::select! {
                biased;
                reason = verdict.found() => Next::Cut(reason),
                accepted = HttpSession::from_h2_conn(&mut streams, Arc::clone(&spare)) => match accepted {
                    Ok(Some(H2Accept::Session(session))) => {
                        // Only the stream refers to its digest from here on, so that it can be written to.
                        spare = Arc::new(self.digest.clone());
                        self.accepted(session, bounds)
                    }
                    // Recorded and counted where its answer passes.
                    Ok(Some(H2Accept::Rejected)) => Next::Go,
                    Ok(None) => Next::End,
                    Err(error) => {
                        tracing::debug!(%error, "an HTTP/2 connection ended");
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
                Next::Cut(reason) => {
                    let is_calm = *reason == problem::HTTP2_CONNECTION_INVALID;
                    let code = if is_calm { h2::Reason::PROTOCOL_ERROR } else { h2::Reason::ENHANCE_YOUR_CALM };
                    streams.abrupt_shutdown(code);
                    let saying = poll_fn(|context| streams.poll_closed(context));
                    drop(timeout(GOODBYE, saying).await);
                    return;
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
        if self.begun > accept.requests_per_connection.saturating_add(u64::from(bounds.streams)) {
            return self.cut(&problem::HTTP2_CONNECTION_INVALID);
        }
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
        let connection = Arc::clone(&self.connection);
        let received_at = clock::now();
        let upload = Arc::new(Upload::new(accept, message.body != Body::None, received_at));
        let watched = Some(Arc::clone(&upload));
        let arrival = Arrival { policy, connection, message, received_at, request_index, upload: watched };
        attach(&mut session, arrival);
        let active = Active::enter(&self.active);
        let entrance = Arc::clone(&self.entrance);
        let shutdown = self.shutdown.clone();
        tokio::spawn(async move {
            let serving = entrance.proxy.process_new_http(ServerSession::new_http2(session), &shutdown);
            tokio::select! {
                biased;
                _served = serving => {}
                () = upload.overdue() => tracing::debug!("an HTTP/2 request was reset for taking too long"),
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

    fn count_malformed(&self, bounds: &Http2Bounds) -> Next {
        if self.verdict.count_malformed(bounds.malformed) {
            self.cut(&problem::HTTP2_TOO_MANY_MALFORMED)
        } else {
            Next::Go
        }
    }

    fn cut(&self, reason: &'static Reason) -> Next {
        if self.verdict.decide(reason) {
            self.entrance.refused(&self.connection, reason, b"");
        }
        Next::Cut(reason)
    }
}

/// How a connection goes on.
enum Next {
    Go,
    /// Tell the client to go away; finish what it began.
    Close,
    /// Tell the client why, and end.
    Cut(&'static Reason),
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
