//! Errors of the server.

use crate::EncodeError;
use pleura_ring::BackendError;

/// Why an operation on ciphertexts was refused or failed.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum EvalError {
    /// An operand belongs to other parameters.
    #[error("an operand was made under other parameters")]
    ParamsMismatch,
    /// Operands differ in what must be equal.
    #[error("{what} differ: {left} and {right}")]
    Mismatch {
        /// Name of the attribute that differs.
        what: &'static str,
        /// Attribute of the left operand.
        left: usize,
        /// Attribute of the right operand.
        right: usize,
    },
    /// Scales differ by more than rounding.
    #[error("scales differ: 2^{left:.3} and 2^{right:.3}; bring both to one level's scale with `to_level`")]
    ScaleMismatch {
        /// `log2` of the left operand's.
        left: f64,
        /// `log2` of the right operand's.
        right: f64,
    },
    /// A product's scale does not fit the modulus that is left.
    #[error(
        "a scale of 2^{log2_scale:.1} does not fit the modulus of 2^{log2_q:.1} at this level; rescale first, or start with more levels"
    )]
    ScaleTooLarge {
        /// `log2` of the scale.
        log2_scale: f64,
        /// `log2` of the modulus.
        log2_q: f64,
    },
    /// An inner sum is over no power of two of slots.
    #[error("an inner sum of {count} slots; it must be a power of two, at most {max}")]
    BadCount {
        /// Slots requested.
        count: usize,
        /// Slots of the ciphertext.
        max: usize,
    },
    /// An operation needs more levels than are left.
    #[error("the operation needs {needed} levels and the ciphertext has {level}")]
    OutOfLevels {
        /// Levels that the operation takes.
        needed: usize,
        /// Levels of the ciphertext.
        level: usize,
    },
    /// More primes would be divided by at once than a backend can.
    #[error("cannot divide by {dropped} primes at once, only by {max}: go down in steps")]
    TooManyPrimes {
        /// Primes between the levels, special ones included.
        dropped: usize,
        /// Largest number of primes in one division.
        max: usize,
    },
    /// An evaluation key is missing, or was made for lower levels.
    #[error("the key for {what} at level {level} is missing; ask for it in the `KeyRequest`")]
    MissingKey {
        /// Use of the key.
        what: String,
        /// The level it is needed at.
        level: usize,
    },
    /// No ciphertext was given.
    #[error("there is no ciphertext to work on")]
    Empty,
    /// A ciphertext has the wrong number of parts.
    #[error("the ciphertext has {got} parts where {expected} are needed; relinearize products first")]
    Parts {
        /// Parts that the operation takes.
        expected: usize,
        /// Parts of the ciphertext.
        got: usize,
    },
    /// A constant is not finite, or too large at its scale.
    #[error("the constant {value} at the scale 2^{log2_scale:.1} has no exact integer")]
    BadConstant {
        /// The constant.
        value: f64,
        /// `log2` of the scale.
        log2_scale: f64,
    },
    /// A linear transform does not fit the parameters.
    #[error(transparent)]
    Transform(#[from] TransformError),
    /// A plaintext cannot be encoded.
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// The device failed.
    #[error(transparent)]
    Backend(#[from] BackendError),
}

/// Why a linear transform was refused.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum TransformError {
    /// The number of slots is no power of two up to that of the parameters.
    #[error("{slots} slots; it must be a power of two, at most {max}")]
    BadSlots {
        /// Slots requested.
        slots: usize,
        /// Largest valid number.
        max: usize,
    },
    /// A diagonal has the wrong length.
    #[error("diagonal {index} has {got} entries; it needs {slots}")]
    BadDiagonal {
        /// Index of the diagonal.
        index: i64,
        /// Number of entries of the diagonal.
        got: usize,
        /// Entries needed.
        slots: usize,
    },
    /// There is no diagonal.
    #[error("a linear transform needs at least one diagonal")]
    Empty,
    /// A diagonal names an input, an output or a step that does not exist.
    #[error("diagonal {index} names an input, an output or a step that does not exist")]
    BadIndex {
        /// Position of the diagonal.
        index: usize,
    },
    /// The result's level is not below the operand's.
    #[error("a linear transform from level {level} to {to}; it must lead down")]
    BadTarget {
        /// The operand's level.
        level: usize,
        /// The result's.
        to: usize,
    },
    /// The level is 0, where nothing can be divided, or above the parameters' highest.
    #[error("a linear transform at level {level}; levels 1 to {max} are possible")]
    BadLevel {
        /// Level asked for.
        level: usize,
        /// Highest level.
        max: usize,
    },
}
