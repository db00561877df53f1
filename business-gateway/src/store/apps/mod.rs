//! Applications: who they are, what they prove themselves with, and what they may.
//!
//! Those that people write down ([`declared`]) are known at once. All others, of which there may be millions, are looked up by key
//! through a funnel: the checksum of the key, what the node remembers, a filter that knows which keys surely do not exist, and
//! at last the store.
//!
//! - [`app`]: one application, as compiled
//! - [`declared`]: applications in files of the catalog
//! - [`settings`]: `[apps]` of `business.toml`
//! - [`keyring`]: sealing, checksums and hashes
//! - [`mod@funnel`]: local memory over a store, with one read for all who wait
//! - [`rule`]: the cache control centre
//! - [`filter`], [`bloom`]: which keys surely do not exist
//! - [`follow`]: what nodes tell each other
//! - [`origin`], [`files`]: the store, in Redis or in files
//! - [`record`]: what is stored, and what calls need of it
//! - [`change`]: making, changing and removing
//! - [`check`]: what may stand in an application
//! - [`metrics`]: what is counted

pub mod app;
pub mod declared;
pub mod settings;
pub mod keyring;
pub mod funnel;
pub mod rule;
pub mod filter;
pub mod bloom;
pub mod follow;
pub mod origin;
pub mod files;
pub mod record;
pub mod change;
pub mod check;
pub mod metrics;

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use gatehouse_shared::clock;
use gatehouse_shared::config::{ConfigErrors, Positions, Sources};
use gatehouse_shared::live::Live;
use gatehouse_store::Redis;
use gatehouse_store::app::{Announced, RecordKind, RedisApps};
use subtle::{ConditionallySelectable as _, ConstantTimeEq as _};

pub use app::{ApiKeyHash, App, AppPublicKey, AppSecret, Scheme, Session, Status};
use bloom::Bloom;
use declared::Declared;
use filter::Filter;
use follow::{Follower, Listener};
use funnel::{Found, Funnel};
use keyring::{Form, Keyring};
use origin::{InRedis, Origin};
use record::{Applications, Sessions, Subjects};
use rule::Rules;
pub use settings::{Config, Settings};

use crate::policy::Policy;
use crate::store::catalog::CatalogConfig;

/// Longest app key that is looked up, in bytes.
const LONGEST_KEY: usize = 64;
/// For a node without a fleet nothing is ever announced by others.
const FOR_EVER: Duration = Duration::from_secs(100 * 365 * 86_400);

/// What a generation of the catalog says of applications.
#[derive(Debug, Default)]
pub struct Known {
    /// `[[app]]`.
    pub declared: Declared,
    /// `[[cache_rule]]`.
    pub rules: Rules,
}

impl Known {
    /// Compiles the applications and cache rules of a catalog.
    ///
    /// # Errors
    /// Everything that is wrong with them.
    pub fn compile(
        catalog: &CatalogConfig,
        sources: &mut Sources,
        positions: &Positions,
    ) -> Result<Self, ConfigErrors> {
        let mut errors = ConfigErrors::new();
        let declared = errors.collect(Declared::compile(&catalog.app, sources, positions));
        let rules = errors.collect(Rules::compile(&catalog.cache_rule, positions));
        match (declared, rules) {
            (Some(declared), Some(rules)) => errors.into_result(Self { declared, rules }),
            _ => Err(errors),
        }
    }
}

/// What a look-up of an application finds.
#[derive(Debug, Clone)]
pub enum Lookup {
    /// The application.
    Found(Arc<App>),
    /// There is none.
    Unknown,
    /// Nobody can say now.
    Unavailable,
}

/// What a look-up of a user's authorisation finds.
#[derive(Debug, Clone)]
pub enum SessionLookup {
    /// The authorisation; who looks it up checks when it ends.
    Found(Arc<Session>),
    /// There is none.
    Unknown,
    /// Nobody can say now.
    Unavailable,
}

/// All applications, as one node knows them.
pub struct Apps {
    live: Arc<Live<Policy>>,
    /// The generation whose cache rules are in force.
    rules_of: AtomicU64,
    /// Where those that are in no file are kept; none without keys.
    kept: Option<Kept>,
}

impl std::fmt::Debug for Apps {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Apps").field("kept", &self.kept).finish_non_exhaustive()
    }
}

