//! Transformations: what is done to a value before it is compared.

/// Declares the transformations with the names rules use.
macro_rules! transformations {
    ($($variant:ident = $name:literal),+ $(,)?) => {
        /// A transformation, by the name rules use.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[expect(missing_docs, reason = "each variant is the name of the language")]
        pub enum Transformation { $($variant),+ }

        impl Transformation {
            /// All of them, in the order of their names.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The name as it is written in rules.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),+ }
            }
        }
    };
}

transformations! {
    Base64Decode = "base64Decode",
    Base64DecodeExt = "base64DecodeExt",
    Base64Encode = "base64Encode",
    CmdLine = "cmdLine",
    CompressWhitespace = "compressWhitespace",
    CssDecode = "cssDecode",
    EscapeSeqDecode = "escapeSeqDecode",
    HexDecode = "hexDecode",
    HexEncode = "hexEncode",
    HtmlEntityDecode = "htmlEntityDecode",
    JsDecode = "jsDecode",
    Length = "length",
    Lowercase = "lowercase",
    Md5 = "md5",
    NormalizePath = "normalizePath",
    NormalizePathWin = "normalizePathWin",
    ParityEven7Bit = "parityEven7bit",
    ParityOdd7Bit = "parityOdd7bit",
    ParityZero7Bit = "parityZero7bit",
    RemoveComments = "removeComments",
    RemoveCommentsChar = "removeCommentsChar",
    RemoveNulls = "removeNulls",
    RemoveWhitespace = "removeWhitespace",
    ReplaceComments = "replaceComments",
    ReplaceNulls = "replaceNulls",
    Sha1 = "sha1",
    SqlHexDecode = "sqlHexDecode",
    Trim = "trim",
    TrimLeft = "trimLeft",
    TrimRight = "trimRight",
    Uppercase = "uppercase",
    UrlDecode = "urlDecode",
    UrlDecodeUni = "urlDecodeUni",
    UrlEncode = "urlEncode",
    Utf8ToUnicode = "utf8toUnicode",
}

impl Transformation {
    /// Finds a name, without regard to case.
    #[must_use]
    pub fn find(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|known| known.name().eq_ignore_ascii_case(name))
    }
}
