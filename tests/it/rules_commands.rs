//! `traffic-gateway rules …`: what the commands say of rules, of requests and of what was refused.

use std::fs;
use std::process::{Command, Output};

use gatehouse_tests::binaries;
use gatehouse_tests::site::node::Node;
use gatehouse_tests::site::{Plan, Site};
use serde_json::{Value, json};

use crate::Passed;

const RULES: &str = "# Rules of a test.
SecAction \"id:10000,phase:1,pass,nolog,t:none\"
SecRule ARGS \"@contains evil\" \"id:10001,phase:2,deny,status:403,t:none,t:urlDecodeUni,t:lowercase,msg:'evil'\"
SecRule REQUEST_HEADERS:User-Agent \"@streq bad\" \"id:10002,phase:1,deny,status:406,msg:'bad agent'\"
";

const EDGE: &str = "[process]\nstate_dir = \"state\"\n[[process.listener]]\naddress = \"127.0.0.1:0\"\n\
                    [hop]\nkeys = []\n[waf]\nrules = [\"first.conf\", \"rules.conf\"]\n";

/// Runs `traffic-gateway rules …`; gives the exit code and all that it has said.
fn rules(arguments: &[&str]) -> anyhow::Result<(i32, String)> {
    said(&Command::new(binaries::find("traffic-gateway")?).arg("rules").args(arguments).output()?)
}

/// The same on the configuration of a node.
fn rules_of(edge: &Node, arguments: &[&str]) -> anyhow::Result<(i32, String)> {
    said(&edge.command(&[&["rules"], arguments].concat())?)
}

fn said(output: &Output) -> anyhow::Result<(i32, String)> {
    let text = String::from_utf8(output.stdout.clone())? + &String::from_utf8_lossy(&output.stderr);
    Ok((output.status.code().unwrap_or(-1), text))
}

/// A directory with a configuration of these rules, which no edge runs.
struct Written(tempfile::TempDir);

impl Written {
    fn new(rules: &str) -> anyhow::Result<Self> {
        let written = Self(tempfile::tempdir()?);
        written.file("edge.toml", EDGE)?;
        written.file("first.conf", "# Nothing yet.\n")?;
        written.file("rules.conf", rules)?;
        Ok(written)
    }

    fn dir(&self) -> &str {
        self.0.path().to_str().unwrap()
    }

    fn file(&self, name: &str, text: &str) -> anyhow::Result<String> {
        let path = self.0.path().join(name);
        fs::write(&path, text)?;
        Ok(path.display().to_string())
    }
}

fn plan() -> Plan {
    Site::plan()
        .edge("[waf]\nrules = [\"first.conf\", \"rules.conf\"]\n")
        .edge_file("first.conf", "# Nothing yet.\n")
        .edge_file("rules.conf", RULES)
}

#[test]
fn check_counts_what_there_is_and_names_what_is_doubtful() -> Passed {
    let more = "SecAuditEngine Off\n\
                SecRule TX:detection_paranoia_level \"@lt 2\" \"id:10003,phase:2,pass,nolog,skipAfter:END\"\n\
                SecRule ARGS:a \"@streq x\" \"id:10004,phase:2,deny,chain,tag:'paranoia-level/2'\"\nSecRule ARGS:b \"@rx y\"\n\
                SecMarker END\n";
    let written = Written::new(&format!("{RULES}{more}"))?;
    let (code, text) = rules(&["check", "--config", written.dir()])?;
    assert_eq!(code, 0, "{text}");
    for line in [
        "warning: rules.conf:5:1: ",
        "5 rules, 3 of them active\n",
        "  by phase: phase 1: 2, phase 2: 3\n",
        "  by paranoia: none: 4, level 2: 1; up to level 1 they block, up to 1 they run\n",
        "1 chain with 1 further link, 1 marker, 0 lines of plain lists\n",
        "without effect here: SecAuditEngine (1)\n",
        "valid, 1 warning\n",
    ] {
        assert!(text.contains(line), "{line} in:\n{text}");
    }
    let (code, _) = rules(&["check", "--strict", "--config", written.dir()])?;
    assert_eq!(code, 64, "warnings count with --strict");
    written.file("rules.conf", &format!("{RULES}{more}").replace("@rx y", "@rx ("))?;
    let (code, text) = rules(&["check", "--config", written.dir()])?;
    assert!(code == 64 && text.contains("rules.conf:8:"), "a rule that is off is checked as well: {text}");
    let lists = written.0.path().join("wafconf");
    fs::create_dir(&lists)?;
    fs::write(lists.join("args"), "# a comment\n\\bunion\\s+select\\b\n\\.\\./\\.\\./\n")?;
    let (code, text) = rules(&["check", lists.to_str().unwrap()])?;
    assert!(code == 0 && text.contains("2 lines of plain lists"), "{text}");
    Ok(())
}

