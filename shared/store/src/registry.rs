//! The registry of endpoints: services say where they are, again and again, and nodes of the business tier read it.
//!
//! A sorted set for each name: the member says where an endpoint is, the score when that ends, in Unix milliseconds. A member
//! is an address with its port and, with single spaces in between, `weight=N` and `zone=NAME`, such as
//! `10.0.0.7:9001 weight=3 zone=a`; words of another form are left alone, so that later versions may say more. One command is
//! a registration and a heartbeat: `ZADD gh:b:registry:{orders} 1767225615000 10.0.0.7:9001`. Of several members with the same
//! address the one that lasts longest counts. An end further away than [`LONGEST`] is none: a clock is wrong there.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use gatehouse_shared::balance::{EndpointSpec, is_zone};

use crate::key::{Key, KeyError};
use crate::redis::{Command, Redis, StoreError};

/// Longest time that a registration lasts.
pub const LONGEST: Duration = Duration::from_secs(86_400);
/// Longest member that is looked at, in bytes.
const MEMBER_MAX: usize = 256;
/// The largest weight.
const WEIGHT_MAX: u32 = 1_000;
/// How long an ended registration is kept for people to see, in milliseconds.
const KEPT: u64 = 3_600_000;

/// ARGV: how many are read at most, how long one lasts at most, how long an ended one is kept. Answers the time and what lasts,
/// with its end.
const READ: &str = r"
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', string.format('(%.0f', now - ARGV[3]))
local found = redis.call('ZRANGEBYSCORE', KEYS[1], string.format('(%.0f', now),
  string.format('%.0f', now + ARGV[2]), 'WITHSCORES', 'LIMIT', 0, ARGV[1])
table.insert(found, 1, string.format('%.0f', now))
return found
";

/// ARGV: address, how long it lasts or 0 to remove it, member. Other members with the address go. Answers how many there were.
const CHANGE: &str = r"
local known = 0
for _, member in ipairs(redis.call('ZRANGE', KEYS[1], 0, -1)) do
  if string.match(member, '^[^ ]*') == ARGV[1] then
    known = known + redis.call('ZREM', KEYS[1], member)
  end
end
if tonumber(ARGV[2]) > 0 then
  local time = redis.call('TIME')
  local now = time[1] * 1000 + math.floor(time[2] / 1000)
  redis.call('ZADD', KEYS[1], string.format('%.0f', now + ARGV[2]), ARGV[3])
end
return known
";

/// An endpoint as it registered itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registration {
    /// Where it is.
    pub endpoint: EndpointSpec,
    /// How long it lasts from when it was read.
    pub left: Duration,
}

/// What is registered under one name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Registered {
    /// By address, each once.
    pub endpoints: Vec<Registration>,
    /// Members that are not of the form.
    pub malformed: u64,
    /// Whether there were more than were read.
    pub is_cut: bool,
}

/// The registry in Redis.
#[derive(Clone, Debug)]
pub struct Registry {
    redis: Arc<Redis>,
}

impl Registry {
    /// That in this Redis.
    #[must_use]
    pub fn new(redis: Arc<Redis>) -> Self {
        Self { redis }
    }

    /// Reads what is registered under a name, `most` members of it.
    ///
    /// # Errors
    /// As [`StoreError`] says.
    pub async fn read(&self, name: &str, most: usize) -> Result<Registered, StoreError> {
        let read = Command::script(READ, &[&key(name)?]);
        let read = read.arg(u64::try_from(most).unwrap_or(u64::MAX).saturating_add(1)).arg(millis(LONGEST)).arg(KEPT);
        Ok(understand(&self.redis.one::<Vec<Vec<u8>>>(read).await?, most))
    }

    /// Registers an endpoint, or lasts longer. Tells whether it was there.
    ///
    /// # Errors
    /// As [`StoreError`] says.
    pub async fn register(&self, name: &str, endpoint: &EndpointSpec, lasting: Duration) -> Result<bool, StoreError> {
        let lasting = millis(lasting.min(LONGEST)).max(1);
        self.change(name, endpoint.address, lasting, &member(endpoint)).await
    }

    /// Takes an endpoint out. Tells whether it was there.
    ///
    /// # Errors
    /// As [`StoreError`] says.
    pub async fn remove(&self, name: &str, address: SocketAddr) -> Result<bool, StoreError> {
        self.change(name, address, 0, "").await
    }

    async fn change(&self, name: &str, address: SocketAddr, lasting: u64, member: &str) -> Result<bool, StoreError> {
        let change = Command::script(CHANGE, &[&key(name)?]).arg(address.to_string()).arg(lasting).arg(member);
        Ok(self.redis.one::<u64>(change).await? > 0)
    }
}

/// Names of services are never empty and never too long.
fn key(name: &str) -> Result<Key, StoreError> {
    Key::registry(name).map_err(|error: KeyError| StoreError::Refused(error.to_string().into()))
}

