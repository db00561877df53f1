//! An entrance on a free port, an upstream that records what reaches it, and clients that speak in raw bytes.

use std::any::Any;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arc_swap::ArcSwap;
use async_trait::async_trait;
use bytes::Bytes;
use gatehouse_shared::live::{Generation, Load};
use pingora::apps::ServerApp;
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::listeners::ListenerConfig;
use pingora::protocols::l4::stream::Stream as Socket;
use pingora::protocols::{GetSocketDigest, SocketDigest};
use pingora::proxy::{FailToProxy, HttpProxy, ProxyHttp, Session};
use pingora::server::configuration::ServerConf;
use pingora::services::Service as ServiceTrait;
use pingora::services::listening::Service;
use pingora::upstreams::peer::HttpPeer;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::timeout;

use crate::accept::{
    Arrival, Bound, Bounds, Connection, Connections, Entrance, Refusal, Refusals, socket_buffers, violation_of,
};
use crate::admit::Denial;
use crate::policy::Policy;

/// Longest any test waits for anything.
pub(super) const PATIENCE: Duration = Duration::from_secs(20);

/// A policy with one listener; `rest` follows its address in `edge.toml`. `dir` holds certificates.
pub(super) fn load(dir: &Path, rest: &str, before: Option<&Policy>) -> Policy {
    let text = format!(
        "[process]\nstate_dir = \"state\"\n[[process.listener]]\naddress = \"127.0.0.1:0\"\n{rest}\n[hop]\n\
         keys = [{{ id = \"a\", secret = {{ file = \"hop.key\" }} }}]\n\
         [[cluster]]\nname = \"business\"\nnodes = [\"127.0.0.1:1\"]\n[[route]]\ncluster = \"business\"\n"
    );
    std::fs::write(dir.join("edge.toml"), text).unwrap();
    std::fs::write(dir.join("hop.key"), "k".repeat(32)).unwrap();
    Policy::load(dir, before).unwrap_or_else(|errors| panic!("{errors}")).value
}

/// The defaults.
pub(in crate::accept) fn bounds() -> Bounds {
    policy().accept
}

/// The defaults, with one route for everything.
pub(in crate::accept) fn policy() -> Policy {
    load(tempfile::tempdir().unwrap().path(), "", None)
}

fn generation(number: u64, policy: Policy) -> Arc<Generation<Policy>> {
    Arc::new(Generation { number, source_hash: String::new(), loaded_unix_ms: 0, value: policy })
}

/// The smallest gateway: relays, and shows the client what the way in found out.
pub(super) struct Relay {
    upstream: SocketAddr,
}

#[async_trait]
impl ProxyHttp for Relay {
    type CTX = Option<Box<Arrival>>;

    fn new_ctx(&self) -> Self::CTX {
        None
    }

    fn on_connection_reuse(&self, _: &mut Session, context: &mut Self::CTX, arrival: Box<dyn Any + Send + Sync>) {
        *context = arrival.downcast().ok();
    }

    async fn early_request_filter(&self, session: &mut Session, context: &mut Self::CTX) -> pingora::Result<()> {
        if context.is_none() {
            *context = Arrival::of_http2(session);
        }
        let arrival = context.as_ref().expect("every request has an arrival");
        if arrival.message.expects_continue {
            session.as_downstream_mut().write_continue_response().await?;
        }
        Ok(())
    }

    async fn request_body_filter(
        &self,
        session: &mut Session,
        body: &mut Option<Bytes>,
        is_end: bool,
        context: &mut Self::CTX,
    ) -> pingora::Result<()> {
        context.as_ref().map_or(Ok(()), |arrival| arrival.bound_body(session, is_end || body.is_none()))
    }

    async fn upstream_peer(&self, _: &mut Session, _: &mut Self::CTX) -> pingora::Result<Box<HttpPeer>> {
        Ok(Box::new(HttpPeer::new(self.upstream, false, String::new())))
    }

