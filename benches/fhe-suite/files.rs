//! Files that are read within limits, and written whole or not at all.

use anyhow::{Context, Result, bail};
use std::fs::{self, File};
use std::io::{BufWriter, Read, Write};
use std::path::Path;
use tempfile::{Builder, NamedTempFile};

/// Opens a file; `step` is the one that makes it.
pub(crate) fn open(path: &Path, step: &str) -> Result<File> {
    let file =
        File::open(path).with_context(|| format!("cannot read {}; run {step} first", path.display()))?;
    if file.metadata()?.is_dir() {
        bail!("{} is a folder, not a file; run {step} again", path.display());
    }
    Ok(file)
}

/// Content of a file of at most `max` bytes; `step` is the one that makes it.
pub(crate) fn read(path: &Path, max: u64, step: &str) -> Result<Vec<u8>> {
    let file = open(path, step)?;
    let length = file.metadata()?.len();
    if length > max {
        bail!("{} has {length} bytes and may have {max}; run {step} again", path.display());
    }
    let mut bytes = Vec::new();
    file.take(max).read_to_end(&mut bytes).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(bytes)
}

/// Writes a file under a temporary name, readable by its owner alone, and renames it once it is whole.
pub(crate) fn write<T>(path: &Path, fill: impl FnOnce(&mut BufWriter<&mut File>) -> Result<T>) -> Result<T> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let written = || -> Result<T> {
        fs::create_dir_all(folder)?;
        let mut part: NamedTempFile = Builder::new().prefix(".part-").tempfile_in(folder)?;
        let mut out = BufWriter::with_capacity(1 << 20, part.as_file_mut());
        let result = fill(&mut out)?;
        out.flush()?;
        drop(out);
        part.persist(path)?;
        Ok(result)
    };
    written().with_context(|| format!("cannot write {}", path.display()))
}

/// Writes bytes as [`write`] does.
pub(crate) fn write_bytes(path: &Path, bytes: &[u8]) -> Result<()> {
    write(path, |out| Ok(out.write_all(bytes)?))
}
