//! What the edge decides about a rule set, beside what its files say.

use crate::body::Limits;
use crate::seclang::ast::LimitAction;

/// Settings of a rule set. What the files set (`SecRequestBodyLimit`, `setvar:tx.blocking_paranoia_level`) overrides them.
#[derive(Clone, Debug)]
pub struct Options {
    /// `TX.blocking_paranoia_level`: rules up to this level count towards a denial, 1 to 4. Default 1.
    pub blocking_paranoia: u8,
    /// `TX.detection_paranoia_level`: rules up to this level run and are reported, at least the one before. Default 1.
    pub detection_paranoia: u8,
    /// `TX.inbound_anomaly_score_threshold`: the score from which a request is denied. Default 5, one critical rule.
    pub inbound_threshold: u32,
    /// `TX.outbound_anomaly_score_threshold`: the same for answers. Default 4, one error.
    pub outbound_threshold: u32,
    /// Percentage of the requests that rules look at, for a rule set that is new. Default 100.
    pub sampling_percentage: u8,
    /// Bytes of a request body, files included. Default 13,107,200, the field's usual `SecRequestBodyLimit`.
    pub request_body_limit: u64,
    /// What happens to a longer one. Default [`LimitAction::Reject`].
    pub request_body_limit_action: LimitAction,
    /// Bytes of an answer that rules look at. Default 524,288, the field's usual `SecResponseBodyLimit`.
    pub response_body_limit: u64,
    /// What happens to a longer one. Default [`LimitAction::ProcessPartial`]: the rest is not looked at.
    pub response_body_limit_action: LimitAction,
    /// Whether rules may look at request bodies when no file says so. Default true.
    pub request_body_access: bool,
    /// Whether rules may look at answers' bodies when no file says so. Default false.
    pub response_body_access: bool,
    /// Media types of answers whose bodies are looked at. Default `text/plain`, `text/html`, `text/xml`.
    pub response_body_types: Vec<String>,
    /// How a body, a query string and cookies are split, and how much of them.
    pub limits: Limits,
    /// Whether one pass selects the rules worth running. Off only to compare: verdicts are the same, slower.
    pub prefilter: bool,
    /// Counts nanoseconds from any start, for the cost of each rule in [`RuleSet::costs`](crate::RuleSet::costs).
    /// Default none: hits are counted, time is not.
    pub clock: Option<fn() -> u64>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            blocking_paranoia: 1,
            detection_paranoia: 1,
            inbound_threshold: 5,
            outbound_threshold: 4,
            sampling_percentage: 100,
            request_body_limit: 13_107_200,
            request_body_limit_action: LimitAction::Reject,
            response_body_limit: 524_288,
            response_body_limit_action: LimitAction::ProcessPartial,
            request_body_access: true,
            response_body_access: false,
            response_body_types: ["text/plain", "text/html", "text/xml"].map(str::to_owned).to_vec(),
            limits: Limits::default(),
            prefilter: true,
            clock: None,
        }
    }
}
