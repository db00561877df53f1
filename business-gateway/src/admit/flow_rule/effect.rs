//! What rules do to a call: refuse it, charge it, or change a little of its request or answer. What belongs to a connection, to
//! the framing of a message or to the tiers is out of their reach.

use std::sync::Arc;

use gatehouse_shared::hop;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{StatusCode, Uri};

use super::input::with_parameter;

/// Effects that one rule may ask for.
pub const EFFECTS_MAX: usize = 64;
/// Bytes of a header's value, a parameter or a tag.
const VALUE_MAX: usize = 4096;
/// Characters of a code.
const CODE_MAX: usize = 64;
/// Characters of what a client is told.
const DETAIL_MAX: usize = 500;
/// The most that one charge may cost.
const COST_MAX: i64 = 1_000_000;
/// Status of a refusal that names none.
pub const STATUS: u16 = 403;
/// Code of a refusal that names none.
pub const CODE: &str = "flow-rule";

/// An effect that no rule may ask for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EffectError {
    /// Not the status of a refusal.
    #[error("{0} is not the status of a refusal (use 400 to 599)")]
    DenialStatus(i64),
    /// Not the status of an answer with a body.
    #[error("{0} is not a status that a rule may set (use 200 to 599, but none that forbids a body: 204, 205, 304)")]
    Status(i64),
    /// Not a code.
    #[error("{0:?} is not a code (use 1 to {CODE_MAX} letters, digits, \".\", \"_\" and \"-\")")]
    Code(String),
    /// Too long for a client.
    #[error("a detail of more than {DETAIL_MAX} characters")]
    Detail,
    /// Not a header that a rule may touch.
    #[error("{0:?} is not a header that a rule may set or remove")]
    Header(String),
    /// Not a value.
    #[error("the value of {0:?} is too long or has control characters")]
    Value(String),
    /// Not a cost.
    #[error("{0} is not a cost (use 0 to {COST_MAX})")]
    Cost(i64),
    /// Too much.
    #[error("more than {EFFECTS_MAX} effects")]
    TooMany,
}

/// A call that is refused, in a rule's words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denial {
    /// The status, 400 to 599.
    pub status: u16,
    /// What clients may match on.
    pub code: Arc<str>,
    /// What people read.
    pub detail: Option<Arc<str>>,
}

impl Denial {
    /// A denial, with the defaults for what is not said.
    ///
    /// # Errors
    /// When it is no answer for a client.
    pub fn new(status: Option<i64>, code: Option<&str>, detail: Option<&str>) -> Result<Self, EffectError> {
        let status = status.unwrap_or(i64::from(STATUS));
        let valid = u16::try_from(status).ok().filter(|status| (400..=599).contains(status));
        let code = code.unwrap_or(CODE);
        let is_plain = |character: char| character.is_ascii_alphanumeric() || "._-".contains(character);
        if code.is_empty() || code.len() > CODE_MAX || !code.chars().all(is_plain) {
            return Err(EffectError::Code(code.chars().take(CODE_MAX).collect()));
        }
        if detail.is_some_and(|detail| detail.chars().count() > DETAIL_MAX) {
            return Err(EffectError::Detail);
        }
        Ok(Self {
            status: valid.ok_or(EffectError::DenialStatus(status))?,
            code: code.into(),
            detail: detail.map(Arc::from),
        })
    }
}

/// A charge that the quota step takes beside the API's own limits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Charge {
    /// The limit's name.
    pub limit: Arc<str>,
    /// How many calls it counts for.
    pub cost: u64,
}

/// A tag of the call, for routing and the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tag {
    /// Its name.
    pub name: Arc<str>,
    /// Its value.
    pub value: Arc<str>,
}

/// Everything one rule asks for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Effects {
    /// The call is refused.
    pub denial: Option<Denial>,
    /// Limits to charge.
    pub charges: Vec<Charge>,
    /// Headers to set, or to remove.
    pub headers: Vec<(HeaderName, Option<HeaderValue>)>,
    /// Parameters to set, or to remove.
    pub query: Vec<(String, Option<String>)>,
    /// Tags.
    pub tags: Vec<Tag>,
    /// The status of the answer.
    pub status: Option<StatusCode>,
}

impl Effects {
    /// Whether nothing was asked for.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whether the request is changed on its way to the service.
    #[must_use]
    pub fn changes_message(&self) -> bool {
        !self.headers.is_empty() || !self.query.is_empty() || self.status.is_some()
    }

    /// Charges a limit.
    ///
    /// # Errors
    /// When the cost is none, or there are too many effects.
    pub fn charge(&mut self, limit: &str, cost: i64) -> Result<(), EffectError> {
        self.make_room()?;
        let valid = u64::try_from(cost).ok().filter(|_| cost <= COST_MAX).ok_or(EffectError::Cost(cost))?;
        self.charges.push(Charge { limit: limit.chars().take(CODE_MAX).collect::<String>().into(), cost: valid });
        Ok(())
    }

