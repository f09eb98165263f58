//! Items in the plaintext network: values beyond what a plan was calibrated for.

use crate::failure::Failure;
use crate::work::Interruption;
use ndarray::{ArrayD, ArrayViewD};
use pleura::nn::{FittedActivation, Network, Plan, RangeViolation, ScoreTransform};
use pleura::remote::ClientBundle;
use std::collections::BTreeMap;

/// Errors of probabilities that are warned about.
const PROBABILITY_ERROR: f64 = 0.01;

/// The network that was compiled, and the polynomials in it that replace activations.
pub(crate) struct Checks {
    pub(crate) network: Network,
    pub(crate) fitted: Vec<FittedActivation>,
}

impl Checks {
    /// Sentences about nodes whose values on `items` exceed four times their range, and about values outside the intervals on which
    /// polynomials replace activations.
    pub(crate) fn warnings(
        &self,
        plan: &Plan,
        items: &ArrayD<f64>,
        interruption: &Interruption,
    ) -> Result<Vec<String>, Failure> {
        let mut beyond: BTreeMap<String, RangeViolation> = BTreeMap::new();
        let mut operands = vec![[f64::INFINITY, f64::NEG_INFINITY]; self.fitted.len()];
        for item in items.outer_iter() {
            interruption.check()?;
            self.add(plan, item, &mut beyond, &mut operands);
        }
        let beyond = beyond.into_values().map(|violation| {
            format!(
                "{violation}: results may be wrong, also those of items that share ciphertexts; give compile(..., calibration=) items \
                 like these"
            )
        });
        let outside =
            self.fitted.iter().zip(operands).filter(|(fit, [low, high])| low < &fit.from || high > &fit.to);
        let outside = outside.map(|(FittedActivation { name, from, to, .. }, [low, high])| {
            format!(
                "the polynomial at {name} was fitted on {from:.3e} to {to:.3e}, and values from {low:.3e} to {high:.3e} reach it: \
                 results are not those of the model; give compile(..., calibration=) items like these"
            )
        });
        Ok(beyond.chain(outside).collect())
    }

    fn add(
        &self,
        plan: &Plan,
        item: ArrayViewD<'_, f64>,
        beyond: &mut BTreeMap<String, RangeViolation>,
        operands: &mut [[f64; 2]],
    ) {
        let item: Vec<f64> = item.iter().copied().collect();
        let trace = self.network.trace(&item);
        for violation in plan.violations_of(&self.network, &trace) {
            let worst = beyond.entry(violation.node.clone()).or_insert_with(|| violation.clone());
            if violation.times() > worst.times() {
                *worst = violation;
            }
        }
        for (fitted, [low, high]) in self.fitted.iter().zip(operands) {
            for x in trace.get(fitted.operand).into_iter().flatten() {
                *low = low.min(*x);
                *high = high.max(*x);
            }
        }
    }
}

/// Published results are multiples of it, or of smaller numbers where they have units of their own.
pub(crate) fn rounding(bundle: &ClientBundle) -> f64 {
    f64::from(-bundle.spec().publish_bits()).exp2()
}

/// A sentence if rounded scores are too coarse for probabilities.
pub(crate) fn coarse_probabilities(bundle: &ClientBundle) -> Option<String> {
    let is_probability = matches!(bundle.scores(), ScoreTransform::Sigmoid | ScoreTransform::Softmax);
    let step = rounding(bundle);
    // The steepest slope is a quarter.
    (is_probability && step / 4.0 > PROBABILITY_ERROR).then(|| {
        format!(
            "scores are rounded to multiples of {step}, so that probabilities near 1/2 mean nothing; the network's scores should be \
             scaled down before its last layer"
        )
    })
}
