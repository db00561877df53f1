//! May it pass? The stages in the order in which a request meets them.
//!
//! Well-formedness is behind us ([`crate::accept`]). A [`Stage`] is one synchronous judgement on what a [`RequestView`]
//! shows; the [`Guard`] around each counts its verdicts and takes the effect from denials in observe mode. A refusal is a
//! [`Denial`]: answered by [`crate::answer`], written to the security log by [`crate::observe`]. The order is a security
//! property and therefore code: [`Admission::check`].
//!
//! The rules of the [`waf`] are no stage: they go on looking at the body and at the answer. What they know of a request is an
//! [`Inspection`] that travels with it.

pub mod stage;
pub mod view;
pub mod guard;
pub mod denial;
pub mod protocol;
pub mod blocklist;
pub mod access;
pub mod cut;
pub mod limit;
pub mod destination;
pub mod waf;

pub use denial::{Action, Denial, Entry, Evidence, Finding, Findings, Matched, Mode, Source};
pub use guard::{Admitted, Guard};
pub use stage::{Ended, Stage, Verdict};
pub use view::RequestView;

use std::{net::IpAddr, sync::Arc, time::Instant};

use gatehouse_shared::{
    clock,
    config::{ConfigErrors, Positions, Sources},
    id::RequestId,
};

use access::Access;
use blocklist::Blocklist;
use cut::{CutOff, Cuts};
use destination::Destination;
use limit::{Limits, Upkeep};
use protocol::Protocol;
use waf::{Inspection, Waf};

use crate::{config::Config, observe::verdicts::Verdicts};

/// Every stage of one generation, in order.
#[derive(Debug)]
pub struct Admission {
    protocol: Guard<Protocol>,
    blocklist: Guard<Blocklist>,
    access: Guard<Access>,
    cut: Guard<CutOff>,
    limit: Guard<Limits>,
    destination: Guard<Destination>,
    waf: Option<Arc<Waf>>,
    upkeep: Upkeep,
}

impl Default for Admission {
    /// What is judged without any configuration.
    fn default() -> Self {
        Self {
            protocol: Guard::new(Protocol, Mode::Enforce),
            blocklist: Guard::new(Blocklist::default(), Mode::Enforce),
            access: Guard::new(None, Mode::Enforce),
            cut: Guard::new(CutOff::default(), Mode::Enforce),
            limit: Guard::new(None, Mode::Enforce),
            destination: Guard::new(Destination, Mode::Enforce),
            waf: None,
            upkeep: Upkeep::default(),
        }
    }
}

impl Admission {
    /// Compiles every stage; what must outlive a reload is taken over from the stages `before`.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with any of them.
    pub fn compile(
        config: &Config,
        before: Option<&Self>,
        sources: &mut Sources,
        positions: &Positions,
    ) -> Result<Self, ConfigErrors> {
        let mut errors = ConfigErrors::new();
        let before_access = before.and_then(|before| before.access.stage());
        let access = errors.collect(Access::compile(&config.access, before_access, sources, positions));
        let access = Guard::new(access.filter(|access| !access.is_empty()), Mode::Enforce);
        let blocklist = before.and_then(Self::blocklist).cloned().unwrap_or_default();
        let blocklist = Guard::new(blocklist, Mode::Enforce);
        let cut = before.and_then(|before| before.cut.stage()).cloned().unwrap_or_default();
        let upkeep = Upkeep::new(&config.limits, before.map(|before| &before.upkeep));
        let limits_before = before.and_then(|before| before.limit.stage());
        let limits = Limits::compile(config, limits_before, upkeep.bans(), sources, positions, clock::now());
        let limits = errors.collect(limits).flatten();
        let waf = Waf::compile(config, before.and_then(|before| before.waf.as_deref()), sources, positions);
        let waf = errors.collect(waf).flatten().map(Arc::new);
        errors.into_result(Self {
            blocklist,
            access,
            cut: Guard::new(cut, Mode::Enforce),
            limit: Guard::new(limits, Mode::Enforce),
            waf,
            upkeep,
            ..Self::default()
        })
    }

    /// Whether a connection of this client is served at all, asked as soon as the client is known and before anything of TLS
    /// or HTTP is read; at `now`, which is `unix_ms`.
    ///
    /// # Errors
    ///
    /// The denial for the security log; the connection is closed without an answer.
    pub fn check_connection(&self, client: IpAddr, now: Instant, unix_ms: u64) -> Result<(), Denial> {
        if let Some(denial) = self.blocklist().and_then(|blocklist| blocklist.refuses(client, unix_ms)) {
            return Err(denial);
        }
        if let Some(denial) = self.access.stage().and_then(|access| access.refuses_connection(client, unix_ms)) {
            return Err(denial);
        }
        if let Some(blocklist) = self.blocklist() {
            blocklist.crawlers().connected(client, now);
        }
        Ok(())
    }

