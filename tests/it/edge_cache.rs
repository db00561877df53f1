//! What the edge keeps of answers to anonymous reads, through both tiers.

use std::process::Output;

use gatehouse_tests::client::Target;
use gatehouse_tests::site::Site;
use gatehouse_tests::site::node::Node;
use gatehouse_tests::until::{SOON, until};
use http::Method;

use crate::Passed;

fn route(cache: &str) -> String {
    format!("[[route]]\npath_prefix = \"/\"\ncluster = \"business\"\ncache = {{ {cache} }}\n")
}

async fn site(cache: &str) -> anyhow::Result<Site> {
    Site::plan().edge(route(cache)).start().await
}

/// How often the service was called.
async fn calls(site: &Site) -> anyhow::Result<u64> {
    Ok(site.services[0].stats().await?.requests)
}

/// What the access log says of the cache for a request.
async fn logged(edge: &Node, id: &str) -> anyhow::Result<String> {
    let line = edge.access_line("the request", |line| line["request_id"] == id).await?;
    Ok(line["cache"].as_str().unwrap_or("none").to_owned())
}

#[tokio::test]
async fn what_many_ask_for_at_once_is_fetched_once() -> Passed {
    let site = site("lifetime = \"10m\"").await?;
    let before = calls(&site).await?;
    let target = Target::plain(site.edge()?.address()?);
    let asking = (0..100).map(|_| {
        let target = target.clone();
        tokio::spawn(async move { target.get("/slow?ms=300").await })
    });
    let asking: Vec<_> = asking.collect();
    let mut ids = std::collections::HashSet::new();
    for asked in asking {
        let answer = asked.await??;
        assert_eq!(answer.status, 200);
        ids.insert(answer.header("x-request-id").to_owned());
    }
    assert_eq!((ids.len(), calls(&site).await? - before), (100, 1), "each request has an id of its own");
    let (mut hits, mut misses) = (0, 0);
    for id in &ids {
        match logged(site.edge()?, id).await?.as_str() {
            "hit" => hits += 1,
            "miss" => misses += 1,
            other => panic!("{other}"),
        }
    }
    assert_eq!((hits, misses), (99, 1));
    let counted = site.edge()?.admin()?.metrics().await?;
    assert_eq!(counted.sum("gatehouse_edge_cache_entries", &[]), 1.0);
    Ok(())
}

#[tokio::test]
async fn heads_parts_and_conditions_are_answered_from_memory() -> Passed {
    let site = site("lifetime = \"10m\"").await?;
    let target = Target::plain(site.edge()?.address()?);
    let before = calls(&site).await?;
    let head = target.fetch(Method::HEAD, "/stream/1000").await?;
    assert_eq!((head.status.as_u16(), head.body.len()), (200, 0), "{head:?}");
    let whole = target.get("/stream/1000").await?;
    assert_eq!((whole.status.as_u16(), whole.body.len(), whole.header("content-length")), (200, 1000, "1000"));
    let request =
        target.request(Method::GET, "/stream/1000")?.header("range", "bytes=10-19").body(Default::default())?;
    let part = target.exchange(request).await?;
    assert_eq!((part.status.as_u16(), &part.body[..]), (206, &whole.body[10..20]));
    let tagged = "/header/etag?value=%22a%22";
    assert_eq!(target.get(tagged).await?.status, 200);
    let etag = target.get(tagged).await?.header("etag").to_owned();
    let request = target.request(Method::GET, tagged)?.header("if-none-match", &etag).body(Default::default())?;
    assert_eq!(target.exchange(request).await?.status, 304, "{etag}");
    assert_eq!(calls(&site).await? - before, 2);
    Ok(())
}

#[tokio::test]
async fn nothing_is_kept_of_what_is_for_somebody() -> Passed {
    let site = site("lifetime = \"10m\"").await?;
    let target = Target::plain(site.edge()?.address()?);
    assert_eq!(target.get("/products").await?.status, 200);
    let before = calls(&site).await?;
    for (name, value) in
        [("authorization", "Basic YTpi"), ("cookie", "a=b"), ("signature", "a=:AA==:"), ("x-session-token", "t")]
    {
        let request = target.request(Method::GET, "/products")?.header(name, value).body(Default::default())?;
        target.exchange(request).await?;
    }
    for path in ["/products?sign=1", "/products?app_key=1"] {
        target.get(path).await?;
        target.get(path).await?;
    }
    assert_eq!(calls(&site).await? - before, 8, "whoever proves something is answered by a service");
    let before = calls(&site).await?;
    let personal = [
        "/header/set-cookie?value=a",
        "/header/cache-control?value=private",
        "/header/cache-control?value=no-store",
        "/header/vary?value=accept-language",
        "/status/500",
    ];
    for path in personal {
        for _time in 0..2 {
            let answer = target.get(path).await?;
            assert_eq!(logged(site.edge()?, answer.header("x-request-id")).await?, "uncacheable", "{path}");
        }
    }
    assert_eq!(calls(&site).await? - before, 10);
    Ok(())
}

