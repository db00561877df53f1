//! The text form of a batch, as clients of open platforms send it: one call after another, each a line of URL-encoded parameters
//! of which `method` names the API.
//!
//! - Between two calls stands the separator: the text of the header `top-api-separator`, or, without it, the end of a line;
//!   lines that are empty or `-S-` are left out, so that `\r\n-S-\r\n`, which the kits of these platforms write, is one end of a
//!   line.
//! - The first line may begin with `#PUBLIC#`: its parameters count for every call that does not have one of the same name.
//! - A call without parameters of its own is written `N`.
//!
//! What a call becomes: a request with the path of its API and the first method that this takes, `GET` before others; the
//! parameters are the query of a GET, HEAD or DELETE and the form of any other method.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use http::Method;

use super::asked::{Asked, Content, Fault, Unfit};
use crate::admit::api::Api;
use crate::admit::flow_rule::input::parameters;
use crate::store::catalog::Catalog;

/// The header with another separator.
pub const SEPARATOR_HEADER: &str = "top-api-separator";
/// What stands between answers, where the client does not name it.
pub const SEPARATOR: &str = "\r\n-S-\r\n";
/// The longest separator, in bytes.
pub const SEPARATOR_MAX: usize = 64;

const PUBLIC: &str = "#PUBLIC#";
/// Parameters that count for every call are written out for every call, so there cannot be any number of them.
const PUBLIC_MAX: usize = 8 * 1024;
/// Parameters of one call.
const PARAMETERS_MAX: usize = 1_000;
/// A call without parameters.
const NOTHING: &str = "N";
/// The parameter with the name of the API.
const METHOD: &str = "method";
/// What says who calls is the batch's to say.
const CREDENTIALS: [&str; 3] = ["app_key", "sign", "session"];

/// A call as it was written: its parameters, those of `#PUBLIC#` included.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// The parameters, joined as in a query.
    pub parameters: String,
    /// The API that it names, or why it cannot be called.
    pub api: Result<Box<str>, Unfit>,
}

/// Reads a batch of at most `most` calls.
///
/// # Errors
/// Whatever makes it no batch; then nothing of it may be executed.
pub fn read(text: &str, separator: Option<&str>, most: usize) -> Result<Vec<Line>, Fault> {
    let whole = text.len();
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let (public, calls) = match text.strip_prefix(PUBLIC) {
        Some(rest) => {
            let (public, calls) = cut(rest, separator);
            (public, calls.unwrap_or_default())
        }
        None => ("", text),
    };
    if public.len() > PUBLIC_MAX {
        return Err(Fault::at(0, "the parameters of #PUBLIC# are longer than 8 KiB"));
    }
    let public = named(public).map_err(|what| Fault::at(0, what))?;
    let mut lines = Vec::new();
    let mut rest = Some(calls);
    while let Some(text) = rest {
        let at = whole.saturating_sub(text.len());
        let (line, behind) = cut(text, separator);
        rest = behind;
        // Between line ends there may be nothing; a separator that was named has a call on either side.
        let is_between = separator.is_none() && (line.is_empty() || line == "-S-");
        if is_between || (line.is_empty() && rest.is_none()) {
            continue;
        }
        if lines.len() >= most {
            return Err(Fault::TooMany);
        }
        lines.push(Line::read(line, &public).map_err(|what| Fault::at(at, what).in_item(lines.len()))?);
    }
    Ok(lines)
}

/// A text up to the next separator, and what is behind that.
fn cut<'a>(text: &'a str, separator: Option<&str>) -> (&'a str, Option<&'a str>) {
    let cut = match separator {
        Some(separator) => text.split_once(separator),
        None => text.split_once('\n').map(|(line, rest)| (line.strip_suffix('\r').unwrap_or(line), rest)),
    };
    match cut {
        Some((line, rest)) => (line, Some(rest)),
        None if separator.is_none() => (text.strip_suffix('\r').unwrap_or(text), None),
        None => (text, None),
    }
}

