//! Asking the service for an answer that may be kept, and what becomes of it.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use gatehouse_shared::clock;
use gatehouse_shared::problem;
use http::header::{self, HeaderName};
use http::{Response, StatusCode};

use super::Asking;
use crate::dispatch::cache::answer::{self, Kept, State, Stored};
use crate::dispatch::cache::control::{self, Refused, Times};
use crate::dispatch::cache::fleet::{Leave, Wanted};
use crate::dispatch::cache::flight::{Flight, Landed, Shared};
use crate::dispatch::cache::gather::{Gathered, gather};
use crate::dispatch::cache::metrics::Outcome;
use crate::dispatch::cache::purge::AsOf;
use crate::dispatch::cache::tag::Tag;
use crate::pipeline::{Call, forward};
use crate::respond::body::Outgoing;
use crate::respond::failure::{Executed, Failure};
use crate::respond::record::Record;

/// When the service was asked, and where what it answers goes.
struct Asked {
    /// Those who wait; none where nobody may.
    flight: Option<Flight>,
    /// What is over, and may be confirmed or help.
    stale: Option<Arc<Stored>>,
    /// Which purges were known then.
    as_of: AsOf,
    /// When, in Unix milliseconds.
    at: u64,
    /// The canonical path that was called.
    path: Box<str>,
}

