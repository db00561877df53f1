//! What the engine costs: microseconds for each kind of request, one `name = value` line a figure.
//!
//! `cargo run --release -p gatehouse-waf --example cost [RULES.conf]…`; without files, the Core Rule Set of the test data
//! (`GATEHOUSE_TEST_DATA`) and 150 rules of the ordinary kind.
//!
//! `COST_RUNS=small_get:1000` runs one request so many times and prints nothing: for callgrind, which counts instructions
//! whatever else the machine does (`--toggle-collect='cost::run_many*'`).

#![expect(clippy::print_stdout, reason = "a program that prints figures")]
#![expect(clippy::disallowed_methods, reason = "a program that measures time")]
#![expect(clippy::panic, reason = "a program that stops at the first thing that is wrong")]

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use gatehouse_waf::rules::{Options, RuleSet};
use gatehouse_waf::seclang::files::{Disk, Memory};
use gatehouse_waf::seclang::{Parsed, parse, parse_text};
use gatehouse_waf::transaction::{Mode, Start, Transaction, Verdict};

const HEADERS: &[(&str, &str)] = &[
    ("host", "www.example.com"),
    ("user-agent", "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"),
    ("accept", "application/json, text/plain, */*"),
    ("accept-language", "en-US,en;q=0.5"),
    ("accept-encoding", "gzip, deflate, br"),
    ("referer", "https://www.example.com/items"),
    ("cookie", "session=0123456789abcdef0123456789abcdef; theme=dark"),
];

struct Request {
    name: &'static str,
    method: &'static str,
    target: String,
    content_type: Option<&'static str>,
    body: Vec<u8>,
}

fn requests() -> Vec<Request> {
    let get = |name, target: String| Request { name, method: "GET", target, content_type: None, body: Vec::new() };
    let post = |name, bytes: usize| {
        let item = r#"{"id":17,"name":"blue shoes, size 42","price":59.9,"tags":["sale","summer"],"note":"Leave it at the door"}"#;
        let mut body = b"[".to_vec();
        while body.len() < bytes {
            if body.len() > 1 {
                body.push(b',');
            }
            body.extend_from_slice(item.as_bytes());
        }
        body.push(b']');
        let target = "/api/items".to_owned();
        Request { name, method: "POST", target, content_type: Some("application/json"), body }
    };
    vec![
        get("small_get", "/api/items?id=17&page=2&sort=name&q=blue+shoes".to_owned()),
        get("plain_get", "/api/items/17".to_owned()),
        post("json_1k", 1 << 10),
        post("json_64k", 64 << 10),
        get("worst_1k_get", format!("/?q={}", "%27<script+select/*..%2f;$(`|&lt;\\x".repeat(28))),
    ]
}

fn run(transaction: &mut Transaction, rules: &Arc<RuleSet>, request: &Request, random: u64) -> Verdict {
    let start = Start {
        client: ([192, 0, 2, 7], 40_000).into(),
        server: ([198, 51, 100, 1], 443).into(),
        unique_id: "0123456789abcdef",
        unix_time: 1_709_210_096,
        random,
    };
    transaction.renew(Arc::clone(rules), Mode::Block, start);
    transaction.request_line(request.method.as_bytes(), request.target.as_bytes(), b"HTTP/1.1");
    for (name, value) in HEADERS {
        transaction.request_header(name.as_bytes(), value.as_bytes());
    }
    if let Some(content_type) = request.content_type {
        transaction.request_header(b"content-type", content_type.as_bytes());
        transaction.request_header(b"content-length", request.body.len().to_string().as_bytes());
    }
    let mut verdict = transaction.request_head_end();
    if verdict == Verdict::Pass && transaction.wants_request_body() {
        for piece in request.body.chunks(16 << 10) {
            verdict = transaction.request_body(piece);
        }
    }
    if verdict == Verdict::Pass {
        verdict = transaction.request_end();
    }
    verdict
}

/// Runs a request so many times, once everything it needs has grown.
#[inline(never)]
fn run_many(transaction: &mut Transaction, rules: &Arc<RuleSet>, request: &Request, times: u32) {
    for _ in 0..times {
        run(transaction, rules, request, 1);
        transaction.finish();
    }
}

/// The request and the number of runs that `COST_RUNS` names.
fn runs() -> Option<(String, u32)> {
    let runs = std::env::var("COST_RUNS").ok()?;
    let (name, times) = runs.split_once(':')?;
    Some((name.to_owned(), times.parse().ok()?))
}

fn measure(name: &str, rules: &Arc<RuleSet>) {
    if let Some((name, times)) = runs() {
        let start = Start {
            client: ([192, 0, 2, 7], 40_000).into(),
            server: ([198, 51, 100, 1], 443).into(),
            unique_id: "0",
            unix_time: 0,
            random: 1,
        };
        let mut transaction = Transaction::new(Arc::clone(rules), Mode::Block, start);
        for request in requests().iter().filter(|request| request.name == name) {
            run(&mut transaction, rules, request, 1);
            transaction.finish();
            run_many(&mut transaction, rules, request, times);
        }
        return;
    }
    for request in requests() {
        let start = Start {
            client: ([192, 0, 2, 7], 40_000).into(),
            server: ([198, 51, 100, 1], 443).into(),
            unique_id: "0",
            unix_time: 0,
            random: 0,
        };
        let mut transaction = Transaction::new(Arc::clone(rules), Mode::Block, start);
        let verdict = run(&mut transaction, rules, &request, 1);
        let matches = transaction.finish().matches.len();
        let mut best = Duration::MAX;
        let mut spent = Duration::ZERO;
        while spent < Duration::from_millis(600) {
            let began = Instant::now();
            for _ in 0..8 {
                run(&mut transaction, rules, &request, 1);
                transaction.finish();
            }
            let took = began.elapsed();
            best = best.min(took / 8);
            spent += took;
        }
        println!("{name}_{}_us = {:.2}", request.name, best.as_secs_f64() * 1e6);
        println!("# {verdict:?}, {matches} rules matched, {} bytes", request.target.len() + request.body.len());
        println!("# {}", busiest(rules, &mut transaction, &request));
    }
}

