use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize};

use gatehouse_shared::clock::ManualClock;
use gatehouse_store::app::{Announced, Versioned, Written};
use tokio::sync::Semaphore;

use super::super::origin::{Change, Waiting};
use super::super::rule;
use super::*;

/// A store whose answers can be held back.
#[derive(Debug)]
struct Store {
    records: Mutex<HashMap<String, Versioned>>,
    reads: AtomicUsize,
    is_away: AtomicBool,
    /// A read takes one of these before it answers, with what was there when it began.
    answers: Semaphore,
}

impl Store {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            records: Mutex::default(),
            reads: AtomicUsize::new(0),
            is_away: AtomicBool::new(false),
            answers: Semaphore::new(1_000_000),
        })
    }

    fn put(&self, key: &str, version: u64, record: Option<&str>) {
        let record = Versioned { version, record: record.map(|record| record.as_bytes().to_vec()) };
        self.records.lock().unwrap().insert(key.to_owned(), record);
    }

    fn reads(&self) -> usize {
        self.reads.load(Ordering::SeqCst)
    }
}

impl Origin for Store {
    fn read<'a>(&'a self, _kind: RecordKind, key: &'a str) -> Waiting<'a, Versioned> {
        Box::pin(async move {
            self.reads.fetch_add(1, Ordering::SeqCst);
            let record = self.records.lock().unwrap().get(key).cloned().unwrap_or_default();
            self.answers.acquire().await.unwrap().forget();
            if self.is_away.load(Ordering::SeqCst) { Err(OriginError::Away("away".into())) } else { Ok(record) }
        })
    }

    fn read_many<'a>(&'a self, _kind: RecordKind, _keys: &'a [String]) -> Waiting<'a, Vec<Versioned>> {
        unreachable!("no look-up reads many")
    }

    fn write<'a>(&'a self, _change: Change<'a>) -> Waiting<'a, Written> {
        unreachable!("no look-up writes")
    }

    fn announce<'a>(&'a self, _change: &'a Announced) -> Waiting<'a, ()> {
        unreachable!("no look-up announces")
    }

    fn keys<'a>(&'a self, _after: Option<&'a str>, _most: usize) -> Waiting<'a, Vec<String>> {
        unreachable!("no look-up lists")
    }

    fn count(&self) -> Waiting<'_, u64> {
        unreachable!("no look-up counts")
    }
}

#[derive(Debug)]
struct Words;

impl Kind for Words {
    type Value = String;
    const KIND: RecordKind = RecordKind::App;

    fn decode(&self, _key: &str, _version: u64, record: &[u8]) -> Result<String, String> {
        let text = String::from_utf8_lossy(record).into_owned();
        if text == "damaged" { Err(text) } else { Ok(text) }
    }

    fn weight(value: &String) -> usize {
        value.len()
    }

    fn denies(&self, key: &str) -> bool {
        key.starts_with("denied")
    }
}

struct Bench {
    store: Arc<Store>,
    funnel: Arc<Funnel<Words>>,
    clock: Arc<ManualClock>,
}

impl Bench {
    fn new() -> Self {
        let (store, clock) = (Store::new(), ManualClock::starting_at(0));
        let funnel = Funnel::new(Words, Arc::clone(&store) as Arc<dyn Origin>, 100, clock.now());
        Self { store, funnel, clock }
    }

    fn rules(&self, text: &str) {
        #[derive(serde::Deserialize)]
        struct Catalog {
            cache_rule: Vec<rule::Config>,
        }
        let written: Catalog = toml::from_str(text).unwrap();
        self.funnel.follow_rules(&Rules::compile(&written.cache_rule, &Default::default()).unwrap());
    }

    fn is_current(&self) {
        self.funnel.is_current_until(self.clock.now() + Duration::from_secs(1));
    }

