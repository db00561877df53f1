//! A panic costs one request, not the connection with all its neighbours.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::Poll;

/// The future panicked; the panic hook has logged where.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Panicked;

/// Runs `future`, pinned by the caller so that it is not copied, and turns a panic into a value. What the future borrowed must be
/// in a state that can be looked at after a panic: the record of a request is, it only ever gains fields.
///
/// # Errors
/// [`Panicked`].
pub async fn caught<F: Future>(mut future: Pin<&mut F>) -> Result<F::Output, Panicked> {
    std::future::poll_fn(|cx| match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx))) {
        Ok(poll) => poll.map(Ok),
        Err(_payload) => Poll::Ready(Err(Panicked)),
    })
    .await
}

/// The same of what does not wait.
///
/// # Errors
/// [`Panicked`].
pub fn caught_now<T>(step: impl FnOnce() -> T) -> Result<T, Panicked> {
    catch_unwind(AssertUnwindSafe(step)).map_err(|_payload| Panicked)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::pin::pin;

    #[tokio::test]
    async fn turns_a_panic_into_a_value() {
        assert_eq!(caught(pin!(async { 1 })).await, Ok(1));
        assert_eq!(caught(pin!(async { panic!("on purpose") })).await, Err::<(), _>(Panicked));
        assert_eq!(caught_now(|| 1), Ok(1));
        assert_eq!(caught_now(|| panic!("on purpose")), Err::<(), _>(Panicked));
    }
}
