//! Which endpoint of a service gets a call, and how much is repeated.

use gatehouse_tests::load::Load;
use gatehouse_tests::site::Site;
use gatehouse_tests::until::{SOON, until};
use serde_json::Value;
use tokio::time::Instant;

use crate::Passed;

/// A catalog whose service has every sample service as an endpoint, with `each(index)` in their tables and further keys.
fn catalog(site: &Site, each: impl Fn(usize) -> String, more: &str) -> String {
    let endpoints: Vec<String> = site
        .services
        .iter()
        .enumerate()
        .map(|(index, service)| format!("{{ address = \"{}\"{} }}", service.address, each(index)))
        .collect();
    format!(
        "[[service]]\nname = \"sample\"\nendpoints = [{}]\n{more}\n\
         [[api]]\nname = \"everything\"\naccess = \"open\"\nservice = \"sample\"\npath = \"/{{*rest}}\"\n",
        endpoints.join(", ")
    )
}

/// What the business node knows of the service.
async fn service(site: &Site) -> anyhow::Result<Value> {
    Ok(site.business[0].admin()?.policy().await?["services"][0].clone())
}

fn count(report: &gatehouse_tests::load::Report, name: &str) -> usize {
    report.by_service().get(name).copied().unwrap_or(0)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn weights_decide_how_many_calls_an_endpoint_gets() -> Passed {
    for strategy in ["weighted_round_robin", "weighted_least_connections"] {
        let site = Site::plan().services(2).start().await?;
        let weights = [3, 1];
        let catalog =
            catalog(&site, |index| format!(", weight = {}", weights[index]), &format!("strategy = \"{strategy}\""));
        site.business[0].rewrite("catalog.toml", &catalog).await?;
        // One after the other: with nothing in flight the weights alone decide, turn by turn.
        let report = Load::new(site.target(), 1, 1_000, "/products").total(400).start().finish().await;
        assert_eq!(report.failed().count(), 0, "{}", report.failures());
        assert_eq!((count(&report, "service-1"), count(&report, "service-2")), (300, 100), "{strategy}");
        let described = service(&site).await?;
        assert_eq!((&described["strategy"], &described["endpoints"][0]["weight"]), (&strategy.into(), &3.into()));
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_endpoint_gets_few_calls_by_latency() -> Passed {
    let site = Site::plan().services(3).start().await?;
    let catalog = catalog(&site, |_| String::new(), "strategy = \"p2c_ewma\"");
    site.business[0].rewrite("catalog.toml", &catalog).await?;
    site.services[2].behave("ms=2000").await?;
    let report = Load::new(site.target(), 24, 150, "/products").total(600).start().finish().await;
    assert_eq!(report.failed().count(), 0, "{}", report.failures());
    let slow = count(&report, "service-3");
    assert!(slow < 60, "{slow} of 600 went to the slow endpoint");
    for fast in ["service-1", "service-2"] {
        assert!(count(&report, fast) > 150, "{:?}", report.by_service());
    }
    let described = service(&site).await?;
    let latency = |index: usize| described["endpoints"][index]["latency_us"].as_u64().unwrap_or(0);
    assert!(latency(2) > 3 * latency(0), "{described}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_endpoint_that_answers_with_errors_is_left_out_where_they_count() -> Passed {
    let site = Site::plan().services(2).start().await?;
    let more = "server_errors_count = true\nejection = { time = \"1h\", time_max = \"1h\" }";
    site.business[0].rewrite("catalog.toml", &catalog(&site, |_| String::new(), more)).await?;
    site.services[1].behave("status=500").await?;
    let report = Load::new(site.target(), 4, 1_000, "/products").total(300).start().finish().await;
    let failed = report.failed().count();
    assert!((20..=30).contains(&failed), "{failed} calls failed: {}", report.failures());
    assert_eq!(service(&site).await?["endpoints"][1]["state"], "ejected");

    let site = Site::plan().services(2).start().await?;
    site.services[1].behave("status=500").await?;
    let report = Load::new(site.target(), 4, 1_000, "/products").total(200).start().finish().await;
    assert_eq!(report.failed().count(), 100, "without the setting such answers are the service's affair");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_authority_stays_at_home_in_the_services_too() -> Passed {
    // One by one: what is under way at the same time may be spread, by the definition of each.
    for strategy in ["locality", "locality_replicated", "destination_hash"] {
        let site = Site::plan().services(3).start().await?;
        let catalog = catalog(&site, |_| String::new(), &format!("strategy = \"{strategy}\""));
        site.business[0].rewrite("catalog.toml", &catalog).await?;
        for shop in 0..6 {
            let target = site.target().authority(&format!("shop-{shop}.test"));
            let report = Load::new(target, 1, 1_000, "/products").total(20).start().finish().await;
            assert_eq!(report.by_service().values().copied().collect::<Vec<_>>(), [20], "{strategy}: {report:?}");
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn retries_are_a_share_of_the_calls_and_some_more() -> Passed {
    let site = Site::plan().start().await?;
    let more = "retry_percent = 20\nretry_min_per_second = 5";
    site.business[0].rewrite("catalog.toml", &catalog(&site, |_| String::new(), more)).await?;
    let began = Instant::now();
    let report = Load::new(site.target(), 8, 1_000, "/faulty?mode=close").total(500).start().finish().await;
    assert_eq!(report.failed().count(), 500, "nothing can be answered");
    let attempts = site.services[0].stats().await?.requests;
    // The seconds before the first call count, too, and there are ten of them.
    let allowed = 500.0 * 1.2 + 5.0 * (11.0 + began.elapsed().as_secs_f64());
    assert!((600.0..=allowed).contains(&(attempts as f64)), "{attempts} attempts, {allowed} allowed");
    let exhausted = "gatehouse_business_retry_budget_exhausted_total";
    site.business[0].admin()?.counted(exhausted, &[("service", "sample")], 1.0..).await?;
    assert!(service(&site).await?["retries_exhausted"].as_u64() > Some(0));
    // What was spent comes back.
    until("retries to be left again", SOON, async || {
        service(&site).await.ok()?["retries_left"].as_u64().filter(|left| *left >= 50)
    })
    .await?;
    Ok(())
}
