//! Files that are written piece by piece, with their digests.

use crate::files;
use crate::text::hex;
use anyhow::Result;
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

/// A buffered file that hashes what is written to it, and names itself in errors.
pub(super) struct Output<'a> {
    file: Hashed<BufWriter<&'a mut File>>,
    path: &'a Path,
}

/// Writes a file whose content `fill` produces; nothing is left behind if it fails.
pub(super) fn write<T>(
    path: &Path,
    replace: bool,
    fill: impl FnOnce(&mut Output<'_>) -> Result<T>,
) -> Result<(T, Written)> {
    files::write_by(path, replace, false, |file| {
        let mut output = Output { file: Hashed::new(BufWriter::new(file)), path };
        let value = fill(&mut output)?;
        output.flush()?;
        Ok((value, Written { bytes: output.file.bytes(), digest: output.file.digest() }))
    })
}

impl Output<'_> {
    fn named<T>(path: &Path, result: io::Result<T>) -> io::Result<T> {
        result
            .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", files::cannot_write(path))))
    }
}

impl Write for Output<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Self::named(self.path, self.file.write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        Self::named(self.path, self.file.flush())
    }
}
