//! Files read within limits, and files that are written whole or not at all.

use crate::text::{self, bytes_text};
use anyhow::{Context, Result};
use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use tempfile::{Builder, NamedTempFile};

/// Bytes of standard input that are read.
const MAX_STDIN: u64 = 16 << 30;

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
    #[error("this command would write two files to {}: name two places", .0.display())]
    Twice(PathBuf),
    #[error("{} would hold .{format} and not .{ending}: name a file that ends in .{format}", path.display())]
    Format { path: PathBuf, ending: String, format: &'static str },
}

/// Context of an error that came of reading a file.
pub(crate) fn cannot_read(path: &Path) -> String {
    format!("cannot read {}", path.display())
}

/// Context of an error that came of writing a file.
pub(crate) fn cannot_write(path: &Path) -> String {
    format!("cannot write {}", path.display())
}

/// Whether a path stands for standard input or standard output.
pub(crate) fn is_standard(path: &Path) -> bool {
    path.as_os_str() == "-"
}

/// Prefix of the names of files that are being written.
pub(crate) const UNFINISHED_PREFIX: &str = ".pleura-";

/// The temporary file that an interruption deletes.
static UNFINISHED: Mutex<Option<PathBuf>> = Mutex::new(None);

/// Two files that are made together.
static PAIR: Mutex<Option<Pair>> = Mutex::new(None);

/// Sentence that an interruption prints.
static KEPT: Mutex<Option<String>> = Mutex::new(None);

/// Report that an interruption writes to a file, or prints.
static PARTIAL: Mutex<Option<Partial>> = Mutex::new(None);

/// The last action of an interruption.
#[cfg(feature = "service")]
static LAST: Mutex<Option<Box<dyn FnOnce() + Send>>> = Mutex::new(None);

/// Longest time for what an interruption does last.
#[cfg(feature = "service")]
const LAST_TIME: std::time::Duration = std::time::Duration::from_secs(5);

/// Two files of which the first is worth nothing without the second.
struct Pair {
    first: PathBuf,
    second: PathBuf,
    /// Whether the first one is there, and the second is not.
    half: bool,
}

/// A report of the work that was done.
struct Partial {
    path: Option<PathBuf>,
    replace: bool,
    text: String,
}

/// Notes the number of rows in a file from which another run can resume.
pub(crate) fn keeps(rows: usize, path: &Path) {
    keeps_all(rows, "row", path);
}

/// Notes the number of things in a file from which another run can resume.
pub(crate) fn keeps_all(count: usize, thing: &str, path: &Path) {
    let verb = if count == 1 { "is" } else { "are" };
    let kept = format!(
        "{} {verb} kept in {}; the same command resumes from them",
        text::counted(count, thing),
        path.display()
    );
    on_interruption((count > 0).then_some(kept));
}

/// Prints what a failed command keeps, as an interruption does.
pub(crate) fn tell_kept() {
    let kept = KEPT.lock().unwrap_or_else(PoisonError::into_inner);
    kept.iter().for_each(|sentence| crate::terminal::note(sentence));
}

/// Notes the sentence that an interruption prints.
pub(crate) fn on_interruption(sentence: Option<String>) {
    *KEPT.lock().unwrap_or_else(PoisonError::into_inner) = sentence;
}

/// Notes two files that are written next: an interruption between them deletes the first.
pub(crate) fn set_pair(first: &Path, second: &Path) {
    let pair = Pair { first: first.into(), second: second.into(), half: false };
    *PAIR.lock().unwrap_or_else(PoisonError::into_inner) = Some(pair);
}

/// Notes that a file of a pair is there.
fn made(path: &Path) {
    let mut pair = PAIR.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(pair) = pair.as_mut() {
        pair.half = path == pair.first || (pair.half && path != pair.second);
    }
}

