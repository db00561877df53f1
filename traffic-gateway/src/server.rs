//! The process: from a configuration directory to a running Pingora server, and to its end.
//!
//! Everything that can fail happens before the first connection is accepted: the configuration, the state directory, the
//! sockets. Then services run, each on threads of its own: the entrance for clients, the admin listener, the probes, what
//! follows new generations, and (a plain thread) the watcher that reloads. How the process ends is [`drain`], how it is replaced [`upgrade`].

pub mod limits;
pub mod sockets;
pub mod drain;
pub mod upgrade;
mod follow;

use std::{fs, io, net::SocketAddr, path::Path, sync::Arc, thread};

use gatehouse_shared::{
    admin::{TokenError, Tokens},
    config::ConfigErrors,
    live::Live,
    process::Ports,
    shutdown::{InFlight, Shutdown},
    telemetry::metrics::MetricError,
    watch::{self, Timing},
};
use pingora::{
    listeners::L4BufferSettings,
    proxy::http_proxy,
    server::{
        RunArgs, Server,
        configuration::{Opt, ServerConf},
    },
    services::background::background_service,
};

use crate::{
    accept::{
        Refusals,
        entrance::{Bound, CurrentPolicy, Entrance, socket_buffers},
        guard::Connections,
    },
    admin::{Admin, Keepers},
    admit::{
        blocklist::{Following, Keeper, OpenError},
        cut,
        limit::{
            self,
            fleet::{Exchange, LimitCounts},
        },
    },
    answer::cache::Cache,
    balance::{PINGORA_ATTEMPTS, probe::Prober},
    config::Process,
    gateway::Gateway,
    observe::{Observer, metrics::Metrics},
    policy::Policy,
};
use drain::{Leaving, Signals};
use follow::Follower;
use sockets::{BindError, Listening, Socket};

/// Where the listening sockets come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// They are bound.
    Fresh,
    /// The running process passes them on.
    Upgrade,
}

