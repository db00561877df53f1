//! HTTP/2 from the edge: one task takes what comes on a connection, and one a call answers it.
//!
//! It does for calls what hyper's server does, without what that has for others: extended CONNECT, pings that measure the way, and look-ups
//! for fields that no answer of this tier has (decision 0015). hyper still serves HTTP/1.1.

use std::cell::RefCell;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use gatehouse_shared::clock;
use h2::server::{Builder, Connection, Handshake, SendResponse};
use h2::{Reason, RecvStream, SendStream};
use http::{HeaderMap, HeaderValue, Request, Response, header};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::io::{AsyncRead, AsyncWrite};

use super::Bounds;
use super::connection::Served;

/// Bytes with which every connection of HTTP/2 begins, as far as they tell it from HTTP/1.1: no method begins like that.
pub const PREFACE: &[u8] = b"PRI";

/// The future of an answer.
pub type Answering<B> = Pin<Box<dyn Future<Output = Response<B>> + Send>>;

/// Answers the requests of a connection.
pub trait Answers: Unpin {
    /// The body of its answers.
    type Body: Body<Data = Bytes, Error: std::fmt::Display + Send> + Send + 'static;

    /// The connection has begun as HTTP/2 does; until then its beginning is timed as a head is.
    fn greeted(&self);

    /// Begins to answer a request.
    fn answer(&self, request: Request<Arriving>) -> Answering<Self::Body>;
}

/// The body of a request as it arrives.
#[derive(Debug)]
pub enum Arriving {
    /// Over HTTP/1.1.
    Http1(Incoming),
    /// Over HTTP/2, with the length that is stated.
    Http2(RecvStream, Option<u64>),
}

impl Body for Arriving {
    type Data = Bytes;
    type Error = Box<dyn std::error::Error + Send + Sync>;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let (body, left) = match self.get_mut() {
            Self::Http1(body) => return Pin::new(body).poll_frame(cx).map_err(Into::into),
            Self::Http2(body, left) => (body, left),
        };
        match ready!(body.poll_data(cx)) {
            Some(Ok(piece)) => {
                if let Some(left) = left {
                    *left = left.saturating_sub(u64::try_from(piece.len()).unwrap_or(u64::MAX));
                }
                // Whoever takes a piece has room for it; what is not taken is bounded by the window.
                body.flow_control().release_capacity(piece.len())?;
                Poll::Ready(Some(Ok(Frame::data(piece))))
            }
            // Whatever the edge's reason: a body that broke off must not be taken for a whole one.
            Some(Err(error)) => Poll::Ready(Some(Err(error.into()))),
            None => match ready!(body.poll_trailers(cx)) {
                Ok(trailers) => Poll::Ready(trailers.map(|trailers| Ok(Frame::trailers(trailers)))),
                Err(error) => Poll::Ready(Some(Err(error.into()))),
            },
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Http1(body) => body.is_end_stream(),
            Self::Http2(body, _) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Http1(body) => body.size_hint(),
            Self::Http2(_, left) => left.map_or_else(SizeHint::default, SizeHint::with_exact),
        }
    }
}

/// A connection of HTTP/2.
pub struct Http2<T, A> {
    state: State<T>,
    answers: A,
}

enum State<T> {
    Greeting(Handshake<T, Bytes>),
    Serving(Connection<T, Bytes>),
    Ended,
}

