//! `/routes/explain`: which API a made-up call means, on this node and now.
//!
//! | call | role | |
//! |---|---|---|
//! | `POST /routes/explain` | `read` | a [`Sample`]; answered with every API considered, in order, and the request for the service |

use gatehouse_shared::admin::{Answer, Role, read_json};

use super::openapi::{self, Content, Operation, Path};
use super::{Call, Resource, invalid};
use crate::admit::route::explain::{Sample, explain};

/// This resource.
pub(super) const RESOURCE: Resource = Resource {
    methods: |path| openapi::find(PATHS, path).map(|path| path.allow),
    role: |method, path| openapi::role(PATHS, method, path),
    serve: |call| Box::pin(async move { serve(&call) }),
};

/// What is served here.
pub(super) const PATHS: &[Path] = &[Path {
    path: "/routes/explain",
    allow: "POST",
    operations: &[Operation {
        role: Some(Role::Read),
        ..Operation::change(
            "POST",
            "Shows which API a made-up call means, and why; nothing is called",
            Content::Json(
                "`method`, `url`, and where they matter `headers` (pairs), `client`, `at`, `body` and `app`.",
            ),
            "`considered`: every API with its predicates, in order; `api`, `parameters`, `service` and `request`.",
        )
    }],
}];

fn serve(call: &Call<'_>) -> Result<Answer, Answer> {
    let sample: Sample = read_json(call.body)?;
    let generation = call.gateway.live.current();
    let explanation = explain(&generation.value, &sample).map_err(|error| invalid(error.to_string()))?;
    serde_json::to_value(&explanation).map(|value| Answer::json(&value)).map_err(|error| invalid(error.to_string()))
}
