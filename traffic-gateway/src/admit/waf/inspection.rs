//! The rules' view of one request: its transaction, and the body that waits for their verdict.
//!
//! A body that may be refused is held back: not a byte of it goes on before the rules have seen all of it. Short bodies are
//! collected before anything is sent ([`crate::forward::collect`]), others in the filter of bodies, which Pingora calls again
//! from the beginning when a request is tried on another node. Where rules only observe, nothing is held back.
//!
//! Files of a form may be of any length. When what is held reaches its bound and files are among it, the rules judge
//! what they have seen, and if that is clean, everything that was read whole goes on: complete parts, and of a file what was
//! looked at. The rest of that file follows as it is looked at. The next part waits again. Bytes of files are not counted,
//! so what waits stays within the bound; a request that is refused after parts of it went on is broken off there.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use bytes::Bytes;
use gatehouse_shared::problem;
use gatehouse_waf::transaction::{BodySoFar, Mode, Transaction, Verdict};
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
    /// They see its pieces. `held` are those that wait for their verdict, none where rules only observe; `gone` bytes before
    /// them went on.
    Seen { bytes: u64, gone: u64, held: Held },
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
        // How much of a form is files, its length does not say.
        let is_too_long = length.is_some_and(|length| length > self.bounds.max) && !transaction.streams_files();
        if is_too_long && self.mode == Mode::Block && self.bounds.beyond == Beyond::Reject {
            return Err(self.waf.too_long());
        }
        self.body = Body::Seen { bytes: 0, gone: 0, held: Held::new(&self.waf.kept.budget) };
        Ok(())
    }

    /// Whether bytes of the body wait for a verdict before they go on.
    #[must_use]
    pub fn holds_body(&self) -> bool {
        self.mode == Mode::Block && matches!(self.body, Body::Seen { .. })
    }

    /// The request is tried again: its body comes again from the beginning.
    pub fn restart(&mut self) {
        if let (Body::Seen { bytes, gone, held }, Some(transaction)) = (&mut self.body, &mut self.transaction) {
            (*bytes, *gone) = (0, 0);
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
        obey(&transaction.request_body(piece))?;
        if self.is_too_long() && self.mode == Mode::Block && self.bounds.beyond == Beyond::Reject {
            return Err(self.waf.too_long());
        }
        Ok(())
    }

    /// Whether more of the body came than may be held back; files that may go on do not count.
    fn is_too_long(&self) -> bool {
        let Body::Seen { bytes, .. } = self.body else { return false };
        bytes.saturating_sub(self.so_far().map_or(0, |so_far| so_far.of_files)) > self.bounds.max
    }

    /// How far a body is of which files may go on before its end.
    fn so_far(&self) -> Option<BodySoFar> {
        let transaction = self.transaction.as_ref().filter(|_| self.bounds.beyond == Beyond::Reject)?;
        transaction.body_so_far()
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
        let totals = &self.waf.kept.totals;
        totals.body_bytes.fetch_add(bytes, Ordering::Relaxed);
        if shown == Shown::Beginning {
            totals.prefix_only.fetch_add(1, Ordering::Relaxed);
        }
        let end = move |transaction: &mut Transaction| {
            if shown == Shown::Beginning {
                transaction.request_body_cut();
            }
            transaction.request_end()
        };
        self.ask(bytes, end).await
    }

    /// Asks the rules, about this many bytes.
    async fn ask(
        &mut self,
        bytes: u64,
        question: impl FnOnce(&mut Transaction) -> Verdict + Send + 'static,
    ) -> Result<(), Denial> {
        let Some(mut transaction) = self.transaction.take() else { return Err(lost()) };
        let verdict = if bytes < ASIDE {
            question(&mut transaction)
        } else {
            let judged = tokio::task::spawn_blocking(move || {
                let verdict = question(&mut transaction);
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
        let filtered = self.hold_back(piece, is_end).await;
        if let (Err(_), Body::Seen { held, .. }) = (&filtered, &mut self.body) {
            // It goes nowhere: others need the memory.
            held.take();
        }
        filtered
    }

    async fn hold_back(&mut self, piece: &mut Option<Bytes>, is_end: bool) -> Result<(), Denial> {
        if !matches!(self.body, Body::Seen { .. }) {
            return Ok(());
        }
        if let Some(new) = piece.as_ref().filter(|piece| !piece.is_empty()) {
            self.see(new)?;
        }
        let is_long = self.is_too_long();
        if self.mode != Mode::Block {
            // Nothing waits: what the rules say is only written down.
            return if is_end || is_long { self.judge(Shown::up_to(is_end)).await } else { Ok(()) };
        }
        let Body::Seen { held, .. } = &mut self.body else { return Ok(()) };
        // Never `None` in its place: that would end the body.
        let kept = held.push(&piece.replace(Bytes::new()).unwrap_or_default());
        if kept == Err(Full) {
            return Err(self.waf.full());
        }
        if is_end || is_long {
            let all = held.take();
            self.judge(Shown::up_to(is_end)).await?;
            *piece = Some(all);
        } else {
            *piece = Some(self.let_files_go_on().await?);
        }
        Ok(())
    }

    /// What of a body with files goes on before its end: nothing while it is short.
    async fn let_files_go_on(&mut self) -> Result<Bytes, Denial> {
        let (Body::Seen { gone, held, .. }, Some(so_far)) = (&self.body, self.so_far()) else {
            return Ok(Bytes::new());
        };
        let ready = so_far.settled.saturating_sub(*gone);
        let is_full = held.len() > self.bounds.max;
        if ready == 0 || !(is_full || so_far.is_judged) {
            return Ok(Bytes::new());
        }
        if !so_far.is_judged {
            self.ask(held.len(), Transaction::judge_so_far).await?;
        }
        let Body::Seen { gone, held, .. } = &mut self.body else { return Ok(Bytes::new()) };
        if *gone == 0 {
            self.waf.kept.totals.streamed.fetch_add(1, Ordering::Relaxed);
        }
        *gone += ready;
        Ok(held.take_first(usize::try_from(ready).unwrap_or(usize::MAX)))
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
