//! What rules cost by themselves, without a connection around them: CPU time of whole transactions on one thread.
//!
//! Rounds are interleaved over sets and requests, as those of the servers are. Each set must pass what is harmless, refuse every
//! attack, and have run rules for both.

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use gatehouse_waf::RuleSet;
use gatehouse_waf::transaction::{Mode, Start, Transaction, Verdict};

use super::requests::{HOST, Request, attacks, browser_get, harmless, ordinary};
use super::sets::{Attacks, Set};
use super::worst::WORST;
use crate::report::{Report, note, print};
use crate::rounds::{Quartiles, median, sorted};
use crate::settings::Settings;

/// The variable that asks for the dearest rules of each request.
const BY_RULE: &str = "BENCH_WAF_BY_RULE";

/// CPU seconds that are spent on one request in one round.
const SLICE: f64 = 0.05;

/// Variants of a short request, and of one with a body as long as those that are held back.
const VARIANTS: (u64, u64) = (1_024, 64);

/// Bytes of the inputs made to be dear.
const WORST_BYTES: usize = 64 << 10;

/// Bytes of the same inputs to see whether costs grow faster than they do.
const FEWER_BYTES: usize = WORST_BYTES / 4;

/// Bytes of a body that the engine is given at a time, as an edge reads them.
const PIECE: usize = 16 << 10;

/// Measures all sets.
///
/// # Errors
///
/// A set does not compile, or decides wrongly.
pub(super) fn measure(settings: &Settings, report: &mut Report) -> anyhow::Result<()> {
    note("rules: the engine alone");
    let by_rule = std::env::var_os(BY_RULE).is_some();
    let mut cases = Vec::new();
    for set in Set::all() {
        let rules = set.compile(by_rule).with_context(|| format!("the set {:?}", set.name))?;
        let mut judge = Judge::new(rules);
        check(&set, &mut judge)?;
        let usual = ordinary().into_iter().chain([browser_get()]).map(|request| (request, None));
        let worst = WORST.iter().flat_map(|worst| [WORST_BYTES, FEWER_BYTES].map(|bytes| (worst(bytes), Some(bytes))));
        for (request, made_of) in usual.chain(worst) {
            cases.push(Case::new(set.name, &judge.rules, request, made_of)?);
        }
    }
    for round in 1..=settings.rounds {
        note(&format!("round {round} of {}", settings.rounds));
        for case in &mut cases {
            case.run()?;
        }
    }
    print("");
    print(&format!("{:<40}{:>10}{:>12}{:>12}", "the engine alone, cpu µs", "median", "lower", "upper"));
    for cases in cases.chunk_by(|one, other| one.set == other.set) {
        figures(cases, report);
    }
    if by_rule {
        for case in &mut cases {
            let rules = case.dearest_rules();
            print(&format!("{} {}: {rules}", case.set, case.request.name));
        }
    }
    Ok(())
}

/// Whether a set decides rightly, and by rules that ran.
fn check(set: &Set, judge: &mut Judge) -> anyhow::Result<()> {
    for request in ordinary().iter().chain(&harmless()) {
        let verdict = judge.verdict(request);
        ensure!(verdict == Verdict::Pass, "{}: {} is refused: {verdict:?}", set.name, request.name);
    }
    ensure!(judge.rules.costs().any(|cost| cost.runs > 0), "{}: no rule ran", set.name);
    if set.attacks == Attacks::Refused {
        for request in &attacks() {
            let verdict = judge.verdict(request);
            let is_refused = matches!(verdict, Verdict::Deny { status: 403, .. });
            ensure!(is_refused, "{}: {} is not refused: {verdict:?}", set.name, request.name);
        }
    }
    Ok(())
}

