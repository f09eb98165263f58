//! Neural networks on ciphertexts: a network is compiled to a plan, and the plan runs on encrypted data.
//!
//! # Mathematics
//! A ciphertext holds a vector of `n/2` numbers, of which sums, products and rotations can be computed
//! ([`pleura_ckks`]). A network in the form of affine maps and polynomials needs no more. An affine map between
//! vectors is the sum of its diagonals times rotations of its operand (Halevi and Shoup 2014), taken in baby and
//! giant steps; the layout of a tensor decides how many diagonals there are. A quadratic activation is one square,
//! with all that is affine in it moved into the maps around it: `a x^2 + b x + c = s (u^2 + b' u) + c` for
//! `u = sqrt|a| x`. Every product multiplies the scales of its factors, and dividing them back consumes primes of the
//! modulus: a plan fixes beforehand which, so that scales are known exactly and branches meet at the same one.
//!
//! # Compilation
//! [`Plan::compile`] rewrites a [`Network`] (`rewrite`), divides its values by their ranges (`normalize`), counts
//! levels (`levels`), places tensors (`packing`, `layout`), compares several such candidates by their predicted cost
//! (`search`, `cost`), turns the maps of the cheapest into diagonals (`lower`) and encodes them (`emit`). Every step
//! is compared with the plaintext network on a calibration item.
//!
//! A plan has two halves. The [`ServerPlan`] holds steps and weights, and becomes a [`Server`] on a device; a client's
//! evaluation keys become a [`Session`] of it. The [`ClientSpec`] holds what a [`Client`] needs, and no weights.
//!
//! ```
//! use ndarray::Array;
//! use pleura_nn::{Client, Coefficients, CompileOptions, Convolution, Fidelity, Linear, Network, Node, NodeMap};
//! use pleura_nn::{Op, Plan, Server, Window, WindowSpec};
//! use pleura_ring::Cpu;
//!
//! // An 8x8 image, a 3x3 convolution to two channels, and x^2/2 + x of each element.
//! let plane = [8, 8];
//! let window = WindowSpec {
//!     input: plane, output: plane, kernel: [3, 3], stride: [1, 1], dilation: [1, 1], padding: [1, 1],
//! };
//! let weights = (0..18).map(|i| f64::from(i % 5 - 2) / 8.0).collect();
//! let convolution = Convolution::new([1, 2], 1, Window::new(window)?, weights)?;
//! let activation = Coefficients(vec![vec![0.0], vec![1.0], vec![0.5]]);
//! let mut nodes = NodeMap::default();
//! let input = nodes.push(Node::new("input", [1, 8, 8], Op::Input));
//! let conv = nodes.push(Node::new("conv", [2, 8, 8], Op::Linear(input, Linear::new(convolution))));
//! nodes.push(Node::new("act", [2, 8, 8], Op::Polynomial(conv, activation)));
//! let network = Network::new("example", nodes)?;
//! let plan = Plan::compile(&network, &CompileOptions::default(), &mut |_, _, _| ())?;
//!
//! // Client: a secret key, keys for the server, and an encrypted image.
//! let client = Client::new(plan.client_spec().clone())?;
//! let images = Array::from_shape_fn((1, 1, 8, 8), |(_, _, y, x)| ((8 * y + x) as f64 / 9.0).sin());
//! let sent = client.encrypt(images.view())?;
//!
//! // Server: weights on a device, and a session for the client's keys. It holds no secret.
//! let device = Cpu::new(plan.params().ring().clone())?;
//! let server = Server::new(plan.server_plan().clone(), device)?;
//! let session = server.open_session(client.evaluation_keys()?)?;
//! let returned = session.infer(&sent, &mut |_step, _seconds| ())?;
//!
//! let scores = client.publish(&returned)?;
//! let fidelity = Fidelity::new(network.evaluate(images.view())?.view(), scores.view());
//! assert!(fidelity.max_abs_error < 1e-3);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod activation;
mod batch;
mod batch_layout;
mod batch_search;
mod calibration;
mod candidate;
mod channels;
mod check;
mod choice;
mod client;
mod constants;
mod cost;
mod device_memory;
mod emit;
mod error;
mod evaluate;
mod fit;
mod geometry;
mod layout;
mod levels;
mod linear;
mod literals;
mod lower;
mod maps;
mod network;
mod node_map;
mod normalize;
mod options;
mod packing;
mod plan;
mod polynomial;
mod precision;
mod ranking;
mod report;
mod rewrite;
mod scaler;
mod scaling;
mod search;
mod server;
mod server_plan;
mod shape_error;
mod spec;
mod step;
mod window;
mod wire;

pub use activation::{FitOptions, FittedActivation};
pub use batch_layout::BatchLayout;
pub use client::Client;
pub use error::{CompileError, InferenceError, PlanFileError};
pub use fit::{Activation, FitError, Fitted, Function, MAX_FIT_DEGREE, fit};
pub use linear::{Linear, LinearMap};
pub use maps::{Convolution, Dense, Gather, Pool, Sparse};
pub use network::{Coefficients, Network, NetworkError, Node, Op};
pub use node_map::{NodeId, NodeMap};
pub use options::{CompileOptions, DeviceClass, DeviceClassError, Progress};
pub use plan::{Plan, RangeViolation};
pub use report::{Fidelity, LayerReport, LayoutReport, ParameterReport, Report, label};
pub use server::{Server, Session};
pub use server_plan::ServerPlan;
pub use shape_error::ShapeError;
pub use spec::{BeyondRange, ClientSpec, DEFAULT_PUBLISH_BITS, Metadata, ScoreTransform};
pub use window::{Window, WindowSpec};
