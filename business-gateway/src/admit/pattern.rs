//! Which APIs an entry of the catalog is about: a name, the start of names with a star (`orders.*`), or `*` for all.

use gatehouse_shared::config::{ConfigErrors, nearest};

use crate::store::catalog::At;

/// A pattern of API names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ApiPattern {
    /// One API.
    Exact(Box<str>),
    /// Every API whose name starts so.
    Prefix(Box<str>),
}

impl ApiPattern {
    /// Whether the API is meant.
    #[must_use]
    pub fn matches(&self, name: &str) -> bool {
        match self {
            Self::Exact(exact) => **exact == *name,
            Self::Prefix(prefix) => name.starts_with(&**prefix),
        }
    }

    /// Compiles the list at `key`. A name must be that of an API; a pattern with a star may match nothing yet, which is logged.
    ///
    /// # Errors
    /// Patterns that are none, and names that no API has.
    pub fn compile_all(patterns: &[String], key: &str, at: &At<'_>, apis: &[&str]) -> Result<Vec<Self>, ConfigErrors> {
        let mut errors = ConfigErrors::new();
        let mut compiled = Vec::with_capacity(patterns.len());
        for (index, text) in patterns.iter().enumerate() {
            let key = format!("{key}[{index}]");
            let pattern = match text.strip_suffix('*') {
                Some(prefix) => Self::Prefix(prefix.into()),
                None => Self::Exact(text.as_str().into()),
            };
            let is_plain = |character: char| character.is_ascii_alphanumeric() || "._-".contains(character);
            if !text.strip_suffix('*').unwrap_or(text).chars().all(is_plain) || text.is_empty() {
                let remedy = "write a name, the start of names with \"*\" as in \"orders.*\", or \"*\"";
                errors.push(at.error(&key, format!("{text:?} is not a pattern of API names"), remedy));
                continue;
            }
            if !apis.iter().any(|api| pattern.matches(api)) {
                match pattern {
                    Self::Exact(_) => {
                        let remedy = match nearest(text, apis.iter().copied()) {
                            Some(name) => format!("did you mean {name:?}?"),
                            None => format!("add [[api]] with name = {text:?}"),
                        };
                        errors.push(at.error(&key, format!("no API {text:?}"), remedy));
                        continue;
                    }
                    Self::Prefix(_) => {
                        let warning = at.error(&key, format!("no API matches {text:?} yet"), "check the spelling");
                        tracing::warn!(%warning, "a pattern matches nothing");
                    }
                }
            }
            compiled.push(pattern);
        }
        errors.into_result(compiled)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gatehouse_shared::config::Positions;

    fn compile(pattern: &str) -> Result<Vec<ApiPattern>, String> {
        let positions = Positions::default();
        let at = At { positions: &positions, path: "package[0]".to_owned() };
        ApiPattern::compile_all(&[pattern.to_owned()], "apis", &at, &["orders.list", "orders.add", "stock"])
            .map_err(|errors| errors.to_string())
    }

    #[test]
    fn names_must_exist_and_patterns_may_wait() {
        assert_eq!(compile("stock"), Ok(vec![ApiPattern::Exact("stock".into())]));
        assert_eq!(compile("bills.*"), Ok(vec![ApiPattern::Prefix("bills.".into())]));
        assert!(compile("stok").unwrap_err().contains("no API \"stok\" (did you mean \"stock\"?)"));
        for wrong in ["", "a b", "or*ers", "**", "/orders"] {
            assert!(compile(wrong).unwrap_err().contains("is not a pattern"), "{wrong}");
        }
    }

    #[test]
    fn a_star_takes_what_starts_so() {
        let orders = &compile("orders.*").unwrap()[0];
        assert!(orders.matches("orders.list") && orders.matches("orders.") && !orders.matches("orders"));
        assert!(compile("*").unwrap()[0].matches("anything"));
    }
}
