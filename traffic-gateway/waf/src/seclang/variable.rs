//! What kinds of variables there are.

use super::ast::Variable;

impl Variable {
    /// Whether it has members that a selector can choose from.
    #[must_use]
    pub const fn is_collection(self) -> bool {
        matches!(
            self,
            Self::Args
                | Self::ArgsGet
                | Self::ArgsGetNames
                | Self::ArgsNames
                | Self::ArgsPost
                | Self::ArgsPostNames
                | Self::Env
                | Self::Files
                | Self::FilesContent
                | Self::FilesNames
                | Self::FilesSizes
                | Self::Geo
                | Self::Global
                | Self::Ip
                | Self::MatchedVars
                | Self::MatchedVarsNames
                | Self::MultipartFilename
                | Self::MultipartName
                | Self::MultipartPartHeaders
                | Self::RequestCookies
                | Self::RequestCookiesNames
                | Self::RequestHeaders
                | Self::RequestHeadersNames
                | Self::Resource
                | Self::ResponseHeaders
                | Self::ResponseHeadersNames
                | Self::Rule
                | Self::Session
                | Self::Tx
                | Self::User
                | Self::Xml
        )
    }

    /// Whether it would be kept from one transaction to the next. Nothing is: such a collection is always empty, and
    /// rules that need it do not load.
    #[must_use]
    pub const fn is_kept(self) -> bool {
        matches!(self, Self::Global | Self::Ip | Self::Resource | Self::Session | Self::User)
    }
}
