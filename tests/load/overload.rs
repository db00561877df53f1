//! What callers notice of overload: a service with 32 workers that take 20 ms a call, a business node in front of it with three
//! groups, and calls that arrive whether the earlier ones are answered or not, up to four times what the service can take.
//!
//! An eighth of the calls is core (ratio 60), three eighths are real-time (30), half are the rest (10): at four times the
//! capacity core alone asks for half of it.

use std::convert::Infallible;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use bytes::Bytes;
use gatehouse_shared::clock;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Empty, Full};
use hyper::client::conn::http2::SendRequest;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use crate::client::count;
use crate::gatehouse::{AccessLog, Place, hop};
use crate::proxies::Server;
use crate::report::{Report, note, print};
use crate::settings::Settings;

/// Calls at a time that the service works on; it lets others wait.
const WORKERS: usize = 32;
/// How long one takes, give or take a tenth.
const WORK: Duration = Duration::from_millis(20);
/// Calls a second that the service can take.
const CAPACITY: f64 = 1_600.0;
/// What the edge gives a call.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long each load lasts.
const SECONDS: u64 = 8;
/// How long a pool whose size is found has before that, at twice the capacity: a node that starts in an overload lets too much
/// through for about two seconds.
const LEARNING: u64 = 5;
/// The groups and their parts of all calls.
const GROUPS: [(&str, f64); 3] = [("core", 0.125), ("real-time", 0.375), ("rest", 0.5)];
/// Loads in times of the capacity.
const TIMES: [f64; 4] = [1.0, 2.0, 3.0, 4.0];
/// Connections to the node, as an edge opens.
const CONNECTIONS: usize = 4;

/// What became of the calls of one group.
#[derive(Debug, Default, Clone)]
struct Outcome {
    offered: u32,
    /// Milliseconds of the calls that were answered with 200.
    answered: Vec<f64>,
    /// Milliseconds by which calls were sent too late, because the machine had something else to do. They are part of their times.
    late: Vec<f64>,
    /// Calls that were answered with 503.
    refused: u32,
    /// Any other status, and calls without an answer.
    other: u32,
}

