//! Files that include files.

use std::path::Path;

use super::super::ast::DirectiveKind;
use super::super::files::{Files, beside};
use super::super::{Parsed, WarningCode, parse};
use super::Memory;

fn load(files: &Memory) -> Parsed {
    parse(files, &["etc/main.conf"])
}

fn errors(files: &Memory) -> Vec<String> {
    load(files).unwrap_err().iter().map(ToString::to_string).collect()
}

#[test]
fn a_pattern_includes_files_sorted_by_name_relative_to_the_including_file() {
    let files = Memory::default()
        .with("etc/main.conf", "SecMarker A\nInclude rules/*.conf\nSecMarker Z\n")
        .with("etc/rules/20.conf", "SecMarker C\n")
        .with("etc/rules/10.conf", "SecMarker B\nInclude ../extra/e?.conf\n")
        .with("etc/extra/e1.conf", "SecMarker E\n")
        .with("etc/rules/.hidden.conf", "Nonsense\n")
        .with("etc/rules/other.txt", "Nonsense\n");
    let (program, _) = load(&files).unwrap();
    let markers: Vec<_> = program
        .directives
        .iter()
        .map(|directive| match &directive.kind {
            DirectiveKind::Marker(name) => {
                (name.as_str(), &*program.sources[usize::try_from(directive.position.source).unwrap()].name)
            }
            other => panic!("{other:?}"),
        })
        .collect();
    let expected = [
        ("A", "etc/main.conf"),
        ("B", "etc/rules/10.conf"),
        ("E", "etc/extra/e1.conf"),
        ("C", "etc/rules/20.conf"),
        ("Z", "etc/main.conf"),
    ];
    assert_eq!(markers, expected);
}

#[test]
fn a_file_that_includes_itself_is_refused() {
    let files =
        Memory::default().with("etc/main.conf", "Include a.conf\n").with("etc/a.conf", "\n Include ./x/../main.conf\n");
    assert_eq!(errors(&files), ["etc/a.conf:2:2: etc/main.conf includes itself; remove one of the lines"]);
}

#[test]
fn files_include_each_other_sixteen_deep_and_no_deeper() {
    let chain = |length: usize| {
        let link = |files: Memory, n: usize| files.with(&format!("etc/{n}.conf"), format!("Include {}.conf\n", n + 1));
        let files = Memory::default().with("etc/main.conf", "Include 2.conf\n");
        (2..length).fold(files, link).with(&format!("etc/{length}.conf"), "SecMarker A\n")
    };
    assert!(load(&chain(16)).is_ok());
    assert_eq!(errors(&chain(17)), ["etc/16.conf:1:1: files include each other more than 16 deep"]);
}

#[test]
fn an_optional_file_may_be_missing() {
    let files = Memory::default().with("etc/main.conf", "IncludeOptional a.conf\nIncludeOptional b/*.conf\n");
    let (_, warnings) = load(&files).unwrap();
    assert_eq!(warnings.iter().map(|warning| warning.code).collect::<Vec<_>>(), [WarningCode::NothingIncluded; 2]);
}

#[test]
fn files_that_rules_name_stand_beside_the_rules() {
    assert_eq!(beside("etc/rules/a.conf", "words.data"), Path::new("etc/rules/words.data"));
    assert_eq!(beside("etc/rules/a.conf", "../words.data"), Path::new("etc/words.data"));
    assert_eq!(beside("etc/rules/a.conf", "/words.data"), Path::new("/words.data"));
    assert_eq!(beside("../a.conf", "../b"), Path::new("../../b"));
    assert!(Memory::default().read(Path::new("a")).is_err());
}

#[test]
fn the_size_of_all_files_together_is_bounded() {
    let comment = format!("#{}\n", "x".repeat(1 << 20));
    let files = Memory::default().with("etc/main.conf", "Include big.conf\n".repeat(40)).with("etc/big.conf", comment);
    let errors = errors(&files);
    assert_eq!(errors, ["etc/big.conf:1:1: with this file the rules are larger than 33554432 bytes"]);
}

#[test]
fn the_number_of_directives_is_bounded() {
    let files = Memory::default().with("etc/main.conf", "SecMarker A\n".repeat(100_001));
    assert_eq!(errors(&files), ["etc/main.conf:100001:1: more than 100000 directives; leave some out"]);
}