/// Prints the figures of one set.
fn figures(cases: &[Case], report: &mut Report) {
    let Some(set) = cases.first().map(|case| case.set) else { return };
    let of = |name: &str| cases.iter().find(|case| case.request.name == name);
    for name in ["get", "browser_get", "json_1k", "json_64k"] {
        if let Some(quartiles) = of(name).and_then(|case| Quartiles::of(case.costs.iter().copied())) {
            report.quartiles(&format!("waf_engine_{set}_{name}_us"), quartiles);
        }
    }
    if let (Some(one), Some(other)) = (of("json_1k"), of("json_64k")) {
        let rounds = one.costs.iter().zip(&other.costs).map(|(small, large)| super::figures::marginal(*small, *large));
        if let Some(quartiles) = Quartiles::of(rounds) {
            report.quartiles(&format!("waf_engine_{set}_marginal_us_per_kib"), quartiles);
        }
    }
    let per_kibibyte = |case: &Case| Some(case.median()? / kibibytes(&case.request));
    let long = cases.iter().filter(|case| case.made_of == Some(WORST_BYTES));
    let worst = long.clone().filter_map(|case| Some((per_kibibyte(case)?, case.request.name)));
    if let Some((cost, name)) = worst.max_by(|(one, _), (other, _)| one.total_cmp(other)) {
        print(&format!("# dearest input of the set: {name}"));
        report.figure(format!("waf_engine_{set}_worst_us_per_kib"), cost);
    }
    let growth = long.filter_map(|long| {
        let short =
            cases.iter().find(|case| case.made_of == Some(FEWER_BYTES) && case.request.name == long.request.name)?;
        Some((per_kibibyte(long)? / per_kibibyte(short)?, long.request.name))
    });
    if let Some((times, name)) = growth.max_by(|(one, _), (other, _)| one.total_cmp(other)) {
        print(&format!("# steepest input of the set: {name}"));
        report.figure(format!("waf_engine_{set}_worst_growth"), times);
    }
}

/// One request under one set.
struct Case {
    set: &'static str,
    judge: Judge,
    request: Request,
    /// What is judged in turn, so that the engine cannot remember it; an input made to be dear as it is.
    variants: Vec<Request>,
    /// How long an input made to be dear was asked to be; nothing for others.
    made_of: Option<usize>,
    /// How often it is judged in one round.
    times: u32,
    /// CPU microseconds, a place a round.
    costs: Vec<f64>,
}

impl Case {
    /// Finds out how often the request must be judged to fill a slice of time.
    fn new(set: &'static str, rules: &Arc<RuleSet>, request: Request, made_of: Option<usize>) -> anyhow::Result<Self> {
        const MOST: u32 = 1 << 20;
        let count = if request.body.len() < FEWER_BYTES { VARIANTS.0 } else { VARIANTS.1 };
        let variants = match made_of {
            None => (0..count).map(|number| request.varied(number)).collect(),
            Some(_) => vec![request.clone()],
        };
        let judge = Judge::new(Arc::clone(rules));
        let mut case = Self { set, judge, request, variants, made_of, times: 1, costs: Vec::new() };
        while case.seconds()? < SLICE {
            case.times *= 2;
            if case.times > MOST {
                bail!("{set}: {} costs nothing", case.request.name);
            }
        }
        Ok(case)
    }

    fn run(&mut self) -> anyhow::Result<()> {
        let each = self.seconds()? / f64::from(self.times) * 1e6;
        self.costs.push(each);
        Ok(())
    }

    /// CPU seconds of one round.
    fn seconds(&mut self) -> anyhow::Result<f64> {
        let shown: Vec<Shown<'_>> = self.variants.iter().map(Shown::of).collect();
        let mut passed = 0;
        let before = thread_cpu_seconds()?;
        for shown in shown.iter().cycle().take(self.times as usize) {
            passed += u32::from(self.judge.judge(shown) == Verdict::Pass);
        }
        let spent = thread_cpu_seconds()? - before;
        ensure!(passed == self.times || self.made_of.is_some(), "{}: {} is refused", self.set, self.request.name);
        Ok(spent)
    }

    fn median(&self) -> Option<f64> {
        median(&sorted(self.costs.iter().copied()))
    }

    /// How many rules ran for this request, and which of them took longest.
    fn dearest_rules(&mut self) -> String {
        const TIMES: u32 = 200;
        let shown = Shown::of(&self.request);
        let before: Vec<_> = self.judge.rules.costs().collect();
        for _ in 0..TIMES {
            self.judge.judge_counted(&shown);
        }
        let after = self.judge.rules.costs().zip(before).filter(|(after, before)| after.runs > before.runs);
        // Counted once in 64 times by the rules themselves; here it is every time.
        let each = |nanoseconds: u64| nanoseconds / u64::from(TIMES) / 64;
        let mut spent: Vec<_> =
            after.map(|(after, before)| (each(after.nanoseconds - before.nanoseconds), after.id)).collect();
        spent.sort_unstable_by(|one, other| other.cmp(one));
        let dearest: Vec<String> =
            spent.iter().take(12).map(|(nanoseconds, id)| format!("{id}: {nanoseconds} ns")).collect();
        format!("{} rules ran; {}", spent.len(), dearest.join(", "))
    }
}

/// Shows requests to rules, one after the other, in one transaction's buffers.
pub(super) struct Judge {
    rules: Arc<RuleSet>,
    transaction: Transaction,
    /// Requests so far: stands for the random number by which the rules choose the requests whose rules are counted.
    turn: u64,
}

