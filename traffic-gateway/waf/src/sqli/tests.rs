use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use proptest::prelude::*;

use super::*;
use crate::cpu_time::{assert_linear, cost};

/// Test data from outside the repository; `None`, loudly, where it is not on this machine.
pub(crate) fn test_data(name: &str) -> Option<PathBuf> {
    let root = std::env::var_os("GATEHOUSE_TEST_DATA")
        .map_or_else(|| PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/data")), PathBuf::from);
    let path = root.join(name);
    if path.exists() {
        return Some(path);
    }
    eprintln!("SKIPPED: no test data at {}", path.display());
    None
}

/// What libinjection has been seen to give for an input.
pub(crate) struct Vector {
    pub(crate) name: String,
    pub(crate) input: Vec<u8>,
    pub(crate) expected: Vec<u8>,
}

/// The vectors whose file names begin with `family`.
pub(crate) fn vectors(family: &str) -> Option<Vec<Vector>> {
    let names: BTreeSet<PathBuf> =
        fs::read_dir(test_data("libinjection-vectors")?).unwrap().map(|entry| entry.unwrap().path()).collect();
    let mut vectors = Vec::new();
    for path in names {
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if !name.starts_with(family) {
            continue;
        }
        let content = fs::read(&path).unwrap();
        let between = |start: &[u8], end: &[u8]| {
            let start = memchr::memmem::find(&content, start).unwrap() + start.len();
            let length = memchr::memmem::find(&content[start..], end).unwrap();
            content[start..start + length].trim_ascii_end().to_vec()
        };
        let input = between(b"--INPUT--\n", b"--EXPECTED--");
        let expected = content[memchr::memmem::find(&content, b"--EXPECTED--\n").unwrap() + 13..].trim_ascii_end();
        vectors.push(Vector { name, input, expected: expected.to_vec() });
    }
    Some(vectors)
}

/// Compares every vector of a family and names all that differ.
pub(crate) fn assert_vectors(family: &str, least: usize, actual: impl Fn(&[u8]) -> Vec<u8>) {
    let Some(vectors) = vectors(family) else { return };
    assert!(vectors.len() >= least, "only {} vectors of {family}", vectors.len());
    let mut differing = Vec::new();
    for Vector { name, input, expected } in &vectors {
        let actual = actual(input);
        if actual.trim_ascii_end() != expected {
            let [actual, expected] = [&actual, expected].map(|text| String::from_utf8_lossy(text).into_owned());
            differing.push(format!("{name}: expected\n{expected}\nbut was\n{actual}"));
        }
    }
    assert!(differing.is_empty(), "{} vectors differ\n{}", differing.len(), differing.join("\n"));
}

/// A token as the vectors print it.
fn print(token: &Token, out: &mut Vec<u8>) {
    out.extend([token.kind.letter(), b' ']);
    out.extend(std::iter::repeat_n(b'@', usize::from(token.at_signs)));
    let quoted = matches!(token.kind, Kind::String | Kind::Variable);
    out.extend(quoted.then_some(token.open).filter(|open| *open != 0));
    out.extend(token.text());
    out.extend(quoted.then_some(token.close).filter(|close| *close != 0));
    out.push(b'\n');
}

fn tokens(value: &[u8], quoting: Quoting, dialect: Dialect) -> Vec<Token> {
    let mut tokenizer = Tokenizer::new(value, quoting, dialect);
    std::iter::from_fn(|| tokenizer.next_token()).collect()
}

#[test]
fn tokens_equal_the_vectors() {
    assert_vectors("test-tokens-", 249, |input| {
        let mut out = Vec::new();
        tokens(input, Quoting::Plain, Dialect::Ansi).iter().for_each(|token| print(token, &mut out));
        out
    });
}

#[test]
fn folded_tokens_equal_the_vectors() {
    assert_vectors("test-folding-", 118, |input| {
        let mut out = Vec::new();
        let folded = fold::fold(&mut Tokenizer::new(input, Quoting::Plain, Dialect::Ansi));
        folded.tokens().iter().for_each(|token| print(token, &mut out));
        out
    });
}

#[test]
fn fingerprints_equal_the_vectors() {
    assert_vectors("test-sqli-", 50, |input| detect(input).map_or(Vec::new(), |found| found.as_str().into()));
}

#[test]
fn verdicts_equal_those_of_the_operator() {
    let Some(path) = test_data("waf-vectors/operators/detectSQLi.json") else { return };
    let cases: Vec<serde_json::Value> = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    assert!(cases.len() >= 5);
    for case in cases {
        let input = case["input"].as_str().unwrap();
        assert_eq!(detect(input.as_bytes()).is_some(), case["ret"] == 1, "{input}");
    }
}

#[test]
fn finds_injections_in_every_context() {
    for value in [
        "1 or 1=1",
        "1' or '1'='1",
        "1\" or \"1\"=\"1",
        "admin'--",
        "admin'/*",
        "') or ('a'='a",
        "1) or (1=1",
        "-1 union select 1,2,3",
        "-1' union all select null,null -- ",
        "-1\" union select user(),2#",
        "1 UnIoN/**/SeLeCt/**/1",
        "1 union(select 1)",
        "1;drop table users--",
        "1';drop table users--",
        "1; exec xp_cmdshell('dir')",
        "1 and sleep(5)",
        "1' and sleep(5)#",
        "1' and (select 1 from dual)=1--",
        "1 and ascii(substring((select password from users limit 1),1,1))>64",
        "1' and extractvalue(1,concat(0x7e,version()))-- ",
        "1 order by 10--",
        "1' order by 3#",
        "1 having 1=1",
        "1' waitfor delay '0:0:5'--",
        "1;waitfor delay '0:0:5'--",
        "1 procedure analyse(extractvalue(rand(),concat(0x3a,version())),1)",
        "1 into outfile '/tmp/x'",
        "1' || (select 1) || '",
        "1' and @@version like '5%",
        "1/*!50000union*/select 1",
        "1 or 1 in (select 1)",
        "x' and email is null; --",
        "1,(select 1)",
        "1-(select 1)",
        "select * from users where id=1 or 1=1 --",
        "ascii(substring(version() from 1 for 1))",
    ] {
        assert!(detect(value.as_bytes()).is_some(), "{value}");
    }
}

#[test]
fn lets_ordinary_values_pass() {
    for value in ORDINARY.lines() {
        assert_eq!(detect(value.as_bytes()), None, "{value}");
    }
}

/// Values as forms, search boxes, addresses, programs and chats have them.
const ORDINARY: &str = include_str!("ordinary.txt");

#[test]
fn a_fingerprint_shows_its_letters() {
    let found = detect(b"1' union select 1,2--").unwrap();
    assert_eq!(found.as_str(), "sUE1c");
    assert_eq!(format!("{found} {found:?}"), "sUE1c Fingerprint(sUE1c)");
}

/// Values that would cost most if anything were read twice.
pub(crate) fn adversarial(length: usize) -> Vec<Vec<u8>> {
    let patterns: [&[u8]; 40] = [
        b"'", b"\"", b"`", b"\\", b"\\'", b"''", b"(", b")", b"((", b"()", b"/*", b"*/", b"/**/", b"/*/", b"--", b"-",
        b"--\n", b"#", b"<", b"<!--", b"<a ", b"</", b"<a b=", b"<a/", b"/", b"$", b"$a", b"$a$", b"q'(", b"x'0",
        b"b'0", b"0x", b"1e", b"a.", b"a`", b"{", b"@'", b"1,", b"1 or ", b"-\0",
    ];
    patterns
        .iter()
        .flat_map(|pattern| {
            let repeated: Vec<u8> = pattern.iter().copied().cycle().take(length).collect();
            let quoted = [b"'".as_slice(), &repeated].concat();
            [repeated, quoted]
        })
        .collect()
}

#[test]
fn a_value_has_no_more_tokens_than_bytes() {
    for value in adversarial(1 << 16) {
        for (quoting, dialect) in CONTEXTS {
            assert!(tokens(&value, quoting, dialect).len() <= value.len() + 1);
        }
    }
}

/// Asserts that the worst values take time in proportion to their length.
pub(crate) fn is_linear(detect: impl Fn(&[u8])) {
    for value in adversarial(1 << 16) {
        let what = String::from_utf8_lossy(&value[..8]).into_owned();
        assert_linear(&what, 1 << 14, |size| detect(&value[..size]));
    }
}

#[test]
fn time_is_linear_in_the_length_of_the_worst_values() {
    is_linear(|value| {
        std::hint::black_box(detect(value));
    });
}

/// The contexts in which values are read.
const CONTEXTS: [(Quoting, Dialect); 5] = [
    (Quoting::Plain, Dialect::Ansi),
    (Quoting::Plain, Dialect::Mysql),
    (Quoting::Single, Dialect::Ansi),
    (Quoting::Single, Dialect::Mysql),
    (Quoting::Double, Dialect::Mysql),
];

/// Pieces that meet in interesting ways, and any bytes between them.
fn values() -> impl Strategy<Value = Vec<u8>> {
    let pieces = prop::sample::select(vec![
        "'",
        "\"",
        "`",
        "\\",
        "(",
        ")",
        "/*",
        "*/",
        "/*!",
        "--",
        "#",
        ";",
        "union",
        "select",
        " ",
        "or",
        "and",
        "1",
        "1e",
        "0x",
        "$",
        "$$",
        "$a$",
        "q'(",
        "u&'",
        "n'",
        "x'",
        "b'",
        "@",
        "{",
        "}",
        "``",
        ".",
        ",",
        "::",
        "int",
        "not",
        "in",
        "like",
        "if",
        "user(",
        "collate",
        "[",
        "]",
        "\n",
        "\u{a0}",
        "sp_password",
    ]);
    let piece = prop_oneof![4 => pieces.prop_map(|piece| piece.as_bytes().to_vec()), 1 => prop::collection::vec(any::<u8>(), 0..4)];
    prop::collection::vec(piece, 0..24).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn any_bytes_are_read_to_the_end(value in values()) {
        for (quoting, dialect) in CONTEXTS {
            let tokens = tokens(&value, quoting, dialect);
            prop_assert!(tokens.len() <= value.len() + 1);
            prop_assert!(tokens.iter().all(|token| token.kind != Kind::Nothing));
        }
        if let Some(found) = detect(&value) {
            prop_assert!((1..=5).contains(&found.as_str().len()));
        }
    }

    #[test]
    fn words_and_numbers_alone_are_no_injection(value in "(0b1|1e|1f|0x|union|select|[a-zA-Z0-9_]){1,12}") {
        prop_assert_eq!(Reading::new(value.as_bytes(), Quoting::Plain, Dialect::Ansi).injection(value.as_bytes()), None);
    }

    #[test]
    fn case_of_letters_does_not_matter(value in "[ a-z0-9'\"(),;=*/-]{0,40}") {
        prop_assume!(!value.contains("sp_password"));
        let upper = value.to_ascii_uppercase();
        prop_assert_eq!(detect(value.as_bytes()), detect(upper.as_bytes()));
    }
}

/// Prints what short ordinary values and the worst of 64 KiB cost.
pub(crate) fn print_costs(detect: impl Fn(&[u8])) {
    let nanoseconds = |value: &[u8], rounds: u32| {
        let time = cost(|| (0..rounds).for_each(|_| detect(std::hint::black_box(value))));
        time.as_nanos() / u128::from(rounds)
    };
    for value in ["hello world, 20 byte", "12345678901234567890", "Tom's \"new\" guitar #1"] {
        eprintln!("{value:24} {} ns", nanoseconds(value.as_bytes(), 100_000));
    }
    let worst = adversarial(1 << 16).into_iter().map(|value| (nanoseconds(&value, 3) / 64, value)).max().unwrap();
    eprintln!("worst: {} ns per KiB, {:?}", worst.0, String::from_utf8_lossy(&worst.1[..12]));
}

#[test]
#[ignore = "prints figures; run it with --release --nocapture"]
fn prints_what_it_costs() {
    print_costs(|value| {
        std::hint::black_box(detect(value));
    });
}
