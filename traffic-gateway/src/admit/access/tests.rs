//! From `[access]` and files to judgements, and every mistake on the way.

use std::fs;
use std::sync::Arc;

use gatehouse_shared::clock;
use gatehouse_shared::config::{self, SourceFile, Sources};
use http::Method;
use serde::Deserialize;
use tempfile::TempDir;

use super::networks::Networks;
use super::*;
use crate::admit::view::sample::Sample;
use crate::admit::{Action, Entry, Mode, Stage, Verdict};

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
    let access = Access::compile(&document.value.access, before, &mut sources, &document.positions);
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

/// Judges where nothing is observed.
fn judge<'a>(access: &'a Access, request: &Request<'_>, now: u64) -> Judgement<'a> {
    access.judge(request, now, |finding| panic!("{finding:?} is only observed"))
}

/// Judges an address alone.
fn judge_address<'a>(access: &'a Access, address: &str, now: u64) -> Judgement<'a> {
    judge(access, &Request { client: address.parse().unwrap(), ..REQUEST }, now)
}

/// `[[access.list]]` of denied networks, one for each of these files and named like it.
fn deny(files: &[&str]) -> String {
    let list = |file: &&str| {
        let name = file.replace('.', "_");
        format!("[[access.list]]\nname = \"{name}\"\nfiles = [\"{file}\"]\n")
    };
    files.iter().map(list).collect()
}

/// `denied ENTRY LIST FILE:LINE`, and so on.
fn told(judgement: Judgement<'_>) -> String {
    let (word, finding) = match judgement {
        Judgement::Pass => return "pass".to_owned(),
        Judgement::Allowed(finding) => ("allowed", finding),
        Judgement::SkipWaf(finding) => ("skips the WAF", finding),
        Judgement::Denied(finding) => ("denied", finding),
    };
    format!("{word} {} {} {}:{}", finding.entry, finding.terms.list, finding.file, finding.line)
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
        (REQUEST, "allowed 198.51.100.0/26 access.allow edge.toml:3"),
        (Request { method: &Method::TRACE, ..REQUEST }, "allowed 198.51.100.0/26 access.allow edge.toml:3"),
        (
            Request { client: "198.51.100.200".parse().unwrap(), path: "/healthz", ..REQUEST },
            "denied 198.51.100.0/24 access.deny edge.toml:6",
        ),
        (
            Request { client: "::ffff:198.51.100.200".parse().unwrap(), ..REQUEST },
            "denied 198.51.100.0/24 access.deny edge.toml:6",
        ),
        (elsewhere, "pass"),
        (Request { host: "old.example.com", ..elsewhere }, "denied old.example.com access.deny edge.toml:7"),
        (Request { host: "very.old.example.com", ..elsewhere }, "pass"),
        (
            Request { host: "a.b.internal.example.com", ..elsewhere },
            "denied *.internal.example.com access.deny edge.toml:7",
        ),
        (Request { host: "internal.example.com", ..elsewhere }, "pass"),
        (Request { host: "192.0.2.1", ..elsewhere }, "denied ~^[0-9.]+$ access.deny edge.toml:7"),
        (Request { method: &Method::TRACE, ..elsewhere }, "denied TRACE access.deny edge.toml:8"),
        (Request { user_agent: Some(b"SQLMap/1.7"), ..elsewhere }, "denied sqlmap access.deny edge.toml:9"),
        (Request { user_agent: None, ..elsewhere }, "denied ^$ access.deny edge.toml:9"),
        (Request { user_agent: Some(b"\xff"), ..elsewhere }, "pass"),
        (Request { path: "/db.bak", ..elsewhere }, "denied \\.bak$ access.deny edge.toml:10"),
        (Request { path: "/secret", ..elsewhere }, "denied ^/secret$ access.deny edge.toml:10"),
        (Request { path: "/secret", query: Some(""), ..elsewhere }, "pass"),
        (Request { query: Some("a=2&debug=1"), ..elsewhere }, "denied debug=1 access.deny edge.toml:10"),
        (Request { path: "/healthz", ..elsewhere }, "skips the WAF /healthz$ access.allow edge.toml:4"),
        (
            Request { path: "/icons/a", query: Some("v=1"), ..elsewhere },
            "skips the WAF /assets/|/icons/ access.allow edge.toml:4",
        ),
        (Request { path: "/assets/x.bak", ..elsewhere }, "denied \\.bak$ access.deny edge.toml:10"),
        (Request { path: "/x", query: Some("/icons/"), ..elsewhere }, "pass"),
        (Request { path: "/x/healthz", ..elsewhere }, "pass"),
    ];
    for (request, expected) in cases {
        assert_eq!(told(judge(&access, &request, 0)), expected, "{request:?}");
    }
}

