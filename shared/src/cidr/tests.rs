//! Sets against the naïve list: a linear scan for the most specific network that counts.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;
use proptest::strategy::Union;

use super::live_set::Change;
use super::*;

/// A network, until when it counts, and who listed it.
type Listed = (Network, Option<u64>, u8);

/// Networks that nest often: all begin with one of a few addresses.
fn networks() -> impl Strategy<Value = Network> {
    let four = (prop_oneof![0u32..4, any::<u32>()], 0u8..=32)
        .prop_map(|(low, prefix)| around(Ipv4Addr::from_bits(0x0a00_0000 | low << 4 | low).into(), prefix, 0));
    let six = (prop_oneof![0u128..4, any::<u128>()], 0u8..=128)
        .prop_map(|(low, prefix)| around(Ipv6Addr::from_bits(0x2001 << 112 | low << 62 | low).into(), 0, prefix));
    Union::new([four.boxed(), six.boxed()])
}

fn listed() -> impl Strategy<Value = Listed> {
    (networks(), proptest::option::of(0u64..20), any::<u8>())
}

fn addresses() -> impl Strategy<Value = Vec<IpAddr>> {
    proptest::collection::vec(any::<IpAddr>(), 0..20)
}

/// The first and last address of every network, and those just outside.
fn edges(networks: impl Iterator<Item = Network>) -> Vec<IpAddr> {
    let around = |first: IpAddr, last: IpAddr| -> [IpAddr; 4] {
        let step = |address: IpAddr, by: i8| match address {
            IpAddr::V4(address) => IpAddr::from(Ipv4Addr::from_bits(address.to_bits().wrapping_add_signed(by.into()))),
            IpAddr::V6(address) => IpAddr::from(Ipv6Addr::from_bits(address.to_bits().wrapping_add_signed(by.into()))),
        };
        [step(first, -1), first, last, step(last, 1)]
    };
    networks.flat_map(|network| around(network.as_ipnet().network(), network.as_ipnet().broadcast())).collect()
}

fn counts(until: Option<u64>, now: u64) -> bool {
    until.is_none_or(|until| until > now)
}

fn naive(list: &[Listed], address: IpAddr, now: u64) -> Option<Network> {
    let live = list.iter().filter(|(network, until, _)| network.contains(address) && counts(*until, now));
    live.map(|(network, ..)| *network).max_by_key(|network| network.as_ipnet().prefix_len())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn a_set_equals_the_naive_list(list in proptest::collection::vec(listed(), 0..120), more in addresses()) {
        let mut builder = NetworkSetBuilder::new("list");
        for (line, (network, until, owner)) in (1..).zip(&list) {
            let owner = format!("team-{owner}");
            builder.add(*network, &Note { until: *until, owner: Some(&owner), ..Note::default() }, line);
        }
        let set = builder.build().unwrap();
        let edges = edges(list.iter().map(|(network, ..)| *network));
        for address in edges.into_iter().chain(more) {
            prop_assert_eq!(set.contains(address), list.iter().any(|(network, ..)| network.contains(address)));
            for now in [0, 1, 7, 19, 20, u64::MAX] {
                let found = set.find(address, now);
                prop_assert_eq!(found.map(|entry| entry.network()), naive(&list, address, now), "{} at {}", address, now);
                let Some(entry) = found else { continue };
                let (network, until, owner) = list[usize::try_from(entry.line()).unwrap() - 1];
                let owner = format!("team-{owner}");
                prop_assert_eq!(entry.network(), network);
                prop_assert_eq!(entry.note(), Note { until, owner: Some(&owner), ..Note::default() });
            }
        }
    }

    #[test]
    fn an_overlap_is_found_either_way(list in proptest::collection::vec(listed(), 0..60), network in networks()) {
        let set: NetworkSet = list.iter().map(|(network, ..)| *network).collect();
        let naive = list.iter().any(|(other, ..)| {
            other.contains(network.as_ipnet().network()) || network.contains(other.as_ipnet().network())
        });
        prop_assert_eq!(set.overlap(network, |_| true).is_some(), naive);
        let exact = list.iter().any(|(other, ..)| *other == network);
        prop_assert_eq!(set.entry(network).is_some(), exact);
        prop_assert_eq!(set.overlap(network, |entry| entry.network() == network).is_some(), exact);
    }

    #[test]
    fn a_changing_set_equals_the_naive_map(
        steps in proptest::collection::vec((proptest::collection::vec((listed(), any::<bool>()), 0..12), 0u8..4), 0..12),
        more in addresses(),
    ) {
        let set = LiveSet::with_limits(5, 12);
        let mut model: BTreeMap<Network, (Option<u64>, u8)> = BTreeMap::new();
        let mut begun = None;
        for (changes, then) in steps {
            apply(&set, &mut model, &changes);
            match then {
                // A compaction takes its time: changes come between its two halves.
                0 => begun = begun.or_else(|| Some(set.begin_compaction())),
                1 => if let Some(compaction) = begun.take() {
                    set.finish_compaction(&compaction, 0).unwrap();
                },
                2 if begun.is_none() => set.compact(0).unwrap(),
                _ => {}
            }
            let current = set.current();
            prop_assert_eq!(current.len(), model.len());
            let mut all: Vec<Network> = current.iter().map(|entry| entry.network()).collect();
            all.sort();
            prop_assert!(all.iter().eq(model.keys()));
            let list: Vec<Listed> = model.iter().map(|(network, (until, owner))| (*network, *until, *owner)).collect();
            for address in edges(model.keys().copied()).into_iter().chain(more.iter().copied()) {
                for now in [1, 9, u64::MAX] {
                    let found = current.find(address, now).map(|entry| (entry.network(), entry.note().owner.map(str::to_owned)));
                    let expected = naive(&list, address, now).map(|network| (network, Some(model[&network].1.to_string())));
                    prop_assert_eq!(found, expected);
                }
            }
        }
    }
}

