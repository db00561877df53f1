//! Keys: what is counted, as a 128-bit keyed hash.

use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::LazyLock;

use super::siphash::{SipHash, rest};

/// What a limit counts by (a client, a client and a path, …), as a 128-bit keyed hash of it.
///
/// The hash stands for the key itself. Two of `n` different keys have the same hash with a probability below
/// n² / 2¹²⁹ (one million keys: 1.5 × 10⁻²⁷), and because the hash is a pseudo-random function of a secret that is random
/// for every process, nobody outside can look for two that do, nor choose where in a table a key goes.
///
/// A key is made in one of two ways: by a [`KeyBuilder`], which hashes all of its parts together; or, when many limits count
/// a request by some of the same parts, from the digest of each part's value, which is made once ([`KeyHasher::of_part`],
/// [`KeyHasher::digest`]) and put together with others by [`Key::and`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Key {
    low: u64,
    high: u64,
}

impl Key {
    /// The sixteen bytes, for the exchange between nodes.
    #[must_use]
    pub fn to_bytes(self) -> [u8; 16] {
        (u128::from(self.low) | u128::from(self.high) << 64).to_le_bytes()
    }

    /// The key that [`Self::to_bytes`] wrote.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        let [low, high] = [0, 64].map(|shift| {
            let half = (u128::from_le_bytes(bytes) >> shift) & u128::from(u64::MAX);
            u64::try_from(half).unwrap_or_default()
        });
        Self { low, high }
    }

    /// The key of what has this and the other part, in either order: both are digests of parts that differ, or made of
    /// them. The default is the key of what has no parts.
    ///
    /// It is the exclusive or, known as tabulation (Zobrist 1970; Pătraşcu and Thorup, "The Power of Simple Tabulation
    /// Hashing", 2012). Every part has a hasher, hence a pseudo-random function, of its own; so when two things differ in a
    /// part at all, the digests of that part are two random numbers, independent of everything that they are put
    /// together with. The keys then are equal with a probability of 2⁻¹²⁸, exactly as if all parts had been hashed
    /// together, and the bound on collisions above is the same. Nobody is shown a digest or a key, so there is nothing to
    /// learn by asking. What is weaker than with one hash of everything: of four keys made of the same two pairs of values
    /// three give the fourth, so that places in a table are independent by threes only; the paper shows that tables
    /// like this one fill as evenly as with a random function.
    #[inline]
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self { low: self.low ^ other.low, high: self.high ^ other.high }
    }

    /// Which of `count` shards it belongs to; `count` must not be 0.
    #[inline]
    pub(super) fn shard(self, count: usize) -> usize {
        scaled(self.low, count)
    }

    /// Where among `count` groups of a shard to look first; independent of the shard.
    #[inline]
    pub(super) fn home(self, count: usize) -> usize {
        scaled(self.high, count)
    }

    /// A byte that tells most keys of a group apart; never 0. Neither the shard nor the home depends on it, for they
    /// come from the high bits.
    #[inline]
    pub(super) fn tag(self) -> u8 {
        let [byte, ..] = self.low.to_le_bytes();
        byte.max(1)
    }
}

/// `0..count` in proportion to a hash.
#[inline]
fn scaled(hash: u64, count: usize) -> usize {
    usize::try_from((u128::from(hash) * count as u128) >> 64).unwrap_or_default()
}

/// Makes keys; everybody who shares a table must share the hasher.
#[derive(Clone, Copy)]
pub struct KeyHasher {
    k0: u64,
    k1: u64,
}

impl KeyHasher {
    /// The hasher of this process, with a secret that the operating system's random source gave.
    #[must_use]
    pub fn of_process() -> Self {
        static PROCESS: LazyLock<KeyHasher> = LazyLock::new(|| {
            // The standard library draws 128 random bits; both halves of ours are pseudo-random functions of them.
            let random = RandomState::new();
            KeyHasher { k0: random.hash_one(0_u64), k1: random.hash_one(1_u64) }
        });
        *PROCESS
    }

    /// A hasher with a secret that all nodes of a fleet know, for keys they exchange.
    #[must_use]
    pub fn of_fleet(secret: [u8; 16]) -> Self {
        let Key { low: k0, high: k1 } = Key::from_bytes(secret);
        Self { k0, k1 }
    }

    /// A hasher for the values of one part of keys: `path`, `header x-tenant`, …. Those for parts of different names are
    /// independent of each other and of this one.
    #[must_use]
    pub fn of_part(&self, name: &str) -> Self {
        let Key { low: k0, high: k1 } = self.key().bytes(b"part").bytes(name.as_bytes()).finish();
        Self { k0, k1 }
    }

    /// The digest of a value: SipHash-1-3 of its bytes.
    #[must_use]
    pub fn digest(&self, value: &[u8]) -> Key {
        let (low, high) = SipHash::<1, 3>::new(self.k0, self.k1).of_bytes(value);
        Key { low, high }
    }

    /// The digest of an address or the first address of a network; an IPv4-mapped IPv6 address is the IPv4 address.
    #[must_use]
    pub fn digest_of_address(&self, address: IpAddr) -> Key {
        match address.to_canonical() {
            IpAddr::V4(address) => self.digest(&address.octets()),
            IpAddr::V6(address) => self.digest(&address.octets()),
        }
    }

    /// Begins a key of any number of parts. Without parts it is the key that all share.
    pub fn key(&self) -> KeyBuilder {
        KeyBuilder(SipHash::new(self.k0, self.k1))
    }
}

