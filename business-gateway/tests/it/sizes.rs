//! What a call weighs.

/// The size of what an asynchronous function returns.
fn size_of_call<A, B, C, F: Future>(_: impl Fn(A, B, C) -> F) -> usize {
    size_of::<F>()
}

#[test]
fn the_future_of_a_call_is_small() {
    let size = size_of_call(business_gateway::pipeline::answer);
    assert!(
        size < 4608,
        "{size} bytes: a future that is awaited by value is there twice, and what is seldom wanted goes in a box"
    );
}
