//! Vectors of numbers as integer polynomials: the canonical embedding.
//!
//! In a cyclotomic ring, with `z = exp(i pi / n)`, slot `j` is the value at `z^(5^j)`. All these exponents are `1 mod 4`, so with
//! `m = n/2` and `u_k = (a_k + i a_(k+m)) z^k` the value at `z^(4t+1)` is `sum_k u_k exp(2 pi i t k / m)`: one complex
//! transform of length `m` (Cheon, Kim, Kim, Song, "Homomorphic encryption for arithmetic of approximate
//! numbers", 2017; Chen, Chillotti, Song 2019 for the transform).
//!
//! In a conjugate-invariant ring `z = exp(i pi / 2n)`, `m = n`, and the same holds with `u_0 = a_0` and
//! `u_k = (a_k - i a_(n-k)) z^k`. The slots are real.

use crate::Params;
use num_complex::Complex64;
use pleura_ring::{Coeff, CompactPoly, Poly, RingKind};
use rustfft::{Fft, FftPlanner};
use std::f64::consts::PI;
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, OnceLock};
use zeroize::{Zeroize, Zeroizing};

/// Far above any useful scale; coefficients beyond 62 bits are kept as 62 bits and a power of two.
const MAX_COEFFICIENT_BITS: f64 = 120.0;

/// Encodes vectors as plaintexts, and decodes them.
pub struct Encoder {
    params: Params,
    /// Tables by the logarithm of the number of slots, each made when it is first needed.
    transforms: Vec<OnceLock<Transform>>,
}

struct Transform {
    forward: Arc<dyn Fft<f64>>,
    inverse: Arc<dyn Fft<f64>>,
    /// `(5^j - 1) / 4 mod m`: where slot `j` stands in the transform.
    order: Vec<usize>,
    /// `z^k`
    twist: Vec<Complex64>,
}

impl Transform {
    fn new(m: usize) -> Self {
        let mut planner = FftPlanner::new();
        let order = std::iter::successors(Some(1usize), |e| Some(e * 5 % (4 * m)));
        Self {
            forward: planner.plan_fft_forward(m),
            inverse: planner.plan_fft_inverse(m),
            order: order.take(m).map(|e| (e - 1) / 4).collect(),
            twist: (0..m).map(|k| Complex64::from_polar(1.0, PI * k as f64 / (2 * m) as f64)).collect(),
        }
    }
}

/// A vector as an integer polynomial. It may be secret: it cannot be printed, and is erased when dropped.
pub struct Plaintext {
    /// Power of two that the coefficients are multiplied by: floating point has no more digits than they hold.
    coefficients: Zeroizing<Vec<i64>>,
    exponent: u32,
    log_slots: u32,
    scale: f64,
    params: Params,
}

/// Complex numbers that are erased when dropped.
pub(crate) struct Erased(pub(crate) Vec<Complex64>);

/// Why values cannot be encoded.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum EncodeError {
    /// The number of values is no power of two up to the number of slots.
    #[error("{values} values; give a power of two of them, at most {max} (fill up with zeros)")]
    Slots {
        /// Number of values.
        values: usize,
        /// Number of slots.
        max: usize,
    },
    /// A value is infinite or not a number.
    #[error("value {index} is not a finite number")]
    NotFinite {
        /// Position of the value.
        index: usize,
    },
    /// A value is not real, but slots are.
    #[error("value {index} has an imaginary part, but the slots of a conjugate-invariant ring are real")]
    NotReal {
        /// Position of the value.
        index: usize,
    },
    /// A coefficient does not fit 120 bits, or 32 where it must.
    #[error(
        "the values times the scale 2^{log2_scale:.1} are too large for a coefficient; use smaller values or a smaller scale"
    )]
    TooLarge {
        /// The scale.
        log2_scale: f64,
    },
    /// The scale is not a positive number.
    #[error("the scale is {scale}; it must be positive")]
    BadScale {
        /// The scale.
        scale: f64,
    },
}

impl Encoder {
    /// An encoder, which builds the tables for a number of slots where it is first used with them.
    pub fn new(params: &Params) -> Self {
        let transforms = (0..=params.max_log_slots()).map(|_| OnceLock::new()).collect();
        Self { params: params.clone(), transforms }
    }

    /// The parameters that the tables belong to.
    pub fn params(&self) -> &Params {
        &self.params
    }

