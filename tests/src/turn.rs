//! Whose turn it is: most tests share the machine, a few need it for themselves.

use tokio::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};

// Guards nothing but the machine's processors; a test holds it to its end.
static MACHINE: RwLock<()> = RwLock::const_new(());

/// The right to use the machine, given back when dropped.
#[derive(Debug)]
pub enum Turn {
    /// Beside other tests.
    Shared(RwLockReadGuard<'static, ()>),
    /// While no other test of this process runs.
    Alone(RwLockWriteGuard<'static, ()>),
}

/// Waits until no test runs that needs the machine for itself.
pub async fn shared() -> Turn {
    Turn::Shared(MACHINE.read().await)
}

/// Waits until no other test runs.
pub async fn alone() -> Turn {
    Turn::Alone(MACHINE.write().await)
}
