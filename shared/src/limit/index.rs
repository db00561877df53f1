//! A hash map from keys to states that packs densely: open addressing with one tag byte a slot.
//!
//! Slots come in groups of eight, behind a word with their tags. A key is looked for in its home group and the ones after
//! it, up to the first group with an empty slot; among eight tags an equal one points at the right slot in 31 of 32 cases,
//! so that a look-up usually touches one word of tags and one slot. Nothing is ever taken out singly, hence there are no
//! tombstones: a state that is no longer needed is replaced in place, or left behind when the map is rebuilt.

use super::key::Key;

/// Slots in a group.
const LANES: usize = 8;
/// A group is full to 7 of 8 before the map is rebuilt, and 6 of 8 after: 64-byte slots then cost 74 to 87 bytes a key,
/// 40-byte ones 47 to 55, and a rebuild moves six keys for each that came.
const MOST_OF_A_GROUP: usize = 7;
const FRESH_OF_A_GROUP: usize = 6;

const EMPTY: u8 = 0;
const ONES: u64 = 0x0101_0101_0101_0101;
const LOW_BITS: u64 = 0x7f7f_7f7f_7f7f_7f7f;

#[derive(Clone, Copy, Debug, Default)]
struct Slot<S> {
    key: Key,
    state: S,
}

/// Eight slots and their tags: in a map with few keys both are in one cache line.
#[derive(Clone, Copy, Debug, Default)]
struct Group<S> {
    tags: u64,
    slots: [Slot<S>; LANES],
}

#[derive(Debug)]
pub(super) struct Index<S> {
    groups: Box<[Group<S>]>,
    len: usize,
}

impl<S: Copy + Default> Index<S> {
    /// An empty map that takes this many keys without being rebuilt.
    pub(super) fn with_room(keys: usize) -> Self {
        Self { groups: vec![Group::default(); keys.div_ceil(FRESH_OF_A_GROUP)].into_boxed_slice(), len: 0 }
    }

    /// Whether another key fits in.
    pub(super) fn has_room(&self) -> bool {
        self.len < self.groups.len() * MOST_OF_A_GROUP
    }

    /// What it occupies beyond itself.
    pub(super) fn bytes(&self) -> usize {
        size_of_val(&*self.groups)
    }

    pub(super) fn get(&self, key: Key) -> Option<&S> {
        let (group, lane) = self.position(key)?;
        self.groups.get(group)?.slots.get(lane).map(|slot| &slot.state)
    }

    #[inline]
    pub(super) fn get_mut(&mut self, key: Key) -> Option<&mut S> {
        let (group, lane) = self.position(key)?;
        self.groups.get_mut(group)?.slots.get_mut(lane).map(|slot| &mut slot.state)
    }

    /// Adds a key that is not there. Without room it is not added.
    pub(super) fn insert(&mut self, key: Key, state: S) {
        if !self.has_room() {
            return;
        }
        let empty = self.groups_from_home(key).find_map(|(at, group)| Some((at, first_lane(group.tags, EMPTY)?)));
        let Some((at, lane)) = empty else { return };
        self.set(at, lane, key, state);
        self.len += 1;
    }

    /// Puts a key that is not there in the place of one that may go, if one is near enough to be found there.
    pub(super) fn replace(&mut self, key: Key, state: S, may_go: impl Fn(&S) -> bool) -> bool {
        let mut found = None;
        for (at, group) in self.groups_from_home(key) {
            let taken = lanes(!matching(group.tags, EMPTY) & !LOW_BITS);
            let mut idle = taken.filter(|lane| group.slots.get(*lane).is_some_and(|slot| may_go(&slot.state)));
            found = idle.next().map(|lane| (at, lane));
            if found.is_some() || first_lane(group.tags, EMPTY).is_some() {
                break;
            }
        }
        let Some((at, lane)) = found else { return false };
        self.set(at, lane, key, state);
        true
    }

    /// Leaves behind what may go and makes room for another key; the number left behind.
    pub(super) fn rebuild(&mut self, may_go: impl Fn(&S) -> bool) -> usize {
        let staying = || self.occupied().filter(|slot| !may_go(&slot.state));
        let mut rebuilt = Self::with_room(staying().count() + 1);
        staying().for_each(|slot| rebuilt.insert(slot.key, slot.state));
        let gone = self.len - rebuilt.len;
        *self = rebuilt;
        gone
    }

    pub(super) fn states(&self) -> impl Iterator<Item = &S> {
        self.occupied().map(|slot| &slot.state)
    }

    /// Every state, and the default ones of empty slots too.
    pub(super) fn states_mut(&mut self) -> impl Iterator<Item = &mut S> {
        self.groups.iter_mut().flat_map(|group| &mut group.slots).map(|slot| &mut slot.state)
    }

    fn occupied(&self) -> impl Iterator<Item = &Slot<S>> {
        self.groups.iter().flat_map(|group| {
            let tags = group.tags.to_le_bytes().into_iter();
            tags.zip(&group.slots).filter(|(tag, _)| *tag != EMPTY).map(|(_, slot)| slot)
        })
    }

