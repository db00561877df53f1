//! Pingora's hooks in the order in which a request meets them; each calls a step and nothing else. Those that wait for nothing are
//! written out (`step`).

use std::{any::Any, os::fd::RawFd, sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use gatehouse_shared::{clock, id::TraceContext, problem};
use http::{HeaderMap, HeaderName, Version};
use pingora::{
    BError, Error, Result,
    cache::{CacheKey, RespCacheable},
    http::{RequestHeader, ResponseHeader},
    modules::http::HttpModules,
    protocols::Digest,
    proxy::{FailToProxy, ProxyHttp, ProxyWarnLogContext, Session},
    upstreams::peer::HttpPeer,
};

use crate::{
    accept::Arrival,
    admit::{Denial, RequestView},
    answer::{
        self,
        cache::{self, Cache},
    },
    balance,
    context::Context,
    forward::{self, exchange, request::TRACEPARENT, response::Unchunk},
    observe::Observer,
    server::drain::Leaving,
    step::{self, Step},
};

/// The edge as Pingora sees it.
pub struct Gateway {
    observer: Arc<Observer>,
    leaving: Leaving,
    cache: Arc<Cache>,
    modules_of_http_1_0: HttpModules,
}

impl Gateway {
    /// A gateway that reports to `observer`, asks clients to leave once that has begun, and keeps answers in `cache`.
    #[must_use]
    pub fn new(observer: Arc<Observer>, leaving: Leaving, cache: Arc<Cache>) -> Self {
        let mut modules_of_http_1_0 = HttpModules::new();
        modules_of_http_1_0.add_module(Box::new(Unchunk));
        Self { observer, leaving, cache, modules_of_http_1_0 }
    }
}

#[async_trait]
impl ProxyHttp for Gateway {
    /// Boxed, because Pingora moves it from future to future.
    type CTX = Box<Context>;

    fn new_ctx(&self) -> Self::CTX {
        Box::new(Context::new(&self.observer))
    }

    /// None: the compression module of the default costs every request an allocation.
    fn init_downstream_modules(&self, _modules: &mut HttpModules) {}

    /// HTTP/1: [`crate::accept`] hands over the arrival here.
    fn on_connection_reuse(
        &self,
        _session: &mut Session,
        context: &mut Self::CTX,
        arrival: Box<dyn Any + Send + Sync>,
    ) {
        if let Ok(arrival) = arrival.downcast::<Arrival>() {
            context.arrive(arrival);
        }
    }

    /// HTTP/2: the arrival comes with the stream.
    fn early_request_filter<'g, 's, 'c, 'f>(&'g self, session: &'s mut Session, context: &'c mut Self::CTX) -> Step<'f>
    where
        'g: 'f,
        's: 'f,
        'c: 'f,
        Self: 'f,
    {
        if context.arrival.is_none()
            && let Some(arrival) = Arrival::of_http2(session)
        {
            context.arrive(arrival);
        }
        step::over(Ok(()))
    }

    /// Who is it, may it pass, where does it go. True: answered here.
    async fn request_filter(&self, session: &mut Session, context: &mut Self::CTX) -> Result<bool> {
        if self.leaving.has_begun() {
            session.set_keepalive(None);
        }
        if session.req_header().version == Version::HTTP_10 {
            session.downstream_modules_ctx = self.modules_of_http_1_0.build_ctx();
        }
        let denial = match self.begin(session, context) {
            Ok(()) => {
                context.wait().await;
                context.begin_waiting();
                if context.awaits_continue() {
                    session.as_mut().write_continue_response().await?;
                    context.continued();
                }
                match forward::collect::collect(session, context).await? {
                    Ok(()) => return Ok(false),
                    Err(denial) => denial,
                }
            }
            Err(denial) => denial,
        };
        answer::deny(session, context, denial).await?;
        Ok(true)
    }

    /// Holds a body back until the rules have seen it, and notes its end; and the bound on HTTP/2 bodies that state no length
    /// (those of HTTP/1 are bounded by the wire).
    fn request_body_filter<'g, 's, 'b, 'c, 'f>(
        &'g self,
        session: &'s mut Session,
        body: &'b mut Option<Bytes>,
        is_end: bool,
        context: &'c mut Self::CTX,
    ) -> Step<'f>
    where
        'g: 'f,
        's: 'f,
        'b: 'f,
        'c: 'f,
        Self: 'f,
    {
        let is_end = is_end || body.is_none();
        let bounded = forward::request::bound(context, session, is_end);
        if bounded.is_err() || context.inspection.is_none() {
            return step::over(bounded.map(|()| forward::request::hand_on(context, body, is_end)));
        }
        Box::pin(async move {
            forward::request::hold(context, body, is_end).await?;
            forward::request::hand_on(context, body, is_end);
            Ok(())
        })
    }

    /// Whatever is not answered before is asked of tier two: here, or (true) by Pingora.
    fn proxy_upstream_filter<'g, 's, 'c, 'f>(
        &'g self,
        session: &'s mut Session,
        context: &'c mut Self::CTX,
    ) -> Step<'f, Result<bool>>
    where
        'g: 'f,
        's: 'f,
        'c: 'f,
        Self: 'f,
    {
        if !exchange::is_for(session, context) {
            return step::yes();
        }
        Box::pin(async move { exchange::exchange(&self.leaving, session, context).await.map(|()| false) })
    }

    fn request_cache_filter(&self, session: &mut Session, context: &mut Self::CTX) -> Result<()> {
        self.cache.consider(session, context);
        Ok(())
    }

    fn cache_key_callback(&self, session: &Session, context: &mut Self::CTX) -> Result<CacheKey> {
        cache::key(session, context)
    }

    fn response_cache_filter(
        &self,
        _session: &Session,
        head: &ResponseHeader,
        context: &mut Self::CTX,
    ) -> Result<RespCacheable> {
        Ok(self.cache.judge(head, context))
    }

    fn should_serve_stale(&self, session: &mut Session, _context: &mut Self::CTX, error: Option<&Error>) -> bool {
        cache::serves_stale(session, error)
    }

    /// What [`Self::upstream_response_filter`] does for answers from tier two, for those from memory.
    fn response_filter<'g, 's, 'h, 'c, 'f>(
        &'g self,
        session: &'s mut Session,
        head: &'h mut ResponseHeader,
        context: &'c mut Self::CTX,
    ) -> Step<'f>
    where
        'g: 'f,
        's: 'f,
        'h: 'f,
        'c: 'f,
        Self: 'f,
    {
        if !cache::is_hit(session) {
            return step::over(Ok(()));
        }
        let version = session.req_header().version;
        if self.leaving.has_begun() || forward::response::ends_with_connection(version, &head.headers) {
            session.set_keepalive(None);
        }
        step::over(forward::response::from_memory(context, head))
    }

    async fn upstream_peer(&self, _session: &mut Session, context: &mut Self::CTX) -> Result<Box<HttpPeer>> {
        balance::choose(context).await
    }

    fn connected_to_upstream<'g, 's, 'p, 'd, 'c, 'f>(
        &'g self,
        _session: &'s mut Session,
        reused: bool,
        _peer: &'p HttpPeer,
        _fd: RawFd,
        _digest: Option<&'d Digest>,
        context: &'c mut Self::CTX,
    ) -> Step<'f>
    where
        'g: 'f,
        's: 'f,
        'p: 'f,
        'd: 'f,
        'c: 'f,
        Self: 'f,
    {
        context.attempt.connected(reused);
        step::over(Ok(()))
    }

    fn fail_to_connect(
        &self,
        _session: &mut Session,
        _peer: &HttpPeer,
        context: &mut Self::CTX,
        error: BError,
    ) -> BError {
        forward::retry::connect_failed(context, error)
    }

    fn upstream_request_filter<'g, 's, 'h, 'c, 'f>(
        &'g self,
        _session: &'s mut Session,
        head: &'h mut RequestHeader,
        context: &'c mut Self::CTX,
    ) -> Step<'f>
    where
        'g: 'f,
        's: 'f,
        'h: 'f,
        'c: 'f,
        Self: 'f,
    {
        step::over(forward::request::prepare(context, head))
    }

    fn upstream_response_filter<'g, 's, 'h, 'c, 'f>(
        &'g self,
        session: &'s mut Session,
        head: &'h mut ResponseHeader,
        context: &'c mut Self::CTX,
    ) -> Step<'f>
    where
        'g: 'f,
        's: 'f,
        'h: 'f,
        'c: 'f,
        Self: 'f,
    {
        step::over(forward::response::receive(&self.leaving, session, context, head))
    }

    /// Shows the answer to the rules, where they look at answers.
    fn response_body_filter(
        &self,
        session: &mut Session,
        body: &mut Option<Bytes>,
        is_end: bool,
        context: &mut Self::CTX,
    ) -> Result<Option<Duration>> {
        // They have seen what is kept when it came.
        if cache::is_hit(session) {
            return Ok(None);
        }
        forward::response::see(context, body.as_ref(), is_end)?;
        Ok(None)
    }

    fn upstream_response_trailer_filter(
        &self,
        _session: &mut Session,
        trailers: &mut HeaderMap,
        _context: &mut Self::CTX,
    ) -> Result<()> {
        forward::response::receive_trailers(trailers);
        Ok(())
    }

    fn error_while_proxy(
        &self,
        _peer: &HttpPeer,
        session: &mut Session,
        error: BError,
        context: &mut Self::CTX,
        _client_reused: bool,
    ) -> BError {
        forward::retry::broke_off(context, session, error)
    }

    async fn fail_to_proxy(&self, session: &mut Session, error: &Error, context: &mut Self::CTX) -> FailToProxy {
        forward::failure::render(context, session, error).await
    }

    fn logging<'g, 's, 'e, 'c, 'f>(
        &'g self,
        session: &'s mut Session,
        _error: Option<&'e Error>,
        context: &'c mut Self::CTX,
    ) -> Step<'f, ()>
    where
        'g: 'f,
        's: 'f,
        'e: 'f,
        'c: 'f,
        Self: 'f,
    {
        context.record(Some(session));
        step::done()
    }

    /// The access log says it, once for each request.
    fn suppress_error_log(&self, _session: &Session, _context: &Self::CTX, _error: &Error) -> bool {
        true
    }

    /// Retries are counted and named in the access log.
    fn suppress_proxy_warn_log(
        &self,
        _session: &Session,
        _context: &Self::CTX,
        _error: &Error,
        _place: ProxyWarnLogContext,
    ) -> bool {
        true
    }
}

