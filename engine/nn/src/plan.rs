//! From a network to a plan: everything that a server does to a ciphertext, as data.

use crate::arrange::{self, Channels, Levels, LinearKind, Order, PRIME_BITS, Packing};
use crate::cost::{Cost, LinearWork};
use crate::layout::Layout;
use crate::lower::{Diagonals, Lowering, Place, Split};
use crate::report::{LayerReport, ParameterReport, Report};
use crate::rewrite::{Merging, is_monic, rewrite};
use crate::{Coefficients, Linear, Network, NodeId, Op};
use pleura_ckks::{
    Block, BlockTransform, EncodeError, Encoder, KeyRequest, Literal, Params, ParamsError, Security,
};
use rayon::prelude::*;
use std::sync::Arc;

/// How to compile.
#[derive(Clone, Debug)]
pub struct PlanOptions {
    /// What the parameters must withstand.
    pub security: Security,
    /// Items to take the ranges of values from; without any, standard normal ones are drawn.
    pub calibration: Vec<Vec<f64>>,
    /// Threads that costs are predicted for.
    pub threads: usize,
}

/// What a compilation is at: a step's name, how much of it is done, and of how much.
pub type Progress<'a> = &'a mut dyn FnMut(&str, usize, usize);

/// A network compiled for ciphertexts. It holds no secrets: client and server both have it.
#[derive(Clone, Debug)]
pub struct Plan {
    pub(crate) params: Params,
    pub(crate) steps: Vec<Step>,
    pub(crate) layouts: Vec<Arc<Layout>>,
    /// Of each step's result.
    pub(crate) scales: Vec<f64>,
    pub(crate) input_len: usize,
    pub(crate) output_len: usize,
    /// Largest magnitude seen at each node of the network as it was given.
    pub(crate) ranges: Vec<f64>,
    pub(crate) report: Report,
}

/// What makes the ciphertexts of one node; steps are numbered as their nodes are.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    Input,
    /// `boost`: the operand is multiplied by two to so much first, so that large weights need no more than their words.
    Transform {
        input: usize,
        boost: u32,
        transform: BlockTransform,
        folds: Vec<i64>,
        bias: Vec<f64>,
    },
    /// The same ciphertexts, read at another scale: values are multiplied by `factor`.
    Relabel {
        input: usize,
        factor: f64,
        bias: Vec<f64>,
    },
    /// `x^2 + slope x + constant`, the slope shared or one for each element.
    Square {
        input: Operand,
        slope: Vec<f64>,
        constant: f64,
    },
    Polynomial {
        input: Operand,
        coefficients: Coefficients,
        scale: f64,
    },
    Product {
        inputs: [Operand; 2],
    },
    Sum {
        inputs: [Operand; 2],
        negative: bool,
        scale: f64,
    },
}

/// A step's operand, and how it is brought to where it is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Operand {
    pub(crate) step: usize,
    /// Primes it is divided by first.
    pub(crate) primes: usize,
    /// Whether a constant brings it to the step's scale on the way.
    pub(crate) aligned: bool,
}

/// Why a network has no plan.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum PlanError {
    /// No parameter set is deep enough.
    #[error(
        "the network needs {levels} levels, which no degree up to 2^17 carries with {security}-bit security; use fewer or lower-degree activations"
    )]
    TooDeep {
        /// Primes consumed.
        levels: usize,
        /// Bits of security asked for.
        security: u32,
    },
    /// A calibration item has the wrong length, or a value that is not finite.
    #[error("calibration item {item} does not fit the input: {expected} finite values are needed")]
    BadCalibration {
        /// Its position.
        item: usize,
        /// Elements of the input.
        expected: usize,
    },
    /// The clear twin overflows on the calibration items.
    #[error(
        "{node}: values are not finite on the calibration items; check the weights, or give typical inputs to calibrate with"
    )]
    Diverges {
        /// The node's name.
        node: String,
    },
    /// The lowered network differs from the clear twin.
    #[error(
        "the plan does not compute the network: {node} is off by {error:.1e} of its range, which is a bug"
    )]
    Wrong {
        /// The node's name.
        node: String,
        /// Largest error.
        error: f64,
    },
    /// Weights that have no encoding.
    #[error("{node}: {source}")]
    Encode {
        /// The node's name.
        node: String,
        /// What is wrong.
        source: EncodeError,
    },
    /// The parameters are refused.
    #[error(transparent)]
    Params(#[from] ParamsError),
    /// Saved bytes that are no plan.
    #[error("the saved plan is damaged or from another version; compile again")]
    Damaged,
}

