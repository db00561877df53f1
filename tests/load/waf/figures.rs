//! What rules add to a server, from the rounds of the server with them and without.

use std::collections::BTreeMap;

use crate::report::{Report, print};
use crate::rounds::Quartiles;

/// KiB between the two documents that are measured.
const KIBIBYTES_BETWEEN: f64 = 63.0;

/// Names of the requests that are measured.
const REQUESTS: [&str; 3] = ["get", "json_1k", "json_64k"];

/// What is added to what: the figure's name, the server with it, the same server without.
const ADDED: [(&str, &str, &str); 5] = [
    ("waf_default", "edge_waf_default", "edge_waf_off"),
    ("waf_lists", "edge_waf_lists", "edge_waf_off"),
    ("crs", "edge_waf_crs", "edge_waf_off"),
    ("modsecurity", "nginx_modsecurity", "nginx_plain"),
    ("modsecurity_crs_4", "nginx_modsecurity_crs_4", "nginx_plain"),
];

/// How many times more ModSecurity adds: the figure's name, what is added by ModSecurity, what is added by us.
const COMPARED: [(&str, &str, &str); 3] = [
    ("waf_default_vs_modsecurity", "modsecurity", "waf_default"),
    ("waf_lists_vs_modsecurity", "modsecurity", "waf_lists"),
    ("crs_vs_modsecurity", "modsecurity_crs_4", "crs"),
];

/// CPU microseconds a request, a place a round; nothing where the server answered wrongly or was not asked.
pub(super) type Rounds = Vec<Option<f64>>;

/// The rounds of every server and request.
#[derive(Debug, Default)]
pub(super) struct Table(BTreeMap<(&'static str, &'static str), Rounds>);

impl Table {
    /// Adds a round.
    pub(super) fn push(&mut self, server: &'static str, request: &'static str, cost: Option<f64>) {
        self.0.entry((server, request)).or_default().push(cost);
    }

    /// What rules add to a request, round by round; nothing where one of the servers was not measured.
    fn added(&self, what: &str, request: &str) -> Option<Rounds> {
        let (_, with, without) = ADDED.into_iter().find(|(name, _, _)| *name == what)?;
        let rounds = |server: &str| self.0.iter().find(|(key, _)| **key == (server, request)).map(|(_, rounds)| rounds);
        Some(pairs(rounds(with)?, rounds(without)?, |with, without| with - without))
    }

    /// Prints all figures that the servers measured allow.
    pub(super) fn figures(&self, report: &mut Report) {
        print("");
        print(&format!("{:<40}{:>10}{:>12}{:>12}", "cpu µs a request", "median", "lower", "upper"));
        for ((server, request), rounds) in &self.0 {
            tell(report, &format!("cpu_us_{server}_{request}"), rounds);
        }
        for (name, _, _) in ADDED {
            for request in REQUESTS {
                let added = self.added(name, request).unwrap_or_default();
                tell(report, &format!("{name}_added_{request}_us"), &added);
            }
            if let (Some(small), Some(large)) = (self.added(name, "json_1k"), self.added(name, "json_64k")) {
                tell(report, &format!("{name}_marginal_us_per_kib"), &pairs(&small, &large, marginal));
            }
        }
        for (name, theirs, ours) in COMPARED {
            for (request, suffix) in REQUESTS.into_iter().zip(["", "_json_1k", "_json_64k"]) {
                let (Some(theirs), Some(ours)) = (self.added(theirs, request), self.added(ours, request)) else {
                    continue;
                };
                tell(report, &format!("{name}{suffix}"), &times(&theirs, &ours));
            }
        }
    }
}

fn tell(report: &mut Report, name: &str, rounds: &Rounds) {
    if let Some(quartiles) = Quartiles::of(rounds.iter().copied().flatten()) {
        report.quartiles(name, quartiles);
    }
}

/// What each KiB costs beyond the first, when one of 1 KiB and one of 64 KiB cost so much.
pub(super) fn marginal(small: f64, large: f64) -> f64 {
    (large - small) / KIBIBYTES_BETWEEN
}

/// Two figures of the same round made into one.
fn pairs(one: &Rounds, other: &Rounds, make: fn(f64, f64) -> f64) -> Rounds {
    one.iter().zip(other).map(|(one, other)| Some(make((*one)?, (*other)?))).collect()
}

/// How many times ours theirs is. A round in which noise hid what ours adds says nothing about that.
fn times(theirs: &Rounds, ours: &Rounds) -> Rounds {
    pairs(theirs, ours, |theirs, ours| theirs / ours)
        .into_iter()
        .zip(ours)
        .map(|(times, ours)| times.filter(|_| ours.is_some_and(|ours| ours > 0.0)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{Table, marginal, pairs, times};

    #[test]
    fn what_is_added_is_the_difference_within_a_round() {
        let mut table = Table::default();
        for (off, on) in [(Some(30.0), Some(35.0)), (Some(60.0), Some(66.0)), (None, Some(1.0)), (Some(2.0), None)] {
            table.push("edge_waf_off", "get", off);
            table.push("edge_waf_default", "get", on);
        }
        assert_eq!(table.added("waf_default", "get").unwrap(), [Some(5.0), Some(6.0), None, None]);
        assert_eq!(table.added("waf_lists", "get"), None, "a server that was not measured");
        assert_eq!(table.added("waf_default", "json_1k"), None, "a request that was not");
    }

    #[test]
    fn a_kibibyte_costs_a_63rd_of_what_lies_between_1_and_64() {
        assert_eq!(pairs(&vec![Some(10.0), None], &vec![Some(73.0), Some(1.0)], marginal), [Some(1.0), None]);
    }

    #[test]
    fn rounds_in_which_nothing_was_added_are_not_compared() {
        let ours = vec![Some(10.0), Some(-1.0), Some(0.0), None];
        assert_eq!(times(&vec![Some(1000.0); 4], &ours), [Some(100.0), None, None, None]);
    }
}
