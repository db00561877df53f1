//! Hashes that every node of a fleet computes alike, today and after an upgrade: no seed, no hasher of the standard library.
//!
//! They spread keys, they do not protect anything: who finds two keys with the same hash has found two keys that are served by
//! the same endpoint.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

/// Turns any number into one whose bits all depend on all of its bits; a bijection.
///
/// The finaliser of SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014).
pub(super) fn mix(value: u64) -> u64 {
    let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

/// Whether an event of this probability, in millionths, happens at this draw, which is any well mixed number.
pub(super) fn happens(draw: u64, millionths: u64) -> bool {
    (draw >> 32) * MILLION < millionths.min(MILLION) << 32
}

/// One, in millionths.
pub(super) const MILLION: u64 = 1_000_000;

/// The key of a client: its IPv4 address, or the first 64 bits of its IPv6 address, since one client has many addresses there.
pub(super) fn of_client(client: IpAddr) -> u64 {
    match client.to_canonical() {
        IpAddr::V4(address) => mix(u64::from(address.to_bits())),
        IpAddr::V6(address) => mix(upper(address) ^ V6),
    }
}

/// The key of an authority; upper and lower case are the same.
pub(super) fn of_authority(authority: &str) -> u64 {
    let mut hash = u64::try_from(authority.len()).unwrap_or(u64::MAX);
    for chunk in authority.as_bytes().chunks(8) {
        let word = chunk.iter().fold(0, |word: u64, byte| word << 8 | u64::from(byte.to_ascii_lowercase()));
        hash = mix(hash ^ word);
    }
    hash
}

/// What an endpoint is called in hashes; never 0.
pub(super) fn of_address(address: SocketAddr) -> u64 {
    let port = u64::from(address.port());
    let hash = match address.ip() {
        IpAddr::V4(ip) => mix(u64::from(ip.to_bits()) << 16 | port),
        IpAddr::V6(ip) => mix(mix(upper(ip) ^ V6) ^ mix(lower(ip)).wrapping_add(port)),
    };
    hash.max(1)
}

/// Keeps IPv6 apart from IPv4.
const V6: u64 = 1 << 63;

fn upper(address: Ipv6Addr) -> u64 {
    u64::try_from(address.to_bits() >> 64).unwrap_or_default()
}

fn lower(address: Ipv6Addr) -> u64 {
    u64::try_from(address.to_bits() & u128::from(u64::MAX)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_is_known_by_what_it_cannot_change_easily() {
        let of = |text: &str| of_client(text.parse().unwrap());
        assert_eq!(of("2001:db8::1"), of("2001:db8::ffff:2"), "one /64");
        assert_ne!(of("2001:db8::1"), of("2001:db8:0:1::1"));
        assert_eq!(of("192.0.2.1"), of("::ffff:192.0.2.1"));
        assert_ne!(of("192.0.2.1"), of("192.0.2.2"));
    }

    #[test]
    fn an_authority_has_no_case() {
        assert_eq!(of_authority("Shop.Example:8080"), of_authority("shop.example:8080"));
        for (one, other) in [("a", "b"), ("a", "aa"), ("", "a"), ("12345678a", "12345678b"), ("a2345678", "b2345678")] {
            assert_ne!(of_authority(one), of_authority(other));
        }
    }

    #[test]
    fn hashes_stay_as_they_are() {
        // Nodes of different versions run beside each other during an upgrade and must agree.
        assert_eq!(mix(0), 0xe220_a839_7b1d_cdaf, "the first number of SplitMix64 seeded with 0");
        assert_eq!(of_client("192.0.2.1".parse().unwrap()), mix(0xc000_0201));
        assert_eq!(of_authority("a"), mix(1 ^ 0x61));
        assert_eq!(of_address("192.0.2.1:80".parse().unwrap()), mix(0xc000_0201_0050));
    }

    #[test]
    fn an_event_happens_as_often_as_it_is_probable() {
        for millionths in [0, 1_000, 250_000, 1_000_000, 2_000_000] {
            let count = (0..100_000).filter(|draw| happens(mix(*draw), millionths)).count();
            let expected = usize::try_from(millionths.min(MILLION) / 10).unwrap();
            assert!(count.abs_diff(expected) <= 500, "{count} instead of {expected}");
        }
    }
}
