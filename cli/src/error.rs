//! What a command can fail with.

use crate::npy::{NpyError, shape_text};
use crate::table::bytes_text;
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
    #[error("there is no place for a cache: set PLEURA_CACHE to a directory")]
    NoCache,
    #[error("cannot handle interruptions")]
    Signals(#[from] ctrlc::Error),
}
