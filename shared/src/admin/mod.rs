//! Who may do what on an admin listener; knows no HTTP framework.
//!
//! There is no default credential: on first start a token for each role is generated ([`Tokens::open_or_create`]). Tokens
//! are stored as hashes; [`Tokens::authorize`] checks one, counts failures by client and locks out who guesses. Browsers
//! are kept from being tricked by [`host_is_allowed`] and [`origin_is_allowed`].

mod answer;
pub mod client;
mod host;
mod lockout;
mod query;
mod store;
mod tokens;

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::problem::{self, Reason};

pub use answer::{Answer, read_json};
pub use host::{host_is_allowed, origin_is_allowed};
pub use query::Query;
pub use store::{TokenError, TokenRecord};
pub use tokens::{Tokens, add, list, revoke};

/// What a token allows; each role includes the ones before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// See metrics, policy and state.
    Read,
    /// Change what is in force.
    Operate,
    /// See and change credentials.
    Secrets,
}

impl Role {
    /// Every role, the least one first.
    pub const ALL: [Role; 3] = [Role::Read, Role::Operate, Role::Secrets];

    /// `read`, `operate` or `secrets`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Role::Read => "read",
            Role::Operate => "operate",
            Role::Secrets => "secrets",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A word that is no role.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("\"{0}\" is not a role (read, operate or secrets)")]
pub struct UnknownRole(String);

impl FromStr for Role {
    type Err = UnknownRole;

    fn from_str(text: &str) -> Result<Self, UnknownRole> {
        Role::ALL.into_iter().find(|role| role.as_str() == text).ok_or_else(|| UnknownRole(text.to_owned()))
    }
}

/// Who is calling the admin listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Who {
    /// The name of the token, for the audit log.
    pub name: String,
    /// Its role.
    pub role: Role,
}

/// Why an admin call is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AdminDenial {
    /// No bearer token.
    #[error("no admin token")]
    Missing,
    /// A token that is not known.
    #[error("unknown admin token")]
    Wrong,
    /// A token whose role does not suffice.
    #[error("the role of the admin token does not suffice")]
    Role,
    /// Too many unknown tokens from this client.
    #[error("locked out after too many unknown admin tokens")]
    LockedOut {
        /// When the client may try again.
        retry_after: Duration,
    },
}

impl AdminDenial {
    /// What the client is told.
    #[must_use]
    pub fn reason(self) -> &'static Reason {
        match self {
            AdminDenial::Missing => &problem::ADMIN_TOKEN_MISSING,
            AdminDenial::Wrong => &problem::ADMIN_TOKEN_WRONG,
            AdminDenial::Role => &problem::ADMIN_ROLE_INSUFFICIENT,
            AdminDenial::LockedOut { .. } => &problem::ADMIN_LOCKED_OUT,
        }
    }

    /// The value of `Retry-After`, in whole seconds, when there is one.
    #[must_use]
    pub fn retry_after_seconds(self) -> Option<u64> {
        match self {
            AdminDenial::LockedOut { retry_after } => Some(retry_after.as_secs().max(1)),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests;
