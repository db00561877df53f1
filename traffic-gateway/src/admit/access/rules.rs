//! The compiled lists, and the order in which they are asked.

use std::borrow::Cow;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

use gatehouse_shared::cidr::{Network, NetworkSet, NetworkSetBuilder, Note};
use gatehouse_shared::config::{ConfigErrors, Positions, Sources};
use http::Method;

use super::config::Config;
use super::finding::{Finding, Judgement, Kind};
use super::lines::shown;
use super::list::{List, Lists};
use super::pattern::{Dialect, Patterns, Places, Written};

/// What is judged of a request.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// Who sent it.
    pub client: IpAddr,
    /// The host, in lower case and without port.
    pub host: &'a str,
    /// The method.
    pub method: &'a Method,
    /// The canonical path.
    pub path: &'a str,
    /// The query as it was sent, without its `?`.
    pub query: Option<&'a str>,
    /// The user agent; `None` is judged like an empty one.
    pub user_agent: Option<&'a [u8]>,
}

/// The access lists of one configuration generation.
#[derive(Debug)]
pub struct Access {
    allow: Networks,
    deny: Networks,
    hosts: Patterns,
    methods: Vec<(Method, Written)>,
    user_agents: Patterns,
    denied_urls: Patterns,
    allowed_urls: Patterns,
    lists: Box<[List]>,
}

impl Access {
    /// Compiles `[access]`; list files whose content is the same as in `before` are taken from there.
    ///
    /// # Errors
    /// Every file that cannot be read, the first 20 wrong lines of each, and every pattern that is none.
    pub fn compile(
        config: &Config,
        before: Option<&Self>,
        positions: &Positions,
        sources: &mut Sources,
    ) -> Result<Self, ConfigErrors> {
        let mut errors = ConfigErrors::new();
        let mut lists = Lists::new(before.map_or(&[], |before| &before.lists));
        let Config { allow, deny } = config;
        let mut networks = |inline: &[Network], path: &str, files: &[PathBuf]| {
            let inline = errors.collect(inline_networks(inline, path, positions));
            let files = files.iter().map(|file| errors.collect(lists.load(file, sources))).collect::<Vec<_>>();
            Networks { inline: inline.unwrap_or_default(), files: files.into_iter().flatten().collect() }
        };
        let allowed = networks(&allow.networks, "access.allow.networks", &allow.network_files);
        let denied = networks(&deny.networks, "access.deny.networks", &deny.network_files);
        let mut patterns = |dialect, inline: &[String], path: &str, files: &[PathBuf]| {
            errors.collect(Patterns::compile(dialect, &Places { inline, path, files }, positions, sources))
        };
        let hosts = patterns(Dialect::Host, &deny.hosts, "access.deny.hosts", &deny.host_files);
        let agents = &deny.user_agents;
        let agents = patterns(Dialect::UserAgent, agents, "access.deny.user_agents", &deny.user_agent_files);
        let denied_urls = patterns(Dialect::DeniedUrl, &deny.urls, "access.deny.urls", &deny.url_files);
        let allowed_urls = patterns(Dialect::AllowedUrl, &allow.urls, "access.allow.urls", &allow.url_files);
        let methods = errors.collect(methods(&deny.methods, positions));
        let (Some(hosts), Some(user_agents), Some(denied_urls), Some(allowed_urls), Some(methods)) =
            (hosts, agents, denied_urls, allowed_urls, methods)
        else {
            return Err(errors);
        };
        let (allow, deny, lists) = (allowed, denied, lists.all());
        errors.into_result(Self { allow, deny, hosts, methods, user_agents, denied_urls, allowed_urls, lists })
    }

    /// Judges an address at `now`, in Unix seconds; all that is known when a connection is accepted.
    #[must_use]
    pub fn judge_address(&self, address: IpAddr, now: u64) -> Judgement<'_> {
        if let Some(finding) = self.allow.find(address, now) {
            return Judgement::Allowed(finding);
        }
        self.deny.find(address, now).map_or(Judgement::Pass, Judgement::Denied)
    }

    /// Judges a request at `now`, in Unix seconds: its client first, then host, method, user agent and URL.
    #[must_use]
    pub fn judge(&self, request: &Request<'_>, now: u64) -> Judgement<'_> {
        let by_address = self.judge_address(request.client, now);
        if by_address != Judgement::Pass {
            return by_address;
        }
        if let Some(finding) = self.denied(request) {
            return Judgement::Denied(finding);
        }
        if self.denied_urls.is_empty() && self.allowed_urls.is_empty() {
            return Judgement::Pass;
        }
        let url = match request.query {
            None => Cow::Borrowed(request.path),
            Some(query) => Cow::Owned([request.path, "?", query].concat()),
        };
        if let Some(finding) = self.denied_urls.find(url.as_bytes()) {
            return Judgement::Denied(finding);
        }
        self.allowed_urls.find(url.as_bytes()).map_or(Judgement::Pass, Judgement::SkipWaf)
    }

    /// An allowed network that shares an address with this one at `now`, in Unix seconds: who would block it would block
    /// somebody who is to pass.
    #[must_use]
    pub fn allowed_overlap(&self, network: Network, now: u64) -> Option<Finding<'_>> {
        self.allow.sets().find_map(|set| set.overlap(network, |entry| entry.counts_at(now))).map(Finding::from)
    }

    /// The list files, with the number of their entries.
    #[must_use]
    pub fn lists(&self) -> &[List] {
        &self.lists
    }

    fn denied(&self, request: &Request<'_>) -> Option<Finding<'_>> {
        let host = self.hosts.find(request.host.as_bytes());
        let method = || {
            let listed = self.methods.iter().find(|(method, _)| method == request.method);
            listed.map(|(_, written)| written.finding(Kind::Method))
        };
        let agent = || self.user_agents.find(request.user_agent.unwrap_or_default());
        host.or_else(method).or_else(agent)
    }
}

/// Networks of the configuration and of list files.
#[derive(Debug)]
struct Networks {
    inline: NetworkSet,
    files: Vec<Arc<NetworkSet>>,
}

impl Networks {
    fn find(&self, address: IpAddr, now: u64) -> Option<Finding<'_>> {
        self.sets().find_map(|set| set.find(address, now)).map(Finding::from)
    }

    fn sets(&self) -> impl Iterator<Item = &NetworkSet> {
        std::iter::once(&self.inline).chain(self.files.iter().map(Arc::as_ref))
    }
}

/// The networks of the configuration itself, each with its line.
fn inline_networks(networks: &[Network], path: &str, positions: &Positions) -> Result<NetworkSet, ConfigErrors> {
    let mut builder = NetworkSetBuilder::new(positions.file());
    for (index, network) in networks.iter().enumerate() {
        let (line, _) = positions.place(&format!("{path}[{index}]"));
        builder.add(*network, &Note::default(), u32::try_from(line).unwrap_or(u32::MAX));
    }
    builder.build().map_err(|error| positions.error(path, error.to_string(), None).into())
}

fn methods(names: &[String], positions: &Positions) -> Result<Vec<(Method, Written)>, ConfigErrors> {
    let mut errors = ConfigErrors::new();
    let mut methods = Vec::new();
    for (index, name) in names.iter().enumerate() {
        let written = Written::inline(name, &format!("access.deny.methods[{index}]"), positions);
        match Method::from_bytes(name.as_bytes()) {
            Ok(method) if !name.contains(|c: char| c.is_ascii_lowercase()) => methods.push((method, written)),
            _ => {
                errors.push(written.error(format!("{} is no method", shown(name)), "write it in capitals, as in TRACE"))
            }
        }
    }
    errors.into_result(methods)
}