impl Gateway {
    /// The steps before anything is sent, in order.
    fn begin(&self, session: &Session, context: &mut Context) -> Result<(), Denial> {
        let headers = &session.req_header().headers;
        context.now = clock::now();
        context.trace = parent_of(headers).and_then(|value| TraceContext::continue_from(value).ok());
        let Some(arrival) = context.arrival.as_deref() else {
            return Err(Denial::from(&problem::INTERNAL_ERROR));
        };
        let (policy, message) = (&arrival.policy.value, &arrival.message);
        context.client = arrival.client(headers);
        context.route = policy.routes.find(message.host(), message.canonical_path()).cloned();
        let (client, route) = (context.client, context.route.as_deref());
        let view = RequestView::new(message, headers, &arrival.connection, client, route, context.started_unix_ms);
        let admitted = policy.admission.check(&view, context.now, self.observer.metrics().verdicts());
        let (inspection, judged) = policy.admission.inspect(&view, &admitted, &context.request_id);
        context.inspection = inspection;
        context.receipt = view.take_receipt();
        context.outcome.observed = view.into_observed();
        context.admitted = admitted?;
        judged
    }
}

/// What a client says of the trace that it has begun, if it does so exactly once. To hash a name and look for it costs more
/// than to look at all names, of which few are as long as this one.
fn parent_of(headers: &HeaderMap) -> Option<&[u8]> {
    let is_parent = |name: &HeaderName| name.as_str().len() == TRACEPARENT.as_str().len() && *name == TRACEPARENT;
    let mut values = headers.iter().filter(|(name, _)| is_parent(name));
    let (_, first) = values.next()?;
    values.next().is_none().then(|| first.as_bytes())
}
