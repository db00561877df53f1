use std::path::Path;

use gatehouse_shared::config::Sources;

use super::*;
use crate::admit::flow_rule::Bounds;
use crate::admit::validation::document::Documents;
use crate::store::file;

/// The catalog `text`, read from a file in `dir`.
pub(crate) fn compile(dir: &Path, text: &str) -> Result<Catalog, ConfigErrors> {
    std::fs::write(dir.join(file::CATALOG), text).unwrap();
    let document = file::read(&mut Sources::new(dir))?;
    let defaults = crate::dispatch::Config::default();
    let (flow, uids) = (Bounds::default(), crate::dispatch::split::uids::UidFiles::default());
    let (documents, aggregate) = (Documents::default(), Default::default());
    let surroundings = Surroundings {
        defaults: &defaults,
        zone: None,
        flow: &flow,
        documents: &documents,
        uids: &uids,
        aggregate: &aggregate,
    };
    Catalog::compile(&document, surroundings, None)
}

/// A service with one endpoint; `more` are further keys.
pub(crate) fn service(dir: &Path, more: &str) -> Arc<Service> {
    let text = format!("[[service]]\nname = \"sample\"\nendpoints = [\"127.0.0.1:9\"]\n{more}\n");
    let catalog = compile(dir, &text).unwrap_or_else(|errors| panic!("{errors}"));
    Arc::clone(&catalog.services["sample"])
}

/// What is wrong with a catalog, by place.
pub(crate) fn errors(text: &str) -> Vec<String> {
    let dir = tempfile::tempdir().unwrap();
    match compile(dir.path(), text) {
        Ok(_) => Vec::new(),
        Err(errors) => errors.sorted().into_iter().map(ToString::to_string).collect(),
    }
}

const SERVICE: &str = "[[service]]\nname = \"orders\"\nendpoints = [\"127.0.0.1:9001\"]\n";

#[test]
fn every_mistake_is_named_with_its_line_and_what_to_do() {
    let text = "\
[[service]]
name = \"orders\"
endpoints = [\"localhost:9001\", \"127.0.0.1:1\", \"127.0.0.1:1\", \"127.0.0.1:0\"]
connections_max = 0
[[service]]
name = \"bad name\"
endpoints = []
[[api]]
name = \"a\"
service = \"order\"
methods = [\"get\", \"PUT\", \"PUT\"]
hosts = [\"a b\", \"x.example:80\"]
path = \"orders\"
[[api]]
name = \"a\"
service = \"orders\"
path = \"/x\"
";
    let found = errors(text);
    for expected in [
        "catalog.toml:3:14: \"localhost:9001\" is not an address",
        "catalog.toml:3:47: the endpoint \"127.0.0.1:1\" twice",
        "catalog.toml:3:62: \"127.0.0.1:0\" has no port",
        "catalog.toml:4:19: no connection, so no call",
        "catalog.toml:6:8: \"bad name\" is not a name",
        "catalog.toml:7:13: no endpoint, so nobody answers",
        "catalog.toml:10:11: no service \"order\" (did you mean \"orders\"?)",
        "catalog.toml:11:12: \"get\" is not a method",
        "catalog.toml:11:26: the method \"PUT\" twice",
        "catalog.toml:12:10: \"a b\" is not a host",
        "catalog.toml:12:17: \"x.example:80\" is not a host",
        "catalog.toml:13:8: \"orders\" is not a path: a path starts with a slash",
        "catalog.toml:15:8: a second API \"a\"",
    ] {
        assert!(found.iter().any(|line| line.starts_with(expected)), "{expected}\nis not in\n{}", found.join("\n"));
    }
    assert_eq!(found.len(), 13, "{}", found.join("\n"));
}

#[test]
fn an_unknown_service_is_offered_to_be_added() {
    let text = "[[api]]\nname = \"a\"\nservice = \"orders\"\npath = \"/\"\n";
    assert_eq!(errors(text), ["catalog.toml:3:11: no service \"orders\" (add [[service]] with name = \"orders\")"]);
}

#[test]
fn an_ambiguous_pair_is_named_at_both_places() {
    let text = format!(
        "{SERVICE}[[api]]\nname = \"a\"\nservice = \"orders\"\npath = \"/orders/{{id}}\"\n\
         [[api]]\nname = \"b\"\nservice = \"orders\"\nmethods = [\"GET\"]\npath = \"/orders/{{number}}\"\n"
    );
    let found = errors(&text);
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found[0].starts_with("catalog.toml:7:8: ") && found[1].starts_with("catalog.toml:12:8: "), "{found:?}");
    assert!(found.iter().all(|line| line.contains("\"a\"") && line.contains("\"b\"")), "{found:?}");
}

#[test]
fn what_is_not_written_comes_from_the_defaults() {
    let dir = tempfile::tempdir().unwrap();
    let text = format!("{SERVICE}timeout = \"3s\"\n[[api]]\nname = \"a\"\nservice = \"orders\"\npath = \"/\"\n");
    let catalog = compile(dir.path(), &text).unwrap();
    assert_eq!(catalog.apis[0].timeout, None);
    assert_eq!(catalog.services["orders"].timeout, std::time::Duration::from_secs(3));
    assert_eq!(catalog.apis[0].path_to_service, PathToService::Canonical);
    assert!(catalog.services["orders"].probe.is_none());
}
