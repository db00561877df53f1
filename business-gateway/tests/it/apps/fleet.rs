//! Three nodes and one Redis.

use std::sync::Arc;

use gatehouse_shared::live::ReloadOutcome;
use gatehouse_store::app::{RecordKind, RedisApps};
use gatehouse_store::{Command, Key};

use super::*;

#[tokio::test]
async fn a_new_application_is_known_everywhere_as_soon_as_it_is_handed_out() {
    let nodes = Nodes::start(3, "").await;
    let apps = |node: usize| &nodes.sites[node].gateway.apps;
    for site in &nodes.sites {
        assert_eq!(look(site, "chosen").await, "UNKNOWN");
    }
    let (chosen, _) = apps(0).create(Some("chosen".to_owned()), named("chosen")).await.unwrap();
    let (made, secret) = apps(1).create(None, named("made")).await.unwrap();
    for site in &nodes.sites {
        assert_eq!((look(site, "chosen").await, look(site, &made.key).await), ("chosen".to_owned(), "made".to_owned()));
    }
    let Lookup::Found(app) = apps(2).find(&made.key, clock::now()).await else { panic!("gone") };
    assert_eq!(app.secrets[0].expose(), secret.clear.as_bytes());
    assert_eq!((chosen.version, app.version), (1, 1));
    // Nothing of it stands in Redis in clear.
    let stored = RedisApps::new(Arc::new(nodes.redis.client())).read(RecordKind::App, &made.key).await.unwrap();
    let bytes = stored.record.unwrap();
    assert!(!bytes.windows(4).any(|window| window == b"made" || window == &secret.clear.as_bytes()[..4]));
}

#[tokio::test]
async fn a_change_reaches_every_node() {
    let nodes = Nodes::start(3, "").await;
    let apps = |node: usize| &nodes.sites[node].gateway.apps;
    apps(0).create(Some("shop".to_owned()), named("shop")).await.unwrap();
    for site in &nodes.sites {
        assert_eq!(look(site, "shop").await, "shop");
    }
    let disable = |record: &mut Record| {
        record.status = Status::Disabled;
        Ok(())
    };
    let start = clock::now();
    let (done, ()) = apps(1).change("shop", Some(1), disable).await.unwrap();
    assert_eq!(done.version, 2);
    for site in &nodes.sites {
        wait("refusal", async || (look(site, "shop").await == "DISABLED").then_some(())).await;
    }
    eprintln!("disabled_everywhere_ms = {}", start.elapsed().as_millis());
    let stale = apps(2).change("shop", Some(1), |_record| Ok(())).await;
    assert!(stale.unwrap_err().to_string().contains("version is 2"));
    apps(2).remove("shop", None).await.unwrap();
    for site in &nodes.sites {
        wait("removal", async || (look(site, "shop").await == "UNKNOWN").then_some(())).await;
    }
    let (again, _) = apps(0).create(Some("shop".to_owned()), named("again")).await.unwrap();
    assert_eq!(again.version, 4, "versions go on");
    for site in &nodes.sites {
        assert_eq!(look(site, "shop").await, "again");
    }
}

#[tokio::test]
async fn a_node_cut_off_from_the_store_says_that_it_does_not_know() {
    let mut nodes = Nodes::start(1, "").await;
    let site = &nodes.sites[0];
    let (made, _) = site.gateway.apps.create(None, named("made")).await.unwrap();
    assert_eq!(look(site, &made.key).await, "made");
    assert_eq!(look(site, "unknown").await, "UNKNOWN");
    nodes.redis.kill();
    let site = &nodes.sites[0];
    // From the end of its lease on; until then unknown is still certain.
    wait("doubt", async || (look(site, "unknown").await == "UNAVAILABLE").then_some(())).await;
    for number in 0..100 {
        assert_eq!(look(site, &format!("new-{number}")).await, "UNAVAILABLE");
        assert_eq!(look(site, &made.key).await, "made", "known before");
    }
    let forged = format!("{}-", made.key.strip_suffix(|_: char| true).unwrap());
    assert_eq!(look(site, &forged).await, "UNKNOWN", "a wrong checksum needs no store");
    nodes.redis.restart().await;
    let site = &nodes.sites[0];
    wait("certainty", async || (look(site, "unknown").await == "UNKNOWN").then_some(())).await;
    assert_eq!(look(site, &made.key).await, "made", "the store has lost it, the node has not");
}

#[tokio::test]
async fn guesses_hardly_reach_the_store() {
    let nodes = Nodes::start(1, "").await;
    let site = &nodes.sites[0];
    site.gateway.apps.create(Some("shop".to_owned()), named("shop")).await.unwrap();
    let before = reads(site);
    for number in 0..10_000_u64 {
        let guess = if number % 2 == 0 {
            format!("ak_{number:026}").replace(['0', '1', '8', '9'], "a")
        } else {
            format!("guess-{number}")
        };
        assert_eq!(look(site, &guess).await, "UNKNOWN");
    }
    let read = reads(site) - before;
    eprintln!("store_reads_of_10000_guesses = {read}");
    assert!(read < 100, "{read} reads");
    assert_eq!(metric(site, "gatehouse_business_app_lookups_total{kind=\"app\",level=\"forged\"}"), 5_000);
    assert!(metric(site, "gatehouse_business_app_lookups_total{kind=\"app\",level=\"filter\"}") > 4_900);
}

