//! Answers that stand in the catalog: as they are, or as templates.

use bytes::Bytes;
use gatehouse_shared::config::{ByteSize, ConfigErrors};
use gatehouse_shared::hop::{Auth, HopResult, Origin, Retry};
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Response, StatusCode};
use schemars::JsonSchema;
use serde::Deserialize;
use std::collections::BTreeMap;

use super::body::Outgoing;
use super::failure::Failure;
use super::shape::{RESULT, result};
use super::template::{Escape, FUEL, Inputs, Template, TemplateBounds};
use crate::store::catalog::At;

/// `answer` of an API: what it answers with, without any service.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The status. Default: 200.
    #[serde(default = "default_status")]
    pub status: u16,
    /// The media type of the body; values in a template are escaped for it. Default: `"application/json"`.
    #[serde(default = "default_content_type")]
    pub content_type: String,
    /// Further header fields. Default: none. Example: `{ cache-control = "max-age=60" }`.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// The body, as it is. Default: none.
    pub body: Option<String>,
    /// The body, as a template. Default: none. Example: `'{"id": {{ path.id }}}'`.
    pub template: Option<String>,
    /// Steps that the template may take. Default: 10000.
    #[serde(default = "default_fuel")]
    pub fuel: u64,
    /// Bytes that the template may write. Default: `"256KiB"`.
    #[serde(default = "default_output_max")]
    pub output_max: ByteSize,
}

pub(super) fn default_status() -> u16 {
    200
}

pub(super) fn default_content_type() -> String {
    "application/json".to_owned()
}

pub(super) fn default_fuel() -> u64 {
    FUEL
}

pub(super) fn default_output_max() -> ByteSize {
    ByteSize::kib(256)
}

/// Such an answer, as compiled.
#[derive(Debug)]
pub struct Fixed {
    status: StatusCode,
    headers: HeaderMap,
    body: Text,
}

#[derive(Debug)]
enum Text {
    Whole(Bytes),
    Template(Box<Template>),
}

/// Header fields that belong to the gate.
const NOT_TO_BE_SET: [HeaderName; 5] = [
    header::CONTENT_TYPE,
    header::CONTENT_LENGTH,
    header::TRANSFER_ENCODING,
    header::CONNECTION,
    header::CONTENT_ENCODING,
];

