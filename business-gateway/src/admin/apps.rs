//! `/apps`: applications, their credentials, and the authorisations of users.
//!
//! | call | role | |
//! |---|---|---|
//! | `GET /apps?after=KEY&most=N` | `read` | applications in alphabetical order, those of files first |
//! | `POST /apps` | `secrets` | makes one; the secret is in the answer, once |
//! | `GET /apps/KEY` | `read` | one, without anything secret |
//! | `PATCH /apps/KEY` | `operate` | changes what is given; `subjects`, `schemes` and `platform_md5` need `secrets` |
//! | `DELETE /apps/KEY` | `operate` | removes it |
//! | `POST /apps/KEY/enable`, `/disable` | `operate` | |
//! | `POST /apps/KEY/rotate-secret` | `secrets` | a new secret; the old one ends after `keep_old_for` |
//! | `POST /apps/KEY/api-keys` | `secrets` | a new API key, in the answer, once |
//! | `DELETE /apps/KEY/api-keys/ID` | `secrets` | ends one |
//! | `POST /apps/KEY/public-keys` | `secrets` | adds an Ed25519 key |
//! | `DELETE /apps/KEY/public-keys/ID` | `secrets` | removes one |
//! | `POST /apps/KEY/sessions` | `secrets` | authorises a user; the token is in the answer, once |
//! | `DELETE /apps/KEY/sessions/ID` | `secrets` | ends an authorisation |
//! | `POST /apps/KEY/sessions/revoke` | `secrets` | the same by its token |
//!
//! The `ETag` of an application is its version; a change with `If-Match` is refused when somebody else was first.

mod body;
pub(super) mod paths;

use std::time::Duration;

use gatehouse_shared::admin::{Answer, Role, read_json};
use gatehouse_shared::{clock, problem};
use http::Method;
use serde_json::{Value, json};

use self::body::{ApiKey, PublicKey, Rotate, Session, Token, Wanted, shown, shown_app, time};
use super::{Call, Resource, Served, invalid};
use crate::store::apps::Status;
use crate::store::apps::change::{ChangeError, Done, rotate_secret};
use crate::store::apps::record::{PublicKeyRecord, Record};

/// This resource.
pub(super) const RESOURCE: Resource = Resource { methods, role, serve };

/// Applications shown at a time, and at most.
const USUAL: usize = 100;
const MOST: usize = 1_000;