/// The applications of the store.
#[derive(Debug)]
struct Kept {
    keys: Arc<Keyring>,
    origin: Arc<dyn Origin>,
    filter: Arc<Filter>,
    follower: Option<Arc<Follower>>,
    apps: Arc<Funnel<Applications>>,
    sessions: Arc<Funnel<Sessions>>,
    subjects: Arc<Funnel<Subjects>>,
}

impl Kept {
    fn new(settings: &Settings, keys: Arc<Keyring>, origin: Arc<dyn Origin>, redis: Option<RedisApps>) -> Self {
        let (now, filter) = (clock::now(), Arc::new(Filter::default()));
        let follow = |redis| Follower::new(redis, Arc::clone(&filter), Arc::clone(&keys), settings.pace);
        let follower = redis.map(follow).map(Arc::new);
        let most = settings.reads;
        let applications = Applications { keys: Arc::clone(&keys), filter: Arc::clone(&filter) };
        Self {
            apps: Funnel::new(applications, Arc::clone(&origin), most, now),
            sessions: Funnel::new(Sessions { keys: Arc::clone(&keys) }, Arc::clone(&origin), most, now),
            subjects: Funnel::new(Subjects { keys: Arc::clone(&keys) }, Arc::clone(&origin), most, now),
            keys,
            origin,
            filter,
            follower,
        }
    }

    fn follow_rules(&self, rules: &Rules) {
        self.apps.follow_rules(rules);
        self.sessions.follow_rules(rules);
        self.subjects.follow_rules(rules);
    }
}

impl Listener for Kept {
    fn changed(&self, change: &Announced, now: Instant) {
        match change.kind {
            RecordKind::App => self.apps.changed(&change.key, change.version, now),
            RecordKind::Session => self.sessions.changed(&change.key, change.version, now),
            RecordKind::Subject => self.subjects.changed(&change.key, change.version, now),
        }
    }

    fn missed(&self, now: Instant) {
        self.apps.missed(now);
        self.sessions.missed(now);
        self.subjects.missed(now);
    }

    fn is_current_until(&self, until: Instant) {
        self.apps.is_current_until(until);
        self.sessions.is_current_until(until);
        self.subjects.is_current_until(until);
    }
}

impl Apps {
    /// The applications of a node: in the fleet's Redis, or in files of its state directory.
    ///
    /// # Errors
    /// The files or the node's own keys cannot be read or written.
    pub fn open(live: Arc<Live<Policy>>, store: Option<&Arc<Redis>>) -> io::Result<Self> {
        let policy = live.current();
        let settings = &policy.value.app_settings;
        let kept = match store {
            Some(redis) => Self::in_redis(settings, redis),
            None => Some(Self::in_files(settings, &policy.value.process.state_dir)?),
        };
        let apps = Self { live, rules_of: AtomicU64::new(0), kept };
        apps.follow_rules();
        Ok(apps)
    }

    fn in_redis(settings: &Settings, redis: &Arc<Redis>) -> Option<Kept> {
        let Some(keys) = settings.keyring() else {
            tracing::info!("no [apps] sealing_keys: applications come from files only");
            return None;
        };
        let redis = RedisApps::new(Arc::clone(redis));
        let origin: Arc<dyn Origin> = Arc::new(InRedis::new(redis.clone(), Arc::clone(keys)));
        Some(Kept::new(settings, Arc::clone(keys), origin, Some(redis)))
    }

    fn in_files(settings: &Settings, state_dir: &Path) -> io::Result<Kept> {
        let keys = settings.keyring_of_node(state_dir)?;
        let files = Arc::new(files::InFiles::open(state_dir, Arc::clone(&keys))?);
        let filter = Bloom::with_room(u64::try_from(files.len()).unwrap_or(u64::MAX).saturating_mul(2));
        files.keys().iter().for_each(|key| filter.insert(keys.mark(key)));
        let kept = Kept::new(settings, keys, files, None);
        let attempt = kept.filter.begin();
        kept.filter.finish(attempt, filter);
        kept.is_current_until(clock::now() + FOR_EVER);
        Ok(kept)
    }

    /// Follows the fleet and the catalog until the task is dropped.
    pub async fn run(self: Arc<Self>) {
        let follow = async {
            if let Some((kept, follower)) = self.kept.as_ref().and_then(|kept| Some((kept, kept.follower.as_ref()?))) {
                follower.run(kept).await;
            }
        };
        let look_after = async {
            let mut ticks = tokio::time::interval(Duration::from_millis(100));
            ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            loop {
                ticks.tick().await;
                self.follow_rules();
                if let Some(follower) = self.kept.as_ref().and_then(|kept| kept.follower.as_ref()) {
                    follower.look_after_filter();
                }
            }
        };
        tokio::join!(follow, look_after);
    }

