use std::collections::BTreeMap as Map;
use std::path::Path;

use gatehouse_shared::config::Sources;

use super::*;
use crate::admit::caller::Caller;
use crate::admit::flow_rule::Bounds;
use crate::dispatch::service::Surroundings;
use crate::store::catalog::Catalog;
use crate::store::file;

const SERVICES: &str = "\
[[service]]
name = \"orders\"
endpoints = [\"127.0.0.1:9001\"]
[[service]]
name = \"orders-v2\"
endpoints = [\"127.0.0.1:9002\"]
[[api]]
name = \"a\"
service = \"orders\"
path = \"/\"
split = \"canary\"
";

/// The catalog of [`SERVICES`] and `text`.
fn compile(dir: &Path, text: &str, before: Option<&Catalog>) -> Result<Catalog, ConfigErrors> {
    std::fs::write(dir.join(file::CATALOG), format!("{SERVICES}{text}")).unwrap();
    let mut sources = Sources::new(dir);
    let document = file::read(&mut sources)?;
    let uids = UidFiles::load(&document.value.split, &mut sources, before.map(|before| &before.splits.files))?;
    let (defaults, flow) = (crate::dispatch::Config::default(), Bounds::default());
    let documents = crate::admit::validation::document::Documents::default();
    let surroundings = Surroundings {
        defaults: &defaults,
        zone: None,
        flow: &flow,
        documents: &documents,
        uids: &uids,
        aggregate: &Default::default(),
    };
    Catalog::compile(&document, surroundings, before)
}

fn split(text: &str) -> Arc<Split> {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("uids"), "u7\nu8\n").unwrap();
    let catalog = compile(dir.path(), text, None).unwrap_or_else(|errors| panic!("{errors}"));
    Arc::clone(catalog.splits.find("canary").unwrap())
}

fn errors(text: &str) -> Vec<String> {
    let dir = tempfile::tempdir().unwrap();
    match compile(dir.path(), text, None) {
        Ok(_) => Vec::new(),
        Err(errors) => errors.sorted().into_iter().map(ToString::to_string).collect(),
    }
}

/// The branch and the level of a call of a user.
fn chosen(split: &Split, user: Option<&str>, client: &str, uri: &str) -> (String, Option<usize>) {
    let caller = Caller { user: user.map(Into::into), ..Caller::anonymous() };
    let (parts, ()) = http::Request::get(uri).body(()).unwrap().into_parts();
    let seen = Seen { caller: &caller, client: client.parse().unwrap(), request_id: "01", parts: &parts };
    let choice = split.choose(&seen).unwrap();
    (choice.branch.name.to_string(), choice.level)
}

const LEVELS: &str = "\
[[split]]
name = \"canary\"
branches = [{ name = \"canary\", service = \"orders-v2\" }, { name = \"lost\", service = \"orders\" }]
without_key = \"lost\"
levels = [
  { networks = [\"10.0.0.0/8\", \"2001:db8::/32\"], branch = \"canary\" },
  { uids = [\"u1\"], branch = \"default\" },
  { uid_file = \"uids\", branch = \"canary\" },
  { uid_range = [1000, 1999], branch = \"canary\" },
  { uid_suffixes = [\"x0\", \"x5\"], branch = \"canary\" },
  { argument = \"query:city\", values = [\"Hangzhou\", \"Suzhou\"], uid_suffixes = [\"z\"], branch = \"canary\" },
  { percent = 5, branch = \"canary\" },
]
";

#[test]
fn the_first_level_that_takes_a_call_decides() {
    let split = split(LEVELS);
    let canary = |level| ("canary".to_owned(), Some(level));
    let out = "203.0.113.9";
    // Their places are 896608 and so on: not among the five percent.
    for (user, client, uri, expected) in [
        (Some("u1"), "10.1.2.3", "/", canary(1)),
        (None, "2001:db8::7", "/", canary(1)),
        (None, "::ffff:10.1.2.3", "/", canary(1)),
        (Some("u1"), out, "/", ("default".to_owned(), Some(2))),
        (Some("u8"), out, "/", canary(3)),
        (Some("1000"), out, "/", canary(4)),
        (Some("1999"), out, "/", canary(4)),
        (Some("2000"), out, "/", ("default".to_owned(), None)),
        (Some("+1500"), out, "/", ("default".to_owned(), None)),
        (Some("99999999999999999999999"), out, "/", ("default".to_owned(), None)),
        (Some("ax5"), out, "/", canary(5)),
        (Some("az"), out, "/?city=Suzhou", canary(6)),
        (Some("az"), out, "/?city=Paris", ("default".to_owned(), None)),
        (None, out, "/?city=Suzhou", ("lost".to_owned(), None)),
        (Some(""), out, "/", ("lost".to_owned(), None)),
    ] {
        assert_eq!(chosen(&split, user, client, uri), expected, "{user:?} {client} {uri}");
    }
    let found: Vec<String> = split.levels().map(|(when, branch)| format!("{when} -> {branch}")).collect();
    assert_eq!(
        found,
        [
            "client in 10.0.0.0/8 or 2001:db8::/32 -> canary",
            "uid among 1 -> default",
            "uid among 2 -> canary",
            "uid 1000 to 1999 -> canary",
            "uid ends in x0 or x5 -> canary",
            "uid ends in z and query:city is Hangzhou or Suzhou -> canary",
            "5 % -> canary",
        ]
    );
}

#[test]
fn five_percent_of_a_hundred_thousand_users_and_ten_are_the_same_and_five_more() {
    let share = |percent: u32| {
        split(&format!(
            "[[split]]\nname = \"canary\"\nbranches = [{{ name = \"new\", service = \"orders-v2\" }}]\n\
             levels = [{{ percent = {percent}, branch = \"new\" }}]\n"
        ))
    };
    let (five, ten) = (share(5), share(10));
    let is_new = |split: &Split, uid: &str| chosen(split, Some(uid), "203.0.113.9", "/").0 == "new";
    let mut counts = Map::new();
    for uid in (0..100_000).map(|uid| format!("u{uid}")) {
        *counts.entry((is_new(&five, &uid), is_new(&ten, &uid))).or_insert(0) += 1;
    }
    assert_eq!(counts.get(&(true, false)), None, "nobody leaves a branch that grows");
    let (stayed, came) = (counts[&(true, true)], counts[&(false, true)]);
    assert!((4_700..=5_300).contains(&stayed), "{stayed}");
    assert!((4_700..=5_300).contains(&came), "{came}");
}

#[test]
fn levels_with_shares_for_several_branches_do_not_move_one_another() {
    let text = |first: u32| {
        format!(
            "[[split]]\nname = \"canary\"\nbranches = [{{ name = \"a\", service = \"orders-v2\" }}, {{ name = \"b\", service = \"orders-v2\" }}]\n\
             levels = [{{ percent = {first}, branch = \"a\" }}, {{ percent = 50, branch = \"b\" }}]\n"
        )
    };
    let (small, large) = (split(&text(10)), split(&text(30)));
    for uid in (0..5_000).map(|uid| format!("u{uid}")) {
        let of = |split: &Split| chosen(split, Some(&uid), "203.0.113.9", "/").0;
        let (before, after) = (of(&small), of(&large));
        assert!(after == before || after == "a", "{uid} went from {before} to {after}");
    }
}

#[test]
fn every_mistake_is_named_with_its_line_and_what_to_do() {
    let text = "\
[[split]]
name = \"canary\"
key = \"usr\"
without_key = \"lost\"
answer_header = \"x-gatehouse-x\"
branches = [
  { name = \"new\" },
  { name = \"new\", service = \"orders-v2\" },
  { name = \"default\", service = \"orders\" },
  { name = \"other\", service = \"orders-v3\", headers = { host = \"x\" } },
]
levels = [
  { branch = \"new\" },
  { percent = 101, branch = \"new\" },
  { percent = 5, branch = \"nwe\" },
  { uid_range = [2, 1], uids = [\"a b\"], branch = \"new\" },
  { argument = \"query:city\", branch = \"new\" },
  { argument = \"path\", values = [\"x\"], branch = \"new\" },
  { values = [\"x\"], percent = 1, branch = \"new\" },
]
[[split]]
name = \"canary\"
";
    let found = errors(text);
    let first = SERVICES.lines().count();
    for (line, expected) in [
        (3, "7: \"usr\" is nothing of a call (did you mean \"user\"?)"),
        (4, "15: no branch \"lost\""),
        (5, "17: "),
        (7, "12: nobody answers its calls (add service = \"…\")"),
        (8, "12: a second branch \"new\""),
        (9, "33: the branch \"default\" is the service of the API"),
        (10, "31: no service \"orders-v3\" (did you mean \"orders-v2\"?)"),
        (10, "63: "),
        (13, "14: a level without a condition would take every call"),
        (14, "15: 101 is no share (write 0 to 100)"),
        (15, "27: no branch \"nwe\" (did you mean \"new\"?)"),
        (16, "17: a range that ends before it begins"),
        (16, "33: blanks or control characters in a uid"),
        (17, "16: no values that it may have"),
        (18, "16: \"path\" is nothing of a call"),
        (19, "14: values of nothing"),
        (22, "8: a second split \"canary\""),
    ] {
        let expected = format!("catalog.toml:{}:{expected}", first + line);
        assert!(found.iter().any(|line| line.starts_with(&expected)), "{expected}\nis not in\n{}", found.join("\n"));
    }
    assert_eq!(found.len(), 17, "{}", found.join("\n"));
}

#[test]
fn an_api_names_a_split_that_is_there_and_has_a_service_for_the_rest() {
    let unknown = errors("[[split]]\nname = \"canari\"\n");
    assert_eq!(unknown, ["catalog.toml:11:9: no split \"canary\" (did you mean \"canari\"?)"]);
    let none = errors("");
    assert_eq!(none, ["catalog.toml:11:9: no split \"canary\" (add [[split]] with name = \"canary\")"]);
    let missing = errors("[[split]]\nname = \"canary\"\nlevels = [{ uid_file = \"gone\", branch = \"default\" }]\n");
    assert_eq!(missing.len(), 1, "{missing:?}");
    assert!(missing[0].starts_with("gone: cannot read the file"), "{missing:?}");
}

#[test]
fn what_was_counted_stays_while_the_split_says_the_same() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("uids"), "u7\n").unwrap();
    let first = compile(dir.path(), LEVELS, None).unwrap();
    let counts = |catalog: &Catalog| Arc::clone(&catalog.splits.find("canary").unwrap().branches()[1].counts);
    let same = compile(dir.path(), LEVELS, Some(&first)).unwrap();
    assert!(Arc::ptr_eq(&counts(&first), &counts(&same)));
    let changed = compile(dir.path(), &LEVELS.replace("percent = 5", "percent = 6"), Some(&same)).unwrap();
    assert!(!Arc::ptr_eq(&counts(&first), &counts(&changed)));
}

proptest::proptest! {
    #[test]
    fn a_uid_never_changes_its_branch_while_the_rule_stands(uid in "\\PC{1,20}", percent in 0_u32..=100) {
        let text = format!(
            "[[split]]\nname = \"canary\"\nbranches = [{{ name = \"new\", service = \"orders-v2\" }}]\n\
             levels = [{{ percent = {percent}, branch = \"new\" }}]\n"
        );
        let (one, other) = (split(&text), split(&text));
        let of = |split: &Split, client| chosen(split, Some(&uid), client, "/");
        proptest::prop_assert_eq!(of(&one, "203.0.113.9"), of(&other, "2001:db8::1"));
    }
}
