//! The h2c connections over which the edge hands requests on itself (see [`crate::forward::exchange`]).
//!
//! A slot of [`super::connections`] has at most one channel that takes new requests. The first request that finds none opens it;
//! those that come meanwhile wait for it and share it, or fail with it. A channel that is old, unused or broken is let go
//! of: it takes no new requests, those on it end in peace, and then it closes.

use std::{
    future::pending,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use gatehouse_shared::clock;
use h2::{
    Ping, PingPong,
    client::{Builder, Connection, SendRequest},
};
use pingora::{BError, ErrorType, OrErr, Result};
use tokio::{
    net::TcpStream,
    time::{sleep, timeout},
};

use super::{
    connections::{Connections, Refused},
    opener,
};

/// The node is asked this often whether it is still there.
pub(super) const PING_INTERVAL: Duration = Duration::from_secs(10);

/// When a connection's own task does what.
#[derive(Debug, Clone, Copy)]
struct Rhythm {
    /// How often it looks whether the channel is in use, and so how much longer than its bound it may be idle.
    look: Duration,
    /// How often it asks whether the node is still there.
    ping: Duration,
    /// The longest wait for the answer; then the connection is taken for dead and what is on it has failed.
    patience: Duration,
}

const RHYTHM: Rhythm = Rhythm { look: Duration::from_secs(1), ping: PING_INTERVAL, patience: Duration::from_secs(5) };

/// Requests after which a channel is replaced: half of the numbers that HTTP/2 has for the streams of a connection.
const REQUESTS_MAX: u64 = 1 << 29;

/// Bytes of the longest frame that a node may send.
const FRAME_MAX: u32 = 64 * 1024;

/// How channels to a node are opened and kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// The node's data port.
    pub address: SocketAddr,
    /// The longest wait for a connection.
    pub connect_timeout: Duration,
    /// A channel that is unused for this long is closed.
    pub idle_timeout: Duration,
    /// The longest wait until the node takes the next piece of a request.
    pub write_timeout: Duration,
    /// Bytes of one answer under way before the client has taken them.
    pub stream_window: u32,
    /// Bytes of all answers of a connection under way.
    pub connection_window: u32,
}

/// Why a request reached no node.
#[derive(Debug)]
pub enum Unreached {
    /// It got no place, or the connection it waited for could not be opened.
    Refused(Refused),
    /// It could not open the connection.
    Connect(BError),
}

impl From<Refused> for Unreached {
    fn from(refused: Refused) -> Self {
        Self::Refused(refused)
    }
}

/// One connection that takes requests.
#[derive(Debug)]
pub(super) struct Channel {
    /// Tells it from others of its node.
    pub(super) id: u64,
    /// Requests it took.
    pub(super) taken: u64,
    sender: SendRequest<Bytes>,
    opened: Instant,
}

impl Channel {
    /// Opens a channel for a slot and keeps it open.
    ///
    /// # Errors
    ///
    /// The node could not be connected to in time.
    pub(super) async fn open(settings: &Settings, connections: &Arc<Connections>, slot: usize) -> Result<Self> {
        Self::open_with(RHYTHM, settings, connections, slot).await
    }

    async fn open_with(
        rhythm: Rhythm,
        settings: &Settings,
        connections: &Arc<Connections>,
        slot: usize,
    ) -> Result<Self> {
        let socket = opener::connect(settings.address, settings.connect_timeout).await?;
        opener::keep_alive(&socket)?;
        let (sender, connection) = Builder::new()
            .enable_push(false)
            .initial_max_send_streams(connections.bounds().streams)
            .max_concurrent_streams(1)
            .max_frame_size(FRAME_MAX)
            .initial_window_size(settings.stream_window)
            .initial_connection_window_size(settings.connection_window)
            .handshake(socket)
            .await
            .or_err(ErrorType::ConnectError, "the connection ended before anything was sent")?;
        let id = connections.channel_opened();
        let life = Life { connections: Arc::clone(connections), slot, id, idle_timeout: settings.idle_timeout, rhythm };
        tokio::spawn(life.run(connection));
        Ok(Self { id, taken: 0, sender, opened: clock::now() })
    }

    /// A hand on the channel for one request; `None` when it takes no more.
    pub(super) fn take(&mut self, now: Instant, max_age: Duration) -> Option<SendRequest<Bytes>> {
        if self.taken == REQUESTS_MAX || now.saturating_duration_since(self.opened) > max_age {
            return None;
        }
        self.taken += 1;
        Some(self.sender.clone())
    }
}

/// A connection's own task.
struct Life {
    connections: Arc<Connections>,
    slot: usize,
    id: u64,
    idle_timeout: Duration,
    rhythm: Rhythm,
}

impl Life {
    async fn run(self, mut connection: Connection<TcpStream, Bytes>) {
        let pings = connection.ping_pong();
        tokio::select! {
            result = connection => {
                if let Err(error) = result {
                    tracing::debug!(%error, "a connection to a node ended");
                }
            }
            () = self.watch(pings) => tracing::debug!("a node left a ping unanswered, its connection is closed"),
        }
    }