    /// The cache rules of the current generation come into force.
    fn follow_rules(&self) {
        let generation = self.live.current();
        if self.rules_of.swap(generation.number, Ordering::AcqRel) != generation.number
            && let Some(kept) = &self.kept
        {
            kept.follow_rules(&generation.value.apps.rules);
        }
    }

    /// Looks an application up by its key. Ready at once unless the store must be asked.
    pub async fn find(&self, key: &str, now: Instant) -> Lookup {
        let generation = self.live.current();
        if let Some(app) = generation.value.apps.declared.find(key) {
            return Lookup::Found(Arc::clone(app));
        }
        let Some(kept) = &self.kept else { return Lookup::Unknown };
        if self.rules_of.load(Ordering::Acquire) != generation.number {
            self.follow_rules();
        }
        drop(generation);
        let is_forged = || kept.keys.form_of_app_key(key) == Form::Forged;
        // What is in memory is no guess; its checksum was right when it was made.
        match kept.apps.known(key, now) {
            Some(Found::Value(app)) => return Lookup::Found(app),
            _ if key.len() > LONGEST_KEY || check::app_key(key).is_err() || is_forged() => {
                kept.apps.counters.forged.add();
                return Lookup::Unknown;
            }
            Some(Found::Unknown) => return Lookup::Unknown,
            Some(Found::Unavailable) | None => {}
        }
        match kept.apps.ask(key, now).await {
            Found::Value(app) => Lookup::Found(app),
            Found::Unknown => Lookup::Unknown,
            Found::Unavailable => Lookup::Unavailable,
        }
    }

    /// Looks an application up by the subject of its client certificate.
    pub async fn find_by_subject(&self, subject: &str, now: Instant) -> Lookup {
        if let Some(app) = self.live.current().value.apps.declared.find_by_subject(subject) {
            return Lookup::Found(Arc::clone(app));
        }
        let Some(kept) = &self.kept else { return Lookup::Unknown };
        if check::subject(subject).is_err() {
            return Lookup::Unknown;
        }
        let key = match kept.subjects.find(subject, now).await {
            Found::Value(key) => key,
            Found::Unknown => return Lookup::Unknown,
            Found::Unavailable => return Lookup::Unavailable,
        };
        match self.find(&key, now).await {
            // The index may be behind: what the application says counts.
            Lookup::Found(app) if !app.subjects.iter().any(|one| **one == *subject) => Lookup::Unknown,
            found => found,
        }
    }

    /// Looks up what a user has allowed an application, by the token the user was given.
    pub async fn find_session(&self, app_key: &str, token: &str, now: Instant) -> SessionLookup {
        let Some(kept) = &self.kept else { return SessionLookup::Unknown };
        if check::app_key(app_key).is_err() || !kept.keys.is_token_of(app_key, token) {
            kept.sessions.counters.forged.add();
            return SessionLookup::Unknown;
        }
        let key = format!("{app_key}/{}", kept.keys.id_of_token(app_key, token));
        match kept.sessions.find(&key, now).await {
            Found::Value(session) => SessionLookup::Found(session),
            Found::Unknown => SessionLookup::Unknown,
            Found::Unavailable => SessionLookup::Unavailable,
        }
    }

    /// The API key of an application with this secret, if it has one that counts at `now_unix`. The work does not depend on
    /// which one it is, or whether there is one.
    #[must_use]
    pub fn api_key<'a>(&self, app: &'a App, secret: &str, now_unix: u64) -> Option<&'a ApiKeyHash> {
        let written = keyring::hash_in_memory(&app.key, secret.as_bytes());
        let kept = self.kept.as_ref().map(|kept| kept.keys.hash_of_api_key(&app.key, secret.as_bytes()));
        let kept = kept.unwrap_or(written);
        let mut found = 0_u64;
        for (place, key) in (1_u64..).zip(&app.api_keys) {
            let is_it = key.hash.ct_eq(&written) | key.hash.ct_eq(&kept);
            found = u64::conditional_select(&found, &place, is_it);
        }
        let place = usize::try_from(found.checked_sub(1)?).ok()?;
        app.api_keys.get(place).filter(|key| key.expires_unix.is_none_or(|end| now_unix < end))
    }

    /// Whether applications can be made and changed here.
    #[must_use]
    pub fn can_change(&self) -> bool {
        self.kept.is_some()
    }
}
