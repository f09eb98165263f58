//! From the bytes of a file to a network.

use crate::graph::Graph;
use crate::importer::Built;
use crate::limits::{MAX_BYTES, MAX_OPSET, MIN_OPSET};
use crate::{ImportError, ImportOptions, functions, importer, proto};
use pleura_nn::{Network, ScoreTransform};
use prost::Message;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// Entry of the metadata with the ranges of values.
const RANGES: &str = "pleura.ranges";

/// An imported model.
#[derive(Clone, Debug, PartialEq)]
pub struct Imported {
    /// The network.
    pub network: Network,
    /// Function at the end of the model that is no part of the network: the client applies it to decrypted scores.
    pub scores: ScoreTransform,
    /// Files that weights were read from, see [`ImportOptions::external_data`].
    pub external_files: Vec<PathBuf>,
    /// Differences from the model, one sentence each: what was approximated.
    pub notes: Vec<String>,
    /// Entries of the model's `metadata_props`, by name.
    pub metadata: BTreeMap<String, String>,
    /// Largest magnitudes at nodes by their names, from the entry `pleura.ranges` of the metadata, a JSON object; for
    /// [`CompileOptions::ranges`](pleura_nn::CompileOptions::ranges).
    pub ranges: BTreeMap<String, f64>,
}

/// Imports an ONNX model. The first axis of its input is the batch; the network is what happens to one item.
///
/// # Errors
/// [`ImportError`] names the node or tensor that is refused, and says what to do.
///
/// ```
/// use pleura_onnx::{ImportOptions, import};
///
/// let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../models/reference/mlp.onnx");
/// let network = import(&std::fs::read(file)?, &ImportOptions::default())?.network;
/// let item = vec![0.5; network.input_shape().iter().product()];
/// assert_eq!(network.evaluate_flat(&item).len(), 10);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn import(bytes: &[u8], options: &ImportOptions) -> Result<Imported, ImportError> {
    if bytes.len() > MAX_BYTES {
        return Err(ImportError::TooLarge { bytes: bytes.len() });
    }
    if let Some((name, advice)) = other_format(bytes) {
        return Err(ImportError::OtherFormat { name, advice });
    }
    let mut model = proto::Model::decode(bytes)?;
    if model.graph.is_none() {
        return Err(ImportError::NoGraph);
    }
    let version = model.opset_import.iter().find(|set| matches!(set.domain.as_str(), "" | "ai.onnx"));
    let opset = version.map(|set| set.version).ok_or(ImportError::NoOperators)?;
    if opset < MIN_OPSET {
        return Err(ImportError::OldOperators { found: opset });
    }
    if opset > MAX_OPSET {
        return Err(ImportError::NewOperators { found: opset });
    }
    functions::inline(&mut model, opset)?;
    let graph = model.graph.as_ref().ok_or(ImportError::NoGraph)?;
    let named = model.metadata_props.iter().find(|entry| entry.key == "name");
    let name = named.map_or_else(|| graph.name.clone(), |entry| entry.value.clone());
    let Built { network, scores, notes, external_files } =
        importer::import(name, &Graph::new(graph, options)?, opset, options)?;
    let metadata: BTreeMap<_, _> =
        model.metadata_props.into_iter().map(|entry| (entry.key, entry.value)).collect();
    let ranges = metadata.get(RANGES).map(|text| serde_json::from_str(text));
    let ranges = ranges.transpose().map_err(|error| ImportError::Ranges { problem: error.to_string() })?;
    Ok(Imported { network, scores, external_files, notes, metadata, ranges: ranges.unwrap_or_default() })
}

/// The name of a format that is often mistaken for ONNX, if bytes begin like it, and what to do.
fn other_format(bytes: &[u8]) -> Option<(&'static str, &'static str)> {
    const EXPORT: &str = "export the network with torch.onnx.export";
    const CONVERT: &str = "convert the network with tf2onnx";
    const NAME: &str = "name the ONNX file of a network";
    const UNPACK: &str =
        "unpack it and name the ONNX file inside; a checkpoint of PyTorch is exported with torch.onnx.export";
    let known: [(usize, &[u8], &'static str, &'static str); 13] = [
        (0, b"PK\x03\x04", "a ZIP archive", UNPACK),
        (0, b"PK\x05\x06", "an empty ZIP archive", NAME),
        (0, b"\x1f\x8b", "a gzip archive", "unpack it and name the ONNX file inside"),
        (0, b"\x80\x02", "a pickle, as of PyTorch", EXPORT),
        (0, b"\x80\x04", "a pickle, as of PyTorch", EXPORT),
        (0, b"\x89HDF", "an HDF5 file, as of Keras", CONVERT),
        (4, b"TFL3", "a model of TensorFlow Lite", CONVERT),
        (0, b"GGUF", "a GGUF file", NAME),
        (8, b"{\"", "a safetensors file, which has weights and no network", EXPORT),
        (0, b"\x93NUMPY", "a NumPy array", NAME),
        (0, b"\x89PNG", "a PNG image", NAME),
        (0, b"\xff\xd8\xff", "a JPEG image", NAME),
        (0, b"version https://git-lfs", "a pointer of Git LFS", "fetch the file itself with git lfs pull"),
    ];
    let begins = |at: usize, magic: &[u8]| bytes.get(at..).is_some_and(|rest| rest.starts_with(magic));
    known.iter().find(|(at, magic, ..)| begins(*at, magic)).map(|(.., name, advice)| (*name, *advice))
}
