//! A hash map from keys to states that packs densely: open addressing with one tag byte a slot.
//!
//! Slots come in groups of eight, whose tags fill one word. A key is looked for in its home group and the ones after it,
//! up to the first group with an empty slot; among eight tags an equal one points at the right slot in 31 of 32 cases,
//! so that a look-up usually touches one word of tags and one slot. Nothing is ever taken out singly, hence there are no
//! tombstones: a state that is no longer needed is replaced in place, or left behind when the map is rebuilt.

use super::key::Key;

/// Slots in a group.
const LANES: usize = 8;
/// A group is full to 7 of 8 before the map is rebuilt, and 6 of 8 after: 64-byte slots then cost 74 to 87 bytes a key,
/// and a rebuild moves six keys for each that came.
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

#[derive(Debug)]
pub(super) struct Index<S> {
    tags: Box<[u64]>,
    slots: Box<[Slot<S>]>,
    len: usize,
}

impl<S: Copy + Default> Index<S> {
    /// An empty map that takes this many keys without being rebuilt.
    pub(super) fn with_room(keys: usize) -> Self {
        let groups = keys.div_ceil(FRESH_OF_A_GROUP);
        Self {
            tags: vec![0; groups].into_boxed_slice(),
            slots: vec![Slot::default(); groups * LANES].into_boxed_slice(),
            len: 0,
        }
    }

    /// Whether another key fits in.
    pub(super) fn has_room(&self) -> bool {
        self.len < self.tags.len() * MOST_OF_A_GROUP
    }

    /// What it occupies beyond itself.
    pub(super) fn bytes(&self) -> usize {
        size_of_val(&*self.tags) + size_of_val(&*self.slots)
    }

    pub(super) fn get(&self, key: Key) -> Option<&S> {
        let at = self.position(key)?;
        self.slots.get(at).map(|slot| &slot.state)
    }

    #[inline]
    pub(super) fn get_mut(&mut self, key: Key) -> Option<&mut S> {
        let at = self.position(key)?;
        self.slots.get_mut(at).map(|slot| &mut slot.state)
    }

    /// Adds a key that is not there. Without room it is not added.
    pub(super) fn insert(&mut self, key: Key, state: S) {
        if !self.has_room() {
            return;
        }
        let empty = self.groups_from_home(key).find_map(|(group, tags)| Some((group, first_lane(tags, EMPTY)?)));
        let Some((group, lane)) = empty else { return };
        self.set(group, lane, key, state);
        self.len += 1;
    }

    /// Puts a key that is not there in the place of one that may go, if one is near enough to be found there.
    pub(super) fn replace(&mut self, key: Key, state: S, may_go: impl Fn(&S) -> bool) -> bool {
        let mut found = None;
        for (group, tags) in self.groups_from_home(key) {
            let taken = lanes(!matching(tags, EMPTY) & !LOW_BITS);
            let mut idle = taken.filter(|lane| self.slots.get(group * LANES + lane).is_some_and(|s| may_go(&s.state)));
            found = idle.next().map(|lane| (group, lane));
            if found.is_some() || first_lane(tags, EMPTY).is_some() {
                break;
            }
        }
        let Some((group, lane)) = found else { return false };
        self.set(group, lane, key, state);
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
        self.slots.iter_mut().map(|slot| &mut slot.state)
    }

    fn occupied(&self) -> impl Iterator<Item = &Slot<S>> {
        self.tags.iter().zip(self.slots.chunks_exact(LANES)).flat_map(|(tags, slots)| {
            let tags = tags.to_le_bytes().into_iter();
            tags.zip(slots).filter(|(tag, _)| *tag != EMPTY).map(|(_, slot)| slot)
        })
    }

    #[inline]
    fn position(&self, key: Key) -> Option<usize> {
        let (home, tag) = (key.home(self.tags.len()), key.tag());
        let mut group = home;
        loop {
            let tags = *self.tags.get(group)?;
            for lane in lanes(matching(tags, tag)) {
                let at = group * LANES + lane;
                if self.slots.get(at).is_some_and(|slot| slot.key == key) {
                    return Some(at);
                }
            }
            group = if group + 1 == self.tags.len() { 0 } else { group + 1 };
            if matching(tags, EMPTY) != 0 || group == home {
                return None;
            }
        }
    }

    /// Groups and their tags in the order in which the key is looked for.
    fn groups_from_home(&self, key: Key) -> impl Iterator<Item = (usize, u64)> {
        let home = key.home(self.tags.len());
        let from = move |start: usize, end: usize| {
            self.tags.get(start..end).unwrap_or_default().iter().enumerate().map(move |(i, tags)| (start + i, *tags))
        };
        from(home, self.tags.len()).chain(from(0, home))
    }

    fn set(&mut self, group: usize, lane: usize, key: Key, state: S) {
        if let Some(tags) = self.tags.get_mut(group)
            && let Some(slot) = self.slots.get_mut(group * LANES + lane)
        {
            *tags = *tags & !(0xff << (lane * 8)) | u64::from(key.tag()) << (lane * 8);
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
