//! Files read within limits, and files that are written whole or not at all.

use crate::text::{self, bytes_text};
use anyhow::{Context, Result};
use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use tempfile::{Builder, NamedTempFile};

/// Conditions of a path that keep a command from reading or writing there.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FileError {
    #[error("{} is a directory, not a file", .0.display())]
    Directory(PathBuf),
    #[error("{} is empty", .0.display())]
    Empty(PathBuf),
    #[error("{} is larger than the {} that are read", path.display(), bytes_text(*max))]
    TooLarge { path: PathBuf, max: u64 },
    #[error("{} exists; --force replaces it", .0.display())]
    Exists(PathBuf),
    #[error("{} is not a regular file and will not be replaced: name another place", .0.display())]
    Special(PathBuf),
    #[error("cannot write {}: there is no folder {}; make it first", path.display(), folder.display())]
    NoFolder { path: PathBuf, folder: PathBuf },
    #[error("{} is a file, not a folder: name another place", .0.display())]
    NotAFolder(PathBuf),
    #[error("{} is the name of a folder: add that of a file", .0.display())]
    FolderName(PathBuf),
    #[error("{} is an input of this command and would be destroyed: name another place", .0.display())]
    IsInput(PathBuf),
}

/// Context of an error that came of reading a file.
pub(crate) fn cannot_read(path: &Path) -> String {
    format!("cannot read {}", path.display())
}

/// Context of an error that came of writing a file.
pub(crate) fn cannot_write(path: &Path) -> String {
    format!("cannot write {}", path.display())
}

/// How names of files that are being written start.
pub(crate) const UNFINISHED_PREFIX: &str = ".pleura-";

/// What an interruption has to delete.
static UNFINISHED: Mutex<Option<PathBuf>> = Mutex::new(None);

/// Rows that an interruption leaves, and where.
static KEPT: Mutex<Option<(usize, PathBuf)>> = Mutex::new(None);

/// Notes how many rows are in a file that another run can go on with.
pub(crate) fn keeps(rows: usize, path: &Path) {
    *KEPT.lock().unwrap_or_else(PoisonError::into_inner) = Some((rows, path.to_owned()));
}

/// There is nothing to go on with any more.
pub(crate) fn keeps_nothing() {
    *KEPT.lock().unwrap_or_else(PoisonError::into_inner) = None;
}

/// Opens what is not a directory.
pub(crate) fn open(path: &Path) -> Result<File> {
    let file = File::open(path).with_context(|| cannot_read(path))?;
    if file.metadata().with_context(|| cannot_read(path))?.is_dir() {
        return Err(FileError::Directory(path.into()).into());
    }
    Ok(file)
}

/// The content of a file that is neither empty nor longer than `max` bytes.
pub(crate) fn read(path: &Path, max: u64) -> Result<Vec<u8>> {
    let file = open(path)?;
    if file.metadata().with_context(|| cannot_read(path))?.len() > max {
        return Err(FileError::TooLarge { path: path.into(), max }.into());
    }
    let mut bytes = Vec::new();
    // Pipes and devices have no length to go by.
    file.take(max.saturating_add(1)).read_to_end(&mut bytes).with_context(|| cannot_read(path))?;
    match bytes.len() as u64 {
        0 => Err(FileError::Empty(path.into()).into()),
        len if len > max => Err(FileError::TooLarge { path: path.into(), max }.into()),
        _ => Ok(bytes),
    }
}

/// Whether results can be written to `outputs`, asked before the work that leads to them: each is free, or may be replaced if
/// `replace` says so, and none is one of `inputs`.
pub(crate) fn check_outputs(
    outputs: &[impl AsRef<Path>],
    inputs: impl IntoIterator<Item = impl AsRef<Path>>,
    replace: bool,
) -> Result<()> {
    apart(outputs, inputs)?;
    outputs.iter().try_for_each(|path| check_writable(path.as_ref(), replace))
}

/// That no file to be written is one that is read, however either is spelt: asked before any work. `--force` does not change
/// that.
///
/// Both are files. Of X-rays in folders, [`crate::sources::files`] tells which are read.
fn apart(
    outputs: &[impl AsRef<Path>],
    inputs: impl IntoIterator<Item = impl AsRef<Path>>,
) -> Result<(), FileError> {
    let inputs: HashSet<PathBuf> =
        inputs.into_iter().filter_map(|path| fs::canonicalize(path).ok()).collect();
    // What is not there yet is no input.
    let read = |path: &&Path| fs::canonicalize(path).is_ok_and(|path| inputs.contains(&path));
    match outputs.iter().map(AsRef::as_ref).find(read) {
        Some(path) => Err(FileError::IsInput(path.into())),
        None => Ok(()),
    }
}

