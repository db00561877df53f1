//! TLS: certificates by server name, client certificates, the choice of protocol, certificates swapped under load.

use std::time::Duration;

use gatehouse_tests::certificate::{Authority, Identity};
use gatehouse_tests::client::tls::{chosen_protocol, server_certificate};
use gatehouse_tests::client::{Protocol, Tls};
use gatehouse_tests::load::Load;
use gatehouse_tests::site::plan::Plan;
use gatehouse_tests::site::{Handoff, Site};
use gatehouse_tests::until::SOON;
use tokio::time::timeout;

use crate::Passed;

/// A TLS listener with two certificates, and what else its table says.
fn plan(first: &Identity, second: &Identity, listener: &str) -> Plan {
    Site::plan()
        .edge(format!(
            r#"
            [[process.listener]]
            address = "127.0.0.1:0"
            tls = true
            {listener}
            [[certificate]]
            names = ["shop.test"]
            chain = "shop.pem"
            key = "shop.key"
            [[certificate]]
            names = ["*.api.test"]
            chain = "api.pem"
            key = "api.key"
            "#
        ))
        .edge_file("shop.pem", &first.chain_pem)
        .edge_file("shop.key", &first.key_pem)
        .edge_file("api.pem", &second.chain_pem)
        .edge_file("api.key", &second.key_pem)
}

