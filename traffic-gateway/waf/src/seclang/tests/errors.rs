//! What is wrong is said with its place, what was found and what to do.

use super::read;

/// A text and everything that is wrong with it.
const CASES: &[(&str, &[&str])] = &[
    ("SecRul ARGS x", &["1:1: unknown directive \"SecRul\", did you mean SecRule?"]),
    ("Frobnicate On", &["1:1: unknown directive \"Frobnicate\", which is none of this language"]),
    (
        "\n\n  SecRuleScript x.lua",
        &[
            "3:3: directive SecRuleScript is not supported: rules start no programs and scripts; write the check as rules, or put a \
           service behind the gateway",
        ],
    ),
    (
        "SecUploadKeepFiles On",
        &[
            "1:1: directive SecUploadKeepFiles is not supported: uploads are inspected while they pass and never stored; remove the line",
        ],
    ),
    (
        "SecGeoLookupDb /x.dat",
        &[
            "1:1: directive SecGeoLookupDb is not supported: rules ask no other service while a request waits; use the access lists of \
           the edge",
        ],
    ),
    (
        "SecRemoteRules key https://x",
        &[
            "1:1: directive SecRemoteRules is not supported: rules are read from files only; fetch them with what deploys the \
           configuration",
        ],
    ),
    (
        "<IfModule security2_module>",
        &[
            "1:1: directive <IfModule is not supported: sections of a server's configuration are not read; remove the line and the one \
           that closes it",
        ],
    ),
    (
        "SecXmlExternalEntity On",
        &["1:1: external entities of XML are never loaded; write SecXmlExternalEntity Off or remove it"],
    ),
    ("SecRuleEngine", &["1:1: SecRuleEngine needs On, Off or DetectionOnly"]),
    ("SecRuleEngine Maybe", &["1:15: \"Maybe\" is none of On, Off and DetectionOnly"]),
    ("SecRuleEngine On Off", &["1:18: \"Off\" is too much for SecRuleEngine; quote words that belong together"]),
    ("SecRequestBodyAccess Yes", &["1:22: \"Yes\" is neither On nor Off"]),
    ("SecRequestBodyLimit 12k", &["1:21: SecRequestBodyLimit is a number from 0 to 18446744073709551615, not \"12k\""]),
    ("SecRequestBodyLimitAction Drop", &["1:27: \"Drop\" is neither Reject nor ProcessPartial"]),
    ("SecArgumentsLimit -1", &["1:19: SecArgumentsLimit is a number from 0 to 4294967295, not \"-1\""]),
    ("SecArgumentSeparator ab", &["1:22: \"ab\" is not one ASCII character"]),
    ("SecResponseBodyMimeType", &["1:1: SecResponseBodyMimeType needs types such as text/html"]),
    ("SecMarker", &["1:1: SecMarker needs a name"]),
    ("SecRule ARGS", &["1:1: SecRule needs targets and an operator: SecRule ARGS \"@rx …\" \"id:1,…\""]),
    ("SecRule ARGS x id:1 y", &["1:21: \"y\" is too much for SecRule; quote words that belong together"]),
    ("SecRule ARGS \"x id:1", &["1:14: this \" is never closed"]),
    ("SecRule ARGS \"x\"\"id:1\"", &["1:17: a blank must follow the closing quote; a quote inside is written \\\""]),
    ("SecRule ARGZ x id:1", &["1:9: unknown variable \"ARGZ\", did you mean ARGS?"]),
    ("SecRule ARGS|ARGSNAMES x id:1", &["1:14: unknown variable \"ARGSNAMES\", did you mean ARGS_NAMES?"]),
    ("SecRule ARGS|GSB:x x id:1", &["1:14: unknown variable \"GSB\", which is none of this language"]),
    ("SecRule \"\" x id:1", &["1:10: a target is missing here; write the name of a variable such as ARGS"]),
    ("SecRule ARGS||FILES x id:1", &["1:14: a target is missing here; write the name of a variable such as ARGS"]),
    ("SecRule %{ARGS} x id:1", &["1:9: \"%{ARGS}\" is no target; write the name of a variable such as ARGS"]),
    ("SecRule \"ARGS FILES\" x id:1", &["1:15: \"FILES\" between targets; separate them with |"]),
    ("SecRule !ARGS:x y id:1", &["1:9: all targets are taken away; name what the rule looks at, too"]),
    ("SecRule ARGS: x id:1", &["1:14: a name is missing behind the colon"]),
    ("SecRule ARGS:a,FILES x id:1", &["1:14: a comma in \"a,FILES\": separate targets with |, or quote the name: '…'"]),
    (
        "SecRule REQUEST_METHOD:x y id:1",
        &["1:24: REQUEST_METHOD is one value and has no members; write REQUEST_METHOD alone"],
    ),
    ("SecRule XML x id:1", &["1:12: XML needs one of its expressions: XML:/* or XML://@*"]),
    (
        "SecRule XML://a/b x id:1",
        &["1:13: XPath \"//a/b\" is not supported; there are XML:/* (texts) and XML://@* (attributes)"],
    ),
    ("SecRule ARGS:/a x id:1", &["1:14: this expression is never closed; write it between slashes: /…/"]),
    ("SecRule ARGS:'a x id:1", &["1:14: this ' is never closed"]),
    ("SecRule ARGS:// x id:1", &["1:14: an empty expression selects everything; leave the selector away"]),
    ("SecRule ARGS:%{tx.a} x id:1", &["1:14: a selector holds no references; write the name itself"]),
    ("SecRule ARGS @regex id:1", &["1:14: unknown operator \"regex\", which is none of this language"]),
    ("SecRule ARGS \"@contain x\" id:1", &["1:15: unknown operator \"contain\", did you mean contains?"]),
    ("SecRule ARGS \"@@x\" id:1", &["1:15: \"@x\" is no operator; a pattern that begins with @ is written \"@rx @…\""]),
    (
        "SecRule ARGS \"!@gsbLookup x\" id:1",
        &[
            "1:15: operator gsbLookup is not supported: rules ask no other service while a request waits; use the access lists of the edge",
        ],
    ),
    ("SecRule ARGS \"@eq ten\" id:1", &["1:15: @eq compares numbers, and \"ten\" is none"]),
    ("SecRule ARGS \"@pm  \" id:1", &["1:15: @pm needs an argument"]),
    ("SecRule ARGS \"@detectSQLi x\" id:1", &["1:15: @detectSQLi takes no argument; remove \"x\""]),
    ("SecRule ARGS \"@streq %{foo}\" id:1", &["1:15: unknown variable \"foo\", which is none of this language"]),
    (
        "SecRule ARGS \"@streq %{tx.x\" id:1",
        &["1:15: %{tx.x is never closed; a reference ends with }, and a literal %{ in a pattern is written %\\{"],
    ),
    ("SecAction \"id:1,msg:'%{args}.%{tx.}'\"", &["1:17: a name is missing behind the dot in %{tx.}"]),
    ("SecAction \"id:1,msg:'%{time.x}'\"", &["1:17: TIME has no members; write %{TIME}"]),
    ("SecAction \"id:1,nlog\"", &["1:17: unknown action \"nlog\", did you mean log?"]),
    (
        "SecAction \"id:1,\\\n  exec:/bin/x\"",
        &[
            "2:3: action exec is not supported: rules start no programs and scripts; write the check as rules, or put a service behind \
           the gateway",
        ],
    ),
    ("SecAction \"id:1,initcol:thing=x\"", &["1:17: unknown collection \"thing\", which is none of this language"]),
    ("SecAction \"id:0\"", &["1:12: id is a number from 1 to 4294967295, not \"0\""]),
    ("SecAction \"id:x\"", &["1:12: id is a number from 1 to 4294967295, not \"x\""]),
    ("SecAction \"id\"", &["1:12: id needs a value; write id:…"]),
    (
        "SecAction \"id:1,phase:6\"",
        &["1:17: phase is a number from 1 to 5, request (2), response (4) or logging (5), not \"6\""],
    ),
    ("SecAction \"id:1,severity:CRITICL\"", &["1:17: unknown severity \"CRITICL\", did you mean CRITICAL?"]),
    ("SecAction \"id:1,severity:8\"", &["1:17: severity is a number from 0 to 7, not \"8\""]),
    ("SecAction \"id:1,t:lowercse\"", &["1:17: unknown transformation \"lowercse\", did you mean lowercase?"]),
    ("SecAction \"id:1,status:42\"", &["1:17: status is a number from 100 to 599, not \"42\""]),
    ("SecAction \"id:1,maturity:10\"", &["1:17: maturity is a number from 1 to 9, not \"10\""]),
    ("SecAction \"id:1,deny:403\"", &["1:17: deny takes no value; write deny instead of deny:403"]),
    ("SecAction \"id:1,allow:all\"", &["1:17: allow stands alone or is allow:phase or allow:request, not \"all\""]),
    ("SecAction \"id:1,redirect\"", &["1:17: redirect needs a value; write redirect:…"]),
    ("SecAction \"id:1,redirect:\"", &["1:17: redirect needs a value; write redirect:…"]),
    ("SecAction \"id:1,,pass\"", &["1:17: an action is missing here; remove the comma"]),
    ("SecAction \"id:1,pass,\"", &["1:22: an action is missing here; remove the comma"]),
    ("SecAction \"id:1,msg:'a\"", &["1:21: this ' is never closed; a quote inside is written \\'"]),
    ("SecAction \"id:1,msg:'a' b\"", &["1:25: \"b\" behind a closing quote; separate actions with commas"]),
    ("SecAction \"id:1,expirevar:ip.x\"", &["1:17: expirevar needs a number of seconds behind ="]),
    ("SecAction \"id:1,expirevar:tx.x=60\"", &["1:17: variables of TX end with their transaction; remove the action"]),
    ("SecAction \"id:1,setvar:x=1\"", &["1:17: setvar sets members of TX; write setvar:tx.x"]),
    (
        "SecAction \"id:1,setvar:args.x=1\"",
        &["1:17: setvar sets members of TX only, not of \"args\"; write setvar:tx.…"],
    ),
    ("SecAction \"id:1,setvar:tx.=1\"", &["1:17: a name is missing behind tx."]),
    (
        "SecAction \"id:1,setvar:!tx.x=1\"",
        &["1:17: setvar with ! takes the variable away and sets nothing; remove the ="],
    ),
    (
        "SecAction \"id:1,setvar:tx.x=+a\"",
        &["1:17: setvar adds and subtracts numbers, and \"a\" is none; leave the sign away to set a text"],
    ),
    ("SecAction \"id:1,ctl:ruleEngin=Off\"", &["1:17: unknown ctl \"ruleEngin\", did you mean ruleEngine?"]),
    ("SecAction \"id:1,ctl:ruleEngine\"", &["1:17: ctl:ruleEngine needs a value; write ctl:ruleEngine=…"]),
    (
        "SecAction \"id:1,ctl:debugLogLevel=9\"",
        &["1:17: ctl debugLogLevel is not supported: use `rules explain` to see what a request matches"],
    ),
    ("SecAction \"id:1,ctl:ruleRemoveById=9-1\"", &["1:17: the range 9-1 is empty; write the smaller id first"]),
    (
        "SecAction \"id:1,ctl:ruleRemoveTargetById=9\"",
        &["1:17: ctl:ruleRemoveTargetById names rules and one target; write ctl:ruleRemoveTargetById=…;ARGS:name"],
    ),
    ("SecAction \"id:1,ctl:ruleRemoveTargetById=9;!ARGS:x\"", &["1:17: the target of a ctl stands without ! and &"]),
    (
        "SecAction \"id:1,ctl:ruleRemoveTargetByTag=a;ARGS|FILES\"",
        &["1:17: a ctl takes one target; write one ctl for each"],
    ),
    (
        "SecAction \"id:1,ctl:requestBodyProcessor=YAML\"",
        &["1:17: unknown body processor \"YAML\", which is none of this language"],
    ),
    ("SecAction \"id:1,ctl:auditEngine=Sometimes\"", &["1:17: \"Sometimes\" is none of On, Off and RelevantOnly"]),
    ("SecRule ARGS x", &["1:1: a rule needs an id; add id:… to its actions"]),
    ("SecAction nolog", &["1:1: a rule needs an id; add id:… to its actions"]),
    ("SecAction id:7\n\nSecAction \"nolog,id:7\"", &["3:18: id 7 is taken by the rule at test.conf:1"]),
    ("SecAction \"id:1,chain\"", &["1:17: a chain needs another rule right behind this one; write it or remove chain"]),
    (
        "SecAction \"id:1,chain\"\nSecMarker A\nSecRule ARGS x id:2",
        &["1:17: a chain needs another rule right behind this one; write it or remove chain"],
    ),
    (
        "SecAction \"id:1,chain\"\nSecRule ARGS x \"deny\"",
        &["2:17: deny belongs to the first rule of a chain; move it there"],
    ),
    (
        "SecAction \"id:1,chain\"\nSecRule ARGS x \"id:2,phase:1\"",
        &[
            "2:17: id belongs to the first rule of a chain; move it there",
            "2:22: phase belongs to the first rule of a chain; move it there",
        ],
    ),
    ("SecAction \"id:1,phase:1,phase:2\"", &["1:25: phase is given twice; remove one"]),
    ("SecAction \"id:1,log,nolog\"", &["1:21: log or nolog is given twice; remove one"]),
    ("SecAction \"id:1,pass,deny\"", &["1:22: deny behind pass: a rule takes one of these; remove the other"]),
    (
        "SecMarker A\nSecAction \"id:1,skipAfter:A\"",
        &["2:17: no SecMarker A stands behind this rule; add it where the rules go on"],
    ),
    ("SecRuleRemoveById", &["1:1: SecRuleRemoveById needs an id or a range of ids such as 1000-1999"]),
    ("SecRuleRemoveById 1 x", &["1:21: id is a number from 1 to 4294967295, not \"x\""]),
    ("SecRuleRemoveByTag", &["1:1: SecRuleRemoveByTag needs a pattern"]),
    ("SecRuleUpdateTargetById 1", &["1:1: SecRuleUpdateTargetById needs rules and targets"]),
    ("SecRuleUpdateTargetById 1 !ARGZ:x", &["1:28: unknown variable \"ARGZ\", did you mean ARGS?"]),
    (
        "SecRuleUpdateTargetById 1 ARGS FILES",
        &["1:32: replacing targets is not supported; take the old one away with ! and add the new one in one list"],
    ),
    ("SecRuleUpdateActionById 1", &["1:1: SecRuleUpdateActionById needs an id and a list of actions"]),
    ("SecRuleUpdateActionById 1:2 pass", &["1:25: links of a chain cannot be changed; name the id of the chain alone"]),
    (
        "SecRuleUpdateActionById 1 \"pass,id:2\"",
        &["1:33: id, phase and chain of a rule cannot be changed; remove the rule and write a new one"],
    ),
    ("SecDefaultAction \"log,pass\"", &["1:1: SecDefaultAction needs a phase"]),
    ("SecDefaultAction \"phase:1,log\"", &["1:1: SecDefaultAction needs pass, deny, drop, redirect or allow"]),
    (
        "SecDefaultAction \"phase:1,block\"",
        &["1:27: block means what SecDefaultAction says; write deny, drop or pass here"],
    ),
    (
        "SecDefaultAction \"phase:1,pass,t:none\"",
        &["1:32: SecDefaultAction holds a phase, what to do, status, tag, log and auditlog; move this into rules"],
    ),
    (
        "SecDefaultAction \"phase:1,pass\"\nSecDefaultAction \"phase:1,deny\"",
        &["2:1: the default of phase 1 is given at test.conf:1 already; remove one"],
    ),
    (
        "SecRule ÄRGS \"x\" \"id:1\"\nSecRule \"ARGS:ä|FOO\" x id:2",
        &[
            "1:9: \"ÄRGS\" is no target; write the name of a variable such as ARGS",
            "2:17: unknown variable \"FOO\", which is none of this language",
        ],
    ),
    ("SecAction \"id:1,msg:'a\u{1}'\"", &["1:23: control character 0x01; in a pattern write it as \\x01"]),
    ("Include", &["1:1: Include needs the path of a file"]),
    ("Include none.conf", &["1:1: cannot read none.conf: entity not found"]),
    ("Include none/*.conf", &["1:1: no file matches none/*.conf; write IncludeOptional when there may be none"]),
    (
        "SecRule ARGZ @foo id:x",
        &[
            "1:9: unknown variable \"ARGZ\", did you mean ARGS?",
            "1:14: unknown operator \"foo\", which is none of this language",
            "1:19: id is a number from 1 to 4294967295, not \"x\"",
        ],
    ),
];

