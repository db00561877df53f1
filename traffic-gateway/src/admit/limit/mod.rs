//! How much may each client, route, … do? Limits and bans.
//!
//! A `rule::Rule` is one limit and one counter. A request meets every limit whose `match` covers it, in the order of the
//! configuration, those that ban first; the first that refuses has the last word. Keys are made once for a request, however
//! many limits count by the same.
//!
//! **A request that one limit refuses is counted by no other**: what the limits before have counted they give back, because
//! whatever is refused costs nothing behind this gate. Two kinds count it nevertheless, for they are about what clients try:
//! limits that ban, and those on 4xx answers. Between counting and giving back (microseconds) another request may find a limit
//! used up that is not; giving back is exact, so nothing is lost or granted twice.
//!
//! What is known only when a request ends (its status, its cost, whether its credentials were good) is counted then, by what
//! its [`Receipt`] says it has met; the next request is judged by it.

pub mod config;
mod part;
mod condition;
pub(crate) mod counter;
mod rule;
pub mod receipt;
pub mod ban;
pub mod fleet;
pub mod keeper;
mod compile;
mod upkeep;

use std::{
    cell::OnceCell,
    sync::Arc,
    time::{Duration, Instant},
};

use gatehouse_shared::{
    config::{ConfigErrors, Positions, Sources},
    hop::Auth,
    limit::{Decision, Key, KeyHasher, Usage},
    problem,
};
use http::HeaderValue;

pub use ban::{Ban, Bans};
pub use receipt::Receipt;
pub use upkeep::Upkeep;

use super::{Denial, Ended, Evidence, Mode, RequestView, Source, Stage, Verdict};
use condition::Credentials;
use config::{Count, Only};
use counter::Moment;
use part::KeySpec;
use receipt::{Met, TOLD_MAX};
use rule::{Answer, Breach, Rule, Totals};

/// Keys of one request that are kept; further ones are made again for every limit.
const KEPT_KEYS: usize = 8;

/// Every limit of one generation.
#[derive(Debug)]
pub struct Limits {
    rules: Box<[Rule]>,
    /// What they count by, each once.
    specs: Box<[KeySpec]>,
    credentials: Credentials,
    hasher: KeyHasher,
    fleet_hasher: KeyHasher,
    bans: Arc<Bans>,
    told: ToldRules,
}

/// The limits that clients are told about.
#[derive(Debug)]
struct ToldRules {
    count: usize,
    /// `RateLimit-Policy` about all of them, unless they are more than are told at a time.
    policy: Option<HeaderValue>,
    /// About how long `RateLimit` is.
    field_length: usize,
}

/// How a limit stands.
#[derive(Debug)]
pub(crate) struct Standing<'a> {
    pub(crate) name: &'a str,
    pub(crate) totals: &'a Totals,
    /// Its table of keys, and that of the networks of those who found no place in it.
    pub(crate) own: Usage,
    pub(crate) networks: Usage,
}

/// What limits want to know of a request, found out at most once.
struct Asking<'a> {
    limits: &'a Limits,
    request: &'a RequestView<'a>,
    has_credentials: OnceCell<bool>,
    /// Keys by position of their spec: not made yet, not there, or made.
    keys: [Option<Option<Key>>; KEPT_KEYS],
}

impl Limits {
    /// Compiles all limits of a configuration; `None` when there are none. Counts are those of `before` where name, key and
    /// algorithm are the same.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with any of them.
    pub fn compile(
        config: &crate::config::Config,
        before: Option<&Self>,
        bans: &Arc<Bans>,
        sources: &mut Sources,
        positions: &Positions,
        now: Instant,
    ) -> Result<Option<Self>, ConfigErrors> {
        compile::compile(config, before, bans, sources, positions, now)
    }

    /// The values of `RateLimit` and `RateLimit-Policy` (draft-ietf-httpapi-ratelimit-headers-10) about the limits that a request
    /// has met and its client is told about; `None` when there are none.
    #[must_use]
    pub fn fields(&self, receipt: &Receipt) -> Option<(HeaderValue, HeaderValue)> {
        let mut standing = String::new();
        let mut count = 0;
        for met in receipt.told() {
            let rule = self.rules.get(usize::from(met.limit))?;
            if count == 0 {
                standing.reserve(self.told.field_length);
            } else {
                standing.push_str(", ");
            }
            met.write_field(&mut standing, &rule.name);
            count += 1;
        }
        let policy = match &self.told.policy {
            _ if count == 0 => return None,
            // Each limit is met once at most: these are all.
            Some(all) if count == self.told.count => all.clone(),
            _ => {
                let met = receipt.told().filter_map(|met| self.rules.get(usize::from(met.limit)));
                HeaderValue::try_from(policies(met)).ok()?
            }
        };
        Some((HeaderValue::try_from(standing).ok()?, policy))
    }

