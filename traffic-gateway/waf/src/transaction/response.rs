//! The answer: its head, and of its body what rules look at.

use crate::rules::RuleSet;
use crate::rules::template::write_number;
use crate::seclang::ast::{EngineMode, LimitAction};

use super::members::Member;
use super::state::State;
use super::{Mode, Verdict};

/// The answer of one transaction.
#[derive(Clone, Debug, Default)]
pub(super) struct Response {
    pub(super) status: Option<u16>,
    /// Whether rules may look at the body.
    pub(super) access: bool,
    /// Bytes that came.
    pub(super) length: u64,
    /// Whether more came than is looked at.
    pub(super) too_long: bool,
    content_type: Vec<u8>,
    body: Vec<u8>,
    ended: bool,
}

impl Response {
    pub(super) fn clear(&mut self, rules: &RuleSet) {
        self.status = None;
        self.access = rules.settings.response_body_access;
        self.restart();
    }

    fn restart(&mut self) {
        self.length = 0;
        self.too_long = false;
        self.content_type.clear();
        self.body.clear();
        self.body.shrink_to(1 << 20);
        self.ended = false;
    }
}

impl State {
    /// The first line of the answer.
    pub(super) fn response_line(&mut self, protocol: &[u8], status: u16, reason: &[u8]) {
        self.response.status = Some(status);
        let mut line = std::mem::take(&mut self.scratch);
        line.clear();
        line.extend_from_slice(protocol);
        line.push(b' ');
        write_number(&mut line, i64::from(status));
        if !reason.is_empty() {
            line.push(b' ');
            line.extend_from_slice(reason);
        }
        self.members.scalars.status_line = Some(self.texts.keep(&line));
        self.members.scalars.response_protocol = Some(self.texts.keep(protocol));
        self.scratch = line;
    }

    /// A header of the answer.
    pub(super) fn add_response_header(&mut self, rules: &RuleSet, name: &[u8], value: &[u8]) {
        let id = rules.name_id(name);
        let member = Member { name: self.texts.keep(name), id, value: self.texts.keep(value) };
        self.members.response_headers.push(member);
        if name.eq_ignore_ascii_case(b"content-type") {
            self.members.scalars.response_type = Some(member.value);
            self.response.content_type.clear();
            self.response.content_type.extend_from_slice(value);
        }
    }

    /// Whether rules want the body of the answer.
    pub(super) fn wants_response_body(&self, rules: &RuleSet) -> bool {
        let [_, _, _, fourth, fifth, _] = rules.phases;
        let runs = self.engine != EngineMode::Off && self.allowed & (1 << 4) == 0 && self.verdict.is_none();
        runs && self.response.access && fourth < fifth && self.is_readable(rules)
    }

    fn is_readable(&self, rules: &RuleSet) -> bool {
        let essence = self.response.content_type.split(|byte| *byte == b';').next().unwrap_or(&[]).trim_ascii();
        rules.settings.response_body_types.iter().any(|name| name.eq_ignore_ascii_case(essence))
    }

    /// Takes a piece of the answer's body.
    pub(super) fn take_response_body(&mut self, rules: &RuleSet, piece: &[u8]) -> Verdict {
        if !self.wants_response_body(rules) {
            return self.verdict();
        }
        self.response.length = self.response.length.saturating_add(piece.len() as u64);
        let limit = usize::try_from(rules.settings.response_body_limit).unwrap_or(usize::MAX);
        let room = limit.saturating_sub(self.response.body.len());
        let kept = piece.get(..room).unwrap_or(piece);
        self.response.body.extend_from_slice(kept);
        if kept.len() < piece.len() {
            self.response.too_long = true;
            if rules.settings.response_body_limit_action == LimitAction::Reject {
                return self.refuse_answer();
            }
        }
        Verdict::Pass
    }

    fn refuse_answer(&mut self) -> Verdict {
        let verdict = Verdict::Deny { status: 500, by: 0 };
        if self.findings.decided.is_none() {
            self.findings.decided = Some(verdict.clone());
        }
        if self.mode == Mode::Block && self.engine == EngineMode::On {
            self.verdict = Some(verdict);
        }
        self.verdict()
    }

    /// The answer's body is complete, or as much of it as is looked at.
    pub(super) fn end_response_body(&mut self, rules: &RuleSet) {
        if self.response.ended || !self.wants_response_body(rules) {
            return;
        }
        self.response.ended = true;
        let body = std::mem::take(&mut self.response.body);
        self.members.scalars.response_body = Some(self.texts.keep(&body));
        self.response.body = body;
    }
}
