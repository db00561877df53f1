//! Access lists: who and what is let through or turned away by name, from files that are swapped while requests pass.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr};

use gatehouse_shared::clock;
use gatehouse_tests::certificate::Authority;
use gatehouse_tests::client::raw::End;
use gatehouse_tests::client::{Answer, Connection, Raw, Target, empty};
use gatehouse_tests::load::Load;
use gatehouse_tests::site::Site;
use gatehouse_tests::until::{SOON, until};
use http::Method;
use serde_json::Value;

use super::config::{failures, wait_for_failure};
use crate::Passed;

/// A load balancer whose `X-Forwarded-For` is believed.
const BALANCER: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 9));
/// A client that connects by itself.
const STRANGER: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 66));

/// One listener for HTTP/1 and HTTP/2, and a trusted balancer.
const EDGE: &str = "[[process.listener]]\naddress = \"127.0.0.1:0\"\nh2c = true\n\
                    [client]\ntrusted_proxies = [\"127.0.0.9\"]\n";

/// Networks of somebody else's list, one of our own with everything that can be said.
const NETWORKS: &str = "# firehol_level1\n203.0.113.0/24\n\
                        198.51.100.7 until=2099-01-31T18:00:00Z owner=soc ticket=SEC-7 # scans the login page\n";

/// An `[[access.list]]` whose file has its name.
fn list(name: &str, kind: &str, rest: &str) -> String {
    format!("[[access.list]]\nname = \"{name}\"\nkind = \"{kind}\"\nfiles = [\"{name}.txt\"]\n{rest}\n")
}

/// Networks in order, one a line, of which the first is that of this number.
fn many_networks(first: u32, count: u32) -> String {
    let mut text = String::new();
    for number in first..first + count {
        // Every other address of 64.0.0.0/6, so that none borders on another.
        writeln!(text, "{}", Ipv4Addr::from_bits(0x4000_0000 + 2 * number)).expect("a string takes everything");
    }
    text
}

/// A request by `client` through the balancer.
async fn ask(target: &Target, client: &str, method: Method, path: &str, agent: &str) -> anyhow::Result<Answer> {
    let request = target.request(method, path)?.header("x-forwarded-for", client).header("user-agent", agent);
    target.exchange(request.body(empty())?).await
}

/// The line of the security log about an answer.
async fn line_of(site: &Site, answer: &Answer) -> anyhow::Result<Value> {
    let id = answer.header("x-request-id").to_owned();
    site.edges[0].security_line("the request id", |line| line["request_id"] == id.as_str()).await
}

#[tokio::test]
async fn every_kind_of_list_turns_requests_away_over_both_protocols() -> Passed {
    let lists = [
        list("networks", "networks", "action = \"page\""),
        list("hosts", "hosts", ""),
        list("agents", "user_agents", ""),
        list("urls", "urls", ""),
        list("static", "urls", "effect = \"allow\""),
    ];
    let site = Site::plan()
        .edge(EDGE)
        .edge("[access.deny]\nmethods = [\"PATCH\"]\nurls = [\"^/internal/\"]\n".to_owned() + &lists.concat())
        .edge_file("networks.txt", NETWORKS)
        .edge_file("hosts.txt", "# gone\n*.old.test\n")
        .edge_file("agents.txt", "sqlmap\n^$\n")
        .edge_file("urls.txt", "\\.(bak|sql)$\n")
        .edge_file("static.txt", "/assets/\n")
        .start()
        .await?;
    let (get, agent, stranger) = (Method::GET, "Mozilla/5.0", "192.0.2.1");
    for target in [site.target().from(BALANCER), site.target().from(BALANCER).http2()] {
        let target = target.authority("shop.test");
        let old = target.clone().authority("www.old.test");
        for (target, client, method, path, agent, code, list, entry, line) in [
            (&target, "203.0.113.200", &get, "/products", agent, "network_denied", "networks", "203.0.113.0/24", 2),
            (&target, "198.51.100.7", &get, "/assets/a", agent, "network_denied", "networks", "198.51.100.7", 3),
            (&old, stranger, &get, "/products", agent, "host_denied", "hosts", "*.old.test", 2),
            (&target, stranger, &Method::PATCH, "/products", agent, "method_denied", "access.deny", "PATCH", 0),
            (&target, stranger, &get, "/products", "SQLmap/1.7", "user_agent_denied", "agents", "sqlmap", 1),
            (&target, stranger, &get, "/products", "", "user_agent_denied", "agents", "^$", 2),
            (&target, stranger, &get, "/a//../db.bak", agent, "url_denied", "urls", "\\.(bak|sql)$", 1),
            (&target, stranger, &get, "/%69nternal/x", agent, "url_denied", "access.deny", "^/internal/", 0),
        ] {
            let answer = ask(target, client, method.clone(), path, agent).await?;
            assert_eq!(
                (answer.status.as_u16(), answer.code().as_str()),
                (403, code),
                "{path} {agent} {}",
                answer.text()
            );
            let told = line_of(&site, &answer).await?;
            assert_eq!((&told["stage"], &told["reason"]), (&"access".into(), &code.into()), "{told}");
            assert_eq!((&told["list"], &told["entry"]["text"]), (&list.into(), &entry.into()), "{told}");
            let file = if list == "access.deny" { "edge.toml".to_owned() } else { format!("{list}.txt") };
            assert_eq!(told["entry"]["file"], file.as_str(), "{told}");
            assert!(line == 0 || told["entry"]["line"] == line, "{told}");
        }
        for (client, path) in [(stranger, "/products"), ("203.0.112.255", "/assets/a"), (stranger, "/dbxbak")] {
            let answer = ask(&target, client, get.clone(), path, agent).await?;
            assert_ne!(answer.header("content-type"), "application/problem+json", "{}", answer.text());
        }
    }
    let told = site.edges[0].security_line("a ticket", |line| line["entry"]["ticket"] == "SEC-7").await?;
    let entry = &told["entry"];
    assert_eq!((&entry["owner"], &entry["reason"]), (&"soc".into(), &"scans the login page".into()), "{told}");
    assert_eq!(entry["until"], "2099-01-31T18:00:00.000Z", "{told}");
    assert_eq!((&told["matched_in"], &told["matched"]), (&"client".into(), &"198.51.100.7".into()), "{told}");
    let labels = [("stage", "access"), ("verdict", "deny"), ("reason", "url_denied")];
    site.edges[0].admin()?.counted("gatehouse_edge_admission_verdicts_total", &labels, 4.0..=4.0).await?;
    let skipped = [("stage", "access"), ("verdict", "skip_waf")];
    site.edges[0].admin()?.counted("gatehouse_edge_admission_verdicts_total", &skipped, 2.0..=2.0).await?;
    Ok(())
}

