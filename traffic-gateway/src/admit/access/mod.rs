//! Access lists: who and what is let through or turned away by name.
//!
//! [`Access`] judges a request once its client is known, in this order: allowed networks pass everything but strict HTTP;
//! then denied networks, hosts, methods, user agents and URLs; and an allowed URL skips the WAF, nothing else. A client in a
//! denied network is turned away as soon as its connection is there. What is found is a [`Finding`]: which entry of which
//! list on which line, who put it there, why, and until when. The dynamic blocklist is asked before all of this, elsewhere.
//!
//! From the outside in: [`config`] is what operators write, `rules` what it becomes, `judge` how that is asked; `networks`
//! and `matchers` are the lists of one kind; `list` loads files of networks and keeps those whose content has not changed;
//! [`line`](mod@line) is the format of their lines and [`import`] understands those of others; `pattern` finds hosts, user
//! agents and URLs.

pub mod config;
mod rules;
mod judge;
mod finding;
mod overview;
mod networks;
mod matchers;
mod list;
pub mod line;
pub mod import;
mod lines;
mod pattern;

pub use config::Config;
pub use finding::{Finding, Judgement, Kind, Matched, Terms};
pub use judge::Request;
pub use overview::Overview;
pub use rules::Access;

#[cfg(test)]
mod tests;
