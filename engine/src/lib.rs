//! Pleura, a homomorphic inference engine: neural networks on data that stays encrypted.
//!
//! A [`Device`] is the CPU or a GPU, chosen at run time. A [`Pipeline`] is a client and a server in one process over
//! one plan; apart, [`nn::Client`] and [`Server`] exchange bytes, or the files of [`remote`]. [`xray`] is the chest
//! X-ray classifier:
//!
//! ```
//! use pleura::Device;
//! use pleura::xray::{Classifier, XrayPipeline, shipped};
//!
//! // Compress an X-ray, encrypt it, classify the ciphertext, decrypt the scores.
//! let pipeline = XrayPipeline::new(Classifier::shipped("pneumonia")?, &Device::cpu(None))?;
//! let prediction = pipeline.classify(&shipped::SAMPLES[15].xray()?)?;
//! assert_eq!(prediction.label, "pneumonia");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Below: [`nn`] compiles networks, which [`onnx`] imports, to plans for encrypted data; [`ckks`] encrypts vectors
//! and computes on them; [`ring`] is the arithmetic and the [`Backend`](ring::Backend) trait that every device
//! implements.
//!
//! ```
//! use pleura::ckks::{Encoder, Evaluator, KeyRequest, Params, SecretKey, Security};
//! use pleura::Device;
//!
//! let params = Params::choose(1, 28, Security::Bits128)?;
//! let encoder = Encoder::new(&params);
//! let secret = SecretKey::generate(&params)?;
//! let server = Evaluator::new(&params, Device::cpu(None).backend(params.ring())?)?;
//! let keys = server.upload_keys(&secret.evaluation_keys(&KeyRequest::new().relin(1))?)?;
//!
//! let x = server.upload(&[secret.encrypt(&encoder.encode_real(&[1.5, -2.0])?)?])?;
//! let square = server.download(&server.mul_rescale(&x, &x, &keys)?)?.remove(0);
//! assert_eq!(secret.decrypt(&encoder, &square)?.publish_real(8)?, [2.25, 4.0]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod any_backend;
pub mod bench;
mod device;
mod failure;
pub mod host_memory;
pub mod npy;
mod pipeline;
mod plan_cache;
pub mod remote;
mod self_check;
mod server;
pub mod xray;

/// Compiles and runs the programs of README.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct ReadmePrograms;

/// Compiles and runs the programs of the page on the library.
#[cfg(doctest)]
#[doc = include_str!("../../docs/library.md")]
struct LibraryPrograms;

pub use any_backend::{AnyBackend, AnyBuffer, AnyCompactPolys};
pub use device::{
    Device, DeviceError, DeviceKind, DeviceNote, DeviceSelector, DeviceSelectorError, GpuOptions,
};
pub use failure::{backend_failure, is_missing_gpu};
pub use pipeline::{Outcome, Pipeline, StageTimes};
pub use plan_cache::{PlanCache, PlanCacheError, PlanKey};
pub use pleura_baselines as baselines;
pub use pleura_ckks as ckks;
pub use pleura_gpu as gpu;
pub use pleura_latent as latent;
pub use pleura_nn as nn;
pub use pleura_onnx as onnx;
pub use pleura_ring as ring;
pub use self_check::{SelfCheck, self_check, transform_rate};
pub use server::{PipelineError, Server, Session};
