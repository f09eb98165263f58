//! Reasons to refuse a model.

/// Largest accepted file, in bytes.
pub(crate) const MAX_BYTES: usize = 1 << 30;

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
    /// The model as a whole cannot be imported.
    #[error("{0}")]
    Model(String),
    /// An input or a constant cannot be imported.
    #[error("{tensor:?}: {problem}")]
    Tensor {
        /// Name of the input or constant.
        tensor: String,
        /// The problem, and what to do.
        problem: String,
    },
    /// A node cannot be imported.
    #[error("{name} ({op}): {problem}")]
    Node {
        /// Name of the node.
        name: String,
        /// Operator of the node.
        op: String,
        /// The problem, and what to do.
        problem: String,
    },
}
