//! Which cluster a request goes to: the table of routes by host and path prefix.
//!
//! Decides nothing about nodes; that is [`super::cluster`]. The most specific route wins: an exact host before a
//! wildcard, a longer wildcard before a shorter one, any wildcard before "any host"; within one host the longest path
//! prefix. A host none of whose prefixes fits falls through to the next less specific one. Prefixes end at a segment:
//! `/api` covers `/api` and `/api/orders` but not `/apiary`. Only the canonical path is looked at.

use std::{collections::HashMap, sync::Arc, time::Duration};

use gatehouse_shared::config::{ConfigErrors, HumanDuration, Positions};
use schemars::JsonSchema;
use serde::Deserialize;

use super::Cluster;
use crate::{
    admit::waf,
    answer::cache::{self, Keep},
    observe::metrics::RouteCell,
};

/// One `[[route]]`: requests that match it go to its cluster.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Host names served: `api.example.com`, or `*.example.com` for every name below it. Empty: every host.
    #[serde(default)]
    pub hosts: Vec<String>,
    /// Start of the canonical path, ending at a segment. Example: `/api`.
    #[serde(default = "root")]
    pub path_prefix: String,
    /// Name of the `[[cluster]]` that receives the requests.
    pub cluster: String,
    /// Longest wait for the head of the response, and for each following piece of it. Uploads have their own bounds.
    #[serde(default = "default_timeout")]
    pub timeout: HumanDuration,
    /// What the rules of `[waf]` do here.
    #[serde(default)]
    pub waf: waf::config::RouteConfig,
    /// Which answers to anonymous reads are kept for a short time; see docs/EDGE_CACHE.md. Default: none.
    pub cache: Option<cache::RouteConfig>,
}

fn root() -> String {
    "/".to_owned()
}

fn default_timeout() -> HumanDuration {
    HumanDuration::from_secs(30)
}

/// A compiled route.
#[derive(Debug)]
pub struct Route {
    /// Hosts and prefix as written, for logs and metrics: `api.example.com/v1`.
    pub name: Box<str>,
    /// The cluster that receives the requests.
    pub cluster: Arc<Cluster>,
    /// Longest wait for the response, see [`Config::timeout`].
    pub timeout: Duration,
    /// What the rules do here.
    pub waf: waf::config::RouteConfig,
    /// Which of its answers are kept.
    pub cache: Option<Keep>,
    /// Its counters.
    pub metrics: RouteCell,
    prefix: Box<str>,
}

/// Every route, arranged for look-up by host and path.
#[derive(Debug, Default)]
pub struct Table {
    exact: HashMap<Box<str>, Vec<Arc<Route>>>,
    /// Keyed by what follows `*.`.
    below: HashMap<Box<str>, Vec<Arc<Route>>>,
    any: Vec<Arc<Route>>,
    all: Vec<Arc<Route>>,
}

impl Table {
    /// Compiles the routes of a configuration against the names of all its clusters and those that are valid.
    ///
    /// # Errors
    ///
    /// Every route that names an unknown cluster, a malformed host or prefix, or that another route already covers.
    pub fn compile(
        configs: &[Config],
        names: &[&str],
        clusters: &[Arc<Cluster>],
        positions: &Positions,
    ) -> Result<Self, ConfigErrors> {
        let mut errors = ConfigErrors::default();
        let mut table = Self::default();
        for (index, config) in configs.iter().enumerate() {
            let at = |field: &str| format!("route[{index}].{field}");
            if let Err(problem) = check_prefix(&config.path_prefix) {
                errors.push(positions.error(&at("path_prefix"), problem, None));
                continue;
            }
            if !names.contains(&config.cluster.as_str()) {
                errors.push(positions.error(
                    &at("cluster"),
                    format!("there is no cluster named \"{}\"", config.cluster),
                    Some(format!("name one of [[cluster]]: {}", names.join(", "))),
                ));
            }
            let path = format!("route[{index}].cache");
            let cache = config.cache.as_ref().and_then(|cache| errors.collect(Keep::compile(cache, &path, positions)));
            let Some(cluster) = clusters.iter().find(|cluster| *cluster.name == *config.cluster) else { continue };
            let route = Arc::new(Route {
                name: name_of(config),
                cluster: Arc::clone(cluster),
                timeout: config.timeout.get(),
                waf: config.waf.clone(),
                cache,
                metrics: RouteCell::default(),
                prefix: config.path_prefix.trim_end_matches('/').into(),
            });
            table.all.push(Arc::clone(&route));
            if config.hosts.is_empty() && !insert(&mut table.any, &route) {
                errors.push(positions.error(&at("path_prefix"), duplicate("every host", &config.path_prefix), None));
            }
            for (host_index, host) in config.hosts.iter().enumerate() {
                let place = format!("route[{index}].hosts[{host_index}]");
                match table.list_for(host) {
                    Err(problem) => errors.push(positions.error(&place, problem, None)),
                    Ok(list) => {
                        if !insert(list, &route) {
                            errors.push(positions.error(&place, duplicate(host, &config.path_prefix), None));
                        }
                    }
                }
            }
        }
        errors.into_result(table)
    }

