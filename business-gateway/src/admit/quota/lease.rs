//! What a node holds of one account: tokens that it took from the store before they are used. Pure book-keeping over Unix
//! milliseconds; asking the store is the business of [`super::refill`].
//!
//! A node uses up to `leased` tokens in a window. When half of what it had after the last answer is gone it asks for more, so
//! that a request seldom finds the pocket empty. It asks for what it uses in the refresh time at the rate of late, but at least for
//! 1/100 of the limit ÷ nodes; the store gives at most half of what is left ÷ nodes, so that the last tokens go one by one to those
//! who use them. What is not used for a while is given back.
//!
//! Nothing here can make the sum over all nodes exceed the limit: `leased` only grows by what the store has granted, and
//! what is to be given back is gone from the pocket before the store hears of it. The exception has a name: [`Lease::overdraw`],
//! for limits that stay open while the store is away.

use super::table::Forget;
use super::window::Window;

/// A refresh time is this part of the window …
const REFRESH_PART: u64 = 40;
/// … but within these bounds, in milliseconds.
const REFRESH: (u64, u64) = (100, 2_000);
/// The smallest batch is this part of the limit ÷ nodes: all nodes together hold 1 % of it without using it.
const BASE_PART: u64 = 100;
/// Rates are kept in tokens in this many milliseconds.
const RATE_UNIT: u64 = 1 << 20;
/// Rates are not measured over less, in milliseconds.
const RATE_SPAN: u64 = 20;
/// After so many refresh times without a request the store is told, and all but the smallest batch is given back …
const IDLE_REFRESHES: u64 = 2;
/// … and that after this part of the window, but at most so many milliseconds.
const FORSAKEN: (u64, u64) = (4, 60_000);
/// After "nothing left" the store is asked again, while somebody wants tokens, after this part of the window …
const PROBE_PART: u64 = 50;
/// … but within these bounds, in milliseconds: others may have given tokens back.
const PROBE: (u64, u64) = (1_000, 60_000);
/// A clock that is set back by no more, in milliseconds, does not bring an old window back.
const STEP_BACK: u64 = 5_000;

/// What became of a wish for tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Take {
    /// They are there.
    Taken,
    /// There is nothing left in the window for anybody, as far as is known.
    Over,
    /// The pocket is empty and there may be more.
    Empty,
    /// The store has not been asked yet in this window.
    New,
}

/// Whether the store is to be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wish {
    /// No.
    None,
    /// With the next round: it is to be queued.
    Soon,
    /// Now, for somebody waits or will: it is to be queued, and the round is not to wait.
    Now,
    /// It is queued, but the round is not to wait any longer.
    Hurry,
}

/// What a limit says, and what is known of the fleet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Terms {
    /// How many in a window.
    pub(super) limit: u64,
    /// Nodes that are alive.
    pub(super) nodes: u32,
}

/// What the store is to be asked about a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Request {
    pub(super) window: Window,
    pub(super) holder: u64,
    pub(super) number: u64,
    pub(super) known: u64,
    pub(super) target: u64,
    pub(super) used: u64,
    pub(super) need: u64,
    pub(super) limit: u64,
}

/// What the store said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Reply {
    /// What may be used in all.
    pub(super) total: u64,
    /// What is left for everybody.
    pub(super) free: u64,
}

/// The lease of a node on one account.
#[derive(Clone, Debug)]
pub(super) struct Lease {
    window: Window,
    holder: u64,
    /// What was used in the window, and what may be.
    used: u64,
    leased: u64,
    /// What is left for everybody, and for how many there is, by the last answer.
    free: u64,
    limit: u64,
    is_answered: bool,
    /// What was last asked; waiting for its answer while `is_asking`.
    number: u64,
    is_asking: bool,
    /// What was used until then, and what the store knows of it.
    asked_used: u64,
    told_used: u64,
    /// An answer was lost: the store may have granted more.
    is_unsure: bool,
    /// Tokens in [`RATE_UNIT`] milliseconds, smoothed; since when and from which use on it is measured again.
    rate: u64,
    rated_at: u64,
    rated_used: u64,
    /// From how much use on the store is asked, soon or now.
    soon_at: u64,
    now_at: u64,
    /// The most that somebody waits for.
    need: u64,
    /// Whether it waits to be asked about.
    is_queued: bool,
    /// When the store is asked again although nothing is left.
    probe_at: u64,
    last_use: u64,
    /// How far it may go alone while the store is away.
    alone: u64,
    /// The end of an older window that was not told yet.
    closing: Option<Request>,
}

