//! Which credentials a call carries. One kind, or none: a call with two is refused, because two parts of a system that look at
//! different ones disagree about who calls.
//!
//! A client certificate is not counted: it says who opened the connection, so it decides only where a call says nothing itself.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{AUTHORIZATION, HeaderMap, HeaderName};
use http::request::Parts;

use super::{Malformed, Refusal, platform};

/// The header with an API key.
pub const API_KEY: HeaderName = HeaderName::from_static("x-api-key");
/// The header with the token of a user's session.
pub const SESSION_TOKEN: HeaderName = HeaderName::from_static("x-session-token");
/// The longest credential in one header: a JWT with many claims takes some kilobytes.
const LONGEST: usize = 16 * 1024;

/// Where a head has credentials; looking for each of the header fields would cost more.
#[derive(Debug, Clone, Copy, Default)]
pub struct Fields {
    /// `Signature` or `Signature-Input`.
    pub signature: bool,
    /// [`API_KEY`].
    pub api_key: bool,
    /// `Authorization`.
    pub authorization: bool,
    /// [`SESSION_TOKEN`].
    pub session_token: bool,
    /// A query whose parameters are signed.
    pub signed_query: bool,
}

impl Fields {
    /// Those of a head.
    #[must_use]
    pub fn of(parts: &Parts) -> Self {
        let signed_query = parts.uri.query().is_some_and(platform::is_signed);
        let mut fields = Self { signed_query, ..Self::default() };
        for name in parts.headers.keys() {
            match name.as_str() {
                "signature" | "signature-input" => fields.signature = true,
                "x-api-key" => fields.api_key = true,
                "authorization" => fields.authorization = true,
                "x-session-token" => fields.session_token = true,
                _ => {}
            }
        }
        fields
    }
}

/// The credentials of a call.
#[derive(Debug, PartialEq, Eq)]
pub enum Presented {
    /// None that the head shows; a form may still hold some.
    Nothing,
    /// `Signature-Input` and `Signature`.
    Signature,
    /// `app_key` and `sign` in the query.
    Platform,
    /// An API key.
    ApiKey(Pair),
    /// A name and a password.
    Basic(Pair),
    /// A token of an issuer.
    Bearer(Box<str>),
}

/// An app key, and what proves that the caller may use it. Not shown in logs.
#[derive(PartialEq, Eq)]
pub struct Pair {
    /// Who calls.
    pub app_key: Box<str>,
    /// The proof.
    pub secret: Box<str>,
}

impl std::fmt::Debug for Pair {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Pair").field("app_key", &self.app_key).finish_non_exhaustive()
    }
}

/// The credentials that the head of a call shows, which has these fields.
///
/// # Errors
/// When there are several, or they cannot be read.
pub fn find(parts: &Parts, fields: Fields) -> Result<Presented, Refusal> {
    let headers = &parts.headers;
    let mut found = Presented::Nothing;
    let mut add = |presented: Presented| match std::mem::replace(&mut found, presented) {
        Presented::Nothing => Ok(()),
        _ => Err(Refusal::Ambiguous),
    };
    if fields.signature {
        add(Presented::Signature)?;
    }
    if fields.signed_query {
        add(Presented::Platform)?;
    }
    if fields.api_key
        && let Some(key) = single(headers, &API_KEY)?
    {
        add(Presented::ApiKey(api_key(key)?))?;
    }
    if fields.authorization
        && let Some(value) = single(headers, &AUTHORIZATION)?
    {
        add(authorization(value)?)?;
    }
    Ok(found)
}

/// The token of a user's session, from its header.
///
/// # Errors
/// When there are several.
pub fn session_token(headers: &HeaderMap) -> Result<Option<&str>, Refusal> {
    single(headers, &SESSION_TOKEN)
}

/// The value of a header that may be there once.
fn single<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Result<Option<&'h str>, Refusal> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(Refusal::Ambiguous);
    }
    if value.len() > LONGEST {
        return Err(Malformed("credentials are longer than 16 KiB").into());
    }
    value.to_str().map(Some).map_err(|_error| Malformed("credentials are not ASCII text").into())
}

