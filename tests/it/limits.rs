//! Limits: who asks for more than its share is told so, and nobody else notices.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use gatehouse_tests::client::{Raw, Target, empty};
use gatehouse_tests::site::Site;
use gatehouse_tests::until::{SOON, until};
use http::Method;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::Passed;

/// Two requests an hour of each client, so that no test sees a limit recover by itself.
const TWO: &str = "[[limit]]\nname = \"clients\"\nkey = [\"client\"]\nrate = \"2/1h\"\n";

/// A client on an address of its own.
fn client(site: &Site, last: u8) -> Target {
    site.target().from(IpAddr::from([127, 0, 1, last]))
}

/// A listener that believes load balancers, of which there are several, so that each has ports enough.
const PROXIED: &str =
    "[[process.listener]]\naddress = \"127.0.0.1:0\"\nproxy_protocol = { from = [\"127.0.9.0/24\"] }\n";

async fn statuses(target: &Target, path: &str, count: usize) -> anyhow::Result<Vec<u16>> {
    let mut statuses = Vec::new();
    for _ in 0..count {
        statuses.push(target.get(path).await?.status.as_u16());
    }
    Ok(statuses)
}

#[tokio::test]
async fn a_client_above_its_limit_is_told_when_to_come_back() -> Passed {
    let site = Site::plan().edge(TWO).start().await?;
    let greedy = client(&site, 1);
    let first = greedy.get("/products").await?;
    assert_eq!((first.status.as_u16(), first.header("ratelimit-policy")), (200, "\"clients\";q=2;w=3600"));
    assert_eq!(first.header("ratelimit"), "\"clients\";r=1;t=1800");
    assert_eq!(greedy.get("/products").await?.status, 200);
    let refused = greedy.get("/products").await?;
    assert_eq!((refused.status.as_u16(), refused.code().as_str()), (429, "rate_limit_exceeded"));
    let seconds: u64 = refused.header("retry-after").parse()?;
    assert!((1_790..=1_800).contains(&seconds), "{seconds}");
    assert!(refused.header("ratelimit").starts_with("\"clients\";r=0;t="), "{}", refused.header("ratelimit"));
    assert_eq!(refused.header("ratelimit-policy"), "\"clients\";q=2;w=3600");
    let id = refused.header("x-request-id").to_owned();
    let line = site.edges[0].security_line("the refusal", |line| line["request_id"] == id.as_str()).await?;
    assert_eq!((line["stage"].as_str(), line["limit"].as_str()), (Some("limit"), Some("clients")), "{line}");
    assert!(line.to_string().contains("127.0.1.1"), "{line}");
    assert_eq!(client(&site, 2).get("/products").await?.status, 200, "another client");
    let admin = site.edge()?.admin()?;
    for (verdict, count) in [("admitted", 3.0), ("refused", 1.0), ("observed", 0.0)] {
        let labels = [("limit", "clients"), ("verdict", verdict)];
        admin.counted("gatehouse_edge_limit_requests_total", &labels, count..=count).await?;
    }
    admin.counted("gatehouse_edge_limit_keys", &[("limit", "clients")], 2.0..=2.0).await?;
    Ok(())
}

#[tokio::test]
async fn limits_hold_over_http2_too() -> Passed {
    let site = Site::plan()
        .edge(format!("[[process.listener]]\naddress = \"127.0.0.1:0\"\nh2c = true\n{TWO}"))
        .start()
        .await?;
    let target = client(&site, 1).http2();
    assert_eq!(statuses(&target, "/products", 3).await?, [200, 200, 429]);
    assert_eq!(statuses(&client(&site, 1), "/products", 1).await?, [429], "it is the same client over HTTP/1");
    Ok(())
}

#[tokio::test]
async fn a_limit_that_observes_only_writes_it_down() -> Passed {
    let site = Site::plan().edge(format!("{TWO}mode = \"observe\"\n")).start().await?;
    assert_eq!(statuses(&client(&site, 1), "/products", 4).await?, [200; 4]);
    let answer = client(&site, 1).get("/products").await?;
    assert_eq!(answer.header("ratelimit"), "", "clients are not told of it");
    let line = site.edges[0].security_line("what would have been", |line| line["limit"] == "clients").await?;
    assert_eq!((line["mode"].as_str(), line["status"].as_u64()), (Some("observe"), Some(200)), "{line}");
    let labels = [("limit", "clients"), ("verdict", "observed")];
    site.edge()?.admin()?.counted("gatehouse_edge_limit_requests_total", &labels, 3.0..=3.0).await?;
    Ok(())
}