    /// Encodes a power of two of values, at most [`Params::slots`], at the usual scale of the top level. Fewer values than
    /// slots are repeated over all slots (sparse packing).
    ///
    /// # Errors
    /// [`EncodeError`]
    pub fn encode(&self, values: &[Complex64]) -> Result<Plaintext, EncodeError> {
        self.encode_at(values, self.params.scale(self.params.max_level()))
    }

    /// Encodes real values.
    ///
    /// # Errors
    /// [`EncodeError`]
    pub fn encode_real(&self, values: &[f64]) -> Result<Plaintext, EncodeError> {
        self.encode(&Erased(values.iter().map(|&x| Complex64::from(x)).collect()))
    }

    /// Encodes values at a chosen scale.
    ///
    /// # Errors
    /// [`EncodeError`]
    #[expect(clippy::indexing_slicing, reason = "the order permutes the slots")]
    pub fn encode_at(&self, values: &[Complex64], scale: f64) -> Result<Plaintext, EncodeError> {
        let n = self.params.n();
        let slots = self.params.slots();
        let kind = self.params.ring().kind();
        let bad_count = EncodeError::Slots { values: values.len(), max: slots };
        if !values.len().is_power_of_two() {
            return Err(bad_count);
        }
        let log_slots = values.len().ilog2();
        let transform = self.transform(log_slots).ok_or(bad_count)?;
        if let Some(index) = values.iter().position(|z| !z.is_finite()) {
            return Err(EncodeError::NotFinite { index });
        }
        if let Some(index) = values.iter().position(|z| kind == RingKind::ConjugateInvariant && z.im != 0.0) {
            return Err(EncodeError::NotReal { index });
        }
        if !(scale.is_finite() && scale > 0.0) {
            return Err(EncodeError::BadScale { scale });
        }
        let m = values.len();
        let mut u = Erased(vec![Complex64::ZERO; m]);
        for (&at, &z) in transform.order.iter().zip(values) {
            u[at] = z;
        }
        process(&*transform.forward, &mut u);
        let mut coefficients = Zeroizing::new(vec![0i64; n]);
        let largest = u.iter().fold(0.0f64, |m, a| {
            // Sums that overflow are not a number.
            if a.is_nan() { f64::INFINITY } else { m.max(a.re.abs()).max(a.im.abs()) }
        });
        // Turning by the twist makes a part longer by the root of two at most.
        let bits = (largest * scale / m as f64).log2() + 0.5;
        if bits >= MAX_COEFFICIENT_BITS {
            return Err(EncodeError::TooLarge { log2_scale: scale.log2() });
        }
        let exponent = (bits - 62.0).ceil().max(0.0);
        let factor = scale / m as f64 / exponent.exp2();
        let gap = slots / m;
        // Where slots are real, the imaginary parts are the negated real ones in reversed order.
        let (low, high) = coefficients.split_at_mut(slots);
        let mut high = high.iter_mut().step_by(gap);
        for ((u, twist), re) in u.iter().zip(&transform.twist).zip(low.iter_mut().step_by(gap)) {
            let a = u * twist.conj() * factor;
            *re = a.re.round() as i64;
            if let Some(im) = high.next() {
                *im = a.im.round() as i64;
            }
        }
        let exponent = exponent as u32;
        Ok(Plaintext { coefficients, exponent, log_slots, scale, params: self.params.clone() })
    }

    /// Encodes real values that repeat, a power of two of them, as a factor of linear transforms: twice as many
    /// coefficients as there are values, or as many in a conjugate-invariant ring. A single value is one coefficient in either.
    ///
    /// # Errors
    /// [`EncodeError`]; coefficients must fit 32 bits.
    pub fn encode_compact(&self, values: &[f64], scale: f64) -> Result<CompactPoly, EncodeError> {
        if let [number] = *values {
            return compact_number(number, scale);
        }
        let complex: Vec<_> = values.iter().map(|&x| Complex64::from(x)).collect();
        let plaintext = self.encode_at(&complex, scale)?;
        if plaintext.exponent > 0 {
            return Err(EncodeError::TooLarge { log2_scale: scale.log2() });
        }
        let coefficients = plaintext.coefficients.iter().step_by(self.params.slots() / values.len());
        let coefficients = coefficients
            .map(|&c| i32::try_from(c).map_err(|_| EncodeError::TooLarge { log2_scale: scale.log2() }))
            .collect::<Result<_, _>>()?;
        Ok(CompactPoly { coefficients })
    }

