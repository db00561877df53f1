//! What a rule file says, as written: directives with their positions, nothing resolved yet.
//!
//! The parser builds these, the plain lists build the same ones, and `compile` turns them into a
//! [`RuleSet`](crate::RuleSet). Every name is already one that exists: an unknown directive, variable, operator,
//! transformation or action never becomes a value of these types.

use std::ops::RangeInclusive;
use std::sync::Arc;

use crate::transform::Transformation;

/// A place in a rule file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// Index of the file in [`Program::sources`].
    pub source: u32,
    /// Line, counted from 1.
    pub line: u32,
    /// Column in characters, counted from 1.
    pub column: u32,
}

/// A file rules were read from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// The path as it was given or included.
    pub name: Arc<str>,
}

/// Rule files in the order in which they were read.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Program {
    /// The files; positions point into this list.
    pub sources: Vec<Source>,
    /// The directives of all files, in order.
    pub directives: Vec<Directive>,
}

/// One directive.
#[derive(Clone, Debug, PartialEq)]
pub struct Directive {
    /// Where its name begins.
    pub position: Position,
    /// What it is.
    pub kind: DirectiveKind,
}

/// The kinds of directives.
#[derive(Clone, Debug, PartialEq)]
pub enum DirectiveKind {
    /// `SecRule`, also one link of a chain.
    Rule(Rule),
    /// `SecAction`: a rule that always matches.
    Action(Vec<Action>),
    /// `SecMarker`: where `skipAfter` leads.
    Marker(String),
    /// `SecDefaultAction`.
    DefaultAction(Vec<Action>),
    /// `SecRuleRemoveById`, `…ByTag`, `…ByMsg`.
    Remove(Selection),
    /// `SecRuleUpdateTargetById`, `…ByTag`, `…ByMsg`.
    UpdateTarget(Selection, Vec<Target>),
    /// `SecRuleUpdateActionById`.
    UpdateAction(u32, Vec<Action>),
    /// `SecComponentSignature`.
    ComponentSignature(String),
    /// One of the directives that set something for the whole transaction.
    Setting(Setting),
}

/// Which rules are meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selection {
    /// By number; a range includes both ends.
    Ids(Vec<RangeInclusive<u32>>),
    /// By a tag, as a regular expression.
    Tag(String),
    /// By the message, as a regular expression.
    Message(String),
}

/// Directives that set something for the whole transaction.
#[derive(Clone, Debug, PartialEq)]
pub enum Setting {
    /// `SecRuleEngine On | Off | DetectionOnly`.
    Engine(EngineMode),
    /// `SecRequestBodyAccess`.
    RequestBodyAccess(Toggle),
    /// `SecResponseBodyAccess`.
    ResponseBodyAccess(Toggle),
    /// `SecRequestBodyLimit`, in bytes.
    RequestBodyLimit(u64),
    /// `SecRequestBodyNoFilesLimit`, in bytes.
    RequestBodyNoFilesLimit(u64),
    /// `SecRequestBodyLimitAction Reject | ProcessPartial`.
    RequestBodyLimitAction(LimitAction),
    /// `SecRequestBodyJsonDepthLimit`, in levels.
    RequestBodyJsonDepthLimit(u32),
    /// `SecResponseBodyLimit`, in bytes.
    ResponseBodyLimit(u64),
    /// `SecResponseBodyLimitAction`.
    ResponseBodyLimitAction(LimitAction),
    /// `SecResponseBodyMimeType`: adds to the types whose bodies are looked at. An empty list
    /// (`SecResponseBodyMimeTypesClear`) forgets those so far.
    ResponseBodyMimeType(Vec<String>),
    /// `SecArgumentsLimit`: arguments, keys and leaves that are looked at in one request.
    ArgumentsLimit(u32),
    /// `SecArgumentSeparator`: the byte between two arguments.
    ArgumentSeparator(u8),
    /// `SecCollectionTimeout`, in seconds. Accepted without effect: there are no persistent collections.
    CollectionTimeout(u32),
    /// A directive of logging or storage whose work Gatehouse does elsewhere, accepted without effect and counted as
    /// such by `rules check`: its name.
    Ignored(&'static str),
}

/// `On` or `Off`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Toggle {
    /// `On`.
    On,
    /// `Off`.
    Off,
}

