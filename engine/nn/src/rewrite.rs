//! A network in the form that is cheapest on ciphertexts: quadratics as one square between affine maps, affine maps
//! merged, polynomials on what is already spread out.

use crate::{Coefficients, Linear, Map, Network, Node, NodeId, Op, Pool};

/// Which neighbouring maps become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Merging {
    /// What becomes of averages.
    pub(crate) pools: Pools,
    /// Convolutions with convolutions.
    pub(crate) convolutions: bool,
}

/// What becomes of averages over windows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pools {
    /// They become part of the layer that follows.
    Merged,
    /// They are steps of their own, which also move channels together.
    Apart,
    /// They are sums of rotations, which consume no level and leave everything in its place.
    Rotated,
}

/// In `u^2 + b u` with `u` of range one, `b` may be so large: the result takes as much more room.
const MAX_SLOPE: f64 = 64.0;

/// The same network, rewritten. `ranges` are the largest magnitudes seen at each node, `trace` values of one item.
pub(crate) fn rewrite(network: &Network, ranges: &[f64], trace: &[Vec<f64>], merging: Merging) -> Network {
    let nodes = normalise_quadratics(network, ranges, trace);
    let nodes = spread_early(nodes);
    let nodes = if merging.pools == Pools::Rotated { pool_early(nodes) } else { nodes };
    let mut nodes = merge(nodes, merging);
    // What leaves the server comes from an affine map, which can mask everything that is not the result.
    if let Some(last) = nodes.last().filter(|last| !matches!(last.op, Op::Linear(..))).cloned() {
        let id = NodeId(nodes.len() - 1);
        let identity = Linear::new(Map::Scale(vec![1.0; last.len()]));
        push(&mut nodes, "output", &last.shape, Op::Linear(id, identity));
    }
    Network::new(network.name().to_owned(), without_unused(nodes))
}

/// Whether a polynomial is `x^2 + b x + t` with one `t` for all: then it needs no product but the square.
pub(crate) fn is_monic(c: &Coefficients) -> bool {
    matches!(&c.0[..], [t, _, a] if t.len() == 1 && a[..] == [1.0])
}

/// Appends a node, and says where.
fn push(nodes: &mut Vec<Node>, name: &str, shape: &[usize], op: Op) -> NodeId {
    nodes.push(Node { name: name.to_owned(), shape: shape.to_vec(), op });
    NodeId(nodes.len() - 1)
}

/// `a x^2 + b x + c = s (u^2 + b' u - m) + c + s m` with `u = sqrt|a| x` and `s` the sign of `a`: what is left around the square
/// are affine maps, which merge with their neighbours. The constant `m` is the mean over the trace: the rounding of weights counts times the
/// values they multiply, which should therefore be small.
fn normalise_quadratics(network: &Network, ranges: &[f64], trace: &[Vec<f64>]) -> Vec<Node> {
    let mut nodes: Vec<Node> = Vec::new();
    let mut new_ids: Vec<NodeId> = Vec::new();
    let mapped = |ids: &[NodeId], id: NodeId| ids.get(id.0).copied().unwrap_or(id);
    for node in network.nodes() {
        let len = node.len();
        let per_element = |c: &Coefficients, k| (0..len).map(|i| c.at(k, i)).collect::<Vec<_>>();
        let id = match &node.op {
            Op::Polynomial(x, c) if c.degree() <= 1 => {
                let linear = Linear::new(Map::Scale(per_element(c, 1))).plus(&per_element(c, 0));
                let x = mapped(&new_ids, *x);
                push(&mut nodes, &node.name, &node.shape, Op::Linear(x, linear))
            }
            Op::Polynomial(x, c) if c.degree() == 2 => {
                let range = ranges.get(x.0).copied().unwrap_or(1.0);
                let far = |i: usize| c.at(1, i).abs() > MAX_SLOPE * range * c.at(2, i).abs();
                let values = trace.get(x.0).map(Vec::as_slice).unwrap_or_default();
                let x = mapped(&new_ids, *x);
                if (0..len).any(|i| c.at(2, i) == 0.0 || far(i)) {
                    push(&mut nodes, &node.name, &node.shape, Op::Polynomial(x, c.clone()))
                } else {
                    let shared = c.0.iter().skip(1).all(|c| c.len() == 1);
                    // In units of the range: else the square of something small has too large a scale.
                    let largest = (0..len).fold(0.0f64, |m, i| m.max(c.at(2, i).abs().sqrt()));
                    let unit = (range * largest).recip().log2().round().exp2();
                    let root: Vec<_> = (0..len).map(|i| unit * c.at(2, i).abs().sqrt()).collect();
                    let sign: Vec<_> = (0..len).map(|i| c.at(2, i).signum()).collect();
                    let slope = |i: usize| unit * c.at(1, i) * c.at(2, i).signum() / c.at(2, i).abs().sqrt();
                    let slopes: Vec<_> = (0..if shared { 1 } else { len }).map(slope).collect();
                    let centred = |(i, x): (usize, &f64)| {
                        c.at(2, i).abs() * x * x + c.at(1, i) * c.at(2, i).signum() * x
                    };
                    let mean = unit * unit * values.iter().enumerate().map(centred).sum::<f64>() / len as f64;
                    let rest: Vec<_> =
                        sign.iter().enumerate().map(|(i, s)| c.at(0, i) + s * mean / unit / unit).collect();
                    let u = push(&mut nodes, "", &node.shape, Op::Linear(x, Linear::new(Map::Scale(root))));
                    let monic = Coefficients(vec![vec![-mean], slopes, vec![1.0]]);
                    let square = push(&mut nodes, &node.name, &node.shape, Op::Polynomial(u, monic));
                    let after = sign.iter().map(|s| s / unit / unit).collect();
                    let after = Linear::new(Map::Scale(after)).plus(&rest);
                    push(&mut nodes, "", &node.shape, Op::Linear(square, after))
                }
            }
            op => {
                let op = with_reads(op.clone(), &|id| mapped(&new_ids, id));
                push(&mut nodes, &node.name, &node.shape, op)
            }
        };
        new_ids.push(id);
    }
    nodes
}

