//! All calls of one whole. Each begins as soon as those are over that it waits for; they share one task, so what is under way is
//! given up with the call of the client.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use gatehouse_shared::clock;
use gatehouse_shared::problem;
use http::request::Parts;
use http::{HeaderMap, Response};
use minijinja::Value;

use super::call::Call;
use super::config::Need;
use super::metrics::OfAggregate;
use super::outcome::{self, Failed, Outcome};
use super::scope::{self, Scope, Seen};
use super::{Aggregate, Notes, answer, json};
use crate::accept::body::{HoldError, Upload};
use crate::accept::room::{Room, Taken};
use crate::admit::api::Api;
use crate::admit::quota;
use crate::dispatch::request::strip;
use crate::dispatch::wait::until;
use crate::pipeline::Site;
use crate::pipeline::part::{Part, Whole};
use crate::respond::body::Outgoing;
use crate::respond::failure::{Executed, Failure};
use crate::respond::record::Record;

/// What a client asks of an aggregate.
#[derive(Debug)]
pub struct Asked<'a> {
    /// The API it has called.
    pub api: &'a Api,
    /// The head of its request.
    pub parts: Parts,
    /// The body.
    pub upload: Upload,
    /// The authority that the client named.
    pub authority: Arc<str>,
    /// The end of every wait.
    pub deadline: Instant,
}

/// Answers a call of an aggregate.
///
/// # Errors
/// When a part that is needed has failed, or the answer cannot be made.
pub async fn run(
    aggregate: &Aggregate,
    site: &Site,
    mut asked: Asked<'_>,
    record: &mut Record,
) -> Result<Response<Outgoing>, Failure> {
    let deadline = asked.api.timeout.map_or(asked.deadline, |timeout| asked.deadline.min(clock::now() + timeout));
    let Some(whole) = record.whole(site, deadline) else { return Err(Failure::refused(&problem::INTERNAL_ERROR)) };
    strip(&mut asked.parts.headers);
    let room = &site.policy().catalog.aggregates.room;
    let mut taken = room.enter(aggregate.bounds.held);
    let body = if aggregate.reads_body {
        match request_body(aggregate, &mut asked.upload, &mut taken, deadline).await {
            Ok(body) => body,
            Err(refused) => return Err(failed(aggregate, site, refused)),
        }
    } else {
        Value::UNDEFINED
    };
    let client = Arc::new(std::mem::take(&mut asked.parts.headers));
    let scope = Arc::new(scope_of(aggregate, &whole, &asked, &client, body));
    let charged = Charged { quota: &mut record.quota, is_over: false };
    let mut running = Running {
        seen: Value::from_dyn_object(Arc::clone(&scope)),
        metrics: metrics(aggregate, site),
        outcomes: aggregate.calls.iter().map(|_| None).collect(),
        waiting: aggregate.calls.iter().map(|call| call.after.len()).collect(),
        under_way: FuturesUnordered::new(),
        over: VecDeque::new(),
        sum: 0,
        executed: Executed::No,
        notes: &mut record.aggregate,
        whole: &whole,
        client: &client,
        authority: &asked.authority,
        aggregate,
        room,
        scope,
    };
    let outcome = running.run().await;
    let Running { outcomes, scope, seen, .. } = running;
    charged.release();
    let outcome = match outcome {
        Ok(()) => answer::make(aggregate, &outcomes, &scope, &seen, whole.caller.auth()),
        Err(failure) => Err(failure),
    };
    counted(aggregate, site, outcome)
}

/// What the calls may look at.
fn scope_of(aggregate: &Aggregate, whole: &Whole, asked: &Asked<'_>, client: &Arc<HeaderMap>, body: Value) -> Scope {
    let path = &whole.hop.path;
    let request = scope::Request {
        id: whole.hop.request_id.as_str().into(),
        method: asked.parts.method.clone(),
        params: if aggregate.params.is_empty() { Vec::new() } else { scope::params(&asked.api.path, path) },
        path: path.clone(),
        query: asked.parts.uri.query().unwrap_or_default().into(),
        headers: Arc::clone(client),
        body,
    };
    Scope::new(request, &whole.caller, &aggregate.names)
}

/// Counts what became of the whole.
fn counted(
    aggregate: &Aggregate,
    site: &Site,
    outcome: Result<(Response<Outgoing>, bool), answer::Failed>,
) -> Result<Response<Outgoing>, Failure> {
    let metrics = metrics(aggregate, site);
    match outcome {
        Ok((answer, is_whole)) => {
            let counter = if is_whole { &metrics.whole } else { &metrics.partial };
            counter.inc();
            Ok(answer)
        }
        Err(refused) => Err(failed(aggregate, site, refused)),
    }
}

