//! Arithmetic on batches of ciphertexts.

use super::error::EvalError;
use super::objects::{CiphertextBatch, PreparedKeys, PreparedPlaintext};
use crate::{EncodeError, Params};
use pleura_ring::convert::MAX_SOURCES;
use pleura_ring::{Backend, Batch, Gadget, Limbs, Ntt, Ring, TensorProduct, Term};

/// Computes on ciphertexts on the device `B`. Scales are exact: every result carries the true factor between its
/// values and its coefficients, and operands that would need another are refused.
///
/// Every operation refuses operands of other parameters with [`EvalError::ParamsMismatch`], in addition to the errors
/// it lists.
///
/// ```
/// use pleura_ckks::{Encoder, Evaluator, KeyRequest, Params, SecretKey, Security};
/// use pleura_ring::Cpu;
///
/// let params = Params::choose(1, 28, Security::Bits128)?;
/// let encoder = Encoder::new(&params);
/// let secret = SecretKey::generate(&params)?;
/// let keys = secret.evaluation_keys(&KeyRequest::new().relin(1))?;
/// let encrypted = secret.encrypt(&encoder.encode_real(&[1.5, -2.0])?)?;
///
/// let evaluator = Evaluator::new(&params, Cpu::new(params.ring().clone())?)?;
/// let keys = evaluator.upload_keys(&keys)?;
/// let x = evaluator.upload(&[encrypted])?;
/// let square = evaluator.download(&evaluator.mul_rescale(&x, &x, &keys)?)?.remove(0);
/// assert_eq!(secret.decrypt(&encoder, &square)?.publish_real(8)?, [2.25, 4.0]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Evaluator<B: Backend> {
    params: Params,
    backend: B,
}

/// Scales that differ by less count as equal: floating-point rounding along different paths, far below the
/// precision of any ciphertext.
const SCALE_TOLERANCE: f64 = 1.0 / (1u64 << 44) as f64;

impl<B: Backend> Evaluator<B> {
    /// `backend` must have been made for the ring of `params`.
    ///
    /// # Errors
    /// [`EvalError::ParamsMismatch`] if it was made for another.
    pub fn new(params: &Params, backend: B) -> Result<Self, EvalError> {
        let primes = |ring: &Ring| ring.moduli(ring.limbs()).map(|m| m.q()).collect::<Vec<_>>();
        let form = |ring: &Ring| (ring.kind(), ring.n(), ring.limbs(), primes(ring));
        if form(params.ring()) != form(backend.ring()) {
            return Err(EvalError::ParamsMismatch);
        }
        Ok(Self { params: params.clone(), backend })
    }

    /// The parameters.
    pub fn params(&self) -> &Params {
        &self.params
    }

    /// The device.
    pub fn backend(&self) -> &B {
        &self.backend
    }

    /// `x + y`; the higher level is dropped to the lower one.
    ///
    /// # Errors
    /// [`EvalError::ScaleMismatch`], [`EvalError::Mismatch`]; [`EvalError::Backend`] without memory for the part that an operand lacks
    pub fn add(
        &self,
        x: &CiphertextBatch<B>,
        y: &CiphertextBatch<B>,
    ) -> Result<CiphertextBatch<B>, EvalError> {
        let count = y.data.polys();
        if count <= x.data.polys() {
            let level = self.common_level(x, y)?;
            let data = self.backend.add(x.data.view(), y.data.view(), count, self.params.limbs(level));
            return Ok(x.like(data, level, x.scale));
        }
        let (mut data, level) = self.widened(x, y)?;
        self.backend.add_assign(&mut data, 0, count, y.data.view());
        Ok(x.like(data, level, x.scale))
    }

