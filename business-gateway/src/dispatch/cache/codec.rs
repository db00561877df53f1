//! How an answer is written for other nodes: one version byte, then fields of fixed length and texts with their length before
//! them. What is read is not trusted: every length is checked against what is there.

use std::sync::atomic::AtomicU64;

use bytes::Bytes;
use http::StatusCode;
use http::header::{HeaderMap, HeaderName, HeaderValue};

use super::answer::{Kept, Stored};
use super::control::Times;
use super::tag::Tag;

/// The version of what follows, and what it is.
const ANSWER: u8 = 0x11;
const VARIES: u8 = 0x12;

/// What stands in Redis under a key.
#[derive(Debug)]
pub enum Left {
    /// An answer, and the place up to which its node had heard of purges when it asked.
    Answer(Box<Stored>, u64),
    /// Answers differ by these headers, and stand under the keys of their variants.
    Varies(Vec<HeaderName>),
}

/// Writes an answer down.
#[must_use]
pub fn write(stored: &Stored, as_of: u64) -> Vec<u8> {
    let (body, length) = match &stored.body {
        Kept::Plain(bytes) => (bytes, None),
        Kept::Squeezed(bytes, length) => (bytes, Some(*length)),
    };
    let mut out = Vec::with_capacity(body.len() + 1024);
    out.push(ANSWER);
    out.extend_from_slice(&stored.status.as_u16().to_be_bytes());
    let Times { born, fresh, revalidate, error } = stored.times;
    for number in [born, fresh, revalidate, error, stored.asked, as_of] {
        out.extend_from_slice(&number.to_be_bytes());
    }
    put_count(&mut out, stored.tags.len());
    for tag in &stored.tags {
        out.extend_from_slice(tag.bytes());
    }
    put_count(&mut out, stored.by.len());
    for (name, values) in &stored.by {
        put(&mut out, name.as_str().as_bytes());
        put_count(&mut out, values.len());
        values.iter().for_each(|value| put(&mut out, value.as_bytes()));
    }
    put_count(&mut out, stored.headers.len());
    for (name, value) in &stored.headers {
        put(&mut out, name.as_str().as_bytes());
        put(&mut out, value.as_bytes());
    }
    put_count(&mut out, length.map_or(0, |length| length.saturating_add(1)));
    put(&mut out, body);
    out
}

/// Writes down by which headers answers differ.
#[must_use]
pub fn write_varies<'a>(names: impl ExactSizeIterator<Item = &'a HeaderName>) -> Vec<u8> {
    let mut out = vec![VARIES];
    put_count(&mut out, names.len());
    names.for_each(|name| put(&mut out, name.as_str().as_bytes()));
    out
}

/// Reads what was written; `node` is up to which purge of this node it counts as checked. `None` for anything else, and for a
/// body that is longer than `most` bytes.
#[must_use]
pub fn read(bytes: &[u8], node: u64, most: usize) -> Option<Left> {
    let mut from = Rest(bytes);
    let left = match from.array::<1>()?[0] {
        ANSWER => read_answer(&mut from, node, most)?,
        VARIES => {
            let count = from.count()?;
            Left::Varies((0..count).map(|_| from.name()).collect::<Option<_>>()?)
        }
        _ => return None,
    };
    from.0.is_empty().then_some(left)
}

fn read_answer(from: &mut Rest<'_>, node: u64, most: usize) -> Option<Left> {
    let status = StatusCode::from_u16(u16::from_be_bytes(from.array()?)).ok()?;
    let times =
        Times { born: from.number()?, fresh: from.number()?, revalidate: from.number()?, error: from.number()? };
    let (asked, as_of) = (from.number()?, from.number()?);
    // Each of these takes bytes, so the count of them is bounded by what is there.
    let count = from.count()?;
    let tags = (0..count).map(|_| from.array().map(Tag::from_bytes)).collect::<Option<Vec<Tag>>>()?;
    let count = from.count()?;
    let by = (0..count).map(|_| Some((from.name()?, from.values()?))).collect::<Option<Vec<_>>>()?;
    let mut headers = HeaderMap::new();
    for _ in 0..from.count()? {
        headers.try_append(from.name()?, from.value()?).ok()?;
    }
    let length = from.count()?.checked_sub(1);
    let body = Bytes::copy_from_slice(from.text()?);
    let body = match length {
        None => Kept::Plain(body),
        Some(length) => Kept::Squeezed(body, length),
    };
    if body.length() > most {
        return None;
    }
    let (checked, hold_off) = (AtomicU64::new(node), AtomicU64::new(0));
    let stored = Stored { status, headers, body, by, tags, times, asked, checked, hold_off };
    Some(Left::Answer(Box::new(stored), as_of))
}

