//! Metrics that every process of the gateway has.

use std::fs;
use std::sync::Arc;

use prometheus::IntCounter;

use super::{Catalogue, MetricError};
use crate::clock;
use crate::live::Live;
use crate::process::descriptor_limit;
use crate::telemetry::access_log::LineWriter;
use crate::telemetry::lost_log_lines;

/// Brings a counter up to a total that is counted elsewhere and never falls.
pub fn mirror(counter: &IntCounter, total: u64) {
    counter.inc_by(total.saturating_sub(counter.get()));
}

/// Generations and reloads of a configuration.
///
/// # Errors
/// When a name is taken.
pub fn reload<T: Send + Sync + 'static>(catalogue: &Catalogue, live: &Arc<Live<T>>) -> Result<(), MetricError> {
    let generation =
        catalogue.gauge("gatehouse_config_generation", "Number of the configuration generation in use.")?;
    let succeeded = catalogue.counter(
        "gatehouse_config_reload_succeeded_total",
        "Loads that gave a new configuration generation, the first one included.",
    )?;
    let failed = catalogue.counter(
        "gatehouse_config_reload_failed_total",
        "Loads refused because the configuration is not valid; the last good generation stays.",
    )?;
    let last_success = catalogue.float_gauge(
        "gatehouse_config_last_success_timestamp_seconds",
        "When the configuration was last found valid, in Unix seconds.",
    )?;
    let live = Arc::clone(live);
    catalogue.on_render(move || {
        let status = live.status();
        generation.set(i64::try_from(status.generation).unwrap_or(i64::MAX));
        mirror(&succeeded, status.succeeded_total);
        mirror(&failed, status.failed_total);
        last_success.set(seconds(status.last_success_unix_ms));
    });
    Ok(())
}

/// Lines of the access log.
///
/// # Errors
/// When a name is taken.
pub fn access_log(catalogue: &Catalogue, writer: &LineWriter) -> Result<(), MetricError> {
    let names = LineMetrics {
        written: ("gatehouse_access_log_written_total", "Access log lines that the sink has taken."),
        dropped: (
            "gatehouse_access_log_dropped_total",
            "Access log lines lost because the sink was slow, blocked or full.",
        ),
        waiting: ("gatehouse_access_log_waiting", "Access log lines waiting to be written."),
    };
    lines(catalogue, writer, &names)
}

/// Names and meanings of the metrics of a log.
#[derive(Clone, Copy, Debug)]
pub struct LineMetrics {
    /// Lines that the sink has taken: a counter.
    pub written: (&'static str, &'static str),
    /// Lines lost: a counter.
    pub dropped: (&'static str, &'static str),
    /// Lines waiting: a gauge.
    pub waiting: (&'static str, &'static str),
}

/// Lines of any log.
///
/// # Errors
/// When a name is taken.
pub fn lines(catalogue: &Catalogue, writer: &LineWriter, names: &LineMetrics) -> Result<(), MetricError> {
    let written = catalogue.counter(names.written.0, names.written.1)?;
    let dropped = catalogue.counter(names.dropped.0, names.dropped.1)?;
    let waiting = catalogue.gauge(names.waiting.0, names.waiting.1)?;
    let writer = writer.clone();
    catalogue.on_render(move || {
        mirror(&written, writer.written());
        mirror(&dropped, writer.dropped());
        waiting.set(i64::try_from(writer.waiting()).unwrap_or(i64::MAX));
    });
    Ok(())
}

/// Memory, processor time, descriptors and age of this process, and lines lost by its log.
///
/// # Errors
/// When a name is taken.
pub fn process(catalogue: &Catalogue) -> Result<(), MetricError> {
    let memory = catalogue.gauge("gatehouse_process_resident_memory_bytes", "Resident memory of the process.")?;
    let processor =
        catalogue.float_gauge("gatehouse_process_cpu_seconds", "Processor time used by the process so far.")?;
    let descriptors = catalogue.gauge("gatehouse_process_open_fds", "File descriptors the process has open.")?;
    let limit = catalogue.gauge("gatehouse_process_max_fds", "File descriptors the process may have open.")?;
    let started = catalogue
        .float_gauge("gatehouse_process_start_timestamp_seconds", "When the process started, in Unix seconds.")?;
    let lost = catalogue.counter(
        "gatehouse_log_dropped_total",
        "Lines of the process log lost because standard error was slow, blocked or closed.",
    )?;
    limit.set(i64::try_from(descriptor_limit()).unwrap_or(i64::MAX));
    started.set(seconds(clock::unix_ms()));
    catalogue.on_render(move || {
        if let Some(bytes) = resident_memory_bytes() {
            memory.set(bytes);
        }
        mirror(&lost, lost_log_lines());
        if let Some(seconds) = processor_seconds() {
            processor.set(seconds);
        }
        if let Ok(entries) = fs::read_dir("/proc/self/fd") {
            // One of them is the directory being read.
            descriptors.set(i64::try_from(entries.count().saturating_sub(1)).unwrap_or(i64::MAX));
        }
    });
    Ok(())
}

fn seconds(unix_ms: u64) -> f64 {
    std::time::Duration::from_millis(unix_ms).as_secs_f64()
}

fn resident_memory_bytes() -> Option<i64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix(" kB")?.parse::<i64>().ok()?.checked_mul(1024)
}

/// User and system time: fields 14 and 15 of `/proc/self/stat`, in ticks of 10 ms (fixed by the Linux interface).
fn processor_seconds() -> Option<f64> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    // The name in parentheses may contain spaces; fields are counted after it.
    let (_, fields) = stat.rsplit_once(") ")?;
    let ticks = fields.split(' ').skip(11).take(2).map(|field| field.parse::<u32>().ok().map(f64::from));
    ticks.sum::<Option<f64>>().map(|ticks| ticks / 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::access_log::Config;

    #[test]
    fn shows_the_process_and_the_access_log() {
        let catalogue = Catalogue::new();
        process(&catalogue).unwrap();
        let writer = LineWriter::start(&Config { sink: "off".into(), queue: 10 }).unwrap();
        access_log(&catalogue, &writer).unwrap();
        writer.push("line");
        writer.close();
        let text = catalogue.render();
        let value = |name: &str| -> f64 {
            let line = text.lines().find_map(|line| line.strip_prefix(&format!("{name} ")));
            line.unwrap_or_else(|| panic!("no {name} in\n{text}")).parse().unwrap()
        };
        assert!(value("gatehouse_process_resident_memory_bytes") > 1e6);
        assert!(value("gatehouse_process_open_fds") >= 3.0);
        assert!(value("gatehouse_process_cpu_seconds") >= 0.0);
        assert!(value("gatehouse_process_start_timestamp_seconds") > 1.5e9);
        assert!((value("gatehouse_access_log_written_total") - 1.0).abs() < f64::EPSILON);
    }
}
