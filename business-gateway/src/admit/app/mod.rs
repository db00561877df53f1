//! Who calls: the credentials of a call, proven.
//!
//! - [`mod@authenticate`]: the step itself
//! - [`presented`]: which credentials a call carries; one kind or none
//! - [`signature`]: HTTP Message Signatures, the main scheme, with [`digest`] for the body
//! - [`platform`]: the open-platform style, signed parameters
//! - [`jwt`]: tokens of issuers
//! - [`proof`]: the comparisons, which do the same whoever calls
//! - [`replay`]: calls that were made before
//! - [`of_api`]: what an API says of credentials
//! - [`of_item`]: who calls by an item of a batch
//!
//! API keys, Basic credentials and client certificates need no file of their own: each is a look-up and one comparison. There is room for two more schemes: signed headers in the `x-ca` style would be one more kind in
//! [`presented`] and a file beside [`platform`]; introspection of opaque tokens (RFC 7662) one beside [`jwt`], behind the same
//! `Authorization: Bearer`.
//!
//! Nobody is told which app keys exist: a call with one that does not is compared with secrets that nobody knows, and gets the
//! same answer as one with a wrong secret. Whether an app is switched off is told only to who has proven to be it. Where it
//! cannot be known who calls, because the store is away, the answer is 503 and never 401.

pub mod authenticate;
pub mod digest;
pub mod jwt;
pub mod metrics;
pub mod of_api;
mod of_item;
pub mod platform;
pub mod presented;
pub mod proof;
pub mod replay;
pub mod signature;

use gatehouse_shared::config::{ByteSize, ConfigErrors, HumanDuration, Positions};
use jiff::tz::TimeZone;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::accept::body::UploadError;
pub use authenticate::{Call, Gate, Identity, authenticate};
pub use of_item::{NotForItems, of_item};

/// Credentials that cannot be read, with what is wrong with them, for the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Malformed(pub &'static str);

/// Why a call does not pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// There are none, and the API needs some.
    #[error("no credentials")]
    Missing,
    /// There are several kinds.
    #[error("more than one kind of credentials")]
    Ambiguous,
    /// They cannot be read.
    #[error("the credentials cannot be read")]
    Malformed(#[source] Malformed),
    /// They prove nothing.
    #[error("{0}")]
    Refused(&'static str),
    /// They are too old, or from the future.
    #[error("the credentials do not count now")]
    Expired,
    /// The same call was made before.
    #[error("the call was made before")]
    Replayed,
    /// The body is not the one that was signed.
    #[error("the body does not have the signed digest")]
    Digest,
    /// A body that is signed is held whole, and this one is too large for that.
    #[error("the signed body is larger than allowed")]
    BodyTooLarge,
    /// The node holds as much of bodies as it may.
    #[error("no room for another body that is held")]
    NoRoom,
    /// The app is switched off, or its time is over.
    #[error("the app is switched off or its time is over")]
    AppDisabled,
    /// The API is for users, and the call says nothing of one.
    #[error("no user")]
    UserMissing,
    /// The user's session is over, or never was.
    #[error("the session of the user is over or not known")]
    UserExpired,
    /// The body failed while it was held.
    #[error("the body failed")]
    Upload(#[source] UploadError),
    /// The deadline came while something was waited for.
    #[error("the deadline is over")]
    Deadline,
    /// It cannot be known now who calls.
    #[error("{0}")]
    Unavailable(&'static str),
    /// It cannot be known now whether the call was made before.
    #[error("{0}")]
    ReplayUnavailable(&'static str),
}

impl From<Malformed> for Refusal {
    fn from(malformed: Malformed) -> Self {
        Self::Malformed(malformed)
    }
}

/// `[credentials]`: what counts for the credentials of every call.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// How far the `created` of a signature (RFC 9421) may be from now. Default: `"5m"`.
    pub clock_window: HumanDuration,
    /// The same of the `timestamp` in the open-platform style. Default: `"10m"`.
    pub platform_window: HumanDuration,
    /// The time zone of that `timestamp`, by its IANA name. Default: `"Asia/Shanghai"`, which is what clients of these platforms
    /// write.
    pub platform_zone: String,
    /// Nonces that a node remembers for APIs with `replay = "node"`, about 60 bytes each; signed calls a second times twice the
    /// window. When there are that many, further signed calls get a 503. Default: 1000000.
    pub nonces_max: usize,
    /// Bodies that a node holds whole at a time, all together, because a signature or a form has to be checked; beyond it calls
    /// with such a body get a 503. Default: `"256MiB"`.
    pub held_max: ByteSize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            clock_window: HumanDuration::from_secs(300),
            platform_window: HumanDuration::from_secs(600),
            platform_zone: "Asia/Shanghai".to_owned(),
            nonces_max: 1_000_000,
            held_max: ByteSize::mib(256),
        }
    }
}

/// `[credentials]` as compiled.
#[derive(Debug, Clone)]
pub struct Rules {
    /// How far a signature may be from now, in seconds.
    pub clock_window_s: u64,
    /// The same in the open-platform style.
    pub platform_window_s: u64,
    /// Its time zone.
    pub platform_zone: TimeZone,
    /// Nonces that this node remembers.
    pub nonces_max: usize,
    /// Bytes of bodies that are held at a time.
    pub held_max: u64,
}

impl Rules {
    /// Checks the table.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn compile(config: &Config, positions: &Positions) -> Result<Self, ConfigErrors> {
        let mut errors = ConfigErrors::new();
        let mut refuse = |key: &str, message: String, remedy: &str| {
            errors.push(positions.error(&format!("credentials.{key}"), message, Some(remedy.to_owned())));
        };
        for (key, window) in [("clock_window", config.clock_window), ("platform_window", config.platform_window)] {
            let seconds = window.get().as_secs();
            if !(1..=3_600).contains(&seconds) {
                refuse(
                    key,
                    "no signature would count, or one could be used again for hours".to_owned(),
                    "write 1s to 1h",
                );
            }
        }
        if config.held_max.get() == 0 {
            refuse("held_max", "no room, so no signed body".to_owned(), "write at least the largest signed_body_max");
        }
        if config.nonces_max == 0 {
            refuse("nonces_max", "no nonce, so no signed call".to_owned(), "write at least 1");
        }
        let zone = TimeZone::get(&config.platform_zone);
        if let Err(error) = &zone {
            refuse("platform_zone", error.to_string(), "write a name such as \"Asia/Shanghai\" or \"UTC\"");
        }
        errors.into_result(Self {
            clock_window_s: config.clock_window.get().as_secs(),
            platform_window_s: config.platform_window.get().as_secs(),
            platform_zone: zone.unwrap_or(TimeZone::UTC),
            nonces_max: config.nonces_max,
            held_max: config.held_max.get(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_and_zones_that_cannot_work_are_named() {
        let positions = Positions::default();
        let rules = Rules::compile(&Config::default(), &positions).unwrap();
        assert_eq!((rules.clock_window_s, rules.platform_window_s), (300, 600));
        let wrong = Config {
            clock_window: HumanDuration::from_secs(0),
            platform_window: HumanDuration::from_secs(7_200),
            platform_zone: "Asia/Nowhere".to_owned(),
            nonces_max: 0,
            held_max: ByteSize::kib(0),
        };
        let errors = Rules::compile(&wrong, &positions).unwrap_err();
        assert_eq!(errors.len(), 5, "{errors}");
        assert!(errors.to_string().contains("Nowhere"), "{errors}");
    }
}
