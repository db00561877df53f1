//! Listening sockets: bound before anything runs, named by the address they really have, and found again at an upgrade.
//!
//! Left to itself Pingora binds inside a running service, retries for half a minute and then panics in a task, so that a
//! taken port would leave a process that runs and serves nothing. Here a socket that cannot be bound is an error of the
//! start. Port 0 is resolved at once, so that two such listeners have different names in Pingora's table of sockets.

use std::{
    io,
    net::{SocketAddr, TcpListener},
    os::fd::IntoRawFd,
    sync::Mutex,
};

use async_trait::async_trait;
use pingora::{
    apps::ServerApp,
    listeners::{L4BufferSettings, ListenerConfig},
    server::{ListenFds, ShutdownWatch},
    services::{Service, listening},
};

/// Pingora passes at most this many sockets to the next process.
pub const MOST_SOCKETS: usize = 32;

/// A socket that could not be bound.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}")]
pub struct BindError {
    address: SocketAddr,
    #[source]
    source: io::Error,
}

/// A listening socket, bound here or to be taken over from the previous process.
#[derive(Debug)]
pub struct Socket {
    /// The address it has, never with port 0.
    pub address: SocketAddr,
    listener: Option<TcpListener>,
}

impl Socket {
    /// Binds the address; port 0 becomes a free port.
    ///
    /// # Errors
    ///
    /// The address is in use, not ours or needs privileges.
    pub fn bind(address: SocketAddr) -> Result<Self, BindError> {
        let bound = || {
            let listener = TcpListener::bind(address)?;
            listener.set_nonblocking(true)?;
            Ok((listener.local_addr()?, listener))
        };
        let (address, listener) = bound().map_err(|source| BindError { address, source })?;
        Ok(Self { address, listener: Some(listener) })
    }

    /// A socket that the previous process is expected to pass on.
    #[must_use]
    pub fn inherited(address: SocketAddr) -> Self {
        Self { address, listener: None }
    }
}

/// A Pingora service that listens on sockets of ours.
pub struct Listening<A> {
    inner: listening::Service<A>,
    sockets: Mutex<Vec<Socket>>,
    threads: usize,
}

impl<A: ServerApp + Send + Sync + 'static> Listening<A> {
    /// A service named `name` that runs `app` for each connection on `sockets`, on `threads` threads. `buffers` are those
    /// that Pingora gives each connection; its read buffer of 64 KiB is what makes idle connections dear.
    pub fn new(name: &str, app: A, sockets: Vec<Socket>, buffers: L4BufferSettings, threads: usize) -> Self {
        let mut inner = listening::Service::new(name.to_owned(), app);
        for socket in &sockets {
            let address = socket.address.to_string();
            inner.add_listener(ListenerConfig::tcp(address).l4_buffer(buffers));
        }
        inner.threads = Some(threads);
        Self { inner, sockets: Mutex::new(sockets), threads }
    }

    /// Puts our sockets into the table that the service and the next process take them from.
    fn hand_in(&self, fds: &ListenFds) {
        let sockets = self.sockets.lock().map(|mut sockets| std::mem::take(&mut *sockets)).unwrap_or_default();
        for socket in sockets {
            let name = socket.address.to_string();
            let mut table = fds.lock();
            if table.get(&name).is_some() {
                continue;
            }
            // An address that the previous process did not have is bound now.
            let listener = match socket.listener {
                Some(listener) => listener,
                None => match Socket::bind(socket.address) {
                    Ok(Socket { listener: Some(listener), .. }) => listener,
                    Ok(_) => continue,
                    Err(error) => {
                        tracing::error!(%error, cause = %error.source, "listener not started");
                        continue;
                    }
                },
            };
            table.add(name, listener.into_raw_fd());
        }
    }
}

#[async_trait]
impl<A: ServerApp + Send + Sync + 'static> Service for Listening<A> {
    async fn start_service(&mut self, fds: Option<ListenFds>, shutdown: ShutdownWatch, listeners_per_fd: usize) {
        if let Some(fds) = &fds {
            self.hand_in(fds);
        }
        self.inner.start_service(fds, shutdown, listeners_per_fd).await;
    }

    fn name(&self) -> &str {
        self.inner.name()
    }

    fn threads(&self) -> Option<usize> {
        Some(self.threads)
    }

    fn listen_addresses(&self) -> Option<Vec<String>> {
        Service::listen_addresses(&self.inner)
    }
}
