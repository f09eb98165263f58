//! Files of folders that are X-rays by their content.

use pleura_latent::{ImageError, Xray};
use std::collections::{HashSet, VecDeque};
use std::fmt;
use std::fs::{self, DirEntry, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// Bytes at the beginning of a file that identify its format.
const HEAD: u64 = 512;

/// Files of a folder, and of the folders in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FolderListing {
    /// Files that begin like an image or like latents, and files that cannot be opened, sorted.
    pub files: Vec<PathBuf>,
    /// All other files, sorted.
    pub skipped: Vec<SkippedFile>,
    /// Number of folders that were not entered because the listing is not recursive.
    pub folders: usize,
}

/// A file or folder in a folder that is not read.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SkippedFile {
    /// Path of the file.
    pub path: PathBuf,
    /// Reason for not reading it.
    pub reason: SkipReason,
}

/// Why a file in a folder is not read.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum SkipReason {
    /// The name begins with a dot.
    Hidden,
    /// The file has no bytes.
    Empty,
    /// The content is of a known format that is not read, named with an article.
    OtherFormat(&'static str),
    /// The content begins like nothing that is read.
    UnknownFormat,
    /// A pipe, a socket or a device.
    Special,
    /// The folder, or the target of a link, cannot be read.
    Unreadable(String),
}

impl FolderListing {
    /// Lists a folder, and the folders in it if `recursive`. Links are followed; no folder is entered twice, so that
    /// loops end.
    ///
    /// # Errors
    /// Those of the file system for the folder itself.
    pub fn read(folder: &Path, recursive: bool) -> io::Result<Self> {
        let mut listing = Self::default();
        let mut entered = HashSet::new();
        let mut folders = vec![folder.to_owned()];
        // Entered last, so that files are listed by their own paths where there is a choice.
        let mut links = VecDeque::new();
        while let Some(place) = folders.pop().or_else(|| links.pop_front()) {
            match entries(&place, &mut entered) {
                Ok(found) => {
                    for entry in &found {
                        match listing.add(entry) {
                            Some(_) if !recursive => listing.folders += 1,
                            Some(Folder::Own) => folders.push(entry.path()),
                            Some(Folder::Linked) => links.push_back(entry.path()),
                            None => (),
                        }
                    }
                }
                Err(error) if place == folder => return Err(error),
                Err(error) => listing.skip(place, SkipReason::Unreadable(error.to_string())),
            }
        }
        listing.files.sort();
        listing.skipped.sort();
        Ok(listing)
    }

    /// Adds a file; a folder is left to the caller.
    fn add(&mut self, entry: &DirEntry) -> Option<Folder> {
        let path = entry.path();
        if entry.file_name().as_encoded_bytes().starts_with(b".") {
            self.skip(path, SkipReason::Hidden);
            return None;
        }
        match fs::metadata(&path) {
            Err(error) => self.skip(path, SkipReason::Unreadable(error.to_string())),
            Ok(found) if found.is_dir() => {
                let linked = entry.file_type().is_ok_and(|kind| kind.is_symlink());
                return Some(if linked { Folder::Linked } else { Folder::Own });
            }
            Ok(found) if !found.is_file() => self.skip(path, SkipReason::Special),
            Ok(_) => match skip_reason(&path) {
                Some(reason) => self.skip(path, reason),
                None => self.files.push(path),
            },
        }
        None
    }

    fn skip(&mut self, path: PathBuf, reason: SkipReason) {
        self.skipped.push(SkippedFile { path, reason });
    }
}

impl fmt::Display for SkipReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Hidden => f.write_str("hidden"),
            Self::Empty => f.write_str("empty"),
            Self::OtherFormat(name) => f.write_str(name),
            Self::UnknownFormat => f.write_str("neither an image nor latents"),
            Self::Special => f.write_str("not a regular file"),
            Self::Unreadable(error) => f.write_str(error),
        }
    }
}

/// Whether bytes begin as safetensors files do: eight bytes of length, of which the last are zero, and JSON.
pub(crate) fn is_safetensors(bytes: &[u8]) -> bool {
    bytes.get(4..9) == Some(b"\0\0\0\0{")
}