/// Why the process did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration is not valid.
    #[error("{0}")]
    Config(#[from] ConfigErrors),
    /// The state directory does not serve.
    #[error("{0}")]
    Tokens(#[from] TokenError),
    /// A port is not to be had.
    #[error("{0}")]
    Bind(#[from] BindError),
    /// The descriptors do not suffice.
    #[error("{0}")]
    Limit(String),
    /// A metric cannot be declared: a mistake in the code.
    #[error("{0}")]
    Metric(#[from] MetricError),
    /// The dynamic blocklist or its audit log cannot be opened.
    #[error(transparent)]
    Blocklist(#[from] OpenError),
    /// The access log or the security log cannot be opened.
    #[error("cannot open a log: {0}")]
    Log(#[source] io::Error),
    /// A file of the state directory cannot be written, or a thread cannot be started.
    #[error("cannot {doing}")]
    Io {
        /// What was tried.
        doing: &'static str,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
}

/// Runs the edge on the configuration in `dir` until a signal ends it.
///
/// # Errors
///
/// Whatever keeps it from starting; nothing was served then.
pub fn run(dir: &Path, start: Start) -> Result<(), StartError> {
    limits::raise_descriptors();
    let live = Live::<Policy>::start(dir)?;
    let policy = live.current();
    let process = &policy.value.process;
    let tokens = Tokens::open_or_create(&process.state_dir)?;
    let (listeners, admin) = find_sockets(process, start)?;
    let ports = Ports {
        pid: std::process::id(),
        listeners: listeners.iter().map(|socket| socket.address).collect(),
        admin: admin.address,
    };
    let (shutdown, in_flight) = (Shutdown::new(), InFlight::new());
    let connections = Connections::new(limits::connections(process.max_connections).map_err(StartError::Limit)?);
    let metrics = Metrics::new()?;
    let node = policy.value.node.clone();
    let (access, security) = (policy.value.access_log(), policy.value.security_log());
    let observer = Observer::start(node, &access, security, in_flight.clone(), metrics).map_err(StartError::Log)?;
    observer.metrics().watch(&live, observer.log(), observer.security(), &in_flight, &connections)?;

    let mut server = Server::new_with_opt_and_conf(
        Opt { upgrade: start == Start::Upgrade, ..Opt::default() },
        server_conf(&policy.value),
    );
    let leaving = Leaving::default();
    // Waits for the sockets of the old process and ends this one when none come.
    server.bootstrap();
    let keeper = open_blocklist(&policy.value, &observer)?;
    let cuts = open_cuts(&policy.value, &keeper)?;
    let cache = Arc::new(Cache::leak());
    observer.metrics().watch_cache(cache.store)?;
    let store = cache.store;
    let gateway = Gateway::new(Arc::clone(&observer), leaving.clone(), cache);
    let proxy = Arc::new(http_proxy(&server.configuration, gateway));
    let entrance = Entrance::new(
        proxy,
        current_policy(&live),
        Arc::clone(&observer) as Arc<dyn Refusals>,
        Arc::clone(&connections),
        bound(&policy.value, &ports.listeners),
    );
    let threads = limits::threads(process.threads);
    server.add_service(Listening::new("entrance", entrance, listeners, socket_buffers(), threads));
    let admin_service = Admin::new(
        Arc::clone(&live),
        tokens,
        ports.clone(),
        shutdown.clone(),
        in_flight.clone(),
        Arc::clone(&observer),
        Keepers { blocklist: Arc::clone(&keeper), cuts: Arc::clone(&cuts), answers: store },
    );
    server.add_service(Listening::new("admin", admin_service, vec![admin], L4BufferSettings::default().read(0), 1));
    server.add_service(background_service("probes", Prober::new(Arc::clone(&live))));
    let exchange = exchange_of_limits(&keeper, &policy.value.node);
    server.add_service(background_service("limits", limit::keeper::Keeper::new(Arc::clone(&live), exchange)));
    server.add_service(background_service("follow", Follower::new(Arc::clone(&live), Arc::clone(&observer))));

    server.add_service(background_service("cuts", cut::Following(cuts)));
    server.add_service(background_service("blocklist", Following::new(keeper, Arc::clone(&live))));

    let watcher = watch::watch(Arc::clone(&live), Timing::default())
        .map_err(|source| StartError::Io { doing: "watch the configuration", source })?;
    let poke = watcher.poke_handle();
    let logs = Arc::clone(&observer);
    let signals = Signals {
        live: Arc::clone(&live),
        shutdown: shutdown.clone(),
        leaving: leaving.clone(),
        upgrade_socket: process.upgrade_socket(),
        on_reload: Box::new(move || {
            poke.poke();
            logs.reopen();
        }),
    };
    ports.write(&process.state_dir).map_err(|source| StartError::Io { doing: "write ports.json", source })?;
    announce(&ports);
    let phases = server.watch_execution_phase();
    thread::Builder::new()
        .name("server".to_owned())
        .spawn(move || server.run(RunArgs { shutdown_signal: Box::new(signals) }))
        .map_err(|source| StartError::Io { doing: "start a thread", source })?;
    let ended = drain::wait_for_the_end(phases, &live, &shutdown, &leaving, &in_flight, &connections);
    watcher.stop();
    observer.close();
    withdraw(&ports, &process.state_dir);
    ended.map_err(|source| StartError::Io { doing: "wait for signals", source })
}

/// Opens the blocklist, which every generation of the policy looks into. After the old process of an upgrade has given its
/// sockets away, because it changes the same files until then.
fn open_blocklist(policy: &Policy, observer: &Observer) -> Result<Arc<Keeper>, StartError> {
    let blocklist = policy.admission.blocklist().cloned().unwrap_or_default();
    observer.count_refused(blocklist.refused());
    let mirror = Arc::clone(blocklist.mirror());
    let keeper = Keeper::open(mirror, &policy.store, &policy.process.state_dir, &policy.node)?;
    observer.metrics().watch_blocklist(&keeper)?;
    Ok(keeper)
}

/// Opens what is known of stopped routes, which every generation of the policy looks into.
fn open_cuts(policy: &Policy, blocklist: &Arc<Keeper>) -> Result<Arc<cut::Keeper>, StartError> {
    let cuts = policy.admission.cuts().map(Arc::clone).unwrap_or_default();
    cut::Keeper::open(cuts, Arc::clone(blocklist), &policy.process.state_dir, &policy.node)
        .map_err(|source| StartError::Io { doing: "read the stopped routes", source })
}

/// Where limits of the fleet are exchanged: in the Redis of the blocklist, if there is one.
fn exchange_of_limits(blocklist: &Keeper, node: &str) -> Option<Arc<dyn Exchange>> {
    let redis = Arc::clone(blocklist.redis()?.redis());
    Some(Arc::new(LimitCounts::new(redis, node)))
}

fn current_policy(live: &Arc<Live<Policy>>) -> CurrentPolicy {
    let live = Arc::clone(live);
    Arc::new(move || live.current())
}

/// The listeners of the start, with the addresses they really have.
fn bound(policy: &Policy, addresses: &[SocketAddr]) -> Vec<Bound> {
    let listeners = policy.accept.listeners.iter().zip(addresses).enumerate();
    listeners.map(|(index, (listener, &address))| Bound { index, address, listener: Arc::clone(listener) }).collect()
}

/// Removes `ports.json`, unless a newer process has written its own meanwhile.
fn withdraw(ports: &Ports, state_dir: &Path) {
    if Ports::read(state_dir).is_ok_and(|current| current == *ports)
        && let Err(error) = fs::remove_file(Ports::path(state_dir))
    {
        tracing::warn!(%error, "ports.json not removed");
    }
}

fn announce(ports: &Ports) {
    for address in &ports.listeners {
        tracing::info!(%address, "listening");
    }
    tracing::info!(address = %ports.admin, "admin listening");
}

/// Binds every address, or finds it among those that the running process will pass on.
fn find_sockets(process: &Process, start: Start) -> Result<(Vec<Socket>, Socket), BindError> {
    let before = match start {
        Start::Fresh => None,
        Start::Upgrade => Ports::read(&process.state_dir).ok(),
    };
    let known: Vec<SocketAddr> = before.iter().flat_map(|ports| ports.listeners.iter().copied()).collect();
    let listeners = process
        .listener
        .iter()
        .filter_map(|listener| listener.address.parse().ok())
        .enumerate()
        .map(|(index, address)| find_socket(address, known.get(index).copied(), &known))
        .collect::<Result<_, _>>()?;
    let admin_before = before.map(|ports| ports.admin);
    let admin = find_socket(process.admin, admin_before, admin_before.as_slice())?;
    Ok((listeners, admin))
}

/// A listener with port 0 keeps the port it was given.
fn find_socket(wanted: SocketAddr, same_place: Option<SocketAddr>, known: &[SocketAddr]) -> Result<Socket, BindError> {
    let kept = same_place.filter(|before| wanted.port() == 0 && before.ip() == wanted.ip());
    let address = kept.unwrap_or(wanted);
    if known.contains(&address) { Ok(Socket::inherited(address)) } else { Socket::bind(address) }
}

/// Pingora's own settings. Worker threads steal work from each other only where there are several; a single one then
/// has the cheaper scheduler.
fn server_conf(policy: &Policy) -> ServerConf {
    let process = &policy.process;
    let threads = limits::threads(process.threads);
    let upstream: usize = policy.clusters.iter().map(|cluster| cluster.most_connections()).sum();
    ServerConf {
        threads,
        work_stealing: threads > 1,
        max_retries: PINGORA_ATTEMPTS,
        upgrade_sock: process.upgrade_socket().to_string_lossy().into_owned(),
        // Per thread, and for the clusters of the start; a later reload may need more.
        upstream_keepalive_pool_size: upstream.max(1_024),
        // The process is over when `drain` says so, before these.
        grace_period_seconds: Some(86_400),
        graceful_shutdown_timeout_seconds: Some(0),
        // Pingora's own timers read the clock even where nothing waits, and stay behind until their time has come;
        // Tokio's are used for two seconds and more.
        fast_timeout_to_tokio_threshold_seconds: Some(1),
        ..ServerConf::default()
    }
}