/// One way to run a network, as far as its costs need.
struct Draft {
    network: Arc<Network>,
    levels: Arc<Levels>,
    literal: Literal,
    layouts: Vec<Arc<Layout>>,
    works: Vec<Option<(Split, LinearWork)>>,
    seconds: f64,
    label: String,
}

/// Values beyond their calibrated range by this factor may overflow, of junk in unused slots too.
const HEADROOM: f64 = 8.0;
/// Bits of scale times range that are tried.
const MESSAGE_BITS: [f64; 6] = [31.0, 32.0, 33.0, 34.0, 35.0, 36.0];
/// A typical value, in units of the range.
const TYPICAL: f64 = 0.15;
/// Special primes at most: they are dropped together with up to three of a level.
const MAX_SPECIAL: usize = 12;
/// Bits by which the smallest modulus exceeds scale times range.
const BASE_BITS: f64 = 12.0;
/// Bits of them that the result uses.
const OUTPUT_BITS: f64 = 6.0;
/// Operands of linear steps with fewer bits of scale are multiplied by a power of two: else the noise of rotations shows.
const ROTATION_BITS: f64 = 37.0;
/// Bits of the largest coefficient of a weight.
const WORD_BITS: f64 = 30.0;
/// Degrees that are tried.
const LOG_DEGREES: std::ops::RangeInclusive<u32> = 12..=17;

impl Default for PlanOptions {
    fn default() -> Self {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        Self { security: Security::Bits128, calibration: Vec::new(), threads }
    }
}

impl Plan {
    /// Compiles a network.
    ///
    /// # Errors
    /// [`PlanError`]
    pub fn compile(
        network: &Network,
        options: &PlanOptions,
        progress: Progress<'_>,
    ) -> Result<Self, PlanError> {
        let items = calibration(network, &options.calibration)?;
        let ranges = ranges(network, &items)?;
        let draft = Draft::best(
            network,
            &ranges,
            &network.trace(items.first().map_or(&[], |i| i)),
            options,
            progress,
        )?;
        Ok(Self { ranges, ..draft.lower(&items, progress)? })
    }

    /// The parameters.
    pub fn params(&self) -> &Params {
        &self.params
    }

    /// What it says of itself.
    pub fn report(&self) -> &Report {
        &self.report
    }

    /// The keys it needs, each at the highest level it is used at.
    pub fn keys(&self) -> KeyRequest {
        let mut request = KeyRequest::new();
        for (step, level) in self.steps.iter().zip(self.start_levels()) {
            match step {
                Step::Transform { transform, folds, .. } => {
                    request = request.merge(&transform.keys(&self.params));
                    request = request.rotations(&self.params, folds.iter().copied(), transform.to);
                }
                Step::Square { .. } | Step::Product { .. } | Step::Polynomial { .. } => {
                    request = request.relin(level);
                }
                Step::Input | Step::Relabel { .. } | Step::Sum { .. } => {}
            }
        }
        request
    }

    /// Nodes of the network that the plan was made from where an item goes beyond what the plan has room for: name, calibrated
    /// range, and largest magnitude.
    pub fn beyond_range(&self, network: &Network, item: &[f64]) -> Vec<(String, f64, f64)> {
        let largest = |values: &Vec<f64>| values.iter().fold(0.0f64, |m, x| m.max(x.abs()));
        let trace = network.trace(item);
        let seen = network.nodes().iter().zip(&self.ranges).zip(&trace);
        let beyond = seen.filter(|((_, range), values)| largest(values) > HEADROOM / 2.0 * **range);
        beyond.map(|((node, range), values)| (node.name.clone(), *range, largest(values))).collect()
    }

    /// The level at which each step's work begins.
    fn start_levels(&self) -> Vec<usize> {
        self.report.layers.iter().map(|layer| layer.level).collect()
    }
}