#[tokio::test]
async fn headers_can_be_left_out() -> Passed {
    let site = Site::plan().edge(format!("[limits]\nheaders = false\n{TWO}")).start().await?;
    let answer = client(&site, 1).get("/products").await?;
    assert_eq!((answer.header("ratelimit"), answer.header("ratelimit-policy")), ("", ""));
    Ok(())
}

#[tokio::test]
async fn counts_survive_a_reload() -> Passed {
    let mut site = Site::plan().edge(TWO).start().await?;
    assert_eq!(statuses(&client(&site, 1), "/products", 2).await?, [200, 200]);
    site.edge_mut()?.reconfigure("[limits]\nheaders = false\n").await?;
    assert_eq!(statuses(&client(&site, 1), "/products", 1).await?, [429]);
    site.edge_mut()?.reconfigure(&TWO.replace("2/1h", "4/1h")).await?;
    assert_eq!(statuses(&client(&site, 1), "/products", 3).await?, [200, 200, 429], "four less the two from before");
    Ok(())
}

#[tokio::test]
async fn an_allowed_network_is_not_limited() -> Passed {
    let site = Site::plan().edge(TWO.to_owned() + "[access.allow]\nnetworks = [\"127.0.1.1\"]\n").start().await?;
    assert_eq!(statuses(&client(&site, 1), "/products", 5).await?, [200; 5]);
    assert_eq!(statuses(&client(&site, 2), "/products", 3).await?, [200, 200, 429]);
    Ok(())
}

#[tokio::test]
async fn cc_refuses_a_client_that_hammers_one_path() -> Passed {
    let site = Site::plan().edge("[cc]\nrate = \"5/60\"\n").start().await?;
    let hammer = client(&site, 1);
    assert_eq!(statuses(&hammer, "/products", 7).await?, [200, 200, 200, 200, 200, 429, 429]);
    let refused = hammer.get("/products?page=2").await?;
    assert_eq!((refused.status.as_u16(), refused.code().as_str()), (429, "rate_limit_exceeded"));
    let seconds: u64 = refused.header("retry-after").parse()?;
    assert!((50..=62).contains(&seconds), "for the window: {seconds}");
    assert_eq!(hammer.get("/products/1").await?.status, 200, "another path");
    assert_eq!(client(&site, 2).get("/products").await?.status, 200, "another client");
    Ok(())
}

#[tokio::test]
async fn a_ban_holds_for_everything_and_outlives_a_reload() -> Passed {
    // None is handed on, so that it stays this node's own.
    let limit = "[limits]\nbans_per_second = 0\n\
                 [[limit]]\nname = \"floods\"\nkey = [\"client\"]\nrate = \"3/1h\"\naction = \"ban\"\nban = \"1h\"\n\
                 match = { paths = [\"/products\"] }\n";
    let mut site = Site::plan().edge(limit).start().await?;
    let target = client(&site, 1);
    assert_eq!(statuses(&target, "/products", 4).await?, [200, 200, 200, 429]);
    let banned = target.get("/echo").await?;
    assert_eq!((banned.status.as_u16(), banned.code().as_str()), (429, "client_banned"));
    let seconds: u64 = banned.header("retry-after").parse()?;
    assert!((3_590..=3_600).contains(&seconds), "{seconds}");
    site.edge_mut()?.reconfigure("[limits]\nheaders = false\n").await?;
    assert_eq!(target.get("/echo").await?.code(), "client_banned");
    assert_eq!(client(&site, 2).get("/products").await?.status, 200);
    site.edge()?.admin()?.counted("gatehouse_edge_limit_bans_total", &[], 1.0..=1.0).await?;
    Ok(())
}

