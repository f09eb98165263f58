//! Steps of a plan: everything that a server does to ciphertexts, as data.

#![expect(clippy::indexing_slicing, reason = "nodes are looked up in tables of their own network or program")]

use crate::layout::Layout;
use crate::{Coefficients, NodeId, NodeMap};
use pleura_ckks::{BlockLinearTransform, KeyRequest, MatrixTransform, Params};
use serde::{Deserialize, Serialize};
use std::ops::Index;

/// The steps of a plan and the layouts of their results.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Program {
    /// One step for each node of the rewritten network.
    pub(crate) steps: NodeMap<Step>,
    pub(crate) layouts: LayoutTable,
}

/// How the ciphertexts of one node are computed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Step {
    /// Names of the network's nodes that the step computes.
    pub(crate) name: String,
    pub(crate) kind: StepKind,
    /// Layout of the result.
    pub(crate) layout: LayoutId,
    /// Level of the result.
    pub(crate) level: usize,
    /// Scale of the result.
    pub(crate) scale: f64,
    /// Predicted seconds for one group of items.
    pub(crate) predicted_seconds: f64,
}

/// Operation of a step.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum StepKind {
    /// Ciphertexts of the client.
    Input,
    /// An affine map: diagonals, sums of rotations that complete each result, and a bias.
    Linear {
        input: NodeId,
        /// The operand is multiplied by `2^scale_up_log2` first, so that large weights fit their words.
        scale_up_log2: u32,
        transform: BlockLinearTransform,
        /// Each entry replaces a result by its sum with its rotations by these steps.
        rotate_and_sum: Vec<Vec<i64>>,
        /// One entry for each element.
        bias: Vec<f64>,
    },
    /// An affine map between ciphertexts of elements, every slot alike, and a bias.
    Matrix {
        input: NodeId,
        /// As for [`StepKind::Linear`].
        scale_up_log2: u32,
        transform: MatrixTransform,
        /// One entry for each element.
        bias: Vec<f64>,
    },
    /// The operand read at another scale, which multiplies its values by `factor`; then a bias.
    SetScale {
        input: NodeId,
        factor: f64,
        /// One entry for each element.
        bias: Vec<f64>,
    },
    /// Averages over windows: sums of rotations, read at a scale as many times larger.
    SumPool {
        input: NodeId,
        /// As for [`StepKind::Linear`].
        rotate_and_sum: Vec<Vec<i64>>,
    },
    /// `x^2 + slope x + constant`.
    Square {
        input: Operand,
        /// One entry for all elements, one for each, or none if it is zero.
        slope: Vec<f64>,
        constant: f64,
    },
    /// The sum of `c_k T_k(x)` for each element.
    Chebyshev { input: NodeId, coefficients: Coefficients },
    /// Product of two operands.
    Mul { inputs: [Operand; 2] },
    /// Sum or difference of two operands.
    Add { inputs: [Operand; 2], subtract: bool },
}

/// A step's operand, and how it is brought to the step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Operand {
    pub(crate) node: NodeId,
    /// Primes that the operand is divided by.
    pub(crate) rescale_by: usize,
    /// The operand is multiplied by `2^scale_up_log2` before the division.
    pub(crate) scale_up_log2: u32,
    /// Whether a constant brings the operand to the scale of the step on the way.
    pub(crate) aligned: bool,
}

/// Position of a layout in a [`LayoutTable`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LayoutId(usize);

/// The distinct layouts of a plan.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct LayoutTable(Vec<Layout>);

impl Step {
    /// The nodes that the step reads.
    pub(crate) fn reads(&self) -> Vec<NodeId> {
        match &self.kind {
            StepKind::Input => Vec::new(),
            StepKind::Linear { input, .. }
            | StepKind::Matrix { input, .. }
            | StepKind::SetScale { input, .. }
            | StepKind::SumPool { input, .. }
            | StepKind::Chebyshev { input, .. } => vec![*input],
            StepKind::Square { input, .. } => vec![input.node],
            StepKind::Mul { inputs } | StepKind::Add { inputs, .. } => {
                inputs.iter().map(|o| o.node).collect()
            }
        }
    }

