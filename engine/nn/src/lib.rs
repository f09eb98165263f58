//! Neural networks on ciphertexts: a network is compiled to a plan, and the plan runs on encrypted data.
//!
//! # Mathematics
//! A ciphertext holds a vector of `n/2` numbers, of which sums, products and rotations can be computed
//! ([`pleura_ckks`]). A network in the form of affine maps and polynomials needs no more. An affine map between vectors is the
//! sum of its diagonals times rotations of its operand (Halevi and Shoup 2014), taken in baby and giant steps; where the elements of a
//! tensor lie decides how many diagonals there are. A quadratic activation is one square, with all that is affine in it moved
//! into the maps around it: `a x^2 + b x + c = s (u^2 + b' u) + c` for `u = sqrt|a| x`. Every product multiplies the scales of its
//! factors, and dividing them back consumes primes of the modulus: a plan fixes beforehand which, so that scales are known
//! exactly and branches meet at the same one.
//!
//! The way of a network: [`Network::new`] or the crate `pleura-onnx` makes it; `rewrite` merges what can be merged; `arrange` counts levels and places
//! tensors; `draft` compares several such ways by their `cost` and takes the cheapest; `lower` turns maps into diagonals and
//! `assemble` encodes them; the [`Plan`] is data. A [`Client`] and a [`Server`] run it. The clear twin is [`Network::evaluate`], and
//! every compiled step is compared with it.
//!
//! ```
//! use pleura_nn::{Client, Coefficients, Convolution, Linear, Network, Node, NodeMap, Op, Plan, PlanOptions, Server};
//! use pleura_nn::{Window, WindowSpec};
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
//! let plan = Plan::compile(&network, &PlanOptions::default(), &mut |_, _, _| ())?;
//!
//! // Client: keys for the server, and an encrypted image.
//! let client = Client::new(&plan)?;
//! let image: Vec<f64> = (0..64).map(|i| (f64::from(i) / 9.0).sin()).collect();
//! let sent = client.encrypt(&[image.clone()])?;
//!
//! // Server: it has no secret.
//! let server = Server::new(&plan, Cpu::new(plan.params().ring().clone())?, client.evaluation_keys()?)?;
//! let returned = server.infer(&sent, &mut |_step, _seconds| ())?;
//!
//! let result = client.publish(&returned)?.remove(0);
//! for (got, clear) in result.iter().zip(network.evaluate(&image)) {
//!     assert!((got - clear).abs() < 1e-3);
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod arrange;
mod assemble;
mod batch;
mod cost;
mod draft;
mod execute;
mod fit;
mod layout;
mod linear;
mod lower;
mod maps;
mod network;
mod node_map;
mod plan;
mod report;
mod rewrite;
mod save;
mod shape_error;
mod window;

pub use execute::{Client, InferenceError, PUBLISHED_BITS, Server};
pub use fit::{FitError, Fitted, Function, fit};
pub use linear::{Linear, LinearMap};
pub use maps::{Convolution, Dense, Gather, Pool, Sparse};
pub use network::{Coefficients, Network, NetworkError, Node, Op};
pub use node_map::{NodeId, NodeMap};
pub use plan::{Plan, PlanError, PlanOptions, Progress};
pub use report::{Fidelity, LayerReport, ParameterReport, Report, label};
pub use shape_error::ShapeError;
pub use window::{Window, WindowSpec};