    /// `x - y`; the higher level is dropped to the lower one.
    ///
    /// # Errors
    /// As for [`Evaluator::add`].
    pub fn sub(
        &self,
        x: &CiphertextBatch<B>,
        y: &CiphertextBatch<B>,
    ) -> Result<CiphertextBatch<B>, EvalError> {
        let (mut data, level) = self.widened(x, y)?;
        self.backend.sub_assign(&mut data, 0, y.data.polys(), y.data.view());
        Ok(x.like(data, level, x.scale))
    }

    /// `-x`
    ///
    /// # Errors
    /// None but for operands of other parameters.
    pub fn neg(&self, x: &CiphertextBatch<B>) -> Result<CiphertextBatch<B>, EvalError> {
        self.check_params(&x.params)?;
        let mut data = self.backend.concat(&[x.data.view()], x.data.limbs());
        self.backend.neg_assign(&mut data);
        Ok(x.like(data, x.level, x.scale))
    }

    /// `x + y` for a plaintext of the same scale, prepared at this level or above.
    ///
    /// # Errors
    /// [`EvalError::ScaleMismatch`], [`EvalError::OutOfLevels`], [`EvalError::Mismatch`]
    pub fn add_plain(
        &self,
        x: &CiphertextBatch<B>,
        y: &PreparedPlaintext<B>,
    ) -> Result<CiphertextBatch<B>, EvalError> {
        self.check_plain(x, y)?;
        check_scales(x.scale, y.scale)?;
        let data = self.backend.add(x.data.view(), y.data.view(), x.items, x.data.limbs());
        Ok(x.like(data, x.level, x.scale))
    }

    /// `x += y` for a plaintext of the same scale, prepared at this level or above.
    ///
    /// # Errors
    /// [`EvalError::ScaleMismatch`], [`EvalError::OutOfLevels`], [`EvalError::Mismatch`]
    pub fn add_plain_assign(
        &self,
        x: &mut CiphertextBatch<B>,
        y: &PreparedPlaintext<B>,
    ) -> Result<(), EvalError> {
        self.check_plain(x, y)?;
        check_scales(x.scale, y.scale)?;
        let items = x.items;
        self.backend.add_assign(&mut x.data, 0, items, y.data.view());
        Ok(())
    }

    /// `x += y` for ciphertexts of the same scale and number of parts, `y` at the level of `x` or above.
    ///
    /// # Errors
    /// [`EvalError::ScaleMismatch`], [`EvalError::OutOfLevels`], [`EvalError::Mismatch`]
    pub fn add_assign(&self, x: &mut CiphertextBatch<B>, y: &CiphertextBatch<B>) -> Result<(), EvalError> {
        self.check_pair(x, y)?;
        check_scales(x.scale, y.scale)?;
        check_equal("numbers of parts", x.parts(), y.parts())?;
        check_covers(y.level, x.level)?;
        self.backend.add_assign(&mut x.data, 0, y.data.polys(), y.data.view());
        Ok(())
    }

    /// `x y` for a plaintext prepared at this level or above; the scales multiply.
    ///
    /// # Errors
    /// [`EvalError::OutOfLevels`], [`EvalError::Mismatch`], [`EvalError::ScaleTooLarge`]
    pub fn mul_plain(
        &self,
        x: &CiphertextBatch<B>,
        y: &PreparedPlaintext<B>,
    ) -> Result<CiphertextBatch<B>, EvalError> {
        self.check_plain(x, y)?;
        self.check_fits(x.scale * y.scale, x.level)?;
        let polys = x.data.polys();
        // Plaintexts take turns over the ciphertexts.
        let factor = |i: usize| i % x.items % y.data.polys();
        let terms: Vec<_> = (0..polys).map(|i| Term { out: i, a: factor(i), b: i }).collect();
        let data = self.backend.mul_accumulate(y.data.view(), x.data.view(), &terms, polys, x.data.limbs());
        Ok(x.like(data, x.level, x.scale * y.scale))
    }

