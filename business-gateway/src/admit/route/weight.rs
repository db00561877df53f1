//! A share of calls, always the same ones: whoever makes a call is hashed to a point between 0 and 100 %, and a share is a part of
//! that line. The hash is SipHash-1-3 under a key that never changes, so the point is the same on every node and after every
//! restart, and a share that grows keeps what it had.

use std::borrow::Cow;
use std::fmt;

use gatehouse_shared::cidr::around;
use gatehouse_shared::config::ConfigErrors;
use gatehouse_shared::limit::KeyHasher;
use schemars::JsonSchema;
use serde::Deserialize;

use super::question::{Question, Single, Source};
use super::text::Carrier;
use crate::admit::path::{PathTemplate, Segment};
use crate::store::catalog::At;

/// Points on the line: a ten-thousandth of a percent each.
const WHOLE: u32 = 1_000_000;
/// An IPv6 client is its network of 64 bits: hosts change the rest of their address daily (RFC 8981).
const IP6_PREFIX: u8 = 64;

/// `when.weight`: a share of calls, always the same ones.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The share in percent, above 0 and at most 100; four decimals count.
    pub percent: f64,
    /// Where on the line from 0 to 100 the share begins, so that the shares of several APIs need not meet. Default: 0.
    #[serde(default)]
    pub from: f64,
    /// What is hashed: `"client"`, its address (of IPv6 the first 64 bits), or `"header:NAME"`, `"cookie:NAME"` or
    /// `"query:NAME"`. A call that does not carry it, or several times, has no part in any share. Default: `"client"`.
    #[serde(default = "client")]
    pub by: String,
    /// What else goes into the hash: shares with the same seed choose the same calls. Default: the path, so that all APIs at
    /// one place share one line.
    pub seed: Option<String>,
}

fn client() -> String {
    "client".to_owned()
}

/// What is hashed.
#[derive(Debug, Clone, PartialEq, Eq)]
enum By {
    Client,
    Value(Source),
}

/// A share as compiled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Weight {
    by: By,
    /// The first point.
    from: u32,
    /// The first point beyond.
    to: u32,
    seed: Box<str>,
}

impl Weight {
    /// Compiles `when.weight` of an API at `path`.
    ///
    /// # Errors
    /// A share that is none, or of something that cannot be hashed.
    pub fn compile(written: &Config, path: &PathTemplate, at: &At<'_>) -> Result<Self, ConfigErrors> {
        let mut errors = ConfigErrors::new();
        let (from, percent) = (points(written.from), points(written.percent));
        if percent.is_none_or(|percent| percent == 0) {
            let remedy = "write a number above 0 and at most 100";
            errors.push(at.error("when.weight.percent", format!("{} % is not a share", written.percent), remedy));
        } else if from.zip(percent).is_none_or(|(from, percent)| from + percent > WHOLE) {
            let message = format!("a share of {} % cannot begin at {} %", written.percent, written.from);
            errors.push(at.error("when.weight.from", message, "keep from + percent within 0 to 100"));
        }
        let by = errors.collect(By::compile(&written.by, at));
        let seed = match &written.seed {
            Some(seed) => seed.as_str().into(),
            None => shape(path),
        };
        let (Some(by), Some(from), Some(percent)) = (by, from, percent) else { return Err(errors) };
        errors.into_result(Self { by, from, to: from + percent, seed })
    }

    /// Whether a call is in the share.
    #[must_use]
    pub fn contains(&self, question: &Question<'_>) -> bool {
        self.point(question).is_some_and(|point| (self.from..self.to).contains(&point))
    }

    /// Whether no call is in both shares.
    #[must_use]
    pub fn excludes(&self, other: &Self) -> bool {
        self.by == other.by && self.seed == other.seed && self.from.max(other.from) >= self.to.min(other.to)
    }

    /// Where on the line a call is, in ten-thousandths of a percent.
    fn point(&self, question: &Question<'_>) -> Option<u32> {
        let value: Cow<'_, [u8]> = match &self.by {
            By::Client => {
                let network = around(question.client, 32, IP6_PREFIX).as_ipnet();
                match network.network() {
                    std::net::IpAddr::V4(address) => Cow::Owned(address.octets().to_vec()),
                    std::net::IpAddr::V6(address) => Cow::Owned(address.octets().to_vec()),
                }
            }
            By::Value(source) => match source.single(question) {
                Single::Value(value) => value,
                Single::Missing | Single::Several => return None,
            },
        };
        let key = KeyHasher::of_fleet([0; 16]).key().bytes(self.seed.as_bytes()).bytes(&value).finish();
        let hash = u128::from_le_bytes(key.to_bytes()) & u128::from(u64::MAX);
        u32::try_from((hash * u128::from(WHOLE)) >> 64).ok()
    }

    /// Where on the line a call is, for people.
    #[must_use]
    pub fn seen(&self, question: &Question<'_>) -> String {
        self.point(question).map_or_else(|| "nothing to hash".to_owned(), |point| format!("at {} %", percent(point)))
    }
}

impl fmt::Display for Weight {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "weight {} to {} % by ", percent(self.from), percent(self.to))?;
        match &self.by {
            By::Client => out.write_str("client"),
            By::Value(source) => write!(out, "{source}"),
        }
    }
}

