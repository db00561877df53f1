//! What an application may call. Its record names packages; a package holds APIs by name or pattern. Any one of its packages that
//! holds the API, and whose own networks, scopes and condition are met, lets the call pass. Before that the application's
//! networks are looked at, after it the scopes and the condition of the API itself.
//!
//! Applications come and go without the catalog, so a record may name packages that the catalog does not have: they grant
//! nothing, and are counted when a call is refused.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use gatehouse_shared::cidr::Network;
use gatehouse_shared::config::{ConfigErrors, Positions};
use http::request::Parts;
use jiff::tz::TimeZone;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::app::of_api::Access;
use super::caller::Caller;
use super::flow_rule::{Bounds, Expression, Facts, Place, Stage, Yields};
use super::pattern::ApiPattern;
use crate::store::catalog::{At, check_name};

/// `[[package]]`: APIs that are granted together.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The package's name, as the records of applications name it; unique. Letters, digits, `.`, `_` and `-`.
    pub name: String,
    /// The APIs in it: names, or the start of names with a star. Example: `["orders.*", "stock.read"]`.
    pub apis: Vec<String>,
    /// Scopes that a token or session needs for a call by this package, beside those of the API. Default: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub scopes: Vec<String>,
    /// Where calls by this package come from. Default: anywhere.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub networks: Vec<Network>,
    /// A CEL expression that must be true of a call by this package. Example: `"method == 'GET'"`. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub condition: Option<String>,
}

/// A package as compiled.
#[derive(Debug)]
pub struct Package {
    /// Its name.
    pub name: Arc<str>,
    apis: Vec<ApiPattern>,
    scopes: Vec<Box<str>>,
    networks: Vec<Network>,
    condition: Option<Expression>,
}

/// All packages of a catalog.
#[derive(Debug, Default)]
pub struct Packages {
    all: Grants,
    counters: Arc<Counters>,
}

/// What is counted of permissions; outlives reloads.
#[derive(Debug, Default)]
pub struct Counters {
    unknown: AtomicU64,
}

impl Counters {
    /// Packages that refused applications name and the catalog does not have.
    #[must_use]
    pub fn unknown(&self) -> u64 {
        self.unknown.load(Ordering::Relaxed)
    }
}

/// Packages that hold something, to be found by name in a few nanoseconds.
#[derive(Debug, Default)]
struct Grants {
    /// The [`mark`]s of all names: most names that are not here are told by it alone.
    marks: u64,
    packages: Vec<Arc<Package>>,
}

/// What one API asks of its callers.
#[derive(Debug, Default)]
pub struct ApiPermission {
    access: Access,
    grants: Grants,
    scopes: Vec<Box<str>>,
    condition: Option<Expression>,
}

/// Why an application may not make a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The API acts for users, and there is none.
    #[error("no user")]
    User,
    /// The application, or the package that holds the API, is not for this address.
    #[error("the application may not call from this address")]
    Address,
    /// No package of the application holds the API.
    #[error("no package of the application holds the API")]
    Package,
    /// The credentials lack a scope.
    #[error("the credentials lack a scope")]
    Scope,
    /// The condition of the API or of the package is not met.
    #[error("a condition is not met")]
    Condition,
    /// The condition could not be evaluated.
    #[error("a condition could not be evaluated")]
    Failed,
}

impl Packages {
    /// Compiles the packages of a catalog; what is counted is carried over from `before`.
    ///
    /// # Errors
    /// Everything that is wrong with them.
    pub fn compile(
        configs: &[Config],
        positions: &Positions,
        bounds: &Bounds,
        apis: &[&str],
        before: Option<&Self>,
    ) -> Result<Self, ConfigErrors> {
        let mut errors = ConfigErrors::new();
        let counters = before.map(|before| Arc::clone(&before.counters)).unwrap_or_default();
        let mut packages = Self { all: Grants::default(), counters };
        for (index, config) in configs.iter().enumerate() {
            let at = At { positions, path: format!("package[{index}]") };
            check_name(&config.name, &at, &mut errors);
            if configs.iter().take(index).any(|other| other.name == config.name) {
                errors.push(at.error("name", format!("a second package {:?}", config.name), "give each its own name"));
            }
            if config.apis.is_empty() {
                errors.push(at.error("apis", "no API, so nothing is granted", "write [\"*\"] for all"));
            }
            let patterns = errors.collect(ApiPattern::compile_all(&config.apis, "apis", &at, apis));
            let condition = config.condition.as_ref().map(|text| condition(text, &at, bounds));
            let condition = condition.map(|condition| errors.collect(condition));
            packages.all.add(Arc::new(Package {
                name: config.name.as_str().into(),
                apis: patterns.unwrap_or_default(),
                scopes: boxed(&config.scopes),
                networks: config.networks.clone(),
                condition: condition.flatten(),
            }));
        }
        errors.into_result(packages)
    }

