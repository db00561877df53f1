//! `[access]` compiled: every list with its entries.

use std::net::IpAddr;
use std::sync::Arc;

use gatehouse_shared::cidr::Network;
use gatehouse_shared::config::{ConfigErrors, Positions, Sources};
use http::Method;

use super::config::{Config, Effect, ListConfig, ListKind};
use super::finding::{Finding, Terms};
use super::lines::shown;
use super::list::{ListFile, ListFiles};
use super::matchers::Matchers;
use super::networks::{Networks, Part};
use super::overview::Overview;
use super::pattern::{Dialect, Written};
use crate::admit::Mode;

/// The longest name of a list.
const MAX_NAME: usize = 64;

/// The access lists of one configuration generation.
#[derive(Debug)]
pub struct Access {
    pub(super) allow: Vec<Networks>,
    pub(super) deny: Vec<Networks>,
    pub(super) hosts: Matchers,
    pub(super) methods: Vec<(Method, Written)>,
    pub(super) user_agents: Matchers,
    pub(super) denied_urls: Matchers,
    pub(super) allowed_urls: Matchers,
    files: Box<[ListFile]>,
    overviews: Vec<Overview>,
}

impl Access {
    /// Compiles `[access]`; files of networks whose content is the same as in `before` are taken from there.
    ///
    /// # Errors
    /// Every file that cannot be read, the first 20 wrong lines of each, and every pattern that is none.
    pub fn compile(
        config: &Config,
        before: Option<&Self>,
        sources: &mut Sources,
        positions: &Positions,
    ) -> Result<Self, ConfigErrors> {
        let mut errors = ConfigErrors::new();
        let mut lists = Lists::inline(config, positions, &mut errors);
        let mut files = ListFiles::new(before.map_or(&[], |before| &before.files));
        for (index, list) in config.list.iter().enumerate() {
            let names = config.list.iter().take(index).map(|list| list.name.as_str());
            check(list, names, &format!("access.list[{index}]"), positions, &mut errors);
            lists.add(list, &mut files, sources, &mut errors);
        }
        let mut matchers = |dialect, written| errors.collect(Matchers::compile(dialect, written));
        let hosts = matchers(Dialect::Host, lists.hosts);
        let user_agents = matchers(Dialect::UserAgent, lists.user_agents);
        let denied_urls = matchers(Dialect::DeniedUrl, lists.denied_urls);
        let allowed_urls = matchers(Dialect::AllowedUrl, lists.allowed_urls);
        let (Some(hosts), Some(user_agents), Some(denied_urls), Some(allowed_urls)) =
            (hosts, user_agents, denied_urls, allowed_urls)
        else {
            return Err(errors);
        };
        let Lists { allow, deny, methods, overviews, .. } = lists;
        let files = files.all();
        errors.into_result(Self {
            allow,
            deny,
            hosts,
            methods,
            user_agents,
            denied_urls,
            allowed_urls,
            files,
            overviews,
        })
    }

    /// Whether there is no list and no entry, so that nothing need be judged.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        let patterns = [&self.hosts, &self.user_agents, &self.denied_urls, &self.allowed_urls];
        self.allow.is_empty()
            && self.deny.is_empty()
            && self.methods.is_empty()
            && self.overviews.is_empty()
            && patterns.iter().all(|matchers| matchers.is_empty())
    }

    /// An allowed network that shares an address with this one at `now`, in Unix seconds: who would block it would block
    /// somebody who is to pass.
    #[must_use]
    pub fn allowed_overlap(&self, network: Network, now: u64) -> Option<Finding<'_>> {
        self.allow.iter().find_map(|list| list.overlap(network, now))
    }

    /// Every `[[access.list]]` with its files.
    #[must_use]
    pub fn overviews(&self) -> &[Overview] {
        &self.overviews
    }

    /// The allowed network that an address is in at `now`, in Unix seconds.
    pub(super) fn allowed(&self, address: IpAddr, now: u64) -> Option<Finding<'_>> {
        self.allow.iter().find_map(|list| list.find(address, now))
    }
}

/// The entries of all lists while they are collected.
#[derive(Default)]
struct Lists {
    allow: Vec<Networks>,
    deny: Vec<Networks>,
    hosts: Vec<Written>,
    methods: Vec<(Method, Written)>,
    user_agents: Vec<Written>,
    denied_urls: Vec<Written>,
    allowed_urls: Vec<Written>,
    overviews: Vec<Overview>,
}

