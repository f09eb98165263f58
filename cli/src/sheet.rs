//! A CSV file in the making: `FILE.part` takes a row at a time, and an interrupted run resumes from it.
//!
//! A kill leaves whole rows. A loss of power may leave less of the last ones, or what is refused as damaged: the file is synced when it
//! is complete, before it gets its name.

use crate::files::{self, FileError};
use crate::names::{cell, path_cell};
use crate::row::Row;
use crate::terminal;
use crate::text::counted;
use anyhow::{Context, Result, anyhow, bail};
use csv::{ReaderBuilder, StringRecord, Writer};
use pleura::xray::Source;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use tempfile::TempPath;

/// Digits of the digest of a file.
const DIGEST: usize = 16;
/// Columns before the probabilities: those of image, digest, model and label.
const AHEAD: [&str; 4] = ["image", "sha256", "model", "label"];
/// Columns after the probabilities.
const BEHIND: [&str; 9] = [
    "plaintext_label",
    "max_abs_error",
    "bits",
    "read_s",
    "compress_s",
    "encrypt_s",
    "infer_s",
    "decrypt_s",
    "device",
];
/// Rounding of a probability in a row.
const ROUNDING: f64 = 1e-6;
/// Names that an error lists.
const NAMED: usize = 3;

/// Rows that may be in a file.
pub(crate) struct SheetFormat {
    /// Name and digest of the network: rows of another have no place here.
    pub(crate) model: String,
    pub(crate) classes: Vec<String>,
    /// Whether the probabilities of a row add up to one.
    pub(crate) exclusive: bool,
}

/// Rows on their way into a file.
pub(crate) struct Sheet {
    path: PathBuf,
    part: PathBuf,
    replace: bool,
    format: SheetFormat,
    file: File,
    /// Rows of earlier runs that nobody has asked for yet, by image and digest: their numbers among the lines.
    done: HashMap<String, Vec<usize>>,
    /// All rows that are in it.
    rows: usize,
}