/// What a path means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Target<'a> {
    All,
    One(&'a str),
    Enable(&'a str),
    Disable(&'a str),
    Rotate(&'a str),
    ApiKeys(&'a str),
    ApiKey(&'a str, &'a str),
    PublicKeys(&'a str),
    PublicKey(&'a str, &'a str),
    Sessions(&'a str),
    RevokeToken(&'a str),
    Session(&'a str, &'a str),
}

impl<'a> Target<'a> {
    fn of(path: &'a str) -> Option<Self> {
        let rest = path.strip_prefix("/apps")?;
        let Some(rest) = rest.strip_prefix('/') else { return rest.is_empty().then_some(Self::All) };
        let mut parts = rest.split('/');
        let key = parts.next().filter(|key| !key.is_empty())?;
        let target = match (parts.next(), parts.next()) {
            (None, _) => Self::One(key),
            (Some("enable"), None) => Self::Enable(key),
            (Some("disable"), None) => Self::Disable(key),
            (Some("rotate-secret"), None) => Self::Rotate(key),
            (Some("api-keys"), None) => Self::ApiKeys(key),
            (Some("api-keys"), Some(id)) => Self::ApiKey(key, id),
            (Some("public-keys"), None) => Self::PublicKeys(key),
            (Some("public-keys"), Some(id)) => Self::PublicKey(key, id),
            (Some("sessions"), None) => Self::Sessions(key),
            (Some("sessions"), Some("revoke")) => Self::RevokeToken(key),
            (Some("sessions"), Some(id)) => Self::Session(key, id),
            _ => return None,
        };
        parts.next().is_none().then_some(target)
    }
}

fn methods(path: &str) -> Option<&'static str> {
    Some(match Target::of(path)? {
        Target::All => "GET, HEAD, POST",
        Target::One(_) => "GET, HEAD, PATCH, DELETE",
        Target::ApiKey(..) | Target::PublicKey(..) | Target::Session(..) => "DELETE",
        _ => "POST",
    })
}

fn role(method: &Method, path: &str) -> Role {
    match (Target::of(path), method) {
        (Some(Target::All | Target::One(_)), &Method::GET | &Method::HEAD) => Role::Read,
        (Some(Target::One(_) | Target::Enable(_) | Target::Disable(_)), _) => Role::Operate,
        _ => Role::Secrets,
    }
}

fn serve(call: Call<'_>) -> Served<'_> {
    Box::pin(async move {
        let Some(target) = Target::of(call.path) else { return Err(Answer::problem(&problem::ADMIN_NOT_FOUND)) };
        let is_reading = matches!(*call.method, Method::GET | Method::HEAD);
        if target != Target::All || !is_reading {
            call.query(&[])?;
        }
        match target {
            Target::All if is_reading => list(&call).await,
            Target::All => create(&call).await,
            Target::One(key) if is_reading => show(&call, key).await,
            Target::One(key) if *call.method == Method::DELETE => remove(&call, key).await,
            Target::One(key) => update(&call, key).await,
            Target::Enable(key) => switch(&call, key, Status::Enabled).await,
            Target::Disable(key) => switch(&call, key, Status::Disabled).await,
            Target::Rotate(key) => rotate(&call, key).await,
            Target::ApiKeys(key) => add_api_key(&call, key).await,
            Target::ApiKey(key, id) => revoke_api_key(&call, key, id).await,
            Target::PublicKeys(key) => add_public_key(&call, key).await,
            Target::PublicKey(key, id) => remove_public_key(&call, key, id).await,
            Target::Sessions(key) => authorize(&call, key).await,
            Target::Session(key, id) => revoke_session(&call, key, id).await,
            Target::RevokeToken(key) => {
                let Token { token } = read_json(call.body)?;
                let id = call.gateway.apps.id_of_token(key, &token).map_err(|error| refusal(&error))?;
                revoke_session(&call, key, &id).await
            }
        }
    })
}

async fn list(call: &Call<'_>) -> Result<Answer, Answer> {
    let query = call.query(&["after", "most"])?;
    let after = query.get("after");
    let most = query.count("most", USUAL, MOST).map_err(invalid)?;
    let mut shown_apps = Vec::new();
    if after.is_none() {
        let generation = call.gateway.live.current();
        shown_apps.extend(generation.value.apps.declared.all().into_iter().map(|app| shown_app(app)));
    }
    let kept = call.gateway.apps.list(after, most).await.map_err(|error| refusal(&error))?;
    let next = kept.last().filter(|_| kept.len() == most).map(|(key, ..)| key.clone());
    shown_apps.extend(kept.into_iter().map(|(key, record, version)| match record {
        Some(record) => shown(&key, &record, version),
        None => json!({ "key": key, "version": version, "damaged": true }),
    }));
    Ok(Answer::json(&json!({ "apps": shown_apps, "next": next })))
}

async fn create(call: &Call<'_>) -> Result<Answer, Answer> {
    let (key, wanted) = Wanted::with_key(call.body)?;
    let mut record = Record::new();
    wanted.apply(&mut record).map_err(invalid)?;
    let (done, secret) = call.gateway.apps.create(key, record).await.map_err(|error| refusal(&error))?;
    let mut answer = changed(call, "app.create", &done)?;
    put(&mut answer, "secret", json!({ "id": secret.id, "secret": secret.clear }));
    Ok(Answer::json_with(201, &answer).of_revision(done.version))
}

async fn show(call: &Call<'_>, key: &str) -> Result<Answer, Answer> {
    if let Some(app) = call.gateway.live.current().value.apps.declared.find(key) {
        return Ok(Answer::json(&shown_app(app)));
    }
    let (record, version) = call.gateway.apps.stored(key).await.map_err(|error| refusal(&error))?;
    Ok(Answer::json(&shown(key, &record, version)).of_revision(version))
}

async fn update(call: &Call<'_>, key: &str) -> Result<Answer, Answer> {
    let wanted: Wanted = read_json(call.body)?;
    if wanted.is_about_credentials() && call.who.role < Role::Secrets {
        return Err(Answer::problem(&problem::ADMIN_ROLE_INSUFFICIENT));
    }
    edit(call, key, "app.update", |record| wanted.apply(record).map_err(ChangeError::Invalid)).await
}

async fn switch(call: &Call<'_>, key: &str, status: Status) -> Result<Answer, Answer> {
    let action = if status == Status::Enabled { "app.enable" } else { "app.disable" };
    let set = |record: &mut Record| {
        record.status = status;
        Ok(())
    };
    edit(call, key, action, set).await
}

async fn remove(call: &Call<'_>, key: &str) -> Result<Answer, Answer> {
    let done = call.gateway.apps.remove(key, call.revision()?).await.map_err(|error| refusal(&error))?;
    Ok(Answer::json(&changed(call, "app.delete", &done)?))
}

async fn rotate(call: &Call<'_>, key: &str) -> Result<Answer, Answer> {
    let Rotate { keep_old_for } = or_default(call.body)?;
    let keep = keep_old_for.map_or(Duration::ZERO, |keep| keep.get());
    let new = |record: &mut Record| rotate_secret(record, keep);
    let (done, secret) = call.gateway.apps.change(key, call.revision()?, new).await.map_err(|error| refusal(&error))?;
    let mut answer = changed(call, "app.rotate_secret", &done)?;
    put(&mut answer, "secret", json!({ "id": secret.id, "secret": secret.clear }));
    Ok(Answer::json(&answer).of_revision(done.version))
}

async fn add_api_key(call: &Call<'_>, key: &str) -> Result<Answer, Answer> {
    let ApiKey { expires } = or_default(call.body)?;
    let expires = expires.as_deref().map(time).transpose().map_err(invalid)?;
    let made = call.gateway.apps.make_api_key(key, expires).map_err(|error| refusal(&error))?;
    let (fresh, record) = made;
    let add = |app: &mut Record| {
        app.api_keys.push(record);
        Ok(())
    };
    let (done, ()) = call.gateway.apps.change(key, call.revision()?, add).await.map_err(|error| refusal(&error))?;
    let mut answer = changed(call, "app.api_key.add", &done)?;
    put(&mut answer, "api_key", json!({ "id": fresh.id, "key": fresh.clear }));
    Ok(Answer::json_with(201, &answer).of_revision(done.version))
}

async fn revoke_api_key(call: &Call<'_>, key: &str, id: &str) -> Result<Answer, Answer> {
    edit(call, key, "app.api_key.revoke", |app| {
        let before = app.api_keys.len();
        app.api_keys.retain(|one| one.id != id);
        if app.api_keys.len() == before { Err(ChangeError::Missing(format!("API key {id:?}"))) } else { Ok(()) }
    })
    .await
}

async fn add_public_key(call: &Call<'_>, key: &str) -> Result<Answer, Answer> {
    let PublicKey { id, key: bytes } = read_json(call.body)?;
    edit(call, key, "app.public_key.add", |app| {
        if app.public_keys.iter().any(|one| one.id == id) {
            return Err(ChangeError::Invalid(format!("there is a public key {id:?} already")));
        }
        app.public_keys.push(PublicKeyRecord { id, key: bytes });
        Ok(())
    })
    .await
}

async fn remove_public_key(call: &Call<'_>, key: &str, id: &str) -> Result<Answer, Answer> {
    edit(call, key, "app.public_key.remove", |app| {
        let before = app.public_keys.len();
        app.public_keys.retain(|one| one.id != id);
        if app.public_keys.len() == before { Err(ChangeError::Missing(format!("public key {id:?}"))) } else { Ok(()) }
    })
    .await
}

async fn authorize(call: &Call<'_>, key: &str) -> Result<Answer, Answer> {
    let Session { user, scopes, lasting } = read_json(call.body)?;
    let made = call.gateway.apps.authorize(key, user, scopes, lasting.get()).await;
    let (fresh, record) = made.map_err(|error| refusal(&error))?;
    let after = json!({ "user": record.user, "scopes": record.scopes, "expires": at(record.expires_unix) });
    call.audit("app.session.add", format!("{key}/{}", fresh.id), Value::Null, after.clone())?;
    let mut answer = json!({ "app": key, "id": fresh.id, "token": fresh.clear });
    for (name, value) in after.as_object().into_iter().flatten() {
        put(&mut answer, name, value.clone());
    }
    Ok(Answer::json_with(201, &answer))
}

async fn revoke_session(call: &Call<'_>, key: &str, id: &str) -> Result<Answer, Answer> {
    let record = call.gateway.apps.revoke(key, id).await.map_err(|error| refusal(&error))?;
    let before = json!({ "user": record.user, "scopes": record.scopes, "expires": at(record.expires_unix) });
    call.audit("app.session.revoke", format!("{key}/{id}"), before, Value::Null)?;
    Ok(Answer::json(&json!({ "app": key, "id": id, "revoked": true })))
}

/// Changes an application and shows what it is since.
async fn edit(
    call: &Call<'_>,
    key: &str,
    action: &'static str,
    edit: impl FnOnce(&mut Record) -> Result<(), ChangeError> + Send,
) -> Result<Answer, Answer> {
    let (done, ()) = call.gateway.apps.change(key, call.revision()?, edit).await.map_err(|error| refusal(&error))?;
    Ok(Answer::json(&changed(call, action, &done)?).of_revision(done.version))
}

/// Writes a change of an application down, and gives what the answer shows of it.
fn changed(call: &Call<'_>, action: &'static str, done: &Done) -> Result<Value, Answer> {
    let show = |record: Option<&Record>, version: u64| record.map(|record| shown(&done.key, record, version));
    let before = show(done.before.as_ref(), done.version.saturating_sub(1)).unwrap_or_default();
    let after = show(done.after.as_ref(), done.version);
    call.audit(action, done.key.as_str(), before, after.clone().unwrap_or_default())?;
    Ok(after.unwrap_or_else(|| json!({ "key": done.key, "removed": true })))
}

/// A body that may be left out.
fn or_default<T: serde::de::DeserializeOwned + Default>(body: &[u8]) -> Result<T, Answer> {
    if body.is_empty() { Ok(T::default()) } else { read_json(body) }
}

fn put(object: &mut Value, name: &str, value: Value) {
    if let Some(object) = object.as_object_mut() {
        object.insert(name.to_owned(), value);
    }
}

fn at(unix: u64) -> String {
    clock::rfc3339(unix.saturating_mul(1_000))
}

fn refusal(error: &ChangeError) -> Answer {
    let reason = match error {
        ChangeError::Declared => &problem::ADMIN_OBJECT_READ_ONLY,
        ChangeError::Exists(_) => &problem::ADMIN_OBJECT_EXISTS,
        ChangeError::Missing(_) => &problem::ADMIN_OBJECT_MISSING,
        ChangeError::Changed(_) => &problem::ADMIN_REVISION_CHANGED,
        ChangeError::Invalid(_) => &problem::ADMIN_OBJECT_INVALID,
        ChangeError::NoKeys | ChangeError::Store(_) | ChangeError::NotAnnounced(_) => &problem::ADMIN_UNAVAILABLE,
        ChangeError::Seal(_) | ChangeError::Damaged(_) => &problem::INTERNAL_ERROR,
    };
    Answer::problem_about(reason, Some(&error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_path_has_its_methods_and_role() {
        for (path, allowed, needed) in [
            ("/apps", "GET, HEAD, POST", Role::Secrets),
            ("/apps/shop", "GET, HEAD, PATCH, DELETE", Role::Operate),
            ("/apps/shop/disable", "POST", Role::Operate),
            ("/apps/shop/rotate-secret", "POST", Role::Secrets),
            ("/apps/shop/api-keys", "POST", Role::Secrets),
            ("/apps/shop/api-keys/a", "DELETE", Role::Secrets),
            ("/apps/shop/public-keys/a", "DELETE", Role::Secrets),
            ("/apps/shop/sessions", "POST", Role::Secrets),
            ("/apps/shop/sessions/revoke", "POST", Role::Secrets),
            ("/apps/shop/sessions/a", "DELETE", Role::Secrets),
        ] {
            assert_eq!(methods(path), Some(allowed), "{path}");
            assert_eq!(role(&Method::POST, path), needed, "{path}");
        }
        assert_eq!(role(&Method::GET, "/apps/shop"), Role::Read);
        for path in
            ["/app", "/apps/", "/apps/shop/secrets", "/apps/shop/disable/x", "/apps/shop/sessions/a/b", "/appsx"]
        {
            assert_eq!(methods(path), None, "{path}");
        }
    }
}
