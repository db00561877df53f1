//! From host, path and method to the one value (an API) they mean, however many there are.
//!
//! One tree of path segments for each host. At every segment a literal goes before a parameter and a parameter before the
//! rest; an exact host goes before a wildcard, a longer wildcard before a shorter one, and any of them before "any host". A
//! more special path that does not take the method gives way to a more general one that does; only when nothing takes it is
//! the answer [`Miss::Method`]. The order in which values were added never matters.

use http::Method;

use super::path::{PathTemplate, Segment};

/// Where a value belongs; empty lists mean "any".
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    /// Exact names in lower case, or `*.example.com`.
    pub hosts: &'a [String],
    /// Methods; `GET` takes `HEAD` too, unless `HEAD` is declared on its own.
    pub methods: &'a [Method],
    /// The path.
    pub path: &'a PathTemplate,
}

/// Why nothing matched.
#[derive(Debug, PartialEq, Eq)]
pub enum Miss {
    /// No value has this host and path.
    Path,
    /// The path is known, the method is not; these are.
    Method(Vec<Method>),
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
    any_method: Option<T>,
    by_method: Vec<(Method, T)>,
}

impl<T: Clone> Matcher<T> {
    /// Adds `value` at its place.
    ///
    /// # Errors
    /// The value that already has the same host, path shape and method; nothing would decide between the two.
    pub fn insert(&mut self, place: Place<'_>, value: &T) -> Result<(), T> {
        if place.hosts.is_empty() {
            return self.any.insert(place, value);
        }
        for host in place.hosts {
            let tree = match host.strip_prefix('*') {
                Some(suffix) => wildcard_tree(&mut self.wildcard, suffix),
                None => exact_tree(&mut self.exact, host),
            };
            tree.insert(place, value)?;
        }
        Ok(())
    }
}

