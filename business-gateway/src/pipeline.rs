//! What happens to a request, step by step: accept → admit → dispatch → respond. Each step returns what the next one needs.

use std::io;
use std::pin::pin;
use std::sync::Arc;

use gatehouse_shared::audit::AuditLog;
use gatehouse_shared::balance::Call;
use gatehouse_shared::clock::{self, Clock};
use gatehouse_shared::id::TraceContext;
use gatehouse_shared::live::Live;
use gatehouse_shared::shutdown::{InFlight, Shutdown};
use gatehouse_shared::telemetry::access_log::LineWriter;
use gatehouse_shared::telemetry::metrics::MetricError;
use gatehouse_store::quota::Accounts;
use gatehouse_store::{Fleet, Redis, Settings};
use http::header::{self, HeaderValue};
use http::{Request, Response, Version};
use hyper::body::Incoming;

use crate::accept::body::Upload;
use crate::accept::caught::caught;
use crate::accept::connection::Connection;
use crate::accept::hop;
use crate::admit::app::{self, Identity};
use crate::admit::flow_rule::{Facts, judge};
use crate::admit::quota::{self, Quotas};
use crate::admit::traffic_group::shed::Keeper;
use crate::admit::traffic_group::{self, Who};
use crate::admit::{api, permission};
use crate::dispatch;
use crate::dispatch::plan::Plan;
use crate::dispatch::request::{Notes, rewrite};
use crate::dispatch::wait::until;
use crate::metrics::{ApiMetrics, Metrics};
use crate::policy::Policy;
use crate::respond::body::Outgoing;
use crate::respond::envelope::Envelope;
use crate::respond::failure::Failure;
use crate::respond::record::Record;
use crate::respond::shape::shape;
use crate::store::apps::Apps;
use crate::store::revision::follow::Revisions;

/// What all requests of the process share.
pub struct Gateway {
    /// The name of this node in logs.
    pub node: String,
    /// The current generation of configuration and catalog.
    pub live: Arc<Live<Policy>>,
    /// The access log.
    pub log: LineWriter,
    /// What is counted.
    pub metrics: Metrics,
    /// Where requests without an API are counted.
    pub without_api: ApiMetrics,
    /// The store of the fleet; none where every node works from its own files.
    pub store: Option<Arc<Redis>>,
    /// All applications.
    pub apps: Arc<Apps>,
    /// The nodes that share it.
    pub fleet: Arc<Fleet>,
    /// The catalog of this node: where it comes from, and how it changes.
    pub revisions: Arc<Revisions>,
    /// What the process keeps of who calls.
    pub identity: Arc<Identity>,
    /// What is left of quotas.
    pub quotas: Arc<Quotas>,
    /// The traffic groups that are shut off.
    pub sheds: Keeper,
    /// What operators change is written down here before they hear that it is done.
    pub audit: AuditLog,
    /// The phase of the process.
    pub shutdown: Shutdown,
    /// Requests under way.
    pub in_flight: InFlight,
}

impl std::fmt::Debug for Gateway {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Gateway").field("node", &self.node).finish_non_exhaustive()
    }
}

impl Gateway {
    /// What all requests share, at the start of a process.
    ///
    /// # Errors
    /// As [`StartError`] says.
    pub fn new(
        node: String,
        live: Arc<Live<Policy>>,
        metrics: Metrics,
        log: LineWriter,
    ) -> Result<Arc<Self>, StartError> {
        let in_flight = InFlight::new();
        let policy = live.current();
        let store = match &policy.value.store {
            Settings::File => None,
            Settings::Redis(settings) => Some(Arc::new(Redis::new(settings).map_err(StartError::Store)?)),
        };
        let fleet = Arc::new(Fleet::new(store.clone(), &node));
        let state_dir = &policy.value.process.state_dir;
        std::fs::create_dir_all(state_dir).map_err(StartError::Audit)?;
        let audit = AuditLog::open(state_dir, &node).map_err(StartError::Audit)?;
        let accounts = match &store {
            Some(redis) => Accounts::in_redis(Arc::clone(redis), &node),
            None => Accounts::in_memory(&node, Clock::System),
        };
        let quotas = Quotas::new(accounts, Arc::clone(&fleet), Clock::System);
        let apps = Arc::new(Apps::open(Arc::clone(&live), store.as_ref()).map_err(StartError::Apps)?);
        let identity = Arc::new(Identity::new(store.clone()));
        let sheds = Keeper::open(store.clone(), state_dir, &node).map_err(StartError::Sheds)?;
        metrics.watch(&live, &log, &in_flight, &fleet)?;
        metrics.watch_apps(&apps)?;
        metrics.watch_credentials(&identity, &live)?;
        metrics.watch_quotas(&live, &quotas)?;
        let without_api = metrics.of_api("");
        let shutdown = Shutdown::new();
        let revisions = Revisions::new(Arc::clone(&live), node.clone(), store.clone(), metrics.catalog.clone());
        Ok(Arc::new(Self {
            revisions,
            node,
            live,
            log,
            metrics,
            without_api,
            store,
            apps,
            fleet,
            identity,
            quotas,
            sheds,
            audit,
            shutdown,
            in_flight,
        }))
    }

    /// Whether new requests should come here: the configuration is loaded (or the process would not be there) and the process
    /// is not draining. Services, the edge and stores have no say.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        !self.shutdown.is_draining()
    }
}

/// Why a process does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Two metrics have the same name, which is a mistake in the code.
    #[error("no metrics")]
    Metrics(#[from] MetricError),
    /// The addresses or certificates of the store cannot be used.
    #[error("no store: {0}")]
    Store(String),
    /// What is kept of groups that are shut off cannot be read.
    #[error("no list of groups that are shut off")]
    Sheds(#[source] io::Error),
    /// The audit log cannot be opened.
    #[error("no audit log")]
    Audit(#[source] io::Error),
    /// The applications of this node, or its keys, cannot be read.
    #[error("no applications")]
    Apps(#[source] io::Error),
}

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
