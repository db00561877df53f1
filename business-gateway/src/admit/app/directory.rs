//! What this step asks of the applications that are known, wherever they are kept.

use std::fmt::Debug;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use crate::store::apps::{App, Session};

/// An answer that may have to be waited for; on a hit it is there at once.
pub type Asked<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Whether there is such an application.
#[derive(Debug, Clone)]
pub enum Lookup {
    /// There is.
    Found(Arc<App>),
    /// There is none.
    Unknown,
    /// Nobody can say now.
    Unavailable,
}

/// Whether a user has authorised an application.
#[derive(Debug, Clone)]
pub enum SessionLookup {
    /// The authorisation, which may be over.
    Found(Arc<Session>),
    /// There is none.
    Unknown,
    /// Nobody can say now.
    Unavailable,
}

/// The applications.
pub trait Directory: Debug + Send + Sync {
    /// The application with this key, at `now_unix` in Unix seconds.
    fn find<'a>(&'a self, key: &'a str, now_unix: u64) -> Asked<'a, Lookup>;

    /// The application of a client certificate.
    fn find_by_subject<'a>(&'a self, subject: &'a str, now_unix: u64) -> Asked<'a, Lookup>;

    /// What a user has allowed an application.
    fn find_session<'a>(&'a self, app_key: &'a str, token: &'a str, now_unix: u64) -> Asked<'a, SessionLookup>;

    /// The hashes under which the secret of an API key may be kept.
    fn api_key_hashes(&self, app_key: &str, secret: &[u8]) -> [[u8; 32]; 2];
}

/// A directory without anybody in it.
#[derive(Debug, Clone, Copy)]
pub struct Nobody;

impl Directory for Nobody {
    fn find<'a>(&'a self, _key: &'a str, _now_unix: u64) -> Asked<'a, Lookup> {
        Box::pin(std::future::ready(Lookup::Unknown))
    }

    fn find_by_subject<'a>(&'a self, _subject: &'a str, _now_unix: u64) -> Asked<'a, Lookup> {
        Box::pin(std::future::ready(Lookup::Unknown))
    }

    fn find_session<'a>(&'a self, _app_key: &'a str, _token: &'a str, _now_unix: u64) -> Asked<'a, SessionLookup> {
        Box::pin(std::future::ready(SessionLookup::Unknown))
    }

    fn api_key_hashes(&self, _app_key: &str, _secret: &[u8]) -> [[u8; 32]; 2] {
        [[0; 32]; 2]
    }
}
