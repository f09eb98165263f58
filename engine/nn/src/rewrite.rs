//! A network in the form that is cheapest on ciphertexts: quadratics as one square between affine maps, affine maps
//! merged, polynomials on what is already spread out.

#![expect(clippy::indexing_slicing, reason = "nodes are looked up in tables of their own network")]

use crate::network::readers;
use crate::{Coefficients, Linear, LinearMap, Network, NetworkError, Node, NodeId, NodeMap, Op, Pool};

/// Which neighbouring maps become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Merging {
    /// Treatment of averages over windows.
    pub(crate) pools: Pools,
    /// Convolutions with convolutions.
    pub(crate) convolutions: bool,
}

/// Treatment of averages over windows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pools {
    /// They become part of the layer that follows.
    Merged,
    /// They are steps of their own, which also move channels together.
    Apart,
    /// They are sums of rotations, which consume no level and leave everything in its place.
    Rotated,
}

/// Leading Chebyshev coefficients that are together smaller than this part of the largest one are left out.
const NEGLIGIBLE: f64 = 1e-11;
/// Values of a square that differ by less than this part of their mean keep it.
const LEAST_SPREAD: f64 = 1e-3;
/// In `u^2 + b u` with `u` of range one, `b` may be so large: the result takes as much more room.
const MAX_SLOPE: f64 = 64.0;

/// Rewrites a network without changing its results. `ranges` are the largest magnitudes seen at each node, `trace`
/// values of one item.
///
/// # Errors
/// [`NetworkError`] if rewriting breaks the network, which is a bug.
pub(crate) fn rewrite(
    network: &Network,
    ranges: &NodeMap<f64>,
    trace: &NodeMap<Vec<f64>>,
    merging: Merging,
) -> Result<Network, NetworkError> {
    let mut nodes = normalize_polynomials(network, ranges, trace);
    spread_early(&mut nodes);
    if merging.pools == Pools::Rotated {
        pool_early(&mut nodes);
    }
    merge(&mut nodes, merging);
    // What leaves the server comes from an affine map, which can mask everything that is not the result.
    if let Some(id) = nodes.last_id().filter(|&id| !matches!(nodes[id].op, Op::Linear(..))) {
        let shape = nodes[id].shape.clone();
        let len = nodes[id].len();
        nodes.push(Node::new("output", shape, Op::Linear(id, Linear::scale(vec![1.0; len]))));
    }
    let rewritten = Network::new(network.name(), nodes)?;
    let output = rewritten.output();
    Ok(rewritten.ending_in(output))
}

/// Whether a polynomial is `x^2 + b x + t` with one `t` for all: then it needs no product but the square.
pub(crate) fn is_monic(c: &Coefficients) -> bool {
    matches!(&c.0[..], [t, _, a] if t.len() == 1 && a[..] == [1.0])
}

/// Every polynomial in the form that ciphertexts compute: of degree 1 an affine map, quadratics a square between
/// affine maps, others in the Chebyshev basis on the range of their operand, behind a map to -1 to 1 that nothing
/// else reads.
fn normalize_polynomials(
    network: &Network,
    ranges: &NodeMap<f64>,
    trace: &NodeMap<Vec<f64>>,
) -> NodeMap<Node> {
    let mut nodes = NodeMap::default();
    let mut new_ids: NodeMap<NodeId> = NodeMap::default();
    for node in network.nodes() {
        let Node { name, shape, op } = node;
        let id = match op {
            Op::Polynomial(x, c) if c.degree() <= 1 => {
                let linear =
                    Linear::scale(per_element(c, 1, node.len())).plus(&per_element(c, 0, node.len()));
                nodes.push(Node::new(name, shape.as_slice(), Op::Linear(new_ids[*x], linear)))
            }
            Op::Polynomial(x, c) if is_square(c, node.len(), ranges[*x]) => {
                let square = Square::new(c, node.len(), ranges[*x], &trace[*x]);
                let u = nodes.push(Node::new("", shape.as_slice(), Op::Linear(new_ids[*x], square.before)));
                let square_id =
                    nodes.push(Node::new(name, shape.as_slice(), Op::Polynomial(u, square.monic)));
                nodes.push(Node::new("", shape.as_slice(), Op::Linear(square_id, square.after)))
            }
            Op::Polynomial(x, c) => {
                let domain = Linear::scale(vec![ranges[*x].recip(); node.len()]);
                push_chebyshev(&mut nodes, node, new_ids[*x], domain, c.to_chebyshev(ranges[*x]))
            }
            Op::Chebyshev(x, c) => {
                push_chebyshev(&mut nodes, node, new_ids[*x], Linear::identity(node.len()), c.clone())
            }
            op => nodes.push(Node { op: op.clone().map_reads(|id| new_ids[id]), ..node.clone() }),
        };
        new_ids.push(id);
    }
    nodes
}

