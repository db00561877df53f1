//! What an answer is kept under: scheme, host and target as the client wrote them, and the fields that were declared. Each part
//! has its length before it, so no two different requests have the same key.

use http::{HeaderMap, HeaderName};

/// Puts a key together.
#[must_use]
pub fn of(scheme: &str, host: &str, target: &str, fields: &[HeaderName], headers: &HeaderMap) -> Vec<u8> {
    let mut key = Vec::with_capacity(64 + host.len() + target.len());
    for part in [host, target, scheme] {
        push(&mut key, part.as_bytes());
    }
    for name in fields {
        let mut values = 0_u32;
        let start = key.len();
        for value in headers.get_all(name) {
            push(&mut key, value.as_bytes());
            values += 1;
        }
        // How many there are: one of two values is not two.
        key.extend_from_slice(&values.to_be_bytes());
        debug_assert!(key.len() > start);
    }
    key
}

/// Host and target of a key.
#[must_use]
pub fn place(key: &[u8]) -> Option<(&[u8], &[u8])> {
    let (host, rest) = pull(key)?;
    let (target, _) = pull(rest)?;
    Some((host, target))
}

fn push(key: &mut Vec<u8>, part: &[u8]) {
    let length = u32::try_from(part.len()).unwrap_or(u32::MAX);
    key.extend_from_slice(&length.to_be_bytes());
    key.extend_from_slice(part);
}

fn pull(key: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = key.split_first_chunk::<4>()?;
    rest.split_at_checked(usize::try_from(u32::from_be_bytes(*length)).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;
    use proptest::prelude::{Strategy, prop_assert_eq, proptest};

    const FIELDS: [HeaderName; 2] = [http::header::ACCEPT, http::header::ACCEPT_LANGUAGE];

    type Parts = (String, String, Vec<String>, Vec<String>);

    fn parts() -> impl Strategy<Value = Parts> {
        let values = || proptest::collection::vec("[ab]{0,2}", 0..3);
        ("[ab]{0,2}", "/[ab]{0,2}", values(), values())
    }

    fn key((host, target, accept, language): &Parts) -> Vec<u8> {
        let mut headers = HeaderMap::new();
        for (name, values) in [("accept", accept), ("accept-language", language)] {
            for value in values {
                headers.append(name, HeaderValue::from_str(value).unwrap());
            }
        }
        of("http", host, target, &FIELDS, &headers)
    }

    proptest! {
        #[test]
        fn two_requests_have_the_same_key_only_if_they_are_the_same(one in parts(), other in parts()) {
            prop_assert_eq!(key(&one) == key(&other), one == other);
        }

        #[test]
        fn a_key_knows_its_place(one in parts()) {
            let key = key(&one);
            prop_assert_eq!(place(&key), Some((one.0.as_bytes(), one.1.as_bytes())));
        }
    }
}
