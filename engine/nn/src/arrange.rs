//! Decisions about a rewritten network that need no parameters, or only the number of slots: levels and layouts.

use crate::layout::{Copies, Grid, Layout};
use crate::rewrite::{Pools, is_monic, tiling_pool};
use crate::{Linear, LinearMap, Network, NodeId, Op};
use std::sync::Arc;

/// Bits of a prime.
pub(crate) const PRIME_BITS: u32 = 30;
/// Least bits of the factor between weights and integers.
const WEIGHT_BITS: f64 = 23.0;
/// Operands of a product have at most so many bits: larger ones are divided first.
const MAX_FACTOR_BITS: f64 = 38.0;
/// Bits of the constant that brings an operand to another scale.
const ALIGNMENT_BITS: f64 = 18.0;

/// Primes consumed and bits of scale left at every node.
pub(crate) struct Levels {
    pub(crate) nodes: Vec<NodeLevels>,
    /// Primes that the whole network consumes.
    pub(crate) total: usize,
    /// Least bits of the factor between coefficients of polynomials and integers.
    pub(crate) coefficient_bits: f64,
    /// Bits of the factor between values at the edge of their range and encrypted integers.
    pub(crate) message_bits: f64,
    /// What becomes of averages.
    pub(crate) pools: Pools,
}

/// Primes consumed up to a node.
#[derive(Clone, Debug, Default)]
pub(crate) struct NodeLevels {
    /// With its own.
    pub(crate) consumed: usize,
    /// Bits of the product of scale and range.
    pub(crate) bits: f64,
    /// Primes that each operand is divided by before use.
    pub(crate) rescaled: Vec<usize>,
    /// Bits that each operand is multiplied by before it is divided, so that the division leaves enough.
    pub(crate) boosts: Vec<u32>,
    /// Whether each operand of a sum is brought to the node's scale by a constant.
    pub(crate) aligned: Vec<bool>,
    /// Whether its scale can be chosen.
    chosen: bool,
}

/// What a linear node is on ciphertexts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LinearKind {
    /// One factor for all elements: the scale is declared to be another.
    Relabel,
    /// Sums of rotations.
    Pool,
    /// Products by plaintexts, and rotations.
    Transform,
}

/// What a linear node is on ciphertexts. The output is always a transform, which can mask what is not the result.
pub(crate) fn linear_kind(linear: &Linear, is_output: bool, pools: Pools) -> LinearKind {
    if pools == Pools::Rotated && !is_output && tiling_pool(linear).is_some() {
        return LinearKind::Pool;
    }
    let factors = if linear.is_elementwise() && !is_output { linear.scale_factors() } else { Vec::new() };
    match factors.first() {
        Some(&first) if first != 0.0 && factors.iter().all(|f| *f == first) => LinearKind::Relabel,
        _ => LinearKind::Transform,
    }
}

