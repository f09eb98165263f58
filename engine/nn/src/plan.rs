//! From a network to a plan: everything that a server does to a ciphertext, as data.

use crate::arrange::PRIME_BITS;
use crate::draft::Draft;
use crate::layout::Layout;
use crate::report::Report;
use crate::{Coefficients, Network};
use pleura_ckks::{BlockLinearTransform, EncodeError, KeyRequest, Params, ParamsError, Security};
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
    /// Expected of the result, in units of its range.
    pub(crate) error: f64,
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
        transform: BlockLinearTransform,
        folds: Vec<i64>,
        bias: Vec<f64>,
    },
    /// The same ciphertexts, read at another scale: values are multiplied by `factor`.
    Relabel {
        input: usize,
        factor: f64,
        bias: Vec<f64>,
    },
    /// Sums over windows by rotations, read as averages.
    Pool {
        input: usize,
        rotations: Vec<i64>,
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
    /// It is multiplied by two to so much before.
    pub(crate) boost: u32,
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
    /// Rewriting broke the network, which is a bug.
    #[error("the rewritten network is not valid, which is a bug: {0}")]
    Rewrite(crate::NetworkError),
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

/// Values beyond their calibrated range by this factor may overflow, of junk in unused slots too.
pub(crate) const HEADROOM: f64 = 8.0;
/// Bytes of a process beside all that, about.
const PROCESS_BYTES: usize = 64 << 20;

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
        let draft = Draft::best(network, &ranges, &items, options, progress)?;
        Ok(Self { ranges, ..draft.assemble(&items, progress)? })
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
                    request = request.rotations(&self.params, folds.iter().copied(), transform.target_level);
                }
                Step::Square { .. } | Step::Product { .. } | Step::Polynomial { .. } => {
                    request = request.relin(level);
                }
                Step::Pool { rotations, .. } => {
                    request = request.rotations(&self.params, rotations.iter().copied(), level);
                }
                Step::Input | Step::Relabel { .. } | Step::Sum { .. } => {}
            }
        }
        request
    }

    /// Nodes of the network that the plan was made from where an item comes near the end of the plan's room, four times the
    /// calibrated range: name, calibrated range, and largest magnitude.
    ///
    /// # Panics
    /// If the item has another length than the network's input.
    pub fn beyond_range(&self, network: &Network, item: &[f64]) -> Vec<(String, f64, f64)> {
        let largest = |values: &Vec<f64>| values.iter().fold(0.0f64, |m, x| m.max(x.abs()));
        let trace = network.trace(item);
        let seen = network.nodes().iter().zip(&self.ranges).zip(trace.values());
        let beyond = seen.filter(|((_, range), values)| largest(values) > HEADROOM / 2.0 * **range);
        beyond.map(|((node, range), values)| (node.name.clone(), *range, largest(values))).collect()
    }

    /// The level at which each step's work begins.
    fn start_levels(&self) -> Vec<usize> {
        self.report.layers.iter().map(|layer| layer.level).collect()
    }

    /// Bytes of keys, of what is sent, and of the busiest moment.
    pub(crate) fn count_bytes(&mut self) {
        let (params, keys) = (self.params.clone(), self.keys());
        let poly = |limbs: usize| 4 * limbs * params.n();
        let q = |level: usize| params.limbs(level).q;
        let working = self.steps.iter().zip(&self.report.layers).map(|(step, layer)| match step {
            Step::Transform { transform: t, .. } => {
                let gadget = params.gadget(t.level);
                let extended = q(t.level) + gadget.limbs.p;
                let sums = 2 * t.giant_steps.len() * t.outputs * poly(extended);
                let expanded: usize = t.diagonals.iter().map(|d| 4 * d.poly.coefficients.len()).sum();
                let lifted = gadget.digits() * t.inputs * poly(2);
                let ciphertexts = (2 * t.inputs + 3 * t.outputs) * poly(q(t.level));
                sums + ciphertexts + (expanded + lifted) * rayon::current_num_threads()
            }
            _ => 10 * layer.ciphertexts * poly(q(layer.level)),
        });
        let busiest = working.max().unwrap_or(0);
        let lowest = self.steps.iter().rev().find_map(|step| match step {
            Step::Transform { transform, .. } => Some(transform.target_level),
            _ => None,
        });
        let products =
            |s: &Step| matches!(s, Step::Square { .. } | Step::Product { .. } | Step::Polynomial { .. });
        let relin = usize::from(self.steps.iter().any(products));
        let ciphertexts = |layout: Option<&Arc<Layout>>| layout.map_or(1, |l| l.ciphertexts);
        let report = &mut self.report;
        report.input_ciphertexts = ciphertexts(self.layouts.first());
        report.output_ciphertexts = ciphertexts(self.layouts.last());
        // On the wire words have the bits of their primes, and seeds stand for uniform halves.
        let packed = |level: usize| {
            let moduli = params.ring().moduli(params.limbs(level));
            moduli.map(|m| (u32::BITS - m.q().leading_zeros()) as usize * params.n() / 8).sum::<usize>()
        };
        report.input_bytes = report.input_ciphertexts * packed(params.max_level());
        report.output_bytes = report.output_ciphertexts * 2 * packed(lowest.unwrap_or(0));
        report.key_bytes = keys.bytes(&params);
        report.rotation_keys = keys.count() - relin;
        report.key_wire_bytes = report.key_bytes / 2 / 32 * PRIME_BITS as usize;
        // Client and server in one process hold the keys twice, for a moment, and storage is kept for reuse.
        report.memory_bytes = 2 * (report.key_bytes + report.weight_bytes + busiest) + PROCESS_BYTES;
    }
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
pub(crate) fn ranges(network: &Network, items: &[Vec<f64>]) -> Result<Vec<f64>, PlanError> {
    let mut ranges = vec![0.0f64; network.nodes().len()];
    let traces: Vec<_> = items.par_iter().map(|item| network.trace(item)).collect();
    for trace in &traces {
        for ((range, values), node) in ranges.iter_mut().zip(trace.values()).zip(network.nodes()) {
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
