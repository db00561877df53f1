//! Transformations: what is done to a value before it is compared.
//!
//! Rules name them with `t:`; one file here holds one of them or one family. All read bytes that attackers choose: each
//! is linear in the length of the value, none panics, and the longest result is three times as long as the value.
//!
//! Where implementations of the language differ, ours follows the published test vectors, and beyond them whichever
//! reading hides less from the rules.

mod base64;
mod best_fit;
mod case;
mod command_line;
mod comments;
mod css;
mod digest;
mod escape;
mod escape_sequence;
mod hex;
mod html;
mod javascript;
mod length;
mod nulls;
mod parity;
mod path;
mod url;
mod utf8;
mod whitespace;

#[cfg(test)]
mod tests;
#[cfg(test)]
pub(crate) use tests::vector_bytes;

pub(crate) use hex::pair as hex_pair;

/// Whether a transformation made something new of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Changed {
    /// Nothing was written; the value stands as it is.
    No,
    /// The output holds the new value.
    Yes,
}

/// Declares the transformations with the names rules use.
macro_rules! transformations {
    ($($(#[doc = $meaning:literal])+ $variant:ident = $name:literal => $apply:path),+ $(,)?) => {
        /// A transformation, by the name rules use.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Transformation { $($(#[doc = $meaning])+ $variant),+ }

        impl Transformation {
            /// All of them, in the order of their names.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The name as it is written in rules.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),+ }
            }

            /// What it does, with an example where that says more.
            #[must_use]
            pub fn meaning(self) -> &'static str {
                match self { $(Self::$variant => concat!($($meaning),+).trim_ascii()),+ }
            }

            /// Transforms `value` into `out`, which is cleared first.
            ///
            /// With [`Changed::No`] nothing was written and nothing was allocated, unless the value had to be worked
            /// through to find that out (`normalizePath` and `normalizePathWin` of a path with dots).
            pub fn apply(self, value: &[u8], out: &mut Vec<u8>) -> Changed {
                out.clear();
                match self { $(Self::$variant => $apply(value, out)),+ }
            }
        }
    };
}

transformations! {
    /// Base64 up to the first byte that is none: `VGVzdA==` → `Test`.
    Base64Decode = "base64Decode" => base64::decode,
    /// Base64, passing over bytes that are none: `V.GVzdA==` → `Test`.
    Base64DecodeExt = "base64DecodeExt" => base64::decode_forgiving,
    /// Into base64 with padding: `Test` → `VGVzdA==`.
    Base64Encode = "base64Encode" => base64::encode,
    /// What a command shell makes of a line: `C^MD,/c  Dir` → `cmd/c dir`.
    CmdLine = "cmdLine" => command_line::cmd_line,
    /// Runs of white space to one space.
    CompressWhitespace = "compressWhitespace" => whitespace::compress,
    /// Escapes of CSS: `ja\76ascript` → `javascript`.
    CssDecode = "cssDecode" => css::decode,
    /// Escapes of ANSI C: `\x41\n` → `A` and a line feed.
    EscapeSeqDecode = "escapeSeqDecode" => escape_sequence::decode,
    /// Pairs of hexadecimal digits: `54657374` → `Test`.
    HexDecode = "hexDecode" => hex::decode,
    /// Into pairs of hexadecimal digits: `Test` → `54657374`.
    HexEncode = "hexEncode" => hex::encode,
    /// Character references of HTML: `&lt;&#x61;` → `<a`.
    HtmlEntityDecode = "htmlEntityDecode" => html::decode,
    /// Escapes of JavaScript: `\x3c\u0061` → `<a`.
    JsDecode = "jsDecode" => javascript::decode,
    /// The length in bytes, as a decimal number.
    Length = "length" => length::length,
    /// ASCII letters to lower case.
    Lowercase = "lowercase" => case::lower,
    /// The MD5 digest, 16 raw bytes.
    Md5 = "md5" => digest::md5,
    /// A path without `.`, `..` and doubled slashes: `/a/./b//../c` → `/a/c`.
    NormalizePath = "normalizePath" => path::normalize,
    /// The same after turning backslashes into slashes.
    NormalizePathWin = "normalizePathWin" => path::normalize_windows,
    /// Bit 8 of each byte makes its parity even.
    ParityEven7Bit = "parityEven7bit" => parity::even,
    /// Bit 8 of each byte makes its parity odd.
    ParityOdd7Bit = "parityOdd7bit" => parity::odd,
    /// Bit 8 of each byte is zero.
    ParityZero7Bit = "parityZero7bit" => parity::zero,
    /// Comments away: `a/* b */c` → `ac`.
    RemoveComments = "removeComments" => comments::remove,
    /// The marks of comments away, their text stays: `a/*b*/c` → `abc`.
    RemoveCommentsChar = "removeCommentsChar" => comments::remove_marks,
    /// NUL bytes away.
    RemoveNulls = "removeNulls" => nulls::remove,
    /// White space away.
    RemoveWhitespace = "removeWhitespace" => whitespace::remove,
    /// Each comment to one space: `a/* b */c` → `a c`.
    ReplaceComments = "replaceComments" => comments::replace,
    /// NUL bytes to spaces.
    ReplaceNulls = "replaceNulls" => nulls::replace,
    /// The SHA-1 digest, 20 raw bytes.
    Sha1 = "sha1" => digest::sha1,
    /// Hexadecimal strings of SQL: `0x414243` → `ABC`.
    SqlHexDecode = "sqlHexDecode" => hex::decode_sql,
    /// White space away at both ends.
    Trim = "trim" => whitespace::trim,
    /// White space away at the beginning.
    TrimLeft = "trimLeft" => whitespace::trim_left,
    /// White space away at the end.
    TrimRight = "trimRight" => whitespace::trim_right,
    /// ASCII letters to upper case.
    Uppercase = "uppercase" => case::upper,
    /// Percent-encoding of forms: `a+b%3c` → `a b<`.
    UrlDecode = "urlDecode" => url::decode,
    /// The same, and `%uHHHH`: `%u0041%uff1c` → `A<`.
    UrlDecodeUni = "urlDecodeUni" => url::decode_unicode,
    /// Into percent-encoding: `a b` → `a+b`.
    UrlEncode = "urlEncode" => url::encode,
    /// UTF-8 sequences into `%uHHHH`: `é` → `%u00e9`.
    Utf8ToUnicode = "utf8toUnicode" => utf8::to_unicode,
}

impl Transformation {
    /// Finds a name, without regard to case. `normalisePath` and `normalisePathWin` are known as well.
    #[must_use]
    pub fn find(name: &str) -> Option<Self> {
        if name.eq_ignore_ascii_case("normalisePath") {
            return Some(Self::NormalizePath);
        }
        if name.eq_ignore_ascii_case("normalisePathWin") {
            return Some(Self::NormalizePathWin);
        }
        Self::ALL.iter().copied().find(|known| known.name().eq_ignore_ascii_case(name))
    }
}