#[test]
fn without_lists_everything_passes() {
    let access = compile(&[], "[access]").unwrap();
    assert_eq!(judge(&access, &REQUEST, 0), Judgement::Pass);
    assert!(access.is_empty());
}

#[test]
fn list_files_of_others_load_as_they_are() {
    let files = [
        ("firehol.netset", "#\n# firehol_level1\n#\n192.0.2.0/24\n198.51.100.7\n"),
        ("drop.txt", "; Spamhaus DROP List\r\n203.0.113.0/24 ; SBL123\r\n2001:db8::/32 ; SBL124 \r\n"),
        ("plain.txt", "\u{feff}100.64.0.1\n\n  100.64.0.2\t \n100.64.0.3"),
    ];
    let access = compile(&files, &deny(&["firehol.netset", "drop.txt", "plain.txt"])).unwrap();
    for (address, expected) in [
        ("192.0.2.9", "denied 192.0.2.0/24 firehol_netset firehol.netset:4"),
        ("198.51.100.7", "denied 198.51.100.7 firehol_netset firehol.netset:5"),
        ("198.51.100.8", "pass"),
        ("2001:db8::1", "denied 2001:db8::/32 drop_txt drop.txt:3"),
        ("100.64.0.1", "denied 100.64.0.1 plain_txt plain.txt:1"),
        ("100.64.0.2", "denied 100.64.0.2 plain_txt plain.txt:3"),
        ("100.64.0.3", "denied 100.64.0.3 plain_txt plain.txt:4"),
    ] {
        assert_eq!(told(judge_address(&access, address, 0)), expected);
    }
    let Judgement::Denied(finding) = judge_address(&access, "203.0.113.5", 0) else { panic!() };
    assert_eq!(finding.note.reason, Some("SBL123"));
}

#[test]
fn a_denial_says_which_entry_who_why_and_until_when() {
    let line = "192.0.2.0/24 until=2027-01-31T18:00:00Z owner=soc ticket=SEC-7 # scans the login page\n192.0.0.0/16\n";
    let lists = deny(&["ours"]) + "action = \"drop\"\n";
    let access = compile(&[("ours", line)], &lists).unwrap();
    let until = 1_801_418_400;
    let mut sample = Sample::get("/", &[]).from("192.0.2.1");
    sample.unix_ms = until * 1_000 - 1;
    let Verdict::Deny(denial) = access.check(&sample.view(), clock::now()) else { panic!() };
    assert_eq!((denial.reason.code, denial.action, denial.mode), ("network_denied", Some(Action::Drop), Mode::Enforce));
    let evidence = denial.evidence.unwrap();
    let expected = Entry {
        text: "192.0.2.0/24".into(),
        file: Some("ours".into()),
        line: Some(1),
        owner: Some("soc".into()),
        ticket: Some("SEC-7".into()),
        reason: Some("scans the login page".into()),
        until_unix_ms: Some(until * 1_000),
    };
    assert_eq!((&*evidence.name, evidence.entry), ("ours", Some(expected)));
    let matched = evidence.matched.unwrap();
    assert_eq!((&*matched.what, &*matched.value), ("client", b"192.0.2.1".as_slice()));
    sample.unix_ms += 1;
    let Verdict::Deny(denial) = access.check(&sample.view(), clock::now()) else { panic!() };
    assert_eq!(denial.evidence.unwrap().entry.unwrap().line, Some(2), "the entry around it counts now");
}

