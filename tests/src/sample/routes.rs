//! What lives where.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use serde_json::{Value, json};

use super::bodies::{self, Body, json_answer};
use super::connection::Connection;
use super::query::Query;
use super::shop::Refusal;
use super::{LEDGER_ID, SERVED_BY, Sample, faults};

/// What `/bench` answers: 100 bytes.
const BENCH: &[u8] =
    br#"{"id":4711,"state":"shipped","items":[{"product":2,"quantity":1}],"total_cents":5950,"currency":"E"}"#;

/// The largest order read, in bytes.
const MOST_ORDER_BYTES: usize = 64 << 10;

/// Answers one request.
pub async fn answer(sample: &Sample, connection: &Arc<Connection>, request: Request<Incoming>) -> Response<Body> {
    let path = request.uri().path();
    if path.starts_with("/_") {
        return about_itself(sample, &request);
    }
    sample.counters.requests.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    if let Some(id) = request.headers().get(LEDGER_ID).and_then(|id| id.to_str().ok()) {
        sample.ledger.note(id);
    }
    let mut answer = match sample.behaviour.of_request().await {
        Some(answer) => answer,
        None if path == "/bench" => or_cut_off(bench(request).await),
        None => route(sample, connection, request).await,
    };
    answer.headers_mut().insert(SERVED_BY, sample.name.clone());
    answer
}

/// `/bench`: reads the body if there is one, keeping none of it, and answers the same to everybody.
async fn bench(request: Request<Incoming>) -> Result<Response<Body>, hyper::Error> {
    let mut body = request.into_body();
    while let Some(frame) = body.frame().await {
        frame?;
    }
    let mut answer = Response::new(bodies::fixed(Bytes::from_static(BENCH)));
    answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(answer)
}

async fn route(sample: &Sample, connection: &Arc<Connection>, request: Request<Incoming>) -> Response<Body> {
    let uri = request.uri().clone();
    let query = Query::of(&uri);
    let mut segments = uri.path().trim_start_matches('/').splitn(2, '/');
    let (first, rest) = (segments.next().unwrap_or_default(), segments.next());
    match (first, rest) {
        ("", None) => json_answer(&json!({ "service": sample.name.to_str().unwrap_or_default() })),
        ("products", None) => json_answer(&sample.shop.products()),
        ("products", Some(id)) => found(id.parse().ok().and_then(|id| sample.shop.product(id))),
        ("users", Some(id)) => found(id.parse().ok().and_then(|id| sample.shop.user(id))),
        ("orders", None) if request.method() == Method::POST => take_order(sample, request).await,
        ("orders", None) => json_answer(&sample.shop.orders()),
        ("orders", Some(id)) => found(id.parse().ok().and_then(|id| sample.shop.order(id))),
        ("echo", _) => or_cut_off(echo(connection, request).await),
        ("upload", _) => or_cut_off(upload(sample, request).await),
        ("mirror", _) => bodies::mirror(request),
        ("trailers", _) => bodies::with_trailers(request),
        ("stream", Some(bytes)) => bodies::download(bytes.parse().unwrap_or(0), query, connection),
        ("header", Some(name)) => with_header(name, query),
        ("status", Some(code)) => faults::with_status(code),
        ("slow", _) => faults::slow(query).await,
        ("faulty", _) => faults::faulty(query, connection).await,
        ("early", _) => faults::early(query),
        _ => found(None),
    }
}

/// `/_ledger` (`DELETE` clears it), `/_stats` and `/_behaviour`: not counted, and not to be offered through a gateway.
fn about_itself(sample: &Sample, request: &Request<Incoming>) -> Response<Body> {
    match (request.method(), request.uri().path()) {
        (&Method::DELETE, "/_ledger") => {
            sample.ledger.clear();
            json_answer(&json!({}))
        }
        (&Method::PUT, "/_behaviour") => {
            sample.behaviour.set(Query::of(request.uri()));
            json_answer(&json!({}))
        }
        (_, "/_ledger") => Response::new(bodies::fixed(sample.ledger.to_json_lines())),
        (_, "/_stats") => json_answer(&json!({
            "name": sample.name.to_str().unwrap_or_default(),
            "connections_opened": sample.counters.opened(),
            "connections_live": sample.counters.live(),
            "requests": sample.counters.requests(),
            "uploads": sample.counters.uploads(),
        })),
        _ => found(None),
    }
}

/// Takes what is uploaded, and counts it once it is there to its end.
async fn upload(sample: &Sample, request: Request<Incoming>) -> Result<Response<Body>, hyper::Error> {
    let answer = bodies::upload(request).await?;
    sample.counters.uploads.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    Ok(answer)
}

async fn take_order(sample: &Sample, request: Request<Incoming>) -> Response<Body> {
    let Ok(body) = Limited::new(request.into_body(), MOST_ORDER_BYTES).collect().await else {
        return refused(StatusCode::PAYLOAD_TOO_LARGE, "the body ended early or is too long");
    };
    match sample.shop.take_order(&body.to_bytes()) {
        Ok(order) => {
            let mut answer = json_answer(&order);
            *answer.status_mut() = StatusCode::CREATED;
            answer
        }
        Err(Refusal::NotAnOrder) => refused(StatusCode::BAD_REQUEST, "expected {\"product\":N,\"quantity\":N}"),
        Err(Refusal::NoSuchProduct) => refused(StatusCode::NOT_FOUND, "no such product"),
    }
}

/// `/header/{name}?value=V&status=N`: an answer with that header.
fn with_header(name: &str, query: Query<'_>) -> Response<Body> {
    let mut answer = faults::with_status(query.text("status").unwrap_or("200"));
    let value = HeaderValue::from_str(query.text("value").unwrap_or_default());
    if let (Ok(name), Ok(value)) = (name.parse::<HeaderName>(), value) {
        answer.headers_mut().insert(name, value);
    }
    answer
}

/// Tells what arrived: everything a gateway may have changed on the way.
async fn echo(connection: &Connection, request: Request<Incoming>) -> Result<Response<Body>, hyper::Error> {
    let (head, body) = request.into_parts();
    let headers: Vec<_> = head
        .headers
        .iter()
        .map(|(name, value)| json!([name.as_str(), String::from_utf8_lossy(value.as_bytes())]))
        .collect();
    let (length, sha256) = bodies::digest_of(body).await?;
    Ok(json_answer(&json!({
        "method": head.method.as_str(),
        "target": head.uri.to_string(),
        "path": head.uri.path(),
        "query": head.uri.query(),
        "authority": head.uri.authority().map(http::uri::Authority::as_str),
        "version": format!("{:?}", head.version),
        "headers": headers,
        "body": { "length": length, "sha256": sha256 },
        "connection": connection.number(),
        "peer": connection.peer().to_string(),
    })))
}

fn found(value: Option<Value>) -> Response<Body> {
    value.map_or_else(|| refused(StatusCode::NOT_FOUND, "nothing here"), |value| json_answer(&value))
}

fn refused(status: StatusCode, why: &str) -> Response<Body> {
    let mut answer = json_answer(&json!({ "error": why }));
    *answer.status_mut() = status;
    answer
}

fn or_cut_off(answer: Result<Response<Body>, hyper::Error>) -> Response<Body> {
    answer.unwrap_or_else(|_cut_off| refused(StatusCode::BAD_REQUEST, "the body ended early"))
}
