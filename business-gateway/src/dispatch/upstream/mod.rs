//! The way to one endpoint of a service and back: connections, one exchange, the answer's body.
//!
//! - `pool`: bounded connections to one endpoint, reused last in, first out
//! - `http1`: a connection that one request at a time drives
//! - `http2`: a connection that requests share
//! - `stream`: the socket under an HTTP/1.1 connection
//! - `download`: the answer's body, which holds its connection and its place until it ends

pub mod download;
mod http1;
mod http2;
mod stream;
pub mod pool;

use std::io;

use hyper::Request;
use hyper::client::conn::TrySendError;

use crate::accept::body::Upload;

/// A request as it goes to a service.
pub type ServiceRequest = Request<Upload>;

/// What became of a request that got no answer.
#[derive(Debug)]
pub enum Lost {
    /// No byte of it was sent: it can go elsewhere, whatever its method.
    Unsent(Box<ServiceRequest>, Unreachable),
    /// Some of it was sent, and no byte of an answer came: the service may have done it.
    Sent(hyper::Error, Connection),
}

/// Why nothing could be sent.
#[derive(Debug, thiserror::Error)]
pub enum Unreachable {
    /// No connection within the time for it.
    #[error("no connection within the connect timeout")]
    Timeout,
    /// The connection was refused, or failed in another way.
    #[error("no connection")]
    Connect(#[source] io::Error),
    /// The connection ended before it took the request.
    #[error("the connection ended before it took the request")]
    Closed(#[source] hyper::Error),
}

/// Whether a connection carried a request before; if so the service may have been closing it at that very moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Connection {
    /// Opened for this request.
    Fresh,
    /// Taken from the pool.
    Reused,
}

impl From<TrySendError<ServiceRequest>> for Lost {
    fn from(mut error: TrySendError<ServiceRequest>) -> Self {
        match error.take_message() {
            Some(request) => Self::Unsent(Box::new(request), Unreachable::Closed(error.into_error())),
            None => Self::Sent(error.into_error(), Connection::Fresh),
        }
    }
}