impl Sheet {
    /// Begins a file, or resumes what an interrupted run on `sources` left; `replace` begins anew.
    pub(crate) fn open(path: &Path, format: SheetFormat, sources: &[Source], replace: bool) -> Result<Self> {
        files::check_writable(path, replace)?;
        if files::is_standard(path) {
            return Self::standard(path, format);
        }
        let part = part(path);
        let mut file = open_part(&part)?;
        let failed = || files::cannot_write(&part);
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).with_context(failed)?;
        let found = Left::read(&bytes, &format).map_err(|error| anyhow!("{} {error}", part.display()))?;
        let Left { whole, done } = if replace { Left::default() } else { found };
        check_images(&done, sources, &part)?;
        file.set_len(whole as u64).with_context(failed)?;
        file.seek(SeekFrom::End(0)).with_context(failed)?;
        let rows = done.values().map(Vec::len).sum();
        let mut sheet = Self { path: path.into(), part, replace, format, file, done, rows };
        if whole == 0 {
            sheet.write(&header(&sheet.format.classes))?;
        }
        files::keeps(sheet.rows, &sheet.part);
        Ok(sheet)
    }

    /// Rows for standard output, which gets them at the end.
    fn standard(path: &Path, format: SheetFormat) -> Result<Self> {
        let file = tempfile::tempfile().context("cannot create a temporary file")?;
        let done = HashMap::new();
        let mut sheet =
            Self { path: path.into(), part: path.into(), replace: false, format, file, done, rows: 0 };
        sheet.write(&header(&sheet.format.classes))?;
        Ok(sheet)
    }

    /// Number of rows of earlier runs, and their file.
    pub(crate) fn earlier(&self) -> (usize, &Path) {
        (self.rows, &self.part)
    }

    /// Whether an earlier run has this X-ray; each row counts once.
    pub(crate) fn take(&mut self, image: &str, digest: &str) -> bool {
        self.done.get_mut(&key(image, digest)).is_some_and(|rows| rows.pop().is_some())
    }

    /// Adds a row.
    pub(crate) fn add(&mut self, row: &Row, device: &str) -> Result<()> {
        let Row { cell: image, digest, label, probabilities, plaintext_label, fidelity, .. } = row;
        let mut cells = vec![image.clone(), digest.clone(), cell(&self.format.model), cell(label)];
        cells.extend(probabilities.iter().map(|p| format!("{p:.6}")));
        let fidelity = fidelity.map_or_else(Default::default, |f| {
            [format!("{:.1e}", f.max_abs_error), format!("{:.1}", f.bits)]
        });
        cells.push(cell(plaintext_label));
        cells.extend(fidelity);
        let s = &row.seconds;
        cells.extend([s.read, s.compress, s.encrypt, s.infer, s.decrypt].map(|s| format!("{s:.6}")));
        cells.push(cell(device));
        self.write(&cells)?;
        self.rows += 1;
        if !files::is_standard(&self.path) {
            files::keeps(self.rows, &self.part);
        }
        Ok(())
    }

    /// Gives the file its name; without a row there is none. Rows of images that are now others are left out.
    pub(crate) fn finish(mut self) -> Result<()> {
        if files::is_standard(&self.path) {
            let mut bytes = Vec::new();
            self.file.seek(SeekFrom::Start(0)).and_then(|_| self.file.read_to_end(&mut bytes))?;
            return terminal::print_bytes(&bytes);
        }
        let stale: HashSet<usize> = self.done.values().flatten().copied().collect();
        if !stale.is_empty() {
            self.leave_out(&stale)?;
        }
        let Self { path, part, replace, file, rows, .. } = self;
        files::on_interruption(None);
        let failed = || files::cannot_write(&path);
        if !files::is_at(&file, &part).with_context(failed)? {
            bail!("another program has replaced {}: nothing is written; try again", part.display());
        }
        if rows == 0 {
            return fs::remove_file(&part).with_context(failed);
        }
        file.sync_all().with_context(failed)?;
        if replace {
            fs::rename(&part, &path).with_context(failed)?;
        } else {
            let moved = TempPath::try_from_path(&part).with_context(failed)?.persist_noclobber(&path);
            let moved = moved.map_err(|error| {
                // The rows stay, whatever came in between.
                let _ = error.path.keep();
                error.error
            });
            moved.with_context(failed)?;
        }
        files::sync_folder(&path).with_context(failed)
    }

    /// Rewrites the file without some of its lines; what another run could go on with is there at every moment.
    fn leave_out(&mut self, stale: &HashSet<usize>) -> Result<()> {
        let names: BTreeSet<&str> = self
            .done
            .iter()
            .filter(|(_, rows)| !rows.is_empty())
            .filter_map(|(key, _)| key.split_once(' ').map(|(_, image)| image))
            .collect();
        terminal::warn(&format!(
            "{} of earlier runs left out, since the files have changed or could not be read this time: {}",
            counted(stale.len(), "row"),
            listed(&names)
        ));
        let failed = || files::cannot_write(&self.part);
        let mut bytes = Vec::new();
        self.file.seek(SeekFrom::Start(0)).with_context(failed)?;
        self.file.read_to_end(&mut bytes).with_context(failed)?;
        let lines = bytes.split_inclusive(|&b| b == b'\n').enumerate();
        let kept: Vec<u8> =
            lines.filter(|(number, _)| !stale.contains(number)).flat_map(|(_, line)| line).copied().collect();
        files::write(&self.part, &[&kept], true, false)?;
        self.rows -= stale.len();
        self.file = open_part(&self.part)?;
        Ok(())
    }

    /// In one piece, so that an interruption leaves whole rows.
    fn write(&mut self, cells: &[String]) -> Result<()> {
        let failed = || files::cannot_write(&self.part);
        let line = line(cells).with_context(failed)?;
        self.file.write_all(&line).with_context(failed)
    }
}

/// Where the rows of an unfinished file are.
pub(crate) fn part(path: &Path) -> PathBuf {
    let mut part = path.as_os_str().to_owned();
    part.push(".part");
    part.into()
}

