//! Keys of the business tier.

use super::{Key, KeyError, Owner, part};

impl Key {
    /// The current revision of the catalog. String. Lives for ever; written by the API and commands, read by nodes. It shares
    /// its place in a Cluster with its log and all revisions, so that one script changes them together.
    #[must_use]
    pub fn catalog() -> Self {
        Self::fixed(Owner::Business, "{catalog}")
    }

    /// One revision of the catalog. Hash: head, document, key and MAC. Lives as long as it is among the last N; written by the
    /// API and commands, read by nodes.
    #[must_use]
    pub fn catalog_revision(revision: u64) -> Self {
        Self::fixed(Owner::Business, &format!("{{catalog}}:{revision}"))
    }

    /// Which revisions of the catalog are kept. Sorted set: revision → itself. Lives for ever; written with
    /// [`Key::catalog`], read by the API and commands.
    #[must_use]
    pub fn catalog_log() -> Self {
        Self::fixed(Owner::Business, "{catalog}:log")
    }

    /// An application. Hash: sealed record, version. Lives for ever; written by the API and commands, read by nodes.
    ///
    /// # Errors
    /// When the app key is empty or too long.
    pub fn app(app_key: &str) -> Result<Self, KeyError> {
        Ok(Self::fixed(Owner::Business, &format!("app:{{{}}}", part(app_key)?)))
    }

    /// The keys of all applications. Sorted set, every score 0, so that it can be read in alphabetical order. Lives for ever;
    /// written with the applications, read by nodes.
    #[must_use]
    pub fn app_index() -> Self {
        Self::fixed(Owner::Business, "apps")
    }

    /// A user's authorisation of an application. Hash: sealed record, version. Lives until it ends; written by the API and
    /// commands, read by nodes. All authorisations of an application share their place in a Cluster.
    ///
    /// # Errors
    /// When the app key or the id is empty or too long.
    pub fn session(app_key: &str, id: &str) -> Result<Self, KeyError> {
        Ok(Self::fixed(Owner::Business, &format!("session:{{{}}}:{}", part(app_key)?, part(id)?)))
    }

    /// The application that a certificate's subject belongs to, by the hash of the subject. Hash: sealed record, version.
    /// Lives for ever; written with the application, read by nodes.
    ///
    /// # Errors
    /// When the hash is empty or too long.
    pub fn subject(hash: &str) -> Result<Self, KeyError> {
        Ok(Self::fixed(Owner::Business, &format!("subject:{{{}}}", part(hash)?)))
    }

    /// Changes of applications, permissions and the catalog. Stream of (kind, key, version), capped. Lives for ever;
    /// written with what it announces, followed by nodes.
    #[must_use]
    pub fn changes() -> Self {
        Self::fixed(Owner::Business, "changes")
    }

    /// Usage of a quota by one subject in one window. Hash: `total`, and what each process holds and has used. Lives for the window and one day;
    /// written by the lease script only, read by nodes. All windows of a quota and subject share their place in a Cluster.
    ///
    /// # Errors
    /// When the rule or the subject is empty or too long.
    pub fn quota(rule: &str, subject: &str, window: u64) -> Result<Self, KeyError> {
        Ok(Self::fixed(Owner::Business, &format!("quota:{{{}:{}}}:{window}", part(rule)?, part(subject)?)))
    }

    /// Usage of a quota with a short window by all subjects. Hash: `KEY@PROCESS` → its count, `KEY` → their sum. Lives for two
    /// windows; written and read by nodes. All windows of a quota share their place in a Cluster.
    ///
    /// # Errors
    /// When the rule is empty or too long.
    pub fn quota_counts(rule: &str, window: u64) -> Result<Self, KeyError> {
        Ok(Self::fixed(Owner::Business, &format!("quota:{{{}}}:{window}", part(rule)?)))
    }

    /// A nonce that was used. String. Lives for twice the clock window; written and read by nodes. All nonces of a key
    /// share their place in a Cluster.
    ///
    /// # Errors
    /// When the key id or the nonce is empty or too long.
    pub fn nonce(key_id: &str, nonce: &str) -> Result<Self, KeyError> {
        Ok(Self::fixed(Owner::Business, &format!("nonce:{{{}}}:{}", part(key_id)?, part(nonce)?)))
    }

    /// The Bloom filter of app keys. String: snapshot and revision. Lives for ever; written and read by nodes.
    #[must_use]
    pub fn bloom() -> Self {
        Self::fixed(Owner::Business, "bloom")
    }

    /// Traffic groups that are shut off. Hash: group → record. Records leave a day after their end; written and read by
    /// business nodes.
    #[must_use]
    pub fn shed() -> Self {
        Self::fixed(Owner::Business, "shed")
    }

    /// Endpoints that registered themselves under a name. Sorted set: endpoint → end in Unix milliseconds. Members leave an hour
    /// after their end; written by services and the API, read and swept by nodes.
    ///
    /// # Errors
    /// When the name is empty or too long.
    pub fn registry(name: &str) -> Result<Self, KeyError> {
        Ok(Self::fixed(Owner::Business, &format!("registry:{{{}}}", part(name)?)))
    }

    /// Live business nodes. Sorted set: node → heartbeat in Unix milliseconds. Lives for ever; written and read by nodes.
    #[must_use]
    pub fn business_nodes() -> Self {
        Self::fixed(Owner::Business, "nodes")
    }

    /// A cached answer of an API. String. Lives as its rule says; written and read by nodes. All answers of an API share
    /// their place in a Cluster.
    ///
    /// # Errors
    /// When the API or the hash of the declared parts is empty or too long.
    pub fn cache(api: &str, hash: &str) -> Result<Self, KeyError> {
        Ok(Self::fixed(Owner::Business, &format!("cache:{{{}}}:{}", part(api)?, part(hash)?)))
    }

    /// What was purged of cached answers. Stream of (kind, name), capped; written by the API and commands, followed by nodes.
    #[must_use]
    pub fn purges() -> Self {
        Self::fixed(Owner::Business, "purges")
    }
}
