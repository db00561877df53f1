use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};
use http::{Request, Response, StatusCode};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::harness::{Edge, PATIENCE, until};

type Driver = JoinHandle<Result<(), h2::Error>>;

async fn connect(edge: &Edge) -> (SendRequest<Bytes>, Driver) {
    let stream = TcpStream::connect(edge.address).await.unwrap();
    let (requests, driver) = h2::client::handshake(stream).await.unwrap();
    (requests.ready().await.unwrap(), tokio::spawn(driver))
}

fn get(target: &str) -> Request<()> {
    Request::get(format!("http://x{target}")).body(()).unwrap()
}

async fn received(response: ResponseFuture) -> (Response<()>, String) {
    let reading = async {
        let (head, mut body) = response.await.unwrap().into_parts();
        let mut text = Vec::new();
        while let Some(data) = body.data().await {
            text.extend_from_slice(&data.unwrap());
        }
        (Response::from_parts(head, ()), String::from_utf8(text).unwrap())
    };
    timeout(PATIENCE, reading).await.expect("an answer")
}

async fn answer(requests: &mut SendRequest<Bytes>, request: Request<()>) -> (Response<()>, String) {
    received(requests.send_request(request, true).unwrap().0).await
}

#[tokio::test]
async fn serves_http2_by_prior_knowledge_where_it_is_welcome() {
    let edge = Edge::start("h2c = true\n").await;
    let (mut requests, _driver) = connect(&edge).await;
    let (head, body) = answer(&mut requests, get("/a//b?c")).await;
    assert_eq!((head.status(), body.as_str()), (StatusCode::OK, "GET /a//b?c 0"));
    assert_eq!(
        (&head.headers()["x-path"], &head.headers()["x-http2"]),
        (&"/a/b".parse().unwrap(), &"true".parse().unwrap())
    );
    let (response, mut body) = requests.send_request(Request::post("http://x/up").body(()).unwrap(), false).unwrap();
    body.send_data(Bytes::from_static(b"hello"), true).unwrap();
    assert_eq!(received(response).await.1, "POST /up 5");

    let edge = Edge::start("").await;
    let mut client = edge.connect().await;
    client.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
    assert!(client.rest().await.starts_with("HTTP/1.1 505"));
}

#[tokio::test]
async fn every_request_sees_one_generation() {
    let edge = Edge::start("h2c = true\n").await;
    let (mut requests, _driver) = connect(&edge).await;
    let held = requests.send_request(get("/held"), true).unwrap().0;
    until("the request is at the service", || edge.upstream.received().contains("/held")).await;
    edge.reload("h2c = true\n");
    assert_eq!(answer(&mut requests, get("/")).await.0.headers()["x-generation"], "2");
    edge.upstream.release();
    assert_eq!(received(held).await.0.headers()["x-generation"], "1");
}

#[tokio::test]
async fn refusals_concern_their_stream_alone() {
    let edge = Edge::start("h2c = true\n").await;
    let (mut requests, _driver) = connect(&edge).await;
    let mut many = get("/");
    for index in 0..101 {
        many.headers_mut().append("cookie", format!("c{index}=1").parse().unwrap());
    }
    let cases: [(Request<()>, u16, &str); 6] = [
        (many, 431, "too_many_fields"),
        (get("/%252e"), 400, "path_double_encoded"),
        (Request::get("http://x/").header("a_b", "c").body(()).unwrap(), 400, "header_name_underscore"),
        (
            Request::get("http://x/").header("host", "x").header("range", "a").header("range", "b").body(()).unwrap(),
            400,
            "header_repeated",
        ),
        (Request::builder().method("TRACE").uri("http://x/").body(()).unwrap(), 405, "method_not_allowed"),
        (get(&format!("/{}", "a".repeat(9_000))), 414, "target_too_long"),
    ];
    let mut codes = Vec::new();
    for (request, status, code) in cases {
        let (head, body) = answer(&mut requests, request).await;
        assert_eq!(head.status().as_u16(), status, "{body}");
        assert!(body.contains(code), "{body}");
        codes.push(code);
    }
    assert_eq!(answer(&mut requests, get("/fine")).await.0.status(), StatusCode::OK);
    assert_eq!(edge.refused(), codes);
    assert!(!edge.upstream.received().contains("c1=1"));
}

#[tokio::test]
async fn cookie_crumbs_become_one_field() {
    let edge = Edge::start("h2c = true\n").await;
    let (mut requests, _driver) = connect(&edge).await;
    let request = Request::get("http://x/")
        .header("cookie", "a=1")
        .header("cookie", "b=2")
        .header("cookie", "c=3")
        .body(())
        .unwrap();
    answer(&mut requests, request).await;
    assert!(edge.upstream.received().to_ascii_lowercase().contains("cookie: a=1; b=2; c=3\r\n"));
}

