//! The body of a request: who reads it, what of it is kept, and what was wrong with it.
//!
//! # The content of files
//!
//! `FILES_CONTENT` (Gatehouse's own; the field has files written to disk and looks at them there) is looked at as the
//! body streams, in windows of [`WINDOW`] bytes of which [`OVERLAP`] are those of the last one, so that what is up to
//! that long is seen whole wherever the body is cut. A window that some rule matches is kept, one for each rule at most,
//! and is a value of `FILES_CONTENT` in phase 2, named after its field: exclusions, chains, scores and decisions are
//! those of any rule. Anchors refer to the window.
//!
//! # Files that go on before the body ends
//!
//! Whoever holds a body back until it was judged need not hold long files of a multipart body: [`BodySoFar`] says what was
//! read whole and looked at, [`State::judge_so_far`] runs the rules over it as if the body ended there. They run on a copy,
//! so that what they set and count is gone afterwards, and the verdict at the end of the body is that of a body which was
//! never judged before. Only a denial stays. A rule that asks for something to be *missing* denies what would have come later.

use crate::body::{BodyReader, Malformed, Outcome, Sink, processor_for};
use crate::operator::Captures;
use crate::rules::RuleSet;
use crate::rules::rule::{Link, Rule, Test};
use crate::seclang::ast::{BodyProcessor, LimitAction};

use super::members::{File, Member, Members};
use super::state::State;
use super::texts::Texts;
use super::{Mode, Verdict};

/// Bytes of a file that are looked at together.
pub const WINDOW: usize = 16 << 10;

/// Bytes of the last window that the next one begins with.
pub const OVERLAP: usize = 1 << 10;

/// Windows kept for phase 2.
const WINDOWS_KEPT: usize = 64;

/// Status of the answer to a body that is too long.
const TOO_LONG: u16 = 413;

/// The body of one request.
#[derive(Clone, Debug, Default)]
pub(super) struct RequestBody {
    /// Who reads it.
    pub(super) processor: Option<BodyProcessor>,
    /// Whether `REQUEST_BODY` is kept whoever reads it.
    pub(super) forced: bool,
    /// Whether rules may look at it.
    pub(super) access: bool,
    /// Bytes of the request line and the headers.
    pub(super) head_length: u64,
    /// Bytes that came.
    pub(super) length: u64,
    /// Whether more came than is looked at.
    pub(super) too_long: bool,
    /// Whether only the beginning is shown, on purpose.
    cut: bool,
    pub(super) outcome: Outcome,
    content_type: Vec<u8>,
    reader: Option<BodyReader>,
    begun: bool,
    ended: bool,
    /// What there was when it was last judged before its end.
    judged: Option<Found>,
    raw: Vec<u8>,
    window: Window,
}

/// How far a body is of which parts may go on before its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BodySoFar {
    /// Bytes from its beginning that were read whole and, where they are those of a file, looked at.
    pub settled: u64,
    /// Bytes of files.
    pub of_files: u64,
    /// Whether what there is to judge was judged: nothing but bytes of a file came since, in which no rule found anything.
    pub is_judged: bool,
}

/// What was found in a body so far: what rules are to judge, in numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Found {
    arguments: usize,
    files: usize,
    file_windows: usize,
    part_headers: usize,
    outcome: Outcome,
}

/// The part of a file that is looked at.
#[derive(Clone, Debug, Default)]
struct Window {
    bytes: Vec<u8>,
    /// Bytes at the beginning that the last window had.
    old: usize,
    field: Vec<u8>,
    /// Rules that have a window.
    served: Vec<usize>,
    captures: Option<Captures>,
}

impl RequestBody {
    pub(super) fn clear(&mut self, rules: &RuleSet) {
        self.processor = None;
        self.forced = false;
        self.access = rules.settings.request_body_access;
        self.head_length = 0;
        self.content_type.clear();
        self.restart();
    }

