//! Where the lines of the access log go.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::Path;

use super::Destination;

/// The open sink.
pub(super) struct Sink {
    destination: Destination,
    file: Option<File>,
    /// The last write stopped in the middle of a line.
    is_torn: bool,
}

impl Sink {
    /// Opens a sink; a pipe not yet, because that waits for a reader.
    pub(super) fn open(sink: &str) -> io::Result<Self> {
        let destination = Destination::new(sink);
        let file = match &destination {
            Destination::File(path) if !is_pipe(path) => Some(open(path)?),
            _ => None,
        };
        Ok(Self { destination, file, is_torn: false })
    }

    /// Its name, for messages.
    pub(super) fn name(&self) -> String {
        match &self.destination {
            Destination::Stdout => "stdout".to_owned(),
            Destination::Stderr => "stderr".to_owned(),
            Destination::Off => "off".to_owned(),
            Destination::File(path) => path.display().to_string(),
        }
    }

    /// Forgets the open file; the next write opens it again.
    pub(super) fn reopen(&mut self) {
        self.file = None;
        self.is_torn = false;
    }

    /// Writes whole lines; after an error the next write starts on a new line.
    pub(super) fn write(&mut self, lines: &[u8]) -> io::Result<()> {
        let file = match (&self.destination, &mut self.file) {
            (Destination::Off, _) => return Ok(()),
            (Destination::Stdout, _) => {
                let mut stdout = io::stdout().lock();
                stdout.write_all(lines)?;
                return stdout.flush();
            }
            (Destination::Stderr, _) => return io::stderr().lock().write_all(lines),
            (Destination::File(_), Some(file)) => file,
            (Destination::File(path), none) => none.insert(open(path)?),
        };
        if self.is_torn {
            file.write_all(b"\n")?;
        }
        let written = write_all(file, lines);
        self.is_torn = matches!(written, Err((_, part)) if part > 0) || (self.is_torn && written.is_err());
        written.map_err(|(error, _)| error)
    }
}

/// Writes everything, or tells how much of it was written.
fn write_all(file: &mut File, bytes: &[u8]) -> Result<(), (io::Error, usize)> {
    let mut done = 0;
    while let Some(rest) = bytes.get(done..).filter(|rest| !rest.is_empty()) {
        match file.write(rest) {
            Ok(0) => return Err((io::ErrorKind::WriteZero.into(), done)),
            Ok(count) => done += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err((error, done)),
        }
    }
    Ok(())
}

fn is_pipe(path: &Path) -> bool {
    path.metadata().is_ok_and(|metadata| metadata.file_type().is_fifo())
}

/// Access logs hold client addresses: readable for the owner and the group only.
fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).mode(0o640).open(path)
}