/// Whether rules run, and whether their verdicts count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EngineMode {
    /// Rules do not run.
    Off,
    /// Rules run and are logged, nothing is refused.
    DetectionOnly,
    /// Rules run and refuse.
    On,
}

/// What happens when a body is longer than its limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LimitAction {
    /// The request is refused.
    Reject,
    /// What is within the limit is looked at.
    ProcessPartial,
}

/// `SecRule TARGETS OPERATOR [ACTIONS]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Rule {
    /// What is looked at. Never empty.
    pub targets: Vec<Target>,
    /// What it is compared with.
    pub operator: Operator,
    /// What follows from a match, in the order written.
    pub actions: Vec<Action>,
}

/// One of the targets of a rule.
#[derive(Clone, Debug, PartialEq)]
pub struct Target {
    /// Where it is written.
    pub position: Position,
    /// Whether values are added, taken away or counted.
    pub kind: TargetKind,
    /// The variable or collection.
    pub variable: Variable,
    /// Which members of a collection; all of them without it.
    pub selector: Option<Selector>,
}

/// The prefix of a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TargetKind {
    /// No prefix.
    Include,
    /// `!`.
    Exclude,
    /// `&`.
    Count,
}

/// What follows the colon of a target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selector {
    /// A name, compared without regard to case.
    Name(String),
    /// A regular expression between slashes.
    Regex(String),
    /// An XPath expression. Only `/*` (all text) and `//@*` (all attribute values) exist.
    XPath(XPath),
}

/// The two expressions over XML.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum XPath {
    /// `/*`: the text of all elements.
    Text,
    /// `//@*`: the values of all attributes.
    Attributes,
}

/// `[!]@name argument`.
#[derive(Clone, Debug, PartialEq)]
pub struct Operator {
    /// Where the operator begins, inside its quotes.
    pub position: Position,
    /// Whether it matches when the comparison does not.
    pub negated: bool,
    /// Which comparison.
    pub kind: OperatorKind,
    /// The argument as written, unescaped from the quotes of the directive. For `@pmFromFile` and `@ipMatchFromFile`
    /// the names of the files.
    pub argument: Text,
}

/// One action. Actions keep their order, since `setvar` and transformations depend on it.
#[derive(Clone, Debug, PartialEq)]
pub struct Action {
    /// Where it is written.
    pub position: Position,
    /// What it does.
    pub kind: ActionKind,
}

/// The kinds of actions.
#[derive(Clone, Debug, PartialEq)]
pub enum ActionKind {
    /// `id`.
    Id(u32),
    /// `phase`, 1 to 5 (`request` is 2, `response` is 4, `logging` is 5).
    Phase(u8),
    /// `msg`.
    Message(Text),
    /// `logdata`.
    LogData(Text),
    /// `tag`.
    Tag(Text),
    /// `severity`, 0 (emergency) to 7 (debug).
    Severity(u8),
    /// `rev`.
    Revision(String),
    /// `ver`.
    Version(String),
    /// `maturity`, 1 to 9.
    Maturity(u8),
    /// `accuracy`, 1 to 9.
    Accuracy(u8),
    /// `t:NAME`.
    Transform(Transformation),
    /// `t:none`: forget the transformations so far.
    TransformNone,
    /// `multiMatch`: compare after every transformation.
    MultiMatch,
    /// `capture`: keep the groups of a match in `TX.0` to `TX.9`.
    Capture,
    /// `chain`: the next rule belongs to this one.
    Chain,
    /// `skip`: leave out the next so many rules.
    Skip(u32),
    /// `skipAfter`: go on behind this marker.
    SkipAfter(String),
    /// `pass`.
    Pass,
    /// `deny`.
    Deny,
    /// `drop`.
    Drop,
    /// `block`: what `SecDefaultAction` says.
    Block,
    /// `redirect`.
    Redirect(Text),
    /// `allow`.
    Allow(AllowScope),
    /// `status`.
    Status(u16),
    /// `log` or `nolog`.
    Log(Toggle),
    /// `auditlog` or `noauditlog`.
    AuditLog(Toggle),
    /// `setvar` of a member of `TX`.
    SetVariable(SetVariable),
    /// `setvar` of a member of a collection that would be kept; see [`Variable::is_kept`].
    SetKept(Variable, SetVariable),
    /// `expirevar` of such a member: its name as written, and after how many seconds.
    ExpireKept(Variable, Text, Text),
    /// `ctl`.
    Control(Control),
}

