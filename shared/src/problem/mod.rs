//! The one mapping from reasons to HTTP: RFC 9457 problem documents.
//!
//! Every refusal of either tier has one [`Reason`] in the catalogue: its stable code is in the answer, in the log line
//! and in the metrics. What a client reads says nothing about the inside; the cause is for the log.

mod catalogue;

use std::fmt;

pub use catalogue::*;

use crate::telemetry::access_log::{push_json_string, push_number};

/// Why a request is not served as asked.
#[derive(Debug, PartialEq, Eq)]
pub struct Reason {
    /// Stable, lower case with underscores; clients and dashboards may match on it.
    pub code: &'static str,
    /// The HTTP status.
    pub status: u16,
    /// A short summary for people.
    pub title: &'static str,
    /// What it means, for the reference.
    pub meaning: &'static str,
    /// What to do about it, for the reference.
    pub remedy: &'static str,
    /// Whose fault it is, in the words of open platforms: `isv.…` the caller's, who should not try again as it is; `isp.…`
    /// the platform's, who may; `accesscontrol.…` a limit's. `None` where no application is involved.
    pub sub_code: Option<&'static str>,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code)
    }
}

/// The members that every problem document has or may have; further ones need other names.
pub const MEMBERS: [&str; 8] = ["type", "title", "status", "detail", "code", "sub_code", "request_id", "retry_after"];

/// The media type of [`json`].
pub const CONTENT_TYPE: &str = "application/problem+json";

/// The reason with this code, if there is one.
#[must_use]
pub fn by_code(code: &str) -> Option<&'static Reason> {
    all().find(|reason| reason.code == code)
}

/// Every reason, in the order of the reference.
pub fn all() -> impl Iterator<Item = &'static Reason> {
    sections().flat_map(|(_, reasons)| reasons.iter().copied())
}

/// The body of a refusal: a problem document with `type`, `title`, `status`, `detail`, `code`, `sub_code` and
/// `request_id`.
///
/// `detail` is shown to the client: it may name what the client sent, never anything internal.
#[must_use]
pub fn json(reason: &Reason, request_id: &str, detail: Option<&str>) -> Vec<u8> {
    json_with(reason, reason.status, request_id, detail, std::iter::empty::<(&str, &str)>())
}

/// The same with another status and further members (RFC 9457, section 3.2); their names must be none of those above.
pub fn json_with<N: AsRef<str>, V: AsRef<str>>(
    reason: &Reason,
    status: u16,
    request_id: &str,
    detail: Option<&str>,
    members: impl IntoIterator<Item = (N, V)>,
) -> Vec<u8> {
    let mut body = begin(reason, status, reason.sub_code, request_id, detail);
    for (name, value) in members {
        body.push(',');
        push_json_string(&mut body, name.as_ref().as_bytes());
        body.push(':');
        push_json_string(&mut body, value.as_ref().as_bytes());
    }
    body.push_str("}\n");
    body.into_bytes()
}

/// The same for a call of an application, with the `sub_code` of this case: `retry_after` says after how many seconds it may be made again.
#[must_use]
pub fn json_of_call(
    reason: &Reason,
    status: u16,
    sub_code: Option<&str>,
    request_id: &str,
    detail: Option<&str>,
    retry_after: Option<u64>,
) -> Vec<u8> {
    let mut body = begin(reason, status, sub_code, request_id, detail);
    if let Some(seconds) = retry_after {
        body.push_str(",\"retry_after\":");
        push_number(&mut body, seconds);
    }
    body.push_str("}\n");
    body.into_bytes()
}

/// Everything but further members and the end.
fn begin(reason: &Reason, status: u16, sub_code: Option<&str>, request_id: &str, detail: Option<&str>) -> String {
    let mut body = String::with_capacity(256);
    body.push_str("{\"type\":\"urn:gatehouse:problem:");
    body.push_str(reason.code);
    body.push_str("\",\"title\":");
    push_json_string(&mut body, reason.title.as_bytes());
    body.push_str(",\"status\":");
    push_number(&mut body, u64::from(status));
    if let Some(detail) = detail {
        body.push_str(",\"detail\":");
        push_json_string(&mut body, detail.as_bytes());
    }
    body.push_str(",\"code\":\"");
    body.push_str(reason.code);
    if let Some(sub_code) = sub_code {
        body.push_str("\",\"sub_code\":\"");
        body.push_str(sub_code);
    }
    body.push_str("\",\"request_id\":");
    push_json_string(&mut body, request_id.as_bytes());
    body
}

