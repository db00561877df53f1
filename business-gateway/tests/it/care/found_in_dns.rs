//! Endpoints that the DNS says, with a real server.

use std::net::{IpAddr, SocketAddr};

use gatehouse_shared::live::ReloadOutcome;

use super::{endpoints, get, metric};
use crate::support::client::{Edge, Protocol};
use crate::support::dns::{DnsServer, Mood};
use crate::support::process::Process;
use crate::support::service::Service;
use crate::support::{Site, until};

/// A service `sample` that is found, and an API that takes every path.
pub(super) fn catalog(source: &str, more: &str) -> String {
    format!(
        "[[service]]\nname = \"sample\"\n{source}\n{more}\n\
         [[api]]\nname = \"all\"\naccess = \"open\"\nservice = \"sample\"\npath = \"/{{*rest}}\"\n"
    )
}

fn by_address(port: u16, more: &str) -> String {
    let more = format!("name = \"orders.test\", port = {port}, interval_min = \"20ms\", interval_max = \"50ms\"{more}");
    catalog(&format!("dns = {{ {more} }}"), "")
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// Two services on the same port of two addresses.
async fn twins() -> (Service, Service) {
    let first = Service::start().await;
    let port = first.address.port();
    (first, Service::at(SocketAddr::new(ip("127.0.0.2"), port)).await)
}

async fn until_endpoints(site: &Site, expected: &[SocketAddr]) {
    until("the endpoints", || (endpoints(site) == expected).then_some(())).await;
}

#[tokio::test]
async fn endpoints_follow_the_dns_and_keep_their_connections() {
    let (dns, (first, second)) = (DnsServer::start().await, twins().await);
    dns.addresses("orders.test", &[ip("127.0.0.1")]);
    let site = Site::with(&by_address(first.address.port(), ""), &dns.toml()).await;
    until_endpoints(&site, &[first.address]).await;
    let mut edge = Edge::connect(site.address, Protocol::Http1).await;
    for _ in 0..3 {
        assert_eq!(edge.get("/x").await.status, 200);
    }
    assert_eq!((first.requests(), first.connections()), (3, 1));

    dns.addresses("orders.test", &[ip("127.0.0.2"), ip("127.0.0.1")]);
    until_endpoints(&site, &[first.address, second.address]).await;
    for _ in 0..10 {
        assert_eq!(edge.get("/x").await.status, 200);
    }
    assert_eq!((first.requests(), first.connections()), (8, 1), "the one that stays keeps its connection");
    assert_eq!(second.requests(), 5);

    dns.addresses("orders.test", &[ip("127.0.0.2")]);
    until_endpoints(&site, &[second.address]).await;
    for _ in 0..4 {
        assert_eq!(edge.get("/x").await.status, 200);
    }
    assert_eq!((first.requests(), second.requests()), (8, 9));
    assert_eq!(site.gateway.live.current().number, 1, "all in one generation");
    assert!(metric(&site, "gatehouse_business_discovery_changes_total{service=\"sample\"}") >= Some(3));
}

#[tokio::test]
async fn the_last_answer_stays_while_the_dns_fails_or_says_nothing_or_none() {
    let (dns, (first, second)) = (DnsServer::start().await, twins().await);
    dns.addresses("orders.test", &[ip("127.0.0.1"), ip("127.0.0.2")]);
    let catalog = by_address(first.address.port(), "");
    let site = Site::with(&catalog, &dns.toml()).await;
    let both = [first.address, second.address];
    until_endpoints(&site, &both).await;
    let results = |result: &str| {
        let name = "gatehouse_business_discovery_answers_total";
        metric(&site, &format!("{name}{{result=\"{result}\",service=\"sample\"}}")).unwrap_or(0)
    };
    for (mood, result) in [(Mood::Fails, "failed"), (Mood::Silent, "failed"), (Mood::Well, "empty")] {
        dns.addresses("orders.test", &[]);
        dns.behave(mood);
        let before = results(result);
        until("two such answers", || (results(result) >= before + 2).then_some(())).await;
        assert_eq!(endpoints(&site), both, "{mood:?}");
        for _ in 0..4 {
            assert_eq!(get(site.address).await.status, 200, "{mood:?}");
        }
        // A new generation knows them, too, although nobody answers.
        site.write("catalog.toml", &format!("{catalog}\n# {mood:?}\n"));
        assert!(matches!(site.gateway.live.reload(), ReloadOutcome::Replaced(_)));
        assert_eq!(endpoints(&site), both, "{mood:?}");
        assert_eq!(get(site.address).await.status, 200);
    }
    assert!(metric(&site, "gatehouse_business_discovery_age_seconds{service=\"sample\"}").is_some());
    dns.addresses("orders.test", &[ip("127.0.0.2")]);
    until_endpoints(&site, &[second.address]).await;
}

#[tokio::test]
async fn no_endpoint_is_an_answer_where_it_is_declared() {
    let (dns, first) = (DnsServer::start().await, Service::start().await);
    dns.addresses("orders.test", &[ip("127.0.0.1")]);
    let site = Site::with(&by_address(first.address.port(), ", allow_empty = true"), &dns.toml()).await;
    until_endpoints(&site, &[first.address]).await;
    dns.addresses("orders.test", &[]);
    until_endpoints(&site, &[]).await;
    let answer = get(site.address).await;
    assert_eq!((answer.status, answer.code().as_str()), (503, "service_unavailable"));
}

#[tokio::test]
async fn srv_records_bring_ports_weights_and_priorities() {
    let dns = DnsServer::start().await;
    let (heavy, light, reserve) = (Service::start().await, Service::start().await, Service::start().await);
    for host in ["heavy.test", "light.test", "reserve.test"] {
        dns.addresses(host, &[ip("127.0.0.1")]);
    }
    let ports = [heavy.address.port(), light.address.port(), reserve.address.port()];
    let records = [(10, 3, ports[0], "heavy.test"), (10, 1, ports[1], "light.test"), (20, 1, ports[2], "reserve.test")];
    dns.services("_http._tcp.orders.test", &records);
    let source = "dns = { name = \"_http._tcp.orders.test\", record = \"srv\", interval_min = \"20ms\" }";
    let site = Site::with(&catalog(source, "strategy = \"weighted_round_robin\""), &dns.toml()).await;
    let mut best = [heavy.address, light.address];
    best.sort();
    until_endpoints(&site, &best).await;
    let mut edge = Edge::connect(site.address, Protocol::Http1).await;
    for _ in 0..40 {
        assert_eq!(edge.get("/x").await.status, 200);
    }
    assert_eq!((heavy.requests(), light.requests(), reserve.requests()), (30, 10, 0));
    // The best have no address any more: those of the next priority.
    dns.addresses("heavy.test", &[]);
    dns.addresses("light.test", &[]);
    until_endpoints(&site, &[reserve.address]).await;
    assert_eq!(edge.get("/x").await.status, 200);
    assert_eq!(reserve.requests(), 1);
}

#[tokio::test]
async fn the_dns_cannot_make_a_node_call_itself() {
    let (dns, first) = (DnsServer::start().await, Service::start().await);
    dns.addresses("orders.test", &[ip("127.0.0.1"), ip("::1"), ip("169.254.169.254")]);
    let settings = dns.toml().replace("networks = [\"127.0.0.0/8\"]\n", "");
    let site = Site::with(&by_address(first.address.port(), ""), &settings).await;
    let refused = "gatehouse_business_discovery_left_out_total{reason=\"refused\",service=\"sample\"}";
    until("addresses that are left out", || (metric(&site, refused) >= Some(3)).then_some(())).await;
    assert_eq!(endpoints(&site), []);
    let answer = get(site.address).await;
    assert_eq!((answer.status, answer.code().as_str()), (503, "service_unavailable"));
    assert_eq!(first.connections(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_takes_calls_when_it_knows_where_to_and_no_call_asks_the_dns() {
    let (dns, first) = (DnsServer::start().await, Service::start().await);
    dns.addresses("orders.test", &[ip("127.0.0.1")]);
    let dir = tempfile::tempdir().unwrap();
    let source = format!(
        "dns = {{ name = \"orders.test\", port = {}, interval_min = \"1h\" , interval_max = \"1h\" }}",
        first.address.port()
    );
    let node = Process::start(dir.path(), "a", &catalog(&source, ""), &dns.toml()).await;
    assert_eq!(get(node.address).await.status, 200, "the very first call");
    let asked = dns.questions();
    for _ in 0..20 {
        assert_eq!(get(node.address).await.status, 200);
    }
    assert_eq!(dns.questions(), asked);
}
