//! Candidates: ways to run a network, as far as their prices need.

#![expect(clippy::indexing_slicing, reason = "nodes are looked up in tables of their own network or program")]

use crate::batch_layout::BatchLayout;
use crate::choice::NodeChoice;
use crate::layout::Layout;
use crate::levels::{Levels, PRIME_BITS, chebyshev_scale_bits};
use crate::options::DeviceClass;
use crate::packing::Packing;
use crate::rewrite::{Merging, Pools};
use crate::{Coefficients, Network, NodeId, NodeMap, Op};
use pleura_ckks::{ParamsLiteral, RingKind};
use std::fmt;
use std::sync::Arc;

/// Magnitude of a typical value, in units of the range.
const TYPICAL: f64 = 0.15;
/// Bytes of ciphertexts by which interleaved groups of different sizes are compared: predictions take ciphertexts for cached. Groups of hefNet
/// 16-32-64 take 1.7 times the predicted time with 80 MiB of them, and 2.6 times with 224 MiB.
const CACHED_VALUE_BYTES: f64 = (128 << 20) as f64;

/// A rewriting, a packing and a kind of ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Way {
    pub(crate) merging: Merging,
    pub(crate) packing: Packing,
    pub(crate) ring: RingKind,
}

/// One way to run a network, as far as its price needs.
pub(crate) struct Candidate {
    /// The rewritten and normalized network.
    pub(crate) network: Arc<Network>,
    /// Powers of two by which the client divides inputs and multiplies results.
    pub(crate) input_unit: f64,
    pub(crate) output_unit: f64,
    /// Largest magnitude at each node.
    pub(crate) ranges: NodeMap<f64>,
    pub(crate) pools: Pools,
    pub(crate) levels: Levels,
    pub(crate) literal: ParamsLiteral,
    /// Where elements lie, in ciphertexts whose slots stand for a run of slots each.
    pub(crate) layouts: NodeMap<Arc<Layout>>,
    pub(crate) batch_layout: BatchLayout,
    /// Slots of a run, which hold as many items: one where items lie side by side, and all slots for an item per slot.
    pub(crate) run: usize,
    pub(crate) way: Way,
    pub(crate) nodes: NodeMap<NodeChoice>,
    /// Rewriting and packing in words, for the report.
    pub(crate) description: String,
    /// Whether its size of messages is the one of its layout that weighs precision against levels.
    pub(crate) is_preferred: bool,
    pub(crate) device: DeviceClass,
}

impl Candidate {
    /// A rough error, in units of the ranges, by which scales are compared: every linear step adds what its division rounds, and the rounding of
    /// its weights, which grows with their number. [`Candidate::expected_errors`] has rotations, and what later steps make of an error.
    pub(crate) fn error(&self) -> f64 {
        let division = 0.25 * self.noise() / self.levels.message_bits.exp2();
        // Inner sums of polynomials have about as many bits as their coefficients.
        let polynomials = 0.25 * self.noise() / self.levels.coefficient_bits.exp2();
        let mut sum_of_squares = polynomials * polynomials;
        for (id, node) in self.network.iter() {
            let (Op::Linear(x, _), Some(work)) = (&node.op, &self.nodes[id].work) else { continue };
            let terms = work.diagonals as f64 / work.outputs as f64;
            let rounded = (terms * self.literal.ring.coefficients(work.period) as f64 / 12.0).sqrt()
                * TYPICAL
                / self.levels.weight_bits(*x, id).exp2();
            sum_of_squares += division * division + rounded * rounded;
        }
        sum_of_squares.sqrt()
    }

    /// The largest error to expect of a polynomial, in units of its range, and the polynomial. Element `k` of the
    /// Chebyshev basis multiplies errors of its argument by up to `k` and more at the ends of the domain.
    pub(crate) fn polynomial_error(&self) -> Option<(f64, NodeId)> {
        let polynomials = self.network.iter().filter_map(|(id, node)| {
            let Op::Chebyshev(_, c) = &node.op else { return None };
            let bits = chebyshev_scale_bits(c.degree()).min(self.levels.coefficient_bits);
            let argument = 0.25 * self.noise() / bits.exp2();
            Some((slope(c, node.len()) * argument / self.ranges[id], id))
        });
        polynomials.max_by(|a, b| a.0.total_cmp(&b.0))
    }

    /// Seconds of a batch by which candidates of one layout are compared. The items of a group depend on rings and layouts.
    pub(crate) fn price(&self, batch: usize) -> f64 {
        let groups = batch.max(1).div_ceil(self.items());
        let memory = match self.batch_layout {
            BatchLayout::Interleaved => 1.0 + self.value_bytes() as f64 / CACHED_VALUE_BYTES,
            BatchLayout::SideBySide(_) | BatchLayout::SlotPerItem => 1.0,
        };
        groups as f64 * self.predicted_seconds() * memory
    }

    /// Predicted seconds of one group of items.
    pub(crate) fn predicted_seconds(&self) -> f64 {
        self.nodes.values().iter().map(|node| node.predicted_seconds).sum()
    }

    /// Ciphertexts that a client sends.
    pub(crate) fn input_ciphertexts(&self) -> usize {
        self.layouts[NodeId::INPUT].ciphertexts
    }

    /// Most bytes of the ciphertexts that a step reads and makes.
    pub(crate) fn value_bytes(&self) -> usize {
        let bytes = |id: NodeId| {
            let limbs =
                (self.literal.base_bits as usize).div_ceil(PRIME_BITS as usize) + self.levels.level(id);
            (8 * limbs * self.layouts[id].ciphertexts) << self.literal.log_n
        };
        let steps = self.network.iter();
        let steps = steps.map(|(id, node)| bytes(id) + node.op.reads().into_iter().map(bytes).sum::<usize>());
        steps.fold(0, usize::max)
    }

    /// Numbers that the diagonals of a node hold, as predicted.
    pub(crate) fn weights_of(&self, id: NodeId) -> usize {
        self.nodes[id].work.map_or(0, |work| work.diagonals.saturating_mul(work.period))
    }

    /// Numbers that all diagonals hold, as predicted.
    pub(crate) fn weights(&self) -> usize {
        self.network.ids().fold(0, |sum, id| sum.saturating_add(self.weights_of(id)))
    }

    /// Items of a group.
    pub(crate) fn items(&self) -> usize {
        if let BatchLayout::SideBySide(items) = self.batch_layout { items } else { self.run }
    }

    /// Growth of roundings on their way to the slots, in proportion.
    fn noise(&self) -> f64 {
        (f64::from(self.literal.log_n) + self.literal.noise_bits()).exp2()
    }
}

impl fmt::Display for Candidate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let class = self.device.to_string().to_uppercase();
        write!(f, "{}; predicted {:.0} ms on a {class}", self.description, 1e3 * self.predicted_seconds())
    }
}

/// Largest `sum (1 + k) |c_k|` over the elements: how far errors of the argument and of the basis carry.
fn slope(c: &Coefficients, elements: usize) -> f64 {
    (0..elements)
        .map(|i| (0..=c.degree()).map(|k| (1 + k) as f64 * c.at(k, i).abs()).sum())
        .fold(0.0, f64::max)
}
