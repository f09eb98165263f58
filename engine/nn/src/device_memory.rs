//! Memory of a GPU that runs a plan: what stays there, and the buffers that one inference after the other takes from a pool.
//!
//! Buffers are replayed step by step in the order in which the GPU backend takes and returns them, with its sizes: eight between powers of two,
//! each used again for up to twice as little. The pool returns nothing to the driver until it has to, so what it holds is the peak.

#![expect(clippy::indexing_slicing, reason = "nodes are looked up in tables of their own program")]

use crate::step::{Operand, Program, StepKind};
use crate::{NodeId, NodeMap, ServerPlan};
use pleura_ckks::{BlockLinearTransform, Params};
use std::collections::BTreeMap;
use std::collections::BTreeSet;

/// Bytes of the tables of commands.
const TABLE_BYTES: usize = 1 << 22;
/// Smallest size of a buffer in bytes.
const SMALLEST: usize = 1 << 12;
/// Bytes of the steps between a gadget product and their sums.
const SCRATCH_BYTES: usize = 1 << 27;
/// Modular products of one dispatch.
const DISPATCH_COST: usize = 1 << 31;
/// Most bytes of diagonals that are kept at full length.
const MAX_EXPANDED_BYTES: usize = 1 << 22;
/// Least words of a transformed weight in a limb.
const THREAD_WORDS: usize = 16;

impl ServerPlan {
    /// Predicted bytes of a GPU's memory for tables, weights, the keys of one client, and inferences of `groups` groups at a time, at
    /// least one.
    pub fn device_bytes(&self, groups: usize) -> usize {
        let params = &self.params;
        let ring = params.ring();
        let twiddles = 16 * ring.words(ring.limbs(), 1);
        let groups = groups.max(1);
        let mut replay = Replay { params, program: &self.program, groups, pool: Pool::default() };
        replay.constants();
        // The second inference finds the buffers of the first.
        for _ in 0..2 {
            replay.inference();
        }
        TABLE_BYTES + twiddles + self.key_request().bytes(params) + replay.pool.held
    }
}

/// Buffers in use and waiting.
#[derive(Default)]
struct Pool {
    /// Number of buffers that wait, by their bytes.
    free: BTreeMap<usize, usize>,
    held: usize,
}

/// A buffer of a pool.
#[must_use]
struct Taken {
    bytes: usize,
}

impl Pool {
    fn take(&mut self, words: usize) -> Taken {
        let bytes = (4 * words).max(SMALLEST);
        let step = (bytes.next_power_of_two() / 8).max(SMALLEST);
        let bytes = bytes.next_multiple_of(step);
        let found = self.free.range(bytes..=2 * bytes).find(|(_, count)| **count > 0).map(|(&size, _)| size);
        let Some(size) = found else {
            self.held += bytes;
            return Taken { bytes };
        };
        self.free.entry(size).and_modify(|count| *count -= 1);
        Taken { bytes: size }
    }

    fn give(&mut self, taken: Taken) {
        *self.free.entry(taken.bytes).or_default() += 1;
    }
}

/// The steps of a plan, as buffers.
struct Replay<'a> {
    params: &'a Params,
    program: &'a Program,
    groups: usize,
    pool: Pool,
}

