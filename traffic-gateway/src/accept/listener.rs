//! Listeners: where clients connect and what is spoken there.

use std::net::SocketAddr;
use std::sync::Arc;

use gatehouse_shared::cidr::{Network, NetworkSet};
use gatehouse_shared::config::{ConfigErrors, Positions, Sources};
use schemars::JsonSchema;
use serde::Deserialize;

use super::tls::{Certificates, ClientCertificatesConfig, ListenerTls};

/// One `[[process.listener]]`; a change needs a restart.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ListenerConfig {
    /// Address and port to listen on; port 0 takes a free one.
    pub address: String,
    /// Whether clients speak TLS here; needs a `[[certificate]]`.
    #[serde(default)]
    pub tls: bool,
    /// Where set, every connection must begin with a PROXY protocol header, version 1 or 2.
    #[serde(default)]
    pub proxy_protocol: Option<ProxyProtocolConfig>,
    /// Where set, client certificates are asked for; needs `tls`.
    #[serde(default)]
    pub client_certificates: Option<ClientCertificatesConfig>,
    /// Whether HTTP/2 without TLS is spoken here by prior knowledge; plain listeners only.
    #[serde(default)]
    pub h2c: bool,
}

/// Who may send PROXY protocol headers to a listener.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ProxyProtocolConfig {
    /// Networks of load balancers; a connection from anywhere else is closed at once.
    pub from: Vec<Network>,
}

/// A compiled listener.
#[derive(Debug)]
pub struct Listener {
    /// The address as configured; its port may be 0.
    pub address: SocketAddr,
    /// Where set, only these networks may connect, and must send a PROXY protocol header.
    pub proxy_protocol_from: Option<NetworkSet>,
    /// Whether HTTP/2 without TLS is spoken here.
    pub h2c: bool,
    /// The TLS side; swapped with every generation.
    pub tls: Option<ListenerTls>,
}

impl Listener {
    /// Compiles every `[[process.listener]]`; `before` are those of the generation before.
    ///
    /// # Errors
    /// Addresses that are none, TLS without certificate, and what cannot be spoken together.
    pub fn compile_all(
        configs: &[ListenerConfig],
        certificates: Option<&Arc<Certificates>>,
        before: &[Arc<Self>],
        sources: &mut Sources,
        positions: &Positions,
    ) -> Result<Box<[Arc<Self>]>, ConfigErrors> {
        let mut errors = ConfigErrors::new();
        let mut listeners = Vec::with_capacity(configs.len());
        for (index, config) in configs.iter().enumerate() {
            let path = format!("process.listener[{index}]");
            let listener = Self::compile(config, &path, certificates, before.get(index), sources, positions);
            listeners.extend(errors.collect(listener).map(Arc::new));
        }
        errors.into_result(listeners.into_boxed_slice())
    }

    fn compile(
        config: &ListenerConfig,
        path: &str,
        certificates: Option<&Arc<Certificates>>,
        before: Option<&Arc<Self>>,
        sources: &mut Sources,
        positions: &Positions,
    ) -> Result<Self, ConfigErrors> {
        let mut errors = ConfigErrors::new();
        let mut finding = |key: &str, message: &str, remedy: &str| {
            errors.push(positions.error(&format!("{path}.{key}"), message, Some(remedy.to_owned())));
        };
        let address = config.address.parse::<SocketAddr>().ok();
        if address.is_none() {
            finding("address", "this is no address with a port", "write \"0.0.0.0:8080\" or \"[::]:8080\"");
        }
        if config.tls && config.h2c {
            finding("h2c", "h2c is HTTP/2 without TLS", "remove the line: TLS listeners offer HTTP/2 by themselves");
        }
        if config.client_certificates.is_some() && !config.tls {
            finding("client_certificates", "client certificates need TLS", "set tls = true");
        }
        if config.tls && certificates.is_none() {
            finding("tls", "a TLS listener needs a certificate", "add a [[certificate]]");
        }
        if config.proxy_protocol.as_ref().is_some_and(|proxy| proxy.from.is_empty()) {
            finding(
                "proxy_protocol.from",
                "nobody could connect to this listener",
                "name the networks of the load balancers",
            );
        }
        let mut tls = None;
        if let (true, Some(certificates)) = (config.tls, certificates) {
            let clients = config.client_certificates.as_ref();
            let before = before.and_then(|before| before.tls.as_ref());
            tls = errors.collect(ListenerTls::compile(
                Arc::clone(certificates),
                clients,
                path,
                positions,
                sources,
                before,
            ));
        }
        let Some(address) = address else { return Err(errors) };
        errors.into_result(Self {
            address,
            proxy_protocol_from: config.proxy_protocol.as_ref().map(|proxy| proxy.from.iter().copied().collect()),
            h2c: config.h2c,
            tls,
        })
    }
}
