//! Answers that are kept: over real connections, with a service that says what it is told to and counts what it is asked.

mod fleet;
mod flights;
mod process;
mod service_down;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::support::client::{Answer, Edge, Protocol, empty, full, request};
use crate::support::{Site, until};

/// A service that says what it is told to.
pub(crate) struct Origin {
    pub(crate) address: SocketAddr,
    inner: Arc<Inner>,
}

struct Inner {
    script: Mutex<Script>,
    seen: Mutex<Vec<Seen>>,
    is_open: watch::Sender<bool>,
}

/// What it says. The body is the number of the request, unless it says otherwise.
#[derive(Debug, Clone, Default)]
pub(crate) struct Script {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(&'static str, &'static str)>,
    pub(crate) body: Option<Bytes>,
    /// It closes the connection instead of answering.
    pub(crate) breaks: bool,
}

/// What it was asked.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) method: String,
    pub(crate) target: String,
    pub(crate) headers: HeaderMap,
}

impl Origin {
    pub(crate) async fn start(headers: &[(&'static str, &'static str)]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let script = Script { status: 200, headers: headers.to_vec(), ..Script::default() };
        let inner =
            Arc::new(Inner { script: Mutex::new(script), seen: Mutex::default(), is_open: watch::channel(true).0 });
        let serving = Arc::clone(&inner);
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let inner = Arc::clone(&serving);
                let service = service_fn(move |request| answer(Arc::clone(&inner), request));
                tokio::spawn(async move {
                    drop(
                        auto::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service).await,
                    );
                });
            }
        });
        Self { address, inner }
    }

    /// Changes what it says.
    pub(crate) fn say(&self, change: impl FnOnce(&mut Script)) {
        change(&mut self.inner.script.lock().unwrap());
    }

    /// Lets its answers wait, or go.
    pub(crate) fn hold(&self, is_held: bool) {
        self.inner.is_open.send_replace(!is_held);
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.inner.seen.lock().unwrap().clone()
    }

    pub(crate) fn count(&self) -> usize {
        self.inner.seen.lock().unwrap().len()
    }

    pub(crate) async fn until_asked(&self, times: usize) {
        until(&format!("{times} requests at the service"), || (self.count() >= times).then_some(())).await;
    }

    /// One service, and an API of everything with this cache; `more` are further keys of the API.
    pub(crate) fn catalog(&self, cache: &str, more: &str) -> String {
        format!(
            "[[service]]\nname = \"origin\"\nendpoints = [\"{}\"]\n[[api]]\nname = \"all\"\naccess = \"open\"\n\
             service = \"origin\"\npath = \"/{{kind}}/{{*rest}}\"\ncache = {{ {cache} }}\n{more}\n",
            self.address
        )
    }
}

