//! A request and its answer, sent through rules as the edge sends them.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use gatehouse_waf::RuleSet;
use gatehouse_waf::transaction::{Mode, Report, Start, Transaction, Verdict};

use crate::body::Cut;

/// The line between a request and its answer.
const SEPARATOR: &[u8] = b"\n====\n";

/// A request and its answer, as they are on the wire.
#[derive(Clone, Debug)]
pub struct Exchange<'a> {
    request: Message<'a>,
    answer: Option<Message<'a>>,
}

/// A message. Nothing of it has to be valid.
#[derive(Clone, Debug)]
struct Message<'a> {
    /// The words of the first line: what stands before the first space, behind the last one and between them.
    first: [&'a [u8]; 3],
    fields: Vec<(&'a [u8], &'a [u8])>,
    body: &'a [u8],
}

/// How an exchange is sent.
#[derive(Clone, Copy, Debug)]
pub struct Way {
    /// What rules may do.
    pub mode: Mode,
    /// Where both bodies are cut.
    pub cut: Cut,
    /// Behind how many bytes the request's body is begun again.
    pub restart: Option<usize>,
    /// Whether a form is judged as it comes, as often as there is something new.
    pub judged: bool,
}

impl Way {
    /// Whole and once.
    pub const PLAIN: Self = Self { mode: Mode::Block, cut: Cut::Nowhere, restart: None, judged: false };
}

impl<'a> Exchange<'a> {
    /// Reads an exchange; every text is one.
    #[must_use]
    pub fn read(bytes: &'a [u8]) -> Self {
        let between = bytes.windows(SEPARATOR.len()).position(|window| window == SEPARATOR);
        let (request, answer) = match between {
            Some(at) => (&bytes[..at], Some(&bytes[at + SEPARATOR.len()..])),
            None => (bytes, None),
        };
        Self { request: Message::read(request), answer: answer.map(Message::read) }
    }

    /// Bytes of the request's body.
    #[must_use]
    pub const fn body_length(&self) -> usize {
        self.request.body.len()
    }
}

impl<'a> Message<'a> {
    fn read(bytes: &'a [u8]) -> Self {
        let mut rest = bytes;
        let mut next = || {
            let end = rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len());
            let (line, behind) = rest.split_at(end);
            rest = behind.get(1..).unwrap_or_default();
            line.strip_suffix(b"\r").unwrap_or(line)
        };
        let first = words(next());
        let mut fields = Vec::new();
        loop {
            let line = next();
            if line.is_empty() {
                break;
            }
            let colon = line.iter().position(|byte| *byte == b':').unwrap_or(line.len());
            fields.push((&line[..colon], line.get(colon + 1..).unwrap_or_default().trim_ascii()));
        }
        Self { first, fields, body: rest }
    }
}

fn words(line: &[u8]) -> [&[u8]; 3] {
    let space = |byte: &u8| *byte == b' ';
    let Some(first) = line.iter().position(space) else { return [line, b"", b""] };
    let (before, behind) = (&line[..first], &line[first + 1..]);
    let Some(last) = behind.iter().rposition(space) else { return [before, behind, b""] };
    [before, &behind[..last], &behind[last + 1..]]
}

/// A new transaction.
#[must_use]
pub fn begin(rules: &Arc<RuleSet>, mode: Mode) -> Transaction {
    Transaction::new(Arc::clone(rules), mode, START)
}

/// Uses a transaction again.
pub fn renew(transaction: &mut Transaction, rules: &Arc<RuleSet>, mode: Mode) {
    transaction.renew(Arc::clone(rules), mode, START);
}

/// Sends an exchange through rules, in a transaction of its own.
#[must_use]
pub fn run(rules: &Arc<RuleSet>, exchange: &Exchange<'_>, way: Way) -> (Verdict, Report) {
    send(&mut begin(rules, way.mode), exchange, way)
}

/// Sends an exchange through a transaction that has just begun.
pub fn send(transaction: &mut Transaction, exchange: &Exchange<'_>, way: Way) -> (Verdict, Report) {
    let mut verdict = send_request(transaction, &exchange.request, way);
    if let (Verdict::Pass, Some(answer)) = (&verdict, &exchange.answer) {
        verdict = send_answer(transaction, answer, way.cut);
    }
    (verdict, transaction.finish())
}

fn send_request(transaction: &mut Transaction, request: &Message<'_>, way: Way) -> Verdict {
    let [method, target, protocol] = request.first;
    transaction.request_line(method, target, protocol);
    for (name, value) in &request.fields {
        transaction.request_header(name, value);
    }
    let verdict = transaction.request_head_end();
    if verdict != Verdict::Pass {
        return verdict;
    }
    if let Some(restart) = way.restart {
        let begun = &request.body[..restart.min(request.body.len())];
        if send_body(transaction, begun, way) == Verdict::Pass {
            transaction.restart_request_body();
        }
    }
    match send_body(transaction, request.body, way) {
        Verdict::Pass => transaction.request_end(),
        refused => refused,
    }
}

fn send_body(transaction: &mut Transaction, body: &[u8], way: Way) -> Verdict {
    if transaction.wants_request_body() {
        for piece in way.cut.pieces(body) {
            let mut verdict = transaction.request_body(piece);
            let has_news = || transaction.body_so_far().is_some_and(|so_far| !so_far.is_judged);
            if way.judged && verdict == Verdict::Pass && has_news() {
                verdict = transaction.judge_so_far();
            }
            if verdict != Verdict::Pass {
                return verdict;
            }
        }
    }
    Verdict::Pass
}

fn send_answer(transaction: &mut Transaction, answer: &Message<'_>, cut: Cut) -> Verdict {
    let [protocol, status, reason] = answer.first;
    let status = std::str::from_utf8(status).ok().and_then(|status| status.parse().ok()).unwrap_or(200);
    transaction.response_head(protocol, status, reason);
    for (name, value) in &answer.fields {
        transaction.response_header(name, value);
    }
    let verdict = transaction.response_head_end();
    if verdict != Verdict::Pass {
        return verdict;
    }
    if transaction.wants_response_body() {
        for piece in cut.pieces(answer.body) {
            let verdict = transaction.response_body(piece);
            if verdict != Verdict::Pass {
                return verdict;
            }
        }
    }
    transaction.response_end()
}

const START: Start<'static> = Start {
    client: SocketAddr::new(IpAddr::V4(Ipv4Addr::new(203, 0, 113, 7)), 50_000),
    server: SocketAddr::new(IpAddr::V4(Ipv4Addr::new(203, 0, 113, 1)), 443),
    unique_id: "fuzz",
    unix_time: 1_800_000_000,
    random: 0,
};
