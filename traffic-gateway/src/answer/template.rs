//! Texts with placeholders, such as an operator's own page.
//!
//! `{{name}}` stands for a value of the denial and is escaped for where it goes. A template is judged when the
//! configuration is loaded: an unknown name, a brace that is not closed, or a place where escaping would not protect the
//! reader is an error with its position.

use std::{net::IpAddr, ops::Range};

use gatehouse_shared::{clock, config::nearest, problem::Reason, telemetry::access_log::push_ip};

/// The values a page may show.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    /// Why the request was refused.
    pub reason: &'static Reason,
    /// The status of the answer.
    pub status: u16,
    /// What is particular about this case.
    pub detail: Option<&'a str>,
    /// The request id.
    pub request_id: &'a str,
    /// The client as derived.
    pub client: IpAddr,
    /// Whole seconds after which it is worth trying again.
    pub retry_after: Option<u64>,
    /// The wall clock, Unix milliseconds.
    pub unix_ms: u64,
}

/// What a placeholder stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Value {
    RequestId,
    Status,
    Title,
    Code,
    Detail,
    Client,
    RetryAfter,
    Time,
}

/// Every placeholder by its name.
const VALUES: [(&str, Value); 8] = [
    ("request_id", Value::RequestId),
    ("status", Value::Status),
    ("title", Value::Title),
    ("code", Value::Code),
    ("detail", Value::Detail),
    ("client", Value::Client),
    ("retry_after", Value::RetryAfter),
    ("time", Value::Time),
];

/// What a template becomes part of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Language {
    /// Values are escaped.
    Html,
    /// Values are left as they are: whoever writes the whole text escapes it.
    Plain,
}

/// A judged text with placeholders.
#[derive(Debug, PartialEq, Eq)]
pub struct Template {
    text: Box<str>,
    language: Language,
    /// Places of placeholders in the text, braces included, in order.
    places: Box<[(Range<usize>, Value)]>,
}

/// Why a text is no template.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct TemplateError {
    /// Where, in bytes from the start of the text.
    pub offset: usize,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub remedy: String,
}

impl Template {
    /// Judges a text.
    ///
    /// # Errors
    ///
    /// Every placeholder that is unknown, not closed, or at a place where its value cannot be shown safely.
    pub fn parse(text: &str, language: Language) -> Result<Self, Vec<TemplateError>> {
        let (mut places, mut errors) = (Vec::new(), Vec::new());
        let mut at = 0;
        while let Some(start) = text.get(at..).and_then(|rest| rest.find("{{")).map(|found| at + found) {
            let name_start = start + 2;
            let Some(length) = text.get(name_start..).and_then(|rest| rest.find("}}")) else {
                errors.push(TemplateError {
                    offset: start,
                    message: "\"{{\" is not closed by \"}}\"".to_owned(),
                    remedy: "close it; literal braces are &#123;&#123; in HTML".to_owned(),
                });
                break;
            };
            at = name_start + length + 2;
            let name = text.get(name_start..name_start + length).unwrap_or_default().trim();
            match VALUES.iter().find(|(known, _)| *known == name) {
                None => errors.push(unknown(start, name)),
                Some((_, value)) => {
                    if (language, *value) == (Language::Html, Value::Detail)
                        && let Some(error) = unsafe_place(text, start)
                    {
                        errors.push(error);
                    }
                    places.push((start..at, *value));
                }
            }
        }
        if !errors.is_empty() {
            return Err(errors);
        }
        Ok(Self { text: text.into(), language, places: places.into_boxed_slice() })
    }

    /// The text with its values.
    #[must_use]
    pub fn render(&self, facts: &Facts<'_>) -> String {
        let mut out = String::with_capacity(self.text.len() + 64);
        let mut at = 0;
        for (place, value) in &self.places {
            out.push_str(self.text.get(at..place.start).unwrap_or_default());
            let start = out.len();
            value.push(&mut out, facts);
            if self.language == Language::Html {
                escape_from(&mut out, start);
            }
            at = place.end;
        }
        out.push_str(self.text.get(at..).unwrap_or_default());
        out
    }
}

fn unknown(offset: usize, name: &str) -> TemplateError {
    let names = VALUES.map(|(name, _)| name);
    let remedy = match nearest(name, names) {
        Some(near) => format!("did you mean {{{{{near}}}}}?"),
        None => format!("there are: {}", names.join(", ")),
    };
    TemplateError { offset, message: format!("there is no placeholder named \"{name}\""), remedy }
}

/// `detail` may repeat what the client sent. Escaped it is harmless as the text of an element, but not as part of a tag (an
/// event handler, a link) or of a script. The other values are made of letters, digits and a little punctuation.
fn unsafe_place(text: &str, offset: usize) -> Option<TemplateError> {
    let before = text.get(..offset)?.to_ascii_lowercase();
    let is_in = |element: &str| {
        let opened = before.rfind(&format!("<{element}"));
        opened.is_some() && opened > before.rfind(&format!("</{element}"))
    };
    let place = match () {
        () if is_in("script") => "<script>",
        () if is_in("style") => "<style>",
        () if before.rfind('<') > before.rfind('>') => "a tag",
        () => return None,
    };
    Some(TemplateError {
        offset,
        message: format!("{{{{detail}}}} inside {place} is not safe"),
        remedy: "show it as the text of an element".to_owned(),
    })
}

