//! The hand-off over h2c: a request goes to a node and its answer to the client, piece by piece and both ways at once.
//!
//! Pingora's own way to an HTTP/2 upstream does the same with a peer, a look into a pool and a channel between two halves for each
//! request; that was a quarter of what a request cost (decision 0015). Here one future takes from both sides in turn. What is
//! done to heads, bodies and errors is what the hooks do for the other ways ([`super::request`], [`super::response`], [`super::retry`]). Routes
//! whose answers may be kept, and the hand-off over HTTP/1.1, still go Pingora's way.

use std::{
    future::poll_fn,
    pin::pin,
    task::{self, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use h2::{Reason, RecvStream, client::ResponseFuture};
use http::{HeaderValue, Method, StatusCode, Version, header};
use pingora::{
    BError, Error, ErrorType, Result, http::ResponseHeader, protocols::http::HttpTask, proxy::Session, time::sleep,
};

use super::{request, response, retry, upload::Upload};
use crate::{
    balance::{self, Reached, cluster::Protocol},
    context::Context,
    server::drain::Leaving,
};

/// Bytes of an answer's body that are gathered, when they are there, before they are written to the client.
const GATHERED_MAX: usize = 64 * 1024;

/// Whether a request goes this way.
#[must_use]
pub fn is_for(session: &Session, context: &Context) -> bool {
    let is_h2c = context.route.as_deref().is_some_and(|route| route.cluster.protocol == Protocol::H2c);
    is_h2c && !session.cache.enabled() && !session.cache.bypassing()
}

/// Hands a request on and its answer back, trying again where that is allowed.
///
/// # Errors
///
/// No node answered, or an answer that had begun broke off.
pub async fn exchange(leaving: &Leaving, session: &mut Session, context: &mut Context) -> Result<()> {
    loop {
        let Err(error) = attempt(leaving, session, context).await else { return Ok(()) };
        if !error.retry() {
            return Err(error);
        }
    }
}

async fn attempt(leaving: &Leaving, session: &mut Session, context: &mut Context) -> Result<()> {
    let reached = balance::reach(context).await?;
    let went = converse(leaving, session, context, reached).await;
    went.map_err(|error| match retry::is_dead_channel(&error) {
        true => {
            context.attempt.lost();
            retry::connect_failed(context, error)
        }
        false => retry::broke_off(context, session, error),
    })
}

async fn converse(leaving: &Leaving, session: &mut Session, context: &mut Context, reached: Reached) -> Result<()> {
    let Reached { mut sender, write_timeout } = reached;
    let (head, wait) = request::for_h2c(context, session.req_header())?;
    session.as_mut().enable_retry_buffering();
    let collected = session.as_mut().get_retry_buffer();
    let is_read = session.as_mut().is_body_done();
    let is_all = session.as_mut().is_body_empty() || (is_read && collected.is_none());
    let (answer, stream) = sender.send_request(head, is_all).map_err(retry::not_sent)?;
    drop(sender);
    let mut upload = Upload::new(stream, write_timeout, is_all);
    if let Some(collected) = collected {
        upload.take(Some(collected), is_read, session, context).await?;
    }
    let (mut head, body) = await_head(session, context, answer, &mut upload, wait).await?;
    let is_end = is_end(&head, &body, &session.req_header().method)?;
    response::mark(context, head.status, &mut head.headers)?;
    response::judge(context, head.status, &head.headers)?;
    let version = session.req_header().version;
    let is_early = !upload.is_done();
    if let Some(arrival) = context.arrival.as_deref() {
        arrival.answered();
    }
    if leaving.has_begun() || is_early || response::ends_with_connection(version, &head.headers) {
        session.set_keepalive(None);
    }
    frame(&mut head, &session.req_header().method)?;
    let head = HttpTask::Header(Box::new(ResponseHeader::from(head)), is_end);
    let answer = Answer { body, wait, is_over: is_end };
    relay(session, context, head, answer, &mut upload).await?;
    if session.as_mut().finish_body().await.is_err() {
        session.set_keepalive(None);
    }
    Ok(())
}

/// Waits for the head of the answer, and hands on what comes of the request meanwhile.
async fn await_head(
    session: &mut Session,
    context: &mut Context,
    answer: ResponseFuture,
    upload: &mut Upload,
    wait: Duration,
) -> Result<(http::response::Parts, RecvStream)> {
    let mut answer = answer;
    let mut late = pin!(sleep(wait));
    loop {
        let event = tokio::select! {
            biased;
            answer = &mut answer => return answer.map(http::Response::into_parts).map_err(retry::no_head),
            event = upload.next(session) => event,
            () = &mut late => return Err(timed_out("head")),
        };
        upload.handle(event, session, context).await?;
    }
}

/// Whether the answer is its head alone.
fn is_end(head: &http::response::Parts, body: &RecvStream, method: &Method) -> Result<bool> {
    let lengths = || head.headers.get_all(header::CONTENT_LENGTH).iter();
    let broken = |what| Error::explain(ErrorType::InvalidHTTPHeader, what).into_up();
    if lengths().any(|length| Some(length) != lengths().next()) {
        return Err(broken("the node states several lengths"));
    }
    if !body.is_end_stream() {
        return Ok(false);
    }
    if !is_bodiless(head, method) && lengths().any(|length| length.as_bytes().iter().any(|digit| *digit != b'0')) {
        return Err(broken("the node sends less than the length it states"));
    }
    Ok(true)
}

/// Whether an answer has no body whatever it says (RFC 9110, section 6.4.1).
fn is_bodiless(head: &http::response::Parts, method: &Method) -> bool {
    *method == Method::HEAD || matches!(head.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
}

/// Gives an answer the form in which Pingora writes it to clients of either version.
fn frame(head: &mut http::response::Parts, method: &Method) -> Result<()> {
    head.version = Version::HTTP_11;
    if !is_bodiless(head, method) && !head.headers.contains_key(header::CONTENT_LENGTH) {
        let is_full = head.headers.try_insert(header::TRANSFER_ENCODING, HeaderValue::from_static("chunked")).err();
        if let Some(error) = is_full {
            return Error::e_because(ErrorType::InternalError, "an answer has no room for its framing", error);
        }
    }
    Ok(())
}

/// An answer whose head has come.
struct Answer {
    body: RecvStream,
    /// The longest wait for its next piece.
    wait: Duration,
    is_over: bool,
}

/// Writes the answer to the client as it comes.
async fn relay(
    session: &mut Session,
    context: &mut Context,
    head: HttpTask,
    mut answer: Answer,
    upload: &mut Upload,
) -> Result<()> {
    let mut tasks = vec![head];
    loop {
        let mut gathered = 0;
        while !answer.is_over && gathered < GATHERED_MAX {
            let Poll::Ready(piece) = poll_fn(|task| Poll::Ready(answer.poll(task))).await else { break };
            gathered += push(&mut tasks, piece?, context)?;
        }
        if !tasks.is_empty() {
            let is_complete = session.write_response_tasks(tasks).await.map_err(|error| error.into_down())?;
            answer.written(gathered);
            if answer.is_over || is_complete {
                return Ok(());
            }
        }
        tasks = Vec::with_capacity(1);
        let waited = await_piece(session, context, &mut answer, upload).await?;
        let length = push(&mut tasks, waited, context)?;
        answer.written(length);
    }
}

async fn await_piece(
    session: &mut Session,
    context: &mut Context,
    answer: &mut Answer,
    upload: &mut Upload,
) -> Result<HttpTask> {
    let mut late = pin!(sleep(answer.wait));
    loop {
        let event = tokio::select! {
            biased;
            piece = poll_fn(|task| answer.poll(task)) => return piece,
            event = upload.next(session) => event,
            () = &mut late => return Err(timed_out("body")),
        };
        upload.handle(event, session, context).await?;
    }
}

/// Adds what came of an answer to what is written next, unless the rules refuse it; gives its length.
fn push(tasks: &mut Vec<HttpTask>, mut task: HttpTask, context: &mut Context) -> Result<usize> {
    let mut length = 0;
    match &mut task {
        HttpTask::Body(piece, is_end) => {
            length = piece.as_ref().map_or(0, Bytes::len);
            response::see(context, piece.as_ref(), *is_end)?;
            if length == 0 && !*is_end {
                return Ok(0);
            }
        }
        HttpTask::Trailer(Some(trailers)) => response::receive_trailers(trailers),
        HttpTask::Done => response::see(context, None, true)?,
        _ => {}
    }
    tasks.push(task);
    Ok(length)
}

impl Answer {
    /// The next piece of the body, its trailers, or its end.
    fn poll(&mut self, task: &mut task::Context<'_>) -> Poll<Result<HttpTask>> {
        let Some(piece) = ready!(self.body.poll_data(task)) else {
            self.is_over = true;
            return Poll::Ready(match ready!(self.body.poll_trailers(task)) {
                Ok(Some(trailers)) => Ok(HttpTask::Trailer(Some(Box::new(trailers)))),
                Ok(None) => Ok(HttpTask::Done),
                Err(error) if is_complete(&error) => Ok(HttpTask::Done),
                Err(error) => Err(broke_off(error)),
            });
        };
        let piece = match piece {
            Ok(piece) => piece,
            Err(error) if is_complete(&error) => {
                self.is_over = true;
                return Poll::Ready(Ok(HttpTask::Done));
            }
            Err(error) => return Poll::Ready(Err(broke_off(error))),
        };
        if self.body.is_end_stream() {
            // A stream that failed says so, too: only what comes next tells.
            match self.body.poll_data(task) {
                Poll::Ready(Some(Err(error))) if !is_complete(&error) => return Poll::Ready(Err(broke_off(error))),
                _ => self.is_over = true,
            }
        }
        Poll::Ready(Ok(HttpTask::Body(Some(piece), self.is_over)))
    }

    /// The client took so many bytes: the node may send as many more.
    fn written(&mut self, length: usize) {
        if length > 0
            && let Err(error) = self.body.flow_control().release_capacity(length)
        {
            tracing::debug!(%error, "the window of an answer that is over");
        }
    }
}

/// A node that has answered wholly stops the rest of the request with this (RFC 9113, section 8.1).
fn is_complete(error: &h2::Error) -> bool {
    error.is_reset() && error.is_remote() && error.reason() == Some(Reason::NO_ERROR)
}

fn broke_off(error: h2::Error) -> BError {
    Error::because(ErrorType::ReadError, "while reading the body of an answer", error).into_up()
}

fn timed_out(what: &'static str) -> BError {
    Error::explain(ErrorType::ReadTimedout, format!("no {what} of an answer in time")).into_up()
}

#[cfg(test)]
mod tests {
    use h2::{SendStream, client, server};
    use http::{Request, Response};

    use super::*;

    /// Both ends of one exchange whose answer has a head and no body yet.
    async fn begun() -> (Answer, SendStream<Bytes>) {
        let (near, far) = tokio::io::duplex(64 * 1024);
        let node = tokio::spawn(async move {
            let mut connection = server::handshake(far).await.unwrap();
            let (_, mut respond) = connection.accept().await.unwrap().unwrap();
            let body = respond.send_response(Response::new(()), false).unwrap();
            tokio::spawn(async move { while connection.accept().await.is_some() {} });
            body
        });
        let (mut sender, connection) = client::handshake(near).await.unwrap();
        tokio::spawn(connection);
        let request = Request::post("http://a.example/").body(()).unwrap();
        let (answer, upload) = sender.send_request(request, false).unwrap();
        let body = answer.await.unwrap().into_body();
        // The request goes on for as long as the test does.
        std::mem::forget((upload, sender));
        (Answer { body, wait: Duration::from_secs(1), is_over: false }, node.await.unwrap())
    }

    async fn next(answer: &mut Answer) -> Result<HttpTask> {
        poll_fn(|task| answer.poll(task)).await
    }

    #[tokio::test]
    async fn an_answer_ends_with_its_last_piece() {
        let (mut answer, mut node) = begun().await;
        node.send_data(Bytes::from_static(b"one"), false).unwrap();
        let HttpTask::Body(Some(piece), false) = next(&mut answer).await.unwrap() else { panic!("no piece") };
        assert_eq!(piece, "one");
        node.send_data(Bytes::from_static(b"two"), true).unwrap();
        while !answer.is_over {
            match next(&mut answer).await.unwrap() {
                HttpTask::Body(Some(piece), _) => assert_eq!(piece, "two"),
                HttpTask::Done => {}
                other => panic!("{other:?}"),
            }
        }
    }

    #[tokio::test]
    async fn trailers_come_after_the_body() {
        let (mut answer, mut node) = begun().await;
        let trailers = [(header::ETAG, HeaderValue::from_static("a"))].into_iter().collect();
        node.send_trailers(trailers).unwrap();
        let HttpTask::Trailer(Some(trailers)) = next(&mut answer).await.unwrap() else { panic!("no trailers") };
        assert!(trailers[header::ETAG] == "a" && answer.is_over);
    }

    #[tokio::test]
    async fn a_node_that_wants_no_more_of_a_request_has_answered_and_one_that_fails_has_not() {
        for (reason, is_whole) in [(Reason::NO_ERROR, true), (Reason::INTERNAL_ERROR, false), (Reason::CANCEL, false)] {
            let (mut answer, mut node) = begun().await;
            node.send_reset(reason);
            match next(&mut answer).await {
                Ok(HttpTask::Done) => assert!(is_whole),
                Err(error) => assert!(!is_whole && error.etype == ErrorType::ReadError, "{error}"),
                Ok(other) => panic!("{other:?}"),
            }
        }
    }

    #[tokio::test]
    async fn lengths_that_contradict_each_other_or_the_end_are_refused() {
        let head = |lengths: &[&'static str]| {
            let mut head = Response::new(()).into_parts().0;
            for length in lengths {
                head.headers.append(header::CONTENT_LENGTH, HeaderValue::from_static(length));
            }
            head
        };
        let (answer, _node) = begun().await;
        assert!(!is_end(&head(&["3", "3"]), &answer.body, &Method::GET).unwrap());
        assert!(is_end(&head(&["3", "4"]), &answer.body, &Method::GET).is_err());
        let (mut answer, mut node) = begun().await;
        node.send_data(Bytes::new(), true).unwrap();
        while !answer.is_over {
            next(&mut answer).await.unwrap();
        }
        assert!(is_end(&head(&["0"]), &answer.body, &Method::GET).unwrap());
        assert!(is_end(&head(&["3"]), &answer.body, &Method::HEAD).unwrap());
        assert!(is_end(&head(&["3"]), &answer.body, &Method::GET).is_err());
    }
}
