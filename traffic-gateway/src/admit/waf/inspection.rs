//! The rules' view of one request: its transaction, and the body that waits for their verdict.
//!
//! A body that may be refused is held back: not a byte of it goes on before the rules have seen all of it. Short bodies are
//! collected before anything is sent ([`crate::forward::collect`]), others in the filter of bodies, which Pingora calls again
//! from the beginning when a request is tried on another node. Where rules only observe, nothing is held back.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use bytes::Bytes;
use gatehouse_shared::problem;
use gatehouse_waf::transaction::{Mode, Transaction, Verdict};
use http::{HeaderMap, StatusCode};

use super::{
    NAME, Waf,
    budget::{Full, Held},
    config::{Answers, Beyond},
    media_type, verdict,
};
use crate::{
    accept,
    admit::{Denial, RequestView},
};

/// From this length on a body is judged on a thread for blocking work, so that the neighbours of its connection do not wait, in
/// bytes: ordinary ones cost some microseconds a KiB, adversarial ones some hundreds.
const ASIDE: u64 = 16 * 1024;

/// What the rules know of one request.
pub struct Inspection {
    waf: Arc<Waf>,
    /// `None` only while a verdict is looked for on another thread.
    transaction: Option<Transaction>,
    body: Body,
    answer: Answer,
    bounds: Bounds,
    mode: Mode,
}

/// How much of a body the rules have seen when they judge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shown {
    All,
    Beginning,
}

impl Shown {
    fn up_to(is_end: bool) -> Self {
        if is_end { Self::All } else { Self::Beginning }
    }
}

/// How bodies of one request are dealt with.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    /// What happens to one longer than `max`.
    pub(super) beyond: Beyond,
    /// Bytes that may be held back.
    pub(super) max: u64,
}

/// How far the rules are with the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    /// They do not look at its body, or no more.
    Passes,
    /// They see its pieces.
    Seen,
}

/// How far the rules are with the body.
#[derive(Debug)]
enum Body {
    /// It passes: there is none, the rules do not want it, or they have judged it.
    Passes,
    /// They see its pieces. `held` are those that wait for their verdict, none where rules only observe.
    Seen { bytes: u64, held: Held },
}

impl Inspection {
    pub(super) fn new(waf: Arc<Waf>, transaction: Transaction, bounds: Bounds, mode: Mode) -> Self {
        let (body, answer) = (Body::Passes, Answer::Passes);
        Self { waf, transaction: Some(transaction), body, answer, bounds, mode }
    }

    /// Shows the rules the head, and the request as a whole if it has no body that they look at.
    ///
    /// # Errors
    ///
    /// They refuse it, or its body is longer than what may be held back.
    pub(super) fn judge_head(&mut self, request: &RequestView<'_>) -> Result<(), Denial> {
        let Some(transaction) = &mut self.transaction else { return Err(lost()) };
        let message = request.message();
        let protocol: &[u8] = if request.connection().is_http2 { b"HTTP/2.0" } else { b"HTTP/1.1" };
        transaction.request_line(message.method.as_str().as_bytes(), message.raw_target().as_bytes(), protocol);
        if !request.headers().contains_key(http::header::HOST) {
            transaction.request_header(b"host", message.authority().as_bytes());
        }
        for (name, value) in request.headers() {
            transaction.request_header(name.as_str().as_bytes(), value.as_bytes());
        }
        obey(&transaction.request_head_end())?;
        let length = match message.body {
            accept::Body::None => return obey(&transaction.request_end()),
            accept::Body::Length(length) => Some(length),
            accept::Body::Chunked => None,
        };
        let is_binary = request.header("content-type").is_some_and(media_type::is_binary);
        if is_binary || self.bounds.beyond == Beyond::Stream || !transaction.wants_request_body() {
            return obey(&transaction.request_end());
        }
        let is_too_long = length.is_some_and(|length| length > self.bounds.max);
        if is_too_long && self.mode == Mode::Block && self.bounds.beyond == Beyond::Reject {
            return Err(self.waf.too_long());
        }
        self.body = Body::Seen { bytes: 0, held: Held::new(&self.waf.kept.budget) };
        Ok(())
    }

    /// Whether bytes of the body wait for a verdict before they go on.
    #[must_use]
    pub fn holds_body(&self) -> bool {
        self.mode == Mode::Block && matches!(self.body, Body::Seen { .. })
    }

    /// The request is tried again: its body comes again from the beginning.
    pub fn restart(&mut self) {
        if let (Body::Seen { bytes, held }, Some(transaction)) = (&mut self.body, &mut self.transaction) {
            *bytes = 0;
            held.take();
            transaction.restart_request_body();
        }
    }

    /// Shows the rules a piece of a body that is kept elsewhere until its end.
    ///
    /// # Errors
    ///
    /// They refuse it, or it is longer than what they look at.
    pub fn see(&mut self, piece: &[u8]) -> Result<(), Denial> {
        let Body::Seen { bytes, .. } = &mut self.body else { return Ok(()) };
        let Some(transaction) = &mut self.transaction else { return Err(lost()) };
        *bytes = bytes.saturating_add(piece.len() as u64);
        obey(&transaction.request_body(piece))
    }

    /// The body has ended: shows the rules the request as a whole.
    ///
    /// # Errors
    ///
    /// They refuse it.
    pub async fn judge_body(&mut self) -> Result<(), Denial> {
        self.judge(Shown::All).await
    }