#[tokio::test]
async fn malformed_requests_have_a_budget() {
    let edge = Edge::start("h2c = true\n[accept.http2]\nmalformed = 5\n").await;
    let (mut requests, driver) = connect(&edge).await;
    for _ in 0..5 {
        drop(requests.send_request(get("/%00"), true));
        requests = match requests.ready().await {
            Ok(requests) => requests,
            Err(_) => break,
        };
    }
    let error = timeout(PATIENCE, driver).await.unwrap().unwrap().unwrap_err();
    assert_eq!(error.reason(), Some(h2::Reason::ENHANCE_YOUR_CALM));
}

#[tokio::test]
async fn rapid_resets_and_floods_of_control_frames_end_the_connection() {
    let edge = Edge::start("h2c = true\n[accept.http2]\nresets_after = 50\ncontrol_frames = 100\n").await;
    let (mut requests, driver) = connect(&edge).await;
    let mut resets = 0;
    while !driver.is_finished() && resets < 10_000 {
        let Ok(ready) = requests.clone().ready().await else { break };
        requests = ready;
        if let Ok((_, mut stream)) = requests.send_request(get("/held"), false) {
            stream.send_reset(h2::Reason::CANCEL);
            resets += 1;
        }
        tokio::task::yield_now().await;
    }
    assert!(resets < 10_000);
    until("the flood is reported", || !edge.refused().is_empty() || driver.is_finished()).await;

    let mut stream = TcpStream::connect(edge.address).await.unwrap();
    stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00").await.unwrap();
    let ping = b"\x00\x00\x08\x06\x00\x00\x00\x00\x0012345678".repeat(1_000);
    // The edge may close before it has read them all.
    drop(stream.write_all(&ping).await);
    let mut rest = Vec::new();
    let _end = timeout(PATIENCE, stream.read_to_end(&mut rest)).await.expect("the edge closes");
    assert!(edge.refused().contains(&"too_many_control_frames"), "{:?}", edge.refused());
}

#[tokio::test]
async fn an_idle_connection_and_a_silent_one_are_closed() {
    let edge =
        Edge::start("h2c = true\n[accept.http2]\nidle_timeout = \"200ms\"\nhandshake_timeout = \"200ms\"\n").await;
    let (mut requests, driver) = connect(&edge).await;
    assert_eq!(answer(&mut requests, get("/")).await.0.status(), StatusCode::OK);
    drop(timeout(PATIENCE, driver).await.expect("the edge says goodbye"));
    let mut silent = edge.connect().await;
    silent.send("PRI * HTTP/2.0\r\n\r\n").await;
    let mut rest = Vec::new();
    let _end = timeout(PATIENCE, silent.stream.read_to_end(&mut rest)).await.expect("the edge closes");
    until("all are released", || edge.connections.open() == 0).await;
}

#[tokio::test]
async fn a_request_over_its_deadline_is_reset() {
    let edge = Edge::start("h2c = true\n[accept.http2]\nrequest_timeout = \"200ms\"\n").await;
    let (mut requests, _driver) = connect(&edge).await;
    let held = requests.send_request(get("/held"), true).unwrap().0;
    assert!(timeout(PATIENCE, held).await.unwrap().is_err());
}

#[tokio::test]
async fn says_goodbye_after_its_requests_and_at_shutdown() {
    let edge = Edge::start("h2c = true\n[accept]\nrequests_per_connection = 2\n").await;
    let (mut requests, driver) = connect(&edge).await;
    for _ in 0..2 {
        assert_eq!(answer(&mut requests, get("/")).await.0.status(), StatusCode::OK);
    }
    timeout(PATIENCE, driver).await.unwrap().unwrap().unwrap();

    let (mut requests, driver) = connect(&edge).await;
    let held = requests.send_request(get("/held"), true).unwrap().0;
    until("the request is at the service", || edge.upstream.received().contains("/held")).await;
    edge.shut_down();
    edge.upstream.release();
    assert_eq!(received(held).await.0.status(), StatusCode::OK);
    drop(requests);
    timeout(PATIENCE, driver).await.unwrap().unwrap().unwrap();
    until("all are released", || edge.connections.open() == 0).await;
}

#[tokio::test]
async fn a_body_over_the_cap_is_refused_whether_its_length_is_stated_or_not() {
    let edge = Edge::start("h2c = true\n[accept]\nbody_max = \"10B\"\n").await;
    let (mut requests, _driver) = connect(&edge).await;
    let stated = Request::post("http://x/stated").header("content-length", "11").body(()).unwrap();
    let (response, _body) = requests.send_request(stated, false).unwrap();
    assert_eq!(received(response).await.0.status(), StatusCode::PAYLOAD_TOO_LARGE);
    let (response, mut body) = requests.send_request(Request::post("http://x/").body(()).unwrap(), false).unwrap();
    body.send_data(Bytes::from_static(b"12345678"), false).unwrap();
    body.send_data(Bytes::from_static(b"12345678"), true).unwrap();
    assert_eq!(received(response).await.0.status(), StatusCode::PAYLOAD_TOO_LARGE);
}