    /// The keys that the step needs, each at the highest level it is used at; `operand_level` is that of a step's
    /// result.
    pub(crate) fn keys(&self, params: &Params, operand_level: impl Fn(NodeId) -> usize) -> KeyRequest {
        let request = KeyRequest::new();
        match &self.kind {
            StepKind::Linear { transform, rotate_and_sum, .. } => {
                let sums = rotate_and_sum.iter().flatten().copied();
                transform.keys(params).rotations(params, sums, transform.target_level)
            }
            StepKind::SumPool { input, rotate_and_sum } => {
                request.rotations(params, rotate_and_sum.iter().flatten().copied(), operand_level(*input))
            }
            StepKind::Square { .. } | StepKind::Mul { .. } => request.relin(self.level),
            StepKind::Chebyshev { input, .. } => request.relin(operand_level(*input)),
            StepKind::Input | StepKind::Matrix { .. } | StepKind::SetScale { .. } | StepKind::Add { .. } => {
                request
            }
        }
    }

    /// Largest of the levels that the step computes at.
    pub(crate) fn start_level(&self, operand_level: impl Fn(NodeId) -> usize) -> usize {
        match &self.kind {
            StepKind::Linear { transform, .. } => transform.level,
            StepKind::Matrix { transform, .. } => transform.level,
            StepKind::Chebyshev { input, .. } => operand_level(*input),
            StepKind::Square { .. } | StepKind::Mul { .. } | StepKind::Input => self.level,
            StepKind::SetScale { input, .. } | StepKind::SumPool { input, .. } => operand_level(*input),
            StepKind::Add { inputs: [a, b], .. } => operand_level(a.node).min(operand_level(b.node)),
        }
    }
}

impl Program {
    /// The node of the client's input.
    pub(crate) fn input_node(&self) -> NodeId {
        NodeId::INPUT
    }

    /// The node of the result.
    pub(crate) fn output_node(&self) -> NodeId {
        // A program without steps is refused; indexing by its input would panic.
        self.steps.last_id().unwrap_or(NodeId::INPUT)
    }

    /// The layout of a node's result.
    pub(crate) fn layout(&self, id: NodeId) -> &Layout {
        &self.layouts[self.steps[id].layout]
    }

    /// The level of a node's result.
    pub(crate) fn level(&self, id: NodeId) -> usize {
        self.steps[id].level
    }

    /// The keys that the program needs, each at the highest level it is used at.
    pub(crate) fn keys(&self, params: &Params) -> KeyRequest {
        let keys = self.steps.values().iter().map(|step| step.keys(params, |id| self.level(id)));
        keys.fold(KeyRequest::new(), |all, keys| all.merge(&keys))
    }
}

impl LayoutTable {
    /// Position of a layout, which is added if it is new.
    pub(crate) fn insert(&mut self, layout: &Layout) -> LayoutId {
        let known = self.0.iter().position(|known| known == layout);
        LayoutId(known.unwrap_or_else(|| {
            self.0.push(layout.clone());
            self.0.len() - 1
        }))
    }

    /// A layout, or `None` if the table is shorter.
    pub(crate) fn get(&self, id: LayoutId) -> Option<&Layout> {
        self.0.get(id.0)
    }

    /// The layouts.
    pub(crate) fn values(&self) -> impl Iterator<Item = &Layout> {
        self.0.iter()
    }
}

impl Index<LayoutId> for LayoutTable {
    type Output = Layout;

    #[expect(
        clippy::indexing_slicing,
        reason = "a layout of another plan is a bug, which must not go unnoticed"
    )]
    fn index(&self, id: LayoutId) -> &Layout {
        &self.0[id.0]
    }
}
