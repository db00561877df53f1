//! One connection from the edge and its times: a head that does not end, a connection without requests, an answer nobody reads.
//!
//! hyper's own head timeout costs a timer for every request and would also run between requests. Here a connection has one
//! timer, set when something really has to be waited for; a request that arrives in one piece touches none.

use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use gatehouse_shared::clock;
use gatehouse_shared::shutdown::{Phase, Shutdown};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// The times of a connection; part of [`super::Bounds`].
#[derive(Debug, Clone, Copy)]
pub struct Times {
    /// From the first byte of a head to its end.
    pub head: Duration,
    /// Without a request.
    pub keepalive: Duration,
    /// Without the peer reading what was written, at least.
    pub write: Duration,
}

/// What the tasks of one connection know of each other.
#[derive(Debug)]
pub struct Connection {
    /// The node at the other end.
    pub peer: SocketAddr,
    accepted: Instant,
    requests: AtomicUsize,
    /// Milliseconds after `accepted`.
    idle_since: AtomicU64,
    /// Bytes came while there was no request: the beginning of a head, or an HTTP/2 control frame.
    has_bytes: AtomicBool,
    is_http2: AtomicBool,
    /// Milliseconds after `accepted`, plus one; 0 while writing goes on.
    write_stuck: AtomicU64,
}

impl Connection {
    fn new(peer: SocketAddr, accepted: Instant) -> Self {
        Self {
            peer,
            accepted,
            requests: AtomicUsize::new(0),
            idle_since: AtomicU64::new(0),
            has_bytes: AtomicBool::new(false),
            is_http2: AtomicBool::new(false),
            write_stuck: AtomicU64::new(0),
        }
    }

    /// The head of a request is there.
    pub fn arrived(&self, version: http::Version) {
        // On HTTP/2 bytes between requests are control frames, which the idle time bounds.
        self.is_http2.store(version == http::Version::HTTP_2, Ordering::Relaxed);
        self.has_bytes.store(false, Ordering::Relaxed);
    }

    /// It has begun as HTTP/2 does.
    pub fn greeted(&self) {
        self.is_http2.store(true, Ordering::Relaxed);
    }

    /// Keeps the connection busy until the guard is dropped.
    pub fn enter(self: &Arc<Self>) -> Busy {
        self.requests.fetch_add(1, Ordering::Relaxed);
        Busy(Some(Arc::clone(self)))
    }

    fn is_busy(&self) -> bool {
        self.requests.load(Ordering::Acquire) > 0
    }

    fn is_reading_head(&self) -> bool {
        self.has_bytes.load(Ordering::Relaxed) && !self.is_http2.load(Ordering::Relaxed) && !self.is_busy()
    }

    fn after(&self, now: Instant) -> u64 {
        u64::try_from(now.saturating_duration_since(self.accepted).as_millis()).unwrap_or(u64::MAX - 1)
    }

    fn at(&self, after: u64) -> Instant {
        self.accepted + Duration::from_millis(after)
    }
}

/// A request on the connection; dropped when its answer has been handed over.
#[derive(Debug)]
pub struct Busy(Option<Arc<Connection>>);

impl Busy {
    /// The request has ended; `now` is what the caller read off the clock just before.
    pub fn leave(&mut self, now: Instant) {
        if let Some(connection) = self.0.take() {
            connection.idle_since.store(connection.after(now), Ordering::Relaxed);
            connection.requests.fetch_sub(1, Ordering::Release);
        }
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        if self.0.is_some() {
            self.leave(clock::now());
        }
    }
}

/// The stream of a connection; tells [`Connection`] what happens on it.
#[derive(Debug)]
pub struct Watched<T> {
    stream: T,
    connection: Arc<Connection>,
}

impl<T> Watched<T> {
    /// Begins to watch a stream.
    pub fn new(stream: T, peer: SocketAddr) -> (Self, Arc<Connection>) {
        let connection = Arc::new(Connection::new(peer, clock::now()));
        (Self { stream, connection: Arc::clone(&connection) }, connection)
    }