    /// What an API asks of its callers.
    ///
    /// # Errors
    /// A condition that is none.
    pub fn of_api(
        &self,
        written: &super::api::Config,
        at: &At<'_>,
        bounds: &Bounds,
    ) -> Result<ApiPermission, ConfigErrors> {
        let mut grants = Grants::default();
        for package in &self.all.packages {
            if package.apis.iter().any(|pattern| pattern.matches(&written.name)) {
                grants.add(Arc::clone(package));
            }
        }
        let condition = written.condition.as_ref().map(|text| condition(text, at, bounds)).transpose()?;
        Ok(ApiPermission { access: written.access, grants, scopes: boxed(&written.scopes), condition })
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.all.packages.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.all.packages.is_empty()
    }

    /// What is counted.
    #[must_use]
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    fn count_unknown(&self, names: &[Arc<str>]) {
        let unknown = names.iter().filter(|name| self.all.find(name).is_none()).count();
        if unknown > 0 {
            self.counters.unknown.fetch_add(u64::try_from(unknown).unwrap_or(u64::MAX), Ordering::Relaxed);
        }
    }
}

fn boxed(texts: &[String]) -> Vec<Box<str>> {
    texts.iter().map(|text| text.as_str().into()).collect()
}

fn condition(text: &str, at: &At<'_>, bounds: &Bounds) -> Result<Expression, ConfigErrors> {
    let place = Place { at, key: "condition", stage: Stage::Request, bounds, zone: &TimeZone::UTC };
    Expression::compile(text, Yields::Bool, place)
}

impl Grants {
    fn add(&mut self, package: Arc<Package>) {
        self.marks |= mark(&package.name);
        self.packages.push(package);
    }

    fn find(&self, name: &str) -> Option<&Package> {
        if self.marks & mark(name) == 0 {
            return None;
        }
        self.packages.iter().find(|package| *package.name == *name).map(Arc::as_ref)
    }
}

/// One bit of 64, by the length and two letters of a name. A name that is not there is usually told by it; one that is there is
/// compared.
fn mark(name: &str) -> u64 {
    let bytes = name.as_bytes();
    let letter = |byte: Option<&u8>| u32::from(*byte.unwrap_or(&0));
    let length = u32::try_from(bytes.len()).unwrap_or(0);
    let mixed = length.wrapping_mul(7) ^ letter(bytes.last()).wrapping_mul(11) ^ letter(bytes.first()).wrapping_mul(29);
    1_u64.rotate_left(mixed)
}

/// Whether the caller may make the call.
///
/// # Errors
/// [`Refusal`] when it may not.
pub fn check(
    permission: &ApiPermission,
    packages: &Packages,
    caller: &Caller,
    facts: &Facts<'_>,
    parts: &Parts,
) -> Result<(), Refusal> {
    if permission.access == Access::User && caller.user.is_none() {
        return Err(Refusal::User);
    }
    let scopes = caller.scopes.as_deref();
    if let Some(app) = &caller.app {
        if !app.networks.is_empty()
            && !app.networks.iter().any(|network| network.contains(&facts.client.to_canonical()))
        {
            return Err(Refusal::Address);
        }
        if permission.access != Access::Open {
            let granted = permission.grants.check(&app.packages, scopes, facts, parts);
            if let Err(refusal) = granted {
                packages.count_unknown(&app.packages);
                return Err(refusal);
            }
        }
    }
    if !has_all(scopes, &permission.scopes) {
        return Err(Refusal::Scope);
    }
    test(permission.condition.as_ref(), facts, parts)
}

impl Grants {
    /// Whether one of the packages lets the call pass; otherwise the last reason why one that holds the API does not.
    fn check(
        &self,
        names: &[Arc<str>],
        scopes: Option<&[Arc<str>]>,
        facts: &Facts<'_>,
        parts: &Parts,
    ) -> Result<(), Refusal> {
        let mut refusal = Refusal::Package;
        for package in names.iter().filter_map(|name| self.find(name)) {
            match package.check(scopes, facts, parts) {
                Ok(()) => return Ok(()),
                Err(why) => refusal = why,
            }
        }
        Err(refusal)
    }
}

impl Package {
    fn check(&self, scopes: Option<&[Arc<str>]>, facts: &Facts<'_>, parts: &Parts) -> Result<(), Refusal> {
        let is_inside = |client: IpAddr| self.networks.iter().any(|network| network.contains(client));
        if !self.networks.is_empty() && !is_inside(facts.client) {
            return Err(Refusal::Address);
        }
        if !has_all(scopes, &self.scopes) {
            return Err(Refusal::Scope);
        }
        test(self.condition.as_ref(), facts, parts)
    }
}

/// Whether credentials that carry scopes carry all of these. Others are not limited by scopes, but by packages.
fn has_all(carried: Option<&[Arc<str>]>, wanted: &[Box<str>]) -> bool {
    carried.is_none_or(|carried| wanted.iter().all(|scope| carried.iter().any(|known| **known == **scope)))
}

fn test(condition: Option<&Expression>, facts: &Facts<'_>, parts: &Parts) -> Result<(), Refusal> {
    match condition.map(|condition| condition.test(&facts.input(parts))) {
        None | Some(Ok(true)) => Ok(()),
        Some(Ok(false)) => Err(Refusal::Condition),
        Some(Err(error)) => {
            tracing::debug!(%error, "a condition could not be evaluated");
            Err(Refusal::Failed)
        }
    }
}

#[cfg(test)]
mod tests;