#[tokio::test]
async fn errors_of_a_client_are_limited() -> Passed {
    let limit = "[[limit]]\nname = \"errors\"\nkey = [\"client\"]\nrate = \"3/1h\"\ncount = \"client_errors\"\n\
                 statuses = [404, 401]\n";
    let site = Site::plan().edge(limit).start().await?;
    let scanner = client(&site, 1);
    assert_eq!(statuses(&scanner, "/products", 10).await?, [200; 10]);
    let mut seen = Vec::new();
    for path in ["/status/404", "/status/401", "/status/404"] {
        seen.push(scanner.get(path).await?.status.as_u16());
        // An answer is counted when it has been sent, a moment after the client has it.
        let count = seen.len();
        until("it to be counted", SOON, async || {
            let lines = site.edges[0].access_log().ok()?;
            (lines.iter().filter(|line| line["status"] == 404 || line["status"] == 401).count() == count).then_some(())
        })
        .await?;
    }
    assert_eq!(seen, [404, 401, 404]);
    assert_eq!(scanner.get("/products").await?.code(), "rate_limit_exceeded");
    assert_eq!(client(&site, 2).get("/products").await?.status, 200);
    Ok(())
}

#[tokio::test]
async fn unauthenticated_calls_are_limited_apart() -> Passed {
    let limit = "[limits]\ncredentials = [\"header:x-key\", \"cookie:session\", \"query:token\"]\n\
                 [[limit]]\nname = \"anonymous\"\nkey = [\"client\"]\nrate = \"2/1h\"\n\
                 match = { only = \"unauthenticated\" }\n";
    let site = Site::plan().edge(limit).start().await?;
    let target = client(&site, 1);
    assert_eq!(statuses(&target, "/products", 3).await?, [200, 200, 429]);
    for (path, header, value) in
        [("/products", "x-key", "1"), ("/products", "cookie", "a=b; session=1"), ("/products?token=1", "x-other", "1")]
    {
        let answer = target.exchange(target.request(Method::GET, path)?.header(header, value).body(empty())?).await?;
        assert_eq!(answer.status, 200, "{path} {header}");
    }
    assert_eq!(target.get("/products?tokens=1").await?.status, 429);
    Ok(())
}

#[tokio::test]
async fn a_delay_spreads_what_comes_at_once() -> Passed {
    let limit = "[[limit]]\nname = \"slow\"\nkey = [\"client\"]\nrate = \"10/1s\"\nburst = 1\naction = \"delay\"\ndelay = \"5s\"\n";
    let site = Site::plan().edge(limit).start().await?;
    let (target, start) = (client(&site, 1), Instant::now());
    let mut requests = JoinSet::new();
    for _ in 0..6 {
        let target = target.clone();
        requests.spawn(async move { target.get("/products").await.map(|answer| answer.status.as_u16()) });
    }
    for status in requests.join_all().await {
        assert_eq!(status?, 200);
    }
    let took = start.elapsed();
    // The first at once, then one each 100 ms.
    assert!(took >= Duration::from_millis(490), "{took:?}");
    Ok(())
}

