//! The process while it runs: the listener, its connections, background tasks, signals, and the end in order.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::Router;
use futures_util::FutureExt as _;
use gatehouse_shared::clock;
use gatehouse_shared::shutdown::{InFlight, Phase};
use http_body_util::Either;
use hyper::body::Incoming;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::io::ReadBuf;
use tokio::net::{TcpListener, TcpStream};
use tower::Service;

use crate::accept::connection::{Connection, End, Served, Watched};
use crate::accept::http2::{Answering, Answers, Arriving, Http2, PREFACE};
use crate::accept::router::{READY, router};
use crate::accept::{Bounds, connection};
use crate::config::Drain;
use crate::gateway::Gateway;
use crate::pipeline;
use crate::respond::body::Outgoing;

/// After an error of accept that is not about one connection (no descriptors left), so that the loop does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// The data listener and everything served on it.
#[derive(Debug)]
pub struct Server {
    gateway: Arc<Gateway>,
    router: Router,
    connections: InFlight,
    max_connections: usize,
}

impl Server {
    /// A server that takes at most `max_connections` connections at a time.
    #[must_use]
    pub fn new(gateway: Arc<Gateway>, max_connections: usize) -> Self {
        let router = router(Arc::clone(&gateway));
        Self { gateway, router, connections: InFlight::new(), max_connections }
    }

    /// Accepts and serves connections until the process stops listening.
    pub async fn run(&self, listener: TcpListener) {
        let mut stopping = std::pin::pin!(self.gateway.shutdown.reached(Phase::Stopping));
        loop {
            let accepted = tokio::select! {
                () = &mut stopping => return,
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, peer)) => self.admit(stream, peer),
                Err(error) if is_about_one_connection(&error) => {}
                Err(error) => {
                    tracing::warn!(%error, "cannot accept connections");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    fn admit(&self, stream: TcpStream, peer: SocketAddr) {
        if self.connections.count() >= self.max_connections {
            // Closing at once tells the edge to go elsewhere; a connection left waiting would not.
            self.gateway.metrics.connections_refused.inc();
            return;
        }
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "connection ended before it began");
            return;
        }
        let guard = self.connections.enter();
        let (router, gateway) = (self.router.clone(), Arc::clone(&self.gateway));
        tokio::spawn(async move {
            let _guard = guard;
            let _open = gateway.metrics.open_connection();
            let bounds = gateway.live.current().value.accept.clone();
            let end = serve_stream(stream, peer, router, &bounds, &gateway).await;
            gateway.metrics.connection_ended(end);
        });
    }

    /// Ends in order: readiness first, then the listener and parked connections, then what is under way. Returns whether all of
    /// it ended in time.
    pub async fn drain(&self, drain: &Drain) -> bool {
        let shutdown = &self.gateway.shutdown;
        shutdown.enter(Phase::Draining);
        let delay_over = clock::now() + drain.delay.get();
        self.connections.wait_idle(delay_over).await;
        shutdown.enter(Phase::Stopping);
        self.connections.wait_idle(clock::now() + drain.deadline.get()).await
    }

    /// Connections open now.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.connections.count()
    }
}

fn is_about_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

async fn serve_stream(
    stream: TcpStream,
    peer: SocketAddr,
    router: Router,
    bounds: &Bounds,
    gateway: &Arc<Gateway>,
) -> End {
    let (stream, connection) = Watched::new(stream, peer);
    let calls = Calls { gateway: Arc::clone(gateway), router, connection: Arc::clone(&connection) };
    let protocol = protocol(bounds);
    let served = Protocol::Unknown { beginning: Some((stream, calls)), bounds, http1: &protocol };
    connection::serve(served, connection, bounds.times, &gateway.shutdown).await
}

/// HTTP/1.1, or HTTP/2 when its preface comes in more than one piece.
fn protocol(bounds: &Bounds) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    // The head timeout is `accept::connection`'s: hyper's would cost a timer for every request.
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(None)
        .max_buf_size(bounds.head_max)
        .max_headers(bounds.fields_max);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(bounds.http2.streams_max)
        .initial_stream_window_size(bounds.http2.stream_window)
        .initial_connection_window_size(bounds.http2.connection_window)
        .max_pending_accept_reset_streams(bounds.http2.pending_resets_max)
        .max_header_list_size(u32::try_from(bounds.head_max).unwrap_or(u32::MAX));
    builder
}

