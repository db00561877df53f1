//! Whether an answer may be kept, and for how long: RFC 9111, RFC 5861, and what the API says. Pure: the time is a parameter.

use http::header::{self, HeaderMap, HeaderName};
use http::{Response, StatusCode};
use jiff::fmt::rfc2822;

use super::config::{CacheControl, LONGEST_LIFE_MS, Lives};

/// Statuses that are kept as an answer; those that are failures are kept where the API says so. 206 is a part of an answer.
const KEPT: [u16; 6] = [200, 203, 204, 300, 301, 308];
/// RFC 9111, section 1.2.2: what is larger counts as this.
const MOST_SECONDS: u64 = 1 << 31;

/// When an answer is what, in Unix milliseconds by the clock of the node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Times {
    /// When the service made it: the beginning of its age.
    pub born: u64,
    /// Fresh until then.
    pub fresh: u64,
    /// Given until then while one call asks anew.
    pub revalidate: u64,
    /// Given until then when the service fails.
    pub error: u64,
}

impl Times {
    /// When nobody has any use for it any more.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.fresh.max(self.revalidate).max(self.error)
    }

    /// Its age in seconds.
    #[must_use]
    pub fn age(&self, now: u64) -> u64 {
        now.saturating_sub(self.born) / 1_000
    }
}

/// Why an answer is not kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// Answers of its status are not.
    Status,
    /// It sets a cookie.
    SetCookie,
    /// `no-store`.
    NoStore,
    /// `private`, and it would be shared.
    Private,
    /// `Vary: *`.
    Vary,
    /// It is encoded, although that was not asked for.
    Encoded,
    /// It would never be given to anybody.
    NoLife,
    /// It has more tags than there may be, or one that is none.
    Tags,
}

impl Refused {
    /// As the log and `Cache-Status` say it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Status => "status",
            Self::SetCookie => "set-cookie",
            Self::NoStore => "no-store",
            Self::Private => "private",
            Self::Vary => "vary",
            Self::Encoded => "encoded",
            Self::NoLife => "no-life",
            Self::Tags => "tags",
        }
    }
}

/// What `Cache-Control` of an answer says, as far as a shared cache listens.
#[derive(Debug, Default, PartialEq, Eq)]
struct Said {
    no_store: bool,
    no_cache: bool,
    private: bool,
    must_revalidate: bool,
    /// Seconds.
    shared_age: Option<u64>,
    max_age: Option<u64>,
    stale_while_revalidate: Option<u64>,
    stale_if_error: Option<u64>,
}

impl Said {
    fn of(headers: &HeaderMap) -> Self {
        let mut said = Self::default();
        for value in headers.get_all(header::CACHE_CONTROL) {
            for directive in directives(value.as_bytes()) {
                said.add(directive);
            }
        }
        said
    }

    fn add(&mut self, directive: &[u8]) {
        let mut halves = directive.splitn(2, |byte| *byte == b'=');
        let name = halves.next().unwrap_or_default().trim_ascii();
        let value = halves.next();
        let is = |known: &str| name.eq_ignore_ascii_case(known.as_bytes());
        // Of several the shortest; one that makes no sense counts as none at all (RFC 9111, section 4.2.1).
        let shortest = |known: &mut Option<u64>| {
            let seconds = seconds(value.unwrap_or_default());
            *known = Some(known.map_or(seconds, |known| known.min(seconds)));
        };
        if is("no-store") {
            self.no_store = true;
        } else if is("no-cache") {
            self.no_cache = true;
        } else if is("private") {
            self.private = true;
        } else if is("must-revalidate") || is("proxy-revalidate") {
            self.must_revalidate = true;
        } else if is("s-maxage") {
            shortest(&mut self.shared_age);
        } else if is("max-age") {
            shortest(&mut self.max_age);
        } else if is("stale-while-revalidate") {
            shortest(&mut self.stale_while_revalidate);
        } else if is("stale-if-error") {
            shortest(&mut self.stale_if_error);
        }
    }
}

/// The directives of a list; a comma inside of quotes separates nothing.
fn directives(list: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut is_quoted = false;
    let mut is_escaped = false;
    list.split(move |byte| {
        let was_escaped = std::mem::take(&mut is_escaped);
        match byte {
            b'\\' if is_quoted && !was_escaped => is_escaped = true,
            b'"' if !was_escaped => is_quoted = !is_quoted,
            b',' => return !is_quoted,
            _ => {}
        }
        false
    })
    .map(<[u8]>::trim_ascii)
}

fn seconds(text: &[u8]) -> u64 {
    let text = text.trim_ascii();
    let text = text.strip_prefix(b"\"").and_then(|text| text.strip_suffix(b"\"")).unwrap_or(text);
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return 0;
    }
    let add = |sum: u64, digit: &u8| sum.saturating_mul(10).saturating_add(u64::from(digit - b'0'));
    text.iter().fold(0, add).min(MOST_SECONDS)
}