    /// `x + c` in every slot.
    ///
    /// # Errors
    /// [`EvalError::BadConstant`], [`EvalError::Backend`]
    pub fn add_const(&self, x: &CiphertextBatch<B>, c: f64) -> Result<CiphertextBatch<B>, EvalError> {
        self.add_plain(x, &self.upload_constant(c, x.scale, x.level)?)
    }

    /// A plaintext with `c` in every slot, rounded at `scale`, for use with any number of ciphertexts at `level` or below.
    ///
    /// # Errors
    /// [`EvalError::BadConstant`], [`EvalError::OutOfLevels`], [`EvalError::Backend`]; [`EvalError::Encode`] unless the scale is positive
    pub fn upload_constant(
        &self,
        c: f64,
        scale: f64,
        level: usize,
    ) -> Result<PreparedPlaintext<B>, EvalError> {
        self.check_level(level)?;
        let residues = self.constant(c, scale, level)?;
        // A constant polynomial transforms to itself in every place.
        let n = self.params.n();
        let words: Vec<u32> = residues.iter().flat_map(|&r| std::iter::repeat_n(r, n)).collect();
        let data = self.backend.upload::<Ntt>(self.params.limbs(level), 1, &words)?;
        Ok(PreparedPlaintext { params: self.params.clone(), data, level, scale, log_slots: 0 })
    }

    /// `x c` in every slot, with `c` rounded at `scale`, by which the scale grows.
    ///
    /// # Errors
    /// [`EvalError::BadConstant`], [`EvalError::ScaleTooLarge`]; [`EvalError::Encode`] unless the scale is positive
    pub fn mul_const(
        &self,
        x: &CiphertextBatch<B>,
        c: f64,
        scale: f64,
    ) -> Result<CiphertextBatch<B>, EvalError> {
        self.check_params(&x.params)?;
        let residues = self.constant(c, scale, x.level)?;
        self.check_fits(x.scale * scale, x.level)?;
        let data = self.backend.mul_scalar(x.data.view(), &residues);
        Ok(x.like(data, x.level, x.scale * scale))
    }

    /// `x y`, relinearized; the scales multiply. The higher level is dropped to the lower one.
    ///
    /// # Errors
    /// As for [`Evaluator::mul_no_relin`], and [`EvalError::MissingKey`].
    pub fn mul(
        &self,
        x: &CiphertextBatch<B>,
        y: &CiphertextBatch<B>,
        keys: &PreparedKeys<B>,
    ) -> Result<CiphertextBatch<B>, EvalError> {
        self.mul_to(x, y, keys, x.level.min(y.level))
    }

    /// `x y`, relinearized and rescaled, with one division for both.
    ///
    /// # Errors
    /// As for [`Evaluator::mul`], and [`EvalError::OutOfLevels`].
    pub fn mul_rescale(
        &self,
        x: &CiphertextBatch<B>,
        y: &CiphertextBatch<B>,
        keys: &PreparedKeys<B>,
    ) -> Result<CiphertextBatch<B>, EvalError> {
        self.mul_to(x, y, keys, below(x.level.min(y.level))?)
    }

    /// `x x`, relinearized and rescaled, with one division for both.
    ///
    /// # Errors
    /// As for [`Evaluator::mul_rescale`].
    pub fn square_rescale(
        &self,
        x: &CiphertextBatch<B>,
        keys: &PreparedKeys<B>,
    ) -> Result<CiphertextBatch<B>, EvalError> {
        self.mul_rescale(x, x, keys)
    }

    /// `x y` in three parts; the scales multiply.
    ///
    /// # Errors
    /// [`EvalError::Parts`], [`EvalError::Mismatch`], [`EvalError::ScaleTooLarge`]
    pub fn mul_no_relin(
        &self,
        x: &CiphertextBatch<B>,
        y: &CiphertextBatch<B>,
    ) -> Result<CiphertextBatch<B>, EvalError> {
        let level = self.level_of_product(x, y)?;
        let items = x.items;
        let terms: Vec<_> = (0..items)
            .flat_map(|i| [(0, 0), (0, 1), (1, 0), (1, 1)].map(|(a, b)| (i, a, b)))
            .map(|(i, a, b)| Term { out: (a + b) * items + i, a: a * items + i, b: b * items + i })
            .collect();
        let limbs = self.params.limbs(level);
        let data = self.backend.mul_accumulate(x.data.view(), y.data.view(), &terms, 3 * items, limbs);
        Ok(x.like(data, level, x.scale * y.scale))
    }

