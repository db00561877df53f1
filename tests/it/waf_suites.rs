//! The suites in `golden/waf` against the running edge with the rules that ship: each request over both protocols of
//! clients and both between the tiers, its body in several pieces, with its length stated and without.

mod client;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use gatehouse_tests::binaries;
use gatehouse_tests::recorder::{HandedOn, Recorder};
use gatehouse_tests::site::{Handoff, Plan, Site};
use gatehouse_tests::until::{SOON, until};
use gatehouse_waf::golden::{self, Case, Request};
use serde_json::Value;
use tokio::task::JoinSet;

use crate::Passed;
use client::{Framing, Way};

/// Clients that send at once.
const CLIENTS: usize = 8;

/// Longest body, in bytes, that the edge collects before it hands anything on.
const COLLECTED_MAX: usize = 64 * 1024;

/// A case and where it stands: `attacks/sql/union.http:12`.
struct Entry {
    place: String,
    case: Case,
}

/// What a client was told.
struct Sent {
    entry: Arc<Entry>,
    way: Way,
    /// The request id of the answer.
    id: String,
    status: u16,
}

/// What was sent, each with its line of the edge's access log.
struct Outcome {
    sent: Vec<(Sent, Value)>,
    /// What came to tier two.
    handed_on: HandedOn,
    /// Cases that a client of HTTP/2 cannot say.
    unsaid: BTreeSet<String>,
}

impl Sent {
    fn describe(&self) -> String {
        format!("{} ({:?}): {}", self.entry.place, self.way, self.entry.case.name)
    }
}

/// Files below `directory`, in order.
fn files_below(directory: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_dir() { files.extend(files_below(&path)?) } else { files.push(path) }
    }
    files.sort();
    Ok(files)
}

fn suite(name: &str) -> anyhow::Result<Vec<Arc<Entry>>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden/waf");
    let mut entries = Vec::new();
    for file in files_below(&root.join(name))? {
        let place = file.strip_prefix(&root)?.display().to_string();
        let cases = golden::read(&std::fs::read_to_string(&file)?).context(place.clone())?;
        entries.extend(cases.into_iter().map(|case| Entry { place: format!("{place}:{}", case.line), case }));
    }
    Ok(entries.into_iter().map(Arc::new).collect())
}

/// An edge with the rules that ship.
fn plan() -> anyhow::Result<Plan> {
    let root = binaries::repository().join("deploy/config/edge");
    let listener = "[[process.listener]]\naddress = \"127.0.0.1:0\"\nh2c = true\n[waf]\nrules = [\"waf/*.conf\"]\n";
    let mut plan = Site::plan().edge(listener);
    for file in files_below(&root.join("waf"))? {
        plan = plan.edge_file(&file.strip_prefix(&root)?.display().to_string(), std::fs::read_to_string(&file)?);
    }
    Ok(plan)
}

/// Sends every entry each way.
async fn send(site: &Site, recorder: &Recorder, entries: &[Arc<Entry>], framing: Framing) -> anyhow::Result<Outcome> {
    let before = recorder.handed_on();
    let mut clients = JoinSet::new();
    for client in 0..CLIENTS {
        let mine: Vec<Arc<Entry>> = entries.iter().skip(client).step_by(CLIENTS).cloned().collect();
        let target = site.target();
        clients.spawn(async move {
            let mut answers = Vec::new();
            for entry in mine {
                for way in Way::over_both(framing) {
                    let told = client::send(&target, &entry.case.request, way).await;
                    let told = told.with_context(|| format!("{} ({way:?})", entry.place))?;
                    answers.push((Arc::clone(&entry), way, told));
                }
            }
            anyhow::Ok(answers)
        });
    }
    let (mut sent, mut unsaid) = (Vec::new(), BTreeSet::new());
    while let Some(answers) = clients.join_next().await {
        for (entry, way, told) in answers?? {
            match told {
                Some((status, id)) => sent.push(Sent { entry, way, id, status }),
                None => {
                    unsaid.insert(entry.place.clone());
                }
            }
        }
    }
    let edge = site.edge()?;
    let mut lines = until("the access log lines of all requests", SOON, async || {
        let lines = edge.access_log().ok()?;
        let lines: HashMap<String, Value> =
            lines.into_iter().filter_map(|line| Some((line["request_id"].as_str()?.to_owned(), line))).collect();
        sent.iter().all(|sent| lines.contains_key(&sent.id)).then_some(lines)
    })
    .await?;
    let line_of = |sent: Sent| {
        let line = lines.remove(&sent.id).unwrap_or_default();
        (sent, line)
    };
    let sent = sent.into_iter().map(line_of).collect();
    Ok(Outcome { sent, handed_on: recorder.handed_on() - before, unsaid })
}

