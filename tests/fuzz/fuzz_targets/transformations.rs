//! Transformations: each stays within three times the length, says whether it wrote, does not depend on what the buffer
//! held, and does the same twice where that is promised; what is encoded comes back; a pipeline of any of them is linear.

#![no_main]

use gatehouse_fuzz::{Input, linear};
use gatehouse_waf::transform::{Changed, Transformation};
use libfuzzer_sys::fuzz_target;

/// Those that have nothing to do the second time.
const ONCE: &[&str] = &[
    "cmdLine",
    "compressWhitespace",
    "lowercase",
    "normalizePath",
    "normalizePathWin",
    "parityEven7bit",
    "parityOdd7bit",
    "parityZero7bit",
    "removeNulls",
    "removeWhitespace",
    "replaceComments",
    "replaceNulls",
    "trim",
    "trimLeft",
    "trimRight",
    "uppercase",
    "utf8toUnicode",
];

const THERE_AND_BACK: &[(&str, &str)] = &[
    ("base64Encode", "base64Decode"),
    ("base64Encode", "base64DecodeExt"),
    ("hexEncode", "hexDecode"),
    ("urlEncode", "urlDecode"),
    ("urlEncode", "urlDecodeUni"),
];

fuzz_target!(|bytes: &[u8]| {
    let mut input = Input::new(bytes);
    let value = input.stretched();
    for known in Transformation::ALL {
        let once = linear(value.len(), || apply(*known, &value));
        if ONCE.contains(&known.name()) {
            assert_eq!(apply(*known, &once), once, "{} twice", known.name());
        }
    }
    for (there, back) in THERE_AND_BACK {
        assert_eq!(named(back, &named(there, &value)), *value, "{there} and {back}");
    }
    assert_eq!(named("trimLeft", &named("trimRight", &value)), named("trim", &value));

    let mut through = value.into_owned();
    for _ in 0..5 {
        let next = *input.one_of(Transformation::ALL);
        through = linear(through.len(), || apply(next, &through));
    }
});

fn named(name: &str, value: &[u8]) -> Vec<u8> {
    apply(Transformation::find(name).expect("a known name"), value)
}

fn apply(known: Transformation, value: &[u8]) -> Vec<u8> {
    let mut out = b"left over".to_vec();
    let changed = known.apply(value, &mut out);
    assert!(out.len() <= 3 * value.len() + 20, "{} wrote {} bytes", known.name(), out.len());
    match changed {
        Changed::Yes => out,
        Changed::No => {
            assert!(out.is_empty(), "{} wrote without saying so", known.name());
            value.to_vec()
        }
    }
}