    /// `x y`, relinearized and divided down to `level`, that of the product or the one below.
    fn mul_to(
        &self,
        x: &CiphertextBatch<B>,
        y: &CiphertextBatch<B>,
        keys: &PreparedKeys<B>,
        level: usize,
    ) -> Result<CiphertextBatch<B>, EvalError> {
        self.check_params(&keys.params)?;
        let top = self.level_of_product(x, y)?;
        let product = TensorProduct {
            gadget: self.gadget(top),
            a: x.data.view(),
            b: y.data.view(),
            key: keys.relin(top)?.view(),
            batch: x.items,
        };
        let data = self.backend.relinearized_product(&product, self.params.limbs(level));
        let divisor: f64 = (level + 1..=top).map(|level| self.params.divisor(level)).product();
        Ok(x.like(data, level, x.scale * y.scale / divisor))
    }

    /// Three parts to two.
    ///
    /// # Errors
    /// [`EvalError::MissingKey`], [`EvalError::Parts`]
    pub fn relinearize(
        &self,
        x: &CiphertextBatch<B>,
        keys: &PreparedKeys<B>,
    ) -> Result<CiphertextBatch<B>, EvalError> {
        let data = self.relinearize_to(x, keys, x.level)?;
        Ok(x.like(data, x.level, x.scale))
    }

    /// Three parts to two, and one level down, with one division for both.
    ///
    /// # Errors
    /// [`EvalError::MissingKey`], [`EvalError::Parts`], [`EvalError::OutOfLevels`]
    pub fn relinearize_rescale(
        &self,
        x: &CiphertextBatch<B>,
        keys: &PreparedKeys<B>,
    ) -> Result<CiphertextBatch<B>, EvalError> {
        let below = below(x.level)?;
        let data = self.relinearize_to(x, keys, below)?;
        Ok(x.like(data, below, x.scale / self.params.divisor(x.level)))
    }

    /// Divides by the primes of the level, and the scale with them.
    ///
    /// # Errors
    /// [`EvalError::OutOfLevels`]
    pub fn rescale(&self, x: &CiphertextBatch<B>) -> Result<CiphertextBatch<B>, EvalError> {
        self.check_params(&x.params)?;
        let below = below(x.level)?;
        let data = self.backend.rescale(x.data.view(), self.params.limbs(below));
        Ok(x.like(data, below, x.scale / self.params.divisor(x.level)))
    }

    /// Divides by the primes of all levels down to `level`, and the scale with them, with one rounding.
    ///
    /// # Errors
    /// [`EvalError::OutOfLevels`], [`EvalError::TooManyPrimes`]
    pub fn rescale_to(&self, x: &CiphertextBatch<B>, level: usize) -> Result<CiphertextBatch<B>, EvalError> {
        self.check_params(&x.params)?;
        check_covers(x.level, level)?;
        if level == x.level {
            return self.copy(x);
        }
        self.check_dropped(x.data.limbs(), self.params.limbs(level))?;
        let data = self.backend.rescale(x.data.view(), self.params.limbs(level));
        let divisor: f64 = (level + 1..=x.level).map(|l| self.params.divisor(l)).product();
        Ok(x.like(data, level, x.scale / divisor))
    }

    /// Copies ciphertexts into memory of their own.
    ///
    /// # Errors
    /// None but for operands of other parameters.
    pub fn copy(&self, x: &CiphertextBatch<B>) -> Result<CiphertextBatch<B>, EvalError> {
        self.drop_level(x, x.level)
    }

