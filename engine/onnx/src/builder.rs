//! The network under construction.

use crate::budget::{self, Budget};
use crate::polynomial::{Polynomial, at};
use crate::shape::Selection;
use pleura_nn::{Coefficients, Linear, Map, Network, Node, NodeId, Op};
use std::cell::OnceCell;
use std::rc::Rc;

/// A tensor that depends on the input. Cloning is cheap.
#[derive(Clone, Debug)]
pub(crate) struct Tensor {
    /// Of an item.
    pub(crate) shape: Vec<usize>,
    form: Rc<Form>,
}

/// A polynomial of a node, and the node it becomes when something other than a polynomial reads it.
#[derive(Debug)]
struct Form {
    base: NodeId,
    polynomial: Polynomial,
    name: String,
    made: OnceCell<NodeId>,
}

/// Nodes so far.
#[derive(Debug)]
pub(crate) struct Builder {
    nodes: Vec<Node>,
    pub(crate) budget: Budget,
}

impl Builder {
    /// A network whose input has this name and shape.
    pub(crate) fn new(name: &str, shape: &[usize]) -> (Self, Tensor) {
        let mut out = Self { nodes: Vec::new(), budget: Budget::new() };
        let input = out.push(name, shape, Op::Input);
        (out, input)
    }

    /// The node that this tensor is.
    pub(crate) fn node(&mut self, x: &Tensor) -> Result<NodeId, String> {
        if let Some(&id) = x.form.made.get() {
            return Ok(id);
        }
        let Form { base, polynomial, name, .. } = &*x.form;
        let len = x.len();
        let op = match polynomial.terms() {
            terms @ ([_] | [_, _]) => {
                self.budget.charge(2 * len)?;
                let all = |k: usize| (0..len).map(move |i| terms.get(k).map_or(0.0, |term| at(term, i)));
                let linear = if all(1).all(|factor| factor == 1.0) {
                    Linear::identity(len)
                } else {
                    Linear::new(Map::Scale(all(1).collect()))
                };
                Op::Linear(*base, linear.plus(&all(0).collect::<Vec<_>>()))
            }
            terms => {
                self.budget.charge(terms.iter().map(|term| term.len()).sum())?;
                Op::Polynomial(*base, Coefficients(terms.iter().map(|term| term.to_vec()).collect()))
            }
        };
        let made = self.push(name, &x.shape, op);
        let id = made.form.base;
        Ok(*x.form.made.get_or_init(|| id))
    }

    /// An affine map of a tensor.
    pub(crate) fn linear(
        &mut self,
        name: &str,
        x: &Tensor,
        shape: &[usize],
        linear: Linear,
    ) -> Result<Tensor, String> {
        self.budget.charge(2 * linear.outputs())?;
        if linear.inputs() != x.len() || linear.outputs() != budget::elements(shape)? {
            return Err("its shapes do not fit; this is an error of the importer, please report it".into());
        }
        let x = self.node(x)?;
        Ok(self.push(name, shape, Op::Linear(x, linear)))
    }

    /// Picks elements of a tensor by flat position, others are `fill`; `selection` counts the batch axis.
    pub(crate) fn select(
        &mut self,
        name: &str,
        x: &Tensor,
        selection: Selection,
        fill: f64,
    ) -> Result<Tensor, String> {
        let Selection { shape, sources } = selection;
        let [1, item @ ..] = shape.as_slice() else {
            return Err("it changes the batch axis, which must stay first".into());
        };
        if sources.len() == x.len() && sources.iter().enumerate().all(|(i, s)| *s == Some(i as u32)) {
            return Ok(x.reshaped(item.to_vec()));
        }
        if sources.is_empty() {
            return Err(format!("it makes an empty tensor of shape {item:?}"));
        }
        let bias = sources.iter().map(|s| if s.is_none() { fill } else { 0.0 });
        let bias = (fill != 0.0).then(|| bias.collect::<Vec<_>>());
        let linear = Linear::new(Map::Select { inputs: x.len(), sources });
        self.linear(name, x, item, if let Some(bias) = bias { linear.plus(&bias) } else { linear })
    }

