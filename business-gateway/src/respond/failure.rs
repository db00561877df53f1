//! Answers made here. This is the one place where causes become reasons, statuses and what the edge may do about them.

use std::error::Error;

use bytes::Bytes;
use gatehouse_shared::hop::{Auth, HopResult, Origin, Retry};
use gatehouse_shared::problem::{self, Reason};
use http::header::{self, HeaderValue};
use http::{Method, Response};

use super::body::Outgoing;
use super::envelope::{Envelope, Said};
use super::shape::{RESULT, result};
use crate::accept::body::UploadError;
use crate::accept::caught::Panicked;
use crate::accept::hop::HopRefusal;
use crate::admit::app;
use crate::admit::caller::Caller;
use crate::admit::flow_rule::Refused;
use crate::admit::flow_rule::effect::Denial;
use crate::admit::matcher::Miss;
use crate::admit::permission;
use crate::admit::quota;
use crate::admit::route::search::HoldFault;
use crate::admit::traffic_group;
use crate::admit::validation::{self, finding::Findings};
use crate::dispatch::request::{REQUEST_ID_HEADER, TargetError};
use crate::dispatch::wait::Elapsed;
use crate::dispatch::{DispatchError, breaker};

/// RFC 9110, section 11.6.1, asks for it with every 401. `Basic` is left out: browsers would ask people for a password.
const CHALLENGE: HeaderValue = HeaderValue::from_static("Bearer realm=\"gatehouse\", ApiKey realm=\"gatehouse\"");

/// Why a call is not answered by a service.
#[derive(Debug)]
pub struct Failure {
    /// What the client is told.
    pub reason: &'static Reason,
    /// The cause, for the log only.
    pub cause: Option<String>,
    /// The status; a rule may have chosen another than the reason's.
    pub status: u16,
    /// What the client is told of this case; names what it sent, never anything internal.
    pub detail: Option<String>,
    /// Seconds after which the call may be made again.
    pub retry_after: Option<u64>,
    /// Whether a service may have executed the call.
    pub executed: Executed,
    /// What the edge is told of who called.
    pub auth: Auth,
    /// Methods of the path, for a 405.
    allow: Box<[Method]>,
    /// What clients may match on, where it is not the reason's: the code of a flow rule.
    sub_code: Option<Box<str>>,
    /// What is wrong with the call, one by one.
    findings: Option<Box<Findings>>,
}

/// Whether a service may have executed a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Executed {
    /// Surely not.
    No,
    /// Perhaps.
    Perhaps,
}

impl Failure {
    fn new(reason: &'static Reason, executed: Executed) -> Self {
        let retry_after = (reason.status == 503).then_some(1);
        let status = reason.status;
        let auth = Auth::Anonymous;
        Self {
            reason,
            cause: None,
            status,
            detail: None,
            retry_after,
            executed,
            auth,
            allow: Box::default(),
            sub_code: None,
            findings: None,
        }
    }

    /// A call that is refused before anything of it was executed.
    #[must_use]
    pub fn refused(reason: &'static Reason) -> Self {
        Self::new(reason, Executed::No)
    }

    /// The same, with what the client is told of this case.
    #[must_use]
    pub fn about(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    /// The same, with the seconds after which the call may be made again.
    #[must_use]
    pub fn retry_after(mut self, seconds: u64) -> Self {
        self.retry_after = Some(seconds.max(1));
        self
    }

    /// The same, of somebody who has proven to be an application: what it did wrong is not told to the edge as wrong credentials.
    #[must_use]
    pub fn of(mut self, caller: Option<&Caller>) -> Self {
        if let Some(caller) = caller {
            self.auth = caller.auth();
        }
        self
    }

    /// What a call around this one is told of it.
    #[must_use]
    pub fn told(&self) -> Told {
        Told { reason: self.reason, status: self.status, retry_after: self.retry_after, executed: self.executed }
    }

    fn because(mut self, error: &dyn Error) -> Self {
        let mut cause = error.to_string();
        let mut source = error.source();
        while let Some(error) = source {
            cause.push_str(": ");
            cause.push_str(&error.to_string());
            source = error.source();
        }
        self.cause = Some(cause);
        self
    }

    /// The answer.
    #[must_use]
    pub fn answer(&self, request_id: &str, envelope: Envelope) -> Response<Outgoing> {
        let written = envelope.write(&Said {
            reason: self.reason,
            status: self.status,
            sub_code: self.sub_code.as_deref(),
            request_id,
            detail: self.detail.as_deref(),
            retry_after: self.retry_after,
            findings: self.findings.as_deref().map_or(&[], Findings::list),
        });
        let mut answer = Response::new(Outgoing::own(Bytes::from(written.body)));
        *answer.status_mut() = written.status;
        let headers = answer.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(written.content_type));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Ok(request_id) = HeaderValue::from_str(request_id) {
            headers.insert(REQUEST_ID_HEADER, request_id);
        }
        if let Some(allow) = self.allow() {
            headers.insert(header::ALLOW, allow);
        }
        if written.status == http::StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, CHALLENGE);
        }
        if let Some(seconds) = self.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        headers.insert(RESULT, result(&self.result()));
        answer
    }

    fn result(&self) -> HopResult {
        let (retry, cost) = match self.executed {
            Executed::No => (Retry::Safe, 0),
            Executed::Perhaps => (Retry::Never, 1),
        };
        HopResult { origin: Origin::Gateway, auth: self.auth, retry, cost, ..HopResult::SERVICE }
    }

    fn allow(&self) -> Option<HeaderValue> {
        if self.allow.is_empty() {
            return None;
        }
        let names: Vec<&str> = self.allow.iter().map(Method::as_str).collect();
        HeaderValue::try_from(names.join(", ")).ok()
    }
}

