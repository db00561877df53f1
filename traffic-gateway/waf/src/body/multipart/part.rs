//! The headers of a part, and what they say about its content.

use super::super::outcome::{Fault, Faults, Progress};
use super::super::parameter::{self, Parameter};
use super::super::urlencoded::{Plus, percent_decode, split_once};
use super::{Malformed, Sink, media_type};

/// The header lines of one part, unfolded.
#[derive(Clone, Debug, Default)]
pub(super) struct Headers {
    bytes: Vec<u8>,
    /// Where each line ends in `bytes`.
    ends: Vec<usize>,
}

impl Headers {
    /// Bytes of all lines with their ends; line ends that folding took away are not counted.
    pub(super) fn len(&self) -> usize {
        self.bytes.len() + 2 * self.ends.len()
    }

    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
    }

    /// Adds a line without its end; one that begins with a blank goes on with the line before (RFC 5322 folding).
    pub(super) fn push(&mut self, line: &[u8], faults: &mut Faults) {
        if line.iter().any(|byte| matches!(byte, 0 | b'\r')) {
            faults.insert(Fault::InvalidPart);
        }
        if matches!(line.first(), Some(b' ' | b'\t')) {
            if self.ends.pop().is_some() {
                faults.insert(Fault::HeaderFolding);
            } else {
                faults.insert(Fault::InvalidHeaderFolding);
            }
        }
        self.bytes.extend_from_slice(line);
        self.ends.push(self.bytes.len());
    }

    pub(super) fn lines(&self) -> impl Iterator<Item = &[u8]> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts.zip(&self.ends).map(|(start, end)| self.bytes.get(start..*end).unwrap_or_default())
    }
}

/// The part being read.
#[derive(Clone, Debug, Default)]
pub(super) struct Part {
    pub(super) field: Vec<u8>,
    /// The names of the file, of which the first two different ones are kept; none for a field.
    filenames: Vec<Vec<u8>>,
    /// The value of a field.
    value: Vec<u8>,
    /// The size of a file.
    bytes: u64,
    /// Whether everybody takes it for a file.
    surely_file: bool,
}

impl Part {
    pub(super) fn is_file(&self) -> bool {
        !self.filenames.is_empty()
    }

    /// Whether every server takes it for a file: the one Content-Disposition gives it a plain name that is not empty.
    pub(super) fn is_surely_file(&self) -> bool {
        self.surely_file
    }

    /// Begins a part with these headers.
    pub(super) fn begin(&mut self, headers: &Headers, progress: &mut Progress) {
        self.field.clear();
        self.filenames.clear();
        self.value.clear();
        self.bytes = 0;
        self.surely_file = false;
        let mut dispositions = 0_usize;
        for line in headers.lines() {
            let Some((name, value)) = split_once(b':', line) else {
                progress.fault(Fault::InvalidPart);
                continue;
            };
            if name.is_empty() || !name.iter().all(u8::is_ascii_graphic) {
                progress.fault(Fault::InvalidPart);
            }
            let (name, value) = (name.trim_ascii(), value.trim_ascii());
            if name.eq_ignore_ascii_case(b"content-disposition") {
                dispositions += 1;
                self.disposition(value, dispositions, progress);
            } else if name.eq_ignore_ascii_case(b"content-type") {
                content_type(value, progress);
            } else if name.eq_ignore_ascii_case(b"content-transfer-encoding") {
                transfer_encoding(value, progress);
            }
        }
        if dispositions != 1 {
            self.surely_file = false;
            progress.fail(Malformed::Disposition);
        }
    }

    /// More content.
    pub(super) fn content(&mut self, bytes: &[u8], sink: &mut impl Sink) {
        match self.filenames.first() {
            Some(filename) if !bytes.is_empty() => {
                self.bytes += bytes.len() as u64;
                sink.file_piece(&self.field, filename, bytes);
            }
            Some(_) => {}
            None => self.value.extend_from_slice(bytes),
        }
    }

