//! What may be kept, as written and as compiled.

use std::time::Duration;

use gatehouse_shared::config::{ByteSize, ConfigErrors, HumanDuration, Positions};
use http::{HeaderName, StatusCode, header};
use schemars::JsonSchema;
use serde::Deserialize;

/// The longest that an answer is kept as fresh, or served as stale: what is to live longer belongs into the inner gate's cache,
/// which can be purged for all nodes by tag.
const LONGEST: Duration = Duration::from_secs(3600);

/// `[cache]`: answers to anonymous reads that this node keeps for a short time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Memory for all of them. Default: `"64MiB"`.
    pub max_bytes: ByteSize,
    /// The largest body that is kept. Default: `"1MiB"`.
    pub entry_max: ByteSize,
}

impl Default for Config {
    fn default() -> Self {
        Self { max_bytes: ByteSize::mib(64), entry_max: ByteSize::mib(1) }
    }
}

/// `[route.cache]`: which answers of a route are kept.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RouteConfig {
    /// How long an answer is fresh, unless it says less itself (`Cache-Control`, `Expires`); at most `"1h"`. Default: `"1s"`.
    pub lifetime: HumanDuration,
    /// How long after that it is still given to clients while one of them fetches a new one, or when no node can be reached; in
    /// whole seconds, at most `"1h"`. Default: `"10s"`.
    pub stale: HumanDuration,
    /// The statuses that are kept. Default: 200, 301, 308, 404.
    pub statuses: Vec<u16>,
    /// Header fields of requests that answers depend on, beside method, host and target. An answer whose `Vary` names another one
    /// is not kept. Default: none. Example: `["accept-encoding", "accept-language"]`.
    pub headers: Vec<String>,
    /// Serve requests with cookies, too. Their cookies are then taken away, so that no answer can depend on them. Without, a
    /// request with a cookie counts as somebody's and passes by. Default: false.
    pub ignore_cookies: bool,
}

impl Default for RouteConfig {
    fn default() -> Self {
        Self {
            lifetime: HumanDuration::from_secs(1),
            stale: HumanDuration::from_secs(10),
            statuses: vec![200, 301, 308, 404],
            headers: Vec::new(),
            ignore_cookies: false,
        }
    }
}

/// Which answers of a route are kept.
#[derive(Debug)]
pub struct Keep {
    /// How long an answer is fresh at most.
    pub lifetime: Duration,
    /// How long it may be given after that, in seconds.
    pub stale: u32,
    /// The statuses that are kept.
    pub statuses: Box<[StatusCode]>,
    /// What of a request belongs to the key.
    pub headers: Box<[HeaderName]>,
    /// Whether cookies are taken away.
    pub ignore_cookies: bool,
}

impl Config {
    /// Checks the table.
    ///
    /// # Errors
    ///
    /// Everything that cannot work.
    pub fn check(&self, positions: &Positions) -> Result<(), ConfigErrors> {
        let mut errors = ConfigErrors::new();
        if self.entry_max.get() > self.max_bytes.get() {
            let remedy = Some("write a smaller entry_max, or more max_bytes".to_owned());
            errors.push(positions.error("cache.entry_max", "more than all of max_bytes", remedy));
        }
        errors.into_result(())
    }
}

impl Keep {
    /// Compiles what is written at `path`.
    ///
    /// # Errors
    ///
    /// Everything that cannot work.
    pub fn compile(config: &RouteConfig, path: &str, positions: &Positions) -> Result<Self, ConfigErrors> {
        let mut errors = ConfigErrors::new();
        let mut wrong = |field: String, message: String, remedy: &str| {
            errors.push(positions.error(&format!("{path}.{field}"), message, Some(remedy.to_owned())));
        };
        let lifetime = config.lifetime.get();
        if lifetime.is_zero() || lifetime > LONGEST {
            wrong("lifetime".to_owned(), "not a time for which an answer is kept".to_owned(), "write 1ms to 1h");
        }
        let stale = config.stale.get();
        if stale > LONGEST {
            wrong("stale".to_owned(), "too long".to_owned(), "write at most 1h");
        }
        let mut statuses = Vec::new();
        for (index, number) in config.statuses.iter().enumerate() {
            match StatusCode::from_u16(*number) {
                // Partial and unmodified answers are parts of others; what is unauthorised or in error is somebody's.
                Ok(status) if matches!(*number, 200..=499) && !matches!(*number, 206 | 304 | 401 | 403 | 407 | 429) => {
                    statuses.push(status);
                }
                _ => wrong(
                    format!("statuses[{index}]"),
                    format!("answers with {number} are not kept"),
                    "write statuses of 200 to 499, without 206, 304, 401, 403, 407 and 429",
                ),
            }
        }
        let mut headers = Vec::new();
        for (index, name) in config.headers.iter().enumerate() {
            let place = format!("headers[{index}]");
            match HeaderName::from_bytes(name.as_bytes()) {
                Ok(name) if is_personal(&name) => {
                    wrong(place, format!("{name:?} belongs to somebody"), "leave it out: such requests pass by");
                }
                Ok(name) => headers.push(name),
                Err(_) => wrong(place, format!("{name:?} is not a header field"), "write a name as in \"accept\""),
            }
        }
        headers.sort_by(|one, other| one.as_str().cmp(other.as_str()));
        headers.dedup();
        errors.into_result(Self {
            lifetime,
            stale: u32::try_from(stale.as_millis().div_ceil(1000)).unwrap_or(u32::MAX),
            statuses: statuses.into(),
            headers: headers.into(),
            ignore_cookies: config.ignore_cookies,
        })
    }
}

/// Whether a field says who somebody is.
fn is_personal(name: &HeaderName) -> bool {
    *name == header::AUTHORIZATION || *name == header::COOKIE || *name == header::PROXY_AUTHORIZATION
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_work_is_named() {
        let positions = Positions::default();
        let wrong = RouteConfig {
            lifetime: HumanDuration::from_secs(7200),
            stale: HumanDuration::from_secs(7200),
            statuses: vec![200, 206, 401, 503, 99],
            headers: vec!["accept".to_owned(), "Cookie".to_owned(), "a b".to_owned()],
            ignore_cookies: false,
        };
        let errors = Keep::compile(&wrong, "route[0].cache", &positions).unwrap_err();
        assert_eq!(errors.len(), 8, "{errors}");
        let right = RouteConfig {
            headers: vec!["Accept-Language".to_owned(), "accept".to_owned(), "accept".to_owned()],
            ..RouteConfig::default()
        };
        let keep = Keep::compile(&right, "route[0].cache", &positions).unwrap();
        assert_eq!((keep.lifetime, keep.stale), (Duration::from_secs(1), 10));
        assert_eq!(keep.headers.iter().map(HeaderName::as_str).collect::<Vec<_>>(), ["accept", "accept-language"]);
        let large = Config { entry_max: ByteSize::mib(2), max_bytes: ByteSize::mib(1) };
        assert!(large.check(&positions).is_err() && Config::default().check(&positions).is_ok());
    }
}