    /// A node that reads two tensors of one shape.
    pub(crate) fn pair(
        &mut self,
        name: &str,
        a: &Tensor,
        b: &Tensor,
        op: fn(NodeId, NodeId) -> Op,
    ) -> Result<Tensor, String> {
        self.budget.charge(a.len())?;
        let (x, y) = (self.node(a)?, self.node(b)?);
        Ok(self.push(name, &a.shape, op(x, y)))
    }

    /// The network that ends in this tensor, without what it does not need.
    pub(crate) fn finish(mut self, name: String, output: &Tensor) -> Result<Network, String> {
        let mut last = self.node(output)?;
        if last.0 == 0 {
            last = self.linear("output", output, &output.shape, Linear::identity(output.len()))?.form.base;
        }
        let mut needed = vec![false; self.nodes.len()];
        let mut open = vec![last, NodeId(0)];
        while let Some(id) = open.pop() {
            if let (Some(seen @ false), Some(node)) = (needed.get_mut(id.0), self.nodes.get(id.0)) {
                *seen = true;
                open.extend(node.op.reads());
            }
        }
        let mut places = Vec::with_capacity(needed.len());
        let mut count = 0;
        for &needed in &needed {
            places.push(NodeId(count));
            count += usize::from(needed);
        }
        let place = |id: NodeId| places.get(id.0).copied().unwrap_or(id);
        let kept = self.nodes.into_iter().zip(needed).filter(|(_, needed)| *needed).map(|(node, _)| node);
        let mut nodes: Vec<Node> = kept
            .map(|node| Node {
                op: match node.op {
                    Op::Input => Op::Input,
                    Op::Linear(x, linear) => Op::Linear(place(x), linear),
                    Op::Add(a, b) => Op::Add(place(a), place(b)),
                    Op::Sub(a, b) => Op::Sub(place(a), place(b)),
                    Op::Product(a, b) => Op::Product(place(a), place(b)),
                    Op::Polynomial(x, coefficients) => Op::Polynomial(place(x), coefficients),
                },
                ..node
            })
            .collect();
        // Reshaping at the end is a matter of the label only.
        if let Some(node) = nodes.last_mut() {
            node.shape.clone_from(&output.shape);
        }
        Ok(Network::new(name, nodes))
    }

    fn push(&mut self, name: &str, shape: &[usize], op: Op) -> Tensor {
        let id = NodeId(self.nodes.len());
        self.nodes.push(Node { name: name.into(), shape: shape.to_vec(), op });
        let (polynomial, made) = (Polynomial::identity(), OnceCell::from(id));
        Tensor {
            shape: shape.to_vec(),
            form: Rc::new(Form { base: id, polynomial, name: name.into(), made }),
        }
    }
}

impl Tensor {
    /// Elements of an item.
    pub(crate) fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// The shape with the batch axis, as if it had one item.
    pub(crate) fn full_shape(&self) -> Vec<usize> {
        [&[1], self.shape.as_slice()].concat()
    }

    /// The same elements by another shape of an item.
    pub(crate) fn reshaped(&self, shape: Vec<usize>) -> Self {
        Self { shape, form: Rc::clone(&self.form) }
    }

    /// The node that it is a polynomial of.
    pub(crate) fn base(&self) -> NodeId {
        self.form.base
    }

    /// The node that it is, if it became one.
    pub(crate) fn made(&self) -> Option<NodeId> {
        self.form.made.get().copied()
    }

    pub(crate) fn polynomial(&self) -> &Polynomial {
        &self.form.polynomial
    }

    /// The tensor as a node of its own.
    pub(crate) fn over(&self, node: NodeId) -> Self {
        let (polynomial, made) = (Polynomial::identity(), OnceCell::from(node));
        let form = Form { base: node, polynomial, name: self.form.name.clone(), made };
        Self { shape: self.shape.clone(), form: Rc::new(form) }
    }

    /// Another polynomial of the same node.
    pub(crate) fn with(&self, name: &str, polynomial: Polynomial) -> Self {
        let made = if polynomial.is_identity() { OnceCell::from(self.form.base) } else { OnceCell::new() };
        let form = Form { base: self.form.base, polynomial, name: name.into(), made };
        Self { shape: self.shape.clone(), form: Rc::new(form) }
    }
}
