//! The way of a call of an API with a cache: it is given an answer that is kept, or it asks the service for one ([`fetch`]), or it
//! waits for another call that is asking. [`refresh`] asks in the background.
//!
//! [`look`] is the whole way of a hit. Everything else is boxed: it is as seldom as the calls that the cache does not spare.

mod fetch;
mod refresh;

use std::pin::pin;
use std::sync::Arc;

use bytes::Bytes;
use gatehouse_shared::clock;
use gatehouse_shared::problem;
use http::header::{HeaderMap, HeaderName, HeaderValue};
use http::{Method, Response};

use super::{Call, Site, forward};
use crate::accept::body::{HoldError, Upload};
use crate::admit::api::Api;
use crate::admit::caller::Caller;
use crate::dispatch::cache::answer::{Given, State, Stored};
use crate::dispatch::cache::config::{OfApi, StatusHeader};
use crate::dispatch::cache::flight::{Landed, Turn};
use crate::dispatch::cache::key::{Asked, Key, LONGEST_BODY};
use crate::dispatch::cache::metrics::{ApiCounters, Outcome};
use crate::dispatch::cache::settings::Settings;
use crate::dispatch::cache::tag::{self, MOST_OF_SERVICE, Tag};
use crate::dispatch::cache::{Cache, Found};
use crate::dispatch::service::Service;
use crate::dispatch::wait::until;
use crate::respond::body::Outgoing;
use crate::respond::failure::Failure;
use crate::respond::record::Record;

/// With it a call asks what the cache did.
const WANT_STATUS: HeaderName = HeaderName::from_static("want-cache-status");
/// What the cache did (RFC 9211).
const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");
/// How often a call waits for others before it goes itself.
const ROUNDS: usize = 4;

/// Where a call goes, and whose it is.
#[derive(Clone, Copy)]
pub(super) struct Way<'a> {
    pub(super) site: &'a Site,
    pub(super) api: &'a Arc<Api>,
    pub(super) service: &'a Arc<Service>,
    pub(super) caller: &'a Arc<Caller>,
}

impl<'a> Way<'a> {
    fn cache(&self) -> &'a Arc<Cache> {
        &self.site.gateway.cache
    }

    fn settings(&self) -> &'a Settings {
        &self.site.policy().cache
    }
}

/// What a look into the cache brings.
pub(super) enum Looked {
    /// The API has none.
    Off,
    /// An answer.
    Given(Box<Response<Outgoing>>),
    /// More has to be done.
    Ask(Box<Visit>),
}

/// A call that found no answer to give at once, and how it goes on.
pub(super) enum Visit {
    /// It is not for the cache.
    Bypass(Wish),
    /// Its body is a part of its key.
    Body(Wish),
    /// This is not there.
    Missing(Wish, Key, Found),
}

/// What a call wants of the cache.
#[derive(Clone)]
pub(super) struct Wish {
    rules: Arc<OfApi>,
    is_head: bool,
    wants_status: bool,
}

/// A call and its key.
#[derive(Clone, Copy)]
struct Asking<'a> {
    way: Way<'a>,
    wish: &'a Wish,
    key: Key,
    /// The headers of the request as it came.
    request: &'a HeaderMap,
}

/// Looks for an answer to a call, and gives it if there is one.
pub(super) fn look(way: Way<'_>, call: &Call, record: &mut Record) -> Looked {
    let Some(rules) = &way.api.cache else { return Looked::Off };
    let wants_status = match rules.status {
        StatusHeader::Always => true,
        StatusHeader::Never => false,
        StatusHeader::Asked => call.parts.headers.contains_key(WANT_STATUS),
    };
    let wish = Wish { rules: Arc::clone(rules), is_head: call.parts.method == Method::HEAD, wants_status };
    if !is_for_the_cache(rules, way.caller, call) {
        return Looked::Ask(Box::new(Visit::Bypass(wish)));
    }
    if rules.key.body {
        return Looked::Ask(Box::new(Visit::Body(wish)));
    }
    let key = wish.key(way, call, &[]);
    let now = record.unix_ms();
    match (Asking { way, wish: &wish, key, request: &call.parts.headers }).find(call, record, now) {
        Ok(answer) => Looked::Given(Box::new(answer)),
        Err(found) => Looked::Ask(Box::new(Visit::Missing(wish, key, found))),
    }
}

/// Whether a call may be given what is kept, and may leave its answer for others.
fn is_for_the_cache(rules: &OfApi, caller: &Caller, call: &Call) -> bool {
    let has_body = match &call.upload {
        Upload::Empty => false,
        upload => !rules.key.body || upload.length().is_none_or(|length| length > LONGEST_BODY),
    };
    rules.is_for(&call.parts, caller) && !has_body
}

