//! The sets of rules that are measured: where their files are, how an edge is told about them, and compiled as an edge does it.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use anyhow::bail;
use gatehouse_shared::clock;
use gatehouse_tests::binaries;
use gatehouse_waf::RuleSet;
use gatehouse_waf::body::Limits;
use gatehouse_waf::list::{self, FIRST_ID, ListOptions};
use gatehouse_waf::rules::Options;
use gatehouse_waf::seclang;
use gatehouse_waf::seclang::ast::{LimitAction, Program};
use gatehouse_waf::seclang::files::{Disk, Files as _};

/// The variable that names further files of rules, separated by colons, whose engine is measured beside the others.
const MORE_RULES: &str = "BENCH_WAF_RULES";

/// What a request must be like to be refused by a set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Attacks {
    /// Every attack of the bench is refused.
    Refused,
    /// Nobody knows.
    Unknown,
}

/// One set of rules.
#[derive(Debug)]
pub(super) struct Set {
    /// Its name in figures.
    pub(super) name: &'static str,
    /// Files in SecLang, patterns included.
    rules: Vec<PathBuf>,
    /// Directories of plain lists.
    lists: Vec<PathBuf>,
    /// What it does to attacks.
    pub(super) attacks: Attacks,
}

impl Set {
    /// The rules that the edge is shipped with.
    pub(super) fn shipped() -> Self {
        let files = binaries::repository().join("deploy/config/edge/waf/*.conf");
        Self { name: "default", rules: vec![files], lists: Vec::new(), attacks: Attacks::Refused }
    }

    /// 139 lines of plain lists in both layouts, written for this bench.
    pub(super) fn lists() -> Self {
        let directory = binaries::repository().join("tests/load/waf");
        let lists = ["wafconf", "rule-config"].map(|layout| directory.join(layout)).to_vec();
        Self { name: "lists", rules: Vec::new(), lists, attacks: Attacks::Refused }
    }

    /// The Core Rule Set 4.28 at paranoia 1, where the test data has it.
    pub(super) fn core_rules() -> Option<Self> {
        let rules = core_rule_files()?.to_vec();
        Some(Self { name: "crs", rules, lists: Vec::new(), attacks: Attacks::Refused })
    }

    /// The files that the environment names.
    fn own() -> Option<Self> {
        let rules = std::env::split_paths(&std::env::var_os(MORE_RULES)?).collect();
        Some(Self { name: "own", rules, lists: Vec::new(), attacks: Attacks::Unknown })
    }

    /// All of them.
    pub(super) fn all() -> Vec<Self> {
        [Self::shipped(), Self::lists()].into_iter().chain(Self::core_rules()).chain(Self::own()).collect()
    }

    /// `[waf]` of an edge with these rules.
    pub(super) fn section(&self) -> String {
        let quoted = |path: &PathBuf| format!("\"{}\"", path.display());
        let rules: Vec<String> = self.rules.iter().map(quoted).collect();
        let lists: Vec<String> = self.lists.iter().map(|list| format!("{{ directory = {} }}", quoted(list))).collect();
        format!("[waf]\nmode = \"block\"\nrules = [{}]\nlist = [{}]\n", rules.join(", "), lists.join(", "))
    }

    /// The rules, compiled with the settings of an edge that is told nothing but where they are. With a clock the time of
    /// each rule is counted, too.
    ///
    /// # Errors
    ///
    /// What is wrong with the files.
    pub(super) fn compile(&self, by_rule: bool) -> anyhow::Result<Arc<RuleSet>> {
        let mut program = Program::default();
        for (place, directory) in (0..).zip(&self.lists) {
            let first_id = FIRST_ID + 1_000_000 * place;
            match list::load(&Disk, directory, &ListOptions { first_id, ..ListOptions::default() }) {
                Ok((lists, _)) => program.append(lists.program),
                Err(errors) => bail!("plain lists: {errors:?}"),
            }
        }
        match seclang::parse(&Disk, &self.rules) {
            Ok((rules, _)) => program.append(rules),
            Err(errors) => bail!("rules: {errors:?}"),
        }
        let limits = Limits { arguments: 10_000, parts: 200, ..Limits::default() };
        let options = Options {
            request_body_limit: u64::MAX,
            request_body_limit_action: LimitAction::ProcessPartial,
            limits,
            clock: by_rule.then_some(nanoseconds),
            ..Options::default()
        };
        let mut read = |name: &str| Disk.read(Path::new(name)).map_err(|error| error.to_string());
        match RuleSet::compile(&program, &mut read, &options) {
            Ok(rules) => Ok(Arc::new(rules)),
            Err(errors) => bail!("rules: {errors:?}"),
        }
    }
}

/// The files of the Core Rule Set 4.28 in the test data, in the order in which they are read.
pub(super) fn core_rule_files() -> Option<[PathBuf; 2]> {
    let data = std::env::var_os("GATEHOUSE_TEST_DATA")
        .map_or_else(|| binaries::repository().join("../shared/data"), PathBuf::from);
    let directory = data.join("crs-4.28.0").canonicalize().ok()?;
    Some([directory.join("crs-setup.conf.example"), directory.join("rules/*.conf")])
}

/// Nanoseconds since the first call.
fn nanoseconds() -> u64 {
    static FIRST: OnceLock<Instant> = OnceLock::new();
    let since = clock::now() - *FIRST.get_or_init(clock::now);
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::Set;

    #[test]
    fn the_lists_have_139_lines() {
        let lists = Set::lists().lists;
        let files = lists.iter().flat_map(|directory| std::fs::read_dir(directory).unwrap());
        let lines = files.map(|file| std::fs::read_to_string(file.unwrap().path()).unwrap().lines().count());
        assert_eq!(lines.sum::<usize>(), 139);
    }

    #[test]
    fn an_edge_is_told_about_all_files() {
        let section = Set::lists().section();
        let table: toml::Table = section.parse().unwrap();
        assert_eq!(table["waf"]["list"].as_array().unwrap().len(), 2, "{section}");
    }
}
