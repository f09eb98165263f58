//! Tables of text, and numbers as text.

use crate::terminal::plain;
use std::fmt;

/// Characters of a cell beyond which it is cut.
const WIDEST: usize = 48;

/// Rows under headings: the first columns are words, the others numbers.
pub(crate) struct Table {
    words: usize,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// No rows yet. `words` columns are aligned to the left, the others to the right.
    pub(crate) fn new<const N: usize>(words: usize, headings: [&str; N]) -> Self {
        Self::wide(words, headings.map(str::to_owned).to_vec())
    }

    /// The same with as many columns as turn out to be needed.
    pub(crate) fn wide(words: usize, headings: Vec<String>) -> Self {
        Self { words, rows: vec![headings] }
    }

    /// Adds a row.
    pub(crate) fn row<const N: usize>(&mut self, cells: [String; N]) {
        self.wide_row(cells.to_vec());
    }

    /// Adds a row of a [`Table::wide`] one.
    pub(crate) fn wide_row(&mut self, cells: Vec<String>) {
        self.rows.push(cells.iter().map(|cell| cut(&plain(cell))).collect());
    }

    fn width(&self, column: usize) -> usize {
        self.rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns = self.rows.first().map_or(0, Vec::len);
        let widths: Vec<usize> = (0..columns).map(|column| self.width(column)).collect();
        for row in &self.rows {
            let mut line = String::new();
            for (column, (cell, &width)) in row.iter().zip(&widths).enumerate() {
                let gap = if column == 0 { "" } else { "  " };
                line += &if column < self.words {
                    format!("{gap}{cell:<width$}")
                } else {
                    format!("{gap}{cell:>width$}")
                };
            }
            writeln!(f, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

fn cut(cell: &str) -> String {
    match cell.char_indices().nth(WIDEST) {
        Some(_) => cell.chars().take(WIDEST - 1).chain(['\u{2026}']).collect(),
        None => cell.to_owned(),
    }
}

/// `12.3 MiB`
pub(crate) fn bytes_text(bytes: u64) -> String {
    const UNITS: [&str; 3] = ["KiB", "MiB", "GiB"];
    let mut text = format!("{bytes} bytes");
    let mut value = bytes as f64;
    for unit in UNITS {
        value /= 1024.0;
        if value < 1.0 {
            break;
        }
        text = format!("{value:.1} {unit}");
    }
    text
}

/// Units of sizes as users write them, the largest first.
pub(crate) const UNITS: [(&str, u64); 8] = [
    ("TiB", 1 << 40),
    ("TB", 1_000_000_000_000),
    ("GiB", 1 << 30),
    ("GB", 1_000_000_000),
    ("MiB", 1 << 20),
    ("MB", 1_000_000),
    ("KiB", 1 << 10),
    ("kB", 1_000),
];

/// A size as a user may have written it: `45MB`
pub(crate) fn size_text(bytes: u64) -> String {
    let even = UNITS.iter().find(|(_, unit)| bytes > 0 && bytes.is_multiple_of(*unit));
    even.map_or_else(|| bytes_text(bytes), |(name, unit)| format!("{}{name}", bytes / unit))
}

/// Seconds as milliseconds, with three digits that count.
pub(crate) fn millis(seconds: f64) -> String {
    let ms = seconds * 1e3;
    match ms.abs() {
        0.0..1.0 => format!("{ms:.4}"),
        1.0..10.0 => format!("{ms:.3}"),
        10.0..100.0 => format!("{ms:.2}"),
        _ => format!("{ms:.1}"),
    }
}

/// Three digits that count, without a run of zeros.
pub(crate) fn short(x: f64) -> String {
    match x.abs() {
        0.0 => "0".to_owned(),
        0.001..10000.0 => format!("{x:.4}"),
        _ => format!("{x:.2e}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let mut table = Table::new(1, ["name", "n", "s"]);
        table.row(["a".into(), "1".into(), "0.25".into()]);
        table.row(["longer".into(), "1000".into(), "7".into()]);
        assert_eq!(table.to_string(), "name       n     s\na          1  0.25\nlonger  1000     7\n");
    }

    #[test]
    fn cells_are_cut_and_made_plain() {
        let mut table = Table::new(1, ["name"]);
        table.row(["\u{e9}".repeat(100)]);
        table.row(["a\tb\n".into()]);
        let text = table.to_string();
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines[1].chars().count(), WIDEST);
        assert!(lines[1].ends_with("\u{e9}\u{2026}"));
        assert_eq!(lines[2], "a\u{fffd}b\u{fffd}");
    }

    #[test]
    fn a_table_without_rows_is_its_headings() {
        assert_eq!(Table::new(0, ["a", "b"]).to_string(), "a  b\n");
    }

    #[test]
    fn sizes_have_units() {
        let texts = [0, 1023, 1024, 5 << 20, 3 << 30, 1 << 42].map(bytes_text);
        let sizes = [45_000_000, 6 << 30, 3 << 29, 6_000_000_000, 1001].map(size_text);
        assert_eq!(sizes, ["45MB", "6GiB", "1536MiB", "6GB", "1001 bytes"]);
        assert_eq!(texts, ["0 bytes", "1023 bytes", "1.0 KiB", "5.0 MiB", "3.0 GiB", "4096.0 GiB"]);
    }

    #[test]
    fn times_have_three_digits() {
        let texts = [0.0, 0.000_012_3, 0.00123, 0.0123, 0.123, 12.3].map(millis);
        assert_eq!(texts, ["0.0000", "0.0123", "1.230", "12.30", "123.0", "12300.0"]);
    }

    #[test]
    fn small_and_large_numbers_are_short() {
        let texts = [0.0, 1.5, -0.25, 1.234e-5, 6.02e23].map(short);
        assert_eq!(texts, ["0", "1.5000", "-0.2500", "1.23e-5", "6.02e23"]);
    }
}
