//! `Signature-Input` and `Signature` taken apart: strictly one signature, whose parameters are written down again as they will
//! be signed (RFC 9421, section 2.3) while they are read.
//!
//! Nearly every client writes both headers as the serialisation of RFC 9651 would. Then they are read by [`plain`], and what was
//! written is what is signed; whatever else there may be is left to the parser of structured fields.

use std::borrow::Cow;
use std::fmt;
use std::ops::Deref;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use http::HeaderMap;
use sfv::visitor::{DictionaryVisitor, EntryVisitor, Ignored, InnerListVisitor, ItemVisitor, ParameterVisitor};
use sfv::{BareItemFromInput, KeyRef, Parser, StringRef};

use super::{Components, Malformed, SIGNATURE, SIGNATURE_INPUT, joined, plain};

/// Bytes of `nonce` and of `keyid`; both become part of keys in the store.
const LONGEST_NAME: usize = 256;
/// Digits of an integer (RFC 9651, section 3.3.1).
pub(super) const LONGEST_INTEGER: usize = 15;
/// Bytes of the longest signature that may prove anything, which is one of Ed25519 (RFC 8032, section 5.1.6).
const LONGEST_PROOF: usize = 64;
/// Said of a text where a number belongs, and the other way round.
const WRONG_TYPE: Malformed = Malformed("a parameter has the wrong type");
/// Derived components that are known (RFC 9421, section 2.2), without what needs parameters.
const DERIVED: [&str; 6] = ["@method", "@authority", "@scheme", "@path", "@query", "@target-uri"];

/// What a signature covers and says, borrowed from `Signature-Input`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Input<'a> {
    /// The label that joins the two headers.
    pub label: &'a str,
    /// Names of what is covered, in order.
    pub components: Components<'a>,
    /// When it was made, in Unix seconds.
    pub created: Option<u64>,
    /// When it ends, in Unix seconds.
    pub expires: Option<u64>,
    /// What makes it the only one of its kind; empty when it is not there.
    pub nonce: Cow<'a, str>,
    /// Whose key it is; empty when it is not there.
    pub key_id: Cow<'a, str>,
    /// What the caller thinks the algorithm is.
    pub algorithm: Option<Cow<'a, str>>,
    /// Components and parameters as they are signed.
    pub parameters: Cow<'a, str>,
    /// Whether it says what it is for.
    pub has_tag: bool,
}

/// The parameters of a signature that are known (RFC 9421, section 2.3), all of them.
#[derive(Debug, Clone, Copy)]
pub(super) enum Parameter {
    Created,
    Expires,
    Nonce,
    KeyId,
    Algorithm,
    Tag,
}

impl Parameter {
    fn named(name: &str) -> Result<Self, Malformed> {
        match name {
            "created" => Ok(Self::Created),
            "expires" => Ok(Self::Expires),
            "nonce" => Ok(Self::Nonce),
            "keyid" => Ok(Self::KeyId),
            "alg" => Ok(Self::Algorithm),
            "tag" => Ok(Self::Tag),
            _ => Err(Malformed("a parameter that is not known")),
        }
    }
}

impl<'a> Input<'a> {
    fn add_component(&mut self, name: &'a str) -> Result<(), Malformed> {
        let is_known = match name.starts_with('@') {
            true => DERIVED.contains(&name),
            false => !name.is_empty() && name.bytes().all(is_in_header_names),
        };
        if !is_known {
            return Err(Malformed("a component that is not known, or not in lower case"));
        }
        self.components.push(name)
    }

    /// Whether a parameter is there already.
    #[inline]
    pub(super) fn says(&self, parameter: Parameter) -> bool {
        match parameter {
            Parameter::Created => self.created.is_some(),
            Parameter::Expires => self.expires.is_some(),
            Parameter::Nonce => !self.nonce.is_empty(),
            Parameter::KeyId => !self.key_id.is_empty(),
            Parameter::Algorithm => self.algorithm.is_some(),
            Parameter::Tag => self.has_tag,
        }
    }

