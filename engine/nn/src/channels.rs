//! Interleaved items with one channel in each ciphertext.
//!
//! Each position of a plane takes a run of neighbouring slots, one for each item. All positions share the weight of a tap, so a
//! diagonal is a number: nothing is encoded or stored. Windows that reach beyond their plane read slots without an element, which
//! must be zero. A client leaves them zero, and before any other such step a product with a mask clears them, which takes a level.
//!
//! Layouts here have one slot for each run: a slot stands for those of all items, and every item is computed alike.

#![expect(clippy::indexing_slicing, reason = "nodes are looked up in tables of their own network")]

use crate::batch_layout::BatchLayout;
use crate::layout::{Layout, MAX_CIPHERTEXTS};
use crate::{CompileError, Linear, LinearMap, Network, NetworkError, Node, NodeId, NodeMap, Op};
use std::sync::Arc;

/// Layouts of a network's nodes, in runs of slots.
pub(crate) struct ChannelLayouts {
    pub(crate) layouts: NodeMap<Arc<Layout>>,
    /// Items of a group: slots of a run.
    pub(crate) items: usize,
    /// Runs between the rows of a plane.
    pub(crate) columns: usize,
}

/// Where the elements of a node lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Placement {
    /// A channel per ciphertext, neighbours `gap` positions apart.
    Planes { size: [usize; 2], gap: [usize; 2] },
    /// An element per ciphertext, at the first position.
    Vector,
    /// As many elements in a ciphertext as there are positions.
    Packed,
}

/// The network with an affine map of its own wherever slots without an element must be cleared: before windows that reach beyond
/// their plane and before Chebyshev polynomials. The result is brought together in few ciphertexts, and cleared with it.
///
/// # Errors
/// [`NetworkError`] if that breaks the network, which is a bug.
pub(crate) fn with_cleared_operands(network: &Network) -> Result<Network, NetworkError> {
    let mut nodes: NodeMap<Node> = NodeMap::default();
    let mut new_ids: NodeMap<NodeId> = NodeMap::default();
    for node in network.nodes() {
        let mut op = node.op.clone().map_reads(|read| new_ids[read]);
        match &mut op {
            Op::Chebyshev(x, _) => *x = cleared(&mut nodes, *x),
            Op::Linear(x, linear) if reach(linear) != [0, 0] => *x = cleared(&mut nodes, *x),
            _ => (),
        }
        new_ids.push(nodes.push(Node { op, ..node.clone() }));
    }
    let output = new_ids[network.output()];
    cleared(&mut nodes, output);
    Network::new(network.name(), nodes)
}

/// The node itself if it is an elementwise map or the client's input, or else a new one that is the identity of it.
fn cleared(nodes: &mut NodeMap<Node>, id: NodeId) -> NodeId {
    let Node { shape, op, .. } = &nodes[id];
    match op {
        Op::Input => id,
        Op::Linear(_, linear) if linear.is_elementwise() => id,
        _ => {
            let identity = Linear::scale(vec![1.0; nodes[id].len()]);
            nodes.push(Node::new("", shape.clone(), Op::Linear(id, identity)))
        }
    }
}

/// Elementwise maps before windows that reach beyond their plane: their slots without an element must be zero. Only
/// [`with_cleared_operands`] makes them, since rewriting merges all others with the windows.
pub(crate) fn cleared_nodes(network: &Network) -> NodeMap<bool> {
    let mut cleared = network.node_map().map(|_, _| false);
    for node in network.nodes() {
        if let Op::Linear(x, linear) = &node.op
            && reach(linear) != [0, 0]
        {
            cleared[*x] = matches!(&network[*x].op, Op::Linear(_, before) if before.is_elementwise());
        }
    }
    cleared
}

