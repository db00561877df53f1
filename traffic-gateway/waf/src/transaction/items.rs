//! What the targets of a rule are in this transaction: values, each with its name.

use crate::rules::RuleSet;
use crate::rules::names::NameId;
use crate::rules::rule::{Choice, Exclusion, Rule, Target};
use crate::seclang::ast::{BodyProcessor, Variable, XPath};

use super::members::{File, Member};
use super::state::State;
use super::texts::TextId;
use super::tx::TxRef;

/// A value of any kind.
#[derive(Clone, Copy, Debug)]
pub(super) enum Subject {
    Text(TextId),
    Number(i64),
    Tx(TxRef),
}

/// The name of a member within its collection.
#[derive(Clone, Copy, Debug)]
pub(super) enum MemberName {
    None,
    Text(TextId),
    Tx(TxRef),
}

/// A value a rule looks at.
#[derive(Clone, Copy, Debug)]
pub(super) struct Item {
    pub(super) variable: Variable,
    pub(super) member: MemberName,
    pub(super) id: NameId,
    pub(super) subject: Subject,
}

/// A value that matched, as `MATCHED_VARS` lists it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Matched {
    pub(super) variable: Variable,
    pub(super) member: MemberName,
    pub(super) text: TextId,
}

impl Item {
    fn text(variable: Variable, text: TextId) -> Self {
        Self { variable, member: MemberName::None, id: NameId::default(), subject: Subject::Text(text) }
    }

    const fn number(variable: Variable, number: i64) -> Self {
        Self { variable, member: MemberName::None, id: NameId(0), subject: Subject::Number(number) }
    }
}

impl State {
    /// Adds the values of a target that are not excluded.
    pub(super) fn collect(
        &mut self,
        rules: &RuleSet,
        rule: &Rule,
        target: &Target,
        exclusions: &[Exclusion],
        items: &mut Vec<Item>,
    ) {
        let before = items.len();
        self.add_values(rules, rule, target.variable, &target.choice, items);
        let leave_out = |state: &Self, item: &Item| {
            exclusions.iter().any(|out| out.variable == target.variable && state.chosen(rules, &out.choice, item))
        };
        if !exclusions.is_empty() {
            let mut kept = before;
            for index in before..items.len() {
                let Some(item) = items.get(index).copied() else { break };
                if !leave_out(self, &item) {
                    if let Some(place) = items.get_mut(kept) {
                        *place = item;
                    }
                    kept += 1;
                }
            }
            items.truncate(kept);
        }
        if target.count {
            let count = i64::try_from(items.len() - before).unwrap_or(i64::MAX);
            items.truncate(before);
            items.push(Item::number(target.variable, count));
        }
    }

    /// Whether a choice means this item.
    pub(super) fn chosen(&self, rules: &RuleSet, choice: &Choice, item: &Item) -> bool {
        match choice {
            Choice::All => true,
            Choice::Name(id, name) => match item.member {
                MemberName::Text(_) => *id == item.id,
                MemberName::Tx(variable) => self.tx.name(rules, variable).eq_ignore_ascii_case(name),
                MemberName::None => false,
            },
            Choice::Pattern(pattern) => match item.member {
                MemberName::Text(name) => pattern.regex.is_match(self.texts.bytes(name)),
                MemberName::Tx(variable) => pattern.regex.is_match(self.tx.name(rules, variable)),
                MemberName::None => false,
            },
            Choice::Tx(id) => matches!(item.member, MemberName::Tx(TxRef::Fixed(other)) if other == *id),
            Choice::XPath(path) => {
                matches!((path, item.id), (XPath::Text, NameId(0)) | (XPath::Attributes, NameId(ATTRIBUTE)))
            }
        }
    }

    fn push_chosen(&self, rules: &RuleSet, choice: &Choice, item: Item, items: &mut Vec<Item>) {
        if self.chosen(rules, choice, &item) {
            items.push(item);
        }
    }

    fn add_values(&mut self, rules: &RuleSet, rule: &Rule, variable: Variable, choice: &Choice, items: &mut Vec<Item>) {
        match variable {
            Variable::Tx => self.add_tx(rules, choice, items),
            Variable::MatchedVars | Variable::MatchedVarsNames | Variable::MatchedVar | Variable::MatchedVarName => {
                self.add_matched(rules, variable, choice, items);
            }
            Variable::Rule => self.add_rule(rule, choice, items),
            _ => {
                if !self.add_members(rules, variable, choice, items) {
                    items.extend(self.single(variable));
                }
            }
        }
    }

