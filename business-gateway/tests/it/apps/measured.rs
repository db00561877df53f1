//! Figures with a million applications; run by hand, optimised:
//! `CARGO_PROFILE_DEV_OPT_LEVEL=2 cargo test -p business-gateway --test it measured -- --ignored --nocapture`.

#![expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "these are figures to read")]

use std::sync::Arc;

use business_gateway::store::apps::Apps;
use business_gateway::store::apps::keyring::Keyring;
use gatehouse_shared::config::Secret;
use gatehouse_shared::live::ReloadOutcome;
use gatehouse_store::app::RecordKind;
use gatehouse_store::{Batch, Command, Key};

use super::*;

const APPS: usize = 1_000_000;
/// What is looked up before anything is counted, and then. In memory is what is called often, and it takes many calls to tell.
const WARM_UP: usize = 250_000_000;
const LOOK_UPS: usize = 10_000_000;
/// Calls at a time.
const TASKS: usize = 32;

/// A number below `APPS` by Zipf's law with this exponent: small ones often. By rejection from the inverted integral of
/// the hull (W. Hörmann and G. Derflinger, "Rejection-inversion to generate variates from monotone discrete distributions",
/// 1996).
struct Zipf {
    exponent: f64,
    most: f64,
    first: f64,
    last: f64,
    cut: f64,
}

impl Zipf {
    fn new(most: f64, exponent: f64) -> Self {
        let mut zipf = Self { exponent, most, first: 0.0, last: 0.0, cut: 0.0 };
        zipf.first = zipf.integral(1.5) - 1.0;
        zipf.last = zipf.integral(most + 0.5);
        zipf.cut = 2.0 - zipf.inverted(zipf.integral(2.5) - 2.0_f64.powf(-exponent));
        zipf
    }

    fn integral(&self, x: f64) -> f64 {
        x.powf(1.0 - self.exponent) / (1.0 - self.exponent)
    }

    fn inverted(&self, x: f64) -> f64 {
        (x * (1.0 - self.exponent)).powf(1.0 / (1.0 - self.exponent))
    }

    fn draw(&self) -> usize {
        loop {
            let u = self.last + fastrand::f64() * (self.first - self.last);
            let x = self.inverted(u);
            let k = x.round().clamp(1.0, self.most);
            if k - x <= self.cut || u >= self.integral(k + 0.5) - k.powf(-self.exponent) {
                return k as usize - 1;
            }
        }
    }
}

/// Resident memory of this process in bytes.
fn resident() -> usize {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap();
    text.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4_096
}

fn key(number: usize) -> String {
    format!("app-{number:07}")
}

async fn fill(nodes: &Nodes, dir: &Path) {
    let secret = |name: &str| Secret::new(std::fs::read(dir.join(name)).unwrap());
    let keys = Keyring::new(&[("a".to_owned(), secret("seal.key"))], &secret("check.key")).unwrap();
    let redis = nodes.redis.client_with(SOON);
    let record = Record {
        owner: Some("team-orders@example.com".to_owned()),
        plan: Some("gold".to_owned()),
        class: Some("partner".to_owned()),
        packages: ["orders", "stock", "delivery"].map(str::to_owned).into(),
        secrets: vec![business_gateway::store::apps::record::SecretRecord {
            id: "abcdefgh".to_owned(),
            secret: "YWJjZGVmZ2hpamtsbW5vcHFyc3R1dnd4eXoyMzQ1Njc=".to_owned(),
            created_unix: 1_700_000_000,
            expires_unix: None,
        }],
        ..named("An application of some partner")
    };
    let text = serde_json::to_vec(&record).unwrap();
    for start in (0..APPS).step_by(2_000) {
        let mut batch = Batch::new();
        let mut index = Command::on("ZADD", &Key::app_index());
        for number in start..start + 2_000 {
            let key = key(number);
            let sealed = keys.seal(RecordKind::App, &key, 1, &text).unwrap();
            index = index.arg(0).arg(&key);
            batch.push(Command::on("HSET", &Key::app(&key).unwrap()).arg("version").arg(1).arg("record").arg(sealed));
        }
        batch.push(index);
        redis.run(&batch).await.unwrap();
    }
}