    /// Lets go of the channel once it is unused; returns when the node is gone.
    async fn watch(&self, pings: Option<PingPong>) {
        let Some(mut pings) = pings else { return pending().await };
        let mut now = clock::now();
        let (mut seen, mut used, mut pinged) = (0, now, now);
        loop {
            sleep(self.rhythm.look.min(self.idle_timeout)).await;
            now = clock::now();
            match self.connections.taken(self.slot, self.id) {
                // It closes when the last hand on it is gone.
                None => {}
                Some((taken, is_busy)) if taken != seen || is_busy => (seen, used) = (taken, now),
                Some(_) if now.saturating_duration_since(used) < self.idle_timeout => {}
                Some(_) => self.connections.let_go(self.slot, self.id),
            }
            if now.saturating_duration_since(pinged) >= self.rhythm.ping {
                match timeout(self.rhythm.patience, pings.ping(Ping::opaque())).await {
                    Ok(Ok(_)) => pinged = now,
                    _ => return,
                }
            }
        }
    }
}

impl Drop for Life {
    fn drop(&mut self) {
        self.connections.let_go(self.slot, self.id);
        self.connections.channel_closed();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use h2::server;
    use http::{Request, Response};
    use tokio::{io::AsyncReadExt as _, net::TcpListener};

    use super::*;
    use crate::balance::connections::Bounds;

    const SOON: Duration = Duration::from_secs(10);

    fn settings(address: SocketAddr, idle_timeout: Duration) -> Settings {
        Settings {
            address,
            connect_timeout: SOON,
            idle_timeout,
            write_timeout: SOON,
            stream_window: 65_535,
            connection_window: 65_535,
        }
    }

    fn connections(max_age: Duration) -> Arc<Connections> {
        Connections::new(Bounds { connections: 1, streams: 100, max_age })
    }

    async fn listener() -> (TcpListener, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        (listener, address)
    }

    /// Answers every request on one connection, and says how many there were when it ended.
    async fn serve(listener: Arc<TcpListener>) -> usize {
        let (socket, _) = listener.accept().await.unwrap();
        let mut connection = server::handshake(socket).await.unwrap();
        let mut served = 0;
        while let Some(Ok((_, mut respond))) = connection.accept().await {
            respond.send_response(Response::new(()), true).unwrap();
            served += 1;
        }
        served
    }

    async fn ask(mut sender: SendRequest<Bytes>) {
        let (answer, _) = sender.send_request(Request::get("http://a.example/").body(()).unwrap(), true).unwrap();
        assert_eq!(answer.await.unwrap().status(), 200);
    }

    #[tokio::test]
    async fn requests_share_a_channel_that_closes_when_it_is_unused() {
        let (listener, address) = listener().await;
        let served = tokio::spawn(serve(Arc::new(listener)));
        let (node, settings) = (connections(SOON), settings(address, Duration::from_millis(20)));
        for is_reused in [false, true, true] {
            let mut ticket = node.enter(clock::now() + SOON).await.unwrap();
            let (sender, reused) = ticket.channel(&settings, clock::now(), clock::now() + SOON).await.unwrap();
            assert_eq!(reused, is_reused);
            ask(sender).await;
        }
        assert_eq!(served.await.unwrap(), 3);
        while node.open() > 0 {
            tokio::task::yield_now().await;
        }
        assert_eq!(node.opened(), 1);
    }

    #[tokio::test]
    async fn an_old_channel_and_a_lost_one_end_in_peace() {
        let (listener, address) = listener().await;
        let listener = Arc::new(listener);
        let first = tokio::spawn(serve(Arc::clone(&listener)));
        let (node, settings) = (connections(Duration::from_millis(1)), settings(address, SOON));
        let mut ticket = node.enter(clock::now() + SOON).await.unwrap();
        let (old, _) = ticket.channel(&settings, clock::now(), clock::now() + SOON).await.unwrap();
        let later = clock::now() + Duration::from_secs(1);
        let second = tokio::spawn(serve(Arc::clone(&listener)));
        let mut other = node.enter(clock::now() + SOON).await.unwrap();
        let (new, reused) = other.channel(&settings, later, later + SOON).await.unwrap();
        assert!(!reused && node.opened() == 2);
        // What a request found dead is not what another one has opened since.
        ticket.lost();
        assert_eq!(node.taken(0, 1), Some((1, true)));
        ask(old).await;
        assert_eq!(first.await.unwrap(), 1);
        other.lost();
        assert_eq!(node.taken(0, 1), None);
        ask(new).await;
        assert_eq!(second.await.unwrap(), 1);
    }

    #[tokio::test]
    async fn a_node_that_leaves_a_ping_unanswered_is_given_up() {
        let (listener, address) = listener().await;
        let (node, settings) = (connections(SOON), settings(address, SOON));
        let tick = Duration::from_millis(5);
        let rhythm = Rhythm { look: tick, ping: tick, patience: tick };
        let channel = Channel::open_with(rhythm, &settings, &node, 0).await.unwrap();
        let (mut socket, _) = listener.accept().await.unwrap();
        let mut received = Vec::new();
        // It ends although the channel is still there.
        drop(socket.read_to_end(&mut received).await);
        assert!(received.starts_with(b"PRI * HTTP/2.0"));
        while node.open() > 0 {
            tokio::task::yield_now().await;
        }
        drop(channel);
    }

    #[tokio::test]
    async fn a_closed_port_is_a_failure_to_connect() {
        let (listener, address) = listener().await;
        drop(listener);
        let node = connections(SOON);
        let mut ticket = node.enter(clock::now() + SOON).await.unwrap();
        let refused = ticket.channel(&settings(address, SOON), clock::now(), clock::now() + SOON).await;
        assert!(matches!(refused, Err(Unreached::Connect(error)) if error.etype == ErrorType::ConnectRefused));
        assert_eq!((node.open(), node.opened()), (0, 0));
    }
}
