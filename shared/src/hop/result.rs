//! The result header: what the business tier tells the edge about an answer.

use std::borrow::Cow;

/// Who made the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The business tier itself.
    Gateway,
    /// A service behind it.
    Service,
}

/// Whether the call was authenticated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Auth {
    /// No credentials, none needed.
    Anonymous,
    /// An application.
    App,
    /// Credentials that are wrong.
    Failed,
}

/// Whether the edge might send the request again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// Something may have been executed.
    Never,
    /// Nothing was executed.
    Safe,
}

/// What the business tier tells the edge about an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HopResult {
    /// Who made the answer.
    pub origin: Origin,
    /// Whether the call was authenticated.
    pub auth: Auth,
    /// 1 for a plain call, 0 when nothing was executed, for a batch the number of its items.
    pub cost: u32,
    /// Whether the request might be sent again.
    pub retry: Retry,
    /// A 502, 503 or 504 of origin `gateway` that concerns this node itself (draining, overloaded): the edge may eject it.
    pub node: bool,
}

impl HopResult {
    /// The plain call: answered by a service, not authenticated, executed once.
    pub const SERVICE: Self =
        Self { origin: Origin::Service, auth: Auth::Anonymous, cost: 1, retry: Retry::Never, node: false };

    /// Refused by the business tier before anything was executed.
    pub const REFUSED: Self =
        Self { origin: Origin::Gateway, auth: Auth::Anonymous, cost: 0, retry: Retry::Safe, node: false };

    /// The value of [`super::RESULT_HEADER`]; the plain call costs no allocation.
    #[must_use]
    pub fn to_header(&self) -> Cow<'static, str> {
        if *self == Self::SERVICE {
            return Cow::Borrowed("v=1, origin=service, auth=anonymous, cost=1, retry=never");
        }
        if *self == (Self { auth: Auth::App, ..Self::SERVICE }) {
            return Cow::Borrowed("v=1, origin=service, auth=app, cost=1, retry=never");
        }
        let origin = match self.origin {
            Origin::Gateway => "gateway",
            Origin::Service => "service",
        };
        let auth = match self.auth {
            Auth::Anonymous => "anonymous",
            Auth::App => "app",
            Auth::Failed => "failed",
        };
        let retry = match self.retry {
            Retry::Never => "never",
            Retry::Safe => "safe",
        };
        let node = if self.node { ", node" } else { "" };
        Cow::Owned(format!("v=1, origin={origin}, auth={auth}, cost={}, retry={retry}{node}", self.cost))
    }

    /// Reads the header; `None` when it is not what the protocol defines. Members it does not know are skipped, so that
    /// a later version can add some.
    #[must_use]
    pub fn parse(value: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(value).ok()?;
        let mut members = text.split(", ").map(|member| member.split_once('=').unwrap_or((member, "")));
        if members.next() != Some(("v", "1")) {
            return None;
        }
        let (mut origin, mut auth, mut cost, mut retry, mut node) = (None, None, None, None, false);
        for (name, value) in members {
            match (name, value) {
                ("origin", "gateway") => origin = Some(Origin::Gateway),
                ("origin", "service") => origin = Some(Origin::Service),
                ("auth", "anonymous") => auth = Some(Auth::Anonymous),
                ("auth", "app") => auth = Some(Auth::App),
                ("auth", "failed") => auth = Some(Auth::Failed),
                ("cost", digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => cost = digits.parse().ok(),
                ("retry", "never") => retry = Some(Retry::Never),
                ("retry", "safe") => retry = Some(Retry::Safe),
                ("node", "") => node = true,
                ("origin" | "auth" | "cost" | "retry" | "node", _) => return None,
                _ => {}
            }
        }
        Some(Self { origin: origin?, auth: auth?, cost: cost?, retry: retry?, node })
    }
}
