//! Lines of a table: columns, and rows that an interrupted run left. An unfinished table has a column more, with a digest of each row.

use crate::names::cell;
use crate::row::{Failure, Row};
use crate::text::chain;
use anyhow::{Context, Result as Anyhow, bail};
use csv::{ReaderBuilder, StringRecord, Writer};
use pleura::latent::DicomIdentity;
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufReader};

/// Digits of the digest of a file.
const DIGEST: usize = 16;
/// Columns before the probabilities: those of image, digest, model and label.
pub(super) const AHEAD: [&str; 4] = ["image", "sha256", "model", "label"];
/// Columns after the probabilities.
const BEHIND: [&str; 13] = [
    "plaintext_label",
    "max_abs_error",
    "bits",
    "read_s",
    "compress_s",
    "encrypt_s",
    "infer_s",
    "decrypt_s",
    "device",
    "study_uid",
    "series_uid",
    "instance_uid",
    "error",
];
/// Last column of an unfinished table.
const CHECK: &str = "row_sha256";
/// Columns after the probabilities that are numbers.
const NUMBERS: std::ops::RangeInclusive<usize> = 1..=7;
/// Rounding of a probability in a row.
const ROUNDING: f64 = 1e-6;

/// Rows that may be in a file.
pub(crate) struct RowFormat {
    /// Name and digest of the network: rows of another have no place here.
    pub(crate) model: String,
    pub(crate) classes: Vec<String>,
    /// Whether the probabilities of a row add up to one.
    pub(crate) exclusive: bool,
}

/// The result of a row that an earlier run wrote.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum EarlierRow {
    Done {
        label: String,
        probabilities: Vec<f64>,
    },
    Failed {
        /// The error, as a cell.
        error: String,
    },
}

/// The rows of each image and digest, with their numbers among the lines.
pub(super) type RowsByKey = HashMap<String, Vec<(usize, EarlierRow)>>;

/// Rows that an interrupted run left.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Left {
    /// Bytes of whole rows, the header among them.
    pub(super) whole: usize,
    pub(super) done: RowsByKey,
    /// Whether the rows have no digests, as in a finished table.
    pub(super) unchecked: bool,
}

/// Why a run cannot resume from a file: the end of a sentence about it.
#[derive(Debug, PartialEq, thiserror::Error)]
pub(super) enum NotOurs {
    #[error("is of another network, or of something else: finish it with that network, or delete it")]
    Other,
    #[error("is damaged in line {0}: delete that line, or the file")]
    Damaged(usize),
}

/// The place of an image and a digest among rows.
pub(super) fn key(image: &str, digest: &str) -> String {
    format!("{digest} {image}")
}

pub(super) fn header(classes: &[String]) -> Vec<String> {
    let probabilities = classes.iter().map(|class| format!("p({})", cell(class)));
    AHEAD.map(str::to_owned).into_iter().chain(probabilities).chain(BEHIND.map(str::to_owned)).collect()
}

/// The header of an unfinished table.
pub(super) fn part_header(classes: &[String]) -> Vec<String> {
    header(classes).into_iter().chain([CHECK.to_owned()]).collect()
}

/// The bytes of a line.
pub(super) fn line<T: AsRef<[u8]>>(cells: impl IntoIterator<Item = T>) -> io::Result<Vec<u8>> {
    let mut writer = Writer::from_writer(Vec::new());
    writer.write_record(cells).map_err(io::Error::other)?;
    writer.into_inner().map_err(|error| error.into_error())
}

/// The bytes of a row of an unfinished table: its cells, and a digest of them.
pub(super) fn checked_line<T: AsRef<[u8]>>(cells: &[T]) -> io::Result<Vec<u8>> {
    let check = check(cells)?;
    line(cells.iter().map(AsRef::as_ref).chain([check.as_bytes()]))
}

/// First digits of the SHA-256 of a line.
fn check<T: AsRef<[u8]>>(cells: impl IntoIterator<Item = T>) -> io::Result<String> {
    let digest = Sha256::digest(line(cells)?);
    Ok(digest.iter().take(DIGEST / 2).map(|byte| format!("{byte:02x}")).collect())
}

