//! From `[access]` and files to judgements, and every mistake on the way.

use std::fs;
use std::sync::Arc;

use gatehouse_shared::config::{self, SourceFile, Sources};
use http::Method;
use serde::Deserialize;
use tempfile::TempDir;

use super::*;

#[derive(Deserialize)]
struct File {
    access: Config,
}

/// A directory with these files.
fn dir_with(files: &[(&str, &str)]) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in files {
        fs::write(dir.path().join(name), text).unwrap();
    }
    dir
}

fn load(dir: &TempDir, text: &str, before: Option<&Access>) -> Result<(Access, String), String> {
    let file = SourceFile { path: "edge.toml".into(), text: text.to_owned() };
    let document = config::parse::<File>(&file).map_err(|errors| errors.to_string())?;
    let mut sources = Sources::new(dir.path());
    let access = Access::compile(&document.value.access, before, &document.positions, &mut sources);
    access.map(|access| (access, sources.finish().0)).map_err(|errors| errors.to_string())
}

fn compile(files: &[(&str, &str)], text: &str) -> Result<Access, String> {
    load(&dir_with(files), text, None).map(|(access, _)| access)
}

const REQUEST: Request<'_> = Request {
    client: std::net::IpAddr::V4(std::net::Ipv4Addr::new(198, 51, 100, 7)),
    host: "api.example.com",
    method: &Method::GET,
    path: "/orders",
    query: None,
    user_agent: Some(b"Mozilla/5.0"),
};

/// `denied KIND ENTRY LIST:LINE`, and so on.
fn told(judgement: Judgement<'_>) -> String {
    let (word, finding) = match judgement {
        Judgement::Pass => return "pass".to_owned(),
        Judgement::Allowed(finding) => ("allowed", finding),
        Judgement::SkipWaf(finding) => ("skips the WAF", finding),
        Judgement::Denied(finding) => ("denied", finding),
    };
    format!("{word} {} {} {}:{}", finding.kind.name(), finding.entry, finding.list, finding.line)
}

#[test]
fn lists_are_asked_in_their_order() {
    let text = r#"
        [access.allow]
        networks = ["198.51.100.0/26"]
        urls = ["/healthz$", "/assets/|/icons/"]
        [access.deny]
        networks = ["198.51.100.0/24"]
        hosts = ["old.example.com", "*.internal.example.com", "~^[0-9.]+$"]
        methods = ["TRACE"]
        user_agents = ["sqlmap", "^$"]
        urls = ["\\.bak$", "^/secret$", "debug=1"]
    "#;
    let access = compile(&[], text).unwrap();
    let elsewhere = Request { client: "203.0.113.1".parse().unwrap(), ..REQUEST };
    let cases = [
        (REQUEST, "allowed network 198.51.100.0/26 edge.toml:3"),
        (Request { method: &Method::TRACE, ..REQUEST }, "allowed network 198.51.100.0/26 edge.toml:3"),
        (
            Request { client: "198.51.100.200".parse().unwrap(), path: "/healthz", ..REQUEST },
            "denied network 198.51.100.0/24 edge.toml:6",
        ),
        (
            Request { client: "::ffff:198.51.100.200".parse().unwrap(), ..REQUEST },
            "denied network 198.51.100.0/24 edge.toml:6",
        ),
        (elsewhere, "pass"),
        (Request { host: "old.example.com", ..elsewhere }, "denied host old.example.com edge.toml:7"),
        (Request { host: "very.old.example.com", ..elsewhere }, "pass"),
        (Request { host: "a.b.internal.example.com", ..elsewhere }, "denied host *.internal.example.com edge.toml:7"),
        (Request { host: "internal.example.com", ..elsewhere }, "pass"),
        (Request { host: "192.0.2.1", ..elsewhere }, "denied host ~^[0-9.]+$ edge.toml:7"),
        (Request { method: &Method::TRACE, ..elsewhere }, "denied method TRACE edge.toml:8"),
        (Request { user_agent: Some(b"SQLMap/1.7"), ..elsewhere }, "denied user_agent sqlmap edge.toml:9"),
        (Request { user_agent: None, ..elsewhere }, "denied user_agent ^$ edge.toml:9"),
        (Request { user_agent: Some(b"\xff"), ..elsewhere }, "pass"),
        (Request { path: "/db.bak", ..elsewhere }, "denied url \\.bak$ edge.toml:10"),
        (Request { path: "/secret", ..elsewhere }, "denied url ^/secret$ edge.toml:10"),
        (Request { path: "/secret", query: Some(""), ..elsewhere }, "pass"),
        (Request { query: Some("a=2&debug=1"), ..elsewhere }, "denied url debug=1 edge.toml:10"),
        (Request { path: "/healthz", ..elsewhere }, "skips the WAF url /healthz$ edge.toml:4"),
        (
            Request { path: "/icons/a", query: Some("v=1"), ..elsewhere },
            "skips the WAF url /assets/|/icons/ edge.toml:4",
        ),
        (Request { path: "/assets/x.bak", ..elsewhere }, "denied url \\.bak$ edge.toml:10"),
        (Request { path: "/x", query: Some("/icons/"), ..elsewhere }, "pass"),
        (Request { path: "/x/healthz", ..elsewhere }, "pass"),
    ];
    for (request, expected) in cases {
        assert_eq!(told(access.judge(&request, 0)), expected, "{request:?}");
    }
}

