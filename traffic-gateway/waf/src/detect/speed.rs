//! How fast the grammars are: `cargo test --release -p gatehouse-waf speed -- --ignored --nocapture`.
#![expect(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "time is what is measured, and printed for whoever asked"
)]

use std::hint::black_box;
use std::time::Instant;

use super::ordinary::ORDINARY;
use super::{Classes, KINDS, find_among, find_in};
use crate::decode::{Scratch, views};

/// Nanoseconds of one call: the best of several rounds, since the machine is shared.
fn nanoseconds(rounds: u32, mut call: impl FnMut()) -> f64 {
    let best = (0..7)
        .map(|_| {
            let start = Instant::now();
            for _ in 0..rounds {
                call();
            }
            start.elapsed()
        })
        .min();
    best.map_or(f64::NAN, |best| best.as_secs_f64() * 1e9 / f64::from(rounds))
}

/// Every form of a value under every grammar.
fn examine(value: &[u8], scratch: &mut Scratch) {
    views(value, scratch, &mut |view| {
        for kind in KINDS {
            black_box(find_in(kind, view));
        }
        false
    });
}

/// A value as it is under every grammar.
fn all(value: &[u8]) {
    let classes = Classes::of(value);
    for kind in KINDS {
        black_box(find_among(kind, black_box(value), classes));
    }
}

#[test]
#[ignore = "a measurement"]
fn speed_of_the_grammars() {
    let plain = b"abcdefghij1234567890";
    let mut scratch = Scratch::default();
    let mut other = Scratch::default();
    println!(
        "20 bytes, letters and digits: all grammars {:.0} ns, views {:.0} ns, examine {:.0} ns",
        nanoseconds(200_000, || all(plain)),
        nanoseconds(200_000, || {
            views(black_box(plain), &mut scratch, &mut |_| false);
        }),
        nanoseconds(200_000, || {
            examine(black_box(plain), &mut other);
        })
    );
    for value in [
        "42",
        "en-US",
        "john.doe@example.com",
        "2024-01-31T12:34:56Z",
        "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36",
        "text/html,application/xhtml+xml;q=0.9,*/*;q=0.8",
        "O'Brien & Sons (Ltd.)",
    ] {
        println!(
            "{value:?}: all grammars {:.0} ns, examine {:.0} ns",
            nanoseconds(20_000, || all(value.as_bytes())),
            nanoseconds(20_000, || {
                examine(black_box(value.as_bytes()), &mut scratch);
            })
        );
    }
    let prose = "The quick brown fox (it's the 2nd one) jumps over the lazy dog; everybody & their neighbours watch, \"again\". ".repeat(600);
    let ordinary = ORDINARY.join("\n").repeat(4);
    for (name, text) in [("prose", prose.as_bytes()), ("ordinary values, joined", ordinary.as_bytes())] {
        let text = text.get(..65_536.min(text.len())).unwrap();
        let kib = f64::from(u32::try_from(text.len()).unwrap()) / 1024.0;
        println!(
            "{name}: all grammars {:.0} ns/KiB, examine {:.0} ns/KiB",
            nanoseconds(5, || all(text)) / kib,
            nanoseconds(5, || {
                examine(text, &mut scratch);
            }) / kib
        );
        for kind in KINDS {
            println!(
                "    {:24} {:8.0} ns/KiB",
                kind.name(),
                nanoseconds(5, || {
                    black_box(find_among(kind, text, Classes::of(text)));
                }) / kib
            );
        }
    }
    worst();
}

/// The slowest near-matches known, for each grammar.
fn worst() {
    let seeds = [
        "'",
        "\"",
        "' or ",
        "''",
        "/**/",
        "union ",
        "(",
        ";",
        ";cat ",
        "`",
        "$(",
        "{",
        "{{",
        "${",
        "${a:-",
        "<",
        "<a ",
        "<a b='<a b='",
        "<a href=&#",
        "../",
        "/etc/",
        "//",
        "http://",
        ":",
        "data:",
        "$gt ",
        ")(",
        "count(/",
        "system(",
        "$_get[",
        "\n",
        "\nX-",
        "__proto__ ",
        "O:1:\"",
        "<!ENTITY ",
        "%25",
        "&#",
        "\\u",
        "{\"a'\":",
        "a'=b&",
        "Jyc",
    ];
    for kind in KINDS {
        let slowest = seeds
            .iter()
            .map(|seed| (seed, seed.repeat(65_536 / seed.len())))
            .map(|(seed, value)| {
                (
                    nanoseconds(1, || {
                        black_box(find_among(kind, value.as_bytes(), Classes::of(value.as_bytes())));
                    }) / 64.0,
                    seed,
                )
            })
            .max_by(|a, b| a.0.total_cmp(&b.0));
        println!("worst of {:24} {slowest:8.0?} ns/KiB", kind.name());
    }
    let mut scratch = Scratch::default();
    let slowest = seeds
        .iter()
        .map(|seed| (seed, seed.repeat(65_536 / seed.len())))
        .map(|(seed, value)| {
            (
                nanoseconds(1, || {
                    examine(value.as_bytes(), &mut scratch);
                }) / 64.0,
                seed,
            )
        })
        .max_by(|a, b| a.0.total_cmp(&b.0));
    println!("worst of examine {slowest:8.0?} ns/KiB");
}
