//! The ring's [`Backend`](pleura_ring::Backend) on any GPU that Vulkan, Metal or DX12 reaches.

mod adapter;
mod backend;
mod device;
mod memory;
mod switching;
mod transform;

pub use adapter::{Adapter, AdapterInfo, Kind, Options, adapters, diagnosis};
pub use backend::{Gpu, GpuWeights};
pub use device::Device;
pub use memory::GpuBuffer;

/// What can go wrong before a GPU is in use.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GpuError {
    /// The driver refuses to start the device.
    #[error("{name} cannot be used: {reason}")]
    Open {
        /// Its name.
        name: String,
        /// What the driver says.
        reason: String,
    },
    /// The ring is too small or too large for the kernels.
    #[error("a ring of degree 2^{log_n} does not run on a GPU; 2^{min} to 2^{max} do")]
    BadDegree {
        /// Logarithm of the ring's degree.
        log_n: u32,
        /// The smallest.
        min: u32,
        /// The largest.
        max: u32,
    },
    /// The device cannot hold the ring's tables.
    #[error(transparent)]
    Backend(#[from] pleura_ring::BackendError),
}
