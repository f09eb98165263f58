//! A CSV file in the making: `FILE.part` takes a row at a time, and an interrupted run goes on with it.

use crate::files;
use crate::row::Row;
use crate::text::plain;
use anyhow::{Context, Result, anyhow};
use csv::{ReaderBuilder, Writer};
use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use tempfile::TempPath;

/// Rows on their way into a file.
pub(crate) struct Sheet {
    path: PathBuf,
    part: PathBuf,
    replace: bool,
    /// Name and digest of the network: rows of another have no place here.
    model: String,
    file: File,
    /// Rows of earlier runs that nobody has asked for yet.
    done: HashMap<String, usize>,
    /// All rows that are in it.
    rows: usize,
}

impl Sheet {
    /// Begins it, or goes on with what an interruption left; `replace` begins anew.
    pub(crate) fn open(path: &Path, model: String, classes: &[String], replace: bool) -> Result<Self> {
        files::check_writable(path, replace)?;
        let mut part = path.as_os_str().to_owned();
        part.push(".part");
        let part = PathBuf::from(part);
        let failed = || files::cannot_write(&part);
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&part)
            .with_context(failed)?;
        file.try_lock().map_err(|_| anyhow!("another run is writing to {}", part.display()))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).with_context(failed)?;
        let header = header(classes);
        let found = left(&bytes, &header, &model).ok_or_else(|| {
            let part = part.display();
            anyhow!("{part} is of another network, or of something else: finish it with that network, or delete it")
        })?;
        let (whole, done) = if replace { (0, HashMap::new()) } else { found };
        file.set_len(whole as u64).with_context(failed)?;
        file.seek(SeekFrom::End(0)).with_context(failed)?;
        let rows = done.values().sum();
        let mut sheet = Self { path: path.into(), part, replace, model, file, done, rows };
        if whole == 0 {
            sheet.write(&header)?;
        }
        files::keeps(sheet.rows, &sheet.part);
        Ok(sheet)
    }

    /// How many rows earlier runs left, and where.
    pub(crate) fn earlier(&self) -> (usize, &Path) {
        (self.done.values().sum(), &self.part)
    }

    /// Whether an earlier run has this X-ray; each row counts once.
    pub(crate) fn take(&mut self, name: &str, digest: &str) -> bool {
        match self.done.get_mut(&key(&plain(name), digest)) {
            Some(left) if *left > 0 => {
                *left -= 1;
                true
            }
            _ => false,
        }
    }

    /// Adds a row.
    pub(crate) fn add(&mut self, row: &Row, device: &str) -> Result<()> {
        let Row { name, digest, label, probabilities, plaintext_label, fidelity, .. } = row;
        // Without control characters, a row is a line.
        let mut cells = vec![plain(name), digest.clone(), self.model.clone(), label.clone()];
        cells.extend(probabilities.iter().map(|p| format!("{p:.6}")));
        let fidelity = fidelity.map_or_else(Default::default, |f| {
            [format!("{:.1e}", f.max_abs_error), format!("{:.1}", f.bits)]
        });
        cells.push(plaintext_label.clone());
        cells.extend(fidelity);
        let s = &row.seconds;
        cells.extend([s.read, s.compress, s.encrypt, s.infer, s.decrypt].map(|s| format!("{s:.6}")));
        cells.push(device.to_owned());
        self.write(&cells)?;
        self.rows += 1;
        files::keeps(self.rows, &self.part);
        Ok(())
    }

    /// Gives the file its name; without a row there is none.
    pub(crate) fn finish(self) -> Result<()> {
        let Self { path, part, replace, file, rows, .. } = self;
        files::keeps_nothing();
        let failed = || files::cannot_write(&path);
        if rows == 0 {
            return fs::remove_file(&part).with_context(failed);
        }
        file.sync_all().with_context(failed)?;
        if replace {
            return fs::rename(&part, &path).with_context(failed);
        }
        let moved = TempPath::try_from_path(&part).with_context(failed)?.persist_noclobber(&path);
        let moved = moved.map_err(|error| {
            // The rows stay, whatever came in between.
            let _ = error.path.keep();
            error.error
        });
        moved.with_context(failed)
    }

    /// In one piece, so that an interruption leaves whole rows.
    fn write(&mut self, cells: &[String]) -> Result<()> {
        let failed = || files::cannot_write(&self.part);
        let mut writer = Writer::from_writer(Vec::new());
        writer.write_record(cells).with_context(failed)?;
        let line = writer.into_inner().map_err(|e| e.into_error()).with_context(failed)?;
        self.file.write_all(&line).with_context(failed)
    }
}