/// The row before its digest, if it has that digest.
fn verified(mut row: StringRecord) -> Option<StringRecord> {
    let cells = row.len().checked_sub(1)?;
    let found = row.get(cells)?.to_owned();
    row.truncate(cells);
    (check(&row).ok()? == found).then_some(row)
}

/// The cells of a line that is as this program writes it.
pub(super) fn record(bytes: &[u8]) -> Option<StringRecord> {
    let mut rows = ReaderBuilder::new().has_headers(false).flexible(true).from_reader(bytes);
    let row = rows.records().next()?.ok()?;
    (line(&row).ok()? == bytes).then_some(row)
}

/// The rows of an unfinished table, without its header and their digests.
pub(super) fn records(rows: &File) -> impl Iterator<Item = Anyhow<StringRecord>> {
    let reader = ReaderBuilder::new().from_reader(BufReader::new(rows));
    reader.into_records().map(|record| match verified(record.context("cannot read the rows back")?) {
        Some(row) => Ok(row),
        None => bail!("the rows on disk are not those that were written: run the same command again"),
    })
}

/// Number of columns.
#[cfg(feature = "parquet")]
pub(super) fn columns(format: &RowFormat) -> usize {
    AHEAD.len() + format.classes.len() + BEHIND.len()
}

/// Name of a column, where it stands, and whether it holds numbers.
#[expect(clippy::indexing_slicing, reason = "a row has the columns of the header")]
pub(super) fn column(position: usize, format: &RowFormat) -> (String, bool) {
    let behind = AHEAD.len() + format.classes.len();
    match position.checked_sub(behind) {
        Some(later) => (BEHIND[later].to_owned(), NUMBERS.contains(&later)),
        None => match position.checked_sub(AHEAD.len()) {
            Some(class) => (format!("p({})", format.classes[class]), true),
            None => (AHEAD[position].to_owned(), false),
        },
    }
}

impl RowFormat {
    /// The cells of a row.
    pub(super) fn row(&self, row: &Row, device: &str) -> Vec<String> {
        let Row { cell: image, digest, label, probabilities, plaintext_label, fidelity, dicom, .. } = row;
        let mut cells = vec![image.clone(), digest.clone(), cell(&self.model), cell(label)];
        cells.extend(probabilities.iter().map(|p| format!("{p:.6}")));
        let fidelity = fidelity.map_or_else(Default::default, |f| {
            [format!("{:.1e}", f.max_abs_error), format!("{:.1}", f.bits)]
        });
        cells.push(cell(plaintext_label));
        cells.extend(fidelity);
        let s = &row.seconds;
        cells.extend([s.read, s.compress, s.encrypt, s.infer, s.decrypt].map(|s| format!("{s:.6}")));
        cells.push(cell(device));
        let identity = dicom.clone().unwrap_or(DicomIdentity { study: None, series: None, instance: None });
        let uids = [identity.study, identity.series, identity.instance];
        cells.extend(uids.map(|uid| uid.map_or_else(String::new, |uid| cell(&uid))));
        cells.push(String::new());
        cells
    }

    /// The cells of the row of an image without a result.
    pub(super) fn failure(&self, failure: &Failure) -> Vec<String> {
        let Failure { cell: image, digest, error, .. } = failure;
        let mut cells = vec![image.clone(), digest.clone(), cell(&self.model)];
        cells.resize(AHEAD.len() + self.classes.len() + BEHIND.len() - 1, String::new());
        cells.push(cell(&chain(error)));
        cells
    }

    /// Image, digest and result of a row, if all its cells may be as they are.
    fn read(&self, row: &StringRecord) -> Option<(String, EarlierRow)> {
        let [image, digest] = [row.get(0)?, row.get(1)?];
        let error = row.get(row.len().checked_sub(1)?)?;
        if image.is_empty() {
            return None;
        }
        if !error.is_empty() {
            let rest = row.iter().skip(3).take(row.len() - 4).all(str::is_empty);
            // A file that cannot be read has no digest.
            let digested = digest.is_empty() || is_digest(digest);
            let failed = EarlierRow::Failed { error: error.to_owned() };
            return (rest && digested).then(|| (key(image, digest), failed));
        }
        let result = self.result(row)?;
        is_digest(digest).then(|| (key(image, digest), result))
    }

