//! How services are taken care of: endpoints that are found, tries, breakers, room, and what of it can be seen.

mod breaker;
mod found_in_dns;
mod found_in_registry;
mod outage;
mod room;
mod timings;
mod tries;

use std::net::SocketAddr;

use gatehouse_shared::clock;

use crate::support::client::{Answer, Edge, Protocol, empty, request};
use crate::support::switch::Switch;
use crate::support::{Site, catalog};

/// A catalog with one service at these.
fn of(switches: &[&Switch], more: &str) -> String {
    catalog(&switches.iter().map(|switch| switch.address).collect::<Vec<_>>(), more)
}

async fn get(address: SocketAddr) -> Answer {
    Edge::connect(address, Protocol::Http1).await.get("/x").await
}

async fn post(address: SocketAddr) -> Answer {
    Edge::connect(address, Protocol::Http1).await.exchange(request("POST", "/x").body(empty()).unwrap()).await
}

/// Where the endpoints of the service are now.
fn endpoints(site: &Site) -> Vec<SocketAddr> {
    site.service("sample").members.now().specs.iter().map(|spec| spec.address).collect()
}

/// The states of the endpoints of the service, as `/policy` shows them.
fn states(site: &Site) -> Vec<String> {
    let status = site.service("sample").members.now().balance.status(clock::now());
    status.iter().map(|status| format!("{:?}", status.state)).collect()
}

/// The value of a metric, with its labels.
fn metric(site: &Site, name: &str) -> Option<u64> {
    let text = site.gateway.metrics.render();
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ').map(str::to_owned))?;
    line.parse().ok()
}
