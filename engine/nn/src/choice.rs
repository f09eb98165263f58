//! How the nodes of a network are computed, and what that costs.

use crate::cost::{Cost, LinearWork};
use crate::layout::Layout;
use crate::levels::Levels;
use crate::lower::{Split, SplitSteps};
use crate::{Network, NodeMap, Op};
use std::sync::Arc;

/// How a node is computed, and its price.
#[derive(Clone, Debug, Default)]
pub(crate) struct NodeChoice {
    pub(crate) predicted_seconds: f64,
    /// Baby and giant steps of a [`LinearKind::Transform`](crate::levels::LinearKind).
    pub(crate) split: Option<Split>,
    /// Rotations whose sums complete a [`LinearKind::Transform`](crate::levels::LinearKind) or make a [`LinearKind::SumPool`](crate::levels::LinearKind).
    pub(crate) rotate_and_sum: Vec<Vec<i64>>,
    /// Work of a [`LinearKind::Transform`](crate::levels::LinearKind).
    pub(crate) work: Option<LinearWork>,
}

/// A linear node that is computed with diagonals or sums of rotations, before parameters are chosen.
pub(crate) enum Lowered {
    Transform {
        splits: Vec<SplitSteps>,
        work: LinearWork,
        doublings: Vec<i64>,
    },
    SumPool {
        doublings: Vec<i64>,
    },
    /// Numbers between ciphertexts of elements.
    Matrix {
        work: LinearWork,
    },
    /// Any other node.
    Pointwise,
}

/// Choices and predicted seconds of every node.
pub(crate) fn choose(
    network: &Network,
    lowered: &NodeMap<Lowered>,
    layouts: &NodeMap<Arc<Layout>>,
    levels: &Levels,
    cost: &Cost,
) -> NodeMap<NodeChoice> {
    NodeMap::new(network.len(), |id| {
        let node = &network[id];
        let ciphertexts = layouts[id].ciphertexts;
        let level = levels.level(id);
        let operand_level = node.op.reads().into_iter().map(|read| levels.level(read)).min();
        let operand_level = operand_level.unwrap_or(levels.total);
        match &lowered[id] {
            Lowered::Transform { splits, work, doublings } => {
                let (split, work) = cost.split(splits, LinearWork { level: operand_level, ..*work });
                let rotate_and_sum = cost.rotate_and_sum_groups(doublings, ciphertexts, level);
                let sums = cost.rotate_and_sum(&rotate_and_sum, ciphertexts, level);
                NodeChoice {
                    predicted_seconds: cost.linear(&work) + sums,
                    split: Some(split),
                    rotate_and_sum,
                    work: Some(work),
                }
            }
            Lowered::Matrix { work } => {
                let work = LinearWork { level: operand_level, ..*work };
                let predicted_seconds = cost.matrix(&work);
                NodeChoice { predicted_seconds, work: Some(work), ..NodeChoice::default() }
            }
            Lowered::SumPool { doublings } => {
                let rotate_and_sum = cost.rotate_and_sum_groups(doublings, ciphertexts, operand_level);
                NodeChoice {
                    predicted_seconds: cost.rotate_and_sum(&rotate_and_sum, ciphertexts, operand_level),
                    rotate_and_sum,
                    ..NodeChoice::default()
                }
            }
            Lowered::Pointwise => {
                let predicted_seconds = match &node.op {
                    Op::Input => cost.encryption(ciphertexts),
                    Op::Linear(..) => 0.0,
                    Op::Polynomial(..) | Op::Activation(..) => cost.product(ciphertexts, level),
                    Op::Chebyshev(_, c) => {
                        let products = c.degree() as f64 / 2.0;
                        products * cost.product(ciphertexts, level)
                    }
                    Op::Mul(..) => cost.product(ciphertexts, level),
                    Op::Add(..) | Op::Sub(..) => cost.pointwise(ciphertexts, operand_level),
                };
                NodeChoice { predicted_seconds, ..NodeChoice::default() }
            }
        }
    })
}