async fn answer(inner: Arc<Inner>, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, std::io::Error> {
    let (parts, body) = request.into_parts();
    drop(body.collect().await);
    let number = {
        let mut seen = inner.seen.lock().unwrap();
        let (method, target) = (parts.method.to_string(), parts.uri.to_string());
        seen.push(Seen { method, target, headers: parts.headers.clone() });
        seen.len()
    };
    drop(inner.is_open.subscribe().wait_for(|is_open| *is_open).await);
    let script = inner.script.lock().unwrap().clone();
    if script.breaks {
        return Err(std::io::Error::other("told to"));
    }
    let mut answer = Response::new(Full::new(script.body.unwrap_or_else(|| Bytes::from(number.to_string()))));
    *answer.status_mut() = StatusCode::from_u16(script.status).unwrap();
    for (name, value) in &script.headers {
        answer.headers_mut().append(HeaderName::from_static(name), value.parse().unwrap());
    }
    let asked = parts.headers.get("if-none-match");
    if asked.is_some() && asked == answer.headers().get("etag") {
        *answer.status_mut() = StatusCode::NOT_MODIFIED;
        *answer.body_mut() = Full::default();
    }
    Ok(answer)
}

/// A node before that service.
pub(crate) async fn start(origin: &Origin, cache: &str, more: &str) -> (Site, Edge) {
    // What has failed is not asked again in the time of a test, however slow the machine is.
    let site = Site::with(&origin.catalog(cache, more), "[cache]\nhold_off = \"1h\"").await;
    let edge = Edge::connect(site.address, Protocol::Http1).await;
    (site, edge)
}

/// `method target` with further headers.
pub(crate) async fn send(edge: &mut Edge, method: &str, target: &str, headers: &[(&str, &str)]) -> Answer {
    let mut call = request(method, target);
    for (name, value) in headers {
        call = call.header(*name, *value);
    }
    edge.exchange(call.body(empty()).unwrap()).await
}

/// What the cache did with each call, as soon as there are so many lines in the access log.
async fn outcomes(site: &Site, count: usize) -> Vec<String> {
    let lines = until("lines of the access log", || Some(site.lines()).filter(|lines| lines.len() >= count)).await;
    lines.iter().map(|line| line["cache"].as_str().unwrap_or("-").to_owned()).collect()
}

const FRESH: &str = "lifetime = \"1h\", status = \"always\"";

#[tokio::test]
async fn an_answer_is_asked_for_once_and_given_with_its_age() {
    let origin = Origin::start(&[("content-type", "text/plain"), ("x-own", "1")]).await;
    let (site, mut edge) = start(&origin, FRESH, "").await;
    let first = send(&mut edge, "GET", "/a/b?x=1&y=2", &[]).await;
    let again = send(&mut edge, "GET", "/a/b?y=2&x=1", &[]).await;
    assert_eq!((first.text(), again.text(), origin.count()), ("1".to_owned(), "1".to_owned(), 1));
    assert_eq!((again.header("x-own"), again.header("content-type"), again.status), ("1", "text/plain", 200));
    assert!(again.header("age").parse::<u64>().unwrap() < 60);
    assert!(first.header("cache-status").starts_with("gatehouse; fwd=miss; stored; ttl=3"), "{first:?}");
    assert!(again.header("cache-status").starts_with("gatehouse; hit; ttl=3"), "{again:?}");
    assert_eq!(again.result().origin, gatehouse_shared::hop::Origin::Service);
    let other = send(&mut edge, "GET", "/a/b?x=1", &[]).await;
    assert_eq!(other.text(), "2");
    assert_eq!(outcomes(&site, 3).await, ["miss", "hit", "miss"]);
    let line = site.line(|line| line["cache"] == "hit").await;
    assert_eq!((line["service"].as_str(), line["status"].as_u64()), (None, Some(200)));
    let metrics = site.gateway.metrics.render();
    for expected in [
        "gatehouse_business_cache_calls_total{api=\"all\",outcome=\"hit\"} 1",
        "gatehouse_business_cache_calls_total{api=\"all\",outcome=\"miss\"} 2",
        "gatehouse_business_cache_answers_total{api=\"all\",result=\"stored\"} 2",
        "gatehouse_business_cache_keys 2",
    ] {
        assert!(metrics.contains(expected), "{expected}\n{metrics}");
    }
}

#[tokio::test]
async fn a_head_is_answered_from_a_get_and_brings_nothing() {
    let origin = Origin::start(&[]).await;
    let (site, mut edge) = start(&origin, FRESH, "").await;
    assert_eq!(send(&mut edge, "HEAD", "/a/b", &[]).await.status, 200);
    assert_eq!(send(&mut edge, "GET", "/a/b", &[]).await.text(), "2", "a HEAD has no body to keep");
    let head = send(&mut edge, "HEAD", "/a/b", &[]).await;
    assert_eq!((head.header("content-length"), head.body.len(), origin.count()), ("1", 0, 2));
    assert_eq!(outcomes(&site, 3).await, ["bypass", "miss", "hit"]);
}

#[tokio::test]
async fn what_is_for_one_call_only_goes_to_the_service() {
    let origin = Origin::start(&[]).await;
    let (site, mut edge) = start(&origin, FRESH, "schemes = []").await;
    send(&mut edge, "GET", "/a/b", &[]).await;
    for (method, headers) in [
        ("GET", [("range", "bytes=0-1")]),
        ("GET", [("if-match", "\"1\"")]),
        ("GET", [("authorization", "Bearer x")]),
        ("POST", [("x-any", "1")]),
    ] {
        let before = origin.count();
        let answer = send(&mut edge, method, "/a/b", &headers).await;
        assert_eq!((answer.status, origin.count()), (200, before + 1), "{method} {headers:?}");
        let seen = origin.seen();
        assert_eq!(seen[before].headers[headers[0].0], headers[0].1, "as it came");
    }
    let call = request("GET", "/a/b").body(full("body")).unwrap();
    assert_eq!(edge.exchange(call).await.text(), "6");
    assert_eq!(send(&mut edge, "GET", "/a/b", &[]).await.text(), "1");
    assert_eq!(outcomes(&site, 7).await[1..6], ["bypass"; 5]);
}

#[tokio::test]
async fn what_may_not_be_shared_is_asked_for_each_time() {
    for header in [("set-cookie", "a=b"), ("cache-control", "private"), ("cache-control", "no-store"), ("vary", "*")] {
        let origin = Origin::start(&[header]).await;
        let (site, mut edge) = start(&origin, "lifetime = \"1h\", cache_control = \"override\"", "").await;
        for number in 1..4 {
            let answer = send(&mut edge, "GET", "/a/b", &[]).await;
            assert_eq!((answer.text(), answer.header(header.0)), (number.to_string(), header.1), "{header:?}");
        }
        assert_eq!(outcomes(&site, 3).await, ["miss", "pass", "pass"]);
        origin.say(|script| script.headers.clear());
        send(&mut edge, "GET", "/a/b", &[]).await;
        assert_eq!(send(&mut edge, "GET", "/a/b", &[]).await.text(), "4", "kept as soon as it may be");
    }
}

#[tokio::test]
async fn a_client_hears_that_what_it_has_is_right_and_so_does_the_gate() {
    let origin = Origin::start(&[("etag", "\"v1\""), ("content-type", "text/plain")]).await;
    let (site, mut edge) = start(&origin, "lifetime = \"1h\", cache_control = \"override\"", "").await;
    let first = send(&mut edge, "GET", "/a/b", &[("if-none-match", "\"v1\"")]).await;
    assert_eq!((first.status, first.header("etag")), (304, "\"v1\""));
    assert!(!origin.seen()[0].headers.contains_key("if-none-match"), "what is kept has to be whole");
    assert_eq!(send(&mut edge, "GET", "/a/b", &[]).await.text(), "1");
    assert_eq!(send(&mut edge, "GET", "/a/b", &[("if-none-match", "\"v2\"")]).await.status, 200);
    assert_eq!(origin.count(), 1);
    assert_eq!(outcomes(&site, 3).await, ["miss", "hit", "hit"]);

    let origin = Origin::start(&[("etag", "\"v1\""), ("cache-control", "no-cache"), ("x-round", "1")]).await;
    let (site, mut edge) = start(&origin, "lifetime = \"1h\"", "").await;
    assert_eq!(send(&mut edge, "GET", "/a/b", &[]).await.text(), "1");
    origin.say(|script| script.headers[2] = ("x-round", "2"));
    let confirmed = send(&mut edge, "GET", "/a/b", &[]).await;
    assert_eq!((confirmed.text(), confirmed.status, confirmed.header("x-round")), ("1".to_owned(), 200, "2"));
    assert_eq!(origin.seen()[1].headers["if-none-match"], "\"v1\"");
    origin.say(|script| script.headers[0] = ("etag", "\"v2\""));
    assert_eq!(send(&mut edge, "GET", "/a/b", &[]).await.text(), "3");
    assert_eq!(outcomes(&site, 3).await, ["miss", "revalidated", "miss"]);
}

#[tokio::test]
async fn an_answer_that_varies_is_kept_for_each_kind_of_client() {
    let origin = Origin::start(&[("vary", "accept-language, accept-encoding, cookie")]).await;
    let (_site, mut edge) = start(&origin, FRESH, "").await;
    for (language, encoding, expected) in
        [("de", "gzip", "1"), ("en", "gzip", "2"), ("de", "br", "1"), ("en", "br", "2"), ("de", "", "1")]
    {
        let headers = [("accept-language", language), ("accept-encoding", encoding), ("cookie", expected)];
        let answer = send(&mut edge, "GET", "/a/b", &headers).await;
        assert_eq!(answer.text(), expected, "{language} {encoding}");
    }
    assert_eq!(send(&mut edge, "GET", "/a/b", &[]).await.text(), "3");
    assert_eq!(origin.seen()[0].headers["accept-encoding"], "identity");
    assert!(!origin.seen()[0].headers.contains_key("cookie"));
}

#[tokio::test]
async fn what_is_not_in_the_key_does_not_reach_the_service() {
    let origin = Origin::start(&[]).await;
    let cache = "lifetime = \"1h\", key = { query = [\"page\"], headers = [\"x-tenant\"], cookies = [\"c\"] }";
    let (_site, mut edge) = start(&origin, cache, "").await;
    let headers = [("x-tenant", "t"), ("x-poison", "evil"), ("cookie", "session=1; c=2"), ("x-forwarded-host", "evil")];
    send(&mut edge, "GET", "/a/b?evil=1&page=2&evil=3", &headers).await;
    let seen = &origin.seen()[0];
    assert_eq!(seen.target, "/a/b?page=2");
    assert_eq!((seen.headers["x-tenant"].as_bytes(), seen.headers["cookie"].as_bytes()), (&b"t"[..], &b"c=2"[..]));
    assert!(!seen.headers.contains_key("x-poison"));
    assert_eq!(seen.headers["x-forwarded-host"], "shop.example");
    let same = send(&mut edge, "GET", "/a/b?page=2", &[("x-tenant", "t"), ("cookie", "c=2; d=1")]).await;
    assert_eq!(same.text(), "1");
    assert_eq!(send(&mut edge, "GET", "/a/b?page=2", &[("x-tenant", "u"), ("cookie", "c=2")]).await.text(), "2");
}

#[tokio::test]
async fn an_answer_to_a_body_is_kept_where_the_body_is_in_the_key() {
    let origin = Origin::start(&[]).await;
    let cache = "lifetime = \"1h\", methods = [\"GET\", \"POST\"], key = { body = true }";
    let (site, mut edge) = start(&origin, cache, "").await;
    let post = |body: &str| request("POST", "/a/b").body(full(body.to_owned())).unwrap();
    assert_eq!(edge.exchange(post("{\"q\": 1}")).await.text(), "1");
    assert_eq!(edge.exchange(post("{\"q\": 2}")).await.text(), "2");
    assert_eq!(edge.exchange(post("{\"q\": 1}")).await.text(), "1");
    assert_eq!(edge.exchange(post(&"x".repeat(65 * 1024))).await.text(), "3");
    assert_eq!(edge.exchange(post(&"x".repeat(65 * 1024))).await.text(), "4");
    assert_eq!(outcomes(&site, 5).await, ["miss", "miss", "hit", "bypass", "bypass"]);
    // The same bytes mean something else as something else.
    let form = request("POST", "/a/b").header("content-type", "text/plain").body(full("{\"q\": 1}")).unwrap();
    assert_eq!(edge.exchange(form).await.text(), "5");
    assert_eq!(edge.exchange(post("{\"q\": 1}")).await.text(), "1");
}

#[tokio::test]
async fn what_describes_a_body_does_not_reach_the_service_without_one() {
    let origin = Origin::start(&[]).await;
    let (_site, mut edge) = start(&origin, FRESH, "").await;
    let headers = [("content-type", "text/xml"), ("content-language", "de"), ("content-encoding", "gzip")];
    assert_eq!(send(&mut edge, "GET", "/a/b", &headers).await.text(), "1");
    for (name, _) in headers {
        assert!(!origin.seen()[0].headers.contains_key(name), "{name}");
    }
}

#[tokio::test]
async fn a_failure_is_kept_where_that_is_declared_and_a_large_answer_passes_through_whole() {
    let origin = Origin::start(&[]).await;
    let (site, mut edge) =
        start(&origin, "lifetime = \"1h\", negative = { 404 = \"1h\" }, answer_max = \"4KiB\"", "").await;
    origin.say(|script| script.status = 404);
    for _ in 0..2 {
        let answer = send(&mut edge, "GET", "/a/missing", &[]).await;
        assert_eq!((answer.status, answer.text()), (404, "1".to_owned()));
    }
    origin.say(|script| script.status = 500);
    assert_eq!(send(&mut edge, "GET", "/a/broken", &[]).await.text(), "2");
    assert_eq!(send(&mut edge, "GET", "/a/broken", &[]).await.text(), "3");
    let large = Bytes::from("x".repeat(300_000));
    origin.say(|script| (script.status, script.body) = (200, Some(large.clone())));
    for _ in 0..2 {
        assert_eq!(send(&mut edge, "GET", "/a/large", &[]).await.body, large);
    }
    assert_eq!(origin.count(), 5);
    assert_eq!(outcomes(&site, 6).await, ["miss", "hit", "miss", "pass", "miss", "pass"]);
    let metrics = site.gateway.metrics.render();
    assert!(metrics.contains("cache_answers_total{api=\"all\",result=\"too_large\"} 2"), "{metrics}");
}

#[tokio::test]
async fn a_long_text_is_compressed_in_memory_and_given_as_it_was() {
    let origin = Origin::start(&[("content-type", "application/json")]).await;
    let long = Bytes::from(format!("[{}1]", "{\"name\": \"value\"},".repeat(30_000)));
    let body = long.clone();
    origin.say(move |script| script.body = Some(body));
    let (site, mut edge) = start(&origin, FRESH, "").await;
    assert_eq!(send(&mut edge, "GET", "/a/b", &[]).await.body, long);
    until("compressed answer", || (site.gateway.cache.memory.bytes() < 100_000).then_some(())).await;
    assert_eq!(send(&mut edge, "GET", "/a/b", &[]).await.body, long);
    assert_eq!(origin.count(), 1);
}

#[tokio::test]
async fn a_service_names_tags_that_clients_do_not_see_and_a_purge_finds() {
    use business_gateway::dispatch::cache::tag::Purge;
    let origin = Origin::start(&[("x-tags", "stock, price:7")]).await;
    let (site, mut edge) = start(&origin, "lifetime = \"1h\", tags = [\"{kind}\"], tag_header = \"x-tags\"", "").await;
    let purge = |tag: &str| Purge::Tag(tag.to_owned());
    for (number, tag) in ["stock", "price:7", "shoes"].iter().enumerate() {
        let answer = send(&mut edge, "GET", "/shoes/7", &[]).await;
        assert_eq!((answer.text(), answer.header("x-tags")), ((number + 1).to_string(), ""));
        assert_eq!(send(&mut edge, "GET", "/shoes/7", &[]).await.text(), (number + 1).to_string());
        site.gateway.cache.purge(&purge("other")).await.unwrap();
        assert_eq!(send(&mut edge, "GET", "/shoes/7", &[]).await.text(), (number + 1).to_string());
        site.gateway.cache.purge(&purge(tag)).await.unwrap();
    }
    assert_eq!(send(&mut edge, "GET", "/shoes/7", &[]).await.text(), "4");
    let long: &'static str = "0123456789abcdef".repeat(9).leak();
    origin.say(|script| script.headers[0] = ("x-tags", long));
    for _ in 0..2 {
        assert_eq!(send(&mut edge, "GET", "/hats/7", &[]).await.header("x-tags"), "");
    }
    assert_eq!(origin.count(), 6, "what cannot be purged as its service wants is not kept");
}

#[tokio::test]
async fn a_hit_takes_no_slot() {
    let origin = Origin::start(&[]).await;
    let more = "[[pool]]\nname = \"origin\"\nsize = 1\n[[group]]\nname = \"rest\"\nratio = 100\n";
    let (site, mut edge) = start(&origin, FRESH, more).await;
    send(&mut edge, "GET", "/a/kept", &[]).await;
    origin.hold(true);
    let address = site.address;
    let held = tokio::spawn(async move {
        let mut edge = Edge::connect(address, Protocol::Http1).await;
        send(&mut edge, "GET", "/a/held", &[]).await.status
    });
    origin.until_asked(2).await;
    let answer = send(&mut edge, "GET", "/a/kept", &[]).await;
    assert_eq!((answer.status, answer.text()), (200, "1".to_owned()));
    origin.hold(false);
    assert_eq!(held.await.unwrap(), 200);
}
