//! What is written down: access logs of both tiers, request ids, trace context.

use gatehouse_tests::client::empty;
use gatehouse_tests::site::{Handoff, Site};
use http::Method;
use serde_json::Value;

use crate::Passed;

fn header(echo: &Value, name: &str) -> Option<String> {
    let pair = echo["headers"].as_array()?.iter().find(|pair| pair[0] == name)?;
    Some(pair[1].as_str()?.to_owned())
}

#[tokio::test]
async fn one_request_id_joins_the_client_both_logs_and_the_service() -> Passed {
    for handoff in Handoff::BOTH {
        let site = Site::plan().handoff(handoff).start().await?;
        let answer = site.target().get("/echo/1?a=b").await?;
        let id = answer.header("x-request-id").to_owned();
        assert!(id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit()), "{id:?}");
        assert_eq!(header(&answer.json()?, "x-request-id").as_deref(), Some(id.as_str()));
        for node in [&site.edges[0], &site.business[0]] {
            let line = node.access_line(&id, |line| line["request_id"] == id.as_str()).await?;
            assert_eq!(line["status"], 200, "{line}");
            assert_eq!(line["method"], "GET", "{line}");
        }
        let line = site.edges[0].access_line(&id, |line| line["request_id"] == id.as_str()).await?;
        assert_eq!(line["target"], "/echo/1?a=b");
        assert_eq!(line["cluster"], "business");
        assert_eq!(line["upstream"], site.business[0].address()?.to_string());
        assert_eq!(line["origin"], "service");
        assert_eq!(line["bytes_out"].as_u64(), Some(answer.body.len() as u64));
    }
    Ok(())
}

#[tokio::test]
async fn a_request_id_of_the_client_is_not_taken_over() -> Passed {
    let site = Site::plan().start().await?;
    let target = site.target();
    let request = target.request(Method::GET, "/echo")?.header("x-request-id", "0123456789abcdef0123456789abcdef");
    let answer = target.exchange(request.body(empty())?).await?;
    assert_ne!(answer.header("x-request-id"), "0123456789abcdef0123456789abcdef");
    assert_eq!(header(&answer.json()?, "x-request-id").as_deref(), Some(answer.header("x-request-id")));
    Ok(())
}

#[tokio::test]
async fn a_trace_is_continued_and_a_malformed_one_replaced() -> Passed {
    let site = Site::plan().start().await?;
    let target = site.target();
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    for (sent, is_continued) in [
        (format!("00-{trace}-00f067aa0ba902b7-01"), true),
        (format!("00-{trace}-0000000000000000-01"), false),
        (format!("00-{}-00f067aa0ba902b7-01", "0".repeat(32)), false),
        (format!("ff-{trace}-00f067aa0ba902b7-01"), false),
        ("nonsense".to_owned(), false),
    ] {
        let request = target.request(Method::GET, "/echo")?.header("traceparent", &sent);
        let answer = target.exchange(request.body(empty())?).await?;
        let seen = header(&answer.json()?, "traceparent").unwrap_or_default();
        let parts: Vec<&str> = seen.split('-').collect();
        assert_eq!((parts.len(), parts[1].len(), parts[2].len()), (4, 32, 16), "{seen:?}");
        assert_eq!(parts[1] == trace, is_continued, "{sent} became {seen}");
        assert_ne!(parts[2], "00f067aa0ba902b7", "the span is the gate's own");
        let id = answer.header("x-request-id").to_owned();
        let line = site.edges[0].access_line(&id, |line| line["request_id"] == id.as_str()).await?;
        let field = if is_continued { "trace_id" } else { "request_id" };
        assert_eq!(line[field], parts[1], "{line}");
    }
    Ok(())
}

#[tokio::test]
async fn what_a_client_sends_cannot_break_a_log_line() -> Passed {
    let site = Site::plan().start().await?;
    let target = site.target();
    let nasty = "a\"b\\c\u{7f}d";
    let request =
        target.request(Method::GET, "/echo?q=%0a%22")?.header("user-agent", "quote \" backslash \\ tab \t end");
    let answer = target.exchange(request.body(empty())?).await?;
    assert_eq!(answer.status, 200, "{nasty}");
    let id = answer.header("x-request-id").to_owned();
    let line = site.edges[0].access_line(&id, |line| line["request_id"] == id.as_str()).await?;
    assert_eq!(line["user_agent"], "quote \" backslash \\ tab \t end");
    assert_eq!(line["target"], "/echo?q=%0a%22");
    Ok(())
}

#[tokio::test]
async fn a_full_or_missing_log_sink_fails_no_request() -> Passed {
    let site = Site::plan().edge("[access_log]\nsink = \"/dev/full\"\n").start().await?;
    for _ in 0..100 {
        assert_eq!(site.target().get("/bench").await?.status, 200);
    }
    Ok(())
}

#[tokio::test]
async fn errors_are_problem_documents_with_a_code_and_the_request_id() -> Passed {
    let catalog = "[[service]]\nname = \"sample\"\nendpoints = {endpoints}\n\
                   [[api]]\nname = \"products\"\naccess = \"open\"\nservice = \"sample\"\nmethods = [\"GET\"]\npath = \"/products\"\n";
    let site = Site::plan().catalog(catalog).start().await?;
    for (method, path, status, code) in
        [(Method::GET, "/nothing", 404, "api_not_found"), (Method::DELETE, "/products", 405, "api_method_not_allowed")]
    {
        let answer = site.target().fetch(method, path).await?;
        let problem = answer.json()?;
        assert_eq!((answer.status.as_u16(), answer.code().as_str()), (status, code), "{problem}");
        assert_eq!(answer.header("content-type"), "application/problem+json");
        assert_eq!(problem["request_id"], answer.header("x-request-id"), "{problem}");
        assert_eq!(problem["status"], status);
        for node in [&site.edges[0], &site.business[0]] {
            let id = answer.header("x-request-id");
            node.access_line(id, |line| line["request_id"] == id && line["status"] == status).await?;
        }
    }
    let answer = site.target().fetch(Method::DELETE, "/products").await?;
    assert_eq!(answer.header("allow").replace(", HEAD", ""), "GET");
    Ok(())
}
