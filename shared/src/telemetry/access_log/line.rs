//! One line of the access log: a JSON object, written front to back into one string.

use std::cell::RefCell;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use crate::clock;

/// A JSON object on one line. Whatever a client has sent is escaped, so that a line is always one line of valid JSON;
/// bytes that are not UTF-8 become U+FFFD. Keys are literals of the code and are written as they are.
#[derive(Clone, Debug)]
pub struct Line(String);

/// Bytes that a line of usual length fits into, so that it is written without being moved.
const USUAL_LENGTH: usize = 1024;

impl Line {
    /// Begins a line with `time`, the wall-clock time in UTC with milliseconds.
    #[must_use]
    pub fn begin(unix_ms: u64) -> Self {
        let mut line = String::with_capacity(USUAL_LENGTH);
        line.push_str("{\"time\":\"");
        push_time(&mut line, unix_ms);
        line.push('"');
        Self(line)
    }

    /// Begins a line without any field.
    #[must_use]
    pub fn bare() -> Self {
        let mut line = String::with_capacity(USUAL_LENGTH);
        line.push('{');
        Self(line)
    }

    /// Appends a text.
    pub fn text(&mut self, key: &'static str, value: impl AsRef<[u8]>) {
        self.key(key);
        push_json_string(&mut self.0, value.as_ref());
    }

    /// Appends a text when there is one.
    pub fn optional(&mut self, key: &'static str, value: Option<impl AsRef<[u8]>>) {
        if let Some(value) = value {
            self.text(key, value);
        }
    }

    /// Appends what is known to be UTF-8, which is quicker.
    #[inline(always)]
    pub fn utf8(&mut self, key: &'static str, value: &str) {
        self.key(key);
        push_json_text(&mut self.0, value);
    }

    /// Appends what is known to need no escaping: names and numbers that this product made itself, tokens that were checked.
    #[inline(always)]
    pub fn plain(&mut self, key: &'static str, value: &str) {
        debug_assert!(are_plain(value.as_bytes()), "{value:?}");
        self.key(key);
        self.0.push('"');
        self.0.push_str(value);
        self.0.push('"');
    }

    /// Appends what is known to need no escaping when there is any.
    #[inline(always)]
    pub fn optional_plain(&mut self, key: &'static str, value: Option<&str>) {
        if let Some(value) = value {
            self.plain(key, value);
        }
    }

    /// Appends what is known to be UTF-8 when there is any.
    #[inline(always)]
    pub fn optional_utf8(&mut self, key: &'static str, value: Option<&str>) {
        if let Some(value) = value {
            self.utf8(key, value);
        }
    }

    /// Appends a whole number.
    #[inline(always)]
    pub fn number(&mut self, key: &'static str, value: u64) {
        self.key(key);
        push_number(&mut self.0, value);
    }

    /// Appends `true` or `false`.
    pub fn flag(&mut self, key: &'static str, value: bool) {
        self.key(key);
        self.0.push_str(if value { "true" } else { "false" });
    }

    /// Appends a duration in milliseconds with three decimals.
    #[inline(always)]
    pub fn millis(&mut self, key: &'static str, value: Duration) {
        self.key(key);
        push_millis(&mut self.0, value);
    }

    /// Appends a wall-clock time in UTC with milliseconds.
    pub fn time(&mut self, key: &'static str, unix_ms: u64) {
        self.key(key);
        self.0.push('"');
        push_time(&mut self.0, unix_ms);
        self.0.push('"');
    }

    /// Appends a JSON literal that the code knows to be valid, such as `1.1`.
    pub fn literal(&mut self, key: &'static str, json: &'static str) {
        self.key(key);
        self.0.push_str(json);
    }

    /// Appends an object with the fields that `fill` appends.
    pub fn object(&mut self, key: &'static str, fill: impl FnOnce(&mut Self)) {
        self.key(key);
        self.enclose(['{', '}'], fill);
    }