impl Lease {
    /// Nothing, in a window; `holder` is a number that nobody else has.
    pub(super) fn new(window: Window, holder: u64, now: u64) -> Self {
        Self {
            window,
            holder,
            used: 0,
            leased: 0,
            free: 0,
            limit: 0,
            is_answered: false,
            number: 0,
            is_asking: false,
            asked_used: 0,
            told_used: 0,
            is_unsure: false,
            rate: 0,
            rated_at: now,
            rated_used: 0,
            soon_at: 0,
            now_at: 0,
            need: 0,
            is_queued: false,
            probe_at: 0,
            last_use: now,
            alone: 0,
            closing: None,
        }
    }

    /// Goes over to the window of now.
    #[inline]
    pub(super) fn roll(&mut self, window: &Window, now: u64, holder: impl FnOnce() -> u64) {
        if self.window.number != window.number
            && (window.begins > self.window.begins || now + STEP_BACK < self.window.begins)
        {
            self.begin(window, now, holder());
        }
    }

    #[cold]
    fn begin(&mut self, window: &Window, now: u64, holder: u64) {
        let is_news = self.has_news() || self.is_asking;
        let closing = is_news.then(|| self.closing_request()).or(self.closing);
        let rate = self.rate_at(now);
        *self = Self { rate, closing, is_queued: self.is_queued, ..Self::new(*window, holder, now) };
    }

    /// Whether `cost` tokens are there, of as many as `limit` says. Nothing is taken.
    #[inline]
    pub(super) fn look(&self, cost: u64, limit: u64) -> Take {
        if self.used.saturating_add(cost) <= self.leased {
            Take::Taken
        } else if !self.is_answered {
            Take::New
        } else if limit > self.limit {
            // The store does not know yet that there are more.
            Take::Empty
        } else if self.pocket().saturating_add(self.free) < cost || self.free == 0 {
            Take::Over
        } else {
            Take::Empty
        }
    }

    /// Takes `cost` tokens if they are there, and says whether the store is to be asked.
    #[inline]
    pub(super) fn take(&mut self, cost: u64, limit: u64, now: u64) -> (Take, Wish) {
        let take = self.look(cost, limit);
        if take == Take::Taken {
            self.used += cost;
            self.last_use = now;
            if self.used < self.soon_at && self.limit == limit {
                return (take, Wish::None);
            }
        }
        (take, self.wish(take, cost, limit, now))
    }

    #[cold]
    fn wish(&mut self, take: Take, cost: u64, limit: u64, now: u64) -> Wish {
        let is_changed = self.limit != limit;
        self.limit = limit;
        let wish = match take {
            Take::Taken if self.used >= self.now_at => Wish::Now,
            Take::Taken if self.used >= self.soon_at => Wish::Soon,
            Take::Over if now >= self.probe_at => {
                self.probe_at = now.saturating_add(self.probe_after());
                Wish::Soon
            }
            Take::Empty | Take::New => {
                self.need = self.need.max(cost.saturating_sub(self.pocket()));
                Wish::Now
            }
            _ if is_changed => Wish::Soon,
            _ => Wish::None,
        };
        if take != Take::Taken {
            self.last_use = now;
        }
        if wish == Wish::None || self.is_asking {
            return Wish::None;
        }
        match (std::mem::replace(&mut self.is_queued, true), wish) {
            (true, Wish::Now) => Wish::Hurry,
            (true, _) => Wish::None,
            (false, wish) => wish,
        }
    }

