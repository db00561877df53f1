//! Who goes first when there is not enough for everybody.

mod adaptive;
mod capacity;
mod pool;
mod shares;
mod slots;

#[cfg(test)]
mod simulation;

pub use capacity::Status;
pub use pool::GroupStatus;
