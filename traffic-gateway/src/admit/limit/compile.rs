//! From `[[limit]]`, `[limits]` and `[cc]` as written to what judges requests.

use std::{collections::HashSet, sync::Arc, time::Instant};

use gatehouse_shared::{
    config::{ConfigErrors, HumanDuration, Positions, Sources},
    limit::{Algorithm, FleetConfig, KeyHasher, RateLimitConfig},
};
use ring::digest::{Context, SHA256};

use super::{
    Limits, ToldRules,
    ban::Bans,
    condition::{Condition, Credentials},
    config::{CcConfig, Count, LimitAction, LimitConfig, Scope, Settings},
    counter::{Counter, Plan},
    keys::Keys,
    millis,
    part::{KeySpec, Part},
    quick::Quick,
    rule::{Breach, Rule},
};
use crate::{balance::route, config::Config, context::LONGEST_DELAY};

/// Most limits: each is asked about every request.
const LIMITS_MAX: usize = 256;
/// The longest ban and refusal.
const LONGEST: HumanDuration = HumanDuration::from_secs(366 * 86_400);
const EXCHANGE_MIN: HumanDuration = HumanDuration::from_millis(50);
const EXCHANGE_MAX: HumanDuration = HumanDuration::from_secs(1);

/// What every limit is compiled with.
struct Surroundings<'a> {
    settings: &'a Settings,
    routes: Vec<String>,
    before: Option<&'a Limits>,
    positions: &'a Positions,
    now: Instant,
}

/// Compiles all limits of a configuration; `None` when there are none. Counts are those of `before` where they mean the same.
///
/// # Errors
///
/// Everything that is wrong with any of them.
pub(super) fn compile(
    config: &Config,
    before: Option<&Limits>,
    bans: &Arc<Bans>,
    sources: &mut Sources,
    positions: &Positions,
    now: Instant,
) -> Result<Option<Limits>, ConfigErrors> {
    let mut errors = ConfigErrors::new();
    let settings = &config.limits;
    errors.collect(check_settings(settings, positions));
    let credentials = errors.collect(Credentials::compile(&settings.credentials, positions));
    let routes = config.route.iter().map(route::name_of).map(String::from).collect();
    let surroundings = Surroundings { settings, routes, before, positions, now };
    let mut written: Vec<(LimitConfig, String)> =
        config.limit.iter().enumerate().map(|(index, limit)| (limit.clone(), format!("limit[{index}]"))).collect();
    if let Some(cc) = config.cc.as_ref().filter(|cc| errors.collect(check_cc(cc, positions)).is_some()) {
        written.extend(short_form(cc).into_iter().map(|limit| (limit, "cc".to_owned())));
    }
    if written.len() > LIMITS_MAX {
        errors.push(positions.error("limit", format!("there are more than {LIMITS_MAX} limits"), None));
    }
    let (mut names, mut specs, mut rules) = (HashSet::new(), Vec::new(), Vec::new());
    for (limit, path) in &written {
        if !names.insert(limit.name.as_str()) {
            let message = format!("there are two limits named \"{}\"", limit.name);
            errors.push(positions.error(&format!("{path}.name"), message, None));
        }
        rules.extend(errors.collect(surroundings.rule(limit, path, &mut specs)));
    }
    let Some(credentials) = credentials.filter(|_| errors.is_empty()) else { return Err(errors) };
    if rules.is_empty() {
        return errors.into_result(None);
    }
    // Limits that ban count what others refuse, so they are asked first.
    rules.sort_by_key(|rule| !rule.counts_refused());
    let has_fleet = specs.iter().any(|spec: &KeySpec| spec.is_fleet);
    let hasher = KeyHasher::of_process();
    let fleet = if has_fleet { fleet_hasher(config, sources) } else { hasher };
    let keys = Keys::new(specs, hasher, fleet);
    errors.into_result(Some(Limits {
        told: ToldRules::of(&rules),
        quick: Quick::past(&rules, &keys),
        rules: rules.into(),
        keys,
        credentials,
        bans: Arc::clone(bans),
    }))
}

fn check_settings(settings: &Settings, positions: &Positions) -> Result<(), ConfigErrors> {
    let mut errors = ConfigErrors::new();
    if !(EXCHANGE_MIN..=EXCHANGE_MAX).contains(&settings.exchange_every) {
        errors.push(positions.error("limits.exchange_every", "exchange_every must be 50ms to 1s", None));
    }
    if !(1..=1_000).contains(&settings.nodes) {
        errors.push(positions.error("limits.nodes", "nodes must be 1 to 1000", None));
    }
    errors.into_result(())
}

