//! The files of both layouts, and what each looks at.

use super::ListOptions;
use crate::seclang::ast::{Selector, Target, TargetKind, Toggle, Variable, XPath};

/// The two well-known ways to name the files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// `wafconf/`: files without an ending; caseless, the dot matches a line feed.
    WafConf,
    /// `rule-config/`: files that end in `.rule`; case-sensitive, the dot does not match a line feed.
    RuleConfig,
}

impl Layout {
    /// What stands before each expression, so that it means what its layout says whatever the operator's defaults are.
    pub(super) const fn flags(self) -> &'static str {
        match self {
            Self::WafConf => "(?is)",
            Self::RuleConfig => "(?-is)",
        }
    }
}

/// The kinds of lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    WhiteIp,
    BlackIp,
    WhiteUrl,
    UserAgent,
    Url,
    Args,
    Cookie,
    Post,
}

/// All kinds, in the order in which the reference programs look at them.
pub(super) const LISTS: [Kind; 8] =
    [Kind::WhiteIp, Kind::BlackIp, Kind::WhiteUrl, Kind::UserAgent, Kind::Url, Kind::Args, Kind::Cookie, Kind::Post];

impl Kind {
    /// The name of its file.
    pub(super) const fn file(self, layout: Layout) -> Option<&'static str> {
        Some(match (layout, self) {
            (Layout::WafConf, Self::WhiteIp | Self::BlackIp) => return None,
            (Layout::WafConf, Self::WhiteUrl) => "whiteurl",
            (Layout::WafConf, Self::UserAgent) => "user-agent",
            (Layout::WafConf, Self::Url) => "url",
            (Layout::WafConf, Self::Args) => "args",
            (Layout::WafConf, Self::Cookie) => "cookie",
            (Layout::WafConf, Self::Post) => "post",
            (Layout::RuleConfig, Self::WhiteIp) => "whiteip.rule",
            (Layout::RuleConfig, Self::BlackIp) => "blackip.rule",
            (Layout::RuleConfig, Self::WhiteUrl) => "whiteurl.rule",
            (Layout::RuleConfig, Self::UserAgent) => "useragent.rule",
            (Layout::RuleConfig, Self::Url) => "url.rule",
            (Layout::RuleConfig, Self::Args) => "args.rule",
            (Layout::RuleConfig, Self::Cookie) => "cookie.rule",
            (Layout::RuleConfig, Self::Post) => "post.rule",
        })
    }

    /// Whether it is to be read.
    pub(super) fn is_on(self, options: &ListOptions) -> bool {
        let toggle = match self {
            Self::WhiteIp => options.white_ip,
            Self::BlackIp => options.black_ip,
            Self::WhiteUrl => options.white_url,
            Self::UserAgent => options.user_agent,
            Self::Url => options.url,
            Self::Args => options.args,
            Self::Cookie => options.cookie,
            Self::Post => options.post,
        };
        toggle == Toggle::On
    }

    /// Its place among the ranges of ids; 0 is taken by the rules that no line stands for.
    pub(super) const fn range(self) -> u32 {
        match self {
            Self::WhiteIp => 1,
            Self::BlackIp => 2,
            Self::WhiteUrl => 3,
            Self::UserAgent => 4,
            Self::Url => 5,
            Self::Args => 6,
            Self::Cookie => 7,
            Self::Post => 8,
        }
    }

    /// What the logs of the reference programs call a denial by it.
    pub(super) const fn attack_method(self) -> &'static str {
        match self {
            Self::WhiteIp | Self::WhiteUrl => "White_IP",
            Self::BlackIp => "BlackList_IP",
            Self::UserAgent => "Deny_USER_AGENT",
            Self::Url => "Deny_URL",
            Self::Args | Self::Post => "Deny_URL_Args",
            Self::Cookie => "Deny_Cookie",
        }
    }

    /// The phase in which all of its targets are there.
    pub(super) const fn phase(self) -> u8 {
        match self {
            Self::Post => 2,
            _ => 1,
        }
    }

    /// What its lines are compared with.
    pub(super) fn targets(self) -> Vec<Target> {
        let xml = |path| target(Variable::Xml, Some(Selector::XPath(path)));
        match self {
            Self::WhiteIp | Self::BlackIp => vec![target(Variable::RemoteAddr, None)],
            Self::WhiteUrl => vec![target(Variable::RequestFilename, None)],
            Self::UserAgent => vec![header("User-Agent")],
            Self::Url => vec![target(Variable::RequestUriRaw, None)],
            Self::Args => vec![target(Variable::ArgsGet, None), target(Variable::ArgsGetNames, None)],
            Self::Cookie => vec![header("Cookie")],
            Self::Post => vec![
                target(Variable::ArgsPost, None),
                target(Variable::ArgsPostNames, None),
                target(Variable::Files, None),
                xml(XPath::Text),
                xml(XPath::Attributes),
            ],
        }
    }
}

/// A target that is written nowhere.
pub(super) fn target(variable: Variable, selector: Option<Selector>) -> Target {
    Target { position: Default::default(), kind: TargetKind::Include, variable, selector }
}

/// A header of the request.
pub(super) fn header(name: &str) -> Target {
    target(Variable::RequestHeaders, Some(Selector::Name(name.to_owned())))
}
