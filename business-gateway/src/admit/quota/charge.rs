//! Charging a call: all limits are asked, then all are charged; what was charged is given back unless it is kept.

use std::sync::Arc;
use std::time::{Duration, Instant};

use gatehouse_shared::limit::Key;
use gatehouse_shared::problem::{self, Reason};
use tokio::time::timeout;

use super::config::{Mode, OnStoreFailure};
use super::lease::{Take, Terms};
use super::limit::{Limit, Way};
use super::quotas::Quotas;
use super::subject::{Digests, Subject};
use super::table::Held;
use super::window::Window;
use super::{Settings, lease::Lease};

/// How often a call tries again because another one was quicker, before it is taken as refused.
const RACES_MAX: u32 = 16;

/// What a call was charged. Dropping it gives that back, into the windows it was taken from, unless it was kept.
#[derive(Debug, Default)]
pub struct Charge {
    entries: Vec<Entry>,
    is_kept: bool,
}

/// Why a call is refused.
#[derive(Debug)]
pub struct Refusal {
    /// What the caller is told.
    pub reason: &'static Reason,
    /// The name of the limit.
    pub limit: Arc<str>,
    /// Seconds until the window ends; `None` when the store was away.
    pub retry_after: Option<u64>,
    /// What would have been charged; nothing is.
    pub(super) charge: Charge,
}

/// Where a caller stands with a limit.
#[derive(Debug, Clone, Copy)]
pub struct Standing<'a> {
    /// The limit.
    pub limit: &'a Limit,
    /// How many in a window.
    pub most: u64,
    /// The place of that among the rates of the limit.
    pub(super) rate: usize,
    /// How many of them are left, as far as this node knows.
    pub remaining: u64,
    /// Seconds until the window ends.
    pub reset: u64,
    /// The length of the window in seconds.
    pub window: u64,
}

impl Standing<'_> {
    /// Whether most callers would be told of the same policy: nobody's plan, and a window of the usual length.
    pub(super) fn is_usual(&self) -> bool {
        self.rate == 0 && self.limit.is_usual(self.window)
    }
}

/// One limit of a call.
#[derive(Debug)]
struct Entry {
    limit: Arc<Limit>,
    cost: u64,
    most: u64,
    rate: usize,
    window: Window,
    unix_ms: u64,
    remaining: u64,
    what: What,
    /// What was charged.
    charged: u64,
}

/// Where it counts.
#[derive(Debug)]
enum What {
    Leased(Arc<Held>),
    Told(usize, Key),
    /// There is no room for a newcomer.
    Full,
}

/// What a limit says before anything is charged.
enum Verdict {
    /// It can be charged.
    Pass,
    /// It can be charged without tokens, as far as this node may go alone.
    Alone,
    /// Not in this window.
    Deny,
    /// Nobody knows, and the limit is closed then.
    Unavailable,
    /// Nobody knows yet.
    Wait(Take),
}

/// What came of charging a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Took {
    /// As many as it costs.
    Tokens,
    /// Nothing, since another call has taken them meanwhile.
    Quicker,
    /// Nothing, and another try would not help.
    Nothing,
}

/// How long a call has waited for tokens.
#[derive(Default)]
struct Waited {
    until: Option<Instant>,
    is_over: bool,
}

