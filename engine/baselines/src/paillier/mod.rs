//! Paillier's cryptosystem, and what was and what can be done with it.

mod fixed_base;
mod keys;
mod leakage;
mod linear;
mod linear_run;
mod packing;
mod picture;
mod published;
mod runs;
mod wire;

pub use keys::{Ciphertext, KEY_BITS, Plaintext, PublicKey, SecretKey};
pub use leakage::{Attack, Leakage, LeakageStep, Recovered};
pub use linear::{LinearScore, Quantized};
pub use linear_run::{LinearRun, LinearSeconds, LinearStep};
pub use packing::Packing;
pub use picture::EncryptedPicture;
pub use published::{Randomness, Stored, store};
/// Memory of secret bytes and plaintexts, erased when dropped.
pub use zeroize::Zeroizing;

use crate::random::NoEntropy;

/// Errors of Paillier's cryptosystem.
#[derive(Debug, thiserror::Error)]
pub enum PaillierError {
    /// A size of keys that is not for use.
    #[error("keys of {bits} bits are not offered; choose {}", KEY_BITS.map(|bits| bits.to_string()).join(" or "))]
    KeyBits {
        /// Size requested, in bits.
        bits: u32,
    },
    /// Factors that make no key.
    #[error("these numbers are no two primes of a key: {why}")]
    Primes {
        /// Reason, as the end of a sentence.
        why: &'static str,
    },
    /// A base that hides nothing.
    #[error(
        "the key's base makes no randomness: ciphertexts would show what is in them, or open to something else"
    )]
    Base,
    /// One image is nothing to attack with.
    #[error("an X-ray is attacked with the help of others: give two or more")]
    Alone,
    /// A plaintext beyond the modulus.
    #[error("the plaintext is not below the modulus")]
    Plaintext,
    /// A number that is no ciphertext under the key.
    #[error("this is no ciphertext under the key")]
    Ciphertext,
    /// Slots that do not fit.
    #[error("{slots} slots of {slot_bits} bits do not fit into a plaintext of {bits} bits")]
    Packing {
        /// Number of slots requested.
        slots: usize,
        /// Bits of a slot requested.
        slot_bits: u32,
        /// Bits of a plaintext.
        bits: u32,
    },
    /// A value beyond its slot.
    #[error("{value} does not fit into a slot of {slot_bits} bits")]
    Slot {
        /// The value.
        value: i64,
        /// The slot.
        slot_bits: u32,
    },
    /// Different numbers of things that belong together.
    #[error("{what}: {got} where there should be {expected}")]
    Length {
        /// Name of the items.
        what: &'static str,
        /// Number expected.
        expected: usize,
        /// Number given.
        got: usize,
    },
    /// A number is infinite or not a number.
    #[error("{what} are not all finite")]
    NotFinite {
        /// Name of the numbers.
        what: &'static str,
    },
    /// Images that are no squares of one size.
    #[error("image {index} has {pixels} pixels: all images must be squares of one size")]
    Square {
        /// Index of the first image that does not fit.
        index: usize,
        /// Number of its pixels.
        pixels: usize,
    },
    /// No randomness.
    #[error(transparent)]
    NoEntropy(#[from] NoEntropy),
    /// An impossible state: a mistake in this crate.
    #[error("{0}: this is a mistake in Pleura, please report it")]
    Internal(&'static str),
    /// The bytes are not such an object.
    #[error("these bytes are no {what}: {why}")]
    Bytes {
        /// Kind of object expected.
        what: &'static str,
        /// Reason, as the end of a sentence.
        why: &'static str,
    },
}
