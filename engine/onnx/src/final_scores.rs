//! The end of a model that a client computes from decrypted scores.

use crate::builder::Tensor;
use crate::graph::{LARGEST, LOGARITHMS, PROBABILITIES, RISING, SHARES, SMALLEST, Step};
use crate::importer::{Importer, Value};
use crate::polynomial::Polynomial;
use crate::problem::Problem;
use crate::shape;
use crate::shape::Selection;
use crate::unsupported::Unsupported;
use pleura_nn::ScoreTransform;

impl Importer<'_> {
    /// Sigmoid and softmax at the end: the scores, and what the client does with them.
    pub(crate) fn probabilities(&mut self, step: &Step<'_>) -> Result<Value, Problem> {
        let x = self.tensor(step, 0)?;
        if matches!(step.op, SHARES | LOGARITHMS | RISING) {
            let old = self.opset < 13;
            let axis = shape::axis(step.int("axis", if old { 1 } else { -1 }), x.shape.len() + 1)?;
            // Before version 13, it was taken over all axes from this one on.
            if old && axis == 0 {
                return Err(Problem::MixesBatch);
            }
            if !old || axis != 1 {
                whole(&x, axis, old)?;
            }
        }
        match step.op {
            PROBABILITIES => self.scores = ScoreTransform::Sigmoid,
            SHARES => self.scores = ScoreTransform::Softmax,
            LOGARITHMS => self.scores = ScoreTransform::LogSoftmax,
            _ => {}
        }
        Ok(Value::Tensor(x))
    }

    /// ArgMax and ArgMin at the end: a tensor of the label's shape, which stands for it.
    pub(crate) fn label(&mut self, step: &Step<'_>) -> Result<Value, Problem> {
        let mut x = self.tensor(step, 0)?;
        let axis = shape::axis(step.int("axis", 0), x.shape.len() + 1)?;
        whole(&x, axis, false)?;
        if step.op == SMALLEST {
            let negative = x.polynomial().times(&Polynomial::of(&[-1.0]), &mut self.builder.budget)?;
            x = x.with(&step.name, negative);
        }
        debug_assert!(matches!(step.op, LARGEST | SMALLEST), "only these make labels");
        self.scores = ScoreTransform::ArgMax { axes: 0, last: step.int("select_last_index", 0) != 0 };
        let axes = if step.int("keepdims", 1) != 0 { x.shape.len() } else { x.shape.len() - 1 };
        let first = Selection { shape: vec![1; axes + 1], sources: vec![Some(0)] };
        let label = self.builder.select(&step.name, &x, first, 0.0)?;
        self.labelled = Some(x);
        Ok(Value::Tensor(label))
    }
}

/// Refuses a function along an axis that is not the whole item, or along all axes from one on.
fn whole(x: &Tensor, axis: usize, and_later: bool) -> Result<(), Problem> {
    let Some(place) = axis.checked_sub(1) else { return Err(Problem::MixesBatch) };
    let covered: usize = match and_later {
        true => x.shape.iter().skip(place).product(),
        false => crate::shape::extent(&x.shape, place)?,
    };
    if covered == x.len() {
        return Ok(());
    }
    Err(Unsupported::PartOfItem.into())
}
