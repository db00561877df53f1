//! Which requests a limit covers.

use gatehouse_shared::config::{ConfigErrors, Positions};
use http::Method;

use super::{
    config::{Match, Only},
    part::Place,
};
use crate::admit::RequestView;

/// A `match`, compiled; every list is empty when it does not matter.
#[derive(Debug, Default)]
pub(super) struct Condition {
    /// Whether nothing is asked for: the usual case.
    pub(super) is_always: bool,
    hosts: Box<[Box<str>]>,
    paths: Box<[Pattern]>,
    methods: Box<[Method]>,
    routes: Box<[Box<str>]>,
    pub(super) only: Option<Only>,
}

/// A text in which `*` stands for anything.
#[derive(Debug)]
struct Pattern(Box<str>);

/// Where callers put credentials.
#[derive(Debug, Default)]
pub struct Credentials {
    places: Box<[Place]>,
    by_certificate: bool,
}

impl Condition {
    /// Compiles the `match` that is written at `path`; `routes` are the names of all.
    pub(super) fn compile(
        config: &Match,
        routes: &[String],
        path: &str,
        positions: &Positions,
    ) -> Result<Self, ConfigErrors> {
        let mut errors = ConfigErrors::new();
        let mut wrong = |field: &str, index: usize, message: String, remedy: Option<String>| {
            errors.push(positions.error(&format!("{path}.match.{field}[{index}]"), message, remedy));
        };
        for (index, host) in config.hosts.iter().enumerate() {
            let name = host.strip_prefix("*.").unwrap_or(host);
            if name.is_empty() || name.contains('*') || name.contains(char::is_whitespace) {
                wrong("hosts", index, format!("\"{host}\" is not a host name or `*.` and a host name"), None);
            }
        }
        for (index, pattern) in config.paths.iter().enumerate() {
            if !pattern.starts_with(['/', '*']) {
                wrong("paths", index, format!("\"{pattern}\" must start with a slash or `*`"), None);
            }
        }
        let mut methods = Vec::new();
        for (index, method) in config.methods.iter().enumerate() {
            match Method::from_bytes(method.as_bytes()) {
                Ok(known) if *method == method.to_ascii_uppercase() => methods.push(known),
                _ => wrong("methods", index, format!("\"{method}\" is not a method in upper case"), None),
            }
        }
        for (index, route) in config.routes.iter().enumerate() {
            if !routes.contains(route) {
                let remedy = Some(format!("name one of: {}", routes.join(", ")));
                wrong("routes", index, format!("there is no route named \"{route}\""), remedy);
            }
        }
        let is_always = *config == Match::default();
        errors.into_result(Self {
            is_always,
            hosts: config.hosts.iter().map(|host| host.to_ascii_lowercase().into()).collect(),
            paths: config.paths.iter().map(|path| Pattern(path.as_str().into())).collect(),
            methods: methods.into(),
            routes: config.routes.iter().map(|route| route.as_str().into()).collect(),
            only: config.only,
        })
    }

    /// Whether a request meets it, credentials apart.
    pub(super) fn covers(&self, request: &RequestView<'_>) -> bool {
        let is_one = |route: &str| self.routes.iter().any(|name| **name == *route);
        (self.methods.is_empty() || self.methods.contains(request.method()))
            && (self.routes.is_empty() || request.route().is_some_and(|route| is_one(&route.name)))
            && (self.hosts.is_empty() || self.hosts.iter().any(|host| is_host(host, request.host())))
            && (self.paths.is_empty() || self.paths.iter().any(|path| path.matches(request.path())))
    }
}

fn is_host(pattern: &str, host: &str) -> bool {
    match pattern.strip_prefix('*') {
        Some(end) => host.len() > end.len() && host.ends_with(end),
        None => pattern == host,
    }
}

impl Pattern {
    /// Each piece between two `*` is looked for once, as early as possible, so the time is that of searching the text.
    fn matches(&self, text: &str) -> bool {
        let mut pieces = self.0.split('*');
        let Some(rest) = text.strip_prefix(pieces.next().unwrap_or_default()) else { return false };
        let Some(last) = pieces.next_back() else { return rest.is_empty() };
        let mut rest = rest;
        for piece in pieces {
            match rest.split_once(piece) {
                Some((_, after)) => rest = after,
                None => return false,
            }
        }
        rest.ends_with(last)
    }
}