    /// Forgets what came.
    fn restart(&mut self) {
        self.length = 0;
        self.too_long = false;
        self.cut = false;
        self.outcome = Outcome::default();
        self.reader = None;
        self.begun = false;
        self.ended = false;
        self.judged = None;
        self.raw.clear();
        self.raw.shrink_to(1 << 20);
        self.window.bytes.clear();
        self.window.old = 0;
        self.window.field.clear();
        self.window.served.clear();
    }

    /// The content type was seen.
    pub(super) fn set_content_type(&mut self, value: &[u8]) {
        self.content_type.clear();
        self.content_type.extend_from_slice(value);
        self.processor = processor_for(value);
    }

    pub(super) fn is_strictly_wrong(&self) -> bool {
        self.begun
            && !self.cut
            && self.processor == Some(BodyProcessor::Multipart)
            && (self.outcome.faults.strict_error() || self.outcome.malformed.is_some())
    }

    pub(super) fn too_many_parts(&self) -> bool {
        self.outcome.malformed == Some(Malformed::TooManyParts)
    }

    /// Whether the bytes themselves are kept as `REQUEST_BODY`.
    fn keeps_raw(&self) -> bool {
        self.forced || matches!(self.processor, None | Some(BodyProcessor::UrlEncoded))
    }
}

impl State {
    /// Whether rules want the body.
    pub(super) fn wants_request_body(&self, rules: &RuleSet) -> bool {
        let runs = self.engine != crate::seclang::ast::EngineMode::Off && self.allowed & 0b100 == 0;
        let [_, second, third, ..] = rules.phases;
        runs && self.verdict.is_none() && self.body.access && second < third
    }

    /// Takes a piece of the body.
    pub(super) fn take_body(&mut self, rules: &RuleSet, piece: &[u8]) -> Verdict {
        if self.phase >= 2 || !self.wants_request_body(rules) {
            return self.verdict();
        }
        let settings = &rules.settings;
        let room = settings.request_body_limit.saturating_sub(self.body.length);
        self.body.length = self.body.length.saturating_add(piece.len() as u64);
        let fits = usize::try_from(room).unwrap_or(usize::MAX);
        let piece = match piece.get(..fits) {
            Some(part) if part.len() < piece.len() => {
                self.body.too_long = true;
                if settings.request_body_limit_action == LimitAction::Reject {
                    return self.refuse_body();
                }
                part
            }
            _ => piece,
        };
        self.begin_body(rules);
        if self.body.keeps_raw() {
            let limit = usize::try_from(settings.limits.body_bytes).unwrap_or(usize::MAX);
            let room = limit.saturating_sub(self.body.raw.len());
            let kept = piece.get(..room).unwrap_or(piece);
            self.body.too_long |= kept.len() < piece.len();
            self.body.raw.extend_from_slice(kept);
        }
        self.with_reader(rules, |reader, sink| reader.feed(piece, sink));
        Verdict::Pass
    }

    fn refuse_body(&mut self) -> Verdict {
        let verdict = Verdict::Deny { status: TOO_LONG, by: 0 };
        if self.findings.decided.is_none() {
            self.findings.decided = Some(verdict.clone());
        }
        if self.mode == Mode::Block && self.engine == crate::seclang::ast::EngineMode::On {
            self.verdict = Some(verdict);
        }
        self.verdict()
    }

    fn begin_body(&mut self, rules: &RuleSet) {
        if self.body.begun {
            return;
        }
        self.body.begun = true;
        if let Some(processor) = self.body.processor {
            let reader = BodyReader::new(processor, &self.body.content_type, &rules.settings.limits);
            self.body.reader = Some(reader);
        }
    }

