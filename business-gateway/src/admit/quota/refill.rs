//! Rounds: asking the store for tokens, giving back what is not used, telling what was counted. One background task, one round trip
//! at a time for everything that waits.
//!
//! A round is made every `EXCHANGE_EVERY` when there is something to ask or to tell, and at once for calls that wait.
//! While the store is away it is tried with every tick; the breaker of the store keeps that from costing anything.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use gatehouse_shared::limit::Delta;
use gatehouse_store::limit::Told;
use gatehouse_store::quota::{Account, Answer, Ask};
use tokio::time::MissedTickBehavior;

use super::lease::{Reply, Request};
use super::limit::{EXCHANGE_EVERY, Limit, Limits, Way};
use super::quotas::Quotas;
use super::table::{Forget, Held};
use crate::gateway::Gateway;

/// Most accounts asked about in one round; the others wait for the next, which follows at once.
const ASKS_MAX: usize = 512;
/// Most counts told in one round.
const TOLD_MAX: usize = 4_096;
/// Every so many ticks it is looked whether something is unused, untold or idle.
const UPKEEP_TICKS: u64 = 5;

/// One account that is asked about.
struct Asking {
    held: Arc<Held>,
    request: Request,
    /// Whether it is about a window that is over.
    is_closing: bool,
}

/// Makes rounds until the task is dropped.
pub async fn run(gateway: Arc<Gateway>) {
    let quotas = Arc::clone(&gateway.quotas);
    let current = || {
        let generation = gateway.live.current();
        (Arc::clone(&generation.value.catalog.limits), generation.value.quota.nodes)
    };
    run_with(&quotas, current).await;
}

