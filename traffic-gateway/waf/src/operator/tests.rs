use std::collections::BTreeSet;
use std::path::PathBuf;

use proptest::prelude::*;

use super::{Captures, Operator, OperatorError};
use crate::cpu_time::assert_linear;
use crate::seclang::ast::{OperatorKind, Piece, Text, Variable};
use crate::transform::vector_bytes;

fn test_data(folder: &str) -> Option<PathBuf> {
    let root = std::env::var_os("GATEHOUSE_TEST_DATA")
        .map_or_else(|| PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/data")), PathBuf::from);
    let folder = root.join(folder);
    if !folder.is_dir() {
        eprintln!("SKIPPED: no {}; set GATEHOUSE_TEST_DATA", folder.display());
        return None;
    }
    Some(folder)
}

/// What the file of phrases that the vectors name has to hold for them.
fn files(name: &str) -> Result<Vec<u8>, String> {
    match name {
        "pmFromFile-01.dat" => Ok(b"# phrases\nabc\r\n\n  def  \nghi\nxxx yyy zzz".to_vec()),
        "addresses" => Ok(b"# office\n192.0.2.0/24 # all of it\n2001:db8::1, 198.51.100.7\n".to_vec()),
        "empty" => Ok(b"# nothing\n\n".to_vec()),
        _ => Err("no such file".to_owned()),
    }
}

fn compile(name: &str, argument: &str) -> Result<Operator, OperatorError> {
    Operator::compile(OperatorKind::find(name).unwrap(), &argument.into(), &mut files)
}

fn is_match(name: &str, argument: &str, value: &[u8]) -> bool {
    compile(name, argument).unwrap().matches(value, b"", &mut Captures::unwanted())
}

/// The groups of a match, none if there is no match.
fn groups(name: &str, argument: &str, value: &[u8]) -> Vec<Vec<u8>> {
    let mut captures = Captures::wanted();
    let matched = compile(name, argument).unwrap().matches(value, b"", &mut captures);
    assert!(matched || captures.is_empty(), "groups without a match");
    (0..captures.len()).map(|group| captures.get(group, value).unwrap().to_vec()).collect()
}

fn message(name: &str, argument: &str) -> String {
    compile(name, argument).unwrap_err().to_string()
}

/// Vectors of operators that are unknown to rules, with the number of their cases.
const REFUSED: [(&str, usize); 6] =
    [("nids", 4), ("validateSchema", 5), ("verifyCC", 69), ("verifycpf", 2), ("verifyssn", 4), ("verifysvnr", 3)];

#[test]
fn equals_every_published_vector() {
    let Some(folder) = test_data("waf-vectors/operators") else { return };
    let mut cases = 0;
    let mut known = 0;
    let mut refused = Vec::new();
    let mut differing = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let list: Vec<serde_json::Value> = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        let Some(kind) = OperatorKind::find(&name) else {
            refused.push((name, list.len()));
            continue;
        };
        // Tested where they are written, in crate::sqli and crate::xss.
        if matches!(kind, OperatorKind::DetectSqli | OperatorKind::DetectXss) {
            continue;
        }
        known += 1;
        for case in list {
            cases += 1;
            let argument = case["param"].as_str().unwrap_or_default();
            let expected = case["ret"] == 1;
            // Operators' vectors write a NUL byte as `\0`.
            let value = vector_bytes(&case["input"].as_str().unwrap().replace("\\0", "\0"));
            let actual = match Operator::compile(kind, &argument.into(), &mut files) {
                Ok(operator) => operator.matches(&value, b"", &mut Captures::unwanted()),
                // The one argument that never matches anywhere and is refused here.
                Err(error) => {
                    assert_eq!(error, OperatorError::Address("10.0.0.0/100".to_owned()));
                    false
                }
            };
            if actual != expected {
                differing.push(format!("{name} {argument} of {}: {actual}", value.escape_ascii()));
            }
            if let Some(expected) = case["re_groups"].as_array() {
                let expected: Vec<&str> = expected.iter().map(|group| group.as_str().unwrap()).collect();
                let actual = groups(&name, argument, &value);
                let actual: Vec<&str> = actual.iter().map(|group| std::str::from_utf8(group).unwrap()).collect();
                assert_eq!(actual, expected, "{name} {argument}");
            }
        }
    }
    refused.sort();
    assert!(differing.is_empty(), "{} differ:\n{}", differing.len(), differing.join("\n"));
    assert_eq!((known, cases), (21, VECTORS));
    assert_eq!(refused, REFUSED.map(|(name, count)| (name.to_owned(), count)));
}

