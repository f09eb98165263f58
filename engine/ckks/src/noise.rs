//! Model of the noise that each operation adds, as variances in the slots.

use crate::{ParamsError, ParamsLiteral};
use pleura_ring::RingKind;

/// Variance of the errors in keys and ciphertexts, centered binomial ones of 21 pairs of coins.
const ERROR: f64 = 21.0 / 2.0;
/// Variance of a rounding.
const ROUNDING: f64 = 1.0 / 12.0;
/// Variance of a coefficient of the uniform ternary secret.
const SECRET: f64 = 2.0 / 3.0;

/// Model of the noise that each operation adds: average-case variances, in each part (real or imaginary) of a slot's value.
///
/// Coefficients are independent: noise of variance `v` in each is noise of variance `v n/2 / scale^2` in each part of a slot, and `2 n v / scale^2` in a
/// slot of a conjugate-invariant ring, where the products of two polynomials have twice the terms, too. The noise of one slot is close to normal; that of
/// all slots has a longer tail, since the secret is larger in some than in others.
///
/// ```
/// use pleura_ckks::{NoiseModel, ParamsLiteral};
///
/// let noise = NoiseModel::new(&ParamsLiteral::N13)?;
/// // Of a fresh ciphertext with a scale of 2^28, and after a rotation at level 3.
/// let bits = |variance: f64| (-0.5 * variance.log2()).round();
/// assert_eq!((bits(noise.fresh(28f64.exp2())), bits(noise.rotation(3, 28f64.exp2()))), (20.0, 18.0));
/// # Ok::<(), pleura_ckks::ParamsError>(())
/// ```
#[derive(Clone, Debug)]
pub struct NoiseModel {
    ring: RingKind,
    n: usize,
    /// For each level, the sum of `(D/P)^2` over the digits `D` of a key switching, with the special primes' product `P`.
    digits: Vec<f64>,
}

impl NoiseModel {
    /// The model for some parameters.
    ///
    /// # Errors
    /// [`ParamsError`], as for [`Params::new`](crate::Params::new).
    pub fn new(literal: &ParamsLiteral) -> Result<Self, ParamsError> {
        Ok(Self { ring: literal.ring, n: 1 << literal.log_n, digits: literal.digit_sizes()? })
    }

    /// Noise of variance `variance` in each of the `coefficients` coefficients of a polynomial at `scale` that are not zero.
    pub fn in_slots(&self, variance: f64, coefficients: usize, scale: f64) -> f64 {
        // A constant is the same number in all slots.
        let terms = match (coefficients, self.ring) {
            (1, _) => 1.0,
            (count, RingKind::Cyclotomic) => count as f64 / 2.0,
            (count, RingKind::ConjugateInvariant) => 2.0 * count as f64,
        };
        variance * terms / scale.powi(2)
    }

    /// Rounding of `coefficients` coefficients of a plaintext.
    pub fn encoding(&self, coefficients: usize, scale: f64) -> f64 {
        self.in_slots(ROUNDING, coefficients, scale)
    }

    /// Encryption with the secret key.
    pub fn fresh(&self, scale: f64) -> f64 {
        self.in_slots(ERROR + ROUNDING, self.n, scale)
    }

    /// Encryption with a public key: the ephemeral secret multiplies the key's error, and the secret that of the second part.
    pub fn public(&self, scale: f64) -> f64 {
        self.in_slots(ERROR * (1.0 + self.terms() * 2.0 * SECRET) + ROUNDING, self.n, scale)
    }

    /// Division of a ciphertext, as in a rescaling that leads to `scale`: the secret multiplies the rounding of the second part.
    pub fn division(&self, scale: f64) -> f64 {
        self.in_slots(ROUNDING * (1.0 + self.terms() * SECRET), self.n, scale)
    }

    /// Key switching at `level` before its division by the special primes: each digit multiplies the error of its part of the key.
    ///
    /// # Panics
    /// If there is no such level.
    #[expect(clippy::indexing_slicing, reason = "documented, as for levels of parameters")]
    pub fn key_switch(&self, level: usize, scale: f64) -> f64 {
        self.in_slots(ERROR * ROUNDING * self.terms() * self.digits[level], self.n, scale)
    }

    /// A rotation, conjugation or relinearization at `level`.
    ///
    /// # Panics
    /// If there is no such level.
    pub fn rotation(&self, level: usize, scale: f64) -> f64 {
        self.key_switch(level, scale) + self.division(scale)
    }

    /// Products of coefficients that make a coefficient of a product.
    fn terms(&self) -> f64 {
        match self.ring {
            RingKind::Cyclotomic => self.n as f64,
            RingKind::ConjugateInvariant => 2.0 * self.n as f64,
        }
    }
}
