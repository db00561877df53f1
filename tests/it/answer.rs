//! What a refused client sees: a page or a problem document, a redirect, or nothing.

use gatehouse_tests::client::raw::End;
use gatehouse_tests::client::{Answer, Connection, Raw, Target, empty};
use gatehouse_tests::site::Site;
use gatehouse_tests::site::plan::Plan;
use gatehouse_tests::until::SOON;
use http::Method;
use tokio::time::timeout;

use crate::Passed;

/// What Chromium sends for a page.
const BROWSER: &str =
    "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,image/apng,*/*;q=0.8";

/// A second listener speaks HTTP/2 without TLS; only `/products` has a route.
fn plan() -> Plan {
    Site::plan()
        .edge("[[process.listener]]\naddress = \"127.0.0.1:0\"\n[[process.listener]]\naddress = \"127.0.0.1:0\"\nh2c = true\n")
        .edge("[[route]]\npath_prefix = \"/products\"\ncluster = \"business\"\n")
}

fn targets(site: &Site) -> [Target; 2] {
    [site.target(), Target::plain(site.address(1)).http2()]
}

async fn get(target: &Target, path: &str, accept: Option<&str>) -> anyhow::Result<Answer> {
    let mut request = target.request(Method::GET, path)?;
    if let Some(accept) = accept {
        request = request.header("accept", accept);
    }
    target.exchange(request.body(empty())?).await
}

/// `/nothing` is refused by the gateway, the other one by the way in before there is one.
const REFUSED: [(&str, &str, u16); 2] = [("/nothing", "route_not_found", 404), ("/%252e", "path_double_encoded", 400)];

