//! What the machine allows: descriptors and processors.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Descriptors kept for everything that is not a client connection: upstream connections, logs, admin, the upgrade.
const RESERVE: u64 = 1_024;

/// Client connections served unless the configuration says otherwise.
const DEFAULT_CONNECTIONS: u64 = 15_000;

/// The number of client connections to serve.
///
/// # Errors
///
/// The wanted number does not fit below the limit of descriptors: a process at its limit stops accepting for a second
/// at a time, and the admin listener with it.
pub fn connections(wanted: Option<usize>) -> Result<usize, String> {
    let limit = getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX);
    let room = limit.saturating_sub(RESERVE.min(limit / 4));
    let fit = |count: u64| usize::try_from(count).unwrap_or(usize::MAX);
    match wanted {
        None => Ok(fit(DEFAULT_CONNECTIONS.min(room))),
        Some(0) => Err("max_connections must be at least 1".to_owned()),
        Some(wanted) if wanted as u64 > room => {
            Err(format!("{wanted} connections do not fit below the limit of {limit} descriptors; at most {room} do"))
        }
        Some(wanted) => Ok(wanted),
    }
}

/// Raises the soft limit of descriptors to the hard one.
pub fn raise_descriptors() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    if limit.current != limit.maximum
        && let Err(error) = setrlimit(Resource::Nofile, raised)
    {
        tracing::warn!(%error, "limit of descriptors not raised");
    }
}

/// Worker threads: one for each processor unless the configuration says otherwise.
#[must_use]
pub fn threads(wanted: Option<usize>) -> usize {
    wanted.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from))
}
