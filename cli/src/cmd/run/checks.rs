//! Items in the plaintext network: its results, and values beyond what was planned for.

use crate::text::short;
use anyhow::{Context, Result};
use ndarray::ArrayViewD;
use pleura::nn::{FittedActivation, Network, Plan};
use std::collections::BTreeMap;

/// The plaintext network, with the ranges of its plan and of the polynomials in it.
pub(super) struct Checks<'a> {
    plan: &'a Plan,
    network: &'a Network,
    fitted: &'a [FittedActivation],
}

/// Values seen in some items.
#[derive(Default)]
pub(super) struct Findings {
    items: usize,
    /// Nodes beyond their range: the range they were calibrated for, the largest value, and the number of items.
    beyond: BTreeMap<String, (f64, f64, usize)>,
    /// The smallest and the largest operand of each fitted activation.
    operands: Vec<[f64; 2]>,
}

impl Findings {
    /// Adds those of other items.
    pub(super) fn add(&mut self, other: &Self) {
        self.items += other.items;
        for (node, &(calibrated, found, items)) in &other.beyond {
            self.add_beyond(node, calibrated, found, items);
        }
        self.add_operands(&other.operands);
    }

    fn add_beyond(&mut self, node: &str, calibrated: f64, found: f64, items: usize) {
        let entry = self.beyond.entry(node.to_owned()).or_insert((calibrated, found, 0));
        *entry = (entry.0, entry.1.max(found), entry.2 + items);
    }

    fn add_operands(&mut self, operands: &[[f64; 2]]) {
        if self.operands.is_empty() {
            self.operands = operands.to_vec();
            return;
        }
        for (seen, &[low, high]) in self.operands.iter_mut().zip(operands) {
            *seen = [seen[0].min(low), seen[1].max(high)];
        }
    }
}

impl<'a> Checks<'a> {
    pub(super) fn new(plan: &'a Plan, network: &'a Network, fitted: &'a [FittedActivation]) -> Self {
        Self { plan, network, fitted }
    }

    /// Results of the plaintext network for an item, whose values are added to the findings.
    pub(super) fn evaluate(&self, item: ArrayViewD<'_, f64>, findings: &mut Findings) -> Result<Vec<f64>> {
        let values: Vec<f64> = item.iter().copied().collect();
        let trace = self.network.trace(&values);
        findings.items += 1;
        // Several nodes may have one name.
        let mut beyond = Findings::default();
        for violation in self.plan.violations_of(self.network, &trace) {
            beyond.add_beyond(&violation.node, violation.calibrated, violation.found, 0);
        }
        for (node, (calibrated, found, _)) in beyond.beyond {
            findings.add_beyond(&node, calibrated, found, 1);
        }
        let operands: Vec<[f64; 2]> =
            self.fitted.iter().map(|fitted| extremes(trace.get(fitted.operand))).collect();
        findings.add_operands(&operands);
        trace.into_values().pop().context("internal error: a network has no values; please report it")
    }

    /// Sentences about values beyond the range that the plan was calibrated for, and outside the intervals on which polynomials replace
    /// activations.
    pub(super) fn warnings(&self, findings: &Findings) -> Vec<String> {
        let count = findings.items;
        let mut sentences: Vec<String> = findings.beyond.iter().map(|(node, (calibrated, seen, times))| {
            format!(
                "{node} was calibrated up to {calibrated:.3e} and reaches {seen:.3e} (in {times} of {count} items): results may be \
                 far off, also those of items that share ciphertexts with them; --calibrate with items like these"
            )
        }).collect();
        for (FittedActivation { name, from, to, .. }, &[low, high]) in
            self.fitted.iter().zip(&findings.operands)
        {
            if low < *from || high > *to {
                sentences.push(format!(
                    "polynomials at {name} were fitted on {} to {}, and values from {} to {} reach them: results are not those of \
                     the model; calibrate with items like these, or use a wider --interval",
                    short(*from),
                    short(*to),
                    short(low),
                    short(high)
                ));
            }
        }
        sentences
    }
}

/// The smallest and the largest of some values.
fn extremes(values: Option<&Vec<f64>>) -> [f64; 2] {
    let values = values.into_iter().flatten().copied();
    values.fold([f64::INFINITY, f64::NEG_INFINITY], |[low, high], x| [low.min(x), high.max(x)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn findings_of_groups_add_up() {
        let of = |found, operands: [f64; 2]| {
            let mut findings = Findings { items: 1, ..Findings::default() };
            findings.add_beyond("relu", 1.0, found, 1);
            findings.add_operands(&[operands]);
            findings
        };
        let mut all = Findings::default();
        all.add(&of(3.0, [-1.0, 2.0]));
        all.add(&of(2.0, [-4.0, 1.0]));
        assert_eq!((all.items, all.beyond["relu"], all.operands), (2, (1.0, 3.0, 2), vec![[-4.0, 2.0]]));
    }
}