    fn with_reader(&mut self, rules: &RuleSet, work: impl FnOnce(&mut BodyReader, &mut Values<'_>)) {
        let Some(mut reader) = self.body.reader.take() else { return };
        let window = &mut self.body.window;
        let mut sink = Values { rules, texts: &mut self.texts, members: &mut self.members, window };
        work(&mut reader, &mut sink);
        self.body.reader = Some(reader);
    }

    /// What follows of the body is not shown.
    pub(super) const fn cut_body(&mut self) {
        self.body.cut = true;
        self.body.too_long = true;
    }

    /// Whether long files of the body may go on before its end: somebody reads its parts, and no rule wants the body itself.
    pub(super) fn streams_files(&self) -> bool {
        self.body.processor == Some(BodyProcessor::Multipart) && !self.body.keeps_raw()
    }

    /// How far the body is; `None` when nothing of it may go on before its end.
    pub(super) fn body_so_far(&self) -> Option<BodySoFar> {
        let reader = self.body.reader.as_ref().filter(|_| self.streams_files() && self.phase < 2)?;
        let read = reader.read_so_far()?;
        let window = &self.body.window;
        let unseen = if read.in_file { window.bytes.len().saturating_sub(window.old) } else { 0 };
        Some(BodySoFar {
            settled: read.whole.saturating_sub(unseen as u64),
            of_files: read.of_files,
            is_judged: self.body.judged == Some(self.found_in_body(reader)),
        })
    }

    fn found_in_body(&self, reader: &BodyReader) -> Found {
        Found {
            arguments: self.members.arguments.len(),
            files: self.members.files.len(),
            file_windows: self.members.file_windows.len(),
            part_headers: self.members.part_headers.len(),
            outcome: reader.outcome_so_far(),
        }
    }

    /// Judges what there is of the body. A denial stands; otherwise everything is as before.
    pub(super) fn judge_so_far(&mut self, rules: &RuleSet) -> Verdict {
        if self.phase >= 2 || self.body.ended {
            return self.verdict();
        }
        let mut trial = self.clone();
        trial.is_trial = true;
        trial.counting = false;
        trial.end_body_here(rules);
        if trial.run_phase(rules, 2) == Verdict::Pass {
            self.body.judged = self.body.reader.as_ref().map(|reader| self.found_in_body(reader));
            return Verdict::Pass;
        }
        self.end_body_here(rules);
        self.run_phase(rules, 2)
    }

    /// Ends the body before its end.
    fn end_body_here(&mut self, rules: &RuleSet) {
        self.body.ended = true;
        let Some(reader) = self.body.reader.take() else { return };
        // What of it was looked at is all that is judged.
        let mut window = Window::default();
        let mut sink = Values { rules, texts: &mut self.texts, members: &mut self.members, window: &mut window };
        let outcome = reader.finish_so_far(&mut sink);
        self.take_outcome(outcome);
    }

    /// The body is complete.
    pub(super) fn end_body(&mut self, rules: &RuleSet) {
        if self.body.ended || !self.wants_request_body(rules) {
            return;
        }
        self.body.ended = true;
        if let Some(reader) = self.body.reader.take() {
            let window = &mut self.body.window;
            let mut sink = Values { rules, texts: &mut self.texts, members: &mut self.members, window };
            let outcome = reader.finish(&mut sink);
            self.take_outcome(outcome);
        }
        if self.body.begun && self.body.keeps_raw() {
            let raw = std::mem::take(&mut self.body.raw);
            self.members.scalars.body = Some(self.texts.keep(&raw));
            self.body.raw = raw;
        }
    }

    fn take_outcome(&mut self, mut outcome: Outcome) {
        outcome.arguments = outcome.arguments.saturating_add(self.body.outcome.arguments);
        self.body.outcome = outcome;
        if self.body.cut {
            // That it has no end says nothing.
            self.body.outcome.malformed = None;
        } else if let Some(malformed) = outcome.malformed {
            self.set_body_error(malformed);
        }
    }

    /// What was wrong with the arguments, for rules to judge; the first fault counts.
    pub(super) fn set_body_error(&mut self, malformed: Malformed) {
        if self.members.scalars.body_error.is_none() {
            let text = malformed.to_string();
            self.members.scalars.body_error = Some(self.texts.keep(text.as_bytes()));
        }
    }

    /// The body will come again from its beginning. Once phase 2 has run nothing more is asked of it.
    pub(super) fn restart_body(&mut self) {
        if self.phase >= 2 {
            return;
        }
        let error = self.members.scalars.body_error.filter(|_| self.truncated);
        self.body.restart();
        self.members.clear_body();
        self.members.scalars.body_error = error;
        self.gathered.forget_body(self.members.of_query);
    }
}

/// Keeps what a reader finds.
struct Values<'a> {
    rules: &'a RuleSet,
    texts: &'a mut Texts,
    members: &'a mut Members,
    window: &'a mut Window,
}

