//! How much memory all bodies together may take that wait for a verdict.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use bytes::{Buf as _, Bytes, BytesMut};

/// The memory of held bodies; the same in every generation of a process.
#[derive(Debug)]
pub(super) struct Budget {
    used: AtomicUsize,
    max: AtomicUsize,
}

/// There is no memory left for a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Full;

/// The bytes of one body that wait. Dropping it gives their memory back.
#[derive(Debug)]
pub(super) struct Held {
    budget: Arc<Budget>,
    bytes: BytesMut,
    /// What is taken of the budget: at least the length of `bytes`.
    charged: usize,
}

impl Budget {
    pub(super) fn new(max: usize) -> Arc<Self> {
        Arc::new(Self { used: AtomicUsize::new(0), max: AtomicUsize::new(max) })
    }

    /// Changes the bound; what is held above it stays.
    pub(super) fn set_max(&self, max: usize) {
        self.max.store(max, Ordering::Relaxed);
    }

    /// Bytes held now.
    pub(super) fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    fn charge(&self, bytes: usize) -> Result<(), Full> {
        let max = self.max.load(Ordering::Relaxed);
        let charged = self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| {
            used.checked_add(bytes).filter(|sum| *sum <= max)
        });
        if charged.is_ok() { Ok(()) } else { Err(Full) }
    }

    fn give_back(&self, bytes: usize) {
        self.used.fetch_sub(bytes, Ordering::Relaxed);
    }
}

impl Held {
    pub(super) fn new(budget: &Arc<Budget>) -> Self {
        Self { budget: Arc::clone(budget), bytes: BytesMut::new(), charged: 0 }
    }

    /// Keeps a piece.
    pub(super) fn push(&mut self, piece: &[u8]) -> Result<(), Full> {
        self.budget.charge(piece.len())?;
        self.charged += piece.len();
        self.bytes.extend_from_slice(piece);
        Ok(())
    }

    /// Bytes that are kept.
    pub(super) fn len(&self) -> u64 {
        self.bytes.len() as u64
    }

    /// The first bytes that were kept, at most this many; the others wait on.
    pub(super) fn take_first(&mut self, bytes: usize) -> Bytes {
        let bytes = bytes.min(self.bytes.len());
        self.charged -= bytes;
        self.budget.give_back(bytes);
        // A copy, so that the memory of what goes on is not kept by what waits.
        let first = Bytes::copy_from_slice(self.bytes.get(..bytes).unwrap_or_default());
        self.bytes.advance(bytes);
        first
    }

    /// All that was kept; nothing waits afterwards.
    pub(super) fn take(&mut self) -> Bytes {
        self.budget.give_back(std::mem::take(&mut self.charged));
        self.bytes.split().freeze()
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.budget.give_back(self.charged);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_is_bounded_and_given_back() {
        let budget = Budget::new(10);
        let (mut first, mut second) = (Held::new(&budget), Held::new(&budget));
        assert_eq!(first.push(b"123456"), Ok(()));
        assert_eq!(second.push(b"12345"), Err(Full));
        assert_eq!(second.push(b"1234"), Ok(()));
        assert_eq!(budget.used(), 10);
        assert_eq!(first.take_first(2), "12");
        assert_eq!((budget.used(), first.len()), (8, 4));
        assert_eq!(first.take(), "3456");
        drop(second);
        assert_eq!(budget.used(), 0);
        drop(first);
        assert_eq!(budget.used(), 0);
    }
}
