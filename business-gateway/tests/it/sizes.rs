//! What a call weighs.

use std::sync::Arc;

use crate::support::{Site, catalog};

#[tokio::test]
async fn the_future_of_a_call_is_small() {
    let site = Site::start(&catalog(&["127.0.0.1:9".parse().unwrap()], "")).await;
    let request = http::Request::new(axum::body::Body::empty());
    let call = business_gateway::pipeline::answer(Arc::clone(&site.gateway), request);
    let size = size_of_val(&call);
    assert!(size < 6 * 1024, "{size} bytes: a future that is awaited by value is there twice");
}
