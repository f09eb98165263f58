//! What can go wrong at the client.

use pleura_ring::sample::NoEntropy;

/// What can go wrong at the client.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ClientError {
    /// Two objects belong to different parameters.
    #[error("the object was made under other parameters; use the key that belongs to it")]
    ParamsMismatch,
    /// There is no such level.
    #[error("there is no level {level}; the parameters have levels 0 to {max}")]
    NoSuchLevel {
        /// The level asked for.
        level: usize,
        /// The highest one.
        max: usize,
    },
    /// A key would not be as secure as its parameters claim.
    #[error("a key at level {level} has a modulus of {log2_qp:.1} bits, too many for its degree")]
    InsecureKey {
        /// Its level.
        level: usize,
        /// Bits of its modulus.
        log2_qp: f64,
    },
    /// The system gives no randomness.
    #[error(transparent)]
    NoEntropy(#[from] NoEntropy),
}
