//! `@detectXSS`: tokens of HTML5, judged where a browser would run script.
//!
//! A value is read as if it stood in a page as text, and as an attribute value without quotes and within each of the
//! three quotes browsers know. [`html5`] cuts it into tokens as libinjection does, and [`active`] knows the tags,
//! attributes and schemes that run script or fetch what does. The work is linear in the length of a value, five
//! readings; nothing is allocated.

mod html5;
mod active;
#[cfg(test)]
mod tests;

use active::Attribute;
use html5::{Context, Kind, Tokenizer};

/// Tells whether `value` could run script in a page it is put into unescaped.
#[must_use]
pub fn detect(value: &[u8]) -> bool {
    // Without these there are neither tags nor values of attributes.
    if memchr::memchr2(b'<', b'=', value).is_none() {
        return false;
    }
    Context::ALL.into_iter().any(|context| is_active(value, context))
}

fn is_active(value: &[u8], context: Context) -> bool {
    let mut tokenizer = Tokenizer::new(value, context);
    let mut attribute = Attribute::Harmless;
    while let Some(token) = tokenizer.next_token() {
        let active = match token.kind {
            Kind::Doctype => true,
            Kind::TagNameOpen => active::is_active_tag(token.text),
            Kind::TagComment => active::is_active_comment(token.text),
            Kind::AttributeValue => attribute.is_active_value(token.text),
            _ => false,
        };
        if active {
            return true;
        }
        attribute = match token.kind {
            Kind::AttributeName => active::attribute(token.text),
            _ => Attribute::Harmless,
        };
    }
    false
}
