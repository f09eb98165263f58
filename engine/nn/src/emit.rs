//! Emission: every node of the cheapest candidate becomes a step with encoded weights.
//!
//! Each step is tried on the slots of a calibration item, junk in unused slots included, and compared with the
//! plaintext network: a step that computes something else does not compile.

#![expect(clippy::indexing_slicing, reason = "nodes are looked up in tables of their own network or program")]

use crate::calibration::{Calibration, HEADROOM, magnitude};
use crate::candidate::Candidate;
use crate::layout::Layout;
use crate::levels::{
    LinearKind, chebyshev_readers, chebyshev_scale, class_ranges, masked_nodes, polynomial_bits,
    scale_up_log2,
};
use crate::lower::{Diagonals, Lowering, Place, Split};
use crate::options::Progress;
use crate::rewrite::is_monic;
use crate::step::{LayoutTable, Operand, Program, Step, StepKind};
use crate::{BatchLayout, Coefficients, CompileError, Linear, Node, NodeId, NodeMap, Op};
use pleura_ckks::{
    BlockLinearTransform, Diagonal, EncodeError, Encoder, IntegerMatrix, MatrixTransform, Params,
};
use rayon::prelude::*;
use std::borrow::Cow;
use std::collections::BTreeMap;

/// Largest difference between a step and the plaintext network, in units of the node's range.
const MAX_ERROR: f64 = 1e-6;

/// Calibration items on which slots without an element are watched.
const PROBES: usize = 4;
/// Largest value of a slot without an element, in units of the node's range.
const MAX_JUNK: f64 = 2.0;
/// Largest such value after the first linear step, whose junk every later square enlarges; clearing it costs the least weights.
const MAX_FIRST_JUNK: f64 = 1.0;

/// Fewest values of a loop over slots.
const LOOP: usize = 64;

/// Values of the slots of ciphertexts: those of the first probe, then those of the next.
type Slots = Vec<Vec<f64>>;

/// A step's operation, the scale of its result, and the slots of its result for the calibration item.
struct Emitted {
    kind: StepKind,
    scale: f64,
    slots: Slots,
}

/// A program in the making.
struct ProgramBuilder<'a> {
    candidate: &'a Candidate,
    params: &'a Params,
    encoder: Encoder,
    /// Calibration items that every step is tried on.
    probes: &'a [Vec<f64>],
    ranges: &'a NodeMap<f64>,
    /// Largest range among the nodes that share a node's scale.
    class_ranges: NodeMap<f64>,
    /// Nodes whose slots without an element must be zero.
    masked: NodeMap<bool>,
    /// Degree of the Chebyshev polynomial that reads a node.
    chebyshev_readers: NodeMap<Option<usize>>,
    /// Slots of each node's ciphertexts for each probe.
    slots: NodeMap<Slots>,
    program: Program,
}

/// The program of a candidate, every step of which was compared with the plaintext network on the first calibration
/// item.
pub(crate) fn emit(
    candidate: &Candidate,
    params: &Params,
    calibration: &Calibration,
    progress: Progress<'_>,
) -> Result<Program, CompileError> {
    let network = &candidate.network;
    let items = calibration.items.iter();
    let items: Vec<Vec<f64>> =
        items.map(|item| item.iter().map(|x| x / candidate.input_unit).collect()).collect();
    let ranges = calibration.ranges(network, candidate.input_unit)?;
    let first = items.first().ok_or(CompileError::Internal("there are no calibration items"))?;
    let trace = network.trace(first);
    let mut builder = ProgramBuilder {
        candidate,
        params,
        encoder: Encoder::new(params),
        probes: items.get(..PROBES).unwrap_or(&items),
        ranges: &ranges,
        class_ranges: class_ranges(network, &candidate.levels, &ranges),
        masked: masked_nodes(network),
        chebyshev_readers: chebyshev_readers(network),
        slots: NodeMap::default(),
        program: Program::default(),
    };
    for (id, node) in network.iter() {
        progress("lowering and encoding", id.index(), network.len());
        let emitted = builder.emit(id, node)?;
        let values = builder.layout(id).read(&emitted.slots);
        let difference: Vec<f64> = values.iter().zip(&trace[id]).map(|(a, b)| a - b).collect();
        let error = magnitude(&difference) / ranges[id];
        if values.len() != trace[id].len() || error > MAX_ERROR {
            return Err(CompileError::Mismatch { node: node.name.clone(), error });
        }
        builder.push(id, node, emitted);
    }
    progress("lowering and encoding", network.len(), network.len());
    Ok(builder.program)
}

