//! How many calls an endpoint gets at a time.

use super::{get, metric, of};
use crate::support::client::{Edge, Protocol};
use crate::support::service::Service;
use crate::support::switch::{HANGS, Switch};
use crate::support::{Site, catalog, until};

#[tokio::test]
async fn an_endpoint_gets_no_more_calls_at_a_time_than_it_may() {
    for protocol in ["http1", "h2c"] {
        let service = Service::start().await;
        let more = format!("protocol = \"{protocol}\"\nrequests_max = 4");
        let site = Site::start(&catalog(&[service.address], &more)).await;
        let address = site.address;
        let calls: Vec<_> = (0..32)
            .map(|_| {
                tokio::spawn(
                    async move { Edge::connect(address, Protocol::Http1).await.get("/slow?ms=10").await.status },
                )
            })
            .collect();
        for call in calls {
            assert_eq!(call.await.unwrap(), 200);
        }
        let most = service.seen.most_under_way.load(std::sync::atomic::Ordering::Relaxed);
        assert!(most <= 4, "{protocol}: {most}");
        assert_eq!(service.requests(), 32);
        assert!(site.service("sample").counters.waited.get() > 0);
    }
}

#[tokio::test]
async fn a_call_goes_where_there_is_room_and_waits_only_where_there_is_none() {
    let (full, free) = (Switch::start(HANGS).await, Switch::start(200).await);
    let site = Site::start(&of(&[&full, &free], "requests_max = 1\nqueue_max = 0")).await;
    let address = site.address;
    // Turn by turn, so one of the first two hangs.
    let hanging = [tokio::spawn(get(address)), tokio::spawn(get(address))];
    until("a call that hangs", || (full.requests() == 1 && free.requests() == 1).then_some(())).await;
    for _ in 0..20 {
        assert_eq!(get(address).await.status, 200);
    }
    assert_eq!((full.requests(), free.requests()), (1, 21));
    let passed_on = metric(&site, "gatehouse_business_upstream_passed_on_total{service=\"sample\"}");
    assert_eq!(passed_on, Some(10));

    // Nobody has room, and nobody may wait.
    free.answer(HANGS);
    let more = tokio::spawn(get(address));
    until("no room at all", || (free.requests() == 22).then_some(())).await;
    let refused = get(address).await;
    assert_eq!((refused.status, refused.code().as_str()), (503, "service_busy"));
    assert_eq!(metric(&site, "gatehouse_business_upstream_queue_full_total{service=\"sample\"}"), Some(1));
    more.abort();
    hanging.iter().for_each(tokio::task::JoinHandle::abort);
}
