//! The signature base (RFC 9421, section 2.5): one line for each covered component, then the parameters.

use gatehouse_shared::hop::Scheme;

use super::{Malformed, Message, joined};

/// Bytes that most covered header fields have less of, all together. One of a digest has 95.
const USUAL_FIELDS: usize = 256;

/// Writes the base of a signature over `components`, which `parameters` begin with.
pub(super) fn write<'a>(
    components: impl Iterator<Item = &'a str>,
    parameters: &str,
    message: &Message<'_>,
) -> Result<Vec<u8>, Malformed> {
    // The names are in the parameters too, so there is room for them twice.
    let target = message.uri.path_and_query().map_or(0, |target| target.as_str().len());
    let mut base = Vec::with_capacity(2 * (parameters.len() + message.authority.len() + target) + USUAL_FIELDS);
    for name in components {
        write_line(name, message, &mut base)?;
        base.push(b'\n');
    }
    base.extend_from_slice(b"\"@signature-params\": ");
    base.extend_from_slice(parameters.as_bytes());
    Ok(base)
}

/// RFC 9421, sections 2.1 and 2.2. The names are written with what is around them, for these few are in nearly every signature.
#[inline]
fn write_line(name: &str, message: &Message<'_>, base: &mut Vec<u8>) -> Result<(), Malformed> {
    match name {
        "@method" => {
            base.extend_from_slice(b"\"@method\": ");
            base.extend_from_slice(message.method.as_bytes());
        }
        "@authority" => {
            base.extend_from_slice(b"\"@authority\": ");
            write_authority(message, base);
        }
        "@scheme" => {
            base.extend_from_slice(b"\"@scheme\": ");
            base.extend_from_slice(message.scheme.as_str().as_bytes());
        }
        "@path" => {
            base.extend_from_slice(b"\"@path\": ");
            base.extend_from_slice(path(message).as_bytes());
        }
        // A question mark stands there without a query too.
        "@query" => {
            base.extend_from_slice(b"\"@query\": ?");
            base.extend_from_slice(message.uri.query().unwrap_or_default().as_bytes());
        }
        "@target-uri" => {
            base.extend_from_slice(b"\"@target-uri\": ");
            base.extend_from_slice(message.scheme.as_str().as_bytes());
            base.extend_from_slice(b"://");
            write_authority(message, base);
            base.extend_from_slice(path(message).as_bytes());
            if let Some(query) = message.uri.query() {
                base.push(b'?');
                base.extend_from_slice(query.as_bytes());
            }
        }
        // The parser lets no others through.
        _ if name.starts_with('@') => return Err(Malformed("a derived component that is not known")),
        _ => {
            let value = joined(message.headers, name).ok_or(Malformed("a covered header is not there"))?;
            base.push(b'"');
            base.extend_from_slice(name.as_bytes());
            base.extend_from_slice(b"\": ");
            base.extend_from_slice(&value);
        }
    }
    Ok(())
}

/// In lower case, without the port that the scheme has anyway (RFC 9110, section 4.2.3).
fn write_authority(message: &Message<'_>, base: &mut Vec<u8>) {
    let port = match message.scheme {
        Scheme::Http => ":80",
        Scheme::Https => ":443",
    };
    let authority = message.authority.strip_suffix(port).unwrap_or(message.authority);
    base.extend_from_slice(authority.as_bytes());
    let start = base.len() - authority.len();
    base.get_mut(start..).unwrap_or_default().make_ascii_lowercase();
}

fn path<'a>(message: &Message<'a>) -> &'a str {
    match message.uri.path() {
        "" => "/",
        path => path,
    }
}
