//! What the inner gate saves and what it spends when it does more than hand a call on: an answer from the cache, one answer made of
//! five, a batch; beside plain calls through the same node that are admitted in the same way (an API key, a limit).
//!
//! CPU is measured in interleaved rounds as everywhere; time and bytes by one client that makes one call after another.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, ensure};
use gatehouse_shared::clock;

use crate::client::{Answer, Client, count};
use crate::gatehouse::{self, AccessLog, DEFAULT_HAND_OFF, Next, Place, hop};
use crate::load::{Load, Tool};
use crate::proxies::Server;
use crate::report::{Report, note, print};
use crate::rounds::{Quartiles, median, sorted};
use crate::service::Service;
use crate::settings::{FIELDS, Settings};

/// The credential of every call.
const KEY: &str = "x-api-key: shop.0123456789abcdef0123456789abcdef";
/// Calls of services at a time, and of answers from the cache.
const CONCURRENCY: usize = 64;
/// How long a call may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// Calls of which the time is measured, one after the other.
const TIMED: usize = 100;
/// Parts of the aggregates.
const PARTS: usize = 5;
/// Items of the batch that is counted.
const ITEMS: usize = 20;
/// Items of the batch whose time is measured.
const SLOW_ITEMS: usize = 50;

/// A request that is repeated, and how often the service executes something for each.
struct Call {
    name: &'static str,
    target: &'static str,
    body: Option<String>,
    executed: usize,
}

impl Call {
    /// As many at a time as have the service work on [`CONCURRENCY`] calls.
    fn concurrency(&self) -> usize {
        CONCURRENCY.div_ceil(self.executed.max(1))
    }
}

/// Measures all of it.
///
/// # Errors
///
/// Something does not start, or the tools fail.
pub(crate) fn measure(settings: &Settings, directory: &Path, report: &mut Report) -> anyhow::Result<()> {
    if !settings.wants("composed") {
        return Ok(());
    }
    let place = Place::new(directory, "composed")?;
    let service = Service::start(settings, &place.state)?;
    fs::write(place.config.join("business.toml"), place.business("composed", AccessLog::File))?;
    fs::write(place.config.join("catalog.toml"), catalog(service.address))?;
    fs::write(place.config.join("shop.secret"), KEY.rsplit('.').next().unwrap_or_default())?;
    let node = place.start("business-gateway", "composed", settings)?;
    let calls = [
        Call { name: "forwarded", target: "/bench?symbol=BTC-USD&limit=50", body: None, executed: 1 },
        Call { name: "cached", target: "/kept?symbol=BTC-USD&limit=50", body: None, executed: 0 },
        Call { name: "aggregate_of_five", target: "/five?symbol=BTC-USD", body: None, executed: PARTS },
        Call { name: "batch_of_20", target: "/batch", body: Some(batch("/bench?item=", ITEMS)), executed: ITEMS },
    ];
    check(&node, &service, &calls)?;
    rounds(settings, &place.state, &node, &service, &calls, report)?;
    times(&node, &service, report)?;
    let edge = gatehouse::edge(
        "composed-edge",
        settings,
        directory,
        Next::Business(node.address),
        DEFAULT_HAND_OFF,
        AccessLog::File,
    )?;
    bytes(&edge, report)
}

/// Each call must be answered with what it is about, and refused without a credential.
fn check(node: &Server, service: &Service, calls: &[Call]) -> anyhow::Result<()> {
    let mut client = Client::connect(node.address, PATIENCE)?;
    for call in calls {
        let method = if call.body.is_some() { "POST" } else { "GET" };
        let credential = |key: &str| Ok::<_, anyhow::Error>(vec![key.to_owned(), of_edge(node, call)?]);
        let refused = ask(&mut client, method, call.target, &credential("x-no-key: 1")?, call.body.as_deref())?;
        ensure!(refused.status == 401, "{} without a credential: {}", call.name, refused.status);
        ask(&mut client, method, call.target, &credential(KEY)?, call.body.as_deref())?;
        let before = service.settled_counts()?.requests;
        let answer = ask(&mut client, method, call.target, &credential(KEY)?, call.body.as_deref())?;
        let executed = service.settled_counts()?.requests - before;
        ensure!(answer.status == 200, "{}: {} {}", call.name, answer.status, answer.body);
        ensure!((executed - count(call.executed)).abs() < 0.5, "{}: {executed} executed", call.name);
        let parts = answer.body.matches("\"total_cents\":5950").count();
        ensure!(parts == call.executed.max(1), "{}: {}", call.name, answer.body);
    }
    Ok(())
}

