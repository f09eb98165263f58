//! Precision of results, predicted: noise is drawn for every step of a candidate, and carried through the plaintext network on calibration items.

#![expect(clippy::indexing_slicing, reason = "nodes are looked up in tables of their own network")]

use crate::calibration::{Calibration, StandardNormal, magnitude};
use crate::candidate::Candidate;
use crate::levels::{
    LinearKind, OperandLevels, PRIME_BITS, chebyshev_scale_bits, class_ranges, masked_nodes, polynomial_bits,
    scale_up_log2,
};
use crate::step::{Program, StepKind};
use crate::{BatchLayout, Coefficients, CompileError, Linear, NodeId, NodeMap, Op};
use pleura_ckks::NoiseModel;
use rayon::prelude::*;
use std::f64::consts::{LN_2, SQRT_2};

/// Values of results that errors are taken of, and the least and the most draws of noise for them, each for another calibration item if there are as many.
const VALUES: usize = 24;
const DRAWS: [usize; 2] = [2, 8];
/// Bits by which one draw may miss what many say.
const DRAW_BITS: f64 = 1.0;
/// Largest error that is told, and the inverse of the smallest: 60 bits.
const MAX_ERROR: f64 = (1u64 << 60) as f64;

/// Variances of the noise that a step adds to each value of its result, and before that to each value of its operands.
#[derive(Default)]
struct StepNoise {
    result: f64,
    operands: Vec<f64>,
}

/// A candidate whose noise is predicted.
struct Prediction<'a> {
    candidate: &'a Candidate,
    noise: NoiseModel,
    /// Factors between values and encrypted integers.
    scales: NodeMap<f64>,
    masked: NodeMap<bool>,
    /// Largest magnitude among the weights of each linear node.
    largest_weights: NodeMap<f64>,
    /// The encoded weights, once there are any.
    program: Option<&'a Program>,
}

impl Candidate {
    /// Whether the results are expected to have this many bits of precision; the bits if not. One draw tells those that are far off.
    ///
    /// # Errors
    /// [`CompileError::Params`] for parameters that do not exist.
    pub(crate) fn is_precise(
        &self,
        requested: f64,
        calibration: &Calibration,
    ) -> Result<Result<(), f64>, CompileError> {
        for (draws, margin) in [(1, DRAW_BITS), (self.draws(), 0.0)] {
            let bits = -self.errors_of(None, calibration, draws)?[self.network.output()].log2();
            if bits < requested - margin {
                return Ok(Err(bits));
            }
        }
        Ok(Ok(()))
    }

    /// The largest error to expect among the values of each node of the candidate's program, in units of the node's range.
    ///
    /// # Errors
    /// [`CompileError::Params`] for parameters that do not exist.
    pub(crate) fn expected_errors(
        &self,
        program: &Program,
        calibration: &Calibration,
    ) -> Result<NodeMap<f64>, CompileError> {
        self.errors_of(Some(program), calibration, self.draws())
    }

    /// Draws of noise that have enough values.
    fn draws(&self) -> usize {
        let [least, most] = DRAWS;
        VALUES.div_ceil(self.network[self.network.output()].len()).clamp(least, most)
    }

    /// As [`Candidate::expected_errors`], of some draws of noise. Without a program, the number of coefficients of its weights is estimated.
    fn errors_of(
        &self,
        program: Option<&Program>,
        calibration: &Calibration,
        draws: usize,
    ) -> Result<NodeMap<f64>, CompileError> {
        let prediction = Prediction {
            candidate: self,
            noise: NoiseModel::new(&self.literal)?,
            scales: self.scales(),
            masked: masked_nodes(&self.network),
            largest_weights: self.network.node_map().map(|_, node| match &node.op {
                Op::Linear(_, linear) => largest_weight(linear),
                _ => 0.0,
            }),
            program,
        };
        let items = self.largest_items(calibration, draws);
        let squares: Vec<Vec<NodeMap<f64>>> = items
            .par_iter()
            .enumerate()
            .map(|(number, item)| {
                let draws = (draws - number).div_ceil(items.len());
                prediction.squared_errors(number as u64, item, draws)
            })
            .collect::<Result<_, CompileError>>()?;
        let squares: Vec<NodeMap<f64>> = squares.into_iter().flatten().collect();
        Ok(NodeMap::new(self.network.len(), |id| {
            let squares = squares.iter().map(|squares| squares[id]).sum::<f64>() / squares.len() as f64;
            let error = squares.sqrt() * largest_deviation(self.network[id].len()) / self.ranges[id];
            // Differences of equal values are exact, and noise that grows without bounds is no number.
            if error < MAX_ERROR { error.max(MAX_ERROR.recip()) } else { MAX_ERROR }
        }))
    }

