//! `rules exclude`: from a denial to the narrowest exclusion.

use std::collections::HashSet;
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use gatehouse_shared::config::{self, Sources};

use super::RulesError;
use super::exclusion::{self, Scope};
use super::log_line::{self, LogLine, LoggedRule};
use crate::admit::waf::offline::{Offline, path_of};
use crate::command::{ConfigDir, print};
use crate::config::{Config, FILE};

/// Numbers for exclusions begin here: the field leaves those below 100,000 to the site.
const FIRST_ID: u32 = 90_000;

#[derive(Debug, Args)]
pub(super) struct Exclude {
    /// The id of the request that was refused, as its page and the logs show it
    request_id: String,
    /// The security log, in any of its formats [default: the one of the configuration]
    #[arg(long, value_name = "FILE")]
    log: Option<PathBuf>,
    /// For every path, not only that of the request
    #[arg(long)]
    everywhere: bool,
    /// Append the exclusion to this file of rules; it is taken back when the configuration does not load with it
    #[arg(long, value_name = "FILE")]
    write: Option<PathBuf>,
    #[command(flatten)]
    config: ConfigDir,
}

/// What is to be written.
struct Exclusions {
    text: String,
    /// Numbers of the rules that values are taken from, and of the new rule that does it.
    excluded: Vec<(u32, Option<u32>)>,
}

impl Exclude {
    pub(super) fn run(&self) -> Result<ExitCode, RulesError> {
        let offline = Offline::of_directory(&self.config.dir)?;
        let log = self.log.clone().map_or_else(|| self.configured_log(), Ok)?;
        let line = self.find(&log)?;
        let exclusions = self.exclusions(&line, &offline)?;
        if let Some(file) = &self.write {
            self.append(file, &exclusions)?;
            eprintln!("traffic-gateway: appended to {}", file.display());
        }
        Ok(print(&exclusions.text))
    }

    /// The security log of the configuration.
    fn configured_log(&self) -> Result<PathBuf, RulesError> {
        let file = Sources::new(&self.config.dir).read(FILE)?;
        let config = config::parse::<Config>(&file)?.value;
        match config.security_log.sink.as_str() {
            sink @ ("stdout" | "stderr" | "off") => Err(RulesError::Usage(format!(
                "the security log of this configuration is {sink}; name a file of its lines with --log"
            ))),
            sink => Ok(config.process.state_dir.join(sink)),
        }
    }

    /// The last denial of the request by the rules.
    fn find(&self, log: &Path) -> Result<LogLine, RulesError> {
        let (mut found, mut by_others) = (None, false);
        log_line::lines(log, |_, line| {
            let line = LogLine::read(line).filter(|line| line.request_id() == Some(self.request_id.as_str()));
            match line {
                Some(line) if line.is_of_rules() => found = Some(line),
                Some(_) => by_others = true,
                None => {}
            }
        })?;
        let id = super::printable(&self.request_id);
        found.ok_or_else(|| {
            RulesError::Impossible(match by_others {
                true => format!("request {id} was not refused by the rules; {} says by what", log.display()),
                false => format!("there is no request {id} in {}", log.display()),
            })
        })
    }

    fn exclusions(&self, line: &LogLine, offline: &Offline) -> Result<Exclusions, RulesError> {
        let rules = line.rules();
        if rules.is_empty() {
            return Err(RulesError::Impossible("no rule led to this denial, so that there is none to exclude".into()));
        }
        let path = line.target().map(|target| path_of(target.as_bytes())).unwrap_or_default();
        let known: HashSet<u32> = offline.rules.rules().map(|rule| rule.id).collect();
        let mut used = known.clone();
        let mut exclusions = Exclusions { text: String::new(), excluded: Vec::new() };
        for rule in &rules {
            let id = (FIRST_ID..).find(|id| !used.contains(id)).unwrap_or(FIRST_ID);
            let scope = if self.everywhere { Scope::Everywhere } else { Scope::Path(&path, id) };
            exclusions.text.push_str(&self.comments(line, rule));
            if !known.contains(&rule.id) {
                let gone = format!("rule {} is not in this configuration", rule.id);
                exclusions.text.push_str(&exclusion::comment(&gone));
                continue;
            }
            let Some(directive) = exclusion::directive(rule.id, &rule.target, scope) else {
                exclusions.text.push_str(&exclusion::comment(&unwritable(rule)));
                continue;
            };
            used.insert(id);
            exclusions.text.push_str(&directive);
            exclusions.excluded.push((rule.id, (!self.everywhere).then_some(id)));
        }
        if exclusions.excluded.is_empty() {
            return Err(RulesError::Impossible(format!("nothing can be excluded:\n{}", exclusions.text.trim_end())));
        }
        Ok(exclusions)
    }

