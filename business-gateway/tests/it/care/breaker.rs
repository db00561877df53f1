//! A service that fails as a whole is left alone.

use gatehouse_shared::hop::Retry;

use super::{get, metric, of};
use crate::support::client::{Edge, Protocol};
use crate::support::service::Service;
use crate::support::switch::Switch;
use crate::support::{Site, catalog, until};

#[tokio::test]
async fn an_open_breaker_refuses_at_once_and_no_connection_is_attempted() {
    let service = Service::start().await;
    let more = "breaker = { requests_min = 5, open = \"1h\", open_max = \"1h\" }";
    let site = Site::start(&catalog(&[service.address], more)).await;
    let mut edge = Edge::connect(site.address, Protocol::Http1).await;
    for _ in 0..5 {
        assert_eq!(edge.get("/raw/close").await.code(), "service_reset");
    }
    let connections = service.connections();
    for _ in 0..50 {
        let answer = edge.get("/x").await;
        assert_eq!((answer.status, answer.code().as_str()), (503, "service_circuit_open"));
        assert!(answer.header("retry-after").parse::<u64>().unwrap() > 3_500);
        assert!(answer.text().contains("isp.service-circuit-open"));
        assert_eq!((answer.result().retry, answer.result().cost), (Retry::Safe, 0));
    }
    assert_eq!((service.connections(), service.requests()), (connections, 0), "nothing was sent");
    let sample = site.service("sample");
    assert_eq!(sample.counters.opened.get(), u64::try_from(connections).unwrap());
    assert_eq!(metric(&site, "gatehouse_business_breaker_state{service=\"sample\"}"), Some(2));
    assert_eq!(metric(&site, "gatehouse_business_breaker_refused_total{service=\"sample\"}"), Some(50));
    let line = site.line(|line| line["reason"] == "service_circuit_open").await;
    assert!(line.get("endpoint").is_none(), "{line}");
    // A reload does not forget it, another configuration of it does.
    site.write("catalog.toml", &(catalog(&[service.address], more) + "\n# again\n"));
    site.gateway.live.reload();
    assert_eq!(edge.get("/x").await.code(), "service_circuit_open");
    site.write("catalog.toml", &catalog(&[service.address], ""));
    site.gateway.live.reload();
    assert_eq!(edge.get("/x").await.status, 200);
}

#[tokio::test]
async fn a_bounded_number_of_calls_tries_the_service_again_and_it_recovers_by_itself() {
    let switch = Switch::start(500).await;
    let more = "server_errors_count = true\nejection = { max_percent = 0 }\n\
                breaker = { requests_min = 5, open = \"200ms\", open_max = \"200ms\", probes = 1 }";
    let site = Site::start(&of(&[&switch], more)).await;
    for _ in 0..5 {
        assert_eq!(get(site.address).await.status, 500);
    }
    assert_eq!(get(site.address).await.code(), "service_circuit_open");
    // The probe hangs; whoever comes meanwhile is refused.
    switch.answer(crate::support::switch::HANGS);
    let address = site.address;
    let mut probe = None;
    let before = switch.requests();
    while probe.is_none() {
        let call = tokio::spawn(get(address));
        until("an end of the call, or a probe", || (call.is_finished() || switch.requests() > before).then_some(()))
            .await;
        if switch.requests() > before {
            probe = Some(call);
        }
    }
    for _ in 0..10 {
        assert_eq!(get(site.address).await.code(), "service_circuit_open");
    }
    assert_eq!(switch.requests(), before + 1, "one probe at a time");
    // The client of the probe goes away, which says nothing; the next probe finds the service well.
    probe.unwrap().abort();
    switch.answer(200);
    let deadline = tokio::time::Instant::now() + crate::support::SOON;
    while get(site.address).await.status != 200 {
        assert!(tokio::time::Instant::now() < deadline, "it stays open");
    }
    for _ in 0..20 {
        assert_eq!(get(site.address).await.status, 200);
    }
    assert_eq!(metric(&site, "gatehouse_business_breaker_state{service=\"sample\"}"), Some(0));
    assert_eq!(metric(&site, "gatehouse_business_breaker_opened_total{service=\"sample\"}"), Some(1));
}