/// Adds a polynomial in the Chebyshev basis of `domain` of `x`, without the leading coefficients that do not count.
fn push_chebyshev(
    nodes: &mut NodeMap<Node>,
    node: &Node,
    x: NodeId,
    domain: Linear,
    mut c: Coefficients,
) -> NodeId {
    let size = |list: &Vec<f64>| list.iter().fold(0.0f64, |most, c| most.max(c.abs()));
    let mut left = NEGLIGIBLE * c.0.iter().map(size).fold(0.0, f64::max);
    while let Some(last) = c.0.pop_if(|last| size(last) <= left) {
        left -= size(&last);
    }
    let Node { name, shape, .. } = node;
    if c.degree() <= 1 {
        let affine = Linear::scale(per_element(&c, 1, node.len())).plus(&per_element(&c, 0, node.len()));
        return nodes.push(Node::new(name, shape.as_slice(), Op::Linear(x, domain.then(affine))));
    }
    let domain = nodes.push(Node::new("", shape.as_slice(), Op::Linear(x, domain)));
    nodes.push(Node::new(name, shape.as_slice(), Op::Chebyshev(domain, c)))
}

/// Coefficient `power` of each of `len` elements.
fn per_element(c: &Coefficients, power: usize, len: usize) -> Vec<f64> {
    (0..len).map(|i| c.at(power, i)).collect()
}

/// Whether a polynomial is quadratic in every element, and its slope small compared with the square at this range.
fn is_square(c: &Coefficients, len: usize, range: f64) -> bool {
    let small = |i: usize| c.at(1, i).abs() <= MAX_SLOPE * range * c.at(2, i).abs();
    c.degree() == 2 && (0..len).all(|i| c.at(2, i) != 0.0 && small(i))
}

/// A quadratic as a square between affine maps: `a x^2 + b x + c = s (u^2 + b' u - m) + c + s m` with `u = sqrt|a| x`
/// and `s` the sign of `a`. The maps merge with their neighbours. The constant `m` is the mean over the trace: the
/// rounding of weights counts times the values they multiply, which should therefore be small.
struct Square {
    /// `u = sqrt|a| x`, in units of the range.
    before: Linear,
    /// `u^2 + b' u - m`
    monic: Coefficients,
    /// Affine map that applies the sign, the unit and the constants.
    after: Linear,
}

