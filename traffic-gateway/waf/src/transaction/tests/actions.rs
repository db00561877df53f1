//! Variables, scores, decisions, reports.

use super::super::{MATCHED_BYTES, MATCHES, Mode, Start, TARGETS, Transaction};
use super::{Verdict, denied, errors, feed, ids, rules, rules_with, run, run_with, start};
use crate::rules::Options;

#[test]
fn scores_add_up_over_values_and_rules() {
    let text = r#"SecAction "id:1,phase:1,pass,nolog,setvar:tx.anomaly_score=0,setvar:tx.critical=5"
SecRule ARGS "@rx evil" "id:2,phase:2,pass,setvar:tx.anomaly_score=+%{tx.critical}"
SecRule TX:ANOMALY_SCORE "@ge 10" "id:3,phase:2,deny,msg:'Score %{tx.anomaly_score}'""#;
    assert_eq!(run(text, "GET /?a=evil").0, Verdict::Pass);
    let (verdict, report) = run_with(&rules(text), Mode::Block, "GET /?a=evil&b=evil");
    assert_eq!(verdict, denied(3));
    assert_eq!(ids(&report), [2, 3]);
    assert_eq!(report.matches[0].score, 10);
    let names: Vec<&str> = report.matches[0].targets.iter().map(|target| target.name.as_str()).collect();
    assert_eq!(names, ["ARGS:a", "ARGS:b"]);
    assert_eq!(report.matches[1].message, "Score 10");
}

#[test]
fn the_score_of_crs_like_rules_is_reported() {
    let text = r#"SecRule ARGS "@rx evil" "id:1,phase:2,pass,setvar:tx.inbound_anomaly_score_pl1=+3"
SecAction "id:2,phase:2,pass,nolog,setvar:tx.blocking_inbound_anomaly_score=+%{tx.inbound_anomaly_score_pl1}"
SecRule TX:BLOCKING_INBOUND_ANOMALY_SCORE "@ge %{tx.inbound_anomaly_score_threshold}" "id:3,phase:2,deny""#;
    let (verdict, report) = run_with(&rules(text), Mode::Block, "GET /?a=evil");
    assert_eq!((verdict, report.inbound_score), (Verdict::Pass, 3));
    let (verdict, report) = run_with(&rules(text), Mode::Block, "GET /?a=evil&b=evil");
    assert_eq!((verdict, report.inbound_score), (denied(3), 6));
    let strict = rules_with(text, &Options { inbound_threshold: 3, ..Options::default() });
    assert_eq!(run_with(&strict, Mode::Block, "GET /?a=evil").0, denied(3));
}

#[test]
fn arithmetic_keeps_numbers() {
    let text = r#"SecAction "id:1,phase:1,pass,nolog,setvar:tx.a=7,setvar:tx.a=-10,setvar:tx.b=+2,setvar:tx.c=x,setvar:!tx.c"
SecRule TX:a "@eq -3" "id:2,phase:1,pass"
SecRule TX:b "@eq 2" "id:3,phase:1,pass"
SecRule &TX:c "@eq 0" "id:4,phase:1,pass"
SecRule TX:c "@unconditionalMatch" "id:5,phase:1,pass""#;
    assert_eq!(run(text, "GET /").1, [2, 3, 4]);
}

#[test]
fn detection_refuses_nothing_and_says_what_would_be() {
    let text = "SecAction \"id:1,phase:1,deny,status:404\"\nSecAction \"id:2,phase:1,pass\"";
    let (verdict, report) = run_with(&rules(text), Mode::Detect, "GET /");
    assert_eq!(verdict, Verdict::Pass);
    assert_eq!(report.decision, Some(Verdict::Deny { status: 404, by: 1 }));
    assert_eq!(ids(&report), [1, 2]);
    let (verdict, report) = run_with(&rules(text), Mode::Off, "GET /");
    assert_eq!((verdict, ids(&report).len()), (Verdict::Pass, 0));
}

#[test]
fn a_rule_cannot_raise_the_mode_of_the_edge() {
    let text = "SecAction \"id:1,phase:1,pass,nolog,ctl:ruleEngine=On\"\nSecAction \"id:2,phase:1,deny\"";
    assert_eq!(run_with(&rules(text), Mode::Detect, "GET /").0, Verdict::Pass);
    assert_eq!(run_with(&rules(text), Mode::Block, "GET /").0, denied(2));
}