impl<T> Matcher<T> {
    /// The most special value for a request. `host` is in lower case and has no port.
    ///
    /// # Errors
    /// [`Miss`] when there is none.
    pub fn find(&self, host: &str, path: &str, method: &Method) -> Result<&T, Miss> {
        let mut allowed = Vec::new();
        let segments = path.strip_prefix('/').unwrap_or(path);
        for tree in self.trees_of(host) {
            if let Some(value) = tree.find(Some(segments), method, &mut allowed) {
                return Ok(value);
            }
        }
        if allowed.is_empty() { Err(Miss::Path) } else { Err(Miss::Method(allowed)) }
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
    fn insert(&mut self, place: Place<'_>, value: &T) -> Result<(), T> {
        let mut node = self;
        for segment in place.path.segments() {
            node = match segment {
                Segment::Literal(text) => exact_tree(&mut node.literals, text),
                Segment::Parameter(_) => node.parameter.get_or_insert_default(),
                Segment::Rest(_) => return node.rest.insert(place.methods, value),
            };
        }
        node.here.insert(place.methods, value)
    }
}

impl<T> Node<T> {
    /// `remaining` is the path after this node's slash; `None` when the path ends at this node. The depth of the recursion is
    /// bounded by the longest template.
    fn find(&self, remaining: Option<&str>, method: &Method, allowed: &mut Vec<Method>) -> Option<&T> {
        let Some(remaining) = remaining else { return self.here.find(method, allowed) };
        let (segment, tail) = match remaining.split_once('/') {
            Some((segment, tail)) => (segment, Some(tail)),
            None => (remaining, None),
        };
        let literal = self.literals.binary_search_by(|(text, _)| text.as_ref().cmp(segment)).ok();
        if let Some((_, child)) = literal.and_then(|index| self.literals.get(index))
            && let Some(found) = child.find(tail, method, allowed)
        {
            return Some(found);
        }
        if let Some(child) = &self.parameter
            && !segment.is_empty()
            && let Some(found) = child.find(tail, method, allowed)
        {
            return Some(found);
        }
        self.rest.find(method, allowed)
    }
}

impl<T> Default for Node<T> {
    fn default() -> Self {
        Self { literals: Vec::new(), parameter: None, rest: Leaf::default(), here: Leaf::default() }
    }
}

impl<T: Clone> Leaf<T> {
    fn insert(&mut self, methods: &[Method], value: &T) -> Result<(), T> {
        if methods.is_empty() {
            if let Some(there) = self.any_method.as_ref().or(self.by_method.first().map(|(_, value)| value)) {
                return Err(there.clone());
            }
            self.any_method = Some(value.clone());
            return Ok(());
        }
        if let Some(there) = &self.any_method {
            return Err(there.clone());
        }
        for method in methods {
            if let Some((_, there)) = self.by_method.iter().find(|(known, _)| known == method) {
                return Err(there.clone());
            }
            self.by_method.push((method.clone(), value.clone()));
        }
        Ok(())
    }
}

impl<T> Leaf<T> {
    fn find(&self, method: &Method, allowed: &mut Vec<Method>) -> Option<&T> {
        let of = |wanted: &Method| self.by_method.iter().find(|(known, _)| known == wanted).map(|(_, value)| value);
        let found = of(method).or(self.any_method.as_ref());
        let found = found.or_else(|| if method == Method::HEAD { of(&Method::GET) } else { None });
        if found.is_none() {
            for (known, _) in &self.by_method {
                if !allowed.contains(known) {
                    allowed.push(known.clone());
                }
                if known == Method::GET && !allowed.contains(&Method::HEAD) {
                    allowed.push(Method::HEAD);
                }
            }
        }
        found
    }
}

impl<T> Default for Leaf<T> {
    fn default() -> Self {
        Self { any_method: None, by_method: Vec::new() }
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
mod tests {
    use super::*;

    fn build(places: &[(&str, &[&str], &str)]) -> Matcher<usize> {
        let mut matcher = Matcher::default();
        for (index, place) in places.iter().enumerate() {
            add(&mut matcher, *place, index).unwrap();
        }
        matcher
    }

    fn add(matcher: &mut Matcher<usize>, place: (&str, &[&str], &str), value: usize) -> Result<(), usize> {
        let (host, methods, path) = place;
        let hosts: Vec<String> = if host.is_empty() { Vec::new() } else { vec![host.to_owned()] };
        let methods: Vec<Method> = methods.iter().map(|name| name.parse().unwrap()).collect();
        let path = PathTemplate::parse(path).unwrap();
        matcher.insert(Place { hosts: &hosts, methods: &methods, path: &path }, &value)
    }

    fn find(matcher: &Matcher<usize>, host: &str, path: &str, method: &str) -> Result<usize, Miss> {
        matcher.find(host, path, &method.parse().unwrap()).copied()
    }

    #[test]
    fn prefers_literal_then_parameter_then_rest() {
        let matcher = build(&[
            ("", &["GET"], "/{*rest}"),
            ("", &["GET"], "/orders/{id}"),
            ("", &["GET"], "/orders/latest"),
            ("", &["GET"], "/orders/{id}/lines"),
            ("", &["GET"], "/{section}/open"),
        ]);
        assert_eq!(find(&matcher, "h", "/orders/latest", "GET"), Ok(2));
        assert_eq!(find(&matcher, "h", "/orders/17", "GET"), Ok(1));
        assert_eq!(find(&matcher, "h", "/orders/17/lines", "GET"), Ok(3));
        assert_eq!(
            find(&matcher, "h", "/orders/latest/lines", "GET"),
            Ok(3),
            "goes back from a literal that leads nowhere"
        );
        assert_eq!(find(&matcher, "h", "/orders/open", "GET"), Ok(1), "the first segment decides");
        assert_eq!(find(&matcher, "h", "/bills/open", "GET"), Ok(4));
        assert_eq!(find(&matcher, "h", "/orders/17/x", "GET"), Ok(0));
        assert_eq!(find(&matcher, "h", "/", "GET"), Ok(0));
    }

    #[test]
    fn a_parameter_needs_a_segment_and_a_slash_is_not_forgotten() {
        let matcher = build(&[("", &["GET"], "/orders/{id}"), ("", &["GET"], "/list")]);
        assert_eq!(find(&matcher, "", "/orders/", "GET"), Err(Miss::Path));
        assert_eq!(find(&matcher, "", "/orders", "GET"), Err(Miss::Path));
        assert_eq!(find(&matcher, "", "/list/", "GET"), Err(Miss::Path));
        assert_eq!(find(&matcher, "", "/orders/1/2", "GET"), Err(Miss::Path));
    }

    #[test]
    fn the_rest_takes_what_follows_the_slash_only() {
        let matcher = build(&[("", &["GET"], "/files/{*rest}")]);
        assert_eq!(find(&matcher, "", "/files/", "GET"), Ok(0));
        assert_eq!(find(&matcher, "", "/files/a/b/", "GET"), Ok(0));
        assert_eq!(find(&matcher, "", "/files", "GET"), Err(Miss::Path));
    }

    #[test]
    fn prefers_an_exact_host_then_the_longest_wildcard_then_any() {
        let matcher = build(&[
            ("", &["GET"], "/x"),
            ("*.example.com", &["GET"], "/x"),
            ("*.api.example.com", &["GET"], "/x"),
            ("a.api.example.com", &["GET"], "/x"),
        ]);
        assert_eq!(find(&matcher, "a.api.example.com", "/x", "GET"), Ok(3));
        assert_eq!(find(&matcher, "b.api.example.com", "/x", "GET"), Ok(2));
        assert_eq!(find(&matcher, "b.example.com", "/x", "GET"), Ok(1));
        assert_eq!(find(&matcher, "example.com", "/x", "GET"), Ok(0), "a wildcard takes subdomains only");
        assert_eq!(find(&matcher, "a.api.example.com", "/y", "GET"), Err(Miss::Path));
    }

    #[test]
    fn names_the_methods_of_a_known_path() {
        let matcher = build(&[("", &["GET"], "/orders"), ("", &["POST"], "/orders"), ("", &["PUT"], "/{*rest}")]);
        let allowed = Err(Miss::Method(vec![Method::GET, Method::HEAD, Method::POST, Method::PUT]));
        assert_eq!(find(&matcher, "", "/orders", "DELETE"), allowed);
        assert_eq!(find(&matcher, "", "/orders", "POST"), Ok(1));
        assert_eq!(find(&matcher, "", "/orders", "PUT"), Ok(2), "a more general path that takes the method");
        assert_eq!(find(&matcher, "", "/orders", "HEAD"), Ok(0));
    }

    #[test]
    fn refuses_what_nothing_could_decide() {
        let mut matcher = build(&[("", &["GET", "POST"], "/orders/{id}")]);
        assert_eq!(add(&mut matcher, ("", &["POST"], "/orders/{number}"), 1), Err(0));
        assert_eq!(add(&mut matcher, ("", &[], "/orders/{number}"), 1), Err(0));
        assert_eq!(add(&mut matcher, ("", &["PUT"], "/orders/{number}"), 1), Ok(()));
        assert_eq!(add(&mut matcher, ("h", &["GET"], "/orders/{id}"), 2), Ok(()));
    }

    proptest::proptest! {
        #[test]
        fn agrees_with_comparing_template_by_template(
            templates in proptest::collection::vec("(/(a|b|\\{x\\})){1,3}", 1..12),
            path in "(/(a|b|c)){1,3}",
        ) {
            let mut matcher = Matcher::default();
            let mut known: Vec<PathTemplate> = Vec::new();
            for (index, text) in templates.iter().enumerate() {
                let unique = text.match_indices("{x}").enumerate().fold(text.clone(), |text, (nth, _)| text.replacen("{x}", &format!("{{p{nth}}}"), 1));
                let template = PathTemplate::parse(&unique).unwrap();
                let _twin = matcher.insert(Place { hosts: &[], methods: &[], path: &template }, &index);
                known.push(template);
            }
            let naive = known.iter().filter(|template| fits(template, &path)).map(rank).min();
            let found = matcher.find("", &path, &Method::GET).ok().map(|index| rank(&known[*index]));
            proptest::prop_assert_eq!(found, naive);
        }
    }

    fn fits(template: &PathTemplate, path: &str) -> bool {
        let segments: Vec<&str> = path.split('/').skip(1).collect();
        segments.len() == template.segments().len()
            && template.segments().iter().zip(segments).all(|(segment, text)| match segment {
                Segment::Literal(literal) => literal.as_ref() == text,
                _ => true,
            })
    }

    fn rank(template: &PathTemplate) -> Vec<bool> {
        template.segments().iter().map(|segment| matches!(segment, Segment::Parameter(_))).collect()
    }
}