impl Judge {
    /// For these rules.
    pub(super) fn new(rules: Arc<RuleSet>) -> Self {
        let transaction = Transaction::new(Arc::clone(&rules), Mode::Block, start(0));
        Self { rules, transaction, turn: 0 }
    }

    /// What the rules say of a request.
    pub(super) fn verdict(&mut self, request: &Request) -> Verdict {
        self.judge_counted(&Shown::of(request))
    }

    fn judge(&mut self, shown: &Shown<'_>) -> Verdict {
        self.turn += 1;
        self.transaction.renew(Arc::clone(&self.rules), Mode::Block, start(self.turn));
        self.go_through(shown)
    }

    /// The same with every rule counted.
    fn judge_counted(&mut self, shown: &Shown<'_>) -> Verdict {
        self.transaction.renew(Arc::clone(&self.rules), Mode::Block, start(0));
        self.go_through(shown)
    }

    /// The calls of an edge whose rules do not look at answers.
    fn go_through(&mut self, shown: &Shown<'_>) -> Verdict {
        let transaction = &mut self.transaction;
        transaction.request_line(shown.method, shown.target, b"HTTP/1.1");
        for (name, value) in &shown.headers {
            transaction.request_header(name, value);
        }
        let mut verdict = transaction.request_head_end();
        if verdict == Verdict::Pass && !shown.body.is_empty() && transaction.wants_request_body() {
            for piece in shown.body.chunks(PIECE) {
                verdict = transaction.request_body(piece);
            }
        }
        if verdict == Verdict::Pass {
            verdict = transaction.request_end();
        }
        transaction.finish();
        verdict
    }
}

/// A request in the form in which an edge shows it, made before time is counted.
struct Shown<'r> {
    method: &'static [u8],
    target: &'r [u8],
    headers: Vec<(Vec<u8>, Vec<u8>)>,
    body: &'r [u8],
}

impl<'r> Shown<'r> {
    fn of(request: &'r Request) -> Self {
        let length = request.body.len().to_string();
        let with_body = (!request.body.is_empty()).then_some(("content-length", length.as_str()));
        let headers = [("host", HOST)].into_iter().chain(request.headers()).chain(with_body);
        Self {
            method: request.method().as_bytes(),
            target: request.target.as_bytes(),
            headers: headers.map(|(name, value)| (name.to_ascii_lowercase().into_bytes(), value.into())).collect(),
            body: &request.body,
        }
    }
}

fn start(random: u64) -> Start<'static> {
    Start {
        client: ([192, 0, 2, 7], 40_000).into(),
        server: ([198, 51, 100, 1], 443).into(),
        unique_id: "0123456789abcdef",
        unix_time: 1_709_210_096,
        random,
    }
}

fn kibibytes(request: &Request) -> f64 {
    u32::try_from(request.bytes()).map_or(f64::NAN, f64::from) / 1024.0
}

/// CPU time of this thread so far.
fn thread_cpu_seconds() -> anyhow::Result<f64> {
    // The kernel brings a thread's time up to date when it takes the processor from it.
    std::thread::park_timeout(Duration::from_micros(1));
    let text =
        fs::read_to_string("/proc/thread-self/schedstat").context("the kernel does not count a thread's time")?;
    on_cpu_seconds(&text).with_context(|| format!("unknown form of /proc/thread-self/schedstat: {text}"))
}

/// The first number is nanoseconds on a processor.
fn on_cpu_seconds(schedstat: &str) -> Option<f64> {
    Some(schedstat.split_whitespace().next()?.parse::<f64>().ok()? / 1e9)
}

#[cfg(test)]
mod tests {
    use super::super::sets::Set;
    use super::{Judge, check, on_cpu_seconds, thread_cpu_seconds};

    #[test]
    fn time_on_the_processor_is_the_first_number() {
        assert_eq!(on_cpu_seconds("1500000000 92743 1\n"), Some(1.5));
        assert_eq!(on_cpu_seconds(""), None);
        let before = thread_cpu_seconds().unwrap();
        let sum = (0..2_000_000_u64).fold(0, |sum: u64, number| std::hint::black_box(sum ^ number));
        assert!(thread_cpu_seconds().unwrap() > before, "{sum}");
    }

    #[test]
    fn every_set_tells_attacks_from_ordinary_requests() {
        for set in Set::all() {
            check(&set, &mut Judge::new(set.compile(false).unwrap())).unwrap();
        }
    }
}
