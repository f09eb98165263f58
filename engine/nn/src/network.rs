//! A network as a graph: what an importer makes and everything else reads.

use crate::Linear;
use crate::node_map::NodeId;
use serde::{Deserialize, Serialize};

/// A network on one item (no batch axis): nodes in an order in which each comes after what it reads.
#[derive(Clone, Debug, PartialEq)]
pub struct Network {
    name: String,
    nodes: Vec<Node>,
}

/// One tensor of a network and how it comes about.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// As in the model file.
    pub name: String,
    /// `[channel][y][x]`, or whatever else; flat it has the product of these elements.
    pub shape: Vec<usize>,
    /// How it comes about.
    pub op: Op,
}

/// What a node computes, element by element unless it is [`Op::Linear`].
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
    Product(NodeId, NodeId),
    /// A polynomial of each element.
    Polynomial(NodeId, Coefficients),
}

/// `c_0 + c_1 x + c_2 x^2 + ...`, each coefficient one for all elements or one for each.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Coefficients(pub Vec<Vec<f64>>);

impl Network {
    /// The nodes, the input first and the output last.
    ///
    /// # Panics
    /// If the first node is not the only input, one reads what comes after it, or lengths do not fit.
    pub fn new(name: String, nodes: Vec<Node>) -> Self {
        assert!(matches!(nodes.first(), Some(Node { op: Op::Input, .. })), "the first node is the input");
        for (i, node) in nodes.iter().enumerate() {
            assert!(node.op.reads().iter().all(|id| id.0 < i), "{} reads what comes after it", node.name);
            assert!(i == 0 || !matches!(node.op, Op::Input), "{} is a second input", node.name);
            let reads = node.op.reads().into_iter().filter_map(|id| nodes.get(id.0)).map(Node::len);
            let fits = match &node.op {
                Op::Input => true,
                Op::Linear(_, map) => {
                    reads.into_iter().all(|len| len == map.inputs()) && node.len() == map.outputs()
                }
                Op::Polynomial(_, c) => {
                    reads.into_iter().all(|len| len == node.len())
                        && c.0.iter().all(|c| c.len() == 1 || c.len() == node.len())
                }
                Op::Add(..) | Op::Sub(..) | Op::Product(..) => reads.into_iter().all(|len| len == node.len()),
            };
            assert!(fits, "{} does not fit what it reads", node.name);
        }
        Self { name, nodes }
    }

    /// The same network under another name.
    #[must_use]
    pub fn renamed(self, name: String) -> Self {
        Self { name, ..self }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The nodes, in order.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// The shape of an item.
    pub fn input_shape(&self) -> &[usize] {
        self.nodes.first().map_or(&[], |node| &node.shape)
    }

    /// The shape of what comes out for an item.
    pub fn output_shape(&self) -> &[usize] {
        self.nodes.last().map_or(&[], |node| &node.shape)
    }

    /// The clear twin: what the network makes of an item.
    ///
    /// # Panics
    /// If the item has another length than [`Network::input_shape`] says.
    pub fn evaluate(&self, item: &[f64]) -> Vec<f64> {
        self.trace(item).pop().unwrap_or_default()
    }

    /// The clear twin's value of every node.
    ///
    /// # Panics
    /// As for [`Network::evaluate`].
    #[expect(
        clippy::indexing_slicing,
        reason = "nodes read earlier ones, as checked when the network was made"
    )]
    pub fn trace(&self, item: &[f64]) -> Vec<Vec<f64>> {
        assert_eq!(item.len(), self.input_shape().iter().product::<usize>(), "elements of the input");
        let mut values: Vec<Vec<f64>> = Vec::with_capacity(self.nodes.len());
        for node in &self.nodes {
            let zip = |a: NodeId, b: NodeId, f: fn(f64, f64) -> f64| {
                values[a.0].iter().zip(&values[b.0]).map(|(&a, &b)| f(a, b)).collect()
            };
            values.push(match &node.op {
                Op::Input => item.to_vec(),
                Op::Linear(x, linear) => linear.apply(&values[x.0]),
                Op::Add(a, b) => zip(*a, *b, |a, b| a + b),
                Op::Sub(a, b) => zip(*a, *b, |a, b| a - b),
                Op::Product(a, b) => zip(*a, *b, |a, b| a * b),
                Op::Polynomial(x, polynomial) => polynomial.apply(&values[x.0]),
            });
        }
        values
    }
}

impl Node {
    /// How many elements it has.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Op {
    /// The nodes it reads.
    pub fn reads(&self) -> Vec<NodeId> {
        match self {
            Self::Input => Vec::new(),
            Self::Linear(x, _) | Self::Polynomial(x, _) => vec![*x],
            Self::Add(a, b) | Self::Sub(a, b) | Self::Product(a, b) => vec![*a, *b],
        }
    }
}

impl Coefficients {
    /// The highest power.
    pub fn degree(&self) -> usize {
        self.0.len().saturating_sub(1)
    }

    /// Coefficient `power` of element `i`.
    pub fn at(&self, power: usize, i: usize) -> f64 {
        let Some(c) = self.0.get(power) else { return 0.0 };
        c.get(if c.len() == 1 { 0 } else { i }).copied().unwrap_or(0.0)
    }

    fn apply(&self, x: &[f64]) -> Vec<f64> {
        let horner = |(i, &x): (usize, &f64)| (0..self.0.len()).rev().fold(0.0, |y, k| y * x + self.at(k, i));
        x.iter().enumerate().map(horner).collect()
    }
}