const VECTORS: usize = 3839;

/// The distinct arguments of `@rx` in the OWASP Core Rule Set.
fn core_rule_set_patterns() -> Option<BTreeSet<String>> {
    let folder = test_data("crs-4.28.0/rules")?;
    let rule = regex::Regex::new(r#""!?@rx ((?:[^"\\]|\\.)*)""#).unwrap();
    let mut patterns = BTreeSet::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "conf") {
            let text = std::fs::read_to_string(&path).unwrap();
            patterns.extend(rule.captures_iter(&text).map(|found| found[1].replace("\\\"", "\"")));
        }
    }
    Some(patterns)
}

#[test]
fn compiles_every_expression_of_the_core_rule_set() {
    let Some(patterns) = core_rule_set_patterns() else { return };
    for pattern in &patterns {
        let operator = compile("rx", pattern).unwrap_or_else(|error| panic!("{pattern}: {error}"));
        regex::bytes::RegexSet::new([operator.regex_pattern().unwrap()]).unwrap();
    }
    assert!(patterns.len() >= 290, "only {} patterns found", patterns.len());
}

#[test]
fn reads_expressions_as_pcre_does() {
    let cases: [(&str, &[u8], bool); 59] = [
        (r"\<script\>", b"<script>", true),
        (r"\<script", b"a script", false),
        (r"[\<\>]", b"<", true),
        (r"a.b", b"a\nb", true),
        (r"^b", b"a\nb", false),
        (r"a$", b"a\nb", false),
        (r"a\Z", b"a\n", true),
        (r"\x{3c}", b"<", true),
        (r"\x{e9}", b"\xe9", true),
        (r"[\x80-\xff]", b"\xe9", true),
        (r"\x3", b"\x03", true),
        ("é", "é".as_bytes(), true),
        ("[é]", b"\xa9", true),
        (r"(?i)É", "É".as_bytes(), true),
        (r"\é", "é".as_bytes(), true),
        (r"^.$", "é".as_bytes(), false),
        (r"\w", "é".as_bytes(), false),
        (r"a{,3}", b"a{,3}", true),
        (r"{{x}}", b"{{x}}", true),
        (r"^a{2}$", b"aa", true),
        (r"^a{2,}?$", b"aaa", true),
        (r"^a+?$", b"aa", true),
        (r"[[]", b"[", true),
        (r"[]a]", b"]", true),
        (r"[^]a]", b"]", false),
        (r"[[:alpha:]]", b"x", true),
        (r"[[:alpha:]]", b"[", false),
        (r"[^[:^digit:]]", b"5", true),
        (r"^[a&&b]+$", b"a&b", true),
        (r"^[a~~b]+$", b"a~b", true),
        (r"^[a\-&[b]+$", b"-&[", true),
        (r"[+--]", b",", true),
        (r"^[\w-.]+$", b"a-.", true),
        (r"^[a-c-e]+$", b"-e", true),
        (r"[a-c-e]", b"d", false),
        (r"^[-a]+$", b"-a", true),
        (r"^[a-]+$", b"-a", true),
        (r"[--/]", b".", true),
        (r"[[:digit:]-z]", b"-", true),
        (r"\h", b"\t", true),
        (r"[\h]", b"\xa0", true),
        (r"\H", b" ", false),
        (r"\v", b"\r", true),
        (r"[\v]", b"\x0c", true),
        (r"\V", b"\n", false),
        (r"\N", b"\n", false),
        (r"^a\Rb$", b"a\r\nb", true),
        (r"\e\a\f", b"\x1b\x07\x0c", true),
        (r"\0a", b"\0a", true),
        (r"\012", b"\n", true),
        (r"[\1]", b"\x01", true),
        (r"[\b]", b"\x08", true),
        (r"\cA\ca", b"\x01\x01", true),
        (r"\Qa.b\E.", b"a.bc", true),
        (r"\Qa.b\E", b"axb", false),
        (r"a(?#not this)b", b"ab", true),
        (r"(?i:A)b", b"ab", true),
        (r"(?<name>a)(?P<other>b)", b"ab", true),
        (r"\/\-\_\'\%\ ", b"/-_'% ", true),
    ];
    for (pattern, value, expected) in cases {
        assert_eq!(is_match("rx", pattern, value), expected, "{pattern} of {}", value.escape_ascii());
    }
}

