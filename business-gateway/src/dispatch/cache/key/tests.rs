use http::Request;
use proptest::prelude::{Strategy, any, prop_assert, prop_assert_eq, prop_assume, proptest};

use super::*;
use crate::store::apps::{App, Status};

/// A key that differs from those of other numbers.
pub(crate) fn any_key(number: u32) -> Key {
    hashed(|put| put(&number.to_be_bytes()))
}

/// What a call is made of, as far as keys are concerned.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Sample {
    api: String,
    app: String,
    user: Option<String>,
    path: String,
    query: Vec<(String, String)>,
    headers: Vec<String>,
    cookies: Vec<String>,
}

fn app(key: &str) -> App {
    App {
        key: key.into(),
        name: "".into(),
        owner: None,
        status: Status::Enabled,
        expires_unix: None,
        plan: None,
        class: None,
        packages: Vec::new(),
        networks: Vec::new(),
        field_level: 0,
        schemes: Vec::new(),
        secrets: Vec::new(),
        public_keys: Vec::new(),
        api_keys: Vec::new(),
        subjects: Vec::new(),
        platform_md5: false,
        version: 0,
    }
}

fn rules(scope: Scope) -> KeyRules {
    KeyRules {
        scope,
        for_users: false,
        path: PathKey::Whole,
        query: QueryKey::All,
        headers: vec![HeaderName::from_static("x-part")],
        cookies: vec!["c".to_owned()],
        pass: Vec::new(),
        plan: false,
        class: false,
        field_level: false,
        scopes: false,
        body: false,
    }
}

fn head(target: &str, headers: &[(&str, &str)]) -> Parts {
    let mut request = Request::builder().uri(target);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(()).unwrap().into_parts().0
}

fn caller(key: &str, user: Option<&str>) -> Caller {
    let app = Some(key).filter(|key| !key.is_empty()).map(|key| Arc::new(app(key)));
    Caller { app, scheme: None, user: user.map(Arc::from), scopes: None }
}

impl Sample {
    fn target(&self) -> String {
        let query: Vec<String> = self.query.iter().map(|(name, value)| format!("{name}={value}")).collect();
        if query.is_empty() { self.path.clone() } else { format!("{}?{}", self.path, query.join("&")) }
    }

