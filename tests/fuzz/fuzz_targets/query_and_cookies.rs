//! Query strings and cookies: no more pairs than allowed, no more bytes than came, nothing of a separator in a name, and
//! buffers that are used again change nothing.

#![no_main]

use gatehouse_fuzz::body::SMALL;
use gatehouse_fuzz::{Input, linear};
use gatehouse_waf::body::{Buffers, Limits, cookies, query, query_in};
use libfuzzer_sys::fuzz_target;

type Pairs = Vec<(Vec<u8>, Vec<u8>)>;

fuzz_target!(|bytes: &[u8]| {
    let mut input = Input::new(bytes);
    let text = input.stretched();
    let limits = *input.one_of(&[Limits::default(), SMALL]);

    let mut pairs = Pairs::new();
    let outcome = linear(text.len(), || query(&text, &limits, keep(&mut pairs)));
    assert_bounded(&pairs, outcome.arguments, &limits, &text);
    let mut buffers = Buffers::default();
    for _ in 0..2 {
        let mut again = Pairs::new();
        assert_eq!(query_in(&mut buffers, &text, &limits, keep(&mut again)), outcome);
        assert_eq!(again, pairs);
    }

    let mut found = Pairs::new();
    let outcome = linear(text.len(), || cookies(&text, &limits, keep(&mut found)));
    assert_bounded(&found, outcome.arguments, &limits, &text);
    for (name, value) in &found {
        assert!(!name.contains(&b'=') && !name.contains(&b';') && !value.contains(&b';'));
        assert!(name.trim_ascii() == name.as_slice());
    }
});

fn keep(pairs: &mut Pairs) -> impl FnMut(&[u8], &[u8]) {
    |name, value| pairs.push((name.to_vec(), value.to_vec()))
}

fn assert_bounded(pairs: &Pairs, counted: u32, limits: &Limits, text: &[u8]) {
    assert_eq!(pairs.len(), counted as usize);
    assert!(counted <= limits.arguments);
    let bytes: usize = pairs.iter().map(|(name, value)| name.len() + value.len()).sum();
    assert!(bytes <= text.len(), "{bytes} bytes of {}", text.len());
}
