//! Sends the request of a case as it stands there, byte for byte over HTTP/1.1 and field for field over HTTP/2.

use std::future::pending;

use anyhow::{Context as _, bail};
use bytes::Bytes;
use gatehouse_tests::client::{Protocol, Raw, Target, empty, streamed};
use gatehouse_waf::golden::Request;
use http::{HeaderName, HeaderValue, Method, Uri};

/// Pieces that a body is cut into, at least.
const PIECES: usize = 7;

/// Fields that only HTTP/1 knows, or that HTTP/2 says otherwise (RFC 9113, sections 8.2.2 and 8.3.1).
const OF_HTTP1: [&str; 6] = ["host", "connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade"];

/// Whether a request says how long its body is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Framing {
    /// With `Content-Length`, as in the suites: the edge collects a short body before it hands anything on.
    Announced,
    /// In chunks, or frames, whose number nobody knows: the edge holds them back on their way.
    Unannounced,
}

/// How a request is sent.
#[derive(Debug, Clone, Copy)]
pub(super) struct Way {
    pub(super) protocol: Protocol,
    pub(super) framing: Framing,
}

impl Way {
    pub(super) fn over_both(framing: Framing) -> [Self; 2] {
        [Protocol::Http1, Protocol::Http2].map(|protocol| Self { protocol, framing })
    }
}

/// Sends a request on a connection of its own; gives status and request id of the answer, nothing for one that cannot be
/// said this way.
pub(super) async fn send(target: &Target, request: &Request, way: Way) -> anyhow::Result<Option<(u16, String)>> {
    match way.protocol {
        Protocol::Http1 => over_http1(target, request, way.framing).await.map(Some),
        Protocol::Http2 => over_http2(&target.clone().http2(), request, way.framing).await,
    }
}

/// The body in pieces.
fn pieces(request: &Request) -> impl Iterator<Item = &[u8]> {
    request.body.chunks(request.body.len().div_ceil(PIECES).max(1))
}

async fn over_http1(target: &Target, request: &Request, framing: Framing) -> anyhow::Result<(u16, String)> {
    let mut head = Request { body: Vec::new(), ..request.clone() };
    let chunked = framing == Framing::Unannounced && !request.body.is_empty();
    if chunked {
        head.fields.retain(|(name, _)| !name.eq_ignore_ascii_case(b"content-length"));
        head.fields.push((b"Transfer-Encoding".to_vec(), b"chunked".to_vec()));
    }
    let mut raw = Raw::open(target).await?;
    // The edge may refuse it before its end.
    drop(raw.write(head.to_bytes()).await);
    for piece in pieces(request) {
        let framed = [format!("{:x}\r\n", piece.len()).as_bytes(), piece, b"\r\n"].concat();
        drop(raw.write(if chunked { &framed } else { piece }).await);
    }
    if chunked {
        drop(raw.write("0\r\n\r\n").await);
    }
    let answer = if request.method == b"HEAD" { raw.head().await? } else { raw.final_answer().await? };
    Ok((answer.status, answer.header("x-request-id").unwrap_or_default().to_owned()))
}

async fn over_http2(target: &Target, request: &Request, framing: Framing) -> anyhow::Result<Option<(u16, String)>> {
    let (sender, body) = streamed();
    let Ok(head) = request_of_http2(request, framing) else { return Ok(None) };
    let request_body = if request.body.is_empty() { empty() } else { body };
    let pieces: Vec<Bytes> = pieces(request).map(Bytes::copy_from_slice).collect();
    let feed = async move {
        for piece in pieces {
            // It fails once the edge has refused it.
            drop(sender.send(piece).await);
        }
        drop(sender);
        pending::<()>().await;
    };
    let answer = tokio::select! {
        answer = target.exchange(head.map(|()| request_body)) => answer?,
        () = feed => bail!("the body went on for ever"),
    };
    Ok(Some((answer.status.as_u16(), answer.header("x-request-id").to_owned())))
}

/// The same request for a client of HTTP/2.
fn request_of_http2(request: &Request, framing: Framing) -> anyhow::Result<http::Request<()>> {
    let host = request.fields.iter().find(|(name, _)| name.eq_ignore_ascii_case(b"host"));
    let authority = host.map(|(_, value)| value.as_slice()).context("no authority")?;
    let uri = Uri::builder().scheme("http").authority(authority).path_and_query(request.target.as_slice()).build()?;
    let mut of_http2 = http::Request::builder().method(Method::from_bytes(&request.method)?).uri(uri);
    for (name, value) in &request.fields {
        let name = HeaderName::from_bytes(name)?;
        let is_length = name == http::header::CONTENT_LENGTH && framing == Framing::Unannounced;
        if !OF_HTTP1.contains(&name.as_str()) && !is_length {
            of_http2 = of_http2.header(name, HeaderValue::from_bytes(value)?);
        }
    }
    Ok(of_http2.body(())?)
}
