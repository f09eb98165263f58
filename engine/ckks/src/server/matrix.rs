//! Linear maps between groups of ciphertexts by numbers: every slot is mapped alike, so that nothing rotates and no key is needed.

use super::error::{EvalError, TransformError};
use super::evaluator::{Evaluator, check_scale};
use super::objects::CiphertextBatch;
use pleura_ring::{Backend, IntegerMatrix};
use serde::{Deserialize, Serialize};

/// A linear map from a group of ciphertexts to another by a matrix of numbers, the same in every slot.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MatrixTransform {
    /// The level it is applied at.
    pub level: usize,
    /// The level of the result: the primes between are divided by once.
    pub target_level: usize,
    /// The factor between the map's numbers and the entries of the matrix.
    pub scale: f64,
    /// A row for each ciphertext that comes out, and a column for each that goes in.
    pub matrix: IntegerMatrix,
}

impl<B: Backend> Evaluator<B> {
    /// Applies a matrix to each group of ciphertexts; the groups follow one another in `x`.
    ///
    /// # Errors
    /// [`EvalError::ParamsMismatch`], [`EvalError::OutOfLevels`], [`EvalError::Mismatch`], [`EvalError::ScaleTooLarge`],
    /// [`EvalError::TooManyPrimes`], [`EvalError::Transform`], [`EvalError::Encode`]
    ///
    /// ```
    /// use pleura_ckks::{Encoder, Evaluator, MatrixTransform, Params, SecretKey, Security};
    /// use pleura_ring::{Cpu, IntegerMatrix};
    ///
    /// // x/2 - y of two ciphertexts.
    /// let params = Params::choose(2, 29, Security::Bits128)?;
    /// let scale = params.divisor(2);
    /// let entries = [0.5, -1.0].map(|w| (w * scale) as i32);
    /// let matrix = IntegerMatrix::new(2, vec![vec![(0, entries[0]), (1, entries[1])]])?;
    /// let transform = MatrixTransform { level: 2, target_level: 1, scale, matrix };
    ///
    /// let encoder = Encoder::new(&params);
    /// let secret = SecretKey::generate(&params)?;
    /// let server = Evaluator::new(&params, Cpu::new(params.ring().clone())?)?;
    /// let pair = [[1.0, 2.0], [0.25, 3.0]].map(|x| secret.encrypt(&encoder.encode_real(&x).unwrap()).unwrap());
    /// let y = server.download(&server.matrix_transform(&server.upload(&pair)?, &transform)?)?.remove(0);
    /// let y = secret.decrypt(&encoder, &y)?.publish_real(8)?;
    /// assert!((y[0] - 0.25).abs() < 0.01 && (y[1] + 2.0).abs() < 0.01);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn matrix_transform(
        &self,
        x: &CiphertextBatch<B>,
        transform: &MatrixTransform,
    ) -> Result<CiphertextBatch<B>, EvalError> {
        let MatrixTransform { level, target_level, scale, matrix } = transform;
        self.check_params(&x.params)?;
        let params = self.params();
        if *level > params.max_level() || *level == 0 {
            return Err(TransformError::BadLevel { level: *level, max: params.max_level() }.into());
        }
        if target_level >= level {
            return Err(TransformError::BadTarget { level: *level, to: *target_level }.into());
        }
        check_scale(*scale)?;
        if x.level < *level {
            return Err(EvalError::OutOfLevels { needed: *level, level: x.level });
        }
        if !x.items.is_multiple_of(matrix.columns()) {
            let left = x.items;
            let right = matrix.columns();
            return Err(EvalError::Mismatch { what: "ciphertexts of a group", left, right });
        }
        self.check_fits(x.scale * scale, *level)?;
        let from = params.limbs(*level);
        let to = params.limbs(*target_level);
        self.check_dropped(from, to)?;
        let sums = self.backend().matrix_product(x.data.view(), matrix, from);
        let data = self.backend().rescale(sums.view(), to);
        let divisor: f64 = (target_level + 1..=*level).map(|level| params.divisor(level)).product();
        let items = x.items / matrix.columns() * matrix.rows().len();
        Ok(CiphertextBatch { items, ..x.like(data, *target_level, x.scale * scale / divisor) })
    }
}
