//! The order in which lists are asked, as a stage of admission and for connections.

use std::borrow::Cow;
use std::net::IpAddr;
use std::time::Instant;

use http::{Method, header};

use super::finding::{Finding, Judgement, Kind};
use super::rules::Access;
use crate::admit::{Denial, Mode, RequestView, Stage, Verdict};

/// What is judged of a request.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// Who sent it.
    pub client: IpAddr,
    /// The host, in lower case and without port.
    pub host: &'a str,
    /// The method.
    pub method: &'a Method,
    /// The canonical path.
    pub path: &'a str,
    /// The query as it was sent, without its `?`.
    pub query: Option<&'a str>,
    /// The user agent; `None` is judged like an empty one.
    pub user_agent: Option<&'a [u8]>,
}

impl<'a> Request<'a> {
    fn of(request: &RequestView<'a>) -> Self {
        Self {
            client: request.client(),
            host: request.host(),
            method: request.method(),
            path: request.path(),
            query: request.query(),
            user_agent: request.header(header::USER_AGENT.as_str()),
        }
    }

    /// Canonical path and query as it was sent.
    fn url(&self) -> Cow<'a, str> {
        match self.query {
            None => Cow::Borrowed(self.path),
            Some(query) => Cow::Owned([self.path, "?", query].concat()),
        }
    }

    /// The refusal for what was found.
    fn denial(&self, finding: &Finding<'_>) -> Denial {
        match finding.kind {
            Kind::Network => finding.denial(self.client.to_string().as_bytes()),
            Kind::Host => finding.denial(self.host.as_bytes()),
            Kind::Method => finding.denial(self.method.as_str().as_bytes()),
            Kind::UserAgent => finding.denial(self.user_agent.unwrap_or_default()),
            Kind::Url => finding.denial(self.url().as_bytes()),
        }
    }
}

impl Access {
    /// Judges a request at `now`, in Unix seconds: its client first, then host, method, user agent and URL. What lists that
    /// only observe would turn away is shown to `observe`.
    pub fn judge<'s>(&'s self, request: &Request<'_>, now: u64, mut observe: impl FnMut(Finding<'s>)) -> Judgement<'s> {
        if let Some(finding) = self.allowed(request.client, now) {
            return Judgement::Allowed(finding);
        }
        if let Some(finding) = self.denied(request, now, &mut observe) {
            return Judgement::Denied(finding);
        }
        if self.denied_urls.is_empty() && self.allowed_urls.is_empty() {
            return Judgement::Pass;
        }
        let url = request.url();
        if let Some(finding) = self.denied_urls.find(url.as_bytes(), &mut observe) {
            return Judgement::Denied(finding);
        }
        self.allowed_urls.find(url.as_bytes(), &mut observe).map_or(Judgement::Pass, Judgement::SkipWaf)
    }

    /// Why a connection of this client is closed before anything is read, at `unix_ms`; `None` where it is not. Only
    /// enforced lists count, and not those that are to be answered with a page or a redirect.
    #[must_use]
    pub fn refuses_connection(&self, client: IpAddr, unix_ms: u64) -> Option<Denial> {
        let now = unix_ms / 1_000;
        let enforced = self.deny.iter().filter(|list| list.terms.mode == Mode::Enforce);
        let finding = enforced.filter_map(|list| list.find(client, now)).next()?;
        if !finding.terms.closes_connections() || self.allowed(client, now).is_some() {
            return None;
        }
        Some(finding.denial(client.to_string().as_bytes()).by(Self::NAME))
    }

    fn denied<'s>(
        &'s self,
        request: &Request<'_>,
        now: u64,
        observe: &mut impl FnMut(Finding<'s>),
    ) -> Option<Finding<'s>> {
        let listed = self.methods.iter().filter(|(method, _)| method == request.method);
        let networks = self.deny.iter().filter_map(|list| list.find(request.client, now));
        enforced(networks, observe)
            .or_else(|| self.hosts.find(request.host.as_bytes(), observe))
            .or_else(|| enforced(listed.map(|(_, written)| written.finding(Kind::Method)), observe))
            .or_else(|| self.user_agents.find(request.user_agent.unwrap_or_default(), observe))
    }
}

/// The first finding that is enforced; those before it are shown to `observe`.
fn enforced<'s>(
    findings: impl Iterator<Item = Finding<'s>>,
    observe: &mut impl FnMut(Finding<'s>),
) -> Option<Finding<'s>> {
    for finding in findings {
        match finding.terms.mode {
            Mode::Enforce => return Some(finding),
            Mode::Observe => observe(finding),
        }
    }
    None
}

impl Stage for Access {
    const NAME: &'static str = "access";

    fn check(&self, request: &RequestView<'_>, _now: Instant) -> Verdict {
        let asked = Request::of(request);
        let observe = |finding: Finding<'_>| {
            let _kept = request.judge(Mode::Observe, asked.denial(&finding));
        };
        match self.judge(&asked, request.unix_ms() / 1_000, observe) {
            Judgement::Pass => Verdict::Pass,
            Judgement::Allowed(_) => Verdict::Trusted,
            Judgement::SkipWaf(_) => Verdict::SkipWaf,
            Judgement::Denied(finding) => Verdict::Deny(asked.denial(&finding)),
        }
    }
}