impl Levels {
    pub(crate) fn new(network: &Network, ranges: &[f64], message_bits: f64, pools: Pools) -> Self {
        let range = |i: usize| ranges.get(i).copied().unwrap_or(1.0);
        let mut coefficients = f64::INFINITY;
        let mut nodes: Vec<NodeLevels> = Vec::new();
        let prime = f64::from(PRIME_BITS);
        let last = network.nodes().len() - 1;
        for (i, node) in network.nodes().iter().enumerate() {
            let of = |id: NodeId| nodes.get(id.index()).cloned().unwrap_or_default();
            // An operand of a product, and the primes it is divided by.
            let factor = |id: NodeId| {
                let x = of(id);
                let primes =
                    if x.bits > MAX_FACTOR_BITS { ((x.bits - message_bits) / prime).round() } else { 0.0 };
                let left = x.bits - primes * prime;
                let boost = (message_bits - left).max(0.0).ceil();
                (x.consumed + primes as usize, left + boost, primes as usize, boost as u32)
            };
            nodes.push(match &node.op {
                Op::Input => NodeLevels { bits: message_bits, chosen: true, ..NodeLevels::default() },
                Op::Linear(read, linear) => {
                    let x = of(*read);
                    let kind = linear_kind(linear, i == last, pools);
                    if kind != LinearKind::Transform {
                        // A sum of so many values is read at a scale as many times larger.
                        let count = tiling_pool(linear).filter(|_| kind == LinearKind::Pool);
                        let count = count.map_or(1, |p| p.window().kernel()[0] * p.window().kernel()[1]);
                        let factor = linear.scale_factors().first().copied().unwrap_or(1.0).abs();
                        let grown = match kind {
                            LinearKind::Relabel => (range(i) / (factor * range(read.index()))).log2(),
                            _ => (count as f64).log2(),
                        };
                        let bits = x.bits + grown;
                        NodeLevels { bits, chosen: false, rescaled: vec![0], ..x }
                    } else {
                        let primes = ((x.bits + WEIGHT_BITS - message_bits) / prime).ceil().max(1.0);
                        let consumed = x.consumed + primes as usize;
                        NodeLevels { consumed, bits: message_bits, chosen: true, ..NodeLevels::default() }
                    }
                }
                Op::Polynomial(x, c) => {
                    let (consumed, bits, primes, boost) = if is_monic(c) || of(*x).chosen {
                        factor(*x)
                    } else {
                        // Powers keep their bits if they have those of a prime.
                        let x = of(*x);
                        let primes = ((x.bits - prime - 1.0) / prime).ceil().max(0.0);
                        let boost = (prime * (primes + 1.0) - x.bits).max(0.0).ceil();
                        (
                            x.consumed + primes as usize,
                            x.bits + boost - primes * prime,
                            primes as usize,
                            boost as u32,
                        )
                    };
                    if is_monic(c) {
                        NodeLevels {
                            consumed,
                            bits: 2.0 * bits + (range(i) / range(x.index()).powi(2)).log2(),
                            rescaled: vec![primes],
                            boosts: vec![boost],
                            ..NodeLevels::default()
                        }
                    } else {
                        let result = polynomial_bits(message_bits);
                        coefficients = coefficients.min(coefficient_bits(c.degree(), bits, result));
                        let consumed = consumed + polynomial_depth(c.degree());
                        NodeLevels {
                            consumed,
                            bits: result,
                            rescaled: vec![primes],
                            boosts: vec![boost],
                            ..NodeLevels::default()
                        }
                    }
                }
                Op::Mul(a, b) => {
                    let grown = (range(i) / (range(a.index()) * range(b.index()))).log2();
                    let (a, b) = (factor(*a), factor(*b));
                    let (consumed, rescaled, boosts) = (a.0.max(b.0), vec![a.2, b.2], vec![a.3, b.3]);
                    NodeLevels {
                        consumed,
                        bits: a.1 + b.1 + grown,
                        rescaled,
                        boosts,
                        ..NodeLevels::default()
                    }
                }
                Op::Add(a, b) | Op::Sub(a, b) => {
                    let operands = [of(*a), of(*b)].map(|x| {
                        let bits = x.bits + ALIGNMENT_BITS - message_bits;
                        let primes = if x.chosen { 0.0 } else { (bits / prime).ceil().max(1.0) };
                        (x.consumed + primes as usize, primes as usize, !x.chosen)
                    });
                    NodeLevels {
                        consumed: operands.iter().map(|o| o.0).max().unwrap_or(0),
                        bits: message_bits,
                        rescaled: operands.iter().map(|o| o.1).collect(),
                        aligned: operands.iter().map(|o| o.2).collect(),
                        chosen: true,
                        ..NodeLevels::default()
                    }
                }
            });
        }
        let total = nodes.iter().map(|n| n.consumed).max().unwrap_or(0);
        Self { nodes, total, message_bits, coefficient_bits: coefficients, pools }
    }

    /// Bits of the factor between weights and integers, from a node to the next linear one.
    pub(crate) fn weight_bits(&self, from: usize, to: usize) -> f64 {
        let (Some(a), Some(b)) = (self.nodes.get(from), self.nodes.get(to)) else { return 0.0 };
        b.bits + f64::from(PRIME_BITS) * (b.consumed - a.consumed) as f64 - a.bits
    }
}

/// Bits of scale times range of a polynomial's result: more than a square's, since its inner sums have what powers leave of them.
pub(crate) fn polynomial_bits(message_bits: f64) -> f64 {
    2.0 * message_bits + 6.0
}

/// Least bits of a coefficient's factor, in a polynomial whose operand and result have so many: powers by squaring and dividing
/// run away from the size of a prime, and what is left for the coefficients shrinks.
pub(crate) fn coefficient_bits(degree: usize, operand: f64, result: f64) -> f64 {
    let prime = f64::from(PRIME_BITS);
    if degree == 0 {
        return f64::INFINITY;
    }
    let giant = 1usize << degree.ilog2();
    let left = result - (giant as f64 * (operand - prime) + prime);
    let rest = coefficient_bits(giant - 1, operand, result);
    left.min(rest).min(coefficient_bits(degree - giant, operand, left + prime))
}

/// Primes that a polynomial consumes; its last product is left as it is.
pub(crate) fn polynomial_depth(degree: usize) -> usize {
    ((degree + 1).next_power_of_two().ilog2() as usize).saturating_sub(1)
}

