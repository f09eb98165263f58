//! Neural networks on ciphertexts.

mod arrange;
mod cost;
mod execute;
mod fit;
mod layout;
mod linear;
mod lower;
mod network;
mod onnx;
mod plan;
mod report;
mod rewrite;
mod save;

pub use execute::{Client, InferenceError, Server};
pub use fit::{FitError, Fitted, Function, fit};
pub use linear::{Convolution, Linear, Map, Pool, Window};
pub use network::{Coefficients, Network, Node, NodeId, Op};
#[doc(hidden)]
pub use onnx::proto;
pub use onnx::{Fit, ImportError, ImportOptions, Imported};
pub use plan::{Plan, PlanError, PlanOptions, Progress};
pub use report::{Fidelity, LayerReport, ParameterReport, Report, label};
