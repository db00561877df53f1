use std::path::Path;

use proptest::prelude::{Just, Strategy, any, prop, prop_assert_eq, prop_oneof, proptest};
use serde_json::json;

use super::*;

fn write(dir: &Path, name: &str, text: &str) {
    let path = dir.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

fn errors(dir: &Path) -> Vec<String> {
    match read(&mut Sources::new(dir)) {
        Ok(_) => Vec::new(),
        Err(errors) => errors.sorted().into_iter().map(ToString::to_string).collect(),
    }
}

const SERVICE: &str = "[[service]]\nname = \"orders\"\nendpoints = [\"127.0.0.1:9001\"]\n";
const API: &str = "[[api]]\nname = \"a.b\"\nservice = \"orders\"\npath = \"/\"\n";

#[test]
fn what_people_edit_and_what_the_api_writes_is_one_catalog() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), CATALOG, SERVICE);
    write(dir.path(), "catalog.d/api.a.b.toml", API);
    write(dir.path(), "catalog.d/api.x.toml.tmp-7", "half a file");
    write(dir.path(), "catalog.d/.api.y.toml", "an editor's copy");
    let mut sources = Sources::new(dir.path());
    let (document, objects) = read_all(&mut sources).unwrap();
    assert_eq!((document.value.service.len(), document.value.api.len()), (1, 1));
    assert_eq!(document.positions.error("api[0].path", "x", None).to_string(), "catalog.d/api.a.b.toml:4:8: x");
    assert_eq!(objects.get("api", "a.b").unwrap()["path"], "/");
    assert_eq!(sources.finish().1.len(), 2, "both are watched");
}

#[test]
fn catalog_toml_may_be_missing_where_there_is_a_folder() {
    let dir = tempfile::tempdir().unwrap();
    assert!(errors(dir.path())[0].starts_with("catalog.toml: cannot read the file"));
    write(dir.path(), "catalog.d/service.orders.toml", SERVICE);
    assert_eq!(errors(dir.path()), Vec::<String>::new());
}

#[test]
fn one_object_in_two_files_is_an_error_that_names_both() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), CATALOG, &format!("{SERVICE}{API}"));
    write(dir.path(), "catalog.d/api.a.b.toml", &format!("# mine\n{API}"));
    let found = errors(dir.path());
    assert_eq!(found, ["catalog.d/api.a.b.toml:3:8: the api \"a.b\" is in catalog.toml, too (remove one of the two)"]);
}

#[test]
fn a_file_of_the_folder_holds_the_one_object_it_is_named_after() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "catalog.d/api.other.toml", API);
    write(dir.path(), "catalog.d/two.toml", &format!("{SERVICE}{}", API.replace("a.b", "c")));
    write(dir.path(), "catalog.d/none.toml", "# nothing\n");
    let found = errors(dir.path());
    let expected = "a file in catalog.d holds one object and is named after it";
    assert_eq!(
        found,
        [
            format!("catalog.d/api.other.toml: {expected} (name it catalog.d/api.a.b.toml)"),
            format!("catalog.d/none.toml: {expected} (remove it, or write the object it is for)"),
            format!(
                "catalog.d/two.toml: {expected} (give each object a file of its own, or write them into catalog.toml)"
            ),
        ]
    );
}

#[test]
fn mistakes_are_told_with_the_file_they_are_in() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), CATALOG, &SERVICE.replace("endpoints", "endpoint"));
    write(dir.path(), "catalog.d/api.a.b.toml", &API.replace("path = \"/\"", "path = 1"));
    let found = errors(dir.path()).join("\n");
    assert!(found.contains("catalog.toml:3:1: unknown key \"endpoint\" in [service]"), "{found}");
    assert!(found.contains("catalog.d/api.a.b.toml:4:8: \"api[0].path\" must be a string, not 1"), "{found}");
}

#[test]
fn an_object_that_toml_or_a_file_name_cannot_say_is_refused() {
    let object = |value: Value| value.as_object().unwrap().clone();
    assert!(text_of("api", &object(json!({ "name": "../x" }))).unwrap_err().contains("is not a name"));
    assert!(text_of("api", &object(json!({ "path": "/" }))).is_err());
    assert!(text_of("api", &object(json!({ "name": "a", "hosts": [null] }))).is_err());
}