#[tokio::test]
async fn cookies_are_taken_away_where_they_are_declared_to_mean_nothing() -> Passed {
    let site = site("lifetime = \"10m\", ignore_cookies = true").await?;
    let target = Target::plain(site.edge()?.address()?);
    let before = calls(&site).await?;
    for cookie in ["a=b", "c=d"] {
        let request = target.request(Method::GET, "/echo")?.header("cookie", cookie).body(Default::default())?;
        let answer = target.exchange(request).await?;
        assert!(answer.status == 200 && !String::from_utf8_lossy(&answer.body).contains("cookie"), "{answer:?}");
    }
    assert_eq!(calls(&site).await? - before, 1);
    Ok(())
}

#[tokio::test]
async fn stale_answers_go_out_while_one_request_fetches_and_when_no_node_is_there() -> Passed {
    let mut site = site("lifetime = \"1ms\", stale = \"10m\"").await?;
    let target = Target::plain(site.edge()?.address()?);
    let first = target.get("/products").await?;
    assert_eq!(first.status, 200);
    // A millisecond is soon over.
    let mut fresh = 0;
    while logged(site.edge()?, target.get("/products").await?.header("x-request-id")).await? == "hit" {
        fresh += 1;
        assert!(fresh < 100, "an answer is fresh for longer than a millisecond");
    }
    site.services[0].behave("ms=1500").await?;
    let before = calls(&site).await?;
    let slow = {
        let target = target.clone();
        tokio::spawn(async move { target.get("/products").await })
    };
    until("the one to fetch", SOON, async || (calls(&site).await.ok()? > before).then_some(())).await?;
    for _request in 0..10 {
        let answer = target.get("/products").await?;
        assert_eq!(logged(site.edge()?, answer.header("x-request-id")).await?, "stale");
    }
    assert_eq!(calls(&site).await? - before, 1);
    let fetched = slow.await??;
    assert_eq!(logged(site.edge()?, fetched.header("x-request-id")).await?, "expired");
    site.business[0].kill()?;
    let answer = target.get("/products").await?;
    assert_eq!((answer.status.as_u16(), &answer.body), (200, &first.body));
    assert_eq!(target.get("/users/1").await?.status.as_u16() / 100, 5, "what was never fetched cannot be stale");
    Ok(())
}

#[tokio::test]
async fn operators_see_how_much_is_kept_and_give_it_up() -> Passed {
    let site = Site::plan()
        .edge(route("lifetime = \"10m\"") + "[cache]\nmax_bytes = \"1MiB\"\nentry_max = \"100KiB\"\n")
        .start()
        .await?;
    let edge = site.edge()?;
    let target = Target::plain(edge.address()?);
    let cache = |arguments: &[&str]| -> anyhow::Result<(i32, String)> {
        let Output { status, stdout, stderr } = edge.command(&[&["cache"], arguments].concat())?;
        let said = String::from_utf8_lossy(&stdout).into_owned() + &String::from_utf8_lossy(&stderr);
        Ok((status.code().unwrap_or(-1), said))
    };
    for path in ["/products", "/products/1", "/users/1", "/stream/200000"] {
        assert_eq!(target.get(path).await?.status, 200);
    }
    let (code, said) = cache(&["stats"])?;
    assert!(code == 0 && said.starts_with("3 answers, "), "the large one is not kept: {said}");
    assert_eq!(cache(&["purge", "/products"])?, (0, "2 answers given up\n".to_owned()));
    let before = calls(&site).await?;
    target.get("/products").await?;
    target.get("/users/1").await?;
    assert_eq!(calls(&site).await? - before, 1);
    let (code, said) = cache(&["purge", "products"])?;
    assert!(code == 1 && said.contains("slash"), "{code}: {said}");
    // The bound holds whatever is asked for.
    for number in 0..40 {
        assert_eq!(target.get(&format!("/stream/90000?{number}")).await?.status, 200);
    }
    let (_, said) = cache(&["stats"])?;
    let bytes: u64 = said.split(' ').nth(2).unwrap_or_default().parse()?;
    assert!((90_000..=1 << 20).contains(&bytes), "{said}");
    Ok(())
}