    async fn upstream_request_filter(
        &self,
        _: &mut Session,
        request: &mut RequestHeader,
        context: &mut Self::CTX,
    ) -> pingora::Result<()> {
        let arrival = context.as_ref().expect("every request has an arrival");
        request.remove_header("expect");
        request.insert_header("host", arrival.message.authority())?;
        request.set_uri(arrival.message.raw_target().parse().expect("a target is a URI"));
        request.set_version(http::Version::HTTP_11);
        Ok(())
    }

    async fn response_filter(
        &self,
        _: &mut Session,
        response: &mut ResponseHeader,
        context: &mut Self::CTX,
    ) -> pingora::Result<()> {
        let arrival = context.as_ref().expect("every request has an arrival");
        arrival.answered();
        let connection = &arrival.connection;
        response.insert_header("x-generation", arrival.policy.number)?;
        response.insert_header("x-path", arrival.message.canonical_path())?;
        response.insert_header("x-host", arrival.message.host())?;
        response.insert_header("x-source", connection.source.to_string())?;
        response.insert_header("x-peer", connection.peer.ip().to_string())?;
        response.insert_header("x-index", arrival.request_index)?;
        response.insert_header("x-http2", connection.is_http2.to_string())?;
        if let Some(tls) = &connection.tls {
            let client = tls.client.as_ref().map_or("none", |client| &client.subject);
            response.insert_header(
                "x-tls",
                format!("{} {} {client}", tls.version, tls.server_name.as_deref().unwrap_or("-")),
            )?;
        }
        Ok(())
    }

    async fn fail_to_proxy(&self, session: &mut Session, error: &pingora::Error, _: &mut Self::CTX) -> FailToProxy {
        let status = violation_of(error).map_or(502, |reason| reason.status);
        if session.response_written().is_none() {
            drop(session.respond_error(status).await);
        }
        FailToProxy { error_code: status, can_reuse_downstream: false }
    }

    fn suppress_error_log(&self, _: &Session, _: &Self::CTX, _: &pingora::Error) -> bool {
        true
    }
}

/// Remembers the codes of refusals.
#[derive(Default)]
pub(super) struct Codes(Mutex<Vec<&'static str>>);

impl Refusals for Codes {
    fn refused(&self, refusal: &Refusal<'_>) {
        self.0.lock().unwrap().push(refusal.reason.code);
    }

    fn turned_away(&self, _: &Connection, denial: &Denial) {
        self.0.lock().unwrap().push(denial.reason.code);
    }
}

/// An edge made of the way in alone.
pub(super) struct Edge {
    pub(super) address: SocketAddr,
    pub(super) connections: Arc<Connections>,
    pub(super) upstream: Upstream,
    codes: Arc<Codes>,
    policy: Arc<ArcSwap<Generation<Policy>>>,
    stop: watch::Sender<bool>,
}

impl Edge {
    /// `rest` follows the one listener's address in the configuration.
    pub(super) async fn start(rest: &str) -> Self {
        Self::start_in(tempfile::tempdir().unwrap().path(), rest).await
    }

    pub(super) async fn start_in(dir: &Path, rest: &str) -> Self {
        Self::start_as(dir, rest, false).await
    }

    /// Inside the service that Pingora makes of it, listeners and all.
    pub(super) async fn start_hosted(rest: &str) -> Self {
        Self::start_as(tempfile::tempdir().unwrap().path(), rest, true).await
    }

    async fn start_as(dir: &Path, rest: &str, is_hosted: bool) -> Self {
        let upstream = Upstream::start().await;
        let policy = Arc::new(ArcSwap::new(generation(1, load(dir, rest, None))));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let conf = Arc::new(ServerConf::default());
        let mut proxy = HttpProxy::new(Relay { upstream: upstream.address }, conf);
        proxy.handle_init_modules();
        let codes = Arc::new(Codes::default());
        let connections = Connections::new(10_000);
        let bound = Bound { index: 0, address, listener: Arc::clone(&policy.load().value.accept.listeners[0]) };
        let current = Arc::clone(&policy);
        let entrance = Entrance::new(
            Arc::new(proxy),
            Arc::new(move || current.load_full()),
            Arc::clone(&codes) as Arc<dyn Refusals>,
            Arc::clone(&connections),
            vec![bound],
        );
        let (stop, shutdown) = watch::channel(false);
        if is_hosted {
            drop(listener);
            let endpoint = ListenerConfig::tcp(address.to_string()).l4_buffer(socket_buffers());
            let mut service = Service::new("edge".to_owned(), entrance);
            service.add_listener(endpoint);
            tokio::spawn(async move { ServiceTrait::start_service(&mut service, None, shutdown, 1).await });
            reachable(address).await;
        } else {
            tokio::spawn(take_connections(listener, Arc::new(entrance), shutdown));
        }
        Self { address, connections, upstream, codes, policy, stop }
    }

    /// Another generation comes into force.
    pub(super) fn reload(&self, rest: &str) {
        self.reload_in(tempfile::tempdir().unwrap().path(), rest);
    }

    pub(super) fn reload_in(&self, dir: &Path, rest: &str) {
        let before = self.policy.load_full();
        let policy = load(dir, rest, Some(&before.value));
        self.policy.store(generation(before.number + 1, policy));
    }

    pub(super) fn shut_down(&self) {
        self.stop.send(true).unwrap();
    }

    /// The codes of all refusals so far.
    pub(super) fn refused(&self) -> Vec<&'static str> {
        self.codes.0.lock().unwrap().clone()
    }

    pub(super) async fn connect(&self) -> Client<TcpStream> {
        Client::new(TcpStream::connect(self.address).await.unwrap())
    }

    /// Everything the edge answers to these bytes on a connection of their own.
    pub(super) async fn answer(&self, request: impl AsRef<[u8]>) -> String {
        let mut client = self.connect().await;
        client.send(request).await;
        client.rest().await
    }
}

