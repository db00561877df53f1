//! The default value of an API: what is answered when its service fails. Refusals of the gate stay what they are.

use std::collections::BTreeMap;

use gatehouse_shared::config::{ByteSize, ConfigErrors};
use gatehouse_shared::hop::Auth;
use gatehouse_shared::problem::Reason;
use http::header::{self, HeaderName, HeaderValue};
use http::{Response, StatusCode};
use schemars::JsonSchema;
use serde::Deserialize;

use super::body::Outgoing;
use super::failure::Failure;
use super::fixed::{self, Fixed};
use super::template::Inputs;
use crate::store::catalog::At;

/// Marks a default value, with the problem code of the failure, or `status`.
pub const MARK: HeaderName = HeaderName::from_static("x-default-answer");

/// `default` of an API.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// For which failures: `"unreachable"`, no endpoint, no connection or an open breaker; `"timeout"`; `"broken"`, no answer or
    /// none in HTTP. Default: all three.
    #[serde(default = "all")]
    pub on: Vec<On>,
    /// Statuses of the service that count as failures too, 500 to 599. Default: `[502, 503, 504]`.
    #[serde(default = "default_statuses")]
    pub statuses: Vec<u16>,
    /// The status of the answer. Default: 200.
    #[serde(default = "fixed::default_status")]
    pub status: u16,
    /// The media type of the body; values in a template are escaped for it. Default: `"application/json"`.
    #[serde(default = "fixed::default_content_type")]
    pub content_type: String,
    /// Further header fields. Default: none.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// The body, as it is. Default: none. Example: `'{"items": []}'`.
    pub body: Option<String>,
    /// The body, as a template. Default: none.
    pub template: Option<String>,
    /// Steps that the template may take. Default: 10000.
    #[serde(default = "fixed::default_fuel")]
    pub fuel: u64,
    /// Bytes that the template may write. Default: `"256KiB"`.
    #[serde(default = "fixed::default_output_max")]
    pub output_max: ByteSize,
}

/// A kind of failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum On {
    /// Nothing could be sent.
    Unreachable,
    /// It took too long.
    Timeout,
    /// It ended before an answer, or was none.
    Broken,
}

fn all() -> Vec<On> {
    vec![On::Unreachable, On::Timeout, On::Broken]
}

fn default_statuses() -> Vec<u16> {
    vec![502, 503, 504]
}

impl On {
    /// The kind of a failure; `None` for whatever is not the service's.
    fn of(reason: &Reason) -> Option<Self> {
        match reason.code {
            // The gate lets nobody through: admission, which no default value hides.
            "service_overloaded" => None,
            "service_timeout" | "deadline_exceeded" => Some(Self::Timeout),
            "service_reset" | "service_protocol_error" => Some(Self::Broken),
            code if code.starts_with("service_") => Some(Self::Unreachable),
            _ => None,
        }
    }
}

/// A default value, as compiled.
#[derive(Debug)]
pub struct Fallback {
    on: Vec<On>,
    statuses: Vec<u16>,
    fixed: Fixed,
}

impl Fallback {
    /// Compiles `default` of the entry at `at`.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn compile(written: &Config, at: &At<'_>) -> Result<Self, ConfigErrors> {
        let mut errors = ConfigErrors::new();
        for (index, status) in written.statuses.iter().enumerate().filter(|(_, status)| !(500..=599).contains(*status))
        {
            let message = format!("{status} does not say that the service failed");
            errors.push(at.error(&format!("default.statuses[{index}]"), message, "write 500 to 599"));
        }
        if written.on.is_empty() && written.statuses.is_empty() {
            errors.push(at.error("default.on", "no failure, so it is never used", "name some, or leave default out"));
        }
        let answer = fixed::Config {
            status: written.status,
            content_type: written.content_type.clone(),
            headers: written.headers.clone(),
            body: written.body.clone(),
            template: written.template.clone(),
            fuel: written.fuel,
            output_max: written.output_max,
        };
        let fixed = errors.collect(Fixed::compile(&answer, "default", at));
        match fixed {
            Some(fixed) => {
                errors.into_result(Self { on: written.on.clone(), statuses: written.statuses.clone(), fixed })
            }
            None => Err(errors),
        }
    }

    /// The inputs it uses.
    #[must_use]
    pub fn wants(&self) -> &[&'static str] {
        self.fixed.wants()
    }

    /// Whether it is for this failure.
    #[must_use]
    pub fn is_for(&self, failure: &Failure) -> bool {
        On::of(failure.reason).is_some_and(|on| self.on.contains(&on))
    }

    /// Whether it is for an answer of the service with this status.
    #[must_use]
    pub fn is_for_status(&self, status: StatusCode) -> bool {
        self.statuses.contains(&status.as_u16())
    }

    /// The default value for a call of `auth`, marked with the `cause`. Nobody keeps it.
    ///
    /// # Errors
    /// When its template fails.
    pub fn answer(&self, inputs: &Inputs, auth: Auth, cause: &'static str) -> Result<Response<Outgoing>, Failure> {
        let mut answer = self.fixed.answer(inputs, auth)?;
        answer.headers_mut().insert(MARK, HeaderValue::from_static(cause));
        answer.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        Ok(answer)
    }
}

#[cfg(test)]
mod tests {
    use gatehouse_shared::problem;

    use super::*;

    #[test]
    fn only_failures_of_services_have_a_default() {
        for reason in problem::all() {
            let expected = match reason.code {
                "service_unavailable" | "service_busy" | "service_connect_failed" => Some(On::Unreachable),
                "service_timeout" | "deadline_exceeded" => Some(On::Timeout),
                "service_reset" | "service_protocol_error" => Some(On::Broken),
                code if code.starts_with("service_") && code != "service_overloaded" => Some(On::Unreachable),
                _ => None,
            };
            assert_eq!(On::of(reason), expected, "{reason}");
        }
        for reason in [&problem::SERVICE_OVERLOADED, &problem::API_BUSY, &problem::GROUP_SHED, &problem::QUOTA_APP] {
            assert_eq!(On::of(reason), None, "{reason}: a refusal of admission");
        }
    }
}
