//! What an API says of how its calls are sent to the service.

use std::time::Duration;

use gatehouse_shared::config::{ConfigErrors, HumanDuration};
use schemars::JsonSchema;
use serde::Deserialize;

use super::service::check_try_timeout;
use crate::store::catalog::At;

/// `upstream` of an `[[api]]`, as written.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct UpstreamConfig {
    /// After which an idempotent call without a body is tried at another healthy endpoint. Default: that of the service.
    pub try_timeout: Option<HumanDuration>,
    /// Who is told in `Server-Timing` how long the steps of a call took and what became of each try: `"marked"`, applications of
    /// `upstream.timings_package` that ask for it; `"always"`, everybody; `"never"`, nobody. Default: `"marked"`.
    pub timings: WhoSees,
}

/// Who is told how long the steps of a call took.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum WhoSees {
    /// Nobody.
    Never,
    /// Applications that may ask for it and do.
    #[default]
    Marked,
    /// Everybody.
    Always,
}

/// The same as compiled.
#[derive(Debug, Clone, Copy, Default)]
pub struct Upstream {
    /// After which a call is tried elsewhere; `None`: as the service says.
    pub try_timeout: Option<Duration>,
    /// Who is told of the steps.
    pub timings: WhoSees,
}

impl Upstream {
    /// Compiles what the API at `at` says.
    pub fn compile(written: &UpstreamConfig, at: &At<'_>, errors: &mut ConfigErrors) -> Self {
        check_try_timeout("upstream.try_timeout", written.try_timeout, at, errors);
        Self { try_timeout: written.try_timeout.map(HumanDuration::get), timings: written.timings }
    }
}
