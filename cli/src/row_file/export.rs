//! Formats of a finished table.

use super::lines::{AHEAD, RowFormat, column, header, records};
use crate::files;
use crate::names::cell;
use anyhow::{Result, anyhow};
use clap::ValueEnum;
use csv::Writer;
use serde_json::{Map, Number, Value};
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

/// Format of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum TableFormat {
    /// Comma-separated values
    Csv,
    /// JSON lines: an object for each row
    Jsonl,
    /// Apache Parquet
    #[cfg(feature = "parquet")]
    Parquet,
}

impl TableFormat {
    /// The format that a file's name ends in; CSV for names that promise no format.
    ///
    /// # Errors
    /// If the name ends in that of a format that no table has, or that this program was built without.
    pub(crate) fn of(path: &Path) -> Result<Self> {
        let extension = path.extension().map(|extension| extension.to_ascii_lowercase());
        match extension.as_ref().and_then(|extension| extension.to_str()) {
            Some("jsonl" | "ndjson") => Ok(Self::Jsonl),
            #[cfg(feature = "parquet")]
            Some("parquet") => Ok(Self::Parquet),
            #[cfg(not(feature = "parquet"))]
            Some("parquet") => Err(anyhow!(
                "this program was built without Parquet: name a .csv or .jsonl file, or build it with --features parquet"
            )),
            _ => match files::check_format(path, "csv") {
                Ok(()) => Ok(Self::Csv),
                Err(error) => Err(anyhow!("{error} or .jsonl, or give --format csv")),
            },
        }
    }

    /// Writes the rows of an unfinished table in this format. Errors of the file do not name it.
    pub(super) fn write(self, rows: &File, format: &RowFormat, out: impl Write + Send) -> Result<()> {
        match self {
            Self::Csv => write_csv(rows, format, out),
            Self::Jsonl => write_lines(rows, format, out),
            #[cfg(feature = "parquet")]
            Self::Parquet => super::parquet::write(rows, format, out),
        }
    }
}

fn write_csv(rows: &File, format: &RowFormat, out: impl Write) -> Result<()> {
    let mut writer = Writer::from_writer(out);
    writer.write_record(header(&format.classes))?;
    for record in records(rows) {
        writer.write_record(&record?)?;
    }
    Ok(writer.flush()?)
}

fn write_lines(rows: &File, format: &RowFormat, out: impl Write) -> Result<()> {
    let mut out = BufWriter::new(out);
    for record in records(rows) {
        let mut object = Map::new();
        let mut probabilities = Map::new();
        for (position, text) in record?.iter().enumerate() {
            let (name, is_number) = column(position, format);
            let value = match text {
                "" => Value::Null,
                text if is_number => Value::Number(number(text)?),
                text => text.into(),
            };
            match position.checked_sub(AHEAD.len()).and_then(|class| format.classes.get(class)) {
                Some(class) => drop(probabilities.insert(cell(class), value)),
                None => drop(object.insert(name, value)),
            }
        }
        object.insert("probabilities".into(), Value::Object(probabilities));
        serde_json::to_writer(&mut out, &object)?;
        out.write_all(b"\n")?;
    }
    Ok(out.flush()?)
}

fn number(text: &str) -> Result<Number> {
    let number = text.parse().ok().and_then(Number::from_f64);
    number
        .ok_or_else(|| anyhow!("internal error: a row has {text} in the place of a number; please report it"))
}

#[cfg(test)]
mod tests {
    use super::super::lines::Left;
    use super::*;
    use std::io::Seek;

    #[test]
    fn names_choose_formats() {
        assert_eq!(TableFormat::of(Path::new("x")).unwrap(), TableFormat::Csv);
        for name in ["x.json", "x.XLSX", "x.npy"] {
            assert!(
                TableFormat::of(Path::new(name)).unwrap_err().to_string().contains("ends in .csv or .jsonl")
            );
        }
        assert_eq!(TableFormat::of(Path::new("x.JSONL")).unwrap(), TableFormat::Jsonl);
        #[cfg(not(feature = "parquet"))]
        assert!(TableFormat::of(Path::new("x.parquet")).unwrap_err().to_string().contains("without Parquet"));
    }

    #[test]
    fn json_lines_have_numbers_and_nulls() {
        let format = RowFormat { model: "m".into(), classes: vec!["x".into(), "=y".into()], exclusive: true };
        let text = "image,sha256,model,label,p(x),p(%3Dy),plaintext_label,max_abs_error,bits,read_s,compress_s,encrypt_s,\
            infer_s,decrypt_s,device,study_uid,series_uid,instance_uid,error\n\
            a.png,0123456789abcdef,m,x,0.750000,0.250000,x,1.0e-6,20.1,0.1,0.1,0.1,0.1,0.1,cpu,1.2,,,\n\
            b.png,,m,,,,,,,,,,,,,,,,\"cut, off\"\n";
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&Left::with_checks(text.as_bytes(), &format).unwrap()).unwrap();
        file.rewind().unwrap();
        let mut csv = Vec::new();
        TableFormat::Csv.write(&file, &format, &mut csv).unwrap();
        assert_eq!(String::from_utf8(csv).unwrap(), text);
        file.rewind().unwrap();
        let mut out = Vec::new();
        TableFormat::Jsonl.write(&file, &format, &mut out).unwrap();
        let rows: Vec<Value> =
            String::from_utf8(out).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(rows.len(), 2);
        assert_eq!(
            (&rows[0]["probabilities"]["%3Dy"], &rows[0]["max_abs_error"]),
            (&0.25.into(), &1e-6.into())
        );
        assert_eq!((&rows[0]["study_uid"], &rows[0]["error"]), (&"1.2".into(), &Value::Null));
        assert_eq!((&rows[1]["error"], &rows[1]["probabilities"]["x"]), (&"cut, off".into(), &Value::Null));
    }
}
