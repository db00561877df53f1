//! Chains: links, captures, matched variables.

use super::{Verdict, denied, run};

#[test]
fn every_link_must_match() {
    let rules = r#"SecRule ARGS:a "@rx evil" "id:1,phase:2,deny,chain"
SecRule ARGS:b "@rx worse""#;
    assert_eq!(run(rules, "GET /?a=evil&b=worse"), (denied(1), vec![1]));
    assert_eq!(run(rules, "GET /?a=evil&b=fine"), (Verdict::Pass, vec![]));
    assert_eq!(run(rules, "GET /?a=fine&b=worse"), (Verdict::Pass, vec![]));
}

#[test]
fn a_captured_group_is_seen_by_later_links() {
    let rules = r#"SecRule ARGS:a "@rx ^(\w+)-(\w+)$" "id:1,phase:2,deny,capture,chain"
SecRule TX:1 "@streq evil" "chain"
SecRule TX:2 "@streq %{ARGS.b}""#;
    assert_eq!(run(rules, "GET /?a=evil-x&b=x").0, denied(1));
    assert_eq!(run(rules, "GET /?a=evil-x&b=y").0, Verdict::Pass);
    assert_eq!(run(rules, "GET /?a=good-x&b=x").0, Verdict::Pass);
}

#[test]
fn groups_of_an_earlier_match_do_not_stay() {
    let rules = r#"SecRule ARGS:a "@rx (.)(.)" "id:1,phase:2,pass,nolog,capture"
SecRule ARGS:a "@rx b" "id:2,phase:2,pass,nolog,capture"
SecRule &TX:1 "@eq 1" "id:3,phase:2,deny""#;
    assert_eq!(run(rules, "GET /?a=ab").0, Verdict::Pass);
    assert_eq!(run(rules, "GET /?a=ac").0, denied(3));
}

#[test]
fn matched_variables_are_those_of_the_chain() {
    let rules = r#"SecRule ARGS "@rx evil" "id:1,phase:2,deny,chain"
SecRule MATCHED_VARS "@rx worse""#;
    assert_eq!(run(rules, "GET /?a=evil&b=evil+worse").0, denied(1));
    assert_eq!(run(rules, "GET /?a=evil&b=worse").0, Verdict::Pass);
    let names = r#"SecRule ARGS "@rx evil" "id:1,phase:2,deny,chain"
SecRule MATCHED_VARS_NAMES "@streq ARGS:b""#;
    assert_eq!(run(names, "GET /?a=evil&b=evil").0, denied(1));
    assert_eq!(run(names, "GET /?a=evil&b=fine").0, Verdict::Pass);
}

#[test]
fn matched_var_is_the_last_value_as_it_was_compared() {
    let rules = r#"SecRule ARGS "@rx evil" "id:1,phase:2,deny,t:lowercase,chain"
SecRule MATCHED_VAR "@streq evil2" "chain"
SecRule MATCHED_VAR_NAME "@streq ARGS:b""#;
    assert_eq!(run(rules, "GET /?a=EVIL1&b=EVIL2").0, denied(1));
    assert_eq!(run(rules, "GET /?b=EVIL2&a=EVIL1").0, Verdict::Pass);
}

#[test]
fn all_matched_values_reach_the_next_link() {
    let rules = r#"SecRule ARGS "@rx evil" "id:1,phase:2,deny,chain"
SecRule MATCHED_VARS "@rx worst""#;
    let many: String = (0..400).map(|n| format!("a{n}=evil{n}&")).collect();
    assert_eq!(run(rules, &format!("GET /?{many}z=evil-worst")).0, denied(1));
    assert_eq!(run(rules, &format!("GET /?{many}")).0, Verdict::Pass);
}

#[test]
fn variables_of_a_link_are_set_when_that_link_matches() {
    let rules = r#"SecRule ARGS:a "@rx evil" "id:1,phase:2,pass,nolog,setvar:tx.first=1,chain"
SecRule ARGS:b "@rx worse" "setvar:tx.second=1"
SecRule TX:first "@eq 1" "id:2,phase:2,pass"
SecRule TX:second "@eq 1" "id:3,phase:2,pass""#;
    assert_eq!(run(rules, "GET /?a=evil&b=fine").1, vec![2]);
    assert_eq!(run(rules, "GET /?a=evil&b=worse").1, vec![2, 3]);
}

#[test]
fn controls_act_when_the_whole_chain_matches() {
    let rules = r#"SecRule ARGS:a "@rx evil" "id:1,phase:2,pass,nolog,ctl:ruleRemoveById=2,chain"
SecRule ARGS:b "@rx fine" "ctl:ruleRemoveById=3"
SecAction "id:2,phase:2,pass"
SecAction "id:3,phase:2,pass""#;
    assert_eq!(run(rules, "GET /?a=evil&b=worse").1, vec![2, 3]);
    assert_eq!(run(rules, "GET /?a=evil&b=fine").1, Vec::<u32>::new());
}

#[test]
fn names_of_variables_may_be_put_together() {
    let rules = r#"SecRule ARGS_NAMES "@unconditionalMatch" "id:1,phase:2,pass,nolog,setvar:'tx.count_%{MATCHED_VAR_NAME}=+1'"
SecRule TX:/^count_/ "@gt 1" "id:2,phase:2,deny,chain"
SecRule MATCHED_VARS_NAMES "@rx TX:count_(.*)" "capture,chain"
SecRule TX:1 "@streq ARGS_NAMES:b""#;
    assert_eq!(run(rules, "GET /?a=1&b=2&b=3").0, denied(2));
    assert_eq!(run(rules, "GET /?a=1&b=2&c=3").0, Verdict::Pass);
}
