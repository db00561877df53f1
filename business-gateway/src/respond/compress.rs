//! Compression of answers by `Accept-Encoding` (RFC 9110, section 12.5.3), for APIs that ask for it.
//!
//! It is off unless an API says otherwise: an answer that holds a secret beside what an attacker may have written must not be
//! compressed, because its length tells of the secret (BREACH), and only whoever knows the API knows that. What is already
//! encoded, short, or a stream of events or lines stays as it is. Whenever the service pauses, what was compressed so far is
//! sent.

use std::io::Write;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use brotli::CompressorWriter;
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use gatehouse_shared::config::{ByteSize, ConfigErrors};
use http::header::{self, HeaderMap, HeaderValue};
use http::{Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use schemars::JsonSchema;
use serde::Deserialize;

use super::body::{Outgoing, OutgoingError};
use super::entity;
use crate::metrics::ShapeMetrics;
use crate::store::catalog::At;

/// `compress` of an API.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The media types that are compressed. Default: those of JSON, XML, HTML, CSS, scripts, plain text and SVG.
    pub types: Vec<String>,
    /// Answers known to be shorter stay as they are. Default: `"1KiB"`.
    pub min: ByteSize,
    /// How hard it tries, 1 to 9: more takes more of the processor and less of the network. Default: 4.
    pub level: u32,
}

impl Default for Config {
    fn default() -> Self {
        let types = [
            "application/json",
            "application/problem+json",
            "application/xml",
            "application/javascript",
            "text/javascript",
            "text/html",
            "text/css",
            "text/plain",
            "text/xml",
            "image/svg+xml",
        ];
        Self { types: types.map(str::to_owned).to_vec(), min: ByteSize::kib(1), level: 4 }
    }
}

/// What is compressed, as compiled.
#[derive(Debug)]
pub struct Compress {
    types: Vec<String>,
    min: u64,
    level: u32,
}

impl Compress {
    /// Compiles `compress` of the entry at `at`.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn compile(written: &Config, at: &At<'_>) -> Result<Self, ConfigErrors> {
        let mut errors = ConfigErrors::new();
        if !(1..=9).contains(&written.level) {
            errors.push(at.error("compress.level", "no level of compression", "write 1 to 9"));
        }
        let mut types = Vec::with_capacity(written.types.len());
        for (index, name) in written.types.iter().enumerate() {
            let key = format!("compress.types[{index}]");
            let name = name.to_ascii_lowercase();
            if name == "text/event-stream" || name.contains("ndjson") || name.contains("jsonl") {
                errors.push(at.error(&key, format!("{name:?} is a stream of small pieces"), "leave it out"));
            } else if name.split('/').count() != 2 || name.contains([';', ' ', '*']) {
                errors.push(at.error(&key, format!("{name:?} is not a media type"), "write one as \"text/html\""));
            }
            types.push(name);
        }
        if types.is_empty() {
            errors.push(at.error("compress.types", "no media type, so nothing is compressed", "name some"));
        }
        errors.into_result(Self { types, min: written.min.get(), level: written.level })
    }

    /// The answer, compressed if that fits it and whoever asked. `asked` is what [`Encoding::asked`] found.
    #[must_use]
    pub fn answer(
        &self,
        answer: Response<Outgoing>,
        asked: Option<Encoding>,
        metrics: &ShapeMetrics,
    ) -> Response<Outgoing> {
        let (mut parts, body) = answer.into_parts();
        if !self.fits(parts.status, &parts.headers, &body) {
            return Response::from_parts(parts, body);
        }
        entity::vary(&mut parts.headers, "accept-encoding");
        let Some(encoding) = asked.filter(|_| !body.is_end_stream()) else { return Response::from_parts(parts, body) };
        entity::has_changed(&mut parts.headers);
        parts.headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static(encoding.as_str()));
        metrics.compressed(encoding.as_str());
        let compressed = Compressed {
            inner: body,
            encoder: Some(Encoder::new(encoding, self.level)),
            has_pending: false,
            metrics: metrics.clone(),
        };
        Response::from_parts(parts, Outgoing::made(Box::pin(compressed)))
    }

    fn fits(&self, status: StatusCode, headers: &HeaderMap, body: &Outgoing) -> bool {
        let is_whole = status.is_success() && status != StatusCode::NO_CONTENT && status != StatusCode::PARTIAL_CONTENT;
        let is_long = body.is_end_stream() || body.size_hint().exact().is_none_or(|length| length >= self.min);
        let may_change = !headers.get_all(header::CACHE_CONTROL).iter().any(|value| {
            let words = value.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
            words.into_iter().any(|word| word.eq_ignore_ascii_case(b"no-transform"))
        });
        is_whole
            && is_long
            && may_change
            && !headers.contains_key(header::CONTENT_ENCODING)
            && self.types.contains(&entity::essence(headers))
    }
}

