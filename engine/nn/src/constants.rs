//! Constants of a plan on a device: encoded, transformed and uploaded once, when a server is made.

use crate::InferenceError;
use crate::layout::Layout;
use pleura_ckks::{
    Backend, CiphertextBatch, Complex64, Encoder, EvalError, Evaluator, Params, PreparedPlaintext,
};

/// Prepares constants for an evaluator.
pub(crate) struct Constants<'a, B: Backend> {
    evaluator: &'a Evaluator<B>,
    encoder: Encoder,
}

/// A factor of ciphertexts.
pub(crate) enum Factor<B: Backend> {
    /// One value for all slots, and the scale that the product gains.
    Shared(f64, f64),
    /// A value for each slot.
    Each(PreparedPlaintext<B>),
}

impl<'a, B: Backend> Constants<'a, B> {
    pub(crate) fn new(evaluator: &'a Evaluator<B>) -> Self {
        Self { evaluator, encoder: Encoder::new(evaluator.params()) }
    }

    pub(crate) fn params(&self) -> &Params {
        self.evaluator.params()
    }

    /// An addend for ciphertexts at a scale and level: one value for all slots, or one for each element of a layout.
    pub(crate) fn addend(
        &self,
        layout: &Layout,
        values: &[f64],
        scale: f64,
        level: usize,
    ) -> Result<PreparedPlaintext<B>, InferenceError> {
        match values {
            [shared] => Ok(self.evaluator.upload_constant(*shared, scale, level)?),
            each => self.elements(layout, each, scale, level),
        }
    }

    /// An addend that is left out where every value is zero.
    pub(crate) fn optional_addend(
        &self,
        layout: &Layout,
        values: &[f64],
        scale: f64,
        level: usize,
    ) -> Result<Option<PreparedPlaintext<B>>, InferenceError> {
        let some = values.iter().any(|value| *value != 0.0);
        some.then(|| self.addend(layout, values, scale, level)).transpose()
    }

    /// A factor by which the scale of ciphertexts at a level grows `scale` times.
    pub(crate) fn factor(
        &self,
        layout: &Layout,
        values: &[f64],
        scale: f64,
        level: usize,
    ) -> Result<Factor<B>, InferenceError> {
        match values {
            [shared] => Ok(Factor::Shared(*shared, scale)),
            each => Ok(Factor::Each(self.elements(layout, each, scale, level)?)),
        }
    }

    fn elements(
        &self,
        layout: &Layout,
        values: &[f64],
        scale: f64,
        level: usize,
    ) -> Result<PreparedPlaintext<B>, InferenceError> {
        let mut plaintexts = Vec::with_capacity(layout.ciphertexts);
        for slots in layout.fill(values) {
            let slots: Vec<Complex64> = slots.into_iter().map(Complex64::from).collect();
            plaintexts.push(self.encoder.encode_at(&slots, scale)?);
        }
        Ok(self.evaluator.upload_plaintexts(&plaintexts, level)?)
    }
}

impl<B: Backend> Factor<B> {
    /// The product of ciphertexts and the factor.
    pub(crate) fn multiply(
        &self,
        evaluator: &Evaluator<B>,
        x: &CiphertextBatch<B>,
    ) -> Result<CiphertextBatch<B>, EvalError> {
        match self {
            Self::Shared(value, scale) => evaluator.mul_const(x, *value, *scale),
            Self::Each(plaintext) => evaluator.mul_plain(x, plaintext),
        }
    }
}