#[test]
fn check_names_every_error_with_its_place() -> Passed {
    let written = Written::new("SecRuel ARGS x\nSecRule ARGS \"@contain x\" \"id:1,phase:2,deny\"\n")?;
    let (code, text) = rules(&["check", "--config", written.dir()])?;
    assert_eq!(code, 64, "{text}");
    assert!(text.contains("rules.conf:1:1: ") && text.contains("rules.conf:2:"), "{text}");
    let file = written.file("alone.conf", "SecRule ARGS \"@rx (\" \"id:1,phase:2,deny\"\n")?;
    let (code, text) = rules(&["check", &file])?;
    assert!(code == 64 && text.contains("alone.conf:1:"), "{text}");
    assert_eq!(rules(&["check", "--config", "/no/such/directory"])?.0, 64);
    Ok(())
}

#[test]
fn test_passes_what_is_as_expected_and_shows_what_is_not() -> Passed {
    let written = Written::new(RULES)?;
    let cases = written.0.path().join("cases/deeper");
    fs::create_dir_all(&cases)?;
    let good = "# Good.\nGET /?q=good HTTP/1.1\nHost: shop.test\n\n----\npass\nmust: 10000\nmust-not: 10001\n====\n\
                # Evil in a body.\nPOST / HTTP/1.1\nHost: shop.test\nContent-Type: application/x-www-form-urlencoded\n\na=%45vil\n----\ndeny\nmust: 10001\n";
    fs::write(cases.join("good.http"), good)?;
    let directory = written.0.path().join("cases").display().to_string();
    let (code, text) = rules(&["test", "--config", written.dir(), &directory])?;
    assert!(code == 0 && text.ends_with("2 cases: 2 as expected, 0 not\n"), "{text}");
    let bad = "# Passes.\nGET /?q=good HTTP/1.1\nHost: shop.test\n\n----\ndeny\nmust: 10001, 10002\n====\n\
               # Is refused.\nGET /?q=evil HTTP/1.1\nHost: shop.test\n\n----\npass\nmust-not: 100*\n";
    fs::write(cases.join("wrong.http"), bad)?;
    let (code, text) = rules(&["test", "--config", written.dir(), &directory])?;
    assert_eq!(code, 1, "{text}");
    for line in [
        "wrong.http:1: Passes.\n  expected deny, got pass\n  did not match: 10001, 10002\n",
        "wrong.http:9: Is refused.\n  expected pass, got deny by 10001",
        "  matched and must not: 10000, 10001\n",
        "wrong.http: 0 of 2 cases as expected\n",
        "4 cases: 2 as expected, 2 not\n",
    ] {
        assert!(text.contains(line), "{line} in:\n{text}");
    }
    fs::write(cases.join("wrong.http"), "no case\n")?;
    let (code, text) = rules(&["test", "--config", written.dir(), &directory])?;
    assert!(code == 1 && text.contains("wrong.http: line 1"), "{text}");
    Ok(())
}

#[test]
fn explain_shows_every_match_and_the_decision() -> Passed {
    let written = Written::new(RULES)?;
    let request = written.file("request", "GET /products?q=%2545vil\u{20}HTTP/1.1\r\nHost: shop.test\r\n\r\n")?;
    let (code, text) = rules(&["explain", "--config", written.dir(), &request])?;
    assert_eq!(code, 0, "{text}");
    for line in [
        "rule 10001 in phase 2, rules.conf:3\n  message: evil\n  matched: ARGS:q = \"evil\"\n",
        "  transformations: urlDecodeUni → lowercase\n",
        "matched without being logged: 10000\n",
        "score of the request: 0, refused from 5 on\n",
        "decision: refused with 403 by rule 10001\n",
    ] {
        assert!(text.contains(line), "{line} in:\n{text}");
    }
    let request = written.file("request", "# Good.\nGET /products HTTP/1.1\nHost: shop.test\n\n----\npass\n")?;
    let (_, text) = rules(&["explain", "--config", written.dir(), &request])?;
    assert!(text.ends_with("decision: passes\n"), "{text}");
    let request = written.file("request", "GET /products\n")?;
    let (code, text) = rules(&["explain", "--config", written.dir(), &request])?;
    assert!(code == 1 && text.contains("request: line 1: a request line needs"), "{text}");
    Ok(())
}

