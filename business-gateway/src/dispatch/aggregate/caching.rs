//! How long an answer may be kept that is made of several: as the strictest of its parts says.

use std::collections::BTreeSet;

use http::header::{self, HeaderMap, HeaderValue};

/// What the parts of an answer say together.
#[derive(Debug, Default)]
pub(super) struct Caching {
    no_store: bool,
    no_cache: bool,
    is_private: bool,
    must_revalidate: bool,
    /// Seconds; `None` while nobody has said anything.
    max_age: Option<u64>,
}

impl Caching {
    /// Adds what a part says. One that says nothing may be kept only if it is asked again each time.
    pub(super) fn add(&mut self, headers: &HeaderMap) {
        let mut max_age = None;
        for value in headers.get_all(header::CACHE_CONTROL) {
            let Ok(text) = value.to_str() else {
                self.no_store = true;
                continue;
            };
            for directive in text.split(',').map(|directive| directive.trim().to_ascii_lowercase()) {
                let (name, argument) = directive.split_once('=').unwrap_or((&directive, ""));
                match name {
                    "no-store" => self.no_store = true,
                    "no-cache" => self.no_cache = true,
                    "private" => self.is_private = true,
                    "must-revalidate" | "proxy-revalidate" => self.must_revalidate = true,
                    "max-age" | "s-maxage" => {
                        let seconds = argument.trim_matches('"').parse::<u64>().unwrap_or(0);
                        max_age = Some(max_age.map_or(seconds, |least: u64| least.min(seconds)));
                    }
                    _ => {}
                }
            }
        }
        let age = headers.get(header::AGE).and_then(|age| age.to_str().ok()?.trim().parse::<u64>().ok());
        match max_age {
            Some(seconds) => {
                let left = seconds.saturating_sub(age.unwrap_or(0));
                self.max_age = Some(self.max_age.map_or(left, |least| least.min(left)));
            }
            None => self.no_cache = true,
        }
    }

    /// It is for this caller alone.
    pub(super) fn is_private(&mut self) {
        self.is_private = true;
    }

    /// Nobody may keep it.
    pub(super) fn forbid(&mut self) {
        self.no_store = true;
    }

    /// The header.
    pub(super) fn header(&self) -> HeaderValue {
        if self.no_store {
            return HeaderValue::from_static("no-store");
        }
        let mut text = String::new();
        let mut add = |directive: &str| {
            if !text.is_empty() {
                text.push_str(", ");
            }
            text.push_str(directive);
        };
        if self.is_private {
            add("private");
        }
        match self.max_age.filter(|_| !self.no_cache) {
            Some(seconds) => add(&format!("max-age={seconds}")),
            None => add("no-cache"),
        }
        if self.must_revalidate {
            add("must-revalidate");
        }
        HeaderValue::try_from(text).unwrap_or_else(|_error| HeaderValue::from_static("no-store"))
    }
}

/// Adds the headers that a part's answer depends on to `names`, as far as the part has seen any of the client's.
pub(super) fn add_vary(names: &mut BTreeSet<String>, headers: &HeaderMap) {
    for value in headers.get_all(header::VARY) {
        let Ok(text) = value.to_str() else { continue };
        for name in text.split(',').map(|name| name.trim().to_ascii_lowercase()) {
            // What else there is was said of headers that are the same for every call, or that the call itself names.
            if name == "accept-language" || name == "*" {
                names.insert(name);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn together(parts: &[&[(&'static str, &'static str)]]) -> String {
        let mut caching = Caching::default();
        for part in parts {
            let headers = part.iter().map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_static(value)));
            caching.add(&headers.collect());
        }
        caching.header().to_str().unwrap().to_owned()
    }

    #[test]
    fn the_strictest_part_decides() {
        let public = ("cache-control", "public, max-age=60");
        assert_eq!(together(&[&[public], &[("cache-control", "max-age=30, s-maxage=10")]]), "max-age=10");
        assert_eq!(together(&[&[public], &[("cache-control", "max-age=90"), ("age", "80")]]), "max-age=10");
        assert_eq!(together(&[&[public], &[("cache-control", "Private, Max-Age=5")]]), "private, max-age=5");
        assert_eq!(
            together(&[&[public], &[("cache-control", "max-age=5, must-revalidate")]]),
            "max-age=5, must-revalidate"
        );
        assert_eq!(together(&[&[public], &[]]), "no-cache");
        assert_eq!(together(&[&[public], &[("cache-control", "no-cache")]]), "no-cache");
        assert_eq!(together(&[&[public], &[("cache-control", "no-store")]]), "no-store");
        assert_eq!(together(&[&[("cache-control", "max-age=nonsense")]]), "max-age=0");
        assert_eq!(together(&[]), "no-cache");
    }
}