/// What Pingora's listening service does, on a listener that is bound already.
async fn take_connections(listener: TcpListener, entrance: Arc<Entrance<Relay>>, shutdown: watch::Receiver<bool>) {
    while let Ok((stream, peer)) = listener.accept().await {
        stream.set_nodelay(true).unwrap();
        let digest = SocketDigest::from_raw_fd(stream.as_raw_fd());
        digest.peer_addr.set(Some(peer.into())).unwrap();
        let mut socket = Socket::from(stream);
        socket.set_socket_digest(digest);
        let (entrance, shutdown) = (Arc::clone(&entrance), shutdown.clone());
        tokio::spawn(async move { entrance.process_new(Box::new(socket), &shutdown).await });
    }
}

async fn reachable(address: SocketAddr) {
    let trying = async {
        while TcpStream::connect(address).await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, trying).await.expect("the service listens");
}

/// Polls a condition until it holds.
pub(super) async fn until(what: &str, condition: impl Fn() -> bool) {
    let waiting = async {
        while !condition() {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, waiting).await.unwrap_or_else(|_| panic!("never: {what}"));
}

/// A client that speaks in raw bytes.
pub(super) struct Client<S> {
    pub(super) stream: S,
    read: Vec<u8>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Client<S> {
    pub(super) fn new(stream: S) -> Self {
        Self { stream, read: Vec::new() }
    }

    pub(super) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).await.unwrap();
        self.stream.flush().await.unwrap();
    }

    /// Everything until the edge closes; a reset fails the test.
    pub(super) async fn rest(&mut self) -> String {
        let mut rest = std::mem::take(&mut self.read);
        timeout(PATIENCE, self.stream.read_to_end(&mut rest)).await.expect("the edge closes").expect("without a reset");
        String::from_utf8(rest).unwrap()
    }

    /// One answer with a Content-Length, head and body.
    pub(super) async fn answer(&mut self) -> String {
        let reading = async {
            loop {
                if let Some(end) = find(&self.read, b"\r\n\r\n") {
                    let head = String::from_utf8(self.read[..end + 4].to_vec()).unwrap().to_ascii_lowercase();
                    let is_interim = head.starts_with("http/1.1 1");
                    let length = head.split("content-length: ").nth(1).and_then(|rest| rest.split("\r\n").next());
                    let length = if is_interim { 0 } else { length.map_or(0, |length| length.parse().unwrap()) };
                    if self.read.len() >= end + 4 + length {
                        let rest = self.read.split_off(end + 4 + length);
                        let answer = std::mem::replace(&mut self.read, rest);
                        return String::from_utf8(answer).unwrap();
                    }
                }
                if self.stream.read_buf(&mut self.read).await.unwrap() == 0 {
                    return format!("closed after {:?}", String::from_utf8_lossy(&self.read));
                }
            }
        };
        timeout(PATIENCE, reading).await.expect("an answer")
    }
}