/// How far `allow` goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AllowScope {
    /// `allow`: the rest of the transaction, but for phase 5.
    Transaction,
    /// `allow:phase`.
    Phase,
    /// `allow:request`: the phases of the request.
    Request,
}

/// `setvar:[!]COLLECTION.NAME[=[+|-]VALUE]`.
#[derive(Clone, Debug, PartialEq)]
pub struct SetVariable {
    /// Name within its collection, lower case; may hold references.
    pub name: Text,
    /// What is done.
    pub change: Change,
}

/// What `setvar` does to a variable.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// Takes the variable away.
    Unset,
    /// Sets it.
    Set(Text),
    /// Adds a number.
    Add(Text),
    /// Takes a number away.
    Subtract(Text),
}

/// `ctl`: a setting for the rest of this transaction.
#[derive(Clone, Debug, PartialEq)]
pub enum Control {
    /// `ruleEngine`.
    RuleEngine(EngineMode),
    /// `ruleRemoveById`, `…ByTag`, `…ByMsg`.
    Remove(Selection),
    /// `ruleRemoveTargetById`, `…ByTag`, `…ByMsg`.
    RemoveTarget(Selection, Target),
    /// `requestBodyProcessor`.
    BodyProcessor(BodyProcessor),
    /// `forceRequestBodyVariable`.
    ForceRequestBodyVariable(Toggle),
    /// `requestBodyAccess`.
    RequestBodyAccess(Toggle),
    /// `responseBodyAccess`.
    ResponseBodyAccess(Toggle),
    /// `auditEngine`: whether the transaction is written to the audit log. `RelevantOnly` is read as `DetectionOnly`.
    AuditEngine(EngineMode),
    /// `auditLogParts`, accepted without effect.
    AuditLogParts,
}

/// Who reads a request body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BodyProcessor {
    /// `application/x-www-form-urlencoded`.
    UrlEncoded,
    /// `multipart/form-data`.
    Multipart,
    /// `application/json` and its relatives.
    Json,
    /// `text/xml` and its relatives.
    Xml,
}

/// Text that may hold references such as `%{TX.score}`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Text {
    /// Its pieces; plain text is one piece, empty text none.
    pub pieces: Vec<Piece>,
}

/// A piece of a [`Text`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// As it stands.
    Plain(String),
    /// `%{VARIABLE}` or `%{VARIABLE.member}`.
    Reference(Variable, Option<String>),
}

impl Text {
    /// The text when it holds no reference.
    #[must_use]
    pub fn plain(&self) -> Option<&str> {
        match self.pieces.as_slice() {
            [] => Some(""),
            [Piece::Plain(text)] => Some(text),
            _ => None,
        }
    }
}

impl From<&str> for Text {
    fn from(text: &str) -> Self {
        let pieces = if text.is_empty() { Vec::new() } else { vec![Piece::Plain(text.to_owned())] };
        Self { pieces }
    }
}

