//! A table in the making: `FILE.part` takes a row at a time, as CSV whatever the format of the table, and an interrupted run resumes
//! from it.
//!
//! Each row has a digest there, so that a damaged cell is found. A kill leaves whole rows. A loss of power may leave less of the last
//! ones, or what is refused as damaged. The finished table has no digests, and is synced before it gets its name.

mod export;
mod lines;
#[cfg(feature = "parquet")]
mod parquet;

use crate::files;
use crate::part_file;
use crate::row::{Failure, Row};
use crate::terminal;
use crate::text::counted;
use anyhow::{Context, Result, anyhow, bail};
use lines::{Left, RowsByKey, checked_line, key, line, part_header};
use pleura::xray::Source;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub(crate) use crate::part_file::part;
pub(crate) use export::TableFormat;
pub(crate) use lines::{EarlierRow, RowFormat};

/// Rows of earlier runs. Clones share them.
#[derive(Clone, Default)]
pub(crate) struct EarlierRows(Arc<Mutex<Earlier>>);

#[derive(Default)]
struct Earlier {
    /// Rows that nobody has asked for yet.
    left: RowsByKey,
    /// Failures that were asked for: their images, and the numbers of their lines.
    failures: HashMap<String, usize>,
}

/// Rows on their way into a file.
pub(crate) struct RowFile {
    path: PathBuf,
    part: PathBuf,
    replace: bool,
    format: RowFormat,
    table: TableFormat,
    file: File,
    earlier: EarlierRows,
    /// All rows that are in it.
    rows: usize,
    /// Failures of this run: their images, and the numbers of their lines.
    failures: HashMap<String, usize>,
    /// Numbers of lines that are left out at the end, since other rows replace them.
    withdrawn: HashSet<usize>,
}