    /// Takes `cost` tokens that the store has not granted, if this node may alone: as much as its part of what was left when the
    /// store was last heard, or of the limit in a window in which it was not.
    pub(super) fn overdraw(&mut self, cost: u64, terms: Terms, now: u64) -> bool {
        let nodes = u64::from(terms.nodes.max(1));
        let alone = if self.is_answered { self.alone } else { (terms.limit / nodes).max(1) };
        let after = self.used.saturating_add(cost);
        if after > alone.min(terms.limit) {
            return false;
        }
        self.used = after;
        self.leased = self.leased.max(after);
        self.last_use = now;
        true
    }

    /// Gives back what was taken in the window of this number.
    pub(super) fn give_back(&mut self, cost: u64, window: u64) {
        if self.window.number == window {
            self.used = self.used.saturating_sub(cost);
        }
    }

    /// Gives back what was taken a moment ago, without having let go of the lease.
    pub(super) fn give_back_now(&mut self, cost: u64) {
        self.used = self.used.saturating_sub(cost);
    }

    /// What is unused is to be given back at once: the process ends.
    pub(super) fn forsake(&mut self) {
        self.last_use = 0;
    }

    /// What the store is to be asked, now that it is the turn of this lease: first about a window that is over, then about this one.
    pub(super) fn ask(&mut self, nodes: u32, now: u64) -> (Option<Request>, Option<Request>) {
        self.is_queued = false;
        let closing = self.closing.take();
        if now >= self.window.ends {
            let is_news = self.has_news() && !self.is_asking;
            let request = is_news.then(|| self.closing_request());
            if let Some(request) = request {
                self.number = request.number;
                (self.leased, self.told_used, self.is_unsure) = (self.used, self.used, false);
            }
            return (closing.or(request), None);
        }
        if self.is_asking {
            return (closing, None);
        }
        if now.saturating_sub(self.rated_at) >= RATE_SPAN {
            (self.rate, self.rated_at, self.rated_used) = (self.rate_at(now), now, self.used);
        }
        // What is needed is needed beside what is there already.
        let needed = if self.need > 0 { self.pocket().saturating_add(self.need) } else { 1 };
        let batch = self.batch(self.rate, nodes).max(needed);
        let keep = self.keep(nodes, now).min(if self.pocket() > batch.saturating_mul(3) { batch } else { u64::MAX });
        let wanted = if keep == u64::MAX { batch } else { 0 };
        let target = self.leased.min(self.used.saturating_add(keep)).max(self.used.saturating_add(wanted));
        // What is to be given back must not be used any more, whether the store hears of it or not.
        self.leased = self.leased.min(target);
        self.asked_used = self.used;
        self.number += 1;
        self.is_asking = true;
        (closing, Some(self.request(target)))
    }

    /// Takes in an answer to the request of this number, at `now`.
    pub(super) fn hear(&mut self, holder: u64, number: u64, reply: Reply, nodes: u32, now: u64) {
        if (self.holder, self.number) != (holder, number) || !self.is_asking {
            return;
        }
        self.is_asking = false;
        self.is_answered = true;
        self.is_unsure = false;
        self.told_used = self.asked_used;
        self.leased = reply.total.max(self.used);
        self.free = reply.free;
        self.alone = self.leased.saturating_add(self.free / u64::from(nodes.max(1)));
        self.need = 0;
        let pocket = self.pocket();
        self.soon_at = self.used + pocket / 2;
        self.now_at = self.used + (pocket - pocket / 8).saturating_sub(1);
        if self.free == 0 {
            self.probe_at = now.saturating_add(self.probe_after());
            (self.soon_at, self.now_at) = (u64::MAX, u64::MAX);
        }
    }

    /// The request of this number was not answered.
    pub(super) fn fail(&mut self, holder: u64, number: u64) {
        if (self.holder, self.number) == (holder, number) {
            self.is_asking = false;
            self.is_unsure = true;
        }
    }

    /// A report about a window that is over was not heard: it is to be made again, unless there is a newer one.
    pub(super) fn fail_closing(&mut self, request: Request) {
        let again = Request { number: request.number + 1, ..request };
        if self.closing.is_none() {
            self.closing = Some(again);
            if self.holder == request.holder {
                self.number = again.number;
            }
        }
    }

