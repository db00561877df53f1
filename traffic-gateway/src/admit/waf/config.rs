//! `[waf]` and the `waf` of a route, as they are written.

use std::collections::BTreeMap;

use gatehouse_shared::config::ByteSize;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::crs::Value;

/// `[waf]`: rules that look into requests and answers; see docs/WAF.md.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// `off`; `detect`: rules run and what they would have refused is in the security log; `block`: they refuse. A route can
    /// have its own.
    pub mode: Mode,
    /// Files of rules in SecLang, in this order, relative to this directory. A `*` in the last part stands for anything; such
    /// files are read in the order of their names.
    #[schemars(example = ["waf/*.conf"])]
    pub rules: Vec<String>,
    /// Directory of an OWASP Core Rule Set as unpacked, relative to this one; `/usr/share/modsecurity-crs` for Debian's package.
    /// It is read behind `rules`; see docs/COMING_FROM_MODSECURITY.md.
    #[schemars(example = &"crs")]
    pub crs: Option<String>,
    /// Files of rules that are read behind the Core Rule Set, as `rules`.
    #[schemars(example = ["waf/after/*.conf"])]
    pub rules_after: Vec<String>,
    /// Whether the Core Rule Set refuses a request by its head before its body is waited for.
    pub early_blocking: bool,
    /// How much the Core Rule Set writes about scores at the end of a request: 0 (nothing) to 5 (every request). Default: what
    /// the rule set has, 4 (every request that has a score).
    #[schemars(example = 2)]
    pub reporting_level: Option<u8>,
    /// Further `tx` variables that `crs-setup.conf` would set, by name without `tx.`. What that file sets overrides them.
    pub crs_variables: BTreeMap<String, Value>,
    /// Directories of plain lists, one regular expression a line; see docs/PLAIN_LISTS.md.
    pub list: Vec<ListConfig>,
    /// Rules up to this paranoia level refuse: 1 to 4.
    #[schemars(example = 1)]
    pub blocking_paranoia: u8,
    /// Rules up to this paranoia level run and are logged: `blocking_paranoia` to 4. Default: as `blocking_paranoia`.
    #[schemars(example = 2)]
    pub detection_paranoia: Option<u8>,
    /// A request is refused from this anomaly score on; a critical finding counts 5, an error 4, a warning 3, a notice 2.
    #[schemars(example = 5)]
    pub inbound_threshold: u32,
    /// The same for answers.
    #[schemars(example = 4)]
    pub outbound_threshold: u32,
    /// How many of a hundred requests the rules look at: for trying new rules on a part of the traffic. 1 to 100.
    #[schemars(example = 100)]
    pub sampling_percent: u8,
    /// Bounds on request bodies that rules look at.
    pub body: BodyConfig,
    /// What rules may do to answers.
    pub answers: Answers,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            mode: Mode::Block,
            rules: Vec::new(),
            crs: None,
            rules_after: Vec::new(),
            early_blocking: false,
            reporting_level: None,
            crs_variables: BTreeMap::new(),
            list: Vec::new(),
            blocking_paranoia: 1,
            detection_paranoia: None,
            inbound_threshold: 5,
            outbound_threshold: 4,
            sampling_percent: 100,
            body: BodyConfig::default(),
            answers: Answers::default(),
        }
    }
}

/// Whether rules run and whether they refuse.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// They do not run.
    Off,
    /// They run; what they would have refused is in the security log.
    Detect,
    /// They refuse.
    #[default]
    Block,
}

/// What rules may do to answers, whose head is on its way before their body is known.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Answers {
    /// Rules do not look at answers.
    #[default]
    Off,
    /// Rules look at heads and bodies; a head can be replaced by a page, what is found in a body is only logged.
    Detect,
    /// The same, and an answer with a bad body is broken off.
    Abort,
}

/// One `[[waf.list]]`: a directory of plain lists.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ListConfig {
    /// The directory, relative to this one.
    /// How its files are read, their names say: `args`, `cookie`, … without regard to case, `args.rule`, `cookie.rule`, …
    /// letter by letter.
    #[schemars(example = &"wafconf")]
    pub directory: String,
    /// Files that are not read: `args`, `cookie`, `post`, `url`, `user_agent`, `white_url`, `white_ip`, `black_ip`,
    /// `scanner_headers`.
    #[serde(default)]
    #[schemars(example = ["cookie"])]
    pub off: Vec<ListCheck>,
}

/// One check of a plain list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ListCheck {
    /// Arguments of the query.
    Args,
    /// Cookies.
    Cookie,
    /// Request bodies.
    Post,
    /// The target.
    Url,
    /// The User-Agent header.
    UserAgent,
    /// Targets that skip the rules.
    WhiteUrl,
    /// Clients that skip the rules.
    WhiteIp,
    /// Clients that are refused.
    BlackIp,
    /// Headers by which scanners give themselves away.
    ScannerHeaders,
}

/// `[waf.body]`: bounds on request bodies that rules look at.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct BodyConfig {
    /// Longest body that is held back until the rules have seen all of it; bytes of files in a form do not count, see docs/WAF.md.
    /// A route can have its own. 1KiB to 64MiB.
    #[schemars(example = "128KiB")]
    pub max: ByteSize,
    /// What happens to longer ones of the types that rules look at: all but images, sounds, films, fonts, archives, PDF,
    /// Protobuf, gRPC and other data that no interpreter reads as text. A route can have its own.
    pub beyond: Beyond,
    /// Memory for all bodies together that are held back: a request whose body finds none left gets 503. At least `max`.
    #[schemars(example = "256MiB")]
    pub held_max: ByteSize,
    /// Most arguments of a target, and of a body, leaves of JSON included: 10 to 100000.
    #[schemars(example = 10000)]
    pub arguments: u32,
    /// Deepest nesting of JSON and XML: 4 to 1000.
    #[schemars(example = 64)]
    pub depth: u32,
    /// Most parts of a multipart body: 1 to 10000.
    #[schemars(example = 200)]
    pub parts: u32,
}

impl Default for BodyConfig {
    fn default() -> Self {
        Self {
            max: ByteSize::kib(128),
            beyond: Beyond::default(),
            held_max: ByteSize::mib(256),
            arguments: 10_000,
            depth: 64,
            parts: 200,
        }
    }
}

/// What happens to a body that is too long to be held back.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Beyond {
    /// It is refused with 413. Long files of a form go on while they are looked at.
    #[default]
    Reject,
    /// Its beginning is looked at, the rest passes; a metric counts it.
    InspectPrefix,
    /// Bodies pass without being looked at, however short.
    Stream,
}

/// The `waf` of a `[[route]]`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RouteConfig {
    /// Instead of the mode of `[waf]`.
    pub mode: Option<Mode>,
    /// Instead of `beyond` of `[waf.body]`.
    pub body_beyond: Option<Beyond>,
    /// Instead of `max` of `[waf.body]`: more where long documents are sent.
    #[schemars(example = "16MiB")]
    pub body_max: Option<ByteSize>,
}
