//! One read buffer for each worker thread, so that a connection that waits owns none.

use std::cell::RefCell;

/// What one read can bring; a head with cookies is 1 to 4 KiB.
pub(super) const SIZE: usize = 16 * 1024;

thread_local! {
    static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; SIZE].into_boxed_slice());
}

/// Lends the thread's buffer for one poll.
pub(super) fn with<T>(use_it: impl FnOnce(&mut [u8]) -> T) -> T {
    SCRATCH.with_borrow_mut(|scratch| use_it(scratch))
}
