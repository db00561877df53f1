//! A share of callers, always the same ones, on every node and for as long as the rule stands.
//!
//! Everybody has a place between 0 and 999,999: the first eight bytes of the SHA-256 of `SALT/BRANCH/UID`, as a big-endian number,
//! modulo one million. A share of p % are those whose place is below p × 10,000; so whoever grows it adds callers and moves
//! nobody else, and two shares with different names are independent of one another. Anybody can compute it:
//! `printf %s orders-canary/canary/4711 | sha256sum`.

use ring::digest::{Context, SHA256};

/// Places there are.
pub const PLACES: u32 = 1_000_000;

/// A share of callers.
#[derive(Clone)]
pub struct Share {
    /// What comes before the uid, hashed already.
    prefix: Context,
    /// The places below this belong to it.
    end: u32,
}

impl std::fmt::Debug for Share {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Share").field("end", &self.end).finish_non_exhaustive()
    }
}

impl Share {
    /// `percent` of callers, by the salt and the name of the share; `None` where it is not 0 to 100.
    #[must_use]
    pub fn new(salt: &str, name: &str, percent: f64) -> Option<Self> {
        let mut prefix = Context::new(&SHA256);
        for part in [salt, "/", name, "/"] {
            prefix.update(part.as_bytes());
        }
        Some(Self { prefix, end: places(percent)? })
    }

    /// Whether a caller belongs to it.
    #[must_use]
    pub fn has(&self, uid: &str) -> bool {
        match self.end {
            0 => false,
            PLACES => true,
            end => self.place(uid) < u64::from(end),
        }
    }

    fn place(&self, uid: &str) -> u64 {
        let mut hash = self.prefix.clone();
        hash.update(uid.as_bytes());
        let bytes = hash.finish();
        let number = bytes.as_ref().iter().take(8).fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
        number % u64::from(PLACES)
    }
}

/// How many places so many hundredths are, to the nearest; `None` where it is not 0 to 100.
fn places(percent: f64) -> Option<u32> {
    if !(0.0..=100.0).contains(&percent) {
        return None;
    }
    // The one conversion that cannot be wrong without saying so.
    format!("{:.0}", percent * f64::from(PLACES / 100)).parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_stay_as_they_are() {
        // printf %s orders-canary/canary/4711 | sha256sum | cut -c1-16, modulo one million.
        let share = Share::new("orders-canary", "canary", 5.0).unwrap();
        let digest = ring::digest::digest(&SHA256, b"orders-canary/canary/4711");
        let first: [u8; 8] = digest.as_ref()[..8].try_into().unwrap();
        assert_eq!(share.place("4711"), u64::from_be_bytes(first) % 1_000_000);
        assert_eq!(share.place("4711"), 896_608);
    }

    #[test]
    fn five_percent_of_a_hundred_thousand_are_five_percent() {
        for salt in ["orders-canary", "a", "b", "c", "d", "e", "f", "g"] {
            let share = Share::new(salt, "canary", 5.0).unwrap();
            let count = (0..100_000).filter(|uid| share.has(&uid.to_string())).count();
            assert!((4_700..=5_300).contains(&count), "{salt}: {count}");
        }
    }

    #[test]
    fn shares_with_other_names_are_independent() {
        let (one, two) = (Share::new("s", "a", 50.0).unwrap(), Share::new("s", "b", 50.0).unwrap());
        let count = (0..10_000).filter(|uid| one.has(&uid.to_string()) && two.has(&uid.to_string())).count();
        assert!((2_300..=2_700).contains(&count), "{count}");
    }

    #[test]
    fn percent_are_hundredths_with_four_digits() {
        for (percent, expected) in
            [(0.0, Some(0)), (5.0, Some(50_000)), (0.0001, Some(1)), (33.3333, Some(333_333)), (100.0, Some(PLACES))]
        {
            assert_eq!(places(percent), expected, "{percent}");
        }
        for percent in [-0.1, 100.1, f64::NAN, f64::INFINITY] {
            assert_eq!(places(percent), None, "{percent}");
        }
        let (none, all) = (Share::new("s", "a", 0.0).unwrap(), Share::new("s", "a", 100.0).unwrap());
        assert!((0..1_000).all(|uid| !none.has(&uid.to_string()) && all.has(&uid.to_string())));
    }

    proptest::proptest! {
        #[test]
        fn who_is_in_stays_in_when_a_share_grows(
            uid: String, salt in "[a-z]{1,8}", less in 0.0..100.0_f64, more in 0.0..100.0_f64,
        ) {
            let (less, more) = (less.min(more), less.max(more));
            let share = |percent| Share::new(&salt, "x", percent).unwrap();
            proptest::prop_assert_eq!(share(less).has(&uid), share(less).has(&uid));
            proptest::prop_assert!(share(more).has(&uid) || !share(less).has(&uid));
        }
    }
}