/// Nodes whose scales must be equal because they are added to each other, by the first of each class.
pub(crate) fn scale_classes(network: &Network, levels: &Levels) -> Vec<usize> {
    let mut classes = Classes::new(network.nodes().len());
    for (i, node) in network.nodes().iter().enumerate() {
        let aligned = levels.nodes.get(i).map(|n| n.aligned.as_slice()).unwrap_or_default();
        if let Op::Add(a, b) | Op::Sub(a, b) = node.op {
            for (id, aligned) in [a, b].into_iter().zip(aligned) {
                if !aligned {
                    classes.join(i, id.index());
                }
            }
        }
    }
    classes.firsts()
}

/// Where channels of different groups lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// As the layer that reads them would have it.
    Reader,
    /// As the layer that makes them would have it.
    Maker,
    /// In their own order.
    Natural,
}

/// Where the channels of a ciphertext lie: next to each other at each position, or plane after plane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Channels {
    /// Next to each other.
    Inner,
    /// Plane after plane.
    Outer,
}

/// How a client fills ciphertexts with an item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Packing {
    /// All channels side by side.
    Dense,
    /// A ciphertext for each channel.
    Spread,
}

/// The layout of every node.
pub(crate) fn layouts(
    network: &Network,
    slots: usize,
    pools: Pools,
    (order, channels, packing): (Order, Channels, Packing),
) -> Vec<Arc<Layout>> {
    let nodes = network.nodes();
    let mut classes = Classes::new(nodes.len());
    for (i, node) in nodes.iter().enumerate() {
        let same_place = !matches!(&node.op, Op::Linear(_, linear) if !linear.is_elementwise());
        if same_place {
            node.op.reads().iter().for_each(|id| classes.join(i, id.index()));
        }
    }
    let class_of = classes.firsts();
    // The member that decides where its class lies: the input, or the first map from planes to planes.
    let mut makers: Vec<Option<usize>> = vec![None; nodes.len()];
    for (i, node) in nodes.iter().enumerate() {
        let Some(maker) = class_of.get(i).and_then(|&c| makers.get_mut(c)) else { continue };
        let decides = match &node.op {
            Op::Input => true,
            Op::Linear(_, linear) => planar(linear).is_some(),
            _ => false,
        };
        if maker.is_none() && decides {
            *maker = Some(i);
        }
    }
    let shape_of = |i: usize| -> Option<[usize; 3]> {
        let node = nodes.get(i)?;
        match &node.op {
            Op::Linear(_, linear) => planar(linear),
            _ => node.shape.as_slice().try_into().ok(),
        }
    };
    let mut gaps: Vec<Option<[usize; 2]>> = vec![None; nodes.len()];
    let mut extents = [1, 1];
    for (i, node) in nodes.iter().enumerate() {
        let class = class_of.get(i).copied().unwrap_or(i);
        let Some(shape) = shape_of(i).filter(|_| makers.get(class) == Some(&Some(i))) else { continue };
        let gap = match &node.op {
            Op::Linear(x, linear) => {
                let before =
                    class_of.get(x.index()).and_then(|&c| gaps.get(c)).copied().flatten().unwrap_or([1, 1]);
                let stride = stride(linear);
                [before[0] * stride[0], before[1] * stride[1]]
            }
            _ => [1, 1],
        };
        let reach = |len: usize, gap: usize| (len - 1) * gap + 1;
        extents = [extents[0].max(reach(shape[1], gap[0])), extents[1].max(reach(shape[2], gap[1]))];
        if let Some(place) = gaps.get_mut(class) {
            *place = Some(gap);
        }
    }
    let [height, width] = extents.map(usize::next_power_of_two);
    let grid = Grid { slots, height, width, inner: channels == Channels::Inner };

    let mut of_class: Vec<Option<Arc<Layout>>> = vec![None; nodes.len()];
    let mut out = Vec::with_capacity(nodes.len());
    for (i, node) in nodes.iter().enumerate() {
        let class = class_of.get(i).copied().unwrap_or(i);
        let members = || (0..nodes.len()).filter(|&j| class_of.get(j) == Some(&class));
        let in_place = match &node.op {
            Op::Linear(x, linear) if linear_kind(linear, false, pools) == LinearKind::Pool => {
                tiling_pool(linear).zip(out.get(x.index()))
            }
            _ => None,
        };
        let pooled = in_place.map(|(pool, before): (_, &Arc<Layout>)| Arc::new(before.pooled(pool.window())));
        let known = of_class.get(class).cloned().flatten().or(pooled);
        let layout = known.unwrap_or_else(|| {
            let maker = makers.get(class).copied().flatten();
            let shape = maker.and_then(shape_of).unwrap_or([node.len(), 1, 1]);
            let gap = gaps.get(class).copied().flatten();
            Arc::new(match gap {
                // Copies must be there for whoever relies on them: only a client makes them.
                Some([1, 1]) if i == 0 && members().count() == 1 && shape[0] <= grid.planes() => {
                    match packing {
                        Packing::Dense => grid.repeated(shape),
                        Packing::Spread => grid.spread(shape),
                    }
                }
                Some(gap) => {
                    let groups = groups(network, shape[0], &members().collect::<Vec<_>>(), order);
                    grid.layout(shape, gap, groups)
                }
                None => Layout::vector(slots, node.len()),
            })
        });
        if let Some(place) = of_class.get_mut(class) {
            *place = Some(layout.clone());
        }
        out.push(layout);
    }
    out
}

