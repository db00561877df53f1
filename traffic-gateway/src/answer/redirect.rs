//! Where a refused client is sent instead.

use gatehouse_shared::config::{ConfigErrors, Positions};
use schemars::JsonSchema;
use serde::Deserialize;

/// Longest location, in bytes.
const LOCATION_MAX: usize = 2_048;

/// `redirect`: where a denial with the action `redirect` sends the client.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// An `http://` or `https://` URL, or a path of the same site. The request for it must not be denied itself.
    #[schemars(example = "https://help.example.com/blocked")]
    pub location: String,
    /// 302 (found), 303 (see other: with GET) or 307 (temporary: with the same method).
    #[serde(default = "found")]
    #[schemars(example = 303)]
    pub status: u16,
    /// Name of a query argument that carries the request id. Default: none does.
    #[schemars(example = &"request_id")]
    pub request_id: Option<String>,
}

fn found() -> u16 {
    302
}

/// A redirect that can be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Redirect {
    /// 302, 303 or 307.
    pub status: u16,
    /// Up to where the request id goes in.
    location: Box<str>,
    /// The fragment, with its `#`, or nothing.
    fragment: Box<str>,
    request_id: Option<Box<str>>,
}

impl Redirect {
    /// Compiles the table at `path`.
    ///
    /// # Errors
    ///
    /// A location that is no URL, a status that is no redirect, a name that is none.
    pub fn compile(config: &Config, positions: &Positions, path: &str) -> Result<Self, ConfigErrors> {
        let mut errors = ConfigErrors::new();
        let mut check = |is_good: bool, field: &str, message: String, remedy: &str| {
            if !is_good {
                errors.push(positions.error(&format!("{path}.{field}"), message, Some(remedy.to_owned())));
            }
        };
        let location = config.location.as_str();
        check(
            is_location(location),
            "location",
            format!("\"{location}\" is not an http or https URL or a path"),
            "write \"https://host/path\" or \"/path\", percent-encoded",
        );
        check(
            matches!(config.status, 302 | 303 | 307),
            "status",
            format!("{} is not 302, 303 or 307", config.status),
            "permanent redirects would outlive the denial",
        );
        let is_name = |name: &String| {
            let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
            (1..=64).contains(&name.len()) && name.bytes().all(is_letter)
        };
        check(
            config.request_id.as_ref().is_none_or(is_name),
            "request_id",
            "request_id must be the name of a query argument".to_owned(),
            "use letters, digits, dots, dashes and underscores",
        );
        let (location, fragment) = match location.find('#') {
            Some(start) => location.split_at(start),
            None => (location, ""),
        };
        errors.into_result(Self {
            status: config.status,
            location: location.into(),
            fragment: fragment.into(),
            request_id: config.request_id.as_deref().map(Into::into),
        })
    }

    /// The value of `Location` for one denial.
    #[must_use]
    pub fn location(&self, request_id: &str) -> String {
        let mut location = String::with_capacity(LOCATION_MAX.min(self.location.len() + 128));
        location.push_str(&self.location);
        if let Some(name) = &self.request_id {
            location.push(if self.location.contains('?') { '&' } else { '?' });
            location.push_str(name);
            location.push('=');
            location.push_str(request_id);
        }
        location.push_str(&self.fragment);
        location
    }

    /// Whether it leads to this path of the same site: then a denial of that path must not redirect to it.
    #[must_use]
    pub fn leads_to(&self, path: &str) -> bool {
        self.location.split('?').next() == Some(path)
    }
}

fn is_location(location: &str) -> bool {
    let rest = ["http://", "https://"].iter().find_map(|scheme| location.strip_prefix(scheme));
    let is_url = rest.is_some_and(|rest| !rest.starts_with(['/', '?', '#']) && !rest.is_empty());
    let is_path = location.starts_with('/') && !location.starts_with("//") && !location.starts_with("/\\");
    let is_plain = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'<' | b'>' | b'\\' | b'{' | b'}');
    (is_url || is_path) && location.len() <= LOCATION_MAX && location.bytes().all(is_plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compile(location: &str, status: u16, request_id: Option<&str>) -> Result<Redirect, String> {
        let config = Config { location: location.to_owned(), status, request_id: request_id.map(str::to_owned) };
        Redirect::compile(&config, &Positions::default(), "answer.redirect").map_err(|errors| errors.to_string())
    }

    #[test]
    fn the_request_id_goes_into_the_query_before_the_fragment() {
        let location = |location: &str, name: Option<&str>| compile(location, 302, name).unwrap().location("0193");
        assert_eq!(location("https://example.com/a", None), "https://example.com/a");
        assert_eq!(location("https://example.com/a", Some("rid")), "https://example.com/a?rid=0193");
        assert_eq!(location("/a?b=c#d", Some("rid")), "/a?b=c&rid=0193#d");
        assert_eq!(location("/a#d?e", Some("rid")), "/a?rid=0193#d?e");
    }

    #[test]
    fn knows_where_it_leads() {
        let redirect = compile("/blocked?x=1#top", 302, None).unwrap();
        assert!(redirect.leads_to("/blocked") && !redirect.leads_to("/blocked/more"));
        assert!(!compile("https://example.com/blocked", 302, None).unwrap().leads_to("/blocked"));
    }

    #[test]
    fn refuses_what_is_no_redirect() {
        for location in ["", "example.com", "//example.com", "https://", "ftp://a", "/a b", "/a\r\nX: y", "/\\a", "/ü"]
        {
            assert!(compile(location, 302, None).unwrap_err().contains("is not an http or https URL"), "{location}");
        }
        assert!(compile("/", 301, None).unwrap_err().contains("301 is not 302, 303 or 307"));
        assert!(compile("/", 307, Some("a=b")).unwrap_err().contains("request_id must be the name"));
    }
}