/// Opens a regular file, made if there is none, and locks it. Links are not followed.
fn open_part(part: &Path) -> Result<File> {
    let failed = || files::cannot_write(part);
    let mut options = OpenOptions::new();
    options.read(true).write(true);
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

/// Rows of an image that is none of the sources would mix two folders in one table.
fn check_images(done: &HashMap<String, Vec<usize>>, sources: &[Source], part: &Path) -> Result<()> {
    let known: HashSet<String> = sources.iter().map(|source| path_cell(source.path(), None)).collect();
    let file = |key: &str| Some(key.split_once(' ')?.1.split('#').next()?.to_owned());
    let others: BTreeSet<String> =
        done.keys().filter_map(|key| file(key)).filter(|image| !known.contains(image)).collect();
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

fn listed<T: AsRef<str> + Ord>(names: &BTreeSet<T>) -> String {
    let some = names.iter().take(NAMED).map(AsRef::as_ref).collect::<Vec<_>>().join(", ");
    let more = names.len().saturating_sub(NAMED);
    if more == 0 { some } else { format!("{some}, and {more} more") }
}

fn key(image: &str, digest: &str) -> String {
    format!("{digest} {image}")
}

fn header(classes: &[String]) -> Vec<String> {
    let probabilities = classes.iter().map(|class| format!("p({})", cell(class)));
    AHEAD.map(str::to_owned).into_iter().chain(probabilities).chain(BEHIND.map(str::to_owned)).collect()
}

fn line<T: AsRef<[u8]>>(cells: impl IntoIterator<Item = T>) -> io::Result<Vec<u8>> {
    let mut writer = Writer::from_writer(Vec::new());
    writer.write_record(cells).map_err(io::Error::other)?;
    writer.into_inner().map_err(|error| error.into_error())
}

/// Rows that an interrupted run left.
#[derive(Debug, Default, PartialEq)]
struct Left {
    /// Bytes of whole rows, the header among them.
    whole: usize,
    /// Numbers of the lines of each image and digest.
    done: HashMap<String, Vec<usize>>,
}

/// Why a run cannot resume from a file: the end of a sentence about it.
#[derive(Debug, PartialEq, thiserror::Error)]
enum NotOurs {
    #[error("is of another network, or of something else: finish it with that network, or delete it")]
    Other,
    #[error("is damaged in line {0}: delete that line, or the file")]
    Damaged(usize),
}

impl Left {
    fn read(bytes: &[u8], format: &SheetFormat) -> Result<Self, NotOurs> {
        let header = header(&format.classes);
        let Some(last) = bytes.iter().rposition(|&b| b == b'\n') else {
            // Not even the header was written.
            let begun = header.join(",").as_bytes().starts_with(bytes);
            return if begun { Ok(Self::default()) } else { Err(NotOurs::Other) };
        };
        let whole = bytes.get(..=last).unwrap_or(bytes);
        let mut lines = whole.split_inclusive(|&b| b == b'\n');
        let top = lines.next().and_then(record);
        if !top.as_ref().is_some_and(|top| *top == *header) {
            // A header alone binds nobody.
            let bare = top.is_some_and(|top| top.get(0) == AHEAD.first().copied()) && lines.next().is_none();
            return if bare { Ok(Self::default()) } else { Err(NotOurs::Other) };
        }
        let mut done: HashMap<String, Vec<usize>> = HashMap::new();
        for (above, line) in lines.enumerate() {
            // People count the header, from one.
            let damaged = NotOurs::Damaged(above + 2);
            let Some(row) = record(line).filter(|row| row.len() == header.len()) else { return Err(damaged) };
            if row.get(2) != Some(cell(&format.model).as_str()) {
                return Err(NotOurs::Other);
            }
            let Some(key) = format.key_of(&row) else { return Err(damaged) };
            done.entry(key).or_default().push(above + 1);
        }
        Ok(Self { whole: whole.len(), done })
    }
}

impl SheetFormat {
    /// Image and digest of a row, if all its cells may be as they are.
    fn key_of(&self, row: &StringRecord) -> Option<String> {
        let [image, digest] = [row.get(0)?, row.get(1)?];
        let named = !image.is_empty()
            && digest.len() == DIGEST
            && digest.bytes().all(|b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        let count = self.classes.len();
        let behind = AHEAD.len() + count;
        let number = |column: usize| row.get(column)?.parse::<f64>().ok().filter(|x| *x >= 0.0);
        let class =
            |column: usize| self.classes.iter().position(|class| row.get(column) == Some(&cell(class)));
        let probabilities: Vec<f64> = (AHEAD.len()..behind).map(number).collect::<Option<_>>()?;
        let largest = probabilities.iter().copied().fold(0.0, f64::max);
        let labelled = probabilities.get(class(3)?)? + 2.0 * ROUNDING >= largest && class(behind).is_some();
        let total = probabilities.iter().sum::<f64>();
        let added = !self.exclusive || (total - 1.0).abs() <= ROUNDING * count as f64;
        let in_clear = [behind + 1, behind + 2].map(|column| row.get(column).is_some_and(str::is_empty));
        let compared = match in_clear {
            [true, true] => true,
            [false, false] => number(behind + 1).is_some() && number(behind + 2).is_some(),
            _ => false,
        };
        let timed = (behind + 3..behind + 8).all(|column| number(column).is_some_and(f64::is_finite));
        let on_device = row.get(behind + 8).is_some_and(|device| !device.is_empty());
        (named && largest <= 1.0 && labelled && added && compared && timed && on_device)
            .then(|| key(image, digest))
    }
}

/// The cells of a line that is as this program writes it.
fn record(bytes: &[u8]) -> Option<StringRecord> {
    let mut rows = ReaderBuilder::new().has_headers(false).flexible(true).from_reader(bytes);
    let row = rows.records().next()?.ok()?;
    (line(&row).ok()? == bytes).then_some(row)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: [&str; 15] = [
        "a.png",
        "0123456789abcdef",
        "m",
        "x",
        "0.750000",
        "0.250000",
        "x",
        "1.0e-6",
        "20.1",
        "0.1",
        "0.1",
        "0.1",
        "0.1",
        "0.1",
        "cpu",
    ];

    fn format() -> SheetFormat {
        SheetFormat { model: "m".into(), classes: vec!["x".into(), "=y".into()], exclusive: true }
    }

    fn text(cells: &[&str]) -> String {
        String::from_utf8(line(cells).unwrap()).unwrap()
    }

    fn with(column: usize, value: &str) -> String {
        let mut cells = GOOD;
        cells[column] = value;
        text(&cells)
    }

    fn top() -> String {
        String::from_utf8(line(header(&format().classes)).unwrap()).unwrap()
    }

    fn left(text: &str) -> Result<Left, NotOurs> {
        Left::read(text.as_bytes(), &format())
    }

    #[test]
    fn whole_rows_are_kept() {
        let two = top() + &text(&GOOD) + &text(&GOOD);
        let done = HashMap::from([("0123456789abcdef a.png".to_owned(), vec![1, 2])]);
        let kept = Left { whole: two.len(), done };
        assert_eq!(left(&two), Ok(kept));
        assert_eq!(left(&format!("{two}b.pn")).unwrap().whole, two.len());
        assert_eq!(Left::read(&[two.as_bytes(), &[0xc3]].concat(), &format()).unwrap().whole, two.len());
        for nothing in ["", "image,sh", "image,sha256,model,label,p(other)\n"] {
            assert_eq!(left(nothing), Ok(Left::default()), "{nothing}");
        }
        assert!(left(&(top() + &with(3, "%3Dy").replace("0.750000,0.250000", "0.2500,0.7500"))).is_ok());
    }

    #[test]
    fn other_files_are_not_touched() {
        for other in ["years of work", "years,of\nwork\n", "\n", &(top() + &with(2, "n"))] {
            assert_eq!(left(other), Err(NotOurs::Other), "{other:?}");
        }
    }

    #[test]
    fn damaged_cells_are_refused_with_their_line() {
        for (column, value) in [
            (0, ""),
            (1, "0123456789abcdeF"),
            (1, "0123"),
            (3, "z"),
            (3, "%3Dy"),
            (4, "0.650000"),
            (4, "0.7x0000"),
            (4, "-0.750000"),
            (4, "nan"),
            (6, ""),
            (7, ""),
            (8, "many"),
            (9, "-0.1"),
            (13, "inf"),
            (14, ""),
        ] {
            let text = top() + &text(&GOOD) + &with(column, value);
            assert_eq!(left(&text), Err(NotOurs::Damaged(3)), "{column}: {value:?}");
        }
        for line in ["short\n", "\n", "\"a.png,b\n", &with(0, "a.png").replace("a.png", "\"a.png\"")] {
            assert_eq!(left(&(top() + line)), Err(NotOurs::Damaged(2)), "{line:?}");
        }
    }

    fn open(path: &Path, sources: &[&str]) -> Result<Sheet> {
        Sheet::open(
            path,
            format(),
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
        let rows = top() + &text(&GOOD) + &with(0, "b.png");
        fs::write(part(&path), &rows).unwrap();
        let error = open(&path, &["a.png"]).err().unwrap().to_string();
        assert!(error.contains("rows of 1 file that this command does not name (b.png)"), "{error}");
        assert_eq!(fs::read_to_string(part(&path)).unwrap(), rows);
        let mut sheet = open(&path, &["a.png", "b.png"]).unwrap();
        assert_eq!(sheet.earlier().0, 2);
        assert!(!sheet.take("a.png", "0000000000000000") && sheet.take("b.png", "0123456789abcdef"));
        assert!(!sheet.take("b.png", "0123456789abcdef"), "each row counts once");
        sheet.finish().unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), top() + &with(0, "b.png"));
        assert!(!part(&path).exists());
    }

    #[test]
    fn two_runs_cannot_share_a_file() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("x.csv");
        let first = open(&path, &[]).unwrap();
        assert!(open(&path, &[]).err().unwrap().to_string().starts_with("another run is writing to "));
        first.finish().unwrap();
        assert!(!path.exists(), "no row, no file");
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
        let sheet = open(&path, &[]).unwrap();
        fs::rename(part(&path), place.path().join("moved")).unwrap();
        fs::write(part(&path), "theirs").unwrap();
        let error = sheet.finish().unwrap_err().to_string();
        assert!(error.contains("another program has replaced"), "{error}");
        assert_eq!(fs::read(part(&path)).unwrap(), b"theirs");
    }
}