    /// The route of a request, by its host (lower case, without port) and canonical path.
    #[must_use]
    pub fn find(&self, host: &str, path: &str) -> Option<&Arc<Route>> {
        if let Some(route) = self.exact.get(host).and_then(|list| longest(list, path)) {
            return Some(route);
        }
        let mut rest = if self.below.is_empty() { "" } else { host };
        while let Some((_, parent)) = rest.split_once('.') {
            if let Some(route) = self.below.get(parent).and_then(|list| longest(list, path)) {
                return Some(route);
            }
            rest = parent;
        }
        longest(&self.any, path)
    }

    /// Every route in the order of the configuration.
    #[must_use]
    pub fn all(&self) -> &[Arc<Route>] {
        &self.all
    }

    fn list_for(&mut self, host: &str) -> Result<&mut Vec<Arc<Route>>, String> {
        let lower = host.to_ascii_lowercase();
        let (name, map) = match lower.strip_prefix("*.") {
            Some(parent) => (parent, &mut self.below),
            None => (lower.as_str(), &mut self.exact),
        };
        if !is_host(name) {
            return Err(format!("\"{host}\" is not a host name, an address or `*.` and a host name"));
        }
        Ok(map.entry(name.into()).or_default())
    }
}

/// Inserts longest prefix first; false when the prefix is already there.
fn insert(list: &mut Vec<Arc<Route>>, route: &Arc<Route>) -> bool {
    if list.iter().any(|other| other.prefix == route.prefix) {
        return false;
    }
    let place = list.partition_point(|other| other.prefix.len() >= route.prefix.len());
    list.insert(place, Arc::clone(route));
    true
}

fn longest<'a>(list: &'a [Arc<Route>], path: &str) -> Option<&'a Arc<Route>> {
    list.iter().find(|route| match path.strip_prefix(&*route.prefix) {
        Some(rest) => rest.is_empty() || rest.starts_with('/') || route.prefix.is_empty(),
        None => false,
    })
}

fn is_host(name: &str) -> bool {
    let literal = name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    if let Some(address) = literal {
        return address.parse::<std::net::Ipv6Addr>().is_ok();
    }
    !name.is_empty()
        && name.len() <= 253
        && name.split('.').all(|label| {
            !label.is_empty()
                && label.len() <= 63
                && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
        })
}

fn check_prefix(prefix: &str) -> Result<(), String> {
    if !prefix.starts_with('/') {
        return Err(format!("\"{prefix}\" must start with a slash"));
    }
    if prefix.bytes().any(|byte| !byte.is_ascii_graphic() || byte == b'?' || byte == b'#') {
        return Err(format!("\"{prefix}\" must be a path in its canonical form, without query or white space"));
    }
    Ok(())
}

fn duplicate(host: &str, prefix: &str) -> String {
    format!("another route already has {host} with path_prefix \"{prefix}\"")
}

