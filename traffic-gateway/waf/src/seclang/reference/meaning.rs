//! What names mean, one sentence each.

use crate::seclang::ast::{OperatorKind, Variable};

/// What a directive does; nothing for one that does not exist.
pub(super) fn directive(name: &str) -> &'static str {
    match name {
        "Include" => {
            "Reads another file here, or all files that fit `DIR/*.conf`, sorted by name. Relative to the file it stands in."
        }
        "IncludeOptional" => "The same; nothing that fits is no mistake.",
        "SecRule" => "`SecRule TARGETS \"OPERATOR\" \"ACTIONS\"`: a rule.",
        "SecAction" => "`SecAction \"ACTIONS\"`: a rule that always matches.",
        "SecMarker" => "A place for `skipAfter`.",
        "SecDefaultAction" => {
            "What rules of a phase do unless they say otherwise, and what `block` means: a phase, a decision, `status`, `tag`, `log`, `auditlog`. Once for each phase."
        }
        "SecRuleRemoveById" => "Takes rules away: numbers and ranges (`1000-1999`).",
        "SecRuleRemoveByTag" => "Takes rules away by a regular expression for one of their tags.",
        "SecRuleRemoveByMsg" => "Takes rules away by a regular expression for their message.",
        "SecRuleUpdateTargetById" => "Adds targets to rules; `!ARGS:name` takes one away.",
        "SecRuleUpdateTargetByTag" => "The same, by a regular expression for one of their tags.",
        "SecRuleUpdateTargetByMsg" => "The same, by a regular expression for their message.",
        "SecRuleUpdateActionById" => "Gives a rule other actions; not `id`, `phase` and `chain`.",
        "SecComponentSignature" => "How a set of rules calls itself.",
        "SecRuleEngine" => {
            "`On`, `DetectionOnly` or `Off` for all rules. `mode` of `[waf]` or of the route can only make it less."
        }
        "SecRequestBodyAccess" => "`On` or `Off`: whether rules see request bodies. Default `On`.",
        "SecResponseBodyAccess" => {
            "`On` or `Off`: whether rules see bodies of answers. Default: whether `answers` of `[waf]` is on; with `answers = \"off\"` nothing is looked at, whatever this says."
        }
        "SecRequestBodyLimit" => {
            "Bytes of a request body, files included. Default: what `[waf.body]` and the route allow."
        }
        "SecRequestBodyNoFilesLimit" => {
            "Bytes of a request body that are read into values, without the content of files. Default: the longest `max` of `[waf.body]` and of the routes."
        }
        "SecRequestBodyLimitAction" => {
            "`Reject` (413) or `ProcessPartial` for a body longer than `SecRequestBodyLimit`. Default `ProcessPartial`: `beyond` decides."
        }
        "SecRequestBodyJsonDepthLimit" => "Levels of JSON and XML. Default: `depth` of `[waf.body]`.",
        "SecResponseBodyLimit" => "Bytes of an answer that rules see. Default 524288.",
        "SecResponseBodyLimitAction" => "`Reject` or `ProcessPartial` for longer answers. Default `ProcessPartial`.",
        "SecResponseBodyMimeType" => {
            "Adds types of answers whose bodies rules see. Default `text/plain text/html text/xml`."
        }
        "SecResponseBodyMimeTypesClear" => "Forgets the types so far.",
        "SecArgumentsLimit" => {
            "Arguments of a target, and of a body, leaves of JSON included. Default: `arguments` of `[waf.body]`."
        }
        "SecArgumentSeparator" => "The character between two arguments. Default `&`.",
        "SecCollectionTimeout" => "Accepted without effect: nothing is kept from one transaction to the next.",
        _ => "",
    }
}

/// What a variable holds.
pub(super) fn variable(variable: Variable) -> &'static str {
    request(variable).or_else(|| body(variable)).or_else(|| response(variable)).unwrap_or_else(|| others(variable))
}

