//! A table of small cases: rules, a request, the rule that denies, the rules that match.

use super::{Verdict, denied, run};

/// `(rules, request, denied by or 0, rules that match)`.
type Case = (&'static str, &'static str, u32, &'static [u32]);

#[test]
fn verdicts_and_matches_are_those_of_the_table() {
    let mut wrong = Vec::new();
    for (number, (rules, request, by, ids)) in (1..).zip(CASES) {
        let expected = if *by == 0 { Verdict::Pass } else { denied(*by) };
        let (verdict, found) = run(rules, request);
        if (&verdict, found.as_slice()) != (&expected, *ids) {
            wrong.push(format!("case {number}: {rules}\n  {request}\n  {verdict:?} {found:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

const FORM: &str = "POST / HTTP/1.1\ncontent-type: application/x-www-form-urlencoded\n\na=1&b=evil";

#[rustfmt::skip]
const CASES: &[Case] = &[
    // Operators and their negation.
    (r#"SecRule ARGS "@rx evil" "id:1,phase:2,deny""#, "GET /?a=evil", 1, &[1]),
    (r#"SecRule ARGS "@rx evil" "id:1,phase:2,deny""#, "GET /?a=good", 0, &[]),
    (r#"SecRule ARGS "!@rx ^[a-z]+$" "id:1,phase:2,deny""#, "GET /?a=42", 1, &[1]),
    (r#"SecRule ARGS "!@rx ^[a-z]+$" "id:1,phase:2,deny""#, "GET /?a=good", 0, &[]),
    (r#"SecRule ARGS "!@rx ^[a-z]+$" "id:1,phase:2,deny""#, "GET /", 0, &[]),
    (r#"SecRule ARGS "@streq Evil" "id:1,phase:2,deny""#, "GET /?a=Evil", 1, &[1]),
    (r#"SecRule ARGS "@streq Evil" "id:1,phase:2,deny""#, "GET /?a=evil", 0, &[]),
    (r#"SecRule ARGS "@contains vi" "id:1,phase:2,deny""#, "GET /?a=evil", 1, &[1]),
    (r#"SecRule ARGS "@beginsWith ev" "id:1,phase:2,deny""#, "GET /?a=evil", 1, &[1]),
    (r#"SecRule ARGS "@beginsWith vi" "id:1,phase:2,deny""#, "GET /?a=evil", 0, &[]),
    (r#"SecRule ARGS "@endsWith il" "id:1,phase:2,deny""#, "GET /?a=evil", 1, &[1]),
    (r#"SecRule ARGS "@pm bad evil" "id:1,phase:2,deny""#, "GET /?a=so+EVIL", 1, &[1]),
    (r#"SecRule ARGS "@pm bad evil" "id:1,phase:2,deny""#, "GET /?a=good", 0, &[]),
    (r#"SecRule REQUEST_METHOD "@within GET HEAD" "id:1,phase:1,deny""#, "GET /", 1, &[1]),
    (r#"SecRule REQUEST_METHOD "!@within GET HEAD" "id:1,phase:1,deny""#, "TRACE /", 1, &[1]),
    (r#"SecRule ARGS "@containsWord evil" "id:1,phase:2,deny""#, "GET /?a=no+evil+here", 1, &[1]),
    (r#"SecRule ARGS "@containsWord evil" "id:1,phase:2,deny""#, "GET /?a=devils", 0, &[]),
    (r#"SecRule ARGS:n "@gt 10" "id:1,phase:2,deny""#, "GET /?n=11", 1, &[1]),
    (r#"SecRule ARGS:n "@gt 10" "id:1,phase:2,deny""#, "GET /?n=10", 0, &[]),
    (r#"SecRule ARGS:n "@ge 10" "id:1,phase:2,deny""#, "GET /?n=10", 1, &[1]),
    (r#"SecRule ARGS:n "@lt 10" "id:1,phase:2,deny""#, "GET /?n=-3", 1, &[1]),
    (r#"SecRule ARGS:n "@le 10" "id:1,phase:2,deny""#, "GET /?n=10", 1, &[1]),
    (r#"SecRule ARGS:n "@eq 0" "id:1,phase:2,deny""#, "GET /?n=none", 1, &[1]),
    (r#"SecRule ARGS:n "!@eq 0" "id:1,phase:2,deny""#, "GET /?n=7", 1, &[1]),
    (r#"SecRule REMOTE_ADDR "@ipMatch 192.0.2.0/24" "id:1,phase:1,deny""#, "GET /", 1, &[1]),
    (r#"SecRule REMOTE_ADDR "@ipMatch 10.0.0.0/8" "id:1,phase:1,deny""#, "GET /", 0, &[]),
    (r#"SecRule ARGS "@validateByteRange 32-126" "id:1,phase:2,deny""#, "GET /?a=%01", 1, &[1]),
    (r#"SecRule ARGS "@unconditionalMatch" "id:1,phase:2,deny""#, "GET /?a=b", 1, &[1]),
    (r#"SecRule ARGS "@unconditionalMatch" "id:1,phase:2,deny""#, "GET /", 0, &[]),
    (r#"SecRule ARGS "@noMatch" "id:1,phase:2,deny""#, "GET /?a=b", 0, &[]),
    // Targets: names, selectors, counts, exclusions.
    (r#"SecRule ARGS_NAMES "@streq evil" "id:1,phase:2,deny""#, "GET /?evil=1", 1, &[1]),
    (r#"SecRule ARGS:b "@rx evil" "id:1,phase:2,deny""#, "GET /?a=evil&b=good", 0, &[]),
    (r#"SecRule ARGS:B "@rx evil" "id:1,phase:2,deny""#, "GET /?a=good&b=evil", 1, &[1]),
    (r#"SecRule ARGS:/^b/ "@rx evil" "id:1,phase:2,deny""#, "GET /?Bcd=evil", 1, &[1]),
    (r#"SecRule ARGS:/^b/ "@rx evil" "id:1,phase:2,deny""#, "GET /?ab=evil", 0, &[]),
    (r#"SecRule ARGS|!ARGS:b "@rx evil" "id:1,phase:2,deny""#, "GET /?b=evil", 0, &[]),
    (r#"SecRule ARGS|!ARGS:b "@rx evil" "id:1,phase:2,deny""#, "GET /?b=evil&c=evil", 1, &[1]),
    (r#"SecRule ARGS|!ARGS:/^b/ "@rx evil" "id:1,phase:2,deny""#, "GET /?b1=evil&b2=evil", 0, &[]),
    (r#"SecRule &ARGS "@gt 2" "id:1,phase:2,deny""#, "GET /?a=1&b=2&c=3", 1, &[1]),
    (r#"SecRule &ARGS:a "@gt 1" "id:1,phase:2,deny""#, "GET /?a=1&b=2&A=3", 1, &[1]),
    (r#"SecRule &REQUEST_HEADERS:Host "@eq 0" "id:1,phase:1,deny""#, "GET /", 1, &[1]),
    (r#"SecRule &REQUEST_HEADERS:Host "@eq 0" "id:1,phase:1,deny""#, "GET / HTTP/1.1\nhost: a", 0, &[]),
    (r#"SecRule REQUEST_HEADERS:User-Agent "@pm scanner" "id:1,phase:1,deny""#, "GET / HTTP/1.1\nuser-agent: Scanner/1", 1, &[1]),
    (r#"SecRule REQUEST_HEADERS "@pm scanner" "id:1,phase:1,deny""#, "GET / HTTP/1.1\nx: Scanner/1", 1, &[1]),
    (r#"SecRule REQUEST_HEADERS_NAMES "@streq x-bad" "id:1,phase:1,deny""#, "GET / HTTP/1.1\nx-bad: 1", 1, &[1]),
    (r#"SecRule REQUEST_COOKIES:sid "@rx evil" "id:1,phase:1,deny""#, "GET / HTTP/1.1\ncookie: a=1; sid=evil", 1, &[1]),
    (r#"SecRule REQUEST_COOKIES_NAMES "@rx ^sid$" "id:1,phase:1,deny""#, "GET / HTTP/1.1\ncookie: a=1; sid=evil", 1, &[1]),
    (r#"SecRule REQUEST_COOKIES|!REQUEST_COOKIES:/^__utm/ "@rx evil" "id:1,phase:1,deny""#, "GET / HTTP/1.1\ncookie: __utma=evil", 0, &[]),
    // The request line.
    (r#"SecRule REQUEST_FILENAME "@streq /a/b.php" "id:1,phase:1,deny""#, "GET /a/%62.php?x=1", 1, &[1]),
    (r#"SecRule REQUEST_BASENAME "@streq b.php" "id:1,phase:1,deny""#, "GET /a/b.php?x=/1", 1, &[1]),
    (r#"SecRule REQUEST_URI "@streq /a b?c" "id:1,phase:1,deny""#, "GET /a%20b?c", 1, &[1]),
    (r#"SecRule REQUEST_URI_RAW "@streq /a%20b?c" "id:1,phase:1,deny""#, "GET /a%20b?c", 1, &[1]),
    (r#"SecRule REQUEST_URI "@streq /a" "id:1,phase:1,deny""#, "GET http://host/a", 1, &[1]),
    (r#"SecRule REQUEST_LINE "@streq GET /a HTTP/1.0" "id:1,phase:1,deny""#, "GET /a HTTP/1.0", 1, &[1]),
    (r#"SecRule REQUEST_PROTOCOL "@streq HTTP/1.0" "id:1,phase:1,deny""#, "GET /a HTTP/1.0", 1, &[1]),
    (r#"SecRule QUERY_STRING "@streq a=%62" "id:1,phase:1,deny""#, "GET /?a=%62", 1, &[1]),
    // Bodies.
    (r#"SecRule ARGS_POST:b "@rx evil" "id:1,phase:2,deny""#, FORM, 1, &[1]),
    (r#"SecRule ARGS_GET:b "@rx evil" "id:1,phase:2,deny""#, FORM, 0, &[]),
    (r#"SecRule REQUEST_BODY "@contains b=evil" "id:1,phase:2,deny""#, FORM, 1, &[1]),
    (r#"SecRule REQUEST_BODY "@contains evil" "id:1,phase:2,deny""#, "PUT /\n\nthe evil text", 1, &[1]),
    (r#"SecRule ARGS "@rx evil" "id:1,phase:2,deny""#, "PUT / HTTP/1.1\ncontent-type: application/json\n\n{\"a\":[{\"b\":\"evil\"}]}", 1, &[1]),
    (r#"SecRule ARGS_NAMES "@rx evil" "id:1,phase:2,deny""#, "PUT / HTTP/1.1\ncontent-type: application/json\n\n{\"a\":{\"evil\":1}}", 1, &[1]),
    (r#"SecRule REQBODY_ERROR "!@eq 0" "id:1,phase:2,deny""#, "PUT / HTTP/1.1\ncontent-type: application/json\n\n{\"a\":", 1, &[1]),
    (r#"SecRule REQBODY_ERROR "!@eq 0" "id:1,phase:2,deny""#, "PUT / HTTP/1.1\ncontent-type: application/json\n\n{\"a\":1}", 0, &[]),
    (r#"SecRule XML:/* "@rx evil" "id:1,phase:2,deny""#, "PUT / HTTP/1.1\ncontent-type: text/xml\n\n<a b=\"good\">evil</a>", 1, &[1]),
    (r#"SecRule XML://@* "@rx evil" "id:1,phase:2,deny""#, "PUT / HTTP/1.1\ncontent-type: text/xml\n\n<a b=\"evil\">good</a>", 1, &[1]),
    (r#"SecRule XML://@* "@rx evil" "id:1,phase:2,deny""#, "PUT / HTTP/1.1\ncontent-type: text/xml\n\n<a b=\"good\">evil</a>", 0, &[]),
    (r#"SecRule REQBODY_PROCESSOR "@streq JSON" "id:1,phase:1,deny""#, "PUT / HTTP/1.1\ncontent-type: application/json", 1, &[1]),
    // Transformations.
    (r#"SecRule ARGS "@streq evil" "id:1,phase:2,deny,t:lowercase""#, "GET /?a=EVIL", 1, &[1]),
    (r#"SecRule ARGS "@streq evil" "id:1,phase:2,deny,t:lowercase,t:none""#, "GET /?a=EVIL", 0, &[]),
    (r#"SecRule ARGS "@streq evil" "id:1,phase:2,deny,t:none,t:urlDecodeUni,t:lowercase""#, "GET /?a=%2545vil", 1, &[1]),
    (r#"SecRule ARGS "@rx ^e%76il$" "id:1,phase:2,deny,t:urlDecode,multiMatch""#, "GET /?a=e%2576il", 1, &[1]),
    (r#"SecRule ARGS "@rx ^evil$" "id:1,phase:2,deny,t:urlDecode,multiMatch""#, "GET /?a=e%2576il", 1, &[1]),
    (r#"SecRule ARGS "@rx ^e%76il$" "id:1,phase:2,deny,t:urlDecode""#, "GET /?a=e%2576il", 0, &[]),
    (r#"SecRule ARGS "@gt 3" "id:1,phase:2,deny,t:length""#, "GET /?a=four", 1, &[1]),
    // Flow.
    ("SecAction \"id:1,phase:1,pass,nolog,skipAfter:END\"\nSecAction \"id:2,phase:1,deny\"\nSecMarker END\nSecAction \"id:3,phase:1,pass\"", "GET /", 0, &[3]),
    ("SecAction \"id:1,phase:1,pass,skip:1\"\nSecAction \"id:2,phase:1,deny\"\nSecAction \"id:3,phase:1,pass\"", "GET /", 0, &[1, 3]),
    ("SecAction \"id:1,phase:1,pass\"\nSecAction \"id:2,phase:1,deny\"\nSecAction \"id:3,phase:1,pass\"", "GET /", 2, &[1, 2]),
    ("SecAction \"id:1,phase:1,allow\"\nSecAction \"id:2,phase:1,deny\"\nSecAction \"id:3,phase:2,deny\"", "GET /", 0, &[1]),
    ("SecAction \"id:1,phase:1,allow:phase\"\nSecAction \"id:2,phase:1,deny\"\nSecAction \"id:3,phase:2,deny\"", "GET /", 3, &[1, 3]),
    ("SecAction \"id:1,phase:1,allow:request\"\nSecAction \"id:2,phase:2,deny\"", "GET /", 0, &[1]),
    ("SecDefaultAction \"phase:1,log,deny\"\nSecAction \"id:1,phase:1,block\"", "GET /", 1, &[1]),
    ("SecAction \"id:1,phase:1,block\"", "GET /", 0, &[1]),
    ("SecDefaultAction \"phase:1,log,pass\"\nSecAction \"id:1,phase:1\"\nSecAction \"id:2,phase:1,deny\"", "GET /", 2, &[1, 2]),
    ("SecAction \"id:1,phase:1,pass,nolog\"\nSecAction \"id:2,phase:1,pass,log\"", "GET /", 0, &[2]),
    ("SecRule ARGS \"@rx b\" \"id:1,phase:2,pass\"\nSecRule ARGS \"@rx a\" \"id:2,phase:1,pass\"", "GET /?x=ab", 0, &[2, 1]),
    // Updates at load.
    ("SecAction \"id:1,phase:1,deny\"\nSecRuleRemoveById 1", "GET /", 0, &[]),
    ("SecAction \"id:7,phase:1,deny\"\nSecRuleRemoveById 5-9", "GET /", 0, &[]),
    ("SecAction \"id:1,phase:1,deny,tag:'a/b'\"\nSecRuleRemoveByTag a/", "GET /", 0, &[]),
    ("SecAction \"id:1,phase:1,deny,msg:'No way'\"\nSecRuleRemoveByMsg way", "GET /", 0, &[]),
    ("SecRule ARGS \"@rx evil\" \"id:1,phase:2,deny\"\nSecRuleUpdateTargetById 1 \"!ARGS:a\"", "GET /?a=evil", 0, &[]),
    ("SecRule ARGS \"@rx evil\" \"id:1,phase:2,deny\"\nSecRuleUpdateTargetById 1 \"REQUEST_METHOD\"", "evil /", 1, &[1]),
    ("SecRule ARGS \"@rx evil\" \"id:1,phase:2,deny,tag:x\"\nSecRuleUpdateTargetByTag x \"!ARGS:a\"", "GET /?a=evil&b=evil", 1, &[1]),
    ("SecRule ARGS \"@rx evil\" \"id:1,phase:2,deny\"\nSecRuleUpdateActionById 1 \"pass\"", "GET /?a=evil", 0, &[1]),
    // Controls.
    ("SecAction \"id:1,phase:1,pass,nolog,ctl:ruleRemoveById=2\"\nSecAction \"id:2,phase:1,deny\"", "GET /", 0, &[]),
    ("SecAction \"id:1,phase:1,pass,nolog,ctl:ruleRemoveByTag=bad\"\nSecAction \"id:2,phase:1,deny,tag:'bad'\"", "GET /", 0, &[]),
    ("SecAction \"id:1,phase:1,pass,nolog,ctl:ruleRemoveTargetById=2;ARGS:a\"\nSecRule ARGS \"@rx evil\" \"id:2,phase:2,deny\"", "GET /?a=evil", 0, &[]),
    ("SecAction \"id:1,phase:1,pass,nolog,ctl:ruleRemoveTargetById=2;ARGS:a\"\nSecRule ARGS \"@rx evil\" \"id:2,phase:2,deny\"", "GET /?b=evil", 2, &[2]),
    ("SecAction \"id:1,phase:1,pass,nolog,ctl:ruleRemoveTargetByTag=x;ARGS\"\nSecRule ARGS \"@rx evil\" \"id:2,phase:2,deny,tag:x\"", "GET /?b=evil", 0, &[]),
    ("SecAction \"id:1,phase:1,pass,nolog,ctl:ruleEngine=Off\"\nSecAction \"id:2,phase:1,deny\"", "GET /", 0, &[]),
    ("SecAction \"id:1,phase:1,pass,nolog,ctl:ruleEngine=DetectionOnly\"\nSecAction \"id:2,phase:1,deny\"", "GET /", 0, &[2]),
    ("SecRuleEngine DetectionOnly\nSecAction \"id:2,phase:1,deny\"", "GET /", 0, &[2]),
    ("SecRuleEngine Off\nSecAction \"id:2,phase:1,deny\"", "GET /", 0, &[]),
];