    /// Whether the store should hear of it although nobody asks: something is unused, untold or over.
    pub(super) fn is_due(&self, nodes: u32, now: u64) -> bool {
        if self.closing.is_some() {
            return true;
        }
        if self.is_queued || self.is_asking || !self.has_news() {
            return false;
        }
        if now >= self.window.ends {
            return true;
        }
        let keep = self.keep(nodes, now);
        let is_untold = self.is_unsure || self.told_used != self.used;
        keep != u64::MAX && (is_untold || self.pocket() > keep)
            || self.pocket() > self.batch(self.rate_at(now), nodes).max(1).saturating_mul(4)
    }

    /// Marks it as waiting to be asked about; false when it was.
    pub(super) fn queue(&mut self) -> bool {
        !std::mem::replace(&mut self.is_queued, true)
    }

    /// It could not be queued.
    pub(super) fn unqueue(&mut self) {
        self.is_queued = false;
    }

    /// Whether nothing is lost when it is forgotten.
    pub(super) fn is_idle(&self, now: u64, forget: Forget) -> bool {
        let is_clean = !self.is_queued && !self.is_asking && self.closing.is_none();
        let is_over = now >= self.window.ends + self.window.length().min(PROBE.1);
        let is_told = !self.has_news() && now.saturating_sub(self.last_use) >= self.idle_after();
        is_clean && (is_over || is_told && forget == Forget::Idle)
    }

    /// What is left for this node, by what it knows.
    pub(super) fn left(&self) -> u64 {
        self.pocket().saturating_add(self.free)
    }

    /// What it has used and what it may use, in which window.
    pub(super) fn standing(&self) -> (Window, u64, u64) {
        (self.window, self.used, self.leased)
    }

    #[inline]
    fn pocket(&self) -> u64 {
        self.leased.saturating_sub(self.used)
    }

    /// Whether the store knows something else than what is so.
    fn has_news(&self) -> bool {
        self.leased != self.used || self.told_used != self.used || self.is_unsure
    }

    fn closing_request(&self) -> Request {
        Request { number: self.number + 1, ..self.request(self.used) }
    }

    fn request(&self, target: u64) -> Request {
        let Self { window, holder, number, leased, used, need, limit, .. } = *self;
        Request { window, holder, number, known: leased, target, used, need, limit }
    }

    /// What is used in the refresh time, at least [`BASE_PART`].
    fn batch(&self, rate: u64, nodes: u32) -> u64 {
        let by_rate = u128::from(rate) * u128::from(self.refresh()) / u128::from(RATE_UNIT);
        u64::try_from(by_rate).unwrap_or(u64::MAX).max(self.base(nodes)).min(self.limit)
    }

    fn base(&self, nodes: u32) -> u64 {
        self.limit / BASE_PART / u64::from(nodes.max(1))
    }

    /// How many unused tokens it may keep: any number while there are requests.
    fn keep(&self, nodes: u32, now: u64) -> u64 {
        let idle = now.saturating_sub(self.last_use);
        if idle < self.idle_after() {
            u64::MAX
        } else if idle < (self.window.length() / FORSAKEN.0).min(FORSAKEN.1) {
            self.base(nodes).max(1)
        } else {
            0
        }
    }

    /// The rate of late, with what was used since it was measured.
    fn rate_at(&self, now: u64) -> u64 {
        let elapsed = now.saturating_sub(self.rated_at);
        if elapsed < RATE_SPAN {
            return self.rate;
        }
        let used = u128::from(self.used.saturating_sub(self.rated_used));
        let lately = u64::try_from(used * u128::from(RATE_UNIT) / u128::from(elapsed)).unwrap_or(u64::MAX);
        if self.rate == 0 { lately } else { self.rate / 2 + lately / 2 }
    }

    fn refresh(&self) -> u64 {
        (self.window.length() / REFRESH_PART).clamp(REFRESH.0, REFRESH.1)
    }

    fn probe_after(&self) -> u64 {
        (self.window.length() / PROBE_PART).clamp(PROBE.0, PROBE.1)
    }

    fn idle_after(&self) -> u64 {
        self.refresh() * IDLE_REFRESHES
    }
}

#[cfg(test)]
mod tests;
