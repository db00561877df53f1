//! The way to one endpoint of a service and back: connections, one exchange, the answer's body.
//!
//! - `pool`: bounded connections to one endpoint, reused last in, first out
//! - `http1`: a connection that one request at a time drives
//! - `http2`: a connection that requests share
//! - `download`: the answer's body, which holds its connection and its place until it ends

pub mod download;
pub mod http1;
mod http2;
pub mod pool;

use std::io;

use http::Method;
use http::request::Parts;

use self::http1::answer::InvalidAnswer;
use crate::accept::body::{Upload, UploadError};

/// A request as it goes to a service.
#[derive(Debug)]
pub struct ServiceRequest {
    /// All but the body. It may be sent several times.
    pub head: Head,
    /// The body.
    pub body: Upload,
}

/// The head of a request, as it is written to a service.
#[derive(Debug)]
pub struct Head {
    /// The method.
    pub method: Method,
    /// The rest.
    pub form: Form,
}

/// A head in the protocol of its service. How much time the service has left is added to it with every try.
#[derive(Debug)]
pub enum Form {
    /// For HTTP/1.1.
    Http1(Http1Head),
    /// For HTTP/2.
    Http2(Box<Parts>),
}

/// A head for HTTP/1.1.
#[derive(Debug)]
pub struct Http1Head {
    /// Request line and fields, without the empty line at the end.
    pub text: Vec<u8>,
    /// How long the body is by these fields; `None` when it comes in chunks.
    pub body_length: Option<u64>,
}

/// What became of a request that got no answer.
#[derive(Debug)]
pub enum Lost {
    /// No byte of it was sent: it can go elsewhere, whatever its method. This is its body.
    Unsent(Upload, Unreachable),
    /// Some of it was sent, and no byte of an answer came: the service may have done it.
    Sent(ExchangeError, Connection),
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
    Closed(#[source] ExchangeError),
}

/// Why an exchange broke off.
#[derive(Debug, thiserror::Error)]
pub enum ExchangeError {
    /// The connection failed.
    #[error("the connection failed")]
    Io(#[from] io::Error),
    /// The service closed the connection before the end of its answer.
    #[error("the connection ended before the end of the answer")]
    Ended,
    /// What the service sent is no answer of HTTP/1.1.
    #[error(transparent)]
    Invalid(#[from] InvalidAnswer),
    /// The request's body ended early.
    #[error("the request's body failed")]
    Upload(#[from] UploadError),
    /// The same over HTTP/2.
    #[error(transparent)]
    Http2(#[from] hyper::Error),
}

impl ExchangeError {
    /// Whether what the service sent is not HTTP.
    #[must_use]
    pub fn is_invalid(&self) -> bool {
        match self {
            Self::Invalid(_) => true,
            Self::Http2(error) => error.is_parse(),
            Self::Io(_) | Self::Ended | Self::Upload(_) => false,
        }
    }
}

/// Whether a connection carried a request before; if so the service may have been closing it at that very moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Connection {
    /// Opened for this request.
    Fresh,
    /// Taken from the pool.
    Reused,
}
