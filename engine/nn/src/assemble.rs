//! A draft with its weights: every step is lowered, encoded, and tried on the slots of a calibration item.

use crate::arrange::{self, LinearKind};
use crate::draft::{Draft, linear_at, pool_rotations};
use crate::layout::Layout;
use crate::lower::{Diagonals, Lowering, Place, Split};
use crate::plan::{HEADROOM, Operand, Plan, PlanError, Progress, Step, ranges};
use crate::report::Report;
use crate::rewrite::is_monic;
use crate::{Coefficients, Linear, Node, NodeId, Op};
use pleura_ckks::{BlockLinearTransform, Diagonal, Encoder, Params};
use rayon::prelude::*;

/// Bits of scale times range that the result has more than other values: nothing follows it, and it may use most of what is left.
const OUTPUT_BITS: f64 = 6.0;
/// Operands of linear steps with fewer bits of scale are multiplied by a power of two: else the noise of rotations shows.
const ROTATION_BITS: f64 = 37.0;
/// Bits of the largest coefficient of a weight.
const WORD_BITS: f64 = 30.0;

impl Draft {
    /// The plan, every step of which was compared with the clear twin on the first item.
    pub(crate) fn assemble(&self, items: &[Vec<f64>], progress: Progress<'_>) -> Result<Plan, PlanError> {
        let params = Params::new(self.literal)?;
        let ranges = ranges(&self.network, items)?;
        let item = items.first().map(Vec::as_slice).unwrap_or_default();
        let trace = self.network.trace(item);
        let mut assembly = Assembly {
            draft: self,
            encoder: Encoder::new(&params),
            classes: arrange::scale_classes(&self.network, &self.levels),
            ranges,
            steps: Vec::new(),
            scales: Vec::new(),
            values: Vec::new(),
            report: self.report(&params),
            params,
        };
        let total = self.network.nodes().len();
        for (i, node) in self.network.nodes().iter().enumerate() {
            progress("lowering and encoding", i, total);
            assembly.step(i, node, item, trace.values().get(i).map(Vec::as_slice).unwrap_or_default())?;
        }
        progress("lowering and encoding", total, total);
        let Assembly { params, steps, scales, ranges, mut report, .. } = assembly;
        report.weight_bytes = report.layers.iter().map(|l| l.bytes).sum();
        let length = |shape: &[usize]| shape.iter().product();
        let mut plan = Plan {
            params,
            steps,
            layouts: self.layouts.clone(),
            scales,
            error: self.error(),
            input_len: length(self.network.input_shape()),
            output_len: length(self.network.output_shape()),
            ranges,
            report,
        };
        plan.count_bytes();
        Ok(plan)
    }
}

/// A plan in the making.
struct Assembly<'a> {
    draft: &'a Draft,
    params: Params,
    encoder: Encoder,
    /// Nodes of one scale, by the first of each class.
    classes: Vec<usize>,
    ranges: Vec<f64>,
    steps: Vec<Step>,
    scales: Vec<f64>,
    /// What the slots of each node's ciphertexts hold for the item.
    values: Vec<Slots>,
    report: Report,
}

/// Slots of some ciphertexts.
type Slots = Vec<Vec<f64>>;