impl RowFile {
    /// Begins a file, or resumes what an interrupted run on `sources` left; `replace` begins anew.
    pub(crate) fn open(
        path: &Path,
        format: RowFormat,
        table: TableFormat,
        sources: &[Source],
        replace: bool,
    ) -> Result<Self> {
        files::check_writable(path, replace)?;
        if files::is_standard(path) {
            return Self::standard(path, format, table);
        }
        let part = part(path);
        let mut file = part_file::open(&part, false)?;
        let failed = || files::cannot_write(&part);
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).with_context(failed)?;
        let found = Left::read(&bytes, &format).map_err(|error| anyhow!("{} {error}", part.display()))?;
        let Left { whole, done, unchecked } = if replace { Left::default() } else { found };
        part_file::check_images(done.keys().filter_map(|key| image(key)), sources, &part)?;
        file.set_len(whole as u64).with_context(failed)?;
        let rows = done.values().map(Vec::len).sum();
        if unchecked {
            terminal::warn(&format!(
                "{} of {} without digests, as in a finished table: their cells are taken as they are",
                counted(rows, "row"),
                part.display()
            ));
            bytes.truncate(whole);
            let checked = Left::with_checks(&bytes, &format).with_context(failed)?;
            file = part_file::replace(&part, file, &checked)?;
        }
        file.seek(SeekFrom::End(0)).with_context(failed)?;
        let earlier = Earlier { left: done, failures: HashMap::new() };
        let mut row_file = Self {
            path: path.into(),
            part,
            replace,
            format,
            table,
            file,
            earlier: EarlierRows(Arc::new(Mutex::new(earlier))),
            rows,
            failures: HashMap::new(),
            withdrawn: HashSet::new(),
        };
        if whole == 0 {
            row_file.begin()?;
        }
        files::keeps(row_file.rows, &row_file.part);
        Ok(row_file)
    }

    /// Rows for standard output, which gets them at the end.
    fn standard(path: &Path, format: RowFormat, table: TableFormat) -> Result<Self> {
        let file = tempfile::tempfile().context("cannot create a temporary file")?;
        let mut row_file = Self {
            path: path.into(),
            part: path.into(),
            replace: false,
            format,
            table,
            file,
            earlier: EarlierRows::default(),
            rows: 0,
            failures: HashMap::new(),
            withdrawn: HashSet::new(),
        };
        row_file.begin()?;
        Ok(row_file)
    }

    /// Number of rows of earlier runs, and their file.
    pub(crate) fn resumed(&self) -> (usize, &Path) {
        (self.rows, &self.part)
    }

    /// Rows of earlier runs.
    pub(crate) fn earlier(&self) -> EarlierRows {
        self.earlier.clone()
    }

    /// Adds a row.
    pub(crate) fn add(&mut self, row: &Row, device: &str) -> Result<()> {
        self.add_cells(&self.format.row(row, device))
    }

    /// Adds the row of an image without a result.
    pub(crate) fn fail(&mut self, failure: &Failure) -> Result<()> {
        self.add_cells(&self.format.failure(failure))?;
        // The header is line 0.
        self.failures.insert(failure.cell.clone(), self.rows);
        Ok(())
    }

    /// Leaves the failure of an image out, since the image is read again.
    pub(crate) fn withdraw(&mut self, image: &str) {
        let earlier = self.earlier.lock().failures.remove(image);
        self.withdrawn.extend(self.failures.remove(image).into_iter().chain(earlier));
    }

    fn add_cells(&mut self, cells: &[String]) -> Result<()> {
        self.write(cells)?;
        self.rows += 1;
        if !files::is_standard(&self.path) {
            files::keeps(self.rows, &self.part);
        }
        Ok(())
    }

    /// Gives the file its name; without rows it has the headings alone. Rows of images that are now others are left out.
    pub(crate) fn finish(mut self) -> Result<()> {
        if files::is_standard(&self.path) {
            return self.print();
        }
        let stale = self.earlier.left();
        if !stale.is_empty() {
            let names: BTreeSet<&str> = stale.values().map(String::as_str).collect();
            terminal::warn(&format!(
                "{} of earlier runs left out, since the files have changed or could not be read this time: {}",
                counted(stale.len(), "row"),
                part_file::listed(&names)
            ));
        }
        self.withdrawn.extend(stale.keys());
        if !self.withdrawn.is_empty() {
            self = self.leave_out()?;
        }
        let Self { path, part, replace, mut file, table, format, .. } = self;
        let failed = || files::cannot_write(&path);
        if !files::is_at(&file, &part).with_context(failed)? {
            files::on_interruption(None);
            bail!("another program has replaced {}: nothing is written; try again", part.display());
        }
        file.seek(SeekFrom::Start(0)).with_context(failed)?;
        files::write_by(&path, replace, false, |out| table.write(&file, &format, out).with_context(failed))?;
        files::on_interruption(None);
        fs::remove_file(&part).with_context(failed)
    }

    /// Rewrites the file without the lines that are left out; what another run could go on with is there at every moment.
    fn leave_out(mut self) -> Result<Self> {
        let kept = self.kept().with_context(|| files::cannot_write(&self.part))?;
        let file = part_file::replace(&self.part, self.file, &kept)?;
        Ok(Self { file, rows: self.rows - self.withdrawn.len(), ..self })
    }

    /// The bytes of the file without the lines that are left out.
    fn kept(&mut self) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.file.rewind()?;
        self.file.read_to_end(&mut bytes)?;
        let lines = bytes.split_inclusive(|&b| b == b'\n').enumerate();
        let kept = lines.filter(|(number, _)| !self.withdrawn.contains(number));
        Ok(kept.flat_map(|(_, line)| line).copied().collect())
    }

    /// Writes the rows to standard output.
    fn print(mut self) -> Result<()> {
        let kept = self.kept()?;
        let mut file = tempfile::tempfile().context("cannot create a temporary file")?;
        file.write_all(&kept).and_then(|()| file.rewind()).context("cannot write a temporary file")?;
        let mut bytes = Vec::new();
        self.table.write(&file, &self.format, &mut bytes).context("cannot write the table")?;
        terminal::print_bytes(&bytes)
    }

    fn begin(&mut self) -> Result<()> {
        let header = line(part_header(&self.format.classes));
        self.put(&header.with_context(|| files::cannot_write(&self.part))?)
    }

    fn write(&mut self, cells: &[String]) -> Result<()> {
        let line = checked_line(cells);
        self.put(&line.with_context(|| files::cannot_write(&self.part))?)
    }

    /// In one piece, so that an interruption leaves whole rows.
    fn put(&mut self, line: &[u8]) -> Result<()> {
        self.file.write_all(line).with_context(|| files::cannot_write(&self.part))
    }
}