    /// The group and the lane of a key.
    #[inline]
    fn position(&self, key: Key) -> Option<(usize, usize)> {
        let (home, tag) = (key.home(self.groups.len()), key.tag());
        let mut at = home;
        loop {
            let group = self.groups.get(at)?;
            for lane in lanes(matching(group.tags, tag)) {
                if group.slots.get(lane).is_some_and(|slot| slot.key == key) {
                    return Some((at, lane));
                }
            }
            at = if at + 1 == self.groups.len() { 0 } else { at + 1 };
            if matching(group.tags, EMPTY) != 0 || at == home {
                return None;
            }
        }
    }

    /// Groups in the order in which the key is looked for.
    fn groups_from_home(&self, key: Key) -> impl Iterator<Item = (usize, &Group<S>)> {
        let home = key.home(self.groups.len());
        let (before, from) = self.groups.split_at_checked(home).unwrap_or_default();
        from.iter().enumerate().map(move |(at, group)| (home + at, group)).chain(before.iter().enumerate())
    }

    fn set(&mut self, at: usize, lane: usize, key: Key, state: S) {
        if let Some(group) = self.groups.get_mut(at)
            && let Some(slot) = group.slots.get_mut(lane)
        {
            group.tags = group.tags & !(0xff << (lane * 8)) | u64::from(key.tag()) << (lane * 8);
            *slot = Slot { key, state };
        }
    }
}

/// The high bit of each byte of `tags` that equals `tag`.
#[inline]
fn matching(tags: u64, tag: u8) -> u64 {
    let difference = tags ^ (ONES * u64::from(tag));
    !(((difference & LOW_BITS) + LOW_BITS) | difference | LOW_BITS)
}

/// The lanes whose high bits are set, first to last.
#[inline]
fn lanes(mut bits: u64) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let lane = (bits != 0).then(|| bits.trailing_zeros() as usize / 8)?;
        bits &= bits - 1;
        Some(lane)
    })
}

fn first_lane(tags: u64, tag: u8) -> Option<usize> {
    lanes(matching(tags, tag)).next()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limit::KeyHasher;
    use proptest::prelude::{any, proptest};
    use std::collections::HashMap;

    fn key(n: u32) -> Key {
        KeyHasher::of_process().key().bytes(&n.to_le_bytes()).finish()
    }

    #[test]
    fn finds_equal_bytes_and_no_others() {
        assert_eq!(lanes(matching(0x00ff_0100_8001_7f00, 0)).collect::<Vec<_>>(), [0, 4, 7]);
        assert_eq!(lanes(matching(0x00ff_0100_8001_7f00, 1)).collect::<Vec<_>>(), [2, 5]);
        assert_eq!(lanes(matching(0x00ff_0100_8001_7f00, 0x80)).collect::<Vec<_>>(), [3]);
        assert_eq!(lanes(matching(u64::MAX, 0xff)).count(), 8);
    }

    #[test]
    fn a_full_map_takes_no_more() {
        let mut index = Index::with_room(1);
        (0..100).for_each(|n| index.insert(key(n), n));
        assert_eq!(index.states().count(), 7);
        assert_eq!((0..100).filter(|n| index.get(key(*n)) == Some(n)).count(), 7);
        let mut none = Index::with_room(0);
        none.insert(key(0), 0);
        assert_eq!((none.states().count(), none.get(key(0)), none.bytes()), (0, None, 0));
    }

    #[test]
    fn a_key_takes_the_place_of_one_that_may_go_and_breaks_no_other() {
        let mut index = Index::with_room(600);
        (0..700).for_each(|n| index.insert(key(n), n));
        assert_eq!(index.states().count(), 700);
        let mut gone = 0;
        for n in 1_000..1_500 {
            gone += u32::from(index.replace(key(n), n, |state| *state < 350));
        }
        assert!(gone > 250, "{gone} of 350 were found");
        assert_eq!(index.states().count(), 700);
        assert!((350..700).all(|n| index.get(key(n)) == Some(&n)));
        let there = |range: std::ops::Range<u32>| range.filter(|n| index.get(key(*n)) == Some(n)).count();
        assert_eq!(there(0..350) + there(1_000..1_500), 350);
    }

    proptest! {
        #[test]
        fn equals_a_plain_map(numbers in proptest::collection::vec(any::<u8>(), 0..600)) {
            let (mut index, mut plain) = (Index::with_room(0), HashMap::new());
            for (turn, n) in (0_u32..).zip(numbers) {
                let key = key(n.into());
                if let Some(state) = index.get_mut(key) {
                    *state = turn;
                } else {
                    if !index.has_room() {
                        let may_go = |state: &u32| state.is_multiple_of(3);
                        let before = plain.len();
                        plain.retain(|_, state| !may_go(state));
                        assert_eq!(index.rebuild(may_go), before - plain.len());
                    }
                    index.insert(key, turn);
                }
                plain.insert(n, turn);
                assert_eq!(index.states().count(), plain.len());
            }
            for n in 0..=u8::MAX {
                assert_eq!(index.get(key(n.into())), plain.get(&n));
            }
            let mut states: Vec<_> = index.states().collect();
            let mut expected: Vec<_> = plain.values().collect();
            states.sort_unstable();
            expected.sort_unstable();
            assert_eq!(states, expected);
        }
    }
}
