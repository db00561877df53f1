//! Why the edge refuses.

use super::super::Reason;
use super::{catalogue, sub_code};

catalogue! {
    "Malformed or ambiguous messages (edge)" {
        REQUEST_LINE_INVALID = "request_line_invalid", 400, "Malformed request line",
            "The request line is not `METHOD SP TARGET SP VERSION` with single spaces.",
            "Send a request line by RFC 9112, section 3.";
        BARE_LINE_FEED = "bare_line_feed", 400, "Bare line feed",
            "A line of the head ends with a line feed that no carriage return precedes.",
            "End every line with CR LF.";
        BARE_CARRIAGE_RETURN = "bare_carriage_return", 400, "Bare carriage return",
            "A line of the head contains a carriage return that no line feed follows.",
            "End every line with CR LF.";
        LEADING_EMPTY_LINES = "leading_empty_lines", 400, "Empty lines before the request",
            "An empty line precedes the request line.",
            "Start with the request line.";
        CONTROL_BYTE = "control_byte", 400, "Control byte in the head",
            "The head contains a NUL or another control byte.",
            "Remove control bytes from the target and the header values.";
        HEADER_INVALID = "header_invalid", 400, "Malformed header",
            "A header cannot be passed on as it is.",
            "Send headers as `Name: value`.";
        HEADER_COLON_MISSING = "header_colon_missing", 400, "Header without a colon",
            "A header line has no colon.",
            "Send headers as `Name: value`.";
        HEADER_SPACE_BEFORE_COLON = "header_space_before_colon", 400, "White space before the colon",
            "White space stands between a header name and its colon, which parsers read in different ways.",
            "Send headers as `Name: value`.";
        HEADER_FOLDED = "header_folded", 400, "Folded header",
            "A header continues on the next line (obs-fold).",
            "Send each header on one line.";
        HEADER_NAME_INVALID = "header_name_invalid", 400, "Invalid header name",
            "A header name is empty or contains characters outside the token characters of HTTP.",
            "Use letters, digits and hyphens.";
        HEADER_NAME_UNDERSCORE = "header_name_underscore", 400, "Underscore in a header name",
            "A header name contains `_`, which many servers cannot tell from `-`.",
            "Use hyphens, or set `header_underscores = true` in the edge configuration.";
        HEADER_VALUE_PADDED = "header_value_padded", 400, "White space around a value",
            "A header value begins or ends with white space on HTTP/2, where none may stand.",
            "Remove it.";
        HEADER_REPEATED = "header_repeated", 400, "Repeated header",
            "A header that may appear only once appears again.",
            "Send it once.";
        CONNECTION_OPTION_INVALID = "connection_option_invalid", 400, "Invalid Connection option",
            "`Connection` names a header that is not hop-by-hop, so that the next hop would lose it.",
            "Name only hop-by-hop headers in `Connection`.";
        FRAMING_CONFLICT = "framing_conflict", 400, "Conflicting body framing",
            "Both Content-Length and Transfer-Encoding are present: a smuggling attempt or a broken client.",
            "Send one of them.";
        TRANSFER_ENCODING_INVALID = "transfer_encoding_invalid", 400, "Invalid Transfer-Encoding",
            "Transfer-Encoding is not exactly `chunked`.",
            "Use `Transfer-Encoding: chunked`.";
        TRANSFER_ENCODING_REPEATED = "transfer_encoding_repeated", 400, "Repeated Transfer-Encoding",
            "Transfer-Encoding appears more than once.",
            "Send it once.";
        TRANSFER_ENCODING_HTTP10 = "transfer_encoding_http10", 400, "Transfer-Encoding on HTTP/1.0",
            "An HTTP/1.0 request has a Transfer-Encoding, a header that HTTP/1.0 does not know.",
            "Use HTTP/1.1, or Content-Length.";
        CONTENT_LENGTH_INVALID = "content_length_invalid", 400, "Invalid Content-Length",
            "Content-Length is not a plain decimal number, has leading zeros or a sign, or is a list.",
            "Send one decimal number.";
        CONTENT_LENGTH_REPEATED = "content_length_repeated", 400, "Repeated Content-Length",
            "Content-Length appears more than once.",
            "Send it once.";
        CONTENT_LENGTH_MISMATCH = "content_length_mismatch", 400, "Body does not match Content-Length",
            "An HTTP/2 body is longer or shorter than its Content-Length says.",
            "Send as many bytes as announced.";
        CHUNK_SIZE_INVALID = "chunk_size_invalid", 400, "Malformed chunk size",
            "A chunk size is not one to sixteen hexadecimal digits, or its line does not end with CR LF.",
            "Send chunks by RFC 9112, section 7.1.";
        CHUNK_EXTENSION_INVALID = "chunk_extension_invalid", 400, "Malformed chunk extension",
            "A chunk extension is not `;name` or `;name=value`, or its line does not end with CR LF.",
            "Leave chunk extensions out.";
        CHUNK_EXTENSION_TOO_LONG = "chunk_extension_too_long", 400, "Chunk extensions too long",
            "The extensions of one chunk, or of all chunks of a body, exceed their cap.",
            "Leave chunk extensions out.";
        CHUNK_DATA_END_INVALID = "chunk_data_end_invalid", 400, "Malformed end of a chunk",
            "The data of a chunk is not followed by CR LF: it is longer or shorter than its size.",
            "Send chunks by RFC 9112, section 7.1.";
        TRAILER_INVALID = "trailer_invalid", 400, "Malformed trailer",
            "A trailer line is not `Name: value`, or does not end with CR LF.",
            "Send trailers like headers.";
        TRAILER_FORBIDDEN = "trailer_forbidden", 400, "Forbidden trailer",
            "A trailer names a field that frames, routes or authenticates the message.",
            "Send it as a header.";
        TRAILERS_TOO_LARGE = "trailers_too_large", 400, "Trailers too large",
            "The trailers exceed their cap.",
            "Send few and small trailers.";
        BODY_INCOMPLETE = "body_incomplete", 400, "Incomplete body",
            "The connection ended before the body did.",
            "Send the whole body before closing.";
        HOST_MISSING = "host_missing", 400, "No Host",
            "There is no Host header (HTTP/2: neither `:authority` nor Host).",
            "Send the host name of the service.";
        HOST_EMPTY = "host_empty", 400, "Empty Host",
            "Host, or the authority of the target, names no host.",
            "Send the host name of the service.";
        HOST_REPEATED = "host_repeated", 400, "Repeated Host",
            "Host appears more than once.",
            "Send it once.";
        HOST_INVALID = "host_invalid", 400, "Invalid Host",
            "Host is not a host name or address with an optional port.",
            "Send `name` or `name:port`.";
        HOST_USER_INFO = "host_user_info", 400, "User info in the authority",
            "Host, or the authority of the target, contains `@`.",
            "Send credentials in the Authorization header.";
        HOST_CONFLICT = "host_conflict", 400, "Host and target disagree",
            "The authority of the target (HTTP/2: `:authority`) and the Host header name different hosts.",
            "Send the same authority in both.";
        TARGET_INVALID = "target_invalid", 400, "Invalid target",
            "The target contains bytes that are not allowed in one, such as quotes, braces or non-ASCII.",
            "Percent-encode the path and the query.";
        TARGET_FORM_INVALID = "target_form_invalid", 400, "Invalid form of target",
            "The target is neither a path, nor an http or https URL, nor `*` of an OPTIONS request.",
            "Send the path and the query only.";
        TARGET_FRAGMENT = "target_fragment", 400, "Fragment in the target",
            "The target contains `#`.",
            "Leave the fragment out; encode a literal `#` as `%23`.";
        HTTP2_REQUEST_INVALID = "http2_request_invalid", 400, "Malformed HTTP/2 request",
            "The frames or fields of an HTTP/2 request break the protocol: a pseudo-header is missing, repeated or unknown, a name or value is malformed, or the body does not match its Content-Length. Its stream was reset.",
            "Use a current HTTP/2 library.";
        HTTP2_CONNECTION_INVALID = "http2_connection_invalid", 400, "Malformed HTTP/2 connection",
            "What came on an HTTP/2 connection breaks the protocol in a way that concerns all its streams. It was closed with GOAWAY.",
            "Use a current HTTP/2 library.";
        HTTP2_TOO_MANY_MALFORMED = "http2_too_many_malformed", 400, "Too many malformed HTTP/2 requests",
            "An HTTP/2 connection carried more malformed requests than it may and was closed.",
            "Use a current HTTP/2 library; operators: see `malformed`.";
        CONNECTION_HEADER_FORBIDDEN = "connection_header_forbidden", 400, "Connection header on HTTP/2",
            "A header of HTTP/1 connections (such as Connection or Upgrade) came over HTTP/2.",
            "Leave it out on HTTP/2.";
        UPGRADE_WITH_BODY = "upgrade_with_body", 400, "Upgrade with a body",
            "An Upgrade request has a body.",
            "Ask for an upgrade without a body.";
    }
    "Paths (edge)" {
        PATH_ENCODING_INVALID = "path_encoding_invalid", 400, "Invalid percent-encoding",
            "A `%` in the path is not followed by two hexadecimal digits.",
            "Encode a literal `%` as `%25`.";
        PATH_OVERLONG_ENCODING = "path_overlong_encoding", 400, "Overlong encoding",
            "The path spells a character in more bytes than UTF-8 needs, which hides it.",
            "Encode the path as UTF-8.";
        PATH_DOUBLE_ENCODED = "path_double_encoded", 400, "Doubly encoded path",
            "The path is percent-encoded twice, which hides what it names.",
            "Encode the path once.";
        PATH_ENCODED_SLASH = "path_encoded_slash", 400, "Encoded slash",
            "The path contains `%2F` or `%5C`, or a backslash.",
            "Use plain slashes, or set `encoded_slash = \"keep\"` in the edge configuration.";
        PATH_NUL = "path_nul", 400, "NUL in the path",
            "The path contains an encoded NUL or another encoded control byte.",
            "Remove it.";
        PATH_ABOVE_ROOT = "path_above_root", 400, "Path above the root",
            "Dot segments of the path lead above the root.",
            "Send a path without `..` beyond the root.";
        PATH_PARAMETER_DOT_SEGMENT = "path_parameter_dot_segment", 400, "Hidden dot segment",
            "A dot segment carries a path parameter, such as `..;x`, which servers read in different ways.",
            "Send a path without it.";
    }
    "Methods and versions (edge)" {
        METHOD_NOT_ALLOWED = "method_not_allowed", 405, "Method not allowed",
            "The method is not in the configured set of the edge.",
            "Use one of the methods in the `Allow` header.";
        METHOD_INVALID = "method_invalid", 400, "Invalid method",
            "The method contains characters that are not allowed in one.",
            "Use a registered method in capital letters.";
        CONNECT_UNSUPPORTED = "connect_unsupported", 405, "CONNECT is not supported",
            "The gateway is no forward proxy.",
            "Send requests for the site itself.";
        VERSION_UNSUPPORTED = "version_unsupported", 505, "HTTP version not supported",
            "The version is not HTTP/1.0, HTTP/1.1 or HTTP/2.",
            "Use HTTP/1.1 or HTTP/2.";
        VERSION_INVALID = "version_invalid", 400, "Malformed HTTP version",
            "The request line does not end with `HTTP/`, a digit, a dot and a digit.",
            "Use HTTP/1.1 or HTTP/2.";
        UPGRADE_UNSUPPORTED = "upgrade_unsupported", 501, "Upgrade is not supported",
            "The request asks for a protocol upgrade, such as WebSocket, which this version does not offer.",
            "Use plain HTTP requests.";
        EXPECTATION_UNSUPPORTED = "expectation_unsupported", 417, "Expectation not supported",
            "`Expect` is something other than `100-continue`.",
            "Remove the header.";
        PROXY_PROTOCOL_INVALID = "proxy_protocol_invalid", 400, "Invalid PROXY protocol",
            "The listener demands a PROXY protocol header and the connection sent none, a malformed one, or came from a source not allowed to send one. The connection is closed without an answer.",
            "Check `proxy_protocol` of the listener and the load balancer in front.";
    }
    "Sizes and times (edge)" {
        HEAD_TIMEOUT = "head_timeout", 408, "Head too slow",
            "The head was not complete in time.",
            "Send the whole head at once; see `head_timeout`.";
        HEAD_TOO_LARGE = "head_too_large", 431, "Head too large",
            "The request line and headers together exceed the cap.",
            "Send fewer or shorter headers (cookies are the usual cause); see `head_max`.";
        TOO_MANY_FIELDS = "too_many_fields", 431, "Too many headers",
            "There are more header fields than the cap; on HTTP/2 every cookie crumb counts.",
            "Send fewer headers; see `fields_max`.";
        TARGET_TOO_LONG = "target_too_long", 414, "Target too long",
            "The target exceeds the cap.",
            "Send long arguments in the body; see `target_max`.";
        BODY_TOO_LARGE = "body_too_large", 413, "Body too large",
            "The body exceeds the cap, announced or sent.",
            "Send less; see `body_max`.";
        BODY_TIMEOUT = "body_timeout", 408, "Body took too long",
            "The body did not arrive within its whole deadline, or paused for too long.",
            "Send without long pauses; see `body_timeout` and `body_idle_timeout`.";
        BODY_TOO_SLOW = "body_too_slow", 408, "Body too slow",
            "The body arrived below the minimum rate.",
            "Use a better connection or smaller requests; see `body_min_rate`.";
        TOO_MANY_CONNECTIONS = "too_many_connections", 503, "Too many connections",
            "The process holds as many connections as it may.",
            "Try again; operators: see `max_connections`.";
        TOO_MANY_CONNECTIONS_OF_CLIENT = "too_many_connections_of_client", 429, "Too many connections from one client",
            "This client address holds as many connections as it may.",
            "Reuse connections; see `connections_per_client`.";
        CONNECTION_RATE_EXCEEDED = "connection_rate_exceeded", 429, "Connections opened too fast",
            "This client address opens more connections in a time than it may. The connection is closed without an answer.",
            "Reuse connections; see `connection_rate`.";
        TOO_MANY_STREAM_RESETS = "too_many_stream_resets", 429, "Too many reset streams",
            "An HTTP/2 connection reset most of its streams early and was closed: the pattern of a rapid-reset attack.",
            "Do not cancel most of the requests you send.";
        TOO_MANY_CONTROL_FRAMES = "too_many_control_frames", 429, "Too many control frames",
            "An HTTP/2 connection carried far more frames without use (settings, pings, resets, empty data) than requests \
             and was closed.",
            "Use a current HTTP/2 library; none sends such numbers by itself.";
        TOO_MANY_REFUSED_STREAMS = "too_many_refused_streams", 429, "Too many refused streams",
            "An HTTP/2 connection kept opening more streams than it may and was closed.",
            "Obey SETTINGS_MAX_CONCURRENT_STREAMS; operators: see `streams`.";
    }
    "Access lists (edge)" {
        NETWORK_DENIED = "network_denied", 403, "Network denied",
            "The client's address belongs to a network on a deny list. Without another `action`, its connections are closed without an answer.",
            "Ask the operators with the request id; operators: the security log names list, file and line.";
        CLIENT_BLOCKED = "client_blocked", 403, "Client blocked",
            "The client's address belongs to a network on the dynamic blocklist. Connections from it are closed without an answer; behind a trusted proxy its requests get this one.",
            "Ask the operators with the request id; operators: `traffic-gateway block list` shows the entry.";
        HOST_DENIED = "host_denied", 403, "Host denied",
            "The host asked for is on a deny list.",
            "Use a host of the service; operators: the security log names list, file and line.";
        METHOD_DENIED = "method_denied", 403, "Method denied",
            "The method is on a deny list.",
            "Use another method; operators: see `methods` of `[access.deny]`.";
        USER_AGENT_DENIED = "user_agent_denied", 403, "User agent denied",
            "The User-Agent header fits a pattern on a deny list.",
            "Ask the operators with the request id; operators: the security log names list, file and line.";
        URL_DENIED = "url_denied", 403, "URL denied",
            "The path and query fit a pattern on a deny list.",
            "Ask the operators with the request id; operators: the security log names list, file and line.";
    }
    "Rules (edge)" {
        WAF_DENIED = "waf_denied", 403, "Request refused",
            "The rules found an attack in the request; a rule can choose another status.",
            "Ask the operators with the request id; operators: the security log names the rules and what they matched, see docs/WAF.md.";
        WAF_ANSWER_DENIED = "waf_answer_denied", 403, "Answer withheld",
            "The rules found something in the answer that must not leave the site.",
            "Operators: the security log names the rules; see `answers` of `[waf]`.";
        WAF_BODY_TOO_LARGE = "waf_body_too_large", 413, "Body too large to be inspected",
            "The body is of a type that rules look at, and longer than what may wait for their verdict.",
            "Send less; operators: see `max` and `beyond` of `[waf.body]`, and `waf` of the route.";
        WAF_MEMORY_FULL = "waf_memory_full", 503, "Too many bodies at once",
            "There is no memory left for bodies that wait for their verdict.",
            "Try again later; operators: see `held_max` of `[waf.body]`.";
    }
    "Limits (edge)" {
        RATE_LIMIT_EXCEEDED = "rate_limit_exceeded", 429, "Too many requests",
            "More was asked for in a time than a limit allows; the security log names the limit.",
            "Wait as long as `Retry-After` says, and slow down; operators: see `[[limit]]` and `[cc]`.";
        CLIENT_BANNED = "client_banned", 429, "Banned for a time",
            "A limit has banned this client, because it went on far above what is allowed.",
            "Wait as long as `Retry-After` says; operators: see `ban` of the limit that the security log names.";
    }
    "Routing and hand-off (edge)" {
        ROUTE_STOPPED = "route_stopped", 503, "Route stopped",
            "Operators have stopped this route for a time, for all clients or for a share of them.",
            "Wait as long as `Retry-After` says; operators: `traffic-gateway route list` shows who did and why.";
        ROUTE_NOT_FOUND = "route_not_found", 404, "No route",
            "No route of the edge matches the host and the path.",
            "Check the host and the path; operators: see `[[route]]`.";
        NO_HEALTHY_UPSTREAM = "no_healthy_upstream", 503, "No business node available",
            "The cluster has no node that can take the request.",
            "Try again; operators: look at `/policy` for the health of the nodes.";
        UPSTREAM_CONNECT_FAILED = "upstream_connect_failed", 502, "Business node unreachable",
            "No connection to a business node could be made, on another node neither.",
            "Try again; operators: check the nodes of the cluster and the network between.";
        UPSTREAM_RESET = "upstream_reset", 502, "Business node gone",
            "The connection to the business node ended before the answer began, and the request could not safely be sent again.",
            "Try again if repeating the request does no harm.";
        UPSTREAM_PROTOCOL_ERROR = "upstream_protocol_error", 502, "Invalid answer from a business node",
            "What the business node sent is not valid HTTP.",
            "Operators: check `protocol` of the cluster and the versions of both tiers.";
        UPSTREAM_TIMEOUT = "upstream_timeout", 504, "Business node too slow",
            "The business node did not answer in time.",
            "Try again later; operators: see `timeout` of the route.";
        DEADLINE_EXCEEDED = "deadline_exceeded", 504, "Out of time",
            "The deadline of the request passed before it could be answered.",
            "Try again later; operators: see `timeout` of the route and of the API.";
    }
}
