//! Files that are written piece by piece, with their digests.

use crate::files;
use crate::text::hex;
use anyhow::{Context, Result};
use pleura::remote::Hashed;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

/// Size and SHA-256 of a file that was written.
pub(super) struct Written {
    pub(super) bytes: u64,
    pub(super) digest: [u8; 32],
}

impl Written {
    /// The digest in hexadecimal digits.
    pub(super) fn sha256(&self) -> String {
        hex(&self.digest)
    }
}

/// A buffered file that hashes what is written to it.
pub(super) struct Output<'a> {
    file: Hashed<BufWriter<&'a mut File>>,
    /// The first failure to write.
    failed: Option<io::Error>,
}

/// Writes a file whose content `fill` produces; nothing is left behind if it fails. A failure to write names the file alone, whatever
/// `fill` was working on.
pub(super) fn write<T>(
    path: &Path,
    replace: bool,
    fill: impl FnOnce(&mut Output<'_>) -> Result<T>,
) -> Result<(T, Written)> {
    files::write_by(path, replace, false, |file| {
        let mut output = Output { file: Hashed::new(BufWriter::new(file)), failed: None };
        let filled = fill(&mut output).and_then(|value| Ok((value, output.flush()?)));
        match (filled, output.failed) {
            (Ok((value, ())), _) => {
                Ok((value, Written { bytes: output.file.bytes(), digest: output.file.digest() }))
            }
            (Err(_), Some(failed)) => Err(failed).with_context(|| files::cannot_write(path)),
            (Err(error), None) => Err(error),
        }
    })
}

impl Output<'_> {
    /// The result of writing, noted if it failed; who writes gets the kind of the error.
    fn noted<T>(&mut self, result: io::Result<T>) -> io::Result<T> {
        result.map_err(|error| {
            let kind = error.kind();
            if kind != io::ErrorKind::Interrupted {
                self.failed.get_or_insert(error);
            }
            kind.into()
        })
    }
}

impl Write for Output<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes);
        self.noted(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        let flushed = self.file.flush();
        self.noted(flushed)
    }
}
