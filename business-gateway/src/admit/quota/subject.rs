//! Who or what a limit counts: any of API, application, user and client, or what an expression makes of a call.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, LazyLock};

use gatehouse_shared::limit::{Key, KeyHasher};
use http::request::Parts;
use ring::digest::{SHA256, digest};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::admit::api::Api;
use crate::admit::caller::Caller;
use crate::admit::flow_rule::Facts;

/// The longest text of a subject; longer ones are replaced by their hash.
const TEXT_MAX: usize = 256;

/// What a call can be counted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Part {
    /// The name of the API.
    Api,
    /// The key of the application.
    App,
    /// The user on whose behalf the application calls.
    User,
    /// The address of the client, as the edge saw it; of IPv6 its /64 network.
    Client,
}

impl Part {
    /// Every part.
    pub(super) const ALL: [Self; 4] = [Self::Api, Self::App, Self::User, Self::Client];

    /// As it is written.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Api => "api",
            Self::App => "app",
            Self::User => "user",
            Self::Client => "client",
        }
    }
}

/// What limits look at of a call.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// The name of the API.
    pub api: &'a str,
    /// The key of the application; `None` where nobody had to say.
    pub app: Option<&'a str>,
    /// The plan of the application.
    pub plan: Option<&'a str>,
    /// The user.
    pub user: Option<&'a str>,
    /// The client.
    pub client: IpAddr,
    /// The call and the head of its request, for expressions.
    pub head: Option<(&'a Facts<'a>, &'a Parts)>,
}

/// Makes a subject of a call; `None`: the limit does not concern it.
pub type Expression = Arc<dyn Fn(&Subject<'_>) -> Option<String> + Send + Sync>;

/// What a limit counts by, as compiled.
#[derive(Clone)]
pub(super) enum By {
    /// By these, in the order of [`Part`]; by nothing: all calls together.
    Parts(Box<[Part]>),
    /// By what an expression says.
    Expression(Expression),
}

impl std::fmt::Debug for By {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Parts(parts) => out.debug_tuple("Parts").field(parts).finish(),
            Self::Expression(_) => out.write_str("Expression"),
        }
    }
}

/// What was found of a call: the key in memory, and what is needed to write the subject down when it is new.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) key: Key,
    made: Option<String>,
}

/// The digests of the parts of one call, each made once: most limits count by some of the same.
pub(super) struct Digests<'a> {
    /// The call.
    pub(super) subject: &'a Subject<'a>,
    /// In the order of [`Part`].
    parts: [Option<Key>; Part::ALL.len()],
}

impl<'a> Digests<'a> {
    /// Those of a call; none is made yet.
    pub(super) fn new(subject: &'a Subject<'a>) -> Self {
        Self { subject, parts: [None; Part::ALL.len()] }
    }

    fn of(&mut self, part: Part) -> Key {
        static HASHERS: LazyLock<[KeyHasher; Part::ALL.len()]> =
            LazyLock::new(|| Part::ALL.map(|part| KeyHasher::of_process().of_part(part.as_str())));
        let place = part as usize;
        let make = || {
            // There is one for each part.
            let hasher = HASHERS.get(place).copied().unwrap_or_else(KeyHasher::of_process);
            match part {
                Part::Client => hasher.digest_of_address(counted(self.subject.client)),
                part => hasher.digest(self.subject.text(part).as_bytes()),
            }
        };
        match self.parts.get(place).copied().flatten() {
            Some(digest) => digest,
            None => {
                let digest = make();
                if let Some(kept) = self.parts.get_mut(place) {
                    *kept = Some(digest);
                }
                digest
            }
        }
    }
}

impl By {
    /// The subject of a call as this process knows it; `None` when the limit does not concern it. Calls that lack a part are counted
    /// together: a limit by application holds for all calls without one as if they came from one.
    pub(super) fn find_here(&self, digests: &mut Digests<'_>) -> Option<Found> {
        match self {
            Self::Parts(parts) => {
                let key = parts.iter().fold(Key::default(), |key, part| key.and(digests.of(*part)));
                Some(Found { key, made: None })
            }
            Self::Expression(_) => self.find(digests.subject, &KeyHasher::of_process()),
        }
    }

    /// The same as all nodes know it that have this hasher.
    pub(super) fn find(&self, subject: &Subject<'_>, hasher: &KeyHasher) -> Option<Found> {
        match self {
            Self::Parts(parts) => {
                let mut key = hasher.key();
                for part in parts {
                    key = match part {
                        Part::Client => key.address(counted(subject.client)),
                        part => key.bytes(subject.text(*part).as_bytes()),
                    };
                }
                Some(Found { key: key.finish(), made: None })
            }
            Self::Expression(expression) => {
                let made = expression(subject)?;
                Some(Found { key: hasher.key().bytes(made.as_bytes()).finish(), made: Some(made) })
            }
        }
    }

    /// The subject as it is written in the store: `app=shop,api=orders.list`, `expression=…`.
    pub(super) fn write(&self, subject: &Subject<'_>, found: &Found) -> Arc<str> {
        let text = match self {
            Self::Parts(parts) => {
                let values = parts.iter().map(|part| match part {
                    Part::Client => (*part, Cow::Owned(client(subject.client))),
                    part => (*part, Cow::Borrowed(subject.text(*part))),
                });
                written(values)
            }
            Self::Expression(_) => format!("expression={}", escaped(found.made.as_deref().unwrap_or_default())),
        };
        bounded(text)
    }
}

