//! Why TLS handshakes fail, for operators: a scanner, an old client and a wrong certificate look alike from outside.

use std::sync::atomic::{AtomicU64, Ordering};

/// A kind of failed handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsFailure {
    /// It took longer than `tls_handshake_timeout`.
    Timeout,
    /// The client closed or reset the connection in the middle.
    ClientLeft,
    /// What came is not TLS.
    NotTls,
    /// No version, cipher or protocol is known to both sides.
    Incompatible,
    /// The client's certificate is missing or not accepted.
    ClientCertificate,
    /// The client ended it with an alert, most often because it does not trust our certificate.
    Alert,
    /// Anything else.
    Other,
}

impl TlsFailure {
    const ALL: [Self; 7] = [
        Self::Timeout,
        Self::ClientLeft,
        Self::NotTls,
        Self::Incompatible,
        Self::ClientCertificate,
        Self::Alert,
        Self::Other,
    ];

    /// The value of the metric's label.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::ClientLeft => "client_left",
            Self::NotTls => "not_tls",
            Self::Incompatible => "incompatible",
            Self::ClientCertificate => "client_certificate",
            Self::Alert => "alert",
            Self::Other => "other",
        }
    }

    /// Of an error of Pingora's, which keeps no more of its cause than the text.
    pub(super) fn of(error: &pingora::Error) -> Self {
        let text = error.to_string();
        let has = |parts: &[&str]| parts.iter().any(|part| text.contains(part));
        if has(&["fatal alert"]) {
            Self::Alert
        } else if has(&["peer certificate", "no certificates"]) {
            Self::ClientCertificate
        } else if has(&["peer is incompatible", "no known ALPN", "application protocol"]) {
            Self::Incompatible
        } else if has(&["corrupt message", "unexpected message"]) {
            Self::NotTls
        } else if has(&["eof", "reset by peer", "Broken pipe"]) {
            Self::ClientLeft
        } else {
            Self::Other
        }
    }
}

/// Failed handshakes, by kind.
#[derive(Debug, Default)]
pub(super) struct TlsFailures([AtomicU64; TlsFailure::ALL.len()]);

impl TlsFailures {
    pub(super) fn count(&self, failure: TlsFailure) {
        let counters = TlsFailure::ALL.iter().zip(&self.0);
        for (_, counter) in counters.filter(|(kind, _)| **kind == failure) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(super) fn totals(&self) -> impl Iterator<Item = (TlsFailure, u64)> {
        TlsFailure::ALL.into_iter().zip(&self.0).map(|(kind, counter)| (kind, counter.load(Ordering::Relaxed)))
    }
}