/// What is said of a failure inside of a call, beside the answer.
#[derive(Debug, Clone, Copy)]
pub struct Told {
    /// Why.
    pub reason: &'static Reason,
    /// The status.
    pub status: u16,
    /// Seconds after which the call may be made again.
    pub retry_after: Option<u64>,
    /// Whether a service may have executed the call.
    pub executed: Executed,
}

impl From<HopRefusal> for Failure {
    fn from(refusal: HopRefusal) -> Self {
        let reason = match refusal {
            HopRefusal::Missing => &problem::HOP_MISSING,
            HopRefusal::Repeated => &problem::HOP_MALFORMED,
            HopRefusal::Invalid(error) => error.reason(),
        };
        Self::new(reason, Executed::No).because(&refusal)
    }
}

impl From<Miss> for Failure {
    fn from(miss: Miss) -> Self {
        match miss {
            Miss::Path => Self::new(&problem::API_NOT_FOUND, Executed::No),
            Miss::Method(allow) => {
                Self { allow: allow.into(), ..Self::new(&problem::API_METHOD_NOT_ALLOWED, Executed::No) }
            }
            Miss::Predicates => Self::new(&problem::API_NOT_SELECTED, Executed::No),
            // Whoever cannot be told without a body was asked with it.
            Miss::Undecided => Self::new(&problem::INTERNAL_ERROR, Executed::No),
        }
    }
}

impl From<HoldFault> for Failure {
    fn from(fault: HoldFault) -> Self {
        let reason = match &fault {
            HoldFault::TooLarge => &problem::ROUTED_BODY_TOO_LARGE,
            HoldFault::NoRoom => &problem::HELD_BODIES_FULL,
            HoldFault::Deadline => &problem::DEADLINE_EXCEEDED,
            HoldFault::Upload(error) => return Self::from(*error),
        };
        Self::refused(reason).because(&fault)
    }
}

impl From<permission::Refusal> for Failure {
    fn from(refusal: permission::Refusal) -> Self {
        let reason = match refusal {
            permission::Refusal::User => &problem::USER_MISSING,
            permission::Refusal::Address => &problem::ADDRESS_REFUSED,
            permission::Refusal::Package => &problem::PERMISSION_MISSING,
            permission::Refusal::Scope => &problem::SCOPE_MISSING,
            permission::Refusal::Condition | permission::Refusal::Failed => &problem::CONDITION_REFUSED,
        };
        Self::new(reason, Executed::No).because(&refusal)
    }
}

impl From<Refused> for Failure {
    fn from(refused: Refused) -> Self {
        let reason = if refused.denial.is_some() { &problem::FLOW_RULE_DENIED } else { &problem::FLOW_RULE_FAILED };
        let failure = Self::new(reason, Executed::No).because(&refused);
        let Some(Denial { status, code, detail }) = refused.denial else { return failure };
        let side = if status < 500 { "isv" } else { "isp" };
        let retry_after = (status == 503).then_some(1);
        let sub_code = Some(format!("{side}.{code}").into());
        Self { status, sub_code, detail: detail.as_deref().map(str::to_owned), retry_after, ..failure }
    }
}

impl From<UploadError> for Failure {
    fn from(error: UploadError) -> Self {
        let reason = match error {
            UploadError::Aborted => &problem::CLIENT_CLOSED,
            UploadError::Idle => &problem::BODY_TIMEOUT,
            UploadError::TooLarge => &problem::BODY_TOO_LARGE,
        };
        Self::new(reason, Executed::No).because(&error)
    }
}

