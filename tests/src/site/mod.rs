//! A whole site on free ports: sample services, business nodes, edges, each a real process with generated configuration.
//!
//! ```no_run
//! # use gatehouse_tests::site::{Handoff, Site};
//! # async fn example() -> anyhow::Result<()> {
//! let site = Site::plan().business(2).handoff(Handoff::Http1).start().await?;
//! let answer = site.target().get("/products").await?;
//! assert_eq!(answer.status, 200);
//! # Ok(())
//! # }
//! ```

pub mod plan;
pub mod node;
pub mod service;
pub mod admin;

use std::net::SocketAddr;
use std::path::Path;

use tempfile::TempDir;

use crate::client::Target;
use crate::tally::Executions;
use crate::turn::Turn;
use node::Node;
pub use plan::Plan;
use service::Service;

/// The protocol between the tiers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Handoff {
    /// Multiplexed HTTP/2 over plain connections.
    H2c,
    /// Pooled HTTP/1.1 connections.
    Http1,
}

impl Handoff {
    /// Both, for what has to work over either.
    pub const BOTH: [Self; 2] = [Self::H2c, Self::Http1];

    /// The name in `edge.toml`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::H2c => "h2c",
            Self::Http1 => "http1",
        }
    }
}

/// A running site. Dropping it ends all its processes; the files of a failed test are kept.
#[derive(Debug)]
pub struct Site {
    /// The edges, outermost first in the order of dropping.
    pub edges: Vec<Node>,
    /// The business nodes.
    pub business: Vec<Node>,
    /// The sample services.
    pub services: Vec<Service>,
    directory: Option<TempDir>,
    // Held to the end of the test.
    _turn: Turn,
}

impl Site {
    /// One edge, one business node and one service, unless changed.
    #[must_use]
    pub fn plan() -> Plan {
        Plan::default()
    }

    /// The first edge.
    ///
    /// # Errors
    /// The site has none.
    pub fn edge(&self) -> anyhow::Result<&Node> {
        self.edges.first().ok_or_else(|| anyhow::anyhow!("the site has no edge"))
    }

    /// The first edge, to be changed.
    ///
    /// # Errors
    /// The site has none.
    pub fn edge_mut(&mut self) -> anyhow::Result<&mut Node> {
        self.edges.first_mut().ok_or_else(|| anyhow::anyhow!("the site has no edge"))
    }

    /// Plain HTTP/1.1 to the first listener of the first edge.
    ///
    /// # Panics
    /// Never: a site without an edge yields an address that refuses connections.
    #[must_use]
    pub fn target(&self) -> Target {
        Target::plain(self.address(0))
    }

    /// The address of the first edge's listener number `index`.
    #[must_use]
    pub fn address(&self, index: usize) -> SocketAddr {
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 1));
        self.edges.first().and_then(|edge| edge.listener(index)).unwrap_or(nowhere)
    }

    /// The directory that holds everything of this site.
    ///
    /// # Errors
    /// It is gone.
    pub fn directory(&self) -> anyhow::Result<&Path> {
        self.directory.as_ref().map(TempDir::path).ok_or_else(|| anyhow::anyhow!("the site is over"))
    }

    /// What all services together executed.
    ///
    /// # Errors
    /// A service does not answer.
    pub async fn executions(&self) -> anyhow::Result<Executions> {
        let mut all = Executions::new();
        for service in &self.services {
            for (id, count) in service.executions().await? {
                *all.entry(id).or_default() += count;
            }
        }
        Ok(all)
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        if std::thread::panicking()
            && let Some(directory) = self.directory.take()
        {
            eprintln!("---- files kept in {}", directory.keep().display());
        }
    }
}