impl Credentials {
    /// Compiles `[limits] credentials`.
    ///
    /// # Errors
    ///
    /// Every place that is none.
    pub fn compile(config: &[String], positions: &Positions) -> Result<Self, ConfigErrors> {
        let mut errors = ConfigErrors::new();
        let mut places = Vec::new();
        for (index, text) in config.iter().enumerate().filter(|(_, text)| *text != "certificate") {
            match text.parse() {
                Ok(place) => places.push(place),
                Err(()) => {
                    let message = format!("\"{text}\" is none of header:NAME, cookie:NAME, query:NAME, certificate");
                    errors.push(positions.error(&format!("limits.credentials[{index}]"), message, None));
                }
            }
        }
        let by_certificate = config.iter().any(|text| text == "certificate");
        errors.into_result(Self { places: places.into(), by_certificate })
    }

    /// Whether a request brings any.
    #[must_use]
    pub fn are_in(&self, request: &RequestView<'_>) -> bool {
        let has_certificate = || request.tls().is_some_and(|tls| tls.client.is_some());
        (self.by_certificate && has_certificate()) || self.places.iter().any(|place| place.value(request).is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admit::view::sample::Sample;

    fn condition(config: &Match) -> Condition {
        Condition::compile(config, &["*/".to_owned()], "limit[0]", &Positions::default()).unwrap()
    }

    fn list(texts: &[&str]) -> Vec<String> {
        texts.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_star_stands_for_anything() {
        for (pattern, text, expected) in [
            ("/login", "/login", true),
            ("/login", "/login/x", false),
            ("/api/*", "/api/", true),
            ("/api/*", "/api", false),
            ("/api/*", "/api/a/b", true),
            ("*.php", "/a/b.php", true),
            ("*.php", "/b.php5", false),
            ("/a*b*c", "/axbxc", true),
            ("/a*b*c", "/abc", true),
            ("/a*b*c", "/acb", false),
            ("/aba*aba", "/aba", false),
            ("*", "", true),
            ("*a*", "bab", true),
        ] {
            assert_eq!(Pattern(pattern.into()).matches(text), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn every_condition_must_hold() {
        let sample = Sample::get("/api/a", &[]).routed();
        let view = sample.view();
        let config = Match {
            hosts: list(&["*.Example.com"]),
            paths: list(&["/x", "/api/*"]),
            methods: list(&["POST", "GET"]),
            routes: list(&["*/"]),
            only: None,
        };
        assert!(condition(&Match::default()).covers(&view) && condition(&config).covers(&view));
        for other in [
            Match { hosts: list(&["example.com"]), ..config.clone() },
            Match { hosts: list(&["*.www.example.com"]), ..config.clone() },
            Match { paths: list(&["/api"]), ..config.clone() },
            Match { methods: list(&["POST"]), ..config.clone() },
        ] {
            assert!(!condition(&other).covers(&view), "{other:?}");
        }
        assert!(!condition(&config).covers(&Sample::get("/api/a", &[]).view()), "no route");
    }

    #[test]
    fn credentials_are_looked_for_where_they_were_declared() {
        let places = list(&["header:x-key", "cookie:session", "query:token", "certificate"]);
        let credentials = Credentials::compile(&places, &Positions::default()).unwrap();
        let are_in = |target: &str, fields: &[(&str, &str)]| credentials.are_in(&Sample::get(target, fields).view());
        assert!(!are_in("/?tok=1", &[("Authorization", "Basic x"), ("Cookie", "a=b")]));
        assert!(are_in("/", &[("X-Key", "1")]) && are_in("/", &[("Cookie", "session=1")]) && are_in("/?token=1", &[]));
        let errors = Credentials::compile(&list(&["token", "header:"]), &Positions::default()).unwrap_err();
        assert_eq!(errors.len(), 2);
    }
}
