//! How much may each client, route, … do? Limits and bans.
//!
//! A `rule::Rule` is one limit and one counter. A request meets every limit whose `match` covers it, in the order of the
//! configuration, those that ban first; the first that refuses has the last word. What limits count by is hashed once for a
//! request, however many count by the same (`keys`), and most requests only meet the [`Turnstile`](gatehouse_shared::limit::Turnstile) of a limit, which lies
//! side by side with those of the others (`quick`); everything else is found out where somebody is told or refused.
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
mod keys;
mod condition;
pub(crate) mod counter;
mod rule;
mod quick;
pub mod receipt;
pub mod ban;
pub mod fleet;
pub mod keeper;
mod compile;
mod upkeep;

use std::{
    cell::OnceCell,
    io::Write as _,
    net::IpAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use gatehouse_shared::{
    config::{ConfigErrors, Positions, Sources},
    hop::Auth,
    limit::{Decision, Key, Ticks, Usage},
    problem,
};
use http::HeaderValue;

pub use ban::{Ban, Bans};
pub use condition::Credentials;
pub use receipt::Receipt;
pub use upkeep::Upkeep;

use super::{Denial, Ended, Evidence, Mode, RequestView, Source, Stage, Verdict};
use config::{Count, Only};
use counter::{Counted, Moment};
use keys::{Digests, Keys};
use quick::{Quick, Way};
use receipt::{FIELD_MAX, Met, TOLD_MAX};
use rule::{Answer, Breach, Rule, Totals};

/// Every limit of one generation.
#[derive(Debug)]
pub struct Limits {
    rules: Box<[Rule]>,
    /// The quick way past each.
    quick: Quick,
    /// What they count by.
    keys: Keys,
    credentials: Credentials,
    bans: Arc<Bans>,
    told: ToldRules,
}

/// The limits that clients are told about.
#[derive(Debug)]
struct ToldRules {
    count: usize,
    /// `RateLimit-Policy` about all of them, unless they are more than are told at a time.
    policy: Option<HeaderValue>,
}

/// How a limit stands.
#[derive(Debug)]
pub(crate) struct Standing<'a> {
    pub(crate) name: &'a str,
    pub(crate) totals: &'a Totals,
    /// Requests that it let pass.
    pub(crate) admitted: u64,
    /// Its table of keys, and that of the networks of those who found no place in it.
    pub(crate) own: Usage,
    pub(crate) networks: Usage,
}