/// Charges a call that arrived at `now` with what each limit costs; at once when this node has tokens of all of them.
///
/// # Errors
/// [`Refusal`] by the first limit that has none left; then nothing is charged.
pub async fn charge<'l>(
    quotas: &Quotas,
    settings: &Settings,
    limits: impl Iterator<Item = (&'l Arc<Limit>, u64)>,
    subject: &Subject<'_>,
    now: Instant,
) -> Result<Charge, Refusal> {
    // One allocation of the right size: a call carries it to its end, and moves it on the way.
    let mut charge = Charge { entries: Vec::with_capacity(limits.size_hint().0), is_kept: false };
    let unix_ms = quotas.unix_ms(now);
    let mut digests = Digests::new(subject);
    for (limit, cost) in limits {
        if let Some(entry) = Entry::find(limit, cost, quotas, settings, &mut digests, unix_ms) {
            charge.entries.push(entry);
        }
    }
    let mut waited = Waited::default();
    let mut races = 0;
    let mut at = now;
    loop {
        let verdicts = charge.ask(quotas, &waited, at);
        let awaited = match verdicts {
            Ok(()) => None,
            Err(Stop::Refuse(position, is_known)) => return Err(charge.refuse(position, is_known)),
            Err(Stop::Wait(position, take)) => Some((position, take)),
        };
        let Some((position, take)) = awaited else {
            match charge.take(quotas, settings, at) {
                Ok(()) => return Ok(charge),
                Err((position, Took::Quicker)) if races < RACES_MAX => {
                    tracing::trace!(position, "another call was quicker");
                    races += 1;
                }
                Err((position, _)) => return Err(charge.refuse(position, true)),
            }
            continue;
        };
        let until = *waited
            .until
            .get_or_insert_with(|| at + if take == Take::New { settings.first_wait } else { settings.refill_wait });
        charge.wait(position, quotas, until.saturating_duration_since(at)).await;
        at = quotas.now();
        charge.entries.iter_mut().for_each(|entry| entry.go_on(quotas, at));
        waited.is_over = at >= until;
    }
}

/// Why a call cannot be charged now.
enum Stop {
    /// The limit at this position refuses; whether because its tokens are known to be used up.
    Refuse(usize, bool),
    /// The limit at this position waits for the store.
    Wait(usize, Take),
}

impl Charge {
    /// What was charged stays charged, for something of the call was sent to a service.
    pub fn keep(&mut self) {
        self.is_kept = true;
    }

    /// Where the caller stands with each limit that is obeyed.
    pub fn standings(&self) -> impl Iterator<Item = Standing<'_>> + Clone {
        self.entries.iter().filter(|entry| entry.limit.mode == Mode::Enforce).map(Entry::standing)
    }

    /// The number of the window that each limit was charged in, in their order.
    pub fn windows(&self) -> impl Iterator<Item = u64> + '_ {
        self.entries.iter().map(|entry| entry.window.number)
    }

    /// Asks all limits; nothing is charged.
    fn ask(&self, quotas: &Quotas, waited: &Waited, now: Instant) -> Result<(), Stop> {
        let mut wait = None;
        for (position, entry) in self.entries.iter().enumerate() {
            match entry.verdict(quotas, waited, now) {
                Verdict::Pass | Verdict::Alone => {}
                Verdict::Wait(take) => wait = wait.or(Some(Stop::Wait(position, take))),
                _ if entry.limit.mode == Mode::Observe => {}
                Verdict::Deny => return Err(Stop::Refuse(position, true)),
                Verdict::Unavailable => return Err(Stop::Refuse(position, false)),
            }
        }
        wait.map_or(Ok(()), Err)
    }

    /// Charges all limits, or none: then the position of the one that had no more, and why.
    fn take(&mut self, quotas: &Quotas, settings: &Settings, now: Instant) -> Result<(), (usize, Took)> {
        let mut failed = None;
        for (position, entry) in self.entries.iter_mut().enumerate() {
            let took = entry.take(quotas, settings, now);
            if took != Took::Tokens && entry.limit.mode == Mode::Enforce {
                failed = Some((position, took));
                break;
            }
        }
        let Some(failed) = failed else {
            self.entries.iter().for_each(Entry::count_admitted);
            return Ok(());
        };
        self.entries.iter_mut().for_each(|entry| _ = entry.give_back());
        Err(failed)
    }

    /// Waits for an answer of the store about the limit at a position.
    async fn wait(&self, position: usize, quotas: &Quotas, at_most: Duration) {
        let Some(entry) = self.entries.get(position) else { return };
        let What::Leased(held) = &entry.what else { return };
        let mut heard = std::pin::pin!(held.heard.notified());
        // From here on no answer is missed.
        heard.as_mut().enable();
        if entry.wish(held, quotas) == Take::Taken {
            return;
        }
        entry.limit.counters.waits.add();
        // The time is over, or there is an answer: who asks again finds out.
        let _elapsed = timeout(at_most, heard).await.is_err();
    }

    #[cold]
    fn refuse(mut self, position: usize, is_known: bool) -> Refusal {
        self.entries.iter_mut().for_each(|entry| _ = entry.give_back());
        let entry = self.entries.get(position);
        let limit = entry.map(|entry| Arc::clone(&entry.limit));
        let name = limit.as_ref().map_or_else(|| Arc::from(""), |limit| Arc::clone(&limit.name));
        if let Some(limit) = &limit {
            limit.counters.denied.add();
        }
        if is_known {
            let reason = limit.as_ref().map_or(&problem::QUOTA_DYNAMIC, |limit| limit.reason());
            let retry_after = entry.map(|entry| entry.window.seconds_left(entry.unix_ms));
            return Refusal { reason, limit: name, retry_after, charge: self };
        }
        Refusal { reason: &problem::QUOTA_UNAVAILABLE, limit: name, retry_after: None, charge: self }
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        if self.is_kept {
            return;
        }
        for entry in &mut self.entries {
            if entry.give_back() {
                entry.limit.counters.refunded.add();
            }
        }
    }
}

