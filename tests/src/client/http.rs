//! Requests and answers over one HTTP/1.1 or HTTP/2 connection.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use ::http::{HeaderMap, Request, Response, StatusCode, Version};
use anyhow::Context as _;
use bytes::Bytes;
use http_body::Frame;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Empty, Full};
use hyper::body::Incoming;
use hyper::client::conn::{TrySendError, http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::Value;
use tokio::sync::mpsc;

use super::{Protocol, Target};

/// The body of a request.
pub type Body = BoxBody<Bytes, io::Error>;

/// No body.
#[must_use]
pub fn empty() -> Body {
    Empty::new().map_err(|never| match never {}).boxed()
}

/// A body of one piece.
#[must_use]
pub fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed()
}

/// A body that is sent piece by piece; it ends when the sender is dropped.
#[must_use]
pub fn streamed() -> (mpsc::Sender<Bytes>, Body) {
    let (sender, receiver) = mpsc::channel(1);
    (sender, Pieces(receiver).boxed())
}

struct Pieces(mpsc::Receiver<Bytes>);

impl http_body::Body for Pieces {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        self.0.poll_recv(cx).map(|piece| piece.map(|piece| Ok(Frame::data(piece))))
    }
}

/// A whole answer.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The version of the protocol it came by.
    pub version: Version,
    /// The headers.
    pub headers: HeaderMap,
    /// The whole body.
    pub body: Bytes,
    /// The trailers, when there were any.
    pub trailers: Option<HeaderMap>,
}

impl Answer {
    /// Reads an answer to its end.
    ///
    /// # Errors
    /// The body broke off.
    pub async fn read(response: Response<Incoming>) -> anyhow::Result<Self> {
        let (head, body) = response.into_parts();
        let body = body.collect().await.context("the answer's body broke off")?;
        let trailers = body.trailers().cloned();
        Ok(Self { status: head.status, version: head.version, headers: head.headers, body: body.to_bytes(), trailers })
    }

    /// The value of the header `name`, empty when there is none.
    #[must_use]
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// The body as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    ///
    /// # Errors
    /// It is none.
    pub fn json(&self) -> anyhow::Result<Value> {
        serde_json::from_slice(&self.body).with_context(|| format!("{}: no JSON: {}", self.status, self.text()))
    }

    /// The `code` of a problem document, empty when the body is none.
    #[must_use]
    pub fn code(&self) -> String {
        self.json().ok().and_then(|problem| Some(problem.get("code")?.as_str()?.to_owned())).unwrap_or_default()
    }
}

/// One connection that requests are sent on.
#[derive(Debug)]
pub struct Connection(Sender);

#[derive(Debug)]
enum Sender {
    Http1(http1::SendRequest<Body>),
    Http2(http2::SendRequest<Body>),
}

impl Connection {
    /// Connects to `target` and starts its protocol.
    ///
    /// # Errors
    /// The connection or the handshake failed.
    pub async fn open(target: &Target) -> anyhow::Result<Self> {
        let stream =
            TokioIo::new(target.connect().await.with_context(|| format!("cannot connect to {}", target.address))?);
        Ok(Self(match target.protocol {
            Protocol::Http1 => {
                let (sender, connection) = http1::handshake(stream).await?;
                tokio::spawn(connection);
                Sender::Http1(sender)
            }
            Protocol::Http2 => {
                let (sender, connection) = http2::Builder::new(TokioExecutor::new())
                    .initial_stream_window_size(1 << 20)
                    .initial_connection_window_size(8 << 20)
                    .handshake(stream)
                    .await?;
                tokio::spawn(connection);
                Sender::Http2(sender)
            }
        }))
    }

    /// Sends `request` and returns as soon as the answer's head is there.
    ///
    /// # Errors
    /// No head came. The request is in the error when nothing of it was sent.
    pub async fn send(&mut self, request: Request<Body>) -> Result<Response<Incoming>, TrySendError<Request<Body>>> {
        match &mut self.0 {
            Sender::Http1(sender) => {
                // A connection that is over gives the request back below.
                drop(sender.ready().await);
                sender.try_send_request(request).await
            }
            Sender::Http2(sender) => {
                drop(sender.ready().await);
                sender.try_send_request(request).await
            }
        }
    }

    /// Sends `request` and reads the whole answer.
    ///
    /// # Errors
    /// There was no whole answer.
    pub async fn fetch(&mut self, request: Request<Body>) -> anyhow::Result<Answer> {
        let response = self.send(request).await.map_err(TrySendError::into_error)?;
        Answer::read(response).await
    }

    /// Another handle on the same HTTP/2 connection.
    #[must_use]
    pub fn another(&self) -> Option<Self> {
        match &self.0 {
            Sender::Http1(_) => None,
            Sender::Http2(sender) => Some(Self(Sender::Http2(sender.clone()))),
        }
    }

    /// Whether the connection has ended.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        match &self.0 {
            Sender::Http1(sender) => sender.is_closed(),
            Sender::Http2(sender) => sender.is_closed(),
        }
    }
}
