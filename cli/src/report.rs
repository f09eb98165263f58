//! Reports on standard output or in a file, as tables, Markdown, CSV or JSON.

use crate::{files, terminal};
use anyhow::Result;
use clap::{Args, ValueEnum};
use std::path::PathBuf;

/// Form of a report.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// Tables for a terminal.
    #[default]
    Table,
    /// One JSON object.
    Json,
    /// Tables in Markdown.
    Md,
    /// One table as CSV, a row for each measurement.
    Csv,
}

/// A report in all forms.
pub(crate) trait Forms {
    /// Tables for a terminal.
    fn tables(&self) -> String;

    /// One JSON object.
    fn json(&self) -> Result<String>;

    /// Tables in Markdown.
    fn markdown(&self) -> String;

    /// One table.
    fn csv(&self) -> Result<String>;
}

/// Form and place of a report.
#[derive(Args)]
pub(crate) struct ReportArgs {
    /// Report as one JSON object: --format json.
    #[arg(long, conflicts_with = "format")]
    json: bool,

    /// Form of the report.
    #[arg(long, value_enum, value_name = "FORMAT", default_value = "table")]
    format: Format,

    /// File for the report; `-` is standard output. Except with --format table, the tables are still
    /// printed.
    #[arg(long, value_name = "FILE", allow_hyphen_values = true)]
    output: Option<PathBuf>,
}

impl ReportArgs {
    /// The file that is written; none for standard output.
    pub(crate) fn file(&self) -> Option<&PathBuf> {
        self.output.as_ref().filter(|path| !files::is_standard(path))
    }

    /// Writes or prints a report.
    pub(crate) fn publish(&self, report: &impl Forms, replace: bool) -> Result<()> {
        let text = self.form(report)?;
        let Some(path) = self.file() else { return terminal::print(&text) };
        files::write(path, &[text.as_bytes()], replace, false)?;
        if self.format() == Format::Table { Ok(()) } else { terminal::print(&report.tables()) }
    }

    /// The form that was asked for, in which an interruption leaves a report, too.
    pub(crate) fn form(&self, report: &impl Forms) -> Result<String> {
        match self.format() {
            Format::Table => Ok(report.tables()),
            Format::Json => report.json(),
            Format::Md => Ok(report.markdown()),
            Format::Csv => report.csv(),
        }
    }

    fn format(&self) -> Format {
        if self.json { Format::Json } else { self.format }
    }
}
