//! Why the business tier refuses.

use super::super::Reason;
use super::{catalogue, sub_code};

catalogue! {
    "The hop (business tier)" {
        HOP_MISSING = "hop_missing", 401, "Not through the edge",
            "The request did not come through the edge: it carries no hop header, or more than one.",
            "Send requests to the edge.";
        HOP_MALFORMED = "hop_malformed", 401, "Malformed hop",
            "The hop header is not what this version of the protocol defines.",
            "Operators: check that the business tier is as new as the edge, and at most one protocol version newer.";
        HOP_KEY_UNKNOWN = "hop_key_unknown", 401, "Unknown hop key",
            "The hop is signed with a key this node does not have.",
            "Operators: give the business tier the new key before the edge signs with it.";
        HOP_INVALID = "hop_invalid", 401, "Invalid hop signature",
            "The signature of the hop does not match the request.",
            "Operators: check that both tiers hold the same key, and that nothing between them changes method, host or target.";
        HOP_EXPIRED = "hop_expired", 401, "Expired hop",
            "The hop is too old or from the future.",
            "Operators: synchronise the clocks of both tiers; they may differ by 5 s.";
    }
    "Catalog and services (business tier)" {
        API_NOT_FOUND = "api_not_found", 404, "No such API",
            "No API of the catalog matches the host and the path.",
            "Check the host and the path against the API's documentation.";
        API_METHOD_NOT_ALLOWED = "api_method_not_allowed", 405, "Method not allowed for this API",
            "The path belongs to an API, but not with this method.",
            "Use one of the methods in the `Allow` header.";
        API_NOT_SELECTED = "api_not_selected", 404, "No API for such a call",
            "APIs have this host, path and method, but each takes only some calls, by a version, a header or whatever else they ask for, and this is none of them.",
            "Check what the API's documentation says of versions, headers and parameters; operators: `route explain` shows why.", "isv.no-api-for-call";
        ROUTED_BODY_TOO_LARGE = "routed_body_too_large", 413, "Body too large",
            "Fields of the body decide which API is meant, and the body is too long to be looked at.",
            "Send a shorter body; operators: see `body_max` of `[routing]`.", "isv.body-too-large";
        SERVICE_UNAVAILABLE = "service_unavailable", 503, "Service unavailable",
            "No endpoint of the service can take the request.",
            "Try again; operators: look at `/policy` for the health of the endpoints.";
        SERVICE_BUSY = "service_busy", 503, "Service busy",
            "All connections to the service were in use until the deadline.",
            "Try again later; operators: see `connections_max` of the service.";
        SERVICE_CONNECT_FAILED = "service_connect_failed", 502, "Service unreachable",
            "No connection to the service could be made.",
            "Try again; operators: check the endpoints of the service.";
        SERVICE_RESET = "service_reset", 502, "Service gone",
            "The connection to the service ended before its answer began, and the request could not safely be sent again.",
            "Try again if repeating the request does no harm.";
        SERVICE_PROTOCOL_ERROR = "service_protocol_error", 502, "Invalid answer from the service",
            "What the service sent is not valid HTTP.",
            "Operators: check `protocol` of the service.";
        SERVICE_TIMEOUT = "service_timeout", 504, "Service too slow",
            "The service did not answer in time.",
            "Try again later; operators: see `timeout` of the API and of the service.";
    }
    "Upstream care (business tier)" {
        SERVICE_CIRCUIT_OPEN = "service_circuit_open", 503, "Service out of order",
            "Too many calls of the service failed of late, so for a moment none is sent there.",
            "Try again as late as `Retry-After` says; operators: see `breaker` of the service.", "isp.service-circuit-open";
    }
    "Who calls (business tier)" {
        CREDENTIALS_MISSING = "credentials_missing", 401, "Credentials required",
            "The API is for applications, and the call carries no credentials of any kind that it takes.",
            "Sign the call, or send another credential of your application.", "isv.missing-credentials";
        CREDENTIALS_MALFORMED = "credentials_malformed", 401, "Credentials not understood",
            "The credentials are incomplete, or are not written as their scheme says; `detail` names the part.",
            "Compare with the page on signing; `business-gateway sign` prints a call that is right.", "isv.invalid-credentials-format";
        CREDENTIALS_AMBIGUOUS = "credentials_ambiguous", 401, "Several credentials",
            "The call carries credentials of more than one scheme, so that it is not clear who calls.",
            "Send those of one scheme.", "isv.ambiguous-credentials";
        CREDENTIALS_REFUSED = "credentials_refused", 401, "Credentials refused",
            "The application is not known, or its secret, signature or token is wrong. Which of these it is, is not told.",
            "Check the key and the secret, and what was signed.", "isv.invalid-credentials";
        SIGNATURE_EXPIRED = "signature_expired", 401, "Signature too old or too new",
            "The time in the signature, the timestamp or the token is outside its window.",
            "Set the clock of the caller, and sign each call anew.", "isv.invalid-timestamp";
        SIGNATURE_REPLAYED = "signature_replayed", 401, "Call repeated",
            "The same signed call was taken before.",
            "Sign each call with a nonce of its own.", "isv.replayed-request";
        DIGEST_MISMATCH = "digest_mismatch", 401, "Body does not match its digest",
            "The body is not the one that was signed.",
            "Send the bytes that were signed.", "isv.invalid-content-digest";
        SIGNED_BODY_TOO_LARGE = "signed_body_too_large", 413, "Signed body too large",
            "A body that is signed is held whole until it is checked, and this one is longer than the API allows.",
            "Send less at once; operators: see `signed_body_max` of the API.", "isv.body-too-large";
        HELD_BODIES_FULL = "held_bodies_full", 503, "Too many held bodies at once",
            "This node holds as many bodies until their signatures are checked, or compared with their schemas, as it may.",
            "Try again; operators: see `held_max` of `[credentials]`.", "isp.held-bodies-full";
        APP_DISABLED = "app_disabled", 403, "Application disabled",
            "The application is disabled, or its time is over.",
            "Ask the operator of the platform.", "isv.app-disabled";
        USER_MISSING = "user_missing", 401, "User required",
            "The API acts for a user, and the call carries no authorisation of one that counts for this application.",
            "Ask the user for authorisation and send the session or token.", "isv.missing-session";
        USER_EXPIRED = "user_expired", 401, "Authorisation of the user over",
            "The time of the user's authorisation is over.",
            "Ask the user for a new authorisation.", "isv.session-expired";
        IDENTITY_UNAVAILABLE = "identity_unavailable", 503, "Identity cannot be checked now",
            "Whether the application may call is not known at this node, and what would know it is away.",
            "Try again; operators: look at the store of the business tier.", "isp.identity-unavailable";
        REPLAY_UNAVAILABLE = "replay_unavailable", 503, "Repetition cannot be excluded now",
            "Whether the call was taken before cannot be found out now.",
            "Try again with a new nonce; operators: see `replay` of the API.", "isp.replay-check-unavailable";
    }
    "What an application may (business tier)" {
        PERMISSION_MISSING = "permission_missing", 403, "Not permitted",
            "None of the application's packages holds this API.",
            "Ask the owner of the API for a package that does.", "isv.api-not-permitted";
        ADDRESS_REFUSED = "address_refused", 403, "Address not permitted",
            "The application may not call from this address.",
            "Call from one of the networks registered for the application.", "isv.ip-not-permitted";
        SCOPE_MISSING = "scope_missing", 403, "Scope missing",
            "The token or session does not carry a scope that the API asks for.",
            "Ask for authorisation with this scope.", "isv.insufficient-scope";
        CONDITION_REFUSED = "condition_refused", 403, "Condition not met",
            "A condition of the API or of the package that grants it is not met.",
            "Ask the owner of the API under which conditions it may be called.", "isv.condition-not-met";
        FLOW_RULE_DENIED = "flow_rule_denied", 403, "Refused by a rule",
            "A flow rule of the platform refuses the call; the status and `detail` are the rule's.",
            "Ask the owner of the API.", "isv.refused-by-rule";
        FLOW_RULE_FAILED = "flow_rule_failed", 503, "A rule failed",
            "A flow rule could not be judged, and says that calls are refused then.",
            "Try again; operators: look at the rule's failures in the log and the metrics.", "isp.rule-failed";
    }
    "What a call looks like (business tier)" {
        REQUEST_INVALID = "request_invalid", 400, "Not as declared",
            "Parameters or body are not what the API declares; `errors` lists where, which rule, and what it says.",
            "Correct what is listed; the API's documentation has the schema.", "isv.invalid-request";
        CONTENT_TYPE_UNSUPPORTED = "content_type_unsupported", 415, "Type of the body not declared",
            "The body has a type or an encoding that the API does not take.",
            "Send one of the types in the API's documentation, in UTF-8 and not compressed.", "isv.unsupported-content-type";
        VALIDATED_BODY_TOO_LARGE = "validated_body_too_large", 413, "Body too large",
            "A body is held whole until it is compared with its schema, and this one is longer than the API allows.",
            "Send less at once; operators: see `body_max` of `validate` and of `[validation]`.", "isv.body-too-large";
    }
    "Many calls in one (business tier)" {
        BATCH_INVALID = "batch_invalid", 400, "Not a batch",
            "The body is not a batch in one of its forms; `detail` names the item and the byte. Nothing of it was executed.",
            "Compare with the page on batches.", "isv.invalid-batch";
        BATCH_TYPE_UNSUPPORTED = "batch_type_unsupported", 415, "Not a type of batches",
            "The `Content-Type` of the body is not one that batches have here, or the body is packed.",
            "Send JSON as `application/json`, without `Content-Encoding`.", "isv.unsupported-batch-type";
        BATCH_TOO_LARGE = "batch_too_large", 413, "Batch too large",
            "The batch has more items, or a longer body, than it may have. Nothing of it was executed.",
            "Send several batches; operators: see `batch` of the API.", "isv.batch-too-large";
        BATCH_ITEM_INVALID = "batch_item_invalid", 400, "Not an item of a batch",
            "The item is no request, or says what only a request of its own can say: another host, who calls, how it was forwarded, a path that is not canonical.",
            "Do as `detail` says.", "isv.invalid-batch-item";
        API_NOT_BATCHABLE = "api_not_batchable", 403, "Not in a batch",
            "The API cannot be called by an item of a batch.",
            "Call it alone; operators: see `batchable` of the API.", "isv.api-not-batchable";
        BATCH_FULL = "batch_full", 503, "No room in the batch",
            "The answers of the batch are as long as they may be together, so the item was not executed.",
            "Send the item again, with fewer others; operators: see `answers_max` of the batch.", "isp.batch-full";
        BATCH_ANSWER_LOST = "batch_answer_lost", 502, "Answer does not fit into the batch",
            "The item may have been executed, and its answer cannot be given: it is too long, came too late, or broke off. `detail` tells why, and its status.",
            "Call the API alone for a long answer; before repeating a call that changes something, look whether it was made.", "isp.batch-answer-lost";
    }
    "How often (business tier)" {
        QUOTA_API = "quota_api", 429, "API limit reached",
            "The API takes no more calls in this window.",
            "Wait as long as `Retry-After` says.", "accesscontrol.limited-by-api-access-count";
        QUOTA_APP = "quota_app", 429, "Application limit reached",
            "The application has made as many calls as it may in this window.",
            "Wait as long as `Retry-After` says, or ask for a larger plan.", "accesscontrol.limited-by-app-access-count";
        QUOTA_APP_API = "quota_app_api", 429, "Limit of the application for this API reached",
            "The application has called this API as often as it may in this window.",
            "Wait as long as `Retry-After` says, or ask for a larger plan.", "accesscontrol.limited-by-app-api-access-count";
        QUOTA_DYNAMIC = "quota_dynamic", 429, "Limit reached",
            "A limit by user, client or rule is reached in this window.",
            "Wait as long as `Retry-After` says.", "accesscontrol.limited-by-dynamic-access-count";
        QUOTA_UNAVAILABLE = "quota_unavailable", 503, "Quota cannot be charged now",
            "What is left of a quota is not known at this node, what would know it is away, and the limit says that calls are refused then.",
            "Try again; operators: look at the store of the business tier, and at `on_store_failure` of the limit.", "isp.quota-unavailable";
    }
    "Who goes first (business tier)" {
        SERVICE_OVERLOADED = "service_overloaded", 503, "Service overloaded",
            "The service is at its capacity, and the call's turn would not come in time.",
            "Try again later, with growing pauses.", "isp.service-overloaded";
        API_BUSY = "api_busy", 503, "API busy",
            "As many calls of this API as it may have are under way.",
            "Try again later, with growing pauses.", "isp.api-busy";
        GROUP_SHED = "group_shed", 503, "Traffic group shut off",
            "The operators refuse the calls of this traffic group for some time.",
            "Try again as late as `Retry-After` says.", "isp.group-shed";
    }
    "Several calls in one (business tier)" {
        AGGREGATE_INPUT_INVALID = "aggregate_input_invalid", 400, "Input not valid",
            "Something in the request that a part of the answer is asked for with is missing, or cannot be used; `detail` names it.",
            "Do as `detail` says.", "isv.invalid-input";
        AGGREGATE_BODY_TOO_LARGE = "aggregate_body_too_large", 413, "Body too large",
            "The body is read whole to make calls of it, and this one is longer than the gate reads.",
            "Send less at once; operators: see `request_max` of `[aggregate]`.", "isv.body-too-large";
        AGGREGATE_PART_REFUSED = "aggregate_part_refused", 400, "A part was refused",
            "The service that answers a part that is needed says that the request is not right; the status is that of the part.",
            "Correct what `detail` names.", "isv.part-refused";
        AGGREGATE_PART_FAILED = "aggregate_part_failed", 502, "A part failed",
            "The service that answers a part that is needed has failed; 503 and 504 where it has answered with these.",
            "Try again later; operators: look at the log line of the part, which has the same request id.", "isp.part-failed";
        AGGREGATE_PART_UNUSABLE = "aggregate_part_unusable", 502, "A part cannot be used",
            "The answer to a part that is needed is not JSON, too long, too deep, or was broken off.",
            "Try again later; operators: see `answer` of the call, and `[aggregate]`.", "isp.part-unusable";
        AGGREGATE_PART_NOT_MADE = "aggregate_part_not_made", 502, "A part could not be asked for",
            "What a part that is needed is asked for with comes from the answer of another, which does not have it.",
            "Try again later; operators: see what `detail` names of the aggregate.", "isp.part-not-made";
        AGGREGATE_ANSWER_FAILED = "aggregate_answer_failed", 502, "The answer could not be made",
            "The template of the answer failed, took too many steps, or made something too long, or no JSON.",
            "Operators: see `cause` in the log, and the template of the aggregate.", "isp.aggregate-answer-failed";
        AGGREGATE_NO_ROOM = "aggregate_no_room", 503, "Too many parts at once",
            "This node holds as much of requests and answers for aggregates as it may.",
            "Try again; operators: see `held_max` of `[aggregate]`.", "isp.aggregate-no-room";
    }
}
