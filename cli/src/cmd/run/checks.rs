//! Items in the plaintext network: its results, and values beyond what was planned for.

use crate::text::short;
use anyhow::{Context, Result};
use ndarray::ArrayViewD;
use pleura::nn::{FittedActivation, Network, Plan, RangeViolation};
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
    /// Nodes beyond their range: the furthest values, and the number of items.
    beyond: BTreeMap<String, (RangeViolation, usize)>,
    /// The smallest and the largest operand of each fitted activation.
    operands: Vec<[f64; 2]>,
}

impl Findings {
    /// Adds those of other items.
    pub(super) fn add(&mut self, other: &Self) {
        self.items += other.items;
        for (violation, items) in other.beyond.values() {
            self.add_beyond(violation, *items);
        }
        self.add_operands(&other.operands);
    }

    fn add_beyond(&mut self, violation: &RangeViolation, items: usize) {
        let (worst, count) =
            self.beyond.entry(violation.node.clone()).or_insert_with(|| (violation.clone(), 0));
        if violation.times() > worst.times() {
            worst.clone_from(violation);
        }
        *count += items;
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
            beyond.add_beyond(&violation, 0);
        }
        for (violation, _) in beyond.beyond.values() {
            findings.add_beyond(violation, 1);
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
        let mut sentences: Vec<String> = findings.beyond.values().map(|(violation, times)| {
            format!(
                "{violation} (in {times} of {count} items): results may be \
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
        let violation =
            |found| RangeViolation { node: "relu".to_owned(), calibrated: 1.0, found, offset: 0.0 };
        let of = |found, operands: [f64; 2]| {
            let mut findings = Findings { items: 1, ..Findings::default() };
            findings.add_beyond(&violation(found), 1);
            findings.add_operands(&[operands]);
            findings
        };
        let mut all = Findings::default();
        all.add(&of(3.0, [-1.0, 2.0]));
        all.add(&of(2.0, [-4.0, 1.0]));
        assert_eq!(
            (all.items, all.beyond["relu"].clone(), all.operands),
            (2, (violation(3.0), 2), vec![[-4.0, 2.0]])
        );
    }
}
