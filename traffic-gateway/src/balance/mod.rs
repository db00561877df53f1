//! Where does it go: the route of a request, the nodes of its cluster, their health, and a connection to one of them.
//!
//! [`route`] finds the cluster, [`cluster`] holds its nodes and the peers Pingora connects to, [`connections`] bounds what
//! is opened to each, [`channel`] opens it for us and [`opener`] for Pingora, `attempt` is what one request has tried, and [`probe`] asks the nodes how they are. Choosing among
//! nodes and ejecting them is [`gatehouse_shared::balance`], which both tiers use.

pub mod route;
pub mod cluster;
pub mod connections;
pub mod opener;
pub mod channel;
mod attempt;
pub mod probe;

pub use attempt::{Attempt, Look, MOST_ATTEMPTS, PINGORA_ATTEMPTS};
pub use cluster::Cluster;
pub use connections::Ticket;
pub use route::Route;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use gatehouse_shared::{
    balance::{Call, Lease},
    clock, problem,
};
use h2::client::SendRequest;
use pingora::{Error, ErrorType, Result, upstreams::peer::HttpPeer};

use crate::{
    admit::Denial,
    context::Context,
    forward::{failure::unavailable, retry},
};
use channel::Unreached;
use connections::Refused;

/// Chooses a node for the next attempt of a request and takes a place at it, for Pingora to connect to.
///
/// # Errors
///
/// No node is left to try, the chosen one has no room before the deadline, or the deadline has passed. The page to
/// answer with is noted in the context.
pub async fn choose(context: &mut Context) -> Result<Box<HttpPeer>> {
    loop {
        let Place { route, lease, mut ticket, now } = place(context).await?;
        let Some(node) = route.cluster.node(lease.index()) else { return nobody(context) };
        match ticket.queue(now, context.deadline).await {
            Ok(()) => {
                let wait = context.deadline.saturating_duration_since(now);
                let peer = node.peer(&ticket, wait, context.attempt.look());
                context.attempt.hold(lease, ticket);
                context.outcome.handed_on.get_or_insert(now);
                return Ok(peer);
            }
            Err(refused) => turned_away(context, refused)?,
        }
    }
}

/// Chooses a node for the next attempt of a request and gives a hand on a connection to it, over which the request may go.
///
/// # Errors
///
/// As [`choose`], or the node cannot be connected to; the error says whether to try again.
pub async fn reach(context: &mut Context) -> Result<Reached> {
    loop {
        let Place { route, lease, mut ticket, now } = place(context).await?;
        let Some(node) = route.cluster.node(lease.index()) else { return nobody(context) };
        let reached = ticket.channel(&node.channel, now, context.deadline).await;
        match reached {
            Ok((sender, is_reused)) => {
                context.attempt.hold(lease, ticket);
                context.attempt.connected(is_reused);
                context.outcome.handed_on.get_or_insert(now);
                return Ok(Reached { sender, write_timeout: node.channel.write_timeout });
            }
            Err(Unreached::Refused(refused)) => turned_away(context, refused)?,
            Err(Unreached::Connect(error)) => {
                context.attempt.hold(lease, ticket);
                return Err(retry::connect_failed(context, error.into_up()));
            }
        }
    }
}

/// A connection to a node that takes one more request.
pub struct Reached {
    /// Takes it.
    pub sender: SendRequest<Bytes>,
    /// The longest wait until the node takes the next piece of it.
    pub write_timeout: Duration,
}

/// A place at a node.
struct Place {
    route: Arc<Route>,
    lease: Lease,
    ticket: Ticket,
    now: Instant,
}

async fn place(context: &mut Context) -> Result<Place> {
    context.attempt.leave();
    let (Some(route), Some(arrival)) = (context.route.clone(), context.arrival.as_deref()) else {
        return Error::e_explain(ErrorType::InternalError, "request without arrival or route");
    };
    let cluster = &route.cluster;
    let call = Call { client: context.client.ip(), authority: arrival.message.authority() };
    // The first attempt follows the judgement of the head without a wait.
    let now = if context.attempt.count() == 0 { context.now } else { clock::now() };
    if now >= context.deadline {
        return refuse(context, Denial::from(&problem::DEADLINE_EXCEEDED));
    }
    if context.attempt.count() >= MOST_ATTEMPTS {
        return nobody(context);
    }
    // Where every node was tried, one of them once more: a busy node that did not take a connection in time may now.
    let another = cluster.pool.choose(&call, context.attempt.tried(), now);
    let Some(lease) = another.or_else(|| cluster.pool.choose(&call, &[], now)) else { return nobody(context) };
    let Some(node) = cluster.node(lease.index()) else { return nobody(context) };
    context.attempt.choose(lease.index(), node.address);
    match node.connections.enter(context.deadline).await {
        Ok(ticket) => Ok(Place { route, lease, ticket, now }),
        Err(refused) => {
            turned_away(context, refused)?;
            nobody(context)
        }
    }
}

/// The request did not get what it waited for: it tries another node, or is refused.
fn turned_away(context: &mut Context, refused: Refused) -> Result<()> {
    match refused {
        Refused::ConnectFailed => {
            context.outcome.cause = Some(refused.to_string());
            Ok(())
        }
        Refused::Full => refuse(context, unavailable(&problem::OVERLOADED)),
    }
}

fn nobody<T>(context: &mut Context) -> Result<T> {
    refuse(context, unavailable(&problem::NO_HEALTHY_UPSTREAM))
}

fn refuse<T>(context: &mut Context, denial: Denial) -> Result<T> {
    let code = denial.reason.code;
    context.outcome.denial = Some(denial);
    Error::e_explain(ErrorType::HTTPStatus(503), code)
}