impl EarlierRows {
    /// The row of an earlier run on this X-ray; each row counts once.
    pub(crate) fn take(&self, image: &str, digest: &str) -> Option<EarlierRow> {
        let mut earlier = self.lock();
        let (line, row) = earlier.left.get_mut(&key(image, digest))?.pop()?;
        if matches!(row, EarlierRow::Failed { .. }) {
            earlier.failures.insert(image.to_owned(), line);
        }
        Some(row)
    }

    /// Numbers of the lines that nobody asked for, and their images.
    fn left(&self) -> HashMap<usize, String> {
        let earlier = self.lock();
        let images = earlier.left.iter().filter_map(|(key, rows)| Some((image(key)?, rows)));
        images.flat_map(|(image, rows)| rows.iter().map(|(line, _)| (*line, image.to_owned()))).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Earlier> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The image of a [`key`].
fn image(key: &str) -> Option<&str> {
    Some(key.split_once(' ')?.1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use lines::header;

    const GOOD: &str =
        "a.png,0123456789abcdef,m,x,0.750000,0.250000,x,1.0e-6,20.1,0.1,0.1,0.1,0.1,0.1,cpu,,,,\n";

    fn format() -> RowFormat {
        RowFormat { model: "m".into(), classes: vec!["x".into(), "=y".into()], exclusive: true }
    }

    fn top() -> String {
        String::from_utf8(line(header(&format().classes)).unwrap()).unwrap()
    }

    fn open(path: &Path, sources: &[&str]) -> Result<RowFile> {
        RowFile::open(
            path,
            format(),
            TableFormat::Csv,
            &sources
                .iter()
                .map(|path: &&str| Source::File { path: path.into(), named: true })
                .collect::<Vec<_>>(),
            false,
        )
    }

    #[test]
    fn rows_of_other_files_are_refused_and_rows_of_changed_files_left_out() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("x.csv");
        let rows = top() + GOOD + &GOOD.replace("a.png", "b.png");
        fs::write(part(&path), &rows).unwrap();
        let error = open(&path, &["a.png"]).err().unwrap().to_string();
        assert!(error.contains("rows of 1 file that this command does not name (b.png)"), "{error}");
        assert_eq!(fs::read_to_string(part(&path)).unwrap(), rows);
        let row_file = open(&path, &["a.png", "b.png"]).unwrap();
        assert_eq!(row_file.resumed().0, 2);
        let earlier = row_file.earlier();
        assert!(earlier.take("a.png", "0000000000000000").is_none());
        assert!(earlier.take("b.png", "0123456789abcdef").is_some());
        assert!(earlier.take("b.png", "0123456789abcdef").is_none(), "each row counts once");
        row_file.finish().unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), top() + &GOOD.replace("a.png", "b.png"));
        assert!(!part(&path).exists());
    }