/// Measures both ways to give a pool its size.
///
/// # Errors
///
/// Something does not start.
pub(crate) fn measure(settings: &Settings, directory: &Path, report: &mut Report) -> anyhow::Result<()> {
    if !settings.wants("overload") {
        return Ok(());
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    print("");
    print(&format!(
        "{:<10}{:>6}{:>12}{:>12}{:>12}{:>12}{:>14}{:>14}{:>10}",
        "pool", "times", "core %", "core p50 ms", "core p99 ms", "sent late", "real-time %", "rest %", "goodput"
    ));
    for (name, size) in [("fixed", "size = 32"), ("adaptive", "min = 4\nmax = 400")] {
        note(&format!("overload, {name} pool"));
        runtime.block_on(of_pool(name, size, settings, directory, report))?;
    }
    Ok(())
}

async fn of_pool(
    name: &str,
    size: &str,
    settings: &Settings,
    directory: &Path,
    report: &mut Report,
) -> anyhow::Result<()> {
    let service = service().await?;
    let place = Place::new(directory, &format!("overload-{name}"))?;
    fs::write(place.config.join("business.toml"), place.business("overload", AccessLog::Off))?;
    fs::write(place.config.join("catalog.toml"), catalog(service, size))?;
    let node = place.start("business-gateway", "overload", settings)?;
    let core_alone = load(&node, &[("core", 0.125)], SECONDS).await?;
    let unloaded = core_alone.first().map(|outcome| outcome.quantile(0.99)).context("nothing was called")?;
    report.figure(format!("overload_{name}_core_p99_ms_alone"), unloaded);
    load(&node, &GROUPS.map(|(group, part)| (group, part * 2.0)), LEARNING).await?;
    for times in TIMES {
        let loads = GROUPS.map(|(group, part)| (group, part * times));
        let outcomes = load(&node, &loads, SECONDS).await?;
        let [core, real_time, rest] = outcomes.as_slice() else { continue };
        let answered: usize = outcomes.iter().map(|outcome| outcome.answered.len()).sum();
        let goodput = count(answered) / (CAPACITY * count(usize::try_from(SECONDS)?));
        let p99 = core.quantile(0.99);
        print(&format!(
            "{name:<10}{times:>6}{:>12.2}{:>12.1}{p99:>12.1}{:>12.1}{:>14.1}{:>14.1}{goodput:>10.3}",
            core.success() * 100.0,
            core.quantile(0.5),
            quantile(&core.late, 0.99),
            real_time.success() * 100.0,
            rest.success() * 100.0
        ));
        report.figure(format!("overload_{name}_{times}x_core_success"), core.success());
        report.figure(format!("overload_{name}_{times}x_core_p99_vs_alone"), p99 / unloaded);
        report.figure(format!("overload_{name}_{times}x_goodput"), goodput);
        let others: u32 = outcomes.iter().map(|outcome| outcome.other).sum();
        if others > 0 || core.success() < 0.999 {
            report.fail(format!("overload, {name} pool, {times} times: core {:.4}, {others} odd", core.success()));
        }
    }
    Ok(())
}

impl Outcome {
    fn success(&self) -> f64 {
        count(self.answered.len()) / f64::from(self.offered.max(1))
    }

    fn quantile(&self, part: f64) -> f64 {
        quantile(&self.answered, part)
    }
}

fn quantile(times: &[f64], part: f64) -> f64 {
    let mut times = times.to_vec();
    times.sort_by(f64::total_cmp);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a place in a list")]
    let place = (count(times.len()) * part) as usize;
    times.get(place).copied().unwrap_or_default()
}

/// Lets calls of each group arrive for some seconds, at rates in times of the capacity.
async fn load(node: &Server, groups: &[(&'static str, f64)], seconds: u64) -> anyhow::Result<Vec<Outcome>> {
    let mut connections = Vec::new();
    for _connection in 0..CONNECTIONS {
        let stream = TcpStream::connect(node.address).await?;
        stream.set_nodelay(true)?;
        let mut builder = hyper::client::conn::http2::Builder::new(TokioExecutor::new());
        // A node lets so many streams be open at a time; the rest waits for room, as at an edge.
        builder.initial_max_send_streams(None);
        let (sender, connection) = builder.handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        connections.push(sender);
    }
    let loads =
        groups.iter().map(|(group, rate)| arrivals(node.address, group, rate * CAPACITY, seconds, &connections));
    let outcomes = futures_util::future::join_all(loads).await;
    ensure!(outcomes.iter().all(|outcome| outcome.offered > 0), "no call was made");
    Ok(outcomes)
}

/// Calls of one group, at exponentially distributed intervals.
async fn arrivals(
    address: SocketAddr,
    group: &'static str,
    rate: f64,
    seconds: u64,
    connections: &[SendRequest<Empty<Bytes>>],
) -> Outcome {
    let outcome = Arc::new(Mutex::new(Outcome::default()));
    let start = clock::now();
    let mut next = Duration::ZERO;
    let mut calls = tokio::task::JoinSet::new();
    while next < Duration::from_secs(seconds) {
        tokio::time::sleep_until((start + next).into()).await;
        // The timer is coarse; whatever is due by now is sent now, and its time counts from when it was due.
        while next <= start.elapsed() && next < Duration::from_secs(seconds) {
            if let Some(sender) = connections.get(fastrand::usize(..connections.len())) {
                let call = call(sender.clone(), address, group, start + next, Arc::clone(&outcome));
                calls.spawn(call);
            }
            next += Duration::from_secs_f64(-(1.0 - fastrand::f64()).ln() / rate);
        }
        while calls.try_join_next().is_some() {}
    }
    while calls.join_next().await.is_some() {}
    let outcome = outcome.lock().map(|outcome| outcome.clone());
    outcome.unwrap_or_default()
}

async fn call(
    mut sender: SendRequest<Empty<Bytes>>,
    address: SocketAddr,
    group: &'static str,
    due: Instant,
    outcome: Arc<Mutex<Outcome>>,
) {
    let path = format!("/{group}");
    let late = due.elapsed().as_secs_f64() * 1e3;
    let answered = async {
        let hop = hop("GET", &address.to_string(), &path, &path, PATIENCE)?;
        let (name, value) = hop.split_once(": ").context("no header")?;
        let request = Request::get(format!("http://{address}{path}")).header(name, value).body(Empty::new())?;
        let answer = sender.send_request(request).await?;
        let status = answer.status();
        answer.into_body().collect().await?;
        anyhow::Ok(status)
    };
    let status = answered.await;
    let took = due.elapsed().as_secs_f64() * 1e3;
    let Ok(mut outcome) = outcome.lock() else { return };
    outcome.offered += 1;
    outcome.late.push(late);
    match status.map(|status| status.as_u16()) {
        Ok(200) => outcome.answered.push(took),
        Ok(503) => outcome.refused += 1,
        _ => outcome.other += 1,
    }
}

/// A service with so many workers.
async fn service() -> anyhow::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let workers = Arc::new(Semaphore::new(WORKERS));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            drop(stream.set_nodelay(true));
            let workers = Arc::clone(&workers);
            let answer = hyper::service::service_fn(move |_request| {
                let workers = Arc::clone(&workers);
                async move {
                    let _worker = workers.acquire().await;
                    tokio::time::sleep(WORK.mul_f64(0.9 + 0.2 * fastrand::f64())).await;
                    Ok::<_, Infallible>(Response::new(Full::new(Bytes::from_static(b"done"))))
                }
            });
            tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), answer));
        }
    });
    Ok(address)
}

fn catalog(service: SocketAddr, size: &str) -> String {
    let mut catalog = format!(
        "[[service]]\nname = \"workers\"\nendpoints = [\"{service}\"]\nconnections_max = 1000\n[[pool]]\nname = \"workers\"\n{size}\n"
    );
    for (group, ratio) in [("core", 60), ("real-time", 30), ("rest", 10)] {
        let when = if group == "rest" { String::new() } else { format!("when = [{{ level = \"{group}\" }}]\n") };
        let level = if group == "rest" { String::new() } else { format!("level = \"{group}\"\n") };
        catalog.push_str(&format!(
            "[[group]]\nname = \"{group}\"\nratio = {ratio}\n{when}[[api]]\nname = \"{group}\"\naccess = \"open\"\nschemes = []\nservice = \"workers\"\npath = \"/{group}\"\n{level}"
        ));
    }
    catalog
}
