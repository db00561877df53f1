//! Bodies of which files go on before the end: the verdict is that of the whole body, however it was cut and whatever was
//! held back.

use std::sync::Arc;

use proptest::prelude::{ProptestConfig, Strategy, any, prop, prop_assert, prop_assert_eq, prop_oneof, proptest};

use super::super::{Mode, Report, Transaction, Verdict, WINDOW};
use super::{ids, rules, start};
use crate::rules::RuleSet;

/// Scores that add up, a count, and what decides at the end.
const RULES: &str = r#"
SecRule ARGS|ARGS_NAMES "@contains evil" "id:1,phase:2,pass,setvar:tx.n=+5"
SecRule FILES "@endsWith .php" "id:2,phase:2,pass,setvar:tx.n=+5"
SecRule FILES_CONTENT "@contains shell" "id:3,phase:2,pass,setvar:tx.n=+3"
SecRule &ARGS "@gt 3" "id:4,phase:2,pass,setvar:tx.n=+2"
SecRule FILES_COMBINED_SIZE "@gt 60000" "id:5,phase:2,pass,setvar:tx.n=+1"
SecRule REQBODY_ERROR "!@eq 0" "id:6,phase:2,pass,setvar:tx.n=+5"
SecRule TX:n "@ge 5" "id:9,phase:2,deny,status:403"
"#;

#[derive(Clone, Debug)]
enum Part {
    Field(String),
    /// A name, a length, and what stands in its middle.
    File(&'static str, usize, &'static str),
}

impl Part {
    fn write(&self, body: &mut Vec<u8>) {
        match self {
            Self::Field(value) => {
                let head = "\r\n--b\r\ncontent-disposition: form-data; name=\"f\"\r\n\r\n";
                body.extend_from_slice(format!("{head}{value}").as_bytes());
            }
            Self::File(name, length, what) => {
                let head =
                    format!("\r\n--b\r\ncontent-disposition: form-data; name=\"u\"; filename=\"{name}\"\r\n\r\n");
                body.extend_from_slice(head.as_bytes());
                let half = "a line\r\n--c\n".repeat(length / 24);
                body.extend_from_slice(format!("{half}{what}{half}").as_bytes());
            }
        }
    }
}

/// A body, and where its first part begins that is refused by itself.
fn body_of(parts: &[Part]) -> (Vec<u8>, Option<u64>) {
    let (mut body, mut bad) = (Vec::new(), None);
    for part in parts {
        let is_bad = match part {
            Part::Field(value) => value.contains("evil"),
            Part::File(name, ..) => name.ends_with(".php"),
        };
        if is_bad && bad.is_none() {
            bad = Some(body.len() as u64);
        }
        part.write(&mut body);
    }
    body.extend_from_slice(b"\r\n--b--\r\n");
    (body, bad)
}

/// What came of a body of which at most `bound` bytes are held back, files not counted.
#[derive(Debug)]
struct Outcome {
    verdict: Verdict,
    report: Report,
    /// Bytes that went on before the end.
    gone: u64,
    /// Whether the end was reached.
    ended: bool,
    most_held: u64,
}

fn stream(rules: &Arc<RuleSet>, body: &[u8], pieces: &[usize], bound: u64) -> Outcome {
    let mut transaction = Transaction::new(Arc::clone(rules), Mode::Block, start());
    transaction.request_line(b"POST", b"/?f=1", b"HTTP/1.1");
    transaction.request_header(b"content-type", b"multipart/form-data; boundary=b");
    assert_eq!(transaction.request_head_end(), Verdict::Pass);
    let (mut came, mut gone, mut most_held) = (0_u64, 0_u64, 0_u64);
    let (mut rest, mut verdict, mut lengths) = (body, Verdict::Pass, pieces.iter().cycle());
    while !rest.is_empty() && verdict == Verdict::Pass {
        let (piece, later) = rest.split_at((*lengths.next().unwrap()).min(rest.len()));
        rest = later;
        came += piece.len() as u64;
        assert_eq!(transaction.request_body(piece), Verdict::Pass);
        let so_far = transaction.body_so_far().unwrap();
        let ready = so_far.settled.saturating_sub(gone);
        if ready > 0 && (so_far.is_judged || came - gone > bound) {
            if !so_far.is_judged {
                verdict = transaction.judge_so_far();
            }
            gone += if verdict == Verdict::Pass { ready } else { 0 };
        }
        most_held = most_held.max(came - gone);
    }
    let ended = verdict == Verdict::Pass;
    if ended {
        verdict = transaction.request_end();
    }
    Outcome { verdict, report: transaction.finish(), gone, ended, most_held }
}