    fn with<T>(&self, then: impl FnOnce(&Asked<'_>) -> T) -> T {
        let mut list: Vec<(&str, &str)> = self.headers.iter().map(|value| ("x-part", value.as_str())).collect();
        let cookies: Vec<String> = self.cookies.iter().map(|value| format!("c={value}")).collect();
        list.extend(cookies.iter().map(|cookie| ("cookie", cookie.as_str())));
        let head = head(&self.target(), &list);
        let caller = caller(&self.app, self.user.as_deref());
        let (api, path, authority) = (self.api.as_str(), self.path.as_str(), "shop.example");
        then(&Asked { api, head: &head, authority, path, caller: &caller, body: b"" })
    }

    fn key(&self, rules: &KeyRules) -> Key {
        self.with(|asked| rules.key(asked))
    }

    /// What is hashed.
    fn written(&self, rules: &KeyRules) -> Vec<u8> {
        let mut out = Vec::new();
        self.with(|asked| rules.write(asked, &mut |bytes| out.extend_from_slice(bytes)));
        out
    }

    /// The same in a form in which two that are equal have to have the same key.
    fn normal(&self) -> Self {
        let mut normal = self.clone();
        normal.query.sort_by(|one, other| one.0.cmp(&other.0));
        normal
    }
}

fn sample() -> impl Strategy<Value = Sample> {
    // Few letters, so that parts run into each other where they can.
    let word = || "[ab]{0,3}";
    let words = || proptest::collection::vec(word(), 0..3);
    (
        (word(), word(), proptest::option::of("[ab]{1,2}")),
        "/[ab/]{0,4}",
        proptest::collection::vec(("[ab]{1,2}", word()), 0..4),
        words(),
        words(),
    )
        .prop_map(|((api, app, user), path, query, headers, cookies)| Sample {
            api,
            app,
            user,
            path,
            query,
            headers,
            cookies,
        })
}

proptest! {
    #[test]
    fn no_two_calls_that_differ_read_the_same(one in sample(), other in sample()) {
        let rules = rules(Scope::User);
        let are_same = one.normal() == other.normal();
        prop_assert_eq!(one.written(&rules) == other.written(&rules), are_same);
        prop_assert_eq!(one.key(&rules) == other.key(&rules), are_same);
    }

    #[test]
    fn one_part_alone_makes_the_difference(one in sample(), which in 0_usize..6, word in "[ab]{1,3}") {
        let mut other = one.clone();
        match which {
            0 => other.api.push_str(&word),
            1 => other.app.push_str(&word),
            2 => other.user = Some(format!("{}{word}", one.user.as_deref().unwrap_or_default())),
            3 => other.query.push(("q".to_owned(), word)),
            4 => other.headers.push(word),
            _ => other.cookies.push(word),
        }
        let rules = rules(Scope::User);
        prop_assert!(one.key(&rules) != other.key(&rules));
    }

    #[test]
    fn applications_never_share_a_key_unless_that_is_declared(one in sample(), app in "[ab]{0,3}") {
        prop_assume!(one.app != app);
        let other = Sample { app, ..one.clone() };
        prop_assert!(one.key(&rules(Scope::App)) != other.key(&rules(Scope::App)));
        prop_assert!(one.key(&rules(Scope::User)) != other.key(&rules(Scope::User)));
        prop_assert_eq!(one.key(&rules(Scope::Shared)), other.key(&rules(Scope::Shared)));
    }

    #[test]
    fn what_is_not_in_the_key_does_not_reach_the_service(
        names in proptest::collection::vec("[a-d]", 0..6),
        listed in proptest::collection::btree_set("[a-d]", 0..3),
        bytes in any::<u8>(),
    ) {
        let rules = KeyRules { query: QueryKey::Listed(listed.iter().cloned().collect()), ..rules(Scope::App) };
        let query: Vec<String> = names.iter().map(|name| format!("{name}={bytes}")).collect();
        let mut cut = head(&format!("/a?{}", query.join("&")), &[]);
        let before = cut.clone();
        rules.cut(&mut cut, &Caller::anonymous());
        let left: Vec<&str> = cut.uri.query().unwrap_or_default().split('&').map(name_of).filter(|name| !name.is_empty()).collect();
        let expected: Vec<&String> = names.iter().filter(|name| listed.contains(*name)).collect();
        prop_assert_eq!(left, expected);
        let key = |head: &Parts| {
            let caller = Caller::anonymous();
            rules.key(&Asked { api: "a", head, authority: "x", path: "/a", caller: &caller, body: b"" })
        };
        prop_assert_eq!(key(&before), key(&cut), "and changes nothing in the key");
    }
}

fn key_of(rules: &KeyRules, target: &str, headers: &[(&str, &str)], caller: &Caller) -> Key {
    let head = head(target, headers);
    let path = head.uri.path().to_owned();
    rules.key(&Asked { api: "a", head: &head, authority: "Shop.Example", path: &path, caller, body: b"" })
}

#[test]
fn the_order_of_a_query_does_not_count_but_that_of_values_does() {
    let rules = rules(Scope::App);
    let key = |target: &str| key_of(&rules, target, &[], &Caller::anonymous());
    assert_eq!(key("/a?x=1&y=2"), key("/a?y=2&x=1"));
    assert_ne!(key("/a?x=1&x=2"), key("/a?x=2&x=1"));
    assert_ne!(key("/a?x=1"), key("/a?x=1&x=1"));
    assert_ne!(key("/a"), key("/b"));
    assert_ne!(key("/a?x"), key("/a?x="));
}

#[test]
fn only_parts_that_are_declared_count() {
    let listed = KeyRules { query: QueryKey::Listed(vec!["page".to_owned()]), ..rules(Scope::App) };
    let key = |target: &str, headers: &[(&str, &str)]| key_of(&listed, target, headers, &Caller::anonymous());
    assert_eq!(key("/a?page=1&utm=x", &[]), key("/a?page=1", &[("x-other", "1"), ("cookie", "d=1")]));
    assert_ne!(key("/a?page=1", &[]), key("/a?page=2", &[]));
    assert_ne!(key("/a", &[("x-part", "1")]), key("/a", &[]));
    assert_ne!(key("/a", &[("x-part", "")]), key("/a", &[]));
    assert_ne!(key("/a", &[("cookie", "x=1; c=1")]), key("/a", &[("cookie", "x=1; c=2")]));
    assert_eq!(key("/a", &[("cookie", "x=1; c=1")]), key("/a", &[("cookie", "c=1"), ("cookie", "y=2")]));
    let places = vec![Place { index: 1, is_rest: false }];
    let by_id = KeyRules { path: PathKey::Parameters(places), ..rules(Scope::App) };
    let key = |target: &str| key_of(&by_id, target, &[], &Caller::anonymous());
    assert_eq!(key("/de/7"), key("/en/7"));
    assert_ne!(key("/de/7"), key("/de/8"));
}

#[test]
fn plan_class_level_and_scopes_count_where_they_are_declared() {
    let plain = rules(Scope::Shared);
    let mut gold = app("gold");
    (gold.plan, gold.class, gold.field_level) = (Some("big".into()), Some("vip".into()), 7);
    let gold = Caller { app: Some(Arc::new(gold)), scheme: None, user: None, scopes: Some(vec!["read".into()]) };
    let iron = caller("iron", None);
    assert_eq!(key_of(&plain, "/", &[], &gold), key_of(&plain, "/", &[], &iron));
    for rules in [
        KeyRules { plan: true, ..plain.clone() },
        KeyRules { class: true, ..plain.clone() },
        KeyRules { field_level: true, ..plain.clone() },
        KeyRules { scopes: true, ..plain },
    ] {
        assert_ne!(key_of(&rules, "/", &[], &gold), key_of(&rules, "/", &[], &iron));
    }
}

#[test]
fn a_head_has_the_key_of_a_get_and_the_raw_path_counts_where_the_service_gets_it() {
    let rules = rules(Scope::App);
    let mut head_request = head("/a", &[]);
    head_request.method = Method::HEAD;
    let caller = Caller::anonymous();
    let asked =
        Asked { api: "a", head: &head_request, authority: "shop.example", path: "/a", caller: &caller, body: b"" };
    assert_eq!(rules.key(&asked), key_of(&rules, "/a", &[], &caller));
    let raw = KeyRules { path: PathKey::Raw, ..rules.clone() };
    let of = |rules: &KeyRules, target: &str| {
        let head = head(target, &[]);
        rules.key(&Asked { api: "a", head: &head, authority: "x", path: "/a", caller: &caller, body: b"" })
    };
    assert_eq!(of(&rules, "/./a"), of(&rules, "/a"));
    assert_ne!(of(&raw, "/./a"), of(&raw, "/a"));
}

#[test]
fn the_service_gets_what_is_in_the_key_and_what_is_negotiated() {
    let rules = KeyRules { pass: vec![header::USER_AGENT], ..rules(Scope::App) };
    let mut cut = head(
        "/a?x=1",
        &[
            ("host", "shop.example"),
            ("accept", "text/html"),
            ("accept-encoding", "gzip"),
            ("accept-language", "de"),
            ("authorization", "Bearer x"),
            ("cookie", "session=1; c=2"),
            ("if-none-match", "\"1\""),
            ("x-part", "p"),
            ("x-forwarded-host", "evil.example"),
            ("x-http-method-override", "DELETE"),
            ("user-agent", "u"),
        ],
    );
    rules.cut(&mut cut, &Caller::anonymous());
    let mut left: Vec<(&str, &str)> =
        cut.headers.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect();
    left.sort_unstable();
    let expected = [
        ("accept", "text/html"),
        ("accept-encoding", "identity"),
        ("accept-language", "de"),
        ("cookie", "c=2"),
        ("host", "shop.example"),
        ("user-agent", "u"),
        ("x-part", "p"),
    ];
    assert_eq!(left, expected);
    assert_eq!(cut.uri, "/a?x=1");
}

#[test]
fn what_says_how_to_read_a_body_counts_with_it_and_goes_without_it() {
    let headers = [("content-type", "text/plain"), ("content-encoding", "gzip"), ("content-language", "de")];
    let bodies = KeyRules { body: true, ..rules(Scope::App) };
    let key = |rules: &KeyRules, headers: &[(&str, &str)]| key_of(rules, "/a", headers, &Caller::anonymous());
    for header in headers {
        assert_ne!(key(&bodies, &[header]), key(&bodies, &[]), "{header:?}");
        assert_eq!(key(&rules(Scope::App), &[header]), key(&rules(Scope::App), &[]));
        assert_ne!(key(&bodies, &[header]), key(&bodies, &[(header.0, "")]), "{header:?}");
    }
    let left = |rules: &KeyRules| {
        let mut cut = head("/a", &headers);
        rules.cut(&mut cut, &Caller::anonymous());
        cut.headers.len()
    };
    // Besides them only what the cache says of codings.
    assert_eq!((left(&bodies), left(&rules(Scope::App))), (4, 1));
}

#[test]
fn the_service_is_told_as_much_of_the_caller_as_is_in_the_key() {
    let caller = Caller { scopes: Some(vec!["read".into()]), ..caller("shop", Some("ann")) };
    let told = |scope, scopes| {
        let told = KeyRules { scopes, ..rules(scope) }.introduced(&caller);
        (told.app_key().to_owned(), told.user.as_deref().map(str::to_owned), told.scopes.is_some(), told.scheme)
    };
    assert_eq!(told(Scope::Shared, true), (String::new(), None, false, None));
    assert_eq!(told(Scope::App, false), ("shop".to_owned(), None, false, None));
    assert_eq!(told(Scope::App, true), ("shop".to_owned(), None, true, None));
    assert_eq!(told(Scope::User, false), ("shop".to_owned(), Some("ann".to_owned()), false, None));
}

#[test]
fn only_what_is_not_in_the_key_varies_on() {
    let rules = KeyRules { pass: vec![header::USER_AGENT], ..rules(Scope::App) };
    let by = |vary: &str| {
        let headers = HeaderMap::from_iter([(header::VARY, vary.parse().unwrap())]);
        let by = rules.varies_by(&headers);
        by.map(|names| names.iter().map(|name| name.as_str().to_owned()).collect::<Vec<_>>().join(","))
    };
    assert_eq!(by("Accept-Language, accept").as_deref(), Some("accept,accept-language"));
    assert_eq!(by("accept-encoding, cookie, x-part, x-elsewhere, ,").as_deref(), Some(""));
    assert_eq!(by("user-agent").as_deref(), Some("user-agent"));
    assert_eq!(by("accept, *"), None);
}

#[test]
fn parameters_of_the_platform_that_change_with_each_call_do_not_count() {
    let rules = rules(Scope::App);
    let platform = Caller { scheme: Some(Scheme::Platform), ..caller("shop", None) };
    let key = |target: &str| key_of(&rules, target, &[], &platform);
    assert_eq!(key("/a?method=x&timestamp=1&app_key=shop&sign_method=md5"), key("/a?method=x&timestamp=2"));
    let plain = caller("shop", None);
    assert_ne!(key_of(&rules, "/a?timestamp=1", &[], &plain), key_of(&rules, "/a?timestamp=2", &[], &plain));
}
