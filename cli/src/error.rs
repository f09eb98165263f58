//! What a command can fail with.

use crate::npy::{NpyError, shape_text};
use crate::shipped::{CODECS, MODELS};
use crate::table::bytes_text;
use pleura::baselines::mple::MpleError;
use pleura::baselines::paillier::PaillierError;
use pleura::latent::{CodecError, ImageError, LatentFileError};
use pleura::nn::{FitError, ImportError, InferenceError, PlanError};
use pleura::ring::RingError;
use std::io;
use std::path::PathBuf;

/// Why a command stopped. Each is the start of a sentence that its sources go on with.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CliError {
    #[error("cannot read {}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("{} is a directory, not a file", path.display())]
    Directory { path: PathBuf },
    #[error("{} is empty", path.display())]
    Empty { path: PathBuf },
    #[error("{} is larger than the {} that are read", path.display(), bytes_text(*max))]
    TooLarge { path: PathBuf, max: u64 },
    #[error("{} exists; --force replaces it", path.display())]
    Exists { path: PathBuf },
    #[error("{} is not a regular file and will not be replaced", path.display())]
    Special { path: PathBuf },
    #[error("cannot write {}", path.display())]
    Write { path: PathBuf, source: io::Error },
    #[error("cannot write to standard output")]
    Output(#[source] io::Error),
    #[error("cannot write the result as JSON")]
    Json(#[source] serde_json::Error),
    #[error("cannot read {}", path.display())]
    Npy { path: PathBuf, source: NpyError },
    #[error("{} has shape {}; the network takes {}, with or without a batch axis before it", path.display(),
        shape_text(got), shape_text(expected))]
    Shape { path: PathBuf, expected: Vec<usize>, got: Vec<usize> },
    #[error("{} holds no item: its shape is {}", path.display(), shape_text(shape))]
    NoItem { path: PathBuf, shape: Vec<usize> },
    #[error("element {element} of item {item} of {} is {value}", path.display())]
    NotFinite { path: PathBuf, item: usize, element: usize, value: &'static str },
    #[error("cannot import {}", path.display())]
    Import { path: PathBuf, source: ImportError },
    #[error("cannot compile the network")]
    Plan(#[from] PlanError),
    #[error("cannot compute on encrypted data")]
    Inference(#[from] InferenceError),
    #[error("there is no such fit")]
    Fit(#[from] FitError),
    #[error("this build has no GPU backend; use --device cpu")]
    NoGpu,
    #[error("cannot start the device")]
    Device(#[from] RingError),
    #[error("the network needs {} of memory at its busiest moment, and {} are {}", bytes_text(*needed),
        bytes_text(*allowed), if *asked { "allowed by --max-memory" } else { "available; --max-memory GIB overrides" })]
    Memory { needed: u64, allowed: u64, asked: bool },
    #[error("cannot read {}", path.display())]
    Image { path: PathBuf, source: ImageError },
    #[error("cannot use the latents in {}", path.display())]
    Latents { path: PathBuf, source: Box<LatentFileError> },
    #[error("codec {name}")]
    Codec { name: String, source: CodecError },
    #[error("there is no codec {name}; there are {}", known(CODECS.iter().map(|c| c.0)))]
    UnknownCodec { name: String },
    #[error("there is no model {name:?}, shipped or in a file; shipped are {}", known(MODELS.iter().map(|m| m.name)))]
    UnknownModel { name: String },
    #[error("{} holds latents, and the network looks at images: give it those", path.display())]
    NoCodec { path: PathBuf },
    #[error("{} holds latents already; give it images", path.display())]
    Compressed { path: PathBuf },
    #[error(
        "{name} takes items of shape {}, and {wanted}: it cannot classify X-rays; `pleura run` runs any network",
        shape_text(shape)
    )]
    NotXrays { name: String, shape: Vec<usize>, wanted: String },
    #[error("{} has no PNG, JPEG or DICOM file in it", path.display())]
    NoImages { path: PathBuf },
    #[error("{failed} of {of} could not be read; what is wrong with them is said above")]
    NotAll { failed: usize, of: usize },
    #[error("{name} has one output; a classifier has one for each class")]
    OneScore { name: String },
    #[error("{} is of another network, or of something else: finish it with that network, or delete it", path.display())]
    OtherPart { path: PathBuf },
    #[error("the encrypted scores of {count} X-rays are not those of the network, as said above")]
    Useless { count: usize },
    #[error("{name} does not begin with a convolution of square filters that alone reads its input")]
    NoConvolution { name: String },
    #[error("the key was made for another layer than that of {name}")]
    OtherLayer { name: String },
    #[error("{name} is not a linear layer and nothing else")]
    NotLinear { name: String },
    #[error("metamorphosed learning")]
    Mple(#[from] MpleError),
    #[error("Paillier")]
    Paillier(#[from] PaillierError),
    #[error("another run is writing to {}", path.display())]
    InUse { path: PathBuf },
    #[error("there is no place for a cache: set PLEURA_CACHE to a directory")]
    NoCache,
    #[error("cannot handle interruptions")]
    Signals(#[from] ctrlc::Error),
}

fn known<'a>(names: impl Iterator<Item = &'a str>) -> String {
    names.collect::<Vec<_>>().join(", ")
}
