//! What a site consists of, before it is started.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;

use super::node::{Node, Prepared, Tier};
use super::service::Service;
use super::{Handoff, Site};
use crate::settings::Settings;
use crate::turn;

/// The key of the hop in every site: 64 characters.
const HOP_KEY: &str = "6f1d0c9a7be3448f92a5c1e07d3b5a866f1d0c9a7be3448f92a5c1e07d3b5a86\n";

/// The catalog unless a test brings its own: everything goes to the sample services.
const CATALOG: &str = r#"
[[service]]
name = "sample"
endpoints = {endpoints}

[[api]]
name = "everything"
access = "open"
schemes = []
service = "sample"
methods = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
path = "/{*rest}"
"#;

/// A site to be started. Fragments are TOML laid over the generated configuration; in them `{nodes}` stands for the list
/// of business nodes and `{endpoints}` for the list of services.
#[derive(Debug, Clone)]
pub struct Plan {
    services: usize,
    business: usize,
    edges: usize,
    handoff: Handoff,
    needs_machine_alone: bool,
    edge_fragments: Vec<String>,
    business_fragments: Vec<String>,
    edge_files: Vec<(String, String)>,
    catalog: String,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            services: 1,
            business: 1,
            edges: 1,
            handoff: Handoff::H2c,
            needs_machine_alone: false,
            edge_fragments: Vec::new(),
            business_fragments: Vec::new(),
            edge_files: Vec::new(),
            catalog: CATALOG.to_owned(),
        }
    }
}

impl Plan {
    /// So many sample services.
    #[must_use]
    pub fn services(mut self, count: usize) -> Self {
        self.services = count;
        self
    }

    /// So many business nodes.
    #[must_use]
    pub fn business(mut self, count: usize) -> Self {
        self.business = count;
        self
    }

    /// So many edges.
    #[must_use]
    pub fn edges(mut self, count: usize) -> Self {
        self.edges = count;
        self
    }

    /// The protocol between the tiers; h2c unless changed.
    #[must_use]
    pub fn handoff(mut self, handoff: Handoff) -> Self {
        self.handoff = handoff;
        self
    }

    /// The test measures or floods: no other test runs beside it.
    #[must_use]
    pub fn alone(mut self) -> Self {
        self.needs_machine_alone = true;
        self
    }

    /// Lays a fragment over `edge.toml`.
    #[must_use]
    pub fn edge(mut self, fragment: impl Into<String>) -> Self {
        self.edge_fragments.push(fragment.into());
        self
    }

    /// Lays a fragment over `business.toml`.
    #[must_use]
    pub fn business_settings(mut self, fragment: impl Into<String>) -> Self {
        self.business_fragments.push(fragment.into());
        self
    }

    /// Puts a file beside `edge.toml`, or into a directory there.
    #[must_use]
    pub fn edge_file(mut self, name: &str, text: impl Into<String>) -> Self {
        self.edge_files.push((name.to_owned(), text.into()));
        self
    }

    /// Replaces the catalog.
    #[must_use]
    pub fn catalog(mut self, text: impl Into<String>) -> Self {
        self.catalog = text.into();
        self
    }

    /// Starts everything, innermost first, and returns when it is ready.
    ///
    /// # Errors
    /// A process did not become ready.
    pub async fn start(self) -> anyhow::Result<Site> {
        let turn = if self.needs_machine_alone { turn::alone().await } else { turn::shared().await };
        let directory = tempfile::Builder::new().prefix("gatehouse-").tempdir()?;
        let mut site = Site {
            edges: Vec::new(),
            business: Vec::new(),
            services: Vec::new(),
            directory: Some(directory),
            _turn: turn,
        };
        let root = site.directory()?.to_owned();
        for number in 1..=self.services {
            site.services.push(Service::start(&format!("service-{number}"), &root).await?);
        }
        let endpoints = list(site.services.iter().map(|service| service.address));
        for number in 1..=self.business {
            site.business.push(self.start_business(&format!("business-{number}"), &root, &endpoints).await?);
        }
        let nodes = list(site.business.iter().filter_map(|node| node.listener(0)));
        for number in 1..=self.edges {
            site.edges.push(self.start_edge(&format!("edge-{number}"), &root, &nodes).await?);
        }
        Ok(site)
    }

    async fn start_business(&self, name: &str, root: &Path, endpoints: &str) -> anyhow::Result<Node> {
        let node = Prepared::new(Tier::Business, name, root)?;
        fs::write(node.config().join("hop.key"), HOP_KEY)?;
        fs::write(node.config().join("catalog.toml"), self.catalog.replace("{endpoints}", endpoints))?;
        let mut settings = Settings::parse(&format!(
            r#"
            [process]
            node = "{name}"
            threads = 2
            state_dir = "{directory}/state"
            listen = "127.0.0.1:0"
            admin = "127.0.0.1:0"
            [hop]
            keys = [{{ id = "a", secret = {{ file = "hop.key" }} }}]
            [access_log]
            sink = "{directory}/access.log"
            "#,
            directory = node.directory().display(),
        ))?;
        for fragment in &self.business_fragments {
            settings.overlay(fragment)?;
        }
        node.start(settings).await
    }

    async fn start_edge(&self, name: &str, root: &Path, nodes: &str) -> anyhow::Result<Node> {
        let node = Prepared::new(Tier::Edge, name, root)?;
        fs::write(node.config().join("hop.key"), HOP_KEY)?;
        for (file, text) in &self.edge_files {
            let path = node.config().join(file);
            fs::create_dir_all(path.parent().unwrap_or(&path))?;
            fs::write(path, text)?;
        }
        let mut settings = Settings::parse(&format!(
            r#"
            [process]
            node = "{name}"
            threads = 2
            state_dir = "{directory}/state"
            max_connections = 5000
            admin = "127.0.0.1:0"
            [[process.listener]]
            address = "127.0.0.1:0"
            [hop]
            keys = [{{ id = "a", secret = {{ file = "hop.key" }} }}]
            [[route]]
            path_prefix = "/"
            cluster = "business"
            [[cluster]]
            name = "business"
            nodes = {nodes}
            protocol = "{handoff}"
            [access_log]
            sink = "{directory}/access.log"
            [security_log]
            sink = "{directory}/security.log"
            "#,
            directory = node.directory().display(),
            handoff = self.handoff.name(),
        ))?;
        for fragment in &self.edge_fragments {
            settings.overlay(&fragment.replace("{nodes}", nodes))?;
        }
        node.start(settings).await
    }
}

/// A TOML array of addresses.
fn list(addresses: impl Iterator<Item = SocketAddr>) -> String {
    let quoted: Vec<String> = addresses.map(|address| format!("\"{address}\"")).collect();
    format!("[{}]", quoted.join(", "))
}
