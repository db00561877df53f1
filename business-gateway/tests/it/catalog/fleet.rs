//! Nodes in process over a real Redis.

use business_gateway::policy::Policy;
use business_gateway::store::catalog::objects::{Objects, tag};
use business_gateway::store::revision::change::{Author, Done, Wanted};
use business_gateway::store::revision::edit::{Edit, IfMatch, Refusal};
use gatehouse_shared::admin::Role;
use gatehouse_shared::live::Live;
use gatehouse_store::catalog::{Head, SigningKeys};
use gatehouse_store::{Command, Key, Redis};
use serde_json::{Value, json};

use super::{SECRET, api, fleet_settings, service};
use crate::support::client::{BOTH, Edge};
use crate::support::redis::RedisServer;
use crate::support::service::Service;
use crate::support::{Site, catalog, until};

/// A fleet of `count` nodes that begin with the same files.
async fn fleet(count: usize) -> (tempfile::TempDir, RedisServer, Service, Vec<Site>) {
    let dir = tempfile::tempdir().unwrap();
    let redis = RedisServer::start(dir.path()).await;
    let service = Service::start().await;
    let settings = fleet_settings(&redis, dir.path());
    let mut sites = Vec::new();
    for _ in 0..count {
        sites.push(Site::with(&catalog(&[service.address], ""), &settings).await);
    }
    (dir, redis, service, sites)
}

fn revision(site: &Site) -> u64 {
    site.gateway.live.current().value.written.revision()
}

fn objects(site: &Site) -> Objects {
    site.gateway.live.current().value.written.objects.clone()
}

async fn change(site: &Site, edit: Edit, if_match: IfMatch, force: bool) -> Result<Done, Refusal> {
    let wanted = Wanted { edit, if_match, force, what: None };
    let author = Author { by: "test".to_owned(), role: Role::Operate, why: Some("a test".to_owned()) };
    site.gateway.revisions.change(&wanted, &author).await
}

async fn put(site: &Site, name: &str, path: &str) -> Result<Done, Refusal> {
    let object = api(name, "sample", path).as_object().unwrap().clone();
    let known = objects(site).get("api", name).map(|known| tag(&Value::Object(known.clone())));
    let edit = Edit::Put { kind: "api".to_owned(), name: name.to_owned(), object };
    change(site, edit, known.map_or(IfMatch::Unsaid, IfMatch::Tag), false).await
}

async fn all_at(sites: &[Site], wanted: u64) {
    for site in sites {
        until("the revision", || (revision(site) == wanted).then_some(())).await;
    }
}

/// What a node says of Redis.
fn seen(site: &Site) -> Value {
    site.gateway.revisions.status()["redis"].clone()
}

fn counted(site: &Site, line: &str) -> bool {
    let metrics = site.gateway.metrics.render();
    metrics.lines().any(|known| known == line)
}

/// Puts a document where a revision is looked for, and announces it, as somebody who may write to Redis could.
async fn plant(redis: &Redis, number: u64, keys: &SigningKeys, head: Head, document: &Value) {
    let sealed = keys.seal(head, document.to_string());
    let fields = ["head", &sealed.head, "document", &sealed.document, "key", &sealed.key, "mac", &sealed.mac];
    let _added: u64 = redis.one(Command::on("HSET", &Key::catalog_revision(number)).arg(&fields)).await.unwrap();
    announce(redis, &number.to_string()).await;
}

async fn announce(redis: &Redis, number: &str) {
    let _set: String = redis.one(Command::on("SET", &Key::catalog()).arg(number)).await.unwrap();
}

fn keys() -> SigningKeys {
    SigningKeys::from_secrets(&[("a", SECRET.as_bytes())])
}

fn head(revision: u64) -> Head {
    Head { revision, by: "somebody".to_owned(), ..Head::default() }
}

