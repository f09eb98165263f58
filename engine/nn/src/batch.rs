//! Several items as one: the network that computes on them side by side.

use crate::shape_error::MAX_ELEMENTS;
use crate::{Coefficients, Linear, LinearMap, Network, NetworkError, Node, Op, ShapeError, Sparse};

impl Network {
    /// The network on `copies` items at once, one after the other along the first axis, each on its own. It has a
    /// plan like any other: where an item leaves slots unused, several share the ciphertexts.
    ///
    /// # Errors
    /// [`NetworkError::Shape`] or [`NetworkError::Elements`] if there are no copies or a tensor gets too large.
    pub fn side_by_side(&self, copies: usize) -> Result<Self, NetworkError> {
        let nodes = self.nodes().iter().map(|node| side_by_side(node, copies));
        Self::new(format!("{} x {copies}", self.name()), nodes.collect::<Result<_, _>>()?)
    }
}

fn side_by_side(node: &Node, copies: usize) -> Result<Node, NetworkError> {
    let mut shape = node.shape.clone();
    match shape.first_mut() {
        Some(first) => *first = first.saturating_mul(copies),
        None => shape.push(copies),
    }
    if node.len().checked_mul(copies).is_none_or(|len| !(1..=MAX_ELEMENTS).contains(&len)) {
        return Err(NetworkError::Elements { node: node.name.clone(), shape });
    }
    let op = match &node.op {
        Op::Linear(read, linear) => {
            let linear = linear_side_by_side(linear, copies);
            Op::Linear(
                *read,
                linear.map_err(|source| NetworkError::Shape { node: node.name.clone(), source })?,
            )
        }
        Op::Polynomial(read, c) => Op::Polynomial(*read, repeated(c, copies)),
        Op::Chebyshev(read, c) => Op::Chebyshev(*read, repeated(c, copies)),
        op => op.clone(),
    };
    Ok(Node { name: node.name.clone(), shape, op })
}

fn repeated(c: &Coefficients, copies: usize) -> Coefficients {
    let lists = c.0.iter().map(|c| if c.len() == 1 { c.clone() } else { c.repeat(copies) });
    Coefficients(lists.collect())
}

fn linear_side_by_side(linear: &Linear, copies: usize) -> Result<Linear, ShapeError> {
    let mut all = Linear::identity(linear.inputs() * copies);
    for map in linear.maps() {
        all = all.then(Linear::new(map_side_by_side(map, copies)?));
    }
    Ok(all.plus(&linear.bias().repeat(copies)))
}

fn map_side_by_side(map: &LinearMap, copies: usize) -> Result<LinearMap, ShapeError> {
    let inputs = map.inputs();
    Ok(match map {
        LinearMap::Convolution(convolution) => convolution.repeated(copies)?.into(),
        LinearMap::Pool(pool) => pool.repeated(copies)?.into(),
        LinearMap::DiagonalScale(factors) => LinearMap::DiagonalScale(factors.repeat(copies)),
        LinearMap::Gather(gather) => gather.repeated(copies)?.into(),
        LinearMap::Dense(_) | LinearMap::Sparse(_) => {
            let mut starts = vec![0];
            let mut entries = Vec::new();
            for copy in 0..copies {
                for row in 0..map.outputs() {
                    map.row(row, &mut |i, weight| entries.push(((copy * inputs + i) as u32, weight)));
                    starts.push(entries.len() as u32);
                }
            }
            Sparse::new(inputs * copies, starts, entries)?.into()
        }
    })
}
