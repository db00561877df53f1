//! A clean request needs no new memory once the buffers have grown.

use super::super::{Mode, Transaction};
use super::{Verdict, feed, rules, start};

const RULES: &str = r#"SecAction "id:1,phase:1,pass,nolog,setvar:tx.a=5,setvar:tx.b=text,setvar:tx.c=+%{tx.a}"
SecRule REQUEST_HEADERS|ARGS|ARGS_NAMES|REQUEST_COOKIES "@rx (?i)union\s+select" "id:2,phase:2,deny,t:urlDecodeUni,t:lowercase"
SecRule ARGS "@pm evil worse" "id:3,phase:2,deny,t:urlDecodeUni,t:htmlEntityDecode"
SecRule TX:c "@gt 10" "id:4,phase:2,deny"
SecRule &ARGS "@gt 100" "id:5,phase:2,deny""#;

const REQUEST: &str = "GET /Path/File.html?id=Value&q=some+words%21&page=2 HTTP/1.1
host: www.example.com
user-agent: Mozilla/5.0 (X11; Linux x86_64) Gecko/20100101
accept: text/html,application/xhtml+xml;q=0.9
cookie: session=0123456789ABCDEF; theme=Dark";

#[test]
fn the_second_clean_request_grows_no_buffer() {
    let rules = rules(RULES);
    let mut transaction = Transaction::new(rules.clone(), Mode::Block, start());
    let mut capacities = Vec::new();
    for _ in 0..4 {
        assert_eq!(feed(&mut transaction, REQUEST), Verdict::Pass);
        transaction.finish();
        let state = &transaction.state;
        capacities.push((
            state.texts.capacity(),
            state.members.capacity(),
            [state.items.capacity(), state.matched.capacity(), state.candidates.capacity(), state.scratch.capacity()],
        ));
        transaction.renew(rules.clone(), Mode::Block, start());
    }
    assert_eq!(capacities[1], capacities[3]);
}

#[test]
fn values_that_come_twice_are_kept_once() {
    let rules = rules(RULES);
    let size = |request: &str| {
        let mut transaction = Transaction::new(rules.clone(), Mode::Block, start());
        feed(&mut transaction, request);
        transaction.state.texts.size()
    };
    let (long, many) = ("x".repeat(1_000), "&a=");
    let once = size(&format!("GET /?a={long}"));
    let often: String = (0..50).map(|_| format!("{many}{long}")).collect();
    // The request line, the target and the query hold every copy; the arguments do not.
    assert!(size(&format!("GET /?{often}")) < once + 51 * 5 * 1_000);
}

#[test]
fn a_long_request_leaves_no_long_buffers() {
    let rules = rules(RULES);
    let mut transaction = Transaction::new(rules.clone(), Mode::Block, start());
    let body = "a=".to_owned() + &"%41".repeat(40_000);
    for _ in 0..3 {
        feed(&mut transaction, &format!("POST / HTTP/1.1\ncontent-type: application/x-www-form-urlencoded\n\n{body}"));
        transaction.finish();
        transaction.renew(rules.clone(), Mode::Block, start());
        let held: usize = transaction.state.texts.capacity().iter().sum();
        assert!(held < 16 << 20, "{held}");
    }
}

#[test]
fn transformed_texts_are_forgotten_between_rules() {
    let steps = ["t:urlDecodeUni", "t:lowercase", "t:hexEncode", "t:base64Encode", "t:md5", "t:removeWhitespace"];
    let rules_text: String = (0..60)
        .map(|n| {
            let step = steps[n % steps.len()];
            let more = steps[n / steps.len() % steps.len()];
            format!("SecRule ARGS \"!@rx never-{n}\" \"id:{},phase:2,pass,nolog,{step},{more}\"\n", n + 1)
        })
        .collect();
    let rules = rules(&rules_text);
    let mut transaction = Transaction::new(rules, Mode::Block, start());
    let body: String = (0..100).map(|n| format!("a{n}={}&", "Ab%20%43".repeat(150))).collect();
    feed(&mut transaction, &format!("POST / HTTP/1.1\ncontent-type: application/x-www-form-urlencoded\n\n{body}"));
    assert!(transaction.state.texts.size() < 16 << 20, "{}", transaction.state.texts.size());
}
