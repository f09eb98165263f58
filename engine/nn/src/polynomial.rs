//! Polynomials of every element in the Chebyshev basis, with coefficients that may differ between elements:
//! evaluation with prepared constants.
//!
//! A sum `c_0 + c_1 T_1(x) + ...` is split at the largest power of two `g` up to its degree, `q T_g + r`, by
//! `T_(g+i) = 2 T_g T_i - T_(g-i)`, so that products are as few levels deep as can be (Paterson and Stockmeyer 1973
//! with steps of two; for this basis Chen, Chillotti, Song 2019). Levels and scales of all intermediate values follow
//! from those of `x`, so every constant is encoded before the first ciphertext arrives.

use crate::constants::{Constants, Factor};
use crate::layout::Layout;
use crate::network::add_scaled;
use crate::{Coefficients, InferenceError};
use pleura_ckks::{Backend, CiphertextBatch, Evaluator, PreparedKeys, PreparedPlaintext};

/// A polynomial with all constants on the device.
pub(crate) struct PreparedPolynomial<B: Backend> {
    root: Sum<B>,
    /// The addend -1 of each doubling `T_2k = 2 T_k^2 - 1`, at the level and scale of the product.
    minus_one: Vec<PreparedPlaintext<B>>,
}

/// Level and scale of a value that is not computed yet.
#[derive(Clone, Copy)]
pub(crate) struct Form {
    pub(crate) level: usize,
    pub(crate) scale: f64,
}

/// `q T_giant + r` at a level and scale.
struct Sum<B: Backend> {
    giant: usize,
    level: usize,
    scale: f64,
    leading: Leading<B>,
    rest: Rest<B>,
}

/// `q`
enum Leading<B: Backend> {
    Constant(Factor<B>),
    /// A sum one level above, and its scale once rescaled.
    Sum(Box<Sum<B>>, f64),
}

/// `r`
enum Rest<B: Backend> {
    Zero,
    Constant(PreparedPlaintext<B>),
    Sum(Box<Sum<B>>),
}

/// The polynomial whose constants are being prepared.
struct Preparation<'a, B: Backend> {
    constants: &'a Constants<'a, B>,
    layout: &'a Layout,
    x: Form,
}

/// Coefficients of a piece of a polynomial: a list for each element of the basis, the last one not zero.
type Lists = Vec<Vec<f64>>;

impl<B: Backend> PreparedPolynomial<B> {
    /// Prepares the constants of a polynomial of degree 1 or more for an operand and a result of known forms.
    pub(crate) fn new(
        constants: &Constants<'_, B>,
        layout: &Layout,
        coefficients: &Coefficients,
        x: Form,
        result: Form,
    ) -> Result<Self, InferenceError> {
        let preparation = Preparation { constants, layout, x };
        let root = preparation.sum(trimmed(coefficients.0.clone()), result)?;
        let doublings = coefficients.degree().ilog2();
        let minus_one = (0..doublings).map(|k| {
            let Form { level, scale } = preparation.element(1 << k)?;
            constants.addend(layout, &[-1.0], scale * scale, level)
        });
        Ok(Self { root, minus_one: minus_one.collect::<Result<_, InferenceError>>()? })
    }

    /// The polynomial of `x`, which has the form that the constants were prepared for.
    pub(crate) fn evaluate(
        &self,
        evaluator: &Evaluator<B>,
        x: &CiphertextBatch<B>,
        keys: &PreparedKeys<B>,
    ) -> Result<CiphertextBatch<B>, InferenceError> {
        let mut elements = vec![evaluator.copy(x)?];
        for minus_one in &self.minus_one {
            let largest = elements.last().ok_or(InferenceError::Internal("a polynomial has no elements"))?;
            let double = evaluator.add(largest, largest)?;
            let mut product = evaluator.mul_no_relin(&double, largest)?;
            evaluator.add_plain_assign(&mut product, minus_one)?;
            elements.push(evaluator.relinearize_rescale(&product, keys)?);
        }
        let sum = self.root.evaluate(evaluator, &elements, keys)?;
        if sum.parts() == 3 { Ok(evaluator.relinearize(&sum, keys)?) } else { Ok(sum) }
    }
}