impl ProgramBuilder<'_> {
    fn push(&mut self, id: NodeId, node: &Node, emitted: Emitted) {
        let Emitted { kind, scale, slots } = emitted;
        let layouts: &mut LayoutTable = &mut self.program.layouts;
        let placed = &self.candidate.layouts[id];
        let layout = match self.candidate.batch_layout {
            BatchLayout::SideBySide(_) => layouts.insert(placed),
            BatchLayout::SlotPerItem => layouts.insert(&Layout::each(self.params.slots(), node.len())),
            BatchLayout::Interleaved => {
                layouts.insert(&placed.in_runs(self.candidate.run, self.params.slots()))
            }
        };
        self.program.steps.push(Step {
            name: node.name.clone(),
            kind,
            layout,
            level: self.candidate.levels.level(id),
            scale,
            predicted_seconds: self.candidate.nodes[id].predicted_seconds,
        });
        self.slots.push(slots);
    }

    fn emit(&self, id: NodeId, node: &Node) -> Result<Emitted, CompileError> {
        Ok(match &node.op {
            Op::Input => {
                let slots = self.probes.iter().flat_map(|item| self.layout(id).fill(item)).collect();
                Emitted { kind: StepKind::Input, scale: self.free_scale(id), slots }
            }
            Op::Linear(x, linear) => match LinearKind::of(linear, self.masked[id], self.candidate.pools) {
                LinearKind::SetScale(factor) => self.set_scale(id, *x, factor, linear.bias()),
                LinearKind::SumPool(_) => self.sum_pool(id, *x),
                LinearKind::Transform => {
                    let emitted = match self.candidate.batch_layout {
                        BatchLayout::SlotPerItem => self.matrix(id, *x, linear),
                        BatchLayout::SideBySide(_) | BatchLayout::Interleaved => {
                            self.transform(id, *x, linear)
                        }
                    };
                    emitted?.map_err(|source| CompileError::Encode { node: node.name.clone(), source })?
                }
            },
            Op::Polynomial(x, coefficients) if is_monic(coefficients) => self.square(id, *x, coefficients)?,
            Op::Chebyshev(x, coefficients) => self.chebyshev(id, *x, coefficients)?,
            Op::Polynomial(..) | Op::Activation(..) => {
                return Err(CompileError::Internal("a step is emitted for a node that is not rewritten"));
            }
            Op::Mul(a, b) => {
                let inputs = self.operands(id, [*a, *b])?;
                Emitted {
                    kind: StepKind::Mul { inputs },
                    scale: self.factor_scale(&inputs[0]) * self.factor_scale(&inputs[1]),
                    slots: zip(&self.slots[*a], &self.slots[*b], |a, b| a * b),
                }
            }
            Op::Add(a, b) | Op::Sub(a, b) => {
                let subtract = matches!(node.op, Op::Sub(..));
                let sign = if subtract { -1.0 } else { 1.0 };
                Emitted {
                    kind: StepKind::Add { inputs: self.operands(id, [*a, *b])?, subtract },
                    scale: self.free_scale(id),
                    slots: zip(&self.slots[*a], &self.slots[*b], |a, b| a + sign * b),
                }
            }
        })
    }

    /// A factor that all elements share.
    fn set_scale(&self, id: NodeId, x: NodeId, factor: f64, bias: &[f64]) -> Emitted {
        Emitted {
            scale: self.scale(x) / factor.abs(),
            slots: zip(&self.slots[x], &self.layout(id).fill(bias), |x, b| x * factor + b),
            kind: StepKind::SetScale { input: x, factor, bias: bias.to_vec() },
        }
    }

    fn sum_pool(&self, id: NodeId, x: NodeId) -> Emitted {
        let rotate_and_sum = self.candidate.nodes[id].rotate_and_sum.clone();
        let count: usize = rotate_and_sum.iter().map(|rotations| rotations.len() + 1).product();
        let mut slots = self.slots[x].clone();
        for slots in &mut slots {
            sum_rotations(slots, &rotate_and_sum);
            slots.iter_mut().for_each(|x| *x /= count as f64);
        }
        Emitted {
            kind: StepKind::SumPool { input: x, rotate_and_sum: self.in_slots(&rotate_and_sum) },
            scale: self.scale(x) * count as f64,
            slots,
        }
    }

    fn square(&self, id: NodeId, x: NodeId, c: &Coefficients) -> Result<Emitted, CompileError> {
        let layout = self.layout(id);
        let [input] = self.operands(id, [x])?;
        let slope = c.0.get(1).cloned().ok_or(CompileError::Internal("a square has no slope"))?;
        let constant = c.at(0, 0);
        let linear = zip(&self.slots[x], &fill(layout, &slope), |x, slope| slope * x + constant);
        Ok(Emitted {
            kind: StepKind::Square { input, slope, constant },
            scale: self.factor_scale(&input).powi(2),
            slots: zip(&linear, &self.slots[x], |linear, x| x * x + linear),
        })
    }

    fn chebyshev(&self, id: NodeId, x: NodeId, c: &Coefficients) -> Result<Emitted, CompileError> {
        let lists: Vec<Slots> = c.0.iter().map(|list| fill(self.layout(id), list)).collect();
        let ciphertexts = self.slots[x].iter().enumerate().map(|(ciphertext, x)| {
            let lists = lists.iter().map(|list| list[ciphertext % list.len()].clone());
            Coefficients(lists.collect()).apply_chebyshev(x)
        });
        Ok(Emitted {
            slots: ciphertexts.collect(),
            kind: StepKind::Chebyshev { input: x, coefficients: c.clone() },
            scale: polynomial_bits(self.candidate.levels.message_bits).exp2() / self.class_ranges[id],
        })
    }

    /// A linear node as encoded diagonals; the inner error is that of their encoding.
    fn transform(
        &self,
        id: NodeId,
        x: NodeId,
        linear: &Linear,
    ) -> Result<Result<Emitted, EncodeError>, CompileError> {
        let levels = &self.candidate.levels;
        let choice = &self.candidate.nodes[id];
        let split = choice.split.ok_or(CompileError::Internal("a transform has no baby and giant steps"))?;
        let layout = self.layout(id);
        let scale = self.free_scale(id);
        let weight_scale = scale * self.divisor(levels.level(x), levels.level(id)) / self.scale(x);
        let lowered: Vec<(Diagonals, Slots)> = (0..layout.ciphertexts)
            .into_par_iter()
            .map(|ciphertext| self.lower(id, x, linear, ciphertext))
            .collect();
        let weights = lowered.iter().flat_map(|(diagonals, _)| diagonals.values());
        let largest = weights.map(|values| magnitude(values)).fold(f64::MIN_POSITIVE, f64::max);
        let scale_up = scale_up_log2(largest * weight_scale, levels.nodes[x].bits);
        self.check_scale_up(id, x, scale_up)?;
        let mut transform = BlockLinearTransform {
            level: levels.level(x),
            target_level: levels.level(id),
            scale: weight_scale / scale_up.exp2(),
            inputs: self.layout(x).ciphertexts,
            outputs: layout.ciphertexts,
            baby_steps: vec![0],
            giant_steps: vec![0],
            diagonals: Vec::new(),
        };
        let mut slots: Vec<Slots> = Vec::with_capacity(lowered.len());
        for (diagonals, values) in lowered {
            if let Err(error) = self.encode(&mut transform, split, diagonals) {
                return Ok(Err(error));
            }
            slots.push(values);
        }
        // From the probes of each ciphertext to the ciphertexts of each probe.
        let slots: Slots =
            (0..self.probes.len()).flat_map(|probe| slots.iter().map(move |of| of[probe].clone())).collect();
        let bias = linear.bias().to_vec();
        Ok(Ok(Emitted {
            scale,
            slots: zip(&slots, &layout.fill(&bias), |x, b| x + b),
            kind: StepKind::Linear {
                input: x,
                scale_up_log2: scale_up as u32,
                transform,
                rotate_and_sum: self.in_slots(&choice.rotate_and_sum),
                bias,
            },
        }))
    }

    /// A linear node as a matrix of integers between ciphertexts of elements; the inner error is that of their encoding.
    fn matrix(
        &self,
        id: NodeId,
        x: NodeId,
        linear: &Linear,
    ) -> Result<Result<Emitted, EncodeError>, CompileError> {
        let levels = &self.candidate.levels;
        let scale = self.free_scale(id);
        let weight_scale = scale * self.divisor(levels.level(x), levels.level(id)) / self.scale(x);
        let rows: Vec<BTreeMap<usize, f64>> =
            (0..linear.outputs()).into_par_iter().map(|row| weights_of(linear, row)).collect();
        let largest =
            rows.iter().flat_map(BTreeMap::values).fold(f64::MIN_POSITIVE, |most, w| most.max(w.abs()));
        // Nothing is rotated.
        let scale_up = scale_up_log2(largest * weight_scale, f64::INFINITY);
        self.check_scale_up(id, x, scale_up)?;
        let scale_of_weights = weight_scale / scale_up.exp2();
        if largest * scale_of_weights > f64::from(i32::MAX) {
            return Ok(Err(EncodeError::TooLarge { log2_scale: scale_of_weights.log2() }));
        }
        let entries = rows.iter().map(|row| {
            let entries =
                row.iter().map(|(&column, w)| (column as u32, (w * scale_of_weights).round() as i32));
            entries.filter(|entry| entry.1 != 0).collect()
        });
        let matrix = IntegerMatrix::new(linear.inputs(), entries.collect())
            .map_err(|_| CompileError::Internal("a matrix has rows out of order"))?;
        let probes = self.slots[x].chunks(linear.inputs());
        let slots = probes.flat_map(|x| {
            rows.iter().zip(linear.bias()).map(move |(row, bias)| {
                vec![row.iter().map(|(&column, weight)| weight * x[column][0]).sum::<f64>() + bias]
            })
        });
        Ok(Ok(Emitted {
            scale,
            slots: slots.collect(),
            kind: StepKind::Matrix {
                input: x,
                scale_up_log2: scale_up as u32,
                transform: MatrixTransform {
                    level: levels.level(x),
                    target_level: levels.level(id),
                    scale: scale_of_weights,
                    matrix,
                },
                bias: linear.bias().to_vec(),
            },
        }))
    }

    /// Refuses weights so large that their operand does not fit the modulus once it is multiplied by `2^scale_up`.
    fn check_scale_up(&self, id: NodeId, x: NodeId, scale_up: f64) -> Result<(), CompileError> {
        let room = self.params.log2_q(self.candidate.levels.level(x)) - self.scale(x).log2();
        if scale_up <= room {
            return Ok(());
        }
        Err(CompileError::Weights { node: self.candidate.network[id].name.clone(), bits: scale_up, room })
    }

    /// The diagonals of one ciphertext of a linear node, and its slots for each probe before the bias.
    fn lower(&self, id: NodeId, x: NodeId, linear: &Linear, ciphertext: usize) -> (Diagonals, Slots) {
        let from = self.layout(x);
        let lower = |masked: bool| {
            let mut lowering = Lowering::new(linear, from, self.layout(id), masked);
            // Elsewhere, the cheaper diagonals for such operands are not priced.
            lowering.operand_is_clear = self.candidate.batch_layout == BatchLayout::Interleaved
                && (x == NodeId::INPUT || self.masked[x]);
            let diagonals = lowering.diagonals(ciphertext);
            let probes = self.slots[x].par_chunks(from.ciphertexts).map(|x| {
                let mut slots = apply(&diagonals, x, from.slots);
                sum_rotations(&mut slots, &self.candidate.nodes[id].rotate_and_sum);
                slots
            });
            let probes: Slots = probes.collect();
            (diagonals, probes)
        };
        let lowered = lower(self.masked[id]);
        // Slots without an element hold junk. Squares of it outgrow those of the elements from layer to layer, and rounded
        // weights carry it over.
        let largest = lowered.1.iter().map(|slots| magnitude(slots)).fold(0.0, f64::max);
        let places: Vec<usize> = self.layout(id).slots_of(ciphertext).collect();
        let elements = lowered.1.iter().flat_map(|slots| places.iter().filter_map(|&place| slots.get(place)));
        let range = elements.fold(self.ranges[id], |range, x| range.max(x.abs()));
        if largest > self.most_junk(id, x) * range { lower(true) } else { lowered }
    }

    /// Largest value of a slot without an element that a linear node of `x` may have, in units of its range.
    fn most_junk(&self, id: NodeId, x: NodeId) -> f64 {
        match self.candidate.batch_layout {
            BatchLayout::Interleaved if self.candidate.levels.is_packed(id) => HEADROOM,
            // Clearing would make diagonals of numbers.
            BatchLayout::Interleaved => MAX_JUNK,
            _ if x == NodeId::INPUT => MAX_FIRST_JUNK,
            _ => MAX_JUNK,
        }
    }

    /// Adds diagonals to a transform, each rotated back by its giant step.
    fn encode(
        &self,
        transform: &mut BlockLinearTransform,
        split: Split,
        diagonals: Diagonals,
    ) -> Result<(), EncodeError> {
        let scale = transform.scale;
        let encoded: Vec<_> = diagonals
            .into_par_iter()
            .map(|(place, values): (Place, Vec<f64>)| {
                let (baby, giant) = split.parts(place.step);
                let [baby, giant] = [baby, giant].map(|step| step * self.candidate.run as i64);
                let mut values = self.in_runs(values);
                let back = giant.rem_euclid(values.len() as i64) as usize;
                values.rotate_right(back);
                Ok((place, baby, giant, self.encoder.encode_compact(&values, scale)?))
            })
            .collect::<Result<_, EncodeError>>()?;
        for (place, baby, giant, poly) in encoded {
            transform.diagonals.push(Diagonal {
                input: place.input,
                output: place.output,
                baby_step: position(&mut transform.baby_steps, baby),
                giant_step: position(&mut transform.giant_steps, giant),
                poly,
            });
        }
        Ok(())
    }

    /// The values of a diagonal in every slot of the runs that they stand for.
    fn in_runs(&self, values: Vec<f64>) -> Vec<f64> {
        let run = self.candidate.run;
        if run == 1 || values.len() == 1 {
            return values;
        }
        let mut slots: Vec<f64> = values.iter().flat_map(|&value| std::iter::repeat_n(value, run)).collect();
        // Runs that do not fill a ciphertext leave some slots over.
        if !slots.len().is_power_of_two() {
            slots.resize(self.params.slots(), 0.0);
        }
        slots
    }

    /// Rotations by as many runs as slots.
    fn in_slots(&self, groups: &[Vec<i64>]) -> Vec<Vec<i64>> {
        let run = self.candidate.run as i64;
        groups.iter().map(|group| group.iter().map(|&step| step * run).collect()).collect()
    }

    fn operands<const N: usize>(&self, id: NodeId, reads: [NodeId; N]) -> Result<[Operand; N], CompileError> {
        let levels = &self.candidate.levels.nodes[id].operands;
        let operands: Vec<Operand> = reads
            .iter()
            .zip(levels)
            .map(|(&node, levels)| Operand {
                node,
                rescale_by: levels.rescale_by,
                scale_up_log2: levels.scale_up_log2,
                aligned: levels.aligned,
            })
            .collect();
        operands.try_into().map_err(|_| CompileError::Internal("a node has other operands than its levels"))
    }

    /// Scale of a factor after its division.
    fn factor_scale(&self, operand: &Operand) -> f64 {
        let level = self.candidate.levels.level(operand.node);
        self.scale(operand.node) * f64::from(operand.scale_up_log2).exp2()
            / self.divisor(level, level - operand.rescale_by)
    }

    /// Scale of a node that can have any: the largest value of its class fills the message bits.
    fn free_scale(&self, id: NodeId) -> f64 {
        if let Some(degree) = self.chebyshev_readers[id] {
            return chebyshev_scale(self.params, self.candidate.levels.level(id), degree);
        }
        let is_output = id == self.candidate.network.output();
        let levels = &self.candidate.levels;
        let bits = if is_output { levels.result_bits() } else { levels.nodes[id].bits };
        bits.exp2() / self.class_ranges[id]
    }

    fn divisor(&self, from: usize, to: usize) -> f64 {
        (to + 1..=from).map(|level| self.params.divisor(level)).product()
    }

    fn scale(&self, id: NodeId) -> f64 {
        self.program.steps[id].scale
    }

    fn layout(&self, id: NodeId) -> &Layout {
        &self.candidate.layouts[id]
    }
}

