//! The step itself: from the credentials of a call to its caller.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use gatehouse_shared::hop::VerifiedHop;
use gatehouse_store::Redis;
use gatehouse_store::nonce::RedisNonces;
use http::header::{self, HeaderValue};
use http::request::Parts;
use http::uri::PathAndQuery;
use subtle::Choice;

use super::digest::ContentDigest;
use super::jwt::{self, Issuers};
use super::of_api::{Access, OnStoreFailure, Pass, Replay};
use super::platform::{Method, Parameters};
use super::presented::{self, Fields, Pair, Presented};
use super::proof::{Keys, LIVE_KEYS, Prover, Secrets};
use super::replay::{Claim, Nonces};
use super::signature::{self, Message};
use super::{Malformed, Refusal, Rules, platform};
use crate::accept::body::{HoldError, Upload};
use crate::accept::room::Room;
use crate::admit::api::Api;
use crate::admit::caller::Caller;
use crate::dispatch::wait::until;
use crate::store::apps::{ApiKeyHash, App, Apps, Lookup, Scheme, SessionLookup, Status};

/// What the step keeps for the whole process.
#[derive(Debug)]
pub struct Identity {
    /// Makes the comparisons.
    pub prover: Prover,
    /// The signed calls that this node has seen.
    pub nonces: Nonces,
    /// Room for bodies that are held until their proof is checked, and on their way to the service.
    pub room: Arc<Room>,
    fleet: Option<RedisNonces>,
    /// Takes the place of an application that does not exist.
    stand_in: App,
}

impl Identity {
    /// With the store of the fleet, where there is one.
    #[must_use]
    pub fn new(store: Option<Arc<Redis>>) -> Self {
        Self {
            prover: Prover::new(),
            nonces: Nonces::default(),
            room: Arc::default(),
            fleet: store.map(RedisNonces::new),
            stand_in: stand_in(),
        }
    }
}

/// An application with an API key whose hash is none.
fn stand_in() -> App {
    App {
        key: "nobody".into(),
        name: "nobody".into(),
        owner: None,
        status: Status::Disabled,
        expires_unix: None,
        plan: None,
        class: None,
        packages: Vec::new(),
        networks: Vec::new(),
        field_level: 0,
        schemes: Vec::new(),
        secrets: Vec::new(),
        public_keys: Vec::new(),
        api_keys: vec![ApiKeyHash { id: "none".into(), hash: [0; 32], expires_unix: None }],
        subjects: Vec::new(),
        platform_md5: false,
        version: 0,
    }
}

/// What a call is judged by: the process and the generation.
#[derive(Debug, Clone, Copy)]
pub struct Gate<'a> {
    /// All applications.
    pub apps: &'a Apps,
    /// What the process keeps.
    pub identity: &'a Identity,
    /// `[credentials]`.
    pub rules: &'a Rules,
    /// Who issues tokens.
    pub issuers: &'a Issuers,
}

/// A call whose caller is not known yet.
#[derive(Debug)]
pub struct Call<'a> {
    /// What is called.
    pub api: &'a Api,
    /// What the edge says of it.
    pub hop: &'a VerifiedHop,
    /// The authority that the client named.
    pub authority: &'a str,
    /// Its head.
    pub parts: &'a mut Parts,
    /// Its body.
    pub upload: &'a mut Upload,
    /// The end of every wait.
    pub deadline: Instant,
    /// When it came.
    pub now: Instant,
    /// The same, in Unix seconds.
    pub now_s: u64,
}

/// Who has been proven to call.
struct Proven {
    app: Arc<App>,
    scheme: Scheme,
    user: Option<Arc<str>>,
    scopes: Option<Vec<Arc<str>>>,
    /// The token of a user's session, where the scheme carries one.
    session: Option<Box<str>>,
}

impl Proven {
    fn new(app: Arc<App>, scheme: Scheme) -> Self {
        Self { app, scheme, user: None, scopes: None, session: None }
    }
}