/// Any value that a key of the catalog could have.
fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (-1e9..1e9_f64).prop_map(Value::from),
        "\\PC{0,12}".prop_map(Value::from),
        Just("multi\nline \"quoted\" \\ '''".into()),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("[a-z_ .\"]{1,6}", inner, 0..4)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn an_object_written_to_a_file_is_read_as_it_was(
        name in "[A-Za-z0-9._-]{1,64}",
        fields in prop::collection::btree_map("[a-z_]{1,8}", value(), 0..6),
    ) {
        let mut object: Object = fields.into_iter().collect();
        object.insert("name".to_owned(), name.clone().into());
        let text = text_of("api", &object).unwrap();
        let file = SourceFile { path: path_of("api", &name), text };
        let read = objects(&file).unwrap();
        prop_assert_eq!(read.get("api", &name), Some(&object));
        prop_assert_eq!(expected_file(&file, &read), None);
    }
}

/// A key and what it may say, by a seed.
type Key = (&'static str, fn(u8) -> Value);

/// Some of the keys of a kind, each with a value that it takes.
fn some_of(keys: &'static [Key]) -> impl Strategy<Value = Object> {
    prop::collection::vec(any::<Option<u8>>(), keys.len()).prop_map(|seeds| {
        let written = keys.iter().zip(seeds).filter_map(|((key, value), seed)| Some(((*key).to_owned(), value(seed?))));
        written.collect()
    })
}

const SERVICE_KEYS: &[Key] = &[
    ("protocol", |seed| json!(if seed < 128 { "http1" } else { "h2c" })),
    ("strategy", |seed| json!(if seed < 128 { "round_robin" } else { "least_connections" })),
    ("balance", |seed| json!({ "slow_start": format!("{seed}s"), "prefer_own_zone": seed < 128 })),
    ("timeout", |seed| json!(format!("{}ms", u32::from(seed) + 1))),
    ("connections_max", |seed| json!(u32::from(seed) + 1)),
    ("ejection", |seed| json!({ "consecutive_failures": u32::from(seed) + 1 })),
    ("server_errors_count", |seed| json!(seed < 128)),
    ("probe", |seed| json!({ "path": "/healthz", "rise": seed })),
    ("endpoints", |seed| json!([{ "address": format!("10.0.0.{seed}:1"), "weight": 3, "zone": "a" }, "10.0.1.1:1"])),
];

const API_KEYS: &[Key] = &[
    ("hosts", |seed| json!([format!("h{seed}.example"), "*.example.com"])),
    ("methods", |seed| if seed < 128 { json!(["GET", "PUT"]) } else { json!([]) }),
    ("raw_path", |seed| json!(seed < 128)),
    ("timeout", |seed| json!(format!("{seed}s"))),
];

proptest! {
    /// A catalog means the same in files and in Redis, and whichever way it went from one to the other.
    #[test]
    fn a_catalog_means_the_same_in_files_and_in_redis(service in some_of(SERVICE_KEYS), api in some_of(API_KEYS)) {
        let (mut service, mut api) = (service, api);
        service.insert("name".to_owned(), "s".into());
        service.entry("endpoints").or_insert_with(|| json!(["10.0.0.1:1"]));
        for (key, value) in [("name", "a"), ("service", "s"), ("path", "/{*rest}")] {
            api.insert(key.to_owned(), value.into());
        }
        let files: Vec<SourceFile> = [("service", "s", &service), ("api", "a", &api)]
            .map(|(kind, name, object)| SourceFile { path: path_of(kind, name), text: text_of(kind, object).unwrap() })
            .into();
        let (from_files, objects) = understand(&files).unwrap();
        prop_assert_eq!(objects.get("service", "s"), Some(&service));
        prop_assert_eq!(objects.get("api", "a"), Some(&api));
        let document = objects.to_json().to_string();
        let again = Objects::from_json(serde_json::from_str(&document).unwrap()).unwrap();
        prop_assert_eq!(&again, &objects);
        let from_redis = gatehouse_shared::config::parse_json::<CatalogConfig>("", &again.to_json()).unwrap();
        prop_assert_eq!(format!("{:?}", from_redis.value), format!("{:?}", from_files.value));
    }

    #[test]
    fn no_document_makes_the_reader_panic(api in value(), service in value(), more in value()) {
        let document = json!({ "api": [api.clone()], "service": service, "more": more });
        drop(gatehouse_shared::config::parse_json::<CatalogConfig>("", &document));
        drop(Objects::from_json(document));
        if let Ok(objects) = Objects::from_json(json!({ "api": [api] })) {
            drop(crate::store::revision::candidate(objects));
        }
    }
}