impl<T: AsyncRead + AsyncWrite + Unpin, A: Answers> Http2<T, A> {
    /// A connection of which nothing has been read yet.
    pub fn new(stream: T, bounds: &Bounds, answers: A) -> Self {
        let http2 = &bounds.http2;
        let greeting = Builder::new()
            .max_concurrent_streams(http2.streams_max)
            .initial_window_size(http2.stream_window)
            .initial_connection_window_size(http2.connection_window)
            .max_pending_accept_reset_streams(http2.pending_resets_max)
            .max_header_list_size(u32::try_from(bounds.head_max).unwrap_or(u32::MAX))
            .handshake(stream);
        Self { state: State::Greeting(greeting), answers }
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<bool, h2::Error>> {
        match &mut self.state {
            State::Greeting(greeting) => {
                self.state = State::Serving(ready!(Pin::new(greeting).poll(cx))?);
                self.answers.greeted();
            }
            State::Serving(connection) => match ready!(connection.poll_accept(cx)) {
                Some(call) => {
                    let (request, reply) = call?;
                    tokio::spawn(reply_with(self.answers.answer(arriving(request)), reply));
                }
                None => return Poll::Ready(Ok(false)),
            },
            State::Ended => return Poll::Ready(Ok(false)),
        }
        Poll::Ready(Ok(true))
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin, A: Answers> Future for Http2<T, A> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            match ready!(self.poll_next(cx)) {
                Ok(true) => {}
                Ok(false) => return Poll::Ready(()),
                Err(error) => {
                    tracing::debug!(%error, "connection ended");
                    return Poll::Ready(());
                }
            }
        }
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin, A: Answers> Served for Http2<T, A> {
    fn stop(mut self: Pin<&mut Self>) {
        match &mut self.state {
            State::Serving(connection) => connection.graceful_shutdown(),
            State::Greeting(_) | State::Ended => self.state = State::Ended,
        }
    }
}

/// A request with the length that it states: h2 holds the body to it.
fn arriving(request: Request<RecvStream>) -> Request<Arriving> {
    let length = match request.body().is_end_stream() {
        true => Some(0),
        false => request.headers().get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok()),
    };
    request.map(|body| Arriving::Http2(body, length))
}

/// Answers one call; a call whose stream the edge resets is dropped where it stands.
async fn reply_with<B: Body<Data = Bytes, Error: std::fmt::Display>>(
    answering: Answering<B>,
    mut reply: SendResponse<Bytes>,
) {
    let Some(answer) = unless_reset(answering, &mut reply).await else { return };
    let (mut head, body) = answer.into_parts();
    let is_end = body.is_end_stream();
    let length = if is_end { None } else { body.size_hint().exact() };
    complete(&mut head.headers, length);
    match reply.send_response(Response::from_parts(head, ()), is_end) {
        Ok(stream) if !is_end => send(body, stream).await,
        Ok(_) => {}
        Err(error) => {
            tracing::debug!(%error, "an answer that cannot be sent");
            reply.send_reset(Reason::INTERNAL_ERROR);
        }
    }
}

async fn unless_reset<B>(mut answering: Answering<B>, reply: &mut SendResponse<Bytes>) -> Option<Response<B>> {
    poll_fn(|cx| match answering.as_mut().poll(cx) {
        Poll::Ready(answer) => Poll::Ready(Some(answer)),
        Poll::Pending => reply.poll_reset(cx).map(|_reset| None),
    })
    .await
}

/// Sends a body to its end. Of what the edge has no window for, one piece at most waits here.
async fn send<B: Body<Data = Bytes, Error: std::fmt::Display>>(body: B, mut stream: SendStream<Bytes>) {
    let mut body = std::pin::pin!(body);
    loop {
        let next = poll_fn(|cx| match body.as_mut().poll_frame(cx) {
            Poll::Ready(next) => Poll::Ready(Ok(next)),
            Poll::Pending => stream.poll_reset(cx).map(Err),
        });
        let sent = match next.await {
            Ok(Some(Ok(frame))) => match frame.into_data() {
                Ok(piece) => {
                    let is_end = body.is_end_stream();
                    let sent = stream.send_data(piece, is_end);
                    if is_end || sent.is_err() {
                        return;
                    }
                    has_room(&mut stream).await
                }
                Err(frame) => {
                    if let Ok(trailers) = frame.into_trailers()
                        && let Err(error) = stream.send_trailers(trailers)
                    {
                        tracing::debug!(%error, "trailers that cannot be sent");
                        stream.send_reset(Reason::INTERNAL_ERROR);
                    }
                    return;
                }
            },
            Ok(None) => {
                // The stream is gone, or it is not: nobody is left to tell.
                drop(stream.send_data(Bytes::new(), true));
                return;
            }
            Ok(Some(Err(error))) => {
                tracing::debug!(%error, "an answer is broken off");
                stream.send_reset(Reason::INTERNAL_ERROR);
                return;
            }
            Err(_reset) => return,
        };
        if !sent {
            return;
        }
    }
}

/// Waits until the edge takes more; false when it never will.
async fn has_room(stream: &mut SendStream<Bytes>) -> bool {
    stream.reserve_capacity(1);
    poll_fn(|cx| {
        while stream.capacity() == 0 {
            match ready!(stream.poll_capacity(cx)) {
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return Poll::Ready(false),
            }
        }
        Poll::Ready(true)
    })
    .await
}

/// Adds what every answer says: when it was made, and how long it is where that is known. What belongs to a connection of HTTP/1
/// alone, and HTTP/2 forbids, is left out.
fn complete(headers: &mut HeaderMap, length: Option<u64>) {
    let (mut has_date, mut has_length, mut is_clean) = (false, false, true);
    for name in headers.keys() {
        has_date |= *name == header::DATE;
        has_length |= *name == header::CONTENT_LENGTH;
        is_clean &= !is_of_connection(name.as_str());
    }
    if !is_clean {
        let foreign: Vec<_> = headers.keys().filter(|name| is_of_connection(name.as_str())).cloned().collect();
        for name in foreign {
            headers.remove(name);
        }
    }
    if !has_date {
        headers.insert(header::DATE, date());
    }
    if let Some(length) = length.filter(|_| !has_length) {
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    }
}

/// RFC 9113, section 8.2.2.
fn is_of_connection(name: &str) -> bool {
    matches!(name, "connection" | "proxy-connection" | "keep-alive" | "transfer-encoding" | "upgrade")
}

/// Now, as RFC 9110 (section 5.6.7) writes it; made once a second.
fn date() -> HeaderValue {
    thread_local! {
        static LAST: RefCell<(u64, HeaderValue)> = const { RefCell::new((0, HeaderValue::from_static(""))) };
    }
    let second = clock::unix_ms() / 1000;
    LAST.with_borrow_mut(|(made, value)| {
        if *made != second {
            let at = i64::try_from(second).ok().and_then(|second| jiff::Timestamp::from_second(second).ok());
            let text = at.map(|at| at.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()).unwrap_or_default();
            (*made, *value) = (second, HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static("")));
        }
        value.clone()
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use h2::client::{self, SendRequest};
    use http_body_util::{BodyExt as _, Full, StreamBody, combinators::BoxBody};
    use tokio::io::DuplexStream;
    use tokio::sync::Notify;

    use super::*;
    use crate::accept::Config;

    /// Answers with what was sent to it; `/wait` when it is told to, `/broken` with half an answer.
    #[derive(Clone, Default)]
    struct Echo {
        go: Arc<Notify>,
        asked: Arc<Notify>,
        dropped: Arc<AtomicUsize>,
    }

    struct Guard(Arc<AtomicUsize>, Arc<Notify>);

    impl Drop for Guard {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::SeqCst);
            self.1.notify_one();
        }
    }

