//! A call that was made up: to try expressions on at load, and for `flow test`.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue, Method};
use serde::Deserialize;

use super::expression::Stage;
use super::input::{AnswerInput, AppInput, Input};

/// A made-up call. Everything has a default, so a sample names only what matters.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Sample {
    /// The application.
    pub app: SampleApp,
    /// The user.
    pub user: String,
    /// Scopes of the credentials.
    pub scopes: Vec<String>,
    /// The client's address.
    pub client: IpAddr,
    /// The API's name.
    pub api: String,
    /// The API's importance.
    pub level: String,
    /// The method.
    pub method: String,
    /// The host.
    pub host: String,
    /// The canonical path.
    pub path: String,
    /// The query, without question mark.
    pub query: String,
    /// Header fields.
    pub headers: Vec<(String, String)>,
    /// When the call arrives, in Unix milliseconds.
    pub unix_ms: u64,
    /// The answer's status.
    pub status: u16,
    /// The answer's header fields.
    pub response_headers: Vec<(String, String)>,
}

/// The application of a made-up call.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SampleApp {
    /// Its key.
    pub key: String,
    /// Its name.
    pub name: String,
    /// Its owner.
    pub owner: String,
    /// Its plan.
    pub plan: String,
    /// Its class.
    pub class: String,
    /// How much of an answer it may see.
    pub field_level: u8,
}

impl Default for Sample {
    fn default() -> Self {
        Self {
            app: SampleApp::default(),
            user: String::new(),
            scopes: Vec::new(),
            client: IpAddr::V4(Ipv4Addr::LOCALHOST),
            api: String::new(),
            level: String::new(),
            method: "GET".to_owned(),
            host: "example.com".to_owned(),
            path: "/".to_owned(),
            query: String::new(),
            headers: Vec::new(),
            unix_ms: 0,
            status: 200,
            response_headers: Vec::new(),
        }
    }
}

/// A sample whose borrowed parts are there.
#[derive(Debug)]
pub struct Prepared {
    sample: Sample,
    method: Method,
    scopes: Vec<Arc<str>>,
    headers: HeaderMap,
    response_headers: HeaderMap,
}

/// A sample that is no call.
#[derive(Debug, thiserror::Error)]
pub enum SampleError {
    /// Not a method.
    #[error("{0:?} is not a method")]
    Method(String),
    /// Not a header.
    #[error("{0:?} is not a header")]
    Header(String),
}

impl Sample {
    /// A call with a little of everything.
    #[must_use]
    pub fn typical() -> Prepared {
        let text = |text: &str| text.to_owned();
        let app = SampleApp {
            key: text("app"),
            name: text("App"),
            owner: text("owner"),
            plan: text("free"),
            class: text("b"),
            field_level: 1,
        };
        let sample = Self {
            app,
            user: text("user"),
            scopes: vec![text("read")],
            api: text("orders.list"),
            path: text("/orders/1"),
            query: text("a=1"),
            headers: vec![(text("accept"), text("*/*"))],
            ..Self::default()
        };
        Prepared {
            method: Method::GET,
            scopes: vec!["read".into()],
            headers: HeaderMap::new(),
            response_headers: HeaderMap::new(),
            sample,
        }
    }

    /// Makes a call of it.
    ///
    /// # Errors
    /// When something in it is none of a call.
    pub fn prepare(self) -> Result<Prepared, SampleError> {
        let method =
            Method::from_bytes(self.method.as_bytes()).map_err(|_error| SampleError::Method(self.method.clone()))?;
        Ok(Prepared {
            method,
            scopes: self.scopes.iter().map(|scope| scope.as_str().into()).collect(),
            headers: header_map(&self.headers)?,
            response_headers: header_map(&self.response_headers)?,
            sample: self,
        })
    }
}

fn header_map(pairs: &[(String, String)]) -> Result<HeaderMap, SampleError> {
    let mut headers = HeaderMap::new();
    for (name, value) in pairs {
        let pair = HeaderName::try_from(name.as_str()).ok().zip(HeaderValue::from_bytes(value.as_bytes()).ok());
        let (parsed, value) = pair.ok_or_else(|| SampleError::Header(name.clone()))?;
        headers.append(parsed, value);
    }
    Ok(headers)
}

impl Prepared {
    /// The call as rules see it.
    #[must_use]
    pub fn input(&self, stage: Stage) -> Input<'_> {
        let sample = &self.sample;
        let answer = AnswerInput { status: sample.status, headers: &self.response_headers };
        Input {
            app: AppInput {
                key: &sample.app.key,
                name: &sample.app.name,
                owner: &sample.app.owner,
                plan: &sample.app.plan,
                class: &sample.app.class,
                field_level: sample.app.field_level,
            },
            user: &sample.user,
            scopes: &self.scopes,
            client: sample.client,
            api: &sample.api,
            level: &sample.level,
            method: &self.method,
            host: &sample.host,
            path: &sample.path,
            query: &sample.query,
            headers: &self.headers,
            unix_ms: sample.unix_ms,
            counters: None,
            answer: (stage == Stage::Response).then_some(answer),
        }
    }
}