/// The rules that ran for one request, and those of them that took longest.
fn busiest(rules: &Arc<RuleSet>, transaction: &mut Transaction, request: &Request) -> String {
    const TIMES: u64 = 200;
    let before: Vec<_> = rules.costs().collect();
    for _ in 0..TIMES {
        run(transaction, rules, request, 0);
        transaction.finish();
    }
    let mut spent: Vec<_> = rules
        .costs()
        .zip(before)
        .filter(|(after, before)| after.runs > before.runs)
        .map(|(after, before)| ((after.nanoseconds - before.nanoseconds) / TIMES / 64, after.id))
        .collect();
    spent.sort_unstable_by(|left, right| right.cmp(left));
    let total: u64 = spent.iter().map(|(nanoseconds, _)| nanoseconds).sum();
    let top: Vec<String> = spent.iter().take(12).map(|(nanoseconds, id)| format!("{id}: {nanoseconds} ns")).collect();
    format!("{} rules ran, {total} ns with the clock: {}", spent.len(), top.join(", "))
}

/// Nanoseconds since the first call.
fn clock() -> u64 {
    static FIRST: OnceLock<Instant> = OnceLock::new();
    u64::try_from(FIRST.get_or_init(Instant::now).elapsed().as_nanos()).unwrap_or(u64::MAX)
}

fn compile(parsed: Parsed, directory: &Path) -> Arc<RuleSet> {
    let (program, _) = parsed.unwrap_or_else(|errors| panic!("{errors:#?}"));
    let mut files = |name: &str| {
        let file = Path::new(name).file_name().ok_or_else(|| name.to_owned())?;
        std::fs::read(directory.join(file)).map_err(|error| error.to_string())
    };
    let began = Instant::now();
    let options =
        Options { clock: std::env::var_os("COST_BY_RULE").map(|_| clock as fn() -> u64), ..Options::default() };
    let rules = RuleSet::compile(&program, &mut files, &options);
    println!("# compiled in {:?}", began.elapsed());
    Arc::new(rules.unwrap_or_else(|errors| panic!("{errors:#?}")))
}

/// Rules as operators write them: patterns over arguments, cookies, the path and the user agent.
fn ordinary_rules() -> String {
    let words = [
        "select.+(from|limit)",
        "(?:union(.*?)select)",
        "sleep\\((\\s*)(\\d*)(\\s*)\\)",
        "benchmark\\((.*),(.*)\\)",
        "base64_decode\\(",
        "into(\\s+)+(?:dump|out)file\\s*",
        "group\\s+by.+\\(",
        "xwork\\.methodaccessor",
        "(?:define|eval|file_get_contents|include|system)\\(",
        "(gopher|doc|php|glob|^file|phar|zlib|ftp|ldap|dict|ogg|data)\\:/",
        "java\\.lang",
        "<(iframe|script|body|img|layer|div|meta|style)",
        "(onmouseover|onerror|onload)=",
        "\\.\\./\\.\\./",
        "/etc/passwd",
    ];
    let targets =
        ["ARGS|ARGS_NAMES", "REQUEST_COOKIES", "REQUEST_URI", "REQUEST_HEADERS:User-Agent", "REQUEST_HEADERS:Referer"];
    let mut text = String::new();
    let mut id = 1;
    for target in targets {
        for word in words {
            for step in ["t:urlDecodeUni,t:lowercase", "t:urlDecodeUni,t:htmlEntityDecode,t:lowercase"] {
                text.push_str(&format!("SecRule {target} \"@rx {word}\" \"id:{id},phase:2,deny,{step}\"\n"));
                id += 1;
            }
        }
    }
    text
}

fn main() {
    let paths: Vec<PathBuf> = std::env::args().skip(1).map(PathBuf::from).collect();
    if let Some(first) = paths.first() {
        let directory = first.parent().unwrap_or(Path::new("."));
        return measure("rules", &compile(parse(&Disk, &paths), directory));
    }
    let ordinary = parse_text(&Memory::default(), "ordinary.conf", &ordinary_rules());
    measure("ordinary", &compile(ordinary, Path::new(".")));
    let data = std::env::var_os("GATEHOUSE_TEST_DATA").map_or_else(|| PathBuf::from("../shared/data"), PathBuf::from);
    let directory = data.join("crs-4.28.0");
    let paths = [directory.join("crs-setup.conf.example"), directory.join("rules/*.conf")];
    measure("crs", &compile(parse(&Disk, &paths), &directory.join("rules")));
}