#[test]
fn entries_of_the_configuration_itself_are_lines_of_a_list() {
    let text = r#"
        [access.deny]
        networks = ["192.0.2.0/24 until=2027-01-31T18:00:00Z owner=soc # scans", "198.51.100.0/24 # why", "203.0.113.9"]
    "#;
    let access = compile(&[], text).unwrap();
    let Judgement::Denied(finding) = judge_address(&access, "192.0.2.1", 1_801_418_399) else { panic!() };
    assert_eq!((finding.note.owner, finding.note.reason, finding.line), (Some("soc"), Some("scans"), 3));
    assert_eq!(judge_address(&access, "192.0.2.1", 1_801_418_400), Judgement::Pass);
    assert_eq!(told(judge_address(&access, "203.0.113.9", 0)), "denied 203.0.113.9 access.deny edge.toml:3");
}

#[test]
fn a_list_that_observes_says_so_and_hides_no_other() {
    let files = [("seen", "192.0.2.0/24\n"), ("agents", "curl\n"), ("more", "^curl/\n"), ("urls", "^/a\n")];
    let list = |name: &str, kind: &str, mode: &str| {
        format!("[[access.list]]\nname = \"{name}\"\nfiles = [\"{name}\"]\nkind = \"{kind}\"\nmode = \"{mode}\"\n")
    };
    let lists = [
        list("seen", "networks", "observe"),
        list("agents", "user_agents", "observe"),
        list("more", "user_agents", "observe"),
        list("urls", "urls", "enforce"),
    ];
    let access = compile(&files, &lists.concat()).unwrap();
    let judged = |target: &str| {
        let sample = Sample::get(target, &[("User-Agent", "curl/8")]).from("192.0.2.1");
        let view = sample.view();
        let denied = match access.check(&view, clock::now()) {
            Verdict::Deny(denial) => Some(denial.evidence.unwrap().name.to_string()),
            other => {
                assert_eq!(other, Verdict::Pass);
                None
            }
        };
        let observed = view.into_observed();
        assert!(observed.iter().all(|denial| denial.mode == Mode::Observe));
        let names: Vec<String> = observed.into_iter().map(|denial| denial.evidence.unwrap().name.to_string()).collect();
        (names.join(" "), denied)
    };
    assert_eq!(judged("/a"), ("seen agents more".to_owned(), Some("urls".to_owned())));
    assert_eq!(judged("/b"), ("seen agents more".to_owned(), None));
}

#[test]
fn a_connection_is_refused_by_enforced_networks_that_ask_for_no_answer() {
    let files =
        [("told", "203.0.113.0/24\n"), ("ours", "192.0.2.0/24\n203.0.113.0/24\n"), ("seen", "198.51.100.0/24\n")];
    let text = deny(&["told"]) + "action = \"page\"\n" + &deny(&["ours", "seen"]) + "mode = \"observe\"\n";
    let access = compile(&files, &("access.allow.networks = [\"192.0.2.7\"]\n".to_owned() + &text)).unwrap();
    let refused = |client: &str| {
        let denial = access.refuses_connection(client.parse().unwrap(), 1_000)?;
        assert_eq!(denial.stage, Some("access"));
        denial.evidence.map(|evidence| evidence.name.to_string())
    };
    assert_eq!(refused("192.0.2.1").as_deref(), Some("ours"));
    assert_eq!(refused("::ffff:192.0.2.1").as_deref(), Some("ours"));
    for client in ["192.0.2.7", "198.51.100.1", "203.0.113.1", "100.64.0.1", "2001:db8::1"] {
        assert_eq!(refused(client), None, "{client}");
    }
    assert_eq!(told(judge_address(&access, "203.0.113.1", 0)), "denied 203.0.113.0/24 told told:1");
}