    fn add_tx(&self, rules: &RuleSet, choice: &Choice, items: &mut Vec<Item>) {
        let item = |variable| Item {
            variable: Variable::Tx,
            member: MemberName::Tx(variable),
            id: NameId::default(),
            subject: Subject::Tx(variable),
        };
        if let Choice::Tx(id) = choice {
            let variable = TxRef::Fixed(*id);
            if self.tx.is_set(variable) {
                items.push(item(variable));
            }
            return;
        }
        if let Choice::Pattern(pattern) = choice {
            let fixed = pattern.tx.iter().map(|id| TxRef::Fixed(*id));
            items.extend(fixed.filter(|variable| self.tx.is_set(*variable)).map(item));
            let is_named = |variable: &TxRef| pattern.regex.is_match(self.tx.name(rules, *variable));
            return items.extend(self.tx.dynamic().filter(is_named).map(item));
        }
        for variable in self.tx.all(rules) {
            self.push_chosen(rules, choice, item(variable), items);
        }
    }

    fn add_matched(&mut self, rules: &RuleSet, variable: Variable, choice: &Choice, items: &mut Vec<Item>) {
        let single = matches!(variable, Variable::MatchedVar | Variable::MatchedVarName);
        let first = if single { self.matched.len().saturating_sub(1) } else { 0 };
        for index in first..self.matched.len() {
            let Some(matched) = self.matched.get(index).copied() else { break };
            let names = matches!(variable, Variable::MatchedVarsNames | Variable::MatchedVarName);
            let text = if names {
                let mut name = std::mem::take(&mut self.scratch);
                name.clear();
                self.write_name(rules, matched.variable, matched.member, &mut name);
                let text = self.texts.lend(&name);
                self.scratch = name;
                text
            } else {
                matched.text
            };
            let id = match matched.member {
                MemberName::Text(name) => rules.name_id(self.texts.bytes(name)),
                _ => NameId::default(),
            };
            let (variable, member) =
                if names { (variable, MemberName::None) } else { (matched.variable, matched.member) };
            let item = Item { variable, member, id, subject: Subject::Text(text) };
            if matches!(choice, Choice::All) || self.chosen(rules, choice, &item) {
                items.push(item);
            }
        }
    }

    fn add_rule(&mut self, rule: &Rule, choice: &Choice, items: &mut Vec<Item>) {
        let Choice::Name(_, name) = choice else { return };
        let text = match &**name {
            b"id" => return items.push(Item::number(Variable::Rule, i64::from(rule.id))),
            b"severity" => {
                items.extend(rule.severity.map(|severity| Item::number(Variable::Rule, i64::from(severity))));
                return;
            }
            b"rev" => rule.revision.as_deref().map(str::as_bytes),
            b"ver" => rule.version.as_deref().map(str::as_bytes),
            b"msg" => rule.message.as_ref().and_then(|message| message.plain()),
            b"logdata" => rule.data.as_ref().and_then(|data| data.plain()),
            _ => None,
        };
        if let Some(text) = text {
            let text = self.texts.lend(text);
            items.push(Item::text(Variable::Rule, text));
        }
    }

    /// Adds members of a collection; `false` when the variable is none.
    fn add_members(&self, rules: &RuleSet, variable: Variable, choice: &Choice, items: &mut Vec<Item>) -> bool {
        let members = &self.members;
        let (list, part): (&[Member], Part) = match variable {
            Variable::Args => (&members.arguments, Part::Value),
            Variable::ArgsNames => (&members.arguments, Part::Name),
            Variable::ArgsGet => (members.of_query(), Part::Value),
            Variable::ArgsGetNames => (members.of_query(), Part::Name),
            Variable::ArgsPost => (members.of_body(), Part::Value),
            Variable::ArgsPostNames => (members.of_body(), Part::Name),
            Variable::RequestHeaders => (&members.headers, Part::Value),
            Variable::RequestHeadersNames => (&members.headers, Part::Name),
            Variable::RequestCookies => (&members.cookies, Part::Value),
            Variable::RequestCookiesNames => (&members.cookies, Part::Name),
            Variable::MultipartPartHeaders => (&members.part_headers, Part::Value),
            Variable::FilesContent => (&members.file_windows, Part::Value),
            Variable::ResponseHeaders => (&members.response_headers, Part::Value),
            Variable::ResponseHeadersNames => (&members.response_headers, Part::Name),
            Variable::Files
            | Variable::MultipartFilename
            | Variable::FilesNames
            | Variable::MultipartName
            | Variable::FilesSizes => {
                self.add_files(rules, variable, choice, items);
                return true;
            }
            Variable::Xml => {
                self.add_xml(choice, items);
                return true;
            }
            Variable::XmlDoctype => {
                items.extend(members.xml_doctypes.iter().map(|text| Item::text(variable, *text)));
                return true;
            }
            _ => return false,
        };
        for member in list {
            let subject = Subject::Text(if part == Part::Name { member.name } else { member.value });
            let item = Item { variable, member: MemberName::Text(member.name), id: member.id, subject };
            self.push_chosen(rules, choice, item, items);
        }
        true
    }

