//! One request so often over a few connections, HTTP/1.1, one at a time on each. Its query has other numbers each time, its other
//! parts are the same.
//!
//! A number of requests, not a time: what is under way when a time ends would count for a server that needs seconds for a
//! request, and here some do.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};

use super::guards::Guard;
use super::requests::{HOST, Request};
use crate::load::{Outcome, pinned, read_h2load};
use crate::report::Report;
use crate::service::Service;
use crate::settings::Settings;

/// Connections, as long as there are as many requests.
const CONNECTIONS: u32 = 8;

/// The most requests of one round.
const MOST: u32 = 40_000;

/// Variants of the query, taken in turn.
const TARGETS: u64 = 1_024;

/// Requests by which the pace of a server is found out, unless one of them takes longer than a round.
const PROBES: u32 = 200;

/// One request at one server.
pub(super) struct Repetition<'a> {
    /// The server.
    pub(super) guard: &'a Guard,
    /// The request.
    pub(super) request: &'a Request,
    /// How often a round sends it.
    pub(super) times: u32,
    body: Option<PathBuf>,
    /// The file of targets, one a line.
    targets: PathBuf,
}

impl<'a> Repetition<'a> {
    /// Finds out how often the request must be sent to fill a round.
    ///
    /// # Errors
    ///
    /// The tool fails.
    pub(super) fn new(
        settings: &Settings,
        directory: &Path,
        guard: &'a Guard,
        request: &'a Request,
    ) -> anyhow::Result<Self> {
        let body = (!request.body.is_empty()).then(|| directory.join(format!("{}.body", request.name)));
        if let Some(file) = &body {
            std::fs::write(file, &request.body)?;
        }
        let targets = directory.join(format!("{}.targets", request.name));
        let lines = (0..TARGETS).map(|number| format!("http://{HOST}{}\n", request.varied(number).target));
        std::fs::write(&targets, lines.collect::<String>())?;
        let mut repetition = Self { guard, request, times: 1, body, targets };
        let seconds = u32::try_from(settings.seconds).map_or(1.0, f64::from);
        for most in [PROBES, MOST] {
            let outcome = repetition.run(settings, directory)?;
            repetition.times = times(outcome.rate, seconds, most);
            if repetition.times == 1 {
                break;
            }
        }
        Ok(repetition)
    }

    /// CPU microseconds a request of one round. What the server does wrongly becomes a failure of the report, so that one bad
    /// server does not hide the others.
    ///
    /// # Errors
    ///
    /// The tool fails or a process is gone.
    pub(super) fn measure(
        &self,
        settings: &Settings,
        directory: &Path,
        service: &Service,
        report: &mut Report,
    ) -> anyhow::Result<Option<f64>> {
        let counts = service.settled_counts()?.requests;
        let before = self.guard.server.child.cpu_seconds()?;
        let outcome = self.run(settings, directory)?;
        let spent = self.guard.server.child.cpu_seconds()? - before;
        let executed = service.settled_counts()?.requests - counts;
        if let Err(complaint) = check_work(&outcome, f64::from(self.times), executed) {
            report.fail(format!("{}, {}: {complaint}", self.guard.name, self.request.name));
            return Ok(None);
        }
        Ok(Some(spent / f64::from(self.times) * 1e6))
    }

    fn run(&self, settings: &Settings, directory: &Path) -> anyhow::Result<Outcome> {
        let log = directory.join("h2load.tsv");
        let entry: SocketAddr = self.guard.server.address;
        let mut command = pinned(settings, "h2load")?;
        command.args(["--h1", "-t1", &format!("-n{}", self.times), &format!("-c{}", self.times.min(CONNECTIONS))]);
        command.arg(format!("--connect-to={entry}")).arg(format!("--log-file={}", log.display()));
        if let Some(body) = &self.body {
            command.arg("-d").arg(body);
        }
        for field in &self.request.fields {
            command.args(["-H", field]);
        }
        let output = command.arg("-i").arg(&self.targets).output()?;
        let words = String::from_utf8_lossy(&output.stdout).into_owned();
        if !output.status.success() {
            bail!("h2load ended with {}: {words}{}", output.status, String::from_utf8_lossy(&output.stderr));
        }
        ensure!(log.is_file(), "h2load wrote no log: {words}");
        let log = std::fs::read_to_string(&log).context("the log of h2load cannot be read")?;
        read_h2load(&words, &log)
    }
}

/// So many requests fill a round at a rate: at least one.
fn times(rate: f64, seconds: f64, most: u32) -> u32 {
    let bits = (0..=most.ilog2()).rev().map(|bit| 1_u32 << bit);
    let wanted = rate * seconds;
    bits.fold(0, |times: u32, bit| if f64::from(times + bit) <= wanted { times + bit } else { times }).clamp(1, most)
}

/// Every request must have been answered with 200, and executed once.
fn check_work(outcome: &Outcome, sent: f64, executed: f64) -> Result<(), String> {
    if outcome.errors > 0.0 || outcome.requests < sent {
        return Err(format!("{} of {sent} requests were answered: {}", outcome.requests, outcome.complaint));
    }
    if (executed - sent).abs() > 0.5 {
        return Err(format!("{sent} requests were answered and {executed} executed by the service"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{check_work, times};
    use crate::load::Outcome;

    #[test]
    fn a_round_is_filled_and_no_longer() {
        assert_eq!((times(0.2, 1.0, 200), times(0.0, 1.0, 200), times(3.9, 1.0, 200)), (1, 1, 3));
        assert_eq!((times(20_000.4, 1.0, 40_000), times(20_000.4, 2.0, 200)), (20_000, 200));
    }

    #[test]
    fn accepts_as_many_executed_as_sent_and_nothing_else() {
        let outcome = |requests, errors| Outcome {
            requests,
            rate: 1.0,
            p50: Duration::ZERO,
            p99: Duration::ZERO,
            errors,
            complaint: String::new(),
        };
        assert!(check_work(&outcome(100.0, 0.0), 100.0, 100.0).is_ok());
        assert!(check_work(&outcome(100.0, 0.0), 100.0, 99.0).is_err());
        assert!(check_work(&outcome(100.0, 0.0), 100.0, 101.0).is_err());
        assert!(check_work(&outcome(99.0, 0.0), 100.0, 100.0).is_err());
        assert!(check_work(&outcome(99.0, 1.0), 100.0, 100.0).is_err());
    }
}