    impl Answers for Echo {
        type Body = BoxBody<Bytes, String>;

        fn greeted(&self) {}

        fn answer(&self, request: Request<Arriving>) -> Answering<Self::Body> {
            let this = self.clone();
            Box::pin(async move {
                let guard = Guard(Arc::clone(&this.dropped), Arc::clone(&this.go));
                let whole = |text: String| Full::new(Bytes::from(text)).map_err(|never| match never {}).boxed();
                this.asked.notify_one();
                match request.uri().path() {
                    "/wait" => this.go.notified().await,
                    "/broken" => {
                        let pieces = [Ok(Frame::data(Bytes::from_static(b"half"))), Err("broken".to_owned())];
                        return Response::new(StreamBody::new(futures_util::stream::iter(pieces)).boxed());
                    }
                    _ => {}
                }
                let stated = request.body().size_hint().exact();
                let text = match request.into_body().collect().await {
                    Ok(body) => format!("{stated:?} {}", body.to_bytes().len()),
                    Err(_) => "broken".to_owned(),
                };
                drop(guard);
                Response::builder().header("connection", "close").header("upgrade", "x").body(whole(text)).unwrap()
            })
        }
    }

    async fn connected(echo: Echo) -> (SendRequest<Bytes>, tokio::task::JoinHandle<()>, Arc<Notify>) {
        let (near, far): (DuplexStream, DuplexStream) = tokio::io::duplex(64 * 1024);
        let bounds = Bounds::compile(&Config::default(), &Default::default()).unwrap();
        let stop = Arc::new(Notify::new());
        let stopped = Arc::clone(&stop);
        let served = tokio::spawn(async move {
            let mut connection = Http2::new(far, &bounds, echo);
            tokio::select! {
                () = &mut connection => return,
                () = stopped.notified() => Pin::new(&mut connection).stop(),
            }
            connection.await;
        });
        let (sender, connection) = client::handshake(near).await.unwrap();
        tokio::spawn(connection);
        (sender, served, stop)
    }

    fn to(path: &str) -> http::request::Builder {
        Request::post(format!("http://a.example{path}"))
    }

