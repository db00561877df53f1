use std::net::SocketAddr;
use std::path::Path;

use gatehouse_shared::balance::EndpointState;

use super::*;
use crate::store::catalog::tests::{errors, service};

#[test]
fn mistakes_in_the_care_of_a_service_are_named_with_what_to_do() {
    let text = "\
[[service]]
name = \"a\"
endpoints = [\"127.0.0.1:1\"]
try_timeout = \"0s\"
retry_statuses = [503, 404, 503]
requests_max = 300
breaker = { failure_percent = 0, requests_min = 0, window = \"1ms\", open = \"9s\", open_max = \"8s\", probes = 0 }
[[service]]
name = \"b\"
dns = { name = \"b.test\" }
[[service]]
name = \"c\"
dns = { name = \"10.0.0.1\", record = \"srv\", port = 1, interval_min = \"9s\", interval_max = \"8s\" }
registry = {}
[[service]]
name = \"d\"
registry = { name = \"no name\" }
[[api]]
name = \"x\"
service = \"a\"
path = \"/\"
upstream = { try_timeout = \"0s\" }
";
    let found = errors(text);
    for expected in [
        "catalog.toml:4:15: no endpoint answers in no time",
        "catalog.toml:5:24: not 404 here",
        "catalog.toml:5:29: not 503 here",
        "catalog.toml:6:16: the connections carry 256 calls at a time (raise connections_max with it",
        "catalog.toml:7:31: not a share of calls",
        "catalog.toml:7:49: a share of no calls",
        "catalog.toml:7:61: too short to count in",
        "catalog.toml:7:92: shorter than \"open\"",
        "catalog.toml:7:107: it would never close again",
        "catalog.toml:10:7: addresses have no ports",
        "catalog.toml:13:16: \"10.0.0.1\" is not a host name",
        "catalog.toml:13:51: SRV records bring their own ports",
        "catalog.toml:13:90: shorter than \"interval_min\"",
        "catalog.toml:14:12: endpoints are looked for in two places",
        "catalog.toml:17:21: \"no name\" is not a name",
        "catalog.toml:22:28: no endpoint answers in no time",
    ] {
        assert!(found.iter().any(|line| line.starts_with(expected)), "{expected}\nis not in\n{}", found.join("\n"));
    }
    assert_eq!(found.len(), 16, "{}", found.join("\n"));
}

fn specs(ports: &[u16]) -> Vec<EndpointSpec> {
    ports.iter().map(|port| SocketAddr::from(([10, 0, 0, 1], *port)).into()).collect()
}

fn found_service(dir: &Path, first: &str) -> Arc<Service> {
    service(dir, &format!("{first}\nbalance = {{ slow_start = \"10s\" }}\ndns = {{ name = \"a.test\", port = 1 }}"))
}

#[test]
fn endpoints_that_stay_keep_what_they_have_and_new_ones_start_slowly() {
    let dir = tempfile::tempdir().unwrap();
    let service = found_service(dir.path(), "");
    let now = clock::now();
    assert_eq!(service.members.now().specs.len(), 1, "the one to begin with");
    assert!(service.found(&specs(&[1, 2]), now));
    assert!(!service.found(&specs(&[1, 2]), now), "the same is no change");
    let before = service.members.now();
    let call = gatehouse_shared::balance::Call { client: [192, 0, 2, 1].into(), authority: "a" };
    let lease = before.balance.choose(&call, &[], now).unwrap();
    let (index, address) = (lease.index(), lease.address());
    lease.report(Outcome::ConnectFailed, now);

    let other = specs(&[1, 2]).into_iter().map(|spec| spec.address).find(|other| *other != address).unwrap();
    assert!(service.found(&specs(&[1, 2, 3]), now));
    let after = service.members.now();
    assert!(Arc::ptr_eq(&before.endpoints[index], &after.endpoints[index]), "its connections stay");
    let status = after.balance.status(now);
    let of = |address: SocketAddr| status.iter().find(|status| status.address == address).unwrap();
    assert_eq!((of(address).state, of(address).in_flight), (EndpointState::Ejected, 1));
    assert_eq!(of(other).state, EndpointState::Up);
    let new = of(SocketAddr::from(([10, 0, 0, 1], 3)));
    assert_eq!((new.state, new.share_percent), (EndpointState::Up, 10));
    drop(lease);
    assert_eq!(
        service.members.now().balance.status(now)[index].in_flight,
        0,
        "what is under way ends in the new set, too"
    );
}

#[test]
#[ignore = "a measurement"]
#[expect(clippy::print_stdout, reason = "it is for people")]
fn what_care_costs() {
    const CALLS: u32 = 1_000_000;
    let dir = tempfile::tempdir().unwrap();
    let listed = service(dir.path(), "");
    let guarded = service(dir.path(), "breaker = {}");
    let found = found_service(dir.path(), "");
    let call = gatehouse_shared::balance::Call { client: [192, 0, 2, 1].into(), authority: "a" };
    for (name, service) in [("listed", &listed), ("listed, with a breaker", &guarded), ("found", &found)] {
        let began = clock::now();
        for _ in 0..CALLS {
            let pass = service.breaker.as_ref().map(|breaker| breaker.enter(began).unwrap());
            let set = service.members.now();
            let lease = set.balance.choose(&call, &[], began).unwrap();
            lease.report(Outcome::Ok, began);
            if let Some(pass) = pass {
                pass.report(Verdict::Well, began);
            }
        }
        println!("{name}: {:?} a call", began.elapsed() / CALLS);
    }
}
