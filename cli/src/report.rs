//! Reports on standard output or in a file, as tables or JSON.

use crate::{files, terminal};
use anyhow::Result;
use clap::Args;
use std::path::PathBuf;

/// Form and place of a report.
#[derive(Args)]
pub(crate) struct ReportArgs {
    /// Report as one JSON object.
    #[arg(long)]
    json: bool,

    /// File for the report; `-` is standard output. With --json, the tables are still printed.
    #[arg(long, value_name = "FILE", allow_hyphen_values = true)]
    output: Option<PathBuf>,
}

impl ReportArgs {
    /// The file that is written; none for standard output.
    pub(crate) fn file(&self) -> Option<&PathBuf> {
        self.output.as_ref().filter(|path| !files::is_standard(path))
    }

    /// Writes or prints a report that is given in both forms.
    pub(crate) fn publish(&self, tables: &str, json: &str, replace: bool) -> Result<()> {
        let report = if self.json { json } else { tables };
        let Some(path) = self.file() else { return terminal::print(report) };
        files::write(path, &[report.as_bytes()], replace, false)?;
        if self.json { terminal::print(tables) } else { Ok(()) }
    }

    /// The form in which an interruption leaves a report.
    pub(crate) fn form<'a>(&self, tables: &'a str, json: &'a str) -> &'a str {
        if self.json { json } else { tables }
    }
}
