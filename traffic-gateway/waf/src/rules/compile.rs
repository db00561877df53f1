//! Second pass: drafts become rules by number, and the parts of the rule set that all rules share.

use crate::operator::Operator;
use crate::seclang::ast::{self, OperatorKind, Position, Program, TargetKind, Variable};
use crate::seclang::files::beside;

use super::actions::{LinkSaid, Said, Vocabulary, number_source, selection_of};
use super::cost::Costs;
use super::draft::{Draft, DraftLink, Drafts, draft};
use super::marks::MarkTable;
use super::memo::Memo;
use super::names::{Names, TxId};
use super::pipeline::Pipelines;
use super::prefilter::set_bit;
use super::rule::{Comparison, Control, Disruption, Exclusion, Link, Rule, RuntimeExclusion, Test};
use super::selection::Selector;
use super::settings::Settings;
use super::targets::{TargetNames, resolve_patterns};
use super::template::Template;
use super::units::UnitBuilder;
use super::{CompileError, Options, RuleSet, constant, kept};

/// Reads the files that operators name.
pub(super) type Files<'a> = &'a mut dyn FnMut(&str) -> Result<Vec<u8>, String>;

/// Compiles a program.
pub(super) fn compile(program: &Program, files: Files<'_>, options: &Options) -> Result<RuleSet, Vec<CompileError>> {
    let mut drafts = draft(program);
    drafts.rules.sort_by_key(|rule| (rule.phase, rule.order));
    let mut compiler = Compiler::new(options, &program.sources);
    compiler.errors.append(&mut drafts.errors);
    compiler.refuse_equal_ids(&drafts.rules);
    let settings = Settings::new(options, &drafts.settings);
    let constant::Constants { dead, arguments } = constant::constants(&drafts, &compiler.initial_values());
    for (rule, link, argument) in arguments {
        let link = drafts.rules.get_mut(rule).and_then(|rule| rule.links.get_mut(link));
        if let Some(operator) = link.and_then(|link| link.operator.as_mut()) {
            operator.argument = ast::Text::from(argument.as_str());
        }
    }
    compiler.errors.extend(kept::missing(&drafts, &dead));
    let mut rules = Vec::with_capacity(drafts.rules.len());
    for (number, draft) in drafts.rules.iter().enumerate() {
        let dead = dead.get(number).copied().unwrap_or(false);
        rules.push(compiler.rule(draft, &drafts, dead, files));
    }
    compiler.finish(program, drafts, rules, settings)
}

/// What all rules share while they are compiled.
struct Compiler<'a> {
    options: &'a Options,
    sources: &'a [ast::Source],
    errors: Vec<CompileError>,
    tx: Names,
    members: Names,
    constants: Vec<Box<[u8]>>,
    pipelines: Pipelines,
    marks: MarkTable,
    exclusions: Vec<RuntimeExclusion>,
    initial: Vec<(TxId, i64)>,
}

impl<'a> Compiler<'a> {
    fn new(options: &'a Options, sources: &'a [ast::Source]) -> Self {
        let mut tx = Names::default();
        for digit in 0..10 {
            tx.add(&digit.to_string());
        }
        let detection = options.detection_paranoia.max(options.blocking_paranoia);
        let initial = [
            ("blocking_paranoia_level", i64::from(options.blocking_paranoia)),
            ("detection_paranoia_level", i64::from(detection)),
            ("inbound_anomaly_score_threshold", i64::from(options.inbound_threshold)),
            ("outbound_anomaly_score_threshold", i64::from(options.outbound_threshold)),
            // The names of the levels in version 3 of the Core Rule Set.
            ("paranoia_level", i64::from(options.blocking_paranoia)),
            ("executing_paranoia_level", i64::from(detection)),
        ];
        let initial = initial.into_iter().map(|(name, value)| (TxId(tx.add(name)), value)).collect();
        let mut members = Names::default();
        members.add("");
        Self {
            options,
            sources,
            errors: Vec::new(),
            tx,
            members,
            constants: Vec::new(),
            pipelines: Pipelines::new(),
            marks: MarkTable::new(),
            exclusions: Vec::new(),
            initial,
        }
    }

    fn initial_values(&self) -> Vec<(String, i64)> {
        self.initial.iter().map(|(id, value)| (self.tx.name(id.0).to_owned(), *value)).collect()
    }

    fn error(&mut self, position: Position, text: impl Into<String>) {
        self.errors.push(CompileError { position, text: text.into() });
    }

    fn refuse_equal_ids(&mut self, drafts: &[Draft]) {
        let mut seen = std::collections::HashSet::new();
        for draft in drafts {
            if draft.id != 0 && !seen.insert(draft.id) {
                self.error(draft.position, format!("another rule has the id {}", draft.id));
            }
        }
    }

