//! The query of a request, read by name. Plain words and numbers only: nothing here is percent-decoded.

/// The query part of a target, without the question mark.
#[derive(Debug, Clone, Copy)]
pub struct Query<'a>(&'a str);

impl<'a> Query<'a> {
    /// The query of `uri`, empty when there is none.
    #[must_use]
    pub fn of(uri: &'a http::Uri) -> Self {
        Self(uri.query().unwrap_or_default())
    }

    /// The value of the first argument called `name`.
    #[must_use]
    pub fn text(self, name: &str) -> Option<&'a str> {
        self.0.split('&').find_map(|pair| pair.split_once('=').filter(|(key, _)| *key == name).map(|(_, value)| value))
    }

    /// The value of `name` as a whole number, `default` when it is missing or is none, never above `most`.
    #[must_use]
    pub fn number(self, name: &str, default: u64, most: u64) -> u64 {
        self.text(name).and_then(|value| value.parse().ok()).unwrap_or(default).min(most)
    }

    /// Whether the argument `name` is there with the value `1`.
    #[must_use]
    pub fn is_set(self, name: &str) -> bool {
        self.text(name) == Some("1")
    }
}

#[cfg(test)]
mod tests {
    use super::Query;

    #[test]
    fn reads_arguments_by_name_and_bounds_numbers() {
        let uri: http::Uri = "/slow?ms=250&mode=reset&chunked=1".parse().unwrap();
        let query = Query::of(&uri);
        assert_eq!(query.number("ms", 0, 1000), 250);
        assert_eq!(query.number("ms", 0, 100), 100);
        assert_eq!(query.number("missing", 7, 100), 7);
        assert_eq!(query.text("mode"), Some("reset"));
        assert!(query.is_set("chunked"));
    }
}
