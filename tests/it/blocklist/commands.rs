//! Every command on a real fleet, and the audit log they leave.

use std::fs;
use std::process::Output;

use super::*;

fn text(output: &Output) -> (i32, String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code().unwrap_or(-1), text(&output.stdout), text(&output.stderr))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_command_does_what_it_says() -> Passed {
    let (directory, mut redis, site) = fleet(2).await?;
    let edge = &site.edges[0];
    let run = |arguments: &[&str]| edge.command(arguments).map(|output| text(&output));
    let add =
        ["block", "add", "203.0.113.0/24", "--for", "1h", "--reason", "a flood", "--owner", "soc", "--ticket", "SEC-7"];
    let (code, out, err) = run(&add)?;
    assert_eq!((code, err.as_str()), (0, ""), "{out}");
    assert!(out.starts_with("blocked 203.0.113.0/24 until 2"), "{out}");
    let (code, _, err) = run(&add)?;
    assert_eq!(code, 1);
    assert!(err.contains("block_entry_exists") && err.contains("revision 1"), "{err}");
    let (code, _, err) = run(&["block", "add", "127.0.0.9", "--for", "1h"])?;
    assert!(code == 1 && err.contains("trusted proxy"), "{err}");
    assert_eq!(run(&["block", "add", "127.0.0.9", "--for", "1s", "--force"])?.0, 0);
    let (code, _, err) = run(&["block", "add", "192.0.2.300", "--for", "1h"])?;
    assert!(code == 2 && err.contains("is not a network"), "{code} {err}");
    assert_eq!(run(&["block", "add", "192.0.2.1"])?.0, 2, "an entry without an end has to be asked for");
    assert_eq!(run(&["block", "add", "192.0.2.1", "--permanent"])?.0, 0);
    let file = directory.path().join("drop.json");
    fs::write(&file, "{\"cidr\":\"198.51.100.0/24\",\"sblid\":\"SBL1\"}\n{\"cidr\":\"192.0.2.128/25\"}\n")?;
    let file = file.display().to_string();
    let (code, out, err) = run(&["block", "import", &file, "--for", "2h", "--owner", "drop"])?;
    assert_eq!((code, out.as_str()), (0, "2 added, 0 replaced, 0 unchanged\n"), "{err}");
    fs::write(&file, "192.0.2.200\n192.0.2.300\n")?;
    let (code, _, err) = run(&["block", "import", &file])?;
    assert!(code == 64 && err.contains(":2:1:"), "{code} {err}");
    let (_, out, _) = run(&["block", "list"])?;
    let listed =
        |out: &str| out.lines().map(|line| line.split('\t').next().unwrap_or("").to_owned()).collect::<Vec<_>>();
    let wanted = ["192.0.2.1", "192.0.2.128/25", "198.51.100.0/24", "203.0.113.0/24"];
    assert!(wanted.iter().all(|network| listed(&out).iter().any(|listed| listed == network)), "{out}");
    assert!(out.lines().any(|line| line.contains("\tsoc\tSEC-7\toperate\ta flood")), "{out}");
    let (_, out, _) = run(&["block", "export"])?;
    assert!(out.contains("198.51.100.0/24 until=") && out.contains("owner=drop # SBL1"), "{out}");
    assert_eq!(run(&["block", "remove", "192.0.2.1"])?.0, 0);
    let (code, _, err) = run(&["block", "remove", "192.0.2.1"])?;
    assert!(code == 1 && err.contains("block_entry_missing"), "{err}");
    // The history is the fleet's: the other node tells it too.
    until("the other node", SOON, async || (!is_blocked(&site.edges[1], "192.0.2.1").await.ok()?).then_some(()))
        .await?;
    let (_, out, _) = text_of(&site.edges[1], &["block", "history", "--limit", "2"])?;
    let mut lines = out.lines();
    assert!(lines.next().is_some_and(|line| line.contains("\toperate\tedge-1\t192.0.2.1\tremoved")), "{out}");
    assert!(lines.next().is_some_and(|line| line.contains("\tadded\t")), "{out}");
    redis.kill()?;
    let (code, out, err) = run(&["block", "add", "203.0.114.1", "--for", "1h"])?;
    assert!(code == 3 && out.starts_with("blocked") && err.contains("this node only"), "{code} {out} {err}");
    Ok(())
}

fn text_of(edge: &Node, arguments: &[&str]) -> anyhow::Result<(i32, String, String)> {
    edge.command(arguments).map(|output| text(&output))
}