/// `docs/ERRORS.md`: every code with its status, meaning and remedy.
#[must_use]
pub fn reference_markdown() -> String {
    let mut page = String::from(
        "# Errors\n\n\
         Generated from the code; do not edit.\n\n\
         Every refusal is an `application/problem+json` document (RFC 9457); the edge sends browsers an HTML page instead, and may \
         be told to redirect or to drop ([Denials](DENIALS.md)):\n\n\
         ```json\n\
         {\"type\":\"urn:gatehouse:problem:route_not_found\",\"title\":\"No route\",\"status\":404,\
         \"code\":\"route_not_found\",\"request_id\":\"0193c1d2a8f07b6e5d4c3b2a19080706\"}\n\
         ```\n\n\
         `code` is stable. `request_id` is also in the `x-request-id` header and in the access log of both tiers; quote it \
         when you ask for help. `detail`, when there is one, says what in the request was refused.\n",
    );
    for (section, reasons) in sections() {
        let has_sub_codes = reasons.iter().any(|reason| reason.sub_code.is_some());
        let (head, line) = if has_sub_codes { (" `sub_code` |", "---|") } else { ("", "") };
        page.push_str(&format!(
            "\n## {section}\n\n| code | status | meaning | what to do |{head}\n|---|---|---|---|{line}\n"
        ));
        for reason in *reasons {
            let Reason { code, status, meaning, remedy, sub_code, .. } = reason;
            let sub_code = match sub_code {
                Some(sub_code) => format!(" `{sub_code}` |"),
                None if has_sub_codes => " |".to_owned(),
                None => String::new(),
            };
            page.push_str(&format!("| `{code}` | {status} | {meaning} | {remedy} |{sub_code}\n"));
        }
    }
    page
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn codes_are_unique_and_well_formed() {
        let mut seen = HashSet::new();
        for reason in all() {
            assert!(seen.insert(reason.code), "{} is there twice", reason.code);
            let well_formed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
            assert!(reason.code.chars().all(well_formed), "{}", reason.code);
            assert!((400..600).contains(&reason.status), "{}", reason.code);
            for text in [reason.title, reason.meaning, reason.remedy] {
                assert!(!text.is_empty() && !text.contains(['|', '\n']), "{}", reason.code);
            }
            assert_eq!(by_code(reason.code), Some(reason));
        }
    }

    #[test]
    fn a_body_is_json_whatever_the_detail() {
        let body = json(&ROUTE_NOT_FOUND, "0193", Some("no \"route\"\n\u{1} for \\ ü"));
        let value: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(value["status"], 404);
        assert_eq!(value["code"], "route_not_found");
        assert_eq!(value["type"], "urn:gatehouse:problem:route_not_found");
        assert_eq!(value["request_id"], "0193");
        assert_eq!(value["detail"], "no \"route\"\n\u{1} for \\ ü");
        let plain: serde_json::Value = serde_json::from_slice(&json(&ROUTE_NOT_FOUND, "0193", None)).unwrap();
        assert!(plain.get("detail").is_none());
    }

    #[test]
    fn further_members_are_escaped_like_the_rest() {
        let members = [("support", "https://example.com/?id=1\"\n"), ("a\"b", "")];
        let body = json_with(&ROUTE_NOT_FOUND, 404, "0193", None, members);
        let value: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(value["support"], "https://example.com/?id=1\"\n");
        assert_eq!(value["a\"b"], "");
        assert_eq!(value["code"], "route_not_found");
    }

    #[test]
    fn the_reference_lists_every_code() {
        let page = reference_markdown();
        assert!(all().all(|reason| page.contains(&format!("| `{}` | {} |", reason.code, reason.status))));
    }
}