/// Looks so many up and tells how many were answered from memory.
async fn look_up(site: &Site, count: usize) -> usize {
    let tasks: Vec<_> = (0..TASKS)
        .map(|_| {
            let apps = Arc::clone(&site.gateway.apps);
            tokio::spawn(async move { look_up_one_by_one(&apps, count / TASKS).await })
        })
        .collect();
    let mut local = 0;
    for task in tasks {
        local += task.await.unwrap();
    }
    local
}

async fn look_up_one_by_one(apps: &Apps, count: usize) -> usize {
    let zipf = Zipf::new(APPS as f64, 1.2);
    let mut local = 0;
    for turn in 0..count {
        if turn % 1_000 == 0 {
            tokio::task::yield_now().await;
        }
        let key = key(zipf.draw());
        let now = clock::now();
        let mut look = std::pin::pin!(apps.find(&key, now));
        // A look-up that is ready at once was answered from memory.
        let found = match ready(look.as_mut()) {
            Some(found) => {
                local += 1;
                found
            }
            None => look.await,
        };
        assert!(matches!(found, Lookup::Found(_)), "{key}");
    }
    local
}

fn ready<F: Future>(future: std::pin::Pin<&mut F>) -> Option<F::Output> {
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    match future.poll(&mut context) {
        std::task::Poll::Ready(found) => Some(found),
        std::task::Poll::Pending => None,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes and a gigabyte of Redis; prints figures"]
async fn measured_a_million_applications() {
    let nodes = Nodes::start(1, "rebuild = \"1s\"").await;
    let site = &nodes.sites[0];
    let rules = "[[cache_rule]]\nname = \"all\"\nkind = \"app\"\nttl = \"12h\"\nstale = \"1h\"\nentries = 500000\n";
    site.write("catalog.toml", &format!("{}\n{rules}", catalog(&[nodes.service.address], "")));
    assert!(matches!(site.gateway.live.reload(), ReloadOutcome::Replaced(_)));
    fill(&nodes, nodes._dir.path()).await;
    let held = || metric(site, "gatehouse_business_app_filter_keys");
    wait("a filter of all", async || (held() > 990_000).then_some(())).await;
    eprintln!("filter_bytes = {}", metric(site, "gatehouse_business_app_filter_bytes"));

    let before = resident();
    let start = clock::now();
    look_up(site, WARM_UP).await;
    eprintln!("warm_up_seconds = {:.1}", start.elapsed().as_secs_f64());
    let start = clock::now();
    let local = look_up(site, LOOK_UPS).await;
    let ratio = local as f64 / LOOK_UPS as f64;
    eprintln!("local_ratio_zipf_1.2 = {ratio:.5}");
    eprintln!("look_up_ns = {:.0}", start.elapsed().as_nanos() as f64 / LOOK_UPS as f64);
    let entries = metric(site, "gatehouse_business_app_entries{kind=\"app\"}") as usize;
    eprintln!("entries = {entries}");
    eprintln!(
        "bytes_per_entry_by_weight = {}",
        metric(site, "gatehouse_business_app_bytes{kind=\"app\"}") as usize / entries
    );
    eprintln!("bytes_per_entry_resident = {}", (resident() - before) / entries);
    assert!(ratio >= 0.99, "{ratio}");
    assert!(entries <= 520_000, "{entries}");

    let reads_before = reads(site);
    let start = clock::now();
    for number in 0..100_000_u64 {
        let guess = if number % 2 == 0 { format!("ak_{number:026}") } else { format!("guess-{number}") };
        assert_eq!(look(site, &guess).await, "UNKNOWN");
    }
    eprintln!("guess_ns = {:.0}", start.elapsed().as_nanos() as f64 / 100_000.0);
    let read = reads(site) - reads_before;
    eprintln!("store_reads_per_1000_guesses = {:.3}", read as f64 / 100.0);
    assert!(read < 1_000, "{read}");
}
