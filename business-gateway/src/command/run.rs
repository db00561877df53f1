//! `run`: serve until a signal ends it.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use gatehouse_shared::admin::{TokenError, Tokens};
use gatehouse_shared::clock;
use gatehouse_shared::live::Live;
use gatehouse_shared::process::{Ports, check_connections, descriptor_limit, host_name, listen};
use gatehouse_shared::telemetry::access_log::LineWriter;
use gatehouse_shared::telemetry::metrics::MetricError;
use gatehouse_shared::telemetry::{LogFormat, init_logging};
use gatehouse_shared::watch::{Timing, watch};
use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::{fail, refuse};
use crate::admin::Admin;
use crate::admit::flow_rule::STACK;
use crate::admit::quota::refill;
use crate::admit::traffic_group::shed;
use crate::dispatch::{cache, discovery, upkeep};
use crate::gateway::{Gateway, StartError};
use crate::metrics::Metrics;
use crate::policy::Policy;
use crate::server::Server;
use crate::store::heartbeat;

/// Longest wait for the store to take back what is left of quotas.
const GIVE_BACK: Duration = Duration::from_secs(1);

/// Why the process does not run.
#[derive(Debug, thiserror::Error)]
enum RunError {
    #[error("{0}; raise the limit (LimitNOFILE=, ulimit -n) or lower process.max_connections")]
    Descriptors(String),
    #[error("no runtime")]
    Runtime(#[source] io::Error),
    #[error("cannot listen on {0}")]
    Listen(SocketAddr, #[source] io::Error),
    #[error("no signals")]
    Signals(#[source] io::Error),
    #[error("the access log cannot be written")]
    AccessLog(#[source] io::Error),
    #[error("no admin tokens")]
    Tokens(#[source] TokenError),
    #[error("no metrics")]
    Metrics(#[source] MetricError),
    #[error(transparent)]
    Start(#[from] StartError),
    #[error("the configuration cannot be watched")]
    Watch(#[source] io::Error),
    #[error("ports.json cannot be written")]
    Ports(#[source] io::Error),
}

pub(super) fn run(dir: &Path) -> ExitCode {
    let _log = match init_logging(LogFormat::Auto, "info") {
        Ok(log) => log,
        Err(error) => return fail(&error),
    };
    // A panic costs one request; where it was belongs into the log, not between its lines.
    std::panic::set_hook(Box::new(|panic| tracing::error!(%panic, "a step panicked")));
    let live = match Live::<Policy>::start(dir) {
        Ok(live) => live,
        Err(errors) => return refuse(&errors),
    };
    match serve(&live) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error),
    }
}

fn serve(live: &Arc<Live<Policy>>) -> Result<(), RunError> {
    let process = live.current().value.process.clone();
    let most = u64::try_from(process.max_connections).unwrap_or(u64::MAX);
    check_connections(most, descriptor_limit()).map_err(RunError::Descriptors)?;
    let tokens = Tokens::open_or_create(&process.state_dir).map_err(RunError::Tokens)?;
    let log = LineWriter::start(&live.current().value.access_log).map_err(RunError::AccessLog)?;
    let metrics = Metrics::new().map_err(RunError::Metrics)?;
    let node = process.node.clone().unwrap_or_else(host_name);
    let gateway = Gateway::new(node, Arc::clone(live), metrics, log.clone())?;
    let watcher = watch(Arc::clone(live), Timing::default()).map_err(RunError::Watch)?;
    let runtime = runtime(process.threads).map_err(RunError::Runtime)?;

    let outcome = runtime.block_on(async {
        let listener = listen(process.listen).map_err(|error| RunError::Listen(process.listen, error))?;
        let admin = listen(process.admin).map_err(|error| RunError::Listen(process.admin, error))?;
        let mut signals = Signals::new().map_err(RunError::Signals)?;
        let ports = Ports {
            pid: std::process::id(),
            listeners: vec![listener.local_addr().map_err(|error| RunError::Listen(process.listen, error))?],
            admin: admin.local_addr().map_err(|error| RunError::Listen(process.admin, error))?,
        };
        let server = Arc::new(Server::new(Arc::clone(&gateway), process.max_connections));
        tokio::spawn(Admin::new(Arc::clone(&gateway), tokens, ports.clone()).run(admin));
        tokio::spawn(upkeep::run(Arc::clone(&gateway)));
        tokio::spawn(heartbeat::run(Arc::clone(&gateway)));
        tokio::spawn(Arc::clone(&gateway.revisions).run());
        let refilling = tokio::spawn(refill::run(Arc::clone(&gateway)));
        tokio::spawn(Arc::clone(&gateway.apps).run());
        tokio::spawn(shed::follow(Arc::clone(&gateway)));
        tokio::spawn(cache::fleet::follow(Arc::clone(&gateway)));
        let start_wait = live.current().value.discovery.start_wait.get();
        discovery::wait_for_first(|| discovery::are_settled(&live.current().value), clock::now() + start_wait).await;
        let accepting = tokio::spawn({
            let server = Arc::clone(&server);
            async move { server.run(listener).await }
        });
        announce(&gateway.node, &ports);
        ports.write(&process.state_dir).map_err(RunError::Ports)?;

        while let Wish::Reload = signals.next().await {
            log.reopen();
            watcher.poke();
        }
        let drain = live.current().value.drain;
        tracing::info!(connections = server.connections(), in_flight = gateway.in_flight.count(), "draining");
        if server.drain(&drain).await {
            tracing::info!("drained");
        } else {
            let left = gateway.in_flight.count();
            tracing::warn!(in_flight = left, "the drain deadline is over; what is left is cut off");
        }
        accepting.abort();
        refilling.abort();
        // What is given back now is there for the other nodes at once; without it they go on all the same.
        let _late = tokio::time::timeout(GIVE_BACK, refill::close(&gateway)).await.is_err();
        Ok(())
    });
    watcher.stop();
    // Not waiting for what is left: the drain has had its time.
    runtime.shutdown_background();
    log.close();
    outcome
}

/// One thread needs no work stealing, and no wake-ups between threads.
fn runtime(threads: Option<usize>) -> io::Result<Runtime> {
    let threads = threads.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from));
    let mut builder = if threads == 1 { Builder::new_current_thread() } else { Builder::new_multi_thread() };
    if threads > 1 {
        builder.worker_threads(threads);
    }
    builder.thread_name("serve").thread_stack_size(STACK).enable_all().build()
}

fn announce(node: &str, ports: &Ports) {
    for address in &ports.listeners {
        tracing::info!(node, %address, "listening for the edge");
    }
    tracing::info!(node, address = %ports.admin, "listening for operators");
}

/// What a signal asks for.
enum Wish {
    /// SIGHUP: load the configuration and open the log anew.
    Reload,
    /// SIGTERM, SIGINT: finish what is under way and end.
    Stop,
}

struct Signals {
    hangup: Signal,
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self {
            hangup: signal(SignalKind::hangup())?,
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    async fn next(&mut self) -> Wish {
        tokio::select! {
            _ = self.hangup.recv() => Wish::Reload,
            _ = self.terminate.recv() => Wish::Stop,
            _ = self.interrupt.recv() => Wish::Stop,
        }
    }
}
