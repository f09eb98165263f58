//! Networks whose activations are replaced by polynomials on the values that reach them.

#![expect(clippy::indexing_slicing, reason = "nodes are looked up in tables of their own network")]

use crate::calibration;
use crate::{Activation, Coefficients, CompileError, Function, Linear, Network, Node, NodeId, NodeMap, Op};
use ndarray::ArrayD;

/// Factor by which the interval of a fit exceeds the calibrated one, about its center.
const MARGIN: f64 = 1.25;

/// Polynomials that replace activations.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FitOptions {
    /// Degree of each polynomial.
    pub degree: usize,
    /// Interval that bounds every fit; values outside are not expected.
    pub interval: Option<(f64, f64)>,
}

/// A polynomial that replaced an activation.
#[derive(Clone, Debug, PartialEq)]
pub struct FittedActivation {
    /// Name of the activation's node.
    pub name: String,
    /// The function.
    pub function: Function,
    /// Degree of the polynomial.
    pub degree: usize,
    /// Node of the fitted network whose values the polynomial is applied to.
    pub operand: NodeId,
    /// Lower end of the interval of the fit.
    pub from: f64,
    /// Upper end of the interval of the fit.
    pub to: f64,
    /// Greatest difference from the activation on the interval.
    pub max_error: f64,
    /// Mean magnitude of the difference on the interval.
    pub mean_error: f64,
}

impl Network {
    /// The activations, each with its node.
    pub fn activations(&self) -> impl Iterator<Item = (NodeId, &Activation)> {
        self.iter().filter_map(|(id, node)| match &node.op {
            Op::Activation(_, activation) => Some((id, activation)),
            _ => None,
        })
    }

    /// The network with a polynomial in place of each [`Op::Activation`]. Each polynomial is the best one on the
    /// values that reach the activation from the calibration items, `[items, ..input shape]`, with a margin of a
    /// quarter, and within [`FitOptions::interval`]. Without items it is the best one on that interval, or else on
    /// standard normal items.
    ///
    /// # Errors
    /// [`CompileError::Fit`] if there is no such polynomial; [`CompileError::CalibrationShape`],
    /// [`CompileError::CalibrationValue`], [`CompileError::Diverges`] if the items cannot be used.
    ///
    /// ```
    /// use pleura_nn::{Activation, FitOptions, Function, Network, Node, NodeMap, Op};
    /// let mut nodes = NodeMap::default();
    /// let x = nodes.push(Node::new("x", [4], Op::Input));
    /// nodes.push(Node::new("gate", [4], Op::Activation(x, Activation::plain(Function::Sigmoid))));
    /// let network = Network::new("gate", nodes)?;
    /// let options = FitOptions { degree: 5, interval: Some((-3.0, 3.0)) };
    /// let (fitted, activations) = network.fit_activations(&options, None)?;
    /// assert_eq!(fitted.activations().count(), 0);
    /// assert!(activations[0].max_error < 0.01);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn fit_activations(
        &self,
        options: &FitOptions,
        calibration: Option<&ArrayD<f64>>,
    ) -> Result<(Self, Vec<FittedActivation>), CompileError> {
        let items = match (calibration, options.interval) {
            (None, Some(_)) => Vec::new(),
            _ => calibration::items(self, calibration)?,
        };
        let mut pass = FitPass { options, nodes: NodeMap::default(), values: NodeMap::default() };
        let mut new_ids: NodeMap<NodeId> = NodeMap::default();
        let mut fitted = Vec::new();
        for node in self.nodes() {
            let id = match &node.op {
                Op::Input => pass.push(node.clone(), items.clone()),
                Op::Activation(x, activation) => {
                    let (id, of) = pass.replace(node, new_ids[*x], activation)?;
                    fitted.push(of);
                    id
                }
                op => pass.compute(Node { op: op.clone().map_reads(|id| new_ids[id]), ..node.clone() }),
            };
            new_ids.push(id);
        }
        let network = Self::new(self.name(), pass.nodes);
        Ok((network.map_err(|_| CompileError::Internal("a fit breaks the network"))?, fitted))
    }
}

/// A network under construction, with the values of every calibration item at every node.
struct FitPass<'a> {
    options: &'a FitOptions,
    nodes: NodeMap<Node>,
    values: NodeMap<Vec<Vec<f64>>>,
}

impl FitPass<'_> {
    fn push(&mut self, node: Node, values: Vec<Vec<f64>>) -> NodeId {
        self.values.push(values);
        self.nodes.push(node)
    }

    /// Adds a node with its values.
    fn compute(&mut self, node: Node) -> NodeId {
        let items = self.values[NodeId::INPUT].len();
        let values = (0..items)
            .map(|i| node.op.evaluate(&self.values[NodeId::INPUT][i], |id| &self.values[id][i]))
            .collect();
        self.push(node, values)
    }

    /// Adds the polynomial of an activation that reads `x`.
    fn replace(
        &mut self,
        node: &Node,
        x: NodeId,
        activation: &Activation,
    ) -> Result<(NodeId, FittedActivation), CompileError> {
        let name = &node.name;
        let degree = self.options.degree;
        let (from, to) = self.interval(name, x)?;
        let fitted = activation.fit(degree, from, to);
        let fitted = fitted.map_err(|source| CompileError::Fit { node: name.clone(), source })?;
        let record = FittedActivation {
            name: name.clone(),
            function: activation.function,
            degree,
            operand: x,
            from,
            to,
            max_error: fitted.max_error,
            mean_error: fitted.mean_error,
        };
        // Quadratics are single squares.
        if degree <= 2
            && let Some(powers) = fitted.powers()
        {
            let coefficients = Coefficients(powers.into_iter().map(|c| vec![c]).collect());
            return Ok((self.compute(Node { op: Op::Polynomial(x, coefficients), ..node.clone() }), record));
        }
        let half_width = (to - from) / 2.0;
        let offset = -(from + to) / (to - from);
        let domain = Linear::scale(vec![half_width.recip(); node.len()]).plus(&vec![offset; node.len()]);
        let domain = self.compute(Node::new("", node.shape.as_slice(), Op::Linear(x, domain)));
        let coefficients = Coefficients(fitted.chebyshev.into_iter().map(|c| vec![c]).collect());
        Ok((self.compute(Node { op: Op::Chebyshev(domain, coefficients), ..node.clone() }), record))
    }

    /// The interval of a fit: the values of the operand with a margin, within the interval of the options.
    fn interval(&self, name: &str, x: NodeId) -> Result<(f64, f64), CompileError> {
        let values = || self.values[x].iter().flatten();
        let low = values().copied().fold(f64::INFINITY, f64::min);
        let high = values().copied().fold(f64::NEG_INFINITY, f64::max);
        if values().any(|x| !x.is_finite()) {
            return Err(CompileError::Diverges { node: name.to_owned() });
        }
        let seen = (low <= high).then(|| {
            let center = 0.5 * (low + high);
            let half_width = match 0.5 * (high - low) {
                0.0 if center == 0.0 => 1.0,
                0.0 => center.abs(),
                half_width => half_width,
            };
            (center - MARGIN * half_width, center + MARGIN * half_width)
        });
        match (seen, self.options.interval) {
            (Some((low, high)), Some((from, to))) if low.max(from) < high.min(to) => {
                Ok((low.max(from), high.min(to)))
            }
            (_, Some(interval)) | (Some(interval), None) => Ok(interval),
            (None, None) => Err(CompileError::Internal("a fit has no interval")),
        }
    }
}