impl std::fmt::Debug for KeyHasher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("KeyHasher(secret)")
    }
}

/// A key in the making.
///
/// Parts are told apart by their order and length, so `"ab", "c"` and `"a", "bc"` are different keys. The hash is
/// SipHash-1-3, which the standard library trusts with the same task; it allocates nothing.
#[derive(Clone, Copy, Debug)]
#[must_use]
pub struct KeyBuilder(SipHash<1, 3>);

impl KeyBuilder {
    /// Adds a part: a path, a header's value, ….
    pub fn bytes(mut self, part: &[u8]) -> Self {
        self.0.word(part.len() as u64);
        let (words, last) = part.as_chunks::<8>();
        for word in words {
            self.0.word(u64::from_le_bytes(*word));
        }
        if !last.is_empty() {
            self.0.word(rest(part));
        }
        self
    }

    /// Adds an address or the first address of a network; an IPv4-mapped IPv6 address is the IPv4 address.
    pub fn address(self, address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => self.bytes(&address.octets()),
            IpAddr::V6(address) => self.bytes(&address.octets()),
        }
    }

    /// The key.
    #[must_use]
    pub fn finish(self) -> Key {
        let (low, high) = self.0.finish();
        Key { low, high }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::{any, proptest};
    use std::collections::HashSet;

    const FLEET: [u8; 16] = *b"0123456789abcdef";

    fn key(parts: &[&[u8]]) -> Key {
        parts.iter().fold(KeyHasher::of_fleet(FLEET).key(), |key, part| key.bytes(part)).finish()
    }

    #[test]
    fn parts_do_not_run_together() {
        let keys = [
            key(&[]),
            key(&[b""]),
            key(&[b"", b""]),
            key(&[b"ab", b"c"]),
            key(&[b"a", b"bc"]),
            key(&[b"abc"]),
            key(&[b"abc\0"]),
            key(&[b"abcdefgh"]),
            key(&[b"abcdefgh", b""]),
        ];
        assert_eq!(keys.iter().collect::<HashSet<_>>().len(), keys.len());
    }

    #[test]
    fn a_mapped_address_is_the_ipv4_address() {
        let key = |address: &str| KeyHasher::of_process().key().address(address.parse().unwrap()).finish();
        assert_eq!(key("::ffff:192.0.2.1"), key("192.0.2.1"));
        assert_ne!(key("192.0.2.2"), key("192.0.2.1"));
    }

    #[test]
    fn the_secret_decides() {
        let with = |hasher: KeyHasher| hasher.key().bytes(b"client").finish();
        assert_eq!(with(KeyHasher::of_process()), with(KeyHasher::of_process()));
        assert_eq!(with(KeyHasher::of_fleet(FLEET)), with(KeyHasher::of_fleet(FLEET)));
        assert_ne!(with(KeyHasher::of_process()), with(KeyHasher::of_fleet(FLEET)));
        assert_eq!(format!("{:?}", KeyHasher::of_fleet(FLEET)), "KeyHasher(secret)");
    }

    #[test]
    fn digests_of_parts_make_keys() {
        let [path, host] = ["path", "host"].map(|part| KeyHasher::of_fleet(FLEET).of_part(part));
        let key = |a: &[u8], b: &[u8]| path.digest(a).and(host.digest(b));
        let keys = [
            Key::default(),
            path.digest(b""),
            path.digest(b"a"),
            host.digest(b"a"),
            key(b"", b""),
            key(b"a", b"b"),
            key(b"b", b"a"),
            key(b"a", b"a"),
            key(b"b", b"b"),
            key(b"ab", b""),
            key(b"", b"ab"),
        ];
        assert_eq!(keys.iter().collect::<HashSet<_>>().len(), keys.len());
        assert_eq!(path.digest(b"a").and(Key::default()), path.digest(b"a"));
        let of = |address: &str| path.digest_of_address(address.parse().unwrap());
        assert_eq!(of("::ffff:192.0.2.1"), of("192.0.2.1"));
        assert_ne!(of("2001:db8::1"), of("2001:db8::2"));
    }

    #[test]
    fn keys_of_many_values_in_two_parts_spread_evenly() {
        let [path, client] = ["path", "client"].map(|part| KeyHasher::of_fleet(FLEET).of_part(part));
        let mut shards = [0_u32; 16];
        for (path, client) in
            (0..16_000_u32).map(|n| (path.digest(&[n.to_le_bytes()[0]]), client.digest(&(n >> 8).to_le_bytes())))
        {
            shards[path.and(client).shard(16)] += 1;
        }
        // Wider than below, for the same values come again and again.
        assert!(shards.iter().all(|count| (750..1_250).contains(count)), "{shards:?}");
    }

    #[test]
    fn keys_spread_evenly() {
        let mut shards = [0_u32; 16];
        for n in 0..16_000_u32 {
            shards[key(&[&n.to_le_bytes()]).shard(16)] += 1;
        }
        // Five standard deviations of a binomial distribution around 1,000.
        assert!(shards.iter().all(|count| (845..1_155).contains(count)), "{shards:?}");
    }

    proptest! {
        #[test]
        fn writing_and_reading_is_the_identity(low in any::<u64>(), high in any::<u64>()) {
            let key = Key { low, high };
            assert_eq!(Key::from_bytes(key.to_bytes()), key);
        }
    }
}
