//! A service that answers every call in the same way, until it is told to answer in another one.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, AtomicUsize, Ordering};

use bytes::Bytes;
use http::{Response, StatusCode};
use http_body_util::Full;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::task::AbortHandle;

/// It takes calls and never answers them.
pub(crate) const HANGS: u16 = 0;

/// A running service.
pub(crate) struct Switch {
    pub(crate) address: SocketAddr,
    shared: Arc<Shared>,
    accepting: AbortHandle,
}

struct Shared {
    status: AtomicU16,
    requests: AtomicUsize,
}

impl Switch {
    /// A service that answers with this status.
    pub(crate) async fn start(status: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared { status: AtomicU16::new(status), requests: AtomicUsize::new(0) });
        let accepting = tokio::spawn(accept(listener, Arc::clone(&shared))).abort_handle();
        Self { address, shared, accepting }
    }

    /// Answers with this status from now on.
    pub(crate) fn answer(&self, status: u16) {
        self.shared.status.store(status, Ordering::Relaxed);
    }

    pub(crate) fn requests(&self) -> usize {
        self.shared.requests.load(Ordering::Relaxed)
    }
}

impl Drop for Switch {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let shared = Arc::clone(&shared);
        tokio::spawn(async move {
            let service = service_fn(|_request| {
                shared.requests.fetch_add(1, Ordering::Relaxed);
                let status = shared.status.load(Ordering::Relaxed);
                async move {
                    if status == HANGS {
                        std::future::pending::<()>().await;
                    }
                    let mut answer = Response::new(Full::new(Bytes::from_static(b"switch")));
                    *answer.status_mut() = StatusCode::from_u16(status).unwrap();
                    Ok::<_, Infallible>(answer)
                }
            });
            drop(http1::Builder::new().serve_connection(TokioIo::new(stream), service).await);
        });
    }
}
