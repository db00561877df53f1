//! What happens to a request, step by step: accept → admit → dispatch → respond. Each step returns what the next one needs.
//!
//! [`answer`] is the way of a request that came over a connection. Calls inside of calls ([`part`]) join it later: an item of a
//! batch at `admit`, a part of an aggregate at `serve`.

pub mod part;
mod cached;

use std::pin::pin;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use gatehouse_shared::balance;
use gatehouse_shared::clock;
use gatehouse_shared::hop::VerifiedHop;
use gatehouse_shared::id::TraceContext;
use gatehouse_shared::live::Generation;
use http::header::{self, HeaderValue};
use http::request::Parts;
use http::{Request, Response, Version};
use http_body::Body;

use self::cached::{Looked, Way};
use crate::accept::body::Upload;
use crate::accept::caught::{caught, caught_now};
use crate::accept::connection::Connection;
use crate::accept::hop;
use crate::accept::http2::Arriving;
use crate::admit::api::Api;
use crate::admit::app;
use crate::admit::caller::Caller;
use crate::admit::flow_rule::{Facts, judge};
use crate::admit::permission;
use crate::admit::quota;
use crate::admit::route;
use crate::admit::traffic_group::{self, Who};
use crate::admit::validation::Called;
use crate::dispatch;
use crate::dispatch::aggregate;
use crate::dispatch::batch;
use crate::dispatch::plan::Plan;
use crate::dispatch::request::{self, Notes};
use crate::dispatch::service::Service;
use crate::dispatch::split::source::Seen;
use crate::dispatch::target::Target;
use crate::dispatch::upstream::ServiceRequest;
use crate::dispatch::wait::{noticing, until};
use crate::gateway::Gateway;
use crate::policy::Policy;
use crate::respond::body::Outgoing;
use crate::respond::cors;
use crate::respond::envelope::Envelope;
use crate::respond::failure::Failure;
use crate::respond::record::Record;
use crate::respond::shape::shape;
use crate::respond::shaping::{Shaping, Surroundings};
use crate::respond::template;
use crate::respond::timings;

/// Where a call is: the process, and the one generation of everything that counts for the whole of it.
#[derive(Debug, Clone)]
pub struct Site {
    /// The process.
    pub gateway: Arc<Gateway>,
    /// The generation.
    pub generation: Arc<Generation<Policy>>,
}

impl Site {
    /// What is compiled from the generation.
    #[must_use]
    pub fn policy(&self) -> &Policy {
        &self.generation.value
    }
}

/// A call on its way: what is left of the request, and how long it may take.
#[derive(Debug)]
pub struct Call {
    /// Its head.
    pub parts: Parts,
    /// Its body.
    pub upload: Upload,
    /// The authority that the client named.
    pub authority: Arc<str>,
    /// The end of every wait.
    pub deadline: Instant,
    /// The time, as it was read after the last wait: until the next one it is near enough.
    pub now: Instant,
    /// What the edge says of it, with the canonical path.
    pub hop: Arc<VerifiedHop>,
    /// Who the service is told calls, where that is not the caller: an answer that is kept for others must not be made for one.
    pub introduced: Option<Arc<Caller>>,
}

impl Call {
    /// The request, which is gone then: whoever needs any of it later keeps it before.
    fn take(&mut self) -> (Parts, Upload) {
        let (nothing, ()) = Request::new(()).into_parts();
        (std::mem::replace(&mut self.parts, nothing), std::mem::take(&mut self.upload))
    }
}

/// What is known of an item of a batch before it is admitted.
#[derive(Debug)]
struct AsItem {
    /// Who calls the batch.
    caller: Arc<Caller>,
    /// The API that the item names, where it names one.
    api: Option<Arc<str>>,
    /// How many items it stands for.
    times: u64,
}

