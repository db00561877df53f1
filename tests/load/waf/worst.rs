//! Requests made to cost as much as they can: what the rules of an attacker's choice look at, at any length.

use super::requests::Request;

/// An input of so many bytes.
pub(super) type Worst = fn(usize) -> Request;

/// Every input. Some are refused, which costs no less: the rules have looked at all of it by then.
pub(super) const WORST: [Worst; 10] = [
    near_matches,
    cookies,
    one_value,
    quotes,
    deep_documents,
    many_arguments,
    nested_encodings,
    open_ends,
    random_bytes,
    alternating_words,
];

/// Beginnings of all kinds of attacks, none of which is one, in a form.
fn near_matches(bytes: usize) -> Request {
    form("near_matches", &filled("%27%3Cscript+select%2F*..%2f;$(`|&lt;%5cx", bytes))
}

/// A hundred cookies of near matches.
fn cookies(bytes: usize) -> Request {
    let value = filled("' or <a href=..%2f$(`", bytes / 100);
    let cookies: Vec<String> = (0..100).map(|number| format!("c{number}={value}")).collect();
    Request::get("cookies", "/bench").with("Cookie", &cookies.join("; "))
}

/// One long value of words that many patterns begin with.
fn one_value(bytes: usize) -> Request {
    document("one_value", &format!("[\"{}\"]", filled("select union from where or and on exec <b ../ ", bytes)))
}

/// Nothing but quotes, with which tokenisers begin anew each time.
fn quotes(bytes: usize) -> Request {
    document("quotes", &format!("[\"{}\"]", filled("'`;--", bytes)))
}

/// Objects in objects, as deep as is read, one after the other.
fn deep_documents(bytes: usize) -> Request {
    const DEPTH: usize = 60;
    let deep = format!("{}1{}", "{\"a\":[".repeat(DEPTH / 2), "]}".repeat(DEPTH / 2));
    let documents = filled(&format!("{deep},"), bytes);
    let whole = documents.rfind("},").map_or("", |end| documents.get(..=end).unwrap_or_default());
    document("deep_documents", &format!("[{whole}]"))
}

/// As many arguments as fit, each with a name of its own.
fn many_arguments(bytes: usize) -> Request {
    let mut body = String::new();
    let mut number = 0_usize;
    while body.len() < bytes {
        body.push_str(&format!("{number:x}='&"));
        number += 1;
    }
    form("many_arguments", &body)
}

/// Encodings within encodings, so that every value has many readings.
fn nested_encodings(bytes: usize) -> Request {
    form("nested_encodings", &filled("%2525253c&#x26;lt;\\u003cJTNj%26%2337;3c", bytes).replace('&', "%26"))
}

/// Everything is opened and nothing closed.
fn open_ends(bytes: usize) -> Request {
    document("open_ends", &format!("[\"{}\"]", filled("<a ${{{(/*[<!--#{", bytes)))
}

/// Bytes without any order: every one of them leads an automaton that is built as it goes to a state it has not seen.
fn random_bytes(bytes: usize) -> Request {
    let mut seed = 1_u64;
    let letters = (0..bytes).map(|_| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let place = usize::try_from(seed >> 33).unwrap_or_default() % LETTERS.len();
        LETTERS.get(place).copied().map_or('a', char::from)
    });
    Request::post("random_bytes", "text/plain", letters.collect::<String>())
}

/// What occurs in patterns.
const LETTERS: &[u8] = b"abcdefghijklmnopqrstuvwxyzSELECT0123456789 '\"<>()[]{}$%&;|/\\=.,:*-_#@!?\t\n";

/// Words with gaps of changing lengths, for patterns that bound the gap between two words.
fn alternating_words(bytes: usize) -> Request {
    const WORDS: [&str; 6] = ["select", "from", "union", "on", "concat(", "or 1"];
    let mut text = String::new();
    for (place, word) in WORDS.iter().cycle().enumerate() {
        if text.len() >= bytes {
            break;
        }
        text.push_str(word);
        text.push_str(&"a ".repeat(place * 7 % 41));
    }
    text.truncate(bytes);
    document("alternating_words", &format!("[\"{text}\"]"))
}

fn filled(pattern: &str, bytes: usize) -> String {
    pattern.chars().cycle().take(bytes).collect()
}

fn form(name: &'static str, body: &str) -> Request {
    Request::post(name, "application/x-www-form-urlencoded", body)
}

fn document(name: &'static str, body: &str) -> Request {
    Request::post(name, "application/json", body)
}

#[cfg(test)]
mod tests {
    use super::WORST;

    #[test]
    fn every_input_is_as_long_as_asked_for_and_documents_are_json() {
        for bytes in [16 << 10, 64 << 10] {
            for worst in WORST {
                let request = worst(bytes);
                let length = request.bytes();
                assert!((bytes * 9 / 10..bytes * 5 / 4).contains(&length), "{}: {length} of {bytes}", request.name);
                if request.headers().any(|header| header == ("Content-Type", "application/json")) {
                    serde_json::from_slice::<serde_json::Value>(&request.body).unwrap();
                }
            }
        }
    }
}