/// Whether two paths, to what may not be there yet, are of one file.
pub(crate) fn same(a: &Path, b: &Path) -> bool {
    let place = |path: &Path| {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        fs::canonicalize(folder.unwrap_or(Path::new("."))).ok()
    };
    a == b || (a.file_name() == b.file_name() && place(a).is_some() && place(a) == place(b))
}

/// Whether a path ends as those of folders do.
pub(crate) fn is_folder_name(path: &Path) -> bool {
    let text = path.as_os_str().to_string_lossy();
    text.ends_with(std::path::is_separator) || path.file_name().is_none()
}

/// Whether files can be written into a folder, which is made later if it is not there.
pub(crate) fn check_folder(path: &Path) -> Result<()> {
    let above = path.ancestors().find(|above| fs::symlink_metadata(above).is_ok());
    let above = above.unwrap_or(Path::new("."));
    if !above.is_dir() {
        return Err(FileError::NotAFolder(above.into()).into());
    }
    tempfile::tempfile_in(above).map(drop).with_context(|| cannot_write(path))
}

/// Whether a result can be written there, asked before the work that leads to it.
pub(crate) fn check_writable(path: &Path, replace: bool) -> Result<()> {
    check_name(path, replace)?;
    tempfile::tempfile_in(folder(path)).map(drop).with_context(|| cannot_write(path))
}

fn check_name(path: &Path, replace: bool) -> Result<(), FileError> {
    match fs::symlink_metadata(path) {
        Ok(found) if found.is_dir() => Err(FileError::Directory(path.into())),
        Ok(_) if !replace => Err(FileError::Exists(path.into())),
        Ok(found) if !found.is_file() => Err(FileError::Special(path.into())),
        Ok(_) => Ok(()),
        Err(_) if is_folder_name(path) => Err(FileError::FolderName(path.into())),
        Err(_) => match fs::metadata(folder(path)) {
            Ok(found) if !found.is_dir() => Err(FileError::NotAFolder(folder(path).into())),
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                Err(FileError::NoFolder { path: path.into(), folder: folder(path).into() })
            }
            _ => Ok(()),
        },
    }
}

/// Writes `parts` one after the other under a temporary name, then renames. `private` files are their owner's alone.
pub(crate) fn write(path: &Path, parts: &[&[u8]], replace: bool, private: bool) -> Result<()> {
    write_whole(path, parts, replace, private).with_context(|| cannot_write(path))
}

/// As [`write`], with content that `fill` produces piece by piece; nothing is left behind if it fails.
pub(crate) fn write_by<T>(
    path: &Path,
    replace: bool,
    private: bool,
    fill: impl FnOnce(&mut File) -> Result<T>,
) -> Result<T> {
    let mut file = begin(path, private).with_context(|| cannot_write(path))?;
    let value = fill(file.as_file_mut())?;
    finish(file, path, replace).with_context(|| cannot_write(path))?;
    Ok(value)
}

fn write_whole(path: &Path, parts: &[&[u8]], replace: bool, private: bool) -> io::Result<()> {
    let mut file = begin(path, private)?;
    for part in parts {
        file.write_all(part)?;
    }
    finish(file, path, replace)
}

/// A temporary file beside `path`, which an interruption deletes.
fn begin(path: &Path, private: bool) -> io::Result<NamedTempFile> {
    let mut builder = Builder::new();
    builder.prefix(UNFINISHED_PREFIX);
    #[cfg(unix)]
    if !private {
        use std::os::unix::fs::PermissionsExt;
        builder.permissions(fs::Permissions::from_mode(0o666));
    }
    #[cfg(not(unix))]
    let _ = private;
    let mut unfinished = UNFINISHED.lock().unwrap_or_else(PoisonError::into_inner);
    let file = builder.tempfile_in(folder(path))?;
    *unfinished = Some(file.path().to_owned());
    Ok(file)
}

/// Gives a temporary file its name.
fn finish(file: NamedTempFile, path: &Path, replace: bool) -> io::Result<()> {
    file.as_file().sync_all()?;
    let mut unfinished = UNFINISHED.lock().unwrap_or_else(PoisonError::into_inner);
    *unfinished = None;
    if replace { file.persist(path) } else { file.persist_noclobber(path) }.map_err(|e| e.error)?;
    sync_folder(path)
}

/// Makes the name of a file in its folder last through a loss of power.
pub(crate) fn sync_folder(path: &Path) -> io::Result<()> {
    #[cfg(unix)]
    match File::open(folder(path)).and_then(|folder| folder.sync_all()) {
        // Some file systems do not sync folders, and some folders can be written and not read.
        Err(error)
            if !matches!(error.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::PermissionDenied) =>
        {
            return Err(error);
        }
        _ => (),
    }
    #[cfg(not(unix))]
    let _ = path;
    Ok(())
}