impl Square {
    fn new(c: &Coefficients, len: usize, range: f64, values: &[f64]) -> Self {
        let shared = c.0.iter().skip(1).all(|c| c.len() == 1);
        let sign: Vec<f64> = (0..len).map(|i| c.at(2, i).signum()).collect();
        let root: Vec<f64> = (0..len).map(|i| c.at(2, i).abs().sqrt()).collect();
        // In units of the range: else the square of something small has too large a scale.
        let largest = root.iter().fold(0.0f64, |most, root| most.max(*root));
        let unit = (range * largest).recip().log2().round().exp2();
        let slopes =
            sign.iter().zip(&root).enumerate().map(|(i, (sign, root))| unit * c.at(1, i) * sign / root);
        let slopes = slopes.take(if shared { 1 } else { len }).collect();
        let centered: Vec<f64> = values
            .iter()
            .enumerate()
            .map(|(i, x)| c.at(2, i).abs() * x * x + c.at(1, i) * c.at(2, i).signum() * x)
            .collect();
        let mean = centered.iter().sum::<f64>() / len as f64;
        let spread = centered.iter().map(|y| (y - mean).abs()).fold(0.0, f64::max);
        // What is left of values that are all alike would be rounding errors.
        let mean = if spread < LEAST_SPREAD * mean.abs() { 0.0 } else { unit * unit * mean };
        let rest: Vec<f64> =
            sign.iter().enumerate().map(|(i, s)| c.at(0, i) + s * mean / unit / unit).collect();
        Self {
            before: Linear::scale(root.iter().map(|root| unit * root).collect()),
            monic: Coefficients(vec![vec![-mean], slopes, vec![1.0]]),
            after: Linear::scale(sign.iter().map(|s| s / unit / unit).collect()).plus(&rest),
        }
    }
}

/// Repeats elements before elementwise operations rather than after: the map that makes the fewer elements then does
/// it for free.
fn spread_early(nodes: &mut NodeMap<Node>) {
    while let Some(exchange) = find_spread(nodes) {
        exchange.apply(nodes);
    }
}

/// Two nodes of which the second alone reads the first, and what they are once exchanged.
struct Exchange {
    earlier: (NodeId, Node),
    later: (NodeId, Node),
}

impl Exchange {
    fn apply(self, nodes: &mut NodeMap<Node>) {
        nodes[self.earlier.0] = self.earlier.1;
        nodes[self.later.0] = self.later.1;
    }
}

/// The first gather that makes more elements than the elementwise operation before it.
fn find_spread(nodes: &NodeMap<Node>) -> Option<Exchange> {
    let readers = readers(nodes);
    nodes.iter().find_map(|(id, node)| {
        let Op::Linear(x, linear) = &node.op else { return None };
        let [LinearMap::Gather(gather)] = linear.maps() else { return None };
        let sources: Vec<u32> = gather.sources().iter().copied().collect::<Option<_>>()?;
        let producer = &nodes[*x];
        let plain = linear.bias().iter().all(|b| *b == 0.0) && sources.len() > producer.len();
        if !plain || readers[*x] != 1 {
            return None;
        }
        // The gather takes the producer's place, and the producer the gather's.
        let (before, later) = match &producer.op {
            Op::Polynomial(before, c) => (*before, Op::Polynomial(*x, pick_coefficients(c, &sources))),
            Op::Chebyshev(before, c) => (*before, Op::Chebyshev(*x, pick_coefficients(c, &sources))),
            Op::Linear(before, map) if map.is_elementwise() => {
                let scale = Linear::scale(pick(&map.scale_factors(), &sources));
                (*before, Op::Linear(*x, scale.plus(&pick(map.bias(), &sources))))
            }
            _ => return None,
        };
        let earlier = Node { op: Op::Linear(before, linear.clone()), ..node.clone() };
        let later = Node::new(&producer.name, node.shape.as_slice(), later);
        Some(Exchange { earlier: (*x, earlier), later: (id, later) })
    })
}

fn pick(values: &[f64], sources: &[u32]) -> Vec<f64> {
    sources.iter().map(|&source| values[source as usize]).collect()
}

fn pick_coefficients(c: &Coefficients, sources: &[u32]) -> Coefficients {
    let lists = c.0.iter().map(|c| if c.len() == 1 { c.clone() } else { pick(c, sources) });
    Coefficients(lists.collect())
}

/// The average that is all of a map, if sums of rotations can make it.
pub(crate) fn tiling_pool(linear: &Linear) -> Option<&Pool> {
    match linear.maps() {
        [LinearMap::Pool(pool)] if pool.is_tiling() && linear.bias().iter().all(|b| *b == 0.0) => Some(pool),
        _ => None,
    }
}

