//! What every stage of admission is: a synchronous judgement on one request, from what is in memory already.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use gatehouse_shared::{hop::Auth, problem::Reason};

use super::{Denial, RequestView, limit::Receipt};
use crate::{
    accept::{Connection, Message},
    balance::Route,
};

/// One judgement on requests. It does no I/O and never waits.
///
/// A stage is compiled with its generation and takes over what must outlive a reload from the one before. One that owns
/// several rules with a mode each asks [`RequestView::judge`] about every denial, so that a rule that only observes does
/// not hide the next one.
pub trait Stage {
    /// Its name in logs, metric labels and `edge.toml`.
    const NAME: &'static str;

    /// Judges a request; `now` is the moment for everything that is measured by it.
    fn check(&self, request: &RequestView<'_>, now: Instant) -> Verdict;

    /// The request has ended, however it ended: releases what was held, counts what the answer says.
    ///
    /// Called once for every request that arrived while this generation was in force, also for those that an earlier stage
    /// refused ([`Ended::refused`] says so). A call for a request that this stage was not asked about must do no harm.
    fn finish(&self, _ended: &Ended<'_>, _now: Instant) {}
}

/// What a stage decided.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing against it; the next stage is asked.
    Pass,
    /// From someone who may do everything but break HTTP: limits and the WAF are skipped.
    Trusted,
    /// The WAF is skipped; everything else is asked.
    SkipWaf,
    /// It may pass after this time; at most [`LONGEST_DELAY`](crate::context::LONGEST_DELAY) is waited.
    Delay(Duration),
    /// It is refused.
    Deny(Denial),
}

/// How a request ended.
#[derive(Debug)]
pub struct Ended<'a> {
    /// What was asked.
    pub message: &'a Message,
    /// The connection it came on.
    pub connection: &'a Connection,
    /// The client as derived.
    pub client: SocketAddr,
    /// Its route, where one was found.
    pub route: Option<&'a Route>,
    /// The status sent, 499 when the client left before, 0 when it was dropped without an answer.
    pub status: u16,
    /// The reason, when this gate answered itself, whether it refused or failed.
    pub reason: Option<&'static Reason>,
    /// The stage that refused it.
    pub refused: Option<&'static str>,
    /// What tier two says of the caller.
    pub auth: Option<Auth>,
    /// Items executed, as tier two says.
    pub cost: Option<u32>,
    /// What the limits have said of it.
    pub receipt: &'a Receipt,
}