impl Draft {
    /// The cheapest way at the smallest degree that is secure.
    fn best(
        network: &Network,
        ranges: &[f64],
        trace: &[Vec<f64>],
        options: &PlanOptions,
        progress: Progress<'_>,
    ) -> Result<Self, PlanError> {
        let mut drafts: Vec<Self> = Vec::new();
        let mut tried: Vec<Arc<Network>> = Vec::new();
        let mut needed = usize::MAX;
        for (number, (pools, convolutions)) in
            [(true, false), (false, false), (true, true)].into_iter().enumerate()
        {
            progress("choosing a layout", number, 3);
            let rewritten = Arc::new(rewrite(network, ranges, trace, Merging { pools, convolutions }));
            if tried.contains(&rewritten) {
                continue;
            }
            tried.push(rewritten.clone());
            let levels = Levels::new(&rewritten, MESSAGE_BITS[0]);
            needed = needed.min(levels.total);
            let Some(log_n) = literals(&levels, options.security).and_then(|l| Some(l.first()?.log_n)) else {
                continue;
            };
            let merged = match (pools, convolutions) {
                (true, false) => "pools merged",
                (false, _) => "pools apart",
                (true, true) => "convolutions merged",
            };
            let mut seen: Vec<Vec<Arc<Layout>>> = Vec::new();
            for (order, channels, packing) in [
                (Order::Reader, Channels::Inner, Packing::Spread),
                (Order::Reader, Channels::Inner, Packing::Dense),
                (Order::Reader, Channels::Outer, Packing::Dense),
                (Order::Maker, Channels::Inner, Packing::Dense),
                (Order::Natural, Channels::Outer, Packing::Dense),
            ] {
                let layouts = arrange::layouts(&rewritten, 1 << (log_n - 1), (order, channels, packing));
                if seen.contains(&layouts) {
                    continue;
                }
                let label =
                    format!("{merged}, channels {channels:?} in the {order:?}'s order, input {packing:?}");
                drafts.extend(Self::new(&rewritten, log_n, &layouts, options, label.to_lowercase()));
                seen.push(layouts);
            }
        }
        progress("choosing a layout", 3, 3);
        drafts.sort_by(|a, b| a.seconds.total_cmp(&b.seconds));
        let too_deep = PlanError::TooDeep { levels: needed, security: options.security.bits() };
        let milliseconds = |d: &Self| format!("{:.0} ms with {}", 1e3 * d.seconds, d.label);
        let others: Vec<_> = drafts.iter().skip(1).take(2).map(milliseconds).collect();
        let mut best = drafts.into_iter().next().ok_or(too_deep)?;
        let mut label = format!("chosen: {}", milliseconds(&best));
        if !others.is_empty() {
            label = format!("{label}; rather than {}", others.join(", or "));
        }
        best.label = label;
        Ok(best)
    }

    fn new(
        network: &Arc<Network>,
        log_n: u32,
        layouts: &[Arc<Layout>],
        options: &PlanOptions,
        label: String,
    ) -> Option<Self> {
        let slots = 1 << (log_n - 1);
        let last = network.nodes().len() - 1;
        // Diagonals do not depend on the parameters.
        let lowered: Vec<_> = (0..network.nodes().len())
            .into_par_iter()
            .map(|i| {
                let (linear, from, to) = linear_at(network, layouts, i)?;
                let plane = arrange::planar(linear).map(|[_, height, width]| [height, width]);
                let lowering = Lowering { linear, from, to, masked: i == last, plane };
                // An estimate: with channels innermost, taps of the middle row repeat every row, edges or not.
                let period = match (plane.is_none() || i == last, arrange::has_edges(linear), to.inner) {
                    (true, ..) | (_, _, false) => arrange::repeat(to),
                    (_, true, true) => arrange::repeat(to) * 2 / 3,
                    (_, false, true) => (slots / 8).min(512),
                };
                let work = LinearWork {
                    groups: [from.ciphertexts, to.ciphertexts],
                    period,
                    folds: lowering.folds().len(),
                    ..LinearWork::default()
                };
                Some((lowering.places(), work))
            })
            .collect();
        let mut drafts = Vec::new();
        for message_bits in MESSAGE_BITS {
            let levels = Arc::new(Levels::new(network, message_bits));
            let literals = literals(&levels, options.security)?;
            let fitting = literals.iter().filter(|l| l.log_n == log_n);
            let drafted = fitting.map(|&literal| {
                let cost = Cost::new(&literal, options.threads);
                let at = |i: usize| levels.nodes.get(i).map_or(0, |n| levels.total - n.consumed);
                let mut seconds = 0.0;
                let mut works = Vec::new();
                for (i, node) in network.nodes().iter().enumerate() {
                    let count = layouts.get(i).map_or(1, |l| l.ciphertexts);
                    let level = node.op.reads().iter().map(|id| at(id.0)).min().unwrap_or(levels.total);
                    let work = lowered.get(i).and_then(Option::as_ref).map(|(places, work)| {
                        let work = LinearWork { diagonals: places.len(), level, to: at(i), ..*work };
                        cost.split(places, slots, work)
                    });
                    seconds += match (&node.op, &work) {
                        (_, Some((_, work))) => cost.linear(work),
                        (Op::Input, _) => count as f64 * CLIENT_SECONDS,
                        (Op::Polynomial(_, c), _) => c.degree() as f64 / 2.0 * cost.product(count, at(i)),
                        (Op::Product(..), _) => cost.product(count, at(i)),
                        _ => cost.pointwise(count, level),
                    };
                    works.push(work);
                }
                let (network, levels) = (network.clone(), levels.clone());
                let (layouts, label) = (layouts.to_vec(), label.clone());
                Self { network, levels, literal, layouts, works, seconds, label }
            });
            drafts.extend(drafted.min_by(|a, b| a.seconds.total_cmp(&b.seconds)));
        }
        drafts.into_iter().min_by(|a, b| a.error().total_cmp(&b.error()))
    }