#[test]
fn every_error_has_its_place_what_was_found_and_what_to_do() {
    let mut wrong = Vec::new();
    for (text, expected) in CASES {
        let errors = match read(text) {
            Ok(_) => Vec::new(),
            Err(errors) => errors.iter().map(|error| error.to_string().replacen("test.conf:", "", 1)).collect(),
        };
        if errors != *expected {
            wrong.push(format!("{text}\n  is      {errors:#?}\n  want    {expected:#?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(CASES.len() >= 60);
}

#[test]
fn a_byte_that_is_no_text_is_an_error_with_its_place() {
    let files = super::Memory::default()
        .with("a.conf", b"# \xff is welcome here\nSecRule ARGS \"\xc3\xa4\xe9\" id:1\n".as_slice());
    let errors = super::super::parse(&files, &["a.conf"]).unwrap_err();
    let text = "a.conf:2:16: byte 0xe9 is not UTF-8; in a pattern write it as \\xe9";
    assert_eq!(errors.iter().map(ToString::to_string).collect::<Vec<_>>(), [text]);
}

#[test]
fn errors_stop_at_a_hundred() {
    let errors = read(&"Nonsense\n".repeat(1_000)).unwrap_err();
    assert_eq!(errors.len(), super::super::MAX_ERRORS);
}

#[test]
fn a_broken_rule_does_not_make_its_neighbours_look_broken() {
    let text = "SecRule ARGZ x \"id:1,chain\"\nSecRule ARGS y\nSecRule ARGS @foo\nSecRule FILES z\nSecAction id:2";
    let errors: Vec<String> = read(text).unwrap_err().iter().map(ToString::to_string).collect();
    assert_eq!(errors.len(), 2, "{errors:?}");
}
