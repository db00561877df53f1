//! The grammars of attacks, `@detectSQLi` and `@detectXSS`: what a grammar found lies inside the value, asking again with
//! known classes gives the same, every form of a value is judged in linear time, and plain words are never attacks.

#![no_main]

use gatehouse_fuzz::{Input, linear};
use gatehouse_waf::decode::{Scratch, views};
use gatehouse_waf::detect::{Classes, KINDS, find, find_in};
use gatehouse_waf::{sqli, xss};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let mut input = Input::new(bytes);
    let value = input.stretched();
    linear(value.len(), || {
        views(&value, &mut Scratch::default(), &mut |view| {
            let classes = Classes::of(view.bytes);
            for kind in KINDS {
                let Some(found) = find_in(kind, view, classes) else { continue };
                let length = view.bytes.len();
                assert!(found.at.start <= found.at.end && found.at.end <= length, "{} {found:?}", kind.name());
                assert!(!found.what.is_empty());
            }
            false
        })
    });
    let kind = *input.one_of(&KINDS);
    let found = linear(value.len(), || find(kind, &value));
    assert_eq!(find(kind, &value), found);

    let fingerprint = linear(value.len(), || sqli::detect(&value));
    if let Some(fingerprint) = fingerprint {
        let letters = fingerprint.as_str();
        assert!((1..=5).contains(&letters.len()) && letters.bytes().all(|letter| letter.is_ascii_graphic()));
    }
    let is_script = linear(value.len(), || xss::detect(&value));

    if value.iter().all(|byte| byte.is_ascii_alphanumeric()) {
        assert!(found.is_none() && fingerprint.is_none() && !is_script, "{} {found:?}", kind.name());
    }
});
