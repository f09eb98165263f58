//! A network as a graph: what an importer makes and everything else reads.

#![expect(clippy::indexing_slicing, reason = "nodes are looked up in tables of their own network")]

use crate::node_map::{NodeId, NodeMap};
use crate::shape_error::{MAX_ELEMENTS, ShapeError};
use crate::{Activation, Linear};
use serde::{Deserialize, Serialize};
use std::ops::Index;

/// A network on one item (no batch axis): nodes in an order in which each comes after those it reads.
#[derive(Clone, Debug, PartialEq)]
pub struct Network {
    name: String,
    nodes: NodeMap<Node>,
}

/// One tensor of a network and the operation that makes it.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// Name in the model file.
    pub name: String,
    /// Shape of the tensor, such as `[channel][y][x]`; flat it has the product of these elements, the last axis
    /// fastest.
    pub shape: Vec<usize>,
    /// The operation.
    pub op: Op,
}

/// An operation, element by element unless it is [`Op::Linear`].
#[derive(Clone, Debug, PartialEq)]
pub enum Op {
    /// The network's input; the first node and no other.
    Input,
    /// An affine map.
    Linear(NodeId, Linear),
    /// Sum of two tensors of one length.
    Add(NodeId, NodeId),
    /// Difference of two tensors of one length.
    Sub(NodeId, NodeId),
    /// Product of two tensors of one length.
    Mul(NodeId, NodeId),
    /// A polynomial of each element, in powers of it.
    Polynomial(NodeId, Coefficients),
    /// A polynomial of each element in the Chebyshev basis: the sum of `c_k T_k(x)`, for `x` in -1 to 1.
    Chebyshev(NodeId, Coefficients),
    /// A function of each element that ciphertexts cannot compute: [`Network::fit_activations`] replaces it.
    Activation(NodeId, Activation),
}

/// Coefficients `c_0, c_1, ...` of a polynomial, each a list with one entry for all elements or one for each.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Coefficients(pub Vec<Vec<f64>>);

/// Reason why nodes do not make a network.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NetworkError {
    /// The first node is missing, or is not the input.
    #[error("the first node of a network is its input")]
    NoInput,
    /// A node after the first is an input.
    #[error("{node:?} is a second input; a network has one")]
    SecondInput {
        /// Name of the node.
        node: String,
    },
    /// A node reads itself, a node after it, or a node of another network.
    #[error("{node:?} reads node {read}, which does not come before it")]
    Order {
        /// Name of the node.
        node: String,
        /// Position of the node that is read.
        read: usize,
    },
    /// A tensor has no elements, or too many.
    #[error("{node:?} has the shape {shape:?}; a tensor has 1 to {MAX_ELEMENTS} elements")]
    Elements {
        /// Name of the node.
        node: String,
        /// Shape of the tensor.
        shape: Vec<usize>,
    },
    /// An operand, or the result of an affine map, has another number of elements than the operation.
    #[error("{node:?} works on {expected} elements where {found} are given")]
    Length {
        /// Name of the node.
        node: String,
        /// Number of elements that the operation needs.
        expected: usize,
        /// Number of elements of the operand or of the node's shape.
        found: usize,
    },
    /// A coefficient list has neither one entry nor one for each element.
    #[error(
        "{node:?} has {found} coefficients of degree {power} for {elements} elements; it needs 1 or {elements}"
    )]
    Coefficients {
        /// Name of the node.
        node: String,
        /// Power of `x` that the list belongs to.
        power: usize,
        /// Number of coefficients.
        found: usize,
        /// Elements of the tensor.
        elements: usize,
    },
    /// A map made from one of the network's cannot be built.
    #[error("{node:?}: {source}")]
    Shape {
        /// Name of the node.
        node: String,
        /// The reason.
        source: ShapeError,
    },
}

impl Network {
    /// Checks nodes, the input first and the output last.
    ///
    /// # Errors
    /// [`NetworkError`] if the first node is not the only input, one reads a node that does not come before it, or
    /// lengths do not fit.
    pub fn new(name: impl Into<String>, nodes: NodeMap<Node>) -> Result<Self, NetworkError> {
        if !matches!(nodes.get(NodeId::INPUT), Some(Node { op: Op::Input, .. })) {
            return Err(NetworkError::NoInput);
        }
        for (id, node) in nodes.iter() {
            node.check(id, &nodes)?;
        }
        Ok(Self { name: name.into(), nodes })
    }

