//! Which rules look at which values through which transformations: the prefilter asks no other questions.

use std::collections::BTreeMap;

use crate::operator::Detector;
use crate::seclang::ast::{Variable, XPath};

use super::marks::MarkTable;
use super::names::NameId;
use super::pipeline::{PipelineId, Pipelines};
use super::prefilter::{Needs, Scanner, ScannerBuilder, matches_everything, set_bit};
use super::rule::{Choice, Link, Rule, Side, Target, Test};
use super::tree::{Branch, grow};

/// Where values come from, each kind told apart as far as targets can.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Source {
    GetValue,
    GetName,
    PostValue,
    PostName,
    HeaderValue,
    HeaderName,
    CookieValue,
    CookieName,
    FileName,
    FileField,
    PartHeader,
    XmlText,
    XmlAttribute,
    XmlDoctype,
    FileContent,
    Line,
    Uri,
    UriRaw,
    Filename,
    Basename,
    Query,
    Body,
    AnswerHeaderValue,
    AnswerHeaderName,
    AnswerBody,
}

/// How many sources there are.
const SOURCES: usize = Source::AnswerBody as usize + 1;

impl Source {
    pub(crate) const fn side(self) -> Side {
        match self {
            Self::AnswerHeaderValue | Self::AnswerHeaderName | Self::AnswerBody => Side::Response,
            _ => Side::Request,
        }
    }
}

/// The sources of a target; `None` where values are not texts of the request or change while rules run.
fn sources_of(target: &Target) -> Option<&'static [Source]> {
    if target.count {
        return None;
    }
    Some(match target.variable {
        Variable::Args => &[Source::GetValue, Source::PostValue],
        Variable::ArgsNames => &[Source::GetName, Source::PostName],
        Variable::ArgsGet => &[Source::GetValue],
        Variable::ArgsGetNames => &[Source::GetName],
        Variable::ArgsPost => &[Source::PostValue],
        Variable::ArgsPostNames => &[Source::PostName],
        Variable::RequestHeaders => &[Source::HeaderValue],
        Variable::RequestHeadersNames => &[Source::HeaderName],
        Variable::RequestCookies => &[Source::CookieValue],
        Variable::RequestCookiesNames => &[Source::CookieName],
        Variable::Files | Variable::MultipartFilename => &[Source::FileName],
        Variable::FilesNames | Variable::MultipartName => &[Source::FileField],
        Variable::MultipartPartHeaders => &[Source::PartHeader],
        Variable::Xml => match target.choice {
            Choice::XPath(XPath::Text) => &[Source::XmlText],
            Choice::XPath(XPath::Attributes) => &[Source::XmlAttribute],
            _ => &[Source::XmlText, Source::XmlAttribute],
        },
        Variable::XmlDoctype => &[Source::XmlDoctype],
        Variable::FilesContent => &[Source::FileContent],
        Variable::RequestLine => &[Source::Line],
        Variable::RequestUri => &[Source::Uri],
        Variable::RequestUriRaw => &[Source::UriRaw],
        Variable::RequestFilename => &[Source::Filename],
        Variable::RequestBasename => &[Source::Basename],
        Variable::QueryString => &[Source::Query],
        Variable::RequestBody => &[Source::Body],
        Variable::ResponseHeaders => &[Source::AnswerHeaderValue],
        Variable::ResponseHeadersNames => &[Source::AnswerHeaderName],
        Variable::ResponseBody => &[Source::AnswerBody],
        _ => return None,
    })
}

/// The rules that look at the same values.
#[derive(Clone, Debug, Default)]
pub(crate) struct Unit {
    /// By pipeline: the rules that use it, as a row of bits.
    pipelines: Vec<(PipelineId, Box<[u64]>)>,
    /// The same as a tree, once all rules are known.
    pub(crate) branches: Box<[Branch]>,
}

impl Unit {
    /// The rules that use a pipeline, none yet if it is new.
    fn using(&mut self, pipeline: PipelineId, words: usize) -> &mut [u64] {
        let index = match self.pipelines.iter().position(|(known, _)| *known == pipeline) {
            Some(index) => index,
            None => {
                self.pipelines.push((pipeline, vec![0; words].into()));
                self.pipelines.len() - 1
            }
        };
        self.pipelines.get_mut(index).map_or(&mut [], |(_, row)| row)
    }