/// Cases of which the rules, asked without an edge, say something else than the suite.
fn unexpected_offline(site: &Site, suite: &str) -> anyhow::Result<BTreeSet<String>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden/waf");
    let output = site.edge()?.command(&["rules", "test", &root.join(suite).display().to_string()])?;
    let said = String::from_utf8(output.stdout)?;
    let root = format!("{}/", root.display());
    let places = said.lines().filter_map(|line| line.strip_prefix(&root)?.split_once(": "));
    // A line that ends a file names it without a number.
    Ok(places.filter(|(place, _)| place.contains(".http:")).map(|(place, _)| place.to_owned()).collect())
}

/// The code of the refusal by the edge, if it refused.
fn refusal(line: &Value) -> Option<&str> {
    line["reason"].as_str()
}

/// Where the edge decides before the rules are asked, and so differently from rules alone: the code, and what a request has
/// that is refused so.
const EARLIER: [Refusal; 9] = [
    ("method_not_allowed", |request| !METHODS.contains(&request.method.as_slice())),
    ("path_above_root", has_odd_path),
    ("path_double_encoded", has_odd_path),
    ("path_encoded_slash", has_odd_path),
    ("path_encoding_invalid", has_odd_path),
    ("path_nul", has_odd_path),
    ("path_parameter_dot_segment", has_odd_path),
    ("connection_option_invalid", |request| request.has_field("connection")),
    ("upgrade_unsupported", |request| request.has_field("upgrade")),
];