    fn rule(&mut self, draft: &Draft, drafts: &Drafts, dead: bool, files: Files<'_>) -> Rule {
        let mut vocabulary = Vocabulary { tx: &mut self.tx, constants: &mut self.constants };
        let said = vocabulary.said(draft);
        let jump = self.jump(draft, drafts, &said);
        let links: Vec<Link> =
            draft.links.iter().filter_map(|link| self.link(draft, link, drafts, dead, files)).collect();
        Rule {
            id: draft.id,
            phase: draft.phase,
            position: draft.position,
            paranoia: said.paranoia,
            message: said.message,
            data: said.data,
            tags: said.tags.into(),
            severity: said.severity,
            version: said.version,
            revision: said.revision,
            disruption: said.disruption.unwrap_or(Disruption::Pass),
            status: said.status.unwrap_or(403),
            jump,
            log: said.log.unwrap_or(true),
            audit: said.audit.unwrap_or(true),
            links: links.into(),
            filtered: None,
            dead,
        }
    }

    /// The number of the rule behind `skip` or `skipAfter`.
    fn jump(&mut self, draft: &Draft, drafts: &Drafts, said: &Said) -> Option<usize> {
        let number = drafts.rules.iter().position(|rule| rule.order == draft.order)?;
        let end = drafts.rules.partition_point(|rule| rule.phase <= draft.phase);
        if let Some((position, name)) = &said.skip_after {
            let marker = drafts.markers.iter().find(|(order, marker)| *order > draft.order && marker == name);
            let Some((order, _)) = marker else {
                self.error(*position, format!("no marker `{name}` follows"));
                return None;
            };
            return Some(drafts.rules.partition_point(|rule| (rule.phase, rule.order) < (draft.phase, *order)));
        }
        said.skip.map(|count| (number + 1 + count as usize).min(end))
    }

    fn link(&mut self, draft: &Draft, link: &DraftLink, drafts: &Drafts, dead: bool, files: Files<'_>) -> Option<Link> {
        self.refuse_targets(draft, link);
        let mut vocabulary = Vocabulary { tx: &mut self.tx, constants: &mut self.constants };
        let said = vocabulary.link_said(&draft.defaults, &link.actions);
        let mut names = TargetNames { members: &mut self.members, tx: &mut self.tx };
        let (targets, exclusions) = match names.compile(&link.targets) {
            Ok(compiled) => compiled,
            Err((position, text)) => {
                self.error(position, text);
                return None;
            }
        };
        let Some(pipeline) = self.pipelines.add(&mut self.marks, &said.transformations) else {
            self.error(link.position, "too many different transformations");
            return None;
        };
        let controls = self.controls(&said, drafts);
        let test = match &link.operator {
            None => Test::Always,
            Some(_) if dead => Test::Never,
            Some(operator) => match self.test(operator, files) {
                Ok(test) => test,
                Err(text) => {
                    self.error(operator.position, text);
                    return None;
                }
            },
        };
        Some(Link {
            targets: targets.into(),
            exclusions: exclusions.into(),
            pipeline,
            multi_match: said.multi_match,
            capture: said.capture,
            negated: link.operator.as_ref().is_some_and(|operator| operator.negated),
            test,
            changes: said.changes.into(),
            controls: controls.into(),
        })
    }

    /// Values that do not exist here, or not in this place.
    fn refuse_targets(&mut self, draft: &Draft, link: &DraftLink) {
        let head = draft.links.first().is_some_and(|head| std::ptr::eq(head, link));
        let plain =
            link.operator.as_ref().is_some_and(|operator| !operator.negated && operator.argument.plain().is_some());
        for target in &link.targets {
            match target.variable {
                Variable::Env => self.error(target.position, "ENV is not read: a verdict depends on the rules alone"),
                Variable::FilesContent if !head || !plain || target.kind == TargetKind::Count => self.error(
                    target.position,
                    "FILES_CONTENT is for the first rule of a chain, with an operator that is neither negated nor refers to variables",
                ),
                _ => {}
            }
        }
    }

    fn test(&mut self, operator: &ast::Operator, files: Files<'_>) -> Result<Test, String> {
        let comparison = match operator.kind {
            OperatorKind::UnconditionalMatch => return Ok(Test::Always),
            OperatorKind::NoMatch => return Ok(Test::Never),
            OperatorKind::Eq => Comparison::Eq,
            OperatorKind::Ge => Comparison::Ge,
            OperatorKind::Gt => Comparison::Gt,
            OperatorKind::Le => Comparison::Le,
            OperatorKind::Lt => Comparison::Lt,
            kind => {
                let source = self.sources.get(operator.position.source as usize).map_or("", |source| &*source.name);
                let mut find = |named: &str| files(&beside(source, named).display().to_string());
                let compiled =
                    Operator::compile(kind, &operator.argument, &mut find).map_err(|error| error.to_string())?;
                let template = operator.argument.plain().is_none();
                let template = template.then(|| Template::new(&operator.argument, &mut self.tx));
                return Ok(Test::Operator(Box::new(compiled), template));
            }
        };
        Ok(Test::Number(comparison, number_source(&operator.argument, &mut self.tx)))
    }