#[tokio::test]
async fn a_list_that_observes_refuses_nothing_and_says_what_it_would() -> Passed {
    let lists =
        list("networks", "networks", "mode = \"observe\"") + &list("agents", "user_agents", "mode = \"observe\"");
    let site = Site::plan()
        .edge(EDGE)
        .edge(lists)
        .edge_file("networks.txt", "127.0.0.66\n")
        .edge_file("agents.txt", "sqlmap\n")
        .start()
        .await?;
    for target in [site.target().from(STRANGER), site.target().from(STRANGER).http2()] {
        let answer = ask(&target, "203.0.113.1", Method::GET, "/products", "sqlmap").await?;
        assert_eq!(answer.status, 200);
        let id = answer.header("x-request-id").to_owned();
        for (list, code) in [("networks", "network_denied"), ("agents", "user_agent_denied")] {
            let is_it = |line: &Value| line["request_id"] == id.as_str() && line["list"] == list;
            let told = site.edges[0].security_line(list, is_it).await?;
            assert_eq!((&told["mode"], &told["status"]), (&"observe".into(), &200.into()), "{told}");
            assert_eq!(told["reason"], code, "{told}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn an_entry_ends_to_the_second_and_the_one_around_it_counts() -> Passed {
    let end_ms = (clock::unix_ms() / 1_000 + 4) * 1_000;
    let end = clock::rfc3339(end_ms);
    let networks = format!("203.0.113.7 until={end}\n198.51.100.0/24\n198.51.100.7 until={end} # sooner\n");
    let site = Site::plan()
        .edge(EDGE)
        .edge(list("networks", "networks", "action = \"page\""))
        .edge_file("networks.txt", networks)
        .start()
        .await?;
    let target = site.target().from(BALANCER);
    let (mut denied, mut passed) = (0, 0);
    until("the end of an entry", SOON, async || {
        let before = clock::unix_ms();
        let answer = ask(&target, "203.0.113.7", Method::GET, "/products", "a").await.expect("an answer");
        let after = clock::unix_ms();
        match answer.status.as_u16() {
            403 => {
                assert!(before < end_ms, "denied {} ms after its end", before - end_ms);
                denied += 1;
            }
            200 => {
                assert!(after >= end_ms, "passed {} ms before its end", end_ms - after);
                passed += 1;
            }
            status => panic!("{status}: {}", answer.text()),
        }
        let inner = ask(&target, "198.51.100.7", Method::GET, "/products", "a").await.expect("an answer");
        assert_eq!(inner.status, 403, "one of the two entries always counts");
        (passed > 3).then_some(())
    })
    .await?;
    assert!(denied > 3, "{denied} denied");
    let told = site.edges[0].security_line("the entry within", |line| line["entry"]["reason"] == "sooner").await?;
    assert_eq!(told["entry"]["line"], 3, "{told}");
    site.edges[0].security_line("the entry around", |line| line["entry"]["text"] == "198.51.100.0/24").await?;
    Ok(())
}

#[tokio::test]
async fn a_trusted_client_passes_every_list_but_not_strict_http() -> Passed {
    let site = Site::plan()
        .edge(EDGE)
        .edge(list("partners", "networks", "effect = \"allow\""))
        .edge("[access.deny]\nnetworks = [\"127.0.0.0/8\"]\nuser_agents = [\"curl\"]\nurls = [\"^/\"]\n")
        .edge_file("partners.txt", "127.0.0.66 owner=soc # pentest\n")
        .start()
        .await?;
    for target in [site.target().from(STRANGER), site.target().from(STRANGER).http2()] {
        assert_eq!(ask(&target, "203.0.113.1", Method::GET, "/products", "curl").await?.status, 200);
        let answer = ask(&target, "203.0.113.1", Method::GET, "/%252e", "curl").await?;
        assert_eq!((answer.status.as_u16(), answer.code().as_str()), (400, "path_double_encoded"));
    }
    let mut raw = Raw::open(&site.target().from(STRANGER)).await?;
    let answer = raw.exchange("GET /products HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n").await?;
    assert_eq!((answer.status, answer.code().as_str()), (400, "host_repeated"));
    let (bytes, _) = Raw::open(&site.target()).await?.rest().await?;
    assert!(bytes.is_empty(), "another client of 127.0.0.0/8 is turned away");
    Ok(())
}

#[tokio::test]
async fn connections_from_a_denied_network_are_closed_before_tls_and_http() -> Passed {
    let listeners = "[[process.listener]]\naddress = \"127.0.0.1:0\"\nh2c = true\n\
                     [[process.listener]]\naddress = \"127.0.0.1:0\"\ntls = true\n\
                     [[process.listener]]\naddress = \"127.0.0.1:0\"\nproxy_protocol = { from = [\"127.0.0.9\"] }\n\
                     [[certificate]]\nnames = [\"shop.test\"]\nchain = \"shop.pem\"\nkey = \"shop.key\"\n\
                     [client]\ntrusted_proxies = [\"127.0.0.9\"]\n";
    let certificate = Authority::new("test authority")?.server(&["shop.test"])?;
    let mut site = Site::plan()
        .edge(listeners)
        .edge(list("networks", "networks", ""))
        .edge_file("shop.pem", &certificate.chain_pem)
        .edge_file("shop.key", &certificate.key_pem)
        .edge_file("networks.txt", "192.0.2.0/24\n")
        .start()
        .await?;
    let plain = site.target().from(STRANGER);
    let mut kept = Connection::open(&plain).await?;
    let request = || plain.request(Method::GET, "/products").and_then(|request| Ok(request.body(empty())?));
    assert_eq!(kept.fetch(request()?).await?.status, 200);
    // The balancer is denied as well: what it carries is not its own.
    site.edges[0].rewrite("networks.txt", "127.0.0.66 owner=soc # floods\n127.0.0.9\n203.0.113.7\n").await?;
    let addresses: Vec<_> = (0..3).filter_map(|index| site.edges[0].listener(index)).collect();
    for (address, preamble, from) in [
        (addresses[0], "", STRANGER),
        (addresses[0], "GET /products HTTP/1.1\r\nHost: a\r\n\r\n", STRANGER),
        (addresses[1], "", STRANGER),
        (addresses[2], "PROXY TCP4 203.0.113.7 127.0.0.1 4711 8080\r\n", BALANCER),
    ] {
        let mut raw = Raw::open(&Target::plain(address).from(from).preamble(preamble)).await?;
        let (bytes, end) = raw.rest().await?;
        assert!(bytes.is_empty(), "{}", String::from_utf8_lossy(&bytes));
        assert!(end == End::Closed || !preamble.is_empty(), "{end:?}");
    }
    let told = site.edges[0].security_line("the list", |line| line["entry"]["text"] == "127.0.0.66").await?;
    assert_eq!((&told["stage"], &told["reason"]), (&"access".into(), &"network_denied".into()), "{told}");
    assert_eq!((&told["action"], &told["status"]), (&"drop".into(), &0.into()), "{told}");
    assert_eq!((&told["list"], &told["entry"]["owner"]), (&"networks".into(), &"soc".into()), "{told}");
    assert!(told["client"].as_str().is_some_and(|client| client.starts_with("127.0.0.66:")), "{told}");
    let through = site.edges[0].security_line("the source", |line| line["matched"] == "203.0.113.7").await?;
    assert!(through["peer"].as_str().is_some_and(|peer| peer.starts_with("127.0.0.9:")), "{through}");

    let balancer = site.target().from(BALANCER);
    assert_eq!(ask(&balancer, "192.0.2.1", Method::GET, "/products", "a").await?.status, 200);
    assert_eq!(ask(&balancer, "203.0.113.7", Method::GET, "/products", "a").await?.code(), "network_denied");
    let answer = kept.fetch(request()?).await?;
    assert_eq!(answer.code(), "network_denied", "a connection that was open is refused at its next request");
    let refused = [("reason", "network_denied")];
    site.edges[0].admin()?.counted("gatehouse_edge_refused_total", &refused, 6.0..).await?;
    site.edges[0].rewrite("networks.txt", "192.0.2.0/24\n").await?;
    assert_eq!(site.target().from(STRANGER).get("/products").await?.status, 200, "the next connection is let in");
    site.edge_mut()?.reconfigure("[access]\nlist = []\n").await?;
    assert_eq!(site.edges[0].admin()?.policy().await?["lists"], serde_json::json!([]));
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_of_a_million_is_swapped_under_load_and_no_request_fails() -> Passed {
    const COUNT: u32 = 1_000_000;
    let swapped = |generation: u32| format!("203.0.113.{generation}\n") + &many_networks(generation, COUNT);
    let site = Site::plan()
        .edge(EDGE)
        .edge(list("many", "networks", "action = \"page\"") + &list("ours", "networks", "action = \"page\""))
        .edge_file("many.txt", swapped(0))
        .edge_file("ours.txt", "198.51.100.0/24\n")
        .alone()
        .start()
        .await?;
    let (target, edge) = (site.target().from(BALANCER), &site.edges[0]);
    let policy = edge.admin()?.policy().await?;
    assert_eq!(policy["lists"][0]["entries"], COUNT + 1, "{policy}");
    assert_eq!(policy["lists"][0]["files"][0]["sha256"].as_str().map(str::len), Some(64), "{policy}");
    let load = Load::new(site.target(), 16, 300, "/bench").start();
    load.answers(100).await?;
    for generation in 1..=3 {
        edge.rewrite("many.txt", &swapped(generation)).await?;
        load.answers(100).await?;
        let seen = ask(&target, &format!("203.0.113.{generation}"), Method::GET, "/products", "a").await?;
        assert_eq!(seen.code(), "network_denied");
        let gone = ask(&target, &format!("203.0.113.{}", generation - 1), Method::GET, "/products", "a").await?;
        assert_eq!(gone.status, 200);
        assert_eq!(ask(&target, "198.51.100.1", Method::GET, "/products", "a").await?.code(), "network_denied");
    }
    let report = load.stop().await;
    assert_eq!(report.failed().count(), 0, "{}", report.failures());
    Ok(())
}

#[tokio::test]
async fn a_wrong_line_far_down_is_named_and_nothing_is_swapped() -> Passed {
    let site = Site::plan()
        .edge(EDGE)
        .edge(list("many", "networks", "action = \"page\"") + &list("ours", "networks", "action = \"page\""))
        .edge_file("many.txt", "203.0.113.7\n")
        .edge_file("ours.txt", "198.51.100.0/24\n")
        .start()
        .await?;
    let (target, edge) = (site.target().from(BALANCER), &site.edges[0]);
    let (admin, generation) = (edge.admin()?, edge.admin()?.generation().await?);
    let wrong =
        many_networks(0, 699_999) + "203.0.113.8 untl=2099-01-01T00:00:00Z\n" + &many_networks(700_000, 300_000);
    edge.write("ours.txt", "192.0.2.0/24\n")?;
    edge.write("many.txt", &wrong)?;
    let expected = "many.txt:700000:13:";
    until("the wrong line", SOON, async || {
        let failure = admin.policy().await.ok()?["last_failure"].to_string();
        failure.contains(expected).then_some(())
    })
    .await?;
    assert!(wait_for_failure(edge).await?.contains("did you mean"));
    assert!(failures(&admin).await? >= 1);
    let check = edge.command(&["check"])?;
    let said = String::from_utf8_lossy(&check.stderr).into_owned() + &String::from_utf8_lossy(&check.stdout);
    assert_eq!(check.status.code(), Some(64), "{said}");
    assert!(said.contains(expected) && said.lines().count() == 1, "{said}");
    let running = admin.generation().await?;
    // `ours.txt` was written first and may have been read alone; never together with the wrong one.
    assert!(running <= generation + 1, "{running}");
    for client in ["203.0.113.7", if running == generation { "198.51.100.1" } else { "192.0.2.1" }] {
        assert_eq!(ask(&target, client, Method::GET, "/products", "a").await?.code(), "network_denied", "{client}");
    }
    assert_eq!(ask(&target, "64.0.0.0", Method::GET, "/products", "a").await?.status, 200);
    Ok(())
}
