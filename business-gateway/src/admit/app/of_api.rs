//! What an API says of credentials: whom it is for, which schemes it takes, how often a signed call counts.

use gatehouse_shared::config::{ByteSize, ConfigErrors};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::admit::api;
use crate::admit::path::{PathTemplate, Segment};
use crate::store::apps::Scheme;
use crate::store::catalog::At;

/// Whom an API is for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Access {
    /// Applications.
    #[default]
    App,
    /// Applications that act for a user.
    User,
    /// Everybody. A call without credentials passes; one with credentials that are wrong does not.
    Open,
}

/// Where a signed call is remembered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Replay {
    /// In the memory of the node that took it.
    Node,
    /// In the store of the fleet, which every signed call waits for.
    Fleet,
    /// Nowhere: a signed call may be made again as long as its signature counts.
    Off,
}

/// What happens when the store does not answer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnStoreFailure {
    /// Calls are taken, and remembered by the node.
    Open,
    /// Calls are refused.
    #[default]
    Closed,
}

/// Up to which length a signed body is held, where the API does not say otherwise.
pub const SIGNED_BODY_MAX: ByteSize = ByteSize::mib(1);

/// What an API says of credentials, as compiled.
#[derive(Debug, Clone)]
pub struct Credentials {
    /// Whom it is for.
    pub access: Access,
    /// Which schemes it takes.
    pub schemes: Vec<Scheme>,
    /// Where signed calls are remembered; `None` for what suits the method and the store.
    pub replay: Option<Replay>,
    /// What happens to them when the store does not answer.
    pub on_store_failure: OnStoreFailure,
    /// Up to which length a signed body is held.
    pub signed_body_max: u64,
    /// Whether the service gets the credentials of the call.
    pub pass: Pass,
    /// Whether a form is looked into for credentials.
    pub reads_forms: bool,
    /// Whether its calls are batches: a user may come with them though the API is not for users, and the items name their APIs.
    pub is_batch: bool,
    /// Whether the path is written out, so that the name of the API says all of it.
    pub has_plain_path: bool,
}

/// Whether a service gets the credentials of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pass {
    /// They are taken away.
    Nothing,
    /// It gets them as they came.
    Credentials,
}

impl Credentials {
    /// Compiles what is written at `at`.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn compile(written: &api::Config, path: &PathTemplate, at: &At<'_>) -> Result<Self, ConfigErrors> {
        let mut errors = ConfigErrors::new();
        let has_plain_path = path.segments().iter().all(|segment| matches!(segment, Segment::Literal(_)));
        let named = written.schemes.as_deref();
        if named.is_some_and(<[_]>::is_empty) && written.access != Access::Open {
            let remedy = "name some, leave it out for all, or write access = \"open\"";
            errors.push(at.error("schemes", "no scheme, so nobody could call", remedy));
        }
        if named.is_some_and(|schemes| schemes.contains(&Scheme::Platform)) && !has_plain_path {
            let remedy = "leave \"platform\" out, or write the path without parameters";
            errors.push(at.error("schemes", "the platform scheme does not sign the parameters of a path", remedy));
        }
        if written.batchable && written.pass_credentials {
            let remedy = "write one of the two";
            errors.push(at.error("batchable", "an item of a batch has no credentials to pass to the service", remedy));
        }
        if written.signed_body_max.get() == 0 {
            errors.push(at.error("signed_body_max", "no body could be signed", "write at least \"1B\""));
        }
        let schemes = named.map_or_else(|| Scheme::ALL.to_vec(), <[Scheme]>::to_vec);
        let takes_platform = has_plain_path && schemes.contains(&Scheme::Platform);
        errors.into_result(Self {
            access: written.access,
            reads_forms: takes_platform && (written.access != Access::Open || named.is_some()),
            schemes,
            replay: written.replay,
            on_store_failure: written.replay_on_store_failure,
            signed_body_max: written.signed_body_max.get(),
            pass: if written.pass_credentials { Pass::Credentials } else { Pass::Nothing },
            is_batch: written.batch.is_some(),
            has_plain_path,
        })
    }

    /// Whether it looks at credentials at all.
    #[must_use]
    pub fn looks_at_any(&self) -> bool {
        !self.schemes.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use gatehouse_shared::config::{SourceFile, parse};

    use super::*;
    use crate::store::catalog::CatalogConfig;

    fn compile(path: &str, more: &str) -> Result<Credentials, String> {
        let text = format!("[[api]]\nname = \"a\"\nservice = \"s\"\npath = \"{path}\"\n{more}\n");
        let file = SourceFile { path: "catalog.toml".into(), text };
        let document = parse::<CatalogConfig>(&file).map_err(|errors| errors.to_string())?;
        let at = At { positions: &document.positions, path: "api[0]".to_owned() };
        let path = PathTemplate::parse(path).unwrap();
        Credentials::compile(&document.value.api[0], &path, &at).map_err(|errors| errors.to_string())
    }

    #[test]
    fn an_api_is_for_applications_in_every_scheme_unless_it_says_otherwise() {
        let written = compile("/a", "").unwrap();
        assert_eq!((written.access, written.schemes.as_slice()), (Access::App, &Scheme::ALL[..]));
        assert_eq!((written.replay, written.on_store_failure), (None, OnStoreFailure::Closed));
        assert_eq!((written.signed_body_max, written.pass), (1 << 20, Pass::Nothing));
        assert!(written.looks_at_any() && written.reads_forms && written.has_plain_path);
        assert!(!compile("/a", "access = \"open\"\nschemes = []").unwrap().looks_at_any());
    }

    #[test]
    fn a_form_is_read_only_where_it_has_to_be_signed() {
        for (path, more, expected) in [
            ("/a", "access = \"user\"", true),
            ("/a", "access = \"open\"", false),
            ("/a", "access = \"open\"\nschemes = [\"platform\"]", true),
            ("/a", "schemes = [\"jwt\"]", false),
            ("/a/{id}", "", false),
        ] {
            assert_eq!(compile(path, more).unwrap().reads_forms, expected, "{path} {more}");
        }
    }

    #[test]
    fn mistakes_are_named() {
        for (path, more, expected) in [
            ("/a", "schemes = []", "catalog.toml:5:11: no scheme, so nobody could call"),
            (
                "/a/{id}",
                "schemes = [\"platform\"]",
                "catalog.toml:5:11: the platform scheme does not sign the parameters",
            ),
            ("/a", "signed_body_max = \"0B\"", "catalog.toml:5:19: no body could be signed"),
            ("/a", "access = \"everybody\"", "catalog.toml:5:10"),
            ("/a", "replay = \"never\"", "catalog.toml:5:10"),
        ] {
            let error = compile(path, more).unwrap_err();
            assert!(error.contains(expected), "{more}: {error}");
        }
    }
}
