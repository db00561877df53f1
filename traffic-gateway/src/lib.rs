//! The outer gate of Gatehouse.
//!
//! # Life of a request at the edge
//!
//! 1. [`accept`]: a connection is taken from the listener, its guards and, where configured, its PROXY header and TLS
//!    handshake are done; the head of a request is read within its bounds and judged strictly. A request that is not
//!    perfectly clear ends here. One that is carries an [`accept::Arrival`] from now on: the connection, the message with
//!    its one canonical path, and the one configuration generation ([`policy`]) that it sees to its end.
//! 2. [`gateway`] receives it from Pingora; each hook there calls one step. [`context`] is what the request carries from
//!    hook to hook.
//! 3. [`admit`]: may it pass? The client's real address is known here.
//! 4. [`answer`]: what is refused is answered with a page that names the reason.
//! 5. [`balance`]: its route says which cluster, the balancer which node, and the node's bounded connections give it a
//!    place on one of them.
//! 6. [`forward`]: its head is rewritten and signed for tier two; the body streams through. Of the answer, the result
//!    header is taken off and the request id put on. A failed attempt is retried or rendered.
//! 7. [`observe`]: one line in the access log and a few counters, whatever happened.
//!
//! Around it: [`config`] and [`policy`] turn files into a generation, [`server`] assembles, drains and replaces the
//! process, [`admin`] serves operators, [`command`] is the command line.

pub mod config;
pub mod policy;
pub mod gateway;
pub mod context;
pub mod server;
pub mod admin;
pub mod command;
pub mod accept;
pub mod admit;
pub mod answer;
pub mod balance;
pub mod forward;
pub mod observe;
mod step;