    #[test]
    fn rows_of_a_finished_table_get_digests() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("x.csv");
        let finished = top() + GOOD;
        fs::write(part(&path), format!("{finished}b.png,0123")).unwrap();
        let row_file = open(&path, &["a.png"]).unwrap();
        let unfinished = fs::read_to_string(part(&path)).unwrap();
        assert!(unfinished.lines().all(|line| line.matches(',').count() == 19), "{unfinished}");
        assert!(row_file.earlier().take("a.png", "0123456789abcdef").is_some());
        row_file.finish().unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), finished);
        fs::write(part(&path), unfinished.replace("20.1", "21.1")).unwrap();
        fs::remove_file(&path).unwrap();
        let error = open(&path, &["a.png"]).err().unwrap().to_string();
        assert!(error.contains("is damaged in line 2"), "{error}");
    }

    #[test]
    fn rows_that_change_while_a_table_is_made_are_refused() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("x.csv");
        fs::write(part(&path), top() + GOOD).unwrap();
        let row_file = open(&path, &["a.png"]).unwrap();
        assert!(row_file.earlier().take("a.png", "0123456789abcdef").is_some());
        let unfinished = fs::read_to_string(part(&path)).unwrap();
        fs::write(part(&path), unfinished.replace("20.1", "21.1")).unwrap();
        let error = format!("{:#}", row_file.finish().unwrap_err());
        assert!(error.contains("not those that were written") && !path.exists(), "{error}");
    }

    #[test]
    fn failures_of_images_that_are_read_again_are_left_out() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("x.csv");
        let failed = |image: &str, digest: &str| Failure {
            name: image.to_owned(),
            cell: image.to_owned(),
            digest: digest.to_owned(),
            named: false,
            error: anyhow!("cut off"),
            earlier: false,
        };
        let mut row_file = open(&path, &["a.png", "b.png"]).unwrap();
        row_file.fail(&failed("a.png", "0123456789abcdee")).unwrap();
        row_file.fail(&failed("b.png", "0123456789abcdef")).unwrap();
        drop(row_file);
        // The row of an earlier run counts as long as the image is as it was.
        let mut row_file = open(&path, &["a.png", "b.png"]).unwrap();
        for (image, digest) in [("a.png", "0123456789abcdee"), ("b.png", "0123456789abcdef")] {
            assert!(matches!(row_file.earlier().take(image, digest), Some(EarlierRow::Failed { .. })));
        }
        for digest in ["1123456789abcdee", "2123456789abcdee"] {
            row_file.withdraw("a.png");
            row_file.fail(&failed("a.png", digest)).unwrap();
        }
        row_file.withdraw("c.png");
        row_file.finish().unwrap();
        let table = fs::read_to_string(&path).unwrap();
        let rows: Vec<&str> = table.lines().skip(1).map(|row| &row[..22]).collect();
        assert_eq!(rows, ["b.png,0123456789abcdef", "a.png,2123456789abcdee"]);
    }

    #[test]
    fn two_runs_cannot_share_a_file() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("x.csv");
        let first = open(&path, &[]).unwrap();
        assert!(open(&path, &[]).err().unwrap().to_string().starts_with("another run is writing to "));
        first.finish().unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap().lines().count(), 1, "headings alone");
        fs::remove_file(&path).unwrap();
        drop(open(&path, &[]).unwrap());
    }

    #[test]
    #[cfg(unix)]
    fn links_pipes_and_replaced_files_are_refused() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("x.csv");
        let victim = place.path().join("victim");
        fs::write(&victim, "").unwrap();
        std::os::unix::fs::symlink(&victim, part(&path)).unwrap();
        let error = |text: &str| {
            let error = open(&path, &[]).err().unwrap().to_string();
            assert!(error.contains(text), "{error}");
            fs::remove_file(part(&path)).unwrap();
        };
        error("not a regular file");
        assert!(std::process::Command::new("mkfifo").arg(part(&path)).status().unwrap().success());
        error("not a regular file");
        fs::hard_link(&victim, part(&path)).unwrap();
        error("a hard link");
        assert_eq!(fs::read(&victim).unwrap(), b"");
        let row_file = open(&path, &[]).unwrap();
        fs::rename(part(&path), place.path().join("moved")).unwrap();
        fs::write(part(&path), "theirs").unwrap();
        let error = row_file.finish().unwrap_err().to_string();
        assert!(error.contains("another program has replaced"), "{error}");
        assert_eq!(fs::read(part(&path)).unwrap(), b"theirs");
    }
}
