//! A new generation replaces the old one whole; connections, health and counts stay.

use gatehouse_shared::live::ReloadOutcome;

use crate::support::client::{BOTH, Edge};
use crate::support::service::Service;
use crate::support::{Site, catalog, until};

#[tokio::test]
async fn a_reload_loses_no_connection_and_no_count() {
    let service = Service::start().await;
    let site = Site::start(&catalog(&[service.address], "")).await;
    let mut edge = Edge::connect(site.address, BOTH[1]).await;
    for number in 0..20 {
        assert_eq!(edge.get("/x").await.status, 200);
        let more =
            format!("\n[[api]]\nname = \"new-{number}\"\naccess = \"open\"\nservice = \"sample\"\npath = \"/new\"\n");
        site.write("catalog.toml", &(catalog(&[service.address], "") + &*more));
        assert_eq!(site.gateway.live.reload(), ReloadOutcome::Replaced(number + 2));
    }
    assert_eq!(service.connections(), 1, "parked connections are carried over");
    assert_eq!(site.service("sample").counters.answered.get(), 20);
    assert!(site.gateway.metrics.render().contains("gatehouse_config_generation 21"));
}

#[tokio::test]
async fn a_catalog_that_is_wrong_is_never_loaded() {
    let service = Service::start().await;
    let site = Site::start(&catalog(&[service.address], "")).await;
    let good = catalog(&[service.address], "");
    site.write("catalog.toml", &good.replace("service = \"sample\"", "servcie = \"sample\""));
    let ReloadOutcome::Failed(errors) = site.gateway.live.reload() else { panic!("loaded") };
    let text = errors.to_string();
    assert!(text.contains("catalog.toml:8:1") && text.contains("service"), "{text}");
    let mut edge = Edge::connect(site.address, BOTH[0]).await;
    assert_eq!(edge.get("/x").await.status, 200);
    let status = site.gateway.live.status();
    assert_eq!((status.generation, status.failed_total), (1, 1));
}

#[tokio::test]
async fn a_removed_api_is_gone_and_a_new_key_is_known() {
    let service = Service::start().await;
    let site = Site::start(&catalog(&[service.address], "")).await;
    let mut edge = Edge::connect(site.address, BOTH[1]).await;
    assert_eq!(edge.get("/x").await.status, 200);
    site.write("catalog.toml", &catalog(&[service.address], "").replace("/{*rest}", "/only"));
    assert_eq!(site.gateway.live.reload(), ReloadOutcome::Replaced(2));
    assert_eq!(edge.get("/x").await.status, 404);
    assert_eq!(edge.get("/only").await.status, 200);
    site.write("hop.key", "fedcba9876543210fedcba9876543210");
    assert_eq!(site.gateway.live.reload(), ReloadOutcome::Replaced(3));
    assert_eq!(edge.get("/only").await.status, 401, "signed with the old key");
}

#[tokio::test]
async fn the_access_log_follows_the_configuration() {
    let service = Service::start().await;
    let site = Site::start(&catalog(&[service.address], "")).await;
    let mut edge = Edge::connect(site.address, BOTH[0]).await;
    assert_eq!(edge.get("/first").await.status, 200);
    site.line(|line| line["path"] == "/first").await;
    let text = std::fs::read_to_string(site.config().join("business.toml")).unwrap();
    site.write("business.toml", &text.replace("access.log", "other.log"));
    assert_eq!(site.gateway.live.reload(), ReloadOutcome::Replaced(2));
    let other = site.dir.path().join("other.log");
    until("the new file", || other.exists().then_some(())).await;
    assert_eq!(edge.get("/second").await.status, 200);
    until("the line", || std::fs::read_to_string(&other).ok().filter(|text| text.contains("/second"))).await;
}
