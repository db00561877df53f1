//! Whether the time of a refusal tells that an application exists: calls with the key of one that does not, against calls of one
//! that does with a wrong secret. They go one at a time over one connection, in pairs in random order.
//!
//! Were there no difference, one of a pair would be the slower one in half of all pairs; chance moves that by 0.35 % (one standard
//! deviation of 20,000 pairs).

use std::path::Path;
use std::time::Duration;

use anyhow::ensure;
use gatehouse_shared::clock;

use crate::admitted::Admitted;
use crate::client::Client;
use crate::load::{Load, Tool};
use crate::report::{Report, note};
use crate::rounds::{median, sorted};
use crate::settings::{Settings, TARGET};
use crate::subject::Field;

/// Pairs of calls.
const PAIRS: usize = 20_000;
/// Pairs after which the hop is signed anew; it lives 15 s.
const FRESH: usize = 1_000;
/// How far from one half the share of pairs may be in which the unknown application took longer.
const TOLERANCE: f64 = 0.05;
/// How long an answer may take.
const ANSWER_DEADLINE: Duration = Duration::from_secs(5);

/// Measures both kinds of refusal, and what Redis has to do for admitted calls.
///
/// # Errors
///
/// The node does not refuse, or the tools fail.
pub(crate) fn measure(settings: &Settings, field: &Field, directory: &Path, report: &mut Report) -> anyhow::Result<()> {
    let Some(admitted) = &field.admitted else { return Ok(()) };
    redis(settings, admitted, directory, report)?;
    note("refusals of unknown applications and of wrong secrets");
    let mut client = Client::connect(admitted.address, ANSWER_DEADLINE)?;
    let (mut unknown, mut wrong, mut slower) = (Vec::new(), Vec::new(), 0_u32);
    let mut requests = (String::new(), String::new());
    let mut dice = fastrand::Rng::new();
    for pair in 0..PAIRS {
        if pair % FRESH == 0 {
            let (known, other) = (admitted.fields()?, admitted.fields_of("shoq")?);
            // A signature of the right length that is not the right one.
            let known: Vec<String> = known.iter().map(|field| other_signature(field)).collect();
            requests = (request(admitted, &other), request(admitted, &known));
        }
        let (of_unknown, of_wrong) = if dice.bool() {
            let first = refusal(&mut client, &requests.0)?;
            (first, refusal(&mut client, &requests.1)?)
        } else {
            let first = refusal(&mut client, &requests.1)?;
            (refusal(&mut client, &requests.0)?, first)
        };
        slower += u32::from(of_unknown > of_wrong);
        unknown.push(of_unknown);
        wrong.push(of_wrong);
    }
    let middle = |times: Vec<f64>| median(&sorted(times.into_iter())).unwrap_or_default();
    report.figure("refusal_us_unknown_app", middle(unknown));
    report.figure("refusal_us_wrong_secret", middle(wrong));
    let share = f64::from(slower) / f64::from(u32::try_from(PAIRS)?);
    report.figure("refusal_unknown_app_slower_share", share);
    if (share - 0.5).abs() > TOLERANCE {
        report.fail(format!("the time of a refusal tells whether an application exists: {share} of all pairs"));
    }
    Ok(())
}

fn redis(settings: &Settings, admitted: &Admitted, directory: &Path, report: &mut Report) -> anyhow::Result<()> {
    let fields = admitted.fields()?;
    let load = Load { fields, ..Load::bench(Tool::Wrk, admitted.address, 16, settings.seconds.max(5)) };
    let before = admitted.commands()?;
    let outcome = load.run(settings, directory)?;
    Admitted::report(admitted.commands()? - before, outcome.requests, report);
    ensure!(outcome.errors < 1.0, "admitted calls: {}", outcome.complaint);
    Ok(())
}

fn request(admitted: &Admitted, fields: &[String]) -> String {
    format!("GET {TARGET} HTTP/1.1\r\nHost: {}\r\n{}\r\n\r\n", admitted.address, fields.join("\r\n"))
}

/// The header field with the first letters of its signature changed; any other field as it is.
fn other_signature(field: &str) -> String {
    match field.split_once("=:") {
        Some((name, value)) if name.starts_with("signature:") => {
            let turned: String = value.chars().map(|letter| if letter == 'A' { 'B' } else { letter }).collect();
            let turned = turned.replacen(|letter: char| letter.is_ascii_lowercase(), "A", 1);
            format!("{name}=:{turned}")
        }
        _ => field.to_owned(),
    }
}

/// Microseconds from the last byte of the request to the end of the refusal.
fn refusal(client: &mut Client, request: &str) -> anyhow::Result<f64> {
    client.send(request)?;
    let began = clock::now();
    let answer = client.answer()?;
    let took = began.elapsed();
    ensure!(answer.status == 401, "not refused: {} {}", answer.status, answer.body);
    Ok(took.as_secs_f64() * 1e6)
}