    /// Renames the network.
    #[must_use]
    pub fn renamed(self, name: String) -> Self {
        Self { name, ..self }
    }

    /// The network that ends in `output`, without the nodes that it does not need.
    ///
    /// # Panics
    /// If the id belongs to a longer network.
    #[must_use]
    pub fn ending_in(self, output: NodeId) -> Self {
        self.pruned(output).0
    }

    /// The network that ends in `output`, without the nodes that it does not need, and the new id of each node that
    /// it keeps.
    ///
    /// # Panics
    /// If the id belongs to a longer network.
    pub fn pruned(self, output: NodeId) -> (Self, NodeMap<Option<NodeId>>) {
        let mut needed = self.nodes.map(|id, _| id == output || id == NodeId::INPUT);
        for (id, node) in self.nodes.iter().rev().filter(|(id, _)| *id <= output) {
            if needed[id] {
                node.op.reads().into_iter().for_each(|read| needed[read] = true);
            }
        }
        let mut kept = NodeMap::default();
        let mut kept_ids: NodeMap<NodeId> = NodeMap::default();
        let mut new_ids: NodeMap<Option<NodeId>> = NodeMap::default();
        for (node, needed) in self.nodes.into_values().into_iter().zip(needed.into_values()) {
            if needed {
                let op = node.op.map_reads(|read| kept_ids[read]);
                let id = kept.push(Node { op, ..node });
                kept_ids.push(id);
                new_ids.push(Some(id));
            } else {
                // No needed node reads this place.
                kept_ids.push(NodeId::INPUT);
                new_ids.push(None);
            }
        }
        (Self { name: self.name, nodes: kept }, new_ids)
    }

    /// Name of the network.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Number of nodes, the input among them.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Always false: a network has an input.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// The nodes, in order.
    pub fn nodes(&self) -> &[Node] {
        self.nodes.values()
    }

    /// The ids and nodes, in order.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (NodeId, &Node)> + ExactSizeIterator {
        self.nodes.iter()
    }

    /// The ids of the nodes, in order.
    pub fn ids(&self) -> impl DoubleEndedIterator<Item = NodeId> + ExactSizeIterator + use<> {
        self.nodes.ids()
    }

    /// The nodes as a table.
    pub fn node_map(&self) -> &NodeMap<Node> {
        &self.nodes
    }

    /// The id of the output, which is the last node.
    #[expect(clippy::expect_used, reason = "`new` checks that there is a node")]
    pub fn output(&self) -> NodeId {
        self.nodes.last_id().expect("a network has an input")
    }

    /// Shape of an item.
    pub fn input_shape(&self) -> &[usize] {
        &self.nodes[NodeId::INPUT].shape
    }

    /// Shape of the result of an item.
    pub fn output_shape(&self) -> &[usize] {
        &self.nodes[self.output()].shape
    }

    /// The first node behind the input, and the network behind that node; `None` if a later node reads the input.
    pub fn split_first(&self) -> Option<(&Node, Self)> {
        let mut ids = self.nodes.ids().skip(1);
        let first = &self.nodes[ids.next()?];
        let mut nodes = NodeMap::default();
        let input = nodes.push(Node { op: Op::Input, ..first.clone() });
        let mut new_ids = NodeMap::from(vec![input, input]);
        for id in ids {
            let node = &self.nodes[id];
            if node.op.reads().contains(&NodeId::INPUT) {
                return None;
            }
            let op = node.op.clone().map_reads(|read| new_ids[read]);
            new_ids.push(nodes.push(Node { op, ..node.clone() }));
        }
        Some((first, Self { name: self.name.clone(), nodes }))
    }

    /// The plaintext network's result for an item, flat.
    ///
    /// # Panics
    /// If the item has another number of elements than [`Network::input_shape`].
    pub fn evaluate_flat(&self, item: &[f64]) -> Vec<f64> {
        std::mem::take(&mut self.trace(item)[self.output()])
    }

    /// The plaintext network's value of every node, flat.
    ///
    /// # Panics
    /// As for [`Network::evaluate_flat`].
    pub fn trace(&self, item: &[f64]) -> NodeMap<Vec<f64>> {
        assert_eq!(item.len(), self.nodes[NodeId::INPUT].len(), "elements of the input");
        let mut values: NodeMap<Vec<f64>> = NodeMap::default();
        for node in self.nodes() {
            let value = node.op.evaluate(item, |id| &values[id]);
            values.push(value);
        }
        values
    }
}