    /// Sets a header; it replaces what there is of it.
    ///
    /// # Errors
    /// When the header is out of reach, the value is none, or there are too many effects.
    pub fn set_header(&mut self, name: &str, value: &str) -> Result<(), EffectError> {
        self.make_room()?;
        let name = header_name(name)?;
        let value = Some(value)
            .filter(|value| value.len() <= VALUE_MAX)
            .map(|value| HeaderValue::from_bytes(value.trim().as_bytes()));
        let Some(Ok(value)) = value else { return Err(EffectError::Value(name.to_string())) };
        self.headers.push((name, Some(value)));
        Ok(())
    }

    /// Removes a header.
    ///
    /// # Errors
    /// When the header is out of reach, or there are too many effects.
    pub fn remove_header(&mut self, name: &str) -> Result<(), EffectError> {
        self.make_room()?;
        self.headers.push((header_name(name)?, None));
        Ok(())
    }

    /// Sets or removes a parameter of the query.
    ///
    /// # Errors
    /// When the value is too long, or there are too many effects.
    pub fn set_query(&mut self, name: &str, value: Option<&str>) -> Result<(), EffectError> {
        self.make_room()?;
        if name.is_empty() || name.len() > VALUE_MAX || value.is_some_and(|value| value.len() > VALUE_MAX) {
            return Err(EffectError::Value(name.chars().take(CODE_MAX).collect()));
        }
        self.query.push((name.to_owned(), value.map(str::to_owned)));
        Ok(())
    }

    /// Tags the call.
    ///
    /// # Errors
    /// When the value is too long, or there are too many effects.
    pub fn tag(&mut self, name: &str, value: &str) -> Result<(), EffectError> {
        self.make_room()?;
        let is_plain = |character: char| character.is_ascii_alphanumeric() || "._-".contains(character);
        if name.is_empty() || name.len() > CODE_MAX || !name.chars().all(is_plain) {
            return Err(EffectError::Code(name.chars().take(CODE_MAX).collect()));
        }
        if value.len() > VALUE_MAX || value.chars().any(char::is_control) {
            return Err(EffectError::Value(name.to_owned()));
        }
        self.tags.push(Tag { name: name.into(), value: value.into() });
        Ok(())
    }

    /// Sets the status of the answer.
    ///
    /// # Errors
    /// When a rule may not set it.
    pub fn set_status(&mut self, status: i64) -> Result<(), EffectError> {
        let valid = u16::try_from(status).ok().filter(|status| (200..=599).contains(status));
        let valid = valid.filter(|status| !forbids_body(*status)).and_then(|status| StatusCode::from_u16(status).ok());
        self.status = Some(valid.ok_or(EffectError::Status(status))?);
        Ok(())
    }

    fn make_room(&self) -> Result<(), EffectError> {
        let count = self.charges.len() + self.headers.len() + self.query.len() + self.tags.len();
        if count < EFFECTS_MAX { Ok(()) } else { Err(EffectError::TooMany) }
    }

    /// Changes a request on its way to the service.
    pub fn change_request(&self, parts: &mut Parts) {
        self.change_headers(&mut parts.headers);
        if self.query.is_empty() {
            return;
        }
        let mut query = parts.uri.query().unwrap_or_default().to_owned();
        for (name, value) in &self.query {
            query = with_parameter(&query, name, value.as_deref());
        }
        let target =
            if query.is_empty() { parts.uri.path().to_owned() } else { format!("{}?{query}", parts.uri.path()) };
        // Everything in it is percent-encoded, so it is a target.
        if let Ok(target) = PathAndQuery::try_from(target) {
            let mut uri = std::mem::take(&mut parts.uri).into_parts();
            uri.path_and_query = Some(target);
            parts.uri = Uri::from_parts(uri).unwrap_or_default();
        }
    }

    /// Changes an answer on its way to the edge. A status stays where the service's own forbids a body.
    pub fn change_answer(&self, status: &mut StatusCode, headers: &mut HeaderMap) {
        self.change_headers(headers);
        if let Some(wanted) = self.status
            && !forbids_body(status.as_u16())
        {
            *status = wanted;
        }
    }

    fn change_headers(&self, headers: &mut HeaderMap) {
        for (name, value) in &self.headers {
            match value {
                Some(value) => drop(headers.insert(name.clone(), value.clone())),
                None => drop(headers.remove(name)),
            }
        }
    }
}

/// RFC 9110, sections 15.2, 15.3.5, 15.3.6 and 15.4.5.
fn forbids_body(status: u16) -> bool {
    status < 200 || matches!(status, 204 | 205 | 304)
}