/// Finds out who calls, and takes the credentials out of the call.
///
/// # Errors
/// As [`Refusal`] says.
pub async fn authenticate(gate: &Gate<'_>, call: &mut Call<'_>) -> Result<Caller, Refusal> {
    let fields = Fields::of(call.parts);
    let proven = match presented::find(call.parts, fields)? {
        Presented::Signature => Some(by_signature(gate, call).await?),
        Presented::Platform => Some(by_platform(gate, call).await?),
        Presented::ApiKey(pair) => Some(by_api_key(gate, call, &pair).await?),
        Presented::Basic(pair) => Some(by_basic(gate, call, &pair).await?),
        Presented::Bearer(token) => Some(by_token(gate, call, &token).await?),
        Presented::Nothing if has_signed_form(gate, call).await? => Some(by_platform(gate, call).await?),
        Presented::Nothing => by_certificate(gate, call).await?,
    };
    let caller = match proven {
        Some(proven) => with_user(gate, call, proven, fields).await?,
        None if call.api.credentials.access == Access::Open => Caller::anonymous(),
        None => return Err(Refusal::Missing),
    };
    if call.api.credentials.pass == Pass::Nothing {
        take_away(call, fields);
    }
    Ok(caller)
}

async fn by_signature(gate: &Gate<'_>, call: &mut Call<'_>) -> Result<Proven, Refusal> {
    takes(call.api, Scheme::Signature)?;
    let has_body = !matches!(call.upload, Upload::Empty);
    let headers = signature::Headers::of(&call.parts.headers)?;
    let (input, proof) = headers.parse()?;
    input.check(&call.parts.headers, has_body)?;
    if !input.is_current(call.now_s, gate.rules.clock_window_s) {
        return Err(Refusal::Expired);
    }
    // The algorithm is that of the app's keys, which differ in the length of what they make.
    let algorithm = match proof.len() {
        32 => signature::HMAC_SHA256,
        64 => signature::ED25519,
        _ => return Err(Malformed("a signature is neither of hmac-sha256 nor of ed25519").into()),
    };
    if input.algorithm.as_deref().is_some_and(|named| named != algorithm) {
        return Err(Malformed("alg is not the algorithm of the signature").into());
    }
    let message = Message {
        method: call.parts.method.as_str(),
        scheme: call.hop.scheme,
        authority: call.authority,
        uri: &call.parts.uri,
        headers: &call.parts.headers,
    };
    let base = input.base(&message)?;
    let digest =
        if input.covers(super::digest::CONTENT_DIGEST) { ContentDigest::of(&call.parts.headers)? } else { None };
    let (app_key, key_id) = input.key();
    let app = look_up(gate, app_key, call.now).await?;
    let is_proven = match algorithm {
        signature::ED25519 => gate.identity.prover.ed25519(public_keys(app.as_deref(), key_id), &base, &proof),
        _ => gate.identity.prover.hmac(secrets(app.as_deref(), key_id, call.now_s), &base, &proof),
    };
    let app = admit(app, is_proven, Scheme::Signature, call.now_s)?;
    if let Some(digest) = digest {
        let body = hold(gate, call.upload, call.api, call.deadline).await?;
        if !digest.matches(&body) {
            return Err(Refusal::Digest);
        }
    }
    let until_s = input.created.unwrap_or_default().saturating_add(gate.rules.clock_window_s);
    claim(gate, call, &app.key, &input.nonce, until_s).await?;
    Ok(Proven::new(app, Scheme::Signature))
}