/// The weights of a row, those of an input that comes several times added up.
fn weights_of(linear: &Linear, row: usize) -> BTreeMap<usize, f64> {
    let mut weights = BTreeMap::new();
    linear.row(row, &mut |input, weight| *weights.entry(input).or_insert(0.0) += weight);
    weights
}

/// Slots that diagonals make of the slots of their operands.
#[expect(clippy::indexing_slicing, reason = "places lie in the ciphertexts")]
fn apply(diagonals: &Diagonals, input: &[Vec<f64>], slots: usize) -> Vec<f64> {
    let mut out = vec![0.0; slots];
    for (place, values) in diagonals {
        let x = &input[place.input];
        let (before, after) = x.split_at((place.step.rem_euclid(slots as i64) as usize).min(x.len()));
        let rotated = [after, before].concat();
        // Whole periods, of enough values for a loop.
        let values = match values.len() {
            period @ 1..LOOP => Cow::Owned(values.repeat(LOOP.div_ceil(period))),
            _ => Cow::Borrowed(values),
        };
        for (out, x) in out.chunks_mut(values.len()).zip(rotated.chunks(values.len())) {
            for ((out, x), d) in out.iter_mut().zip(x).zip(values.iter()) {
                *out += x * d;
            }
        }
    }
    out
}

