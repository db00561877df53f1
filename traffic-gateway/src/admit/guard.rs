//! The one place around every stage: asks it, counts its verdict, and takes the effect from a denial in observe mode.

use std::{
    sync::OnceLock,
    time::{Duration, Instant},
};

use super::{Denial, Ended, Mode, RequestView, Stage, Verdict};
use crate::observe::verdicts::{StageCounters, Verdicts};

/// A stage, or the place of one that is not configured, which costs a request nothing.
#[derive(Debug)]
pub struct Guard<S> {
    stage: Option<S>,
    mode: Mode,
    /// Resolved at the first request of a generation.
    counters: OnceLock<StageCounters>,
}

/// What the stages have granted a request.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Admitted {
    /// Limits and the WAF are skipped.
    pub is_trusted: bool,
    /// The WAF is skipped.
    pub skips_waf: bool,
    /// It passes after this time: the longest that a stage asked for.
    pub delay: Duration,
}

impl<S: Stage> Guard<S> {
    /// A stage in this mode; `None` where nothing is configured for it.
    #[must_use]
    pub fn new(stage: impl Into<Option<S>>, mode: Mode) -> Self {
        Self { stage: stage.into(), mode, counters: OnceLock::new() }
    }

    /// The stage, where there is one.
    #[must_use]
    pub fn stage(&self) -> Option<&S> {
        self.stage.as_ref()
    }

    /// Asks the stage and notes what it grants. In observe mode it still grants, but neither refuses nor delays.
    ///
    /// # Errors
    ///
    /// The denial, when the stage refuses and is to be obeyed.
    pub fn check(
        &self,
        request: &RequestView<'_>,
        now: Instant,
        verdicts: &Verdicts,
        admitted: &mut Admitted,
    ) -> Result<(), Denial> {
        let Some(stage) = &self.stage else { return Ok(()) };
        let counters = self.counters.get_or_init(|| verdicts.of_stage(S::NAME));
        let observed_before = request.observed_count();
        let mut refused = None;
        match stage.check(request, now) {
            Verdict::Pass => counters.pass.inc(),
            Verdict::Trusted => {
                counters.trusted.inc();
                admitted.is_trusted = true;
            }
            Verdict::SkipWaf => {
                counters.skip_waf.inc();
                admitted.skips_waf = true;
            }
            Verdict::Delay(delay) => {
                counters.delay.inc();
                if self.mode == Mode::Enforce {
                    admitted.delay = admitted.delay.max(delay);
                }
            }
            Verdict::Deny(denial) if self.mode == Mode::Observe || denial.mode == Mode::Observe => {
                request.observe(denial);
            }
            Verdict::Deny(denial) => {
                verdicts.count(S::NAME, "deny", denial.reason);
                refused = Some(denial.by(S::NAME));
            }
        }
        if request.observed_count() > observed_before {
            request.attribute(observed_before, S::NAME, |denial| verdicts.count(S::NAME, "observe", denial.reason));
        }
        refused.map_or(Ok(()), Err)
    }

    /// Tells the stage that a request has ended.
    pub fn finish(&self, ended: &Ended<'_>, now: Instant) {
        if let Some(stage) = &self.stage {
            stage.finish(ended, now);
        }
    }
}

#[cfg(test)]
mod tests {
    use gatehouse_shared::{clock, problem};

    use super::*;
    use crate::{admit::view::sample::Sample, observe::metrics::Metrics};

    /// A stage that does as it was told.
    struct Fixed(fn(&RequestView<'_>) -> Verdict);

    impl Stage for Fixed {
        const NAME: &'static str = "fixed";

        fn check(&self, request: &RequestView<'_>, _now: Instant) -> Verdict {
            self.0(request)
        }
    }

    fn denial() -> Denial {
        Denial::from(&problem::OVERLOADED)
    }

    struct Judged {
        result: Result<Admitted, Denial>,
        observed: Vec<Denial>,
        metrics: String,
    }

    fn judge(stage: impl Into<Option<Fixed>>, mode: Mode) -> Judged {
        let guard = Guard::new(stage, mode);
        let metrics = Metrics::new().unwrap();
        let sample = Sample::get("/", &[]);
        let view = sample.view();
        let mut admitted = Admitted::default();
        let result = guard.check(&view, clock::now(), metrics.verdicts(), &mut admitted).map(|()| admitted);
        Judged { result, observed: view.into_observed(), metrics: metrics.render() }
    }

    fn counted(metrics: &str, verdict: &str, reason: &str) -> bool {
        let line = format!(
            "gatehouse_edge_admission_verdicts_total{{reason=\"{reason}\",stage=\"fixed\",verdict=\"{verdict}\"}} 1"
        );
        metrics.lines().any(|found| found == line)
    }

    #[test]
    fn grants_are_noted_and_counted() {
        let trusted = judge(Fixed(|_| Verdict::Trusted), Mode::Enforce);
        assert!(trusted.result.unwrap().is_trusted && counted(&trusted.metrics, "trusted", "none"));
        let skips = judge(Fixed(|_| Verdict::SkipWaf), Mode::Observe);
        assert!(skips.result.unwrap().skips_waf && counted(&skips.metrics, "skip_waf", "none"));
        let passed = judge(Fixed(|_| Verdict::Pass), Mode::Enforce);
        assert_eq!(passed.result, Ok(Admitted::default()));
        assert!(counted(&passed.metrics, "pass", "none"));
    }

    #[test]
    fn a_stage_that_is_not_there_is_not_counted() {
        let judged = judge(None, Mode::Enforce);
        assert_eq!(judged.result, Ok(Admitted::default()));
        assert!(!judged.metrics.contains("stage=\"fixed\""), "{}", judged.metrics);
    }

    #[test]
    fn a_denial_is_enforced_with_the_name_of_its_stage() {
        let judged = judge(Fixed(|_| Verdict::Deny(denial())), Mode::Enforce);
        assert_eq!(judged.result, Err(denial().by("fixed")));
        assert!(judged.observed.is_empty() && counted(&judged.metrics, "deny", "overloaded"));
    }

    #[test]
    fn in_observe_mode_a_denial_is_written_down_and_a_delay_forgotten() {
        let judged = judge(Fixed(|_| Verdict::Deny(denial())), Mode::Observe);
        assert_eq!(judged.result, Ok(Admitted::default()));
        assert_eq!(judged.observed, [Denial { mode: Mode::Observe, ..denial().by("fixed") }]);
        assert!(counted(&judged.metrics, "observe", "overloaded"));
        let judged = judge(Fixed(|_| Verdict::Delay(Duration::from_secs(1))), Mode::Observe);
        assert_eq!(judged.result, Ok(Admitted::default()));
        let judged = judge(Fixed(|_| Verdict::Delay(Duration::from_secs(1))), Mode::Enforce);
        assert_eq!(judged.result.unwrap().delay, Duration::from_secs(1));
    }

    #[test]
    fn a_rule_that_observes_does_not_hide_the_next_one() {
        let stage = Fixed(|request| {
            for mode in [Mode::Observe, Mode::Enforce] {
                if let Some(denial) = request.judge(mode, denial()) {
                    return Verdict::Deny(denial);
                }
            }
            Verdict::Pass
        });
        let judged = judge(stage, Mode::Enforce);
        assert!(judged.result.is_err());
        assert_eq!(judged.observed.len(), 1);
        assert!(counted(&judged.metrics, "deny", "overloaded") && counted(&judged.metrics, "observe", "overloaded"));
    }
}