fn metrics<'a>(aggregate: &'a Aggregate, site: &Site) -> &'a OfAggregate {
    aggregate.metrics.get_or_init(|| site.gateway.metrics.aggregate.of(aggregate))
}

fn failed(aggregate: &Aggregate, site: &Site, failed: answer::Failed) -> Failure {
    metrics(aggregate, site).failed.inc();
    let (failure, bound) = failed.into();
    if let Some(bound) = bound {
        site.gateway.metrics.aggregate.hit(bound);
    }
    failure
}

/// The body of the request as a value, held while the call lasts; `taken` is the room for the value.
async fn request_body(
    aggregate: &Aggregate,
    upload: &mut Upload,
    taken: &mut Taken,
    deadline: Instant,
) -> Result<Value, answer::Failed> {
    let bounds = &aggregate.bounds;
    let room = taken.room().enter(bounds.held);
    let held = until(deadline, upload.hold(bounds.request, room)).await.map_err(Failure::from)?;
    let refused = |reason, bound| answer::Failed::hit(Failure::refused(reason), bound);
    let body: Bytes = held.map_err(|error| match error {
        HoldError::TooLarge => refused(&problem::AGGREGATE_BODY_TOO_LARGE, "request_max"),
        HoldError::NoRoom => refused(&problem::AGGREGATE_NO_ROOM, "held_max"),
        HoldError::Upload(error) => Failure::from(error).into(),
    })?;
    if body.is_empty() {
        return Ok(Value::UNDEFINED);
    }
    let invalid = |what: &str| Failure::refused(&problem::AGGREGATE_INPUT_INVALID).about(what);
    let Some(weight) = json::weight(&body, bounds.depth) else {
        return Err(answer::Failed::hit(invalid("the body is too deep"), "depth_max"));
    };
    if weight > bounds.value {
        return Err(refused(&problem::AGGREGATE_BODY_TOO_LARGE, "value_max"));
    }
    if !taken.grow(weight) {
        return Err(refused(&problem::AGGREGATE_NO_ROOM, "held_max"));
    }
    let text = std::str::from_utf8(&body).map_err(|_invalid| invalid("the body is not JSON"))?;
    Ok(serde_json::from_str(text).map_err(|_error| invalid("the body is not JSON"))?)
}

/// What the whole was charged: kept when the client gives it up, because a service may have executed something by then.
struct Charged<'a> {
    quota: &'a mut quota::Notes,
    is_over: bool,
}

impl Charged<'_> {
    /// The calls are over; whether the charge is kept is for the answer to say.
    fn release(mut self) {
        self.is_over = true;
    }
}

impl Drop for Charged<'_> {
    fn drop(&mut self) {
        if !self.is_over {
            self.quota.keep();
        }
    }
}

/// A call under way, by its index.
type UnderWay<'a> = Pin<Box<dyn Future<Output = (usize, Outcome)> + Send + 'a>>;

/// The calls of one whole.
struct Running<'a> {
    aggregate: &'a Aggregate,
    whole: &'a Whole,
    client: &'a HeaderMap,
    authority: &'a Arc<str>,
    room: &'a Arc<Room>,
    metrics: &'a OfAggregate,
    notes: &'a mut Notes,
    scope: Arc<Scope>,
    /// The scope, as expressions take it.
    seen: Value,
    outcomes: Vec<Option<Outcome>>,
    /// How many others each waits for.
    waiting: Vec<usize>,
    under_way: FuturesUnordered<UnderWay<'a>>,
    /// Those that ended without being made.
    over: VecDeque<(usize, Outcome)>,
    /// Bytes of all answers.
    sum: u64,
    executed: Executed,
}