fn authorization(value: &str) -> Result<Presented, Malformed> {
    let (scheme, rest) = value.split_once(' ').ok_or(Malformed("Authorization is a scheme alone"))?;
    let rest = rest.trim_matches(' ');
    if scheme.eq_ignore_ascii_case("basic") {
        basic(rest).map(Presented::Basic)
    } else if scheme.eq_ignore_ascii_case("apikey") {
        api_key(rest).map(Presented::ApiKey)
    } else if scheme.eq_ignore_ascii_case("bearer") {
        Ok(Presented::Bearer(rest.into()))
    } else {
        Err(Malformed("Authorization is of a scheme that is not known here"))
    }
}

/// `APPKEY.SECRET`; the secret has no dot.
fn api_key(text: &str) -> Result<Pair, Malformed> {
    match text.rsplit_once('.') {
        Some((app_key, secret)) if !app_key.is_empty() && !secret.is_empty() => {
            Ok(Pair { app_key: app_key.into(), secret: secret.into() })
        }
        _ => Err(Malformed("an API key has the form APPKEY.SECRET")),
    }
}

/// RFC 7617: base64 of `APPKEY:SECRET`.
fn basic(text: &str) -> Result<Pair, Malformed> {
    const FORM: Malformed = Malformed("Basic credentials are base64 of APPKEY:SECRET");
    let bytes = STANDARD.decode(text).map_err(|_error| FORM)?;
    match std::str::from_utf8(&bytes).ok().and_then(|text| text.split_once(':')) {
        Some((app_key, secret)) if !app_key.is_empty() && !secret.is_empty() => {
            Ok(Pair { app_key: app_key.into(), secret: secret.into() })
        }
        _ => Err(FORM),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Request;

    fn shown(uri: &str, headers: &[(&str, &str)]) -> Result<Presented, Refusal> {
        let parts = parts(uri, headers);
        find(&parts, Fields::of(&parts))
    }

    fn parts(uri: &str, headers: &[(&str, &str)]) -> Parts {
        let mut request = Request::builder().uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    fn pair(app_key: &str, secret: &str) -> Pair {
        Pair { app_key: app_key.into(), secret: secret.into() }
    }

    #[test]
    fn finds_each_kind() {
        type Headers<'a> = &'a [(&'a str, &'a str)];
        let cases: [(&str, Headers<'_>, Presented); 8] = [
            ("/a?sign=1", &[], Presented::Nothing),
            ("/a?sign=1&app_key=x", &[], Presented::Platform),
            ("/a", &[("signature-input", "x")], Presented::Signature),
            ("/a", &[("x-api-key", "my.shop.s3cret")], Presented::ApiKey(pair("my.shop", "s3cret"))),
            ("/a", &[("authorization", "ApiKey shop.s3cret")], Presented::ApiKey(pair("shop", "s3cret"))),
            ("/a", &[("authorization", "basic c2hvcDphOmI=")], Presented::Basic(pair("shop", "a:b"))),
            ("/a", &[("authorization", "Bearer a.b.c")], Presented::Bearer("a.b.c".into())),
            ("/a", &[("x-session-token", "t")], Presented::Nothing),
        ];
        for (uri, headers, expected) in cases {
            assert_eq!(shown(uri, headers).unwrap(), expected, "{uri} {headers:?}");
        }
    }

    #[test]
    fn refuses_more_than_one_and_what_it_cannot_read() {
        let two: [(&str, &[(&str, &str)]); 4] = [
            ("/a?sign=1&app_key=x", &[("x-api-key", "a.b")]),
            ("/a", &[("signature", "x"), ("authorization", "Bearer x")]),
            ("/a", &[("x-api-key", "a.b"), ("x-api-key", "a.b")]),
            ("/a", &[("x-api-key", "a.b"), ("authorization", "ApiKey a.b")]),
        ];
        for (uri, headers) in two {
            assert!(matches!(shown(uri, headers), Err(Refusal::Ambiguous)), "{uri} {headers:?}");
        }
        for (name, value) in [
            ("x-api-key", "abc"),
            ("x-api-key", ".abc"),
            ("x-api-key", "abc."),
            ("authorization", "Basic %%%"),
            ("authorization", "Basic c2hvcA=="),
            ("authorization", "Digest username=x"),
            ("authorization", "Bearer"),
        ] {
            assert!(matches!(shown("/", &[(name, value)]), Err(Refusal::Malformed(_))), "{value}");
        }
    }

    #[test]
    fn a_secret_is_not_shown() {
        assert!(!format!("{:?}", pair("shop", "s3cret")).contains("s3cret"));
    }
}