/// Checks the short form where it is written; the limits that it stands for are written nowhere.
fn check_cc(cc: &CcConfig, positions: &Positions) -> Result<(), ConfigErrors> {
    let mut errors = ConfigErrors::new();
    for (field, rate) in [("rate", Some(cc.rate)), ("client_rate", cc.client_rate)] {
        if rate.is_some_and(|rate| !(1..=u32::MAX.into()).contains(&rate.count) || rate.per > LONGEST.get()) {
            let message = format!("{field} must be 1 to 4294967295 in at most 366d");
            errors.push(positions.error(&format!("cc.{field}"), message, None));
        }
    }
    errors.into_result(())
}

/// All edges hold the same keys of the hop, so all make the same key of a request. Of two live keys the one with the smaller
/// id counts: during a rotation it changes once, when the old key is removed.
fn fleet_hasher(config: &Config, sources: &mut Sources) -> KeyHasher {
    let first = config.hop.keys.iter().min_by_key(|key| &key.id);
    let secret = first.and_then(|key| sources.secret(&key.secret).ok());
    let mut digest = Context::new(&SHA256);
    digest.update(b"gatehouse keys of limits\0");
    digest.update(secret.as_ref().map_or(&[], |secret| secret.expose()));
    let mut bytes = [0; 16];
    bytes.iter_mut().zip(digest.finish().as_ref()).for_each(|(to, from)| *to = *from);
    KeyHasher::of_fleet(bytes)
}

/// The limits that `[cc]` stands for.
fn short_form(cc: &CcConfig) -> Vec<LimitConfig> {
    let limit = |name: &str, key: &[&str], rate| LimitConfig {
        name: name.to_owned(),
        key: key.iter().map(ToString::to_string).collect(),
        covers: cc.covers.clone(),
        rate,
        burst: None,
        algorithm: Some(Algorithm::SlidingWindow),
        scope: Scope::Node,
        count: Count::Requests,
        statuses: Vec::new(),
        action: if cc.ban.is_some() { LimitAction::Ban } else { LimitAction::Deny },
        deny_for: if cc.ban.is_some() { None } else { Some(HumanDuration::from_millis(millis(rate.per))) },
        ban: cc.ban,
        delay: None,
        mode: cc.mode,
        max_keys: cc.max_keys,
        headers: None,
    };
    let by_client = cc.client_rate.map(|rate| limit("cc-client", &["client"], rate));
    by_client.into_iter().chain([limit("cc", &["client", "path"], cc.rate)]).collect()
}

