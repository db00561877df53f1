//! Which API a call means. Decided by the host, the canonical path (the one the edge computed) and the method; nothing else.
//!
//! Numbers come from `[[api]]` in the catalog; a call that no API takes is a 404, one whose method no API takes a 405.

use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use gatehouse_shared::config::HumanDuration;
use http::Method;
use schemars::JsonSchema;
use serde::Deserialize;

use super::matcher::Miss;
use super::path::PathTemplate;
use crate::dispatch::service::Service;
use crate::metrics::ApiMetrics;
use crate::respond::envelope::Envelope;
use crate::store::catalog::Catalog;

/// `[[api]]`: what callers may call, as written.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The API's name in logs, metrics and messages; unique. Letters, digits, `.`, `_` and `-`. Example: `"orders.list"`.
    pub name: String,
    /// The `[[service]]` that answers.
    pub service: String,
    /// Host names it is offered under: exact, or `*.example.com` for every subdomain. Default: any host.
    #[serde(default)]
    pub hosts: Vec<String>,
    /// Methods it takes, in upper case; `GET` takes `HEAD` too unless another API declares it. Default: any method.
    #[serde(default)]
    pub methods: Vec<String>,
    /// The path: literal segments, `{name}` for any one segment, `{*name}` at the end for everything that follows.
    /// Example: `"/orders/{id}"`.
    pub path: String,
    /// Send the service the path as the client wrote it instead of the canonical one. Default: false.
    #[serde(default)]
    pub raw_path: bool,
    /// How refusals are written: `"problem"` (RFC 9457, with their status) or `"platform"` (status 200 and `error_response`,
    /// as clients of open platforms expect). Default: `"problem"`.
    #[serde(default)]
    pub envelope: Envelope,
    /// Time from the end of the request's body to the head of the answer. Default: the service's.
    pub timeout: Option<HumanDuration>,
}

/// An API as compiled.
pub struct Api {
    /// Its name.
    pub name: Arc<str>,
    /// Who answers.
    pub service: Arc<Service>,
    /// The hosts it is offered under; empty for any.
    pub hosts: Vec<String>,
    /// The methods it takes; empty for any.
    pub methods: Vec<Method>,
    /// Its path.
    pub path: PathTemplate,
    /// Whether the service gets the path as the client wrote it.
    pub path_to_service: PathToService,
    /// How its refusals are written.
    pub envelope: Envelope,
    /// From the end of the request's body to the head of the answer.
    pub timeout: Duration,
    /// Where its calls are counted; looked up at the first call.
    pub metrics: OnceLock<ApiMetrics>,
}

/// Which path a service receives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PathToService {
    /// The one that routing looked at.
    Canonical,
    /// The one the client wrote.
    Raw,
}

impl fmt::Debug for Api {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Api").field("name", &self.name).finish_non_exhaustive()
    }
}

/// The API of a call. `authority` is the original one, with or without a port, in any case.
///
/// # Errors
/// [`Miss`] when no API takes it.
pub fn find<'a>(catalog: &'a Catalog, authority: &str, path: &str, method: &Method) -> Result<&'a Arc<Api>, Miss> {
    let host = host_of(authority);
    if host.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return catalog.matcher.find(&host.to_ascii_lowercase(), path, method);
    }
    catalog.matcher.find(host, path, method)
}

/// The host of an authority, without port and final dot.
fn host_of(authority: &str) -> &str {
    let host = match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        _ => authority,
    };
    host.strip_suffix('.').unwrap_or(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_has_no_port_and_no_final_dot() {
        let cases = [
            ("example.com", "example.com"),
            ("example.com:8080", "example.com"),
            ("example.com.:8080", "example.com"),
            ("[::1]:80", "[::1]"),
            ("[::1]", "[::1]"),
            ("", ""),
        ];
        for (authority, host) in cases {
            assert_eq!(host_of(authority), host, "{authority}");
        }
    }
}