    fn controls(&mut self, said: &LinkSaid, drafts: &Drafts) -> Vec<Control> {
        let mut controls = Vec::new();
        for (position, control) in &said.controls {
            let mut selected = Vec::new();
            if let Some(selection) = selection_of(control) {
                match Selector::new(selection) {
                    Ok(selector) => {
                        selected.resize(drafts.rules.len().div_ceil(64), 0);
                        for (number, rule) in (0..).zip(&drafts.rules) {
                            if selector.selects(rule) {
                                set_bit(&mut selected, number);
                            }
                        }
                    }
                    Err(text) => self.error(*position, text),
                }
            }
            controls.extend(self.control(control, selected.into()));
        }
        controls
    }

    fn control(&mut self, control: &ast::Control, rules: Box<[u64]>) -> Option<Control> {
        Some(match control {
            ast::Control::RuleEngine(mode) => Control::Engine(*mode),
            ast::Control::Remove(_) => Control::Remove(rules),
            ast::Control::RemoveTarget(_, target) => {
                let mut names = TargetNames { members: &mut self.members, tx: &mut self.tx };
                match names.choice(target) {
                    Ok(choice) => {
                        let exclusion = Exclusion { variable: target.variable, choice };
                        self.exclusions.push(RuntimeExclusion { rules, exclusion });
                        Control::Exclude(u32::try_from(self.exclusions.len() - 1).unwrap_or(u32::MAX))
                    }
                    Err((position, text)) => {
                        self.error(position, text);
                        return None;
                    }
                }
            }
            ast::Control::BodyProcessor(processor) => Control::BodyProcessor(*processor),
            ast::Control::ForceRequestBodyVariable(toggle) => Control::ForceRequestBody(*toggle),
            ast::Control::RequestBodyAccess(toggle) => Control::RequestBodyAccess(*toggle),
            ast::Control::ResponseBodyAccess(toggle) => Control::ResponseBodyAccess(*toggle),
            ast::Control::AuditEngine(mode) => Control::Audit(*mode),
            _ => return None,
        })
    }

    fn finish(
        mut self,
        program: &Program,
        drafts: Drafts,
        mut rules: Vec<Rule>,
        settings: Settings,
    ) -> Result<RuleSet, Vec<CompileError>> {
        if !self.errors.is_empty() {
            self.errors.sort_by_key(|error| error.position);
            return Err(self.errors);
        }
        resolve_patterns(&mut rules, &self.tx);
        let mut builder = UnitBuilder::new(rules.len());
        for (number, rule) in (0..).zip(rules.iter_mut()) {
            if self.options.prefilter && !rule.dead {
                rule.filtered = builder.add(number, rule, &mut self.pipelines, &mut self.marks);
            }
        }
        let (scanners, units) = builder.build(&self.pipelines, &self.marks).map_err(|error| {
            vec![CompileError { position: Position::default(), text: format!("prefilter: {error}") }]
        })?;
        let mut always = vec![0; rules.len().div_ceil(64)];
        for (number, rule) in (0..).zip(&rules) {
            if rule.filtered.is_none() && !rule.dead {
                set_bit(&mut always, number);
            }
        }
        let mut phases = [0; 6];
        for (phase, first) in (1_u8..).zip(phases.iter_mut()) {
            *first = rules.partition_point(|rule| rule.phase < phase);
        }
        Ok(RuleSet {
            options: self.options.clone(),
            settings,
            phases,
            always: always.into(),
            costs: Costs::new(rules.len()),
            file_rules: file_rules(&rules),
            rules,
            pipelines: self.pipelines,
            marks: self.marks,
            tx: self.tx,
            members: self.members,
            constants: self.constants,
            initial: self.initial,
            exclusions: self.exclusions,
            scanners,
            units,
            memo: Memo::new(),
            sources: program.sources.iter().map(|source| source.name.clone()).collect(),
            signatures: drafts.signatures,
        })
    }
}

/// Rules whose first comparison looks at the content of files.
fn file_rules(rules: &[Rule]) -> Vec<usize> {
    let looks = |rule: &Rule| {
        let head = rule.links.first();
        head.is_some_and(|head| head.targets.iter().any(|target| target.variable == Variable::FilesContent))
    };
    (0..).zip(rules).filter(|(_, rule)| !rule.dead && looks(rule)).map(|(number, _)| number).collect()
}