    /// Calibration items of the largest results, at most `most`, in units of the input: a polynomial has the largest errors there.
    fn largest_items(&self, calibration: &Calibration, most: usize) -> Vec<Vec<f64>> {
        let items = calibration.items.par_iter();
        let items = items.map(|item| item.iter().map(|x| x / self.input_unit).collect());
        let items: Vec<Vec<f64>> = items.collect();
        if items.len() <= most {
            return items;
        }
        let results = items.into_par_iter().map(|item| (magnitude(&self.network.evaluate_flat(&item)), item));
        let mut results: Vec<(f64, Vec<f64>)> = results.collect();
        results.sort_by(|(a, _), (b, _)| b.total_cmp(a));
        results.into_iter().take(most).map(|(_, item)| item).collect()
    }

    /// The scale of each node's result, with levels of exactly [`PRIME_BITS`].
    fn scales(&self) -> NodeMap<f64> {
        let ranges = class_ranges(&self.network, &self.levels, &self.ranges);
        let mut scales: NodeMap<f64> = NodeMap::default();
        for (id, node) in self.network.iter() {
            let levels = &self.levels.nodes[id];
            let factor = |read: NodeId, operand: &OperandLevels| scales[read] * operand.gain();
            let scale = match &node.op {
                Op::Linear(x, linear) if !levels.free_scale => {
                    match LinearKind::of(linear, false, self.pools) {
                        LinearKind::SetScale(factor) => scales[*x] / factor.abs(),
                        LinearKind::SumPool(_) | LinearKind::Transform => {
                            scales[*x] * (levels.bits - self.levels.nodes[*x].bits).exp2()
                        }
                    }
                }
                Op::Polynomial(x, _) => factor(*x, &levels.operands[0]).powi(2),
                Op::Mul(a, b) => factor(*a, &levels.operands[0]) * factor(*b, &levels.operands[1]),
                Op::Chebyshev(..) => polynomial_bits(self.levels.message_bits).exp2() / ranges[id],
                _ if id == self.network.output() => self.levels.result_bits().exp2() / ranges[id],
                _ => levels.bits.exp2() / ranges[id],
            };
            scales.push(scale);
        }
        scales
    }
}

