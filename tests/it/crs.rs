//! The OWASP Core Rule Set at the edge: loaded from its directory, reloaded with its settings; and messages of its regression
//! suite that a server has to refuse by itself.

#[path = "../../traffic-gateway/waf/tests/crs/suite.rs"]
mod suite;
#[path = "../../traffic-gateway/waf/tests/crs/yaml.rs"]
mod yaml;

use std::collections::BTreeSet;

use gatehouse_tests::client::{Raw, empty};
use gatehouse_tests::site::{Plan, Site};
use http::Method;

use crate::Passed;

/// Their numbers, a line each.
const REFUSED: &str = include_str!("../../traffic-gateway/waf/tests/crs/refused_by_http.txt");

#[tokio::test]
async fn messages_of_the_suite_that_no_rule_should_see_are_refused() -> Passed {
    let Some(directory) = suite::directory() else { return Ok(()) };
    let site = Site::plan().start().await?;
    let mut listed: BTreeSet<&str> = REFUSED.lines().filter(|line| !line.starts_with('#')).collect();
    for case in suite::read(&directory)?.iter().filter(|case| listed.remove(case.name.as_str())) {
        for stage in &case.stages {
            assert!(stage.expected.status.is_some(), "{}", case.name);
            let mut raw = Raw::open(&site.target()).await?;
            raw.write(&stage.message).await?;
            assert_eq!(raw.final_answer().await?.status, 400, "{}", case.name);
        }
    }
    assert!(listed.is_empty(), "the suite has no {listed:?}");
    Ok(())
}

/// A rule set as a release is laid out: a setup, a rule that compares with what it may set, a plugin that takes an argument away.
fn small(settings: &str) -> Plan {
    const SETUP: &str = "SecDefaultAction \"phase:1,log,pass\"\nSecDefaultAction \"phase:2,log,pass\"\n";
    const RULES: &str = "SecRule &ARGS \"@gt %{tx.max_num_args}\" \"id:920380,phase:2,deny,msg:'too many arguments'\"
SecRule ARGS \"@contains evil-payload\" \"id:942100,phase:2,deny,msg:'evil payload'\"\n";
    const PLUGIN: &str = "SecRule REQUEST_FILENAME \"@beginsWith /echo\" \\
        \"id:9500000,phase:1,pass,nolog,ctl:ruleRemoveTargetById=942100;ARGS:note\"\n";
    Site::plan()
        .edge(settings)
        .edge_file("crs/crs-setup.conf.example", SETUP)
        .edge_file("crs/rules/REQUEST-920-PROTOCOL-ENFORCEMENT.conf", RULES)
        .edge_file("crs/plugins/shop-before.conf", PLUGIN)
}

#[tokio::test]
async fn a_rule_set_is_loaded_from_its_directory_with_its_plugins_and_settings() -> Passed {
    let settings = |most: u32| format!("[waf]\ncrs = \"crs\"\n[waf.crs_variables]\nmax_num_args = {most}\n");
    let mut site = small(&settings(2)).start().await?;
    assert_eq!(site.target().get("/products?a=1&b=2").await?.status.as_u16(), 200);
    assert_eq!(site.target().get("/products?a=1&b=2&c=3").await?.code(), "waf_denied");
    assert_eq!(site.target().get("/products?note=evil-payload").await?.code(), "waf_denied");
    assert_eq!(site.target().get("/echo?note=evil-payload").await?.status.as_u16(), 200, "the plugin");
    site.edge_mut()?.reconfigure(&settings(3)).await?;
    assert_eq!(site.target().get("/products?a=1&b=2&c=3").await?.status.as_u16(), 200);
    let checked = site.edge()?.command(&["rules", "check"])?;
    let said = String::from_utf8(checked.stdout)?;
    assert!(said.contains("4 rules, 4 of them active\n") && said.ends_with("valid, 0 warnings\n"), "{said}");
    Ok(())
}

#[tokio::test]
async fn the_whole_rule_set_refuses_attacks_and_lets_ordinary_requests_pass() -> Passed {
    let Some(directory) = suite::directory() else { return Ok(()) };
    let directory = directory.canonicalize()?;
    let settings = format!("[waf]\ncrs = \"{}\"\nearly_blocking = true\nreporting_level = 2\n", directory.display());
    let site = Site::plan().edge(settings).start().await?;
    assert_eq!(site.target().get("/products?q=blue+shoes&page=2").await?.status.as_u16(), 200);
    // What rules of the first phase score is refused before there is a body; most look in the second.
    for (target, agent, rule) in [
        ("/products", "sqlmap/1.8", "949111"),
        ("/products?q=%3Cscript%3Ealert(1)%3C/script%3E", "Mozilla/5.0", "949110"),
    ] {
        let request = site.target().request(Method::GET, target)?.header("user-agent", agent).body(empty())?;
        let refused = site.target().exchange(request).await?;
        assert_eq!((refused.status.as_u16(), refused.code().as_str()), (403, "waf_denied"), "{target}");
        let id = refused.header("x-request-id").to_owned();
        let line = site.edges[0].security_line("the refusal", |line| line["request_id"] == id.as_str()).await?;
        assert_eq!(line["rule"], rule, "{line}");
    }
    Ok(())
}
