//! A list of a million networks: how long it takes to load, what memory it takes, and what a look-up costs, beside HAProxy and
//! nginx with the same networks.
//!
//! Load time and memory are differences between a server with the list and the same server without, each the median of
//! several starts. Half of our entries have metadata, which the others cannot hold: their list is the networks alone. Every
//! server must turn away a client that is on the list and serve one that is not.

use std::collections::HashSet;
use std::fmt::Write as _;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use gatehouse_shared::cidr::{NetworkSet, NetworkSetBuilder, Note, around};
use gatehouse_shared::clock;

use crate::gatehouse::{self, AccessLog, Next};
use crate::idle::settled_memory;
use crate::proxies::{self, Denied, Server};
use crate::report::{Report, note};
use crate::rounds::{median, sorted};
use crate::service::Service;
use crate::settings::Settings;
use crate::subject::HandOff;

/// Networks of the list.
const NETWORKS: usize = 1_000_000;
/// Addresses looked up.
const LOOKUPS: usize = 2_000_000;
/// Starts of each server, with the list and without.
const STARTS: usize = 5;
/// Rounds of look-ups.
const ROUNDS: usize = 11;
/// A client on the list.
const DENIED: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 66);
/// A client that is not.
const SERVED: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 67);
/// How long an answer may take.
const ANSWER_DEADLINE: Duration = Duration::from_secs(5);

/// Measures all servers and the look-up.
///
/// # Errors
///
/// A server does not start, or obeys its list wrongly.
pub(crate) fn measure(settings: &Settings, directory: &Path, report: &mut Report) -> anyhow::Result<()> {
    if !settings.wants("list") {
        return Ok(());
    }
    note("lists of a million networks");
    let directory = &directory.join("lists");
    fs::create_dir_all(directory)?;
    let networks = networks();
    let files = Files::write(directory, &networks)?;
    let service = Service::start(settings, directory)?;
    let address = service.address;
    let mut edges = 0;
    let mut edge = |list: Option<&Path>| {
        edges += 1;
        let name = format!("list_edge_{edges}");
        let next = Next::Service(address);
        let more = list.map_or_else(String::new, gatehouse::denying);
        gatehouse::edge_with(&name, settings, directory, next, HandOff::H2c, AccessLog::Off, &more)
    };
    compare("", &mut edge, &files.ours, report)?;
    let mut haproxy = |list: Option<&Path>| {
        proxies::haproxy_denying(settings, directory, address, list.map_or(Denied::Nobody, Denied::Listed))
    };
    compare("haproxy_", &mut haproxy, &files.haproxy, report)?;
    let mut nginx = |list: Option<&Path>| {
        proxies::nginx_denying(settings, directory, address, list.map_or(Denied::Nobody, Denied::Listed))
    };
    compare("nginx_", &mut nginx, &files.nginx, report)?;
    report.figure("memory_access_ns", memory_access_nanoseconds());
    match lookup_nanoseconds(&networks) {
        Ok(nanoseconds) => report.figure("list_lookup_ns", nanoseconds),
        Err(error) => report.fail(format!("look-ups: {error:#}")),
    }
    Ok(())
}

/// Starts a server several times with the list and without.
fn compare(
    name: &str,
    start: &mut impl FnMut(Option<&Path>) -> anyhow::Result<Server>,
    list: &Path,
    report: &mut Report,
) -> anyhow::Result<()> {
    let (mut times, mut memories) = (Vec::new(), Vec::new());
    for _ in 0..STARTS {
        let empty = started(start, None)?;
        let full = started(start, Some(list))?;
        times.push((full.0 - empty.0) * 1e3);
        memories.push((full.1 - empty.1) / 1e6);
    }
    for (what, values) in [("load_ms", times), ("memory_mb", memories)] {
        report.figure(format!("{name}list_{what}"), median(&sorted(values.into_iter())).unwrap_or_default());
    }
    Ok(())
}

/// Seconds until a server listens, and its private memory then.
fn started(
    start: &mut impl FnMut(Option<&Path>) -> anyhow::Result<Server>,
    list: Option<&Path>,
) -> anyhow::Result<(f64, f64)> {
    let begin = clock::now();
    let server = start(list)?;
    let seconds = (clock::now() - begin).as_secs_f64();
    ensure!(is_served(server.address, SERVED)?, "a client that is not on the list is turned away");
    ensure!(is_served(server.address, DENIED)? == list.is_none(), "the list is not obeyed");
    Ok((seconds, settled_memory(&server.child)?))
}

/// The list as Gatehouse reads it, written to a file in `directory`.
///
/// # Errors
///
/// It cannot be written.
pub(crate) fn list_file(directory: &Path) -> anyhow::Result<PathBuf> {
    Ok(Files::write(directory, &networks())?.ours)
}