    /// The error to expect, in units of the ranges: every linear step adds what its division rounds, and the rounding of its
    /// weights, which grows with their number.
    fn error(&self) -> f64 {
        let Self { levels, literal, works, network, .. } = self;
        let division = 0.25 * f64::from(1u32 << literal.log_n) / levels.message_bits.exp2();
        let of_work = |(i, work): (usize, &Option<(Split, LinearWork)>)| {
            let (_, work) = work.as_ref()?;
            let read = network.nodes().get(i)?.op.reads().first()?.0;
            let weights = levels.weight_bits(read, i);
            let terms = work.diagonals as f64 / work.groups[1] as f64;
            let rounded = (terms * 2.0 * work.period as f64 / 12.0).sqrt() * TYPICAL / weights.exp2();
            Some(division * division + rounded * rounded)
        };
        works.iter().enumerate().filter_map(of_work).sum::<f64>().sqrt()
    }

    /// Every step with its weights, checked on the first calibration item against the clear twin.
    fn lower(&self, items: &[Vec<f64>], progress: Progress<'_>) -> Result<Plan, PlanError> {
        let Self { network, levels, layouts, .. } = self;
        let params = Params::new(self.literal)?;
        let encoder = Encoder::new(&params);
        let ranges = ranges(network, items)?;
        let classes = arrange::scale_classes(network, levels);
        let class_range = |i: usize| {
            let members = classes.iter().zip(&ranges).filter(|(class, _)| classes.get(i) == Some(class));
            members.fold(0.0f64, |m, (_, r)| m.max(*r)).max(f64::MIN_POSITIVE)
        };
        let scale_at = |i: usize| {
            // Nothing follows the result: it may use most of what is left.
            let more = if i + 1 == network.nodes().len() { OUTPUT_BITS } else { 0.0 };
            (levels.message_bits + more).exp2() / class_range(i)
        };
        let item = items.first().cloned().unwrap_or_default();
        let trace = network.trace(&item);
        let mut values: Vec<Vec<Vec<f64>>> = Vec::new();
        let mut steps: Vec<Step> = Vec::new();
        let mut scales: Vec<f64> = Vec::new();
        let mut report = self.report(&params);
        let total = network.nodes().iter().filter(|n| matches!(n.op, Op::Linear(..))).count();
        let mut done = 0;
        for (i, node) in network.nodes().iter().enumerate() {
            let plan = levels.nodes.get(i).cloned().unwrap_or_default();
            let layout = layouts.get(i).cloned().unwrap_or_else(|| Arc::new(Layout::vector(1, 1)));
            let level = levels.total - plan.consumed;
            let scale_of = |id: &NodeId| scales.get(id.0).copied().unwrap_or(1.0);
            let level_of = |id: &NodeId| levels.total - levels.nodes.get(id.0).map_or(0, |n| n.consumed);
            let slots_of = |id: &NodeId| values.get(id.0).cloned().unwrap_or_default();
            let divisor =
                |from: usize, to: usize| (to + 1..=from).map(|l| params.divisor(l)).product::<f64>();
            let operand = |k: usize, id: &NodeId| Operand {
                step: id.0,
                primes: plan.rescaled.get(k).copied().unwrap_or(0),
                aligned: plan.aligned.get(k).copied().unwrap_or(false),
            };
            let factor_scale = |k: usize, id: &NodeId| {
                let level = level_of(id);
                scale_of(id) / divisor(level, level - operand(k, id).primes.min(level))
            };
            let each = |a: Vec<Vec<f64>>, b: Vec<Vec<f64>>, f: fn(f64, f64) -> f64| -> Vec<Vec<f64>> {
                let slots = |(a, b): (Vec<f64>, Vec<f64>)| a.iter().zip(&b).map(|(a, b)| f(*a, *b)).collect();
                a.into_iter().zip(b).map(slots).collect()
            };
            let mut layer = report.layers.get(i).cloned().unwrap_or_default();
            let (step, scale, value) = match &node.op {
                Op::Input => (Step::Input, scale_at(i), layout.fill(&item)),
                Op::Linear(x, linear)
                    if arrange::linear_kind(linear, i + 1 == network.nodes().len())
                        == LinearKind::Relabel =>
                {
                    let factor = linear.scale_factors().first().copied().unwrap_or(1.0);
                    let bias = linear.bias().to_vec();
                    let scaled = slots_of(x).into_iter().map(|s| s.iter().map(|v| v * factor).collect());
                    let value = each(scaled.collect(), layout.fill(&bias), |a, b| a + b);
                    (Step::Relabel { input: x.0, factor, bias }, scale_of(x) / factor.abs(), value)
                }
                Op::Linear(x, linear) => {
                    let scale = scale_at(i);
                    let from = level_of(x);
                    let weight_scale = scale * divisor(from, level) / scale_of(x);
                    let input = slots_of(x);
                    let split =
                        self.works.get(i).copied().flatten().map_or(Split { modulus: 1, shift: 0 }, |w| w.0);
                    let bits = levels.nodes.get(x.0).map_or(0.0, |n| n.bits);
                    let lowered = self.transform(
                        i,
                        linear,
                        split,
                        &encoder,
                        weight_scale,
                        bits,
                        &input,
                        &mut |k, of| {
                            progress(&format!("encoding {done} of {total}"), k, of);
                        },
                    );
                    let (mut blocks, boost, mut value) = lowered?;
                    (blocks.level, blocks.to) = (from, level);
                    let bias = linear.bias().to_vec();
                    value = each(value, layout.fill(&bias), |a, b| a + b);
                    done += 1;
                    let folds = self.folds(i, linear);
                    layer.diagonals = blocks.blocks.len();
                    layer.rotations = rotations(&blocks) + folds.len() * blocks.groups[1];
                    layer.bytes = blocks.blocks.iter().map(|b| 4 * b.weight.coefficients.len()).sum();
                    (Step::Transform { input: x.0, boost, transform: blocks, folds, bias }, scale, value)
                }
                Op::Polynomial(x, c) if is_monic(c) => {
                    let scale = factor_scale(0, x).powi(2);
                    let (slope, constant) = (c.0.get(1).cloned().unwrap_or_default(), c.at(0, 0));
                    let linear = each(slots_of(x), fill(&layout, &slope), |x, b| x + b);
                    let mut value = each(slots_of(x), linear, |a, b| a * b);
                    value.iter_mut().flatten().for_each(|v| *v += constant);
                    (Step::Square { input: operand(0, x), slope, constant }, scale, value)
                }
                Op::Polynomial(x, c) => {
                    let scale = (2.0 * levels.message_bits).exp2() / class_range(i);
                    let per_slot: Vec<_> = c.0.iter().map(|c| fill(&layout, c)).collect();
                    let apply = |(ct, slots): (usize, Vec<f64>)| -> Vec<f64> {
                        let at = |k: &Vec<Vec<f64>>, s: usize| {
                            k.get(ct).and_then(|k| k.get(s)).copied().unwrap_or(0.0)
                        };
                        let horner =
                            |(s, x): (usize, &f64)| per_slot.iter().rev().fold(0.0, |y, k| y * x + at(k, s));
                        slots.iter().enumerate().map(horner).collect()
                    };
                    let value = slots_of(x).into_iter().enumerate().map(apply).collect();
                    (Step::Polynomial { input: operand(0, x), coefficients: c.clone(), scale }, scale, value)
                }
                Op::Product(a, b) => {
                    let scale = factor_scale(0, a) * factor_scale(1, b);
                    let value = each(slots_of(a), slots_of(b), |a, b| a * b);
                    (Step::Product { inputs: [operand(0, a), operand(1, b)] }, scale, value)
                }
                Op::Add(a, b) | Op::Sub(a, b) => {
                    let negative = matches!(node.op, Op::Sub(..));
                    let add: fn(f64, f64) -> f64 = if negative { |a, b| a - b } else { |a, b| a + b };
                    let value = each(slots_of(a), slots_of(b), add);
                    let scale = scale_at(i);
                    (Step::Sum { inputs: [operand(0, a), operand(1, b)], negative, scale }, scale, value)
                }
            };
            check(node, trace.get(i), &layout, &value, ranges.get(i).copied().unwrap_or(1.0))?;
            if let Some(place) = report.layers.get_mut(i) {
                *place = layer;
            }
            steps.push(step);
            scales.push(scale);
            values.push(value);
        }
        let (input_len, output_len) =
            (network.input_shape().iter().product(), network.output_shape().iter().product());
        report.weight_bytes = report.layers.iter().map(|l| l.bytes).sum();
        let layouts = layouts.clone();
        let mut plan = Plan { params, steps, layouts, scales, input_len, output_len, ranges, report };
        plan.count_bytes();
        Ok(plan)
    }

