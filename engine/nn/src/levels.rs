//! Levels and scales: how many primes each node of a rewritten network consumes, and how many bits its scale has.
//!
//! The decisions need no parameter set. Every count of bits is `log2(scale * range)`, the size of the largest encrypted
//! integer of a node.

#![expect(clippy::indexing_slicing, reason = "nodes are looked up in tables of their own network or program")]

use crate::channels::cleared_nodes;
use crate::rewrite::{Pools, is_monic, tiling_pool};
use crate::{Coefficients, CompileError, Linear, Network, NodeId, NodeMap, Op, Pool};
use pleura_ckks::Params;

/// Bits of a prime that a level drops.
pub(crate) const PRIME_BITS: u32 = 30;
/// Least bits of the factor between weights and integers.
const WEIGHT_BITS: f64 = 23.0;
/// Operands of a product with more bits are rescaled first.
const MAX_FACTOR_BITS: f64 = 38.0;
/// Operands of linear steps with fewer bits of scale are multiplied by a power of two: else the noise of rotations
/// shows.
const ROTATION_BITS: f64 = 37.0;
/// Bits of the largest coefficient of a weight.
const WORD_BITS: f64 = 30.0;
/// Bits of the constant that brings an operand of a sum to another scale.
const ALIGNMENT_BITS: f64 = 18.0;
/// Bits of scale times range that the result has more than other values: nothing follows it, and it may use most of
/// what is left.
const OUTPUT_BITS: f64 = 6.0;
/// Those of a result that is packed after the last map: map and masks share two primes, which leave more.
const PACKED_BITS: f64 = 16.0;
/// Least bits of the factors between weights and integers, of the last map and of the masks that pack its results. Rounded numbers
/// err less than rounded coefficients.
const PACKED_NUMBER_BITS: f64 = 17.0;
const PACKED_MASK_BITS: f64 = 20.0;
/// Bits by which the scale of the largest power of two of a Chebyshev polynomial's elements exceeds a prime.
const EXCESS_BITS: f64 = 8.0;

/// Primes consumed and bits of scale left at every node.
#[derive(Clone, Debug)]
pub(crate) struct Levels {
    pub(crate) nodes: NodeMap<NodeLevels>,
    /// Primes that the whole network consumes.
    pub(crate) total: usize,
    /// Least bits of the factor between coefficients of polynomials and integers; infinite without polynomials.
    pub(crate) coefficient_bits: f64,
    /// Bits of the factor between values at the edge of their range and encrypted integers.
    pub(crate) message_bits: f64,
    /// Bits of scale times range that the result has more than other values.
    output_bits: f64,
    /// The last map and the result, if that packs what the map makes.
    packed: Option<[NodeId; 2]>,
}

/// Primes consumed up to a node, and how its operands are brought to it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct NodeLevels {
    /// Primes consumed, the node's own included.
    pub(crate) consumed: usize,
    /// Bits of the product of scale and range.
    pub(crate) bits: f64,
    /// One entry for each node that is read.
    pub(crate) operands: Vec<OperandLevels>,
    /// Whether the scale is free, since the node ends with a division by a constant of its own.
    pub(crate) free_scale: bool,
}

/// How an operand is brought to the node that reads it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct OperandLevels {
    /// Primes that the operand is divided by.
    pub(crate) rescale_by: usize,
    /// Bits that the operand is multiplied by before the division, so that the division leaves enough.
    pub(crate) scale_up_log2: u32,
    /// Whether a constant brings the operand of a sum to the scale of the sum.
    pub(crate) aligned: bool,
}

impl OperandLevels {
    /// Factor of the scale, with levels of exactly [`PRIME_BITS`].
    pub(crate) fn gain(&self) -> f64 {
        (f64::from(self.scale_up_log2) - f64::from(PRIME_BITS) * self.rescale_by as f64).exp2()
    }
}