/// Declares an enum whose variants have the names of the language.
macro_rules! names {
    ($(#[$outer:meta])* $name:ident { $($variant:ident = $text:literal),+ $(,)? }) => {
        $(#[$outer])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[expect(missing_docs, reason = "each variant is the name of the language, whose reference is docs/RULES_REFERENCE.md")]
        pub enum $name { $($variant),+ }

        impl $name {
            /// All of them, in the order of their declaration.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The name as it is written in rules.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $text),+ }
            }

            /// Finds a name, without regard to case.
            #[must_use]
            pub fn find(name: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|known| known.name().eq_ignore_ascii_case(name))
            }
        }
    };
}

names! {
    /// Variables and collections a rule can look at.
    Variable {
        Args = "ARGS",
        ArgsCombinedSize = "ARGS_COMBINED_SIZE",
        ArgsGet = "ARGS_GET",
        ArgsGetNames = "ARGS_GET_NAMES",
        ArgsNames = "ARGS_NAMES",
        ArgsPost = "ARGS_POST",
        ArgsPostNames = "ARGS_POST_NAMES",
        Duration = "DURATION",
        Env = "ENV",
        Files = "FILES",
        FilesCombinedSize = "FILES_COMBINED_SIZE",
        FilesContent = "FILES_CONTENT",
        FilesNames = "FILES_NAMES",
        FilesSizes = "FILES_SIZES",
        FullRequestLength = "FULL_REQUEST_LENGTH",
        Geo = "GEO",
        Global = "GLOBAL",
        HighestSeverity = "HIGHEST_SEVERITY",
        InboundDataError = "INBOUND_DATA_ERROR",
        Ip = "IP",
        MatchedVar = "MATCHED_VAR",
        MatchedVars = "MATCHED_VARS",
        MatchedVarsNames = "MATCHED_VARS_NAMES",
        MatchedVarName = "MATCHED_VAR_NAME",
        MultipartBoundaryQuoted = "MULTIPART_BOUNDARY_QUOTED",
        MultipartBoundaryWhitespace = "MULTIPART_BOUNDARY_WHITESPACE",
        MultipartDataAfter = "MULTIPART_DATA_AFTER",
        MultipartDataBefore = "MULTIPART_DATA_BEFORE",
        MultipartFilename = "MULTIPART_FILENAME",
        MultipartFileLimitExceeded = "MULTIPART_FILE_LIMIT_EXCEEDED",
        MultipartHeaderFolding = "MULTIPART_HEADER_FOLDING",
        MultipartInvalidHeaderFolding = "MULTIPART_INVALID_HEADER_FOLDING",
        MultipartInvalidPart = "MULTIPART_INVALID_PART",
        MultipartInvalidQuoting = "MULTIPART_INVALID_QUOTING",
        MultipartLfLine = "MULTIPART_LF_LINE",
        MultipartMissingSemicolon = "MULTIPART_MISSING_SEMICOLON",
        MultipartName = "MULTIPART_NAME",
        MultipartPartHeaders = "MULTIPART_PART_HEADERS",
        MultipartStrictError = "MULTIPART_STRICT_ERROR",
        MultipartUnmatchedBoundary = "MULTIPART_UNMATCHED_BOUNDARY",
        OutboundDataError = "OUTBOUND_DATA_ERROR",
        QueryString = "QUERY_STRING",
        RemoteAddr = "REMOTE_ADDR",
        RemoteHost = "REMOTE_HOST",
        RemotePort = "REMOTE_PORT",
        ReqbodyError = "REQBODY_ERROR",
        ReqbodyErrorMsg = "REQBODY_ERROR_MSG",
        ReqbodyProcessor = "REQBODY_PROCESSOR",
        ReqbodyProcessorError = "REQBODY_PROCESSOR_ERROR",
        RequestBasename = "REQUEST_BASENAME",
        RequestBody = "REQUEST_BODY",
        RequestBodyLength = "REQUEST_BODY_LENGTH",
        RequestCookies = "REQUEST_COOKIES",
        RequestCookiesNames = "REQUEST_COOKIES_NAMES",
        RequestFilename = "REQUEST_FILENAME",
        RequestHeaders = "REQUEST_HEADERS",
        RequestHeadersNames = "REQUEST_HEADERS_NAMES",
        RequestLine = "REQUEST_LINE",
        RequestMethod = "REQUEST_METHOD",
        RequestProtocol = "REQUEST_PROTOCOL",
        RequestUri = "REQUEST_URI",
        RequestUriRaw = "REQUEST_URI_RAW",
        Resource = "RESOURCE",
        ResponseBody = "RESPONSE_BODY",
        ResponseContentLength = "RESPONSE_CONTENT_LENGTH",
        ResponseContentType = "RESPONSE_CONTENT_TYPE",
        ResponseHeaders = "RESPONSE_HEADERS",
        ResponseHeadersNames = "RESPONSE_HEADERS_NAMES",
        ResponseProtocol = "RESPONSE_PROTOCOL",
        ResponseStatus = "RESPONSE_STATUS",
        Rule = "RULE",
        ServerAddr = "SERVER_ADDR",
        ServerName = "SERVER_NAME",
        ServerPort = "SERVER_PORT",
        Session = "SESSION",
        StatusLine = "STATUS_LINE",
        Time = "TIME",
        TimeDay = "TIME_DAY",
        TimeEpoch = "TIME_EPOCH",
        TimeHour = "TIME_HOUR",
        TimeMin = "TIME_MIN",
        TimeMon = "TIME_MON",
        TimeSec = "TIME_SEC",
        TimeWday = "TIME_WDAY",
        TimeYear = "TIME_YEAR",
        Tx = "TX",
        UniqueId = "UNIQUE_ID",
        UrlencodedError = "URLENCODED_ERROR",
        User = "USER",
        Xml = "XML",
        XmlDoctype = "XML_DOCTYPE",
    }
}