impl<'a> Subject<'a> {
    /// The subject of a call.
    #[must_use]
    pub fn of(api: &'a Api, caller: Option<&'a Caller>, facts: &'a Facts<'a>, head: &'a Parts) -> Self {
        let app = caller.and_then(|caller| caller.app.as_ref());
        Self {
            api: &api.name,
            app: app.map(|app| &*app.key),
            plan: app.and_then(|app| app.plan.as_deref()),
            user: caller.and_then(|caller| caller.user.as_deref()),
            client: facts.client,
            head: Some((facts, head)),
        }
    }

    fn text(&self, part: Part) -> &'a str {
        match part {
            Part::Api => self.api,
            Part::App => self.app.unwrap_or_default(),
            Part::User => self.user.unwrap_or_default(),
            Part::Client => "",
        }
    }
}

/// The address that a client counts as: of IPv6 its /64 network, because it has that many addresses for free.
fn counted(client: IpAddr) -> IpAddr {
    match client.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into(),
        address => address,
    }
}

/// A client as it is written.
pub(super) fn client(client: IpAddr) -> String {
    match counted(client) {
        IpAddr::V6(network) => format!("{network}/64"),
        address => address.to_string(),
    }
}

/// The subject with these values as it is written in the store.
pub(super) fn written<'a>(values: impl Iterator<Item = (Part, Cow<'a, str>)>) -> String {
    let mut text = String::new();
    for (part, value) in values {
        if !text.is_empty() {
            text.push(',');
        }
        text.push_str(part.as_str());
        text.push('=');
        text.push_str(&escaped(&value));
    }
    // A name in the store must not be empty.
    if text.is_empty() { "all".to_owned() } else { text }
}

/// A text that is too long for a name in the store is replaced by its hash.
pub(super) fn bounded(text: String) -> Arc<str> {
    if text.len() <= TEXT_MAX {
        return text.into();
    }
    let mut hash = String::from("sha256=");
    for byte in digest(&SHA256, text.as_bytes()).as_ref() {
        // Writing into a String cannot fail.
        let _written = write!(hash, "{byte:02x}").is_ok();
    }
    hash.into()
}

/// A value in which nothing can be taken for the end of it.
pub(super) fn escaped(value: &str) -> Cow<'_, str> {
    let is_plain = |character: char| !matches!(character, '%' | ',' | '=') && !character.is_control();
    if value.chars().all(is_plain) {
        return Cow::Borrowed(value);
    }
    let mut text = String::with_capacity(value.len() + 8);
    let mut buffer = [0; 4];
    for character in value.chars() {
        if is_plain(character) {
            text.push(character);
            continue;
        }
        for byte in character.encode_utf8(&mut buffer).bytes() {
            let _written = write!(text, "%{byte:02X}").is_ok();
        }
    }
    Cow::Owned(text)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{prop_assert_eq, proptest};

    use super::*;

    const CALL: Subject<'_> = Subject {
        api: "orders.list",
        app: Some("shop"),
        plan: None,
        user: None,
        client: IpAddr::V4(std::net::Ipv4Addr::LOCALHOST),
        head: None,
    };

    fn text(by: &By, subject: &Subject<'_>) -> String {
        let found = by.find(subject, &KeyHasher::of_process()).unwrap();
        by.write(subject, &found).to_string()
    }

    #[test]
    fn subjects_are_written_as_people_would() {
        assert_eq!(text(&By::Parts([].into()), &CALL), "all");
        assert_eq!(text(&By::Parts([Part::Api, Part::App].into()), &CALL), "api=orders.list,app=shop");
        assert_eq!(text(&By::Parts([Part::User, Part::Client].into()), &CALL), "user=,client=127.0.0.1");
        let expression: Expression = Arc::new(|call| call.app.map(|app| format!("{app},x=1\n")));
        assert_eq!(text(&By::Expression(Arc::clone(&expression)), &CALL), "expression=shop%2Cx%3D1%0A");
        let nobody = Subject { app: None, ..CALL };
        assert!(By::Expression(expression).find(&nobody, &KeyHasher::of_process()).is_none());
        let by_client = By::Parts([Part::Client].into());
        for (address, written) in
            [("2001:db8::1:2:3:4", "client=2001:db8::/64"), ("::ffff:192.0.2.1", "client=192.0.2.1")]
        {
            assert_eq!(text(&by_client, &Subject { client: address.parse().unwrap(), ..CALL }), written);
        }
        let long = "a".repeat(1_000);
        assert_eq!(text(&By::Parts([Part::User].into()), &Subject { user: Some(&long), ..CALL }).len(), 71);
    }

    proptest! {
        /// Two calls have the same key exactly when they have the same text.
        #[test]
        fn texts_and_keys_tell_the_same_calls_apart(first in "[a=,%]{0,3}", second in "[a=,%]{0,3}", third in "[a=,%]{0,3}", fourth in "[a=,%]{0,3}") {
            let by = By::Parts([Part::App, Part::User].into());
            let one = Subject { app: Some(&first), user: Some(&second), ..CALL };
            let other = Subject { app: Some(&third), user: Some(&fourth), ..CALL };
            let here = |subject: &Subject<'_>| by.find_here(&mut Digests::new(subject)).unwrap().key;
            let of_all = |subject: &Subject<'_>| by.find(subject, &KeyHasher::of_fleet([7; 16])).unwrap().key;
            prop_assert_eq!(here(&one) == here(&other), text(&by, &one) == text(&by, &other));
            prop_assert_eq!(of_all(&one) == of_all(&other), text(&by, &one) == text(&by, &other));
        }
    }
}
