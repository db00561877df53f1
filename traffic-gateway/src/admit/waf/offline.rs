//! The rules of a configuration without an edge around them: for the commands that check rules, try requests on them and
//! compare them with others.
//!
//! Requests are shown to the rules as [`inspection`](super::inspection) does it, always in blocking mode and without sampling.
//! What comes before the rules at the edge (strict HTTP, access lists, limits) and the settings of single routes are left out.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    sync::Arc,
};

use gatehouse_shared::{
    clock,
    config::{self, ConfigErrors, Positions, Sources},
};
use gatehouse_waf::{
    RuleSet,
    golden::Request,
    rules::Options,
    seclang::{self, Warning, ast::Program, files::Memory},
    transaction::{Match, Mode, Report, Start, Transaction, Verdict},
};

use super::{
    compile::{self, Made},
    config::{Beyond, Config, ListConfig},
    crs,
    files::RuleFiles,
    media_type,
};
use crate::config::FILE;

/// The highest paranoia level.
const ALL_LEVELS: u8 = 4;

/// Rules with what is known about them.
#[derive(Debug)]
pub struct Offline {
    /// The compiled rules.
    pub rules: Arc<RuleSet>,
    /// What they were compiled from.
    pub program: Program,
    /// What is doubtful in the files.
    pub warnings: Vec<Warning>,
    config: Config,
}

/// What the rules say of one request.
#[derive(Debug)]
pub struct Judgement {
    /// What they have found.
    pub report: Report,
    /// Every rule that matched, also those with `nolog`, in the order of the files.
    pub matched: Vec<u32>,
    /// The body was longer than what is held back, so that it was refused.
    pub too_long: bool,
}

/// Shows requests to rules, one after the other.
#[derive(Debug)]
pub struct Judge<'a> {
    offline: &'a Offline,
    hits: Vec<u64>,
    transaction: Option<Transaction>,
}

impl Offline {
    /// The rules of the configuration in a directory.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with `[waf]` or with any rule.
    pub fn of_directory(directory: &Path) -> Result<Self, ConfigErrors> {
        Self::of_directory_with(directory, |config| config)
    }

    /// The same with the rules of all paranoia levels: of those that cannot run not everything is looked at.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with `[waf]` or with any rule.
    pub fn of_directory_at_all_levels(directory: &Path) -> Result<Self, ConfigErrors> {
        Self::of_directory_with(directory, |config| Config { detection_paranoia: Some(ALL_LEVELS), ..config })
    }

    fn of_directory_with(directory: &Path, change: impl Fn(Config) -> Config) -> Result<Self, ConfigErrors> {
        let mut sources = Sources::new(directory);
        let file = sources.read(FILE)?;
        let document = config::parse::<crate::config::Config>(&file)?;
        let (mut errors, longest) = compile::check_all(&document.value, &document.positions);
        let config = change(document.value.waf);
        let files = RuleFiles::new(&mut sources, crs::settings(&config));
        let made = errors.collect(compile::read_rules(&config, longest, &files, &document.positions));
        match made {
            Some(made) if errors.is_empty() => Ok(Self::new(config, made)),
            _ => Err(errors),
        }
    }

    /// Files of rules and directories of plain lists, all paranoia levels.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with any rule.
    pub fn of_files(paths: &[PathBuf]) -> Result<Self, ConfigErrors> {
        let (lists, rules): (Vec<_>, Vec<_>) = paths.iter().partition(|path| path.is_dir());
        let written = |path: &&PathBuf| path.display().to_string();
        let config = Config {
            rules: rules.iter().map(written).collect(),
            list: lists.iter().map(|directory| ListConfig { directory: written(directory), off: Vec::new() }).collect(),
            detection_paranoia: Some(ALL_LEVELS),
            ..Config::default()
        };
        let mut sources = Sources::new(Path::new(""));
        let files = RuleFiles::new(&mut sources, None);
        let made = compile::read_rules(&config, config.body.max.get(), &files, &Positions::default())?;
        Ok(Self::new(config, made))
    }

    fn new(config: Config, made: Made) -> Self {
        let Made { rules, program, warnings } = made;
        Self { rules: Arc::new(rules), program, warnings, config }
    }

    /// From which scores on a request and an answer are refused, as `[waf]` says; files can change it with `setvar`.
    #[must_use]
    pub fn thresholds(&self) -> (u32, u32) {
        (self.config.inbound_threshold, self.config.outbound_threshold)
    }

    /// The levels up to which rules refuse and are logged.
    #[must_use]
    pub fn paranoia(&self) -> (u8, u8) {
        let blocking = self.config.blocking_paranoia;
        (blocking, self.config.detection_paranoia.unwrap_or(blocking))
    }

    /// Shows requests to these rules.
    #[must_use]
    pub fn judge(&self) -> Judge<'_> {
        Judge { offline: self, hits: self.hits(), transaction: None }
    }

    fn hits(&self) -> Vec<u64> {
        self.rules.costs().map(|cost| cost.hits).collect()
    }
}

