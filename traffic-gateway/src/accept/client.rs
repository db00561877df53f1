//! The real address of the client.
//!
//! The starting point is the connection's source (its peer, or what the PROXY protocol states). Only while that
//! address belongs to a trusted proxy is `X-Forwarded-For` read, from the right, hop by hop; the first address that is not
//! a trusted proxy's is the client. Nothing is trusted by default, private networks neither.

use std::net::{IpAddr, SocketAddr};

use gatehouse_shared::cidr::{Network, NetworkSet};
use schemars::JsonSchema;
use serde::Deserialize;

/// Most addresses of `X-Forwarded-For` looked at. A chain of more trusted proxies than this is a loop.
const HOPS_MAX: usize = 32;

/// `[client]`
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Networks of proxies whose `X-Forwarded-For` is believed, such as `["10.20.0.0/16"]`. Empty: nobody's.
    pub trusted_proxies: Vec<Network>,
}

/// The proxies whose word counts.
#[derive(Debug)]
pub struct TrustedProxies {
    networks: NetworkSet,
}

impl TrustedProxies {
    /// The networks of the configuration.
    #[must_use]
    pub fn new(config: &Config) -> Self {
        Self { networks: config.trusted_proxies.iter().copied().collect() }
    }

    /// Whether connections from this address carry requests of others.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        !self.networks.is_empty() && self.networks.contains(address)
    }

    /// A trusted network that shares an address with this one.
    #[must_use]
    pub fn overlap(&self, network: Network) -> Option<Network> {
        self.networks.overlap(network, |_| true).map(|entry| entry.network())
    }

    /// The client behind a connection from `source`. `forwarded_for` gives the request's `X-Forwarded-For` values in order of
    /// appearance; it is asked only where they count. The port is kept only where the source itself is the client; it is 0 otherwise, because the header does
    /// not carry it reliably.
    ///
    /// An entry that is no address ends the walk at the last proxy that could be verified: what stands left of it was written by
    /// someone unknown.
    #[must_use]
    pub fn client<'a, V>(&self, source: SocketAddr, forwarded_for: impl FnOnce() -> V) -> SocketAddr
    where
        V: DoubleEndedIterator<Item = &'a [u8]>,
    {
        let mut client = SocketAddr::new(source.ip().to_canonical(), source.port());
        if !self.contains(client.ip()) {
            return client;
        }
        let hops = forwarded_for().rev().flat_map(|value| value.rsplit(|byte| *byte == b','));
        for hop in hops.take(HOPS_MAX) {
            let Some(address) = address(hop) else { return client };
            client = SocketAddr::new(address, 0);
            if !self.networks.contains(address) {
                return client;
            }
        }
        client
    }
}

/// Reads `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1` or `[2001:db8::1]:80`.
fn address(text: &[u8]) -> Option<IpAddr> {
    let text = str::from_utf8(text).ok()?.trim_matches([' ', '\t']);
    let ip = text.parse::<IpAddr>().ok();
    let ip = ip.or_else(|| text.parse::<SocketAddr>().ok().map(|socket| socket.ip()));
    let ip = ip.or_else(|| text.strip_prefix('[')?.strip_suffix(']')?.parse().ok());
    ip.map(|ip| ip.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;
    use gatehouse_shared::config::{self, ConfigErrors, SourceFile};
    use proptest::prelude::*;

    #[derive(Debug, Deserialize)]
    struct File {
        client: Config,
    }

    fn trusting(text: &str) -> Result<TrustedProxies, ConfigErrors> {
        let text = format!("[client]\ntrusted_proxies = {text}\n");
        let document = config::parse::<File>(&SourceFile { path: "edge.toml".into(), text })?;
        Ok(TrustedProxies::new(&document.value.client))
    }

    fn client(trusted: &str, source: &str, values: &[&str]) -> String {
        let source = source.parse().unwrap();
        let values = || values.iter().map(|value| value.as_bytes());
        trusting(trusted).unwrap().client(source, values).to_string()
    }

    #[test]
    fn believes_nobody_by_default() {
        assert_eq!(client("[]", "10.0.0.1:5", &["192.0.2.1"]), "10.0.0.1:5");
        assert_eq!(client("[\"10.0.0.0/8\"]", "192.0.2.9:5", &["192.0.2.1"]), "192.0.2.9:5");
    }

    #[test]
    fn walks_from_the_right_and_stops_at_the_first_stranger() {
        let trusted = "[\"10.0.0.0/8\", \"2001:db8::/32\"]";
        let cases: [(&[&str], &str); 9] = [
            (&["192.0.2.1"], "192.0.2.1:0"),
            (&["6.6.6.6, 192.0.2.1"], "192.0.2.1:0"),
            (&["6.6.6.6", "192.0.2.1 , 10.0.0.7"], "192.0.2.1:0"),
            (&["192.0.2.1, 2001:db8::5, [2001:db8::6]:443"], "192.0.2.1:0"),
            (&["::ffff:192.0.2.1"], "192.0.2.1:0"),
            (&["192.0.2.1:4711"], "192.0.2.1:0"),
            (&["6.6.6.6, unknown, 10.0.0.7"], "10.0.0.7:0"),
            (&["6.6.6.6,"], "10.0.0.1:5"),
            (&[], "10.0.0.1:5"),
        ];
        for (values, expected) in cases {
            assert_eq!(client(trusted, "10.0.0.1:5", values), expected, "{values:?}");
            assert_eq!(client(trusted, "[::ffff:10.0.0.1]:5", values), expected, "{values:?}");
        }
    }

    #[test]
    fn reports_an_entry_that_is_no_network_with_its_line() {
        let error = trusting("[\"10.0.0.0/8\", \"10.0.0.0/33\"]").unwrap_err().to_string();
        assert!(error.starts_with("edge.toml:2:"), "{error}");
    }

    proptest! {
        #[test]
        fn never_takes_the_word_of_a_stranger(values: Vec<Vec<u8>>, source: std::net::SocketAddrV4) {
            let trusted = trusting("[\"10.0.0.0/8\"]").unwrap();
            let client = trusted.client(source.into(), || values.iter().map(Vec::as_slice));
            if source.ip().octets()[0] != 10 {
                prop_assert_eq!(client, SocketAddr::from(source));
            }
        }
    }
}
