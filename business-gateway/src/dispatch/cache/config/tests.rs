use gatehouse_shared::config::Sources;

use super::*;
use crate::store::file;

/// What is wrong with a catalog whose API says this of its cache; empty for nothing.
fn wrong(cache: &str) -> Vec<String> {
    let dir = tempfile::tempdir().unwrap();
    let text = format!(
        "[[service]]\nname = \"s\"\nendpoints = [\"127.0.0.1:9\"]\n[[api]]\nname = \"a\"\nservice = \"s\"\n\
         path = \"/orders/{{id}}/{{*rest}}\"\ncache = {{ {cache} }}\n"
    );
    std::fs::write(dir.path().join(file::CATALOG), text).unwrap();
    let document = match file::read(&mut Sources::new(dir.path())) {
        Ok(document) => document,
        Err(errors) => return errors.sorted().into_iter().map(ToString::to_string).collect(),
    };
    let path = PathTemplate::parse(&document.value.api[0].path).unwrap();
    let at = At { positions: &document.positions, path: "api[0]".to_owned() };
    match OfApi::of(&document.value.api[0], &path, &at) {
        Ok(Some(_)) => Vec::new(),
        Ok(None) => panic!("there is a cache"),
        Err(errors) => errors.sorted().into_iter().map(ToString::to_string).collect(),
    }
}

#[test]
fn what_can_be_declared_is_taken() {
    for right in [
        "lifetime = \"30s\"",
        "lifetime = \"0s\"",
        "lifetime = \"1m\", cache_control = \"cap\", stale_while_revalidate = \"10s\", stale_if_error = \"1d\"",
        "lifetime = \"1m\", scope = \"user\", negative = { 404 = \"5s\", 410 = \"1m\" }, answer_max = \"64KiB\"",
        "lifetime = \"1m\", key = { path = [\"id\", \"rest\"], query = [], headers = [\"x-tenant\"], cookies = [\"c\"], plan = true }",
        "lifetime = \"1m\", tags = [\"orders\", \"order:{id}\", \"{rest}\"], tag_header = \"x-tags\", status = \"always\"",
        "lifetime = \"1m\", methods = [\"GET\", \"POST\"], key = { body = true }, pass = [\"user-agent\"], fleet = true",
    ] {
        assert_eq!(wrong(right), Vec::<String>::new(), "{right}");
    }
}

#[test]
fn what_cannot_work_is_named_with_a_remedy() {
    for (cache, expected) in [
        ("lifetime = \"32d\"", "longer than an answer is ever kept (write at most \"31d\")"),
        ("lifetime = \"1s\", negative = { 200 = \"5s\" }", "\"200\" is not the status of a failure"),
        ("lifetime = \"1s\", negative = { any = \"5s\" }", "\"any\" is not the status of a failure"),
        ("lifetime = \"0s\", cache_control = \"override\"", "no answer would ever be given"),
        ("lifetime = \"1s\", methods = [\"POST\"]", "what POST answers depends on its body"),
        ("lifetime = \"1s\", methods = [\"HEAD\"]", "HEAD is answered from what GET has brought"),
        ("lifetime = \"1s\", methods = []", "no method, so nothing is kept"),
        ("lifetime = \"1s\", key = { path = [\"no\"] }", "the path has no parameter \"no\""),
        ("lifetime = \"1s\", key = { headers = [\"cookie\"] }", "the header \"cookie\" is the cache's own business"),
        ("lifetime = \"1s\", key = { headers = [\"a b\"] }", "\"a b\" is not the name of a header"),
        ("lifetime = \"1s\", pass = [\"authorization\"]", "would be given to others"),
        ("lifetime = \"1s\", tags = [\"{no}\"]", "the path has no parameter \"no\""),
        ("lifetime = \"1s\", tags = [\"a b\"]", "a tag is visible ASCII"),
        ("lifetime = \"1s\", scope = \"user\", for_users = true", "answers of one user are for users already"),
        ("lifetime = \"1s\", answer_max = \"0B\"", "no answer would be kept"),
        ("lifetime = \"1s\", key = { cookies = [\"\"] }", "an empty name"),
    ] {
        let found = wrong(cache);
        assert!(found.len() == 1 && found[0].contains(expected), "{cache}: {found:?}");
        assert!(found[0].starts_with("catalog.toml:8:"), "{found:?}");
    }
    let errors = wrong("lifetime = \"1s\" }\npass_credentials = true\nx = { y = 1").join("\n");
    assert!(errors.contains('x'), "{errors}");
}