/// An endpoint as it is registered.
#[must_use]
pub fn member(endpoint: &EndpointSpec) -> String {
    let mut member = endpoint.address.to_string();
    if endpoint.weight != 1 {
        member.push_str(&format!(" weight={}", endpoint.weight));
    }
    if let Some(zone) = &endpoint.zone {
        member.push_str(&format!(" zone={zone}"));
    }
    member
}

/// The endpoint that a member says; `None` when it is not of the form.
#[must_use]
pub fn parse(member: &str) -> Option<EndpointSpec> {
    if member.len() > MEMBER_MAX {
        return None;
    }
    let mut words = member.split(' ');
    let address: SocketAddr = words.next()?.parse().ok()?;
    let mut endpoint = EndpointSpec::from(address);
    for word in words {
        if let Some(weight) = word.strip_prefix("weight=") {
            endpoint.weight = weight.parse().ok().filter(|weight| (1..=WEIGHT_MAX).contains(weight))?;
        } else if let Some(zone) = word.strip_prefix("zone=") {
            endpoint.zone = Some(Some(zone).filter(|zone| is_zone(zone))?.into());
        }
    }
    (address.port() != 0).then_some(endpoint)
}

/// What [`READ`] answered.
fn understand(reply: &[Vec<u8>], most: usize) -> Registered {
    let mut registered = Registered::default();
    let Some((now, members)) = reply.split_first() else { return registered };
    let text = |bytes: &'_ [u8]| std::str::from_utf8(bytes).map(str::to_owned).ok();
    // A score is a double; that of a time is whole.
    let millis = |bytes: &[u8]| text(bytes)?.split('.').next()?.parse::<u64>().ok();
    let now = millis(now).unwrap_or(u64::MAX);
    registered.is_cut = members.len() / 2 > most;
    for pair in members.chunks_exact(2).take(most) {
        let [member, end] = pair else { continue };
        let (Some(endpoint), Some(end)) = (text(member).and_then(|member| parse(&member)), millis(end)) else {
            registered.malformed += 1;
            continue;
        };
        let left = Duration::from_millis(end.saturating_sub(now));
        registered.endpoints.push(Registration { endpoint, left });
    }
    let endpoints = &mut registered.endpoints;
    endpoints.sort_by_key(|it| (it.endpoint.address, std::cmp::Reverse(it.left)));
    endpoints.dedup_by_key(|it| it.endpoint.address);
    registered
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{Strategy, any, prop, proptest};

    use super::*;

    fn endpoint() -> impl Strategy<Value = EndpointSpec> {
        let address = (any::<std::net::IpAddr>(), 1..=u16::MAX).prop_map(SocketAddr::from);
        (address, 1..=WEIGHT_MAX, prop::option::of("[a-zA-Z0-9._-]{1,64}"))
            .prop_map(|(address, weight, zone)| EndpointSpec { address, weight, zone: zone.map(Into::into) })
    }

    proptest! {
        #[test]
        fn a_member_says_what_was_registered(endpoint in endpoint()) {
            assert_eq!(parse(&member(&endpoint)), Some(endpoint));
        }

        #[test]
        fn nothing_that_somebody_writes_does_harm(text in any::<String>(), more in "[0-9.:]{1,20} (weight=|zone=)?.{0,9}") {
            for text in [text, more] {
                if let Some(endpoint) = parse(&text) {
                    assert!((1..=WEIGHT_MAX).contains(&endpoint.weight) && endpoint.address.port() > 0);
                }
            }
        }
    }

    #[test]
    fn a_member_has_a_form() {
        let plain = EndpointSpec::from("10.0.0.7:9001".parse::<SocketAddr>().unwrap());
        assert_eq!(parse("10.0.0.7:9001"), Some(plain.clone()));
        assert_eq!(parse("10.0.0.7:9001 build=7 zone=a"), Some(EndpointSpec { zone: Some("a".into()), ..plain }));
        for wrong in [
            "",
            "orders:9001",
            "10.0.0.7",
            "10.0.0.7:0",
            "10.0.0.7:1 weight=0",
            "10.0.0.7:1 weight=1001",
            "10.0.0.7:1 zone=",
        ] {
            assert_eq!(parse(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn the_one_that_lasts_longest_counts_and_the_rest_is_counted() {
        let reply: Vec<Vec<u8>> =
            ["1000", "10.0.0.2:1", "2000", "10.0.0.1:1 weight=5", "3000", "10.0.0.1:1", "2500", "nonsense", "9000"]
                .map(|text| text.as_bytes().to_vec())
                .into();
        let registered = understand(&reply, 10);
        let endpoints: Vec<String> =
            registered.endpoints.iter().map(|it| format!("{} {:?}", member(&it.endpoint), it.left)).collect();
        assert_eq!(endpoints, ["10.0.0.1:1 weight=5 2s", "10.0.0.2:1 1s"]);
        assert_eq!((registered.malformed, registered.is_cut), (1, false));
        assert!(understand(&reply, 3).is_cut);
        assert_eq!(understand(&[], 3), Registered::default());
    }
}
