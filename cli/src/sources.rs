//! X-rays that the arguments of a command name.

use crate::terminal;
use crate::text::counted;
use anyhow::Result;
use pleura::xray::{FolderListing, Source};
use std::path::{Path, PathBuf};

/// The X-rays that arguments name, folders opened up; the samples if they name nothing.
pub(crate) fn list(arguments: &[PathBuf]) -> Result<Vec<Source>> {
    let mut skipped = |folder: &Path, folders: usize| {
        terminal::note(&format!(
            "{} in {} not entered: name them",
            counted(folders, "folder"),
            folder.display()
        ));
    };
    Ok(Source::list(arguments, &mut skipped)?)
}

/// The files that arguments name, folders opened up; paths that do not exist are kept.
pub(crate) fn files(arguments: &[PathBuf]) -> Vec<PathBuf> {
    let of = |path: &PathBuf| match FolderListing::read(path) {
        Ok(listing) => listing.files,
        Err(_) => vec![path.clone()],
    };
    arguments.iter().flat_map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn files_of_folders_and_missing_files_are_listed() {
        let place = tempfile::tempdir().unwrap();
        for name in ["b.png", "notes.txt", "dicom"] {
            fs::write(place.path().join(name), b"x").unwrap();
        }
        let lone = place.path().join("notes.txt");
        let found = files(&[place.path().to_owned(), lone.clone(), "/no/such/file".into()]);
        assert_eq!(found.len(), 4);
        assert!(found.ends_with(&[lone, "/no/such/file".into()]));
    }
}
