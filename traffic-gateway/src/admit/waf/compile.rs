//! From `[waf]` and the files it names to rules that run.

use std::{
    path::Path,
    sync::{Arc, LazyLock},
    time::Instant,
};

use gatehouse_shared::{
    clock,
    config::{ConfigError, ConfigErrors, Positions, Sources},
};
use gatehouse_waf::{
    RuleSet,
    body::Limits,
    list::{self, ListAction, ListOptions},
    rules::{CompileError, Options},
    seclang::{
        self, Warning,
        ast::{LimitAction, Program, Toggle},
        diagnostic::Error,
    },
    transaction::Pool,
};

use super::{
    Kept, Totals, Waf,
    budget::Budget,
    config::{Answers, Config, ListCheck, ListConfig},
    crs,
    files::{Read, RuleFiles},
};

/// Transactions whose buffers wait to be used again: about as many as there are requests with a body under way at a time on one
/// node; others allocate theirs.
const POOLED: usize = 1_024;

/// Longest body that may be held back.
const BODY_MAX: u64 = 64 << 20;

/// What rules were made of.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct MadeOf {
    config: Config,
    /// The longest body that any route holds back.
    longest: u64,
    read: Read,
}

impl MadeOf {
    pub(super) const fn config(&self) -> &Config {
        &self.config
    }
}

pub(super) fn compile(
    all: &crate::config::Config,
    before: Option<&Waf>,
    sources: &mut Sources,
    positions: &Positions,
) -> Result<Option<Waf>, ConfigErrors> {
    let config = &all.waf;
    let (mut errors, longest) = check_all(all, positions);
    if config.rules.is_empty() && config.crs.is_none() && config.list.is_empty() {
        return errors.into_result(None);
    }
    let files = RuleFiles::new(sources, crs::settings(config));
    let same = before.filter(|before| {
        before.made_of.config == *config && before.made_of.longest == longest && files.is_still(&before.made_of.read)
    });
    let rules = match same {
        Some(before) => Some(Arc::clone(&before.rules)),
        None => errors.collect(read_rules(config, longest, &files, positions)).map(|made| {
            made.tell();
            Arc::new(made.rules)
        }),
    };
    let read = files.finish();
    let Some(rules) = rules.filter(|_| errors.is_empty()) else { return Err(errors) };
    let held_max = usize::try_from(config.body.held_max.get()).unwrap_or(usize::MAX);
    let kept = before.map_or_else(
        || Arc::new(Kept { budget: Budget::new(held_max), pool: Pool::new(POOLED), totals: Totals::default() }),
        |before| Arc::clone(&before.kept),
    );
    kept.budget.set_max(held_max);
    Ok(Some(Waf {
        rules,
        made_of: MadeOf { config: config.clone(), longest, read },
        mode: config.mode,
        beyond: config.body.beyond,
        answers: config.answers,
        body_max: config.body.max.get(),
        inbound_threshold: config.inbound_threshold,
        outbound_threshold: config.outbound_threshold,
        kept,
    }))
}

/// What is wrong with the numbers of `[waf]` and of the routes, and the longest body that any route holds back.
pub(super) fn check_all(all: &crate::config::Config, positions: &Positions) -> (ConfigErrors, u64) {
    let config = &all.waf;
    let mut errors = check(config, positions);
    let of_routes = all.route.iter().map(|route| route.waf.body_max.map_or(0, |max| max.get()));
    for (index, max) in of_routes.clone().enumerate() {
        if max > BODY_MAX.min(config.body.held_max.get()) {
            let message = "body_max must be at most 64MiB and `held_max` of [waf.body]";
            errors.push(positions.error(&format!("route[{index}].waf.body_max"), message, None));
        }
    }
    (errors, of_routes.fold(config.body.max.get(), u64::max))
}

/// What is wrong with the numbers of `[waf]`.
fn check(config: &Config, positions: &Positions) -> ConfigErrors {
    let mut errors = ConfigErrors::new();
    let mut check = |is_good: bool, field: &str, message: &str| {
        if !is_good {
            errors.push(positions.error(&format!("waf.{field}"), message, None));
        }
    };
    let blocking = config.blocking_paranoia;
    check((1..=4).contains(&blocking), "blocking_paranoia", "blocking_paranoia must be 1 to 4");
    let detection = config.detection_paranoia.unwrap_or(blocking);
    check(
        (blocking..=4).contains(&detection),
        "detection_paranoia",
        "detection_paranoia must be blocking_paranoia to 4",
    );
    check(config.inbound_threshold > 0, "inbound_threshold", "inbound_threshold must be at least 1");
    check(config.outbound_threshold > 0, "outbound_threshold", "outbound_threshold must be at least 1");
    check((1..=100).contains(&config.sampling_percent), "sampling_percent", "sampling_percent must be 1 to 100");
    let body = &config.body;
    check((1 << 10..=BODY_MAX).contains(&body.max.get()), "body.max", "max must be 1KiB to 64MiB");
    check(body.held_max.get() >= body.max.get(), "body.held_max", "held_max must be at least max");
    check((10..=100_000).contains(&body.arguments), "body.arguments", "arguments must be 10 to 100000");
    check((4..=1_000).contains(&body.depth), "body.depth", "depth must be 4 to 1000");
    check((1..=10_000).contains(&body.parts), "body.parts", "parts must be 1 to 10000");
    crs::check(config, &mut errors, positions);
    errors
}

