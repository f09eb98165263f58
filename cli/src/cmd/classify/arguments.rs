//! Arguments of `pleura classify`.

use super::shard::Shard;
use super::watch::WatchArgs;
#[cfg(not(feature = "service"))]
use crate::cmd::no_service::NoServerArgs;
#[cfg(feature = "service")]
use crate::cmd::service::args::ServerArgs;
use crate::device::DeviceArgs;
use crate::latency::MAX_REPEATS;
use crate::memory::MemoryArgs;
use crate::row_file::TableFormat;
use crate::sources::FolderArgs;
use crate::terminal;
use crate::text::counted;
use anyhow::Result;
use clap::builder::RangedU64ValueParser;
use clap::{ArgGroup, Args};
use pleura::xray::shipped::MODELS;
use pleura::xray::{PixelScaling, SourceList};
use std::path::PathBuf;

/// Arguments that have no meaning where a server computes.
#[cfg(feature = "service")]
const ON_THIS_MACHINE: [&str; 8] =
    ["device", "gpu_memory", "max_memory", "no_cache", "plaintext", "pixel_scaling", "repeat", "watch"];

/// Arguments of `pleura classify`.
#[derive(Args)]
#[cfg_attr(feature = "service", command(mut_arg("server", |server| server.conflicts_with_all(ON_THIS_MACHINE))))]
#[command(group(ArgGroup::new("written").args(["output", "html"]).multiple(true)))]
#[command(after_help = "\
Examples:
  pleura classify
  pleura classify chest.dcm
  pleura classify ward/ --model covid --output ward.csv
  pleura classify ward/ --device gpu --gpu-memory 6GB
  pleura classify ward/ --labels doctors.csv --output ward.jsonl
  pleura classify ward/ --html ward.html
  pleura classify inbox/ --watch --output inbox.csv
  pleura classify chest.png --json | jq '.probabilities // empty'

Folders are searched recursively. Files are recognized by content, not by name. Other files are
reported and skipped; unreadable files have a row with their error. With --strict, both make the
command fail. Hidden files are skipped; links are followed.

With --output, an interrupted run resumes from FILE.part and decodes no finished image again. The
network and the files must be the same; changed files are classified again. Names in the table are
percent-encoded where necessary: `%`, `#`, control and invisible characters, bytes that are not
Unicode, and `=`, `+`, `-`, `@` at the beginning. A `#` precedes the name of a latent.

A network of pixels takes square grey images of its own size. Larger images are reduced, smaller
images are enlarged with a warning. The numbers for black and white are in the metadata_props of an
ONNX file (`pleura.pixel_scaling`), or in --pixel-scaling.

`pleura models` lists the networks.

DICOM: grey, colour or palette images; uncompressed, deflated, RLE, JPEG (baseline, extended,
lossless), JPEG-LS or JPEG 2000.")]
pub(crate) struct ClassifyArgs {
    /// PNG, JPEG, TIFF, BMP, WebP or DICOM files, folders, or latents from `pleura compress`; `-` reads
    /// standard input [default: the sample X-rays].
    #[arg(value_name = "IMAGE|DIR|LATENT")]
    pub(super) inputs: Vec<PathBuf>,

    #[cfg_attr(not(feature = "service"), doc = "Shipped network, or ONNX file [default: pneumonia].")]
    #[cfg_attr(
        feature = "service",
        doc = "Shipped network, or ONNX file [default: pneumonia; with --server, the only network of the server]."
    )]
    #[arg(long, value_name = "NAME|FILE")]
    pub(super) model: Option<String>,

    /// Numbers for black and white in a network of pixels: unit (0 to 1), signed (-1 to 1), xrv (-1024
    /// to 1024, as TorchXRayVision), or MEAN,DEVIATION of pixels from 0 to 1.
    #[arg(long, value_name = "SCALING")]
    pub(super) pixel_scaling: Option<PixelScaling>,

    #[command(flatten)]
    pub(super) folders: FolderArgs,

    #[command(flatten)]
    pub(crate) device: DeviceArgs,

    /// CPU threads [default: all cores].
    #[arg(long, value_name = "N", value_parser = RangedU64ValueParser::<usize>::new().range(1..=1024))]
    pub(super) threads: Option<usize>,

    /// Run the network without encryption.
    #[arg(long, alias = "clear", conflicts_with_all = ["device", "gpu_memory", "max_memory", "no_cache", "repeat"])]
    pub(super) plaintext: bool,

    /// Infer the first group N times more, and print the distribution of the times. Groups then run one after the other.
    #[arg(long, value_name = "N", value_parser = RangedU64ValueParser::<usize>::new().range(1..=MAX_REPEATS as u64))]
    pub(super) repeat: Option<usize>,

    /// Table of the results; FILE.part has the finished rows until it is complete.
    #[arg(long, value_name = "FILE")]
    pub(super) output: Option<PathBuf>,

    #[cfg_attr(
        not(feature = "parquet"),
        doc = "Format of the table [default: by the file's name, .csv or .jsonl; csv for others]."
    )]
    #[cfg_attr(
        feature = "parquet",
        doc = "Format of the table [default: by the file's name, .csv, .jsonl or .parquet; csv for others]."
    )]
    #[arg(long, value_enum, requires = "output")]
    pub(super) format: Option<TableFormat>,

    /// True classes of the X-rays, in a CSV file of lines `file,class`; adds accuracy, AUC and ROC to the summary.
    #[arg(long, value_name = "FILE.csv")]
    pub(super) labels: Option<PathBuf>,

    /// Classify only one of N disjoint shares of the files, 1/N to N/N; each machine takes one share.
    #[arg(long, value_name = "I/N")]
    pub(super) shard: Option<Shard>,

    #[command(flatten)]
    pub(super) watching: WatchArgs,

    /// HTML file for a page with pictures, scores, warnings and failures; with --labels, ROC curves and the
    /// confusion matrix.
    #[arg(long, value_name = "F.html")]
    pub(super) html: Option<PathBuf>,

    /// Replace the files of --output and --html if they exist.
    #[arg(long, requires = "written")]
    pub(super) force: bool,

    #[command(flatten)]
    pub(super) memory: MemoryArgs,

    /// Neither read nor write the cache of plans.
    #[arg(long)]
    pub(super) no_cache: bool,

    /// Print a JSON object for each image, then a summary.
    #[arg(long)]
    pub(super) json: bool,

    #[cfg(feature = "service")]
    #[command(flatten)]
    pub(super) server: ServerArgs,

    #[cfg(not(feature = "service"))]
    #[command(flatten)]
    _server: NoServerArgs,
}

impl ClassifyArgs {
    /// Name or file of the network on this machine.
    pub(super) fn model(&self) -> &str {
        self.model.as_deref().unwrap_or(MODELS[0].name)
    }

    /// The X-rays that the arguments name, of this shard.
    pub(super) fn sources(&self) -> Result<SourceList> {
        let mut list = match self.watching.watch {
            true => self.watching.list(&self.inputs, !self.folders.no_recursive)?,
            false => self.folders.list(&self.inputs)?,
        };
        if let Some(shard) = self.shard {
            let all = list.sources.len();
            list.sources.retain(|source| shard.has(source.path()));
            if list.sources.is_empty() && !self.watching.watch {
                terminal::note(&format!("share {shard} has none of the {}", counted(all, "file")));
            }
            list.skipped.retain(|file| shard.has(&file.path));
        }
        Ok(list)
    }
}
