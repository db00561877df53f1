//! With the real binary: applications that never meet, one call for a thousand clients, the commands.

use super::*;
use crate::support::process::Process;

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
    let node = node(dir.path(), &origin, "lifetime = \"1h\"", "").await;
    origin.hold(true);
    let mut clients = tokio::task::JoinSet::new();
    for number in 0..1_000 {
        let address = node.address;
        clients.spawn(async move {
            let mut edge = Edge::connect(address, Protocol::Http1).await;
            let app = if number % 2 == 0 { "one.k3y" } else { "" };
            let headers: &[(&str, &str)] = if app.is_empty() { &[] } else { &[("x-api-key", app)] };
            send(&mut edge, "GET", "/shoes/cold", headers).await
        });
    }
    // One for the application, and one for those without.
    origin.until_asked(2).await;
    origin.hold(false);
    for answer in clients.join_all().await {
        assert_eq!(answer.status, 200, "{answer:?}");
    }
    assert_eq!(origin.count(), 2);
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