/// What came of the files of `[waf]`.
pub(super) struct Made {
    pub(super) rules: RuleSet,
    /// What the rules were compiled from.
    pub(super) program: Program,
    /// What is doubtful.
    pub(super) warnings: Vec<Warning>,
}

impl Made {
    /// Doubtful things do not keep rules from running; `rules check` shows them again.
    fn tell(&self) {
        for warning in &self.warnings {
            tracing::warn!(code = ?warning.code, "{warning}");
        }
    }
}

/// Reads and compiles every file; `positions` are those of the configuration.
pub(super) fn read_rules(
    config: &Config,
    longest: u64,
    files: &RuleFiles<'_>,
    positions: &Positions,
) -> Result<Made, ConfigErrors> {
    let mut errors = ConfigErrors::new();
    let (mut program, mut warnings) = (Program::default(), Vec::new());
    // Lists first: what a list of allowed targets lets pass, no rule is asked about.
    for (index, listed) in config.list.iter().enumerate() {
        match list::load(files, Path::new(&listed.directory), &list_options(listed, index)) {
            Ok((lists, found)) => {
                program.append(lists.program);
                warnings.extend(found);
            }
            Err(found) => found.iter().for_each(|error| errors.push(finding(error))),
        }
    }
    let paths = crs::paths(config, files).unwrap_or_else(|message| {
        let remedy = "name the directory that a release was unpacked to, or /usr/share/modsecurity-crs".to_owned();
        errors.push(positions.error("waf.crs", message, Some(remedy)));
        Vec::new()
    });
    match seclang::parse(files, &paths) {
        Ok((rules, found)) => {
            program.append(rules);
            warnings.extend(found);
        }
        Err(found) => found.iter().for_each(|error| errors.push(finding(error))),
    }
    errors.into_result(())?;
    let mut read = |name: &str| seclang::files::Files::read(files, Path::new(name)).map_err(|error| error.to_string());
    match RuleSet::compile(&program, &mut read, &options(config, longest)) {
        Ok(rules) => Ok(Made { rules, program, warnings }),
        Err(found) => {
            let mut errors = ConfigErrors::new();
            found.iter().for_each(|error| errors.push(compile_finding(&program, error)));
            Err(errors)
        }
    }
}

fn options(config: &Config, longest: u64) -> Options {
    let limits = Limits {
        arguments: config.body.arguments,
        depth: config.body.depth,
        parts: config.body.parts,
        body_bytes: longest,
        ..Limits::default()
    };
    Options {
        blocking_paranoia: config.blocking_paranoia,
        detection_paranoia: config.detection_paranoia.unwrap_or(config.blocking_paranoia),
        inbound_threshold: config.inbound_threshold,
        outbound_threshold: config.outbound_threshold,
        sampling_percentage: config.sampling_percent,
        // How much is looked at is decided here, by route.
        request_body_limit: u64::MAX,
        request_body_limit_action: LimitAction::ProcessPartial,
        response_body_access: config.answers != Answers::Off,
        limits,
        clock: Some(nanoseconds),
        ..Options::default()
    }
}

/// Nanoseconds since somebody first asked.
fn nanoseconds() -> u64 {
    static FIRST: LazyLock<Instant> = LazyLock::new(clock::now);
    u64::try_from(clock::now().duration_since(*FIRST).as_nanos()).unwrap_or(u64::MAX)
}

fn list_options(listed: &ListConfig, index: usize) -> ListOptions {
    let of = |check: ListCheck| if listed.off.contains(&check) { Toggle::Off } else { Toggle::On };
    let step = u32::try_from(index).unwrap_or(u32::MAX).saturating_mul(1_000_000);
    ListOptions {
        args: of(ListCheck::Args),
        cookie: of(ListCheck::Cookie),
        post: of(ListCheck::Post),
        url: of(ListCheck::Url),
        user_agent: of(ListCheck::UserAgent),
        white_url: of(ListCheck::WhiteUrl),
        white_ip: of(ListCheck::WhiteIp),
        black_ip: of(ListCheck::BlackIp),
        scanner_headers: of(ListCheck::ScannerHeaders),
        action: ListAction::Deny(403),
        first_id: list::FIRST_ID.saturating_add(step),
    }
}

fn finding(error: &Error) -> ConfigError {
    ConfigError {
        file: error.file.to_string(),
        line: error.line as usize,
        column: error.column as usize,
        message: error.problem.to_string(),
        remedy: None,
    }
}

fn compile_finding(program: &Program, error: &CompileError) -> ConfigError {
    let source = program.sources.get(error.position.source as usize);
    ConfigError {
        file: source.map(|source| source.name.to_string()).unwrap_or_default(),
        line: error.position.line as usize,
        column: error.position.column as usize,
        message: error.text.clone(),
        remedy: None,
    }
}
