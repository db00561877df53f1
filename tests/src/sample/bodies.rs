//! Bodies of every shape: generated downloads, counted uploads, mirrored streams, trailers.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, LazyLock};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, header};
use http_body::{Frame, SizeHint};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Either, Full};
use hyper::body::Incoming;
use ring::digest;
use serde_json::{Value, json};
use tokio::time::Sleep;

use super::connection::{Connection, Ending};
use super::query::Query;

/// An answer's body: one piece that is there already, or a stream.
pub type Body = Either<Full<Bytes>, BoxBody<Bytes, io::Error>>;

/// The pattern repeats every 251 bytes (a prime), so that a lost or doubled block of a usual size shows.
const PERIOD: usize = 251;

/// Bytes in one piece of a generated body: a whole number of periods, so that every piece is the same.
const PIECE: usize = PERIOD * 256;

/// The largest download generated: 16 GiB.
const MOST_BYTES: u64 = 16 << 30;

static PATTERN: LazyLock<Bytes> = LazyLock::new(|| (0..=250_u8).cycle().take(PIECE).collect::<Vec<_>>().into());

/// One piece of the body that `/stream/{bytes}` sends: byte `i` of the whole is `i % 251`.
#[must_use]
pub fn pattern() -> Bytes {
    PATTERN.clone()
}

/// A body of one piece.
#[must_use]
pub fn fixed(bytes: impl Into<Bytes>) -> Body {
    Either::Left(Full::new(bytes.into()))
}

/// An answer with `value` as its JSON body.
#[must_use]
pub fn json_answer(value: &Value) -> Response<Body> {
    let mut answer = Response::new(fixed(value.to_string()));
    answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    answer
}

/// `GET /stream/{bytes}`: so many bytes of the pattern. `chunked=1` leaves the length out, `piece=N` and `pause_ms=N` slow
/// it down, `cut=N` ends the connection after N bytes (`with=close|reset`).
#[must_use]
pub fn download(bytes: u64, query: Query<'_>, connection: &Arc<Connection>) -> Response<Body> {
    let left = bytes.min(MOST_BYTES);
    let ending = if query.text("with") == Some("close") { Ending::Close } else { Ending::Reset };
    let cut = query.text("cut").map(|_| Cut {
        after: query.number("cut", 0, MOST_BYTES),
        ending,
        connection: Arc::clone(connection),
    });
    let generated = Generated {
        left,
        sent: 0,
        piece: usize::try_from(query.number("piece", PIECE as u64, PIECE as u64)).unwrap_or(PIECE).max(1),
        length_known: !query.is_set("chunked"),
        pause: Duration::from_millis(query.number("pause_ms", 0, 60_000)),
        sleep: None,
        cut,
    };
    let mut answer = Response::new(Either::Right(generated.boxed()));
    answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    answer
}

/// Reads the whole body, keeping none of it, and tells how long it was and its SHA-256 in hex.
///
/// # Errors
/// The client ended the body early.
pub async fn digest_of(mut body: Incoming) -> Result<(u64, String), hyper::Error> {
    let mut context = digest::Context::new(&digest::SHA256);
    let mut length = 0_u64;
    while let Some(frame) = body.frame().await {
        if let Some(data) = frame?.data_ref() {
            length += data.len() as u64;
            context.update(data);
        }
    }
    Ok((length, hex(context.finish().as_ref())))
}

/// `POST /upload`: the length of the body and, unless `hash=no`, its SHA-256, as JSON.
///
/// # Errors
/// The client ended the body early.
pub async fn upload(request: Request<Incoming>) -> Result<Response<Body>, hyper::Error> {
    if Query::of(request.uri()).text("hash") != Some("no") {
        let (length, sha256) = digest_of(request.into_body()).await?;
        return Ok(json_answer(&json!({ "length": length, "sha256": sha256 })));
    }
    let mut body = request.into_body();
    let mut length = 0_u64;
    while let Some(frame) = body.frame().await {
        length += frame?.data_ref().map_or(0, |data| data.len() as u64);
    }
    Ok(json_answer(&json!({ "length": length })))
}