impl Entry {
    /// The place where a limit counts a call; `None` when it does not concern it.
    fn find(
        limit: &Arc<Limit>,
        cost: u64,
        quotas: &Quotas,
        settings: &Settings,
        digests: &mut Digests<'_>,
        unix_ms: u64,
    ) -> Option<Self> {
        let subject = digests.subject;
        let window = limit.windows.at(unix_ms);
        let (most, rate) = limit.most(subject);
        let what = match &limit.way {
            Way::Told(_) => What::Told(rate, limit.by.find(subject, &settings.fleet)?.key),
            Way::Leased(table) => {
                let found = limit.by.find_here(digests)?;
                let held = table.find(found.key).or_else(|| {
                    table.find_or_make(found.key, limit.max_keys, unix_ms, || {
                        let text = limit.by.write(subject, &found);
                        let lease = Lease::new(window, quotas.holder(), unix_ms);
                        Held::new(Arc::clone(&limit.name), text, lease, Arc::clone(&limit.counters))
                    })
                });
                held.map_or(What::Full, What::Leased)
            }
        };
        let limit = Arc::clone(limit);
        Some(Self { limit, cost, most, rate, window, unix_ms, remaining: 0, what, charged: 0 })
    }

    fn verdict(&self, quotas: &Quotas, waited: &Waited, now: Instant) -> Verdict {
        match &self.what {
            What::Leased(held) => {
                let mut lease = held.lease();
                lease.roll(&self.window, self.unix_ms, || quotas.holder());
                let take = lease.look(self.cost, self.most);
                drop(lease);
                match take {
                    Take::Taken => Verdict::Pass,
                    Take::Over => {
                        // It may be time to ask whether somebody has given something back.
                        match self.wish(held, quotas) {
                            Take::Taken => Verdict::Pass,
                            _ => Verdict::Deny,
                        }
                    }
                    take if quotas.is_away(now) || waited.is_over && take == Take::New => {
                        self.without_store(held, quotas)
                    }
                    _ if waited.is_over => Verdict::Deny,
                    take => Verdict::Wait(take),
                }
            }
            What::Told(rate, key) => match self.told(*rate) {
                Some(count) if count.peek(*key, self.cost_in_32_bits(), self.unix_ms).allowed => Verdict::Pass,
                Some(_) => Verdict::Deny,
                None => Verdict::Pass,
            },
            What::Full => self.when_full(),
        }
    }

    /// Lets the lease know that tokens are wanted; says whether they are there after all.
    #[cold]
    fn wish(&self, held: &Arc<Held>, quotas: &Quotas) -> Take {
        let (take, wish) = {
            let mut lease = held.lease();
            let (take, wish) = lease.take(self.cost, self.most, self.unix_ms);
            if take == Take::Taken {
                lease.give_back_now(self.cost);
            }
            (take, wish)
        };
        quotas.serve(held, wish);
        take
    }

    /// Time has passed while the call waited: perhaps there is another window.
    fn go_on(&mut self, quotas: &Quotas, now: Instant) {
        self.unix_ms = quotas.unix_ms(now);
        self.window = self.limit.windows.at(self.unix_ms);
    }

