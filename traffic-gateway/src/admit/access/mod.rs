//! Access lists: who and what is let through or turned away by name.
//!
//! [`Access`] judges an address as soon as a connection is there, and a request once its client is known, in this order:
//! allowed networks pass everything but strict HTTP; then denied networks, hosts, methods, user agents and URLs; and an
//! allowed URL skips the WAF, nothing else. What is found is a [`Finding`]: which entry of which list on which line, who put
//! it there, why, and until when. The dynamic blocklist is asked before all of this, elsewhere.
//!
//! From the outside in: [`config`] is what operators write, [`rules`] what it becomes and how it judges; [`list`] loads list
//! files and keeps those whose content has not changed; [`line`](mod@line) is the format of their lines and [`import`]
//! understands those of others; [`pattern`] finds hosts, user agents and URLs.

pub mod config;
mod rules;
mod finding;
mod list;
pub mod line;
pub mod import;
mod lines;
mod pattern;

pub use config::Config;
pub use finding::{Finding, Judgement, Kind, Matched};
pub use list::List;
pub use rules::{Access, Request};

#[cfg(test)]
mod tests;
