//! A small service that does what its path says.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Empty, Full};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::AbortHandle;

type Body = BoxBody<Bytes, std::io::Error>;

/// A running service.
pub(crate) struct Service {
    pub(crate) address: SocketAddr,
    pub(crate) seen: Arc<Seen>,
    accepting: AbortHandle,
    connections: Arc<Mutex<Vec<AbortHandle>>>,
}

/// What it saw.
#[derive(Default)]
pub(crate) struct Seen {
    pub(crate) connections: AtomicUsize,
    pub(crate) requests: AtomicUsize,
    /// Requests whose answer has not begun, now and at most.
    pub(crate) under_way: AtomicUsize,
    pub(crate) most_under_way: AtomicUsize,
    /// `x-ledger-id` of every request executed.
    pub(crate) executed: Mutex<Vec<String>>,
}

impl Service {
    pub(crate) async fn start() -> Self {
        Self::at("127.0.0.1:0".parse().unwrap()).await
    }

    pub(crate) async fn at(address: SocketAddr) -> Self {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.set_reuseaddr(true).unwrap();
        socket.bind(address).unwrap();
        let listener = socket.listen(1024).unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Seen::default());
        let connections = Arc::new(Mutex::new(Vec::new()));
        let accepting = tokio::spawn(accept(listener, Arc::clone(&seen), Arc::clone(&connections))).abort_handle();
        Self { address, seen, accepting, connections }
    }

    pub(crate) fn connections(&self) -> usize {
        self.seen.connections.load(Ordering::Relaxed)
    }

    pub(crate) fn requests(&self) -> usize {
        self.seen.requests.load(Ordering::Relaxed)
    }

    pub(crate) fn executed(&self) -> Vec<String> {
        self.seen.executed.lock().unwrap().clone()
    }

    /// Closes every connection, but goes on listening.
    pub(crate) fn close_connections(&self) {
        for connection in self.connections.lock().unwrap().drain(..) {
            connection.abort();
        }
    }

    /// Ends as if killed.
    pub(crate) fn stop(&self) {
        self.accepting.abort();
        self.close_connections();
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.stop();
    }
}

async fn accept(listener: TcpListener, seen: Arc<Seen>, connections: Arc<Mutex<Vec<AbortHandle>>>) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        seen.connections.fetch_add(1, Ordering::Relaxed);
        let task = tokio::spawn(serve(stream, Arc::clone(&seen)));
        connections.lock().unwrap().push(task.abort_handle());
    }
}

async fn serve(stream: TcpStream, seen: Arc<Seen>) {
    // Raw misbehaviour is decided by the first bytes.
    let mut start = [0; 64];
    let read = stream.peek(&mut start).await.unwrap_or(0);
    let start = String::from_utf8_lossy(&start[..read]).into_owned();
    if start.contains(" /raw/") {
        return misbehave(stream, &start).await;
    }
    stream.set_nodelay(true).unwrap();
    let service = service_fn(move |request| {
        let seen = Arc::clone(&seen);
        async move {
            seen.requests.fetch_add(1, Ordering::Relaxed);
            if let Some(id) = request.headers().get("x-ledger-id") {
                seen.executed.lock().unwrap().push(id.to_str().unwrap().to_owned());
            }
            let _under_way = UnderWay::enter(&seen);
            Ok::<_, Infallible>(answer(request).await)
        }
    });
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().max_headers(256);
    drop(builder.serve_connection(TokioIo::new(stream), service).await);
}

/// A request whose answer has not begun.
struct UnderWay(Arc<Seen>);

impl UnderWay {
    fn enter(seen: &Arc<Seen>) -> Self {
        let under_way = seen.under_way.fetch_add(1, Ordering::SeqCst) + 1;
        seen.most_under_way.fetch_max(under_way, Ordering::SeqCst);
        Self(Arc::clone(seen))
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.under_way.fetch_sub(1, Ordering::SeqCst);
    }
}