    #[inline]
    pub(super) fn set_time(&mut self, parameter: Parameter, time: u64) -> Result<(), Malformed> {
        match parameter {
            Parameter::Created => self.created = Some(time),
            Parameter::Expires => self.expires = Some(time),
            _ => return Err(WRONG_TYPE),
        }
        Ok(())
    }

    #[inline]
    pub(super) fn set_text(&mut self, parameter: Parameter, value: Cow<'a, str>) -> Result<(), Malformed> {
        if matches!(parameter, Parameter::Created | Parameter::Expires) {
            return Err(WRONG_TYPE);
        }
        if value.is_empty() || value.len() > LONGEST_NAME {
            return Err(Malformed("a parameter is empty or longer than 256 bytes"));
        }
        match parameter {
            Parameter::Nonce => self.nonce = value,
            Parameter::KeyId => self.key_id = value,
            Parameter::Algorithm => self.algorithm = Some(value),
            _ => self.has_tag = true,
        }
        Ok(())
    }
}

/// The bytes of a signature. Those of any length that may prove something are kept in place.
#[derive(Clone)]
pub struct Proof(Bytes);

#[derive(Clone)]
enum Bytes {
    Short { bytes: [u8; LONGEST_PROOF], length: usize },
    Long(Vec<u8>),
}

impl Proof {
    /// Reads base64 as the serialisation of RFC 9651 writes it; `None` where it is not in this form, or longer than usual.
    #[inline]
    fn read(encoded: &[u8]) -> Option<Self> {
        let mut bytes = [0; LONGEST_PROOF];
        let length = STANDARD.decode_slice(encoded, &mut bytes).ok()?;
        Some(Self(Bytes::Short { bytes, length }))
    }
}

impl Deref for Proof {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match &self.0 {
            Bytes::Short { bytes, length } => bytes.get(..*length).unwrap_or_default(),
            Bytes::Long(bytes) => bytes,
        }
    }
}

impl PartialEq for Proof {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for Proof {}

impl fmt::Debug for Proof {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, formatter)
    }
}

/// The two headers of a request, as one text each.
#[derive(Debug, Clone)]
pub struct Headers<'h> {
    input: Cow<'h, [u8]>,
    signature: Cow<'h, [u8]>,
}

impl<'h> Headers<'h> {
    /// Those of a request.
    ///
    /// # Errors
    /// When one of them is missing.
    pub fn of(headers: &'h HeaderMap) -> Result<Self, Malformed> {
        let input = joined(headers, SIGNATURE_INPUT).ok_or(Malformed("Signature without Signature-Input"))?;
        let signature = joined(headers, SIGNATURE).ok_or(Malformed("Signature-Input without Signature"))?;
        Ok(Self { input, signature })
    }

    /// What is covered, and the signature.
    ///
    /// # Errors
    /// When the headers are not one signature with all parameters that are needed.
    pub fn parse(&self) -> Result<(Input<'_>, Proof), Malformed> {
        let mut input = Input::default();
        match self.read_plain(&mut input) {
            Some(proof) => Ok((input, proof)),
            None => self.parse_any(),
        }
    }

    /// The signature and, in `input`, what is covered, where both are written in the usual way; `None` says nothing else.
    #[inline]
    pub(super) fn read_plain<'a>(&'a self, input: &mut Input<'a>) -> Option<Proof> {
        plain::read(std::str::from_utf8(&self.input).ok()?, input)?;
        let member = self.signature.strip_prefix(input.label.as_bytes())?;
        Proof::read(member.strip_prefix(b"=:")?.strip_suffix(b":")?)
    }

    /// The same of headers in whatever form.
    pub(super) fn parse_any(&self) -> Result<(Input<'_>, Proof), Malformed> {
        let mut reading = Reading::default();
        let parsed = Parser::new(&*self.input).parse_dictionary_with_visitor(&mut reading);
        if let Err(_error) = parsed {
            return Err(reading.wrong.unwrap_or(Malformed("Signature-Input is not a dictionary of inner lists")));
        }
        let input = reading.finish()?;
        let mut found = Found { label: input.label, bytes: None };
        let parsed = Parser::new(&*self.signature).parse_dictionary_with_visitor(&mut found);
        parsed.map_err(|_error| Malformed("Signature is not one byte sequence under the label of Signature-Input"))?;
        let bytes = found.bytes.ok_or(Malformed("Signature has no member"))?;
        // There are bits in the last letter that say nothing; who sets them has changed the header all the same.
        let canonical = STANDARD_NO_PAD.encode(&bytes);
        if !self.signature.windows(canonical.len().max(1)).any(|part| part == canonical.as_bytes()) {
            return Err(Malformed("a signature is not written in the base64 of its bytes"));
        }
        Ok((input, Proof(Bytes::Long(bytes))))
    }
}

