//! The inputs of a call as the interpreter sees them: borrowed, and looked at only when an expression asks.

use std::borrow::Cow;
use std::sync::OnceLock;

use cel::ExecutionError;
use cel::common::traits::{Container, Indexer, Iterable, Iterator as CelIterator, Sizer};
use cel::common::types::{CelBool, CelInt, CelList, CelString, Type};
use cel::common::value::{CowVal, StaticVal, Val};
use cel::context::VariableResolver;
use gatehouse_shared::cidr::Network;
use jiff::tz::TimeZone;
use regex::Regex;

use super::super::input::{Field, FieldKind, Input, header, parameters};

/// What a rewritten name in an expression stands for.
#[derive(Debug)]
pub(super) enum Slot {
    /// An input.
    Field(Field),
    /// A regular expression, compiled when the catalog was loaded.
    Pattern(Pattern),
    /// Networks that the client's address is compared with.
    Networks(Vec<Network>),
}

/// A regular expression as a value.
#[derive(Debug, Clone)]
pub(super) struct Pattern(pub(super) Regex);

static PATTERN: Type = Type::new_unspecified_type("pattern");
static DICTIONARY: Type = Type::new_unspecified_type("dictionary");

impl Val for Pattern {
    fn get_type(&self) -> &Type {
        &PATTERN
    }

    fn cel_type() -> &'static Type {
        &PATTERN
    }

    fn clone_as_boxed<'v>(&self) -> Box<dyn Val + 'v> {
        Box::new(self.clone())
    }

    fn as_any(&self) -> Option<&dyn std::any::Any> {
        Some(self)
    }
}

impl StaticVal for Pattern {}

/// The call while an expression is evaluated.
pub(super) struct View<'a> {
    input: &'a Input<'a>,
    slots: &'a [Slot],
    zone: &'a TimeZone,
    headers: Dictionary<'a>,
    query: Dictionary<'a>,
    query_all: Dictionary<'a>,
    counters: Dictionary<'a>,
    response_headers: Dictionary<'a>,
}

impl<'a> View<'a> {
    pub(super) fn new(input: &'a Input<'a>, slots: &'a [Slot], zone: &'a TimeZone) -> Self {
        let dictionary = |field| Dictionary { input, field, names: OnceLock::new() };
        Self {
            input,
            slots,
            zone,
            headers: dictionary(Field::Headers),
            query: dictionary(Field::Query),
            query_all: dictionary(Field::QueryAll),
            counters: dictionary(Field::Counters),
            response_headers: dictionary(Field::ResponseHeaders),
        }
    }

    fn field<'b>(&'b self, field: Field) -> CowVal<'b, 'b> {
        match field.kind() {
            FieldKind::Text => CowVal::owned(CelString::from(self.input.text(field))),
            FieldKind::Number => CowVal::owned(CelInt::from(self.input.number(field, self.zone))),
            FieldKind::Texts => {
                let scopes = self.input.scopes.iter();
                let boxed = scopes.map(|scope| Box::new(CelString::from(&**scope)) as Box<dyn Val + 'b>);
                CowVal::owned(CelList::from(boxed.collect::<Vec<_>>()))
            }
            FieldKind::Dictionary | FieldKind::ListDictionary | FieldKind::NumberDictionary => {
                CowVal::Borrowed(match field {
                    Field::Query => &self.query,
                    Field::QueryAll => &self.query_all,
                    Field::Counters => &self.counters,
                    Field::ResponseHeaders => &self.response_headers,
                    _ => &self.headers,
                })
            }
        }
    }
}

impl VariableResolver for View<'_> {
    fn resolve<'b>(&'b self, variable: &str) -> Option<CowVal<'b, 'b>> {
        let slot = self.slots.get(variable.strip_prefix('@')?.parse::<usize>().ok()?)?;
        Some(match slot {
            Slot::Field(field) => self.field(*field),
            Slot::Pattern(pattern) => CowVal::Borrowed(pattern),
            Slot::Networks(networks) => {
                let is_inside = networks.iter().any(|network| network.contains(self.input.client));
                CowVal::owned(CelBool::from(is_inside))
            }
        })
    }
}

/// Header fields, parameters or counters, by name.
struct Dictionary<'a> {
    input: &'a Input<'a>,
    field: Field,
    /// Made when an expression goes through the names.
    names: OnceLock<Vec<CelString<'a>>>,
}

