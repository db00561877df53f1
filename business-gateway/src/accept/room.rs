//! Room for bodies that are held whole: how many bytes of them this node keeps in memory at a time. Whoever wants a body held
//! takes room as its pieces come, and gives it back when the body is gone.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The room of a node.
#[derive(Debug, Default)]
pub struct Room {
    used: AtomicU64,
    refused: AtomicU64,
}

/// What one body takes of it.
#[derive(Debug)]
pub struct Taken {
    room: Arc<Room>,
    most: u64,
    bytes: u64,
    /// What of it is taken for bytes that have not come yet.
    ahead: u64,
}

impl Room {
    /// The beginning of a body, in a room of `most` bytes.
    #[must_use]
    pub fn enter(self: &Arc<Self>, most: u64) -> Taken {
        Taken { room: Arc::clone(self), most, bytes: 0, ahead: 0 }
    }

    /// Bytes held now.
    #[must_use]
    pub fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    /// Bodies for which there was no room.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }
}

impl Taken {
    /// The room it is taken of.
    #[must_use]
    pub fn room(&self) -> &Arc<Room> {
        &self.room
    }

    /// Takes room for so many bytes that will come, if there is any, so that they surely find it.
    #[must_use]
    pub fn ahead(&mut self, bytes: u64) -> bool {
        let is_taken = self.take(bytes);
        if is_taken {
            self.ahead += bytes;
        }
        is_taken
    }

    /// Takes so many bytes more, if there is room for them.
    #[must_use]
    pub fn grow(&mut self, bytes: usize) -> bool {
        let has_grown = self.try_grow(bytes);
        if !has_grown {
            self.room.refused.fetch_add(1, Ordering::Relaxed);
        }
        has_grown
    }

    /// The same for a body that nobody misses when there is no room for it.
    #[must_use]
    pub fn try_grow(&mut self, bytes: usize) -> bool {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        let known = self.ahead.min(bytes);
        self.ahead -= known;
        self.take(bytes - known)
    }

    fn take(&mut self, bytes: u64) -> bool {
        let more = |used: u64| used.checked_add(bytes).filter(|used| *used <= self.most);
        let has_room = self.room.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok();
        if has_room {
            self.bytes += bytes;
        }
        has_room
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.room.used.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_comes_back() {
        let room = Arc::new(Room::default());
        let (mut one, mut two) = (room.enter(10), room.enter(10));
        assert!(one.grow(4) && two.grow(6) && !two.grow(1) && !one.grow(usize::MAX));
        assert_eq!((room.used(), room.refused()), (10, 2));
        drop(one);
        assert!(two.grow(4));
        drop(two);
        assert_eq!(room.used(), 0);
    }

    #[test]
    fn room_that_is_taken_ahead_is_not_taken_twice() {
        let room = Arc::new(Room::default());
        let (mut one, mut two) = (room.enter(10), room.enter(10));
        assert!(one.ahead(8) && !two.ahead(3) && two.grow(2) && !two.grow(1));
        assert!(one.grow(5) && one.grow(3) && !one.grow(1));
        drop((one, two));
        assert_eq!(room.used(), 0);
    }
}
