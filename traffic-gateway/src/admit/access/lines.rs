//! Files of entries, one a line, read piece by piece without an allocation a line.

use std::io::{self, BufRead, BufReader, Read};

use gatehouse_shared::config::{ConfigError, ConfigErrors, Positions};

/// A longer line is no entry.
const MAX_LINE_BYTES: usize = 4_096;
/// Findings shown of one file; all are counted.
const MAX_FINDINGS: usize = 20;
/// How much is read at once.
const PIECE_BYTES: usize = 64 << 10;
/// What some editors put before UTF-8 text.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";
/// How much of a wrong text is shown.
const SHOWN_CHARS: usize = 60;

/// What is wrong with a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mistake {
    /// Where in the line, in bytes from its beginning.
    offset: usize,
    message: String,
    remedy: Option<String>,
}

impl Mistake {
    /// A mistake in a part of a line; a part that was copied from the line is looked for in it.
    pub(super) fn at(line: &str, part: &str, message: impl Into<String>) -> Self {
        let begin = part.as_ptr().addr().checked_sub(line.as_ptr().addr());
        let within = begin.filter(|begin| begin.checked_add(part.len()).is_some_and(|end| end <= line.len()));
        let offset = within.or_else(|| line.find(part).filter(|_| !part.is_empty()));
        Self { offset: offset.unwrap_or(0), message: message.into(), remedy: None }
    }

    /// The same mistake with advice.
    pub(super) fn with_remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = Some(remedy.into());
        self
    }

    /// The finding for the operator.
    pub(super) fn in_file(self, file: &str, number: u32, line: &str) -> ConfigError {
        let column = line.get(..self.offset).map_or(0, |before| before.chars().count()) + 1;
        let line = usize::try_from(number).unwrap_or(usize::MAX);
        ConfigError { file: file.to_owned(), line, column, message: self.message, remedy: self.remedy }
    }

    /// The finding for the operator, about an entry of the configuration itself.
    pub(super) fn at_path(self, path: &str, positions: &Positions) -> ConfigError {
        positions.error(path, self.message, self.remedy)
    }
}

/// A text as it is shown in a message: bounded and escaped.
pub(super) fn shown(text: &str) -> String {
    let end = text.char_indices().nth(SHOWN_CHARS).map_or(text.len(), |(end, _)| end);
    format!("{:?}", text.get(..end).unwrap_or_default())
}

/// Calls `each` with the number, from 1, and the text of every line, without its end and the blanks before that. A byte
/// order mark at the beginning is no part of the first line.
///
/// # Errors
/// The first 20 mistakes and how many there are, and a file that cannot be read.
pub(super) fn read_lines(
    file: &str,
    from: impl Read,
    mut each: impl FnMut(u32, &str) -> Result<(), Mistake>,
) -> Result<(), ConfigErrors> {
    let mut reader = BufReader::with_capacity(PIECE_BYTES, from);
    let mut bytes = Vec::new();
    let mut findings = ConfigErrors::new();
    let mut wrong = 0usize;
    for number in 1.. {
        match next_line(&mut reader, &mut bytes) {
            Ok(true) => {}
            Ok(false) => break,
            Err(error) => {
                findings.push(ConfigError::about_file(file, format!("cannot read the file: {error}")));
                break;
            }
        }
        let line = bytes.strip_prefix(BYTE_ORDER_MARK).filter(|_| number == 1).unwrap_or(&bytes);
        if let Err(finding) = judge(line, file, number, &mut each) {
            wrong += 1;
            if wrong <= MAX_FINDINGS {
                findings.push(finding);
            }
        }
    }
    if wrong > MAX_FINDINGS {
        let message = format!("{wrong} lines are wrong; the first {MAX_FINDINGS} follow");
        findings.push(ConfigError::about_file(file, message));
    }
    findings.into_result(())
}

/// Reads the next line, or as much of it as shows that it is too long; `false` at the end of the file.
fn next_line(reader: &mut impl BufRead, line: &mut Vec<u8>) -> io::Result<bool> {
    line.clear();
    let most = u64::try_from(MAX_LINE_BYTES + 2).unwrap_or(u64::MAX);
    let count = reader.take(most).read_until(b'\n', line)?;
    if line.last() == Some(&b'\n') {
        line.pop();
    } else if count > MAX_LINE_BYTES {
        reader.skip_until(b'\n')?;
    }
    Ok(count > 0)
}

fn judge(
    line: &[u8],
    file: &str,
    number: u32,
    each: impl FnOnce(u32, &str) -> Result<(), Mistake>,
) -> Result<(), ConfigError> {
    let line = line.trim_ascii_end();
    if line.len() > MAX_LINE_BYTES {
        let mistake = Mistake::at("", "", format!("the line is longer than {MAX_LINE_BYTES} bytes"));
        return Err(mistake.with_remedy("write one entry a line").in_file(file, number, ""));
    }
    match str::from_utf8(line) {
        Ok(line) => each(number, line).map_err(|mistake| mistake.in_file(file, number, line)),
        Err(error) => {
            let good = line.get(..error.valid_up_to()).and_then(|good| str::from_utf8(good).ok()).unwrap_or_default();
            let mistake = Mistake { offset: good.len(), ..Mistake::at("", "", "this is not UTF-8 text") };
            Err(mistake.with_remedy("save the file as UTF-8").in_file(file, number, good))
        }
    }
}
