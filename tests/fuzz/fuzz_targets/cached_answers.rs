//! Answers that nodes leave for each other, and what services say of theirs: whatever the bytes, they are read in linear time or
//! refused, and what was read is written down as it was.

#![no_main]

use business_gateway::dispatch::cache::codec::{self, Left};
use business_gateway::dispatch::cache::config::Lives;
use business_gateway::dispatch::cache::control;
use gatehouse_fuzz::{Input, linear};
use http::{HeaderName, HeaderValue, Response};
use libfuzzer_sys::fuzz_target;

/// The longest body that is read.
const MOST: usize = 1 << 20;

fuzz_target!(|bytes: &[u8]| {
    left_by_a_node(bytes);
    let mut input = Input::new(bytes);
    let second = input.line();
    let first = input.stretched();
    let mut answer = Response::new(());
    for (name, value) in [("cache-control", &*first), ("expires", second), ("age", second), ("date", second)] {
        if let Ok(value) = HeaderValue::from_bytes(value) {
            answer.headers_mut().append(HeaderName::from_static(name), value);
        }
    }
    let lives = Lives { fresh: 1_000, revalidate: 1_000, error: 1_000, ..Lives::default() };
    const NOW: u64 = 1_800_000_000_000;
    linear(first.len() + second.len(), || {
        if let Ok(times) = control::times(&answer, &lives, NOW, NOW) {
            assert!(times.born <= NOW && times.fresh <= times.end());
        }
    });
});

fn left_by_a_node(bytes: &[u8]) {
    linear(bytes.len(), || {
        if let Some(Left::Answer(stored, as_of)) = codec::read(bytes, 0, MOST) {
            assert!(stored.body.length() <= MOST);
            let written = codec::write(&stored, as_of);
            let Some(Left::Answer(again, same)) = codec::read(&written, 0, MOST) else {
                panic!("it is not read again")
            };
            assert_eq!((as_of, &stored.headers, stored.times), (same, &again.headers, again.times));
            assert_eq!((&stored.tags, &stored.by), (&again.tags, &again.by));
        }
    });
    if let Some(Left::Answer(stored, _)) = codec::read(bytes, 0, MOST)
        && let Some(body) = stored.plain()
    {
        assert!(body.len() <= MOST);
    }
}