impl Index<NodeId> for Network {
    type Output = Node;

    /// A node.
    ///
    /// # Panics
    /// If the id belongs to a longer network.
    #[track_caller]
    fn index(&self, id: NodeId) -> &Node {
        &self.nodes[id]
    }
}

/// Number of readers of each node; the user reads the last.
pub(crate) fn readers(nodes: &NodeMap<Node>) -> NodeMap<usize> {
    let mut counts = nodes.map(|_, _| 0);
    for id in nodes.values().iter().flat_map(|node| node.op.reads()) {
        counts[id] += 1;
    }
    if let Some(last) = counts.last_mut() {
        *last += 1;
    }
    counts
}

fn zip(a: &[f64], b: &[f64], f: fn(f64, f64) -> f64) -> Vec<f64> {
    a.iter().zip(b).map(|(&a, &b)| f(a, b)).collect()
}

impl Node {
    /// A tensor of a shape, made by an operation.
    pub fn new(name: impl Into<String>, shape: impl Into<Vec<usize>>, op: Op) -> Self {
        Self { name: name.into(), shape: shape.into(), op }
    }

    /// Number of elements; `usize::MAX` if it overflows, which [`Network::new`] refuses.
    pub fn len(&self) -> usize {
        self.shape.iter().fold(1, |len: usize, &extent| len.saturating_mul(extent))
    }

    /// Whether it has no elements, which [`Network::new`] refuses.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Checks the node at position `id`.
    fn check(&self, id: NodeId, nodes: &NodeMap<Node>) -> Result<(), NetworkError> {
        let name = || self.name.clone();
        let len = self.len();
        if !(1..=MAX_ELEMENTS).contains(&len) {
            return Err(NetworkError::Elements { node: name(), shape: self.shape.clone() });
        }
        for read in self.op.reads() {
            if read >= id {
                return Err(NetworkError::Order { node: name(), read: read.index() });
            }
            let expected = if let Op::Linear(_, map) = &self.op { map.inputs() } else { len };
            let found = nodes[read].len();
            if found != expected {
                return Err(NetworkError::Length { node: name(), expected, found });
            }
        }
        match &self.op {
            Op::Input if id != NodeId::INPUT => Err(NetworkError::SecondInput { node: name() }),
            Op::Linear(_, map) if map.outputs() != len => {
                Err(NetworkError::Length { node: name(), expected: map.outputs(), found: len })
            }
            Op::Polynomial(_, Coefficients(lists)) | Op::Chebyshev(_, Coefficients(lists)) => {
                match lists.iter().map(Vec::len).enumerate().find(|&(_, found)| found != 1 && found != len) {
                    None => Ok(()),
                    Some((power, found)) => {
                        Err(NetworkError::Coefficients { node: name(), power, found, elements: len })
                    }
                }
            }
            _ => Ok(()),
        }
    }
}

impl Op {
    /// The nodes that the operation reads.
    pub fn reads(&self) -> Vec<NodeId> {
        match self {
            Self::Input => Vec::new(),
            Self::Linear(x, _) | Self::Polynomial(x, _) | Self::Chebyshev(x, _) | Self::Activation(x, _) => {
                vec![*x]
            }
            Self::Add(a, b) | Self::Sub(a, b) | Self::Mul(a, b) => vec![*a, *b],
        }
    }

