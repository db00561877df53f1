//! From what the rules say to what a client is told and the security log writes.

use std::num::NonZeroU16;

use gatehouse_shared::problem::{self, Reason};
use gatehouse_waf::transaction::{Match, MatchedTarget, Report, Verdict};
use http::{HeaderValue, header};

use super::{NAME, Waf};
use crate::admit::{Action, Denial, Evidence, Finding, Findings, Matched, Mode, Source, denial::secret_digest};

/// Targets whose values must not be in a log.
const SECRETS: [&str; 2] = ["REQUEST_HEADERS:authorization", "REQUEST_HEADERS:proxy-authorization"];

/// Lets pass what the rules let pass.
///
/// # Errors
///
/// The denial that is answered for `reason`.
pub(super) fn obey(verdict: &Verdict, reason: &'static Reason) -> Result<(), Denial> {
    let denial = Denial::from(reason).by(NAME);
    match verdict {
        Verdict::Pass => Ok(()),
        Verdict::Deny { status, .. } => Err(Denial { status: NonZeroU16::new(*status), ..denial }),
        Verdict::Drop { .. } => Err(Denial { action: Some(Action::Drop), ..denial }),
        Verdict::Redirect { status, location, .. } => {
            // Where it leads may hold what the client sent: what is no header value is refused with a page.
            let location = HeaderValue::try_from(location.as_str()).ok();
            let headers: Vec<_> = location.map(|location| (header::LOCATION, location)).into_iter().collect();
            let status = NonZeroU16::new(*status).filter(|_| !headers.is_empty());
            Err(Denial { status, headers, action: Some(Action::Page), ..denial })
        }
    }
}

/// What would have been answered.
pub(super) fn observed(verdict: &Verdict, report: &Report, waf: &Waf) -> Option<Denial> {
    let reason = if is_of_answer(report) { &problem::WAF_ANSWER_DENIED } else { &problem::WAF_DENIED };
    let denial = obey(verdict, reason).err()?;
    Some(Denial { mode: Mode::Observe, ..denial.because_of(evidence(report, waf)) })
}

/// What led to a denial, as the report of the transaction tells it.
pub(super) fn evidence(report: &Report, waf: &Waf) -> Evidence {
    let by = match &report.decision {
        Some(Verdict::Deny { by, .. } | Verdict::Drop { by } | Verdict::Redirect { by, .. }) => *by,
        Some(Verdict::Pass) | None => 0,
    };
    let score =
        |score: i64, threshold: u32| Some((u32::try_from(score).ok()?, threshold)).filter(|(score, _)| *score > 0);
    let of_answer = is_of_answer(report);
    let scored = if of_answer {
        score(report.outbound_score, waf.outbound_threshold)
    } else {
        score(report.inbound_score, waf.inbound_threshold)
    };
    let rules = report.matches.iter().map(finding).collect();
    let mut evidence = Evidence::new(Source::Rule, by.to_string());
    // The value that counts is that of the rule which refused, or of the heaviest among those that led to it.
    let heaviest = report
        .matches
        .iter()
        .filter(|found| !found.targets.is_empty())
        .max_by_key(|found| (found.score, found.id == by));
    if let Some(target) = heaviest.and_then(|found| found.targets.first()) {
        evidence.matched = Some(shown(target));
    }
    evidence.findings(Findings { score: scored, rules })
}

fn finding(found: &Match) -> Finding {
    let matched = found.targets.first().map(shown);
    Finding {
        id: found.id,
        message: found.message.as_str().into(),
        score: u32::try_from(found.score).unwrap_or_default(),
        severity: found.severity,
        tags: found.tags.iter().map(|tag| tag.as_str().into()).collect(),
        place: (std::sync::Arc::clone(&found.source), found.position.line),
        matched: matched.unwrap_or_else(|| Matched::new("", b"")),
    }
}

/// A value for the security log. Of credentials only a digest is shown.
fn shown(target: &MatchedTarget) -> Matched {
    let is_secret = SECRETS.iter().any(|name| target.name.eq_ignore_ascii_case(name));
    if is_secret {
        return Matched::new(target.name.as_str(), secret_digest(&target.bytes).as_bytes());
    }
    Matched::new(target.name.as_str(), &target.bytes)
}

fn is_of_answer(report: &Report) -> bool {
    report.matches.last().is_some_and(|found| matches!(found.phase, 3 | 4))
}
