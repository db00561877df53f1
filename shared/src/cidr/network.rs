//! One network, as people write it.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::Visitor;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// An IPv4 or IPv6 network; a single address is a network of one. Written `"10.0.0.0/8"` or `"2001:db8::1"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Network(IpNet);

/// Why a network does not parse.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NetworkError {
    /// Not an address, or not a prefix length.
    #[error("\"{0}\" is not a network (such as \"10.0.0.0/8\" or \"2001:db8::1\")")]
    Malformed(String),
    /// Bits after the prefix are set: perhaps the prefix is too short.
    #[error("\"{given}\" has bits set after its prefix; the network is \"{network}\"")]
    HostBits {
        /// What was written.
        given: String,
        /// The network that contains it.
        network: String,
    },
}

impl Network {
    /// Whether the address belongs to the network.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        self.0.contains(&address.to_canonical())
    }

    /// The network as `ipnet` knows it.
    #[must_use]
    pub fn as_ipnet(&self) -> IpNet {
        self.0
    }

    /// The first address and the prefix length, as numbers.
    pub(super) fn start(&self) -> Start {
        match self.0 {
            IpNet::V4(net) => Start::Four(net.network().to_bits(), net.prefix_len()),
            IpNet::V6(net) => Start::Six(net.network().to_bits(), net.prefix_len()),
        }
    }
}

/// First address and prefix length of a network, by family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Start {
    /// IPv4; at most 32.
    Four(u32, u8),
    /// IPv6; at most 128.
    Six(u128, u8),
}

impl From<IpAddr> for Start {
    fn from(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Self::Four(address.to_bits(), 32),
            IpAddr::V6(address) => Self::Six(address.to_bits(), 128),
        }
    }
}

impl From<Start> for Network {
    fn from(start: Start) -> Self {
        Self(match start {
            Start::Four(bits, prefix) => IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::from_bits(bits), prefix.min(32))),
            Start::Six(bits, prefix) => IpNet::V6(Ipv6Net::new_assert(Ipv6Addr::from_bits(bits), prefix.min(128))),
        })
    }
}

/// The network of this prefix length around an address, for counting clients by network.
#[must_use]
pub fn around(address: IpAddr, ipv4_prefix: u8, ipv6_prefix: u8) -> Network {
    let net = match address.to_canonical() {
        IpAddr::V4(address) => IpNet::V4(Ipv4Net::new_assert(address, ipv4_prefix.min(32))),
        IpAddr::V6(address) => IpNet::V6(Ipv6Net::new_assert(address, ipv6_prefix.min(128))),
    };
    Network(net.trunc())
}

impl From<IpAddr> for Network {
    fn from(address: IpAddr) -> Self {
        Self(IpNet::from(address.to_canonical()))
    }
}

impl FromStr for Network {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Self, NetworkError> {
        if let Some(network) = four(text.as_bytes()) {
            return Ok(network);
        }
        if let Ok(address) = text.parse::<IpAddr>() {
            return Ok(Self::from(address));
        }
        let malformed = || NetworkError::Malformed(text.chars().take(60).collect());
        let net: IpNet = text.parse().map_err(|_error| malformed())?;
        if net.trunc() != net {
            return Err(NetworkError::HostBits { given: text.to_owned(), network: net.trunc().to_string() });
        }
        Ok(Self(unmapped(net)))
    }
}

/// The short way for what stands in most lines of a long list, at a third of the time; `None`: look more closely.
fn four(text: &[u8]) -> Option<Network> {
    let mut bits = 0;
    let mut rest = text;
    for place in 0..4 {
        let (octet, tail) = decimal(rest)?;
        bits = bits << 8 | u32::from(octet);
        rest = match tail {
            [b'.', tail @ ..] if place < 3 => tail,
            tail if place == 3 => tail,
            _ => return None,
        };
    }
    let prefix = match rest {
        [] => 32,
        [b'/', rest @ ..] => match decimal(rest)? {
            (prefix @ 0..=32, []) => prefix,
            _ => return None,
        },
        _ => return None,
    };
    let has_host_bits = bits.checked_shl(prefix.into()).unwrap_or(0) != 0;
    (!has_host_bits).then(|| Network::from(Start::Four(bits, prefix)))
}

/// A number up to 255 without leading zeros, and what follows it.
fn decimal(text: &[u8]) -> Option<(u8, &[u8])> {
    let digit = |byte: u8| byte.is_ascii_digit().then(|| u16::from(byte - b'0'));
    let (first, mut rest) = text.split_first()?;
    let mut number = digit(*first)?;
    while let Some((next, tail)) = rest.split_first()
        && let Some(next) = digit(*next)
    {
        if number == 0 {
            return None;
        }
        number = number * 10 + next;
        if number > 255 {
            return None;
        }
        rest = tail;
    }
    Some((u8::try_from(number).ok()?, rest))
}

