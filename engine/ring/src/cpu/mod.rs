//! The processor as a [`Backend`](crate::Backend).

mod backend;
mod buffer;
mod device;
mod kernels;
mod matrix;
mod simd;
mod switching;

pub use device::Cpu;
pub(crate) use kernels::Kernels;
pub use simd::Simd;