impl Assembly<'_> {
    /// The step of a node, which must make of the item what the clear twin does.
    fn step(&mut self, i: usize, node: &Node, item: &[f64], expected: &[f64]) -> Result<(), PlanError> {
        let layout = self.draft.layouts.get(i).cloned().ok_or(PlanError::Damaged)?;
        let is_output = i + 1 == self.draft.network.nodes().len();
        let (step, scale, slots) = match &node.op {
            Op::Input => (Step::Input, self.free_scale(i), layout.fill(item)),
            Op::Linear(x, linear) => match arrange::linear_kind(linear, is_output, self.draft.levels.pools) {
                LinearKind::Relabel => self.relabel(*x, linear, &layout),
                LinearKind::Pool => self.pool(i, *x)?,
                LinearKind::Transform => self.transform(i, node, *x, linear, &layout)?,
            },
            Op::Polynomial(x, c) => self.polynomial(i, *x, c, &layout),
            Op::Mul(a, b) => {
                let inputs = [self.operand(i, 0, *a), self.operand(i, 1, *b)];
                let scale = self.factor_scale(&inputs[0]) * self.factor_scale(&inputs[1]);
                (Step::Product { inputs }, scale, zip(self.slots(*a), self.slots(*b), |a, b| a * b))
            }
            Op::Add(a, b) | Op::Sub(a, b) => {
                let negative = matches!(node.op, Op::Sub(..));
                let inputs = [self.operand(i, 0, *a), self.operand(i, 1, *b)];
                let (scale, sign) = (self.free_scale(i), if negative { -1.0 } else { 1.0 });
                let slots = zip(self.slots(*a), self.slots(*b), |a, b| a + sign * b);
                (Step::Sum { inputs, negative, scale }, scale, slots)
            }
        };
        let range = self.ranges.get(i).copied().unwrap_or(1.0);
        let got = layout.read(&slots);
        let error = got.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max) / range;
        if error.is_nan() || error > 1e-6 {
            return Err(PlanError::Wrong { node: node.name.clone(), error });
        }
        self.steps.push(step);
        self.scales.push(scale);
        self.values.push(slots);
        Ok(())
    }

    fn relabel(&self, x: NodeId, linear: &Linear, layout: &Layout) -> (Step, f64, Slots) {
        let factor = linear.scale_factors().first().copied().unwrap_or(1.0);
        let bias = linear.bias().to_vec();
        let slots = zip(self.slots(x), &layout.fill(&bias), |x, b| x * factor + b);
        (Step::Relabel { input: x.index(), factor, bias }, self.scale(x) / factor.abs(), slots)
    }

    fn pool(&mut self, i: usize, x: NodeId) -> Result<(Step, f64, Slots), PlanError> {
        let Draft { network, layouts, levels, .. } = self.draft;
        let rotations = pool_rotations(network, layouts, levels.pools, i).flatten();
        let rotations = rotations.ok_or(PlanError::Damaged)?;
        let count = f64::from(1u32 << rotations.len());
        let sums = |slots: &Vec<f64>| {
            let mut sums = slots.clone();
            sum_rotations(&mut sums, &rotations);
            sums.iter().map(|x| x / count).collect()
        };
        let slots: Slots = self.slots(x).iter().map(sums).collect();
        if let Some(layer) = self.report.layers.get_mut(i) {
            layer.rotations = rotations.len() * slots.len();
        }
        Ok((Step::Pool { input: x.index(), rotations }, self.scale(x) * count, slots))
    }

    fn polynomial(&self, i: usize, x: NodeId, c: &Coefficients, layout: &Layout) -> (Step, f64, Slots) {
        let input = self.operand(i, 0, x);
        let coefficients: Vec<Slots> = c.0.iter().map(|c| fill(layout, c)).collect();
        let zeros = || vec![vec![0.0; layout.slots]; layout.ciphertexts];
        let slots = coefficients.iter().rev().fold(zeros(), |sum, c| {
            zip(&zip(&sum, self.slots(x), |sum, x| sum * x), c, |product, c| product + c)
        });
        if is_monic(c) {
            let (slope, constant) = (c.0.get(1).cloned().unwrap_or_default(), c.at(0, 0));
            let scale = self.factor_scale(&input).powi(2);
            return (Step::Square { input, slope, constant }, scale, slots);
        }
        let scale = arrange::polynomial_bits(self.draft.levels.message_bits).exp2() / self.range(i);
        (Step::Polynomial { input, coefficients: c.clone(), scale }, scale, slots)
    }

    fn transform(
        &mut self,
        i: usize,
        node: &Node,
        x: NodeId,
        linear: &Linear,
        layout: &Layout,
    ) -> Result<(Step, f64, Slots), PlanError> {
        let (from, to) = (self.level(x.index()), self.level(i));
        let scale = self.free_scale(i);
        let weight_scale = scale * self.divisor(from, to) / self.scale(x);
        let quiet = ROTATION_BITS - self.draft.levels.nodes.get(x.index()).map_or(0.0, |n| n.bits);
        let lowered = self.lower(i, linear, self.slots(x))?;
        let largest = lowered.iter().flat_map(|(d, _)| d.values()).flatten();
        let largest = largest.fold(0.0f64, |m, v| m.max(v.abs())).max(f64::MIN_POSITIVE);
        let boost = ((largest * weight_scale).log2() - WORD_BITS).max(quiet).ceil().clamp(0.0, 100.0);
        let inputs = self.draft.layouts.get(x.index()).map_or(1, |l| l.ciphertexts);
        let mut transform = BlockLinearTransform {
            level: from,
            target_level: to,
            scale: weight_scale / boost.exp2(),
            inputs,
            outputs: layout.ciphertexts,
            baby_steps: vec![0],
            giant_steps: vec![0],
            diagonals: Vec::new(),
        };
        let split = self.draft.works.get(i).copied().flatten().map_or(Split::NONE, |(split, _)| split);
        let mut slots = Vec::with_capacity(lowered.len());
        for (diagonals, value) in lowered {
            self.encode(&mut transform, split, diagonals)
                .map_err(|source| PlanError::Encode { node: node.name.clone(), source })?;
            slots.push(value);
        }
        let folds = linear_at(&self.draft.network, &self.draft.layouts, self.draft.levels.pools, i)
            .map_or_else(Vec::new, |(linear, from, to)| Lowering::new(linear, from, to, false).folds());
        let bias = linear.bias().to_vec();
        let slots = zip(&slots, &layout.fill(&bias), |x, b| x + b);
        if let Some(layer) = self.report.layers.get_mut(i) {
            let count = |steps: &[i64]| steps.iter().filter(|&&s| s != 0).count();
            layer.diagonals = transform.diagonals.len();
            layer.rotations = count(&transform.baby_steps) * transform.inputs
                + (count(&transform.giant_steps) + folds.len()) * transform.outputs;
            layer.bytes = transform.diagonals.iter().map(|d| 4 * d.poly.coefficients.len()).sum();
        }
        Ok((Step::Transform { input: x.index(), boost: boost as u32, transform, folds, bias }, scale, slots))
    }

    /// The diagonals of each ciphertext of a linear node, and what they make of the slots.
    fn lower(
        &self,
        i: usize,
        linear: &Linear,
        input: &[Vec<f64>],
    ) -> Result<Vec<(Diagonals, Vec<f64>)>, PlanError> {
        let Draft { network, layouts, levels, .. } = self.draft;
        let (_, from, to) = linear_at(network, layouts, levels.pools, i).ok_or(PlanError::Damaged)?;
        let masked = i + 1 == network.nodes().len();
        let lower = |ciphertext, masked| {
            let lowering = Lowering::new(linear, from, to, masked);
            let diagonals = lowering.diagonals(ciphertext);
            let slots = apply(&diagonals, input, from.slots, &lowering.folds());
            (diagonals, slots)
        };
        let one = |ciphertext| {
            let lowered = lower(ciphertext, masked);
            // Junk beside the elements must not outgrow them: rather none.
            if outgrown(linear, to, ciphertext, &lowered.1) { lower(ciphertext, true) } else { lowered }
        };
        Ok((0..to.ciphertexts).into_par_iter().map(one).collect())
    }

    /// Adds diagonals to a transform, each rotated back by its giant step.
    fn encode(
        &self,
        transform: &mut BlockLinearTransform,
        split: Split,
        diagonals: Diagonals,
    ) -> Result<(), pleura_ckks::EncodeError> {
        let scale = transform.scale;
        let encode = |(place, mut values): (Place, Vec<f64>)| {
            let (baby, giant) = split.parts(place.step);
            let by = giant.rem_euclid(values.len() as i64) as usize;
            values.rotate_right(by);
            self.encoder.encode_compact(&values, scale).map(|poly| (place, baby, giant, poly))
        };
        let encoded: Result<Vec<_>, _> = diagonals.into_par_iter().map(encode).collect();
        for (place, baby, giant, poly) in encoded? {
            let baby_step = position(&mut transform.baby_steps, baby);
            let giant_step = position(&mut transform.giant_steps, giant);
            let (input, output) = (place.input, place.output);
            transform.diagonals.push(Diagonal { input, output, baby_step, giant_step, poly });
        }
        Ok(())
    }

    fn operand(&self, i: usize, k: usize, id: NodeId) -> Operand {
        let node = self.draft.levels.nodes.get(i);
        let primes = node.and_then(|n| n.rescaled.get(k)).copied().unwrap_or(0);
        let aligned = node.and_then(|n| n.aligned.get(k)).copied().unwrap_or(false);
        let boost = node.and_then(|n| n.boosts.get(k)).copied().unwrap_or(0);
        Operand { step: id.index(), primes, aligned, boost }
    }

    /// The scale of a factor after its division.
    fn factor_scale(&self, operand: &Operand) -> f64 {
        let level = self.level(operand.step);
        self.scales.get(operand.step).copied().unwrap_or(1.0) * f64::from(operand.boost).exp2()
            / self.divisor(level, level - operand.primes.min(level))
    }

    /// The scale of a node that can have any: the largest value of its class fills the message bits.
    fn free_scale(&self, i: usize) -> f64 {
        let is_output = i + 1 == self.draft.network.nodes().len();
        let bits = self.draft.levels.message_bits + if is_output { OUTPUT_BITS } else { 0.0 };
        bits.exp2() / self.range(i)
    }

    /// The largest range in a node's class.
    fn range(&self, i: usize) -> f64 {
        let class = self.classes.get(i);
        let members = self.classes.iter().zip(&self.ranges).filter(|(other, _)| class == Some(other));
        members.fold(f64::MIN_POSITIVE, |m, (_, r)| m.max(*r))
    }

    fn level(&self, i: usize) -> usize {
        let levels = &self.draft.levels;
        levels.total - levels.nodes.get(i).map_or(0, |n| n.consumed)
    }

    fn divisor(&self, from: usize, to: usize) -> f64 {
        (to + 1..=from).map(|level| self.params.divisor(level)).product()
    }

    fn scale(&self, id: NodeId) -> f64 {
        self.scales.get(id.index()).copied().unwrap_or(1.0)
    }

    fn slots(&self, id: NodeId) -> &[Vec<f64>] {
        self.values.get(id.index()).map(Vec::as_slice).unwrap_or_default()
    }
}