    async fn find(&self, key: &str) -> Option<String> {
        match self.funnel.find(key, self.clock.now()).await {
            Found::Value(value) => Some((*value).clone()),
            Found::Unknown => None,
            Found::Unavailable => Some("UNAVAILABLE".to_owned()),
        }
    }

    /// Waits for reads in the background.
    async fn settled(&self) {
        while !self.funnel.flights().is_empty() {
            tokio::task::yield_now().await;
        }
    }
}

fn found(text: &str) -> Option<String> {
    Some(text.to_owned())
}

const SECOND: Duration = Duration::from_secs(1);
const RULE: &str =
    "[[cache_rule]]\nname = \"a\"\nkind = \"app\"\nttl = \"100s\"\nstale = \"100s\"\nnegative_ttl = \"10s\"\n";

#[tokio::test]
async fn an_entry_is_fresh_then_stale_then_expired() {
    let bench = Bench::new();
    bench.rules(RULE);
    bench.store.put("shop", 1, Some("one"));
    assert_eq!(bench.find("shop").await, found("one"));
    bench.store.put("shop", 2, Some("two"));
    bench.clock.advance(89 * SECOND);
    assert_eq!(bench.find("shop").await, found("one"));
    assert_eq!((bench.store.reads(), bench.funnel.counters.fresh.get()), (1, 1));

    bench.clock.advance(12 * SECOND);
    assert_eq!(bench.find("shop").await, found("one"), "stale, and read again");
    assert_eq!(bench.find("shop").await, found("one"));
    bench.settled().await;
    assert_eq!((bench.store.reads(), bench.funnel.counters.stale.get()), (2, 2));
    assert_eq!(bench.find("shop").await, found("two"));

    bench.store.put("shop", 3, Some("three"));
    bench.clock.advance(200 * SECOND);
    assert_eq!(bench.find("shop").await, found("three"), "an expired entry is not used");
    assert_eq!(bench.store.reads(), 3);
}

#[tokio::test]
async fn while_the_store_is_away_what_is_stale_is_used_and_then_nobody_can_say() {
    let bench = Bench::new();
    bench.rules(RULE);
    bench.store.put("shop", 1, Some("one"));
    assert_eq!(bench.find("shop").await, found("one"));
    bench.store.is_away.store(true, Ordering::SeqCst);
    for second in 101..200 {
        bench.clock.advance(SECOND);
        if second == 101 {
            bench.clock.advance(100 * SECOND);
        }
        assert_eq!(bench.find("shop").await, found("one"), "second {second}");
        bench.settled().await;
        if bench.clock.now() >= bench.funnel.start + 199 * SECOND {
            break;
        }
    }
    assert!(bench.store.reads() < 105, "{} reads: at most one a second", bench.store.reads());
    bench.clock.advance(2 * SECOND);
    for unknown in ["shop", "shed", "denied"] {
        assert_eq!(bench.find(unknown).await, found("UNAVAILABLE"), "{unknown}");
    }
    assert_eq!(bench.funnel.counters.unavailable.get(), 3);
    bench.store.is_away.store(false, Ordering::SeqCst);
    assert_eq!(bench.find("shop").await, found("one"));
    assert_eq!(bench.find("shed").await, None);
}

#[tokio::test]
async fn a_thousand_misses_of_one_key_are_one_read() {
    let bench = Bench::new();
    bench.store.put("shop", 1, Some("one"));
    bench.store.answers.forget_permits(usize::MAX);
    let calls: Vec<_> = (0..1_000)
        .map(|_| {
            let (funnel, now) = (Arc::clone(&bench.funnel), bench.clock.now());
            tokio::spawn(async move { matches!(funnel.find("shop", now).await, Found::Value(_)) })
        })
        .collect();
    while bench.funnel.counters.joined.get() < 999 {
        tokio::task::yield_now().await;
    }
    bench.store.answers.add_permits(1);
    for call in calls {
        assert!(call.await.unwrap());
    }
    assert_eq!((bench.store.reads(), bench.funnel.counters.reads.get()), (1, 1));
}

