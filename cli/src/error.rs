//! What a command can fail with.

use crate::npy::{NpyError, shape_text};
use crate::shipped::{CODECS, MODELS};
use crate::table::{bytes_text, size_text};
use crate::terminal::counted;
use pleura::baselines::mple::MpleError;
use pleura::baselines::paillier::PaillierError;
use pleura::ckks::{BackendError, ClientError, EncodeError, EvalError, ParamsError, TransformError};
use pleura::gpu::GpuError;
use pleura::latent::{CodecError, ImageError, LatentFileError};
use pleura::nn::{FitError, InferenceError, PlanError};
use pleura::onnx::ImportError;
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
    #[error("{} is no regular file", path.display())]
    NotAFile { path: PathBuf },
    #[error("{} is empty", path.display())]
    Empty { path: PathBuf },
    #[error("{} is larger than the {} that are read", path.display(), bytes_text(*max))]
    TooLarge { path: PathBuf, max: u64 },
    #[error("{} exists; --force replaces it", path.display())]
    Exists { path: PathBuf },
    #[error("{} is named for two outputs: name another", path.display())]
    SameFile { path: PathBuf },
    #[error("{} was not stored at side {side}: say the --side of `store`", path.display())]
    NotStored { path: PathBuf, side: usize },
    #[error("{} is not a regular file and will not be replaced", path.display())]
    Special { path: PathBuf },
    #[error("cannot write {}", path.display())]
    Write { path: PathBuf, source: io::Error },
    #[error("cannot write {}: there is no folder {}; make it first", path.display(), folder.display())]
    NoFolder { path: PathBuf, folder: PathBuf },
    #[error("{} is a file, not a folder: name another place", path.display())]
    NotAFolder { path: PathBuf },
    #[error("{} is the name of a folder: add that of a file", path.display())]
    FolderName { path: PathBuf },
    #[error("{} is an input of this command and would be destroyed: name another place", path.display())]
    IsInput { path: PathBuf },
    #[error("{} is {}", path.display(), found.map_or_else(|| format!("not {wanted}: it is larger than that can be"),
        |found| format!("{found}, not {wanted}")))]
    OtherKind { path: PathBuf, wanted: &'static str, found: Option<&'static str> },
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
    #[error("there is no GPU{}; --device cpu computes on the processor", why.as_ref().map_or(String::new(), |w| format!(": {w}")))]
    NoGpu { why: Option<String> },
    #[error("there is no GPU {number}; {known}")]
    NoSuchGpu { number: usize, known: String },
    #[error("cannot start the GPU")]
    Gpu(#[from] GpuError),
    #[error("the GPU has no room for {} more{}", bytes_text(*bytes as u64),
        limit.map_or_else(|| ": its memory is full".to_owned(), |limit| format!(" in the {} of --gpu-memory", size_text(limit))))]
    GpuFull { bytes: usize, limit: Option<u64> },
    #[error("{name} is {value:?}: 1 turns it on, 0 or nothing off")]
    Switch { name: &'static str, value: String },
    #[error("{failed} of {of} devices cannot be trusted with a computation, for the reasons above")]
    SelfCheck { failed: usize, of: usize },
    #[error("cannot make the parameters")]
    Params(#[from] ParamsError),
    #[error("there is no such linear transform")]
    Transform(#[from] TransformError),
    #[error(
        "{count} results differ between devices or from one time to the next, as said above: do not compute on a device that \
         differs from the processor, or from itself"
    )]
    Differs { count: usize },
    #[error("{count} measurements failed; what is wrong with them is said above")]
    Unmeasured { count: usize },
    #[error("{} was not written by `pleura bench --json`: {why}", path.display())]
    NoRecord { path: PathBuf, why: String },
    #[error("{} is damaged: {why}", path.display())]
    BadRecord { path: PathBuf, why: String },
    #[error("{} and {} have no time of the same measurement in them: there is nothing to compare", a.display(), b.display())]
    NothingInCommon { a: PathBuf, b: PathBuf },
    #[error("cannot start the device")]
    Device(#[from] RingError),
    #[error("the network needs {} of memory at its busiest moment, and {} are {}", bytes_text(*needed),
        bytes_text(*allowed), if *asked { "allowed by --max-memory" } else { "available; --max-memory GIB overrides" })]
    Memory { needed: u64, allowed: u64, asked: bool },
    #[error("cannot read {}", path.display())]
    Image { path: PathBuf, source: ImageError },
    #[error("cannot make a picture")]
    Picture(#[source] ImageError),
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
    #[error("{}: {what} for another layer than that of {name}; --layer names the right one", path.display())]
    OtherLayer { path: PathBuf, what: &'static str, name: String },
    #[error(
        "{rows} numbers of an image cannot be cut into {blocks} equal blocks; of numbers near it, {near}"
    )]
    Blocks { rows: usize, blocks: usize, near: String },
    #[error("{} of {images} leave{} none to recover: know fewer, or give more", counted(*known, "known image"),
        if *known == 1 { "s" } else { "" })]
    AllKnown { known: usize, images: usize },
    #[error("{name} is not a linear layer and nothing else; of the shipped networks, pneumonia-linear is")]
    NotLinear { name: String },
    #[error(transparent)]
    Mple(#[from] MpleError),
    #[error("cannot use {} for metamorphosed learning", path.display())]
    MpleFile { path: PathBuf, source: MpleError },
    #[error("Paillier")]
    Paillier(#[from] PaillierError),
    #[error("cannot use {} for Paillier", path.display())]
    PaillierFile { path: PathBuf, source: PaillierError },
    #[error("{} has another side than --side says: {side} pixels, not {asked}", path.display())]
    OtherSide { path: PathBuf, side: usize, asked: usize },
    #[error("another run is writing to {}", path.display())]
    InUse { path: PathBuf },
    #[error("there is no place for a cache: set PLEURA_CACHE to a directory")]
    NoCache,
    #[error("PLEURA_CACHE is empty: set it to a directory, or do not set it")]
    EmptyCache,
    #[error("cannot use the cache in {}", path.display())]
    Cache { path: PathBuf, source: io::Error },
    #[error("cannot handle interruptions")]
    Signals(#[from] ctrlc::Error),
}

impl CliError {
    /// The same, of a GPU of which `limit` bytes may be used: what it has no room for is told with what it has.
    pub(crate) fn on_gpu(self, limit: Option<u64>) -> Self {
        match self.backend() {
            Some(BackendError::OutOfMemory { bytes }) => Self::GpuFull { bytes: *bytes, limit },
            _ => self,
        }
    }

    /// What a device said, if it is that.
    fn backend(&self) -> Option<&BackendError> {
        match self {
            Self::Inference(InferenceError::Eval(EvalError::Backend(error)))
            | Self::Gpu(GpuError::Backend(error)) => Some(error),
            _ => None,
        }
    }

    /// What to do about it, where that is not said already.
    pub(crate) fn advice(&self) -> Option<&'static str> {
        match (self, self.backend()) {
            (Self::GpuFull { limit: Some(_), .. }, _) => {
                Some("a larger --gpu-memory may do, and --device cpu computes on the processor")
            }
            (Self::GpuFull { limit: None, .. }, _) => Some(
                "with --gpu-memory SIZE, of less than it has, keys and weights are brought there as they are needed; --device cpu \
                 computes on the processor",
            ),
            (_, Some(BackendError::DeviceLost { .. })) => Some(
                "nothing is left half-written; if trying again does not help, another program may need the GPU's memory \
                 (--gpu-memory SIZE uses less) or its driver may be at fault (`pleura devices` checks it), and --device cpu \
                 computes on the processor",
            ),
            (Self::Gpu(_), None) => {
                Some("--device cpu computes on the processor, and `pleura devices` tells what else there is")
            }
            _ => None,
        }
    }
}

impl From<EvalError> for CliError {
    fn from(error: EvalError) -> Self {
        Self::Inference(error.into())
    }
}

impl From<ClientError> for CliError {
    fn from(error: ClientError) -> Self {
        Self::Inference(error.into())
    }
}

impl From<EncodeError> for CliError {
    fn from(error: EncodeError) -> Self {
        Self::Inference(error.into())
    }
}

impl From<BackendError> for CliError {
    fn from(error: BackendError) -> Self {
        EvalError::from(error).into()
    }
}

fn known<'a>(names: impl Iterator<Item = &'a str>) -> String {
    names.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::terminal::chain;

    #[test]
    fn a_failing_device_comes_with_advice() {
        let lost = CliError::from(BackendError::DeviceLost { reason: "it hung".into() });
        assert!(chain(&lost).ends_with("the device was lost: it hung"), "{lost}");
        assert!(
            lost.advice().is_some_and(|text| text.contains("--device cpu") && text.contains("half-written"))
        );
        let full = |limit| {
            let error: CliError = GpuError::Backend(BackendError::OutOfMemory { bytes: 5 << 20 }).into();
            let error = error.on_gpu(limit);
            (chain(&error), error.advice().unwrap())
        };
        let (said, advice) = full(Some(45_000_000));
        assert_eq!(said, "the GPU has no room for 5.0 MiB more in the 45MB of --gpu-memory");
        assert!(advice.contains("a larger --gpu-memory") && advice.contains("--device cpu"));
        let (said, advice) = full(None);
        assert_eq!(said, "the GPU has no room for 5.0 MiB more: its memory is full");
        assert!(advice.contains("--gpu-memory SIZE") && !advice.contains("larger"));
        assert!(CliError::NoCache.advice().is_none());
    }
}
