//! Patterns against the expressions they stand for.

use proptest::prelude::*;
use regex::bytes::Regex;

use super::*;
use crate::admit::Mode;

fn compile(dialect: Dialect, patterns: &[String]) -> Result<Patterns, String> {
    let terms = Arc::new(Terms { list: "list".into(), mode: Mode::Enforce, action: None });
    let written = Written::all_inline(&terms, patterns, "patterns", &Positions::default());
    Patterns::compile(dialect, written).map_err(|errors| errors.to_string())
}

#[test]
fn only_an_expression_that_fits_one_text_is_taken_as_text() {
    for (regex, text) in [
        ("^/a$", Some("/a")),
        ("^$", Some("")),
        ("^/a\\.b\\-c$", Some("/a.b-c")),
        ("^/a", None),
        ("/a$", None),
        ("^/a.b$", None),
        ("^a|b$", None),
        ("^/\\d$", None),
        ("^\\<a$", None),
        ("^/a\\$", None),
        ("^a$b$", None),
    ] {
        assert_eq!(whole_text(regex).as_deref(), text, "{regex}");
    }
}

#[test]
fn too_many_patterns_are_refused() {
    let patterns: Vec<String> = (0..=MAX_PATTERNS).map(|number| format!("h{number}.example")).collect();
    let error = compile(Dialect::Host, &patterns).unwrap_err();
    assert!(error.contains("there are 10001 patterns; 10000 are allowed"), "{error}");
    assert!(compile(Dialect::Host, &patterns[1..]).is_ok());
}

proptest! {
    #[test]
    fn a_pattern_fits_what_its_expression_fits(
        patterns in proptest::collection::vec("\\^?/?[ab.|]{0,3}(\\\\[.|$])?[ab]{0,2}\\$?", 0..6),
        texts in proptest::collection::vec("/?[ab.]{0,5}", 0..20),
    ) {
        let compiled = compile(Dialect::DeniedUrl, &patterns).unwrap();
        for text in &texts {
            let naive = patterns.iter().any(|pattern| Regex::new(pattern).unwrap().is_match(text.as_bytes()));
            prop_assert_eq!(compiled.find(text.as_bytes()).is_some(), naive, "{:?} {}", patterns, text);
        }
    }

    #[test]
    fn what_is_found_fits(patterns in proptest::collection::vec("[ab.]{1,3}", 1..6), text in "[ab]{0,6}") {
        let compiled = compile(Dialect::UserAgent, &patterns).unwrap();
        if let Some(Finding { entry: Matched::Pattern(pattern), .. }) = compiled.find(text.as_bytes()) {
            prop_assert!(Regex::new(pattern).unwrap().is_match(text.as_bytes()));
        }
    }

    #[test]
    fn no_pattern_makes_compiling_panic(pattern: String, host: String) {
        let _any = compile(Dialect::DeniedUrl, std::slice::from_ref(&pattern)).is_ok();
        let _any = compile(Dialect::AllowedUrl, &[format!("/{pattern}")]).is_ok();
        let _any = compile(Dialect::Host, &[host]).is_ok();
    }
}