impl<'a> Dictionary<'a> {
    fn find<'v>(&self, name: &str) -> Option<Box<dyn Val + 'v>>
    where
        'a: 'v,
    {
        let text = |value: Cow<'a, str>| Box::new(CelString::from(value)) as Box<dyn Val + 'v>;
        match self.field {
            Field::Query => parameters(self.input.query).find(|(known, _)| known == name).map(|(_, value)| text(value)),
            Field::QueryAll => {
                let values = parameters(self.input.query).filter(|(known, _)| known == name);
                let values: Vec<Box<dyn Val + 'v>> = values.map(|(_, value)| text(value)).collect();
                if values.is_empty() { None } else { Some(Box::new(CelList::from(values))) }
            }
            Field::Counters => Some(Box::new(CelInt::from(self.input.counter(name)))),
            field => self.input.header_map(field).and_then(|headers| header(headers, name)).map(text),
        }
    }

    fn names(&self) -> &[CelString<'a>] {
        self.names.get_or_init(|| match self.field {
            Field::Query | Field::QueryAll => {
                let mut names: Vec<CelString<'a>> =
                    parameters(self.input.query).map(|(name, _)| CelString::from(name)).collect();
                names.sort_unstable();
                names.dedup();
                names
            }
            field => {
                let names = self.input.header_map(field).map(|headers| headers.keys());
                names.into_iter().flatten().map(|name| CelString::from(name.as_str())).collect()
            }
        })
    }
}

impl std::fmt::Debug for Dictionary<'_> {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(self.field.name())
    }
}

impl Val for Dictionary<'_> {
    fn get_type(&self) -> &Type {
        &DICTIONARY
    }

    fn cel_type() -> &'static Type {
        &DICTIONARY
    }

    fn as_container(&self) -> Option<&dyn Container> {
        Some(self)
    }

    fn as_indexer<'b, 'v>(&'b self) -> Option<&'b (dyn Indexer + 'v)>
    where
        Self: 'v,
    {
        Some(self)
    }

    fn as_iterable<'b, 'v>(&'b self) -> Option<&'b (dyn Iterable + 'v)>
    where
        Self: 'v,
    {
        Some(self)
    }

    fn as_sizer(&self) -> Option<&dyn Sizer> {
        Some(self)
    }

    fn clone_as_boxed<'v>(&self) -> Box<dyn Val + 'v>
    where
        Self: 'v,
    {
        Box::new(Self { input: self.input, field: self.field, names: OnceLock::new() })
    }
}

impl Container for Dictionary<'_> {
    fn contains(&self, value: &dyn Val) -> Result<bool, ExecutionError> {
        Ok(match value.downcast_ref::<CelString>() {
            Some(name) => self.find(name.inner()).is_some(),
            None => false,
        })
    }
}

impl Sizer for Dictionary<'_> {
    fn size(&self) -> CelInt {
        CelInt::from(i64::try_from(self.names().len()).unwrap_or(i64::MAX))
    }
}

impl Indexer for Dictionary<'_> {
    fn get<'b, 'v>(&'b self, index: &dyn Val) -> Result<CowVal<'b, 'v>, ExecutionError>
    where
        Self: 'v,
    {
        let name = index.downcast_ref::<CelString>().ok_or_else(|| ExecutionError::UnexpectedType {
            got: index.get_type().name().to_owned(),
            want: "string".to_owned(),
        })?;
        let found = self.find(name.inner());
        Ok(CowVal::Owned(found.unwrap_or_else(|| match self.field {
            Field::QueryAll => Box::new(CelList::from(Vec::new())),
            _ => Box::new(CelString::from("")),
        })))
    }

    fn steal<'v>(self: Box<Self>, index: &dyn Val) -> Result<Box<dyn Val + 'v>, ExecutionError>
    where
        Self: 'v,
    {
        self.get(index).map(CowVal::into_owned)
    }
}

impl Iterable for Dictionary<'_> {
    fn iter<'b, 'v>(&'b self) -> Box<dyn CelIterator<'b, 'v> + 'b>
    where
        Self: 'v,
    {
        Box::new(Names(self.names().iter()))
    }
}

struct Names<'b, 'a>(std::slice::Iter<'b, CelString<'a>>);

impl<'b, 'a: 'v, 'v> CelIterator<'b, 'v> for Names<'b, 'a> {
    fn next(&mut self) -> Option<&'b (dyn Val + 'v)> {
        self.0.next().map(|name| name as &'b (dyn Val + 'v))
    }
}