impl From<app::Refusal> for Failure {
    fn from(refusal: app::Refusal) -> Self {
        let (reason, auth) = match &refusal {
            app::Refusal::Missing => (&problem::CREDENTIALS_MISSING, Auth::Anonymous),
            app::Refusal::Ambiguous => (&problem::CREDENTIALS_AMBIGUOUS, Auth::Failed),
            app::Refusal::Malformed(_) => (&problem::CREDENTIALS_MALFORMED, Auth::Failed),
            app::Refusal::Refused(_) => (&problem::CREDENTIALS_REFUSED, Auth::Failed),
            app::Refusal::Expired => (&problem::SIGNATURE_EXPIRED, Auth::Failed),
            app::Refusal::Replayed => (&problem::SIGNATURE_REPLAYED, Auth::Failed),
            app::Refusal::Digest => (&problem::DIGEST_MISMATCH, Auth::Failed),
            app::Refusal::NoRoom => (&problem::HELD_BODIES_FULL, Auth::Anonymous),
            app::Refusal::BodyTooLarge => (&problem::SIGNED_BODY_TOO_LARGE, Auth::Anonymous),
            app::Refusal::AppDisabled => (&problem::APP_DISABLED, Auth::Failed),
            app::Refusal::UserMissing => (&problem::USER_MISSING, Auth::App),
            app::Refusal::UserExpired => (&problem::USER_EXPIRED, Auth::App),
            app::Refusal::Unavailable(_) => (&problem::IDENTITY_UNAVAILABLE, Auth::Anonymous),
            app::Refusal::ReplayUnavailable(_) => (&problem::REPLAY_UNAVAILABLE, Auth::App),
            app::Refusal::Deadline => (&problem::DEADLINE_EXCEEDED, Auth::Anonymous),
            app::Refusal::Upload(error) => return Self::from(*error),
        };
        let failure = Self { auth, ..Self::refused(reason).because(&refusal) };
        match refusal {
            // It says what is wrong with how the credentials are written, and nothing of who there is.
            app::Refusal::Malformed(malformed) => failure.about(malformed.0),
            _ => failure,
        }
    }
}

impl From<validation::Refusal> for Failure {
    fn from(refusal: validation::Refusal) -> Self {
        match refusal {
            validation::Refusal::Invalid(reason, findings) => {
                Self { findings: Some(findings), ..Self::refused(reason) }
            }
            validation::Refusal::NoRoom => Self::refused(&problem::HELD_BODIES_FULL),
            validation::Refusal::Deadline => Self::refused(&problem::DEADLINE_EXCEEDED),
            validation::Refusal::Upload(error) => Self::from(error),
        }
    }
}

impl From<app::NotForItems> for Failure {
    fn from(refusal: app::NotForItems) -> Self {
        match refusal {
            app::NotForItems::NotBatchable => Self::refused(&problem::API_NOT_BATCHABLE).because(&refusal),
            app::NotForItems::AnotherApi => Self::refused(&problem::API_NOT_FOUND).because(&refusal),
            app::NotForItems::Refused(refusal) => refusal.into(),
        }
    }
}

impl From<quota::Refusal> for Failure {
    fn from(refusal: quota::Refusal) -> Self {
        let failure = Self { cause: Some(format!("limit {}", refusal.limit)), ..Self::refused(refusal.reason) };
        match refusal.retry_after {
            Some(seconds) => failure.retry_after(seconds),
            None => failure,
        }
    }
}

impl From<TargetError> for Failure {
    fn from(error: TargetError) -> Self {
        Self::new(&problem::TARGET_INVALID, Executed::No).because(&error)
    }
}

impl From<traffic_group::Refused> for Failure {
    fn from(refused: traffic_group::Refused) -> Self {
        let reason = match &refused {
            traffic_group::Refused::Shed { .. } => &problem::GROUP_SHED,
            traffic_group::Refused::ApiBusy { .. } => &problem::API_BUSY,
            traffic_group::Refused::Overloaded { .. } => &problem::SERVICE_OVERLOADED,
        };
        Self::refused(reason).retry_after(refused.retry_after()).because(&refused)
    }
}

impl From<breaker::Open> for Failure {
    fn from(open: breaker::Open) -> Self {
        let seconds = open.retry_after.as_millis().div_ceil(1_000);
        let failure = Self::refused(&problem::SERVICE_CIRCUIT_OPEN).because(&open);
        failure.retry_after(u64::try_from(seconds).unwrap_or(u64::MAX))
    }
}

impl From<Elapsed> for Failure {
    fn from(_: Elapsed) -> Self {
        Self::new(&problem::DEADLINE_EXCEEDED, Executed::No)
    }
}

impl From<Panicked> for Failure {
    fn from(_: Panicked) -> Self {
        Self::new(&problem::INTERNAL_ERROR, Executed::Perhaps)
    }
}

impl From<DispatchError> for Failure {
    fn from(error: DispatchError) -> Self {
        let (reason, executed) = match &error {
            DispatchError::Unreachable(_) => (&problem::SERVICE_CONNECT_FAILED, Executed::No),
            DispatchError::NoEndpoint => (&problem::SERVICE_UNAVAILABLE, Executed::No),
            DispatchError::Saturated | DispatchError::QueueFull => (&problem::SERVICE_BUSY, Executed::No),
            DispatchError::Open(open) => return (*open).into(),
            DispatchError::Broken(_) => (&problem::SERVICE_RESET, Executed::Perhaps),
            DispatchError::Invalid(_) | DispatchError::Upgrade => (&problem::SERVICE_PROTOCOL_ERROR, Executed::Perhaps),
            DispatchError::Timeout => (&problem::SERVICE_TIMEOUT, Executed::Perhaps),
            DispatchError::Deadline => (&problem::DEADLINE_EXCEEDED, Executed::Perhaps),
            DispatchError::Upload(error) => {
                return Self { executed: Executed::Perhaps, ..Self::from(*error) };
            }
        };
        Self::new(reason, executed).because(&error)
    }
}
