//! Normalization: every node of a rewritten network is divided by a power of two near its range.
//!
//! Ciphertexts then hold values of about one, whatever the network's units are, and the size of a scale is a matter
//! of bits alone: it fits the modulus for values of 1e-20 as for values of 1e20. Powers of two are exact, so the
//! network stays the same.

#![expect(clippy::indexing_slicing, reason = "nodes are looked up in tables of their own network")]

use crate::levels::{Classes, LinearKind, chebyshev_readers, masked_nodes};
use crate::rewrite::{Pools, is_monic};
use crate::{Coefficients, Linear, Network, NetworkError, Node, NodeId, NodeMap, Op};
use std::collections::BTreeSet;

/// Largest ratio of a shared unit to the range of a node that others than sums read: it loses as many bits there.
const MAX_SHARED_RATIO: f64 = 16.0;

/// A network whose values are those of another, each node divided by its unit.
pub(crate) struct Normalized {
    pub(crate) network: Network,
    /// Largest magnitudes, in units.
    pub(crate) ranges: NodeMap<f64>,
    /// Powers of two by which input and output are divided.
    pub(crate) input_unit: f64,
    pub(crate) output_unit: f64,
}

/// Divides the nodes of a rewritten network, whose largest magnitudes are `ranges`, by powers of two.
///
/// # Errors
/// [`NetworkError`] if that breaks the network, which is a bug.
pub(crate) fn normalize(
    network: &Network,
    ranges: &NodeMap<f64>,
    pools: Pools,
) -> Result<Normalized, NetworkError> {
    let (network, ranges) = with_free_summands(network, ranges, pools)?;
    let masked = masked_nodes(&network);
    let units = units(&network, &ranges, &masked, pools);
    let mut nodes = NodeMap::default();
    for (id, node) in network.iter() {
        let op = match &node.op {
            Op::Linear(x, linear) if !is_derived(&network, id, masked[id], pools) => {
                Op::Linear(*x, linear_in_units(linear, units[*x], units[id]))
            }
            Op::Polynomial(x, c) => Op::Polynomial(*x, coefficients_in_units(c, units[*x], units[id])),
            Op::Chebyshev(x, c) => Op::Chebyshev(*x, coefficients_in_units(c, 1.0, units[id])),
            op => op.clone(),
        };
        nodes.push(Node { op, ..node.clone() });
    }
    Ok(Normalized {
        input_unit: units[NodeId::INPUT],
        output_unit: units[network.output()],
        ranges: ranges.map(|id, range| range / units[id]),
        network: Network::new(network.name(), nodes)?,
    })
}

/// Whether a node's unit follows from those of its operands: products, squares, and averages by sums of rotations.
fn is_derived(network: &Network, id: NodeId, masked: bool, pools: Pools) -> bool {
    match &network[id].op {
        Op::Mul(..) => true,
        Op::Polynomial(_, c) => is_monic(c),
        Op::Linear(_, linear) => matches!(LinearKind::of(linear, masked, pools), LinearKind::SumPool(_)),
        Op::Input | Op::Add(..) | Op::Sub(..) | Op::Chebyshev(..) | Op::Activation(..) => false,
    }
}

/// The network with a node between each sum and those of its operands whose unit is derived, or that are small: the new node reads
/// the operand at another scale, at no cost, and its unit is free.
fn with_free_summands(
    network: &Network,
    ranges: &NodeMap<f64>,
    pools: Pools,
) -> Result<(Network, NodeMap<f64>), NetworkError> {
    let masked = masked_nodes(network);
    let derived = network.node_map().map(|id, _| is_derived(network, id, masked[id], pools));
    let small = small_summands(network, ranges, &derived);
    let mut nodes: NodeMap<Node> = NodeMap::default();
    let mut new_ranges = NodeMap::default();
    let mut new_ids: NodeMap<NodeId> = NodeMap::default();
    for (id, node) in network.iter() {
        let is_sum = matches!(node.op, Op::Add(..) | Op::Sub(..));
        let op = node.op.clone().map_reads(|read| {
            if !is_sum || !derived[read] && !small.contains(&(id, read)) {
                return new_ids[read];
            }
            let Node { shape, .. } = &network[read];
            let identity = Linear::scale(vec![1.0; network[read].len()]);
            new_ranges.push(ranges[read]);
            nodes.push(Node::new("", shape.clone(), Op::Linear(new_ids[read], identity)))
        });
        new_ranges.push(ranges[id]);
        new_ids.push(nodes.push(Node { op, ..node.clone() }));
    }
    Ok((Network::new(network.name(), nodes)?, new_ranges))
}

/// Sums and those of their operands that would lose precision for other readers if they had the unit of the sum.
fn small_summands(
    network: &Network,
    ranges: &NodeMap<f64>,
    derived: &NodeMap<bool>,
) -> BTreeSet<(NodeId, NodeId)> {
    let sums = network.iter().filter(|(_, node)| matches!(node.op, Op::Add(..) | Op::Sub(..)));
    let summands: Vec<_> = sums
        .flat_map(|(id, node)| node.op.reads().into_iter().map(move |read| (id, read)))
        .filter(|(_, read)| !derived[*read])
        .collect();
    let mut read_otherwise = network.node_map().map(|_, _| false);
    for node in network.nodes().iter().filter(|node| !matches!(node.op, Op::Add(..) | Op::Sub(..))) {
        node.op.reads().into_iter().for_each(|read| read_otherwise[read] = true);
    }
    // The largest range among the nodes that share each node's unit, if some summands have their own.
    let largest = |small: &BTreeSet<(NodeId, NodeId)>| -> NodeMap<f64> {
        let mut classes = Classes::new(network.len());
        summands.iter().filter(|edge| !small.contains(edge)).for_each(|&(id, read)| classes.join(id, read));
        let classes = classes.firsts();
        let mut largest = network.node_map().map(|_, _| 0.0f64);
        for (id, node) in network.iter() {
            let mut range = ranges[id];
            if let Op::Add(a, b) | Op::Sub(a, b) = node.op {
                range = range.max(ranges[a]).max(ranges[b]);
            }
            largest[classes[id]] = largest[classes[id]].max(range);
        }
        network.node_map().map(|id, _| largest[classes[id]])
    };
    let mut small = BTreeSet::new();
    let mut shared = largest(&small);
    for &edge in &summands {
        let (_, read) = edge;
        if !read_otherwise[read] || shared[read] <= MAX_SHARED_RATIO * ranges[read] {
            continue;
        }
        let mut apart = small.clone();
        apart.insert(edge);
        let after = largest(&apart);
        if after[read] < shared[read] / MAX_SHARED_RATIO {
            small = apart;
            shared = after;
        }
    }
    small
}