#[tokio::test]
async fn browsers_get_a_page_and_everyone_else_a_problem_document() -> Passed {
    let site = plan().start().await?;
    for target in targets(&site) {
        for (path, code, status) in REFUSED {
            for accept in [BROWSER, "text/html", "text/html;q=0.9, application/json;q=0.8"] {
                let answer = get(&target, path, Some(accept)).await?;
                let id = answer.header("x-request-id").to_owned();
                assert_eq!(answer.status, status, "{accept}");
                assert_eq!(answer.header("content-type"), "text/html; charset=utf-8", "{accept}");
                assert_eq!(answer.header("cache-control"), "no-store");
                let text = answer.text();
                assert!(text.starts_with("<!doctype html>") && text.contains(code) && text.contains(&id), "{text}");
            }
            for accept in [None, Some("*/*"), Some("application/json, text/plain, */*"), Some("image/png")] {
                let answer = get(&target, path, accept).await?;
                assert_eq!((answer.status.as_u16(), answer.code().as_str()), (status, code), "{accept:?}");
                assert_eq!(answer.header("content-type"), "application/problem+json", "{accept:?}");
                assert_eq!(answer.json()?["request_id"], answer.header("x-request-id"));
            }
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_head_request_gets_the_fields_of_the_page_alone() -> Passed {
    let site = plan().start().await?;
    for path in ["/nothing", "/%252e"] {
        let mut raw = Raw::open(&site.target()).await?;
        raw.write(format!("HEAD {path} HTTP/1.1\r\nHost: a\r\nAccept: text/html\r\nConnection: close\r\n\r\n")).await?;
        let head = raw.head().await?;
        assert_eq!(head.header("content-type"), Some("text/html; charset=utf-8"));
        assert!(head.header("content-length").is_some_and(|length| length != "0"), "{head:?}");
        assert_eq!(raw.rest().await?.0, b"");
    }
    Ok(())
}

#[tokio::test]
async fn an_operators_page_is_used_and_follows_a_reload() -> Passed {
    let answers = "[answer]\npage = \"denied.html\"\njson = { help = \"https://help.test/?id={{request_id}}\" }\n\
                   [[answer.override]]\ncodes = [\"path_double_encoded\"]\njson = { hint = \"encode once\" }\n";
    let mut site =
        plan().edge(answers).edge_file("denied.html", "<p>first {{code}} {{request_id}} {{client}}").start().await?;
    for target in targets(&site) {
        let page = get(&target, "/nothing", Some(BROWSER)).await?;
        let id = page.header("x-request-id");
        assert_eq!(page.text(), format!("<p>first route_not_found {id} 127.0.0.1"));
        let document = get(&target, "/nothing", None).await?.json()?;
        let id = document["request_id"].as_str().unwrap_or_default();
        assert_eq!(document["help"], format!("https://help.test/?id={id}"));
        assert_eq!(get(&target, "/%252e", None).await?.json()?["hint"], "encode once");
    }
    site.edge_mut()?.rewrite("denied.html", "<p>second {{status}}").await?;
    for target in targets(&site) {
        assert_eq!(get(&target, "/nothing", Some(BROWSER)).await?.text(), "<p>second 404");
        assert_eq!(get(&target, "/%252e", Some(BROWSER)).await?.text(), "<p>second 400");
    }
    // A page with a mistake is found by `check`, with its place, and not loaded.
    site.edge()?.write("denied.html", "<p>third\n{{statsu}}")?;
    let check = site.edge()?.command(&["check"])?;
    let said = format!("{}{}", String::from_utf8_lossy(&check.stdout), String::from_utf8_lossy(&check.stderr));
    assert_eq!(check.status.code(), Some(64), "{said}");
    assert!(
        said.contains("denied.html:2:1: there is no placeholder named \"statsu\" (did you mean {{status}}?)"),
        "{said}"
    );
    site.edge()?.poke()?;
    assert_eq!(get(&site.target(), "/nothing", Some(BROWSER)).await?.text(), "<p>second 404");
    Ok(())
}

#[tokio::test]
async fn a_dropped_client_gets_nothing_and_the_access_log_says_why() -> Passed {
    let drop = "[[answer.override]]\ncodes = [\"route_not_found\", \"path_double_encoded\"]\naction = \"drop\"\n";
    let site = plan().edge(drop).start().await?;
    for (path, code, _) in REFUSED {
        let mut raw = Raw::open(&site.target()).await?;
        raw.write(format!("GET {path}?1 HTTP/1.1\r\nHost: a\r\n\r\n")).await?;
        assert_eq!(raw.rest().await?, (Vec::new(), End::Closed));
        let what = format!("{path}?1");
        let line = site.edges[0].access_line(&what, |line| line["target"] == what.as_str()).await?;
        assert_eq!((line["status"].as_u64(), line["reason"].as_str()), (Some(0), Some(code)), "{line}");
    }
    let line = site.edges[0].security_line("it", |line| line["reason"] == "path_double_encoded").await?;
    assert_eq!((line["status"].as_u64(), line["action"].as_str()), (Some(0), Some("drop")), "{line}");
    let lines = site.edges[0].security_log()?;
    assert_eq!(lines.len(), 1, "unknown routes are written only when asked for: {lines:#?}");
    Ok(())
}

#[tokio::test]
async fn a_dropped_http2_request_is_reset_and_its_neighbours_go_on() -> Passed {
    let drop = "[[answer.override]]\ncodes = [\"route_not_found\", \"path_double_encoded\"]\naction = \"drop\"\n";
    let site = plan().edge(drop).start().await?;
    let target = Target::plain(site.address(1)).http2();
    let mut connection = Connection::open(&target).await?;
    for (path, code, _) in REFUSED {
        let what = format!("{path}?2");
        let request = target.request(Method::GET, &what)?.body(empty())?;
        let error = timeout(SOON, connection.fetch(request)).await?.unwrap_err();
        let is_reset = error.chain().any(|cause| format!("{cause:?}").contains("CANCEL"));
        assert!(is_reset, "{error:?}");
        let line = site.edges[0].access_line(&what, |line| line["target"] == what.as_str()).await?;
        assert_eq!((line["status"].as_u64(), line["reason"].as_str()), (Some(0), Some(code)), "{line}");
        let answer = connection.fetch(target.request(Method::GET, "/products")?.body(empty())?).await?;
        assert_eq!(answer.status, 200, "on the same connection");
    }
    Ok(())
}

#[tokio::test]
async fn a_dropped_upload_is_not_read_to_its_end() -> Passed {
    let site = plan().edge("[[answer.override]]\nstatuses = [\"404\"]\naction = \"drop\"\n").start().await?;
    let mut raw = Raw::open(&site.target()).await?;
    raw.write("POST /nothing HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\nx").await?;
    let (bytes, _) = timeout(SOON, raw.rest()).await??;
    assert_eq!(bytes, b"");
    Ok(())
}

#[tokio::test]
async fn a_redirect_carries_the_request_id() -> Passed {
    let redirect = "[answer.redirect]\nlocation = \"https://help.test/blocked?a=b#top\"\nstatus = 303\nrequest_id = \"rid\"\n\
                    [[answer.override]]\nstatuses = [\"4xx\"]\naction = \"redirect\"\n\
                    [[answer.override]]\ncodes = [\"method_not_allowed\"]\nredirect = { location = \"/products\", status = 307 }\n";
    let site = plan().edge(redirect).start().await?;
    for target in targets(&site) {
        for (path, code, _) in REFUSED {
            let answer = get(&target, path, Some(BROWSER)).await?;
            let id = answer.header("x-request-id").to_owned();
            assert_eq!((answer.status.as_u16(), answer.body.len()), (303, 0));
            assert_eq!(answer.header("location"), format!("https://help.test/blocked?a=b&rid={id}#top"));
            let line = site.edges[0].access_line(&id, |line| line["request_id"] == id.as_str()).await?;
            assert_eq!((line["status"].as_u64(), line["reason"].as_str()), (Some(303), Some(code)), "{line}");
        }
        let answer = target.fetch(Method::TRACE, "/products").await?;
        assert_eq!((answer.status.as_u16(), answer.header("location")), (307, "/products"));
    }
    Ok(())
}