async fn by_platform(gate: &Gate<'_>, call: &mut Call<'_>) -> Result<Proven, Refusal> {
    takes(call.api, Scheme::Platform)?;
    let body = hold(gate, call.upload, call.api, call.deadline).await?;
    let is_form = is_form(call.parts);
    let mut parameters = Parameters::default();
    parameters.add(call.parts.uri.query().unwrap_or_default())?;
    if is_form {
        parameters.add(std::str::from_utf8(&body).map_err(|_error| Malformed("a form is not text"))?)?;
    }
    parameters.sort()?;
    let signed = parameters.call(&gate.rules.platform_zone)?;
    if signed.timestamp_s.abs_diff(call.now_s) > gate.rules.platform_window_s {
        return Err(Refusal::Expired);
    }
    // The calls of a batch name their APIs themselves, and kits of these platforms leave it out there.
    if signed.method.is_empty() && !call.api.credentials.is_batch {
        return Err(Malformed("the parameter method is missing").into());
    }
    let is_named = signed.method == &*call.api.name || signed.method.is_empty();
    if !is_named || !call.api.credentials.has_plain_path {
        return Err(Refusal::Refused("the parameter method does not name the API that is called"));
    }
    let text = parameters.text(if is_form { b"" } else { &body });
    let app = look_up(gate, signed.app_key, call.now).await?;
    let keys = secrets(app.as_deref(), None, call.now_s);
    let is_proven = match signed.sign_method {
        Method::Hmac => gate.identity.prover.hmac(keys, &text, &signed.proof),
        Method::Md5 => {
            let may = app.as_ref().is_some_and(|app| app.platform_md5);
            gate.identity.prover.md5(keys, &text, &signed.proof) & Choice::from(u8::from(may))
        }
    };
    let app = admit(app, is_proven, Scheme::Platform, call.now_s)?;
    // There is no nonce: the signature itself is the only one of its kind.
    let nonce = format!("sign:{}", signed.sign);
    claim(gate, call, &app.key, &nonce, signed.timestamp_s.saturating_add(gate.rules.platform_window_s)).await?;
    Ok(Proven { session: signed.session.map(Into::into), ..Proven::new(app, Scheme::Platform) })
}

async fn by_api_key(gate: &Gate<'_>, call: &Call<'_>, pair: &Pair) -> Result<Proven, Refusal> {
    takes(call.api, Scheme::ApiKey)?;
    let app = look_up(gate, &pair.app_key, call.now).await?;
    gate.identity.prover.count_secret();
    // Of an app that does not exist, the key of one that nobody has is compared.
    let compared = app.as_deref().unwrap_or(&gate.identity.stand_in);
    let is_proven = gate.apps.api_key(compared, &pair.secret, call.now_s).is_some();
    let is_proven = Choice::from(u8::from(is_proven)) & Choice::from(u8::from(app.is_some()));
    Ok(Proven::new(admit(app, is_proven, Scheme::ApiKey, call.now_s)?, Scheme::ApiKey))
}

async fn by_basic(gate: &Gate<'_>, call: &Call<'_>, pair: &Pair) -> Result<Proven, Refusal> {
    takes(call.api, Scheme::Basic)?;
    let app = look_up(gate, &pair.app_key, call.now).await?;
    let is_proven = gate.identity.prover.secret(secrets(app.as_deref(), None, call.now_s), pair.secret.as_bytes());
    Ok(Proven::new(admit(app, is_proven, Scheme::Basic, call.now_s)?, Scheme::Basic))
}

async fn by_token(gate: &Gate<'_>, call: &Call<'_>, token: &str) -> Result<Proven, Refusal> {
    takes(call.api, Scheme::Jwt)?;
    let token = jwt::verify(gate.issuers, token, call.now_s)?;
    let app = look_up(gate, &token.app_key, call.now).await?;
    let app = admit(app, Choice::from(1), Scheme::Jwt, call.now_s)?;
    Ok(Proven { user: token.user, scopes: Some(token.scopes), ..Proven::new(app, Scheme::Jwt) })
}

/// A certificate counts only where a call says nothing itself, and one of nobody's is as good as none for an open API.
async fn by_certificate(gate: &Gate<'_>, call: &Call<'_>) -> Result<Option<Proven>, Refusal> {
    let Some(subject) = &call.hop.subject else { return Ok(None) };
    if takes(call.api, Scheme::Mtls).is_err() {
        return Ok(None);
    }
    let app = match gate.apps.find_by_subject(subject, call.now).await {
        Lookup::Found(app) => app,
        Lookup::Unknown if call.api.credentials.access == Access::Open => return Ok(None),
        Lookup::Unknown => return Err(Refusal::Refused("the certificate is no application's")),
        Lookup::Unavailable => return Err(Refusal::Unavailable("whose certificate it is cannot be known now")),
    };
    Ok(Some(Proven::new(admit(Some(app), Choice::from(1), Scheme::Mtls, call.now_s)?, Scheme::Mtls)))
}