fn request(variable: Variable) -> Option<&'static str> {
    Some(match variable {
        Variable::Args => "Values of all arguments, of the query and of the body, decoded once.",
        Variable::ArgsCombinedSize => "Bytes of all names and values of arguments together.",
        Variable::ArgsGet => "Values of the arguments of the query, decoded once.",
        Variable::ArgsGetNames => "Their names.",
        Variable::ArgsNames => "Names of all arguments.",
        Variable::ArgsPost => "Values of the arguments of the body, decoded once: fields of forms, leaves of JSON.",
        Variable::ArgsPostNames => {
            "Their names. A leaf of JSON is named by its path: `json.user.name`, `json.items.array_0.id`."
        }
        Variable::QueryString => "The query as sent, without `?`.",
        Variable::RequestBasename => "The last part of the path, decoded once.",
        Variable::RequestCookies => "Values of cookies, as sent.",
        Variable::RequestCookiesNames => "Their names.",
        Variable::RequestFilename => "The path, decoded once, without the query.",
        Variable::RequestHeaders => "Values of headers. Over HTTP/2 the authority is `Host`.",
        Variable::RequestHeadersNames => "Their names.",
        Variable::RequestLine => "Method, target as sent and protocol.",
        Variable::RequestMethod => "The method.",
        Variable::RequestProtocol => "`HTTP/1.1` or `HTTP/2.0`.",
        Variable::RequestUri => "Path and query, decoded once.",
        Variable::RequestUriRaw => "The target as sent.",
        Variable::RemoteAddr => "The address of the client, as trusted proxies name it.",
        Variable::RemoteHost => "The same: verdicts do not wait for a name server.",
        Variable::RemotePort => "The port of the client.",
        Variable::ServerAddr => "The address the client connected to.",
        Variable::ServerName => "The host asked for, without port.",
        Variable::ServerPort => "The port the client connected to.",
        Variable::UniqueId => "The request id.",
        Variable::UrlencodedError => {
            "1 when a `%` in the query or in a form is not followed by two hexadecimal digits."
        }
        Variable::InboundDataError => {
            "1 when not all of the request could be looked at: a body longer than its limit, too many arguments, too many variables."
        }
        Variable::FullRequestLength => "Bytes of the request line, the headers and the body.",
        _ => return None,
    })
}

fn body(variable: Variable) -> Option<&'static str> {
    Some(match variable {
        Variable::Files => "File names of a multipart body as the client names them; a member is chosen by the field.",
        Variable::FilesCombinedSize => "Bytes of all files.",
        Variable::FilesContent => {
            "Gatehouse's own: what is in the files, 16 KiB at a time, each beginning with the last 1 KiB of the one before. Only in the first rule of a chain, phase 2, without `!` and references in its operator."
        }
        Variable::FilesNames => "The fields that hold files.",
        Variable::FilesSizes => "Bytes of each file.",
        Variable::MultipartBoundaryQuoted => "1 when the boundary stands in quotes.",
        Variable::MultipartBoundaryWhitespace => "1 when there is white space around the boundary.",
        Variable::MultipartDataAfter => "1 when something follows the last boundary.",
        Variable::MultipartDataBefore => "1 when something stands before the first boundary.",
        Variable::MultipartFilename => "As `FILES`.",
        Variable::MultipartFileLimitExceeded => "1 when there are more parts than `parts` of `[waf.body]`.",
        Variable::MultipartHeaderFolding => "1 when a header of a part goes on in another line.",
        Variable::MultipartInvalidHeaderFolding => "1 when a line goes on before there is any header.",
        Variable::MultipartInvalidPart => "1 when a header of a part has no colon or no name, or a byte no header has.",
        Variable::MultipartInvalidQuoting => {
            "1 when single quotes, a quote without end or a backslash before a quote stand in the header of a part."
        }
        Variable::MultipartLfLine => "1 when a line ends with LF alone.",
        Variable::MultipartMissingSemicolon => "1 when a semicolon is missing between parameters.",
        Variable::MultipartName => "As `FILES_NAMES`.",
        Variable::MultipartPartHeaders => "Header lines of the parts; a member is chosen by the field.",
        Variable::MultipartStrictError => {
            "1 when a multipart body is malformed or has an oddity: those of the other variables but a quoted or an unmatched boundary, also `filename*` and unknown parameters."
        }
        Variable::MultipartUnmatchedBoundary => "1 when a part holds what looks like the boundary of another body.",
        Variable::ReqbodyError => {
            "1 when the body, the query or the cookies could not be read completely: malformed, too deep, too many."
        }
        Variable::ReqbodyErrorMsg => "Why.",
        Variable::ReqbodyProcessor => "Who reads the body: `URLENCODED`, `MULTIPART`, `JSON`, `XML`, or nothing.",
        Variable::ReqbodyProcessorError => "As `REQBODY_ERROR`.",
        Variable::RequestBody => {
            "The bytes of a form, and of a body that nobody reads; of others with `ctl:forceRequestBodyVariable=On`."
        }
        Variable::RequestBodyLength => "Bytes of the body.",
        Variable::Xml => "`XML:/*`: texts of all elements; `XML://@*`: values of all attributes. No other expressions.",
        Variable::XmlDoctype => {
            "Gatehouse's own: what stands in `<!DOCTYPE …>`, declarations of entities included, as sent."
        }
        _ => return None,
    })
}