#[test]
fn drop_and_redirect_say_what_they_do() {
    assert_eq!(run(r#"SecAction "id:1,phase:1,drop""#, "GET /").0, Verdict::Drop { by: 1 });
    let redirect = r#"SecAction "id:1,phase:1,redirect:'https://a.example/?id=%{UNIQUE_ID}'""#;
    let location = "https://a.example/?id=req-1".to_owned();
    assert_eq!(run(redirect, "GET /").0, Verdict::Redirect { status: 302, location, by: 1 });
}

#[test]
fn paranoia_levels_come_from_the_options() {
    let text = r#"SecRule TX:DETECTION_PARANOIA_LEVEL "@lt 2" "id:10,phase:2,pass,nolog,skipAfter:END"
SecRule ARGS "@rx evil" "id:11,phase:2,deny,tag:'paranoia-level/2'"
SecMarker END"#;
    let low = rules(text);
    assert_eq!(run_with(&low, Mode::Block, "GET /?a=evil").0, Verdict::Pass);
    let summary: Vec<_> = low.rules().map(|rule| (rule.id, rule.paranoia, rule.active)).collect();
    assert_eq!(summary, [(10, 0, false), (11, 2, false)]);
    let high = rules_with(text, &Options { detection_paranoia: 2, ..Options::default() });
    assert_eq!(run_with(&high, Mode::Block, "GET /?a=evil").0, denied(11));
    assert_eq!(high.rules().filter(|rule| rule.active).count(), 1);
}

#[test]
fn levels_set_by_files_override_the_options() {
    let text = r#"SecAction "id:1,phase:1,pass,nolog,setvar:tx.detection_paranoia_level=2"
SecRule TX:DETECTION_PARANOIA_LEVEL "@lt 2" "id:10,phase:2,pass,nolog,skipAfter:END"
SecRule ARGS "@rx evil" "id:11,phase:2,deny"
SecMarker END"#;
    assert_eq!(run(text, "GET /?a=evil").0, denied(11));
    let by_request = text.replace("SecAction \"id:1", "SecRule ARGS:level \"@eq 2\" \"id:1");
    assert_eq!(run(&by_request, "GET /?a=evil&level=2").0, denied(11));
    assert_eq!(run(&by_request, "GET /?a=evil").0, Verdict::Pass);
}

#[test]
fn what_is_reported_is_bounded() {
    let text = r#"SecRule ARGS "@unconditionalMatch" "id:1,phase:2,pass,msg:'%{ARGS.a0}'""#;
    let many: String = (0..50).map(|n| format!("a{n}={}&", "x".repeat(5000))).collect();
    let (_, report) = run_with(&rules(text), Mode::Block, &format!("GET /?{many}"));
    assert_eq!(report.matches[0].targets.len(), TARGETS);
    assert_eq!(report.matches[0].targets[0].bytes.len(), MATCHED_BYTES);
    assert_eq!(report.matches[0].message.len(), 4096);
    let text: String = (1..=100).map(|id| format!("SecAction \"id:{id},phase:1,pass\"\n")).collect();
    let (_, report) = run_with(&rules(&text), Mode::Block, "GET /");
    assert_eq!((report.matches.len(), report.unlisted), (MATCHES, 36));
}

#[test]
fn only_the_part_that_matched_is_reported() {
    let text = r#"SecRule ARGS "@rx ev(il)" "id:1,phase:2,pass,capture,logdata:'%{TX.0} %{TX.1} in %{MATCHED_VAR_NAME}: %{MATCHED_VAR}'""#;
    let (_, report) = run_with(&rules(text), Mode::Block, "GET /?a=so+evil");
    assert_eq!(report.matches[0].targets[0].bytes, b"evil");
    assert_eq!(report.matches[0].data, "evil il in ARGS:a: so evil");
}

#[test]
fn the_highest_severity_is_the_lowest_number() {
    let text = r#"SecAction "id:1,phase:1,pass,nolog,severity:WARNING"
SecAction "id:2,phase:1,pass,nolog,severity:NOTICE"
SecRule HIGHEST_SEVERITY "@eq 4" "id:3,phase:1,pass""#;
    assert_eq!(run(text, "GET /").1, [3]);
}

#[test]
fn a_program_that_cannot_run_is_refused() {
    assert_eq!(errors("SecRule ENV:HOME \"@rx x\" \"id:1,phase:1,pass\"").len(), 1);
    assert_eq!(errors("SecRule &FILES_CONTENT \"@eq 0\" \"id:1,phase:2,pass\"").len(), 1);
    assert_eq!(errors("SecRule ARGS \"@rx (\" \"id:1,phase:1,pass\"").len(), 1);
}

#[test]
fn sampling_leaves_requests_out() {
    let text = r#"SecAction "id:1,phase:1,deny""#;
    let half = rules_with(text, &Options { sampling_percentage: 41, ..Options::default() });
    assert_eq!(run_with(&half, Mode::Block, "GET /").0, Verdict::Pass);
    let more = rules_with(text, &Options { sampling_percentage: 42, ..Options::default() });
    assert_eq!(run_with(&more, Mode::Block, "GET /").0, denied(1));
}

#[test]
fn hits_are_counted() {
    let set = rules(r#"SecRule ARGS "@rx evil" "id:1,phase:2,pass""#);
    for (random, request) in [(0, "GET /?a=evil"), (1, "GET /?a=evil"), (64, "GET /?a=fine"), (128, "GET /")] {
        let mut transaction = Transaction::new(set.clone(), Mode::Block, Start { random, ..start() });
        feed(&mut transaction, request);
        transaction.finish();
    }
    let cost = set.costs().next().unwrap();
    assert_eq!((cost.id, cost.runs, cost.hits, cost.nanoseconds), (1, 64, 2, 0));
}