#[tokio::test]
async fn the_certificate_is_chosen_by_server_name_and_the_protocol_by_alpn() -> Passed {
    let authority = Authority::new("test authority")?;
    let (shop, api) = (authority.server(&["shop.test"])?, authority.server(&["*.api.test"])?);
    let site = plan(&shop, &api, "").start().await?;
    for (name, identity) in [("shop.test", &shop), ("v1.api.test", &api)] {
        let tls = Tls::new(name, &authority)?;
        for protocol in [Protocol::Http1, Protocol::Http2] {
            let stream = tls.handshake(site.target().connect_tcp().await?, protocol).await?;
            assert_eq!(server_certificate(&stream), identity.for_rustls().0.first().cloned(), "{name}");
            let expected = if protocol == Protocol::Http2 { "h2" } else { "http/1.1" };
            assert_eq!(chosen_protocol(&stream).as_deref(), Some(expected));
        }
        let target = site.target().tls(tls);
        for target in [target.clone(), target.clone().http2()] {
            let answer = target.get("/echo").await?;
            assert_eq!(answer.status, 200, "{}", answer.text());
            assert!(answer.text().contains(r#"["x-forwarded-proto","https"]"#), "{}", answer.text());
        }
    }
    Ok(())
}

#[tokio::test]
async fn an_unknown_server_name_gets_the_first_certificate_and_a_client_without_alpn_http_1() -> Passed {
    let authority = Authority::new("test authority")?;
    let (shop, api) = (authority.server(&["shop.test", "other.test"])?, authority.server(&["*.api.test"])?);
    let site = plan(&shop, &api, "").start().await?;
    let tls = Tls::new("other.test", &authority)?.offering(&[]);
    let stream = tls.handshake(site.target().connect_tcp().await?, Protocol::Http1).await?;
    assert_eq!(server_certificate(&stream), shop.for_rustls().0.first().cloned());
    assert_eq!(chosen_protocol(&stream), None);
    assert_eq!(site.target().tls(tls).get("/products").await?.status, 200);
    let tls12 = Tls::tls12("shop.test", &authority)?;
    assert_eq!(site.target().tls(tls12).get("/products").await?.status, 200);
    Ok(())
}

#[tokio::test]
async fn optional_client_certificates_are_verified_when_shown() -> Passed {
    let (authority, clients, strangers) =
        (Authority::new("servers")?, Authority::new("clients")?, Authority::new("strangers")?);
    let (shop, api) = (authority.server(&["shop.test"])?, authority.server(&["*.api.test"])?);
    let site = plan(&shop, &api, "client_certificates = { ca = \"clients.pem\", mode = \"optional\" }\n")
        .edge_file("clients.pem", clients.pem())
        .start()
        .await?;
    let none = Tls::new("shop.test", &authority)?;
    assert_eq!(site.target().tls(none).get("/products").await?.status, 200);
    let known = Tls::with_identity("shop.test", &authority, &clients.client("till-7")?)?;
    assert_eq!(site.target().tls(known).get("/products").await?.status, 200);
    let stranger = Tls::with_identity("shop.test", &authority, &strangers.client("till-7")?)?;
    let refused = timeout(SOON, site.target().tls(stranger).get("/products")).await?;
    assert!(refused.is_err(), "a certificate of a stranger was accepted");
    Ok(())
}

#[tokio::test]
async fn required_client_certificates_are_required() -> Passed {
    let (authority, clients) = (Authority::new("servers")?, Authority::new("clients")?);
    let (shop, api) = (authority.server(&["shop.test"])?, authority.server(&["*.api.test"])?);
    let site = plan(&shop, &api, "client_certificates = { ca = \"clients.pem\", mode = \"required\" }\n")
        .edge_file("clients.pem", clients.pem())
        .start()
        .await?;
    let none = Tls::new("shop.test", &authority)?;
    let refused = timeout(SOON, site.target().tls(none).get("/products")).await?;
    assert!(refused.is_err(), "a client without a certificate was served");
    let known = Tls::with_identity("shop.test", &authority, &clients.client("till-7")?)?;
    assert_eq!(site.target().tls(known.clone()).get("/products").await?.status, 200);
    assert_eq!(site.target().tls(known).http2().get("/products").await?.status, 200);
    Ok(())
}

#[tokio::test]
async fn a_handshake_that_stalls_is_given_up() -> Passed {
    use gatehouse_tests::client::Raw;
    let authority = Authority::new("test authority")?;
    let (shop, api) = (authority.server(&["shop.test"])?, authority.server(&["*.api.test"])?);
    let site = plan(&shop, &api, "").edge("[accept]\ntls_handshake_timeout = \"1s\"\n").start().await?;
    // The start of a ClientHello, and nothing more.
    let mut raw = Raw::open(&site.target().preamble([0x16, 0x03, 0x01, 0x02, 0x00])).await?;
    timeout(Duration::from_secs(5), raw.rest()).await??;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn certificates_are_swapped_under_load_without_a_failed_request() -> Passed {
    let authority = Authority::new("test authority")?;
    let (shop, api) = (authority.server(&["shop.test"])?, authority.server(&["*.api.test"])?);
    let site = plan(&shop, &api, "").alone().start().await?;
    let target = site.target().tls(Tls::new("shop.test", &authority)?);
    let kept = Load::new(target.clone(), 8, 100, "/products").start();
    let kept2 = Load::new(target.clone().http2(), 4, 50, "/products").start();
    let fresh = Load::new(target, 8, 60, "/products").without_keepalive().start();
    let edge = site.edge()?;
    for _ in 0..10 {
        let next = authority.server(&["shop.test"])?;
        let before = edge.admin()?.generation().await?;
        // Key first, chain second: in between the pair does not match and must not be taken.
        edge.write("shop.key", &next.key_pem)?;
        edge.write("shop.pem", &next.chain_pem)?;
        edge.poke()?;
        edge.wait_for_generation(before + 1).await?;
        let tls = Tls::new("shop.test", &authority)?;
        let stream = tls.handshake(site.target().connect_tcp().await?, Protocol::Http1).await?;
        assert_eq!(server_certificate(&stream), next.for_rustls().0.first().cloned(), "the old certificate is served");
        fresh.answers(10).await?;
    }
    for (what, load) in [("keepalive", kept), ("http2", kept2), ("fresh", fresh)] {
        let report = load.stop().await;
        assert_eq!(report.failed().count(), 0, "{what}: {}", report.failures());
        assert_eq!(report.repeated(), 0, "{what}: connections were cut");
    }
    Ok(())
}

#[tokio::test]
async fn a_key_that_does_not_fit_its_certificate_is_never_loaded() -> Passed {
    let authority = Authority::new("test authority")?;
    let (shop, api) = (authority.server(&["shop.test"])?, authority.server(&["*.api.test"])?);
    let site = plan(&shop, &api, "").handoff(Handoff::Http1).start().await?;
    let edge = site.edge()?;
    let generation = edge.admin()?.generation().await?;
    edge.write("shop.key", &api.key_pem)?;
    edge.poke()?;
    let failure = crate::config::wait_for_failure(edge).await?;
    assert!(failure.contains("edge.toml:"), "{failure}");
    assert_eq!(edge.admin()?.generation().await?, generation);
    assert_eq!(site.target().tls(Tls::new("shop.test", &authority)?).get("/products").await?.status, 200);
    Ok(())
}
