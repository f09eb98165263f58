//! Errors of compiling, reading and running plans.

use crate::layout::{MAX_CIPHERTEXTS, MAX_WEIGHTS};
use crate::{BatchLayout, FitError};
use pleura_ckks::{ClientError, EncodeError, EvalError, ParamsError, PublishError, WireError};

/// Largest magnitude of the logarithm, to base two, of a range that a plan states.
pub(crate) const MAX_LOG2_RANGE: f64 = 200.0;

/// Why a network has no plan.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum CompileError {
    /// No parameter set is deep enough.
    #[error(
        "the network needs {levels} levels, which no degree up to 2^17 carries with {security}-bit security; use fewer or lower-degree activations"
    )]
    TooDeep {
        /// Primes consumed.
        levels: usize,
        /// Requested bits of security.
        security: u32,
    },
    /// No layout is as precise as requested.
    #[error(
        "no layout is predicted to have {requested} bits of precision; the most precise one has {most:.1}, so ask for fewer"
    )]
    Precision {
        /// Requested bits of precision.
        requested: f64,
        /// Predicted bits of precision of the most precise layout.
        most: f64,
    },
    /// A layout has a ciphertext for each element, and a tensor has too many of them.
    #[error(
        "a ciphertext for each element would be more than {MAX_CIPHERTEXTS} ciphertexts, or more weights than a plan holds"
    )]
    TooManyElements,
    /// Every layout has too many weights.
    #[error(
        "{node}: its weights would take {weights} numbers in ciphertext slots, and plans have up to {MAX_WEIGHTS}; use smaller \
         planes, fewer channels or features, or groups"
    )]
    TooManyWeights {
        /// Name of the layer with most of them.
        node: String,
        /// Numbers that the plan with the fewest of them would have.
        weights: usize,
    },
    /// A layout of a batch does not fit the network.
    #[error("{layout}: {reason}")]
    Layout {
        /// The layout.
        layout: BatchLayout,
        /// Why it is not possible.
        reason: &'static str,
    },
    /// A calibration item has another shape than the network's input.
    #[error("calibration items have shape {got:?}; the network takes items of shape {expected:?}")]
    CalibrationShape {
        /// Shape of an item of the network's input.
        expected: Vec<usize>,
        /// Shape of a calibration item.
        got: Vec<usize>,
    },
    /// A calibration item has a value that is not finite.
    #[error("calibration item {item} has a value that is not finite")]
    CalibrationValue {
        /// Position of the item.
        item: usize,
    },
    /// A known range is no positive number.
    #[error("the range of {node} is {range}, and ranges are positive numbers")]
    Range {
        /// Name of the node.
        node: String,
        /// The range.
        range: f64,
    },
    /// The plaintext network overflows on the calibration items.
    #[error(
        "{node}: values are not finite on the calibration items; check the weights, or give typical inputs to calibrate with"
    )]
    Diverges {
        /// Name of the node.
        node: String,
    },
    /// Inputs or results are larger or smaller than a plan can state.
    #[error(
        "{node}: values of {range:.1e} are beyond the 2^-{MAX_LOG2_RANGE} to 2^{MAX_LOG2_RANGE} of a plan; check the weights, or give typical inputs to calibrate with"
    )]
    Magnitude {
        /// Name of the node.
        node: String,
        /// Largest magnitude on the calibration items.
        range: f64,
    },
    /// An activation that ciphertexts cannot compute.
    #[error("{node}: ciphertexts cannot compute {function}; fit a polynomial to it first")]
    Activation {
        /// Name of the node.
        node: String,
        /// Name of the function.
        function: &'static str,
    },
    /// No polynomial replaces an activation.
    #[error("{node}: {source}")]
    Fit {
        /// Name of the node.
        node: String,
        /// Reason.
        source: FitError,
    },
    /// The error of a polynomial's coefficients and powers is too large a part of its range.
    #[error(
        "{node}: a polynomial of degree {degree} keeps only {bits} bits on this range of values; use a lower degree or a smaller range"
    )]
    Imprecise {
        /// Name of the node.
        node: String,
        /// Degree of the polynomial.
        degree: usize,
        /// Bits of the result's range that are left, by prediction.
        bits: i32,
    },
    /// A step of the plan differs from the plaintext network.
    #[error(
        "the plan does not compute the network: {node} is off by {error:.1e} of its range, which is a bug of the compiler"
    )]
    Mismatch {
        /// Name of the node.
        node: String,
        /// Largest error, in units of the node's range.
        error: f64,
    },
    /// Weights that are too large for the ranges of their operands and results.
    #[error(
        "{node}: its weights need {bits:.0} bits besides those of its operands, and there is room for {room:.0}: operands differ much in size or cancel; \
         standardize the inputs, or give typical inputs to calibrate with, by which they are scaled"
    )]
    Weights {
        /// Name of the node.
        node: String,
        /// Bits that are needed.
        bits: f64,
        /// Bits that there is room for.
        room: f64,
    },
    /// Weights that have no encoding.
    #[error("{node}: {source}")]
    Encode {
        /// Name of the node.
        node: String,
        /// Reason.
        source: EncodeError,
    },
    /// The parameters are refused.
    #[error(transparent)]
    Params(#[from] ParamsError),
    /// The compiler contradicts itself.
    #[error("internal error of the compiler: {0}; please report it with the network")]
    Internal(&'static str),
}

/// Why bytes are not the plan or the client specification that was expected.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum PlanFileError {
    /// The envelope, the parameters or the key request are wrong.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// The digest at the end is not that of the bytes before it.
    #[error("the bytes were damaged: their digest does not match; write the file again")]
    Digest,
    /// The description does not parse.
    #[error(
        "the description does not parse: the bytes were damaged or made by another release; compile again"
    )]
    Description,
    /// A part of the description contradicts another.
    #[error("{what} is not valid; compile the network again")]
    Invalid {
        /// Part of the description.
        what: &'static str,
    },
    /// A client specification belongs to another plan.
    #[error(
        "the client specification belongs to plan {expected}, and this is plan {got}; use files of one export"
    )]
    OtherPlan {
        /// First digits of the digest of the specification's plan.
        expected: String,
        /// First digits of the digest of the plan that was given.
        got: String,
    },
    /// The serializer contradicts itself.
    #[error("internal error: {0}; please report it with the network")]
    Internal(&'static str),
}

