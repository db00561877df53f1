//! What `/apps` takes, for the document that describes the admin listener.

use gatehouse_shared::admin::Role;

use crate::admin::openapi::{Content, Operation, Path};

const APP: &str = "The application, without anything secret; its version in `ETag`.";
const CHANGED: &str = "`before`, `after` and the new version.";
const VERSION: Option<&str> = Some("The version that the change is based on, if it matters.");
const WANTED: Content = Content::Json("What is to be said of it, by field.");

/// A change of credentials by `POST`.
const fn secret(summary: &'static str, body: Content, answer: &'static str) -> Operation {
    Operation { role: Some(Role::Secrets), if_match: VERSION, ..Operation::change("POST", summary, body, answer) }
}

/// The end of a credential.
const fn end(summary: &'static str) -> Operation {
    Operation {
        role: Some(Role::Secrets),
        if_match: VERSION,
        ..Operation::change("DELETE", summary, Content::None, CHANGED)
    }
}

/// What is served here.
pub(in crate::admin) const PATHS: &[Path] = &[
    Path {
        path: "/apps",
        allow: "GET, HEAD, POST",
        operations: &[
            Operation {
                query: &[
                    ("after", "The key behind which to go on: `next` of the page before."),
                    ("most", "How many; 100."),
                ],
                ..Operation::get("Applications in alphabetical order, those of files first", "`apps` and `next`.")
            },
            Operation {
                if_match: None,
                others: &[(201, "It is made.")],
                ..secret("Makes an application", WANTED, "The application, and its secret, which is shown this once.")
            },
        ],
    },
    Path {
        path: "/apps/{key}",
        allow: "GET, HEAD, PATCH, DELETE",
        operations: &[
            Operation::get("An application", APP),
            Operation { if_match: VERSION, ..Operation::change("PATCH", "Changes what is given", WANTED, CHANGED) },
            Operation { if_match: VERSION, ..Operation::change("DELETE", "Removes it", Content::None, CHANGED) },
        ],
    },
    Path {
        path: "/apps/{key}/enable",
        allow: "POST",
        operations: &[Operation {
            if_match: VERSION,
            ..Operation::change("POST", "Lets it call", Content::None, CHANGED)
        }],
    },
    Path {
        path: "/apps/{key}/disable",
        allow: "POST",
        operations: &[Operation {
            if_match: VERSION,
            ..Operation::change("POST", "Refuses all its calls, on all nodes", Content::None, CHANGED)
        }],
    },
    Path {
        path: "/apps/{key}/rotate-secret",
        allow: "POST",
        operations: &[secret(
            "Gives it a new secret",
            Content::Json("`keep_old_for`: how long the old one still counts."),
            "The new secret, which is shown this once.",
        )],
    },
    Path {
        path: "/apps/{key}/api-keys",
        allow: "POST",
        operations: &[secret("Adds an API key", WANTED, "The API key, which is shown this once.")],
    },
    Path { path: "/apps/{key}/api-keys/{id}", allow: "DELETE", operations: &[end("Ends an API key")] },
    Path {
        path: "/apps/{key}/public-keys",
        allow: "POST",
        operations: &[secret("Adds an Ed25519 key", WANTED, CHANGED)],
    },
    Path { path: "/apps/{key}/public-keys/{id}", allow: "DELETE", operations: &[end("Removes an Ed25519 key")] },
    Path {
        path: "/apps/{key}/sessions",
        allow: "POST",
        operations: &[secret("Authorises a user", WANTED, "The token, which is shown this once.")],
    },
    Path {
        path: "/apps/{key}/sessions/revoke",
        allow: "POST",
        operations: &[secret("Ends an authorisation by its token", Content::Json("`token`."), CHANGED)],
    },
    Path { path: "/apps/{key}/sessions/{id}", allow: "DELETE", operations: &[end("Ends an authorisation")] },
];