impl Replay<'_> {
    /// Weights and encoded constants, which stay.
    fn constants(&mut self) {
        let n = self.params.n();
        for (id, step) in self.program.steps.iter() {
            let ciphertexts = self.program.layout(id).ciphertexts;
            let poly = n * self.params.limbs(step.level).q;
            match &step.kind {
                StepKind::Linear { transform, bias, .. } => {
                    let weights: usize = transform.diagonals.iter().map(|d| d.poly.coefficients.len()).sum();
                    self.pool.held += 4 * weights;
                    if is_expanded(self.params, transform) {
                        let extended = self.extended(transform.level);
                        drop_taken(self.pool.take(transform.diagonals.len() * extended * n));
                    }
                    self.addend(bias, ciphertexts, poly);
                }
                StepKind::Matrix { bias, .. } | StepKind::SetScale { bias, .. } => {
                    self.addend(bias, ciphertexts, poly);
                }
                StepKind::Square { slope, constant, .. } => {
                    self.addend(slope, ciphertexts, poly);
                    self.addend(&[*constant], 1, poly);
                }
                StepKind::Chebyshev { coefficients, .. } => {
                    coefficients.0.iter().for_each(|list| self.addend(list, ciphertexts, poly));
                }
                StepKind::Input | StepKind::SumPool { .. } | StepKind::Mul { .. } | StepKind::Add { .. } => {}
            }
        }
    }

    fn addend(&mut self, values: &[f64], ciphertexts: usize, poly: usize) {
        if values.iter().any(|value| *value != 0.0) {
            let count = if values.len() == 1 { 1 } else { ciphertexts };
            drop_taken(self.pool.take(count * poly));
        }
    }

    fn inference(&mut self) {
        let steps = &self.program.steps;
        let mut last_reader = NodeMap::new(steps.len(), |_| None);
        for (id, step) in steps.iter() {
            step.reads().into_iter().for_each(|read| last_reader[read] = Some(id));
        }
        let mut values: NodeMap<Option<Taken>> = NodeMap::default();
        for (id, step) in steps.iter() {
            let value = self.step(id);
            values.push(Some(value));
            for read in step.reads() {
                if last_reader[read] == Some(id)
                    && let Some(value) = values[read].take()
                {
                    self.pool.give(value);
                }
            }
        }
        for id in steps.ids() {
            if let Some(value) = values[id].take() {
                self.pool.give(value);
            }
        }
    }

    /// Buffers of a step; returns that of its result.
    fn step(&mut self, id: NodeId) -> Taken {
        let step = &self.program.steps[id];
        let items = self.items(id);
        let level = step.level;
        match &step.kind {
            StepKind::Input | StepKind::SetScale { .. } => self.ciphertexts(items, 2, level),
            StepKind::Linear { input, scale_up_log2, transform, rotate_and_sum, .. } => {
                let scaled = (*scale_up_log2 > 0).then(|| {
                    let inputs = self.items(*input);
                    self.ciphertexts(inputs, 2, self.program.level(*input))
                });
                let dropped = (self.program.level(*input) > transform.level)
                    .then(|| self.ciphertexts(self.groups * transform.inputs, 2, transform.level));
                let value = self.transform(transform);
                self.give_all([scaled, dropped]);
                self.rotate_and_sum(value, rotate_and_sum.len(), items, transform.target_level)
            }
            StepKind::Matrix { transform, .. } => {
                let product = self.ciphertexts(items, 2, transform.level);
                self.rescaled(product, 2 * items, transform.level, level)
            }
            StepKind::SumPool { rotate_and_sum, .. } => {
                let value = self.ciphertexts(items, 2, level);
                self.rotate_and_sum(value, rotate_and_sum.len(), items, level)
            }
            StepKind::Square { input, slope, .. } => {
                let x = self.operand(input, items, level);
                let shifted = slope.iter().any(|s| *s != 0.0).then(|| self.ciphertexts(items, 2, level));
                let value = self.product(items, level, level);
                self.give_all([x, shifted]);
                value
            }
            StepKind::Chebyshev { input, coefficients } => {
                let top = self.program.level(*input);
                let elements = coefficients.degree().ilog2() as usize + 1;
                let held: Vec<_> = (0..2 * elements).map(|_| self.ciphertexts(items, 2, top)).collect();
                let value = self.product(items, top, level);
                held.into_iter().for_each(|taken| self.pool.give(taken));
                value
            }
            StepKind::Mul { inputs } => {
                let operands = inputs.each_ref().map(|operand| self.operand(operand, items, level));
                let value = self.product(items, level, level);
                self.give_all(operands);
                value
            }
            StepKind::Add { inputs, .. } => {
                let operands = inputs.each_ref().map(|operand| self.operand(operand, items, level));
                let value = self.ciphertexts(items, 2, level);
                self.give_all(operands);
                value
            }
        }
    }

    /// Sums of rotations, one group after the other, of a value that is not needed after it.
    fn rotate_and_sum(&mut self, mut value: Taken, groups: usize, items: usize, level: usize) -> Taken {
        for _ in 0..groups {
            let sum = self.switch(items, level, level);
            self.pool.give(value);
            value = sum;
        }
        value
    }

    fn give_all(&mut self, taken: impl IntoIterator<Item = Option<Taken>>) {
        taken.into_iter().flatten().for_each(|taken| self.pool.give(taken));
    }

    /// Buffers of a linear transform; returns that of its result.
    fn transform(&mut self, transform: &BlockLinearTransform) -> Taken {
        let BlockLinearTransform { level, target_level, inputs, outputs, .. } = transform;
        let n = self.params.n();
        let x = self.groups * inputs;
        let items = self.groups * outputs;
        let extended = self.extended(*level);
        let steps: BTreeSet<_> = transform.giant_steps.iter().collect();
        let switched = steps.iter().filter(|step| ***step != 0).count();
        let sums = 2 * steps.len() * items;
        let digits = transform.baby_steps.iter().any(|step| *step != 0).then(|| self.digits(x, *level));
        let out = self.pool.take(sums * extended * n);
        let rotated = 2 * transform.baby_steps.len() * x;
        let compact: usize = if is_expanded(self.params, transform) {
            0
        } else {
            transform.diagonals.iter().map(|d| d.poly.coefficients.len().max(THREAD_WORDS)).sum()
        };
        let by_memory = SCRATCH_BYTES / (4 * (rotated * n + compact));
        let by_cost = DISPATCH_COST / (2 * self.groups * transform.diagonals.len().max(1) * n);
        let at_once = by_memory.min(by_cost).clamp(1, extended);
        let at_once = extended.div_ceil(extended.div_ceil(at_once));
        let between = self.pool.take(at_once * rotated * n);
        let weights = (compact > 0).then(|| self.pool.take(at_once * compact));
        for taken in [weights, Some(between), digits].into_iter().flatten() {
            self.pool.give(taken);
        }
        if switched == 0 {
            return self.rescaled(out, 2 * items, *level, *target_level);
        }
        let second = self.divided(switched * items, *level, *level);
        let product = self.pool.take(2 * items * extended * n);
        let digits = self.digits(switched * items, *level);
        for taken in [digits, second, out] {
            self.pool.give(taken);
        }
        self.rescaled(product, 2 * items, *level, *target_level)
    }

    /// A product of ciphertexts, relinearized.
    fn product(&mut self, items: usize, level: usize, target: usize) -> Taken {
        let tensor = self.ciphertexts(items, 3, level);
        let value = self.switch(items, level, target);
        self.pool.give(tensor);
        value
    }

    /// A key switch of one part with one result.
    fn switch(&mut self, items: usize, level: usize, target: usize) -> Taken {
        let product = self.pool.take(2 * items * self.extended(level) * self.params.n());
        let digits = self.digits(items, level);
        self.pool.give(digits);
        self.rescaled(product, 2 * items, level, target)
    }

    /// The digits of some polynomials.
    fn digits(&mut self, polys: usize, level: usize) -> Taken {
        let n = self.params.n();
        let coefficients = self.pool.take(polys * self.params.limbs(level).q * n);
        let digits = polys * self.params.gadget(level).digits() * self.extended(level) * n;
        let digits = self.pool.take(digits);
        self.pool.give(coefficients);
        digits
    }

    /// The result of a division of polynomials over the extended limbs, which are not needed after it.
    fn rescaled(&mut self, x: Taken, polys: usize, level: usize, target: usize) -> Taken {
        let value = self.divided(polys, level, target);
        self.pool.give(x);
        value
    }

    fn divided(&mut self, polys: usize, level: usize, target: usize) -> Taken {
        let n = self.params.n();
        let kept = self.params.limbs(target).q;
        let coefficients = self.pool.take(polys * (self.extended(level) - kept) * n);
        let value = self.pool.take(polys * kept * n);
        self.pool.give(coefficients);
        value
    }

    /// An operand that is brought to another level or scale, if it is.
    fn operand(&mut self, operand: &Operand, items: usize, level: usize) -> Option<Taken> {
        let from = self.program.level(operand.node);
        let changed = operand.rescale_by > 0 || operand.scale_up_log2 > 0 || operand.aligned;
        changed.then(|| {
            let scaled = self.ciphertexts(items, 2, from);
            let value = self.ciphertexts(items, 2, level);
            self.pool.give(scaled);
            value
        })
    }

    fn ciphertexts(&mut self, items: usize, parts: usize, level: usize) -> Taken {
        self.pool.take(parts * items * self.params.limbs(level).q * self.params.n())
    }

    fn items(&self, id: NodeId) -> usize {
        self.groups * self.program.layout(id).ciphertexts
    }

    fn extended(&self, level: usize) -> usize {
        self.params.gadget(level).limbs.count()
    }
}

/// Whether diagonals are kept at full length.
fn is_expanded(params: &Params, transform: &BlockLinearTransform) -> bool {
    let limbs = params.gadget(transform.level).limbs;
    4 * params.ring().words(limbs, transform.diagonals.len()) <= MAX_EXPANDED_BYTES
}

/// Keeps a buffer for ever.
fn drop_taken(taken: Taken) {
    let Taken { .. } = taken;
}