/// The caller, with the user where the API is for users.
async fn with_user(gate: &Gate<'_>, call: &Call<'_>, proven: Proven, fields: Fields) -> Result<Caller, Refusal> {
    let header = if fields.session_token { presented::session_token(&call.parts.headers)? } else { None };
    let token = match (header, proven.session.as_deref()) {
        (Some(_), Some(_)) => return Err(Refusal::Ambiguous),
        (header, parameter) => header.or(parameter),
    };
    let caller =
        Caller { app: Some(proven.app), scheme: Some(proven.scheme), user: proven.user, scopes: proven.scopes };
    let is_for_items = call.api.credentials.is_batch && token.is_some();
    if caller.user.is_some() || (call.api.credentials.access != Access::User && !is_for_items) {
        return Ok(caller);
    }
    let token = token.ok_or(Refusal::UserMissing)?;
    match gate.apps.find_session(caller.app_key(), token, call.now).await {
        SessionLookup::Found(session) if session.expires_unix <= call.now_s => Err(Refusal::UserExpired),
        SessionLookup::Found(session) => {
            Ok(Caller { user: Some(Arc::clone(&session.user)), scopes: Some(session.scopes.clone()), ..caller })
        }
        SessionLookup::Unknown => Err(Refusal::UserMissing),
        SessionLookup::Unavailable => Err(Refusal::Unavailable("the session cannot be looked up now")),
    }
}

fn takes(api: &Api, scheme: Scheme) -> Result<(), Refusal> {
    let is_taken = api.credentials.schemes.contains(&scheme);
    if is_taken { Ok(()) } else { Err(Refusal::Refused("the API does not take this scheme")) }
}

async fn look_up(gate: &Gate<'_>, app_key: &str, now: Instant) -> Result<Option<Arc<App>>, Refusal> {
    match gate.apps.find(app_key, now).await {
        Lookup::Found(app) => Ok(Some(app)),
        Lookup::Unknown => Ok(None),
        Lookup::Unavailable => Err(Refusal::Unavailable("whether there is such an application cannot be known now")),
    }
}

/// The application, if it is proven and may call. What is wrong with it is told only behind the proof.
fn admit(app: Option<Arc<App>>, is_proven: Choice, scheme: Scheme, now_s: u64) -> Result<Arc<App>, Refusal> {
    let Some(app) = app.filter(|_| bool::from(is_proven)) else {
        return Err(Refusal::Refused("no such application, or not its secret"));
    };
    if !app.schemes.contains(&scheme) {
        return Err(Refusal::Refused("the scheme is not switched on for the application"));
    }
    if app.is_active(now_s) { Ok(app) } else { Err(Refusal::AppDisabled) }
}

/// The live secrets of an app, or the one with this id.
fn secrets<'a>(app: Option<&'a App>, id: Option<&str>, now_s: u64) -> Secrets<'a> {
    let live = app.iter().flat_map(|app| &app.secrets).filter(|secret| secret.is_live(now_s));
    let mut chosen = live.filter(|secret| id.is_none_or(|id| *secret.id == *id));
    [(); LIVE_KEYS].map(|()| chosen.next())
}

fn public_keys<'a>(app: Option<&'a App>, id: Option<&str>) -> Keys<'a> {
    let all = app.iter().flat_map(|app| &app.public_keys);
    let mut chosen = all.filter(|key| id.is_none_or(|id| *key.id == *id)).map(|key| &key.bytes[..]);
    [(); LIVE_KEYS].map(|()| chosen.next())
}

async fn hold(gate: &Gate<'_>, upload: &mut Upload, api: &Api, deadline: Instant) -> Result<Bytes, Refusal> {
    let room = gate.identity.room.enter(gate.rules.held_max);
    let held = until(deadline, upload.hold(api.credentials.signed_body_max, room)).await;
    held.map_err(|_elapsed| Refusal::Deadline)?.map_err(|error| match error {
        HoldError::TooLarge => Refusal::BodyTooLarge,
        HoldError::NoRoom => Refusal::NoRoom,
        HoldError::Upload(error) => Refusal::Upload(error),
    })
}

/// Whether the parameters of a form are signed. Only then is a body read that nothing in the head asks for.
async fn has_signed_form(gate: &Gate<'_>, call: &mut Call<'_>) -> Result<bool, Refusal> {
    if !call.api.credentials.reads_forms || matches!(call.upload, Upload::Empty) || !is_form(call.parts) {
        return Ok(false);
    }
    let body = hold(gate, call.upload, call.api, call.deadline).await?;
    let Ok(form) = std::str::from_utf8(&body) else { return Ok(false) };
    let query = call.parts.uri.query().unwrap_or_default();
    Ok(platform::is_signed(form) || platform::is_signed(&format!("{query}&{form}")))
}

