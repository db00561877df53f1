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
    let place = Place { hosts: &hosts, methods: &methods, path: &path, rank: Rank::default() };
    matcher.insert(place, &value, &|_, _| false)
}

fn find(matcher: &Matcher<usize>, host: &str, path: &str, method: &str) -> Result<usize, Miss> {
    matcher.find(host, path, &method.parse().unwrap(), |_| Fit::Yes).copied()
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
            let place = Place { hosts: &[], methods: &[], path: &template, rank: Rank::default() };
            let _twin = matcher.insert(place, &index, &|_, _| false);
            known.push(template);
        }
        let naive = known.iter().filter(|template| fits(template, &path)).map(rank).min();
        let found = matcher.find("", &path, &Method::GET, |_| Fit::Yes).ok().map(|index| rank(&known[*index]));
        proptest::prop_assert_eq!(found, naive);
    }
}

/// A value that takes the calls whose numbers are among its bits, where it has predicates.
#[derive(Debug, Clone, PartialEq)]
struct Choosy {
    name: usize,
    template: PathTemplate,
    methods: Vec<Method>,
    rank: Rank,
    takes: u8,
}

impl Choosy {
    fn new(name: usize, path: &str, methods: &[&str], rank: (u32, usize), takes: u8) -> Self {
        let rank = Rank { priority: rank.0, predicates: rank.1 };
        let methods = methods.iter().map(|method| method.parse().unwrap()).collect();
        Self { name, template: PathTemplate::parse(path).unwrap(), methods, rank, takes }
    }

    fn add_to(&self, matcher: &mut Matcher<Choosy>) -> Result<(), Choosy> {
        let place = Place { hosts: &[], methods: &self.methods, path: &self.template, rank: self.rank };
        matcher.insert(place, self, &|one, two| {
            one.rank.predicates > 0 && two.rank.predicates > 0 && one.takes & two.takes == 0
        })
    }

    fn fits(&self, call: u8) -> bool {
        self.rank.predicates == 0 || self.takes & 1 << call != 0
    }
}

fn all(values: &[Choosy]) -> Result<Matcher<Choosy>, Choosy> {
    let mut matcher = Matcher::default();
    values.iter().try_for_each(|value| value.add_to(&mut matcher))?;
    Ok(matcher)
}

/// The name of what takes the call of that number.
fn taken(matcher: &Matcher<Choosy>, path: &str, method: &Method, call: u8) -> Result<usize, Miss> {
    let judge = |value: &Choosy| if value.fits(call) { Fit::Yes } else { Fit::No };
    matcher.find("", path, method, judge).map(|value| value.name)
}

#[test]
fn at_one_place_the_higher_rank_is_asked_first_and_the_more_general_place_last() {
    let matcher = all(&[
        Choosy::new(0, "/orders/{id}", &[], (0, 0), 0),
        Choosy::new(1, "/orders/{id}", &["GET"], (0, 1), 0b0011),
        Choosy::new(2, "/orders/{id}", &["GET"], (0, 2), 0b0001),
        Choosy::new(3, "/orders/{id}", &[], (5, 1), 0b1000),
        Choosy::new(4, "/stock", &["GET"], (0, 1), 0b0001),
        Choosy::new(5, "/{*rest}", &["GET"], (0, 1), 0b0010),
    ])
    .unwrap();
    let get = |path, call| taken(&matcher, path, &Method::GET, call);
    assert_eq!([0, 1, 2, 3].map(|call| get("/orders/1", call)), [Ok(2), Ok(1), Ok(0), Ok(3)]);
    assert_eq!(taken(&matcher, "/orders/1", &Method::HEAD, 0), Ok(2), "GET takes HEAD");
    assert_eq!(taken(&matcher, "/orders/1", &Method::PUT, 0), Ok(0));
    assert_eq!((get("/stock", 0), get("/stock", 1)), (Ok(4), Ok(5)), "what does not fit gives way");
    assert_eq!(get("/stock", 2), Err(Miss::Predicates));
    assert_eq!(taken(&matcher, "/stock", &Method::PUT, 0), Err(Miss::Method(vec![Method::GET, Method::HEAD])));
    assert_eq!(get("/", 3), Err(Miss::Predicates));
}

#[test]
fn a_declared_head_is_not_taken_by_get() {
    let matcher = all(&[
        Choosy::new(0, "/a", &["HEAD"], (0, 0), 0),
        Choosy::new(1, "/a", &["GET"], (3, 1), 0b1),
        Choosy::new(2, "/a", &["GET"], (0, 0), 0),
    ]);
    assert_eq!(taken(&matcher.unwrap(), "/a", &Method::HEAD, 0), Ok(0));
}