    fn result(&self, row: &StringRecord) -> Option<EarlierRow> {
        let count = self.classes.len();
        let behind = AHEAD.len() + count;
        let number = |column: usize| row.get(column)?.parse::<f64>().ok().filter(|x| *x >= 0.0);
        let class =
            |column: usize| self.classes.iter().position(|class| row.get(column) == Some(&cell(class)));
        let probabilities: Vec<f64> = (AHEAD.len()..behind).map(number).collect::<Option<_>>()?;
        let largest = probabilities.iter().copied().fold(0.0, f64::max);
        let label = class(3)?;
        let labelled = probabilities.get(label)? + 2.0 * ROUNDING >= largest;
        let known = class(behind).is_some();
        let total = probabilities.iter().sum::<f64>();
        let added = !self.exclusive || (total - 1.0).abs() <= ROUNDING * count as f64;
        let in_clear = [behind + 1, behind + 2].map(|column| row.get(column).is_some_and(str::is_empty));
        let compared = match in_clear {
            // Of a server's results, the plaintext network is not known.
            [true, true] => known || row.get(behind).is_some_and(str::is_empty),
            [false, false] => known && number(behind + 1).is_some() && number(behind + 2).is_some(),
            _ => false,
        };
        let timed = (behind + 3..behind + 8).all(|column| number(column).is_some_and(f64::is_finite));
        let on_device = row.get(behind + 8).is_some_and(|device| !device.is_empty());
        let label = self.classes.get(label)?.clone();
        (largest <= 1.0 && labelled && added && compared && timed && on_device)
            .then_some(EarlierRow::Done { label, probabilities })
    }
}