/// What diagonals make of slots.
fn apply(diagonals: &Diagonals, input: &[Vec<f64>], slots: usize, folds: &[i64]) -> Vec<f64> {
    let mut out = vec![0.0; slots];
    for (place, values) in diagonals {
        let Some(x) = input.get(place.input) else { continue };
        let (before, after) = x.split_at((place.step.rem_euclid(slots as i64) as usize).min(x.len()));
        let rotated = after.iter().chain(before);
        for ((out, x), d) in out.iter_mut().zip(rotated).zip(values.iter().cycle()) {
            *out += x * d;
        }
    }
    sum_rotations(&mut out, folds);
    out
}

/// Adds to the slots what each rotation in turn makes of them.
fn sum_rotations(slots: &mut [f64], rotations: &[i64]) {
    for &steps in rotations {
        let mut turned = slots.to_vec();
        turned.rotate_left(steps.rem_euclid(slots.len().max(1) as i64) as usize);
        slots.iter_mut().zip(&turned).for_each(|(x, y)| *x += y);
    }
}

/// Whether slots without elements hold far larger values than those with.
fn outgrown(linear: &Linear, to: &Layout, ciphertext: usize, slots: &[f64]) -> bool {
    let largest = |x: f64, y: &f64| x.max(y.abs());
    let elements = (0..linear.outputs()).filter_map(|i| {
        let (at, slot) = to.place(i);
        (at == ciphertext).then(|| slots.get(slot)).flatten()
    });
    slots.iter().fold(0.0, largest) > HEADROOM / 2.0 * elements.fold(0.0, largest)
}

fn zip(a: &[Vec<f64>], b: &[Vec<f64>], f: impl Fn(f64, f64) -> f64) -> Slots {
    let slots = |(a, b): (&Vec<f64>, &Vec<f64>)| a.iter().zip(b).map(|(a, b)| f(*a, *b)).collect();
    a.iter().zip(b).map(slots).collect()
}

/// A coefficient in every slot.
fn fill(layout: &Layout, c: &[f64]) -> Slots {
    match c {
        [shared] => vec![vec![*shared; layout.slots]; layout.ciphertexts],
        _ => layout.fill(c),
    }
}

/// Where a step stands in a list, to which it is added if it is new.
fn position(steps: &mut Vec<i64>, step: i64) -> usize {
    steps.iter().position(|&s| s == step).unwrap_or_else(|| {
        steps.push(step);
        steps.len() - 1
    })
}
