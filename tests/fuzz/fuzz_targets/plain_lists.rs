//! Plain lists in both layouts: any bytes are read or refused with places inside the file; what is read compiles; a line of
//! letters and digits refuses a request that holds it.

#![no_main]

use std::path::Path;

use gatehouse_fuzz::Input;
use gatehouse_fuzz::exchange::{Exchange, Way, run};
use gatehouse_fuzz::program::compile;
use gatehouse_waf::list::{ListOptions, load};
use gatehouse_waf::rules::Options;
use gatehouse_waf::seclang::MAX_ERRORS;
use gatehouse_waf::seclang::files::Memory;
use gatehouse_waf::transaction::Verdict;
use libfuzzer_sys::fuzz_target;

/// Names of lists, those of a layout beside each other.
const FILES: [&str; 14] = [
    "args",
    "cookie",
    "post",
    "url",
    "user-agent",
    "whiteurl",
    "args.rule",
    "blackip.rule",
    "cookie.rule",
    "post.rule",
    "url.rule",
    "useragent.rule",
    "whiteip.rule",
    "whiteurl.rule",
];

fuzz_target!(|bytes: &[u8]| {
    let mut input = Input::new(bytes);
    let name = *input.one_of(&FILES);
    let files = Memory::default().with(&format!("lists/{name}"), input.bytes());
    let lists = match load(&files, Path::new("lists"), &ListOptions::default()) {
        Ok((lists, warnings)) => {
            assert!(warnings.iter().all(|warning| !warning.to_string().is_empty()));
            lists
        }
        Err(errors) => {
            assert!((1..=MAX_ERRORS).contains(&errors.len()));
            let lines = input.bytes().split(|byte| *byte == b'\n').count();
            return assert!(errors.iter().all(|error| error.line as usize <= lines), "{errors:?}");
        }
    };
    let rules = compile(&lists.program, &Options::default()).expect("what loads compiles");
    let words = input.bytes().split(|byte| *byte == b'\n');
    let word = words.into_iter().find(|line| !line.is_empty() && line.iter().all(u8::is_ascii_alphanumeric));
    let Some(word) = word else { return };
    let word = String::from_utf8_lossy(word);
    let request = match name.split('.').next() {
        Some("args") => format!("GET /?a={word} HTTP/1.1\r\n\r\n"),
        Some("cookie") => format!("GET / HTTP/1.1\r\nCookie: a={word}\r\n\r\n"),
        Some("post") => format!("POST / HTTP/1.1\r\nContent-Type: application/json\r\n\r\n[\"{word}\"]"),
        Some("url") => format!("GET /{word} HTTP/1.1\r\n\r\n"),
        Some("user-agent" | "useragent") => format!("GET / HTTP/1.1\r\nUser-Agent: {word}\r\n\r\n"),
        _ => return,
    };
    let (verdict, report) = run(&rules, &Exchange::read(request.as_bytes()), Way::PLAIN);
    assert!(matches!(verdict, Verdict::Deny { status: 403, .. }), "{name}: {word} passed: {report:?}");
});
