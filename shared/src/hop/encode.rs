//! Writing the hop header, without formatting machinery: it is written once per request.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::{Hop, Scheme, path_of};
use crate::telemetry::access_log::{are_plain, push_address, push_number};

/// The largest number RFC 9651 allows.
const MAX_NUMBER: u64 = 999_999_999_999_999;

/// Writes everything up to the signature; `age_ms` is how long ago the request got its id.
pub(super) fn write_fields(out: &mut String, hop: &Hop<'_>, key_id: &str, age_ms: u64, raw_target: &str) {
    out.push_str("v=2,kid=\"");
    out.push_str(key_id);
    out.push_str("\",rid=\"");
    out.push_str(hop.request_id.as_str());
    if age_ms == 0 {
        out.push_str("\",client=\"");
    } else {
        out.push_str("\",age=");
        push_number(out, age_ms.min(MAX_NUMBER));
        out.push_str(",client=\"");
    }
    push_address(out, hop.client);
    out.push('"');
    if hop.scheme == Scheme::Https {
        out.push_str(",https");
    }
    push_optional_string(out, ",tls=\"", hop.tls);
    if let Some(subject) = hop.subject {
        out.push_str(",subject=%\"");
        push_display(out, subject);
        out.push('"');
    }
    push_optional_string(out, ",fp=\"", hop.fingerprint);
    push_optional_string(out, ",path=\"", Some(hop.path).filter(|path| *path != path_of(raw_target)));
    out.push_str(",left=");
    push_number(out, u64::try_from(hop.left.as_millis()).unwrap_or(u64::MAX).min(MAX_NUMBER));
    push_optional_string(out, ",edge=\"", Some(hop.edge));
    if hop.held {
        out.push_str(",held");
    }
}

/// Appends the signature.
pub(super) fn write_signature(out: &mut String, signature: [u8; 16]) {
    out.push_str(",sig=:");
    STANDARD.encode_string(signature, out);
    out.push(':');
}

/// A quoted string; bytes it cannot hold are percent-encoded, which in a path means the same.
fn push_optional_string(out: &mut String, start: &str, value: Option<&str>) {
    let Some(value) = value else { return };
    out.push_str(start);
    if are_plain(value.as_bytes()) {
        out.push_str(value);
    } else {
        for byte in value.bytes() {
            match byte {
                b'"' | b'\\' => out.extend(['\\', char::from(byte)]),
                b' '..=b'~' => out.push(char::from(byte)),
                byte => push_percent(out, byte),
            }
        }
    }
    out.push('"');
}

/// The inside of a display string (RFC 9651, section 3.3.8): any text, percent-encoded where it is not plain ASCII.
fn push_display(out: &mut String, value: &str) {
    for byte in value.bytes() {
        match byte {
            b'"' | b'%' => push_percent(out, byte),
            b' '..=b'~' => out.push(char::from(byte)),
            byte => push_percent(out, byte),
        }
    }
}

fn push_percent(out: &mut String, byte: u8) {
    let digit = |value: u8| char::from_digit(u32::from(value), 16).unwrap_or('0');
    out.extend(['%', digit(byte >> 4), digit(byte & 15)]);
}