/// Replaces the slots by their sum with their rotations, once for each group of rotations.
fn sum_rotations(slots: &mut [f64], groups: &[Vec<i64>]) {
    for group in groups {
        let original = slots.to_vec();
        for &steps in group {
            let mut rotated = original.clone();
            rotated.rotate_left(steps.rem_euclid(original.len().max(1) as i64) as usize);
            slots.iter_mut().zip(&rotated).for_each(|(x, y)| *x += y);
        }
    }
}

/// A function of two values for each slot; `b` may be of one probe only, and serves all.
fn zip(a: &[Vec<f64>], b: &[Vec<f64>], f: impl Fn(f64, f64) -> f64) -> Slots {
    a.iter().zip(b.iter().cycle()).map(|(a, b)| a.iter().zip(b).map(|(a, b)| f(*a, *b)).collect()).collect()
}

/// A coefficient in every slot, or one for each element.
fn fill(layout: &Layout, coefficient: &[f64]) -> Slots {
    match coefficient {
        [shared] => vec![vec![*shared; layout.slots]; layout.ciphertexts],
        each => layout.fill(each),
    }
}

/// Position of a step in a list, to which it is added if it is new.
fn position(steps: &mut Vec<i64>, step: i64) -> usize {
    steps.iter().position(|&known| known == step).unwrap_or_else(|| {
        steps.push(step);
        steps.len() - 1
    })
}
