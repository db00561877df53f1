//! How the process ends: what each signal means, and how long the end may take.
//!
//! | signal | meaning |
//! |---|---|
//! | SIGTERM | drain: readiness turns false; after the configured delay listeners close and parked connections end; the process exits as soon as nothing is in flight, at the latest at the deadline |
//! | SIGINT | the same without the delay; a second one exits at once |
//! | SIGQUIT | upgrade: pass the listening sockets to the process that waits for them, then drain; ignored when nobody waits |
//! | SIGHUP | reload the configuration and open the access log again |
//!
//! Pingora itself would sleep for a fixed grace period even with nothing in flight, and would pass its sockets to
//! nobody and end. So the signals are ours, Pingora runs on a thread of its own, and the main thread waits for the
//! requests in flight; when it returns, the process is over.

use std::{
    io,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use gatehouse_shared::{
    clock,
    live::Live,
    shutdown::{InFlight, Phase, Shutdown},
};
use pingora::server::{ExecutionPhase, ShutdownSignal, ShutdownSignalWatch};
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::broadcast,
};

use super::upgrade;
use crate::{accept::guard::Connections, policy::Policy};

/// Longest wait, once nothing is in flight, for connections to close in good order.
const CLOSING: Duration = Duration::from_millis(500);

/// Whether clients are asked to leave: every answer then closes its HTTP/1 connection.
///
/// Set while connections can still be made (during the delay, or beside the new process), so that clients in the middle
/// of their work go elsewhere by themselves and only idle connections are left to be closed.
#[derive(Debug, Clone, Default)]
pub struct Leaving(Arc<AtomicBool>);

impl Leaving {
    /// Asks clients to leave from now on.
    pub fn begin(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether they are asked.
    #[must_use]
    pub fn has_begun(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Called on SIGHUP.
pub type OnReload = Box<dyn Fn() + Send + Sync>;

/// Turns Unix signals into what Pingora does.
pub struct Signals {
    /// Whose drain settings apply.
    pub live: Arc<Live<Policy>>,
    /// Told about every phase.
    pub shutdown: Shutdown,
    /// Begun with the drain.
    pub leaving: Leaving,
    /// Where the next process waits for sockets.
    pub upgrade_socket: PathBuf,
    /// Called on SIGHUP.
    pub on_reload: OnReload,
}

struct Handlers {
    terminate: Signal,
    interrupt: Signal,
    quit: Signal,
    hang_up: Signal,
}

impl Handlers {
    fn install() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            quit: signal(SignalKind::quit())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }
}

#[async_trait]
impl ShutdownSignalWatch for Signals {
    async fn recv(&self) -> ShutdownSignal {
        let mut handlers = match Handlers::install() {
            Ok(handlers) => handlers,
            Err(error) => {
                tracing::error!(%error, "signals cannot be handled");
                return ShutdownSignal::FastShutdown;
            }
        };
        loop {
            tokio::select! {
                _ = handlers.terminate.recv() => {
                    let delay = self.live.current().value.drain.delay.get();
                    tracing::info!(?delay, "SIGTERM: draining");
                    self.shutdown.enter(Phase::Draining);
                    self.leaving.begin();
                    tokio::select! {
                        () = tokio::time::sleep(delay) => {}
                        _ = handlers.interrupt.recv() => tracing::info!("SIGINT: the delay is over"),
                    }
                    return self.stop();
                }
                _ = handlers.interrupt.recv() => {
                    tracing::info!("SIGINT: stopping");
                    return self.stop();
                }
                _ = handlers.quit.recv() => {
                    if upgrade::is_awaited(&self.upgrade_socket) {
                        tracing::info!("SIGQUIT: passing the listening sockets on");
                        return ShutdownSignal::GracefulUpgrade;
                    }
                    tracing::error!(socket = %self.upgrade_socket.display(), "SIGQUIT ignored: no process waits for the sockets");
                }
                _ = handlers.hang_up.recv() => {
                    tracing::info!("SIGHUP: reloading");
                    (self.on_reload)();
                }
            }
        }
    }
}

impl Signals {
    fn stop(&self) -> ShutdownSignal {
        self.shutdown.enter(Phase::Stopping);
        ShutdownSignal::GracefulTerminate
    }
}

/// Waits until Pingora has closed the listeners and then until nothing is in flight, at most until the deadline.
///
/// # Errors
///
/// The waiting itself could not be set up.
pub fn wait_for_the_end(
    mut phases: broadcast::Receiver<ExecutionPhase>,
    live: &Live<Policy>,
    shutdown: &Shutdown,
    leaving: &Leaving,
    in_flight: &InFlight,
    connections: &Connections,
) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        loop {
            match phases.recv().await {
                Ok(phase) if has_closed_listeners(&phase) => break,
                Ok(ExecutionPhase::GracefulUpgradeCloseTimeout) => leaving.begin(),
                Ok(_) | Err(broadcast::error::RecvError::Lagged(_)) => {}
                Err(broadcast::error::RecvError::Closed) => break,
            }
        }
        shutdown.enter(Phase::Stopping);
        let wait = live.current().value.drain.deadline.get();
        tracing::info!(in_flight = in_flight.count(), ?wait, "waiting for what is in flight");
        let mut interrupt = signal(SignalKind::interrupt())?;
        let idle = tokio::select! {
            idle = in_flight.wait_idle(clock::now() + wait) => idle,
            _ = interrupt.recv() => false,
        };
        if idle {
            let closed = clock::now() + CLOSING;
            while connections.open() > 0 && clock::now() < closed {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        } else {
            tracing::warn!(in_flight = in_flight.count(), "ending with requests in flight");
        }
        Ok(())
    })
}

fn has_closed_listeners(phase: &ExecutionPhase) -> bool {
    matches!(
        phase,
        ExecutionPhase::ShutdownStarted
            | ExecutionPhase::ShutdownGracePeriod
            | ExecutionPhase::ShutdownRuntimes
            | ExecutionPhase::Terminated
    )
}
