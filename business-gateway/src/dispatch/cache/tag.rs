//! Tags: names by which answers are purged together.
//!
//! Beside the tags that operators and services give it, every answer has three of its own: everything, its API, its key. A
//! purge names one tag, so there is one way to purge.

use ring::digest;

use super::key::{Key, Place};

/// Longest tag, in bytes.
pub const LONGEST_TAG: usize = 128;
/// Tags that a service may give one answer. What has more cannot be purged as its service wants, so it is not kept.
pub const MOST_OF_SERVICE: usize = 64;

/// What a purge is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Purge {
    /// Everything.
    All,
    /// All answers of an API.
    Api(String),
    /// One answer in all its variants, by the key that `Cache-Status` shows.
    Key(String),
    /// All answers with a tag.
    Tag(String),
}

impl Purge {
    /// Its kind and its name, as they are written down.
    #[must_use]
    pub fn words(&self) -> (&'static str, &str) {
        match self {
            Self::All => ("all", ""),
            Self::Api(name) => ("api", name),
            Self::Key(key) => ("key", key),
            Self::Tag(tag) => ("tag", tag),
        }
    }

    /// From its kind and its name; `None` for a kind that is not known.
    #[must_use]
    pub fn from_words(kind: &str, name: &str) -> Option<Self> {
        match kind {
            "all" => Some(Self::All),
            "api" => Some(Self::Api(name.to_owned())),
            "key" => Some(Self::Key(name.to_owned())),
            "tag" => Some(Self::Tag(name.to_owned())),
            _ => None,
        }
    }

    /// The tag that answers have which it is about.
    #[must_use]
    pub fn tag(&self) -> Tag {
        let (kind, name) = self.words();
        Tag::new(kind, name)
    }
}

/// A tag, as the first half of the SHA-256 of its kind and its name: all take the same room, and none can be made to be
/// another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tag([u8; 16]);

impl Tag {
    fn new(kind: &str, name: &str) -> Self {
        let mut hash = digest::Context::new(&digest::SHA256);
        hash.update(kind.as_bytes());
        // No kind has a zero byte in it.
        hash.update(&[0]);
        hash.update(name.as_bytes());
        let mut tag = [0; 16];
        tag.iter_mut().zip(hash.finish().as_ref()).for_each(|(to, from)| *to = *from);
        Self(tag)
    }

    /// The tag of this name.
    #[must_use]
    pub fn named(name: &str) -> Self {
        Self::new("tag", name)
    }

    /// The tags that every answer of `api` under `key` has.
    #[must_use]
    pub fn own(api: &str, key: &Key) -> [Self; 3] {
        [Self::new("all", ""), Self::new("api", api), Self::new("key", &key.to_hex())]
    }

    /// Its bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// From its bytes.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }
}

/// Whether a text can be a tag: visible ASCII without separators.
#[must_use]
pub fn is_tag(text: &str) -> bool {
    (1..=LONGEST_TAG).contains(&text.len()) && text.bytes().all(|byte| matches!(byte, b'!'..=b'~') && byte != b',')
}

/// A tag as operators write it for an API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TagTemplate(Vec<Piece>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(Box<str>),
    /// A parameter of the path.
    Parameter(Place),
}

impl TagTemplate {
    /// Parses a tag; `place_of` says where in the path a parameter stands.
    ///
    /// # Errors
    /// A sentence about what is wrong.
    pub fn parse(text: &str, place_of: impl Fn(&str) -> Option<Place>) -> Result<Self, String> {
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('{') {
            let Some((name, after)) = after.split_once('}') else { return Err("a brace is not closed".to_owned()) };
            if !before.is_empty() {
                pieces.push(Piece::Text(before.into()));
            }
            let place = place_of(name).ok_or_else(|| format!("the path has no parameter {name:?}"))?;
            pieces.push(Piece::Parameter(place));
            rest = after;
        }
        if !rest.is_empty() {
            pieces.push(Piece::Text(rest.into()));
        }
        let is_visible = |piece: &Piece| match piece {
            Piece::Text(text) => text.bytes().all(|byte| matches!(byte, b'!'..=b'~') && !matches!(byte, b',' | b'}')),
            Piece::Parameter(_) => true,
        };
        if pieces.is_empty() || !pieces.iter().all(is_visible) {
            return Err("a tag is visible ASCII without spaces, commas and stray braces".to_owned());
        }
        Ok(Self(pieces))
    }

    /// The tag of an answer to a call of `path`, which the API's template matches.
    #[must_use]
    pub fn of(&self, path: &str) -> Tag {
        let mut text = String::new();
        for piece in &self.0 {
            match piece {
                Piece::Text(piece) => text.push_str(piece),
                Piece::Parameter(place) => text.push_str(place.of(path)),
            }
        }
        Tag::named(&text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<TagTemplate, String> {
        TagTemplate::parse(text, |name| (name == "id").then_some(Place { index: 1, is_rest: false }))
    }

    #[test]
    fn parameters_of_the_path_become_part_of_a_tag() {
        let tag = parse("order:{id}!").unwrap();
        assert_eq!(tag.of("/orders/7"), Tag::named("order:7!"));
        assert_ne!(tag.of("/orders/8"), Tag::named("order:7!"));
        assert_eq!(parse("orders").unwrap().of("/orders/7"), Tag::named("orders"));
        for wrong in ["", "{id", "{no}", "a b", "a,b", "id}"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn kinds_never_meet() {
        assert_ne!(Purge::Api("a".to_owned()).tag(), Purge::Tag("a".to_owned()).tag());
        assert_ne!(Purge::All.tag(), Purge::Tag(String::new()).tag());
        for purge in [Purge::All, Purge::Api("x".to_owned()), Purge::Key("9f".to_owned()), Purge::Tag("t".to_owned())] {
            let (kind, name) = purge.words();
            assert_eq!(Purge::from_words(kind, name), Some(purge.clone()));
        }
        assert_eq!(Purge::from_words("nothing", ""), None);
    }

    #[test]
    fn what_a_service_calls_a_tag_is_visible_and_short() {
        assert!(is_tag("order:7") && is_tag(&"x".repeat(LONGEST_TAG)));
        assert!(
            !is_tag("") && !is_tag("a b") && !is_tag("a,b") && !is_tag("ü") && !is_tag(&"x".repeat(LONGEST_TAG + 1))
        );
    }
}
