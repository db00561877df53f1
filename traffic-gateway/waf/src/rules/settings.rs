//! What the files and the options together say about the whole transaction.

use crate::body::Limits;
use crate::seclang::ast::{EngineMode, LimitAction, Setting, Toggle};

use super::Options;

/// Settings in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Settings {
    pub(crate) engine: EngineMode,
    pub(crate) request_body_access: bool,
    pub(crate) response_body_access: bool,
    pub(crate) request_body_limit: u64,
    pub(crate) request_body_limit_action: LimitAction,
    pub(crate) response_body_limit: u64,
    pub(crate) response_body_limit_action: LimitAction,
    /// Media types in lower case.
    pub(crate) response_body_types: Vec<Vec<u8>>,
    pub(crate) limits: Limits,
    pub(crate) sampling_percentage: u8,
}

impl Settings {
    pub(super) fn new(options: &Options, settings: &[Setting]) -> Self {
        let mut all = Self {
            engine: EngineMode::On,
            request_body_access: options.request_body_access,
            response_body_access: options.response_body_access,
            request_body_limit: options.request_body_limit,
            request_body_limit_action: options.request_body_limit_action,
            response_body_limit: options.response_body_limit,
            response_body_limit_action: options.response_body_limit_action,
            response_body_types: lower(&options.response_body_types),
            limits: options.limits,
            sampling_percentage: options.sampling_percentage,
        };
        for setting in settings {
            all.apply(setting);
        }
        all
    }

    fn apply(&mut self, setting: &Setting) {
        match setting {
            Setting::Engine(mode) => self.engine = *mode,
            Setting::RequestBodyAccess(toggle) => self.request_body_access = *toggle == Toggle::On,
            Setting::ResponseBodyAccess(toggle) => self.response_body_access = *toggle == Toggle::On,
            Setting::RequestBodyLimit(bytes) => self.request_body_limit = *bytes,
            Setting::RequestBodyNoFilesLimit(bytes) => self.limits.body_bytes = *bytes,
            Setting::RequestBodyLimitAction(action) => self.request_body_limit_action = *action,
            Setting::RequestBodyJsonDepthLimit(levels) => self.limits.depth = *levels,
            Setting::ResponseBodyLimit(bytes) => self.response_body_limit = *bytes,
            Setting::ResponseBodyLimitAction(action) => self.response_body_limit_action = *action,
            Setting::ResponseBodyMimeType(types) if types.is_empty() => self.response_body_types.clear(),
            Setting::ResponseBodyMimeType(types) => self.response_body_types.extend(lower(types)),
            Setting::ArgumentsLimit(count) => self.limits.arguments = *count,
            Setting::ArgumentSeparator(byte) => self.limits.separator = *byte,
            _ => {}
        }
    }
}

fn lower(types: &[String]) -> Vec<Vec<u8>> {
    types.iter().map(|name| name.to_ascii_lowercase().into_bytes()).collect()
}
