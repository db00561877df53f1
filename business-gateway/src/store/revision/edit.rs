//! What can be changed in a catalog, whatever the store, and what a change expects to find.

use std::io;

use gatehouse_shared::admin::Role;
use gatehouse_shared::config::ConfigErrors;
use gatehouse_store::StoreError;
use serde_json::Value;

use crate::store::catalog::difference::Difference;
use crate::store::catalog::objects::{Object, Objects, identity, kinds, kinds_known, name_of, tag};

/// Kinds that say who is believed to be whom.
const CREDENTIALS: [&str; 2] = ["app", "issuer"];

/// What is to be changed.
#[derive(Debug, Clone)]
pub enum Edit {
    /// This object is to be there.
    Put {
        /// Its kind.
        kind: String,
        /// Its name.
        name: String,
        /// What it says.
        object: Object,
    },
    /// No object of this name is to be there.
    Delete {
        /// Its kind.
        kind: String,
        /// Its name.
        name: String,
    },
    /// The whole catalog is to say this.
    Replace(Objects),
    /// The catalog of this node is published once more.
    Republish,
}

/// What a change expects to find: `If-Match`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum IfMatch {
    /// It does not say.
    #[default]
    Unsaid,
    /// Anything, but something: `*`.
    Something,
    /// What has this tag.
    Tag(u64),
}

impl IfMatch {
    /// Whether what is there is what was expected; `known` is its tag.
    fn check(self, known: Option<u64>) -> Result<(), Refusal> {
        match (self, known) {
            (Self::Unsaid, Some(tag)) => Err(Refusal::ConditionMissing(tag)),
            (Self::Unsaid, None) | (Self::Something, Some(_)) => Ok(()),
            (Self::Tag(expected), Some(tag)) if expected == tag => Ok(()),
            (_, known) => Err(Refusal::ConditionFailed(known)),
        }
    }
}