    /// Appends a list of objects: one for each of `items`, with the fields that `fill` appends for it.
    pub fn objects<T>(
        &mut self,
        key: &'static str,
        items: impl IntoIterator<Item = T>,
        mut fill: impl FnMut(&mut Self, T),
    ) {
        self.key(key);
        self.enclose(['[', ']'], |line| {
            for item in items {
                line.0.push(',');
                line.enclose(['{', '}'], |line| fill(line, item));
            }
        });
    }

    /// Appends a list of texts.
    pub fn texts<T: AsRef<str>>(&mut self, key: &'static str, values: impl IntoIterator<Item = T>) {
        self.key(key);
        self.enclose(['[', ']'], |line| {
            for value in values {
                line.0.push(',');
                push_json_text(&mut line.0, value.as_ref());
            }
        });
    }

    /// What `fill` appends begins with a comma, as every field does; the first one is taken out again.
    fn enclose(&mut self, [open, close]: [char; 2], fill: impl FnOnce(&mut Self)) {
        self.0.push(open);
        let start = self.0.len();
        fill(self);
        if self.0.get(start..).is_some_and(|filled| filled.starts_with(',')) {
            self.0.remove(start);
        }
        self.0.push(close);
    }

    /// Appends an address without port.
    pub fn ip(&mut self, key: &'static str, value: IpAddr) {
        self.key(key);
        self.0.push('"');
        push_ip(&mut self.0, value);
        self.0.push('"');
    }

    /// Appends an address with port.
    #[inline(always)]
    pub fn address(&mut self, key: &'static str, value: SocketAddr) {
        self.key(key);
        self.0.push('"');
        push_address(&mut self.0, value);
        self.0.push('"');
    }

    /// Ends the line; it has no line feed.
    #[must_use]
    pub fn end(mut self) -> String {
        if self.0.starts_with("{,") {
            self.0.remove(1);
        }
        self.0.push('}');
        self.0
    }

    /// Inlined into every field, so that the length of the key is known where it is written.
    #[inline(always)]
    fn key(&mut self, key: &'static str) {
        self.0.push_str(",\"");
        self.0.push_str(key);
        self.0.push_str("\":");
    }
}

/// The time up to the second is kept by each thread, since it changes once a second.
fn push_time(out: &mut String, unix_ms: u64) {
    thread_local! {
        static SECOND: RefCell<(u64, String)> = const { RefCell::new((u64::MAX, String::new())) };
    }
    let (second, ms) = (unix_ms / 1_000, unix_ms % 1_000);
    SECOND.with_borrow_mut(|(kept, text)| {
        if *kept != second {
            *kept = second;
            *text = clock::rfc3339(second * 1_000);
            text.truncate("2026-11-20T10:15:30.".len());
        }
        out.push_str(text);
    });
    push_three_digits(out, ms);
    out.push('Z');
}

/// All numbers of two digits.
const PAIRS: &str = "0001020304050607080910111213141516171819\
                     2021222324252627282930313233343536373839\
                     4041424344454647484950515253545556575859\
                     6061626364656667686970717273747576777879\
                     8081828384858687888990919293949596979899";

/// Appends the last two digits of a number.
#[inline]
fn push_pair(out: &mut String, number: u64) {
    let start = usize::try_from(number % 100 * 2).unwrap_or_default();
    // There always is one.
    if let Some(pair) = PAIRS.get(start..start + 2) {
        out.push_str(pair);
    }
}

/// Appends the last digit of a number.
#[inline]
fn push_digit(out: &mut String, number: u64) {
    out.push(char::from(b'0' + u8::try_from(number % 10).unwrap_or_default()));
}

fn push_three_digits(out: &mut String, number: u64) {
    push_digit(out, number / 100);
    push_pair(out, number);
}