    /// The same without some rules.
    fn without(&self, rules: &[u64]) -> Self {
        let left = |row: &[u64]| -> Box<[u64]> { row.iter().zip(rules).map(|(row, rules)| row & !rules).collect() };
        let rows = self.pipelines.iter().map(|(pipeline, row)| (*pipeline, left(row)));
        let pipelines = rows.filter(|(_, row)| row.iter().any(|word| *word != 0)).collect();
        Self { pipelines, ..Self::default() }
    }
}

/// The units of one source.
#[derive(Clone, Debug, Default)]
struct SourceUnits {
    all: Option<Unit>,
    /// What `all` is for members that some of its rules leave out. Sorted by name.
    excepted: Vec<(NameId, Unit)>,
    /// Sorted by name.
    named: Vec<(NameId, Unit)>,
}

/// All units of a rule set.
#[derive(Clone, Debug)]
pub(crate) struct Units([SourceUnits; SOURCES]);

impl Units {
    /// Whether any rule looks at values from there.
    pub(crate) fn is_looked_at(&self, source: Source) -> bool {
        self.0.get(source as usize).is_some_and(|units| units.all.is_some() || !units.named.is_empty())
    }

    /// The units a member belongs to: of the whole collection, and of its name.
    pub(crate) fn of(&self, source: Source, name: NameId) -> [Option<&Unit>; 2] {
        let Some(units) = self.0.get(source as usize) else { return [None, None] };
        [find(&units.excepted, name).or(units.all.as_ref()), find(&units.named, name)]
    }
}

fn find(units: &[(NameId, Unit)], name: NameId) -> Option<&Unit> {
    let index = units.binary_search_by_key(&name, |(name, _)| *name).ok()?;
    units.get(index).map(|(_, unit)| unit)
}

/// Collects units and needs while rules are numbered.
pub(super) struct UnitBuilder {
    rules: usize,
    units: Vec<SourceUnits>,
    /// By source and name of a member: the rules for the whole collection that leave it out, as a row of bits.
    left_out: BTreeMap<(Source, NameId), Box<[u64]>>,
    scanners: [ScannerBuilder; 2],
}

impl UnitBuilder {
    pub(super) fn new(rules: usize) -> Self {
        let units = vec![SourceUnits::default(); SOURCES];
        Self { rules, units, left_out: BTreeMap::new(), scanners: Default::default() }
    }

    /// Adds a rule, and says on which side it is filtered; `None` for rules that must always run.
    pub(super) fn add(
        &mut self,
        number: u32,
        rule: &Rule,
        pipelines: &mut Pipelines,
        marks: &mut MarkTable,
    ) -> Option<Side> {
        let head = rule.links.first()?;
        let question = question_of(head)?;
        let mut sources = Vec::new();
        for target in &head.targets {
            let name = match target.choice {
                Choice::Name(name, _) => Some(name),
                _ => None,
            };
            sources.extend(sources_of(target)?.iter().map(|source| (*source, name)));
        }
        let side = sources.first()?.0.side();
        if sources.iter().any(|(source, _)| source.side() != side) {
            return None;
        }
        let compared = if head.multi_match { pipelines.prefixes(head.pipeline)? } else { vec![head.pipeline] };
        for (source, name) in sources {
            for pipeline in &compared {
                self.place(number, source, name, *pipeline);
            }
        }
        self.leave_out(number, head);
        let scanner = self.scanners.get_mut(side as usize)?;
        match question {
            Question::Needs(needs) => scanner.add(marks, number, &needs),
            Question::Grammar(detector) => scanner.add_asking(number, detector),
        }
        Some(side)
    }

