//! X-rays that the arguments of a command name.

use crate::omitted::Omitted;
use crate::terminal;
use crate::text::counted;
use anyhow::Result;
use clap::Args;
use pleura::xray::{FolderListing, Source, SourceList};
use std::path::PathBuf;

/// Choice of files in folders.
#[derive(Args)]
pub(crate) struct FolderArgs {
    /// Do not enter folders in folders.
    #[arg(long)]
    pub(crate) no_recursive: bool,

    /// Fail if a file of a folder was skipped or could not be read.
    #[arg(long)]
    pub(crate) strict: bool,
}

impl FolderArgs {
    /// The X-rays that arguments name, folders opened up; the samples if they name nothing.
    pub(crate) fn list(&self, arguments: &[PathBuf]) -> Result<SourceList> {
        let list = SourceList::read(&with_standard_input(arguments), !self.no_recursive)?;
        for (folder, folders) in &list.not_entered {
            terminal::note(&format!("{} in {} not entered", counted(*folders, "folder"), folder.display()));
        }
        Ok(list)
    }
}

/// The X-rays that arguments name, folders and those in them opened up; the samples if they name nothing. Skipped files are reported.
pub(crate) fn list(arguments: &[PathBuf]) -> Result<Vec<Source>> {
    let SourceList { sources, skipped, .. } = SourceList::read(&with_standard_input(arguments), true)?;
    Omitted::new(&skipped, &[]).tell();
    Ok(sources)
}

/// The files that arguments name, folders opened up; paths that do not exist are kept.
pub(crate) fn files(arguments: &[PathBuf]) -> Vec<PathBuf> {
    arguments
        .iter()
        .flat_map(|path: &PathBuf| match FolderListing::read(path, true) {
            Ok(listing) => listing.files,
            Err(_) => vec![path.clone()],
        })
        .collect()
}

/// The arguments with the path of standard input for `-`.
fn with_standard_input(arguments: &[PathBuf]) -> Vec<PathBuf> {
    let paths = arguments.iter().map(|path| match path.to_str() {
        Some("-") if cfg!(unix) => PathBuf::from("/dev/stdin"),
        _ => path.clone(),
    });
    paths.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn files_of_folders_and_missing_files_are_listed() {
        let place = tempfile::tempdir().unwrap();
        for (name, bytes) in [("b.png", &b"\xff\xd8\xff"[..]), ("notes.txt", b"x"), ("dicom", b"BM")] {
            fs::write(place.path().join(name), bytes).unwrap();
        }
        let lone = place.path().join("notes.txt");
        let found = files(&[place.path().to_owned(), lone.clone(), "/no/such/file".into()]);
        assert_eq!(found.len(), 4);
        assert!(found.ends_with(&[lone, "/no/such/file".into()]));
    }
}