impl Fixed {
    /// Compiles what stands at `key` of the entry.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn compile(written: &Config, key: &str, at: &At<'_>) -> Result<Self, ConfigErrors> {
        let mut errors = ConfigErrors::new();
        let place = |name: &str| format!("{key}.{name}");
        let status = StatusCode::from_u16(written.status).ok().filter(|status| status.as_u16() >= 200);
        if status.is_none() || written.status > 599 {
            let message = format!("{} is not the status of an answer", written.status);
            errors.push(at.error(&place("status"), message, "write 200 to 599"));
        }
        let mut headers = HeaderMap::new();
        for (name, value) in &written.headers {
            let parsed = HeaderName::from_bytes(name.as_bytes()).ok().zip(HeaderValue::from_str(value).ok());
            match parsed {
                Some((name, value))
                    if !NOT_TO_BE_SET.contains(&name) && !gatehouse_shared::hop::is_internal(name.as_str()) =>
                {
                    headers.insert(name, value);
                }
                _ => {
                    let message = format!("{name:?} with the value {value:?} cannot be set");
                    errors.push(at.error(&place("headers"), message, "correct it, or see content_type"));
                }
            }
        }
        let body = match (&written.body, &written.template) {
            (Some(_), Some(_)) => {
                errors.push(at.error(&place("template"), "a body and a template", "leave one of the two out"));
                None
            }
            (_, Some(source)) => {
                let bounds = TemplateBounds { fuel: written.fuel, output: written.output_max.as_usize() };
                match Template::compile(source, Escape::of(&written.content_type), bounds) {
                    Ok(template) => Some(Text::Template(Box::new(template))),
                    Err(message) => {
                        let message = format!("the template is wrong: {message}");
                        errors.push(at.error(&place("template"), message, "correct it"));
                        None
                    }
                }
            }
            (body, None) => {
                let body = body.clone().unwrap_or_default();
                let is_json =
                    Escape::of(&written.content_type) == Escape::Json && written.content_type.contains("json");
                if is_json && !body.is_empty() && serde_json::from_str::<serde::de::IgnoredAny>(&body).is_err() {
                    let remedy = "correct it, or name another content_type";
                    errors.push(at.error(&place("body"), "the body is not JSON, and its media type is", remedy));
                }
                Some(Text::Whole(body.into()))
            }
        };
        match HeaderValue::from_str(&written.content_type) {
            Ok(value) if !matches!(&body, Some(Text::Whole(body)) if body.is_empty()) => {
                headers.insert(header::CONTENT_TYPE, value);
            }
            Ok(_) => {}
            Err(_) => errors.push(at.error(&place("content_type"), "not a media type", "write \"application/json\"")),
        }
        match (status, body) {
            (Some(status), Some(body)) => errors.into_result(Self { status, headers, body }),
            _ => Err(errors),
        }
    }

    /// The inputs it uses.
    #[must_use]
    pub fn wants(&self) -> &[&'static str] {
        match &self.body {
            Text::Whole(_) => &[],
            Text::Template(template) => template.wants(),
        }
    }

    /// The answer to a call of `auth`.
    ///
    /// # Errors
    /// When the template fails.
    pub fn answer(&self, inputs: &Inputs, auth: Auth) -> Result<Response<Outgoing>, Failure> {
        let body = match &self.body {
            Text::Whole(body) => body.clone(),
            Text::Template(template) => template.render(inputs)?,
        };
        let mut answer = Response::new(Outgoing::own(body));
        *answer.status_mut() = self.status;
        *answer.headers_mut() = self.headers.clone();
        let said = HopResult { origin: Origin::Gateway, auth, cost: 1, retry: Retry::Never, node: false };
        answer.headers_mut().insert(RESULT, result(&said));
        Ok(answer)
    }
}

#[cfg(test)]
mod tests {
    use gatehouse_shared::config::{SourceFile, parse};

    use super::*;
    use crate::store::catalog::CatalogConfig;

    fn compile(text: &str) -> Result<Fixed, String> {
        let text = format!("[[api]]\nname = \"a\"\npath = \"/\"\nanswer = {{ {text} }}\n");
        let file = SourceFile { path: "catalog.toml".into(), text };
        let document = parse::<CatalogConfig>(&file).map_err(|errors| errors.to_string())?;
        let at = At { positions: &document.positions, path: "api[0]".to_owned() };
        Fixed::compile(document.value.api[0].answer.as_ref().unwrap(), "answer", &at)
            .map_err(|errors| errors.to_string())
    }

    #[test]
    fn mistakes_are_named() {
        for (text, expected) in [
            ("status = 100", "4:21: 100 is not the status of an answer"),
            ("status = 999", "999 is not the status"),
            ("body = \"{\"", "the body is not JSON"),
            ("body = \"1\", template = \"1\"", "a body and a template"),
            ("template = \"{{ x }}\"", "the template is wrong: no input \"x\""),
            ("headers = { content-length = \"1\" }", "\"content-length\" with the value \"1\" cannot be set"),
            ("headers = { x-gatehouse-result = \"1\" }", "cannot be set"),
            ("headers = { a = \"b\\nc\" }", "cannot be set"),
            ("content_type = \"a\\nb\", body = \"1\"", "not a media type"),
        ] {
            let error = compile(text).map(|_| ()).unwrap_err();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }

    #[test]
    fn what_stands_there_is_answered() {
        let fixed =
            compile("status = 418, content_type = \"text/plain\", headers = { a = \"b\" }, body = \"tea\"").unwrap();
        assert!(fixed.wants().is_empty());
        let answer = fixed.answer(&Inputs::none(), Auth::App).unwrap();
        assert_eq!(answer.status().as_u16(), 418);
        assert_eq!(answer.headers()["content-type"], "text/plain");
        assert_eq!(answer.headers()["a"], "b");
        let answer = compile("status = 204").unwrap().answer(&Inputs::none(), Auth::App).unwrap();
        assert!(!answer.headers().contains_key("content-type"));
    }
}
