//! `GET /quota`: how much of its quotas somebody has used.

use gatehouse_shared::admin::{Answer, Role};
use gatehouse_shared::clock::{self, parse_rfc3339};
use gatehouse_shared::problem;
use http::Method;

use super::openapi::{Operation, Path};
use super::{Call, Resource, Served, invalid};
use crate::admit::quota::show::{Question, ShowError, show};
use crate::store::apps::Lookup;

/// This resource.
pub(super) const RESOURCE: Resource = Resource { methods, role, serve };

/// What is served here.
pub(super) const PATHS: &[Path] = &[Path {
    path: "/quota",
    allow: "GET, HEAD",
    operations: &[Operation {
        query: &[
            ("limit", "One limit; all that apply unless it says otherwise."),
            ("api", "The API."),
            ("app", "The application."),
            ("user", "The user."),
            ("client", "The address of the client."),
            ("key", "What the limit's expression gives."),
            ("plan", "The plan, where it is not the application's."),
            ("at", "When, by RFC 3339; now unless it says otherwise."),
        ],
        ..Operation::get("How much of its quotas somebody has used", "Used, leased and left, by limit and window.")
    }],
}];

fn methods(path: &str) -> Option<&'static str> {
    (path == "/quota").then_some("GET, HEAD")
}

fn role(_method: &Method, _path: &str) -> Role {
    Role::Read
}

/// `?limit=&api=&app=&user=&client=&key=&plan=&at=`: what is known of that subject.
fn serve(call: Call<'_>) -> Served<'_> {
    Box::pin(answer(call))
}

async fn answer(call: Call<'_>) -> Result<Answer, Answer> {
    let query = call.query(&["limit", "api", "app", "user", "client", "key", "plan", "at"])?;
    let text = |name: &str| query.get(name).map(str::to_owned);
    let client = query.get("client").map(|text| text.parse().map_err(|_unclear| invalid("\"client\" is an address")));
    let at = query
        .get("at")
        .map(|text| parse_rfc3339(text).ok_or_else(|| invalid("\"at\" is a time such as 2026-11-20T10:15:30Z")));
    // The plan that the application has, unless another one is asked about.
    let of_app = match query.get("app").filter(|_| query.get("plan").is_none()) {
        Some(app) => call.gateway.apps.find(app, clock::now()).await,
        None => Lookup::Unknown,
    };
    let plan = match of_app {
        Lookup::Found(app) => app.plan.as_deref().map(str::to_owned),
        Lookup::Unknown | Lookup::Unavailable => text("plan"),
    };
    let question = Question {
        limit: text("limit"),
        api: text("api"),
        app: text("app"),
        user: text("user"),
        client: client.transpose()?,
        key: text("key"),
        plan,
        at: at.transpose()?,
    };
    let generation = call.gateway.live.current();
    let policy = &generation.value;
    match show(&call.gateway.quotas, &policy.catalog.limits, &policy.quota, &question).await {
        Ok(shown) => Ok(Answer::json(&shown)),
        Err(error @ ShowError::Store(_)) => {
            Err(Answer::problem_about(&problem::ADMIN_UNAVAILABLE, Some(&error.to_string())))
        }
        Err(error) => Err(invalid(error.to_string())),
    }
}