/// The layout of every node, in ciphertexts of `slots` slots.
///
/// # Errors
/// [`CompileError::Layout`] if there is none.
pub(crate) fn layouts(network: &Network, slots: usize) -> Result<ChannelLayouts, CompileError> {
    let placements = placements(network)?;
    let [rows, columns] = extents(network, &placements);
    let items = slots / (rows * columns);
    if items < 2 {
        return Err(refused("there is no room for a channel of two items in a ciphertext"));
    }
    let positions = slots / items;
    let layouts = NodeMap::try_new(network.len(), |id| {
        let len = network[id].len();
        let layout = match placements[id] {
            Placement::Planes { size, gap } => Layout::channels(positions, columns, len, size, gap),
            Placement::Vector => Layout::channels(positions, columns, len, [1, 1], [1, 1]),
            Placement::Packed => Layout::packed(positions, len),
        };
        if layout.ciphertexts > MAX_CIPHERTEXTS {
            return Err(CompileError::TooManyElements);
        }
        Ok(Arc::new(layout))
    })?;
    Ok(ChannelLayouts { layouts, items, columns })
}

fn refused(reason: &'static str) -> CompileError {
    CompileError::Layout { layout: BatchLayout::Interleaved, reason }
}

fn placements(network: &Network) -> Result<NodeMap<Placement>, CompileError> {
    let mut placements: NodeMap<Placement> = NodeMap::default();
    for (id, node) in network.iter() {
        let placement = match &node.op {
            Op::Input => match node.shape[..] {
                [_, height, width] if height * width > 1 => {
                    Placement::Planes { size: [height, width], gap: [1, 1] }
                }
                _ => return Err(refused("no item is an image")),
            },
            Op::Linear(x, linear) => match placements[*x] {
                Placement::Vector if linear.is_elementwise() && id == network.output() => Placement::Packed,
                before if linear.is_elementwise() => before,
                before => after(before, linear),
            },
            op => {
                let mut reads = op.reads().into_iter().map(|read| placements[read]);
                let first = reads.next().ok_or(CompileError::Internal("an operation reads nothing"))?;
                if reads.any(|other| other != first) {
                    return Err(refused("a sum or product has operands that lie apart"));
                }
                first
            }
        };
        placements.push(placement);
    }
    Ok(placements)
}

/// Where the result of a map lies.
fn after(before: Placement, linear: &Linear) -> Placement {
    let Some(planes) = linear.planes() else { return Placement::Vector };
    let size = [planes.height, planes.width];
    let gap = match before {
        // A vector that a map turns into planes has no gap.
        Placement::Vector | Placement::Packed => [1, 1],
        Placement::Planes { gap, .. } => {
            let [down, across] = linear.stride();
            [gap[0] * down, gap[1] * across]
        }
    };
    Placement::Planes { size, gap }
}

/// Rows and columns of positions that planes take, with as many beyond them as windows reach.
fn extents(network: &Network, placements: &NodeMap<Placement>) -> [usize; 2] {
    let mut extents = [1, 1];
    let mut cover = |placement: Placement, reach: [usize; 2]| {
        if let Placement::Planes { size, gap } = placement {
            for axis in 0..2 {
                extents[axis] = extents[axis].max((size[axis] - 1 + reach[axis]) * gap[axis] + 1);
            }
        }
    };
    for (id, node) in network.iter() {
        cover(placements[id], [0, 0]);
        if let Op::Linear(x, linear) = &node.op {
            cover(placements[*x], reach(linear));
        }
    }
    extents
}

/// Positions beyond its plane that the windows of a map reach, down and across.
fn reach(linear: &Linear) -> [usize; 2] {
    let mut reach = [0, 0];
    let mut stride = [1, 1];
    for window in linear.maps().iter().filter_map(LinearMap::window) {
        for axis in 0..2 {
            let before = window.padding()[axis];
            let last = (window.output()[axis] - 1) * window.stride()[axis]
                + (window.kernel()[axis] - 1) * window.dilation()[axis];
            let beyond = (last + 1).saturating_sub(before + window.input()[axis]);
            reach[axis] += before.max(beyond) * stride[axis];
            stride[axis] *= window.stride()[axis];
        }
    }
    reach
}