/// An HTTP/1 service that answers `METHOD target length` and keeps every byte it was sent. `/early…` is answered before the
/// body is read, `/held…` once [`Upstream::release`] is called.
#[derive(Clone)]
pub(super) struct Upstream {
    pub(super) address: SocketAddr,
    received: Arc<Mutex<Vec<u8>>>,
    released: watch::Sender<bool>,
}

impl Upstream {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let upstream = Self { address, received: Arc::default(), released: watch::Sender::new(false) };
        let service = upstream.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let service = service.clone();
                tokio::spawn(async move { service.serve(stream).await });
            }
        });
        upstream
    }

    /// Every byte that reached it.
    pub(super) fn received(&self) -> String {
        String::from_utf8_lossy(&self.received.lock().unwrap()).into_owned()
    }

    pub(super) fn release(&self) {
        self.released.send_replace(true);
    }

    async fn serve(&self, mut stream: TcpStream) -> Option<()> {
        let mut bytes = VecDeque::new();
        loop {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(self.byte(&mut stream, &mut bytes).await?);
            }
            let head = String::from_utf8(head).unwrap();
            let lower = head.to_ascii_lowercase();
            let target = head.split(' ').nth(1).unwrap().to_owned();
            let is_early = target.starts_with("/early");
            if target.starts_with("/held") {
                self.released.subscribe().wait_for(|is_released| *is_released).await.ok()?;
            }
            let mut length = 0_usize;
            if is_early {
                // Answered below without a look at the body.
            } else if let Some(stated) = lower.split("content-length: ").nth(1) {
                length = stated.split("\r\n").next().unwrap().parse().unwrap();
                for _ in 0..length {
                    self.byte(&mut stream, &mut bytes).await?;
                }
            } else if lower.contains("transfer-encoding: chunked") {
                loop {
                    let mut line = Vec::new();
                    while !line.ends_with(b"\r\n") {
                        line.push(self.byte(&mut stream, &mut bytes).await?);
                    }
                    let size = usize::from_str_radix(std::str::from_utf8(&line).unwrap().trim(), 16).unwrap();
                    for _ in 0..size + 2 {
                        self.byte(&mut stream, &mut bytes).await?;
                    }
                    length += size;
                    if size == 0 {
                        break;
                    }
                }
            }
            let body = format!("{} {target} {length}", head.split(' ').next().unwrap());
            let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len());
            stream.write_all(answer.as_bytes()).await.ok()?;
        }
    }

    async fn byte(&self, stream: &mut TcpStream, bytes: &mut VecDeque<u8>) -> Option<u8> {
        if bytes.is_empty() {
            let mut buffer = vec![0; 64 * 1024];
            let count = stream.read(&mut buffer).await.ok().filter(|count| *count > 0)?;
            self.received.lock().unwrap().extend_from_slice(&buffer[..count]);
            bytes.extend(&buffer[..count]);
        }
        bytes.pop_front()
    }
}

pub(super) fn find(bytes: &[u8], pattern: &[u8]) -> Option<usize> {
    bytes.windows(pattern.len()).position(|window| window == pattern)
}

/// The status of an answer.
pub(super) fn status(answer: &str) -> &str {
    answer.split(' ').nth(1).unwrap_or(answer)
}

/// The code of a problem document, or the whole answer.
pub(super) fn code(answer: &str) -> &str {
    answer.split("\"code\":\"").nth(1).and_then(|rest| rest.split('"').next()).unwrap_or(answer)
}

/// One header of an answer.
pub(super) fn header<'a>(answer: &'a str, name: &str) -> &'a str {
    let head = answer.split("\r\n\r\n").next().unwrap_or_default();
    let mut fields = head.split("\r\n").filter_map(|line| line.split_once(": "));
    fields.find(|(field, _)| field.eq_ignore_ascii_case(name)).map_or("", |(_, value)| value)
}
