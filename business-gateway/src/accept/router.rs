//! The axum router for what this tier answers itself on the data port: readiness. Calls do not pass it: a router in between
//! would cost every call two boxes, two copies and a look-up that the catalog does anyway.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::routing::get;
use http::{Response, StatusCode};

use crate::gateway::Gateway;

/// The path that says on the data port, without a hop, whether this node takes requests; for the probes of the edge.
pub const READY: &str = "/.gatehouse/ready";

/// The router of this process.
pub fn router(gateway: Arc<Gateway>) -> Router {
    Router::new().route(READY, get(ready)).with_state(gateway)
}

async fn ready(State(gateway): State<Arc<Gateway>>) -> Response<Body> {
    let (status, text) =
        if gateway.is_ready() { (StatusCode::OK, "ready\n") } else { (StatusCode::SERVICE_UNAVAILABLE, "draining\n") };
    let mut answer = Response::new(Body::from(text));
    *answer.status_mut() = status;
    answer
}
