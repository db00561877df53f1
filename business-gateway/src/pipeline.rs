//! What happens to a request, step by step: accept → admit → dispatch → respond. Each step returns what the next one needs.

use std::pin::pin;
use std::sync::Arc;

use gatehouse_shared::balance::Call;
use gatehouse_shared::clock;
use gatehouse_shared::id::TraceContext;
use http::header::{self, HeaderValue};
use http::{Request, Response, Version};
use hyper::body::Incoming;

use crate::accept::body::Upload;
use crate::accept::caught::caught;
use crate::accept::connection::Connection;
use crate::accept::hop;
use crate::admit::app;
use crate::admit::flow_rule::{Facts, judge};
use crate::admit::quota;
use crate::admit::traffic_group::{self, Who};
use crate::admit::{api, permission};
use crate::dispatch;
use crate::dispatch::plan::Plan;
use crate::dispatch::request::{Notes, rewrite};
use crate::dispatch::wait::until;
use crate::gateway::Gateway;
use crate::policy::Policy;
use crate::respond::body::Outgoing;
use crate::respond::envelope::Envelope;
use crate::respond::failure::Failure;
use crate::respond::record::Record;
use crate::respond::shape::shape;

/// Answers a request, whatever happens to it, and keeps its record.
pub async fn answer(
    gateway: Arc<Gateway>,
    connection: Arc<Connection>,
    request: Request<Incoming>,
) -> Response<Outgoing> {
    let generation = gateway.live.current();
    let (parts, body) = request.into_parts();
    let version = parts.version;
    let mut record = Record::begin(&gateway, &connection, &parts, &generation);
    let request = Request::from_parts(parts, body);
    let outcome = match caught(pin!(run(&gateway, &generation.value, request, &mut record))).await {
        Ok(outcome) => outcome,
        Err(panicked) => Err(panicked.into()),
    };
    let mut answer = match outcome {
        Ok(answer) => answer,
        Err(failure) => {
            let failure = failure.of(record.caller.as_ref());
            let envelope = record.api.as_ref().map_or_else(Envelope::default, |api| api.envelope);
            let answer = failure.answer(record.request_id().as_str(), envelope);
            record.failed(failure);
            answer
        }
    };
    if version != Version::HTTP_2 && gateway.shutdown.is_draining() {
        answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    if let Some(fields) = record.quota.fields.take() {
        fields.add_to(answer.headers_mut());
    }
    record.answered(answer.status());
    answer.body_mut().carry(record);
    answer
}

/// The life of a request in this tier. One generation of everything for the whole of it.
async fn run(
    gateway: &Gateway,
    policy: &Policy,
    request: Request<Incoming>,
    record: &mut Record,
) -> Result<Response<Outgoing>, Failure> {
    let (mut parts, body) = request.into_parts();

    // accept: it came through the edge, and its body is bounded.
    let unix_ms = record.unix_ms();
    let hop = match hop::check(&policy.hop, &parts, unix_ms) {
        Ok(hop) => hop,
        Err(refusal) => {
            record.is_stray(parts.uri.path());
            return Err(refusal.into());
        }
    };
    let authority = hop::authority(&parts).to_owned();
    let deadline = record.began + hop.left;
    let now_s = record.unix_ms() / 1000;
    let hop = &*record.hop.insert(hop);
    let mut upload = Upload::new(body, parts.version, &policy.accept.body)?;
    record.upload = upload.progress();

    // admit: it calls an API.
    let api = Arc::clone(api::find(&policy.catalog, &authority, &hop.path, &parts.method)?);
    record.api = Some(Arc::clone(&api));
    if hop.held {
        until(deadline, upload.wait_for_first_piece()).await??;
    }

    // admit: somebody calls it who can prove it.
    let gate = app::Gate {
        apps: &gateway.apps,
        identity: &gateway.identity,
        rules: &policy.credentials,
        issuers: &policy.issuers,
    };
    let mut call = app::Call {
        api: &api,
        hop,
        authority: &authority,
        parts: &mut parts,
        upload: &mut upload,
        deadline,
        now: record.began,
        now_s,
    };
    let caller = Box::pin(app::authenticate(&gate, &mut call)).await?;
    let caller = &*record.caller.insert(caller);

    // admit: its caller may call it, and operators have nothing against it.
    let (quotas, limits) = (&gateway.quotas, &policy.catalog.limits);
    let usage = quota::Usage::of(quotas, limits, &policy.quota, &api, caller, hop.client.ip());
    let facts = Facts::of(&api, caller, hop, &authority, unix_ms).with_counters(&usage);
    permission::check(&api.permission, &policy.catalog.packages, caller, &facts, &parts)?;
    judge::request(&api.flow_rules, &facts, &mut parts, &mut record.flow)?;
    let kept = api.flow_rules.keep(&parts);

    // admit: it has calls left.
    let subject = quota::Subject::of(&api, Some(caller), &facts, &parts);
    let charges = limits.charged_by_rules(&record.flow.charges);
    record.quota.charge(quotas, &policy.quota, &api.limits, &charges, &subject).await?;

    // admit: its turn has come.
    let who = Who { caller: Some(caller), client: hop.client.ip() };
    let turn = traffic_group::enter(gateway, &api.traffic, who, deadline, &mut record.traffic).await?;
    let began = turn.unwrap_or_else(|| if hop.held { clock::now() } else { record.began });

    // dispatch: a service answers it.
    let trace = record.trace.unwrap_or_else(|| TraceContext::start(&hop.request_id));
    let traceparent = trace.to_header();
    let notes = Notes {
        authority: &authority,
        hop,
        caller,
        path_to_service: api.path_to_service,
        traceparent: traceparent.as_str(),
    };
    rewrite(&mut parts, &notes, api.service.protocol, upload.length())?;
    let request = Request::from_parts(parts, upload);
    let call = Call { client: hop.client.ip(), authority: &authority };
    let answer = dispatch::run(Plan::new(&api, call, began, deadline), request, &mut record.dispatch).await?;
    record.traffic.answered(&api.traffic, record.upload.as_deref(), began + record.dispatch.waited);

    // respond: with what the edge may see of it.
    let mut answer = shape(answer, policy.body_idle, caller.auth());
    if let Some(kept) = kept {
        judge::answer(&api.flow_rules, &facts, &kept, &mut answer, &mut record.flow);
    }
    Ok(answer)
}
