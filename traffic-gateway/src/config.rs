//! Stand-in until the configuration of the whole edge lands.

use super::accept;

/// The parts of `edge.toml` the way in reads.
#[derive(Clone, Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// `[process]`.
    pub process: Process,
    /// `[accept]`.
    #[serde(default)]
    pub accept: accept::Config,
    /// `[client]`.
    #[serde(default)]
    pub client: accept::client::Config,
    /// `[[certificate]]`.
    #[serde(default)]
    pub certificate: Vec<accept::tls::CertificateConfig>,
}

/// `[process]`.
#[derive(Clone, Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Process {
    /// `[[process.listener]]`.
    pub listener: Vec<accept::ListenerConfig>,
}