/// Answers a request, whatever happens to it, and keeps its record.
#[expect(clippy::manual_async_fn, reason = "an async fn has its arguments twice, and it is copied to where it stays")]
pub fn answer(
    gateway: Arc<Gateway>,
    connection: Arc<Connection>,
    request: Request<Arriving>,
) -> impl Future<Output = Response<Outgoing>> {
    async move {
        let site = Site { generation: gateway.live.current(), gateway };
        let version = request.version();
        let (parts, body) = request.into_parts();
        let mut record = Record::begin(&site, &connection, &parts);
        let outcome = match caught_now(|| accept(&site, parts, body, &mut record)) {
            Ok(Ok(mut call)) => match caught(pin!(admit(&site, &mut call, None, &mut record))).await {
                Ok(outcome) => outcome,
                Err(panicked) => Err(panicked.into()),
            },
            Ok(Err(failure)) => Err(failure),
            Err(panicked) => Err(panicked.into()),
        };
        let mut answer = finish(outcome, record);
        if version != Version::HTTP_2 && site.gateway.shutdown.is_draining() {
            answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        answer
    }
}

/// Makes an answer of what became of a call, and lets it carry the record of the call.
fn finish(outcome: Result<Response<Outgoing>, Failure>, mut record: Box<Record>) -> Response<Outgoing> {
    let mut answer = match outcome {
        Ok(answer) => answer,
        Err(failure) => {
            let failure = failure.of(record.caller.as_deref());
            let envelope = record.api.as_ref().map_or_else(Envelope::default, |api| api.envelope);
            let answer = failure.answer(record.request_id().as_str(), envelope);
            record.failed(failure);
            answer
        }
    };
    if let Some(timings) = record.timings.take() {
        timings.add_to(answer.headers_mut(), &record);
    }
    if let Some(fields) = record.quota.fields.take() {
        fields.add_to(answer.headers_mut());
    }
    record.shape.add_to(answer.headers_mut());
    if record.is_head() {
        leave_body_out(&mut answer);
    }
    record.answered(answer.status());
    answer.body_mut().carry(record);
    answer
}

/// The answer to a `HEAD` says how long a body would be, and has none: over HTTP/2 nobody else takes it away.
fn leave_body_out(answer: &mut Response<Outgoing>) {
    if answer.body().is_end_stream() {
        return;
    }
    let length = answer.body().size_hint().exact();
    *answer.body_mut() = Outgoing::own(Bytes::new());
    if let Some(length) = length {
        answer.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    }
}

/// It came through the edge, and its body is bounded.
fn accept(site: &Site, parts: Parts, body: Arriving, record: &mut Record) -> Result<Call, Failure> {
    let policy = site.policy();
    let authority = hop::authority(&parts);
    let hop = match hop::check(&policy.hop, &parts, authority, record.unix_ms()) {
        Ok(hop) => Arc::new(hop),
        Err(refusal) => {
            record.is_stray(parts.uri.path());
            return Err(refusal.into());
        }
    };
    record.hop = Some(Arc::clone(&hop));
    let authority = authority.into();
    let deadline = record.began + hop.left;
    let upload = Upload::new(body, parts.version, &policy.accept.body)?;
    record.upload = upload.progress();
    Ok(Call { parts, upload, authority, deadline, now: record.began, hop, introduced: None })
}

/// It calls an API that its caller may call, who has calls left. Of an item of a batch it is known already who calls.
async fn admit(
    site: &Site,
    call: &mut Call,
    item: Option<AsItem>,
    record: &mut Record,
) -> Result<Response<Outgoing>, Failure> {
    let (gateway, policy) = (&*site.gateway, site.policy());
    let (hop, authority) = (Arc::clone(&call.hop), Arc::clone(&call.authority));
    let unix_ms = record.unix_ms();
    let mut has_waited = hop.held;

    // A browser asks whether a page may call one.
    let is_whole = item.is_none();
    if is_whole
        && let Some(method) = cors::asked_method(&call.parts)
        && let Some(api) = route::search::by_method(site, call, &method, record)
        && let Some(answer) = record.shape.preflight(&api, &method, &call.parts, &gateway.metrics.shape)
    {
        record.api = Some(api);
        return answer;
    }

    // It calls an API.
    let api = noticing(pin!(route::search::find(site, call, record)), &mut has_waited).await?;
    record.api = Some(Arc::clone(&api));
    if is_whole {
        record.shape.judge(&api, &call.parts, &gateway.metrics.shape);
    }
    if hop.held {
        until(call.deadline, call.upload.wait_for_first_piece()).await??;
    }

    // Somebody calls it who can prove it.
    let times = item.as_ref().map_or(1, |item| item.times);
    let caller = match item {
        Some(item) => app::of_item(&api, item.caller, item.api.as_deref())?,
        None if !api.credentials.looks_at_any() => Arc::new(Caller::anonymous()),
        None => {
            let gate = app::Gate {
                apps: &gateway.apps,
                identity: &gateway.identity,
                rules: &policy.credentials,
                issuers: &policy.issuers,
            };
            let mut call = app::Call {
                api: &api,
                hop: &hop,
                authority: &authority,
                parts: &mut call.parts,
                upload: &mut call.upload,
                deadline: call.deadline,
                now: record.began,
                now_s: unix_ms / 1000,
            };
            Arc::new(noticing(pin!(app::authenticate(&gate, &mut call)), &mut has_waited).await?)
        }
    };
    record.caller = Some(Arc::clone(&caller));
    timings::begin(policy.timings_package.as_deref(), api.upstream.timings, &mut call.parts, record);

    // Its caller may call it, and operators have nothing against it.
    let parts = &mut call.parts;
    let (quotas, limits) = (&gateway.quotas, &policy.catalog.limits);
    let usage = quota::Usage::of(quotas, limits, &policy.quota, &api, &caller, hop.client.ip());
    let facts = Facts::of(&api, &caller, &hop, &authority, unix_ms).with_counters(&usage);
    permission::check(&api.permission, &policy.catalog.packages, &caller, &facts, parts)?;
    judge::request(&api.flow_rules, &facts, parts, &mut record.flow)?;
    let kept = api.flow_rules.keep(parts);
    record.step("rules");

    // It is as its API declares.
    if let Some(validation) = &api.validation {
        let called = Called {
            api: &api.name,
            path: &hop.path,
            parts,
            upload: &mut call.upload,
            deadline: call.deadline,
            room: &gateway.identity.room,
            room_max: policy.credentials.held_max,
        };
        let check = validation.check(called, &gateway.metrics.validation, &mut record.validation);
        noticing(Box::pin(check).as_mut(), &mut has_waited).await?;
        record.step("validation");
    }

    // It has calls left.
    call.now = if has_waited { clock::now() } else { call.now };
    {
        let subject = quota::Subject::of(&api, Some(&caller), &facts, parts);
        let charges = limits.charged_by_rules(&record.flow.charges);
        let turn = quota::Turn { times, now: call.now };
        let charged = record.quota.charge(quotas, &policy.quota, &api.limits, &charges, &subject, turn);
        has_waited = false;
        noticing(pin!(charged), &mut has_waited).await?;
    }
    call.now = if has_waited { clock::now() } else { call.now };
    record.step("quota");

    // Somebody answers it.
    let mut answer = pin!(serve(site, &api, &caller, call, record)).await?;
    if let Some(kept) = kept {
        judge::answer(&api.flow_rules, &facts, &kept, &mut answer, &mut record.flow);
    }
    if is_whole {
        answer = record.shape.compress(&api, answer, &gateway.metrics.shape);
    }
    Ok(answer)
}

/// A call that was admitted is answered, in the shape in which its caller may see it.
async fn serve(
    site: &Site,
    api: &Arc<Api>,
    caller: &Arc<Caller>,
    call: &mut Call,
    record: &mut Record,
) -> Result<Response<Outgoing>, Failure> {
    match &api.shaping {
        None => pin!(target(site, api, caller, call, record)).await,
        Some(shaping) => Box::pin(shaped(site, api, shaping, caller, call, record)).await,
    }
}

/// The same of an API that says something of the shape of its answers.
async fn shaped(
    site: &Site,
    api: &Arc<Api>,
    shaping: &Shaping,
    caller: &Arc<Caller>,
    call: &mut Call,
    record: &mut Record,
) -> Result<Response<Outgoing>, Failure> {
    let (settings, metrics) = (&site.policy().shape, &site.gateway.metrics.shape);
    let room = &site.gateway.shape_room;
    let surroundings = Surroundings { settings, metrics, room, api, caller, deadline: call.deadline };
    let facts = template::Facts { api, caller, hop: &call.hop, parts: &call.parts, unix_ms: record.unix_ms() };
    let inputs = shaping.inputs(facts);
    shaping.ask(&mut call.parts);
    let mut has_waited = false;
    noticing(pin!(shaping.request(call, &inputs, surroundings)), &mut has_waited).await?;
    call.now = if has_waited { clock::now() } else { call.now };
    let outcome = pin!(target(site, api, caller, call, record)).await;
    let answer = match outcome {
        Ok(answer) => answer,
        Err(failure) => {
            let default = shaping.default_for(&failure, &inputs, surroundings, &mut record.shape);
            let Some(default) = default else { return Err(failure) };
            record.failed(failure);
            return default;
        }
    };
    shaping.shape(answer, &inputs, surroundings, &mut record.shape).await
}

/// Whoever the API names answers it.
async fn target(
    site: &Site,
    api: &Arc<Api>,
    caller: &Arc<Caller>,
    call: &mut Call,
    record: &mut Record,
) -> Result<Response<Outgoing>, Failure> {
    match &api.target {
        Target::Service(service) => match cached::look(Way { site, api, service, caller }, call, record) {
            Looked::Off => pin!(forward(site, api, service, caller, call, record)).await,
            Looked::Given(answer) => Ok(*answer),
            Looked::Ask(visit) => Box::pin(visit.ask(Way { site, api, service, caller }, call, record)).await,
        },
        Target::Static(fixed) => {
            let facts = template::Facts { api, caller, hop: &call.hop, parts: &call.parts, unix_ms: record.unix_ms() };
            fixed.answer(&template::Inputs::of(facts, fixed.wants()), caller.auth())
        }
        Target::Aggregate(aggregate) => {
            let (parts, upload) = call.take();
            let authority = Arc::clone(&call.authority);
            let asked = aggregate::run::Asked { api, parts, upload, authority, deadline: call.deadline };
            Box::pin(aggregate::run::run(aggregate, site, asked, record)).await
        }
        Target::Batch(batch) => Box::pin(batch::answer(site, batch, api, call, record)).await,
    }
}

/// A service answers it, when its turn has come.
async fn forward(
    site: &Site,
    api: &Api,
    service: &Arc<Service>,
    caller: &Caller,
    call: &mut Call,
    record: &mut Record,
) -> Result<Response<Outgoing>, Failure> {
    let mut upload = std::mem::take(&mut call.upload);
    let Call { parts, authority, deadline, now, hop, introduced, .. } = call;
    let (deadline, now) = (*deadline, *now);

    // dispatch: which service answers it.
    let request_id = hop.request_id;
    let seen = Seen { caller, client: hop.client.ip(), request_id: request_id.as_str(), parts };
    let service = record.split.choose(api.split.as_ref(), service, &seen, &mut record.flow);

    // A service that is out of order has no turns to wait for.
    if let Err(open) = service.check_breaker(record.began) {
        record.split.answered::<Outgoing>(&Err(open.into()));
        return Err(open.into());
    }

    // admit: its turn has come.
    let who = Who { caller: Some(caller), client: hop.client.ip() };
    let turn = traffic_group::enter(&site.gateway, &api.traffic, who, deadline, now, &mut record.traffic).await?;
    let began = turn.unwrap_or(now);

    // dispatch: the service answers it.
    let trace = record.trace.unwrap_or_else(|| TraceContext::start(&hop.request_id));
    let traceparent = trace.to_header();
    let notes = Notes {
        authority,
        hop,
        caller: introduced.as_deref().unwrap_or(caller),
        path_to_service: api.path_to_service,
        rewrite: api.rewrite.as_deref(),
        traceparent: traceparent.as_str(),
    };
    if let Some(mirror) = &api.mirror {
        let (identity, most) = (&site.gateway.identity, site.policy().credentials.held_max);
        mirror.copy(&site.gateway.metrics.mirrors, parts, &mut upload, &notes, || identity.room.enter(most));
    }
    let head = request::head(parts, &notes, service.protocol, upload.length(), record.split.send())?;
    let request = ServiceRequest { head, body: upload };
    let of_balance = balance::Call { client: hop.client.ip(), authority };
    let plan = Plan::new(service, api.timeout, of_balance, began, deadline).trying_for(api.upstream.try_timeout);
    let answer = pin!(dispatch::run(&plan, request, &mut record.dispatch)).await;
    record.split.answered(&answer);
    let answer = answer?;
    record.traffic.answered(&api.traffic, record.upload.as_deref(), began + record.dispatch.waited);

    // respond: with what the edge may see of it.
    let mut answer = shape(answer, site.policy().body_idle, caller.auth());
    record.split.name(answer.headers_mut());
    Ok(answer)
}
