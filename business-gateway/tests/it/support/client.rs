//! An edge: it signs requests and sends them over HTTP/1.1 or h2c.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use gatehouse_shared::clock;
use gatehouse_shared::config::Secret;
use gatehouse_shared::hop::{HOP_HEADER, Hop, HopKey, HopKeys, HopResult, RESULT_HEADER, Scheme};
use gatehouse_shared::id::RequestId;
use http::{Request, Response};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Empty, Full};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;

pub(crate) const HOP_SECRET: &str = "0123456789abcdef0123456789abcdef";
pub(crate) const AUTHORITY: &str = "shop.example";

pub(crate) type Body = BoxBody<Bytes, std::io::Error>;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    Http1,
    H2c,
}

pub(crate) const BOTH: [Protocol; 2] = [Protocol::Http1, Protocol::H2c];

/// A connection to the gateway.
pub(crate) enum Edge {
    Http1(http1::SendRequest<Body>),
    H2c(http2::SendRequest<Body>),
}

/// An answer, read whole.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: http::HeaderMap,
    pub(crate) trailers: Option<http::HeaderMap>,
    pub(crate) body: Bytes,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn code(&self) -> String {
        let problem: serde_json::Value = serde_json::from_slice(&self.body).unwrap();
        problem["code"].as_str().unwrap().to_owned()
    }

    pub(crate) fn result(&self) -> HopResult {
        HopResult::parse(self.header(RESULT_HEADER).as_bytes()).unwrap()
    }
}

impl Edge {
    pub(crate) async fn connect(address: SocketAddr, protocol: Protocol) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        match protocol {
            Protocol::Http1 => {
                let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
                tokio::spawn(connection);
                Self::Http1(sender)
            }
            Protocol::H2c => {
                let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
                tokio::spawn(connection);
                Self::H2c(sender)
            }
        }
    }

    /// Sends a request and returns as soon as the head of the answer is there.
    pub(crate) async fn send(&mut self, request: Request<Body>) -> hyper::Result<Response<Incoming>> {
        match self {
            Self::Http1(sender) => {
                sender.ready().await?;
                sender.send_request(request).await
            }
            Self::H2c(sender) => {
                let (mut parts, body) = request.into_parts();
                parts.headers.remove(http::header::HOST);
                let target = parts.uri.path_and_query().unwrap().clone();
                let uri = http::Uri::builder().scheme("http").authority(AUTHORITY).path_and_query(target);
                parts.uri = uri.build().unwrap();
                parts.version = http::Version::HTTP_2;
                sender.ready().await?;
                sender.send_request(Request::from_parts(parts, body)).await
            }
        }
    }

    /// Sends a request and reads the whole answer.
    pub(crate) async fn exchange(&mut self, request: Request<Body>) -> Answer {
        let answer = self.send(request).await.unwrap();
        read(answer).await.unwrap()
    }

    /// `GET target`, signed.
    pub(crate) async fn get(&mut self, target: &str) -> Answer {
        self.exchange(request("GET", target).body(empty()).unwrap()).await
    }

    pub(crate) fn is_closed(&self) -> bool {
        match self {
            Self::Http1(sender) => sender.is_closed(),
            Self::H2c(sender) => sender.is_closed(),
        }
    }
}

/// Reads an answer whole.
pub(crate) async fn read(answer: Response<Incoming>) -> hyper::Result<Answer> {
    let (parts, body) = answer.into_parts();
    let body = body.collect().await?;
    let trailers = body.trailers().cloned();
    Ok(Answer { status: parts.status.as_u16(), headers: parts.headers, trailers, body: body.to_bytes() })
}

pub(crate) fn empty() -> Body {
    Empty::new().map_err(|never| match never {}).boxed()
}

pub(crate) fn full(text: impl Into<Bytes>) -> Body {
    Full::new(text.into()).map_err(|never| match never {}).boxed()
}

/// A body whose pieces are sent by hand.
pub(crate) fn by_hand() -> (tokio::sync::mpsc::Sender<Bytes>, Body) {
    let (sender, receiver) = tokio::sync::mpsc::channel(1);
    (sender, ByHand(receiver).boxed())
}

struct ByHand(tokio::sync::mpsc::Receiver<Bytes>);

impl http_body::Body for ByHand {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<std::io::Result<http_body::Frame<Bytes>>>> {
        self.0.poll_recv(cx).map(|piece| piece.map(|piece| Ok(http_body::Frame::data(piece))))
    }
}

/// What the edge says of a request, where it is not the usual.
#[derive(Clone, Copy)]
pub(crate) struct Said<'a> {
    pub(crate) path: Option<&'a str>,
    pub(crate) left: Duration,
    pub(crate) held: bool,
    pub(crate) subject: Option<&'a str>,
}

impl Default for Said<'_> {
    fn default() -> Self {
        Self { path: None, left: Duration::from_secs(30), held: false, subject: None }
    }
}

/// A signed request.
pub(crate) fn request(method: &str, target: &str) -> http::request::Builder {
    request_as(method, target, Said::default())
}

pub(crate) fn request_as(method: &str, target: &str, said: Said<'_>) -> http::request::Builder {
    let hop = sign(method, target, said);
    Request::builder().method(method).uri(target).header("host", AUTHORITY).header(HOP_HEADER, hop)
}

pub(crate) fn sign(method: &str, target: &str, said: Said<'_>) -> String {
    let key = HopKey::new("a", &Secret::new(HOP_SECRET.into())).unwrap();
    let keys = HopKeys::new(vec![key]).unwrap();
    let now = clock::unix_ms();
    let path = said.path.unwrap_or_else(|| target.split('?').next().unwrap());
    let hop = Hop {
        request_id: RequestId::new(now),
        client: "203.0.113.9:4711".parse().unwrap(),
        scheme: Scheme::Http,
        tls: None,
        subject: said.subject,
        fingerprint: None,
        path,
        left: said.left,
        edge: "edge-1",
        held: said.held,
    };
    keys.sign(&hop, method, AUTHORITY, target, now)
}
