//! Variables of `TX`: those that rules name by number, others by name.

use crate::operator::Captures;
use crate::rules::RuleSet;
use crate::rules::names::TxId;
use crate::rules::template::{number, write_number};

use super::slots::Slots;
use super::texts::hash;

/// Variables whose names are put together at run time, in one transaction.
const DYNAMIC: usize = 1024;

/// Bytes of all values and names that are put together at run time, in one transaction.
const STORED: usize = 1 << 20;

/// Bytes of one captured group that are kept.
const CAPTURED: usize = 64 << 10;

/// A variable: one that the rule set numbers, or one that came up at run time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TxRef {
    Fixed(TxId),
    Dynamic(u32),
}

/// The value of a variable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum TxValue {
    Unset,
    Number(i64),
    /// A constant of the rule set.
    Constant(u32),
    /// Bytes of `stored`.
    Stored(u32, u32),
    /// A captured group; the variable is `TX.0` to `TX.9`.
    Captured,
}

#[derive(Clone, Copy, Debug)]
struct Dynamic {
    name: (u32, u32),
    value: TxValue,
}

/// All variables of one transaction.
#[derive(Clone, Debug)]
pub(super) struct TxVariables {
    fixed: Vec<TxValue>,
    dynamic: Vec<Dynamic>,
    /// Numbers of dynamic variables by their names in lower case.
    known: Slots,
    lower: Vec<u8>,
    seed: u64,
    stored: Vec<u8>,
    captured: [Vec<u8>; 10],
    /// Whether something did not fit.
    pub(super) overflow: bool,
}

