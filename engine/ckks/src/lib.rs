//! RNS-CKKS.
//!
//! ```
//! ```

mod client;
mod encode;
mod objects;
mod params;
mod precision;
mod security;
mod server;
mod wire;

pub use client::{ClientError, Decrypted, PublishError, SecretKey};
pub use encode::{EncodeError, Encoder, Plaintext};
pub use num_complex::Complex64;
pub use objects::{Ciphertext, EvaluationKeys, KeyRequest, PublicKey, SwitchingKey};
pub use params::{Literal, Params, ParamsError};
pub use precision::Precision;
pub use security::Security;
pub use server::{
    Basis, Ciphertexts, EvalError, Evaluator, LinearTransform, Polynomial, PolynomialError, PreparedKeys,
    PreparedPlaintext, PreparedTransform, TransformError,
};
pub use wire::WireError;
