//! `FILE.part`: work of an interrupted run, from which another run resumes.

use crate::files::{self, FileError};
use crate::names::path_cell;
use crate::text::counted;
use anyhow::{Context, Result, bail};
use pleura::xray::Source;
use std::collections::{BTreeSet, HashSet};
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

/// Names that a sentence lists.
const NAMED: usize = 3;

/// Where the finished part of a file is.
pub(crate) fn part(path: &Path) -> PathBuf {
    let mut part = path.as_os_str().to_owned();
    part.push(".part");
    part.into()
}

/// Opens a regular file, made if there is none, and locks it. Links are not followed. Only its owner can read a `private` file.
pub(crate) fn open(part: &Path, private: bool) -> Result<File> {
    let failed = || files::cannot_write(part);
    let mut options = OpenOptions::new();
    options.read(true).write(true);
    #[cfg(unix)]
    if private {
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    }
    #[cfg(not(unix))]
    let _ = private;
    let file = match fs::symlink_metadata(part) {
        Ok(found) if !found.is_file() => return Err(FileError::Special(part.into()).into()),
        Ok(_) => options.open(part),
        Err(error) if error.kind() == io::ErrorKind::NotFound => options.create_new(true).open(part),
        Err(error) => Err(error),
    };
    let file = file.with_context(failed)?;
    match file.try_lock() {
        Ok(()) => (),
        Err(TryLockError::WouldBlock) => bail!("another run is writing to {}", part.display()),
        Err(TryLockError::Error(error)) => {
            return Err(error).with_context(|| format!("cannot lock {}", part.display()));
        }
    }
    // Before the lock, the path may have been given to another file.
    if !files::is_at(&file, part).with_context(failed)? {
        bail!("another program has just replaced {}; try again", part.display());
    }
    if files::has_other_names(&file).with_context(failed)? {
        bail!("{} is a hard link to a file with another name: delete it", part.display());
    }
    Ok(file)
}

/// Replaces the content of `part`, which `file` is, and locks it again. The old or the new content is there at every moment.
pub(crate) fn replace(part: &Path, file: File, content: &[u8]) -> Result<File> {
    if cfg!(windows) {
        // Windows replaces no file that is open. If another run takes the lock meanwhile, this one fails.
        drop(file);
        files::write(part, &[content], true, false)?;
    } else {
        files::write(part, &[content], true, false)?;
        drop(file);
    }
    open(part, false)
}

/// Work on an image that is none of the sources would mix two folders in one file. Images are cells of [`path_cell`].
pub(crate) fn check_images<'a>(
    images: impl Iterator<Item = &'a str>,
    sources: &[Source],
    part: &Path,
) -> Result<()> {
    let known: HashSet<String> = sources.iter().map(|source| path_cell(source.path(), None)).collect();
    let files = images.filter_map(|image| Some(image.split('#').next()?.to_owned()));
    let others: BTreeSet<String> = files.filter(|image| !known.contains(image)).collect();
    if others.is_empty() {
        return Ok(());
    }
    bail!(
        "{} has rows of {} that this command does not name ({}): finish it with the command that began it, or delete it",
        part.display(),
        counted(others.len(), "file"),
        listed(&others)
    )
}

/// Some names, and how many more there are.
pub(crate) fn listed<T: AsRef<str> + Ord>(names: &BTreeSet<T>) -> String {
    let some = names.iter().take(NAMED).map(AsRef::as_ref).collect::<Vec<_>>().join(", ");
    let more = names.len().saturating_sub(NAMED);
    if more == 0 { some } else { format!("{some}, and {more} more") }
}