fn part() -> impl Strategy<Value = Part> {
    prop_oneof![
        4 => "[a-z]{0,40}".prop_map(Part::Field),
        1 => prop::sample::select(&["evil", "x=evil&"][..]).prop_map(|value| Part::Field(value.to_owned())),
        1 => (1..6_usize).prop_map(|n| Part::Field("long ".repeat(n * 300))),
        4 => (0..50_000_usize).prop_map(|length| Part::File("a.png", length, "x")),
        1 => (0..50_000_usize).prop_map(|length| Part::File("a.png", length, "shell")),
        1 => (0..50_000_usize).prop_map(|length| Part::File("a.php", length, "")),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, ..ProptestConfig::default() })]
    #[test]
    fn the_verdict_is_that_of_the_whole_body(
        parts in prop::collection::vec(part(), 0..7),
        pieces in prop::collection::vec(1..9_000_usize, 1..6),
        bound in 0..60_000_u64,
        cut in any::<prop::sample::Index>(),
        is_cut in prop::bool::weighted(0.1),
    ) {
        let rules = rules(RULES);
        let (mut body, bad) = body_of(&parts);
        if is_cut {
            body.truncate(cut.index(body.len()));
        }
        let whole = stream(&rules, &body, &[usize::MAX], u64::MAX);
        let streamed = stream(&rules, &body, &pieces, bound);
        prop_assert_eq!(&streamed.verdict, &whole.verdict);
        if streamed.ended {
            prop_assert_eq!(&streamed.report, &whole.report);
        }
        if let Some(bad) = bad {
            prop_assert!(streamed.gone <= bad, "{} bytes went on, the part begins at {bad}", streamed.gone);
        }
        let longest = parts.iter().map(|part| if let Part::Field(value) = part { value.len() } else { 0 }).max();
        let room = bound.max(longest.unwrap_or(0) as u64) + (WINDOW + 9_000 + 500) as u64;
        prop_assert!(streamed.most_held <= room, "{} of {room}", streamed.most_held);
    }
}

#[test]
fn a_long_file_goes_on_and_what_follows_it_waits() {
    let rules = rules(RULES);
    let (body, bad) =
        body_of(&[Part::Field("first".into()), Part::File("a.png", 300_000, ""), Part::Field("evil".into())]);
    let outcome = stream(&rules, &body, &[4_096], 20_000);
    assert!(matches!(outcome.verdict, Verdict::Deny { by: 9, .. }));
    let bad = bad.unwrap();
    assert!(outcome.gone <= bad && bad - outcome.gone < WINDOW as u64 + 4_096, "{} of {bad}", outcome.gone);
    assert!(outcome.ended, "what followed was judged with the rest");
    assert_eq!(ids(&outcome.report), [1, 5, 9]);
}

#[test]
fn what_is_found_in_a_file_is_judged_before_more_of_it_goes_on() {
    let rules = rules(r#"SecRule FILES_CONTENT "@contains shell" "id:1,phase:2,deny""#);
    for at in [100, WINDOW - 2, 5 * WINDOW] {
        let (body, _) = body_of(&[Part::File("a.png", 2 * at, "shell"), Part::File("b.png", 100_000, "")]);
        let outcome = stream(&rules, &body, &[1_000], 2_000);
        assert!(matches!(outcome.verdict, Verdict::Deny { by: 1, .. }), "{at}");
        assert!(outcome.gone < (at + WINDOW) as u64, "{at}: {} bytes went on", outcome.gone);
    }
}

#[test]
fn what_not_every_server_takes_for_a_file_does_not_go_on() {
    let rules = rules(RULES);
    for name in ["filename=\"\"", "filename*=utf-8''a", "x=y"] {
        let head = format!("--b\r\ncontent-disposition: form-data; name=\"u\"; {name}\r\n\r\n");
        let body = [head.as_bytes(), &[b'x'; 50_000]].concat();
        assert_eq!(stream(&rules, &body, &[1_000], 2_000).gone, 0, "{name}");
    }
}

#[test]
fn a_body_that_a_rule_wants_as_it_is_does_not_go_on() {
    let text = "SecAction \"id:1,phase:1,pass,nolog,ctl:forceRequestBodyVariable=On\"\n\
                SecRule REQUEST_BODY \"@contains evil\" \"id:2,phase:2,deny\"";
    let mut transaction = Transaction::new(rules(text), Mode::Block, start());
    transaction.request_line(b"POST", b"/", b"HTTP/1.1");
    transaction.request_header(b"content-type", b"multipart/form-data; boundary=b");
    transaction.request_head_end();
    assert!(!transaction.streams_files());
    transaction.request_body(b"--b\r\ncontent-disposition: form-data; name=\"u\"; filename=\"a\"\r\n\r\nxxx");
    assert_eq!(transaction.body_so_far(), None);
}

#[test]
fn judging_before_the_end_counts_no_match_twice() {
    let rules = rules("SecRule FILES_NAMES \"@streq u\" \"id:1,phase:2,pass,log\"");
    let (body, _) = body_of(&[Part::File("a.png", 100_000, ""), Part::File("b.png", 100_000, "")]);
    let outcome = stream(&rules, &body, &[1_000], 2_000);
    assert!(outcome.gone > 150_000, "{}", outcome.gone);
    assert_eq!(ids(&outcome.report), [1]);
    assert_eq!(rules.costs().map(|cost| cost.hits).collect::<Vec<_>>(), [1]);
}