    /// Forgets primes down to a level; values and scale stay.
    ///
    /// # Errors
    /// [`EvalError::OutOfLevels`] if it has fewer levels.
    pub fn drop_level(&self, x: &CiphertextBatch<B>, level: usize) -> Result<CiphertextBatch<B>, EvalError> {
        self.check_params(&x.params)?;
        check_covers(x.level, level)?;
        let data = self.backend.concat(&[x.data.view()], self.params.limbs(level));
        Ok(x.like(data, level, x.scale))
    }

    /// Brings ciphertexts to a level and its usual scale. Ciphertexts that are there are returned as they are. Others are
    /// multiplied by 1 at the missing scale, at the lowest level above at which that 1 is exact enough (as a rule the next).
    ///
    /// # Errors
    /// [`EvalError::OutOfLevels`]
    pub fn to_level(&self, x: &CiphertextBatch<B>, level: usize) -> Result<CiphertextBatch<B>, EvalError> {
        self.check_params(&x.params)?;
        check_covers(x.level, level)?;
        let target = self.params.scale(level);
        if check_scales(x.scale, target).is_ok() {
            return Ok(self.drop_level(x, level)?.with_scale(target));
        }
        // What rounding may be off by: far less than the noise is.
        let slight = (-0.75 * f64::from(self.params.literal().scale_bits)).exp2();
        let mut above = level;
        let mut missing = target / x.scale;
        loop {
            above += 1;
            check_covers(x.level, above)?;
            missing *= self.params.divisor(above);
            let off = (missing.round() / missing - 1.0).abs();
            if off <= slight || off.is_nan() {
                break;
            }
        }
        let mut product = self.mul_const(&self.drop_level(x, above)?, 1.0, missing)?;
        while product.level > level {
            product = self.rescale(&product)?;
        }
        Ok(product.with_scale(target))
    }

    /// `x` at the lower level of both, with as many parts as `y` has: a part that it lacks counts as zero.
    fn widened(
        &self,
        x: &CiphertextBatch<B>,
        y: &CiphertextBatch<B>,
    ) -> Result<(Batch<B, Ntt>, usize), EvalError> {
        let level = self.common_level(x, y)?;
        let limbs = self.params.limbs(level);
        let lacking = y.data.polys().saturating_sub(x.data.polys());
        if lacking == 0 {
            return Ok((self.backend.concat(&[x.data.view()], limbs), level));
        }
        let zeros = vec![0; self.params.ring().words(limbs, lacking)];
        let zeros = self.backend.upload(limbs, lacking, &zeros)?;
        Ok((self.backend.concat(&[x.data.view(), zeros.view()], limbs), level))
    }

    /// The level of a sum.
    fn common_level(&self, x: &CiphertextBatch<B>, y: &CiphertextBatch<B>) -> Result<usize, EvalError> {
        self.check_pair(x, y)?;
        check_scales(x.scale, y.scale)?;
        Ok(x.level.min(y.level))
    }

    /// The residues of `c` rounded at `scale`.
    fn constant(&self, c: f64, scale: f64, level: usize) -> Result<Vec<u32>, EvalError> {
        check_scale(scale)?;
        let scaled = (c * scale).round();
        if !scaled.is_finite() || scaled.abs() >= 126f64.exp2() {
            return Err(EvalError::BadConstant { value: c, log2_scale: scale.log2() });
        }
        let scaled = scaled as i128;
        Ok(self
            .params
            .ring()
            .moduli(self.params.limbs(level))
            .map(|m| scaled.rem_euclid(i128::from(m.q())) as u32)
            .collect())
    }

    pub(super) fn check_params(&self, params: &Params) -> Result<(), EvalError> {
        if *params == self.params { Ok(()) } else { Err(EvalError::ParamsMismatch) }
    }

