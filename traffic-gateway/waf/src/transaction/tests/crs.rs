//! The OWASP Core Rule Set, as unpacked.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::super::{Mode, Transaction};
use super::{Verdict, denied, feed, ids, run_with, start};
use crate::rules::{Options, RuleSet};
use crate::seclang::{files::Disk, parse};

/// The directory of the rule set, if the test data is there.
fn directory() -> Option<PathBuf> {
    let beside = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/data");
    let data = std::env::var_os("GATEHOUSE_TEST_DATA").map_or_else(|| PathBuf::from(beside), PathBuf::from);
    let found = data.join("crs-4.28.0");
    if !found.is_dir() {
        eprintln!("SKIPPED: no Core Rule Set at {}", found.display());
        return None;
    }
    Some(found)
}

/// Compiles all of it.
fn rule_set(directory: &Path, options: &Options) -> Arc<RuleSet> {
    let paths = [directory.join("crs-setup.conf.example"), directory.join("rules/*.conf")];
    let (program, _) = parse(&Disk, &paths).unwrap_or_else(|errors| panic!("{errors:#?}"));
    let mut files = |name: &str| {
        let file = Path::new(name).file_name().unwrap();
        std::fs::read(directory.join("rules").join(file)).map_err(|error| error.to_string())
    };
    Arc::new(RuleSet::compile(&program, &mut files, options).unwrap_or_else(|errors| panic!("{errors:#?}")))
}

const HEADERS: &str = " HTTP/1.1
host: www.example.com
user-agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0
accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8
accept-language: en-US,en;q=0.5
accept-encoding: gzip, deflate, br";

#[test]
fn the_core_rule_set_passes_a_page_and_denies_an_injection() {
    let Some(directory) = directory() else { return };
    let rules = rule_set(&directory, &Options::default());
    assert_eq!(rules.rules().count(), 630);
    let (verdict, report) = run_with(&rules, Mode::Block, &format!("GET /articles/view?id=17&page=2{HEADERS}"));
    assert_eq!((verdict, ids(&report)), (Verdict::Pass, vec![]), "{report:#?}");
    let (verdict, report) = run_with(&rules, Mode::Block, &format!("GET /?id=1'+or+'1'%3d'1{HEADERS}"));
    assert_eq!(verdict, denied(949_110), "{report:#?}");
    assert!(ids(&report).contains(&942_100), "{:?}", ids(&report));
    assert!(report.inbound_score >= 5);
}

#[test]
fn rules_of_levels_that_are_off_are_left_out() {
    let Some(directory) = directory() else { return };
    let active = |level: u8| {
        let rules = rule_set(&directory, &Options { detection_paranoia: level, ..Options::default() });
        rules.rules().filter(|rule| rule.active && rule.paranoia > 0).map(|rule| rule.paranoia).max()
    };
    assert_eq!([active(1), active(2), active(4)], [Some(1), Some(2), Some(4)]);
}

#[test]
fn verdicts_of_the_core_rule_set_need_no_prefilter() {
    let Some(directory) = directory() else { return };
    let options = |prefilter| Options { detection_paranoia: 4, prefilter, ..Options::default() };
    let (with, without) = (rule_set(&directory, &options(true)), rule_set(&directory, &options(false)));
    for request in [
        "GET /?id=1'+or+'1'%3d'1",
        "GET /?x=<script>alert(1)</script>",
        "GET /?f=../../etc/passwd",
        "GET /?c=;cat+/etc/passwd",
        "GET /a/b/c.php?x[]=1&y=%00",
        "POST /?q=${jndi:ldap://x/a}",
        "GET /?u=http://169.254.169.254/latest/meta-data",
        "GET /?t={{7*7}}&z=<?php+system('id');",
        "GET /?q=hello+world&lang=de",
        "GET /.git/config",
    ] {
        let request = format!("{request}{HEADERS}\ncookie: a=b; sid=1%27%3b--");
        let (with, without) = (run_with(&with, Mode::Detect, &request), run_with(&without, Mode::Detect, &request));
        assert_eq!(ids(&with.1), ids(&without.1), "{request}");
        assert_eq!(with, without, "{request}");
    }
}

/// Prints microseconds for a request; run in release mode with `--ignored --nocapture`.
#[test]
#[ignore = "a measurement"]
fn cost_of_a_small_get() {
    let Some(directory) = directory() else { return };
    let rules = rule_set(&directory, &Options::default());
    let request = format!(
        "GET /api/items?id=17&page=2&sort=name&q=blue+shoes{HEADERS}\ncookie: session=0123456789abcdef; theme=dark"
    );
    let mut transaction = Transaction::new(Arc::clone(&rules), Mode::Block, start());
    for _ in 0..2_000 {
        transaction.renew(Arc::clone(&rules), Mode::Block, start());
        assert_eq!(feed(&mut transaction, &request), Verdict::Pass);
    }
}
