//! Waiting for a condition, with a deadline.

use std::fmt::Display;
use std::time::Duration;

use anyhow::bail;
use tokio::time::Instant;

/// How long to wait for something that should happen at once, on a machine that is busy with other things.
pub const SOON: Duration = Duration::from_secs(30);

/// The time between two looks.
const BETWEEN: Duration = Duration::from_millis(10);

/// Looks every few milliseconds until `look` returns something, and returns that.
///
/// # Errors
/// Nothing was seen within `within`; the message names `what`.
pub async fn until<T>(
    what: impl Display,
    within: Duration,
    mut look: impl AsyncFnMut() -> Option<T>,
) -> anyhow::Result<T> {
    let deadline = Instant::now() + within;
    loop {
        if let Some(seen) = look().await {
            return Ok(seen);
        }
        if Instant::now() >= deadline {
            bail!("waited {within:?} in vain for {what}");
        }
        tokio::time::sleep(BETWEEN).await;
    }
}