    /// The blocks of a linear node, and what it makes of the slots of its operand.
    #[expect(clippy::too_many_arguments, reason = "the node's whole surroundings")]
    fn transform(
        &self,
        node: usize,
        linear: &Linear,
        split: Split,
        encoder: &Encoder,
        scale: f64,
        input_bits: f64,
        input: &[Vec<f64>],
        progress: &mut dyn FnMut(usize, usize),
    ) -> Result<(BlockTransform, u32, Vec<Vec<f64>>), PlanError> {
        let name = || self.network.nodes().get(node).map(|n| n.name.clone()).unwrap_or_default();
        let Some((_, from, to)) = linear_at(&self.network, &self.layouts, node) else {
            return Err(PlanError::Damaged);
        };
        let masked = node + 1 == self.network.nodes().len();
        let lower = |masked| Lowering { linear, from, to, masked, plane: None };
        let mut blocks = BlockTransform {
            level: 1,
            to: 0,
            scale,
            groups: [from.ciphertexts, to.ciphertexts],
            babies: vec![0],
            giants: vec![0],
            blocks: Vec::new(),
        };
        let lowered: Vec<_> = (0..to.ciphertexts)
            .into_par_iter()
            .map(|ciphertext| {
                let diagonals = lower(masked).diagonals(ciphertext);
                let value = simulate(&diagonals, input, from.slots, &lower(masked).folds());
                if !grows(linear, to, ciphertext, &value) {
                    return (diagonals, value);
                }
                // Junk beside the elements would outgrow them: leave none.
                let diagonals = lower(true).diagonals(ciphertext);
                let value = simulate(&diagonals, input, from.slots, &lower(true).folds());
                (diagonals, value)
            })
            .collect();
        let largest =
            lowered.iter().flat_map(|(d, _)| d.values()).flatten().fold(0.0f64, |m, v| m.max(v.abs()));
        let quiet = ROTATION_BITS - input_bits;
        let boost = ((largest * scale).log2() - WORD_BITS).max(quiet).ceil().clamp(0.0, 100.0);
        blocks.scale = scale / boost.exp2();
        let mut out = Vec::new();
        for (done, (diagonals, value)) in lowered.into_iter().enumerate() {
            progress(done, to.ciphertexts);
            let encode = |(place, mut values): (Place, Vec<f64>)| {
                let (baby, giant) = split.parts(place.step);
                let by = giant.rem_euclid(values.len() as i64) as usize;
                values.rotate_right(by);
                encoder.encode_weight(&values, blocks.scale).map(|weight| (place, baby, giant, weight))
            };
            let encoded: Result<Vec<_>, _> = diagonals.into_par_iter().map(encode).collect();
            let encoded = encoded.map_err(|source| PlanError::Encode { node: name(), source })?;
            for (place, baby, giant, weight) in encoded {
                let (baby, giant) = (position(&mut blocks.babies, baby), position(&mut blocks.giants, giant));
                let (input, output) = (place.input, place.output);
                blocks.blocks.push(Block { input, output, baby, giant, weight });
            }
            out.push(value);
        }
        Ok((blocks, boost as u32, out))
    }

