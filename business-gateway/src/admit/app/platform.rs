//! The open-platform style: all parameters of a call are sorted, joined and signed, and the signature is one more parameter.
//!
//! Parameters come in the query, and in the body where that is a form; a body of another kind is signed as it is, behind the
//! parameters. `app_key`, `timestamp` and `sign` have to be there, and but for batches `method`; `sign_method` is `hmac-sha256` (the default) or
//! `md5`, the latter only for apps whose record allows it. Parameters without a value are not signed, which is how these
//! platforms do it.
//!
//! The signature says nothing of the path and of the method of HTTP. So that it is good for one API only, `method` has to be the
//! name of the API that is called, and APIs whose path has parameters do not take this scheme: those would be unsigned.

use std::borrow::Cow;

use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use super::Malformed;

/// Parameters of a call, at most.
const MOST_PARAMETERS: usize = 1_000;

/// The parameter with the signature.
pub const SIGN: &str = "sign";
/// The parameter with the token of a user's session.
pub const SESSION: &str = "session";

/// How a call was signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// `hmac-sha256`: HMAC-SHA-256 with the secret.
    Hmac,
    /// `md5`: MD5 of secret, text and secret.
    Md5,
}

impl Method {
    fn parse(text: &str) -> Result<Self, Malformed> {
        match text {
            "hmac-sha256" => Ok(Self::Hmac),
            "md5" => Ok(Self::Md5),
            _ => Err(Malformed("sign_method is neither hmac-sha256 nor md5")),
        }
    }

    /// The bytes of a signature.
    const fn length(self) -> usize {
        match self {
            Self::Hmac => 32,
            Self::Md5 => 16,
        }
    }
}

/// The parameters of a call.
#[derive(Debug, Default)]
pub struct Parameters<'a>(Vec<(Cow<'a, str>, Cow<'a, str>)>);

/// What the parameters say of who calls.
#[derive(Debug, PartialEq, Eq)]
pub struct Call<'a> {
    /// Who calls.
    pub app_key: &'a str,
    /// The API that is meant; empty when that is not said.
    pub method: &'a str,
    /// When it was signed, in Unix seconds.
    pub timestamp_s: u64,
    /// How it was signed.
    pub sign_method: Method,
    /// The signature as written.
    pub sign: &'a str,
    /// The bytes of the signature.
    pub proof: Vec<u8>,
    /// The token of a user's session.
    pub session: Option<&'a str>,
}

/// Whether a query or a form is signed in this style: it names an app and has a signature.
#[must_use]
pub fn is_signed(text: &str) -> bool {
    let (mut has_key, mut has_sign) = (false, false);
    for pair in text.as_bytes().split(|byte| *byte == b'&') {
        has_key |= is_named(pair, "app_key");
        has_sign |= is_named(pair, SIGN);
    }
    has_key && has_sign
}

/// Whether a parameter has this name, which may be written in another way.
fn is_named(pair: &[u8], name: &str) -> bool {
    let is_written = || std::str::from_utf8(pair).is_ok_and(|pair| name_of(pair) == name);
    // Most names are told apart by their first letter, which may be encoded.
    match pair.first() {
        Some(b'%') => is_written(),
        first if first == name.as_bytes().first() => match pair.strip_prefix(name.as_bytes()) {
            Some([] | [b'=', ..]) => true,
            _ => pair.contains(&b'%') && is_written(),
        },
        _ => false,
    }
}

/// Whether a query or a form holds anything that nobody but the gate should see.
#[must_use]
pub fn has_credentials(text: &str) -> bool {
    text.split('&').any(|pair| matches!(&*name_of(pair), SIGN | SESSION))
}

/// The text without the pairs that nobody but the gate should see.
#[must_use]
pub fn without_credentials(text: &str) -> String {
    let mut left = String::with_capacity(text.len());
    for pair in text.split('&').filter(|pair| !matches!(&*name_of(pair), SIGN | SESSION)) {
        if !left.is_empty() {
            left.push('&');
        }
        left.push_str(pair);
    }
    left
}