/// Repeats elements before polynomials rather than after: the map that makes the fewer elements then does it for free.
fn spread_early(mut nodes: Vec<Node>) -> Vec<Node> {
    loop {
        let readers = readers(&nodes);
        let found = nodes.iter().enumerate().find_map(|(i, node)| {
            let Op::Linear(x, linear) = &node.op else { return None };
            let [Map::Select { sources, .. }] = linear.maps() else { return None };
            let sources: Vec<u32> = sources.iter().copied().collect::<Option<_>>()?;
            let producer = nodes.get(x.0)?;
            let before = match &producer.op {
                Op::Polynomial(before, c) => (*before, Some(c.clone())),
                Op::Linear(before, map) if map.is_elementwise() => (*before, None),
                _ => return None,
            };
            let plain = linear.bias().iter().all(|b| *b == 0.0) && sources.len() > producer.len();
            (plain && readers.get(x.0) == Some(&1)).then_some((i, *x, before.0, before.1, sources))
        });
        let Some((at, producer, before, polynomial, sources)) = found else { return nodes };
        // The select takes the producer's place, and the producer the select's.
        let pick = |values: &[f64]| -> Vec<f64> {
            sources.iter().filter_map(|&s| values.get(s as usize).copied()).collect()
        };
        let (Some(select), Some(elementwise)) = (nodes.get(at).cloned(), nodes.get(producer.0).cloned())
        else {
            return nodes;
        };
        let later = match (polynomial, &elementwise.op) {
            (Some(c), _) => {
                let c = c.0.iter().map(|c| if c.len() == 1 { c.clone() } else { pick(c) }).collect();
                Op::Polynomial(producer, Coefficients(c))
            }
            (None, Op::Linear(_, map)) => {
                let scale = map.scale_factors();
                Op::Linear(producer, Linear::new(Map::Scale(pick(&scale))).plus(&pick(map.bias())))
            }
            _ => return nodes,
        };
        let earlier = match select.op {
            Op::Linear(_, linear) => Op::Linear(before, linear),
            op => op,
        };
        if let Some(node) = nodes.get_mut(producer.0) {
            *node = Node { name: select.name, shape: select.shape.clone(), op: earlier };
        }
        if let Some(node) = nodes.get_mut(at) {
            *node = Node { name: elementwise.name, shape: select.shape, op: later };
        }
    }
}

/// The average that is all of a map, if sums of rotations can make it.
pub(crate) fn tiling_pool(linear: &Linear) -> Option<&Pool> {
    match linear.maps() {
        [Map::Pool(pool)] if pool.is_tiling() && linear.bias().iter().all(|b| *b == 0.0) => Some(pool),
        _ => None,
    }
}

