//! The axum router that every connection is served with: readiness, and the pipeline for everything else.

use std::convert::Infallible;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::routing::get;
use http::{Request, Response, StatusCode};
use tower::service_fn;

use crate::pipeline::{self, Gateway};

/// The path that says on the data port, without a hop, whether this node takes requests; for the probes of the edge.
pub const READY: &str = "/.gatehouse/ready";

/// The router of this process.
pub fn router(gateway: Arc<Gateway>) -> Router {
    let pipeline = {
        let gateway = Arc::clone(&gateway);
        service_fn(move |request: Request<Body>| {
            let gateway = Arc::clone(&gateway);
            // Boxed here, before axum moves it around: it has a few kilobytes.
            Box::pin(async move { Ok::<_, Infallible>(pipeline::answer(gateway, request).await.map(Body::new)) })
        })
    };
    Router::new().route(READY, get(ready)).with_state(gateway).fallback_service(pipeline)
}

async fn ready(State(gateway): State<Arc<Gateway>>) -> Response<Body> {
    let (status, text) =
        if gateway.is_ready() { (StatusCode::OK, "ready\n") } else { (StatusCode::SERVICE_UNAVAILABLE, "draining\n") };
    let mut answer = Response::new(Body::from(text));
    *answer.status_mut() = status;
    answer
}
