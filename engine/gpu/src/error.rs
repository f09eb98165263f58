//! Errors of this crate, before a GPU is in use.

/// Errors of opening a GPU and of bringing a ring to it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GpuError {
    /// The driver refuses to start the device.
    #[error("{name} cannot be used: {reason}")]
    Open {
        /// Name of the device.
        name: String,
        /// Reason, in the driver's words or ours.
        reason: String,
    },
    /// The ring is too small or too large for the kernels.
    #[error("a ring of degree 2^{log_n} does not run on a GPU; 2^{min} to 2^{max} do")]
    BadDegree {
        /// Logarithm of the ring's degree.
        log_n: u32,
        /// Logarithm of the smallest degree.
        min: u32,
        /// Logarithm of the largest degree.
        max: u32,
    },
    /// The device cannot hold the ring's tables.
    #[error(transparent)]
    Backend(#[from] pleura_ring::BackendError),
}