/// A header that rules may set.
///
/// # Errors
/// When it is none.
pub fn header_name(name: &str) -> Result<HeaderName, EffectError> {
    let refuse = || EffectError::Header(name.chars().take(CODE_MAX).collect());
    let parsed = HeaderName::try_from(name).map_err(|_error| refuse())?;
    if is_out_of_reach(&parsed) { Err(refuse()) } else { Ok(parsed) }
}

/// What belongs to a connection, to the framing, or to the tiers, which write it themselves.
fn is_out_of_reach(name: &HeaderName) -> bool {
    const OWN: [&str; 11] = [
        "keep-alive",
        "proxy-connection",
        "forwarded",
        "x-real-ip",
        "x-request-id",
        "traceparent",
        "tracestate",
        "x-request-deadline-ms",
        "http2-settings",
        "expect",
        "date",
    ];
    let framing = [
        header::HOST,
        header::CONTENT_LENGTH,
        header::TRANSFER_ENCODING,
        header::CONNECTION,
        header::TE,
        header::TRAILER,
        header::UPGRADE,
        header::PROXY_AUTHENTICATE,
        header::PROXY_AUTHORIZATION,
    ];
    framing.contains(name)
        || OWN.contains(&name.as_str())
        || name.as_str().starts_with("x-forwarded-")
        || hop::is_internal(name.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Request;

    #[test]
    fn what_belongs_to_the_connection_or_the_tiers_is_out_of_reach() {
        for name in [
            "Connection",
            "keep-alive",
            "TE",
            "trailer",
            "Transfer-Encoding",
            "upgrade",
            "proxy-authorization",
            "Content-Length",
            "host",
            "x-gatehouse-hop",
            "X-Gatehouse-Result",
            "x-gatehouse",
            "x_gatehouse_hop",
            "x-forwarded-for",
            "x-real-ip",
            "x-request-id",
            "",
            "a b",
            "x\r\ny",
        ] {
            let mut effects = Effects::default();
            assert!(effects.set_header(name, "1").is_err(), "{name}");
            assert!(effects.remove_header(name).is_err(), "{name}");
            assert!(effects.is_empty());
        }
        assert!(Effects::default().set_header("authorization", "x").is_ok());
    }

    #[test]
    fn no_value_breaks_out_of_its_header() {
        for value in ["a\r\nx: y", "a\nb", "\0", &"x".repeat(VALUE_MAX + 1)] {
            assert!(Effects::default().set_header("x-a", value).is_err(), "{value:?}");
        }
        assert!(Effects::default().set_header("x-a", "\u{e4}").is_ok());
    }

    #[test]
    fn effects_are_bounded() {
        let mut effects = Effects::default();
        for _ in 0..EFFECTS_MAX {
            effects.tag("a", "b").unwrap();
        }
        assert_eq!(effects.charge("x", 1), Err(EffectError::TooMany));
        assert_eq!(Effects::default().charge("x", -1), Err(EffectError::Cost(-1)));
        assert_eq!(Effects::default().charge("x", i64::MAX), Err(EffectError::Cost(i64::MAX)));
    }

    #[test]
    fn a_status_says_what_a_rule_may_say() {
        for status in [-1, 0, 100, 199, 204, 205, 304, 600, 70_000] {
            assert_eq!(Effects::default().set_status(status), Err(EffectError::Status(status)));
        }
        for status in [399, 200, 600] {
            assert_eq!(Denial::new(Some(status), None, None), Err(EffectError::DenialStatus(status)));
        }
        assert!(Denial::new(Some(451), Some("no\"t"), None).is_err());
        assert_eq!(Denial::new(None, None, None).unwrap().status, 403);
        let mut effects = Effects::default();
        effects.set_status(200).unwrap();
        let mut headers = HeaderMap::new();
        for (status, after) in
            [(StatusCode::NOT_MODIFIED, StatusCode::NOT_MODIFIED), (StatusCode::NOT_FOUND, StatusCode::OK)]
        {
            let mut status = status;
            effects.change_answer(&mut status, &mut headers);
            assert_eq!(status, after);
        }
    }

    #[test]
    fn a_request_is_changed_as_asked() {
        let mut effects = Effects::default();
        effects.set_header("X-Plan", "free").unwrap();
        effects.remove_header("x-old").unwrap();
        effects.set_query("tier", Some("a b")).unwrap();
        effects.set_query("debug", None).unwrap();
        let request =
            Request::builder().uri("http://h/a%20b?debug=1&x=2").header("x-old", "1").header("x-plan", "gold");
        let mut parts = request.body(()).unwrap().into_parts().0;
        effects.change_request(&mut parts);
        assert_eq!(parts.uri, "http://h/a%20b?x=2&tier=a%20b");
        assert_eq!(parts.headers.get("x-plan").unwrap(), "free");
        assert_eq!(parts.headers.len(), 1);
    }
}
