//! Everything a transaction holds, in buffers that are used again.

use std::io::Write as _;
use std::net::IpAddr;

use crate::body::{Buffers, Fault};
use crate::operator::Captures;
use crate::rules::RuleSet;
use crate::rules::memo::Recent;
use crate::rules::names::NameId;
use crate::rules::template::write_number;
use crate::rules::units::Source;
use crate::seclang::ast::{EngineMode, Variable};

use super::body::RequestBody;
use super::items::{Item, Matched};
use super::members::{Member, Members};
use super::report::Findings;
use super::response::Response;
use super::run::COUNTED;
use super::texts::{TextId, Texts};
use super::time::Time;
use super::tx::TxVariables;
use super::{Mode, Start, Verdict};

/// The state of one transaction.
#[derive(Clone, Debug)]
pub(super) struct State {
    /// What the edge allows rules to do.
    pub(super) mode: Mode,
    /// What rules do now; `ctl:ruleEngine` changes it within `mode`.
    pub(super) engine: EngineMode,
    pub(super) texts: Texts,
    pub(super) members: Members,
    pub(super) tx: TxVariables,
    pub(super) time: Time,
    pub(super) milliseconds: u64,
    pub(super) client_port: u16,
    pub(super) server_port: u16,
    pub(super) body: RequestBody,
    pub(super) response: Response,
    pub(super) findings: Findings,
    /// The last phase that began.
    pub(super) phase: u8,
    /// Phases that `allow` leaves out, one bit each.
    pub(super) allowed: u8,
    /// What was decided, once it was.
    pub(super) verdict: Option<Verdict>,
    /// Whether the runs of rules are counted.
    pub(super) counting: bool,
    /// Whether this is a copy that is forgotten after its verdict: what matches is not counted.
    pub(super) is_trial: bool,
    /// Whether more came than is looked at.
    pub(super) truncated: bool,
    pub(super) invalid_escape: bool,
    pub(super) highest_severity: Option<u8>,
    /// Rules the prefilter found worth running, as a row of bits.
    pub(super) candidates: Vec<u64>,
    /// Values seen lately that woke no rule.
    pub(super) recent: Recent,
    /// Rules that `ctl` took away.
    pub(super) removed: Vec<u64>,
    /// Numbers of the run-time exclusions in force.
    pub(super) exclusions: Vec<u32>,
    pub(super) gathered: Gathered,
    pub(super) matched: Vec<Matched>,
    pub(super) items: Vec<Item>,
    pub(super) captures: Captures,
    /// For comparisons that only ask whether.
    pub(super) uncaptured: Captures,
    /// What the steps of a pipeline made of a value, while it is taken through them.
    pub(super) made: Vec<TextId>,
    pub(super) buffers: Buffers,
    pub(super) scratch: Vec<u8>,
    pub(super) argument: Vec<u8>,
}

/// How many members of each collection the prefilter has seen.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Gathered {
    arguments: usize,
    headers: usize,
    cookies: usize,
    files: usize,
    file_windows: usize,
    part_headers: usize,
    xml_texts: usize,
    xml_attributes: usize,
    xml_doctypes: usize,
    response_headers: usize,
    head: bool,
    body: bool,
    response_body: bool,
}

impl Gathered {
    /// Forgets what came with the body of the request.
    pub(super) fn forget_body(&mut self, of_query: usize) {
        let Self { headers, cookies, head, .. } = *self;
        *self = Self { arguments: self.arguments.min(of_query), headers, cookies, head, ..Self::default() };
    }
}

