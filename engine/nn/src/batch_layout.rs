//! Layouts of batches: how several items share ciphertexts.

use serde::{Deserialize, Serialize};
use std::fmt;

/// How the items of a group share its ciphertexts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum BatchLayout {
    /// As many items, one after the other along the first axis: the ciphertexts are those of
    /// [`Network::side_by_side`](crate::Network::side_by_side).
    SideBySide(usize),
    /// A ciphertext for each element of a tensor, with an item in each of its slots: weights are numbers, and nothing rotates.
    SlotPerItem,
    /// Each element of as many items as there are, or as leave room for one channel of each in a ciphertext, in neighbouring slots: a
    /// full ciphertext holds one channel, and all its slots share weights, which are numbers.
    Interleaved,
}

impl BatchLayout {
    /// A group of one item.
    pub const SINGLE: Self = Self::SideBySide(1);
}

impl fmt::Display for BatchLayout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SideBySide(1) => f.write_str("single items"),
            Self::SideBySide(items) => write!(f, "{items} items side by side"),
            Self::SlotPerItem => f.write_str("an item per slot"),
            Self::Interleaved => f.write_str("items interleaved"),
        }
    }
}