#[tokio::test]
async fn a_change_through_one_node_is_in_force_on_all() {
    let (_dir, _redis, _service, sites) = fleet(3).await;
    let done = put(&sites[0], "new", "/new").await.unwrap();
    assert_eq!(done.head.unwrap().revision, 1);
    assert_eq!(revision(&sites[0]), 1, "in force where it was made, when the call returns");
    all_at(&sites, 1).await;
    for site in &sites {
        let mut edge = Edge::connect(site.address, BOTH[0]).await;
        assert_eq!(edge.get("/new").await.status, 200);
        site.line(|line| line["api"] == "new").await;
    }
    assert!(counted(&sites[1], "gatehouse_business_catalog_accepted_total 1"));
    assert!(counted(&sites[1], "gatehouse_business_catalog_revision 1"));

    // Two nodes change different objects at the same time: neither change is lost.
    let (first, second) = tokio::join!(put(&sites[1], "left", "/left"), put(&sites[2], "right", "/right"));
    let numbers = [first, second].map(|done| done.unwrap().head.unwrap().revision);
    assert!(numbers.contains(&2) && numbers.contains(&3), "{numbers:?}");
    all_at(&sites, 3).await;
    for site in &sites {
        assert!(objects(site).get("api", "left").is_some() && objects(site).get("api", "right").is_some());
    }
    // Two change the same one: the later of them hears of it.
    let old = tag(&Value::Object(objects(&sites[0]).get("api", "left").unwrap().clone()));
    put(&sites[0], "left", "/left/again").await.unwrap();
    let edit = Edit::Delete { kind: "api".to_owned(), name: "left".to_owned() };
    let lost = change(&sites[1], edit, IfMatch::Tag(old), false).await;
    assert!(matches!(lost, Err(Refusal::ConditionFailed(Some(_)))), "{lost:?}");
}

#[tokio::test]
async fn history_tells_what_was_and_rollback_brings_it_back() {
    let (_dir, _redis, _service, sites) = fleet(2).await;
    put(&sites[0], "one", "/one").await.unwrap();
    put(&sites[0], "one", "/other").await.unwrap();
    all_at(&sites, 2).await;
    let revisions = &sites[1].gateway.revisions;
    let history = revisions.history(10).await.unwrap();
    let told: Vec<(u64, String)> = history.into_iter().map(|(number, head)| (number, head.unwrap().what)).collect();
    assert_eq!(told, [(2, "put api one".to_owned()), (1, "put api one".to_owned())]);
    let old = revisions.revision(1).await.unwrap();
    assert_eq!(old.objects.get("api", "one").unwrap()["path"], "/one");
    let edit = Edit::Replace(old.objects);
    let known = tag(&objects(&sites[1]).to_json());
    assert!(matches!(change(&sites[1], edit.clone(), IfMatch::Unsaid, false).await, Err(Refusal::ConditionMissing(_))));
    change(&sites[1], edit, IfMatch::Tag(known), false).await.unwrap();
    all_at(&sites, 3).await;
    assert_eq!(objects(&sites[0]).get("api", "one").unwrap()["path"], "/one");
    assert!(matches!(revisions.revision(9).await, Err(Refusal::NoRevision(9))));
}

