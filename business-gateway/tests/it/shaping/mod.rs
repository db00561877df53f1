//! The shape of answers: what goes from the service to the client, and what does not.

mod compress;
mod cors;
mod fields;
mod fixed;
mod transform;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::net::TcpListener;

use crate::support::Site;
use crate::support::client::{Answer, Edge, empty, request};

/// What a service answers with.
#[derive(Clone)]
struct Said {
    status: u16,
    headers: Vec<(&'static str, String)>,
    /// One frame each; the length is announced where there is one.
    pieces: Vec<Bytes>,
    /// The body is broken off behind them.
    breaks: bool,
}

impl Said {
    fn json(text: impl Into<Bytes>) -> Self {
        Self::of("application/json", text)
    }

    fn of(content_type: &str, text: impl Into<Bytes>) -> Self {
        let headers = vec![("content-type", content_type.to_owned())];
        Self { status: 200, headers, pieces: vec![text.into()], breaks: false }
    }

    fn with(mut self, name: &'static str, value: &str) -> Self {
        self.headers.push((name, value.to_owned()));
        self
    }

    fn status(self, status: u16) -> Self {
        Self { status, ..self }
    }

    /// The body in pieces of so many bytes.
    fn cut(self, length: usize) -> Self {
        let pieces = self.pieces.concat();
        Self { pieces: pieces.chunks(length).map(Bytes::copy_from_slice).collect(), ..self }
    }
}

/// What it was asked.
#[derive(Debug, Clone)]
struct Asked {
    method: String,
    target: String,
    headers: HeaderMap,
    body: Bytes,
}

/// A service that says the same to everybody, until it is told to say something else.
struct Speaker {
    address: SocketAddr,
    says: Arc<Mutex<Said>>,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Speaker {
    async fn start(says: Said) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let speaker =
            Self { address: listener.local_addr().unwrap(), says: Arc::new(Mutex::new(says)), asked: Arc::default() };
        let (says, asked) = (Arc::clone(&speaker.says), Arc::clone(&speaker.asked));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (says, asked) = (Arc::clone(&says), Arc::clone(&asked));
                let service = service_fn(move |request: Request<Incoming>| {
                    let (says, asked) = (Arc::clone(&says), Arc::clone(&asked));
                    async move { Ok::<_, Infallible>(answer(request, &says, &asked).await) }
                });
                let builder = auto::Builder::new(TokioExecutor::new());
                tokio::spawn(async move { drop(builder.serve_connection(TokioIo::new(stream), service).await) });
            }
        });
        speaker
    }

    fn say(&self, said: Said) {
        *self.says.lock().unwrap() = said;
    }

    fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    /// The `[[service]]`.
    fn table(&self) -> String {
        format!("[[service]]\nname = \"sample\"\nendpoints = [\"{}\"]\n", self.address)
    }
}

type Pieces = StreamBody<futures_util::stream::Iter<std::vec::IntoIter<Result<Frame<Bytes>, std::io::Error>>>>;

async fn answer(request: Request<Incoming>, says: &Mutex<Said>, asked: &Mutex<Vec<Asked>>) -> Response<Pieces> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    let (method, target) = (parts.method.to_string(), parts.uri.to_string());
    asked.lock().unwrap().push(Asked { method, target, headers: parts.headers, body });
    let said = says.lock().unwrap().clone();
    let mut builder = Response::builder().status(said.status);
    for (name, value) in &said.headers {
        builder = builder.header(*name, value);
    }
    if let [piece] = said.pieces.as_slice()
        && !said.breaks
    {
        builder = builder.header("content-length", piece.len());
    }
    let mut frames: Vec<_> = said.pieces.into_iter().map(|piece| Ok(Frame::data(piece))).collect();
    if said.breaks {
        frames.push(Err(std::io::Error::other("broken off")));
    }
    builder.body(StreamBody::new(futures_util::stream::iter(frames))).unwrap()
}

/// A gateway with the catalog `text`, in which applications have keys from a file `api`.
async fn site(text: &str, settings: &str) -> Site {
    let site = Site::with("", settings).await;
    site.write("api", "k3y");
    site.write("catalog.toml", text);
    let outcome = site.gateway.live.reload();
    assert!(matches!(outcome, gatehouse_shared::live::ReloadOutcome::Replaced(_)), "{outcome:?}");
    site
}

/// An application with that field level.
fn app(key: &str, level: u8) -> String {
    format!(
        "[[app]]\nkey = \"{key}\"\npackages = [\"all\"]\nfield_level = {level}\n\
         api_keys = [{{ id = \"a\", secret = {{ file = \"api\" }} }}]\n"
    )
}

const PACKAGE: &str = "[[package]]\nname = \"all\"\napis = [\"*\"]\n";

async fn get_as(edge: &mut Edge, app: &str, target: &str) -> Answer {
    let mut sent = request("GET", target);
    if !app.is_empty() {
        sent = sent.header("x-api-key", format!("{app}.k3y"));
    }
    edge.exchange(sent.body(empty()).unwrap()).await
}