impl<B: Backend> Preparation<'_, B> {
    fn sum(&self, mut lists: Lists, result: Form) -> Result<Sum<B>, InferenceError> {
        let degree = lists.len().saturating_sub(1);
        let giant =
            1 << degree.checked_ilog2().ok_or(InferenceError::Internal("a polynomial is constant"))?;
        let mut quotient = lists.split_off(giant);
        for (i, high) in quotient.iter_mut().enumerate().skip(1) {
            let low =
                lists.get_mut(giant - i).ok_or(InferenceError::Internal("a polynomial is split wrongly"))?;
            *low = add_scaled(low, high, -1.0);
            high.iter_mut().for_each(|c| *c *= 2.0);
        }
        let missing = result.scale / self.element(giant)?.scale;
        let leading = if let [constant] = &quotient[..] {
            Leading::Constant(self.constants.factor(self.layout, constant, missing, result.level)?)
        } else {
            let level = result.level + 1;
            let scale = missing * self.constants.params().divisor(level);
            Leading::Sum(Box::new(self.sum(quotient, Form { level, scale })?), missing)
        };
        let lists = trimmed(lists);
        let rest = match &lists[..] {
            [] => Rest::Zero,
            [constant] => {
                Rest::Constant(self.constants.addend(self.layout, constant, result.scale, result.level)?)
            }
            _ => Rest::Sum(Box::new(self.sum(lists, result)?)),
        };
        Ok(Sum { giant, level: result.level, scale: result.scale, leading, rest })
    }

    /// Level and scale of `T_index(x)` for a power of two.
    fn element(&self, index: usize) -> Result<Form, InferenceError> {
        let mut element = self.x;
        for _ in 0..index.ilog2() {
            let level = element.level.checked_sub(1);
            let level =
                level.ok_or(InferenceError::Internal("a polynomial has more elements than levels"))?;
            element = Form {
                level,
                scale: element.scale * element.scale / self.constants.params().divisor(element.level),
            };
        }
        Ok(element)
    }
}

impl<B: Backend> Sum<B> {
    /// The sum, in two parts or three; `elements[k]` is `T_(2^k)(x)`.
    fn evaluate(
        &self,
        evaluator: &Evaluator<B>,
        elements: &[CiphertextBatch<B>],
        keys: &PreparedKeys<B>,
    ) -> Result<CiphertextBatch<B>, InferenceError> {
        let element = elements.get(self.giant.ilog2() as usize);
        let element = element.ok_or(InferenceError::Internal("a polynomial lacks an element"))?;
        let element = evaluator.drop_level(element, self.level)?;
        let product = match &self.leading {
            Leading::Constant(factor) => factor.multiply(evaluator, &element)?,
            Leading::Sum(quotient, scale) => {
                let quotient = quotient.evaluate(evaluator, elements, keys)?;
                let quotient = if quotient.parts() == 3 {
                    evaluator.relinearize_rescale(&quotient, keys)?
                } else {
                    evaluator.rescale(&quotient)?
                };
                evaluator.mul_no_relin(&quotient.with_scale(*scale), &element)?
            }
        };
        let product = product.with_scale(self.scale);
        Ok(match &self.rest {
            Rest::Zero => product,
            Rest::Constant(addend) => evaluator.add_plain(&product, addend)?,
            Rest::Sum(rest) => evaluator.add(&rest.evaluate(evaluator, elements, keys)?, &product)?,
        })
    }
}

/// The lists without leading ones that are zero.
fn trimmed(mut lists: Lists) -> Lists {
    while lists.pop_if(|list| list.iter().all(|c| *c == 0.0)).is_some() {}
    lists
}
