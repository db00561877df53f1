//! How long the steps of a call took and what became of each try, told to who may know it as `Server-Timing` (W3C Server
//! Timing).
//!
//! ```text
//! Server-Timing: caller;dur=0.21, rules;dur=0.02, quota;dur=0.01, queue;dur=3.10,
//!   try1;dur=300.4;desc="endpoint 2, slow", try2;dur=8.3;desc="endpoint 4, answered 200", upstream;dur=308.8, total;dur=312.3
//! ```
//!
//! Endpoints are told by their number in the service, not by their address. A call that nobody sees into reads no clock for it.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use gatehouse_shared::clock;
use http::header::{HeaderMap, HeaderName, HeaderValue};
use http::request::Parts;

use super::record::Record;
use crate::dispatch::of_api::WhoSees;

/// With this header, and `1` as its value, an application asks for the timings of a call.
pub const ASKS: HeaderName = HeaderName::from_static("x-request-timings");
/// The header in which they are told.
const TOLD: HeaderName = HeaderName::from_static("server-timing");

/// How long the steps of a call took so far.
#[derive(Debug)]
pub struct Timings {
    /// When the last step ended.
    last: Instant,
    steps: Vec<(&'static str, Duration)>,
}

/// Begins to measure a call whose caller has just been proven, if somebody may see it and wants to.
pub fn begin(package: Option<&str>, who: WhoSees, parts: &mut Parts, record: &mut Record) {
    let is_seen = match who {
        WhoSees::Never => false,
        WhoSees::Always => true,
        WhoSees::Marked => package.is_some_and(|package| {
            let asks = parts.headers.remove(ASKS).is_some_and(|value| value.as_bytes() == b"1");
            asks && is_marked(record, package)
        }),
    };
    // The header of a part is that of the whole; nobody sees its own.
    if is_seen && !record.is_part() {
        let mut timings = Timings { last: record.began, steps: Vec::with_capacity(4) };
        timings.step("caller", clock::now());
        record.timings = Some(Box::new(timings));
        record.dispatch.attempts.keep_all();
    }
}

fn is_marked(record: &Record, package: &str) -> bool {
    let app = record.caller.as_ref().and_then(|caller| caller.app.as_ref());
    app.is_some_and(|app| app.packages.iter().any(|granted| **granted == *package))
}

impl Timings {
    /// A step has ended.
    pub fn step(&mut self, name: &'static str, now: Instant) {
        self.steps.push((name, now.saturating_duration_since(self.last)));
        self.last = now;
    }

    /// Tells them, and what the record knows of the rest.
    pub fn add_to(&self, headers: &mut HeaderMap, record: &Record) {
        let mut told = Told(String::with_capacity(256));
        for (name, took) in &self.steps {
            told.step(name, *took);
        }
        if let Some(waited) = record.traffic.waited {
            told.step("queue", waited);
        }
        let dispatch = &record.dispatch;
        for (index, attempt) in dispatch.attempts.all().iter().enumerate() {
            told.step(&format!("try{}", index + 1), attempt.took);
            let (number, outcome) = (attempt.number, attempt.outcome.as_str());
            let status = attempt.outcome.status().map(|status| format!(" {status}")).unwrap_or_default();
            told.write(format_args!(";desc=\"endpoint {number}, {outcome}{status}\""));
        }
        if dispatch.endpoint.is_some() {
            told.step("upstream", dispatch.waited);
        }
        told.step("total", clock::now().saturating_duration_since(record.began));
        if let Ok(value) = HeaderValue::try_from(told.0) {
            headers.append(TOLD, value);
        }
    }
}

/// The value of the header, as far as it is written.
struct Told(String);

impl Told {
    fn step(&mut self, name: &str, took: Duration) {
        let comma = if self.0.is_empty() { "" } else { ", " };
        self.write(format_args!("{comma}{name};dur={:.2}", took.as_secs_f64() * 1_000.0));
    }

    fn write(&mut self, text: std::fmt::Arguments<'_>) {
        #[expect(clippy::let_underscore_must_use, reason = "writing to a string cannot fail")]
        let _ = self.0.write_fmt(text);
    }
}
