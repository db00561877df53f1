//! Splits: who goes where, what is seen of it, and changing it while calls are served.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use serde_json::Value;

use crate::support::Site;
use crate::support::client::{Answer, BOTH, Edge, Protocol, empty, request};
use crate::support::process::Process;
use crate::support::redis::RedisServer;
use crate::support::service::Service;
use crate::support::until;

/// An API whose calls a split divides by the cookie `uid`; `more` goes to the `[[split]]`.
fn catalog(old: SocketAddr, new: SocketAddr, more: &str) -> String {
    format!(
        "[[service]]\nname = \"old\"\nendpoints = [\"{old}\"]\n[[service]]\nname = \"new\"\nendpoints = [\"{new}\"]\n\
         [[api]]\nname = \"orders\"\naccess = \"open\"\nschemes = []\nservice = \"old\"\npath = \"/{{*rest}}\"\nsplit = \"canary\"\n\
         [[split]]\nname = \"canary\"\nkey = \"cookie:uid\"\nanswer_header = \"x-branch\"\n{more}\n"
    )
}

/// 5 % of uids go to the new service.
const FIVE: &str = "branches = [{ name = \"canary\", service = \"new\", headers = { x-variant = \"b\" }, tags = { test = \"t1\" } }]\n\
    levels = [{ uids = [\"boss\"], branch = \"canary\" }, { percent = 5, branch = \"canary\" }]\n";

async fn call(edge: &mut Edge, uid: &str, target: &str) -> Answer {
    let cookie = format!("uid={uid}");
    edge.exchange(request("GET", target).header("cookie", cookie).body(empty()).unwrap()).await
}

/// The value of a metric with these labels.
fn metric(text: &str, name: &str, labels: &str) -> u64 {
    let line = text.lines().find(|line| line.starts_with(&format!("{name}{{{labels}}}")));
    line.map_or(0, |line| line.rsplit(' ').next().unwrap().parse().unwrap())
}

#[tokio::test]
async fn the_branch_is_in_the_log_in_the_answer_in_the_metrics_and_at_the_service() {
    let (old, new) = (Service::start().await, Service::start().await);
    let site = Site::start(&catalog(old.address, new.address, FIVE)).await;
    let mut edge = Edge::connect(site.address, Protocol::Http1).await;

    // The service decides by the first bytes of a connection whether to misbehave.
    assert_eq!(call(&mut edge, "boss", "/raw/garbage").await.status, 502);
    let answer = call(&mut edge, "boss", "/a").await;
    assert_eq!((answer.status, answer.header("x-branch")), (200, "canary"));
    assert!(answer.text().contains("[\"x-variant\",\"b\"]"), "{}", answer.text());
    let line = site.line(|line| line["path"] == "/a").await;
    assert_eq!(
        (&line["split"], &line["branch"], &line["split_level"]),
        (&"canary".into(), &"canary".into(), &1.into())
    );
    assert_eq!((&line["service"], &line["tags"]), (&"new".into(), &serde_json::json!(["test=t1"])));

    // Nobody, and somebody whom no level takes.
    let answer = edge.get("/b").await;
    assert_eq!((answer.status, answer.header("x-branch")), (200, "default"));
    assert!(!answer.text().contains("x-variant"));
    let line = site.line(|line| line["path"] == "/b").await;
    assert_eq!((&line["branch"], &line["service"], line.get("split_level")), (&"default".into(), &"old".into(), None));

    for (target, status) in [("/status?of=500", 500), ("/status?of=404", 404)] {
        assert_eq!(call(&mut edge, "boss", target).await.status, status);
    }
    let text = until("counted calls", || {
        let text = site.gateway.metrics.render();
        let labels = "branch=\"canary\",split=\"canary\"";
        (metric(&text, "gatehouse_business_split_requests_total", labels) == 4).then_some(text)
    });
    let text = text.await;
    let canary = "branch=\"canary\",split=\"canary\"";
    assert_eq!(metric(&text, "gatehouse_business_split_errors_total", canary), 2, "404 is the caller's mistake");
    assert_eq!(metric(&text, "gatehouse_business_split_seconds_count", canary), 4);
    let usual = "branch=\"default\",split=\"canary\"";
    assert_eq!(metric(&text, "gatehouse_business_split_requests_total", usual), 1);
    assert_eq!(metric(&text, "gatehouse_business_split_errors_total", usual), 0);
}