#[tokio::test]
async fn a_caller_that_gives_up_does_not_take_the_read_with_it() {
    let bench = Bench::new();
    bench.store.put("shop", 1, Some("one"));
    bench.store.answers.forget_permits(usize::MAX);
    let (funnel, now) = (Arc::clone(&bench.funnel), bench.clock.now());
    let first = tokio::spawn(async move { funnel.find("shop", now).await });
    while bench.store.reads() == 0 {
        tokio::task::yield_now().await;
    }
    first.abort();
    bench.store.answers.add_permits(1);
    bench.settled().await;
    assert_eq!(bench.find("shop").await, found("one"));
    assert_eq!(bench.store.reads(), 1);
}

#[tokio::test]
async fn an_unknown_key_is_remembered_while_no_announcement_is_missing() {
    let bench = Bench::new();
    bench.rules(RULE);
    assert_eq!(bench.find("shop").await, None);
    bench.is_current();
    assert_eq!(bench.find("shop").await, None);
    assert_eq!((bench.store.reads(), bench.funnel.counters.negative.get()), (1, 1));
    assert_eq!(bench.find("denied").await, None);
    assert_eq!((bench.store.reads(), bench.funnel.counters.filtered.get()), (1, 1));
    bench.clock.advance(SECOND);
    // Cut off: an application may have been made meanwhile.
    bench.store.put("denied", 1, Some("new"));
    assert_eq!(bench.find("shop").await, None);
    assert_eq!(bench.find("denied").await, found("new"));
    assert_eq!(bench.store.reads(), 3);
    bench.is_current();
    bench.funnel.changed("shop", 1, bench.clock.now());
    bench.store.put("shop", 1, Some("one"));
    assert_eq!(bench.find("shop").await, found("one"), "announced");
}

#[tokio::test]
async fn versions_are_applied_in_order() {
    let bench = Bench::new();
    bench.store.put("shop", 5, Some("five"));
    assert_eq!(bench.find("shop").await, found("five"));
    bench.funnel.changed("shop", 5, bench.clock.now());
    bench.funnel.changed("shop", 4, bench.clock.now());
    assert_eq!((bench.store.reads(), bench.funnel.counters.overtaken.get()), (1, 0), "heard of already");
    bench.store.put("shop", 6, Some("six"));
    bench.funnel.changed("shop", 6, bench.clock.now());
    assert_eq!(bench.find("shop").await, found("six"));
    assert_eq!(bench.store.reads(), 2, "the announcement alone made it read again");
    bench.store.put("shop", 7, None);
    bench.funnel.changed("shop", 7, bench.clock.now());
    assert_eq!(bench.find("shop").await, None);
}

#[tokio::test]
async fn a_read_that_began_before_a_change_is_made_again() {
    let bench = Bench::new();
    bench.store.put("shop", 1, Some("one"));
    bench.store.answers.forget_permits(usize::MAX);
    let (funnel, now) = (Arc::clone(&bench.funnel), bench.clock.now());
    let call = tokio::spawn(async move { funnel.find("shop", now).await });
    while bench.store.reads() == 0 {
        tokio::task::yield_now().await;
    }
    bench.store.put("shop", 2, Some("two"));
    bench.funnel.changed("shop", 2, bench.clock.now());
    bench.store.answers.add_permits(2);
    assert!(matches!(call.await.unwrap(), Found::Value(value) if *value == "two"));
    assert_eq!((bench.store.reads(), bench.find("shop").await), (2, found("two")));
}

#[tokio::test]
async fn after_a_gap_everything_is_stale_at_once() {
    let bench = Bench::new();
    bench.store.put("shop", 1, Some("one"));
    assert_eq!(bench.find("shop").await, found("one"));
    bench.store.put("shop", 2, Some("two"));
    bench.clock.advance(SECOND);
    bench.funnel.missed(bench.clock.now());
    assert_eq!(bench.find("shop").await, found("one"));
    bench.settled().await;
    assert_eq!(bench.find("shop").await, found("two"));
    assert_eq!((bench.funnel.counters.stale.get(), bench.funnel.counters.fresh.get()), (1, 1));
}