fn is_form(parts: &Parts) -> bool {
    let kind = parts.headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    kind.eq_ignore_ascii_case("application/x-www-form-urlencoded")
}

/// Sees to it that a signed call is taken once. It counts until `until_s`, in Unix seconds.
async fn claim(gate: &Gate<'_>, call: &Call<'_>, app: &str, nonce: &str, until_s: u64) -> Result<(), Refusal> {
    let credentials = &call.api.credentials;
    let fleet = gate.identity.fleet.as_ref();
    let by_itself = if fleet.is_some() && !call.parts.method.is_safe() { Replay::Fleet } else { Replay::Node };
    let on_this_node = || match gate.identity.nonces.claim(app, nonce, until_s, call.now_s, gate.rules.nonces_max) {
        Claim::New => Ok(()),
        Claim::Known => Err(Refusal::Replayed),
        Claim::Full => Err(Refusal::ReplayUnavailable("this node remembers as many signed calls as it may")),
    };
    match (credentials.replay.unwrap_or(by_itself), fleet) {
        (Replay::Off, _) => Ok(()),
        (Replay::Node, _) => on_this_node(),
        (Replay::Fleet, Some(fleet)) => {
            // Clocks of nodes differ: as long again does no harm.
            let life = Duration::from_secs(until_s.saturating_sub(call.now_s).saturating_mul(2).max(1));
            // Seldom, and large: other calls do not carry its room about.
            match until(call.deadline, Box::pin(fleet.claim(app, nonce, life))).await {
                Ok(Ok(true)) => Ok(()),
                Ok(Ok(false)) => Err(Refusal::Replayed),
                Ok(Err(_)) | Err(_) if credentials.on_store_failure == OnStoreFailure::Open => on_this_node(),
                Ok(Err(_)) => Err(Refusal::ReplayUnavailable("the store does not answer")),
                Err(_elapsed) => Err(Refusal::Deadline),
            }
        }
        (Replay::Fleet, None) => Err(Refusal::ReplayUnavailable("there is no store that the fleet shares")),
    }
}

/// Takes the credentials out of a call: they are for the gate, and the service is told what they prove.
fn take_away(call: &mut Call<'_>, fields: Fields) {
    let headers = &mut call.parts.headers;
    for (is_there, name) in [
        (fields.authorization, header::AUTHORIZATION),
        (fields.api_key, presented::API_KEY),
        (fields.session_token, presented::SESSION_TOKEN),
        (fields.signature, signature::SIGNATURE),
        (fields.signature, signature::SIGNATURE_INPUT),
    ] {
        if is_there {
            headers.remove(name);
        }
    }
    if let Some(query) = call.parts.uri.query().filter(|_| fields.signed_query) {
        let left = platform::without_credentials(query);
        let path = call.parts.uri.path();
        let target = if left.is_empty() { path.to_owned() } else { format!("{path}?{left}") };
        let mut uri = std::mem::take(&mut call.parts.uri).into_parts();
        // What is left of a target is one.
        uri.path_and_query = PathAndQuery::from_maybe_shared(Bytes::from(target)).ok().or(uri.path_and_query);
        call.parts.uri = http::Uri::from_parts(uri).unwrap_or_default();
    }
    if call.api.credentials.reads_forms && is_form(call.parts) {
        take_out_of_form(call);
    }
}

fn take_out_of_form(call: &mut Call<'_>) {
    let Upload::Whole(whole) = &*call.upload else { return };
    let Some(form) = whole.data().and_then(|data| std::str::from_utf8(data).ok()) else { return };
    if !platform::has_credentials(form) {
        return;
    }
    let left = platform::without_credentials(form);
    if call.parts.headers.contains_key(header::CONTENT_LENGTH) {
        call.parts.headers.insert(header::CONTENT_LENGTH, HeaderValue::from(left.len()));
    }
    call.upload.replace(Bytes::from(left));
}
