//! A method of classification in a comparison.

use crate::cmd::baseline::{RECOVERABLE, SOUND};
use pleura::xray::metrics::BinaryMetrics;
use serde::Serialize;

/// Note on pairs of methods that can be compared.
pub(crate) const PAIRED: &str = "MpLe runs hefNet: compare it with `plain, hefNet`.";
/// Note on training data of the methods.
pub(crate) const TRAINED: &str = "\
Labels of published Paillier come from ridge regression on the stored pictures, where there are at least
48 X-rays and all have labels; the networks of the other methods were trained before. Its attacks are
measured by the recovered bits of each pixel, the PSNR of the recovered picture, and the labels that the
same regression finds in recovered pictures.";

/// A method of classification with its figures.
#[derive(Serialize)]
pub(crate) struct Method {
    pub(crate) name: &'static str,
    /// Description of the computation.
    pub(crate) about: String,
    /// Metrics over images with known labels.
    #[serde(flatten)]
    pub(crate) quality: BinaryMetrics,
    /// Seconds for one image, without setup.
    pub(crate) client_seconds: f64,
    pub(crate) server_seconds: Option<f64>,
    pub(crate) setup_seconds: f64,
    /// Bytes of one image, up and down.
    pub(crate) bytes: u64,
    pub(crate) setup_bytes: u64,
    /// Result of the best attack by an observer of the server.
    pub(crate) attack_result: String,
    /// Assumption of the protection.
    pub(crate) assumption: &'static str,
    pub(crate) protection: Protection,
    #[serde(skip)]
    pub(crate) picture: Option<Vec<u8>>,
}

/// Protection of the X-ray from the server.
#[derive(Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) enum Protection {
    /// No protection is claimed.
    #[serde(rename = "none: plaintext")]
    Clear,
    /// Claimed protection that an attack breaks: the string is [`RECOVERABLE`].
    #[serde(rename = "not encryption: recoverable")]
    Recoverable,
    /// Encryption, if the assumption holds: the string is [`SOUND`].
    #[serde(rename = "no attack known")]
    Encrypted,
}

impl Protection {
    /// Text in tables and JSON.
    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::Clear => "none: plaintext",
            Self::Recoverable => RECOVERABLE,
            Self::Encrypted => SOUND,
        }
    }
}
