//! From host, path and method to the one value (an API) they mean, however many there are.
//!
//! One tree of path segments for each host. At every segment a literal goes before a parameter and a parameter before the
//! rest; an exact host goes before a wildcard, a longer wildcard before a shorter one, and any of them before "any host". A
//! more special path that does not take the method gives way to a more general one that does; only when nothing takes it is
//! the answer [`Miss::Method`].
//!
//! Several values may stand at one place when predicates tell them apart. They are asked in the order of their [`Rank`], and
//! whoever is asked judges by predicates of its own; when none of them fits, the next more general place is tried. Two that
//! take the same calls with the same rank are refused, so the order in which values were added never matters.

use http::Method;

use super::path::{PathTemplate, Segment};

/// Which of several values at one place is asked first: the greater one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rank {
    /// What the operator says.
    pub priority: u32,
    /// How many predicates it has; one without any takes every call.
    pub predicates: usize,
}

/// Whether a value takes a call, as far as its predicates say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fit {
    /// It does.
    Yes,
    /// It does not.
    No,
    /// That cannot be said before the body of the call is there.
    Unknown,
}

/// Where a value belongs; empty lists mean "any".
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    /// Exact names in lower case, or `*.example.com`.
    pub hosts: &'a [String],
    /// Methods; `GET` takes `HEAD` too, unless `HEAD` is declared on its own.
    pub methods: &'a [Method],
    /// The path.
    pub path: &'a PathTemplate,
    /// Where it stands among others at the same place.
    pub rank: Rank,
}

/// Why nothing matched.
#[derive(Debug, PartialEq, Eq)]
pub enum Miss {
    /// No value has this host and path.
    Path,
    /// The path is known, the method is not; these are.
    Method(Vec<Method>),
    /// Path and method are known, but the predicates of none that has them fit.
    Predicates,
    /// Only the body of the call can say.
    Undecided,
}

/// A value at one of its places, in the order in which a call asks.
#[derive(Debug)]
pub struct Candidate<'m, T> {
    /// The value.
    pub value: &'m T,
    /// Whether it takes the method.
    pub takes_method: bool,
}

/// The trees; built once for each generation, read without a lock.
#[derive(Debug)]
pub struct Matcher<T> {
    exact: Vec<(Box<str>, Node<T>)>,
    /// Suffixes with their leading dot, the longest first.
    wildcard: Vec<(Box<str>, Node<T>)>,
    any: Node<T>,
}

#[derive(Debug)]
struct Node<T> {
    /// Sorted by text.
    literals: Vec<(Box<str>, Node<T>)>,
    parameter: Option<Box<Node<T>>>,
    rest: Leaf<T>,
    here: Leaf<T>,
}

#[derive(Debug)]
struct Leaf<T> {
    /// In the order in which they are asked.
    entries: Vec<Entry<T>>,
    /// Whether any of them declares `HEAD`, which `GET` then does not take.
    declares_head: bool,
}

#[derive(Debug)]
struct Entry<T> {
    /// Empty for any.
    methods: Box<[Method]>,
    rank: Rank,
    value: T,
}

/// What a search has met.
#[derive(Debug, Default)]
struct Met {
    allowed: Vec<Method>,
    is_judged: bool,
    is_undecided: bool,
}

impl<T: Clone> Matcher<T> {
    /// Adds `value` at its place. `excludes` says of two values that no call fits the predicates of both.
    ///
    /// # Errors
    /// The value that already has the same host, path shape, method and rank; nothing would decide between the two.
    pub fn insert(&mut self, place: Place<'_>, value: &T, excludes: &dyn Fn(&T, &T) -> bool) -> Result<(), T> {
        if place.hosts.is_empty() {
            return self.any.insert(place, value, excludes);
        }
        for host in place.hosts {
            let tree = match host.strip_prefix('*') {
                Some(suffix) => wildcard_tree(&mut self.wildcard, suffix),
                None => exact_tree(&mut self.exact, host),
            };
            tree.insert(place, value, excludes)?;
        }
        Ok(())
    }
}

