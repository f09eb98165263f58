//! Polynomials of every element, with coefficients that differ between elements: evaluation with prepared constants.
//!
//! A sum `c_from + c_(from+1) x + ...` is split at the largest power `g = 2^k` up to its degree, `q x^g + r`, so that products are
//! as few levels deep as can be (Paterson and Stockmeyer 1973 with steps of two). Levels and scales of all intermediate
//! values follow from those of `x`, so every constant is encoded before the first ciphertext arrives.

use crate::constants::{Constants, Factor};
use crate::layout::Layout;
use crate::{Coefficients, InferenceError};
use pleura_ckks::{Backend, CiphertextBatch, Evaluator, PreparedKeys, PreparedPlaintext};

/// A polynomial with all constants on the device.
pub(crate) struct PreparedPolynomial<B: Backend> {
    root: Sum<B>,
    degree: usize,
}

/// `q x^giant + r` at a level and scale.
struct Sum<B: Backend> {
    giant: usize,
    level: usize,
    scale: f64,
    leading: Leading<B>,
    rest: Rest<B>,
}

/// `q`.
enum Leading<B: Backend> {
    Constant(Factor<B>),
    /// A sum one level above, and its scale once rescaled.
    Sum(Box<Sum<B>>, f64),
}

/// `r`.
enum Rest<B: Backend> {
    Constant(PreparedPlaintext<B>),
    Sum(Box<Sum<B>>),
}

/// Level and scale of a value that is not computed yet.
#[derive(Clone, Copy)]
struct Form {
    level: usize,
    scale: f64,
}

/// The polynomial whose constants are being prepared.
struct Preparation<'a, B: Backend> {
    constants: &'a Constants<'a, B>,
    layout: &'a Layout,
    coefficients: &'a Coefficients,
    x: Form,
}

impl<B: Backend> PreparedPolynomial<B> {
    /// Prepares the constants of `coefficients` for an operand at a level and scale and a result at another.
    pub(crate) fn new(
        constants: &Constants<'_, B>,
        layout: &Layout,
        coefficients: &Coefficients,
        (x_level, x_scale): (usize, f64),
        (level, scale): (usize, f64),
    ) -> Result<Self, InferenceError> {
        let x = Form { level: x_level, scale: x_scale };
        let preparation = Preparation { constants, layout, coefficients, x };
        let degree = coefficients.degree();
        Ok(Self { root: preparation.sum(0, degree, Form { level, scale })?, degree })
    }

    /// The polynomial of `x`.
    pub(crate) fn evaluate(
        &self,
        evaluator: &Evaluator<B>,
        x: CiphertextBatch<B>,
        keys: &PreparedKeys<B>,
    ) -> Result<CiphertextBatch<B>, InferenceError> {
        let mut powers = vec![x];
        for _ in 0..self.degree.ilog2() {
            let largest = powers.last().ok_or(InferenceError::Internal("a polynomial has no powers"))?;
            powers.push(evaluator.square_rescale(largest, keys)?);
        }
        let sum = self.root.evaluate(evaluator, &powers, keys)?;
        if sum.parts() == 3 { Ok(evaluator.relinearize(&sum, keys)?) } else { Ok(sum) }
    }
}

impl<B: Backend> Preparation<'_, B> {
    /// `c_from + ... + c_(from + degree) x^degree`, of degree 1 or more.
    fn sum(&self, from: usize, degree: usize, result: Form) -> Result<Sum<B>, InferenceError> {
        let giant = 1 << degree.ilog2();
        let power = self.power(giant)?;
        let missing = result.scale / power.scale;
        let leading = if degree == giant {
            let values = self.coefficient(from + giant)?;
            Leading::Constant(self.constants.factor(self.layout, values, missing, result.level)?)
        } else {
            let level = result.level + 1;
            let scale = missing * self.constants.params().divisor(level);
            let quotient = self.sum(from + giant, degree - giant, Form { level, scale })?;
            Leading::Sum(Box::new(quotient), missing)
        };
        let rest = if giant == 1 {
            let values = self.coefficient(from)?;
            Rest::Constant(self.constants.addend(self.layout, values, result.scale, result.level)?)
        } else {
            Rest::Sum(Box::new(self.sum(from, giant - 1, result)?))
        };
        Ok(Sum { giant, level: result.level, scale: result.scale, leading, rest })
    }

    /// Level and scale of a power of two of `x`, which is squared and rescaled.
    fn power(&self, exponent: usize) -> Result<Form, InferenceError> {
        let mut power = self.x;
        for _ in 0..exponent.ilog2() {
            let level = power.level.checked_sub(1);
            let level = level.ok_or(InferenceError::Internal("a polynomial has more powers than levels"))?;
            power = Form {
                level,
                scale: power.scale * power.scale / self.constants.params().divisor(power.level),
            };
        }
        Ok(power)
    }

    fn coefficient(&self, power: usize) -> Result<&[f64], InferenceError> {
        let values = self.coefficients.0.get(power);
        values.map(Vec::as_slice).ok_or(InferenceError::Internal("a polynomial lacks a coefficient"))
    }
}

impl<B: Backend> Sum<B> {
    /// The sum, in two parts or three; `powers[k]` is `x^(2^k)`.
    fn evaluate(
        &self,
        evaluator: &Evaluator<B>,
        powers: &[CiphertextBatch<B>],
        keys: &PreparedKeys<B>,
    ) -> Result<CiphertextBatch<B>, InferenceError> {
        let power = powers.get(self.giant.ilog2() as usize);
        let power = power.ok_or(InferenceError::Internal("a polynomial lacks a power"))?;
        let power = evaluator.drop_level(power, self.level)?;
        let product = match &self.leading {
            Leading::Constant(factor) => factor.multiply(evaluator, &power)?,
            Leading::Sum(quotient, scale) => {
                let quotient = quotient.evaluate(evaluator, powers, keys)?;
                let quotient = if quotient.parts() == 3 {
                    evaluator.relinearize_rescale(&quotient, keys)?
                } else {
                    evaluator.rescale(&quotient)?
                };
                evaluator.mul_no_relin(&quotient.with_scale(*scale), &power)?
            }
        };
        let product = product.with_scale(self.scale);
        Ok(match &self.rest {
            Rest::Constant(addend) => evaluator.add_plain(&product, addend)?,
            Rest::Sum(rest) => evaluator.add(&rest.evaluate(evaluator, powers, keys)?, &product)?,
        })
    }
}