/// How a linear node is computed on ciphertexts.
#[derive(Clone, Copy, Debug)]
pub(crate) enum LinearKind<'a> {
    /// One factor for all elements, which is not zero: another scale is declared, at no cost.
    SetScale(f64),
    /// Sums of rotations, without a level.
    SumPool(&'a Pool),
    /// Products with plaintext diagonals, and rotations.
    Transform,
}

impl<'a> LinearKind<'a> {
    /// The kind of a linear node. One that must be `masked` is a transform, which can clear the slots without an
    /// element.
    pub(crate) fn of(linear: &'a Linear, masked: bool, pools: Pools) -> Self {
        if masked {
            return Self::Transform;
        }
        if pools == Pools::Rotated
            && let Some(pool) = tiling_pool(linear)
        {
            return Self::SumPool(pool);
        }
        match linear.shared_factor() {
            Some(factor) if factor != 0.0 => Self::SetScale(factor),
            _ => Self::Transform,
        }
    }
}

/// An operand of a product after its division.
struct Factor {
    consumed: usize,
    bits: f64,
    operand: OperandLevels,
}

/// Degree of the Chebyshev polynomial that reads a node; `None` for other nodes.
///
/// Such a node is computed as a transform with cleared slots, since Chebyshev polynomials grow fast outside of -1 to
/// 1, and at the scale of [`chebyshev_scale_bits`].
pub(crate) fn chebyshev_readers(network: &Network) -> NodeMap<Option<usize>> {
    let mut degrees = network.node_map().map(|_, _| None);
    for node in network.nodes() {
        if let Op::Chebyshev(x, c) = &node.op {
            degrees[*x] = Some(c.degree());
        }
    }
    degrees
}

/// Whether slots of a node without an element must be zero: those of the result, of operands of Chebyshev polynomials, and of
/// [`cleared_nodes`].
pub(crate) fn masked_nodes(network: &Network) -> NodeMap<bool> {
    let cleared = cleared_nodes(network);
    chebyshev_readers(network).map(|id, degree| degree.is_some() || id == network.output() || cleared[id])
}

/// The last map and the result, if the result is an elementwise map of what that makes, as in networks
/// [`with_cleared_operands`](crate::channels::with_cleared_operands).
fn packed(network: &Network, pools: Pools) -> Option<[NodeId; 2]> {
    let output = network.output();
    let Op::Linear(last, identity) = &network[output].op else { return None };
    let Op::Linear(_, map) = &network[*last].op else { return None };
    let is_packed = identity.is_elementwise()
        && !map.is_elementwise()
        && matches!(LinearKind::of(map, false, pools), LinearKind::Transform);
    is_packed.then_some([*last, output])
}

/// Bits of the scale of a Chebyshev polynomial's operand: more than those of a prime give the first elements more
/// precision, and doubling the degree of an element doubles the excess.
pub(crate) fn chebyshev_scale_bits(degree: usize) -> f64 {
    f64::from(PRIME_BITS) + EXCESS_BITS / f64::from(1 << degree.max(1).ilog2())
}

/// The scale of a Chebyshev polynomial's operand at a level: that of [`chebyshev_scale_bits`].
pub(crate) fn chebyshev_scale(params: &Params, level: usize, degree: usize) -> f64 {
    params.scale(level) * (chebyshev_scale_bits(degree) - f64::from(PRIME_BITS)).exp2()
}

/// Inputs of the level computation, and the nodes done so far.
struct LevelBuilder<'a> {
    ranges: &'a NodeMap<f64>,
    masked: NodeMap<bool>,
    chebyshev_readers: NodeMap<Option<usize>>,
    message_bits: f64,
    pools: Pools,
    /// The last map and the result, if that packs what the map makes.
    packed: Option<[NodeId; 2]>,
    nodes: NodeMap<NodeLevels>,
    coefficient_bits: f64,
}