impl<T> Matcher<T> {
    /// The most special value for a request. `host` is in lower case and has no port; `judge` is asked of values that have
    /// predicates, in order, until one fits.
    ///
    /// # Errors
    /// [`Miss`] when there is none.
    pub fn find(&self, host: &str, path: &str, method: &Method, mut judge: impl FnMut(&T) -> Fit) -> Result<&T, Miss> {
        let mut met = Met::default();
        let found = self.walk(host, path, &mut |leaf| leaf.find(method, &mut judge, &mut met));
        match found {
            Some(_) if met.is_undecided => Err(Miss::Undecided),
            Some(value) => Ok(value),
            None if met.is_judged => Err(Miss::Predicates),
            None if met.allowed.is_empty() => Err(Miss::Path),
            None => Err(Miss::Method(met.allowed)),
        }
    }

    /// Every value with the host and the path, in the order in which [`Self::find`] asks them.
    pub fn candidates<'m>(&'m self, host: &str, path: &str, method: &Method) -> Vec<Candidate<'m, T>> {
        let mut all = Vec::new();
        let _end = self.walk(host, path, &mut |leaf| {
            let of_leaf = leaf.entries.iter();
            all.extend(of_leaf.map(|entry| Candidate { value: &entry.value, takes_method: leaf.takes(entry, method) }));
            None
        });
        all
    }

    /// Visits the places of a host and a path, the most special one first, until `visit` finds something.
    fn walk<'m>(
        &'m self,
        host: &str,
        path: &str,
        visit: &mut impl FnMut(&'m Leaf<T>) -> Option<&'m T>,
    ) -> Option<&'m T> {
        let segments = path.strip_prefix('/').unwrap_or(path);
        self.trees_of(host).find_map(|tree| tree.walk(Some(segments), visit))
    }

    fn trees_of<'a, 'h>(&'a self, host: &'h str) -> impl Iterator<Item = &'a Node<T>> + use<'a, 'h, T> {
        let exact = self.exact.binary_search_by(|(name, _)| name.as_ref().cmp(host)).ok();
        let exact = exact.and_then(|index| self.exact.get(index)).map(|(_, tree)| tree);
        let matches_host = move |suffix: &str| host.len() > suffix.len() && host.ends_with(suffix);
        let wildcard = self.wildcard.iter().filter(move |(suffix, _)| matches_host(suffix)).map(|(_, tree)| tree);
        exact.into_iter().chain(wildcard).chain(std::iter::once(&self.any))
    }
}

impl<T> Default for Matcher<T> {
    fn default() -> Self {
        Self { exact: Vec::new(), wildcard: Vec::new(), any: Node::default() }
    }
}

impl<T: Clone> Node<T> {
    fn insert(&mut self, place: Place<'_>, value: &T, excludes: &dyn Fn(&T, &T) -> bool) -> Result<(), T> {
        let mut node = self;
        for segment in place.path.segments() {
            node = match segment {
                Segment::Literal(text) => exact_tree(&mut node.literals, text),
                Segment::Parameter(_) => node.parameter.get_or_insert_default(),
                Segment::Rest(_) => return node.rest.insert(place, value, excludes),
            };
        }
        node.here.insert(place, value, excludes)
    }
}

impl<T> Node<T> {
    /// `remaining` is the path after this node's slash; `None` when the path ends at this node. The depth of the recursion is
    /// bounded by the longest template.
    fn walk<'m>(
        &'m self,
        remaining: Option<&str>,
        visit: &mut impl FnMut(&'m Leaf<T>) -> Option<&'m T>,
    ) -> Option<&'m T> {
        let Some(remaining) = remaining else { return visit(&self.here) };
        let (segment, tail) = match remaining.split_once('/') {
            Some((segment, tail)) => (segment, Some(tail)),
            None => (remaining, None),
        };
        let literal = self.literals.binary_search_by(|(text, _)| text.as_ref().cmp(segment)).ok();
        if let Some((_, child)) = literal.and_then(|index| self.literals.get(index))
            && let Some(found) = child.walk(tail, visit)
        {
            return Some(found);
        }
        if let Some(child) = &self.parameter
            && !segment.is_empty()
            && let Some(found) = child.walk(tail, visit)
        {
            return Some(found);
        }
        visit(&self.rest)
    }
}