impl State {
    pub(super) fn new() -> Self {
        let texts = Texts::new();
        Self {
            mode: Mode::Off,
            engine: EngineMode::Off,
            tx: TxVariables::new(texts.seed()),
            texts,
            members: Members::default(),
            time: Time::default(),
            milliseconds: 0,
            client_port: 0,
            server_port: 0,
            body: RequestBody::default(),
            response: Response::default(),
            findings: Findings::default(),
            phase: 0,
            allowed: 0,
            verdict: None,
            counting: false,
            is_trial: false,
            truncated: false,
            invalid_escape: false,
            highest_severity: None,
            candidates: Vec::new(),
            recent: Recent::new(),
            removed: Vec::new(),
            exclusions: Vec::new(),
            gathered: Gathered::default(),
            matched: Vec::new(),
            items: Vec::new(),
            captures: Captures::wanted(),
            uncaptured: Captures::unwanted(),
            made: Vec::new(),
            buffers: Buffers::default(),
            scratch: Vec::new(),
            argument: Vec::new(),
        }
    }

    /// Makes everything ready for another transaction, keeping the buffers.
    pub(super) fn clear(&mut self, rules: &RuleSet) {
        let words = rules.rules.len().div_ceil(64);
        for row in [&mut self.candidates, &mut self.removed] {
            row.clear();
            row.resize(words, 0);
        }
        self.texts.clear();
        self.members.clear();
        self.tx.begin(rules);
        self.body.clear(rules);
        self.response.clear(rules);
        self.findings.clear();
        self.milliseconds = 0;
        self.phase = 0;
        self.allowed = 0;
        self.verdict = None;
        self.truncated = false;
        self.invalid_escape = false;
        self.highest_severity = None;
        self.exclusions.clear();
        self.gathered = Gathered::default();
        self.matched.clear();
        self.items.clear();
    }

    /// Sets what is known before the first byte.
    pub(super) fn set_start(&mut self, start: Start<'_>) {
        self.time = Time::new(start.unix_time);
        self.counting = start.random.is_multiple_of(COUNTED);
        (self.client_port, self.server_port) = (start.client.port(), start.server.port());
        let mut text = std::mem::take(&mut self.scratch);
        for (place, address) in [(0, start.client.ip()), (1, start.server.ip())] {
            text.clear();
            write_address(&mut text, address.to_canonical());
            let id = Some(self.texts.add(&text));
            let scalars = &mut self.members.scalars;
            *(if place == 0 { &mut scalars.remote_addr } else { &mut scalars.server_addr }) = id;
        }
        self.scratch = text;
        self.members.scalars.unique_id = Some(self.texts.add(start.unique_id.as_bytes()));
    }

    /// Shows all values that came since the last time to the prefilter.
    pub(super) fn gather(&mut self, rules: &RuleSet) {
        let seen = self.gathered;
        let of_query = self.members.of_query;
        for index in seen.arguments..self.members.arguments.len() {
            let Some(member) = self.members.arguments.get(index).copied() else { break };
            let (value, name) = if index < of_query {
                (Source::GetValue, Source::GetName)
            } else {
                (Source::PostValue, Source::PostName)
            };
            self.gather_text(rules, value, member.id, member.value);
            self.gather_text(rules, name, member.id, member.name);
        }
        for index in seen.headers..self.members.headers.len() {
            let Some(member) = self.members.headers.get(index).copied() else { break };
            self.gather_pair(rules, Source::HeaderValue, Source::HeaderName, member);
        }
        for index in seen.cookies..self.members.cookies.len() {
            let Some(member) = self.members.cookies.get(index).copied() else { break };
            self.gather_text(rules, Source::CookieValue, member.id, member.value);
            self.gather_text(rules, Source::CookieName, member.id, member.name);
        }
        for index in seen.response_headers..self.members.response_headers.len() {
            let Some(member) = self.members.response_headers.get(index).copied() else { break };
            self.gather_text(rules, Source::AnswerHeaderValue, member.id, member.value);
            self.gather_text(rules, Source::AnswerHeaderName, member.id, member.name);
        }
        self.gather_body(rules, seen);
        self.gather_scalars(rules, seen);
        self.gathered = Gathered {
            arguments: self.members.arguments.len(),
            headers: self.members.headers.len(),
            cookies: self.members.cookies.len(),
            files: self.members.files.len(),
            file_windows: self.members.file_windows.len(),
            part_headers: self.members.part_headers.len(),
            xml_texts: self.members.xml_texts.len(),
            xml_attributes: self.members.xml_attributes.len(),
            xml_doctypes: self.members.xml_doctypes.len(),
            response_headers: self.members.response_headers.len(),
            head: true,
            body: seen.body || self.members.scalars.body.is_some(),
            response_body: seen.response_body || self.members.scalars.response_body.is_some(),
        };
    }

