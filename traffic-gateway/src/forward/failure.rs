//! What a client is told when its request could not be served: one reason for each cause.

use std::time::Duration;

use gatehouse_shared::problem::{self, Reason};
use pingora::{
    Error, ErrorSource, ErrorType,
    proxy::{FailToProxy, Session},
};

use crate::{
    accept::{self, wire::violation_of},
    admit::{Action, Denial},
    answer,
    context::Context,
};

/// Answers a failed request, unless its response has begun or its client is gone, and notes why for the access log.
pub async fn render(context: &mut Context, session: &mut Session, error: &Error) -> FailToProxy {
    // A page that was decided on before comes with the cause that led to it.
    if context.outcome.denial.is_none() {
        context.outcome.note(error);
    }
    let closed = |status| FailToProxy { error_code: status, can_reuse_downstream: false };
    if session.response_written().is_some_and(|head| !head.status.is_informational()) {
        context.outcome.truncated = true;
        let decided = context.outcome.denial.take();
        let denial = decided.or_else(|| violation_of(error).map(|reason| Denial::from(reason).by(accept::STAGE)));
        if let Some(denial) = denial {
            // Too late for a page: the connection ends.
            context.outcome.denied = Some(Denial { action: Some(Action::Drop), ..denial });
        }
        return closed(0);
    }
    let Some(denial) = denial_for(context, error) else {
        context.outcome.client_gone = true;
        return closed(0);
    };
    session.set_keepalive(None);
    let status = denial.status();
    if let Err(error) = answer::deny(session, context, denial).await {
        tracing::debug!(%error, "client gone before the page was written");
        return closed(0);
    }
    closed(status)
}

/// The reason for a failure; `None` when it is the client that went away.
fn denial_for(context: &mut Context, error: &Error) -> Option<Denial> {
    if let Some(denial) = context.outcome.denial.take() {
        return Some(denial);
    }
    match error.esource() {
        ErrorSource::Downstream => {
            let reason = violation_of(error).or_else(|| downstream(error.etype()));
            reason.map(|reason| Denial::from(reason).by(accept::STAGE))
        }
        ErrorSource::Upstream => Some(upstream(error.etype())),
        ErrorSource::Internal | ErrorSource::Unset => Some(Denial::from(&problem::INTERNAL_ERROR)),
    }
}

fn downstream(error: &ErrorType) -> Option<&'static Reason> {
    match error {
        ErrorType::ReadTimedout => Some(&problem::BODY_TIMEOUT),
        ErrorType::InvalidHTTPHeader => Some(&problem::HEADER_INVALID),
        _ => None,
    }
}

fn upstream(error: &ErrorType) -> Denial {
    match error {
        ErrorType::ReadTimedout | ErrorType::WriteTimedout => Denial::from(&problem::UPSTREAM_TIMEOUT),
        ErrorType::ConnectTimedout
        | ErrorType::ConnectRefused
        | ErrorType::ConnectNoRoute
        | ErrorType::ConnectError
        | ErrorType::SocketError
        | ErrorType::BindError => Denial::from(&problem::UPSTREAM_CONNECT_FAILED),
        ErrorType::InvalidHTTPHeader | ErrorType::InvalidH2 | ErrorType::H2Downgrade | ErrorType::H1Error => {
            Denial::from(&problem::UPSTREAM_PROTOCOL_ERROR)
        }
        _ => Denial::from(&problem::UPSTREAM_RESET),
    }
}

/// A denial that tells the client when to come back: one second, since nodes are probed about that often.
#[must_use]
pub fn unavailable(reason: &'static Reason) -> Denial {
    Denial { retry_after: Some(Duration::from_secs(1)), ..Denial::from(reason) }
}