/// Whether a server turns away who is on the list, and nobody else.
///
/// # Errors
///
/// It does not answer, or obeys the list wrongly.
pub(crate) fn check_obeyed(server: SocketAddr) -> anyhow::Result<()> {
    ensure!(is_served(server, SERVED)? && !is_served(server, DENIED)?, "the list is not obeyed");
    Ok(())
}

/// Whether a client at this address gets the answer of the service.
fn is_served(server: SocketAddr, client: Ipv4Addr) -> anyhow::Result<bool> {
    use socket2::{Domain, Socket, Type};
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.bind(&SocketAddr::from((client, 0)).into())?;
    socket.connect(&server.into())?;
    let mut stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(ANSWER_DEADLINE))?;
    let request = format!("GET /bench HTTP/1.1\r\nHost: {server}\r\nConnection: close\r\n\r\n");
    // A connection that is closed at once may not even take the request.
    let _taken = stream.write_all(request.as_bytes()).is_ok();
    let mut answer = Vec::new();
    let _whole = stream.read_to_end(&mut answer).is_ok();
    match answer.get(..12) {
        Some(b"HTTP/1.1 200") => Ok(true),
        Some(b"HTTP/1.1 403") => Ok(false),
        None if answer.is_empty() => Ok(false),
        _ => bail!("unexpected answer: {}", String::from_utf8_lossy(&answer)),
    }
}

/// The list in the words of each server.
struct Files {
    ours: PathBuf,
    haproxy: PathBuf,
    nginx: PathBuf,
}

impl Files {
    fn write(directory: &Path, networks: &[(Ipv4Addr, u8)]) -> anyhow::Result<Self> {
        let (mut ours, mut haproxy, mut nginx) = (String::new(), String::new(), String::new());
        for (index, (address, prefix)) in networks.iter().enumerate() {
            match Metadata::of(index) {
                Some(note) => writeln!(ours, "{address}/{prefix} {note}")?,
                None => writeln!(ours, "{address}/{prefix}")?,
            }
            writeln!(haproxy, "{address}/{prefix}")?;
            writeln!(nginx, "{address}/{prefix} 1;")?;
        }
        let write = |name: &str, text: String| {
            let file = directory.join(name);
            fs::write(&file, text).with_context(|| format!("cannot write {name}")).map(|()| file)
        };
        Ok(Self {
            ours: write("list.netset", ours)?,
            haproxy: write("haproxy.list", haproxy)?,
            nginx: write("nginx.list", nginx)?,
        })
    }
}

/// What stands beside every other network: a date, one of 20 owners, a ticket for every ten entries, one of 50 reasons.
struct Metadata {
    until: u64,
    owner: String,
    ticket: String,
    reason: String,
}

impl Metadata {
    fn of(index: usize) -> Option<Self> {
        let number = u64::try_from(index).unwrap_or_default();
        index.is_multiple_of(2).then(|| Self {
            until: 4_000_000_000 + number % 10_000_000,
            owner: format!("team-{}", index % 20),
            ticket: format!("SEC-{}", index / 10),
            reason: format!("reported by source {} for scanning", index / 2 % 50),
        })
    }
}

impl std::fmt::Display for Metadata {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let until = clock::rfc3339(self.until * 1_000);
        write!(f, "until={until} owner={} ticket={} # {}", self.owner, self.ticket, self.reason)
    }
}

/// Different random networks: seven of ten single addresses, most of the others /24, some /20; and one client of our own.
fn networks() -> Vec<(Ipv4Addr, u8)> {
    let mut random = Random(1);
    let mut seen = HashSet::from([(DENIED, 32)]);
    let mut networks = vec![(DENIED, 32)];
    while networks.len() < NETWORKS {
        let prefix = match random.below(20) {
            0 => 20,
            1..=5 => 24,
            _ => 32,
        };
        let bits = random.next() & (u32::MAX << (32 - prefix));
        let network = (Ipv4Addr::from_bits(bits), u8::try_from(prefix).unwrap_or(32));
        // The machine's own addresses are the bench's.
        if !network.0.is_loopback() && seen.insert(network) {
            networks.push(network);
        }
    }
    networks
}

