//! Everything compiled from one configuration generation.
//!
//! [`Policy::load`] is the one way from files to a policy: `run`, `check`, the watcher and the tests call it. It reads
//! every file, compiles every part, checks them against each other, and returns either *all* errors or one complete
//! policy. Health, counters and connections of what stays are carried over from the policy before it.

use std::{path::Path, sync::Arc};

use gatehouse_shared::{
    balance::{ZONE_FORM, is_zone},
    config::{self, ConfigErrors, Document, Positions, Sources},
    hop::HopKeys,
    live::{Load, Loaded},
    process,
    telemetry::access_log,
};

use crate::{
    accept,
    admit::{Admission, limit::Credentials},
    answer::{self, Answers},
    balance::{Cluster, route},
    config::{Config, Drain, FILE, Process},
    observe::security_log,
    server::{limits, sockets::MOST_SOCKETS},
};

/// The kernel's bound on the path of a Unix socket, with its final NUL.
const LONGEST_SOCKET_PATH: usize = 107;

/// A compiled configuration.
pub struct Policy {
    /// Name of this node.
    pub node: Box<str>,
    /// Zone of this node, which a running process keeps from its start.
    pub zone: Option<String>,
    /// `[process]` as written: what a running process keeps from its start.
    pub process: Process,
    /// Bounds and rules of the way in.
    pub accept: accept::Bounds,
    /// The stages that requests pass.
    pub admission: Admission,
    /// What refused clients are answered.
    pub answers: Answers,
    /// What bounds the answers that are kept.
    pub cache: answer::cache::Config,
    /// Where callers put credentials.
    pub credentials: Credentials,
    /// Signs requests to the business tier.
    pub hop: HopKeys,
    /// Which requests go where.
    pub routes: route::Table,
    /// Every cluster, in the order of the configuration.
    pub clusters: Vec<Arc<Cluster>>,
    access_log: access_log::Config,
    security_log: security_log::Settings,
    /// How the fleet's store is reached: what a running process keeps from its start.
    pub store: gatehouse_store::Settings,
    store_written: gatehouse_store::Config,
    /// How the process ends.
    pub drain: Drain,
}

impl Load for Policy {
    fn load(dir: &Path, before: Option<&Self>) -> Result<Loaded<Self>, ConfigErrors> {
        let mut sources = Sources::new(dir);
        let file = sources.read(FILE)?;
        let Document { value: config, positions } = config::parse::<Config>(&file)?;
        let mut errors = ConfigErrors::new();

        let node = errors.collect(check_process(&config.process, &positions));
        let accept =
            errors.collect(accept::compile(&config, before.map(|before| &before.accept), &mut sources, &positions));
        let before_admission = before.map(|before| &before.admission);
        let admission = errors.collect(Admission::compile(&config, before_admission, &mut sources, &positions));
        errors.collect(config.cache.check(&positions));
        // What is wrong with them was said by the limits.
        let credentials = Credentials::compile(&config.limits.credentials, &positions).unwrap_or_default();
        let answers = errors.collect(Answers::compile(&config.answer, &mut sources, &positions));
        let hop = errors.collect(HopKeys::compile(&config.hop.keys, "hop.keys", &positions, &mut sources));
        let zone = before.map_or_else(|| config.process.zone.clone(), |before| before.zone.clone());
        let (clusters, cluster_errors) = clusters(&config, zone.as_deref(), before, &positions);
        errors.extend(cluster_errors);
        let names: Vec<&str> = config.cluster.iter().map(|cluster| cluster.name.as_str()).collect();
        let routes = errors.collect(route::Table::compile(&config.route, &names, &clusters, &positions));
        if config.route.is_empty() {
            errors.push(positions.error(
                "route",
                "there is no [[route]]",
                Some("without one, every request gets 404".into()),
            ));
        }
        if config.access_log.queue == 0 {
            errors.push(positions.error("access_log.queue", "queue must be at least 1", None));
        }
        let security_log = errors.collect(security_log::Settings::compile(&config.security_log, &positions));
        let store = errors.collect(config.store.compile("store", &mut sources, &positions));
        let (
            Some(node),
            Some(accept),
            Some(admission),
            Some(answers),
            Some(hop),
            Some(routes),
            Some(security_log),
            Some(store),
        ) = (node, accept, admission, answers, hop, routes, security_log, store)
        else {
            return Err(errors);
        };
        if let Some(before) = before
            && before.process != config.process
        {
            tracing::warn!("[process] has changed; the change takes effect with the next start or upgrade");
        }
        if before.is_some_and(|before| before.store_written != config.store) {
            tracing::warn!("[store] has changed; the change takes effect with the next start or upgrade");
        }
        let policy = Self {
            node,
            zone,
            process: config.process,
            accept,
            admission,
            answers,
            cache: config.cache,
            credentials,
            hop,
            routes,
            clusters,
            access_log: config.access_log,
            security_log,
            store,
            store_written: config.store,
            drain: config.drain,
        };
        Ok(Loaded::new(errors.into_result(policy)?, sources))
    }
}

