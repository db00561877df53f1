//! Groups that operators have shut off, wholly or for a share of the applications, until that ends by itself or somebody ends
//! it.
//!
//! [`Sheds`] is what calls look into, [`Keeper`] the process around it: it makes changes, keeps them in a file and in the store
//! of the fleet, and follows what other nodes change. With a share it is the same applications for as long as it lasts.

mod keeper;

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use gatehouse_shared::clock::Clock;
use gatehouse_shared::limit::KeyHasher;
use gatehouse_store::shed::Shed;

pub use self::keeper::{Changed, Keeper, Reach, ShedError, follow};

/// All applications.
pub const ALL: u8 = 100;

/// Which groups are shut off; outlives generations.
#[derive(Debug, Default)]
pub struct Sheds {
    clock: Clock,
    /// Everything known, ended records included. Locked for a change and for an exchange, never for a call.
    known: Mutex<BTreeMap<String, Shed>>,
    /// What has not ended, for calls.
    current: ArcSwap<HashMap<String, Shed>>,
    /// Whether there is any.
    is_any: AtomicBool,
}

impl Sheds {
    /// How long a call of `group` is refused yet; `None`: it is not. `app` is the key of the application; calls without one
    /// are told apart by the address of the client.
    #[must_use]
    pub fn refuses(&self, group: &str, app: Option<&str>, client: IpAddr) -> Option<Duration> {
        if !self.is_any.load(Ordering::Relaxed) {
            return None;
        }
        let current = self.current.load();
        let unix_ms = self.clock.unix_ms();
        let shed = current.get(group).filter(|shed| shed.counts_at(unix_ms / 1_000) && concerns(shed, app, client))?;
        Some(Duration::from_millis(shed.until.saturating_mul(1_000).saturating_sub(unix_ms)))
    }

    /// Takes in what is newer than what is known; returns whether anything was.
    pub fn merge(&self, sheds: Vec<Shed>, now: u64) -> bool {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let before = known.len();
        known.retain(|_, shed| !shed.is_forgotten_at(now));
        let mut is_changed = known.len() != before;
        for shed in sheds {
            if known.get(&shed.group).is_none_or(|old| old.stamp < shed.stamp) && !shed.is_forgotten_at(now) {
                known.insert(shed.group.clone(), shed);
                is_changed = true;
            }
        }
        if is_changed {
            let current = known.values().filter(|shed| shed.counts_at(now));
            let current: HashMap<String, Shed> = current.map(|shed| (shed.group.clone(), shed.clone())).collect();
            let is_any = !current.is_empty();
            self.current.store(Arc::new(current));
            self.is_any.store(is_any, Ordering::Relaxed);
        }
        is_changed
    }

    /// Everything known, ended records included.
    #[must_use]
    pub fn all(&self) -> Vec<Shed> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// What is known of a group.
    #[must_use]
    pub fn of(&self, group: &str) -> Option<Shed> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).get(group).cloned()
    }
}

/// Whether an application is among those that are refused. The same on all nodes and for the whole time; another record chooses
/// others.
fn concerns(shed: &Shed, app: Option<&str>, client: IpAddr) -> bool {
    if shed.percent >= ALL {
        return true;
    }
    let key = KeyHasher::of_fleet([0; 16]).key().bytes(&shed.stamp.to_be_bytes());
    let key = match app {
        Some(app) => key.bytes(app.as_bytes()),
        None => key.address(client),
    };
    let [first, second, ..] = key.finish().to_bytes();
    u16::from_be_bytes([first, second]) % u16::from(ALL) < u16::from(shed.percent)
}

#[cfg(test)]
mod tests {
    use super::*;
    use gatehouse_shared::clock::ManualClock;
    use gatehouse_store::shed::MEMORY;

    const NOW: u64 = 1_795_169_880;
    const CLIENT: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    fn shed(percent: u8, until: u64, stamp: u64) -> Shed {
        let (by, node) = ("operate".to_owned(), "business-1".to_owned());
        Shed { group: "rest".to_owned(), percent, until, reason: None, owner: None, by, node, stamp }
    }

    #[test]
    fn a_group_is_shut_off_until_its_end_or_until_somebody_ends_it() {
        let clock = ManualClock::starting_at(NOW * 1_000);
        let sheds = Sheds { clock: Clock::Manual(Arc::clone(&clock)), ..Sheds::default() };
        let rest = || sheds.refuses("rest", Some("shop"), CLIENT);
        assert_eq!(rest(), None);
        assert!(sheds.merge(vec![shed(100, NOW + 60, 1)], NOW));
        assert_eq!(rest(), Some(Duration::from_secs(60)));
        assert_eq!(sheds.refuses("core", Some("shop"), CLIENT), None);
        assert!(!sheds.merge(vec![shed(0, NOW + 60, 1)], NOW), "not newer");
        clock.advance(Duration::from_secs(20));
        assert_eq!(rest(), Some(Duration::from_secs(40)));
        assert!(sheds.merge(vec![shed(0, NOW + 60, 2)], NOW + 20));
        assert_eq!(rest(), None);
        assert!(sheds.merge(vec![shed(100, NOW + 60, 3)], NOW + 20));
        clock.advance(Duration::from_secs(40));
        assert_eq!(rest(), None, "it has ended");
        assert!(sheds.merge(Vec::new(), NOW + 2 * MEMORY), "and is forgotten");
        assert!(sheds.all().is_empty());
    }

    #[test]
    fn a_share_of_applications_is_refused_and_always_the_same() {
        let concerned = |stamp: u64| -> Vec<bool> {
            (0..2_000).map(|app| concerns(&shed(30, NOW + 60, stamp), Some(&format!("app{app}")), CLIENT)).collect()
        };
        let refused = concerned(1);
        let count = refused.iter().filter(|is_refused| **is_refused).count();
        // Five standard deviations of a binomial distribution.
        assert!((500..700).contains(&count), "{count} of 2000");
        assert_eq!(refused, concerned(1));
        assert_ne!(refused, concerned(2));
    }
}