impl Running<'_> {
    async fn run(&mut self) -> Result<(), answer::Failed> {
        for index in 0..self.aggregate.calls.len() {
            if self.aggregate.calls.get(index).is_some_and(|call| call.after.is_empty()) {
                self.begin(index);
            }
        }
        loop {
            let next = match self.over.pop_front() {
                Some(over) => Some(over),
                None => self.under_way.next().await,
            };
            let Some((index, outcome)) = next else { return Ok(()) };
            self.settle(index, outcome)?;
        }
    }

    /// Begins a call, or finds out that it is not made.
    fn begin(&mut self, index: usize) {
        let Some(call) = self.aggregate.calls.get(index) else { return };
        match self.prepare(call) {
            Ok((api, part)) => {
                self.notes.made = self.notes.made.saturating_add(1);
                let taken = self.room.enter(self.aggregate.bounds.held);
                self.under_way.push(serve(self.whole, self.aggregate, index, call, api, part, taken));
            }
            Err(outcome) => self.over.push_back((index, *outcome)),
        }
    }

    fn prepare(&self, call: &Call) -> Result<(Arc<Api>, Part), Box<Outcome>> {
        if let Some(when) = &call.when {
            match when.value(&self.seen) {
                Ok(value) if value.is_true() => {}
                Ok(_) => return Err(Box::new(Outcome::Skipped)),
                Err(_error) => return Err(Box::new(Outcome::Failed(Failed::condition(call)))),
            }
        }
        for needed in &call.needs {
            let outcome = self.outcomes.get(*needed).and_then(Option::as_ref);
            let Some(other) = self.aggregate.calls.get(*needed) else { continue };
            match outcome {
                Some(Outcome::Answered(_)) => {}
                _ if other.default.is_some() => {}
                Some(Outcome::Skipped) => return Err(Box::new(Outcome::Skipped)),
                _ => return Err(Box::new(Outcome::Failed(Failed::without(call, &other.name)))),
            }
        }
        let made = call.request(&self.seen, self.client);
        let (path, request) = made.map_err(|unmade| Box::new(Outcome::Failed(Failed::unmade(call, &unmade))))?;
        let api = self.whole.site.policy().catalog.apis.get(call.api_index);
        // It is there, since the catalog was compiled whole.
        let api = api.ok_or_else(|| Box::new(Outcome::Failed(Failed::internal(call))))?;
        let deadline =
            call.timeout.map_or(self.whole.deadline, |timeout| self.whole.deadline.min(clock::now() + timeout));
        let host = api.hosts.iter().find(|host| !host.starts_with("*."));
        let authority = host.map_or_else(|| Arc::clone(self.authority), |host| host.as_str().into());
        Ok((Arc::clone(api), Part { name: call.name.clone(), authority, path, request, deadline }))
    }

    /// A call is over: notes it, and begins those that have waited for it.
    fn settle(&mut self, index: usize, mut outcome: Outcome) -> Result<(), answer::Failed> {
        let Some(call) = self.aggregate.calls.get(index) else { return Ok(()) };
        if let Outcome::Answered(answered) = &outcome {
            self.executed = Executed::Perhaps;
            self.sum = self.sum.saturating_add(u64::try_from(answered.body.len()).unwrap_or(u64::MAX));
            if self.sum > self.aggregate.bounds.sum {
                outcome = Outcome::Failed(Failed::too_much(call));
            }
        }
        let counters = self.metrics.parts.get(index);
        match &outcome {
            Outcome::Answered(_) => counters.iter().for_each(|part| part.answered.inc()),
            Outcome::Skipped => counters.iter().for_each(|part| part.skipped.inc()),
            Outcome::Failed(failed) => {
                counters.iter().for_each(|part| part.failed.inc());
                self.notes.failed.push(call.name.clone());
                if failed.executed == Executed::Perhaps {
                    self.executed = Executed::Perhaps;
                }
                if let Some(bound) = failed.bound {
                    self.whole.site.gateway.metrics.aggregate.hit(bound);
                }
                if call.need == Need::Required {
                    // What is under way ends with this.
                    let executed = if self.under_way.is_empty() { self.executed } else { Executed::Perhaps };
                    return Err(failed.clone().of_whole(executed).into());
                }
            }
        }
        if call.is_seen {
            self.scope.set(index, seen(call, &outcome));
        }
        if let Some(place) = self.outcomes.get_mut(index) {
            *place = Some(outcome);
        }
        for next in &call.before {
            let Some(waiting) = self.waiting.get_mut(*next) else { continue };
            *waiting = waiting.saturating_sub(1);
            if *waiting == 0 {
                self.begin(*next);
            }
        }
        Ok(())
    }
}

/// A call that is over, as others see it.
fn seen(call: &Call, outcome: &Outcome) -> Seen {
    let default = call.default.as_ref().map_or(Value::UNDEFINED, |(_, value)| value.clone());
    match outcome {
        Outcome::Answered(answered) => Seen {
            status: answered.status.as_u16(),
            code: None,
            body: answered.value.clone(),
            headers: Some(Arc::clone(&answered.headers)),
            is_answered: true,
        },
        Outcome::Failed(failed) => Seen {
            status: failed.answered.unwrap_or(failed.status),
            code: Some(failed.reason.code),
            body: default,
            headers: None,
            is_answered: false,
        },
        Outcome::Skipped => Seen { status: 0, code: None, body: default, headers: None, is_answered: false },
    }
}

/// Makes one call. The future has a name of its own, because a part may be an aggregate again.
fn serve<'a>(
    whole: &'a Whole,
    aggregate: &'a Aggregate,
    index: usize,
    call: &'a Call,
    api: Arc<Api>,
    part: Part,
    taken: Taken,
) -> UnderWay<'a> {
    Box::pin(async move {
        let deadline = part.deadline;
        let answer = whole.serve(&api, part).await;
        let read = until(deadline, outcome::read(call, answer, &aggregate.bounds, taken)).await;
        (index, read.unwrap_or_else(|_elapsed| Outcome::Failed(Failed::late(call))))
    })
}