#[test]
fn without_lists_everything_passes() {
    let access = compile(&[], "[access]").unwrap();
    assert_eq!(access.judge(&REQUEST, 0), Judgement::Pass);
    assert_eq!(access.judge_address(REQUEST.client, 0), Judgement::Pass);
}

#[test]
fn list_files_of_others_load_as_they_are() {
    let files = [
        ("firehol.netset", "#\n# firehol_level1\n#\n192.0.2.0/24\n198.51.100.7\n"),
        ("drop.txt", "; Spamhaus DROP List\r\n203.0.113.0/24 ; SBL123\r\n2001:db8::/32 ; SBL124 \r\n"),
        ("plain.txt", "\u{feff}100.64.0.1\n\n  100.64.0.2\t \n100.64.0.3"),
    ];
    let access =
        compile(&files, "access.deny.network_files = [\"firehol.netset\", \"drop.txt\", \"plain.txt\"]").unwrap();
    for (address, expected) in [
        ("192.0.2.9", "denied network 192.0.2.0/24 firehol.netset:4"),
        ("198.51.100.7", "denied network 198.51.100.7 firehol.netset:5"),
        ("198.51.100.8", "pass"),
        ("2001:db8::1", "denied network 2001:db8::/32 drop.txt:3"),
        ("100.64.0.1", "denied network 100.64.0.1 plain.txt:1"),
        ("100.64.0.2", "denied network 100.64.0.2 plain.txt:3"),
        ("100.64.0.3", "denied network 100.64.0.3 plain.txt:4"),
    ] {
        assert_eq!(told(access.judge_address(address.parse().unwrap(), 0)), expected);
    }
    let Judgement::Denied(finding) = access.judge_address("203.0.113.5".parse().unwrap(), 0) else { panic!() };
    assert_eq!(finding.reason, Some("SBL123"));
}

#[test]
fn a_finding_says_who_why_and_until_when() {
    let line = "192.0.2.0/24 until=2027-01-31T18:00:00Z owner=soc ticket=SEC-7 # scans the login page\n192.0.0.0/16\n";
    let access = compile(&[("ours", line)], "access.deny.network_files = [\"ours\"]").unwrap();
    let address = "192.0.2.1".parse().unwrap();
    let until = 1_801_418_400;
    let Judgement::Denied(finding) = access.judge_address(address, until - 1) else { panic!() };
    let expected = Finding {
        kind: Kind::Network,
        list: "ours",
        line: 1,
        entry: Matched::Network("192.0.2.0/24".parse().unwrap()),
        until: Some(until),
        owner: Some("soc"),
        ticket: Some("SEC-7"),
        reason: Some("scans the login page"),
    };
    assert_eq!(finding, expected);
    assert_eq!(told(access.judge_address(address, until)), "denied network 192.0.0.0/16 ours:2");
}

