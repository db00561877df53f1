//! What can be seen and changed through the admin listener, one file each.

use std::fmt;
use std::pin::Pin;

use gatehouse_shared::admin::{Answer, Role};
use http::Method;

use super::{Call, catalog, openapi};

/// What a resource answers; an `Err` is a refusal.
pub type Served<'a> = Pin<Box<dyn Future<Output = Result<Answer, Answer>> + Send + 'a>>;

/// A resource.
pub struct Resource {
    /// The methods that a path takes, as in `GET, HEAD`; `None` when the path belongs to another resource.
    pub methods: fn(path: &str) -> Option<&'static str>,
    /// The role that a call needs.
    pub role: fn(method: &Method, path: &str) -> Role,
    /// Answers a call whose path and method are those above.
    pub serve: for<'a> fn(Call<'a>) -> Served<'a>,
}

impl fmt::Debug for Resource {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Resource").finish_non_exhaustive()
    }
}

/// Every resource.
pub const RESOURCES: &[Resource] = &[
    openapi::RESOURCE,
    catalog::RESOURCE,
    super::apps::RESOURCE,
    super::quota::RESOURCE,
    super::groups::RESOURCE,
    super::cache::RESOURCE,
    super::registry::RESOURCE,
    super::routes::RESOURCE,
    super::splits::RESOURCE,
];
