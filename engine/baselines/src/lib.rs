//! Stub.
pub mod mple;
mod quality;
mod random;
mod real;
pub use quality::{pixels, psnr};
pub use random::NoEntropy;
pub use real::Real;