#[test]
fn replay_tells_what_other_rules_would_change() -> Passed {
    let (running, candidate) =
        (Written::new(RULES)?, Written::new(&RULES.replace("evil", "wicked").replace("10001", "10011"))?);
    let line = |target: &str, agent: &str| {
        json!({"method": "GET", "host": "shop.test", "target": target, "user_agent": agent}).to_string()
    };
    let mut lines: Vec<String> = (0..5).map(|number| line(&format!("/?n={number}&q=wicked"), "curl")).collect();
    lines.extend([line("/?q=evil", "curl"), line("/?q=evil", "bad"), line("/", "curl")]);
    lines.extend(["not a line".to_owned(), json!({"event": "denial", "count": 7}).to_string()]);
    let log = running.file("access.log", &lines.join("\n"))?;
    let cases = running.file("more.http", "# One.\nGET /?q=evil HTTP/1.1\nHost: shop.test\n\n----\ndeny\n")?;
    let (code, text) = rules(&["replay", "--config", running.dir(), "--candidate", candidate.dir(), &log, &cases])?;
    assert_eq!(code, 0, "{text}");
    for line in [
        "newly blocked by rule 10011 (wicked): 5 requests\n",
        "access.log:3: GET /?n=2&q=wicked\n",
        "newly allowed by rule 10001 (evil): 2 requests\n",
        "more.http:1: GET /?q=evil\n",
        "not replayed: 2 lines\n",
        "access.log:9: no JSON object\n",
        "access.log:10: no method or no target\n",
        "9 requests: 5 newly blocked, 2 newly allowed, 1 blocked by both\n",
    ] {
        assert!(text.contains(line), "{line} in:\n{text}");
    }
    assert!(!text.contains("/?n=3"), "three examples are enough:\n{text}");
    let log = running.file("access.log", "nothing\n")?;
    let (code, text) = rules(&["replay", "--config", running.dir(), "--candidate", candidate.dir(), &log])?;
    assert!(code == 1 && text.contains("there is no request"), "{text}");
    Ok(())
}

/// Refuses a request at a running edge; gives its id once it is in the security log.
async fn refused(site: &Site, path: &str) -> anyhow::Result<String> {
    let answer = site.target().get(path).await?;
    assert_eq!(answer.code(), "waf_denied");
    let id = answer.header("x-request-id").to_owned();
    site.edges[0].security_line("the refusal", |line| line.to_string().contains(&id)).await?;
    Ok(id)
}

#[tokio::test]
async fn exclude_lets_the_value_pass_on_its_path_and_nothing_else() -> Passed {
    let site = plan().start().await?;
    let edge = &site.edges[0];
    let id = refused(&site, "/products?q=evil").await?;
    let (code, text) = rules_of(edge, &["exclude", &id])?;
    assert_eq!(code, 0, "{text}");
    assert!(text.starts_with(&format!("# Request {id}, 20")) && text.contains("rule 10001, evil\n"), "{text}");
    let directive = "SecRule REQUEST_FILENAME \"@streq /products\" \\\n    \
                     \"id:90000,phase:1,pass,nolog,t:none,ctl:ruleRemoveTargetById=10001;ARGS:q\"\n";
    assert!(text.ends_with(directive), "{text}");
    let generation = edge.admin()?.generation().await?;
    let file = edge.config().join("first.conf");
    let (code, text) = rules_of(edge, &["exclude", &id, "--write", file.to_str().unwrap()])?;
    assert_eq!(code, 0, "{text}");
    assert!(fs::read_to_string(&file)?.starts_with("# Nothing yet.\n# Request"), "{text}");
    edge.poke()?;
    edge.wait_for_generation(generation + 1).await?;
    assert_eq!(site.target().get("/products?q=evil").await?.status, 200);
    assert_eq!(site.target().get("/products?r=evil").await?.code(), "waf_denied", "another argument");
    assert_eq!(site.target().get("/users/1?q=evil").await?.code(), "waf_denied", "another path");
    let (code, text) = rules_of(edge, &["exclude", &id, "--everywhere"])?;
    assert!(code == 0 && text.ends_with("SecRuleUpdateTargetById 10001 \"!ARGS:q\"\n"), "{text}");
    // What clients name is never written as it came.
    let id = refused(&site, "/products?a%22%20%22id:1=evil").await?;
    let (_, text) = rules_of(edge, &["exclude", &id, "--everywhere"])?;
    assert!(text.ends_with("\"!ARGS:/^a\\x22\\x20\\x22id\\x3a1$/\"\n"), "{text}");
    Ok(())
}

#[tokio::test]
async fn exclude_reads_every_format_of_the_security_log() -> Passed {
    let mut site = plan().start().await?;
    for format in ["modsecurity", "ecs"] {
        site.edge_mut()?.reconfigure(&format!("[security_log]\nformat = \"{format}\"\n")).await?;
        let id = refused(&site, "/products?q=evil").await?;
        let (code, text) = rules_of(&site.edges[0], &["exclude", &id])?;
        assert!(
            code == 0 && text.contains("\"@streq /products\"") && text.contains("10001;ARGS:q\""),
            "{format}: {text}"
        );
    }
    Ok(())
}