impl<T> Default for Node<T> {
    fn default() -> Self {
        Self { literals: Vec::new(), parameter: None, rest: Leaf::default(), here: Leaf::default() }
    }
}

impl<T: Clone> Leaf<T> {
    fn insert(&mut self, place: Place<'_>, value: &T, excludes: &dyn Fn(&T, &T) -> bool) -> Result<(), T> {
        let (methods, rank) = (place.methods, place.rank);
        let overlaps = |entry: &&Entry<T>| {
            let both_named = !methods.is_empty() && !entry.methods.is_empty();
            entry.rank == rank && !(both_named && methods.iter().all(|method| !entry.methods.contains(method)))
        };
        if let Some(there) = self.entries.iter().filter(overlaps).find(|entry| !excludes(&entry.value, value)) {
            return Err(there.value.clone());
        }
        let index = self.entries.partition_point(|entry| entry.rank >= rank);
        self.entries.insert(index, Entry { methods: methods.into(), rank, value: value.clone() });
        self.declares_head |= methods.contains(&Method::HEAD);
        Ok(())
    }
}

impl<T> Leaf<T> {
    /// The first that takes the method and fits, or of which only the body can say whether it does.
    fn find<'m>(&'m self, method: &Method, judge: &mut impl FnMut(&T) -> Fit, met: &mut Met) -> Option<&'m T> {
        for entry in &self.entries {
            if !self.takes(entry, method) {
                continue;
            }
            if entry.rank.predicates == 0 {
                return Some(&entry.value);
            }
            met.is_judged = true;
            match judge(&entry.value) {
                Fit::Yes => return Some(&entry.value),
                Fit::No => {}
                Fit::Unknown => {
                    met.is_undecided = true;
                    return Some(&entry.value);
                }
            }
        }
        for known in self.entries.iter().flat_map(|entry| &entry.methods) {
            if !met.allowed.contains(known) {
                met.allowed.push(known.clone());
            }
            if known == Method::GET && !met.allowed.contains(&Method::HEAD) {
                met.allowed.push(Method::HEAD);
            }
        }
        None
    }

    fn takes(&self, entry: &Entry<T>, method: &Method) -> bool {
        entry.methods.is_empty()
            || entry.methods.contains(method)
            || (method == Method::HEAD && !self.declares_head && entry.methods.contains(&Method::GET))
    }
}

impl<T> Default for Leaf<T> {
    fn default() -> Self {
        Self { entries: Vec::new(), declares_head: false }
    }
}

#[expect(clippy::indexing_slicing, reason = "the index is the one just found or inserted at")]
fn exact_tree<'a, T>(trees: &'a mut Vec<(Box<str>, Node<T>)>, name: &str) -> &'a mut Node<T> {
    let index = match trees.binary_search_by(|(known, _)| known.as_ref().cmp(name)) {
        Ok(index) => index,
        Err(index) => {
            trees.insert(index, (name.into(), Node::default()));
            index
        }
    };
    &mut trees[index].1
}

#[expect(clippy::indexing_slicing, reason = "the index is the one just found or inserted at")]
fn wildcard_tree<'a, T>(trees: &'a mut Vec<(Box<str>, Node<T>)>, suffix: &str) -> &'a mut Node<T> {
    let index = trees.iter().position(|(known, _)| known.as_ref() == suffix).unwrap_or_else(|| {
        let index = trees.partition_point(|(known, _)| known.len() >= suffix.len());
        trees.insert(index, (suffix.into(), Node::default()));
        index
    });
    &mut trees[index].1
}

#[cfg(test)]
mod tests;