/// The parameters of a text, each with its name.
fn named(text: &str) -> Result<Vec<(Cow<'_, str>, &str)>, &'static str> {
    let mut pairs = Vec::new();
    for pair in text.split('&').filter(|pair| !pair.is_empty()) {
        if pairs.len() >= PARAMETERS_MAX {
            return Err("a call has more than 1000 parameters");
        }
        let name = parameters(pair).next().map_or(Cow::Borrowed(""), |(name, _)| name);
        pairs.push((name, pair));
    }
    Ok(pairs)
}

impl Line {
    fn read(line: &str, public: &[(Cow<'_, str>, &str)]) -> Result<Self, &'static str> {
        let own = if line == NOTHING { Vec::new() } else { named(line)? };
        let names: HashSet<&str> = own.iter().map(|(name, _)| &**name).collect();
        let is_twice = names.len() < own.len();
        let inherited = public.iter().filter(|(name, _)| !names.contains(&**name));
        let mut joined = String::with_capacity(line.len());
        let mut api = None;
        let mut has_credentials = false;
        for (name, pair) in inherited.chain(&own) {
            if name == METHOD {
                api = parameters(pair).next().map(|(_, value)| Box::from(&*value));
            }
            has_credentials |= CREDENTIALS.contains(&&**name);
            if !joined.is_empty() {
                joined.push('&');
            }
            joined.push_str(pair);
        }
        let api = match api {
            _ if is_twice => Err(Unfit::from("a parameter is there twice")),
            _ if has_credentials => {
                Err(Unfit::from("app_key, sign and session are parameters of the batch, not of a call in it"))
            }
            Some(api) => Ok(api),
            None => Err(Unfit::from("the parameter method, with the name of an API, is missing")),
        };
        Ok(Self { parameters: joined, api })
    }
}

/// The items of lines that were read: what each asks for, or why it cannot.
pub fn resolve(lines: Vec<Line>, catalog: &Catalog) -> Vec<Result<Asked<'static>, Unfit>> {
    // One look at all APIs, however many calls there are.
    let mut wanted: HashMap<Box<str>, Option<&Arc<Api>>> =
        lines.iter().filter_map(|line| line.api.clone().ok()).map(|name| (name, None)).collect();
    for api in &catalog.apis {
        if let Some(place) = wanted.get_mut(&*api.name) {
            *place = Some(api);
        }
    }
    let api_of = |name: &str| wanted.get(name).copied().flatten().ok_or(Unfit::UnknownApi);
    lines.into_iter().map(|line| line.api.and_then(|name| asked(line.parameters, api_of(&name)?))).collect()
}

fn asked(parameters: String, api: &Api) -> Result<Asked<'static>, Unfit> {
    if !api.credentials.has_plain_path {
        return Err("the path of the API has parameters, so it cannot be called by its name".into());
    }
    let takes_get = api.methods.is_empty() || api.methods.contains(&Method::GET);
    let method = if takes_get { &Method::GET } else { api.methods.first().unwrap_or(&Method::GET) };
    let path = api.path.to_string();
    let is_in_query = [Method::GET, Method::HEAD, Method::DELETE].contains(method);
    let (target, body) = match is_in_query {
        true => (format!("{path}?{parameters}"), Content::Nothing),
        false => (path, Content::Form(parameters)),
    };
    Ok(Asked {
        id: None,
        api: Some(Arc::clone(&api.name)),
        method: method.to_string().into(),
        target: target.into(),
        headers: Vec::new(),
        body,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str, separator: Option<&str>) -> Vec<(String, String)> {
        let lines = read(text, separator, 5).unwrap_or_else(|fault| panic!("{text}: {fault}"));
        lines.into_iter().map(|line| (line.api.unwrap_or_default().into(), line.parameters)).collect()
    }

    fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
        expected.iter().map(|(api, parameters)| ((*api).to_owned(), (*parameters).to_owned())).collect()
    }

    #[test]
    fn calls_stand_on_lines_or_between_separators() {
        let expected = pairs(&[("a", "method=a&x=1"), ("b", "method=b")]);
        for text in [
            "method=a&x=1\nmethod=b",
            "method=a&x=1\r\nmethod=b\r\n",
            "method=a&x=1\r\n-S-\r\nmethod=b",
            "\u{feff}method=a&x=1\n\n-S-\n\nmethod=b\n-S-\n",
        ] {
            assert_eq!(lines(text, None), expected, "{text:?}");
        }
        assert_eq!(lines("method=a&x=1{;}method=b", Some("{;}")), expected);
        assert_eq!(lines("method=a&x=1{;}method=b{;}", Some("{;}")), expected);
        assert_eq!(lines("", None), []);
    }

    #[test]
    fn public_parameters_count_where_a_call_has_none_of_the_name() {
        let expected =
            pairs(&[("a", "method=a&f=1&x=2"), ("a", "method=a&f=3"), ("a", "method=a&f=1"), ("b", "f=1&method=b")]);
        for separator in [None, Some("\r\n-S-\r\n")] {
            let text = "#PUBLIC#method=a&f=1\r\n-S-\r\nx=2\r\n-S-\r\n%66=3\r\n-S-\r\nN\r\n-S-\r\nmethod=b";
            let text = text.replace("%66", "f");
            assert_eq!(lines(&text, separator), expected);
        }
        assert_eq!(lines("#PUBLIC#f=1\nmethod=a&%66=2", None), pairs(&[("a", "method=a&%66=2")]));
    }

    #[test]
    fn a_call_that_cannot_be_made_is_told_from_a_text_that_is_none() {
        for (text, expected) in [
            ("x=1", "the parameter method"),
            ("method=a&method=b", "twice"),
            ("method=a&%6dethod=b", "twice"),
            ("method=a&session=s", "parameters of the batch"),
            ("method=a&%73ign=s", "parameters of the batch"),
            ("#PUBLIC#app_key=x\nmethod=a", "parameters of the batch"),
        ] {
            let line = &read(text, None, 1).unwrap()[0];
            assert!(line.api.as_ref().unwrap_err().to_string().contains(expected), "{text}");
        }
        assert_eq!(read("method=a\nmethod=a\n", None, 1).unwrap_err(), Fault::TooMany);
        let many = "a=1&".repeat(1_001);
        assert!(read(&format!("method=a\n{many}"), None, 5).unwrap_err().to_string().starts_with("item 1, byte 9: "));
        let long = format!("#PUBLIC#a={}\nN", "x".repeat(PUBLIC_MAX));
        assert!(read(&long, None, 5).unwrap_err().to_string().contains("8 KiB"));
    }
}