impl Visit {
    /// Asks the service, or waits for another call that does.
    pub(super) async fn ask(
        self,
        way: Way<'_>,
        call: &mut Call,
        record: &mut Record,
    ) -> Result<Response<Outgoing>, Failure> {
        let (wish, key, found) = match self {
            Self::Bypass(wish) => return wish.bypass(way, call, record).await,
            Self::Missing(wish, key, found) => (wish, key, found),
            Self::Body(wish) => {
                let body = hold(way, call).await?;
                let key = wish.key(way, call, &body);
                let asking = Asking { way, wish: &wish, key, request: &call.parts.headers };
                match asking.find(call, record, clock::unix_ms()) {
                    Ok(answer) => return Ok(answer),
                    Err(found) => (wish, key, found),
                }
            }
        };
        // What a `HEAD` brings is not enough for others.
        if wish.is_head {
            return wish.bypass(way, call, record).await;
        }
        let request = call.parts.headers.clone();
        Asking { way, wish: &wish, key, request: &request }.wait_or_fetch(found, call, record).await
    }
}

/// Holds the body of a call, which is a part of its key.
async fn hold(way: Way<'_>, call: &mut Call) -> Result<Bytes, Failure> {
    if matches!(call.upload, Upload::Empty) {
        return Ok(Bytes::new());
    }
    let (gateway, most) = (&way.site.gateway, way.site.policy().credentials.held_max);
    let room = gateway.identity.room.enter(most);
    match until(call.deadline, call.upload.hold(LONGEST_BODY, room)).await? {
        Ok(body) => Ok(body),
        Err(HoldError::TooLarge) => Err(Failure::refused(&problem::BODY_TOO_LARGE)),
        Err(HoldError::NoRoom) => Err(Failure::refused(&problem::HELD_BODIES_FULL)),
        Err(HoldError::Upload(error)) => Err(error.into()),
    }
}

impl Wish {
    fn key(&self, way: Way<'_>, call: &Call, body: &[u8]) -> Key {
        self.rules.key.key(&Asked {
            api: &way.api.name,
            head: &call.parts,
            authority: &call.authority,
            path: &call.hop.path,
            caller: way.caller,
            body,
        })
    }

    fn counters(&self, way: Way<'_>) -> &ApiCounters {
        self.rules.counters.get_or_init(|| way.site.gateway.metrics.cache.of_api(&way.api.name))
    }

    fn note(&self, way: Way<'_>, record: &mut Record, outcome: Outcome) {
        record.cache = Some(outcome);
        self.counters(way).count(outcome);
    }

    /// Lets a call go to the service as if there were no cache.
    async fn bypass(&self, way: Way<'_>, call: &mut Call, record: &mut Record) -> Result<Response<Outgoing>, Failure> {
        self.note(way, record, Outcome::Bypass);
        call.now = clock::now();
        let mut answer = pin!(forward(way.site, way.api, way.service, way.caller, call, record)).await?;
        // They are taken out, and there is nothing to tag.
        drop(self.take_tags(&mut answer));
        self.say(&mut answer, "fwd=bypass", None);
        Ok(answer)
    }

    /// Says in the answer what was done, where that is wanted.
    fn say(&self, answer: &mut Response<Outgoing>, detail: &str, key: Option<&Key>) {
        if !self.wants_status {
            return;
        }
        let line = match key {
            Some(key) => format!("gatehouse; {detail}; key=\"{}\"", key.to_hex()),
            None => format!("gatehouse; {detail}"),
        };
        if let Ok(line) = HeaderValue::try_from(line) {
            answer.headers_mut().append(CACHE_STATUS, line);
        }
    }

    /// Takes the header with the service's tags out of an answer. `None` where it cannot be understood: what cannot be purged as
    /// its service wants is not kept.
    fn take_tags(&self, answer: &mut Response<Outgoing>) -> Option<Vec<Tag>> {
        let Some(name) = &self.rules.tag_header else { return Some(Vec::new()) };
        let tags = tags_of(answer.headers(), name);
        answer.headers_mut().remove(name);
        tags
    }
}

fn tags_of(headers: &HeaderMap, name: &HeaderName) -> Option<Vec<Tag>> {
    let mut tags = Vec::new();
    for value in headers.get_all(name) {
        for text in value.to_str().ok()?.split([',', ' ', '\t']).filter(|text| !text.is_empty()) {
            if !tag::is_tag(text) || tags.len() >= MOST_OF_SERVICE {
                return None;
            }
            tags.push(Tag::named(text));
        }
    }
    Some(tags)
}

