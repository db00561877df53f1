//! The loop of an HTTP/1 connection: head, judgement, request, and again.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use gatehouse_shared::live::Generation;
use pingora::apps::{HttpServerApp, ReusedHttpStream};
use pingora::protocols::http::ServerSession;
use pingora::proxy::ProxyHttp;
use pingora::server::ShutdownWatch;

use super::connection::{Arrival, Connection};
use super::entrance::Entrance;
use super::head::{self, Arrived};
use super::normalize::{self, Body, Head1};
use super::refuse;
use super::wire::Wire;
use crate::policy::Policy;

/// The first line of the HTTP/2 preface, which is a whole head to an HTTP/1 reader.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\n";

/// Where an answer came before the end of the body, the rest is read so that the connection can go on: for this long, and
/// only up to this announced length. A client with more to send is told to stop by `Connection: close`.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(3);
const DRAINED_MAX: u64 = 1024 * 1024;

/// A client that has just connected is about to send: while the process stops, it is waited for this long. Below what the
/// end of the process waits for connections to close.
const FIRST_REQUEST_GRACE: Duration = Duration::from_millis(400);

type Served<'a> = Pin<Box<dyn Future<Output = Option<ReusedHttpStream>> + Send + 'a>>;

/// Serves a connection to its end, or until its first bytes turn out to be HTTP/2 (`h2c` says whether that is welcome): then
/// the wire is returned with what was read.
///
/// Parked connections are most of all connections, so this future is kept small: what an active request needs is boxed.
pub(super) async fn serve<G>(
    entrance: &Arc<Entrance<G>>,
    mut wire: Box<Wire>,
    connection: &Arc<Connection>,
    h2c: bool,
    shutdown: &ShutdownWatch,
) -> Option<(Box<Wire>, BytesMut)>
where
    G: ProxyHttp + Send + Sync + 'static,
    G::CTX: Send + Sync,
{
    let mut watch = shutdown.clone();
    let accepted = Arc::clone(connection);
    let stopping = async move {
        // The sender is gone only when the server is: the same thing for a parked connection.
        drop(watch.wait_for(|is_stopping| *is_stopping).await);
        if accepted.requests() == 0 {
            // Boxed, because nearly every connection only ever waits above.
            Box::pin(tokio::time::sleep(FIRST_REQUEST_GRACE)).await;
        }
    };
    let mut stopping = std::pin::pin!(stopping);
    loop {
        let policy = (entrance.policy)();
        let arrived = head::read(&mut wire, &policy.value.accept, stopping.as_mut()).await;
        // The generation in force when the head was there: the wait for it may have been long.
        drop(policy);
        let policy = (entrance.policy)();
        let (head, since) = match arrived {
            Arrived::Head { head, since } => (head, since),
            Arrived::Gone => return None,
            Arrived::Refused { head, reason } => {
                refuse(entrance, wire, connection, &policy, reason, &head).await;
                return None;
            }
        };
        if h2c && &*head == PREFACE && connection.requests() == 0 {
            return Some((wire, head));
        }
        let step = begin(entrance, wire, connection, policy, head, since, shutdown);
        let reused = match step {
            Step::Serve(served) => served.await?,
            Step::Refuse { wire, policy, reason, head } => {
                refuse(entrance, wire, connection, &policy, reason, &head).await;
                return None;
            }
        };
        let (stream, _settings) = reused.consume();
        wire = stream.into_any().downcast::<Wire>().ok()?;
        if !wire.is_reusable() {
            return None;
        }
    }
}

/// What becomes of a head.
enum Step<'a> {
    Serve(Served<'a>),
    Refuse {
        wire: Box<Wire>,
        policy: Arc<Generation<Policy>>,
        reason: &'static gatehouse_shared::problem::Reason,
        head: BytesMut,
    },
}

/// Judges a head and hands the request to the proxy. A function of its own, so that sessions never live in the loop's state.
fn begin<'a, G>(
    entrance: &'a Arc<Entrance<G>>,
    mut wire: Box<Wire>,
    connection: &Arc<Connection>,
    policy: Arc<Generation<Policy>>,
    mut head: BytesMut,
    received_at: Instant,
    shutdown: &'a ShutdownWatch,
) -> Step<'a>
where
    G: ProxyHttp + Send + Sync + 'static,
    G::CTX: Send + Sync,
{
    let bounds = &policy.value.accept;
    let Head1 { message, lacks_host } = match normalize::http1(&head, bounds, connection.local) {
        Ok(judged) => judged,
        Err(reason) => return Step::Refuse { wire, policy, reason, head },
    };
    wire.begin(message.body, bounds);
    if lacks_host {
        head.truncate(head.len().saturating_sub(2));
        head.extend_from_slice(format!("host: {}\r\n\r\n", message.authority()).as_bytes());
    }
    if let Err(reason) = wire.take_ready_body(&mut head) {
        return Step::Refuse { wire, policy, reason, head };
    }
    let request_index = connection.requests.fetch_add(1, Ordering::Relaxed) + 1;
    let is_last = request_index >= bounds.requests_per_connection || *shutdown.borrow();
    let expects_continue = message.expects_continue;
    let is_drained = match message.body {
        Body::None => false,
        Body::Length(length) => length <= DRAINED_MAX,
        Body::Chunked => true,
    };
    let connection = Arc::clone(connection);
    let arrival = Arrival { policy, connection, message, received_at, request_index, upload: None };

    let mut session = ServerSession::new_http1(wire);
    session.set_keepalive_reuses_remaining(is_last.then_some(0));
    // The wire watches over reads by itself.
    session.set_read_timeout(None);
    if expects_continue || is_drained {
        // By itself Pingora closes behind an answer that begins before the end of the body, and takes `100 Continue` and
        // every denial for one.
        session.set_close_on_response_before_downstream_finish(false);
        session.set_total_drain_timeout(Some(DRAIN_TIMEOUT));
    }
    session.set_connection_user_context(Some(Box::new(arrival)));
    if let ServerSession::H1(session) = &mut session {
        session.set_pipelined_prefix(head);
    }
    Step::Serve(entrance.proxy.process_new_http(session, shutdown))
}

async fn refuse<G>(
    entrance: &Arc<Entrance<G>>,
    wire: Box<Wire>,
    connection: &Connection,
    policy: &Generation<Policy>,
    reason: &'static gatehouse_shared::problem::Reason,
    head: &[u8],
) {
    let answers = &policy.value.answers;
    let (id, written) = entrance.answer(answers, connection, reason, head, refuse::fields_of(head, "accept"));
    match refuse::http1(&written, reason, &id, &policy.value.accept.allow, head) {
        Some(answer) => wire.refuse(reason, &answer).await,
        None => wire.abandon(),
    }
}
