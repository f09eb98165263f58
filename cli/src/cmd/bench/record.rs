//! Files of benchmark results.

use crate::files;
use anyhow::{Context, Result, anyhow, bail};
use pleura::bench::{Record, RecordError, SCHEMA};
use serde::Deserialize;
use serde_json::error::Category;
use std::fs;
use std::path::Path;

/// Larger files are refused.
const MAX_BYTES: u64 = 64 << 20;

/// Reads a file with [`text`].
pub(crate) fn read(path: &Path) -> Result<Record> {
    // A pipe would block.
    let found = fs::metadata(path).with_context(|| files::cannot_read(path))?;
    if !found.is_file() && !found.is_dir() {
        bail!("{} is not a regular file", path.display());
    }
    from_bytes(&files::read(path, MAX_BYTES)?, path)
}

fn from_bytes(bytes: &[u8], path: &Path) -> Result<Record> {
    let wrong =
        |why: String| anyhow!("{} is not a file of `pleura bench --json --output`: {why}", path.display());
    let record: Record = serde_json::from_slice(bytes).map_err(|error| wrong(unlike(bytes, &error)))?;
    match record.check() {
        Ok(()) => Ok(record),
        Err(error @ RecordError::Seconds { .. }) => bail!("{} is damaged: {error}", path.display()),
        Err(error) => Err(wrong(error.to_string())),
    }
}

/// A record as the text of a file.
pub(crate) fn text(record: &Record) -> Result<String> {
    Ok(serde_json::to_string_pretty(record).context("cannot write the result as JSON")? + "\n")
}

/// Why bytes are not a record, without names of types.
fn unlike(bytes: &[u8], error: &serde_json::Error) -> String {
    #[derive(Deserialize)]
    struct Tagged {
        schema: String,
    }

    match error.classify() {
        Category::Eof => "it ends too early".to_owned(),
        Category::Data => match serde_json::from_slice::<Tagged>(bytes) {
            Ok(Tagged { schema }) if schema != SCHEMA => RecordError::Format { found: schema }.to_string(),
            _ => format!("line {}, column {} has another form", error.line(), error.column()),
        },
        _ => format!("it is not JSON at line {}, column {}", error.line(), error.column()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mutated_records_are_refused_or_can_be_written() {
        let seed = include_bytes!("../../../../benches/results/epyc-two-cores.json");
        crate::fuzz::fuzz(&[seed], |bytes| {
            if let Ok(record) = from_bytes(bytes, Path::new("a.json")) {
                text(&record).unwrap();
            }
        });
    }
}
