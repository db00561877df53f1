use serde::Deserialize;

use super::*;
use crate::config::{ByteSize, HumanDuration, SecretSource};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "only read through Debug")]
struct Config {
    process: Process,
    #[serde(default)]
    accept: Accept,
    #[serde(default)]
    route: Vec<Route>,
    #[serde(default)]
    keys: Vec<Key>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "only read through Debug")]
struct Process {
    node: String,
    threads: usize,
    admin: std::net::SocketAddr,
    #[serde(default)]
    listener: Vec<Listener>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "only read through Debug")]
struct Listener {
    address: std::net::SocketAddr,
    #[serde(default)]
    tls: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Accept {
    head_max: ByteSize,
    head_timeout: HumanDuration,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Strategy {
    RoundRobin,
    LeastConnections,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "only read through Debug")]
struct Route {
    path_prefix: String,
    cluster: String,
    strategy: Option<Strategy>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "only read through Debug")]
struct Key {
    id: String,
    secret: SecretSource,
}

fn read(text: &str) -> Result<Document<Config>, ConfigErrors> {
    parse(&SourceFile { path: "edge.toml".into(), text: text.to_owned() })
}

fn findings(text: &str) -> String {
    read(text).unwrap_err().to_string()
}

const GOOD: &str = r#"
[process]
node = "edge-1"
threads = 2
admin = "127.0.0.1:9180"
[[process.listener]]
address = "0.0.0.0:8080"
[[route]]
path_prefix = "/"
cluster = "business"
strategy = "least_connections"
[[route]]
path_prefix = "/static"
cluster = "static"
"#;

#[test]
fn reads_a_good_file_and_knows_where_everything_is() {
    let document = read(GOOD).unwrap();
    assert_eq!(document.value.route.len(), 2);
    let at = |path: &str| {
        let error = document.positions.error(path, "", None);
        (error.line, error.column)
    };
    assert_eq!(at("process"), (2, 1));
    assert_eq!(at("process.threads"), (4, 11));
    assert_eq!(at("process.listener[0].address"), (7, 11));
    assert_eq!(at("route[1].cluster"), (14, 11));
    assert_eq!(at("route[1].strategy"), (12, 1), "an item that is not written is where its table is");
    assert_eq!(at("accept.head_max"), (1, 1));
    assert!(document.positions.contains("route[0].strategy"));
    assert!(!document.positions.contains("route[1].strategy"));
}

#[test]
fn tells_every_error_at_once() {
    let text = r#"
colour = "red"
[process]
node = 5
threads = "two"
admin = "127.0.0.1:9180"
nodes = 3
[[process.listener]]
adress = "0.0.0.0:8080"
tls = "yes"
[accept]
head_max = "64KB"
head_timeout = 10
[[route]]
path_prefix = "/"
cluster = "business"
strategy = "round-robin"
[[route]]
strategy = "least_connections"
[[keys]]
id = "a"
secret = { fil = "hop.key" }
"#;
    assert_eq!(
        findings(text),
        r#"edge.toml:2:1: unknown key "colour" at the top level (known: "process", "accept", "route", "keys")
edge.toml:4:8: "process.node" must be a string, not 5
edge.toml:5:11: "process.threads" must be a whole number that is not negative, not "two"
edge.toml:7:1: unknown key "nodes" in [process] (did you mean "node"?)
edge.toml:8:1: missing key "address" in [process.listener]
edge.toml:9:1: unknown key "adress" in [process.listener] (did you mean "address"?)
edge.toml:10:7: "process.listener[0].tls" must be true or false, not "yes"
edge.toml:12:12: "accept.head_max": "64KB" is not a size (a whole number with B, KiB, MiB or GiB, such as "64KiB")
edge.toml:13:16: "accept.head_timeout" must be a duration with its unit, as a string, not 10
edge.toml:17:12: "route[0].strategy" cannot be "round-robin" (did you mean "round_robin"?)
edge.toml:18:1: missing key "cluster" in [route]
edge.toml:18:1: missing key "path_prefix" in [route]
edge.toml:22:12: unknown key "fil" in [keys.secret] (did you mean "file"?)"#
    );
}

#[test]
fn tells_missing_tables_and_keys() {
    assert_eq!(findings(""), "edge.toml:1:1: missing key \"process\" at the top level");
    assert_eq!(
        findings("[process]\nthreads = 1\n"),
        "edge.toml:1:1: missing key \"admin\" in [process]\nedge.toml:1:1: missing key \"node\" in [process]"
    );
}

#[test]
fn tells_every_syntax_error() {
    assert_eq!(
        findings("[process]\nnode = \"edge\nthreads = = 2\nnode 1\n"),
        r##"edge.toml:2:13: invalid basic string (expected """)
edge.toml:3:11: extra `=`
edge.toml:3:13: unexpected key or value (expected newline, "#")
edge.toml:4:6: key with no value (expected "=")"##
    );
}

#[test]
fn tells_syntax_errors_in_plain_words() {
    for (text, finding) in [
        ("node = 1\nnode = 2", "2:1: \"node\" is there twice"),
        ("[process]\n[process]", "2:2: \"process\" is there twice"),
        ("node = ", "1:8: there must be a value here; texts stand in quotes"),
        ("node = edge", "1:8: there must be a value here; texts stand in quotes"),
        ("threads = 08", "1:11: unexpected leading zero"),
        ("[process", "1:9: unclosed table (expected \"]\")"),
    ] {
        assert_eq!(findings(text), format!("edge.toml:{finding}"), "{text}");
    }
}

