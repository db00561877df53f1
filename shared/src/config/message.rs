//! What serde says, in the words of the person who wrote the file.

use super::suggest::nearest;

/// One error of one reading.
pub(super) enum Complaint {
    /// A required key is not there.
    Missing { key: String, message: String },
    /// Anything else.
    Other { message: String, remedy: Option<String> },
}

/// Rewrites a serde message about the item at `path`.
pub(super) fn explain(path: &str, message: &str) -> Complaint {
    if let Some(rest) = message.strip_prefix("missing field ") {
        let key = quoted(rest).next().unwrap_or_default().to_owned();
        let message = format!("missing key \"{key}\" {}", section(path));
        return Complaint::Missing { key, message };
    }
    let (message, remedy) = if let Some(rest) = message.strip_prefix("unknown field ") {
        unknown_key(path, rest)
    } else if let Some(rest) = message.strip_prefix("unknown variant ") {
        unknown_choice(path, rest)
    } else if let Some((found, expected)) = invalid(message) {
        (format!("\"{path}\" must be {}, not {}", wanted(expected), given(found)), None)
    } else if let Some(wanted) = malformed(message) {
        (format!("\"{path}\" must be {wanted}"), None)
    } else if path.is_empty() {
        (message.to_owned(), None)
    } else {
        (format!("\"{path}\": {message}"), None)
    };
    Complaint::Other { message, remedy }
}

fn unknown_key(path: &str, rest: &str) -> (String, Option<String>) {
    let (parent, _) = path.rsplit_once('.').unwrap_or(("", path));
    let mut names = quoted(rest);
    let key = names.next().unwrap_or_default();
    let known: Vec<&str> = names.collect();
    (format!("unknown key \"{key}\" {}", section(parent)), remedy(key, &known))
}

fn unknown_choice(path: &str, rest: &str) -> (String, Option<String>) {
    let mut names = quoted(rest);
    let choice = names.next().unwrap_or_default();
    if path.rsplit('.').next() == Some(choice) {
        return unknown_key(path, rest); // a choice that is written as a key: `{ file = … }`
    }
    let known: Vec<&str> = names.collect();
    (format!("\"{path}\" cannot be \"{choice}\""), remedy(choice, &known))
}

fn remedy(word: &str, known: &[&str]) -> Option<String> {
    if let Some(near) = nearest(word, known.iter().copied()) {
        return Some(format!("did you mean \"{near}\"?"));
    }
    if known.is_empty() {
        return Some("it takes no keys".to_owned());
    }
    let known: Vec<String> = known.iter().map(|name| format!("\"{name}\"")).collect();
    Some(format!("known: {}", known.join(", ")))
}

/// Names a table as its header is written: `in [process.listener]` for the path `process.listener[0]`.
fn section(path: &str) -> String {
    if path.is_empty() {
        return "at the top level".to_owned();
    }
    let mut name = String::with_capacity(path.len());
    let mut depth = 0_usize;
    for c in path.chars() {
        match c {
            '[' => depth += 1,
            ']' => depth = depth.saturating_sub(1),
            _ if depth == 0 => name.push(c),
            _ => {}
        }
    }
    format!("in [{name}]")
}

/// The words between backticks.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// `invalid type: string "x", expected u64` into what was found and what was expected.
fn invalid(message: &str) -> Option<(&str, &str)> {
    let kinds = ["invalid type: ", "invalid value: ", "invalid length "];
    let rest = kinds.iter().find_map(|kind| message.strip_prefix(kind))?;
    rest.rsplit_once(", expected ")
}

const SOCKET_ADDRESS: &str = "an address with its port, such as \"127.0.0.1:8080\"";
const IP_ADDRESS: &str = "an IP address, such as \"192.0.2.1\"";

/// What the standard library says of addresses, which does not show what it was given.
fn malformed(message: &str) -> Option<&'static str> {
    match message {
        "invalid socket address syntax" => Some(SOCKET_ADDRESS),
        "invalid IP address syntax" => Some(IP_ADDRESS),
        _ => None,
    }
}

/// What the parser says of TOML that is none: what is wrong, and what it expected there as the remedy.
pub(super) fn explain_syntax(message: &str, at: &str) -> (String, Option<String>) {
    let (wrong, expected) = message.split_once(", expected ").unwrap_or((message, ""));
    let remedy = match (wrong, expected) {
        (_, "" | "nothing") | ("string values must be quoted", _) => None,
        (_, expected) => Some(format!("expected {}", expected.replace('`', "\""))),
    };
    let wrong = match wrong {
        "duplicate key" => format!("\"{at}\" is there twice"),
        "string values must be quoted" => "there must be a value here; texts stand in quotes".to_owned(),
        wrong => wrong.to_owned(),
    };
    (wrong, remedy)
}

fn wanted(expected: &str) -> String {
    match expected {
        "u8" => "a whole number from 0 to 255".to_owned(),
        "u16" => "a whole number from 0 to 65535".to_owned(),
        "u32" => "a whole number from 0 to 4294967295".to_owned(),
        "u64" | "usize" => "a whole number that is not negative".to_owned(),
        "socket address" => SOCKET_ADDRESS.to_owned(),
        "IP address" => IP_ADDRESS.to_owned(),
        "i8" | "i16" | "i32" | "i64" | "isize" => "a whole number".to_owned(),
        "f32" | "f64" => "a number".to_owned(),
        "a boolean" => "true or false".to_owned(),
        "a sequence" => "a list".to_owned(),
        "a map" => "a table".to_owned(),
        "path string" => "a path, as a string".to_owned(),
        other if other.starts_with("struct ") => "a table".to_owned(),
        other if other.starts_with("a nonzero ") => "a whole number that is not zero".to_owned(),
        other => other.to_owned(),
    }
}

fn given(found: &str) -> String {
    let found = found.replace('`', "");
    match found.as_str() {
        "sequence" => "a list".to_owned(),
        "map" => "a table".to_owned(),
        other => match other.split_once(' ') {
            Some(("string", text)) => text.to_owned(),
            Some(("integer" | "boolean", value)) => value.to_owned(),
            _ => other.strip_prefix("floating point ").unwrap_or(other).to_owned(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(path: &str, message: &str) -> String {
        match explain(path, message) {
            Complaint::Missing { message, .. } | Complaint::Other { message, remedy: None } => message,
            Complaint::Other { message, remedy: Some(remedy) } => format!("{message} ({remedy})"),
        }
    }

    #[test]
    fn speaks_of_keys_and_tables() {
        assert_eq!(
            text("process.listener[0].adress", "unknown field `adress`, expected one of `address`, `tls`"),
            "unknown key \"adress\" in [process.listener] (did you mean \"address\"?)"
        );
        assert_eq!(
            text("colour", "unknown field `colour`, expected `process` or `accept`"),
            "unknown key \"colour\" at the top level (known: \"process\", \"accept\")"
        );
        assert_eq!(text("route[1]", "missing field `cluster`"), "missing key \"cluster\" in [route]");
        assert_eq!(
            text("process.threads", "invalid type: string \"two\", expected usize"),
            "\"process.threads\" must be a whole number that is not negative, not \"two\""
        );
        assert_eq!(
            text("cluster[0].strategy", "unknown variant `round-robin`, expected `round_robin` or `least_connections`"),
            "\"cluster[0].strategy\" cannot be \"round-robin\" (did you mean \"round_robin\"?)"
        );
    }
}
