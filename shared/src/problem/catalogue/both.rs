//! Why either tier refuses, and why their admin listeners do.

use super::super::Reason;
use super::{catalogue, sub_code};

catalogue! {
    "The gateway itself (both tiers)" {
        OVERLOADED = "overloaded", 503, "Overloaded",
            "This node has as much in flight as it may.",
            "Try again later.";
        INTERNAL_ERROR = "internal_error", 500, "Internal error",
            "Something inside the gateway failed; the request was lost, the node goes on.",
            "Report it with the request id.";
        CLIENT_CLOSED = "client_closed", 499, "Client went away",
            "The client closed the connection before the answer; only logs and metrics show this.",
            "Nothing, when clients give up on purpose.";
    }
    "Admin listeners (both tiers)" {
        ADMIN_TOKEN_MISSING = "admin_token_missing", 401, "Token required",
            "There is no `Authorization: Bearer` header.",
            "Send an admin token; the first ones are in the state directory.";
        ADMIN_TOKEN_WRONG = "admin_token_wrong", 401, "Unknown token",
            "The token is not known.",
            "Check it with `token list`.";
        ADMIN_ROLE_INSUFFICIENT = "admin_role_insufficient", 403, "Role not sufficient",
            "The role of the token does not allow this.",
            "Use a token of a higher role.";
        ADMIN_LOCKED_OUT = "admin_locked_out", 429, "Locked out",
            "Too many attempts with wrong tokens from this address.",
            "Wait as long as `Retry-After` says.";
        ADMIN_HOST_REFUSED = "admin_host_refused", 403, "Host not allowed",
            "The Host header is not an address or a name of this listener: perhaps a page in a browser is being tricked.",
            "Use the address of the listener, or add the name to `admin_hosts`.";
        ADMIN_ORIGIN_REFUSED = "admin_origin_refused", 403, "Origin not allowed",
            "The request comes from a page of another site.",
            "Call the admin listener from its own pages or from a command.";
        ADMIN_NOT_FOUND = "admin_not_found", 404, "No such page",
            "The admin listener has no such path.",
            "Try /livez, /readyz, /metrics or /policy.";
        ADMIN_METHOD_NOT_ALLOWED = "admin_method_not_allowed", 405, "Method not allowed",
            "The path does not take this method.",
            "Use one of the methods in the `Allow` header.";
        ADMIN_REQUEST_INVALID = "admin_request_invalid", 400, "Request not understood",
            "The query or the body is not what this path takes.",
            "Do as `detail` says.";
        ADMIN_BODY_TOO_LARGE = "admin_body_too_large", 413, "Body too large",
            "The body is longer than 1 MiB.",
            "Send it in parts, as `block import` does.";
        ADMIN_REVISION_CHANGED = "admin_revision_changed", 412, "Changed meanwhile",
            "The revision in `If-Match` is not the current one: somebody else has changed it.",
            "Look at it again, then decide.";
        ADMIN_UNAVAILABLE = "admin_unavailable", 503, "Not available",
            "Another system that this call needs does not answer.",
            "Try again later; `detail` says what is missing.";
        BLOCK_ENTRY_EXISTS = "block_entry_exists", 409, "Blocked already",
            "There is an entry for this network already.",
            "Replace it with `--replace` (API: `\"replace\": true`).";
        BLOCK_ENTRY_MISSING = "block_entry_missing", 404, "Not blocked",
            "There is no entry for exactly this network.",
            "`block list` shows the entries.";
        BLOCK_NEEDS_FORCE = "block_needs_force", 409, "Overlaps an allowed or trusted network",
            "The network shares addresses with one that is allowed, or with a trusted proxy.",
            "If it is meant, use `--force` (API: `\"force\": true`).";
        ADMIN_ROUTE_MISSING = "admin_route_missing", 404, "No such route",
            "No route of the running configuration has this name.",
            "`traffic-gateway route list` shows the names.";
        ADMIN_ROUTE_NOT_STOPPED = "admin_route_not_stopped", 409, "Route not stopped",
            "The route serves already.",
            "`traffic-gateway route list` shows which routes are stopped.";
        BLOCK_LIST_FULL = "block_list_full", 507, "Blocklist full",
            "There are as many entries as there may be.",
            "Remove some, block larger networks, or use a list file.";
        CHANGE_NOT_KEPT = "change_not_kept", 500, "Change not kept",
            "The change could not be written to the disk, or not to the audit log; `detail` says which, and whether it is in force.",
            "Look at the process log and at the state directory: is the disk full?";
        ADMIN_OBJECT_MISSING = "admin_object_missing", 404, "No such object",
            "There is no object of this kind and name.",
            "List the objects of the kind.";
        ADMIN_OBJECT_EXISTS = "admin_object_exists", 409, "Object exists",
            "There is an object of this kind and name already.",
            "Change it with its revision in `If-Match`, or choose another name.";
        ADMIN_OBJECT_INVALID = "admin_object_invalid", 422, "Object not valid",
            "What was sent is understood, but is not valid here; `detail` lists all that is wrong.",
            "Correct what `detail` lists.";
        ADMIN_OBJECT_READ_ONLY = "admin_object_read_only", 409, "Object comes from a file",
            "The object stands in a file that people edit, so the API does not change it.",
            "Edit the file.";
        CATALOG_CONFLICT = "catalog_conflict", 409, "Catalog in conflict",
            "Redis and this node do not agree on the catalog, so that nothing can be published here; `detail` says why.",
            "See `/catalog/status`; `catalog publish --force-revision` brings back what Redis has lost.";
        ADMIN_REVISION_REQUIRED = "admin_revision_required", 428, "Revision required",
            "A change of something that exists needs the revision it is based on.",
            "Read it first and send its `ETag` as `If-Match`.";
    }
}
