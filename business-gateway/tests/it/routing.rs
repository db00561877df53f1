//! A signed request reaches the service its API names, as the service should see it.

use serde_json::Value;

use crate::support::client::{BOTH, Edge, Said, empty, full, request, request_as};
use crate::support::service::Service;
use crate::support::{Site, catalog};

fn header<'a>(echo: &'a Value, name: &str) -> Vec<&'a str> {
    let headers = echo["headers"].as_array().unwrap().iter();
    headers.filter(|pair| pair[0] == name).map(|pair| pair[1].as_str().unwrap()).collect()
}

#[tokio::test]
async fn a_signed_request_reaches_the_service_and_comes_back() {
    let service = Service::start().await;
    let site = Site::start(&catalog(&[service.address], "")).await;
    for protocol in BOTH {
        let mut edge = Edge::connect(site.address, protocol).await;
        let sent = request("POST", "/orders/1?a=%41").header("x-forwarded-for", "198.51.100.1").header("cookie", "a=1");
        let answer = edge.exchange(sent.body(full("hello")).unwrap()).await;
        assert_eq!(answer.status, 200, "{protocol:?}: {}", answer.text());
        let echo: Value = serde_json::from_slice(&answer.body).unwrap();
        assert_eq!(
            (&echo["method"], &echo["target"], &echo["length"]),
            (&"POST".into(), &"/orders/1?a=%41".into(), &5.into())
        );
        assert_eq!(echo["version"], "HTTP/1.1");
        assert_eq!(header(&echo, "host"), ["shop.example"]);
        assert_eq!(header(&echo, "x-forwarded-for"), ["203.0.113.9"], "nothing is believed but the hop");
        assert_eq!(header(&echo, "x-real-ip"), ["203.0.113.9"]);
        assert_eq!(header(&echo, "x-forwarded-host"), ["shop.example"]);
        assert_eq!(header(&echo, "content-length"), ["5"], "{protocol:?}");
        assert_eq!(header(&echo, "x-request-id").len(), 1);
        assert_eq!(header(&echo, "traceparent").len(), 1);
        let left: u64 = header(&echo, "x-request-deadline-ms")[0].parse().unwrap();
        assert!((25_000..=30_000).contains(&left), "{left}");
        let internal =
            echo["headers"].as_array().unwrap().iter().filter(|pair| pair[0].as_str().unwrap().contains("gatehouse"));
        assert_eq!(internal.count(), 0);
        assert_eq!(answer.header("x-private"), "", "named in Connection");
        let result = answer.result();
        assert_eq!(result, gatehouse_shared::hop::HopResult::SERVICE, "a service cannot say it itself");
    }
}

#[tokio::test]
async fn routing_looks_at_the_canonical_path_only() {
    let service = Service::start().await;
    let catalog = format!(
        "[[service]]\nname = \"sample\"\nendpoints = [\"{}\"]\n\
         [[api]]\nname = \"one\"\naccess = \"open\"\nservice = \"sample\"\npath = \"/orders/{{id}}\"\nmethods = [\"GET\"]\n\
         [[api]]\nname = \"raw\"\naccess = \"open\"\nservice = \"sample\"\npath = \"/raw-orders/{{id}}\"\nraw_path = true\n",
        service.address
    );
    let site = Site::start(&catalog).await;
    for protocol in BOTH {
        let mut edge = Edge::connect(site.address, protocol).await;
        for (target, path, seen) in [
            ("/a/../orders/1?q", "/orders/1", "/orders/1?q"),
            ("/a/../raw-orders/1?q", "/raw-orders/1", "/a/../raw-orders/1?q"),
        ] {
            let said = Said { path: Some(path), ..Said::default() };
            let answer = edge.exchange(request_as("GET", target, said).body(empty()).unwrap()).await;
            let echo: Value = serde_json::from_slice(&answer.body).unwrap();
            assert_eq!(echo["target"], seen, "{protocol:?}");
        }
    }
}

#[tokio::test]
async fn unknown_paths_and_methods_are_told_apart() {
    let service = Service::start().await;
    let catalog = format!(
        "[[service]]\nname = \"sample\"\nendpoints = [\"{}\"]\n\
         [[api]]\nname = \"one\"\naccess = \"open\"\nservice = \"sample\"\npath = \"/orders/{{id}}\"\nmethods = [\"GET\", \"PUT\"]\n",
        service.address
    );
    let site = Site::start(&catalog).await;
    for protocol in BOTH {
        let mut edge = Edge::connect(site.address, protocol).await;
        let unknown = edge.get("/nothing").await;
        assert_eq!((unknown.status, unknown.code().as_str()), (404, "api_not_found"));
        let wrong = edge.exchange(request("POST", "/orders/1").body(full("x")).unwrap()).await;
        assert_eq!((wrong.status, wrong.code().as_str()), (405, "api_method_not_allowed"));
        assert_eq!(wrong.header("allow"), "GET, HEAD, PUT");
        assert_eq!(wrong.result().retry, gatehouse_shared::hop::Retry::Safe);
        assert_eq!(edge.get("/orders/1").await.status, 200, "{protocol:?}: the connection goes on");
    }
    assert_eq!(service.requests(), 2);
}

#[tokio::test]
async fn every_call_has_one_line_with_what_happened() {
    let service = Service::start().await;
    let site = Site::start(&catalog(&[service.address], "")).await;
    let mut edge = Edge::connect(site.address, BOTH[1]).await;
    edge.exchange(request("PUT", "/orders/1").body(full("12345")).unwrap()).await;
    let line = site.line(|line| line["path"] == "/orders/1").await;
    for (key, value) in [
        ("client", Value::from("203.0.113.9")),
        ("edge", "edge-1".into()),
        ("method", "PUT".into()),
        ("api", "all".into()),
        ("service", "sample".into()),
        ("endpoint", service.address.to_string().into()),
        ("status", 200.into()),
        ("bytes_in", 5.into()),
        ("retries", 0.into()),
        ("generation", 1.into()),
    ] {
        assert_eq!(line[key], value, "{key} in {line}");
    }
    assert!(line["duration_ms"].as_f64().unwrap() >= line["upstream_ms"].as_f64().unwrap(), "{line}");
}