impl Judge<'_> {
    /// What the rules say of a request of this client.
    pub fn judge(&mut self, request: &Request, client: Option<SocketAddr>) -> Judgement {
        let nobody = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let start = Start {
            client: client.unwrap_or(nobody),
            server: nobody,
            unique_id: "offline",
            unix_time: clock::unix_ms() / 1_000,
            // Never sampled away, and always counted, which `matched` is taken from.
            random: 0,
        };
        let rules = Arc::clone(&self.offline.rules);
        let transaction = match &mut self.transaction {
            Some(transaction) => {
                transaction.renew(rules, Mode::Block, start);
                transaction
            }
            none => none.insert(Transaction::new(rules, Mode::Block, start)),
        };
        let too_long = show(transaction, request, &self.offline.config);
        let report = transaction.finish();
        let now = self.offline.hits();
        let costs = self.offline.rules.costs().zip(now.iter().zip(&self.hits));
        let matched = costs.filter(|(_, (now, before))| now > before).map(|(cost, _)| cost.id).collect();
        self.hits = now;
        Judgement { report, matched, too_long }
    }
}

/// Shows a request as far as the rules let it come; says whether its body was refused for its length.
fn show(transaction: &mut Transaction, request: &Request, config: &Config) -> bool {
    let protocol: &[u8] = if request.version.starts_with(b"HTTP/2") { b"HTTP/2.0" } else { &request.version };
    transaction.request_line(&request.method, &request.target, protocol);
    for (name, value) in &request.fields {
        transaction.request_header(&name.to_ascii_lowercase(), value);
    }
    if transaction.request_head_end() != Verdict::Pass {
        return false;
    }
    let mut types = request.fields.iter().filter(|(name, _)| name.eq_ignore_ascii_case(b"content-type"));
    let is_binary = types.next().is_some_and(|(_, value)| media_type::is_binary(value));
    let looks = !request.body.is_empty() && !is_binary && config.body.beyond != Beyond::Stream;
    if looks && transaction.wants_request_body() {
        let max = usize::try_from(config.body.max.get()).unwrap_or(usize::MAX);
        let is_long = request.body.len() > max;
        let rejects = config.body.beyond == Beyond::Reject;
        if is_long && rejects && !transaction.streams_files() {
            return true;
        }
        // Files do not count where what is long is refused, and all is looked at.
        let seen = request.body.get(..max).filter(|_| !rejects).unwrap_or(&request.body);
        if transaction.request_body(seen) != Verdict::Pass {
            return false;
        }
        let of_files = transaction.body_so_far().map_or(0, |so_far| so_far.of_files);
        if rejects && (request.body.len() as u64).saturating_sub(of_files) > config.body.max.get() {
            return true;
        }
    }
    transaction.request_end();
    false
}

impl Judgement {
    /// Whether the request is refused.
    #[must_use]
    pub fn denies(&self) -> bool {
        self.too_long || !matches!(self.report.decision, None | Some(Verdict::Pass))
    }

    /// The rule that refused, if one did.
    #[must_use]
    pub fn by(&self) -> Option<u32> {
        match self.report.decision {
            Some(Verdict::Deny { by, .. } | Verdict::Drop { by } | Verdict::Redirect { by, .. }) => Some(by),
            Some(Verdict::Pass) | None => None,
        }
    }

    /// The rules that led to the refusal: those that added to the score, or else the one that refused.
    #[must_use]
    pub fn led_by(&self) -> Vec<&Match> {
        let by = self.by();
        let scored: Vec<&Match> = self.report.matches.iter().filter(|found| found.score > 0).collect();
        if scored.is_empty() {
            self.report.matches.iter().filter(|found| Some(found.id) == by).collect()
        } else {
            scored
        }
    }
}

/// The decoded path of a request target as rules see it (`REQUEST_FILENAME`); its beginning when it is longer than
/// [`MATCHED_BYTES`](gatehouse_waf::transaction::MATCHED_BYTES).
#[must_use]
pub fn path_of(target: &[u8]) -> Vec<u8> {
    const SHOW: &str = r#"SecRule REQUEST_FILENAME "@unconditionalMatch" "id:1,phase:1,pass""#;
    let Ok((program, _)) = seclang::parse_text(&Memory::default(), "path", SHOW) else { return Vec::new() };
    let mut no_files = |_: &str| Err(String::new());
    let Ok(rules) = RuleSet::compile(&program, &mut no_files, &Options::default()) else { return Vec::new() };
    let nobody = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let start = Start { client: nobody, server: nobody, unique_id: "path", unix_time: 0, random: 0 };
    let mut transaction = Transaction::new(Arc::new(rules), Mode::Block, start);
    transaction.request_line(b"GET", target, b"HTTP/1.1");
    transaction.request_head_end();
    let matches = transaction.finish().matches;
    let found = matches.into_iter().flat_map(|found| found.targets).next();
    found.map(|target| target.bytes).unwrap_or_default()
}