fn response(variable: Variable) -> Option<&'static str> {
    Some(match variable {
        Variable::OutboundDataError => "1 when not all of the answer's body was looked at.",
        Variable::ResponseBody => "The body of the answer.",
        Variable::ResponseContentLength => "Bytes of the body that came.",
        Variable::ResponseContentType => "The media type of the answer.",
        Variable::ResponseHeaders => "Values of the headers of the answer.",
        Variable::ResponseHeadersNames => "Their names.",
        Variable::ResponseProtocol => "The protocol of the answer.",
        Variable::ResponseStatus => "The status of the answer.",
        Variable::StatusLine => "Protocol, status and reason.",
        _ => return None,
    })
}

fn others(variable: Variable) -> &'static str {
    match variable {
        Variable::Duration => "Milliseconds since the request began; known in phase 5.",
        Variable::Env => "A verdict depends on the rules alone; remove the target.",
        Variable::Geo => "Always empty: rules ask no other service. A rule that needs it and can run does not load.",
        Variable::Global | Variable::Ip | Variable::Resource | Variable::Session | Variable::User => {
            "Always empty: nothing is kept from one transaction to the next. Rules that need it and can run do not load."
        }
        Variable::HighestSeverity => "The gravest severity of the rules that matched, 0 to 7; 255 without one.",
        Variable::MatchedVar => "The value that the rule matched last.",
        Variable::MatchedVars => "All values that the chain has matched so far.",
        Variable::MatchedVarsNames => "Their names, such as `ARGS:id`.",
        Variable::MatchedVarName => "The name of the value that the rule matched last.",
        Variable::Rule => "This rule: `RULE:id`, `severity`, `rev`, `ver`, `msg`, `logdata`.",
        Variable::Time => "`hours:minutes:seconds` in UTC, as all variables of time.",
        Variable::TimeDay => "Day of the month, 1 to 31.",
        Variable::TimeEpoch => "Seconds since 1970.",
        Variable::TimeHour => "Hour, 0 to 23.",
        Variable::TimeMin => "Minute, 0 to 59.",
        Variable::TimeMon => "Month, 0 to 11.",
        Variable::TimeSec => "Second, 0 to 59.",
        Variable::TimeWday => "Day of the week; Sunday is 0.",
        Variable::TimeYear => "Year.",
        Variable::Tx => "Variables of this transaction, set with `setvar`; `TX:0` to `TX:9` with `capture`.",
        _ => "",
    }
}

