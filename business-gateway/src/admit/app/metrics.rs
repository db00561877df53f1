//! What is counted of credentials; mirrored when somebody asks.

use std::sync::atomic::{AtomicU64, Ordering};

use gatehouse_shared::telemetry::metrics::{
    Catalogue, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, MetricError, mirror,
};

use super::Identity;
use super::jwt::Issuers;

const ISSUER: (&str, &str) = ("issuer", "name of the issuer");

/// The metrics of credentials.
pub struct CredentialMetrics {
    comparisons: IntCounterVec,
    nonces: IntGauge,
    nonces_full: IntCounter,
    held: IntGauge,
    held_full: IntCounter,
    issuer_keys: IntGaugeVec,
    issuer_refreshes: IntCounterVec,
}

impl std::fmt::Debug for CredentialMetrics {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("CredentialMetrics").finish_non_exhaustive()
    }
}

impl CredentialMetrics {
    /// Declares them.
    ///
    /// # Errors
    /// When two metrics have the same name, which is a mistake in the code.
    pub fn new(catalogue: &Catalogue) -> Result<Self, MetricError> {
        Ok(Self {
            comparisons: catalogue.counters(
                "gatehouse_business_credential_comparisons_total",
                "Comparisons that prove who calls, those for applications that do not exist included.",
                &[("kind", "`hmac`, `md5`, `ed25519` or `secret`")],
            )?,
            nonces: catalogue.gauge("gatehouse_business_nonces", "Signed calls that this node remembers now.")?,
            nonces_full: catalogue.counter(
                "gatehouse_business_nonces_full_total",
                "Signed calls refused because credentials.nonces_max were remembered.",
            )?,
            held: catalogue.gauge(
                "gatehouse_business_held_bytes",
                "Bytes of bodies that are held whole now, or on their way to a service.",
            )?,
            held_full: catalogue.counter(
                "gatehouse_business_held_full_total",
                "Calls refused because credentials.held_max bytes of bodies were held.",
            )?,
            issuer_keys: catalogue.gauges(
                "gatehouse_business_issuer_keys",
                "Keys of an issuer of tokens that are known now.",
                &[ISSUER],
            )?,
            issuer_refreshes: catalogue.counters(
                "gatehouse_business_issuer_refreshes_total",
                "How often the keys of an issuer were fetched.",
                &[ISSUER, ("result", "`ok` or `failed`")],
            )?,
        })
    }

    /// Brings them up to date.
    pub fn refresh(&self, identity: &Identity, issuers: &Issuers) {
        let prover = &identity.prover;
        let kinds: [(&str, &AtomicU64); 4] = [
            ("hmac", &prover.hmacs),
            ("md5", &prover.md5s),
            ("ed25519", &prover.ed25519s),
            ("secret", &prover.secrets),
        ];
        for (kind, count) in kinds {
            mirror(&self.comparisons.with_label_values(&[kind]), count.load(Ordering::Relaxed));
        }
        self.nonces.set(i64::try_from(identity.nonces.count()).unwrap_or(i64::MAX));
        mirror(&self.nonces_full, identity.nonces.refused());
        self.held.set(i64::try_from(identity.room.used()).unwrap_or(i64::MAX));
        mirror(&self.held_full, identity.room.refused());
        for issuer in issuers.all() {
            let status = issuer.status();
            self.issuer_keys.with_label_values(&[&issuer.name]).set(i64::try_from(status.keys).unwrap_or(i64::MAX));
            mirror(&self.issuer_refreshes.with_label_values(&[&issuer.name, "ok"]), status.fetched);
            mirror(&self.issuer_refreshes.with_label_values(&[&issuer.name, "failed"]), status.failed);
        }
    }
}
