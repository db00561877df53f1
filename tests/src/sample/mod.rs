//! The sample service: a small HTTP service that behaves well or badly on demand and remembers what it executed.
//!
//! It serves HTTP/1.1 and h2c on one plain port. `routes` says what lives where; the plain `GET` path does no more than a
//! table lookup, so that the service is never the slow part of a measurement.

pub mod routes;
pub mod shop;
pub mod bodies;
pub mod faults;
pub mod behaviour;
pub mod ledger;
pub mod connection;
pub mod query;

use std::convert::Infallible;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use http::{HeaderName, HeaderValue, Request};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::net::TcpListener;

use behaviour::Behaviour;
use connection::{Connection, Socket};
use ledger::Ledger;
use shop::Shop;

/// The answer header that names the process that executed the request.
pub const SERVED_BY: HeaderName = HeaderName::from_static("x-served-by");

/// The request header that carries the id the execution ledger counts.
pub const LEDGER_ID: HeaderName = HeaderName::from_static("x-ledger-id");

/// One running sample service: its name, its ledger, its counters and its little shop.
#[derive(Debug)]
pub struct Sample {
    name: HeaderValue,
    ledger: Ledger,
    counters: Counters,
    behaviour: Behaviour,
    shop: Shop,
}

/// What the service counts about its own connections and requests.
#[derive(Debug, Default)]
pub struct Counters {
    opened: AtomicU64,
    closed: AtomicU64,
    requests: AtomicU64,
    uploads: AtomicU64,
}

impl Counters {
    /// Connections accepted since the start, open or not.
    #[must_use]
    pub fn opened(&self) -> u64 {
        self.opened.load(Ordering::Relaxed)
    }

    /// Connections open now.
    #[must_use]
    pub fn live(&self) -> u64 {
        self.opened().saturating_sub(self.closed.load(Ordering::Relaxed))
    }

    /// Uploads that came whole since the start.
    #[must_use]
    pub fn uploads(&self) -> u64 {
        self.uploads.load(Ordering::Relaxed)
    }

    /// Requests begun since the start, those for the ledger and for these counters not included.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }
}

impl Sample {
    /// A service that calls itself `name` and, when `ledger` names a file, appends every executed id to it.
    ///
    /// # Errors
    /// The name is not a header value, or the ledger file cannot be opened for appending.
    pub fn new(name: &str, ledger: Option<&Path>) -> io::Result<Self> {
        let name = HeaderValue::from_str(name).map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
        Ok(Self {
            name,
            ledger: Ledger::open(ledger)?,
            counters: Counters::default(),
            behaviour: Behaviour::default(),
            shop: Shop::new(),
        })
    }

    /// Accepts connections until the task is dropped. A connection that cannot be accepted is skipped.
    pub async fn serve(self: Arc<Self>, listener: TcpListener) {
        let builder = Arc::new(server_builder());
        loop {
            let Ok((stream, peer)) = listener.accept().await else {
                tokio::task::yield_now().await;
                continue;
            };
            let number = self.counters.opened.fetch_add(1, Ordering::Relaxed) + 1;
            let connection = Arc::new(Connection::new(number, peer));
            let socket = Socket::new(stream, Arc::clone(&connection));
            tokio::spawn(Arc::clone(&self).serve_connection(Arc::clone(&builder), socket, connection));
        }
    }

    async fn serve_connection(
        self: Arc<Self>,
        builder: Arc<auto::Builder<TokioExecutor>>,
        socket: Socket,
        connection: Arc<Connection>,
    ) {
        let service = service_fn(|request: Request<Incoming>| {
            let (sample, connection) = (Arc::clone(&self), Arc::clone(&connection));
            async move { Ok::<_, Infallible>(routes::answer(&sample, &connection, request).await) }
        });
        tokio::select! {
            // How a client ended its connection is the client's affair.
            _ended = builder.serve_connection(TokioIo::new(socket), service) => {}
            () = connection.wait_for_end() => {}
        }
        self.counters.closed.fetch_add(1, Ordering::Relaxed);
    }
}

/// HTTP/1.1 and h2c with bounds wide enough never to be the reason why a test fails.
fn server_builder() -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().pipeline_flush(true);
    builder
        .http2()
        .max_concurrent_streams(4096)
        .max_pending_accept_reset_streams(4096)
        .initial_stream_window_size(1 << 20)
        .initial_connection_window_size(16 << 20);
    builder
}