/// Exchanges averages with elementwise maps before them that are the same throughout each plane, which can then merge with what follows.
fn pool_early(mut nodes: Vec<Node>) -> Vec<Node> {
    for i in 0..nodes.len() {
        let readers = readers(&nodes);
        let found = nodes.get(i).and_then(|node| {
            let Op::Linear(x, linear) = &node.op else { return None };
            let (producer, pool) = (nodes.get(x.0)?, tiling_pool(linear)?);
            let Op::Linear(before, first) = &producer.op else { return None };
            let [height, width] = pool.window.input;
            let constant = |v: &[f64]| {
                v.chunks(height * width).all(|plane| plane.iter().all(|x| Some(x) == plane.first()))
            };
            let factors = first.scale_factors();
            let alone = readers.get(x.0) == Some(&1) && first.is_elementwise();
            if !alone || !constant(&factors) || !constant(first.bias()) {
                return None;
            }
            let [rows, columns] = pool.window.output;
            let pick = |v: &[f64]| -> Vec<f64> {
                let planes = v.chunks(height * width).filter_map(|plane| plane.first());
                planes.flat_map(|&x| std::iter::repeat_n(x, rows * columns)).collect()
            };
            let later = Linear::new(Map::Scale(pick(&factors))).plus(&pick(first.bias()));
            Some((*x, Op::Linear(*before, linear.clone()), Op::Linear(*x, later)))
        });
        let Some((x, earlier, later)) = found else { continue };
        let Some((name, shape)) = nodes.get(i).map(|n| (n.name.clone(), n.shape.clone())) else { continue };
        if let Some(producer) = nodes.get_mut(x.0) {
            *producer = Node { name, shape, op: earlier };
        }
        if let Some(node) = nodes.get_mut(i) {
            (node.name, node.op) = (String::new(), later);
        }
    }
    nodes
}

/// Composes affine maps that follow each other, where nothing else reads the first.
fn merge(mut nodes: Vec<Node>, merging: Merging) -> Vec<Node> {
    for i in 0..nodes.len() {
        loop {
            let readers = readers(&nodes);
            let merged = nodes.get(i).and_then(|node| {
                let Op::Linear(x, linear) = &node.op else { return None };
                let producer = nodes.get(x.0)?;
                let Op::Linear(before, first) = &producer.op else { return None };
                let alone = readers.get(x.0) == Some(&1) || first.is_elementwise();
                let wanted = alone && is_worth_merging(first, linear, merging);
                wanted.then(|| {
                    let name = join(&producer.name, &node.name);
                    (name, Op::Linear(*before, first.clone().then(linear.clone())))
                })
            });
            let Some(((name, op), node)) = merged.zip(nodes.get_mut(i)) else { break };
            (node.name, node.op) = (name, op);
        }
    }
    nodes
}

fn is_worth_merging(first: &Linear, second: &Linear, merging: Merging) -> bool {
    let has = |linear: &Linear, f: fn(&Map) -> bool| linear.maps().iter().any(f);
    let convolution = |map: &Map| matches!(map, Map::Convolution(c) if c.window.kernel != [1, 1]);
    let (pool, dense) =
        (|map: &Map| matches!(map, Map::Pool(_)), |map: &Map| matches!(map, Map::Dense { .. }));
    if merging.pools == Pools::Rotated && [first, second].into_iter().any(|l| tiling_pool(l).is_some()) {
        return false;
    }
    if has(first, pool) && has(second, convolution) {
        return merging.pools == Pools::Merged;
    }
    if first.is_elementwise() || second.is_elementwise() || has(second, dense) {
        return true;
    }
    if has(first, convolution) && (has(second, convolution) || has(second, pool)) {
        return merging.convolutions;
    }
    true
}

fn join(first: &str, second: &str) -> String {
    match (first, second) {
        ("", name) | (name, "") => name.to_owned(),
        _ => format!("{first} + {second}"),
    }
}

/// How many nodes read each; the last is read by the user.
pub(crate) fn readers(nodes: &[Node]) -> Vec<usize> {
    let mut counts = vec![0; nodes.len()];
    for id in nodes.iter().flat_map(|node| node.op.reads()) {
        if let Some(count) = counts.get_mut(id.0) {
            *count += 1;
        }
    }
    if let Some(last) = counts.last_mut() {
        *last += 1;
    }
    counts
}

fn without_unused(nodes: Vec<Node>) -> Vec<Node> {
    let mut used = vec![false; nodes.len()];
    if let Some(last) = used.last_mut() {
        *last = true;
    }
    if let Some(first) = used.first_mut() {
        *first = true;
    }
    for (i, node) in nodes.iter().enumerate().rev() {
        if used.get(i) == Some(&true) {
            for id in node.op.reads() {
                if let Some(used) = used.get_mut(id.0) {
                    *used = true;
                }
            }
        }
    }
    let mut new_ids = Vec::with_capacity(nodes.len());
    let mut kept = Vec::new();
    for (node, used) in nodes.into_iter().zip(used) {
        new_ids.push(NodeId(kept.len()));
        if used {
            let op = with_reads(node.op, &|id| new_ids.get(id.0).copied().unwrap_or(id));
            kept.push(Node { op, ..node });
        }
    }
    kept
}

fn with_reads(op: Op, new: &dyn Fn(NodeId) -> NodeId) -> Op {
    match op {
        Op::Input => Op::Input,
        Op::Linear(x, linear) => Op::Linear(new(x), linear),
        Op::Polynomial(x, c) => Op::Polynomial(new(x), c),
        Op::Add(a, b) => Op::Add(new(a), new(b)),
        Op::Sub(a, b) => Op::Sub(new(a), new(b)),
        Op::Product(a, b) => Op::Product(new(a), new(b)),
    }
}
