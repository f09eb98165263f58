//! Tables indexed by node.

use serde::{Deserialize, Serialize};
use std::ops::{Index, IndexMut};

/// Position of a node in its network.
///
/// Only [`NodeMap`] makes new ones, so an id is never a number that was computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct NodeId(usize);

impl NodeId {
    /// The input, which is the first node of every network.
    pub const INPUT: Self = Self(0);

    /// Position of the node, counted from zero.
    pub fn index(self) -> usize {
        self.0
    }
}

/// One value for each node of a network, in the order of the nodes.
///
/// ```
/// use pleura_nn::NodeMap;
///
/// let mut levels = NodeMap::new(2, |id| 10 - id.index());
/// let last = levels.push(3);
/// levels[last] += 1;
/// assert_eq!(levels[last], 4);
/// assert_eq!(levels.iter().map(|(id, level)| id.index() + level).collect::<Vec<_>>(), [10, 10, 6]);
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct NodeMap<T>(Vec<T>);

impl<T> NodeMap<T> {
    /// `len` values, each made from its node's id.
    pub fn new(len: usize, value: impl FnMut(NodeId) -> T) -> Self {
        (0..len).map(NodeId).map(value).collect()
    }

    /// `len` values, each made from its node's id.
    ///
    /// # Errors
    /// The first error of `value`.
    pub fn try_new<E>(len: usize, value: impl FnMut(NodeId) -> Result<T, E>) -> Result<Self, E> {
        (0..len).map(NodeId).map(value).collect()
    }

    /// Appends the value of the next node.
    pub fn push(&mut self, value: T) -> NodeId {
        self.0.push(value);
        NodeId(self.0.len() - 1)
    }

    /// Number of nodes.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is no node.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether the node is in this table.
    pub fn contains(&self, id: NodeId) -> bool {
        id.0 < self.0.len()
    }

    /// The value of a node, or `None` if the node is not in this table.
    pub fn get(&self, id: NodeId) -> Option<&T> {
        self.0.get(id.0)
    }

    /// The value of the last node.
    pub fn last(&self) -> Option<&T> {
        self.0.last()
    }

    /// The value of the last node, to change.
    pub fn last_mut(&mut self) -> Option<&mut T> {
        self.0.last_mut()
    }

    /// The id of the last node.
    pub fn last_id(&self) -> Option<NodeId> {
        self.0.len().checked_sub(1).map(NodeId)
    }

    /// The ids, in order.
    pub fn ids(&self) -> impl DoubleEndedIterator<Item = NodeId> + ExactSizeIterator + use<T> {
        (0..self.0.len()).map(NodeId)
    }

    /// The ids and values, in order.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (NodeId, &T)> + ExactSizeIterator {
        self.0.iter().enumerate().map(|(i, value)| (NodeId(i), value))
    }

    /// The ids and values, in order, to change.
    pub fn iter_mut(&mut self) -> impl DoubleEndedIterator<Item = (NodeId, &mut T)> + ExactSizeIterator {
        self.0.iter_mut().enumerate().map(|(i, value)| (NodeId(i), value))
    }

    /// The values, in order.
    pub fn values(&self) -> &[T] {
        &self.0
    }

    /// The values, in order.
    pub fn into_values(self) -> Vec<T> {
        self.0
    }

    /// A table of the same nodes with other values.
    pub fn map<U>(&self, mut value: impl FnMut(NodeId, &T) -> U) -> NodeMap<U> {
        self.iter().map(|(id, old)| value(id, old)).collect()
    }
}

impl<T> Default for NodeMap<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T> FromIterator<T> for NodeMap<T> {
    fn from_iter<I: IntoIterator<Item = T>>(values: I) -> Self {
        Self(values.into_iter().collect())
    }
}

impl<T> From<Vec<T>> for NodeMap<T> {
    fn from(values: Vec<T>) -> Self {
        Self(values)
    }
}

impl<T> Index<NodeId> for NodeMap<T> {
    type Output = T;

    /// The value of a node.
    ///
    /// # Panics
    /// If the id belongs to a longer network.
    #[track_caller]
    #[expect(clippy::indexing_slicing, reason = "the length is checked, with a message that names both")]
    fn index(&self, id: NodeId) -> &T {
        assert!(self.contains(id), "node {} is not in a table of {} nodes", id.0, self.0.len());
        &self.0[id.0]
    }
}

impl<T> IndexMut<NodeId> for NodeMap<T> {
    /// The value of a node, to change.
    ///
    /// # Panics
    /// If the id belongs to a longer network.
    #[track_caller]
    #[expect(clippy::indexing_slicing, reason = "the length is checked, with a message that names both")]
    fn index_mut(&mut self, id: NodeId) -> &mut T {
        assert!(self.contains(id), "node {} is not in a table of {} nodes", id.0, self.0.len());
        &mut self.0[id.0]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_found_by_id_and_in_order() {
        let mut map = NodeMap::new(3, |id| id.index() * 10);
        let fourth = map.push(7);
        map[fourth] += 1;
        assert_eq!(map.values(), [0, 10, 20, 8]);
        assert_eq!(map.ids().collect::<Vec<_>>(), [0, 1, 2, 3].map(NodeId));
        assert_eq!(map.last_id(), Some(fourth));
        assert_eq!(map.iter().rev().map(|(id, x)| (id.index(), *x)).next(), Some((3, 8)));
        assert_eq!(map.map(|id, x| id.index() + x).into_values(), [0, 11, 22, 11]);
        assert_eq!(NodeMap::try_new(3, |id| if id.index() == 1 { Err(id) } else { Ok(()) }), Err(NodeId(1)));
    }

    #[test]
    #[should_panic(expected = "node 3 is not in a table of 2 nodes")]
    fn an_id_of_a_longer_network_panics_with_both_lengths() {
        let longer = NodeMap::new(4, |id| id);
        let _ = NodeMap::new(2, |_| 0)[longer.values()[3]];
    }

    #[test]
    fn bytes_are_those_of_a_list() {
        let map = NodeMap::new(3, |id| id.index() as u32);
        let bytes = postcard::to_allocvec(&map).unwrap();
        assert_eq!(bytes, postcard::to_allocvec(&vec![0u32, 1, 2]).unwrap());
        assert_eq!(postcard::from_bytes::<NodeMap<u32>>(&bytes).unwrap(), map);
    }
}