impl Surroundings<'_> {
    fn rule(&self, config: &LimitConfig, path: &str, specs: &mut Vec<KeySpec>) -> Result<Rule, ConfigErrors> {
        let mut errors = ConfigErrors::new();
        let spec = errors.collect(self.spec(config, path));
        let condition = errors.collect(Condition::compile(&config.covers, &self.routes, path, self.positions));
        let breach = errors.collect(self.breach(config, path));
        errors.collect(self.check(config, path));
        let before = self.before.and_then(|before| before.rules.iter().find(|rule| *rule.name == *config.name));
        let plan = self.plan(config, spec.as_ref().map(KeySpec::text).unwrap_or_default());
        let before_counter = before.map(|before| &before.counter);
        let counter = errors.collect(Counter::compile(&plan, before_counter, path, self.positions, self.now));
        let (Some(spec), Some(condition), Some(action), Some(counter)) = (spec, condition, breach, counter) else {
            return Err(errors);
        };
        let position = specs.iter().position(|other| *other == spec).unwrap_or_else(|| {
            specs.push(spec);
            specs.len() - 1
        });
        errors.into_result(Rule {
            name: config.name.as_str().into(),
            spec: position,
            condition,
            count: config.count,
            statuses: config.statuses.clone().into(),
            action,
            mode: config.mode,
            is_told: config.headers.unwrap_or(self.settings.headers) && config.mode == crate::admit::Mode::Enforce,
            counter,
            totals: before.map(|before| Arc::clone(&before.totals)).unwrap_or_default(),
        })
    }

    fn spec(&self, config: &LimitConfig, path: &str) -> Result<KeySpec, ConfigErrors> {
        let mut errors = ConfigErrors::new();
        let mut parts = Vec::new();
        for (index, text) in config.key.iter().enumerate() {
            match text.parse::<Part>() {
                Ok(part) => parts.push(part),
                Err(message) => errors.push(self.positions.error(&format!("{path}.key[{index}]"), message, None)),
            }
        }
        errors.into_result(KeySpec { parts: parts.into(), is_fleet: config.scope == Scope::Fleet })
    }

    fn plan(&self, config: &LimitConfig, key: String) -> Plan {
        match config.scope {
            Scope::Node => Plan::Node(RateLimitConfig {
                name: config.name.clone(),
                key,
                algorithm: config.algorithm.unwrap_or_default(),
                rate: config.rate,
                burst: config.burst,
                ban: config.deny_for,
                max_keys: config.max_keys,
            }),
            Scope::Fleet => Plan::Fleet(FleetConfig {
                name: config.name.clone(),
                key,
                rate: config.rate,
                exchange_every: self.settings.exchange_every,
                nodes: self.settings.nodes.max(1),
                max_keys: config.max_keys,
            }),
        }
    }

    fn breach(&self, config: &LimitConfig, path: &str) -> Result<Breach, ConfigErrors> {
        let mut errors = ConfigErrors::new();
        let mut wrong = |field: &str, message: String| {
            errors.push(self.positions.error(&format!("{path}.{field}"), message, None));
        };
        let (is_ban, is_delay) = (config.action == LimitAction::Ban, config.action == LimitAction::Delay);
        for (field, is_written, belongs, action) in [
            ("deny_for", config.deny_for.is_some(), config.action == LimitAction::Deny, "deny"),
            ("ban", config.ban.is_some(), is_ban, "ban"),
            ("delay", config.delay.is_some(), is_delay, "delay"),
        ] {
            if is_written && !belongs {
                wrong(field, format!("{field} belongs to action = \"{action}\""));
            }
        }
        let time = |given: Option<HumanDuration>| given.map(HumanDuration::get).filter(|time| !time.is_zero());
        let is_short = |time: &std::time::Duration| *time <= LONGEST.get();
        let breach = match config.action {
            LimitAction::Deny => Some(Breach::Deny),
            LimitAction::Ban => {
                let ban = time(config.ban).filter(is_short).map(Breach::Ban);
                if ban.is_none() {
                    wrong("ban", "action = \"ban\" needs ban: above 0s and at most 366d".to_owned());
                }
                ban
            }
            LimitAction::Delay => {
                let delay = time(config.delay).filter(|time| *time <= LONGEST_DELAY).map(Breach::Delay);
                if delay.is_none() {
                    wrong("delay", "action = \"delay\" needs delay: above 0s and at most 10s".to_owned());
                }
                delay
            }
        };
        match breach {
            Some(breach) => errors.into_result(breach),
            None => Err(errors),
        }
    }

    /// What does not go together.
    fn check(&self, config: &LimitConfig, path: &str) -> Result<(), ConfigErrors> {
        let mut errors = ConfigErrors::new();
        let is_fleet = config.scope == Scope::Fleet;
        let is_delay = config.action == LimitAction::Delay;
        let is_window = config.algorithm == Some(Algorithm::SlidingWindow);
        for (is_wrong, field, message) in [
            (is_fleet && config.algorithm.is_some(), "algorithm", "a limit of the fleet has fixed windows"),
            (is_fleet && config.burst.is_some(), "burst", "a limit of the fleet has no burst"),
            (is_fleet && config.deny_for.is_some(), "deny_for", "a limit of the fleet refuses until its window ends"),
            (is_fleet && is_delay, "action", "a limit of the fleet cannot delay"),
            (is_delay && is_window, "algorithm", "only a token_bucket can delay"),
            (is_delay && config.count != Count::Requests, "count", "only requests can be delayed"),
            (
                !config.statuses.is_empty() && config.count != Count::ClientErrors,
                "statuses",
                "statuses belong to count = \"client_errors\"",
            ),
            (
                config.statuses.iter().any(|status| !(400..500).contains(status)),
                "statuses",
                "only 400 to 499 are errors of clients",
            ),
        ] {
            if is_wrong {
                errors.push(self.positions.error(&format!("{path}.{field}"), message, None));
            }
        }
        errors.into_result(())
    }
}
