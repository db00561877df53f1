//! The hop: whatever a holder of the key signs is read or refused, and what was read is the same when it is written and read
//! again; what nobody has signed does not pass.

#![no_main]

use std::net::SocketAddr;
use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use gatehouse_fuzz::{Input, linear};
use gatehouse_shared::config::Secret;
use gatehouse_shared::hop::{Hop, HopError, HopKey, HopKeys, VerifiedHop};
use libfuzzer_sys::fuzz_target;
use ring::hmac;

/// When the hops of the seeds are read, in Unix milliseconds.
const NOW: u64 = 1_700_000_000_000;
const SECRET: [u8; 32] = [7; 32];
const TARGET: &str = "/orders/7?x=1";

static KEYS: LazyLock<HopKeys> =
    LazyLock::new(|| HopKeys::new(vec![HopKey::new("a", &Secret::new(SECRET.into())).unwrap()]).unwrap());

fuzz_target!(|bytes: &[u8]| {
    let mut input = Input::new(bytes);
    let (is_first, flip) = (input.choice() % 2 == 1, input.choice());
    let fields = String::from_utf8_lossy(&input.stretched()).into_owned();
    let value = signed(&fields, is_first);
    linear(value.len(), || match verify(value.as_bytes()) {
        Ok(hop) => {
            again(&hop);
            let mut changed = value.clone().into_bytes();
            let place = flip * changed.len() / 256;
            changed[place] ^= 1;
            assert!(verify(&changed).is_err(), "one bit of {value}");
        }
        Err(error) => assert_ne!(error, HopError::Signature, "{value}"),
    });
    assert!(verify(fields.as_bytes()).is_err(), "nobody has signed this");
});

fn verify(value: &[u8]) -> Result<VerifiedHop, HopError> {
    KEYS.verify(value, "GET", "shop.example", TARGET, NOW)
}

/// The fields with their signature, in the form of one of both versions.
fn signed(fields: &str, is_first: bool) -> String {
    let text = format!("{fields}\nGET\nshop.example\n{TARGET}");
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &SECRET), text.as_bytes());
    match is_first {
        true => format!("{fields}, sig=:{}:", STANDARD.encode(tag.as_ref())),
        false => format!("{fields},sig=:{}:", STANDARD.encode(&tag.as_ref()[..16])),
    }
}

/// Writes what was read and reads it again.
fn again(hop: &VerifiedHop) {
    let written = Hop {
        request_id: hop.request_id,
        client: hop.client,
        scheme: hop.scheme,
        tls: hop.tls.as_deref(),
        subject: hop.subject.as_deref(),
        fingerprint: hop.fingerprint.as_deref(),
        path: &hop.path,
        left: hop.left,
        edge: &hop.edge,
        held: hop.held,
    };
    let signed_at = hop.expires_unix_ms - 10_000;
    let value = KEYS.sign(&written, "GET", "shop.example", TARGET, signed_at);
    let Ok(read) = verify(value.as_bytes()) else {
        // The first version says when it ends; later ones take that from the id, which may lie in the future.
        return assert!(hop.request_id.unix_ms() > signed_at, "{value}");
    };
    assert!(read.expires_unix_ms >= hop.expires_unix_ms);
    // Zones of addresses are not written.
    let client = SocketAddr::new(hop.client.ip(), hop.client.port());
    assert_eq!(read, VerifiedHop { expires_unix_ms: read.expires_unix_ms, client, ..hop.clone() });
}