    /// How each limit stands, for metrics.
    pub(crate) fn standings(&self) -> impl Iterator<Item = Standing<'_>> {
        self.rules.iter().map(|rule| {
            let [own, networks] = rule.counter.usage();
            Standing { name: &rule.name, totals: &rule.totals, own, networks }
        })
    }

    /// Gives the places of idle keys back; call it every few seconds.
    pub fn reclaim(&self, now: Instant, unix_ms: u64) {
        self.rules.iter().for_each(|rule| rule.counter.reclaim(Moment { now, unix_ms }));
    }

    fn hasher(&self, spec: &KeySpec) -> &KeyHasher {
        if spec.is_fleet { &self.fleet_hasher } else { &self.hasher }
    }

    /// The key under which the failed credentials of whoever a key stands for are counted.
    fn tried_key(&self, rule: &Rule, key: Key) -> Key {
        let hasher = self.specs.get(rule.spec).map_or(&self.hasher, |spec| self.hasher(spec));
        hasher.key().bytes(&key.to_bytes()).bytes(b"tried").finish()
    }

    /// Asks the limit at `index` about a key; `is_tried`: the request brings credentials to a limit on those that do not. The
    /// denial when it refuses and is to be obeyed.
    fn ask(
        &self,
        (index, rule): (usize, &Rule),
        key: Key,
        is_tried: bool,
        asking: &Asking<'_>,
        walk: &mut Walk,
    ) -> Option<Denial> {
        let request = asking.request;
        let asked_by = if is_tried { self.tried_key(rule, key) } else { key };
        let (decision, answer) = rule.ask(asked_by, is_tried, request.client(), walk.at);
        let mut denial = None;
        let counted = match answer {
            Answer::Pass(counted) => {
                Rule::tally(&rule.totals.admitted);
                counted
            }
            Answer::Wait(counted, time) => {
                walk.delay = walk.delay.max(time);
                Rule::tally(&rule.totals.delayed);
                Some(counted)
            }
            Answer::Over => {
                denial = self.over(rule, &decision, request);
                None
            }
        };
        let is_told = rule.is_told && !is_tried;
        walk.receipt.met.push(Met {
            limit: u16::try_from(index).unwrap_or(u16::MAX),
            key,
            counted,
            is_tried,
            is_told,
            remaining: decision.remaining,
            reset_seconds: if is_told { decision.reset_seconds() } else { 0 },
        });
        denial
    }

    /// A request is above a limit: what becomes of it.
    #[cold]
    fn over(&self, rule: &Rule, decision: &Decision, request: &RequestView<'_>) -> Option<Denial> {
        let is_enforced = rule.mode == Mode::Enforce;
        Rule::tally(if is_enforced { &rule.totals.refused } else { &rule.totals.observed });
        if let (Breach::Ban(time), true) = (rule.action, is_enforced) {
            let until = request.unix_ms().saturating_add(millis(time));
            self.bans.ban(request.client(), until, &rule.name, request.unix_ms());
        }
        let spec = self.specs.get(rule.spec)?;
        request.judge(rule.mode, rule.denial(spec, decision, request))
    }

    /// Has the limits before forget a request that goes no further.
    fn give_back(&self, request: &RequestView<'_>, walk: &mut Walk) {
        for met in &mut walk.receipt.met {
            let Some(rule) = self.rules.get(usize::from(met.limit)).filter(|rule| !rule.counts_refused()) else {
                continue;
            };
            if let Some(counted) = met.counted.take() {
                rule.counter.give_back(met.key, request.client(), counted, walk.at);
                met.remaining = met.remaining.saturating_add(1);
            }
        }
    }

    fn banned(&self, request: &RequestView<'_>) -> Option<Denial> {
        let ban = self.bans.of(request.client(), request.unix_ms())?;
        let evidence = Evidence::new(Source::Limit, ban.limit).matched("client", request.client().to_string());
        let rest = Duration::from_millis(ban.until_unix_ms.saturating_sub(request.unix_ms()));
        Some(Denial { retry_after: Some(rest), ..Denial::from(&problem::CLIENT_BANNED).because_of(evidence) })
    }
}

impl ToldRules {
    fn of(rules: &[Rule]) -> Self {
        let told = || rules.iter().filter(|rule| rule.is_told);
        let count = told().count();
        let policy = (1..=TOLD_MAX).contains(&count).then(|| HeaderValue::try_from(policies(told())).ok()).flatten();
        let field_length = told().take(TOLD_MAX).map(|rule| rule.name.len() + 24).sum();
        Self { count, policy, field_length }
    }
}

