//! Classes that people assigned to X-rays: a CSV file of names of files and classes.

use crate::files;
use crate::text::counted;
use anyhow::{Context, Result, bail};
use csv::{ReaderBuilder, Trim};
use pleura::xray::Source;
use std::collections::HashMap;
use std::path::Path;

/// Larger files are refused.
const MAX_BYTES: u64 = 1 << 28;

/// Classes by the path or the name of a file.
#[derive(Debug)]
pub(super) struct Labels {
    classes: HashMap<String, String>,
}

impl Labels {
    /// Reads lines of two cells: the path or the name of a file, or of a latent, and one of `classes`, in capitals or not. A first line
    /// with another class is a heading if its first cell is no name of a file.
    pub(super) fn read(path: &Path, classes: &[String]) -> Result<Self> {
        let bytes = files::read(path, MAX_BYTES)?;
        Self::from_bytes(&bytes, classes)
            .with_context(|| format!("cannot use the labels in {}", path.display()))
    }

    fn from_bytes(bytes: &[u8], classes: &[String]) -> Result<Self> {
        let mut found = HashMap::new();
        let mut reader =
            ReaderBuilder::new().has_headers(false).flexible(true).trim(Trim::All).from_reader(bytes);
        for (number, record) in reader.records().enumerate() {
            let record = record?;
            let line = record.position().map_or(number as u64 + 1, csv::Position::line);
            let cells: Vec<&str> = record.iter().collect();
            let [name, class, ..] = *cells else {
                bail!("line {line} has no second cell: write a file and its class, separated by a comma");
            };
            let known = classes.iter().find(|known| known.to_lowercase() == class.to_lowercase());
            let Some(known) = known else {
                if number == 0 && !name.contains(['.', '/', '\\']) {
                    continue;
                }
                bail!("line {line} has the class \"{class}\", but the network has {}", classes.join(", "));
            };
            let other = found.insert(name.to_owned(), known.clone());
            if other.is_some_and(|other| other != *known) {
                bail!("line {line} gives {name} another class than an earlier line: delete one of them");
            }
        }
        if found.is_empty() {
            bail!(
                "no line has one of the classes {}: write lines of a file and its class",
                classes.join(", ")
            );
        }
        Ok(Self { classes: found })
    }

    /// Refuses names without a folder that several sources have.
    pub(super) fn check(&self, sources: &[Source]) -> Result<()> {
        let mut counts: HashMap<&str, usize> = HashMap::new();
        for source in sources {
            let by_path = source.path().to_str().is_some_and(|path| self.classes.contains_key(path));
            if let Some(name) = file_name(source.path()).filter(|_| !by_path) {
                *counts.entry(name).or_default() += 1;
            }
        }
        let several = counts.into_iter().find(|(name, count)| *count > 1 && self.classes.contains_key(*name));
        match several {
            Some((name, count)) => bail!(
                "{} have the name {name} of a label: write their paths as in the table",
                counted(count, "file")
            ),
            None => Ok(()),
        }
    }

    /// The class of a file, or of a latent in it, by its path or else by its name.
    pub(super) fn of(&self, path: &Path, latent: Option<&str>) -> Option<&str> {
        let whole = latent.or_else(|| path.to_str())?;
        let name = file_name(Path::new(whole));
        self.classes.get(whole).or_else(|| self.classes.get(name?)).map(String::as_str)
    }
}

fn file_name(path: &Path) -> Option<&str> {
    path.file_name()?.to_str()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(text: &str) -> Result<Labels> {
        Labels::from_bytes(text.as_bytes(), &["normal".to_owned(), "pneumonia".to_owned()])
    }

    #[test]
    fn files_have_classes_by_path_and_name() {
        let labels = labels("file,class\nward/a.png, Normal\nb.png,pneumonia,more\n").unwrap();
        assert_eq!(labels.of(Path::new("ward/a.png"), None), Some("normal"));
        assert_eq!(labels.of(Path::new("a.png"), None), None);
        assert_eq!(labels.of(Path::new("ward/b.png"), None), Some("pneumonia"));
        assert_eq!(labels.of(Path::new("x.safetensors"), Some("old/b.png")), Some("pneumonia"));
        let file = |path: &str| Source::File { path: path.into(), named: false };
        labels.check(&[file("x/a.png"), file("y/a.png"), file("ward/a.png"), file("b.png")]).unwrap();
        let error = labels.check(&[file("x/b.png"), file("y/b.png")]).unwrap_err().to_string();
        assert!(error.contains("2 files have the name b.png"), "{error}");
    }

    #[test]
    fn lines_that_are_no_labels_are_refused() {
        for (text, part) in [
            (
                "a.png,normal\nb.png,tb\n",
                "line 2 has the class \"tb\", but the network has normal, pneumonia",
            ),
            ("a.png,nromal\nb.png,normal\n", "line 1 has the class \"nromal\""),
            ("a.png,normal\nb.png\n", "line 2 has no second cell"),
            ("a.png,normal\na.png,pneumonia\n", "another class"),
            ("file,class\n", "no line has one of the classes"),
        ] {
            let error = labels(text).unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        }
    }
    #[test]
    fn mutated_labels_have_known_classes() {
        let seed = "file,class\nward/a.png, Normal\n\"b,.png\",pneumonia,more\n";
        crate::fuzz::fuzz(&[seed.as_bytes()], |bytes| {
            let read = Labels::from_bytes(bytes, &["normal".to_owned(), "pneumonia".to_owned()]);
            let Ok(read) = read else { return };
            assert!(read.classes.values().all(|class| class == "normal" || class == "pneumonia"));
        });
    }
}
