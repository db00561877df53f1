//! Misbehaviour on demand.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderValue, Response, StatusCode, header};
use serde_json::json;

use super::bodies::{self, Body};
use super::connection::{Connection, Ending};
use super::query::Query;

/// The longest wait anyone can ask for, in milliseconds.
const MOST_MILLISECONDS: u64 = 300_000;

/// `/slow?ms=N`: the answer's head comes after N milliseconds.
pub async fn slow(query: Query<'_>) -> Response<Body> {
    let milliseconds = query.number("ms", 1000, MOST_MILLISECONDS);
    tokio::time::sleep(Duration::from_millis(milliseconds)).await;
    bodies::json_answer(&json!({ "waited_ms": milliseconds }))
}

/// `/faulty?mode=…`: `reset` and `close` end the connection without an answer, `hang` never answers, `partial` breaks a
/// promised body off half way, a number answers with that status.
pub async fn faulty(query: Query<'_>, connection: &Arc<Connection>) -> Response<Body> {
    match query.text("mode").unwrap_or("500") {
        "reset" => end(connection, Ending::Reset).await,
        "close" => end(connection, Ending::Close).await,
        "hang" => tokio::time::sleep(Duration::from_millis(MOST_MILLISECONDS)).await,
        "partial" => {
            let uri = http::Uri::from_static("/?cut=500");
            return bodies::download(1000, Query::of(&uri), connection);
        }
        status => return with_status(status),
    }
    with_status("504")
}

/// `/status/{code}`: an answer with that status, 200 to 599; 404 otherwise. It has no body where the status forbids one.
#[must_use]
pub fn with_status(code: &str) -> Response<Body> {
    let status = code.parse::<u16>().ok().filter(|code| (200..600).contains(code));
    let Some(status) = status.and_then(|code| StatusCode::from_u16(code).ok()) else {
        let mut answer = bodies::json_answer(&json!({ "error": "no such status" }));
        *answer.status_mut() = StatusCode::NOT_FOUND;
        return answer;
    };
    let mut answer = match status {
        StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED => Response::new(bodies::fixed("")),
        _ => bodies::json_answer(&json!({ "status": status.as_u16() })),
    };
    if status == StatusCode::NOT_MODIFIED {
        answer.headers_mut().insert(header::ETAG, HeaderValue::from_static("\"sample\""));
    }
    *answer.status_mut() = status;
    answer
}

/// `/early?status=N`: answers (413 unless told otherwise) without reading the body.
#[must_use]
pub fn early(query: Query<'_>) -> Response<Body> {
    with_status(query.text("status").unwrap_or("413"))
}

async fn end(connection: &Arc<Connection>, how: Ending) {
    connection.end(how);
    // The connection's task drops this request with the connection.
    std::future::pending::<()>().await;
}