    fn gather_body(&mut self, rules: &RuleSet, seen: Gathered) {
        for index in seen.files..self.members.files.len() {
            let Some(file) = self.members.files.get(index).copied() else { break };
            self.gather_text(rules, Source::FileName, file.member.id, file.member.value);
            self.gather_text(rules, Source::FileField, file.member.id, file.member.name);
        }
        for index in seen.part_headers..self.members.part_headers.len() {
            let Some(member) = self.members.part_headers.get(index).copied() else { break };
            self.gather_text(rules, Source::PartHeader, member.id, member.value);
        }
        for index in seen.file_windows..self.members.file_windows.len() {
            let Some(member) = self.members.file_windows.get(index).copied() else { break };
            self.gather_text(rules, Source::FileContent, member.id, member.value);
        }
        for index in seen.xml_texts..self.members.xml_texts.len() {
            let Some(text) = self.members.xml_texts.get(index).copied() else { break };
            self.gather_text(rules, Source::XmlText, NameId::default(), text);
        }
        for index in seen.xml_attributes..self.members.xml_attributes.len() {
            let Some(text) = self.members.xml_attributes.get(index).copied() else { break };
            self.gather_text(rules, Source::XmlAttribute, NameId::default(), text);
        }
        for index in seen.xml_doctypes..self.members.xml_doctypes.len() {
            let Some(text) = self.members.xml_doctypes.get(index).copied() else { break };
            self.gather_text(rules, Source::XmlDoctype, NameId::default(), text);
        }
    }

    fn gather_scalars(&mut self, rules: &RuleSet, seen: Gathered) {
        let scalars = self.members.scalars;
        let head = [
            (Source::Line, scalars.line),
            (Source::Uri, scalars.uri),
            (Source::UriRaw, scalars.uri_raw),
            (Source::Filename, scalars.filename),
            (Source::Basename, scalars.basename),
            (Source::Query, scalars.query),
        ];
        let bodies = [
            (Source::Body, scalars.body.filter(|_| !seen.body)),
            (Source::AnswerBody, scalars.response_body.filter(|_| !seen.response_body)),
        ];
        let head = head.into_iter().filter(|_| !seen.head);
        for (source, text) in head.chain(bodies) {
            if let Some(text) = text {
                self.gather_text(rules, source, NameId::default(), text);
            }
        }
    }

    /// Adds the rules that a value or its name may match, where both come together more often than not.
    fn gather_pair(&mut self, rules: &RuleSet, value: Source, name: Source, member: Member) {
        let texts = [self.texts.bytes(member.name), self.texts.bytes(member.value)];
        let seen = rules.memo.number(value, member.id, &texts);
        if seen.is_some_and(|seen| rules.memo.is_idle(seen)) {
            return;
        }
        let woke_any = self.gather_text(rules, value, member.id, member.value)
            | self.gather_text(rules, name, member.id, member.name);
        if let Some(seen) = seen.filter(|_| !woke_any) {
            rules.memo.note_idle(seen, &mut self.recent);
        }
    }

    /// Adds the rules one value may match, and says whether there is one.
    fn gather_text(&mut self, rules: &RuleSet, source: Source, name: NameId, text: TextId) -> bool {
        if !rules.units.is_looked_at(source) {
            return false;
        }
        let seen = rules.memo.number(source, name, &[self.texts.bytes(text)]);
        if seen.is_some_and(|seen| rules.memo.is_idle(seen)) {
            return false;
        }
        let woke_any = self.wake(rules, source, name, text);
        if let Some(seen) = seen.filter(|_| !woke_any) {
            rules.memo.note_idle(seen, &mut self.recent);
        }
        woke_any
    }