fn rounds(
    settings: &Settings,
    directory: &Path,
    node: &Server,
    service: &Service,
    calls: &[Call],
    report: &mut Report,
) -> anyhow::Result<()> {
    let mut costs = vec![Vec::new(); calls.len()];
    for round in 1..=settings.rounds {
        note(&format!("cache, aggregate and batch: round {round} of {}", settings.rounds));
        let mut order: Vec<_> = calls.iter().zip(&mut costs).collect();
        if round % 2 == 0 {
            order.reverse();
        }
        for (call, costs) in order {
            costs.push(cost(settings, directory, node, service, call, report)?);
        }
    }
    let [forwarded, cached, aggregate, batch] = costs.as_slice() else { return Ok(()) };
    for (call, costs) in calls.iter().zip(&costs) {
        let middle = median(&sorted(costs.iter().copied())).context("no round")?;
        report.figure(format!("cpu_us_composed_{}", call.name), middle);
    }
    print("");
    print(&format!("{:<40}{:>10}{:>12}{:>12}", "ratio of cpu, median of the rounds", "median", "lower", "upper"));
    for (name, one, calls) in [
        ("cached_vs_forwarded", cached, 1.0),
        ("aggregate_of_five_vs_one_call", aggregate, 1.0),
        ("batch_of_20_vs_20_calls", batch, count(ITEMS)),
    ] {
        let pairs = one.iter().zip(forwarded).map(|(one, forwarded)| one / (forwarded * calls));
        report.quartiles(name, Quartiles::of(pairs).context("no round")?);
    }
    Ok(())
}

/// CPU microseconds of the node for each of a call, repeated as fast as it goes.
fn cost(
    settings: &Settings,
    directory: &Path,
    node: &Server,
    service: &Service,
    call: &Call,
    report: &mut Report,
) -> anyhow::Result<f64> {
    let body = call.body.as_ref().map(|body| {
        let file = directory.join(format!("{}.json", call.name));
        fs::write(&file, body).map(|()| file)
    });
    let load = Load {
        target: call.target.to_owned(),
        body: body.transpose()?,
        fields: vec![KEY.to_owned(), of_edge(node, call)?],
        ..Load::bench(Tool::H2load, node.address, call.concurrency(), settings.seconds)
    };
    let (before, began) = (service.settled_counts()?.requests, node.child.cpu_seconds()?);
    let outcome = load.run(settings, directory)?;
    let spent = node.child.cpu_seconds()? - began;
    let executed = service.settled_counts()?.requests - before;
    let at_least = outcome.requests * count(call.executed);
    let at_most = (outcome.requests + count(2 * call.concurrency())) * count(call.executed);
    if outcome.errors > 0.0 || executed < at_least || executed > at_most {
        let (name, requests, complaint) = (call.name, outcome.requests, &outcome.complaint);
        report.fail(format!("{name}: {requests} answered, {executed} executed by the service; {complaint}"));
    }
    Ok(spent / outcome.requests * 1e6)
}

/// The time of several calls in one beside that of one call: of five at a time, and of fifty.
fn times(node: &Server, service: &Service, report: &mut Report) -> anyhow::Result<()> {
    let calls = [
        Call { name: "one", target: "/slow?ms=20", body: None, executed: 1 },
        Call { name: "aggregate_of_five", target: "/slow-five", body: None, executed: PARTS },
        Call {
            name: "batch_of_50",
            target: "/batch",
            body: Some(batch("/slow?ms=20&item=", SLOW_ITEMS)),
            executed: SLOW_ITEMS,
        },
    ];
    let mut client = Client::connect(node.address, PATIENCE)?;
    let mut middles = Vec::new();
    for call in &calls {
        note(&format!("time of {}", call.name));
        let method = if call.body.is_some() { "POST" } else { "GET" };
        let before = service.settled_counts()?.requests;
        let mut times = Vec::new();
        for _turn in 0..TIMED {
            let fields = [KEY.to_owned(), of_edge(node, call)?];
            let began = clock::now();
            let answer = ask(&mut client, method, call.target, &fields, call.body.as_deref())?;
            times.push(began.elapsed().as_secs_f64() * 1e3);
            ensure!(answer.status == 200, "{}: {} {}", call.name, answer.status, answer.body);
            let parts = answer.body.matches("\"waited_ms\":20").count();
            ensure!(parts == call.executed, "{}: {}", call.name, answer.body);
        }
        let executed = service.settled_counts()?.requests - before;
        ensure!((executed - count(TIMED * call.executed)).abs() < 0.5, "{}: {executed} executed", call.name);
        middles.push(median(&sorted(times.into_iter())).context("no time")?);
    }
    let [one, aggregate, batch] = middles.as_slice() else { return Ok(()) };
    report.figure("time_ms_one_call", *one);
    report.figure("time_ms_aggregate_of_five", *aggregate);
    report.figure("time_ms_batch_of_50", *batch);
    report.figure("aggregate_of_five_time_vs_one_call", aggregate / one);
    report.figure("batch_of_50_time_vs_one_call", batch / one);
    Ok(())
}