/// Exchanges averages with elementwise maps before them that are the same throughout each plane, which can then merge
/// with what follows.
fn pool_early(nodes: &mut NodeMap<Node>) {
    for id in nodes.ids() {
        if let Some(exchange) = find_pool(nodes, id) {
            exchange.apply(nodes);
        }
    }
}

/// The exchange of an average with the elementwise map that it reads, if it is one and they can be exchanged.
fn find_pool(nodes: &NodeMap<Node>, id: NodeId) -> Option<Exchange> {
    let node = &nodes[id];
    let Op::Linear(x, linear) = &node.op else { return None };
    let producer = &nodes[*x];
    let pool = tiling_pool(linear)?;
    let Op::Linear(before, first) = &producer.op else { return None };
    if readers(nodes)[*x] != 1 || !first.is_elementwise() {
        return None;
    }
    let plane = pool.window().input_area();
    let results = pool.window().output_area();
    let factors = per_plane(&first.scale_factors(), plane, results)?;
    let later = Linear::scale(factors).plus(&per_plane(first.bias(), plane, results)?);
    let earlier = Node { op: Op::Linear(*before, linear.clone()), ..node.clone() };
    let later = Node::new("", node.shape.as_slice(), Op::Linear(*x, later));
    Some(Exchange { earlier: (*x, earlier), later: (id, later) })
}

/// The value of each plane, `results` times; `None` if values differ within a plane.
fn per_plane(values: &[f64], plane: usize, results: usize) -> Option<Vec<f64>> {
    let mut out = Vec::with_capacity(values.len() / plane * results);
    for plane in values.chunks(plane) {
        let first = *plane.first()?;
        if plane.iter().any(|value| *value != first) {
            return None;
        }
        out.extend(std::iter::repeat_n(first, results));
    }
    Some(out)
}

/// Composes affine maps that follow each other, where nothing else reads the first.
fn merge(nodes: &mut NodeMap<Node>, merging: Merging) {
    for id in nodes.ids() {
        while let Some(merged) = merged(nodes, id, merging) {
            nodes[id] = merged;
        }
    }
}

/// A node composed with the one that it reads, if they are affine maps and worth merging.
fn merged(nodes: &NodeMap<Node>, id: NodeId, merging: Merging) -> Option<Node> {
    let node = &nodes[id];
    let Op::Linear(x, linear) = &node.op else { return None };
    let producer = &nodes[*x];
    let Op::Linear(before, first) = &producer.op else { return None };
    let alone = readers(nodes)[*x] == 1 || first.is_elementwise();
    if !alone || !is_worth_merging(first, linear, merging) {
        return None;
    }
    let op = Op::Linear(*before, first.clone().then(linear.clone()));
    Some(Node { name: join(&producer.name, &node.name), shape: node.shape.clone(), op })
}

fn is_worth_merging(first: &Linear, second: &Linear, merging: Merging) -> bool {
    if merging.pools == Pools::Rotated && (tiling_pool(first).is_some() || tiling_pool(second).is_some()) {
        return false;
    }
    if has(first, is_pool) && has(second, is_wide_convolution) {
        return merging.pools == Pools::Merged;
    }
    if first.is_elementwise() || second.is_elementwise() || has(second, is_dense) {
        return true;
    }
    if has(first, is_wide_convolution) && (has(second, is_wide_convolution) || has(second, is_pool)) {
        return merging.convolutions;
    }
    true
}

fn has(linear: &Linear, property: fn(&LinearMap) -> bool) -> bool {
    linear.maps().iter().any(property)
}

fn is_pool(map: &LinearMap) -> bool {
    matches!(map, LinearMap::Pool(_))
}

fn is_dense(map: &LinearMap) -> bool {
    matches!(map, LinearMap::Dense(_))
}

/// A convolution of more than one tap.
fn is_wide_convolution(map: &LinearMap) -> bool {
    matches!(map, LinearMap::Convolution(c) if c.window().kernel() != [1, 1])
}

fn join(first: &str, second: &str) -> String {
    match (first, second) {
        ("", name) | (name, "") => name.to_owned(),
        _ => format!("{first} + {second}"),
    }
}
