//! What a hook of Pingora returns that has nothing to wait for.
//!
//! An `async fn` of the trait is a future that is allocated for each call, eight of them a request. A hook that is written out
//! instead does its work when it is called, and returns a future without a size, whose box takes no memory.

use std::{
    future::{Future, poll_fn, ready},
    pin::Pin,
    task::Poll,
};

use pingora::Result;

/// What an `async fn` of the trait is. A method that is written out needs the lifetimes and bounds that `async_trait` gives it.
pub(crate) type Step<'f, T = Result<()>> = Pin<Box<dyn Future<Output = T> + Send + 'f>>;

/// The step is over: on with the request, or not.
pub(crate) fn over<'f>(result: Result<()>) -> Step<'f> {
    match result {
        Ok(()) => Box::pin(poll_fn(|_| Poll::Ready(Ok(())))),
        Err(error) => Box::pin(ready(Err(error))),
    }
}

/// The step is over, and its answer is yes.
pub(crate) fn yes<'f>() -> Step<'f, Result<bool>> {
    Box::pin(poll_fn(|_| Poll::Ready(Ok(true))))
}

/// The step is over, and has no answer.
pub(crate) fn done<'f>() -> Step<'f, ()> {
    Box::pin(poll_fn(|_| Poll::Ready(())))
}

#[cfg(test)]
mod tests {
    use pingora::{Error, ErrorType};

    use super::*;

    #[tokio::test]
    async fn a_step_that_is_over_says_what_came_of_it_and_has_no_size() {
        assert!(over(Ok(())).await.is_ok() && yes().await.is_ok_and(|yes| yes));
        done().await;
        let error = over(Error::e_explain(ErrorType::InternalError, "no")).await.unwrap_err();
        assert_eq!(error.etype(), &ErrorType::InternalError);
        assert_eq!([size_of_val(&*over(Ok(()))), size_of_val(&*yes()), size_of_val(&*done())], [0; 3]);
    }
}