/// `Signature-Input` while it is read.
#[derive(Default)]
struct Reading<'de> {
    label: Option<&'de str>,
    input: Input<'de>,
    /// The parameters as they are written down again.
    parameters: String,
    wrong: Option<Malformed>,
}

impl<'de> Reading<'de> {
    fn refuse<T>(&mut self, message: &'static str) -> Result<T, Malformed> {
        self.noted(Err(Malformed(message)))
    }

    /// Keeps what is wrong: the parser has an error of its own for it.
    fn noted<T>(&mut self, result: Result<T, Malformed>) -> Result<T, Malformed> {
        if let Err(wrong) = &result {
            self.wrong = Some(*wrong);
        }
        result
    }

    fn finish(self) -> Result<Input<'de>, Malformed> {
        let Some(label) = self.label else { return Err(Malformed("Signature-Input has no member")) };
        Ok(Input { label, parameters: Cow::Owned(self.parameters), ..self.input })
    }

    fn component(&mut self, item: &BareItemFromInput<'de>) -> Result<(), Malformed> {
        let BareItemFromInput::String(Cow::Borrowed(name)) = item else {
            return self.refuse("a component is not a plain string");
        };
        let name = name.as_str();
        if !self.input.components.is_empty() {
            self.parameters.push(' ');
        }
        let added = self.input.add_component(name);
        self.noted(added)?;
        push_string(&mut self.parameters, name);
        Ok(())
    }

    fn parameter(&mut self, key: &KeyRef, value: BareItemFromInput<'de>) -> Result<(), Malformed> {
        let name = key.as_str();
        let parameter = self.noted(Parameter::named(name))?;
        if self.input.says(parameter) {
            return self.refuse("a parameter is there twice");
        }
        self.parameters.push(';');
        self.parameters.push_str(name);
        self.parameters.push('=');
        let set = match value {
            BareItemFromInput::Integer(value) => {
                let Ok(time) = u64::try_from(i64::from(value)) else { return self.refuse("a time before 1970") };
                self.parameters.push_str(&time.to_string());
                self.input.set_time(parameter, time)
            }
            BareItemFromInput::String(value) => {
                let value = text(value);
                push_string(&mut self.parameters, &value);
                self.input.set_text(parameter, value)
            }
            _ => Err(WRONG_TYPE),
        };
        self.noted(set)
    }
}

fn text(value: Cow<'_, StringRef>) -> Cow<'_, str> {
    match value {
        Cow::Borrowed(value) => Cow::Borrowed(value.as_str()),
        Cow::Owned(value) => Cow::Owned(value.as_str().to_owned()),
    }
}

/// RFC 9110, section 5.1: `token`, in lower case.
#[inline]
pub(super) fn is_in_header_names(byte: u8) -> bool {
    matches!(byte, b'a'..=b'z' | b'0'..=b'9')
        || matches!(byte, b'!' | b'#'..=b'\'' | b'*' | b'+' | b'-' | b'.' | b'^' | b'_' | b'`' | b'|' | b'~')
}

/// RFC 9651, section 4.1.6.
pub(super) fn push_string(out: &mut String, value: &str) {
    out.push('"');
    for character in value.chars() {
        if matches!(character, '"' | '\\') {
            out.push('\\');
        }
        out.push(character);
    }
    out.push('"');
}

impl<'de> DictionaryVisitor<'de> for &mut Reading<'de> {
    type Out = ();
    type Error = Malformed;

    fn entry(&mut self, key: &'de KeyRef) -> Result<impl EntryVisitor<'de>, Malformed> {
        if self.label.replace(key.as_str()).is_some() {
            return self.refuse("more than one signature");
        }
        Ok(Member(self))
    }

    fn finish(self) -> Result<(), Malformed> {
        Ok(())
    }
}

struct Member<'r, 'de>(&'r mut Reading<'de>);

impl<'de> EntryVisitor<'de> for Member<'_, 'de> {
    type Error = Malformed;

    fn item(self) -> Result<impl ItemVisitor<'de>, Malformed> {
        self.0.refuse::<Ignored>("Signature-Input holds something else than a list")
    }

    fn inner_list(self) -> Result<impl InnerListVisitor<'de>, Malformed> {
        self.0.parameters.push('(');
        Ok(self)
    }
}