    /// The store is away and there are no tokens here.
    #[cold]
    fn without_store(&self, held: &Arc<Held>, quotas: &Quotas) -> Verdict {
        self.limit.counters.store_failures.add();
        self.wish(held, quotas);
        match self.limit.on_store_failure {
            OnStoreFailure::Open => Verdict::Alone,
            OnStoreFailure::Closed => Verdict::Unavailable,
        }
    }

    #[cold]
    fn when_full(&self) -> Verdict {
        match self.limit.on_store_failure {
            OnStoreFailure::Open => Verdict::Pass,
            OnStoreFailure::Closed => Verdict::Unavailable,
        }
    }

    /// Charges the limit, if it has as many tokens.
    fn take(&mut self, quotas: &Quotas, settings: &Settings, now: Instant) -> Took {
        let took = self.try_take(quotas, settings, now);
        if took != Took::Tokens && self.limit.mode == Mode::Observe {
            self.limit.counters.observed.add();
        }
        took
    }

    fn try_take(&mut self, quotas: &Quotas, settings: &Settings, now: Instant) -> Took {
        let took = match &self.what {
            What::Leased(held) => {
                let mut lease = held.lease();
                let (take, wish) = lease.take(self.cost, self.most, self.unix_ms);
                let took = match take {
                    Take::Taken => Took::Tokens,
                    Take::Empty | Take::New
                        if self.limit.on_store_failure == OnStoreFailure::Open && quotas.is_away(now) =>
                    {
                        let terms = Terms { limit: self.most, nodes: quotas.nodes(settings.nodes) };
                        if lease.overdraw(self.cost, terms, self.unix_ms) { Took::Tokens } else { Took::Nothing }
                    }
                    _ => Took::Quicker,
                };
                self.remaining = lease.left();
                // Another call may have gone on to the next window meanwhile.
                self.window = lease.standing().0;
                drop(lease);
                quotas.serve(held, wish);
                took
            }
            What::Told(rate, key) => match self.told(*rate) {
                Some(count) => match count.admit(*key, self.cost_in_32_bits(), self.unix_ms) {
                    Ok(decision) => {
                        self.remaining = decision.remaining;
                        if decision.allowed { Took::Tokens } else { Took::Quicker }
                    }
                    Err(_full) => return self.take_nothing(),
                },
                None => return Took::Tokens,
            },
            What::Full => return self.take_nothing(),
        };
        self.charged = if took == Took::Tokens { self.cost } else { 0 };
        took
    }

    /// There is no room to count a newcomer.
    #[cold]
    fn take_nothing(&self) -> Took {
        self.limit.counters.full.add();
        match self.limit.on_store_failure {
            OnStoreFailure::Open => Took::Tokens,
            OnStoreFailure::Closed => Took::Nothing,
        }
    }

    /// Gives back what was charged; false when nothing was.
    fn give_back(&mut self) -> bool {
        let charged = std::mem::take(&mut self.charged);
        if charged == 0 {
            return false;
        }
        match &self.what {
            What::Leased(held) => held.lease().give_back(charged, self.window.number),
            What::Told(rate, key) => {
                if let Some(count) = self.told(*rate) {
                    count.give_back(*key, u32::try_from(charged).unwrap_or(u32::MAX), self.unix_ms);
                }
            }
            What::Full => {}
        }
        self.remaining = self.remaining.saturating_add(charged);
        true
    }

    fn count_admitted(&self) {
        if self.charged > 0 || matches!(self.what, What::Full) {
            self.limit.counters.admitted.add();
        }
    }

    fn told(&self, rate: usize) -> Option<&gatehouse_shared::limit::FleetLimit> {
        match &self.limit.way {
            Way::Told(counts) => counts.get(rate),
            Way::Leased(_) => None,
        }
    }

    fn cost_in_32_bits(&self) -> u32 {
        u32::try_from(self.cost).unwrap_or(u32::MAX)
    }

    fn standing(&self) -> Standing<'_> {
        Standing {
            limit: &self.limit,
            most: self.most,
            rate: self.rate,
            remaining: self.remaining.min(self.most),
            reset: self.window.seconds_left(self.unix_ms),
            window: self.window.length().div_ceil(1_000),
        }
    }
}