    async fn text(answer: client::ResponseFuture) -> Result<String, h2::Error> {
        let mut body = answer.await?.into_body();
        let mut text = Vec::new();
        while let Some(piece) = body.data().await {
            text.extend_from_slice(&piece?);
        }
        Ok(String::from_utf8(text).unwrap())
    }

    #[tokio::test]
    async fn a_body_is_whole_or_broken_whatever_breaks_it() {
        let echo = Echo::default();
        let (mut sender, ..) = connected(echo.clone()).await;
        let (answer, _) = sender.send_request(to("/").body(()).unwrap(), true).unwrap();
        assert_eq!(text(answer).await.unwrap(), "Some(0) 0");
        let stated = to("/").header("content-length", "3").body(()).unwrap();
        let (answer, mut body) = sender.send_request(stated, false).unwrap();
        body.send_data(Bytes::from_static(b"one"), true).unwrap();
        assert_eq!(text(answer).await.unwrap(), "Some(3) 3");
        let (answer, mut body) = sender.send_request(to("/").body(()).unwrap(), false).unwrap();
        body.send_data(Bytes::from_static(b"one"), false).unwrap();
        body.send_data(Bytes::from_static(b"two"), true).unwrap();
        assert_eq!(text(answer).await.unwrap(), "None 6");
        for reason in [Reason::NO_ERROR, Reason::CANCEL, Reason::INTERNAL_ERROR] {
            let (answer, mut body) = sender.send_request(to("/").body(()).unwrap(), false).unwrap();
            body.send_data(Bytes::from_static(b"one"), false).unwrap();
            echo.asked.notified().await;
            body.send_reset(reason);
            assert!(text(answer).await.is_err());
        }
    }

    #[tokio::test]
    async fn an_answer_says_when_it_was_made_and_how_long_it_is_and_nothing_of_a_connection() {
        let (mut sender, ..) = connected(Echo::default()).await;
        let (answer, _) = sender.send_request(to("/").body(()).unwrap(), true).unwrap();
        let (head, _) = answer.await.unwrap().into_parts();
        let names: Vec<&str> = head.headers.keys().map(http::HeaderName::as_str).collect();
        assert_eq!(names, ["date", "content-length"]);
        assert_eq!(head.headers[header::CONTENT_LENGTH], "9");
        let date = head.headers[header::DATE].to_str().unwrap();
        let read = jiff::fmt::rfc2822::parse(date).unwrap().timestamp().as_second();
        let now = i64::try_from(clock::unix_ms() / 1000).unwrap();
        assert!(date.ends_with(" GMT") && date.len() == 29 && (now - 5..=now).contains(&read), "{date}");
    }

    #[tokio::test]
    async fn a_call_whose_stream_is_reset_is_dropped_where_it_stands() {
        let echo = Echo::default();
        let (mut sender, ..) = connected(echo.clone()).await;
        let (answer, mut body) = sender.send_request(to("/wait").body(()).unwrap(), false).unwrap();
        echo.asked.notified().await;
        body.send_reset(Reason::CANCEL);
        assert!(answer.await.is_err());
        // Nobody has told it to go on but its own end.
        echo.go.notified().await;
        assert_eq!(echo.dropped.load(Ordering::SeqCst), 1);
    }

    #[tokio::test]
    async fn an_answer_that_breaks_off_never_looks_whole() {
        let (mut sender, ..) = connected(Echo::default()).await;
        let (answer, _) = sender.send_request(to("/broken").body(()).unwrap(), true).unwrap();
        assert_eq!(text(answer).await.unwrap_err().reason(), Some(Reason::INTERNAL_ERROR));
    }

    #[tokio::test]
    async fn a_connection_that_is_stopped_answers_what_is_under_way_and_ends() {
        let echo = Echo::default();
        let (mut sender, served, stop) = connected(echo.clone()).await;
        let (answer, _) = sender.send_request(to("/wait").body(()).unwrap(), true).unwrap();
        echo.asked.notified().await;
        stop.notify_one();
        // The edge learns of it before the answer is there.
        let mut refused = sender.clone();
        while refused.send_request(to("/").body(()).unwrap(), true).is_ok() {
            tokio::task::yield_now().await;
        }
        echo.go.notify_one();
        assert_eq!(text(answer).await.unwrap(), "Some(0) 0");
        drop((sender, refused));
        served.await.unwrap();
    }
}