#[tokio::test]
async fn what_is_forged_replayed_or_wrong_is_refused_counted_and_shown() {
    let (_dir, redis, _service, sites) = fleet(1).await;
    let site = &sites[0];
    put(site, "one", "/one").await.unwrap();
    let first = objects(site).to_json();
    put(site, "two", "/two").await.unwrap();
    let client = redis.client();
    let refused = |number: u64| {
        until("a refusal", move || {
            let refused = seen(site)["refused"].clone();
            (refused["revision"] == number).then(|| refused["errors"][0].as_str().unwrap().to_owned())
        })
    };
    let counts = |reason: &str| format!("gatehouse_business_catalog_refused_total{{reason=\"{reason}\"}} 1");

    let strangers = SigningKeys::from_secrets(&[("a", b"another key, also 32 bytes or more than that")]);
    plant(&client, 9, &strangers, head(9), &first).await;
    assert!(refused(9).await.contains("its signature does not fit"));
    assert!(counted(site, &counts("signature")));

    plant(&client, 10, &keys(), head(1), &first).await;
    assert_eq!(refused(10).await, "it is revision 1, stored under another number");

    let wrong = json!({ "api": [api("a", "nobody", "no slash")], "colour": [] });
    plant(&client, 11, &keys(), head(11), &wrong).await;
    assert!(refused(11).await.contains("colour: no kind \"colour\""));
    let wrong = json!({ "api": [api("a", "nobody", "no slash")] });
    plant(&client, 12, &keys(), head(12), &wrong).await;
    assert!(refused(12).await.starts_with("api[0].path: \"no slash\" is not a path"));
    assert!(counted(site, &counts("invalid")));

    announce(&client, "13").await;
    assert_eq!(refused(13).await, "it is announced and not there");
    announce(&client, "many").await;
    assert!(refused(0).await.contains("\"many\" is no revision of the catalog"));
    announce(&client, "1").await;
    until("that Redis is behind", || (seen(site)["is_behind"] == true).then_some(())).await;
    assert!(counted(site, &counts("older")));

    assert_eq!(revision(site), 2);
    let mut edge = Edge::connect(site.address, BOTH[1]).await;
    assert_eq!((edge.get("/one").await.status, edge.get("/two").await.status), (200, 200));

    // What a holder of the key signs is accepted, by whichever way it comes there.
    plant(&client, 14, &keys(), head(14), &first).await;
    all_at(&sites, 14).await;
    assert_eq!(seen(site)["refused"], Value::Null);
}

#[tokio::test]
async fn a_fleet_keeps_its_catalog_when_redis_loses_it_until_an_operator_brings_it_back() {
    let (_dir, redis, _service, sites) = fleet(2).await;
    put(&sites[0], "one", "/one").await.unwrap();
    all_at(&sites, 1).await;
    let flush = Command::script("return redis.call('FLUSHALL')", &[&Key::catalog()]);
    redis.client().one::<String>(flush).await.unwrap();
    for site in &sites {
        until("that Redis is behind", || (seen(site)["is_behind"] == true).then_some(())).await;
        assert_eq!(revision(site), 1);
    }
    let lost = put(&sites[0], "two", "/two").await;
    let Err(Refusal::Behind { redis: None, node: 1 }) = lost else { panic!("{lost:?}") };
    change(&sites[0], Edit::Republish, IfMatch::Unsaid, true).await.unwrap();
    all_at(&sites, 2).await;
    put(&sites[1], "two", "/two").await.unwrap();
    all_at(&sites, 3).await;
    assert!(objects(&sites[0]).get("api", "one").is_some());

    // A number that nobody has signed does not count.
    announce(&redis.client(), "9007199254740000").await;
    change(&sites[0], Edit::Republish, IfMatch::Unsaid, true).await.unwrap();
    all_at(&sites, 4).await;
}