#[tokio::test]
async fn who_is_refused_most_is_suggested_until_it_is_blocked() -> Passed {
    let site = Site::plan().edge(TRUSTING.to_owned() + "[access.deny]\nurls = [\"^/wp-login\"]\n").start().await?;
    let edge = &site.edges[0];
    let target = Target::plain(edge.address()?).from(BALANCER);
    for (client, times) in [("203.0.113.1", 7), ("203.0.113.2", 3), ("2001:db8::1", 5)] {
        for _ in 0..times {
            let request = target.request(Method::GET, "/wp-login.php")?.header("x-forwarded-for", client);
            assert_eq!(target.exchange(request.body(empty())?).await?.status, 403);
        }
    }
    let (code, out, _) = text_of(edge, &["block", "suggest"])?;
    let expected = "203.0.113.1\t7 refused\turl_denied\n2001:db8::/64\t5 refused\turl_denied\n\
                    203.0.113.2\t3 refused\turl_denied\n";
    assert_eq!((code, out.as_str()), (0, expected));
    assert_eq!(text_of(edge, &["block", "add", "203.0.113.1", "--for", "1h"])?.0, 0);
    let (_, out, _) = text_of(edge, &["block", "suggest", "--limit", "1"])?;
    assert_eq!(out, "2001:db8::/64\t5 refused\turl_denied\n");
    // A network that opens many connections, none of which brings anybody who logs in; fewer are nobody's concern.
    for number in 0..120 {
        let crawler = Target::plain(edge.address()?).from(IpAddr::from([127, 7, 7, number]));
        assert_eq!(crawler.get("/products").await?.status, 200);
        if number < 50 {
            let visitor = Target::plain(edge.address()?).from(IpAddr::from([127, 8, 8, number]));
            assert_eq!(visitor.get("/products").await?.status, 200);
        }
    }
    let (_, out, _) = text_of(edge, &["block", "suggest"])?;
    assert!(out.lines().any(|line| line == "127.7.7.0/24\t120 connections\tnobody has logged in"), "{out}");
    assert!(!out.contains("127.8.8.0/24"), "{out}");
    Ok(())
}

#[tokio::test]
async fn the_audit_log_says_who_and_what_and_shows_tampering() -> Passed {
    let mut site = Site::plan().start().await?;
    let edge = &site.edges[0];
    assert_eq!(add(edge, "203.0.113.1", json!({ "for": "1h", "reason": "first" })).await?.status, 201);
    assert_eq!(
        add(edge, "203.0.113.1", json!({ "for": "2h", "reason": "second", "replace": true })).await?.status,
        200
    );
    assert_eq!(remove(edge, "203.0.113.1").await?.status, 200);
    assert_eq!(add(edge, "203.0.113.2", json!({ "for": "1h" })).await?.status, 201);
    let path = edge.state().join("audit.jsonl");
    let log = fs::read_to_string(&path)?;
    let lines: Vec<Value> = log.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    let second = &lines[1];
    let facts = ["who", "role", "from", "node", "action", "target"].map(|name| second[name].as_str().unwrap_or(""));
    assert_eq!(facts, ["operate", "operate", "127.0.0.1", "edge-1", "blocklist.add", "203.0.113.1"]);
    assert_eq!((&second["before"]["reason"], &second["after"]["reason"]), (&json!("first"), &json!("second")));
    assert_eq!((&lines[2]["action"], &lines[2]["after"]), (&json!("blocklist.remove"), &Value::Null));
    let (code, out, _) = text_of(edge, &["audit", "verify"])?;
    assert_eq!(code, 0);
    let head = edge.admin()?.policy().await?["audit"].clone();
    assert!(out.starts_with("in order: 4 lines") && out.contains(head["hash"].as_str().unwrap_or("-")), "{out} {head}");
    let whole: Vec<&str> = log.lines().collect();
    for (tampered, part) in [
        (log.replace("second", "secret"), "line 2 has been changed"),
        ([whole[0], whole[2], whole[3], ""].join("\n"), "before line 2"),
        ([whole[0], whole[2], whole[1], whole[3], ""].join("\n"), "before line 2"),
        ([whole[0], whole[1], whole[2], ""].join("\n"), "the end is missing: 3 lines"),
    ] {
        fs::write(&path, tampered)?;
        let (code, _, err) = text_of(edge, &["audit", "verify"])?;
        assert!(code == 1 && err.contains(part), "{part} in {err}");
    }
    // A restart does not cover it up.
    site.edges[0].kill()?;
    site.edges[0].restart().await?;
    let edge = &site.edges[0];
    assert_eq!(add(edge, "203.0.113.3", json!({ "for": "1h" })).await?.status, 201);
    let (code, _, err) = text_of(edge, &["audit", "verify"])?;
    assert!(code == 1 && err.contains("before line 4 the end of the file was missing"), "{err}");
    fs::write(edge.state().join("audit.jsonl"), &log)?;
    Ok(())
}