    fn place(&mut self, number: u32, source: Source, name: Option<NameId>, pipeline: PipelineId) {
        let words = self.rules.div_ceil(64);
        let Some(units) = self.units.get_mut(source as usize) else { return };
        let unit = match name {
            None => units.all.get_or_insert_with(Unit::default),
            Some(name) => {
                let index = match units.named.binary_search_by_key(&name, |(name, _)| *name) {
                    Ok(index) => index,
                    Err(index) => {
                        units.named.insert(index, (name, Unit::default()));
                        index
                    }
                };
                let Some((_, unit)) = units.named.get_mut(index) else { return };
                unit
            }
        };
        set_bit(unit.using(pipeline, words), number);
    }

    /// Notes the members of whole collections that a rule excludes by name, where no other of its targets brings them in.
    fn leave_out(&mut self, number: u32, head: &Link) {
        let words = self.rules.div_ceil(64);
        let wholes = || head.targets.iter().filter(|target| !matches!(target.choice, Choice::Name(..)));
        for exclusion in &head.exclusions {
            let Choice::Name(name, _) = exclusion.choice else { continue };
            let excludes = |target: &Target| {
                head.exclusions.iter().any(|out| {
                    out.variable == target.variable && matches!(out.choice, Choice::Name(other, _) if other == name)
                })
            };
            for source in wholes().filter(|target| excludes(target)).filter_map(sources_of).flatten() {
                let brings = |target: &Target| sources_of(target).is_some_and(|sources| sources.contains(source));
                if wholes().all(|target| !brings(target) || excludes(target)) {
                    let row = self.left_out.entry((*source, name)).or_insert_with(|| vec![0; words].into());
                    set_bit(row, number);
                }
            }
        }
    }

    /// Builds both scanners.
    ///
    /// # Errors
    ///
    /// When an automaton would be too large.
    pub(super) fn build(
        mut self,
        pipelines: &Pipelines,
        marks: &MarkTable,
    ) -> Result<([Scanner; 2], Units), aho_corasick::BuildError> {
        // In the order of the names, as the map is.
        for ((source, name), rules) in &self.left_out {
            let Some(units) = self.units.get_mut(*source as usize) else { continue };
            let excepted = units.all.as_ref().map(|all| all.without(rules));
            units.excepted.extend(excepted.map(|unit| (*name, unit)));
        }
        let [request, response] = self.scanners;
        let scanners = [request.build(0, self.rules)?, response.build(1, self.rules)?];
        let [of_request, of_answer] = &scanners;
        for (source, units) in self.units.iter_mut().enumerate() {
            let scanner = if source < Source::AnswerHeaderValue as usize { of_request } else { of_answer };
            let members = units.excepted.iter_mut().chain(&mut units.named).map(|(_, unit)| unit);
            for unit in units.all.iter_mut().chain(members) {
                unit.branches = grow(&unit.pipelines, pipelines, marks, scanner);
            }
        }
        let mut units = self.units.into_iter();
        let units = std::array::from_fn(|_| units.next().unwrap_or_default());
        Ok((scanners, Units(units)))
    }
}

/// What the prefilter asks about a text for one rule.
enum Question {
    Needs(Needs),
    Grammar(Detector),
}

/// The question for the first comparison of a rule; `None` for rules that must run anyway, as those whose comparison is
/// one of numbers, holds references or always holds.
fn question_of(head: &Link) -> Option<Question> {
    let Test::Operator(operator, None) = &head.test else { return None };
    if head.targets.is_empty() {
        return None;
    }
    if head.negated {
        // What is not there cannot be looked for; but a value is compared once, not in every request.
        return Some(Question::Needs(Needs::default()));
    }
    if let Some(detector) = operator.detector() {
        return Some(Question::Grammar(detector));
    }
    if let Some(pattern) = operator.regex_pattern() {
        let mut parser = regex_syntax::ParserBuilder::new();
        let parser = parser.utf8(false).unicode(false).dot_matches_new_line(true).nest_limit(1_000);
        let parsed = parser.build().parse(pattern).ok().filter(|hir| !matches_everything(hir));
        return parsed.map(|hir| Question::Needs(Needs::of(&hir)));
    }
    if let Some(bytes) = operator.telling_bytes() {
        return Some(Question::Needs(Needs::byte_of(&bytes)));
    }
    let needs = operator.literals().map(|literals| Needs::one_of(literals.into_iter()));
    Some(Question::Needs(needs.unwrap_or_default()))
}
