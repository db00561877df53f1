//! The connections to one endpoint: how many, which one next, and when one is too old.
//!
//! A request takes a place first and a connection second. There are as many places as the connections carry requests (one each
//! over HTTP/1.1, `streams` each over h2c), or fewer where the service says so, and a new connection is opened only when none is
//! parked, so there are never more connections than places, however many first requests come at once. A parked connection is
//! put back before its request gives the place up.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use gatehouse_shared::clock;
use http::request::Parts;
use http::{Method, Response};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;

use super::download::Download;
use super::http1::Http1;
use super::http2::Http2;
use super::{Form, Head, Http1Head, Lost, Unreachable};
use crate::accept::body::Upload;
use crate::dispatch::counters::{Counters, Open};

/// What is spoken with a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.1 with keepalive; a connection carries one request at a time.
    Http1,
    /// HTTP/2 without TLS, with prior knowledge; a connection carries many.
    H2c,
}

impl Protocol {
    /// Its name in the configuration.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Http1 => "http1",
            Self::H2c => "h2c",
        }
    }
}

/// What bounds the connections to one endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Connections open at a time.
    pub connections: usize,
    /// Requests on one HTTP/2 connection at a time.
    pub streams: usize,
    /// Requests at a time, where that is less than the connections carry.
    pub requests: Option<usize>,
    /// Requests that may wait for a place; `None` for any number.
    pub queue: Option<usize>,
    /// To open a connection.
    pub connect_timeout: Duration,
    /// How long a connection may be parked.
    pub idle_timeout: Duration,
    /// How long a connection is used before it is replaced, so that traffic follows a moved address.
    pub max_age: Duration,
}

/// One endpoint and its connections.
#[derive(Debug)]
pub struct Endpoint {
    address: SocketAddr,
    protocol: Protocol,
    limits: Limits,
    places: Semaphore,
    /// Requests that wait for one.
    waiting: AtomicUsize,
    /// HTTP/1.1, the last parked at the end. Held for a push or a pop.
    #[expect(clippy::vec_box, reason = "a connection is boxed once and moved many times")]
    parked: Mutex<Vec<Box<Http1>>>,
    /// HTTP/2, all that take requests. Held to look through at most `limits.connections` entries.
    shared: Mutex<Vec<Arc<Http2>>>,
    /// One request opens an HTTP/2 connection, the others wait for it.
    opening: tokio::sync::Mutex<()>,
    counters: Arc<Counters>,
}

impl Endpoint {
    /// An endpoint without connections.
    #[must_use]
    pub fn new(address: SocketAddr, protocol: Protocol, limits: Limits, counters: Arc<Counters>) -> Self {
        let carried = match protocol {
            Protocol::Http1 => limits.connections,
            Protocol::H2c => limits.connections.saturating_mul(limits.streams),
        };
        let places = limits.requests.map_or(carried, |requests| requests.min(carried));
        Self {
            address,
            protocol,
            limits,
            places: Semaphore::new(places.clamp(1, Semaphore::MAX_PERMITS)),
            waiting: AtomicUsize::new(0),
            parked: Mutex::new(Vec::new()),
            shared: Mutex::new(Vec::new()),
            opening: tokio::sync::Mutex::new(()),
            counters,
        }
    }

    /// Where it is.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Whether it was made for the same use, so that a new generation can go on with its connections.
    #[must_use]
    pub fn serves(&self, address: SocketAddr, protocol: Protocol, limits: &Limits) -> bool {
        self.address == address && self.protocol == protocol && self.limits == *limits
    }

    /// Takes a place, if one is free.
    #[must_use]
    pub fn try_enter(self: &Arc<Self>) -> Option<Place> {
        self.places.try_acquire().ok()?.forget();
        Some(Place(Arc::clone(self)))
    }

    /// Takes a place in the queue for a place, if one is left.
    #[must_use]
    pub fn queue(self: &Arc<Self>) -> Option<Queued> {
        let before = self.waiting.fetch_add(1, Ordering::Relaxed);
        let queued = Queued(Arc::clone(self));
        self.limits.queue.is_none_or(|most| before < most).then_some(queued)
    }

    /// Waits for a place, first come, first served.
    pub async fn enter(self: &Arc<Self>) -> Place {
        if let Ok(permit) = self.places.acquire().await {
            permit.forget();
        }
        Place(Arc::clone(self))
    }

    /// Closes parked connections that are too old or that the service has closed.
    pub fn sweep(&self, now: Instant) {
        lock(&self.parked).retain(|connection| self.is_usable(connection, now) && connection.is_quiet());
        lock(&self.shared).retain(|connection| {
            let is_idle_too_long = connection
                .idle_since()
                .is_some_and(|since| now.saturating_duration_since(since) >= self.limits.idle_timeout);
            !(connection.is_closed() || self.is_too_old(connection.opened(), now) || is_idle_too_long)
        });
    }

    fn is_usable(&self, connection: &Http1, now: Instant) -> bool {
        now.saturating_duration_since(connection.parked) < self.limits.idle_timeout
            && !self.is_too_old(connection.opened(), now)
    }

    fn is_too_old(&self, opened: Instant, now: Instant) -> bool {
        now.saturating_duration_since(opened) >= self.limits.max_age
    }