impl Values<'_> {
    fn member(&mut self, name: &[u8], value: &[u8]) -> Member {
        let id = self.rules.name_id(name);
        let name = self.texts.keep(name);
        Member { name, id, value: self.texts.keep(value) }
    }

    /// Shows the window to the rules on files.
    fn look(&mut self) {
        let window = &mut *self.window;
        if window.bytes.len() > window.old {
            let text = self.texts.lend(&window.bytes);
            let captures = window.captures.get_or_insert_with(Captures::unwanted);
            let mut kept = false;
            for number in &self.rules.file_rules {
                let Some(rule) = self.rules.rules.get(*number) else { continue };
                if window.served.contains(number) || !matches_head(self.rules, self.texts, rule, text, captures) {
                    continue;
                }
                window.served.push(*number);
                kept = true;
            }
            if kept && self.members.file_windows.len() < WINDOWS_KEPT {
                let id = self.rules.name_id(&window.field);
                let name = self.texts.keep(&window.field);
                let value = self.texts.keep(&window.bytes);
                self.members.file_windows.push(Member { name, id, value });
            }
            self.texts.trim();
        }
        let from = window.bytes.len().saturating_sub(OVERLAP);
        window.bytes.drain(..from);
        window.old = window.bytes.len();
    }
}

/// Whether the first comparison of a rule holds for a text.
fn matches_head(
    rules: &RuleSet,
    texts: &mut Texts,
    rule: &Rule,
    text: super::texts::TextId,
    captures: &mut Captures,
) -> bool {
    let Some(Link { pipeline, test, .. }) = rule.links.first() else { return false };
    let made = texts.through(&rules.marks, rules.pipelines.get(*pipeline), text);
    match test {
        Test::Operator(operator, None) => operator.matches(texts.bytes(made), &[], captures),
        Test::Always => true,
        _ => false,
    }
}

impl Sink for Values<'_> {
    fn argument(&mut self, name: &[u8], value: &[u8]) {
        let member = self.member(name, value);
        self.members.arguments.push(member);
    }

    fn file(&mut self, field: &[u8], filename: &[u8], bytes: u64) {
        self.look();
        self.window.bytes.clear();
        self.window.old = 0;
        let member = self.member(field, filename);
        self.members.files.push(File { member, size: bytes });
    }

    fn file_piece(&mut self, field: &[u8], _filename: &[u8], piece: &[u8]) {
        if self.rules.file_rules.is_empty() {
            return;
        }
        self.window.field.clear();
        self.window.field.extend_from_slice(field);
        let mut rest = piece;
        while !rest.is_empty() {
            let room = WINDOW.saturating_sub(self.window.bytes.len());
            let (now, later) = rest.split_at_checked(room).unwrap_or((rest, &[]));
            self.window.bytes.extend_from_slice(now);
            rest = later;
            if self.window.bytes.len() >= WINDOW {
                self.look();
            }
        }
    }

    fn part_header(&mut self, field: &[u8], line: &[u8]) {
        let member = self.member(field, line);
        self.members.part_headers.push(member);
    }

    fn xml_text(&mut self, value: &[u8]) {
        let text = self.texts.keep(value);
        self.members.xml_texts.push(text);
    }

    fn xml_attribute(&mut self, value: &[u8]) {
        let text = self.texts.keep(value);
        self.members.xml_attributes.push(text);
    }

    fn xml_doctype(&mut self, declaration: &[u8]) {
        let text = self.texts.keep(declaration);
        self.members.xml_doctypes.push(text);
    }
}