async fn misbehave(mut stream: TcpStream, start: &str) {
    let answer: &[u8] = if start.contains("/raw/short-length") {
        b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc"
    } else if start.contains("/raw/short-chunked") {
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n"
    } else if start.contains("/raw/garbage") {
        b"not http at all\r\n\r\n"
    } else {
        // The request is read and nothing answered.
        let mut request = vec![0; 65_536];
        drop(tokio::io::AsyncReadExt::read(&mut stream, &mut request).await);
        b""
    };
    drop(stream.write_all(answer).await);
    drop(stream.flush().await);
}

async fn answer(request: Request<Incoming>) -> Response<Body> {
    let path = request.uri().path().to_owned();
    let query = request.uri().query().unwrap_or_default().to_owned();
    let number = || query.split('=').nth(1).and_then(|text| text.parse::<u64>().ok()).unwrap_or(0);
    match path.as_str() {
        "/slow" => {
            tokio::time::sleep(Duration::from_millis(number())).await;
            text("slow")
        }
        "/hang" => std::future::pending().await,
        "/status" => {
            let mut answer = Response::new(empty());
            *answer.status_mut() = StatusCode::from_u16(u16::try_from(number()).unwrap()).unwrap();
            answer
        }
        "/upload" => {
            let mut sum = 0;
            let mut body = request.into_body();
            while let Some(Ok(frame)) = body.frame().await {
                sum += frame.data_ref().map_or(0, Bytes::len);
            }
            text(format!("{sum}"))
        }
        "/early" => {
            let mut answer = text("enough");
            *answer.status_mut() = StatusCode::PAYLOAD_TOO_LARGE;
            answer
        }
        "/chunked" => Response::new(pieces(vec!["one ", "two ", "three"], None)),
        "/stall" => Response::new(pieces(vec!["one "], Some(Stall))),
        "/trailers" => Response::new(with_trailers()),
        _ => echo(request).await,
    }
}

async fn echo(request: Request<Incoming>) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let length = body.collect().await.map_or(0, |body| body.to_bytes().len());
    let headers: Vec<(String, String)> = parts
        .headers
        .iter()
        .map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
        .collect();
    let value = serde_json::json!({
        "method": parts.method.as_str(), "target": parts.uri.to_string(), "version": format!("{:?}", parts.version),
        "headers": headers, "length": length,
    });
    let mut answer = text(value.to_string());
    answer.headers_mut().insert("connection", "x-private".parse().unwrap());
    answer.headers_mut().insert("x-private", "1".parse().unwrap());
    answer
        .headers_mut()
        .insert("x-gatehouse-result", "v=1, origin=service, auth=app, cost=9, retry=safe".parse().unwrap());
    if parts.version == http::Version::HTTP_2 {
        answer.headers_mut().remove("connection");
    }
    answer
}

fn text(text: impl Into<Bytes>) -> Response<Body> {
    Response::new(Full::new(text.into()).map_err(|never| match never {}).boxed())
}

fn empty() -> Body {
    Empty::new().map_err(|never| match never {}).boxed()
}

/// The body never ends.
struct Stall;

struct Pieces(Vec<&'static str>, Option<Stall>);

impl hyper::body::Body for Pieces {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<std::io::Result<Frame<Bytes>>>> {
        use std::task::Poll;
        if self.0.is_empty() {
            return if self.1.is_some() { Poll::Pending } else { Poll::Ready(None) };
        }
        Poll::Ready(Some(Ok(Frame::data(self.0.remove(0).into()))))
    }
}

fn pieces(pieces: Vec<&'static str>, stall: Option<Stall>) -> Body {
    Pieces(pieces, stall).boxed()
}

fn with_trailers() -> Body {
    let trailers =
        async { Some(Ok(http::HeaderMap::from_iter([("grpc-status".parse().unwrap(), "0".parse().unwrap())]))) };
    Full::new(Bytes::from("data")).map_err(|never| match never {}).with_trailers(trailers).boxed()
}