/// `/mirror`: sends the body back while it comes in, with its content type.
#[must_use]
pub fn mirror(request: Request<Incoming>) -> Response<Body> {
    let content_type = request.headers().get(header::CONTENT_TYPE).cloned();
    let mut answer = Response::new(Either::Right(request.into_body().map_err(io::Error::other).boxed()));
    if let Some(content_type) = content_type {
        answer.headers_mut().insert(header::CONTENT_TYPE, content_type);
    }
    answer
}

/// `/trailers`: sends the body back while it comes in, then the trailers `grpc-status: 0` and `x-body-bytes`.
#[must_use]
pub fn with_trailers(request: Request<Incoming>) -> Response<Body> {
    let echo = Trailing { body: request.into_body(), bytes: 0, is_over: false };
    let mut answer = Response::new(Either::Right(echo.boxed()));
    answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    answer.headers_mut().insert(header::TRAILER, HeaderValue::from_static("grpc-status, x-body-bytes"));
    answer
}

/// Lower-case hex.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .filter_map(|digit| char::from_digit(digit.into(), 16))
        .collect()
}

/// Where a generated body breaks off.
struct Cut {
    after: u64,
    ending: Ending,
    connection: Arc<Connection>,
}

/// A generated body.
struct Generated {
    left: u64,
    sent: u64,
    piece: usize,
    length_known: bool,
    pause: Duration,
    sleep: Option<Pin<Box<Sleep>>>,
    cut: Option<Cut>,
}

impl Generated {
    /// Time for what was sent to reach the peer before a reset overtakes it.
    const BEFORE_CUT: Duration = Duration::from_millis(50);

    fn next_length(&self) -> usize {
        let until_cut = self.cut.as_ref().map_or(u64::MAX, |cut| cut.after.saturating_sub(self.sent));
        usize::try_from(self.left.min(until_cut)).unwrap_or(usize::MAX).min(self.piece)
    }
}

impl http_body::Body for Generated {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        if let Some(sleep) = self.sleep.as_mut() {
            ready!(sleep.as_mut().poll(cx));
            self.sleep = None;
            if let Some(cut) = self.cut.as_ref().filter(|cut| self.sent >= cut.after) {
                cut.connection.end(cut.ending);
                return Poll::Pending;
            }
        }
        if self.left == 0 {
            return Poll::Ready(None);
        }
        let length = self.next_length();
        let start = usize::try_from(self.sent % PERIOD as u64).unwrap_or(0);
        let length = length.min(PIECE - start);
        if length == 0 {
            self.sleep = Some(Box::pin(tokio::time::sleep(Self::BEFORE_CUT)));
            return self.poll_frame(cx);
        }
        self.left -= length as u64;
        self.sent += length as u64;
        if !self.pause.is_zero() {
            self.sleep = Some(Box::pin(tokio::time::sleep(self.pause)));
        }
        Poll::Ready(Some(Ok(Frame::data(PATTERN.slice(start..start + length)))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        if self.length_known { SizeHint::with_exact(self.left) } else { SizeHint::default() }
    }
}

/// A body that is sent back, with trailers after it.
struct Trailing {
    body: Incoming,
    bytes: u64,
    is_over: bool,
}

impl http_body::Body for Trailing {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        if self.is_over {
            return Poll::Ready(None);
        }
        loop {
            match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                Some(Ok(frame)) => {
                    let Ok(data) = frame.into_data() else {
                        continue;
                    };
                    self.bytes += data.len() as u64;
                    return Poll::Ready(Some(Ok(Frame::data(data))));
                }
                Some(Err(error)) => return Poll::Ready(Some(Err(io::Error::other(error)))),
                None => {
                    self.is_over = true;
                    let mut trailers = HeaderMap::new();
                    trailers.insert("grpc-status", HeaderValue::from_static("0"));
                    trailers.insert("x-body-bytes", HeaderValue::from(self.bytes));
                    return Poll::Ready(Some(Ok(Frame::trailers(trailers))));
                }
            }
        }
    }
}