impl Levels {
    /// Levels of a rewritten network whose values have the given ranges (largest magnitudes).
    ///
    /// # Errors
    /// [`CompileError::Internal`] for a network that is not rewritten.
    pub(crate) fn new(
        network: &Network,
        ranges: &NodeMap<f64>,
        message_bits: f64,
        pools: Pools,
    ) -> Result<Self, CompileError> {
        let mut builder = LevelBuilder {
            ranges,
            masked: masked_nodes(network),
            chebyshev_readers: chebyshev_readers(network),
            message_bits,
            pools,
            packed: packed(network, pools),
            nodes: NodeMap::default(),
            coefficient_bits: f64::INFINITY,
        };
        for (id, node) in network.iter() {
            let levels = match &node.op {
                Op::Input => {
                    NodeLevels { consumed: 0, bits: message_bits, operands: Vec::new(), free_scale: true }
                }
                Op::Linear(x, linear) => builder.linear(id, *x, linear),
                Op::Polynomial(x, c) if is_monic(c) => builder.square(id, *x),
                Op::Chebyshev(x, c) => builder.chebyshev(*x, c),
                Op::Polynomial(..) | Op::Activation(..) => {
                    return Err(CompileError::Internal("a network is compiled that is not rewritten"));
                }
                Op::Mul(a, b) => builder.product(id, *a, *b),
                Op::Add(a, b) | Op::Sub(a, b) => builder.sum(*a, *b),
            };
            builder.nodes.push(levels);
        }
        let LevelBuilder { nodes, coefficient_bits, packed, .. } = builder;
        let total = nodes.values().iter().map(|node| node.consumed).fold(0, usize::max);
        Ok(Self { nodes, total, coefficient_bits, message_bits, output_bits: OUTPUT_BITS, packed })
    }

    /// Whether nothing reads a node but the result, which packs its elements and clears everything else.
    pub(crate) fn is_packed(&self, id: NodeId) -> bool {
        self.packed.is_some_and(|[map, _]| map == id)
    }

    /// Bits of the product of scale and range of the result.
    pub(crate) fn result_bits(&self) -> f64 {
        let counted = self.nodes.last().map_or(0.0, |result| result.bits);
        counted.max(self.message_bits + self.output_bits)
    }

    /// These levels with a result of no more bits than other values.
    pub(crate) fn with_short_result(&self) -> Self {
        Self { output_bits: 0.0, ..self.clone() }
    }

    /// Level of a node's result, with `total` levels at the input.
    pub(crate) fn level(&self, id: NodeId) -> usize {
        self.total - self.nodes[id].consumed
    }

    /// Bits of the factor between weights and integers, from a node to the linear one that reads it.
    pub(crate) fn weight_bits(&self, from: NodeId, to: NodeId) -> f64 {
        let [from, to] = [from, to].map(|id| &self.nodes[id]);
        to.bits + f64::from(PRIME_BITS) * (to.consumed - from.consumed) as f64 - from.bits
    }
}