impl TxVariables {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            fixed: Vec::new(),
            dynamic: Vec::new(),
            known: Slots::new(),
            lower: Vec::new(),
            seed,
            stored: Vec::new(),
            captured: Default::default(),
            overflow: false,
        }
    }

    /// Sets what a transaction begins with.
    pub(super) fn begin(&mut self, rules: &RuleSet) {
        self.fixed.clear();
        self.fixed.resize(rules.tx.len(), TxValue::Unset);
        self.dynamic.clear();
        self.known.clear();
        self.stored.clear();
        self.overflow = false;
        for (id, value) in &rules.initial {
            self.write(TxRef::Fixed(*id), TxValue::Number(*value));
        }
    }

    fn value(&self, variable: TxRef) -> TxValue {
        match variable {
            TxRef::Fixed(id) => self.fixed.get(id.0 as usize).copied().unwrap_or(TxValue::Unset),
            TxRef::Dynamic(index) => self.dynamic.get(index as usize).map_or(TxValue::Unset, |dynamic| dynamic.value),
        }
    }

    fn write(&mut self, variable: TxRef, value: TxValue) {
        let place = match variable {
            TxRef::Fixed(id) => self.fixed.get_mut(id.0 as usize),
            TxRef::Dynamic(index) => self.dynamic.get_mut(index as usize).map(|dynamic| &mut dynamic.value),
        };
        if let Some(place) = place {
            *place = value;
        }
    }

    pub(super) fn is_set(&self, variable: TxRef) -> bool {
        self.value(variable) != TxValue::Unset
    }

    /// The value as a number; 0 when it is unset or none.
    pub(super) fn number(&self, rules: &RuleSet, variable: TxRef) -> i64 {
        match self.value(variable) {
            TxValue::Number(value) => value,
            TxValue::Unset => 0,
            _ => number(self.bytes(rules, variable).unwrap_or(&[])),
        }
    }

    /// The number, when the value is kept as one.
    pub(super) fn as_number(&self, variable: TxRef) -> Option<i64> {
        match self.value(variable) {
            TxValue::Number(value) => Some(value),
            _ => None,
        }
    }

    /// The bytes of a value that is not kept as a number.
    pub(super) fn bytes<'a>(&'a self, rules: &'a RuleSet, variable: TxRef) -> Option<&'a [u8]> {
        match self.value(variable) {
            TxValue::Unset | TxValue::Number(_) => None,
            TxValue::Constant(index) => rules.constants.get(index as usize).map(|bytes| &**bytes),
            TxValue::Stored(start, length) => self.slice((start, length)),
            TxValue::Captured => match variable {
                TxRef::Fixed(id) => self.captured.get(id.0 as usize).map(Vec::as_slice),
                TxRef::Dynamic(_) => None,
            },
        }
    }

    fn slice(&self, (start, length): (u32, u32)) -> Option<&[u8]> {
        self.stored.get(start as usize..(start + length) as usize)
    }

    /// Appends the value as text.
    pub(super) fn append(&self, rules: &RuleSet, variable: TxRef, out: &mut Vec<u8>) {
        match self.value(variable) {
            TxValue::Number(value) => write_number(out, value),
            _ => out.extend_from_slice(self.bytes(rules, variable).unwrap_or(&[])),
        }
    }

    pub(super) fn unset(&mut self, variable: TxRef) {
        self.write(variable, TxValue::Unset);
    }

    pub(super) fn set_number(&mut self, variable: TxRef, value: i64) {
        self.write(variable, TxValue::Number(value));
    }

    pub(super) fn set_constant(&mut self, variable: TxRef, constant: u32) {
        self.write(variable, TxValue::Constant(constant));
    }

    /// Sets a text, in the place of the last one where it fits.
    pub(super) fn set_bytes(&mut self, variable: TxRef, bytes: &[u8]) {
        let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        if let TxValue::Stored(start, room) = self.value(variable)
            && length <= room
            && let Some(place) = self.stored.get_mut(start as usize..(start + length) as usize)
        {
            place.copy_from_slice(bytes);
            return self.write(variable, TxValue::Stored(start, length));
        }
        match self.store(bytes) {
            Some((start, length)) => self.write(variable, TxValue::Stored(start, length)),
            None => self.overflow = true,
        }
    }

    fn store(&mut self, bytes: &[u8]) -> Option<(u32, u32)> {
        if self.stored.len() + bytes.len() > STORED {
            return None;
        }
        let start = u32::try_from(self.stored.len()).ok()?;
        self.stored.extend_from_slice(bytes);
        Some((start, u32::try_from(bytes.len()).ok()?))
    }

    /// Keeps the groups of a match in `TX.0` to `TX.9` and forgets those of the last one.
    pub(super) fn keep_captures(&mut self, captures: &Captures, value: &[u8]) {
        for index in 0..captures.len() {
            self.capture(index, captures.get(index, value).unwrap_or(&[]));
        }
        self.forget_captures(u32::try_from(captures.len()).unwrap_or(10));
    }

    /// Keeps a captured group.
    fn capture(&mut self, group: usize, bytes: &[u8]) {
        let Some(buffer) = self.captured.get_mut(group) else { return };
        buffer.clear();
        buffer.extend_from_slice(bytes.get(..CAPTURED).unwrap_or(bytes));
        self.write(TxRef::Fixed(TxId(u32::try_from(group).unwrap_or(0))), TxValue::Captured);
    }

    /// Forgets the groups from this one on.
    fn forget_captures(&mut self, from: u32) {
        for group in from..10 {
            self.unset(TxRef::Fixed(TxId(group)));
        }
    }

    /// Finds or adds the variable of a name; `None` when there are too many.
    pub(super) fn named(&mut self, rules: &RuleSet, name: &[u8]) -> Option<TxRef> {
        if let Some(id) = rules.tx.find(name) {
            return Some(TxRef::Fixed(TxId(id)));
        }
        self.lower.clear();
        self.lower.extend(name.iter().map(u8::to_ascii_lowercase));
        let key = hash(self.seed, &self.lower);
        let known = self.known.find(key, |index| {
            let known = self.dynamic.get(index as usize).and_then(|known| self.slice(known.name));
            known.is_some_and(|known| known.eq_ignore_ascii_case(name))
        });
        if let Some(index) = known {
            return Some(TxRef::Dynamic(index));
        }
        let stored = if self.dynamic.len() < DYNAMIC { self.store(name) } else { None };
        let Some(name) = stored else {
            self.overflow = true;
            return None;
        };
        self.dynamic.push(Dynamic { name, value: TxValue::Unset });
        let index = u32::try_from(self.dynamic.len() - 1).ok()?;
        self.known.insert(key, index);
        Some(TxRef::Dynamic(index))
    }

    /// The name of a variable.
    pub(super) fn name<'a>(&'a self, rules: &'a RuleSet, variable: TxRef) -> &'a [u8] {
        match variable {
            TxRef::Fixed(id) => rules.tx.name(id.0).as_bytes(),
            TxRef::Dynamic(index) => {
                self.dynamic.get(index as usize).and_then(|dynamic| self.slice(dynamic.name)).unwrap_or(&[])
            }
        }
    }

    /// All variables that are set.
    pub(super) fn all<'a>(&'a self, rules: &'a RuleSet) -> impl Iterator<Item = TxRef> + 'a {
        let fixed = rules.tx.iter().map(|(id, _)| TxRef::Fixed(TxId(id)));
        fixed.filter(move |variable| self.is_set(*variable)).chain(self.dynamic())
    }

    /// Those of them whose names were put together at run time.
    pub(super) fn dynamic(&self) -> impl Iterator<Item = TxRef> + '_ {
        let all = (0..).zip(&self.dynamic).map(|(index, _)| TxRef::Dynamic(index));
        all.filter(move |variable| self.is_set(*variable))
    }
}
