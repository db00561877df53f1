//! The Core Rule Set loads as it is, with the counts of the field.

use std::path::PathBuf;

use super::super::ast::TargetKind;
use super::super::files::Disk;
use super::super::parse;
use super::{ActionKind, DirectiveKind, Program};

/// The directory of test data that is never copied into the project.
fn data() -> Option<PathBuf> {
    let configured = std::env::var_os("GATEHOUSE_TEST_DATA").map(PathBuf::from);
    let path =
        configured.unwrap_or_else(|| PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/data")));
    let path = path.join("crs-4.28.0");
    if path.is_dir() {
        return Some(path);
    }
    eprintln!("SKIPPED: no Core Rule Set at {}; set GATEHOUSE_TEST_DATA", path.display());
    None
}

fn load(paths: &[&str]) -> Option<Program> {
    let data = data()?;
    let paths: Vec<PathBuf> = paths.iter().map(|path| data.join(path)).collect();
    match parse(&Disk, &paths) {
        Ok((program, warnings)) => {
            warnings.iter().for_each(|warning| eprintln!("{warning}"));
            Some(program)
        }
        Err(errors) => {
            let errors: Vec<String> = errors.iter().map(ToString::to_string).collect();
            panic!("{}", errors.join("\n"));
        }
    }
}

#[test]
fn the_core_rule_set_has_the_counts_of_the_field() {
    let Some(program) = load(&["rules/*.conf"]) else { return };
    let count = |wanted: &dyn Fn(&DirectiveKind) -> bool| program.directives.iter().filter(|d| wanted(&d.kind)).count();
    let rules: Vec<_> = program
        .directives
        .iter()
        .filter_map(|directive| match &directive.kind {
            DirectiveKind::Rule(rule) => Some(rule),
            _ => None,
        })
        .collect();
    let ids =
        rules.iter().flat_map(|rule| &rule.actions).filter(|action| matches!(action.kind, ActionKind::Id(_))).count();
    let chains = rules.iter().flat_map(|rule| &rule.actions).filter(|action| action.kind == ActionKind::Chain).count();
    let targets = rules.iter().flat_map(|rule| &rule.targets);
    assert_eq!(rules.len(), 695);
    assert_eq!((ids, chains), (622, 73));
    assert_eq!(targets.clone().count(), 1_749);
    assert_eq!(targets.clone().filter(|target| target.kind == TargetKind::Count).count(), 50);
    assert_eq!(targets.filter(|target| target.kind == TargetKind::Exclude).count(), 28);
    assert_eq!(rules.iter().filter(|rule| rule.operator.negated).count(), 42);
    assert_eq!(count(&|kind| matches!(kind, DirectiveKind::Marker(_))), 30);
    assert_eq!(count(&|kind| matches!(kind, DirectiveKind::Action(_))), 7);
    assert_eq!(count(&|kind| matches!(kind, DirectiveKind::UpdateTarget(..))), 55);
    assert_eq!(count(&|kind| matches!(kind, DirectiveKind::ComponentSignature(_))), 1);
    assert_eq!(program.sources.len(), 27);
}

#[test]
fn the_core_rule_set_loads_with_its_setup_before_it() {
    let Some(program) = load(&["crs-setup.conf.example", "rules/*.conf"]) else { return };
    let defaults = program.directives.iter().filter(|d| matches!(d.kind, DirectiveKind::DefaultAction(_))).count();
    let actions = program.directives.iter().filter(|d| matches!(d.kind, DirectiveKind::Action(_))).count();
    assert_eq!((defaults, actions), (5, 8));
}

#[test]
fn the_example_exclusions_of_the_core_rule_set_load() {
    let paths = [
        "crs-setup.conf.example",
        "rules/REQUEST-900-EXCLUSION-RULES-BEFORE-CRS.conf.example",
        "rules/*.conf",
        "rules/RESPONSE-999-EXCLUSION-RULES-AFTER-CRS.conf.example",
    ];
    if let Some(program) = load(&paths) {
        assert_eq!(program.sources.len(), 30);
    }
}