fn put_count(out: &mut Vec<u8>, count: usize) {
    out.extend_from_slice(&u32::try_from(count).unwrap_or(u32::MAX).to_be_bytes());
}

fn put(out: &mut Vec<u8>, bytes: &[u8]) {
    put_count(out, bytes.len());
    out.extend_from_slice(bytes);
}

/// What is left to read.
struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (first, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*first)
    }

    fn number(&mut self) -> Option<u64> {
        self.array().map(u64::from_be_bytes)
    }

    fn count(&mut self) -> Option<usize> {
        usize::try_from(u32::from_be_bytes(self.array()?)).ok()
    }

    fn text(&mut self) -> Option<&'a [u8]> {
        let length = self.count()?;
        let (text, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(text)
    }

    fn name(&mut self) -> Option<HeaderName> {
        HeaderName::from_bytes(self.text()?).ok()
    }

    fn value(&mut self) -> Option<HeaderValue> {
        HeaderValue::from_bytes(self.text()?).ok()
    }

    fn values(&mut self) -> Option<Vec<HeaderValue>> {
        let count = self.count()?;
        (0..count).map(|_| self.value()).collect()
    }
}

#[cfg(test)]
mod tests {
    use http::header;
    use proptest::prelude::{any, prop_assert, proptest};

    use super::*;
    use crate::dispatch::cache::answer::tests::stored;

    fn sample(body: Kept) -> Stored {
        let mut sample = stored("");
        sample.status = StatusCode::NOT_FOUND;
        sample.body = body;
        sample.headers.append("x-twice", "1".parse().unwrap());
        sample.headers.append("x-twice", "\u{e4}".parse().unwrap());
        sample.tags = vec![Tag::named("a"), Tag::named("b")];
        sample.by = vec![(header::ACCEPT, vec!["text/html".parse().unwrap()]), (header::ACCEPT_LANGUAGE, Vec::new())];
        sample
    }

    #[test]
    fn an_answer_comes_back_as_it_was() {
        for body in [Kept::Plain(Bytes::from_static(b"abc")), Kept::Squeezed(Bytes::from_static(b"x"), 9)] {
            let before = sample(body);
            let Some(Left::Answer(after, 77)) = read(&write(&before, 77), 5, 9) else { panic!() };
            assert_eq!((after.status, &after.headers, after.times), (before.status, &before.headers, before.times));
            assert_eq!((&after.by, &after.tags, after.asked), (&before.by, &before.tags, before.asked));
            assert_eq!(format!("{:?}", after.body), format!("{:?}", before.body));
            assert_eq!(after.checked.into_inner(), 5);
        }
        let long = write(&sample(Kept::Squeezed(Bytes::from_static(b"x"), 10)), 0);
        assert!(read(&long, 0, 9).is_none(), "longer than it may be");
    }

    #[test]
    fn the_headers_by_which_answers_differ_come_back() {
        let names = [header::ACCEPT, header::ACCEPT_LANGUAGE];
        let Some(Left::Varies(read)) = read(&write_varies(names.iter()), 0, 0) else { panic!() };
        assert_eq!(read, names);
    }

    #[test]
    fn what_is_cut_short_or_goes_on_is_nothing() {
        let whole = write(&sample(Kept::Plain(Bytes::from_static(b"abc"))), 1);
        for length in 0..whole.len() {
            assert!(read(&whole[..length], 0, 99).is_none(), "{length}");
        }
        assert!(read(&[whole.as_slice(), b"x"].concat(), 0, 99).is_none());
    }

    proptest! {
        #[test]
        fn nothing_does_harm(bytes in proptest::collection::vec(any::<u8>(), 0..200), kind in 0x10_u8..0x14) {
            drop(read(&bytes, 0, 1 << 20));
            drop(read(&[&[kind], bytes.as_slice()].concat(), 0, 1 << 20));
        }

        #[test]
        fn one_wrong_byte_is_read_or_refused(at in 0_usize..200, byte in any::<u8>()) {
            let mut whole = write(&sample(Kept::Plain(Bytes::from_static(b"abc"))), 1);
            if let Some(place) = whole.get_mut(at) {
                *place = byte;
            }
            if let Some(Left::Answer(stored, _)) = read(&whole, 0, 99) {
                prop_assert!(stored.body.length() <= 99);
            }
        }
    }
}
