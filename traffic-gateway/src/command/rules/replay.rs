//! `rules replay`: what other rules would have made of recorded requests.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use gatehouse_waf::golden::Request;

use super::log_line::{self, LogLine};
use super::{RulesError, cases, counted, escaped, printable};
use crate::admit::waf::offline::{Judge, Judgement, Offline};
use crate::command::{ConfigDir, print};

/// Requests that are shown for each rule, and lines that are named.
const EXAMPLES: usize = 3;

#[derive(Debug, Args)]
pub(super) struct Replay {
    /// Lines of the access log or the security log, which hold no bodies and of the head only host, target and user agent,
    /// or files of whole requests as for `rules test`
    #[arg(required = true, value_name = "LOG")]
    logs: Vec<PathBuf>,
    /// Directory of the other configuration
    #[arg(long, value_name = "DIR")]
    candidate: PathBuf,
    #[command(flatten)]
    config: ConfigDir,
}

impl Replay {
    pub(super) fn run(&self) -> Result<ExitCode, RulesError> {
        let (running, candidate) = (Offline::of_directory(&self.config.dir)?, Offline::of_directory(&self.candidate)?);
        let mut comparison = Comparison::new(running.judge(), candidate.judge());
        for log in &self.logs {
            comparison.replay(log)?;
        }
        if comparison.requests == 0 {
            let Comparison { unknown, .. } = &comparison;
            return Err(RulesError::Impossible(format!("there is no request in these files\n{}", unknown.text())));
        }
        Ok(print(&comparison.text()))
    }
}

/// Both sets of rules, and where they differ so far.
struct Comparison<'a> {
    running: Judge<'a>,
    candidate: Judge<'a>,
    requests: usize,
    blocked_by_both: usize,
    newly_blocked: Changes,
    newly_allowed: Changes,
    unknown: Unknown,
}

/// Requests with another verdict than before.
#[derive(Default)]
struct Changes {
    requests: usize,
    by_rule: BTreeMap<u32, Change>,
}

/// What one rule has to do with that.
#[derive(Default)]
struct Change {
    message: String,
    requests: usize,
    examples: Vec<String>,
}

/// Lines that hold no request.
#[derive(Default)]
struct Unknown {
    lines: usize,
    examples: Vec<String>,
}

impl<'a> Comparison<'a> {
    fn new(running: Judge<'a>, candidate: Judge<'a>) -> Self {
        let (newly_blocked, newly_allowed, unknown) = (Changes::default(), Changes::default(), Unknown::default());
        Self { running, candidate, requests: 0, blocked_by_both: 0, newly_blocked, newly_allowed, unknown }
    }

    fn replay(&mut self, log: &Path) -> Result<(), RulesError> {
        if is_of_cases(log)? {
            for case in cases::read(log)? {
                self.compare(&format!("{}:{}", log.display(), case.line), &case.request, None);
            }
            return Ok(());
        }
        log_line::lines(log, |number, line| {
            let place = format!("{}:{number}", log.display());
            let Some(line) = LogLine::read(line) else { return self.unknown.add(&place, "no JSON object") };
            match line.request() {
                Ok(request) => self.compare(&place, &request, line.client()),
                Err(why) => self.unknown.add(&place, why),
            }
        })
    }

    fn compare(&mut self, place: &str, request: &Request, client: Option<SocketAddr>) {
        self.requests += 1;
        let (before, after) = (self.running.judge(request, client), self.candidate.judge(request, client));
        let shown = || format!("{place}: {} {}", escaped(&request.method), escaped(&request.target));
        match (before.denies(), after.denies()) {
            (true, true) => self.blocked_by_both += 1,
            (false, true) => self.newly_blocked.add(&after, &before, shown),
            (true, false) => self.newly_allowed.add(&before, &after, shown),
            (false, false) => {}
        }
    }

    fn text(&self) -> String {
        let mut text = self.newly_blocked.text("newly blocked");
        text.push_str(&self.newly_allowed.text("newly allowed"));
        text.push_str(&self.unknown.text());
        text.push_str(&format!(
            "{}: {} newly blocked, {} newly allowed, {} blocked by both\n",
            counted(self.requests, "request"),
            self.newly_blocked.requests,
            self.newly_allowed.requests,
            self.blocked_by_both,
        ));
        text
    }
}

/// Whether a file holds whole requests, which begin with a comment.
fn is_of_cases(path: &Path) -> Result<bool, RulesError> {
    use std::io::Read as _;
    let unreadable = |error| RulesError::File(format!("cannot read {}", path.display()), error);
    let mut first = [0];
    let count = std::fs::File::open(path).and_then(|mut file| file.read(&mut first)).map_err(unreadable)?;
    Ok(count == 1 && first == *b"#")
}

impl Changes {
    /// Notes a request that `denying` refuses and `passing` does not, for the rules that make the difference.
    fn add(&mut self, denying: &Judgement, passing: &Judgement, shown: impl Fn() -> String) {
        self.requests += 1;
        let led_by = denying.led_by();
        let mut rules: Vec<_> = led_by.iter().filter(|found| !passing.matched.contains(&found.id)).collect();
        if rules.is_empty() {
            // The same rules matched, and only the threshold or the verdict differs.
            rules = led_by.iter().collect();
        }
        let mut named: Vec<(u32, &str)> = rules.iter().map(|found| (found.id, found.message.as_str())).collect();
        if named.is_empty() {
            named.push((denying.by().unwrap_or(0), if denying.too_long { "the body is too long" } else { "" }));
        }
        named.sort_unstable();
        named.dedup_by_key(|(id, _)| *id);
        for (id, message) in named {
            let change = self.by_rule.entry(id).or_default();
            change.requests += 1;
            if change.examples.len() < EXAMPLES {
                change.message = printable(message);
                change.examples.push(shown());
            }
        }
    }

    fn text(&self, what: &str) -> String {
        let mut rules: Vec<_> = self.by_rule.iter().collect();
        rules.sort_by_key(|(_, change)| std::cmp::Reverse(change.requests));
        let mut text = String::new();
        for (id, Change { message, requests, examples }) in rules {
            let rule = if *id == 0 { "a limit".to_owned() } else { format!("rule {id}") };
            text.push_str(&format!("{what} by {rule} ({message}): {}\n", counted(*requests, "request")));
            examples.iter().for_each(|example| text.push_str(&format!("  {example}\n")));
        }
        text
    }
}

impl Unknown {
    fn add(&mut self, place: &str, why: &str) {
        self.lines += 1;
        if self.examples.len() < EXAMPLES {
            self.examples.push(format!("{place}: {why}"));
        }
    }

    fn text(&self) -> String {
        if self.lines == 0 {
            return String::new();
        }
        let mut text = format!("not replayed: {}\n", counted(self.lines, "line"));
        self.examples.iter().for_each(|example| text.push_str(&format!("  {example}\n")));
        text
    }
}