impl Policy {
    /// The access log; the path of a file is relative to the state directory.
    #[must_use]
    pub fn access_log(&self) -> access_log::Config {
        self.access_log.below(&self.process.state_dir)
    }

    /// The security log; the path of a file is relative to the state directory.
    #[must_use]
    pub fn security_log(&self) -> security_log::Settings {
        self.security_log.below(&self.process.state_dir)
    }
}

/// Checks `[process]` and returns the node's name.
fn check_process(config: &Process, positions: &Positions) -> Result<Box<str>, ConfigErrors> {
    let mut errors = ConfigErrors::new();
    if config.threads == Some(0) {
        errors.push(positions.error("process.threads", "threads must be at least 1", None));
    }
    if config.listener.is_empty() {
        errors.push(positions.error("process.listener", "there is no [[process.listener]]", None));
    }
    if config.listener.len() >= MOST_SOCKETS {
        let message = format!("an upgrade can pass on {} listeners and the admin listener", MOST_SOCKETS - 1);
        errors.push(positions.error("process.listener", message, None));
    }
    if let Err(message) = limits::connections(config.max_connections) {
        errors.push(positions.error("process.max_connections", message, Some("raise LimitNOFILE or lower it".into())));
    }
    if config.upgrade_socket().as_os_str().len() > LONGEST_SOCKET_PATH {
        let message = format!("the path of the upgrade socket is longer than {LONGEST_SOCKET_PATH} bytes");
        errors.push(positions.error(
            "process.upgrade_socket",
            message,
            Some("set upgrade_socket to a shorter one".into()),
        ));
    }
    if let Some(zone) = config.zone.as_deref().filter(|zone| !is_zone(zone)) {
        errors.push(positions.error("process.zone", format!("{zone:?} is not a zone"), Some(ZONE_FORM.to_owned())));
    }
    let node = config.node.clone().unwrap_or_else(process::host_name);
    if !process::is_node_name(&node) {
        let message = format!("\"{node}\" is not a node name: letters, digits, dots and dashes, at most 64");
        errors.push(positions.error("process.node", message, Some("set node".into())));
    }
    errors.into_result(node.into())
}