/// Answers that came and connections that were closed at once.
async fn connect(target: &Target, count: usize) -> anyhow::Result<(usize, usize)> {
    let (mut answered, mut closed) = (0, 0);
    for _ in 0..count {
        let mut raw = Raw::open(target).await?;
        let is_sent = raw.write("GET /products HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await.is_ok();
        let bytes = if is_sent { raw.rest().await.map(|(bytes, _)| bytes).unwrap_or_default() } else { Vec::new() };
        if bytes.starts_with(b"HTTP/1.1 200") { answered += 1 } else { closed += 1 }
    }
    Ok((answered, closed))
}

#[tokio::test]
async fn connections_of_a_client_are_limited_by_their_rate() -> Passed {
    let site = Site::plan().edge("[accept]\nconnection_rate = \"3/1h\"\n").start().await?;
    assert_eq!(connect(&client(&site, 1), 5).await?, (3, 2));
    assert_eq!(connect(&client(&site, 2), 3).await?, (3, 0), "another client");
    let line = site.edges[0].security_line("a closed connection", |line| line["reason"] == "connection_rate_exceeded");
    let line = line.await?;
    assert_eq!((line["action"].as_str(), line["mode"].as_str()), (Some("drop"), Some("enforce")), "{line}");
    let reason = [("reason", "connection_rate_exceeded")];
    site.edge()?.admin()?.counted("gatehouse_edge_refused_total", &reason, 2.0..=2.0).await?;
    Ok(())
}

#[tokio::test]
async fn limits_on_connections_can_observe() -> Passed {
    let settings =
        "[accept]\nconnection_rate = \"3/1h\"\nconnections_per_client = 1\nconnection_limits = \"observe\"\n";
    let site = Site::plan().edge(settings).start().await?;
    let target = client(&site, 1);
    let mut held = Vec::new();
    for _ in 0..3 {
        let mut raw = Raw::open(&target).await?;
        assert_eq!(raw.exchange("GET /products HTTP/1.1\r\nHost: a\r\n\r\n").await?.status, 200);
        held.push(raw);
    }
    drop(held);
    assert_eq!(connect(&target, 3).await?, (3, 0));
    for reason in ["connection_rate_exceeded", "too_many_connections_of_client"] {
        let line = site.edges[0].security_line(reason, |line| line["reason"] == reason).await?;
        assert_eq!(line["mode"].as_str(), Some("observe"), "{line}");
    }
    Ok(())
}

/// What became of the requests of one client.
#[derive(Default)]
struct Fate {
    admitted: usize,
    refused: usize,
}

/// Sends requests for a client that the PROXY protocol names, all on one connection.
async fn send(balancer: &Target, address: Ipv4Addr, count: usize) -> anyhow::Result<Fate> {
    let mut raw = Raw::open(&balancer.clone().preamble(format!("PROXY TCP4 {address} 127.0.0.1 4711 80\r\n"))).await?;
    let mut fate = Fate::default();
    for _ in 0..count {
        match raw.exchange("GET /bench HTTP/1.1\r\nHost: a\r\n\r\n").await?.status {
            200 => fate.admitted += 1,
            429 => fate.refused += 1,
            status => anyhow::bail!("{address}: {status}"),
        }
    }
    Ok(fate)
}

/// 20,000 clients in all: most come once, some ask for 80 % of the limit, a few for four times of it.
#[tokio::test(flavor = "multi_thread")]
async fn a_distributed_flood_hurts_no_innocent() -> Passed {
    const NEW: u32 = 19_500;
    const INNOCENT: u32 = 400;
    const OFFENDERS: u32 = 100;
    let limit = "[[limit]]\nname = \"clients\"\nkey = [\"client\"]\nrate = \"10/1h\"\nalgorithm = \"sliding_window\"\n\
                 [access_log]\nsink = \"off\"\n";
    let site = Site::plan().edge(format!("{PROXIED}{limit}")).alone().start().await?;
    let tasks = 16_u8;
    let mut flood = JoinSet::new();
    for task in 0..tasks {
        let balancer = site.target().from(IpAddr::from([127, 0, 9, task]));
        flood.spawn(async move {
            let mut hurt = Vec::new();
            for n in (u32::from(task)..NEW + INNOCENT + OFFENDERS).step_by(tasks.into()) {
                let address = Ipv4Addr::from_bits(u32::from(Ipv4Addr::new(127, 2, 0, 0)) + n);
                // All three kinds come mixed through the whole flood.
                let (count, expected) = match n % 200 {
                    0 => (40, 10),
                    1..=4 => (8, 8),
                    _ => (1, 1),
                };
                let fate = send(&balancer, address, count).await?;
                if fate.admitted != expected || fate.admitted + fate.refused != count {
                    hurt.push((address, fate.admitted, fate.refused));
                }
            }
            anyhow::Ok(hurt)
        });
    }
    for hurt in flood.join_all().await {
        assert_eq!(hurt?, []);
    }
    let metrics = site.edge()?.admin()?.metrics().await?;
    let keys = metrics.sum("gatehouse_edge_limit_keys", &[("limit", "clients")]);
    let bytes = metrics.sum("gatehouse_edge_limit_bytes", &[("limit", "clients")]);
    assert!((keys - 20_000.0).abs() < f64::EPSILON && bytes <= keys * 100.0, "{keys} keys, {bytes} bytes");
    Ok(())
}