impl LevelBuilder<'_> {
    fn linear(&self, id: NodeId, x: NodeId, linear: &Linear) -> NodeLevels {
        let operand = &self.nodes[x];
        let grown = match LinearKind::of(linear, self.masked[id], self.pools) {
            LinearKind::Transform => {
                if let Some(packed) = self.packed.filter(|packed| packed.contains(&id)) {
                    return self.packing(operand, id == packed[0]);
                }
                // A node that a Chebyshev polynomial reads has a scale, and others have a product of scale and range.
                let bits = self.chebyshev_readers[id].map_or(self.message_bits, chebyshev_scale_bits);
                let primes = (operand.bits + WEIGHT_BITS - bits) / f64::from(PRIME_BITS);
                return NodeLevels {
                    consumed: operand.consumed + primes.ceil().max(1.0) as usize,
                    bits,
                    operands: vec![OperandLevels::default()],
                    free_scale: true,
                };
            }
            LinearKind::SetScale(factor) => (self.ranges[id] / (factor.abs() * self.ranges[x])).log2(),
            // A sum of `count` values is read as their mean, at a scale `count` times larger.
            LinearKind::SumPool(pool) => {
                let [height, width] = pool.window().kernel();
                ((height * width) as f64).log2()
            }
        };
        NodeLevels {
            consumed: operand.consumed,
            bits: operand.bits + grown,
            operands: vec![OperandLevels::default()],
            free_scale: false,
        }
    }

    /// The last map of an `operand`, or the result that packs what it makes.
    fn packing(&self, operand: &NodeLevels, is_map: bool) -> NodeLevels {
        let prime = f64::from(PRIME_BITS);
        let result = self.message_bits + PACKED_BITS;
        let (primes, bits) = if is_map {
            let least = PACKED_NUMBER_BITS + PACKED_MASK_BITS;
            let primes = ((operand.bits + least - result) / prime).ceil().max(2.0);
            let left = result + primes * prime - operand.bits - least;
            let weight_bits = PACKED_NUMBER_BITS + left / 2.0;
            (primes - 1.0, operand.bits + weight_bits - (primes - 1.0) * prime)
        } else {
            (1.0, result)
        };
        NodeLevels {
            consumed: operand.consumed + primes as usize,
            bits,
            operands: vec![OperandLevels::default()],
            free_scale: true,
        }
    }

    /// `x^2 + b x + c`, which is left unscaled.
    fn square(&self, id: NodeId, x: NodeId) -> NodeLevels {
        let factor = self.factor(x);
        NodeLevels {
            consumed: factor.consumed,
            bits: 2.0 * factor.bits + (self.ranges[id] / self.ranges[x].powi(2)).log2(),
            operands: vec![factor.operand],
            free_scale: false,
        }
    }

    fn chebyshev(&mut self, x: NodeId, coefficients: &Coefficients) -> NodeLevels {
        let operand = &self.nodes[x];
        let bits = polynomial_bits(self.message_bits);
        let coefficient_bits = coefficient_bits(coefficients.degree(), operand.bits, bits);
        self.coefficient_bits = self.coefficient_bits.min(coefficient_bits);
        NodeLevels {
            consumed: operand.consumed + polynomial_depth(coefficients.degree()),
            bits,
            operands: vec![OperandLevels::default()],
            free_scale: false,
        }
    }

    fn product(&self, id: NodeId, a: NodeId, b: NodeId) -> NodeLevels {
        let grown = (self.ranges[id] / (self.ranges[a] * self.ranges[b])).log2();
        let a = self.factor(a);
        let b = self.factor(b);
        NodeLevels {
            consumed: a.consumed.max(b.consumed),
            bits: a.bits + b.bits + grown,
            operands: vec![a.operand, b.operand],
            free_scale: false,
        }
    }

    fn sum(&self, a: NodeId, b: NodeId) -> NodeLevels {
        let mut consumed = 0;
        let mut operands = Vec::with_capacity(2);
        for id in [a, b] {
            let x = &self.nodes[id];
            let bits = x.bits + ALIGNMENT_BITS - self.message_bits;
            let primes = (bits / f64::from(PRIME_BITS)).ceil().max(1.0) as usize;
            let rescale_by = if x.free_scale { 0 } else { primes };
            consumed = consumed.max(x.consumed + rescale_by);
            operands.push(OperandLevels { rescale_by, scale_up_log2: 0, aligned: !x.free_scale });
        }
        NodeLevels { consumed, bits: self.message_bits, operands, free_scale: true }
    }

    /// An operand of a product: divided if it has too many bits.
    fn factor(&self, id: NodeId) -> Factor {
        let x = &self.nodes[id];
        let prime = f64::from(PRIME_BITS);
        let primes =
            if x.bits > MAX_FACTOR_BITS { ((x.bits - self.message_bits) / prime).round() } else { 0.0 };
        let left = x.bits - primes * prime;
        let scale_up = (self.message_bits - left).max(0.0).ceil();
        Factor::new(x, primes, left, scale_up)
    }
}