/// Channels, height and width of a result that windows make, whatever its tensor is called afterwards.
pub(crate) fn planar(linear: &Linear) -> Option<[usize; 3]> {
    let mut shape = None;
    for map in linear.maps() {
        shape = match map {
            LinearMap::Convolution(c) => {
                Some([c.channels()[1], c.window().output()[0], c.window().output()[1]])
            }
            LinearMap::Pool(p) => Some([p.channels(), p.window().output()[0], p.window().output()[1]]),
            LinearMap::DiagonalScale(_) => shape,
            LinearMap::Dense(_) | LinearMap::Gather(_) | LinearMap::Sparse(_) => None,
        };
    }
    shape.filter(|&[_, height, width]| height * width > 1)
}

/// Whether a map leaves zeros at the edges of planes, so that its diagonals differ there.
pub(crate) fn has_edges(linear: &Linear) -> bool {
    let selects = |map: &LinearMap| matches!(map, LinearMap::Gather(_) | LinearMap::Sparse(_));
    linear
        .maps()
        .iter()
        .any(|map| selects(map) || map.window().is_some_and(|w| w.padding() != [0, 0] || overhangs(w)))
}

fn overhangs(w: &crate::Window) -> bool {
    (0..2).any(|axis| {
        let reach = |v: [usize; 2]| v.get(axis).copied().unwrap_or(1);
        let last =
            (reach(w.output()) - 1) * reach(w.stride()) + (reach(w.kernel()) - 1) * reach(w.dilation());
        last >= reach(w.input())
    })
}

fn stride(linear: &Linear) -> [usize; 2] {
    let windows = linear.maps().iter().filter_map(LinearMap::window);
    windows.fold([1, 1], |s, w| [s[0] * w.stride()[0], s[1] * w.stride()[1]])
}

/// The groups that a class of nodes is ordered by.
fn groups(network: &Network, channels: usize, members: &[usize], order: Order) -> usize {
    let nodes = network.nodes();
    let grouped = |map: &LinearMap| match map {
        LinearMap::Convolution(c) if c.groups() > 1 => Some(c.groups()),
        _ => None,
    };
    let readers = nodes.iter().find_map(|node| match &node.op {
        Op::Linear(x, linear) if members.contains(&x.index()) => linear.maps().iter().find_map(grouped),
        _ => None,
    });
    let makers = members.iter().find_map(|&i| match nodes.get(i).map(|n| &n.op) {
        Some(Op::Linear(_, linear)) => linear.maps().iter().rev().find_map(grouped),
        _ => None,
    });
    let wanted = match order {
        Order::Reader => readers.or(makers),
        Order::Maker => makers.or(readers),
        Order::Natural => None,
    };
    wanted.filter(|&g| channels.is_multiple_of(g)).unwrap_or(1)
}

/// Disjoint sets.
struct Classes(Vec<usize>);

impl Classes {
    fn new(len: usize) -> Self {
        Self((0..len).collect())
    }

    fn first(&self, mut i: usize) -> usize {
        while let Some(&parent) = self.0.get(i).filter(|&&parent| parent != i) {
            i = parent;
        }
        i
    }

    fn join(&mut self, a: usize, b: usize) {
        let (a, b) = (self.first(a), self.first(b));
        if let Some(parent) = self.0.get_mut(a.max(b)) {
            *parent = a.min(b);
        }
    }

    fn firsts(&self) -> Vec<usize> {
        (0..self.0.len()).map(|i| self.first(i)).collect()
    }
}

/// How many values a layout's copies repeat after, for the estimate of diagonals.
pub(crate) fn repeat(layout: &Layout) -> usize {
    if let Copies::Period(period) = layout.copies { period } else { layout.slots }
}
