//! Files that are written piece by piece, with their digests.

use crate::files;
use crate::text::hex;
use anyhow::Result;
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

/// Size and SHA-256 of a file that was written.
pub(super) struct Written {
    pub(super) bytes: u64,
    pub(super) sha256: String,
}

/// A buffered file that hashes what is written to it, and names itself in errors.
pub(super) struct Output<'a> {
    file: BufWriter<&'a mut File>,
    path: &'a Path,
    hash: Sha256,
    bytes: u64,
}

/// Writes a file whose content `fill` produces; nothing is left behind if it fails.
pub(super) fn write<T>(
    path: &Path,
    replace: bool,
    fill: impl FnOnce(&mut Output<'_>) -> Result<T>,
) -> Result<(T, Written)> {
    files::write_by(path, replace, false, |file| {
        let mut output = Output { file: BufWriter::new(file), path, hash: Sha256::new(), bytes: 0 };
        let value = fill(&mut output)?;
        output.flush()?;
        let sha256 = hex(&output.hash.finalize());
        Ok((value, Written { bytes: output.bytes, sha256 }))
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
        let count = Self::named(self.path, self.file.write(bytes))?;
        self.hash.update(bytes.get(..count).unwrap_or(bytes));
        self.bytes += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Self::named(self.path, self.file.flush())
    }
}
