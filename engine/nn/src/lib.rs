//! Neural networks on ciphertexts.

mod linear;
mod network;

pub use linear::{Convolution, Linear, Map, Pool, Window};
pub use network::{Coefficients, Network, Node, NodeId, Op};
