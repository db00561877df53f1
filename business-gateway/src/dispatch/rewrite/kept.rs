//! Values that must not reach the service of an API with a cache: what is not in the key does not, neither under its own name
//! nor under one that a rewrite gives it, which not even `Vary` could name.

use gatehouse_shared::config::ConfigErrors;
use http::header::{self, HeaderName};

use super::template::{Template, Value};
use super::{Change, Rewrite};
use crate::dispatch::cache::config::Scope;
use crate::dispatch::cache::key::{KeyRules, QueryKey};
use crate::store::catalog::At;

/// A value that is not in the key, and what to do about it.
struct Stray {
    value: String,
    of: &'static str,
    remedy: String,
}

impl Rewrite {
    /// Refuses values that tell callers apart whom one answer of the cache is for.
    ///
    /// # Errors
    /// One for each value, at the change that uses it.
    pub fn check_cache(&self, key: &KeyRules, at: &At<'_>) -> Result<(), ConfigErrors> {
        let mut errors = ConfigErrors::new();
        let mut check = |kind: &str, change: (&str, &str, &Template)| {
            let (verb, name, template) = change;
            for stray in template.values().filter_map(|value| stray(value, key)) {
                let Stray { value, of, remedy } = stray;
                let message =
                    format!("{value} is not in the key of the cache: an answer for one {of} would be given to others");
                errors.push(at.error(&format!("rewrite.{kind}.{verb}.{name}"), message, remedy));
            }
        };
        for change in &self.query {
            change.filled(|name| name).into_iter().for_each(|change| check("query", change));
        }
        for change in &self.headers {
            change.filled(HeaderName::as_str).into_iter().for_each(|change| check("headers", change));
        }
        errors.into_result(())
    }
}

impl<N> Change<N> {
    /// The verb, the name and the template, where there is one.
    fn filled<'a>(&'a self, name: impl Fn(&'a N) -> &'a str) -> Option<(&'static str, &'a str, &'a Template)> {
        match self {
            Self::Remove(_) => None,
            Self::Set(named, template) => Some(("set", name(named), template)),
            Self::Add(named, template) => Some(("add", name(named), template)),
        }
    }
}

/// What is wrong with a value; `None` for one that is the same for all who share an answer, or tells nothing of them.
///
/// The path is not looked at: it reaches the service whatever a rewrite makes of it. Neither is the request's id, which every
/// service gets.
fn stray(value: &Value, key: &KeyRules) -> Option<Stray> {
    let (value, of, remedy) = match value {
        Value::Header(name) if *name == header::HOST || key.headers.contains(name) => return None,
        Value::Header(name) => (
            format!("{{header.{name}}}"),
            "caller",
            format!("name {name:?} in cache.key.headers", name = name.as_str()),
        ),
        Value::Cookie(name) if key.cookies.iter().any(|known| **known == **name) => return None,
        Value::Cookie(name) => (format!("{{cookie.{name}}}"), "caller", format!("name {name:?} in cache.key.cookies")),
        Value::Query(name) => match &key.query {
            QueryKey::Listed(names) if !names.iter().any(|known| **known == **name) => {
                (format!("{{query.{name}}}"), "caller", format!("name {name:?} in cache.key.query"))
            }
            QueryKey::Listed(_) | QueryKey::All => return None,
        },
        Value::AppKey if key.scope == Scope::Shared => {
            ("{app.key}".to_owned(), "application", "choose cache.scope = \"app\"".to_owned())
        }
        Value::Client => ("{client.address}".to_owned(), "client", "remove the cache".to_owned()),
        Value::AppKey
        | Value::Parameter(_)
        | Value::Capture(_)
        | Value::RequestId
        | Value::Host
        | Value::Method
        | Value::Path => return None,
    };
    Some(Stray { value, of, remedy: format!("{remedy}, or leave the value out") })
}

#[cfg(test)]
mod tests {
    use gatehouse_shared::config::{SourceFile, parse};

    use super::*;
    use crate::admit::path::PathTemplate;
    use crate::dispatch::cache::config::OfApi;
    use crate::store::catalog::CatalogConfig;

