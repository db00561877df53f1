//! Where does it go: the route of a request, the nodes of its cluster, their health, and a connection to one of them.
//!
//! [`route`] finds the cluster, [`cluster`] holds its nodes and the peers Pingora connects to, [`connections`] bounds what
//! is opened to each and [`opener`] opens it, `attempt` is what one request has tried, and [`probe`] asks the nodes how they are. Choosing among
//! nodes and ejecting them is [`gatehouse_shared::balance`], which both tiers use.

pub mod route;
pub mod cluster;
pub mod connections;
pub mod opener;
mod attempt;
pub mod probe;

pub use attempt::{Attempt, Look, MOST_ATTEMPTS, PINGORA_ATTEMPTS};
pub use cluster::Cluster;
pub use connections::Ticket;
pub use route::Route;

use gatehouse_shared::{balance::Call, clock, problem};
use pingora::{Error, ErrorType, Result, upstreams::peer::HttpPeer};

use crate::{admit::Denial, context::Context, forward::failure::unavailable};
use connections::Refused;

/// Chooses a node for the next attempt of a request and takes a place at it.
///
/// # Errors
///
/// No node is left to try, the chosen one has no room before the deadline, or the deadline has passed. The page to
/// answer with is noted in the context.
pub async fn choose(context: &mut Context) -> Result<Box<HttpPeer>> {
    context.attempt.leave();
    let (Some(route), Some(arrival)) = (context.route.clone(), context.arrival.as_deref()) else {
        return Error::e_explain(ErrorType::InternalError, "request without arrival or route");
    };
    let cluster = &route.cluster;
    let call = Call { client: context.client.ip(), authority: arrival.message.authority() };
    loop {
        // The first attempt follows the judgement of the head without a wait.
        let now = if context.attempt.count() == 0 { context.now } else { clock::now() };
        if now >= context.deadline {
            return refuse(context, Denial::from(&problem::DEADLINE_EXCEEDED));
        }
        if context.attempt.count() >= MOST_ATTEMPTS {
            return refuse(context, unavailable(&problem::NO_HEALTHY_UPSTREAM));
        }
        // Where every node was tried, one of them once more: a busy node that did not take a connection in time may now.
        let another = cluster.pool.choose(&call, context.attempt.tried(), now);
        let Some(lease) = another.or_else(|| cluster.pool.choose(&call, &[], now)) else {
            return refuse(context, unavailable(&problem::NO_HEALTHY_UPSTREAM));
        };
        let Some(node) = cluster.node(lease.index()) else {
            return refuse(context, unavailable(&problem::NO_HEALTHY_UPSTREAM));
        };
        context.attempt.choose(lease.index(), node.address);
        match node.connections.enter(now, context.deadline).await {
            Ok(ticket) => {
                let wait = context.deadline.saturating_duration_since(now);
                let peer = node.peer(&ticket, wait, context.attempt.look());
                context.attempt.hold(lease, ticket);
                context.outcome.handed_on.get_or_insert(now);
                return Ok(peer);
            }
            Err(Refused::ConnectFailed) => context.outcome.cause = Some(Refused::ConnectFailed.to_string()),
            Err(Refused::Full) => return refuse(context, unavailable(&problem::OVERLOADED)),
        }
    }
}

fn refuse<T>(context: &mut Context, denial: Denial) -> Result<T> {
    let code = denial.reason.code;
    context.outcome.denial = Some(denial);
    Error::e_explain(ErrorType::HTTPStatus(503), code)
}
