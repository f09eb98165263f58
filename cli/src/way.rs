//! One way to classify X-rays, in a comparison.

use crate::baseline::{RECOVERABLE, SOUND};
use pleura::xray::metrics::BinaryMetrics;
use serde::Serialize;

/// What may be compared with what.
pub(crate) const PAIRED: &str = "MpLe's network is hefNet: compare it with the plain one of that name.";
/// What learned from what.
pub(crate) const TRAINED: &str = "\
Published Paillier is labelled by ridge regression on the stored pictures themselves, for 48 X-rays or
more that all have labels; the other ways' networks were trained before. What others recover of its
pictures: bits of each pixel, the picture, and labels by the same regression once pictures are opened.";

/// One way to classify.
#[derive(Serialize)]
pub(crate) struct Way {
    pub(crate) name: &'static str,
    /// What it computes.
    pub(crate) about: String,
    /// Of the images whose labels are known.
    #[serde(flatten)]
    pub(crate) quality: BinaryMetrics,
    /// Of one image; what happens once is apart.
    pub(crate) client_seconds: f64,
    pub(crate) server_seconds: Option<f64>,
    pub(crate) once_seconds: f64,
    /// Up and down, for one image.
    pub(crate) bytes: u64,
    pub(crate) once_bytes: u64,
    /// What whoever sees what the server sees can have.
    pub(crate) recovered: String,
    /// That nobody can do better rests on this.
    pub(crate) assumed: &'static str,
    pub(crate) protection: Protection,
    #[serde(skip)]
    pub(crate) picture: Option<Vec<u8>>,
}

/// What keeps the server from the X-ray.
#[derive(Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) enum Protection {
    /// Nothing, and nothing is said to.
    #[serde(rename = "none: in the clear")]
    Clear,
    /// What does not: the string is [`RECOVERABLE`].
    #[serde(rename = "not encryption: recoverable")]
    Recoverable,
    /// Encryption, if the assumption holds: the string is [`SOUND`].
    #[serde(rename = "no attack known")]
    Encrypted,
}

impl Protection {
    /// As people and programs read it.
    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::Clear => "none: in the clear",
            Self::Recoverable => RECOVERABLE,
            Self::Encrypted => SOUND,
        }
    }
}