#[test]
fn patterns_come_from_files_too() {
    let files = [
        ("agents", "# scanners\n\n  nikto \nacunetix\r\n"),
        ("urls", "^/old/\n"),
        ("hosts", "a.example\n"),
        ("static", "/assets/\n"),
    ];
    let list = |name: &str, kind: &str, effect: &str| {
        format!("[[access.list]]\nname = \"{name}\"\nfiles = [\"{name}\"]\nkind = \"{kind}\"\neffect = \"{effect}\"\n")
    };
    let lists = [
        list("agents", "user_agents", "deny"),
        list("urls", "urls", "deny"),
        list("hosts", "hosts", "deny"),
        list("static", "urls", "allow"),
    ];
    let access = compile(&files, &lists.concat()).unwrap();
    for (request, expected) in [
        (Request { user_agent: Some(b"Nikto/2"), ..REQUEST }, "denied nikto agents agents:3"),
        (Request { user_agent: Some(b"x Acunetix"), ..REQUEST }, "denied acunetix agents agents:4"),
        (Request { path: "/old/x", ..REQUEST }, "denied ^/old/ urls urls:1"),
        (Request { host: "a.example", ..REQUEST }, "denied a.example hosts hosts:1"),
        (Request { path: "/assets/x", ..REQUEST }, "skips the WAF /assets/ static static:1"),
    ] {
        assert_eq!(told(judge(&access, &request, 0)), expected);
    }
    let overview = serde_json::to_value(access.overviews()).unwrap();
    assert_eq!((&overview[0]["name"], &overview[0]["entries"]), (&"agents".into(), &2.into()), "{overview}");
    let sha256 = "edf1dbca5e8862a79d82d7a8aa6f7ac4c9ac8ac4a4ae4bb6c0ee6ea95e3a4c96";
    assert_eq!(overview[3]["files"][0]["sha256"].as_str().map(str::len), Some(sha256.len()), "{overview}");
}

