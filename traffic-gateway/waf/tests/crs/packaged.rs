//! Debian's package `modsecurity-crs`, version 3.3, where it is installed.

use std::path::Path;

use gatehouse_waf::RuleSet;
use gatehouse_waf::rules::Options;
use gatehouse_waf::seclang::ast::{DirectiveKind, Program, Setting};
use gatehouse_waf::seclang::{self, files::Disk, files::Files as _};

/// What the package reads, in its order.
const LOADED: &str = "/usr/share/modsecurity-crs/owasp-crs.load";

/// Reads what the package reads, with a text before it; says how many directives are without effect, warnings included.
fn read(before: &str) -> Option<(Program, usize)> {
    if !Path::new(LOADED).is_file() {
        eprintln!("SKIPPED: no {LOADED}; apt-get install modsecurity-crs");
        return None;
    }
    let (mut program, _) = seclang::parse_text(&Disk, "before", before).unwrap();
    let (rules, warnings) = seclang::parse(&Disk, &[LOADED]).unwrap_or_else(|errors| panic!("{errors:#?}"));
    program.append(rules);
    let is_idle = |kind: &DirectiveKind| matches!(kind, DirectiveKind::Setting(Setting::Ignored(_)));
    let idle = program.directives.iter().filter(|directive| is_idle(&directive.kind)).count();
    Some((program, idle + warnings.len()))
}

/// What is wrong, as `FILE:LINE: TEXT`.
fn errors(program: &Program, options: &Options) -> Vec<String> {
    let mut files = |name: &str| Disk.read(Path::new(name)).map_err(|error| error.to_string());
    let errors = RuleSet::compile(program, &mut files, options).err().unwrap_or_default();
    let place = |source: u32| program.sources[source as usize].name.rsplit('/').next().unwrap().to_owned();
    let written =
        errors.iter().map(|error| format!("{}:{}: {}", place(error.position.source), error.position.line, error.text));
    written.collect()
}

#[test]
fn the_package_loads_at_every_level_without_a_directive_that_does_nothing() {
    let Some((program, idle)) = read("") else { return };
    assert_eq!(idle, 0);
    for level in 1..=4 {
        let options = Options { blocking_paranoia: level, detection_paranoia: level, ..Options::default() };
        assert_eq!(errors(&program, &options), [""; 0], "level {level}");
    }
}

#[test]
fn switches_of_the_package_that_need_what_is_kept_are_errors_that_say_what_to_do() {
    for (switch, file, remedy) in [
        (
            "tx.dos_burst_time_slice=60,setvar:tx.dos_counter_threshold=100,setvar:tx.dos_block_timeout=600",
            "912-DOS",
            "[[limit]]",
        ),
        ("tx.do_reput_block=1", "910-IP", "[[limit]]"),
        ("tx.block_search_ip=1", "910-IP", "access lists"),
        ("tx.high_risk_country_codes=XX", "910-IP", "access lists"),
    ] {
        let before = format!("SecAction \"id:1,phase:1,pass,nolog,setvar:{switch}\"");
        let Some((program, _)) = read(&before) else { return };
        let errors = errors(&program, &Options::default());
        assert!(errors.iter().any(|error| error.contains(file) && error.contains(remedy)), "{switch}: {errors:#?}");
    }
}