impl Prediction<'_> {
    /// Mean square of the noise in the values of each node, once for each draw.
    fn squared_errors(
        &self,
        number: u64,
        item: &[f64],
        draws: usize,
    ) -> Result<Vec<NodeMap<f64>>, CompileError> {
        let network = &self.candidate.network;
        let exact = network.trace(item);
        let noise = NodeMap::try_new(network.len(), |id| self.noise_of(id, &exact))?;
        let mut normal = StandardNormal::new(1 + number);
        let squares = (0..draws).map(|_| {
            let noisy = self.noisy(item, &noise, &mut normal);
            NodeMap::new(network.len(), |id| {
                let differences = noisy[id].iter().zip(&exact[id]).map(|(a, b)| (a - b).powi(2));
                differences.sum::<f64>() / noisy[id].len().max(1) as f64
            })
        });
        Ok(squares.collect())
    }

    /// Values of all nodes for `item`, with noise.
    fn noisy(
        &self,
        item: &[f64],
        noise: &NodeMap<StepNoise>,
        normal: &mut StandardNormal,
    ) -> NodeMap<Vec<f64>> {
        let mut values: NodeMap<Vec<f64>> = NodeMap::default();
        for (id, node) in self.candidate.network.iter() {
            let StepNoise { result, operands } = &noise[id];
            let reads = node.op.reads();
            let noisy: Vec<(NodeId, Vec<f64>)> = reads
                .into_iter()
                .zip(operands)
                .map(|(read, &variance)| (read, normal.around(&values[read], variance)))
                .collect();
            let value = node.op.evaluate(item, |read| {
                let operand = noisy.iter().find(|(other, _)| *other == read);
                operand.map_or(&values[read], |(_, noisy)| noisy)
            });
            values.push(normal.around(&value, *result));
        }
        values
    }

    /// Noise of a node for an item with the values `exact`.
    fn noise_of(&self, id: NodeId, exact: &NodeMap<Vec<f64>>) -> Result<StepNoise, CompileError> {
        let noise = &self.noise;
        let candidate = self.candidate;
        let scale = self.scales[id];
        let level = candidate.levels.level(id);
        Ok(match &candidate.network[id].op {
            Op::Input => StepNoise { result: noise.fresh(scale), ..StepNoise::default() },
            Op::Linear(x, linear) => self.linear(id, *x, linear, &exact[*x])?,
            Op::Polynomial(..) | Op::Mul(..) => {
                StepNoise { result: noise.rotation(level, scale), operands: self.operands(id, exact) }
            }
            Op::Add(..) | Op::Sub(..) => StepNoise { result: 0.0, operands: self.operands(id, exact) },
            Op::Chebyshev(_, coefficients) => {
                StepNoise { result: self.chebyshev(id, coefficients), ..StepNoise::default() }
            }
            Op::Activation(..) => {
                return Err(CompileError::Internal(
                    "precision is predicted of a network that is not rewritten",
                ));
            }
        })
    }

    fn linear(
        &self,
        id: NodeId,
        x: NodeId,
        linear: &Linear,
        operand: &[f64],
    ) -> Result<StepNoise, CompileError> {
        let candidate = self.candidate;
        let choice = &candidate.nodes[id];
        let level = candidate.levels.level(id);
        let scale = self.scales[id];
        Ok(match LinearKind::of(linear, self.masked[id], candidate.pools) {
            LinearKind::SetScale(_) => StepNoise::default(),
            LinearKind::SumPool(_) => {
                // The mean is the sum at a larger scale.
                let result = self.summed(0.0, &choice.rotate_and_sum, level, scale);
                StepNoise { result, ..StepNoise::default() }
            }
            LinearKind::Transform => {
                let work = choice.work.as_ref().ok_or(CompileError::Internal("a transform has no work"))?;
                let from = &candidate.levels.nodes[x];
                let divisor = self.divisor(candidate.levels.nodes[id].consumed - from.consumed);
                let weight_scale = scale * divisor / self.scales[x];
                let scale_up = scale_up_log2(self.largest_weights[id] * weight_scale, from.bits).exp2();
                let weights = self.encoded_weights(id).unwrap_or_else(|| {
                    let period = self.period(x, linear, work.period);
                    let coefficients = candidate.literal.ring.coefficients(period);
                    let terms = work.diagonals as f64 / work.outputs.max(1) as f64;
                    terms * self.noise.encoding(coefficients, weight_scale / scale_up)
                });
                let transformed = self.noise.division(scale)
                    + weights * mean_square(operand)
                    + work.giant_steps as f64 * self.noise.rotation(work.level, scale * divisor);
                let is_rotated = work.baby_steps > 0 && candidate.batch_layout != BatchLayout::SlotPerItem;
                let read = self.noise.key_switch(work.level, self.scales[x] * scale_up);
                StepNoise {
                    result: self.summed(transformed, &choice.rotate_and_sum, level, scale),
                    operands: vec![if is_rotated { read } else { 0.0 }],
                }
            }
        })
    }

    /// Rounding of the weights that a result has, for operands of mean square 1; none where no diagonals are encoded.
    fn encoded_weights(&self, id: NodeId) -> Option<f64> {
        let StepKind::Linear { transform, .. } = &self.program?.steps[id].kind else { return None };
        let lengths = transform.diagonals.iter().map(|diagonal| diagonal.poly.coefficients.len());
        let sum: f64 = lengths.map(|coefficients| self.noise.encoding(coefficients, transform.scale)).sum();
        Some(sum / transform.outputs.max(1) as f64)
    }

    /// Slots after which the diagonals of a map repeat: those of dense maps do so with the slots of their operand.
    fn period(&self, x: NodeId, linear: &Linear, period: usize) -> usize {
        match self.candidate.batch_layout {
            BatchLayout::SideBySide(_) if linear.planes().is_none() => {
                period.max(self.candidate.layouts[x].period())
            }
            _ => period,
        }
    }

    /// Operands of a sum or a product after their divisions.
    fn operands(&self, id: NodeId, exact: &NodeMap<Vec<f64>>) -> Vec<f64> {
        let reads = self.candidate.network[id].op.reads();
        let operands = reads.into_iter().zip(&self.candidate.levels.nodes[id].operands);
        let noise = operands.map(|(read, operand)| {
            if operand.aligned {
                // The constant that aligns the operand is rounded.
                let constant = self.scales[id] * self.divisor(operand.rescale_by) / self.scales[read];
                self.noise.division(self.scales[id])
                    + self.noise.encoding(1, constant) * mean_square(&exact[read])
            } else if operand.rescale_by > 0 {
                self.noise.division(self.scales[read] * operand.gain())
            } else {
                0.0
            }
        });
        noise.collect()
    }

    /// A sum of Chebyshev polynomials. Each element of the basis is a product and a division, and its noise is carried over to the elements that
    /// are made of it.
    fn chebyshev(&self, id: NodeId, coefficients: &Coefficients) -> f64 {
        let degree = coefficients.degree();
        let variances = self.element_variances(degree);
        let elements = coefficients.0.iter().zip(variances);
        let carried: f64 = elements.map(|(c, variance)| mean_square(c) * variance).sum();
        // The factor of the largest element is a sum that is divided, unless it is a coefficient.
        let giant = 1 << degree.max(1).ilog2();
        if degree == giant {
            return carried;
        }
        carried + self.noise.division(self.scales[id] / element_scale(giant, degree))
    }

    /// Variances of the elements of the Chebyshev basis for an exact argument: in the product of `T_a` and `T_b` those of the factors add
    /// up, times 4 for the factor 2 of `T_(a+b) = 2 T_a T_b - T_(a-b)`, and are one error if `a = b`.
    fn element_variances(&self, degree: usize) -> Vec<f64> {
        let mut variances = vec![0.0, 0.0];
        for k in 2..=degree {
            let a = 1 << (k - 1).ilog2();
            let b = k - a;
            let factors = if a == b { 4.0 * variances[a] } else { variances[a] + variances[b] };
            let division = self.noise.division(element_scale(k, degree));
            variances.push(division + 4.0 * factors + variances[a - b]);
        }
        variances
    }

    /// Values with the noise `variance` after sums of rotations, each of whose terms has noise of its own.
    fn summed(&self, variance: f64, groups: &[Vec<i64>], level: usize, scale: f64) -> f64 {
        let rotation = self.noise.rotation(level, scale);
        groups.iter().fold(variance, |variance, group| {
            let rotations = group.len() as f64;
            (rotations + 1.0) * variance + rotations * rotation
        })
    }

    /// Product of the primes of this number of levels.
    fn divisor(&self, levels: usize) -> f64 {
        (f64::from(PRIME_BITS) * levels as f64).exp2()
    }
}

/// Largest magnitude among the weights of a map.
fn largest_weight(linear: &Linear) -> f64 {
    let mut largest = f64::MIN_POSITIVE;
    for row in 0..linear.outputs() {
        linear.row(row, &mut |_, weight| largest = largest.max(weight.abs()));
    }
    largest
}

/// Scale of element `k` of the Chebyshev basis in a polynomial of a degree: the excess of the operand's scale over a prime is doubled with `k`.
fn element_scale(k: usize, degree: usize) -> f64 {
    let prime = f64::from(PRIME_BITS);
    (prime + (chebyshev_scale_bits(degree) - prime) * k as f64).exp2()
}

/// Distance from zero of the largest of `count` values with deviation 1, about: that of normal values, or of those with an exponential tail, since
/// the secret is larger in some slots than in others.
fn largest_deviation(count: usize) -> f64 {
    let log = (count.max(1) as f64).ln();
    (2.0 * (log + LN_2)).sqrt().max((log + 0.577) / SQRT_2)
}

fn mean_square(values: &[f64]) -> f64 {
    values.iter().map(|x| x * x).sum::<f64>() / values.len().max(1) as f64
}