fn is_digest(text: &str) -> bool {
    text.len() == DIGEST && text.bytes().all(|b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

impl Left {
    pub(super) fn read(bytes: &[u8], format: &RowFormat) -> Result<Self, NotOurs> {
        let header = part_header(&format.classes);
        let Some(last) = bytes.iter().rposition(|&b| b == b'\n') else {
            // Not even the header was written.
            let begun = header.join(",").as_bytes().starts_with(bytes);
            return if begun { Ok(Self::default()) } else { Err(NotOurs::Other) };
        };
        let (whole, _) = bytes.split_at(last + 1);
        let mut lines = whole.split_inclusive(|&b| b == b'\n');
        let Some(top) = lines.next().and_then(record) else { return Err(NotOurs::Other) };
        let unchecked = top == *self::header(&format.classes);
        if !unchecked && top != *header {
            // A header alone binds nobody.
            let bare = top.get(0) == AHEAD.first().copied() && lines.next().is_none();
            return if bare { Ok(Self::default()) } else { Err(NotOurs::Other) };
        }
        let mut done = RowsByKey::new();
        for (above, line) in lines.enumerate() {
            // People count the header, from one.
            let damaged = NotOurs::Damaged(above + 2);
            let Some(row) = record(line).filter(|row| row.len() == top.len()) else { return Err(damaged) };
            let row = if unchecked { Some(row) } else { verified(row) };
            let Some(row) = row else { return Err(damaged) };
            if row.get(2) != Some(cell(&format.model).as_str()) {
                return Err(NotOurs::Other);
            }
            let Some((key, result)) = format.read(&row) else { return Err(damaged) };
            done.entry(key).or_default().push((above + 1, result));
        }
        if unchecked && done.is_empty() {
            return Ok(Self::default());
        }
        Ok(Self { whole: whole.len(), done, unchecked })
    }

    /// The bytes of a table whose rows have no digests, with digests.
    pub(super) fn with_checks(bytes: &[u8], format: &RowFormat) -> io::Result<Vec<u8>> {
        let mut out = line(part_header(&format.classes))?;
        for row in bytes.split_inclusive(|&b| b == b'\n').skip(1) {
            let row =
                record(row).ok_or_else(|| io::Error::other("a row that was read cannot be read again"))?;
            out.extend(checked_line(&row.iter().collect::<Vec<_>>())?);
        }
        Ok(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: [&str; 19] = [
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
        "",
        "",
        "",
        "",
    ];

    fn good() -> EarlierRow {
        EarlierRow::Done { label: "x".to_owned(), probabilities: vec![0.75, 0.25] }
    }

    fn format() -> RowFormat {
        RowFormat { model: "m".into(), classes: vec!["x".into(), "=y".into()], exclusive: true }
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
        let done = HashMap::from([("0123456789abcdef a.png".to_owned(), vec![(1, good()), (2, good())])]);
        let kept = Left { whole: two.len(), done, unchecked: true };
        assert_eq!(left(&two), Ok(kept));
        assert_eq!(left(&format!("{two}b.pn")).unwrap().whole, two.len());
        assert_eq!(Left::read(&[two.as_bytes(), &[0xc3]].concat(), &format()).unwrap().whole, two.len());
        for nothing in ["", "image,sh", "image,sha256,model,label,p(other)\n"] {
            assert_eq!(left(nothing), Ok(Left::default()), "{nothing}");
        }
        assert!(left(&(top() + &with(3, "%3Dy").replace("0.750000,0.250000", "0.2500,0.7500"))).is_ok());
    }

    #[test]
    fn a_changed_byte_of_an_unfinished_table_is_refused_or_its_row_left_out() {
        let mut failed = [""; 19];
        (failed[0], failed[1], failed[2], failed[18]) = ("b,%0A.png", "0123456789abcdef", "m", "cut, off");
        let rows = top() + &text(&GOOD) + &text(&failed);
        let part = Left::with_checks(rows.as_bytes(), &format()).unwrap();
        let left = Left::read(&part, &format()).unwrap();
        assert_eq!((left.whole, left.done.len(), left.unchecked), (part.len(), 2, false));
        let last = part.len() - 1;
        for at in 0..part.len() {
            for flip in (0..8).map(|bit| 1 << bit).chain([b'0' ^ b'9', b'4' ^ b'7', b'a' ^ b'b']) {
                let mut changed = part.clone();
                changed[at] ^= flip;
                match Left::read(&changed, &format()) {
                    Err(_) => (),
                    // Without its end, the last row is one that was not finished.
                    Ok(left) => assert!(at == last && left.done.len() == 1, "byte {at} xor {flip}"),
                }
            }
        }
        for column in 0..GOOD.len() + 1 {
            let mut shorter = String::from_utf8(part.clone()).unwrap();
            let row = shorter.lines().nth(1).unwrap().to_owned();
            let cells: Vec<&str> =
                row.split(',').enumerate().filter(|(k, _)| *k != column).map(|(_, cell)| cell).collect();
            shorter = shorter.replace(&row, &cells.join(","));
            assert_eq!(Left::read(shorter.as_bytes(), &format()), Err(NotOurs::Damaged(2)));
        }
    }

    #[test]
    fn mutated_tables_are_refused_or_have_rows_that_were_written() {
        let rows = top() + &text(&GOOD) + &with(0, "b%0A.png") + &with(3, "z");
        let finished = top() + &text(&GOOD);
        let part = Left::with_checks(rows.as_bytes(), &format()).unwrap();
        crate::fuzz::fuzz(&[&part, finished.as_bytes()], |bytes| {
            let Ok(left) = Left::read(bytes, &format()) else { return };
            assert!(left.whole <= bytes.len());
            if !left.unchecked {
                let known = ["0123456789abcdef a.png", "0123456789abcdef b%0A.png"];
                assert!(left.done.keys().all(|key| known.contains(&key.as_str())), "{:?}", left.done);
                assert!(left.done.values().flatten().all(|(_, row)| *row == good()), "{:?}", left.done);
            }
        });
    }

    #[test]
    fn rows_of_failures_are_kept() {
        for (digest, key) in [("0123456789abcdef", "0123456789abcdef a.png"), ("", " a.png")] {
            let mut cells = [""; 19];
            (cells[0], cells[1], cells[2], cells[18]) = ("a.png", digest, "m", "cut off");
            let done = left(&(top() + &text(&cells))).unwrap().done;
            assert_eq!(done[key], [(1, EarlierRow::Failed { error: "cut off".to_owned() })]);
            cells[3] = "x";
            assert_eq!(left(&(top() + &text(&cells))), Err(NotOurs::Damaged(2)));
        }
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
}
