//! Arithmetic in `Z_Q[X]/(X^n + 1)`, or in a conjugate-invariant ring, by residues, on which the rest of the engine is built.
//!
//! # Mathematics
//! For primes `q_0, q_1, ...`, each `= 1 mod 2n` and below `2^30`, a polynomial modulo `Q = q_0 q_1 ...` is kept
//! as its residues modulo every prime, a *limb* each (the Chinese remainder theorem). The negacyclic
//! number-theoretic transform ([`ntt`]) turns each limb into its values at the odd powers of a `2n`-th root of
//! unity, where products and automorphisms are pointwise. Residues pass from some primes to others by
//! [`convert`], which is how one divides by primes (rescale, ModDown) and extends digits (ModUp).
//!
//! A [`RingKind::ConjugateInvariant`] ring has real slots alone, twice as many: its transform is the same one after its
//! coefficients are folded.
//!
//! Thirty-bit primes in 32-bit words serve CPU and GPU alike: per bit of modulus they cost what 52-bit words
//! cost on a CPU, and a GPU multiplies 32-bit words natively.
//!
//! A [`Poly`] is host memory, for secrets and for clients. A [`Batch`] lives on a [`Backend`]; [`Cpu`] is the
//! one in this crate, and [`conformance`] holds any other to its words.
//!
//! ```
//! use pleura_ring::{Backend, Coeff, Cpu, Limbs, Ring, Term, primes_below};
//! use std::sync::Arc;
//!
//! // (1 + X)(1 - X) = 1 - X^2 modulo three primes, at degree 2^10.
//! let primes = primes_below(29.0, 1 << 10, 3, &[])?;
//! let ring = Arc::new(Ring::new(10, &primes, &[])?);
//! let cpu = Cpu::new(ring.clone())?;
//! let limbs = ring.limbs();
//! let mut words = vec![0; ring.words(limbs, 2)];
//! for (limb, q) in primes.iter().enumerate() {
//!     for (poly, linear) in [1, q - 1].into_iter().enumerate() {
//!         words[(poly * 3 + limb) * ring.n()] = 1;
//!         words[(poly * 3 + limb) * ring.n() + 1] = linear;
//!     }
//! }
//! let x = cpu.ntt(cpu.upload::<Coeff>(limbs, 2, &words)?);
//! let product = cpu.mul_accumulate(x.view(), x.view(), &[Term { out: 0, a: 0, b: 1 }], 1, limbs);
//! let words = cpu.download(cpu.intt(product).view()).wait()?;
//! assert_eq!(words[..4], [1, 0, primes[0] - 1, 0]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod backend;
mod compact;
pub mod conformance;
pub mod convert;
mod cpu;
mod error;
mod galois;
mod kind;
mod limbs;
mod matrix;
mod modulus;
pub mod ntt;
mod pending;
mod poly;
mod ring;
pub mod sample;
pub mod shape;

pub use backend::{
    Backend, Batch, Coeff, CompactPoly, Diagonals, Digits, Domain, Gadget, GadgetProduct, GadgetTerm, Ntt,
    PolySource, TensorProduct, Term, View,
};
pub use convert::BasisConversion;
pub use cpu::{Cpu, Simd, Task, TaskList};
pub use error::{BackendError, RingError};
pub use galois::{GaloisElement, NttPermutation};
pub use kind::RingKind;
pub use limbs::Limbs;
pub use matrix::IntegerMatrix;
pub use modulus::{MAX_PRIME_BITS, Modulus, Shoup, primes_below};
pub use ntt::NttTable;
pub use pending::{Arrival, Download, Pending};
pub use poly::Poly;
pub use ring::Ring;
