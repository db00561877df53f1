//! Did the request come through the edge? Only a valid hop says so; without one nothing of the request is looked at any
//! further, and no byte of its body is read.
//!
//! The edge signs the method, the authority and the request target exactly as they arrive here: on HTTP/1.1 the target of the
//! request line and `Host`, on HTTP/2 `:path` and `:authority`.

use std::borrow::Cow;

use gatehouse_shared::hop::{HOP_HEADER, HopError, HopKeys, VerifiedHop};
use http::header::HeaderName;
use http::request::Parts;
use http::uri::{Authority, PathAndQuery};
use http::{Version, header};

static HOP: HeaderName = HeaderName::from_static(HOP_HEADER);

/// Why a request counts as not having come through the edge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HopRefusal {
    /// There is no hop.
    #[error("no hop")]
    Missing,
    /// There are several.
    #[error("more than one hop")]
    Repeated,
    /// It is not valid.
    #[error("the hop is not valid")]
    Invalid(#[source] HopError),
}

/// The hop of a request that came through the edge and names this [`authority`].
///
/// # Errors
/// [`HopRefusal`] for every other request.
pub fn check(keys: &HopKeys, parts: &Parts, authority: &str, now_unix_ms: u64) -> Result<VerifiedHop, HopRefusal> {
    let mut values = parts.headers.get_all(&HOP).iter();
    let value = values.next().ok_or(HopRefusal::Missing)?;
    if values.next().is_some() {
        return Err(HopRefusal::Repeated);
    }
    let hop = keys.verify(value.as_bytes(), parts.method.as_str(), authority, &raw_target(parts), now_unix_ms);
    hop.map_err(HopRefusal::Invalid)
}

/// The authority that the client named: `:authority` or `Host`.
#[must_use]
pub fn authority(parts: &Parts) -> &str {
    let host = || parts.headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let named = match parts.version {
        Version::HTTP_2 => parts.uri.authority().map(Authority::as_str).or_else(host),
        _ => host(),
    };
    named.unwrap_or_default()
}

/// The request target as it arrived. `http` keeps every byte of it but for an absolute target without a path, which it gives a
/// slash; the edge writes that slash too.
fn raw_target(parts: &Parts) -> Cow<'_, str> {
    if parts.version != Version::HTTP_2 && parts.uri.scheme().is_some() {
        return Cow::Owned(parts.uri.to_string());
    }
    Cow::Borrowed(parts.uri.path_and_query().map(PathAndQuery::as_str).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use gatehouse_shared::config::Secret;
    use gatehouse_shared::hop::{Hop, HopKey, Scheme};
    use gatehouse_shared::id::RequestId;
    use http::Request;
    use std::time::Duration;

    const NOW: u64 = 1_700_000_000_000;

    fn keys() -> HopKeys {
        HopKeys::new(vec![HopKey::new("a", &Secret::new(vec![7; 32])).unwrap()]).unwrap()
    }

    fn check(parts: &Parts, now_unix_ms: u64) -> Result<VerifiedHop, HopRefusal> {
        super::check(&keys(), parts, authority(parts), now_unix_ms)
    }

    fn sign(target: &str, authority: &str) -> String {
        let hop = Hop {
            request_id: RequestId::new(NOW),
            client: "203.0.113.9:4711".parse().unwrap(),
            scheme: Scheme::Http,
            tls: None,
            subject: None,
            fingerprint: None,
            path: "/a",
            left: Duration::from_secs(30),
            edge: "edge-1",
            held: false,
        };
        keys().sign(&hop, "GET", authority, target, NOW)
    }

    fn parts(uri: &str, version: Version, hops: &[String]) -> Parts {
        let mut request = Request::builder().uri(uri).version(version).header("host", "shop.example");
        for hop in hops {
            request = request.header(HOP_HEADER, hop);
        }
        request.body(()).unwrap().into_parts().0
    }

    #[test]
    fn takes_what_the_edge_signed_in_every_form_of_target() {
        let origin = parts("/%61?b=%20", Version::HTTP_11, &[sign("/%61?b=%20", "shop.example")]);
        assert_eq!(&*check(&origin, NOW).unwrap().path, "/a");
        let absolute =
            parts("http://shop.example/a?b", Version::HTTP_11, &[sign("http://shop.example/a?b", "shop.example")]);
        assert!(check(&absolute, NOW).is_ok());
        let h2 = parts("http://other.example:81/a?b", Version::HTTP_2, &[sign("/a?b", "other.example:81")]);
        assert!(check(&h2, NOW).is_ok());
    }

    #[test]
    fn refuses_everything_else() {
        let hop = sign("/a", "shop.example");
        assert_eq!(check(&parts("/a", Version::HTTP_11, &[]), NOW), Err(HopRefusal::Missing));
        let twice = parts("/a", Version::HTTP_11, &[hop.clone(), hop.clone()]);
        assert_eq!(check(&twice, NOW), Err(HopRefusal::Repeated));
        let other_target = parts("/b", Version::HTTP_11, std::slice::from_ref(&hop));
        assert_eq!(check(&other_target, NOW), Err(HopRefusal::Invalid(HopError::Signature)));
        let late = parts("/a", Version::HTTP_11, &[hop]);
        assert_eq!(check(&late, NOW + 60_000), Err(HopRefusal::Invalid(HopError::Expired)));
    }
}
