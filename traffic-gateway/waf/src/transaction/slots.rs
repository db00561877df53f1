//! A hash table from 64-bit keys to small numbers that is emptied in constant time.

/// One place of the table. It counts only when its generation is the table's.
#[derive(Clone, Copy, Debug, Default)]
struct Slot {
    key: u64,
    generation: u32,
    value: u32,
}

/// Open addressing with linear probing. Keys may repeat: the caller tells equal ones apart.
#[derive(Clone, Debug)]
pub(super) struct Slots {
    slots: Vec<Slot>,
    generation: u32,
    used: usize,
}

/// Places of an empty table; a small request needs no more.
const SMALLEST: usize = 256;

/// Places that are kept from one transaction to the next.
const LARGEST_KEPT: usize = 16_384;

/// Places looked at before a key counts as absent: chosen input cannot make a lookup long, only useless.
const PROBES: usize = 32;

impl Slots {
    /// An empty table.
    pub(super) fn new() -> Self {
        Self { slots: vec![Slot::default(); SMALLEST], generation: 1, used: 0 }
    }

    /// Empties the table.
    pub(super) fn clear(&mut self) {
        self.used = 0;
        if self.slots.len() > LARGEST_KEPT || self.generation == u32::MAX {
            self.slots.clear();
            self.slots.resize(SMALLEST, Slot::default());
            self.slots.shrink_to(SMALLEST);
            self.generation = 1;
        } else {
            self.generation += 1;
        }
    }

    /// The first value of a key that `fits`.
    pub(super) fn find(&self, key: u64, mut fits: impl FnMut(u32) -> bool) -> Option<u32> {
        let mask = self.slots.len() - 1;
        let mut at = place(key) & mask;
        for _ in 0..PROBES {
            let slot = self.slots.get(at)?;
            if slot.generation != self.generation {
                return None;
            }
            if slot.key == key && fits(slot.value) {
                return Some(slot.value);
            }
            at = (at + 1) & mask;
        }
        None
    }

    /// Adds a value, or forgets it where too many keys crowd: the table is a memory, not a record.
    pub(super) fn insert(&mut self, key: u64, value: u32) {
        if self.used * 2 >= self.slots.len() {
            self.grow();
        }
        if self.place_in(Slot { key, generation: self.generation, value }) {
            self.used += 1;
        }
    }

    fn place_in(&mut self, new: Slot) -> bool {
        let mask = self.slots.len() - 1;
        let mut at = place(new.key) & mask;
        for _ in 0..PROBES {
            let Some(slot) = self.slots.get_mut(at) else { return false };
            if slot.generation != self.generation {
                *slot = new;
                return true;
            }
            at = (at + 1) & mask;
        }
        false
    }

    fn grow(&mut self) {
        let larger = vec![Slot::default(); self.slots.len() * 2];
        let old = std::mem::replace(&mut self.slots, larger);
        for slot in old {
            if slot.generation == self.generation {
                self.place_in(slot);
            }
        }
    }
}

/// Where the search for a key begins: its upper half after a multiplication (Fibonacci hashing).
fn place(key: u64) -> usize {
    usize::try_from(key.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::Slots;

    #[test]
    fn finds_what_was_put_in_until_cleared() {
        let mut slots = Slots::new();
        for key in 0..2_000_u64 {
            slots.insert(key, u32::try_from(key).unwrap() + 7);
        }
        let found = (0..2_000_u64).filter(|key| slots.find(*key, |_| true) == u32::try_from(*key + 7).ok()).count();
        assert!(found > 1_990, "{found}");
        slots.clear();
        assert_eq!(slots.find(5, |_| true), None);
    }

    #[test]
    fn crowded_keys_are_forgotten_instead_of_searched() {
        let mut slots = Slots::new();
        for value in 0..100 {
            slots.insert(1, value);
        }
        assert_eq!(slots.find(1, |value| value == 3), Some(3));
        assert_eq!(slots.find(1, |value| value == 99), None);
    }
}
