//! The catalog of the business tier in Redis: documents by revision, each signed, and which of them counts.
//!
//! Three kinds of keys with one hash tag, so that one script changes them together on a Cluster: [`crate::Key::catalog`] holds the
//! current revision, [`crate::Key::catalog_revision`] a document with its [`Head`] and signature, [`crate::Key::catalog_log`] which
//! revisions there are. A change is made by compare-and-set on the current revision ([`RedisCatalog::publish`]).
//!
//! Who may write to Redis may not for that reason change the catalog: the head, which names the revision and the hash of its
//! document, is signed with a key that only gateways have ([`SigningKeys`]). An older document that somebody puts under a
//! greater number still says its own; so what a node accepts only ever gets newer.

mod keys;
mod redis;
mod seal;

pub use keys::{SigningKeyConfig, SigningKeys};
pub use redis::{Published, RedisCatalog};
pub use seal::{Head, SealError, Sealed};
