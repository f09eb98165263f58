//! The processor as a [`Backend`](crate::Backend).

mod backend;
mod blocks;
mod buffer;
mod conversion;
mod device;
mod kernels;
mod log;
mod matrix;
mod simd;
mod storage;
mod switching;

pub use device::Cpu;
pub(crate) use kernels::Kernels;
pub use log::{Task, TaskList};
pub use simd::Simd;
