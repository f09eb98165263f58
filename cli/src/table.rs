//! Tables of text.

use crate::terminal::{WIDEST, is_terminal};
use crate::text::{plain, tail};
use anyhow::{Context, Result};
use console::Term;
use std::fmt;
use unicode_width::UnicodeWidthStr;

/// Space between columns.
const GAP: &str = "  ";

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
        self.rows.push(cells.iter().map(|cell| plain(cell)).collect());
    }

    /// The table in Markdown.
    pub(crate) fn markdown(&self) -> String {
        let mut text = String::new();
        for (number, row) in self.rows.iter().enumerate() {
            let cells: Vec<_> = row.iter().map(|cell| cell.replace('|', "\\|")).collect();
            text += &format!("| {} |\n", cells.join(" | "));
            if number == 0 {
                let marks = (0..row.len()).map(|column| if column < self.words { "---" } else { "---:" });
                text += &format!("| {} |\n", marks.collect::<Vec<_>>().join(" | "));
            }
        }
        text
    }

    /// The table with cells of at most [`WIDEST`] characters. Those of the first column keep their end, where names of files differ.
    fn cut(&self) -> Self {
        Self { words: self.words, rows: self.rows.iter().map(|cells| cut(cells)).collect() }
    }

    fn width(&self, column: usize) -> usize {
        self.rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.width()).max().unwrap_or(0)
    }

    /// The lines of some columns.
    fn lines(&self, columns: &[usize], widths: &[usize]) -> String {
        let mut text = String::new();
        for row in &self.rows {
            let mut line = String::new();
            for (place, &column) in columns.iter().enumerate() {
                let Some((cell, width)) = row.get(column).zip(widths.get(column)) else { continue };
                let fill = " ".repeat(width.saturating_sub(cell.width()));
                let gap = if place == 0 { "" } else { GAP };
                line += gap;
                line += &if column < self.words { format!("{cell}{fill}") } else { format!("{fill}{cell}") };
            }
            text += line.trim_end();
            text += "\n";
        }
        text
    }

    /// The table in at most `limit` columns of a terminal: further columns follow below, beside the first one again.
    fn folded(&self, limit: usize) -> String {
        let count = self.rows.first().map_or(0, Vec::len);
        let widths: Vec<usize> = (0..count).map(|column| self.width(column)).collect();
        let mut parts: Vec<Vec<usize>> = vec![Vec::new()];
        let mut used = 0;
        for (column, &width) in widths.iter().enumerate() {
            let needed = width + GAP.len();
            if used + needed > limit + GAP.len() && column > 1 {
                parts.push(vec![0]);
                used = widths.first().map_or(0, |first| first + GAP.len());
            }
            if let Some(part) = parts.last_mut() {
                part.push(column);
            }
            used += needed;
        }
        parts.iter().map(|part| self.lines(part, &widths)).collect::<Vec<_>>().join("\n")
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !is_terminal() {
            return f.write_str(&self.folded(usize::MAX / 2));
        }
        f.write_str(&self.cut().folded(usize::from(Term::stdout().size().1)))
    }
}

/// Rows as CSV, the headings among them.
pub(crate) fn csv(rows: impl IntoIterator<Item = Vec<String>>) -> Result<String> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    for row in rows {
        writer.write_record(row.iter().map(|cell| plain(cell))).context("cannot write CSV")?;
    }
    let bytes = writer.into_inner().context("cannot write CSV")?;
    String::from_utf8(bytes).context("cannot write CSV")
}

/// The cells of a row, cut.
fn cut(cells: &[String]) -> Vec<String> {
    let cells = cells.iter().enumerate();
    cells.map(|(column, cell)| if column == 0 { tail(cell, WIDEST) } else { head(cell) }).collect()
}

fn head(cell: &str) -> String {
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
    fn tables_are_markdown_and_csv() {
        let mut table = Table::new(1, ["name", "n"]);
        table.row(["a|b".into(), "1".into()]);
        assert_eq!(table.markdown(), "| name | n |\n| --- | ---: |\n| a\\|b | 1 |\n");
        let rows = vec![vec!["name".to_owned()], vec!["a,\"b\"\u{1b}".to_owned()]];
        assert_eq!(csv(rows).unwrap(), "name\n\"a,\"\"b\"\"\\u{1b}\"\n");
    }

    #[test]
    fn wide_tables_are_folded() {
        let mut table = Table::new(1, ["name", "n", "seconds"]);
        table.row(["a".into(), "10".into(), "0.25".into()]);
        assert_eq!(table.folded(19), "name   n  seconds\na     10     0.25\n");
        assert_eq!(table.folded(13), "name   n\na     10\n\nname  seconds\na        0.25\n");
    }

    #[test]
    fn cells_are_cut_and_made_plain() {
        let mut table = Table::new(2, ["name", "text"]);
        table.row([format!("{}.png", "\u{e9}".repeat(100)), "\u{e9}".repeat(100)]);
        table.row(["a\tb\n".into(), String::new()]);
        let text = table.cut().folded(1000);
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines[1].chars().count(), 2 * WIDEST + GAP.len());
        assert!(lines[1].starts_with("\u{2026}\u{e9}") && lines[1].contains(".png  \u{e9}"));
        assert!(lines[1].ends_with("\u{e9}\u{2026}"));
        assert_eq!(lines[2], "a\\tb\\n");
        assert!(!table.folded(1000).contains('\u{2026}'), "cells of a file are whole");
    }

    #[test]
    fn a_table_without_rows_is_its_headings() {
        assert_eq!(Table::new(0, ["a", "b"]).to_string(), "a  b\n");
    }
}