#[test]
fn patterns_come_from_files_too() {
    let files = [("agents", "# scanners\n\n  nikto \nacunetix\r\n"), ("urls", "^/old/\n"), ("hosts", "a.example\n")];
    let text = "[access.deny]\nuser_agent_files = [\"agents\"]\nurl_files = [\"urls\"]\nhost_files = [\"hosts\"]";
    let access = compile(&files, text).unwrap();
    for (request, expected) in [
        (Request { user_agent: Some(b"Nikto/2"), ..REQUEST }, "denied user_agent nikto agents:3"),
        (Request { user_agent: Some(b"x Acunetix"), ..REQUEST }, "denied user_agent acunetix agents:4"),
        (Request { path: "/old/x", ..REQUEST }, "denied url ^/old/ urls:1"),
        (Request { host: "a.example", ..REQUEST }, "denied host a.example hosts:1"),
    ] {
        assert_eq!(told(access.judge(&request, 0)), expected);
    }
}

#[test]
fn every_mistake_has_its_place() {
    let files = [
        (
            "list",
            "192.0.2.0/24\n192.0.2.1/24\n192.0.2.1 untl=x\n300.1.1.1 # x\n1.2.3.4 until=tomorrow\n1.2.3.4 owner=\n",
        ),
        ("agents", "ok\n[\n"),
    ];
    let text = r#"
        [access.allow]
        urls = ["healthz", "/a)|(/b"]
        [access.deny]
        network_files = ["list", "missing"]
        hosts = ["*.*.com", "a.com:80"]
        methods = ["trace", "A B"]
        user_agent_files = ["agents"]
        urls = ["(a{1000}){1000}"]
    "#;
    let errors = compile(&files, text).unwrap_err();
    let expected = "\
agents:2:1: \"[\" is no regular expression: unclosed character class
edge.toml:3:17: \"healthz\" does not begin with a slash (an allowed URL is matched from the beginning of the path)
edge.toml:3:28: \"/a)|(/b\" is no regular expression: unopened group
edge.toml:6:18: \"*.*.com\" is no host (write example.com, *.example.com, or ~ and a regular expression)
edge.toml:6:29: \"a.com:80\" is no host (write example.com, *.example.com, or ~ and a regular expression)
edge.toml:7:20: \"trace\" is no method (write it in capitals, as in TRACE)
edge.toml:7:29: \"A B\" is no method (write it in capitals, as in TRACE)
edge.toml:9:17: \"(a{1000}){1000}\" takes more than 1 MiB when it is compiled (use fewer or shorter repetitions)
list:2:1: \"192.0.2.1/24\" has bits set after its prefix; the network is \"192.0.2.0/24\" (write the network)
list:3:11: \"untl=x\" is nothing a line can say (did you mean \"until=\"?)
list:4:1: \"300.1.1.1\" is not a network (write it like 192.0.2.0/24 or 2001:db8::1; comments begin with \"#\")
list:5:15: \"tomorrow\" is not a time (write it as 2027-01-31T18:00:00Z)
list:6:15: \"\" is no owner (write owner=NAME, at most 128 bytes without blanks)
missing: cannot read the file: No such file or directory (os error 2)";
    assert_eq!(errors, expected);
}

#[test]
fn a_bad_line_far_down_is_named_and_nothing_is_loaded() {
    let mut text = String::new();
    for number in 0..40_000u32 {
        let network = std::net::Ipv4Addr::from_bits(number << 8);
        text.push_str(&if number == 29_999 { "oops\n".to_owned() } else { format!("{network}/24\n") });
    }
    let errors = compile(&[("list", &text)], "access.deny.network_files = [\"list\"]").unwrap_err();
    assert!(errors.starts_with("list:30000:1: \"oops\" is not a network"), "{errors}");
}