fn push_millis(out: &mut String, value: Duration) {
    let micros = u64::from(value.subsec_micros());
    push_number(out, value.as_secs().saturating_mul(1_000).saturating_add(micros / 1_000));
    out.push('.');
    push_three_digits(out, micros % 1_000);
}

/// Appends a whole number without the formatting machinery.
pub(crate) fn push_number(out: &mut String, number: u64) {
    match number {
        0..10 => push_digit(out, number),
        10..100 => push_pair(out, number),
        _ => {
            push_number(out, number / 100);
            push_pair(out, number);
        }
    }
}

fn push_four(out: &mut String, [first, second, third, fourth]: [u8; 4]) {
    push_number(out, first.into());
    for octet in [second, third, fourth] {
        out.push('.');
        push_number(out, octet.into());
    }
}

/// Appends an address as `Display` does, quicker for IPv4.
pub fn push_ip(out: &mut String, address: IpAddr) {
    match address {
        IpAddr::V4(four) => push_four(out, four.octets()),
        IpAddr::V6(_) => out.push_str(&address.to_string()),
    }
}

/// Appends an address with its port as `Display` does, but without flow label and zone.
pub(crate) fn push_address(out: &mut String, address: SocketAddr) {
    let IpAddr::V4(four) = address.ip() else {
        return out.push_str(&SocketAddr::new(address.ip(), address.port()).to_string());
    };
    push_four(out, four.octets());
    out.push(':');
    push_number(out, address.port().into());
}

/// Appends a JSON string with its quotes.
pub(crate) fn push_json_string(out: &mut String, bytes: &[u8]) {
    out.push('"');
    match std::str::from_utf8(bytes) {
        Ok(text) if are_plain(bytes) => out.push_str(text),
        Ok(text) => push_escaped(out, text),
        Err(_) => push_escaped(out, &String::from_utf8_lossy(bytes)),
    }
    out.push('"');
}

/// The same for a text: what is known to be UTF-8 is not looked at again.
pub(crate) fn push_json_text(out: &mut String, text: &str) {
    out.push('"');
    if are_plain(text.as_bytes()) {
        out.push_str(text);
    } else {
        push_escaped(out, text);
    }
    out.push('"');
}

/// Whether nothing needs escaping, in JSON and in a string of a structured field: visible ASCII and spaces without quotes and
/// backslashes. Looks at eight bytes at a time; at the last eight, some of them twice, instead of at what is left over.
pub(crate) fn are_plain(bytes: &[u8]) -> bool {
    let is_special = |byte: u8| !matches!(byte, b' '..=b'~') | (byte == b'"') | (byte == b'\\');
    let (words, _) = bytes.as_chunks::<8>();
    let Some(last) = bytes.last_chunk::<8>() else {
        return !bytes.iter().fold(false, |found, byte| found | is_special(*byte));
    };
    words.iter().fold(special(*last), |found, word| found | special(*word)) == 0
}

/// The high bits of those of eight bytes that need escaping; may also have some above the first of these.
#[inline]
fn special(bytes: [u8; 8]) -> u64 {
    const EACH: u64 = u64::MAX / 255;
    let word = u64::from_le_bytes(bytes);
    let below = |word: u64, byte: u8| word.wrapping_sub(EACH * u64::from(byte)) & !word;
    let is_zero = |word: u64| below(word, 1);
    // Above `~` one more is above 127; below that nothing is carried into the next byte.
    let above = word | word.wrapping_add(EACH);
    let is = |byte: u8| is_zero(word ^ (EACH * u64::from(byte)));
    let found = below(word, b' ') | above | is(b'"') | is(b'\\');
    found & (EACH * 128)
}

