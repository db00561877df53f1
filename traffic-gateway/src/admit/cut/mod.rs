//! Is the route cut off? Operators stop a route at once and on all nodes, wholly or for a share of its clients, until it ends
//! by itself or somebody starts it again.
//!
//! [`CutOff`] is the stage, [`Cuts`] what it looks into, [`Keeper`] the process around it: it makes changes, keeps them in a
//! file and in Redis, and follows what other nodes change. It concerns everybody, allowed networks too: who stops a route
//! means it. With a share it is the same clients for as long as it lasts.

mod keeper;

use std::{
    collections::{BTreeMap, HashMap},
    net::IpAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use gatehouse_shared::{limit::KeyHasher, problem};
use gatehouse_store::cut::Cut;

pub use keeper::{CutError, Following, Keeper};

use super::{Denial, Entry, Evidence, RequestView, Source, Stage, Verdict};

/// All clients.
const ALL: u8 = 100;

/// The stage.
#[derive(Debug, Clone, Default)]
pub struct CutOff {
    cuts: Arc<Cuts>,
}

/// Which routes are cut off; outlives configurations.
#[derive(Debug, Default)]
pub struct Cuts {
    /// Everything known, ended cuts included. Locked for a change and for an exchange, never for a request.
    known: Mutex<BTreeMap<String, Cut>>,
    /// What has not ended, for requests.
    current: ArcSwap<HashMap<String, Cut>>,
    /// Whether there is any.
    is_any: AtomicBool,
}

impl CutOff {
    /// What it looks into.
    #[must_use]
    pub fn cuts(&self) -> &Arc<Cuts> {
        &self.cuts
    }
}

impl Stage for CutOff {
    const NAME: &'static str = "cut";

    fn check(&self, request: &RequestView<'_>, _now: Instant) -> Verdict {
        if !self.cuts.is_any.load(Ordering::Relaxed) {
            return Verdict::Pass;
        }
        let Some(route) = request.route() else { return Verdict::Pass };
        let current = self.cuts.current.load();
        let now = request.unix_ms() / 1_000;
        match current.get(&*route.name).filter(|cut| cut.counts_at(now) && concerns(cut, request.client())) {
            Some(cut) => Verdict::Deny(denial(cut, request.unix_ms())),
            None => Verdict::Pass,
        }
    }
}

impl Cuts {
    /// Takes in what is newer than what is known; returns whether anything was.
    pub fn merge(&self, cuts: Vec<Cut>, now: u64) -> bool {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let before = known.len();
        known.retain(|_, cut| !cut.is_forgotten_at(now));
        let mut is_changed = known.len() != before;
        for cut in cuts {
            if known.get(&cut.route).is_none_or(|old| old.stamp < cut.stamp) && !cut.is_forgotten_at(now) {
                known.insert(cut.route.clone(), cut);
                is_changed = true;
            }
        }
        if is_changed {
            let current: HashMap<String, Cut> =
                known.values().filter(|cut| cut.counts_at(now)).map(|cut| (cut.route.clone(), cut.clone())).collect();
            self.is_any.store(!current.is_empty(), Ordering::Relaxed);
            self.current.store(Arc::new(current));
        }
        is_changed
    }

    /// Everything known, ended cuts included.
    #[must_use]
    pub fn all(&self) -> Vec<Cut> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// What is known of a route.
    #[must_use]
    pub fn of(&self, route: &str) -> Option<Cut> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).get(route).cloned()
    }
}

/// Whether a client is among those who are refused. The same on all nodes and for the whole time; another cut chooses others.
fn concerns(cut: &Cut, client: IpAddr) -> bool {
    if cut.percent >= ALL {
        return true;
    }
    let key = KeyHasher::of_fleet([0; 16]).key().bytes(&cut.stamp.to_be_bytes()).address(client).finish();
    let [first, second, ..] = key.to_bytes();
    u16::from_be_bytes([first, second]) % u16::from(ALL) < u16::from(cut.percent)
}

fn denial(cut: &Cut, unix_ms: u64) -> Denial {
    let until_unix_ms = cut.until.saturating_mul(1_000);
    let text = |text: &Option<String>| text.as_deref().map(Box::from);
    let entry = Entry {
        text: cut.route.as_str().into(),
        owner: text(&cut.owner),
        reason: text(&cut.reason),
        until_unix_ms: Some(until_unix_ms),
        ..Entry::default()
    };
    let evidence = Evidence::new(Source::List, "stopped routes").entry(entry).matched("route", cut.route.as_bytes());
    let rest = Duration::from_millis(until_unix_ms.saturating_sub(unix_ms));
    Denial { retry_after: Some(rest), ..Denial::from(&problem::ROUTE_STOPPED).because_of(evidence) }
}

#[cfg(test)]
mod tests {
    use gatehouse_shared::clock;

    use super::*;
    use crate::admit::view::sample::Sample;

    const NOW: u64 = 1_795_169_880;

    fn cut(percent: u8, until: u64, stamp: u64) -> Cut {
        Cut {
            route: "*/".to_owned(),
            percent,
            until,
            reason: Some("melts".to_owned()),
            owner: None,
            by: "operate".to_owned(),
            node: "edge-1".to_owned(),
            stamp,
        }
    }

    fn verdict(stage: &CutOff, client: &str) -> Verdict {
        let mut sample = Sample::get("/", &[]).from(client).routed();
        sample.unix_ms = NOW * 1_000;
        stage.check(&sample.view(), clock::now())
    }

    #[test]
    fn a_route_is_stopped_until_its_end_or_its_start() {
        let stage = CutOff::default();
        assert_eq!(verdict(&stage, "192.0.2.1"), Verdict::Pass);
        assert!(stage.cuts().merge(vec![cut(100, NOW + 60, 1)], NOW));
        let Verdict::Deny(denial) = verdict(&stage, "192.0.2.1") else { panic!("not stopped") };
        assert_eq!(denial.reason, &problem::ROUTE_STOPPED);
        assert_eq!(denial.retry_after, Some(Duration::from_secs(60)));
        assert!(!stage.cuts().merge(vec![cut(0, NOW + 60, 1)], NOW), "not newer");
        assert!(stage.cuts().merge(vec![cut(0, NOW + 60, 2)], NOW));
        assert_eq!(verdict(&stage, "192.0.2.1"), Verdict::Pass);
        assert!(stage.cuts().merge(vec![cut(100, NOW, 3)], NOW - 1));
        assert_eq!(verdict(&stage, "192.0.2.1"), Verdict::Pass, "it has ended");
        assert!(stage.cuts().merge(Vec::new(), NOW + 2 * gatehouse_store::cut::MEMORY), "and is forgotten");
        assert!(stage.cuts().all().is_empty());
    }

    #[test]
    fn a_share_of_clients_is_refused_and_always_the_same() {
        let stage = CutOff::default();
        stage.cuts().merge(vec![cut(30, NOW + 60, 1)], NOW);
        let is_refused = |n: u16| {
            let client = format!("198.51.{}.{}", n / 250, n % 250);
            let verdict = verdict(&stage, &client);
            assert_eq!(matches!(verdict, Verdict::Deny(_)), concerns(&cut(30, NOW + 60, 1), client.parse().unwrap()));
            matches!(verdict, Verdict::Deny(_))
        };
        let refused = (0..2_000).filter(|n| is_refused(*n)).count();
        // Five standard deviations of a binomial distribution.
        assert!((500..700).contains(&refused), "{refused} of 2000");
    }
}
