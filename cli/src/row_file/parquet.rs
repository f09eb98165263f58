//! Tables in Apache Parquet.

use super::lines::{RowFormat, column, columns, records};
use anyhow::{Context, Result, anyhow};
use csv::StringRecord;
use parquet::basic::{LogicalType, Repetition, Type as PhysicalType};
use parquet::data_type::{ByteArray, ByteArrayType, DoubleType};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::types::Type;
use std::fs::File;
use std::io::Write;
use std::sync::Arc;

/// Rows that are held in memory.
const ROWS: usize = 1 << 14;

/// Writes the rows of an unfinished table: a column of text or doubles for each of its columns, in which empty cells are nulls.
pub(super) fn write(rows: &File, format: &RowFormat, out: impl Write + Send) -> Result<()> {
    let columns: Vec<(String, bool)> =
        (0..columns(format)).map(|position| column(position, format)).collect();
    let schema = schema(&columns)?;
    let properties = Arc::new(WriterProperties::builder().build());
    let mut writer = SerializedFileWriter::new(out, Arc::new(schema), properties)?;
    let mut records = records(rows);
    loop {
        let rows: Vec<StringRecord> = records.by_ref().take(ROWS).collect::<Result<_>>()?;
        if rows.is_empty() {
            break;
        }
        let mut group = writer.next_row_group()?;
        for (position, (_, is_number)) in columns.iter().enumerate() {
            let cells = rows.iter().map(|row| row.get(position).filter(|text| !text.is_empty()));
            let levels: Vec<i16> = cells.clone().map(|cell| i16::from(cell.is_some())).collect();
            let mut column = group.next_column()?.ok_or_else(|| {
                anyhow!("internal error: the table has fewer columns than its schema; please report it")
            })?;
            if *is_number {
                let values: Vec<f64> = cells.flatten().map(str::parse).collect::<Result<_, _>>()?;
                column.typed::<DoubleType>().write_batch(&values, Some(&levels), None)?;
            } else {
                let values: Vec<ByteArray> = cells.flatten().map(ByteArray::from).collect();
                column.typed::<ByteArrayType>().write_batch(&values, Some(&levels), None)?;
            }
            column.close()?;
        }
        group.close()?;
    }
    writer.close()?;
    Ok(())
}

fn schema(columns: &[(String, bool)]) -> Result<Type, ParquetError> {
    let fields = columns.iter().map(|(name, is_number)| {
        let kind = if *is_number { PhysicalType::DOUBLE } else { PhysicalType::BYTE_ARRAY };
        let text = (!is_number).then_some(LogicalType::String);
        let field = Type::primitive_type_builder(name, kind).with_repetition(Repetition::OPTIONAL);
        field.with_logical_type(text).build().map(Arc::new)
    });
    Type::group_type_builder("table").with_fields(fields.collect::<Result<_, _>>()?).build()
}

#[cfg(test)]
mod tests {
    use super::super::lines::Left;
    use super::*;
    use parquet::file::reader::{FileReader, SerializedFileReader};
    use parquet::record::RowAccessor;
    use std::io::Seek;

    #[test]
    fn rows_can_be_read_back() {
        let format = RowFormat { model: "m".into(), classes: vec!["x".into(), "y".into()], exclusive: true };
        let header = super::super::lines::header(&format.classes).join(",");
        let text = format!(
            "{header}\na.png,0123456789abcdef,m,x,0.75,0.25,x,1.0e-6,20.1,0.1,0.1,0.1,0.1,0.1,cpu,1.2,,,\nb.png{}cut off\n",
            ",".repeat(18)
        );
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&Left::with_checks(text.as_bytes(), &format).unwrap()).unwrap();
        file.rewind().unwrap();
        let mut out = tempfile::tempfile().unwrap();
        write(&file, &format, &mut out).unwrap();
        let reader = SerializedFileReader::new(out).unwrap();
        let rows: Vec<_> = reader.get_row_iter(None).unwrap().map(Result::unwrap).collect();
        assert_eq!((rows.len(), reader.metadata().file_metadata().num_rows()), (2, 2));
        assert_eq!(
            (rows[0].get_string(0).unwrap().as_str(), rows[0].get_double(4).unwrap()),
            ("a.png", 0.75)
        );
        assert!(rows[1].get_double(4).is_err());
        assert_eq!(rows[1].get_string(18).unwrap(), "cut off");
    }
}
