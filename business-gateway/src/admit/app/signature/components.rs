//! The covered components of a signature: names of header fields and of derived components, in order, none of them twice.

use super::Malformed;

/// Components that a signature may cover; a request has few headers that anybody would sign.
const MOST_COMPONENTS: usize = 32;
/// Components that are kept in place. What must be covered of a request with a body is six.
const USUAL_COMPONENTS: usize = 8;

/// Names of what a signature covers, in order; the usual few take no memory from the heap.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Components<'a> {
    /// Of these the first `length`; the others are empty, so that equal lists have equal fields.
    usual: [&'a str; USUAL_COMPONENTS],
    length: usize,
    /// A bit for the length of each name, modulo 64. Few names have the same length, so that a new one is mostly seen to be new
    /// without looking at the others.
    lengths: u64,
    /// What comes after `usual` is full.
    more: Vec<&'a str>,
}

impl<'a> Components<'a> {
    /// Whether a name is among them.
    #[must_use]
    #[inline]
    pub fn contains(&self, name: &str) -> bool {
        self.usual.get(..self.length).unwrap_or_default().contains(&name) || self.more.contains(&name)
    }

    /// Whether nothing is covered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// The names in order.
    pub fn iter(&self) -> impl Iterator<Item = &'a str> {
        self.usual.iter().take(self.length).chain(&self.more).copied()
    }

    /// Adds a name.
    ///
    /// # Errors
    /// When it is there already, or there are 32.
    #[inline]
    pub(super) fn push(&mut self, name: &'a str) -> Result<(), Malformed> {
        let length = 1 << (name.len() % 64);
        match self.usual.get_mut(self.length) {
            Some(place) if self.lengths & length == 0 => {
                *place = name;
                self.length += 1;
                self.lengths |= length;
                Ok(())
            }
            _ => self.push_unusual(name),
        }
    }

    /// Adds a name that may be there already, or one for which there may be no place.
    #[cold]
    fn push_unusual(&mut self, name: &'a str) -> Result<(), Malformed> {
        if self.contains(name) {
            return Err(Malformed("a component is covered twice"));
        }
        if let Some(place) = self.usual.get_mut(self.length) {
            *place = name;
            self.length += 1;
        } else if self.more.len() < MOST_COMPONENTS - USUAL_COMPONENTS {
            self.more.push(name);
        } else {
            return Err(Malformed("more than 32 components"));
        }
        self.lengths |= 1 << (name.len() % 64);
        Ok(())
    }
}
