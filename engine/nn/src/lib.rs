//! Neural networks on ciphertexts.

mod api_stub;
mod linear;
mod network;
mod report;

pub use api_stub::{Client, InferenceError, Plan, PlanError, PlanOptions, Progress, Server};
pub use linear::{Convolution, Linear, Map, Pool, Window};
pub use network::{Coefficients, Network, Node, NodeId, Op};
pub use report::{Fidelity, LayerReport, ParameterReport, Report, label};
