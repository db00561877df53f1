//! Applications in bodies of calls: as they come and as they are shown.

use gatehouse_shared::admin::{Answer, read_json};
use gatehouse_shared::clock;
use gatehouse_shared::config::HumanDuration;
use serde::{Deserialize, Deserializer};
use serde_json::{Value, json};

use crate::admin::invalid;
use crate::store::apps::check::{NETWORK_FORM, network};
use crate::store::apps::record::Record;
use crate::store::apps::{App, Scheme, Status};

/// What an application is to be; what is not given stays as it is, and `null` takes away.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Wanted {
    name: Option<String>,
    #[serde(deserialize_with = "given")]
    owner: Option<Option<String>>,
    status: Option<Status>,
    #[serde(deserialize_with = "given")]
    expires: Option<Option<String>>,
    #[serde(deserialize_with = "given")]
    plan: Option<Option<String>>,
    #[serde(deserialize_with = "given")]
    class: Option<Option<String>>,
    packages: Option<Vec<String>>,
    networks: Option<Vec<String>>,
    field_level: Option<u8>,
    schemes: Option<Vec<Scheme>>,
    subjects: Option<Vec<String>>,
    platform_md5: Option<bool>,
}

/// Tells a `null` from nothing.
fn given<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<Option<T>>, D::Error> {
    Option::<T>::deserialize(deserializer).map(Some)
}

impl Wanted {
    /// From the body of `POST /apps`, which may choose the key, too.
    pub(super) fn with_key(body: &[u8]) -> Result<(Option<String>, Self), Answer> {
        let mut body: Value = read_json(body)?;
        let key = match body.as_object_mut().and_then(|object| object.remove("key")) {
            None | Some(Value::Null) => None,
            Some(Value::String(key)) => Some(key),
            Some(_) => return Err(invalid("the body: \"key\" is a text")),
        };
        let wanted = serde_json::from_value(body).map_err(|error| invalid(format!("the body: {error}")))?;
        Ok((key, wanted))
    }

    /// Whether it changes how the application proves itself.
    pub(super) fn is_about_credentials(&self) -> bool {
        self.subjects.is_some() || self.schemes.is_some() || self.platform_md5.is_some()
    }

    /// Changes a record.
    pub(super) fn apply(self, record: &mut Record) -> Result<(), String> {
        fn set<T>(place: &mut T, wanted: Option<T>) {
            if let Some(wanted) = wanted {
                *place = wanted;
            }
        }
        set(&mut record.name, self.name);
        set(&mut record.owner, self.owner);
        set(&mut record.status, self.status);
        set(&mut record.plan, self.plan);
        set(&mut record.class, self.class);
        set(&mut record.packages, self.packages);
        set(&mut record.field_level, self.field_level);
        set(&mut record.schemes, self.schemes);
        set(&mut record.subjects, self.subjects);
        set(&mut record.platform_md5, self.platform_md5);
        if let Some(expires) = self.expires {
            record.expires_unix = expires.as_deref().map(time).transpose()?;
        }
        if let Some(networks) = self.networks {
            let parse = |text: &String| network(text).ok_or_else(|| format!("{text:?} is no network: {NETWORK_FORM}"));
            record.networks = networks.iter().map(parse).collect::<Result<_, _>>()?;
        }
        Ok(())
    }
}

/// The body of `rotate-secret`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Rotate {
    /// How long the secret before still counts; without, it ends at once.
    pub(super) keep_old_for: Option<HumanDuration>,
}

/// The body of a new API key.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct ApiKey {
    pub(super) expires: Option<String>,
}

/// The body of a new public key.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PublicKey {
    pub(super) id: String,
    pub(super) key: String,
}

/// The body of a new authorisation.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Session {
    pub(super) user: String,
    #[serde(default)]
    pub(super) scopes: Vec<String>,
    #[serde(rename = "for")]
    pub(super) lasting: HumanDuration,
}

/// The body of `sessions/revoke`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Token {
    pub(super) token: String,
}

/// A time in Unix seconds.
pub(super) fn time(text: &str) -> Result<u64, String> {
    let ms =
        clock::parse_rfc3339(text).ok_or_else(|| format!("{text:?} is no time; write \"2027-01-01T00:00:00Z\""))?;
    Ok(ms / 1_000)
}

fn at(unix: Option<u64>) -> Option<String> {
    unix.map(|unix| clock::rfc3339(unix.saturating_mul(1_000)))
}

/// An application of the store, without anything secret.
pub(super) fn shown(key: &str, record: &Record, version: u64) -> Value {
    let secrets = record.secrets.iter();
    let secrets = secrets
        .map(|one| json!({ "id": one.id, "created": at(Some(one.created_unix)), "expires": at(one.expires_unix) }));
    let api_keys = record.api_keys.iter();
    let api_keys = api_keys
        .map(|one| json!({ "id": one.id, "created": at(Some(one.created_unix)), "expires": at(one.expires_unix) }));
    json!({
        "key": key,
        "origin": "store",
        "version": version,
        "name": record.name,
        "owner": record.owner,
        "status": record.status,
        "created": at(Some(record.created_unix)),
        "expires": at(record.expires_unix),
        "plan": record.plan,
        "class": record.class,
        "packages": record.packages,
        "networks": record.networks,
        "field_level": record.field_level,
        "schemes": record.schemes,
        "subjects": record.subjects,
        "platform_md5": record.platform_md5,
        "secrets": secrets.collect::<Vec<_>>(),
        "api_keys": api_keys.collect::<Vec<_>>(),
        "public_keys": record.public_keys,
    })
}

/// An application of a file, without anything secret.
pub(super) fn shown_app(app: &App) -> Value {
    json!({
        "key": &*app.key,
        "origin": "file",
        "version": app.version,
        "name": app.name,
        "owner": app.owner,
        "status": app.status,
        "expires": at(app.expires_unix),
        "plan": app.plan.as_deref(),
        "class": app.class.as_deref(),
        "packages": app.packages.iter().map(|one| &**one).collect::<Vec<_>>(),
        "networks": app.networks,
        "field_level": app.field_level,
        "schemes": app.schemes,
        "subjects": app.subjects.iter().map(|one| &**one).collect::<Vec<_>>(),
        "platform_md5": app.platform_md5,
        "secrets": app.secrets.iter().map(|one| json!({ "id": &*one.id })).collect::<Vec<_>>(),
        "api_keys": app.api_keys.iter().map(|one| json!({ "id": &*one.id })).collect::<Vec<_>>(),
        "public_keys": app.public_keys.iter().map(|one| json!({ "id": &*one.id })).collect::<Vec<_>>(),
    })
}
