//! A shop that answers in JSON, does what its query says, and fails where it is told to.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::task::AbortHandle;

/// A running shop.
pub(crate) struct Shop {
    pub(crate) address: SocketAddr,
    pub(crate) seen: Arc<Seen>,
    accepting: AbortHandle,
}

/// What it saw, and what it does wrong.
#[derive(Default)]
pub(crate) struct Seen {
    pub(crate) under_way: AtomicUsize,
    pub(crate) most_under_way: AtomicUsize,
    requests: Mutex<Vec<Seen1>>,
    failing: Mutex<Vec<(String, u16)>>,
}

/// One request.
#[derive(Debug, Clone)]
pub(crate) struct Seen1 {
    pub(crate) method: String,
    pub(crate) target: String,
    headers: HeaderMap,
    pub(crate) body: String,
}

impl Seen1 {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

impl Shop {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Seen::default());
        let accepting = tokio::spawn({
            let seen = Arc::clone(&seen);
            async move {
                loop {
                    let (stream, _) = listener.accept().await.unwrap();
                    let seen = Arc::clone(&seen);
                    tokio::spawn(async move {
                        let service = service_fn(move |request| {
                            let seen = Arc::clone(&seen);
                            async move { Ok::<_, Infallible>(answer(request, &seen).await) }
                        });
                        let builder = auto::Builder::new(TokioExecutor::new());
                        drop(builder.serve_connection(TokioIo::new(stream), service).await);
                    });
                }
            }
        });
        Self { address, seen, accepting: accepting.abort_handle() }
    }

    /// From now on, targets that begin so are answered with this status.
    pub(crate) fn fail(&self, target: &str, status: u16) {
        self.seen.failing.lock().unwrap().push((target.to_owned(), status));
    }

    /// What came so far.
    pub(crate) fn requests(&self) -> Vec<Seen1> {
        self.seen.requests.lock().unwrap().clone()
    }
}

impl Drop for Shop {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

struct UnderWay<'a>(&'a Seen);

impl<'a> UnderWay<'a> {
    fn enter(seen: &'a Seen) -> Self {
        let now = seen.under_way.fetch_add(1, Ordering::SeqCst) + 1;
        seen.most_under_way.fetch_max(now, Ordering::SeqCst);
        Self(seen)
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.under_way.fetch_sub(1, Ordering::SeqCst);
    }
}

async fn answer(request: Request<Incoming>, seen: &Seen) -> Response<Full<Bytes>> {
    let _under_way = UnderWay::enter(seen);
    let (parts, body) = request.into_parts();
    let body = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    let target = parts.uri.to_string();
    seen.requests.lock().unwrap().push(Seen1 {
        method: parts.method.to_string(),
        target: target.clone(),
        headers: parts.headers,
        body: String::from_utf8_lossy(&body).into_owned(),
    });
    let failing = seen.failing.lock().unwrap().iter().rev().find(|(start, _)| target.starts_with(start)).cloned();
    if let Some((_, status)) = failing {
        let mut answer = Response::new(Full::from("{\"secret\": \"of the service\"}"));
        *answer.status_mut() = StatusCode::from_u16(status).unwrap();
        return answer;
    }
    let query = parts.uri.query().unwrap_or_default();
    let pairs: Vec<(String, String)> = business_gateway::admit::flow_rule::input::parameters(query)
        .map(|(name, value)| (name.into_owned(), value.into_owned()))
        .collect();
    let number = |name: &str| {
        let pair = pairs.iter().find(|(known, _)| known == name);
        pair.map_or(0, |(_, value)| value.parse::<usize>().unwrap())
    };
    let last = parts.uri.path().rsplit('/').next().unwrap_or_default();
    let id = percent_decoded(last);
    let kind = parts.uri.path().split('/').nth(1).unwrap_or_default();
    match kind {
        "slow" => {
            // Nobody is answered before so many were there at the same time.
            while seen.most_under_way.load(Ordering::SeqCst) < number("gate") {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            tokio::time::sleep(Duration::from_millis(number("ms") as u64)).await;
            text(&json!({"waited": number("ms")}).to_string())
        }
        "hang" => std::future::pending().await,
        "orders" => {
            text(&json!({"id": id, "user": format!("u-{id}"), "lines": [{"sku": "s1"}, {"sku": "s2"}]}).to_string())
        }
        "users" => text(&json!({"id": id, "name": "Asha \"the\" buyer"}).to_string()),
        "stock" => text(&json!({"left": 5}).to_string()),
        "prices" => text(&json!({"prices": [1, 2]}).to_string()),
        "headers" => {
            let mut answer = text("{}");
            for (name, value) in &pairs {
                answer.headers_mut().insert(name.parse::<http::HeaderName>().unwrap(), value.parse().unwrap());
            }
            answer.headers_mut().insert("set-cookie", "part=1".parse().unwrap());
            answer.headers_mut().insert("x-own", "1".parse().unwrap());
            answer
        }
        // The body is what the query asks for: so many bytes, so deep, or the text itself.
        "body" => match pairs.first().map(|(name, value)| (name.as_str(), value.as_str())) {
            Some(("bytes", _)) => text(&json!("x".repeat(number("bytes") - 2)).to_string()),
            Some(("depth", _)) => text(&["[", "]"].map(|bracket| bracket.repeat(number("depth"))).concat()),
            Some((_, value)) => text(value),
            None => text(""),
        },
        _ => text("{}"),
    }
}

fn text(text: &str) -> Response<Full<Bytes>> {
    Response::new(Full::from(text.to_owned()))
}

fn percent_decoded(text: &str) -> String {
    let as_query = format!("a={}", text.replace('+', "%2B"));
    business_gateway::admit::flow_rule::input::parameters(&as_query).next().unwrap().1.into_owned()
}

/// The shop and its APIs; `more` goes at the end.
pub(crate) fn catalog(shop: &Shop, more: &str) -> String {
    let api = |name: &str, method: &str, path: &str| {
        format!(
            "[[api]]\nname = \"{name}\"\naccess = \"open\"\nschemes = []\nservice = \"shop\"\nmethods = [\"{method}\"]\npath = \"{path}\"\n"
        )
    };
    [
        format!("[[service]]\nname = \"shop\"\nendpoints = [\"{}\"]\n", shop.address),
        api("slow", "GET", "/slow"),
        api("hang", "GET", "/hang"),
        api("orders.show", "GET", "/orders/{id}"),
        api("users.show", "GET", "/users/{id}"),
        api("stock.show", "GET", "/stock/{id}"),
        api("prices.find", "POST", "/prices"),
        api("headers", "GET", "/headers"),
        api("body", "GET", "/body"),
        api("files", "GET", "/files/{*rest}"),
        more.to_owned(),
    ]
    .concat()
}

/// An API `page` at `path`, and the aggregate of that name, which answers it.
pub(crate) fn page(path: &str, calls: &str) -> String {
    format!(
        "[[api]]\nname = \"page\"\naccess = \"open\"\nschemes = []\naggregate = \"page\"\npath = \"{path}\"\n[[aggregate]]\nname = \"page\"\n{calls}"
    )
}

/// A call of the aggregate before it.
pub(crate) fn call(name: &str, api: &str, more: &str) -> String {
    format!("[[aggregate.call]]\nname = \"{name}\"\napi = \"{api}\"\n{more}\n")
}
