//! Errors that keep a server from starting.

use pleura::{DeviceError, PipelineError};
use std::io;
use std::path::{Path, PathBuf};

/// Why a server does not start, or stops.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServiceError {
    /// The device cannot be used, or has no room for a plan.
    #[error(transparent)]
    Pipeline(#[from] PipelineError),
    /// The device cannot be used.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// There is no device.
    #[error("a server needs at least one device")]
    NoDevice,
    /// A file cannot be read or written.
    #[error("cannot use {}: {error}", path.display())]
    Storage {
        /// The file.
        path: PathBuf,
        /// Error of the system.
        error: io::Error,
    },
    /// A file of tokens is not valid.
    #[error("{} {problem}", path.display())]
    Token {
        /// The file.
        path: PathBuf,
        /// Contradiction.
        problem: String,
    },
    /// A name of a token is not allowed.
    #[error("names of tokens have 1 to {max} of the characters a to z, 0 to 9 and -")]
    TokenName {
        /// Most characters.
        max: usize,
    },
    /// Two models have one name, or a bundle was made for another plan.
    #[error("the model {name} {problem}")]
    Model {
        /// Name of the network.
        name: String,
        /// Contradiction.
        problem: &'static str,
    },
    /// Certificate or key are not valid.
    #[error("cannot use the certificate: {0}")]
    Certificate(String),
    /// The address cannot be listened on.
    #[error("cannot listen: {0}")]
    Listen(io::Error),
    /// The system gives no randomness.
    #[error("the system gives no randomness")]
    Random,
    /// Threads cannot be started.
    #[error("cannot start threads: {0}")]
    Threads(io::Error),
}

impl ServiceError {
    pub(super) fn storage(path: &Path, error: io::Error) -> Self {
        Self::Storage { path: path.into(), error }
    }
}