/// What an operator compares.
pub(super) fn operator(kind: OperatorKind) -> &'static str {
    match kind {
        OperatorKind::BeginsWith => "a value that begins with the argument",
        OperatorKind::Contains => "a value that holds the argument",
        OperatorKind::ContainsWord => "the same, with no letter, digit or underscore next to it",
        OperatorKind::DetectSqli => "SQL injection, by the fingerprints of libinjection; `%{TX.0}` is the fingerprint",
        OperatorKind::DetectXss => "script in HTML, as libinjection finds it",
        OperatorKind::EndsWith => "a value that ends with the argument",
        OperatorKind::Eq => "an equal number",
        OperatorKind::Ge => "the same or a larger number",
        OperatorKind::GeoLookup | OperatorKind::Rbl => {
            "nothing: rules ask no other service; a rule with it that can run does not load"
        }
        OperatorKind::Gt => "a larger number",
        OperatorKind::IpMatch => "an address in one of the networks: `192.0.2.7,198.51.100.0/24,2001:db8::/32`",
        OperatorKind::IpMatchFromFile => "the same; the networks stand in files, `#` begins a comment",
        OperatorKind::Le => "the same or a smaller number",
        OperatorKind::Lt => "a smaller number",
        OperatorKind::NoMatch => "nothing",
        OperatorKind::Pm => {
            "a value that holds one of the phrases, whatever the case; blanks separate them, `|41 0a|` writes bytes"
        }
        OperatorKind::PmFromFile => "the same; one phrase a line in files, `#` begins a comment",
        OperatorKind::Rx => {
            "a regular expression over bytes, found anywhere; the dot matches a line feed; look-around and back-references have their bounds"
        }
        OperatorKind::Streq => "the same text",
        OperatorKind::Strmatch => "as `@contains`",
        OperatorKind::UnconditionalMatch => "everything",
        OperatorKind::ValidateByteRange => "a value with a byte outside of `9,10,13,32-126`",
        OperatorKind::ValidateUrlEncoding => "a value with a `%` that two hexadecimal digits do not follow",
        OperatorKind::ValidateUtf8Encoding => "a value that is not UTF-8",
        OperatorKind::Within => "a value that stands somewhere in the argument",
        OperatorKind::DetectCommand => "text that a shell would take for a command of its own",
        OperatorKind::DetectCode => "source code that an interpreter on the server would run",
        OperatorKind::DetectTraversal => "a path that climbs out of its place, or names a file that attackers ask for",
        OperatorKind::DetectInclusion => "a place to load code or data from that a file name does not have",
        OperatorKind::DetectSsrf => "a URL that would make the server call where only the server can call",
        OperatorKind::DetectTemplate => "an expression that a template engine on the server would evaluate",
        OperatorKind::DetectJndi => "a lookup by name that a logging library would carry out",
        OperatorKind::DetectXxe => "XML that makes its reader fetch or expand something",
        OperatorKind::DetectDeserialization => "an object in the native format of a language",
        OperatorKind::DetectNosql => "operators and script of document databases where a plain value belongs",
        OperatorKind::DetectLdap => "text that closes its part of an LDAP filter and opens another",
        OperatorKind::DetectXpath => "text that breaks out of a string of an XPath expression",
        OperatorKind::DetectPrototypePollution => {
            "a path of keys into the prototype that all objects of JavaScript share"
        }
        OperatorKind::DetectResponseSplitting => "a line break that ends one header and begins another",
        OperatorKind::DetectSql => "text that leaves its place in an SQL statement and goes on as SQL",
        OperatorKind::DetectScript => "text a browser would run script from, wherever a page puts it",
    }
}