/// How an answer is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// RFC 7932.
    Brotli,
    /// RFC 1952.
    Gzip,
}

impl Encoding {
    /// As it stands in header fields.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Brotli => "br",
            Self::Gzip => "gzip",
        }
    }

    /// The one that a request would rather have, `br` of two that it likes as much; `None` for an answer as it is.
    #[must_use]
    pub fn asked(headers: &HeaderMap) -> Option<Self> {
        let (mut brotli, mut gzip, mut any, mut identity) = (None, None, None, None);
        for value in headers.get_all(header::ACCEPT_ENCODING) {
            for item in value.to_str().unwrap_or_default().split(',') {
                let (name, parameters) = item.split_once(';').unwrap_or((item, ""));
                let weight = weight(parameters);
                match name.trim().to_ascii_lowercase().as_str() {
                    "br" => brotli = Some(weight),
                    "gzip" | "x-gzip" => gzip = Some(weight),
                    "identity" => identity = Some(weight),
                    "*" => any = Some(weight),
                    _ => {}
                }
            }
        }
        let (brotli, gzip) = (brotli.or(any).unwrap_or(0), gzip.or(any).unwrap_or(0));
        let (best, weight) = if brotli >= gzip { (Self::Brotli, brotli) } else { (Self::Gzip, gzip) };
        (weight > 0 && weight >= identity.unwrap_or(0)).then_some(best)
    }
}

/// The weight of an item in thousandths; what is no weight is none.
fn weight(parameters: &str) -> u32 {
    let parameters = parameters.trim();
    let Some((name, value)) = parameters.split_once('=') else { return if parameters.is_empty() { 1000 } else { 0 } };
    if !name.trim().eq_ignore_ascii_case("q") {
        return 0;
    }
    let (whole, fraction) = value.trim().split_once('.').unwrap_or((value.trim(), ""));
    if fraction.len() > 3 || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return 0;
    }
    match whole {
        "1" if fraction.bytes().all(|byte| byte == b'0') => 1000,
        "0" => format!("{fraction:0<3}").parse().unwrap_or(0),
        _ => 0,
    }
}

/// Bytes of what brotli looks back at, as a power of two: 256 KiB, so that a stream takes little more than a megabyte.
const WINDOW: u32 = 18;
const BUFFER: usize = 4096;

enum Encoder {
    Brotli(Box<CompressorWriter<Vec<u8>>>),
    Gzip(Box<GzEncoder<Vec<u8>>>),
}

impl Encoder {
    fn new(encoding: Encoding, level: u32) -> Self {
        match encoding {
            Encoding::Brotli => Self::Brotli(Box::new(CompressorWriter::new(Vec::new(), BUFFER, level, WINDOW))),
            Encoding::Gzip => Self::Gzip(Box::new(GzEncoder::new(Vec::new(), Compression::new(level)))),
        }
    }

    fn write(&mut self, data: &[u8]) -> std::io::Result<()> {
        match self {
            Self::Brotli(writer) => writer.write_all(data),
            Self::Gzip(writer) => writer.write_all(data),
        }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        match self {
            Self::Brotli(writer) => writer.flush(),
            Self::Gzip(writer) => writer.flush(),
        }
    }

    /// What has been compressed so far.
    fn take(&mut self) -> Vec<u8> {
        match self {
            Self::Brotli(writer) => std::mem::take(writer.get_mut()),
            Self::Gzip(writer) => std::mem::take(writer.get_mut()),
        }
    }

    fn finish(self) -> std::io::Result<Vec<u8>> {
        match self {
            Self::Brotli(writer) => Ok(writer.into_inner()),
            Self::Gzip(writer) => writer.finish(),
        }
    }
}

/// A body that is compressed while it flows.
struct Compressed {
    inner: Outgoing,
    /// `None` at the end.
    encoder: Option<Encoder>,
    /// Whether something was written that may not have come out.
    has_pending: bool,
    metrics: ShapeMetrics,
}

