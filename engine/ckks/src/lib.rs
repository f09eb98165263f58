//! RNS-CKKS: approximate arithmetic on encrypted vectors.
//!
//! # Mathematics
//! A vector of `n/2` complex numbers is the values of a polynomial `m` of degree below `n` at half of the primitive
//! `2n`-th roots of unity, times a *scale*, rounded to integers. Modulo `Q = q_0 q_1 ...` a ciphertext `(c_0, c_1)` hides it
//! under a ternary secret `s`: `c_0 + c_1 s = m + e`. Sums and products of ciphertexts are sums and products of
//! vectors, slot by slot; the automorphisms `X -> X^(5^k)` rotate the slots. A product has the product of the scales, and
//! *rescaling* divides it by the last primes of `Q`: each level of `Q` pays for one product (Cheon, Kim, Kim, Song 2017;
//! in residues, Cheon, Han, Kim, Kim, Song 2018). What comes back from powers and automorphisms of `s` to `s` itself is
//! *key switching*, here the hybrid one (Han and Ki 2020).
//!
//! The halves are apart. The client ([`SecretKey`], [`PublicKey`], [`Encoder`]) runs on the host; the server
//! ([`Evaluator`]) runs on any [`Backend`], and no secret is within its reach.
//!
//! ```
//! use pleura_ckks::{Basis, Encoder, Evaluator, KeyRequest, Params, Polynomial, SecretKey, Security};
//! use pleura_ring::Cpu;
//!
//! // The smallest secure parameters with three levels of 29 bits.
//! let params = Params::choose(3, 29, Security::Bits128)?;
//!
//! // Client: keys, and an encrypted vector.
//! let encoder = Encoder::new(&params);
//! let secret = SecretKey::generate(&params)?;
//! let top = params.max_level();
//! let keys = secret.evaluation_keys(&KeyRequest::new().relin(top).rotations(&params, [1], top))?;
//! let x: Vec<f64> = (0..params.n() / 2).map(|i| (i as f64).sin()).collect();
//! let sent = secret.encrypt(&encoder.encode_real(&x)?)?.to_bytes();
//!
//! // Server: x^3 - x/2, rotated by one slot.
//! let server = Evaluator::new(&params, Cpu::new(params.ring().clone())?)?;
//! let keys = server.upload_keys(&keys)?;
//! let cubic = Polynomial::new(Basis::Power, vec![0.0, -0.5, 0.0, 1.0])?;
//! let input = server.upload(&[pleura_ckks::Ciphertext::from_bytes(&sent, &params)?])?;
//! let output = server.rotate(&server.polynomial(&input, &cubic, &keys)?, 1, &keys)?;
//! let returned = server.download(&output)?.remove(0);
//!
//! // Client: ten bits of it may be shown.
//! let published = secret.decrypt(&encoder, &returned)?.publish_real(10)?;
//! for (i, y) in published.iter().enumerate() {
//!     assert!((y - cubic.evaluate(x[(i + 1) % x.len()])).abs() < 1e-3);
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod client;
mod encode;
mod noise;
mod object_kind;
mod objects;
mod params;
mod precision;
mod residues;
mod security;
mod server;
pub mod wire;
mod wire_error;

pub use client::{ClientError, Decrypted, PublishError, SecretKey};
pub use encode::{EncodeError, Encoder, Plaintext};
pub use noise::NoiseModel;
pub use num_complex::Complex64;
pub use objects::{Ciphertext, EvaluationKeys, KeyRequest, PublicKey, SwitchingKey};
pub use params::{Params, ParamsError, ParamsLiteral};
pub use pleura_ring::{Backend, BackendError, CompactPoly, IntegerMatrix, RingKind};
pub use precision::Precision;
pub use security::Security;
pub use server::{
    Basis, BlockLinearTransform, CiphertextBatch, CiphertextDownload, Diagonal, EvalError, Evaluator,
    KeyLoadError, LinearTransform, MatrixTransform, Polynomial, PolynomialError, PreparedKey, PreparedKeys,
    PreparedPlaintext, PreparedTransform, TransformError,
};
pub use wire_error::WireError;
