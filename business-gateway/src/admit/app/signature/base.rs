//! The signature base (RFC 9421, section 2.5): one line for each covered component, then the parameters.

use gatehouse_shared::hop::Scheme;

use super::{Input, Malformed, Message, joined};

pub(super) fn write(input: &Input<'_>, message: &Message<'_>) -> Result<Vec<u8>, Malformed> {
    let mut base = Vec::with_capacity(512);
    for name in &input.components {
        base.push(b'"');
        base.extend_from_slice(name.as_bytes());
        base.extend_from_slice(b"\": ");
        match name.strip_prefix('@') {
            Some(derived) => write_derived(derived, message, &mut base)?,
            None => {
                let value = joined(message.headers, *name).ok_or(Malformed("a covered header is not there"))?;
                base.extend_from_slice(&value);
            }
        }
        base.push(b'\n');
    }
    base.extend_from_slice(b"\"@signature-params\": ");
    base.extend_from_slice(input.parameters.as_bytes());
    Ok(base)
}

/// RFC 9421, section 2.2. The parser lets no other names through.
fn write_derived(name: &str, message: &Message<'_>, base: &mut Vec<u8>) -> Result<(), Malformed> {
    match name {
        "method" => base.extend_from_slice(message.method.as_bytes()),
        "authority" => write_authority(message, base),
        "scheme" => base.extend_from_slice(message.scheme.as_str().as_bytes()),
        "path" => base.extend_from_slice(path(message).as_bytes()),
        "query" => write_query(message, base),
        "target-uri" => {
            base.extend_from_slice(message.scheme.as_str().as_bytes());
            base.extend_from_slice(b"://");
            write_authority(message, base);
            base.extend_from_slice(path(message).as_bytes());
            if message.uri.query().is_some() {
                write_query(message, base);
            }
        }
        _ => return Err(Malformed("a derived component that is not known")),
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
    base.extend(authority.bytes().map(|byte| byte.to_ascii_lowercase()));
}

fn path<'a>(message: &Message<'a>) -> &'a str {
    match message.uri.path() {
        "" => "/",
        path => path,
    }
}

/// A question mark stands there without a query too.
fn write_query(message: &Message<'_>, base: &mut Vec<u8>) {
    base.push(b'?');
    base.extend_from_slice(message.uri.query().unwrap_or_default().as_bytes());
}