    async fn judge(&mut self, shown: Shown) -> Result<(), Denial> {
        let Body::Seen { bytes, .. } = self.body else { return Ok(()) };
        self.body = Body::Passes;
        self.waf.kept.totals.body_bytes.fetch_add(bytes, Ordering::Relaxed);
        let Some(mut transaction) = self.transaction.take() else { return Err(lost()) };
        if shown == Shown::Beginning {
            self.waf.kept.totals.prefix_only.fetch_add(1, Ordering::Relaxed);
            transaction.request_body_cut();
        }
        let verdict = if bytes < ASIDE {
            transaction.request_end()
        } else {
            let judged = tokio::task::spawn_blocking(move || {
                let verdict = transaction.request_end();
                (transaction, verdict)
            });
            let Ok((judged, verdict)) = judged.await else { return Err(lost()) };
            transaction = judged;
            verdict
        };
        self.transaction = Some(transaction);
        obey(&verdict)
    }

    /// Takes a piece of the body on its way and puts in its place what may go on: nothing, until the rules have judged.
    ///
    /// # Errors
    ///
    /// The rules refuse the body, it is too long, or there is no memory left to hold it.
    pub async fn filter(&mut self, piece: &mut Option<Bytes>, is_end: bool) -> Result<(), Denial> {
        if !matches!(self.body, Body::Seen { .. }) {
            return Ok(());
        }
        if let Some(new) = piece.as_ref().filter(|piece| !piece.is_empty()) {
            self.see(new)?;
        }
        let Body::Seen { bytes, held } = &mut self.body else { return Ok(()) };
        let is_long = *bytes > self.bounds.max;
        if self.mode != Mode::Block {
            // Nothing waits: what the rules say is only written down.
            return if is_end || is_long { self.judge(Shown::up_to(is_end)).await } else { Ok(()) };
        }
        if is_long && self.bounds.beyond == Beyond::Reject {
            return Err(self.waf.too_long());
        }
        // Never `None` in its place: that would end the body.
        let kept = held.push(&piece.replace(Bytes::new()).unwrap_or_default());
        if kept == Err(Full) {
            return Err(self.waf.full());
        }
        if is_end || is_long {
            let all = held.take();
            self.judge(Shown::up_to(is_end)).await?;
            *piece = Some(all);
        }
        Ok(())
    }

    /// Shows the rules the head of the answer.
    ///
    /// # Errors
    ///
    /// They refuse it: its client gets a page instead.
    pub fn judge_answer_head(&mut self, status: StatusCode, headers: &HeaderMap) -> Result<(), Denial> {
        if self.waf.answers == Answers::Off {
            return Ok(());
        }
        let Some(transaction) = &mut self.transaction else { return Err(lost()) };
        transaction.response_head(
            b"HTTP/1.1",
            status.as_u16(),
            status.canonical_reason().unwrap_or_default().as_bytes(),
        );
        for (name, value) in headers {
            transaction.response_header(name.as_str().as_bytes(), value.as_bytes());
        }
        verdict::obey(&transaction.response_head_end(), &problem::WAF_ANSWER_DENIED)?;
        if transaction.wants_response_body() {
            self.answer = Answer::Seen;
        }
        Ok(())
    }

    /// Shows the rules a piece of the answer's body on its way.
    ///
    /// # Errors
    ///
    /// They refuse it and answers are to be broken off for that.
    pub fn see_answer(&mut self, piece: Option<&Bytes>, is_end: bool) -> Result<(), Denial> {
        if self.answer == Answer::Passes {
            return Ok(());
        }
        let Some(transaction) = &mut self.transaction else { return Err(lost()) };
        let mut verdict = piece.map_or(Verdict::Pass, |piece| transaction.response_body(piece));
        if is_end && verdict == Verdict::Pass {
            verdict = transaction.response_end();
        }
        if is_end || verdict != Verdict::Pass {
            self.answer = Answer::Passes;
        }
        match self.waf.answers {
            Answers::Abort => verdict::obey(&verdict, &problem::WAF_ANSWER_DENIED),
            Answers::Off | Answers::Detect => Ok(()),
        }
    }

    /// The exchange is over after this time: puts what the rules have found to the denial they led to, or notes what they
    /// would have refused.
    pub fn conclude(mut self, took: Duration, denied: Option<&mut Denial>, observed: &mut Vec<Denial>) {
        let Some(mut transaction) = self.transaction.take() else { return };
        transaction.elapsed(took);
        let report = transaction.finish();
        self.waf.kept.pool.give_back(transaction);
        let Some(decision) = &report.decision else { return };
        match denied.filter(|denial| denial.stage == Some(NAME)) {
            Some(denial) => denial.evidence = Some(Box::new(verdict::evidence(&report, &self.waf))),
            None => observed.extend(verdict::observed(decision, &report, &self.waf)),
        }
    }
}

/// Lets a request pass that the rules let pass.
fn obey(verdict: &Verdict) -> Result<(), Denial> {
    verdict::obey(verdict, &problem::WAF_DENIED)
}

/// The transaction is gone: the thread that judged has died.
fn lost() -> Denial {
    Denial::from(&problem::INTERNAL_ERROR).by(NAME)
}