#[test]
fn a_wrong_value_does_not_hide_what_else_its_table_lacks() {
    let text = "[process]\nnode = \"e\"\nthreads = 1\nadmin = \"nowhere\"\n[[route]]\npath_prefix = 1\n";
    assert_eq!(
        findings(text),
        "edge.toml:4:9: \"process.admin\" must be an address with its port, such as \"127.0.0.1:8080\"\n\
         edge.toml:5:1: missing key \"cluster\" in [route]\n\
         edge.toml:6:15: \"route[0].path_prefix\" must be a string, not 1"
    );
}

#[test]
fn gives_up_after_a_hundred_findings() {
    let text: String = (0..300).map(|n| format!("k{n} = 1\n")).collect();
    assert_eq!(read(&text).unwrap_err().len(), 100);
}

proptest::proptest! {
    #[test]
    fn no_text_makes_the_parser_panic(text in ".{0,200}") {
        let _outcome = read(&text);
    }

    #[test]
    fn no_damage_to_a_good_file_makes_the_parser_panic(at in 0..GOOD.len(), with in ".{0,3}") {
        if let Some((before, after)) = GOOD.split_at_checked(at) {
            let _outcome = read(&format!("{before}{with}{after}"));
        }
    }
}

fn files(texts: &[(&str, &str)]) -> Vec<SourceFile> {
    texts.iter().map(|(path, text)| SourceFile { path: path.into(), text: (*text).to_owned() }).collect()
}

#[test]
fn several_files_are_one_and_every_place_names_its_own() {
    let more = "\n[[route]]\npath_prefix = \"/more\"\ncluster = \"more\"\n";
    let document = parse_all::<Config>(&files(&[("edge.toml", GOOD), ("more.toml", more)])).unwrap();
    assert_eq!(document.value.route.len(), 3);
    let error = document.positions.error("route[2].cluster", "x", None);
    assert_eq!(error.to_string(), "more.toml:4:11: x");
    assert_eq!(document.positions.file_of("route[2].strategy"), "more.toml");
    assert_eq!(document.positions.file_of("route[1]"), "edge.toml");
}

#[test]
fn what_is_wrong_in_several_files_is_told_of_all() {
    let broken =
        [("edge.toml", GOOD), ("a.toml", "[[route]]\npath_prefix = 1\n"), ("b.toml", "route = [{ colour = 1 }]\n")];
    let errors = parse_all::<Config>(&files(&broken)).unwrap_err().to_string();
    for expected in [
        "a.toml:1:1: missing key \"cluster\" in [route]",
        "a.toml:2:15: \"route[2].path_prefix\" must be a string, not 1",
        "b.toml:1:12: unknown key \"colour\" in [route]",
    ] {
        assert!(errors.contains(expected), "{errors}");
    }
    let syntax = [("edge.toml", "[process"), ("a.toml", "x = ")];
    let errors = parse_all::<Config>(&files(&syntax)).unwrap_err().to_string();
    assert!(errors.contains("edge.toml:1:9") && errors.contains("a.toml:1:5"), "{errors}");
    let twice =
        [("edge.toml", GOOD), ("a.toml", "[[route]]\npath_prefix = \"/\"\ncluster = \"x\"\n[process]\nnode = \"e\"\n")];
    let errors = parse_all::<Config>(&files(&twice)).unwrap_err().to_string();
    assert_eq!(errors, "a.toml:4:2: \"process\" is in edge.toml already (only lists can be in several files)");
}

#[test]
fn a_json_document_is_read_alike_and_its_places_are_paths() {
    let good = serde_json::json!({
        "process": { "node": "edge-1", "threads": 2, "admin": "127.0.0.1:9180", "listener": null },
        "route": [{ "path_prefix": "/", "cluster": "business" }],
    });
    let mut good = good;
    good["route"][0]["strategy"] = serde_json::Value::Null;
    let document = parse_json::<Config>("edge.json", &good).unwrap();
    assert_eq!(document.value.route[0].path_prefix, "/");
    assert_eq!(document.positions.error("route[0].strategy", "x", None).to_string(), "edge.json:route[0].strategy: x");
    good["process"]["threads"] = "two".into();
    good["route"][0]["colour"] = 1.into();
    good["accept"] = serde_json::json!({ "head_max": 5.5, "head_timeout": ["1s", null, 1e300, -3] });
    let errors = parse_json::<Config>("", &good).unwrap_err().to_string();
    for expected in [
        "process.threads: \"process.threads\" must be a whole number that is not negative, not \"two\"",
        "route[0].colour: unknown key \"colour\" in [route]",
        "accept.head_max: \"accept.head_max\" must be",
        "accept.head_timeout: \"accept.head_timeout\" must be",
    ] {
        assert!(errors.contains(expected), "{errors}");
    }
    assert_eq!(
        parse_json::<Config>("x", &serde_json::json!([])).unwrap_err().to_string(),
        "x: the document is not an object"
    );
}