#[test]
fn mistakes_beyond_twenty_are_counted() {
    let text = "oops\n".repeat(1_000);
    let errors = compile(&[("list", &text)], "access.deny.network_files = [\"list\"]").unwrap_err();
    assert!(errors.starts_with("list: 1000 lines are wrong; the first 20 follow\nlist:1:1: "), "{errors}");
    assert_eq!(errors.lines().count(), 21);
}

#[test]
fn what_is_no_text_is_refused_by_its_place() {
    let dir = dir_with(&[]);
    fs::write(dir.path().join("list"), b"192.0.2.1\n192.0.2.2 # \xc3\xa4 \xff\n").unwrap();
    let text = "access.deny.network_files = [\"list\", \"long\", \"utf16\"]";
    fs::write(dir.path().join("long"), "x".repeat(300_000) + "\n192.0.2.1\n").unwrap();
    fs::write(dir.path().join("utf16"), b"\xff\xfe1\0.\0").unwrap();
    assert_eq!(
        load(&dir, text, None).map(|_| ()).unwrap_err(),
        "list:2:15: this is not UTF-8 text (save the file as UTF-8)\n\
         long:1:1: the line is longer than 4096 bytes (write one entry a line)\n\
         utf16:1:1: this is not UTF-8 text (save the file as UTF-8)"
    );
}

#[test]
fn a_list_is_read_again_only_when_its_content_has_changed() {
    let dir = dir_with(&[("a", "192.0.2.1\n"), ("b", "192.0.2.2\n")]);
    let text = "access.allow.network_files = [\"b\"]\naccess.deny.network_files = [\"a\", \"b\"]";
    let (before, hash) = load(&dir, text, None).unwrap();
    let set = |access: &Access, index: usize| Arc::clone(&access.lists()[index].networks);
    assert_eq!(before.lists().len(), 2, "one file is read once");
    let (same, same_hash) = load(&dir, text, Some(&before)).unwrap();
    assert_eq!(hash, same_hash);
    assert!(Arc::ptr_eq(&set(&before, 0), &set(&same, 0)) && Arc::ptr_eq(&set(&before, 1), &set(&same, 1)));
    fs::write(dir.path().join("a"), "192.0.2.3\n").unwrap();
    let (after, other_hash) = load(&dir, text, Some(&before)).unwrap();
    assert_ne!(hash, other_hash);
    assert!(Arc::ptr_eq(&set(&before, 0), &set(&after, 0)) && !Arc::ptr_eq(&set(&before, 1), &set(&after, 1)));
    assert_eq!(told(after.judge_address("192.0.2.3".parse().unwrap(), 0)), "denied network 192.0.2.3 a:1");
}

#[test]
fn whom_to_block_is_compared_with_whom_to_let_pass() {
    let files = [("ours", "192.0.2.0/24 until=2027-01-31T18:00:00Z\n")];
    let text = "access.allow = { networks = [\"10.0.0.0/8\"], network_files = [\"ours\"] }";
    let access = compile(&files, text).unwrap();
    let overlap =
        |network: &str, now| access.allowed_overlap(network.parse().unwrap(), now).map(|found| found.entry.to_string());
    assert_eq!(overlap("10.1.2.3", 0).as_deref(), Some("10.0.0.0/8"));
    assert_eq!(overlap("0.0.0.0/0", 0).as_deref(), Some("10.0.0.0/8"));
    assert_eq!(overlap("192.0.2.128/25", 0).as_deref(), Some("192.0.2.0/24"));
    assert_eq!(overlap("192.0.2.128/25", 2_000_000_000), None);
    assert_eq!(overlap("11.0.0.0/8", 0), None);
    assert_eq!(overlap("::/0", 0), None);
}