    fn add_files(&self, rules: &RuleSet, variable: Variable, choice: &Choice, items: &mut Vec<Item>) {
        for File { member, size } in &self.members.files {
            let subject = match variable {
                Variable::FilesSizes => Subject::Number(i64::try_from(*size).unwrap_or(i64::MAX)),
                Variable::FilesNames | Variable::MultipartName => Subject::Text(member.name),
                _ => Subject::Text(member.value),
            };
            let item = Item { variable, member: MemberName::Text(member.name), id: member.id, subject };
            self.push_chosen(rules, choice, item, items);
        }
    }

    fn add_xml(&self, choice: &Choice, items: &mut Vec<Item>) {
        let item = |id: NameId| move |text: &TextId| Item { id, ..Item::text(Variable::Xml, *text) };
        if !matches!(choice, Choice::XPath(XPath::Attributes)) {
            items.extend(self.members.xml_texts.iter().map(item(NameId(0))));
        }
        if !matches!(choice, Choice::XPath(XPath::Text)) {
            items.extend(self.members.xml_attributes.iter().map(item(NameId(ATTRIBUTE))));
        }
    }

    /// The value of a variable that is no collection.
    fn single(&mut self, variable: Variable) -> Option<Item> {
        let scalars = &self.members.scalars;
        let text = match variable {
            Variable::QueryString => scalars.query,
            Variable::RemoteAddr | Variable::RemoteHost => scalars.remote_addr,
            Variable::ReqbodyErrorMsg => scalars.body_error,
            Variable::ReqbodyProcessor => {
                let name = match self.body.processor {
                    Some(BodyProcessor::UrlEncoded) => "URLENCODED",
                    Some(BodyProcessor::Multipart) => "MULTIPART",
                    Some(BodyProcessor::Json) => "JSON",
                    Some(BodyProcessor::Xml) => "XML",
                    None => "",
                };
                Some(self.texts.lend(name.as_bytes()))
            }
            Variable::RequestBasename => scalars.basename,
            Variable::RequestBody => scalars.body,
            Variable::RequestFilename => scalars.filename,
            Variable::RequestLine => scalars.line,
            Variable::RequestMethod => scalars.method,
            Variable::RequestProtocol => scalars.protocol,
            Variable::RequestUri => scalars.uri,
            Variable::RequestUriRaw => scalars.uri_raw,
            Variable::ResponseBody => scalars.response_body,
            Variable::ResponseContentType => scalars.response_type,
            Variable::ResponseProtocol => scalars.response_protocol,
            Variable::ServerAddr => scalars.server_addr,
            Variable::ServerName => scalars.server_name,
            Variable::StatusLine => scalars.status_line,
            Variable::UniqueId => scalars.unique_id,
            Variable::Time => {
                let mut text = std::mem::take(&mut self.scratch);
                text.clear();
                self.time.write(&mut text);
                let id = self.texts.lend(&text);
                self.scratch = text;
                Some(id)
            }
            _ => return self.count_of(variable).map(|number| Item::number(variable, number)),
        };
        text.map(|text| Item::text(variable, text))
    }

    /// Appends the name of a value, such as `ARGS:id`.
    pub(super) fn write_name(&self, rules: &RuleSet, variable: Variable, member: MemberName, out: &mut Vec<u8>) {
        out.extend_from_slice(variable.name().as_bytes());
        let name = match member {
            MemberName::None => return,
            MemberName::Text(name) => self.texts.bytes(name),
            MemberName::Tx(variable) => self.tx.name(rules, variable),
        };
        out.push(b':');
        out.extend_from_slice(name);
    }
}

/// Stands for the name of XML attributes, which have none in rules.
const ATTRIBUTE: u32 = u32::MAX;

/// Which half of a member is the value.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Name,
    Value,
}