#[tokio::test]
async fn a_node_starts_with_its_last_good_catalog_while_redis_is_away() {
    let (_dir, mut redis, _service, sites) = fleet(1).await;
    let site = &sites[0];
    put(site, "one", "/one").await.unwrap();
    redis.kill();
    std::fs::remove_file(site.config().join("catalog.toml")).unwrap();
    let again = Live::<Policy>::start(site.config()).unwrap();
    assert_eq!(again.current().value.written.revision(), 1);
    assert!(again.current().value.catalog.apis.iter().any(|api| &*api.name == "one"));
    let away = put(site, "two", "/two").await;
    assert!(matches!(away, Err(Refusal::Store(_))), "{away:?}");
    assert_eq!(objects(site).get("api", "two"), None, "what is not stored is not in force");

    // A file that somebody has edited is not believed.
    let kept = site.dir.path().join("state/catalog.json");
    let text = std::fs::read_to_string(&kept).unwrap();
    std::fs::write(&kept, text.replace("/one", "/two")).unwrap();
    let errors = Live::<Policy>::start(site.config()).err().unwrap().to_string();
    assert!(errors.contains("its document is not the one that was signed"), "{errors}");
    assert_eq!(revision(site), 1);
    site.gateway.live.reload();
    assert_eq!(revision(site), 1);
    std::fs::write(&kept, text).unwrap();

    redis.restart().await;
    until("that Redis is behind", || (seen(site)["is_behind"] == true).then_some(())).await;
    let republished = async || change(site, Edit::Republish, IfMatch::Unsaid, true).await.is_ok();
    let deadline = tokio::time::Instant::now() + crate::support::SOON;
    while !republished().await {
        assert!(tokio::time::Instant::now() < deadline, "the store stays away");
    }
    put(site, "two", "/two").await.unwrap();
}

#[tokio::test]
async fn only_so_many_revisions_are_kept_and_only_so_large_ones() {
    let dir = tempfile::tempdir().unwrap();
    let redis = RedisServer::start(dir.path()).await;
    let backend = Service::start().await;
    let more = "history = 3\ndocument_max = \"1KiB\"\n";
    let settings = format!("{}{more}", fleet_settings(&redis, dir.path()));
    let site = Site::with(&catalog(&[backend.address], ""), &settings).await;
    for number in 1..=5 {
        put(&site, "one", &format!("/{number}")).await.unwrap();
    }
    let kept = site.gateway.revisions.history(10).await.unwrap();
    assert_eq!(kept.iter().map(|(number, _)| *number).collect::<Vec<_>>(), [5, 4, 3]);
    assert!(matches!(site.gateway.revisions.revision(2).await, Err(Refusal::NoRevision(2))));
    let long = put(&site, "long", &format!("/{}", "x".repeat(1_024))).await;
    assert!(matches!(long, Err(Refusal::TooLarge(..))), "{long:?}");
    let large = json!({ "service": [service("s", backend.address)], "api": [api("a", "s", &"/x".repeat(600))] });
    plant(&redis.client(), 6, &keys(), head(6), &large).await;
    until("a refusal", || (seen(&site)["refused"]["revision"] == 6).then_some(())).await;
    assert_eq!(revision(&site), 5);
}

#[tokio::test]
async fn two_nodes_rotate_their_signing_keys() {
    let (dir, redis, service, sites) = fleet(1).await;
    put(&sites[0], "one", "/one").await.unwrap();
    let new = dir.path().join("new.key");
    std::fs::write(&new, "the next signing key of the fleet, 32 bytes or more").unwrap();
    let keys = |first: &str, second: &str| {
        let key = |id: &str| {
            let file = if id == "a" { "catalog.key" } else { "new.key" };
            format!("{{ id = \"{id}\", secret = {{ file = \"{}\" }} }}", dir.path().join(file).display())
        };
        format!("{}[catalog]\nsigning_keys = [{}, {}]\npoll = \"50ms\"\n", redis.toml(), key(first), key(second))
    };
    let ahead = Site::with(&catalog(&[service.address], ""), &keys("b", "a")).await;
    until("the revision", || (revision(&ahead) == 1).then_some(())).await;
    put(&ahead, "two", "/two").await.unwrap();
    until("a refusal", || (seen(&sites[0])["refused"]["revision"] == 2).then_some(())).await;
    let text = std::fs::read_to_string(sites[0].config().join("business.toml")).unwrap();
    let (before, _) = text.split_once("[store]").unwrap();
    sites[0].write("business.toml", &format!("{before}{}", keys("a", "b")));
    sites[0].gateway.live.reload();
    all_at(&sites, 2).await;
    assert_eq!(sites[0].gateway.live.current().value.written.head().unwrap().by, "test");
}