impl Asking<'_> {
    /// Asks the service. What comes of it is kept if it may be, and told to those who wait for `flight`.
    pub(super) async fn fetch(
        self,
        flight: Option<Flight>,
        mut stale: Option<Arc<Stored>>,
        call: &mut Call,
        record: &mut Record,
    ) -> Result<Response<Outgoing>, Failure> {
        let (way, rules) = (self.way, &*self.wish.rules);
        let as_of = way.cache().purges.now();
        if rules.fleet && flight.is_some() {
            match self.of_fleet().await {
                Some(stored) if stored.state(clock::unix_ms()) == State::Fresh => {
                    if let Some(answer) = self.give(&stored, clock::unix_ms(), Outcome::Fleet) {
                        way.cache().memory.keep(self.key, &stored);
                        land(flight, Landed::Stored(stored));
                        self.wish.note(way, record, Outcome::Fleet);
                        return Ok(answer);
                    }
                }
                over => stale = stale.or(over),
            }
        }
        let path = call.hop.path.clone();
        rules.key.cut(&mut call.parts, way.caller);
        if let Some(stale) = &stale {
            stale.ask_whether_it_changed(&mut call.parts.headers);
        }
        call.introduced = Some(rules.key.introduced(way.caller));
        let asked = Asked { flight, stale, as_of, at: clock::unix_ms(), path };
        call.now = clock::now();
        let outcome = pin!(forward(way.site, way.api, way.service, way.caller, call, record)).await;
        match outcome {
            Ok(answer) => self.answered(asked, answer, call, record).await,
            Err(failure) => self.failed(asked, record, failure),
        }
    }

    /// What another node has left.
    async fn of_fleet(self) -> Option<Arc<Stored>> {
        let cache = self.way.cache();
        let most = self.wish.rules.answer_max;
        let wanted = Wanted { api: &self.way.api.name, key: &self.key, request: self.request, most };
        cache.fleet.as_ref()?.read(&cache.purges, self.way.settings(), wanted).await
    }

    /// The service has answered.
    async fn answered(
        self,
        asked: Asked,
        mut answer: Response<Outgoing>,
        call: &Call,
        record: &mut Record,
    ) -> Result<Response<Outgoing>, Failure> {
        let now = clock::unix_ms();
        let tags = self.wish.take_tags(&mut answer);
        if let Some(stale) = &asked.stale {
            if answer.status() == StatusCode::NOT_MODIFIED {
                let stale = Arc::clone(stale);
                return self.confirmed(&stale, asked, &answer, now, record);
            }
            let has_failed = matches!(answer.status().as_u16(), 500 | 502 | 503 | 504);
            if has_failed && let Some(given) = self.give_stale(stale, now) {
                record.helped(None);
                self.wish.note(self.way, record, Outcome::StaleError);
                return Ok(given);
            }
        }
        let outcome = if asked.flight.is_none() { Outcome::Pass } else { Outcome::Miss };
        self.wish.note(self.way, record, outcome);
        match self.judge(&answer, asked.at, now).and_then(|fit| Ok((fit, tags.ok_or(Refused::Tags)?))) {
            Ok(((times, by), tags)) => self.take_in(asked, answer, times, by, tags, call, record).await,
            Err(refused) => {
                self.wish.counters(self.way).refused.inc();
                self.pass(asked.flight, now);
                self.wish.say(&mut answer, &format!("fwd=miss; detail={}", refused.as_str()), Some(&self.key));
                Ok(answer)
            }
        }
    }

    /// How long an answer may be kept, and by which headers of the request it differs from others.
    fn judge(self, answer: &Response<Outgoing>, asked: u64, now: u64) -> Result<(Times, Vec<HeaderName>), Refused> {
        let rules = &*self.wish.rules;
        let times = control::times(answer, &rules.lives, asked, now)?;
        let by = rules.key.varies_by(answer.headers()).ok_or(Refused::Vary)?;
        let headers = answer.headers();
        let can_be_confirmed = headers.contains_key(header::ETAG) || headers.contains_key(header::LAST_MODIFIED);
        if times.end() <= now && !can_be_confirmed { Err(Refused::NoLife) } else { Ok((times, by)) }
    }

    /// What is over was confirmed by a 304.
    fn confirmed(
        self,
        stale: &Stored,
        asked: Asked,
        answer: &Response<Outgoing>,
        now: u64,
        record: &mut Record,
    ) -> Result<Response<Outgoing>, Failure> {
        record.traffic.release(clock::now());
        let headers = answer::kept_headers(answer.headers());
        let times = control::times_again(answer.headers(), stale.status, &self.wish.rules.lives, asked.at, now);
        let stored = Arc::new(stale.confirmed(&headers, times, asked.at, asked.as_of.node));
        self.keep(&stored, asked.flight, asked.as_of);
        self.wish.note(self.way, record, Outcome::Revalidated);
        self.give(&stored, now, Outcome::Revalidated).ok_or_else(unreadable)
    }

    /// Reads an answer that may be kept, and keeps it; one that is too long or too slow goes on as it is.
    #[expect(clippy::too_many_arguments, reason = "they are what the one caller has found out")]
    async fn take_in(
        self,
        asked: Asked,
        answer: Response<Outgoing>,
        times: Times,
        by: Vec<HeaderName>,
        tags: Vec<Tag>,
        call: &Call,
        record: &mut Record,
    ) -> Result<Response<Outgoing>, Failure> {
        let (cache, settings, rules) = (self.way.cache(), self.way.settings(), &*self.wish.rules);
        let (mut parts, body) = answer.into_parts();
        let room = cache.filling.enter(settings.filling_max);
        let deadline = call.deadline.min(clock::now() + settings.body_timeout);
        let body = match gather(body, rules.answer_max, room, deadline).await {
            Gathered::Whole(body) => body,
            Gathered::Passed(body) => {
                self.wish.counters(self.way).too_large.inc();
                self.pass(asked.flight, clock::unix_ms());
                let mut answer = Response::from_parts(parts, *body);
                self.wish.say(&mut answer, "fwd=miss; detail=too-large", Some(&self.key));
                return Ok(answer);
            }
            Gathered::Broken(error) => {
                let mut failure = Failure::refused(&problem::SERVICE_RESET);
                (failure.cause, failure.executed) = (Some(error.to_string()), Executed::Perhaps);
                return self.failed(asked, record, failure);
            }
        };
        record.traffic.release(clock::now());
        // It says that the body is as it is.
        parts.headers.remove(header::CONTENT_ENCODING);
        let of_api = rules.tags.iter().map(|tag| tag.of(&asked.path));
        let stored = Stored {
            status: parts.status,
            headers: answer::kept_headers(&parts.headers),
            body: Kept::Plain(body),
            by: answer::kept_values(by, self.request),
            tags: Tag::own(&self.way.api.name, &self.key).into_iter().chain(of_api).chain(tags).collect(),
            times,
            asked: asked.at,
            checked: AtomicU64::new(asked.as_of.node),
            hold_off: AtomicU64::new(0),
        };
        let stored = Arc::new(stored);
        self.keep(&stored, asked.flight, asked.as_of);
        self.give(&stored, clock::unix_ms(), Outcome::Miss).ok_or_else(unreadable)
    }

    /// Keeps an answer, unless it was purged while it was on its way, and tells those who wait.
    fn keep(self, stored: &Arc<Stored>, flight: Option<Flight>, as_of: AsOf) {
        let cache = self.way.cache();
        if !cache.purges.let_stand(stored) {
            // Those who have come after the purge ask again.
            drop(flight);
            return;
        }
        cache.memory.keep(self.key, stored);
        self.wish.counters(self.way).stored.inc();
        // What is over at once has to be confirmed for everybody.
        let is_for_all = stored.state(clock::unix_ms()) == State::Fresh;
        land(flight, if is_for_all { Landed::Stored(Arc::clone(stored)) } else { Landed::Alone });
        let leave = Leave { for_fleet: self.wish.rules.fleet, as_of: as_of.fleet };
        cache.settle(self.way.settings(), &self.way.api.name, self.key, stored, leave);
    }

    /// An answer is not kept: for a while nobody waits for one under this key.
    fn pass(self, flight: Option<Flight>, now: u64) {
        self.way.cache().memory.pass(self.key, now.saturating_add(self.way.settings().pass_for_ms));
        land(flight, Landed::Alone);
    }

    /// The service has failed: what is kept may help, and those who wait hear of it.
    fn failed(self, asked: Asked, record: &mut Record, failure: Failure) -> Result<Response<Outgoing>, Failure> {
        let shared = Shared::of(&failure);
        let helped = self.help(asked.stale.as_ref(), record, failure);
        if helped.is_err() {
            self.wish.note(self.way, record, Outcome::Miss);
            if let Some(shared) = shared {
                land(asked.flight, Landed::Failed(shared));
            }
        }
        // Otherwise those who wait find what has helped, or ask themselves.
        helped
    }

    /// Gives what is over instead of a failure, where that is allowed.
    pub(super) fn help(
        self,
        stale: Option<&Arc<Stored>>,
        record: &mut Record,
        failure: Failure,
    ) -> Result<Response<Outgoing>, Failure> {
        match stale.and_then(|stale| self.give_stale(stale, clock::unix_ms())) {
            Some(answer) => {
                record.helped(Some(failure));
                self.wish.note(self.way, record, Outcome::StaleError);
                Ok(answer)
            }
            None => Err(failure),
        }
    }

    fn give_stale(self, stale: &Arc<Stored>, now: u64) -> Option<Response<Outgoing>> {
        let settings = self.way.settings();
        if now >= stale.times.error || !self.way.cache().stands(settings, stale, now) {
            return None;
        }
        stale.hold_off_until(now.saturating_add(settings.hold_off_ms));
        self.give(stale, now, Outcome::StaleError)
    }
}

fn land(flight: Option<Flight>, landed: Landed) {
    if let Some(flight) = flight {
        flight.land(landed);
    }
}

/// What was written here is read back, unless memory itself is wrong.
fn unreadable() -> Failure {
    let mut failure = Failure::refused(&problem::INTERNAL_ERROR);
    failure.cause = Some("an answer that is kept cannot be read".to_owned());
    failure
}
