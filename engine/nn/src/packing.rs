//! Packing: which ciphertext and slot holds each element of every node of a network.
//!
//! Nodes that are computed slot by slot share one layout; they form a class. The first node of a class that is an image
//! decides where the class lies: its planes stand `gap` positions apart on a grid that the whole network shares.

#![expect(clippy::indexing_slicing, reason = "nodes are looked up in tables of their own network or program")]

use crate::geometry::Planes;
use crate::layout::{Grid, Layout};
use crate::levels::{Classes, LinearKind};
use crate::rewrite::Pools;
use crate::{LinearMap, Network, NodeId, NodeMap, Op};
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

/// One way to place channels in ciphertexts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Packing {
    pub(crate) order: ChannelOrder,
    pub(crate) channels: Channels,
    pub(crate) input: InputPacking,
}

/// Order of the channels of grouped convolutions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ChannelOrder {
    /// By the groups of the layer that reads them.
    Consumer,
    /// By the groups of the layer that makes them.
    Producer,
    /// Their own order.
    Natural,
}

/// Position of the channels of a ciphertext.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Channels {
    /// Next to each other at each position of the grid.
    Inner,
    /// Plane after plane.
    Outer,
}

/// How a client fills ciphertexts with an item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum InputPacking {
    /// All channels share ciphertexts.
    Dense,
    /// A ciphertext for each channel, which is repeated in all planes.
    Spread,
}

impl Packing {
    /// The packings that a search compares.
    pub(crate) const ALL: [Self; 5] = [
        Self::of(ChannelOrder::Consumer, Channels::Inner, InputPacking::Spread),
        Self::of(ChannelOrder::Consumer, Channels::Inner, InputPacking::Dense),
        Self::of(ChannelOrder::Consumer, Channels::Outer, InputPacking::Dense),
        Self::of(ChannelOrder::Producer, Channels::Inner, InputPacking::Dense),
        Self::of(ChannelOrder::Natural, Channels::Outer, InputPacking::Dense),
    ];

    const fn of(order: ChannelOrder, channels: Channels, input: InputPacking) -> Self {
        Self { order, channels, input }
    }

    /// The layout of every node, in ciphertexts of `slots` slots.
    pub(crate) fn layouts(self, network: &Network, slots: usize, pools: Pools) -> NodeMap<Arc<Layout>> {
        let classes = layout_classes(network);
        let deciders = layout_deciders(network, &classes);
        let (grid, gaps) = self.grid(network, slots, &classes, &deciders);
        let mut layout_of_class: HashMap<NodeId, Arc<Layout>> = HashMap::new();
        let mut layouts: NodeMap<Arc<Layout>> = NodeMap::default();
        for (id, node) in network.iter() {
            let class = classes[id];
            let layout = match layout_of_class.get(&class) {
                Some(known) => known.clone(),
                None => {
                    let pooled = match &node.op {
                        Op::Linear(x, linear) => match LinearKind::of(linear, false, pools) {
                            LinearKind::SumPool(pool) => Some(layouts[*x].pooled(pool.window())),
                            LinearKind::SetScale(_) | LinearKind::Transform => None,
                        },
                        _ => None,
                    };
                    let members: Vec<_> = classes.ids().filter(|&other| classes[other] == class).collect();
                    let class = Class { decider: deciders.get(&class).copied(), members: &members };
                    Arc::new(pooled.unwrap_or_else(|| self.layout(network, id, &class, &grid, &gaps)))
                }
            };
            layout_of_class.insert(class, layout.clone());
            layouts.push(layout);
        }
        layouts
    }

    /// The grid that all planes share, and how far apart the positions of each class lie on it.
    fn grid(
        self,
        network: &Network,
        slots: usize,
        classes: &NodeMap<NodeId>,
        deciders: &HashMap<NodeId, NodeId>,
    ) -> (Grid, HashMap<NodeId, [usize; 2]>) {
        let mut gaps: HashMap<NodeId, [usize; 2]> = HashMap::new();
        let mut extents = [1, 1];
        for (id, node) in network.iter() {
            if deciders.get(&classes[id]) != Some(&id) {
                continue;
            }
            let Some(Planes { height, width, .. }) = planes_of(network, id) else { continue };
            let gap = match &node.op {
                Op::Linear(x, linear) => {
                    // A vector that a map turns into planes has no gap: its planes begin anew.
                    let before = gaps.get(&classes[*x]).copied().unwrap_or([1, 1]);
                    let stride = linear.stride();
                    [before[0] * stride[0], before[1] * stride[1]]
                }
                _ => [1, 1],
            };
            extents = [extents[0].max((height - 1) * gap[0] + 1), extents[1].max((width - 1) * gap[1] + 1)];
            gaps.insert(classes[id], gap);
        }
        let [height, width] = extents.map(usize::next_power_of_two);
        (Grid { slots, height, width, inner: self.channels == Channels::Inner }, gaps)
    }

