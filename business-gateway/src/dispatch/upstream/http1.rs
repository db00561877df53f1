//! One HTTP/1.1 connection to an endpoint, driven by the request that holds it.
//!
//! hyper hands out a connection as two parts: a sender, and a future that does the reading and writing. Usually that future
//! gets a task of its own, and every request then costs several wake-ups between two tasks. Here the request polls it itself,
//! first while it waits for the head, then whenever the answer's body is polled; nobody polls it while it is parked, so a
//! service that closes a parked connection is noticed when the connection is taken out, or by the sweep.

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use hyper::Response;
use hyper::body::{Body, Bytes, Frame, Incoming};
use hyper::client::conn::http1::{self, SendRequest};
use tokio::net::TcpStream;

use super::stream::ServiceStream;
use super::{Lost, ServiceRequest};
use crate::accept::body::Upload;
use crate::dispatch::counters::Open;

type Driver = http1::Connection<ServiceStream, Upload>;

/// A connection, idle or held by one request.
#[derive(Debug)]
pub(super) struct Http1 {
    sender: SendRequest<Upload>,
    /// `None` once it is closed.
    driver: Option<Driver>,
    opened: Instant,
    /// When it was parked last.
    pub(super) parked: Instant,
    /// Requests it carried.
    used: u64,
    /// A write failed.
    is_broken: Arc<AtomicBool>,
    _open: Open,
}

impl Http1 {
    /// Speaks HTTP/1.1 on a stream that is connected.
    pub(super) async fn new(stream: TcpStream, open: Open, now: Instant) -> Result<Self, hyper::Error> {
        let (stream, is_broken) = ServiceStream::new(stream);
        let (sender, driver) = http1::Builder::new().handshake(stream).await?;
        Ok(Self { sender, driver: Some(driver), opened: now, parked: now, used: 0, is_broken, _open: open })
    }

    /// Whether it carried a request before, so that the service may be closing it just now.
    pub(super) fn is_reused(&self) -> bool {
        self.used > 1
    }

    /// When it was opened.
    pub(super) fn opened(&self) -> Instant {
        self.opened
    }

    /// Sends a request and waits for the head of its answer.
    pub(super) async fn exchange(&mut self, request: ServiceRequest) -> Result<Response<Incoming>, Lost> {
        self.used += 1;
        let driver = &mut self.driver;
        // Only the driver, polled right before it, ever completes this future, so it needs no waker; and a task out of its
        // cooperative budget would lose the wake-up.
        let mut sending = pin!(tokio::task::unconstrained(self.sender.try_send_request(request)));
        std::future::poll_fn(|cx| {
            poll_driver(driver, cx);
            sending.as_mut().poll(&mut Context::from_waker(Waker::noop()))
        })
        .await
        .map_err(Lost::from)
    }

    /// Brings the connection to rest after an answer; false when it cannot be used again.
    pub(super) fn settle(&mut self) -> bool {
        let mut ignore = Context::from_waker(Waker::noop());
        poll_driver(&mut self.driver, &mut ignore);
        self.driver.is_some() && self.sender.is_ready() && !self.is_broken.load(Ordering::Relaxed)
    }
}

/// Polls the driver; a driver that is done is dropped, which completes whatever still waits for it.
fn poll_driver(driver: &mut Option<Driver>, cx: &mut Context<'_>) {
    if let Some(running) = driver
        && Pin::new(running).poll(cx).is_ready()
    {
        // An error was given to the request or to its body already.
        *driver = None;
    }
}

/// The body of an answer, together with the connection it comes from.
#[derive(Debug)]
pub(super) struct Http1Body {
    body: Incoming,
    connection: Option<Box<Http1>>,
}

impl Http1Body {
    pub(super) fn new(body: Incoming, connection: Box<Http1>) -> Self {
        Self { body, connection: Some(connection) }
    }

    pub(super) fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let mut ignore = Context::from_waker(Waker::noop());
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(&mut ignore) {
            return Poll::Ready(frame);
        }
        if let Some(connection) = &mut self.connection {
            poll_driver(&mut connection.driver, cx);
        }
        // The driver has the real waker, and only it can bring this body forward.
        Pin::new(&mut self.body).poll_frame(&mut ignore)
    }

    /// The connection, once the body has ended; `None` when it cannot be used again.
    pub(super) fn take_connection(&mut self) -> Option<Box<Http1>> {
        let mut connection = self.connection.take()?;
        connection.settle().then_some(connection)
    }

    pub(super) fn inner(&self) -> &Incoming {
        &self.body
    }
}