#[test]
fn the_same_rank_needs_predicates_that_exclude_each_other() {
    let one = Choosy::new(0, "/a", &["GET"], (0, 1), 0b01);
    for (other, expected) in [
        (Choosy::new(1, "/a", &["GET"], (0, 1), 0b10), true),
        (Choosy::new(1, "/a", &[], (0, 1), 0b11), false),
        (Choosy::new(1, "/a", &["GET"], (0, 2), 0b11), true),
        (Choosy::new(1, "/a", &["GET"], (1, 1), 0b11), true),
        (Choosy::new(1, "/a", &["PUT"], (0, 1), 0b11), true),
        (Choosy::new(1, "/a", &[], (0, 0), 0), true),
    ] {
        assert_eq!(all(&[one.clone(), other.clone()]).is_ok(), expected, "{other:?}");
        assert_eq!(all(&[other.clone(), one.clone()]).is_ok(), expected, "the other way round: {other:?}");
    }
}

#[test]
fn a_search_stops_where_only_the_body_can_say() {
    let values = [Choosy::new(0, "/a", &[], (1, 1), 1), Choosy::new(1, "/a", &[], (0, 1), 1)];
    let matcher = all(&values).unwrap();
    let mut asked = Vec::new();
    let found = matcher.find("", "/a", &Method::GET, |value| {
        asked.push(value.name);
        Fit::Unknown
    });
    assert_eq!((found, asked), (Err(Miss::Undecided), vec![0]));
}

fn choosy() -> impl proptest::strategy::Strategy<Value = Vec<Choosy>> {
    use proptest::prelude::{Strategy as _, any};
    const PATHS: &[&str] = &["/a/b", "/a/{x}", "/{x}/b", "/a/{*r}", "/{*r}"];
    const METHODS: &[&[&str]] = &[&["GET"], &["PUT"], &["GET", "PUT"], &["HEAD"], &[]];
    let path = proptest::sample::select(PATHS);
    let methods = proptest::sample::select(METHODS);
    let one = (path, methods, 0..3_u32, 0..4_usize, any::<u8>());
    proptest::collection::vec(one, 1..10).prop_map(|all| {
        let numbered = all.into_iter().enumerate();
        let value = |(name, (path, methods, priority, predicates, takes)): (usize, _)| {
            // As the catalog has it: without predicates there is no priority.
            let rank = (if predicates == 0 { 0 } else { priority }, predicates);
            Choosy::new(name, path, methods, rank, takes)
        };
        numbered.map(value).collect()
    })
}

/// All that have the path, the most special first, then by rank; HEAD goes to GET at a place where nobody declares it.
fn naive(values: &[Choosy], path: &str, method: &Method, call: u8) -> Option<usize> {
    let mut places: Vec<&PathTemplate> = values.iter().map(|value| &value.template).collect();
    places.retain(|template| fits(template, path));
    places.sort_by_key(|template| rank(template));
    places.dedup();
    places.into_iter().find_map(|place| {
        let here = || values.iter().filter(|value| value.template == *place);
        let declares_head = here().any(|value| value.methods.contains(&Method::HEAD));
        let takes_method = |value: &&Choosy| {
            let as_get = *method == Method::HEAD && !declares_head && value.methods.contains(&Method::GET);
            value.methods.is_empty() || value.methods.contains(method) || as_get
        };
        let fitting = here().filter(takes_method).filter(|value| value.fits(call));
        fitting.max_by_key(|value| value.rank).map(|value| value.name)
    })
}

proptest::proptest! {
    #[test]
    fn the_order_in_which_values_are_added_never_matters(
        values in choosy(), seed: u64, path in "(/(a|b)){1,2}", call in 0..8_u8,
    ) {
        let mut shuffled = values.clone();
        fastrand::Rng::with_seed(seed).shuffle(&mut shuffled);
        let (one, two) = (all(&values), all(&shuffled));
        proptest::prop_assert_eq!(one.is_ok(), two.is_ok());
        if let (Ok(one), Ok(two)) = (one, two) {
            for method in [Method::GET, Method::HEAD, Method::PUT, Method::POST] {
                let found = taken(&one, &path, &method, call).ok();
                proptest::prop_assert_eq!(found, taken(&two, &path, &method, call).ok());
                proptest::prop_assert_eq!(found, naive(&values, &path, &method, call));
                let walked = one.candidates("", &path, &method);
                let first = walked.iter().find(|it| it.takes_method && it.value.fits(call));
                proptest::prop_assert_eq!(found, first.map(|it| it.value.name), "what is shown is what is chosen");
            }
        }
    }
}

fn fits(template: &PathTemplate, path: &str) -> bool {
    let segments: Vec<&str> = path.split('/').skip(1).collect();
    let has_rest = template.segments().iter().any(|segment| matches!(segment, Segment::Rest(_)));
    let has_length = segments.len() == template.segments().len();
    (has_length || (has_rest && segments.len() >= template.segments().len()))
        && template.segments().iter().zip(segments).all(|(segment, text)| match segment {
            Segment::Literal(literal) => literal.as_ref() == text,
            _ => true,
        })
}

/// Literals before parameters before the rest.
fn rank(template: &PathTemplate) -> Vec<u8> {
    let rank = |segment: &Segment| match segment {
        Segment::Literal(_) => 0,
        Segment::Parameter(_) => 1,
        Segment::Rest(_) => 2,
    };
    template.segments().iter().map(rank).collect()
}