impl Compressed {
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, OutgoingError>>> {
        const FAILED: OutgoingError = OutgoingError::Made("the answer could not be compressed");
        loop {
            let Some(encoder) = &mut self.encoder else { return Poll::Ready(None) };
            match Pin::new(&mut self.inner).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => {
                    // Trailers would speak of a body that nobody gets.
                    let Ok(data) = frame.into_data() else { continue };
                    self.metrics.compressed_in.inc_by(u64::try_from(data.len()).unwrap_or(u64::MAX));
                    if encoder.write(&data).is_err() {
                        self.encoder = None;
                        return Poll::Ready(Some(Err(FAILED)));
                    }
                    self.has_pending = true;
                    let out = encoder.take();
                    if !out.is_empty() {
                        return Poll::Ready(Some(Ok(out.into())));
                    }
                }
                Poll::Ready(Some(Err(error))) => {
                    self.encoder = None;
                    return Poll::Ready(Some(Err(error)));
                }
                Poll::Ready(None) => {
                    let out = self.encoder.take().map(Encoder::finish);
                    return Poll::Ready(match out {
                        Some(Ok(out)) if !out.is_empty() => Some(Ok(out.into())),
                        Some(Ok(_)) | None => None,
                        Some(Err(_)) => Some(Err(FAILED)),
                    });
                }
                // The service pauses: what there is goes out.
                Poll::Pending if self.has_pending => {
                    self.has_pending = false;
                    if encoder.flush().is_err() {
                        self.encoder = None;
                        return Poll::Ready(Some(Err(FAILED)));
                    }
                    let out = encoder.take();
                    return if out.is_empty() { Poll::Pending } else { Poll::Ready(Some(Ok(out.into()))) };
                }
                Poll::Pending => return Poll::Pending,
            }
        }
    }
}

impl Body for Compressed {
    type Data = Bytes;
    type Error = OutgoingError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, OutgoingError>>> {
        let piece = ready!(self.poll_piece(cx));
        if let Some(Ok(piece)) = &piece {
            self.metrics.compressed_out.inc_by(u64::try_from(piece.len()).unwrap_or(u64::MAX));
        }
        Poll::Ready(piece.map(|piece| piece.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        self.encoder.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    /// One piece, and then nothing for ever.
    struct Pauses(Option<Bytes>);

    impl Body for Pauses {
        type Data = Bytes;
        type Error = OutgoingError;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, OutgoingError>>> {
            self.0.take().map_or(Poll::Pending, |piece| Poll::Ready(Some(Ok(Frame::data(piece)))))
        }
    }

    #[test]
    fn what_has_come_goes_out_when_the_service_pauses() {
        let metrics = crate::metrics::Metrics::new().unwrap().shape;
        let compress = Compress { types: vec!["text/html".to_owned()], min: 0, level: 4 };
        for encoding in [Encoding::Brotli, Encoding::Gzip] {
            let mut answer = Response::new(Outgoing::made(Box::pin(Pauses(Some(Bytes::from_static(b"hello"))))));
            answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html"));
            let mut body = compress.answer(answer, Some(encoding), &metrics).into_body();
            let mut cx = Context::from_waker(std::task::Waker::noop());
            let mut sent = Vec::new();
            while let Poll::Ready(Some(frame)) = Pin::new(&mut body).poll_frame(&mut cx) {
                sent.extend_from_slice(&frame.unwrap().into_data().unwrap());
            }
            let mut text = [0; 5];
            match encoding {
                Encoding::Brotli => brotli::Decompressor::new(&*sent, 64).read_exact(&mut text).unwrap(),
                Encoding::Gzip => flate2::read::GzDecoder::new(&*sent).read_exact(&mut text).unwrap(),
            }
            assert_eq!(&text, b"hello", "{encoding:?}");
        }
    }

    #[test]
    fn the_encoding_is_the_one_that_was_asked_for() {
        for (value, expected) in [
            ("gzip, br", Some(Encoding::Brotli)),
            ("gzip", Some(Encoding::Gzip)),
            ("GZIP;Q=0.5 , br;q=0.4", Some(Encoding::Gzip)),
            ("br;q=0", None),
            ("br;q=0, *", Some(Encoding::Gzip)),
            ("*;q=0.001", Some(Encoding::Brotli)),
            ("identity, gzip;q=0.5", None),
            ("gzip;q=1.000", Some(Encoding::Gzip)),
            ("gzip;q=2", None),
            ("gzip;q=0.0001", None),
            ("gzip;x=1", None),
            ("deflate", None),
            ("", None),
        ] {
            let headers: HeaderMap = [(header::ACCEPT_ENCODING, HeaderValue::from_static(value))].into_iter().collect();
            assert_eq!(Encoding::asked(&headers), expected, "{value}");
        }
        assert_eq!(Encoding::asked(&HeaderMap::new()), None);
    }
}
