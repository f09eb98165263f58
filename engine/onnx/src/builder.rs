//! The network under construction.

use crate::budget::{self, Budget};
use crate::polynomial::{Polynomial, at};
use crate::problem::Problem;
use crate::shape::Selection;
use pleura_nn::{Activation, Coefficients, Gather, Linear, Network, Node, NodeId, NodeMap, Op};
use std::cell::OnceCell;
use std::rc::Rc;

/// A tensor that depends on the input. Cloning is cheap.
#[derive(Clone, Debug)]
pub(crate) struct Tensor {
    /// Shape of an item.
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
    nodes: NodeMap<Node>,
    pub(crate) budget: Budget,
}

impl Builder {
    /// A network whose input has this name and shape.
    pub(crate) fn new(name: &str, shape: &[usize]) -> (Self, Tensor) {
        let mut out = Self { nodes: NodeMap::default(), budget: Budget::new() };
        let input = out.push(name, shape, Op::Input);
        (out, input)
    }

    /// The node that this tensor is.
    pub(crate) fn node(&mut self, x: &Tensor) -> Result<NodeId, Problem> {
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
                    Linear::scale(all(1).collect())
                };
                Op::Linear(*base, linear.plus(&all(0).collect::<Vec<_>>()))
            }
            terms => {
                self.budget.charge(terms.iter().map(|term| term.len()).sum())?;
                Op::Polynomial(*base, Coefficients(terms.iter().map(|term| term.to_vec()).collect()))
            }
        };
        self.budget.charge_activation(&x.shape)?;
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
    ) -> Result<Tensor, Problem> {
        self.budget.charge_activation(shape)?;
        self.budget.charge(2 * linear.outputs())?;
        if linear.inputs() != x.len() || linear.outputs() != budget::elements(shape)? {
            return Err(Problem::Internal("the shapes of an affine map do not fit"));
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
    ) -> Result<Tensor, Problem> {
        let Selection { shape, sources } = selection;
        let [1, item @ ..] = shape.as_slice() else {
            return Err(Problem::MixesBatch);
        };
        if sources.len() == x.len() && sources.iter().enumerate().all(|(i, s)| *s == Some(i as u32)) {
            return Ok(x.reshaped(item.to_vec()));
        }
        if sources.is_empty() {
            return Err(Problem::Empty { shape: item.to_vec() });
        }
        let bias = sources.iter().map(|s| if s.is_none() { fill } else { 0.0 });
        let bias = (fill != 0.0).then(|| bias.collect::<Vec<_>>());
        let linear = Linear::new(Gather::new(x.len(), sources)?);
        self.linear(name, x, item, if let Some(bias) = bias { linear.plus(&bias) } else { linear })
    }

    /// A node that reads two tensors of one shape.
    pub(crate) fn pair(
        &mut self,
        name: &str,
        a: &Tensor,
        b: &Tensor,
        op: fn(NodeId, NodeId) -> Op,
    ) -> Result<Tensor, Problem> {
        self.budget.charge_activation(&a.shape)?;
        self.budget.charge(a.len())?;
        let x = self.node(a)?;
        let y = self.node(b)?;
        Ok(self.push(name, &a.shape, op(x, y)))
    }

    /// An activation of each element of a tensor.
    pub(crate) fn activation(
        &mut self,
        name: &str,
        x: &Tensor,
        activation: Activation,
    ) -> Result<Tensor, Problem> {
        self.budget.charge_activation(&x.shape)?;
        self.budget.charge(x.len())?;
        let node = self.node(x)?;
        Ok(self.push(name, &x.shape, Op::Activation(node, activation)))
    }

    /// The network that ends in this tensor, without what it does not need.
    #[expect(clippy::indexing_slicing, reason = "the id is one of this builder")]
    pub(crate) fn finish(mut self, name: String, output: &Tensor) -> Result<Network, Problem> {
        let mut last = self.node(output)?;
        if last == NodeId::INPUT {
            last = self.linear("output", output, &output.shape, Linear::identity(output.len()))?.form.base;
        }
        // Reshaping at the end is a matter of the label only.
        self.nodes[last].shape.clone_from(&output.shape);
        Ok(Network::new(name, self.nodes)?.ending_in(last))
    }

    fn push(&mut self, name: &str, shape: &[usize], op: Op) -> Tensor {
        let id = self.nodes.push(Node::new(name, shape, op));
        let polynomial = Polynomial::identity();
        let made = OnceCell::from(id);
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

    /// Gives the item another shape with the same number of elements.
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
        let polynomial = Polynomial::identity();
        let made = OnceCell::from(node);
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
