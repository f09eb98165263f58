//! Errors of the client.

use pleura_ring::sample::NoEntropy;

/// Errors of the client.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ClientError {
    /// Two objects belong to different parameters.
    #[error("the object was made under other parameters; use the key that belongs to it")]
    ParamsMismatch,
    /// There is no such level.
    #[error("there is no level {level}; the parameters have levels 0 to {max}")]
    NoSuchLevel {
        /// Level requested.
        level: usize,
        /// Highest level.
        max: usize,
    },
    /// A key would not be as secure as its parameters claim.
    #[error("a key at level {level} has a modulus of {log2_qp:.1} bits, too many for its degree")]
    InsecureKey {
        /// Level of the ciphertext.
        level: usize,
        /// Bits of its modulus.
        log2_qp: f64,
    },
    /// The system gives no randomness.
    #[error(transparent)]
    NoEntropy(#[from] NoEntropy),
}