#[tokio::test]
async fn a_store_that_has_lost_a_change_does_not_take_it_back() {
    let bench = Bench::new();
    bench.rules(RULE);
    bench.store.put("shop", 2, Some("two"));
    assert_eq!(bench.find("shop").await, found("two"));
    for lost in [Some("one"), None] {
        bench.store.put("shop", u64::from(lost.is_some()), lost);
        bench.clock.advance(SECOND);
        bench.funnel.missed(bench.clock.now());
        assert_eq!(bench.find("shop").await, found("two"));
        bench.settled().await;
        assert_eq!(bench.find("shop").await, found("two"));
        bench.clock.advance(SECOND);
    }
    assert!(bench.funnel.counters.older.get() >= 2);
    bench.clock.advance(200 * SECOND);
    assert_eq!(bench.find("shop").await, None, "its time is over");
}

#[tokio::test]
async fn a_damaged_record_is_no_unknown_key() {
    let bench = Bench::new();
    bench.store.put("shop", 1, Some("damaged"));
    assert_eq!(bench.find("shop").await, found("UNAVAILABLE"));
    assert_eq!(bench.funnel.counters.damaged.get(), 1);
}

#[tokio::test]
async fn rules_count_at_once_for_what_is_kept_already() {
    let bench = Bench::new();
    bench.store.put("shop", 1, Some("one"));
    assert_eq!(bench.find("shop").await, found("one"));
    bench.clock.advance(60 * SECOND);
    bench.rules("[[cache_rule]]\nname = \"a\"\nkind = \"app\"\nkeys = \"sh*\"\nttl = \"10s\"\nstale = \"20s\"\n");
    assert_eq!((bench.find("shop").await, bench.store.reads()), (found("one"), 2), "expired by the new rule");
    bench.rules("[[cache_rule]]\nname = \"a\"\nkind = \"app\"\nkeys = \"sh*\"\ncached = false\n");
    assert_eq!((bench.find("shop").await, bench.store.reads()), (found("one"), 3));
    assert_eq!((bench.find("shop").await, bench.store.reads()), (found("one"), 4));
}

#[tokio::test]
async fn memory_is_bounded_and_follows_its_rule() {
    let bench = Bench::new();
    let rule =
        |entries: usize| format!("[[cache_rule]]\nname = \"a\"\nkind = \"app\"\nkeys = \"k*\"\nentries = {entries}\n");
    bench.rules(&rule(500));
    for number in 0..1_000 {
        let key = format!("k{number}");
        bench.store.put(&key, 1, Some("value"));
        assert_eq!(bench.find(&key).await, found("value"));
    }
    let gauge = bench.funnel.gauge();
    // Each of the cache's shards rounds its part up.
    assert!((250..=520).contains(&gauge.entries()), "{}", gauge.entries());
    assert!(gauge.bytes() > gauge.entries() * 64);
    bench.rules(&rule(64));
    assert!(gauge.entries() <= 72, "{}", gauge.entries());
    bench.rules("cache_rule = []");
    assert_eq!((gauge.entries(), gauge.bytes()), (0, 0));
}

#[tokio::test]
async fn reads_are_bounded() {
    let bench = Bench::new();
    bench.store.answers.forget_permits(usize::MAX);
    for number in 0..100 {
        let (funnel, now) = (Arc::clone(&bench.funnel), bench.clock.now());
        tokio::spawn(async move { funnel.find(&format!("k{number}"), now).await });
    }
    while bench.store.reads() < 100 {
        tokio::task::yield_now().await;
    }
    assert_eq!(bench.find("one more").await, found("UNAVAILABLE"));
    assert_eq!(bench.funnel.counters.crowded.get(), 1);
}