/// The same for the limits and the assumed number of nodes that `current` gives.
pub async fn run_with(quotas: &Quotas, current: impl Fn() -> (Arc<Limits>, u32)) {
    let mut ticks = tokio::time::interval(EXCHANGE_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut count = 0_u64;
    loop {
        let is_tick = tokio::select! {
            _ = ticks.tick() => true,
            () = quotas.wake.notified() => false,
        };
        let (limits, assumed) = current();
        if is_tick {
            count += 1;
            if count.is_multiple_of(UPKEEP_TICKS) {
                upkeep(quotas, &limits, quotas.nodes(assumed));
            }
        }
        // What waits beyond one round is asked at once, but not of a store that is away.
        while round(quotas, &limits, assumed, is_tick).await && quotas.has_queue() {}
    }
}

/// Gives everything back that is not used, for the process ends; takes as long as a few round trips at most.
pub async fn close(gateway: &Gateway) {
    let generation = gateway.live.current();
    let (quotas, limits) = (&gateway.quotas, &generation.value.catalog.limits);
    for limit in limits.iter() {
        if let Way::Leased(table) = &limit.way {
            table.each(|held| held.lease().forsake());
        }
    }
    upkeep(quotas, limits, quotas.nodes(1));
    while round(quotas, limits, 1, true).await && quotas.has_queue() {}
}

/// One round; false when it failed.
pub async fn round(quotas: &Quotas, limits: &Limits, assumed: u32, is_tick: bool) -> bool {
    let nodes = quotas.nodes(assumed);
    let began = quotas.now();
    let now = quotas.unix_ms(began);
    let asking = collect(quotas, nodes, now);
    let told = if is_tick { tell(limits) } else { Vec::new() };
    if asking.is_empty() && told.is_empty() {
        // Nothing to say is no reason to take the exchange for dead, as long as the last one worked.
        if is_tick && !quotas.is_away(began) {
            limits.iter().for_each(|limit| exchanged(limit, nodes, now));
        }
        return true;
    }
    let asks: Vec<Ask> = asking.iter().map(|asking| asking.ask(nodes)).collect();
    quotas.begin_round(began);
    let heard = quotas.accounts.round(&asks, &told).await;
    let ended = quotas.now();
    let store_ms = heard.as_ref().ok().and_then(|heard| heard.unix_ms);
    quotas.end_round(heard.is_ok(), store_ms, began, ended);
    let now = quotas.unix_ms(ended);
    let heard = match heard {
        Ok(heard) => heard,
        Err(error) => {
            tracing::debug!(%error, "no round");
            asking.iter().for_each(Asking::failed);
            put_back(limits, &told);
            return false;
        }
    };
    for (asking, answer) in asking.iter().zip(&heard.answers) {
        asking.heard(quotas, *answer, nodes, now);
    }
    hear(limits, &told, &heard.others, nodes, now, is_tick);
    true
}

/// What is to be asked.
fn collect(quotas: &Quotas, nodes: u32, now: u64) -> Vec<Asking> {
    let mut asking = Vec::new();
    for held in quotas.take(ASKS_MAX) {
        let (closing, request) = held.lease().ask(nodes, now);
        asking.extend(closing.map(|request| Asking { held: Arc::clone(&held), request, is_closing: true }));
        asking.extend(request.map(|request| Asking { held, request, is_closing: false }));
    }
    asking
}

/// Queues what the store should hear of although nobody asks, and forgets what is idle.
fn upkeep(quotas: &Quotas, limits: &Limits, nodes: u32) {
    let now = quotas.unix_ms(quotas.now());
    let must_tell_all = quotas.must_tell_all.swap(false, Ordering::Relaxed);
    for limit in limits.iter() {
        match &limit.way {
            Way::Leased(table) => {
                table.each(|held| {
                    let mut lease = held.lease();
                    let is_due = lease.is_due(nodes, now) || must_tell_all;
                    if is_due && lease.queue() && !quotas.push(held) {
                        lease.unqueue();
                    }
                });
                table.sweep(now, Forget::Over);
            }
            Way::Told(counts) => counts.iter().for_each(|count| count.reclaim(now)),
        }
    }
}

impl Asking {
    fn ask(&self, nodes: u32) -> Ask {
        let Request { window, holder, number, known, target, used, need, limit } = self.request;
        let account = Account {
            limit: Arc::clone(&self.held.limit),
            subject: Arc::clone(&self.held.subject),
            window: window.number,
        };
        Ask { account, span: (window.begins, window.ends), holder, number, known, target, used, need, limit, nodes }
    }

    fn heard(&self, quotas: &Quotas, answer: Answer, nodes: u32, now: u64) {
        let Request { holder, number, .. } = self.request;
        match answer {
            Answer::Leased { total, free, had_lost } => {
                if had_lost {
                    quotas.totals.healed.add();
                    quotas.must_tell_all.store(true, Ordering::Relaxed);
                }
                if !self.is_closing {
                    self.held.counters.refills.add();
                    self.held.lease().hear(holder, number, Reply { total, free }, nodes, now);
                }
            }
            // The clock is set right by now, or a later request was here: the next call asks again.
            Answer::Stale | Answer::Early => self.failed(),
        }
        self.held.heard.notify_waiters();
    }

    fn failed(&self) {
        let mut lease = self.held.lease();
        if self.is_closing {
            lease.fail_closing(self.request);
        } else {
            lease.fail(self.request.holder, self.request.number);
        }
        drop(lease);
        self.held.heard.notify_waiters();
    }
}

/// What nodes are to be told of limits with short windows.
fn tell(limits: &Limits) -> Vec<Told> {
    let mut told = Vec::new();
    for limit in limits.iter() {
        let Way::Told(counts) = &limit.way else { continue };
        for count in counts {
            let most = TOLD_MAX.saturating_sub(told.len());
            told.extend(count.take_deltas(most).into_iter().map(|delta| Told {
                limit: count.name().into(),
                window: delta.window,
                window_end_unix_ms: count.window_end(delta.window),
                key: delta.key,
                total: delta.total,
            }));
        }
    }
    told
}

/// Takes in what the others have told.
fn hear(limits: &Limits, told: &[Told], others: &[u64], nodes: u32, now: u64, is_tick: bool) {
    for limit in limits.iter() {
        let Way::Told(counts) = &limit.way else { continue };
        for count in counts {
            for (told, others) in told.iter().zip(others).filter(|(told, _)| *told.limit == *count.name()) {
                count.merge(told.key, told.window, *others, now);
            }
        }
        if is_tick {
            exchanged(limit, nodes, now);
        }
    }
}

fn exchanged(limit: &Limit, nodes: u32, now: u64) {
    if let Way::Told(counts) = &limit.way {
        counts.iter().for_each(|count| count.exchanged(nodes, now));
    }
}

/// What could not be told is to be told with the next round.
fn put_back(limits: &Limits, told: &[Told]) {
    for limit in limits.iter() {
        let Way::Told(counts) = &limit.way else { continue };
        for count in counts {
            let of_count = told.iter().filter(|told| *told.limit == *count.name());
            let deltas: Vec<Delta> =
                of_count.map(|told| Delta { key: told.key, window: told.window, total: told.total }).collect();
            count.put_back(&deltas);
        }
    }
}
