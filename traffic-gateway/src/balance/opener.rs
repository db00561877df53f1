//! Opens connections to business nodes for Pingora, and knows which are open.
//!
//! Pingora calls this when its pool has nothing at hand. For a slot that has an open connection that is a coincidence
//! between threads (see [`super::connections`]) or a connection that takes no more streams, and only looking again tells
//! which: the first attempt of a request is refused with [`AT_HAND`], the second one opens.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use async_trait::async_trait;
use pingora::{
    BError, Error, ErrorType, OrErr, Result,
    connectors::L4Connect,
    protocols::l4::{socket::SocketAddr as PingoraAddress, stream::Stream},
    upstreams::peer::{Tracer, Tracing},
};
use rustix::net::sockopt;
use tokio::{net::TcpStream, time::timeout};

use super::connections::Connections;

/// The type of the error that says: the slot has a connection, look again.
pub const AT_HAND: ErrorType = ErrorType::Custom("ConnectionAtHand");

/// A silent connection is probed after this long,
pub(super) const PROBED_AFTER: Duration = Duration::from_secs(15);
/// this often,
pub(super) const PROBED_EVERY: Duration = Duration::from_secs(5);
/// and this many times.
pub(super) const PROBES: u32 = 3;
/// The longest that what was sent may stay unacknowledged.
pub(super) const PROBED_FOR: Duration = Duration::from_secs(15);

/// What opens the connections of one slot.
pub type Connect = Arc<dyn L4Connect + Send + Sync>;

/// The two ways to open a connection of a slot.
#[derive(Debug, Clone)]
pub struct Openers {
    /// Refuses while the slot has an open connection.
    pub careful: Connect,
    /// Opens in any case.
    pub plain: Connect,
}

impl Openers {
    /// What opens connections of this slot within `patience`.
    #[must_use]
    pub fn new(connections: &Arc<Connections>, slot: usize, patience: Duration) -> Self {
        let opener = |is_careful| -> Connect {
            Arc::new(Opener { connections: Arc::clone(connections), slot, patience, is_careful })
        };
        Self { careful: opener(true), plain: opener(false) }
    }
}

#[derive(Debug)]
struct Opener {
    connections: Arc<Connections>,
    slot: usize,
    patience: Duration,
    is_careful: bool,
}

#[async_trait]
impl L4Connect for Opener {
    async fn connect(&self, address: &PingoraAddress) -> Result<Stream> {
        if self.is_careful && self.connections.has_live(self.slot) {
            return Err(Error::new(AT_HAND));
        }
        let address: SocketAddr =
            *address.as_inet().ok_or_else(|| Error::explain(ErrorType::InternalError, "a node without an address"))?;
        let socket = connect(address, self.patience).await?;
        let mut stream = Stream::from(socket);
        let epoch = self.connections.opened_in(self.slot);
        let life = Life { connections: Arc::clone(&self.connections), slot: self.slot, epoch };
        stream.tracer = Some(Tracer(Box::new(life)));
        Ok(stream)
    }
}

/// Connects to a node.
///
/// # Errors
///
/// It refuses, cannot be reached, or takes longer than `patience`.
pub(super) async fn connect(address: SocketAddr, patience: Duration) -> Result<TcpStream> {
    let socket = match timeout(patience, TcpStream::connect(address)).await {
        Ok(socket) => socket.map_err(|error| refused(address, error))?,
        Err(late) => {
            return Err(Error::because(ErrorType::ConnectTimedout, format!("connecting to {address}"), late));
        }
    };
    socket.set_nodelay(true).or_err(ErrorType::SocketError, "setting TCP_NODELAY")?;
    Ok(socket)
}

/// Has the kernel find out within [`PROBED_FOR`] when a node is gone without a word.
///
/// # Errors
///
/// The kernel does not take the settings.
pub(super) fn keep_alive(socket: &TcpStream) -> Result<()> {
    let settings = || {
        sockopt::set_socket_keepalive(socket, true)?;
        sockopt::set_tcp_keepidle(socket, PROBED_AFTER)?;
        sockopt::set_tcp_keepintvl(socket, PROBED_EVERY)?;
        sockopt::set_tcp_keepcnt(socket, PROBES)?;
        #[cfg(target_os = "linux")]
        sockopt::set_tcp_user_timeout(socket, millis(PROBED_FOR))?;
        io::Result::Ok(())
    };
    settings().or_err(ErrorType::SocketError, "setting TCP keepalive")
}

fn millis(time: Duration) -> u32 {
    u32::try_from(time.as_millis()).unwrap_or(u32::MAX)
}

fn refused(address: SocketAddr, error: io::Error) -> BError {
    let kind = match error.kind() {
        io::ErrorKind::ConnectionRefused => ErrorType::ConnectRefused,
        io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => ErrorType::ConnectNoRoute,
        _ => ErrorType::ConnectError,
    };
    Error::because(kind, format!("connecting to {address}"), error)
}

/// The life of one connection, told by Pingora's stream.
#[derive(Debug, Clone)]
struct Life {
    connections: Arc<Connections>,
    slot: usize,
    epoch: u64,
}

impl Tracing for Life {
    /// Counted when it was opened.
    fn on_connected(&self) {}

    fn on_disconnected(&self) {
        self.connections.closed(self.slot, self.epoch);
    }

    fn boxed_clone(&self) -> Box<dyn Tracing> {
        Box::new(self.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::balance::connections::Bounds;
    use tokio::net::TcpListener;

    #[tokio::test]
    async fn a_slot_with_an_open_connection_is_told_so() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = PingoraAddress::from(listener.local_addr().unwrap());
        let bounds = Bounds { connections: 1, streams: 10, max_age: Duration::from_secs(60) };
        let connections = Connections::new(bounds);
        let openers = Openers::new(&connections, 0, Duration::from_secs(1));
        let first = openers.careful.connect(&address).await.unwrap();
        assert_eq!(openers.careful.connect(&address).await.unwrap_err().etype, AT_HAND);
        let second = openers.plain.connect(&address).await.unwrap();
        assert_eq!(connections.open(), 2);
        drop((first, second));
        assert_eq!((connections.open(), connections.opened()), (0, 2));
        assert!(openers.careful.connect(&address).await.is_ok());
    }

    #[tokio::test]
    async fn a_closed_port_is_a_refused_connection() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = PingoraAddress::from(listener.local_addr().unwrap());
        drop(listener);
        let bounds = Bounds { connections: 1, streams: 1, max_age: Duration::from_secs(60) };
        let openers = Openers::new(&Connections::new(bounds), 0, Duration::from_secs(1));
        assert_eq!(openers.plain.connect(&address).await.unwrap_err().etype, ErrorType::ConnectRefused);
    }
}