    /// The end of the part.
    pub(super) fn end(&mut self, progress: &mut Progress, arguments: u32, sink: &mut impl Sink) {
        if self.filenames.is_empty() {
            if progress.count(arguments) {
                sink.argument(&self.field, &self.value);
            }
            return;
        }
        self.hand_over_file(sink);
        self.bytes = 0;
    }

    /// Reports the file with the bytes that came, by each of its names.
    pub(super) fn hand_over_file(&self, sink: &mut impl Sink) {
        let sizes = std::iter::once(self.bytes).chain(std::iter::repeat(0));
        for (filename, bytes) in self.filenames.iter().zip(sizes) {
            sink.file(&self.field, filename, bytes);
        }
    }

    fn disposition(&mut self, value: &[u8], nth: usize, progress: &mut Progress) {
        let mut names = 0_usize;
        let mut filenames = 0_usize;
        let (kind, parameters) = parameter::split(value, &mut progress.outcome.faults);
        let form_data = kind.eq_ignore_ascii_case(b"form-data");
        let mut odd = Faults::default();
        for parameter in parameters {
            if parameter.name.eq_ignore_ascii_case(b"name") {
                names += 1;
                if names == 1 && nth == 1 {
                    self.field.extend_from_slice(&parameter.value);
                }
            } else if is_filename(parameter.name) {
                let plain = parameter.name.eq_ignore_ascii_case(b"filename");
                filenames += usize::from(plain);
                self.surely_file |= plain && !parameter.value.is_empty();
                odd.insert_if(Fault::ExtendedFilename, !plain);
                self.filename(&parameter);
            } else {
                odd.insert(Fault::OddParameter);
            }
        }
        odd.insert_if(Fault::OddParameter, filenames > 1);
        progress.outcome.faults.merge(odd);
        if !form_data {
            progress.fail(Malformed::Disposition);
        }
        if names != 1 {
            progress.fail(Malformed::PartName);
        }
    }

    /// Keeps a name of the file: two different ones at most, a third is only in the header line.
    fn filename(&mut self, parameter: &Parameter<'_>) {
        let name = if parameter.name.eq_ignore_ascii_case(b"filename*") {
            extended_value(&parameter.value)
        } else {
            parameter.value.to_vec()
        };
        if self.filenames.len() < 2 && !self.filenames.contains(&name) {
            self.filenames.push(name);
        }
    }
}

/// `filename`, `filename*` and the continuations of RFC 2231 (`filename*0`), which some frameworks join.
fn is_filename(name: &[u8]) -> bool {
    name.get(..b"filename".len()).is_some_and(|begin| begin.eq_ignore_ascii_case(b"filename"))
        && matches!(name.get(b"filename".len()), None | Some(b'*'))
}

/// RFC 5987: `charset'language'percent-encoded`. What is not by that form is decoded as a whole.
fn extended_value(value: &[u8]) -> Vec<u8> {
    let encoded =
        split_once(b'\'', value).and_then(|(_, rest)| split_once(b'\'', rest)).map_or(value, |(_, rest)| rest);
    let mut decoded = Vec::with_capacity(encoded.len());
    // What is no escape stays as it is; that the parameter is there at all is a fault already.
    let _valid = percent_decode(encoded, &mut decoded, Plus::Plus);
    decoded
}

fn content_type(value: &[u8], progress: &mut Progress) {
    let is_multipart = value.get(..10).is_some_and(|begin| begin.eq_ignore_ascii_case(b"multipart/"));
    if is_multipart {
        progress.fail(Malformed::NestedMultipart);
    }
    if !media_type::is_readable(value) {
        progress.fail(Malformed::Charset);
    }
}

fn transfer_encoding(value: &[u8], progress: &mut Progress) {
    progress.fault(Fault::TransferEncoding);
    let plain = [&b"7bit"[..], b"8bit", b"binary"].iter().any(|plain| plain.eq_ignore_ascii_case(value));
    if !plain {
        progress.fail(Malformed::TransferEncoding);
    }
}
