//! Choices that a model file leaves open.

use std::path::PathBuf;

/// Choices that a model file leaves open.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ImportOptions {
    /// Shape of one item, without the batch axis. Needed if the model leaves an axis open.
    pub input_shape: Option<Vec<usize>>,
    /// Name of the output to import. Needed if the model has several.
    pub output: Option<String>,
    /// Whether activations that ciphertexts cannot compute are kept, for [`pleura_nn::Network::fit_activations`] to
    /// replace. Otherwise such models are refused.
    pub keep_activations: bool,
    /// Directory of the files that hold weights outside the model, which is that of the model file. Without it, such
    /// models are refused.
    pub external_data: Option<PathBuf>,
}
