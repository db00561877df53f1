//! How a refusal is written: as a problem document with its status, or in the form that clients of open platforms know.

use gatehouse_shared::problem::{self, Reason};
use http::StatusCode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::admit::validation::finding::{Finding, append};

/// The form of an API's refusals.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Envelope {
    /// A problem document (RFC 9457) with the status of the reason.
    #[default]
    Problem,
    /// Status 200 and `{"error_response": {"code", "msg", "sub_code", "sub_msg", "request_id", "retry_after"}}`.
    Platform,
}

/// A refusal as it is sent.
#[derive(Debug)]
pub struct Written {
    /// The status.
    pub status: StatusCode,
    /// The media type of the body.
    pub content_type: &'static str,
    /// The body.
    pub body: Vec<u8>,
}

/// What a refusal says.
#[derive(Debug, Clone, Copy)]
pub struct Said<'a> {
    /// Why.
    pub reason: &'a Reason,
    /// The status; a rule may have chosen another than the reason's.
    pub status: u16,
    /// What clients may match on, where it is not the reason's.
    pub sub_code: Option<&'a str>,
    /// Of which request.
    pub request_id: &'a str,
    /// What is particular about this case.
    pub detail: Option<&'a str>,
    /// Seconds after which the call may be made again.
    pub retry_after: Option<u64>,
    /// What is wrong with the call, one by one.
    pub findings: &'a [Finding],
}

impl Envelope {
    /// Writes a refusal.
    #[must_use]
    pub fn write(self, said: &Said<'_>) -> Written {
        match self {
            Self::Problem => Written {
                status: StatusCode::from_u16(said.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
                content_type: problem::CONTENT_TYPE,
                body: append(
                    problem::json_of_call(
                        said.reason,
                        said.status,
                        said.sub_code.or(said.reason.sub_code),
                        said.request_id,
                        said.detail,
                        said.retry_after,
                    ),
                    said.findings,
                ),
            },
            Self::Platform => Written {
                status: StatusCode::OK,
                content_type: "application/json",
                body: format!("{}\n", platform(said)).into_bytes(),
            },
        }
    }
}

fn platform(said: &Said<'_>) -> serde_json::Value {
    let mut members = json!({
        "code": number(said.reason),
        "msg": said.reason.title,
        "sub_code": said.sub_code.or(said.reason.sub_code).map_or_else(|| whose_fault(said), str::to_owned),
        "sub_msg": said.detail.unwrap_or(said.reason.meaning),
        "request_id": said.request_id,
    });
    if let (Some(seconds), Some(members)) = (said.retry_after, members.as_object_mut()) {
        members.insert("retry_after".to_owned(), seconds.into());
    }
    if let (false, Some(members)) = (said.findings.is_empty(), members.as_object_mut()) {
        members.insert("errors".to_owned(), said.findings.iter().map(Finding::to_json).collect());
    }
    json!({ "error_response": members })
}

/// The sub code of a reason without one of its own.
fn whose_fault(said: &Said<'_>) -> String {
    let side = if said.status < 500 { "isv" } else { "isp" };
    format!("{side}.{}", said.reason.code.replace('_', "-"))
}

/// The numbers that open platforms use, as far as they have one for the case: 15 is a failure of the service behind, 41 an
/// argument that is not valid.
fn number(reason: &Reason) -> u16 {
    match reason.code {
        "api_not_found" => 22,
        "api_method_not_allowed" => 9,
        "credentials_missing" => 24,
        "credentials_malformed" | "credentials_ambiguous" => 40,
        "credentials_refused" | "digest_mismatch" => 25,
        "signature_expired" | "signature_replayed" => 31,
        "user_missing" => 26,
        "user_expired" => 27,
        "app_disabled" | "api_not_batchable" | "permission_missing" | "address_refused" | "condition_refused"
        | "flow_rule_denied" => 11,
        "scope_missing" => 12,
        "quota_api" | "quota_app" | "quota_app_api" | "quota_dynamic" => 7,
        "service_overloaded" | "api_busy" | "group_shed" => 10,
        _ if reason.status < 500 => 41,
        _ => 15,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said<'a>(reason: &'a Reason, detail: Option<&'a str>, retry_after: Option<u64>) -> Said<'a> {
        Said { reason, status: reason.status, sub_code: None, request_id: "0193", detail, retry_after, findings: &[] }
    }

    #[test]
    fn a_problem_has_the_status_and_the_seconds_of_its_reason() {
        let written = Envelope::Problem.write(&said(&problem::QUOTA_APP, None, Some(7)));
        assert_eq!((written.status.as_u16(), written.content_type), (429, "application/problem+json"));
        let body: serde_json::Value = serde_json::from_slice(&written.body).unwrap();
        assert_eq!((&body["code"], &body["retry_after"]), (&"quota_app".into(), &7.into()));
        assert_eq!(body["sub_code"], "accesscontrol.limited-by-app-access-count");
    }

    #[test]
    fn the_platform_form_says_whose_fault_it_is_whatever_the_reason() {
        for reason in problem::all() {
            let written = Envelope::Platform.write(&said(reason, Some("a \"detail\""), None));
            assert_eq!(written.status.as_u16(), 200);
            let body: serde_json::Value = serde_json::from_slice(&written.body).unwrap();
            let error = &body["error_response"];
            let sub_code = error["sub_code"].as_str().unwrap();
            assert!(["isv.", "isp.", "accesscontrol."].iter().any(|side| sub_code.starts_with(side)), "{sub_code}");
            assert!(error["code"].as_u64().is_some_and(|code| code > 0));
            assert_eq!((&error["sub_msg"], &error["request_id"]), (&"a \"detail\"".into(), &"0193".into()));
        }
    }
}
