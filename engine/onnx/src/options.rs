//! Choices that a model file leaves open.

use pleura_nn::NodeId;
use std::path::PathBuf;

/// Choices that a model file leaves open.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ImportOptions {
    /// Shape of one item, without the batch axis. Needed if the model leaves an axis open.
    pub input_shape: Option<Vec<usize>>,
    /// Name of the output to import. Needed if the model has several.
    pub output: Option<String>,
    /// Polynomials to put in place of activations. Without it, activations that are no polynomials are refused.
    pub fit: Option<Fit>,
    /// Directory of the files that hold weights outside the model, which is that of the model file. Without it, such models
    /// are refused.
    pub external_data: Option<PathBuf>,
}

/// How to approximate activations, see [`pleura_nn::fit()`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Fit {
    /// Degree of the polynomials.
    pub degree: usize,
    /// Lower end of the interval on which they approximate the activation.
    pub from: f64,
    /// Upper end of the interval on which they approximate the activation.
    pub to: f64,
}

/// An activation that a polynomial replaces, which is close to it on an interval and far from it outside.
#[derive(Clone, Debug, PartialEq)]
pub struct FittedActivation {
    /// Name of the activation's node in the model.
    pub name: String,
    /// Node of the network whose values reach the activation.
    pub operand: NodeId,
    /// Lower end of the interval.
    pub from: f64,
    /// Upper end of the interval.
    pub to: f64,
}