impl<'a> Parameters<'a> {
    /// Adds those of a query or a form.
    ///
    /// # Errors
    /// When they are not URL-encoded UTF-8 text, or too many.
    pub fn add(&mut self, text: &'a str) -> Result<(), Malformed> {
        for pair in text.split('&').filter(|pair| !pair.is_empty()) {
            if self.0.len() >= MOST_PARAMETERS {
                return Err(Malformed("more than 1000 parameters"));
            }
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let decode = |text| decoded(text).ok_or(Malformed("a parameter is not URL-encoded text"));
            self.0.push((decode(name)?, decode(value)?));
        }
        Ok(())
    }

    /// Adds one as it is, which is what somebody does who signs.
    pub fn push(&mut self, name: &'a str, value: &'a str) {
        self.0.push((Cow::Borrowed(name), Cow::Borrowed(value)));
    }

    /// Brings them into the order in which they are signed.
    ///
    /// # Errors
    /// When one is there twice, since services differ in which of the two they take.
    pub fn sort(&mut self) -> Result<(), Malformed> {
        self.0.sort_unstable();
        let is_twice = |pair: &[(Cow<'_, str>, Cow<'_, str>)]| matches!(pair, [a, b] if a.0 == b.0);
        if self.0.windows(2).any(is_twice) { Err(Malformed("a parameter is there twice")) } else { Ok(()) }
    }

    /// What they say of who calls.
    ///
    /// # Errors
    /// When one is missing or not what it should be.
    pub fn call(&self, zone: &TimeZone) -> Result<Call<'_>, Malformed> {
        let get = |name: &str| {
            let found = self.0.iter().find(|(known, _)| known == name);
            found.map(|(_, value)| &**value).filter(|value| !value.is_empty())
        };
        let need = |name: &str| get(name).ok_or(Malformed("app_key, timestamp or sign is missing"));
        let sign_method = get("sign_method").map_or(Ok(Method::Hmac), Method::parse)?;
        let sign = need(SIGN)?;
        let proof = hex(sign).filter(|proof| proof.len() == sign_method.length());
        Ok(Call {
            app_key: need("app_key")?,
            method: get("method").unwrap_or_default(),
            timestamp_s: unix_seconds(need("timestamp")?, zone)
                .ok_or(Malformed("timestamp is not written as yyyy-MM-dd HH:mm:ss"))?,
            sign_method,
            sign,
            proof: proof
                .ok_or(Malformed("sign is not as many hexadecimal digits in upper case as its method makes"))?,
            session: get(SESSION),
        })
    }

    /// What is signed: names and values of all sorted parameters that have one, but `sign`, and then the body unless it was a
    /// form.
    #[must_use]
    pub fn text(&self, body: &[u8]) -> Vec<u8> {
        let length = self.0.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>() + body.len();
        let mut text = Vec::with_capacity(length);
        for (name, value) in self.0.iter().filter(|(name, value)| name != SIGN && !value.is_empty()) {
            text.extend_from_slice(name.as_bytes());
            text.extend_from_slice(value.as_bytes());
        }
        text.extend_from_slice(body);
        text
    }
}

/// A signature as it is written: hexadecimal digits in upper case.
#[must_use]
pub fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02X}")).collect()
}

/// Upper case only, so that a signature has one spelling.
fn hex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        _ => None,
    };
    let pairs = text.as_bytes().chunks(2);
    pairs.map(|pair| if let [high, low] = pair { Some(digit(*high)? << 4 | digit(*low)?) } else { None }).collect()
}

/// `yyyy-MM-dd HH:mm:ss` in `zone`.
fn unix_seconds(text: &str, zone: &TimeZone) -> Option<u64> {
    // Every digit in its place: the parser would also take shorter and signed numbers.
    let in_form = text.len() == 19
        && text.bytes().enumerate().all(|(index, byte)| match index {
            4 | 7 => byte == b'-',
            10 => byte == b' ',
            13 | 16 => byte == b':',
            _ => byte.is_ascii_digit(),
        });
    if !in_form {
        return None;
    }
    let time = DateTime::strptime("%Y-%m-%d %H:%M:%S", text).ok()?;
    u64::try_from(zone.to_timestamp(time).ok()?.as_second()).ok()
}

/// The name of a pair, decoded as the parameters are, so that nothing is one thing here and another there.
fn name_of(pair: &str) -> Cow<'_, str> {
    let name = pair.split_once('=').map_or(pair, |(name, _)| name);
    decoded(name).unwrap_or(Cow::Borrowed(name))
}