    fn folds(&self, node: usize, linear: &Linear) -> Vec<i64> {
        linear_at(&self.network, &self.layouts, node).map_or_else(Vec::new, |(_, from, to)| {
            Lowering { linear, from, to, masked: false, plane: None }.folds()
        })
    }

    /// What is known before weights are encoded.
    fn report(&self, params: &Params) -> Report {
        let Self { network, levels, layouts, literal, .. } = self;
        let cost = Cost::new(literal, rayon::current_num_threads());
        let top = params.max_level();
        let layers = network.nodes().iter().enumerate().map(|(i, node)| {
            let level_of = |i: usize| levels.nodes.get(i).map_or(top, |n| top - n.consumed);
            let layout = layouts.get(i);
            let ciphertexts = layout.map_or(1, |l| l.ciphertexts);
            let work = self.works.get(i).and_then(Option::as_ref);
            let start = node.op.reads().iter().map(|id| level_of(id.0)).min().unwrap_or(top);
            let (kind, level, seconds) = match &node.op {
                Op::Input => ("input", top, 0.0),
                Op::Linear(..) => match work {
                    Some((_, work)) => ("linear", start, cost.linear(work)),
                    None => ("scale", start, 0.0),
                },
                Op::Polynomial(_, c) if is_monic(c) => {
                    ("square", level_of(i), cost.product(ciphertexts, level_of(i)))
                }
                Op::Polynomial(_, c) => {
                    let level = level_of(i) + arrange::polynomial_depth(c.degree());
                    ("polynomial", level, c.degree() as f64 / 2.0 * cost.product(ciphertexts, level))
                }
                Op::Product(..) => ("product", level_of(i), cost.product(ciphertexts, level_of(i))),
                Op::Add(..) | Op::Sub(..) => ("add", start, cost.pointwise(ciphertexts, start)),
            };
            LayerReport {
                name: if node.name.is_empty() { kind.to_owned() } else { node.name.clone() },
                kind: kind.to_owned(),
                layout: layout.map(|l| l.description.clone()).unwrap_or_default(),
                ciphertexts,
                level,
                seconds,
                ..LayerReport::default()
            }
        });
        let layers: Vec<_> = layers.collect();
        Report {
            network: network.name().to_owned(),
            parameters: ParameterReport {
                log_n: literal.log_n,
                slots: params.n() / 2,
                levels: top,
                scale_bits: literal.scale_bits,
                log2_q: params.log2_q(top),
                log2_qp: params.log2_qp(top),
                max_log2_qp: literal.security.max_log2_qp(literal.log_n),
                security: literal.security.bits(),
            },
            seconds: layers.iter().map(|l| l.seconds).sum(),
            layers,
            notes: vec![self.label.clone()],
            ..Report::default()
        }
    }
}