    fn wrote<R>(&self, outcome: Poll<R>) -> Poll<R> {
        let stuck = &self.connection.write_stuck;
        let is_stuck = stuck.load(Ordering::Relaxed) != 0;
        if outcome.is_pending() && !is_stuck {
            stuck.store(self.connection.after(clock::now()) + 1, Ordering::Relaxed);
        } else if outcome.is_ready() && is_stuck {
            stuck.store(0, Ordering::Relaxed);
        }
        outcome
    }
}

impl Watched<TcpStream> {
    /// Looks at the first bytes without taking them; none when the peer has closed the connection.
    ///
    /// # Errors
    /// The connection is broken.
    pub fn poll_peek(&self, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<usize>> {
        self.stream.poll_peek(cx, buffer)
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Watched<T> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.stream).poll_read(cx, buffer))?;
        if !self.connection.is_busy() {
            self.connection.has_bytes.store(true, Ordering::Relaxed);
        }
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Watched<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &[u8]) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write(cx, buffer);
        self.wrote(outcome)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write_vectored(cx, buffers);
        self.wrote(outcome)
    }
}

/// How a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The peer closed it, or it was closed after its last answer.
    Closed,
    /// A head did not end in time.
    HeadTimeout,
    /// The peer did not read.
    WriteTimeout,
}

/// What is served on a connection, and can be asked to stop.
pub trait Served: Future {
    /// Answers what is under way and nothing more.
    fn stop(self: Pin<&mut Self>);
}

/// Serves a connection until it ends or breaks one of its times; ends it in order when the process stops.
pub async fn serve<S: Served>(served: S, connection: Arc<Connection>, times: Times, shutdown: &Shutdown) -> End {
    let mut served = pin!(served);
    let mut stopping = pin!(shutdown.reached(Phase::Stopping));
    let mut phases = shutdown.subscribe();
    // So that `stopping` is polled once, and then only when the phase has changed: that check is one load.
    phases.mark_changed();
    let mut is_stopping = false;
    let mut head_over: Option<Instant> = None;
    // A connection that says nothing at all is idle like any other.
    let first_look = connection.accepted + times.head.min(times.keepalive).min(times.write);
    let mut timer = pin!(tokio::time::sleep_until(first_look.into()));
    std::future::poll_fn(|cx| {
        loop {
            if served.as_mut().poll(cx).is_ready() {
                return Poll::Ready(End::Closed);
            }
            if is_stopping || !phases.has_changed().unwrap_or(true) {
                break;
            }
            phases.mark_unchanged();
            if stopping.as_mut().poll(cx).is_ready() {
                is_stopping = true;
                served.as_mut().stop();
            }
        }
        head_over = match (connection.is_reading_head(), head_over) {
            (false, _) => None,
            (true, Some(over)) => Some(over),
            (true, None) => {
                let over = clock::now() + times.head;
                timer.as_mut().reset(over.into());
                Some(over)
            }
        };
        while timer.as_mut().poll(cx).is_ready() {
            let now = clock::now();
            if head_over.is_some_and(|over| now >= over) {
                return Poll::Ready(End::HeadTimeout);
            }
            let next = match next_look(&connection, &times, now) {
                Look::Stuck => return Poll::Ready(End::WriteTimeout),
                Look::At(at) => at,
                Look::Idle if is_stopping => now + times.keepalive,
                Look::Idle => {
                    is_stopping = true;
                    served.as_mut().stop();
                    if served.as_mut().poll(cx).is_ready() {
                        return Poll::Ready(End::Closed);
                    }
                    now + times.keepalive
                }
            };
            timer.as_mut().reset(head_over.map_or(next, |over| next.min(over)).into());
        }
        Poll::Pending
    })
    .await
}

enum Look {
    /// Nothing to do before then.
    At(Instant),
    /// No request for the whole keepalive.
    Idle,
    /// The peer does not read.
    Stuck,
}

fn next_look(connection: &Connection, times: &Times, now: Instant) -> Look {
    if let Some(after) = connection.write_stuck.load(Ordering::Relaxed).checked_sub(1) {
        let over = connection.at(after) + times.write;
        return if now >= over { Look::Stuck } else { Look::At(over) };
    }
    if connection.is_busy() {
        return Look::At(now + times.write.min(times.keepalive));
    }
    let over = connection.at(connection.idle_since.load(Ordering::Relaxed)) + times.keepalive;
    if now >= over { Look::Idle } else { Look::At(over) }
}