#[tokio::test]
async fn a_thousand_calls_of_one_application_read_it_once() {
    let nodes = Nodes::start(2, "").await;
    nodes.sites[0].gateway.apps.create(Some("shop".to_owned()), named("shop")).await.unwrap();
    let site = &nodes.sites[1];
    let before = reads(site);
    let calls: Vec<_> = (0..1_000)
        .map(|_| {
            let apps = Arc::clone(&site.gateway.apps);
            tokio::spawn(async move { matches!(apps.find("shop", clock::now()).await, Lookup::Found(_)) })
        })
        .collect();
    for call in calls {
        assert!(call.await.unwrap());
    }
    assert_eq!(reads(site) - before, 1);
}

#[tokio::test]
async fn a_gap_in_the_announcements_makes_a_node_read_again() {
    let nodes = Nodes::start(1, "").await;
    let site = &nodes.sites[0];
    site.gateway.apps.create(Some("shop".to_owned()), named("shop")).await.unwrap();
    site.gateway.apps.create(Some("shed".to_owned()), named("shed")).await.unwrap();
    assert_eq!(look(site, "shop").await, "shop");
    let gaps = || metric(site, "gatehouse_business_app_gaps_total");
    assert_eq!(gaps(), 0);
    let redis = Arc::new(nodes.redis.client());
    let store = RedisApps::new(Arc::clone(&redis));
    // Behind the node's back: nobody announces it.
    let removed = store.write(RecordKind::App, "shop", 1, None, None).await.unwrap();
    assert_eq!(removed, gatehouse_store::app::Written::Stored(2));
    assert_eq!(look(site, "shop").await, "shop");
    redis.one::<u64>(Command::on("DEL", &Key::changes())).await.unwrap();
    wait("gap", async || (gaps() > 0).then_some(())).await;
    wait("reading", async || (look(site, "shop").await == "UNKNOWN").then_some(())).await;
    assert_eq!(look(site, "shed").await, "shed");
    wait("a new filter", async || (metric(site, "gatehouse_business_app_filters_total") > 1).then_some(())).await;
}

#[tokio::test]
async fn cache_rules_take_effect_live_on_every_node() {
    let nodes = Nodes::start(3, "").await;
    for number in 0..200 {
        let record = named("shop");
        // All at once: each waits until every node has heard of it.
        let apps = Arc::clone(&nodes.sites[0].gateway.apps);
        tokio::spawn(async move { apps.create(Some(format!("shop-{number}")), record).await.unwrap() });
    }
    for site in &nodes.sites {
        for number in 0..200 {
            wait("application", async || (look(site, &format!("shop-{number}")).await == "shop").then_some(())).await;
        }
        assert_eq!(metric(site, "gatehouse_business_app_entries{kind=\"app\"}"), 200);
    }
    let rule = |rule: &str| {
        for site in &nodes.sites {
            let catalog = catalog(&[nodes.service.address], "");
            site.write("catalog.toml", &format!("{catalog}\n[[cache_rule]]\nname = \"all\"\nkind = \"app\"\n{rule}\n"));
            assert!(matches!(site.gateway.live.reload(), ReloadOutcome::Replaced(_)));
        }
    };
    rule("entries = 64");
    for site in &nodes.sites {
        let entries = async || (metric(site, "gatehouse_business_app_entries{kind=\"app\"}") <= 72).then_some(());
        wait("a smaller memory", entries).await;
    }
    rule("cached = false");
    for site in &nodes.sites {
        assert_eq!(look(site, "shop-1").await, "shop");
        let before = reads(site);
        for _ in 0..10 {
            assert_eq!(look(site, "shop-1").await, "shop");
        }
        assert_eq!(reads(site), before + 10);
    }
    rule("ttl = \"1h\"");
    for site in &nodes.sites {
        assert_eq!(look(site, "shop-1").await, "shop");
        let before = reads(site);
        assert_eq!((look(site, "shop-1").await.as_str(), reads(site)), ("shop", before));
    }
}

#[tokio::test]
async fn a_starting_node_takes_the_filter_that_another_one_left() {
    let nodes = Nodes::start(1, "rebuild = \"1s\"").await;
    nodes.sites[0].gateway.apps.create(Some("shop".to_owned()), named("shop")).await.unwrap();
    let made = || metric(&nodes.sites[0], "gatehouse_business_app_filters_total");
    let before = made();
    wait("another filter", async || (made() > before + 1).then_some(())).await;
    let dir = tempfile::tempdir().unwrap();
    let settings = nodes.redis.toml() + &*keys(dir.path(), "");
    let second = Site::with(&catalog(&[nodes.service.address], ""), &settings).await;
    wait("its filter", async || (metric(&second, "gatehouse_business_app_filters_total") > 0).then_some(())).await;
    assert_eq!(metric(&second, "gatehouse_business_app_filter_keys"), 1);
    assert_eq!(look(&second, "shop").await, "shop");
    let mut guesses = 0;
    wait("certainty", async || {
        // Each is remembered as unknown, so it is another one each time.
        guesses += 1;
        look(&second, &format!("guess-{guesses}")).await;
        (metric(&second, "gatehouse_business_app_lookups_total{kind=\"app\",level=\"filter\"}") > 0).then_some(())
    })
    .await;
}