    /// The layout of a class, of which `id` is the first node.
    fn layout(
        self,
        network: &Network,
        id: NodeId,
        class: &Class<'_>,
        grid: &Grid,
        gaps: &HashMap<NodeId, [usize; 2]>,
    ) -> Layout {
        let planes = class.decider.and_then(|decider| planes_of(network, decider));
        let (Some(planes), Some(&gap)) = (planes, gaps.get(&id)) else {
            return Layout::vector(grid.slots, network[id].len());
        };
        let shape = [planes.channels, planes.height, planes.width];
        let groups = self.groups(network, class).filter(|&groups| planes.channels.is_multiple_of(groups));
        let groups = groups.unwrap_or(1);
        // Copies must be there for every node that relies on them, and only a client makes them.
        if id == NodeId::INPUT
            && class.members.len() == 1
            && gap == [1, 1]
            && planes.channels <= grid.planes()
        {
            return match self.input {
                InputPacking::Dense => grid.repeated(shape, groups),
                InputPacking::Spread => grid.spread(shape),
            };
        }
        grid.layout(shape, gap, groups)
    }

    /// The groups that the channels of a class are ordered by, if there are any.
    fn groups(self, network: &Network, class: &Class<'_>) -> Option<usize> {
        let consumer = network.iter().find_map(|(_, node)| match &node.op {
            Op::Linear(x, linear) if class.members.contains(x) => linear.maps().iter().find_map(groups),
            _ => None,
        });
        let producer = class.members.iter().find_map(|&id| match &network[id].op {
            Op::Linear(_, linear) => linear.maps().iter().rev().find_map(groups),
            _ => None,
        });
        match self.order {
            ChannelOrder::Consumer => consumer.or(producer),
            ChannelOrder::Producer => producer.or(consumer),
            ChannelOrder::Natural => None,
        }
    }
}

/// Positions that a channel of an item takes, on a grid whose sides are powers of two.
pub(crate) fn positions(shape: &[usize]) -> usize {
    match shape {
        [_, height, width] => height.next_power_of_two() * width.next_power_of_two(),
        _ => shape.iter().product::<usize>().next_power_of_two(),
    }
}

/// Nodes that share a layout.
struct Class<'a> {
    /// The node that decides where the class lies, if one of them is an image.
    decider: Option<NodeId>,
    members: &'a [NodeId],
}

/// Nodes whose elements lie in the slots of the elements they are computed from: the first node of each node's class.
fn layout_classes(network: &Network) -> NodeMap<NodeId> {
    let mut classes = Classes::new(network.len());
    for (id, node) in network.iter() {
        let slot_by_slot = !matches!(&node.op, Op::Linear(_, linear) if !linear.is_elementwise());
        if slot_by_slot {
            node.op.reads().into_iter().for_each(|read| classes.join(id, read));
        }
    }
    classes.firsts()
}

/// The member that decides where a class lies: the input, or the first map from planes to planes.
fn layout_deciders(network: &Network, classes: &NodeMap<NodeId>) -> HashMap<NodeId, NodeId> {
    let mut deciders = HashMap::new();
    for (id, node) in network.iter() {
        let decides = match &node.op {
            Op::Input => true,
            Op::Linear(_, linear) => linear.planes().is_some(),
            _ => false,
        };
        if decides {
            deciders.entry(classes[id]).or_insert(id);
        }
    }
    deciders
}

/// Planes of a node's result, if it is an image.
fn planes_of(network: &Network, id: NodeId) -> Option<Planes> {
    let node = &network[id];
    match (&node.op, node.shape.as_slice()) {
        (Op::Linear(_, linear), _) => linear.planes(),
        (_, &[channels, height, width]) => Some(Planes { channels, height, width }),
        _ => None,
    }
}

/// Groups of a grouped convolution.
fn groups(map: &LinearMap) -> Option<usize> {
    match map {
        LinearMap::Convolution(convolution) if convolution.groups() > 1 => Some(convolution.groups()),
        _ => None,
    }
}

impl fmt::Display for Packing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let channels = match self.channels {
            Channels::Inner => "channel-inner",
            Channels::Outer => "channel-outer",
        };
        let order = match self.order {
            ChannelOrder::Consumer => "consumer order",
            ChannelOrder::Producer => "producer order",
            ChannelOrder::Natural => "natural order",
        };
        let input = match self.input {
            InputPacking::Dense => "dense input",
            InputPacking::Spread => "one input channel per ciphertext",
        };
        write!(f, "{channels}, {order}, {input}")
    }
}