/// A date of HTTP in Unix milliseconds. The two forms that nobody writes any more are not read.
#[must_use]
pub fn date(headers: &HeaderMap, name: &HeaderName) -> Option<u64> {
    let text = headers.get(name)?.to_str().ok().filter(|text| text.len() <= 40)?;
    let time = rfc2822::parse(text).ok()?;
    u64::try_from(time.timestamp().as_millisecond()).ok()
}

/// How long an answer that came at `now` lives; `asked` is when it was asked for. Whether answers under its key differ is not
/// looked at here.
///
/// # Errors
/// Why it is not kept.
pub fn times<B>(answer: &Response<B>, lives: &Lives, asked: u64, now: u64) -> Result<Times, Refused> {
    let headers = answer.headers();
    let negative = lives.negative.iter().find(|(status, _)| *status == answer.status()).map(|(_, life)| *life);
    if negative.is_none() && !KEPT.contains(&answer.status().as_u16()) {
        return Err(Refused::Status);
    }
    if headers.contains_key(header::SET_COOKIE) {
        return Err(Refused::SetCookie);
    }
    let is_plain = |value: &http::HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"identity");
    if !headers.get_all(header::CONTENT_ENCODING).iter().all(is_plain) {
        return Err(Refused::Encoded);
    }
    let said = Said::of(headers);
    if said.no_store {
        return Err(Refused::NoStore);
    }
    if said.private && !lives.is_of_a_user {
        return Err(Refused::Private);
    }
    Ok(life(headers, &said, lives, negative, asked, now))
}

/// How long an answer lives that a 304 has confirmed; no longer than now, if it may not be kept any more. As [`times()`].
#[must_use]
pub fn times_again(headers: &HeaderMap, status: StatusCode, lives: &Lives, asked: u64, now: u64) -> Times {
    let negative = lives.negative.iter().find(|(known, _)| *known == status).map(|(_, life)| *life);
    let said = Said::of(headers);
    if said.no_store || (said.private && !lives.is_of_a_user) {
        return lasting(now, 0, 0, 0);
    }
    life(headers, &said, lives, negative, asked, now)
}

fn life(headers: &HeaderMap, said: &Said, lives: &Lives, negative: Option<u64>, asked: u64, now: u64) -> Times {
    let millis = |seconds: u64| seconds.saturating_mul(1_000).min(LONGEST_LIFE_MS);
    let own = negative.unwrap_or(lives.fresh);
    if lives.control == CacheControl::Override {
        return lasting(now, own, lives.revalidate, lives.error);
    }
    // Its age at least: what it says, and how long it was on its way (RFC 9111, section 4.2.3).
    let age = headers.get(header::AGE).map_or(0, |age| millis(seconds(age.as_bytes())));
    let age = age.saturating_add(now.saturating_sub(asked));
    let date = date(headers, &header::DATE).unwrap_or(now);
    let by_service = match (said.shared_age.filter(|_| !lives.is_of_a_user), said.max_age) {
        (Some(seconds), _) | (None, Some(seconds)) => Some(millis(seconds)),
        (None, None) if headers.contains_key(header::EXPIRES) => {
            // One that cannot be read is over (RFC 9111, section 5.3).
            let expires = self::date(headers, &header::EXPIRES).unwrap_or(0);
            Some(expires.saturating_sub(date).min(LONGEST_LIFE_MS))
        }
        (None, None) => None,
    };
    // Its date counts where its own times do; a clock that is wrong by a month says nothing about the age.
    let apparent = Some(now.saturating_sub(date)).filter(|age| by_service.is_some() && *age <= LONGEST_LIFE_MS);
    let from = now.saturating_sub(age.max(apparent.unwrap_or(0)));
    let is_bounded = lives.control == CacheControl::Cap || negative.is_some();
    let fresh = match by_service {
        _ if said.no_cache => 0,
        Some(said) if is_bounded => said.min(own),
        Some(said) => said,
        None => own,
    };
    let mut revalidate = said.stale_while_revalidate.map_or(lives.revalidate, millis);
    let mut error = said.stale_if_error.map_or(lives.error, millis);
    if lives.control == CacheControl::Cap {
        (revalidate, error) = (revalidate.min(lives.revalidate), error.min(lives.error));
    }
    if said.no_cache || said.must_revalidate || (said.shared_age.is_some() && !lives.is_of_a_user) {
        // s-maxage means proxy-revalidate too (RFC 9111, section 5.2.2.10), unless staleness is allowed by name.
        let is_named = |named: Option<u64>| named.is_some() && !said.no_cache && !said.must_revalidate;
        revalidate = if is_named(said.stale_while_revalidate) { revalidate } else { 0 };
        error = if is_named(said.stale_if_error) { error } else { 0 };
    }
    // A negative answer is not given when it is stale: the next call finds out whether it still holds.
    if negative.is_some() {
        (revalidate, error) = (0, 0);
    }
    lasting(from, fresh, revalidate, error)
}

fn lasting(born: u64, fresh: u64, revalidate: u64, error: u64) -> Times {
    let fresh = born.saturating_add(fresh);
    Times { born, fresh, revalidate: fresh.saturating_add(revalidate), error: fresh.saturating_add(error) }
}

#[cfg(test)]
mod tests;
