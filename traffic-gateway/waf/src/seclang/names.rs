//! Names of the language: what is close to a wrong one, and which ones Gatehouse leaves out, with the reason.

use super::diagnostic::{Problem, shown};

/// Longest word that is compared with known names. The longest known name has 31 letters.
const MAX_COMPARED: usize = 40;

/// A name that exists elsewhere: name, and why it is left out and what to do instead.
pub(super) type Unsupported = (&'static str, &'static str);

/// The problem of a name that was not found: left out on purpose, or unknown.
pub(super) fn not_found(
    what: &'static str,
    found: &str,
    known: impl Iterator<Item = &'static str>,
    unsupported: &'static [Unsupported],
) -> Problem {
    match unsupported.iter().find(|(name, _)| name.eq_ignore_ascii_case(found)) {
        Some((name, instead)) => Problem::Unsupported { what, name, instead },
        None => Problem::Unknown { what, found: shown(found), nearest: nearest(found, known) },
    }
}

/// The known name with the fewest edits, when a third of the word or less has to change.
pub(super) fn nearest(found: &str, known: impl Iterator<Item = &'static str>) -> Option<&'static str> {
    if found.is_empty() || found.len() > MAX_COMPARED {
        return None;
    }
    let found = found.to_ascii_lowercase();
    let allowed = (found.len() / 3).max(1);
    known
        .map(|name| (distance(found.as_bytes(), name.to_ascii_lowercase().as_bytes()), name))
        .filter(|(edits, _)| *edits <= allowed)
        .min_by_key(|(edits, _)| *edits)
        .map(|(_, name)| name)
}

/// Letters to insert, remove or replace to get from one word to the other (Levenshtein).
fn distance(from: &[u8], to: &[u8]) -> usize {
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (index, a) in from.iter().enumerate() {
        let mut diagonal = index;
        let mut left = index + 1;
        for (cell, b) in row.iter_mut().skip(1).zip(to) {
            let replaced = diagonal + usize::from(a != b);
            diagonal = *cell;
            left = replaced.min(*cell + 1).min(left + 1);
            *cell = left;
        }
        if let Some(first) = row.first_mut() {
            *first = index + 1;
        }
    }
    row.last().copied().unwrap_or_default()
}

pub(crate) const PERSISTENT: &str = "nothing is kept from one transaction to the next here; count with a [[limit]] of the edge, and use tx. within a \
                          transaction";
const NO_PROGRAMS: &str =
    "rules start no programs and scripts; write the check as rules, or put a service behind the gateway";
const NO_UPLOADS: &str = "uploads are inspected while they pass and never stored; remove the line";
pub(crate) const NO_LOOKUP: &str = "rules ask no other service while a request waits; use the access lists of the edge";
const NO_CHANGES: &str = "rules judge and change nothing; change headers and bodies in the service";
const NO_CHECKSUMS: &str = "validators of account numbers are not part of this engine; use @rx";

/// Directives of other engines that are left out.
pub(super) const DIRECTIVES: &[Unsupported] = &[
    ("SecRuleScript", NO_PROGRAMS),
    ("SecUploadKeepFiles", NO_UPLOADS),
    ("SecTmpSaveUploadedFiles", NO_UPLOADS),
    ("SecGeoLookupDb", NO_LOOKUP),
    ("SecGsbLookupDb", NO_LOOKUP),
    ("SecHttpBlKey", NO_LOOKUP),
    ("SecGuardianLog", NO_PROGRAMS),
    ("SecRemoteRules", "rules are read from files only; fetch them with what deploys the configuration"),
    ("SecRemoteRulesFailAction", "rules are read from files only; remove the line"),
    ("SecContentInjection", NO_CHANGES),
    ("SecStreamInBodyInspection", "bodies are inspected as they stream without it; use REQUEST_BODY"),
    ("SecStreamOutBodyInspection", "bodies are inspected as they stream without it; use RESPONSE_BODY"),
    ("SecHashEngine", NO_CHANGES),
    ("SecHashKey", NO_CHANGES),
    ("SecHashParam", NO_CHANGES),
    ("SecHashMethodRx", NO_CHANGES),
    ("SecHashMethodPm", NO_CHANGES),
    ("SecRulePerfTime", "the cost of rules is reported by `rules report`; remove the line"),
    ("SecRuleInheritance", "there is one set of rules for all routes; remove the line"),
    ("SecConnEngine", "connections are limited by the edge; see [accept] in its configuration"),
    ("SecConnReadStateLimit", "connections are limited by the edge; see [accept] in its configuration"),
    ("SecConnWriteStateLimit", "connections are limited by the edge; see [accept] in its configuration"),
    ("SecReadStateLimit", "connections are limited by the edge; see [accept] in its configuration"),
    ("SecWriteStateLimit", "connections are limited by the edge; see [accept] in its configuration"),
    (
        "SecDisableBackendCompression",
        "services are asked for plain answers where rules look at answers; remove the line",
    ),
    ("SecChrootDir", "start the program confined instead; remove the line"),
    ("SecServerSignature", "rules change no answers; set the header `server` in the service"),
    ("SecParseXmlIntoArgs", "texts and attributes of XML are in XML:/* and XML://@*; name these targets"),
    ("SecDataset", "write the words into a file and name it with @pmFromFile or @ipMatchFromFile"),
    ("SecIgnoreRuleCompilationErrors", "a rule that does not compile is an error, always; repair or remove the rule"),
    ("<IfModule", "sections of a server's configuration are not read; remove the line and the one that closes it"),
    ("<IfDefine", "sections of a server's configuration are not read; remove the line and the one that closes it"),
    (
        "<Location",
        "sections of a server's configuration are not read; compare REQUEST_FILENAME in a rule, or set the mode of the route",
    ),
    (
        "<LocationMatch",
        "sections of a server's configuration are not read; compare REQUEST_FILENAME in a rule, or set the mode of the route",
    ),
    ("</IfModule>", "sections of a server's configuration are not read; remove the line"),
    ("</IfDefine>", "sections of a server's configuration are not read; remove the line"),
    ("</Location>", "sections of a server's configuration are not read; remove the line"),
    ("</LocationMatch>", "sections of a server's configuration are not read; remove the line"),
];

/// Directives whose work Gatehouse does elsewhere: accepted without effect, with a warning.
pub(super) const IGNORED: &[&str] = &[
    "SecAuditEngine",
    "SecAuditLog",
    "SecAuditLog2",
    "SecAuditLogDir",
    "SecAuditLogDirMode",
    "SecAuditLogFileMode",
    "SecAuditLogFormat",
    "SecAuditLogParts",
    "SecAuditLogPrefix",
    "SecAuditLogRelevantStatus",
    "SecAuditLogStorageDir",
    "SecAuditLogType",
    "SecCacheTransformations",
    "SecCookieFormat",
    "SecCookieV0Separator",
    "SecDataDir",
    "SecDebugLog",
    "SecDebugLogLevel",
    "SecInterceptOnError",
    "SecPcreMatchLimit",
    "SecPcreMatchLimitRecursion",
    "SecRequestBodyInMemoryLimit",
    "SecSensorId",
    "SecStatusEngine",
    "SecTmpDir",
    "SecUnicodeCodePage",
    "SecUnicodeMapFile",
    "SecUploadDir",
    "SecUploadFileLimit",
    "SecUploadFileMode",
    "SecWebAppId",
    "SecXmlExternalEntity",
];

/// Variables of other engines that are left out.
pub(super) const VARIABLES: &[Unsupported] = &[
    ("SESSIONID", PERSISTENT),
    ("USERID", PERSISTENT),
    ("AUTH_TYPE", "who a caller is, is decided behind the rules; use REQUEST_HEADERS:Authorization"),
    ("REMOTE_USER", "who a caller is, is decided behind the rules; use REQUEST_HEADERS:Authorization"),
    ("PATH_INFO", "a gateway runs no scripts; use REQUEST_FILENAME"),
    ("SCRIPT_BASENAME", "a gateway runs no scripts; use REQUEST_BASENAME"),
    ("SCRIPT_FILENAME", "a gateway runs no scripts; use REQUEST_FILENAME"),
    ("SCRIPT_GID", "a gateway runs no scripts; remove the target"),
    ("SCRIPT_GROUPNAME", "a gateway runs no scripts; remove the target"),
    ("SCRIPT_MODE", "a gateway runs no scripts; remove the target"),
    ("SCRIPT_UID", "a gateway runs no scripts; remove the target"),
    ("SCRIPT_USERNAME", "a gateway runs no scripts; remove the target"),
    ("FILES_TMPNAMES", "uploads are never stored; use FILES and REQUEST_BODY"),
    ("FILES_TMP_CONTENT", "uploads are never stored; use FILES and REQUEST_BODY"),
    ("STREAM_INPUT_BODY", "use REQUEST_BODY"),
    ("STREAM_OUTPUT_BODY", "use RESPONSE_BODY"),
    ("MULTIPART_CRLF_LF_LINES", "use MULTIPART_STRICT_ERROR"),
    ("MSC_PCRE_LIMITS_EXCEEDED", "patterns take linear time and have no such limit; remove the target"),
    ("MSC_PCRE_ERROR", "patterns take linear time and never fail; remove the target"),
    ("RX_ERROR", "patterns take linear time and never fail; remove the target"),
    ("WEBSERVER_ERROR_LOG", "rules do not read logs; remove the target"),
    ("WEBAPPID", "there is one set of rules for all routes; remove the target"),
    ("MODSEC_BUILD", "this is another engine; remove the target"),
    ("PERF_ALL", "the cost of rules is reported by `rules report`; remove the target"),
    ("JSON", "the leaves of a JSON body are in ARGS_POST"),
    ("REQUEST_XML", "use XML"),
    ("RESPONSE_XML", "bodies of answers are not parsed; use RESPONSE_BODY"),
    ("RESPONSE_ARGS", "bodies of answers are not parsed; use RESPONSE_BODY"),
    ("ARGS_PATH", "paths have no parameters here; use REQUEST_FILENAME"),
];

/// Operators of other engines that are left out.
pub(super) const OPERATORS: &[Unsupported] = &[
    ("inspectFile", NO_PROGRAMS),
    ("fuzzyHash", NO_PROGRAMS),
    ("gsbLookup", NO_LOOKUP),
    ("rsub", NO_CHANGES),
    ("rxGlobal", "use @rx; capture keeps the first match"),
    ("validateDTD", "use @detectXxe, and validate documents in the service itself"),
    ("validateSchema", "validate documents in the service itself"),
    ("validateHash", NO_CHANGES),
    ("verifyCC", NO_CHECKSUMS),
    ("verifyCPF", NO_CHECKSUMS),
    ("verifySSN", NO_CHECKSUMS),
    ("verifySVNR", NO_CHECKSUMS),
    ("validateNid", NO_CHECKSUMS),
    ("restpath", "use @rx on REQUEST_FILENAME"),
    ("pmFromDataset", "write the words into a file and use @pmFromFile"),
    ("ipMatchFromDataset", "write the networks into a file and use @ipMatchFromFile"),
];

/// Actions of other engines that are left out.
pub(super) const ACTIONS: &[Unsupported] = &[
    ("exec", NO_PROGRAMS),
    ("deprecatevar", PERSISTENT),
    ("setsid", PERSISTENT),
    ("setuid", PERSISTENT),
    ("setrsc", PERSISTENT),
    ("setenv", "there is no environment to set; use setvar:tx."),
    ("proxy", "send calls elsewhere with a route; use deny or redirect"),
    ("pause", "a request that waits costs the gateway more than the client; use a [[limit]] of the edge"),
    ("append", NO_CHANGES),
    ("prepend", NO_CHANGES),
    (
        "sanitiseArg",
        "the security log shows of credentials a digest alone and masks nothing else; use nolog, and protect the log",
    ),
    (
        "sanitiseMatched",
        "the security log shows of credentials a digest alone and masks nothing else; use nolog, and protect the log",
    ),
    (
        "sanitiseMatchedBytes",
        "the security log shows of credentials a digest alone and masks nothing else; use nolog, and protect the log",
    ),
    (
        "sanitiseRequestHeader",
        "the security log shows of credentials a digest alone and masks nothing else; use nolog, and protect the log",
    ),
    (
        "sanitiseResponseHeader",
        "the security log shows of credentials a digest alone and masks nothing else; use nolog, and protect the log",
    ),
    ("xmlns", "XML:/* and XML://@* need no name spaces; remove the action"),
];

/// Flags of `ctl` of other engines that are left out.
pub(super) const CONTROLS: &[Unsupported] = &[
    ("debugLogLevel", "use `rules explain` to see what a request matches"),
    ("hashEngine", NO_CHANGES),
    ("hashEnforcement", NO_CHANGES),
    ("requestBodyLimit", "use `body_max` of the route"),
    ("responseBodyLimit", "use SecResponseBodyLimit"),
    ("parseXmlIntoArgs", "texts and attributes of XML are in XML:/* and XML://@*; name these targets"),
];
