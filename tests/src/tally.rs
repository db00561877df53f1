//! The ledger compared: what was sent, what was answered, what was executed.

use std::collections::HashMap;

use http::Method;

use crate::load::Report;

/// Executions by request id, over all services.
pub type Executions = HashMap<String, u32>;

/// The outcome of a comparison.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    /// Requests sent.
    pub sent: usize,
    /// Requests with a good answer.
    pub answered: usize,
    /// `GET` requests that failed before any byte of their answer.
    pub failed_gets: usize,
    /// Other requests that failed.
    pub failed_others: usize,
    /// Requests with a good answer that no service executed: an answer made up.
    pub lost: Vec<String>,
    /// `POST` requests executed more than once.
    pub duplicated: Vec<String>,
    /// `GET` requests executed more than once, which is allowed.
    pub repeated_gets: usize,
}

/// Compares a report with what the services executed.
#[must_use]
pub fn compare(report: &Report, executions: &Executions) -> Tally {
    let mut tally = Tally { sent: report.sent.len(), ..Tally::default() };
    for sent in &report.sent {
        let executed = executions.get(&sent.id).copied().unwrap_or(0);
        let is_get = sent.method == Method::GET;
        match &sent.outcome {
            Ok(200..400) => {
                tally.answered += 1;
                if executed == 0 {
                    tally.lost.push(sent.id.clone());
                }
            }
            Err(failure) if is_get && !failure.had_begun => tally.failed_gets += 1,
            Ok(_) if is_get => tally.failed_gets += 1,
            _ => tally.failed_others += 1,
        }
        match executed {
            0 | 1 => {}
            _ if is_get => tally.repeated_gets += 1,
            _ => tally.duplicated.push(sent.id.clone()),
        }
    }
    tally
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http::Method;

    use super::{Executions, compare};
    use crate::load::{Failure, Report, Sent};

    fn sent(id: &str, method: Method, outcome: Result<u16, Failure>) -> Sent {
        let served_by = String::new();
        Sent { id: id.into(), method, latency: Duration::ZERO, outcome, served_by, repeated: false }
    }

    #[test]
    fn tells_lost_duplicated_and_failed_requests_apart() {
        let cut_off = || Err(Failure { had_begun: false, cause: "reset".into() });
        let report = Report {
            sent: vec![
                sent("fine", Method::GET, Ok(200)),
                sent("made-up", Method::GET, Ok(200)),
                sent("twice", Method::POST, Ok(201)),
                sent("failed", Method::GET, cut_off()),
                sent("refused", Method::GET, Ok(502)),
                sent("unsure", Method::POST, cut_off()),
            ],
        };
        let executions = Executions::from([("fine".into(), 2), ("twice".into(), 2), ("unsure".into(), 1)]);
        let tally = compare(&report, &executions);
        assert_eq!((tally.sent, tally.answered), (6, 3));
        assert_eq!((tally.failed_gets, tally.failed_others), (2, 1));
        assert_eq!(tally.lost, ["made-up"]);
        assert_eq!(tally.duplicated, ["twice"]);
        assert_eq!(tally.repeated_gets, 1);
    }
}