/// The unit of each node; operands and result of a sum share one, and operands of Chebyshev polynomials stay as they
/// are.
fn units(network: &Network, ranges: &NodeMap<f64>, masked: &NodeMap<bool>, pools: Pools) -> NodeMap<f64> {
    let mut classes = Classes::new(network.len());
    for (id, node) in network.iter() {
        if let Op::Add(a, b) | Op::Sub(a, b) = node.op {
            classes.join(id, a);
            classes.join(id, b);
        }
    }
    let classes = classes.firsts();
    let chebyshev_readers = chebyshev_readers(network);
    let mut units: NodeMap<f64> = NodeMap::default();
    for (id, node) in network.iter() {
        let derived = is_derived(network, id, masked[id], pools);
        units.push(match &node.op {
            _ if chebyshev_readers[id].is_some() => 1.0,
            Op::Mul(a, b) => units[*a] * units[*b],
            Op::Polynomial(x, _) if derived => units[*x] * units[*x],
            Op::Linear(x, _) if derived => units[*x],
            _ => {
                let members = ranges.iter().filter(|(other, _)| classes[*other] == classes[id]);
                let largest = members.fold(0.0, |largest: f64, (_, range)| range.max(largest));
                largest.log2().ceil().exp2()
            }
        });
    }
    units
}

/// `(A x + b) / to` as a map of `x / from`.
fn linear_in_units(linear: &Linear, from: f64, to: f64) -> Linear {
    let negative: Vec<f64> = linear.bias().iter().map(|b| -b).collect();
    let bias: Vec<f64> = linear.bias().iter().map(|b| b / to).collect();
    let factor = Linear::scale(vec![from / to; linear.outputs()]);
    linear.clone().plus(&negative).then(factor).plus(&bias)
}

/// `p(x) / to` as a polynomial of `x / from`.
fn coefficients_in_units(c: &Coefficients, from: f64, to: f64) -> Coefficients {
    let powers = c.0.iter().enumerate().map(|(k, values)| {
        let factor = from.powi(k as i32) / to;
        values.iter().map(|value| value * factor).collect()
    });
    Coefficients(powers.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A sum of a square, a product and its operands, with values of about `size`.
    fn network(size: f64) -> Network {
        let mut nodes = NodeMap::default();
        let input = nodes.push(Node::new("input", [3], Op::Input));
        let scaled = Linear::scale(vec![size, -size, 2.0 * size]).plus(&[0.5 * size, 0.0, size]);
        let a = nodes.push(Node::new("a", [3], Op::Linear(input, scaled)));
        let monic = Coefficients(vec![vec![size * size], vec![size], vec![1.0]]);
        let square = nodes.push(Node::new("square", [3], Op::Polynomial(a, monic)));
        let cubic =
            Coefficients(vec![vec![0.1], vec![0.0], vec![3.0 / size, 1.0 / size, 0.0], vec![size.recip()]]);
        let cubic = nodes.push(Node::new("cubic", [3], Op::Polynomial(a, cubic)));
        let product = nodes.push(Node::new("product", [3], Op::Mul(a, square)));
        let sum = nodes.push(Node::new("sum", [3], Op::Add(product, cubic)));
        let sum = nodes.push(Node::new("difference", [3], Op::Sub(sum, square)));
        nodes.push(Node::new("output", [3], Op::Linear(sum, Linear::scale(vec![1.0, 2.0, size]))));
        Network::new("test", nodes).unwrap()
    }

    #[test]
    fn a_network_in_units_is_the_same_and_has_values_of_about_one() {
        for size in [1e-20, 1e-3, 1.0, 7e5, 1e12] {
            let network = network(size);
            let item = [0.3, -0.8, 0.9];
            let trace = network.trace(&item);
            let ranges = trace.map(|_, values| values.iter().fold(0.0f64, |m, x| m.max(x.abs())));
            let normalized = normalize(&network, &ranges, Pools::Merged).unwrap();
            let item = item.map(|x| x / normalized.input_unit);
            let got = normalized.network.evaluate_flat(&item);
            for (got, want) in got.iter().zip(network.evaluate_flat(&[0.3, -0.8, 0.9])) {
                let error = (got * normalized.output_unit - want).abs();
                assert!(error <= 1e-13 * want.abs(), "{got} {want} at {size}");
            }
            for (id, node) in normalized.network.iter() {
                let free =
                    !is_derived(&normalized.network, id, false, Pools::Merged) && !node.name.is_empty();
                if free && !matches!(node.op, Op::Polynomial(..)) {
                    assert!(
                        normalized.ranges[id] <= 1.0,
                        "{} at {size}: {}",
                        node.name,
                        normalized.ranges[id]
                    );
                }
            }
            assert!(normalized.ranges[normalized.network.output()] > 0.5);
        }
    }
}