names! {
    /// Operators. Those from `DetectCommand` on are Gatehouse's own; the others mean what they mean everywhere.
    OperatorKind {
        BeginsWith = "beginsWith",
        Contains = "contains",
        ContainsWord = "containsWord",
        DetectSqli = "detectSQLi",
        DetectXss = "detectXSS",
        EndsWith = "endsWith",
        Eq = "eq",
        Ge = "ge",
        GeoLookup = "geoLookup",
        Gt = "gt",
        IpMatch = "ipMatch",
        IpMatchFromFile = "ipMatchFromFile",
        Le = "le",
        Lt = "lt",
        NoMatch = "noMatch",
        Pm = "pm",
        PmFromFile = "pmFromFile",
        Rbl = "rbl",
        Rx = "rx",
        Streq = "streq",
        Strmatch = "strmatch",
        UnconditionalMatch = "unconditionalMatch",
        ValidateByteRange = "validateByteRange",
        ValidateUrlEncoding = "validateUrlEncoding",
        ValidateUtf8Encoding = "validateUtf8Encoding",
        Within = "within",
        DetectCommand = "detectCommand",
        DetectCode = "detectCode",
        DetectTraversal = "detectTraversal",
        DetectInclusion = "detectInclusion",
        DetectSsrf = "detectSsrf",
        DetectTemplate = "detectTemplate",
        DetectJndi = "detectJndi",
        DetectXxe = "detectXxe",
        DetectDeserialization = "detectDeserialization",
        DetectNosql = "detectNosql",
        DetectLdap = "detectLdap",
        DetectXpath = "detectXpath",
        DetectPrototypePollution = "detectPrototypePollution",
        DetectResponseSplitting = "detectResponseSplitting",
        DetectSql = "detectSql",
        DetectScript = "detectScript",
    }
}