    /// The value of a variable that is a number.
    pub(super) fn count_of(&self, variable: Variable) -> Option<i64> {
        let flag = |set: bool| Some(i64::from(set));
        let fault = |fault: Fault| Some(i64::from(self.body.outcome.faults.contains(fault)));
        let sum = |sizes: &mut dyn Iterator<Item = u64>| i64::try_from(sizes.sum::<u64>()).ok();
        match variable {
            Variable::ArgsCombinedSize => sum(&mut self
                .members
                .arguments
                .iter()
                .map(|member| (self.texts.bytes(member.name).len() + self.texts.bytes(member.value).len()) as u64)),
            Variable::FilesCombinedSize => sum(&mut self.members.files.iter().map(|file| file.size)),
            Variable::Duration => i64::try_from(self.milliseconds).ok(),
            Variable::FullRequestLength => sum(&mut [self.body.head_length, self.body.length].into_iter()),
            Variable::HighestSeverity => Some(self.highest_severity.map_or(255, i64::from)),
            Variable::InboundDataError => flag(self.truncated || self.body.too_long || self.tx.overflow),
            Variable::OutboundDataError => flag(self.response.too_long),
            Variable::MultipartStrictError => flag(self.body.is_strictly_wrong()),
            Variable::MultipartUnmatchedBoundary => fault(Fault::UnmatchedBoundary),
            Variable::MultipartBoundaryQuoted => fault(Fault::BoundaryQuoted),
            Variable::MultipartBoundaryWhitespace => fault(Fault::BoundaryWhitespace),
            Variable::MultipartDataAfter => fault(Fault::DataAfter),
            Variable::MultipartDataBefore => fault(Fault::DataBefore),
            Variable::MultipartHeaderFolding => fault(Fault::HeaderFolding),
            Variable::MultipartInvalidHeaderFolding => fault(Fault::InvalidHeaderFolding),
            Variable::MultipartInvalidPart => fault(Fault::InvalidPart),
            Variable::MultipartInvalidQuoting => fault(Fault::InvalidQuoting),
            Variable::MultipartLfLine => fault(Fault::LfLine),
            Variable::MultipartMissingSemicolon => fault(Fault::MissingSemicolon),
            Variable::MultipartFileLimitExceeded => flag(self.body.too_many_parts()),
            Variable::RemotePort => Some(i64::from(self.client_port)),
            Variable::ServerPort => Some(i64::from(self.server_port)),
            Variable::ReqbodyError | Variable::ReqbodyProcessorError => flag(self.members.scalars.body_error.is_some()),
            Variable::RequestBodyLength => i64::try_from(self.body.length).ok(),
            Variable::ResponseContentLength => i64::try_from(self.response.length).ok(),
            Variable::ResponseStatus => self.response.status.map(i64::from),
            Variable::UrlencodedError => {
                flag(self.invalid_escape || self.body.outcome.faults.contains(Fault::InvalidEscape))
            }
            Variable::TimeDay => Some(self.time.day),
            Variable::TimeEpoch => Some(self.time.epoch),
            Variable::TimeHour => Some(self.time.hour),
            Variable::TimeMin => Some(self.time.minute),
            Variable::TimeMon => Some(self.time.month),
            Variable::TimeSec => Some(self.time.second),
            Variable::TimeWday => Some(self.time.weekday),
            Variable::TimeYear => Some(self.time.year),
            _ => None,
        }
    }
}

/// Appends an address as text: what formatting does, for most addresses in a tenth of the time.
fn write_address(text: &mut Vec<u8>, address: IpAddr) {
    match address {
        IpAddr::V4(address) => {
            for (place, octet) in address.octets().into_iter().enumerate() {
                if place > 0 {
                    text.push(b'.');
                }
                write_number(text, i64::from(octet));
            }
        }
        IpAddr::V6(address) => {
            // Writing to a vector cannot fail.
            let written = write!(text, "{address}");
            debug_assert!(written.is_ok());
        }
    }
}