/// `::ffff:10.0.0.0/104` is `10.0.0.0/8`.
fn unmapped(net: IpNet) -> IpNet {
    let IpNet::V6(six) = net else { return net };
    match (six.addr().to_ipv4_mapped(), six.prefix_len().checked_sub(96)) {
        (Some(four), Some(prefix)) => Ipv4Net::new(four, prefix).map_or(net, IpNet::V4),
        _ => net,
    }
}

impl Serialize for Network {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// By a visitor, so that an error in a list of networks names the one that is wrong.
impl<'de> Deserialize<'de> for Network {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(NetworkVisitor)
    }
}

struct NetworkVisitor;

impl Visitor<'_> for NetworkVisitor {
    type Value = Network;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a network or address, as a string")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Network, E> {
        text.parse().map_err(E::custom)
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let single = self.0.prefix_len() == self.0.max_prefix_len();
        if single { self.0.addr().fmt(f) } else { self.0.fmt(f) }
    }
}

impl JsonSchema for Network {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Network".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "format": "network" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{SourceFile, parse};
    use proptest::prelude::{any, proptest};

    fn network(text: &str) -> Network {
        text.parse().unwrap()
    }

    #[test]
    fn a_mapped_address_is_the_ipv4_address() {
        assert_eq!(network("::ffff:10.0.0.0/104"), network("10.0.0.0/8"));
        assert_eq!(network("::ffff:10.1.2.3").to_string(), "10.1.2.3");
        assert!(network("10.0.0.0/8").contains("::ffff:10.1.2.3".parse().unwrap()));
        assert!(!network("10.0.0.0/8").contains("::a01:203".parse().unwrap()));
    }

    #[test]
    fn refuses_what_is_not_a_network() {
        for wrong in ["", "10.0.0.0/33", "10.0.0/8", "10.0.0.0/", "example.com", "10.0.0.0/8 ", "::/129", "1.2.3.4/-1"]
        {
            assert!(wrong.parse::<Network>().is_err(), "{wrong:?}");
        }
        assert_eq!(
            "10.0.0.1/8".parse::<Network>().unwrap_err().to_string(),
            "\"10.0.0.1/8\" has bits set after its prefix; the network is \"10.0.0.0/8\""
        );
    }

    #[derive(Debug, Deserialize)]
    #[expect(dead_code, reason = "only errors matter")]
    struct Lists {
        trusted: Vec<Network>,
    }

    #[test]
    fn a_list_names_every_wrong_entry() {
        let text = "trusted = [\"10.0.0.1/8\", \"fe80::/10\", \"x\", 5]".to_owned();
        let errors = parse::<Lists>(&SourceFile { path: "edge.toml".into(), text }).unwrap_err();
        assert_eq!(
            errors.to_string(),
            r#"edge.toml:1:12: "trusted[0]": "10.0.0.1/8" has bits set after its prefix; the network is "10.0.0.0/8"
edge.toml:1:39: "trusted[2]": "x" is not a network (such as "10.0.0.0/8" or "2001:db8::1")
edge.toml:1:44: "trusted[3]" must be a network or address, as a string, not 5"#
        );
    }

    #[test]
    fn groups_clients_by_network() {
        assert_eq!(around("192.0.2.77".parse().unwrap(), 24, 64), network("192.0.2.0/24"));
        assert_eq!(around("2001:db8:1:2:3::1".parse().unwrap(), 32, 64), network("2001:db8:1:2::/64"));
    }

    proptest! {
        #[test]
        fn printing_and_parsing_is_the_identity(address in any::<IpAddr>(), prefix in 0u8..=128) {
            let network = around(address, prefix, prefix);
            // A short prefix may turn a mapped address into a network that is not mapped any more; both print the same.
            assert_eq!(network.to_string().parse::<Network>().map(|again| again.to_string()), Ok(network.to_string()));
        }

        #[test]
        fn the_short_way_reads_what_the_long_way_reads(
            text in "[0-9]{1,4}(\\.[0-9]{1,3}){2,4}(/[0-9]{0,3})?",
            address in any::<u32>(),
            prefix in 0u8..=34,
        ) {
            for text in [text, format!("{}/{prefix}", Ipv4Addr::from_bits(address)), Ipv4Addr::from_bits(address).to_string()] {
                let long = text.parse::<Ipv4Addr>().map(Ipv4Net::from).ok().or_else(|| text.parse().ok());
                let long = long.filter(|net| net.trunc() == *net).map(|net| Network(IpNet::V4(net)));
                // The long way may read more (a prefix with a leading zero), never something else.
                if let Some(network) = four(text.as_bytes()) {
                    assert_eq!(Some(network), long, "{text}");
                }
                if let Some(network) = long.filter(|network| network.to_string() == text) {
                    assert_eq!(four(text.as_bytes()), Some(network), "{text}");
                }
            }
        }
    }
}