impl<'de> InnerListVisitor<'de> for Member<'_, 'de> {
    type Error = Malformed;

    fn item(&mut self) -> Result<impl ItemVisitor<'de>, Malformed> {
        Ok(Component(&mut *self.0))
    }

    fn finish(self) -> Result<impl ParameterVisitor<'de>, Malformed> {
        self.0.parameters.push(')');
        Ok(Parameters(self.0))
    }
}

struct Component<'r, 'de>(&'r mut Reading<'de>);

impl<'de> ItemVisitor<'de> for Component<'_, 'de> {
    type Out = ();
    type Error = Malformed;

    fn bare_item(self, item: BareItemFromInput<'de>) -> Result<impl ParameterVisitor<'de, Out = ()>, Malformed> {
        self.0.component(&item)?;
        Ok(NoParameters(self.0))
    }
}

/// Components with parameters (`;sf`, `;key`, `;bs`, `;req`, `;tr`, `;name`) are not taken: nobody needs them to sign a call.
struct NoParameters<'r, 'de>(&'r mut Reading<'de>);

impl<'de> ParameterVisitor<'de> for NoParameters<'_, 'de> {
    type Out = ();
    type Error = Malformed;

    fn parameter(&mut self, _: &'de KeyRef, _: BareItemFromInput<'de>) -> Result<(), Malformed> {
        self.0.refuse("a component with parameters")
    }

    fn finish(self) -> Result<(), Malformed> {
        Ok(())
    }
}

struct Parameters<'r, 'de>(&'r mut Reading<'de>);

impl<'de> ParameterVisitor<'de> for Parameters<'_, 'de> {
    type Out = ();
    type Error = Malformed;

    fn parameter(&mut self, key: &'de KeyRef, value: BareItemFromInput<'de>) -> Result<(), Malformed> {
        self.0.parameter(key, value)
    }

    fn finish(self) -> Result<(), Malformed> {
        Ok(())
    }
}

/// `Signature` while it is read.
struct Found<'l> {
    label: &'l str,
    bytes: Option<Vec<u8>>,
}

impl<'de> DictionaryVisitor<'de> for &mut Found<'_> {
    type Out = ();
    type Error = Malformed;

    fn entry(&mut self, key: &'de KeyRef) -> Result<impl EntryVisitor<'de>, Malformed> {
        if key.as_str() != self.label || self.bytes.is_some() {
            return Err(Malformed("Signature has another label than Signature-Input"));
        }
        Ok(Value(&mut self.bytes))
    }

    fn finish(self) -> Result<(), Malformed> {
        Ok(())
    }
}

struct Value<'a>(&'a mut Option<Vec<u8>>);

impl<'de> EntryVisitor<'de> for Value<'_> {
    type Error = Malformed;

    fn item(self) -> Result<impl ItemVisitor<'de>, Malformed> {
        Ok(self)
    }

    fn inner_list(self) -> Result<impl InnerListVisitor<'de>, Malformed> {
        Err::<Ignored, _>(Malformed("Signature holds a list"))
    }
}

impl<'de> ItemVisitor<'de> for Value<'_> {
    type Out = ();
    type Error = Malformed;

    fn bare_item(self, item: BareItemFromInput<'de>) -> Result<impl ParameterVisitor<'de, Out = ()>, Malformed> {
        let BareItemFromInput::ByteSequence(bytes) = item else {
            return Err(Malformed("a signature is not a byte sequence"));
        };
        *self.0 = Some(bytes);
        Ok(Ignored)
    }
}