impl Asking<'_> {
    /// Gives an answer that is kept; `Err` is what else there is. Where the answer is over, a call in the background asks the
    /// service.
    fn find(self, call: &Call, record: &mut Record, now: u64) -> Result<Response<Outgoing>, Found> {
        let (stored, state) = match self.way.cache().find(self.way.settings(), &self.key, self.request, now) {
            Found::Answer(stored, state) => (stored, state),
            found => return Err(found),
        };
        let outcome = if state == State::Fresh { Outcome::Hit } else { Outcome::Stale };
        let answer = self.give(&stored, now, outcome).ok_or(Found::None(None))?;
        self.wish.note(self.way, record, outcome);
        if state == State::Stale {
            self.refresh(&stored, call, record);
        }
        Ok(answer)
    }

    /// The answer that is kept, for this call.
    fn give(self, stored: &Stored, now: u64, outcome: Outcome) -> Option<Response<Outgoing>> {
        let auth = self.way.caller.auth();
        let mut answer = stored.give(&Given { request: self.request, is_head: self.wish.is_head, auth }, now)?;
        if self.wish.wants_status {
            let left = i128::from(stored.times.fresh) - i128::from(now);
            let ttl = left.div_euclid(1_000);
            let detail = match outcome {
                Outcome::Hit | Outcome::Stale => format!("hit; ttl={ttl}"),
                Outcome::Fleet => format!("hit; ttl={ttl}; detail=fleet"),
                Outcome::StaleError => format!("hit; ttl={ttl}; detail=service-failed"),
                Outcome::Collapsed => format!("fwd=miss; collapsed; ttl={ttl}"),
                Outcome::Revalidated => format!("fwd=stale; fwd-status=304; stored; ttl={ttl}"),
                Outcome::Miss | Outcome::Pass | Outcome::Bypass => format!("fwd=miss; stored; ttl={ttl}"),
            };
            self.wish.say(&mut answer, &detail, Some(&self.key));
        }
        Some(answer)
    }

    /// Waits for another call that asks for the same, or is the one that asks.
    async fn wait_or_fetch(
        self,
        mut found: Found,
        call: &mut Call,
        record: &mut Record,
    ) -> Result<Response<Outgoing>, Failure> {
        let cache = self.way.cache();
        for _ in 0..ROUNDS {
            let stale = match found {
                Found::Pass(stale) => return self.fetch(None, stale, call, record).await,
                Found::None(stale) => stale,
                Found::Answer(..) => None,
            };
            let mut flight = match cache.flights.join(cache.flight_key(&self.key, self.request)) {
                Turn::Others(flight) => flight,
                // Another one may have come back between the look and the turn.
                Turn::Mine(flight) => match self.find(call, record, clock::unix_ms()) {
                    Ok(answer) => return Ok(answer),
                    Err(Found::None(stale)) => return self.fetch(Some(flight), stale, call, record).await,
                    Err(Found::Pass(stale)) => return self.fetch(None, stale, call, record).await,
                    Err(Found::Answer(..)) => return self.fetch(None, None, call, record).await,
                },
            };
            // What is heard is behind a lock, which is not held on.
            let landed = match until(call.deadline, flight.wait_for(Option::is_some)).await {
                Ok(Ok(landed)) => landed.clone(),
                // It was given up: whoever is first asks now.
                Ok(Err(_given_up)) => None,
                Err(elapsed) => return self.help(stale.as_ref(), record, elapsed.into()),
            };
            match landed {
                Some(Landed::Stored(stored)) => {
                    if let Some(answer) = self.collapsed(&stored, record) {
                        return Ok(answer);
                    }
                }
                Some(Landed::Alone) => return self.fetch(None, stale, call, record).await,
                Some(Landed::Failed(shared)) => return self.help(stale.as_ref(), record, shared.failure()),
                None => {}
            }
            found = match self.find(call, record, clock::unix_ms()) {
                Ok(answer) => return Ok(answer),
                Err(found) => found,
            };
        }
        self.fetch(None, None, call, record).await
    }

    /// What another call has brought, if it is for this one too.
    fn collapsed(self, stored: &Arc<Stored>, record: &mut Record) -> Option<Response<Outgoing>> {
        if !stored.suits(self.request) || !self.way.cache().purges.let_stand(stored) {
            return None;
        }
        let answer = self.give(stored, clock::unix_ms(), Outcome::Collapsed)?;
        self.wish.note(self.way, record, Outcome::Collapsed);
        Some(answer)
    }
}