/// The name of a route: its hosts and prefix as written.
pub(crate) fn name_of(config: &Config) -> Box<str> {
    let hosts = if config.hosts.is_empty() { "*".to_owned() } else { config.hosts.join(",") };
    format!("{hosts}{}", config.path_prefix).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use gatehouse_shared::config::{self, SourceFile};

    #[derive(Deserialize)]
    struct File {
        route: Vec<Config>,
        cluster: Vec<crate::balance::cluster::Config>,
    }

    fn compile(routes: &str) -> Result<Table, String> {
        let clusters = "[[cluster]]\nname = \"a\"\nnodes = [\"127.0.0.1:1\"]\n[[cluster]]\nname = \"b\"\nnodes = [\"127.0.0.1:2\"]\n";
        let file = SourceFile { path: "edge.toml".into(), text: format!("{routes}\n{clusters}") };
        let document = config::parse::<File>(&file).map_err(|errors| errors.to_string())?;
        let clusters: Vec<_> = document
            .value
            .cluster
            .iter()
            .map(|cluster| Arc::new(Cluster::compile(cluster, None, None, &document.positions, "cluster[0]").unwrap()))
            .collect();
        let names: Vec<&str> = document.value.cluster.iter().map(|cluster| cluster.name.as_str()).collect();
        Table::compile(&document.value.route, &names, &clusters, &document.positions)
            .map_err(|errors| errors.to_string())
    }

    fn found(table: &Table, host: &str, path: &str) -> Option<String> {
        table.find(host, path).map(|route| route.name.to_string())
    }

    const ROUTES: &str = r#"
        [[route]]
        cluster = "a"
        [[route]]
        hosts = ["api.example.com"]
        path_prefix = "/v1"
        cluster = "a"
        [[route]]
        hosts = ["API.example.com"]
        path_prefix = "/v1/orders/"
        cluster = "b"
        [[route]]
        hosts = ["*.example.com"]
        path_prefix = "/v2"
        cluster = "b"
        [[route]]
        hosts = ["*.eu.example.com", "[::1]"]
        cluster = "b"
    "#;

    #[test]
    fn the_most_specific_route_wins() {
        let table = compile(ROUTES).unwrap();
        for (host, path, expected) in [
            ("api.example.com", "/v1", "api.example.com/v1"),
            ("api.example.com", "/v1/users", "api.example.com/v1"),
            ("api.example.com", "/v1/orders", "API.example.com/v1/orders/"),
            ("api.example.com", "/v1/orders/7", "API.example.com/v1/orders/"),
            ("api.example.com", "/v1/ordersx", "api.example.com/v1"),
            ("api.example.com", "/v2/x", "*.example.com/v2"),
            ("api.example.com", "/v10", "*/"),
            ("a.b.example.com", "/v2", "*.example.com/v2"),
            ("x.eu.example.com", "/v2", "*.eu.example.com,[::1]/"),
            ("example.com", "/v2", "*/"),
            ("[::1]", "/", "*.eu.example.com,[::1]/"),
            ("other", "*", "*/"),
        ] {
            assert_eq!(found(&table, host, path).as_deref(), Some(expected), "{host} {path}");
        }
    }

    #[test]
    fn without_a_fitting_route_there_is_none() {
        let table = compile("[[route]]\nhosts = [\"a.com\"]\npath_prefix = \"/x\"\ncluster = \"a\"").unwrap();
        assert_eq!(found(&table, "a.com", "/y"), None);
        assert_eq!(found(&table, "b.com", "/x"), None);
    }

    #[test]
    fn says_everything_that_is_wrong_with_the_routes() {
        let error = compile(concat!(
            "[[route]]\ncluster = \"nope\"\n",
            "[[route]]\npath_prefix = \"v1\"\ncluster = \"a\"\n",
            "[[route]]\nhosts = [\"a.com\", \"a com\", \"*.*.com\"]\ncluster = \"a\"\n",
            "[[route]]\nhosts = [\"A.com\"]\ncluster = \"b\"\n",
        ))
        .unwrap_err();
        assert_eq!(
            error,
            "edge.toml:2:11: there is no cluster named \"nope\" (name one of [[cluster]]: a, b)\n\
             edge.toml:4:15: \"v1\" must start with a slash\n\
             edge.toml:7:19: \"a com\" is not a host name, an address or `*.` and a host name\n\
             edge.toml:7:28: \"*.*.com\" is not a host name, an address or `*.` and a host name\n\
             edge.toml:10:10: another route already has A.com with path_prefix \"/\""
        );
    }
}