/// Makes changes in a set and in its model; `true` inserts, `false` removes.
fn apply(set: &LiveSet, model: &mut BTreeMap<Network, (Option<u64>, u8)>, changes: &[(Listed, bool)]) {
    let owners: Vec<String> = changes.iter().map(|((.., owner), _)| owner.to_string()).collect();
    let note = |until: &Option<u64>, owner| Note { until: *until, owner: Some(owner), ..Note::default() };
    let changes = changes.iter().zip(&owners);
    let made: Vec<Change<'_>> = changes
        .map(|(((network, until, owner), is_insert), text)| {
            // At the dawn of time an insert is a removal.
            if *is_insert && *until != Some(0) {
                model.insert(*network, (*until, *owner));
                Change::Insert(*network, note(until, text))
            } else {
                model.remove(network);
                Change::Remove(*network)
            }
        })
        .collect();
    set.apply(&made).unwrap();
}

#[test]
fn of_entries_for_one_network_the_one_that_counts_longest_stays() {
    let network: Network = "192.0.2.0/24".parse().unwrap();
    let mut builder = NetworkSetBuilder::new("list");
    for (line, until) in (1..).zip([Some(5), Some(9), Some(9), Some(7)]) {
        builder.add(network, &Note { until, ..Note::default() }, line);
    }
    let set = builder.build().unwrap();
    assert_eq!((set.len(), set.entry(network).unwrap().line()), (1, 2));
}

#[test]
fn an_entry_ends_to_the_second() {
    let mut builder = NetworkSetBuilder::new("list");
    builder.add("192.0.2.0/24".parse().unwrap(), &Note { until: Some(1_000), ..Note::default() }, 1);
    let set = builder.build().unwrap();
    let address = "192.0.2.1".parse().unwrap();
    assert!(set.find(address, 999).is_some());
    assert!(set.find(address, 1_000).is_none());
}

#[test]
fn an_entry_tells_everything_that_was_written() {
    let note = Note { until: Some(7), owner: Some("soc"), ticket: Some("SEC-1"), reason: Some("scans the login page") };
    let mut builder = NetworkSetBuilder::new("lists/ours.netset");
    builder.add("2001:db8::/32".parse().unwrap(), &note, 12);
    let set = builder.build().unwrap();
    let entry = set.find("2001:db8::1".parse().unwrap(), 0).unwrap();
    assert_eq!((entry.list(), entry.line(), entry.note()), ("lists/ours.netset", 12, note));
    assert_eq!(entry.network().to_string(), "2001:db8::/32");
}

#[test]
fn what_is_compacted_never_brings_back_what_was_replaced() {
    let (set, network) = (LiveSet::new("list"), "192.0.2.0/24".parse().unwrap());
    set.apply(&[Change::Insert(network, Note::default())]).unwrap();
    let begun = set.begin_compaction();
    set.replace(NetworkSet::default());
    set.finish_compaction(&begun, 0).unwrap();
    assert!(set.current().is_empty());
    assert!(set.current().find("192.0.2.1".parse().unwrap(), 0).is_none());
}

#[test]
fn compaction_forgets_what_has_expired() {
    let (set, network) = (LiveSet::new("list"), "192.0.2.0/24".parse().unwrap());
    set.apply(&[Change::Insert(network, Note { until: Some(5), ..Note::default() })]).unwrap();
    set.compact(4).unwrap();
    assert_eq!(set.current().len(), 1);
    set.compact(5).unwrap();
    assert_eq!(set.current().len(), 0);
}

#[test]
fn many_changes_make_a_compaction_due() {
    let set = LiveSet::with_limits(2, 4);
    for last in 0..4u8 {
        assert!(!set.is_compaction_due());
        let network = Network::from(IpAddr::from([192, 0, 2, last]));
        set.apply(&[Change::Insert(network, Note::default()), Change::Remove("::/0".parse().unwrap())]).unwrap();
    }
    assert!(set.is_compaction_due());
    set.compact(0).unwrap();
    assert!(!set.is_compaction_due());
    assert_eq!(set.current().len(), 4);
}
