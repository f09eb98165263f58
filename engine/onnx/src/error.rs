//! Reasons to refuse a model as a whole, a tensor of it, or a node.

use crate::limits::{MAX_BYTES, MAX_OPSET, MIN_OPSET};
use crate::problem::Problem;

/// Reason to refuse a model.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ImportError {
    /// The ranges in the metadata are no JSON object of numbers.
    #[error(
        "the entry pleura.ranges of the metadata is no JSON object of names and numbers ({problem}); remove or correct it"
    )]
    Ranges {
        /// Message of the JSON parser.
        problem: String,
    },
    /// The file is too large.
    #[error("the model has {bytes} bytes; at most {MAX_BYTES} are supported")]
    TooLarge {
        /// Size of the file.
        bytes: usize,
    },
    /// The file is something else.
    #[error("this is no ONNX model: {0}")]
    NotOnnx(#[from] prost::DecodeError),
    /// The file is of another known format.
    #[error("this is {name} and no ONNX model; {advice}")]
    OtherFormat {
        /// Name of the format, with an article.
        name: &'static str,
        /// Advice to the user.
        advice: &'static str,
    },
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
    /// The version of the operators is newer than the importer.
    #[error(
        "the model uses version {found} of the operators, at most {MAX_OPSET} is known; export with opset_version=17"
    )]
    NewOperators {
        /// Version that the model uses.
        found: i64,
    },
    /// Two functions of the model have one name.
    #[error("two functions of the model have one name; export the model again")]
    DuplicateFunction,
    /// The graph has no output.
    #[error("the graph has no output; export the model again")]
    NoOutput,
    /// The graph has several outputs, and [`ImportOptions::output`](crate::ImportOptions::output) names none.
    #[error("the model has the outputs {}; choose one of them", quoted(names))]
    SeveralOutputs {
        /// Names of the outputs.
        names: Vec<String>,
    },
    /// The graph has no output of the name in the options.
    #[error("the model has no output {chosen:?}; choose one of its outputs: {}", quoted(names))]
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
        "the output depends on the inputs \"{}\" and \"{}\"; export a network with one input, the others as constants",
        inputs[0].escape_debug(), inputs[1].escape_debug()
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
    /// Several tensors and nodes cannot be imported.
    #[error("{}", list(.0))]
    Several(Vec<ImportError>),
}

impl ImportError {
    /// The reason, if a tensor, a node or the built network is refused; the first of several.
    pub fn problem(&self) -> Option<&Problem> {
        match self {
            Self::Network(problem) | Self::Tensor { problem, .. } | Self::Node { problem, .. } => {
                Some(problem)
            }
            Self::Several(errors) => errors.first()?.problem(),
            _ => None,
        }
    }
}

/// One line for each reason, with the first of those that it applies to.
fn list(errors: &[ImportError]) -> String {
    let mut groups: Vec<(&ImportError, usize)> = Vec::new();
    for error in errors {
        match groups.iter_mut().find(|(first, _)| first.is_like(error)) {
            Some((_, more)) => *more += 1,
            None => groups.push((error, 0)),
        }
    }
    let lines: Vec<String> = groups
        .iter()
        .map(|(first, more)| match (first, more) {
            (first, 0) => first.to_string(),
            (ImportError::Tensor { tensor, problem }, more) => {
                format!("{tensor:?} and {more} more: {problem}")
            }
            (ImportError::Node { name, op, problem }, more) => {
                format!("{name} and {more} more ({op}): {problem}")
            }
            (first, more) => format!("{first} ({more} more)"),
        })
        .collect();
    match lines.as_slice() {
        [only] => only.clone(),
        lines => format!("{} obstacles:\n  {}", lines.len(), lines.join("\n  ")),
    }
}

impl ImportError {
    /// Whether it is the same reason for another tensor, or for another node of the same operator.
    fn is_like(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Tensor { problem: a, .. }, Self::Tensor { problem: b, .. }) => a == b,
            (Self::Node { op: a, problem: p, .. }, Self::Node { op: b, problem: q, .. }) => a == b && p == q,
            _ => false,
        }
    }
}

/// Names in quotation marks.
fn quoted(names: &[String]) -> String {
    names.iter().map(|name| format!("{name:?}")).collect::<Vec<_>>().join(", ")
}
