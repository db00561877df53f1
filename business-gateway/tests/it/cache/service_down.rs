//! What is over helps: while the service is asked anew, and when it fails.

use super::*;

#[tokio::test]
async fn what_is_over_is_given_while_one_call_asks_anew() {
    let origin = Origin::start(&[]).await;
    let (site, mut edge) = start(&origin, "lifetime = \"0s\", stale_while_revalidate = \"1h\"", "").await;
    assert_eq!(send(&mut edge, "GET", "/a/b", &[("x-client", "1")]).await.text(), "1");
    origin.hold(true);
    for _ in 0..3 {
        assert_eq!(send(&mut edge, "GET", "/a/b", &[]).await.text(), "1", "nobody waits");
    }
    origin.until_asked(2).await;
    assert_eq!(origin.count(), 2, "one call asks");
    origin.hold(false);
    let refresh = site.line(|line| line["part"] == "refresh").await;
    assert_eq!((refresh["cache"].as_str(), refresh["status"].as_u64()), (Some("miss"), Some(200)));
    let answer = send(&mut edge, "GET", "/a/b", &[]).await;
    assert!(answer.text().parse::<u64>().unwrap() >= 2);
    let stale = || site.lines().iter().filter(|line| line["cache"] == "stale").count();
    until("four stale answers", || (stale() == 4).then_some(())).await;
}

#[tokio::test]
async fn a_refresh_that_fails_leaves_what_there_is() {
    let origin = Origin::start(&[]).await;
    let cache = "lifetime = \"0s\", stale_while_revalidate = \"1h\", stale_if_error = \"1h\"";
    let (site, mut edge) = start(&origin, cache, "").await;
    send(&mut edge, "GET", "/a/b", &[]).await;
    origin.say(|script| script.status = 503);
    assert_eq!(send(&mut edge, "GET", "/a/b", &[]).await.text(), "1");
    let refresh = site.line(|line| line["part"] == "refresh").await;
    assert_eq!(refresh["cache"], "stale_error");
    let before = origin.count();
    let again = send(&mut edge, "GET", "/a/b", &[]).await;
    assert_eq!((again.status, again.text(), origin.count()), (200, "1".to_owned(), before), "it has just failed");
}

#[tokio::test]
async fn with_the_service_down_stale_answers_flow_for_the_declared_time() {
    let origin = Origin::start(&[]).await;
    let (site, mut edge) = start(&origin, "lifetime = \"0s\", stale_if_error = \"5s\", status = \"always\"", "").await;
    assert_eq!(send(&mut edge, "GET", "/a/b", &[]).await.text(), "1");
    origin.say(|script| script.breaks = true);
    let failed = send(&mut edge, "GET", "/a/b", &[]).await;
    assert_eq!((failed.status, failed.text()), (200, "1".to_owned()));
    assert!(failed.header("cache-status").contains("detail=service-failed"), "{failed:?}");
    let line = site.line(|line| line["cache"] == "stale_error").await;
    assert!(line["cause"].as_str().unwrap().contains("connection"), "{line}");
    let asked = origin.count();
    let held_off = send(&mut edge, "GET", "/a/b", &[]).await;
    assert_eq!((held_off.text(), origin.count()), ("1".to_owned(), asked), "it is not asked for each call");
    // What was never there cannot help.
    assert_eq!(send(&mut edge, "GET", "/a/other", &[]).await.code(), "service_reset");
    let deadline = tokio::time::Instant::now() + crate::support::SOON;
    while send(&mut edge, "GET", "/a/b", &[]).await.status == 200 {
        assert!(tokio::time::Instant::now() < deadline, "stale answers flow for ever");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    let line = site.line(|line| line["status"] == 502 && line["path"] == "/a/b").await;
    assert_eq!((line["reason"].as_str(), line["cache"].as_str()), (Some("service_reset"), Some("miss")));
    origin.say(|script| script.breaks = false);
    assert_eq!(send(&mut edge, "GET", "/a/b", &[]).await.status, 200);
}

#[tokio::test]
async fn answers_that_say_the_service_has_failed_give_way_to_what_is_over() {
    let origin = Origin::start(&[]).await;
    let (_site, mut edge) = start(&origin, "lifetime = \"0s\", stale_if_error = \"1h\"", "").await;
    send(&mut edge, "GET", "/a/b", &[]).await;
    origin.say(|script| script.status = 500);
    assert_eq!(send(&mut edge, "GET", "/a/b", &[]).await.text(), "1");
    let origin = Origin::start(&[("cache-control", "must-revalidate")]).await;
    let (_site, mut edge) = start(&origin, "lifetime = \"1h\", stale_if_error = \"1h\"", "").await;
    origin.say(|script| script.headers[0] = ("cache-control", "max-age=0, must-revalidate"));
    send(&mut edge, "GET", "/a/b", &[]).await;
    origin.say(|script| script.status = 500);
    assert_eq!(send(&mut edge, "GET", "/a/b", &[]).await.status, 500, "its service has forbidden that");
}

#[tokio::test]
async fn a_refresh_tells_a_shared_service_of_nobody() {
    let origin = Origin::start(&[]).await;
    let cache = "lifetime = \"0s\", stale_while_revalidate = \"1h\", scope = \"shared\"";
    let (_site, mut edge) = start(&origin, cache, "").await;
    let headers = [("cookie", "session=1"), ("user-agent", "u"), ("if-none-match", "\"x\"")];
    send(&mut edge, "GET", "/a/b?x=1", &headers).await;
    send(&mut edge, "GET", "/a/b?x=1", &headers).await;
    origin.until_asked(2).await;
    for seen in origin.seen() {
        assert_eq!((seen.method.as_str(), seen.target.as_str()), ("GET", "/a/b?x=1"));
        for name in ["cookie", "user-agent", "if-none-match", "x-gatehouse-app", "x-gatehouse-user"] {
            assert!(!seen.headers.contains_key(name), "{name}");
        }
        assert_eq!(
            (seen.headers["host"].as_bytes(), seen.headers["x-real-ip"].as_bytes()),
            (&b"shop.example"[..], &b"203.0.113.9"[..])
        );
    }
}