    /// What is wrong with an API that has this cache and this rewrite; empty for nothing.
    fn wrong(cache: &str, rewrite: &str) -> String {
        let text = format!(
            "[[api]]\nname = \"a\"\nservice = \"s\"\npath = \"/orders/{{id}}\"\ncache = {{ lifetime = \"1s\", {cache} }}\n\
             [api.rewrite]\n{rewrite}\n"
        );
        let document = parse::<CatalogConfig>(&SourceFile { path: "catalog.toml".into(), text }).unwrap();
        let at = At { positions: &document.positions, path: "api[0]".to_owned() };
        let (api, path) = (&document.value.api[0], PathTemplate::parse("/orders/{id}").unwrap());
        let cache = OfApi::of(api, &path, &at).unwrap().unwrap();
        let rewrite = Rewrite::compile(api.rewrite.as_ref().unwrap(), &path, false, &at).unwrap();
        rewrite.check_cache(&cache.key, &at).map_or_else(|errors| errors.to_string(), |()| String::new())
    }

    #[test]
    fn what_tells_callers_apart_is_refused_with_its_place_and_a_remedy() {
        let shared = "scope = \"shared\"";
        let cases = [
            (
                shared,
                "headers.set.x-caller = \"{app.key}\"",
                "catalog.toml:7:24: {app.key} is not in the key of the cache: an answer for one application would be given to \
                 others (choose cache.scope = \"app\", or leave the value out)",
            ),
            (
                shared,
                "path = \"/v2\"\nquery.add.from = \"ip-{client.address}\"",
                "catalog.toml:8:18: {client.address} is not in the key of the cache: an answer for one client would be given to \
                 others (remove the cache, or leave the value out)",
            ),
            (
                shared,
                "headers.add.x-lane = \"{header.X-Lane}\"",
                "catalog.toml:7:22: {header.x-lane} is not in the key of the cache: an answer for one caller would be given to \
                 others (name \"x-lane\" in cache.key.headers, or leave the value out)",
            ),
            (
                "pass = [\"user-agent\"]",
                "query.set.agent = \"{header.user-agent}\"",
                "catalog.toml:7:19: {header.user-agent} is not in the key of the cache: an answer for one caller would be given \
                 to others (name \"user-agent\" in cache.key.headers, or leave the value out)",
            ),
            (
                "key = { cookies = [\"other\"] }",
                "headers.set.x-session = \"{cookie.session}\"",
                "catalog.toml:7:25: {cookie.session} is not in the key of the cache: an answer for one caller would be given to \
                 others (name \"session\" in cache.key.cookies, or leave the value out)",
            ),
            (
                "key = { query = [\"page\"] }",
                "query.set.who = \"{query.user}\"",
                "catalog.toml:7:17: {query.user} is not in the key of the cache: an answer for one caller would be given to \
                 others (name \"user\" in cache.key.query, or leave the value out)",
            ),
        ];
        for (cache, rewrite, expected) in cases {
            assert_eq!(wrong(cache, rewrite), expected, "{cache} {rewrite}");
        }
    }

    #[test]
    fn what_is_the_same_for_all_who_share_an_answer_is_taken() {
        for (cache, rewrite) in [
            ("scope = \"app\"", "headers.set.x-caller = \"{app.key}\""),
            ("scope = \"user\"", "query.set.app = \"{app.key}\""),
            ("key = { headers = [\"x-lane\"] }", "query.set.lane = \"{header.X-Lane}\""),
            ("key = { cookies = [\"city\"] }", "headers.set.x-city = \"{cookie.city}\""),
            ("key = { query = [\"page\"] }", "headers.set.x-page = \"{query.page}\""),
            (
                "scope = \"shared\"",
                "headers.set.x-page = \"{query.page} {request.host} {header.host} {request.path} {id}\"",
            ),
            ("scope = \"shared\"", "headers.remove = [\"x-lane\"]\nheaders.set.x-from = \"gate\""),
        ] {
            assert_eq!(wrong(cache, rewrite), "", "{cache} {rewrite}");
        }
    }
}
