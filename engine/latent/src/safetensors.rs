//! The safetensors container: a length, a JSON header, and the tensors' bytes.

use safetensors::{Dtype, SafeTensors};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use thiserror::Error;

/// Parsing takes memory in proportion.
const HEADER_LIMIT: u64 = 32 << 20;

pub(crate) type Metadata = BTreeMap<String, String>;

/// Why bytes are not a safetensors file.
#[derive(Debug, Error)]
#[error("{0}")]
pub struct SafetensorsError(String);

pub(crate) fn read(bytes: &[u8]) -> Result<(SafeTensors<'_>, Metadata), SafetensorsError> {
    let Some(length) = bytes.first_chunk() else {
        return Err(SafetensorsError(format!("it has {} bytes and no safetensors header", bytes.len())));
    };
    let header = u64::from_le_bytes(*length);
    if header > HEADER_LIMIT {
        return Err(SafetensorsError(format!(
            "it claims a header of {header} bytes, so it is no safetensors file of ours"
        )));
    }
    let damaged = |e| SafetensorsError(format!("it is damaged or no safetensors file ({e})"));
    let (_, header) = SafeTensors::read_metadata(bytes).map_err(damaged)?;
    let metadata = header.metadata().iter().flatten().map(|(k, v)| (k.clone(), v.clone())).collect();
    Ok((SafeTensors::deserialize(bytes).map_err(damaged)?, metadata))
}

/// A file of one tensor; the same bytes for the same content.
pub(crate) fn write(name: &str, dtype: Dtype, shape: &[usize], data: &[u8], metadata: &Metadata) -> Vec<u8> {
    let tensor = json!({ "dtype": format!("{dtype:?}"), "shape": shape, "data_offsets": [0, data.len()] });
    let header: BTreeMap<&str, Value> = [("__metadata__", json!(metadata)), (name, tensor)].into();
    let mut header = json!(header).to_string();
    // The tensor shall start at a multiple of eight.
    header.push_str(&" ".repeat(header.len().next_multiple_of(8) - header.len()));
    let mut out = (header.len() as u64).to_le_bytes().to_vec();
    out.extend_from_slice(header.as_bytes());
    out.extend_from_slice(data);
    out
}

pub(crate) fn singles(data: &[u8]) -> Vec<f32> {
    data.as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect()
}
