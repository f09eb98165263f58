//! Results of `pleura classify` for one X-ray.

use pleura::latent::DicomIdentity;
use pleura::nn::Fidelity;
use serde::Serialize;

/// The results for one X-ray.
pub(crate) struct Row {
    pub(crate) name: String,
    /// The name with everything that is not Unicode, as a cell of a CSV file.
    pub(crate) cell: String,
    /// Whether the name lacks something that is not Unicode.
    pub(crate) is_lossy: bool,
    pub(crate) digest: String,
    /// Unique identifiers of a DICOM image.
    pub(crate) dicom: Option<DicomIdentity>,
    /// Class that the doctors assigned, where it is known.
    pub(crate) truth: Option<String>,
    pub(crate) label: String,
    pub(crate) probabilities: Vec<f64>,
    /// Scores as published.
    pub(crate) scores: Vec<f64>,
    /// Label of the plaintext network; empty where only a server has it.
    pub(crate) plaintext_label: String,
    /// Differences from the plaintext network, of scores that were encrypted.
    pub(crate) fidelity: Option<Fidelity>,
    pub(crate) seconds: Seconds,
    pub(crate) warnings: Vec<String>,
    /// A small picture as PNG, if it was asked for.
    pub(crate) thumbnail: Option<Vec<u8>>,
}

/// An X-ray, or a file, that has no result.
pub(crate) struct Failure {
    pub(crate) name: String,
    /// The name as a cell of a CSV file.
    pub(crate) cell: String,
    /// Digest of the file; empty if it cannot be read.
    pub(crate) digest: String,
    /// Whether the file was named, and not found in a folder.
    pub(crate) named: bool,
    pub(crate) error: anyhow::Error,
    /// Whether an earlier run wrote its row.
    pub(crate) earlier: bool,
}

/// How long each step took.
#[derive(Clone, Copy, Default, Serialize)]
pub(crate) struct Seconds {
    pub(crate) read: f64,
    pub(crate) compress: f64,
    pub(crate) encrypt: f64,
    pub(crate) infer: f64,
    pub(crate) decrypt: f64,
}
