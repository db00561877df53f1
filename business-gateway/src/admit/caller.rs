//! Who calls, once that is proven: what the later steps look at.

use std::sync::Arc;

use gatehouse_shared::hop::Auth;

use crate::store::apps::{App, Scheme};

/// Who calls.
#[derive(Debug, Clone, Default)]
pub struct Caller {
    /// The application; none for an open API that was called without credentials.
    pub app: Option<Arc<App>>,
    /// How it has proven itself.
    pub scheme: Option<Scheme>,
    /// The user it acts for.
    pub user: Option<Arc<str>>,
    /// What its token or session allows; `None` where the credentials carry no scopes.
    pub scopes: Option<Vec<Arc<str>>>,
}

impl Caller {
    /// Nobody in particular.
    #[must_use]
    pub fn anonymous() -> Self {
        Self::default()
    }

    /// What the edge is told.
    #[must_use]
    pub fn auth(&self) -> Auth {
        if self.app.is_some() { Auth::App } else { Auth::Anonymous }
    }

    /// The key of the application, or an empty text.
    #[must_use]
    pub fn app_key(&self) -> &str {
        self.app.as_ref().map_or("", |app| &app.key)
    }
}