    /// The dynamic blocklist, the same in every generation of a process.
    #[must_use]
    pub fn blocklist(&self) -> Option<&Blocklist> {
        self.blocklist.stage()
    }

    /// The access lists, where there are any.
    #[must_use]
    pub fn access(&self) -> Option<&Access> {
        self.access.stage()
    }

    /// Which routes are stopped, the same in every generation of a process.
    #[must_use]
    pub fn cuts(&self) -> Option<&Arc<Cuts>> {
        self.cut.stage().map(CutOff::cuts)
    }

    /// The limits, where there are any.
    #[must_use]
    pub fn limits(&self) -> Option<&Limits> {
        self.limit.stage()
    }

    /// The rules, where there are any.
    #[must_use]
    pub fn waf(&self) -> Option<&Arc<Waf>> {
        self.waf.as_ref()
    }

    /// What limits need beside requests.
    #[must_use]
    pub fn upkeep(&self) -> &Upkeep {
        &self.upkeep
    }

    /// Asks every stage in order; the first that refuses has the last word.
    ///
    /// # Errors
    ///
    /// The denial of that stage.
    pub fn check(&self, request: &RequestView<'_>, now: Instant, verdicts: &Verdicts) -> Result<Admitted, Denial> {
        let mut admitted = Admitted::default();
        self.protocol.check(request, now, verdicts, &mut admitted)?;
        self.blocklist.check(request, now, verdicts, &mut admitted)?;
        self.access.check(request, now, verdicts, &mut admitted)?;
        self.cut.check(request, now, verdicts, &mut admitted)?;
        if !admitted.is_trusted {
            self.limit.check(request, now, verdicts, &mut admitted)?;
        }
        self.destination.check(request, now, verdicts, &mut admitted)?;
        Ok(admitted)
    }

    /// Shows the head of an admitted request to the rules, unless it may skip them. What they know of it goes with the request.
    pub fn inspect(
        &self,
        request: &RequestView<'_>,
        admitted: &Result<Admitted, Denial>,
        request_id: &RequestId,
    ) -> (Option<Box<Inspection>>, Result<(), Denial>) {
        match (&self.waf, admitted) {
            (Some(waf), Ok(admitted)) if !admitted.is_trusted && !admitted.skips_waf => {
                waf.inspect(request, request_id.as_str())
            }
            _ => (None, Ok(())),
        }
    }

    /// A request has ended: tells every stage.
    pub fn finish(&self, ended: &Ended<'_>, now: Instant) {
        self.protocol.finish(ended, now);
        self.blocklist.finish(ended, now);
        self.access.finish(ended, now);
        self.cut.finish(ended, now);
        self.limit.finish(ended, now);
        self.destination.finish(ended, now);
    }
}

#[cfg(test)]
mod tests {
    use gatehouse_shared::clock;

    use super::{view::sample::Sample, *};
    use crate::observe::metrics::Metrics;

    fn code(sample: &Sample) -> Option<(&'static str, Option<&'static str>)> {
        let metrics = Metrics::new().unwrap();
        let admission = Admission::default();
        let denial = admission.check(&sample.view(), clock::now(), metrics.verdicts()).err()?;
        Some((denial.reason.code, denial.stage))
    }

    #[test]
    fn an_upgrade_is_refused_before_its_route_is_missed() {
        let upgrade = Sample::get("/", &[("Connection", "upgrade"), ("Upgrade", "websocket")]);
        assert_eq!(code(&upgrade), Some(("upgrade_unsupported", Some("protocol"))));
        assert_eq!(code(&Sample::get("/", &[])), Some(("route_not_found", Some("route"))));
        assert_eq!(code(&Sample::get("/", &[]).routed()), None);
    }

    /// Prints what a clean request costs here.
    #[test]
    #[expect(clippy::print_stdout, reason = "the figure is the point")]
    #[ignore = "measures; says something only with optimisation"]
    fn a_clean_request_costs_little() {
        const ROUNDS: u32 = 1_000_000;
        let (metrics, sample) = (Metrics::new().unwrap(), Sample::get("/", &[]).routed());
        let (admission, start) = (Admission::default(), clock::now());
        for _ in 0..ROUNDS {
            let view = std::hint::black_box(&sample).view();
            assert!(admission.check(&view, start, metrics.verdicts()).is_ok());
        }
        let each = (clock::now() - start) / ROUNDS;
        println!("admission of a clean request: {each:?}");
        assert!(each < std::time::Duration::from_micros(5));
    }
}
