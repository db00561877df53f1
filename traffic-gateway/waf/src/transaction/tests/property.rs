//! The prefilter never changes what is decided.

use std::sync::Arc;

use proptest::prelude::{Just, ProptestConfig, Strategy, prop, prop_assert_eq, prop_oneof, proptest};

use super::super::{Mode, Transaction};
use super::{feed, ids, rules_with, run_with, start};
use crate::rules::Options;

const PATTERNS: &[&str] = &[
    "abc",
    "(?i)AbC",
    "a.c",
    "^ab",
    "bc$",
    "[abc]{2}",
    "a|b",
    "(?:ab|c)d?",
    "x*",
    "",
    "a+b",
    "(a)(b)?",
    "[^a]",
    "\\x61b",
    "(?:a|bc){2,3}",
    "[a-c]<",
    "<\\s*a",
    "['\\\"]\\s*a",
    "a(?:b|c)*'",
    "\\bab\\b",
    "ab\\s+cd",
    "(?:select|union)",
    ".",
    "[[:punct:]]",
    "a{0}b",
    "(?:)",
    "(?:a?b?c?)d",
    "[aA][bB][cC]",
    "%[0-9a-f]{2}",
    "(?:ab){9}",
    "(?s).*a",
    "c(?:[^b]|b[^a])",
    "\\d+a",
];

const PHRASES: &[&str] = &["abc", "ab cd", "a", "a b", "select union", "<a 'b", "Ab|63|"];

const STEPS: &[&str] = &[
    "t:none",
    "t:lowercase",
    "t:urlDecodeUni",
    "t:htmlEntityDecode",
    "t:removeWhitespace",
    "t:replaceComments",
    "t:hexDecode",
    "t:cmdLine",
    "t:length",
    "t:normalizePath",
    "t:jsDecode",
    "t:uppercase",
    "t:compressWhitespace",
    "t:base64Decode",
    "t:sqlHexDecode",
];

const TARGETS: &[&str] = &[
    "ARGS",
    "ARGS_NAMES",
    "ARGS:a",
    "ARGS|!ARGS:a",
    "REQUEST_HEADERS",
    "REQUEST_HEADERS:x",
    "REQUEST_COOKIES",
    "QUERY_STRING",
    "REQUEST_URI",
    "REQUEST_BODY",
    "ARGS_POST|REQUEST_HEADERS:x",
    "ARGS|TX:1",
    "REQUEST_FILENAME|ARGS_GET",
    "ARGS:/^a/",
    "ARGS|ARGS_GET|!ARGS:a",
    "ARGS_GET|!ARGS_GET:a|!ARGS_GET:ab",
    "REQUEST_HEADERS|!REQUEST_HEADERS:x",
    "REQUEST_COOKIES|!REQUEST_COOKIES:s|REQUEST_COOKIES_NAMES",
    "REQUEST_HEADERS|REQUEST_HEADERS:x|!REQUEST_HEADERS:cookie",
    "REQUEST_HEADERS_NAMES|REQUEST_LINE",
];

const OTHERS: &[&str] = &[
    "@validateByteRange 32-38,40-126",
    "@validateByteRange 97-122",
    "@validateUrlEncoding",
    "@validateUtf8Encoding",
    "@detectSQLi",
    "@detectXSS",
    "@rx ^.*$",
];

fn operator() -> impl Strategy<Value = String> {
    let pattern = prop::sample::select(PATTERNS).prop_map(|pattern| format!("@rx {pattern}"));
    let phrases = prop::sample::select(PHRASES).prop_map(|phrases| format!("@pm {phrases}"));
    let text = (
        prop::sample::select(&["contains", "streq", "beginsWith", "endsWith", "containsWord", "within"][..]),
        prop::sample::select(&["ab", "abc", "a", "<"][..]),
    )
        .prop_map(|(name, text)| format!("@{name} {text}"));
    let other = prop::sample::select(OTHERS).prop_map(str::to_owned);
    let positive = prop_oneof![4 => pattern, 2 => phrases, 1 => text, 1 => other];
    (positive, prop::bool::weighted(0.15)).prop_map(|(text, negated)| if negated { format!("!{text}") } else { text })
}

fn rule() -> impl Strategy<Value = String> {
    let steps = prop::collection::vec(prop::sample::select(STEPS), 0..4);
    let extra = prop_oneof![6 => Just(""), 1 => Just(",multiMatch"), 1 => Just(",capture")];
    let link = prop_oneof![3 => Just(None), 1 => operator().prop_map(Some)];
    (prop::sample::select(TARGETS), operator(), steps, extra, link).prop_map(
        |(target, operator, steps, extra, link)| {
            let steps: String = steps.iter().map(|step| format!(",{step}")).collect();
            let quote = |operator: &str| operator.replace("\\\"", "\\x22");
            let chain = if link.is_some() { ",chain" } else { "" };
            let mut text = format!(
                "SecRule {target} \"{}\" \"id:ID,phase:2,pass,setvar:tx.n=+1{steps}{extra}{chain}\"\n",
                quote(&operator)
            );
            if let Some(link) = link {
                text.push_str(&format!("SecRule MATCHED_VARS|ARGS \"{}\" \"setvar:tx.m=+1\"\n", quote(&link)));
            }
            text
        },
    )
}

fn value() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(
        &[
            "a",
            "b",
            "c",
            "d",
            "ab",
            "abc",
            "ABC",
            "<",
            "'",
            "\"",
            " ",
            "%20",
            "%3c",
            "%27",
            "+",
            "/",
            "/*x*/",
            "..",
            "select",
            "616263",
            "&lt;",
            "x",
            "1",
            "0X6162",
            "%00",
            "%ff",
            "\\N",
            "YWJj",
            "1'or'1'='1",
        ][..],
    );
    prop::collection::vec(piece, 0..8).prop_map(|pieces| pieces.concat().replace(['&', ' ', '"'], "%26"))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]
    #[test]
    fn verdicts_are_the_same_without_prefilter(
        rules in prop::collection::vec(rule(), 1..8),
        values in prop::collection::vec(value(), 6),
    ) {
        let text: String = (1..).zip(&rules).map(|(id, rule)| rule.replace("ID", &id.to_string())).collect();
        let [a, b, c, d, e, f] = values.as_slice() else { unreachable!() };
        let request = format!(
            "POST /{a}?a={b}&ab={c}&{d} HTTP/1.1\nx: {e}\ncookie: s={f}; {a}={b}\ncontent-type: application/x-www-form-urlencoded\n\np={e}&q={a}"
        );
        let with = rules_with(&text, &Options::default());
        let without = rules_with(&text, &Options { prefilter: false, ..Options::default() });
        let without = run_with(&without, Mode::Block, &request);
        // Again and again in the same buffers: the second and third time values are known that woke no rule.
        let mut transaction = Transaction::new(Arc::clone(&with), Mode::Block, start());
        for _ in 0..3 {
            let verdict = feed(&mut transaction, &request);
            let report = transaction.finish();
            prop_assert_eq!(ids(&report), ids(&without.1));
            prop_assert_eq!(&(verdict, report), &without);
            transaction.renew(Arc::clone(&with), Mode::Block, start());
        }
    }
}
