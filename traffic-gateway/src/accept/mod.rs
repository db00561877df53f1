//! Who is calling, and is the message well formed? The way in to the edge.
//!
//! A connection passes these files in this order: [`entrance`] takes its guards, reads the PROXY protocol, does TLS and
//! chooses the protocol. `http1` is the loop of an HTTP/1 connection: `head` reads a head within its bounds, [`normalize`]
//! judges it strictly and finds the one canonical path, [`wire`] is the stream as Pingora sees it, which checks a body's
//! framing (`chunks`) and pace as it passes. `http2` is the loop of an HTTP/2 connection. `refuse` answers what is refused
//! here, `linger` closes so that the client reads the answer. [`client`] finds the real client behind trusted proxies.
//!
//! Invariant: Pingora never reads head bytes from a socket, and never sees a byte that these files did not accept.

pub mod config;
pub mod listener;
pub mod entrance;
pub mod guard;
pub mod rate;
mod proxy_protocol;
pub mod tls;
mod tls_failure;
mod transport;
pub mod connection;
mod http1;
mod head;
mod scratch;
pub mod wire;
mod chunks;
mod pace;
mod outgoing;
mod watchdog;
mod linger;
mod http2;
mod frames;
mod frame_head;
mod budget;
mod upload;
mod refuse;
pub mod client;
pub mod normalize;
mod authority;
mod field;

pub use client::TrustedProxies;
pub use config::{Bounds, Config, Http2Bounds};
pub use connection::{Arrival, ClientCertificate, Connection, Refusal, Refusals, TlsFacts};
pub use entrance::{Bound, CurrentPolicy, Entrance, socket_buffers};
pub use guard::Connections;
pub use listener::{Listener, ListenerConfig};
pub use normalize::{Body, Message};
pub use refuse::fields_of;
pub use tls_failure::TlsFailure;
pub use wire::violation_of;

use gatehouse_shared::clock;
use gatehouse_shared::config::{ConfigErrors, Positions, Sources};

use rate::ConnectionRate;

use crate::config::Process;
use crate::server::limits;

/// What the security log calls this step.
pub const STAGE: &str = "accept";

/// Compiles everything of one configuration that the way in needs; `before` is the running generation's.
///
/// # Errors
/// All findings in `[accept]`, `[client]`, `[[certificate]]` and `[[process.listener]]`.
pub fn compile(
    config: &crate::config::Config,
    before: Option<&Bounds>,
    sources: &mut Sources,
    positions: &Positions,
) -> Result<Bounds, ConfigErrors> {
    let mut errors = ConfigErrors::new();
    let certificates = errors.collect(tls::Certificates::compile(&config.certificate, positions, sources));
    let has_failed = certificates.is_none();
    let listeners_before = before.map_or([].as_slice(), |before| &before.listeners);
    let listeners = if has_failed {
        None
    } else {
        let certificates = certificates.flatten();
        let listeners = &config.process.listener;
        errors.collect(Listener::compile_all(listeners, certificates.as_ref(), listeners_before, sources, positions))
    };
    let trusted = TrustedProxies::new(&config.client);
    let bounds = errors.collect(Bounds::compile(&config.accept, trusted, listeners.unwrap_or_default(), positions));
    let rate_before = before.and_then(|before| before.connection_rate.as_ref());
    let rate =
        config.accept.connection_rate.map(|rate| ConnectionRate::compile(rate, rate_before, positions, clock::now()));
    let connection_rate = rate.and_then(|rate| errors.collect(rate));
    match bounds {
        Some(bounds) => {
            let connections_per_client = config.accept.connections_per_client.unwrap_or_else(|| share(&config.process));
            errors.into_result(Bounds { connection_rate, connections_per_client, ..bounds })
        }
        None => Err(errors),
    }
}

/// How many connections one client may have unless the configuration says otherwise: too few to keep the others out, and more
/// than the people behind one address usually need.
fn share(process: &Process) -> u32 {
    const SHARE: usize = 8;
    const LEAST: usize = 64;
    let all = limits::connections(process.max_connections).unwrap_or_default();
    u32::try_from((all / SHARE).max(LEAST)).unwrap_or(u32::MAX)
}

#[cfg(test)]
pub(crate) mod sample;
#[cfg(test)]
mod tests;