#[test]
fn names_what_needs_a_backtracking_engine() {
    let cases = [
        ("(?>b)", 0, "the atomic group"),
        ("(a)++", 4, "the possessive quantifier"),
        ("a?+", 2, "the possessive quantifier"),
        ("a{2,3}+", 6, "the possessive quantifier"),
        (r"(?<n>a)\k<n>", 7, "the back-reference"),
        (r"(a)\g1", 3, "the back-reference"),
        ("(?P=n)", 0, "the back-reference"),
        ("a(?R)?", 1, "recursion"),
        ("(a)(?1)", 3, "recursion"),
        ("(?(1)a)", 0, "the conditional group"),
        ("(?|a)", 0, "the branch-reset group"),
        ("(*FAIL)", 0, "the backtracking verb"),
        (r"a\Kb", 1, r"\K"),
    ];
    for (pattern, expected_offset, expected) in cases {
        match compile("rx", pattern) {
            Err(OperatorError::PcreOnly { offset, feature, remedy }) => {
                assert_eq!((offset, feature), (expected_offset, expected), "{pattern}");
                assert!(!remedy.is_empty());
            }
            other => panic!("{pattern}: {other:?}"),
        }
    }
    for harmless in [r"\(?=", "[(?=]", r"a\++", "[+]+", r"\Q(?=\E", "a{x}+", r"\\1"] {
        assert!(compile("rx", harmless).is_ok(), "{harmless}");
    }
}