    fn comments(&self, line: &LogLine, rule: &LoggedRule) -> String {
        let LoggedRule { id, message, target, matched, .. } = rule;
        let mut text =
            exclusion::comment(&format!("Request {}, {}: rule {id}, {message}", self.request_id, line.time()));
        text.push_str(&exclusion::comment(&format!("{target} was \"{matched}\"")));
        text
    }

    /// Appends to a file of rules, and takes it back when the configuration does not load with it or it has no effect.
    fn append(&self, file: &Path, exclusions: &Exclusions) -> Result<(), RulesError> {
        let broken = |error| RulesError::File(format!("cannot write {}", file.display()), error);
        let before = match fs::read(file) {
            Ok(bytes) => Some(bytes),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(RulesError::File(format!("cannot read {}", file.display()), error)),
        };
        let mut after = before.clone().unwrap_or_default();
        if after.last().is_some_and(|last| *last != b'\n') {
            after.push(b'\n');
        }
        after.extend_from_slice(exclusions.text.as_bytes());
        replace(file, &after).map_err(broken)?;
        let checked = self.check(file, exclusions);
        if checked.is_err() {
            match before {
                Some(before) => replace(file, &before),
                None => fs::remove_file(file),
            }
            .map_err(broken)?;
        }
        checked
    }

    /// Whether the configuration loads, reads the file, and reads it early enough.
    fn check(&self, file: &Path, exclusions: &Exclusions) -> Result<(), RulesError> {
        let offline = Offline::of_directory(&self.config.dir)?;
        let sources = &offline.program.sources;
        let path = file.canonicalize().ok();
        if !sources.iter().any(|source| self.config.dir.join(&*source.name).canonicalize().ok() == path) {
            return Err(RulesError::Usage(format!(
                "{} is not one of the files that `rules` of [waf] names, so that nothing would come of it",
                file.display()
            )));
        }
        let order: Vec<u32> = offline.rules.rules().map(|rule| rule.id).collect();
        let place = |id: u32| order.iter().position(|other| *other == id);
        for (excluded, by) in &exclusions.excluded {
            if let (Some(by), Some(excluded_at)) = (by, place(*excluded))
                && place(*by).is_none_or(|by| by > excluded_at)
            {
                return Err(RulesError::Usage(format!(
                    "{} is read after rule {excluded}, too late to exclude something from it; name a file that is read before",
                    file.display()
                )));
            }
        }
        Ok(())
    }
}

fn unwritable(rule: &LoggedRule) -> String {
    format!("rule {} cannot be excluded by name here: what it looks at, or the path, has no exact name", rule.id)
}

/// Puts a file in the place of another one at once; it keeps its permissions.
fn replace(file: &Path, content: &[u8]) -> io::Result<()> {
    // A link stays one: what it leads to is replaced.
    let file = file.canonicalize().unwrap_or_else(|_| file.to_owned());
    let mut name = std::ffi::OsString::from(".");
    name.push(file.file_name().unwrap_or_default());
    name.push(".new");
    let aside = file.with_file_name(name);
    let write = || {
        let mut new = fs::File::create(&aside)?;
        if let Ok(old) = fs::metadata(&file) {
            new.set_permissions(old.permissions())?;
        }
        new.write_all(content)?;
        new.sync_all()?;
        fs::rename(&aside, &file)
    };
    write().inspect_err(|_| drop(fs::remove_file(&aside)))
}
