//! An aggregate goes nowhere but to the services of its calls: not to an admin listener, not to what else listens on this machine or
//! its link, not where a service redirects it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::aggregates::shop::{Shop, call, catalog, page};
use crate::support::client::{Edge, Protocol, full, request};
use crate::support::process::Process;

/// Something that listens and that nobody may reach.
struct Trap {
    address: SocketAddr,
    reached: Arc<AtomicUsize>,
}

impl Trap {
    async fn at(address: &str) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let trap = Self { address: listener.local_addr().unwrap(), reached: Arc::default() };
        let reached = Arc::clone(&trap.reached);
        tokio::spawn(async move {
            while let Ok((_stream, _)) = listener.accept().await {
                reached.fetch_add(1, Ordering::SeqCst);
            }
        });
        trap
    }

    fn reached(&self) -> usize {
        self.reached.load(Ordering::SeqCst)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_value_and_no_redirect_leads_an_aggregate_out_of_the_catalog() {
    let shop = Shop::start().await;
    let traps = [Trap::at("127.0.0.1:0").await, Trap::at("127.0.0.2:0").await];
    // A value stands wherever one can stand: in the path, the query, a header field and the body.
    let value = "request.body.to";
    let calls = [
        call("one", "users.show", &format!("params = {{ id = \"{value}\" }}\nneed = \"optional\"")),
        call("rest", "files", &format!("params = {{ rest = \"{value}\" }}\nneed = \"optional\"")),
        call(
            "said",
            "prices.find",
            &format!(
                "query = {{ to = \"{value}\" }}\nheaders = {{ x-to = \"{value}\" }}\nbody = \"{value}\"\nneed = \"optional\""
            ),
        ),
        call("sent", "headers", &format!("query = {{ location = \"{value}\" }}\nneed = \"optional\"")),
    ];
    let dir = tempfile::tempdir().unwrap();
    let node = Process::start(dir.path(), "a", &catalog(&shop, &page("/page", &calls.concat())), "").await;
    let admin = node.admin();
    let mut edge = Edge::connect(node.address, Protocol::Http1).await;
    let hosts =
        [traps[0].address.to_string(), traps[1].address.to_string(), admin.to_string(), "169.254.169.254".to_owned()];
    let mut made = 0;
    for status in [200, 301, 302, 303, 307, 308] {
        shop.fail("/headers", status);
        for host in &hosts {
            for to in [
                format!("http://{host}/metrics"),
                format!("//{host}/metrics"),
                format!("@{host}/metrics"),
                format!("../../../{host}"),
                format!("x\r\nHost: {host}\r\n\r\nGET /metrics HTTP/1.1"),
                format!("x HTTP/1.1\r\nhost: {host}"),
                format!("\\\\{host}\\metrics"),
                format!("{host}#"),
                format!("?@{host}"),
            ] {
                let call = request("POST", "/page").body(full(json!({ "to": to }).to_string())).unwrap();
                let answer = edge.exchange(call).await;
                assert_eq!(answer.status, 200, "{to:?}: {}", answer.text());
                assert!(!answer.text().contains("gatehouse_business_"), "{to:?}: {}", answer.text());
                let body: Value = serde_json::from_slice(&answer.body).unwrap();
                let errors: Vec<&Value> = body["errors"].as_array().into_iter().flatten().collect();
                // A part that was not made has no value for its path; one that was redirected has failed.
                let was_made = |part: &str| {
                    errors.iter().all(|error| error["part"] != part || error["code"] != "aggregate_input_invalid")
                };
                made += ["one", "rest", "said", "sent"].iter().filter(|part| was_made(part)).count();
                let redirected = errors.iter().any(|error| error["part"] == "sent" && error["status"] == status);
                assert_eq!(redirected, status != 200, "{to:?}: {errors:?}");
                assert_eq!(answer.header("location"), "");
            }
        }
    }
    assert_eq!(traps.each_ref().map(Trap::reached), [0, 0]);
    let requests = shop.requests();
    assert_eq!(requests.len(), made, "each call has come to the service of its API, once");
    for request in &requests {
        let segment = request.target.split('/').nth(1).unwrap().split('?').next().unwrap();
        assert!(["users", "files", "prices", "headers"].contains(&segment), "{}", request.target);
        assert_eq!(request.header("host"), "shop.example", "{}", request.target);
    }
    assert_eq!(node.audited(), [""; 0]);
}

#[test]
fn a_catalog_in_which_a_call_names_an_address_or_a_host_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("hop.key"), crate::support::client::HOP_SECRET).unwrap();
    let business = "[hop]\nkeys = [{ id = \"a\", secret = { file = \"hop.key\" } }]\n";
    std::fs::write(dir.path().join("business.toml"), business).unwrap();
    for (api, more, expected) in [
        ("http://127.0.0.1:9181/policy", "", "http://127.0.0.1:9181/policy"),
        ("s.show", "headers = { host = \"'127.0.0.1:9181'\" }", "host"),
        ("s.show", "headers = { x-forwarded-host = \"'127.0.0.1:9181'\" }", "x-forwarded-host"),
        ("s.show", "headers = { x-gatehouse-hop = \"'1'\" }", "x-gatehouse-hop"),
        ("s.show", "pass_headers = [\"host\"]", "host"),
    ] {
        let catalog = format!(
            "[[service]]\nname = \"s\"\nendpoints = [\"127.0.0.1:9\"]\n[[api]]\nname = \"s.show\"\nservice = \"s\"\npath = \"/s\"\n{}",
            page("/page", &call("part", api, more))
        );
        std::fs::write(dir.path().join("catalog.toml"), catalog).unwrap();
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_business-gateway"));
        let output = command.args(["check", "--config"]).arg(dir.path()).output().unwrap();
        let errors = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(64), "{api} {more}: {errors}");
        let named = errors.lines().any(|line| line.contains("catalog.toml:") && line.contains(expected));
        assert!(named, "{api} {more}: {errors}");
    }
}
