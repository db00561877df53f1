//! The catalog of a fleet: published once, in force everywhere, and never replaced by what is older, forged or wrong.

mod fleet;
mod load;
mod process;

use std::net::SocketAddr;
use std::path::Path;

use serde_json::{Value, json};

use crate::support::redis::RedisServer;

/// What revisions are signed with.
const SECRET: &str = "a signing key of the fleet, 32 bytes or more";

/// An API of a service as the API and Redis have it.
fn api(name: &str, service: &str, path: &str) -> Value {
    json!({ "name": name, "service": service, "path": path, "access": "open" })
}

/// A service with one endpoint.
fn service(name: &str, endpoint: SocketAddr) -> Value {
    json!({ "name": name, "endpoints": [endpoint.to_string()] })
}

/// `[store]` and `[catalog]` of a node of a fleet; the key is written to `dir`.
fn fleet_settings(redis: &RedisServer, dir: &Path) -> String {
    let key = dir.join("catalog.key");
    std::fs::write(&key, SECRET).unwrap();
    let keys = format!("[{{ id = \"a\", secret = {{ file = \"{}\" }} }}]", key.display());
    format!("{}[catalog]\nsigning_keys = {keys}\npoll = \"50ms\"\n", redis.toml())
}