/// Seconds to encode and encrypt one ciphertext, about.
const CLIENT_SECONDS: f64 = 0.003;

/// A linear node that is a transform, with its layouts.
fn linear_at<'a>(
    network: &'a Network,
    layouts: &'a [Arc<Layout>],
    node: usize,
) -> Option<(&'a Linear, &'a Layout, &'a Layout)> {
    match &network.nodes().get(node)?.op {
        Op::Linear(x, linear)
            if arrange::linear_kind(linear, node + 1 == network.nodes().len()) == LinearKind::Transform =>
        {
            Some((linear, layouts.get(x.0)?, layouts.get(node)?))
        }
        _ => None,
    }
}

/// Parameter sets of the smallest secure degree, one for each number of special primes.
fn literals(levels: &Levels, security: Security) -> Option<Vec<Literal>> {
    let total = levels.total;
    LOG_DEGREES.into_iter().find_map(|log_n| {
        // Small primes are rare at large degrees, where there is room enough for larger ones.
        let base = (levels.message_bits + BASE_BITS).max(if log_n > 14 { 58.0 } else { 0.0 }) as u32;
        let literal = |digit_limbs| Literal {
            log_n,
            levels: total,
            scale_bits: PRIME_BITS,
            base_bits: base,
            digit_limbs,
            security,
        };
        let bits = |digits: usize| f64::from(base) + (PRIME_BITS as usize * total + 30 * digits) as f64;
        let fits = |&d: &usize| bits(d) <= security.max_log2_qp(log_n) && d <= total + 2;
        let found: Vec<_> = (1..=MAX_SPECIAL).filter(fits).map(literal).collect();
        (!found.is_empty()).then_some(found)
    })
}

/// Items to calibrate with.
fn calibration(network: &Network, given: &[Vec<f64>]) -> Result<Vec<Vec<f64>>, PlanError> {
    let expected: usize = network.input_shape().iter().product();
    let bad = |item: &Vec<f64>| item.len() != expected || item.iter().any(|x| !x.is_finite());
    if let Some(item) = given.iter().position(bad) {
        return Err(PlanError::BadCalibration { item, expected });
    }
    if !given.is_empty() {
        return Ok(given.to_vec());
    }
    // Sums of twelve uniform numbers from splitmix64 (Steele, Lea, Flood, 2014) are normal enough.
    let mut state = 0u64;
    let mut uniform = || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let x = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (x >> 11) as f64 / (1u64 << 53) as f64
    };
    let mut normal = || (0..12).map(|_| uniform()).sum::<f64>() - 6.0;
    Ok((0..4).map(|_| (0..expected).map(|_| normal()).collect()).collect())
}

/// Largest magnitude at each node.
fn ranges(network: &Network, items: &[Vec<f64>]) -> Result<Vec<f64>, PlanError> {
    let mut ranges = vec![0.0f64; network.nodes().len()];
    let traces: Vec<_> = items.par_iter().map(|item| network.trace(item)).collect();
    for trace in &traces {
        for ((range, values), node) in ranges.iter_mut().zip(trace).zip(network.nodes()) {
            let largest =
                values.iter().fold(0.0f64, |m, x| if x.is_finite() { m.max(x.abs()) } else { f64::INFINITY });
            if !largest.is_finite() {
                return Err(PlanError::Diverges { node: node.name.clone() });
            }
            *range = range.max(largest);
        }
    }
    // A node that is zero throughout has any range.
    ranges.iter_mut().filter(|r| **r == 0.0).for_each(|r| *r = 1.0);
    Ok(ranges)
}

