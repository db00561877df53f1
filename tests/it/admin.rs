//! The admin listeners: tokens, roles, lock-out, and what they show.

use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::fs::PermissionsExt as _;

use gatehouse_tests::client::{Raw, Target, empty};
use gatehouse_tests::site::Site;
use http::Method;

use crate::Passed;

async fn with_token(target: &Target, path: &str, token: &str) -> anyhow::Result<(u16, String)> {
    let request = target.request(Method::GET, path)?.header("authorization", format!("Bearer {token}"));
    let answer = target.exchange(request.body(empty())?).await?;
    Ok((answer.status.as_u16(), answer.code()))
}

#[tokio::test]
async fn health_needs_no_token_and_everything_else_does() -> Passed {
    let site = Site::plan().start().await?;
    for node in [&site.edges[0], &site.business[0]] {
        let admin = node.admin()?;
        let target = admin.target();
        for path in ["/livez", "/readyz"] {
            assert_eq!(target.get(path).await?.status, 200, "{}: {path}", node.name);
        }
        for path in ["/metrics", "/policy"] {
            let answer = target.get(path).await?;
            assert_eq!(
                (answer.status.as_u16(), answer.code().as_str()),
                (401, "admin_token_missing"),
                "{}: {path}",
                node.name
            );
            assert_eq!(
                with_token(&target, path, "wrong").await?,
                (401, "admin_token_wrong".into()),
                "{}: {path}",
                node.name
            );
            for role in ["read", "operate", "secrets"] {
                let token = node.admin_as(role)?;
                assert_eq!(with_token(&target, path, token.token()).await?.0, 200, "{}: {path} as {role}", node.name);
            }
        }
        assert_eq!(admin.get("/nothing").await?.status, 404);
    }
    Ok(())
}

#[tokio::test]
async fn tokens_are_readable_by_their_owner_only_and_kept_as_hashes() -> Passed {
    let site = Site::plan().start().await?;
    for node in [&site.edges[0], &site.business[0]] {
        let stored = std::fs::read_to_string(node.state().join("admin-tokens.toml"))?;
        for role in ["read", "operate", "secrets"] {
            let path = node.state().join(format!("admin-token-{role}"));
            assert_eq!(std::fs::metadata(&path)?.permissions().mode() & 0o777, 0o600, "{}", path.display());
            let token = std::fs::read_to_string(&path)?;
            assert!(token.trim().len() >= 32, "a short token");
            assert!(!stored.contains(token.trim()), "the token stands in clear in admin-tokens.toml");
        }
    }
    Ok(())
}

#[tokio::test]
async fn guessing_locks_the_guesser_out_and_nobody_else() -> Passed {
    let site = Site::plan().start().await?;
    for node in [&site.edges[0], &site.business[0]] {
        let admin = node.admin()?;
        let guesser = admin.target().from(IpAddr::V4(Ipv4Addr::new(127, 0, 0, 5)));
        let mut last = (0, String::new());
        for number in 0..15 {
            last = with_token(&guesser, "/policy", &format!("guess-{number}")).await?;
        }
        assert_eq!(last, (429, "admin_locked_out".into()), "{}", node.name);
        let request =
            guesser.request(Method::GET, "/policy")?.header("authorization", format!("Bearer {}", admin.token()));
        let answer = guesser.exchange(request.body(empty())?).await?;
        assert_eq!(answer.status, 429, "the right token helps a guesser");
        assert_ne!(answer.header("retry-after"), "");
        assert_eq!(admin.get("/policy").await?.status, 200, "somebody else was locked out");
        assert_eq!(guesser.get("/readyz").await?.status, 200, "probes are never locked out");
    }
    Ok(())
}

#[tokio::test]
async fn a_page_of_another_site_cannot_reach_the_admin_listener_by_dns() -> Passed {
    let site = Site::plan().start().await?;
    for node in [&site.edges[0], &site.business[0]] {
        let admin = node.admin()?;
        for host in ["evil.test", "evil.test:80", ""] {
            let mut raw = Raw::open(&admin.target()).await?;
            let request =
                format!("GET /policy HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {}\r\n\r\n", admin.token());
            let answer = raw.exchange(request).await?;
            assert!(matches!(answer.status, 400 | 403), "{}: {host:?}: {}", node.name, answer.status);
        }
    }
    Ok(())
}

#[tokio::test]
async fn the_policy_shows_what_runs_and_no_secret() -> Passed {
    let site = Site::plan().business(2).start().await?;
    site.target().get("/products").await?;
    for node in site.edges.iter().chain(&site.business) {
        let policy = node.admin()?.policy().await?;
        assert_eq!(policy["node"], node.name.as_str());
        assert_eq!(policy["draining"], false);
        assert!(policy["generation"].as_u64().is_some(), "{policy}");
        assert_eq!(policy["source_hash"].as_str().map(str::len), Some(16), "{policy}");
        assert!(policy["version"].is_string(), "{policy}");
        assert!(!policy.to_string().contains("6f1d0c9a7be3448f"), "the hop key is shown");
        assert!(!node.process.log().contains("6f1d0c9a7be3448f"), "the hop key is logged");
    }
    let policy = site.edges[0].admin()?.policy().await?;
    let nodes = policy["clusters"][0]["nodes"].as_array().map(Vec::len);
    assert_eq!(nodes, Some(2), "{policy}");
    Ok(())
}

#[tokio::test]
async fn metrics_count_what_happened() -> Passed {
    let site = Site::plan().start().await?;
    for _ in 0..7 {
        assert_eq!(site.target().get("/products").await?.status, 200);
    }
    for (node, tier) in [(&site.edges[0], "edge"), (&site.business[0], "business")] {
        let admin = node.admin()?;
        admin.counted(&format!("gatehouse_{tier}_requests_total"), &[], 7.0..).await?;
        let metrics = admin.metrics().await?;
        let generation = metrics.sum("gatehouse_config_generation", &[]);
        assert_eq!(generation, node.admin()?.generation().await? as f64);
        assert!(metrics.sum("gatehouse_process_resident_memory_bytes", &[]) > 1e6);
    }
    let metrics = site.edges[0].admin()?.metrics().await?;
    let (requests, connections) = (
        metrics.sum("gatehouse_edge_node_requests_total", &[]),
        metrics.sum("gatehouse_edge_node_connections_opened_total", &[]),
    );
    assert!(requests >= 7.0 && connections >= 1.0 && connections < requests, "{requests} on {connections}");
    Ok(())
}
