//! Who is calling: PROXY protocol, X-Forwarded-For, and what the service is told.

use std::net::{IpAddr, Ipv4Addr};

use gatehouse_tests::client::{Raw, Target};
use gatehouse_tests::site::Site;
use gatehouse_tests::until::SOON;
use serde_json::Value;
use tokio::time::timeout;

use crate::Passed;

/// A load balancer in front of the edge.
const BALANCER: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 9));

const REQUEST: &str = "GET /echo HTTP/1.1\r\nHost: shop.test\r\nConnection: close\r\n\r\n";

fn forwarded_for(echo: &Value) -> Vec<String> {
    values(echo, "x-forwarded-for")
}

fn values(echo: &Value, name: &str) -> Vec<String> {
    let headers = echo["headers"].as_array().cloned().unwrap_or_default();
    headers.iter().filter(|pair| pair[0] == name).filter_map(|pair| Some(pair[1].as_str()?.to_owned())).collect()
}

async fn echo(target: &Target, headers: &str) -> anyhow::Result<Value> {
    let mut raw = Raw::open(target).await?;
    let answer = raw.exchange(format!("GET /echo HTTP/1.1\r\nHost: shop.test\r\n{headers}\r\n")).await?;
    anyhow::ensure!(answer.status == 200, "{} {}", answer.status, answer.text());
    Ok(serde_json::from_slice(&answer.body)?)
}

/// PROXY v2, TCP over IPv4, with one TLV of an unknown type.
fn proxy_v2(source: Ipv4Addr, port: u16) -> Vec<u8> {
    let mut bytes = b"\r\n\r\n\0\r\nQUIT\n".to_vec();
    bytes.extend([0x21, 0x11, 0, 12 + 5]);
    bytes.extend(source.octets());
    bytes.extend([127, 0, 0, 1]);
    bytes.extend(port.to_be_bytes());
    bytes.extend(8080_u16.to_be_bytes());
    bytes.extend([0xE7, 0, 2, 1, 2]);
    bytes
}

#[tokio::test]
async fn the_proxy_protocol_tells_the_client_in_both_versions() -> Passed {
    let site = Site::plan()
        .edge("[[process.listener]]\naddress = \"127.0.0.1:0\"\nproxy_protocol = { from = [\"127.0.0.9/32\"] }\n")
        .start()
        .await?;
    let balancer = site.target().from(BALANCER);
    let v1 = balancer.clone().preamble("PROXY TCP4 203.0.113.7 127.0.0.1 4711 8080\r\n");
    assert_eq!(forwarded_for(&echo(&v1, "").await?), ["203.0.113.7"]);
    let v2 = balancer.clone().preamble(proxy_v2(Ipv4Addr::new(203, 0, 113, 8), 4712));
    assert_eq!(forwarded_for(&echo(&v2, "").await?), ["203.0.113.8"]);
    let v6 = balancer.clone().preamble("PROXY TCP6 2001:db8::7 ::1 4711 8080\r\n");
    assert_eq!(forwarded_for(&echo(&v6, "").await?), ["2001:db8::7"]);
    // LOCAL: the balancer itself asks, for its own health.
    let mut local = b"\r\n\r\n\0\r\nQUIT\n".to_vec();
    local.extend([0x20, 0x00, 0, 0]);
    assert_eq!(forwarded_for(&echo(&balancer.clone().preamble(local), "").await?), ["127.0.0.9"]);
    let line = site.edges[0].access_line("the client", |line| line["client"] == "203.0.113.7:4711").await?;
    assert!(line["peer"].as_str().is_some_and(|peer| peer.starts_with("127.0.0.9:")), "{line}");
    Ok(())
}

#[tokio::test]
async fn without_a_valid_proxy_header_from_a_listed_source_nothing_is_served() -> Passed {
    let site = Site::plan()
        .edge(
            "[[process.listener]]\naddress = \"127.0.0.1:0\"\nproxy_protocol = { from = [\"127.0.0.9/32\"] }\n\
             [accept]\nproxy_protocol_timeout = \"1s\"\n",
        )
        .start()
        .await?;
    let header = "PROXY TCP4 203.0.113.7 127.0.0.1 4711 8080\r\n";
    let cases = [
        ("no header", site.target().from(BALANCER), REQUEST.to_owned()),
        ("another source", site.target(), format!("{header}{REQUEST}")),
        ("nonsense", site.target().from(BALANCER), format!("PROXY TCP4 nonsense\r\n{REQUEST}")),
        ("half a header", site.target().from(BALANCER), "PROXY TCP4 203.0.".to_owned()),
    ];
    for (what, target, bytes) in cases {
        let mut raw = Raw::open(&target).await?;
        raw.write(bytes).await?;
        let (bytes, _) = timeout(SOON, raw.rest()).await??;
        let text = String::from_utf8_lossy(&bytes).into_owned();
        assert!(!text.contains(" 200 "), "{what}: {text}");
    }
    assert_eq!(site.services[0].stats().await?.requests, 0);
    Ok(())
}

#[tokio::test]
async fn forwarded_headers_of_clients_are_believed_only_from_trusted_proxies() -> Passed {
    let site =
        Site::plan().edge("[client]\ntrusted_proxies = [\"127.0.0.9/32\", \"198.51.100.0/24\"]\n").start().await?;
    let direct = site.target();
    let through = site.target().from(BALANCER);
    let spoofed = "X-Forwarded-For: 203.0.113.1\r\n";
    assert_eq!(forwarded_for(&echo(&direct, spoofed).await?), ["127.0.0.1"], "nobody is trusted by default");
    assert_eq!(forwarded_for(&echo(&through, spoofed).await?), ["203.0.113.1"]);
    // From the right, the first that is not trusted counts; what stands left of it is anybody's invention.
    let chain = "X-Forwarded-For: 192.0.2.66, 203.0.113.1, 198.51.100.3\r\n";
    assert_eq!(forwarded_for(&echo(&through, chain).await?), ["203.0.113.1"]);
    let mapped = "X-Forwarded-For: ::ffff:203.0.113.5\r\n";
    assert_eq!(forwarded_for(&echo(&through, mapped).await?), ["203.0.113.5"]);
    Ok(())
}

#[tokio::test]
async fn what_the_service_is_told_about_the_client_is_the_edges_own_word() -> Passed {
    let site = Site::plan().start().await?;
    let spoofed = "X-Forwarded-For: 203.0.113.1\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: evil.test\r\n\
                   X-Real-IP: 203.0.113.1\r\nForwarded: for=203.0.113.1\r\nX-Forwarded-Port: 99\r\n";
    let echo = echo(&site.target(), spoofed).await?;
    assert_eq!(forwarded_for(&echo), ["127.0.0.1"]);
    assert_eq!(values(&echo, "x-forwarded-proto"), ["http"]);
    assert_eq!(values(&echo, "x-forwarded-host"), ["shop.test"]);
    let all = echo["headers"].to_string();
    assert!(!all.contains("203.0.113.1") && !all.contains("evil.test") && !all.contains("\"99\""), "{all}");
    Ok(())
}