/// What diagonals make of slots.
fn simulate(diagonals: &Diagonals, input: &[Vec<f64>], slots: usize, folds: &[i64]) -> Vec<f64> {
    let mut out = vec![0.0; slots];
    for (place, values) in diagonals {
        let Some(x) = input.get(place.input) else { continue };
        let step = place.step.rem_euclid(slots as i64) as usize;
        let (before, after) = x.split_at(step.min(x.len()));
        let rotated = after.iter().chain(before);
        for ((out, x), d) in out.iter_mut().zip(rotated).zip(values.iter().cycle()) {
            *out += x * d;
        }
    }
    for &fold in folds {
        let mut turned = out.clone();
        turned.rotate_left(fold as usize % slots.max(1));
        out.iter_mut().zip(&turned).for_each(|(x, y)| *x += y);
    }
    out
}

/// Whether slots without elements hold far larger values than those with.
fn grows(linear: &Linear, to: &Layout, ciphertext: usize, value: &[f64]) -> bool {
    let largest = |x: f64, y: &f64| x.max(y.abs());
    let elements = (0..linear.outputs()).filter_map(|i| {
        let (at, slot) = to.place(i);
        (at == ciphertext).then(|| value.get(slot)).flatten()
    });
    value.iter().fold(0.0, largest) > HEADROOM / 2.0 * elements.fold(0.0, largest)
}

/// Refuses a plan whose slots are not the clear twin's values.
fn check(
    node: &crate::Node,
    expected: Option<&Vec<f64>>,
    layout: &Layout,
    slots: &[Vec<f64>],
    range: f64,
) -> Result<(), PlanError> {
    let got = layout.read(slots);
    let pairs = got.iter().zip(expected.into_iter().flatten());
    let error = pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f64::max) / range;
    if error < 1e-6 { Ok(()) } else { Err(PlanError::Wrong { node: node.name.clone(), error }) }
}

/// A coefficient in every slot.
fn fill(layout: &Layout, c: &[f64]) -> Vec<Vec<f64>> {
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

fn rotations(t: &BlockTransform) -> usize {
    let count = |steps: &[i64]| steps.iter().filter(|&&s| s != 0).count();
    count(&t.babies) * t.groups[0] + count(&t.giants) * t.groups[1]
}

impl Plan {
    /// Bytes of keys, of what is sent, and of the busiest moment.
    fn count_bytes(&mut self) {
        let (params, keys) = (self.params.clone(), self.keys());
        let poly = |limbs: usize| 4 * limbs * params.n();
        let q = |level: usize| params.limbs(level).q;
        let top = params.max_level();
        let (input, output) = (self.layouts.first(), self.layouts.last());
        let lowest = self
            .steps
            .last()
            .map_or(0, |s| if let Step::Transform { transform, .. } = s { transform.to } else { 0 });
        let products =
            |s: &Step| matches!(s, Step::Square { .. } | Step::Product { .. } | Step::Polynomial { .. });
        let needs_relin = self.steps.iter().any(products);
        let mut busiest = 0;
        for (step, layer) in self.steps.iter().zip(&self.report.layers) {
            let working = match step {
                Step::Transform { transform: t, .. } => {
                    let extended = q(t.level) + params.gadget(t.level).limbs.p;
                    let sums = 2 * t.giants.len() * t.groups[1] * poly(extended);
                    let operands = 2 * t.groups[0] * poly(q(t.level));
                    let expanded: usize = t.blocks.iter().map(|b| 4 * b.weight.coefficients.len()).sum();
                    let lifts = params.gadget(t.level).digits() * t.groups[0] * poly(2);
                    let threads = rayon::current_num_threads();
                    sums + operands + (expanded + lifts) * threads + 3 * t.groups[1] * poly(q(t.level))
                }
                _ => 10 * layer.ciphertexts * poly(q(layer.level)),
            };
            busiest = busiest.max(working);
        }
        let report = &mut self.report;
        report.input_ciphertexts = input.map_or(1, |l| l.ciphertexts);
        report.output_ciphertexts = output.map_or(1, |l| l.ciphertexts);
        report.input_bytes = report.input_ciphertexts * poly(q(top));
        report.output_bytes = report.output_ciphertexts * 2 * poly(q(lowest));
        report.key_bytes = keys.bytes(&params);
        report.rotation_keys = keys.count() - usize::from(needs_relin);
        report.key_wire_bytes = report.key_bytes / 2;
        report.memory_bytes = busiest + report.key_bytes + 2 * report.weight_bytes + report.input_bytes * 2;
    }
}