/// `application/x-www-form-urlencoded`: `%XX` is a byte, `+` a space. `None` for half a byte and for what is not UTF-8.
fn decoded(text: &str) -> Option<Cow<'_, str>> {
    if !text.bytes().any(|byte| matches!(byte, b'%' | b'+')) {
        return Some(Cow::Borrowed(text));
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        match byte {
            b'+' => bytes.push(b' '),
            b'%' => {
                let mut digit = || char::from(rest.next()?).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
                bytes.push(digit()? << 4 | digit()?);
            }
            byte => bytes.push(byte),
        }
    }
    String::from_utf8(bytes).ok().map(Cow::Owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::{prop_assert, prop_assert_eq, proptest};

    fn zone() -> TimeZone {
        TimeZone::get("Asia/Shanghai").unwrap()
    }

    fn parameters(text: &str) -> Parameters<'_> {
        let mut parameters = Parameters::default();
        parameters.add(text).unwrap();
        parameters.sort().unwrap();
        parameters
    }

    #[test]
    fn signs_every_parameter_with_a_value_in_order() {
        let all = parameters("v=2.0&b=%E4%BD%A0+1&sign=AB&a=&app_key=shop&B=x&flag");
        assert_eq!(all.text(b""), "Bxapp_keyshopb你 1v2.0".as_bytes());
        assert_eq!(all.text(b"{}"), "Bxapp_keyshopb你 1v2.0{}".as_bytes());
    }

    #[test]
    fn reads_who_calls() {
        let sign = "0A".repeat(32);
        let query =
            format!("app_key=shop&method=orders.list&timestamp=2026-11-22%2012:30:00&sign={sign}&session=tok&v=2.0");
        let all = parameters(&query);
        let call = all.call(&zone()).unwrap();
        assert_eq!((call.app_key, call.method, call.session), ("shop", "orders.list", Some("tok")));
        assert_eq!(call.timestamp_s, gatehouse_shared::clock::parse_rfc3339("2026-11-22T04:30:00Z").unwrap() / 1000);
        assert_eq!((call.sign_method, call.proof), (Method::Hmac, vec![10; 32]));
    }

    #[test]
    fn refuses_what_could_be_read_in_two_ways() {
        let refused = |query: &str| {
            let mut parameters = Parameters::default();
            let read = parameters.add(query).and_then(|()| parameters.sort());
            read.err().or_else(|| parameters.call(&zone()).err()).is_some()
        };
        let sign = "0A".repeat(32);
        let good = format!("app_key=shop&method=a&timestamp=2026-11-22 12:30:00&sign={sign}");
        assert!(!refused(&good));
        for bad in [
            format!("{good}&x=1&x=2"),
            format!("{good}&%78=1&x=2"),
            format!("{good}&x=%4"),
            format!("{good}&x=%ff"),
            format!("{good}&sign_method=md5"),
            format!("{good}&sign_method=none"),
            good.replace("0A", "0a"),
            good.replace("12:30", "12:3"),
            good.replace("2026-11-22 ", "+026-11-22 "),
            good.replace("11-22", "02-30"),
            good.replace("app_key=shop", "app_key="),
        ] {
            assert!(refused(&bad), "{bad}");
        }
    }

    #[test]
    fn takes_only_credentials_out_of_a_query() {
        assert_eq!(without_credentials("a=1&sign=X&app_key=k&%73ession=t&b=%20"), "a=1&app_key=k&b=%20");
        assert_eq!(without_credentials("sign=X"), "");
        assert!(is_signed("app_key=a&s%69gn=b") && !is_signed("app_key=a&design=b"));
    }

    proptest! {
        #[test]
        fn every_text_is_read_without_harm(text in "\\PC{0,200}") {
            let mut all = Parameters::default();
            if all.add(&text).is_ok() && all.sort().is_ok() {
                prop_assert!(all.text(b"").len() <= text.len());
                prop_assert!(all.call(&zone()).is_err() || is_signed(&text));
            }
        }

        #[test]
        fn hexadecimal_digits_have_one_spelling(bytes: Vec<u8>) {
            let text = to_hex(&bytes);
            if text.bytes().any(|byte| byte.is_ascii_uppercase()) {
                prop_assert_eq!(hex(&text.to_lowercase()), None);
            }
            prop_assert_eq!(hex(&text), Some(bytes));
        }
    }
}