fn key(name: &str, digest: &str) -> String {
    format!("{digest} {name}")
}

fn header(classes: &[String]) -> Vec<String> {
    let ahead = ["image", "sha256", "model", "label"];
    let behind = [
        "clear_label",
        "max_abs_error",
        "bits",
        "read_s",
        "compress_s",
        "encrypt_s",
        "infer_s",
        "decrypt_s",
        "device",
    ];
    let probabilities = classes.iter().map(|class| format!("p({class})"));
    ahead.map(str::to_owned).into_iter().chain(probabilities).chain(behind.map(str::to_owned)).collect()
}

/// Bytes of whole rows, and the images in them; nothing if the bytes are another file's.
fn left(bytes: &[u8], header: &[String], model: &str) -> Option<(usize, HashMap<String, usize>)> {
    let mut done = HashMap::new();
    let Some(last) = bytes.iter().rposition(|&b| b == b'\n') else {
        // Not even the header was written.
        return header.join(",").as_bytes().starts_with(bytes).then_some((0, done));
    };
    let whole = bytes.get(..=last)?;
    let mut rows = ReaderBuilder::new().has_headers(false).from_reader(whole);
    for (number, row) in rows.records().enumerate() {
        let row = row.ok()?;
        if number == 0 {
            // A header alone binds nobody.
            if row != *header {
                return (bytes.iter().filter(|&&b| b == b'\n').count() == 1 && row.get(0) == Some("image"))
                    .then_some((0, done));
            }
        } else if row.get(2) == Some(model) {
            *done.entry(key(row.get(0)?, row.get(1)?)).or_insert(0) += 1;
        } else {
            return None;
        }
    }
    // Blank lines are nobody's rows.
    (!whole.iter().all(u8::is_ascii_whitespace)).then_some((whole.len(), done))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_rows_are_kept_and_other_files_are_not_touched() {
        let header = header(&["a".to_owned()]);
        let columns = header.len();
        let line = |cells: &[&str]| cells.join(",") + "\n";
        let row = |image: &str, model: &str| {
            let mut cells = vec!["x"; columns];
            (cells[0], cells[2]) = (image, model);
            line(&cells)
        };
        let top = line(&header.iter().map(String::as_str).collect::<Vec<_>>());
        let two = format!("{top}{}{}", row("a.png", "m"), row("a.png", "m"));
        let found = |text: &str| {
            left(text.as_bytes(), &header, "m").map(|(whole, done)| (whole, done.get("x a.png").copied()))
        };
        assert_eq!(found(""), Some((0, None)));
        assert_eq!(found("image,sh"), Some((0, None)));
        assert_eq!(found("image,sha256,model,label,p(other)\n"), Some((0, None)));
        assert_eq!(found(&two), Some((two.len(), Some(2))));
        assert_eq!(found(&format!("{two}b.pn")), Some((two.len(), Some(2))));
        assert_eq!(left(&[two.as_bytes(), &[0xc3]].concat(), &header, "m").unwrap().0, two.len());
        for other in [&row("a.png", "n"), "1,2\n", "short\n"] {
            assert_eq!(found(&format!("{top}{other}")), None, "{other}");
        }
        for other in ["years of work", "years,of\nwork\n", "\n"] {
            assert_eq!(found(other), None, "{other:?}");
        }
    }

    #[test]
    fn two_runs_cannot_share_a_file() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("x.csv");
        let open = || Sheet::open(&path, "m".to_owned(), &["a".to_owned()], false);
        let first = open().unwrap();
        assert!(open().err().unwrap().to_string().starts_with("another run is writing to "));
        first.finish().unwrap();
        assert!(!path.exists(), "no row, no file");
        drop(open().unwrap());
    }
}