/// What hyper calls with every request of one connection.
#[derive(Clone)]
struct Calls {
    gateway: Arc<Gateway>,
    router: Router,
    connection: Arc<Connection>,
}

type AnswerBody = Either<Outgoing, axum::body::Body>;

impl Answers for Calls {
    type Body = AnswerBody;

    fn greeted(&self) {
        self.connection.greeted();
    }

    fn answer(&self, request: Request<Arriving>) -> Answering<AnswerBody> {
        self.connection.arrived(request.version());
        if request.uri().path() == READY {
            let busy = self.connection.enter();
            // A router is always ready.
            let answer = self.router.clone().call(request.map(axum::body::Body::new));
            return Box::pin(async move {
                let answer = answer.await.unwrap_or_else(|never| match never {});
                drop(busy);
                answer.map(Either::Right)
            });
        }
        let (gateway, connection) = (Arc::clone(&self.gateway), Arc::clone(&self.connection));
        Box::pin(pipeline::answer(gateway, connection, request).map(|answer| answer.map(Either::Left)))
    }
}

impl hyper::service::Service<Request<Incoming>> for Calls {
    type Response = Response<AnswerBody>;
    type Error = Infallible;
    type Future = Always<Answering<AnswerBody>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        Always(self.answer(request.map(Arriving::Http1)))
    }
}

/// An answer that never fails, as hyper wants it.
struct Always<F>(F);

impl<F: Future + Unpin> Future for Always<F> {
    type Output = Result<F::Output, Infallible>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(cx).map(Ok)
    }
}

type Stream = Watched<TcpStream>;

type Builder = auto::Builder<TokioExecutor>;

/// A connection as `accept::connection` serves it.
enum Protocol<'a> {
    /// Nothing has come yet.
    Unknown { beginning: Option<(Stream, Calls)>, bounds: &'a Bounds, http1: &'a Builder },
    /// The edge hands over by h2c.
    Http2(Box<Http2<Stream, Calls>>),
    /// Anything else is hyper's.
    Hyper(Pin<Box<auto::Connection<'a, TokioIo<Stream>, Calls, TokioExecutor>>>),
    /// It ends before it began.
    Ended,
}

impl Protocol<'_> {
    /// Looks at what came first.
    fn poll_beginning(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Self::Unknown { beginning, bounds, http1 } = self else { return Poll::Ready(()) };
        let Some((stream, calls)) = beginning.take() else { return Poll::Ready(()) };
        let mut first = [0; PREFACE.len()];
        let mut first = ReadBuf::new(&mut first);
        if stream.poll_peek(cx, &mut first).is_pending() {
            *beginning = Some((stream, calls));
            return Poll::Pending;
        }
        *self = if first.filled() == PREFACE {
            Self::Http2(Box::new(Http2::new(stream, bounds, calls)))
        } else {
            Self::Hyper(Box::pin(http1.serve_connection(TokioIo::new(stream), calls)))
        };
        Poll::Ready(())
    }
}

impl Future for Protocol<'_> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        ready!(self.poll_beginning(cx));
        match &mut *self {
            Self::Http2(connection) => Pin::new(&mut **connection).poll(cx),
            Self::Hyper(connection) => connection.as_mut().poll(cx).map(|outcome| {
                if let Err(error) = outcome {
                    tracing::debug!(error, "connection ended");
                }
            }),
            Self::Unknown { .. } | Self::Ended => Poll::Ready(()),
        }
    }
}

impl Served for Protocol<'_> {
    fn stop(mut self: Pin<&mut Self>) {
        match &mut *self {
            Self::Http2(connection) => Pin::new(&mut **connection).stop(),
            Self::Hyper(connection) => connection.as_mut().graceful_shutdown(),
            Self::Unknown { .. } => *self = Self::Ended,
            Self::Ended => {}
        }
    }
}