#[test]
fn every_mistake_has_its_place() {
    let files = [
        (
            "list",
            "192.0.2.0/24\n192.0.2.1/24\n192.0.2.1 untl=x\n300.1.1.1 # x\n1.2.3.4 until=tomorrow\n1.2.3.4 owner=\n",
        ),
        ("agents", "ok\n [\n"),
    ];
    let text = r#"
        [access.allow]
        urls = ["healthz", "/a)|(/b"]
        [access.deny]
        networks = ["192.0.2.1 untl=x", ""]
        hosts = ["*.*.com", "a.com:80"]
        methods = ["trace", "A B"]
        urls = ["(a{1000}){1000}"]
        [[access.list]]
        name = "ours"
        files = ["list", "missing"]
        [[access.list]]
        name = "agents"
        files = ["agents"]
        kind = "user_agents"
        [[access.list]]
        name = "ours"
        files = ["agents"]
        kind = "hosts"
        effect = "allow"
        mode = "observe"
        action = "page"
        [[access.list]]
        name = "a b"
        files = []
    "#;
    let errors = compile(&files, text).unwrap_err();
    let expected = "\
agents:2:2: \"[\" is no host (write example.com, *.example.com, or ~ and a regular expression)
agents:2:2: \"[\" is no regular expression: unclosed character class
edge.toml:3:17: \"healthz\" does not begin with a slash (an allowed URL is matched from the beginning of the path)
edge.toml:3:28: \"/a)|(/b\" is no regular expression: unopened group
edge.toml:5:21: \"untl=x\" is nothing a line can say (did you mean \"until=\"?)
edge.toml:5:41: there is no network (begin the entry with one)
edge.toml:6:18: \"*.*.com\" is no host (write example.com, *.example.com, or ~ and a regular expression)
edge.toml:6:29: \"a.com:80\" is no host (write example.com, *.example.com, or ~ and a regular expression)
edge.toml:7:20: \"trace\" is no method (write it in capitals, as in PATCH)
edge.toml:7:29: \"A B\" is no method (write it in capitals, as in PATCH)
edge.toml:8:17: \"(a{1000}){1000}\" takes more than 1 MiB when it is compiled (use fewer or shorter repetitions)
edge.toml:17:16: there are two lists named \"ours\" (give each a name of its own)
edge.toml:20:18: hosts cannot be allowed (only networks and urls can)
edge.toml:21:16: what is allowed cannot be observed (use effect = \"deny\" with mode = \"observe\")
edge.toml:22:18: what is allowed is not answered here (leave action out)
edge.toml:24:16: \"a b\" is no name of a list (use 1 to 64 letters, digits, \"_\" and \"-\")
edge.toml:25:17: the list \"a b\" has no file (name at least one)
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
    let errors = compile(&[("list", &text)], &deny(&["list"])).unwrap_err();
    assert!(errors.starts_with("list:30000:1: \"oops\" is not a network"), "{errors}");
}

#[test]
fn mistakes_beyond_twenty_are_counted() {
    let text = "oops\n".repeat(1_000);
    let errors = compile(&[("list", &text)], &deny(&["list"])).unwrap_err();
    assert!(errors.starts_with("list: 1000 lines are wrong; the first 20 follow\nlist:1:1: "), "{errors}");
    assert_eq!(errors.lines().count(), 21);
}

#[test]
fn what_is_no_text_is_refused_by_its_place() {
    let dir = dir_with(&[]);
    fs::write(dir.path().join("list"), b"192.0.2.1\n192.0.2.2 # \xc3\xa4 \xff\n").unwrap();
    let text = deny(&["list", "long", "utf16"]);
    fs::write(dir.path().join("long"), "x".repeat(300_000) + "\n192.0.2.1\n").unwrap();
    fs::write(dir.path().join("utf16"), b"\xff\xfe1\0.\0").unwrap();
    assert_eq!(
        load(&dir, &text, None).map(|_| ()).unwrap_err(),
        "list:2:15: this is not UTF-8 text (save the file as UTF-8)\n\
         long:1:1: the line is longer than 4096 bytes (write one entry a line)\n\
         utf16:1:1: this is not UTF-8 text (save the file as UTF-8)"
    );
}

#[test]
fn a_list_is_read_again_only_when_its_content_has_changed() {
    let dir = dir_with(&[("a", "192.0.2.1\n"), ("b", "192.0.2.2\n")]);
    let text = "[[access.list]]\nname = \"b\"\nfiles = [\"b\"]\neffect = \"allow\"\n".to_owned() + &deny(&["a"]);
    let (before, hash) = load(&dir, &text, None).unwrap();
    let set = |list: &Networks| Arc::clone(&list.parts[0].set);
    let (same, same_hash) = load(&dir, &text, Some(&before)).unwrap();
    assert_eq!(hash, same_hash);
    assert!(Arc::ptr_eq(&set(&before.allow[0]), &set(&same.allow[0])));
    assert!(Arc::ptr_eq(&set(&before.deny[0]), &set(&same.deny[0])));
    fs::write(dir.path().join("a"), "192.0.2.3\n").unwrap();
    let (after, other_hash) = load(&dir, &text, Some(&before)).unwrap();
    assert_ne!(hash, other_hash);
    assert!(Arc::ptr_eq(&set(&before.allow[0]), &set(&after.allow[0])));
    assert!(!Arc::ptr_eq(&set(&before.deny[0]), &set(&after.deny[0])));
    assert_eq!(told(judge_address(&after, "192.0.2.3", 0)), "denied 192.0.2.3 a a:1");
    let twice = deny(&["a"]) + &deny(&["a"]).replace("name = \"a\"", "name = \"again\"");
    let (twice, _) = load(&dir, &twice, None).unwrap();
    assert!(Arc::ptr_eq(&set(&twice.deny[0]), &set(&twice.deny[1])), "a file is read once");
}

#[test]
fn whom_to_block_is_compared_with_whom_to_let_pass() {
    let files = [("ours", "192.0.2.0/24 until=2027-01-31T18:00:00Z\n")];
    let text = "access.allow.networks = [\"10.0.0.0/8\"]\n".to_owned() + &deny(&["ours"]) + "effect = \"allow\"";
    let access = compile(&files, &text).unwrap();
    let overlap =
        |network: &str, now| access.allowed_overlap(network.parse().unwrap(), now).map(|found| found.entry.to_string());
    assert_eq!(overlap("10.1.2.3", 0).as_deref(), Some("10.0.0.0/8"));
    assert_eq!(overlap("0.0.0.0/0", 0).as_deref(), Some("10.0.0.0/8"));
    assert_eq!(overlap("192.0.2.128/25", 0).as_deref(), Some("192.0.2.0/24"));
    assert_eq!(overlap("192.0.2.128/25", 2_000_000_000), None);
    assert_eq!(overlap("11.0.0.0/8", 0), None);
    assert_eq!(overlap("::/0", 0), None);
}
