//! Errors of reading bytes.

use crate::ParamsError;

/// Why bytes are not the object that was expected.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum WireError {
    /// The bytes do not start with `PLEU`.
    #[error(
        "the bytes do not start with `PLEU`: they are not an object of this library, or were encoded again"
    )]
    BadMagic,
    /// The format has another version than this build reads.
    #[error(
        "the bytes hold {kind} in version {got} of the format, and this build reads version {supported}: make the object again with this \
         build, or use one release on both sides"
    )]
    UnsupportedVersion {
        /// Kind of object.
        kind: &'static str,
        /// The version found.
        got: u16,
        /// The version this build reads.
        supported: u16,
    },
    /// The bytes hold an object of another kind.
    #[error("the bytes hold {got}, not {expected}")]
    WrongKind {
        /// Kind of object requested.
        expected: &'static str,
        /// Kind of object found.
        got: &'static str,
    },
    /// The object was made under other parameters, or the parameters derived from a literal have another hash.
    #[error("the object was made under other parameters; read it with the parameters it was made under")]
    ParamsMismatch,
    /// There are too few or too many bytes.
    #[error("{got} bytes where {expected} are needed: the object was cut short, or something follows it")]
    Length {
        /// Size of the object in bytes, or of the part that determines it.
        expected: u64,
        /// Bytes given.
        got: u64,
    },
    /// A number is out of its range.
    #[error("{field} is {value}; it must be {min} to {max}")]
    BadField {
        /// Name of the number.
        field: &'static str,
        /// The value read.
        value: u64,
        /// Smallest valid value.
        min: u64,
        /// Largest valid value.
        max: u64,
    },
    /// The scale is no number, less than 1, or more than the modulus.
    #[error("the scale is {scale:e}; it must be 1 to 2^{log2_q:.1}, the modulus at its level")]
    BadScale {
        /// The scale.
        scale: f64,
        /// Bits of the modulus.
        log2_q: f64,
    },
    /// A word is no residue.
    #[error("{value} is not a residue modulo {prime}; the bytes were damaged")]
    Residue {
        /// The prime.
        prime: u32,
        /// The word.
        value: u32,
    },
    /// A key belongs to no automorphism, to one that needs no key, or is out of order.
    #[error(
        "no key of X -> X^{exponent} can come next: exponents are odd, those of automorphisms other than 1, and increase"
    )]
    BadExponent {
        /// The exponent.
        exponent: u32,
    },
    /// The parameters promise no security.
    #[error("the parameters promise no security; tests read them with `Params::from_bytes_allow_insecure`")]
    InsecureParams,
    /// The parameters are not valid, or a key is not as secure as they claim.
    #[error(transparent)]
    Params(#[from] ParamsError),
}