/// Who of the first so many uids goes to the canary.
async fn who(address: SocketAddr, uids: usize) -> Vec<usize> {
    let mut edge = Edge::connect(address, Protocol::Http1).await;
    let mut found = Vec::new();
    for uid in 0..uids {
        let answer = call(&mut edge, &format!("u{uid}"), "/").await;
        assert_eq!(answer.status, 200);
        if answer.header("x-branch") == "canary" {
            found.push(uid);
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_canary_grows_by_command_on_every_node_and_moves_nobody_else() {
    const UIDS: usize = 1_000;
    let (old, new) = (Service::start().await, Service::start().await);
    let dir = tempfile::tempdir().unwrap();
    let redis = RedisServer::start(&dir.path().join("redis")).await;
    let key = dir.path().join("catalog.key");
    std::fs::write(&key, "a signing key of the fleet, 32 bytes or more").unwrap();
    let settings = format!(
        "{}[catalog]\nsigning_keys = [{{ id = \"a\", secret = {{ file = \"{}\" }} }}]\npoll = \"50ms\"\n",
        redis.toml(),
        key.display()
    );
    let catalog = catalog(old.address, new.address, FIVE);
    let first = Process::start(&dir.path().join("a"), "a", &catalog, &settings).await;
    assert_eq!(first.command(&["catalog", "import"]).code, Some(0));
    let second = Process::start(&dir.path().join("b"), "b", &catalog, &settings).await;

    let five = who(first.address, UIDS).await;
    assert!((25..=80).contains(&five.len()), "{}", five.len());
    assert_eq!(who(second.address, UIDS).await, five, "the same on every node");

    let set = second.command(&["split", "set", "api=orders", "canary=10%", "--why", "five look well"]);
    assert_eq!((set.code, &*set.out), (Some(0), "canary: canary 10 % (was 5 %) (revision 2)\n"), "{set:?}");
    let levels = || first.command(&["split", "show", "canary"]).out.contains("level\t2\t10 %\tcanary").then_some(());
    until("node that has taken the change over", levels).await;
    let ten = who(first.address, UIDS).await;
    assert!(ten.len() > five.len() && five.iter().all(|uid| ten.contains(uid)), "nobody leaves a branch that grows");
    assert_eq!(who(second.address, UIDS).await, ten);

    assert_eq!(first.command(&["split", "set", "canary", "canary=0%"]).code, Some(0));
    assert_eq!(who(first.address, UIDS).await, Vec::<usize>::new());
    let history = first.command(&["split", "history", "canary"]);
    let lines: Vec<&str> = history.out.lines().collect();
    assert!(lines[0].starts_with("3\t") && lines[0].contains("\tchanged\t"), "{history:?}");
    assert_eq!(lines[1], "\tlevels[1].percent\t10\t0", "{history:?}");
    assert!(lines[2].starts_with("2\t") && lines[2].ends_with("\tb\tchanged\tfive look well"), "{history:?}");
    assert_eq!(lines[3], "\tlevels[1].percent\t5\t10", "{history:?}");
    assert!(lines[4].starts_with("1\t") && lines[4].contains("\tadded\t"), "{history:?}");
    assert!(second.audited().contains(&"catalog.put".to_owned()));
}

/// Where a uid has its place, as docs/CANARY.md says that anybody can compute it.
fn place(uid: &str) -> u64 {
    let hash = ring::digest::digest(&ring::digest::SHA256, format!("canary/canary/{uid}").as_bytes());
    u64::from_be_bytes(hash.as_ref()[..8].try_into().unwrap()) % 1_000_000
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_percent_of_a_hundred_thousand_uids_go_to_the_canary_always_the_same_ones() {
    const CALLED: usize = 2_000;
    let is_in = |uid: &usize| place(&format!("u{uid}")) < 50_000;
    let share = (0..100_000).filter(is_in).count();
    assert!((4_700..=5_300).contains(&share), "{share} of 100,000");
    // What the gate does is what was computed, uid by uid; so it need not be called a hundred thousand times.
    let (old, new) = (Service::start().await, Service::start().await);
    let dir = tempfile::tempdir().unwrap();
    let mut node = Process::start(dir.path(), "a", &catalog(old.address, new.address, FIVE), "").await;
    let computed: Vec<usize> = (0..CALLED).filter(is_in).collect();
    assert_eq!(who(node.address, CALLED).await, computed);
    node.restart().await;
    assert_eq!(who(node.address, CALLED).await, computed, "and stays so while the rule stands");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changing_a_split_under_load_fails_no_call_and_nobody_jumps_back_and_forth() {
    let (old, new) = (Service::start().await, Service::start().await);
    let dir = tempfile::tempdir().unwrap();
    let node = Process::start(dir.path(), "a", &catalog(old.address, new.address, ""), "").await;
    // The split stands in catalog.d, where the API writes it.
    let text = std::fs::read_to_string(dir.path().join("config/catalog.toml")).unwrap();
    let (rest, split) = text.split_at(text.find("[[split]]").unwrap());
    let separate = format!(
        "{}{}",
        split.trim_end(),
        "\nbranches = [{ name = \"canary\", service = \"new\" }]\nlevels = [{ percent = 0, branch = \"canary\" }]\n"
    );
    std::fs::create_dir(dir.path().join("config/catalog.d")).unwrap();
    std::fs::write(dir.path().join("config/catalog.d/split.canary.toml"), separate).unwrap();
    std::fs::write(dir.path().join("config/catalog.toml"), rest).unwrap();
    let listed = || node.command(&["split", "show", "canary"]).out.contains("level\t1\t0 %\tcanary").then_some(());
    until("split in catalog.d", listed).await;

    let (is_over, served) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let callers: Vec<_> = [BOTH[0], BOTH[1], BOTH[0], BOTH[1]]
        .into_iter()
        .enumerate()
        .map(|(caller, protocol)| {
            let (address, is_over, served) = (node.address, Arc::clone(&is_over), Arc::clone(&served));
            tokio::spawn(async move {
                let mut edge = Edge::connect(address, protocol).await;
                let mut jumps = 0;
                let mut before = "default".to_owned();
                while !is_over.load(Ordering::Relaxed) {
                    let answer = call(&mut edge, &format!("caller-{caller}"), "/x").await;
                    assert_eq!(answer.status, 200, "{}", answer.text());
                    let branch = answer.header("x-branch").to_owned();
                    jumps += usize::from(branch != before);
                    before = branch;
                    served.fetch_add(1, Ordering::Relaxed);
                }
                (jumps, before)
            })
        })
        .collect();
    for percent in (0..=100).step_by(5) {
        let before = served.load(Ordering::Relaxed);
        let set = node.command(&["split", "set", "canary", &format!("canary={percent}%")]);
        assert_eq!(set.code, Some(0), "{set:?}");
        until("calls after a change", || (served.load(Ordering::Relaxed) > before + 8).then_some(())).await;
    }
    is_over.store(true, Ordering::Relaxed);
    for caller in callers {
        let (jumps, last) = caller.await.unwrap();
        assert_eq!((jumps, &*last), (1, "canary"), "each moves once while the share grows from nothing to all");
    }
    assert_eq!(node.audited().len(), 20, "every change but the first, which changed nothing");
    let history = node.command(&["split", "history", "canary", "--limit", "2"]);
    assert!(history.out.contains("\tlevels[0].percent\t95\t100\n"), "{history:?}");
    assert_eq!(history.out.lines().count(), 4, "{history:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn show_compares_branches_and_set_says_what_it_cannot_do() {
    let (old, new) = (Service::start().await, Service::start().await);
    let dir = tempfile::tempdir().unwrap();
    let node = Process::start(dir.path(), "a", &catalog(old.address, new.address, FIVE), "").await;
    let mut edge = Edge::connect(node.address, Protocol::Http1).await;
    for _ in 0..3 {
        assert_eq!(call(&mut edge, "boss", "/").await.status, 200);
    }
    assert_eq!(call(&mut edge, "boss", "/status?of=503").await.status, 503);
    assert_eq!(edge.get("/").await.status, 200);

    let shown = until("counted calls", || {
        let shown = node.command(&["split", "show", "api=orders"]);
        shown.out.contains("branch\tcanary\tnew\t4\t1\t25.00\t").then_some(shown)
    });
    let shown = shown.await.out;
    let lines: Vec<&str> = shown.lines().collect();
    assert!(lines[0].starts_with("split\tcanary\tby cookie:uid\tof orders\tsince 20"), "{shown}");
    assert_eq!(lines[1], "level\t1\tuid among 1\tcanary");
    assert_eq!(lines[2], "level\t2\t5 %\tcanary");
    assert!(lines[4].starts_with("branch\tdefault\tthat of the API\t1\t0\t0.00\t"), "{shown}");
    assert_eq!(node.command(&["split", "list"]).out, "canary\tby cookie:uid\tdefault,canary\torders\n");

    let in_file = node.command(&["split", "set", "canary", "canary=7.5%"]);
    assert_eq!(in_file.code, Some(1));
    let file = dir.path().join("config/catalog.toml");
    let expected = format!("the split \"canary\" stands in {}, which people edit. Write there:", file.display());
    assert!(in_file.error.contains(&expected), "{in_file:?}");
    assert!(in_file.error.contains("level 2 (branch \"canary\"): percent = 7.5   # now 5"), "{in_file:?}");
    for (arguments, expected) in [
        (["split", "set", "nope", "a=1%"], "there is no split \"nope\""),
        (["split", "set", "api=nope", "a=1%"], "there is no api \"nope\""),
        (["split", "set", "canary", "default=1%"], "no level gives the branch \"default\" a share"),
        (["split", "set", "canary", "canary=101%"], "a share is 0% to 100%"),
    ] {
        let refused = node.command(&arguments);
        assert!(refused.code != Some(0) && refused.error.contains(expected), "{refused:?}");
    }
    assert!(node.audited().is_empty());
}

/// The JSON of a uid file test: what `check` says of the configuration in `dir`.
fn check(dir: &Path) -> (Option<i32>, String) {
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_business-gateway"))
        .args(["check", "--config"])
        .arg(dir)
        .output()
        .unwrap();
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_of_uids_counts_and_is_read_again_when_it_changes() {
    let (old, new) = (Service::start().await, Service::start().await);
    let more = "branches = [{ name = \"canary\", service = \"new\" }]\nlevels = [{ uid_file = \"beta.txt\", branch = \"canary\" }]\n";
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("config");
    std::fs::create_dir_all(&config).unwrap();
    std::fs::write(config.join("beta.txt"), "# beta users\nann\n").unwrap();
    let node = Process::start(dir.path(), "a", &catalog(old.address, new.address, more), "").await;
    let mut edge = Edge::connect(node.address, Protocol::Http1).await;
    assert_eq!(call(&mut edge, "ann", "/").await.header("x-branch"), "canary");
    assert_eq!(call(&mut edge, "bob", "/").await.header("x-branch"), "default");
    std::fs::write(config.join("beta.txt"), "# beta users\nbob\n").unwrap();
    let deadline = tokio::time::Instant::now() + crate::support::SOON;
    while call(&mut edge, "bob", "/").await.header("x-branch") != "canary" {
        assert!(tokio::time::Instant::now() < deadline, "the file is not read again");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    assert_eq!(call(&mut edge, "ann", "/").await.header("x-branch"), "default");
    std::fs::write(config.join("beta.txt"), "bob\ntwo words\n").unwrap();
    let (code, errors) = check(&config);
    assert_eq!(code, Some(64));
    assert!(errors.contains("beta.txt:2:1: blanks or control characters in a uid"), "{errors}");
    assert_eq!(call(&mut edge, "bob", "/").await.header("x-branch"), "canary", "what is wrong is never loaded");
}

#[test]
fn the_schema_knows_splits() {
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_business-gateway"))
        .args(["schema", "catalog"])
        .output()
        .unwrap();
    let schema: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(schema.pointer("/properties/split").is_some() && schema.to_string().contains("uid_suffixes"));
}