/// What a client sends and receives for twenty reads of its own and for a batch of the same, and how often it waits.
fn bytes(edge: &Server, report: &mut Report) -> anyhow::Result<()> {
    let mut client = Client::connect(edge.address, PATIENCE)?;
    let fields = [KEY.to_owned()];
    let mut single = Vec::new();
    for item in 0..ITEMS {
        let answer = ask(&mut client, "GET", &format!("/bench?item={item}"), &fields, None)?;
        ensure!(answer.status == 200, "a call through both tiers: {} {}", answer.status, answer.body);
        single.push(answer.body);
    }
    let (calls_bytes, calls_turns) = (client.bytes, client.turns);
    let mut client = Client::connect(edge.address, PATIENCE)?;
    let answer = ask(&mut client, "POST", "/batch", &fields, Some(&batch("/bench?item=", ITEMS)))?;
    ensure!(answer.status == 200, "a batch through both tiers: {} {}", answer.status, answer.body);
    let items: Vec<serde_json::Value> = serde_json::from_str(&answer.body)?;
    ensure!(items.len() == single.len(), "{} items", items.len());
    for (item, alone) in items.iter().zip(&single) {
        let alone: serde_json::Value = serde_json::from_str(alone)?;
        ensure!(item.get("body") == Some(&alone), "an item is answered otherwise than alone: {item}");
    }
    report.figure("client_bytes_20_calls", calls_bytes);
    report.figure("client_bytes_batch_of_20", client.bytes);
    report.figure("batch_of_20_bytes_saved_share", 1.0 - client.bytes / calls_bytes);
    report.figure("batch_of_20_round_trips_saved", calls_turns - client.turns);
    Ok(())
}

/// The hop of an edge for a call that goes to the node directly.
fn of_edge(node: &Server, call: &Call) -> anyhow::Result<String> {
    let method = if call.body.is_some() { "POST" } else { "GET" };
    let path = call.target.split('?').next().unwrap_or_default();
    hop(method, &node.address.to_string(), path, call.target, PATIENCE)
}

/// The body of a batch of so many different reads.
fn batch(target: &str, items: usize) -> String {
    let items: Vec<_> =
        (0..items).map(|item| serde_json::json!({ "method": "GET", "path": format!("{target}{item}") })).collect();
    serde_json::Value::Array(items).to_string()
}

/// The answer to one call of a client.
fn ask(
    client: &mut Client,
    method: &str,
    target: &str,
    fields: &[String],
    body: Option<&str>,
) -> anyhow::Result<Answer> {
    let own: Vec<&str> = FIELDS.into_iter().chain(fields.iter().map(String::as_str)).collect();
    let mut request = format!("{method} {target} HTTP/1.1\r\nHost: {}\r\n{}\r\n", client.address, own.join("\r\n"));
    if let Some(body) = body {
        request.push_str(&format!("Content-Type: application/json\r\nContent-Length: {}\r\n", body.len()));
    }
    request.push_str("\r\n");
    request.push_str(body.unwrap_or_default());
    client.send(&request)?;
    client.answer()
}

fn catalog(service: SocketAddr) -> String {
    let mut catalog = format!(
        r#"
[[service]]
name = "sample"
endpoints = ["{service}"]
[[app]]
key = "shop"
packages = ["all"]
api_keys = [{{ id = "1", secret = {{ file = "shop.secret" }} }}]
[[package]]
name = "all"
apis = ["*"]
[[limit]]
name = "app-minute"
by = ["app"]
rate = "1000000000/1m"
"#
    );
    for (name, path, more) in [
        ("bench", "/bench", "service = \"sample\"\nbatchable = true\nmethods = [\"GET\"]"),
        (
            "kept",
            "/kept",
            "service = \"sample\"\nmethods = [\"GET\"]\nrewrite = { path = \"/bench\" }\ncache = { lifetime = \"1h\" }",
        ),
        ("slow", "/slow", "service = \"sample\"\nbatchable = true\nmethods = [\"GET\"]"),
        ("five", "/five", "aggregate = \"five\"\nmethods = [\"GET\"]"),
        ("slow-five", "/slow-five", "aggregate = \"slow-five\"\nmethods = [\"GET\"]"),
        ("batch", "/batch", "batch = {}\nmethods = [\"POST\"]"),
    ] {
        catalog.push_str(&format!(
            "[[api]]\nname = \"{name}\"\npath = \"{path}\"\nschemes = [\"api-key\"]\nlimits = [\"app-minute\"]\n{more}\n"
        ));
    }
    for (name, api, query) in [("five", "bench", ""), ("slow-five", "slow", "ms = \"20\", ")] {
        catalog.push_str(&format!("[[aggregate]]\nname = \"{name}\"\n"));
        for part in 0..PARTS {
            catalog.push_str(&format!(
                "[[aggregate.call]]\nname = \"part{part}\"\napi = \"{api}\"\nquery = {{ {query}part = \"{part}\" }}\n"
            ));
        }
    }
    catalog
}