/// The value of `RateLimit-Policy` about these limits.
fn policies<'a>(rules: impl Iterator<Item = &'a Rule>) -> String {
    rules.map(|rule| rule.counter.policy_field()).collect::<Vec<_>>().join(", ")
}

/// What comes together while limits are asked.
struct Walk {
    at: Moment,
    receipt: Receipt,
    delay: Duration,
}

impl Asking<'_> {
    fn has_credentials(&self) -> bool {
        *self.has_credentials.get_or_init(|| self.limits.credentials.are_in(self.request))
    }

    /// The key that a limit is to be asked about, if it covers the request; and whether this brings credentials to a limit on
    /// those that do not.
    fn of(&mut self, rule: &Rule) -> Option<(Key, bool)> {
        if !rule.condition.covers(self.request) {
            return None;
        }
        let is_tried = match rule.condition.only {
            None => false,
            Some(Only::Unauthenticated) => self.has_credentials(),
            Some(Only::Authenticated) if self.has_credentials() => false,
            Some(Only::Authenticated) => return None,
        };
        Some((self.key(rule.spec)?, is_tried))
    }

    fn key(&mut self, spec: usize) -> Option<Key> {
        if let Some(Some(made)) = self.keys.get(spec) {
            return *made;
        }
        let parts = self.limits.specs.get(spec)?;
        let key = parts.key(self.request, self.limits.hasher(parts));
        if let Some(place) = self.keys.get_mut(spec) {
            *place = Some(key);
        }
        key
    }
}

impl Stage for Limits {
    const NAME: &'static str = "limit";

    fn check(&self, request: &RequestView<'_>, now: Instant) -> Verdict {
        if let Some(denial) = self.banned(request) {
            return Verdict::Deny(denial);
        }
        let at = Moment { now, unix_ms: request.unix_ms() };
        let receipt = Receipt { at: Some(at), ..Receipt::default() };
        let mut walk = Walk { at, receipt, delay: Duration::ZERO };
        let mut asking = Asking { limits: self, request, has_credentials: OnceCell::new(), keys: [None; KEPT_KEYS] };
        let mut refused = None;
        for (index, rule) in self.rules.iter().enumerate() {
            let Some((key, is_tried)) = asking.of(rule) else { continue };
            if walk.receipt.met.capacity() == 0 {
                walk.receipt.met.reserve_exact(self.rules.len());
            }
            refused = self.ask((index, rule), key, is_tried, &asking, &mut walk);
            if refused.is_some() {
                self.give_back(request, &mut walk);
                break;
            }
        }
        request.keep_receipt(walk.receipt);
        match refused {
            Some(denial) => Verdict::Deny(denial),
            None if walk.delay.is_zero() => Verdict::Pass,
            None => Verdict::Delay(walk.delay),
        }
    }

    /// Counts what the answer says, for every limit the request has met.
    fn finish(&self, ended: &Ended<'_>, now: Instant) {
        let has_failed = ended.auth == Some(Auth::Failed);
        let Some(asked_at) = ended.receipt.at else { return };
        // The wall clock has gone on by as much as the other.
        let at = Moment {
            now,
            unix_ms: asked_at.unix_ms.saturating_add(millis(now.saturating_duration_since(asked_at.now))),
        };
        for met in &ended.receipt.met {
            let Some(rule) = self.rules.get(usize::from(met.limit)) else { continue };
            if met.is_tried && !has_failed {
                continue;
            }
            let cost = match rule.count {
                Count::Requests => u32::from(met.is_tried),
                Count::ClientErrors => u32::from(self.is_error(rule, ended)),
                Count::Cost if met.is_tried => ended.cost.unwrap_or(1).max(1),
                Count::Cost if met.counted.is_some() => ended.cost.unwrap_or(1).saturating_sub(1),
                Count::Cost => 0,
            };
            if cost > 0 {
                let client = ended.client.ip();
                // What they say is for the next request.
                let _said = rule.counter.charge(met.key, client, cost, at);
                if met.is_tried {
                    let _said = rule.counter.charge(self.tried_key(rule, met.key), client, cost, at);
                }
            }
        }
    }
}

impl Limits {
    /// Whether an answer counts as an error of the client. What limits refuse does not, nor that a client has left.
    fn is_error(&self, rule: &Rule, ended: &Ended<'_>) -> bool {
        let has_left = ended.reason.is_some_and(|reason| reason.code == problem::CLIENT_CLOSED.code);
        // A dropped client counts by what it would have been told.
        let status = if ended.status == 0 { ended.reason.map_or(0, |reason| reason.status) } else { ended.status };
        !has_left && ended.refused != Some(Self::NAME) && rule.counts_status(status)
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