/// Also escapes what some readers take for a line end: C1 controls, U+2028 and U+2029.
fn push_escaped(out: &mut String, text: &str) {
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            c if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}') => {
                out.push_str("\\u");
                for shift in [12, 8, 4, 0] {
                    out.push(char::from_digit(u32::from(c) >> shift & 15, 16).unwrap_or('0'));
                }
            }
            c => out.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};

    use super::*;

    #[test]
    fn a_line_reads_as_it_was_written() {
        let mut line = Line::begin(1_798_761_599_001);
        line.text("method", "GET");
        line.optional("route", None::<&str>);
        line.optional("cluster", Some("business"));
        line.number("status", 200);
        line.flag("held", false);
        line.millis("duration_ms", Duration::from_micros(12_034));
        line.ip("client", [192, 0, 2, 1].into());
        line.address("upstream", ([127, 0, 0, 1], 8081).into());
        line.text("agent", b"\xff\"\\\n\x7f\xc3\xbc");
        assert_eq!(
            line.end(),
            "{\"time\":\"2026-12-31T23:59:59.001Z\",\"method\":\"GET\",\"cluster\":\"business\",\"status\":200,\
             \"held\":false,\"duration_ms\":12.034,\"client\":\"192.0.2.1\",\"upstream\":\"127.0.0.1:8081\",\
             \"agent\":\"\u{fffd}\\\"\\\\\\u000a\\u007fü\"}"
        );
    }

    #[test]
    fn objects_and_lists_nest() {
        let mut line = Line::bare();
        line.object("transaction", |line| {
            line.utf8("id", "a");
            line.object("request", |line| line.literal("http_version", "1.1"));
            line.object("nothing", |_| {});
            line.objects("messages", [["x", "y\"z"], ["", ""]], |line, tags| line.texts("tags", tags));
            line.texts("none", [""; 0]);
        });
        line.time("@timestamp", 1_798_761_599_001);
        assert_eq!(
            line.end(),
            "{\"transaction\":{\"id\":\"a\",\"request\":{\"http_version\":1.1},\"nothing\":{},\
             \"messages\":[{\"tags\":[\"x\",\"y\\\"z\"]},{\"tags\":[\"\",\"\"]}],\"none\":[]},\"@timestamp\":\"2026-12-31T23:59:59.001Z\"}"
        );
        assert_eq!(Line::bare().end(), "{}");
    }

    #[test]
    fn the_kept_second_is_the_right_one() {
        for unix_ms in [0, 999, 1_000, 1_999, 500, 1_700_000_000_123, 1_700_000_000_999, 1_700_000_001_000] {
            let mut text = String::new();
            push_time(&mut text, unix_ms);
            assert_eq!(text, clock::rfc3339(unix_ms));
        }
    }

    #[test]
    fn what_needs_escaping_is_found_wherever_it_is() {
        for byte in 0..=u8::MAX {
            let expected = matches!(byte, b' '..=b'~') && !matches!(byte, b'"' | b'\\');
            for length in 1..20 {
                for place in 0..length {
                    let mut bytes = vec![b'~'; length];
                    bytes[place] = byte;
                    assert_eq!(are_plain(&bytes), expected, "{byte} at {place} of {length}");
                }
            }
        }
        assert!(are_plain(b""));
    }

    proptest! {
        #[test]
        fn any_bytes_make_one_line_of_valid_json(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
            let mut line = Line::begin(0);
            line.text("value", &bytes);
            let line = line.end();
            let value: serde_json::Value = serde_json::from_str(&line).unwrap();
            prop_assert_eq!(value["value"].as_str().unwrap(), String::from_utf8_lossy(&bytes));
            let ends_early = line.contains(['\n', '\r', '\u{85}', '\u{2028}']);
            prop_assert!(!ends_early);
        }

        #[test]
        fn numbers_and_addresses_print_as_usual(number in any::<u64>(), address in any::<SocketAddr>()) {
            let (mut digits, mut shown) = (String::new(), String::new());
            push_number(&mut digits, number);
            push_address(&mut shown, address);
            prop_assert_eq!(digits, number.to_string());
            prop_assert_eq!(shown, SocketAddr::new(address.ip(), address.port()).to_string());
        }
    }
}
