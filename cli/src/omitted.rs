//! Files that have no result: reported at the end of a command, and a failure if the user says so.

use crate::text::{chain, counted};
use crate::{files, terminal};
use anyhow::{Result, bail};
use pleura::xray::{SkippedFile, path_text};
use serde_json::{Value, json};
use std::path::Path;

/// Files that a list names; the others are counted.
const NAMED: usize = 10;

/// Files that could not be read, and files of folders that are no X-rays.
#[derive(Default)]
pub(crate) struct Omitted {
    /// Names and causes.
    failed: Vec<(String, String)>,
    /// Number of failed files that were named, and not found in a folder.
    failed_by_name: usize,
    /// Names and reasons.
    skipped: Vec<(String, String)>,
}

impl Omitted {
    /// Skipped files, without `outputs` of the command, which may lie in a folder of inputs.
    pub(crate) fn new(skipped: &[SkippedFile], outputs: &[&Path]) -> Self {
        let others = skipped.iter().filter(|file| !outputs.iter().any(|path| files::same(&file.path, path)));
        let skipped = others.map(|file| (path_text(&file.path), file.reason.to_string()));
        Self { skipped: skipped.collect(), ..Self::default() }
    }

    /// Adds a file that could not be read, which was `named` or found in a folder.
    pub(crate) fn fail(&mut self, name: String, named: bool, error: &anyhow::Error) {
        self.failed_by_name += usize::from(named);
        self.failed.push((name, chain(error)));
    }

    /// Forgets the failures of a file found in a folder, which is read again.
    pub(crate) fn withdraw(&mut self, name: &str) {
        self.failed.retain(|(failed, _)| failed != name);
    }

    /// Number of files that could not be read.
    pub(crate) fn failed(&self) -> usize {
        self.failed.len()
    }

    /// Number of files of folders that are no X-rays.
    pub(crate) fn skipped(&self) -> usize {
        self.skipped.len()
    }

    /// Names on standard error; the errors were printed when they happened.
    pub(crate) fn tell(&self) {
        if !self.failed.is_empty() {
            let names = list(self.failed.iter().map(|(name, _)| name.clone()));
            terminal::warn(&format!("{} could not be read: {names}", counted(self.failed(), "file")));
        }
        if !self.skipped.is_empty() {
            let names = list(self.skipped.iter().map(|(name, reason)| format!("{name} ({reason})")));
            terminal::warn(&format!("{} skipped: {names}", counted(self.skipped(), "file")));
        }
    }

    /// All files that could not be read: `[{"image", "error"}]`.
    pub(crate) fn failed_json(&self) -> Value {
        self.failed.iter().map(|(name, error)| json!({ "image": name, "error": error })).collect()
    }

    /// All skipped files: `[{"file", "reason"}]`.
    pub(crate) fn skipped_json(&self) -> Value {
        self.skipped.iter().map(|(name, reason)| json!({ "file": name, "reason": reason })).collect()
    }

    /// Whether the command succeeded, with `done` of `of` sources: an unreadable file in a folder is no failure unless `strict`; one
    /// that was named is, and so are unreadable files alone.
    pub(crate) fn verdict(&self, done: usize, of: usize, strict: bool) -> Result<()> {
        let failed = self.failed();
        if self.failed_by_name > 0 || (failed > 0 && done == 0) {
            bail!("{failed} of {of} could not be read (see warnings)");
        }
        let omitted = failed + self.skipped();
        if strict && omitted > 0 {
            bail!("{} skipped or not read (see warnings): a failure by --strict", counted(omitted, "file"));
        }
        Ok(())
    }
}

/// Some names, and how many more there are.
fn list(names: impl ExactSizeIterator<Item = String>) -> String {
    let more = names.len().saturating_sub(NAMED);
    let named = names.take(NAMED).collect::<Vec<_>>().join(", ");
    if more == 0 { named } else { format!("{named}, and {more} more") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_end_with_a_count() {
        let names = |count: usize| list((0..count).map(|k| k.to_string()));
        assert_eq!(names(2), "0, 1");
        assert_eq!(names(10), "0, 1, 2, 3, 4, 5, 6, 7, 8, 9");
        assert!(names(12).ends_with("8, 9, and 2 more"));
    }
}
