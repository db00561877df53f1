//! How much work an input makes.

use std::fs;

use crate::LONG;

/// Nanoseconds of processor time that one byte of a long input may cost, with the instrumentation of the fuzzer and the
/// assertions of debug builds, which make everything five to ten times as slow. The most expensive thing here, every
/// grammar over every form of a value, takes a tenth of it; squared cost takes at least twice as much.
const NANOSECONDS_A_BYTE: u64 = 30_000;

/// Does some work over so many bytes and asserts that it took a linear amount of processor time. Says nothing about short
/// inputs, nor where the system does not count; the fuzzer's own `-timeout` stands behind it.
///
/// # Panics
///
/// When it took longer.
pub fn linear<T>(bytes: usize, work: impl FnOnce() -> T) -> T {
    if bytes < LONG / 2 {
        return work();
    }
    let begin = processor_time();
    let result = work();
    if let (Some(begin), Some(end)) = (begin, processor_time()) {
        let allowed = NANOSECONDS_A_BYTE * bytes as u64;
        assert!(end - begin <= allowed, "{bytes} bytes took {} ms", (end - begin) / 1_000_000);
    }
    result
}

/// Nanoseconds for which this thread has been on a processor. Real time would depend on what else the machine does.
fn processor_time() -> Option<u64> {
    let counted = fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    counted.split_ascii_whitespace().next()?.parse().ok()
}
