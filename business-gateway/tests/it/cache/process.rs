//! With the real binary: applications that never meet, one call for a thousand clients, the commands.

use super::*;
use crate::support::process::Process;
use crate::support::{began_ms, took_ms};

/// A node with applications `one` and `two`, whose API keys are `one.k3y` and `two.k3y`.
async fn node(dir: &std::path::Path, origin: &Origin, cache: &str, more: &str) -> Process {
    std::fs::create_dir_all(dir.join("config")).unwrap();
    std::fs::write(dir.join("config/api"), "k3y").unwrap();
    let app =
        |key: &str| format!("[[app]]\nkey = {key:?}\napi_keys = [{{ id = \"a\", secret = {{ file = \"api\" }} }}]\n");
    let catalog = origin.catalog(cache, more) + &*app("one") + &*app("two");
    Process::start(dir, "a", &catalog, "").await
}

async fn ask(node: &Process, app: &str) -> String {
    let mut edge = Edge::connect(node.address, Protocol::Http1).await;
    let key = format!("{app}.k3y");
    let headers: &[(&str, &str)] = if app.is_empty() { &[] } else { &[("x-api-key", &key)] };
    let answer = send(&mut edge, "GET", "/shoes/7", headers).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.text()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_applications_never_see_each_others_answers_unless_that_is_declared() {
    let origin = Origin::start(&[]).await;
    let dir = tempfile::tempdir().unwrap();
    let own = node(dir.path(), &origin, "lifetime = \"1h\"", "").await;
    for (app, expected) in [("one", "1"), ("two", "2"), ("", "3"), ("one", "1"), ("two", "2"), ("", "3")] {
        assert_eq!(ask(&own, app).await, expected, "{app}");
    }
    let told: Vec<_> = origin.seen().iter().map(|seen| seen.headers.get("x-gatehouse-app").cloned()).collect();
    assert_eq!(told, [Some("one".parse().unwrap()), Some("two".parse().unwrap()), None]);

    let dir = tempfile::tempdir().unwrap();
    let shared = node(dir.path(), &origin, "lifetime = \"1h\", scope = \"shared\"", "").await;
    for app in ["one", "two", ""] {
        assert_eq!(ask(&shared, app).await, "4", "{app}");
    }
    let seen = origin.seen();
    assert!(!seen[3].headers.contains_key("x-gatehouse-app"), "what is for all is not made for one");
    assert!(!seen[3].headers.contains_key("x-api-key"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_clients_of_one_cold_key_cause_exactly_one_call() {
    let origin = Origin::start(&[]).await;
    let dir = tempfile::tempdir().unwrap();
    let node = node(dir.path(), &origin, "lifetime = \"1h\", scope = \"shared\"", "").await;
    origin.hold(true);
    let mut clients = tokio::task::JoinSet::new();
    // A stream each; half of them have the key of an application.
    for _ in 0..10 {
        let Edge::H2c(sender) = Edge::connect(node.address, Protocol::H2c).await else { panic!() };
        for number in 0..100 {
            let mut edge = Edge::H2c(sender.clone());
            clients.spawn(async move {
                let headers: &[(&str, &str)] = if number % 2 == 0 { &[("x-api-key", "one.k3y")] } else { &[] };
                send(&mut edge, "GET", "/shoes/cold", headers).await
            });
        }
    }
    until("thousand calls under way", || {
        (node.metric("gatehouse_business_requests_in_flight") == Some(1_000)).then_some(())
    })
    .await;
    assert_eq!(origin.count(), 1, "while all of them wait");
    origin.hold(false);
    for answer in clients.join_all().await {
        assert_eq!((answer.status, answer.text()), (200, "1".to_owned()));
    }
    assert_eq!(origin.count(), 1);
    let calls = |outcome: &str| {
        node.metric(&format!("gatehouse_business_cache_calls_total{{api=\"all\",outcome=\"{outcome}\"}}")).unwrap_or(0)
    };
    assert_eq!((calls("miss"), calls("collapsed") + calls("hit")), (1, 999));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_the_service_down_stale_answers_flow_for_the_declared_time_and_no_longer() {
    let origin = Origin::start(&[]).await;
    let dir = tempfile::tempdir().unwrap();
    let node = node(dir.path(), &origin, "lifetime = \"0s\", stale_if_error = \"3s\"", "").await;
    let mut edge = Edge::connect(node.address, Protocol::Http1).await;
    assert_eq!(send(&mut edge, "GET", "/shoes/7", &[]).await.text(), "1");
    origin.say(|script| script.breaks = true);
    // Both times are the gate's own, so that a slow client makes no difference.
    let deadline = tokio::time::Instant::now() + crate::support::SOON;
    while send(&mut edge, "GET", "/shoes/7", &[]).await.status == 200 {
        assert!(tokio::time::Instant::now() < deadline, "stale answers flow for ever");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    let over = node.line(|line| line["reason"] == "service_reset").await;
    let lines = node.lines();
    let stored = began_ms(&lines[0]) + took_ms(&lines[0]);
    // Of those the service was asked for one a second, and the others were spared that (`hold_off`).
    let is_stale = |line: &&serde_json::Value| line["cache"] == "stale_error" || line["cache"] == "stale";
    let stale: Vec<f64> = lines.iter().filter(is_stale).map(began_ms).collect();
    assert!(
        lines.iter().any(|line| line["cache"] == "stale_error") && stale.len() == lines.len() - 2,
        "{}",
        stale.len()
    );
    assert!(stale.iter().all(|began| *began <= stored + 3_000.0), "given after its time: {stored} {stale:?}");
    // It was decided when the service had failed, which is at the end of the call. The clock of the log counts milliseconds.
    let decided = began_ms(&over) + took_ms(&over);
    assert!(decided + 2.0 >= began_ms(&lines[0]) + 3_000.0, "refused within its time: {decided} {stored}");
    origin.say(|script| script.breaks = false);
    let deadline = tokio::time::Instant::now() + crate::support::SOON;
    while send(&mut edge, "GET", "/shoes/7", &[]).await.status != 200 {
        assert!(tokio::time::Instant::now() < deadline, "the service is not asked again");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_purge_and_show_and_leave_a_trace() {
    let origin = Origin::start(&[]).await;
    let dir = tempfile::tempdir().unwrap();
    let cache = "lifetime = \"1h\", tags = [\"kind:{kind}\", \"{rest}\"], status = \"always\"";
    let node = node(dir.path(), &origin, cache, "").await;
    let mut edge = Edge::connect(node.address, Protocol::Http1).await;
    let first = send(&mut edge, "GET", "/shoes/7", &[]).await;
    let key = first.header("cache-status").rsplit_once("key=\"").unwrap().1.trim_end_matches('"').to_owned();
    let purges: [(&[&str], &str); 5] = [
        (&["--tag", "kind:shoes"], "tag kind:shoes is purged\n"),
        (&["--tag", "7"], "tag 7 is purged\n"),
        (&["--api", "all"], "api all is purged\n"),
        (&["--key", &key], &format!("key {key} is purged\n")),
        (&["--all"], "everything is purged\n"),
    ];
    for (number, (arguments, said)) in purges.iter().enumerate() {
        let kept = (number + 1).to_string();
        assert_eq!(send(&mut edge, "GET", "/shoes/7", &[]).await.text(), kept);
        let other = node.command(&["cache", "purge", "--tag", "kind:hats"]);
        assert_eq!(other.code, Some(0), "{other:?}");
        assert_eq!(send(&mut edge, "GET", "/shoes/7", &[]).await.text(), kept);
        let purged = node.command(&[&["cache", "purge"][..], arguments].concat());
        assert_eq!((purged.code, purged.out.as_str()), (Some(0), *said), "{purged:?}");
        assert_eq!(send(&mut edge, "GET", "/shoes/7", &[]).await.text(), (number + 2).to_string());
    }
    let stats = node.command(&["cache", "stats"]);
    let lines: Vec<&str> = stats.out.lines().collect();
    assert!(lines[0].starts_with("memory\t") && lines[0].ends_with("\t10 purges"), "{stats:?}");
    assert_eq!(lines[1], "api\tall\t10 hit\t6 miss\t6 stored", "{stats:?}");
    assert_eq!(node.audited(), ["cache.purge"; 10]);
    for wrong in [&["--tag", "a b"][..], &["--key", "xyz"], &["--api", ""]] {
        let refused = node.command(&[&["cache", "purge"][..], wrong].concat());
        assert_eq!(refused.code, Some(1), "{refused:?}");
    }
    for wrong in [&[][..], &["--all", "--tag", "a"]] {
        assert_eq!(node.command(&[&["cache", "purge"][..], wrong].concat()).code, Some(2));
    }
}

#[test]
fn what_does_not_fit_a_node_is_found_by_check() {
    let dir = tempfile::tempdir().unwrap();
    let check = |cache: &str| {
        let catalog = format!(
            "[[service]]\nname = \"s\"\nendpoints = [\"127.0.0.1:9\"]\n[[api]]\nname = \"a\"\nservice = \"s\"\npath = \"/\"\n\
             cache = {{ lifetime = \"1s\", {cache} }}\n"
        );
        std::fs::write(dir.path().join("catalog.toml"), catalog).unwrap();
        std::fs::write(dir.path().join("hop.key"), crate::support::client::HOP_SECRET).unwrap();
        let business =
            "[hop]\nkeys = [{ id = \"a\", secret = { file = \"hop.key\" } }]\n[cache]\nmemory_max = \"16MiB\"\n";
        std::fs::write(dir.path().join("business.toml"), business).unwrap();
        let command = std::process::Command::new(env!("CARGO_BIN_EXE_business-gateway"))
            .args(["check", "--config"])
            .arg(dir.path())
            .output()
            .unwrap();
        (command.status.code(), String::from_utf8(command.stderr).unwrap())
    };
    assert_eq!(check("answer_max = \"1MiB\"").0, Some(0));
    let large = check("answer_max = \"2MiB\"");
    assert!(large.0 == Some(64) && large.1.contains("larger than a sixteenth of cache.memory_max"), "{large:?}");
    let fleet = check("fleet = true");
    assert!(fleet.0 == Some(64) && fleet.1.contains("there is no store that the fleet shares"), "{fleet:?}");
}

#[test]
fn a_rewrite_that_tells_callers_apart_who_share_answers_is_found_by_check() {
    let dir = tempfile::tempdir().unwrap();
    let catalog = "[[service]]\nname = \"s\"\nendpoints = [\"127.0.0.1:9\"]\n\
                   [[api]]\nname = \"prices\"\nservice = \"s\"\npath = \"/prices\"\n\
                   cache = { lifetime = \"1m\", scope = \"shared\", key = { query = [\"page\"] } }\n\
                   [api.rewrite]\nquery.set.page = \"{query.page}\"\nheaders.set.x-shop = \"{app.key}\"\n\
                   headers.set.x-from = \"{client.address}\"\nheaders.add.x-session = \"{cookie.session}\"\n";
    std::fs::write(dir.path().join("catalog.toml"), catalog).unwrap();
    std::fs::write(dir.path().join("hop.key"), crate::support::client::HOP_SECRET).unwrap();
    let business = "[hop]\nkeys = [{ id = \"a\", secret = { file = \"hop.key\" } }]\n";
    std::fs::write(dir.path().join("business.toml"), business).unwrap();
    let check = || {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_business-gateway"));
        let output = command.args(["check", "--config"]).arg(dir.path()).output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let (code, errors) = check();
    let found: Vec<&str> = errors.lines().filter(|line| line.contains("catalog.toml:")).map(str::trim_start).collect();
    let expected = [
        "catalog.toml:11:22: {app.key} is not in the key of the cache: an answer for one application would be given to others \
         (choose cache.scope = \"app\", or leave the value out)",
        "catalog.toml:12:22: {client.address} is not in the key of the cache: an answer for one client would be given to others \
         (remove the cache, or leave the value out)",
        "catalog.toml:13:25: {cookie.session} is not in the key of the cache: an answer for one caller would be given to others \
         (name \"session\" in cache.key.cookies, or leave the value out)",
    ];
    assert_eq!((code, found), (Some(64), expected.to_vec()), "{errors}");
    let right = catalog.replace("\"shared\"", "\"app\"").replace("{client.address}", "gate");
    std::fs::write(dir.path().join("catalog.toml"), right.replace("{cookie.session}", "{request.id}")).unwrap();
    assert_eq!(check().0, Some(0));
}
