//! Who may change the blocklist by the admin API, and how.

use super::*;

async fn code_of(answer: anyhow::Result<Answer>) -> anyhow::Result<(u16, String)> {
    let answer = answer?;
    Ok((answer.status.as_u16(), answer.code()))
}

fn refused(status: u16, code: &str) -> (u16, String) {
    (status, code.to_owned())
}

#[tokio::test]
async fn only_operators_change_and_no_page_of_another_site_does() -> Passed {
    let site = Site::plan().start().await?;
    let edge = &site.edges[0];
    let body = r#"{"network":"203.0.113.7","for":"1h"}"#;
    let (read, operate) = (edge.admin()?, edge.admin_as("operate")?);
    let post = async |admin: &gatehouse_tests::site::admin::Admin, headers: &[(&str, &str)]| {
        code_of(admin.call(Method::POST, "/blocklist", headers, body).await).await
    };
    assert_eq!(post(&read, &[]).await?, refused(403, "admin_role_insufficient"));
    assert_eq!(post(&operate, &[("origin", "http://evil.test")]).await?, refused(403, "admin_origin_refused"));
    assert_eq!(code_of(edge.admin()?.target().get("/blocklist").await).await?, refused(401, "admin_token_missing"));
    let evil = edge.admin()?.target().authority("evil.test");
    assert_eq!(code_of(evil.get("/blocklist").await).await?, refused(403, "admin_host_refused"));
    let import = operate.call(Method::PUT, "/blocklist/import", &[], "").await?;
    assert_eq!((import.status.as_u16(), import.header("allow")), (405, "POST"));
    assert_eq!(networks(edge).await?, Vec::<String>::new());
    assert_eq!(post(&operate, &[]).await?.0, 201);
    assert_eq!(read.get("/blocklist/export").await?.status, 200);
    assert_eq!(code_of(read.get("/blocklist/other").await).await?, refused(404, "admin_not_found"));
    Ok(())
}

#[tokio::test]
async fn a_change_is_made_only_on_what_its_author_has_seen() -> Passed {
    let (_directory, _redis, site) = fleet(1).await?;
    let edge = &site.edges[0];
    let operate = edge.admin_as("operate")?;
    assert_eq!(add(edge, "203.0.113.7", json!({ "for": "1h" })).await?.status, 201);
    let again = add(edge, "203.0.113.7", json!({ "for": "2h" })).await?;
    assert_eq!((again.status.as_u16(), again.code()), refused(409, "block_entry_exists"), "{}", again.text());
    assert_eq!(add(edge, "203.0.113.7", json!({ "for": "2h", "replace": true })).await?.status, 200);
    let seen = operate.get("/blocklist?network=203.0.113.7").await?;
    let (tag, stale) = (seen.header("etag").to_owned(), "\"1\"");
    assert_ne!(tag, stale);
    let path = "/blocklist?network=203.0.113.7";
    let late = operate.call(Method::DELETE, path, &[("if-match", stale)], "").await;
    assert_eq!(code_of(late).await?, refused(412, "admin_revision_changed"));
    assert_eq!(operate.call(Method::DELETE, path, &[("if-match", &tag)], "").await?.status, 200);
    assert_eq!(code_of(remove(edge, "203.0.113.7").await).await?, refused(404, "block_entry_missing"));
    Ok(())
}

#[tokio::test]
async fn what_is_allowed_or_trusted_is_blocked_only_by_force() -> Passed {
    let allowed = "[access.allow]\nnetworks = [\"198.51.100.0/24\"]\n";
    let site = Site::plan().edge(TRUSTING.to_owned() + allowed).start().await?;
    let edge = &site.edges[0];
    for network in ["198.51.100.7", "198.51.0.0/16", "127.0.0.9", "127.0.0.0/24", "0.0.0.0/0", "2000::/3"] {
        let answer = add(edge, network, json!({ "for": "1h" })).await?;
        assert_eq!((answer.status.as_u16(), answer.code()), refused(409, "block_needs_force"), "{network}");
    }
    let operate = edge.admin_as("operate")?;
    let import = operate.call(Method::POST, "/blocklist/import", &[], "203.0.113.1\n198.51.100.0/25\n").await?;
    assert_eq!((import.status.as_u16(), import.code()), refused(409, "block_needs_force"));
    assert!(import.text().contains("198.51.100.0/25 overlaps 198.51.100.0/24"), "{}", import.text());
    assert_eq!(networks(edge).await?, Vec::<String>::new());
    assert_eq!(add(edge, "198.51.100.7", json!({ "for": "1h", "force": true })).await?.status, 201);
    assert!(is_blocked(edge, "198.51.100.7").await?, "the blocklist comes before what is allowed");
    Ok(())
}