/// Failure between a plan and its result.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum InferenceError {
    /// Items have another shape than the network's input.
    #[error("items have shape {got:?}; the network takes items of shape {expected:?} after the batch axis")]
    ItemShape {
        /// Shape of an item of the network's input.
        expected: Vec<usize>,
        /// Shape of an item that was given.
        got: Vec<usize>,
    },
    /// An item has a value that is not finite.
    #[error("item {item} has a value that is not finite")]
    ItemValue {
        /// Position of the item.
        item: usize,
    },
    /// The ciphertexts are not a whole number of items.
    #[error("{got} ciphertexts are no whole number of items, which have {expected} each")]
    CiphertextCount {
        /// Ciphertexts of an item.
        expected: usize,
        /// Ciphertexts given.
        got: usize,
    },
    /// Ciphertexts that no client of this plan encrypts.
    #[error("a ciphertext has {what} {got}; clients of this plan send {expected}")]
    CiphertextForm {
        /// Attribute of the ciphertext.
        what: &'static str,
        /// Value that the plan needs.
        expected: String,
        /// Value that was given.
        got: String,
    },
    /// The client failed.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// Rounding would not hide the noise.
    #[error(transparent)]
    Publish(#[from] PublishError),
    /// A value cannot be encoded.
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// The server failed.
    #[error(transparent)]
    Eval(#[from] EvalError),
    /// The plan contradicts itself.
    #[error("internal error of the server: {0}; please report it with the plan")]
    Internal(&'static str),
}