/// Nanoseconds a look-up takes, of random addresses half of which are in a network of the list; every answer is compared with
/// what a plain search through merged ranges says.
fn lookup_nanoseconds(networks: &[(Ipv4Addr, u8)]) -> anyhow::Result<f64> {
    let set = compiled(networks)?;
    let ranges = Ranges::of(networks);
    let mut random = Random(2);
    let mut addresses = Vec::with_capacity(LOOKUPS);
    while addresses.len() < LOOKUPS {
        let network = networks.get(random.below(networks.len())).copied();
        let Some((first, prefix)) = network else { continue };
        let within = random.next().checked_shr(prefix.into()).unwrap_or(0);
        addresses.push(IpAddr::from(Ipv4Addr::from_bits(first.to_bits() | within)));
        let elsewhere = loop {
            let address = Ipv4Addr::from_bits(random.next());
            if !ranges.contain(address) {
                break address;
            }
        };
        addresses.push(IpAddr::from(elsewhere));
    }
    // In an order that no processor foresees.
    for last in (1..addresses.len()).rev() {
        addresses.swap(last, random.below(last + 1));
    }
    let mut rounds = Vec::new();
    for _ in 0..ROUNDS {
        let (begin, mut hits) = (clock::now(), 0);
        for address in &addresses {
            hits += usize::from(set.find(*address, 0).is_some());
        }
        let each = (clock::now() - begin).as_secs_f64() / addresses.len() as f64;
        ensure!(hits == addresses.len() / 2, "{hits} of {} addresses were found", addresses.len());
        rounds.push(each * 1e9);
    }
    let wrong = addresses.iter().filter(|address| match address {
        IpAddr::V4(four) => set.contains(**address) != ranges.contain(*four),
        IpAddr::V6(_) => true,
    });
    ensure!(wrong.count() == 0, "a look-up differs from a plain search");
    median(&sorted(rounds.into_iter())).context("no round")
}

/// Nanoseconds of one access to a random place in as much memory as the list takes: what a look-up costs at least, on this machine
/// at this time.
fn memory_access_nanoseconds() -> f64 {
    const LINES: usize = 20 * NETWORKS / 64;
    let mut random = Random(3);
    let mut order: Vec<usize> = (0..LINES).collect();
    for last in (1..LINES).rev() {
        order.swap(last, random.below(last + 1));
    }
    // Every line names the one that is looked at next, in one circle through all.
    let mut lines = vec![[0usize; 8]; LINES];
    for (this, next) in order.iter().zip(order.iter().cycle().skip(1)) {
        if let Some([first, ..]) = lines.get_mut(*this) {
            *first = *next;
        }
    }
    let begin = clock::now();
    let mut at = 0;
    for _ in 0..LOOKUPS {
        at = lines.get(at).map_or(0, |[next, ..]| *next);
    }
    std::hint::black_box(at);
    (clock::now() - begin).as_secs_f64() / LOOKUPS as f64 * 1e9
}

/// The set that the edge looks into, with the same notes.
fn compiled(networks: &[(Ipv4Addr, u8)]) -> anyhow::Result<NetworkSet> {
    let mut builder = NetworkSetBuilder::new("list");
    for (index, (address, prefix)) in networks.iter().enumerate() {
        let metadata = Metadata::of(index);
        let note = metadata.as_ref().map(|known| Note {
            until: Some(known.until),
            owner: Some(&known.owner),
            ticket: Some(&known.ticket),
            reason: Some(&known.reason),
        });
        let line = u32::try_from(index + 1)?;
        builder.add(around((*address).into(), *prefix, 0), &note.unwrap_or_default(), line);
    }
    Ok(builder.build()?)
}

/// The addresses of a list as sorted ranges that do not touch.
struct Ranges(Vec<(u32, u32)>);

impl Ranges {
    fn of(networks: &[(Ipv4Addr, u8)]) -> Self {
        let last = |first: u32, prefix: u8| first | u32::MAX.checked_shr(prefix.into()).unwrap_or(0);
        let mut all: Vec<_> =
            networks.iter().map(|(first, prefix)| (first.to_bits(), last(first.to_bits(), *prefix))).collect();
        all.sort_unstable();
        let mut merged: Vec<(u32, u32)> = Vec::new();
        for (first, last) in all {
            match merged.last_mut() {
                Some(before) if first <= before.1.saturating_add(1) => before.1 = before.1.max(last),
                _ => merged.push((first, last)),
            }
        }
        Self(merged)
    }

    fn contain(&self, address: Ipv4Addr) -> bool {
        let after = self.0.partition_point(|(first, _)| *first <= address.to_bits());
        let range = after.checked_sub(1).and_then(|place| self.0.get(place));
        range.is_some_and(|(_, last)| address.to_bits() <= *last)
    }
}

/// Numbers that look random and are the same in every run (SplitMix64).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u32 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        u32::try_from((mixed ^ mixed >> 31) >> 32).unwrap_or_default()
    }

    /// A number below `bound`, which is at most 2^32.
    fn below(&mut self, bound: usize) -> usize {
        let bound = u64::try_from(bound).unwrap_or(1);
        usize::try_from((u64::from(self.next()) * bound) >> 32).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_plain_search_finds_what_is_within_and_nothing_beside_it() {
        let four = Ipv4Addr::new;
        let ranges = Ranges::of(&[(four(10, 0, 0, 0), 24), (four(10, 0, 1, 0), 24), (four(10, 0, 0, 7), 32)]);
        assert_eq!(ranges.0.len(), 1);
        for (address, expected) in [
            (four(9, 255, 255, 255), false),
            (four(10, 0, 0, 0), true),
            (four(10, 0, 1, 255), true),
            (four(10, 0, 2, 0), false),
        ] {
            assert_eq!(ranges.contain(address), expected, "{address}");
        }
    }
}
