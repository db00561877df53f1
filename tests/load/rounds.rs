//! Interleaved rounds: every subject at every concurrency once a round, so that a disturbance hits all of them alike. Every
//! other round goes backwards, so that nobody profits from its place.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use crate::report::{Report, note};
use crate::settings::{CONCURRENCY, Settings};
use crate::subject::{Field, Sample, Subject};

/// The samples of all rounds.
#[derive(Debug, Default)]
pub(crate) struct Table {
    /// A place a round; nothing where the subject answered wrongly.
    rows: BTreeMap<(String, usize), Vec<Option<Sample>>>,
    order: Vec<String>,
}

/// One row of the table: medians over the rounds.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Row {
    /// CPU microseconds a request.
    pub(crate) cpu: f64,
    /// Distance of the dearest from the cheapest round, in percent of the median.
    pub(crate) spread: f64,
    /// Requests a second.
    pub(crate) rate: f64,
    /// Median latency in microseconds.
    pub(crate) p50: f64,
    /// 99 % latency in microseconds.
    pub(crate) p99: f64,
    /// Requests an upstream connection of the service carried, over all rounds.
    pub(crate) reuse: f64,
}

/// A figure that every round has its own of.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Quartiles {
    /// The middle one.
    pub(crate) median: f64,
    /// A quarter of the rounds were below.
    pub(crate) lower: f64,
    /// A quarter of the rounds were above.
    pub(crate) upper: f64,
}

impl Quartiles {
    /// Those of the rounds' figures; nothing where there is no round.
    pub(crate) fn of(rounds: impl Iterator<Item = f64>) -> Option<Self> {
        let rounds = sorted(rounds);
        Some(Self {
            median: median(&rounds)?,
            lower: *rounds.get(rounds.len() / 4)?,
            upper: *rounds.get(rounds.len() - 1 - rounds.len() / 4)?,
        })
    }
}

/// Measures all rounds.
///
/// # Errors
///
/// The tools fail. What a subject answers wrongly becomes a failure of the report, so that one bad subject does not hide the others.
pub(crate) fn measure(
    settings: &Settings,
    field: &Field,
    directory: &Path,
    report: &mut Report,
) -> anyhow::Result<Table> {
    let mut table =
        Table { order: field.subjects().iter().map(|subject| subject.name.clone()).collect(), ..Table::default() };
    for round in 1..=settings.rounds {
        for concurrency in CONCURRENCY {
            note(&format!("round {round} of {}, {concurrency} concurrent requests", settings.rounds));
            let mut subjects: Vec<&Subject> = field.subjects().iter().collect();
            if round % 2 == 0 {
                subjects.reverse();
            }
            for subject in subjects {
                let sample = field.measure(settings, directory, subject, subject.caller.tool(), concurrency)?;
                if let Some(complaint) = &sample.complaint {
                    report.fail(complaint.clone());
                }
                let is_sound = sample.complaint.is_none();
                table.rows.entry((subject.name.clone(), concurrency)).or_default().push(is_sound.then_some(sample));
            }
        }
    }
    Ok(table)
}

impl Table {
    /// The rows in the order of the subjects.
    pub(crate) fn rows(&self) -> impl Iterator<Item = (&str, usize, Row)> {
        self.order.iter().flat_map(|name| {
            CONCURRENCY
                .into_iter()
                .filter_map(|concurrency| Some((name.as_str(), concurrency, self.row(name, concurrency)?)))
        })
    }

    /// What one subject costs in times of another: the median of the rounds' own ratios. Both are measured within seconds of
    /// each other, so a machine that is slower for a minute, which moves every cost by half, moves the ratio little.
    pub(crate) fn ratio(&self, one: &str, other: &str, concurrency: usize) -> Option<Quartiles> {
        let rounds = |name: &str| self.rows.get(&(name.to_owned(), concurrency));
        let pairs = rounds(one)?.iter().zip(rounds(other)?);
        Quartiles::of(pairs.filter_map(|(one, other)| Some(one.as_ref()?.cpu / other.as_ref()?.cpu)))
    }

    /// The medians of one subject.
    pub(crate) fn row(&self, name: &str, concurrency: usize) -> Option<Row> {
        let samples: Vec<&Sample> = self.rows.get(&(name.to_owned(), concurrency))?.iter().flatten().collect();
        let column = |value: fn(&Sample) -> f64| sorted(samples.iter().map(|sample| value(sample)));
        let cpu = column(|sample| sample.cpu);
        let cpu_median = median(&cpu)?;
        let requests: f64 = samples.iter().map(|sample| sample.outcome.requests).sum();
        let connections: f64 = samples.iter().map(|sample| sample.service_connections).sum();
        Some(Row {
            cpu: cpu_median,
            spread: (cpu.last()? - cpu.first()?) / cpu_median * 100.0,
            rate: median(&column(|sample| sample.outcome.rate))?,
            p50: median(&column(|sample| microseconds(sample.outcome.p50)))?,
            p99: median(&column(|sample| microseconds(sample.outcome.p99)))?,
            reuse: requests / connections.max(1.0),
        })
    }
}

/// A duration in microseconds.
pub(crate) fn microseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e6
}

/// The values in ascending order.
pub(crate) fn sorted(values: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values
}

/// The middle of sorted values; the mean of the two in the middle when their number is even.
pub(crate) fn median(sorted: &[f64]) -> Option<f64> {
    let upper = sorted.get(sorted.len() / 2)?;
    let lower = sorted.get((sorted.len() - 1) / 2)?;
    Some(f64::midpoint(*lower, *upper))
}

#[cfg(test)]
mod tests {
    use super::median;

    #[test]
    fn the_median_of_an_even_number_lies_between_the_middle_two() {
        assert_eq!(median(&[1.0, 2.0, 4.0, 9.0]), Some(3.0));
        assert_eq!(median(&[1.0, 2.0, 9.0]), Some(2.0));
        assert_eq!(median(&[]), None);
    }
}
