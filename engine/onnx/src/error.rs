//! Reasons to refuse a model as a whole, a tensor of it, or a node.

use crate::limits::{MAX_BYTES, MIN_OPSET};
use crate::problem::Problem;

/// Reason to refuse a model.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ImportError {
    /// The file is too large.
    #[error("the model has {bytes} bytes; at most {MAX_BYTES} are supported")]
    TooLarge {
        /// Size of the file.
        bytes: usize,
    },
    /// The file is something else.
    #[error("this is no ONNX model: {0}")]
    NotOnnx(#[from] prost::DecodeError),
    /// The file contains no graph.
    #[error("the file has no graph; export the model again")]
    NoGraph,
    /// The model imports no version of ONNX's own operators.
    #[error("the model uses no standard operators; export a neural network")]
    NoOperators,
    /// The version of the operators is too old.
    #[error(
        "the model uses version {found} of the operators, at least {MIN_OPSET} is needed; export with opset_version=17"
    )]
    OldOperators {
        /// Version that the model uses.
        found: i64,
    },
    /// The graph has no output.
    #[error("the graph has no output; export the model again")]
    NoOutput,
    /// The graph has several outputs, and the options name none.
    #[error("the model has the outputs {names:?}; set `ImportOptions::output` to one of them")]
    SeveralOutputs {
        /// Names of the outputs.
        names: Vec<String>,
    },
    /// The graph has no output of the name in the options.
    #[error("the model has no output {chosen:?}; set `ImportOptions::output` to one of {names:?}")]
    UnknownOutput {
        /// Name in the options.
        chosen: String,
        /// Names of the outputs.
        names: Vec<String>,
    },
    /// No node makes the output.
    #[error("the output {output:?} is not defined by any node; export the model again")]
    UndefinedOutput {
        /// Name of the output.
        output: String,
    },
    /// The output is constant.
    #[error("the output {output:?} does not depend on any input; export the network with its input")]
    ConstantOutput {
        /// Name of the output.
        output: String,
    },
    /// The output depends on several inputs.
    #[error(
        "the output depends on the inputs {:?} and {:?}; export a network with one input, the others as constants",
        inputs[0], inputs[1]
    )]
    SeveralInputs {
        /// Names of two of the inputs.
        inputs: [String; 2],
    },
    /// The network as a whole cannot be built.
    #[error("the network cannot be built: {0}")]
    Network(Problem),
    /// An input or a constant cannot be imported.
    #[error("{tensor:?}: {problem}")]
    Tensor {
        /// Name of the input or constant.
        tensor: String,
        /// The reason.
        problem: Problem,
    },
    /// A node cannot be imported.
    #[error("{name} ({op}): {problem}")]
    Node {
        /// Name of the node.
        name: String,
        /// Operator of the node.
        op: String,
        /// The reason.
        problem: Problem,
    },
}

impl ImportError {
    /// The reason, if a tensor, a node or the built network is refused.
    pub fn problem(&self) -> Option<&Problem> {
        match self {
            Self::Network(problem) | Self::Tensor { problem, .. } | Self::Node { problem, .. } => {
                Some(problem)
            }
            _ => None,
        }
    }
}