impl By {
    fn compile(text: &str, at: &At<'_>) -> Result<Self, ConfigErrors> {
        let key = "when.weight.by";
        let carrier = |carrier: Carrier, name| carrier.source(name, at, key).map(Self::Value);
        match text.split_once(':') {
            None if text == "client" => Ok(Self::Client),
            Some(("header", name)) => carrier(Carrier::Headers, name),
            Some(("cookie", name)) => carrier(Carrier::Cookies, name),
            Some(("query", name)) => carrier(Carrier::Query, name),
            _ => {
                let mut errors = ConfigErrors::new();
                let remedy = "write \"client\", \"header:NAME\", \"cookie:NAME\" or \"query:NAME\"";
                errors.push(at.error(key, format!("{text:?} cannot be hashed"), remedy));
                Err(errors)
            }
        }
    }
}

/// The path without the names of its parameters, which tell no two places apart.
fn shape(path: &PathTemplate) -> Box<str> {
    let segments = path.segments().iter().map(|segment| match segment {
        Segment::Literal(text) => text,
        Segment::Parameter(_) => "{}",
        Segment::Rest(_) => "{*}",
    });
    segments.fold(String::new(), |shape, segment| shape + "/" + segment).into()
}

/// A percentage as points on the line.
fn points(percent: f64) -> Option<u32> {
    // There is no cast from a fraction that could not go wrong; printing has one meaning.
    let points = format!("{:.0}", percent * 10_000.0).parse::<u32>();
    points.ok().filter(|points| *points <= WHOLE)
}

fn percent(points: u32) -> f64 {
    f64::from(points) / 10_000.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use gatehouse_shared::config::Positions;
    use http::{HeaderMap, Method};

    fn compile(text: &str) -> Result<Weight, String> {
        let positions = Positions::default();
        let at = At { positions: &positions, path: "api[0]".to_owned() };
        let path = PathTemplate::parse("/orders/{id}").unwrap();
        Weight::compile(&toml::from_str(text).unwrap(), &path, &at).map_err(|errors| errors.to_string())
    }

    fn contains(weight: &Weight, query: &str) -> bool {
        weight.contains(&question(query, [192, 0, 2, 1].into(), &HeaderMap::new()))
    }

    fn question<'a>(query: &'a str, client: std::net::IpAddr, headers: &'a HeaderMap) -> Question<'a> {
        Question { authority: "h", path: "/", method: &Method::GET, query, headers, client, unix_ms: 0, body: None }
    }

    #[test]
    fn a_share_is_as_large_as_it_says_and_growing_keeps_what_it_had() {
        let [five, ten] = [5, 10].map(|percent| compile(&format!("percent = {percent}\nby = \"query:u\"")).unwrap());
        let (mut in_five, mut in_ten) = (0, 0);
        for user in 0..100_000 {
            let query = format!("u={user}");
            let (in_first, in_second) = (contains(&five, &query), contains(&ten, &query));
            assert!(!in_first || in_second, "{user} left the share when it grew");
            in_five += usize::from(in_first);
            in_ten += usize::from(in_second);
        }
        assert!((4_700..=5_300).contains(&in_five) && (9_700..=10_300).contains(&in_ten), "{in_five} {in_ten}");
    }

    #[test]
    fn the_point_of_a_caller_never_changes() {
        // Golden: another number here moves every sticky client of every installation.
        let weight = compile("percent = 50\nby = \"query:u\"").unwrap();
        let headers = HeaderMap::new();
        let point = |user: &str| weight.point(&question(user, [192, 0, 2, 1].into(), &headers));
        assert_eq!((point("u=1"), point("u=2"), point("v=2"), point("u=1&u=1")), GOLDEN);
    }

    const GOLDEN: (Option<u32>, Option<u32>, Option<u32>, Option<u32>) = (Some(801_470), Some(706_116), None, None);

    #[test]
    fn shares_side_by_side_are_the_whole() {
        let shares = [(0, 10), (10, 30), (40, 60)]
            .map(|(from, percent)| compile(&format!("percent = {percent}\nfrom = {from}\nby = \"query:u\"")).unwrap());
        assert!(shares[0].excludes(&shares[1]) && shares[1].excludes(&shares[2]) && !shares[0].excludes(&shares[0]));
        for user in 0..1_000 {
            let query = format!("u={user}");
            assert_eq!(shares.iter().filter(|share| contains(share, &query)).count(), 1);
        }
        let other = compile("percent = 10\nfrom = 10\nby = \"query:u\"\nseed = \"x\"").unwrap();
        assert!(!shares[0].excludes(&other), "another seed, another line");
    }

    #[test]
    fn a_client_is_its_address_and_of_ip6_its_network() {
        let weight = compile("percent = 50").unwrap();
        let headers = HeaderMap::new();
        let point = |client: &str| weight.point(&question("", client.parse().unwrap(), &headers));
        assert_eq!(point("2001:db8::1"), point("2001:db8::ffff:1"));
        assert_eq!(point("192.0.2.1"), point("::ffff:192.0.2.1"));
        assert_ne!(point("192.0.2.1"), point("192.0.2.2"));
    }

    #[test]
    fn shares_that_are_none_are_refused() {
        for (text, expected) in [
            ("percent = 0", "0 % is not a share"),
            ("percent = 100.1", "is not a share"),
            ("percent = -1", "is not a share"),
            ("percent = nan", "is not a share"),
            ("percent = 60\nfrom = 50", "cannot begin at 50 %"),
            ("percent = 1\nby = \"app\"", "\"app\" cannot be hashed"),
            ("percent = 1\nby = \"header:a b\"", "\"a b\" is not the name of a header field"),
        ] {
            let error = compile(text).unwrap_err();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }
}