#[test]
fn says_where_an_expression_is_wrong() {
    let cases = [
        ("ab(c", 2),
        ("a)b", 1),
        ("a[b", 3),
        ("*a", 0),
        (r"\x{3c}(", 6),
        ("é(", 2),
        (r"a\", 1),
        ("[b-a]", 1),
        ("a+*", 2),
        ("a+?+", 3),
        ("a+{2}", 2),
        (r"\x{100}", 0),
        (r"a\y", 1),
    ];
    for (pattern, expected) in cases {
        match compile("rx", pattern) {
            Err(OperatorError::Regex { offset, reason }) => assert_eq!(offset, expected, "{pattern}: {reason}"),
            other => panic!("{pattern}: {other:?}"),
        }
    }
    assert!(matches!(compile("rx", "((a{99}){99}){999}"), Err(OperatorError::RegexSize { .. })));
}

#[test]
fn captures_up_to_ten_groups() {
    assert_eq!(groups("rx", "(a)(b?)(x)?", b"zac"), [&b"a"[..], b"a", b"", b""]);
    assert_eq!(groups("rx", "(a)(b)(c)(d)(e)(f)(g)(h)(i)(j)(k)", b"abcdefghijk").len(), 10);
    assert_eq!(groups("rx", "(a)", b"b").len(), 0);
    let mut captures = Captures::unwanted();
    assert!(compile("rx", "(a)").unwrap().matches(b"a", b"", &mut captures));
    assert!(captures.is_empty());
    assert_eq!(captures.get(0, b"a"), None);
}

#[test]
fn finds_phrases_without_regard_to_case() {
    assert_eq!(groups("pm", "Select union", b"a uNION"), [b"uNION"]);
    assert_eq!(groups("pm", "ab abc", b"xabcd"), [b"abc"]);
    assert_eq!(groups("pm", "b|0a 0D|c  |00|", b"aB\n\rC"), [b"B\n\rC"]);
    assert!(is_match("pm", "|0041|", b"\0a"));
    assert!(!is_match("pm", "a", b"b"));
    assert_eq!(groups("pmFromFile", "pmFromFile-01.dat", b"a Def"), [b"Def"]);
    assert!(!is_match("pmFromFile", "pmFromFile-01.dat", b"# phrases"));
}

#[test]
fn matches_addresses_of_both_families() {
    let list = "192.0.2.0/24,192.0.2.128/25, 2001:db8::/32 ::ffff:198.51.100.0/120";
    for (value, expected) in [
        ("192.0.2.255", true),
        ("192.0.3.0", false),
        ("::ffff:192.0.2.1", true),
        ("::ffff:c000:0201", true),
        ("2001:db8:ffff::", true),
        ("2001:db9::", false),
        ("198.51.100.9", true),
        ("", false),
        ("192.0.2.1:80", false),
        ("192.0.2.1 ", false),
    ] {
        assert_eq!(is_match("ipMatch", list, value.as_bytes()), expected, "{value}");
    }
    assert!(is_match("ipMatch", "0.0.0.0/0", b"203.0.113.9"));
    assert!(!is_match("ipMatch", "::/0", b"203.0.113.9"));
    assert!(!is_match("ipMatch", "::/80", b"::ffff:203.0.113.9"));
    assert!(is_match("ipMatchFromFile", "addresses", b"192.0.2.77"));
    assert!(is_match("ipMatchFromFile", "addresses", b"2001:db8::1"));
    assert!(!is_match("ipMatchFromFile", "addresses", b"198.51.100.8"));
}

#[test]
fn compares_with_what_references_expand_to() {
    let reference = Text { pieces: vec![Piece::Reference(Variable::Tx, Some("x".to_owned()))] };
    let compile = |kind| Operator::compile(kind, &reference, &mut files);
    let cases: [(OperatorKind, &[u8], &[u8], bool); 6] = [
        (OperatorKind::Within, b"GET", b"GET POST", true),
        (OperatorKind::Streq, b"a", b"b", false),
        (OperatorKind::EndsWith, b"abc", b"bc", true),
        (OperatorKind::ContainsWord, b"a bc", b"bc", true),
        (OperatorKind::Gt, b"10", b"9", true),
        (OperatorKind::Lt, b"10", b"", false),
    ];
    for (kind, value, argument, expected) in cases {
        let operator = compile(kind).unwrap();
        assert!(operator.expects_argument());
        assert_eq!(operator.matches(value, argument, &mut Captures::unwanted()), expected, "{}", kind.name());
    }
    for kind in [OperatorKind::Rx, OperatorKind::Pm, OperatorKind::IpMatch, OperatorKind::ValidateByteRange] {
        assert_eq!(compile(kind).unwrap_err(), OperatorError::Reference(kind.name()));
    }
}

#[test]
fn says_what_to_write_instead() {
    let cases = [
        ("pm", "", "@pm needs at least one phrase; an empty list would never match"),
        ("pm", "a |4x|", "`|` at offset 2 does not begin bytes like `|41 0a|`; write a literal bar as |7c|"),
        ("pm", "a|", "`|` at offset 1 does not begin bytes like `|41 0a|`; write a literal bar as |7c|"),
        ("pmFromFile", "", "@pmFromFile needs the name of a file"),
        ("pmFromFile", "empty", "@pmFromFile needs at least one phrase; an empty list would never match"),
        ("pmFromFile", "gone", "cannot read data file `gone`: no such file"),
        ("ipMatch", " ", "@ipMatch needs at least one address; an empty list would never match"),
        ("ipMatchFromFile", "empty", "@ipMatchFromFile needs at least one address; an empty list would never match"),
        (
            "ipMatch",
            "10.0.0.0/33",
            "`10.0.0.0/33` is neither an IP address nor a network; write 192.0.2.7, 192.0.2.0/24 or 2001:db8::/32",
        ),
        (
            "validateByteRange",
            "1-256",
            "`1-256` is no byte range; write numbers from 0 to 255 and ranges such as 32-126, separated by commas",
        ),
        (
            "rx",
            "a(?>b)",
            "the atomic group at offset 1 needs a backtracking engine, whose time attackers can choose; write (?:…)",
        ),
        ("rx", "(", "not a regular expression: unclosed group at offset 0"),
    ];
    for (name, argument, expected) in cases {
        assert_eq!(message(name, argument), expected);
    }
    for argument in ["9-1", "a", "1-", "-1", "1-2-3"] {
        assert!(matches!(compile("validateByteRange", argument), Err(OperatorError::ByteRange(_))), "{argument}");
    }
    for argument in ["::/129", "1.2.3", "host", "1.2.3.4/", "1.2.3.4/-1", "::ffff:0:0/129"] {
        assert!(matches!(compile("ipMatch", argument), Err(OperatorError::Address(_))), "{argument}");
    }
}

#[test]
fn compiles_every_operator_of_the_language() {
    for kind in OperatorKind::ALL {
        let argument = match kind {
            OperatorKind::PmFromFile => "pmFromFile-01.dat",
            OperatorKind::IpMatchFromFile => "addresses",
            OperatorKind::IpMatch => "::1",
            kind if crate::detect::KINDS.contains(kind) => "certain",
            _ => "1",
        };
        Operator::compile(*kind, &argument.into(), &mut files).unwrap();
    }
}

#[test]
fn takes_time_in_proportion_to_the_value() {
    let operators = [
        compile("rx", "(a+)+$").unwrap(),
        compile("rx", "(?:a|aa)+b").unwrap(),
        compile("rx", ".*.*=.*;").unwrap(),
        compile("pm", "aaaaaaaab aab ab").unwrap(),
        compile("containsWord", "aaaa").unwrap(),
        compile("contains", "aaaaaaab").unwrap(),
        compile("within", "aaaaaaaaaaaa").unwrap(),
        compile("validateUrlEncoding", "").unwrap(),
    ];
    for operator in operators {
        for seed in [&b"a"[..], b"ab", b"%41", b"=", b"a-"] {
            let value = seed.repeat(1 << 18);
            assert_linear(&format!("{operator:?} of {}", seed.escape_ascii()), 1 << 14, |size| {
                std::hint::black_box(operator.matches(&value[..size], b"", &mut Captures::wanted()));
            });
        }
    }
}

proptest! {
    #[test]
    fn agrees_with_the_crate_used_plainly(pattern in "[ab.x(|)?*+\\[\\]\\\\d-]{0,12}", value in "[abxd0-9 .\n-]{0,16}") {
        // Patterns both read alike: no possessive quantifiers, and no classes in classes.
        let plain = regex::bytes::RegexBuilder::new(&pattern).unicode(false).dot_matches_new_line(true).build();
        let doubled = ["++", "*+", "?+", "**", "+*", "?*", "??", "*?", "+?", "[[", "--"].iter().any(|pair| pattern.contains(pair));
        if let (Ok(plain), false) = (plain, doubled || pattern.matches('[').count() > 1) {
            let operator = compile("rx", &pattern)
                .map_err(|error| TestCaseError::fail(format!("{pattern} is refused: {error}")))?;
            let mut captures = Captures::wanted();
            let matched = operator.matches(value.as_bytes(), b"", &mut captures);
            prop_assert_eq!(matched, plain.is_match(value.as_bytes()));
            if let Some(groups) = plain.captures(value.as_bytes()) {
                for (number, group) in groups.iter().enumerate().take(10) {
                    let expected = group.map_or(&b""[..], |group| group.as_bytes());
                    prop_assert_eq!(captures.get(number, value.as_bytes()), Some(expected));
                }
            }
        }
    }

    #[test]
    fn never_panics_on_any_pattern(pattern in "\\PC{0,24}", other in "[\\[\\]()\\\\?+*{}xcQEgk0-9<>é|:^$&~-]{0,24}") {
        for pattern in [pattern, other] {
            for name in ["rx", "pm", "ipMatch", "validateByteRange"] {
                if let Ok(operator) = compile(name, &pattern) {
                    let mut captures = Captures::wanted();
                    let matched = operator.matches(pattern.as_bytes(), b"", &mut captures);
                    prop_assert!(matched || captures.is_empty());
                }
            }
        }
    }

    #[test]
    fn finds_the_addresses_a_naive_list_finds(
        networks in proptest::collection::vec((any::<u32>(), 0u32..=32), 1..8),
        address in any::<u32>(),
        near in any::<bool>(),
    ) {
        let address = if near { networks[0].0 ^ (address & 0xff) } else { address };
        let list: Vec<String> = networks.iter()
            .map(|(network, prefix)| format!("{}/{prefix}", std::net::Ipv4Addr::from_bits(*network))).collect();
        let expected = networks.iter().any(|(network, prefix)| {
            prefix.checked_sub(1).is_none() || (network ^ address) >> (32 - prefix) == 0
        });
        let value = std::net::Ipv4Addr::from_bits(address).to_string();
        prop_assert_eq!(is_match("ipMatch", &list.join(","), value.as_bytes()), expected);
    }

    #[test]
    fn finds_words_a_naive_search_finds(value in "[ab _-]{0,12}", word in "[ab -]{0,3}") {
        let is_word = |byte: Option<&u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte == b'_');
        let bytes = value.as_bytes();
        let expected = word.is_empty() || (0..bytes.len()).any(|at| {
            bytes[at..].starts_with(word.as_bytes())
                && !is_word(at.checked_sub(1).and_then(|before| bytes.get(before)))
                && !is_word(bytes.get(at + word.len()))
        });
        prop_assert_eq!(is_match("containsWord", &word, bytes), expected);
    }
}