/// The code of a refusal, and whether a request is one of those that it is for.
type Refusal = (&'static str, fn(&Request) -> bool);

/// The methods of the catalog and of the edge.
const METHODS: [&[u8]; 7] = [b"GET", b"HEAD", b"POST", b"PUT", b"PATCH", b"DELETE", b"OPTIONS"];

/// Whether something is encoded in the path, or a segment has parameters.
fn has_odd_path(request: &Request) -> bool {
    request.target.iter().take_while(|byte| **byte != b'?').any(|byte| b"%;".contains(byte))
}

/// Asserts that what was refused before the rules were asked was refused for what it is, and writes it down.
fn explain_earlier_refusals(outcome: &Outcome) {
    let mut earlier: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (sent, line) in &outcome.sent {
        let Some(code) = refusal(line).filter(|code| *code != "waf_denied") else { continue };
        let request = &sent.entry.case.request;
        let is_explained = EARLIER.iter().any(|(known, is_so)| *known == code && is_so(request));
        assert!(is_explained, "{}: {line}", sent.describe());
        earlier.entry(code).or_default().insert(&sent.entry.place);
    }
    for (code, places) in earlier {
        eprintln!("{code} before the rules: {places:?}");
    }
}

/// Waits until the security log has a line of the rules for every refusal by them, and the metrics count as many in all.
async fn every_refusal_is_on_record(site: &Site, outcome: &Outcome, refusals: &mut usize) -> anyhow::Result<()> {
    let by_rules = outcome.sent.iter().filter(|(_, line)| refusal(line) == Some("waf_denied"));
    let ids: BTreeSet<&str> = by_rules.map(|(sent, _)| sent.id.as_str()).collect();
    let edge = site.edge()?;
    until("the security log lines of all refusals", SOON, async || {
        let mut missing = ids.clone();
        for line in edge.security_log().ok()? {
            if (&line["stage"], &line["mode"]) == (&"waf".into(), &"enforce".into()) {
                missing.remove(line["request_id"].as_str()?);
            }
        }
        missing.is_empty().then_some(())
    })
    .await?;
    *refusals += ids.len();
    let labels = [("stage", "waf"), ("verdict", "deny")];
    let wanted = f64::from(u32::try_from(*refusals)?);
    edge.admin()?.counted("gatehouse_edge_admission_verdicts_total", &labels, wanted..=wanted).await?;
    Ok(())
}

/// The entries that are worth sending without a length: those with a body.
fn sendable(suite: &[Arc<Entry>], framing: Framing) -> Vec<Arc<Entry>> {
    let is_sent = |entry: &&Arc<Entry>| framing == Framing::Announced || !entry.case.request.body.is_empty();
    suite.iter().filter(is_sent).cloned().collect()
}

async fn no_ordinary_request_is_refused_by_the_rules_over(handoff: Handoff) -> anyhow::Result<()> {
    let (site, recorder) = Recorder::between_tiers(plan()?, handoff).await?;
    let suite = suite("ordinary")?;
    for framing in [Framing::Announced, Framing::Unannounced] {
        let outcome = send(&site, &recorder, &sendable(&suite, framing), framing).await?;
        assert_eq!(outcome.unsaid, BTreeSet::new());
        let mut expected = HandedOn::default();
        for (sent, line) in &outcome.sent {
            if refusal(line).is_none() {
                assert!(sent.status != 403 && line["origin"].is_string(), "{}: {line}", sent.describe());
                expected.heads += 1;
                expected.body_bytes += sent.entry.case.request.body.len();
            }
            assert_ne!(refusal(line), Some("waf_denied"), "{}: {line}", sent.describe());
        }
        assert_eq!(outcome.handed_on, expected, "{handoff:?}, {framing:?}");
        explain_earlier_refusals(&outcome);
    }
    let labels = [("stage", "waf"), ("verdict", "deny")];
    site.edge()?.admin()?.counted("gatehouse_edge_admission_verdicts_total", &labels, 0.0..=0.0).await?;
    let lines = site.edge()?.security_log()?;
    assert!(lines.iter().all(|line| line["stage"] != "waf"), "the rules found something");
    assert_eq!(unexpected_offline(&site, "ordinary")?, BTreeSet::new());
    Ok(())
}

async fn no_byte_of_an_attack_reaches_tier_two_over(handoff: Handoff) -> anyhow::Result<()> {
    let (site, recorder) = Recorder::between_tiers(plan()?, handoff).await?;
    let suite = suite("attacks")?;
    let missed_offline = unexpected_offline(&site, "attacks")?;
    let (mut refusals, mut passed_in_all) = (0, 0);
    for framing in [Framing::Announced, Framing::Unannounced] {
        let outcome = send(&site, &recorder, &sendable(&suite, framing), framing).await?;
        assert_eq!(outcome.unsaid, BTreeSet::new());
        let (passed, refused): (Vec<_>, Vec<_>) = outcome.sent.iter().partition(|(_, line)| refusal(line).is_none());
        assert!(passed.len() * 100 <= outcome.sent.len(), "{} of {} passed", passed.len(), outcome.sent.len());
        for (sent, line) in &passed {
            assert!(missed_offline.contains(&sent.entry.place), "rules alone refuse it, {}: {line}", sent.describe());
            eprintln!("passes, as by the rules alone: {}", sent.describe());
        }
        explain_earlier_refusals(&outcome);
        every_refusal_is_on_record(&site, &outcome, &mut refusals).await?;
        // A head goes ahead of a body that is held back on its way; tier two waits for the body before it does anything.
        let body_of = |sent: &Sent| sent.entry.case.request.body.len();
        let has_head_ahead = |sent: &Sent| body_of(sent) > COLLECTED_MAX || framing == Framing::Unannounced;
        let ahead = refused.iter().filter(|(sent, _)| has_head_ahead(sent)).count();
        let bodies: usize = passed.iter().map(|(sent, _)| body_of(sent)).sum();
        let HandedOn { heads, body_bytes } = outcome.handed_on;
        assert!(heads <= passed.len() + ahead, "{handoff:?}, {framing:?}: {heads} heads reached tier two");
        assert!(body_bytes <= bodies, "{handoff:?}, {framing:?}: {body_bytes} bytes of bodies reached tier two");
        passed_in_all += passed.len();
    }
    let executed = usize::try_from(site.services[0].stats().await?.requests)?;
    assert!(executed <= passed_in_all, "{handoff:?}: the service saw {executed} requests, {passed_in_all} passed");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_ordinary_request_is_refused_by_the_rules() -> Passed {
    for handoff in Handoff::BOTH {
        no_ordinary_request_is_refused_by_the_rules_over(handoff).await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_byte_of_an_attack_reaches_tier_two() -> Passed {
    for handoff in Handoff::BOTH {
        no_byte_of_an_attack_reaches_tier_two_over(handoff).await?;
    }
    Ok(())
}