/// Whether a path, links not followed, is still that of an open file.
pub(crate) fn is_at(file: &File, path: &Path) -> io::Result<bool> {
    let found = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        found => found?,
    };
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        let open = file.metadata()?;
        Ok(found.is_file() && (open.dev(), open.ino()) == (found.dev(), found.ino()))
    }
    #[cfg(not(unix))]
    {
        let _ = file;
        Ok(found.is_file())
    }
}

/// Whether a file has hard links.
pub(crate) fn has_other_names(file: &File) -> io::Result<bool> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        Ok(file.metadata()?.nlink() > 1)
    }
    #[cfg(not(unix))]
    {
        let _ = file;
        Ok(false)
    }
}

/// On an interruption: deletes what is half written, keeps anything else from being started, and exits with a code.
pub(crate) fn interrupted(code: i32) -> ! {
    let unfinished = UNFINISHED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(path) = unfinished.as_ref() {
        let _ = fs::remove_file(path);
    }
    let kept = KEPT.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((rows, path)) = kept.as_ref().filter(|(rows, _)| *rows > 0) {
        let verb = if *rows == 1 { "is" } else { "are" };
        crate::terminal::note(&format!(
            "{} {verb} kept in {}; the same command goes on with them",
            text::counted(*rows, "row"),
            path.display()
        ));
    }
    // Still locked: a rename that waits must not happen now.
    std::process::exit(code)
}

fn folder(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is<T>(result: Result<T>, expected: fn(&FileError) -> bool) -> bool {
        result.is_err_and(|error| error.downcast_ref().is_some_and(expected))
    }

    #[test]
    fn nothing_is_replaced_unasked() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("y");
        write(&path, &[b"a", b"b"], false, false).unwrap();
        assert!(write(&path, &[b"c"], false, false).is_err());
        assert_eq!(fs::read(&path).unwrap(), b"ab");
        write(&path, &[b"c"], true, true).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"c");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "temporary files are gone");
    }

    #[test]
    fn places_are_checked_beforehand() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("y");
        check_writable(&path, false).unwrap();
        fs::write(&path, b"a").unwrap();
        assert!(is(check_writable(&path, false), |e| matches!(e, FileError::Exists { .. })));
        check_writable(&path, true).unwrap();
        assert!(is(check_writable(folder.path(), true), |e| matches!(e, FileError::Directory { .. })));
        assert!(is(check_writable(&folder.path().join("no/y"), true), |e| matches!(
            e,
            FileError::NoFolder { .. }
        )));
        assert!(is(check_writable(&path.join("y"), true), |e| matches!(e, FileError::NotAFolder { .. })));
        assert!(is(check_writable(&folder.path().join("no/"), true), |e| matches!(
            e,
            FileError::FolderName { .. }
        )));
        check_folder(folder.path()).unwrap();
        check_folder(&folder.path().join("no/such")).unwrap();
        assert!(is(check_folder(&path.join("deeper")), |e| matches!(e, FileError::NotAFolder { .. })));
        #[cfg(unix)]
        assert!(is(check_writable(Path::new("/dev/null"), true), |e| matches!(e, FileError::Special { .. })));
    }

    #[test]
    fn inputs_are_known_by_any_name() {
        let folder = tempfile::tempdir().unwrap();
        let [key, other] = ["key", "other"].map(|name| folder.path().join(name));
        fs::write(&key, b"a").unwrap();
        fs::write(&other, b"b").unwrap();
        apart(&[&other], [&key]).unwrap();
        apart(&[folder.path().join("new")], [&key]).unwrap();
        apart(&[&key], [folder.path()]).unwrap();
        let spelt = folder.path().join(".").join("key");
        assert!(matches!(apart(&[&other, &spelt], [&key]), Err(FileError::IsInput { .. })));
        #[cfg(unix)]
        {
            let link = folder.path().join("link");
            std::os::unix::fs::symlink(&key, &link).unwrap();
            assert!(matches!(apart(&[&key], [&link]), Err(FileError::IsInput { .. })));
        }
    }

    #[test]
    fn reading_has_limits() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        assert!(read(&path, 9).unwrap_err().to_string().starts_with("cannot read "));
        assert!(read(folder.path(), 9).is_err());
        fs::write(&path, b"").unwrap();
        assert!(is(read(&path, 9), |e| matches!(e, FileError::Empty { .. })));
        fs::write(&path, b"0123456789").unwrap();
        assert!(is(read(&path, 9), |e| matches!(e, FileError::TooLarge { .. })));
        assert_eq!(read(&path, 10).unwrap(), b"0123456789");
        #[cfg(unix)]
        assert!(is(read(Path::new("/dev/zero"), 9), |e| matches!(e, FileError::TooLarge { .. })));
    }
}