/// What limits want to know of a request, found out at most once.
struct Asking<'a> {
    limits: &'a Limits,
    request: &'a RequestView<'a>,
    client: IpAddr,
    has_credentials: OnceCell<bool>,
    digests: Digests,
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
        if receipt.told == 0 {
            return None;
        }
        let mut count = 0;
        let mut standing = [0; FIELD_MAX];
        let mut room = standing.as_mut_slice();
        for met in receipt.told() {
            let rule = self.rules.get(usize::from(met.limit))?;
            if count > 0 {
                room.write_all(b", ").ok()?;
            }
            met.write_field(&mut room, &rule.name).ok()?;
            count += 1;
        }
        let left = room.len();
        let policy = match &self.told.policy {
            // Each limit is met once at most: these are all.
            Some(all) if count == self.told.count => all.clone(),
            _ => {
                let met = receipt.told().filter_map(|met| self.rules.get(usize::from(met.limit)));
                HeaderValue::try_from(policies(met)).ok()?
            }
        };
        Some((HeaderValue::from_bytes(standing.get(..FIELD_MAX - left)?).ok()?, policy))
    }

    /// How each limit stands, for metrics.
    pub(crate) fn standings(&self) -> impl Iterator<Item = Standing<'_>> {
        self.rules.iter().map(|rule| {
            let [own, networks] = rule.counter.usage();
            Standing { name: &rule.name, totals: &rule.totals, admitted: rule.admitted(), own, networks }
        })
    }

    /// Gives the places of idle keys back; call it every few seconds.
    pub fn reclaim(&self, now: Instant, unix_ms: u64) {
        self.rules.iter().for_each(|rule| rule.counter.reclaim(Moment { now: now.into(), unix_ms }));
    }

    /// Meets the limit at a position, whatever it covers and counts. The denial when it refuses and is to be obeyed.
    #[inline(never)]
    fn meet(&self, limit: u16, way: &Way, asking: &mut Asking<'_>, walk: &mut Walk) -> Option<Denial> {
        let rule = self.rules.get(usize::from(limit))?;
        let (key, is_tried) = asking.of(rule)?;
        let is_told = rule.is_told && walk.receipt.told < TOLD_MAX;
        let is_plain = !is_told && !is_tried && rule.count == Count::Requests;
        if is_plain && way.pass(key, walk.at.now) {
            return None;
        }
        self.ask((limit, rule), key, is_tried, asking, walk)
    }

    /// Asks the limit at a position about a key; `is_tried`: the request brings credentials to a limit on those that do not. The
    /// denial when it refuses and is to be obeyed.
    fn ask(
        &self,
        (limit, rule): (u16, &Rule),
        key: Key,
        is_tried: bool,
        asking: &Asking<'_>,
        walk: &mut Walk,
    ) -> Option<Denial> {
        let asked_by = if is_tried { self.keys.tried(rule.spec, key).unwrap_or(key) } else { key };
        let (decision, answer) = rule.ask(asked_by, is_tried, asking.client, walk.at);
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
                denial = self.over(rule, &decision, asking.request);
                None
            }
        };
        let is_told = rule.is_told && !is_tried;
        walk.receipt.told += usize::from(is_told);
        walk.receipt.met.push(Met {
            limit,
            key,
            counted,
            is_tried,
            counts_later: is_tried || rule.count != Count::Requests,
            is_told,
            // Neither a limit nor the seconds of a year and a day need more.
            remaining: u32::try_from(decision.remaining).unwrap_or(u32::MAX),
            reset_seconds: u32::try_from(decision.reset_seconds()).unwrap_or(u32::MAX),
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
        let spec = self.keys.spec(rule.spec)?;
        request.judge(rule.mode, rule.denial(spec, decision, request))
    }

    /// Has the limits before the one at a position forget a request that goes no further: those in the receipt, and all
    /// others that cover it, which it has passed without a note.
    #[cold]
    fn give_back(&self, refused_by: u16, asking: &mut Asking<'_>, walk: &mut Walk) {
        for (limit, rule) in (0..refused_by).zip(&self.rules).filter(|(_, rule)| !rule.counts_refused()) {
            let noted = walk.receipt.met.binary_search_by_key(&limit, |met| met.limit);
            if let Some(met) = noted.ok().and_then(|at| walk.receipt.met.get_mut(at)) {
                if let Some(counted) = met.counted.take() {
                    rule.counter.give_back(met.key, asking.client, counted, walk.at);
                    met.remaining = met.remaining.saturating_add(1);
                }
            } else if let Some((key, _)) = asking.of(rule) {
                rule.counter.give_back(key, asking.client, Counted::Own, walk.at);
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
        Self { count, policy }
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

    /// Whether the request brings credentials to a limit on those that do not; `None` when the limit does not cover it.
    fn brings_credentials_to(&self, rule: &Rule) -> Option<bool> {
        if !rule.condition.covers(self.request) {
            return None;
        }
        match rule.condition.only {
            None => Some(false),
            Some(Only::Unauthenticated) => Some(self.has_credentials()),
            Some(Only::Authenticated) => self.has_credentials().then_some(false),
        }
    }

    /// The key that a limit is to be asked about, if it covers the request; and whether this brings credentials to a limit on
    /// those that do not.
    fn of(&mut self, rule: &Rule) -> Option<(Key, bool)> {
        let is_tried = if rule.condition.is_always { false } else { self.brings_credentials_to(rule)? };
        Some((self.limits.keys.key(rule.spec, self.request, &mut self.digests)?, is_tried))
    }
}

impl Stage for Limits {
    const NAME: &'static str = "limit";

    fn check(&self, request: &RequestView<'_>, now: Instant) -> Verdict {
        if let Some(denial) = self.banned(request) {
            return Verdict::Deny(denial);
        }
        let at = Moment { now: now.into(), unix_ms: request.unix_ms() };
        let receipt = Receipt { at: Some(at), ..Receipt::default() };
        let mut walk = Walk { at, receipt, delay: Duration::ZERO };
        let mut asking = Asking {
            limits: self,
            request,
            client: request.client(),
            has_credentials: OnceCell::new(),
            digests: Digests::default(),
        };
        for (limit, way) in (0_u16..).zip(self.quick.ways()) {
            if let Some(parts) = way.of_all {
                let Some(key) = self.keys.key_of(parts, request, &mut asking.digests) else { continue };
                if way.pass(key, at.now) {
                    continue;
                }
            }
            if let Some(denial) = self.meet(limit, way, &mut asking, &mut walk) {
                self.give_back(limit, &mut asking, &mut walk);
                request.keep_receipt(walk.receipt);
                return Verdict::Deny(denial);
            }
        }
        request.keep_receipt(walk.receipt);
        if walk.delay.is_zero() { Verdict::Pass } else { Verdict::Delay(walk.delay) }
    }

    /// Counts what the answer says, for every limit the request has met.
    fn finish(&self, ended: &Ended<'_>, now: Instant) {
        let Some(asked_at) = ended.receipt.at else { return };
        let mut later = ended.receipt.met.iter().filter(|met| met.counts_later).peekable();
        if later.peek().is_none() {
            return;
        }
        let has_failed = ended.auth == Some(Auth::Failed);
        let now = Ticks::from(now);
        // The wall clock has gone on by as much as the other.
        let at = Moment { now, unix_ms: asked_at.unix_ms.saturating_add(now.nanos_since(asked_at.now) / 1_000_000) };
        for met in later {
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
                if let Some(tried) = self.keys.tried(rule.spec, met.key).filter(|_| met.is_tried) {
                    let _said = rule.counter.charge(tried, client, cost, at);
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
