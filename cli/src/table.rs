//! Tables of text.

use crate::text::plain;
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

    /// A table without rows, with any number of columns.
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
        assert_eq!(lines[2], "a\\tb\\n");
    }

    #[test]
    fn a_table_without_rows_is_its_headings() {
        assert_eq!(Table::new(0, ["a", "b"]).to_string(), "a  b\n");
    }
}
