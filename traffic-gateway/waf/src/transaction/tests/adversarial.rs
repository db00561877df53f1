//! Whole transactions on what attackers would send to keep a processor busy: cost in proportion to the bytes.

use std::path::Path;
use std::sync::Arc;

use super::super::{Mode, Transaction};
use super::start;
use crate::RuleSet;
use crate::body::Limits;
use crate::cpu_time::assert_linear;
use crate::list::tests::reference_program;
use crate::rules::Options;
use crate::seclang::ast::Program;
use crate::seclang::files::Disk;
use crate::seclang::parse;
use Place::{Body, Cookies, Header, Query, Segments};

/// Bytes of the smaller request; the larger one has four times as many, 64 KiB.
const SIZE: usize = 16 << 10;

/// Bytes of a body that arrive together.
const PIECE: usize = 4 << 10;

/// Where a client puts its bytes.
#[derive(Clone, Copy)]
enum Place {
    /// The target, behind `/`.
    Segments,
    /// The value of one argument of the target.
    Query,
    /// A header of this name.
    Header(&'static str),
    /// A hundred cookies, which share the bytes.
    Cookies,
    /// A body of this type, between a beginning and an end.
    Body(&'static str, &'static str, &'static str),
}

const FORM: &str = "application/x-www-form-urlencoded";
const JSON: &str = "application/json";
const PARTS: &str = "multipart/form-data; boundary=b";

/// What is sent, where, and the piece it is made of.
const INPUTS: [(&str, Place, &str); 38] = [
    ("SQL that never gets there", Body(FORM, "q=", ""), "'+or+"),
    ("statements", Body(FORM, "q=", ""), "union+select+"),
    ("comments in SQL", Body(FORM, "q=1", ""), "/**/"),
    ("open tags", Body(FORM, "q=", ""), "<a+b='"),
    ("attributes without an end", Body(FORM, "q=<a+", ""), "onx+=+"),
    ("steps upwards", Body(FORM, "f=", ""), "../"),
    ("lookups in lookups", Body(FORM, "q=", ""), "${a:-"),
    ("expressions of templates", Body(FORM, "q=", ""), "{{"),
    ("commands", Body(FORM, "q=", ""), ";cat+"),
    ("calls", Body(FORM, "q=", ""), "system("),
    ("addresses", Body(FORM, "u=", ""), "http://"),
    ("filters of directories", Body(FORM, "q=", ""), ")("),
    ("paths in documents", Body(FORM, "q=", ""), "count(/"),
    ("serialized objects", Body(FORM, "q=", ""), "O:1:\""),
    ("prototypes", Body(FORM, "q=", ""), "__proto__["),
    ("lines of heads", Body(FORM, "q=", ""), "%0d%0aX-"),
    ("percent in percent", Body(FORM, "q=", ""), "%2525"),
    ("references to characters", Body(FORM, "q=", ""), "%26%23x26;"),
    ("escapes", Body(FORM, "q=", ""), "\\u005c"),
    ("Base64 of quotes", Body(FORM, "q=", ""), "Jyc8"),
    ("many arguments", Body(FORM, "", ""), "a'=<b&"),
    ("names in brackets", Body(FORM, "a", "=1"), "[a]"),
    ("deep JSON", Body(JSON, "[", "1]"), "[[[[[[[[[[[[[[[[\"'\"]]]]]]]]]]]]]]]],"),
    ("keys of JSON", Body(JSON, "{", "\"z\":1}"), "\"$gt'\":{\"a\":1},"),
    ("one string of JSON", Body(JSON, "[\"", "\"]"), "\\u0027 or "),
    ("JSON in JSON", Body(JSON, "[\"", "\"]"), "{\\\"a'\\\":"),
    ("texts of XML", Body("text/xml", "<a>", "</a>"), "<b c=\"'\">' or </b>"),
    ("declarations of XML", Body("text/xml", "<!DOCTYPE a [", "]><a/>"), "<!ENTITY b \"c\">"),
    (
        "a file in a form",
        Body(PARTS, "--b\r\nContent-Disposition: form-data; name=f; filename=a.txt\r\n\r\n", "\r\n--b--\r\n"),
        "<?php eval(",
    ),
    (
        "a field in a form",
        Body(PARTS, "--b\r\nContent-Disposition: form-data; name=f\r\n\r\n", "\r\n--b--\r\n"),
        "\r\n--' or ",
    ),
    ("a text of no known form", Body("text/plain", "", ""), "' or \"a\"=\"a"),
    ("a hundred cookies", Cookies, "'||\"a"),
    ("a long header", Header("referer"), "${jndi:'<a "),
    ("a long name of a client", Header("user-agent"), "() {' "),
    ("forwarders", Header("x-forwarded-for"), "127.0.0.1, "),
    ("a long path", Segments, "a/..%2f;'"),
    ("a long query", Query, "%27%3Cscript "),
    ("an argument of nothing", Query, "%00"),
];

/// A request of `size` bytes, and some more around them.
struct Sent {
    target: Vec<u8>,
    headers: Vec<(&'static str, Vec<u8>)>,
    body: Vec<u8>,
}

impl Sent {
    fn new(place: Place, bytes: &[u8]) -> Self {
        let mut sent = Self { target: b"/".to_vec(), headers: vec![("host", b"shop.test".to_vec())], body: Vec::new() };
        match place {
            Segments => sent.target.extend_from_slice(bytes),
            Query => sent.target = [b"/?q=", bytes].concat(),
            Header(name) => sent.headers.push((name, bytes.to_vec())),
            Cookies => {
                let cookie = |(number, value): (usize, &[u8])| [format!("c{number}=").as_bytes(), value].concat();
                let cookies: Vec<_> = bytes.chunks(bytes.len().div_ceil(100)).enumerate().map(cookie).collect();
                sent.headers.push(("cookie", cookies.join(b"; ".as_slice())));
            }
            Body(content_type, begin, end) => {
                sent.body = [begin.as_bytes(), bytes, end.as_bytes()].concat();
                sent.headers.push(("content-type", content_type.as_bytes().to_vec()));
                sent.headers.push(("content-length", sent.body.len().to_string().into_bytes()));
            }
        }
        sent
    }

    /// Runs all rules, whatever they find: nothing ends the work early.
    fn run(&self, transaction: &mut Transaction, rules: &Arc<RuleSet>) {
        transaction.renew(Arc::clone(rules), Mode::Detect, start());
        let method: &[u8] = if self.body.is_empty() { b"GET" } else { b"POST" };
        transaction.request_line(method, &self.target, b"HTTP/1.1");
        for (name, value) in &self.headers {
            transaction.request_header(name.as_bytes(), value);
        }
        transaction.request_head_end();
        for piece in self.body.chunks(PIECE) {
            transaction.request_body(piece);
        }
        transaction.request_end();
        std::hint::black_box(transaction.finish());
    }
}

/// Compiles rules within the bounds of the edge.
fn compile(program: &Program) -> Arc<RuleSet> {
    let limits = Limits { arguments: 10_000, parts: 200, ..Limits::default() };
    let options = Options { limits, ..Options::default() };
    let rules = RuleSet::compile(program, &mut |name| Err(format!("no file {name}")), &options);
    Arc::new(rules.unwrap_or_else(|errors| panic!("{errors:#?}")))
}

fn default_rules() -> Arc<RuleSet> {
    let pattern = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/config/edge/waf/*.conf");
    let (program, _) = parse(&Disk, &[pattern]).unwrap_or_else(|errors| panic!("{errors:#?}"));
    compile(&program)
}

/// Bytes of which each few lead an automaton somewhere else: what rules look for, cut and mixed by a fixed rule.
fn mixture(length: usize) -> Vec<u8> {
    const WORDS: [&str; 24] = [
        "union",
        "sel",
        "ect",
        "'",
        "\"",
        "<",
        "scr",
        "ipt",
        "on",
        "=",
        "..",
        "/",
        "etc",
        "pas",
        "(",
        "base64_",
        "java.lang",
        "xwork.",
        "group by",
        "into",
        "file",
        "${",
        "%",
        "limit ",
    ];
    let mut state = 0x9e37_79b9_u32;
    let mut bytes = Vec::new();
    while bytes.len() < length {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let word = WORDS[usize::try_from(state >> 16).unwrap() % WORDS.len()].as_bytes();
        bytes.extend_from_slice(&word[..word.len().min(1 + usize::try_from(state >> 8 & 7).unwrap())]);
    }
    bytes.truncate(length);
    bytes
}

/// Gives so many bytes.
type Generator = Box<dyn Fn(usize) -> Vec<u8>>;

/// Asserts linear cost of every input and prints what the larger request of each costs.
fn is_linear_in_all(name: &str, rules: &Arc<RuleSet>) {
    let repeated = |piece: &'static str| {
        move |length: usize| piece.as_bytes().iter().copied().cycle().take(length).collect::<Vec<u8>>()
    };
    let mut inputs: Vec<(&str, Place, Generator)> = Vec::new();
    for (what, place, piece) in INPUTS {
        inputs.push((what, place, Box::new(repeated(piece))));
    }
    for (what, place) in [
        ("a mixture in a body", Body("text/plain", "", "")),
        ("a mixture in a form", Body(FORM, "q=", "")),
        ("a mixture in a header", Header("referer")),
        ("a mixture in cookies", Cookies),
        ("a mixture in a path", Segments),
    ] {
        inputs.push((what, place, Box::new(mixture)));
    }
    let mut transaction = Transaction::new(Arc::clone(rules), Mode::Detect, start());
    let mut table = Vec::new();
    for (what, place, bytes) in &inputs {
        let (small, large) = (Sent::new(*place, &bytes(SIZE)), Sent::new(*place, &bytes(4 * SIZE)));
        let cost = assert_linear(&format!("{name}: {what}"), SIZE, |size| {
            let sent = if size == SIZE { &small } else { &large };
            sent.run(&mut transaction, rules);
        });
        table.push((cost.as_secs_f64() * 1e6 / 64.0, *what));
    }
    table.sort_by(|one, other| other.0.total_cmp(&one.0));
    for (microseconds, what) in &table {
        eprintln!("{name}: {microseconds:8.1} µs per KiB for {what}");
    }
}

#[test]
fn the_default_rules_take_time_in_proportion_to_the_bytes() {
    is_linear_in_all("default rules", &default_rules());
}

#[test]
fn plain_lists_take_time_in_proportion_to_the_bytes() {
    is_linear_in_all("plain lists", &compile(&reference_program()));
}