/// The clusters that are valid, and what is wrong with the others.
fn clusters(
    config: &Config,
    zone: Option<&str>,
    before: Option<&Policy>,
    positions: &Positions,
) -> (Vec<Arc<Cluster>>, ConfigErrors) {
    let mut errors = ConfigErrors::new();
    let mut compiled = Vec::new();
    for (index, cluster) in config.cluster.iter().enumerate() {
        let path = format!("cluster[{index}]");
        if config.cluster.iter().take(index).any(|other| other.name == cluster.name) {
            let message = format!("there are two clusters named \"{}\"", cluster.name);
            errors.push(positions.error(&format!("{path}.name"), message, None));
        }
        let same = before.and_then(|before| before.clusters.iter().find(|other| *other.name == *cluster.name));
        let cluster = Cluster::compile(cluster, zone, same.map(Arc::as_ref), positions, &path);
        compiled.extend(errors.collect(cluster).map(Arc::new));
    }
    (compiled, errors)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    const EDGE: &str = r#"
        [process]
        state_dir = "/nowhere"
        [[process.listener]]
        address = "127.0.0.1:0"
        [hop]
        keys = [{ id = "a", secret = { file = "hop.key" } }]
        [[route]]
        cluster = "business"
        [[cluster]]
        name = "business"
        nodes = ["127.0.0.1:1", "127.0.0.1:2"]
    "#;

    fn dir_with(text: &str) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(FILE), text).unwrap();
        fs::write(dir.path().join("hop.key"), "0123456789abcdef0123456789abcdef\n").unwrap();
        dir
    }

    #[test]
    fn the_shipped_configuration_is_valid() {
        let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/config/edge").join(FILE);
        let dir = dir_with(&fs::read_to_string(&shipped).unwrap());
        fs::create_dir(dir.path().join("waf")).unwrap();
        for file in fs::read_dir(shipped.with_file_name("waf")).unwrap().map(Result::unwrap) {
            fs::copy(file.path(), dir.path().join("waf").join(file.file_name())).unwrap();
        }
        let policy = Policy::load(dir.path(), None).map_err(|errors| errors.to_string()).unwrap().value;
        assert_eq!(policy.clusters.len(), 1);
        assert!(policy.routes.find("any.example", "/").is_some());
    }

    #[test]
    fn every_mistake_is_reported_at_once() {
        let text = EDGE
            .replace("name = \"business\"", "name = \"bussiness\"\nconnections_per_node = 0")
            .replace("state_dir = \"/nowhere\"", "threads = 0\nnode = \"a b\"");
        let dir = dir_with(&text);
        fs::write(dir.path().join("hop.key"), "short").unwrap();
        let errors = Policy::load(dir.path(), None).map(|_| ()).unwrap_err().to_string();
        for part in [
            "no cluster named \"business\"",
            "threads must be",
            "is not a node name",
            "hop.key",
            "connections_per_node must be",
        ] {
            assert!(errors.contains(part), "{part} in:\n{errors}");
        }
        assert_eq!(errors.lines().count(), 5, "{errors}");
    }

    #[test]
    fn nodes_have_weights_and_zones_and_a_wrong_one_is_named_where_it_stands() {
        let nodes = "nodes = [\"127.0.0.1:1\", \"127.0.0.1:2\"]";
        let tables = "nodes = [\"127.0.0.1:1\", { address = \"127.0.0.1:2\", weight = 3, zone = \"a\" }]";
        let zoned = EDGE.replace("[process]", "[process]\n zone = \"a\"");
        let load = |text: String| Policy::load(dir_with(&text).path(), None).map_err(|errors| errors.to_string());
        let policy = load(zoned.replace(nodes, tables)).unwrap().value;
        let status = policy.clusters[0].pool.status(gatehouse_shared::clock::now());
        assert_eq!((status[0].weight, status[0].zone.as_deref()), (1, None));
        assert_eq!((status[1].weight, status[1].zone.as_deref()), (3, Some("a")));

        let wrong = tables.replace("127.0.0.1:1", "localhost:1").replace("weight = 3", "weight = 0");
        let wrong = format!("{wrong}\nbalance = {{ load_bound_percent = 100 }}");
        let errors =
            load(zoned.replace("zone = \"a\"", "zone = \"a b\"").replace(nodes, &wrong)).map(|_| ()).unwrap_err();
        for part in [
            "edge.toml:3:9: \"a b\" is not a zone",
            "\"localhost:1\" is not an address",
            "the weight 0 is not",
            "must be 101 to 1000",
        ] {
            assert!(errors.contains(part), "{part} in:\n{errors}");
        }
        assert_eq!(errors.lines().count(), 4, "{errors}");
    }

    #[test]
    fn connections_outlive_a_reload() {
        let dir = dir_with(EDGE);
        let before = Policy::load(dir.path(), None).unwrap().value;
        fs::write(dir.path().join(FILE), EDGE.replace("127.0.0.1:2", "127.0.0.1:3")).unwrap();
        let after = Policy::load(dir.path(), Some(&before)).unwrap().value;
        let connections = |policy: &Policy, index: usize| Arc::clone(&policy.clusters[0].nodes()[index].connections);
        assert!(Arc::ptr_eq(&connections(&before, 0), &connections(&after, 0)));
        assert!(!Arc::ptr_eq(&connections(&before, 1), &connections(&after, 1)));
    }
}
