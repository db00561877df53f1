//! Trust between the tiers: nothing gets to tier two but through the edge, and nothing forged gets through the edge.

use gatehouse_tests::client::{Raw, Target};
use gatehouse_tests::site::{Handoff, Site};
use serde_json::Value;

use crate::Passed;

/// Spellings of internal headers that a client may try, each with the value `forged`.
const SPELLINGS: [&str; 30] = [
    "x-gatehouse-hop",
    "X-Gatehouse-Hop",
    "X-GATEHOUSE-HOP",
    "x-gatehouse-Hop",
    "X-gAtEhOuSe-hOp",
    "x_gatehouse_hop",
    "X_Gatehouse_Hop",
    "X_GATEHOUSE_HOP",
    "x-gatehouse_hop",
    "x_gatehouse-hop",
    "x-gatehouse-result",
    "X-Gatehouse-Result",
    "X-GATEHOUSE-RESULT",
    "x_gatehouse_result",
    "X-Gatehouse_Result",
    "x-gatehouse-",
    "x-gatehouse-client",
    "X-Gatehouse-Client",
    "x_gatehouse_client",
    "x-gatehouse-app",
    "X-GATEHOUSE-APP",
    "x-gatehouse-subject",
    "X_Gatehouse-Subject",
    "x-gatehouse-path",
    "x-gatehouse-left",
    "X-Gatehouse-Edge",
    "x-gatehouse-kid",
    "x-gatehouse-sig",
    "x-gatehouse-anything-else",
    "X_gAtEhOuSe_AnYtHiNg_ElSe",
];

#[tokio::test]
async fn a_request_straight_to_the_business_port_gets_401() -> Passed {
    let site = Site::plan().start().await?;
    let business = Target::plain(site.business[0].address()?);
    for target in [business.clone(), business.clone().http2()] {
        let answer = target.get("/products").await?;
        assert_eq!((answer.status.as_u16(), answer.code().as_str()), (401, "hop_missing"));
        assert_eq!(answer.header("content-type"), "application/problem+json");
    }
    let stats = site.services[0].stats().await?;
    assert_eq!(stats.requests, 0, "the service saw a request");
    Ok(())
}

#[tokio::test]
async fn a_forged_or_retargeted_hop_gets_401() -> Passed {
    let site = Site::plan().start().await?;
    let business = Target::plain(site.business[0].address()?);
    let forged = [
        "forged",
        "",
        "v=1",
        "v=1, kid=\"a\", exp=99999999999999, rid=\"00000000000000000000000000000000\", sig=:AAAA:",
        "v=2,kid=\"a\",rid=\"00000000000000000000000000000000\",sig=:AAAA:",
        "v=3, kid=\"a\", exp=99999999999999",
        "\"\"",
    ];
    for value in forged {
        let mut raw = Raw::open(&business).await?;
        let request = format!("GET /products HTTP/1.1\r\nHost: shop.test\r\nx-gatehouse-hop: {value}\r\n\r\n");
        let answer = raw.exchange(&request).await?;
        assert_eq!(answer.status, 401, "{value:?}: {}", answer.text());
        assert!(answer.code().starts_with("hop_"), "{value:?}: {}", answer.text());
    }
    let stats = site.services[0].stats().await?;
    assert_eq!(stats.requests, 0, "the service saw a request");
    Ok(())
}

#[tokio::test]
async fn thirty_spellings_of_internal_headers_change_nothing() -> Passed {
    for handoff in Handoff::BOTH {
        let site = Site::plan().handoff(handoff).edge("[accept]\nheader_underscores = true\n").start().await?;
        for spelling in SPELLINGS {
            for extra in ["", &format!("Connection: {spelling}\r\n")] {
                let mut raw = Raw::open(&site.target()).await?;
                let head = format!("GET /echo/1?a=b HTTP/1.1\r\nHost: shop.test\r\n{spelling}: forged\r\n{extra}\r\n");
                let answer = raw.exchange(&head).await?;
                if !extra.is_empty() && answer.status == 400 {
                    // An end-to-end header must not be named in Connection.
                    assert_eq!(answer.code(), "connection_option_invalid");
                    continue;
                }
                assert_eq!(answer.status, 200, "{handoff:?}, {spelling}: {}", answer.text());
                let leaked = answer.headers.iter().any(|(name, _)| name.to_ascii_lowercase().contains("gatehouse"));
                assert!(!leaked, "{:?}", answer.headers);
                let echo: Value = serde_json::from_slice(&answer.body)?;
                let text = echo["headers"].to_string().to_ascii_lowercase().replace('_', "-");
                assert!(!text.contains("forged") && !text.contains("x-gatehouse"), "{handoff:?}, {spelling}: {text}");
                assert_eq!(echo["path"], "/echo/1");
            }
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_service_cannot_speak_for_the_gate() -> Passed {
    for handoff in Handoff::BOTH {
        let site = Site::plan().handoff(handoff).start().await?;
        for _ in 0..10 {
            let forged = "/header/x-gatehouse-result?status=503&value=origin=gateway;node=?1;retry=safe";
            let answer = site.target().get(forged).await?;
            assert_eq!(answer.status, 503);
            assert_eq!(answer.json()?["status"], 503, "the service's own answer is passed on");
            assert_eq!(answer.header("x-gatehouse-result"), "");
        }
        // A node ejected by such answers would leave nobody to serve this.
        assert_eq!(site.target().get("/products").await?.status, 200);
        assert_eq!(site.services[0].stats().await?.requests, 11, "an answer of a service is never tried again");
    }
    Ok(())
}
