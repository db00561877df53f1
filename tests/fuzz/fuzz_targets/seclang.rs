//! SecLang: any bytes are read or refused with places inside the file; what is read is printed, read again to the same
//! and printed to the same; what compiles, compiles when printed, and decides alike with and without prefilter.

#![no_main]

use gatehouse_fuzz::exchange::{Exchange, Way, run};
use gatehouse_fuzz::program::{compile, unfiltered, without_places};
use gatehouse_waf::rules::Options;
use gatehouse_waf::seclang::files::Memory;
use gatehouse_waf::seclang::{Error, MAX_ERRORS, parse, parse_text};
use libfuzzer_sys::fuzz_target;

/// What the rules are tried on.
const REQUEST: &[u8] = b"POST /admin/a.php?id=1%20or%201&b=%3Cscript%3E HTTP/1.1\r\nHost: shop.test\r\nCookie: a=b\r\n\
    User-Agent: curl/8\r\nContent-Type: application/x-www-form-urlencoded\r\n\r\nname=O%27Brien&union=select&x=..%2f";

fuzz_target!(|bytes: &[u8]| {
    let files = Memory::default().with("fuzz.conf", bytes).with("more.conf", "SecComponentSignature \"more\"\n");
    let (program, warnings) = match parse(&files, &["fuzz.conf"]) {
        Ok(read) => read,
        Err(errors) => return assert_placed(&errors, bytes),
    };
    for warning in warnings {
        assert!(!warning.to_string().is_empty());
    }
    let printed = program.to_string();
    let again = match parse_text(&Memory::default(), "printed.conf", &printed) {
        Ok((again, _)) if without_places(&again) == without_places(&program) => again,
        _ if holds_what_quotes_cannot(bytes) => return,
        Ok(_) => panic!("is read as something else:\n{printed}"),
        Err(errors) => panic!("{}\n{printed}", errors[0]),
    };
    assert_eq!(again.to_string(), printed);

    let options = Options::default();
    let (rules, other) = (compile(&program, &options), compile(&again, &options));
    assert_eq!(rules.is_ok(), other.is_ok(), "{printed}");
    let (Ok(rules), Ok(slow)) = (rules, compile(&program, &unfiltered(&options))) else { return };
    let exchange = Exchange::read(REQUEST);
    assert_eq!(run(&rules, &exchange, Way::PLAIN), run(&slow, &exchange, Way::PLAIN), "{printed}");
});

/// Whether a backslash that escapes nothing may stand before a quote or at the end of a word: such words cannot be printed.
fn holds_what_quotes_cannot(bytes: &[u8]) -> bool {
    let mut is_escape = false;
    for byte in bytes {
        if is_escape && b"'\"|,; \t".contains(byte) {
            return true;
        }
        is_escape = *byte == b'\\' && !is_escape;
    }
    is_escape
}

fn assert_placed(errors: &[Error], bytes: &[u8]) {
    assert!((1..=MAX_ERRORS).contains(&errors.len()));
    let lines = bytes.split(|byte| *byte == b'\n').count();
    for error in errors {
        assert!(!error.to_string().is_empty());
        assert!(error.line as usize <= lines, "{error}: the file has {lines} lines");
    }
}