    /// The operation's value for an item of the network, given the values of the nodes that it reads.
    pub(crate) fn evaluate<'v>(&self, item: &[f64], value: impl Fn(NodeId) -> &'v [f64]) -> Vec<f64> {
        match self {
            Self::Input => item.to_vec(),
            Self::Linear(x, linear) => linear.apply(value(*x)),
            Self::Add(a, b) => zip(value(*a), value(*b), |a, b| a + b),
            Self::Sub(a, b) => zip(value(*a), value(*b), |a, b| a - b),
            Self::Mul(a, b) => zip(value(*a), value(*b), |a, b| a * b),
            Self::Polynomial(x, c) => c.apply(value(*x)),
            Self::Chebyshev(x, c) => c.apply_chebyshev(value(*x)),
            Self::Activation(x, activation) => activation.apply(value(*x)),
        }
    }

    /// Replaces each node that the operation reads by `new` of it.
    #[must_use]
    pub fn map_reads(self, mut new: impl FnMut(NodeId) -> NodeId) -> Self {
        match self {
            Self::Input => Self::Input,
            Self::Linear(x, linear) => Self::Linear(new(x), linear),
            Self::Add(a, b) => Self::Add(new(a), new(b)),
            Self::Sub(a, b) => Self::Sub(new(a), new(b)),
            Self::Mul(a, b) => Self::Mul(new(a), new(b)),
            Self::Polynomial(x, coefficients) => Self::Polynomial(new(x), coefficients),
            Self::Chebyshev(x, coefficients) => Self::Chebyshev(new(x), coefficients),
            Self::Activation(x, activation) => Self::Activation(new(x), activation),
        }
    }
}

impl Coefficients {
    /// Degree of the polynomial, leading coefficients of zero included.
    pub fn degree(&self) -> usize {
        self.0.len().saturating_sub(1)
    }

    /// Coefficient `power` of element `i`; zero beyond the degree.
    ///
    /// # Panics
    /// If the coefficients of this power are neither one for all elements nor one for element `i`.
    #[expect(
        clippy::indexing_slicing,
        reason = "networks check that lists have one entry or one per element"
    )]
    pub fn at(&self, power: usize, i: usize) -> f64 {
        match self.0.get(power).map(Vec::as_slice) {
            None => 0.0,
            Some(&[shared]) => shared,
            Some(list) => list[i],
        }
    }

    /// Values of the polynomial in powers of `x`.
    fn apply(&self, x: &[f64]) -> Vec<f64> {
        x.iter()
            .enumerate()
            .map(|(i, &x)| (0..self.0.len()).rev().fold(0.0, |y, k| y * x + self.at(k, i)))
            .collect()
    }

    /// Values of the polynomial in the Chebyshev basis, by Clenshaw's recurrence.
    pub(crate) fn apply_chebyshev(&self, x: &[f64]) -> Vec<f64> {
        x.iter()
            .enumerate()
            .map(|(i, &x)| {
                let (b1, b2) = (1..self.0.len())
                    .rev()
                    .fold((0.0, 0.0), |(b1, b2), k| (self.at(k, i) + 2.0 * x * b1 - b2, b1));
                self.at(0, i) + x * b1 - b2
            })
            .collect()
    }

    /// The Chebyshev coefficients in `t` of the polynomial in powers of `x = range t`.
    ///
    /// Horner's rule in the Chebyshev basis: `t T_0 = T_1` and `t T_k = (T_(k-1) + T_(k+1)) / 2`.
    pub(crate) fn to_chebyshev(&self, range: f64) -> Self {
        let mut lists: Vec<Vec<f64>> = Vec::with_capacity(self.0.len());
        for (power, c) in self.0.iter().enumerate().rev() {
            let factor = range.powi(power as i32);
            let mut product = vec![vec![0.0]; lists.len() + 1];
            for (k, list) in lists.iter().enumerate() {
                let neighbours = if k == 0 { vec![(1, 1.0)] } else { vec![(k - 1, 0.5), (k + 1, 0.5)] };
                for (place, half) in neighbours {
                    product[place] = add_scaled(&product[place], list, half);
                }
            }
            product[0] = add_scaled(&product[0], c, factor);
            lists = product;
        }
        Self(lists)
    }
}

/// `a + factor b`, each of one entry for all elements or one for each.
pub(crate) fn add_scaled(a: &[f64], b: &[f64], factor: f64) -> Vec<f64> {
    match (a, b) {
        ([a], b) => b.iter().map(|b| a + factor * b).collect(),
        (a, [b]) => a.iter().map(|a| a + factor * b).collect(),
        (a, b) => a.iter().zip(b).map(|(a, b)| a + factor * b).collect(),
    }
}
