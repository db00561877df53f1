//! `rules check`: everything that is wrong or doubtful in rules, and what there is of them.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use gatehouse_waf::seclang::ast::{Action, ActionKind, Directive, DirectiveKind, Setting};

use super::{RulesError, counted};
use crate::admit::waf::offline::Offline;
use crate::command::{ConfigDir, INVALID, print};

#[derive(Debug, Args)]
pub(super) struct Check {
    /// Files of rules and directories of plain lists [default: those of [waf] in the configuration]
    files: Vec<PathBuf>,
    /// Exit with 64 for warnings, too
    #[arg(long)]
    strict: bool,
    #[command(flatten)]
    config: ConfigDir,
}

impl Check {
    pub(super) fn run(&self) -> Result<ExitCode, RulesError> {
        let offline = match self.files.as_slice() {
            [] => {
                Offline::of_directory_at_all_levels(&self.config.dir)?;
                Offline::of_directory(&self.config.dir)?
            }
            files => Offline::of_files(files)?,
        };
        let mut text = String::new();
        for warning in &offline.warnings {
            text.push_str(&format!("warning: {warning}\n"));
        }
        let warnings = offline.warnings.len();
        text.push_str(&summary(&offline));
        text.push_str(&format!("valid, {}\n", counted(warnings, "warning")));
        let code = print(&text);
        Ok(if self.strict && warnings > 0 { ExitCode::from(INVALID) } else { code })
    }
}

/// How many of what there are.
fn summary(offline: &Offline) -> String {
    let rules: Vec<_> = offline.rules.rules().collect();
    let active = rules.iter().filter(|rule| rule.active).count();
    let (mut phases, mut levels, mut lines) = (BTreeMap::new(), BTreeMap::new(), 0);
    for rule in &rules {
        *phases.entry(rule.phase).or_insert(0) += 1;
        *levels.entry(rule.paranoia).or_insert(0) += 1;
        lines += usize::from(rule.tags.iter().any(|tag| tag.starts_with("list/")));
    }
    let of = |what: &str, counts: &BTreeMap<u8, usize>| {
        let parts = counts.iter().map(|(number, count)| format!("{what} {number}: {count}"));
        parts.collect::<Vec<_>>().join(", ")
    };
    let written = Written::count(&offline.program.directives);
    let mut text = format!("{}, {active} of them active\n", counted(rules.len(), "rule"));
    if !rules.is_empty() {
        text.push_str(&format!("  by phase: {}\n", of("phase", &phases)));
        let levels = of("level", &levels).replace("level 0:", "none:");
        let (blocking, detection) = offline.paranoia();
        text.push_str(&format!(
            "  by paranoia: {levels}; up to level {blocking} they block, up to {detection} they run\n"
        ));
    }
    text.push_str(&format!(
        "{} with {}, {}, {} of plain lists\n",
        counted(written.chains, "chain"),
        counted(written.links, "further link"),
        counted(written.markers, "marker"),
        counted(lines, "line"),
    ));
    if !written.ignored.is_empty() {
        let parts = written.ignored.iter().map(|(name, count)| format!("{name} ({count})"));
        text.push_str(&format!("without effect here: {}\n", parts.collect::<Vec<_>>().join(", ")));
    }
    text
}

/// What is written in the files.
#[derive(Default)]
struct Written {
    chains: usize,
    links: usize,
    markers: usize,
    ignored: BTreeMap<&'static str, usize>,
}

impl Written {
    fn count(directives: &[Directive]) -> Self {
        let mut written = Self::default();
        let mut is_link = false;
        for directive in directives {
            let actions: &[Action] = match &directive.kind {
                DirectiveKind::Rule(rule) => &rule.actions,
                DirectiveKind::Action(actions) => actions,
                DirectiveKind::Marker(_) => {
                    written.markers += 1;
                    continue;
                }
                DirectiveKind::Setting(Setting::Ignored(name)) => {
                    *written.ignored.entry(*name).or_default() += 1;
                    continue;
                }
                _ => continue,
            };
            let goes_on = actions.iter().any(|action| action.kind == ActionKind::Chain);
            written.links += usize::from(is_link);
            written.chains += usize::from(goes_on && !is_link);
            is_link = goes_on;
        }
        written
    }
}
