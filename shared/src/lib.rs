//! What both tiers share; knows neither Pingora nor axum nor hyper nor Redis.
//!
//! From the outside in: [`config`] reads files, [`live`] and [`watch`] keep exactly one compiled generation of them,
//! [`hop`] is what the tiers say to each other, [`problem`] is what they say to clients, [`balance`] chooses who serves, [`limit`] who may ask for how much,
//! [`telemetry`] tells operators, [`admin`] decides which operator may do what, and [`shutdown`] ends it all in order.

pub mod clock;
pub mod config;
pub mod live;
pub mod watch;
pub mod id;
pub mod hop;
pub mod message;
pub mod problem;
pub mod cidr;
pub mod balance;
pub mod limit;
pub mod telemetry;
pub mod admin;
pub mod audit;
pub mod process;
pub mod shutdown;
