//! Limits: a small file must not make a large network by broadcasting, padding or repeating.

/// Largest accepted file, in bytes.
pub(crate) const MAX_BYTES: usize = 1 << 30;
/// Oldest supported version of the operators.
pub(crate) const MIN_OPSET: i64 = 6;
/// Most axes a tensor may have.
pub(crate) const MAX_RANK: usize = 8;
/// Most elements of a tensor in the file.
pub(crate) const MAX_CONSTANT: usize = 1 << 28;
/// Newest version of the operators that was looked at.
pub(crate) const MAX_OPSET: i64 = 28;
/// Most elements of a tensor that depends on the input, or is computed from constants.
pub(crate) const MAX_ELEMENTS: usize = 1 << 24;
/// Most elements of a tensor that depends on the input, which a plan searches layouts for.
pub(crate) const MAX_ACTIVATION: usize = 1 << 21;
/// Most elements of all tensors that depend on the input.
pub(crate) const MAX_ACTIVATIONS: usize = 1 << 24;
/// Most elements of all that is made while importing.
pub(crate) const MAX_TOTAL: usize = 1 << 27;
