//! `pleura cache`: the folder of compiled plans and kernels.

use crate::terminal;
use crate::text::{bytes_text, counted};
use anyhow::{Context, Result};
use clap::{Args, Subcommand};
use etcetera::base_strategy::{BaseStrategy, choose_native_strategy};
use pleura::{PlanCache, PlanKey};
use serde_json::json;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// Bytes of plans that are kept.
const LIMIT: u64 = 4 << 30;
/// How names of files of compiled kernels start.
const KERNELS_PREFIX: &str = "wgpu_pipeline_cache";

/// Arguments of `pleura cache`.
#[derive(Args)]
#[command(after_help = "\
Examples:
  pleura cache
  pleura cache clear
  PLEURA_CACHE=/tmp/plans pleura cache

Plans may be deleted at any time. Beyond 4 GiB, the least recently used plans are deleted.
The cache also has the kernels that were compiled for GPUs.")]
pub(crate) struct CacheArgs {
    #[command(subcommand)]
    command: Option<CacheCommand>,

    /// Print one JSON object.
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Subcommand)]
enum CacheCommand {
    /// Delete all plans and kernels.
    #[command(after_help = "Examples:\n  pleura cache clear\n  pleura cache clear --json")]
    Clear,
}

/// Shows the cache, or clears it.
pub(crate) fn cache(args: &CacheArgs) -> Result<()> {
    match args.command {
        None => show(args.json),
        Some(CacheCommand::Clear) => clear(args.json),
    }
}

fn show(json: bool) -> Result<()> {
    let cache = plans()?;
    let (plans, bytes) = cache.size()?;
    let kernel_bytes = kernel_bytes()?;
    if json {
        return terminal::print_json(
            "cache",
            &json!({
                "path": cache.folder().to_string_lossy(),
                "plans": plans, "bytes": bytes, "kernel_bytes": kernel_bytes,
                "deleted": { "plans": 0, "bytes": 0, "kernel_bytes": 0 },
            }),
        );
    }
    let mut text =
        format!("{}\n{}, {}\n", cache.folder().display(), counted(plans, "plan"), bytes_text(bytes));
    if kernel_bytes > 0 {
        text += &format!("kernels of GPUs, {}\n", bytes_text(kernel_bytes));
    }
    terminal::print(&text)
}

fn clear(json: bool) -> Result<()> {
    let cache = plans()?;
    let (plans, bytes) = cache.clear()?;
    let kernel_bytes = clear_kernels()?;
    if json {
        return terminal::print_json(
            "cache",
            &json!({
                "path": cache.folder().to_string_lossy(),
                "plans": 0, "bytes": 0, "kernel_bytes": 0,
                "deleted": { "plans": plans, "bytes": bytes, "kernel_bytes": kernel_bytes },
            }),
        );
    }
    let kernels = if kernel_bytes > 0 {
        format!(", and compiled kernels, {},", bytes_text(kernel_bytes))
    } else {
        ",".to_owned()
    };
    let plans = counted(plans, "plan");
    terminal::print(&format!("deleted {plans}, {}{kernels} from {}\n", bytes_text(bytes), place()?.display()))
}

/// A cache without a folder.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CacheError {
    #[error("there is no place for a cache: set PLEURA_CACHE to a directory")]
    NoPlace,
    #[error("PLEURA_CACHE is empty: set it to a directory, or do not set it")]
    Empty,
}

/// The cache of plans: where `PLEURA_CACHE` says, or where the system keeps caches.
pub(crate) fn plans() -> Result<PlanCache, CacheError> {
    Ok(PlanCache::new(place()?.join("plans"), LIMIT))
}

/// A key that depends on the build, since another one may plan otherwise.
pub(crate) fn key() -> PlanKey {
    let build = || -> io::Result<Vec<u8>> {
        let file = std::env::current_exe()?.metadata()?;
        let age = file.modified()?.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Ok([file.len().to_le_bytes().to_vec(), age.as_nanos().to_le_bytes().to_vec()].concat())
    };
    PlanKey::new().and(env!("CARGO_PKG_VERSION").as_bytes()).and(&build().unwrap_or_default())
}

/// Where compiled kernels of GPUs are kept, if there is a place for them.
pub(crate) fn kernels() -> Result<Option<PathBuf>, CacheError> {
    match place() {
        Ok(place) => Ok(Some(place.join("kernels"))),
        Err(CacheError::NoPlace) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Deletes compiled kernels; their bytes.
pub(crate) fn clear_kernels() -> Result<u64> {
    let (folder, files) = kernel_files()?;
    for (path, _) in &files {
        fs::remove_file(path).with_context(|| cannot_use(&folder))?;
    }
    Ok(files.iter().map(|(_, bytes)| bytes).sum())
}

/// Bytes of compiled kernels.
pub(crate) fn kernel_bytes() -> Result<u64> {
    Ok(kernel_files()?.1.iter().map(|(_, bytes)| bytes).sum())
}

/// The folder of plans and kernels.
pub(crate) fn place() -> Result<PathBuf, CacheError> {
    let place = match std::env::var_os("PLEURA_CACHE") {
        // A script's variable that was never set must not make it the user's own cache.
        Some(asked) if asked.is_empty() => return Err(CacheError::Empty),
        Some(asked) => PathBuf::from(asked),
        None => choose_native_strategy().map_err(|_| CacheError::NoPlace)?.cache_dir(),
    };
    Ok(place.join("pleura"))
}

/// The folder of kernels, and its files with their bytes.
fn kernel_files() -> Result<(PathBuf, Vec<(PathBuf, u64)>)> {
    let folder = place()?.join("kernels");
    let entries = match fs::read_dir(&folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok((folder, Vec::new())),
        entries => entries.with_context(|| cannot_use(&folder))?.flatten(),
    };
    let kernels = entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(KERNELS_PREFIX));
    let files = kernels.filter_map(|entry| {
        let file = entry.metadata().ok().filter(|file| file.is_file())?;
        Some((entry.path(), file.len()))
    });
    let files = files.collect();
    Ok((folder, files))
}

fn cannot_use(folder: &Path) -> String {
    format!("cannot use the cache in {}", folder.display())
}