impl Factor {
    fn new(x: &NodeLevels, primes: f64, left: f64, scale_up: f64) -> Self {
        let rescale_by = primes as usize;
        Self {
            consumed: x.consumed + rescale_by,
            bits: left + scale_up,
            operand: OperandLevels { rescale_by, scale_up_log2: scale_up as u32, aligned: false },
        }
    }
}

/// Bits by which the operand of a map is scaled up, and its weights down, so that the weights fit their words and the noise of rotations does
/// not show. `largest` is the largest weight as an integer, and the operand has `bits` of scale times range.
pub(crate) fn scale_up_log2(largest: f64, bits: f64) -> f64 {
    (largest.log2() - WORD_BITS).max(ROTATION_BITS - bits).ceil().clamp(0.0, 100.0)
}

/// Bits of scale times range of a polynomial's result: more than a square's, since its inner sums have what powers
/// leave of them.
pub(crate) fn polynomial_bits(message_bits: f64) -> f64 {
    2.0 * message_bits + 6.0
}

/// Primes that a polynomial consumes; its last product is left unscaled.
pub(crate) fn polynomial_depth(degree: usize) -> usize {
    ((degree + 1).next_power_of_two().ilog2() as usize).saturating_sub(1)
}

/// Least bits of a coefficient's factor in a polynomial whose operand and result have the given bits: powers by
/// squaring and dividing run away from the size of a prime, and what is left for the coefficients shrinks.
fn coefficient_bits(degree: usize, operand: f64, result: f64) -> f64 {
    let prime = f64::from(PRIME_BITS);
    if degree == 0 {
        return f64::INFINITY;
    }
    let giant = 1usize << degree.ilog2();
    let left = result - (giant as f64 * (operand - prime) + prime);
    let rest = coefficient_bits(giant - 1, operand, result);
    left.min(rest).min(coefficient_bits(degree - giant, operand, left + prime))
}

/// Nodes whose scales must be equal because they are added to each other: the first node of each node's class.
fn scale_classes(network: &Network, levels: &Levels) -> NodeMap<NodeId> {
    let mut classes = Classes::new(network.len());
    for (id, node) in network.iter() {
        if let Op::Add(..) | Op::Sub(..) = node.op {
            for (read, operand) in node.op.reads().into_iter().zip(&levels.nodes[id].operands) {
                if !operand.aligned {
                    classes.join(id, read);
                }
            }
        }
    }
    classes.firsts()
}

/// Largest range among the nodes of each node's class, see [`scale_classes`].
pub(crate) fn class_ranges(network: &Network, levels: &Levels, ranges: &NodeMap<f64>) -> NodeMap<f64> {
    let classes = scale_classes(network, levels);
    NodeMap::new(network.len(), |id| {
        let members = ranges.iter().filter(|(other, _)| classes[*other] == classes[id]);
        members.fold(0.0, |largest: f64, (_, range)| largest.max(*range))
    })
}

/// Disjoint sets of nodes, each named by its first node.
pub(crate) struct Classes(NodeMap<NodeId>);

impl Classes {
    /// Every node in a set of its own.
    pub(crate) fn new(len: usize) -> Self {
        Self(NodeMap::new(len, |id| id))
    }

    /// Unites the sets of two nodes.
    pub(crate) fn join(&mut self, a: NodeId, b: NodeId) {
        let a = self.first(a);
        let b = self.first(b);
        self.0[a.max(b)] = a.min(b);
    }

    /// The first node of every node's set.
    pub(crate) fn firsts(&self) -> NodeMap<NodeId> {
        self.0.ids().map(|id| self.first(id)).collect()
    }

    fn first(&self, mut id: NodeId) -> NodeId {
        while self.0[id] != id {
            id = self.0[id];
        }
        id
    }
}