/// The first bytes of a file.
pub(crate) fn head(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(HEAD).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// A folder in a folder.
enum Folder {
    Own,
    Linked,
}

/// Entries of a folder that was not entered before, sorted.
fn entries(folder: &Path, entered: &mut HashSet<PathBuf>) -> io::Result<Vec<DirEntry>> {
    if !entered.insert(fs::canonicalize(folder)?) {
        return Ok(Vec::new());
    }
    let mut entries = fs::read_dir(folder)?.collect::<io::Result<Vec<_>>>()?;
    entries.sort_by_key(DirEntry::file_name);
    Ok(entries)
}

/// Why a regular file is no X-ray; a file that cannot be opened is taken for one, so that reading it fails.
fn skip_reason(path: &Path) -> Option<SkipReason> {
    let head = head(path).ok()?;
    if is_safetensors(&head) {
        return None;
    }
    match Xray::check_format(&head) {
        Ok(()) => None,
        Err(ImageError::Empty) => Some(SkipReason::Empty),
        Err(ImageError::OtherFormat { name, .. }) => Some(SkipReason::OtherFormat(name)),
        Err(_) => Some(SkipReason::UnknownFormat),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PNG: &[u8] = b"\x89PNG\r\n\x1a\n";

    fn names(listing: &FolderListing, place: &Path) -> Vec<String> {
        listing
            .files
            .iter()
            .map(|path| path.strip_prefix(place).unwrap().to_str().unwrap().to_owned())
            .collect()
    }

    #[test]
    fn content_decides_and_names_do_not() {
        let place = tempfile::tempdir().unwrap();
        let dicom = [&[0; 128][..], b"DICM"].concat();
        for (name, bytes) in [
            ("b.txt", PNG),
            ("a", b"\xff\xd8\xff\xe0"),
            ("c.dcm", &dicom),
            ("1.2.840.7", b"\x08\0\x08\0CS\x06\0"),
            ("latents.bin", b"\x40\0\0\0\0\0\0\0{}"),
            ("text.png", b"years of work"),
            ("empty.png", b""),
            ("archive.dcm", b"PK\x03\x04"),
            (".hidden.png", PNG),
        ] {
            fs::write(place.path().join(name), bytes).unwrap();
        }
        let listing = FolderListing::read(place.path(), true).unwrap();
        assert_eq!(names(&listing, place.path()), ["1.2.840.7", "a", "b.txt", "c.dcm", "latents.bin"]);
        let skipped: Vec<_> = listing
            .skipped
            .iter()
            .map(|file| (file.path.file_name().unwrap().to_str().unwrap(), file.reason.to_string()))
            .collect();
        let expected = [
            (".hidden.png", "hidden"),
            ("archive.dcm", "a ZIP archive"),
            ("empty.png", "empty"),
            ("text.png", "neither an image nor latents"),
        ];
        assert_eq!(skipped, expected.map(|(name, reason)| (name, reason.to_owned())));
    }

    #[test]
    fn folders_are_entered_if_asked() {
        let place = tempfile::tempdir().unwrap();
        fs::create_dir_all(place.path().join("b/deep")).unwrap();
        for name in ["c.png", "b/x.png", "b/deep/y.png"] {
            fs::write(place.path().join(name), PNG).unwrap();
        }
        let listing = FolderListing::read(place.path(), true).unwrap();
        assert_eq!(names(&listing, place.path()), ["b/deep/y.png", "b/x.png", "c.png"]);
        assert_eq!(listing.folders, 0);
        let listing = FolderListing::read(place.path(), false).unwrap();
        assert_eq!(names(&listing, place.path()), ["c.png"]);
        assert_eq!(listing.folders, 1);
        assert!(FolderListing::read(&place.path().join("c.png"), true).is_err());
    }

    #[test]
    #[cfg(unix)]
    fn loops_of_links_end_and_broken_links_are_named() {
        use std::os::unix::fs::symlink;
        let place = tempfile::tempdir().unwrap();
        let outside = tempfile::tempdir().unwrap();
        fs::create_dir(place.path().join("z")).unwrap();
        fs::write(place.path().join("z/a.png"), PNG).unwrap();
        fs::write(outside.path().join("o.png"), PNG).unwrap();
        symlink(place.path(), place.path().join("z/loop")).unwrap();
        symlink(place.path().join("z"), place.path().join("a")).unwrap();
        symlink(outside.path(), place.path().join("out")).unwrap();
        symlink("z/a.png", place.path().join("file")).unwrap();
        symlink("nowhere", place.path().join("broken")).unwrap();
        symlink("self", place.path().join("self")).unwrap();
        let listing = FolderListing::read(place.path(), true).unwrap();
        assert_eq!(names(&listing, place.path()), ["file", "out/o.png", "z/a.png"]);
        let skipped: Vec<_> = listing.skipped.iter().map(|file| file.path.file_name().unwrap()).collect();
        assert_eq!(skipped, ["broken", "self"]);
        assert!(listing.skipped.iter().all(|file| matches!(file.reason, SkipReason::Unreadable(_))));
    }
}
