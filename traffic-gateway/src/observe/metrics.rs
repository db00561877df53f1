//! stub
use std::time::Duration; use std::sync::LazyLock;
use gatehouse_shared::problem::Reason; use gatehouse_shared::{live::Live, shutdown::InFlight};
use crate::{balance::Route, policy::Policy};
pub struct Metrics;
pub static METRICS: LazyLock<Metrics> = LazyLock::new(|| Metrics);
impl Metrics { pub fn request(&self, _r: Option<&Route>, _s: u16, _reason: Option<&Reason>, _d: Duration) {} pub fn attempts(&self, _n: usize) {} }
pub fn render(_l: &Live<Policy>, _i: &InFlight) -> String { String::new() }
pub fn reference_markdown() -> String { String::new() }
