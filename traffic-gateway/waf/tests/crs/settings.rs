//! What `crs-setup.conf` and `[waf]` can set: levels, early blocking, reporting, sampling.

use std::collections::BTreeSet;

use gatehouse_waf::rules::Options;

use crate::engine::{Engine, Outcome};
use crate::suite;

/// The rule that decides about a head early, that decides about requests, and that reports scores.
const EARLY: u32 = 949_111;
const DECIDES: u32 = 949_110;
const REPORTS: u32 = 980_170;

/// A request with an attack in its head, and one with a weak sign of one, which only level 2 sees.
const ATTACK: &str =
    "GET /?q=%3Cscript%3Ealert(1)%3C/script%3E HTTP/1.1\r\nHost: shop.test\r\nUser-Agent: x\r\nAccept: */*\r\n\r\n";
const WEAK: &str = "GET /?q=a%22%20%26%20b HTTP/1.1\r\nHost: shop.test\r\nUser-Agent: x\r\nAccept: */*\r\n\r\n";
const ORDINARY: &str = "GET /?q=blue+shoes HTTP/1.1\r\nHost: shop.test\r\nUser-Agent: x\r\nAccept: */*\r\n\r\n";

/// What becomes of a request with these variables set as `[waf.crs_variables]` does.
fn outcome(variables: &str, options: &Options, request: &str) -> Option<Outcome> {
    let directory = suite::directory()?;
    let before = format!("SecAction \"id:1,phase:1,pass,nolog{variables}\"\n");
    Some(Engine::with(&directory, &before, options).unwrap().show(request.as_bytes()))
}

fn at_level(blocking: u8, detection: u8) -> Options {
    Options { blocking_paranoia: blocking, detection_paranoia: detection, ..Options::default() }
}

#[test]
fn early_blocking_decides_by_the_head() {
    let body = ATTACK.replace("GET", "POST").replace("\r\n\r\n", "\r\nContent-Length: 3\r\n\r\na=b");
    let Some(late) = outcome("", &Options::default(), &body) else { return };
    assert!(late.refused && late.ids.contains(&DECIDES) && !late.ids.contains(&EARLY), "{:?}", late.ids);
    let early = outcome(",setvar:tx.early_blocking=1", &Options::default(), &body).unwrap();
    assert!(early.refused && early.ids.contains(&EARLY) && !early.ids.contains(&DECIDES), "{:?}", early.ids);
}

#[test]
fn what_only_a_higher_level_sees_is_logged_and_refuses_nothing() {
    let Some(blocking) = outcome("", &at_level(3, 3), WEAK) else { return };
    let detecting = outcome("", &at_level(1, 3), WEAK).unwrap();
    assert!(blocking.ids.len() > 1 && blocking.refused, "{:?}", blocking.ids);
    assert!(!detecting.refused && !detecting.ids.is_empty(), "{:?}", detecting.ids);
    assert!(outcome("", &at_level(1, 1), WEAK).unwrap().ids.is_empty());
}

#[test]
fn a_threshold_lets_single_findings_pass() {
    let options = |inbound_threshold| Options { inbound_threshold, ..Options::default() };
    let Some(found) = outcome("", &options(5), ATTACK) else { return };
    assert!(found.refused);
    assert!(!outcome("", &options(100), ATTACK).unwrap().refused);
}

#[test]
fn a_reporting_level_says_which_requests_are_reported() {
    let Some(directory) = suite::directory() else { return };
    // An attack, what level 3 would refuse, and an ordinary request; then what level 3 sees and would not refuse.
    for (level, attack, refused_at_three, ordinary, seen_at_three) in [
        (0, false, false, false, false),
        (1, true, false, false, false),
        (2, true, true, false, false),
        (3, true, true, false, false),
        (4, true, true, false, true),
        (5, true, true, true, true),
    ] {
        let before = format!("SecAction \"id:1,phase:1,pass,nolog,setvar:tx.reporting_level={level}\"\n");
        let engine = Engine::with(&directory, &before, &at_level(1, 3)).unwrap();
        let reported = |request: &str| engine.show(request.as_bytes()).ids.contains(&REPORTS);
        let found = (reported(ATTACK), reported(WEAK), reported(ORDINARY));
        assert_eq!(found, (attack, refused_at_three, ordinary), "{level}");
        if [3, 4].contains(&level) {
            let lenient = Options { inbound_threshold: 100, ..at_level(1, 3) };
            let engine = Engine::with(&directory, &before, &lenient).unwrap();
            assert_eq!(engine.show(WEAK.as_bytes()).ids.contains(&REPORTS), seen_at_three, "{level}");
        }
    }
}

#[test]
fn sampling_by_the_rules_takes_a_share_of_the_requests() {
    let Some(directory) = suite::directory() else { return };
    let before = "SecAction \"id:1,phase:1,pass,nolog,setvar:tx.sampling_percentage=30\"\n";
    let engine = Engine::with(&directory, before, &Options::default()).unwrap();
    let outcomes: Vec<bool> =
        (0..400).map(|number| engine.show_as(ATTACK.as_bytes(), &format!("request-{number}")).refused).collect();
    let refused = outcomes.iter().filter(|refused| **refused).count();
    assert!((60..=180).contains(&refused), "{refused} of 400");
    assert_eq!(outcomes.iter().collect::<BTreeSet<_>>().len(), 2);
}
