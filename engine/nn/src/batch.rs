//! Several items as one: the network that computes on them side by side.

use crate::{Coefficients, Convolution, Linear, Map, Network, Node, Op, Pool};

impl Network {
    /// The network on `copies` items at once, one after the other along the first axis, each on its own. It has a plan like any
    /// other: where an item leaves slots unused, several share the ciphertexts.
    #[must_use]
    pub fn side_by_side(&self, copies: usize) -> Self {
        let nodes = self.nodes().iter().map(|node| {
            let mut shape = node.shape.clone();
            match shape.first_mut() {
                Some(first) => *first *= copies,
                None => shape.push(copies),
            }
            let op = match &node.op {
                Op::Linear(read, linear) => Op::Linear(*read, linear_side_by_side(linear, copies)),
                Op::Polynomial(read, c) => {
                    let repeated = |c: &Vec<f64>| if c.len() == 1 { c.clone() } else { c.repeat(copies) };
                    Op::Polynomial(*read, Coefficients(c.0.iter().map(repeated).collect()))
                }
                op => op.clone(),
            };
            Node { name: node.name.clone(), shape, op }
        });
        Self::new(format!("{} x {copies}", self.name()), nodes.collect())
    }
}

fn linear_side_by_side(linear: &Linear, copies: usize) -> Linear {
    let maps = linear.maps().iter().map(|map| Linear::new(map_side_by_side(map, copies)));
    let all = maps.fold(Linear::identity(linear.inputs() * copies), Linear::then);
    all.plus(&linear.bias().repeat(copies))
}

fn map_side_by_side(map: &Map, copies: usize) -> Map {
    let inputs = map.inputs();
    match map {
        Map::Convolution(c) => Map::Convolution(Convolution {
            channels: c.channels.map(|channels| channels * copies),
            groups: c.groups * copies,
            window: c.window,
            weights: c.weights.repeat(copies),
        }),
        Map::Pool(p) => Map::Pool(Pool { channels: p.channels * copies, ..p.clone() }),
        Map::Scale(factors) => Map::Scale(factors.repeat(copies)),
        Map::Select { sources, .. } => {
            let of = |copy: usize| sources.iter().map(move |s| s.map(|s| s + (copy * inputs) as u32));
            Map::Select { inputs: inputs * copies, sources: (0..copies).flat_map(of).collect() }
        }
        Map::Dense { .. } | Map::Sparse { .. } => {
            let (mut starts, mut entries) = (vec![0], Vec::new());
            for row in 0..map.outputs() * copies {
                let (copy, row) = (row / map.outputs(), row % map.outputs());
                map.row(row, &mut |i, weight| entries.push(((copy * inputs + i) as u32, weight)));
                starts.push(entries.len() as u32);
            }
            Map::Sparse { inputs: inputs * copies, starts, entries }
        }
    }
}
