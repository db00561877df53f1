//! The items of a batch on their way: which of them are the same read, what each may take, and what comes of it.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use gatehouse_shared::clock;
use gatehouse_shared::problem;
use http::{HeaderValue, Method, Request, StatusCode};
use http_body::Body as _;

use super::Batch;
use super::answer::Answered;
use super::asked::{Asked, Unfit};
use super::item::prepare;
use super::metrics::Outcome;
use super::stream::Order;
use crate::accept::body::Upload;
use crate::accept::room::Taken;
use crate::admit::api::Api;
use crate::dispatch::wait::until;
use crate::pipeline::part::{Item, Part, Whole};
use crate::respond::body::Outgoing;
use crate::respond::envelope::Envelope;
use crate::respond::failure::Failure;

/// A batch under way.
#[derive(Debug)]
pub struct Run {
    whole: Whole,
    batch: Batch,
    envelope: Envelope,
    authority: Arc<str>,
    host: HeaderValue,
    order: Order,
    /// Bytes of answers that were written so far.
    written: AtomicU64,
}

/// What is executed once, for all items that ask for it.
#[derive(Debug)]
pub struct Work {
    members: Vec<Member>,
    request: Result<Request<Bytes>, Unfit>,
    api: Option<Arc<str>>,
}

/// An item, as far as its answer is concerned.
#[derive(Debug)]
pub struct Member {
    /// Which of the batch it is, counted from 0.
    pub index: usize,
    /// How the client calls it, in JSON.
    pub id: Option<Box<str>>,
}

/// An item's answer as it is sent.
#[derive(Debug)]
pub struct Done {
    /// Which of the batch it is.
    pub index: usize,
    /// The answer.
    pub text: Bytes,
    /// The room that it takes, which several may share.
    pub room: Option<Arc<Taken>>,
}

impl Run {
    /// A batch of calls of `whole`, which calls `api`.
    #[must_use]
    pub fn new(whole: Whole, batch: Batch, api: &Api, authority: &Arc<str>, order: Order) -> Self {
        // It came as a header, or as what can be one.
        let host = HeaderValue::from_str(authority).unwrap_or_else(|_error| HeaderValue::from_static(""));
        let authority = Arc::clone(authority);
        Self { whole, batch, envelope: api.envelope, authority, host, order, written: AtomicU64::new(0) }
    }

    /// Items that may be under way at a time.
    #[must_use]
    pub fn concurrency(&self) -> usize {
        self.batch.concurrency
    }

    /// What there is to do for `items`, in their order: the same read twice is done once. `source` is the body of the batch.
    #[must_use]
    pub fn works(&self, items: Vec<Result<Asked<'_>, Unfit>>, source: &Bytes) -> Vec<Work> {
        let mut works: Vec<Work> = Vec::with_capacity(items.len());
        let mut reads = HashMap::new();
        for (index, item) in items.into_iter().enumerate() {
            let mut member = Member { index, id: None };
            let mut api = None;
            let request = item.and_then(|asked| {
                let request = prepare(&asked, &self.host, source);
                (member.id, api) = (asked.id, asked.api);
                request
            });
            if let Some(read) = request.as_ref().ok().and_then(read) {
                match reads.entry(read) {
                    Entry::Vacant(place) => _ = place.insert(works.len()),
                    Entry::Occupied(place) => {
                        if let Some(work) = works.get_mut(*place.get()) {
                            work.members.push(member);
                            continue;
                        }
                    }
                }
            }
            works.push(Work { members: vec![member], request, api });
        }
        works
    }

    /// Does it, whatever comes of it; gives an answer for each of its items.
    pub async fn execute(self: Arc<Self>, work: Work) -> Vec<Done> {
        let Work { members, request, api } = work;
        let metrics = &self.whole.site.gateway.metrics.batch;
        let (outcome, answered, room) = match request {
            Ok(request) => self.admit(request, api, &members).await,
            Err(unfit) => (Outcome::Invalid, self.refused(unfit.into()).await, None),
        };
        let why = match self.write(&answered, &members, room, outcome) {
            Ok(done) => {
                metrics.items(outcome, members.len());
                return done;
            }
            Err(why) => why,
        };
        metrics.items(Outcome::Lost, members.len());
        let mut lost = self.lost(why, answered.status).await;
        if let Ok(done) = self.write(&lost, &members, None, Outcome::Lost) {
            return done;
        }
        // Not even that can be written: the separator, which the client chooses, is a part of it.
        lost.body = Bytes::new();
        self.write(&lost, &members, None, Outcome::Lost).unwrap_or_default()
    }

