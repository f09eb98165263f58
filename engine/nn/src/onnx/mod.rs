//! Import of ONNX models: from any network that is sums, products and polynomials to a [`Network`].
//!
//! A model may come from anywhere. Nothing here trusts it: names, shapes and sizes are checked before use, and an
//! error says which node is wrong and what to do.

mod activation;
mod arithmetic;
mod budget;
mod builder;
mod constant;
mod extent;
mod graph;
mod importer;
mod layers;
mod polynomial;
mod pool;
#[doc(hidden)]
pub mod proto;
mod reduce;
mod shape;
mod structure;
mod view;
mod window;

use crate::Network;
use graph::Graph;
use prost::Message;
use std::collections::BTreeMap;

/// Largest file, in bytes.
const MAX_BYTES: usize = 1 << 30;
/// Oldest version of the operators.
const MIN_OPSET: i64 = 6;

/// What the file does not say.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ImportOptions {
    /// The shape of an item, if the model leaves it open.
    pub input_shape: Option<Vec<usize>>,
    /// Which output, if the model has several.
    pub output: Option<String>,
    /// Polynomials to put in place of activations; without, those are refused.
    pub fit: Option<Fit>,
}

/// How to approximate activations, see [`crate::fit()`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Fit {
    /// Degree of the polynomials.
    pub degree: usize,
    /// Least argument they are good for.
    pub from: f64,
    /// Greatest argument they are good for.
    pub to: f64,
}

/// A model that was read.
#[derive(Clone, Debug, PartialEq)]
pub struct Imported {
    /// The network.
    pub network: Network,
    /// Where it differs from the model: what was dropped or approximated, a sentence each.
    pub notes: Vec<String>,
    /// What its author wrote into the file, by name.
    pub metadata: BTreeMap<String, String>,
}

/// Why a model cannot be imported.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ImportError {
    /// Too large.
    #[error("the model has {bytes} bytes; at most {MAX_BYTES} are supported")]
    TooLarge {
        /// Its size.
        bytes: usize,
    },
    /// Something else.
    #[error("this is no ONNX model: {0}")]
    NotOnnx(#[from] prost::DecodeError),
    /// The model as a whole.
    #[error("{0}")]
    Model(String),
    /// An input or a constant.
    #[error("{tensor:?}: {problem}")]
    Tensor {
        /// Its name.
        tensor: String,
        /// What is wrong and what to do.
        problem: String,
    },
    /// A node.
    #[error("{name} ({op}): {problem}")]
    Node {
        /// Its name.
        name: String,
        /// Its operator.
        op: String,
        /// What is wrong and what to do.
        problem: String,
    },
}

impl Network {
    /// Reads an ONNX model. The first axis of its input is the batch; the network is what happens to one item.
    ///
    /// # Errors
    /// [`ImportError`] names what is wrong and says what to do.
    pub fn from_onnx(bytes: &[u8], options: &ImportOptions) -> Result<Imported, ImportError> {
        if bytes.len() > MAX_BYTES {
            return Err(ImportError::TooLarge { bytes: bytes.len() });
        }
        let model = proto::Model::decode(bytes)?;
        let graph = model.graph.as_ref();
        let graph = graph
            .ok_or_else(|| ImportError::Model("the file has no graph; export the model again".into()))?;
        let version = model.opset_import.iter().find(|set| matches!(set.domain.as_str(), "" | "ai.onnx"));
        let opset = version.map(|set| set.version).ok_or_else(|| {
            ImportError::Model("the model uses no standard operators; export a neural network".into())
        })?;
        if opset < MIN_OPSET {
            return Err(ImportError::Model(format!(
                "the model uses version {opset} of the operators; export with opset_version=17 or so"
            )));
        }
        let named = model.metadata_props.iter().find(|entry| entry.key == "name");
        let name = named.map_or_else(|| graph.name.clone(), |entry| entry.value.clone());
        let (network, notes) = importer::import(name, &Graph::new(graph, options)?, opset, options)?;
        let metadata = model.metadata_props.into_iter().map(|entry| (entry.key, entry.value)).collect();
        Ok(Imported { network, notes, metadata })
    }
}