    fn check_pair(&self, x: &CiphertextBatch<B>, y: &CiphertextBatch<B>) -> Result<(), EvalError> {
        self.check_params(&x.params)?;
        self.check_params(&y.params)?;
        check_equal("numbers of ciphertexts", x.items, y.items)?;
        check_equal("logarithms of slots", x.log_slots as usize, y.log_slots as usize)
    }

    /// Values of one and a little more at this scale must not wrap around the modulus.
    pub(super) fn check_fits(&self, scale: f64, level: usize) -> Result<(), EvalError> {
        let log2_scale = scale.log2();
        let log2_q = self.params.log2_q(level);
        if log2_scale + 1.0 > log2_q { Err(EvalError::ScaleTooLarge { log2_scale, log2_q }) } else { Ok(()) }
    }

    /// The level of a product of ciphertexts in two parts each.
    fn level_of_product(&self, x: &CiphertextBatch<B>, y: &CiphertextBatch<B>) -> Result<usize, EvalError> {
        self.check_pair(x, y)?;
        check_parts(x, 2)?;
        check_parts(y, 2)?;
        let level = x.level.min(y.level);
        self.check_fits(x.scale * y.scale, level)?;
        Ok(level)
    }

    fn check_plain(&self, x: &CiphertextBatch<B>, y: &PreparedPlaintext<B>) -> Result<(), EvalError> {
        self.check_params(&x.params)?;
        self.check_params(&y.params)?;
        // Fewer values are repeated over all slots; more have no room.
        let shared = y.log_slots.min(x.log_slots);
        check_equal("logarithms of slots", shared as usize, y.log_slots as usize)?;
        if !x.items.is_multiple_of(y.data.polys()) {
            let left = x.items;
            let right = y.data.polys();
            return Err(EvalError::Mismatch { what: "numbers of ciphertexts and plaintexts", left, right });
        }
        check_covers(y.level, x.level)
    }

    /// Refuses a division by more primes at once than a backend supports.
    pub(super) fn check_dropped(&self, from: Limbs, to: Limbs) -> Result<(), EvalError> {
        let dropped = from.count().saturating_sub(to.count());
        if dropped > MAX_SOURCES {
            Err(EvalError::TooManyPrimes { dropped, max: MAX_SOURCES })
        } else {
            Ok(())
        }
    }

    pub(super) fn check_level(&self, level: usize) -> Result<(), EvalError> {
        check_covers(self.params.max_level(), level)
    }

    pub(super) fn gadget(&self, level: usize) -> Gadget {
        self.params.gadget(level)
    }
}

pub(super) fn below(level: usize) -> Result<usize, EvalError> {
    level.checked_sub(1).ok_or(EvalError::OutOfLevels { needed: 1, level })
}

fn check_covers(have: usize, needed: usize) -> Result<(), EvalError> {
    if have >= needed { Ok(()) } else { Err(EvalError::OutOfLevels { needed, level: have }) }
}

pub(super) fn check_equal(what: &'static str, left: usize, right: usize) -> Result<(), EvalError> {
    if left == right { Ok(()) } else { Err(EvalError::Mismatch { what, left, right }) }
}

pub(super) fn check_parts<B: Backend>(x: &CiphertextBatch<B>, expected: usize) -> Result<(), EvalError> {
    if x.parts() == expected { Ok(()) } else { Err(EvalError::Parts { expected, got: x.parts() }) }
}

/// Refuses scales that are not positive numbers.
pub(super) fn check_scale(scale: f64) -> Result<(), EvalError> {
    if scale.is_finite() && scale > 0.0 { Ok(()) } else { Err(EncodeError::BadScale { scale }.into()) }
}

pub(super) fn check_scales(left: f64, right: f64) -> Result<(), EvalError> {
    if (left / right - 1.0).abs() <= SCALE_TOLERANCE {
        Ok(())
    } else {
        Err(EvalError::ScaleMismatch { left: left.log2(), right: right.log2() })
    }
}