impl Lists {
    /// The entries of the configuration itself.
    fn inline(config: &Config, positions: &Positions, errors: &mut ConfigErrors) -> Self {
        let Config { allow, deny, .. } = config;
        let allowed = Arc::new(Terms { list: "access.allow".into(), mode: Mode::Enforce, action: None });
        let denied = Arc::new(Terms { list: "access.deny".into(), mode: deny.mode, action: deny.action });
        let mut networks = |terms: &Arc<Terms>, entries: &[String], path: &str| {
            let networks = errors.collect(Networks::inline(Arc::clone(terms), entries, path, positions));
            networks.filter(|networks| !networks.is_empty()).into_iter().collect()
        };
        let written = |entries: &[String], path: &str| Written::all_inline(&denied, entries, path, positions);
        Self {
            allow: networks(&allowed, &allow.networks, "access.allow.networks"),
            deny: networks(&denied, &deny.networks, "access.deny.networks"),
            hosts: written(&deny.hosts, "access.deny.hosts"),
            methods: methods(written(&deny.methods, "access.deny.methods"), errors),
            user_agents: written(&deny.user_agents, "access.deny.user_agents"),
            denied_urls: written(&deny.urls, "access.deny.urls"),
            allowed_urls: Written::all_inline(&allowed, &allow.urls, "access.allow.urls", positions),
            overviews: Vec::new(),
        }
    }

    /// The entries of an `[[access.list]]`.
    fn add(&mut self, list: &ListConfig, files: &mut ListFiles<'_>, sources: &mut Sources, errors: &mut ConfigErrors) {
        let ListConfig { name, kind, effect, mode, action, .. } = list;
        let terms = Arc::new(Terms { list: name.as_str().into(), mode: *mode, action: *action });
        let mut overview = Overview::of(list);
        if *kind == ListKind::Networks {
            let mut parts = Vec::new();
            for file in &list.files {
                let Some(loaded) = errors.collect(files.load(file, sources)) else { continue };
                overview.add(loaded.set.list(), loaded.set.len(), loaded.fingerprint);
                parts.push(Part { file: loaded.set.list().into(), set: loaded.set });
            }
            let networks = Networks { terms, parts };
            match effect {
                Effect::Allow => self.allow.push(networks),
                Effect::Deny => self.deny.push(networks),
            }
        } else {
            let all = match (kind, effect) {
                (ListKind::Networks | ListKind::Hosts, _) => &mut self.hosts,
                (ListKind::UserAgents, _) => &mut self.user_agents,
                (ListKind::Urls, Effect::Deny) => &mut self.denied_urls,
                (ListKind::Urls, Effect::Allow) => &mut self.allowed_urls,
            };
            for file in &list.files {
                let read = errors.collect(Written::all_of_file(&terms, file, sources));
                let Some((fingerprint, written)) = read else { continue };
                overview.add(&file.display().to_string(), written.len(), fingerprint);
                all.extend(written);
            }
        }
        self.overviews.push(overview);
    }
}

/// Checks what an `[[access.list]]` says of itself.
fn check<'n>(
    list: &ListConfig,
    mut names: impl Iterator<Item = &'n str>,
    path: &str,
    positions: &Positions,
    errors: &mut ConfigErrors,
) {
    let ListConfig { name, files, kind, effect, mode, action } = list;
    let mut refuse = |field: &str, message: String, remedy: &str| {
        errors.push(positions.error(&format!("{path}.{field}"), message, Some(remedy.to_owned())));
    };
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    if !(1..=MAX_NAME).contains(&name.len()) || !name.bytes().all(is_plain) {
        refuse("name", format!("{} is no name of a list", shown(name)), "use 1 to 64 letters, digits, \"_\" and \"-\"");
    }
    if names.any(|other| other == name) {
        refuse("name", format!("there are two lists named {}", shown(name)), "give each a name of its own");
    }
    if files.is_empty() {
        refuse("files", format!("the list {} has no file", shown(name)), "name at least one");
    }
    if *effect == Effect::Deny {
        return;
    }
    if !matches!(kind, ListKind::Networks | ListKind::Urls) {
        refuse("effect", format!("{} cannot be allowed", kind.name()), "only networks and urls can");
    }
    if *mode == Mode::Observe {
        refuse(
            "mode",
            "what is allowed cannot be observed".to_owned(),
            "use effect = \"deny\" with mode = \"observe\"",
        );
    }
    if action.is_some() {
        refuse("action", "what is allowed is not answered here".to_owned(), "leave action out");
    }
}

fn methods(names: Vec<Written>, errors: &mut ConfigErrors) -> Vec<(Method, Written)> {
    let mut methods = Vec::new();
    for written in names {
        let name = written.text();
        match Method::from_bytes(name.as_bytes()) {
            Ok(method) if !name.contains(|c: char| c.is_ascii_lowercase()) => methods.push((method, written)),
            _ => {
                errors.push(written.error(format!("{} is no method", shown(name)), "write it in capitals, as in PATCH"))
            }
        }
    }
    methods
}
