//! Imports ONNX models whose operators are sums, products and polynomials as [`Network`](pleura_nn::Network)s.
//!
//! # Rules
//! * A model may come from anywhere. Names, shapes and sizes are checked before use, memory and work are bounded before
//!   they are spent, and an error names the node and says what to do.
//! * The first axis of the input is the batch; the network is what happens to one item. Operators that mix the items
//!   of a batch are refused.
//! * Attributes, operands and their types are honoured or refused, in each version of the operators.
//! * Constants are folded, so shapes computed inside the model are accepted. Whatever depends on the encrypted input
//!   must be affine or a polynomial: convolutions, dense layers, average pools, normalization with fixed statistics,
//!   sums, products, powers, and rearrangements of elements.
//! * Other activations are refused, or kept for a fit where [`ImportOptions::keep_activations`] asks for it. Maxima,
//!   comparisons and divisions by encrypted values are always refused.
//! * A final softmax, sigmoid or argmax is no part of the network: [`Imported::scores`] is what a client applies to the
//!   decrypted scores, whose result is that of the model.
//!
//! ```
//! use pleura_onnx::{ImportError, ImportOptions, import};
//!
//! let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../models/reference/mlp.onnx");
//! let imported = import(&std::fs::read(file)?, &ImportOptions::default())?;
//! assert_eq!(imported.network.output_shape(), [10]);
//!
//! let refused = import(b"not a model", &ImportOptions::default());
//! assert!(matches!(refused, Err(ImportError::NotOnnx(_))));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod activation;
mod arithmetic;
mod budget;
mod builder;
mod choice;
mod conformance;
mod constant;
mod contract;
mod element;
mod error;
mod external;
mod final_scores;
mod fold;
mod functions;
mod graph;
mod importer;
mod layers;
mod limits;
mod model;
mod operators;
mod options;
mod pad;
mod polynomial;
mod pool;
mod problem;
mod proto;
mod reduce;
mod resize;
mod scatter;
mod schema;
mod shape;
mod structure;
mod unsupported;
mod view;
mod volume;
mod window;

pub use error::ImportError;
pub use model::{Imported, import};
pub use options::ImportOptions;
pub use problem::Problem;
pub use unsupported::Unsupported;