/// What an action does; nothing for one that does not exist.
pub(super) fn action(name: &str) -> &'static str {
    match name {
        "id" => "The number of the rule. Every rule has one, but for links of a chain.",
        "phase" => {
            "1: head of the request; 2 (`request`): with its body, default; 3: head of the answer; 4 (`response`): with its body; 5 (`logging`): afterwards, cannot refuse."
        }
        "msg" => "What the security log says; may hold `%{…}`.",
        "logdata" => "More of it.",
        "tag" => "A tag, any number of them; for the log, and for directives and `ctl` that choose rules by tag.",
        "severity" => "`EMERGENCY` (0), `ALERT`, `CRITICAL`, `ERROR`, `WARNING`, `NOTICE`, `INFO`, `DEBUG` (7).",
        "rev" => "Its revision, for `RULE:rev`.",
        "ver" => "Its version, for `RULE:ver`.",
        "maturity" => "1 to 9; without effect.",
        "accuracy" => "1 to 9; without effect.",
        "t" => "A transformation of the value before it is compared; in the order written.",
        "multiMatch" => "Compares before and after every transformation that changes the value.",
        "capture" => "Keeps what `@rx`, `@pm` and the grammars found, in `TX:0` to `TX:9`.",
        "chain" => "The next rule belongs to this one; the actions of the first count when all match.",
        "skip" => "Leaves out the next rules, as many as it says.",
        "skipAfter" => "Goes on behind a `SecMarker`.",
        "pass" => "Goes on.",
        "deny" => "Refuses with `status`, default 403.",
        "drop" => "Answers nothing and closes; over HTTP/2 the stream.",
        "block" => "What `SecDefaultAction` says for its phase.",
        "redirect" => "Refuses with a redirect; 302 unless `status` is 300 to 399.",
        "allow" => {
            "Ends the rules for the request and its answer but for phase 5; `allow:request`: for the request, `allow:phase`: for this phase."
        }
        "status" => "The status of a refusal, 100 to 599.",
        "log" => "The match is in the security log if the request is; default.",
        "nolog" => "It is not.",
        "auditlog" | "noauditlog" => "Accepted; the security log is configured in `[security_log]`.",
        "setvar" => {
            "`tx.name=value`, `tx.name=+5`, `tx.name=-1`, `tx.name` (1), `!tx.name` (away); may hold `%{…}`. Done at once for each value that matches."
        }
        "ctl" => "See below.",
        "initcol" => "Opens a collection that is always empty: nothing is kept from one transaction to the next.",
        "expirevar" => "When a member of such a collection ends.",
        _ => "",
    }
}

/// What a flag of `ctl` does; nothing for one that does not exist.
pub(super) fn control(name: &str) -> &'static str {
    match name {
        "ruleEngine" => "`On`, `DetectionOnly` or `Off`. `On` refuses nothing where the mode is `detect`.",
        "ruleRemoveById" => "Leaves out rules: a number, a range, or several.",
        "ruleRemoveByTag" => "By a regular expression for one of their tags.",
        "ruleRemoveByMsg" => "By a regular expression for their message.",
        "ruleRemoveTargetById" => "`1000;ARGS:name`: takes a target away from rules.",
        "ruleRemoveTargetByTag" => "The same, by a regular expression for one of their tags.",
        "ruleRemoveTargetByMsg" => "The same, by a regular expression for their message.",
        "requestBodyProcessor" => "`URLENCODED`, `MULTIPART`, `JSON` or `XML`: who reads the body; in phase 1.",
        "forceRequestBodyVariable" => "`On`: `REQUEST_BODY` is there, whoever reads the body; in phase 1.",
        "requestBodyAccess" => "`On` or `Off`, in phase 1.",
        "responseBodyAccess" => "`On` or `Off`, in phase 3 at the latest.",
        "auditEngine" => "`On`, `Off` or `RelevantOnly`: accepted; the security log is configured in `[security_log]`.",
        "auditLogParts" => "Accepted without effect.",
        _ => "",
    }
}