/// Keeps a report that an interruption writes to `path`, or prints.
pub(crate) fn keep_partial(path: Option<PathBuf>, replace: bool, text: String) {
    *PARTIAL.lock().unwrap_or_else(PoisonError::into_inner) = Some(Partial { path, replace, text });
}

/// Forgets the report of [`keep_partial`].
pub(crate) fn forget_partial() {
    *PARTIAL.lock().unwrap_or_else(PoisonError::into_inner) = None;
}

/// Opens a file that is not a directory; `-` is standard input, which can be read once.
pub(crate) fn open(path: &Path) -> Result<File> {
    if is_standard(path) {
        return standard_input().context("cannot read standard input");
    }
    let file = File::open(path);
    // Windows opens no directory, other systems do.
    if file.is_err() && path.is_dir() {
        return Err(FileError::Directory(path.into()).into());
    }
    let file = file.with_context(|| cannot_read(path))?;
    if file.metadata().with_context(|| cannot_read(path))?.is_dir() {
        return Err(FileError::Directory(path.into()).into());
    }
    Ok(file)
}

/// All of standard input, in a temporary file.
fn standard_input() -> io::Result<File> {
    let mut file = tempfile::tempfile()?;
    io::copy(&mut io::stdin().lock().take(MAX_STDIN), &mut file)?;
    file.rewind()?;
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

/// Checks before the work that results can be written to `outputs`: each is free, or may be replaced if `replace` is set, and none
/// is one of `inputs` or another output. Reserves standard output if it is one of them.
pub(crate) fn check_outputs(
    outputs: &[impl AsRef<Path>],
    inputs: impl IntoIterator<Item = impl AsRef<Path>>,
    replace: bool,
) -> Result<()> {
    apart(outputs, inputs)?;
    outputs.iter().try_for_each(|path| check_writable(path.as_ref(), replace))
}

/// Checks that no output is an input or another output, whatever path names it. `--force` has no influence.
///
/// Inputs and outputs are files; [`crate::sources::files`] lists those of folders.
pub(crate) fn apart(
    outputs: &[impl AsRef<Path>],
    inputs: impl IntoIterator<Item = impl AsRef<Path>>,
) -> Result<(), FileError> {
    for (i, a) in outputs.iter().map(AsRef::as_ref).enumerate() {
        if outputs.iter().skip(i + 1).any(|b| same(a, b.as_ref())) {
            return Err(FileError::Twice(a.into()));
        }
    }
    let inputs: HashSet<PathBuf> =
        inputs.into_iter().filter_map(|path| fs::canonicalize(path).ok()).collect();
    // A file that does not exist is no input.
    match outputs
        .iter()
        .map(AsRef::as_ref)
        .find(|path: &&Path| fs::canonicalize(path).is_ok_and(|path| inputs.contains(&path)))
    {
        Some(path) => Err(FileError::IsInput(path.into())),
        None => Ok(()),
    }
}

/// Endings of names that promise a format of results.
const FORMATS: [&str; 7] = ["csv", "json", "jsonl", "npy", "parquet", "safetensors", "xlsx"];

/// Checks before the work that the name of a result does not promise another format than that which is written, whose ending is
/// `format`. Names without an ending, or with one that promises nothing, may be of any.
pub(crate) fn check_format(path: &Path, format: &'static str) -> Result<(), FileError> {
    let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default().to_ascii_lowercase();
    if ending == format || !FORMATS.contains(&&*ending) {
        return Ok(());
    }
    Err(FileError::Format { path: path.into(), ending, format })
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

/// Checks before the work that a result can be written; `-` reserves standard output.
pub(crate) fn check_writable(path: &Path, replace: bool) -> Result<()> {
    if is_standard(path) {
        crate::terminal::reserve_stdout();
        return Ok(());
    }
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

/// Writes `parts` under a temporary name, then renames; `-` is standard output. Only its owner can read a `private` file.
pub(crate) fn write(path: &Path, parts: &[&[u8]], replace: bool, private: bool) -> Result<()> {
    if is_standard(path) {
        return parts.iter().try_for_each(|part| crate::terminal::print_bytes(part));
    }
    write_whole(path, parts, replace, private).with_context(|| cannot_write(path))
}

/// Writes a file as [`write`] does, with content that `fill` produces piece by piece; nothing is left behind if it fails.
pub(crate) fn write_by<T>(
    path: &Path,
    replace: bool,
    private: bool,
    fill: impl FnOnce(&mut File) -> Result<T>,
) -> Result<T> {
    if is_standard(path) {
        let mut file = tempfile::tempfile().context("cannot create a temporary file")?;
        let value = fill(&mut file)?;
        file.rewind()
            .and_then(|()| io::copy(&mut file, &mut io::stdout().lock()))
            .context("cannot write to standard output")?;
        made(path);
        return Ok(value);
    }
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
    let file = builder.tempfile_in(folder(path)).map_err(without_name)?;
    *unfinished = Some(file.path().to_owned());
    Ok(file)
}

/// An error without the name of a temporary file, which means nothing to users.
fn without_name(error: io::Error) -> io::Error {
    if error.kind() == io::ErrorKind::Other { error } else { error.kind().into() }
}

/// Gives a temporary file its name.
fn finish(file: NamedTempFile, path: &Path, replace: bool) -> io::Result<()> {
    file.as_file().sync_all()?;
    let mut unfinished = UNFINISHED.lock().unwrap_or_else(PoisonError::into_inner);
    *unfinished = None;
    if replace { file.persist(path) } else { file.persist_noclobber(path) }.map_err(|e| e.error)?;
    made(path);
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

/// Sets what an interruption does last, which may take some seconds.
#[cfg(feature = "service")]
pub(crate) fn set_last(last: Option<Box<dyn FnOnce() + Send>>) {
    *LAST.lock().unwrap_or_else(PoisonError::into_inner) = last;
}

/// Does what [`set_last`] set, as long as it takes no longer than it may.
#[cfg(feature = "service")]
fn do_last() {
    let Some(last) = LAST.lock().unwrap_or_else(PoisonError::into_inner).take() else { return };
    let (done, wait) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        last();
        let _ = done.send(());
    });
    let _ = wait.recv_timeout(LAST_TIME);
}

/// Ends the process after an interruption: deletes the temporary file, writes the report of the work that was done, and exits with
/// a code.
pub(crate) fn interrupted(code: i32) -> ! {
    let unfinished = UNFINISHED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(path) = unfinished.as_ref() {
        let _ = fs::remove_file(path);
    }
    if let Some(pair) = PAIR.lock().unwrap_or_else(PoisonError::into_inner).as_ref().filter(|pair| pair.half)
    {
        let _ = fs::remove_file(&pair.first);
    }
    if let Some(partial) = PARTIAL.lock().unwrap_or_else(PoisonError::into_inner).take() {
        write_partial(&partial);
    }
    tell_kept();
    #[cfg(feature = "service")]
    do_last();
    // The lock keeps a rename from happening now.
    std::process::exit(code)
}

/// Writes a report directly beside its name and renames it, without the lock that an interruption holds.
fn write_partial(partial: &Partial) {
    let Some(path) = &partial.path else {
        let _ = crate::terminal::print(&partial.text);
        return;
    };
    let written = Builder::new().prefix(UNFINISHED_PREFIX).tempfile_in(folder(path)).and_then(|mut file| {
        file.write_all(partial.text.as_bytes())?;
        if partial.replace { file.persist(path) } else { file.persist_noclobber(path) }
            .map_err(|e| e.error)?;
        Ok(())
    });
    match written {
        Ok(()) => crate::terminal::note(&format!("{} has the rows that were measured", path.display())),
        Err(error) => crate::terminal::warn(&format!("{}: {error}", cannot_write(path))),
    }
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