    async fn admit(
        &self,
        request: Request<Bytes>,
        api: Option<Arc<str>>,
        members: &[Member],
    ) -> (Outcome, Answered, Option<Taken>) {
        if clock::now() >= self.whole.deadline {
            let late = Failure::refused(&problem::DEADLINE_EXCEEDED).about("the item was not executed");
            return (Outcome::Skipped, self.refused(late).await, None);
        }
        if self.written.load(Ordering::Relaxed) >= self.batch.answers_max {
            return (Outcome::Skipped, self.refused(Failure::refused(&problem::BATCH_FULL)).await, None);
        }
        let first = members.first().map_or(0, |member| member.index);
        let same = members.len().saturating_sub(1);
        let part = Part {
            name: if same == 0 { first.to_string() } else { format!("{first}+{same}") }.into(),
            authority: Arc::clone(&self.authority),
            path: request.uri().path().into(),
            request: request.map(Upload::own),
            deadline: self.whole.deadline,
        };
        let times = u64::try_from(members.len()).unwrap_or(u64::MAX);
        let (parts, body) = self.whole.admit(Item { part, api, times }).await.into_parts();
        let site = &self.whole.site;
        let mut room = site.gateway.identity.room.enter(site.policy().credentials.held_max);
        let body = match until(self.whole.deadline, collect(body, self.batch.item_answer_max, &mut room)).await {
            Ok(Ok(body)) => body,
            Ok(Err(why)) => return (Outcome::Lost, self.lost(why, parts.status).await, None),
            Err(_elapsed) => {
                let why = "the deadline came before its end";
                return (Outcome::Lost, self.lost(why, parts.status).await, None);
            }
        };
        let is_good = parts.status.as_u16() < 400;
        let outcome = if is_good { Outcome::Answered } else { Outcome::Failed };
        (outcome, Answered { status: parts.status, headers: parts.headers, body }, Some(room))
    }

    /// The answer of an item that the batch itself refuses.
    async fn refused(&self, failure: Failure) -> Answered {
        self.whole.site.gateway.metrics.refused(failure.reason);
        let answer = failure.answer(self.whole.hop.request_id.as_str(), self.envelope);
        let (parts, body) = answer.into_parts();
        // What is made here is there at once, and short.
        let body = body.collect(u64::MAX).await.unwrap_or_default();
        Answered { status: parts.status, headers: parts.headers, body }
    }

    /// The answer of an item whose answer cannot be given.
    async fn lost(&self, why: &str, status: StatusCode) -> Answered {
        let detail = format!("{why}; its status was {}", status.as_u16());
        self.refused(Failure::refused(&problem::BATCH_ANSWER_LOST).about(detail)).await
    }

    /// Writes an answer for each of its items, if there is room for that.
    fn write(
        &self,
        answered: &Answered,
        members: &[Member],
        mut room: Option<Taken>,
        outcome: Outcome,
    ) -> Result<Vec<Done>, &'static str> {
        let written = answered.write(&self.order)?;
        let length: usize = members.iter().map(|member| written.length(member)).sum();
        // What was not executed, and what was lost, is told however full it is: it is short.
        let is_bounded = matches!(outcome, Outcome::Answered | Outcome::Failed);
        let bytes = u64::try_from(length).unwrap_or(u64::MAX);
        let more = |used: u64| {
            let used = used.saturating_add(bytes);
            (!is_bounded || used <= self.batch.answers_max).then_some(used)
        };
        if self.written.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_err() {
            return Err("the answers of the batch would be longer than they may be together");
        }
        if room.as_mut().is_some_and(|room| !room.grow(length)) {
            return Err(NO_ROOM);
        }
        let room = room.map(Arc::new);
        let done = |member: &Member| Done { index: member.index, text: written.of(member), room: room.clone() };
        Ok(members.iter().map(done).collect())
    }
}

const NO_ROOM: &str = "this node holds as many bodies as it may";

/// Reads the body of an answer, as far as there is `room`. Pieces that come at once are not copied twice.
async fn collect(mut body: Outgoing, most: u64, room: &mut Taken) -> Result<Bytes, &'static str> {
    const TOO_LARGE: &str = "the answer is longer than that of an item may be";
    if body.size_hint().lower() > most {
        return Err(TOO_LARGE);
    }
    let (mut first, mut joined) = (Bytes::new(), Vec::new());
    while let Some(frame) = std::future::poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        let frame = frame.map_err(|_error| "the answer was broken off")?;
        let Ok(piece) = frame.into_data() else { continue };
        let length = first.len().max(joined.len()).saturating_add(piece.len());
        if u64::try_from(length).unwrap_or(u64::MAX) > most {
            return Err(TOO_LARGE);
        }
        if !room.grow(piece.len()) {
            return Err(NO_ROOM);
        }
        if first.is_empty() && joined.is_empty() {
            first = piece;
        } else {
            if joined.is_empty() {
                joined.extend_from_slice(&std::mem::take(&mut first));
            }
            joined.extend_from_slice(&piece);
        }
    }
    Ok(if joined.is_empty() { first } else { Bytes::from(joined) })
}

/// What makes a read the same as another one: method, target and headers; `None` for a request that is no read.
fn read(request: &Request<Bytes>) -> Option<Vec<u8>> {
    if ![Method::GET, Method::HEAD].contains(request.method()) || !request.body().is_empty() {
        return None;
    }
    let mut headers: Vec<_> =
        request.headers().iter().map(|(name, value)| (name.as_str().as_bytes(), value.as_bytes())).collect();
    headers.sort_unstable();
    let mut read = Vec::with_capacity(256);
    let target = request.uri().path_and_query().map(http::uri::PathAndQuery::as_str).unwrap_or_default();
    for text in [request.method().as_str().as_bytes(), target.as_bytes()] {
        read.extend_from_slice(text);
        read.push(0);
    }
    // Neither names nor values can hold a zero.
    for (name, value) in headers {
        read.extend_from_slice(name);
        read.push(0);
        read.extend_from_slice(value);
        read.push(0);
    }
    Some(read)
}