    /// Keeps a connection for the next request.
    pub(super) fn park(&self, mut connection: Box<Http1>) {
        let now = clock::now();
        if self.is_too_old(connection.opened(), now) {
            return;
        }
        connection.parked = now;
        lock(&self.parked).push(connection);
    }

    fn take_parked(&self, now: Instant) -> Option<Box<Http1>> {
        let mut old = Vec::new();
        let mut parked = lock(&self.parked);
        while let Some(connection) = parked.pop() {
            if self.is_usable(&connection, now) && connection.is_quiet() {
                return Some(connection);
            }
            old.push(connection);
        }
        // Closing them takes system calls, so not under the lock.
        drop(parked);
        drop(old);
        None
    }

    fn take_shared(&self, now: Instant) -> Option<super::http2::Stream> {
        let mut shared = lock(&self.shared);
        shared.retain(|connection| !connection.is_closed() && !self.is_too_old(connection.opened(), now));
        let least = shared.iter().min_by_key(|connection| connection.streams())?;
        (least.streams() < self.limits.streams).then(|| least.enter())
    }

    async fn connect(&self) -> Result<TcpStream, Unreachable> {
        let stream = match tokio::time::timeout(self.limits.connect_timeout, TcpStream::connect(self.address)).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return Err(Unreachable::Connect(error)),
            Err(_elapsed) => return Err(Unreachable::Timeout),
        };
        stream.set_nodelay(true).map_err(Unreachable::Connect)?;
        Ok(stream)
    }
}

/// One request that waits for a place.
#[derive(Debug)]
pub struct Queued(Arc<Endpoint>);

impl Drop for Queued {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

/// One request's place at an endpoint; given up when it is dropped.
#[derive(Debug)]
pub struct Place(Arc<Endpoint>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.places.add_permits(1);
    }
}

impl Place {
    /// The endpoint it is at.
    #[must_use]
    pub fn endpoint(&self) -> &Arc<Endpoint> {
        &self.0
    }

    /// Sends a request over a parked or new connection and waits for the head of the answer. `left` are the milliseconds that the
    /// service is told it has.
    ///
    /// # Errors
    /// [`Lost`] says whether anything was sent.
    pub async fn exchange(
        self,
        head: &Head,
        body: Upload,
        left: Option<u64>,
        now: Instant,
    ) -> Result<Response<Download>, Lost> {
        match &head.form {
            Form::Http1(text) => self.exchange_http1(&head.method, text, body, left, now).await,
            // Seldom, and more than twice as large: calls over HTTP/1.1 do not carry its room about.
            Form::Http2(parts) => Box::pin(self.exchange_http2(parts, body, left)).await,
        }
    }

    async fn exchange_http1(
        self,
        method: &Method,
        head: &Http1Head,
        mut body: Upload,
        left: Option<u64>,
        now: Instant,
    ) -> Result<Response<Download>, Lost> {
        loop {
            let mut connection = match self.0.take_parked(now) {
                Some(connection) => connection,
                None => match self.open_http1().await {
                    Ok(connection) => connection,
                    Err(error) => return Err(Lost::Unsent(body, error)),
                },
            };
            let was_parked = connection.is_reused();
            match connection.exchange(method, head, left, body).await {
                Ok(answer) => {
                    self.0.counters.answered.add();
                    return Ok(answer.map(|()| Download::http1(connection, self)));
                }
                // The service had closed it while it was parked: the next one, or a new one.
                Err(Lost::Unsent(unsent, _)) if was_parked => body = unsent,
                Err(lost) => return Err(lost),
            }
        }
    }

    async fn open_http1(&self) -> Result<Box<Http1>, Unreachable> {
        let stream = self.0.connect().await?;
        Ok(Box::new(Http1::new(stream, Open::new(&self.0.counters), clock::now())))
    }

    async fn exchange_http2(
        self,
        head: &Parts,
        mut body: Upload,
        left: Option<u64>,
    ) -> Result<Response<Download>, Lost> {
        // A connection that closes between being found and being used gives the request back; the second one is new.
        for _ in 0..2 {
            let stream = match self.stream().await {
                Ok(stream) => stream,
                Err(error) => return Err(Lost::Unsent(body, error)),
            };
            match stream.exchange(head, left, body).await {
                Ok(answer) => {
                    self.0.counters.answered.add();
                    return Ok(answer.map(|body| Download::http2(body, stream, self)));
                }
                Err(Lost::Unsent(unsent, _)) => body = unsent,
                Err(lost) => return Err(lost),
            }
        }
        let closed = std::io::Error::from(std::io::ErrorKind::ConnectionReset);
        Err(Lost::Unsent(body, Unreachable::Connect(closed)))
    }

    async fn stream(&self) -> Result<super::http2::Stream, Unreachable> {
        let endpoint = &self.0;
        if let Some(stream) = endpoint.take_shared(clock::now()) {
            return Ok(stream);
        }
        let _opening = endpoint.opening.lock().await;
        if let Some(stream) = endpoint.take_shared(clock::now()) {
            return Ok(stream);
        }
        let stream = endpoint.connect().await?;
        let open = Open::new(&endpoint.counters);
        let connection =
            Arc::new(Http2::new(stream, open, clock::now()).await.map_err(|error| Unreachable::Closed(error.into()))?);
        let stream = connection.enter();
        lock(&endpoint.shared).push(connection);
        Ok(stream)
    }
}

/// A panic while one of these locks was held cannot leave a connection half moved.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
