//! A request and its answer through the default rules, and through others that use the rest of the language: however the
//! bodies are cut, begun again, judged as they come, in a transaction that was used before, and without the prefilter, the verdict and the
//! report are the same; what is decided while detecting is what blocking does; and the work is linear.

#![no_main]

use std::sync::{Arc, LazyLock};

use gatehouse_fuzz::body::{Cut, SMALL};
use gatehouse_fuzz::exchange::{Exchange, Way, begin, renew, run, send};
use gatehouse_fuzz::program::{compile, unfiltered};
use gatehouse_fuzz::{Input, linear};
use gatehouse_waf::RuleSet;
use gatehouse_waf::body::Limits;
use gatehouse_waf::rules::Options;
use gatehouse_waf::seclang::files::Disk;
use gatehouse_waf::seclang::parse;
use gatehouse_waf::transaction::{MATCHED_BYTES, MATCHES, Mode, Report, TARGETS, Verdict};
use libfuzzer_sys::fuzz_target;

/// Rules, with prefilter and without.
struct Rules {
    filtered: Arc<RuleSet>,
    unfiltered: Arc<RuleSet>,
    /// Whether no rule changes the engine, so that detecting and blocking see the same.
    keeps_mode: bool,
}

impl Rules {
    fn load(path: &str, options: &Options, keeps_mode: bool) -> Self {
        let path = format!("{}/{path}", env!("CARGO_MANIFEST_DIR"));
        let (program, _) = parse(&Disk, &[path]).unwrap_or_else(|errors| panic!("{errors:#?}"));
        let compile = |options: &Options| compile(&program, options).unwrap_or_else(|errors| panic!("{errors:#?}"));
        Self { filtered: compile(options), unfiltered: compile(&unfiltered(options)), keeps_mode }
    }
}

static RULES: LazyLock<[Rules; 4]> = LazyLock::new(|| {
    let small = Options {
        request_body_limit: 900,
        response_body_limit: 300,
        limits: Limits { body_bytes: 500, ..SMALL },
        ..Options::default()
    };
    [
        Rules::load("../../deploy/config/edge/waf/*.conf", &Options::default(), true),
        Rules::load("../../deploy/config/edge/waf/*.conf", &small, true),
        Rules::load("rules.conf", &Options::default(), false),
        Rules::load("rules.conf", &small, false),
    ]
});

fuzz_target!(|bytes: &[u8]| {
    let mut input = Input::new(bytes);
    let bytes = input.stretched();
    let choice = input.choice();
    let rules = &RULES[choice % RULES.len()];
    let exchange = Exchange::read(&bytes);

    let mut transaction = begin(&rules.filtered, Mode::Block);
    let expected = linear(bytes.len(), || send(&mut transaction, &exchange, Way::PLAIN));
    assert_bounded(&expected.1);

    let pieces = Way { cut: Cut::chosen(&mut input, exchange.body_length()), ..Way::PLAIN };
    let restart = Some(input.choice() * exchange.body_length() / 256);
    // One of them each time: the fuzzer gets further with more inputs than with more questions about each.
    match choice / RULES.len() % 5 {
        0 => {
            renew(&mut transaction, &rules.filtered, Mode::Block);
            assert_eq!(send(&mut transaction, &exchange, pieces), expected, "used before, cut {:?}", pieces.cut);
        }
        1 => assert_eq!(run(&rules.filtered, &exchange, Way { restart, ..pieces }), expected, "again at {restart:?}"),
        2 if bytes.len() == input.bytes().len() => {
            assert_eq!(run(&rules.unfiltered, &exchange, Way::PLAIN), expected, "without prefilter");
        }
        3 if rules.keeps_mode => {
            let (verdict, report) = run(&rules.filtered, &exchange, Way { mode: Mode::Detect, ..pieces });
            assert_eq!(verdict, Verdict::Pass, "refused while detecting");
            assert_eq!(report.decision.unwrap_or(Verdict::Pass), expected.0, "decided while detecting");
        }
        4 => {
            let (verdict, report) = run(&rules.filtered, &exchange, Way { judged: true, ..pieces });
            if verdict == Verdict::Pass {
                assert_eq!((verdict, report), expected, "judged as it came");
            } else if rules.keeps_mode {
                assert!(expected.0 != Verdict::Pass, "refused as it came: {verdict:?} {report:?}");
            }
        }
        _ => {}
    }
});

fn assert_bounded(report: &Report) {
    assert!(report.matches.len() <= MATCHES);
    for found in &report.matches {
        assert!(found.targets.len() <= TARGETS);
        assert!(found.targets.iter().all(|target| target.bytes.len() <= MATCHED_BYTES));
    }
}