#[tokio::test]
async fn what_cannot_be_understood_changes_nothing_and_is_explained() -> Passed {
    let site = Site::plan().start().await?;
    let edge = &site.edges[0];
    let operate = edge.admin_as("operate")?;
    for (body, part) in [
        ("", "the body"),
        ("{", "the body"),
        (r#"{"network":"203.0.113.7"}"#, "say how long"),
        (r#"{"network":"203.0.113.7/24","for":"1h"}"#, "203.0.113.0/24"),
        (r#"{"network":"203.0.113.7","for":"1h","colour":"red"}"#, "colour"),
        (r#"{"network":"203.0.113.7","until":"2001-01-01T00:00:00Z"}"#, "over already"),
    ] {
        let answer = operate.call(Method::POST, "/blocklist", &[], body).await?;
        assert_eq!((answer.status.as_u16(), answer.code()), refused(400, "admin_request_invalid"), "{body}");
        assert!(answer.text().contains(part), "{part} in {}", answer.text());
    }
    let import = operate.call(Method::POST, "/blocklist/import", &[], "203.0.113.1\n203.0.113.300\n").await?;
    assert_eq!(import.status, 400);
    assert!(import.text().contains("list:2:1"), "{}", import.text());
    let long = operate.call(Method::POST, "/blocklist/import", &[], "#".repeat((1 << 20) + 1)).await?;
    assert_eq!((long.status.as_u16(), long.code()), refused(413, "admin_body_too_large"));
    for path in ["/blocklist?limit=0", "/blocklist?colour=red", "/blocklist?after=x", "/blocklist/history?limit=1001"] {
        assert_eq!(code_of(operate.get(path).await).await?, refused(400, "admin_request_invalid"), "{path}");
    }
    assert_eq!(networks(edge).await?, Vec::<String>::new());
    Ok(())
}

#[tokio::test]
async fn a_long_list_is_imported_at_once_and_shown_page_by_page() -> Passed {
    let site = Site::plan().edge(TRUSTING).start().await?;
    let edge = &site.edges[0];
    let lines: String =
        (0..5_000_u32).map(|number| format!("64.{}.{}.1 # flood\n", number / 250, number % 250)).collect();
    let operate = edge.admin_as("operate")?;
    let answer = operate.call(Method::POST, "/blocklist/import?for=1h&owner=soc", &[], lines.clone()).await?;
    assert_eq!(answer.json()?["added"], 5_000, "{}", answer.text());
    let (mut seen, mut after) = (0, String::new());
    loop {
        let page = operate.get(&format!("/blocklist?limit=1000{after}")).await?.json()?;
        seen += page["entries"].as_array().map_or(0, Vec::len);
        assert_eq!(page["total"], 5_000);
        let Some(next) = page["next"].as_str() else { break };
        after = format!("&after={next}");
    }
    assert_eq!(seen, 5_000);
    assert!(is_blocked(edge, "64.19.249.1").await?);
    let export = operate.get("/blocklist/export").await?.text();
    assert_eq!(export.lines().count(), 5_000);
    assert!(export.lines().all(|line| line.contains("owner=soc") && line.ends_with("# flood")));
    let again = operate.call(Method::POST, "/blocklist/import", &[], export).await?.json()?;
    assert_eq!((&again["unchanged"], &again["added"]), (&json!(5_000), &json!(0)));
    Ok(())
}
