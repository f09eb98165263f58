//! Imports a model and evaluates the plaintext network on items, scores included.
//!
//! usage: `evaluate MODEL.onnx INPUT.npy OUTPUT.npy [keep-activations]`, the files in float64; the last word keeps
//! functions that ciphertexts cannot compute. Notes of the importer go to standard output. The exit code is 2 if the
//! model is refused.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command-line tool")]

use ndarray::ArrayD;
use pleura_onnx::{ImportError, ImportOptions, import};
use std::error::Error;
use std::path::Path;
use std::process::ExitCode;

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [model, input, output, flags @ ..] = args.as_slice() else {
        return Err("usage: evaluate MODEL.onnx INPUT.npy OUTPUT.npy [keep-activations]".into());
    };
    let keep_activations = flags == ["keep-activations"];
    let external_data = Path::new(model).parent().map(Path::to_path_buf);
    let options = ImportOptions { keep_activations, external_data, ..ImportOptions::default() };
    let imported = match import(&std::fs::read(model)?, &options) {
        Err(error @ ImportError::NotOnnx(_)) => return Err(error.into()),
        Err(error) => {
            eprintln!("{error}");
            return Ok(ExitCode::from(2));
        }
        Ok(imported) => imported,
    };
    imported.notes.iter().for_each(|note| println!("{note}"));
    let items = read(&std::fs::read(input)?)?;
    let result = imported.network.evaluate(items.view())?;
    std::fs::write(output, write(&imported.scores.apply(result.view())))?;
    Ok(ExitCode::SUCCESS)
}

/// An array of an npy file in float64 and C order.
fn read(bytes: &[u8]) -> Result<ArrayD<f64>, Box<dyn Error>> {
    let length = bytes.get(8..10).ok_or("no npy file")?;
    let start = 10 + usize::from(u16::from_le_bytes(length.try_into()?));
    let header = std::str::from_utf8(bytes.get(10..start).ok_or("no npy file")?)?;
    if !header.contains("'<f8'") || !header.contains("'fortran_order': False") {
        return Err("the array is not of float64 in C order".into());
    }
    let (_, shape) = header.split_once("'shape': (").ok_or("no shape")?;
    let (shape, _) = shape.split_once(')').ok_or("no shape")?;
    let extents = shape.split(',').map(str::trim).filter(|text| !text.is_empty());
    let shape: Vec<usize> = extents.map(str::parse).collect::<Result<_, _>>()?;
    let (values, _) = bytes.get(start..).unwrap_or_default().as_chunks::<8>();
    Ok(ArrayD::from_shape_vec(shape, values.iter().map(|&x| f64::from_le_bytes(x)).collect())?)
}

fn write(array: &ArrayD<f64>) -> Vec<u8> {
    let shape: String = array.shape().iter().map(|extent| format!("{extent}, ")).collect();
    let mut header = format!("{{'descr': '<f8', 'fortran_order': False, 'shape': ({shape}), }}");
    let padding = 63 - (10 + header.len()) % 64;
    header.extend(std::iter::repeat_n(' ', padding));
    header.push('\n');
    let mut out = b"\x93NUMPY\x01\x00".to_vec();
    out.extend((header.len() as u16).to_le_bytes());
    out.extend(header.bytes());
    out.extend(array.iter().flat_map(|x| x.to_le_bytes()));
    out
}
