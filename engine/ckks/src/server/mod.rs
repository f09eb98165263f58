//! The server's half: it computes on ciphertexts with public keys, on any [`Backend`], and cannot decrypt.

mod error;
mod evaluator;
mod load;
mod matrix;
mod objects;
mod polynomial;
mod switching;
mod transfer;
mod transform;

pub use error::{EvalError, TransformError};
pub use evaluator::Evaluator;
pub use load::KeyLoadError;
pub use matrix::MatrixTransform;
pub use objects::{CiphertextBatch, PreparedKey, PreparedKeys, PreparedPlaintext};
pub use polynomial::{Basis, Polynomial, PolynomialError};
pub use transfer::CiphertextDownload;
pub use transform::{BlockLinearTransform, Diagonal, LinearTransform, PreparedTransform};
