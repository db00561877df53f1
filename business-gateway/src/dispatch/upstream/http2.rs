//! One HTTP/2 connection to an endpoint (cleartext, prior knowledge), shared by many requests at a time.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use http::request::Parts;
use http::{HeaderValue, Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::net::TcpStream;

use super::{Connection, ExchangeError, Lost, Unreachable};
use crate::accept::body::Upload;
use crate::dispatch::counters::Open;
use crate::dispatch::request::DEADLINE_HEADER;

/// Bytes a service may send on one stream before it waits: one slow reader must not fill the whole connection.
const STREAM_WINDOW: u32 = 256 * 1024;
/// Bytes a service may send on all streams of a connection before it waits.
const CONNECTION_WINDOW: u32 = 16 * 1024 * 1024;

/// A connection and how many requests it carries.
#[derive(Debug)]
pub(super) struct Http2 {
    sender: SendRequest<Upload>,
    streams: AtomicUsize,
    opened: Instant,
    /// When it became idle last, in milliseconds after `opened`.
    idle_since_ms: AtomicUsize,
    _open: Open,
}

/// One request's place on a connection.
#[derive(Debug)]
pub(super) struct Stream(Arc<Http2>);

impl Http2 {
    /// Speaks HTTP/2 on a stream that is connected; the connection runs in a task of its own.
    pub(super) async fn new(stream: TcpStream, open: Open, now: Instant) -> Result<Self, hyper::Error> {
        let mut builder = http2::Builder::new(TokioExecutor::new());
        builder
            .timer(TokioTimer::new())
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_header_list_size(64 * 1024);
        let (sender, connection) = builder.handshake(TokioIo::new(stream)).await?;
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "connection to a service ended");
            }
        });
        Ok(Self { sender, streams: AtomicUsize::new(0), opened: now, idle_since_ms: AtomicUsize::new(0), _open: open })
    }

    /// Requests on it now.
    pub(super) fn streams(&self) -> usize {
        self.streams.load(Ordering::Relaxed)
    }

    /// Whether it takes no more requests.
    pub(super) fn is_closed(&self) -> bool {
        self.sender.is_closed()
    }

    /// When it was opened.
    pub(super) fn opened(&self) -> Instant {
        self.opened
    }

    /// When its last request ended, if it has none now.
    pub(super) fn idle_since(&self) -> Option<Instant> {
        let after = u64::try_from(self.idle_since_ms.load(Ordering::Relaxed)).unwrap_or(0);
        (self.streams() == 0).then(|| self.opened + std::time::Duration::from_millis(after))
    }

    /// Takes a place on the connection.
    pub(super) fn enter(self: &Arc<Self>) -> Stream {
        self.streams.fetch_add(1, Ordering::Relaxed);
        Stream(Arc::clone(self))
    }
}

impl Stream {
    /// Sends a request and waits for the head of its answer. `left` are the milliseconds that the service is told it has.
    pub(super) async fn exchange(
        &self,
        head: &Parts,
        left: Option<u64>,
        body: Upload,
    ) -> Result<Response<Incoming>, Lost> {
        let mut sender = self.0.sender.clone();
        let mut request = Request::from_parts(head.clone(), body);
        if let Some(left) = left {
            request.headers_mut().insert(DEADLINE_HEADER, HeaderValue::from(left));
        }
        sender.try_send_request(request).await.map_err(|mut error| match error.take_message() {
            Some(request) => Lost::Unsent(request.into_body(), Unreachable::Closed(error.into_error().into())),
            None => Lost::Sent(ExchangeError::Http2(error.into_error()), Connection::Fresh),
        })
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        let after = usize::try_from(self.0.opened.elapsed().as_millis()).unwrap_or(usize::MAX);
        self.0.idle_since_ms.store(after, Ordering::Relaxed);
        self.0.streams.fetch_sub(1, Ordering::Relaxed);
    }
}
