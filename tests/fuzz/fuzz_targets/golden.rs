//! Files of golden cases: any text is read or refused with the line of a mistake in it; what cases hold is bounded and has
//! its length; ids are printed as they are written.

#![no_main]

use gatehouse_waf::golden::{LONGEST, read};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    // Whoever writes a case may ask for much, and gets it; here it would only take time.
    if text.split(|char: char| !char.is_ascii_digit()).any(|digits| digits.trim_start_matches('0').len() > 4) {
        return;
    }
    let lines = text.lines().count().max(1);
    let cases = match read(text) {
        Ok(cases) => cases,
        Err(error) => {
            assert!(!error.to_string().is_empty());
            return assert!((1..=lines + 1).contains(&error.line), "{error} in {lines} lines");
        }
    };
    assert!(cases.len() <= lines);
    for case in cases {
        assert!((1..=lines).contains(&case.line) && !case.name.is_empty());
        let request = &case.request;
        assert!(request.body.len() <= LONGEST && request.target.len() <= LONGEST);
        let is_framed = request.has_field("content-length") || request.has_field("transfer-encoding");
        assert!(request.body.is_empty() || is_framed, "a body without a length");
        assert!(request.to_bytes().ends_with(&request.body));
        for ids in case.must.iter().chain(&case.must_not) {
            let written = ids.to_string();
            let head = "# A.\nGET / HTTP/1.1\n\n----\npass\n";
            let again = read(&format!("{head}must: {written}\n")).expect("ids as they are printed");
            assert_eq!(again[0].must, [ids.clone()]);
        }
    }
});