    /// Tables for a number of slots; `None` if there are not as many.
    fn transform(&self, log_slots: u32) -> Option<&Transform> {
        Some(self.transforms.get(log_slots as usize)?.get_or_init(|| Transform::new(1 << log_slots)))
    }

    /// Values of the polynomial with these coefficients, `n` of them.
    #[expect(clippy::indexing_slicing, reason = "the order permutes the slots")]
    #[expect(
        clippy::expect_used,
        reason = "ciphertexts are read and made with as many slots as there may be"
    )]
    pub(crate) fn decode(&self, coefficients: &[f64], log_slots: u32, scale: f64) -> Erased {
        let slots = self.params.slots();
        let m = 1usize << log_slots;
        // Vectors that grow would leave parts of themselves behind.
        let mut values = Erased(Vec::with_capacity(m));
        let transform =
            self.transform(log_slots).expect("internal error: more slots than the parameters have");
        let gap = slots / m;
        let turned = |(a, twist): (Complex64, &Complex64)| a * twist / scale;
        let (low, high) = coefficients.split_at(slots);
        let low = low.iter().step_by(gap);
        let mut u = Erased(Vec::with_capacity(m));
        if self.params.ring().kind() == RingKind::Cyclotomic {
            let high = high.iter().step_by(gap);
            u.0.extend(
                low.zip(high).map(|(&re, &im)| Complex64::new(re, im)).zip(&transform.twist).map(turned),
            );
        } else {
            let mirrored = std::iter::once(&0.0).chain(low.clone().skip(1).rev());
            let folded = low.zip(mirrored).map(|(&a, &b)| Complex64::new(a, -b));
            u.0.extend(folded.zip(&transform.twist).map(turned));
        }
        process(&*transform.inverse, &mut u);
        values.0.extend(transform.order.iter().map(|&at| u[at]));
        if self.params.ring().kind() == RingKind::ConjugateInvariant {
            // Nothing but the rounding of the transform.
            values.iter_mut().for_each(|z| z.im = 0.0);
        }
        values
    }
}

/// A constant polynomial.
fn compact_number(number: f64, scale: f64) -> Result<CompactPoly, EncodeError> {
    if !number.is_finite() {
        return Err(EncodeError::NotFinite { index: 0 });
    }
    if !(scale.is_finite() && scale > 0.0) {
        return Err(EncodeError::BadScale { scale });
    }
    let coefficient = (number * scale).round();
    if coefficient.abs() > f64::from(i32::MAX) {
        return Err(EncodeError::TooLarge { log2_scale: scale.log2() });
    }
    Ok(CompactPoly { coefficients: [coefficient as i32].into() })
}

/// Transforms in place, with memory that is erased.
fn process(transform: &dyn Fft<f64>, values: &mut [Complex64]) {
    let mut scratch = Erased(vec![Complex64::ZERO; transform.get_inplace_scratch_len()]);
    transform.process_with_scratch(values, &mut scratch);
}

impl Plaintext {
    /// The factor between values and coefficients.
    pub fn scale(&self) -> f64 {
        self.scale
    }

    /// Logarithm of the number of values, to base 2.
    pub fn log_slots(&self) -> u32 {
        self.log_slots
    }

    /// The parameters it belongs to.
    pub fn params(&self) -> &Params {
        &self.params
    }

    /// The polynomial modulo the primes of `limbs`.
    pub(crate) fn to_poly(&self, limbs: pleura_ring::Limbs) -> Poly<Coeff> {
        let mut poly = Poly::from_signed(self.params.ring(), limbs, &self.coefficients);
        if self.exponent > 0 {
            for (index, limb) in poly.limbs_mut() {
                let modulus = self.params.ring().modulus(index);
                let power = modulus.pow(2, self.exponent.into());
                limb.iter_mut().for_each(|x| *x = modulus.mul(*x, power));
            }
        }
        poly
    }
}

impl Deref for Erased {
    type Target = [Complex64];

    fn deref(&self) -> &[Complex64] {
        &self.0
    }
}

impl DerefMut for Erased {
    fn deref_mut(&mut self) -> &mut [Complex64] {
        &mut self.0
    }
}

impl Drop for Erased {
    fn drop(&mut self) {
        for z in &mut self.0 {
            z.re.zeroize();
            z.im.zeroize();
        }
    }
}
