//! Pleura, a homomorphic inference engine: this crate is the face of its parts.
//!
//! [`nn`] runs neural networks on encrypted data; [`ckks`] encrypts vectors and computes on them, with the client's and
//! the server's halves apart; [`ring`] is the arithmetic below it and the [`Backend`](ring::Backend) trait that every compute device implements.
//!
//! ```
//! use pleura::ckks::{Encoder, Evaluator, KeyRequest, Params, SecretKey, Security};
//! use pleura::ring::Cpu;
//!
//! let params = Params::choose(1, 28, Security::Bits128)?;
//! let (encoder, secret) = (Encoder::new(&params), SecretKey::generate(&params)?);
//! let server = Evaluator::new(&params, Cpu::new(params.ring().clone())?)?;
//! let keys = server.upload_keys(&secret.evaluation_keys(&KeyRequest::new().relin(1))?)?;
//!
//! let x = server.upload(&[secret.encrypt(&encoder.encode_real(&[1.5, -2.0])?)?])?;
//! let square = server.download(&server.mul_rescale(&x, &x, &keys)?)?.remove(0);
//! assert_eq!(secret.decrypt(&encoder, &square)?.publish_real(8)?, [2.25, 4.0]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod any_backend;
mod device;

pub use any_backend::{AnyBackend, AnyBuffer, AnyCompactPolys};
pub use device::{
    Device, DeviceError, DeviceKind, DeviceNote, DeviceSelector, DeviceSelectorError, GpuOptions,
};
pub use pleura_baselines as baselines;
pub use pleura_ckks as ckks;
pub use pleura_gpu as gpu;
pub use pleura_latent as latent;
pub use pleura_nn as nn;
pub use pleura_onnx as onnx;
pub use pleura_ring as ring;
pub use pleura_xray as xray;