/// Why a change is not made.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// There is no such kind.
    #[error("there is no kind {0:?} ({known})", known = kinds_known())]
    Kind(String),
    /// There is no such object.
    #[error("there is no {0} {1:?}")]
    Missing(String, String),
    /// The object says another name than its address.
    #[error("the {0} says another \"{key}\" than its address: {1}", key = identity(.0))]
    Name(String, String),
    /// The change replaces something and does not say what.
    #[error("say with If-Match what is to be replaced; it is \"{0}\" now")]
    ConditionMissing(u64),
    /// Something else is there than was expected.
    #[error("it is not what If-Match says: {}", .0.map_or("it is not there".to_owned(), |tag| format!("it is \"{tag}\" now")))]
    ConditionFailed(Option<u64>),
    /// The catalog would not be valid.
    #[error("the catalog would not be valid: {errors}")]
    Invalid {
        /// Everything that is wrong.
        errors: ConfigErrors,
        /// The catalog that would be.
        objects: Box<Objects>,
    },
    /// Who asks may not change credentials.
    #[error("{} needs the role `secrets`", .0.join(", "))]
    Credentials(Vec<String>),
    /// What people edit is not changed by the API.
    #[error("{} stands in catalog.toml, which people edit: change it there", .0.join(", "))]
    InFiles(Vec<String>),
    /// The document is too large.
    #[error("the catalog would have {0} bytes; document_max are {1}")]
    TooLarge(usize, usize),
    /// The revision that Redis has is not accepted here.
    #[error("Redis has revision {0}, which this node does not accept: {1}")]
    Unaccepted(u64, String),
    /// Redis has lost what this node has.
    #[error(
        "Redis has {}, this node has {node}: it has lost revisions. `catalog publish --force-revision` on the node \
         with the greatest one brings them back",
        redis.map_or("no revision".to_owned(), |redis| format!("revision {redis}"))
    )]
    Behind {
        /// What Redis has.
        redis: Option<u64>,
        /// What this node has.
        node: u64,
    },
    /// Others were faster, again and again.
    #[error("others have changed the catalog at the same time, again and again")]
    Busy,
    /// Only a catalog in Redis has revisions.
    #[error("the catalog of this node is in files, which have no revisions")]
    NoRevisions,
    /// There is no such revision any more, or not yet.
    #[error("revision {0} is not kept")]
    NoRevision(u64),
    /// Redis does not do what it should.
    #[error("{0}")]
    Store(#[from] StoreError),
    /// A file cannot be written.
    #[error("the change cannot be written to the disk: {0}")]
    Disk(#[from] io::Error),
}

impl Edit {
    /// The catalog after the change.
    ///
    /// # Errors
    /// When it does not find what it expects.
    pub fn apply(&self, before: &Objects, if_match: IfMatch) -> Result<Objects, Refusal> {
        let known = |kind: &str, name: &str| before.get(kind, name).map(|object| tag(&Value::Object(object.clone())));
        let mut after = before.clone();
        match self {
            Self::Put { kind, name, object } => {
                check_kind(kind)?;
                let mut object = object.clone();
                object.entry(identity(kind)).or_insert_with(|| name.clone().into());
                if name_of(kind, &object) != name {
                    let said = object.get(identity(kind)).map(ToString::to_string).unwrap_or_default();
                    return Err(Refusal::Name(kind.clone(), said));
                }
                if_match.check(known(kind, name))?;
                after.put(kind, object);
            }
            Self::Delete { kind, name } => {
                check_kind(kind)?;
                let tag = known(kind, name).ok_or_else(|| Refusal::Missing(kind.clone(), name.clone()))?;
                if_match.check(Some(tag))?;
                after.remove(kind, name);
            }
            Self::Replace(objects) => {
                if_match.check((*before != Objects::default()).then(|| tag(&before.to_json())))?;
                after = objects.clone();
            }
            Self::Republish => {}
        }
        Ok(after)
    }

    /// What is done, in a few words: `put api orders.list`.
    #[must_use]
    pub fn what(&self) -> String {
        match self {
            Self::Put { kind, name, .. } => format!("put {kind} {name}"),
            Self::Delete { kind, name } => format!("delete {kind} {name}"),
            Self::Replace(_) => "replace all".to_owned(),
            Self::Republish => "publish again".to_owned(),
        }
    }
}

/// Refuses differences in what callers prove themselves with, unless who asks may change that.
///
/// # Errors
/// When there are such differences, and they may not.
pub fn check_role(differences: &[Difference], role: Role) -> Result<(), Refusal> {
    let needs = |one: &&Difference| CREDENTIALS.contains(&one.kind.as_str());
    let found: Vec<String> =
        differences.iter().filter(needs).map(|one| format!("{} {:?}", one.kind, one.name)).collect();
    if found.is_empty() || role >= Role::Secrets { Ok(()) } else { Err(Refusal::Credentials(found)) }
}

/// Refuses a kind that is none.
///
/// # Errors
/// When it is none.
pub fn check_kind(kind: &str) -> Result<(), Refusal> {
    if kinds().iter().any(|known| known == kind) { Ok(()) } else { Err(Refusal::Kind(kind.to_owned())) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn put(name: &str, object: Value) -> Edit {
        let Value::Object(object) = object else { panic!("no object") };
        Edit::Put { kind: "api".to_owned(), name: name.to_owned(), object }
    }

    fn catalog() -> Objects {
        Objects::from_json(json!({ "api": [{ "name": "a", "path": "/a" }] })).unwrap()
    }

    #[test]
    fn a_new_object_needs_no_condition_and_an_old_one_does() {
        let new = put("b", json!({ "path": "/b" }));
        let after = new.apply(&catalog(), IfMatch::Unsaid).unwrap();
        assert_eq!(after.get("api", "b").unwrap()["name"], "b");
        assert!(matches!(new.apply(&catalog(), IfMatch::Something), Err(Refusal::ConditionFailed(None))));

        let old = put("a", json!({ "name": "a", "path": "/x" }));
        let Err(Refusal::ConditionMissing(tag)) = old.apply(&catalog(), IfMatch::Unsaid) else { panic!("no refusal") };
        assert!(
            matches!(old.apply(&catalog(), IfMatch::Tag(7)), Err(Refusal::ConditionFailed(Some(now))) if now == tag)
        );
        assert_eq!(old.apply(&catalog(), IfMatch::Tag(tag)).unwrap().get("api", "a").unwrap()["path"], "/x");
        assert!(old.apply(&catalog(), IfMatch::Something).is_ok());
    }

    #[test]
    fn what_is_not_there_or_has_another_name_is_refused() {
        let gone = Edit::Delete { kind: "api".to_owned(), name: "b".to_owned() };
        assert!(matches!(gone.apply(&catalog(), IfMatch::Something), Err(Refusal::Missing(..))));
        let kind = Edit::Delete { kind: "apis".to_owned(), name: "b".to_owned() };
        let Err(error) = kind.apply(&catalog(), IfMatch::Something) else { panic!("no refusal") };
        assert!(error.to_string().starts_with("there is no kind \"apis\" (there are service, api"), "{error}");
        let named = put("b", json!({ "name": "c" }));
        assert!(matches!(named.apply(&catalog(), IfMatch::Unsaid), Err(Refusal::Name(..))));
    }

    #[test]
    fn who_may_not_change_credentials_does_not_by_way_of_the_catalog() {
        let differs = |kind: &str| Difference {
            kind: kind.to_owned(),
            name: "x".to_owned(),
            change: crate::store::catalog::difference::Change::Added,
            before: Value::Null,
            after: Value::Null,
            fields: Vec::new(),
        };
        assert!(check_role(&[differs("api")], Role::Operate).is_ok());
        let refused = check_role(&[differs("api"), differs("app")], Role::Operate).unwrap_err();
        assert_eq!(refused.to_string(), "app \"x\" needs the role `secrets`");
        assert!(check_role(&[differs("issuer")], Role::Secrets).is_ok());
    }

    #[test]
    fn the_whole_is_replaced_only_by_who_knows_it() {
        let empty = Objects::default();
        let edit = Edit::Replace(catalog());
        assert_eq!(edit.apply(&empty, IfMatch::Unsaid).unwrap(), catalog());
        let back = Edit::Replace(empty);
        assert!(matches!(back.apply(&catalog(), IfMatch::Unsaid), Err(Refusal::ConditionMissing(_))));
        let tag = tag(&catalog().to_json());
        assert_eq!(back.apply(&catalog(), IfMatch::Tag(tag)).unwrap(), Objects::default());
    }
}