#[tokio::test]
async fn exclude_writes_nothing_that_does_not_load_or_has_no_effect() -> Passed {
    let site = plan().start().await?;
    let edge = &site.edges[0];
    let (code, text) = rules_of(edge, &["exclude", "no-such-id"])?;
    assert!(code == 1 && text.contains("there is no request no-such-id"), "{text}");
    let id = refused(&site, "/products?q=evil").await?;
    let elsewhere = edge.config().join("elsewhere.conf");
    let (code, text) = rules_of(edge, &["exclude", &id, "--write", elsewhere.to_str().unwrap()])?;
    assert!(code == 64 && text.contains("is not one of the files"), "{text}");
    assert!(!elsewhere.exists(), "it was taken back");
    // A rule of phase 1 has run before a file behind it is reached.
    let denial = json!({"stage": "waf", "request_id": "x", "target": "/", "rule": "10002", "rules": [
        {"id": 10002, "message": "bad agent", "score": 0, "matched_in": "REQUEST_HEADERS:user-agent", "matched": "bad"}]});
    let (log, last) = (edge.state().join("x.log"), edge.config().join("rules.conf"));
    fs::write(&log, denial.to_string())?;
    let arguments = ["exclude", "x", "--log", log.to_str().unwrap(), "--write", last.to_str().unwrap()];
    let (code, text) = rules_of(edge, &arguments)?;
    assert!(code == 64 && text.contains("read after rule 10002"), "{text}");
    assert_eq!(fs::read_to_string(&last)?, RULES);
    // A last line that goes on would swallow what is appended.
    let open = format!("{RULES}SecMarker END \\\n");
    edge.write("rules.conf", &open)?;
    let (code, text) = rules_of(edge, &[&arguments[..], &["--everywhere"]].concat())?;
    assert!(code == 64 && text.contains("rules.conf:"), "{text}");
    assert_eq!(fs::read_to_string(&last)?, open);
    fs::write(&log, denial.to_string().replace("10002", "77777"))?;
    let (code, text) = rules_of(edge, &arguments)?;
    assert!(code == 1 && text.contains("# rule 77777 is not in this configuration"), "{text}");
    Ok(())
}

#[tokio::test]
async fn report_shows_what_has_matched_and_what_never_has() -> Passed {
    let mut site = plan().start().await?;
    for _ in 0..3 {
        assert_eq!(site.target().get("/products?q=evil").await?.code(), "waf_denied");
    }
    let (code, text) = rules_of(&site.edges[0], &["report"])?;
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("\t10001\t2\trules.conf:3\tevil\n"), "{text}");
    assert!(text.lines().any(|line| line.starts_with("3\t") && line.contains("\t10001\t")), "{text}");
    // Whether the rule with nolog is there depends on which requests are counted.
    let never = text.lines().find(|line| line.starts_with("never matched: ")).unwrap_or_default();
    assert!(never.ends_with("10002") && !never.contains("10001"), "{text}");
    // One request in 64 is counted, and how long its rules took.
    let mut tries = 0;
    let times = loop {
        site.target().get("/products?q=evil").await?;
        let (_, text) = rules_of(&site.edges[0], &["report"])?;
        let line = text.lines().find(|line| line.contains("\t10001\t")).unwrap_or_default().to_owned();
        tries += 1;
        if line.contains(" ns\t") || tries > 3_000 {
            break line;
        }
    };
    let time = times.split('\t').nth(2).and_then(|time| time.strip_suffix(" ns")?.parse::<u64>().ok());
    assert!(time.is_some_and(|time| time > 0), "after {tries} requests: {times}");
    let answer = site.edges[0].admin()?.target().get("/waf/rules").await?;
    assert_eq!(answer.status, 401, "a token is asked for");
    site.edge_mut()?.reconfigure("[waf]\nrules = []\n").await?;
    let (code, text) = rules_of(&site.edges[0], &["report"])?;
    assert!(code == 1 && text.contains("runs no rules"), "{text}");
    Ok(())
}

#[tokio::test]
async fn the_policy_tells_which_rules_run_and_how() -> Passed {
    let mut site = plan().start().await?;
    let waf: Value = site.edges[0].admin()?.policy().await?["waf"].clone();
    assert_eq!((&waf["mode"], &waf["rules"], &waf["active"]), (&"block".into(), &3.into(), &3.into()), "{waf}");
    assert_eq!((&waf["inbound_threshold"], &waf["blocking_paranoia"]), (&5.into(), &1.into()), "{waf}");
    site.edge_mut()?.reconfigure("[waf]\nmode = \"detect\"\n").await?;
    assert_eq!(site.edges[0].admin()?.policy().await?["waf"]["mode"], "detect");
    site.edge_mut()?.reconfigure("[waf]\nrules = []\n").await?;
    assert!(site.edges[0].admin()?.policy().await?["waf"].is_null());
    Ok(())
}