impl Value {
    fn push(self, out: &mut String, facts: &Facts<'_>) {
        match self {
            Self::RequestId => out.push_str(facts.request_id),
            Self::Status => out.push_str(&facts.status.to_string()),
            Self::Title => out.push_str(facts.reason.title),
            Self::Code => out.push_str(facts.reason.code),
            Self::Detail => out.push_str(facts.detail.unwrap_or_default()),
            Self::Client => push_ip(out, facts.client),
            Self::RetryAfter => out.push_str(&facts.retry_after.map(|after| after.to_string()).unwrap_or_default()),
            Self::Time => out.push_str(&clock::rfc3339(facts.unix_ms)),
        }
    }
}

/// Escapes what was appended from `start` on for HTML.
fn escape_from(out: &mut String, start: usize) {
    let appended = out.get(start..).unwrap_or_default();
    if !appended.contains(['&', '<', '>', '"', '\'']) {
        return;
    }
    let appended = appended.to_owned();
    out.truncate(start);
    for c in appended.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use gatehouse_shared::problem;
    use proptest::prelude::{prop_assert, proptest};

    use super::*;

    fn facts(detail: &str) -> Facts<'_> {
        Facts {
            reason: &problem::ROUTE_NOT_FOUND,
            status: 404,
            detail: Some(detail),
            request_id: "0193c1d2a8f07b6e5d4c3b2a19080706",
            client: [192, 0, 2, 1].into(),
            retry_after: Some(7),
            unix_ms: 1_795_169_880_042,
        }
    }

    fn html(text: &str, detail: &str) -> String {
        Template::parse(text, Language::Html).unwrap().render(&facts(detail))
    }

    fn errors(text: &str) -> Vec<(usize, String)> {
        let errors = Template::parse(text, Language::Html).unwrap_err();
        errors.into_iter().map(|error| (error.offset, error.message)).collect()
    }

    #[test]
    fn shows_every_value() {
        let text = "{{status}}|{{ title }}|{{code}}|{{detail}}|{{request_id}}|{{client}}|{{retry_after}}|{{time}}";
        assert_eq!(
            html(text, "d"),
            "404|No route|route_not_found|d|0193c1d2a8f07b6e5d4c3b2a19080706|192.0.2.1|7|2026-11-20T10:18:00.042Z"
        );
        assert_eq!(html("a { b } }} ü", "d"), "a { b } }} ü");
    }

    #[test]
    fn escapes_for_html_but_not_plain_text() {
        let detail = "<img src=x onerror='alert(\"1\")'>&amp;";
        let escaped = "&lt;img src=x onerror=&#39;alert(&quot;1&quot;)&#39;&gt;&amp;amp;";
        assert_eq!(html("<p>{{detail}}</p>", detail), format!("<p>{escaped}</p>"));
        let plain = Template::parse("{{detail}}", Language::Plain).unwrap();
        assert_eq!(plain.render(&facts(detail)), detail);
    }

    #[test]
    fn every_mistake_is_found_with_its_place() {
        assert_eq!(
            errors("a{{titel}} {{x}} {{code"),
            [
                (1, "there is no placeholder named \"titel\"".to_owned()),
                (11, "there is no placeholder named \"x\"".to_owned()),
                (17, "\"{{\" is not closed by \"}}\"".to_owned()),
            ]
        );
        let error = Template::parse("{{titel}}", Language::Html).unwrap_err().remove(0);
        assert_eq!(error.remedy, "did you mean {{title}}?");
    }

    #[test]
    fn what_a_client_may_have_sent_is_shown_as_text_only() {
        for (text, place) in [
            ("<script>let a = '{{detail}}'</script>", "<script>"),
            ("<STYLE>a { content: '{{detail}}' }", "<style>"),
            ("<a href=\"{{detail}}\">", "a tag"),
            ("<p onclick='a(\"{{detail}}\")'>", "a tag"),
        ] {
            assert_eq!(errors(text)[0].1, format!("{{{{detail}}}} inside {place} is not safe"));
        }
        for fine in ["<script>1</script>{{detail}}", "<p>{{detail}}</p>", "<a href=\"/help?id={{request_id}}\">"] {
            Template::parse(fine, Language::Html).unwrap();
        }
    }

    proptest! {
        #[test]
        fn no_value_opens_an_element_or_leaves_an_attribute(detail: String) {
            let shown = html("{{detail}}", &detail);
            prop_assert!(!shown.contains(['<', '>', '"', '\'']));
        }

        #[test]
        fn any_text_is_judged(text: String) {
            let _judged = Template::parse(&text, Language::Html).map(|template| template.render(&facts("d")));
        }
    }
}
