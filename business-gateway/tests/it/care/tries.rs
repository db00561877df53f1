//! A call that gets no answer, or not the right one, is tried at another endpoint.

use std::time::Duration;

use super::{get, metric, of, post, states};
use crate::support::client::{Edge, Protocol, Said, empty, request_as};
use crate::support::service::Service;
use crate::support::switch::{HANGS, Switch};
use crate::support::{Site, catalog};

#[tokio::test]
async fn a_read_is_tried_elsewhere_after_the_time_of_a_try() {
    let (ill, well) = (Switch::start(HANGS).await, Switch::start(200).await);
    let more = "try_timeout = \"300ms\"\ntimeout = \"20s\"\nejection = { time = \"1h\", time_max = \"1h\" }";
    let site = Site::start(&of(&[&ill, &well], more)).await;
    for _ in 0..20 {
        assert_eq!(get(site.address).await.status, 200);
    }
    assert_eq!(ill.requests(), 3, "three in a row, and it is out");
    assert_eq!(well.requests(), 20);
    assert!(states(&site).contains(&"Ejected".to_owned()));
    assert_eq!(metric(&site, "gatehouse_business_upstream_slow_tries_total{service=\"sample\"}"), Some(3));
    let line = site.line(|line| line.get("tries").is_some()).await;
    let attempts = line["tries"].as_array().unwrap();
    assert_eq!(attempts.len(), 2, "{line}");
    assert_eq!((attempts[0]["outcome"].as_str(), attempts[1]["outcome"].as_str()), (Some("slow"), Some("answered")));
    assert_eq!(attempts[0]["endpoint"], ill.address.to_string());
    assert_eq!(attempts[1]["status"], 200);
    assert!(attempts[0]["ms"].as_f64().unwrap() >= 299.0, "{line}");
    let lines = site.lines();
    assert!(lines.iter().all(|line| line.get("tries").is_some() == (line["retries"] == 1)), "{lines:?}");
}

#[tokio::test]
async fn what_is_not_idempotent_is_never_sent_twice() {
    let ill = [Switch::start(HANGS).await, Switch::start(503).await];
    let more = "try_timeout = \"20ms\"\ntimeout = \"300ms\"\nretry_statuses = [503]\nejection = { max_percent = 0 }";
    let site = Site::start(&of(&[&ill[0], &ill[1]], more)).await;
    let mut statuses = Vec::new();
    for _ in 0..6 {
        statuses.push(post(site.address).await.status);
    }
    statuses.sort_unstable();
    assert_eq!(statuses, [503, 503, 503, 504, 504, 504]);
    assert_eq!((ill[0].requests(), ill[1].requests()), (3, 3));
}

#[tokio::test]
async fn a_try_that_has_no_other_goes_on_until_the_timeout() {
    // One endpoint only; two, but nothing left to repeat with.
    for (endpoints, budget) in [(1, "retry_percent = 100"), (2, "retry_percent = 1\nretry_min_per_second = 0")] {
        let services = [Service::start().await, Service::start().await];
        let addresses: Vec<_> = services.iter().map(|service| service.address).take(endpoints).collect();
        let more = format!("try_timeout = \"20ms\"\ntimeout = \"20s\"\n{budget}");
        let site = Site::start(&catalog(&addresses, &more)).await;
        let mut edge = Edge::connect(site.address, Protocol::Http1).await;
        for _ in 0..3 {
            assert_eq!(edge.get("/slow?ms=200").await.status, 200, "{budget}");
        }
        assert_eq!(services.iter().map(Service::requests).sum::<usize>(), 3, "{budget}");
        assert_eq!(site.service("sample").counters.retries.get(), 0);
    }
}

#[tokio::test]
async fn all_tries_together_take_no_longer_than_the_timeout_and_the_deadline() {
    let hanging = [Switch::start(HANGS).await, Switch::start(HANGS).await, Switch::start(HANGS).await];
    let more = "try_timeout = \"50ms\"\ntimeout = \"400ms\"";
    let site = Site::start(&of(&[&hanging[0], &hanging[1], &hanging[2]], more)).await;
    let answer = get(site.address).await;
    assert_eq!((answer.status, answer.code().as_str()), (504, "service_timeout"));
    assert_eq!(hanging.iter().map(Switch::requests).sum::<usize>(), 3, "three endpoints, each once");
    let line = site.line(|line| line["status"] == 504).await;
    let times: Vec<f64> =
        line["tries"].as_array().unwrap().iter().map(|attempt| attempt["ms"].as_f64().unwrap()).collect();
    assert_eq!(times.len(), 3, "{line}");
    // The last one has what the others left; each is late at most by what the machine is busy.
    assert!(times.iter().sum::<f64>() >= 399.0 && times[2] < times.iter().sum::<f64>(), "{line}");
    let said = Said { left: Duration::from_millis(120), ..Said::default() };
    let mut edge = Edge::connect(site.address, Protocol::Http1).await;
    let answer = edge.exchange(request_as("GET", "/x", said).body(empty()).unwrap()).await;
    assert_eq!((answer.status, answer.code().as_str()), (504, "deadline_exceeded"));
}

#[tokio::test]
async fn an_error_of_one_endpoint_is_answered_by_another_within_the_budget() {
    let (ill, well) = (Switch::start(500).await, Switch::start(200).await);
    let more = "retry_statuses = [500]";
    let site = Site::start(&of(&[&ill, &well], more)).await;
    for _ in 0..20 {
        assert_eq!(get(site.address).await.status, 200);
    }
    assert_eq!((ill.requests(), well.requests()), (10, 20));
    assert_eq!(metric(&site, "gatehouse_business_upstream_replaced_total{service=\"sample\"}"), Some(10));
    let line = site.line(|line| line.get("tries").is_some()).await;
    assert_eq!((&line["tries"][0]["outcome"], &line["tries"][0]["status"]), (&"replaced".into(), &500.into()));

    // When everybody fails, or nothing may be repeated, the service's own answer goes to the client.
    well.answer(500);
    assert_eq!(get(site.address).await.status, 500);
    let more = "retry_statuses = [500]\nretry_percent = 1\nretry_min_per_second = 0";
    let site = Site::start(&of(&[&ill, &well], more)).await;
    let before = ill.requests() + well.requests();
    for _ in 0..10 {
        assert_eq!(get(site.address).await.status, 500);
    }
    assert_eq!(ill.requests() + well.requests(), before + 10);
}

#[tokio::test]
async fn an_api_has_its_own_time_for_a_try() {
    let (ill, well) = (Switch::start(HANGS).await, Switch::start(200).await);
    let catalog = of(&[&ill, &well], "timeout = \"20s\"") + "upstream = { try_timeout = \"50ms\" }\n";
    let site = Site::start(&catalog).await;
    for _ in 0..4 {
        assert_eq!(get(site.address).await.status, 200);
    }
    assert!(ill.requests() > 0);
}
